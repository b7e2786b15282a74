//! The service: decisions. Knows model, otp, policy and the store; knows no protocol.
//!
//! ```text
//! Request -> client's policy -> canonical user -> view -> rule -> round -> compare, hash
//!                                                   ^                        |
//!                                                   +----- stale view -------+-> store.attempt
//! Decided <- accept / challenge / reject (+ when a reject may leave) <--------------'
//! ```
//!
//! Outcome is not error: a wrong code is `Ok(Decided { outcome: Reject, .. })`. `Err` means that
//! nobody could decide; the front ends answer it with silence or 503, and nothing was counted.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::model::attempt::{Attempt, Finding, Note};
use crate::model::audit::{Channel, Origin, Purpose};
use crate::model::client::Client;
use crate::model::credential::Knowledge;
use crate::model::id::{RequestId, Serial};
use crate::model::message::Language;
use crate::model::reason::{Decision, Reason};
use crate::model::user_key::UserKey;
use crate::notice::{Catalogue, Text};
use crate::policy::{Factor, Facts, Policies, Policy, ReplyFacts, Rule, assurance};
use crate::secret::{Entropy, EntropyError, Key256, Pool};
use crate::service::ask::asked_for;
use crate::service::courier::{Courier, NoCourier};
use crate::service::evaluate::{Evaluated, Evaluation};
use crate::service::hashing::Hasher;
use crate::service::issue::SendLimits;
use crate::service::travel::Travel;
use crate::service::vital::Vitals;
use crate::store::{
    Gathering, KeyPurpose, LoadedFile, Outcome as StoreOutcome, Store, StoreError, View,
};
use crate::time::{Clock, UnixTime};

pub mod admin;
mod ask;
pub mod begin;
mod case;
mod challenge;
pub mod clients;
pub mod clock;
mod compare;
pub mod counters;
pub mod courier;
mod decide;
pub mod devices;
pub mod effect;
mod evaluate;
pub mod explain;
pub mod hashing;
pub mod inbound;
pub mod issue;
mod known;
pub mod latency;
mod loaded;
pub mod locks;
pub mod notices;
mod opened;
pub mod outage;
mod round;
pub mod self_service;
mod sessions;
mod slot;
pub mod travel;
pub mod vital;

pub use evaluate::MIN_ASSURANCE;
pub use round::Presented;

/// The decision maker; shared by all front ends.
pub struct Service {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    policies: ArcSwap<Policies>,
    /// Names and texts of policies that were replaced, newest first: why a challenge is stale.
    earlier: ArcSwap<Vec<(String, u64)>>,
    clients: Arc<clients::Clients>,
    hasher: Arc<Hasher>,
    challenge_key: Key256,
    class_key: Key256,
    /// Held while the sessions of a NAS that restarted are ended: one NAS at a time, whatever they send.
    restarts: tokio::sync::Mutex<()>,
    travel: ArcSwap<Travel>,
    courier: ArcSwap<Arc<dyn Courier>>,
    send_limits: ArcSwap<SendLimits>,
    home: ArcSwap<Option<String>>,
    texts: ArcSwap<Catalogue>,
    /// Files in force that the service itself does not read, for the audit.
    other_files: ArcSwap<Vec<LoadedFile>>,
    /// The language of people of whom nothing else is known.
    language: ArcSwap<Language>,
    notices: notices::Gauges,
    counters: counters::Counters,
    vitals: Arc<Vitals>,
    latencies: latency::Latencies,
    locks: locks::Locks,
    clock_watch: clock::Watch,
    refusals: devices::refusals::Refusals,
    /// Octets for request ids, which are no secrets: asking the system costs more than the rest of one.
    randomness: Mutex<Pool>,
    /// Where work that outlives a request goes on: front ends may run in runtimes of their own, which
    /// end before it.
    tasks: tokio::runtime::Handle,
}

/// One question: is this the person, this once?
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Names the request; made by [`Service::arrival`].
    pub id: RequestId,
    /// When it arrived.
    pub at: UnixTime,
    /// After this nobody waits for the answer.
    pub deadline: UnixTime,
    /// Who asks.
    pub client: &'a Client,
    /// Over which front end.
    pub channel: Channel,
    /// How the credential travelled: `pap`, `http`; for policy rules.
    pub method: &'a str,
    /// The user as it was sent.
    pub user: &'a str,
    /// What the user typed.
    pub presented: Presented<'a>,
    /// The challenge this answers: RADIUS `State`, HTTP challenge id.
    pub challenge: Option<&'a str>,
    /// Whether the asker can carry a challenge to the person and the answer back.
    pub rounds: bool,
    /// Where the person is, if the client said so.
    pub source: Option<IpAddr>,
    /// Request attributes by dictionary name, for policy rules and reply templates.
    pub attributes: &'a [(&'a str, &'a str)],
    /// Application context, for policy rules.
    pub context: &'a [(&'a str, &'a str)],
    /// What the client said of itself and of the person's line, for the audit.
    pub origin: Option<&'a Arc<Origin>>,
    /// What replies can carry; `None`: any length.
    pub carrier: Option<&'a dyn Carrier>,
}

/// What the replies of a front end can carry: asked before anything is consumed for one.
pub trait Carrier: fmt::Debug + Send + Sync {
    /// What becomes of an accept with these attributes, in this order.
    fn accept(&self, attributes: &[(String, String)]) -> Fit;
    /// Whether there is room for a challenge.
    fn challenge(&self) -> bool;
}

/// What becomes of the attributes of a reply.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fit {
    /// All of them are sent.
    Whole,
    /// Text for the person is left out: which, and why.
    Without(String),
    /// The reply cannot be sent: why.
    Not(String),
}

/// A decision, durable.
#[derive(Debug)]
pub struct Decided {
    /// What the person hears.
    pub outcome: Outcome,
    /// Why: for logs and metrics, never for the person.
    pub reason: Reason,
    /// What the user knows and has just proven, when all that was asked for was right and nothing
    /// was waived.
    pub proven: Vec<Knowledge>,
    /// How long after arrival the answer may leave, so that all rejects look alike in time.
    pub delay: Duration,
}

/// What the person hears.
#[derive(Debug)]
pub enum Outcome {
    /// Let in.
    Accept(Accepted),
    /// Right so far: the next factor is asked for.
    Challenge(Challenged),
    /// Refused; the cause is in the audit only.
    Reject,
}

impl Outcome {
    const fn decision(&self) -> Decision {
        match self {
            Self::Accept(_) => Decision::Accept,
            Self::Challenge(_) => Decision::Challenge,
            Self::Reject => Decision::Reject,
        }
    }
}

/// What goes with a challenge.
#[derive(Debug)]
pub struct Challenged {
    /// To be given back with the answer: at most 48 characters of base64url.
    pub id: String,
    /// What is asked for.
    pub factor: Factor,
    /// How to ask the person for it.
    pub prompt: Cow<'static, str>,
    /// How long an answer is awaited.
    pub expires_in: Duration,
}

/// What goes with an accept.
#[derive(Debug)]
pub struct Accepted {
    /// Who.
    pub user: UserKey,
    /// With which token; none where the rule asks for no code.
    pub serial: Option<Serial>,
    /// Strength of the factors, 1 to 3 (SP 800-63B levels).
    pub assurance: u8,
    /// Reply attributes by dictionary name, expanded.
    pub attributes: Vec<(String, String)>,
}

/// Nobody could decide. Silence over RADIUS, 503 over HTTP; nothing was counted.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The store has no answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The client names a policy that is not loaded.
    #[error("client `{client}` names policy `{policy}`, which is not loaded")]
    NoPolicy {
        /// The client.
        client: String,
        /// The missing policy.
        policy: String,
    },
    /// The clock is behind times on record.
    #[error(
        "the clock says {now}, but {seen} is on record; set the clock, or run `oncegate clock recover` if it is right"
    )]
    ClockBehind {
        /// What the clock says.
        now: UnixTime,
        /// The latest time on record.
        seen: UnixTime,
    },
    /// The user's tokens changed faster than they could be compared.
    #[error("the user's tokens keep changing")]
    Contended,
    /// Too many PINs and passwords wait to be compared.
    #[error("too many PINs and passwords wait to be compared")]
    Busy,
    /// No random octets.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

impl Service {
    /// Puts the service together and reads the clients from the store.
    pub async fn new(
        store: Arc<dyn Store>,
        policies: Policies,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        hashing: hashing::Settings,
    ) -> Result<Self, ServiceError> {
        let clients = Arc::new(clients::Clients::load(store.as_ref()).await?);
        let policies = ArcSwap::from_pointee(policies);
        let counters = counters::Counters::default();
        let hasher = Hasher::new(hashing, store.key(KeyPurpose::Pepper));
        let challenge_key = store.key(KeyPurpose::Challenge);
        let class_key = store.key(KeyPurpose::Class);
        let courier: Arc<dyn Courier> = Arc::new(NoCourier);
        Ok(Self {
            store,
            clock,
            entropy,
            policies,
            earlier: ArcSwap::default(),
            clients,
            hasher: Arc::new(hasher),
            challenge_key,
            class_key,
            restarts: tokio::sync::Mutex::default(),
            travel: ArcSwap::default(),
            courier: ArcSwap::from_pointee(courier),
            send_limits: ArcSwap::default(),
            home: ArcSwap::default(),
            texts: ArcSwap::default(),
            other_files: ArcSwap::default(),
            language: ArcSwap::default(),
            notices: notices::Gauges::default(),
            counters,
            vitals: Arc::default(),
            latencies: latency::Latencies::default(),
            locks: locks::Locks::default(),
            clock_watch: clock::Watch::default(),
            refusals: devices::refusals::Refusals::default(),
            randomness: Mutex::default(),
            tasks: tokio::runtime::Handle::current(),
        })
    }

    /// The store behind the service, for reading.
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// Announces several decisions at once; see [`Store::gather`].
    pub fn gather(&self) -> Gathering<'_> {
        self.store.gather()
    }

    /// The clients as they are now, and who wants to hear of changes.
    pub fn clients(&self) -> &clients::Clients {
        &self.clients
    }

    /// Decisions so far.
    pub const fn counters(&self) -> &counters::Counters {
        &self.counters
    }

    /// How long decisions took.
    pub const fn latencies(&self) -> &latency::Latencies {
        &self.latencies
    }

    /// The policies as they are now.
    pub fn policies(&self) -> Arc<Policies> {
        self.policies.load_full()
    }

    /// The present, by the service's clock.
    pub fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// Why no decision can be made at present, if so: what a health check must not hide.
    pub fn fault(&self) -> Option<String> {
        let behind = || {
            self.window_time(self.now())
                .err()
                .map(|error| error.to_string())
        };
        let stopped = || self.vitals.fault();
        self.store.health().fault.or_else(behind).or_else(stopped)
    }

    /// Parts of the process that have to work for this service to be ready.
    pub const fn vitals(&self) -> &Arc<Vitals> {
        &self.vitals
    }

    /// Takes what is known of travellers and countries, all at once.
    pub fn replace_travel(&self, travel: Travel) {
        self.travel.store(Arc::new(travel));
    }

    /// Takes who carries messages from now on.
    pub fn set_courier(&self, courier: Arc<dyn Courier>) {
        self.courier.store(Arc::new(courier));
    }

    /// Takes the country of telephone numbers that are written without one, as `+82`.
    pub fn set_home(&self, home: Option<String>) {
        self.home.store(Arc::new(home));
    }

    /// Who carries messages; nobody until [`Service::set_courier`].
    pub fn courier(&self) -> Arc<dyn Courier> {
        Arc::clone(&**self.courier.load())
    }

    /// Sets the language of new users, and of prompts before anything was proven.
    pub fn set_language(&self, language: Language) {
        self.language.store(Arc::new(language));
    }

    /// The language of people of whom nothing else is known.
    pub fn language(&self) -> Language {
        **self.language.load()
    }

    /// Takes the texts of messages, all at once.
    pub fn replace_texts(&self, texts: Catalogue) {
        self.texts.store(Arc::new(texts));
    }

    /// The texts of messages as they are now.
    pub fn texts(&self) -> Arc<Catalogue> {
        self.texts.load_full()
    }

    /// How telling users of what happened gets on.
    pub const fn notices(&self) -> &notices::Gauges {
        &self.notices
    }

    /// Takes a new set of policies, all at once. Refused while a client names one that is missing.
    pub fn replace_policies(&self, policies: Policies) -> Result<(), ServiceError> {
        for client in self.clients.all().iter() {
            policy_of(client, &policies)?;
        }
        let before = self.policies.swap(Arc::new(policies));
        let texts = before
            .iter()
            .map(|policy| (policy.name.clone(), policy.text));
        let earlier = self.earlier.load();
        let known = texts.chain(earlier.iter().cloned()).take(EARLIER);
        self.earlier.store(Arc::new(known.collect()));
        Ok(())
    }

    /// The id and time of a request that arrives now.
    pub fn arrival(&self) -> Result<(RequestId, UnixTime), ServiceError> {
        let now = self.clock.now();
        let mut pool = self.randomness.lock().expect("no panic under this lock");
        let random = pool.draw(self.entropy.as_ref())?;
        Ok((RequestId::new(now, random), now))
    }

    /// Decides. Durable when it answers `Ok`.
    pub async fn authenticate(&self, request: &Request<'_>) -> Result<Decided, ServiceError> {
        let began = Instant::now();
        let policies = self.policies.load_full();
        let policy = policy_of(request.client, &policies)?;
        let mut room = Default::default();
        let request = &Request {
            presented: request.presented.tidied(&mut room),
            ..*request
        };
        let decided = self.decide(request, policy).await;
        let outcome = decided
            .as_ref()
            .ok()
            .map(|decided| decided.outcome.decision());
        self.latencies.took(request.channel, outcome, began);
        match &decided {
            Ok(decided) => self.counters.decided(request.channel, decided.reason),
            Err(error) => {
                self.counters.undecided(request.channel);
                tracing::warn!(id = %request.id, client = request.client.name, %error, "no decision");
            }
        }
        decided
    }

    async fn decide(
        &self,
        request: &Request<'_>,
        policy: &Policy,
    ) -> Result<Decided, ServiceError> {
        let at = self.window_time(request.at)?;
        let place = self.admitted(request, policy)?;
        let key = request.client.key(request.user);
        let opening = request.opens(policy);
        let asked = |one: Challenged| Outcome::Challenge(self.asked_alike(one, opening));
        let shown = key
            .as_ref()
            .map_or_else(|_| shorten(request.user), UserKey::joined);
        for _ in 0..TRIES {
            let evaluated = self
                .evaluate(request, policy, key.as_ref().ok(), (at, place.as_ref()))
                .await?;
            let (mut note, mut began_at) = (Note::default(), None);
            let (finding, rule, waived, evaluation) = match evaluated {
                Evaluated::Refused {
                    reason,
                    rule,
                    waived,
                    detail,
                } => {
                    note.always = detail;
                    (Finding::Refused(reason), rule, waived, None)
                }
                Evaluated::Compared(finding, mut evaluation) => {
                    let (rule, waived) = (Some(evaluation.rule), evaluation.waived.clone());
                    note.accept = evaluation.left_out.take();
                    note.always = evaluation.detail.take();
                    began_at = evaluation.began_at;
                    (finding, rule, waived, Some(evaluation))
                }
            };
            // Whoever asks for a code hears the same whether or not it can be sent: neither who is a
            // user nor who is locked can be learned by it.
            let wished = rule.or_else(|| policy.rules.first());
            let wished = wished.and_then(|rule| asked_for(request, rule));
            let wished = opening.map(|(factor, _)| factor).or(wished);
            note.challenge = (!request.rounds).then_some(NO_ROUNDS);
            note.reject = wished.is_some().then_some(DECOY);
            let attempt = Attempt {
                request: request.id,
                at,
                deadline: request.deadline,
                purpose: Purpose::Login,
                user: shown.clone(),
                client: request.client.name.as_str().into(),
                channel: request.channel,
                method: request.method.into(),
                source: request.source,
                began_at,
                origin: request.origin.cloned(),
                rule: rule.map(|rule| Arc::clone(&rule.label)),
                note,
                waived,
                enrols: None,
                lockout: policy.lockout,
                finding,
            };
            let StoreOutcome::Settled(settlement) = self.store.attempt(attempt).await? else {
                continue;
            };
            self.locks.settled(key.as_ref().ok(), &settlement, at);
            let right = matches!(settlement.reason, Reason::MustChange)
                || settlement.decision == Decision::Accept;
            let proven = match &evaluation {
                Some(evaluation) if right && !evaluation.leaves_out() => evaluation.proven(),
                _ => Vec::new(),
            };
            let outcome = match (settlement.decision, evaluation) {
                (Decision::Accept, Some(evaluation)) => {
                    self.renew(&evaluation);
                    Outcome::Accept(accepted(request, policy, &evaluation, settlement.serial))
                }
                (Decision::Challenge, Some(evaluation)) => {
                    self.renew(&evaluation);
                    let challenge = self.challenge(request, policy, &evaluation).await?;
                    if request.rounds {
                        asked(challenge)
                    } else {
                        // What was asked for is on its way; who cannot be asked again begins again.
                        Outcome::Reject
                    }
                }
                _ => match wished {
                    Some(factor) => asked(self.decoy(request, policy, factor).await?),
                    None => Outcome::Reject,
                },
            };
            let delay = match outcome {
                Outcome::Reject => policy.reject_delay,
                // Work differs by what can be sent; the time of the answer must not.
                Outcome::Challenge(_) if wished.is_some() => policy.reject_delay,
                Outcome::Accept(_) | Outcome::Challenge(_) => Duration::ZERO,
            };
            return Ok(Decided {
                outcome,
                reason: settlement.reason,
                proven,
                delay: self.schedule(request, delay),
            });
        }
        Err(ServiceError::Contended)
    }

    /// A place for hashing where one may be needed: who is shed is shed before it is known whom they
    /// ask for.
    fn admitted(
        &self,
        request: &Request<'_>,
        policy: &Policy,
    ) -> Result<Option<hashing::Place>, ServiceError> {
        let place = policy.asks_for_knowledge();
        let place = place.then(|| self.hasher.place(request.challenge.is_some()));
        place.transpose()
    }

    /// Whether answers to this client may have to wait for their time. Front ends find them a place
    /// before anything is looked up: who is shed where there is none must not depend on whom was asked
    /// for, and no answer leaves early for it (threats T12, T13).
    pub fn holds_back(&self, client: &Client) -> bool {
        let policies = self.policies.load();
        policy_of(client, &policies).is_ok_and(|policy| !policy.reject_delay.is_zero())
    }

    /// When an answer leaves that is due `delay` after arrival. One that is late leaves at the next of
    /// fixed times: how late it is tells what was done for it.
    fn schedule(&self, request: &Request<'_>, delay: Duration) -> Duration {
        let spent = self.now().since(request.at);
        let late = spent.saturating_sub(delay);
        // The clock may have been set meanwhile.
        if delay.is_zero() || late.is_zero() || late > LATE {
            return delay;
        }
        let times = late.as_nanos().div_ceil(SCHEDULE.as_nanos());
        delay + SCHEDULE * u32::try_from(times).unwrap_or(0)
    }

    /// The time that windows are computed from: never behind what is on record, so that a clock
    /// set back re-opens nothing (contract s8.6).
    fn window_time(&self, now: UnixTime) -> Result<UnixTime, ServiceError> {
        let seen = self.store.high_water();
        if seen.since(now) > CLOCK_TOLERANCE {
            return Err(ServiceError::ClockBehind { now, seen });
        }
        Ok(now.max(seen))
    }
}

impl Request<'_> {
    /// Whether a login begins in which nothing was typed yet: how everybody is then asked. What is asked
    /// for follows from the policy alone, since who is a user must not be learned by it.
    fn opens(&self, policy: &Policy) -> Option<(Factor, bool)> {
        let begins = self.rounds && self.challenge.is_none() && self.presented.is_empty();
        policy.opening().filter(|_| begins)
    }
}

impl Service {
    /// Asks for the first factor in the words that everybody is asked with.
    fn asked_alike(&self, challenge: Challenged, opening: Option<(Factor, bool)>) -> Challenged {
        match opening {
            Some((factor, mixed)) if challenge.factor != Factor::Card => {
                let text = if mixed {
                    Text::AskFirst
                } else {
                    ask::prompt(factor)
                };
                Challenged {
                    factor,
                    prompt: self.prompt(self.language(), text).into(),
                    ..challenge
                }
            }
            _ => challenge,
        }
    }
}

/// The policy that applies to a client's users.
pub fn policy_of<'p>(client: &Client, policies: &'p Policies) -> Result<&'p Policy, ServiceError> {
    policies
        .resolve(client.policy.as_deref())
        .ok_or_else(|| ServiceError::NoPolicy {
            client: client.name.clone(),
            policy: client
                .policy
                .clone()
                .unwrap_or_else(|| crate::policy::DEFAULT.to_owned()),
        })
}

fn facts<'a>(request: &Request<'a>, view: &'a View, at: UnixTime) -> Facts<'a> {
    Facts {
        now: at,
        client: &request.client.name,
        user: view.user.key.name(),
        realm: view.user.key.realm(),
        groups: &view.user.groups,
        user_class: view.user.class.as_deref(),
        source: request.source,
        method: request.method,
        attributes: request.attributes,
        context: request.context,
    }
}

fn accepted(
    request: &Request<'_>,
    policy: &Policy,
    evaluation: &Evaluation<'_>,
    serial: Option<Serial>,
) -> Accepted {
    let Evaluation { rule, view, .. } = evaluation;
    let kind = serial.as_ref().and_then(|serial| view.kind_of(serial));
    let token = serial.as_ref().map(Serial::as_str);
    Accepted {
        attributes: attributes(request, policy, rule, view, token),
        user: view.user.key.clone(),
        assurance: if evaluation.elsewhere {
            1
        } else {
            assurance(&evaluation.factors, kind)
        },
        serial,
    }
}

/// The reply attributes of an accept by this rule with this token.
fn attributes(
    request: &Request<'_>,
    policy: &Policy,
    rule: &Rule,
    view: &View,
    token: Option<&str>,
) -> Vec<(String, String)> {
    let user = &view.user;
    let facts = facts(request, view, request.at);
    let groups = &policy.reply_of(rule).groups;
    let reply = ReplyFacts {
        user: user.key.name(),
        realm: user.key.realm(),
        display_name: user.display_name.as_deref(),
        group: rule.group_of(&facts, |group| groups.name(group)),
        groups: &user.groups,
        token,
        attributes: request.attributes,
    };
    policy.expand(rule, &reply)
}

/// A user name that is no user name, for the audit: cut to a length that is still useful.
fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

/// How many replaced policies are remembered.
const EARLIER: usize = 64;
/// What the audit says of a challenge that the client cannot show.
const NO_ROUNDS: &str = "answered with a reject: the client shows no challenges";
/// What the audit says of a reject that looks like a challenge.
const DECOY: &str = "answered with a challenge that nothing passes";
/// How often a stale view is read again before giving up: an attacker who keeps a counter moving
/// gets no answer, and pays a commit for every move.
const TRIES: usize = 8;
/// The times at which late answers leave.
const SCHEDULE: Duration = Duration::from_millis(250);
/// How late an answer can be.
const LATE: Duration = Duration::from_secs(10);
/// How far the clock may be behind the latest time on record: NTP steps and requests in flight.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(30);
