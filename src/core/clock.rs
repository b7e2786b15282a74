//! Whether the clock jumped: the wall clock against one that only runs forward.
//!
//! A clock that is wrong accepts codes of another time and refuses those of the present, and nothing else
//! tells. So a step of more than [`STEP`] is said, also one that puts the clock right; after it an
//! administrator knows which command to type. A machine that was suspended looks the same.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use crate::core::{CLOCK_TOLERANCE, Core};
use crate::time::UnixTime;

/// A jump of the clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Jump {
    /// What the clock said after it.
    pub to: UnixTime,
    /// What it should have said; at a start the latest time on record.
    pub from: UnixTime,
    /// Whether it was found at a start.
    pub at_start: bool,
}

impl Jump {
    /// By how many seconds, less than zero where the clock was set back.
    pub fn seconds(&self) -> i64 {
        let secs = |time: UnixTime| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        secs(self.to).saturating_sub(secs(self.from))
    }

    /// What to do about it.
    pub const REMEDY: &str =
        "see that the clock is right now; if it was ahead before: oncegate clock recover";
}

impl fmt::Display for Jump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, to) = (self.seconds(), self.to);
        match (self.at_start, secs < 0) {
            (true, true) => write!(
                f,
                "{} s behind the latest time on record at the start, {to}",
                -secs
            ),
            (true, false) => write!(
                f,
                "{secs} s after the latest time on record at the start, {to}"
            ),
            (false, true) => write!(f, "set back by {} s at {to}", -secs),
            (false, false) => {
                write!(
                    f,
                    "{secs} s went by at once at {to}: it was set ahead, or the machine suspended"
                )
            }
        }
    }
}

/// What is known of the clock.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Both clocks at the last look.
    last: Mutex<Option<(UnixTime, Duration)>>,
    latest: ArcSwapOption<Jump>,
    jumps: AtomicU64,
}

impl Watch {
    fn found(&self, jump: Jump) -> Jump {
        self.latest.store(Some(Arc::new(jump)));
        self.jumps.fetch_add(1, Ordering::Relaxed);
        jump
    }

    /// An administrator vouched for the time.
    pub(crate) fn vouched(&self) {
        self.latest.store(None);
    }
}

impl Core {
    /// Compares the clock with the latest time on record, at a start.
    pub fn watch_clock_at_start(&self) -> Option<Jump> {
        let (to, from) = (self.now(), self.store.high_water());
        let behind = from.since(to) > CLOCK_TOLERANCE;
        let ahead = from > UnixTime::EPOCH && to.since(from) > REST;
        let jump = Jump {
            to,
            from,
            at_start: true,
        };
        (behind || ahead).then(|| self.clock_watch.found(jump))
    }

    /// Compares the clock with `running`, the time since any moment by a clock that is never set.
    pub fn watch_clock(&self, running: Duration) -> Option<Jump> {
        let to = self.now();
        let last = self.clock_watch.last.lock();
        let mut last = last.unwrap_or_else(PoisonError::into_inner);
        let before = last.replace((to, running));
        drop(last);
        let (then, ran) = before?;
        let from = then.plus(running.saturating_sub(ran));
        let off = to.since(from).max(from.since(to));
        let jump = Jump {
            to,
            from,
            at_start: false,
        };
        (off > STEP).then(|| self.clock_watch.found(jump))
    }

    /// The last jump, for a day or until `clock recover`.
    pub fn clock_jump(&self) -> Option<Jump> {
        let latest = self.clock_watch.latest.load();
        let jump = latest.as_deref().copied()?;
        (self.now().since(jump.to) < SHOWN).then_some(jump)
    }

    /// Jumps since the start.
    pub fn clock_jumps(&self) -> u64 {
        self.clock_watch.jumps.load(Ordering::Relaxed)
    }
}

/// The clock is compared so often, so that what it drifts meanwhile is far below [`STEP`].
pub const LOOK: Duration = Duration::from_secs(5);
/// The least step that is said: twice the validity of a code.
const STEP: Duration = Duration::from_mins(1);
/// A daemon may well stand still for a weekend and a holiday.
const REST: Duration = Duration::from_hours(24 * 7);
/// How long a jump is shown.
const SHOWN: Duration = Duration::from_hours(24);
