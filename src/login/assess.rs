//! From a request to a finding: who is it, what is asked for, and is what was presented right?
//!
//! Nothing is decided here. What is found is settled by the store against the newest state.
//!
//! Threats: a miss does about the work of a hit (dummy comparisons), and every reject leaves at the
//! same time after arrival; a first factor is not looked at when the second could never follow, so
//! that nobody can try passwords of users without a token.

use std::borrow::Cow;

use crate::core::CoreError;
use crate::login::Login;
use crate::login::candidates::{Slot, is_other};
use crate::login::challenge::{Factors, Opened, Stage, Ticket};
use crate::login::hashing::Place;
use crate::login::opened::{began_at, other_rule};
use crate::login::round::Round;
use crate::login::{Presented, Request, challenge, facts, match_otp};
use crate::model::attempt::{Compared, Comparison, Finding, Success, Waived};
use crate::model::credential::{Credentials, Knowledge};
use crate::model::reason::Reason;
use crate::model::source::Source;
use crate::model::user::Waiver;
use crate::model::user_key::UserKey;
use crate::otp::Code;
use crate::otp::throttle::Blocked;
use crate::policy::split::may_hold_code;
use crate::policy::{Factor, Policy, Present, Rule, assurance};
use crate::secret::SecretString;
use crate::store::View;
use crate::time::UnixTime;

/// What came of a request before it is settled.
pub(crate) enum Evaluated<'p> {
    /// Nothing was compared.
    Refused {
        reason: Reason,
        /// The rule that applies, and the exception in force, when it came so far.
        rule: Option<&'p Rule>,
        waived: Option<Waived>,
        /// What the audit says beside the reason.
        detail: Option<String>,
    },
    /// Something was.
    Compared(Finding, Box<Evaluation<'p>>),
}

impl From<Reason> for Evaluated<'_> {
    fn from(reason: Reason) -> Self {
        Self::Refused {
            reason,
            rule: None,
            waived: None,
            detail: None,
        }
    }
}

/// Why nothing was compared, and the exception that was in force.
struct Refusal {
    reason: Reason,
    waived: Option<Waived>,
    detail: Option<String>,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            waived: None,
            detail: None,
        }
    }
}

impl Refusal {
    /// An answer on another channel proves too little.
    fn little(waived: Option<Waived>) -> Self {
        Self {
            reason: Reason::LowAssurance,
            waived,
            detail: Some(LITTLE.to_owned()),
        }
    }

    /// The reply could not be sent.
    const fn unsent(waived: Option<Waived>, detail: String) -> Self {
        Self {
            reason: Reason::ReplyTooLong,
            waived,
            detail: Some(detail),
        }
    }
}

/// What an answer is made of.
pub(crate) struct Evaluation<'p> {
    pub(crate) rule: &'p Rule,
    pub(crate) view: View,
    /// What must be presented in all, without what is waived.
    pub(crate) factors: Cow<'p, [Factor]>,
    pub(crate) waived: Option<Waived>,
    /// What is right when this round is.
    pub(crate) passed: Factors,
    pub(crate) next: Option<Factor>,
    /// What is sent, or drawn from the card, with the challenge.
    pub(crate) send: Option<Factor>,
    /// Whether the held factor was answered on another channel.
    pub(crate) elsewhere: bool,
    /// What will be left out of the reply, and why.
    pub(crate) left_out: Option<String>,
    /// Assurance that was asked for when the login began.
    pub(crate) least: u8,
    /// How it came to its next challenge.
    pub(crate) stage: Stage,
    /// The known source that it began at, where this request names none.
    pub(crate) began_at: Option<Source>,
    /// What the audit says beside the reason.
    pub(crate) detail: Option<String>,
    pub(crate) credentials: Credentials,
    /// Right texts whose hashes would be made another way today.
    pub(crate) outdated: Vec<(Knowledge, SecretString)>,
}

impl Evaluation<'_> {
    /// Whether something of the rule was not asked for.
    pub(crate) fn leaves_out(&self) -> bool {
        let waived = self.waived.as_ref();
        waived.is_some_and(|waived| waived.reason.is_some())
    }

    /// What the user knows, of what is right when this round is.
    pub(crate) fn proven(&self) -> Vec<Knowledge> {
        let passed = self.factors.iter().copied();
        passed
            .filter(|factor| self.passed.contains(*factor))
            .filter_map(knowledge_of)
            .collect()
    }
}

/// One request by one rule at one time.
#[derive(Clone, Copy)]
pub(crate) struct Case<'r, 'p> {
    pub(crate) request: &'r Request<'r>,
    pub(crate) policy: &'p Policy,
    pub(crate) rule: &'p Rule,
    pub(crate) at: UnixTime,
    /// Assurance that was asked for when the login began.
    pub(crate) least: u8,
}

/// What is answered.
#[derive(Clone, Copy)]
pub(crate) struct Answering {
    /// A challenge of ours.
    pub(crate) challenge: bool,
    /// One that names a code, which may have been answered on another channel.
    pub(crate) elsewhere: bool,
}

/// What is asked for in all the rounds, and why something of the rule is not.
pub(crate) struct Demand<'p> {
    pub(crate) factors: Cow<'p, [Factor]>,
    pub(crate) waived: Option<Waived>,
    /// Whether an outage is declared that this rule knows.
    pub(crate) outage: bool,
}

/// What is sent, or drawn from the card, for the round that follows.
fn sends(rule: &Rule, round: &Round<'_>, slots: &[Slot<'_>], opens: bool) -> Option<Factor> {
    let mut slots = slots.iter();
    let of_next = slots.find(|slot| Some(slot.factor) == round.next);
    // Who typed nothing is sent nothing where everything is typed at once.
    let unasked = opens && rule.present == Present::Joined;
    let asks = of_next.filter(|_| !unasked).and_then(Slot::asks);
    round.keyword.or(asks)
}

/// A box read another way: the round, what the user knows of it, the codes compared.
type Reread<'a> = (Round<'a>, Vec<(Knowledge, bool)>, Option<Vec<Comparison>>);

impl Login {
    pub(crate) async fn evaluate<'p>(
        &self,
        request: &Request<'_>,
        policy: &'p Policy,
        key: Option<&UserKey>,
        (at, place): (UnixTime, Option<&Place>),
    ) -> Result<Evaluated<'p>, CoreError> {
        if !TAKEN.contains(&request.method) {
            return Ok(Evaluated::Refused {
                reason: Reason::MethodNotAllowed,
                rule: None,
                waived: None,
                detail: Some(presented_by(request.method)),
            });
        }
        let opens = request.opens(policy).is_some();
        // The code's form is checked before anything is looked up (contract s7).
        let sole = request.presented.sole_code(policy.only_otp());
        let only = policy.only_otp();
        let malformed =
            sole.is_some_and(|code| Code::parse(code).is_err() && (only || !is_other(code)));
        let answered = request
            .challenge
            .is_some_and(|id| id.contains(challenge::TICKET));
        if !opens && (malformed || (request.presented.is_empty() && !answered)) {
            return Ok(Reason::MalformedCode.into());
        }
        let realm = request.client.realm.as_ref();
        if let (Some(key), Some(realm)) = (key, realm)
            && realm != key.realm()
        {
            return Ok(Reason::OtherRealm.into());
        }
        let view = match key {
            Some(key) => self.core.store.view(key)?,
            None => None,
        };
        let missed = |reason: Reason| {
            let case = (request, policy, at);
            self.miss(case, None, reason.into(), place)
        };
        let Some(view) = view else {
            return missed(Reason::UnknownUser).await;
        };
        if view.user.disabled {
            return missed(Reason::UserDisabled).await;
        }
        let by_request = policy.decide(&facts(request, &view, at)).rule();
        let opened = match self.opened(request, policy, by_request, &view, at)? {
            Ok(opened) => opened,
            Err(detail) => {
                let refusal = Refusal {
                    reason: Reason::StaleChallenge,
                    waived: None,
                    detail: Some(detail),
                };
                let case = (request, policy, at);
                return self.miss(case, by_request, refusal, place).await;
            }
        };
        let rule = match &opened {
            Some((_, rule)) => Some(*rule),
            None => by_request,
        };
        let Some(rule) = rule else {
            return missed(Reason::NoRule).await;
        };
        let inside = opened.map(|(opened, _)| opened.inside).unwrap_or_default();
        let began_at = began_at(request, &view, inside);
        let request = &Request {
            source: request.source.or_else(|| began_at.map(Source::address)),
            ..*request
        };
        let case = Case {
            request,
            policy,
            rule,
            at,
            least: inside.least,
        };
        let mut detail = other_rule(rule, by_request);
        match self
            .compare(case, view, opened.map(|(opened, _)| opened), place)
            .await?
        {
            Ok((compared, mut evaluation)) => {
                evaluation.began_at = began_at;
                evaluation.detail = detail;
                let finding = Finding::Compared(compared);
                Ok(Evaluated::Compared(finding, evaluation))
            }
            Err(mut refusal) => {
                refusal.detail = refusal.detail.or_else(|| detail.take());
                let case = (request, policy, at);
                self.miss(case, Some(rule), refusal, place).await
            }
        }
    }

    async fn compare<'p>(
        &self,
        case: Case<'_, 'p>,
        view: View,
        opened: Option<Opened>,
        place: Option<&Place>,
    ) -> Result<Result<(Compared, Box<Evaluation<'p>>), Refusal>, CoreError> {
        let credentials = self.bound_to(case.rule, &view)?;
        let passed = opened.map(|opened| opened.inside.passed);
        let passed = passed.unwrap_or_default();
        let opens = case.request.opens(case.policy).is_some();
        let outage = self.relief(case.rule, case.at)?;
        let demand = self.demand(case, &view, passed, &credentials, outage.as_ref());
        let refused = |reason| {
            let (waived, detail) = (demand.waived.clone(), None);
            Ok(Err(Refusal {
                reason,
                waived,
                detail,
            }))
        };
        let slots = match slots(case, &view, &credentials, &demand) {
            Ok(slots) => slots,
            Err(reason) => return refused(reason),
        };
        let remaining = remaining(&demand.factors, passed);
        if remaining.is_empty() {
            // What was left was waived since: nobody comes in by an answer that nothing looks at.
            return refused(Reason::StaleChallenge);
        }
        let held = remaining.iter().find(|factor| !factor.is_knowledge());
        let slot = slots.iter().find(|slot| Some(&slot.factor) == held);
        let ticket = self.ticket(case);
        let answering = Answering {
            challenge: opened.is_some_and(|opened| opened.inside.stage != Stage::Opening),
            elsewhere: ticket.is_some(),
        };
        let round = if opens {
            Some(Round::opening(&remaining))
        } else {
            case.round(&remaining, answering, &credentials, slot)
        };
        let Some(mut round) = round else {
            return refused(Reason::MalformedCode);
        };
        // Without a ticket a code that is not there is missing, and called malformed below.
        let elsewhere = ticket.is_some() && round.held().is_some() && round.parts.code.is_none();
        if elsewhere && (demand.factors.len() < 2 || case.least().unwrap_or(u8::MAX) > 1) {
            // Two digits, and a sender that can be forged, prove little (capabilities D1).
            return Ok(Err(Refusal::little(demand.waived)));
        }
        // Before anything is consumed: what is decided must be what can be sent.
        let left_out = match case.carried(&view, &round, slot) {
            Ok(left_out) => left_out,
            Err(detail) => return Ok(Err(Refusal::unsent(demand.waived, detail))),
        };
        let mut comparisons = match case.codes(&round, slot, ticket.as_ref()) {
            Ok(comparisons) => comparisons,
            Err(reason) => return refused(reason),
        };
        let mut outdated = Vec::new();
        let known = self.proves((case, &view), &credentials, &round, &mut outdated, place);
        let mut knowledge = match known.await? {
            Ok(knowledge) => knowledge,
            Err(reason) => return refused(reason),
        };
        if knowledge.iter().any(|(_, right)| !right) {
            let this = (&round, &*remaining, opened.is_some());
            let held = (slot, place);
            let again = self.read_again((case, &view), &credentials, this, held, &mut outdated);
            if let Some(read) = again.await? {
                (round, knowledge, comparisons) = read;
            }
        }
        let (next, send) = (round.next, sends(case.rule, &round, &slots, opens));
        let passed = round.asked.iter().fold(passed, |set, one| set.with(*one));
        let compared = Compared {
            user: view.user.key.clone(),
            generation: view.generation,
            revision: view.user.revision,
            credentials: (!knowledge.is_empty() || opened.is_some())
                .then_some(credentials.revision),
            knowledge,
            tokens: comparisons,
            success: success(&demand.factors, next, &credentials),
            // A keyword alone answers nothing: remembering it would let anybody fill the memory.
            answers: opened
                .filter(|_| !round.asked.is_empty())
                .map(|opened| case.answer(opened)),
        };
        drop((slots, remaining));
        let evaluation = Box::new(Evaluation {
            rule: case.rule,
            view,
            factors: demand.factors,
            waived: demand.waived,
            passed,
            next,
            send,
            elsewhere,
            left_out,
            least: case.least().unwrap_or_default(),
            stage: if opens { Stage::Opening } else { Stage::Round },
            began_at: None,
            detail: None,
            credentials,
            outdated,
        });
        Ok(Ok((compared, evaluation)))
    }

    /// Looks at what the person knows, of what is asked for in this round.
    async fn proves(
        &self,
        (case, view): (Case<'_, '_>, &View),
        credentials: &Credentials,
        round: &Round<'_>,
        outdated: &mut Vec<(Knowledge, SecretString)>,
        place: Option<&Place>,
    ) -> Result<Result<Vec<(Knowledge, bool)>, Reason>, CoreError> {
        let mut knowledge = Vec::new();
        for which in round.asked.iter().copied().filter_map(knowledge_of) {
            // Whoever is blocked gets no hashing done; the store would not look at it either.
            if knowledge.is_empty()
                && let Err(reason) = self.unblocked(case, view)?
            {
                return Ok(Err(reason));
            }
            let text = match which {
                Knowledge::Pin => round.parts.pin,
                Knowledge::Password => round.parts.password,
            };
            let right = self
                .knows(credentials, (which, text), outdated, place)
                .await?;
            knowledge.push((which, right));
        }
        Ok(Ok(knowledge))
    }

    /// The verifiers that a login by this rule is bound to: none where it asks for nothing known.
    pub(crate) fn bound_to(&self, rule: &Rule, view: &View) -> Result<Credentials, CoreError> {
        if rule.require.iter().any(|factor| factor.is_knowledge()) {
            Ok(self.core.store.credentials(&view.user.key)?)
        } else {
            Ok(Credentials::default())
        }
    }

    /// What must be presented, in all rounds together.
    pub(crate) fn demand<'p>(
        &self,
        case: Case<'_, 'p>,
        view: &View,
        passed: Factors,
        credentials: &Credentials,
        outage: Option<&Waiver>,
    ) -> Demand<'p> {
        let Case {
            request,
            policy,
            rule,
            at,
            ..
        } = case;
        let user = &view.user;
        let bypass = user.bypass.as_ref();
        let bypass = bypass.filter(|bypass| policy.bypass && bypass.holds(at));
        let exemption = user.exemption.as_ref().filter(|exemption| {
            let travel = self.travel.load();
            !rule.exempt.is_empty()
                && exemption.holds(at)
                && travel.departed(&user.key, at)
                && travel.abroad(&policy.exemption, request.source)
        });
        let (waiver, word, reason) = match (bypass, exemption) {
            (Some(bypass), _) => (bypass, "bypass", Reason::BypassOk),
            (None, Some(exemption)) => (exemption, "exemption", Reason::ExemptOk),
            (None, None) => {
                let waived = outage.map(|outage| Waived {
                    reason: None,
                    text: waiver_text("outage", outage),
                });
                return Demand {
                    factors: Cow::Borrowed(&rule.require),
                    waived,
                    outage: outage.is_some(),
                };
            }
        };
        let left = |factor: &Factor| match reason {
            Reason::BypassOk => factor.is_knowledge(),
            _ => !rule.exempt.contains(factor),
        };
        let left: Vec<Factor> = rule.require.iter().copied().filter(left).collect();
        // Nobody comes in with nothing; and a right code that is presented all the same is used up.
        let waives_code = rule.slot().is_some_and(|held| !left.contains(&held));
        let applies = !left.is_empty()
            && left.len() < rule.require.len()
            && !(waives_code && case.presents_right_code(view, passed, credentials));
        Demand {
            factors: if applies {
                Cow::Owned(left)
            } else {
                Cow::Borrowed(&rule.require)
            },
            waived: Some(Waived {
                reason: applies.then_some(reason),
                text: waiver_text(word, waiver),
            }),
            outage: outage.is_some(),
        }
    }

    /// The code, made on the other channel, that this challenge was begun with.
    fn ticket(&self, case: Case<'_, '_>) -> Option<Ticket> {
        let text = case.request.challenge?;
        challenge::open_ticket(&self.challenge_key, &case.request.client.name, text)
    }

    /// The declared outage, where the rule has something for it.
    pub(crate) fn relief(&self, rule: &Rule, at: UnixTime) -> Result<Option<Waiver>, CoreError> {
        if rule.outage.is_none() {
            return Ok(None);
        }
        let declared = self.core.store.outage()?;
        Ok(declared.filter(|outage| outage.holds(at)))
    }

    /// Whether attempts of this user from there are evaluated at present.
    pub(crate) fn unblocked(
        &self,
        case: Case<'_, '_>,
        view: &View,
    ) -> Result<Result<(), Reason>, CoreError> {
        let (lockout, at) = (&case.policy.lockout, case.at);
        let source = case.request.source.map(Source::from);
        if let Err(blocked) = view.state.check(source, lockout, at) {
            return Ok(Err(match blocked {
                Blocked::Throttled { .. } => Reason::Throttled,
                Blocked::Locked { .. } => Reason::Locked,
            }));
        }
        if !view.state.knows(source) && self.source_blocked(case.policy, source, at)? {
            return Ok(Err(Reason::SourceBlocked));
        }
        Ok(Ok(()))
    }

    fn source_blocked(
        &self,
        policy: &Policy,
        source: Option<Source>,
        at: UnixTime,
    ) -> Result<bool, CoreError> {
        let limited = policy.lockout.source_lock_after > 0;
        match source.filter(|_| limited) {
            Some(source) => Ok(self.core.store.source(source)?.throttle.check(at).is_err()),
            None => Ok(false),
        }
    }

    /// The other reading of a box in which what the user knows was wrong, when by it only the code is:
    /// a wrong code in one box can look like a wrong password.
    async fn read_again<'a>(
        &self,
        (case, view): (Case<'_, '_>, &View),
        credentials: &Credentials,
        (round, remaining, answers): (&Round<'a>, &'a [Factor], bool),
        (slot, place): (Option<&Slot<'_>>, Option<&Place>),
        outdated: &mut Vec<(Knowledge, SecretString)>,
    ) -> Result<Option<Reread<'a>>, CoreError> {
        if let Some(other) = round.otherwise(remaining)
            && let Ok(compared) = case.codes(&other, slot, None)
        {
            let known = self.proves((case, view), credentials, &other, outdated, place);
            let read = known.await?.unwrap_or_default();
            let right = !read.is_empty() && read.iter().all(|(_, right)| *right);
            return Ok(right.then_some((other, read, compared)));
        }
        if !answers {
            self.spend_on_other_reading(case.request, case.rule, (place, false))
                .await?;
        }
        Ok(None)
    }

    /// The work of a second reading of the box, where there is none: whether a user exists, and with
    /// which tokens, does not change how much is hashed.
    async fn spend_on_other_reading(
        &self,
        request: &Request<'_>,
        rule: &Rule,
        (place, blocked): (Option<&Place>, bool),
    ) -> Result<(), CoreError> {
        let Presented::Passcode(text) = request.presented else {
            return Ok(());
        };
        let codes = rule.require.iter().any(|factor| !factor.is_knowledge());
        if rule.present == Present::Either
            && request.rounds
            && codes
            && may_hold_code(text.expose())
        {
            let known = rule.require.iter().filter(|factor| factor.is_knowledge());
            for _ in known {
                self.spend(place, blocked).await?;
            }
        }
        Ok(())
    }

    /// A refusal, after about the work that a comparison would have been.
    async fn miss<'p>(
        &self,
        (request, policy, at): (&Request<'_>, &'p Policy, UnixTime),
        rule: Option<&'p Rule>,
        refusal: Refusal,
        place: Option<&Place>,
    ) -> Result<Evaluated<'p>, CoreError> {
        let Refusal {
            reason,
            waived,
            detail,
        } = refusal;
        let source = request.source.map(Source::from);
        // Whoever is blocked gets no hashing done, the pool is everybody's, but waits as long.
        let blocked = match reason {
            Reason::Locked | Reason::Throttled | Reason::SourceBlocked => true,
            _ if reason.is_guess() => self.source_blocked(policy, source, at)?,
            _ => false,
        };
        let typical = rule.or_else(|| policy.rules.first());
        if let Some(typical) = typical {
            let asked = match typical.present {
                Present::Joined => typical.require.as_slice(),
                Present::Challenge | Present::Either => {
                    typical.require.get(..1).unwrap_or_default()
                }
            };
            for factor in asked {
                if factor.is_knowledge() {
                    self.spend(place, blocked).await?;
                } else {
                    match_otp::compare_with_nothing(at);
                }
            }
            self.spend_on_other_reading(request, typical, (place, blocked))
                .await?;
        }
        Ok(Evaluated::Refused {
            reason,
            rule,
            waived,
            detail,
        })
    }
}

/// `bypass by uid 0 until 2026-01-01T00:00:00.000Z: telephone lost`
fn waiver_text(word: &str, waiver: &Waiver) -> String {
    let until = waiver.until.rfc3339();
    format!(
        "{word} by {} until {until}: {}",
        waiver.owner, waiver.reason
    )
}

/// The held factors with the tokens that count, if all that will be asked for is there and reaches the
/// assurance.
pub(crate) fn slots<'v>(
    case: Case<'_, '_>,
    view: &'v View,
    credentials: &Credentials,
    demand: &Demand<'_>,
) -> Result<Vec<Slot<'v>>, Reason> {
    let least = case.least()?;
    let held = demand
        .factors
        .iter()
        .filter(|factor| !factor.is_knowledge());
    let place = case.place(view, &demand.factors, least, demand.outage);
    let slots: Vec<Slot<'v>> = held
        .map(|factor| Slot::of(*factor, place))
        .collect::<Result<_, _>>()?;
    if slots.is_empty() && assurance(&demand.factors, None) < least {
        return Err(Reason::LowAssurance);
    }
    for factor in demand.factors.iter() {
        match factor {
            Factor::Pin if credentials.pin.is_none() => return Err(Reason::NoPin),
            Factor::Password if credentials.password.is_none() => return Err(Reason::NoPassword),
            _ => {}
        }
    }
    if case.request.challenge.is_some() && demand.factors.is_empty() {
        return Err(Reason::StaleChallenge);
    }
    Ok(slots)
}

/// What the audit says of a credential that is not looked at.
fn presented_by(method: &str) -> String {
    match method {
        "none" => "the request has no credential: no User-Password".to_owned(),
        "mixed" => {
            "the request has credentials of two methods, which RFC 2865 s4.1 forbids".to_owned()
        }
        method => format!("the credential came by {method}"),
    }
}

pub(crate) fn remaining(factors: &[Factor], passed: Factors) -> Cow<'_, [Factor]> {
    if passed.is_empty() {
        return Cow::Borrowed(factors);
    }
    let left = factors.iter().filter(|factor| !passed.contains(**factor));
    left.copied().collect()
}

pub(crate) fn success(
    factors: &[Factor],
    next: Option<Factor>,
    credentials: &Credentials,
) -> Success {
    let must_change = |which| {
        let verifier = credentials.get(which);
        verifier.is_some_and(|verifier| verifier.must_change)
    };
    if next.is_some() {
        Success::Challenge
    } else if factors
        .iter()
        .copied()
        .filter_map(knowledge_of)
        .any(must_change)
    {
        Success::MustChange
    } else {
        Success::Accept
    }
}

const fn knowledge_of(factor: Factor) -> Option<Knowledge> {
    match factor {
        Factor::Pin => Some(Knowledge::Pin),
        Factor::Password => Some(Knowledge::Password),
        _ => None,
    }
}

/// What the audit says of an answer on another channel that proves too little here.
const LITTLE: &str = "an answer on another channel counts only beside a second factor, and where no more \
                      than assurance 1 is demanded";
/// The methods that are taken, over RADIUS and HTTP.
const TAKEN: [&str; 2] = ["pap", "http"];
/// The context key by which an application asks for more than the rule does.
pub const MIN_ASSURANCE: &str = "min_assurance";
