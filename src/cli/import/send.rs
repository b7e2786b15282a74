//! Sends batches, and says what the server made of them.

use std::sync::Arc;

use indicatif::ProgressBar;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::api::{self, ImportUsers};
use crate::cli::error::{CliError, Exit};
use crate::cli::import::batches::Batches;
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
    pub(super) skipped: u64,
    /// Malformed rows left out.
    pub(super) bad: u64,
    pub(super) dry_run: bool,
}

/// Sends a file and says how that ended.
pub(super) async fn send(
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
pub(super) async fn exchange(
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
            ways.spawn(async move {
                let answer = api.hand_over::<ImportUsers>(batch.request).await;
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
pub(super) struct Refusals {
    pub(super) count: u64,
    /// Whether one of them exists already.
    exists: bool,
    /// Whether a user of one of them does not exist.
    missing: bool,
    /// The first [`SHOWN`] in the order of their answers.
    pub(super) faults: Vec<Fault>,
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
    let mut lines: Vec<u64> = faults.iter().map(|fault| fault.line).collect();
    lines.dedup();
    let message = match (bad, lines.len() as u64) {
        (1, _) => format!("{name}: a row cannot be imported"),
        (bad, shown) if shown < bad && faults.len() >= SHOWN => {
            format!("{name}: {bad} rows cannot be imported; the first {shown} are above")
        }
        (bad, _) => format!("{name}: {bad} rows cannot be imported"),
    };
    CliError::new(exit, message).findings(faults.iter().map(|fault| finding(name, fault)).collect())
}

pub(super) fn finding(name: &str, fault: &Fault) -> Diagnostic {
    Diagnostic::error(fault.what.as_str()).in_line(LineOf {
        file: name.to_owned(),
        line: usize::try_from(fault.line).unwrap_or(usize::MAX),
        column: fault.column,
    })
}

/// Batches on their way: the server makes one durable while the next is read.
const WAYS: usize = 4;
