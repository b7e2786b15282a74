//! Retransmissions: the same question gets the same answer, and is worked on once.
//!
//! ```text
//!            begin: New                 finish
//! (nothing) ------------> in flight ------------> answered --30 s--> (nothing)
//!     ^                    |  | ^                    | |
//!     |  abandon, 60 s     |  | |   another request  | | begin: Resend (same request)
//!     +--------------------+  | +--------------------+ +---> the same octets again
//!                             |
//!                             +-> begin: InFlight (same request): silence
//! ```
//!
//! Source: RFC 5080 s2.2.2. A duplicate has the same source address and port, Identifier, code and
//! receiving socket, and the same Request Authenticator; here all its octets are the same, because
//! a client without entropy, or a forger, repeats an authenticator for another user and must not
//! get the answer kept for the first. Without this cache a retransmission consumes a one-time code
//! twice: Accept, then Reject (RFC 5080 s2.10).
//!
//! Invariants: the entry is made before the work starts, so two copies are never worked on at
//! once; a [`Ticket`] finishes only the entry it was given for, so an answer that was overtaken by
//! a new request with the same key goes nowhere; per key at most one answer is current. Entries in
//! flight are never evicted.
//!
//! Only packets whose Message-Authenticator was verified belong here (RFC 5080 s2.2.2).
//!
//! Threats: [`MAX_ENTRIES`], [`MAX_PER_SOURCE`]. Costs: `begin`, `finish` and `abandon` are
//! amortised O(1); there is no sweep over everything. Time may stand still or jump back: then
//! entries live longer, bounded by the caps.

use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::radius::packet::{Code, Packet};
use crate::time::UnixTime;

/// What makes two packets candidates for being the same request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Key {
    /// Receiving socket, numbered by the server.
    pub listener: u16,
    /// Source address and port.
    pub source: SocketAddr,
    /// Identifier of the packet.
    pub identifier: u8,
    /// Code of the packet.
    pub code: Code,
}

/// In one piece: the parts one after the other cost several times as much, for each packet.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let address = match self.source.ip() {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        let [high, low] = self.source.port().to_be_bytes();
        let [first, second] = self.listener.to_be_bytes();
        let mut octets = [0; 22];
        octets[..16].copy_from_slice(&address.to_be_bytes());
        octets[16..].copy_from_slice(&[high, low, first, second, self.identifier, self.code.0]);
        state.write(&octets);
    }
}

/// All a packet says, in short: a digest of its octets without padding. A retransmission has the
/// same, another request another one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of a packet, by SHA-256.
    pub fn of(packet: &Packet<'_>) -> Self {
        Self(Sha256::digest(packet.octets()).into())
    }
}

/// What to do with a request.
#[derive(Debug)]
pub enum Begin {
    /// Work on it, then `finish` or `abandon` the ticket.
    New(Ticket),
    /// It is being worked on: stay silent.
    InFlight,
    /// It was answered: send these octets again.
    Resend(Arc<[u8]>),
    /// No room that could be made: stay silent, the client will ask again.
    Overload,
}

/// The right to answer one request.
#[derive(Debug)]
#[must_use = "finish or abandon it, or retransmissions are ignored until it expires"]
pub struct Ticket {
    key: Key,
    generation: u64,
}

/// Whether an answer may leave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Finish {
    /// It is kept for retransmissions: send it.
    Current,
    /// Another request took its place, or it took too long: send nothing.
    Stale,
}

/// Room in the cache.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Entries in all.
    pub entries: usize,
    /// Entries of one source address.
    pub per_source: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: MAX_ENTRIES,
            per_source: MAX_PER_SOURCE,
        }
    }
}

/// The cache.
#[derive(Debug)]
pub struct Duplicates {
    limits: Limits,
    generation: u64,
    entries: HashMap<Key, Entry>,
    sources: HashMap<IpAddr, Source>,
    /// Oldest first, like `answered` here and in [`Source`]; items of replaced entries linger.
    in_flight: Queue,
    answered: Queue,
}

#[derive(Debug)]
struct Entry {
    fingerprint: Fingerprint,
    generation: u64,
    deadline: UnixTime,
    /// `None` while in flight.
    reply: Option<Arc<[u8]>>,
}

#[derive(Debug, Default)]
struct Source {
    entries: usize,
    answered: Queue,
}

impl Duplicates {
    /// An empty cache.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            generation: 0,
            entries: HashMap::new(),
            sources: HashMap::new(),
            in_flight: Queue::default(),
            answered: Queue::default(),
        }
    }

    /// Decides what to do with a request, and takes note of it before any work starts.
    pub fn begin(&mut self, key: Key, fingerprint: Fingerprint, now: UnixTime) -> Begin {
        self.expire(now);
        if let Some(entry) = self.entries.get(&key) {
            if entry.deadline > now && entry.fingerprint == fingerprint {
                return entry.reply.clone().map_or(Begin::InFlight, Begin::Resend);
            }
            // RFC 5080 s2.2.2: same key, another request: the old entry is purged.
            self.remove(&key);
        }
        if !self.make_room(key.source.ip()) {
            return Begin::Overload;
        }
        self.generation += 1;
        let generation = self.generation;
        let deadline = now.plus(IN_FLIGHT_LIFETIME);
        self.entries.insert(
            key,
            Entry {
                fingerprint,
                generation,
                deadline,
                reply: None,
            },
        );
        self.sources.entry(key.source.ip()).or_default().entries += 1;
        self.in_flight.push(Item {
            key,
            generation,
            deadline,
        });
        self.in_flight.compact(&self.entries);
        Begin::New(Ticket { key, generation })
    }

    /// Keeps the answer for retransmissions, if the request is still the current one of its key.
    #[allow(clippy::needless_pass_by_value)] // a ticket is used once
    pub fn finish(&mut self, ticket: Ticket, reply: Arc<[u8]>, now: UnixTime) -> Finish {
        self.expire(now);
        let Ticket { key, generation } = ticket;
        let entry = self.entries.get_mut(&key);
        let Some(entry) = entry.filter(|entry| entry.generation == generation) else {
            return Finish::Stale;
        };
        if entry.deadline <= now {
            self.remove(&key);
            return Finish::Stale;
        }
        entry.deadline = now.plus(REPLY_LIFETIME);
        entry.reply = Some(reply);
        let item = Item {
            key,
            generation,
            deadline: entry.deadline,
        };
        self.answered.push(item);
        self.answered.compact(&self.entries);
        if let Some(source) = self.sources.get_mut(&key.source.ip()) {
            source.answered.push(item);
            source.answered.compact(&self.entries);
        }
        Finish::Current
    }

    /// Forgets a request that could not be decided, so that a retransmission is tried again.
    #[allow(clippy::needless_pass_by_value)] // a ticket is used once
    pub fn abandon(&mut self, ticket: Ticket) {
        let Ticket { key, generation } = ticket;
        if self
            .entries
            .get(&key)
            .is_some_and(|entry| entry.generation == generation)
        {
            self.remove(&key);
        }
    }

    /// Entries held, expired ones not yet noticed included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Drops what is due at the front of both queues.
    fn expire(&mut self, now: UnixTime) {
        while let Some(item) = self.in_flight.pop_due(now) {
            self.remove_item(&item, Stage::InFlight);
        }
        while let Some(item) = self.answered.pop_due(now) {
            self.remove_item(&item, Stage::Answered);
        }
    }

    /// Makes room for one more entry of a source by evicting answered ones, oldest first.
    fn make_room(&mut self, address: IpAddr) -> bool {
        while let Some(source) = self.sources.get_mut(&address)
            && source.entries >= self.limits.per_source
        {
            let Some(item) = source.answered.pop() else {
                return false;
            };
            self.remove_item(&item, Stage::Answered);
        }
        while self.entries.len() >= self.limits.entries {
            let Some(item) = self.answered.pop() else {
                return false;
            };
            self.remove_item(&item, Stage::Answered);
        }
        true
    }

    /// Removes the entry an item speaks of, unless the entry was replaced or moved on since.
    fn remove_item(&mut self, item: &Item, stage: Stage) {
        if item.stage(&self.entries) == Some(stage) {
            self.remove(&item.key);
        }
    }

    fn remove(&mut self, key: &Key) {
        if self.entries.remove(key).is_none() {
            return;
        }
        let address = key.source.ip();
        if let Some(source) = self.sources.get_mut(&address) {
            source.entries = source.entries.saturating_sub(1);
            if source.entries == 0 {
                self.sources.remove(&address);
            }
        }
    }
}

/// Where an entry is on its way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    InFlight,
    Answered,
}

/// A reminder that an entry ends.
#[derive(Clone, Copy, Debug)]
struct Item {
    key: Key,
    generation: u64,
    deadline: UnixTime,
}

impl Item {
    /// Stage of the entry this item was made for; `None` when it is gone or replaced.
    fn stage(&self, entries: &HashMap<Key, Entry>) -> Option<Stage> {
        let entry = entries.get(&self.key)?;
        let stage = if entry.reply.is_some() {
            Stage::Answered
        } else {
            Stage::InFlight
        };
        // An entry that was answered has another deadline than its reminder in flight.
        (entry.generation == self.generation && entry.deadline == self.deadline).then_some(stage)
    }
}

/// Reminders in the order in which they were made, which is the order of their deadlines.
#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    /// Length at which dead items are swept out.
    sweep_at: usize,
}

impl Queue {
    fn push(&mut self, item: Item) {
        self.items.push_back(item);
    }

    fn pop(&mut self) -> Option<Item> {
        self.items.pop_front()
    }

    fn pop_due(&mut self, now: UnixTime) -> Option<Item> {
        self.items.pop_front_if(|item| item.deadline <= now)
    }

    /// Keeps the queue within twice its living items. A client that replaces one entry again and
    /// again would else fill memory with reminders. The sweep leaves at most half of what it
    /// looked at before the next one is due, so it costs O(1) per push.
    fn compact(&mut self, entries: &HashMap<Key, Entry>) {
        if self.items.len() < self.sweep_at.max(SWEEP_MIN) {
            return;
        }
        self.items.retain(|item| item.stage(entries).is_some());
        self.sweep_at = self.items.len().saturating_mul(2);
    }
}

/// How long an answer is kept (RFC 5080 s2.2.2: 5 to 30 s): as long as clients retransmit (MRD).
pub const REPLY_LIFETIME: Duration = Duration::from_secs(30);

/// How long a request may be worked on. Against work that hangs: afterwards a retransmission is a
/// new request and the late answer goes nowhere.
pub const IN_FLIGHT_LIFETIME: Duration = Duration::from_mins(1);

/// Entries in all. Against a client, or a thief of its secret, that sends from ever new ports to
/// make us keep answers; at a few hundred octets each this is some tens of megabytes.
pub const MAX_ENTRIES: usize = 1 << 17;

/// Entries of one source address. Against one client that crowds out the answers kept for the
/// others. 256 Identifiers from 128 ports at once are more than any NAS uses.
pub const MAX_PER_SOURCE: usize = 1 << 15;

/// Below this many reminders a sweep is not worth it.
const SWEEP_MIN: usize = 64;

#[cfg(test)]
mod tests;
