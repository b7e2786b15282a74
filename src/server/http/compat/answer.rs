//! Answers in the shapes of privacyIDEA and `LinOTP`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::config::compat::Shape;
use crate::login::LoginAnswer;
use crate::model::id::Serial;
use crate::server::http::App;

/// A decision in the client's shape.
pub(super) fn told(shape: Shape, app: &App, answer: LoginAnswer, answers: bool) -> Value {
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
            let serial = accepted.serial.as_ref();
            // What is decided is answered, whether or not more can be read of the token.
            let token = serial.and_then(|serial| app.core().store().token(serial).ok().flatten());
            let token = token.as_ref().map(|(token, _)| token);
            let detail = json!({
                "message": message, "otplen": token.map_or(6, |token| token.digits.get()),
                "serial": serial.map(Serial::as_str),
                "type": token.map(|token| token.kind.as_str()), "threadid": 0,
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
            // The client of a push polls; others ask for a code.
            let (kind, mode) = match asked.factor.as_str() {
                "push" => ("push", "poll"),
                "sms" => ("sms", "interactive"),
                "email" => ("email", "interactive"),
                _ => ("totp", "interactive"),
            };
            let one = json!({
                "client_mode": mode, "message": message, "serial": "", "type": kind,
                "transaction_id": id,
            });
            let detail = json!({
                "client_mode": mode, "preferred_client_mode": mode,
                "message": message, "messages": [message], "serial": "", "type": kind,
                "transaction_id": id, "transaction_ids": [id], "multi_challenge": [one],
                "threadid": 0,
            });
            privacyidea(false, "CHALLENGE", &detail)
        }
    }
}

pub(super) fn privacyidea(value: bool, authentication: &str, detail: &Value) -> Value {
    let mut answer = administered(value, detail);
    answer["id"] = json!(2);
    answer["result"]["authentication"] = json!(authentication);
    answer
}

/// An answer about records: none of them decides about a login.
pub(super) fn administered(value: impl Into<Value>, detail: &Value) -> Value {
    let value = value.into();
    let mut answer = json!({
        "jsonrpc": "2.0", "id": 1, "time": now(), "version": "privacyIDEA 3.14",
        "versionnumber": "3.14", "result": { "status": true, "value": value },
    });
    if !detail.is_null() {
        answer["detail"] = detail.clone();
    }
    answer
}

pub(super) fn linotp(value: impl Into<Value>, detail: &Value) -> Value {
    let value = value.into();
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
pub(super) fn refused(shape: Shape, code: u16, message: &str) -> Response {
    let error = json!({ "code": code, "message": message });
    match shape {
        Shape::PrivacyIdea | Shape::Yubico => privacyidea_error(code, message),
        Shape::LinOtp => {
            let answer = json!({
                "jsonrpc": "2.0", "id": 0, "version": "LinOTP 3.2",
                "result": { "status": false, "error": error },
            });
            Json(answer).into_response()
        }
    }
}

/// That there is no user, or no token, of this name, for clients that are told.
pub(super) fn no_such(shape: Shape, user: Option<&str>) -> Response {
    match user {
        Some(user) => refused(shape, 904, &format!("User <{user}> does not exist.")),
        None => {
            let mut response = refused(shape, 601, "The requested token could not be found.");
            if shape != Shape::LinOtp {
                *response.status_mut() = StatusCode::NOT_FOUND;
            }
            response
        }
    }
}

/// Of parameters and users the message begins with the number, of tokens and keys it does not.
pub(super) fn privacyidea_error(code: u16, message: &str) -> Response {
    let message = match code {
        904 | 905 => format!("ERR{code}: {message}"),
        _ => message.to_owned(),
    };
    let answer = json!({
        "jsonrpc": "2.0", "id": 1, "time": now(), "version": "privacyIDEA 3.14", "detail": null,
        "result": { "status": false, "error": { "code": code, "message": message } },
    });
    (StatusCode::BAD_REQUEST, Json(answer)).into_response()
}

/// Seconds since 1970, which clients read as a number.
pub(super) fn now() -> u64 {
    use crate::time::{Clock as _, SystemClock};
    SystemClock.now().as_secs()
}
