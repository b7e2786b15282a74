//! `/compat/NAME/...`: the request shapes of other products, for clients that are not changed.
//!
//! Source: privacyIDEA 3.14 as its clients send and read it (FreeRADIUS and PAM modules, the Java client);
//! `LinOTP` where it differs.
//!
//! ```text
//! POST /validate/check          200, result.value and result.authentication: ACCEPT, CHALLENGE, REJECT
//!      /validate/radiuscheck    204 yes, 400 no, 503 undecided
//! GET  /validate/polltransaction  pending, accept, decline
//!      /wsapi/2.0/verify        see `yubico`
//! ```
//!
//! Invariants: such clients send no key, so that they are known by their address, and only those that
//! `http.compat` names; every reject is the same octets, whatever the cause, unless the client is to be told of
//! unknown users; what cannot be decided is 503, which their gateways take for a server that is down.
//!
//! Threats T12, T44: a client behind a proxy that is not listed is that proxy.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::config::compat::{Compat, Shape};
use crate::login::begin::Standing;
use crate::login::{LoginAnswer, LoginOutcome, LoginRequest, Presented};
use crate::model::audit::Channel;
use crate::model::client::Client;
use crate::model::reason::Reason;
use crate::secret::SecretString;
use crate::server::http::App;
use crate::server::http::caller::{Arrival, Caller};
use crate::server::http::compat::form::Form;
use crate::server::http::error::Failure;
use crate::server::http::origin::Origin;

mod form;
mod yubico;

pub(crate) use yubico::{Validation, verify as validate, verify_by_id as validate_by_id};

/// How a request is decided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum How {
    /// `pass` is one box, and challenges may follow.
    Rounds,
    /// `pass` is one box, and the answer yes or no.
    Once,
    /// `otp` is the code alone.
    Otp,
}

impl How {
    const fn field(self) -> &'static str {
        match self {
            Self::Rounds | Self::Once => "pass",
            Self::Otp => "otp",
        }
    }
}

/// As for a path that is none: who may ask here is no one else's business.
fn no_route() -> Failure {
    Failure::not_found("there is no such route; GET /openapi.json")
}

/// A request of such a client, read.
struct Asked {
    compat: Compat,
    client: Arc<Client>,
    arrival: Arrival,
    form: Form,
}

pub(crate) async fn check(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let asked = Asked::read(&app, &name, request).await?;
    let (shape, show) = (asked.compat.shape, asked.compat.show_unknown_user);
    let Some(user) = asked.user() else {
        return Ok(refused(shape, 905, "Missing parameter: 'user'"));
    };
    if asked.form.secret("pass").is_none() {
        return Ok(refused(shape, 905, "Missing parameter: 'pass'"));
    }
    let answers = asked.transaction().is_some();
    let decided = asked.decide(&app, user.clone(), How::Rounds).await?;
    if show && decided.reason == Reason::UnknownUser {
        let what = format!("ERR904: User <{user}> does not exist.");
        return Ok(refused(shape, 904, &what));
    }
    Ok(Json(told(shape, decided.answer, answers)).into_response())
}

pub(crate) async fn radius(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<StatusCode, Failure> {
    let asked = Asked::read(&app, &name, request).await?;
    let Some(user) = asked.user() else {
        return Ok(StatusCode::BAD_REQUEST);
    };
    if asked.form.secret("pass").is_none() {
        return Ok(StatusCode::BAD_REQUEST);
    }
    let decided = asked.decide(&app, user, How::Once).await?;
    Ok(match decided.answer {
        LoginAnswer::Accept(_) => StatusCode::NO_CONTENT,
        LoginAnswer::Challenge(_) | LoginAnswer::Reject => StatusCode::BAD_REQUEST,
    })
}

pub(crate) async fn poll(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let asked = Asked::read(&app, &name, request).await?;
    let shape = asked.compat.shape;
    let Some(id) = asked.transaction() else {
        return Ok(refused(shape, 905, "Missing parameter: 'transaction_id'"));
    };
    let standing = app.login().standing(&asked.client.name, id)?;
    // What is not known is pending too: a poll tells no one which rounds there are.
    let status = match standing.map(Standing::as_str) {
        Some("accepted") => "accept",
        Some("declined" | "expired") => "decline",
        _ => "pending",
    };
    let done = status == "accept";
    let answer = if shape == Shape::LinOtp {
        linotp(done, &json!({ "transactionid": id, "accept": done }))
    } else {
        let authentication = if done { "ACCEPT" } else { "REJECT" };
        let detail = json!({ "challenge_status": status, "threadid": 0 });
        privacyidea(done, authentication, &detail)
    };
    Ok(Json(answer).into_response())
}

impl Asked {
    async fn read(app: &Arc<App>, name: &str, request: Request<Body>) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        let mut named = app.compat().iter();
        let named = named.find(|compat| compat.client == name && compat.shape != Shape::Yubico);
        let compat = named.filter(|compat| is_known(compat, &parts));
        let compat = compat.ok_or_else(no_route)?;
        let (client, arrival) = Self::admitted(app, compat, &parts)?;
        let form = Form::read(app, &parts, body, compat.double_decode).await?;
        Ok(Self {
            compat: compat.clone(),
            client,
            arrival,
            form,
        })
    }

    /// The client, which asks no more often than it may.
    fn admitted(
        app: &Arc<App>,
        compat: &Compat,
        parts: &Parts,
    ) -> Result<(Arc<Client>, Arrival), Failure> {
        let name = &compat.client;
        let found = app.core().clients().all();
        let mut found = found.iter();
        let client = found.find(|client| client.name == *name).map(Arc::clone);
        let client = client.ok_or_else(|| {
            Failure::unavailable(format!(
                "http.compat names API client {name}: there is none"
            ))
        })?;
        if let Some(rate) = app.limits().http_client_rate
            && !app.rates().take(name, rate, Instant::now())
        {
            return Err(Failure::TOO_MANY);
        }
        let arrival = parts.extensions.get().copied().ok_or(Failure::INTERNAL)?;
        Ok((client, arrival))
    }

    /// A request that is read already.
    fn of(app: &Arc<App>, compat: &Compat, parts: &Parts, form: Form) -> Result<Self, Failure> {
        let (client, arrival) = Self::admitted(app, compat, parts)?;
        Ok(Self {
            compat: compat.clone(),
            client,
            arrival,
            form,
        })
    }

    /// `name`, or `name@realm` where the request says a realm and the client is not bound to one.
    fn user(&self) -> Option<String> {
        let user = self.form.text("user").filter(|user| !user.is_empty())?;
        let split = user.contains(['@', '\\']) || self.client.realm.is_some();
        let realm = self.form.text("realm").filter(|realm| !realm.is_empty());
        Some(match realm.filter(|_| !split) {
            Some(realm) => format!("{user}@{realm}"),
            None => user.to_owned(),
        })
    }

    fn transaction(&self) -> Option<&str> {
        let named = ["transaction_id", "state", "transactionid"];
        let mut named = named.iter().filter_map(|name| self.form.text(name));
        named.find(|id| !id.is_empty())
    }

    /// Where the person is, if the client says so.
    fn source(&self) -> Option<IpAddr> {
        // The FreeRADIUS module sends the address of the gateway there.
        let said = self
            .form
            .text("client")
            .or_else(|| self.form.text("clientip"));
        said.filter(|_| !self.form.is_agent("freeradius"))?
            .parse()
            .ok()
    }

    async fn decide(self, app: &Arc<App>, user: String, how: How) -> Result<LoginOutcome, Failure> {
        let turn = app.turn(&self.client)?;
        let arrival = self.arrival;
        let task = Arc::clone(app);
        let decided = app.finish(async move {
            let nothing = SecretString::default();
            let typed = self.form.secret(how.field()).unwrap_or(&nothing);
            let request = LoginRequest {
                id: arrival.id,
                at: arrival.at,
                deadline: arrival.at.plus(task.limits().request_timeout),
                client: &self.client,
                channel: Channel::Http,
                method: "http",
                user: &user,
                presented: match how {
                    How::Rounds | How::Once => Presented::Passcode(typed),
                    How::Otp => Presented::Fields {
                        password: None,
                        pin: None,
                        otp: Some(typed),
                    },
                },
                challenge: self.transaction().filter(|_| how != How::Otp),
                rounds: how == How::Rounds,
                source: self.source(),
                attributes: &[],
                context: &[],
                origin: None,
                carrier: None,
            };
            task.login().authenticate(&request).await
        });
        let decided = decided.await?;
        // The cause is in the server's log.
        let decided = decided.map_err(|_| Failure::unavailable(UNDECIDED))?;
        turn.hold(arrival.instant, decided.delay).await;
        Ok(decided)
    }
}

/// Whether it asks from an address of the client; on this machine's own socket everyone may.
fn is_known(compat: &Compat, parts: &Parts) -> bool {
    let origin: Option<&Origin> = parts.extensions.get();
    match origin.and_then(|origin| origin.address) {
        Some(address) => {
            let address = address.to_canonical();
            let mut networks = compat.networks.iter();
            networks.any(|network| network.contains(&address))
        }
        None => parts.extensions.get::<Caller>().is_some(),
    }
}

/// A decision in the client's shape.
fn told(shape: Shape, answer: LoginAnswer, answers: bool) -> Value {
    match (shape, answer) {
        (Shape::LinOtp, LoginAnswer::Accept(_)) => linotp(true, &Value::Null),
        (Shape::LinOtp, LoginAnswer::Reject) => linotp(false, &Value::Null),
        (Shape::LinOtp, LoginAnswer::Challenge(asked)) => {
            let detail = json!({ "transactionid": asked.id, "message": asked.prompt });
            linotp(false, &detail)
        }
        (_, LoginAnswer::Accept(accepted)) => {
            let message = if answers {
                "Found matching challenge"
            } else {
                "matching 1 tokens"
            };
            let serial = accepted.serial.map(|serial| serial.to_string());
            let kind = serial
                .as_deref()
                .and_then(|serial| serial.split('-').next());
            let detail = json!({
                "message": message, "otplen": 6, "serial": serial,
                "type": kind.map(str::to_ascii_lowercase), "threadid": 0,
            });
            privacyidea(true, "ACCEPT", &detail)
        }
        (_, LoginAnswer::Reject) => {
            let message = if answers {
                "Response did not match the challenge."
            } else {
                "wrong otp value"
            };
            let detail = json!({ "message": message, "threadid": 0 });
            privacyidea(false, "REJECT", &detail)
        }
        (_, LoginAnswer::Challenge(asked)) => {
            let (id, message) = (asked.id, asked.prompt);
            let kind = match asked.factor.as_str() {
                "sms" => "sms",
                "email" => "email",
                _ => "totp",
            };
            let one = json!({
                "client_mode": "interactive", "message": message, "serial": "", "type": kind,
                "transaction_id": id,
            });
            let detail = json!({
                "client_mode": "interactive", "preferred_client_mode": "interactive",
                "message": message, "messages": [message], "serial": "", "type": kind,
                "transaction_id": id, "transaction_ids": [id], "multi_challenge": [one],
                "threadid": 0,
            });
            privacyidea(false, "CHALLENGE", &detail)
        }
    }
}

fn privacyidea(value: bool, authentication: &str, detail: &Value) -> Value {
    json!({
        "jsonrpc": "2.0", "id": 2, "time": now(), "version": "privacyIDEA 3.14",
        "versionnumber": "3.14", "detail": detail,
        "result": { "status": true, "value": value, "authentication": authentication },
    })
}

fn linotp(value: bool, detail: &Value) -> Value {
    let mut answer = json!({
        "jsonrpc": "2.0", "id": 0, "version": "LinOTP 3.2",
        "result": { "status": true, "value": value },
    });
    if !detail.is_null() {
        answer["detail"] = detail.clone();
    }
    answer
}

/// A request that says too little, in the client's shape.
fn refused(shape: Shape, code: u16, message: &str) -> Response {
    let error = json!({ "code": code, "message": message });
    match shape {
        Shape::PrivacyIdea | Shape::Yubico => {
            let answer = json!({
                "jsonrpc": "2.0", "id": 1, "time": now(), "version": "privacyIDEA 3.14",
                "detail": null, "result": { "status": false, "error": error },
            });
            (StatusCode::BAD_REQUEST, Json(answer)).into_response()
        }
        Shape::LinOtp => {
            let answer = json!({
                "jsonrpc": "2.0", "id": 0, "version": "LinOTP 3.2",
                "result": { "status": false, "error": error },
            });
            Json(answer).into_response()
        }
    }
}

/// Seconds since 1970, which clients read as a number.
fn now() -> u64 {
    use crate::time::{Clock as _, SystemClock};
    SystemClock.now().as_secs()
}

const UNDECIDED: &str = "try again, or ask another server";
