//! EAP in RADIUS (RFC 3579): one packet of a conversation, from the request to the reply.
//!
//! ```text
//! EAP-Message, State -> conversation -> next request        Access-Challenge, the same State
//!                                    -> a credential -> the service decides, as for PAP
//!                                    -> success, failure    Access-Accept, Access-Reject
//! ```
//!
//! At most one login is decided for a packet. A refusal that no login led to (no method in common, a State
//! that nothing is known of, a tunnel that failed) is decided as one by the method `eap`, so that the audit
//! says what the wire said; its note says why.
//!
//! An accept that waits for the peer's confirmation is asked for again before it is told: by then the user may be
//! disabled or gone, or the token suspended.

mod cause;
mod conversation;
mod method;
pub(super) mod table;
mod tunnel;

use std::sync::Arc;
use std::time::Duration;

use crate::login::{LoginAnswer, LoginOutcome, Presented};
use crate::model::client::Access;
use crate::model::method::Allowed;
use crate::radius::Discard;
use crate::radius::attribute::Type;
use crate::radius::eap::{self, Code, Message, kind};
use crate::radius::encode::MessageAuthenticator;
use crate::radius::microsoft;
use crate::radius::packet::Packet;
use crate::secret::random;
use crate::server::radius::counters::Event;
use crate::server::radius::eap::cause::Cause;
use crate::server::radius::eap::conversation::{Conversation, NONE, Surroundings};
use crate::server::radius::eap::method::{Granted, Next, Question};
use crate::server::radius::eap::table::{Crowd, Found, Held, PLACES, State};
use crate::server::radius::eap::tunnel::TunnelError;
use crate::server::radius::job::{Asked, Job, Ready};
use crate::server::radius::reply;

/// A conversation, and what follows in it.
struct Turn {
    state: State,
    conversation: Box<Conversation>,
    next: Result<Next, TunnelError>,
}

impl Job {
    /// Takes an EAP packet as far as it goes. `None`: nothing leaves.
    pub(super) async fn converse(&self, packet: &Packet<'_>, octets: &[u8]) -> Option<Ready> {
        let drawn = random::<33>(self.pipeline.service.core.entropy.as_ref());
        let drawn = drawn.map_err(|error| self.unbuilt(&error)).ok()?;
        let most = most(packet);
        let Turn {
            state,
            mut conversation,
            mut next,
        } = self.turn(packet, octets, &drawn, most)?;
        let held = self.pipeline.conversations.held(state);
        let mut delay = Duration::ZERO;
        // An accept of an earlier packet: what it rested on may have changed since.
        let mut waited = true;
        loop {
            let step = next.unwrap_or_else(|error| {
                self.tunnel_ended(&error);
                conversation.cause = Some(Cause::tunnel(&error));
                Next::Refuse
            });
            match step {
                Next::Send(kind, data) => {
                    let octets = self.send(packet, (held, conversation), kind, data)?;
                    return Some((Event::Challenge, octets, delay));
                }
                Next::Decide(question) => {
                    if !self.takes(&mut conversation, &question) {
                        next = Ok(Next::Refuse);
                        continue;
                    }
                    let user = conversation.name();
                    let Some(outcome) = self.decide(packet, user, &question).await else {
                        conversation.postpone(Next::Decide(question));
                        self.keep(held, conversation);
                        return None;
                    };
                    (delay, waited) = (outcome.delay, false);
                    conversation.refused |= matches!(outcome.answer, LoginAnswer::Reject);
                    next = conversation.decided(&question.shown, outcome, most);
                }
                Next::Accept(granted) if waited => {
                    let user = (conversation.name(), conversation.method);
                    let Some(outcome) = self.recheck(packet, user, &granted).await else {
                        conversation.postpone(Next::Accept(granted));
                        self.keep(held, conversation);
                        return None;
                    };
                    (delay, waited) = (outcome.delay, false);
                    conversation.refused = matches!(outcome.answer, LoginAnswer::Reject);
                    next = Ok(if conversation.refused {
                        Next::Refuse
                    } else {
                        Next::Accept(granted)
                    });
                }
                Next::Accept(granted) => {
                    drop(held);
                    let user = conversation.name();
                    return self.grant(packet, octets, (user, &granted));
                }
                Next::Refuse => {
                    drop(held);
                    let cause = (!conversation.refused).then(|| conversation.cause());
                    let user = conversation.name();
                    return self.refuse(packet, (user, cause), delay).await;
                }
            }
        }
    }

    /// Notes who logs in, and how the credential came. `false`: the name inside the tunnel may not follow
    /// the one outside.
    fn takes(&self, conversation: &mut Conversation, question: &Question) -> bool {
        conversation.method = question.method;
        let Some(user) = &question.user else {
            return true;
        };
        let core = &self.pipeline.service.core;
        let admitted = conversation.admits(user, core, &self.peer.client);
        if admitted {
            conversation.named = Some(user.clone());
        } else {
            conversation.cause = Some(Cause::NAMES);
            self.names_differ();
        }
        admitted
    }

    /// Has the service decide a question. `None`: no one could.
    async fn decide(
        &self,
        packet: &Packet<'_>,
        user: &str,
        question: &Question,
    ) -> Option<LoginOutcome> {
        let asked = Asked {
            user,
            method: question.method,
            presented: question.shown.presented(),
            challenge: question.challenge.as_deref(),
            rounds: question.rounds && self.peer.challenge,
            own: ROOM,
        };
        self.ask(packet, &asked).await
    }

    /// Has the service say whether what was granted with an earlier packet may be told. `None`: no one could.
    async fn recheck(
        &self,
        packet: &Packet<'_>,
        (user, method): (&str, &str),
        granted: &Granted,
    ) -> Option<LoginOutcome> {
        let asked = Asked {
            method,
            ..nothing(user)
        };
        self.confirm(packet, &asked, &granted.accepted).await
    }

    /// An Access-Reject. Where none is on record yet, this puts it there, with its `cause`.
    async fn refuse(
        &self,
        packet: &Packet<'_>,
        (user, cause): (&str, Option<Cause>),
        mut delay: Duration,
    ) -> Option<Ready> {
        if let Some(cause) = &cause {
            let asked = Asked {
                presented: Presented::Response(Some(cause)),
                ..nothing(user)
            };
            delay = self.ask(packet, &asked).await?.delay;
        }
        let built = reply::reject(packet, (self.keys(), MessageAuthenticator::First), None);
        let octets = built.map_err(|error| self.unbuilt(&error)).ok()?;
        Some((Event::Reject, octets, delay))
    }

    /// The conversation that a packet belongs to, or a new one, and what the packet leads to. `None`:
    /// another packet of it is worked on.
    fn turn(
        &self,
        packet: &Packet<'_>,
        octets: &[u8],
        drawn: &[u8; 33],
        most: usize,
    ) -> Option<Turn> {
        let (fresh, rest) = drawn.split_first_chunk::<16>()?;
        let (challenge, identifier) = rest.split_first_chunk::<16>()?;
        let every = Allowed::default();
        let around = Surroundings {
            allowed: match &self.peer.client.access {
                Access::Radius(radius) => &radius.methods,
                Access::Api(_) => &every,
            },
            tls: self.pipeline.eap_tls(),
            challenge: *challenge,
            most,
        };
        let message = Message::parse(octets).filter(|message| message.code == Code::Response);
        let name = &self.peer.client.name;
        let state = packet.first(Type::State).and_then(table::read);
        let found = state.map(|state| {
            let found = self.pipeline.conversations.take(&state, name, self.at);
            (state, found)
        });
        match (found, message) {
            (Some((_, Found::Busy)), _) => {
                self.discard(Discard::DuplicateInFlight);
                return None;
            }
            (Some((state, Found::Here(mut conversation))), message) => {
                let next = match message {
                    Some(message) => conversation.receive(&message, &around),
                    None => Ok(Next::Refuse),
                };
                return Some(Turn {
                    state,
                    conversation,
                    next,
                });
            }
            (Some((_, Found::Unknown)) | None, _) => {}
        }
        // RFC 5080 s2.1.1: a State that means nothing here is as none, where a conversation begins.
        let user = packet.first(Type::UserName).unwrap_or_default();
        let user = String::from_utf8_lossy(user).into_owned();
        let identifier = message.map_or(identifier.first().copied()?, |one| one.identifier);
        let mut conversation = Box::new(Conversation::new(user, identifier));
        let next = match message {
            None if octets.is_empty() => Ok(Conversation::ask_identity()),
            Some(message) if message.kind == kind::IDENTITY => {
                conversation.receive(&message, &around)
            }
            _ => {
                let unknown = packet.has(Type::State);
                conversation.cause = unknown.then_some(Cause::UNKNOWN);
                Ok(Next::Refuse)
            }
        };
        Some(Turn {
            state: *fresh,
            conversation,
            next,
        })
    }

    /// An Access-Challenge with the next request of a conversation.
    fn send(
        &self,
        packet: &Packet<'_>,
        (held, mut conversation): (Held<'_>, Box<Conversation>),
        kind: u8,
        data: Vec<u8>,
    ) -> Option<Arc<[u8]>> {
        let wait = conversation.waits_for_person().then_some(PATIENCE);
        let request = conversation.request(kind, data)?;
        let built = reply::eap(
            packet,
            (
                table::text_of(&held.state).as_bytes(),
                &eap::attributes(&request),
            ),
            wait,
            self.keys(),
        );
        let octets = built.map_err(|error| self.unbuilt(&error)).ok()?;
        self.keep(held, conversation);
        Some(octets)
    }

    fn keep(&self, held: Held<'_>, conversation: Box<Conversation>) {
        let name = &self.peer.client.name;
        let Some(Crowd { client, holds }) = held.keep(name, conversation, self.at) else {
            return;
        };
        if self
            .pipeline
            .limiter
            .once(&self.peer.client, "eap_places", self.at)
        {
            tracing::warn!(
                crowding = &*client,
                holds,
                places = PLACES,
                "too many EAP conversations under way: the oldest one of that client is given up"
            );
        }
    }

    /// An Access-Accept with the peer's success, its name, and the keys of the method.
    fn grant(
        &self,
        packet: &Packet<'_>,
        octets: &[u8],
        (user, granted): (&str, &Granted),
    ) -> Option<Ready> {
        let identifier = octets.get(1).copied().unwrap_or_default();
        let mut own = eap::attributes(&eap::success(identifier));
        let attributes = &granted.accepted.attributes;
        let named = attributes
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("User-Name"));
        if !named && let Ok(length) = u8::try_from(user.len() + 2) {
            own.extend([Type::UserName.0, length]);
            own.extend(user.as_bytes());
        }
        let words = self.words();
        if let Some(master) = &granted.master {
            let authenticator = packet.request_authenticator();
            microsoft::session_keys(&mut own, master, words.cover(&authenticator));
        }
        let class = self.class(&granted.accepted);
        let built = reply::accept(packet, attributes, words, (&own, class));
        let octets = built.map_err(|error| self.unbuilt(&error)).ok()?;
        Some((Event::Accept, octets, Duration::ZERO))
    }

    fn tunnel_ended(&self, error: &TunnelError) {
        if self
            .pipeline
            .limiter
            .once(&self.peer.client, "eap_tunnel", self.at)
        {
            let client = self.peer.client.name.as_str();
            tracing::warn!(
                id = %self.id, client, %error,
                "a tunnel of EAP ended before a login; the peer must trust the certificate of [radius.eap]"
            );
        }
    }

    fn names_differ(&self) {
        if self
            .pipeline
            .limiter
            .once(&self.peer.client, "eap_names", self.at)
        {
            let client = self.peer.client.name.as_str();
            tracing::warn!(
                id = %self.id, client,
                "the name inside a tunnel of EAP is not that outside of it, which is not anonymous"
            );
        }
    }
}

/// A question without a credential.
const fn nothing(user: &str) -> Asked<'_> {
    Asked {
        user,
        method: NONE,
        presented: Presented::Response(None),
        challenge: None,
        rounds: false,
        own: ROOM,
    }
}

/// Most octets of the data of a request: what the NAS says that fits (RFC 3579 s2.4), without the headers
/// of EAP and of the link.
fn most(packet: &Packet<'_>) -> usize {
    let said = packet
        .first(Type::FramedMtu)
        .and_then(|value| value.try_into().ok());
    let said = said
        .map(u32::from_be_bytes)
        .and_then(|mtu| usize::try_from(mtu).ok());
    said.map_or(MOST, |mtu| mtu.saturating_sub(HEADERS).clamp(LEAST, MOST))
}

/// What an accept carries of ours at most, octets and attributes: EAP-Message, User-Name, two keys.
const ROOM: (usize, usize) = (6 + 255 + 2 * 58, 4);
/// Seconds that a person has to answer (RFC 3579 s2.1: Session-Timeout).
const PATIENCE: u32 = 90;
/// Octets of data in a request: four attributes.
const MOST: usize = 1000;
/// However small a link is said to be.
const LEAST: usize = 96;
/// Octets of the headers of EAP, and of EAPOL.
const HEADERS: usize = 9;
