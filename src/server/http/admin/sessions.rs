//! `/v1/admin/sessions`: what NASes report of sessions.

use std::sync::Arc;

use crate::api::forms;
use crate::api::{self, ListSessions};
use crate::model::session::{Session, SessionKey};
use crate::server::http::App;
use crate::server::http::error::Failure;
use crate::server::http::read::{limit, page, user_key};
use crate::server::http::route::{Admin, Routes};

pub(super) fn routes(routes: Routes) -> Routes {
    routes.on(list)
}

async fn list(app: Arc<App>, call: Admin<ListSessions>) -> Result<api::Sessions, Failure> {
    let query = call.query;
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
    let found = app.core().store().sessions(after, limit + 1, &wanted);
    let (found, next) = page(found.await?, limit, |session| cursor(&session.key));
    Ok(api::Sessions {
        sessions: found.iter().map(forms::session).collect(),
        next,
    })
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
