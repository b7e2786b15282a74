//! The forms of explanations.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::call::{AUDITOR, RequestName, calls};
use crate::api::{AuditRecord, Lock, Token, entries};

calls! {
    /// Why was it decided so?
    ExplainRequest = explain_request: GET "/v1/admin/explain/{request_id}" in "explain" for AUDITOR,
        at RequestName,
        200 "What is on record of it": Explanations;

    /// What would happen? Nothing is written, and nothing is counted.
    // For auditors: it writes nothing.
    ForeseeLogin = explain_login: POST "/v1/admin/explain" in "explain" for AUDITOR,
        body ExplainLogin,
        200 "What would happen": Explanation;
}

/// `POST /v1/admin/explain`: what would happen? Nothing is written.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainLogin {
    /// `name`, `name@realm` or `DOMAIN\name`.
    pub user: String,
    /// Which client would ask; `local`: an administrator on the server; `console`, `self-service`: the pages of the
    /// server.
    pub client: String,
    /// When (RFC 3339); now when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Where the person is.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<IpAddr>,
    /// `pap`, `chap`, `mschap`, `mschapv2`, `eap`, `http`; what is usual for the client when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// RADIUS attributes by dictionary name.
    #[serde(default, deserialize_with = "entries")]
    #[schema(nullable)]
    pub attributes: BTreeMap<String, Vec<String>>,
    /// The application's own words.
    #[serde(default, deserialize_with = "entries")]
    #[schema(nullable)]
    pub context: BTreeMap<String, String>,
}

/// `GET /v1/admin/explain/{request_id}`: why was it decided so?
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Explanations {
    /// Names the request.
    pub request_id: String,
    /// What is on record of it, the oldest first.
    pub records: Vec<Explanation>,
}

/// One decision, change, or login that was not tried.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct Explanation {
    /// One sentence.
    pub summary: String,
    /// `accept`, `reject`, `challenge`, `change`; of a login that was not tried `accept_if` or `reject`.
    pub decision: String,
    /// Why, a word of the closed list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the word means, and what is done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// When it was, or would be, decided.
    pub time: String,
    /// The record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<AuditRecord>,
    /// The login; absent for changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
    /// The token that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenThen>,
    /// The user's decisions in the 24 hours before a reject, newest first, at most 3.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<AuditRecord>,
    /// What was changed about the user since, oldest first, the latest 3.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub since: Vec<Since>,
    /// What is not known, or differs from today.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What to do next.
    pub next: Vec<Next>,
}

/// A login and what it meets.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Login {
    /// Who asks.
    pub client: Asker,
    /// How the credential travels.
    pub method: String,
    /// Where the person is, if the client says so.
    #[schema(value_type = Option<String>)]
    pub client_ip: Option<IpAddr>,
    /// The user, as it is now.
    pub user: Person,
    /// Name of the policy that applies; absent where none was read.
    pub policy: Option<String>,
    /// Its rules in order.
    pub rules: Vec<Rule>,
    /// The rule that decides.
    pub rule: Option<Asked>,
    /// Exactly what must be presented; what is waived stays in the list.
    pub factors: Vec<Factor>,
    /// Ways to present it. Examples are shapes.
    pub forms: Vec<Form>,
    /// The reply attributes of an accept, by the user's first token that counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reply: Vec<ReplyAttribute>,
    /// The user's tokens, as they are now.
    pub tokens: Vec<TokenNow>,
    /// Failures and locks, as they are now or at the time that was asked for.
    pub counters: Option<Counters>,
    /// The exception in force: kind, who granted it, its end, why.
    pub waiver: Option<String>,
}

/// A reply attribute.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ReplyAttribute {
    /// Its dictionary name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Who asks.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Asker {
    /// Its name.
    pub name: String,
    /// Whether there is a client of this name now.
    pub known: bool,
    /// `radius`, `http`, `admin`.
    pub channel: String,
    /// Its policy now; `default` when absent.
    pub policy: Option<String>,
    /// Whether it can ask the person again (challenges).
    pub challenge: bool,
}

/// A user.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Person {
    /// Canonical `name@realm`; as typed where it cannot be read.
    pub user: String,
    /// Whether there is such a user now.
    pub known: bool,
    /// Whether the user is always rejected.
    pub disabled: bool,
    /// Groups.
    pub groups: Vec<String>,
    /// Class.
    pub class: Option<String>,
    /// `none`, `set` or `must_change`.
    pub pin: String,
    /// `none`, `set` or `must_change`.
    pub password: String,
}

/// A rule and its conditions.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// `file:line`.
    pub place: String,
    /// `yes`, `no`, or `unknown` where it depends on what the audit does not keep.
    #[schema(value_type = String)]
    pub holds: Held,
    /// Whether it decides.
    pub decides: bool,
    /// Whether it was read: rules below the deciding one are not.
    pub read: bool,
    /// The factors it asks for.
    pub require: Vec<String>,
    /// Its conditions; none: it always holds.
    pub conditions: Vec<Condition>,
}

/// Whether something held.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// It did.
    Yes,
    /// It did not.
    No,
    /// It depends on what was not kept.
    Unknown,
}

/// One condition of a rule.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Condition {
    /// The key under `when`.
    pub key: String,
    /// What the policy wants.
    pub wanted: String,
    /// What the request has, where that is known.
    pub found: Option<String>,
    /// `yes`, `no` or `unknown`.
    #[schema(value_type = String)]
    pub held: Held,
    /// Why.
    pub why: String,
    /// `file:line`.
    pub place: String,
}

/// The deciding rule.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Asked {
    /// Its name.
    pub name: String,
    /// `file:line`.
    pub place: String,
    /// Assurance that what it asks for reaches, 1 to 3, by what the user has.
    pub assurance: u8,
    /// Assurance that it demands.
    pub min_assurance: u8,
}

/// A factor.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Factor {
    /// `password`, `pin`, `otp`.
    pub factor: String,
    /// Whether it is not asked for, by an exception.
    pub waived: bool,
}

/// One way to present everything.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Form {
    /// `one_box`, `rounds` or `fields` (HTTP).
    pub how: String,
    /// What is typed, one entry a round.
    pub rounds: Vec<Typed>,
}

/// What is typed at once.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Typed {
    /// How the server asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Shapes of which any will do.
    pub shapes: Vec<String>,
}

/// A token as it is now.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct TokenNow {
    /// The token.
    #[serde(flatten)]
    pub token: Token,
    /// Whether its codes count for this login.
    pub counts: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The token that decided.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct TokenThen {
    /// Its name.
    pub serial: String,
    /// The step or counter that was consumed or found used.
    pub step: Option<u64>,
    /// From when until when a time-based token showed that code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown: Option<Span>,
    /// Between which times a code was looked for and not found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub searched: Option<Span>,
    /// The record of the request that had used the code up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_by: Option<AuditRecord>,
    /// The repair or restore of the store that closed the code, which had not been used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_repaired: Option<String>,
    /// The token as it is now, if it still is.
    pub now: Option<Token>,
}

/// A stretch of time.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Span {
    /// Its beginning.
    pub from: String,
    /// Its end, which is outside.
    pub to: String,
}

/// Failures and locks.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Counters {
    /// Failures just after the decision; absent for a login that was not tried.
    pub failures_then: Option<u32>,
    /// By which time the locks were read.
    pub at: String,
    /// Of the user, over everything.
    pub user: Lock,
    /// Of the user from this place, if the user has succeeded from there before: it counts instead.
    pub known: Option<Lock>,
    /// The place over all users.
    pub source: Option<SourceLock>,
    /// Why nothing is evaluated at that time, if so.
    pub blocked: Option<String>,
    /// Failures that lock for a while.
    pub lock_after: u32,
    /// Failures that lock until an administrator unlocks.
    pub hard_lock_after: u32,
}

/// The failures of a place.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct SourceLock {
    /// An IPv4 address or an IPv6 /64.
    pub source: String,
    /// Its failures.
    pub lock: Lock,
}

/// Something that was changed later.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Since {
    /// One sentence.
    pub summary: String,
    /// The record.
    pub record: AuditRecord,
}

/// Something to do.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Next {
    /// What.
    pub text: String,
    /// The words of the command that does it; none where there is no command.
    pub command: Vec<String>,
}
