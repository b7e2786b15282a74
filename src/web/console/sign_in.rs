//! Signing in and out.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::Response;
use tokio::time::Instant;

use crate::core::CoreError;
use crate::model::source::Source;
use crate::model::user_key::UserKey;
use crate::web::console::frame;
use crate::web::fields::Sent;
use crate::web::link::person_named;
use crate::web::person::{self, Proof, Proven};
use crate::web::session::Opening;
use crate::web::view::{Block, Field, Form, Input, Tone};
use crate::web::visit::{Visit, signed};
use crate::web::{Desk, answer};

/// `GET /console/sign-in`
pub(super) async fn show(State(desk): State<Desk>, visit: Visit) -> Response {
    if signed(&desk, &visit).is_some() {
        return answer::see_other("/console");
    }
    let mut blocks = vec![Block::Card(vec![Block::Form(form(&visit))])];
    if !person::has_administrator(&desk.app) {
        blocks.insert(
            0,
            Block::Notice {
                tone: Tone::Plain,
                text: visit.t.get("sign_in.first").to_owned(),
                detail: visit.t.get("sign_in.first_how").to_owned(),
            },
        );
    }
    frame::outside(&visit, visit.t.get("sign_in.title"), blocks).answer(StatusCode::OK)
}

fn form(visit: &Visit) -> Form {
    let t = visit.t;
    Form::new("/console/sign-in", t.get("sign_in.button"))
        .main()
        .field(Field::new("name", t.get("sign_in.name"), Input::Name))
        .field(Field::new("password", t.get("sign_in.password"), Input::Password).required())
        .field(
            Field::new("code", t.get("sign_in.code"), Input::Code)
                .required()
                .hint(t.get("sign_in.code_hint")),
        )
}

/// `POST /console/sign-in`
pub(super) async fn take(State(desk): State<Desk>, Sent(visit, fields): Sent<Visit>) -> Response {
    // Before a place for hashing is taken, and before anything is on record.
    let source = visit.address.map(Source::from);
    if !desk.app.console_sign_ins().take(source, Instant::now()) {
        return too_many(&visit);
    }
    // A name that cannot be one is refused as late as any other.
    let named = fields.get("name").and_then(person_named);
    let unknown = || UserKey::with_realm("-", "console").ok();
    let Some(user) = named.or_else(unknown) else {
        return refused(&visit);
    };
    let proof = Proof {
        user: user.clone(),
        password: fields.secret("password"),
        code: fields.get("code").map(Into::into),
        challenge: fields.get("challenge").map(str::to_owned),
        step_up: false,
        source: visit.address,
    };
    match person::prove(&desk, proof).await {
        Ok(Proven::Yes) => open(&desk, &visit, user).unwrap_or_else(|| refused(&visit)),
        Ok(Proven::No) => refused(&visit),
        Ok(Proven::More { challenge, prompt }) => {
            let form = Form::new("/console/sign-in", visit.t.get("sign_in.button"))
                .main()
                .hidden("name", user.name())
                .hidden("challenge", &challenge)
                .field(Field::new("code", prompt, Input::Code).required());
            let blocks = vec![Block::Card(vec![Block::Form(form)])];
            frame::outside(&visit, visit.t.get("sign_in.title"), blocks).answer(StatusCode::OK)
        }
        Err(error) => undecided(&visit, &error),
    }
}

/// Begins a session for a person who has proven who they are.
pub(super) fn open(desk: &Desk, visit: &Visit, user: UserKey) -> Option<Response> {
    let standing = person::standing(&desk.app, &user).ok().flatten()?;
    if let Some(cookie) = &visit.cookie {
        desk.web.sessions.end(cookie);
    }
    let opening = Opening {
        user,
        ground: standing.ground,
        at: desk.app.core().now(),
        address: visit.address,
        browser: visit.browser.clone(),
    };
    let entropy = desk.web.entropy.as_ref();
    let cookie = desk
        .web
        .sessions
        .open(opening, desk.app.core().instant(), entropy);
    let line = visit.session_cookie(cookie.ok()?.expose())?;
    find_requests(desk);
    let mut response = answer::see_other("/console");
    response.headers_mut().append(header::SET_COOKIE, line);
    Some(response)
}

/// The first list of requests after a start looks at all tokens: of a million for some seconds. It is ready when it is
/// asked for.
fn find_requests(desk: &Desk) {
    let app = Arc::clone(&desk.app);
    let found = app.admin().requested(app.core().now());
    if matches!(found, Ok(None)) {
        desk.app.tasks().spawn(async move {
            if let Err(error) = app.admin().find_requests().await {
                tracing::warn!(%error, "the requests that wait could not be found; the list looks for them itself");
            }
        });
    }
}

fn refused(visit: &Visit) -> Response {
    let t = visit.t;
    let told = (t.get("sign_in.refused"), t.get("sign_in.refused_why"));
    again(visit, told, StatusCode::UNAUTHORIZED)
}

/// A flood of one address is not looked at.
fn too_many(visit: &Visit) -> Response {
    let t = visit.t;
    let told = (t.get("refused.not_done"), t.get("me.too_many"));
    again(visit, told, StatusCode::TOO_MANY_REQUESTS)
}

/// The form again, with why.
fn again(visit: &Visit, (text, detail): (&str, &str), status: StatusCode) -> Response {
    let notice = Block::Notice {
        tone: Tone::Bad,
        text: text.to_owned(),
        detail: detail.to_owned(),
    };
    let blocks = vec![notice, Block::Card(vec![Block::Form(form(visit))])];
    frame::outside(visit, visit.t.get("sign_in.title"), blocks).answer(status)
}

/// No decision was possible; which policy is missing is no secret, and the person may be the one to mend it.
pub(super) fn undecided(visit: &Visit, error: &CoreError) -> Response {
    let detail = match error {
        CoreError::NoPolicy { .. } => visit.t.get("sign_in.no_policy"),
        _ => visit.t.get("sign_in.again"),
    };
    let notice = Block::Notice {
        tone: Tone::Bad,
        text: visit.t.get("refused.unavailable").to_owned(),
        detail: detail.to_owned(),
    };
    let page = frame::outside(visit, visit.t.get("sign_in.title"), vec![notice]);
    page.answer(StatusCode::SERVICE_UNAVAILABLE)
}

/// `POST /console/sign-out`
pub(super) async fn end(State(desk): State<Desk>, visit: Visit) -> Response {
    if let Some(cookie) = &visit.cookie {
        desk.web.sessions.end(cookie);
    }
    let mut response = answer::see_other("/console/sign-in");
    if let Some(line) = visit.session_cookie("") {
        response.headers_mut().append(header::SET_COOKIE, line);
    }
    response
}
