//! Ending sessions: Disconnect-Requests to NASes, and what they answer (RFC 5176).
//!
//! ```text
//! administrator --end--> exchange --> NAS
//! trail --follow--> Endings (a bounded queue) --work--> exchange --> NAS
//!                        what came of it --> audit (`session_disconnect`)
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
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::stream::FuturesOrdered;
use futures_util::{StreamExt as _, stream};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::core::{Core, CoreError};
use crate::model::client::{Access, Client, RadiusAccess};
use crate::model::session::Session;
use crate::radius::authenticator::SecretKeys;
use crate::radius::disconnect::{Answer, Request, error_cause};
use crate::radius::packet::MAX_LENGTH;
use crate::secret::random;
use crate::server::radius::counters::header;
use crate::store::{By, Change};
use crate::time::UnixTime;

/// Ends sessions at their NASes.
pub struct Disconnects {
    core: Arc<Core>,
    counts: [AtomicU64; WORDS.len()],
    forged: AtomicU64,
}

/// What came of asking a NAS to end a session.
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
    /// The NAS ended the session.
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
    pub fn describe(&self) -> String {
        match self {
            Self::Ack => "Disconnect-ACK".to_owned(),
            Self::Nak(None) => "Disconnect-NAK".to_owned(),
            Self::Nak(Some(cause)) => {
                let name = error_cause(*cause).unwrap_or("unknown");
                format!("Disconnect-NAK, Error-Cause {cause} {name}")
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
            counts: Default::default(),
            forged: AtomicU64::new(0),
        }
    }

    /// Ends sessions, many at a time; the outcomes in the same order.
    pub async fn end_all(
        &self,
        sessions: &[Session],
        by: &By,
        why: Option<&str>,
    ) -> Result<Vec<Ended>, CoreError> {
        let mut under_way = FuturesOrdered::new();
        let mut ended = Vec::with_capacity(sessions.len());
        for session in sessions {
            if under_way.len() >= AT_A_TIME {
                ended.extend(under_way.next().await);
            }
            under_way.push_back(self.end(session, by, why));
        }
        ended.extend(under_way.collect::<Vec<_>>().await);
        ended.into_iter().collect()
    }

    /// Asks the NAS of a session to end it, and puts on record what came of it.
    ///
    /// # Errors
    /// When the outcome cannot be put on record.
    pub async fn end(
        &self,
        session: &Session,
        by: &By,
        why: Option<&str>,
    ) -> Result<Ended, CoreError> {
        let ended = self.ask(session).await;
        if let Some(count) = self.counts.get(ended.outcome.index()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let mut detail = format!("NAS {}", session.key.nas);
        if let Some(to) = ended.to {
            push!(detail, ", at {to}");
        }
        push!(detail, ", {}", ended.outcome.describe());
        if let Some(why) = why {
            push!(detail, ", because {why}");
        }
        let done = Change::Note {
            action: "session_disconnect",
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
                        this.end(&ending.session, &by, Some(&ending.why)).await
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
                        let outcome = ended.outcome.describe();
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

    async fn ask(&self, session: &Session) -> Ended {
        let not_sent = |why: String| Ended {
            to: None,
            outcome: Outcome::NotSent(why),
        };
        let name = session.key.client.as_str();
        let Some(client) = self.core.client(name) else {
            return not_sent(format!("there is no client {name} any more"));
        };
        let target = match target(&client, session) {
            Ok(target) => target,
            Err(why) => return not_sent(why),
        };
        let (to, radius) = target;
        let outcome = match self.requests(session, radius) {
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
            let request = Request::new(session, now, first.wrapping_add(number), &keys);
            request.map(|request| (request, keys))
        });
        let all: Result<Vec<_>, _> = numbered.collect();
        all.map_err(|error| error.to_string())
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
        for (word, count) in WORDS.iter().zip(&self.counts) {
            let count = count.load(Ordering::Relaxed);
            push!(
                out,
                "oncegate_radius_disconnects_total{{result=\"{word}\"}} {count}\n"
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

/// Where a request about a session goes, and the client whose secret it is made with.
fn target<'c>(
    client: &'c Client,
    session: &Session,
) -> Result<(SocketAddr, &'c RadiusAccess), String> {
    let name = &client.name;
    let Access::Radius(radius) = &client.access else {
        return Err(format!("client {name} is no RADIUS client any more"));
    };
    if radius.settings.certificate.is_some() {
        return Err(format!(
            "client {name} comes over TLS, and requests to it are sent over UDP only"
        ));
    }
    let Some(port) = radius.settings.disconnect_port else {
        return Err(format!(
            "switched off for client {name} (`oncegate client set {name} --disconnect-port 3799`)"
        ));
    };
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
    Ok((SocketAddr::new(address, port), radius))
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

/// Requests under way at a time.
const AT_A_TIME: usize = 64;

/// How old a cause may be for which sessions are ended at start.
pub(super) const RECENT: Duration = Duration::from_mins(10);

/// Whether a session may have begun by what ended at that time.
pub(super) fn began_before(session: &Session, at: UnixTime) -> bool {
    session.started <= at
}
