//! `/v1/enrolments`: users who enrol tokens themselves, through an application.

use std::sync::Arc;

use crate::admin::self_service::{SelfService, Step, Wish};
use crate::api::forms;
use crate::api::{self, AskForToken, ConfirmOwnToken, VerifyRequest};
use crate::login::LoginRequest;
use crate::model::kind::Kind;
use crate::policy::StepUp;
use crate::secret::SecretString;
use crate::server::http::App;
use crate::server::http::error::Failure;
use crate::server::http::offered::{Ways, offered};
use crate::server::http::read::{KINDS, word};
use crate::server::http::route::{Asked, Asker};
use crate::server::http::verify::{Question, asking};

pub(crate) async fn ask_for_token(
    app: Arc<App>,
    call: Asked<AskForToken>,
) -> Result<api::EnrolmentAnswer, Failure> {
    let Asker {
        caller, arrival, ..
    } = call.from;
    let asked = call.body;
    let ways = Ways::read(&asked.by)?;
    if !ways.media.is_empty() {
        return Err(Failure::malformed("by: one of text, qr"));
    }
    let kind: Kind = word("kind", &asked.kind, KINDS)?;
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
    let client = asking(&app, &caller, None)?;
    let turn = app.turn(&client)?;
    let question = Question::new(&app, client, arrival, proof)?;
    let task = Arc::clone(&app);
    let made = app.finish(async move {
        let context = question.context();
        let request = LoginRequest {
            // All of it in one request.
            rounds: false,
            ..question.request(&task, &context)
        };
        task.admin().self_enrol(&request, wish).await
    });
    let request_id = arrival.id.to_string();
    match made.await?? {
        SelfService::Made(made) => {
            let url = app.info().public_url.clone();
            Ok(api::EnrolmentAnswer::Accept {
                offered: Box::new(offered(&app, &made, &ways, url.as_deref())),
                request_id,
            })
        }
        SelfService::Refused(delay) => {
            turn.hold(arrival.instant, delay).await;
            Ok(api::EnrolmentAnswer::Reject { request_id })
        }
        SelfService::Proven(_) => Err(Failure::INTERNAL),
    }
}

pub(crate) async fn confirm_own_token(
    app: Arc<App>,
    call: Asked<ConfirmOwnToken>,
) -> Result<api::EnrolmentConfirmed, Failure> {
    let Asker {
        caller, arrival, ..
    } = call.from;
    let (serial, otp) = (call.place, call.body.otp);
    let presented = VerifyRequest {
        user: call.body.user,
        otp: Some(otp.clone()),
        client_ip: call.body.client_ip,
        ..VerifyRequest::default()
    };
    let client = asking(&app, &caller, None)?;
    let turn = app.turn(&client)?;
    let question = Question::new(&app, client, arrival, presented)?;
    let task = Arc::clone(&app);
    let proven = app.finish(async move {
        let context = question.context();
        let request = question.request(&task, &context);
        task.admin().self_confirm(&request, &serial, &otp).await
    });
    let request_id = arrival.id.to_string();
    match proven.await?? {
        SelfService::Proven(token) => {
            let (_, state) = app.admin().token(&token.serial)?;
            let shown = forms::token(&token, &state, app.core().now());
            Ok(api::EnrolmentConfirmed::Accept {
                token: Box::new(shown),
                request_id,
            })
        }
        SelfService::Refused(delay) => {
            turn.hold(arrival.instant, delay).await;
            Ok(api::EnrolmentConfirmed::Reject { request_id })
        }
        SelfService::Made(_) => Err(Failure::INTERNAL),
    }
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
