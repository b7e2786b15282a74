//! `/v1/admin/*`: everything the command line can do.
//!
//! Handlers translate between the API's forms and the service's verbs; what is allowed is decided
//! by the service and the store. All of them are behind
//! [`crate::server::http::caller::require_role`], which asks the table of
//! [`crate::server::http::roles`] and also says who acts (`By`).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::AdminError;
use crate::model::id::Serial;
use crate::model::user_key::UserKey;
use crate::server::http::App;
use crate::server::http::error::Failure;
use crate::time::UnixTime;

mod audit;
mod clients;
mod delegations;
mod delivery;
mod devices;
mod enrolment;
mod explain;
mod import;
mod operation;
mod sessions;
pub(crate) mod similar;
pub(crate) mod tell;
mod tokens;
mod users;
mod waivers;

pub(super) use enrolment::{Ways, form as offered};

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(users::list_users, users::create_user))
        .routes(routes!(
            users::show_user,
            users::change_user,
            users::remove_user
        ))
        .routes(routes!(users::unlock_user))
        .routes(routes!(users::erase_user))
        .routes(routes!(users::demo_code))
        .routes(routes!(waivers::grant_bypass, waivers::end_bypass))
        .routes(routes!(waivers::grant_exemption, waivers::end_exemption))
        .routes(routes!(tokens::list_tokens, tokens::create_token))
        .routes(routes!(tokens::show_token, tokens::remove_token))
        .routes(routes!(tokens::confirm_token))
        .routes(routes!(tokens::resync_token))
        .routes(routes!(tokens::suspend_token))
        .routes(routes!(tokens::resume_token))
        .routes(routes!(enrolment::revoke_token))
        .routes(routes!(enrolment::offer_token))
        .routes(routes!(enrolment::approve_token))
        .routes(routes!(enrolment::deny_token))
        .routes(routes!(enrolment::renew_token))
        .routes(routes!(enrolment::link_token))
        .routes(routes!(enrolment::unlink_token))
        .routes(routes!(
            delegations::list_delegations,
            delegations::lend_approval,
            delegations::take_back_approval
        ))
        .routes(routes!(
            delegations::show_outage,
            delegations::declare_outage,
            delegations::end_outage
        ))
        .routes(routes!(clients::list_clients, clients::create_client))
        .routes(routes!(
            clients::show_client,
            clients::change_client,
            clients::remove_client
        ))
        .routes(routes!(clients::rotate_client))
        .routes(routes!(import::import))
        .routes(routes!(devices::list_devices))
        .routes(routes!(
            devices::show_device,
            devices::rename_device,
            devices::revoke_device
        ))
        .routes(routes!(sessions::list_sessions))
        .routes(routes!(audit::list_audit))
        .routes(routes!(audit::show_audit))
        .routes(routes!(audit::verify_audit))
        .routes(routes!(audit::prune_audit))
        .routes(routes!(audit::tail_audit))
        .routes(routes!(explain::explain_request))
        .routes(routes!(explain::explain_login))
        .routes(routes!(delivery::list_gateways))
        .routes(routes!(delivery::try_gateway))
        .routes(routes!(operation::status))
        .routes(routes!(operation::verify_store))
        .routes(routes!(operation::list_policies))
        .routes(routes!(operation::recover_clock))
        .routes(routes!(operation::compare_files, operation::reload))
}

/// Ends what the asker waits for when the server stops: readings, however long, at once; changes when
/// they had the time that any commit takes.
pub(crate) async fn until_stopped(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let stopping = app.stopping().clone();
    let reads = request.method() == Method::GET || request.uri().path().ends_with("/verify");
    let stopped = async {
        stopping.cancelled().await;
        if !reads {
            tokio::time::sleep(GRACE).await;
        }
    };
    tokio::select! {
        biased;
        response = next.run(request) => response,
        () = stopped => Failure::Unavailable("the server is stopping".into()).into_response(),
    }
}

/// Time for a change that was begun when the server stops.
const GRACE: Duration = Duration::from_secs(5);

/// A user in a path.
struct UserPath(UserKey);

impl<S: Send + Sync> FromRequestParts<S> for UserPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Path(text) = segment(parts, state).await?;
        Ok(Self(user_key(&text)?))
    }
}

/// A token's serial in a path.
pub(super) struct SerialPath(pub(super) Serial);

impl<S: Send + Sync> FromRequestParts<S> for SerialPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Path(text) = segment(parts, state).await?;
        text.parse()
            .map(Self)
            .map_err(|_| Failure::missing("token"))
    }
}

/// The number of an audit record in a path.
struct SeqPath(u64);

impl<S: Send + Sync> FromRequestParts<S> for SeqPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Path(text) = segment(parts, state).await?;
        text.parse()
            .map(Self)
            .map_err(|_| Failure::missing("audit record"))
    }
}

/// A client's name in a path.
struct NamePath(String);

impl<S: Send + Sync> FromRequestParts<S> for NamePath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        segment(parts, state).await.map(|Path(text)| Self(text))
    }
}

/// The revision that `If-Match` names.
struct IfMatch(Option<u64>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        expected(&parts.headers).map(Self)
    }
}

/// Damaged rows of these tables: a list that does not show them names them.
fn damaged(app: &App, tables: &[&str]) -> Vec<String> {
    let damage = app.service().core.store().health().damage;
    let ours = damage.iter().filter(|row| tables.contains(&row.table));
    ours.map(ToString::to_string).collect()
}

async fn segment<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<Path<String>, Failure> {
    let path = Path::<String>::from_request_parts(parts, state).await;
    path.map_err(|_| Failure::malformed("the path is not percent-encoded UTF-8"))
}

fn expected(headers: &HeaderMap) -> Result<Option<u64>, Failure> {
    let mut values = headers.get_all(header::IF_MATCH).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let value = value.to_str().ok().filter(|_| values.next().is_none());
    match value {
        Some("*") => Ok(None),
        Some(value) => {
            let tag = value
                .strip_prefix('"')
                .and_then(|tag| tag.strip_suffix('"'));
            let tag = tag.ok_or_else(|| Failure::malformed(IF_MATCH))?;
            // A tag that is none of ours matches no revision.
            Ok(Some(tag.parse().unwrap_or(0)))
        }
        None => Err(Failure::malformed(IF_MATCH)),
    }
}

/// A failed conditional change: 412 when the record has another revision than the caller saw.
async fn conditional<T>(
    result: Result<T, AdminError>,
    expected: Option<u64>,
    present: impl AsyncFnOnce() -> Option<u64>,
    tell: impl AsyncFnOnce(AdminError) -> Failure,
) -> Result<T, Failure> {
    match result {
        Err(AdminError::Conflict(_)) if expected.is_some() && present().await != expected => {
            Err(Failure::Changed)
        }
        Err(error) => Err(tell(error).await),
        Ok(done) => Ok(done),
    }
}

fn user_key(text: &str) -> Result<UserKey, Failure> {
    UserKey::parse(text).map_err(|error| Failure::malformed(format!("user: {error}")))
}

fn limit(wanted: Option<usize>) -> Result<usize, Failure> {
    match wanted.unwrap_or(PAGE) {
        limit @ 1..=PAGE_MAX => Ok(limit),
        _ => Err(Failure::malformed("limit: 1 to 1000")),
    }
}

fn time(field: &str, text: &str) -> Result<UnixTime, Failure> {
    let wanted = || {
        let form = "a time as 2026-01-31T08:00:00Z (RFC 3339)";
        Failure::malformed(format!("{field}: {form}"))
    };
    UnixTime::parse_rfc3339(text).ok_or_else(wanted)
}

pub(super) fn word<T: std::str::FromStr>(
    field: &str,
    text: &str,
    words: &str,
) -> Result<T, Failure> {
    text.parse()
        .map_err(|_| Failure::malformed(format!("{field}: one of {words}")))
}

const IF_MATCH: &str = "If-Match: one entity tag as an answer's ETag gave it, in quotes, or `*`";
/// Records on a page when the caller does not say.
const PAGE: usize = 100;
/// Most records on a page: an answer of some 500 KiB.
const PAGE_MAX: usize = 1000;
