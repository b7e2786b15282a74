//! When a login is due, and from when its latency counts.
//!
//! Open loop: login number n is due at n / rate after the start, whatever happened to those before.
//! Its latency counts from then, not from when it could be sent: a server that stalls for a second
//! delays a second's worth of logins, and a generator that waited for it would report one slow login
//! and hide the others (*coordinated omission*). Closed loop: a login is due when there is room.
//!
//! Invariant: no drift; due times are computed from the number, not from each other.

use std::time::Duration;

/// The due times of one worker among several, which take turns.
#[derive(Clone, Debug)]
pub(super) struct Pacer {
    /// Per second, over all workers; none for a closed loop.
    rate: Option<u64>,
    next: u64,
    workers: u64,
}

impl Pacer {
    /// The share of worker number `worker` of `workers`.
    pub(super) fn new(rate: Option<u64>, worker: u64, workers: u64) -> Self {
        Self {
            rate,
            next: worker,
            workers: workers.max(1),
        }
    }

    /// From when the next login's latency counts, if it is due; `now` and the answer count from the
    /// start of the run. It must be made then.
    pub(super) fn take(&mut self, now: Duration) -> Option<Duration> {
        let Some(due) = self.due() else {
            return Some(now);
        };
        if due > now {
            return None;
        }
        self.next += self.workers;
        Some(due)
    }

    /// The next login's due time for a connection that waits for it; `now` in a closed loop.
    pub(super) fn claim(&mut self, now: Duration) -> Duration {
        let due = self.due();
        self.next += self.workers;
        due.unwrap_or(now)
    }

    /// When the next login is due; none in a closed loop.
    pub(super) fn due(&self) -> Option<Duration> {
        let nanos = u128::from(self.next) * 1_000_000_000 / u128::from(self.rate?.max(1));
        Some(Duration::from_nanos(
            u64::try_from(nanos).unwrap_or(u64::MAX),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn taken(pacer: &mut Pacer, now: Duration) -> Vec<Duration> {
        std::iter::from_fn(|| pacer.take(now)).collect()
    }

    #[test]
    fn logins_are_due_at_multiples_of_the_interval() {
        let mut pacer = Pacer::new(Some(1000), 0, 1);
        assert_eq!(taken(&mut pacer, Duration::ZERO), [Duration::ZERO]);
        assert_eq!(pacer.take(MS.saturating_sub(Duration::from_nanos(1))), None);
        assert_eq!(taken(&mut pacer, MS), [MS]);
        assert_eq!(pacer.due(), Some(2 * MS));
    }

    #[test]
    fn after_a_stall_the_missed_ones_count_from_when_they_were_due() {
        let mut pacer = Pacer::new(Some(1000), 0, 1);
        let late = taken(&mut pacer, 4 * MS);
        assert_eq!(late, [0, 1, 2, 3, 4].map(|n| n * MS));
    }

    #[test]
    fn workers_share_the_rate_without_drift() {
        let hour = Duration::from_hours(1);
        let mut all: Vec<Duration> = Vec::new();
        for worker in 0..3 {
            all.extend(taken(&mut Pacer::new(Some(7), worker, 3), hour));
        }
        all.sort_unstable();
        assert_eq!(all.len(), 3600 * 7 + 1);
        assert_eq!(all[7 * 1000], Duration::from_secs(1000));
        assert_eq!(all.last(), Some(&hour));
    }

    #[test]
    fn a_closed_loop_is_due_whenever_there_is_room() {
        let mut pacer = Pacer::new(None, 0, 1);
        assert_eq!(pacer.take(5 * MS), Some(5 * MS));
        assert_eq!(pacer.take(5 * MS), Some(5 * MS));
        assert_eq!(pacer.due(), None);
        assert_eq!(pacer.claim(6 * MS), 6 * MS);
    }

    #[test]
    fn claims_are_one_after_the_other() {
        let mut pacer = Pacer::new(Some(500), 0, 1);
        assert_eq!([(); 3].map(|()| pacer.claim(MS)), [0, 2, 4].map(|n| n * MS));
    }
}
