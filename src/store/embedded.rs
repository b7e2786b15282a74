//! The embedded store: a queue, a writer thread, a checkpoint thread, and readers.

use std::net::IpAddr;
use std::ops::Bound;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{broadcast, oneshot};

use crate::model::attempt::Attempt;
use crate::model::audit::AuditRecord;
use crate::model::client::Client;
use crate::model::credential::Credentials;
use crate::model::device::{Device, DeviceId, DeviceState};
use crate::model::enrolment::Delegation;
use crate::model::id::Serial;
use crate::model::issue::{Issue, IssueRefusal, Issued};
use crate::model::sealing::SealAlgorithm;
use crate::model::session::{Session, SessionKey};
use crate::model::source::{Source, SourceState};
use crate::model::token::{Token, TokenState};
use crate::model::user::{User, UserState, Waiver};
use crate::model::user_key::UserKey;
use crate::otp::normal::NormalKey;
use crate::secret::{Entropy, Key256};
use crate::store::catch_up::{catch_up, lost};
use crate::store::damage::guarded;
use crate::store::fold::{Fold, Reader};
use crate::store::head::{Acknowledged, Found as Known};
use crate::store::keeper::Keeper;
use crate::store::log::{Head, Log, RawRecord};
use crate::store::medium::Medium;
use crate::store::probe::Probe;
use crate::store::queue::{Queue, Refused, queue};
use crate::store::record::Table;
use crate::store::seal::Sealer;
use crate::store::transition::changed;
use crate::store::transition::rows::Keys;
use crate::store::wanted::Wanted;
use crate::store::writer::{Command, Gauges, Writer};
use crate::store::{
    Answer, AuditQuery, By, ChainReport, Change, Gathering, Health, Import, KeyPurpose, Outcome,
    Prepared, Progress, Prunable, Retired, Store, StoreError, StoreReport, View, Written, check,
    personal, record, sessions,
};
use crate::time::{Clock, UnixTime};

/// What an embedded store is made of.
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

/// The store in redb files. Dropping it drains the queue, checkpoints and closes the files.
pub struct Embedded {
    queue: Option<Queue<Command>>,
    reading: Arc<Reading>,
    entropy: Arc<dyn Entropy>,
    records: broadcast::Sender<AuditRecord>,
    gauges: Arc<Gauges>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What readers need; shared with blocking tasks.
pub(super) struct Reading {
    pub(super) fold: Arc<Fold>,
    pub(super) log: Arc<Log>,
    pub(super) sealer: Arc<Sealer>,
    /// The checkpoint's word on the chain, as it was found at opening.
    pub(super) found: Option<(u64, &'static str)>,
    probe: Probe,
}

impl Embedded {
    /// Opens the store, or makes a new one, and starts its threads.
    pub fn open(parts: Parts) -> Result<Self, StoreError> {
        let Parts {
            medium,
            master,
            algorithm,
            clock,
            entropy,
            segment_size,
            checkpoint,
        } = parts;
        let (fold, sealer) = Fold::open(Arc::clone(&medium), &master, algorithm, entropy.as_ref())?;
        let (acknowledged, known) = Acknowledged::open(medium.as_ref(), Arc::clone(&sealer))?;
        let acknowledged = Arc::new(acknowledged);
        let (log, appender) = guarded(|| {
            Log::open(
                medium,
                Arc::clone(&sealer),
                segment_size,
                (Arc::clone(&acknowledged), known),
            )
        })?;
        let fold = Arc::new(fold);
        let applied = fold.head();
        let caught_up = guarded(|| catch_up(&fold, &log, &sealer, applied, appender.head()))?;
        let found = match caught_up {
            None => lost(&log, known, applied.seq, appender.head())?,
            found => found,
        };
        if found.is_none() && known != Known::Head(appender.head()) {
            acknowledged.write(appender.head())?;
            acknowledged.flush()?;
        }
        personal::check_present(&fold.reader(), &sealer)?;
        // What a crash left undone, or an older copy of the keys brought back.
        if let Err(error) = personal::destroy_erased(fold.reader(), &sealer) {
            tracing::error!(%error, "keys of personal data that must not be are not destroyed");
        }
        let gauges = Arc::new(Gauges::default());
        if let Some((seq, what)) = found {
            let cause = format!("audit record {seq}: {what}");
            gauges.fault.store(Some(Arc::new(cause)));
        }
        if found.is_none()
            && let Ok(Some(anchor)) = pruned(&fold.reader(), &sealer)
        {
            // What a crash left behind.
            log.remove(&log.prune(anchor.seq));
        }
        let (queue, commands) = queue(QUEUE);
        let (records, _) = broadcast::channel(TAIL);
        let (chores, to_do) = std::sync::mpsc::channel();
        let mut threads = Vec::new();
        if found.is_none() {
            let writer = Writer {
                queue: commands,
                appender,
                fold: Arc::clone(&fold),
                sealer: Arc::clone(&sealer),
                entropy: Arc::clone(&entropy),
                clock,
                records: records.clone(),
                gauges: Arc::clone(&gauges),
                chores,
                failed: None,
            };
            threads.push(spawn("store-writer", move || writer.run())?);
            if let Err(error) = guarded(|| check::recent(&fold, &log)) {
                tracing::error!(%error, "the newest records could not be compared with main.redb");
            }
            let keeper = Keeper {
                fold: Arc::clone(&fold),
                log: Arc::clone(&log),
                sealer: Arc::clone(&sealer),
                gauges: Arc::clone(&gauges),
                acknowledged,
                to_do,
                every: checkpoint,
            };
            let (checked, done) = std::sync::mpsc::sync_channel(1);
            threads.push(spawn("store-checkpoint", move || keeper.run(&checked))?);
            // Nearly always it is over by then; a large store is looked through while it works.
            let _ = done.recv_timeout(CHECK);
        }
        let reading = Arc::new(Reading {
            fold,
            log,
            sealer,
            found,
            probe: Probe::default(),
        });
        let threads = Mutex::new(threads);
        Ok(Self {
            queue: Some(queue),
            reading,
            entropy,
            records,
            gauges,
            threads,
        })
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Command,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let queue = self
            .queue
            .as_ref()
            .expect("the queue lives as long as the store");
        match queue.push(command(reply)) {
            Ok(()) => {}
            // Shed at once: what waits in a full queue would be answered too late anyway.
            Err(Refused::Full) => return Err(StoreError::Shed),
            Err(Refused::Closed) => return Err(self.unavailable()),
        }
        answer.await.unwrap_or_else(|_| Err(self.unavailable()))
    }

    /// Why nothing can be committed at present. A writer that has ended commits nothing.
    fn fault(&self) -> Option<String> {
        let known = self.gauges.fault.load().as_ref().map(ToString::to_string);
        let ended = || {
            let threads = self.threads.lock().expect("no panic under this lock");
            let ended = threads.iter().find(|thread| thread.is_finished())?;
            let name = ended.thread().name().unwrap_or("store").to_owned();
            Some(format!("the thread {name} has ended; restart the daemon"))
        };
        let closed = self.queue.as_ref().is_none_or(Queue::is_closed);
        known
            .or_else(ended)
            .or_else(|| closed.then(|| STOPPED.to_owned()))
            .or_else(|| self.reading.undecidable())
    }

    fn unavailable(&self) -> StoreError {
        StoreError::Unavailable(self.fault().unwrap_or_else(|| STOPPED.to_owned()))
    }

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
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.gauges.closing.store(true, Ordering::Relaxed);
        // The writer ends when the queue's last sender is gone, the checkpoint thread after it.
        self.queue = None;
        let threads = std::mem::take(&mut *self.threads.lock().expect("no panic under this lock"));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a store thread panicked");
            }
        }
    }
}

impl Store for Embedded {
    fn view<'a>(&'a self, user: &'a UserKey) -> Answer<'a, Option<View>> {
        Box::pin(async move { self.reading.view(user) })
    }

    fn attempt(&self, attempt: Attempt) -> Answer<'_, Outcome> {
        Box::pin(self.ask(|reply| Command::Attempt(Box::new(attempt), reply)))
    }

    fn gather(&self) -> Gathering<'_> {
        let gathering = self.queue.as_ref().map(Queue::gather);
        Gathering::new(move || drop(gathering))
    }

    fn issue(&self, issue: Issue) -> Answer<'_, Result<Issued, IssueRefusal>> {
        Box::pin(self.ask(|reply| Command::Issue(Box::new(issue), reply)))
    }

    fn credentials<'a>(&'a self, user: &'a UserKey) -> Answer<'a, Credentials> {
        Box::pin(async move {
            let key = record::user_key(user);
            let open = |row: &[u8]| record::credentials(&key, row, &self.reading.sealer);
            let rows = self.reading.fold.reader();
            Ok(rows
                .get(Table::Credentials, &key, open)?
                .unwrap_or_default())
        })
    }

    fn source(&self, source: Source) -> Answer<'_, SourceState> {
        Box::pin(async move {
            let rows = self.reading.fold.reader();
            let state = rows.get(Table::Sources, source.octets(), record::source_state)?;
            Ok(state.unwrap_or_default())
        })
    }

    fn key(&self, purpose: KeyPurpose) -> Key256 {
        self.reading.sealer.key(purpose)
    }

    fn prepare(&self, records: Vec<Import>, at: UnixTime) -> Result<Prepared, StoreError> {
        let keys = Keys {
            now: at,
            actor: "",
            sealer: &self.reading.sealer,
            entropy: self.entropy.as_ref(),
        };
        Prepared::new(records, keys)
    }

    fn change(&self, change: Change, by: By) -> Answer<'_, ()> {
        Box::pin(async move {
            // What takes long is done here, so that the writer's queue does not wait for it.
            if let Change::CreateUser(_) = change {
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
        })
    }

    fn users<'a>(&'a self, after: Option<&'a UserKey>, limit: usize) -> Answer<'a, Vec<User>> {
        Box::pin(async move {
            let after = after.map(record::user_key);
            page(
                &self.reading.fold.reader(),
                Table::Users,
                after.as_deref(),
                limit,
                |row| record::user(row, &self.reading.sealer),
            )
        })
    }

    fn user_states<'a>(
        &'a self,
        after: Option<&'a UserKey>,
        limit: usize,
    ) -> Answer<'a, Vec<(UserKey, UserState)>> {
        Box::pin(async move {
            let after = after.map(record::user_key);
            let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let mut page = Vec::new();
            let rows = self.reading.fold.reader();
            rows.list(Table::UserStates, b"", from, |key, row| {
                if page.len() < limit {
                    page.push((record::owner(key)?, record::user_state(row)?));
                }
                Ok(page.len() < limit)
            })?;
            Ok(page)
        })
    }

    fn namesakes<'a>(&'a self, user: &'a UserKey) -> Answer<'a, Vec<UserKey>> {
        Box::pin(async move { namesakes(&self.reading.fold.reader(), user) })
    }

    fn token<'a>(&'a self, serial: &'a Serial) -> Answer<'a, Option<(Token, TokenState)>> {
        Box::pin(async move { self.reading.token(serial) })
    }

    fn tokens<'a>(
        &'a self,
        after: Option<(&'a UserKey, &'a Serial)>,
        limit: usize,
    ) -> Answer<'a, Vec<(Token, TokenState)>> {
        Box::pin(async move {
            let after =
                after.map(|(user, serial)| record::token_key(&record::user_key(user), serial));
            let rows = self.reading.fold.reader();
            let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let mut tokens = Vec::new();
            rows.list(Table::Tokens, b"", from, |_, row| {
                // What counts for a second user is listed with its owner.
                if tokens.len() < limit && record::link_target(row).is_none() {
                    let token = record::token(row, &self.reading.sealer)?;
                    tokens.push(with_state(&rows, token)?);
                }
                Ok(tokens.len() < limit)
            })?;
            Ok(tokens)
        })
    }

    fn tokens_at<'a>(&'a self, address: &'a str) -> Answer<'a, Vec<(Token, TokenState)>> {
        Box::pin(async move {
            let mark = record::address_mark(address, &self.reading.sealer);
            let prefix = record::address_key(&mark, "");
            let mut serials: Vec<Serial> = Vec::new();
            let rows = self.reading.fold.reader();
            rows.scan(Table::Addresses, &prefix, Bound::Unbounded, |key, _| {
                let serial = record::last_part(key, &prefix)?.parse();
                serials.push(serial.map_err(|_| UNREADABLE)?);
                Ok(serials.len() < SHARED_ADDRESS)
            })?;
            drop(rows);
            let mut tokens = Vec::new();
            for serial in serials {
                tokens.extend(self.reading.token(&serial)?);
            }
            Ok(tokens)
        })
    }

    fn device<'a>(&'a self, id: &'a DeviceId) -> Answer<'a, Option<(Device, DeviceState)>> {
        Box::pin(async move {
            let rows = self.reading.fold.reader();
            let name = id.as_str().as_bytes();
            let owner = rows.get(Table::DeviceOwners, name, |row| Ok(row.to_vec()))?;
            let Some(owner) = owner else { return Ok(None) };
            let key = record::device_key(&owner, id);
            let device = rows.get(Table::Devices, &key, record::device)?;
            device.map(|device| device_state(&rows, device)).transpose()
        })
    }

    fn retired(&self, after: Option<Vec<u8>>, limit: usize) -> Answer<'_, Vec<(Vec<u8>, Retired)>> {
        Box::pin(async move { retired(&self.reading.fold.reader(), after.as_deref(), limit) })
    }

    fn with_key<'a>(&'a self, key: &'a NormalKey) -> Answer<'a, Option<Serial>> {
        let reading = &self.reading;
        Box::pin(async move { holder(&reading.fold.reader(), key, &reading.sealer) })
    }

    fn retired_with<'a>(&'a self, key: &'a NormalKey) -> Answer<'a, Option<Retired>> {
        Box::pin(async move {
            let key = record::retired_key(key, &self.reading.sealer);
            let rows = self.reading.fold.reader();
            rows.get(Table::Retired, &key, record::retired)
        })
    }

    fn devices<'a>(&'a self, user: &'a UserKey) -> Answer<'a, Vec<(Device, DeviceState)>> {
        Box::pin(async move {
            let rows = self.reading.fold.reader();
            let mut devices = Vec::new();
            let prefix = record::devices_prefix(user);
            rows.scan(Table::Devices, &prefix, Bound::Unbounded, |_, row| {
                devices.push(record::device(row)?);
                Ok(true)
            })?;
            let devices = devices.into_iter();
            devices.map(|device| device_state(&rows, device)).collect()
        })
    }

    fn sessions<'a>(
        &'a self,
        after: Option<SessionKey>,
        limit: usize,
        wanted: &'a (dyn Fn(&Session) -> bool + Sync),
    ) -> Answer<'a, Vec<Session>> {
        Box::pin(sessions::list(&self.reading.fold, after, limit, wanted))
    }

    fn open_sessions<'a>(
        &'a self,
        of: (&'a str, &'a str),
        after: Option<&'a SessionKey>,
        limit: usize,
    ) -> Answer<'a, Vec<SessionKey>> {
        Box::pin(async move { sessions::open(&self.reading.fold, of, after, limit) })
    }

    fn outage(&self) -> Answer<'_, Option<Waiver>> {
        Box::pin(async move {
            let rows = self.reading.fold.reader();
            rows.get(Table::Settings, record::OUTAGE, record::waiver)
        })
    }

    fn delegations(&self) -> Answer<'_, Vec<Delegation>> {
        Box::pin(async move {
            let rows = self.reading.fold.reader();
            page(
                &rows,
                Table::Delegations,
                None,
                usize::MAX,
                record::delegation,
            )
        })
    }

    fn notified(&self) -> Answer<'_, u64> {
        Box::pin(async move {
            let rows = self.reading.fold.reader();
            let seq = rows.get(Table::Settings, record::NOTIFIED, |row| {
                let octets = row.try_into().map_err(|_| UNREADABLE)?;
                Ok(u64::from_be_bytes(octets))
            })?;
            Ok(seq.unwrap_or_default())
        })
    }

    fn clients(&self) -> Answer<'_, Vec<Client>> {
        Box::pin(async move {
            page(
                &self.reading.fold.reader(),
                Table::Clients,
                None,
                usize::MAX,
                |row| record::client(row, &self.reading.sealer),
            )
        })
    }

    fn lessons(&self) -> Answer<'_, Vec<(String, IpAddr)>> {
        Box::pin(async move {
            let mut lessons = Vec::new();
            let rows = self.reading.fold.reader();
            rows.list(Table::Lessons, b"", Bound::Unbounded, |key, _| {
                lessons.push(record::lesson(key)?);
                Ok(true)
            })?;
            Ok(lessons)
        })
    }

    fn prunable(&self, before: UnixTime) -> Answer<'_, Option<Prunable>> {
        Box::pin(self.read_log(move |reading, wanted| {
            let applied = reading.fold.applied();
            let wanted = || wanted.check();
            let anchor = reading.log.prunable(before, applied, &wanted)?;
            Ok(anchor.map(|anchor| Prunable { before, anchor }))
        }))
    }

    fn audit(&self, query: AuditQuery) -> Answer<'_, Vec<AuditRecord>> {
        Box::pin(self.read_log(move |reading, wanted| reading.audit(&query, wanted)))
    }

    fn audit_after(&self, seq: u64, limit: usize) -> Answer<'_, Vec<AuditRecord>> {
        Box::pin(self.read_log(move |reading, _| {
            let end = reading.fold.head().seq;
            let records = reading.log.read(seq.saturating_add(1), limit)?;
            let known = records.iter().filter(|record| record.seq <= end);
            let opened = |raw: &RawRecord| Ok(changed::opened(raw.parse()?, &reading.sealer));
            known.map(opened).collect()
        }))
    }

    fn audit_entry(&self, seq: u64) -> Answer<'_, Option<Written>> {
        Box::pin(self.read_log(move |reading, _| reading.entry(seq)))
    }

    fn verify_audit(&self, progress: Progress) -> Answer<'_, ChainReport> {
        Box::pin(self.read_log(move |reading, wanted| {
            let progress = |good| {
                progress(good);
                wanted.check()
            };
            let begin = || pruned(&reading.fold.reader(), &reading.sealer);
            let mut start = match begin() {
                Err(StoreError::Corrupt(what)) => {
                    let fault = Some(crate::store::ChainFault { seq: 1, what });
                    let (first, good) = (1, 0);
                    return Ok(ChainReport { first, good, fault });
                }
                start => start?.unwrap_or_default(),
            };
            let report = loop {
                let end = reading.fold.head();
                let report = reading.log.verify(&reading.sealer, start, end, &progress)?;
                let now = begin()?.unwrap_or_default();
                if report.fault.is_none() || now == start {
                    break report;
                }
                // Pruned while it was read: what seems missing went by that.
                start = now;
            };
            Ok(report.with_end(reading.found))
        }))
    }

    fn verify_store(&self) -> Answer<'_, StoreReport> {
        Box::pin(async move {
            let chain = self.verify_audit(Box::new(|_| {})).await?;
            let report = self.read_log(move |reading, wanted| {
                let stop = || wanted.check().is_err();
                check::report(&reading.fold, &reading.log, &reading.sealer, chain, &stop)
            });
            report.await
        })
    }

    fn subscribe(&self) -> broadcast::Receiver<AuditRecord> {
        self.records.subscribe()
    }

    fn health(&self) -> Health {
        let queue = self.queue.as_ref().map_or(0, Queue::len);
        Health {
            fault: self.fault(),
            queue,
            queue_limit: QUEUE,
            first: self.reading.log.first(),
            seq: self.reading.fold.head().seq,
            dirty: self.reading.fold.dirty(),
            commits: self.gauges.commits.load(Ordering::Relaxed),
            records: self.gauges.records.load(Ordering::Relaxed),
            damaged: self.reading.fold.damage().count(),
            damage: self.reading.fold.damage().list(NAMED),
            checkpoint: (self.gauges.checkpoint.load().as_ref()).map(ToString::to_string),
        }
    }

    fn high_water(&self) -> UnixTime {
        self.reading.fold.high_water()
    }
}

impl Reading {
    /// Destroys the keys of personal data that the log says must not be.
    fn erase(&self) -> Result<(), StoreError> {
        personal::destroy_erased(self.fold.reader(), &self.sealer)?;
        // What was brought back is gone again.
        self.fold.damage().erased();
        Ok(())
    }

    /// Why nobody's rows can be read, if that is so.
    fn undecidable(&self) -> Option<String> {
        let view = |user: &UserKey| self.view(user).map(drop);
        self.probe.fault(&self.fold, &view)
    }

    fn view(&self, user: &UserKey) -> Result<Option<View>, StoreError> {
        let rows = self.fold.reader();
        let key = record::user_key(user);
        let Some(user_row) = rows.get(Table::Users, &key, |row| record::user(row, &self.sealer))?
        else {
            return Ok(None);
        };
        let state = rows
            .get(Table::UserStates, &key, record::user_state)?
            .unwrap_or_default();
        let mut tokens = Vec::new();
        let mut links = Vec::new();
        let prefix = record::tokens_prefix(user);
        rows.scan(Table::Tokens, &prefix, Bound::Unbounded, |_, row| {
            match record::link_target(row) {
                None => tokens.push(with_state(&rows, record::token(row, &self.sealer)?)?),
                Some(target) => links.push(target.to_vec()),
            }
            Ok(true)
        })?;
        for target in links {
            let open = |row: &[u8]| record::token(row, &self.sealer);
            if let Some(token) = rows.get(Table::Tokens, &target, open)? {
                tokens.push(with_state(&rows, token)?);
            }
        }
        let generation = rows.generation();
        Ok(Some(View {
            generation,
            user: user_row,
            state,
            tokens,
        }))
    }

    fn token(&self, serial: &Serial) -> Result<Option<(Token, TokenState)>, StoreError> {
        let rows = self.fold.reader();
        let owner = rows.get(Table::Owners, serial.as_str().as_bytes(), |row| {
            Ok(row.to_vec())
        })?;
        let Some(owner) = owner else { return Ok(None) };
        let key = record::token_key(&owner, serial);
        let token = rows.get(Table::Tokens, &key, |row| record::token(row, &self.sealer))?;
        token.map(|token| with_state(&rows, token)).transpose()
    }
}

/// Users of the same name in other realms. Realms are found by skipping from one to the next.
fn namesakes(rows: &Reader<'_>, user: &UserKey) -> Result<Vec<UserKey>, StoreError> {
    let mut found = Vec::new();
    let mut from = Vec::new();
    for _ in 0..REALMS {
        let mut realm = None;
        rows.list(Table::Users, b"", Bound::Excluded(&from), |key, _| {
            realm = Some(record::owner(key)?.realm().to_owned());
            Ok(false)
        })?;
        let Some(realm) = realm else { break };
        let other = UserKey::with_realm(user.name(), &realm);
        if let Some(other) = other.ok().filter(|other| other != user)
            && rows
                .get(Table::Users, &record::user_key(&other), |_| Ok(()))?
                .is_some()
        {
            found.push(other);
        }
        // Behind every row of the realm: a zero ends its name in their keys.
        from = realm.into_bytes();
        from.push(1);
    }
    Ok(found)
}

/// The token that has this key.
fn holder(
    rows: &Reader<'_>,
    key: &NormalKey,
    sealer: &Sealer,
) -> Result<Option<Serial>, StoreError> {
    rows.get(Table::Seeds, &record::seed_key(key, sealer), |row| {
        let serial = std::str::from_utf8(row).ok();
        let serial = serial.and_then(|serial| serial.parse().ok());
        serial.ok_or(StoreError::Corrupt("the token of a key cannot be read"))
    })
}

/// The last steps of keys of removed tokens, after this one, at most so many.
fn retired(
    rows: &Reader<'_>,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<(Vec<u8>, Retired)>, StoreError> {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut page = Vec::new();
    rows.scan(Table::Retired, b"", from, |key, row| {
        page.push((key.to_vec(), record::retired(row)?));
        Ok(page.len() < limit)
    })?;
    Ok(page)
}

/// The link before the first audit record that is kept, if any were pruned.
fn pruned(rows: &Reader<'_>, sealer: &Sealer) -> Result<Option<Head>, StoreError> {
    rows.get(Table::Settings, record::PRUNED, |row| {
        record::pruned(row, sealer)
    })
}

fn with_state(rows: &Reader<'_>, token: Token) -> Result<(Token, TokenState), StoreError> {
    let key = token.serial.as_str().as_bytes();
    let state = rows.needed(Table::TokenStates, key, record::token_state)?;
    Ok((token, state))
}

fn device_state(rows: &Reader<'_>, device: Device) -> Result<(Device, DeviceState), StoreError> {
    let key = device.id.as_str().as_bytes();
    let state = rows.needed(Table::DeviceStates, key, record::device_state)?;
    Ok((device, state))
}

fn page<T>(
    rows: &Reader<'_>,
    table: Table,
    after: Option<&[u8]>,
    limit: usize,
    parse: impl Fn(&[u8]) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut page = Vec::new();
    rows.list(table, b"", from, |_, row| {
        if page.len() < limit {
            page.push(parse(row)?);
        }
        Ok(page.len() < limit)
    })?;
    Ok(page)
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(run).map_err(crate::store::log::disk)
}

/// Most realms that are looked at for users of the same name.
const REALMS: usize = 64;
/// Most tokens that are looked at for one address: a family's telephone has a few.
const SHARED_ADDRESS: usize = 16;

const UNREADABLE: StoreError = StoreError::Corrupt("an entry of an index cannot be read");
const STOPPED: &str = "the store's writer has stopped; restart the daemon";
/// Places in the writer's queue: half a second of work at full speed. An attacker who fills it
/// makes everybody wait that long at most; the rest is shed at once.
const QUEUE: usize = 16_384;
/// Records a slow listener of `tail` may fall behind.
const TAIL: usize = 1024;
/// How long opening waits for the check of the whole file.
const CHECK: Duration = Duration::from_millis(500);
/// Damaged rows that are named.
const NAMED: usize = 20;
