//! `/v1/challenges`: rounds that an application begins itself, and how they stand.

use std::sync::Arc;
use std::time::Duration;

use crate::api::{self, BeginChallenge, ShowChallenge};
use crate::login::{LoginRequest, Presented};
use crate::model::audit::Channel;
use crate::policy::Factor;
use crate::secret::SecretString;
use crate::server::http::App;
use crate::server::http::error::Failure;
use crate::server::http::route::{Asked, Asker};
use crate::server::http::verify::{asking, of_own_realm};

pub(crate) async fn begin(
    app: Arc<App>,
    call: Asked<BeginChallenge>,
) -> Result<api::ChallengeBegun, Failure> {
    let Asker {
        caller, arrival, ..
    } = call.from;
    let body = call.body;
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
    let client = asking(&app, &caller, None)?;
    let turn = app.turn(&client)?;
    of_own_realm(&app, &client, &body.user)?;
    let context = body.context.iter();
    let context: Vec<_> = context
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let nothing = SecretString::default();
    let request = LoginRequest {
        id: arrival.id,
        at: arrival.at,
        deadline: arrival.at.plus(app.limits().request_timeout),
        client: &client,
        channel: Channel::Http,
        method: "http",
        user: &body.user,
        presented: Presented::Passcode(&nothing),
        challenge: None,
        rounds: true,
        source: body.client_ip,
        attributes: &[],
        context: &context,
        origin: None,
        serial: None,
        carrier: None,
    };
    let begun = app.login().begin(&request, factor, inbound).await?;
    turn.hold(arrival.instant, begun.delay).await;
    let challenge = begun.challenge;
    Ok(api::ChallengeBegun {
        id: challenge.id,
        factor: challenge.factor.to_string(),
        prompt: challenge.prompt.into_owned(),
        display: begun.display.map(|digits| digits.expose().to_owned()),
        expires_in: challenge.expires_in.as_secs(),
        request_id: arrival.id.to_string(),
    })
}

pub(crate) async fn show(
    app: Arc<App>,
    call: Asked<ShowChallenge>,
) -> Result<api::ChallengeStanding, Failure> {
    let Asker {
        caller, arrival, ..
    } = call.from;
    let client = asking(&app, &caller, None)?;
    let standing = app.login().standing(&client.name, &call.place)?;
    // What is read for it depends on whether there is such a user.
    let due = arrival.instant + on_time(arrival.instant.elapsed());
    tokio::time::sleep_until(due).await;
    let standing = standing.ok_or_else(|| Failure::missing("challenge"))?;
    Ok(api::ChallengeStanding {
        status: standing.as_str().to_owned(),
    })
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
