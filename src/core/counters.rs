//! Decisions so far, for metrics: by front end, reason and answer.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::audit::Channel;
use crate::model::reason::{Decision, Reason};

/// Counters that only rise.
#[derive(Debug)]
pub struct Counters {
    /// Those that were answered as the reason decides, and those that were answered otherwise.
    decided: [[[AtomicU64; 2]; Reason::ALL.len()]; CHANNELS.len()],
    undecided: [AtomicU64; CHANNELS.len()],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            decided: std::array::from_fn(|_| std::array::from_fn(|_| Default::default())),
            undecided: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Counters {
    pub(crate) fn decided(&self, channel: Channel, reason: Reason, answered: Decision) {
        let place = Reason::ALL
            .iter()
            .position(|known| *known == reason)
            .unwrap_or_default();
        let [as_decided, otherwise] = &self.decided[channel as usize][place];
        let count = if answered == reason.decision() {
            as_decided
        } else {
            otherwise
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn undecided(&self, channel: Channel) {
        self.undecided[channel as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Every counter: front end, reason and answer (`None`: no one could decide), count. An answer that is not
    /// that of the reason is among them once it was given.
    pub fn all(&self) -> impl Iterator<Item = Counted> {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        CHANNELS.into_iter().flat_map(move |channel| {
            let decided = Reason::ALL.iter().zip(&self.decided[channel as usize]);
            let decided = decided.flat_map(move |(reason, [as_decided, otherwise])| {
                let (reason, decision) = (*reason, reason.decision());
                let of = move |answer, count| (channel, Some((reason, answer)), count);
                let otherwise = Some(load(otherwise)).filter(|count| *count > 0);
                let otherwise = otherwise.map(|count| of(instead_of(decision), count));
                [of(decision, load(as_decided))]
                    .into_iter()
                    .chain(otherwise)
            });
            let undecided = load(&self.undecided[channel as usize]);
            decided.chain([(channel, None, undecided)])
        })
    }
}

/// How many decisions over a channel had a reason and were answered so; `None`: of how many there was no decision.
pub type Counted = (Channel, Option<(Reason, Decision)>, u64);

/// What is answered instead, where it is not what is decided (`crate::model::attempt::Said`).
const fn instead_of(decision: Decision) -> Decision {
    match decision {
        Decision::Challenge => Decision::Reject,
        Decision::Reject | Decision::Accept => Decision::Challenge,
    }
}

pub(crate) const CHANNELS: [Channel; 5] = [
    Channel::Radius,
    Channel::Http,
    Channel::Admin,
    Channel::Device,
    Channel::Inbound,
];
