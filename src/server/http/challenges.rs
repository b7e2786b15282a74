//! `/v1/challenges`: rounds that an application begins itself, and how they stand.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use crate::api;
use crate::api::Problem;
use crate::login::begin::Standing;
use crate::login::{Presented, Request};
use crate::policy::Factor;
use crate::secret::SecretString;
use crate::server::http::body::Json;
use crate::server::http::caller::{Arrival, Caller};
use crate::server::http::error::Failure;
use crate::server::http::preference::ByStatus;
use crate::server::http::{App, answer, verify};

/// Begins a round: sends a code, draws the cells of a card, or shows digits that the person sends.
///
/// The answer looks the same whether or not there is such a user or telephone. An earlier code that
/// is still good stays good when no further message may leave.
#[utoipa::path(
    post,
    path = "/v1/challenges",
    tag = "verify",
    request_body = api::ChallengeRequest,
    responses(
        (status = 201, description = "Begun", body = api::ChallengeBegun),
        (status = 400, description = "Malformed", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn begin(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Extension(arrival): Extension<Arrival>,
    Json { value: body, .. }: Json<api::ChallengeRequest>,
) -> Result<Response, Failure> {
    let factor = body.factor.parse::<Factor>().ok();
    let factor = factor.filter(|factor| factor.is_issued());
    let factor =
        factor.ok_or_else(|| Failure::malformed("factor: one of sms, email, voice, card"))?;
    let inbound = match body.way.as_deref() {
        None | Some("code") => false,
        Some("inbound") => true,
        Some(_) => return Err(Failure::malformed("way: one of code, inbound")),
    };
    if inbound && !matches!(factor, Factor::Sms | Factor::Voice) {
        return Err(Failure::malformed("way: `inbound` goes with sms and voice"));
    }
    let client = verify::asking(&app, &caller, None, arrival)?;
    let turn = app.turn(&client)?;
    if let (Some(realm), Ok(user)) = (&client.realm, client.key(&body.user))
        && realm != user.realm()
    {
        return Err(Failure::Forbidden(
            "this key may ask about users of its own realm only",
        ));
    }
    let context = body.context.iter();
    let context: Vec<_> = context
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let nothing = SecretString::default();
    let request = Request {
        id: arrival.id,
        at: arrival.at,
        deadline: arrival.at.plus(app.limits().request_timeout),
        client: &client,
        channel: crate::model::audit::Channel::Http,
        method: "http",
        user: &body.user,
        presented: Presented::Passcode(&nothing),
        challenge: None,
        rounds: true,
        source: body.client_ip,
        attributes: &[],
        context: &context,
        origin: None,
        carrier: None,
    };
    let begun = app.service().login.begin(&request, factor, inbound).await?;
    turn.hold(arrival.instant, begun.delay).await;
    let challenge = begun.challenge;
    let begun = api::ChallengeBegun {
        id: challenge.id,
        factor: challenge.factor.to_string(),
        prompt: challenge.prompt.into_owned(),
        display: begun.display.map(|digits| digits.expose().to_owned()),
        expires_in: challenge.expires_in.as_secs(),
        request_id: arrival.id.to_string(),
    };
    Ok(answer::json(StatusCode::CREATED, &begun))
}

/// How a round stands.
///
/// `accepted` means that the person answered on the other channel; nobody is let in by it. The login is
/// finished by `POST /v1/verify` with this challenge, which consumes the answer once. With `Prefer: status`
/// `accepted` is 200 and everything else 401. `POST /v1/challenges` decides nothing and is 201 always.
#[utoipa::path(
    get,
    path = "/v1/challenges/{id}",
    tag = "verify",
    params(
        ("id" = String, Path, description = "The round, as its beginning named it"),
        api::Answered,
    ),
    responses(
        (status = 200, description = "How it stands", body = api::ChallengeStanding),
        (status = 401, description = "No or unknown key; with `Prefer: status` also every standing \
                                      but `accepted`",
         content((api::ChallengeStanding = "application/json"), (Problem = "application/problem+json"))),
        (status = 404, description = "This client began no such round", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn standing(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Extension(arrival): Extension<Arrival>,
    Path(id): Path<String>,
    by_status: ByStatus,
) -> Result<Response, Failure> {
    let client = verify::asking(&app, &caller, None, arrival)?;
    let standing = app.service().login.standing(&client.name, &id)?;
    // What is read for it depends on whether there is such a user.
    let due = arrival.instant + on_time(arrival.instant.elapsed());
    tokio::time::sleep_until(due).await;
    let standing = standing.ok_or_else(|| Failure::missing("challenge"))?;
    let yes = matches!(standing, Standing::Accepted);
    let standing = api::ChallengeStanding {
        status: standing.as_str().to_owned(),
    };
    Ok(by_status.answer(yes, &standing))
}

/// When an answer to a poll leaves, after arrival: one that is late at the next of fixed times.
fn on_time(spent: Duration) -> Duration {
    let times = spent.as_nanos().div_ceil(POLL.as_nanos());
    POLL * u32::try_from(times).unwrap_or(u32::MAX).max(1)
}

/// The times at which answers to polls leave, after arrival.
const POLL: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_is_answered_at_one_of_few_times() {
        for (spent, due) in [(0, 10), (1, 10), (10_000, 10), (10_001, 20), (39_999, 40)] {
            let due = Duration::from_millis(due);
            assert_eq!(on_time(Duration::from_micros(spent)), due, "{spent}");
        }
    }
}
