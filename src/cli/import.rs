//! `oncegate user import`, `oncegate token import`, and `oncegate import` for either: many records from a file.
//!
//! ```text
//! file -> UTF-8 -> every row looked at -> batches of whole users -> POST /v1/admin/import
//!                                           first to ask, then to make, some at a time
//! ```
//!
//! Invariants: no row is made before all were looked at here and by the server, so that a bad row
//! leaves nothing half done, and all that is wrong is said at once; a batch is made whole or not at
//! all. An import that broke off (the server went, another administrator made the same user meanwhile) is
//! repeated with `--on-conflict skip`. No message quotes a row: it may hold keys.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use encoding_rs::Encoding;
use zeroize::Zeroizing;

use crate::cli::columns;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output;
use crate::cli::output::printable;
use crate::cli::transport::Transport;
use crate::csv::{Fault, Ignore, Reader, encoding, renamed};

mod batches;
mod either;
mod mapping;
mod rows;
mod seen;
mod send;
mod token_file;
mod update;

use batches::{BODY, Batches, ROWS, Rows};
use rows::{Looked, look};
use send::{Asked, Done, Refusals, ended, exchange, finding, refused};

pub(super) use either::EitherImport;
pub(super) use token_file::TokenImport;
pub(super) use update::UserImport;

#[derive(Debug, Args)]
pub(super) struct Import {
    /// CSV file with a heading, `-` for stdin
    file: PathBuf,
    /// Look at every row, ask the server what exists, and make nothing
    #[arg(long)]
    dry_run: bool,
    /// Leave rows out that cannot be imported, and name them, instead of refusing the file
    #[arg(long)]
    skip_bad: bool,
    /// How the file is encoded: utf-8, cp949, utf-16le, windows-1252 ... [default: what its byte
    /// order mark says, else utf-8]
    #[arg(long, value_name = "NAME", value_parser = encoding::by_name)]
    encoding: Option<&'static Encoding>,
    /// What the file calls its columns: Login=user,Mail=email
    #[arg(long, value_name = "OWN=NAME", value_delimiter = ',', value_parser = mapping::pair)]
    map: Vec<(String, &'static str)>,
    /// Leave these unknown columns out; without names all of them
    #[arg(long, value_name = "NAMES", num_args = 0..=1, require_equals = true,
          default_missing_value = "")]
    ignore_columns: Option<String>,
    /// What to do about users and tokens that exist
    #[arg(long, value_enum, default_value_t)]
    on_conflict: OnConflict,
    /// See `TokenImport`.
    #[arg(skip)]
    link: bool,
    /// Tokens of the file that are no rows, and were named and left out.
    #[arg(skip)]
    unread: u64,
    /// What the file says of tokens that is not taken over.
    #[arg(skip)]
    cautions: Vec<String>,
}

/// What to do about what exists.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum OnConflict {
    /// Leave it as it is and go on
    Skip,
    /// Stop
    #[default]
    Fail,
}

/// What the rows make.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Make {
    Tokens,
    Users,
}

/// What holds for both kinds of files.
macro_rules! files {
    () => {
        "Separators: comma, semicolon or tab, as the heading has them, or as a first line `sep=X` says.\n\
         Rows of one user stand together. Rows without content are skipped.\n\
         Nothing is made while one row is wrong. An import that broke off goes on with --on-conflict skip.\n"
    };
}

/// Under `user import`.
pub(super) const USERS_HELP: &str = concat!(
    "Columns, in any order; only `user` is needed:\n  \
     user,realm,alias,groups,display_name (or name),phone,email,class,pin_hash,password_hash\n\
     and for a token, only where the row has a `secret` (base 32):\n  \
     kind (totp, hotp or yubikey),secret,algorithm,digits,period,counter,serial\n\
     Several groups or aliases stand between `;`, in double quotes where that separates fields.\n",
    files!(),
    "Examples:\n  oncegate user import people.csv --dry-run\n  \
     oncegate user import people.csv --encoding cp949 --ignore-columns=Department,Notes\n  \
     oncegate user import hr.csv --map Login=user,Mobile=phone --ignore-columns\n  \
     oncegate user import hr.csv --update --disable-missing --dry-run"
);

/// Under `token import`.
pub(super) const TOKENS_HELP: &str = concat!(
    "The format of a file is recognised: exports of authenticator apps (otpauth:// lists, Google Authenticator, Aegis, \
     2FAS, FreeOTP+), of other servers (privacyIDEA, Keycloak, FreeRADIUS rlm_totp, pam_oath, pam_google_authenticator) \
     and of vendors (PSKC, Entra and Token2 CSV, Feitian, SafeNet, Duo, Yubico, multiOTP CSV, OATH CSV). PINs of \
     privacyIDEA's YAML and passwords of Keycloak are taken over as hashes, for users who have none; PINs of \
     users.oath, passwords of FreeRADIUS and scratch codes are not.\n\
     A CSV file of one's own has a heading. Columns, in any order; `user` and `secret` (base 32) are needed:\n  \
     user,realm,kind (totp, hotp or yubikey),secret,algorithm,digits,period,counter,serial,pin_hash,password_hash\n\
     A hash is one of bcrypt, argon2id, PBKDF2, sha512-crypt or salted SHA ({SSHA}).\n\
     Of a yubikey `secret` is its AES key and behind it the private id, 44 hexadecimal digits, `serial` its public id.\n\
     The users exist already; what is known of them (alias, groups, display_name or name, phone, email, class) may \
     stand in the file and is not looked at.\n",
    files!(),
    "Examples:\n  oncegate token import tokens.csv --dry-run\n  \
     oncegate token import tokens.csv --ignore-columns=Vendor --on-conflict skip\n  \
     oncegate token import tokens.pskc.xml --key-stdin < transport.key\n  \
     oncegate token import seeds.txt --format feitian --period 60 --skip-bad"
);

/// A CSV text, and where its rows were made from another file where they were in that.
#[derive(Clone, Copy, Default)]
pub(super) struct Source<'t> {
    text: &'t [u8],
    /// Row by row; empty: the rows are the file's own.
    origins: &'t [Origin],
}

/// Where a row was in another file.
struct Origin {
    line: u64,
    /// Which of the tokens of that file it is: a line may hold several.
    which: String,
}

impl<'t> Source<'t> {
    /// The file itself.
    const fn new(text: &'t [u8]) -> Self {
        Self { text, origins: &[] }
    }

    fn rows(self, ignore: &Ignore) -> Result<Reader<&'t [u8]>, Fault> {
        let rows = Reader::open(self.text, &columns::NAMES, &[], ignore)?;
        let lines = self.origins.iter().map(|origin| origin.line);
        Ok(rows.made_from(lines.collect()))
    }

    /// Where the row with this number of a line was in another file.
    fn origin(self, number: u64) -> Option<&'t Origin> {
        // The first line is the heading.
        let place = usize::try_from(number).ok()?.checked_sub(2)?;
        self.origins.get(place)
    }

    /// Which token the row with this number of a line is, where a line may hold several.
    fn which(self, number: u64) -> Option<String> {
        Some(self.origin(number)?.which.clone())
    }

    /// The row with this number of a line, for people.
    fn told(self, number: u64) -> String {
        match self.origin(number) {
            Some(Origin { line, which }) => format!("line {line} ({which})"),
            None => format!("line {number}"),
        }
    }
}

impl Import {
    pub(super) async fn run(self, make: Make, context: &Context) -> Result<Exit, CliError> {
        let text = self.text()?;
        self.rows(Source::new(&text), make, context).await
    }

    fn name(&self) -> String {
        printable(&self.file.to_string_lossy()).into_owned()
    }

    /// The file in UTF-8.
    fn text(&self) -> Result<Zeroizing<Vec<u8>>, CliError> {
        let text = encoding::decoded(read(&self.file)?, self.encoding);
        let text = text.map_err(|fault| {
            let name = self.name();
            CliError::usage(format!("{name}: the text cannot be read"))
                .findings(vec![finding(&name, &fault)])
                .remedy(
                    "correct it there, or name its encoding: --encoding NAME; nothing was imported",
                )
        })?;
        renamed(text, &self.map).map_err(|what| {
            CliError::usage(format!("--map: {what}")).remedy("nothing was imported")
        })
    }

    /// Imports rows.
    async fn rows(
        &self,
        source: Source<'_>,
        make: Make,
        context: &Context,
    ) -> Result<Exit, CliError> {
        let (name, text) = (self.name(), source.text);
        let mut looked = self.looked(source, make, context).await?;
        let api = Arc::new(context.transport().await?);
        // One batch is whole or nothing by itself; before several the server is asked about all.
        let several = looked.rows > ROWS as u64 || text.len() > BODY / 2;
        let ask = several || self.skip_bad || !looked.twins.is_empty();
        let passes: &[bool] = match (self.dry_run, ask) {
            (true, _) => &[true],
            (false, true) => &[true, false],
            (false, false) => &[false],
        };
        let mut done = Done::default();
        for dry_run in passes {
            let asked = self.pass((source, make), &looked, *dry_run, &api, context);
            let Asked {
                done: came,
                refusals,
                stopped,
            } = asked.await?;
            let some = refusals.count < looked.rows + looked.twins.len() as u64;
            done = if *dry_run && self.skip_bad && stopped.is_none() && some {
                left_out(&name, refusals.count, &refusals.faults, context);
                looked.leave(refusals.places);
                came
            } else {
                ended(came, refusals, stopped, &name)?
            };
        }
        done.bad = looked.bad + self.unread;
        if done.tokens > 0 {
            done.warnings = looked.warnings(source);
            done.warnings.extend(self.cautions.iter().cloned());
            warn(&name, &done.warnings);
        }
        context.out.show(&done, |done| told(done, make))?;
        Ok(Exit::Done)
    }

    /// Asks the server about the rows, or has them made; those whose tokens others of them make last.
    async fn pass(
        &self,
        from: (Source<'_>, Make),
        looked: &Looked,
        dry_run: bool,
        api: &Arc<Transport>,
        context: &Context,
    ) -> Result<Asked, CliError> {
        let rows = (Rows::AllBut(&looked.left, &looked.twins), looked.rows);
        let mut asked = self.asked(from, (rows, dry_run), api, context).await?;
        let go_on = dry_run || asked.refusals.count == 0;
        if looked.twins.is_empty() || asked.stopped.is_some() || !go_on {
            return Ok(asked);
        }
        let rows = (Rows::Only(&looked.twins), looked.twins.len() as u64);
        let mut twins = self.asked(from, (rows, dry_run), api, context).await?;
        if dry_run {
            // There is nothing yet that they would be linked to.
            twins.done.linked += std::mem::take(&mut twins.done.tokens);
        }
        asked.add(twins);
        Ok(asked)
    }

    /// Asks the server about some of the rows, or has them made.
    async fn asked(
        &self,
        (source, make): (Source<'_>, Make),
        ((rows, count), dry_run): ((Rows<'_>, u64), bool),
        api: &Arc<Transport>,
        context: &Context,
    ) -> Result<Asked, CliError> {
        let batches = Batches::new(source, make, self, (rows, dry_run))?;
        let what = if dry_run { "check" } else { "import" };
        let bar = output::progress(context.out, what, count);
        let asked = exchange(batches, api, &bar).await;
        bar.finish_and_clear();
        asked
    }

    /// Looks at every row: what is wrong, here and by the server, ends the import.
    async fn looked(
        &self,
        source: Source<'_>,
        make: Make,
        context: &Context,
    ) -> Result<Looked, CliError> {
        let (name, ignore) = (self.name(), self.ignore());
        let looked = look(source, make, &ignore, self.link);
        if !looked.ignored.is_empty() {
            let columns = looked.ignored.join(", ");
            context
                .out
                .note(&format!("Columns left out: {}", printable(&columns)));
        }
        if let Some(remedy) = looked.heading {
            let findings = looked.faults.iter().map(|fault| finding(&name, fault));
            return Err(
                CliError::usage(format!("{name}: the heading cannot be used"))
                    .findings(findings.collect())
                    .remedy(format!("{remedy}; nothing was imported")),
            );
        }
        if !looked.faults.is_empty() && (!self.skip_bad || looked.rows == 0) {
            return Err(self.malformed(make, looked, &name, source, context).await);
        }
        left_out(&name, looked.bad, &looked.faults, context);
        Ok(looked)
    }

    /// Says what is wrong with rows of the file, and with it what the server would refuse of the others.
    async fn malformed(
        &self,
        make: Make,
        mut looked: Looked,
        name: &str,
        source: Source<'_>,
        context: &Context,
    ) -> CliError {
        let exit = if looked.twice == looked.bad {
            Exit::Conflict
        } else {
            Exit::Usage
        };
        let (mut bad, mut faults) = (looked.bad, std::mem::take(&mut looked.faults));
        let mut remedy = "correct the file, or leave these rows out: --skip-bad".to_owned();
        if looked.rows > 0 {
            match self.server_refusals((source, make), &looked, context).await {
                Ok(refusals) => {
                    bad += refusals.count;
                    remedy.extend(refusals.next().map(|next| format!("; {next}")));
                    faults.extend(refusals.faults);
                    faults.sort_by_key(|fault| fault.line);
                }
                Err(error) => context.out.note(&format!(
                    "Whether the other rows can be made is not known: {}",
                    printable(&error.line())
                )),
            }
        }
        remedy.push_str("; nothing was imported");
        refused(name, bad, &faults, exit).remedy(remedy)
    }

    /// What the server would refuse of the rows that are well formed.
    async fn server_refusals(
        &self,
        from: (Source<'_>, Make),
        looked: &Looked,
        context: &Context,
    ) -> Result<Refusals, CliError> {
        let api = Arc::new(context.transport().await?);
        let asked = self.pass(from, looked, true, &api, context).await?;
        asked.stopped.map_or(Ok(asked.refusals), Err)
    }

    fn ignore(&self) -> Ignore {
        match self.ignore_columns.as_deref() {
            None => Ignore::Nothing,
            Some("") => Ignore::Unknown,
            Some(names) => Ignore::Named(names.split(',').map(str::to_owned).collect()),
        }
    }
}

/// Says what is weak about the tokens of a file.
fn warn(name: &str, warnings: &[String]) {
    for warning in warnings {
        output::warn(&format!("warning: {name}: {}", output::hint(warning)));
    }
}

/// Names the rows that are left out.
fn left_out(name: &str, count: u64, faults: &[Fault], context: &Context) {
    for fault in faults {
        let (line, what) = (fault.line, fault.told());
        let what = printable(&what);
        context
            .out
            .note(&format!("Left out: {name}:{line}: {what}"));
    }
    let more = count.saturating_sub(send::rows_of(faults));
    if more > 0 {
        let more = output::count(more, "more row");
        context.out.note(&format!("Left out: {more} of {name}"));
    }
}

/// What came of an import, for people.
fn told(done: &Done, make: Make) -> String {
    let verb = if done.dry_run { "Would make" } else { "Made" };
    let mut made = output::count(done.users, "user");
    let tokens = output::count(done.tokens, "token");
    if make == Make::Tokens {
        made = tokens;
    } else if done.tokens > 0 {
        push!(made, " and {tokens}");
    }
    let mut text = format!("{verb} {made}.");
    for (count, what, noun) in [
        (done.there, "Already there", "token"),
        (done.linked, "Counting for a second user, too", "token"),
        (done.skipped, "Left out because they exist", "row"),
        (done.bad, "Left out because they cannot be imported", "row"),
    ] {
        if count > 0 {
            let count = output::count(count, noun);
            push!(text, " {what}: {count}.");
        }
    }
    text
}

/// Reads a file or standard input, at most [`LARGEST`].
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let (name, from): (_, Box<dyn Read>) = if path == Path::new("-") {
        ("stdin".to_owned(), Box::new(io::stdin().lock()))
    } else {
        let name = path.display().to_string();
        let file = File::open(path);
        let file = file.map_err(|error| CliError::unreadable(path, &error))?;
        (name, Box::new(file))
    };
    let mut text = Zeroizing::new(Vec::new());
    let read = from.take(LARGEST + 1).read_to_end(&mut text);
    let read = read.map_err(|error| CliError::unreadable(Path::new(&name), &error))?;
    if read as u64 > LARGEST {
        return Err(CliError::usage(format!("{name} has more than 512 MiB"))
            .remedy("split it and import the parts one after the other"));
    }
    Ok(text)
}

/// Most octets of a file that is imported: some millions of people.
const LARGEST: u64 = 512 << 20;

#[cfg(test)]
mod tests;
