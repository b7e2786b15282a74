//! How long decisions take, by front end and outcome: counts in fixed buckets, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::core::counters::CHANNELS;
use crate::model::audit::Channel;
use crate::model::reason::Decision;

/// Upper bounds of the buckets in microseconds; what is above the last has no bound.
const BOUNDS: [u64; 13] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000,
];

/// Words of the outcomes; the last is that of what could not be decided.
const OUTCOMES: [&str; 4] = ["accept", "challenge", "reject", "undecided"];

/// The histograms of all front ends.
#[derive(Debug, Default)]
pub struct Latencies([[Histogram; OUTCOMES.len()]; CHANNELS.len()]);

#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// One histogram, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// The front end.
    pub channel: Channel,
    /// `accept`, `challenge`, `reject` or `undecided`.
    pub outcome: &'static str,
    /// All times together, in seconds.
    pub sum: f64,
    /// How many there are.
    pub count: u64,
    /// Upper bound in seconds, and how many are in the bucket; the last has no bound.
    pub buckets: Vec<(f64, u64)>,
}

impl Latencies {
    /// A decision that began then; none: it could not be made.
    pub(crate) fn took(&self, channel: Channel, decision: Option<Decision>, began: Instant) {
        let outcome = match decision {
            Some(Decision::Accept) => 0,
            Some(Decision::Challenge) => 1,
            Some(Decision::Reject) => 2,
            None => 3,
        };
        self.0[channel as usize][outcome].add(began.elapsed());
    }

    /// Every histogram that has counted something.
    pub fn read(&self) -> Vec<Read> {
        let mut all = Vec::new();
        for channel in CHANNELS {
            for (outcome, histogram) in OUTCOMES.into_iter().zip(&self.0[channel as usize]) {
                let read = histogram.read(channel, outcome);
                all.extend((read.count > 0).then_some(read));
            }
        }
        all
    }
}

impl Histogram {
    fn add(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let place = BOUNDS.partition_point(|bound| *bound < micros);
        self.buckets[place].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn read(&self, channel: Channel, outcome: &'static str) -> Read {
        let counts = self
            .buckets
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed));
        let bounds = BOUNDS
            .iter()
            .map(|bound| Duration::from_micros(*bound).as_secs_f64());
        let bounds = bounds.chain([f64::INFINITY]);
        Read {
            channel,
            outcome,
            sum: Duration::from_micros(self.micros.load(Ordering::Relaxed)).as_secs_f64(),
            count: counts.iter().sum(),
            buckets: bounds.zip(counts).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for micros in [0, 250, 251, 1_000, 2_500_000, 2_500_001, 60_000_000] {
            histogram.add(Duration::from_micros(micros));
        }
        let read = histogram.read(Channel::Http, "accept");
        let counts: Vec<u64> = read.buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(read.count, 7);
        assert!((read.sum - 65.001_502).abs() < 1e-9, "{}", read.sum);
        assert!((read.buckets[0].0 - 0.000_25).abs() < 1e-12);
    }
}
