//! What people change of their own with their session alone, and the PIN with the old one and a code.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::admin::{AdminError, CredentialsPatch, NewVerifier, Replaced, UserPatch};
use crate::model::device::DeviceId;
use crate::model::id::Serial;
use crate::model::message::{Language, Medium};
use crate::secret::SecretString;
use crate::web::fields::Sent;
use crate::web::person::Part;
use crate::web::portal::owner::{Owner, Question, finished, may_try};
use crate::web::printed::noted;
use crate::web::view::{Block, Tone};
use crate::web::visit::LANGUAGE;
use crate::web::{Desk, answer};

/// `POST /me/lost`: the token is suspended at once; what is to become of it is asked later.
pub(super) async fn lost(State(desk): State<Desk>, Sent(owner, fields): Sent<Owner>) -> Response {
    let done = async {
        let serial = fields.get("serial").unwrap_or_default().parse::<Serial>();
        let serial = serial.map_err(|_| AdminError::NotFound("token"))?;
        let by = owner.by(&desk.app)?;
        let admin = desk.app.admin();
        admin.suspend_own(&owner.user, Some(&serial), by).await
    };
    match done.await {
        Ok(_) => told(
            &desk,
            &owner,
            Part::Tokens,
            ["me.lost_done", "me.lost_next"],
        ),
        Err(error) => owner.refused(&error),
    }
}

/// `POST /me/not-me`: all that the person has is suspended.
pub(super) async fn not_me(State(desk): State<Desk>, owner: Owner) -> Response {
    let done = async {
        let by = owner.by(&desk.app)?;
        desk.app.admin().suspend_own(&owner.user, None, by).await
    };
    match done.await {
        Ok(done) => {
            let changed = if done > 0 {
                Part::Tokens
            } else {
                Part::Nothing
            };
            told(&desk, &owner, changed, ["me.not_me_done", "me.not_me_next"])
        }
        Err(error) => owner.refused(&error),
    }
}

/// `POST /me/device`: ends a device and what it carries.
pub(super) async fn end_device(
    State(desk): State<Desk>,
    Sent(owner, fields): Sent<Owner>,
) -> Response {
    let ended = async {
        let id = fields.get("device").unwrap_or_default().parse::<DeviceId>();
        let id = id.map_err(|_| AdminError::NotFound("device"))?;
        let by = owner.by(&desk.app)?;
        desk.app.admin().end_own_device(&owner.user, &id, by).await
    };
    match ended.await {
        Ok(()) => told(&desk, &owner, Part::Tokens, ["me.ended", "me.ended_next"]),
        Err(error) => owner.refused(&error),
    }
}

/// `POST /me/device/name`
pub(super) async fn rename_device(
    State(desk): State<Desk>,
    Sent(owner, fields): Sent<Owner>,
) -> Response {
    let renamed = async {
        let id = fields.get("device").unwrap_or_default().parse::<DeviceId>();
        let id = id.map_err(|_| AdminError::NotFound("device"))?;
        let name = fields.get("name").unwrap_or_default().to_owned();
        let by = owner.by(&desk.app)?;
        let admin = desk.app.admin();
        admin.rename_own_device(&owner.user, &id, name, by).await
    };
    match renamed.await {
        Ok(()) => answer::see_other("/me"),
        Err(error) => owner.refused(&error),
    }
}

/// `POST /me/language`: of messages and of these pages.
pub(super) async fn language(
    State(desk): State<Desk>,
    Sent(owner, fields): Sent<Owner>,
) -> Response {
    let wanted = fields.get("language").and_then(|word| word.parse().ok());
    let Some(language) = wanted else {
        return answer::see_other("/me");
    };
    let patch = UserPatch {
        language: Some(language),
        ..UserPatch::default()
    };
    let set = async {
        let by = owner.by(&desk.app)?;
        desk.app
            .admin()
            .set_user(&owner.user, patch, None, by)
            .await
    };
    match set.await {
        Ok(_) => {
            let mut response = answer::see_other("/me");
            let line = owner
                .visit
                .choice_cookie(LANGUAGE, Language::as_str(language));
            if let Some(line) = line {
                let name = axum::http::header::SET_COOKIE;
                response.headers_mut().append(name, line);
            }
            owner.go_on(&desk, Part::Record, response)
        }
        Err(error) => owner.refused(&error),
    }
}

/// `POST /me/consent`: withdrawn, with the session alone.
pub(super) async fn withdraw(State(desk): State<Desk>, owner: Owner) -> Response {
    let done = async {
        let by = owner.by(&desk.app)?;
        desk.app.admin().withdraw_consent(&owner.user, by).await
    };
    match done.await {
        Ok(()) => {
            let said = ["me.withdrawn", "me.withdrawn_next"];
            told(&desk, &owner, Part::Record, said)
        }
        Err(error) => owner.refused(&error),
    }
}

/// `POST /me/contact`: another telephone number or mail address.
pub(super) async fn contact(
    State(desk): State<Desk>,
    Sent(owner, fields): Sent<Owner>,
) -> Response {
    let medium = match fields.get("which") {
        Some("email") => Medium::Email,
        _ => Medium::Sms,
    };
    let Some(address) = fields.get("address").map(str::to_owned) else {
        return answer::see_other("/me");
    };
    if !may_try(&desk.app, &owner.visit) {
        return owner.unproven();
    }
    let question = Question::of(&owner.user.to_string(), &owner.visit, &fields);
    let app = desk.app.clone();
    let changed = finished(&desk, async move {
        let request = question.request(&app, false)?;
        let admin = app.admin();
        let changed = admin.change_own_contact(&request, medium, address).await?;
        if let Replaced::Refused(outcome) = &changed {
            question.wait(outcome.delay).await;
        }
        Ok(changed)
    });
    match changed.await {
        Ok(Replaced::Done) => {
            let said = ["me.contact_done", "me.contact_next"];
            told(&desk, &owner, Part::Proven, said)
        }
        Ok(Replaced::Refused(_)) => owner.unproven(),
        Err(error) => owner.refused(&error),
    }
}

/// `POST /me/pin`
pub(super) async fn pin(State(desk): State<Desk>, Sent(owner, fields): Sent<Owner>) -> Response {
    let t = owner.visit.t;
    let same = fields.raw("new") == fields.raw("again");
    let Some(new) = fields.secret("new").filter(|_| same) else {
        return owner.malformed(t.get("me.pin_differ"));
    };
    if !may_try(&desk.app, &owner.visit) {
        return owner.unproven();
    }
    let question = Question::of(&owner.user.to_string(), &owner.visit, &fields).for_pin();
    let app = desk.app.clone();
    let replaced = finished(&desk, async move {
        let patch = CredentialsPatch {
            pin: Some(NewVerifier::Text(SecretString::from(new.expose()))),
            ..CredentialsPatch::default()
        };
        let request = question.request(&app, false)?;
        let replaced = app.admin().replace_own(&request, patch).await?;
        if let Replaced::Refused(outcome) = &replaced {
            question.wait(outcome.delay).await;
        }
        Ok(replaced)
    });
    match replaced.await {
        Ok(Replaced::Done) => {
            let said = ["me.pin_done", "me.pin_next"];
            told(&desk, &owner, Part::Proven, said)
        }
        Ok(Replaced::Refused(_)) => owner.unproven(),
        Err(error) => owner.refused(&error),
    }
}

/// `POST /me/printed`
pub(super) async fn printed(
    State(desk): State<Desk>,
    Sent(owner, fields): Sent<Owner>,
) -> StatusCode {
    let serial = fields
        .get("serial")
        .and_then(|text| text.parse::<Serial>().ok());
    let token = serial.map(|serial| desk.app.core().store().token(&serial));
    let owns = matches!(token, Some(Ok(Some((token, _)))) if token.user == owner.user);
    match owner.by(&desk.app) {
        Ok(by) if owns => noted(&desk, &fields, by).await,
        Ok(_) => StatusCode::NOT_FOUND,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// The page of what was done, which changed this of what the session stands on.
fn told(desk: &Desk, owner: &Owner, changed: Part, [done, next]: [&str; 2]) -> Response {
    let t = owner.visit.t;
    let text = |key: &str| t.find(key).unwrap_or_default().to_owned();
    let notice = Block::Notice {
        tone: Tone::Good,
        text: text(done),
        detail: text(next),
    };
    let page = owner.page(t.get("me.title"), vec![notice]);
    owner.go_on(desk, changed, page.answer(StatusCode::OK))
}
