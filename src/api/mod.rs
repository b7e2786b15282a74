//! The JSON forms of the HTTP API, shared by the server and the command line.
//!
//! Unknown fields are refused: a misspelt field must not be a silent default. `null` is read as an absent
//! field, but where a change clears by it. Times are RFC 3339 in
//! UTC. Fields that carry secrets are [`crate::secret::SecretString`] on the way in; on the way out a secret
//! appears once, in the answer to its creation.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

mod audit;
mod challenges;
mod clients;
mod delivery;
mod devices;
mod enrolment;
pub mod explain;
mod import;
mod reload;
mod self_service;
mod sessions;
mod tokens;
mod users;
mod verify;

pub use audit::*;
pub use challenges::*;
pub use clients::*;
pub use delivery::*;
pub use devices::*;
pub use enrolment::*;
pub use import::*;
pub use reload::*;
pub use self_service::*;
pub use sessions::*;
pub use tokens::*;
pub use users::*;
pub use verify::*;

/// A failure (RFC 9457), `application/problem+json`.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Problem {
    /// A stable name of the kind of failure: `urn:oncegate:problem:NAME`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What was wrong here.
    pub detail: String,
    /// What to do next, where the detail does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// Which page of users, tokens or clients.
#[derive(Clone, Debug, Default, Deserialize, Serialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// `next` of the page before.
    pub after: Option<String>,
    /// At most this many: 1 to 1000, 100 by default.
    pub limit: Option<usize>,
    /// Only tokens of this user.
    pub user: Option<String>,
}

/// Which page of users, and which users: those of whom all that is said here holds. A page looks at a
/// bounded number of users: one may have none that fit and still a `next`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UserPage {
    /// `next` of the page before.
    pub after: Option<String>,
    /// At most this many: 1 to 1000, 100 by default.
    pub limit: Option<usize>,
    /// Only those in this group.
    pub group: Option<String>,
    /// Only those who have no token, or only revoked and expired ones.
    pub without_token: Option<bool>,
    /// Only those who are locked, or have an active token that is; `lock` says how.
    pub locked: Option<bool>,
    /// Only those whose name, phone number, mail address or token's serial has this as a part.
    pub search: Option<String>,
}

/// How the daemon is.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Status {
    /// Whether it can decide.
    pub ready: bool,
    /// Why not.
    pub fault: Option<String>,
    /// Its version.
    pub version: String,
    /// Whether a daemon runs; otherwise the store was read directly.
    pub daemon: bool,
    /// RADIUS listeners.
    pub radius: Vec<String>,
    /// RADIUS listeners for accounting.
    #[serde(default)]
    pub accounting: Vec<String>,
    /// HTTP listeners.
    pub http: Vec<String>,
    /// Loaded policies.
    pub policies: Vec<String>,
    /// Configured clients.
    pub clients: usize,
    /// First audit record that is kept.
    #[serde(default)]
    pub audit_first: u64,
    /// Last durable audit record.
    pub audit_seq: u64,
    /// Attempts and changes waiting to be committed.
    pub queue: usize,
    /// Places in that queue.
    pub queue_limit: usize,
    /// Commits since start.
    pub commits: u64,
    /// Records since start; over commits, the records that shared one.
    pub records: u64,
    /// Accepts since start.
    pub accepts: u64,
    /// Rejects since start.
    pub rejects: u64,
    /// Requests that could not be decided since start.
    pub undecided: u64,
    /// Rows and tables of the store that are damaged: whom they concern nobody can let in.
    #[serde(default)]
    pub damaged: u64,
    /// The first of them: table, key, and what is wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damage: Vec<String>,
    /// Why changed rows could not be written to `main.redb` last; decisions are durable all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// The outage that is declared at present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outage: Option<Waiver>,
    /// How users are told of what happened to their accounts.
    #[serde(default)]
    pub notices: Notices,
    /// Until when the certificate of the HTTPS listeners is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_not_after: Option<String>,
    /// What should be mended about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificate: Vec<String>,
    /// A jump of the daemon's clock within the last day, that no administrator has confirmed yet (`oncegate clock recover`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_jump: Option<ClockJump>,
    /// What the daemon does beside requests; absent where none runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<Job>,
    /// The daemon's clock.
    pub now: String,
    /// The latest time on record.
    pub last_seen: String,
}

/// A background job of the daemon.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Job {
    /// Its name.
    pub name: String,
    /// When its last run ended; absent before the first, and where it waits for events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// What that run did, where there was something to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<String>,
    /// Why that run failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it runs again; absent where it waits for events, or ran once at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What the store looks like.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct StoreCheck {
    /// Whether everything is as it was written.
    pub intact: bool,
    /// Rows of `main.redb` that were read.
    pub rows: u64,
    /// Rows and tables that are damaged.
    pub damaged: u64,
    /// The first thousand of them: table, key, and what is wrong.
    pub damage: Vec<String>,
    /// Tables of which nobody can tell whether rows are missing, since the journal of that time was
    /// pruned.
    pub unproven: Vec<String>,
    /// The audit chain, which is the journal; absent when the store cannot be opened.
    pub journal: Option<AuditChain>,
    /// What the checksums of `main.redb` say: `right`, or what is wrong; absent while a daemon has the
    /// file open.
    pub checksums: Option<String>,
}

/// What a repair of the store did.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct StoreRepair {
    /// Whether `main.redb` was made anew; it is not when nothing was wrong.
    pub repaired: bool,
    /// Journal records that were read for it.
    pub records: u64,
    /// Rows that were taken from the damaged file, because the journal of their time was pruned.
    pub taken: u64,
    /// Under which name the damaged file is kept.
    pub kept: Option<String>,
    /// What could not be saved.
    pub lost: Vec<String>,
    /// Tokens that were closed because codes of them may have been used in audit records that are lost:
    /// the first ten thousand; all are in the audit, as `store_repair`.
    pub closed: Vec<String>,
    /// What the store looks like now.
    pub check: StoreCheck,
}

/// A jump of the clock.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ClockJump {
    /// What the clock said after it.
    pub at: String,
    /// By how many seconds; less than zero where it was set back.
    pub seconds: i64,
    /// What happened, in words.
    pub detail: String,
}

/// Which users `clock/recover` sees to.
#[derive(Clone, Debug, Default, Deserialize, IntoParams, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ClockPage {
    /// Those behind this one: `next` of the answer before.
    pub after: Option<String>,
    /// At most so many, 1 to 100,000.
    pub limit: Option<usize>,
}

/// What putting the clock right took back.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ClockRecovered {
    /// Whether decisions are made by the present clock again.
    pub recovered: bool,
    /// The present.
    pub now: String,
    /// How many users had something in a time that is to come.
    pub affected: usize,
    /// The first 10,000 of them; all are in the audit, as `clock_reanchor`.
    pub users: Vec<ClockAffected>,
    /// The outage that begins in a time to come, if one does; it is left as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outage: Option<Waiver>,
    /// There are more users: ask again with this as `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A user who had something in a time that is to come.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ClockAffected {
    /// Who.
    pub user: String,
    /// What: waits, and by serial the steps, waits and codes of tokens.
    pub what: Vec<String>,
}

/// How users are told of what happened to their accounts. Counts are since start.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct Notices {
    /// The last audit record about which nobody has to be told any more; 0: no policy asks for it.
    pub cursor: u64,
    /// Notices that are not sent yet.
    pub waiting: usize,
    /// Notices that a gateway took.
    pub sent: u64,
    /// Notices that were given up; the audit says why.
    pub failed: u64,
    /// Attempts that failed and are repeated; the log says why.
    pub retried: u64,
}

/// The loaded policies.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Policies {
    /// In order of name.
    pub policies: Vec<PolicySummary>,
}

/// A loaded policy.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct PolicySummary {
    /// Its name.
    pub name: String,
    /// Whom it is for.
    pub description: String,
    /// Its rules, in order.
    pub rules: Vec<String>,
}

/// Reads `null` as if the field were absent: many serializers write a list or map without entries so.
pub(crate) fn unless_null<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: serde::Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Tells `null` from a field that is absent.
pub(crate) fn present<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}
