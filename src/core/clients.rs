//! The clients in memory: every packet and every API call looks its client up.
//!
//! A change is visible here before the administrator is told that it is done.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::model::client::{Access, Client};
use crate::secret::SecretString;
use crate::store::{Store, StoreError};
use crate::time::UnixTime;

/// Receives the clients whenever they change.
pub type Listener = Box<dyn Fn(&[Arc<Client>]) + Send + Sync>;

/// The clients as they are now.
pub struct Clients {
    all: ArcSwap<Vec<Arc<Client>>>,
    listeners: Mutex<Vec<Listener>>,
    lessons: RwLock<HashSet<(String, IpAddr)>>,
    /// Which secret an address used last, of clients that have two.
    uses: Mutex<HashMap<(String, IpAddr), (bool, UnixTime)>>,
    /// When each client was last known by its secret or key, in milliseconds: since the daemon started.
    seen: RwLock<HashMap<String, AtomicU64>>,
    /// One reload after the other: an older set never replaces a newer one.
    reloading: tokio::sync::Mutex<()>,
}

impl Clients {
    /// Reads the clients from the store.
    pub fn load(store: &Store) -> Result<Self, StoreError> {
        let all: Vec<_> = store.clients()?.into_iter().map(Arc::new).collect();
        let lessons = store.lessons()?.into_iter().collect();
        Ok(Self {
            all: ArcSwap::from_pointee(all),
            listeners: Mutex::default(),
            lessons: RwLock::new(lessons),
            uses: Mutex::default(),
            seen: RwLock::default(),
            reloading: tokio::sync::Mutex::default(),
        })
    }

    /// Reads them again after a change, and tells the listeners.
    pub async fn reload(&self, store: &Store) -> Result<(), StoreError> {
        let _turn = self.reloading.lock().await;
        let fresh = Self::load(store)?;
        let all = fresh.all.into_inner();
        let listeners = self.listeners.lock().expect(UNPOISONED);
        *self.lessons.write().expect(UNPOISONED) = fresh.lessons.into_inner().expect(UNPOISONED);
        self.all.store(Arc::clone(&all));
        let names: HashSet<&str> = all.iter().map(|client| client.name.as_str()).collect();
        let mut seen = self.seen.write().expect(UNPOISONED);
        seen.retain(|name, _| names.contains(name.as_str()));
        drop(seen);
        listeners.iter().for_each(|listener| listener(&all));
        Ok(())
    }

    /// All clients in order of name.
    pub fn all(&self) -> Arc<Vec<Arc<Client>>> {
        self.all.load_full()
    }

    /// Calls `listener` with the present clients, and again whenever they change.
    pub fn listen(&self, listener: Listener) {
        let mut listeners = self.listeners.lock().expect(UNPOISONED);
        listener(&self.all.load());
        listeners.push(listener);
    }

    /// The API client whose key this is. Every stored digest is compared, in constant time.
    pub fn by_key(&self, key: &SecretString, now: UnixTime) -> Option<Arc<Client>> {
        let digest = key_hash(key);
        let mut found = None;
        for client in self.all.load().iter() {
            let Access::Api(api) = &client.access else {
                continue;
            };
            let previous = api
                .previous
                .is_some_and(|(hash, until)| bool::from(hash.ct_eq(&digest)) && now < until);
            if bool::from(api.key_hash.ct_eq(&digest)) || previous {
                found = Some(Arc::clone(client));
            }
        }
        if let Some(client) = &found {
            self.asked(&client.name, now);
        }
        found
    }

    /// Notes that a client has asked, with its secret or key.
    pub fn asked(&self, client: &str, now: UnixTime) {
        if let Some(seen) = self.seen.read().expect(UNPOISONED).get(client) {
            seen.store(now.as_millis(), Ordering::Relaxed);
            return;
        }
        let mut all = self.seen.write().expect(UNPOISONED);
        all.insert(client.to_owned(), AtomicU64::new(now.as_millis()));
    }

    /// When a client that was made then asked last; none where it has not since the daemon started.
    pub fn last_asked(&self, client: &str, made: UnixTime) -> Option<UnixTime> {
        let all = self.seen.read().expect(UNPOISONED);
        let seen = all.get(client)?.load(Ordering::Relaxed);
        // One of its name before it is another.
        Some(UnixTime::from_millis(seen)).filter(|seen| *seen >= made)
    }

    /// Whether this address of a client with `require = auto` is known to sign its requests.
    pub fn has_lesson(&self, client: &str, address: IpAddr) -> bool {
        let lessons = self.lessons.read().expect(UNPOISONED);
        !lessons.is_empty() && lessons.contains(&(client.to_owned(), address))
    }

    /// The addresses of a client that are known to sign their requests, in order.
    pub fn lessons_of(&self, client: &str) -> Vec<IpAddr> {
        let lessons = self.lessons.read().expect(UNPOISONED);
        let own = lessons.iter().filter(|(name, _)| name == client);
        let mut own: Vec<IpAddr> = own.map(|(_, address)| *address).collect();
        own.sort_unstable();
        own
    }

    /// Notes which of a client's two secrets an address used.
    pub fn secret_used(&self, client: &str, address: IpAddr, previous: bool, now: UnixTime) {
        let mut uses = self.uses.lock().expect(UNPOISONED);
        let key = (client.to_owned(), address);
        if uses.len() < USES || uses.contains_key(&key) {
            uses.insert(key, (previous, now));
        }
    }

    /// Which secret each address of a client used last, in order of address.
    pub fn secrets_used(&self, client: &str) -> Vec<SecretUse> {
        let uses = self.uses.lock().expect(UNPOISONED);
        let ours = uses.iter().filter(|((name, _), _)| name == client);
        let mut found: Vec<SecretUse> = ours
            .map(|((_, address), (previous, at))| SecretUse {
                address: *address,
                previous: *previous,
                at: *at,
            })
            .collect();
        found.sort_by_key(|one| one.address);
        found
    }

    pub(crate) fn learned(&self, client: &str, address: IpAddr) {
        self.lessons
            .write()
            .expect(UNPOISONED)
            .insert((client.to_owned(), address));
    }
}

/// Which secret an address used last.
#[derive(Clone, Copy, Debug)]
pub struct SecretUse {
    /// The address.
    pub address: IpAddr,
    /// Whether it was the one before the last rotation.
    pub previous: bool,
    /// When.
    pub at: UnixTime,
}

/// Most addresses whose secrets are remembered.
const USES: usize = 4_096;

/// What is kept of an API key. The key has 256 random bits: a plain digest cannot be reversed.
pub fn key_hash(key: &SecretString) -> [u8; 32] {
    Sha256::digest(key.expose().as_bytes()).into()
}

const UNPOISONED: &str = "no panic while the lock is held";
