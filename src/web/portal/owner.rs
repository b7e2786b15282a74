//! The person of a session of self-service, and what they prove.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::admin::AdminError;
use crate::core::CoreError;
use crate::login::{LoginRequest, Presented};
use crate::model::audit::Channel;
use crate::model::client::Client;
use crate::model::source::Source;
use crate::model::user_key::{SELF_SERVICE, UserKey};
use crate::secret::SecretString;
use crate::server::http::App;
use crate::store::By;
use crate::web::fields::Fields;
use crate::web::person::{Ground, Part};
use crate::web::session::{Opening, Session};
use crate::web::view::{Block, Page, Tone};
use crate::web::visit::{Visit, cookie};
use crate::web::{Desk, answer};

/// Someone who has signed in to self-service.
pub(super) struct Owner {
    pub(super) visit: Visit,
    pub(super) user: UserKey,
    /// What the session stands on.
    ground: Ground,
}

impl FromRequestParts<Desk> for Owner {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Self, Response> {
        let mut visit = Visit::from_request_parts(parts, desk).await?;
        visit.cookie = own_cookie(parts, &visit);
        match visit
            .cookie
            .as_deref()
            .and_then(|cookie| signed(desk, cookie))
        {
            Some(session) => Ok(Self {
                visit,
                user: session.user,
                ground: session.ground,
            }),
            None => Err(answer::see_other("/me/sign-in")),
        }
    }
}

/// A visitor of self-service who has signed in or not.
pub(super) struct Guest(pub(super) Visit);

impl FromRequestParts<Desk> for Guest {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Self, Response> {
        let mut visit = Visit::from_request_parts(parts, desk).await?;
        visit.cookie = own_cookie(parts, &visit);
        Ok(Self(visit))
    }
}

fn own_cookie(parts: &Parts, visit: &Visit) -> Option<String> {
    cookie(&parts.headers, name(visit.is_secure)).map(str::to_owned)
}

/// A session, if its user stands as they stood.
pub(super) fn signed(desk: &Desk, cookie: &str) -> Option<Session> {
    let session =
        desk.web
            .own_sessions
            .find(cookie, desk.app.core().now(), desk.app.core().instant())?;
    match ground(&desk.app, &session.user) {
        Some(ground) if ground == session.ground => Some(session),
        _ => {
            desk.web.own_sessions.end(cookie);
            None
        }
    }
}

fn ground(app: &App, user: &UserKey) -> Option<Ground> {
    let store = app.core().store();
    let view = store.view(user).ok().flatten()?;
    if view.user.disabled {
        return None;
    }
    Ground::of(store, &view).ok()
}

/// Begins a session for a person who has proven who they are.
pub(super) fn begin(desk: &Desk, visit: &Visit, user: UserKey, mut response: Response) -> Response {
    let Some(ground) = ground(&desk.app, &user) else {
        return answer::see_other("/me/sign-in");
    };
    if let Some(cookie) = &visit.cookie {
        desk.web.own_sessions.end(cookie);
    }
    let opening = Opening {
        user,
        ground,
        at: desk.app.core().now(),
        address: visit.address,
        browser: visit.browser.clone(),
    };
    let cookie = desk.web.own_sessions.open(
        opening,
        desk.app.core().instant(),
        desk.web.entropy.as_ref(),
    );
    let line = cookie.ok().and_then(|cookie| line(visit, cookie.expose()));
    if let Some(line) = line {
        response.headers_mut().append(header::SET_COOKIE, line);
    }
    response
}

/// The header that gives the browser its session; an empty one takes it back.
pub(super) fn line(visit: &Visit, value: &str) -> Option<HeaderValue> {
    let (name, is_secure) = (name(visit.is_secure), visit.is_secure);
    let secure = if is_secure { "; Secure" } else { "" };
    let end = if value.is_empty() { "; Max-Age=0" } else { "" };
    let line = format!("{name}={value}; HttpOnly; SameSite=Strict; Path=/{secure}{end}");
    let mut line = HeaderValue::from_str(&line).ok()?;
    line.set_sensitive(true);
    Some(line)
}

const fn name(is_secure: bool) -> &'static str {
    if is_secure {
        "__Host-oncegate-me"
    } else {
        "oncegate-me"
    }
}

impl Owner {
    /// In whose name changes are made.
    pub(super) fn by(&self, app: &App) -> Result<By, CoreError> {
        let arrival = app.core().arrival()?;
        Ok(By::new(format!("user {}", self.user), arrival))
    }

    /// The session goes on under a new cookie after the person changed this of what it stands on; it does not where
    /// it has ended meanwhile, or more was changed.
    pub(super) fn go_on(&self, desk: &Desk, changed: Part, mut response: Response) -> Response {
        let now = ground(&desk.app, &self.user);
        let ground = now.filter(|now| now.is_but_for(changed, self.ground));
        let renewed = ground
            .zip(self.visit.cookie.as_deref())
            .and_then(|(ground, cookie)| {
                let (now, entropy) = (desk.app.core().instant(), desk.web.entropy.as_ref());
                let renewed = desk.web.own_sessions.renew(cookie, ground, now, entropy);
                renewed.ok().flatten()
            });
        let line = renewed.and_then(|cookie| line(&self.visit, cookie.expose()));
        if let Some(line) = line {
            response.headers_mut().append(header::SET_COOKIE, line);
        }
        response
    }

    /// The page of what could not be done.
    pub(super) fn refused(&self, error: &AdminError) -> Response {
        let status = match error {
            AdminError::Core(_) => StatusCode::SERVICE_UNAVAILABLE,
            AdminError::NotFound(_) => StatusCode::NOT_FOUND,
            AdminError::Forbidden(_) => StatusCode::FORBIDDEN,
            AdminError::Invalid { .. } => StatusCode::BAD_REQUEST,
            _ => StatusCode::CONFLICT,
        };
        let t = self.visit.t;
        let not_done = t.get("refused.not_done");
        let notice = match error {
            // What failed inside is for the log.
            AdminError::Core(error) => {
                tracing::warn!(%error, "self-service cannot do what was asked");
                bad(t.get("refused.unavailable"), t.get("me.again").to_owned())
            }
            AdminError::Followed { source_name, .. } => {
                bad(not_done, t.with("me.followed", &[("source", source_name)]))
            }
            _ => Block::told(t, Tone::Bad, not_done, &error.to_string()),
        };
        self.page(t.get("me.title"), vec![notice]).answer(status)
    }

    /// The page of what was not typed as it has to be.
    pub(super) fn malformed(&self, why: &str) -> Response {
        let t = self.visit.t;
        let notice = bad(t.get("refused.not_done"), why.to_owned());
        self.page(t.get("me.title"), vec![notice])
            .answer(StatusCode::BAD_REQUEST)
    }

    /// The page of a proof that was not right.
    pub(super) fn unproven(&self) -> Response {
        let t = self.visit.t;
        let notice = bad(t.get("sign_in.refused"), t.get("me.refused_why").to_owned());
        self.page(t.get("me.title"), vec![notice])
            .answer(StatusCode::UNAUTHORIZED)
    }

    pub(super) fn page(&self, title: &str, mut blocks: Vec<Block>) -> Page {
        if self.visit.target.split('?').next() != Some("/me") {
            let back = crate::web::view::Piece::link("/me", self.visit.t.get("me.back"));
            blocks.push(Block::Line(back));
        }
        page(&self.visit, Some(self.user.to_string()), title, blocks)
    }
}

pub(super) fn bad(text: &str, detail: String) -> Block {
    Block::Notice {
        tone: Tone::Bad,
        text: text.to_owned(),
        detail,
    }
}

/// A page of self-service.
pub(super) fn page(visit: &Visit, person: Option<String>, title: &str, blocks: Vec<Block>) -> Page {
    Page {
        t: visit.t,
        theme: visit.theme,
        title: title.to_owned(),
        home: "/me",
        // A form leads back to where it stands, never to what another form led to.
        target: if person.is_some() {
            "/me"
        } else {
            "/me/sign-in"
        }
        .to_owned(),
        person,
        menu: Vec::new(),
        narrow: true,
        blocks,
    }
}

/// The question that a form puts to the service: who asks, by the policy of self-service.
pub(super) struct Question {
    client: Client,
    user: String,
    password: Option<SecretString>,
    pin: Option<SecretString>,
    code: Option<SecretString>,
    challenge: Option<String>,
    source: Option<std::net::IpAddr>,
    arrived: Instant,
    for_pin: bool,
}

impl Question {
    /// Of what was typed.
    pub(super) fn of(user: &str, visit: &Visit, fields: &Fields) -> Self {
        Self {
            client: Client {
                policy: Some(SELF_SERVICE.to_owned()),
                ..Client::without_record(SELF_SERVICE)
            },
            user: user.to_owned(),
            password: fields.secret("password"),
            pin: fields.secret("pin"),
            code: fields.get("code").map(SecretString::from),
            challenge: fields.get("challenge").map(str::to_owned),
            source: visit.address,
            arrived: Instant::now(),
            for_pin: false,
        }
    }

    /// For a new PIN.
    pub(super) fn for_pin(mut self) -> Self {
        self.for_pin = true;
        self
    }

    /// Waits until an answer that is no accept may leave.
    pub(super) async fn wait(&self, delay: std::time::Duration) {
        tokio::time::sleep_until(self.arrived + delay).await;
    }

    /// As the service takes it.
    pub(super) fn request(&self, app: &App, rounds: bool) -> Result<LoginRequest<'_>, CoreError> {
        let (id, at) = app.core().arrival()?;
        let context: &[(&str, &str)] = if self.for_pin {
            &[(SELF_SERVICE, "pin")]
        } else {
            &[]
        };
        Ok(LoginRequest {
            id,
            at,
            deadline: at.plus(app.limits().request_timeout),
            client: &self.client,
            channel: Channel::Http,
            method: "http",
            user: &self.user,
            presented: Presented::Fields {
                password: self.password.as_ref(),
                pin: self.pin.as_ref(),
                otp: self.code.as_ref(),
            },
            challenge: self.challenge.as_deref(),
            rounds,
            source: self.source,
            attributes: &[],
            context,
            origin: None,
            serial: None,
            carrier: None,
        })
    }
}

/// Whether an address may try again; a flood of one is not taken.
pub(super) fn may_try(app: &App, visit: &Visit) -> bool {
    let source = visit.address.map(Source::from);
    app.sign_ins().take(source, Instant::now())
}

/// Carries a decision out, also when the browser has left.
pub(super) fn finished<T: Send + 'static>(
    desk: &Desk,
    act: impl Future<Output = Result<T, AdminError>> + Send + 'static,
) -> BoxFuture<'_, Result<T, AdminError>> {
    let act = Box::pin(act);
    Box::pin(async move {
        let done = desk.app.finish(act).await;
        done.map_err(|_| AdminError::Core(CoreError::Contended))?
    })
}
