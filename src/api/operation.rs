//! How the server is, its policies and its clock.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::call::{ADMIN, AUDITOR, Access, LOOK, LOOK_AT_REQUESTS, calls};
use crate::api::{AuditChain, Reload, Waiver};

calls! {
    /// How the server is.
    ShowStatus = status: GET "/v1/admin/status" in "operation" for LOOK_AT_REQUESTS,
        200 "How it is": Status;

    /// Checks the store: every row, each table as a whole, the audit chain, and the rows against it.
    ///
    /// Decisions go on meanwhile; the check ends when the asker leaves or the daemon stops. It repairs
    /// nothing: that is done on a stopped store, with `oncegate store verify --repair`.
    // For auditors: it only reads.
    VerifyStore = verify_store: POST "/v1/admin/store/verify" in "operation" for AUDITOR,
        200 "What it looks like": StoreCheck;

    /// Writes a backup: rows and journal as of now, sealed, in one stream.
    ///
    /// Decisions go on meanwhile; one backup is made at a time. It is whole when the stream has ended without an
    /// error; `oncegate restore` makes a store of it, in which no used code is good again. It needs the master key,
    /// which is not in it. With `since` it holds only what came behind another backup, and is restored with that.
    /// That it was sent is on record (`store_backup_send`); it counts as made when `POST /v1/admin/backup/confirm`
    /// says that it was kept.
    Backup = backup: POST "/v1/admin/backup" in "operation" for ADMIN,
        query BackupQuery,
        200 "The backup": String
        => media(&["application/octet-stream"])
        => fails(&[(409, "Another backup is being made, or the journal has not gone on from the one named")]);

    /// Says that a backup was kept: whole, and durable where it is.
    ///
    /// Only who received it knows that. From then on it is the last backup, in the status, the metrics and the audit
    /// (`store_backup`). The fields are those of the header in the clear at its beginning; it may be said again.
    ConfirmBackup = confirm_backup: POST "/v1/admin/backup/confirm" in "operation" for ADMIN,
        body BackupKept,
        204 "On record": ()
        => fails(&[(409, "The journal has not gone on from this backup")]);

    /// Loaded policies.
    ListPolicies = list_policies: GET "/v1/admin/policies" in "policies" for LOOK,
        200 "All of them": Policies;

    /// Vouches for the present time although later times are on record.
    ///
    /// What a clock that was ahead left behind is taken back: steps are used up that were really used, and
    /// no others; waits end within their length from now. It may be repeated when it was interrupted. Each call
    /// sees to 100,000 users at most: ask again with `after` while the answer has `next`.
    RecoverClock = recover_clock: POST "/v1/admin/clock/recover" in "operation" for ADMIN,
        query ClockPage,
        200 "Done, and who is concerned": ClockRecovered;

    /// Compares the configuration in use with the written one: what takes a restart.
    CompareFiles = compare_files: GET "/v1/admin/reload" in "operation" for AUDITOR,
        200 "What differs": Reload;

    /// Reads policies, tables, texts, certificate, gateways, inbound secret and log level again.
    ///
    /// Each part is taken as a whole or stays as it was.
    ReloadFiles = reload: POST "/v1/admin/reload" in "operation" for ADMIN,
        200 "What was taken, what was not and why": Reload;

    /// The process lives.
    Healthz = healthz: GET "/healthz" in "operation" for Access::Open,
        200 "It does": String => media(&["text/plain"]);

    /// Decisions can be made.
    ///
    /// The cause, where they cannot, is told on this machine only: loopback and the admin socket.
    Readyz = readyz: GET "/readyz" in "operation" for Access::Open,
        200 "They can": String => media(&["text/plain"]) => fails(&[(503, "They cannot")]);

    /// This document.
    Openapi = openapi: GET "/openapi.json" in "operation" for Access::Open,
        200 "OpenAPI 3.1": serde_json::Value;

    /// Metrics for Prometheus, in the format that `Accept` prefers.
    ///
    /// Without a key only to the machine's own loopback addresses and on the admin socket; from
    /// elsewhere a key with the scope `admin` is needed, because causes of rejects are counted.
    Metrics = metrics: GET "/metrics" in "operation" for Access::Near,
        200 "The text format 0.0.4, or OpenMetrics 1.0 where `Accept` names `application/openmetrics-text`": String
        => media(&["text/plain", "application/openmetrics-text"])
        => fails(&[
            (401, "Not from loopback, and no or unknown key"),
            (403, "Key without the scope `admin`"),
        ]);
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
    /// Listeners for RADIUS over TLS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub radius_tls: Vec<String>,
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
    /// Decisions of the last hour; absent where no daemon runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_hour: Option<LastHour>,
    /// Rows and tables of the store that are damaged: logins of the users whom they concern are not decided. A journal
    /// with a damaged record counts as one more; where `main.redb` holds that record, decisions go on.
    #[serde(default)]
    pub damaged: u64,
    /// The first of them: table, key, and what is wrong; `journal record N: ..` for a record of the journal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damage: Vec<String>,
    /// Why changed rows could not be written to `main.redb` last; decisions are durable all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// When the last backup was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_backup: Option<String>,
    /// The last audit record in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_backup_seq: Option<u64>,
    /// Format of the store's files.
    #[serde(default)]
    pub store_format: u8,
    /// The state epoch: how often a restore, or the acceptance of an older store, began a new history.
    #[serde(default)]
    pub epoch: u64,
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

/// Decisions of the last hour by the minute, the oldest first; the last one is the minute that runs. A daemon that has not
/// run for an hour has fewer.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct LastHour {
    /// Accepts.
    pub accepts: Vec<u64>,
    /// Rejects.
    pub rejects: Vec<u64>,
    /// Requests that could not be decided.
    pub undecided: Vec<u64>,
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
    /// Tables where it cannot be told whether rows are missing, since the journal of that time was
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

/// What a backup goes on from; the header of that backup has all of it.
#[derive(Clone, Debug, Default, Deserialize, Serialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BackupQuery {
    /// The id of that backup; without it the backup is whole by itself.
    pub since: Option<String>,
    /// The id of its store.
    pub store: Option<String>,
    /// The last record in it.
    pub head: Option<u64>,
    /// The MAC of that record, hexadecimal.
    pub head_mac: Option<String>,
}

/// A backup that was kept, by what its header says.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupKept {
    /// Its id.
    pub backup: String,
    /// The id of its store.
    pub store: String,
    /// The last record in it.
    pub head: u64,
    /// The MAC of that record, hexadecimal.
    pub head_mac: String,
    /// Its octets.
    pub octets: Option<u64>,
}

/// Which users `clock/recover` sees to.
#[derive(Clone, Debug, Default, Deserialize, Serialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ClockPage {
    /// Those behind this one: `next` of the answer before.
    pub after: Option<String>,
    /// At most so many, 1 to 100,000; absent: all, which may take a minute at a large site.
    pub limit: Option<usize>,
}

/// What putting the clock right took back.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ClockRecovered {
    /// Whether decisions are made by the present clock again: they are when there is no `next`.
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
    /// The last audit record whose notices are done; 0: no policy asks for them.
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
