//! What a clock that was ahead leaves behind, and how it is taken back when the clock has been put
//! right. Pure.
//!
//! Invariants: no step and no code that was consumed is consumed again, neither now nor when the time
//! comes that it was of ([`Ahead`]); nothing that was refused by a count is forgiven; waits and locks
//! end no later than they would have if they began now.

use std::time::Duration;

use crate::model::device::DeviceState;
use crate::model::issue::{Issued, Sends};
use crate::model::kind::Kind;
use crate::model::source::SourceState;
use crate::model::token::{Moving, TokenState};
use crate::model::user_state::{KnownSource, Month, Recent, UserState};
use crate::otp::Period;
use crate::otp::ahead::Ahead;
use crate::otp::throttle::{Block, LAST_RUNG, Throttle};
use crate::otp::totp::TimeStep;
use crate::time::UnixTime;

/// The present, after the clock was put right.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Present {
    /// What the clock says.
    pub at: UnixTime,
    /// The longest timed lock of any policy.
    pub lock_for: Duration,
    /// When the first record was made whose time has not come yet; `None`: there is none.
    pub ahead_from: Option<UnixTime>,
}

/// How far back all consumed steps are known. Beyond it no step above [`BASE`] was consumed: a code may
/// be ahead of its time by the reach of a resynchronisation, the learned drift and the window.
pub const MARGIN: Duration = Duration::from_hours(3);
/// Steps of an hour ago and before are consumed, whether or not they were.
const BASE: Duration = Duration::from_hours(1);
/// The longest life of a code that is sent, and of an enrolment code.
pub const LONGEST_CODE: Duration = Duration::from_mins(10);

impl Present {
    fn cut(&self, time: UnixTime) -> UnixTime {
        time.min(self.at)
    }

    fn day(&self) -> u32 {
        u32::try_from(self.at.as_secs() / 86_400).unwrap_or(u32::MAX)
    }

    /// A throttle whose block ends within its length from now.
    fn throttle(&self, throttle: Throttle) -> Throttle {
        let block = match throttle.block {
            Block::Delay { until } => Block::Delay {
                until: until.min(self.at.plus(LAST_RUNG)),
            },
            Block::Locked { until } => Block::Locked {
                until: until.min(self.at.plus(self.lock_for)),
            },
            Block::None | Block::Hard => throttle.block,
        };
        Throttle { block, ..throttle }
    }

    /// The moving factor of a TOTP token. `steps`: those that are known to be consumed since
    /// [`MARGIN`] before now, all of them; `None`: not all are known.
    pub fn moving(&self, moving: Moving, period: Period, steps: Option<&[u64]>) -> Moving {
        let now = TimeStep::at(self.at, period).get();
        let Some(last) = moving.last.filter(|last| *last > now) else {
            return moving;
        };
        // The last one is among them, or someone did not write down what they consumed.
        let Some(steps) = steps.filter(|steps| steps.contains(&last)) else {
            return Moving {
                last: Some(now),
                ahead: moving.ahead.above(now).with(now.saturating_add(1), last),
                ..moving
            };
        };
        let base =
            UnixTime::from_millis((self.at.as_millis()).saturating_sub(crate::time::millis(BASE)));
        let base = TimeStep::at(base, period).get();
        let past = steps.iter().copied().filter(|step| *step <= now).max();
        let future = steps.iter().copied().filter(|step| *step > now);
        let last = past.map_or(base, |past| past.max(base));
        let ahead = moving.ahead.above(last);
        Moving {
            last: Some(last),
            ahead: future.fold(ahead, |ahead, step| ahead.with(step, step)),
            ..moving
        }
    }

    /// A token's state.
    pub fn token(
        &self,
        state: &TokenState,
        kind: Kind,
        period: Period,
        steps: Option<&[u64]>,
    ) -> TokenState {
        let expired = |issued: Issued| {
            let late = issued.pair.is_none() && issued.expires > self.at.plus(LONGEST_CODE);
            if late {
                // Made in a time that is to come: it was good long enough.
                Issued {
                    expires: self.at,
                    ..issued
                }
            } else {
                issued
            }
        };
        TokenState {
            moving: match kind {
                Kind::Totp => self.moving(state.moving, period, steps),
                _ => state.moving,
            },
            throttle: self.throttle(state.throttle),
            last_accept: state.last_accept.map(|time| self.cut(time)),
            issued: state.issued.map(expired),
            sends: Sends {
                last: self.cut(state.sends.last),
                ..state.sends
            },
            ..*state
        }
    }

    /// Whether a token that is on record as expired was in use, and its end has not come.
    pub fn expired_early(&self, expires: Option<UnixTime>, state: &TokenState) -> bool {
        expires.is_some_and(|end| end > self.at) && state.last_accept.is_some()
    }

    /// A user's counters.
    pub fn user(&self, state: &UserState) -> UserState {
        let mut after = state.clone();
        after.throttle = self.throttle(after.throttle);
        after.last_failure = self.cut(after.last_failure);
        after.held = after.held.map(|time| self.cut(time));
        let present = Month::of(self.at);
        for month in &mut after.months {
            month.number = month.number.min(present);
        }
        after.recent = (after.recent.into_iter())
            .map(|recent| Recent {
                last: self.cut(recent.last),
                ..recent
            })
            .collect();
        after.known = (after.known.into_iter())
            .map(|known| KnownSource {
                day: known.day.min(self.day()),
                throttle: self.throttle(known.throttle),
                ..known
            })
            .collect();
        after
    }

    /// A source's counters.
    pub fn source(&self, state: SourceState) -> SourceState {
        SourceState {
            throttle: self.throttle(state.throttle),
            last: self.cut(state.last),
            ..state
        }
    }

    /// What a device asked lately. Requests that were signed in the time to come stay taken: none of
    /// that time is taken when it comes.
    pub fn device(&self, state: &DeviceState) -> DeviceState {
        let Some(seen) = state.last_seen.filter(|seen| *seen > self.at) else {
            return state.clone();
        };
        let from = self.ahead_from.map_or(0, UnixTime::as_millis);
        let from = from.saturating_sub(crate::time::millis(DeviceState::SKEW));
        let from = UnixTime::from_millis(from).max(self.at);
        let until = seen.plus(DeviceState::SKEW);
        // What has ended is refused by its age.
        let void = match state.void.filter(|(_, last)| *last >= self.at) {
            Some((first, last)) => (first.min(from), last.max(until)),
            None => (from, until),
        };
        DeviceState {
            recent: state.recent.clone(),
            last_seen: Some(self.at),
            void: Some(void),
        }
    }
}

/// What is different afterwards, in words for people.
pub fn changes(before: &TokenState, after: &TokenState) -> Vec<&'static str> {
    let mut words = Vec::new();
    let steps = |state: &TokenState| (state.moving.last, state.moving.ahead);
    if steps(before) != steps(after) {
        words.push("steps");
    }
    if before.throttle != after.throttle || before.sends != after.sends {
        words.push("waits");
    }
    if before.issued != after.issued {
        words.push("code");
    }
    if before.last_accept != after.last_accept && words.is_empty() {
        words.push("times");
    }
    words
}

/// The voided steps, as the audit says them.
pub fn said(ahead: &Ahead) -> String {
    let ranges = ahead.ranges().map(|(first, last)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    });
    ranges.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::device::{DeviceCall, DeviceId};

    #[test]
    fn a_device_asks_again_after_a_second_time_ahead() {
        let first = UnixTime::from_secs(1_795_000_000);
        let second = first.plus(Duration::from_hours(24 * 300));
        let call = |nonce, created| DeviceCall {
            device: DeviceId::new([1; 5]),
            revision: 1,
            nonce,
            created,
        };
        let mut state = DeviceState::default();
        for (nonce, at) in [(1, first), (10, second)] {
            let ahead = at.plus(Duration::from_hours(24));
            state = state.take(&call(nonce, at), at).unwrap();
            state = state.take(&call(nonce + 1, ahead), ahead).unwrap();
            let after = at.plus(Duration::from_mins(5));
            let present = Present {
                at: after,
                lock_for: Duration::ZERO,
                ahead_from: Some(ahead),
            };
            state = present.device(&state);
            state = state.take(&call(nonce + 2, after), after).unwrap();
            // What was asked ahead is not taken when its time comes, also by a clock that is ahead once more.
            assert!(state.take(&call(nonce + 1, ahead), ahead).is_err());
        }
    }
}
