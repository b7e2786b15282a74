//! Hashing of PINs and passwords, away from everything else.
//!
//! One argon2id computation takes some 20 ms of CPU and 19 MiB: on the workers it would hold up
//! every code behind it, and unbounded it would take the machine's memory. So there are few places, in threads of
//! their own ([`crate::login::hash_threads`]), a bounded number may wait for one, and who finds the queue full
//! is not decided at all (silence, 503): nothing was counted, and the client asks again.
//!
//! Threat: who is shed must not depend on whom was asked for (threats T13). So a place in the queue is
//! taken before anything is looked up, and anyone who gets no hashing done, because they are blocked,
//! waits all the same for about as long, in that place: what a blocked user gave back would tell by who is shed
//! that there is such a user. What is made in a place is counted, so that no refusal ends with less than another
//! ([`Login::spend_rest`](crate::login::Login::spend_rest)). Answers to challenges have places of their own: a flood of
//! first factors does not hold them up.
//!
//! Threat: one address that fills the queue, so that no one else logs in by what they know (threats T20). Who asks
//! holds at most their share of a queue that fills ([`Holder`]); while it does not, they may hold more.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot};

use crate::core::CoreError;
use crate::credential::{Cost, Hash, Scratch, Text, spend};
use crate::login::hash_threads::Threads;
use crate::model::source::Source;
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
    admitted: [Arc<Queue>; 2],
    working: Arc<Semaphore>,
    threads: Threads,
    /// How long the last computation took, in microseconds.
    took: Arc<AtomicU64>,
    /// Computations since the start, those that were only waited for included.
    made: AtomicU64,
}

/// Who holds places in the queue.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Holder {
    /// Where the person is: the [`Source::site`].
    Site(Source),
    /// The client, where it does not say from where people ask.
    Client(String),
}

impl Holder {
    /// Of a request: neither follows from whom was asked for.
    pub(crate) fn of(source: Option<IpAddr>, client: &str) -> Self {
        match source {
            Some(address) => Self::Site(Source::from(address).site()),
            None => Self::Client(client.to_owned()),
        }
    }
}

/// How many of so many places are taken when a holder is held to its share. Late, for an address may stand for many
/// people, as one client does: an office, a portal behind a proxy.
const fn bound_from(places: usize) -> usize {
    places - places / 4
}

/// A bounded number of places.
struct Queue {
    places: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by: HashMap<Holder, usize>,
}

impl Queue {
    fn new(places: usize) -> Arc<Self> {
        Arc::new(Self {
            places,
            taken: Mutex::default(),
        })
    }

    /// One more place; none where all are taken, or this holder has its share of a queue that fills.
    fn take(self: &Arc<Self>, holder: Option<Holder>) -> Option<Place> {
        let mut taken = self.taken();
        if taken.all >= self.places {
            return None;
        }
        if let Some(holder) = &holder {
            let held = taken.by.get(holder).copied().unwrap_or_default();
            let share = (self.places / SHARES).max(1);
            if taken.all >= bound_from(self.places) && held >= share {
                return None;
            }
            taken.by.insert(holder.clone(), held + 1);
        }
        taken.all += 1;
        drop(taken);
        let queue = Arc::clone(self);
        Some(Place {
            seat: Arc::new(Seat {
                queue,
                holder,
                made: AtomicUsize::new(0),
            }),
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a place takes of its queue.
struct Seat {
    queue: Arc<Queue>,
    holder: Option<Holder>,
    /// Computations in it, those that were only waited for included.
    made: AtomicUsize,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.queue.taken();
        taken.all = taken.all.saturating_sub(1);
        if let Some(holder) = &self.holder
            && let Some(held) = taken.by.get_mut(holder)
        {
            *held = held.saturating_sub(1);
            if *held == 0 {
                taken.by.remove(holder);
            }
        }
    }
}

/// A place in the queue; given up when it is dropped and no work goes on in it.
#[derive(Clone)]
pub(crate) struct Place {
    seat: Arc<Seat>,
}

impl Place {
    /// From here on is counted what is made in it.
    pub(crate) fn begin(&self) {
        self.seat.made.store(0, Ordering::Relaxed);
    }

    /// Computations that are counted, those that were only waited for included.
    pub(crate) fn made(&self) -> usize {
        self.seat.made.load(Ordering::Relaxed)
    }
}

impl Hasher {
    pub(crate) fn new(settings: Settings, pepper: Key256) -> Self {
        let places = settings.threads.saturating_add(settings.queue);
        Self {
            settings,
            pepper: Arc::new(pepper),
            admitted: [Queue::new(places), Queue::new(places)],
            took: Arc::default(),
            made: AtomicU64::new(0),
            working: Arc::new(Semaphore::new(settings.threads)),
            threads: Threads::new(settings.yields),
        }
    }

    /// A place in the queue, or none at all. `answering`: for the answer to a challenge; `holder`: whose share it is of,
    /// no one's where who asks has proven already who they are.
    pub(crate) fn place(
        &self,
        answering: bool,
        holder: Option<Holder>,
    ) -> Result<Place, CoreError> {
        let [first, further] = &self.admitted;
        let queue = if answering { further } else { first };
        queue.take(holder).ok_or(CoreError::Busy)
    }

    /// Waits as long as a computation would take, and computes nothing.
    pub(crate) async fn wait(&self, place: &Place) -> Result<(), CoreError> {
        self.count(place);
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
        self.run(&self.place(false, None)?, move |scratch| {
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
        self.run(&self.place(false, None)?, move |scratch| {
            Hash::renew(&typed, &pepper, salt, cost, scratch)
        })
        .await
    }

    /// Whether the hash was made another way than new ones are.
    pub(crate) fn is_outdated(&self, hash: &Hash) -> bool {
        hash.needs_rehash(self.settings.cost)
    }

    /// Computations since the start, those that were only waited for included.
    pub(crate) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    fn count(&self, place: &Place) {
        place.seat.made.fetch_add(1, Ordering::Relaxed);
        self.made.fetch_add(1, Ordering::Relaxed);
    }

    async fn run<T: Send + 'static>(
        &self,
        place: &Place,
        work: impl FnOnce(&mut Scratch) -> T + Send + 'static,
    ) -> Result<T, CoreError> {
        self.count(place);
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

/// Of a queue that fills a holder has one of so many shares.
const SHARES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> Holder {
        Holder::of(Some(IpAddr::from([192, 0, 2, last])), "vpn")
    }

    fn client(name: &str) -> Holder {
        Holder::of(None, name)
    }

    /// As many places as this holder gets.
    fn filled(queue: &Arc<Queue>, holder: &Holder) -> Vec<Place> {
        let places = (0..1000).map_while(|_| queue.take(Some(holder.clone())));
        places.collect()
    }

    #[test]
    fn one_address_leaves_places_to_others() {
        let queue = Queue::new(64);
        let flood = filled(&queue, &source(1));
        assert_eq!(flood.len(), 48, "most of them while no one else asks");
        let other: Vec<_> = (0..10)
            .filter_map(|_| queue.take(Some(source(2))))
            .collect();
        assert_eq!(other.len(), 10, "places are left");
        assert!(queue.take(Some(source(1))).is_none());
        let vpn = filled(&queue, &client("vpn"));
        assert_eq!(vpn.len(), 6);
        assert!(queue.take(None).is_none(), "there is no place left");
        drop(flood);
        assert!(queue.take(Some(source(1))).is_some());
    }

    /// What one address leaves is for all others; a second one may take it, and gives it back.
    #[test]
    fn who_comes_late_to_a_flood_still_finds_a_place() {
        let queue = Queue::new(64);
        let first = filled(&queue, &source(1));
        assert_eq!(first.len(), 48);
        let second = filled(&queue, &source(2));
        assert_eq!(second.len(), 16, "no more than a share");
        // What others give up is not the flood's.
        drop(second);
        assert!(queue.take(Some(source(1))).is_none());
        assert!(queue.take(Some(source(3))).is_some());
        assert!(queue.take(Some(client("vpn"))).is_some());
        assert!(queue.take(None).is_some());
    }

    /// All who are behind a concentrator that names no addresses are one client, with as much as one address.
    #[test]
    fn a_client_without_addresses_has_most_of_the_queue() {
        let queue = Queue::new(64);
        let vpn = filled(&queue, &client("vpn"));
        assert_eq!(vpn.len(), 48);
        assert_eq!(filled(&queue, &client("other")).len(), 16);
        drop(vpn);
        assert!(queue.taken().by.is_empty());
        // Those who are told apart by addresses are not held to one share.
        let apart = (0..64).filter_map(|last| queue.take(Some(source(last))));
        assert_eq!(apart.collect::<Vec<_>>().len(), 64);
    }

    #[test]
    fn a_small_queue_serves_who_comes_first() {
        for places in 0..4 {
            let queue = Queue::new(places);
            let taken: Vec<Place> = (0..9)
                .filter_map(|last| queue.take(Some(source(last))))
                .collect();
            assert_eq!(taken.len(), places);
            drop(taken);
            assert_eq!(queue.taken().all, 0);
            assert!(queue.taken().by.is_empty());
        }
        let queue = Queue::new(1);
        assert!(queue.take(Some(source(1))).is_some());
    }

    #[test]
    fn a_home_of_ipv6_is_one_holder() {
        let of = |address: &str| Holder::of(address.parse().ok(), "vpn");
        assert_eq!(of("2001:db8:1:200::1"), of("2001:db8:1:2ff:ffff::1"));
        assert_ne!(of("2001:db8:1:200::1"), of("2001:db8:1:300::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
