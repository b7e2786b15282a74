//! Another token, one from stock and recovery codes: for all of them the person proves again who they are.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use crate::admin::AdminError;
use crate::admin::Offered;
use crate::admin::self_service::{SelfService, Wish};
use crate::model::id::Serial;
use crate::model::kind::Kind;
use crate::model::token::LifeCycle;
use crate::otp::Typed;
use crate::qr;
use crate::secret::SecretString;
use crate::server::http::{label, otpauth_uri};
use crate::web::Desk;
use crate::web::fields::{Fields, Sent};
use crate::web::person::Part;
use crate::web::portal::owner::{Owner, Question, finished, may_try};
use crate::web::printed::{self, Sheet};
use crate::web::text::Text;
use crate::web::view::{Block, Field, Form, Input, Piece, Tone};

/// `POST /me/token`: a totp token, whose key is shown once.
pub(super) async fn add(State(desk): State<Desk>, Sent(owner, fields): Sent<Owner>) -> Response {
    let replaces = fields.get("replaces").map(str::parse::<Serial>).transpose();
    let Ok(replaces) = replaces else {
        return owner.refused(&AdminError::NotFound("token"));
    };
    match enrolled(&desk, &owner, &fields, Kind::Totp, replaces).await {
        Ok(Some(made)) => shown(&desk, &owner, &made),
        Ok(None) => owner.unproven(),
        Err(error) => owner.refused(&error),
    }
}

/// `POST /me/recovery`: a sheet of codes, shown once; the one before ends.
pub(super) async fn recovery(
    State(desk): State<Desk>,
    Sent(owner, fields): Sent<Owner>,
) -> Response {
    let view = desk.app.core().store().view(&owner.user);
    let present = match view {
        Ok(view) => view.and_then(|view| {
            let at = desk.app.core().now();
            let sheet = view.tokens.into_iter().find(|(token, _)| {
                token.kind == Kind::Recovery && token.state_at(at) == LifeCycle::Active
            });
            sheet.map(|(token, _)| token.serial)
        }),
        Err(error) => return owner.refused(&error.into()),
    };
    let made = match enrolled(&desk, &owner, &fields, Kind::Recovery, present).await {
        Ok(Some(made)) => made,
        Ok(None) => return owner.unproven(),
        Err(error) => return owner.refused(&error),
    };
    let t = owner.visit.t;
    let codes = made.handed.codes.iter().map(SecretString::expose);
    let sheet = Block::Once {
        label: t.get("me.recovery_shown").to_owned(),
        value: codes.collect::<Vec<_>>().join("\n"),
    };
    let mut card = vec![sheet];
    let serial = made.handed.token.serial.as_str();
    card.extend(printed::sheet(t, "/me/printed", Sheet::Recovery, serial));
    let blocks = vec![Block::Card(card)];
    let page = owner.page(t.get("me.recovery"), blocks);
    owner.go_on(&desk, Part::Proven, page.answer(StatusCode::OK))
}

/// `POST /me/stock`: a token in stock that the person holds, by two codes of it.
pub(super) async fn take(State(desk): State<Desk>, Sent(owner, fields): Sent<Owner>) -> Response {
    let t = owner.visit.t;
    let serial = fields.get("serial").unwrap_or_default().parse::<Serial>();
    let typed = |name: &str| {
        let typed = fields.get(name).map(SecretString::from)?;
        let tidy = typed.without_blanks();
        Typed::parse(tidy.as_ref().unwrap_or(&typed).expose()).ok()
    };
    let (Ok(serial), Some(first), Some(second)) = (serial, typed("first"), typed("second")) else {
        return owner.malformed(t.get("me.stock_malformed"));
    };
    if !may_try(&desk.app, &owner.visit) {
        return owner.unproven();
    }
    let question = Question::of(&owner.user.to_string(), &owner.visit, &fields);
    let app = desk.app.clone();
    let taken = finished(&desk, async move {
        let request = question.request(&app, false)?;
        let admin = app.admin();
        let taken = admin.self_assign(&request, &serial, (&first, &second));
        match taken.await? {
            SelfService::Proven(_) => Ok(true),
            SelfService::Refused(delay) => {
                question.wait(delay).await;
                Ok(false)
            }
            SelfService::Made(_) => Ok(false),
        }
    });
    match taken.await {
        Ok(true) => {
            let page = owner.page(t.get("me.title"), vec![in_use(t)]);
            owner.go_on(&desk, Part::Proven, page.answer(StatusCode::OK))
        }
        Ok(false) => {
            let why = t.get("me.stock_refused").to_owned();
            let notice = super::owner::bad(t.get("sign_in.refused"), why);
            let page = owner.page(t.get("me.title"), vec![notice]);
            page.answer(StatusCode::UNAUTHORIZED)
        }
        Err(error) => owner.refused(&error),
    }
}

/// Says that a token is in use.
fn in_use(t: Text) -> Block {
    Block::Notice {
        tone: Tone::Good,
        text: t.get("me.token_done").to_owned(),
        detail: t.get("me.token_next").to_owned(),
    }
}

/// A token for the person who proves again who they are; none when that was not right.
async fn enrolled(
    desk: &Desk,
    owner: &Owner,
    fields: &Fields,
    kind: Kind,
    replaces: Option<Serial>,
) -> Result<Option<Box<Offered>>, AdminError> {
    if !may_try(&desk.app, &owner.visit) {
        return Ok(None);
    }
    let question = Question::of(&owner.user.to_string(), &owner.visit, fields);
    let app = desk.app.clone();
    finished(desk, async move {
        let wish = Wish {
            kind,
            address: None,
            replaces,
            step_up: None,
        };
        let request = question.request(&app, false)?;
        match app.admin().self_enrol(&request, wish).await? {
            SelfService::Made(made) => Ok(Some(made)),
            SelfService::Refused(delay) => {
                question.wait(delay).await;
                Ok(None)
            }
            SelfService::Proven(_) => Ok(None),
        }
    })
    .await
}

fn shown(desk: &Desk, owner: &Owner, made: &Offered) -> Response {
    let (app, t, token) = (&desk.app, owner.visit.t, &made.handed.token);
    let mut blocks = Vec::new();
    if token.state == LifeCycle::Requested {
        blocks.push(Block::Notice {
            tone: Tone::Plain,
            text: t.get("me.requested").to_owned(),
            detail: t.get("me.requested_next").to_owned(),
        });
    } else {
        let uri = otpauth_uri(app, token, None);
        let Ok(drawn) = qr::Matrix::of(uri.expose()) else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        let confirm = Form::new("/me/token/code", t.get("me.check"))
            .main()
            .hidden("serial", token.serial.as_str())
            .field(Field::new("code", t.get("me.first_code"), Input::Code).required());
        blocks.push(Block::Card(vec![
            Block::Text(t.get("me.scan").to_owned()),
            Block::Qr {
                label: label(app, token).account().to_owned(),
                side: drawn.drawn_side(),
                path: drawn.path(),
            },
            Block::Facts(vec![(
                t.get("me.key").to_owned(),
                vec![Piece::Mono(
                    crate::otpauth::encode_base32(token.key.expose())
                        .expose()
                        .to_owned(),
                )],
            )]),
            Block::Form(confirm),
        ]));
    }
    let page = owner.page(t.get("me.another"), blocks);
    owner.go_on(desk, Part::Proven, page.answer(StatusCode::OK))
}

/// `POST /me/token/code`: the first code of a token that was shown.
pub(super) async fn confirm(
    State(desk): State<Desk>,
    Sent(owner, fields): Sent<Owner>,
) -> Response {
    let t = owner.visit.t;
    let serial = fields.get("serial").unwrap_or_default().parse::<Serial>();
    let typed = fields.secret("code").unwrap_or_default();
    let Ok(serial) = serial else {
        return owner.refused(&AdminError::NotFound("token"));
    };
    if !may_try(&desk.app, &owner.visit) {
        return owner.unproven();
    }
    let question = Question::of(&owner.user.to_string(), &owner.visit, &fields);
    let app = desk.app.clone();
    let of = serial.clone();
    let proven = finished(&desk, async move {
        let request = question.request(&app, false)?;
        match app.admin().self_confirm(&request, &of, &typed).await? {
            SelfService::Proven(_) => Ok(true),
            SelfService::Refused(delay) => {
                question.wait(delay).await;
                Ok(false)
            }
            SelfService::Made(_) => Ok(false),
        }
    });
    match proven.await {
        Ok(true) => {
            let page = owner.page(t.get("me.title"), vec![in_use(t)]);
            owner.go_on(&desk, Part::Tokens, page.answer(StatusCode::OK))
        }
        Ok(false) => {
            let again = Form::new("/me/token/code", t.get("me.check"))
                .main()
                .hidden("serial", serial.as_str())
                .field(Field::new("code", t.get("me.first_code"), Input::Code).required());
            let notice = super::owner::bad(t.get("me.wrong_code"), String::new());
            let blocks = vec![notice, Block::Card(vec![Block::Form(again)])];
            owner
                .page(t.get("me.another"), blocks)
                .answer(StatusCode::UNAUTHORIZED)
        }
        Err(error) => owner.refused(&error),
    }
}
