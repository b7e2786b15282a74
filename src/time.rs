//! Points in time as values.
//!
//! Nothing below the composition root reads a clock: `now` is an argument (`UnixTime`), and where
//! a component must ask again later it is given a [`Clock`]. Tests pass a [`FixedClock`] and jump.
//!
//! Invariant: all arithmetic saturates. A clock at either end of its range makes no wrong
//! decision, because consumption is decided by steps, never by differences of times.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UnixTime(u64);

impl UnixTime {
    /// The epoch itself.
    pub const EPOCH: Self = Self(0);

    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// From whole seconds since the epoch.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// This time plus `duration`, at most the end of the range.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// How long after `earlier` this is; zero when it is not after.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Reads an RFC 3339 time with any offset; `None` when it is none, or before the epoch.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let time = text.parse::<jiff::Timestamp>().ok()?;
        u64::try_from(time.as_millisecond()).ok().map(Self)
    }

    /// RFC 3339 in UTC with milliseconds, for JSON and logs.
    pub fn rfc3339(self) -> String {
        self.to_string()
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = i64::try_from(self.0).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_millisecond(millis) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "+{}s", self.as_secs()),
        }
    }
}

/// A duration in whole milliseconds, saturating.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Where a long-lived component learns the present time.
pub trait Clock: Send + Sync + 'static {
    /// The present time.
    fn now(&self) -> UnixTime;

    /// The present on the monotonic clock, by which spans are measured.
    fn instant(&self) -> Instant {
        Instant::now()
    }
}

/// The machine's real-time clock; constructed by the composition root only.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // the one place that reads it
    fn now(&self) -> UnixTime {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        UnixTime(millis(since.unwrap_or_default()))
    }
}

/// A clock that stands still until it is told to move; clones share the hands.
#[derive(Clone, Debug)]
pub struct FixedClock {
    now: Arc<AtomicU64>,
    began: (Instant, UnixTime),
}

impl Default for FixedClock {
    fn default() -> Self {
        Self::at(UnixTime::EPOCH)
    }
}

impl FixedClock {
    /// A clock standing at `now`.
    pub fn at(now: UnixTime) -> Self {
        Self {
            now: Arc::new(AtomicU64::new(now.0)),
            began: (Instant::now(), now),
        }
    }

    /// Sets the hands, forwards or back.
    pub fn set(&self, now: UnixTime) {
        self.now.store(now.0, Ordering::SeqCst);
    }

    /// Moves the hands forward.
    pub fn advance(&self, by: Duration) {
        self.now.fetch_add(millis(by), Ordering::SeqCst);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> UnixTime {
        UnixTime(self.now.load(Ordering::SeqCst))
    }

    fn instant(&self) -> Instant {
        self.began.0 + self.now().since(self.began.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_rfc3339_with_milliseconds() {
        assert_eq!(
            UnixTime::from_millis(59_001).to_string(),
            "1970-01-01T00:00:59.001Z"
        );
        assert_eq!(
            UnixTime::from_millis(u64::MAX).to_string(),
            "+18446744073709551s"
        );
    }

    #[test]
    fn arithmetic_saturates() {
        let end = UnixTime::from_millis(u64::MAX);
        assert_eq!(end.plus(Duration::from_secs(1)), end);
        assert_eq!(UnixTime::EPOCH.since(end), Duration::ZERO);
    }
}
