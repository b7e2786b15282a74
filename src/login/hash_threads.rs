//! The threads that hash PINs and passwords, with memory that they keep while there is work.
//!
//! In a daemon hashing yields to everything else: beside a busy thread nice 5 is a quarter of a processor. Less would
//! be too little on a machine that other programs keep busy: the hash of a PIN must be done within a request's time.
//!
//! Fresh memory costs half as much as the computation in it, page by page: a thread keeps its own. What a password
//! left in it is overwritten when the thread has had no work for [`WIPE`], and given back after [`IDLE`],
//! with the thread.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::credential::Scratch;

/// Work for one of the threads.
pub(super) type Work = Box<dyn FnOnce(&mut Scratch) + Send>;

/// The threads; they end with their work when this is dropped.
pub(super) struct Threads(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    bell: Condvar,
    yields: bool,
}

#[derive(Default)]
struct State {
    work: VecDeque<Work>,
    idle: usize,
    closed: bool,
}

impl Threads {
    /// None yet: the first work starts one.
    pub(super) fn new(yields: bool) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            bell: Condvar::new(),
            yields,
        }))
    }

    /// Has work done, by an idle thread or a new one: the caller bounds how much of it there is at a time.
    /// An error where the system gives no thread.
    pub(super) fn give(&self, work: Work) -> std::io::Result<()> {
        let mut state = self.0.lock();
        if state.work.len() >= state.idle {
            let shared = Arc::clone(&self.0);
            let thread = std::thread::Builder::new().name("hash".to_owned());
            thread.spawn(move || shared.run())?;
            // It counts as idle from the start: the work is there before it looks.
            state.idle += 1;
        }
        state.work.push_back(work);
        drop(state);
        self.0.bell.notify_one();
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.bell.notify_all();
    }
}

impl Shared {
    fn run(&self) {
        // The calling thread's, not the process's. Where it is refused, hashing is done all the same.
        if self.yields
            && let Err(error) = rustix::process::setpriority_process(None, NICE)
        {
            tracing::warn!(%error, "hashing cannot be given a lower priority than codes");
        }
        let mut scratch = Scratch::new();
        while let Some(work) = self.next(&mut scratch) {
            // Its asker is told by the end of the channel; what it left in the memory is overwritten later.
            let _ = catch_unwind(AssertUnwindSafe(|| work(&mut scratch)));
            self.lock().idle += 1;
        }
    }

    /// The next work; none when there was none for long, or the threads are to end.
    fn next(&self, scratch: &mut Scratch) -> Option<Work> {
        let mut state = self.lock();
        for (pause, wipe) in [(WIPE, true), (IDLE, false)] {
            let waiting = |state: &mut State| state.work.is_empty() && !state.closed;
            let waited = self.bell.wait_timeout_while(state, pause, waiting);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if let Some(work) = state.work.pop_front() {
                state.idle -= 1;
                return Some(work);
            }
            if state.closed {
                break;
            }
            if wipe {
                // Not idle meanwhile: work that comes now would wait for it.
                state.idle -= 1;
                drop(state);
                scratch.wipe();
                state = self.lock();
                state.idle += 1;
            }
        }
        state.idle -= 1;
        None
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See setpriority(2).
const NICE: i32 = 5;
/// How long memory keeps what a password left in it: short, but longer than the pause between two logins of a
/// busy server, since overwriting takes a tenth of a computation.
const WIPE: Duration = Duration::from_millis(250);
/// How long a thread without work keeps its memory.
const IDLE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn work_is_done_at_the_same_time_and_survives_a_panic() {
        let threads = Threads::new(true);
        let (done, all) = mpsc::channel();
        threads.give(Box::new(|_| panic!("for the test"))).unwrap();
        // Each waits for the other.
        let barrier = Arc::new(std::sync::Barrier::new(2));
        for _ in 0..2 {
            let (done, barrier) = (done.clone(), Arc::clone(&barrier));
            let work = move |_: &mut Scratch| {
                barrier.wait();
                let _ = done.send(std::thread::current().id());
            };
            threads.give(Box::new(work)).unwrap();
        }
        let (one, other) = (all.recv().unwrap(), all.recv().unwrap());
        assert_ne!(one, other);
        // An idle thread is used again: no third one for what comes after the others.
        for _ in 0..5 {
            std::thread::sleep(Duration::from_millis(20));
            let done = done.clone();
            let work = move |_: &mut Scratch| {
                let _ = done.send(std::thread::current().id());
            };
            threads.give(Box::new(work)).unwrap();
            all.recv().unwrap();
        }
        assert!(threads.0.lock().idle <= 3);
    }

    #[test]
    fn what_a_password_left_is_overwritten_when_there_is_no_work() {
        use crate::credential::{Cost, spend};
        let threads = Threads::new(true);
        let (done, all) = mpsc::channel();
        let hashed = done.clone();
        threads
            .give(Box::new(move |scratch| {
                spend(Cost::DEFAULT, scratch);
                let _ = hashed.send((scratch.is_wiped(), std::thread::current().id()));
            }))
            .unwrap();
        let (wiped, thread) = all.recv().unwrap();
        assert!(!wiped);
        std::thread::sleep(WIPE * 4);
        threads
            .give(Box::new(move |scratch| {
                let _ = done.send((scratch.is_wiped(), std::thread::current().id()));
            }))
            .unwrap();
        assert_eq!(all.recv().unwrap(), (true, thread));
    }
}
