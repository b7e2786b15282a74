//! Logins: is this the person, this once? Knows model, otp, policy and the store; knows no protocol.
//!
//! ```text
//! LoginRequest -> client's policy -> canonical user -> view -> rule -> round -> compare, hash
//!                                                   ^                        |
//!                                                   +----- stale view -------+-> store.attempt
//! LoginOutcome <- accept / challenge / reject (+ when a reject may leave) <--------------'
//! ```
//!
//! An outcome is not an error: a wrong code is `Ok(LoginOutcome { answer: Reject, .. })`. `Err` means that no
//! decision was possible; the front ends answer it with silence or 503, and nothing was counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::core::{Core, CoreError, policy_of, shorten};
use crate::login::assess::Progress;
use crate::login::hashing::Hasher;
use crate::login::prompt::asked_for;
use crate::login::refusals::Refusals;
use crate::login::travel::Travel;
use crate::login::undecided::Undecided;
use crate::model::attempt::{Attempt, Note, Proven, Said, Verdict};
use crate::model::audit::Purpose;
use crate::model::client::Client;
use crate::model::id::Serial;
use crate::model::reason::{Decision, Reason};
use crate::model::session::ClassKey;
use crate::model::token::LifeCycle;
use crate::model::user_key::UserKey;
use crate::notice::Text;
use crate::policy::{Factor, Facts, Policy, ReplyFacts, Rule, assurance};
use crate::secret::Key256;
use crate::store::{KeyPurpose, View};
use crate::time::UnixTime;

pub(crate) mod assess;
pub mod begin;
mod candidates;
pub(crate) mod case;
pub(crate) mod challenge;
pub(crate) mod demand;
mod hash_threads;
pub mod hashing;
pub mod inbound;
mod knowledge;
pub(crate) mod match_issued;
pub(crate) mod match_otp;
mod opened;
mod pressed;
pub(crate) mod prompt;
pub(crate) mod read;
pub mod redeem;
pub(crate) mod refusals;
pub mod repeat;
mod request;
mod response;
pub(crate) mod round;
mod sessions;
pub(crate) mod settle;
pub(crate) mod ticket;
pub mod travel;
mod undecided;

pub use repeat::Given;
pub(crate) use request::Rests;
pub use request::{Accepted, Carrier, Challenged, Fit, LoginAnswer, LoginOutcome, LoginRequest};
pub use round::{Presented, Response};

/// Decides logins, and what else is proven by a code.
pub struct Login {
    core: Arc<Core>,
    pub(crate) hasher: Arc<Hasher>,
    challenge_key: Key256,
    class_key: ClassKey,
    /// Held while the sessions of a NAS that restarted are ended: one NAS at a time, whatever they send.
    restarts: tokio::sync::Mutex<()>,
    pub(crate) travel: ArcSwap<Travel>,
    refusals: Refusals,
    undecided: Undecided,
}

impl Login {
    pub(crate) fn new(core: Arc<Core>, hashing: hashing::Settings) -> Self {
        let store = &core.store;
        Self {
            hasher: Arc::new(Hasher::new(hashing, store.key(KeyPurpose::Pepper))),
            challenge_key: store.key(KeyPurpose::Challenge),
            class_key: ClassKey::new(&store.key(KeyPurpose::Class)),
            restarts: tokio::sync::Mutex::default(),
            travel: ArcSwap::default(),
            refusals: Refusals::default(),
            undecided: Undecided::default(),
            core,
        }
    }

    /// Replaces the tables of travellers and countries.
    pub fn replace_travel(&self, travel: Travel) {
        self.travel.store(Arc::new(travel));
    }

    /// Decides. Durable when it answers `Ok`.
    pub async fn authenticate(
        &self,
        request: &LoginRequest<'_>,
    ) -> Result<LoginOutcome, CoreError> {
        let began = Instant::now();
        let policies = self.core.policies.load_full();
        let policy = policy_of(request.client, &policies)?;
        let mut room = Default::default();
        let request = &LoginRequest {
            presented: request.presented.tidied(&mut room),
            ..*request
        };
        let decided = self.decide(request, policy).await;
        let decision = decided.as_ref().ok().map(|one| one.answer.decision());
        self.core.latencies.took(request.channel, decision, began);
        if let Err(error) = &decided {
            self.core.counters.undecided(request.channel);
            self.undecided.log(request, error);
        }
        decided
    }

    async fn decide(
        &self,
        request: &LoginRequest<'_>,
        policy: &Policy,
    ) -> Result<LoginOutcome, CoreError> {
        let at = self.core.window_time(request.at)?;
        let place = self.admitted(request, policy)?;
        let place = place.as_ref();
        let key = request.client.key(request.user, &policy.name_rules);
        let opening = request.opens(policy);
        let shown = key
            .as_ref()
            .map_or_else(|_| shorten(request.user), UserKey::joined);
        let (key, shown) = (key.as_ref().ok(), &shown);
        let gather = || async move {
            let mut assessment = self.assess(request, policy, key, (at, place)).await?;
            // A request for a code is answered alike whether or not it can be sent: neither who is a
            // user nor who is locked can be learned by it.
            let wished = assessment.rule.or_else(|| policy.rules.first());
            let wished = wished.and_then(|rule| asked_for(request, rule));
            let wished = opening.map(|(factor, _)| factor).or(wished);
            // What was not typed is no guess either.
            assessment.wished(wished.is_some() || request.presented.is_empty());
            let attempt = Attempt {
                request: request.id,
                at,
                deadline: request.deadline,
                purpose: Purpose::Login,
                alias: assessment.of_alias.as_ref().map(|_| shown.clone()),
                user: assessment.of_alias.unwrap_or_else(|| shown.clone()),
                client: request.client.name.as_str().into(),
                channel: request.channel,
                method: request.method.into(),
                source: request.source,
                began_at: assessment.began_at,
                origin: request.origin.cloned(),
                rule: assessment.rule.map(|rule| Arc::clone(&rule.label)),
                // What [`Login::outcome`] answers.
                note: Note {
                    said: match wished {
                        _ if !request.rounds => Said::NoRounds,
                        Some(_) => Said::Decoy,
                        None => Said::Decided,
                    },
                    ..assessment.note
                },
                waived: assessment.waived,
                enrols: None,
                lockout: policy.lockout,
                evidence: assessment.evidence,
                proven: earlier(assessment.progress.as_deref()),
            };
            Ok::<_, CoreError>((attempt, (assessment.progress, wished)))
        };
        // Without a place no hash is made, and without a hash nothing is waited for.
        let waits = place.is_some();
        let (verdict, found) = self.settle_with(key, waits, gather).await?;
        self.outcome((request, policy), opening, verdict, found)
            .await
    }

    /// What leaves, after a verdict. `wished`: a code was asked for, or nothing was typed yet.
    async fn outcome(
        &self,
        (request, policy): (&LoginRequest<'_>, &Policy),
        opening: Option<(Factor, bool)>,
        verdict: Box<Verdict>,
        (mut progress, wished): (Option<Box<Progress<'_>>>, Option<Factor>),
    ) -> Result<LoginOutcome, CoreError> {
        if let Some(progress) = &mut progress {
            progress.enter(verdict.serial.as_ref());
        }
        let right =
            matches!(verdict.reason, Reason::MustChange) || verdict.decision == Decision::Accept;
        let proven = match &progress {
            Some(progress) if right && !progress.leaves_out => progress.proven(),
            _ => Vec::new(),
        };
        let answer = match (verdict.decision, progress) {
            (Decision::Accept, Some(progress)) => {
                self.renew(&progress);
                LoginAnswer::Accept(accepted(request, policy, &progress, verdict.serial))
            }
            (Decision::Challenge, Some(progress)) => {
                self.renew(&progress);
                let challenge = Box::pin(self.challenge(request, policy, &progress)).await?;
                if request.rounds {
                    LoginAnswer::Challenge(self.asked_alike(challenge, opening))
                } else {
                    // What was asked for is on its way; the login begins again with it.
                    LoginAnswer::Reject
                }
            }
            _ => match wished {
                Some(factor) => {
                    let decoy = self.decoy(request, policy, factor)?;
                    LoginAnswer::Challenge(self.asked_alike(decoy, opening))
                }
                None => LoginAnswer::Reject,
            },
        };
        let delay = match answer {
            LoginAnswer::Reject => policy.reject_delay,
            // Work differs by what can be sent; the time of the answer must not.
            LoginAnswer::Challenge(_) if wished.is_some() => policy.reject_delay,
            LoginAnswer::Accept(_) | LoginAnswer::Challenge(_) => Duration::ZERO,
        };
        Ok(LoginOutcome {
            answer,
            reason: verdict.reason,
            proven,
            delay: self.schedule(request, delay),
        })
    }

    /// A place for hashing where one may be needed: who is shed is shed before it is known whom they
    /// ask for.
    fn admitted(
        &self,
        request: &LoginRequest<'_>,
        policy: &Policy,
    ) -> Result<Option<hashing::Place>, CoreError> {
        let place = policy.asks_for_knowledge();
        let answering = request.challenge.is_some();
        let place = place.then(|| self.hasher.place(answering, Some(request.holder())));
        place.transpose()
    }

    /// Whether answers to this client may have to wait for their time. Front ends find them a place
    /// before anything is looked up: who is shed where there is none must not depend on whom was asked
    /// for, and no answer leaves early for it (threats T12, T13).
    pub fn holds_back(&self, client: &Client) -> bool {
        let policies = self.core.policies.load();
        policy_of(client, &policies).is_ok_and(|policy| !policy.reject_delay.is_zero())
    }

    /// When an answer leaves that is due `delay` after arrival. One that is late leaves at the next of
    /// fixed times: how late it is tells what was done for it.
    pub(crate) fn schedule(&self, request: &LoginRequest<'_>, delay: Duration) -> Duration {
        let spent = self.core.now().since(request.at);
        let late = spent.saturating_sub(delay);
        // The clock may have been set meanwhile.
        if delay.is_zero() || late.is_zero() || late > LATE {
            return delay;
        }
        let times = late.as_nanos().div_ceil(SCHEDULE.as_nanos());
        delay + SCHEDULE * u32::try_from(times).unwrap_or(0)
    }
}

impl LoginRequest<'_> {
    /// Whose share of the places for hashing it takes.
    pub(crate) fn holder(&self) -> hashing::Holder {
        hashing::Holder::of(self.source, &self.client.name)
    }

    /// Whether a login begins in which nothing was typed yet: how everybody is then asked. What is asked
    /// for follows from the policy alone, since who is a user must not be learned by it.
    pub(crate) fn opens(&self, policy: &Policy) -> Option<(Factor, bool)> {
        let begins = self.rounds && self.challenge.is_none() && self.presented.is_empty();
        policy.opening().filter(|_| begins)
    }
}

impl Login {
    /// Asks for the first factor in the words that everybody is asked with.
    fn asked_alike(&self, challenge: Challenged, opening: Option<(Factor, bool)>) -> Challenged {
        match opening {
            Some((factor, mixed)) if challenge.factor != Factor::Card => {
                let text = if mixed {
                    Text::AskFirst
                } else {
                    prompt::prompt(factor)
                };
                Challenged {
                    factor,
                    prompt: self.prompt(self.core.language(), text).into(),
                    ..challenge
                }
            }
            _ => challenge,
        }
    }
}

pub(crate) fn facts<'a>(request: &LoginRequest<'a>, view: &'a View, at: UnixTime) -> Facts<'a> {
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
    request: &LoginRequest<'_>,
    policy: &Policy,
    progress: &Progress<'_>,
    serial: Option<Serial>,
) -> Accepted {
    let Progress { rule, view, .. } = progress;
    let token = serial.as_ref().map(Serial::as_str);
    Accepted {
        login: request.id,
        rule: Arc::clone(&rule.label),
        attributes: attributes(request, policy, rule, view, token),
        user: view.user.key.clone(),
        typed: progress.typed.clone(),
        held: held(progress),
        rests: rests((request.client, policy), progress, token),
        assurance: if progress.adds {
            assurance(&progress.factors, None)
        } else {
            1
        },
        serial,
    }
}

/// The tokens whose codes were right in earlier rounds.
fn earlier(progress: Option<&Progress<'_>>) -> Vec<Proven> {
    let held = progress.map(|progress| progress.held.clone());
    held.unwrap_or_default()
}

/// The tokens of earlier rounds as they are after the accept: a first right code has activated a pending one, which is a
/// change of its record.
fn held(progress: &Progress<'_>) -> Vec<Proven> {
    let held = progress.held.iter();
    held.map(|one| Proven {
        revision: one.revision + u64::from(one.first),
        ..one.clone()
    })
    .collect()
}

/// What an accept by this token rests on; `None`: no code was used, or a waiver was, which is judged each time.
fn rests(
    decided: (&Client, &Policy),
    progress: &Progress<'_>,
    token: Option<&str>,
) -> Option<Rests> {
    let Progress { view, .. } = progress;
    let revision = match token {
        Some(token) => {
            let mut tokens = view.tokens.iter().map(|(token, _)| token);
            let used = tokens.find(|one| one.serial.as_str() == token)?;
            // Its first code has activated a pending one, which is a change of the record.
            used.revision + u64::from(used.state != LifeCycle::Active)
        }
        None if progress.held.is_empty() => return None,
        // The codes came in earlier rounds.
        None => 0,
    };
    let other = (progress.credentials.revision, revision, progress.outage);
    (!progress.leaves_out).then(|| Rests::of(decided, view, other))
}

/// The reply attributes of an accept by this rule with this token.
pub(crate) fn attributes(
    request: &LoginRequest<'_>,
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

/// The times at which late answers leave.
const SCHEDULE: Duration = Duration::from_millis(250);
/// How late an answer can be.
const LATE: Duration = Duration::from_secs(10);
/// The context key by which an application asks for more than the rule does.
pub const MIN_ASSURANCE: &str = "min_assurance";
