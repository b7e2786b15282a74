//! One human attempt in several packets: the first answer is given again.
//!
//! A NAS on `auto` sends what a user typed by PAP, and after a reject by MS-CHAPv2 and by CHAP; a VPN
//! gateway asks again with the code that opened the portal; a NAS that had no answer in time
//! asks another address or from another port. Each is a request of its own (RFC 5080 s2.2.2 does not cover
//! them), and without this table the second packet finds its code used up, or counts the failure twice.
//!
//! ```text
//! asker       client, NAS, user, Calling-Station-Id, State       HMAC under a key of this process
//! credential  the text, or the response and its challenge        HMAC under the same key
//!             the text itself, to know responses made of it      wiped when the window ends
//! ```
//!
//! Invariants: only a client with a window has entries; an accept is kept only where the request names a
//! Calling-Station-Id, and is given again [`ACCEPTS`] times at most; while the first packet is worked on, others
//! of its attempt wait for it; what is given again, and whether it still may be, is decided and put on record by
//! [`Login::again`](crate::login::Login::again). A first packet that waits has its place among those that are
//! worked on, so that others that wait for it never keep it from going on.
//!
//! A NAS is told by NAS-IP-Address or NAS-IPv6-Address, by the address of the packet where it names neither, and
//! by NAS-Identifier: behind a proxy, or in a client of many addresses, are several.
//!
//! Threats: who learns a code within the window, and reaches the same NAS from the same Calling-Station-Id, is
//! let in by the accept of its owner (threats T8). [`MOST`] and [`MOST_OF_CLIENT`] bound what is held; beyond them
//! requests are decided one by one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::sync::watch;

use crate::login::{Given, LoginAnswer, LoginOutcome};
use crate::model::client::Client;
use crate::model::id::RequestId;
use crate::radius::accounting::nas_address;
use crate::radius::attribute::Type;
use crate::radius::mschap::Response;
use crate::radius::packet::Packet;
use crate::secret::{Key256, SecretString};
use crate::server::radius::password::Shown;
use crate::time::UnixTime;

/// Attempts of clients with a window.
pub(super) struct Retries {
    key: Key256,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    number: u64,
    entries: HashMap<Mark, Entry>,
    /// Entries of each client.
    clients: HashMap<Arc<str>, usize>,
}

type Mark = [u8; 32];

struct Entry {
    client: Arc<str>,
    /// Tells an entry from one that took its place.
    number: u64,
    credential: Mark,
    /// What was typed, where it is known.
    text: Option<SecretString>,
    stage: Stage,
}

enum Stage {
    /// The first packet is worked on; who waits is told how it ended.
    InFlight(watch::Receiver<Ended>),
    Decided(Kept),
}

/// How the work on a first packet ended.
#[derive(Clone, Copy)]
pub(super) enum Ended {
    /// Its answer is kept, or nothing may be answered: no decision, or an accept that is for one packet only.
    Silent,
    /// Others of its attempt are decided by themselves: nothing was consumed or counted.
    Free,
}

struct Kept {
    given: Given,
    until: UnixTime,
    left: u8,
}

/// A packet of an attempt.
pub(super) struct Asker<'a> {
    mark: Mark,
    credential: Mark,
    shown: &'a Shown,
    /// Whether it says where the person is.
    placed: bool,
}

/// The answer to the first packet, and what was typed.
pub(super) type Again = Box<(Given, Option<SecretString>)>;

/// What is done with a packet.
pub(super) enum Begin {
    /// It is decided; with a ticket its answer may be given again.
    Decide(Option<Ticket>),
    /// Another packet of the attempt is worked on.
    Wait(watch::Receiver<Ended>),
    /// The answer of the attempt is given again.
    Again(Again),
}

/// The right to keep the answer to a first packet. Dropped without one, the next packet is a first one.
pub(super) struct Ticket {
    ended: watch::Sender<Ended>,
    retries: Arc<Retries>,
    mark: Mark,
    number: u64,
    placed: bool,
}

impl Retries {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self {
            key: Key256::new(key),
            held: Mutex::default(),
        }
    }

    /// A packet as one of an attempt of this user, by the key where the name has one; `None` where its credential is
    /// none that can be told again.
    pub(super) fn asker<'a>(
        &self,
        packet: &Packet<'_>,
        (client, source): (&Client, IpAddr),
        (user, shown): (&str, &'a Shown),
    ) -> Option<Asker<'a>> {
        let credential = match shown {
            Shown::Passcode(text) if text.expose().is_empty() => return None,
            Shown::Passcode(text) => self.mark(&[b"text", text.expose().as_bytes()]),
            Shown::Response(response) => self.of_response(response.as_ref()?),
            Shown::Eap(_) => return None,
        };
        let station = packet.first(Type::CallingStationId);
        let nas = nas_address(packet).unwrap_or_else(|| source.to_canonical());
        let nas = match nas {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        };
        let parts: [&[u8]; 7] = [
            b"asker",
            client.name.as_bytes(),
            &nas,
            packet.first(Type::NasIdentifier).unwrap_or_default(),
            user.as_bytes(),
            station.unwrap_or_default(),
            packet.first(Type::State).unwrap_or_default(),
        ];
        Some(Asker {
            mark: self.mark(&parts),
            credential,
            shown,
            placed: station.is_some_and(|station| !station.is_empty()),
        })
    }

    fn of_response(&self, response: &Response) -> Mark {
        let (word, ident, challenge, response): (&[u8], _, &[u8], &[u8]) = match response {
            Response::Chap {
                ident,
                challenge,
                response,
            } => (b"chap", ident, challenge, response),
            Response::MsChap {
                ident,
                challenge,
                response,
            } => (b"mschap", ident, challenge, response),
            Response::MsChap2 {
                ident,
                challenge,
                response,
            } => (b"mschapv2", ident, challenge, response),
        };
        self.mark(&[word, &[*ident], challenge, response])
    }

    fn mark(&self, parts: &[&[u8]]) -> Mark {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.key.expose()).expect("any length is a key");
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// Takes note of a packet before it is worked on.
    pub(super) fn begin(self: &Arc<Self>, client: &str, asker: &Asker<'_>, now: UnixTime) -> Begin {
        let mut held = self.held();
        if let Some(entry) = held.entries.get_mut(&asker.mark) {
            if let Stage::InFlight(ended) = &entry.stage {
                // Two attempts at once: the second one is decided by itself.
                let ended = entry.is_of(asker).then(|| ended.clone());
                return ended.map_or(Begin::Decide(None), Begin::Wait);
            }
            if let Some(again) = entry.again(asker, now) {
                return Begin::Again(again);
            }
            held.remove(&asker.mark);
        }
        let of_client = held.clients.get(client).copied().unwrap_or_default();
        if held.entries.len() >= MOST || of_client >= MOST_OF_CLIENT {
            return Begin::Decide(None);
        }
        held.number += 1;
        let (number, client): (_, Arc<str>) = (held.number, client.into());
        *held.clients.entry(Arc::clone(&client)).or_default() += 1;
        let text = match asker.shown {
            Shown::Passcode(text) => Some(text.clone()),
            Shown::Response(_) | Shown::Eap(_) => None,
        };
        let (ended, waits) = watch::channel(Ended::Silent);
        let entry = Entry {
            client,
            number,
            credential: asker.credential,
            text,
            stage: Stage::InFlight(waits),
        };
        held.entries.insert(asker.mark, entry);
        Begin::Decide(Some(Ticket {
            retries: Arc::clone(self),
            mark: asker.mark,
            number,
            placed: asker.placed,
            ended,
        }))
    }

    /// The answer to the first packet, for one that waited for it.
    pub(super) fn after(&self, asker: &Asker<'_>, now: UnixTime) -> Option<Again> {
        let mut held = self.held();
        let entry = held.entries.get_mut(&asker.mark)?;
        entry.again(asker, now)
    }

    fn forget(&self, mark: &Mark, number: u64) {
        let mut held = self.held();
        let is_it = held.entries.get(mark).map(|entry| entry.number) == Some(number);
        if is_it {
            held.remove(mark);
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("no panic while the lock is held")
    }
}

impl Held {
    fn remove(&mut self, mark: &Mark) {
        let Some(entry) = self.entries.remove(mark) else {
            return;
        };
        if let Some(count) = self.clients.get_mut(&entry.client) {
            *count -= 1;
            if *count == 0 {
                self.clients.remove(&entry.client);
            }
        }
    }
}

impl Entry {
    /// Whether a packet has the credential of the first one, in whatever form.
    fn is_of(&self, asker: &Asker<'_>) -> bool {
        let made = |text: &SecretString| match asker.shown {
            Shown::Response(Some(response)) => response.is_of(text.expose()),
            Shown::Response(None) | Shown::Eap(_) => false,
            Shown::Passcode(typed) => typed == text,
        };
        self.credential == asker.credential || self.text.as_ref().is_some_and(made)
    }

    /// Its answer, for a packet of the same attempt, while it may be given.
    fn again(&mut self, asker: &Asker<'_>, now: UnixTime) -> Option<Again> {
        let same = self.is_of(asker);
        let Stage::Decided(kept) = &mut self.stage else {
            return None;
        };
        if !same || now >= kept.until || kept.left == 0 {
            return None;
        }
        if kept.given.accepts() {
            kept.left -= 1;
        }
        Some(Box::new((kept.given.clone(), self.text.clone())))
    }
}

impl Ticket {
    /// Keeps the answer to the first packet for so long, where it may be given again.
    pub(super) fn finish(
        self,
        first: RequestId,
        decided: &LoginOutcome,
        (now, window): (UnixTime, Duration),
    ) {
        let given = Given::of(first, decided);
        let given = given.filter(|given| self.placed || !given.accepts());
        let Some(given) = given else {
            if !matches!(decided.answer, LoginAnswer::Accept(_)) {
                self.ended.send_replace(Ended::Free);
            }
            return;
        };
        {
            let mut held = self.retries.held();
            let entry = held.entries.get_mut(&self.mark);
            let Some(entry) = entry.filter(|entry| entry.number == self.number) else {
                return;
            };
            if let LoginAnswer::Accept(accepted) = &decided.answer
                && let Some(typed) = &accepted.typed
            {
                entry.text = Some(typed.clone());
            }
            entry.stage = Stage::Decided(Kept {
                given,
                until: now.plus(window),
                left: ACCEPTS,
            });
        }
        let (retries, mark, number) = (Arc::clone(&self.retries), self.mark, self.number);
        tokio::spawn(async move {
            tokio::time::sleep(window).await;
            retries.forget(&mark, number);
        });
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut held = self.retries.held();
        let in_flight = held.entries.get(&self.mark).is_some_and(|entry| {
            entry.number == self.number && matches!(entry.stage, Stage::InFlight(_))
        });
        if in_flight {
            held.remove(&self.mark);
        }
    }
}

/// How often an accept is given again: to a gateway behind its portal, each with fail-overs and other ports.
const ACCEPTS: u8 = 7;
/// Attempts held in all: some hundred octets each.
const MOST: usize = 1 << 15;
/// Attempts of one client. Against one that crowds out the others.
const MOST_OF_CLIENT: usize = 1 << 12;
