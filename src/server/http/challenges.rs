//! `/v1/challenges`: rounds that an application begins itself; how they stand, and challenges of logins.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::api::{self, BeginChallenge, ChallengeRequest, ShowChallenge};
use crate::core::CoreError;
use crate::login::{LoginRequest, Presented};
use crate::model::audit::Channel;
use crate::model::client::Client;
use crate::policy::Factor;
use crate::secret::SecretString;
use crate::server::http::caller::{Arrival, Caller};
use crate::server::http::error::{Failure, SEE};
use crate::server::http::idempotency::{Claim, State as Progress};
use crate::server::http::route::{Asked, Asker};
use crate::server::http::verify::{asking, holder, of_own_realm};
use crate::server::http::{App, idempotency};

/// A round that was begun, and how long after arrival it is answered.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    answer: api::ChallengeBegun,
    delay: Duration,
}

pub(crate) async fn begin(
    app: Arc<App>,
    call: Asked<BeginChallenge>,
) -> Result<api::ChallengeBegun, Failure> {
    let Asker {
        caller,
        arrival,
        retry,
    } = call.from;
    let wish = Wish::new(&app, &caller, arrival, call.body)?;
    let turn = app.turn(&wish.client)?;
    of_own_realm(&app, &wish.client, &wish.user)?;
    let begun = match retry {
        None => wish.begin(&app).await?,
        Some((key, digest)) => {
            let claim = app
                .begun
                .claim(holder(&caller), &key, digest, arrival.instant);
            let answer = match claim.map_err(|_| Failure::KEY_REUSED)? {
                Claim::First(sender, answer) => {
                    app.tasks().spawn(wish.settle(Arc::clone(&app), sender));
                    answer
                }
                Claim::Retry(answer) => answer,
            };
            let begun = idempotency::decided(answer).await;
            // As the first request was told.
            begun.map_err(|why| {
                Failure::unavailable(why.unwrap_or_else(|| AGAIN.to_owned())).advise(SEE)
            })?
        }
    };
    turn.hold(arrival.instant, begun.delay).await;
    Ok(begun.answer)
}

/// A round that shall begin.
struct Wish {
    client: Arc<Client>,
    arrival: Arrival,
    user: String,
    factor: Factor,
    inbound: bool,
    source: Option<IpAddr>,
    context: BTreeMap<String, String>,
}

impl Wish {
    fn new(
        app: &App,
        caller: &Caller,
        arrival: Arrival,
        body: ChallengeRequest,
    ) -> Result<Self, Failure> {
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
        Ok(Self {
            client: asking(app, caller, None)?,
            arrival,
            user: body.user,
            factor,
            inbound,
            source: body.client_ip,
            context: body.context,
        })
    }

    async fn begin(self, app: &App) -> Result<Begun, CoreError> {
        let context = self.context.iter();
        let context: Vec<_> = context
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let nothing = SecretString::default();
        let request = LoginRequest {
            id: self.arrival.id,
            at: self.arrival.at,
            deadline: self.arrival.at.plus(app.limits().request_timeout),
            client: &self.client,
            channel: Channel::Http,
            method: "http",
            user: &self.user,
            presented: Presented::Passcode(&nothing),
            challenge: None,
            rounds: true,
            source: self.source,
            attributes: &[],
            context: &context,
            origin: None,
            serial: None,
            carrier: None,
        };
        let begun = app.login().begin(&request, self.factor, self.inbound);
        let begun = begun.await?;
        let challenge = begun.challenge;
        Ok(Begun {
            delay: begun.delay,
            answer: api::ChallengeBegun {
                id: challenge.id,
                factor: challenge.factor.to_string(),
                prompt: challenge.prompt.into_owned(),
                display: begun.display.map(|digits| digits.expose().to_owned()),
                expires_in: challenge.expires_in.as_secs(),
                request_id: self.arrival.id.to_string(),
            },
        })
    }

    /// Begins it, and tells those who wait.
    async fn settle(self, app: Arc<App>, answer: watch::Sender<Progress<Begun>>) {
        let state = match self.begin(&app).await {
            Ok(begun) => Progress::Decided(begun),
            Err(error) => Progress::Undecided(error.to_string()),
        };
        answer.send_replace(state);
    }
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

/// What is said where the work of a first request ended without an answer.
const AGAIN: &str = "try again, or ask another server";
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
