//! Where a login stands: everything that is known about it without what is typed.

use std::net::IpAddr;

use crate::explain::demand::{Asked, TokenShown};
use crate::explain::rules::RuleShown;
use crate::model::audit::Channel;
use crate::model::reason::Reason;
use crate::model::source::Source;
use crate::model::user::User;
use crate::otp::throttle::{Blocked, Throttle};
use crate::time::UnixTime;

/// What is known about one login without what is typed.
#[derive(Debug)]
pub struct Situation {
    /// The time by which rules and waivers were read.
    pub at: UnixTime,
    /// Who asks.
    pub asker: Asker,
    /// How the credential travels.
    pub method: String,
    /// From where.
    pub source: Option<IpAddr>,
    /// The user as the audit would show it.
    pub name: String,
    /// Its record, if there is one.
    pub user: Option<Person>,
    /// Users of the same name in other realms, where there is no record.
    pub namesakes: Vec<String>,
    /// The policy that applies, if it is loaded.
    pub policy: Option<PolicyShown>,
    /// What the deciding rule asks for.
    pub asked: Option<Asked>,
    /// The reply attributes of an accept, by the token that stands first.
    pub reply: Vec<(String, String)>,
    /// All tokens of the user.
    pub tokens: Vec<TokenShown>,
    /// Failures and locks.
    pub counters: Option<Counters>,
    /// Why everything would be rejected, if so.
    pub refused: Option<Reason>,
    /// What else a reader must know, in sentences.
    pub notes: Vec<String>,
}

impl Situation {
    /// The repair of the store for which codes that would count are refused, and until when.
    pub fn repair_refuses(&self) -> Option<(UnixTime, UnixTime)> {
        let mut counting = self.tokens.iter().filter(|token| token.counts);
        counting.find_map(|token| token.state.refused_until(self.at))
    }

    /// Why no code is looked at although one is asked for: every token that counts is blocked.
    pub(super) fn blocked(&self, at: UnixTime) -> Option<Reason> {
        let counting = self.tokens.iter().filter(|token| token.counts);
        let mut reason = None;
        for token in counting {
            reason = match token.state.throttle.check(at) {
                // Its codes count as used.
                Ok(()) if token.state.refused_until(at).is_some() => Some(Reason::UsedCode),
                Ok(()) => return None,
                Err(Blocked::Throttled { .. }) => Some(Reason::Throttled),
                Err(Blocked::Locked { .. }) => Some(Reason::Locked),
            };
        }
        reason
    }
}

/// One thing to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    /// What, in one sentence.
    pub text: String,
    /// The words of the command that does it, the program's name first; never through a shell
    /// unquoted: a user's name may hold anything.
    pub command: Vec<String>,
}

/// Who asks.
#[derive(Debug)]
pub struct Asker {
    /// Its name.
    pub name: String,
    /// Over which front end.
    pub channel: Channel,
    /// Whether there is a client of this name now.
    pub known: bool,
    /// Its policy; `default` when none.
    pub policy: Option<String>,
    /// Whether it can carry a challenge to the person and the answer back.
    pub rounds: bool,
}

/// A user as it is now, without what is secret.
#[derive(Debug)]
pub struct Person {
    /// The record.
    pub user: User,
    /// Whether there is a PIN, and whether it must be changed.
    pub pin: Option<bool>,
    /// Whether there is a password, and whether it must be changed.
    pub password: Option<bool>,
}

/// A policy as it was read for this login.
#[derive(Debug)]
pub struct PolicyShown {
    /// Its name.
    pub name: String,
    /// Its rules, in order.
    pub rules: Vec<RuleShown>,
}

/// Failures and locks.
#[derive(Debug)]
pub struct Counters {
    /// The time by which locks were read.
    pub at: UnixTime,
    /// Of the user, over everything.
    pub user: Throttle,
    /// Of the user from this source, if the user has succeeded there before.
    pub known: Option<Throttle>,
    /// Of the source over all users, if the source is known and limited.
    pub source: Option<(Source, Throttle)>,
    /// Why nothing is evaluated at that time, if so.
    pub blocked: Option<Reason>,
    /// Failures that lock for a while.
    pub lock_after: u32,
    /// Failures that lock for good.
    pub hard_lock_after: u32,
}
