//! `/v1/admin/sessions`: what NASes report of sessions.

use std::sync::Arc;

use crate::api::forms;
use crate::api::{self, ChangeSessions, DisconnectSessions, ListSessions};
use crate::model::session::{Session, SessionKey};
use crate::server::http::App;
use crate::server::http::error::Failure;
use crate::server::http::read::{limit, page, user_named};
use crate::server::http::route::{Admin, Routes};
use crate::server::radius::{Ended, Outcome, Wish};
use crate::store::By;

pub(super) fn routes(routes: Routes) -> Routes {
    routes.on(list).on(disconnect).on(change)
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
    let which = Which {
        session: body.session,
        user: body.user,
        client: body.client,
        nas: body.nas,
    };
    let found = which.open(&app).await?;
    let asked = found.into_iter().map(|session| (session, Wish::End));
    ask(&app, &asked.collect::<Vec<_>>(), &call.from).await
}

async fn change(app: Arc<App>, call: Admin<ChangeSessions>) -> Result<api::Disconnected, Failure> {
    let body = call.body;
    let which = Which {
        session: body.session,
        user: body.user,
        client: body.client,
        nas: body.nas,
    };
    let found = which.open(&app).await?;
    let named = body.attributes.into_iter();
    let named = named.flat_map(|(name, values)| {
        let pair = move |value| (name.clone(), value);
        values.into_iter().map(pair)
    });
    let named: Vec<(String, String)> = named.collect();
    if named.len() > ATTRIBUTES {
        return Err(Failure::malformed("attributes: more than 64"));
    }
    let mut changes = Vec::with_capacity(found.len());
    for session in &found {
        let change = if named.is_empty() {
            let reply = app.service().login.reply_of(session)?;
            let change = reply.and_then(|reply| app.disconnects().change_to_reply(&reply));
            change.map_err(|why| {
                Failure::conflict(why).advise(
                    "name what is to change: --attribute Session-Timeout=600, or `attributes`",
                )
            })
        } else {
            let change = app.disconnects().change(&named);
            change.map_err(|why| Failure::malformed(format!("attributes: {why}")))
        };
        changes.push(change?);
    }
    let wishes = changes.iter().map(Wish::Change);
    let asked: Vec<_> = found.into_iter().zip(wishes).collect();
    ask(&app, &asked, &call.from).await
}

async fn ask(
    app: &App,
    asked: &[(Session, Wish<'_>)],
    by: &By,
) -> Result<api::Disconnected, Failure> {
    let ended = app.disconnects().ask_all(asked, by).await?;
    let told = asked.iter().zip(ended);
    let told = told.map(|((session, wish), ended)| told_of(session, *wish, &ended));
    Ok(api::Disconnected {
        sessions: told.collect(),
    })
}

/// Open sessions that are meant.
struct Which {
    session: Option<String>,
    user: Option<String>,
    client: Option<String>,
    nas: Option<String>,
}

impl Which {
    async fn open(&self, app: &Arc<App>) -> Result<Vec<Session>, Failure> {
        if self.session.is_none() && self.user.is_none() {
            return Err(Failure::malformed(
                "name the session by `session`, or by `user` all of a user's",
            ));
        }
        let user = self
            .user
            .as_deref()
            .map(|user| user_named(app, user))
            .transpose()?;
        let user = user.map(|user| user.to_string());
        let address = self.nas.as_deref().and_then(|nas| nas.parse().ok());
        let is = |wanted: &Option<String>, found: &str| {
            wanted
                .as_deref()
                .is_none_or(|wanted| wanted.eq_ignore_ascii_case(found))
        };
        let wanted = |session: &Session| {
            let id = &self.session;
            let nas =
                is(&self.nas, &session.key.nas) || address.is_some() && session.nas_ip == address;
            nas && id.as_ref().is_none_or(|id| *id == session.key.id)
                && is(&user, &session.user)
                && is(&self.client, &session.key.client)
        };
        let found = app
            .core()
            .store()
            .open_sessions_of(None, AT_ONCE + 1, &wanted)
            .await?;
        match found.len() {
            0 => Err(Failure::not_found("there is no such open session")
                .advise("`oncegate session list --open`")),
            1 => Ok(found),
            _ if self.session.is_some() => Err(Failure::conflict(
                "several open sessions have this id: name the NAS or the client too",
            )),
            many if many > AT_ONCE => Err(Failure::conflict(
                "more than 64 sessions: name the NAS or the client too",
            )),
            _ => Ok(found),
        }
    }
}

fn told_of(session: &Session, wish: Wish<'_>, ended: &Ended) -> api::DisconnectedSession {
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
        detail: ended.outcome.describe(wish),
    }
}

/// Most attributes that a session is changed to at once.
const ATTRIBUTES: usize = 64;

/// Most sessions that one call ends or changes: they are asked for at the same time.
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
