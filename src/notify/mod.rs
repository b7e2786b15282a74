//! Telling users what happened to their account: the audit trail is the outbox.
//!
//! ```text
//! trail --records after the cursor--> notice, wanted by a policy? --tell--> courier
//!   ^                                      | not taken: again, later          |
//!   '---- notice_sent, notice_failed; the cursor moves behind what is done ---'
//! ```
//!
//! Invariants (capabilities C9):
//! - Every notice is sent at least once, whenever the daemon ends: the cursor stays before what is
//!   not done. What was done behind it is known by its own record in the trail, so that only a
//!   notice whose sending and whose record a crash has parted is sent twice; with the same id, from
//!   the MAC of what it tells.
//! - A notice that cannot be sent holds up no other, and is given up after [`GIVE_UP`]. At most
//!   [`OPEN`] are held in memory; what comes behind them waits in the trail.
//! - What is written here tells nothing, and moves the cursor together with what did.
//! - A cursor of zero means that no one is told; telling begins with what happens from then on.
//!
//! Threat: notices are a way to ring someone's telephone. Each user gets [`Quota::USER`] a day, of
//! which locks, which a stranger can bring about, take half: no one hides an enrolment behind them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::core::Core;
use crate::core::issue::note;
use crate::diagnostic::units::count;
use crate::model::audit::{AuditRecord, Event};
use crate::notice::{Notice, notice};
use crate::policy::{Medium as Wish, Policy};
use crate::secret::random;
use crate::store::{By, Change, Records, StoreError};
use crate::time::UnixTime;

mod quota;
mod tell;

use quota::{Allowed, Quota};
use tell::{Reached, Told, hows, tell};

/// How telling gets on, for people. Counts are since start.
#[derive(Debug, Default)]
pub struct Gauges {
    waiting: AtomicUsize,
    sent: AtomicU64,
    failed: AtomicU64,
    retried: AtomicU64,
}

impl Gauges {
    /// Notices that are not done yet.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Notices that a gateway took.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Notices that were given up.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Attempts that failed and are repeated.
    pub fn retried(&self) -> u64 {
        self.retried.load(Ordering::Relaxed)
    }
}

/// Tells users until `shutdown`. One task per store: the daemon's.
pub async fn run(core: Arc<Core>, gauges: Arc<Gauges>, shutdown: CancellationToken) {
    loop {
        let done = if is_wanted(&core) {
            work(&core, &gauges, &shutdown).await
        } else {
            rest(&core).await
        };
        let pause = match done {
            Ok(()) => LOOK,
            Err(error) => {
                tracing::warn!(%error, "users are not told at present; it will be tried again");
                TROUBLE
            }
        };
        if shutdown.run_until_cancelled(sleep(pause)).await.is_none() {
            return;
        }
    }
}

/// Whether a policy that someone is judged by tells users anything. Where it does not say so itself, nothing is looked at
/// or put on record without a gateway.
fn is_wanted(core: &Core) -> bool {
    let policies = core.policies();
    let gateways = core.courier().gateways();
    let carried = |wish: &Wish| {
        let mut media = gateways.iter().flat_map(|gateway| &gateway.media);
        media.any(|medium| medium.as_str() == wish.as_str())
    };
    let tells = |policy: Option<&Policy>| {
        policy.is_some_and(|Policy { notify, .. }| {
            let unsaid = notify.unsaid && notify.media.iter().any(carried);
            unsaid || !notify.events.is_empty()
        })
    };
    let clients = core.clients.all();
    let mut named = clients.iter().filter_map(|client| client.policy.as_deref());
    tells(policies.resolve(None)) || named.any(|name| tells(policies.get(name)))
}

/// While no one is told no record is looked at.
async fn rest(core: &Core) -> Result<(), StoreError> {
    if core.store.notified()? == 0 {
        return Ok(());
    }
    set_cursor(core, 0, "no policy tells users anything".to_owned()).await
}

async fn work(
    core: &Arc<Core>,
    gauges: &Arc<Gauges>,
    shutdown: &CancellationToken,
) -> Result<(), StoreError> {
    // Before the trail is read, so that nothing falls between the two.
    let mut records = core.store.subscribe();
    let mut outbox = Outbox::open(Arc::clone(core), Arc::clone(gauges)).await?;
    outbox.work(&mut records, shutdown).await?;
    outbox.close().await
}

/// What is to be told.
struct Outbox {
    core: Arc<Core>,
    gauges: Arc<Gauges>,
    /// The last record that was looked at.
    seen: u64,
    /// The cursor on record.
    cursor: u64,
    /// What is not done, by the number of its record.
    open: BTreeMap<u64, Open>,
    /// When what is not being sent at present is due.
    due: BTreeSet<(UnixTime, u64)>,
    /// Records behind the cursor of which the trail says that they are done.
    done: HashSet<u64>,
    sending: JoinSet<Told>,
    /// Which record a task is about.
    tasks: HashMap<Id, u64>,
    /// Notices done since the cursor moved.
    fresh: u64,
    quota: Quota,
}

/// A notice that is not done.
#[derive(Clone)]
struct Open {
    notice: Arc<Notice>,
    id: [u8; 16],
    attempts: u32,
    /// Where it has arrived.
    reached: Vec<Reached>,
}

impl Outbox {
    async fn open(core: Arc<Core>, gauges: Arc<Gauges>) -> Result<Self, StoreError> {
        let mut cursor = core.store.notified()?;
        if cursor == 0 {
            // Of an empty trail its own record is the first.
            cursor = core.store.health().seq.max(1);
            set_cursor(&core, cursor, "users are told of what follows".to_owned()).await?;
        }
        let mut done = HashSet::new();
        let mut seq = cursor;
        loop {
            let page = core.store.audit_after(seq, PAGE).await?;
            let Some(last) = page.last() else { break };
            seq = last.seq;
            done.extend(page.iter().filter_map(receipt));
        }
        Ok(Self {
            core,
            gauges,
            seen: cursor,
            cursor,
            open: BTreeMap::new(),
            due: BTreeSet::new(),
            done,
            sending: JoinSet::new(),
            tasks: HashMap::new(),
            fresh: 0,
            quota: Quota::default(),
        })
    }

    /// Until `shutdown`, or until no policy tells anything any more.
    async fn work(
        &mut self,
        records: &mut Records,
        shutdown: &CancellationToken,
    ) -> Result<(), StoreError> {
        let mut behind = true;
        loop {
            if behind {
                behind = !self.catch_up().await?;
            }
            self.send_due().await;
            let waiting = &self.gauges.waiting;
            waiting.store(self.open.len(), Ordering::Relaxed);
            self.move_cursor().await?;
            let pause = self.pause();
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                Some(done) = self.sending.join_next_with_id() => self.finished(done).await,
                heard = records.recv(), if !behind => match heard {
                    Ok(record) => behind = !self.hear(record),
                    Err(RecvError::Lagged(_)) => behind = true,
                    Err(RecvError::Closed) => return Ok(()),
                },
                () = sleep(pause) => if !is_wanted(&self.core) {
                    return Ok(());
                },
            }
        }
    }

    /// Reads what is in the trail; whether all of it was read.
    async fn catch_up(&mut self) -> Result<bool, StoreError> {
        while self.has_room() {
            let page = self.core.store.audit_after(self.seen, PAGE).await?;
            if page.is_empty() {
                return Ok(true);
            }
            for record in page {
                if !self.has_room() {
                    return Ok(false);
                }
                self.take(&record);
            }
        }
        Ok(false)
    }

    /// Takes a record that was just written; whether none before it is missing.
    fn hear(&mut self, record: &AuditRecord) -> bool {
        if record.seq <= self.seen {
            return true;
        }
        if record.seq > self.seen + 1 || !self.has_room() {
            return false;
        }
        self.take(record);
        true
    }

    fn take(&mut self, record: &AuditRecord) {
        self.seen = record.seq;
        let Some(notice) = notice(record) else { return };
        if self.done.remove(&record.seq) || !notice.is_wanted(&self.core.policies()) {
            return;
        }
        let now = self.core.now();
        if now.since(record.at) > STALE {
            tracing::warn!(record = record.seq, "too old to be told");
            return;
        }
        let mut id = [0; 16];
        id.copy_from_slice(&record.mac[..16]);
        let open = Open {
            notice: Arc::new(notice),
            id,
            attempts: 0,
            reached: Vec::new(),
        };
        self.open.insert(record.seq, open);
        self.due.insert((now, record.seq));
    }

    /// Begins to send what is due, as far as there are places.
    async fn send_due(&mut self) {
        let now = self.core.now();
        while self.sending.len() < IN_FLIGHT
            && let Some((due, seq)) = self.due.first().copied()
            && due <= now
        {
            self.due.pop_first();
            let Some(open) = self.open.get(&seq).cloned() else {
                continue;
            };
            if open.attempts == 0 {
                match self.quota.take(&open.notice, now) {
                    Allowed::Yes => {}
                    Allowed::No { first } => {
                        let why = format!("there were {} notices today", Quota::USER);
                        self.give_up(seq, first.then_some(why)).await;
                        continue;
                    }
                }
            }
            let core = Arc::clone(&self.core);
            let task = self.sending.spawn(async move {
                let (notice, attempts) = (open.notice.as_ref(), open.attempts);
                let told = tell(&core, notice, open.id, attempts, open.reached).await;
                match &told {
                    Told::Sent(how) => record(&core, "notice_sent", seq, notice, how).await,
                    Told::Unreachable(why) => {
                        record(&core, "notice_failed", seq, notice, why).await;
                    }
                    Told::NoUser | Told::Failed(..) => {}
                }
                told
            });
            self.tasks.insert(task.id(), seq);
        }
    }

    async fn finished(&mut self, done: Result<(Id, Told), JoinError>) {
        let (task, told) = match done {
            Ok(done) => done,
            Err(error) => (error.id(), Told::Failed(error.to_string(), Vec::new())),
        };
        let Some(seq) = self.tasks.remove(&task) else {
            return;
        };
        let gauges = &self.gauges;
        match told {
            Told::Sent(_) => {
                gauges.sent.fetch_add(1, Ordering::Relaxed);
                self.close_one(seq);
            }
            Told::Unreachable(_) => self.give_up(seq, None).await,
            Told::NoUser => self.close_one(seq),
            Told::Failed(error, reached) => {
                let now = self.core.now();
                let Some(open) = self.open.get_mut(&seq) else {
                    return;
                };
                open.attempts += 1;
                // Where it arrived is forgotten only with the task that ended badly: told twice is told.
                open.reached = reached;
                if now.since(open.notice.at) >= GIVE_UP {
                    return self.give_up(seq, Some(error)).await;
                }
                let doubled = 1_u32.checked_shl(open.attempts - 1).unwrap_or(u32::MAX);
                let pause = PAUSE.saturating_mul(doubled).min(PAUSE_MOST);
                tracing::warn!(record = seq, %error, ?pause, "a notice was not sent; again later");
                self.due.insert((now.plus(pause), seq));
                gauges.retried.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// It will not be told. `why` is for the trail, if it does not know yet.
    async fn give_up(&mut self, seq: u64, why: Option<String>) {
        let open = self.open.get(&seq).filter(|open| !open.reached.is_empty());
        if let (Some(open), Some(why)) = (open, &why) {
            let how = format!("{}; not {why}", hows(&open.reached));
            record(&self.core, "notice_sent", seq, &open.notice, &how).await;
            self.gauges.sent.fetch_add(1, Ordering::Relaxed);
            return self.close_one(seq);
        }
        self.gauges.failed.fetch_add(1, Ordering::Relaxed);
        if let (Some(open), Some(why)) = (self.open.get(&seq), why) {
            tracing::error!(record = seq, why, "a user is not told");
            record(&self.core, "notice_failed", seq, &open.notice, &why).await;
        }
        self.close_one(seq);
    }

    fn close_one(&mut self, seq: u64) {
        self.open.remove(&seq);
        self.fresh += 1;
    }

    /// Moves the cursor when there is a reason to: a change costs a commit and a record.
    async fn move_cursor(&mut self) -> Result<(), StoreError> {
        let first = self.open.keys().next();
        let end = first.map_or(self.seen, |first| first - 1);
        let passed = end.saturating_sub(self.cursor);
        let told = self.fresh > 0 && (self.sending.is_empty() || self.fresh >= BATCH);
        if passed == 0 || !(told || passed >= FAR) {
            return Ok(());
        }
        let detail = count(self.fresh, "notice");
        set_cursor(&self.core, end, detail).await?;
        self.cursor = end;
        self.fresh = 0;
        Ok(())
    }

    /// Waits a little for what is being sent; what is not done is sent again after the next start.
    async fn close(&mut self) -> Result<(), StoreError> {
        let finish = async {
            while let Some(done) = self.sending.join_next_with_id().await {
                self.finished(done).await;
            }
        };
        // Who does not answer in time is asked again: at least once is what is promised.
        let _ = timeout(LAST, finish).await;
        self.move_cursor().await
    }

    fn has_room(&self) -> bool {
        self.open.len() < OPEN
    }

    /// Until something is due that there is a place for.
    fn pause(&self) -> Duration {
        let first = self.due.first().filter(|_| self.sending.len() < IN_FLIGHT);
        let now = self.core.now();
        first.map_or(LOOK, |(due, _)| due.since(now).min(LOOK))
    }
}

/// Which record a record says is done.
fn receipt(record: &AuditRecord) -> Option<u64> {
    match &record.event {
        Event::Change(event) if matches!(&*event.action, "notice_sent" | "notice_failed") => {
            event.target.parse().ok()
        }
        _ => None,
    }
}

/// Writes into the trail what became of the notice of a record.
async fn record(core: &Core, action: &'static str, seq: u64, notice: &Notice, what: &str) {
    let detail = format!("{}: {what}", notice.topic.text().as_str());
    let user = Some(notice.user.to_string());
    match by(core) {
        Ok(by) => {
            let store = core.store.as_ref();
            note(store, by, action, seq.to_string(), user, detail).await;
        }
        Err(error) => tracing::error!(action, %error, "not noted in the audit"),
    }
}

async fn set_cursor(core: &Core, seq: u64, detail: String) -> Result<(), StoreError> {
    let change = Change::Notified { seq, detail };
    core.store.change(change, by(core)?).await
}

fn by(core: &Core) -> Result<By, StoreError> {
    let at = core.now();
    let octets = random(core.entropy.as_ref())?;
    Ok(By::daemon((
        crate::model::id::RequestId::new(at, octets),
        at,
    )))
}

/// Time between looks at whether there is something to do, when nothing says so.
const LOOK: Duration = Duration::from_secs(1);
/// Pause after the store could not be read or written.
const TROUBLE: Duration = Duration::from_secs(10);
/// Notices being sent at a time: half the places that a gateway has by default; the rest is for
/// codes, which people wait for.
const IN_FLIGHT: usize = 4;
/// Most notices in memory: some 2 MiB. Anyone who brings about more fills the trail, not the memory.
const OPEN: usize = 4096;
/// Records read at a time.
const PAGE: usize = 500;
/// Notices after which the cursor moves although more are being sent.
const BATCH: u64 = 64;
/// Records after which the cursor moves although nothing was told: what a start reads again.
const FAR: u64 = 10_000;
/// Pause before the second attempt; it doubles ...
const PAUSE: Duration = Duration::from_secs(30);
/// ... up to this.
const PAUSE_MOST: Duration = Duration::from_mins(30);
/// How long after what it tells a notice is tried.
const GIVE_UP: Duration = Duration::from_hours(24);
/// What is older is told to no one for the first time: after a long rest of the daemon.
const STALE: Duration = Duration::from_hours(24 * 7);
/// How long the end of the daemon waits for gateways.
const LAST: Duration = Duration::from_secs(5);
