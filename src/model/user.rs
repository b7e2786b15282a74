//! A person who authenticates.

use std::time::Duration;

use crate::model::message::Language;
use crate::model::message::Medium;
use crate::model::source::Source;
use crate::model::user_key::UserKey;
use crate::otp::throttle::Block;
use crate::otp::throttle::Blocked;
use crate::otp::throttle::Lockout;
use crate::otp::throttle::Throttle;
use crate::time::UnixTime;

/// A user as the administrator describes them; counters live in [`UserState`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// Canonical name and realm; the identity.
    pub key: UserKey,
    /// Groups, in the order given; policy rules match any of them.
    pub groups: Vec<String>,
    /// The name as people write it.
    pub display_name: Option<String>,
    /// Telephone number as entered.
    pub phone: Option<String>,
    /// Mail address as entered.
    pub email: Option<String>,
    /// Birth date `YYYY-MM-DD`.
    pub birth_date: Option<String>,
    /// Class of user, for policy rules (`individual`, `corporate`, ...).
    pub class: Option<String>,
    /// A disabled user is always rejected.
    pub disabled: bool,
    /// While it holds, the factors the user *has* are not asked for.
    pub bypass: Option<Waiver>,
    /// While it holds, and the user has departed and asks from abroad, the factors that a rule
    /// names under `exempt` are not asked for.
    pub exemption: Option<Waiver>,
    /// The language of messages to the user.
    pub language: Language,
    /// Whether the user may enrol tokens without coming in person, where a policy asks for this
    /// consent (row C10).
    pub remote_issue: bool,
    /// Addresses that were on record until lately, the oldest first; personal data like the present
    /// ones.
    pub former: Vec<FormerContact>,
    /// What operators did to the account within the last day.
    pub acts: Vec<OperatorAct>,
    /// When the record was made.
    pub created: UnixTime,
    /// Rises by one with every change; what a conditional change compares.
    pub revision: u64,
}

/// An address that a user had.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FormerContact {
    /// How messages got there.
    pub medium: Medium,
    /// The address as it was on record.
    pub address: String,
    /// Until when the user is told there too.
    pub until: UnixTime,
}

/// A change of an account by an operator; another that completes it is a second person's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OperatorAct {
    /// What was changed.
    pub touched: Touched,
    /// By whom, as in the audit.
    pub actor: String,
    /// When.
    pub at: UnixTime,
}

/// What an operator changed of an account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Touched {
    /// Where the user is reached: telephone number, mail address, the address of a token.
    Contact,
    /// PIN or password.
    Secret,
    /// The tokens: a new one, or the code that hands one out.
    Token,
}

impl Touched {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Contact, Self::Secret, Self::Token];

    /// The word in stored records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::Secret => "secret",
            Self::Token => "token",
        }
    }

    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contact => "the contact data",
            Self::Secret => "the PIN or password",
            Self::Token => "the tokens",
        }
    }

    /// Whether both together take an account over without the user hearing of it.
    pub const fn completes(self, other: Self) -> bool {
        matches!(
            (self, other),
            (Self::Contact, Self::Secret | Self::Token)
                | (Self::Secret | Self::Token, Self::Contact)
        )
    }
}

impl User {
    /// How long the user is told at an address that is not on record any more.
    pub const TOLD_FOR: Duration = Duration::from_hours(24 * 30);
    /// How long one operator's changes count together.
    pub const ACTS_FOR: Duration = Duration::from_hours(24);
    /// Most former addresses that are kept.
    const FORMER: usize = 8;
    /// Most acts that are kept.
    const ACTS: usize = 16;

    /// Remembers an address that leaves the record. Of too many the oldest are kept: changing an
    /// address often does not make its first owner forgotten.
    pub fn leaves(&mut self, medium: Medium, address: String, now: UnixTime) {
        let same = |one: &FormerContact| one.medium == medium && one.address == address;
        self.former.retain(|one| now < one.until && !same(one));
        if self.former.len() < Self::FORMER {
            let until = now.plus(Self::TOLD_FOR);
            self.former.push(FormerContact {
                medium,
                address,
                until,
            });
        }
    }

    /// The act of this operator that `touched` would complete, if there is one.
    pub fn completed_by(
        &self,
        touched: Touched,
        actor: &str,
        now: UnixTime,
    ) -> Option<&OperatorAct> {
        let mut acts = self.acts.iter();
        acts.find(|act| {
            act.actor == actor
                && act.touched.completes(touched)
                && now < act.at.plus(Self::ACTS_FOR)
        })
    }

    /// Remembers what an operator does.
    pub fn remember(&mut self, act: OperatorAct) {
        let now = act.at;
        let same = |one: &OperatorAct| one.actor == act.actor && one.touched == act.touched;
        self.acts
            .retain(|one| now < one.at.plus(Self::ACTS_FOR) && !same(one));
        self.acts.insert(0, act);
        self.acts.truncate(Self::ACTS);
    }
}

/// An exception somebody answers for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Waiver {
    /// Why.
    pub reason: String,
    /// Who granted it.
    pub owner: String,
    /// From when.
    pub from: UnixTime,
    /// Until when; it ends by itself.
    pub until: UnixTime,
}

impl Waiver {
    /// Whether it holds at this time.
    pub fn holds(&self, at: UnixTime) -> bool {
        self.from <= at && at < self.until
    }
}

/// What attempts change about a user.
///
/// ```text
/// failure anywhere  -> throttle (one counter over all sources, channels and tokens)
/// failure from a known source -> also that source's own throttle
/// who is asked:  a known source by its own throttle, everybody else by the common one
/// ```
///
/// A known source is one from which the user has succeeded before. Strangers who guess lock
/// everybody out but the known sources (SECURITY T11), and leave them a reserve of the failures that
/// end in a hard lock: all guesses together still never exceed `hard_lock_after`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct UserState {
    /// Failures over all channels, tokens and sources since the last success, and the lock of
    /// sources that are not known.
    pub throttle: Throttle,
    /// Where the user has succeeded, newest first, at most [`UserState::KNOWN`].
    pub known: Vec<KnownSource>,
    /// Challenges that were answered and have not expired, at most [`UserState::ANSWERED`]: none is
    /// answered twice.
    pub answered: Vec<Answered>,
    /// Where there were more: this challenge, and all that were made before it, are void.
    pub voided: Option<Answered>,
}

/// A source from which the user has succeeded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KnownSource {
    /// Which.
    pub source: Source,
    /// Day of the last success, counted from the epoch: no row changes with every login.
    pub day: u32,
    /// Failures from there since the last success from there.
    pub throttle: Throttle,
}

/// A challenge that was answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Answered {
    /// Which; a later one has a higher number.
    pub challenge: u64,
    /// When it expires anyway.
    pub expires: UnixTime,
}

impl UserState {
    /// Most sources that are remembered: home, office, telephone, one more.
    pub const KNOWN: usize = 4;
    /// Most answered challenges that are remembered; the oldest makes room, and voids those before it.
    pub const ANSWERED: usize = 16;

    /// Whether the user has succeeded from there before.
    pub fn knows(&self, source: Option<Source>) -> bool {
        self.place(source).is_some()
    }

    /// Whether an attempt from `source` may be evaluated.
    pub fn check(
        &self,
        source: Option<Source>,
        lockout: &Lockout,
        at: UnixTime,
    ) -> Result<(), Blocked> {
        let known = self.place(source).and_then(|place| self.known.get(place));
        let limit = match known {
            Some(known) => {
                known.throttle.check(at)?;
                lockout.hard_lock_after
            }
            None => {
                self.throttle.check(at)?;
                self.strangers(lockout).hard_lock_after
            }
        };
        if self.throttle.failures >= limit.max(1) {
            return Err(Blocked::Locked { until: None });
        }
        Ok(())
    }

    /// After a wrong answer.
    pub fn failed(mut self, source: Option<Source>, lockout: &Lockout, at: UnixTime) -> Self {
        self.throttle = self.throttle.failed(&self.strangers(lockout), at);
        let hard = self.throttle.failures >= lockout.hard_lock_after;
        let known = self.place(source);
        if let Some(known) = known.and_then(|place| self.known.get_mut(place)) {
            let own = Lockout {
                hard_lock_after: u32::MAX,
                ..*lockout
            };
            known.throttle = known.throttle.failed(&own, at);
            if hard {
                known.throttle.block = Block::Hard;
            }
        }
        self
    }

    /// After a right answer. From a known source it forgets the failures, but a lock that still
    /// runs against strangers runs on: a login of the victim must not hand out fresh guesses.
    pub fn succeeded(mut self, source: Option<Source>, at: UnixTime) -> Self {
        let day = u32::try_from(at.as_secs() / DAY).unwrap_or(u32::MAX);
        let place = self.place(source);
        if place.is_some() {
            self.throttle.failures = 0;
            if self.throttle.check(at).is_ok() {
                self.throttle.block = Block::None;
            }
        } else {
            self.throttle = self.throttle.succeeded();
        }
        let Some(source) = source else {
            return self;
        };
        let fresh = KnownSource {
            source,
            day,
            throttle: Throttle::default(),
        };
        // Known since today and without failures: the row stays as it is.
        if !self.known.contains(&fresh) {
            place.map(|place| self.known.remove(place));
            self.known.insert(0, fresh);
            self.known.truncate(Self::KNOWN);
        }
        self
    }

    /// After an administrator unlocked: no failures, no locks.
    pub fn unlocked(mut self) -> Self {
        self.throttle = Throttle::unlocked();
        for known in &mut self.known {
            known.throttle = Throttle::unlocked();
        }
        self
    }

    /// Whether the challenge was answered before, or is older than one whose answer was forgotten.
    pub fn has_answered(&self, challenge: Answered, at: UnixTime) -> bool {
        let live = |known: &&Answered| at < known.expires;
        let mut answered = self.answered.iter().filter(live);
        answered.any(|known| known.challenge == challenge.challenge)
            || self
                .voided
                .iter()
                .filter(live)
                .any(|mark| challenge.challenge <= mark.challenge)
    }

    /// Remembers that the challenge was answered. Whoever burns many voids older ones, never the one
    /// that comes next.
    pub fn answer(mut self, challenge: Answered, at: UnixTime) -> Self {
        self.answered.retain(|known| at < known.expires);
        self.voided = self.voided.filter(|mark| at < mark.expires);
        self.answered.push(challenge);
        if self.answered.len() > Self::ANSWERED {
            self.answered.sort_unstable_by_key(|known| known.challenge);
            let oldest = self.answered.remove(0);
            let before = self.voided.unwrap_or(oldest);
            self.voided = Some(Answered {
                challenge: oldest.challenge.max(before.challenge),
                expires: oldest.expires.max(before.expires),
            });
        }
        self
    }

    fn place(&self, source: Option<Source>) -> Option<usize> {
        let source = source?;
        self.known.iter().position(|known| known.source == source)
    }

    /// The limits of sources that are not known: they leave the known ones a round.
    fn strangers(&self, lockout: &Lockout) -> Lockout {
        let reserve = if self.known.is_empty() {
            0
        } else {
            lockout.lock_after.min(lockout.hard_lock_after / 2)
        };
        Lockout {
            hard_lock_after: lockout.hard_lock_after - reserve,
            ..*lockout
        }
    }
}

const DAY: u64 = 86_400;

#[cfg(test)]
mod tests;
