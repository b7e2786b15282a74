//! The JSON forms of the HTTP API, shared by the server and the command line.
//!
//! Unknown fields are refused: a misspelt field must not be a silent default. `null` is read as an absent
//! field, but where a change clears by it. Times are RFC 3339 in
//! UTC. Fields that carry secrets are [`crate::secret::SecretString`] on the way in; on the way out a secret
//! appears once, in the answer to its creation.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::secret::SecretString;

mod audit;
pub mod call;
mod challenges;
mod clients;
mod compat;
mod console;
mod delivery;
mod devices;
mod drafts;
mod enrolment;
mod entries;
pub mod explain;
pub(crate) mod forms;
mod import;
pub mod jwt;
mod keys;
mod links;
mod operation;
mod reload;
mod scim;
mod self_service;
mod sessions;
mod sources;
mod tokens;
mod users;
pub mod validation;
mod verify;

pub use audit::*;
pub use challenges::*;
pub use clients::*;
pub use compat::*;
pub use console::*;
pub use delivery::*;
pub use devices::*;
pub use drafts::*;
pub use enrolment::*;
pub(crate) use entries::{Entries, entries};
pub use import::*;
pub use keys::*;
pub use links::*;
pub use operation::*;
pub use reload::*;
pub use scim::*;
pub use self_service::*;
pub use sessions::*;
pub use sources::*;
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

/// Which page.
#[derive(Clone, Debug, Default, Deserialize, Serialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// `next` of the page before.
    pub after: Option<String>,
    /// At most this many: 1 to 1000, 100 by default.
    pub limit: Option<usize>,
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

/// Writes a secret as it is: only the fields of requests are written so, by who sends them.
#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
pub(crate) fn in_clear<S: serde::Serializer>(
    secret: &impl Clear,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    secret.text().serialize(serializer)
}

/// A secret of a request, or none.
pub(crate) trait Clear {
    fn text(&self) -> Option<&str>;
}

impl Clear for SecretString {
    fn text(&self) -> Option<&str> {
        Some(self.expose())
    }
}

impl<T: Clear> Clear for Option<T> {
    fn text(&self) -> Option<&str> {
        self.as_ref().and_then(Clear::text)
    }
}
