//! `Idempotency-Key`: a retry gets the first answer and consumes nothing.
//!
//! Invariants: a key belongs to one caller and one body; another body under the same key is
//! refused. Of a body only its SHA-256 is kept. A request that could not be decided leaves no
//! trace: its retry is decided.
//!
//! Limits: in memory; after a restart a retry is a new request, whose code is used up.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// The answers of the last minutes, by caller and key.
pub(crate) struct Idempotency<T>(Mutex<Held<T>>);

struct Held<T> {
    entries: HashMap<Name, Entry<T>>,
    /// In order of arrival. An entry that was replaced is here twice; `number` tells which is it.
    order: VecDeque<(Instant, u64, Name)>,
    numbers: u64,
}

type Name = (String, String);

struct Entry<T> {
    number: u64,
    digest: [u8; 32],
    answer: Answer<T>,
}

/// Where the answer will be, for all who asked.
pub(crate) type Answer<T> = watch::Receiver<State<T>>;

/// How far a first request is.
#[derive(Clone, Debug)]
pub(crate) enum State<T> {
    /// Being decided.
    Pending,
    /// Decided.
    Decided(T),
    /// No decision could be made, and why: for the server's own administrator.
    Undecided(String),
}

/// What to do with a request.
#[derive(Debug)]
pub(crate) enum Claim<T> {
    /// Decide it, and tell the others.
    First(watch::Sender<State<T>>, Answer<T>),
    /// It is, or was, decided for an earlier request.
    Retry(Answer<T>),
}

/// The key came with another body before.
#[derive(Debug)]
pub(crate) struct KeyReused;

impl<T> Default for Idempotency<T> {
    fn default() -> Self {
        let held = Held {
            entries: HashMap::new(),
            order: VecDeque::new(),
            numbers: 0,
        };
        Self(Mutex::new(held))
    }
}

impl<T> Idempotency<T> {
    /// Whether this is the first request of its caller under this key.
    pub(crate) fn claim(
        &self,
        caller: String,
        key: &str,
        digest: [u8; 32],
        now: Instant,
    ) -> Result<Claim<T>, KeyReused> {
        let mut held = self.0.lock().expect("no panic while the lock is held");
        held.forget(now);
        let name = (caller, key.to_owned());
        if let Some(entry) = held.entries.get(&name)
            && !is_lost(&entry.answer)
        {
            let same = entry.digest == digest;
            return same
                .then(|| Claim::Retry(entry.answer.clone()))
                .ok_or(KeyReused);
        }
        let (sender, answer) = watch::channel(State::Pending);
        held.numbers += 1;
        let number = held.numbers;
        held.order.push_back((now, number, name.clone()));
        held.entries.insert(
            name,
            Entry {
                number,
                digest,
                answer: answer.clone(),
            },
        );
        Ok(Claim::First(sender, answer))
    }
}

impl<T> Held<T> {
    fn forget(&mut self, now: Instant) {
        while let Some((since, number, name)) = self.order.front() {
            if self.order.len() < MOST && now.duration_since(*since) < LIFE {
                return;
            }
            if self
                .entries
                .get(name)
                .is_some_and(|entry| entry.number == *number)
            {
                self.entries.remove(name);
            }
            self.order.pop_front();
        }
    }
}

/// Whether the first request will never be, or was not, decided.
fn is_lost<T>(answer: &Answer<T>) -> bool {
    match *answer.borrow() {
        State::Pending => answer.has_changed().is_err(),
        State::Decided(_) => false,
        State::Undecided(_) => true,
    }
}

/// Waits for the answer; why there is none, where it is known, when no decision could be made.
pub(crate) async fn decided<T: Clone>(mut answer: Answer<T>) -> Result<T, Option<String>> {
    match answer
        .wait_for(|state| !matches!(state, State::Pending))
        .await
        .as_deref()
    {
        Ok(State::Decided(answer)) => Ok(answer.clone()),
        Ok(State::Undecided(why)) => Err(Some(why.clone())),
        _ => Err(None),
    }
}

/// Entries kept. An attacker with a key who floods it with fresh idempotency keys pushes the
/// oldest out, and retries of those are decided anew; memory stays at a few MiB.
const MOST: usize = 10_000;
/// Time for which an answer is kept: retries come within seconds.
const LIFE: Duration = Duration::from_mins(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(held: &Idempotency<u8>, key: &str, digest: u8, now: Instant) -> Option<bool> {
        match held.claim("api:a".to_owned(), key, [digest; 32], now) {
            Ok(Claim::First(sender, _)) => {
                sender.send_replace(State::Decided(digest));
                Some(true)
            }
            Ok(Claim::Retry(_)) => Some(false),
            Err(KeyReused) => None,
        }
    }

    #[test]
    fn entries_end_with_their_time_and_with_their_number() {
        let held = Idempotency::default();
        let start = Instant::now();
        assert_eq!(claim(&held, "k", 1, start), Some(true));
        assert_eq!(claim(&held, "k", 1, start), Some(false));
        assert_eq!(claim(&held, "k", 2, start), None);
        assert_eq!(claim(&held, "k", 2, start + LIFE), Some(true));
        for other in 0..MOST {
            claim(&held, &other.to_string(), 1, start + LIFE);
        }
        assert!(held.0.lock().unwrap().entries.len() <= MOST);
        assert_eq!(claim(&held, "k", 3, start + LIFE), Some(true), "pushed out");
    }

    #[test]
    fn a_first_request_that_is_lost_is_replaced() {
        let held = Idempotency::<u8>::default();
        let now = Instant::now();
        let Ok(Claim::First(sender, _)) = held.claim("a".into(), "k", [0; 32], now) else {
            panic!("not first");
        };
        assert!(matches!(
            held.claim("a".into(), "k", [0; 32], now),
            Ok(Claim::Retry(_))
        ));
        drop(sender);
        assert!(matches!(
            held.claim("a".into(), "k", [0; 32], now),
            Ok(Claim::First(..))
        ));
    }
}
