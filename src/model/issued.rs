//! The newest code that the server issued for a token, and when messages of the token left.

use std::time::Duration;

use crate::otp::card::Pair;
use crate::otp::issued::Mark;
use crate::time::UnixTime;

/// The newest code of a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Issued {
    /// Its number: rises by one with every code of the token.
    pub number: u64,
    /// What it is for.
    pub way: Way,
    /// What remains of its text; without meaning for a card, whose answer follows from the cells.
    pub mark: Mark,
    /// The cells that are asked for, of a card.
    pub pair: Option<Pair>,
    /// From when it is void.
    pub expires: UnixTime,
    /// Wrong answers so far.
    pub tries: u8,
    /// Whether the person has answered on the other channel.
    pub answered: bool,
}

words! {
    /// What an issued code is for, and where it is given back.
    #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
    pub enum Way {
        /// Typed where the person logs in.
        Code = "code" as 1,
        /// Shown where the person logs in; sent to us by SMS, or keyed in on the telephone.
        Inbound = "inbound" as 2,
        /// Redeemed by a new device.
        Enrol = "enrol" as 3,
        /// Redeemed by the device that takes over from another.
        Transfer = "transfer" as 4,
    }
}

impl Way {
    /// Wrong answers after which the code is void (contract s7; capabilities C6, D1, D3).
    pub const fn tries(self) -> u8 {
        match self {
            Self::Code | Self::Enrol => 5,
            Self::Inbound | Self::Transfer => 3,
        }
    }
}

impl Issued {
    /// Whether a right answer would be taken at `at`, when `last` is the last consumed number.
    pub fn is_open(&self, last: Option<u64>, at: UnixTime) -> bool {
        self.is_unused(last) && at < self.expires && !self.is_spent()
    }

    /// Whether it was never accepted.
    pub fn is_unused(&self, last: Option<u64>) -> bool {
        last.is_none_or(|last| self.number > last)
    }

    /// Whether it had all its wrong answers.
    pub const fn is_spent(&self) -> bool {
        self.tries >= self.way.tries()
    }

    /// After a wrong answer.
    #[must_use]
    pub const fn failed(self) -> Self {
        Self {
            tries: self.tries.saturating_add(1),
            ..self
        }
    }
}

/// When messages of a token left.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sends {
    /// The last one.
    pub last: UnixTime,
    /// Messages in a row without a login: each doubles the wait for the next.
    pub streak: u8,
}

impl Sends {
    /// When the next message may leave: a minute after the first, doubling to 32 minutes
    /// (contract s7).
    pub fn next(self) -> UnixTime {
        match self.streak {
            0 => UnixTime::EPOCH,
            streak => {
                let doubled = FIRST_WAIT * (1 << u32::from(streak - 1).min(DOUBLINGS));
                self.last.plus(doubled)
            }
        }
    }

    /// After a message at `at`. A quiet day starts the waits again.
    #[must_use]
    pub fn sent(self, at: UnixTime) -> Self {
        let quiet = at.since(self.last) >= QUIET;
        Self {
            last: at,
            streak: if quiet {
                1
            } else {
                self.streak.saturating_add(1)
            },
        }
    }
}

const FIRST_WAIT: Duration = Duration::from_mins(1);
/// 1, 2, 4, 8, 16, 32 minutes.
const DOUBLINGS: u32 = 5;
const QUIET: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_between_messages_doubles_to_half_an_hour() {
        let start = UnixTime::from_secs(1_795_000_000);
        let mut sends = Sends::default();
        let mut waits = Vec::new();
        let mut at = start;
        assert!(sends.next() <= at);
        for _ in 0..8 {
            sends = sends.sent(at);
            waits.push(sends.next().since(at).as_secs() / 60);
            at = sends.next();
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 32, 32]);
        let tomorrow = at.plus(Duration::from_hours(25));
        assert_eq!(sends.sent(tomorrow).streak, 1);
    }

    #[test]
    fn words_and_numbers_are_reversible() {
        for way in [Way::Code, Way::Inbound, Way::Enrol, Way::Transfer] {
            assert_eq!(Way::from_number(way.number()), Some(way));
        }
        assert_eq!(Way::from_number(0), None);
    }
}
