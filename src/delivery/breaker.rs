//! The circuit breaker of one gateway: after failures in a row it is left alone for a while.
//!
//! ```text
//!            limit failures in a row          pause over: one message tries it
//!   Closed -------------------------> Open ------------------------------> HalfOpen
//!     ^                                ^                                     |
//!     |                                +------------- it failed -------------+
//!     +------------------------------- it took a message --------------------+
//! ```
//!
//! Pure: the present is an argument. A clock set back ends a pause early and never prolongs it.

use std::time::Duration;

use crate::core::courier::BreakerState;
use crate::time::UnixTime;

#[derive(Debug)]
pub(crate) struct Breaker {
    limit: usize,
    pause: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed { failures: usize },
    Open { since: UnixTime },
    HalfOpen { since: UnixTime },
}

/// Leave to ask the gateway. It ends with one of [`Breaker::succeeded`], [`Breaker::failed`] and
/// [`Breaker::abandoned`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pass {
    /// As usual.
    Usual,
    /// The one message that tries a gateway after its pause.
    Probe,
}

impl Breaker {
    pub(crate) const fn new(limit: usize, pause: Duration) -> Self {
        let state = State::Closed { failures: 0 };
        Self {
            limit,
            pause,
            state,
        }
    }

    /// Whether the gateway may be asked now.
    pub(crate) fn admit(&mut self, now: UnixTime) -> Option<Pass> {
        match self.state {
            State::Closed { .. } => Some(Pass::Usual),
            State::Open { since } if self.is_over(since, now) => {
                self.state = State::HalfOpen { since };
                Some(Pass::Probe)
            }
            State::Open { .. } | State::HalfOpen { .. } => None,
        }
    }

    /// It answered as a gateway does.
    pub(crate) const fn succeeded(&mut self) {
        self.state = State::Closed { failures: 0 };
    }

    /// It failed.
    pub(crate) fn failed(&mut self, pass: Pass, now: UnixTime) {
        self.state = match (self.state, pass) {
            (State::Closed { failures }, _) if failures + 1 < self.limit => State::Closed {
                failures: failures + 1,
            },
            (State::Closed { .. }, _) | (State::HalfOpen { .. }, Pass::Probe) => {
                State::Open { since: now }
            }
            // An attempt that began before it opened says nothing new.
            (state, _) => state,
        };
    }

    /// The caller gave up before the answer: the next message tries it instead.
    pub(crate) const fn abandoned(&mut self, pass: Pass) {
        if let (State::HalfOpen { since }, Pass::Probe) = (self.state, pass) {
            self.state = State::Open { since };
        }
    }

    pub(crate) fn state(&self, now: UnixTime) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { since } if !self.is_over(since, now) => BreakerState::Open,
            State::Open { .. } | State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    fn is_over(&self, since: UnixTime, now: UnixTime) -> bool {
        now < since || now.since(since) >= self.pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(30);

    fn at(secs: u64) -> UnixTime {
        UnixTime::from_secs(secs)
    }

    fn open() -> Breaker {
        let mut breaker = Breaker::new(2, PAUSE);
        breaker.failed(Pass::Usual, at(99));
        breaker.failed(Pass::Usual, at(100));
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it() {
        let mut breaker = Breaker::new(3, PAUSE);
        for _ in 0..5 {
            breaker.failed(Pass::Usual, at(1));
            breaker.failed(Pass::Usual, at(1));
            breaker.succeeded();
        }
        assert_eq!(breaker.state(at(1)), BreakerState::Closed);
        for _ in 0..3 {
            assert_eq!(breaker.admit(at(1)), Some(Pass::Usual));
            breaker.failed(Pass::Usual, at(1));
        }
        assert_eq!(breaker.state(at(1)), BreakerState::Open);
        assert_eq!(breaker.admit(at(30)), None);
    }

    #[test]
    fn after_the_pause_one_message_tries_it() {
        let mut breaker = open();
        assert_eq!(breaker.admit(at(129)), None);
        assert_eq!(breaker.state(at(130)), BreakerState::HalfOpen);
        assert_eq!(breaker.admit(at(130)), Some(Pass::Probe));
        assert_eq!(breaker.admit(at(131)), None);
        // What was asked before it opened decides nothing.
        breaker.failed(Pass::Usual, at(131));
        assert_eq!(breaker.state(at(131)), BreakerState::HalfOpen);
        breaker.failed(Pass::Probe, at(131));
        assert_eq!(breaker.admit(at(160)), None);
        assert_eq!(breaker.admit(at(161)), Some(Pass::Probe));
        breaker.succeeded();
        assert_eq!(breaker.admit(at(161)), Some(Pass::Usual));
    }

    #[test]
    fn an_abandoned_probe_is_repeated() {
        let mut breaker = open();
        assert_eq!(breaker.admit(at(130)), Some(Pass::Probe));
        breaker.abandoned(Pass::Usual);
        assert_eq!(breaker.admit(at(130)), None);
        breaker.abandoned(Pass::Probe);
        assert_eq!(breaker.admit(at(130)), Some(Pass::Probe));
    }

    #[test]
    fn a_clock_set_back_prolongs_nothing() {
        assert_eq!(open().admit(at(5)), Some(Pass::Probe));
    }
}
