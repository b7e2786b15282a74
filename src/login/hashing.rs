//! Hashing of PINs and passwords, away from everything else.
//!
//! One argon2id computation takes some 20 ms of CPU and 19 MiB: on the workers it would hold up
//! every code behind it, and unbounded it would take the machine's memory. So there are few places, in threads of
//! their own ([`crate::login::hash_threads`]), a bounded number may wait for one, and who finds the queue full
//! is not decided at all (silence, 503): nothing was counted, and the client asks again.
//!
//! Threat: who is shed must not depend on whom was asked for (threats T13). So a place in the queue is
//! taken before anything is looked up, and anyone who gets no hashing done, because they are blocked,
//! waits all the same for about as long. Answers to challenges have places of their own: a flood of
//! first factors does not hold them up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::core::CoreError;
use crate::credential::{Cost, Hash, Scratch, Text, spend};
use crate::login::hash_threads::Threads;
use crate::secret::{Key256, SecretString};

/// What hashing may occupy, and what it costs.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Computations at a time.
    pub threads: usize,
    /// Computations that may wait for one of those places.
    pub queue: usize,
    /// Of new hashes; others are renewed when they are next right.
    pub cost: Cost,
    /// Whether hashing has a lower priority than everything else, as in a daemon that decides about codes.
    pub yields: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            // One core is left to codes.
            threads: cores.saturating_sub(1).max(1),
            queue: 64,
            cost: Cost::DEFAULT,
            yields: false,
        }
    }
}

/// The pool.
pub(crate) struct Hasher {
    settings: Settings,
    pepper: Arc<Key256>,
    /// For first factors, and for answers to challenges.
    admitted: [Arc<Semaphore>; 2],
    working: Arc<Semaphore>,
    threads: Threads,
    /// How long the last computation took, in microseconds.
    took: Arc<AtomicU64>,
}

/// A place in the queue; given up when it is dropped and no work goes on in it.
#[derive(Clone)]
pub(crate) struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
}

impl Hasher {
    pub(crate) fn new(settings: Settings, pepper: Key256) -> Self {
        let places = settings.threads.saturating_add(settings.queue);
        let places = || Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)));
        Self {
            settings,
            pepper: Arc::new(pepper),
            admitted: [places(), places()],
            took: Arc::default(),
            working: Arc::new(Semaphore::new(settings.threads)),
            threads: Threads::new(settings.yields),
        }
    }

    /// A place in the queue, or none at all. `answering`: for the answer to a challenge.
    pub(crate) fn place(&self, answering: bool) -> Result<Place, CoreError> {
        let [first, further] = &self.admitted;
        let queue = if answering { further } else { first };
        let permit = Arc::clone(queue).try_acquire_owned();
        let permit = permit.map_err(|_| CoreError::Busy)?;
        Ok(Place {
            _permit: Arc::new(permit),
        })
    }

    /// Waits as long as a computation would take, and computes nothing.
    pub(crate) async fn wait(&self, _place: &Place) -> Result<(), CoreError> {
        let turn = self.working.acquire().await;
        drop(turn.map_err(|_| CoreError::Busy)?);
        let took = Duration::from_micros(self.took.load(Ordering::Relaxed));
        tokio::time::sleep(took).await;
        Ok(())
    }

    /// Whether this is the text behind the hash.
    pub(crate) async fn verify(
        &self,
        place: &Place,
        text: SecretString,
        hash: Hash,
    ) -> Result<bool, CoreError> {
        let (pepper, cost) = (Arc::clone(&self.pepper), self.settings.cost);
        self.run(place, move |scratch| {
            let right = hash.verify(&text, &pepper, scratch);
            // Some imported forms take microseconds: the time would tell who has one.
            if !right && hash.imported().is_some() {
                spend(cost, scratch);
            }
            right
        })
        .await
    }

    /// Spends the time of one comparison on no one's hash, so that a miss costs what a hit costs.
    pub(crate) async fn spend(&self, place: &Place) -> Result<(), CoreError> {
        let cost = self.settings.cost;
        self.run(place, move |scratch| spend(cost, scratch)).await
    }

    /// A new hash.
    pub(crate) async fn hash(&self, text: Text, salt: [u8; 16]) -> Result<Hash, CoreError> {
        let (pepper, cost) = (Arc::clone(&self.pepper), self.settings.cost);
        self.run(&self.place(false)?, move |scratch| {
            Hash::new(&text, &pepper, salt, cost, scratch)
        })
        .await
    }

    /// The hash of a text that was right, made as new ones are.
    pub(crate) async fn renew(
        &self,
        typed: SecretString,
        salt: [u8; 16],
    ) -> Result<Option<Hash>, CoreError> {
        let (pepper, cost) = (Arc::clone(&self.pepper), self.settings.cost);
        self.run(&self.place(false)?, move |scratch| {
            Hash::renew(&typed, &pepper, salt, cost, scratch)
        })
        .await
    }

    /// Whether the hash was made another way than new ones are.
    pub(crate) fn is_outdated(&self, hash: &Hash) -> bool {
        hash.needs_rehash(self.settings.cost)
    }

    async fn run<T: Send + 'static>(
        &self,
        place: &Place,
        work: impl FnOnce(&mut Scratch) -> T + Send + 'static,
    ) -> Result<T, CoreError> {
        let admitted = place.clone();
        let working = Arc::clone(&self.working)
            .acquire_owned()
            .await
            .map_err(|_| CoreError::Busy)?;
        let took = Arc::clone(&self.took);
        let (answer, answered) = oneshot::channel();
        let given = self.threads.give(Box::new(move |scratch| {
            // The places go with the work: a caller that hangs up does not make room for more.
            let places = (admitted, working);
            let began = Instant::now();
            let done = work(scratch);
            let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            took.store(micros, Ordering::Relaxed);
            drop(places);
            // A caller that has hung up wants no answer.
            let _ = answer.send(done);
        }));
        given.map_err(|error| {
            tracing::error!(%error, "no thread for hashing");
            CoreError::Busy
        })?;
        answered.await.map_err(|_| CoreError::Busy)
    }
}
