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
    by_answer: Vec<(Option<(Reason, Decision)>, u64)>,
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
    let mut by_answer: Vec<(Option<(Reason, Decision)>, u64)> = Vec::new();
    for (_, answer, count) in core.counters().all() {
        match by_answer.iter_mut().find(|(one, _)| *one == answer) {
            Some((_, total)) => *total += count,
            None => by_answer.push((answer, count)),
        }
    }
    Totals { by_answer }
}

fn difference(before: &Totals, now: &Totals) -> Minute {
    let mut minute = Minute::default();
    for (answer, count) in &now.by_answer {
        let earlier = before.by_answer.iter().find(|(one, _)| one == answer);
        let more = count.saturating_sub(earlier.map_or(0, |(_, count)| *count));
        match answer.map(|(_, decision)| decision) {
            None => minute.undecided += more,
            Some(Decision::Accept) => minute.accept += more,
            Some(Decision::Challenge) => minute.challenge += more,
            Some(Decision::Reject) => minute.reject += more,
        }
        // Who is refused is refused, whatever is answered.
        let refused = answer.filter(|(reason, _)| reason.decision() == Decision::Reject);
        if let Some((reason, _)) = refused.filter(|_| more > 0) {
            minute.causes.push((reason, more));
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
            by_answer: vec![
                (Some((Reason::WrongCode, Decision::Reject)), wrong),
                (Some((Reason::TotpOk, Decision::Accept)), right),
                (None, none),
            ],
        };
        let minute = difference(&of(1, 1, 1), &of(3, 11, 1));
        assert_eq!((minute.accept, minute.reject, minute.undecided), (10, 2, 0));
        assert_eq!(minute.causes, [(Reason::WrongCode, 2)]);
        let first = difference(&Totals::default(), &of(1, 2, 3));
        assert_eq!((first.accept, first.reject, first.undecided), (2, 1, 3));
    }

    #[test]
    fn who_is_asked_in_vain_is_counted_by_the_answer_and_named_by_the_cause() {
        let totals = Totals {
            by_answer: vec![
                (Some((Reason::UnknownUser, Decision::Challenge)), 3),
                (Some((Reason::Challenged, Decision::Reject)), 2),
            ],
        };
        let minute = difference(&Totals::default(), &totals);
        assert_eq!((minute.challenge, minute.reject), (3, 2));
        assert_eq!(minute.causes, [(Reason::UnknownUser, 3)]);
    }
}
