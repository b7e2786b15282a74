//! The way of a datagram, without its socket: from octets to an answer.
//!
//! ```text
//! receive (by the lane, never waits)
//!   source address -> client          unknown: silence            RFC 2865 s3
//!   parse, cut padding                malformed: silence          RFC 2865 s3
//!   Message-Authenticator             bad, missing: silence       RFC 3579 s3.2, CVE-2024-3596
//!   Status-Server                     answered here               RFC 5997
//!   seen before?                      silence, or the same octets RFC 5080 s2.2.2
//!   room, to wait too?
//!   reveal User-Password            -> Job   (accounting: read the report)
//! Job::run (a future of the lane)
//!   lesson stored, service decides    no one could: silence, and a retransmission is tried again
//!   reply built                       -> Answer
//! Answer::release (at arrival + delay) current? -> octets, kept for retransmissions
//! ```
//!
//! Invariants: nothing touches the duplicate cache, the password or the store before the
//! Message-Authenticator was verified; a request that is worked on is finished or abandoned on
//! every path, a panic included ([`Claim`]); all rejects to equal requests are equal octets.
//!
//! Threats: floods (`admitted` and `rejects` bound what is held, [`Settings`]), guessed replies
//! (CVE-2024-3596), a timing difference between kinds of reject (they leave at one time).

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Limits;
use crate::model::client::Require;
use crate::radius::attribute::Type;
use crate::radius::authenticator::{SecretKeys, Signature};
use crate::radius::dictionary::Dictionary;
use crate::radius::duplicate::{Begin, Duplicates, Fingerprint, Key};
use crate::radius::encode::MessageAuthenticator;
use crate::radius::packet::{Code, Packet};
use crate::radius::verify::Rule;
use crate::radius::{Discard, accounting, duplicate, verify};
use crate::server::radius::counters::{Counters, Event, Ingress, PeerCounters, bump};
use crate::server::radius::job::{Claim, Job, Task};
use crate::server::radius::limiter::{Limiter, Ports};
use crate::server::radius::password::Credential;
use crate::server::radius::reply;
use crate::server::radius::table::{Peer, Secret, Table};
use crate::server::radius::udp::Serves;
use crate::service::Service;
use crate::time::UnixTime;

/// What the RADIUS front end may occupy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settings {
    /// Requests worked on at a time.
    pub in_flight: usize,
    /// Requests that may wait for one of those places; beyond them new work is dropped.
    pub queue: usize,
    /// Answers that may wait for their time; beyond them new work is dropped.
    pub reject_queue: usize,
    /// After this the NAS has given up: work that has not begun is dropped.
    pub request_timeout: Duration,
    /// How long a shutdown waits for work in flight and waiting rejects.
    pub drain: Duration,
    /// Lanes of each listener, at least 1; see [`crate::server::radius::run`].
    pub lanes: usize,
    /// Whether accepts carry a Class by which accounting is linked with them.
    pub class: bool,
}

impl From<&Limits> for Settings {
    fn from(limits: &Limits) -> Self {
        Self {
            in_flight: limits.radius_in_flight,
            queue: limits.radius_queue,
            reject_queue: limits.reject_queue,
            request_timeout: limits.request_timeout,
            drain: limits.request_timeout.saturating_add(DRAIN),
            lanes: lanes(),
            class: false,
        }
    }
}

/// The RADIUS front end around one service; shared by all listeners.
pub struct Pipeline {
    pub(super) service: Arc<Service>,
    pub(super) settings: Settings,
    pub(super) limiter: Limiter,
    /// Places for answers that may have to wait for their time.
    pub(super) rejects: Arc<Semaphore>,
    /// Places for requests that are worked on.
    pub(super) working: Arc<Semaphore>,
    /// Places for requests that are worked on or wait for it.
    admitted: Arc<Semaphore>,
    /// Places for accounting: when all NASes report at once, logins go on.
    reports: Arc<Semaphore>,
    dictionary: ArcSwap<Dictionary>,
    table: Arc<ArcSwap<Table>>,
    /// Held for one look-up at a time, never across an await.
    duplicates: Mutex<Duplicates>,
    counters: Arc<Counters>,
}

/// What to do about a datagram at once.
pub enum Received {
    /// Nothing leaves; the word says why.
    Silence(&'static str),
    /// These octets go back.
    Reply(Arc<[u8]>),
    /// It has to be decided.
    Work(Box<Job>),
}

impl Pipeline {
    /// Puts the pipeline together and follows the service's clients from now on.
    pub fn new(
        service: Arc<Service>,
        dictionary: Arc<Dictionary>,
        settings: Settings,
    ) -> Arc<Self> {
        let counters = Arc::new(Counters::default());
        let table = Arc::new(ArcSwap::from_pointee(Table::default()));
        let follow = (Arc::clone(&table), Arc::clone(&counters));
        service.core.clients().listen(Box::new(move |clients| {
            let (table, counters) = &follow;
            table.store(Arc::new(Table::new(clients, counters)));
        }));
        Arc::new(Self {
            service,
            settings,
            limiter: Limiter::default(),
            rejects: semaphore(settings.reject_queue),
            working: semaphore(settings.in_flight),
            admitted: semaphore(settings.in_flight.saturating_add(settings.queue)),
            reports: semaphore(settings.in_flight.div_ceil(REPORTS)),
            dictionary: ArcSwap::new(dictionary),
            table,
            duplicates: Mutex::new(Duplicates::new(duplicate::Limits::default())),
            counters,
        })
    }

    /// Takes a new dictionary; replies from now on are encoded by it.
    pub fn replace_dictionary(&self, dictionary: Arc<Dictionary>) {
        self.dictionary.store(dictionary);
    }

    /// Announces a listener for Access-Requests.
    pub fn listener(&self, address: SocketAddr) -> Ingress {
        self.listener_for(address, Serves::Authentication)
    }

    /// Announces a listener.
    pub fn listener_for(&self, address: SocketAddr, serves: Serves) -> Ingress {
        self.counters.listener(address, serves)
    }

    /// The counters of a client; made if there are none.
    pub fn client_counters(&self, name: &str) -> Arc<PeerCounters> {
        self.counters.peer(name)
    }

    /// Appends all counters in the Prometheus text format.
    pub fn write_prometheus(&self, out: &mut String) {
        self.counters.write_prometheus(out);
    }

    /// Takes a datagram as far as it goes without waiting.
    pub fn receive(
        self: &Arc<Self>,
        datagram: &[u8],
        mut source: SocketAddr,
        ingress: &Ingress,
    ) -> Received {
        let now = self.service.core.now();
        bump(&ingress.counters.received);
        // A dual-stack socket shows IPv4 peers as ::ffff:a.b.c.d.
        source.set_ip(source.ip().to_canonical());
        let table = self.table.load();
        let Some(peer) = table.lookup(source.ip()) else {
            bump(&ingress.counters.unknown_client);
            self.limiter.unknown(source.ip(), now);
            return Received::Silence(Discard::UnknownClient.as_str());
        };
        peer.counters.received();
        self.examine(datagram, source, ingress, peer, now)
            .unwrap_or_else(|discard| {
                peer.counters.discard(discard);
                let ports = Ports {
                    here: ingress.serves,
                    other: self.counters.other_than(ingress.serves),
                };
                self.limiter
                    .discarded(&peer.client, source.ip(), discard, &ports, now);
                Received::Silence(discard.as_str())
            })
    }

    fn examine(
        self: &Arc<Self>,
        datagram: &[u8],
        source: SocketAddr,
        ingress: &Ingress,
        peer: &Arc<Peer>,
        now: UnixTime,
    ) -> Result<Received, Discard> {
        let packet = Packet::parse(datagram)?;
        let rule = self.rule(peer, source.ip());
        let (signature, secret) = verified(peer, now, |keys| match ingress.serves {
            Serves::Authentication => verify::request(&packet, keys, rule),
            Serves::Accounting => verify::accounting_request(&packet, keys),
        })?;
        if secret == Secret::Previous {
            self.note_previous(peer, now);
        }
        if packet.code == Code::StatusServer {
            return Ok(self.status(&packet, ingress.serves, (peer, secret), now));
        }
        let Packet {
            code, identifier, ..
        } = packet;
        let key = Key {
            listener: ingress.number,
            source,
            identifier,
            code,
        };
        let fingerprint = Fingerprint::of(&packet);
        let ticket = match self.duplicates().begin(key, fingerprint, now) {
            Begin::New(ticket) => ticket,
            Begin::InFlight => return Err(Discard::DuplicateInFlight),
            Begin::Overload => return Err(Discard::Overload),
            Begin::Resend(octets) => {
                peer.counters.event(Event::Resent);
                return Ok(Received::Reply(octets));
            }
        };
        // From here on, whatever happens ends the entry.
        let claim = Claim::new(self, peer, ticket);
        let places = match ingress.serves {
            Serves::Authentication => &self.admitted,
            Serves::Accounting => &self.reports,
        };
        let permit = Arc::clone(places).try_acquire_owned();
        let permit = permit.map_err(|_| Discard::Overload)?;
        let place = match self.turn(peer, ingress.serves, now) {
            Ok(place) => place,
            Err(silence) => return Ok(silence),
        };
        let read = (&packet, source.ip(), now);
        let (task, secret) = match ingress.serves {
            Serves::Accounting => (self.report(peer, read)?, secret),
            Serves::Authentication => login(peer, read, (signature, secret), rule)?,
        };
        let (id, at) = match self.service.core.arrival() {
            Ok(arrival) => arrival,
            Err(error) => return Ok(self.undecided(peer, &error, now)),
        };
        Ok(Received::Work(Box::new(Job {
            pipeline: Arc::clone(self),
            peer: Arc::clone(peer),
            secret,
            source: source.ip(),
            octets: packet.octets().to_vec(),
            task,
            id,
            at,
            claim,
            _permit: permit,
            place,
        })))
    }

    /// What an Accounting-Request that arrived from this address asks for.
    fn report(
        &self,
        peer: &Peer,
        (packet, source, now): (&Packet<'_>, IpAddr, UnixTime),
    ) -> Result<Task, Discard> {
        let client = &peer.client;
        let login = |class: &[u8], user: &str| self.service.login.login_of(class, client, user);
        let said = accounting::read(packet, client, (source, now), login)?;
        Ok(Task::Account(Box::new(said)))
    }

    /// A place for an answer that may have to wait for its time. Where there is none, nothing is
    /// decided: before it is known whom the request asks for.
    fn turn(
        &self,
        peer: &Peer,
        serves: Serves,
        now: UnixTime,
    ) -> Result<Option<OwnedSemaphorePermit>, Received> {
        if serves == Serves::Accounting || !self.service.login.holds_back(&peer.client) {
            return Ok(None);
        }
        let place = Arc::clone(&self.rejects).try_acquire_owned();
        place.map(Some).map_err(|_| {
            let event = Event::RejectQueueFull;
            peer.counters.event(event);
            if self.limiter.once(&peer.client, event.as_str(), now) {
                let client = peer.client.name.as_str();
                tracing::warn!(
                    client,
                    "too many answers wait for their time (limits.reject_queue): requests are dropped"
                );
            }
            Received::Silence(event.as_str())
        })
    }

    /// What an address of a client must prove.
    fn rule(&self, peer: &Peer, address: IpAddr) -> Rule {
        match peer.require {
            Require::True => Rule::Required,
            Require::Auto
                if self
                    .service
                    .core
                    .clients()
                    .has_lesson(&peer.client.name, address) =>
            {
                Rule::Required
            }
            Require::Auto | Require::False => Rule::LimitProxyState,
        }
    }

    /// RFC 5997 s4.2: an Access-Accept without attributes, unless no one could decide: silence is
    /// what sends the NAS to the next server.
    fn status(
        &self,
        packet: &Packet<'_>,
        serves: Serves,
        (peer, secret): (&Peer, Secret),
        now: UnixTime,
    ) -> Received {
        if let Some(fault) = self.service.core.fault() {
            peer.counters.event(Event::StoreFault);
            if self
                .limiter
                .once(&peer.client, Event::StoreFault.as_str(), now)
            {
                tracing::error!(
                    fault,
                    "no decision can be made: Status-Server is not answered"
                );
            }
            return Received::Silence(Event::StoreFault.as_str());
        }
        let code = match serves {
            Serves::Authentication => Code::AccessAccept,
            Serves::Accounting => Code::AccountingResponse,
        };
        let first = MessageAuthenticator::First;
        match reply::plain(packet, code, first, peer.keys(secret)) {
            Ok(octets) => {
                peer.counters.event(Event::Status);
                Received::Reply(octets)
            }
            Err(error) => self.undecided(peer, &error, now),
        }
    }

    /// A reply that the system did not take. It is kept for retransmissions.
    pub(super) fn not_sent(&self, listener: SocketAddr, peer: SocketAddr, error: &std::io::Error) {
        let now = self.service.core.now();
        let table = self.table.load();
        let Some(found) = table.lookup(peer.ip().to_canonical()) else {
            return;
        };
        if self.limiter.once(&found.client, "not_sent", now) {
            let client = found.client.name.as_str();
            tracing::warn!(
                client, %listener, %peer, %error,
                "a reply was not sent; a retransmission of its request gets it again"
            );
        }
    }

    fn undecided(&self, peer: &Peer, error: &dyn std::error::Error, now: UnixTime) -> Received {
        peer.counters.event(Event::Undecided);
        if self
            .limiter
            .once(&peer.client, Event::Undecided.as_str(), now)
        {
            tracing::error!(client = peer.client.name, %error, "no decision");
        }
        Received::Silence(Event::Undecided.as_str())
    }

    /// Says which NAS has not been given the new secret yet, while there is time.
    fn note_previous(&self, peer: &Peer, now: UnixTime) {
        peer.counters.previous_secret();
        if let Some((_, until)) = &peer.previous
            && self.limiter.once(&peer.client, "previous_secret", now)
        {
            tracing::warn!(
                client = peer.client.name, %until,
                "still signs with the secret before the last rotation, which ends then"
            );
        }
    }

    pub(super) fn duplicates(&self) -> MutexGuard<'_, Duplicates> {
        self.duplicates
            .lock()
            .expect("no panic while the lock is held")
    }

    pub(super) fn dictionary(&self) -> Arc<Dictionary> {
        self.dictionary.load_full()
    }
}

/// What an Access-Request asks for, and with which secret it was made.
fn login(
    peer: &Peer,
    (packet, _, now): (&Packet<'_>, IpAddr, UnixTime),
    (signature, secret): (Signature, Secret),
    rule: Rule,
) -> Result<(Task, Secret), Discard> {
    let revealed = Credential::reveal(packet, peer, signature, secret, now)?;
    let (credential, secret) = revealed;
    // An EAP request is always signed (RFC 3579 s3.1): it says nothing about the others.
    let learn = peer.require == Require::Auto
        && signature == Signature::Valid
        && rule != Rule::Required
        && !packet.has(Type::EapMessage);
    Ok((Task::Login { credential, learn }, secret))
}

/// Checks the signature with the present secret, and with the previous one while its time lasts.
fn verified(
    peer: &Peer,
    now: UnixTime,
    check: impl Fn(&SecretKeys) -> Result<Signature, Discard>,
) -> Result<(Signature, Secret), Discard> {
    match check(&peer.present) {
        Err(bad @ (Discard::BadMessageAuthenticator | Discard::BadRequestAuthenticator)) => {
            Ok((check(peer.previous(now).ok_or(bad)?)?, Secret::Previous))
        }
        result => Ok((result?, Secret::Present)),
    }
}

fn semaphore(places: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)))
}

/// The store's writer and the kernel need processors too, and lanes get in each other's way.
fn lanes() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (processors / 2).clamp(1, LANES)
}

/// One of so many places is for accounting.
const REPORTS: usize = 4;

/// Most lanes of one listener.
const LANES: usize = 8;

/// Beyond the time for one decision: rejects that wait leave within their usual delay.
const DRAIN: Duration = Duration::from_secs(2);
