//! `oncegate user import` and `oncegate token import`: many records from a file.
//!
//! ```text
//! file -> every row looked at -> batches of whole users -> POST /v1/admin/import, some at a time
//! ```
//!
//! Invariants: no row is sent before all were looked at, so that a bad line leaves nothing half
//! done; a batch is made whole or not at all. An import that broke off is repeated with
//! `--on-conflict skip`. No message quotes a line: it may hold keys.

use std::fs;
use std::io;
use std::io::Read as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use clap::ValueEnum;
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use crate::api;
use crate::cli::Context;
use crate::cli::columns;
use crate::cli::columns::Factor;
use crate::cli::csv::Fault;
use crate::cli::csv::Reader;
use crate::cli::csv::Row;
use crate::cli::error::CliError;
use crate::cli::error::Exit;
use crate::cli::output;
use crate::cli::output::printable;
use crate::cli::transport::Transport;
use crate::cli::transport::admin;
use crate::diagnostic::Diagnostic;
use crate::model::id::Serial;
use crate::model::user_key::UserKey;
use crate::service::admin::About;
use crate::time::Clock as _;
use crate::time::SystemClock;
use crate::time::UnixTime;

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

/// Under both commands.
pub(super) const HELP: &str = "Columns, in any order; only `user` is needed (`secret`, too, for tokens):\n  \
    user,realm,groups,phone,email,class,kind,secret,algorithm,digits,period,counter,serial\n\
    Several groups stand between `;`. Rows of one user stand together.\n\
    Example:\n  oncegate user import people.csv --dry-run\n\
    An import that broke off goes on with --on-conflict skip.";

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
        let text = Arc::new(read(&self.file)?);
        let name = printable(&self.file.to_string_lossy()).into_owned();
        let looked = look(&text, make);
        if !looked.faults.is_empty() && (!self.skip_bad || looked.rows == 0) {
            let remedy =
                "correct the file, or leave these rows out: --skip-bad; nothing was imported";
            return Err(refused(&name, looked.bad, &looked.faults, Exit::Usage).remedy(remedy));
        }
        let bar = output::progress(context.out, "import", looked.rows);
        let api = Arc::new(context.transport().await?);
        let done = self.send(&text, make, &name, &api, &bar).await;
        bar.finish_and_clear();
        let mut done = done?;
        done.bad = looked.bad;
        context.out.show(&done, |done| {
            let verb = if done.dry_run { "Would make" } else { "Made" };
            let (users, tokens) = (done.users, done.tokens);
            let mut text = format!("{verb} {users} users and {tokens} tokens.");
            if done.skipped > 0 {
                push!(text, " Left {} rows alone: they exist.", done.skipped);
            }
            if done.bad > 0 {
                push!(text, " Left {} malformed rows out.", done.bad);
            }
            text
        })?;
        Ok(Exit::Done)
    }

    /// Sends the file in batches, a few of them on their way at a time.
    async fn send(
        &self,
        text: &Zeroizing<Vec<u8>>,
        make: Make,
        name: &str,
        api: &Arc<Transport>,
        bar: &ProgressBar,
    ) -> Result<Done, CliError> {
        let mut done = Done {
            dry_run: self.dry_run,
            ..Done::default()
        };
        let mut batches = Batches::new(text, make, self)?;
        let mut ways: JoinSet<(Vec<u64>, Result<api::Imported, CliError>)> = JoinSet::new();
        let mut stopped: Option<CliError> = None;
        loop {
            while ways.len() < WAYS
                && stopped.is_none()
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
            let (lines, answer) =
                answered.map_err(|error| CliError::unavailable(error.to_string()))?;
            match answer {
                Ok(made) if made.refused.is_empty() => {
                    done.rows += lines.len() as u64;
                    done.users += made.users as u64;
                    done.tokens += made.tokens as u64;
                    done.skipped += made.skipped as u64;
                    bar.inc(lines.len() as u64);
                }
                Ok(made) => {
                    stopped.get_or_insert_with(|| rows_refused(name, &lines, &made.refused));
                }
                Err(error) => {
                    stopped.get_or_insert(error);
                }
            }
        }
        match stopped {
            None => Ok(done),
            Some(error) if self.dry_run => Err(error),
            Some(error) => Err(error.remedy(format!(
                "{} users and {} tokens were made before that; correct it and go on with \
                 --on-conflict skip",
                done.users, done.tokens
            ))),
        }
    }
}

/// What the rows of a file are, before anything is done with them.
#[derive(Default)]
struct Looked {
    rows: u64,
    bad: u64,
    /// The first [`SHOWN`] of the bad ones.
    faults: Vec<Fault>,
}

fn look(text: &[u8], make: Make) -> Looked {
    let mut looked = Looked::default();
    let mut rows = match Reader::open(text, &columns::NAMES, &[]) {
        Ok(rows) => rows,
        Err(fault) => {
            looked.bad = 1;
            looked.faults.push(fault);
            return looked;
        }
    };
    let now = SystemClock.now();
    while let Some(row) = rows.next() {
        let checked = row.and_then(|row| {
            let line = row.line;
            check(&row, make, now).map_err(|what| Fault::new(line, what))
        });
        match checked {
            Ok(_) => looked.rows += 1,
            Err(fault) => {
                looked.bad += 1;
                if looked.faults.len() < SHOWN {
                    looked.faults.push(fault);
                }
            }
        }
    }
    looked
}

/// Everything about a row that can be known without the server.
fn check(row: &Row<'_>, make: Make, now: UnixTime) -> Result<(UserKey, Option<Factor>), String> {
    let user = columns::user_key(row)?;
    let factor = columns::factor(row)?;
    match factor {
        Some(Factor::Password(_)) => {
            return Err("password: set it with `oncegate user set --password-stdin`".to_owned());
        }
        None if make == Make::Tokens => return Err("secret: empty".to_owned()),
        None if row.get(columns::SERIAL).is_some() => {
            return Err("serial: a row without a secret has no token".to_owned());
        }
        _ => {}
    }
    if let Some(serial) = row.get(columns::SERIAL)
        && serial.parse::<Serial>().is_err()
    {
        return Err("serial: 1 to 40 letters, digits, dashes, underscores".to_owned());
    }
    if make == Make::Users {
        let about = About {
            groups: groups(row).map(str::to_owned).collect(),
            phone: row.get(columns::PHONE).map(str::to_owned),
            email: row.get(columns::EMAIL).map(str::to_owned),
            class: row.get(columns::CLASS).map(str::to_owned),
        };
        let checked = about.check(user.clone(), now);
        checked.map_err(|why| why.to_string())?;
    }
    Ok((user, factor))
}

fn groups<'a>(row: &Row<'a>) -> impl Iterator<Item = &'a str> {
    let groups = row.get(columns::GROUPS).unwrap_or_default();
    groups
        .split(';')
        .map(str::trim)
        .filter(|group| !group.is_empty())
}

/// The file cut into batches. Rows of one user are never in two.
struct Batches<'t> {
    rows: Reader<&'t [u8]>,
    make: Make,
    head: String,
    now: UnixTime,
    /// The row that did not fit into the batch before.
    kept: Option<Kept>,
}

struct Kept {
    line: u64,
    user: UserKey,
    json: Zeroizing<Vec<u8>>,
}

impl<'t> Batches<'t> {
    fn new(text: &'t [u8], make: Make, import: &Import) -> Result<Self, CliError> {
        let rows = Reader::open(text, &columns::NAMES, &[]);
        let rows = rows.map_err(|fault| CliError::usage(fault.what))?;
        let word = match make {
            Make::Tokens => "tokens",
            Make::Users => "users",
        };
        let existing = match import.on_conflict {
            OnConflict::Skip => "skip",
            OnConflict::Fail => "fail",
        };
        let dry = import.dry_run;
        Ok(Self {
            rows,
            make,
            head: format!(
                "{{\"make\":\"{word}\",\"on_conflict\":\"{existing}\",\"dry_run\":{dry},\"rows\":["
            ),
            now: SystemClock.now(),
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
    let message = match (bad, faults.len() as u64) {
        (1, _) => format!("{name}: a row cannot be imported"),
        (bad, shown) if shown < bad => {
            format!("{name}: {bad} rows cannot be imported; the first {shown} are above")
        }
        (bad, _) => format!("{name}: {bad} rows cannot be imported"),
    };
    let finding =
        |fault: &Fault| Diagnostic::error(format!("{name}:{}: {}", fault.line, fault.what));
    CliError::new(exit, message).findings(faults.iter().map(finding).collect())
}

/// The server's refusals with the lines of their rows.
fn rows_refused(name: &str, lines: &[u64], refusals: &[api::ImportRefusal]) -> CliError {
    let fault = |refusal: &api::ImportRefusal| {
        let line = lines.get(refusal.row).copied().unwrap_or_default();
        Fault::new(line, refusal.detail.clone())
    };
    let faults: Vec<Fault> = refusals.iter().take(SHOWN).map(fault).collect();
    let exit = match refusals.first().map(|refusal| refusal.kind.as_str()) {
        Some("conflict") => Exit::Conflict,
        Some("not-found") => Exit::NotFound,
        _ => Exit::Usage,
    };
    refused(name, refusals.len() as u64, &faults, exit)
}

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
mod tests {
    use super::*;

    const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    fn import() -> Import {
        Import {
            file: PathBuf::from("-"),
            dry_run: false,
            skip_bad: false,
            on_conflict: OnConflict::Fail,
        }
    }

    fn batches(text: &str) -> Vec<Batch> {
        let mut batches = Batches::new(text.as_bytes(), Make::Users, &import()).unwrap();
        std::iter::from_fn(|| batches.next()).collect()
    }

    #[test]
    fn the_body_is_what_the_api_reads() {
        let text = format!(
            "user,realm,groups,kind,secret,counter\nalice,staff,a; b,hotp,{SECRET},7\nbob,,,,,\n"
        );
        let batch = batches(&text).remove(0);
        assert_eq!(batch.lines, [2, 3]);
        let read: api::ImportRequest = serde_json::from_slice(&batch.body).unwrap();
        assert_eq!(read.make, "users");
        let alice = &read.rows[0];
        assert_eq!((&*alice.user, alice.counter), ("alice@staff", Some(7)));
        assert_eq!(alice.groups, ["a", "b"]);
        assert_eq!(alice.secret.as_ref().unwrap().expose(), SECRET);
        assert!(read.rows[1].secret.is_none());
    }

    #[test]
    fn rows_of_one_user_stay_together() {
        let mut text = "user,secret\n".to_owned();
        for user in 0..(ROWS - 1) {
            push!(text, "u{user},{SECRET}\n");
        }
        push!(text, "twin,{SECRET}\ntwin,{SECRET}\nlast,{SECRET}\n");
        let sizes: Vec<_> = batches(&text)
            .iter()
            .map(|batch| batch.lines.len())
            .collect();
        assert_eq!(sizes, [ROWS + 1, 1]);
    }

    #[test]
    fn bad_rows_are_counted_and_the_first_are_told() {
        let mut text = "user,secret,email\n".to_owned();
        for user in 0..(SHOWN + 5) {
            push!(text, "u{user},{SECRET},nobody\n");
        }
        push!(text, "good,{SECRET},a@b\n");
        let looked = look(text.as_bytes(), Make::Users);
        assert_eq!((looked.rows, looked.bad), (1, SHOWN as u64 + 5));
        assert_eq!(looked.faults.len(), SHOWN);
        assert_eq!(looked.faults[0].line, 2);
        assert!(looked.faults[0].what.starts_with("email"));
        // What only users have is not looked at where tokens are made.
        assert_eq!(look(text.as_bytes(), Make::Tokens).bad, 0);
        assert_eq!(look(b"user\na\n", Make::Tokens).bad, 1);
    }
}
