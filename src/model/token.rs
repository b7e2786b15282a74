//! One authenticator of a user, and what attempts change about it.

use crate::model::device::DeviceId;
use crate::model::enrolment::Enrolment;
use crate::model::id::Serial;
use crate::model::issued::{Issued, Sends};
use crate::model::kind::Kind;
pub use crate::model::life_cycle::LifeCycle;
use crate::model::user_key::UserKey;
use crate::otp::ahead::Ahead;
use crate::otp::normal::NormalKey;
use crate::otp::recovery::Used;
use crate::otp::throttle::{Block, Throttle};
use crate::otp::totp::Drift;
use crate::otp::{Algorithm, Digits, Period};
use crate::secret::OtpKey;
use crate::time::UnixTime;

/// A token as it was enrolled; its moving factor lives in [`TokenState`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Token {
    /// Its name.
    pub serial: Serial,
    /// The user it belongs to.
    pub user: UserKey,
    /// What makes its codes.
    pub kind: Kind,
    /// Where it stands in its life.
    pub state: LifeCycle,
    /// Hash function of the code.
    pub algorithm: Algorithm,
    /// Length of the code.
    pub digits: Digits,
    /// Seconds per code (RFC 6238 X); without meaning for HOTP.
    pub period: Period,
    /// The key K; never shown after enrolment. Of issued codes, the key of their marks; of a card or
    /// a sheet of recovery codes, what these follow from.
    pub key: OtpKey,
    /// Where codes are sent: a telephone number in E.164 form, a mail address.
    pub address: Option<String>,
    /// The device that carries it.
    pub device: Option<DeviceId>,
    /// From when it is no longer good.
    pub expires: Option<UnixTime>,
    /// How it came to be.
    pub enrolment: Enrolment,
    /// When the record was made.
    pub created: UnixTime,
    /// Rises by one with every change; what a conditional change compares.
    pub revision: u64,
}

impl Token {
    /// The key as HMAC takes it: of two tokens with one, each would accept the same code once.
    pub fn normal_key(&self) -> NormalKey {
        NormalKey::of(&self.key, self.algorithm)
    }

    /// Seconds per step where its moving factor counts time.
    pub fn counts_time(&self) -> Option<Period> {
        (self.kind == Kind::Totp).then_some(self.period)
    }

    /// Where it stands at `at`: what has expired is not in use, whether or not anybody has noted it.
    pub fn state_at(&self, at: UnixTime) -> LifeCycle {
        let expired = self.expires.is_some_and(|end| at >= end);
        match self.state {
            LifeCycle::Revoked => LifeCycle::Revoked,
            _ if expired => LifeCycle::Expired,
            state => state,
        }
    }

    /// Whether its owner's first right code at any front end brings it into use at `at`.
    pub fn awaits_first_code(&self, at: UnixTime) -> bool {
        let until = self.enrolment.first_use_until;
        self.kind.is_keyed()
            && self.state_at(at) == LifeCycle::Pending
            && until.is_some_and(|until| at < until)
    }

    /// What a yubikey types before each OTP, in modhex: its serial.
    pub fn public_id(&self) -> Option<String> {
        let serial = self.serial.as_str();
        (self.kind == Kind::Yubikey).then(|| serial.to_ascii_lowercase())
    }

    /// The last three digits of a card's number, which begin every answer.
    pub fn tail(&self) -> u16 {
        let digits = self.serial.as_str().bytes().filter(u8::is_ascii_digit);
        digits.fold(0_u16, |tail, digit| {
            (tail * 10 + u16::from(digit - b'0')) % 1000
        })
    }
}

/// What attempts change about a token. A token without a stored state has the default one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TokenState {
    /// What may match next.
    pub moving: Moving,
    /// Failures attributable to this token since its last success, and the lock.
    pub throttle: Throttle,
    /// When a code of it was last accepted.
    pub last_accept: Option<UnixTime>,
    /// The newest code that we made for it.
    pub issued: Option<Issued>,
    /// Which recovery codes are used up.
    pub used: Used,
    /// When its messages left.
    pub sends: Sends,
    /// How a repair of the store closed it.
    pub repaired: Option<Repaired>,
    /// Stands for the only client that its newest code is for; `None`: any, or it is not known.
    pub client: Option<u32>,
    /// Stands for the challenge that was answered with the last code that we made and that was right; `None`: it
    /// answered none. Other challenges may have asked for the same code.
    pub round: Option<u32>,
}

/// A repair of the store that may have lost records of used codes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Repaired {
    /// When.
    pub at: UnixTime,
    /// Until when its codes are refused, where they follow the time. `None`: which counters are used is not
    /// known; it does not come into use before two codes have found it again.
    pub until: Option<UnixTime>,
}

impl TokenState {
    /// When a repair of the store closed it, if it must be resynchronised before it comes into use.
    pub fn needs_resync(&self) -> Option<UnixTime> {
        let repaired = self.repaired.filter(|repaired| repaired.until.is_none());
        repaired.map(|repaired| repaired.at)
    }

    /// The repair of the store for which its codes are refused at `at`, and until when.
    pub fn refused_until(&self, at: UnixTime) -> Option<(UnixTime, UnixTime)> {
        let repaired = self.repaired?;
        let until = repaired.until.filter(|until| at < *until)?;
        Some((repaired.at, until))
    }

    /// Whether an administrator's unlocking changes anything about it.
    pub fn is_locked(&self) -> bool {
        self.throttle != Throttle::default() || self.card_errors() > 0
    }

    /// Whether it is locked until an administrator unlocks: after too many failures, or a card after its
    /// wrong answers.
    pub fn is_locked_for_good(&self) -> bool {
        let card = self.issued.filter(|issued| issued.pair.is_some());
        self.throttle.block == Block::Hard || card.is_some_and(|one| one.is_spent())
    }

    /// Its failures and its lock, of a card the one after its wrong answers, too.
    pub fn lock(&self) -> Throttle {
        let block = if self.is_locked_for_good() {
            Block::Hard
        } else {
            self.throttle.block
        };
        Throttle {
            failures: self.throttle.failures.max(self.card_errors().into()),
            block,
        }
    }

    /// After an administrator unlocked.
    #[must_use]
    pub fn unlocked(self) -> Self {
        let reopened = |issued: Issued| match issued.pair {
            Some(_) => Issued { tries: 0, ..issued },
            None => issued,
        };
        Self {
            throttle: Throttle::default(),
            issued: self.issued.map(reopened),
            ..self
        }
    }

    fn card_errors(&self) -> u8 {
        let drawn = self.issued.filter(|issued| issued.pair.is_some());
        drawn.map_or(0, |drawn| drawn.tries)
    }
}

/// The moving factor.
///
/// Invariant: `last` only rises, and a code whose step is not above it is never accepted. After a clock
/// that was ahead it is lowered once ([`crate::model::clock`]), and `ahead` keeps what was consumed
/// above it. It is otherwise for recovery codes, which are used in any order: [`TokenState::used`] says which are
/// gone, `last` the latest of them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Moving {
    /// Last consumed step (RFC 6238 T), counter (RFC 4226 C) or number of an issued code.
    pub last: Option<u64>,
    /// How far the token's clock is from ours; unused by HOTP.
    pub drift: Drift,
    /// Steps that were consumed while the clock was ahead, also below a later `last`: that one may be of a clock
    /// that is ahead again, and be lowered.
    pub ahead: Ahead,
}

impl Moving {
    /// First counter that may still match.
    pub fn next(self) -> u64 {
        self.last.map_or(0, |last| last.saturating_add(1))
    }

    /// Whether the step was never consumed.
    pub fn is_unused(&self, step: u64) -> bool {
        self.last.is_none_or(|last| step > last) && !self.ahead.contains(step)
    }

    /// After the step was consumed.
    #[must_use]
    pub fn consumed(self, step: u64) -> Self {
        Self {
            last: Some(step),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unused_counter_starts_at_zero() {
        assert_eq!(Moving::default().next(), 0);
        assert_eq!(
            Moving {
                last: Some(u64::MAX),
                ..Moving::default()
            }
            .next(),
            u64::MAX
        );
    }
}
