//! From a datagram to an answer, a job or silence; nothing here waits.
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
//! Threats: floods (`admitted` and `rejects` bound what is held, [`Pipeline`]), guessed replies
//! (CVE-2024-3596), a timing difference between kinds of reject (they leave at one time).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use crate::core::name_rules;
use crate::model::client::Require;
use crate::radius::attribute::Type;
use crate::radius::authenticator::{SecretKeys, Signature};
use crate::radius::duplicate::{Begin, Fingerprint, Key};
use crate::radius::encode::MessageAuthenticator;
use crate::radius::packet::{Code, OwnedPacket, Packet};
use crate::radius::verify::Rule;
use crate::radius::{Discard, accounting, verify};
use crate::server::radius::counters::{Event, Ingress, bump};
use crate::server::radius::job::{Claim, Job, Task};
use crate::server::radius::limiter::Ports;
use crate::server::radius::password::Credential;
use crate::server::radius::pipeline::Pipeline;
use crate::server::radius::reply;
use crate::server::radius::table::{Peer, Secret};
use crate::server::radius::udp::Serves;
use crate::time::UnixTime;

/// What to do about a datagram at once.
pub enum Received {
    /// Nothing leaves; the word says why.
    Silence(&'static str),
    /// These octets go back.
    Reply(Arc<[u8]>),
    /// It has to be decided.
    Work(Box<Job>),
}

/// Whence and when a request came.
#[derive(Clone, Copy)]
struct Arrived<'a> {
    peer: &'a Arc<Peer>,
    source: SocketAddr,
    /// Whether its answer is kept for a retransmission.
    kept: bool,
    serves: Serves,
    now: UnixTime,
}

impl Pipeline {
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
        let arrived = Arrived {
            peer,
            source,
            kept: true,
            serves: ingress.serves,
            now,
        };
        self.examined(datagram, ingress, arrived)
    }

    /// Whether a client with a certificate is held to this address, among others.
    pub(super) fn expects(&self, address: IpAddr) -> bool {
        self.table.load().expects(address)
    }

    /// The name among those of a certificate that a client has who may come from this address.
    pub(super) fn named(&self, names: &[String], address: IpAddr) -> Option<String> {
        let table = self.table.load();
        let mut names = names.iter();
        names
            .find(|name| table.certified(name, address).is_some())
            .cloned()
    }

    /// Takes a packet of a connection over TLS; `kept`: its answer is kept for a retransmission. `None`:
    /// there is no such client any more.
    pub(super) fn receive_from(
        self: &Arc<Self>,
        (certificate, source): (&str, SocketAddr),
        octets: &[u8],
        ingress: &Ingress,
        kept: bool,
    ) -> Option<Received> {
        let now = self.service.core.now();
        bump(&ingress.counters.received);
        let table = self.table.load();
        let arrived = Arrived {
            peer: table.certified(certificate, source.ip())?,
            source,
            kept,
            serves: ingress.serves,
            now,
        };
        Some(self.examined(octets, ingress, arrived))
    }

    fn examined(
        self: &Arc<Self>,
        datagram: &[u8],
        ingress: &Ingress,
        arrived: Arrived<'_>,
    ) -> Received {
        let Arrived {
            peer, source, now, ..
        } = arrived;
        peer.counters.received(ingress.serves);
        self.examine(datagram, ingress.number, arrived)
            .unwrap_or_else(|discard| {
                peer.counters.discard(ingress.serves, discard);
                let ports = Ports {
                    here: ingress.serves,
                    other: self.counters.other_than(ingress.serves),
                    code: datagram.first().copied().map(Code),
                };
                self.limiter
                    .discarded(&peer.client, source.ip(), discard, &ports, now);
                Received::Silence(discard.as_str())
            })
    }

    fn examine(
        self: &Arc<Self>,
        datagram: &[u8],
        listener: u16,
        arrived: Arrived<'_>,
    ) -> Result<Received, Discard> {
        let Arrived {
            peer,
            source,
            kept,
            serves,
            now,
        } = arrived;
        let packet = Packet::parse(datagram)?;
        let rule = self.rule(peer, source.ip());
        let (signature, secret) = verified(peer, now, |keys| match serves {
            Serves::Authentication => verify::request(&packet, keys, rule),
            Serves::Accounting => verify::accounting_request(&packet, keys),
        })?;
        let clients = self.service.core.clients();
        clients.asked(&peer.client.name, now);
        if peer.previous(now).is_some() {
            let (name, previous) = (&peer.client.name, secret == Secret::Previous);
            clients.secret_used(name, source.ip(), previous, now);
        }
        if secret == Secret::Previous {
            self.note_previous(peer, now);
        }
        if packet.code == Code::StatusServer {
            return Ok(self.status(&packet, secret, arrived));
        }
        let Packet {
            code, identifier, ..
        } = packet;
        let key = Key {
            listener,
            source,
            identifier,
            code,
        };
        let begun = kept.then(|| {
            let fingerprint = Fingerprint::of(&packet);
            self.duplicates().begin(key, fingerprint, now)
        });
        let ticket = match begun {
            None => None,
            Some(Begin::New(ticket)) => Some(ticket),
            Some(Begin::InFlight) => return Err(Discard::DuplicateInFlight),
            Some(Begin::Overload) => return Err(Discard::Overload),
            Some(Begin::Resend(octets)) => {
                peer.counters.event(serves, Event::Resent);
                return Ok(Received::Reply(octets));
            }
        };
        // From here on, whatever happens ends the entry.
        let claim = Claim::new(self, peer, ticket);
        self.admit(&packet, arrived, (signature, secret, rule), claim)
    }

    /// Makes a job of a request that is neither discarded nor answered already.
    fn admit(
        self: &Arc<Self>,
        packet: &Packet<'_>,
        arrived: Arrived<'_>,
        (signature, secret, rule): (Signature, Secret, Rule),
        claim: Claim,
    ) -> Result<Received, Discard> {
        let Arrived { peer, serves, .. } = arrived;
        let places = match serves {
            Serves::Authentication => &self.admitted,
            Serves::Accounting => &self.reports,
        };
        let permit = Arc::clone(places).try_acquire_owned();
        let permit = permit.map_err(|_| Discard::Overload)?;
        let place = match self.turn(arrived) {
            Ok(place) => place,
            Err(silence) => return Ok(silence),
        };
        let (task, secret) = match serves {
            Serves::Accounting => (self.report(packet, arrived)?, secret),
            Serves::Authentication => self.login(packet, arrived, (signature, secret), rule)?,
        };
        let (id, at) = match self.service.core.arrival() {
            Ok(arrival) => arrival,
            Err(error) => return Ok(self.undecided(arrived, &error)),
        };
        Ok(Received::Work(Box::new(Job {
            pipeline: Arc::clone(self),
            peer: Arc::clone(peer),
            secret,
            source: arrived.source.ip(),
            packet: OwnedPacket::from(*packet),
            dictionary: self.dictionary(),
            task,
            id,
            at,
            claim,
            _permit: permit,
            place,
        })))
    }

    /// What an Access-Request asks for, and with which secret it was made.
    fn login(
        &self,
        packet: &Packet<'_>,
        arrived: Arrived<'_>,
        (signature, secret): (Signature, Secret),
        rule: Rule,
    ) -> Result<(Task, Secret), Discard> {
        let Arrived {
            peer, source, now, ..
        } = arrived;
        let (credential, secret) = Credential::reveal(packet, peer, signature, secret, now)?;
        if credential.is_noise {
            self.limiter.noise(&peer.client, source.ip(), now);
        }
        // An EAP request is always signed (RFC 3579 s3.1): it says nothing about the others.
        let learn = peer.require == Require::Auto
            && signature == Signature::Valid
            && !peer.tls
            && rule != Rule::Required
            && !packet.has(Type::EapMessage);
        Ok((Task::Login { credential, learn }, secret))
    }

    /// What an Accounting-Request that arrived from this address asks for.
    fn report(&self, packet: &Packet<'_>, arrived: Arrived<'_>) -> Result<Task, Discard> {
        let Arrived {
            peer, source, now, ..
        } = arrived;
        let client = &peer.client;
        let login = |class: &[u8], user: &str| self.service.login.login_of(class, client, user);
        let policies = self.service.core.policies();
        let from = (&**client, name_rules(client, &policies));
        let said = accounting::read(packet, from, (source.ip(), now), login)?;
        Ok(Task::Account(Box::new(said)))
    }

    /// A place for an answer that may have to wait for its time. Where there is none, nothing is
    /// decided: before it is known whom the request asks for.
    fn turn(&self, arrived: Arrived<'_>) -> Result<Option<OwnedSemaphorePermit>, Received> {
        let Arrived {
            peer, serves, now, ..
        } = arrived;
        if serves == Serves::Accounting || !self.service.login.holds_back(&peer.client) {
            return Ok(None);
        }
        let place = Arc::clone(&self.rejects).try_acquire_owned();
        place.map(Some).map_err(|_| {
            let event = Event::RejectQueueFull;
            peer.counters.event(serves, event);
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
        // TLS has proven who it is and that nothing was changed.
        if peer.tls {
            return Rule::Optional;
        }
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
            Require::Auto | Require::False if peer.limit_proxy_state => Rule::LimitProxyState,
            Require::Auto | Require::False => Rule::Optional,
        }
    }

    /// RFC 5997 s4.2: an Access-Accept without attributes, unless no one could decide: silence is
    /// what sends the NAS to the next server.
    fn status(&self, packet: &Packet<'_>, secret: Secret, arrived: Arrived<'_>) -> Received {
        let Arrived {
            peer, serves, now, ..
        } = arrived;
        if let Some(fault) = self.service.core.fault() {
            peer.counters.event(serves, Event::StoreFault);
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
                peer.counters.event(serves, Event::Status);
                Received::Reply(octets)
            }
            Err(error) => self.undecided(arrived, &error),
        }
    }

    fn undecided(&self, arrived: Arrived<'_>, error: &dyn std::error::Error) -> Received {
        let Arrived {
            peer, serves, now, ..
        } = arrived;
        peer.counters.event(serves, Event::Undecided);
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
