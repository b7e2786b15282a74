//! Time-based codes: TOTP.
//!
//! Sources: RFC 6238 s4.2 (time step), s5.2 (window, single use), s6 (drift).
//!
//! # Window
//!
//! ```text
//! steps:          now-3   now-2   now-1    now    now+1
//! base window                    [ back       ahead ]           always open
//! learned = -2   [ extends . . . . back       ahead ]           on its side only
//! ```
//!
//! All of it is moved by `offset`, which only a resynchronisation sets. Learned drift opens up to
//! [`MAX_LEARNED`] more steps on the side where the last accepted code was found and closes
//! nothing: who typed slowly once is not locked out the next time, and drift cannot run away,
//! because it is always measured from the clock, never from the previous drift.
//!
//! Invariants: all arithmetic is on whole steps counted from the epoch in UTC (T0 = 0), 64 bits,
//! saturating; no local time, no leap seconds, no 2038. Steps before the epoch do not exist.
//!
//! Threats: a window one step too wide is a code that lives 30 s too long (Keycloak
//! CVE-2024-7318): the edges are proven to the millisecond in `tests/it/login/otp_vectors.rs`. A clock
//! set back makes old codes match again; it does not make them acceptable, see
//! [`Matches::first_after`].

use std::time::Duration;

use subtle::{Choice, ConstantTimeEq};

use crate::otp::mac::Mac;
use crate::otp::{Algorithm, Code, Digits, Matches, Period};
use crate::secret::OtpKey;
use crate::time::UnixTime;

/// What prover and verifier agreed on besides the key (RFC 6238 s4).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Parameters {
    /// The hash function.
    pub algorithm: Algorithm,
    /// The length of the codes.
    pub digits: Digits,
    /// The length of a step.
    pub period: Period,
}

/// Number of a time step (RFC 6238 T): whole periods since the epoch.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TimeStep(u64);

impl TimeStep {
    /// The step with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The step that contains `now`: the first millisecond of a step belongs to it.
    pub fn at(now: UnixTime, period: Period) -> Self {
        Self(now.as_secs() / u64::from(period.as_secs()))
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// How many steps `self` lies after `other`; negative when before; saturating.
    fn steps_after(self, other: Self) -> i64 {
        let distance = i64::try_from(self.0.abs_diff(other.0)).unwrap_or(i64::MAX);
        if self >= other { distance } else { -distance }
    }

    /// The step `steps` after this one, at the ends of the range the last one that exists.
    const fn plus(self, steps: i64) -> Self {
        Self(self.0.saturating_add_signed(steps))
    }
}

/// How far a token's clock is from ours (RFC 6238 s6), in steps; positive when it is fast.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Drift {
    offset: i32,
    learned: i8,
}

impl Drift {
    /// From stored numbers: `offset` within +-[`MAX_OFFSET`], `learned` within +-[`MAX_LEARNED`];
    /// `None` otherwise (a damaged record must not open a window somewhere else).
    pub fn new(offset: i32, learned: i8) -> Option<Self> {
        let in_range = offset.unsigned_abs() <= MAX_OFFSET.unsigned_abs()
            && learned.unsigned_abs() <= MAX_LEARNED.unsigned_abs();
        in_range.then_some(Self { offset, learned })
    }

    /// Steps between our clock and the token's, as found by the last resynchronisation.
    pub const fn offset(self) -> i32 {
        self.offset
    }

    /// Where the last accepted code was found, relative to `offset`.
    pub const fn learned(self) -> i8 {
        self.learned
    }

    /// The drift after a code of `step` was accepted at `now`.
    pub fn learn(self, step: TimeStep, now: TimeStep) -> Self {
        let expected = now.plus(i64::from(self.offset));
        let cap = i64::from(MAX_LEARNED);
        let learned = step.steps_after(expected).clamp(-cap, cap);
        Self {
            learned: i8::try_from(learned).unwrap_or(0),
            ..self
        }
    }
}

/// The base window, in steps around the expected one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Window {
    /// Steps before: time to read, type and transmit (RFC 6238 s5.2 advises at most one).
    pub back: u8,
    /// Steps after: tokens whose clock is fast.
    pub ahead: u8,
}

impl Default for Window {
    fn default() -> Self {
        Self { back: 1, ahead: 0 }
    }
}

/// The code shown during one step (RFC 6238 s4.2).
pub fn generate(key: &OtpKey, parameters: Parameters, step: TimeStep) -> Code {
    Mac::new(key, parameters.algorithm).code(step.0, parameters.digits)
}

/// The steps of the window around `now` whose code is `code`, ascending. A code of another length
/// than the token's matches nothing.
pub fn find(
    key: &OtpKey,
    parameters: Parameters,
    code: &Code,
    now: UnixTime,
    drift: Drift,
    window: Window,
) -> Matches {
    let now = TimeStep::at(now, parameters.period);
    let (low, high) = bounds(drift, window);
    let mac = Mac::new(key, parameters.algorithm);
    let candidates = between(now, low, high).map(|step| (step, mac.code(step, parameters.digits)));
    Matches::among(code, candidates)
}

/// The codes that [`find`] looks at.
pub fn codes(
    key: &OtpKey,
    parameters: Parameters,
    now: UnixTime,
    drift: Drift,
    window: Window,
) -> impl Iterator<Item = Code> {
    let now = TimeStep::at(now, parameters.period);
    let (low, high) = bounds(drift, window);
    let mac = Mac::new(key, parameters.algorithm);
    between(now, low, high).map(move |step| mac.code(step, parameters.digits))
}

/// The first and the last step that [`find`] looks at, for explanations.
pub fn searched(
    period: Period,
    now: UnixTime,
    drift: Drift,
    window: Window,
) -> (TimeStep, TimeStep) {
    let now = TimeStep::at(now, period);
    let (low, high) = bounds(drift, window);
    (now.plus(low), now.plus(high))
}

/// The window in steps from now.
fn bounds(drift: Drift, window: Window) -> (i64, i64) {
    let offset = i64::from(drift.offset);
    let learned = i64::from(drift.learned);
    let low = offset - i64::from(window.back) + learned.min(0);
    let high = offset + i64::from(window.ahead) + learned.max(0);
    (low, high)
}

/// Finds a token whose clock is far off by two consecutive codes (RFC 6238 s6, RFC 4226 s7.4):
/// `first` of step s and `second` of s + 1, both within `within_steps` of `now` (cut to
/// [`RESYNC_REACH`]), s after `after`, the last consumed step. Answers the step of `second` and
/// the drift that makes it the expected one. Of several pairs the nearest to `now` counts, of two
/// equally near the earlier.
///
/// The search is around our clock, not around the previous drift: offsets never add up.
///
/// The caller consumes the answer like any other step.
pub fn resync(
    key: &OtpKey,
    parameters: Parameters,
    first: &Code,
    second: &Code,
    now: UnixTime,
    after: Option<TimeStep>,
    within_steps: u32,
) -> Option<(TimeStep, Drift)> {
    let most = RESYNC_REACH.as_secs() / u64::from(parameters.period.as_secs());
    let reach = i64::try_from(u64::from(within_steps).min(most)).unwrap_or(0);
    let now = TimeStep::at(now, parameters.period);
    let mac = Mac::new(key, parameters.algorithm);
    let mut before_is_first = Choice::from(0);
    let mut nearest: Option<TimeStep> = None;
    for number in between(now, -reach, reach) {
        let step = TimeStep(number);
        let candidate = mac.code(number, parameters.digits);
        let pair: bool = (before_is_first & candidate.ct_eq(second)).into();
        let nearer = nearest.is_none_or(|other| number.abs_diff(now.0) < other.0.abs_diff(now.0));
        if pair && nearer {
            nearest = Some(step);
        }
        // A pair whose first code is consumed is no pair.
        let unused = after.is_none_or(|after| step > after);
        before_is_first = candidate.ct_eq(first) & Choice::from(u8::from(unused));
    }
    let step = nearest?;
    let offset = i32::try_from(step.steps_after(now)).ok()?;
    Some((step, Drift::new(offset, 0)?))
}

/// The existing steps from `now + low` to `now + high`.
fn between(now: TimeStep, low: i64, high: i64) -> impl Iterator<Item = u64> {
    let first = now.plus(low).0;
    // A window that ends before the epoch is empty, not the epoch's own step.
    let last = now.0.checked_add_signed(high);
    last.into_iter().flat_map(move |last| first..=last)
}

/// Most steps that learned drift extends the window by, on one side.
pub const MAX_LEARNED: i8 = 2;

/// How far off a token's clock may be for a resynchronisation to find it. An attacker who has two
/// codes of a stolen hour must not be able to move the token there.
pub const RESYNC_REACH: Duration = Duration::from_mins(10);

/// Largest offset in steps: [`RESYNC_REACH`] in the shortest period.
pub const MAX_OFFSET: i32 = 40;

#[cfg(test)]
mod tests;
