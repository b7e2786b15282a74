//! `/v1/enrolments`: users who enrol tokens themselves, through an application.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;

use crate::admin::self_service::{SelfService, Step, Wish};
use crate::api;
use crate::api::{Problem, VerifyRequest};
use crate::login::Request;
use crate::model::kind::Kind;
use crate::policy::StepUp;
use crate::secret::SecretString;
use crate::server::http::admin::{SerialPath, Ways, offered, word};
use crate::server::http::body::Json;
use crate::server::http::caller::{Arrival, Caller};
use crate::server::http::error::Failure;
use crate::server::http::preference::ByStatus;
use crate::server::http::verify::{Question, asking};
use crate::server::http::{App, forms};

/// A user proves what the policy asks for, and asks for a token.
///
/// A proof that is not right is answered as a rejected verification.
#[utoipa::path(
    post,
    path = "/v1/enrolments",
    tag = "enrolments",
    params(api::Answered),
    request_body = api::EnrolmentRequest,
    responses(
        (status = 200, description = "Made or asked for, or rejected", body = api::EnrolmentAnswer),
        (status = 400, description = "Malformed", body = Problem,
         content_type = "application/problem+json"),
        (status = 401, description = "No or unknown key; with `Prefer: status` also rejected",
         content((api::EnrolmentAnswer = "application/json"), (Problem = "application/problem+json"))),
        (status = 403, description = "Key without the scope or for another realm; or not allowed",
         body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The token cannot be made now", body = Problem,
         content_type = "application/problem+json"),
        (status = 429, description = "More requests a second than the client may send",
         body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No decision can be made; nothing was counted", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn ask_for_token(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Extension(arrival): Extension<Arrival>,
    by_status: ByStatus,
    body: Json<api::EnrolmentRequest>,
) -> Result<Response, Failure> {
    let asked = body.value;
    let ways = Ways::read(&asked.by)?;
    if !ways.media.is_empty() {
        return Err(Failure::malformed("by: one of text, qr"));
    }
    let words = "totp, hotp, server, sms, email, voice, card, recovery";
    let kind: Kind = word("kind", &asked.kind, words)?;
    let replaces = asked.replaces.as_deref().map(|text| {
        text.parse()
            .map_err(|_| Failure::malformed("replaces: the serial of a token"))
    });
    let wish = Wish {
        kind,
        address: asked.address,
        replaces: replaces.transpose()?,
        step_up: asked.step_up.map(step).transpose()?,
    };
    let proof = VerifyRequest {
        user: asked.user,
        otp: asked.otp,
        pin: asked.pin,
        password: asked.password,
        client_ip: asked.client_ip,
        ..VerifyRequest::default()
    };
    let client = asking(&app, &caller, None, arrival)?;
    let turn = app.turn(&client)?;
    let question = Question::new(client, arrival, proof)?;
    // In a task of its own: a caller that hangs up must not leave a used code and half a token.
    let task = Arc::clone(&app);
    let task = app.tasks().spawn(async move {
        let context = question.context();
        let request = Request {
            // All of it in one request.
            rounds: false,
            ..question.request(&task, &context)
        };
        task.service().admin.self_enrol(&request, wish).await
    });
    let made = task
        .await
        .map_err(|_| Failure::Unavailable("try again, or ask another server".into()))??;
    let request_id = arrival.id.to_string();
    let answer = match made {
        SelfService::Made(made) => {
            let url = app.info().public_url.clone();
            api::EnrolmentAnswer::Accept {
                offered: Box::new(offered(&app, &made, &ways, url.as_deref())),
                request_id,
            }
        }
        SelfService::Refused(delay) => {
            turn.hold(arrival.instant, delay).await;
            api::EnrolmentAnswer::Reject { request_id }
        }
        SelfService::Proven(_) => return Err(Failure::Internal),
    };
    let yes = matches!(answer, api::EnrolmentAnswer::Accept { .. });
    Ok(by_status.answer(yes, &answer))
}

/// Proves a pending token of a user by its first right code, which is thereby used up.
#[utoipa::path(
    post,
    path = "/v1/enrolments/{serial}/confirm",
    tag = "enrolments",
    params(("serial" = String, Path, description = "The token's serial"), api::Answered),
    request_body = api::EnrolmentConfirm,
    responses(
        (status = 200, description = "In use, or rejected", body = api::EnrolmentConfirmed),
        (status = 400, description = "Malformed", body = Problem,
         content_type = "application/problem+json"),
        (status = 401, description = "No or unknown key; with `Prefer: status` also rejected",
         content((api::EnrolmentConfirmed = "application/json"), (Problem = "application/problem+json"))),
        (status = 403, description = "Key without the scope, or for another realm", body = Problem,
         content_type = "application/problem+json"),
        (status = 409, description = "The user has as many tokens in use as allowed", body = Problem,
         content_type = "application/problem+json"),
        (status = 429, description = "More requests a second than the client may send",
         body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No decision can be made; nothing was counted", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn confirm_own_token(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Extension(arrival): Extension<Arrival>,
    SerialPath(serial): SerialPath,
    by_status: ByStatus,
    body: Json<api::EnrolmentConfirm>,
) -> Result<Response, Failure> {
    let api::EnrolmentConfirm {
        user,
        otp,
        client_ip,
    } = body.value;
    let presented = VerifyRequest {
        user,
        otp: Some(otp.clone()),
        client_ip,
        ..VerifyRequest::default()
    };
    let client = asking(&app, &caller, None, arrival)?;
    let turn = app.turn(&client)?;
    let question = Question::new(client, arrival, presented)?;
    let task = Arc::clone(&app);
    let task = app.tasks().spawn(async move {
        let context = question.context();
        let request = question.request(&task, &context);
        task.service()
            .admin
            .self_confirm(&request, &serial, &otp)
            .await
    });
    let proven = task
        .await
        .map_err(|_| Failure::Unavailable("try again, or ask another server".into()))??;
    let request_id = arrival.id.to_string();
    let answer = match proven {
        SelfService::Proven(token) => {
            let (_, state) = app.service().admin.token(&token.serial)?;
            let shown = forms::token(&token, &state, app.service().core.now());
            api::EnrolmentConfirmed::Accept {
                token: Box::new(shown),
                request_id,
            }
        }
        SelfService::Refused(delay) => {
            turn.hold(arrival.instant, delay).await;
            api::EnrolmentConfirmed::Reject { request_id }
        }
        SelfService::Made(_) => return Err(Failure::Internal),
    };
    let yes = matches!(answer, api::EnrolmentConfirmed::Accept { .. });
    Ok(by_status.answer(yes, &answer))
}

fn step(wanted: api::StepUp) -> Result<Step, Failure> {
    let given = [
        (StepUp::BranchCode, wanted.branch_code),
        (StepUp::Sms, wanted.sms),
        (StepUp::Voice, wanted.voice),
    ];
    let mut given = given
        .into_iter()
        .filter_map(|(way, code): (_, Option<SecretString>)| code.map(|code| Step { way, code }));
    match (given.next(), given.next()) {
        (Some(step), None) => Ok(step),
        _ => Err(Failure::malformed(
            "step_up: give one of branch_code, sms, voice",
        )),
    }
}
