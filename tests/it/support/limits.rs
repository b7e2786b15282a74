//! The limits on guessing, once more, from contract s7 and the words of `model/user.rs`: who may
//! ask when, and what a failure or success does to that. For one user with one token.

/// `[lockout]`, in milliseconds and tries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) free: u32,
    pub(crate) lock_after: u32,
    pub(crate) lock_for: u64,
    pub(crate) hard_lock_after: u32,
    pub(crate) source_free: u32,
    pub(crate) source_lock_after: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    failures: u32,
    /// Until when, and whether it is called a lock.
    blocked: Option<(u64, bool)>,
    hard: bool,
}

impl Counter {
    fn check(&self, at: u64) -> Result<(), &'static str> {
        match self.blocked {
            _ if self.hard => Err("locked"),
            Some((until, true)) if at < until => Err("locked"),
            Some((until, false)) if at < until => Err("throttled"),
            _ => Ok(()),
        }
    }

    fn fail(&mut self, at: u64, free: u32, lock_after: u32, lock_for: u64, hard: u32) {
        self.failures += 1;
        self.hard |= self.failures >= hard;
        let round = self.failures % lock_after;
        let next = match round.saturating_sub(free) {
            _ if round == 0 => Some((at + lock_for, true)),
            0 => None,
            1 => Some((at + 1_000, false)),
            2 => Some((at + 3_000, false)),
            3 => Some((at + 5_000, false)),
            _ => Some((at + 10_000, false)),
        };
        // A later failure ends no block earlier.
        let running = self.blocked.filter(|(until, _)| *until > at);
        self.blocked = match (running, next) {
            (Some(old), Some(new)) if old.0 <= new.0 => Some(new),
            (Some(old), _) => Some(old),
            (None, new) => new,
        };
    }
}

/// What failed from a place.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    counter: Counter,
    last: u64,
    /// How often each name counts there.
    names: [u32; 2],
}

const ALICE: usize = 0;
const NOBODY: usize = 1;

impl Place {
    /// Time forgives one failure each `pace`.
    fn rest(&mut self, at: u64, pace: u64) {
        let passed = at.saturating_sub(self.last) / pace;
        let passed = passed.min(self.counter.failures.into());
        self.last += passed * pace;
        self.forgive(u32::try_from(passed).expect("few"), at);
    }

    /// What runs, runs on; where nothing counts any more, nothing is kept.
    fn forgive(&mut self, failures: u32, at: u64) {
        self.counter.failures -= failures.min(self.counter.failures);
        if self.counter.check(at).is_ok() {
            self.counter.blocked = None;
        }
        if self.counter.failures == 0 && self.counter.blocked.is_none() {
            *self = Self::default();
        }
    }
}

/// From where somebody asks; nothing: nobody said.
pub(crate) type From = Option<u8>;

/// What somebody presents.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Try {
    Wrong,
    Right,
    /// The code that was accepted last.
    Replay,
    /// Anything, for a user who does not exist.
    Nobody,
}

pub(crate) struct Model {
    limits: Limits,
    strangers: Counter,
    /// When a stranger failed last.
    last: u64,
    /// Newest first: unknown place, failures since a success from there, those of the last run, when
    /// the last one was.
    recent: Vec<(From, u32, u32, u64)>,
    /// When each wrong answer was given.
    answers: Vec<u64>,
    token: Counter,
    /// Newest first: where, the day of the last success, failures from there.
    known: Vec<(u8, u64, Counter)>,
    sources: [Place; 256],
}

impl Model {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            strangers: Counter::default(),
            last: 0,
            recent: Vec::new(),
            answers: Vec::new(),
            token: Counter::default(),
            known: Vec::new(),
            sources: [Place::default(); 256],
        }
    }

    pub(crate) fn unlock(&mut self) {
        self.strangers = Counter::default();
        self.recent.clear();
        self.answers.clear();
        self.token = Counter::default();
        for (_, _, counter) in &mut self.known {
            *counter = Counter::default();
        }
    }

    /// The audit's word for a try.
    pub(crate) fn ask(&mut self, from: From, what: Try, at: u64) -> &'static str {
        self.decide(from, what, at)
            .unwrap_or_else(|blocked| blocked)
    }

    fn decide(&mut self, from: From, what: Try, at: u64) -> Result<&'static str, &'static str> {
        if matches!(what, Try::Nobody) {
            self.check_source(from, at)?;
            self.fail_source(from, NOBODY, at);
            return Ok("unknown_user");
        }
        let place = self
            .known
            .iter()
            .position(|(source, ..)| Some(*source) == from);
        self.rest(at);
        if let Err(blocked) = self.check(from, place, at) {
            // The place learns nothing of who is blocked: it counts as with nobody.
            self.fail_source(from, ALICE, at);
            return Err(blocked);
        }
        match what {
            Try::Right => self.succeed(from, place, at),
            Try::Replay => return Ok("used_code"),
            Try::Wrong | Try::Nobody => {
                self.fail(from, place, at);
                return Ok("wrong_code");
            }
        }
        Ok("hotp_ok")
    }

    fn check(&self, from: From, place: Option<usize>, at: u64) -> Result<(), &'static str> {
        match place {
            // Where the user has been let in, what strangers do elsewhere is no obstacle.
            Some(place) => {
                self.known[place].2.check(at)?;
                self.check_hard(u32::MAX)?;
                self.check_year(at, 0)
            }
            None => {
                self.strangers.check(at)?;
                self.check_hard(self.for_strangers())?;
                self.check_year(at, self.left_to_known())?;
                self.check_source(from, at)?;
                self.token.check(at)
            }
        }
    }

    /// A year without a failure of strangers forgives them.
    fn rest(&mut self, at: u64) {
        let failed = self.strangers.failures > 0 && !self.strangers.hard;
        if failed && at.saturating_sub(self.last) >= 365 * 86_400_000 {
            self.strangers = Counter::default();
            self.recent.clear();
        }
    }

    fn total(&self) -> u32 {
        let known = self.known.iter().map(|(_, _, own)| own.failures);
        self.strangers.failures + known.sum::<u32>()
    }

    fn check_hard(&self, strangers: u32) -> Result<(), &'static str> {
        let spent = self.total() >= self.limits.hard_lock_after;
        if spent || self.strangers.failures >= strangers {
            return Err("locked");
        }
        Ok(())
    }

    /// Wrong answers of this month and the twelve before.
    fn check_year(&self, at: u64, left: u32) -> Result<(), &'static str> {
        let month = |at: u64| at / (31 * 86_400_000);
        let counts = |answer: &&u64| month(**answer) + 12 >= month(at);
        let answers = self.answers.iter().filter(counts).count();
        let most = (10 * self.limits.hard_lock_after).max(1000) - left;
        if answers >= usize::try_from(most).expect("few") {
            return Err("locked");
        }
        Ok(())
    }

    fn left_to_known(&self) -> u32 {
        if self.known.is_empty() {
            0
        } else {
            self.limits.hard_lock_after
        }
    }

    fn check_source(&self, from: From, at: u64) -> Result<(), &'static str> {
        let Some(from) = from else { return Ok(()) };
        let limited = self.limits.source_lock_after > 0;
        let blocked = limited && self.sources[usize::from(from)].counter.check(at).is_err();
        if blocked {
            Err("source_blocked")
        } else {
            Ok(())
        }
    }

    /// Failures that lock strangers for good: the rest is left to the known.
    fn for_strangers(&self) -> u32 {
        let Limits {
            lock_after,
            hard_lock_after: hard,
            ..
        } = self.limits;
        let reserve = lock_after.min(hard / 2);
        hard - if self.known.is_empty() { 0 } else { reserve }
    }

    fn fail(&mut self, from: From, place: Option<usize>, at: u64) {
        let Limits {
            free,
            lock_after,
            lock_for,
            hard_lock_after: hard,
            ..
        } = self.limits;
        self.answers.push(at);
        self.fail_source(from, ALICE, at);
        if let Some(place) = place {
            let own = &mut self.known[place].2;
            own.fail(at, free, lock_after, lock_for, u32::MAX);
        } else {
            let limit = self.for_strangers();
            self.strangers.fail(at, free, lock_after, lock_for, limit);
            self.token.fail(at, free, lock_after, lock_for, hard);
            self.last = self.last.max(at);
            let before = self.recent.iter().find(|one| one.0 == from);
            let here = before.map_or(0, |one| one.1);
            let run = before.filter(|one| at.saturating_sub(one.3) <= RUN);
            let run = run.map_or(0, |one| one.2);
            self.recent.retain(|one| one.0 != from);
            self.recent.insert(0, (from, here + 1, run + 1, at));
            self.recent.truncate(4);
        }
        if self.check_year(at, self.left_to_known()).is_err() {
            self.strangers.hard = true;
        }
        if self.total() >= hard || self.check_year(at, 0).is_err() {
            self.strangers.hard = true;
            for (_, _, own) in &mut self.known {
                own.hard = true;
            }
        }
    }

    /// Of each name only the first failures count, and none while the place is blocked.
    fn fail_source(&mut self, from: From, name: usize, at: u64) {
        let Limits {
            free: most,
            source_free: free,
            source_lock_after: lock_after,
            lock_for,
            ..
        } = self.limits;
        let from = from.filter(|_| lock_after > 0);
        let open = self.check_source(from, at).is_ok();
        let Some(from) = from.filter(|_| open) else {
            return;
        };
        let place = &mut self.sources[usize::from(from)];
        place.rest(at, lock_for / u64::from(lock_after));
        if place.names[name] < most.max(1) {
            let counter = &mut place.counter;
            counter.fail(at, free, lock_after, lock_for, u32::MAX);
            place.names[name] += 1;
            place.last = at;
        }
    }

    fn succeed(&mut self, from: From, place: Option<usize>, at: u64) {
        if place.is_none() {
            self.spare(from, at);
        } else if self.token.check(at).is_ok() {
            self.token.blocked = None;
        }
        let Some(source) = from else { return };
        // What alice failed is forgiven, and what others did is not.
        let failed = std::mem::take(&mut self.sources[usize::from(source)].names[ALICE]);
        if failed > 0 {
            self.sources[usize::from(source)].forgive(failed, at);
        }
        let today = at / 86_400_000;
        if let Some(place) = place {
            let (_, day, own) = self.known[place];
            if day == today && own.failures == 0 {
                return;
            }
            self.known.remove(place);
        }
        self.known.insert(0, (source, today, Counter::default()));
        if let Some((_, _, forgotten)) = self.known.get(4).copied() {
            self.known.truncate(4);
            if forgotten.failures > 0 {
                self.strangers.failures += forgotten.failures;
                self.last = self.last.max(at);
            }
        }
    }

    /// A success from an unknown place forgives the run of failures before it, at most half a round.
    fn spare(&mut self, from: From, at: u64) {
        let place = self.recent.iter().position(|one| one.0 == from);
        let found = place.map(|place| self.recent.remove(place));
        let run = found.filter(|one| at.saturating_sub(one.3) <= RUN);
        let forgiven = run.map_or(0, |one| one.2).min(self.limits.lock_after / 2);
        let forgiven = forgiven.min(self.strangers.failures);
        for counter in [&mut self.strangers, &mut self.token] {
            counter.failures = counter.failures.saturating_sub(forgiven);
            counter.blocked = None;
        }
    }
}

/// Between two failures of a run, and the last of them and the success.
const RUN: u64 = 600_000;
