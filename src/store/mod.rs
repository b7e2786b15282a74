//! The store: atomic verbs in domain words. The only place that knows redb and sealing.
//!
//! # Contract (checked by `tests/it/store/contract.rs`)
//!
//! - [`Store::view`] is a hint: it narrows the search window and decides nothing.
//! - [`Store::attempt`] decides against the newest state, one attempt after the other per user, and
//!   answers only when the consumption, the counters and the audit record are durable together.
//! - `Err` means *could not decide*: nothing may be accepted on it, nothing was answered.
//!   After [`StoreError::Unavailable`] the attempt may or may not be consumed; it is never accepted.
//! - [`Store::change`] compares the record's revision with the one the caller saw
//!   ([`StoreError::Conflict`] otherwise) and is audited in the same transaction.
//! - The audit trail has no gap, and its order is the order of consumption. What was pruned is missing
//!   at its beginning, by a record that says so.
//! - Reads look at memory and `main.redb` at one moment and never wait; what reads the journal runs on a
//!   thread of its own.
//!
//! Changes are plain data ([`Change`]), never closures over something read earlier: the writer decides them
//! against the newest rows, those of the same batch included.
//!
//! # Files and threads
//!
//! ```text
//! attempt --> queue --> writer: settle, append            log-*.log     the truth: audit records
//!                         one durable commit per batch      |           with the rows they change
//!                         |                                 | fold
//!                         `--> memtable (changed rows) -----'
//!                                  `-- checkpoint thread --> main.redb  rows in key order, and up
//!                                      every 5 s or 200 k rows          to which record
//!                                      (of an import a million)
//! ```
//!
//! The writer is a lock: a RADIUS lane commits the batch that it brings ([`BatchHold::commit`]), a thread
//! commits what else is queued.
//!
//! Opening reads `main.redb` where it is and folds the log's tail behind it; both are bounded, so
//! opening does not grow with the data. The thread `store-ahead` makes the next
//! file of the journal ready. See [`journal`] and [`fold`] for the files.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::model::attempt::{Attempt, Stale, Verdict};
use crate::model::issue::{Issue, IssueRefusal, Issued};
use crate::model::sealing::SealAlgorithm;
use crate::model::user_key::UserKey;
use crate::secret::{Drawn, Entropy, Key256};
use crate::store::catch_up::catch_up;
use crate::store::damage::guarded;
use crate::store::error::disk;
use crate::store::fold::{Fold, Reader};
use crate::store::journal::{Appender, Batch, Journal};
use crate::store::keeper::Keeper;
use crate::store::medium::Medium;
use crate::store::probe::Probe;
use crate::store::queue::{Queue, Refused, queue};
use crate::store::seal::Sealer;
use crate::store::transition::rows::Keys;
use crate::store::wanted::Wanted;
use crate::store::writer::{Command, Desk, Gauges, Writer};
use crate::time::{Clock, UnixTime};

pub mod backup;
pub(crate) mod catch_up;
mod check;
mod closing;
pub mod course;
mod damage;
mod error;
mod floor;
mod fold;
mod follow;
pub mod heads;
mod identity;
mod journal;
mod keeper;
pub mod look;
mod main_file;
mod master;
#[cfg(test)]
mod measure;
pub mod medium;
mod memtable;
mod personal;
mod preload;
mod probe;
mod queue;
mod reads;
mod rebuild;
mod record;
pub mod repair;
mod report;
mod reseal;
mod row_cache;
mod rows;
pub mod seal;
mod search;
mod trail;
mod transition;
mod unwritten;
mod view;
mod wanted;
pub mod witness;
mod writer;

pub use error::StoreError;
pub use follow::Records;
use follow::Told;
pub use identity::FORMAT as STORE_FORMAT;
pub use report::{
    AuditQuery, ChainFault, ChainReport, DamagedRow, Health, Progress, StoreReport, Written,
};
pub use reseal::{Cursor, DataKeys};
pub use seal::KeyPurpose;
pub(crate) use transition::{
    ADMINISTRATORS_ONLY, ALIAS_TAKEN, APPROVED_TWICE, CARRIED, COUNTS_TWICE, FROZEN, LINKED,
    LOCKED_FOR_GOOD, NAME_IS_ALIAS, OWN_REMOVAL, OWN_REQUEST, OWN_TOKEN, SEED_TAKEN,
    SHARED_WITH_CONSOLE, TWIN,
};
pub use transition::{
    By, Change, DeviceAct, DraftAct, GroupAct, Import, Loaded, LoadedFile, Prepared, Prunable,
    Reanchor, Reseal, Synced, WaiverKind,
};
pub use view::{Retired, View};

/// What a store is made of.
pub struct Parts {
    /// Where its files live.
    pub medium: Arc<dyn Medium>,
    /// Opens its data key.
    pub master: Key256,
    /// Seals its data key and what is written from now on; anything sealed before is read.
    pub algorithm: SealAlgorithm,
    /// For deadlines.
    pub clock: Arc<dyn Clock>,
    /// For seals.
    pub entropy: Arc<dyn Entropy>,
    /// Octets of a log segment; bounds the repair after a kill.
    pub segment_size: u64,
    /// Time between checkpoints.
    pub checkpoint: Duration,
}

/// The store. See the module's contract. Dropping it drains the queue, checkpoints and closes the files.
pub struct Store {
    queue: Option<Queue<Command>>,
    /// Where commands are committed; there is none while the journal is not as it should be.
    desk: Option<Arc<Desk>>,
    reading: Arc<Reading>,
    entropy: Arc<dyn Entropy>,
    told: Told,
    gauges: Arc<Gauges>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// As long as it is there, indexes of the journal are made.
    working: Option<mpsc::Sender<()>>,
    probe: Probe,
}

/// What readers need; shared with blocking tasks.
struct Reading {
    fold: Arc<Fold>,
    journal: Arc<Journal>,
    sealer: Arc<Sealer>,
    /// What opening found wrong with the chain.
    found: Option<ChainFault>,
}

/// Keeps what is submitted together until it is committed, or dropped: then the writer's thread commits it.
pub struct BatchHold<'a> {
    desk: Option<&'a Desk>,
    hold: Option<queue::Hold<'a, Command>>,
}

impl BatchHold<'_> {
    /// Commits what was submitted meanwhile, in this thread, which waits for the disk. Whether anything was; what
    /// another thread is about to commit does not count.
    pub fn commit(self) -> bool {
        let parts = self.desk.zip(self.hold);
        parts.is_some_and(|(desk, hold)| desk.commit(hold))
    }
}

impl Store {
    /// Opens the store, or makes a new one, and starts its threads.
    pub fn open(parts: Parts) -> Result<Self, StoreError> {
        let (sealed_by, entropy) = (parts.algorithm, Arc::clone(&parts.entropy));
        let medium = Arc::clone(&parts.medium);
        let (fold, sealer) = Fold::open(medium, &parts.master, sealed_by, entropy.as_ref())?;
        let (journal, mut appender) = guarded(|| {
            let medium = Arc::clone(&parts.medium);
            journal::open(medium, Arc::clone(&sealer), parts.segment_size)
        })
        .map_err(of_journal)?;
        let fold = Arc::new(fold);
        let (applied, end) = (fold.head(), appender.head());
        let found = match guarded(|| catch_up(&fold, &journal, end))? {
            None => journal.lost(applied.seq, end)?,
            found => found,
        };
        if found.is_none() {
            appender.settle()?;
            journal.acknowledge(end)?;
        }
        personal::check_present(&fold.reader(), &sealer)?;
        // What a crash left undone, or an older copy of the keys brought back.
        if let Err(error) = personal::destroy_erased(fold.reader(), &sealer) {
            tracing::error!(%error, "keys of personal data that must not be are not destroyed");
        }
        let reading = Arc::new(Reading {
            fold,
            journal,
            sealer,
            found,
        });
        if reading.found.is_none()
            && let Ok(Some(anchor)) = reading.pruned()
        {
            // What a crash left behind.
            let journal = &reading.journal;
            journal.remove(&journal.prune(anchor.seq));
        }
        Self::start(reading, parts, appender)
    }

    /// Starts the threads, unless the journal is not as it should be.
    fn start(reading: Arc<Reading>, parts: Parts, appender: Appender) -> Result<Self, StoreError> {
        let gauges = Arc::new(Gauges::default());
        let (queue, commands) = queue(QUEUE);
        let told = follow::told();
        let (chores, to_do) = mpsc::channel();
        let (ahead, wanted) = mpsc::sync_channel(1);
        let (working, work_is_over) = mpsc::channel();
        let (mut threads, mut desk) = (Vec::new(), None);
        if let Some(ChainFault { seq, what }) = &reading.found {
            let cause = format!("audit record {seq}: {what}");
            gauges.fault.store(Some(Arc::new(cause)));
        } else {
            let (fold, sealer) = (Arc::clone(&reading.fold), Arc::clone(&reading.sealer));
            let writer = Writer {
                journal: Arc::clone(&reading.journal),
                appender,
                commands: Vec::new(),
                batch: Batch::default(),
                fold: Arc::clone(&fold),
                sealer: Arc::clone(&sealer),
                entropy: Arc::clone(&parts.entropy),
                clock: parts.clock,
                told: told.clone(),
                gauges: Arc::clone(&gauges),
                chores,
                ahead,
                failed: None,
            };
            let shared = Arc::new(Desk::new(writer, commands));
            desk = Some(Arc::clone(&shared));
            threads.push(spawn("store-writer", move || shared.run())?);
            let journal = Arc::clone(&reading.journal);
            threads.push(spawn("store-ahead", move || prepare(&journal, &wanted))?);
            let (journal, ends) = (Arc::clone(&reading.journal), Arc::clone(&gauges));
            threads.push(spawn("store-index", move || {
                make_indexes(&journal, &ends, &work_is_over);
            })?);
            check::newest(&fold, &reading.journal);
            let keeper = Keeper {
                fold,
                journal: Arc::clone(&reading.journal),
                sealer,
                gauges: Arc::clone(&gauges),
                to_do,
                every: parts.checkpoint,
            };
            let (checked, done) = mpsc::sync_channel(1);
            threads.push(spawn("store-checkpoint", move || keeper.run(&checked))?);
            // Nearly always it is over by then; a large store is looked through while it works.
            let _ = done.recv_timeout(CHECK);
        }
        Ok(Self {
            queue: Some(queue),
            desk,
            reading,
            entropy: parts.entropy,
            told,
            gauges,
            threads: Mutex::new(threads),
            working: Some(working),
            probe: Probe::default(),
        })
    }

    /// Decides and consumes. Durable when it answers.
    pub fn attempt(
        &self,
        attempt: Attempt,
    ) -> impl Future<Output = Result<Result<Box<Verdict>, Stale>, StoreError>> {
        self.ask(|reply| Command::Attempt(Box::new(attempt), reply))
    }

    /// Keeps as many octets of rows of users and tokens in memory.
    pub fn set_cache_size(&self, octets: u64) {
        self.reading.fold.set_cache_size(octets);
    }

    /// The format of its files: see [`crate::store::STORE_FORMAT`].
    pub fn format(&self) -> u8 {
        self.reading.fold.format()
    }

    /// Delays the wake-up of the writer's thread until the answer is committed or dropped, so that one commit
    /// takes all that is submitted meanwhile. For a moment, never across a wait.
    pub fn hold_batch(&self) -> BatchHold<'_> {
        BatchHold {
            desk: self.desk.as_deref(),
            hold: self.queue.as_ref().map(Queue::hold),
        }
    }

    /// Issues a code of a token, or says why not. Durable when it answers `Ok(Ok(..))`.
    pub async fn issue(&self, issue: Issue) -> Result<Result<Issued, IssueRefusal>, StoreError> {
        self.ask(|reply| Command::Issue(Box::new(issue), reply))
            .await
    }

    /// Makes ready what of an import needs no row, so that the writer need not.
    pub fn prepare(&self, records: Vec<Import>, at: UnixTime) -> Result<Prepared, StoreError> {
        let entropy = Drawn::new(Arc::clone(&self.entropy));
        let keys = Keys {
            now: at,
            actor: "",
            sealer: &self.reading.sealer,
            entropy: &entropy,
        };
        Prepared::new(records, keys)
    }

    /// Changes one record under its expected revision. Durable and audited when it answers.
    pub async fn change(&self, change: Change, by: By) -> Result<(), StoreError> {
        // What takes long is done here, so that the writer's queue does not wait for it.
        if let Change::CreateUser(..) = change {
            let (sealer, entropy) = (&self.reading.sealer, self.entropy.as_ref());
            sealer.personal()?.refill(sealer, entropy)?;
        }
        let erases = matches!(change, Change::EraseUser(_));
        if erases {
            self.read_log(|reading, _| reading.erase()).await?;
        }
        self.ask(|reply| Command::Change(Box::new((change, by)), reply))
            .await?;
        if erases {
            self.read_log(|reading, _| reading.erase()).await?;
        }
        Ok(())
    }

    /// Submits a command at once, before the future is polled: what it is made of is not part of the future.
    fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Command,
    ) -> impl Future<Output = Result<T, StoreError>> {
        let (reply, answer) = oneshot::channel();
        let queue = self.queue.as_ref();
        let queue = queue.expect("the queue lives as long as the store");
        let pushed = queue.push(command(reply));
        async move {
            match pushed {
                Ok(()) => answer.await.unwrap_or_else(|_| Err(self.unavailable())),
                // Shed at once: what waits in a full queue would be answered too late anyway.
                Err(Refused::Full) => Err(StoreError::Shed),
                Err(Refused::Closed) => Err(self.unavailable()),
            }
        }
    }

    /// Reads the journal, on a thread of its own; the reading ends when the caller gives up.
    async fn read_log<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reading, &Wanted) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let reading = Arc::clone(&self.reading);
        let (wanted, asker) = Wanted::new();
        let task = tokio::task::spawn_blocking(move || read(&reading, &wanted));
        // While this waits; when it is given up, the reading ends with its page.
        let _asker = asker;
        task.await
            .map_err(|error| StoreError::Unavailable(error.to_string()))?
    }

    fn unavailable(&self) -> StoreError {
        StoreError::Unavailable(self.fault().unwrap_or_else(|| STOPPED.to_owned()))
    }

    /// Why nothing can be committed at present. A writer that has ended commits nothing.
    fn fault(&self) -> Option<String> {
        let known = self.gauges.fault();
        let ended = || {
            let threads = self.threads.lock().expect("no panic under this lock");
            let ended = threads.iter().find(|thread| thread.is_finished())?;
            let name = ended.thread().name().unwrap_or("store").to_owned();
            Some(format!("the thread {name} has ended; restart the daemon"))
        };
        let closed = self.queue.as_ref().is_none_or(Queue::is_closed);
        let view = |user: &UserKey| self.view(user).map(drop);
        known
            .or_else(ended)
            .or_else(|| closed.then(|| STOPPED.to_owned()))
            .or_else(|| self.probe.fault(&self.reading.fold, &view))
    }

    /// The key of this purpose, derived from the store's data key: the same after every start.
    pub fn key(&self, purpose: KeyPurpose) -> Key256 {
        self.reading.sealer.key(purpose)
    }

    /// Every record as it becomes durable, from now on.
    pub fn subscribe(&self) -> Records {
        // In this order: a record between the two is told, and not missed.
        let commits = self.told.subscribe();
        Records::new(commits, self.reading.fold.head().seq)
    }

    /// How the store is.
    pub fn health(&self) -> Health {
        let fold = &self.reading.fold;
        let (damaged, damage) = self.damage();
        Health {
            fault: self.fault(),
            queue: self.queue.as_ref().map_or(0, Queue::len),
            queue_limit: QUEUE,
            first: self.reading.journal.first(),
            seq: fold.head().seq,
            dirty: fold.dirty(),
            commits: self.gauges.commits.load(Ordering::Relaxed),
            records: self.gauges.records.load(Ordering::Relaxed),
            damaged,
            damage,
            checkpoint: (self.gauges.checkpoint.load().as_ref()).map(ToString::to_string),
        }
    }

    /// How much is known to be damaged, and the first of it.
    fn damage(&self) -> (u64, Vec<DamagedRow>) {
        let rows = self.reading.fold.damage();
        let journal = self.reading.journal.damage().map(|fault| DamagedRow {
            table: JOURNAL,
            key: Some(format!("record {}", fault.seq)),
            what: fault.what.to_owned(),
        });
        let count = rows.count() + u64::from(journal.is_some());
        let all = journal.into_iter().chain(rows.list(NAMED));
        (count, all.take(NAMED).collect())
    }

    /// What opening found wrong with the journal, because of which nothing is decided.
    pub fn broken(&self) -> Option<&ChainFault> {
        self.reading.found.as_ref()
    }

    /// The latest time seen in any durable record. Decisions do not let time fall behind it.
    pub fn high_water(&self) -> UnixTime {
        self.reading.fold.high_water()
    }

    /// A consistent look at all rows.
    fn rows(&self) -> Reader<'_> {
        self.reading.fold.reader()
    }

    fn sealer(&self) -> &Sealer {
        &self.reading.sealer
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.gauges.closing.store(true, Ordering::Relaxed);
        // The writer ends when the queue's last sender is gone, the other threads after it.
        self.queue = None;
        self.desk = None;
        self.working = None;
        let threads = std::mem::take(&mut *self.threads.lock().expect("no panic under this lock"));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a store thread panicked");
            }
        }
    }
}

/// An error at the opening of the journal; none of them is about `main.redb`, which a repair makes anew.
fn of_journal(error: StoreError) -> StoreError {
    match error {
        StoreError::Corrupt(what) => StoreError::File {
            file: JOURNAL.to_owned(),
            what,
        },
        error => error,
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(run).map_err(disk)
}

/// Makes the files of segments ready before the writer needs them, until it is gone.
fn prepare(journal: &Journal, wanted: &mpsc::Receiver<()>) {
    while wanted.recv().is_ok() {
        if let Err(error) = journal.prepare() {
            tracing::warn!(%error, "the next file of the journal is not ready; it will be tried again");
        }
    }
}

/// Makes the indexes of segments, until the store is closed.
fn make_indexes(journal: &Journal, gauges: &Gauges, over: &mpsc::Receiver<()>) {
    let stop = || gauges.closing.load(Ordering::Relaxed);
    let mut pause = Duration::ZERO;
    while let Err(mpsc::RecvTimeoutError::Timeout) = over.recv_timeout(pause) {
        pause = match guarded(|| journal.make_indexes(&search::words_of, &stop)) {
            // The next one after a breath: logins come first.
            Ok(true) => Duration::from_millis(50),
            Ok(false) => INDEXES,
            Err(error) => {
                tracing::warn!(%error, "the index of an audit segment was not made; searches read the segment");
                INDEXES * 12
            }
        };
    }
}

/// As what is damaged is named.
const JOURNAL: &str = "journal";
const STOPPED: &str = "the store's writer has stopped; restart the daemon";
/// Places in the writer's queue: half a second of work at full speed. An attacker who fills it
/// makes everybody wait that long at most; the rest is shed at once.
const QUEUE: usize = 16_384;
/// How long opening waits for the check of the whole file: enough for some 30,000 users; a larger site serves meanwhile.
const CHECK: Duration = Duration::from_millis(250);
/// Time between two looks for records that no index knows.
const INDEXES: Duration = Duration::from_secs(5);
/// Damaged rows that are named.
const NAMED: usize = 20;
