//! Ending and changing sessions: Disconnect-Requests and CoA-Requests to NASes, and what they answer (RFC 5176).
//!
//! ```text
//! administrator --end, change--> exchange --> NAS, over UDP or the connection that it holds open
//! trail --follow--> Endings (a bounded queue) --work--> exchange --> NAS
//!                        what came of it --> audit (`session_disconnect`, `session_change`)
//! ```
//!
//! Invariants: a decision never waits for a NAS; an answer that the NAS did not make is dropped, and the wait
//! for the right one goes on; each request and its outcome is on record. An ACK does not close a session
//! here: the NAS's own report does, as always.
//!
//! Threats: a forged ACK that leaves an intruder's session open; a NAS that is down and holds up the others
//! (each has at most the seconds of [`PAUSES`], and [`AT_A_TIME`] are asked at once).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::stream::FuturesOrdered;
use futures_util::{StreamExt as _, stream};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::core::{Core, CoreError};
use crate::model::client::{Access, Client, RadiusAccess};
use crate::model::session::Session;
use crate::radius::authenticator::SecretKeys;
use crate::radius::dictionary::Dictionary;
use crate::radius::disconnect::{Answer, Request, error_cause};
use crate::radius::packet::MAX_LENGTH;
use crate::radius::v11::{self, Token};
use crate::secret::random;
use crate::server::radius::change::Change;
use crate::server::radius::counters::header;
use crate::server::radius::links::Link;
use crate::server::radius::pipeline::Pipeline;
use crate::server::radius::table::radsec_keys;
use crate::store::{self, By};
use crate::time::UnixTime;

/// Ends and changes sessions at their NASes.
pub struct Disconnects {
    core: Arc<Core>,
    /// The front end, for its dictionary and connections; none where none is served.
    front: OnceLock<Arc<Pipeline>>,
    ended: [AtomicU64; WORDS.len()],
    changed: [AtomicU64; WORDS.len()],
    forged: AtomicU64,
}

/// What a NAS is asked about a session.
#[derive(Clone, Copy, Debug)]
pub enum Wish<'a> {
    /// That it ends.
    End,
    /// That it goes on otherwise.
    Change(&'a Change),
}

/// What came of asking a NAS to end or change a session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ended {
    /// Where the request was sent.
    pub to: Option<SocketAddr>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The NAS did so.
    Ack,
    /// It did not; Error-Cause.
    Nak(Option<u32>),
    /// Nothing that the NAS made was received; how many requests were sent, and what else there was.
    NoAnswer(String),
    /// No request was sent, and why.
    NotSent(String),
}

/// The words of outcomes.
const WORDS: [&str; 4] = ["ack", "nak", "no_answer", "not_sent"];

impl Outcome {
    /// The word in output and metrics.
    pub const fn word(&self) -> &'static str {
        WORDS[self.index()]
    }

    const fn index(&self) -> usize {
        match self {
            Self::Ack => 0,
            Self::Nak(_) => 1,
            Self::NoAnswer(_) => 2,
            Self::NotSent(_) => 3,
        }
    }

    /// It in words.
    pub fn describe(&self, wish: Wish<'_>) -> String {
        let kind = match wish {
            Wish::End => "Disconnect",
            Wish::Change(_) => "CoA",
        };
        match self {
            Self::Ack => format!("{kind}-ACK"),
            Self::Nak(None) => format!("{kind}-NAK"),
            Self::Nak(Some(cause)) => {
                let name = error_cause(*cause).unwrap_or("unknown");
                format!("{kind}-NAK, Error-Cause {cause} {name}")
            }
            Self::NoAnswer(what) => format!("no answer: {what}"),
            Self::NotSent(why) => format!("not sent: {why}"),
        }
    }
}

impl Disconnects {
    /// Ends sessions that this core knows.
    pub fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            front: OnceLock::new(),
            ended: Default::default(),
            changed: Default::default(),
            forged: AtomicU64::new(0),
        }
    }

    /// Takes the dictionary of this front end, and the connections that clients hold open there.
    pub fn serve_with(&self, front: Arc<Pipeline>) {
        // It is set once, before anything is asked.
        let _ = self.front.set(front);
    }

    fn dictionary(&self) -> Result<Arc<Dictionary>, String> {
        let front = self.front.get().map(|front| front.dictionary());
        let builtin = || Dictionary::builtin().map(Arc::new);
        front.map_or_else(|| builtin().map_err(|error| error.to_string()), Ok)
    }

    /// The attributes that sessions are changed to.
    ///
    /// # Errors
    /// What is wrong, and what to write instead.
    pub fn change(&self, attributes: &[(String, String)]) -> Result<Change, String> {
        Change::new(&*self.dictionary()?, attributes)
    }

    /// The same by the reply of a policy.
    ///
    /// # Errors
    /// When it has none that a session can be changed to.
    pub fn change_to_reply(&self, attributes: &[(String, String)]) -> Result<Change, String> {
        Change::of_reply(&*self.dictionary()?, attributes)
    }

    /// Ends or changes sessions, many at a time; the outcomes in the same order.
    pub async fn ask_all(
        &self,
        sessions: &[(Session, Wish<'_>)],
        by: &By,
    ) -> Result<Vec<Ended>, CoreError> {
        let mut under_way = FuturesOrdered::new();
        let mut ended = Vec::with_capacity(sessions.len());
        for (session, wish) in sessions {
            if under_way.len() >= AT_A_TIME {
                ended.extend(under_way.next().await);
            }
            under_way.push_back(self.ask(session, *wish, by, None));
        }
        ended.extend(under_way.collect::<Vec<_>>().await);
        ended.into_iter().collect()
    }

    /// Asks the NAS of a session to end or change it, and puts on record what came of it.
    ///
    /// # Errors
    /// When the outcome cannot be put on record.
    pub async fn ask(
        &self,
        session: &Session,
        wish: Wish<'_>,
        by: &By,
        why: Option<&str>,
    ) -> Result<Ended, CoreError> {
        let ended = self.asked(session, wish).await;
        let (counts, action) = match wish {
            Wish::End => (&self.ended, "session_disconnect"),
            Wish::Change(_) => (&self.changed, "session_change"),
        };
        if let Some(count) = counts.get(ended.outcome.index()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let mut detail = format!("NAS {}", session.key.nas);
        if let Some(to) = ended.to {
            push!(detail, ", at {to}");
        }
        push!(detail, ", {}", ended.outcome.describe(wish));
        if let Wish::Change(change) = wish {
            push!(detail, ": {}", change.shown);
        }
        if let Some(why) = why {
            push!(detail, ", because {why}");
        }
        let done = store::Change::Note {
            action,
            target: session.key.id.clone(),
            user: Some(session.user.clone()).filter(|user| !user.is_empty()),
            detail,
        };
        let by = By {
            at: self.core.now(),
            ..by.clone()
        };
        self.core.store().change(done, by).await?;
        Ok(ended)
    }

    /// Ends what is asked for in [`crate::core::endings`], until `shutdown`.
    pub async fn work(self: Arc<Self>, shutdown: CancellationToken) {
        let Some(mut endings) = self.core.endings().receiver() else {
            return;
        };
        let asked = stream::poll_fn(move |context| endings.poll_recv(context));
        let work = asked.for_each_concurrent(AT_A_TIME, |ending| {
            let this = Arc::clone(&self);
            async move {
                let done = match this.core.arrival() {
                    Ok(arrival) => {
                        let by = By::daemon(arrival);
                        let why = Some(ending.why.as_str());
                        this.ask(&ending.session, Wish::End, &by, why).await
                    }
                    Err(error) => Err(error),
                };
                let session = ending.session.key.id.as_str();
                match done {
                    Ok(Ended {
                        outcome: Outcome::Ack,
                        ..
                    }) => {}
                    Ok(ended) => {
                        let outcome = ended.outcome.describe(Wish::End);
                        tracing::warn!(session, outcome, "a session that should end may go on");
                    }
                    Err(error) => {
                        tracing::error!(session, %error, "the end of a session is not on record");
                    }
                }
            }
        });
        shutdown.run_until_cancelled(work).await;
    }

    async fn asked(&self, session: &Session, wish: Wish<'_>) -> Ended {
        let not_sent = |why: String| Ended {
            to: None,
            outcome: Outcome::NotSent(why),
        };
        let name = session.key.client.as_str();
        let Some(client) = self.core.client(name) else {
            return not_sent(format!("there is no client {name} any more"));
        };
        let (to, radius) = match target(&client, session) {
            Ok(Target::Address(to, radius)) => (to, radius),
            Ok(Target::Connection(certificate)) => {
                return self.through(&client.name, certificate, session, wish).await;
            }
            Err(why) => return not_sent(why),
        };
        let outcome = match self.requests(session, wish, radius) {
            Ok(requests) => self.exchange(to, &requests).await,
            Err(why) => Outcome::NotSent(why),
        };
        Ended {
            to: Some(to),
            outcome,
        }
    }

    /// One request for each secret that the NAS may have.
    fn requests(
        &self,
        session: &Session,
        wish: Wish<'_>,
        radius: &RadiusAccess,
    ) -> Result<Vec<(Request, SecretKeys)>, String> {
        let now = self.core.now();
        let previous = radius.previous.as_ref().filter(|(_, until)| now < *until);
        let previous = previous.map(|(secret, _)| secret);
        let [first]: [u8; 1] =
            random(&crate::secret::SystemEntropy).map_err(|error| error.to_string())?;
        let secrets = std::iter::once(&radius.secret).chain(previous);
        let numbered = secrets.zip(0_u8..).map(|(secret, number)| {
            let keys = SecretKeys::new(secret.clone());
            let identifier = first.wrapping_add(number);
            let request = Request::new(session, wish.octets(), now, identifier, &keys);
            request.map(|request| (request, keys))
        });
        let all: Result<Vec<_>, _> = numbered.collect();
        all.map_err(|error| error.to_string())
    }

    /// Asks over a connection that the client holds open: once on each, since nothing is lost there.
    async fn through(
        &self,
        client: &str,
        certificate: &str,
        session: &Session,
        wish: Wish<'_>,
    ) -> Ended {
        let front = self.front.get();
        let links = front.map(|front| front.links.of(certificate));
        let links = links.unwrap_or_default();
        let mut ended = Ended {
            to: None,
            outcome: Outcome::NotSent(format!(
                "client {client} comes over TLS and holds no connection open at present"
            )),
        };
        for link in links.iter().take(CONNECTIONS) {
            ended = Ended {
                to: Some(link.peer),
                outcome: self.over(link, session, wish).await,
            };
            if matches!(ended.outcome, Outcome::Ack | Outcome::Nak(_)) {
                break;
            }
        }
        ended
    }

    async fn over(&self, link: &Link, session: &Session, wish: Wish<'_>) -> Outcome {
        let (identifier, keys) = (link.identifier(), radsec_keys());
        let now = self.core.now();
        let request = Request::new(session, wish.octets(), now, identifier, &keys);
        let request = match request {
            Ok(request) => request,
            Err(error) => return Outcome::NotSent(error.to_string()),
        };
        let octets = if link.v11 {
            v11::own_request(&request.octets, Token([0, 0, 0, identifier]))
        } else {
            Ok(request.octets.clone())
        };
        let octets = match octets {
            Ok(octets) => octets,
            Err(discard) => return Outcome::NotSent(discard.as_str().to_owned()),
        };
        let no_answer = |what: &str| {
            Outcome::NoAnswer(format!(
                "{what}, over the connection that the client holds open: its NAS must take CoA there"
            ))
        };
        let Ok(answer) = timeout(OVER_TLS, link.ask(identifier, octets)).await else {
            return no_answer("1 request");
        };
        let Some(answer) = answer else {
            return no_answer("it ended meanwhile");
        };
        let read = if link.v11 {
            request.answer_v11(&answer)
        } else {
            request.answer(&answer, &keys)
        };
        match read {
            Some(Answer::Ack) => Outcome::Ack,
            Some(Answer::Nak(cause)) => Outcome::Nak(cause),
            None => {
                self.forged.fetch_add(1, Ordering::Relaxed);
                no_answer("1 request, an answer to something else")
            }
        }
    }

    /// Sends until there is an answer. The socket is this exchange's own: only the NAS's address is heard.
    async fn exchange(&self, to: SocketAddr, requests: &[(Request, SecretKeys)]) -> Outcome {
        let socket = match connected(to).await {
            Ok(socket) => socket,
            Err(error) => return Outcome::NotSent(error.to_string()),
        };
        let mut buffer = vec![0; MAX_LENGTH + 1];
        let (mut closed, mut forged) = (false, 0_u32);
        for pause in PAUSES {
            for (request, _) in requests {
                if let Err(error) = socket.send(&request.octets).await {
                    closed |= error.kind() == io::ErrorKind::ConnectionRefused;
                }
            }
            let deadline = Instant::now() + pause;
            loop {
                let length = match timeout_at(deadline, socket.recv(&mut buffer)).await {
                    Err(_) => break,
                    Ok(Ok(length)) => length,
                    Ok(Err(error)) => {
                        // A NAS that is starting: the next try may find it.
                        closed |= error.kind() == io::ErrorKind::ConnectionRefused;
                        tokio::time::sleep_until(deadline).await;
                        break;
                    }
                };
                let datagram = buffer.get(..length).unwrap_or_default();
                let mut heard = requests
                    .iter()
                    .filter_map(|(request, keys)| request.answer(datagram, keys));
                match heard.next() {
                    Some(Answer::Ack) => return Outcome::Ack,
                    Some(Answer::Nak(cause)) => return Outcome::Nak(cause),
                    None => {
                        forged += 1;
                        self.forged.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }
        let sent = PAUSES.len();
        Outcome::NoAnswer(if forged > 0 {
            format!(
                "{sent} requests, {forged} answers that the shared secret does not prove: forged, or the NAS \
                 has another secret for this server"
            )
        } else if closed {
            format!(
                "{sent} requests, the port is closed: enable RFC 5176 (CoA, dynamic authorization) on the NAS"
            )
        } else {
            format!("{sent} requests")
        })
    }

    /// Appends the counters in the Prometheus text format.
    pub fn write_prometheus(&self, out: &mut String) {
        header(
            out,
            "oncegate_radius_disconnects_total",
            "Requests to end a session, by what came of them.",
        );
        for (word, count) in WORDS.iter().zip(&self.ended) {
            let count = count.load(Ordering::Relaxed);
            push!(
                out,
                "oncegate_radius_disconnects_total{{result=\"{word}\"}} {count}\n"
            );
        }
        header(
            out,
            "oncegate_radius_changes_total",
            "Requests to change a session, by what came of them.",
        );
        for (word, count) in WORDS.iter().zip(&self.changed) {
            let count = count.load(Ordering::Relaxed);
            push!(
                out,
                "oncegate_radius_changes_total{{result=\"{word}\"}} {count}\n"
            );
        }
        let forged = self.forged.load(Ordering::Relaxed);
        header(
            out,
            "oncegate_radius_disconnect_forged_total",
            "Answers to such requests that were not the NAS's.",
        );
        push!(out, "oncegate_radius_disconnect_forged_total {forged}\n");
    }

    pub(super) const fn core(&self) -> &Arc<Core> {
        &self.core
    }
}

impl Wish<'_> {
    /// The attributes that a session is changed to, encoded.
    const fn octets(&self) -> Option<&[u8]> {
        match self {
            Self::End => None,
            Self::Change(change) => Some(change.octets.as_slice()),
        }
    }
}

/// Where a request about a session goes.
enum Target<'c> {
    /// There, made with the secret of this client.
    Address(SocketAddr, &'c RadiusAccess),
    /// Over a connection of the client with this certificate.
    Connection(&'c str),
}

fn target<'c>(client: &'c Client, session: &Session) -> Result<Target<'c>, String> {
    let name = &client.name;
    let Access::Radius(radius) = &client.access else {
        return Err(format!("client {name} is no RADIUS client any more"));
    };
    let Some(port) = radius.settings.disconnect_port else {
        return Err(format!(
            "switched off for client {name} (`oncegate client set {name} --disconnect-port 3799`)"
        ));
    };
    if let Some(certificate) = &radius.settings.certificate {
        return Ok(Target::Connection(certificate));
    }
    // Only where the client is: what a packet says of other addresses is not believed.
    let is_ours = |address: &IpAddr| radius.addresses.iter().any(|net| net.contains(address));
    let alone = match radius.addresses.as_slice() {
        [net] if net.prefix_len() == net.max_prefix_len() => Some(net.addr()),
        _ => None,
    };
    let known = [session.source, session.nas_ip, alone];
    let address = known.into_iter().flatten().find(is_ours);
    let address = address.ok_or_else(|| {
        format!(
            "the address of NAS {} is not among those of client {name}",
            session.key.nas
        )
    })?;
    Ok(Target::Address(SocketAddr::new(address, port), radius))
}

async fn connected(to: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(to).await?;
    Ok(socket)
}

/// How long after each try the answer is waited for (RFC 5080 s2.2.1, with an end that an administrator
/// waits for).
const PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(5),
];

/// How long an answer over TLS is waited for.
const OVER_TLS: Duration = Duration::from_secs(5);

/// On how many of a client's connections a request is sent, while none is answered.
const CONNECTIONS: usize = 2;

/// Requests under way at a time.
const AT_A_TIME: usize = 64;

/// How old a cause may be for which sessions are ended at start.
pub(super) const RECENT: Duration = Duration::from_mins(10);

/// Whether a session may have begun by what ended at that time.
pub(super) fn began_before(session: &Session, at: UnixTime) -> bool {
    session.started <= at
}
