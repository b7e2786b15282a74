//! Links into the console.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::call::{ADMIN, calls};

calls! {
    /// Makes a link by which a person makes their account of the console.
    ///
    /// On the machine of the daemon only: a key is refused, whatever its scopes.
    // For administrators: who makes a link can become one.
    MakeConsoleLink = console_link: POST "/v1/admin/console/link" in "operation" for ADMIN,
        body ConsoleLinkWanted,
        200 "The link": ConsoleLink;
}

/// For whom a link is.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsoleLinkWanted {
    /// The person, `kim`; where they have an account, its password, authenticator and recovery codes are made anew.
    /// Absent: a new person, who chooses the name.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `admin`, `operator`, `approver` or `auditor`. Absent: a new person is an administrator, others stay what they
    /// are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

/// A link into the console.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ConsoleLink {
    /// The code at its end, for people who type it.
    pub code: String,
    /// The link; absent where no listener for HTTP is bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// What the person may do, where that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// For how many seconds it is good, once.
    pub expires_in: u64,
}
