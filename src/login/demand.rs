//! What a rule asks for at present: its factors without what an exception waives, and the tokens that
//! prove them.

use std::borrow::Cow;

use crate::core::CoreError;
use crate::login::Login;
use crate::login::Presented;
use crate::login::candidates::Slot;
use crate::login::case::Case;
use crate::login::challenge::{Factors, Opened};
use crate::login::round::is_match;
use crate::model::attempt::{Success, Waived};
use crate::model::credential::Credentials;
use crate::model::reason::Reason;
use crate::model::user::Waiver;
use crate::policy::split::{CodePart, split};
use crate::policy::{Factor, Rule, assurance};
use crate::store::View;
use crate::time::UnixTime;

/// What is asked for in all the rounds, and why something of the rule is not.
pub(crate) struct Demand<'p> {
    pub(crate) factors: Cow<'p, [Factor]>,
    pub(crate) waived: Option<Waived>,
    /// Whether an outage is declared that this rule knows.
    pub(crate) outage: bool,
    /// Whether a directory checks the password.
    pub(crate) elsewhere: bool,
}

impl Login {
    /// The verifiers that a login by this rule is bound to: none where it asks for nothing known.
    pub(crate) fn bound_to(&self, rule: &Rule, view: &View) -> Result<Credentials, CoreError> {
        if !rule.require.iter().any(|factor| factor.is_knowledge()) {
            return Ok(Credentials::default());
        }
        let mut credentials = self.core.store.credentials(&view.user.key)?;
        if self.core.directories.checking(&view.user).is_some() {
            // One that was set here, before the user followed the directory, opens nothing.
            credentials.password = None;
        }
        Ok(credentials)
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
        let elsewhere = self.core.directories.checking(user).is_some();
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
                    elsewhere,
                };
            }
        };
        let left = |factor: &Factor| match reason {
            Reason::BypassOk => factor.is_knowledge(),
            _ => !rule.exempt.contains(factor),
        };
        let left: Vec<Factor> = rule.require.iter().copied().filter(left).collect();
        // No one comes in with nothing; and a right code that is presented all the same is used up.
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
            elsewhere,
        }
    }

    /// The declared outage, where the rule has something for it.
    pub(crate) fn relief(&self, rule: &Rule, at: UnixTime) -> Result<Option<Waiver>, CoreError> {
        if rule.outage.is_none() {
            return Ok(None);
        }
        let declared = self.core.store.outage()?;
        Ok(declared.filter(|outage| outage.holds(at)))
    }
}

impl Case<'_, '_> {
    /// Whether a code is presented that is right now, though none is asked for.
    fn presents_right_code(&self, view: &View, passed: Factors, credentials: &Credentials) -> bool {
        let place = self.place(view, &self.rule.require, 1, false);
        let slot = self.rule.slot().map(|held| Slot::of(held, place));
        let Some(Ok(slot)) = slot else {
            return false;
        };
        let extra = slot.extra();
        let right = |part: CodePart<'_>| self.is_right(&slot, part);
        match self.request.presented {
            Presented::Fields { otp, .. } => {
                otp.is_some_and(|otp| right(CodePart::alone(otp.expose(), extra)))
            }
            Presented::Response(_) => false,
            Presented::Passcode(text) => {
                let text = text.expose();
                let left = remaining(&self.rule.require, passed);
                let pin = credentials.pin.as_ref().and_then(|pin| pin.length);
                let pin = pin.map(usize::from);
                let splits = split(&left, text, slot.lengths(), pin, extra);
                right(CodePart::alone(text, extra))
                    || splits.iter().any(|parts| parts.code.is_some_and(right))
            }
        }
    }

    /// Whether a token of the slot makes this code now.
    fn is_right(&self, slot: &Slot<'_>, part: CodePart<'_>) -> bool {
        self.compare(slot, part).is_ok_and(|all| is_match(&all))
    }
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
            Factor::Password if credentials.password.is_none() && !demand.elsewhere => {
                return Err(Reason::NoPassword);
            }
            _ => {}
        }
    }
    if case.request.challenge.is_some() && demand.factors.is_empty() {
        return Err(Reason::StaleChallenge);
    }
    Ok(slots)
}

/// As [`slots`], of a login that came so far in earlier rounds: where nothing held is left to present, what was
/// presented reaches the assurance, or nothing does.
pub(crate) fn slots_left<'v>(
    case: Case<'_, '_>,
    view: &'v View,
    credentials: &Credentials,
    demand: &Demand<'_>,
    opened: Option<&Opened>,
) -> Result<Vec<Slot<'v>>, Reason> {
    let slots = slots(case, view, credentials, demand)?;
    if let Some(opened) = opened {
        let inside = opened.inside;
        let mut held = slots.iter().map(|slot| slot.factor);
        let left = held.any(|factor| !inside.passed.contains(factor));
        let adds = inside.adds || left || slots.is_empty();
        if !adds && case.least()? > 1 {
            return Err(Reason::LowAssurance);
        }
    }
    Ok(slots)
}

/// The factors that were not right before.
pub(crate) fn remaining(factors: &[Factor], passed: Factors) -> Cow<'_, [Factor]> {
    if passed.is_empty() {
        return Cow::Borrowed(factors);
    }
    let left = factors.iter().filter(|factor| !passed.contains(**factor));
    left.copied().collect()
}

/// What it means when everything up to `next` is right.
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
        .filter_map(Factor::knowledge)
        .any(must_change)
    {
        Success::MustChange
    } else {
        Success::Accept
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
