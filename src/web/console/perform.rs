//! Acts that were sent: who may make the call sees its form, what the call refuses is shown as the API says it.
//! Dangerous acts ask for a code again ([`crate::web::session::Session::is_proven`]).

use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::admin::AdminError;
use crate::model::device::DeviceId;
use crate::model::id::Serial;
use crate::model::user_key::{CONSOLE, UserKey};
use crate::store::StoreError;
use crate::web::call::{Detail, Refused};
use crate::web::console::act::{Act, Kind, is_of_console, label};
use crate::web::console::look::own_path;
use crate::web::console::{acts, frame, imports, result};
use crate::web::fields::{Fields, Sent};
use crate::web::person::{self, Part, Proof, Proven};
use crate::web::view::{Block, Field, Input, Tone};
use crate::web::visit::Signed;
use crate::web::{Desk, answer};
use crate::wire::percent_encode;

/// `POST /console/act/{id}`
pub(super) async fn take(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    Sent(signed, fields): Sent<Signed>,
) -> Response {
    let Some(act) = acts::find(&id) else {
        return frame::missing(signed).await;
    };
    let access = (act.operation)().access;
    if !signed.person.may(access) {
        return frame::refused(&signed, &Refused::of(StatusCode::FORBIDDEN, ""));
    }
    let renewed = match step_up(&desk, &signed, act, &fields).await {
        Ok(renewed) => renewed,
        Err(response) => return response,
    };
    let own = match act.id {
        "import" => Some(imports::apply(&desk, &signed, &fields).await),
        "freeze" => Some(freeze(&desk, &signed, &fields).await),
        _ => None,
    };
    if let Some(mut response) = own {
        if let Some(line) = renewed {
            response.headers_mut().append(header::SET_COOKIE, line);
        }
        return response;
    }
    let mut response = match act.body(&fields, desk.app.core().now()) {
        Ok(body) => done(&desk, &signed, act, &fields, body).await,
        Err(field) => {
            let t = signed.visit.t;
            let label = t.find(&format!("field.{field}")).unwrap_or(field);
            let detail = t.with("act.no_number", &[("field", label)]);
            frame::refused(&signed, &Refused::of(StatusCode::BAD_REQUEST, &detail))
        }
    };
    if let Some(line) = renewed {
        response.headers_mut().append(header::SET_COOKIE, line);
    }
    response
}

/// Whether the person may do it now; where a code came with it, the session has another cookie from now on.
async fn step_up(
    desk: &Desk,
    signed: &Signed,
    act: &Act,
    fields: &Fields,
) -> Result<Option<HeaderValue>, Response> {
    let names = ["place", "user"]
        .into_iter()
        .filter_map(|name| fields.get(name));
    let touches_people = names
        .into_iter()
        .any(|name| is_of_console(name) || belongs_to_console(desk, name));
    let needed = act.is_dangerous || touches_people;
    if !needed || signed.session.is_proven(signed.now) {
        return Ok(None);
    }
    let Some(code) = fields.get("step_up") else {
        return Err(again(signed, act, fields, "act.step_up_needed"));
    };
    let proof = Proof {
        user: signed.person.user.clone(),
        password: None,
        code: Some(code.into()),
        challenge: None,
        step_up: true,
        source: signed.visit.address,
    };
    match person::prove(desk, proof).await {
        Ok(Proven::Yes) => {}
        Ok(_) => return Err(again(signed, act, fields, "act.step_up_wrong")),
        Err(_) => {
            let refused = Refused::of(StatusCode::SERVICE_UNAVAILABLE, "");
            return Err(frame::refused(signed, &refused));
        }
    }
    let cookie = signed.visit.cookie.as_deref().unwrap_or_default();
    let standing = person::standing(&desk.app, &signed.person.user);
    let ground = standing.ok().flatten().map(|standing| standing.ground);
    // The code may have activated its token; what else changed meanwhile has ended the session.
    let before = signed.session.ground;
    let ground = ground.filter(|ground| ground.is_but_for(Part::Tokens, before));
    let renewed = ground.and_then(|ground| {
        let (now, entropy) = (signed.now, desk.web.entropy.as_ref());
        let renewed = desk.web.sessions.step_up(cookie, ground, now, entropy);
        renewed.ok().flatten()
    });
    let line = renewed.and_then(|renewed| signed.visit.session_cookie(renewed.expose()));
    match line {
        Some(line) => Ok(Some(line)),
        None => Err(answer::see_other("/console/sign-in")),
    }
}

/// Whether this names a token or a device of someone of the console, or a token that counts for one. What cannot be
/// read counts as one.
fn belongs_to_console(desk: &Desk, name: &str) -> bool {
    let store = desk.app.core().store();
    let is_person = |user: &UserKey| user.realm() == CONSOLE;
    let of_token = |serial: Serial| {
        let token = store.token(&serial)?;
        let owned = token.is_some_and(|(token, _)| is_person(&token.user));
        Ok::<_, StoreError>(owned || store.sharers(&serial)?.iter().any(is_person))
    };
    let of_device = |id: DeviceId| {
        let device = store.device(&id)?;
        Ok::<_, StoreError>(device.is_some_and(|(device, _)| is_person(&device.user)))
    };
    let token = name.parse::<Serial>();
    let token = token.is_ok_and(|serial| of_token(serial).unwrap_or(true));
    let device = name.parse::<DeviceId>();
    token || device.is_ok_and(|id| of_device(id).unwrap_or(true))
}

/// The same form again, with the field for the code; what was typed is kept, but for secrets.
fn again(signed: &Signed, act: &Act, fields: &Fields, why: &'static str) -> Response {
    let t = signed.visit.t;
    let mut given: Vec<(&str, &str)> = vec![("back", own_path(fields.get("back")))];
    if let Some(revision) = fields.get("revision") {
        given.push(("revision", revision));
    }
    for wanted in act.wanted {
        let value = match wanted.kind {
            Kind::Lines => fields.raw(wanted.name),
            _ => fields.get(wanted.name),
        };
        given.extend(value.map(|value| (wanted.name, value)));
    }
    let mut blocks = vec![Block::Notice {
        tone: Tone::Warn,
        text: t.find(why).unwrap_or_default().to_owned(),
        detail: String::new(),
    }];
    if let Some(mut form) = act.form(signed, fields.get("place").unwrap_or_default(), &given) {
        if !form.fields.iter().any(|field| field.name == "step_up") {
            form = form.field(Field::new("step_up", t.get("act.step_up"), Input::Code).required());
        }
        form.folded = false;
        blocks.push(Block::Card(vec![Block::Form(form)]));
    }
    frame::page(signed, label(signed, act.id), blocks).answer(StatusCode::UNAUTHORIZED)
}

async fn done(
    desk: &Desk,
    signed: &Signed,
    act: &Act,
    fields: &Fields,
    body: Option<Value>,
) -> Response {
    let operation = (act.operation)();
    let mut target = String::new();
    match operation.path.split_once('{') {
        None => target.push_str(operation.path),
        Some((before, rest)) => {
            target.push_str(before);
            percent_encode(fields.get("place").unwrap_or_default(), &mut target);
            target.push_str(rest.split_once('}').map_or("", |(_, after)| after));
        }
    }
    let query = act.query(fields);
    if !query.is_empty() {
        target.push('?');
        target.push_str(&query);
    }
    let mut body = body;
    // The link leads to where the people reach this server.
    if act.id == "enrol_link"
        && desk.app.info().public_url.is_none()
        && let (Some(Value::Object(body)), Some(base)) = (&mut body, desk.app.pages_base())
    {
        body.insert("server_url".to_owned(), json!(base));
    }
    let octets = body.and_then(|body| serde_json::to_vec(&body).ok());
    let expected = fields.get("revision").filter(|_| operation.if_match);
    let caller = signed.caller();
    let sent = desk.send_expecting(
        &caller,
        operation.method,
        &target,
        octets.map(Zeroizing::new),
        expected,
    );
    match sent.await {
        Ok(answer) => {
            let back = own_path(fields.get("back"));
            let shown = result::show(signed, act, &answer, back);
            shown.unwrap_or_else(|| answer::see_other(&with_done(back, act.id)))
        }
        Err(refused) => frame::refused(signed, &refused),
    }
}

/// Suspends all tokens in use of a user: one act, where the API has one call for each token.
async fn freeze(desk: &Desk, signed: &Signed, fields: &Fields) -> Response {
    let frozen = async {
        let user = fields.get("place").unwrap_or_default();
        let user = UserKey::parse(user).map_err(|_| AdminError::NotFound("user"))?;
        let by = signed.by(desk)?;
        desk.app.admin().suspend_all(&user, by).await
    };
    let Err(error) = frozen.await else {
        let back = own_path(fields.get("back"));
        return answer::see_other(&with_done(back, "freeze"));
    };
    let status = match &error {
        AdminError::Core(_) => StatusCode::SERVICE_UNAVAILABLE,
        AdminError::NotFound(_) => StatusCode::NOT_FOUND,
        _ => StatusCode::CONFLICT,
    };
    // What failed inside is for the log.
    if let AdminError::Core(error) = &error {
        tracing::warn!(%error, "the tokens of a user cannot all be suspended");
        return frame::refused(signed, &Refused::of(status, ""));
    }
    let detail = Detail::Server(error.to_string());
    frame::refused(signed, &Refused { status, detail })
}

/// The address with what was done, for the page to say it.
fn with_done(back: &str, id: &str) -> String {
    let (path, query) = back.split_once('?').unwrap_or((back, ""));
    let rest = query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.starts_with("done="));
    let mut pairs: Vec<&str> = rest.collect();
    let done = format!("done={id}");
    pairs.push(&done);
    format!("{path}?{}", pairs.join("&"))
}
