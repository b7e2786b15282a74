//! The audit trail.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::call::{ADMIN, AUDITOR, AuditSeq, calls, pages};
use crate::api::unless_null;

calls! {
    /// Audit records, newest first, a page at a time.
    ListAudit = list_audit: GET "/v1/admin/audit" in "audit" for AUDITOR,
        query AuditQuery,
        200 "A page": Audit;

    /// One audit record, with the list of the records that it made, changed or removed.
    ShowAudit = show_audit: GET "/v1/admin/audit/{seq}" in "audit" for AUDITOR,
        at AuditSeq,
        200 "The record": AuditEntry;

    /// Checks the chain from its first record to the last.
    // For auditors: it only reads.
    VerifyAudit = verify_audit: POST "/v1/admin/audit/verify" in "audit" for AUDITOR,
        200 "What it looks like": AuditChain;

    /// Compares the trail with signed heads of it: numbers and MACs, of at most 5,000.
    // For auditors: it only reads.
    CompareAudit = compare_audit: POST "/v1/admin/audit/compare" in "audit" for AUDITOR,
        body AuditHeads,
        200 "What they say": AuditCompared => large();

    /// Removes old records, in whole segments. The pruning itself is on record, and the chain of what is
    /// left verifies.
    PruneAudit = prune_audit: POST "/v1/admin/audit/prune" in "audit" for ADMIN,
        body AuditPrune,
        200 "What is left": AuditPruned;

    /// Audit records as they become durable, one JSON document a line.
    ///
    /// A listener that is too slow misses records and gets `{"missed":N}` in their place. What is sent ends with the
    /// key that asked for it.
    TailAudit = tail_audit: GET "/v1/admin/audit/tail" in "audit" for AUDITOR,
        200 "Until the connection is closed": AuditRecord => media(&["application/x-ndjson"]);
}

pages!(ListAudit: records by before u64);

/// One audit record.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct AuditRecord {
    /// Position in the chain.
    pub seq: u64,
    /// When.
    pub time: String,
    /// Names the request.
    pub request_id: String,
    /// What happened.
    #[serde(flatten)]
    pub event: AuditEvent,
    /// What it changed, field by field; absent where no record changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<FieldChange>,
}

/// One field of a record, before and after a change.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct FieldChange {
    /// The record, `token TOTP-7F3K9Q2M`; absent: the one that `target` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// The field.
    pub field: String,
    /// Its value before; null where it was empty, a list or a secret.
    pub before: Option<String>,
    /// Its value after; null where it is empty, a list or a secret.
    pub after: Option<String>,
    /// What was added to a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added: Option<Vec<String>>,
    /// What was removed from a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<Vec<String>>,
    /// `set`, `changed` or `removed`, of a secret; its value is never on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// `erased` where the key of the user's personal data was destroyed, `unreadable` where the field is
    /// damaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<String>,
}

/// One audit record, and all records that it made, changed or removed.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct AuditEntry {
    /// The record.
    #[serde(flatten)]
    pub record: AuditRecord,
    /// `user alice@default`, `token TOTP-7F3K9Q2M of alice@default`, in the order they were written.
    pub records: Vec<String>,
    /// SHA-256 of that list, one a line. That of an import is on record as `records_sha256`.
    pub records_sha256: String,
}

/// What happened.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
#[allow(clippy::large_enum_variant)] // nearly all are decisions
pub enum AuditEvent {
    /// A decision was asked for.
    Decision {
        /// What was answered: `accept`, `reject` or `challenge`. Who cannot go on may be asked as any name is: that is
        /// `challenge` with the reason of the refusal; a client that shows no challenges gets `reject` with
        /// `challenged`.
        decision: String,
        /// Why, a word of the closed list.
        reason: String,
        /// `login`, `confirm`, `resync`.
        purpose: String,
        /// Who was to be let in.
        user: String,
        /// The token that decided.
        serial: Option<String>,
        /// The step that was consumed or found used.
        step: Option<u64>,
        /// Who asked.
        client: String,
        /// `radius`, `http`, `admin`.
        channel: String,
        /// Where the person is, if the client said so.
        #[schema(value_type = Option<String>)]
        client_ip: Option<IpAddr>,
        /// NAS-Identifier, as it was sent.
        #[serde(skip_serializing_if = "Option::is_none")]
        nas: Option<String>,
        /// NAS-IP-Address or NAS-IPv6-Address, as it was sent; else the address that the packet came from.
        #[schema(value_type = Option<String>)]
        #[serde(skip_serializing_if = "Option::is_none")]
        nas_ip: Option<IpAddr>,
        /// Calling-Station-Id, as it was sent.
        #[serde(skip_serializing_if = "Option::is_none")]
        calling_station: Option<String>,
        /// `pap`, `http`, `admin`.
        method: String,
        /// `policy:rule`.
        rule: Option<String>,
        /// The exception in force: kind, who granted it, its end, why.
        #[serde(skip_serializing_if = "Option::is_none")]
        waiver: Option<String>,
        /// What a reader must know beside the reason.
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
        /// The user's failures after this attempt.
        failures: u32,
        /// Milliseconds from arrival to the decision, before its commit.
        latency_ms: u32,
    },
    /// Something was changed.
    Change {
        /// Who.
        actor: String,
        /// What was done.
        action: String,
        /// To which record.
        target: String,
        /// The user whom it concerns.
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// What else a reader must know.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
}

/// What the audit chain looks like.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct AuditChain {
    /// Whether every record is as it was written.
    pub intact: bool,
    /// The first record that is kept; those before it were pruned.
    pub first: u64,
    /// Records found right, from the first that is kept.
    pub good: u64,
    /// The first bad record.
    pub first_bad: Option<u64>,
    /// What is wrong with it.
    pub fault: Option<String>,
}

/// Heads of the chain.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditHeads {
    /// The number of a record, a blank, and its MAC in hexadecimal digits.
    #[serde(default, deserialize_with = "unless_null")]
    pub heads: Vec<String>,
}

/// What heads say about the trail.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct AuditCompared {
    /// Heads whose record is the one that was signed.
    pub same: u64,
    /// Heads whose record was pruned.
    pub pruned: u64,
    /// The first head that the trail does not hold.
    pub different: Option<u64>,
    /// Whether the trail ends before it.
    pub ends_before: bool,
    /// The public key by which this store signs heads; base64.
    pub key: String,
}

/// Which audit records shall go.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditPrune {
    /// RFC 3339: only records before it, and of those only whole segments. The newest segment stays.
    pub before: String,
    /// Whether nothing is to be removed: the answer says what would be.
    #[serde(default, deserialize_with = "unless_null")]
    #[schema(nullable)]
    pub dry_run: bool,
}

/// What is left of the audit trail.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct AuditPruned {
    /// How many records went.
    pub removed: u64,
    /// The first record that is kept.
    pub first: u64,
}

/// A page of audit records.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Audit {
    /// Newest first.
    pub records: Vec<AuditRecord>,
    /// `before` of the next page; absent on the last.
    pub next: Option<u64>,
}

/// Which audit records.
#[derive(Clone, Debug, Default, Deserialize, Serialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only records before this one.
    pub before: Option<u64>,
    /// Only records at or after this time (RFC 3339).
    pub since: Option<String>,
    /// Only records before this time (RFC 3339).
    pub until: Option<String>,
    /// Only about this user.
    pub user: Option<String>,
    /// Only decisions that this client asked for.
    pub client: Option<String>,
    /// Only decisions with this reason, a word of the closed list.
    pub reason: Option<String>,
    /// Only decisions whose request came from the NAS with this NAS-Identifier, in any case, or address.
    pub nas: Option<String>,
    /// Only changes of this kind: `user_set`, `token_add`.
    pub action: Option<String>,
    /// Only changes by this actor, as a record shows it, or the person in it: `api:helpdesk`, `alice(uid 1000)`, `alice`.
    pub actor: Option<String>,
    /// Only where this was answered: `accept`, `reject` or `challenge`.
    pub decision: Option<String>,
    /// Only of this request.
    pub request: Option<String>,
    /// At most this many: 1 to 1000, 100 by default.
    pub limit: Option<usize>,
}
