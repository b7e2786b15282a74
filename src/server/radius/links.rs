//! Connections that clients hold open: requests of ours about sessions go down them
//! (draft-ietf-radext-reverse-coa), since a NAS behind a firewall listens nowhere.
//!
//! Invariants: only what a client's certificate has proven is written to; as many requests are under way on a
//! connection as it has places for, and each ends with an answer, its time or the connection.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{mpsc, oneshot};

/// Connections by the name in the certificate of their client.
#[derive(Default)]
pub(super) struct Links {
    number: AtomicU64,
    open: Mutex<HashMap<String, Vec<Link>>>,
}

/// The way to a connection.
#[derive(Clone)]
pub(super) struct Link {
    number: u64,
    /// Where the client is.
    pub(super) peer: SocketAddr,
    /// Whether it speaks RADIUS/1.1.
    pub(super) v11: bool,
    identifiers: Arc<AtomicU8>,
    asks: mpsc::Sender<Ask>,
}

/// A request of ours, and where its answer goes.
pub(super) struct Ask {
    pub(super) identifier: u8,
    pub(super) octets: Vec<u8>,
    pub(super) answer: oneshot::Sender<Vec<u8>>,
}

/// The end of a connection: requests to send, as long as it is kept.
pub(super) struct Held {
    links: Arc<Links>,
    name: String,
    number: u64,
    pub(super) asks: mpsc::Receiver<Ask>,
}

impl Links {
    /// Takes note of a connection.
    pub(super) fn hold(self: &Arc<Self>, name: &str, peer: SocketAddr, v11: bool) -> Held {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let (sender, asks) = mpsc::channel(UNDER_WAY);
        let link = Link {
            number,
            peer,
            v11,
            identifiers: Arc::default(),
            asks: sender,
        };
        self.open().entry(name.to_owned()).or_default().push(link);
        Held {
            links: Arc::clone(self),
            name: name.to_owned(),
            number,
            asks,
        }
    }

    /// The connections of a client, the newest first.
    pub(super) fn of(&self, name: &str) -> Vec<Link> {
        let open = self.open();
        open.get(name)
            .into_iter()
            .flatten()
            .rev()
            .cloned()
            .collect()
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, Vec<Link>>> {
        self.open.lock().expect("no panic while the lock is held")
    }
}

impl Link {
    /// An Identifier for the next request: no other under way has it.
    pub(super) fn identifier(&self) -> u8 {
        self.identifiers.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a request; its answer, when there is one. `None`: the connection is at its end, or too many wait.
    pub(super) async fn ask(&self, identifier: u8, octets: Vec<u8>) -> Option<Vec<u8>> {
        let (answer, answered) = oneshot::channel();
        let ask = Ask {
            identifier,
            octets,
            answer,
        };
        self.asks.try_send(ask).ok()?;
        answered.await.ok()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut open = self.links.open();
        if let Some(links) = open.get_mut(&self.name) {
            links.retain(|link| link.number != self.number);
            if links.is_empty() {
                open.remove(&self.name);
            }
        }
    }
}

/// Requests that wait to be sent on a connection: fewer than there are Identifiers.
const UNDER_WAY: usize = 64;
