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
pub use crate::model::issued::{Issued, Sends, Way};
use crate::model::token::{LifeCycle, TokenState};
use crate::model::user_key::UserKey;
use crate::otp::card::Pair;
use crate::otp::issued::Mark;
use crate::time::{UnixTime, millis};

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
    /// Stands for the only client that it is for, when there is one.
    pub client: Option<u32>,
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
    let sends = match &issue.message {
        Some(quotas) => may_send(state.sends, quotas, &current.counts, issue.at)?,
        None => state.sends,
    };
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
            client: issue.client,
            sends,
            ..state
        },
        issued,
        device,
    })
}

/// The messages of a token after one more at `at`, unless it must wait.
fn may_send(
    sends: Sends,
    quotas: &[Quota],
    counts: &[u32],
    at: UnixTime,
) -> Result<Sends, IssueRefusal> {
    let until = sends.next();
    if at < until {
        return Err(IssueRefusal::TooSoon { until });
    }
    if let Some((quota, _)) = quotas.iter().zip(counts).find(|(q, n)| **n >= q.limit) {
        // Whose it is stays out of logs and answers.
        let scope = quota.scope.split(' ').next().unwrap_or_default().to_owned();
        return Err(IssueRefusal::Spent { scope });
    }
    Ok(sends.sent(at))
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

/// How long after `at` this is, for people.
pub fn wait(until: UnixTime, at: UnixTime) -> Duration {
    Duration::from_millis(millis(until.since(at)).div_ceil(1000) * 1000)
}
