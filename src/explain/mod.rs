//! Explanations: why was this decided so, and what would happen. Writes nothing.
//!
//! ```text
//! request id --> audit records --+--> situation: rules, demand, tokens, locks --> next steps
//! user, client, time, place -----+        (asked of the decision path itself)
//! ```
//!
//! Invariant: what is demanded, which tokens count and who is blocked is asked of the functions that
//! decide ([`crate::login::assess`]), so that an explanation cannot differ from the decision. Only
//! the order of the refusals is repeated here; `tests/it/explain.rs` compares the two.
//!
//! Limits: the audit keeps neither attributes nor context of a request, and policies, groups, tokens
//! and travellers are those of today. What cannot be known is said to be unknown.

use std::net::IpAddr;
use std::sync::Arc;

use crate::admin::AdminError;
use crate::core::{Core, CoreError, policy_of};
use crate::explain::rules::Reading;
use crate::login::Login;
use crate::login::case::Case;
use crate::login::challenge::Factors;
use crate::login::demand::{slots, success};
use crate::login::{LoginRequest, Presented, attributes, facts};
use crate::model::attempt::Success;
use crate::model::audit::{Channel, Event};
use crate::model::client::{Access, ApiAccess, Client, LOCAL};
use crate::model::credential::{Credentials, Verifier};
use crate::model::id::{RequestId, Serial};
use crate::model::reason::Reason;
use crate::model::source::Source;
use crate::model::user::Waiver;
use crate::otp::throttle::Throttle;
use crate::policy::{Policy, Rule};
use crate::store::View;
use crate::time::UnixTime;

pub mod demand;
pub mod next;
pub mod past;
pub mod rules;
mod situation;

pub use past::{Past, Story, counts_as_used};
pub use situation::{Asker, Counters, Person, PolicyShown, Situation, Step};

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

/// What would happen.
#[derive(Debug)]
pub struct Foresight {
    /// Where the login stands.
    pub situation: Situation,
    /// What an administrator does next.
    pub next: Vec<Step>,
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
    pub fn foresee(&self, supposed: Supposed<'_>) -> Result<Foresight, AdminError> {
        let client = match supposed.client {
            LOCAL => absent(LOCAL, None),
            name => self
                .core
                .client(name)
                .ok_or(AdminError::NotFound("client"))?,
        };
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
        situation.notes.extend(rules::unread(policy, &request));
        let next = next::supposed(&situation);
        Ok(Foresight { situation, next })
    }

    /// Why it was decided so: every record of this request, the oldest first. None: not found.
    pub async fn explain(&self, id: RequestId) -> Result<Vec<Story>, CoreError> {
        let mut stories = Vec::new();
        for record in self.records_of(id).await? {
            let mut story = self.story(record).await?;
            if let (Event::Decision(event), Some(past)) = (&story.record.event, &mut story.past) {
                past.next = next::past(event, past);
            }
            stories.push(story);
        }
        Ok(stories)
    }

    #[allow(clippy::too_many_lines)] // one thing after the other, as a login goes
    fn situation(&self, frame: Frame<'_>) -> Result<Situation, CoreError> {
        let Frame {
            request,
            policy,
            reading,
            ..
        } = frame;
        let key = request.client.key(request.user).ok();
        let view = match &key {
            Some(key) => self.core.store.view(key)?,
            None => None,
        };
        let credentials = match &view {
            Some(view) => self.core.store.credentials(&view.user.key)?,
            None => Credentials::default(),
        };
        let mut situation = Situation {
            at: request.at,
            asker: Asker {
                name: request.client.name.clone(),
                channel: request.channel,
                known: frame.known,
                policy: request.client.policy.clone(),
                rounds: request.rounds,
            },
            method: request.method.to_owned(),
            source: request.source,
            name: key
                .as_ref()
                .map_or_else(|| crate::core::shorten(request.user), ToString::to_string),
            user: view.as_ref().map(|view| Person {
                user: view.user.clone(),
                pin: must_change(credentials.pin.as_ref()),
                password: must_change(credentials.password.as_ref()),
            }),
            namesakes: Vec::new(),
            policy: None,
            asked: None,
            reply: Vec::new(),
            tokens: Vec::new(),
            counters: None,
            refused: None,
            notes: Vec::new(),
        };
        if let (Some(key), None) = (&key, &view) {
            let others = self.core.store.namesakes(key)?;
            situation.namesakes = others.iter().map(ToString::to_string).collect();
        }
        let Some(policy) = policy else {
            return Ok(situation);
        };
        // In the order of `crate::login::Login::evaluate`.
        let realm = request.client.realm.as_ref();
        if let (Some(key), Some(realm)) = (&key, realm)
            && realm != key.realm()
        {
            situation.refused = Some(Reason::OtherRealm);
        }
        let Some(view) = view else {
            let unknown = Reason::UnknownUser;
            let refused = self.guess(frame, policy, unknown)?;
            situation.refused = situation.refused.or(Some(refused));
            return Ok(situation);
        };
        let facts = facts(request, &view, request.at);
        let shown = rules::read(policy, &facts, reading);
        let decides = shown.iter().position(|rule| rule.decides);
        let rule = decides.and_then(|index| policy.rules.get(index));
        situation.policy = Some(PolicyShown {
            name: policy.name.clone(),
            rules: shown,
        });
        let first = policy.rules.first();
        if let Some(rule) = rule.or(first) {
            let case = Case {
                request,
                policy,
                rule,
                at: frame.locks_at,
                least: 0,
            };
            situation.counters = Some(self.counted(case, &view)?);
        }
        let refused = match (view.user.disabled, rule) {
            (true, _) => Some(Reason::UserDisabled),
            (false, None) => Some(Reason::NoRule),
            (false, Some(_)) => None,
        };
        let mut refused = situation.refused.or(refused);
        match rule {
            Some(rule) => {
                let outage = self.login.relief(rule, frame.request.at)?;
                let found = self.asked(
                    frame,
                    policy,
                    rule,
                    &view,
                    &credentials,
                    outage.as_ref(),
                    &mut situation,
                );
                refused = refused.or_else(|| found.err());
            }
            None => situation.tokens = demand::idle(&view),
        }
        if let Some(reason) = refused {
            refused = Some(self.guess(frame, policy, reason)?);
        }
        let blocked = situation.counters.as_ref().and_then(|all| all.blocked);
        situation.refused = refused
            .filter(|reason| *reason != Reason::MustChange)
            .or(blocked)
            .or_else(|| situation.blocked(frame.locks_at))
            .or(refused);
        Ok(situation)
    }

    /// What the rule asks for, and why nothing that is presented can be right.
    #[allow(clippy::too_many_arguments)] // all that bears on what is asked for
    fn asked(
        &self,
        frame: Frame<'_>,
        policy: &Policy,
        rule: &Rule,
        view: &View,
        credentials: &Credentials,
        outage: Option<&Waiver>,
        situation: &mut Situation,
    ) -> Result<(), Reason> {
        let case = Case {
            request: frame.request,
            policy,
            rule,
            at: frame.request.at,
            least: 0,
        };
        let demand = self
            .login
            .demand(case, view, Factors::default(), credentials, outage);
        let tokens = slots(case, view, credentials, &demand);
        let slots = tokens.iter().flatten();
        let counting = slots.flat_map(|slot| slot.tokens.iter());
        let counted: Vec<&Serial> = counting.map(|(token, _)| &token.serial).collect();
        let refused = tokens.as_ref().err().copied();
        let (factors, locks_at) = (&demand.factors, frame.locks_at);
        situation.tokens = demand::tokens(view, policy, factors, &counted, refused, locks_at);
        let asks = |text| self.login.prompt(view.user.language, text);
        let shown = demand::asked(case, &demand, credentials, &situation.tokens, &asks);
        situation.asked = Some(shown);
        let token = counted.first().map(|serial| serial.as_str());
        situation.reply = attributes(frame.request, policy, rule, view, token);
        let must = success(&demand.factors, None, credentials) == Success::MustChange;
        match tokens {
            Err(reason) => Err(reason),
            Ok(_) if must => Err(Reason::MustChange),
            Ok(_) => Ok(()),
        }
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

    fn counted(&self, case: Case<'_, '_>, view: &View) -> Result<Counters, CoreError> {
        let lockout = case.policy.lockout;
        let source = case.request.source.map(Source::from);
        let mut known = view.state.known.iter();
        let known = known.find(|known| Some(known.source) == source);
        let limited = source.filter(|_| lockout.source_lock_after > 0);
        let throttle = match limited {
            Some(source) => Some((source, self.core.store.source(source)?.throttle)),
            None => None,
        };
        Ok(Counters {
            at: case.at,
            user: Throttle {
                failures: view.state.failures(),
                ..view.state.throttle
            },
            known: known.map(|known| known.throttle),
            source: throttle,
            blocked: self.login.unblocked(case, view)?.err(),
            lock_after: lockout.lock_after,
            hard_lock_after: lockout.hard_lock_after,
        })
    }
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
        carrier: None,
    }
}

/// Stands for a client that has no record: a local administrator, or one that was removed.
fn absent(name: &str, policy: Option<String>) -> Client {
    Client {
        name: name.to_owned(),
        policy,
        realm: None,
        access: Access::Api(ApiAccess {
            key_hash: [0; 32],
            previous: None,
            scopes: Vec::new(),
        }),
        created: UnixTime::EPOCH,
        revision: 0,
    }
}

/// Over which front end a client asks, and whether it can carry challenges.
const fn speaks(client: &Client) -> (Channel, bool) {
    match &client.access {
        Access::Radius(radius) => (Channel::Radius, radius.challenge),
        Access::Api(_) => (Channel::Http, true),
    }
}

fn must_change(verifier: Option<&Verifier>) -> Option<bool> {
    verifier.map(|verifier| verifier.must_change)
}
