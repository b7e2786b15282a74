//! `oncegate user import` and `oncegate token import`: many records from a file.
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

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use clap::{Args, ValueEnum};
use encoding_rs::Encoding;
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use crate::admin::About;
use crate::api;
use crate::cli::columns::Factor;
use crate::cli::context::Context;
use crate::cli::csv::{Fault, Ignore, Reader, Row};
use crate::cli::error::{CliError, Exit};
use crate::cli::output::printable;
use crate::cli::transport::{Transport, admin};
use crate::cli::{columns, encoding, output};
use crate::diagnostic::{Diagnostic, LineOf};
use crate::model::id::Serial;
use crate::model::user_key::UserKey;
use crate::time::{Clock as _, SystemClock, UnixTime};

mod seen;

use seen::{Seen, details, groups};

#[derive(Debug, Args)]
pub(super) struct Import {
    /// CSV file with a heading, `-` for stdin
    file: PathBuf,
    /// Look at every row, ask the server what exists, and make nothing
    #[arg(long)]
    dry_run: bool,
    /// Leave malformed rows out instead of refusing the file
    #[arg(long)]
    skip_bad: bool,
    /// How the file is encoded: utf-8, cp949, utf-16le, windows-1252 ... [default: what its byte
    /// order mark says, else utf-8]
    #[arg(long, value_name = "NAME", value_parser = encoding::named)]
    encoding: Option<&'static Encoding>,
    /// Leave these unknown columns out; without names all of them
    #[arg(long, value_name = "NAMES", num_args = 0..=1, require_equals = true,
          default_missing_value = "")]
    ignore_columns: Option<String>,
    /// What to do about users and tokens that exist
    #[arg(long, value_enum, default_value_t)]
    on_conflict: OnConflict,
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
     user,realm,groups,display_name (or name),phone,email,class\n\
     and for a token, only where the row has a `secret` (base 32):\n  \
     kind (totp or hotp),secret,algorithm,digits,period,counter,serial\n\
     Several groups stand between `;`, in double quotes where that separates fields.\n",
    files!(),
    "Examples:\n  oncegate user import people.csv --dry-run\n  \
     oncegate user import people.csv --encoding cp949 --ignore-columns=Department,Notes"
);

/// Under `token import`.
pub(super) const TOKENS_HELP: &str = concat!(
    "Columns, in any order; `user` and `secret` (base 32) are needed:\n  \
     user,realm,kind (totp or hotp),secret,algorithm,digits,period,counter,serial\n\
     The users exist already; what is known of them (groups, display_name or name, phone, email, class) may\n\
     stand in the file and is not looked at.\n",
    files!(),
    "Examples:\n  oncegate token import tokens.csv --dry-run\n  \
     oncegate token import tokens.csv --ignore-columns=Vendor --on-conflict skip"
);

/// What was made.
#[derive(Debug, Default, Serialize)]
struct Done {
    rows: u64,
    users: u64,
    tokens: u64,
    skipped: u64,
    /// Malformed rows left out.
    bad: u64,
    dry_run: bool,
}

/// Rows that are sent together, and the lines they come from.
struct Batch {
    body: Zeroizing<Vec<u8>>,
    lines: Vec<u64>,
}

/// The body of a batch as it is written: `api::ImportRow`, borrowed.
#[derive(Serialize)]
struct Written<'a> {
    user: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithm: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digits: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    period: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counter: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<&'a str>,
}

impl Import {
    pub(super) async fn run(self, make: Make, context: &Context) -> Result<Exit, CliError> {
        let name = printable(&self.file.to_string_lossy()).into_owned();
        let text = encoding::decoded(read(&self.file)?, self.encoding);
        let text = text.map_err(|fault| {
            CliError::usage(format!("{name}: the text cannot be read"))
                .findings(vec![finding(&name, &fault)])
                .remedy("name its encoding: --encoding NAME; nothing was imported")
        })?;
        let text = Arc::new(text);
        let ignore = self.ignore();
        let looked = look(&text, make, &ignore);
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
            return Err(self.malformed(make, looked, &name, &text, context).await);
        }
        let api = Arc::new(context.transport().await?);
        // One batch is whole or nothing by itself; before several the server is asked about all.
        let several = looked.rows > ROWS as u64 || text.len() > BODY / 2;
        let passes: &[bool] = match (self.dry_run, several) {
            (true, _) => &[true],
            (false, true) => &[true, false],
            (false, false) => &[false],
        };
        let mut done = Done::default();
        for dry_run in passes {
            let batches = Batches::new(&text, make, &self, &ignore, *dry_run)?;
            let what = if *dry_run { "check" } else { "import" };
            let bar = output::progress(context.out, what, looked.rows);
            let sent = send(batches, &name, &api, &bar).await;
            bar.finish_and_clear();
            done = sent?;
        }
        done.bad = looked.bad;
        context.out.show(&done, |done| {
            let verb = if done.dry_run { "Would make" } else { "Made" };
            let users = output::count(done.users, "user");
            let tokens = output::count(done.tokens, "token");
            let mut text = format!("{verb} {users} and {tokens}.");
            if done.skipped > 0 {
                let rows = output::count(done.skipped, "row");
                push!(text, " Left out because they exist: {rows}.");
            }
            if done.bad > 0 {
                let rows = output::count(done.bad, "malformed row");
                push!(text, " Left out: {rows}.");
            }
            text
        })?;
        Ok(Exit::Done)
    }

    /// Says what is wrong with rows of the file, and with it what the server would refuse of the others.
    async fn malformed(
        &self,
        make: Make,
        looked: Looked,
        name: &str,
        text: &[u8],
        context: &Context,
    ) -> CliError {
        let exit = if looked.twice == looked.bad {
            Exit::Conflict
        } else {
            Exit::Usage
        };
        let (mut bad, mut faults) = (looked.bad, looked.faults);
        let mut remedy = "correct the file, or leave these rows out: --skip-bad".to_owned();
        if looked.rows > 0 {
            match self.asked(make, text, looked.rows, context).await {
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
    async fn asked(
        &self,
        make: Make,
        text: &[u8],
        rows: u64,
        context: &Context,
    ) -> Result<Refusals, CliError> {
        let api = Arc::new(context.transport().await?);
        let batches = Batches::new(text, make, self, &self.ignore(), true)?;
        let bar = output::progress(context.out, "check", rows);
        let sent = exchange(batches, &api, &bar).await;
        bar.finish_and_clear();
        let (_, refusals, stopped) = sent?;
        stopped.map_or(Ok(refusals), Err)
    }

    fn ignore(&self) -> Ignore {
        match self.ignore_columns.as_deref() {
            None => Ignore::Nothing,
            Some("") => Ignore::Unknown,
            Some(names) => Ignore::Named(names.split(',').map(str::to_owned).collect()),
        }
    }
}

/// Sends a file and says how that ended.
async fn send(
    batches: Batches<'_>,
    name: &str,
    api: &Arc<Transport>,
    bar: &ProgressBar,
) -> Result<Done, CliError> {
    let (done, refusals, stopped) = exchange(batches, api, bar).await?;
    let next = refusals.next().unwrap_or("correct the file");
    let stopped = stopped.or_else(|| refusals.error(name));
    match stopped {
        None => Ok(done),
        Some(error) if done.dry_run || done.users + done.tokens == 0 => {
            Err(error.remedy_or(format!("{next}; nothing was imported")))
        }
        Some(error) => Err(error.remedy(format!(
            "{} and {} were made before that; correct it and go on with --on-conflict skip",
            output::count(done.users, "user"),
            output::count(done.tokens, "token"),
        ))),
    }
}

/// Sends a file in batches, a few of them on their way at a time: what was made, what was refused, and
/// why it stopped before the end. Asking goes on to the end; making stops at the first refusal.
async fn exchange(
    mut batches: Batches<'_>,
    api: &Arc<Transport>,
    bar: &ProgressBar,
) -> Result<(Done, Refusals, Option<CliError>), CliError> {
    let mut done = Done {
        dry_run: batches.dry_run,
        ..Done::default()
    };
    let mut ways: JoinSet<(Vec<u64>, Result<api::Imported, CliError>)> = JoinSet::new();
    let mut stopped: Option<CliError> = None;
    let mut refusals = Refusals::default();
    loop {
        let goes_on = stopped.is_none() && (done.dry_run || refusals.count == 0);
        while goes_on
            && ways.len() < WAYS
            && let Some(batch) = batches.next()
        {
            let api = Arc::clone(api);
            let path = admin(&["import"]);
            ways.spawn(async move {
                let answer = api.post_written(&path, batch.body).await;
                (batch.lines, answer)
            });
        }
        let Some(answered) = ways.join_next().await else {
            break;
        };
        let (lines, answer) = answered.map_err(|error| CliError::unavailable(error.to_string()))?;
        match answer {
            Ok(made) => {
                refusals.add(&lines, &made.refused);
                done.rows += lines.len() as u64;
                // A batch with a refused row is not made at all; the counts say what it would make.
                if made.refused.is_empty() || done.dry_run {
                    done.users += made.users as u64;
                    done.tokens += made.tokens as u64;
                    done.skipped += made.skipped as u64;
                }
                bar.inc(lines.len() as u64);
            }
            Err(error) => {
                stopped.get_or_insert(error);
            }
        }
    }
    Ok((done, refusals, stopped))
}

/// Rows that the server refuses.
#[derive(Default)]
struct Refusals {
    count: u64,
    /// Whether one of them exists already.
    exists: bool,
    /// Whether a user of one of them does not exist.
    missing: bool,
    /// The first [`SHOWN`] in the order of their answers.
    faults: Vec<Fault>,
    exit: Option<Exit>,
}

impl Refusals {
    fn add(&mut self, lines: &[u64], refused: &[api::ImportRefusal]) {
        for refusal in refused {
            self.count += 1;
            let exit = match refusal.kind.as_str() {
                "conflict" => Exit::Conflict,
                "not-found" => Exit::NotFound,
                _ => Exit::Usage,
            };
            self.exit.get_or_insert(exit);
            self.exists |= refusal.detail.contains("already");
            self.missing |= exit == Exit::NotFound;
            if self.faults.len() < SHOWN {
                let line = lines.get(refusal.row).copied().unwrap_or_default();
                self.faults.push(Fault::new(line, refusal.detail.clone()));
            }
        }
    }

    /// What to do about them.
    const fn next(&self) -> Option<&'static str> {
        match (self.exists, self.missing) {
            (true, _) => Some(
                "leave what exists as it is: --on-conflict skip; tokens for users who exist: oncegate token \
                 import FILE",
            ),
            (false, true) => Some("make the users first: oncegate user import FILE"),
            (false, false) => None,
        }
    }

    fn error(mut self, name: &str) -> Option<CliError> {
        self.faults.sort_by_key(|fault| fault.line);
        let exit = self.exit?;
        Some(refused(name, self.count, &self.faults, exit))
    }
}

/// What the rows of a file are, before anything is done with them.
#[derive(Default)]
struct Looked {
    rows: u64,
    bad: u64,
    /// Those of the bad ones that another row has made already.
    twice: u64,
    /// The first [`SHOWN`] of the bad ones.
    faults: Vec<Fault>,
    /// Columns that are left out.
    ignored: Vec<String>,
    /// What to do where the heading is what is wrong.
    heading: Option<&'static str>,
}

fn look(text: &[u8], make: Make, ignore: &Ignore) -> Looked {
    let mut looked = Looked::default();
    let mut seen = Seen::default();
    let mut rows = match Reader::open(text, &columns::NAMES, &[], ignore) {
        Ok(rows) => rows,
        Err(fault) => {
            let all = Reader::open(text, &columns::NAMES, &[], &Ignore::Unknown);
            looked.heading = Some(match all {
                Ok(_) => "correct it, or leave columns out: --ignore-columns",
                Err(_) => "give a file whose first line names its columns, as `user,groups,phone`",
            });
            looked.bad = 1;
            looked.faults.push(fault);
            return looked;
        }
    };
    for (column, needed) in [
        (columns::USER, true),
        (columns::SECRET, make == Make::Tokens),
    ] {
        if needed && !rows.has(column) {
            let name = columns::NAMES.get(column).copied().unwrap_or_default();
            let what = format!(
                "the heading has no column `{name}`; known columns: {}",
                columns::NAMES.join(", ")
            );
            looked.heading = Some("name the columns in the first line");
            looked.bad = 1;
            looked.faults.push(Fault::new(rows.line(), what));
        }
    }
    if looked.heading.is_some() {
        return looked;
    }
    looked.ignored = rows.ignored().to_vec();
    let now = SystemClock.now();
    while let Some(row) = rows.next() {
        let faults = match row {
            Err(fault) => vec![fault],
            Ok(row) => {
                let checked = check(&row, make, now).and_then(|(user, _)| {
                    let first = seen.check(&row, &user, make);
                    looked.twice += u64::from(first.is_err());
                    first.map_err(|what| vec![what])
                });
                let faults = checked.err().unwrap_or_default().into_iter();
                faults
                    .map(|what| row.fault(&columns::NAMES, what))
                    .collect()
            }
        };
        if faults.is_empty() {
            looked.rows += 1;
            continue;
        }
        looked.bad += 1;
        if looked.faults.len() < SHOWN {
            looked.faults.extend(faults);
        }
    }
    looked
}

/// Everything about a row that can be known without the server: all that is wrong with it.
fn check(
    row: &Row<'_>,
    make: Make,
    now: UnixTime,
) -> Result<(UserKey, Option<Factor>), Vec<String>> {
    let mut faults = Vec::new();
    let user = columns::user_key(row).map_err(|why| faults.push(why));
    let factor = columns::factor(row).map_err(|why| faults.extend(why));
    match &factor {
        Ok(Some(Factor::Password(_))) => {
            faults.push("password: set it with `oncegate user set --password-stdin`".to_owned());
        }
        Ok(None) if make == Make::Tokens => faults.push("secret: empty".to_owned()),
        Ok(None) => {
            let given = OF_TOKENS.iter().find(|column| row.get(**column).is_some());
            let name = given.and_then(|column| columns::NAMES.get(*column));
            faults.extend(name.map(|name| format!("{name}: a row without a secret has no token")));
        }
        _ => {}
    }
    if let Some(serial) = row.get(columns::SERIAL)
        && serial.parse::<Serial>().is_err()
    {
        faults.push("serial: 1 to 40 letters, digits, dashes, underscores".to_owned());
    }
    if make == Make::Users {
        faults.extend(about_faults(row, now));
    }
    match (user, factor) {
        (Ok(user), Ok(factor)) if faults.is_empty() => Ok((user, factor)),
        _ => Err(faults),
    }
}

/// What is wrong with the user's details: each column is looked at alone.
fn about_faults(row: &Row<'_>, now: UnixTime) -> Vec<String> {
    let mut all = Vec::new();
    let text = |column| row.get(column).map(str::to_owned);
    if details(row).is_none() {
        return all;
    }
    for part in [
        About {
            groups: groups(row).map(str::to_owned).collect(),
            ..About::default()
        },
        About {
            display_name: columns::display_name(row).map(str::to_owned),
            ..About::default()
        },
        About {
            phone: text(columns::PHONE),
            ..About::default()
        },
        About {
            email: text(columns::EMAIL),
            ..About::default()
        },
        About {
            class: text(columns::CLASS),
            ..About::default()
        },
    ] {
        // Details do not depend on the name.
        if let Ok(user) = UserKey::parse("user")
            && let Err(why) = part.check(user, now)
        {
            all.push(why.to_string());
        }
    }
    all
}

/// The file cut into batches. Rows of one user are never in two.
struct Batches<'t> {
    rows: Reader<&'t [u8]>,
    make: Make,
    /// Whether the server is only asked.
    dry_run: bool,
    head: String,
    now: UnixTime,
    /// The same decisions as when all rows were looked at.
    seen: Seen,
    /// The row that did not fit into the batch before.
    kept: Option<Kept>,
}

struct Kept {
    line: u64,
    user: UserKey,
    json: Zeroizing<Vec<u8>>,
}

impl<'t> Batches<'t> {
    fn new(
        text: &'t [u8],
        make: Make,
        import: &Import,
        ignore: &Ignore,
        dry_run: bool,
    ) -> Result<Self, CliError> {
        let rows = Reader::open(text, &columns::NAMES, &[], ignore);
        let rows = rows.map_err(|fault| CliError::usage(fault.what))?;
        let word = match make {
            Make::Tokens => "tokens",
            Make::Users => "users",
        };
        let existing = match import.on_conflict {
            OnConflict::Skip => "skip",
            OnConflict::Fail => "fail",
        };
        Ok(Self {
            rows,
            make,
            dry_run,
            head: format!(
                "{{\"make\":\"{word}\",\"on_conflict\":\"{existing}\",\"dry_run\":{dry_run},\"rows\":["
            ),
            now: SystemClock.now(),
            seen: Seen::default(),
            kept: None,
        })
    }

    /// The next good row.
    fn row(&mut self) -> Option<Kept> {
        if let Some(kept) = self.kept.take() {
            return Some(kept);
        }
        loop {
            // What is wrong was said when all rows were looked at.
            let Ok(row) = self.rows.next()? else { continue };
            let Ok((user, factor)) = check(&row, self.make, self.now) else {
                continue;
            };
            if self.seen.check(&row, &user, self.make).is_err() {
                continue;
            }
            let json = written(&row, &user, factor.as_ref(), self.make);
            let line = row.line;
            return Some(Kept { line, user, json });
        }
    }

    fn next(&mut self) -> Option<Batch> {
        let mut body = Zeroizing::new(Vec::with_capacity(BODY));
        body.extend_from_slice(self.head.as_bytes());
        let mut lines = Vec::new();
        let mut starts: Vec<(usize, UserKey)> = Vec::new();
        while let Some(row) = self.row() {
            let same = starts.last().is_some_and(|(_, user)| *user == row.user);
            let full = lines.len() >= ROWS || body.len() + row.json.len() > BODY - 8;
            if full && !same || lines.len() >= MOST || body.len() + row.json.len() > LARGE - 8 {
                self.kept = Some(row);
                break;
            }
            if !lines.is_empty() {
                body.push(b',');
            }
            starts.push((body.len(), row.user));
            body.extend_from_slice(&row.json);
            lines.push(row.line);
        }
        body.extend_from_slice(b"]}");
        (!lines.is_empty()).then_some(Batch { body, lines })
    }
}

fn written(
    row: &Row<'_>,
    user: &UserKey,
    factor: Option<&Factor>,
    make: Make,
) -> Zeroizing<Vec<u8>> {
    let user = user.to_string();
    let about = |column| row.get(column).filter(|_| make == Make::Users);
    let mut written = Written {
        user: &user,
        groups: groups(row).filter(|_| make == Make::Users).collect(),
        display_name: columns::display_name(row).filter(|_| make == Make::Users),
        phone: about(columns::PHONE),
        email: about(columns::EMAIL),
        class: about(columns::CLASS),
        secret: row.get(columns::SECRET),
        kind: None,
        algorithm: None,
        digits: None,
        period: None,
        counter: None,
        serial: row.get(columns::SERIAL),
    };
    match factor {
        Some(Factor::Hotp {
            algorithm,
            digits,
            counter,
            ..
        }) => {
            written.kind = Some("hotp");
            written.algorithm = Some(algorithm.as_str());
            written.digits = Some(digits.get());
            written.counter = Some(*counter);
        }
        Some(Factor::Totp { parameters, .. }) => {
            written.kind = Some("totp");
            written.algorithm = Some(parameters.algorithm.as_str());
            written.digits = Some(parameters.digits.get());
            written.period = Some(parameters.period.as_secs());
        }
        Some(Factor::Password(_)) | None => {}
    }
    // Allocated once: a vector that grows leaves copies of the key behind.
    let mut json = Zeroizing::new(Vec::with_capacity(512 + row.length()));
    // Text and numbers of ours can always be written.
    let _ = serde_json::to_writer(&mut *json, &written);
    json
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let name = path.display();
    if path == Path::new("-") {
        let mut text = Zeroizing::new(Vec::new());
        let read = io::stdin().lock().read_to_end(&mut text);
        read.map_err(|error| CliError::usage(format!("cannot read stdin: {error}")))?;
        return Ok(text);
    }
    let text = fs::read(path);
    let text = text.map_err(|error| CliError::usage(format!("{name}: {error}")))?;
    Ok(Zeroizing::new(text))
}

fn refused(name: &str, bad: u64, faults: &[Fault], exit: Exit) -> CliError {
    let mut lines: Vec<u64> = faults.iter().map(|fault| fault.line).collect();
    lines.dedup();
    let message = match (bad, lines.len() as u64) {
        (1, _) => format!("{name}: a row cannot be imported"),
        (bad, shown) if shown < bad => {
            format!("{name}: {bad} rows cannot be imported; the first {shown} are above")
        }
        (bad, _) => format!("{name}: {bad} rows cannot be imported"),
    };
    CliError::new(exit, message).findings(faults.iter().map(|fault| finding(name, fault)).collect())
}

fn finding(name: &str, fault: &Fault) -> Diagnostic {
    Diagnostic::error(fault.what.as_str()).in_line(LineOf {
        file: name.to_owned(),
        line: usize::try_from(fault.line).unwrap_or(usize::MAX),
        column: fault.column,
    })
}

/// Columns that say something of a token only.
const OF_TOKENS: [usize; 6] = [
    columns::KIND,
    columns::ALGORITHM,
    columns::DIGITS,
    columns::PERIOD,
    columns::COUNTER,
    columns::SERIAL,
];
/// Most bad rows that are shown.
const SHOWN: usize = 100;
/// Rows of a batch, unless a user's own rows are more.
const ROWS: usize = 400;
/// What the server takes.
const MOST: usize = 500;
/// Octets of a batch, unless a user's own rows are more.
const BODY: usize = 512 * 1024;
/// What the server takes.
const LARGE: usize = 1024 * 1024;
/// Batches on their way: the server makes one durable while the next is read.
const WAYS: usize = 4;

#[cfg(test)]
mod tests;
