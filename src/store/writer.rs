//! The writer: all writes under one lock, one durable commit per batch.
//!
//! A batch is whatever queued while the last commit was under way: no timer, no artificial delay. A lane
//! that brings one commits it in its own thread ([`Desk::commit`]): the common login waits for no other
//! thread. What comes one by one, from many tasks, is committed by the writer's thread, and so is
//! what queues while the lock is held.
//!
//! Each member is settled against the newest rows including those of earlier members, so the same
//! code twice in one batch has exactly one winner, as in two batches. Answers leave only after the
//! commit; when it fails, every member receives `Unavailable`, because no one can say whether it is
//! durable, and the log is opened again before anything else is decided.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::oneshot;

use crate::model::attempt::{Attempt, Stale, Verdict};
use crate::model::audit::AuditRecord;
use crate::model::issue::{Issue, IssueRefusal, Issued};
use crate::secret::Entropy;
use crate::store::catch_up::catch_up;
use crate::store::fold::Fold;
use crate::store::follow::Told;
use crate::store::journal::{Appended, Appender, Batch, Head, Journal, Pruned};
use crate::store::queue::{Hold, Receiver};
use crate::store::record::Entry;
use crate::store::seal::Sealer;
use crate::store::transition::rows::Keys;
use crate::store::transition::working::Working;
use crate::store::transition::{changed, issue, login};
use crate::store::{By, Change, StoreError};
use crate::time::{Clock, UnixTime};

/// What the writer is asked to do.
pub(crate) enum Command {
    Attempt(Box<Attempt>, oneshot::Sender<Settled>),
    Change(Box<(Change, By)>, oneshot::Sender<Result<(), StoreError>>),
    Issue(Box<Issue>, oneshot::Sender<Result<IssueAnswer, StoreError>>),
}

/// What the checkpoint thread is woken for.
pub(crate) enum Chore {
    /// Much has changed.
    Checkpoint,
    /// Files of pruned segments.
    Remove(Pruned),
}

/// A code that was issued, or why none was.
type IssueAnswer = Result<Issued, IssueRefusal>;

/// What others may see of the writer.
#[derive(Default)]
pub(crate) struct Gauges {
    pub(crate) commits: AtomicU64,
    pub(crate) records: AtomicU64,
    /// Why nothing can be committed at present.
    pub(crate) fault: ArcSwapOption<String>,
    /// Why the last checkpoint failed.
    pub(crate) checkpoint: ArcSwapOption<String>,
    /// Whether the store is being closed.
    pub(crate) closing: AtomicBool,
    /// Whether an import is under way.
    pub(crate) importing: Importing,
    /// Whether a checkpoint was asked for since the last one that succeeded.
    pub(crate) due: AtomicBool,
    /// Since when a commit waits for the disk.
    writing: Mutex<Option<Instant>>,
}

impl Gauges {
    /// Why nothing can be committed at present, as far as the writer knows.
    pub(crate) fn fault(&self) -> Option<String> {
        let known = self.fault.load().as_ref().map(ToString::to_string);
        let writing = *self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = writing.map(|since| since.elapsed());
        let hangs = waits.filter(|waits| *waits > HANGS);
        known.or_else(|| hangs.map(|waits| format!("{HANGING} {} s", waits.as_secs())))
    }

    fn writes(&self, since: Option<Instant>) {
        *self.writing.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}

/// Whether an import is under way: its rows are written to the file by and by, and not every few seconds. One large
/// checkpoint instead of many small ones touches a page of the file once, and while the file has none of the rows, it
/// is soon known that it has not.
#[derive(Default)]
pub(crate) struct Importing(Mutex<Option<Instant>>);

impl Importing {
    /// A batch of it was committed.
    fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether the last batch was a moment ago.
    pub(crate) fn lasts(&self) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() < MOMENT)
    }
}

/// The writer, and what is queued for it.
pub(crate) struct Desk {
    writer: Mutex<Writer>,
    queue: Receiver<Command>,
    gauges: Arc<Gauges>,
}

/// The writer and all it owns.
pub(crate) struct Writer {
    pub(crate) journal: Arc<Journal>,
    pub(crate) appender: Appender,
    /// The commands and entries of one commit; kept for their memory.
    pub(crate) commands: Vec<Command>,
    pub(crate) batch: Batch,
    pub(crate) fold: Arc<Fold>,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) told: Told,
    pub(crate) gauges: Arc<Gauges>,
    /// To the checkpoint thread.
    pub(crate) chores: Sender<Chore>,
    /// To the thread that makes the next file of the journal ready.
    pub(crate) ahead: SyncSender<()>,
    /// Set while the log must be reopened before anything is decided.
    pub(crate) failed: Option<Instant>,
}

/// What became of an attempt.
type Settled = Result<Result<Box<Verdict>, Stale>, StoreError>;

/// An answer that waits for its commit.
enum Pending {
    Attempt(oneshot::Sender<Settled>, Box<Verdict>),
    /// With the last audit record that goes with it.
    Change(oneshot::Sender<Result<(), StoreError>>, Option<u64>),
    Issue(oneshot::Sender<Result<IssueAnswer, StoreError>>, Issued),
}

/// The commands of one commit, decided.
struct Decided {
    pending: Vec<Pending>,
    /// As those who follow see them; number and link are known after the commit.
    records: Vec<AuditRecord>,
    /// The latest time of an entry.
    latest: UnixTime,
    /// The time that an entry says is the present.
    accepted_clock: Option<UnixTime>,
    /// Whether one of them is of an import.
    imports: bool,
}

impl Desk {
    pub(crate) fn new(writer: Writer, queue: Receiver<Command>) -> Self {
        Self {
            gauges: Arc::clone(&writer.gauges),
            writer: Mutex::new(writer),
            queue,
        }
    }

    /// The writer's thread: works until every sender of the queue is gone. A panic while it decides is a fault that
    /// heals ([`Writer::commit_all`]); after one that broke the lock it ends: nothing is decided any more, and health
    /// says so.
    pub(crate) fn run(&self) {
        struct Closing<'a>(&'a Receiver<Command>);
        impl Drop for Closing<'_> {
            fn drop(&mut self) {
                self.0.close();
            }
        }
        let _closing = Closing(&self.queue);
        while self.wait() {
            let Ok(mut writer) = self.writer.lock() else {
                return;
            };
            writer.commit(&self.queue);
        }
    }

    /// Waits for commands; `false` when everybody has gone. While the log is closed it is tried again
    /// without waiting for one: a NAS that sees a server not ready sends nothing. It is looked for all the
    /// time, since it may have been a lane whose commit failed.
    fn wait(&self) -> bool {
        loop {
            let failed = self.gauges.fault.load().is_some();
            let pause = if failed { RETRY / 10 } else { RETRY };
            match self.queue.wait_within(pause) {
                Err(_) => return false,
                Ok(true) => return true,
                Ok(false) if failed => {
                    let Ok(mut writer) = self.writer.lock() else {
                        return false;
                    };
                    // Its error stays in the gauge.
                    let _ = writer.recover();
                }
                Ok(false) => {}
            }
        }
    }

    /// Commits what is queued in the thread that asks, unless another one is at it or nothing can be
    /// committed: then the writer's thread does. Whether anything was there. `hold` is the caller's.
    pub(crate) fn commit(&self, hold: Hold<'_, Command>) -> bool {
        if self.gauges.fault.load().is_some() {
            return false;
        }
        let Ok(mut writer) = self.writer.try_lock() else {
            return false;
        };
        let mut commands = std::mem::take(&mut writer.commands);
        self.queue.take(&mut commands, BATCH);
        // From here on what others submit wakes the writer's thread, which waits for the lock.
        drop(hold);
        let any = !commands.is_empty();
        writer.commit_all(&mut commands);
        writer.commands = commands;
        any
    }
}

impl Writer {
    /// Commits what is queued.
    fn commit(&mut self, queue: &Receiver<Command>) {
        let mut commands = std::mem::take(&mut self.commands);
        queue.take(&mut commands, BATCH);
        self.commit_all(&mut commands);
        self.commands = commands;
    }

    /// Decides, makes durable, answers. A panic answers no one who was not answered yet: whether something is durable
    /// is not known then, so the journal is opened again before anything else is decided.
    fn commit_all(&mut self, commands: &mut Vec<Command>) {
        let done = std::panic::catch_unwind(AssertUnwindSafe(|| self.commit_these(commands)));
        if done.is_err() {
            commands.clear();
            self.batch.clear();
            self.appender.doubt();
            self.gauges.writes(None);
            tracing::error!("a commit broke off; no decisions until the log is open again");
            self.gauges.fault.store(Some(Arc::new(BROKE.to_owned())));
            self.failed = Some(Instant::now());
        }
    }

    fn commit_these(&mut self, commands: &mut Vec<Command>) {
        if commands.is_empty() {
            return;
        }
        if self.gauges.fault.load().is_some()
            && let Err(error) = self.recover()
        {
            for command in commands.drain(..) {
                command.fail(StoreError::Unavailable(error.clone()));
            }
            return;
        }
        let fold = Arc::clone(&self.fold);
        let reader = fold.reader();
        let expected = reader.head();
        let mut rows = Working::new(&reader);
        let decided = self.decide_all(&mut rows, commands);
        let statics = rows.disturbed();
        let mut rows = rows.into_rows();
        drop(reader);
        if decided.pending.is_empty() {
            return;
        }
        match self.append(expected) {
            Ok(head) => {
                self.fold.publish(&mut rows, head, decided.latest, statics);
                if let Some(at) = decided.accepted_clock {
                    self.fold.accept_clock(at);
                }
                if decided.imports {
                    self.gauges.importing.note();
                }
                self.committed(head, decided.records, decided.pending);
            }
            Err(error) => self.refuse(&error, decided.pending),
        }
        self.batch.clear();
    }

    /// Decides each command on the rows that those before it leave.
    fn decide_all(&mut self, rows: &mut Working<'_>, commands: &mut Vec<Command>) -> Decided {
        let now = self.clock.now();
        let mut decided = Decided {
            pending: Vec::with_capacity(commands.len()),
            records: Vec::with_capacity(commands.len()),
            latest: UnixTime::EPOCH,
            accepted_clock: None,
            imports: false,
        };
        for command in commands.drain(..) {
            let imports = command.imports();
            let Some((entry, answer)) = self.decide(rows, command, now) else {
                continue;
            };
            if let Err(error) = self.batch.push(&entry) {
                answer.fail(error);
                continue;
            }
            decided.latest = decided.latest.max(entry.at);
            if entry.accepts_clock() {
                decided.accepted_clock = Some(entry.at);
            }
            decided.imports |= imports;
            rows.put(entry.writes);
            decided.records.push(AuditRecord {
                seq: 0,
                at: entry.at,
                event: entry.event,
                changes: entry.changes,
                mac: [0; 32],
            });
            decided.pending.push(answer);
        }
        decided
    }

    /// Makes the batch durable behind the head of the rows on which it was decided.
    fn append(&mut self, expected: Head) -> Result<Head, StoreError> {
        self.fold.raise_format()?;
        self.gauges.writes(Some(Instant::now()));
        let appended = self.appender.append(expected, &mut self.batch);
        self.gauges.writes(None);
        match appended? {
            Appended::UpTo(head) => Ok(head),
            Appended::Behind => Err(StoreError::Unavailable(BEHIND.to_owned())),
        }
    }

    /// Answers what is durable, up to `head`.
    fn committed(&mut self, head: Head, records: Vec<AuditRecord>, pending: Vec<Pending>) {
        self.gauges.commits.fetch_add(1, Ordering::Relaxed);
        let count = records.len() as u64;
        self.gauges.records.fetch_add(count, Ordering::Relaxed);
        // Asked after the commit: who subscribed before it and read the journal too early to see
        // these records is told of them here.
        if self.told.receiver_count() > 0 {
            self.tell(head, records);
        }
        // A caller that is answered finds pruned records gone; the files go elsewhere, decisions do not wait
        // for it.
        let pruned = pending.iter().filter_map(Pending::prunes).max();
        let removed = pruned.map(|seq| self.journal.prune(seq));
        pending.into_iter().for_each(Pending::answer);
        let dirty = self.fold.dirty();
        let many = dirty > IMPORTED || dirty > DIRTY && !self.gauges.importing.lasts();
        let due = many && !self.gauges.due.swap(true, Ordering::Relaxed);
        let due = due.then_some(Chore::Checkpoint);
        for chore in due.into_iter().chain(removed.map(Chore::Remove)) {
            // A checkpoint thread that has ended will be noticed at shutdown.
            let _ = self.chores.send(chore);
        }
        if self.appender.wants_file() {
            // That it is asked for already is enough.
            let _ = self.ahead.try_send(());
        }
    }

    /// A failed commit: whether it is durable is not known, and nothing is decided until the journal is open again.
    fn refuse(&mut self, error: &StoreError, pending: Vec<Pending>) {
        let cause = error.to_string();
        tracing::error!(%cause, "the log cannot be written; no decisions until it can");
        self.gauges.fault.store(Some(Arc::new(cause.clone())));
        self.failed = Some(Instant::now());
        for answer in pending {
            answer.fail(StoreError::Unavailable(cause.clone()));
        }
    }

    /// Shows the records of the last commit to those who follow.
    fn tell(&self, head: Head, records: Vec<AuditRecord>) {
        let known = records.into_iter().zip(self.batch.links(head));
        let known = known.map(|(record, link)| {
            let (seq, mac) = (link.seq, link.mac);
            changed::opened(AuditRecord { seq, mac, ..record }, &self.sealer)
        });
        // That no one follows any more is no failure.
        drop(self.told.send(known.collect()));
    }

    /// Settles one command; answers at once what needs no commit.
    fn decide(
        &self,
        rows: &Working<'_>,
        command: Command,
        now: UnixTime,
    ) -> Option<(Entry, Pending)> {
        match command {
            Command::Attempt(attempt, reply) => {
                let outcome = if now > attempt.deadline {
                    Err(StoreError::Late)
                } else {
                    login::attempt(rows, &attempt, self.keys(now, ""))
                };
                match outcome {
                    Ok(Ok((verdict, entry))) => {
                        return Some((entry, Pending::Attempt(reply, Box::new(verdict))));
                    }
                    Ok(Err(stale)) => drop(reply.send(Ok(Err(stale)))),
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
            Command::Change(change, reply) => {
                let (change, by) = *change;
                let keys = self.keys(by.at, &by.actor);
                let prunes = change.prunes();
                let plan = change.plan(rows, keys);
                match plan.and_then(|plan| plan.entry(rows, &by, keys)) {
                    Ok(entry) => return Some((entry, Pending::Change(reply, prunes))),
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
            Command::Issue(issue, reply) => match issue::issue(rows, &issue, &self.sealer) {
                Ok(Ok((issued, entry))) => return Some((entry, Pending::Issue(reply, issued))),
                Ok(Err(refusal)) => drop(reply.send(Ok(Err(refusal)))),
                Err(error) => drop(reply.send(Err(error))),
            },
        }
        None
    }

    fn keys<'a>(&'a self, now: UnixTime, actor: &'a str) -> Keys<'a> {
        Keys {
            now,
            actor,
            sealer: &self.sealer,
            entropy: self.entropy.as_ref(),
        }
    }

    /// Opens the log again, at most once a second, and takes over what turned out durable.
    fn recover(&mut self) -> Result<(), String> {
        if self.failed.is_some_and(|last| last.elapsed() < RETRY) {
            let fault = self.gauges.fault.load();
            return Err(fault.as_ref().map_or_else(String::new, ToString::to_string));
        }
        self.failed = Some(Instant::now());
        let before = self.fold.head().seq;
        let opened = self.appender.reopen();
        let caught_up = opened.and_then(|()| {
            match catch_up(&self.fold, &self.journal, self.appender.head())? {
                None => Ok(()),
                Some(fault) => Err(StoreError::Corrupt(fault.what)),
            }
        });
        caught_up.map_err(|error| error.to_string())?;
        let found = self.fold.head().seq - before;
        self.gauges.fault.store(None);
        tracing::warn!(found, "the log is open again; in-doubt records were kept");
        Ok(())
    }
}

impl Command {
    /// Whether it is a batch of an import.
    fn imports(&self) -> bool {
        matches!(self, Self::Change(change, _) if matches!(change.0, Change::Import(_)))
    }

    /// Answers that nothing was decided.
    pub(crate) fn fail(self, error: StoreError) {
        match self {
            Self::Attempt(_, reply) => drop(reply.send(Err(error))),
            Self::Change(_, reply) => drop(reply.send(Err(error))),
            Self::Issue(_, reply) => drop(reply.send(Err(error))),
        }
    }
}

impl Pending {
    /// The last audit record that goes.
    const fn prunes(&self) -> Option<u64> {
        match self {
            Self::Change(_, prunes) => *prunes,
            _ => None,
        }
    }

    fn answer(self) {
        match self {
            Self::Attempt(reply, verdict) => drop(reply.send(Ok(Ok(verdict)))),
            Self::Change(reply, _) => drop(reply.send(Ok(()))),
            Self::Issue(reply, issued) => drop(reply.send(Ok(Ok(issued)))),
        }
    }

    fn fail(self, error: StoreError) {
        match self {
            Self::Attempt(reply, _) => drop(reply.send(Err(error))),
            Self::Change(reply, _) => drop(reply.send(Err(error))),
            Self::Issue(reply, _) => drop(reply.send(Err(error))),
        }
    }
}

const BEHIND: &str = "the log does not end where it did: another process writes it";
/// Most members of one commit: bounds the latency of the first.
const BATCH: usize = 1024;
/// Changed rows that make a checkpoint due before its time.
const DIRTY: usize = 200_000;
/// The same during an import: those of some 200,000 users with tokens, 200 MB.
const IMPORTED: usize = 1_000_000;
/// How long after a batch of an import the next one is waited for.
const MOMENT: Duration = Duration::from_secs(1);
/// What a panic was.
const BROKE: &str = "a commit broke off, which is a defect of Oncegate; the log is opened again";
/// What a disk does that takes a commit and does not end it.
const HANGING: &str = "the disk has not finished a write of the log for";
/// How long a commit may take before that is said.
const HANGS: Duration = Duration::from_secs(5);
/// Pause between attempts to open a failed log.
const RETRY: Duration = Duration::from_secs(1);
