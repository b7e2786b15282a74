//! The checkpoint thread: it looks the file through once, then writes what changed, again and again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use crate::store::check::Findings;
use crate::store::fold::Fold;
use crate::store::journal::Journal;
use crate::store::seal::Sealer;
use crate::store::wanted::{Stop, stopped};
use crate::store::writer::{Chore, Gauges};
use crate::store::{StoreError, check, personal};

/// The thread and what it works with.
pub(crate) struct Keeper {
    pub(crate) fold: Arc<Fold>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) gauges: Arc<Gauges>,
    pub(crate) to_do: Receiver<Chore>,
    /// Time between checkpoints.
    pub(crate) every: Duration,
}

impl Keeper {
    /// Works until the writer is gone; `checked` receives when the file was looked through.
    pub(crate) fn run(self, checked: &SyncSender<()>) {
        match self.check() {
            Ok(findings) => findings.enter(&self.fold),
            Err(error) => {
                if !self.gauges.closing.load(Ordering::Relaxed) {
                    tracing::error!(%error, "main.redb could not be looked through");
                }
            }
        }
        // No one waits any more when it took long.
        let _ = checked.try_send(());
        let (mut last, mut failed) = (Instant::now(), false);
        loop {
            let woken = self.wait(failed);
            if let Err(error) = self.journal.flush() {
                tracing::error!(%error, "store/head was not flushed; it will be tried again");
            }
            if woken == Woken::ByTime && self.gauges.importing.lasts() && last.elapsed() < IMPORT {
                // It asks for one itself, and when it has ended the next one is not far.
                continue;
            }
            last = Instant::now();
            let done = self.fold.checkpoint(&|| self.journal.flush());
            failed = done.is_err();
            match done {
                Ok(()) => {
                    self.gauges.checkpoint.store(None);
                    self.gauges.due.store(false, Ordering::Relaxed);
                }
                Err(error) => {
                    tracing::error!(%error, "checkpoint failed; it will be tried again");
                    let cause = Arc::new(error.to_string());
                    self.gauges.checkpoint.store(Some(cause));
                }
            }
            if woken == Woken::Ended {
                return;
            }
        }
    }

    /// Waits until a checkpoint is due; files of pruned segments are removed meanwhile. After one that failed only
    /// time makes one due: a disk that takes none would be asked with every commit.
    fn wait(&self, failed: bool) -> Woken {
        let begun = Instant::now();
        loop {
            let left = self.every.saturating_sub(begun.elapsed());
            match self.to_do.recv_timeout(left) {
                Ok(Chore::Remove(segments)) => self.journal.remove(&segments),
                Ok(Chore::Checkpoint) if !failed => return Woken::Asked,
                Ok(Chore::Checkpoint) => {}
                Err(RecvTimeoutError::Timeout) => return Woken::ByTime,
                Err(RecvTimeoutError::Disconnected) => return Woken::Ended,
            }
        }
    }

    fn check(&self) -> Result<Findings, StoreError> {
        let closing = || self.gauges.closing.load(Ordering::Relaxed);
        let wrong = personal::check(&self.fold, &self.sealer, &closing)?;
        self.fold.damage().personal(wrong);
        let found = check::whole(&self.fold, &self.journal, &self.sealer, false, &closing);
        self.walk(&closing);
        found
    }

    /// Walks the journal where some of it is known to be damaged, so that its first damaged record is named.
    fn walk(&self, stop: Stop<'_>) {
        if self.journal.damage().is_none() {
            return;
        }
        let progress = |_: u64| if stop() { Err(stopped()) } else { Ok(()) };
        match check::chain(&self.fold, &self.journal, &self.sealer, &progress) {
            Ok(report) if report.fault.is_some() => self.journal.note_damage(report.fault),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the damaged journal could not be walked"),
        }
    }
}

/// Why a checkpoint is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Woken {
    /// Much has changed.
    Asked,
    /// The last one was a while ago.
    ByTime,
    /// The writer has gone.
    Ended,
}

/// How long an import puts a checkpoint off: opening reads the log from the last one.
const IMPORT: Duration = Duration::from_mins(1);
