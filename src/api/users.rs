//! Users, what they know, and exceptions.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::call::{ADMIN, LOOK, OPERATOR, UserName, calls, pages};
use crate::api::{DemoCode, ImportRequest, Imported, Token, in_clear, present, unless_null};
use crate::secret::SecretString;

calls! {
    /// Users, a page at a time.
    ListUsers = list_users: GET "/v1/admin/users" in "users" for LOOK,
        query UserPage,
        200 "A page": Users;

    /// How many users there are of each sort. Of more than 1000 it is the last count, absent until there is one.
    CountUsers = count_users: GET "/v1/admin/summary" in "users" for LOOK,
        200 "The counts": Summary;

    /// Makes a user.
    AddUser = create_user: POST "/v1/admin/users" in "users" for OPERATOR,
        body UserCreate,
        201 "Made": User, etag revision;

    /// A user with failures, lock and tokens.
    ShowUser = show_user: GET "/v1/admin/users/{user}" in "users" for LOOK,
        at UserName,
        200 "The user": User, etag revision;

    /// Changes a user: what is absent stays, `null` clears.
    SetUser = change_user: PATCH "/v1/admin/users/{user}" in "users" for OPERATOR,
        at UserName, body UserChange,
        200 "Changed": User, etag revision => if_match();

    /// Removes a user with all tokens; by the own name, not by an alias. Refused while a token of the user counts for
    /// another one, too.
    RemoveUser = remove_user: DELETE "/v1/admin/users/{user}" in "users" for OPERATOR,
        at UserName,
        204 "Removed": () => if_match() => own_name();

    /// Destroys the keys of the personal data of all who had this name, and removes the user if there is one.
    ///
    /// What the audit says of their display name, phone number, e-mail address and birth date can never be read
    /// again; its chain stays as it is. A user who was removed before is erased by their name, too.
    // For administrators: it cannot be undone, and takes from the audit what others may have to read.
    EraseUser = erase_user: POST "/v1/admin/users/{user}/erase" in "users" for ADMIN,
        at UserName,
        204 "Destroyed": () => own_name();

    /// Forgets failures and locks of a user and its tokens; for an operator, ends waits and timed locks only.
    UnlockUser = unlock_user: POST "/v1/admin/users/{user}/unlock" in "users" for OPERATOR,
        at UserName,
        200 "Unlocked": User, etag revision;

    /// Puts a note about a user on record, for those who read the audit: whose passport was seen, which request it was.
    /// It is gone when the user is erased.
    NoteUser = note_user: POST "/v1/admin/users/{user}/note" in "users" for OPERATOR,
        at UserName, body UserNote,
        204 "On record": ();

    /// The present code of a demonstration token. There is no such route outside `quickstart`.
    // For administrators: a code of another's token, if only of a demonstration.
    ShowDemoCode = demo_code: GET "/v1/admin/users/{user}/code" in "users" for ADMIN,
        at UserName,
        200 "The code": DemoCode;

    /// For at most 24 hours, what the user has is not asked for where a rule also asks for what the
    /// user knows.
    GrantBypass = grant_bypass: PUT "/v1/admin/users/{user}/bypass" in "users" for OPERATOR,
        at UserName, body WaiverGrant,
        200 "Granted": User, etag revision;

    /// Ends the bypass.
    EndBypass = end_bypass: DELETE "/v1/admin/users/{user}/bypass" in "users" for OPERATOR,
        at UserName,
        200 "Ended": User, etag revision;

    /// While the user is on record as departed and asks from abroad, what a rule names under `exempt`
    /// is not asked for.
    GrantExemption = grant_exemption: PUT "/v1/admin/users/{user}/exemption" in "users" for OPERATOR,
        at UserName, body WaiverGrant,
        200 "Granted": User, etag revision;

    /// Ends the exemption.
    EndExemption = end_exemption: DELETE "/v1/admin/users/{user}/exemption" in "users" for OPERATOR,
        at UserName,
        200 "Ended": User, etag revision;

    /// Makes many users and tokens: all of a batch or, where a row is refused, none.
    ImportUsers = import: POST "/v1/admin/import" in "users" for ADMIN,
        body ImportRequest,
        200 "What came of it": Imported => large();
}

pages!(ListUsers: users by after String, damaged);

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
    /// Only those of this realm.
    pub realm: Option<String>,
    /// Only those in this group.
    pub group: Option<String>,
    /// Only those who have no token, or only revoked and expired ones.
    pub without_token: Option<bool>,
    /// Only those who are locked, or have an active token that is; `lock` says how.
    pub locked: Option<bool>,
    /// Only those who are `pending` (a token waits for an approval, to be handed out, or for its first code),
    /// `suspended` (disabled, or with a suspended token), or `exempt` (a bypass or exemption holds).
    pub state: Option<String>,
    /// Only those whose name, alias, phone number, mail address or token's serial has this as a part.
    pub search: Option<String>,
}

/// How many users there are of each sort.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct Summary {
    /// Of users; those whom the caller may see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<UserCounts>,
    /// When they were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counted: Option<String>,
}

/// Users of each sort.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct UserCounts {
    /// All.
    pub all: u64,
    /// As `without_token=true` lists them.
    pub without_token: u64,
    /// As `state=pending` lists them.
    pub pending: u64,
    /// As `locked=true` lists them.
    pub locked: u64,
    /// As `state=suspended` lists them.
    pub suspended: u64,
    /// As `state=exempt` lists them.
    pub exempt: u64,
}

/// A user to be made.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserCreate {
    /// `name`, `name@realm` or `DOMAIN\name`.
    pub user: String,
    /// The realm, when the name does not say it.
    pub realm: Option<String>,
    /// Other names that lead to this user, as `name`, `name@realm` or `DOMAIN\name`: at most 32, each no
    /// user's name and no other alias. A name without a realm is of the user's realm.
    #[serde(
        default,
        deserialize_with = "unless_null",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schema(nullable)]
    pub aliases: Vec<String>,
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
    #[serde(serialize_with = "in_clear", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub password: Option<SecretString>,
    /// The PIN: 6 to 64 characters.
    #[serde(serialize_with = "in_clear", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub pin: Option<SecretString>,
    /// Instead of `password`: its hash in another system (bcrypt, PBKDF2, sha512-crypt, SSHA,
    /// argon2id).
    #[serde(serialize_with = "in_clear", skip_serializing_if = "Option::is_none")]
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
    /// All aliases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aliases: Option<Vec<String>>,
    /// Aliases that come.
    #[serde(
        default,
        deserialize_with = "unless_null",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schema(nullable)]
    pub add_aliases: Vec<String>,
    /// Aliases that go; 404 for one that the user has not.
    #[serde(
        default,
        deserialize_with = "unless_null",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schema(nullable)]
    pub remove_aliases: Vec<String>,
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
    #[serde(
        default,
        deserialize_with = "present",
        serialize_with = "in_clear",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<String>)]
    pub password: Option<Option<SecretString>>,
    /// The PIN; `null`: none any more.
    #[serde(
        default,
        deserialize_with = "present",
        serialize_with = "in_clear",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<String>)]
    pub pin: Option<Option<SecretString>>,
    /// Instead of `password`: its hash in another system.
    #[serde(
        default,
        serialize_with = "in_clear",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<String>)]
    pub password_hash: Option<SecretString>,
    /// Whether PIN and password must be changed before they open anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub must_change: Option<bool>,
}

/// A note about a user.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserNote {
    /// One line of at most 256 octets of UTF-8.
    pub text: String,
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
    /// Other names that lead to this user, each as canonical `name@realm`.
    #[serde(default)]
    pub aliases: Vec<String>,
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
    /// The directory that the user follows: its name in the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
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

impl Lock {
    /// Whether nothing is locked.
    pub(crate) fn is_open(&self) -> bool {
        self.state == "open"
    }
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
