//! The writer's queue: bounded, filled by any thread, emptied a batch at a time by the one that commits.
//!
//! A commit costs the same for one record as for a hundred, so a caller that submits many at once holds
//! the batch ([`Queue::hold`]): the writer's thread then wakes to all of them, not to the first, or not at
//! all when the caller commits them itself. It is no timer: nothing waits for what has not been
//! submitted yet, and a writer that is at work takes what has come without any wake-up.
//!
//! Invariants: what was pushed is taken, or dropped when the queue is closed, which its asker is told;
//! the bell rings at the latest when a hold ends, however many others there are.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// The sending side, shared.
pub(crate) struct Queue<T> {
    shared: Arc<Shared<T>>,
    limit: usize,
}

/// The receiving side. When it is closed or gone, everything is refused.
pub(crate) struct Receiver<T>(Arc<Shared<T>>);

/// Why something was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refused {
    /// There is no room.
    Full,
    /// No one takes anything any more.
    Closed,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    bell: Condvar,
}

struct State<T> {
    items: Vec<T>,
    /// How many holds there are.
    holds: usize,
    /// Whether the receiver waits, and the bell has not rung for it since.
    waiting: bool,
    /// Whether a side has gone.
    closed: bool,
}

/// While it lives, what is pushed may wait for its end. Held for a moment only.
pub(crate) struct Hold<'a, T>(&'a Queue<T>);

/// A queue with room for `limit` items.
pub(crate) fn queue<T>(limit: usize) -> (Queue<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            items: Vec::new(),
            holds: 0,
            waiting: false,
            closed: false,
        }),
        bell: Condvar::new(),
    });
    let receiver = Receiver(Arc::clone(&shared));
    (Queue { shared, limit }, receiver)
}

impl<T> Queue<T> {
    /// Adds one, or refuses at once.
    pub(crate) fn push(&self, item: T) -> Result<(), Refused> {
        let mut state = self.shared.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.items.len() >= self.limit {
            return Err(Refused::Full);
        }
        state.items.push(item);
        let ring = state.holds == 0 && std::mem::take(&mut state.waiting);
        drop(state);
        if ring {
            self.shared.bell.notify_one();
        }
        Ok(())
    }

    /// Holds the bell until the end of what is returned.
    pub(crate) fn hold(&self) -> Hold<'_, T> {
        self.shared.lock().holds += 1;
        Hold(self)
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.shared.lock().items.len()
    }

    /// Whether no one takes anything any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.lock().closed
    }
}

impl<T> Drop for Queue<T> {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.bell.notify_one();
    }
}

impl<T> Drop for Hold<'_, T> {
    fn drop(&mut self) {
        let shared = &self.0.shared;
        let mut state = shared.lock();
        state.holds -= 1;
        let ring = !state.items.is_empty() && std::mem::take(&mut state.waiting);
        drop(state);
        if ring {
            shared.bell.notify_one();
        }
    }
}

impl<T> Receiver<T> {
    /// Waits until something is there, but no longer than `pause`; `false` when nothing is there yet.
    pub(crate) fn wait_within(&self, pause: Duration) -> Result<bool, Closed> {
        let state = self.0.lock();
        let waiting = |state: &mut State<T>| {
            state.waiting = state.items.is_empty() && !state.closed;
            state.waiting
        };
        let waited = self.0.bell.wait_timeout_while(state, pause, waiting);
        let (state, _) = waited.expect(UNPOISONED);
        if state.items.is_empty() && state.closed {
            return Err(Closed);
        }
        Ok(!state.items.is_empty())
    }

    /// Moves up to `most` items to `batch`.
    pub(crate) fn take(&self, batch: &mut Vec<T>, most: usize) {
        self.0.lock().move_to(batch, most);
    }

    /// Refuses everything from now on. Also when the writer panics: anyone who waits for an answer is told that
    /// there is none.
    pub(crate) fn close(&self) {
        let mut state = self.0.lock();
        state.closed = true;
        let items = std::mem::take(&mut state.items);
        drop(state);
        drop(items);
        self.0.bell.notify_one();
    }
}

/// The queue is at its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Closed;

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().expect(UNPOISONED)
    }
}

impl<T> State<T> {
    fn move_to(&mut self, batch: &mut Vec<T>, most: usize) {
        if batch.is_empty() && self.items.len() <= most {
            std::mem::swap(batch, &mut self.items);
        } else {
            let count = self.items.len().min(most);
            batch.extend(self.items.drain(..count));
        }
    }
}

const UNPOISONED: &str = "no panic while the lock is held";

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn takes_what_is_there_in_order_and_not_more_than_asked() {
        let (queue, receiver) = queue(10);
        for number in 0..5 {
            queue.push(number).unwrap();
        }
        let mut batch = Vec::new();
        assert_eq!(receiver.wait_within(LONG), Ok(true));
        receiver.take(&mut batch, 3);
        assert_eq!(batch, [0, 1, 2]);
        batch.clear();
        receiver.take(&mut batch, 3);
        assert_eq!(batch, [3, 4]);
        receiver.take(&mut batch, 3);
        assert_eq!(batch, [3, 4], "nothing is left");
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn is_bounded_and_ends_on_either_side() {
        let (queue, receiver) = queue(2);
        assert_eq!((queue.push(1), queue.push(2)), (Ok(()), Ok(())));
        assert_eq!(queue.push(3), Err(Refused::Full));
        drop(queue);
        assert_eq!(
            receiver.wait_within(LONG),
            Ok(true),
            "what was pushed is taken"
        );
        receiver.take(&mut Vec::new(), 9);
        assert_eq!(receiver.wait_within(LONG), Err(Closed));

        let (queue, receiver) = super::queue(2);
        let (heard, asker) = std::sync::mpsc::channel();
        queue.push(heard).unwrap();
        drop(receiver);
        assert!(asker.recv().is_err(), "what no one takes is dropped");
        let (heard, _) = std::sync::mpsc::channel::<()>();
        assert!(queue.is_closed() && queue.push(heard) == Err(Refused::Closed));
    }

    #[test]
    fn what_is_pushed_under_a_hold_is_taken_together() {
        let (queue, receiver) = queue(100);
        let taken = std::thread::scope(|scope| {
            let taker = scope.spawn(|| {
                let mut batch = Vec::new();
                let _ = receiver.wait_within(LONG);
                receiver.take(&mut batch, 100);
                batch.len()
            });
            while !queue.shared.lock().waiting {
                std::thread::yield_now();
            }
            let hold = queue.hold();
            for number in 0..50 {
                queue.push(number).unwrap();
                assert!(queue.shared.lock().waiting, "the bell has not rung");
            }
            drop(hold);
            taker.join().unwrap()
        });
        assert_eq!(taken, 50);
    }

    #[test]
    fn the_bell_rings_for_the_first_push_without_a_hold() {
        let (queue, receiver) = queue(100);
        assert_eq!(receiver.wait_within(Duration::ZERO), Ok(false));
        assert!(queue.shared.lock().waiting);
        queue.push(0).unwrap();
        assert!(!queue.shared.lock().waiting);
    }

    #[test]
    fn nothing_is_left_lying_under_many_hands() {
        const EACH: usize = 2000;
        let (queue, receiver) = queue(usize::MAX);
        let taken = std::thread::scope(|scope| {
            for hand in 0..4 {
                let queue = &queue;
                scope.spawn(move || {
                    for number in 0..EACH {
                        let gathering = (hand % 2 == 0).then(|| queue.hold());
                        queue.push(number).unwrap();
                        drop(gathering);
                    }
                });
            }
            let (mut taken, mut batch) = (0, Vec::new());
            while taken < 4 * EACH {
                assert_eq!(receiver.wait_within(LONG), Ok(true));
                receiver.take(&mut batch, 64);
                taken += batch.len();
                batch.clear();
            }
            taken
        });
        assert_eq!((taken, queue.len()), (4 * EACH, 0));
    }
}
