//! Explanations: why was this decided so, and what would happen. Writes nothing.
//!
//! ```text
//! request id --> audit records --+--> situation: rules, demand, tokens, locks --> next steps
//! user, client, time, place -----+        (asked of the decision path itself)
//! ```
//!
//! Invariant: what is demanded, which tokens count and who is blocked is asked of the functions that
//! decide ([`crate::login::assess`]), so that an explanation cannot differ from the decision. Only
//! the order of the refusals is repeated here; `tests/it/login/explain.rs` compares the two.
//!
//! Limits: the audit keeps neither attributes nor context of a request, and policies, groups, tokens
//! and travellers are those of today. What cannot be known is said to be unknown.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use crate::admin::AdminError;
use crate::api::explain as doc;
use crate::api::explain::{Counters, Explanation, Explanations};
use crate::api::forms;
use crate::core::{Core, CoreError, policy_of, shorten};
use crate::explain::past::counts_as_used;
use crate::explain::rules::Reading;
use crate::explain::situation::Situation;
use crate::login::Login;
use crate::login::case::Case;
use crate::login::challenge::Factors;
use crate::login::demand::{slots, success};
use crate::login::{LoginRequest, Presented, attributes, facts};
use crate::model::attempt::Success;
use crate::model::audit::Channel;
use crate::model::client::{Access, Client};
use crate::model::credential::Credentials;
use crate::model::id::{RequestId, Serial};
use crate::model::method::{is_taken, shows_text};
use crate::model::reason::Reason;
use crate::model::source::Source;
use crate::model::user_key::UserKey;
use crate::otp::throttle::Throttle;
use crate::policy::{Factor, Policy, Present, Rule};
use crate::store::View;
use crate::time::UnixTime;

mod demand;
mod next;
mod past;
mod rules;
mod situation;

/// Every word that a change has in the audit, and what its actor did to its target.
pub static ACTIONS: LazyLock<BTreeMap<String, String>> =
    LazyLock::new(|| toml::from_str(include_str!("actions.toml")).unwrap_or_default());

/// A login that no one has tried.
#[derive(Clone, Copy, Debug)]
pub struct Supposed<'a> {
    /// The user as it would be sent.
    pub user: &'a str,
    /// Name of the client that would ask.
    pub client: &'a str,
    /// When; now if absent.
    pub at: Option<UnixTime>,
    /// From where.
    pub source: Option<IpAddr>,
    /// How the credential would travel; what is usual for the client if absent.
    pub method: Option<&'a str>,
    /// Request attributes by dictionary name.
    pub attributes: &'a [(&'a str, &'a str)],
    /// Application context.
    pub context: &'a [(&'a str, &'a str)],
}

/// Explains decisions.
pub struct Explain {
    core: Arc<Core>,
    login: Arc<Login>,
}

impl Explain {
    pub(crate) const fn new(core: Arc<Core>, login: Arc<Login>) -> Self {
        Self { core, login }
    }

    /// What would happen.
    pub fn foresee(&self, supposed: Supposed<'_>) -> Result<Explanation, AdminError> {
        let client = self.client(supposed.client);
        let client = client.ok_or(AdminError::NotFound("client"))?;
        let (channel, rounds) = speaks(&client);
        let usual = match channel {
            Channel::Radius => "pap",
            Channel::Http | Channel::Admin | Channel::Device | Channel::Inbound => "http",
        };
        let (id, now) = self.core.arrival()?;
        let policies = self.core.policies();
        let policy = policy_of(&client, &policies)?;
        let request = LoginRequest {
            at: supposed.at.unwrap_or(now),
            source: supposed.source,
            method: supposed.method.unwrap_or(usual),
            attributes: supposed.attributes,
            context: supposed.context,
            rounds,
            ..question(id, now, &client, channel, supposed.user)
        };
        let frame = Frame {
            request: &request,
            policy: Some(policy),
            known: true,
            locks_at: request.at,
            reading: Reading::Present,
        };
        let mut situation = self.situation(frame)?;
        let decides = situation.shown.rules.iter().position(|rule| rule.decides);
        let rule = decides.and_then(|index| policy.rules.get(index));
        if supposed.method.is_some() && !is_told(&request, policy, rule) {
            let refused = Some(Reason::MethodNotAllowed);
            situation.refused = situation.refused.or(refused);
        }
        situation.notes.extend(rules::unread(policy, &request));
        situation.notes.extend(rules::renamed(policy, &request));
        Ok(foreseen(situation))
    }

    /// Why it was decided so: every record of this request, the oldest first. None: not found.
    pub async fn explain(&self, id: RequestId) -> Result<Explanations, CoreError> {
        let mut records = Vec::new();
        for record in self.records_of(id).await? {
            records.push(self.explained(&record).await?);
        }
        Ok(Explanations {
            request_id: id.to_string(),
            records,
        })
    }

    /// A client as it is now, or one of the server's own.
    fn client(&self, name: &str) -> Option<Client> {
        Client::own(name).or_else(|| self.core.client(name))
    }

    /// What the user knows that counts: as for a login ([`Login::bound_to`]), whatever a rule asks for.
    fn known(&self, view: &View) -> Result<Credentials, CoreError> {
        let mut credentials = self.core.store.credentials(&view.user.key)?;
        if self.core.directories.checking(&view.user).is_some() {
            credentials.password = None;
        }
        Ok(credentials)
    }

    fn situation(&self, frame: Frame<'_>) -> Result<Situation, CoreError> {
        let request = frame.request;
        let named = match frame.reading {
            Reading::Present => self.core.key(request.client, request.user).ok(),
            // The audit has the key, which no rule for names is for.
            Reading::Past(..) => UserKey::parse(request.user).ok(),
        };
        let meant = named
            .clone()
            .map(|name| self.core.meant(request.client, name));
        let meant = meant.transpose()?.flatten();
        // What a client without a record was bound to is not known, and an administrator is bound to nothing.
        let unbound = frame.known && request.client.realm.is_none();
        let barred = unbound && meant.is_none() && named.is_some();
        let key = meant.or(named);
        let view = match key.as_ref().filter(|_| !barred) {
            Some(key) => self.core.store.view(key)?,
            None => None,
        };
        let credentials = match &view {
            Some(view) => self.known(view)?,
            None => Credentials::default(),
        };
        let name = (key.as_ref()).map_or_else(|| shorten(request.user), ToString::to_string);
        let user = view.as_ref().map(|view| &view.user);
        let mut situation = Situation::new(frame, name, user, credentials);
        situation.barred = barred;
        if let (Some(key), None) = (&key, &view) {
            let others = self.core.store.namesakes(key)?;
            situation.namesakes = others.iter().map(ToString::to_string).collect();
        }
        let Some(policy) = frame.policy else {
            return Ok(situation);
        };
        // In the order of `crate::login::Login::assess`.
        let bound = key.as_ref().zip(request.client.realm.as_ref());
        let elsewhere = bound.is_some_and(|(key, realm)| realm != key.realm());
        let elsewhere = elsewhere.then_some(Reason::OtherRealm);
        let Some(view) = view else {
            let unknown = self.guess(frame, policy, Reason::UnknownUser)?;
            situation.refused = elsewhere.or(Some(unknown));
            return Ok(situation);
        };
        let rule = self.read(frame, policy, &view, &mut situation)?;
        let refused = elsewhere.or(match (view.user.disabled, rule) {
            (true, _) => Some(Reason::UserDisabled),
            (false, None) => Some(Reason::NoRule),
            (false, Some(_)) => None,
        });
        let missing = match rule {
            Some(rule) => self.asked(frame, (policy, rule), &view, &mut situation)?,
            None => {
                situation.tokens = demand::idle(&view, frame.locks_at);
                None
            }
        };
        let tokens = situation.tokens.iter();
        situation.shown.tokens = tokens.map(|token| token.shown(frame.locks_at)).collect();
        let refused = match refused.or(missing) {
            Some(reason) => Some(self.guess(frame, policy, reason)?),
            None => None,
        };
        situation.refused = refused
            .filter(|reason| *reason != Reason::MustChange)
            .or(situation.blocked)
            .or_else(|| situation.tokens_blocked(frame.locks_at))
            .or(refused);
        Ok(situation)
    }

    /// Enters the rules and the counters; returns the rule that decides.
    fn read<'p>(
        &self,
        frame: Frame<'_>,
        policy: &'p Policy,
        view: &View,
        situation: &mut Situation,
    ) -> Result<Option<&'p Rule>, CoreError> {
        let request = frame.request;
        let rules = rules::read(policy, &facts(request, view, request.at), frame.reading);
        let decides = rules.iter().position(|rule| rule.decides);
        let rule = decides.and_then(|index| policy.rules.get(index));
        situation.shown.policy = Some(policy.name.clone());
        situation.shown.rules = rules;
        if let Some(rule) = rule.or_else(|| policy.rules.first()) {
            let case = Case {
                request,
                policy,
                rule,
                at: frame.locks_at,
                least: 0,
            };
            situation.blocked = self.login.unblocked(case, view)?.err();
            situation.shown.counters = Some(self.counted(case, view, situation.blocked)?);
        }
        Ok(rule)
    }

    /// Enters what the rule asks for; returns why nothing that is presented can be right.
    fn asked(
        &self,
        frame: Frame<'_>,
        (policy, rule): (&Policy, &Rule),
        view: &View,
        situation: &mut Situation,
    ) -> Result<Option<Reason>, CoreError> {
        let request = frame.request;
        let case = Case {
            request,
            policy,
            rule,
            at: request.at,
            least: 0,
        };
        let outage = self.login.relief(rule, request.at)?;
        let credentials = &situation.credentials;
        let none = Factors::default();
        let demand = (self.login).demand(case, view, none, credentials, outage.as_ref());
        let slots = slots(case, view, credentials, &demand);
        let must = success(&demand.factors, None, credentials) == Success::MustChange;
        let missing = slots.as_ref().err().copied();
        let counting = slots.iter().flatten().flat_map(|slot| slot.tokens.iter());
        let counted: Vec<&Serial> = counting.map(|(token, _)| &token.serial).collect();
        let factors = &demand.factors;
        situation.tokens = demand::tokens(view, policy, factors, &counted, missing, frame.locks_at);
        let asks = |text| self.login.prompt(view.user.language, text);
        demand::enter(case, &demand, &asks, situation);
        let token = counted.first().map(|serial| serial.as_str());
        let reply = attributes(request, policy, rule, view, token).into_iter();
        let reply = reply.map(|(name, value)| doc::ReplyAttribute { name, value });
        situation.shown.reply = reply.collect();
        Ok(missing.or_else(|| must.then_some(Reason::MustChange)))
    }

    /// Who tries names is refused for where they are once that is blocked.
    fn guess(
        &self,
        frame: Frame<'_>,
        policy: &Policy,
        reason: Reason,
    ) -> Result<Reason, CoreError> {
        let source = frame.request.source.map(Source::from);
        let Some(source) = source.filter(|_| reason.is_guess()) else {
            return Ok(reason);
        };
        let limited = policy.lockout.source_lock_after > 0;
        let state = self.core.store.source(source)?;
        let blocked = limited && state.throttle.check(frame.locks_at).is_err();
        Ok(if blocked {
            Reason::SourceBlocked
        } else {
            reason
        })
    }

    fn counted(
        &self,
        case: Case<'_, '_>,
        view: &View,
        blocked: Option<Reason>,
    ) -> Result<Counters, CoreError> {
        let lockout = case.policy.lockout;
        let source = case.request.source.map(Source::from);
        let mut known = view.state.known.iter();
        let known = known.find(|known| Some(known.source) == source);
        let lock = |throttle: &Throttle| forms::lock(throttle, case.at);
        let limited = source.filter(|_| lockout.source_lock_after > 0);
        let source = match limited {
            Some(source) => Some(doc::SourceLock {
                source: source.to_string(),
                lock: lock(&self.core.store.source(source)?.throttle),
            }),
            None => None,
        };
        Ok(Counters {
            failures_then: None,
            at: case.at.rfc3339(),
            user: lock(&Throttle {
                failures: view.state.failures(),
                ..view.state.throttle
            }),
            known: known.map(|known| lock(&known.throttle)),
            source,
            blocked: blocked.map(word),
            lock_after: lockout.lock_after,
            hard_lock_after: lockout.hard_lock_after,
        })
    }
}

/// A login that no one has tried, in words.
fn foreseen(situation: Situation) -> Explanation {
    let next = next::supposed(&situation);
    let refused = situation.refused;
    let repair = situation.repair_refuses();
    let repair = repair.filter(|_| refused == Some(Reason::UsedCode));
    let advice = repair
        .map(counts_as_used)
        .or_else(|| refused.map(|reason| reason.advice().to_owned()));
    let shown = &situation.shown;
    let (user, client) = (situation.name(), &shown.client.name);
    let summary = match (&advice, &shown.rule) {
        (None, Some(_)) => {
            let left = shown.factors.iter().filter(|factor| !factor.waived);
            let left: Vec<_> = left.map(|factor| factor.factor.as_str()).collect();
            let left = left.join(" + ");
            format!("{user} would be let in at {client} with a right {left}.")
        }
        (None, None) => format!("{user} would be asked at {client}."),
        (Some(advice), _) => {
            format!("{user} would be rejected at {client} whatever is typed: {advice}.")
        }
    };
    Explanation {
        summary,
        decision: refused.map_or("accept_if", |_| "reject").to_owned(),
        reason: refused.map(word),
        advice,
        time: situation.at.rfc3339(),
        notes: situation.notes,
        login: Some(situation.shown),
        next,
        ..Explanation::default()
    }
}

fn word(reason: Reason) -> String {
    reason.as_str().to_owned()
}

/// What a situation is read from.
#[derive(Clone, Copy)]
struct Frame<'a> {
    request: &'a LoginRequest<'a>,
    /// None: it is not loaded, or none was read.
    policy: Option<&'a Policy>,
    /// Whether there is a client of this name now.
    known: bool,
    /// The time by which locks are read.
    locks_at: UnixTime,
    reading: Reading<'a>,
}

/// Whether what the rule asks for can be told from what the method shows, and the client may use it.
fn is_told(request: &LoginRequest<'_>, policy: &Policy, rule: Option<&Rule>) -> bool {
    let hashed = |factor: &Factor| match factor {
        Factor::Password => true,
        Factor::Pin => !policy.pin.recoverable,
        _ => false,
    };
    let asked = rule.map(|rule| match rule.present {
        Present::Joined => rule.require.as_slice(),
        Present::Challenge | Present::Either => rule.require.get(..1).unwrap_or_default(),
    });
    let asked = asked.unwrap_or_default();
    let response = is_taken(request.method) && !shows_text(request.method);
    let hidden = response && asked.iter().any(hashed);
    request.client.takes(request.method) && !hidden
}

/// A request with nothing in it.
const fn question<'a>(
    id: RequestId,
    at: UnixTime,
    client: &'a Client,
    channel: Channel,
    user: &'a str,
) -> LoginRequest<'a> {
    LoginRequest {
        id,
        at,
        deadline: at,
        client,
        channel,
        method: channel.as_str(),
        user,
        presented: Presented::Fields {
            password: None,
            pin: None,
            otp: None,
        },
        challenge: None,
        rounds: true,
        source: None,
        attributes: &[],
        context: &[],
        origin: None,
        serial: None,
        carrier: None,
    }
}

/// Over which front end a client asks, and whether it can carry challenges.
const fn speaks(client: &Client) -> (Channel, bool) {
    match &client.access {
        Access::Radius(radius) => (Channel::Radius, radius.challenge),
        Access::Api(_) => (Channel::Http, true),
    }
}
