//! Who asks for a page, and in which language and theme.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use tokio::time::Instant;

use crate::server::http::Origin;
use crate::server::http::caller::Person;
use crate::web::person::Ground;
use crate::web::session::Session;
use crate::web::text::Text;
use crate::web::{Desk, answer, person};

/// A request for a page.
pub(crate) struct Visit {
    pub(crate) t: Text,
    pub(crate) theme: &'static str,
    pub(crate) address: Option<IpAddr>,
    pub(crate) browser: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) cookie: Option<String>,
    pub(crate) is_secure: bool,
}

/// The same of a person who has signed in.
pub(crate) struct Signed {
    pub(crate) visit: Visit,
    pub(crate) person: Arc<Person>,
    pub(crate) session: Session,
    /// When the request arrived.
    pub(crate) now: Instant,
    /// What waits for an approval.
    pub(crate) waiting: usize,
}

impl FromRequestParts<Desk> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Self, Response> {
        let headers = &parts.headers;
        let origin = parts.extensions.get::<Origin>();
        let is_secure = is_secure(desk, headers);
        let language = cookie(headers, LANGUAGE).and_then(|word| word.parse().ok());
        let browser = headers.get(header::USER_AGENT);
        let browser = browser.and_then(|value| value.to_str().ok());
        let target = parts.uri.path_and_query();
        Ok(Self {
            t: Text(language.unwrap_or_else(|| Text::preferred(headers))),
            theme: match cookie(headers, THEME) {
                Some("light") => "light",
                Some("dark") => "dark",
                _ => "auto",
            },
            address: origin.and_then(|origin| origin.address),
            browser: browser.unwrap_or_default().chars().take(200).collect(),
            target: target.map_or("/", |target| target.as_str()).to_owned(),
            cookie: cookie(headers, session_name(is_secure)).map(str::to_owned),
            is_secure,
        })
    }
}

impl FromRequestParts<Desk> for Signed {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Self, Response> {
        let visit = Visit::from_request_parts(parts, desk).await?;
        match signed(desk, &visit) {
            Some((person, session)) => {
                let drafts = desk.app.core().store().drafts();
                let drafts = drafts.map_or(0, |drafts| drafts.len());
                Ok(Self {
                    visit,
                    person: Arc::new(person),
                    session,
                    now: desk.app.core().instant(),
                    waiting: desk.app.admin().count_requests() + drafts,
                })
            }
            None => Err(answer::see_other("/console/sign-in")),
        }
    }
}

/// The person of a visit's session, if they stand as they stood when they signed in.
pub(crate) fn signed(desk: &Desk, visit: &Visit) -> Option<(Person, Session)> {
    let cookie = visit.cookie.as_deref()?;
    let (at, now) = (desk.app.core().now(), desk.app.core().instant());
    let session = desk.web.sessions.find(cookie, at, now)?;
    match person::standing(&desk.app, &session.user) {
        Ok(Some(standing)) if standing.ground == session.ground => {
            let person = Person {
                user: session.user.clone(),
                roles: standing.roles,
            };
            Some((person, session))
        }
        Ok(_) => {
            desk.web.sessions.end(cookie);
            None
        }
        // It cannot be told: no one is let in, and the session goes on when it can.
        Err(error) => {
            tracing::warn!(%error, "a person of the console cannot be read");
            None
        }
    }
}

/// Whether a session still is, under whatever cookie it goes on. That is no use of it: a page that is left open does
/// not keep it.
pub(crate) fn is_live(desk: &Desk, signed: &Signed) -> bool {
    let is_it = |one: &Session| one.id == signed.session.id;
    let found = desk.web.sessions.list(desk.app.core().instant(), is_it);
    let ground = ground(desk, signed);
    found.iter().any(|session| ground == Some(session.ground))
}

fn ground(desk: &Desk, signed: &Signed) -> Option<Ground> {
    let standing = person::standing(&desk.app, &signed.person.user);
    standing.ok().flatten().map(|standing| standing.ground)
}

impl Visit {
    /// The header that gives the browser its session; an empty one takes it back.
    pub(crate) fn session_cookie(&self, value: &str) -> Option<HeaderValue> {
        let (name, secure) = (session_name(self.is_secure), secure(self.is_secure));
        let end = if value.is_empty() { "; Max-Age=0" } else { "" };
        let line = format!("{name}={value}; HttpOnly; SameSite=Strict; Path=/{secure}{end}");
        let mut line = HeaderValue::from_str(&line).ok()?;
        line.set_sensitive(true);
        Some(line)
    }

    /// The header by which the browser keeps a choice.
    pub(crate) fn choice_cookie(&self, name: &str, value: &str) -> Option<HeaderValue> {
        let secure = secure(self.is_secure);
        let line = format!("{name}={value}; SameSite=Lax; Path=/; Max-Age=31536000{secure}");
        HeaderValue::from_str(&line).ok()
    }
}

/// The value of a cookie; none where two have the name: one of them was set by another.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter();
    let pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'));
    let mut found = pairs.filter_map(|pair| {
        let (one, value) = pair.split_once('=')?;
        (one.trim() == name).then(|| value.trim())
    });
    found.next().filter(|_| found.next().is_none())
}

/// Whether the browser came over TLS: to this listener, or to a proxy in front that has the public name.
fn is_secure(desk: &Desk, headers: &HeaderMap) -> bool {
    if desk.app.certificate().is_some() {
        return true;
    }
    let public = desk.app.info().public_url.as_deref();
    let Some(name) = public.and_then(|url| url.strip_prefix("https://")) else {
        return false;
    };
    let name = name.split('/').next().unwrap_or_default();
    let host = headers.get(header::HOST);
    host.and_then(|host| host.to_str().ok())
        .is_some_and(|host| host.eq_ignore_ascii_case(name))
}

/// Browsers take a name with this prefix over TLS only; on loopback without TLS there is no one in between.
const fn session_name(is_secure: bool) -> &'static str {
    if is_secure {
        "__Host-oncegate"
    } else {
        "oncegate"
    }
}

const fn secure(is_secure: bool) -> &'static str {
    if is_secure { "; Secure" } else { "" }
}

/// Cookie of the language.
pub(crate) const LANGUAGE: &str = "oncegate-language";
/// Cookie of the theme.
pub(crate) const THEME: &str = "oncegate-theme";
