//! The transition that consumes a code: what an attempt does to the state.
//!
//! Sources: RFC 4226 s7 (counter, throttling), RFC 6238 s5.2 (one-time rule) and s6 (drift).
//!
//! Evidence is a comparison of the code with a *view* of the user's tokens, and views go stale. The
//! store therefore calls [`settle`] with the newest state, one attempt after the other, and makes the
//! verdict durable before it is told:
//!
//! ```text
//! view --compare--> Attempt --settle(newest state)--> Verdict --commit--> accept / reject
//!   ^                                  |
//!   +------------- Stale --------------+   the window was computed from a moving factor that moved
//! ```
//!
//! Invariants:
//! - a step is accepted only above `Moving::last`, and `last` becomes that step;
//! - a blocked user, token or source learns nothing: the comparison is thrown away unread, so
//!   guesses that influence an answer never exceed the limit, however many are in flight
//!   (threats T9);
//! - the source counts what is refused to a blocked user as it counts any name, so that its count
//!   does not tell who is a user (threats T12);
//! - a right code is used up even when what came with it is wrong (threats T47), and a wrong PIN
//!   with a used code is a guess like any other;
//! - every purpose (login, confirm, resync) goes through here (threats T6, CVE-2019-12887).

use crate::model::attempt::{
    AtSource, Attempt, Compared, Comparison, Current, DriftRule, Evidence, Repeated, Stale,
    Success, Verdict,
};
use crate::model::audit::{Channel, Purpose};
use crate::model::credential::Knowledge;
use crate::model::id::Serial;
use crate::model::issue::{Issued, Sends};
use crate::model::kind::Kind;
use crate::model::locked::{locked_for_good, locks};
use crate::model::reason::{Decision, Reason};
use crate::model::token::{Moving, TokenState};
use crate::model::user_state::{Answered, UserState};
use crate::otp::throttle::Blocked;
use crate::otp::totp::TimeStep;
use crate::time::UnixTime;

/// Decides an attempt against the newest state.
pub fn settle(attempt: &Attempt, current: &Current) -> Result<Verdict, Stale> {
    let compared = match &attempt.evidence {
        Evidence::Refused(reason) => {
            return Ok(attempt.refused(*reason, reason.is_of_name(), current));
        }
        Evidence::Missed { reason, typed } => {
            return Ok(attempt.refused(*reason, *typed, current));
        }
        Evidence::Repeated(repeated) => return Ok(attempt.again(repeated, current)),
        Evidence::Compared(compared) => compared,
    };
    let user = &current.user;
    let refusal = |reason| Ok(attempt.refused(reason, compared.is_guess(), current));
    let source = attempt.source();
    if let Err(blocked) = user.check(source, &attempt.lockout, attempt.at) {
        return refusal(blocked_reason(blocked));
    }
    if !user.knows(source) && attempt.source_blocked(current) {
        return refusal(Reason::SourceBlocked);
    }
    let spent = |answer| user.has_answered(answer, attempt.at);
    if compared.answers.is_some_and(spent) {
        return refusal(Reason::StaleChallenge).map(|verdict| Verdict {
            note: Some(ANSWERED_BEFORE),
            ..verdict
        });
    }
    let code = match &compared.tokens {
        None => CodeFound::NotAsked,
        Some(tokens) => examine(tokens, current, attempt.at, user.knows(source)),
    };
    let wrong = compared.knowledge.iter().find(|(_, right)| !right);
    match (wrong, code) {
        (_, CodeFound::Blocked(reason)) => refusal(reason),
        (_, CodeFound::Moved) => Err(Stale),
        (None, CodeFound::NotAsked) => Ok(attempt.success(compared, None, current)),
        (None, CodeFound::Right(right)) => Ok(attempt.success(compared, Some(right), current)),
        (Some((which, _)), code) => {
            let reason = match which {
                Knowledge::Pin => Reason::WrongPin,
                Knowledge::Password => Reason::WrongPassword,
            };
            Ok(attempt.failure(reason, compared, code, current))
        }
        // Contract s7: the last accepted code again is a reject, not a failure. A NAS that caches
        // passwords would lock its own user out otherwise.
        (
            None,
            CodeFound::Used {
                token,
                step,
                replay: true,
            },
        ) => Ok(attempt.replay(compared, (token, step), current)),
        (None, code @ CodeFound::Used { .. }) => {
            Ok(attempt.failure(Reason::UsedCode, compared, code, current))
        }
        (None, code @ CodeFound::Wrong(_)) => {
            Ok(attempt.failure(Reason::WrongCode, compared, code, current))
        }
        (None, code @ CodeFound::Late) => {
            Ok(attempt.failure(Reason::ExpiredCode, compared, code, current))
        }
    }
}

/// A token, the step of its that may be consumed, and its present state.
type Right<'a> = (&'a Comparison, u64, TokenState);

/// What the newest states say about the code.
#[derive(Clone, Copy)]
enum CodeFound<'a> {
    NotAsked,
    /// An unused step of this token.
    Right(Right<'a>),
    /// A used one; `replay`: the last accepted.
    Used {
        token: &'a Comparison,
        step: u64,
        replay: bool,
    },
    /// None; with the token when it was the only one that was compared.
    Wrong(Option<(&'a Comparison, TokenState)>),
    /// An issued one that is void: too old, or answered wrong too often.
    Late,
    /// Every token is blocked: the comparison is not looked at.
    Blocked(Reason),
    /// The windows were computed from moving factors that have moved.
    Moved,
}

/// What all tokens together say about the code.
fn examine<'a>(
    tokens: &'a [Comparison],
    current: &Current,
    at: UnixTime,
    known: bool,
) -> CodeFound<'a> {
    let mut used = None;
    let mut blocked_token = None;
    let (mut moved, mut late) = (false, false);
    let mut open = 0_usize;
    let mut sole = None;
    for (index, token) in tokens.iter().enumerate() {
        let state = current.tokens.get(index).copied().unwrap_or_default();
        if let Some(blocked) = blocked(token, &state, at, known) {
            blocked_token = Some(blocked);
            continue;
        }
        open += 1;
        sole = Some((token, state));
        match of_token(token, state, at) {
            right @ CodeFound::Right(_) => return right,
            found @ CodeFound::Used { .. } => used = Some(found),
            CodeFound::Moved => moved = true,
            CodeFound::Late => late = true,
            CodeFound::NotAsked | CodeFound::Wrong(_) | CodeFound::Blocked(_) => {}
        }
    }
    if open == 0 {
        return CodeFound::Blocked(blocked_token.map_or(Reason::NoToken, blocked_reason));
    }
    match used {
        Some(used) => used,
        None if moved => CodeFound::Moved,
        None if late => CodeFound::Late,
        None => CodeFound::Wrong(sole.filter(|_| open == 1)),
    }
}

/// Why the comparison with a token is not looked at. From a known source no token is blocked: strangers'
/// guesses count against the token too, and would lock out whom the user's own counters let ask (threats
/// T11). Those hold the limit.
fn blocked(token: &Comparison, state: &TokenState, at: UnixTime, known: bool) -> Option<Blocked> {
    if !known && let Err(blocked) = state.throttle.check(at) {
        return Some(blocked);
    }
    let spent = state.issued.is_some_and(|drawn| drawn.is_spent());
    (token.kind == Kind::Card && spent).then_some(Blocked::Locked { until: None })
}

/// What the newest state of one token that is not blocked says about the code.
#[allow(clippy::large_types_passed_by_value)] // as below
fn of_token(token: &Comparison, state: TokenState, at: UnixTime) -> CodeFound<'_> {
    let last = state.moving.last;
    if token.kind.is_issued() {
        if token.issued.is_some() && token.issued != state.issued.map(|issued| issued.number) {
            return CodeFound::Moved;
        }
        let right = state
            .issued
            .filter(|issued| token.matches.contains(issued.number));
        if let Some(issued) = right.filter(|issued| issued.is_unused(last)) {
            return if issued.is_open(last, at) {
                CodeFound::Right((token, issued.number, state))
            } else {
                CodeFound::Late
            };
        }
    }
    let mut steps = token.matches.iter();
    let unused = match token.kind {
        Kind::Recovery => steps.find(|step| !state.used.contains(*step)),
        kind if kind.is_issued() => None,
        _ => steps.find(|step| state.moving.is_unused(*step)),
    };
    if let Some(step) = unused {
        return CodeFound::Right((token, step, state));
    }
    if let Some(step) = token.matches.iter().last() {
        let replay = last.is_some_and(|last| token.matches.contains(last));
        return CodeFound::Used {
            token,
            step,
            replay,
        };
    }
    let moved = state.moving.drift != token.seen.drift
        || (token.kind == Kind::Hotp && last != token.seen.last);
    if moved {
        CodeFound::Moved
    } else {
        CodeFound::Wrong(None)
    }
}

#[allow(clippy::large_types_passed_by_value)] // a token's state, copied a few times for each login
impl Attempt {
    /// All that was compared is right.
    fn success(&self, compared: &Compared, right: Option<Right<'_>>, current: &Current) -> Verdict {
        let mut user = current.user.clone();
        if let Some(answer) = compared.answers {
            // Only who asks over HTTP asks how a challenge stands.
            let told = self.channel == Channel::Http
                && compared.success != Success::MustChange
                && compared.is_guess();
            user = if told {
                user.answer_right(answer, self.at)
            } else {
                user.answer(answer, self.at)
            };
        }
        // A device that is bound has not logged anybody in.
        let accept = compared.success == Success::Accept && self.purpose != Purpose::Enrol;
        // A code that an administrator or operator presents is no login: it forgives nothing.
        let login = accept && self.channel != Channel::Admin;
        if login {
            user = user.spared(self.source(), &self.lockout, self.at);
        }
        // What the success forgives the user, it forgives the token too; not what a forgotten place adds.
        let before = current.user.throttle.failures;
        let forgiven = before.saturating_sub(user.throttle.failures);
        if login {
            user = user.known_at(self.source(), self.at);
        }
        let reason = match compared.success {
            Success::Challenge => Reason::Challenged,
            Success::MustChange => Reason::MustChange,
            Success::Answered => Reason::Answered,
            Success::Accept => self.accept_reason(compared, right),
        };
        let after = right.map(|right| match compared.success {
            Success::Answered => answered(right),
            _ => {
                let (serial, state) = self.consumed(right);
                let issued = right.0.kind.is_issued();
                let after = TokenState {
                    throttle: state.throttle.forgiven(forgiven, self.at),
                    round: compared.answers.filter(|_| issued).map(Answered::mark),
                    ..state
                };
                (serial, after)
            }
        });
        let (activates, note) = self.activates(compared, right).unzip();
        Verdict {
            decision: reason.decision(),
            reason,
            serial: right.map(|(token, ..)| token.serial.clone()),
            step: right.map(|(_, step, _)| step),
            failures: user.failures(),
            locked: false,
            tokens: after.into_iter().collect(),
            user: (user != current.user).then_some(user),
            source: accept.then_some(AtSource::Right),
            activates,
            note,
        }
    }

    /// The token that comes into use when all is proven, not before: its first right code is among what was
    /// compared, or came in an earlier round.
    fn activates(
        &self,
        compared: &Compared,
        right: Option<Right<'_>>,
    ) -> Option<(Serial, &'static str)> {
        let all = matches!(compared.success, Success::Accept | Success::MustChange);
        if !all || self.purpose != Purpose::Login {
            return None;
        }
        let here = right.filter(|(token, ..)| token.first);
        let here = here.map(|(token, ..)| (token.serial.clone(), FIRST_CODE));
        here.or_else(|| {
            let before = self.proven.iter().find(|proven| proven.first);
            before.map(|proven| (proven.serial.clone(), FIRST_ROUND))
        })
    }

    fn accept_reason(&self, compared: &Compared, right: Option<Right<'_>>) -> Reason {
        if let Some(reason) = self.waived.as_ref().and_then(|waived| waived.reason) {
            return reason;
        }
        match (right, compared.knowledge.last()) {
            (Some(_), _) if self.purpose == Purpose::Enrol => Reason::EnrolOk,
            (Some((token, ..)), _) => match token.kind {
                Kind::Totp | Kind::Push => Reason::TotpOk,
                Kind::Yubikey => Reason::YubikeyOk,
                Kind::Hotp => Reason::HotpOk,
                Kind::Server => Reason::ServerOk,
                Kind::Sms => Reason::SmsOk,
                Kind::Email => Reason::EmailOk,
                Kind::Voice => Reason::VoiceOk,
                Kind::Card => Reason::CardOk,
                Kind::Recovery => Reason::RecoveryOk,
            },
            (None, Some((Knowledge::Pin, _))) => Reason::PinOk,
            (None, _) => Reason::PasswordOk,
        }
    }

    /// The token after this step of it was used up.
    fn consumed(&self, (token, step, state): Right<'_>) -> (Serial, TokenState) {
        let drift = match token.drift {
            DriftRule::None => state.moving.drift,
            DriftRule::Learn(now) => state.moving.drift.learn(TimeStep::new(step), now),
            DriftRule::Fixed(drift) => drift,
        };
        let after = TokenState {
            moving: Moving {
                drift,
                ..state.moving.consumed(step)
            },
            last_accept: Some(self.at),
            used: if token.kind == Kind::Recovery {
                state.used.with(step)
            } else {
                state.used
            },
            // Anyone who came in may be sent the next code without the wait for the impatient.
            sends: Sends {
                streak: 0,
                ..state.sends
            },
            repaired: state
                .repaired
                .filter(|repaired| repaired.until.is_some() || self.purpose != Purpose::Resync),
            ..state
        };
        (token.serial.clone(), after)
    }

    /// A counted reject. The failure is the token's too when it was the only one tried: with
    /// several tokens no one can say which one the code was meant for, and counting all of them
    /// would lock the ones in the drawer (privacyIDEA #471). The user's counter holds the limit in
    /// either case.
    fn failure(
        &self,
        reason: Reason,
        compared: &Compared,
        code: CodeFound<'_>,
        current: &Current,
    ) -> Verdict {
        let mut user = current.user.clone();
        // A NAS gives a State back once.
        let goes_on = reason == Reason::WrongCode
            && self.channel == Channel::Http
            && compared.leaves_tries(current, self.at);
        if let Some(answer) = compared.answers.filter(|_| !goes_on) {
            user = user.answer(answer, self.at);
        }
        let user = user.failed(self.source(), &self.lockout, self.at);
        let mut verdict = Verdict {
            decision: Decision::Reject,
            reason,
            serial: None,
            step: None,
            failures: user.failures(),
            locked: locks(&current.user, &user, self.at),
            source: self.counts(current),
            activates: None,
            note: locked_for_good(&current.user, &user, &self.lockout, self.at),
            user: Some(user),
            tokens: Vec::new(),
        };
        match code {
            CodeFound::Right(right) => {
                let (serial, after) = self.consumed(right);
                let last_accept = right.2.last_accept;
                // Used up, but not by an accept: anyone who asks how the round stands must not learn it.
                let spent = |issued: Issued| Issued {
                    tries: u8::MAX,
                    ..issued
                };
                let after = TokenState {
                    last_accept,
                    issued: after.issued.map(|issued| match issued.pair {
                        None if issued.number == right.1 => spent(issued),
                        _ => issued,
                    }),
                    ..after
                };
                (verdict.serial, verdict.step) = (Some(serial.clone()), Some(right.1));
                verdict.tokens.push((serial, after));
            }
            CodeFound::Used { token, step, .. } => {
                (verdict.serial, verdict.step) = (Some(token.serial.clone()), Some(step));
            }
            CodeFound::Wrong(sole) => {
                verdict.serial = sole.map(|(token, _)| token.serial.clone());
                verdict.tokens = self.guessed(compared, current, sole.is_some());
            }
            CodeFound::Late => verdict.tokens = self.guessed(compared, current, false),
            CodeFound::NotAsked | CodeFound::Blocked(_) | CodeFound::Moved => {}
        }
        verdict
    }

    /// The tokens that a wrong code changes: the only one that was tried, and every one whose live
    /// code it was a guess at.
    fn guessed(
        &self,
        compared: &Compared,
        current: &Current,
        sole: bool,
    ) -> Vec<(Serial, TokenState)> {
        let tokens = compared.tokens.iter().flatten().enumerate();
        let guessed = tokens.filter_map(|(index, token)| {
            let mut state = current.tokens.get(index).copied().unwrap_or_default();
            let before = state;
            let known = current.user.knows(self.source());
            if !known && state.throttle.check(self.at).is_err() {
                return None;
            }
            // Known sources are held by the user's own counters, and the token's holds the others.
            if sole && !known {
                state.throttle = state.throttle.failed(&self.lockout, self.at);
            }
            let last = state.moving.last;
            if let Some(issued) = state.issued
                && token.issued == Some(issued.number)
                && issued.is_open(last, self.at)
            {
                state.issued = Some(issued.failed());
            }
            (state != before).then(|| (token.serial.clone(), state))
        });
        guessed.collect()
    }

    /// The last accepted code once more: it counts nowhere.
    fn replay(
        &self,
        compared: &Compared,
        (token, step): (&Comparison, u64),
        current: &Current,
    ) -> Verdict {
        let answered = |answer| current.user.clone().answer(answer, self.at);
        Verdict {
            serial: Some(token.serial.clone()),
            step: Some(step),
            user: compared.answers.map(answered),
            ..refusal(Reason::UsedCode, &current.user)
        }
    }

    /// Nothing changes; who is blocked now is refused.
    fn again(&self, repeated: &Repeated, current: &Current) -> Verdict {
        let (user, source) = (&current.user, self.source());
        let blocked = user.check(source, &self.lockout, self.at);
        let mut verdict = match blocked {
            Err(blocked) => return refusal(blocked_reason(blocked), user),
            Ok(()) if !user.knows(source) && self.source_blocked(current) => {
                return refusal(Reason::SourceBlocked, user);
            }
            Ok(()) => refusal(Reason::RepeatedOk, user),
        };
        verdict.decision = Decision::Accept;
        verdict.serial.clone_from(&repeated.serial);
        verdict
    }

    /// Refused without a look at what was typed. Anyone who tries names is counted where they are: `counts`.
    fn refused(&self, reason: Reason, counts: bool, current: &Current) -> Verdict {
        let blocked = reason.is_guess() && self.source_blocked(current);
        let reason = if blocked {
            Reason::SourceBlocked
        } else {
            reason
        };
        Verdict {
            source: self.counts(current).filter(|_| counts),
            ..refusal(reason, &current.user)
        }
    }

    fn source_blocked(&self, current: &Current) -> bool {
        let limited = self.source.is_some() && self.lockout.source_lock_after > 0;
        limited && current.source.throttle.check(self.at).is_err()
    }

    /// What a refusal is to the count of the source; while that is blocked nothing counts.
    fn counts(&self, current: &Current) -> Option<AtSource> {
        let limited = self.source.is_some() && self.lockout.source_lock_after > 0;
        (limited && !self.source_blocked(current)).then_some(AtSource::Failed)
    }
}

fn refusal(reason: Reason, user: &UserState) -> Verdict {
    Verdict {
        decision: Decision::Reject,
        reason,
        serial: None,
        step: None,
        failures: user.failures(),
        locked: false,
        user: None,
        tokens: Vec::new(),
        source: None,
        activates: None,
        note: None,
    }
}

impl Verdict {
    /// All was right, but the token cannot come into use: `why`. Its code is used up all the same.
    #[must_use]
    pub fn not_activated(self, why: &'static str, current: &Current) -> Self {
        Self {
            serial: self.serial,
            step: self.step,
            tokens: self.tokens,
            note: Some(why),
            ..refusal(Reason::NotActive, &current.user)
        }
    }
}

/// The token after the person answered on the other channel: the code is consumed only when the login
/// that waits for it is finished.
fn answered((token, _, state): Right<'_>) -> (Serial, TokenState) {
    let issued = state.issued.map(|issued| Issued {
        answered: true,
        ..issued
    });
    (token.serial.clone(), TokenState { issued, ..state })
}

/// What the audit says of a second answer to a challenge.
pub(crate) const ANSWERED_BEFORE: &str =
    "the challenge was answered before, or many later ones were";
/// What the audit says of an accept that brings a token into use.
const FIRST_CODE: &str = "its first right code: the token is in use from now on";
/// The same where that code came in an earlier round.
const FIRST_ROUND: &str = "all is proven: the token whose first right code came in an earlier round is in use \
    from now on";
const fn blocked_reason(blocked: Blocked) -> Reason {
    match blocked {
        Blocked::Throttled { .. } => Reason::Throttled,
        Blocked::Locked { .. } => Reason::Locked,
    }
}
