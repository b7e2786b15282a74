//! The store: atomic verbs in domain words. The only place that knows redb and sealing.
//!
//! # Contract (every implementation, checked by `tests/it/store_contract.rs`)
//!
//! - [`Store::view`] is a hint: it narrows the search window and decides nothing.
//! - [`Store::attempt`] decides against the newest state, one attempt after the other per user, and
//!   answers only when the consumption, the counters and the audit record are durable together.
//! - `Err` means *could not decide*: nothing may be accepted on it, nothing was told to anybody.
//!   After [`StoreError::Unavailable`] the attempt may or may not be consumed; it is never accepted.
//! - [`Store::change`] compares the record's revision with the one the caller saw
//!   ([`StoreError::Conflict`] otherwise) and is audited in the same transaction.
//! - The audit trail has no gap, and its order is the order of consumption. What was pruned is missing
//!   at its beginning, by a record that says so.
//!
//! The boundary carries closed-form transitions, never closures over something read earlier, so
//! that a batch in redb and a conditional statement in an SQL database can both execute it.
//!
//! # The embedded store
//!
//! ```text
//! attempt --> queue --> writer thread: settle, append     log-*.redb    the truth: audit records
//!                         one durable commit per batch      |           with the rows they change
//!                         |                                 | fold
//!                         `--> memtable (changed rows) -----'
//!                                  `-- checkpoint thread --> main.redb  rows in key order, and up
//!                                      every 5 s or 100 k rows          to which record
//! ```
//!
//! Opening reads `main.redb` where it is and folds the log's tail behind it; both are bounded, so
//! opening does not grow with the data. See [`log`] and [`fold`] for the files; `head` is the third: up to
//! which record answers have left, so that a log whose end was lost is refused.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::broadcast;

use crate::model::attempt::{Attempt, Settlement};
use crate::model::audit::AuditRecord;
use crate::model::client::Client;
use crate::model::credential::Credentials;
use crate::model::device::{Device, DeviceId, DeviceState};
use crate::model::enrolment::Delegation;
use crate::model::id::{RequestId, Serial};
use crate::model::issue::{Issue, IssueRefusal, Issued};
use crate::model::kind::Kind;
use crate::model::reason::Decision;
use crate::model::session::{Session, SessionKey};
use crate::model::source::{Source, SourceState};
use crate::model::token::{Moving, Token, TokenState};
use crate::model::user::{User, UserState, Waiver};
use crate::model::user_key::UserKey;
use crate::otp::Period;
use crate::otp::normal::NormalKey;
use crate::secret::{EntropyError, Key256};
use crate::time::UnixTime;

pub(crate) mod catch_up;
mod check;
mod closing;
mod damage;
pub mod embedded;
mod floor;
pub mod fold;
mod head;
mod identity;
mod keeper;
pub mod log;
pub mod look;
pub mod medium;
mod memtable;
pub(crate) mod personal;
mod probe;
mod queue;
mod record;
pub mod repair;
mod rows;
pub mod seal;
mod segment;
mod sessions;
mod trail;
mod transition;
mod wanted;
mod writer;

pub(crate) use transition::{
    ACCEPT_CLOCK, FROZEN, LOCKED_FOR_GOOD, OTHER_USE, OWN_REMOVAL, SEED_TAKEN,
};
pub use transition::{
    ACTIONS, Change, DeviceAct, Import, Loaded, LoadedFile, Prepared, Prunable, Reanchor,
    WaiverKind,
};

/// A verb's answer.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The store. See the module's contract.
pub trait Store: Send + Sync + 'static {
    /// What an evaluation needs to know about a user; `None` when there is no such user.
    fn view<'a>(&'a self, user: &'a UserKey) -> Answer<'a, Option<View>>;

    /// Decides and consumes. Durable when it answers.
    fn attempt(&self, attempt: Attempt) -> Answer<'_, Outcome>;

    /// Says that the caller is about to submit many: until the answer is dropped, what is submitted may
    /// wait for that. So one commit takes all of them. For a moment, never across a wait.
    fn gather(&self) -> Gathering<'_>;

    /// Issues a code of a token, or says why not. Durable when it answers `Ok(Ok(..))`.
    fn issue(&self, issue: Issue) -> Answer<'_, Result<Issued, IssueRefusal>>;

    /// The verifiers of what a user knows; none has the default ones.
    fn credentials<'a>(&'a self, user: &'a UserKey) -> Answer<'a, Credentials>;

    /// The failures counted against a source.
    fn source(&self, source: Source) -> Answer<'_, SourceState>;

    /// The key of this purpose, derived from the store's data key: the same after every start.
    fn key(&self, purpose: KeyPurpose) -> Key256;

    /// Makes ready what of an import needs no row, so that the writer need not.
    fn prepare(&self, records: Vec<Import>, at: UnixTime) -> Result<Prepared, StoreError>;

    /// Changes one record under its expected revision. Durable and audited when it answers.
    fn change(&self, change: Change, by: By) -> Answer<'_, ()>;

    /// Users in order of realm and name, after `after`, at most `limit`.
    fn users<'a>(&'a self, after: Option<&'a UserKey>, limit: usize) -> Answer<'a, Vec<User>>;

    /// Users who have a state, in order of realm and name, after `after`, at most `limit`.
    fn user_states<'a>(
        &'a self,
        after: Option<&'a UserKey>,
        limit: usize,
    ) -> Answer<'a, Vec<(UserKey, UserState)>>;

    /// Users of the same name in other realms.
    fn namesakes<'a>(&'a self, user: &'a UserKey) -> Answer<'a, Vec<UserKey>>;

    /// The token with this serial, and its state.
    fn token<'a>(&'a self, serial: &'a Serial) -> Answer<'a, Option<(Token, TokenState)>>;

    /// Tokens of all users, after the one of this user and serial, at most `limit`.
    fn tokens<'a>(
        &'a self,
        after: Option<(&'a UserKey, &'a Serial)>,
        limit: usize,
    ) -> Answer<'a, Vec<(Token, TokenState)>>;

    /// Tokens whose codes are sent to this address, and their state.
    fn tokens_at<'a>(&'a self, address: &'a str) -> Answer<'a, Vec<(Token, TokenState)>>;

    /// The device with this id, and its state.
    fn device<'a>(&'a self, id: &'a DeviceId) -> Answer<'a, Option<(Device, DeviceState)>>;

    /// The last steps of tokens that are gone, after the one with this key, at most `limit`.
    fn retired(&self, after: Option<Vec<u8>>, limit: usize) -> Answer<'_, Vec<(Vec<u8>, Retired)>>;

    /// The token that has this key, ended ones too, of the kinds whose keys come from outside or are shown.
    fn with_key<'a>(&'a self, key: &'a NormalKey) -> Answer<'a, Option<Serial>>;

    /// The last step of the token with this key that is gone.
    fn retired_with<'a>(&'a self, key: &'a NormalKey) -> Answer<'a, Option<Retired>>;

    /// A user's devices in order of id.
    fn devices<'a>(&'a self, user: &'a UserKey) -> Answer<'a, Vec<(Device, DeviceState)>>;

    /// The outage that was declared last, whether or not it has ended.
    fn outage(&self) -> Answer<'_, Option<Waiver>>;

    /// Rights to approve that were lent, ended ones too.
    fn delegations(&self) -> Answer<'_, Vec<Delegation>>;

    /// The last audit record about which nobody has to be told any more.
    fn notified(&self) -> Answer<'_, u64>;

    /// All clients in order of name.
    fn clients(&self) -> Answer<'_, Vec<Client>>;

    /// Sessions in order of client, NAS and id, after the one with this key, at most `limit`, of those that
    /// `wanted` takes.
    fn sessions<'a>(
        &'a self,
        after: Option<SessionKey>,
        limit: usize,
        wanted: &'a (dyn Fn(&Session) -> bool + Sync),
    ) -> Answer<'a, Vec<Session>>;

    /// Open sessions of a NAS (client, NAS) behind this one, at most `limit`.
    fn open_sessions<'a>(
        &'a self,
        of: (&'a str, &'a str),
        after: Option<&'a SessionKey>,
        limit: usize,
    ) -> Answer<'a, Vec<SessionKey>>;

    /// Source addresses of clients with `require = auto` that are known to sign their requests:
    /// (client, address).
    fn lessons(&self) -> Answer<'_, Vec<(String, std::net::IpAddr)>>;

    /// The audit records in segments that are older than a time, for [`Change::PruneAudit`].
    fn prunable(&self, before: UnixTime) -> Answer<'_, Option<Prunable>>;

    /// Audit records, newest first.
    fn audit(&self, query: AuditQuery) -> Answer<'_, Vec<AuditRecord>>;

    /// Audit records after the one with this number, oldest first.
    fn audit_after(&self, seq: u64, limit: usize) -> Answer<'_, Vec<AuditRecord>>;

    /// One audit record and the list of what it made, changed or removed, in order; `None`: there is none
    /// with this number any more, or yet.
    fn audit_entry(&self, seq: u64) -> Answer<'_, Option<Written>>;

    /// Checks the audit chain from the first record that is kept to the last; `progress` hears how many records
    /// have been read.
    fn verify_audit(&self, progress: Progress) -> Answer<'_, ChainReport>;

    /// Checks everything: every row, each table as a whole, the audit chain, and the rows against the
    /// records that wrote them. Whoever drops the answer ends the check.
    fn verify_store(&self) -> Answer<'_, StoreReport>;

    /// Every record as it becomes durable.
    fn subscribe(&self) -> broadcast::Receiver<AuditRecord>;

    /// How the store is.
    fn health(&self) -> Health;

    /// The latest time seen in any durable record. The service refuses to let time fall behind it.
    fn high_water(&self) -> UnixTime;
}

/// Ends a gathering when it is dropped.
pub struct Gathering<'a>(Option<Box<dyn FnOnce() + 'a>>);

impl<'a> Gathering<'a> {
    /// `end` is called once.
    pub fn new(end: impl FnOnce() + 'a) -> Self {
        Self(Some(Box::new(end)))
    }
}

impl Drop for Gathering<'_> {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

/// An audit record with what its rows say.
#[derive(Clone, Debug)]
pub struct Written {
    /// The record.
    pub record: AuditRecord,
    /// `user alice@default`, `token TOTP-7F3K9Q2M of alice@default`, in the order they were written.
    pub records: Vec<String>,
    /// SHA-256 of that list, one a line, in hexadecimal digits.
    pub sha256: String,
}

/// Hears how many records a long reading has passed.
pub type Progress = Box<dyn Fn(u64) + Send>;

/// What an evaluation needs to know about a user.
#[derive(Clone, Debug)]
pub struct View {
    /// Generation of the static records at the time of reading.
    pub generation: u64,
    /// The user.
    pub user: User,
    /// Its counters.
    pub state: UserState,
    /// Its tokens in order of serial, with keys opened.
    pub tokens: Vec<(Token, TokenState)>,
}

impl View {
    /// The kind of one of its tokens.
    pub fn kind_of(&self, serial: &Serial) -> Option<Kind> {
        let token = self
            .tokens
            .iter()
            .find(|(token, _)| token.serial == *serial);
        token.map(|(token, _)| token.kind)
    }
}

/// What is kept of a token that is gone: the same key under another name must not make used codes good
/// again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Retired {
    /// The name that it had.
    pub serial: Serial,
    /// Seconds per code; none for a counter.
    pub period: Option<Period>,
    /// The moving factor; without drift.
    pub moving: Moving,
}

/// What became of an attempt.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Decided, and durable.
    Settled(Box<Settlement>),
    /// The view had gone stale: load it and compare again. Nothing was counted.
    Stale,
}

/// What a derived key is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyPurpose {
    /// Mixed into every PIN and password before it is hashed, so that the hashes alone are useless.
    Pepper,
    /// Seals challenges.
    Challenge,
    /// Proves that a Class is ours.
    Class,
}

/// Who makes a change, for the audit.
#[derive(Clone, Debug)]
pub struct By {
    /// Names the request.
    pub request: RequestId,
    /// What rights and approvals are bound to: `uid 0`, `api:NAME`, `daemon`.
    pub actor: String,
    /// The same with the person behind it where the system knows one: `alice(uid 1000)`.
    pub person: Option<Arc<str>>,
    /// When.
    pub at: UnixTime,
}

impl By {
    /// The daemon itself.
    pub fn daemon((request, at): (RequestId, UnixTime)) -> Self {
        Self {
            request,
            actor: "daemon".to_owned(),
            person: None,
            at,
        }
    }

    /// As the audit names them.
    pub fn shown(&self) -> String {
        let person = self.person.as_deref();
        person.unwrap_or(&self.actor).to_owned()
    }
}

/// Which audit records.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Only records before this one.
    pub before: Option<u64>,
    /// Only records at or after this time.
    pub since: Option<UnixTime>,
    /// Only records before this time.
    pub until: Option<UnixTime>,
    /// Only decisions about this user (canonical) or changes of it.
    pub user: Option<String>,
    /// Only decisions that this client asked for.
    pub client: Option<String>,
    /// Only decisions with this reason.
    pub reason: Option<crate::model::reason::Reason>,
    /// Only decisions whose request named this NAS, by its NAS-Identifier in any case or its address, or
    /// came from one of these clients.
    pub nas: Option<(String, Vec<String>)>,
    /// Only changes of this kind.
    pub action: Option<String>,
    /// Only decisions with this outcome.
    pub decision: Option<Decision>,
    /// Only records of this request.
    pub request: Option<RequestId>,
    /// At most this many.
    pub limit: usize,
}

/// What the chain looks like.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChainReport {
    /// The first record that is kept; those before it were pruned.
    pub first: u64,
    /// Records read and found right.
    pub good: u64,
    /// The first record that is not as it was written, and what is wrong with it.
    pub fault: Option<ChainFault>,
}

/// The first break of the audit chain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChainFault {
    /// Which record.
    pub seq: u64,
    /// What is wrong with it.
    pub what: &'static str,
}

/// How the store is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Health {
    /// Why it cannot commit at present, if it cannot.
    pub fault: Option<String>,
    /// Attempts and changes waiting.
    pub queue: usize,
    /// Places in the queue.
    pub queue_limit: usize,
    /// First audit record that is kept.
    pub first: u64,
    /// Last durable audit record.
    pub seq: u64,
    /// Rows changed since the last checkpoint.
    pub dirty: usize,
    /// Commits since start.
    pub commits: u64,
    /// Records since start.
    pub records: u64,
    /// Rows and tables that are damaged: nobody whom they concern can be let in.
    pub damaged: u64,
    /// The first of them, by name.
    pub damage: Vec<DamagedRow>,
    /// Why the last checkpoint failed, if it did.
    pub checkpoint: Option<String>,
}

/// What the store looks like.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoreReport {
    /// The audit chain.
    pub chain: ChainReport,
    /// Rows that were read.
    pub rows: u64,
    /// Rows and tables that are damaged.
    pub damaged: u64,
    /// The first of them.
    pub damage: Vec<DamagedRow>,
    /// Tables of which nobody can tell whether rows are missing: a damaged row's part in the sum is not
    /// known, and the journal of that time was pruned.
    pub unproven: Vec<&'static str>,
}

/// A row, or all of a table, that is not as it was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DamagedRow {
    /// The table.
    pub table: &'static str,
    /// The row's key, readable; `None`: the whole table.
    pub key: Option<String>,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for DamagedRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { table, key, what } = self;
        match key {
            Some(key) => write!(f, "{table} {key}: {what}"),
            None => write!(f, "{table}: {what}"),
        }
    }
}

/// Why a verb has no answer. Nothing is ever accepted on one of these.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The record exists already, or its revision is not the expected one.
    #[error("{0}")]
    Conflict(&'static str),
    /// There is no such record.
    #[error("not found")]
    NotFound,
    /// The device is unknown, revoked or has another key by now; or this request of it was taken
    /// before, is out of its time, or is one of too many.
    #[error("the device's request is not taken")]
    NotTaken,
    /// The queue is full, or the request's deadline passed before it was evaluated.
    #[error("the store is overloaded")]
    Shed,
    /// A commit failed or is in doubt.
    #[error("the store cannot commit: {0}")]
    Unavailable(String),
    /// The master key does not open this store.
    #[error(
        "the master key does not open this store; use the key file that `oncegate init` wrote beside it, or the backup of it"
    )]
    WrongMasterKey,
    /// Another process has the store open.
    #[error("the store is in use by another oncegate process")]
    InUse,
    /// Something on disk is not as it was written.
    #[error("the store is damaged: {0}")]
    Corrupt(&'static str),
    /// A file beside `main.redb` is not as it was written.
    #[error("{file} is damaged: {what}")]
    File {
        /// Its name.
        file: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The store was written by a newer version.
    #[error(
        "the store has format {found}, this version reads up to {known}; run the newer version"
    )]
    NewerFormat {
        /// Format on disk.
        found: u8,
        /// Newest format this version knows.
        known: u8,
    },
    /// A value does not fit a record.
    #[error("a value is too large for a record")]
    TooLarge,
    /// No random octets.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The database engine or the disk failed.
    #[error("{0}")]
    Disk(String),
}
