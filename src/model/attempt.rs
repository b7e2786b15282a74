//! The transition that consumes a code: an attempt in closed form, and what it does to the state.
//!
//! Sources: RFC 4226 s7 (counter, throttling), RFC 6238 s5.2 (one-time rule) and s6 (drift).
//!
//! Whoever evaluates an attempt (the service) has compared the code with a *view* of the user's
//! tokens. Views go stale. The store therefore calls [`settle`] with the newest state, one attempt
//! after the other, and makes the settlement durable before anyone hears of it:
//!
//! ```text
//! view --compare--> Attempt --settle(newest state)--> Settlement --commit--> accept / reject
//!   ^                                  |
//!   +------------- Stale --------------+   the window was computed from a moving factor that moved
//! ```
//!
//! Invariants:
//! - a step is accepted only above `Moving::last`, and `last` becomes that step;
//! - a blocked user or token learns nothing: the comparison is thrown away unread, so guesses that
//!   influence an answer never exceed the limit, however many are in flight (SECURITY T9);
//! - every purpose (login, confirm, resync) goes through here (SECURITY T6, CVE-2019-12887).

use std::net::IpAddr;
use std::sync::Arc;

use crate::model::audit::Channel;
use crate::model::audit::DecisionEvent;
use crate::model::audit::Purpose;
use crate::model::id::RequestId;
use crate::model::id::Serial;
use crate::model::kind::Kind;
use crate::model::reason::Decision;
use crate::model::reason::Reason;
use crate::model::token::Moving;
use crate::model::token::TokenState;
use crate::model::user::UserState;
use crate::model::user_key::UserKey;
use crate::otp::Matches;
use crate::otp::throttle::Blocked;
use crate::otp::throttle::Lockout;
use crate::otp::totp::Drift;
use crate::otp::totp::TimeStep;
use crate::time::UnixTime;
use crate::time::millis;

/// One presentation of a code, evaluated against a view but not yet decided.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Names the attempt.
    pub request: RequestId,
    /// When it arrived.
    pub at: UnixTime,
    /// After this nobody waits for the answer: it is dropped unconsumed.
    pub deadline: UnixTime,
    /// What the code is for.
    pub purpose: Purpose,
    /// The user as the audit shows it.
    pub user: String,
    /// Who asked.
    pub client: Arc<str>,
    /// Over which front end.
    pub channel: Channel,
    /// Where the person is, if known.
    pub source: Option<IpAddr>,
    /// `policy:rule` that applies.
    pub rule: Option<Arc<str>>,
    /// Limits of the policy that applies.
    pub lockout: Lockout,
    /// What the evaluation found.
    pub finding: Finding,
}

/// What the evaluation found.
#[derive(Clone, Debug)]
pub enum Finding {
    /// Refused without comparing anything; nothing is counted.
    Refused(Reason),
    /// The code was compared with these tokens.
    Compared {
        /// Whose tokens.
        user: UserKey,
        /// Generation of the static records the view was read from.
        generation: u64,
        /// One entry per token that the policy lets the user use.
        tokens: Vec<Comparison>,
    },
}

/// The outcome of comparing the code with one token.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Which token.
    pub serial: Serial,
    /// Its kind.
    pub kind: Kind,
    /// Revision of the static record that was read.
    pub revision: u64,
    /// The moving factor the window was computed from.
    pub seen: Moving,
    /// Steps in the window whose code this is, and the last accepted one if it is its code.
    pub matches: Matches,
    /// How the drift follows an accepted step.
    pub drift: DriftRule,
}

/// How the drift follows an accepted step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DriftRule {
    /// Counters have none.
    None,
    /// Learn from the distance to the present step (RFC 6238 s6), within the clamp.
    Learn(TimeStep),
    /// Two consecutive codes fixed it.
    Fixed(Drift),
}

/// What an attempt does to the state.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settlement {
    /// What the person hears.
    pub decision: Decision,
    /// Why.
    pub reason: Reason,
    /// The token that decided.
    pub serial: Option<Serial>,
    /// The step consumed or found used.
    pub step: Option<u64>,
    /// The user's failures afterwards.
    pub failures: u32,
    /// The user's new state, if it changes.
    pub user: Option<UserState>,
    /// The new state of the one token that changes, if one does.
    pub token: Option<(Serial, TokenState)>,
}

/// The view was too old to decide; load it again and compare again. Nothing was counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stale;

/// Decides an attempt against the newest state. `states` are those of the compared tokens, in the
/// same order; a missing one counts as unused.
pub fn settle(
    attempt: &Attempt,
    user: UserState,
    states: &[TokenState],
) -> Result<Settlement, Stale> {
    let tokens = match &attempt.finding {
        Finding::Refused(reason) => return Ok(refusal(*reason, user)),
        Finding::Compared { tokens, .. } => tokens,
    };
    if let Err(blocked) = user.throttle.check(attempt.at) {
        return Ok(refusal(blocked_reason(blocked), user));
    }
    let mut used: Option<(&Comparison, u64, bool)> = None;
    let mut blocked_token = None;
    let mut moved = false;
    let mut open = 0_usize;
    let mut sole = None;
    let current = |index: usize| states.get(index).copied().unwrap_or_default();
    for (index, token) in tokens.iter().enumerate() {
        let state = current(index);
        if let Err(blocked) = state.throttle.check(attempt.at) {
            blocked_token = Some(blocked);
            continue;
        }
        open += 1;
        sole = Some((token, state));
        let last = state.moving.last;
        if let Some(step) = token.matches.first_after(last) {
            return Ok(accept(attempt, token, step, user, state));
        }
        if let Some(step) = token.matches.iter().last() {
            used = Some((
                token,
                step,
                last.is_some_and(|last| token.matches.contains(last)),
            ));
        }
        moved |= state.moving.drift != token.seen.drift
            || (token.kind == Kind::Hotp && last != token.seen.last);
    }
    if open == 0 {
        let reason = blocked_token.map_or(Reason::NoToken, blocked_reason);
        return Ok(refusal(reason, user));
    }
    if let Some((token, step, replay)) = used {
        let mut settlement = if replay {
            // SPEC section 7: the last accepted code again is a reject, not a failure. Gear that
            // caches passwords would lock its own user out otherwise.
            refusal(Reason::UsedCode, user)
        } else {
            failure(Reason::UsedCode, attempt, user, sole.filter(|_| open == 1))
        };
        settlement.serial = Some(token.serial.clone());
        settlement.step = Some(step);
        return Ok(settlement);
    }
    if moved {
        return Err(Stale);
    }
    Ok(failure(
        Reason::WrongCode,
        attempt,
        user,
        sole.filter(|_| open == 1),
    ))
}

impl Attempt {
    /// The audit event of this attempt with its outcome, decided at `now`.
    pub fn event(&self, settlement: &Settlement, now: UnixTime) -> DecisionEvent {
        DecisionEvent {
            request: self.request,
            purpose: self.purpose,
            decision: settlement.decision,
            reason: settlement.reason,
            user: self.user.clone(),
            serial: settlement.serial.clone(),
            step: settlement.step,
            client: self.client.to_string(),
            channel: self.channel,
            source: self.source,
            rule: self.rule.as_deref().map(str::to_owned),
            failures: settlement.failures,
            latency: u32::try_from(millis(now.since(self.at))).unwrap_or(u32::MAX),
        }
    }
}

fn accept(
    attempt: &Attempt,
    token: &Comparison,
    step: u64,
    user: UserState,
    state: TokenState,
) -> Settlement {
    let drift = match token.drift {
        DriftRule::None => state.moving.drift,
        DriftRule::Learn(now) => state.moving.drift.learn(TimeStep::new(step), now),
        DriftRule::Fixed(drift) => drift,
    };
    let after = TokenState {
        moving: Moving {
            last: Some(step),
            drift,
        },
        throttle: state.throttle.succeeded(),
        last_accept: Some(attempt.at),
    };
    let user_after = UserState {
        throttle: user.throttle.succeeded(),
    };
    Settlement {
        decision: Decision::Accept,
        reason: if token.kind == Kind::Hotp {
            Reason::HotpOk
        } else {
            Reason::TotpOk
        },
        serial: Some(token.serial.clone()),
        step: Some(step),
        failures: 0,
        user: (user_after != user).then_some(user_after),
        token: Some((token.serial.clone(), after)),
    }
}

/// A counted reject. The failure is the token's too when it was the only one tried: with several
/// tokens nobody can say which one the code was meant for, and counting all of them would lock the
/// ones in the drawer (privacyIDEA #471). The user's counter holds the limit in either case.
fn failure(
    reason: Reason,
    attempt: &Attempt,
    user: UserState,
    sole: Option<(&Comparison, TokenState)>,
) -> Settlement {
    let user_after = UserState {
        throttle: user.throttle.failed(&attempt.lockout, attempt.at),
    };
    let token = sole.map(|(token, state)| {
        let throttle = state.throttle.failed(&attempt.lockout, attempt.at);
        (token.serial.clone(), TokenState { throttle, ..state })
    });
    Settlement {
        decision: Decision::Reject,
        reason,
        serial: token.as_ref().map(|(serial, _)| serial.clone()),
        step: None,
        failures: user_after.throttle.failures,
        user: Some(user_after),
        token,
    }
}

fn refusal(reason: Reason, user: UserState) -> Settlement {
    Settlement {
        decision: Decision::Reject,
        reason,
        serial: None,
        step: None,
        failures: user.throttle.failures,
        user: None,
        token: None,
    }
}

const fn blocked_reason(blocked: Blocked) -> Reason {
    match blocked {
        Blocked::Throttled { .. } => Reason::Throttled,
        Blocked::Locked { .. } => Reason::Locked,
    }
}
