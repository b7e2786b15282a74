//! RADIUS over TLS: listeners, connections, packets in streams (RFC 6613, RFC 6614, radiusdtls-bis, RFC 9765).
//!
//! ```text
//! accept -> place -> handshake -> certificate -> client
//!   octets -> packet -> Pipeline::receive_from -> Job -> answer -> octets
//!   request of ours about a session (Links) -> octets; octets -> its answer
//! ```
//!
//! Invariants: both sides have proven who they are before an octet of RADIUS is read; each packet is looked at
//! with the client as it is now, and a client that is gone loses its connections; what makes the stream
//! unreadable, or is not authentic, ends the connection (RFC 6613 s2.6.4).
//!
//! Threats: thousands of sockets that say nothing (places in all and for each address, fewer for those whose
//! handshake is not done and of IPv6 for each /56, a time for it, some kept for addresses that clients are held to); peers
//! that do not take answers ([`Patience`]) or send nothing ([`IDLE`]); floods on one connection ([`IN_FLIGHT`], then
//! it is not read).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use crate::model::source::Source;
use crate::radius::Discard;
use crate::radius::packet::{Code, MAX_LENGTH};
use crate::radius::stream::{Framed, next};
use crate::radius::v11;
use crate::server::patience::Patience;
use crate::server::radius::counters::{Ingress, bump};
use crate::server::radius::job::Job;
use crate::server::radius::links::Held;
use crate::server::radius::pipeline::Pipeline;
use crate::server::radius::receive::Received;
use crate::server::radius::table::radsec_keys;
use crate::server::radius::tls::{Certificate, RadiusTls, V11};
use crate::server::radius::udp::Serves;
use crate::server::shares::{Share, Shares};
use crate::server::wiped::Wiped;

/// A listener for RADIUS over TLS, and what its connections share.
pub struct TlsListener {
    /// Bound.
    pub listener: TcpListener,
    /// Certificates.
    pub tls: Arc<RadiusTls>,
    /// Places for connections, of all listeners.
    pub connections: Arc<Semaphore>,
}

/// Serves connections until `shutdown`, then lets requests in flight finish.
pub async fn serve_tls(at: TlsListener, pipeline: Arc<Pipeline>, shutdown: CancellationToken) {
    let Ok(local) = at.listener.local_addr() else {
        return;
    };
    let vital = format!("RADIUS over TLS on {local}");
    let alive = pipeline.service.core.vitals().alive(&vital);
    let door = Arc::new(Door {
        tls: at.tls,
        ingress: [Serves::Authentication, Serves::Accounting]
            .map(|serves| pipeline.listener_for(local, serves)),
        pipeline,
        handshakes: Semaphore::new(HANDSHAKES),
        kept: Semaphore::new(KEPT),
        undone: Arc::default(),
        addresses: Arc::default(),
        shutdown: shutdown.clone(),
    });
    let open = TaskTracker::new();
    while let Some(Ok(place)) = shutdown
        .run_until_cancelled(Arc::clone(&at.connections).acquire_owned())
        .await
    {
        let Some(accepted) = shutdown.run_until_cancelled(at.listener.accept()).await else {
            break;
        };
        match accepted {
            Ok((stream, peer)) => {
                let door = Arc::clone(&door);
                open.spawn(async move {
                    door.enter(stream, peer).await;
                    drop(place);
                });
            }
            Err(error) => {
                bump(&door.ingress[0].counters.receive_errors);
                tracing::debug!(%error, "cannot accept a connection");
                // Out of file descriptors is not cured by trying again at once.
                tokio::time::sleep(BACKOFF).await;
            }
        }
    }
    drop((at.listener, alive));
    open.close();
    let drain = door.pipeline.settings.drain;
    if timeout(drain, open.wait()).await.is_err() {
        tracing::warn!(connections = open.len(), "RADIUS connections are cut off");
    }
}

/// What the connections of a listener share.
struct Door {
    tls: Arc<RadiusTls>,
    pipeline: Arc<Pipeline>,
    /// For logins and for accounting: one port takes both.
    ingress: [Ingress; 2],
    handshakes: Semaphore,
    /// Handshakes of addresses that clients are held to, where there is no place among the others.
    kept: Semaphore,
    /// Handshakes that are not done, by site.
    undone: Arc<Shares<Source>>,
    /// Connections, by address.
    addresses: Arc<Shares<IpAddr>>,
    shutdown: CancellationToken,
}

/// The place of a handshake that is not done.
type Handshake<'d> = (Share<Source>, SemaphorePermit<'d>);

impl Door {
    /// The share of a connection; and that of its handshake, with a place for it.
    fn places(&self, address: IpAddr) -> Option<(Share<IpAddr>, Handshake<'_>)> {
        let share = self.addresses.share(address, PER_ADDRESS)?;
        let undone = self.undone.share(Source::from(address).site(), UNDONE)?;
        let place = self.handshakes.try_acquire().or_else(|full| {
            if self.pipeline.expects(address) {
                self.kept.try_acquire()
            } else {
                Err(full)
            }
        });
        Some((share, (undone, place.ok()?)))
    }

    async fn enter(self: Arc<Self>, stream: TcpStream, mut peer: SocketAddr) {
        peer.set_ip(peer.ip().to_canonical());
        let now = self.pipeline.service.core.now();
        let limiter = &self.pipeline.limiter;
        let Some((_share, handshake)) = self.places(peer.ip()) else {
            bump(&self.ingress[0].counters.receive_errors);
            if limiter.once_from(peer.ip(), "tls_connections", now) {
                tracing::warn!(%peer, "too many RADIUS connections, or handshakes that are not done: refused");
            }
            return;
        };
        let _ = stream.set_nodelay(true);
        let accepted = self.tls.acceptor().accept(Wiped(stream));
        let stream = match timeout(HANDSHAKE, accepted).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                if limiter.once_from(peer.ip(), "tls_handshake", now) {
                    tracing::warn!(
                        %peer, %error,
                        "a TLS handshake for RADIUS failed: the NAS needs a certificate of an authority in \
                         radius.tls.client_ca, and must trust the one of radius.tls.certificate"
                    );
                }
                return;
            }
            Err(_) => return,
        };
        drop(handshake);
        let Some(connection) = self.proven(stream, peer) else {
            return;
        };
        connection.serve().await;
    }

    /// The connection of a client that the certificate names.
    fn proven(
        self: &Arc<Self>,
        stream: TlsStream<Wiped<TcpStream>>,
        peer: SocketAddr,
    ) -> Option<Connection> {
        let (_, session) = stream.get_ref();
        let v11 = session.alpn_protocol() == Some(V11);
        // RFC 9765 s3.3: TLS 1.3 or later.
        if v11 && session.protocol_version() != Some(rustls::ProtocolVersion::TLSv1_3) {
            tracing::debug!(%peer, "RADIUS/1.1 needs TLS 1.3");
            return None;
        }
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let certificate = certificate.and_then(Certificate::of)?;
        let name = self.pipeline.named(&certificate.names, peer.ip());
        let Some(name) = name else {
            let now = self.pipeline.service.core.now();
            let names = certificate.names.join(", ");
            bump(&self.ingress[0].counters.unknown_client);
            if self
                .pipeline
                .limiter
                .once_from(peer.ip(), "tls_client", now)
            {
                tracing::warn!(
                    %peer, names,
                    "no client has this certificate from this address; if it is yours: \
                     `oncegate client add radius NAME --certificate {names}`"
                );
            }
            return None;
        };
        let (reader, writer) = tokio::io::split(Patience::new(stream));
        let left = certificate.until.since(self.pipeline.service.core.now());
        Some(Connection {
            door: Arc::clone(self),
            peer,
            v11,
            reader,
            writer,
            buffer: Zeroizing::new(Vec::with_capacity(MAX_LENGTH)),
            in_flight: FuturesUnordered::new(),
            held: self.pipeline.links.hold(&name, peer, v11),
            waiting: HashMap::new(),
            name,
            expires: Instant::now() + left.min(LONGEST),
        })
    }
}

type Stream = Patience<TlsStream<Wiped<TcpStream>>>;
type Answer = Option<Vec<u8>>;

/// A connection of a client.
struct Connection {
    door: Arc<Door>,
    /// The name in its certificate.
    name: String,
    peer: SocketAddr,
    /// Whether it speaks RADIUS/1.1.
    v11: bool,
    reader: ReadHalf<Stream>,
    writer: WriteHalf<Stream>,
    buffer: Zeroizing<Vec<u8>>,
    in_flight: FuturesUnordered<Pin<Box<dyn Future<Output = Answer> + Send>>>,
    /// Requests of ours to the client.
    held: Held,
    /// Those that were sent, by Identifier, or by the last octet of the Token.
    waiting: HashMap<u8, oneshot::Sender<Vec<u8>>>,
    /// When its certificate ends, or it must prove itself again.
    expires: Instant,
}

/// Why a connection ends; nothing for those that the peer ends.
enum End {
    Broken(&'static str),
    Closed,
}

impl Connection {
    async fn serve(mut self) {
        let (peer, client) = (self.peer, self.name.clone());
        tracing::debug!(%peer, client, v11 = self.v11, "RADIUS connection");
        if let End::Broken(why) = self.run().await {
            let now = self.door.pipeline.service.core.now();
            if self.door.pipeline.limiter.once_from(peer.ip(), why, now) {
                tracing::warn!(%peer, client, why, "a RADIUS connection is ended");
            }
        }
        // What is worked on for it ends with it: no answer would be taken.
        let _ = self.writer.shutdown().await;
    }

    async fn run(&mut self) -> End {
        let shutdown = self.door.shutdown.clone();
        let mut quiet = Instant::now() + IDLE;
        let mut stopping = false;
        loop {
            if stopping && self.in_flight.is_empty() {
                return End::Closed;
            }
            let readable = !stopping && self.in_flight.len() < IN_FLIGHT;
            tokio::select! {
                biased;
                () = shutdown.cancelled(), if !stopping => stopping = true,
                Some(answer) = self.in_flight.next() => {
                    if let Some(octets) = answer
                        && self.send(&octets).await.is_err()
                    {
                        return End::Closed;
                    }
                }
                Some(ask) = self.held.asks.recv(), if !stopping => {
                    self.waiting.retain(|_, answer| !answer.is_closed());
                    self.waiting.insert(ask.identifier, ask.answer);
                    if self.send(&ask.octets).await.is_err() {
                        return End::Closed;
                    }
                }
                read = self.reader.read_buf(&mut *self.buffer), if readable => {
                    match read {
                        Ok(0) | Err(_) => return End::Closed,
                        Ok(_) => {}
                    }
                    quiet = Instant::now() + IDLE;
                    if let Err(end) = self.packets().await {
                        return end;
                    }
                }
                () = sleep_until(quiet.min(self.expires)), if readable => return End::Closed,
            }
        }
    }

    async fn send(&mut self, octets: &[u8]) -> std::io::Result<()> {
        let sent = self.writer.write_all(octets).await;
        if sent.is_ok() {
            return self.writer.flush().await;
        }
        bump(&self.door.ingress[0].counters.send_errors);
        sent
    }

    /// Takes the whole packets in the buffer.
    async fn packets(&mut self) -> Result<(), End> {
        loop {
            let length = match next(&self.buffer) {
                Framed::Incomplete => return Ok(()),
                Framed::Broken => return Err(End::Broken(Discard::BadLength.as_str())),
                Framed::Packet(length) => length,
            };
            let packet: Vec<u8> = self.buffer.drain(..length).collect();
            self.packet(&Zeroizing::new(packet)).await?;
        }
    }

    async fn packet(&mut self, octets: &[u8]) -> Result<(), End> {
        if let [code, identifier, ..] = octets
            && ANSWERS.contains(&Code(*code))
        {
            let token = octets.get(4..8).unwrap_or_default();
            let place = match token {
                [0, 0, 0, last] if self.v11 => Some(*last),
                _ => (!self.v11).then_some(*identifier),
            };
            if let Some(answer) = place.and_then(|place| self.waiting.remove(&place)) {
                // Who asked has given up: it came too late.
                let _ = answer.send(octets.to_vec());
            }
            return Ok(());
        }
        let arrived = Instant::now();
        let mut old = Zeroizing::new(Vec::new());
        let keys = radsec_keys();
        let (octets, token) = if self.v11 {
            let token = v11::request(octets, &keys, &mut old);
            let token = token.map_err(|discard| End::Broken(discard.as_str()))?;
            (old.as_slice(), Some(token))
        } else {
            (octets, None)
        };
        let accounting = octets.first() == Some(&Code::AccountingRequest.0);
        let ingress = &self.door.ingress[usize::from(accounting)];
        let pipeline = &self.door.pipeline;
        let received = pipeline.receive_from((&self.name, self.peer), octets, ingress, !self.v11);
        let received = received.ok_or(End::Broken("client_removed"))?;
        let finish = move |reply: &[u8], request: &[u8]| match token {
            None => Some(reply.to_vec()),
            Some(token) => v11::reply(reply, token, request, &radsec_keys()).ok(),
        };
        match received {
            Received::Silence(word) if is_fatal(word) => return Err(End::Broken(word)),
            Received::Silence(_) => {}
            Received::Reply(reply) => {
                if let Some(reply) = finish(&reply, octets) {
                    self.send(&reply).await.map_err(|_| End::Closed)?;
                }
            }
            Received::Work(job) => {
                let request = octets.to_vec();
                let work = AssertUnwindSafe(async move {
                    let reply = decided(job, arrived).await?;
                    finish(&reply, &Zeroizing::new(request))
                });
                let work = work.catch_unwind().map(Result::unwrap_or_default);
                self.in_flight.push(Box::pin(work));
            }
        }
        Ok(())
    }
}

/// From a job to its answer, at its time.
async fn decided(job: Box<Job>, arrived: Instant) -> Option<Arc<[u8]>> {
    let answer = job.run().await?;
    if !answer.delay().is_zero() {
        sleep_until(arrived + answer.delay()).await;
    }
    answer.release()
}

/// RFC 6613 s2.6.4: what was not sent by the client, or what its stream cannot be read after.
fn is_fatal(word: &str) -> bool {
    [
        Discard::TooShort,
        Discard::BadLength,
        Discard::MalformedAttribute,
        Discard::BadMessageAuthenticator,
        Discard::BadRequestAuthenticator,
        Discard::DuplicateMessageAuthenticator,
    ]
    .iter()
    .any(|discard| discard.as_str() == word)
}

/// What a NAS answers to requests of ours (RFC 5176 s2). One that nothing waits for is dropped (RFC 6613
/// s2.6.4).
const ANSWERS: [Code; 4] = [
    Code::DisconnectAck,
    Code::DisconnectNak,
    Code::CoaAck,
    Code::CoaNak,
];
/// Connections at a time, of all listeners.
pub const TLS_CONNECTIONS: usize = 1_024;
/// Handshakes at a time, of all addresses.
const HANDSHAKES: usize = 256;
/// The same beside them, of addresses that clients are held to: strangers who take all of the others keep no
/// such client out.
const KEPT: usize = 64;
/// The same of one address, of IPv6 of one /56: it takes 32 of them to fill the places.
const UNDONE: usize = 8;
/// Connections of one address: RFC 6613 has 256 requests in flight on each.
const PER_ADDRESS: usize = 32;
/// Time for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Requests worked on for one connection: as many as there are Identifiers.
const IN_FLIGHT: usize = 256;
/// How long a connection may say nothing.
const IDLE: Duration = Duration::from_mins(15);
/// How long a connection lasts: then it is proven anew.
const LONGEST: Duration = Duration::from_hours(24);
/// Pause after a failure to accept.
const BACKOFF: Duration = Duration::from_millis(500);
