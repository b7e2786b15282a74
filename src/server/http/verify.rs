//! `POST /v1/verify`: is this the person, this once?
//!
//! Invariants:
//! - every reject is the same octets but for the request id, whatever the cause, and leaves at a
//!   fixed time after arrival (threats T12, T13);
//! - a decision that has begun is finished even when the caller hangs up, so that a retry with the
//!   same `Idempotency-Key` finds its answer;
//! - what cannot be decided is 503, and says nothing about the user.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use crate::admin::{CredentialsPatch, NewVerifier, Replaced};
use crate::api;
use crate::api::{Problem, VerifyAnswer, VerifyRequest};
use crate::core::CoreError;
use crate::login::{MIN_ASSURANCE, Outcome, Presented, Request};
use crate::model::audit::Channel;
use crate::model::client::{Access, ApiAccess, Client, LOCAL};
use crate::secret::SecretString;
use crate::server::http::admin::tell;
use crate::server::http::body::{Json, Query};
use crate::server::http::caller::{Arrival, Caller};
use crate::server::http::error::{Failure, SEE};
use crate::server::http::idempotency::{Claim, State as Progress};
use crate::server::http::preference::ByStatus;
use crate::server::http::{App, idempotency};

/// A decision, and how long after arrival it may leave.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    answer: VerifyAnswer,
    delay: Duration,
}

/// Is this the person, this once?
///
/// 200 whenever a decision was made, accept, challenge or reject: read `decision`. Callers that look at
/// the status only ask for it with `Prefer: status` or `?status=1`: 200 accept, 401 reject or challenge,
/// 503 undecided. A code is accepted at most once, ever.
#[utoipa::path(
    post,
    path = "/v1/verify",
    tag = "verify",
    params(
        api::OnBehalf,
        ("Idempotency-Key" = Option<String>, Header,
         description = "Makes a retry return the first answer without consuming again"),
        ("Prefer" = Option<String>, Header,
         description = "`status`: the decision is in the status, and `Preference-Applied: status` says so"),
    ),
    request_body = VerifyRequest,
    responses(
        (status = 200, description = "The decision", body = VerifyAnswer),
        (status = 400, description = "Malformed", body = Problem,
         content_type = "application/problem+json"),
        (status = 401, description = "No or unknown key; with `Prefer: status` also reject or challenge",
         content((VerifyAnswer = "application/json"), (Problem = "application/problem+json"))),
        (status = 403, description = "Key without the scope, or for another realm", body = Problem,
         content_type = "application/problem+json"),
        (status = 422, description = "Idempotency key of another request", body = Problem,
         content_type = "application/problem+json"),
        (status = 429, description = "More requests a second than the client may send",
         body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No decision can be made; nothing was counted", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn verify(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Extension(arrival): Extension<Arrival>,
    Query(on_behalf): Query<api::OnBehalf>,
    by_status: ByStatus,
    headers: HeaderMap,
    body: Json<VerifyRequest>,
) -> Result<Response, Failure> {
    let client = asking(&app, &caller, on_behalf.client.as_deref(), arrival)?;
    let turn = app.turn(&client)?;
    let question = Question::new(client, arrival, body.value)?;
    let answer = match idempotency_key(&headers)? {
        None => {
            let (sender, answer) = watch::channel(Progress::Pending);
            app.tasks().spawn(Arc::clone(&app).settle(question, sender));
            answer
        }
        Some(key) => {
            let digest = Sha256::new()
                .chain_update(body.digest)
                .chain_update(question.client.name.as_bytes())
                .finalize();
            let claim = app
                .answers()
                .claim(caller.actor(), key, digest.into(), arrival.instant);
            match claim.map_err(|_| Failure::KeyReused)? {
                Claim::First(sender, answer) => {
                    app.tasks().spawn(Arc::clone(&app).settle(question, sender));
                    answer
                }
                Claim::Retry(answer) => answer,
            }
        }
    };
    // The store drops what is past its deadline; this bounds a store that does not answer at all.
    let patience = app.limits().request_timeout + GRACE;
    let verdict = tokio::time::timeout(patience, idempotency::decided(answer)).await;
    let verdict = verdict.unwrap_or(Err(None));
    let verdict = verdict.map_err(|why| undecided(&caller, why))?;
    turn.hold(arrival.instant, verdict.delay).await;
    let yes = matches!(verdict.answer, VerifyAnswer::Accept { .. });
    Ok(by_status.answer(yes, &verdict.answer))
}

impl App {
    /// Decides, and tells those who wait.
    async fn settle(self: Arc<Self>, question: Question, answer: watch::Sender<Progress<Verdict>>) {
        let state = match question.ask(&self).await {
            Ok(verdict) => Progress::Decided(verdict),
            // Logged by the service.
            Err(error) => Progress::Undecided(error.to_string()),
        };
        answer.send_replace(state);
    }

    /// A place for an answer to this client that may have to wait. Where there is none, the request
    /// is not decided: before it is known whom it asks for, and instead of an answer that leaves early.
    pub(crate) fn turn(&self, client: &Client) -> Result<Turn, Failure> {
        if self.service().login.holds_back(client) {
            self.any_turn()
        } else {
            Ok(Turn(None))
        }
    }

    /// The same where the client is not known yet.
    pub(crate) fn any_turn(&self) -> Result<Turn, Failure> {
        let place = Arc::clone(self.rejects()).try_acquire_owned();
        let place = place.map_err(|_| Failure::Unavailable(CROWDED.into()))?;
        Ok(Turn(Some(place)))
    }
}

/// The place of an answer that may have to wait; given back when it leaves.
pub(crate) struct Turn(Option<OwnedSemaphorePermit>);

impl Turn {
    /// Holds an answer back until its time. No worker waits.
    pub(crate) async fn hold(self, arrived: Instant, delay: Duration) {
        if !delay.is_zero() {
            tokio::time::sleep_until(arrived + delay).await;
        }
        drop(self.0);
    }
}

/// The client whose policy applies.
pub(crate) fn asking(
    app: &App,
    caller: &Caller,
    on_behalf: Option<&str>,
    arrival: Arrival,
) -> Result<Arc<Client>, Failure> {
    match (on_behalf, caller) {
        (Some(_), _) if !caller.may_administer() => Err(Failure::Forbidden(
            "only administrators ask on behalf of another client",
        )),
        (Some(name), _) => {
            let found = app.service().admin.client(name);
            let client = found.map_err(|error| tell::client(name, error))?;
            if let Access::Radius(_) = client.access {
                return Err(Failure::Conflict(
                    format!("client {name} asks over RADIUS, not over HTTP").into(),
                )
                .advise("name an API client (`oncegate client list`), or try it with radclient"));
            }
            Ok(Arc::new(client))
        }
        (None, Caller::Key(client)) => Ok(Arc::clone(client)),
        (None, Caller::Local { .. }) => Ok(Arc::new(Client {
            name: LOCAL.to_owned(),
            policy: None,
            realm: None,
            access: Access::Api(ApiAccess {
                key_hash: [0; 32],
                previous: None,
                scopes: Vec::new(),
            }),
            created: arrival.at,
            revision: 0,
        })),
    }
}

/// No decision was made. The cause is for the administrator of this machine; a client over the network
/// is told nothing of it.
pub(crate) fn undecided(caller: &Caller, why: Option<String>) -> Failure {
    match (caller, why) {
        (Caller::Local { .. }, Some(why)) => Failure::Unavailable(why.into()).advise(SEE),
        (Caller::Local { .. }, None) => Failure::Unavailable("no answer came in time".into())
            .advise("see `oncegate status` and the server's log"),
        (Caller::Key(_), _) => Failure::Unavailable("try again, or ask another server".into()),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let key = value
        .to_str()
        .ok()
        .filter(|key| (1..=KEY_LENGTH).contains(&key.len()));
    if key.is_none() || values.next().is_some() {
        return Err(Failure::malformed(
            "Idempotency-Key: one header of 1 to 128 visible ASCII characters",
        ));
    }
    Ok(key)
}

/// A user proves what the policy asks for, and chooses another PIN or password.
///
/// Also the way out of a PIN or password that must be changed. A proof that is not right is answered
/// as a rejected verification.
#[utoipa::path(
    post,
    path = "/v1/credentials",
    tag = "verify",
    params(api::Answered),
    request_body = api::CredentialsRequest,
    responses(
        (status = 200, description = "Accepted and changed, or rejected",
         body = api::CredentialsAnswer),
        (status = 400, description = "Malformed, or too easy to guess", body = Problem,
         content_type = "application/problem+json"),
        (status = 401, description = "No or unknown key; with `Prefer: status` also rejected",
         content((api::CredentialsAnswer = "application/json"), (Problem = "application/problem+json"))),
        (status = 403, description = "Key without the scope, or for another realm", body = Problem,
         content_type = "application/problem+json"),
        (status = 429, description = "More requests a second than the client may send",
         body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No decision can be made; nothing was counted", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn replace_credentials(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Extension(arrival): Extension<Arrival>,
    by_status: ByStatus,
    body: Json<api::CredentialsRequest>,
) -> Result<Response, Failure> {
    if !caller.may_verify() {
        return Err(Failure::Forbidden(
            "this needs a key with the scope `verify`",
        ));
    }
    let api::CredentialsRequest {
        user,
        otp,
        pin,
        password,
        client_ip,
        new_password,
        new_pin,
    } = body.value;
    if new_password.is_none() && new_pin.is_none() {
        return Err(Failure::malformed("give `new_password` or `new_pin`"));
    }
    let proof = VerifyRequest {
        user,
        otp,
        pin,
        password,
        client_ip,
        ..VerifyRequest::default()
    };
    let client = asking(&app, &caller, None, arrival)?;
    let turn = app.turn(&client)?;
    let question = Question::new(client, arrival, proof)?;
    let new = CredentialsPatch {
        password: new_password.map(NewVerifier::Text),
        pin: new_pin.map(NewVerifier::Text),
        must_change: None,
    };
    // In a task of its own: a caller that hangs up must not leave a used code and the old PIN.
    let asked = Arc::clone(&app);
    let task = app.tasks().spawn(async move {
        let context = question.context();
        let request = Request {
            // All of it in one request.
            rounds: false,
            ..question.request(&asked, &context)
        };
        asked.service().admin.replace_own(&request, new).await
    });
    let replaced = task
        .await
        .map_err(|_| Failure::Unavailable("try again, or ask another server".into()))??;
    let request_id = arrival.id.to_string();
    let answer = match replaced {
        Replaced::Done => api::CredentialsAnswer::Accept { request_id },
        Replaced::Refused(decided) => {
            turn.hold(arrival.instant, decided.delay).await;
            api::CredentialsAnswer::Reject { request_id }
        }
    };
    let yes = matches!(answer, api::CredentialsAnswer::Accept { .. });
    Ok(by_status.answer(yes, &answer))
}

/// A request that is complete.
pub(super) struct Question {
    client: Arc<Client>,
    arrival: Arrival,
    user: String,
    passcode: Option<SecretString>,
    otp: Option<SecretString>,
    pin: Option<SecretString>,
    password: Option<SecretString>,
    challenge: Option<String>,
    source: Option<std::net::IpAddr>,
    context: BTreeMap<String, String>,
}

impl Question {
    pub(super) fn new(
        client: Arc<Client>,
        arrival: Arrival,
        body: VerifyRequest,
    ) -> Result<Self, Failure> {
        if body.passcode.is_some()
            && (body.otp.is_some() || body.pin.is_some() || body.password.is_some())
        {
            return Err(Failure::malformed(
                "give either `passcode` or the separate fields `otp`, `pin`, `password`",
            ));
        }
        let separate = [&body.otp, &body.pin, &body.password];
        let typed = body.passcode.is_some() || separate.iter().any(|field| field.is_some());
        // A round that was answered on the other channel is finished without typing anything.
        if !typed && body.challenge.is_none() {
            return Err(Failure::malformed(
                "give what the person typed: `otp`, `passcode`, `pin` or `password`",
            ));
        }
        if let Some(least) = body.context.get(MIN_ASSURANCE)
            && !matches!(least.as_str(), "1" | "2" | "3")
        {
            return Err(Failure::malformed("context.min_assurance: write 1, 2 or 3"));
        }
        // A name that cannot be read belongs to no realm; it is rejected, and audited, as unknown.
        if let (Some(realm), Ok(user)) = (&client.realm, client.key(&body.user))
            && realm != user.realm()
        {
            return Err(Failure::Forbidden(
                "this key may ask about users of its own realm only",
            ));
        }
        Ok(Self {
            client,
            arrival,
            user: body.user,
            passcode: body.passcode,
            otp: body.otp,
            pin: body.pin,
            password: body.password,
            challenge: body.challenge,
            source: body.client_ip,
            context: body.context,
        })
    }

    pub(super) fn context(&self) -> Vec<(&str, &str)> {
        let context = self.context.iter();
        context
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }

    pub(super) fn request<'a>(
        &'a self,
        app: &App,
        context: &'a [(&'a str, &'a str)],
    ) -> Request<'a> {
        Request {
            id: self.arrival.id,
            at: self.arrival.at,
            deadline: self.arrival.at.plus(app.limits().request_timeout),
            client: &self.client,
            channel: Channel::Http,
            method: "http",
            user: &self.user,
            presented: match &self.passcode {
                Some(passcode) => Presented::Passcode(passcode),
                None => Presented::Fields {
                    password: self.password.as_ref(),
                    pin: self.pin.as_ref(),
                    otp: self.otp.as_ref(),
                },
            },
            challenge: self.challenge.as_deref(),
            rounds: true,
            source: self.source,
            attributes: &[],
            context,
            origin: None,
            carrier: None,
        }
    }

    async fn ask(self, app: &App) -> Result<Verdict, CoreError> {
        let context = self.context();
        let request = self.request(app, &context);
        let decided = app.service().login.authenticate(&request).await?;
        let request_id = self.arrival.id.to_string();
        let answer = match decided.outcome {
            Outcome::Accept(accepted) => VerifyAnswer::Accept {
                user: accepted.user.to_string(),
                serial: accepted.serial.map(|serial| serial.to_string()),
                assurance: accepted.assurance,
                attributes: api::Values::gather(accepted.attributes),
                request_id,
            },
            Outcome::Challenge(challenge) => VerifyAnswer::Challenge {
                challenge: api::Challenge {
                    id: challenge.id,
                    factor: challenge.factor.to_string(),
                    prompt: challenge.prompt.into_owned(),
                    expires_in: challenge.expires_in.as_secs(),
                },
                request_id,
            },
            Outcome::Reject => VerifyAnswer::Reject { request_id },
        };
        Ok(Verdict {
            answer,
            delay: decided.delay,
        })
    }
}

/// Longest idempotency key; a UUID has 36 characters.
const KEY_LENGTH: usize = 128;
/// How much longer than the deadline an answer is awaited: a commit that began in time.
const GRACE: Duration = Duration::from_secs(1);
/// The answer when too many rejects wait for their time.
const CROWDED: &str = "too many answers wait for their time (limits.reject_queue); try again";
