//! Signing in to self-service, and out.

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use crate::core::CoreError;
use crate::login::LoginAnswer;
use crate::model::user_key::CONSOLE;
use crate::server::http::signed_user;
use crate::web::fields::Sent;
use crate::web::portal::owner::{
    Guest, Question, bad, begin, finished, line, may_try, page, signed,
};
use crate::web::view::{Block, Field, Form, Input, Piece};
use crate::web::visit::Visit;
use crate::web::{Desk, answer};

/// `GET /me/sign-in`
pub(super) async fn show(State(desk): State<Desk>, Guest(visit): Guest) -> Response {
    let cookie = visit.cookie.as_deref();
    if cookie.is_some_and(|cookie| signed(&desk, cookie).is_some()) {
        return answer::see_other("/me");
    }
    form_page(&desk, &visit, None, StatusCode::OK)
}

fn form_page(desk: &Desk, visit: &Visit, notice: Option<Block>, status: StatusCode) -> Response {
    let t = visit.t;
    let form = Form::new("/me/sign-in", t.get("sign_in.button"))
        .main()
        .field(Field::new("name", t.get("sign_in.name"), Input::Name))
        .field(Field::new(
            "password",
            t.get("sign_in.password"),
            Input::Password,
        ))
        .field(
            Field::new("code", t.get("sign_in.code"), Input::Code).hint(t.get("sign_in.code_hint")),
        );
    let mut blocks: Vec<Block> = notice.into_iter().collect();
    blocks.push(Block::Card(vec![Block::Form(form)]));
    if desk.web.settings.app {
        // Its key is in this browser, or nowhere here.
        let link = Piece::link("/app/#account", t.get("me.by_device"));
        blocks.push(Block::Line(link));
    }
    page(visit, None, t.get("me.sign_in"), blocks).answer(status)
}

/// `POST /me/sign-in`
pub(super) async fn take(
    State(desk): State<Desk>,
    Sent(Guest(visit), fields): Sent<Guest>,
) -> Response {
    let t = visit.t;
    if !may_try(&desk.app, &visit) {
        let notice = bad(t.get("refused.not_done"), t.get("me.too_many").to_owned());
        return form_page(&desk, &visit, Some(notice), StatusCode::TOO_MANY_REQUESTS);
    }
    let typed = fields.get("name").unwrap_or_default().to_owned();
    let question = Question::of(&typed, &visit, &fields);
    let app = desk.app.clone();
    let decided = finished(&desk, async move {
        let outcome = app
            .login()
            .authenticate(&question.request(&app, true)?)
            .await?;
        Ok((outcome, question))
    });
    let (outcome, question) = match decided.await {
        Ok(decided) => decided,
        Err(error) => {
            // That there was no decision is logged where it is made.
            tracing::debug!(%error, "no decision for self-service");
            let why = match &error {
                crate::admin::AdminError::Core(CoreError::NoPolicy { .. }) => "me.no_policy",
                _ => "me.again",
            };
            let notice = bad(t.get("refused.unavailable"), t.get(why).to_owned());
            return form_page(&desk, &visit, Some(notice), StatusCode::SERVICE_UNAVAILABLE);
        }
    };
    match outcome.answer {
        // The people of the console have the console, from its networks.
        LoginAnswer::Accept(accepted) if accepted.user.realm() != CONSOLE => {
            question.wait(outcome.delay).await;
            begin(&desk, &visit, accepted.user, answer::see_other("/me"))
        }
        LoginAnswer::Challenge(round) => {
            question.wait(outcome.delay).await;
            let form = Form::new("/me/sign-in", t.get("sign_in.button"))
                .main()
                .hidden("name", &typed)
                .hidden("challenge", &round.id)
                .field(Field::new("code", round.prompt.into_owned(), Input::Code).required());
            let blocks = vec![Block::Card(vec![Block::Form(form)])];
            page(&visit, None, t.get("me.sign_in"), blocks).answer(StatusCode::OK)
        }
        _ => {
            question.wait(outcome.delay).await;
            let notice = bad(t.get("sign_in.refused"), t.get("me.refused_why").to_owned());
            form_page(&desk, &visit, Some(notice), StatusCode::UNAUTHORIZED)
        }
    }
}

/// `POST /me/sign-in/device`: by a request that a device of the person signed, as the authenticator of the browser
/// sends it.
pub(super) async fn by_device(
    State(desk): State<Desk>,
    Guest(visit): Guest,
    request: Request,
) -> Response {
    if !may_try(&desk.app, &visit) {
        return StatusCode::TOO_MANY_REQUESTS.into_response();
    }
    match signed_user(&desk.app, request).await {
        Ok(user) if user.realm() != CONSOLE => {
            let response = StatusCode::NO_CONTENT.into_response();
            begin(&desk, &visit, user, response)
        }
        Ok(_) => StatusCode::FORBIDDEN.into_response(),
        Err(refused) => refused,
    }
}

/// `POST /me/sign-out`
pub(super) async fn end(State(desk): State<Desk>, Guest(visit): Guest) -> Response {
    if let Some(cookie) = &visit.cookie {
        desk.web.own_sessions.end(cookie);
    }
    let mut response = answer::see_other("/me/sign-in");
    if let Some(line) = line(&visit, "") {
        response.headers_mut().append(header::SET_COOKIE, line);
    }
    response
}
