//! Failure counter and lock of one subject (user, token or source) as a state machine.
//!
//! Sources: RFC 4226 s7.3 (throttling, delay and lock), SP 800-63B (at most 100 consecutive
//! failures), PCI DSS 8.3.4 (lock of 30 minutes after at most 10), contract s7.
//!
//! ```text
//!   failures in the round   1  2  3 | 4   5   6   7   8   9  | 10
//!   what follows            -  -  - | 1s  3s  5s  10s 10s 10s| locked 30 min, next round
//!   100 failures without a success:  hard lock, until an administrator unlocks
//! ```
//!
//! Why the hard lock: ten tries and a lock of half an hour, for ever, are 480 guesses a day. With
//! six digits and three live codes that is a hit with 41 % within a year; with a hard lock after
//! 100 it is 3 in 10 000, ever.
//!
//! Invariants:
//! - Failures only grow until a success or an administrator resets them.
//! - A block never ends earlier because of a later failure, and its end is a fixed time: setting
//!   the clock back lengthens the wait, it cannot shorten it. (Setting the clock *forward* does
//!   shorten it, as it must; who moves the clock owns the host. After a forward jump is undone a
//!   block may end far in the future: an administrator unlocks.)
//! - One state per subject and one writer: the caller checks, evaluates and stores the failure in
//!   one transaction, or parallel guesses beat the count (CVE-2024-4629).

use std::time::Duration;

use crate::time::UnixTime;

/// The limits, from the policy's `[lockout]`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lockout {
    /// Failures in a round that are followed by no delay.
    pub free: u32,
    /// Failures in a round until a timed lock; 0 counts as 1.
    pub lock_after: u32,
    /// Length of a timed lock.
    pub lock_for: Duration,
    /// Failures since the last success until only an administrator unlocks; 0 counts as 1.
    pub hard_lock_after: u32,
    /// Wrong answers of one user within a year, forgiven or not, until only an administrator unlocks.
    pub year_lock_after: u32,
    /// As `free`, for one source over all users.
    pub source_free: u32,
    /// As `lock_after`, for one source over all users; 0: sources are not limited.
    pub source_lock_after: u32,
}

impl Lockout {
    /// The limit of a year where a policy names none.
    pub fn usual_year(hard_lock_after: u32) -> u32 {
        hard_lock_after.saturating_mul(10).max(YEAR)
    }
}

impl Default for Lockout {
    fn default() -> Self {
        Self {
            free: 3,
            lock_after: 10,
            lock_for: Duration::from_mins(30),
            hard_lock_after: 100,
            year_lock_after: YEAR,
            source_free: 3,
            source_lock_after: 10,
        }
    }
}

/// State of one subject. The default has no failures.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Throttle {
    /// Failures since the last success, saturating.
    pub failures: u32,
    /// What they led to.
    pub block: Block,
}

/// Whether and until when attempts are refused without being evaluated.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Block {
    /// Attempts are evaluated.
    #[default]
    None,
    /// A short pause between attempts.
    Delay {
        /// First instant at which an attempt is evaluated again.
        until: UnixTime,
    },
    /// A timed lock.
    Locked {
        /// First instant at which an attempt is evaluated again.
        until: UnixTime,
    },
    /// Locked until an administrator unlocks.
    Hard,
}

/// Why an attempt is not evaluated. It is not a failure and is not counted as one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Blocked {
    /// Too soon after the last failure.
    Throttled {
        /// When the next attempt is evaluated.
        until: UnixTime,
    },
    /// Locked.
    Locked {
        /// When the lock ends; `None`: when an administrator ends it.
        until: Option<UnixTime>,
    },
}

impl Throttle {
    /// Whether an attempt may be evaluated at `now`.
    pub fn check(&self, now: UnixTime) -> Result<(), Blocked> {
        match self.block {
            Block::Delay { until } if now < until => Err(Blocked::Throttled { until }),
            Block::Locked { until } if now < until => Err(Blocked::Locked { until: Some(until) }),
            Block::Hard => Err(Blocked::Locked { until: None }),
            Block::None | Block::Delay { .. } | Block::Locked { .. } => Ok(()),
        }
    }

    /// The state after a wrong answer at `now`. Counts also while blocked, for callers that had
    /// evaluated the attempt already.
    pub fn failed(self, lockout: &Lockout, now: UnixTime) -> Self {
        let failures = self.failures.saturating_add(1);
        if self.block == Block::Hard || failures >= lockout.hard_lock_after {
            return Self {
                failures,
                block: Block::Hard,
            };
        }
        let in_round = failures % lockout.lock_after.max(1);
        let block = if in_round == 0 {
            Block::Locked {
                until: now.plus(lockout.lock_for),
            }
        } else {
            match delay(in_round, lockout.free) {
                Duration::ZERO => Block::None,
                pause => Block::Delay {
                    until: now.plus(pause),
                },
            }
        };
        Self {
            failures,
            block: self.block.at_least(block, now),
        }
    }

    /// The state after so many failures were forgiven. A block that runs goes on, and a hard lock is
    /// an administrator's to end.
    #[must_use]
    pub fn forgiven(self, failures: u32, now: UnixTime) -> Self {
        let runs = self.check(now).is_err();
        Self {
            failures: self.failures.saturating_sub(failures),
            block: if runs { self.block } else { Block::None },
        }
    }

    /// Whether attempts are refused for a time.
    pub fn waits(&self, now: UnixTime) -> bool {
        self.block != Block::Hard && self.check(now).is_err()
    }

    /// The state after an operator ended the wait: what was counted stays, and a hard lock is an
    /// administrator's to end.
    #[must_use]
    pub fn without_wait(self) -> Self {
        match self.block {
            Block::Hard => self,
            _ => Self {
                block: Block::None,
                ..self
            },
        }
    }

    /// The state after an administrator unlocked: as if nothing had happened.
    pub fn unlocked() -> Self {
        Self::default()
    }
}

impl Block {
    /// `next`, unless this block is still running and ends later.
    fn at_least(self, next: Self, now: UnixTime) -> Self {
        match self.end() {
            Some(end) if end > now && next.end().is_none_or(|next| end > next) => self,
            _ => next,
        }
    }

    /// When a timed block ends.
    const fn end(self) -> Option<UnixTime> {
        match self {
            Self::Delay { until } | Self::Locked { until } => Some(until),
            Self::None | Self::Hard => None,
        }
    }
}

/// Pause after the `in_round`-th failure of a round.
fn delay(in_round: u32, free: u32) -> Duration {
    let Some(beyond) = in_round.checked_sub(free).and_then(|n| n.checked_sub(1)) else {
        return Duration::ZERO;
    };
    let rung = usize::try_from(beyond).unwrap_or(usize::MAX);
    LADDER.get(rung).copied().unwrap_or(LAST_RUNG)
}

/// Wrong answers within a year: above what people mistype who come in afterwards each time (twice a
/// day), and with six digits and two live codes a chance of 1 in 500.
const YEAR: u32 = 1000;

/// Pauses after the first, second, third failure beyond the free ones.
pub const LADDER: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(5),
];

/// The pause after every further one.
pub const LAST_RUNG: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
