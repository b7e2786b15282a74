//! `/auth`, and what a service account may then ask: `/validate/triggerchallenge`, `/token/`, `/token/init`.
//!
//! ```text
//! POST /auth             username: an API client, password: its key -> a token for an hour
//! Authorization: TOKEN   or PI-Authorization
//! ```
//!
//! Invariants: a token is for the routes of one client and ends with the account, with its key, and after an
//! hour. It opens nothing that the account's own key does not: challenges with the scope `verify`, tokens as
//! `/v1/admin/tokens` by role. A challenge that is triggered asks for the first factor of the client's policy, and
//! leaves none out.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::admin::{Enrol, NewToken};
use crate::api::jwt::{self, Claims};
use crate::login::LoginAnswer;
use crate::model::client::{Access, Client, Scope};
use crate::model::kind::Kind;
use crate::model::reason::Reason;
use crate::model::token::{LifeCycle, Token, TokenState};
use crate::otp::{Algorithm, Digits, Period};
use crate::qr;
use crate::secret::SecretBytes;
use crate::server::http::App;
use crate::server::http::caller::Caller;
use crate::server::http::compat::answer::{
    administered, no_such, privacyidea, privacyidea_error, told,
};
use crate::server::http::compat::asked::{Asked, How};
use crate::server::http::error::Failure;
use crate::server::http::offered::otpauth_uri;
use crate::store::{ADMINISTRATORS_ONLY, By, KeyPurpose};

pub(crate) async fn auth(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let (asked, _) = Asked::read(&app, &name, request).await?;
    let (form, now) = (&asked.form, asked.arrival.at);
    let Some(username) = form.text("username").filter(|name| !name.is_empty()) else {
        return Ok(refused(4032, "Authentication failure. Missing Username"));
    };
    let Some(password) = form.secret("password") else {
        return Ok(refused(4031, "Authentication failure. Missing credentials"));
    };
    let account = app.core().clients().by_key(password, now);
    let account = account.filter(|client| client.name == username);
    let Some(account) = account else {
        return Ok(refused(4031, "Authentication failure. Wrong credentials"));
    };
    let rights = rights(&account);
    let claims = Claims {
        username: account.name.clone(),
        realm: String::new(),
        nonce: nonce(&account),
        role: "admin".to_owned(),
        authtype: "password".to_owned(),
        aud: asked.client.name.clone(),
        exp: now.plus(LIFE).as_secs(),
        rights: rights.iter().map(|right| (*right).to_owned()).collect(),
    };
    let token = jwt::seal(&claims, &app.core().store().key(KeyPurpose::Account));
    let token = token.ok_or(Failure::INTERNAL)?;
    let value = json!({
        "token": token.expose(), "role": "admin", "username": account.name, "realm": "",
        "rights": rights, "auth": true, "logout_time": LIFE.as_secs(),
    });
    let mut answer = privacyidea(true, "ACCEPT", &Value::Null);
    answer["result"]["value"] = value;
    Ok(Json(answer).into_response())
}

pub(crate) async fn trigger(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let (asked, parts) = Asked::read(&app, &name, request).await?;
    let Some(account) = account(&app, &asked, &parts) else {
        return Ok(refused(4033, MISSING));
    };
    if !Caller::Key(account).may_verify() {
        return Ok(forbidden("triggerchallenge"));
    }
    let by_name = asked.user();
    let by_serial = by_name.is_none();
    let named = match by_name {
        Some(user) => Some(user),
        None => asked.owner(&app)?,
    };
    let Some(user) = named else {
        let what = "Missing parameter: 'user' or 'serial'";
        return Ok(privacyidea_error(905, what));
    };
    let (shape, show) = (asked.compat.shape, asked.compat.show_unknown_user);
    let decided = asked.decide(&app, user.clone(), How::Trigger).await?;
    if show && decided.reason == Reason::UnknownUser {
        return Ok(no_such(shape, (!by_serial).then_some(&*user)));
    }
    let asks = matches!(decided.answer, LoginAnswer::Challenge(_));
    let mut answer = if asks {
        told(shape, &app, decided.answer, false)
    } else {
        let detail =
            json!({ "messages": [], "transaction_ids": [], "multi_challenge": [], "threadid": 0 });
        privacyidea(false, "REJECT", &detail)
    };
    answer["result"]["value"] = json!(u8::from(asks));
    Ok(Json(answer).into_response())
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let (asked, parts) = Asked::read(&app, &name, request).await?;
    let Some(account) = account(&app, &asked, &parts) else {
        return Ok(refused(4033, MISSING));
    };
    let caller = Caller::Key(account);
    if !caller.may_administer() && !caller.acts_as(&[Scope::Operator, Scope::Auditor]) {
        return Ok(forbidden("tokenlist"));
    }
    let Some(user) = asked.user() else {
        return Ok(privacyidea_error(905, "Missing parameter: 'user'"));
    };
    // As at `/v1/admin/tokens`: whom the account does not see has no tokens, as one who is not there.
    let view = match app.core().key(&asked.client, &user) {
        Ok(key) if caller.sees(&key) => app.core().store().view(&key)?,
        _ => None,
    };
    let tokens = view.iter().flat_map(|view| &view.tokens);
    let tokens = tokens.filter(|(token, _)| caller.sees(&token.user));
    let tokens: Vec<Value> = tokens
        .map(|(token, state)| listed(token, state, asked.arrival.at))
        .collect();
    let value = json!({
        "count": tokens.len(), "current": 1, "next": null, "prev": null, "tokens": tokens,
    });
    Ok(Json(administered(value, &Value::Null)).into_response())
}

pub(crate) async fn init(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let (asked, parts) = Asked::read(&app, &name, request).await?;
    let Some(account) = account(&app, &asked, &parts) else {
        return Ok(refused(4033, MISSING));
    };
    let caller = Caller::Key(account);
    if !caller.may_administer() && !caller.acts_as(&[Scope::Operator]) {
        return Ok(forbidden("enroll"));
    }
    let wanted = match wanted(&app, &asked) {
        Ok(wanted) => wanted,
        Err(what) => return Ok(privacyidea_error(905, what)),
    };
    let by = By {
        request: asked.arrival.id,
        actor: caller.actor(),
        person: None,
        at: asked.arrival.at,
        limited: !caller.may_administer(),
    };
    if !by.may_change(&wanted.user) {
        return Ok(privacyidea_error(905, ADMINISTRATORS_ONLY));
    }
    let counter = wanted.counter;
    let enrol = Enrol {
        request: !caller.may_administer(),
        strict: !caller.may_administer(),
        ..wanted.into()
    };
    let made = match app.admin().enrol_token(enrol, by).await {
        Ok(made) => made,
        Err(error) => {
            let failure = Failure::from(error);
            if failure.is_unavailable() {
                return Err(failure);
            }
            let what = match failure.detail() {
                "" => "there is no such user",
                what => what,
            };
            return Ok(privacyidea_error(905, what));
        }
    };
    let token = &made.token;
    let mut detail = json!({ "serial": token.serial.as_str(), "rollout_state": "", "threadid": 0 });
    if token.state == LifeCycle::Requested {
        // Nothing is shown before others have approved it.
        detail["rollout_state"] = json!("pending");
    } else {
        let uri = otpauth_uri(&app, token, Some(counter));
        let seed = format!(
            "seed://{}",
            data_encoding::HEXLOWER.encode(token.key.expose())
        );
        detail["googleurl"] = json!({
            "description": "URL for authenticator apps", "value": uri.expose(), "img": image(uri.expose()),
        });
        detail["otpkey"] = json!({ "description": "OTP seed", "value": seed, "img": image(&seed) });
    }
    Ok(Json(administered(true, &detail)).into_response())
}

/// The token that is asked for.
fn wanted(app: &App, asked: &Asked) -> Result<NewToken, &'static str> {
    let form = &asked.form;
    let given = |name: &str| form.text(name).filter(|text| !text.is_empty());
    let user = asked.user().ok_or("Missing parameter: 'user'")?;
    let user = app.core().key(&asked.client, &user);
    let user = user.map_err(|_| "user: no name of a user")?;
    if given("pin").is_some() {
        return Err("pin: a PIN belongs to the user; set it with `oncegate user set --pin-stdin`");
    }
    let kind = match given("type").unwrap_or("hotp") {
        "totp" => Kind::Totp,
        "hotp" => Kind::Hotp,
        _ => return Err("type: hotp or totp"),
    };
    let genkey = matches!(given("genkey"), Some("1" | "true" | "True"));
    let key = match (given("otpkey"), genkey) {
        (None, true) => None,
        (Some(hex), false) => {
            let octets = data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes());
            Some(SecretBytes::new(
                octets.map_err(|_| "otpkey: hexadecimal digits")?,
            ))
        }
        _ => return Err("Missing parameter: either 'otpkey' or 'genkey'"),
    };
    let digits = given("otplen").map_or(Some(Digits::SIX), |text| {
        text.parse().ok().and_then(Digits::new)
    });
    let period = given("timeStep").map_or(Some(Period::THIRTY), |text| {
        text.parse().ok().and_then(Period::new)
    });
    let algorithm = given("hashlib").map_or(Ok(Algorithm::Sha1), str::parse);
    let serial = given("serial").map(str::parse).transpose();
    Ok(NewToken {
        user,
        kind,
        algorithm: algorithm.map_err(|()| "hashlib: sha1, sha256 or sha512")?,
        digits: digits.ok_or("otplen: 6 to 9")?,
        period: period.ok_or("timeStep: 15 to 300")?,
        key,
        counter: 0,
        active: false,
        serial: serial.map_err(|_| "serial: 1 to 40 letters, digits, dashes, underscores")?,
    })
}

/// The account whose token a request brings along.
fn account(app: &App, asked: &Asked, parts: &Parts) -> Option<Arc<Client>> {
    let headers = [header::AUTHORIZATION.as_str(), "pi-authorization"];
    let given = headers.iter().find_map(|name| parts.headers.get(*name))?;
    let given = given.to_str().ok()?;
    let token = given.strip_prefix("Bearer ").unwrap_or(given);
    let key = app.core().store().key(KeyPurpose::Account);
    let claims = jwt::open(token, &key, asked.arrival.at)?;
    let clients = app.core().clients().all();
    let found = clients
        .iter()
        .find(|client| client.name == claims.username)?;
    (claims.aud == asked.client.name && claims.nonce == nonce(found)).then(|| Arc::clone(found))
}

/// What stands for the key of an account; nothing of the key can be learned by it.
fn nonce(account: &Client) -> String {
    let digest = match &account.access {
        Access::Api(api) => Sha256::digest(api.key_hash).to_vec(),
        Access::Radius(_) => Vec::new(),
    };
    data_encoding::HEXLOWER.encode(digest.get(..8).unwrap_or_default())
}

fn rights(account: &Arc<Client>) -> Vec<&'static str> {
    let caller = Caller::Key(Arc::clone(account));
    let admin = caller.may_administer();
    let verify = caller.may_verify().then_some("triggerchallenge");
    let list = (admin || caller.acts_as(&[Scope::Operator, Scope::Auditor])).then_some("tokenlist");
    let enrol = admin || caller.acts_as(&[Scope::Operator]);
    let enrol = enrol.then_some(["enrollHOTP", "enrollTOTP"]);
    verify
        .into_iter()
        .chain(list)
        .chain(enrol.into_iter().flatten())
        .collect()
}

fn listed(token: &Token, state: &TokenState, at: crate::time::UnixTime) -> Value {
    let life = token.state_at(at);
    json!({
        "serial": token.serial.as_str(), "tokentype": token.kind.as_str(), "username": token.user.name(),
        "realm": token.user.realm(), "realms": [token.user.realm()], "user_realm": token.user.realm(),
        "active": life == LifeCycle::Active, "revoked": life == LifeCycle::Revoked,
        "locked": state.is_locked_for_good(), "description": "", "otplen": token.digits.get(),
        "count": state.moving.next(), "failcount": state.throttle.failures, "maxfail": 10,
        "rollout_state": if life == LifeCycle::Pending { "verify" } else { "" }, "info": {}, "id": 0,
    })
}

fn image(text: &str) -> String {
    let svg = qr::svg(text).unwrap_or_default();
    let svg = data_encoding::BASE64.encode(svg.as_bytes());
    format!("data:image/svg+xml;base64,{svg}")
}

fn refused(code: u16, message: &str) -> Response {
    let mut response = privacyidea_error(code, message);
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response
}

fn forbidden(right: &str) -> Response {
    let mut response = privacyidea_error(303, &format!("the account lacks the right {right}"));
    *response.status_mut() = StatusCode::FORBIDDEN;
    response
}

const MISSING: &str = "Authentication failure. Missing Authorization header.";
/// How long a token is good: as privacyIDEA's default.
const LIFE: Duration = Duration::from_hours(1);
