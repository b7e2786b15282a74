//! What was counted and how long it took.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::load::drill::{Answer, Expect};

/// Counts and latencies of one worker, or of all. What is sent before the warm-up is over is not
/// counted, except that answers that must not be always are.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// Logins, without retransmissions.
    pub(super) sent: u64,
    pub(super) retransmissions: u64,
    pub(super) accepts: Latencies,
    pub(super) rejects: Latencies,
    pub(super) challenges: Latencies,
    pub(super) timeouts: u64,
    pub(super) unexpected: Unexpected,
    /// Answers that are not the server's, or came too late.
    pub(super) discarded: u64,
    /// What came instead of a decision, in words.
    pub(super) failures: BTreeMap<String, u64>,
    /// Decisions between the end of the warm-up and the end of the run: the throughput's.
    pub(super) within: u64,
    warmup: Duration,
    end: Duration,
}

/// Answers that must not be.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Serialize)]
pub(super) struct Unexpected {
    /// A wrong or used code was accepted.
    pub(super) accepts: u64,
    /// A right code was rejected.
    pub(super) rejects: u64,
    /// A wrong or used code led to the next question.
    pub(super) challenges: u64,
}

/// A histogram in nanoseconds, three digits precise.
#[derive(Clone, Debug)]
pub(super) struct Latencies(pub(super) Histogram<u64>);

impl Latencies {
    pub(super) fn new() -> Self {
        let made = Histogram::new_with_bounds(SHORTEST, LONGEST, 3);
        Self(made.expect("the bounds are constants in order"))
    }

    fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(LONGEST);
        self.0.saturating_record(nanos.max(SHORTEST));
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }
}

impl Tally {
    /// Nothing yet; times count from the start of the run.
    pub(super) fn new(warmup: Duration, end: Duration) -> Self {
        Self {
            sent: 0,
            retransmissions: 0,
            accepts: Latencies::new(),
            rejects: Latencies::new(),
            challenges: Latencies::new(),
            timeouts: 0,
            unexpected: Unexpected::default(),
            discarded: 0,
            failures: BTreeMap::new(),
            within: 0,
            warmup,
            end,
        }
    }

    /// A login that was due at `due` was sent.
    pub(super) fn sent(&mut self, due: Duration) {
        if due >= self.warmup {
            self.sent += 1;
        }
    }

    /// It was answered at `now`, or given up.
    pub(super) fn note_answer(
        &mut self,
        answer: Answer,
        expect: Expect,
        due: Duration,
        now: Duration,
    ) {
        if answer.is_unexpected(expect) {
            match answer {
                Answer::Accept => self.unexpected.accepts += 1,
                Answer::Reject => self.unexpected.rejects += 1,
                Answer::Challenge => self.unexpected.challenges += 1,
                Answer::None => {}
            }
        }
        if answer != Answer::None && (self.warmup..self.end).contains(&now) {
            self.within += 1;
        }
        if due < self.warmup {
            return;
        }
        let latency = now.saturating_sub(due);
        match answer {
            Answer::Accept => self.accepts.record(latency),
            Answer::Challenge => self.challenges.record(latency),
            Answer::Reject => self.rejects.record(latency),
            Answer::None => {}
        }
    }

    /// A login got no decision for this reason.
    pub(super) fn failed(&mut self, why: &str, due: Duration) {
        if due < self.warmup {
            return;
        }
        match self.failures.get_mut(why) {
            Some(count) => *count += 1,
            None => _ = self.failures.insert(why.to_owned(), 1),
        }
    }

    /// A login got no answer in time.
    pub(super) fn timed_out(&mut self, due: Duration) {
        if due >= self.warmup {
            self.timeouts += 1;
        }
    }

    /// Adds what another worker counted.
    pub(super) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.retransmissions += other.retransmissions;
        self.accepts.add(&other.accepts);
        self.rejects.add(&other.rejects);
        self.challenges.add(&other.challenges);
        self.timeouts += other.timeouts;
        self.unexpected.accepts += other.unexpected.accepts;
        self.unexpected.rejects += other.unexpected.rejects;
        self.unexpected.challenges += other.unexpected.challenges;
        self.discarded += other.discarded;
        for (why, count) in &other.failures {
            *self.failures.entry(why.clone()).or_default() += count;
        }
        self.within += other.within;
    }
}

/// A microsecond.
const SHORTEST: u64 = 1_000;
/// Ten minutes.
const LONGEST: u64 = 600_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_warm_up_is_not_counted_but_what_must_not_be_is() {
        let mut tally = Tally::new(SECOND, 3 * SECOND);
        for due in [SECOND / 2, SECOND * 2] {
            tally.sent(due);
            let now = due + SECOND / 4;
            tally.note_answer(Answer::Accept, Expect::Reject, due, now);
            tally.failed("503", due);
            tally.timed_out(due);
        }
        assert_eq!((tally.sent, tally.timeouts, tally.within), (1, 1, 1));
        assert_eq!(tally.unexpected.accepts, 2);
        assert_eq!(tally.accepts.0.len(), 1);
        assert_eq!(tally.failures["503"], 1);
        let mut sum = Tally::new(SECOND, 3 * SECOND);
        sum.add(&tally);
        sum.add(&tally);
        assert_eq!((sum.sent, sum.accepts.0.len()), (2, 2));
    }

    #[test]
    fn latency_counts_from_when_the_login_was_due() {
        let mut tally = Tally::new(Duration::ZERO, 9 * SECOND);
        tally.note_answer(Answer::Reject, Expect::Either, SECOND, 3 * SECOND);
        let worst = Duration::from_nanos(tally.rejects.0.max());
        assert!(worst.abs_diff(2 * SECOND) < SECOND / 500, "{worst:?}");
    }
}
