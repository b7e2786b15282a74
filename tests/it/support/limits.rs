//! The limits on guessing, once more, from SPEC section 7 and the words of `model/user.rs`: who may
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
    common: Counter,
    token: Counter,
    /// Newest first: where, the day of the last success, failures from there.
    known: Vec<(u8, u64, Counter)>,
    sources: [Counter; 256],
}

impl Model {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            common: Counter::default(),
            token: Counter::default(),
            known: Vec::new(),
            sources: [Counter::default(); 256],
        }
    }

    pub(crate) fn unlock(&mut self) {
        self.common = Counter::default();
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
            self.fail_source(from, at);
            return Ok("unknown_user");
        }
        let place = self
            .known
            .iter()
            .position(|(source, ..)| Some(*source) == from);
        match place {
            // Where the user has been let in, what strangers do elsewhere is no obstacle.
            Some(place) => {
                self.known[place].2.check(at)?;
                self.check_hard(self.limits.hard_lock_after)?;
            }
            None => {
                self.common.check(at)?;
                self.check_hard(self.strangers())?;
                self.check_source(from, at)?;
                self.token.check(at)?;
            }
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

    fn check_hard(&self, limit: u32) -> Result<(), &'static str> {
        if self.common.failures >= limit {
            return Err("locked");
        }
        Ok(())
    }

    fn check_source(&self, from: From, at: u64) -> Result<(), &'static str> {
        let Some(from) = from else { return Ok(()) };
        let limited = self.limits.source_lock_after > 0;
        let blocked = limited && self.sources[usize::from(from)].check(at).is_err();
        if blocked {
            Err("source_blocked")
        } else {
            Ok(())
        }
    }

    /// Failures that lock strangers for good: the rest is left to the known.
    fn strangers(&self) -> u32 {
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
        // Of each user only the first failures count against the source.
        if self.common.failures < free.max(1) {
            self.fail_source(from, at);
        }
        self.common
            .fail(at, free, lock_after, lock_for, self.strangers());
        self.token.fail(at, free, lock_after, lock_for, hard);
        if let Some(place) = place {
            let own = &mut self.known[place].2;
            own.fail(at, free, lock_after, lock_for, u32::MAX);
            own.hard |= self.common.failures >= hard;
        }
    }

    fn fail_source(&mut self, from: From, at: u64) {
        let Limits {
            source_free: free,
            source_lock_after: lock_after,
            lock_for,
            ..
        } = self.limits;
        if let Some(from) = from.filter(|_| lock_after > 0) {
            self.sources[usize::from(from)].fail(at, free, lock_after, lock_for, u32::MAX);
        }
    }

    fn succeed(&mut self, from: From, place: Option<usize>, at: u64) {
        self.token = Counter::default();
        // What still runs against strangers runs on when a known source succeeds.
        let runs = place.is_some() && self.common.check(at).is_err();
        if runs {
            self.common.failures = 0;
        } else {
            self.common = Counter::default();
        }
        let Some(source) = from else { return };
        // One failure less; what runs, runs on.
        let counter = &mut self.sources[usize::from(source)];
        if counter.check(at).is_ok() {
            *counter = Counter {
                failures: counter.failures.saturating_sub(1),
                ..Counter::default()
            };
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
        self.known.truncate(4);
    }
}
