//! Sends batches, and says what the server made of them.

use std::sync::Arc;

use indicatif::ProgressBar;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::api::{self, ImportUsers};
use crate::cli::error::{CliError, Exit};
use crate::cli::import::Source;
use crate::cli::import::batches::{Batches, Stands};
use crate::cli::import::rows::SHOWN;
use crate::cli::output;
use crate::cli::transport::Transport;
use crate::csv::Fault;
use crate::diagnostic::{Diagnostic, LineOf};

/// What was made.
#[derive(Debug, Default, Serialize)]
pub(super) struct Done {
    pub(super) rows: u64,
    pub(super) users: u64,
    pub(super) tokens: u64,
    /// Tokens of others that count for users of the file, too.
    pub(super) linked: u64,
    /// Tokens that are there as the file describes them.
    pub(super) there: u64,
    pub(super) skipped: u64,
    /// Rows left out that cannot be imported.
    pub(super) bad: u64,
    pub(super) dry_run: bool,
    /// What is weak about the tokens.
    pub(super) warnings: Vec<String>,
}

impl Done {
    fn made(&self) -> bool {
        !self.dry_run && self.users + self.tokens + self.linked > 0
    }
}

/// What came of some rows.
pub(super) struct Asked {
    pub(super) done: Done,
    pub(super) refusals: Refusals,
    /// Why it stopped before the end.
    pub(super) stopped: Option<CliError>,
}

impl Asked {
    /// What came of further rows, too.
    pub(super) fn add(&mut self, more: Self) {
        let (done, further) = (&mut self.done, more.done);
        done.rows += further.rows;
        done.users += further.users;
        done.tokens += further.tokens;
        done.linked += further.linked;
        done.there += further.there;
        done.skipped += further.skipped;
        self.refusals.add_all(more.refusals);
        self.stopped = self.stopped.take().or(more.stopped);
    }
}

/// How an import ended.
pub(super) fn ended(
    done: Done,
    refusals: Refusals,
    stopped: Option<CliError>,
    name: &str,
) -> Result<Done, CliError> {
    let next = refusals
        .next()
        .unwrap_or("correct the file, or leave these rows out: --skip-bad");
    let stopped = stopped.or_else(|| refusals.error(name));
    match stopped {
        None => Ok(done),
        Some(error) if !done.made() => {
            Err(error.remedy_or(format!("{next}; nothing was imported")))
        }
        Some(error) => Err(error.remedy(format!(
            "{} and {} were made before that{}; correct it and go on with --on-conflict skip",
            output::count(done.users, "user"),
            output::count(done.tokens, "token"),
            match done.linked {
                0 => String::new(),
                linked => format!(", and {} linked", output::count(linked, "token")),
            },
        ))),
    }
}

/// Sends a file in batches, a few of them on their way at a time: what was made, what was refused, and
/// why it stopped before the end. Asking goes on to the end; making stops at the first refusal.
pub(super) async fn exchange(
    mut batches: Batches<'_>,
    api: &Arc<Transport>,
    bar: &ProgressBar,
) -> Result<Asked, CliError> {
    let source = batches.source;
    let mut done = Done {
        dry_run: batches.dry_run,
        ..Done::default()
    };
    let mut ways: JoinSet<(Vec<Stands>, Result<api::Imported, CliError>)> = JoinSet::new();
    let mut stopped: Option<CliError> = None;
    let mut refusals = Refusals::default();
    loop {
        let goes_on = stopped.is_none() && (done.dry_run || refusals.count == 0);
        while goes_on
            && ways.len() < WAYS
            && let Some(batch) = batches.next()
        {
            let api = Arc::clone(api);
            ways.spawn(async move {
                let answer = api.hand_over::<ImportUsers>(batch.request).await;
                (batch.from, answer)
            });
        }
        let Some(answered) = ways.join_next().await else {
            break;
        };
        let (from, answer) = answered.map_err(|error| CliError::unavailable(error.to_string()))?;
        match answer {
            Ok(made) => {
                refusals.add(&from, &made.refused, source);
                done.rows += from.len() as u64;
                // A batch with a refused row is not made at all; the counts say what it would make.
                if made.refused.is_empty() || done.dry_run {
                    done.users += made.users as u64;
                    done.tokens += made.tokens as u64;
                    done.linked += made.linked as u64;
                    done.there += made.there as u64;
                    done.skipped += made.skipped as u64;
                }
                bar.inc(from.len() as u64);
            }
            Err(error) => {
                stopped.get_or_insert(error);
            }
        }
    }
    Ok(Asked {
        done,
        refusals,
        stopped,
    })
}

/// Rows that the server refuses.
#[derive(Default)]
pub(super) struct Refusals {
    pub(super) count: u64,
    /// Whether one of them exists already.
    exists: bool,
    /// Whether a user of one of them does not exist.
    missing: bool,
    /// The first [`SHOWN`] in the order of their answers.
    pub(super) faults: Vec<Fault>,
    /// The places of all.
    pub(super) places: Vec<u64>,
    exit: Option<Exit>,
}

impl Refusals {
    fn add(&mut self, from: &[Stands], refused: &[api::ImportRefusal], source: Source<'_>) {
        for refusal in refused {
            self.count += 1;
            let exit = match refusal.kind.as_str() {
                "conflict" | "exists" => Exit::Conflict,
                "not-found" => Exit::NotFound,
                _ => Exit::Usage,
            };
            self.exit.get_or_insert(exit);
            self.exists |= refusal.kind == "exists";
            self.missing |= exit == Exit::NotFound;
            let Some(stands) = from.get(refusal.row).copied() else {
                continue;
            };
            self.places.push(stands.place);
            if self.faults.len() < SHOWN {
                self.faults.push(Fault {
                    token: source.which(stands.number),
                    ..Fault::new(stands.line, refusal.detail.clone())
                });
            }
        }
    }

    fn add_all(&mut self, more: Self) {
        self.count += more.count;
        self.exists |= more.exists;
        self.missing |= more.missing;
        self.exit = self.exit.or(more.exit);
        self.places.extend(more.places);
        let room = SHOWN.saturating_sub(self.faults.len());
        self.faults.extend(more.faults.into_iter().take(room));
    }

    /// What to do about them.
    pub(super) const fn next(&self) -> Option<&'static str> {
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

pub(super) fn refused(name: &str, bad: u64, faults: &[Fault], exit: Exit) -> CliError {
    let message = match (bad, rows_of(faults)) {
        (1, _) => format!("{name}: a row cannot be imported"),
        (bad, shown) if shown < bad && faults.len() >= SHOWN => {
            format!("{name}: {bad} rows cannot be imported; the first {shown} are above")
        }
        (bad, _) => format!("{name}: {bad} rows cannot be imported"),
    };
    CliError::new(exit, message).findings(faults.iter().map(|fault| finding(name, fault)).collect())
}

/// How many rows these are, in the order of the file: one row may have several faults, and one line several rows.
pub(super) fn rows_of(faults: &[Fault]) -> u64 {
    let mut rows: Vec<_> = faults.iter().map(|one| (one.line, &one.token)).collect();
    rows.dedup();
    rows.len() as u64
}

pub(super) fn finding(name: &str, fault: &Fault) -> Diagnostic {
    Diagnostic::error(fault.told()).in_line(LineOf {
        file: name.to_owned(),
        line: usize::try_from(fault.line).unwrap_or(usize::MAX),
        column: fault.column,
    })
}

/// Batches on their way: the server makes one durable while the next is read.
const WAYS: usize = 4;
