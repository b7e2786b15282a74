//! Decisions so far, for metrics: by front end and reason.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::audit::Channel;
use crate::model::reason::Reason;

/// Counters that only rise.
#[derive(Debug)]
pub struct Counters {
    decided: [[AtomicU64; Reason::ALL.len()]; CHANNELS.len()],
    undecided: [AtomicU64; CHANNELS.len()],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            decided: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            undecided: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Counters {
    pub(crate) fn decided(&self, channel: Channel, reason: Reason) {
        let place = Reason::ALL
            .iter()
            .position(|known| *known == reason)
            .unwrap_or_default();
        self.decided[channel as usize][place].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn undecided(&self, channel: Channel) {
        self.undecided[channel as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Every counter: front end, reason (`None`: no one could decide), count.
    pub fn all(&self) -> impl Iterator<Item = (Channel, Option<Reason>, u64)> {
        CHANNELS
            .into_iter()
            .flat_map(|channel| {
                let decided = Reason::ALL.iter().zip(&self.decided[channel as usize]);
                let decided = decided.map(move |(reason, count)| (channel, Some(*reason), count));
                decided.chain([(channel, None, &self.undecided[channel as usize])])
            })
            .map(|(channel, reason, count)| (channel, reason, count.load(Ordering::Relaxed)))
    }
}

pub(crate) const CHANNELS: [Channel; 5] = [
    Channel::Radius,
    Channel::Http,
    Channel::Admin,
    Channel::Device,
    Channel::Inbound,
];
