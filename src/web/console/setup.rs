//! A person makes their account by a link: name and password, authenticator, recovery codes.
//!
//! Each step is a call of the API in the name of the one who made the link. A link is used up by the first right
//! code; until then its steps can be repeated, so that a closed page is no lost link.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::api::call::NoQuery;
use crate::api::{
    AddToken, AddUser, Confirm, ConfirmToken, RemoveToken, RemoveUser, SetUser, ShowUser,
    TokenCreate, TokenCreated, User, UserChange, UserCreate,
};
use crate::model::client::Scope;
use crate::model::user_key::{CONSOLE, UserKey};
use crate::qr;
use crate::secret::SecretString;
use crate::server::http::caller::Caller;
use crate::web::Desk;
use crate::web::call::Refused;
use crate::web::console::{frame, sign_in};
use crate::web::fields::Sent;
use crate::web::link::{Begun, Link, person_named};
use crate::web::printed::{self, Sheet};
use crate::web::text::Text;
use crate::web::view::{Block, Field, Form, Input, Page, Tone};
use crate::web::visit::Visit;

/// `GET /console/setup`
pub(super) async fn show(visit: Visit) -> Response {
    first(&visit, Vec::new()).answer(StatusCode::OK)
}

fn first(visit: &Visit, before: Vec<Block>) -> Page {
    let t = visit.t;
    let form = Form::new("/console/setup", t.get("setup.next"))
        .main()
        .field(
            Field::new("link", t.get("setup.link"), Input::Text)
                .required()
                .hint(t.get("setup.link_hint")),
        )
        .field(
            Field::new("name", t.get("sign_in.name"), Input::Name).hint(t.get("setup.name_hint")),
        )
        .field(
            Field::new("password", t.get("setup.password"), Input::NewPassword)
                .required()
                .hint(t.get("setup.password_hint")),
        )
        .field(Field::new("again", t.get("setup.again"), Input::NewPassword).required());
    let mut blocks = before;
    blocks.push(Block::Card(vec![Block::Form(form)]));
    frame::outside(visit, t.get("setup.title"), blocks)
}

fn bad(visit: &Visit, text: &str, detail: &str) -> Response {
    let notice = Block::Notice {
        tone: Tone::Bad,
        text: text.to_owned(),
        detail: detail.to_owned(),
    };
    first(visit, vec![notice]).answer(StatusCode::BAD_REQUEST)
}

/// `POST /console/setup`
pub(super) async fn take(State(desk): State<Desk>, Sent(visit, fields): Sent<Visit>) -> Response {
    let t = visit.t;
    let code = fields.get("link").unwrap_or_default();
    let Some(link) = desk.web.links.find(code, desk.app.core().instant()) else {
        return bad(&visit, t.get("setup.no_link"), t.get("setup.no_link_how"));
    };
    let Some(user) = fields.get("name").and_then(person_named) else {
        return bad(&visit, t.get("setup.bad_name"), "");
    };
    let password = fields.secret("password");
    let (Some(password), true) = (password, fields.raw("password") == fields.raw("again")) else {
        return bad(&visit, t.get("setup.not_same"), "");
    };
    match begin(&desk, &link, &user, password).await {
        Ok(Some(begun)) => {
            desk.web.links.begin(code, begun.clone());
            second(&visit, code, &begun, Vec::new(), StatusCode::OK)
        }
        Ok(None) => bad(&visit, t.get("setup.taken"), t.get("setup.taken_how")),
        Err(refused) => {
            let notice = frame::told(t, t.get("refused.not_done"), &refused);
            first(&visit, vec![notice]).answer(StatusCode::BAD_REQUEST)
        }
    }
}

/// Makes the account, or makes it anew, with a token that waits for its first code; `None`: the name is another's.
async fn begin(
    desk: &Desk,
    link: &Link,
    user: &UserKey,
    password: SecretString,
) -> Result<Option<Begun>, Refused> {
    let (name, by) = (user.to_string(), &link.by);
    if link.user.as_ref().is_some_and(|wanted| wanted != user) {
        return Ok(None);
    }
    let own = link.begun.as_ref().is_some_and(|begun| begun.user == *user);
    let present = match desk.read::<ShowUser>(by, &name, &NoQuery {}).await {
        Ok(present) => Some(present),
        Err(refused) if refused.status == StatusCode::NOT_FOUND => None,
        Err(refused) => return Err(refused),
    };
    match present {
        None => {
            let groups = vec![link.role.unwrap_or(Scope::Admin).to_string()];
            add(desk, by, &name, groups, password).await?;
        }
        // An alias: the account of this name is another's.
        Some(present) if present.user != name => return Ok(None),
        // It is made again, so that the password of then can be chosen again.
        Some(present) if link.user.is_none() && is_unfinished(&present) => {
            desk.call::<RemoveUser>(by, &name, &NoQuery {}, &()).await?;
            let mut groups = present.groups;
            let role = link.role.map(|role| role.to_string());
            groups.extend(role.filter(|role| !groups.contains(role)));
            add(desk, by, &name, groups, password).await?;
        }
        Some(_) if link.user.is_none() && !own => return Ok(None),
        Some(present) => {
            let mut groups = present.groups.clone();
            let role = link.role.map(|role| role.to_string());
            groups.extend(role.filter(|role| !present.groups.contains(role)));
            let change = UserChange {
                groups: Some(groups),
                disabled: Some(false),
                password: Some(Some(password)),
                ..UserChange::default()
            };
            desk.call::<SetUser>(by, &name, &NoQuery {}, &change)
                .await?;
            for token in present.tokens.unwrap_or_default() {
                desk.call::<RemoveToken>(by, &token.serial, &NoQuery {}, &())
                    .await?;
            }
        }
    }
    let new = TokenCreate {
        user: name,
        kind: "totp".to_owned(),
        policy: Some(CONSOLE.to_owned()),
        ..TokenCreate::default()
    };
    let made = desk.call::<AddToken>(by, (), &NoQuery {}, &new).await?;
    Ok(Some(Begun {
        user: user.clone(),
        serial: made.token.serial,
        uri: SecretString::new(made.otpauth_uri.unwrap_or_default()),
        secret: SecretString::new(made.secret.unwrap_or_default()),
    }))
}

async fn add(
    desk: &Desk,
    by: &Caller,
    name: &str,
    groups: Vec<String>,
    password: SecretString,
) -> Result<(), Refused> {
    let new = UserCreate {
        user: name.to_owned(),
        groups,
        password: Some(password),
        ..UserCreate::default()
    };
    desk.call::<AddUser>(by, (), &NoQuery {}, &new).await?;
    Ok(())
}

/// Whether an account was begun, and no authenticator of it was ever proven: its link ran out, or the server stopped.
fn is_unfinished(present: &User) -> bool {
    let tokens = present.tokens.as_deref().unwrap_or_default();
    !present.disabled && tokens.iter().all(|token| token.state == "pending")
}

fn second(
    visit: &Visit,
    code: &str,
    begun: &Begun,
    before: Vec<Block>,
    status: StatusCode,
) -> Response {
    let t = visit.t;
    let mut card = vec![Block::Text(t.get("setup.scan").to_owned())];
    if let Ok(drawn) = qr::Matrix::of(begun.uri.expose()) {
        card.push(Block::Qr {
            label: t.get("setup.qr").to_owned(),
            side: drawn.drawn_side(),
            path: drawn.path(),
        });
    }
    card.push(Block::Once {
        label: t.get("setup.by_hand").to_owned(),
        value: grouped(begun.secret.expose()),
    });
    let form = Form::new("/console/setup/code", t.get("setup.next"))
        .main()
        .hidden("link", code)
        .field(Field::new("code", t.get("setup.first_code"), Input::Code).required());
    card.push(Block::Form(form));
    let mut blocks = before;
    blocks.push(Block::Card(card));
    frame::outside(visit, t.get("setup.authenticator"), blocks).answer(status)
}

/// In groups of four, as people copy it.
fn grouped(secret: &str) -> String {
    let signs: Vec<char> = secret.chars().collect();
    let groups = signs
        .chunks(4)
        .map(|group| group.iter().collect::<String>());
    groups.collect::<Vec<_>>().join(" ")
}

/// `POST /console/setup/code`
pub(super) async fn confirm(
    State(desk): State<Desk>,
    Sent(visit, fields): Sent<Visit>,
) -> Response {
    let t = visit.t;
    let code = fields.get("link").unwrap_or_default();
    let link = desk.web.links.find(code, desk.app.core().instant());
    let Some((link, begun)) = link.and_then(|link| Some((link.clone(), link.begun?))) else {
        return bad(&visit, t.get("setup.no_link"), t.get("setup.no_link_how"));
    };
    let otp = fields.get("code").map(SecretString::from);
    let proof = Confirm {
        otp: otp.unwrap_or_default(),
    };
    let proven = desk
        .call::<ConfirmToken>(&link.by, &begun.serial, &NoQuery {}, &proof)
        .await;
    if let Err(refused) = proven {
        let notice = why_not(t, &refused);
        return second(&visit, code, &begun, vec![notice], StatusCode::BAD_REQUEST);
    }
    if !desk.web.links.end(code) {
        return bad(&visit, t.get("setup.no_link"), t.get("setup.no_link_how"));
    }
    let new = TokenCreate {
        user: begun.user.to_string(),
        kind: "recovery".to_owned(),
        active: true,
        policy: Some(CONSOLE.to_owned()),
        ..TokenCreate::default()
    };
    let sheet = desk.call::<AddToken>(&link.by, (), &NoQuery {}, &new).await;
    done(&desk, &visit, begun.user, sheet.ok())
}

/// What was wrong with a first code: a right one that came too soon after a wrong one was not compared.
fn why_not(t: Text, refused: &Refused) -> Block {
    if refused.status != StatusCode::CONFLICT {
        return frame::told(t, t.get("refused.unavailable"), refused);
    }
    let word = refused.english().split(':').next().unwrap_or_default();
    let key = match word {
        "wrong_code" | "malformed_code" => None,
        word => t.find(&format!("reason.{word}")),
    };
    match key {
        None => frame::bad(t.get("setup.wrong_code"), t.get("setup.wrong_code_how")),
        Some(reason) => frame::bad(
            t.get("setup.not_compared"),
            &t.with("setup.not_compared_how", &[("reason", reason)]),
        ),
    }
}

fn done(desk: &Desk, visit: &Visit, user: UserKey, sheet: Option<TokenCreated>) -> Response {
    let t = visit.t;
    let signed = sign_in::open(desk, visit, user);
    let mut card = Vec::new();
    if let Some(made) = sheet {
        card.push(Block::Once {
            label: t.get("setup.codes").to_owned(),
            value: made.codes.join("\n"),
        });
        let serial = &made.token.serial;
        card.extend(printed::sheet(
            t,
            "/console/printed",
            Sheet::Recovery,
            serial,
        ));
    }
    let mut on = Form::new("/console", t.get("setup.on")).main();
    on.asks = true;
    card.push(Block::Form(on));
    let page = frame::outside(visit, t.get("setup.done"), vec![Block::Card(card)]);
    let mut response = page.answer(StatusCode::OK);
    if let Some(signed) = signed {
        let cookies = signed.headers().clone();
        for cookie in cookies.get_all(axum::http::header::SET_COOKIE) {
            let headers = response.headers_mut();
            headers.append(axum::http::header::SET_COOKIE, cookie.clone());
        }
    }
    response
}
