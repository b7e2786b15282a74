//! `/validate/...` of privacyIDEA and `LinOTP`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::config::compat::Shape;
use crate::login::begin::Standing;
use crate::login::{LoginAnswer, LoginOutcome};
use crate::model::reason::Reason;
use crate::server::http::App;
use crate::server::http::compat::answer::{linotp, no_such, privacyidea, refused, told};
use crate::server::http::compat::asked::{Asked, How, UNKNOWN};
use crate::server::http::error::Failure;

pub(crate) async fn check(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let (asked, _) = Asked::read(&app, &name, request).await?;
    let (shape, show) = (asked.compat.shape, asked.compat.show_unknown_user);
    let by_serial = asked.user().is_none();
    let answers = asked.transaction().is_some();
    let (user, decided) = match checked(&app, asked).await? {
        Ok(checked) => checked,
        Err(what) => return Ok(refused(shape, 905, what)),
    };
    if show && decided.reason == Reason::UnknownUser {
        return Ok(no_such(shape, (!by_serial).then_some(&*user)));
    }
    Ok(Json(told(shape, &app, decided.answer, answers)).into_response())
}

/// Whom `user` or `serial` name, and what is decided of their `pass`; or what is missing.
async fn checked(
    app: &Arc<App>,
    asked: Asked,
) -> Result<Result<(String, LoginOutcome), &'static str>, Failure> {
    let named = match asked.user() {
        Some(user) => Some(user),
        None => asked.owner(app)?,
    };
    let Some(user) = named else {
        return Ok(Err(WHO));
    };
    if asked.form.secret("pass").is_none() {
        return Ok(Err(PASS));
    }
    let linotp = asked.compat.shape == Shape::LinOtp;
    let (client, at) = (asked.client.name.clone(), asked.arrival.at);
    let decided = asked.decide(app, user.clone(), How::Rounds).await?;
    if linotp && let LoginAnswer::Challenge(round) = &decided.answer {
        app.compat_rounds().note(&client, &round.id, &user, at);
    }
    Ok(Ok((user, decided)))
}

/// `LinOTP`'s `simplecheck`, in text. A request that says too little is a no, as there.
pub(crate) async fn simple(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<String, Failure> {
    let (asked, _) = Asked::read(&app, &name, request).await?;
    let decided = checked(&app, asked).await?;
    let answer = decided.ok().map(|(_, decided)| decided.answer);
    Ok(match answer {
        Some(LoginAnswer::Accept(_)) => ":-)".to_owned(),
        Some(LoginAnswer::Challenge(round)) => format!(":-( {} {}", round.id, round.prompt),
        Some(LoginAnswer::Reject) | None => ":-(".to_owned(),
    })
}

pub(crate) async fn radius(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<StatusCode, Failure> {
    let (asked, _) = Asked::read(&app, &name, request).await?;
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
    let (asked, _) = Asked::read(&app, &name, request).await?;
    match asked.transaction() {
        Some(id) => stands(&app, &asked, id),
        None => Ok(refused(
            asked.compat.shape,
            905,
            "Missing parameter: transaction_id",
        )),
    }
}

/// The path says which one, whatever the query says.
pub(crate) async fn poll_by_id(
    State(app): State<Arc<App>>,
    Path((name, id)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Failure> {
    let (asked, _) = Asked::read(&app, &name, request).await?;
    stands(&app, &asked, &id)
}

fn stands(app: &App, asked: &Asked, id: &str) -> Result<Response, Failure> {
    let standing = app.login().standing(&asked.client.name, id)?;
    let (status, authentication) = reported(standing);
    let done = status == "accept";
    let answer = if asked.compat.shape == Shape::LinOtp {
        linotp(done, &json!({ "transactionid": id, "accept": done }))
    } else {
        let detail = json!({ "challenge_status": status, "threadid": 0 });
        privacyidea(done, authentication, &detail)
    };
    Ok(Json(answer).into_response())
}

/// What is not known is pending too: a poll tells no one which rounds there are. What has run out or was declined ends
/// the polling; of privacyIDEA the former is pending for ever.
const fn reported(standing: Option<Standing>) -> (&'static str, &'static str) {
    match standing {
        Some(Standing::Accepted) => ("accept", "ACCEPT"),
        Some(Standing::Expired) => ("declined", "DECLINED"),
        Some(Standing::Pending) | None => ("pending", "REJECT"),
    }
}

/// `LinOTP`'s `check_s`: the token says whose it is, and no other one counts.
pub(crate) async fn token(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let (asked, _) = Asked::read(&app, &name, request).await?;
    let shape = asked.compat.shape;
    let Some(user) = asked.owner(&app)? else {
        return Ok(refused(shape, 905, "Missing parameter: 'serial'"));
    };
    if asked.form.secret("pass").is_none() {
        return Ok(refused(shape, 905, PASS));
    }
    let (client, at) = (asked.client.name.clone(), asked.arrival.at);
    let decided = asked.decide(&app, user.clone(), How::Rounds).await?;
    if let LoginAnswer::Challenge(round) = &decided.answer {
        app.compat_rounds().note(&client, &round.id, &user, at);
    }
    Ok(Json(told(Shape::LinOtp, &app, decided.answer, false)).into_response())
}

/// `LinOTP`'s `check_t`: the answer of a challenge, which says whose it is.
pub(crate) async fn transaction(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let (asked, _) = Asked::read(&app, &name, request).await?;
    let shape = asked.compat.shape;
    let Some(id) = asked.transaction() else {
        let what = "Missing parameter: 'state' or 'transactionid'";
        return Ok(refused(shape, 905, what));
    };
    if asked.form.secret("pass").is_none() {
        return Ok(refused(shape, 905, PASS));
    }
    let user = app.compat_rounds().user(&asked.client.name, id);
    let user = user.unwrap_or_else(|| UNKNOWN.to_owned());
    let (client, at) = (asked.client.name.clone(), asked.arrival.at);
    let decided = asked.decide(&app, user.clone(), How::Rounds).await?;
    if let LoginAnswer::Challenge(round) = decided.answer {
        app.compat_rounds().note(&client, &round.id, &user, at);
        let detail = json!({ "transactionid": round.id, "message": round.prompt });
        return Ok(
            Json(linotp(json!({ "value": false, "failcount": 0 }), &detail)).into_response(),
        );
    }
    let right = matches!(decided.answer, LoginAnswer::Accept(_));
    // How often others guessed is no one's business.
    let value = json!({ "value": right, "failcount": 0 });
    Ok(Json(linotp(value, &Value::Null)).into_response())
}

/// `LinOTP`'s `check_yubikey`: the key says whose it is.
pub(crate) async fn press(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let (asked, _) = Asked::read(&app, &name, request).await?;
    let shape = asked.compat.shape;
    let Some(pass) = asked.form.text("pass") else {
        return Ok(refused(shape, 905, PASS));
    };
    let pressed = app.login().pressed(pass)?;
    let user = pressed.map(|pressed| pressed.user);
    let named = user
        .as_ref()
        .map_or_else(|| UNKNOWN.to_owned(), ToString::to_string);
    let decided = asked.decide(&app, named, How::Otp).await?;
    let right = matches!(decided.answer, LoginAnswer::Accept(_));
    let detail = match user.filter(|_| right) {
        Some(user) => json!({ "user": user.name(), "realm": user.realm() }),
        None => Value::Null,
    };
    Ok(Json(linotp(right, &detail)).into_response())
}

/// `LinOTP`'s `check_status`: how a challenge stands.
pub(crate) async fn status(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let (asked, _) = Asked::read(&app, &name, request).await?;
    let Some(id) = asked.transaction() else {
        let what = "Missing parameter: 'transactionid'";
        return Ok(refused(asked.compat.shape, 905, what));
    };
    let standing = app.login().standing(&asked.client.name, id)?;
    let (open, right) = match standing.map(Standing::as_str) {
        Some("accepted") => (false, true),
        Some("declined" | "expired") => (false, false),
        _ => (true, false),
    };
    let one = json!({
        "status": if open { "open" } else { "closed" }, "valid_tan": right, "received_tan": right,
        "received_count": u8::from(right),
    });
    let detail = json!({ "transactions": { id: one } });
    Ok(Json(linotp(right, &detail)).into_response())
}

const WHO: &str = "Missing parameter: 'user' or 'serial'";
const PASS: &str = "Missing parameter: 'pass'";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_is_reported_in_words_of_privacyidea() {
        for (standing, word, authentication) in [
            (Standing::Pending, "pending", "REJECT"),
            (Standing::Accepted, "accept", "ACCEPT"),
            (Standing::Expired, "declined", "DECLINED"),
        ] {
            assert_eq!(reported(Some(standing)), (word, authentication));
        }
        assert_eq!(reported(None), ("pending", "REJECT"));
    }
}
