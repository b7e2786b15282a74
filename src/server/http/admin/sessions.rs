//! `/v1/admin/sessions`: what NASes report of sessions.

use std::sync::Arc;

use crate::api::forms;
use crate::api::{self, DisconnectSessions, ListSessions};
use crate::model::session::{Session, SessionKey};
use crate::server::http::App;
use crate::server::http::error::Failure;
use crate::server::http::read::{limit, page, user_named};
use crate::server::http::route::{Admin, Routes};
use crate::server::radius::{Ended, Outcome};

pub(super) fn routes(routes: Routes) -> Routes {
    routes.on(list).on(disconnect)
}

async fn list(app: Arc<App>, call: Admin<ListSessions>) -> Result<api::Sessions, Failure> {
    let query = call.query;
    let limit = limit(query.limit)?;
    let user = query
        .user
        .as_deref()
        .map(|user| user_named(&app, user))
        .transpose()?;
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
    let found = app.core().store().sessions(after, limit + 1, &wanted);
    let (found, next) = page(found.await?, limit, |session| cursor(&session.key));
    Ok(api::Sessions {
        sessions: found.iter().map(forms::session).collect(),
        next,
    })
}

async fn disconnect(
    app: Arc<App>,
    call: Admin<DisconnectSessions>,
) -> Result<api::Disconnected, Failure> {
    let body = call.body;
    if body.session.is_none() && body.user.is_none() {
        return Err(Failure::malformed(
            "name the session by `session`, or by `user` all of a user's",
        ));
    }
    let user = body
        .user
        .as_deref()
        .map(|user| user_named(&app, user))
        .transpose()?;
    let user = user.map(|user| user.to_string());
    let address = body.nas.as_deref().and_then(|nas| nas.parse().ok());
    let is = |wanted: &Option<String>, found: &str| {
        wanted
            .as_deref()
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(found))
    };
    let wanted = |session: &Session| {
        let id = &body.session;
        let nas = is(&body.nas, &session.key.nas) || address.is_some() && session.nas_ip == address;
        nas && id.as_ref().is_none_or(|id| *id == session.key.id)
            && is(&user, &session.user)
            && is(&body.client, &session.key.client)
    };
    let found = app
        .core()
        .store()
        .open_sessions_of(None, AT_ONCE + 1, &wanted)
        .await?;
    match found.len() {
        0 => {
            return Err(Failure::not_found("there is no such open session")
                .advise("`oncegate session list --open`"));
        }
        1 => {}
        _ if body.session.is_some() => {
            return Err(Failure::conflict(
                "several open sessions have this id: name the NAS or the client too",
            ));
        }
        many if many > AT_ONCE => {
            return Err(Failure::conflict(
                "more than 64 sessions: name the NAS or the client too",
            ));
        }
        _ => {}
    }
    let ended = app.disconnects().end_all(&found, &call.from, None).await?;
    let told = found
        .iter()
        .zip(ended)
        .map(|(session, ended)| told(session, &ended));
    Ok(api::Disconnected {
        sessions: told.collect(),
    })
}

fn told(session: &Session, ended: &Ended) -> api::DisconnectedSession {
    api::DisconnectedSession {
        session: session.key.id.clone(),
        user: session.user.clone(),
        client: session.key.client.clone(),
        nas: session.key.nas.clone(),
        to: ended.to.map(|to| to.to_string()),
        result: ended.outcome.word().to_owned(),
        error_cause: match ended.outcome {
            Outcome::Nak(cause) => cause,
            _ => None,
        },
        detail: ended.outcome.describe(),
    }
}

/// Most sessions that one call ends: they are asked for at the same time.
const AT_ONCE: usize = 64;

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
