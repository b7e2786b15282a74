//! From a request to the evidence: who is it, what is asked for, and is what was presented right?
//!
//! Nothing is decided here: the store settles the evidence against the newest state.
//!
//! Threats: a miss does the work of a hit (dummy comparisons, as many hashes as any wrong answer), and every reject
//! leaves at the same time after arrival; a first factor is not looked at when the second could never follow, so
//! that passwords of users without a token cannot be tried.

use std::borrow::Cow;

use crate::core::CoreError;
use crate::login::Login;
use crate::login::candidates::{Slot, is_other};
use crate::login::case::Case;
use crate::login::challenge::{Factors, Opened, Stage};
use crate::login::demand::{Demand, remaining, slots_left, success};
use crate::login::hashing::Place;
use crate::login::opened::{began_at, other_rule};
use crate::login::read::{Read, Refusal};
use crate::login::response::Told;
use crate::login::round::{Round, is_match};
use crate::login::ticket::{self, Ticket};
use crate::login::{LoginRequest, Presented, Response, facts, match_otp};
use crate::model::attempt::{Compared, Comparison, Evidence, Note, Proven, Waived};
use crate::model::credential::{Credentials, Knowledge};
use crate::model::id::Serial;
use crate::model::kind::Kind;
use crate::model::method::is_taken;
use crate::model::reason::Reason;
use crate::model::source::Source;
use crate::model::user_key::UserKey;
use crate::model::user_state::Answered;
use crate::otp::throttle::Blocked;
use crate::otp::{Code, yubikey};
use crate::policy::{Factor, Policy, Present, Rule, adds};
use crate::secret::SecretString;
use crate::store::View;
use crate::time::UnixTime;

/// What was found of a request, and what an answer to it is made of.
pub(crate) struct Assessment<'p> {
    pub(crate) evidence: Evidence,
    /// Who is meant, where the name that was sent is an alias.
    pub(crate) of_alias: Option<String>,
    /// The rule that applies, and the exception in force, when it came so far.
    pub(crate) rule: Option<&'p Rule>,
    pub(crate) waived: Option<Waived>,
    /// What the audit says beside the reason.
    pub(crate) note: Note,
    /// The known source that the login began at, where this request names none.
    pub(crate) began_at: Option<Source>,
    /// Where the login stands; `None`: nothing was compared.
    pub(crate) progress: Option<Box<Progress<'p>>>,
}

impl Assessment<'_> {
    /// Enters whether only a code was asked for: what is refused then is no guess.
    pub(crate) fn wished(&mut self, wish: bool) {
        if let Evidence::Missed { typed, .. } = &mut self.evidence {
            *typed = !wish;
        }
    }
}

impl Refusal {
    fn by(self, rule: Option<&Rule>) -> Assessment<'_> {
        Assessment {
            evidence: Evidence::Refused(self.reason),
            of_alias: None,
            rule,
            waived: self.waived,
            note: Note {
                always: self.detail,
                ..Note::default()
            },
            began_at: None,
            progress: None,
        }
    }
}

/// Where a login stands when all that was compared is right.
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own
pub(crate) struct Progress<'p> {
    pub(crate) rule: &'p Rule,
    pub(crate) view: Box<View>,
    /// What must be presented in all, without what is waived.
    pub(crate) factors: Cow<'p, [Factor]>,
    /// Whether something of the rule is waived.
    pub(crate) leaves_out: bool,
    /// Whether it was looked at under a declared outage.
    pub(crate) outage: bool,
    /// What is right when this round is.
    pub(crate) passed: Factors,
    pub(crate) next: Option<Factor>,
    /// What is sent, or drawn from the card, with the challenge.
    pub(crate) send: Option<Factor>,
    /// Whether the held factor was answered on another channel.
    pub(crate) elsewhere: bool,
    /// Whether a held factor that is right adds to what is known, of this round once it is entered.
    pub(crate) adds: bool,
    /// The tokens whose codes were right in earlier rounds, and in this one once it is entered, in the order of
    /// their serials.
    pub(crate) held: Vec<Proven>,
    /// Assurance that was asked for when the login began.
    pub(crate) least: u8,
    /// How it came to its next challenge.
    pub(crate) stage: Stage,
    pub(crate) credentials: Credentials,
    /// What made the response that was presented.
    pub(crate) typed: Option<SecretString>,
    /// Right texts whose hashes would be made another way today.
    pub(crate) outdated: Vec<(Knowledge, SecretString)>,
}

impl Progress<'_> {
    /// Enters the token whose code was right in this round.
    pub(crate) fn enter(&mut self, serial: Option<&Serial>) {
        let mut tokens = self.view.tokens.iter().map(|(token, _)| token);
        let Some(token) = tokens.find(|token| Some(&token.serial) == serial) else {
            return;
        };
        self.adds |= !self.elsewhere && adds(token.kind);
        // Where nothing follows, nothing is sealed.
        let known = self.held.iter().any(|held| held.serial == token.serial);
        if self.next.is_some() && !known {
            self.held.push(Proven::of(token));
            self.held
                .sort_unstable_by(|one, other| one.serial.cmp(&other.serial));
        }
    }

    /// What the user knows, of what is right when this round is.
    pub(crate) fn proven(&self) -> Vec<Knowledge> {
        let passed = self.factors.iter().copied();
        passed
            .filter(|factor| self.passed.contains(*factor))
            .filter_map(Factor::knowledge)
            .collect()
    }
}

/// What was looked at in this round, and what follows it.
struct Step {
    codes: Option<Vec<Comparison>>,
    knowledge: Vec<(Knowledge, bool)>,
    credentials_read: bool,
    outdated: Vec<(Knowledge, SecretString)>,
    elsewhere: bool,
    left_out: Option<String>,
    passed: Factors,
    next: Option<Factor>,
    send: Option<Factor>,
    stage: Stage,
    answers: Option<Answered>,
}

impl Step {
    fn assessed<'p>(
        self,
        case: Case<'_, 'p>,
        (view, opened): (Box<View>, Option<&Opened>),
        credentials: Credentials,
        demand: Demand<'p>,
    ) -> Assessment<'p> {
        let compared = Compared {
            user: view.user.key.clone(),
            generation: view.generation,
            revision: view.user.revision,
            credentials: self.credentials_read.then_some(credentials.revision),
            knowledge: self.knowledge,
            tokens: self.codes,
            success: success(&demand.factors, self.next, &credentials),
            answers: self.answers,
        };
        let waived = demand.waived;
        let progress = Progress {
            rule: case.rule,
            view,
            factors: demand.factors,
            outage: demand.outage,
            leaves_out: waived.as_ref().is_some_and(|one| one.reason.is_some()),
            passed: self.passed,
            next: self.next,
            send: self.send,
            elsewhere: self.elsewhere,
            adds: opened.is_some_and(|one| one.inside.adds),
            held: opened.map(|one| one.held.clone()).unwrap_or_default(),
            least: case.least().unwrap_or_default(),
            stage: self.stage,
            credentials,
            typed: None,
            outdated: self.outdated,
        };
        Assessment {
            evidence: Evidence::Compared(compared),
            of_alias: None,
            rule: Some(case.rule),
            waived,
            note: Note {
                accept: self.left_out,
                ..Note::default()
            },
            began_at: None,
            progress: Some(Box::new(progress)),
        }
    }
}

impl Login {
    /// Reads the user and compares what was presented.
    pub(crate) async fn assess<'p>(
        &self,
        request: &LoginRequest<'_>,
        policy: &'p Policy,
        key: Option<&UserKey>,
        (at, place): (UnixTime, Option<&Place>),
    ) -> Result<Assessment<'p>, CoreError> {
        // Counted anew where a view had gone stale.
        if let Some(place) = place {
            place.begin();
        }
        let assessed = self.assess_name(request, policy, key, (at, place)).await?;
        // Here the cause is known; the store only sees that it is late.
        let hashed = place.is_some_and(|place| place.made() > 0);
        if hashed && self.core.now() > request.deadline {
            return Err(CoreError::Late);
        }
        Ok(assessed)
    }

    /// The same, for whatever name was sent.
    async fn assess_name<'p>(
        &self,
        request: &LoginRequest<'_>,
        policy: &'p Policy,
        key: Option<&UserKey>,
        (at, place): (UnixTime, Option<&Place>),
    ) -> Result<Assessment<'p>, CoreError> {
        if let Err(refusal) = unread(request, policy, key) {
            return Ok(refusal.by(None));
        }
        let view = match key {
            Some(key) => self.core.store.view_by_name(key)?,
            None => None,
        };
        // No alias leads out of the client's realm.
        let view = view.filter(|view| request.client.is_of_realm(&view.user.key));
        let Some(view) = view else {
            let case = (request, policy, at);
            let refusal = Reason::UnknownUser.into();
            return Box::pin(self.miss(case, None, refusal, place)).await;
        };
        let of_alias = Some(&view.user.key).filter(|found| Some(*found) != key);
        let of_alias = of_alias.map(UserKey::joined);
        let assessed = self.assess_user(request, policy, Box::new(view), (at, place));
        Ok(Assessment {
            of_alias,
            ..assessed.await?
        })
    }

    /// The same of a user who is there.
    async fn assess_user<'p>(
        &self,
        request: &LoginRequest<'_>,
        policy: &'p Policy,
        view: Box<View>,
        (at, place): (UnixTime, Option<&Place>),
    ) -> Result<Assessment<'p>, CoreError> {
        let missed = |rule: Option<&'p Rule>, refusal: Refusal| {
            // Apart from the futures of logins that succeed, which are moved about: they are to be small.
            Box::pin(self.miss((request, policy, at), rule, refusal, place))
        };
        if view.user.disabled {
            return missed(None, Reason::UserDisabled.into()).await;
        }
        let by_request = policy.decide(&facts(request, &view, at)).rule();
        let opened = match self.opened(request, policy, by_request, &view, at)? {
            Ok(opened) => opened,
            Err(detail) => {
                let refusal = Refusal::new(Reason::StaleChallenge, None, Some(detail));
                return missed(by_request, refusal).await;
            }
        };
        let (opened, began) = opened.unzip();
        let Some(rule) = began.or(by_request) else {
            return missed(None, Reason::NoRule.into()).await;
        };
        let opened = opened.as_ref();
        let inside = opened.map(|opened| opened.inside).unwrap_or_default();
        let began_at = began_at(request, &view, inside);
        let request = &LoginRequest {
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
        let detail = other_rule(rule, by_request);
        match self.compare_told(case, view, opened, place).await? {
            Ok(mut assessment) => {
                // Who has proven something before knows that there is such a user.
                let unproven = inside.passed.is_empty() && !is_right(&assessment.evidence);
                if place.is_some() && unproven {
                    let view = assessment.progress.as_ref().map(|one| &one.view);
                    let blocked = view.map(|view| self.unblocked(case, view)).transpose()?;
                    let blocked = blocked.is_some_and(|open| open.is_err());
                    Box::pin(self.spend_rest(request, policy, (place, blocked))).await?;
                }
                assessment.began_at = began_at;
                assessment.note.always = detail;
                Ok(assessment)
            }
            Err(mut refusal) => {
                refusal.detail = refusal.detail.or(detail);
                let case = (request, policy, at);
                Box::pin(self.miss(case, Some(rule), refusal, place)).await
            }
        }
    }

    /// As [`Login::compare`], once it is told what made a response.
    async fn compare_told<'p>(
        &self,
        case: Case<'_, 'p>,
        view: Box<View>,
        opened: Option<&Opened>,
        place: Option<&Place>,
    ) -> Result<Result<Assessment<'p>, Refusal>, CoreError> {
        let Presented::Response(Some(response)) = case.request.presented else {
            return self.compare(case, view, opened, place).await;
        };
        let told = match self.told(case, response, &view, opened)? {
            Ok(told) => told,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let request = &LoginRequest {
            presented: Presented::Passcode(&told.text),
            ..*case.request
        };
        let case = Case { request, ..case };
        let mut compared = Box::pin(self.compare(case, view, opened, place)).await?;
        if let Ok(assessment) = &mut compared
            && let Some(progress) = &mut assessment.progress
        {
            progress.typed = told.made.then(|| told.text.clone());
        }
        Ok(compared)
    }

    /// The text that made a response; see [`crate::login::response`].
    fn told(
        &self,
        case: Case<'_, '_>,
        response: &dyn Response,
        view: &View,
        opened: Option<&Opened>,
    ) -> Result<Result<Told, Refusal>, CoreError> {
        let credentials = self.bound_to(case.rule, view)?;
        let passed = opened.map_or_else(Factors::default, |one| one.inside.passed);
        let outage = self.relief(case.rule, case.at)?;
        let demand = self.demand(case, view, passed, &credentials, outage.as_ref());
        // What the user could never prove is refused where it is compared.
        let Ok(slots) = slots_left(case, view, &credentials, &demand, opened) else {
            return Ok(Ok(Told::nothing()));
        };
        let remaining = remaining(&demand.factors, passed);
        let held = remaining.iter().find(|factor| !factor.is_knowledge());
        let slot = slots.iter().find(|slot| Some(&slot.factor) == held);
        let answering = opened.is_some_and(|one| one.inside.stage != Stage::Opening);
        let asked = (&*remaining, case.form(answering));
        Ok(case.told(response, &credentials, asked, slot))
    }

    async fn compare<'p>(
        &self,
        case: Case<'_, 'p>,
        view: Box<View>,
        opened: Option<&Opened>,
        place: Option<&Place>,
    ) -> Result<Result<Assessment<'p>, Refusal>, CoreError> {
        let credentials = self.bound_to(case.rule, &view)?;
        let passed = opened.map_or_else(Factors::default, |one| one.inside.passed);
        let outage = self.relief(case.rule, case.at)?;
        let demand = self.demand(case, &view, passed, &credentials, outage.as_ref());
        let refused = |reason| Ok(Err(Refusal::new(reason, demand.waived.clone(), None)));
        let slots = match slots_left(case, &view, &credentials, &demand, opened) {
            Ok(slots) => slots,
            Err(reason) => return refused(reason),
        };
        let remaining = remaining(&demand.factors, passed);
        let held = remaining.iter().find(|factor| !factor.is_knowledge());
        let slot = slots.iter().find(|slot| Some(&slot.factor) == held);
        let ticket = self.ticket(case);
        let read = case.read(
            (&view, &credentials, &demand),
            (&remaining, slot),
            opened,
            ticket.as_ref(),
        );
        let mut read = match read {
            Ok(read) => read,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut outdated = Vec::new();
        let known = self.proves(
            (case, &view),
            &credentials,
            &read.round,
            &mut outdated,
            (read.codes.as_deref(), place),
        );
        let mut knowledge = match known.await? {
            Ok(knowledge) => knowledge,
            Err(reason) => return refused(reason),
        };
        if knowledge.iter().any(|(_, right)| !right) {
            let this = (&read.round, &*remaining);
            let held = (slot, place);
            let again = self.read_again((case, &view), &credentials, this, held, &mut outdated);
            if let Some(again) = Box::pin(again).await? {
                (read.round, knowledge, read.codes) = again;
            }
        }
        let opens = case.request.opens(case.policy).is_some();
        let Read { round, codes, .. } = read;
        let answers = opened.filter(|one| !round.asked.is_empty() || !one.inside.passed.is_empty());
        let step = Step {
            codes,
            elsewhere: read.elsewhere,
            left_out: read.left_out,
            credentials_read: !knowledge.is_empty() || opened.is_some(),
            knowledge,
            outdated,
            passed: round.asked.iter().fold(passed, |set, one| set.with(*one)),
            next: round.next,
            send: sends(case.rule, &round, &slots, opens),
            stage: if opens { Stage::Opening } else { Stage::Round },
            // A keyword alone answers nothing and fills no memory; but what was proven before serves for one login.
            answers: answers.map(|opened| case.answer(opened, ticket.as_ref())),
        };
        drop((slots, remaining));
        Ok(Ok(step.assessed(case, (view, opened), credentials, demand)))
    }

    /// The code, made on the other channel, that this challenge was begun with.
    fn ticket(&self, case: Case<'_, '_>) -> Option<Ticket> {
        let text = case.request.challenge?;
        ticket::open_ticket(&self.challenge_key, &case.request.client.name, text)
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

    /// Whether too many attempts failed from there, over all users.
    pub(crate) fn source_blocked(
        &self,
        policy: &Policy,
        source: Option<Source>,
        at: UnixTime,
    ) -> Result<bool, CoreError> {
        let limited = policy.lockout.source_lock_after > 0;
        match source.filter(|_| limited) {
            Some(source) => {
                let state = self.core.store.source(source)?;
                Ok(state.throttle.check(at).is_err())
            }
            None => Ok(false),
        }
    }

    /// A refusal, after about the work that a comparison would have been.
    async fn miss<'p>(
        &self,
        (request, policy, at): (&LoginRequest<'_>, &'p Policy, UnixTime),
        rule: Option<&'p Rule>,
        refusal: Refusal,
        place: Option<&Place>,
    ) -> Result<Assessment<'p>, CoreError> {
        let source = request.source.map(Source::from);
        let reason = refusal.reason;
        // For a blocked user nothing is hashed, since the pool is shared; the answer waits as long.
        let blocked = match reason {
            Reason::Locked | Reason::Throttled | Reason::SourceBlocked => true,
            reason if reason.is_guess() => self.source_blocked(policy, source, at)?,
            _ => false,
        };
        let typical = rule.or_else(|| policy.rules.first());
        // Where nothing was typed, nothing is compared for users either.
        if let Some(typical) = typical.filter(|_| request.opens(policy).is_none()) {
            let asked = match typical.present {
                Present::Joined => typical.require.as_slice(),
                Present::Challenge | Present::Either => {
                    typical.require.get(..1).unwrap_or_default()
                }
            };
            for _ in asked.iter().filter(|factor| !factor.is_knowledge()) {
                match_otp::compare_with_nothing(at);
            }
        }
        self.spend_rest(request, policy, (place, blocked)).await?;
        Ok(Assessment {
            evidence: Evidence::Missed {
                reason,
                typed: true,
            },
            ..refusal.by(rule)
        })
    }
}

/// Whether something was presented, and all of it is right as far as comparing tells.
fn is_right(evidence: &Evidence) -> bool {
    let Evidence::Compared(compared) = evidence else {
        return false;
    };
    let presented = compared.tokens.is_some() || !compared.knowledge.is_empty();
    let known = compared.knowledge.iter().all(|(_, right)| *right);
    presented && known && compared.tokens.as_deref().is_none_or(is_match)
}

/// Why a request is refused before anything is looked up.
fn unread(
    request: &LoginRequest<'_>,
    policy: &Policy,
    key: Option<&UserKey>,
) -> Result<(), Refusal> {
    if !(is_taken(request.method) && request.client.takes(request.method)) {
        let detail = Some(request.presented_by());
        return Err(Refusal::new(Reason::MethodNotAllowed, None, detail));
    }
    // The code's form is checked before anything is looked up (contract s7).
    let only = policy.only_otp();
    let sole = request.presented.sole_code(only);
    // Letters are a code only where the policy takes those of yubikeys.
    let is_code = |code: &str| {
        let yubikeys = policy.otp.kinds.contains(&Kind::Yubikey);
        Code::parse(code).is_ok() || (yubikeys && yubikey::is_otp(code))
    };
    let malformed = sole.is_some_and(|code| !is_code(code) && (only || !is_other(code)));
    let answered = request
        .challenge
        .is_some_and(|id| id.contains(ticket::TICKET));
    let empty = request.presented.is_empty() && !answered;
    if (malformed || empty) && request.opens(policy).is_none() {
        return Err(Reason::MalformedCode.into());
    }
    let realm = request.client.realm.as_ref();
    match (key, realm) {
        (Some(key), Some(realm)) if realm != key.realm() => Err(Reason::OtherRealm.into()),
        _ => Ok(()),
    }
}

/// What is sent, or drawn from the card, for the round that follows.
fn sends(rule: &Rule, round: &Round<'_>, slots: &[Slot<'_>], opens: bool) -> Option<Factor> {
    let mut slots = slots.iter();
    let of_next = slots.find(|slot| Some(slot.factor) == round.next);
    // Where everything is typed at once, nothing is sent before something was typed.
    let unasked = opens && rule.present == Present::Joined;
    let asks = of_next.filter(|_| !unasked).and_then(Slot::asks);
    round.keyword.or(asks)
}
