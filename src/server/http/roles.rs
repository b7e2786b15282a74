//! Who may do what below `/v1/admin`: one table, asked before any handler runs.
//!
//! Deny by default: a route that is not in the table is for administrators alone, and a test fails
//! that finds one (`tests/it/roles.rs`). An administrator's key may do everything here, and so may a
//! local caller, who could read the store itself.
//!
//! The scope `verify` opens nothing here: the key of an application must not become the key of an
//! administrator (threats T28).

use axum::http::Method;

use crate::model::client::Scope;

/// A route and who may use it beside administrators.
pub struct Route {
    /// Method; `HEAD` is as `GET`.
    pub method: &'static str,
    /// Path as the router has it, below `/v1/admin/`.
    pub path: &'static str,
    /// The scopes that open it.
    pub scopes: &'static [Scope],
}

/// The scopes that open a route beside `admin`; none for what the table does not know.
pub(crate) fn scopes(method: &Method, path: &str) -> &'static [Scope] {
    let method = match method {
        &Method::HEAD => "GET",
        other => other.as_str(),
    };
    let path = path.strip_prefix(PREFIX).unwrap_or_default();
    let found = ROUTES
        .iter()
        .find(|route| route.method == method && route.path == path);
    found.map_or(&[], |route| route.scopes)
}

const fn route(method: &'static str, path: &'static str, scopes: &'static [Scope]) -> Route {
    Route {
        method,
        path,
        scopes,
    }
}

/// What all paths of the table begin with.
pub const PREFIX: &str = "/v1/admin/";

const ADMIN: &[Scope] = &[];
const AUDITOR: &[Scope] = &[Scope::Auditor];
const OPERATOR: &[Scope] = &[Scope::Operator];
const APPROVER: &[Scope] = &[Scope::Approver];
/// Who works with users and tokens, or looks at those who do.
const LOOK: &[Scope] = &[Scope::Operator, Scope::Auditor];
/// The same, and who decides about requests.
const LOOK_AT_REQUESTS: &[Scope] = &[Scope::Operator, Scope::Approver, Scope::Auditor];

/// All routes.
pub const ROUTES: &[Route] = &[
    route("GET", "users", LOOK),
    route("POST", "users", OPERATOR),
    route("GET", "users/{user}", LOOK),
    route("PATCH", "users/{user}", OPERATOR),
    route("DELETE", "users/{user}", OPERATOR),
    route("POST", "users/{user}/unlock", OPERATOR),
    // It cannot be undone, and takes from the audit what others may have to read.
    route("POST", "users/{user}/erase", ADMIN),
    // A code of somebody else's token, if only of a demonstration.
    route("GET", "users/{user}/code", ADMIN),
    route("PUT", "users/{user}/bypass", OPERATOR),
    route("DELETE", "users/{user}/bypass", OPERATOR),
    route("PUT", "users/{user}/exemption", OPERATOR),
    route("DELETE", "users/{user}/exemption", OPERATOR),
    route("GET", "tokens", LOOK_AT_REQUESTS),
    route("POST", "tokens", OPERATOR),
    route("GET", "tokens/{serial}", LOOK_AT_REQUESTS),
    route("DELETE", "tokens/{serial}", OPERATOR),
    route("POST", "tokens/{serial}/offer", OPERATOR),
    route("POST", "tokens/{serial}/confirm", OPERATOR),
    route("POST", "tokens/{serial}/resync", OPERATOR),
    route("POST", "tokens/{serial}/suspend", OPERATOR),
    route("POST", "tokens/{serial}/resume", OPERATOR),
    route("POST", "tokens/{serial}/revoke", OPERATOR),
    route("POST", "tokens/{serial}/renew", OPERATOR),
    // No approval stands behind it: whoever links somebody's token to another's account lets them in.
    route("POST", "tokens/{serial}/link", ADMIN),
    route("POST", "tokens/{serial}/unlink", OPERATOR),
    // An operator in the name of an approver only, who lent the right; the handler sees to it.
    route(
        "POST",
        "tokens/{serial}/approve",
        &[Scope::Approver, Scope::Operator],
    ),
    route("POST", "tokens/{serial}/deny", APPROVER),
    route("GET", "devices", LOOK),
    route("GET", "devices/{id}", LOOK),
    route("PATCH", "devices/{id}", OPERATOR),
    route("DELETE", "devices/{id}", OPERATOR),
    route("GET", "sessions", LOOK),
    route("POST", "import", ADMIN),
    route("GET", "reload", AUDITOR),
    route("POST", "reload", ADMIN),
    route("GET", "delegations", &[Scope::Approver, Scope::Auditor]),
    route("POST", "delegations", APPROVER),
    route("DELETE", "delegations", APPROVER),
    route("GET", "outage", LOOK),
    route("PUT", "outage", OPERATOR),
    route("DELETE", "outage", OPERATOR),
    route("GET", "clients", AUDITOR),
    route("POST", "clients", ADMIN),
    route("GET", "clients/{name}", AUDITOR),
    route("PATCH", "clients/{name}", ADMIN),
    route("DELETE", "clients/{name}", ADMIN),
    route("POST", "clients/{name}/rotate", ADMIN),
    route("GET", "audit", AUDITOR),
    route("GET", "audit/{seq}", AUDITOR),
    // It only reads.
    route("POST", "audit/verify", AUDITOR),
    route("POST", "audit/prune", ADMIN),
    route("GET", "audit/tail", AUDITOR),
    // It only reads.
    route("POST", "store/verify", AUDITOR),
    route("GET", "explain/{request_id}", AUDITOR),
    // It writes nothing.
    route("POST", "explain", AUDITOR),
    route("GET", "delivery", AUDITOR),
    route("POST", "delivery/{name}/test", ADMIN),
    route("GET", "status", LOOK_AT_REQUESTS),
    route("GET", "policies", LOOK),
    route("POST", "clock/recover", ADMIN),
];
