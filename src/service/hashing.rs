//! Hashing of PINs and passwords, away from everything else.
//!
//! One argon2id computation takes some 20 ms of CPU and 19 MiB: on the workers it would hold up
//! every code behind it, and unbounded it would take the machine's memory. So there are few places,
//! a bounded number may wait for one, and who finds the queue full is not decided at all (silence,
//! 503): nothing was counted, and the gear asks again.

use std::sync::Arc;
use std::sync::Mutex;

use tokio::sync::Semaphore;

use crate::credential::Cost;
use crate::credential::Hash;
use crate::credential::Scratch;
use crate::credential::Text;
use crate::credential::spend;
use crate::secret::Key256;
use crate::secret::SecretString;
use crate::service::ServiceError;

/// What hashing may occupy, and what it costs.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Computations at a time.
    pub threads: usize,
    /// Computations that may wait for one of those places.
    pub queue: usize,
    /// Of new hashes; others are renewed when they are next right.
    pub cost: Cost,
}

impl Default for Settings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            // One core is left to codes.
            threads: cores.saturating_sub(1).max(1),
            queue: 64,
            cost: Cost::DEFAULT,
        }
    }
}

/// The pool.
pub(crate) struct Hasher {
    settings: Settings,
    pepper: Arc<Key256>,
    admitted: Arc<Semaphore>,
    working: Arc<Semaphore>,
    /// The memory of idle places: fresh pages cost as much as the computation.
    scratches: Arc<Mutex<Vec<Scratch>>>,
}

impl Hasher {
    pub(crate) fn new(settings: Settings, pepper: Key256) -> Self {
        let places = settings.threads.saturating_add(settings.queue);
        Self {
            settings,
            pepper: Arc::new(pepper),
            admitted: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            working: Arc::new(Semaphore::new(settings.threads)),
            scratches: Arc::default(),
        }
    }

    /// Whether this is the text behind the hash.
    pub(crate) async fn verify(
        &self,
        text: SecretString,
        hash: Hash,
    ) -> Result<bool, ServiceError> {
        let (pepper, cost) = (Arc::clone(&self.pepper), self.settings.cost);
        self.run(move |scratch| {
            let right = hash.verify(&text, &pepper, scratch);
            // Some imported forms take microseconds: the time would tell who has one.
            if !right && hash.imported().is_some() {
                spend(cost, scratch);
            }
            right
        })
        .await
    }

    /// Spends the time of one comparison on nobody's hash, so that a miss costs what a hit costs.
    pub(crate) async fn spend(&self) -> Result<(), ServiceError> {
        let cost = self.settings.cost;
        self.run(move |scratch| spend(cost, scratch)).await
    }

    /// A new hash.
    pub(crate) async fn hash(&self, text: Text, salt: [u8; 16]) -> Result<Hash, ServiceError> {
        let (pepper, cost) = (Arc::clone(&self.pepper), self.settings.cost);
        self.run(move |scratch| Hash::new(&text, &pepper, salt, cost, scratch))
            .await
    }

    /// The hash of a text that was right, made as new ones are.
    pub(crate) async fn renew(
        &self,
        typed: SecretString,
        salt: [u8; 16],
    ) -> Result<Option<Hash>, ServiceError> {
        let (pepper, cost) = (Arc::clone(&self.pepper), self.settings.cost);
        self.run(move |scratch| Hash::renew(&typed, &pepper, salt, cost, scratch))
            .await
    }

    /// Whether the hash was made another way than new ones are.
    pub(crate) fn is_outdated(&self, hash: &Hash) -> bool {
        hash.needs_rehash(self.settings.cost)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Scratch) -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        let admitted = Arc::clone(&self.admitted)
            .try_acquire_owned()
            .map_err(|_| ServiceError::Busy)?;
        let working = Arc::clone(&self.working)
            .acquire_owned()
            .await
            .map_err(|_| ServiceError::Busy)?;
        // The places go with the work: a caller that hangs up does not make room for more.
        let scratches = Arc::clone(&self.scratches);
        let task = tokio::task::spawn_blocking(move || {
            let _places = (admitted, working);
            let kept = || scratches.lock().expect(UNPOISONED);
            let mut scratch = kept().pop().unwrap_or_default();
            let done = work(&mut scratch);
            kept().push(scratch);
            done
        });
        task.await.map_err(|_| ServiceError::Busy)
    }
}

const UNPOISONED: &str = "no panic while the lock is held";
