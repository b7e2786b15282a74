//! What is closed when the newest records of the journal may be lost. Pure.
//!
//! A lost record may have consumed a code. So no code is left open that may have been used before `at`:
//! time-based ones up to the latest step that could be accepted by then, codes that were issued, recovery
//! codes and challenges. How far a counter has moved cannot be told: its token is suspended until it is
//! resynchronised, which goes forward only. The same holds for a key that comes from outside later on: a lost
//! record may have enrolled it, and others may have used its codes.

use std::time::Duration;

use crate::model::device::DeviceState;
use crate::model::kind::Kind;
use crate::model::token::{LifeCycle, Moving, Repaired, TokenState};
use crate::model::user_state::{Answered, UserState};
use crate::otp::Period;
use crate::otp::card::PAIRS;
use crate::otp::recovery::Used;
use crate::otp::totp::{MAX_LEARNED, RESYNC_REACH, TimeStep};
use crate::store::Retired;
use crate::time::UnixTime;

/// The moment up to which codes may have been used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Floor(pub(crate) UnixTime);

/// A token after it.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Closed {
    pub(crate) state: TokenState,
    /// Whether it was in use, and accepts nothing until it is resynchronised and resumed.
    pub(crate) suspended: bool,
    /// In words for people; `SERIAL` stands for its name. None of a token that has ended: it accepts nothing, and is
    /// closed for what may come after its end (a clock that was ahead is put right, its key is enrolled again).
    pub(crate) what: Option<String>,
}

impl Floor {
    /// A token's state.
    pub(crate) fn token(
        self,
        state: &TokenState,
        (kind, life): (Kind, LifeCycle),
        period: Period,
    ) -> Closed {
        // One that is not in use comes into use only when it was resynchronised, too.
        let active = life == LifeCycle::Active;
        let before = *state;
        let mut state = TokenState {
            issued: None,
            ..before
        };
        let counts = matches!(kind, Kind::Hotp | Kind::Yubikey);
        if counts || kind == Kind::Totp {
            state.repaired = Some(Repaired {
                at: self.0,
                until: (!counts).then(|| self.end(period)),
            });
        }
        let what = match kind {
            Kind::Totp => {
                state.moving = self.moving(state.moving, period);
                format!("codes are refused until {}", self.end(period).rfc3339())
            }
            Kind::Hotp | Kind::Yubikey => match life {
                LifeCycle::Active => {
                    "suspended: oncegate token resync SERIAL, then oncegate token resume SERIAL"
                }
                LifeCycle::Suspended => {
                    "before it is resumed (oncegate token resume SERIAL): oncegate token resync SERIAL"
                }
                LifeCycle::Unassigned => {
                    "when it is assigned: oncegate token resync SERIAL, then oncegate token confirm SERIAL"
                }
                _ => {
                    "before it is confirmed (oncegate token confirm SERIAL): oncegate token resync SERIAL"
                }
            }
            .to_owned(),
            Kind::Card => {
                // Its draws follow each other in a secret order: a draw that was answered would come again.
                let drawn = before.issued.map_or(0, |drawn| drawn.number);
                let last = before.moving.last.unwrap_or(0).max(drawn);
                state.moving.last = Some((last / PAIRS).saturating_add(FAR).saturating_mul(PAIRS));
                // Behind that it opens nothing; wrong answers stay counted.
                state.issued = before.issued;
                "other cells are asked for".to_owned()
            }
            Kind::Recovery => {
                state.used = Used::ALL;
                "all codes are void: make new ones".to_owned()
            }
            _ => "issued codes are void".to_owned(),
        };
        let ended = matches!(life, LifeCycle::Revoked | LifeCycle::Expired);
        Closed {
            state,
            suspended: active && counts,
            what: (!ended).then_some(what),
        }
    }

    fn moving(self, moving: Moving, period: Period) -> Moving {
        let step = TimeStep::at(self.end(period), period).get();
        Moving {
            last: Some(moving.last.map_or(step, |last| last.max(step))),
            ahead: moving.ahead.above(step),
            ..moving
        }
    }

    /// Until when time-based codes of this period are refused: a token may have been found this far
    /// ahead of the clock, and its window goes further.
    pub(crate) fn end(self, period: Period) -> UnixTime {
        let steps = WINDOW + u32::from(MAX_LEARNED.unsigned_abs());
        let step = Duration::from_secs(period.as_secs().into());
        self.0.plus(RESYNC_REACH).plus(step * steps)
    }

    /// A removed token's moving factor, for when the same key is enrolled again.
    pub(crate) fn retired(self, retired: Retired) -> Retired {
        let moving = match retired.period {
            Some(period) => self.moving(retired.moving, period),
            None => Moving {
                last: Some(u64::MAX),
                ..retired.moving
            },
        };
        Retired { moving, ..retired }
    }

    /// A user's counters: challenges that were handed out are answered.
    pub(crate) fn user(self, state: UserState) -> UserState {
        let voided = Answered {
            challenge: (self.0.as_secs() + 1) << 32,
            expires: self.0.plus(UserState::ROUND),
        };
        UserState {
            voided: Some(voided),
            ..state
        }
    }

    /// What a device asked: what it signed until now is not taken.
    pub(crate) fn device(self, state: DeviceState) -> DeviceState {
        let skew = crate::time::millis(DeviceState::SKEW);
        let first = UnixTime::from_millis(self.0.as_millis().saturating_sub(2 * skew));
        let last = self.0.plus(DeviceState::SKEW);
        let void = match state.void {
            Some((from, until)) => (from.min(first), until.max(last)),
            None => (first, last),
        };
        DeviceState {
            void: Some(void),
            ..state
        }
    }
}

/// Rounds of a card's draws that are left out: more than it can have asked for in lost records.
const FAR: u64 = 1 << 20;
/// Most steps that a policy looks ahead.
const WINDOW: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::clock::Present;
    use crate::model::issue::{Issued, Sends, Way};
    use crate::otp::card::Pair;
    use crate::otp::issued::Mark;
    use crate::otp::throttle::Throttle;

    const NOW: UnixTime = UnixTime::from_secs(1_795_000_000);

    fn closed(kind: Kind, life: LifeCycle, last: Option<u64>) -> Closed {
        let moving = Moving {
            last,
            ..Moving::default()
        };
        let state = TokenState {
            moving,
            ..TokenState::default()
        };
        Floor(NOW).token(&state, (kind, life), Period::THIRTY)
    }

    #[test]
    fn time_goes_behind_every_step_that_may_have_been_accepted() {
        let now = TimeStep::at(NOW, Period::THIRTY).get();
        for life in [LifeCycle::Active, LifeCycle::Pending, LifeCycle::Suspended] {
            let after = closed(Kind::Totp, life, Some(now));
            assert!(!after.suspended);
            // A resynchronisation, the learned drift, and the window of a policy.
            assert!(!after.state.moving.is_unused(now + 20 + 2 + 10));
            assert!(after.state.moving.is_unused(now + 20 + 2 + 10 + 1));
            assert_eq!(after.state.needs_resync(), None);
            let end = Floor(NOW).end(Period::THIRTY);
            assert_eq!(after.state.refused_until(NOW), Some((NOW, end)));
            assert_eq!(after.state.refused_until(end), None);
        }
        let later = closed(Kind::Totp, LifeCycle::Active, Some(now + 99));
        assert_eq!(later.state.moving.last, Some(now + 99));
    }

    /// A lost record of the time ahead may have used codes of it: for a key that comes from outside nothing is lowered,
    /// for the others no more is opened.
    #[test]
    fn a_clock_that_is_put_right_opens_no_code_that_a_lost_record_may_have_used() {
        let period = Period::THIRTY;
        let ahead = NOW.plus(Duration::from_hours(365 * 24));
        let present = Present {
            at: NOW,
            lock_for: Duration::ZERO,
            ahead_from: Some(ahead),
        };
        let life = (Kind::Totp, LifeCycle::Active);
        let closed = Floor(ahead).token(&TokenState::default(), life, period);
        let gone = Floor(ahead).retired(Retired {
            serial: "TOTP-A".parse().unwrap(),
            period: Some(period),
            moving: Moving::default(),
        });
        let (now, end) = (
            TimeStep::at(NOW, period).get(),
            TimeStep::at(Floor(ahead).end(period), period).get(),
        );
        for steps in [None, Some(&[][..])] {
            let token = present.token(&closed.state, Kind::Totp, period, steps);
            let gone = present.moving(gone.moving, period, steps);
            for moving in [closed.state.moving, token.moving, gone] {
                for step in [now, now + 1, u64::midpoint(now, end), end] {
                    assert!(!moving.is_unused(step), "{step} {moving:?}");
                }
                assert!(moving.is_unused(end + 1), "{moving:?}");
            }
        }
    }

    #[test]
    fn a_counter_is_suspended_and_a_sheet_is_used_up() {
        for life in [
            LifeCycle::Active,
            LifeCycle::Pending,
            LifeCycle::Suspended,
            LifeCycle::Requested,
            LifeCycle::Unassigned,
            LifeCycle::Revoked,
            LifeCycle::Expired,
        ] {
            let after = closed(Kind::Hotp, life, Some(5));
            let ended = matches!(life, LifeCycle::Revoked | LifeCycle::Expired);
            assert_eq!(after.what.is_none(), ended, "{life}");
            assert_eq!(after.suspended, life == LifeCycle::Active);
            assert_eq!(after.state.moving.last, Some(5));
            assert_eq!(after.state.needs_resync(), Some(NOW), "{life}");
        }
        let sheet = closed(Kind::Recovery, LifeCycle::Active, None);
        assert!((0..32).all(|number| sheet.state.used.contains(number)));
        assert_eq!(sheet.state.throttle, Throttle::default());
        assert_eq!(sheet.state.sends, Sends::default());
    }

    #[test]
    fn a_card_asks_for_draws_that_it_never_asked_for_and_stays_locked() {
        let drawn = Issued {
            number: 2000,
            way: Way::Code,
            mark: Mark::from_bytes([0; 16]),
            pair: Some(Pair {
                first: 1,
                second: 2,
            }),
            expires: NOW,
            tries: 5,
            answered: false,
        };
        let state = TokenState {
            issued: Some(drawn),
            ..TokenState::default()
        };
        let life = LifeCycle::Active;
        let after = Floor(NOW).token(&state, (Kind::Card, life), Period::THIRTY);
        let after = after.state;
        assert_eq!(after.moving.last, Some((1 + FAR) * PAIRS));
        let drawn = after.issued.unwrap();
        assert!(drawn.is_spent() && !drawn.is_unused(after.moving.last));
    }

    #[test]
    fn challenges_and_signed_requests_of_before_are_void() {
        let user = Floor(NOW).user(UserState::default());
        let challenge = |at: UnixTime| Answered {
            challenge: (at.as_secs() << 32) + 77,
            expires: at.plus(Duration::from_mins(2)),
        };
        let later = NOW.plus(Duration::from_secs(5));
        assert!(user.has_answered(challenge(NOW), later));
        assert!(!user.has_answered(challenge(later), later));
        let device = Floor(NOW).device(DeviceState::default());
        assert_eq!(
            device.void,
            Some((
                UnixTime::from_secs(NOW.as_secs() - 120),
                NOW.plus(DeviceState::SKEW),
            ))
        );
    }
}
