//! The JSON forms of the HTTP API, shared by the server and the command line.
//!
//! Unknown fields are refused: a misspelt field must not be a silent default. Times are RFC 3339 in
//! UTC. Fields that carry secrets are [`SecretString`] on the way in; on the way out a secret
//! appears once, in the answer to its creation.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use serde::Serialize;
use utoipa::IntoParams;
use utoipa::ToSchema;

use crate::secret::SecretString;

pub mod explain;

/// `POST /v1/verify`: is this the person, this once?
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyRequest {
    /// `name`, `name@realm` or `DOMAIN\name`.
    pub user: String,
    /// The code, when the application asks for it in a field of its own.
    #[schema(value_type = Option<String>)]
    pub otp: Option<SecretString>,
    /// What a person would type into a VPN's password box; instead of the separate fields.
    #[schema(value_type = Option<String>)]
    pub passcode: Option<SecretString>,
    /// The PIN; looked at only where the policy requires one.
    #[schema(value_type = Option<String>)]
    pub pin: Option<SecretString>,
    /// The password; looked at only where the policy requires one.
    #[schema(value_type = Option<String>)]
    pub password: Option<SecretString>,
    /// The challenge this answers: the `id` of an earlier answer.
    pub challenge: Option<String>,
    /// Where the person is.
    #[schema(value_type = Option<String>)]
    pub client_ip: Option<IpAddr>,
    /// The application's own words, for policy rules.
    #[serde(default)]
    pub context: BTreeMap<String, String>,
}

/// On whose behalf an administrator asks `POST /v1/verify`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OnBehalf {
    /// Administrators only: the client whose policy applies, as if it had asked.
    pub client: Option<String>,
}

/// The answer to a verification.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(tag = "decision", rename_all = "lowercase")]
pub enum VerifyAnswer {
    /// It is.
    Accept {
        /// Canonical `name@realm`.
        user: String,
        /// The token that proved it; none where no code was asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        serial: Option<String>,
        /// Strength of the factors, 1 to 3.
        assurance: u8,
        /// Reply attributes of the policy.
        attributes: BTreeMap<String, String>,
        /// Names the request in the audit.
        request_id: String,
    },
    /// Right so far: the next factor is wanted.
    Challenge {
        /// What to answer.
        challenge: Challenge,
        /// Names the request in the audit.
        request_id: String,
    },
    /// It is not, or not this once. The cause is in the audit only.
    Reject {
        /// Names the request in the audit.
        request_id: String,
    },
}

/// The answer to a change of PIN or password.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(tag = "decision", rename_all = "lowercase")]
pub enum CredentialsAnswer {
    /// Changed.
    Accept {
        /// Names the request in the audit.
        request_id: String,
    },
    /// What was presented did not prove the user. The cause is in the audit only.
    Reject {
        /// Names the request in the audit.
        request_id: String,
    },
}

/// A second round: ask the person, then `POST /v1/verify` with `challenge` set to its id.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Challenge {
    /// For the field `challenge` of the answer.
    pub id: String,
    /// `otp`, `pin` or `password`: the field that is wanted.
    pub factor: String,
    /// How to ask the person for it.
    pub prompt: String,
    /// Seconds in which an answer is awaited.
    pub expires_in: u64,
}

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
    /// What was wrong here, and what to do.
    pub detail: String,
}

/// A user to be made.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserCreate {
    /// `name`, `name@realm` or `DOMAIN\name`.
    pub user: String,
    /// The realm, when the name does not say it.
    pub realm: Option<String>,
    /// Groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Telephone number.
    pub phone: Option<String>,
    /// Mail address.
    pub email: Option<String>,
    /// Birth date `YYYY-MM-DD`.
    pub birth_date: Option<String>,
    /// Class, for policy rules.
    pub class: Option<String>,
    /// The password: 8 to 128 characters.
    #[serde(skip_serializing)]
    #[schema(value_type = Option<String>)]
    pub password: Option<SecretString>,
    /// The PIN: 6 to 64 characters.
    #[serde(skip_serializing)]
    #[schema(value_type = Option<String>)]
    pub pin: Option<SecretString>,
    /// Instead of `password`: its hash in another system (bcrypt, PBKDF2, sha512-crypt, SSHA,
    /// argon2id).
    #[serde(skip_serializing)]
    #[schema(value_type = Option<String>)]
    pub password_hash: Option<SecretString>,
    /// Whether PIN and password must be changed before they open anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub must_change: Option<bool>,
}

/// A change of a user: what is absent stays, `null` clears.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(clippy::option_option)] // absent, null and value are three things
pub struct UserChange {
    /// All groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// Telephone number.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub phone: Option<Option<String>>,
    /// Mail address.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub email: Option<Option<String>>,
    /// Birth date.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub birth_date: Option<Option<String>>,
    /// Class.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub class: Option<Option<String>>,
    /// Whether the user is always rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// The password; `null`: none any more.
    #[serde(default, deserialize_with = "present", skip_serializing)]
    #[schema(value_type = Option<String>)]
    pub password: Option<Option<SecretString>>,
    /// The PIN; `null`: none any more.
    #[serde(default, deserialize_with = "present", skip_serializing)]
    #[schema(value_type = Option<String>)]
    pub pin: Option<Option<SecretString>>,
    /// Instead of `password`: its hash in another system.
    #[serde(default, skip_serializing)]
    #[schema(value_type = Option<String>)]
    pub password_hash: Option<SecretString>,
    /// Whether PIN and password must be changed before they open anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub must_change: Option<bool>,
}

/// A temporary exception to be granted.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WaiverGrant {
    /// Why: it stands in every audit record while it holds.
    pub reason: String,
    /// From when (RFC 3339); now when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Until when (RFC 3339): a bypass at most 24 hours, an exemption at most 366 days.
    pub until: String,
}

/// A temporary exception.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Waiver {
    /// Why.
    pub reason: String,
    /// Who granted it.
    pub owner: String,
    /// From when.
    pub from: String,
    /// Until when.
    pub until: String,
    /// Whether it holds now.
    pub holds: bool,
}

/// A PIN or password, without itself.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct VerifierInfo {
    /// When it was set.
    pub set: String,
    /// Whether it must be changed before it opens anything.
    pub must_change: bool,
    /// The form of an imported hash that has not been renewed yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imported: Option<String>,
}

/// `POST /v1/credentials`: a user proves what the policy asks for, and chooses another PIN or
/// password.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialsRequest {
    /// As for `POST /v1/verify`.
    pub user: String,
    /// The code.
    #[schema(value_type = Option<String>)]
    pub otp: Option<SecretString>,
    /// The present PIN.
    #[schema(value_type = Option<String>)]
    pub pin: Option<SecretString>,
    /// The present password.
    #[schema(value_type = Option<String>)]
    pub password: Option<SecretString>,
    /// Where the person is.
    #[schema(value_type = Option<String>)]
    pub client_ip: Option<IpAddr>,
    /// The new password.
    #[schema(value_type = Option<String>)]
    pub new_password: Option<SecretString>,
    /// The new PIN.
    #[schema(value_type = Option<String>)]
    pub new_pin: Option<SecretString>,
}

/// A user.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct User {
    /// Canonical `name@realm`.
    pub user: String,
    /// Canonical name.
    pub name: String,
    /// Canonical realm.
    pub realm: String,
    /// Groups.
    pub groups: Vec<String>,
    /// Telephone number.
    pub phone: Option<String>,
    /// Mail address.
    pub email: Option<String>,
    /// Birth date.
    pub birth_date: Option<String>,
    /// Class.
    pub class: Option<String>,
    /// Whether the user is always rejected.
    pub disabled: bool,
    /// A temporary bypass, past ones included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bypass: Option<Waiver>,
    /// An overseas exemption, past ones included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exemption: Option<Waiver>,
    /// The PIN, if there is one; only where one user is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin: Option<VerifierInfo>,
    /// The password, if there is one; only where one user is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<VerifierInfo>,
    /// Failures since the last success, and the lock; only where one user is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<Lock>,
    /// The user's tokens; only where one user is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Vec<Token>>,
    /// When the record was made.
    pub created: String,
    /// What `If-Match` compares.
    pub revision: u64,
}

/// Failures and lock.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Lock {
    /// Failures since the last success.
    pub failures: u32,
    /// `open`, `throttled`, `locked`, `hard_locked`.
    pub state: String,
    /// When it ends by itself.
    pub until: Option<String>,
}

/// A token to be made.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenCreate {
    /// Whose: `name` or `name@realm`.
    pub user: String,
    /// `totp` or `hotp`.
    pub kind: String,
    /// `sha1` (default), `sha256`, `sha512`.
    pub algorithm: Option<String>,
    /// 6 (default) to 9.
    pub digits: Option<u8>,
    /// Seconds per code: 15 to 300; 30 by default.
    pub period: Option<u16>,
    /// Key in base 32; generated when absent.
    #[schema(value_type = Option<String>)]
    pub secret: Option<SecretString>,
    /// First counter (HOTP).
    pub counter: Option<u64>,
    /// Active at once, without a first right code.
    #[serde(default)]
    pub active: bool,
    /// Name; generated when absent.
    pub serial: Option<String>,
}

/// A token.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Token {
    /// Its name.
    pub serial: String,
    /// Canonical `name@realm` of its user.
    pub user: String,
    /// What makes its codes.
    pub kind: String,
    /// Where it stands in its life.
    pub state: String,
    /// Hash function.
    pub algorithm: String,
    /// Length of its codes.
    pub digits: u8,
    /// Seconds per code; absent for counters.
    pub period: Option<u16>,
    /// Last used step or counter.
    pub last_step: Option<u64>,
    /// How far its clock is from ours, in steps; absent for counters.
    pub drift: Option<i32>,
    /// Failures attributable to it, and its lock.
    pub lock: Lock,
    /// When a code of it was last accepted.
    pub last_accept: Option<String>,
    /// When the record was made.
    pub created: String,
    /// What `If-Match` compares.
    pub revision: u64,
}

/// A token just made, with its key: the only time it is shown.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct TokenCreated {
    /// The token.
    #[serde(flatten)]
    pub token: Token,
    /// The key in base 32.
    pub secret: String,
    /// For authenticator apps.
    pub otpauth_uri: String,
    /// What is weak about it.
    pub warnings: Vec<String>,
}

/// A code for `confirm`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    /// The code that the token shows.
    #[schema(value_type = String)]
    pub otp: SecretString,
}

/// Two consecutive codes for `resync`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Resync {
    /// The first.
    #[schema(value_type = String)]
    pub first: SecretString,
    /// The next.
    #[schema(value_type = String)]
    pub second: SecretString,
}

/// A client to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum ClientCreate {
    /// Speaks RADIUS.
    Radius {
        /// Its name.
        name: String,
        /// Addresses or networks its packets come from.
        addresses: Vec<String>,
        /// Its secret; generated when absent.
        #[schema(value_type = Option<String>)]
        secret: Option<SecretString>,
        /// Policy of its users.
        policy: Option<String>,
        /// Only users of this realm.
        realm: Option<String>,
        /// `generic`.
        profile: Option<String>,
        /// `true` (default), `false`, `auto`.
        require_message_authenticator: Option<String>,
        /// Whether it can ask the person again (Access-Challenge); `true` when absent.
        challenge: Option<bool>,
    },
    /// Speaks HTTP.
    Api {
        /// Its name.
        name: String,
        /// `verify` (default), `admin`.
        #[serde(default)]
        scopes: Vec<String>,
        /// Policy of its users.
        policy: Option<String>,
        /// Only users of this realm.
        realm: Option<String>,
    },
}

/// A change of a client: what is absent stays, `null` clears.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(clippy::option_option)] // absent, null and value are three things
pub struct ClientChange {
    /// All addresses or networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<String>>,
    /// Policy of its users.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub policy: Option<Option<String>>,
    /// Only users of this realm.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub realm: Option<Option<String>>,
    /// `true`, `false`, `auto`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_message_authenticator: Option<String>,
    /// Whether it can ask the person again (RADIUS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge: Option<bool>,
    /// All scopes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
}

/// A client.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Client {
    /// Its name.
    pub name: String,
    /// `radius` or `api`.
    pub kind: String,
    /// Policy of its users; `default` when absent.
    pub policy: Option<String>,
    /// Only users of this realm.
    pub realm: Option<String>,
    /// Networks its packets come from (RADIUS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<String>>,
    /// Appliance profile (RADIUS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// `true`, `false`, `auto` (RADIUS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_message_authenticator: Option<String>,
    /// Whether it can ask the person again (RADIUS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge: Option<bool>,
    /// What the key may do (API).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Until when the secret or key before the last rotation works.
    pub previous_until: Option<String>,
    /// When the record was made.
    pub created: String,
    /// What `If-Match` compares.
    pub revision: u64,
}

/// A client just made or rotated, with its secret or key: the only time it is shown.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ClientCreated {
    /// The client.
    #[serde(flatten)]
    pub client: Client,
    /// The shared secret (RADIUS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The key (API).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// A rotation.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    /// The new shared secret (RADIUS); generated when absent.
    #[schema(value_type = Option<String>)]
    pub secret: Option<SecretString>,
    /// Seconds for which the old one stays valid; a day by default.
    pub grace_secs: Option<u64>,
}

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
}

/// What happened.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum AuditEvent {
    /// Somebody asked for a decision.
    Decision {
        /// `accept`, `reject` or `challenge`.
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
        /// `pap`, `http`, `admin`.
        method: String,
        /// `policy:rule`.
        rule: Option<String>,
        /// The exception in force: kind, who granted it, its end, why.
        #[serde(skip_serializing_if = "Option::is_none")]
        waiver: Option<String>,
        /// The user's failures after this attempt.
        failures: u32,
        /// Milliseconds from arrival to the decision, before its commit.
        latency_ms: u32,
    },
    /// Somebody changed something.
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
    /// Records found right, from the first.
    pub good: u64,
    /// The first bad record.
    pub first_bad: Option<u64>,
    /// What is wrong with it.
    pub fault: Option<String>,
}

/// A page of users.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Users {
    /// In order of realm and name.
    pub users: Vec<User>,
    /// `after` of the next page; absent on the last.
    pub next: Option<String>,
}

/// A page of tokens.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Tokens {
    /// In order of user and serial.
    pub tokens: Vec<Token>,
    /// `after` of the next page; absent on the last.
    pub next: Option<String>,
}

/// All clients.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Clients {
    /// In order of name.
    pub clients: Vec<Client>,
}

/// A page of audit records.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Audit {
    /// Newest first.
    pub records: Vec<AuditRecord>,
    /// `before` of the next page; absent on the last.
    pub next: Option<u64>,
}

/// Which page of users or tokens.
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

/// Which audit records.
#[derive(Clone, Debug, Default, Deserialize, Serialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only records before this one.
    pub before: Option<u64>,
    /// Only records at or after this time (RFC 3339).
    pub since: Option<String>,
    /// Only about this user.
    pub user: Option<String>,
    /// `accept`, `reject` or `challenge`.
    pub decision: Option<String>,
    /// Only of this request.
    pub request: Option<String>,
    /// At most this many: 1 to 1000, 100 by default.
    pub limit: Option<usize>,
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
    /// HTTP listeners.
    pub http: Vec<String>,
    /// Loaded policies.
    pub policies: Vec<String>,
    /// Configured clients.
    pub clients: usize,
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
    /// The daemon's clock.
    pub now: String,
    /// The latest time on record.
    pub last_seen: String,
}

/// The present code of a demonstration token; served in `quickstart` directories only.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct DemoCode {
    /// The token.
    pub serial: String,
    /// Its code.
    pub code: String,
    /// Whether it is used up already.
    pub used: bool,
    /// Seconds until the next one.
    pub next_in: u64,
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

fn present<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}
