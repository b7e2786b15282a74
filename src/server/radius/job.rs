//! One request on its way to an answer: a future that its lane polls.
//!
//! Invariant: the entry in the duplicate cache ends with the [`Claim`] on it, on every path. A
//! panic, a request that is given up or an undecided one abandons it, so that the NAS's next try is a new
//! one and never meets a black hole.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use crate::login::{Accepted, Given, LoginAnswer, LoginOutcome, LoginRequest, Presented};
use crate::model::audit::{Channel, Origin};
use crate::model::id::RequestId;
use crate::model::session::{Accounting, Class};
use crate::radius::accounting::nas_address;
use crate::radius::attribute::Type;
use crate::radius::authenticator::SecretKeys;
use crate::radius::dictionary::Dictionary;
use crate::radius::duplicate::{Finish, Ticket};
use crate::radius::encode::MessageAuthenticator;
use crate::radius::packet::{Code, OwnedPacket, Packet};
use crate::radius::{Discard, microsoft};
use crate::secret::SecretString;
use crate::server::radius::counters::Event;
use crate::server::radius::password::{Credential, Shown};
use crate::server::radius::pipeline::Pipeline;
use crate::server::radius::reply;
use crate::server::radius::retry::{Begin, Ended};
use crate::server::radius::table::{Peer, Secret};
use crate::server::radius::udp::Serves;
use crate::time::UnixTime;

/// A request that someone must decide.
pub struct Job {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) peer: Arc<Peer>,
    /// With which secret the request was made.
    pub(super) secret: Secret,
    pub(super) source: IpAddr,
    pub(super) packet: OwnedPacket,
    /// One for the whole of it: what was measured is what is built.
    pub(super) dictionary: Arc<Dictionary>,
    pub(super) task: Task,
    pub(super) id: RequestId,
    pub(super) at: UnixTime,
    pub(super) claim: Claim,
    /// Its place among the admitted, given back when the answer is known.
    pub(super) _permit: OwnedSemaphorePermit,
    /// Its place among the answers that wait for their time, where it may have to.
    pub(super) place: Option<OwnedSemaphorePermit>,
}

/// A credential to be decided.
pub(super) struct Asked<'a> {
    pub(super) user: &'a str,
    pub(super) method: &'a str,
    pub(super) presented: Presented<'a>,
    pub(super) challenge: Option<&'a str>,
    /// Whether the person can be asked again.
    pub(super) rounds: bool,
    /// Octets and attributes that the method adds to an accept.
    pub(super) own: (usize, usize),
}

/// What the service is asked of a credential.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    /// To decide.
    Decision,
    /// To give this answer again, where the text made the response.
    Again(&'a Given, Option<&'a SecretString>),
    /// To say whether this accept may still be told.
    Confirmation(&'a Accepted),
}

/// A reply: what it is counted as, its octets, and how long after arrival it leaves.
pub(super) type Ready = (Event, Arc<[u8]>, Duration);

/// What a request asks for.
pub(super) enum Task {
    /// Whether the user may come in.
    Login {
        credential: Credential,
        /// Whether the address has just proven that it signs its requests.
        learn: bool,
    },
    /// That a report is put on record.
    Account(Box<Accounting>),
}

/// An answer that may leave at its time.
pub struct Answer {
    claim: Claim,
    octets: Arc<[u8]>,
    event: Event,
    delay: Duration,
    /// Its place among the answers that wait.
    _place: Option<OwnedSemaphorePermit>,
}

/// The right to end an entry of the duplicate cache, which it does when it is dropped at the
/// latest. Without an entry there is nothing to end: no other request takes its place.
pub(super) struct Claim {
    pipeline: Arc<Pipeline>,
    peer: Arc<Peer>,
    ticket: Option<Ticket>,
    kept: bool,
}

impl Job {
    /// Decides. `None`: nothing leaves.
    pub async fn run(self: Box<Self>) -> Option<Answer> {
        let _working = Arc::clone(&self.pipeline.working)
            .acquire_owned()
            .await
            .ok()?;
        let packet = self.packet.borrow();
        let (event, octets, delay) = match &self.task {
            Task::Account(said) => {
                let octets = Box::pin(self.account(&packet, said)).await?;
                (Event::Accounting, octets, Duration::ZERO)
            }
            Task::Login { credential, learn } => {
                if *learn {
                    Box::pin(self.learn()).await?;
                }
                match &credential.shown {
                    // A conversation is larger than all the rest.
                    Shown::Eap(octets) => Box::pin(self.converse(&packet, octets)).await?,
                    _ => self.login(&packet, credential).await?,
                }
            }
        };
        Some(self.answer(event, octets, delay))
    }

    /// RFC 2866 s4.2: the response leaves when the report is on record, and only then. It is signed when the
    /// request was: what counts in accounting is the Response Authenticator.
    async fn account(&self, packet: &Packet<'_>, said: &Accounting) -> Option<Arc<[u8]>> {
        let (service, client) = (&self.pipeline.service, &self.peer.client);
        if let Err(error) = service
            .login
            .account(said, client, (self.id, self.at))
            .await
        {
            let client = client.name.as_str();
            tracing::warn!(id = %self.id, client, %error, "accounting not on record: no answer");
            self.undecided();
            return None;
        }
        let sign = if packet.has(Type::MessageAuthenticator) {
            MessageAuthenticator::First
        } else {
            MessageAuthenticator::Omit
        };
        let keys = self.peer.keys(self.secret);
        let built = reply::plain(packet, Code::AccountingResponse, sign, keys);
        built.map_err(|error| self.unbuilt(&error)).ok()
    }

    pub(super) fn unbuilt(&self, error: &dyn std::error::Error) {
        let client = self.peer.client.name.as_str();
        tracing::error!(id = %self.id, client, %error, "decided, but no reply can be built");
        self.undecided();
    }

    const fn serves(&self) -> Serves {
        match self.task {
            Task::Login { .. } => Serves::Authentication,
            Task::Account(_) => Serves::Accounting,
        }
    }

    fn undecided(&self) {
        self.peer.counters.event(self.serves(), Event::Undecided);
    }

    pub(super) fn discard(&self, discard: Discard) {
        self.peer.counters.discard(self.serves(), discard);
    }

    /// Before the answer: an attacker who saw it must not find the address unprotected.
    async fn learn(&self) -> Option<()> {
        let client = &self.peer.client.name;
        let admin = &self.pipeline.service.admin;
        let learned = admin.learn(client, self.source).await;
        let not_stored = |error| {
            let client = client.as_str();
            tracing::warn!(id = %self.id, client, %error, "lesson not stored: no answer");
            self.undecided();
        };
        learned.map_err(not_stored).ok()
    }

    async fn login(&self, packet: &Packet<'_>, credential: &Credential) -> Option<Ready> {
        // U+FFFD stands for what is not UTF-8; no user name has it, so it is no one's.
        let user = String::from_utf8_lossy(packet.first(Type::UserName).unwrap_or_default());
        let own = credential.response().map(microsoft::room);
        let asked = Asked {
            user: &user,
            method: credential.method,
            presented: credential.presented(),
            // What is not text is no challenge of ours.
            challenge: packet
                .first(Type::State)
                .map(|state| std::str::from_utf8(state).unwrap_or_default()),
            rounds: self.peer.challenge,
            own: own.unwrap_or_default(),
        };
        let decided = if self.peer.retry_window.is_zero() {
            self.ask(packet, &asked).await?
        } else {
            Box::pin(self.decided(packet, &asked, &credential.shown)).await?
        };
        let (event, octets) = self.reply(packet, &decided, credential)?;
        Some((event, octets, decided.delay))
    }

    /// Has the service decide, or give the answer to another packet of the attempt again, when it is known.
    /// `None`: no one could, or it is for that packet only.
    async fn decided(
        &self,
        packet: &Packet<'_>,
        asked: &Asked<'_>,
        shown: &Shown,
    ) -> Option<LoginOutcome> {
        let window = self.peer.retry_window;
        let retries = self.pipeline.retries();
        let client = &self.peer.client;
        let attempt = retries.and_then(|retries| {
            let this = (&**client, self.source);
            let user = self.pipeline.service.core.key(client, asked.user);
            let user = user.map_or_else(|_| asked.user.to_owned(), |key| key.joined());
            let asker = retries.asker(packet, this, (&user, shown))?;
            Some((retries, asker))
        });
        let Some((retries, asker)) = attempt else {
            return self.ask(packet, asked).await;
        };
        let again = match retries.begin(&client.name, &asker, self.at) {
            Begin::Decide(None) => return self.ask(packet, asked).await,
            Begin::Decide(Some(ticket)) => {
                let decided = self.ask(packet, asked).await?;
                let now = self.pipeline.service.core.now();
                ticket.finish(self.id, &decided, (now, window));
                return Some(decided);
            }
            Begin::Again(again) => Some(again),
            Begin::Wait(mut ended) => {
                // That it ended at all is enough: how is what is read then.
                let _ = ended.changed().await;
                let how = *ended.borrow();
                match how {
                    Ended::Free => return self.ask(packet, asked).await,
                    Ended::Silent => retries.after(&asker, self.pipeline.service.core.now()),
                }
            }
        };
        let Some(again) = again else {
            self.discard(Discard::DuplicateInFlight);
            return None;
        };
        let (given, typed) = &*again;
        let again = Wanted::Again(given, typed.as_ref());
        self.asked(packet, asked, again).await
    }

    /// Has the service decide. `None`: no one could.
    pub(super) fn ask(
        &self,
        packet: &Packet<'_>,
        asked: &Asked<'_>,
    ) -> impl Future<Output = Option<LoginOutcome>> {
        self.asked(packet, asked, Wanted::Decision)
    }

    /// Has the service say whether an accept that waited for the peer may be told: itself, or a refusal.
    /// `None`: no one could.
    pub(super) async fn confirm(
        &self,
        packet: &Packet<'_>,
        asked: &Asked<'_>,
        accepted: &Accepted,
    ) -> Option<LoginOutcome> {
        let confirmation = Wanted::Confirmation(accepted);
        self.asked(packet, asked, confirmation).await
    }

    async fn asked(
        &self,
        packet: &Packet<'_>,
        asked: &Asked<'_>,
        wanted: Wanted<'_>,
    ) -> Option<LoginOutcome> {
        let Self { pipeline, peer, .. } = self;
        let mut texts = Vec::new();
        self.dictionary
            .describe(packet.attributes, |named| texts.push(named));
        let attributes: Vec<_> = texts
            .iter()
            .map(|(name, text)| (*name, text.as_ref()))
            .collect();
        let origin = origin(packet, self.source);
        let words = self.words();
        let own = asked.own;
        let room = reply::Room { packet, words, own };
        let request = LoginRequest {
            id: self.id,
            at: self.at,
            deadline: self.at.plus(pipeline.settings.request_timeout),
            client: &peer.client,
            channel: Channel::Radius,
            method: asked.method,
            user: asked.user,
            presented: asked.presented,
            challenge: asked.challenge,
            rounds: asked.rounds,
            source: calling_station(packet),
            attributes: &attributes,
            context: &[],
            origin: origin.as_ref(),
            serial: None,
            carrier: Some(&room),
        };
        // The deadline keeps late work from beginning. Work that has begun is waited for, since its
        // answer serves the retransmission. The service says why there is none.
        let login = &pipeline.service.login;
        // Boxed, since the futures around it are moved about.
        let decided = match wanted {
            Wanted::Decision => Box::pin(login.authenticate(&request)).await,
            Wanted::Again(given, typed) => Box::pin(login.again(&request, given, typed)).await,
            Wanted::Confirmation(accepted) => Box::pin(login.confirmed(&request, accepted)).await,
        };
        if decided.is_err() {
            self.undecided();
        }
        decided.ok()
    }

    /// The keys that replies are signed with.
    pub(super) fn keys(&self) -> &SecretKeys {
        self.peer.keys(self.secret)
    }

    /// By which accounting is linked with this login, where it is served.
    pub(super) fn class(&self, accepted: &Accepted) -> Option<Class> {
        let (client, login) = (&self.peer.client, &self.pipeline.service.login);
        let class = || login.class(accepted.login, client, &accepted.user);
        self.pipeline.settings.class.then(class)
    }

    pub(super) fn words(&self) -> reply::Words<'_> {
        let [.., high, low] = self.id.to_bytes();
        reply::Words {
            dictionary: &self.dictionary,
            keys: self.peer.keys(self.secret),
            sign: self.sign(),
            salt: u16::from_be_bytes([high, low]),
        }
    }

    /// Replies are signed, but for a NAS that drops those; in EAP they always are (RFC 3579 s3.1).
    fn sign(&self) -> MessageAuthenticator {
        let exempt = self
            .peer
            .unsigned_until
            .is_some_and(|until| self.at < until);
        if exempt && !self.packet.borrow().has(Type::EapMessage) {
            MessageAuthenticator::Omit
        } else {
            MessageAuthenticator::First
        }
    }

    /// What was decided, and nothing else, is sent: it is on record. The service has asked whether it
    /// can be.
    fn reply(
        &self,
        packet: &Packet<'_>,
        decided: &LoginOutcome,
        credential: &Credential,
    ) -> Option<(Event, Arc<[u8]>)> {
        let keys = (self.keys(), self.sign());
        let response = credential.response();
        let (event, built) = match &decided.answer {
            LoginAnswer::Accept(accepted) => {
                let class = self.class(accepted);
                let attributes = &accepted.attributes;
                let words = self.words();
                let proof = response.zip(accepted.typed.as_ref());
                let authenticator = packet.request_authenticator();
                let proof = proof.map(|(response, typed)| {
                    let cover = words.cover(&authenticator);
                    microsoft::accept(response, typed.expose(), cover)
                });
                let own = proof.unwrap_or_default();
                let built = reply::accept(packet, attributes, words, (&own, class));
                (Event::Accept, built)
            }
            LoginAnswer::Challenge(challenge) => {
                let built = reply::challenge(packet, challenge, keys);
                (Event::Challenge, built.map_err(Into::into))
            }
            LoginAnswer::Reject => {
                let error = response.and_then(|one| microsoft::error(one, packet.authenticator));
                let built = reply::reject(packet, keys, error.as_deref());
                (Event::Reject, built.map_err(Into::into))
            }
        };
        let octets = built.map_err(|error| self.unbuilt(&error)).ok()?;
        Some((event, octets))
    }

    fn answer(self: Box<Self>, event: Event, octets: Arc<[u8]>, delay: Duration) -> Answer {
        Answer {
            claim: self.claim,
            octets,
            event,
            delay,
            _place: self.place.filter(|_| !delay.is_zero()),
        }
    }
}

impl Answer {
    /// How long after arrival it may leave.
    pub const fn delay(&self) -> Duration {
        self.delay
    }

    /// Keeps the answer for retransmissions and gives out what to send; nothing when another
    /// request has taken its place meanwhile.
    pub fn release(self) -> Option<Arc<[u8]>> {
        let Self {
            claim,
            octets,
            event,
            ..
        } = self;
        let peer = Arc::clone(&claim.peer);
        let serves = match event {
            Event::Accounting => Serves::Accounting,
            _ => Serves::Authentication,
        };
        match claim.finish(Arc::clone(&octets)) {
            Finish::Current => {
                peer.counters.event(serves, event);
                Some(octets)
            }
            Finish::Stale => {
                peer.counters.event(serves, Event::Superseded);
                None
            }
        }
    }
}

impl Claim {
    pub(super) fn new(pipeline: &Arc<Pipeline>, peer: &Arc<Peer>, ticket: Option<Ticket>) -> Self {
        Self {
            pipeline: Arc::clone(pipeline),
            peer: Arc::clone(peer),
            kept: ticket.is_some(),
            ticket,
        }
    }

    fn finish(mut self, octets: Arc<[u8]>) -> Finish {
        if !self.kept {
            return Finish::Current;
        }
        let now = self.pipeline.service.core.now();
        let ticket = self.ticket.take();
        ticket.map_or(Finish::Stale, |ticket| {
            self.pipeline.duplicates().finish(ticket, octets, now)
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        self.pipeline.duplicates().abandon(ticket);
        if std::thread::panicking() {
            let serves = Serves::Authentication;
            self.peer.counters.event(serves, Event::Undecided);
        }
    }
}

/// What the NAS says of itself and of the user's line. Where it names no address of its own, that of the
/// packet stands for it.
fn origin(packet: &Packet<'_>, source: IpAddr) -> Option<Arc<Origin>> {
    Origin::new(
        packet.first(Type::NasIdentifier),
        nas_address(packet).or_else(|| Some(source.to_canonical())),
        packet.first(Type::CallingStationId),
    )
}

/// Where the person is, when the NAS says it as an address.
fn calling_station(packet: &Packet<'_>) -> Option<IpAddr> {
    let text = std::str::from_utf8(packet.first(Type::CallingStationId)?).ok()?;
    text.trim()
        .parse::<IpAddr>()
        .ok()
        .map(|address| address.to_canonical())
}
