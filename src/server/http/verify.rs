//! `POST /v1/verify`: is this the person, this once?
//!
//! Invariants:
//! - every reject is the same octets but for the request id, whatever the cause, and leaves at a
//!   fixed time after arrival (threats T12, T13);
//! - a decision that has begun is finished even when the caller hangs up, so that a retry with the
//!   same `Idempotency-Key` finds its answer;
//! - an accept is given to a retry only while all that it rested on is as it was, and on record
//!   ([`Login::again`](crate::login::Login::again)); else the retry is decided like any other request;
//! - what cannot be decided is 503, and says nothing about the user.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, timeout};

use crate::admin::{CredentialsPatch, NewVerifier, Replaced};
use crate::api::{self, ReplaceCredentials, Verify, VerifyAnswer, VerifyRequest};
use crate::core::CoreError;
use crate::login::{Given, LoginAnswer, LoginOutcome, LoginRequest, MIN_ASSURANCE, Presented};
use crate::model::audit::Channel;
use crate::model::client::{Access, Client, LOCAL};
use crate::model::id::RequestId;
use crate::secret::SecretString;
use crate::server::http::caller::{Arrival, Caller};
use crate::server::http::error::{Failure, SEE};
use crate::server::http::finish::Finish;
use crate::server::http::idempotency::{Claim, State as Progress};
use crate::server::http::route::{Asked, Asker};
use crate::server::http::{App, idempotency, tell};

/// A decision, and how long after arrival it may leave.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    answer: VerifyAnswer,
    delay: Duration,
    retry: Retry,
}

/// What a retry of the request is answered.
#[derive(Clone, Debug)]
enum Retry {
    /// The same: a challenge lets no one in, and what answers it is judged by what holds then.
    Same,
    /// The same while it may be given again.
    Given(Given),
    /// It is decided anew: nothing was consumed, or a waiver was used, which is judged each time.
    Anew,
}

impl Retry {
    fn of(first: RequestId, decided: &LoginOutcome) -> Self {
        match decided.answer {
            LoginAnswer::Challenge(_) => Self::Same,
            // Whether it was counted or not: how a retry is answered must not tell.
            LoginAnswer::Reject => Self::Given(Given::reject(first)),
            LoginAnswer::Accept(_) => Given::of(first, decided).map_or(Self::Anew, Self::Given),
        }
    }
}

pub(crate) async fn verify(app: Arc<App>, call: Asked<Verify>) -> Result<VerifyAnswer, Failure> {
    let Asker {
        caller,
        arrival,
        retry,
    } = call.from;
    let client = asking(&app, &caller, call.query.client.as_deref())?;
    let turn = app.turn(&client)?;
    let question = Question::new(&app, client, arrival, call.body)?;
    // The store drops what is past its deadline; this bounds a store that does not answer at all.
    let patience = app.limits().request_timeout + GRACE;
    let verdict = timeout(patience, app.verdict(question, &caller, retry)).await;
    let verdict = verdict.unwrap_or(Ok(Err(None)))?;
    let verdict = verdict.map_err(|why| undecided(&caller, why))?;
    turn.hold(arrival.instant, verdict.delay).await;
    Ok(verdict.answer)
}

/// A decision, or why there is none, where that is known.
type Decided = Result<Verdict, Option<String>>;

impl App {
    /// Decides, or finds the decision on an earlier request with the same idempotency key.
    async fn verdict(
        self: &Arc<Self>,
        question: Question,
        caller: &Caller,
        retry: Option<(String, [u8; 32])>,
    ) -> Result<Decided, Failure> {
        let Some((key, digest)) = retry else {
            let app = Arc::clone(self);
            return Ok(self.done(async move { question.ask(&app).await }).await);
        };
        let client = &question.client;
        let digest = Sha256::new()
            .chain_update(digest)
            .chain_update(client.name.as_bytes())
            .chain_update(client.created.as_millis().to_be_bytes())
            .finalize();
        let arrived = question.arrival.instant;
        let claim = self
            .answers()
            .claim(holder(caller), &key, digest.into(), arrived);
        match claim.map_err(|_| Failure::KEY_REUSED)? {
            Claim::First(sender, answer) => {
                self.tasks()
                    .spawn(Arc::clone(self).settle(question, sender));
                Ok(idempotency::decided(answer).await)
            }
            Claim::Retry(answer) => {
                let first = match idempotency::decided(answer).await {
                    Ok(first) => first,
                    Err(why) => return Ok(Err(why)),
                };
                let app = Arc::clone(self);
                let again = async move { question.again(&app, first).await };
                Ok(self.done(again).await)
            }
        }
    }

    /// Decides to the end, also where the caller hangs up.
    async fn done(
        &self,
        work: impl Future<Output = Result<Verdict, CoreError>> + Send + 'static,
    ) -> Decided {
        // Logged by the service.
        match self.finish(work).await {
            Ok(decided) => decided.map_err(|error| Some(error.to_string())),
            Err(_) => Err(None),
        }
    }

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
        if self.login().holds_back(client) {
            self.any_turn()
        } else {
            Ok(Turn(None))
        }
    }

    /// Does something to its end also where the caller hangs up: what is used up must have its effect.
    pub(crate) async fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Failure> {
        // A panic leaves nothing decided, and nothing half done: that is the store's.
        let work = AssertUnwindSafe(work).catch_unwind();
        let runtime = self.core().tasks.clone();
        let done = Finish::new(work, self.tasks().clone(), runtime).await;
        done.map_err(|_| Failure::unavailable("try again, or ask another server"))
    }

    /// The same where the client is not known yet.
    pub(crate) fn any_turn(&self) -> Result<Turn, Failure> {
        let place = Arc::clone(self.rejects()).try_acquire_owned();
        let place = place.map_err(|_| Failure::unavailable(CROWDED))?;
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

/// Whose idempotency keys a caller's are: a later client of the same name is another.
pub(super) fn holder(caller: &Caller) -> String {
    match caller {
        Caller::Key(client) => format!("{} {}", caller.actor(), client.created.as_millis()),
        Caller::Local { .. } | Caller::Person(_) => caller.actor(),
    }
}

/// The client whose policy applies.
pub(crate) fn asking(
    app: &App,
    caller: &Caller,
    on_behalf: Option<&str>,
) -> Result<Arc<Client>, Failure> {
    match (on_behalf, caller) {
        (Some(_), _) if !caller.may_administer() => Err(Failure::forbidden(
            "only administrators ask on behalf of another client",
        )),
        (Some(name), _) => {
            let found = app.admin().client(name);
            let client = found.map_err(|error| tell::client(app, name, error))?;
            if let Access::Radius(_) = client.access {
                return Err(Failure::conflict(format!(
                    "client {name} asks over RADIUS, not over HTTP"
                ))
                .advise("name an API client (`oncegate client list`), or try it with radclient"));
            }
            Ok(Arc::new(client))
        }
        (None, Caller::Key(client)) => Ok(Arc::clone(client)),
        (None, Caller::Local { .. } | Caller::Person(_)) => {
            Ok(Arc::new(Client::without_record(LOCAL)))
        }
    }
}

/// No decision was made. The cause is for the administrator of this machine; a client over the network
/// is told nothing of it.
pub(crate) fn undecided(caller: &Caller, why: Option<String>) -> Failure {
    match (caller, why) {
        (Caller::Local { .. }, Some(why)) => Failure::unavailable(why).advise(SEE),
        (Caller::Local { .. }, None) => Failure::unavailable("no answer came in time")
            .advise("see `oncegate status` and the server's log"),
        (Caller::Key(_) | Caller::Person(_), _) => {
            Failure::unavailable("try again, or ask another server")
        }
    }
}

pub(crate) async fn replace_credentials(
    app: Arc<App>,
    call: Asked<ReplaceCredentials>,
) -> Result<api::CredentialsAnswer, Failure> {
    let Asker {
        caller, arrival, ..
    } = call.from;
    let api::CredentialsRequest {
        user,
        otp,
        pin,
        password,
        client_ip,
        new_password,
        new_pin,
    } = call.body;
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
    let client = asking(&app, &caller, None)?;
    let turn = app.turn(&client)?;
    let question = Question::new(&app, client, arrival, proof)?;
    let new = CredentialsPatch {
        password: new_password.map(NewVerifier::Text),
        pin: new_pin.map(NewVerifier::Text),
        must_change: None,
    };
    let asked = Arc::clone(&app);
    let replaced = app.finish(async move {
        let context = question.context();
        let request = LoginRequest {
            // All of it in one request.
            rounds: false,
            ..question.request(&asked, &context)
        };
        asked.admin().replace_own(&request, new).await
    });
    let replaced = replaced.await??;
    let request_id = arrival.id.to_string();
    Ok(match replaced {
        Replaced::Done => api::CredentialsAnswer::Accept { request_id },
        Replaced::Refused(decided) => {
            turn.hold(arrival.instant, decided.delay).await;
            api::CredentialsAnswer::Reject { request_id }
        }
    })
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
        app: &App,
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
        of_own_realm(app, &client, &body.user)?;
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
    ) -> LoginRequest<'a> {
        LoginRequest {
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
            serial: None,
            carrier: None,
        }
    }

    async fn ask(self, app: &App) -> Result<Verdict, CoreError> {
        let context = self.context();
        let request = self.request(app, &context);
        let decided = app.login().authenticate(&request).await?;
        Ok(Verdict::of(
            followed(app, &request, decided)?,
            self.arrival.id,
        ))
    }

    /// Answers a retry of the request that `first` was the answer to.
    async fn again(self, app: &App, first: Verdict) -> Result<Verdict, CoreError> {
        let given = match &first.retry {
            Retry::Same => return Ok(first),
            Retry::Given(given) => given,
            Retry::Anew => return self.ask(app).await,
        };
        let context = self.context();
        let request = self.request(app, &context);
        let decided = app.login().again(&request, given, None).await?;
        let decided = followed(app, &request, decided)?;
        // A reject in the place of an accept is a decision of its own.
        let id = if given.accepts() {
            self.arrival.id
        } else {
            given.first()
        };
        Ok(Verdict::of(decided, id))
    }
}

/// A decision whose challenge, if it is one, can be asked how it stands.
fn followed(
    app: &App,
    request: &LoginRequest<'_>,
    decided: LoginOutcome,
) -> Result<LoginOutcome, CoreError> {
    let answer = match decided.answer {
        LoginAnswer::Challenge(challenge) => {
            LoginAnswer::Challenge(app.login().followed(request, challenge)?)
        }
        answer => answer,
    };
    Ok(LoginOutcome { answer, ..decided })
}

impl Verdict {
    /// What was decided for the request of this id.
    fn of(decided: LoginOutcome, id: RequestId) -> Self {
        let retry = Retry::of(id, &decided);
        let answer = match decided.answer {
            LoginAnswer::Accept(accepted) => VerifyAnswer::Accept {
                user: accepted.user.to_string(),
                serial: accepted.serial.map(|serial| serial.to_string()),
                assurance: accepted.assurance,
                attributes: api::Values::gather(accepted.attributes),
                request_id: accepted.login.to_string(),
            },
            LoginAnswer::Challenge(challenge) => VerifyAnswer::Challenge {
                challenge: api::Challenge {
                    id: challenge.id,
                    factor: challenge.factor.to_string(),
                    prompt: challenge.prompt.into_owned(),
                    expires_in: challenge.expires_in.as_secs(),
                },
                request_id: id.to_string(),
            },
            LoginAnswer::Reject => VerifyAnswer::Reject {
                request_id: id.to_string(),
            },
        };
        Self {
            answer,
            delay: decided.delay,
            retry,
        }
    }
}

/// Refuses users of another realm than the client's. A name that cannot be read belongs to no realm; it is
/// rejected, and audited, as unknown.
pub(super) fn of_own_realm(app: &App, client: &Client, user: &str) -> Result<(), Failure> {
    if let (Some(realm), Ok(user)) = (&client.realm, app.core().key(client, user))
        && realm != user.realm()
    {
        return Err(Failure::forbidden(
            "this key may ask about users of its own realm only",
        ));
    }
    Ok(())
}

/// How much longer than the deadline an answer is awaited: a commit that began in time.
const GRACE: Duration = Duration::from_secs(1);
/// The answer when too many rejects wait for their time.
const CROWDED: &str = "too many answers wait for their time (limits.reject_queue); try again";
