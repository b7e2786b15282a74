//! What can be asked about the audit trail and the store as a whole, and what is answered.

use crate::model::audit::AuditRecord;
use crate::model::id::RequestId;
use crate::model::reason::{Decision, Reason};
use crate::time::UnixTime;

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

/// Receives how many records a long reading has passed.
pub type Progress = Box<dyn Fn(u64) + Send>;

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
    pub reason: Option<Reason>,
    /// Only decisions whose request named this NAS, by its NAS-Identifier in any case or its address, or
    /// came from one of these clients.
    pub nas: Option<(String, Vec<String>)>,
    /// Only changes of this kind.
    pub action: Option<String>,
    /// Only changes by this actor, as the audit names it, or the person in it: `alice(uid 1000)`, `alice`.
    pub actor: Option<String>,
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
    /// Rows and tables that are damaged: no one whom they concern can be let in. The journal counts as one more
    /// where a record of it is damaged that `main.redb` holds: decisions go on.
    pub damaged: u64,
    /// The first of them, by name; the journal as table `journal`, with the record as key.
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
    /// Tables of which no one can tell whether rows are missing: a damaged row's part in the sum is not
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
