//! Users who are locked now, counted for metrics: kept up as attempts are settled, not searched for.
//!
//! Invariant: it decides nothing. What decides is in the store; this may lag behind it for a moment
//! after the start, while the store is read page by page.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;

use crate::core::Core;
use crate::model::attempt::Verdict;
use crate::model::user_key::UserKey;
use crate::model::user_state::UserState;
use crate::otp::throttle::Blocked;
use crate::store::StoreError;
use crate::time::UnixTime;

/// The locked users.
#[derive(Debug, Default)]
pub(crate) struct Locks(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    /// When each lock ends; none: when an administrator ends it.
    ends: HashMap<UserKey, Option<UnixTime>>,
    timed: BTreeSet<(UnixTime, UserKey)>,
}

/// How many users are locked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Locked {
    /// For a time.
    pub timed: usize,
    /// Until an administrator unlocks.
    pub hard: usize,
}

impl Locks {
    /// An attempt of this user was settled.
    pub(crate) fn settled(&self, user: Option<&UserKey>, verdict: &Verdict, at: UnixTime) {
        if let (Some(user), Some(state)) = (user, &verdict.user) {
            self.is_now(user, state, at);
        }
    }

    /// The user's locks are ended, or the user is gone.
    pub(crate) fn ended(&self, user: &UserKey) {
        self.0.lock().expect(UNPOISONED).forget(user);
    }

    /// This is the user's state now.
    pub(crate) fn is_now(&self, user: &UserKey, state: &UserState, at: UnixTime) {
        let until = match state.throttle.check(at) {
            Err(Blocked::Locked { until }) => Some(until),
            _ => None,
        };
        let mut held = self.0.lock().expect(UNPOISONED);
        if held.ends.is_empty() && until.is_none() {
            return;
        }
        held.forget(user);
        if let Some(until) = until {
            held.ends.insert(user.clone(), until);
            if let Some(until) = until {
                held.timed.insert((until, user.clone()));
            }
        }
    }

    fn count(&self, now: UnixTime) -> Locked {
        let mut held = self.0.lock().expect(UNPOISONED);
        while let Some((until, _)) = held.timed.first()
            && *until <= now
        {
            if let Some((_, user)) = held.timed.pop_first() {
                held.ends.remove(&user);
            }
        }
        Locked {
            timed: held.timed.len(),
            hard: held.ends.len() - held.timed.len(),
        }
    }
}

impl Held {
    fn forget(&mut self, user: &UserKey) {
        if let Some(Some(until)) = self.ends.remove(user) {
            self.timed.remove(&(until, user.clone()));
        }
    }
}

impl Core {
    /// How many users are locked now.
    pub fn locked(&self) -> Locked {
        self.locks.count(self.clock.now())
    }

    /// Counts the users who are locked at the start of the daemon.
    pub async fn count_locked(&self) -> Result<(), StoreError> {
        let mut after: Option<UserKey> = None;
        loop {
            let page = self.store.user_states(after.as_ref(), PAGE)?;
            let at = self.clock.now();
            for (user, state) in &page {
                self.locks.is_now(user, state, at);
            }
            after = page.into_iter().last().map(|(user, _)| user);
            if after.is_none() {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Rows read at a time.
const PAGE: usize = 256;
const UNPOISONED: &str = "no panic while the lock is held";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::otp::throttle::{Block, Throttle};

    fn state(block: Block) -> UserState {
        UserState {
            throttle: Throttle {
                failures: 10,
                block,
            },
            ..UserState::default()
        }
    }

    #[test]
    fn a_lock_counts_until_it_ends() {
        let (locks, now) = (Locks::default(), UnixTime::from_secs(1_800_000_000));
        let [alice, bob, carol] =
            ["alice", "bob", "carol"].map(|name| UserKey::parse(name).unwrap());
        let until = now.plus(Duration::from_mins(30));
        locks.is_now(&alice, &state(Block::Delay { until }), now);
        assert_eq!(locks.count(now), Locked::default(), "a pause is no lock");
        for user in [&alice, &bob] {
            locks.is_now(user, &state(Block::Locked { until }), now);
        }
        locks.is_now(&carol, &state(Block::Hard), now);
        assert_eq!(locks.count(now), Locked { timed: 2, hard: 1 });
        // Counted once, however often it is seen.
        let later = until.plus(Duration::from_mins(1));
        locks.is_now(&bob, &state(Block::Locked { until: later }), now);
        assert_eq!(locks.count(now), Locked { timed: 2, hard: 1 });
        assert_eq!(locks.count(until), Locked { timed: 1, hard: 1 });
        locks.ended(&carol);
        locks.is_now(&bob, &state(Block::None), until);
        assert_eq!(locks.count(until), Locked::default());
        assert!(locks.0.lock().unwrap().ends.is_empty());
    }
}
