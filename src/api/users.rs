//! Users, what they know, and exceptions.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::{Token, present, unless_null};
use crate::secret::SecretString;

/// A user to be made.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserCreate {
    /// `name`, `name@realm` or `DOMAIN\name`.
    pub user: String,
    /// The realm, when the name does not say it.
    pub realm: Option<String>,
    /// Groups.
    #[serde(default, deserialize_with = "unless_null")]
    #[schema(nullable)]
    pub groups: Vec<String>,
    /// The name as people write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Telephone number.
    pub phone: Option<String>,
    /// Mail address.
    pub email: Option<String>,
    /// Birth date `YYYY-MM-DD`.
    pub birth_date: Option<String>,
    /// Class, for policy rules.
    pub class: Option<String>,
    /// Language of messages: `en` (default), `ko`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Whether tokens may be enrolled from afar where a policy asks for this consent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_issue: Option<bool>,
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
    /// The name as people write it.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub display_name: Option<Option<String>>,
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
    /// Language of messages: `en`, `ko`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Whether tokens may be enrolled from afar where a policy asks for this consent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_issue: Option<bool>,
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
    /// Where it has effect today, as `policy:rule (client)`; empty: nowhere. Where it was just granted
    /// or one user is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Vec<String>>,
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
    /// The name as people write it.
    #[serde(default)]
    pub display_name: Option<String>,
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
    /// Language of messages.
    #[serde(default)]
    pub language: String,
    /// Whether tokens may be enrolled from afar where a policy asks for this consent.
    #[serde(default)]
    pub remote_issue: bool,
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
    /// Failures since the last success, and the lock; only where one user is shown, or locked ones are
    /// looked for.
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

/// A page of users.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Users {
    /// In order of realm and name.
    pub users: Vec<User>,
    /// `after` of the next page; absent on the last.
    pub next: Option<String>,
    /// Rows that are damaged and so are not in the list: table, key, and what is wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<String>,
}
