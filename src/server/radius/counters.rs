//! What was received, answered and discarded: per client and per listener, for metrics.
//!
//! Names follow `oncegate_radius_*_total`; the words of [`Discard`] are label values. Counters only
//! rise, and live as long as their client is configured.
//!
//! Threat: labels are client names and fixed words, never anything a packet says, so that no one
//! can make a metrics database grow.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::radius::Discard;
use crate::server::radius::udp::Serves;

/// All counters of the RADIUS front end.
#[derive(Debug, Default)]
pub(super) struct Counters {
    peers: Mutex<HashMap<String, Arc<PeerCounters>>>,
    listeners: Mutex<Vec<(SocketAddr, Serves, Arc<ListenerCounters>)>>,
}

words! {
    /// What becomes of a packet, besides being discarded.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum Event {
        /// An Access-Accept left.
        Accept = "accept",
        /// An Access-Challenge left.
        Challenge = "challenge",
        /// An Access-Reject left.
        Reject = "reject",
        /// An Accounting-Response left: what was reported is on record.
        Accounting = "accounting",
        /// A Status-Server was answered.
        Status = "status",
        /// A retransmission got the kept answer.
        Resent = "resent",
        /// No decision could be made: silence, and the retransmission is tried again.
        Undecided = "undecided",
        /// The answer came after another request with the same Identifier.
        Superseded = "superseded",
        /// Too many answers wait for their time: silence, and the retransmission is tried again.
        RejectQueueFull = "reject_queue_full",
        /// A Status-Server was not answered because no decision can be made.
        StoreFault = "store_fault",
    }
}

/// Counters of one client.
#[derive(Debug, Default)]
pub struct PeerCounters {
    all: Counts,
    /// Of those, what came for accounting.
    accounting: Counts,
    previous_secret: AtomicU64,
}

/// Packets, and what became of them.
#[derive(Debug, Default)]
struct Counts {
    received: AtomicU64,
    events: [AtomicU64; Event::ALL.len()],
    discards: [AtomicU64; Discard::ALL.len()],
}

impl PeerCounters {
    pub(super) fn received(&self, serves: Serves) {
        self.count(serves, |counts| Some(&counts.received));
    }

    fn count(&self, serves: Serves, which: impl Fn(&Counts) -> Option<&AtomicU64>) {
        which(&self.all).map(bump);
        if serves == Serves::Accounting {
            which(&self.accounting).map(bump);
        }
    }

    fn of(&self, serves: Serves, which: impl Fn(&Counts) -> Option<&AtomicU64>) -> u64 {
        let count = |counts| which(counts).map_or(0, read);
        let accounting = count(&self.accounting);
        match serves {
            Serves::Accounting => accounting,
            Serves::Authentication => count(&self.all).saturating_sub(accounting),
        }
    }

    pub(super) fn received_of(&self, serves: Serves) -> u64 {
        self.of(serves, |counts| Some(&counts.received))
    }

    pub(super) fn events_of(&self, serves: Serves, event: Event) -> u64 {
        self.of(serves, |counts| counts.events.get(event as usize))
    }

    pub(super) fn discards_of(&self, serves: Serves, discard: Discard) -> u64 {
        self.of(serves, |counts| counts.discards.get(discard as usize))
    }

    pub(super) fn previous_secret(&self) {
        bump(&self.previous_secret);
    }

    pub(super) fn event(&self, serves: Serves, event: Event) {
        self.count(serves, |counts| counts.events.get(event as usize));
    }

    pub(super) fn discard(&self, serves: Serves, discard: Discard) {
        self.count(serves, |counts| counts.discards.get(discard as usize));
    }

    /// How often this happened.
    pub fn events(&self, event: Event) -> u64 {
        self.all.events.get(event as usize).map_or(0, read)
    }

    /// How many packets were discarded for this reason.
    pub fn discards(&self, discard: Discard) -> u64 {
        self.all.discards.get(discard as usize).map_or(0, read)
    }
}

/// Where datagrams come in: part of what makes two of them duplicates (RFC 5080 s2.2.2).
#[derive(Clone, Debug)]
pub struct Ingress {
    pub(super) number: u16,
    pub(super) serves: Serves,
    pub(super) counters: Arc<ListenerCounters>,
}

/// Counters of one listener.
#[derive(Debug, Default)]
pub(super) struct ListenerCounters {
    pub(super) received: AtomicU64,
    pub(super) unknown_client: AtomicU64,
    pub(super) too_long: AtomicU64,
    pub(super) receive_errors: AtomicU64,
    pub(super) send_errors: AtomicU64,
    /// 1 while the system drops a flood from addresses of no client.
    pub(super) shielded: AtomicU64,
}

pub(super) fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Counters {
    /// The counters of a client, which survive its changes.
    pub(super) fn peer(&self, name: &str) -> Arc<PeerCounters> {
        let mut peers = self.peers.lock().expect(UNPOISONED);
        Arc::clone(peers.entry(name.to_owned()).or_default())
    }

    /// Forgets clients that are gone.
    pub(super) fn keep<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let names: HashSet<&str> = names.collect();
        let mut peers = self.peers.lock().expect(UNPOISONED);
        peers.retain(|name, _| names.contains(name.as_str()));
    }

    /// New counters for a listener, and its number.
    pub(super) fn listener(&self, address: SocketAddr, serves: Serves) -> Ingress {
        let mut listeners = self.listeners.lock().expect(UNPOISONED);
        let number = u16::try_from(listeners.len()).unwrap_or(u16::MAX);
        let counters = Arc::new(ListenerCounters::default());
        listeners.push((address, serves, Arc::clone(&counters)));
        Ingress {
            number,
            serves,
            counters,
        }
    }

    /// A listener for the other kind of requests.
    pub(super) fn other_than(&self, serves: Serves) -> Option<SocketAddr> {
        let listeners = self.listeners.lock().expect(UNPOISONED);
        let mut others = listeners.iter().filter(|(_, other, _)| *other != serves);
        others.next().map(|(address, ..)| *address)
    }

    /// The counters of each client, in order of name.
    pub(super) fn peers(&self) -> Vec<(String, Arc<PeerCounters>)> {
        let mut peers: Vec<_> = {
            let peers = self.peers.lock().expect(UNPOISONED);
            peers
                .iter()
                .map(|(name, counters)| (name.clone(), Arc::clone(counters)))
                .collect()
        };
        peers.sort_by(|(a, _), (b, _)| a.cmp(b));
        peers
    }

    /// Appends everything in the `OpenMetrics` text format. Series that are 0 are left out, except
    /// those of the requests themselves.
    pub(super) fn write_prometheus(&self, out: &mut String) {
        let peers = self.peers();
        header(
            out,
            "oncegate_radius_requests_total",
            "Datagrams received from a client.",
        );
        for (name, peer) in &peers {
            let count = read(&peer.all.received);
            line(
                out,
                format_args!("oncegate_radius_requests_total{{client=\"{name}\"}} {count}"),
            );
        }
        header(out, "oncegate_radius_packets_total", "What became of them.");
        for (name, peer) in &peers {
            let events = Event::ALL
                .iter()
                .map(|event| event.as_str())
                .zip(&peer.all.events);
            let discards = Discard::ALL
                .iter()
                .map(|discard| discard.as_str())
                .zip(&peer.all.discards);
            for (word, count) in events.chain(discards) {
                let count = read(count);
                if count > 0 || word == "accept" || word == "reject" {
                    line(
                        out,
                        format_args!(
                            "oncegate_radius_packets_total{{client=\"{name}\",result=\"{word}\"}} {count}"
                        ),
                    );
                }
            }
        }
        header(
            out,
            "oncegate_radius_previous_secret_total",
            "Requests signed with the secret before the last rotation.",
        );
        for (name, peer) in &peers {
            let count = read(&peer.previous_secret);
            line(
                out,
                format_args!("oncegate_radius_previous_secret_total{{client=\"{name}\"}} {count}"),
            );
        }
        self.write_listeners(out);
    }

    fn write_listeners(&self, out: &mut String) {
        header(
            out,
            "oncegate_radius_listener_total",
            "What a listener received and lost.",
        );
        for (address, _, counters) in self.listeners.lock().expect(UNPOISONED).iter() {
            for (word, count) in [
                ("received", &counters.received),
                (Discard::UnknownClient.as_str(), &counters.unknown_client),
                ("too_long", &counters.too_long),
                ("receive_error", &counters.receive_errors),
                ("send_error", &counters.send_errors),
            ] {
                let count = read(count);
                line(
                    out,
                    format_args!(
                        "oncegate_radius_listener_total{{listener=\"{address}\",result=\"{word}\"}} {count}"
                    ),
                );
            }
        }
        let name = "oncegate_radius_shielded";
        line(
            out,
            format_args!(
                "# HELP {name} 1: most datagrams from addresses of no client are dropped by the system.\n\
                 # TYPE {name} gauge"
            ),
        );
        for (address, _, counters) in self.listeners.lock().expect(UNPOISONED).iter() {
            let up = read(&counters.shielded);
            line(out, format_args!("{name}{{listener=\"{address}\"}} {up}"));
        }
    }
}

pub(super) fn header(out: &mut String, name: &str, help: &str) {
    // The family of a counter has the name of its samples without `_total`.
    let name = name.trim_end_matches("_total");
    line(
        out,
        format_args!("# HELP {name} {help}\n# TYPE {name} counter"),
    );
}

pub(super) fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}

const UNPOISONED: &str = "no panic while the lock is held";
