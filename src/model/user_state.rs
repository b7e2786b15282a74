//! What attempts change about a user: failures and locks by place, challenges that were answered.

use std::time::Duration;

use crate::model::source::Source;
use crate::otp::throttle::{Block, Blocked, Lockout, Throttle};
use crate::time::UnixTime;

/// What attempts change about a user.
///
/// ```text
/// failure from a known source  -> that source's own throttle
/// failure from anywhere else   -> the throttle of strangers, one for all of them
/// success from a known source  -> forgives that source's failures, and no one else's
/// success from another source  -> forgives the typing errors just before it, from the same place
/// ```
///
/// A known source is one from which the user has succeeded before. Strangers who guess lock
/// everybody out but the known sources (threats T11), and leave them a reserve of the failures that
/// end in a hard lock: all failures together still never exceed `hard_lock_after`.
///
/// The count of strangers outlives every login of the user: anyone who guesses in between gets no fresh
/// guesses by it. It ends when an administrator unlocks, or after a year without such a failure. "No
/// source", where a client does not say from where the person asks, is one more unknown place, never a
/// known one. So that typing errors made there do not add up, a success forgives the run of failures just
/// before it, from the same place, and no more than half a round.
///
/// A stranger behind the user's own address, or beside it where none is told, cannot be told from the
/// user: their failures are forgiven together. What bounds them is the count of all wrong answers, from
/// wherever, within a year: no success forgives it, and at [`Lockout::year_lock_after`] only an administrator
/// unlocks. Two typing errors a day stay below it for ever. Places that are not known leave the others a
/// part of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct UserState {
    /// Failures from sources that are not known, and their lock.
    pub throttle: Throttle,
    /// The last of these failures.
    pub last_failure: UnixTime,
    /// The last places they came from, newest first, at most [`UserState::RECENT`].
    pub recent: Vec<Recent>,
    /// All wrong answers within a year, by month, the newest first.
    pub months: Vec<Month>,
    /// Where the user has succeeded, newest first, at most [`UserState::KNOWN`].
    pub known: Vec<KnownSource>,
    /// Challenges that were answered and have not expired, at most [`UserState::ANSWERED`]: none is
    /// answered twice.
    pub answered: Vec<Answered>,
    /// Those of them whose answer was right, where a front end is asked how they stand.
    pub right: Vec<u64>,
    /// Where there were more: this challenge, and all that were made before it, are void.
    pub voided: Option<Answered>,
    /// When a token that was in use, or the record of it, went the last time.
    pub held: Option<UnixTime>,
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

/// An unknown place with failures.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Recent {
    /// Which; `None`: the client does not say.
    pub source: Option<Source>,
    /// How many.
    pub failures: u32,
    /// How many of the last, each within [`UserState::RUN`] of the one before.
    pub run: u32,
    /// The last one.
    pub last: UnixTime,
}

/// Wrong answers of some days, forgiven or not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Month {
    /// Which, counted from the epoch in months of [`UserState::MONTH`].
    pub number: u32,
    /// How many.
    pub failures: u32,
}

/// A challenge that was answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Answered {
    /// Which; a later one has a higher number.
    pub challenge: u64,
    /// When it expires anyway.
    pub expires: UnixTime,
}

impl Answered {
    /// What stands for the challenge in the record of the code that answered it: the drawn half of its number.
    pub fn mark(self) -> u32 {
        let drawn = self.challenge & u64::from(u32::MAX);
        u32::try_from(drawn).unwrap_or_default()
    }
}

impl UserState {
    /// Most sources that are remembered: home, office, telephone, one more.
    pub const KNOWN: usize = 4;
    /// Most unknown places whose failures a success may forgive.
    pub const RECENT: usize = 4;
    /// Most answered challenges that are remembered; the oldest makes room, and voids those before it.
    pub const ANSWERED: usize = 16;
    /// Time without a failure of strangers after which those before are forgiven.
    pub const CLEAN: Duration = Duration::from_hours(24 * 365);
    /// The longest that an answer is awaited.
    pub const ROUND: Duration = Duration::from_mins(10);
    /// Longest pause within a run of typing errors, and between the last of them and the success.
    pub const RUN: Duration = Duration::from_mins(10);
    /// A month of [`UserState::months`].
    pub const MONTH: Duration = Duration::from_hours(24 * 31);
    /// Months before the present one that count: a year at least.
    pub const MONTHS: u32 = 12;

    /// Whether the user has succeeded from there before.
    pub fn knows(&self, source: Option<Source>) -> bool {
        self.place(source).is_some()
    }

    /// Failures that count towards the hard lock.
    pub fn failures(&self) -> u32 {
        let known = self.known.iter().map(|known| known.throttle.failures);
        known.fold(self.throttle.failures, u32::saturating_add)
    }

    /// Wrong answers within a year, from wherever, those that were forgiven too.
    pub fn in_a_year(&self, at: UnixTime) -> u32 {
        let months = self.months.iter().filter(|month| month.counts(at));
        months.fold(0, |sum, month| sum.saturating_add(month.failures))
    }

    /// Whether the wrong answers of a year lock places that are not known.
    pub fn is_year_spent(&self, lockout: &Lockout, at: UnixTime) -> bool {
        self.in_a_year(at) >= self.of_a_year(false, lockout)
    }

    /// Failures from this place that no success from there has followed.
    pub fn failures_from(&self, source: Option<Source>) -> u32 {
        match self.place(source).and_then(|place| self.known.get(place)) {
            Some(known) => known.throttle.failures,
            None => {
                let mut recent = self.recent.iter();
                let recent = recent.find(|recent| recent.source == source);
                recent.map_or(0, |recent| recent.failures)
            }
        }
    }

    /// All failures, and the longest lock of them: for people.
    pub fn summary(&self, at: UnixTime) -> Throttle {
        let rested = self.clone().rested(at);
        let end = |throttle: &Throttle| match throttle.check(at) {
            Ok(()) => UnixTime::EPOCH,
            Err(Blocked::Throttled { until } | Blocked::Locked { until: Some(until) }) => until,
            Err(Blocked::Locked { until: None }) => UnixTime::from_millis(u64::MAX),
        };
        let known = rested.known.iter().map(|known| known.throttle);
        let longest = known.chain([rested.throttle]).max_by_key(end);
        Throttle {
            failures: rested.failures(),
            block: longest.unwrap_or_default().block,
        }
    }

    /// Whether an attempt from `source` may be evaluated.
    pub fn check(
        &self,
        source: Option<Source>,
        lockout: &Lockout,
        at: UnixTime,
    ) -> Result<(), Blocked> {
        let strangers = if self.is_clean(at) {
            Throttle::default()
        } else {
            self.throttle
        };
        let known = self.place(source).and_then(|place| self.known.get(place));
        match known {
            Some(known) => known.throttle.check(at)?,
            None => strangers.check(at)?,
        }
        let forgiven = self.throttle.failures - strangers.failures;
        let spent = self.failures().saturating_sub(forgiven) >= lockout.hard_lock_after.max(1);
        let limit = self.strangers(lockout).hard_lock_after.max(1);
        let year = self.of_a_year(known.is_some(), lockout);
        let spent = spent || self.in_a_year(at) >= year;
        if spent || (known.is_none() && strangers.failures >= limit) {
            return Err(Blocked::Locked { until: None });
        }
        Ok(())
    }

    /// After a wrong answer.
    #[must_use]
    pub fn failed(self, source: Option<Source>, lockout: &Lockout, at: UnixTime) -> Self {
        let mut after = self.rested(at);
        let strangers = after.strangers(lockout);
        let place = after.place(source);
        let known = place.and_then(|place| after.known.get_mut(place));
        if let Some(known) = known {
            let own = Lockout {
                hard_lock_after: u32::MAX,
                ..*lockout
            };
            known.throttle = known.throttle.failed(&own, at);
        } else {
            after.throttle = after.throttle.failed(&strangers, at);
            after.last_failure = after.last_failure.max(at);
            after.remember(source, at);
        }
        after.count(at);
        if after.is_year_spent(lockout, at) {
            after.throttle.block = Block::Hard;
        }
        let spent = after.in_a_year(at) >= after.of_a_year(true, lockout);
        if spent || after.failures() >= lockout.hard_lock_after {
            after.throttle.block = Block::Hard;
            for known in &mut after.known {
                known.throttle.block = Block::Hard;
            }
        }
        after
    }

    /// After a right answer: what it forgives the failures of strangers.
    #[must_use]
    pub fn spared(self, source: Option<Source>, lockout: &Lockout, at: UnixTime) -> Self {
        let mut after = self.rested(at);
        if after.place(source).is_none() {
            after.spare(source, lockout, at);
        }
        after
    }

    /// After a right answer: its source is known.
    #[must_use]
    pub fn known_at(self, source: Option<Source>, at: UnixTime) -> Self {
        let mut after = self;
        let Some(source) = source else {
            return after;
        };
        let place = after.place(Some(source));
        let fresh = KnownSource {
            source,
            day: day(at),
            throttle: Throttle::default(),
        };
        // Known since today and without failures: the row stays as it is.
        if after.known.contains(&fresh) {
            return after;
        }
        place.map(|place| after.known.remove(place));
        after.known.insert(0, fresh);
        if let Some(forgotten) = after.known.get(Self::KNOWN) {
            // What failed there is a stranger's from now on: forgetting a place forgives nothing.
            let failures = forgotten.throttle.failures;
            if failures > 0 {
                after.throttle.failures = after.throttle.failures.saturating_add(failures);
                after.last_failure = after.last_failure.max(at);
            }
            after.known.truncate(Self::KNOWN);
        }
        after
    }

    /// Whether some place is refused for a time.
    pub fn waits(&self, at: UnixTime) -> bool {
        let known = self.known.iter().map(|known| known.throttle);
        known.chain([self.throttle]).any(|one| one.waits(at))
    }

    /// Whether some place is refused until an administrator unlocks.
    pub fn is_locked_for_good(&self) -> bool {
        let known = self.known.iter().map(|known| known.throttle);
        known
            .chain([self.throttle])
            .any(|one| one.block == Block::Hard)
    }

    /// After an operator ended the waits and timed locks: what was counted stays, of the year as well.
    #[must_use]
    pub fn without_waits(mut self) -> Self {
        self.throttle = self.throttle.without_wait();
        for known in &mut self.known {
            known.throttle = known.throttle.without_wait();
        }
        self
    }

    /// After an administrator unlocked: no failures, no locks.
    #[must_use]
    pub fn unlocked(self) -> Self {
        let known = self.known.into_iter().map(|known| KnownSource {
            throttle: Throttle::unlocked(),
            ..known
        });
        Self {
            throttle: Throttle::unlocked(),
            last_failure: UnixTime::EPOCH,
            recent: Vec::new(),
            months: Vec::new(),
            known: known.collect(),
            ..self
        }
    }

    /// Whether the failures of strangers are so long past that they are forgiven. A hard lock is an
    /// administrator's to end.
    fn is_clean(&self, at: UnixTime) -> bool {
        self.throttle != Throttle::default()
            && self.throttle.block != Block::Hard
            && at.since(self.last_failure) >= Self::CLEAN
    }

    fn rested(mut self, at: UnixTime) -> Self {
        if self.is_clean(at) {
            self.throttle = Throttle::default();
            self.recent.clear();
        }
        self
    }

    /// Counts a wrong answer of this month, and forgets those of more than a year ago.
    fn count(&mut self, at: UnixTime) {
        let number = Month::of(at);
        self.months.retain(|month| month.counts(at));
        match self.months.iter_mut().find(|month| month.number == number) {
            Some(month) => month.failures = month.failures.saturating_add(1),
            None => {
                let failures = 1;
                self.months.insert(0, Month { number, failures });
            }
        }
    }

    /// Wrong answers within a year that end in a hard lock, for this kind of place.
    fn of_a_year(&self, known: bool, lockout: &Lockout) -> u32 {
        let year = lockout.year_lock_after.max(1);
        if known || self.known.is_empty() {
            year
        } else {
            year - lockout.hard_lock_after.min(year / 2)
        }
    }

    fn remember(&mut self, source: Option<Source>, at: UnixTime) {
        let failures = self.failures_from(source);
        let before = self.recent.iter().find(|recent| recent.source == source);
        let before = before.filter(|recent| at.since(recent.last) <= Self::RUN);
        let run = before.map_or(0, |recent| recent.run);
        self.recent.retain(|recent| recent.source != source);
        let recent = Recent {
            source,
            failures: failures.saturating_add(1),
            run: run.saturating_add(1),
            last: at,
        };
        self.recent.insert(0, recent);
        self.recent.truncate(Self::RECENT);
    }

    /// Forgives the typing errors just before a success from an unknown place.
    fn spare(&mut self, source: Option<Source>, lockout: &Lockout, at: UnixTime) {
        let found = self.recent.iter();
        let found = found.copied().find(|recent| recent.source == source);
        self.recent.retain(|recent| recent.source != source);
        let run = found.filter(|recent| at.since(recent.last) <= Self::RUN);
        let forgiven = run
            .map_or(0, |recent| recent.run)
            .min(lockout.lock_after / 2)
            .min(self.throttle.failures);
        self.throttle.failures -= forgiven;
        if self.throttle.check(at).is_ok() {
            self.throttle.block = Block::None;
        }
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
                // One of a time to come voids nothing before it: see `model::clock`.
                .filter(|mark| mark.expires.since(at) <= Self::ROUND)
                .any(|mark| challenge.challenge <= mark.challenge)
    }

    /// Remembers that the challenge was answered. Anyone who burns many voids older ones, never the one
    /// that comes next.
    #[must_use]
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
        let answered = &self.answered;
        self.right
            .retain(|right| answered.iter().any(|known| known.challenge == *right));
        self
    }

    /// As [`UserState::answer`], of a right answer: it is remembered as long.
    #[must_use]
    pub fn answer_right(self, challenge: Answered, at: UnixTime) -> Self {
        let mut after = self.answer(challenge, at);
        after.right.push(challenge.challenge);
        after
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

impl Month {
    /// The number of the month in which this is.
    pub fn of(at: UnixTime) -> u32 {
        u32::try_from(at.as_secs() / UserState::MONTH.as_secs()).unwrap_or(u32::MAX)
    }

    /// Whether some of it is less than a year ago. One that is to come counts, too.
    fn counts(self, at: UnixTime) -> bool {
        self.number.saturating_add(UserState::MONTHS) >= Self::of(at)
    }
}

fn day(at: UnixTime) -> u32 {
    u32::try_from(at.as_secs() / DAY).unwrap_or(u32::MAX)
}

const DAY: u64 = 86_400;

#[cfg(test)]
mod tests;
