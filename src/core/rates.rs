//! How many decisions were made in each minute of the last day: counted by reading the counters once a minute.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::core::Core;
use crate::model::reason::{Decision, Reason};

/// Reads the counters every minute until `shutdown`.
pub async fn count(core: Arc<Core>, shutdown: CancellationToken) {
    let mut tick = tokio::time::interval(MINUTE);
    tick.tick().await;
    while shutdown.run_until_cancelled(tick.tick()).await.is_some() {
        core.rates.take(&core);
    }
}

/// The minutes of the last day.
#[derive(Default)]
pub(crate) struct Rates(Mutex<Ring>);

#[derive(Default)]
struct Ring {
    minutes: VecDeque<Minute>,
    totals: Totals,
}

#[derive(Clone, Default)]
struct Totals {
    by_reason: Vec<(Option<Reason>, u64)>,
}

/// One minute.
#[derive(Clone, Debug, Default)]
pub(crate) struct Minute {
    pub(crate) accept: u64,
    pub(crate) reject: u64,
    pub(crate) challenge: u64,
    pub(crate) undecided: u64,
    /// Refusals by cause.
    pub(crate) causes: Vec<(Reason, u64)>,
}

impl Rates {
    fn take(&self, core: &Core) {
        let now = totals(core);
        let mut ring = self.lock();
        let minute = difference(&ring.totals, &now);
        ring.totals = now;
        if ring.minutes.len() == DAY {
            ring.minutes.pop_front();
        }
        ring.minutes.push_back(minute);
    }

    /// The last minutes, the oldest first, and what has been counted since the last of them.
    pub(crate) fn last(&self, most: usize, core: &Core) -> Vec<Minute> {
        let ring = self.lock();
        let present = difference(&ring.totals, &totals(core));
        let kept = most.saturating_sub(1).min(ring.minutes.len());
        let from = ring.minutes.len() - kept;
        let mut minutes: Vec<Minute> = ring.minutes.range(from..).cloned().collect();
        minutes.push(present);
        minutes
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn totals(core: &Core) -> Totals {
    let mut by_reason: Vec<(Option<Reason>, u64)> = Vec::new();
    for (_, reason, count) in core.counters().all() {
        match by_reason.iter_mut().find(|(one, _)| *one == reason) {
            Some((_, total)) => *total += count,
            None => by_reason.push((reason, count)),
        }
    }
    Totals { by_reason }
}

fn difference(before: &Totals, now: &Totals) -> Minute {
    let mut minute = Minute::default();
    for (reason, count) in &now.by_reason {
        let earlier = before.by_reason.iter().find(|(one, _)| one == reason);
        let more = count.saturating_sub(earlier.map_or(0, |(_, count)| *count));
        match reason.map(Reason::decision) {
            None => minute.undecided += more,
            Some(Decision::Accept) => minute.accept += more,
            Some(Decision::Challenge) => minute.challenge += more,
            Some(Decision::Reject) => {
                minute.reject += more;
                if let Some(reason) = reason.filter(|_| more > 0) {
                    minute.causes.push((reason, more));
                }
            }
        }
    }
    minute
}

/// Minutes that are kept.
const DAY: usize = 24 * 60;
const MINUTE: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_what_the_counters_rose_by() {
        let of = |wrong, right, none| Totals {
            by_reason: vec![
                (Some(Reason::WrongCode), wrong),
                (Some(Reason::TotpOk), right),
                (None, none),
            ],
        };
        let minute = difference(&of(1, 1, 1), &of(3, 11, 1));
        assert_eq!((minute.accept, minute.reject, minute.undecided), (10, 2, 0));
        assert_eq!(minute.causes, [(Reason::WrongCode, 2)]);
        let first = difference(&Totals::default(), &of(1, 2, 3));
        assert_eq!((first.accept, first.reject, first.undecided), (2, 1, 3));
    }
}
