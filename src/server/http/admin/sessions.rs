//! `/v1/admin/sessions`: what NASes report of sessions.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::api;
use crate::api::Problem;
use crate::model::session::{Session, SessionKey};
use crate::server::http::admin::{limit, user_key};
use crate::server::http::body::Query;
use crate::server::http::error::Failure;
use crate::server::http::{App, answer, forms};

/// Sessions, a page at a time.
#[utoipa::path(
    get,
    path = "/v1/admin/sessions",
    tag = "sessions",
    params(api::SessionQuery),
    responses(
        (status = 200, description = "A page", body = api::Sessions),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list_sessions(
    State(app): State<Arc<App>>,
    Query(query): Query<api::SessionQuery>,
) -> Result<Response, Failure> {
    let limit = limit(query.limit)?;
    let user = query.user.as_deref().map(user_key).transpose()?;
    let user = user.map(|user| user.to_string());
    let after = query.after.as_deref().map(key).transpose()?;
    let address = query.nas.as_deref().and_then(|nas| nas.parse().ok());
    let wanted = |session: &Session| {
        let is = |wanted: &Option<String>, found: &str| {
            wanted
                .as_deref()
                .is_none_or(|wanted| wanted.eq_ignore_ascii_case(found))
        };
        let nas =
            is(&query.nas, &session.key.nas) || address.is_some() && session.nas_ip == address;
        let open = query
            .open
            .is_none_or(|open| open == session.ended.is_none());
        nas && open && is(&user, &session.user) && is(&query.client, &session.key.client)
    };
    let store = app.service().core.store();
    let mut found = store.sessions(after, limit + 1, &wanted).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more);
    let next = next.map(|session| cursor(&session.key));
    let sessions = found.iter().map(forms::session).collect();
    Ok(answer::json(
        StatusCode::OK,
        &api::Sessions { sessions, next },
    ))
}

/// The name of a session in one word.
fn cursor(key: &SessionKey) -> String {
    let SessionKey { client, nas, id } = key;
    data_encoding::BASE64URL_NOPAD.encode(format!("{client}\0{nas}\0{id}").as_bytes())
}

fn key(cursor: &str) -> Result<SessionKey, Failure> {
    let read = || {
        let octets = data_encoding::BASE64URL_NOPAD.decode(cursor.as_bytes());
        let text = String::from_utf8(octets.ok()?).ok()?;
        let mut parts = text.splitn(3, '\0').map(str::to_owned);
        Some(SessionKey {
            client: parts.next()?,
            nas: parts.next()?,
            id: parts.next()?,
        })
    };
    read().ok_or_else(|| Failure::malformed("after: `next` of the page before"))
}
