//! The transition that issues a code: sent over another channel, fetched by a device, drawn from a
//! card, handed out for an enrolment. Pure.
//!
//! ```text
//! service: draws the code, keeps its mark -> Issue --settle_issue(newest state)--> durable -> out
//! ```
//!
//! Invariants:
//! - a token has one live code; a new one voids the one before (its number is higher);
//! - an issued code has a number, and is consumed like a step: only above `Moving::last`, which then
//!   becomes that number. Its wrong answers are counted in its own record, in the same transaction as
//!   the user's failures, so that neither a restart nor a race gives tries back (threats T38);
//! - what costs money or patience is limited before it leaves: by time since the last message and by
//!   the day, for the user, the address, the address's prefix and in all (threats T37).

use std::time::Duration;

use crate::model::device::{DeviceCall, DeviceState};
use crate::model::id::{RequestId, Serial};
use crate::model::token::{LifeCycle, TokenState};
use crate::model::user_key::UserKey;
use crate::otp::card::Pair;
use crate::otp::issued::Mark;
use crate::time::{UnixTime, millis};

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

/// What an issued code is for, and where it is given back.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Way {
    /// Typed where the person logs in.
    Code,
    /// Shown where the person logs in; sent to us by SMS, or keyed in on the telephone.
    Inbound,
    /// Redeemed by a new device.
    Enrol,
    /// Redeemed by the device that takes over from another.
    Transfer,
}

impl Way {
    /// The word in marks, and in the audit.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Inbound => "inbound",
            Self::Enrol => "enrol",
            Self::Transfer => "transfer",
        }
    }

    /// The number in stored records; never reused.
    pub const fn number(self) -> u8 {
        match self {
            Self::Code => 1,
            Self::Inbound => 2,
            Self::Enrol => 3,
            Self::Transfer => 4,
        }
    }

    /// The way with this stored number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Code),
            2 => Some(Self::Inbound),
            3 => Some(Self::Enrol),
            4 => Some(Self::Transfer),
            _ => None,
        }
    }

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

/// A count per UTC day that must not be exceeded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Quota {
    /// What is counted: `user alice@default`, `address +82...`, `prefix +82101234`, `all sms`.
    pub scope: String,
    /// Most a day.
    pub limit: u32,
}

/// One code to be issued, in closed form.
#[derive(Clone, Debug)]
pub struct Issue {
    /// Names the request.
    pub request: RequestId,
    /// When it arrived.
    pub at: UnixTime,
    /// Who asked, for the audit.
    pub actor: String,
    /// Whose token.
    pub user: UserKey,
    /// Which.
    pub serial: Serial,
    /// Revision of the token that was read.
    pub revision: u64,
    /// The number it gets: the next one, as it was read.
    pub number: u64,
    /// What it is for.
    pub way: Way,
    /// What is kept of its text.
    pub mark: Mark,
    /// The cells that are asked for, of a card.
    pub pair: Option<Pair>,
    /// How long it is good; `None`: until it is answered or locked.
    pub life: Option<Duration>,
    /// Whether a message leaves with it, and what then limits it.
    pub message: Option<Vec<Quota>>,
    /// The signed request of a device that asks for it.
    pub device: Option<DeviceCall>,
    /// What the audit says beside token and way.
    pub detail: String,
}

/// The newest state of what an issue touches.
#[derive(Clone, Debug)]
pub struct IssueCurrent {
    /// The token's life and revision; `None`: there is no such token.
    pub token: Option<(u64, LifeCycle)>,
    /// Whether a device carries it.
    pub carried: bool,
    /// The token's state.
    pub state: TokenState,
    /// Messages today, per quota of the issue.
    pub counts: Vec<u32>,
    /// The calling device's state; `None`: there is no such device, or it was revoked.
    pub device: Option<DeviceState>,
}

/// What an issue does to the state.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IssueSettlement {
    /// The token's new state.
    pub state: TokenState,
    /// The code.
    pub issued: Issued,
    /// The device's new state, when one asked.
    pub device: Option<DeviceState>,
}

/// Why no code is issued. None of them is a failure of the person.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum IssueRefusal {
    /// The token changed since it was read: read it again.
    #[error("the token changed meanwhile")]
    Stale,
    /// The token is not in the state that this code needs.
    #[error("the token is not in use")]
    NotUsable,
    /// The last message is too young.
    #[error("a message was sent a moment ago; the next may leave at {until}")]
    TooSoon {
        /// When the next may leave.
        until: UnixTime,
    },
    /// Enough messages today.
    #[error("no more messages today for this {scope}")]
    Spent {
        /// What is counted: `user`, `address`, `prefix`, `all`.
        scope: String,
    },
    /// The card is locked by wrong answers.
    #[error("the card is locked by wrong answers")]
    Locked,
    /// The device is unknown or revoked, or this request of it was seen before.
    #[error("the device's request is not taken")]
    Device,
}

/// Decides an issue against the newest state.
pub fn settle_issue(
    issue: &Issue,
    current: &IssueCurrent,
) -> Result<IssueSettlement, IssueRefusal> {
    let device = match &issue.device {
        None => None,
        Some(call) => {
            let known = current.device.as_ref().ok_or(IssueRefusal::Device)?;
            Some(
                known
                    .take(call, issue.at)
                    .map_err(|_| IssueRefusal::Device)?,
            )
        }
    };
    let (revision, life) = current.token.ok_or(IssueRefusal::NotUsable)?;
    let state = current.state;
    if revision != issue.revision || next_number(&state) != issue.number {
        return Err(IssueRefusal::Stale);
    }
    let fits = match issue.way {
        Way::Code | Way::Inbound => matches!(life, LifeCycle::Active | LifeCycle::Pending),
        // A device that has redeemed one must not lose the token to anyone who redeems another.
        Way::Enrol => life == LifeCycle::Pending && !current.carried,
        Way::Transfer => life == LifeCycle::Active && current.carried,
    };
    if !fits {
        return Err(IssueRefusal::NotUsable);
    }
    if let Some(drawn) = state.issued.filter(|drawn| drawn.pair.is_some())
        && drawn.is_unused(state.moving.last)
    {
        // The same cells until they are answered (capabilities D2); while locked, until the lock ends.
        return Err(if drawn.is_spent() {
            IssueRefusal::Locked
        } else {
            IssueRefusal::Stale
        });
    }
    let mut sends = state.sends;
    if let Some(quotas) = &issue.message {
        let until = sends.next();
        if issue.at < until {
            return Err(IssueRefusal::TooSoon { until });
        }
        let counts = current.counts.iter();
        if let Some((quota, _)) = quotas.iter().zip(counts).find(|(q, n)| **n >= q.limit) {
            // Whose it is stays out of logs and answers.
            let scope = quota.scope.split(' ').next().unwrap_or_default().to_owned();
            return Err(IssueRefusal::Spent { scope });
        }
        sends = sends.sent(issue.at);
    }
    let issued = Issued {
        number: issue.number,
        way: issue.way,
        mark: issue.mark,
        pair: issue.pair,
        expires: issue.life.map_or(NEVER, |life| issue.at.plus(life)),
        tries: 0,
        answered: false,
    };
    Ok(IssueSettlement {
        state: TokenState {
            issued: Some(issued),
            sends,
            ..state
        },
        issued,
        device,
    })
}

/// The number of the next code.
pub fn next_number(state: &TokenState) -> u64 {
    let issued = state.issued.map_or(0, |issued| issued.number);
    issued.max(state.moving.last.unwrap_or(0)).saturating_add(1)
}

/// The UTC day that quotas count by.
pub const fn day(at: UnixTime) -> u64 {
    at.as_secs() / 86_400
}

/// Of what has no end.
const NEVER: UnixTime = UnixTime::from_millis(u64::MAX);
const FIRST_WAIT: Duration = Duration::from_mins(1);
/// 1, 2, 4, 8, 16, 32 minutes.
const DOUBLINGS: u32 = 5;
const QUIET: Duration = Duration::from_hours(24);

/// How long after `at` this is, for people.
pub fn wait(until: UnixTime, at: UnixTime) -> Duration {
    Duration::from_millis(millis(until.since(at)).div_ceil(1000) * 1000)
}

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
