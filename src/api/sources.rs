//! Sources of users: directories that users follow.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::call::{ADMIN, LOOK, SourceName, calls};
use crate::api::unless_null;

calls! {
    /// Sources and how their last runs ended.
    ListSources = list_sources: GET "/v1/admin/sources" in "sources" for LOOK,
        200 "All of them, in the order of the configuration": Sources;

    /// A source and how its last run ended.
    ShowSource = show_source: GET "/v1/admin/sources/{name}" in "sources" for LOOK,
        at SourceName,
        200 "The source": Source;

    /// Makes the users of a source as the source says: all people are read before anything is changed.
    SyncSource = sync_source: POST "/v1/admin/sources/{name}/sync" in "sources" for ADMIN,
        at SourceName, body SyncWish,
        200 "What came of it": Synced;
}

/// The configured sources.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Sources {
    /// In the order of the configuration.
    pub sources: Vec<Source>,
}

/// A source of users.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// What it is: `ldap`, `sql`, `file`, `scim`.
    pub kind: String,
    /// Where it is.
    pub servers: Vec<String>,
    /// The realm of its users.
    pub realm: String,
    /// Seconds from one run to the next; absent: by command only.
    pub every: Option<u64>,
    /// Whether it checks their passwords, and is asked at present: `closed` (it is), `open` (not after too many
    /// failures), `half-open` (one login tries it); absent: they have passwords here.
    pub password: Option<String>,
    /// Users who follow it.
    pub users: usize,
    /// Those of them who are disabled.
    pub disabled: usize,
    /// When its last run ended; absent where there was none since the daemon's start.
    pub last: Option<String>,
    /// What that run did.
    pub result: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
}

/// How users follow a source.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SyncWish {
    /// Whether nothing is to be changed.
    #[serde(default, deserialize_with = "unless_null")]
    #[schema(nullable)]
    pub dry_run: bool,
    /// Whether more than a tenth of the users may be disabled because they are gone.
    #[serde(default, deserialize_with = "unless_null")]
    #[schema(nullable)]
    pub force: bool,
    /// Whether users of the same name who follow no source are taken over.
    #[serde(default, deserialize_with = "unless_null")]
    #[schema(nullable)]
    pub adopt: bool,
}

/// What following a source changed, or would change. Of each list at most the first 1000 are named.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct Synced {
    /// The source.
    pub source: String,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// People whom the source has.
    pub people: usize,
    /// How many users, by what became of them.
    pub counts: SyncCounts,
    /// Users who are new.
    pub created: Vec<String>,
    /// Users who were taken over.
    pub adopted: Vec<String>,
    /// Users who are called otherwise.
    pub renamed: Vec<Renamed>,
    /// What became another value.
    pub changed: Vec<SyncChange>,
    /// Users who were disabled.
    pub disabled: Vec<String>,
    /// Users who were enabled again.
    pub enabled: Vec<String>,
    /// Entries and values that were left out.
    pub skipped: Vec<Skipped>,
}

/// How many users.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct SyncCounts {
    /// Who are new.
    pub created: usize,
    /// Who were taken over.
    pub adopted: usize,
    /// Who are called otherwise.
    pub renamed: usize,
    /// Of whom a value became another.
    pub changed: usize,
    /// Who were disabled.
    pub disabled: usize,
    /// Who were enabled again.
    pub enabled: usize,
    /// Of whom all is as it was.
    pub unchanged: usize,
    /// Entries and values that were left out.
    pub skipped: usize,
}

/// A user who is called otherwise.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Renamed {
    /// The name before.
    pub before: String,
    /// The name now.
    pub after: String,
}

/// A field of a user that became another.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct SyncChange {
    /// Whose.
    pub user: String,
    /// Which.
    pub field: String,
    /// What it was.
    pub before: Option<String>,
    /// What it is.
    pub after: Option<String>,
}

/// What was left out.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Skipped {
    /// The entry, or the login name.
    pub entry: String,
    /// Why.
    pub why: String,
}
