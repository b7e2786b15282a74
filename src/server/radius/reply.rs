//! The replies: what a decision looks like on the wire.
//!
//! Invariant: an Access-Reject is a function of the request alone (Message-Authenticator,
//! EAP-Failure if EAP was asked, MS-CHAP-Error, Proxy-State), whatever the cause.
//!
//! What does not fit: Proxy-State always goes back whole (RFC 2865 s5.33). Reply-Message, text for the
//! person, is split into as many attributes as it needs and is left out where there is no room for all
//! of it, and beside an EAP packet, which says all that the peer is told (RFC 3579 s2.6.5). Any other attribute that does not fit makes the accept impossible: a missing Filter-Id opens a
//! network. The service asks [`Room`] before it consumes anything.

use std::sync::Arc;

use crate::login::{Carrier, Challenged, Fit};
use crate::model::session::Class;
use crate::radius::attribute::{Attributes, MAX_ATTRIBUTES, Type};
use crate::radius::authenticator::{RequestAuthenticator, SecretKeys};
use crate::radius::dictionary::{Dictionary, EncodeError, Hiding};
use crate::radius::eap::{self, Message};
use crate::radius::encode::{BuildError, MessageAuthenticator};
use crate::radius::microsoft::Cover;
use crate::radius::packet::{Code, HEADER, MAX_LENGTH, Packet};
use crate::radius::reply::ReplyBuilder;

/// Why an Access-Accept was not built.
#[derive(Debug, thiserror::Error)]
pub(super) enum AcceptError {
    /// A value does not fit its attribute, once its placeholders are filled.
    #[error(transparent)]
    Attribute(#[from] EncodeError),
    /// The attributes do not fit a packet.
    #[error(transparent)]
    Packet(#[from] BuildError),
}

/// The replies to one request, measured before one of them is needed.
#[derive(Debug)]
pub(super) struct Room<'p> {
    pub(super) packet: &'p Packet<'p>,
    pub(super) words: Words<'p>,
    /// Octets and attributes that the method adds to an accept.
    pub(super) own: (usize, usize),
}

/// What turns names and texts into attributes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words<'p> {
    pub(super) dictionary: &'p Dictionary,
    pub(super) keys: &'p SecretKeys,
    /// Whether the reply is signed.
    pub(super) sign: MessageAuthenticator,
    /// Distinct for each reply: see [`Hiding::salt`].
    pub(super) salt: u16,
}

impl<'p> Words<'p> {
    /// What hides the keys that a method gives the NAS: with salts that no other attribute has.
    pub(super) const fn cover(self, authenticator: &'p RequestAuthenticator) -> Cover<'p> {
        Cover {
            keys: self.keys,
            authenticator,
            salt: self.salt.wrapping_sub(2),
        }
    }
}

impl Carrier for Room<'_> {
    fn accept(&self, attributes: &[(String, String)]) -> Fit {
        match Layout::of(self.packet, attributes, self.words, self.own) {
            Ok(Layout { silent: None, .. }) => Fit::Whole,
            Ok(Layout {
                silent: Some(why), ..
            }) => Fit::Without(format!("Reply-Message was left out: {why}")),
            Err(error) => Fit::Not(error.to_string()),
        }
    }

    fn challenge(&self) -> bool {
        left(self.packet).take(&[2 + STATE])
    }
}

/// The attributes of an Access-Accept, encoded.
struct Layout {
    attributes: Vec<Vec<u8>>,
    /// Why the text to the person is left out, if it is.
    silent: Option<&'static str>,
}

impl Layout {
    fn of(
        packet: &Packet<'_>,
        attributes: &[(String, String)],
        words: Words<'_>,
        (octets, count): (usize, usize),
    ) -> Result<Self, AcceptError> {
        let Words {
            dictionary,
            keys,
            mut salt,
            ..
        } = words;
        let authenticator = RequestAuthenticator(*packet.authenticator);
        let mut encode = |name: &str, value: &str| {
            salt = salt.wrapping_add(1);
            let hiding = Hiding {
                keys,
                authenticator: &authenticator,
                salt,
            };
            dictionary.encode(name, value, Some(hiding))
        };
        let (mut encoded, mut texts, mut silent) = (Vec::new(), 0, None);
        for (name, value) in attributes {
            let text = dictionary.attribute(name);
            if text.is_some_and(|one| one.is(Type::ReplyMessage)) {
                if packet.has(Type::EapMessage) {
                    silent = Some(BESIDE_EAP);
                    continue;
                }
                for piece in pieces(value) {
                    encoded.push((true, encode(name, piece)?));
                    texts += 1;
                }
            } else {
                encoded.push((false, encode(name, value)?));
            }
        }
        let fits = |encoded: &[(bool, Vec<u8>)]| {
            let mut left = left(packet);
            left.octets = left.octets.saturating_sub(octets);
            left.attributes = left.attributes.saturating_sub(count);
            encoded.iter().all(|(_, one)| left.take_encoded(one))
        };
        if !fits(&encoded) {
            encoded.retain(|(text, _)| !text);
            if texts == 0 || !fits(&encoded) {
                return Err(BuildError::PacketTooLong.into());
            }
            silent = Some(NO_ROOM);
        }
        Ok(Self {
            attributes: encoded.into_iter().map(|(_, one)| one).collect(),
            silent,
        })
    }
}

/// What a reply has left beside its header, its signature and the Proxy-State.
struct Left {
    octets: usize,
    attributes: usize,
}

fn left(packet: &Packet<'_>) -> Left {
    let mut left = Left {
        octets: MAX_LENGTH - HEADER - SIGNATURE,
        attributes: MAX_ATTRIBUTES - 1,
    };
    for state in packet.all(Type::ProxyState) {
        left.octets = left.octets.saturating_sub(2 + state.len());
        left.attributes = left.attributes.saturating_sub(1);
    }
    left
}

impl Left {
    /// Takes the room for attributes of these lengths, headers included; `false`: there is too little,
    /// and nothing was taken.
    fn take(&mut self, lengths: &[usize]) -> bool {
        let octets: usize = lengths.iter().sum();
        let fits = octets <= self.octets && lengths.len() <= self.attributes;
        if fits {
            self.octets -= octets;
            self.attributes -= lengths.len();
        }
        fits
    }
}

impl Left {
    /// Takes the room for attributes that are encoded: a long value takes several.
    fn take_encoded(&mut self, octets: &[u8]) -> bool {
        let attributes = Attributes::parse(octets).map(|all| all.iter().count());
        let attributes = attributes.unwrap_or(MAX_ATTRIBUTES);
        let fits = octets.len() <= self.octets && attributes <= self.attributes;
        if fits {
            self.octets -= octets.len();
            self.attributes -= attributes;
        }
        fits
    }
}

/// A text in pieces that fit an attribute each, cut between characters.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut end = rest.len().min(VALUE);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (piece, behind) = rest.split_at_checked(end)?;
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}

/// An Access-Accept with a policy's reply attributes, in order, those of the method, encoded, and a Class
/// of ours where the policy sends none and there is room.
pub(super) fn accept(
    packet: &Packet<'_>,
    attributes: &[(String, String)],
    words: Words<'_>,
    (own, class): (&[u8], Option<Class>),
) -> Result<Arc<[u8]>, AcceptError> {
    let mut buffer = Vec::with_capacity(USUAL);
    let mut builder = ReplyBuilder::new(&mut buffer, Code::AccessAccept, packet, words.sign);
    let mut left = left(packet);
    let mut has_class = false;
    if !attributes.is_empty() {
        let count = Attributes::parse(own).map_or(0, |all| all.iter().count());
        let taken = (own.len(), count);
        for attribute in Layout::of(packet, attributes, words, taken)?.attributes {
            builder.encoded(&attribute)?;
            left.take_encoded(&attribute);
            has_class |= attribute.first() == Some(&Type::Class.0);
        }
    }
    if !own.is_empty() {
        builder.encoded(own)?;
        left.take_encoded(own);
    }
    if let Some(class) = class.filter(|_| !has_class)
        && left.take(&[2 + class.len()])
    {
        builder.attribute(Type::Class, &class)?;
    }
    builder.finish(words.keys)?;
    Ok(buffer.into())
}

/// An Access-Reject, with what the method says where there is room for it.
pub(super) fn reject(
    packet: &Packet<'_>,
    (keys, sign): (&SecretKeys, MessageAuthenticator),
    error: Option<&[u8]>,
) -> Result<Arc<[u8]>, BuildError> {
    let mut buffer = Vec::with_capacity(USUAL);
    let mut builder = ReplyBuilder::new(&mut buffer, Code::AccessReject, packet, sign);
    // RFC 3579 s2.6.3: the EAP peer is told, with the Identifier of its own packet (RFC 3748 s4.2).
    if let Some(told) = eap::joined(packet).map(|asked| refusal(&asked))
        && left(packet).take(&[2 + told.len()])
    {
        builder.attribute(Type::EapMessage, &told)?;
    }
    if let Some(error) = error.filter(|error| left(packet).take_encoded(error)) {
        builder.encoded(error)?;
    }
    builder.finish(keys)?;
    Ok(buffer.into())
}

/// How an EAP peer is refused: by a Failure. Who asks us, instead of answering, is told that we have no
/// method to offer, and does not ask again (RFC 3579 s2.6.2). An EAP-Start has no Identifier.
fn refusal(eap: &[u8]) -> Vec<u8> {
    let identifier = eap.get(1).copied().unwrap_or_default();
    let nak = Message {
        code: eap::Code::Response,
        identifier,
        kind: eap::kind::NAK,
        data: &[0],
    };
    let asks = Message::parse(eap).is_some_and(|message| message.code == eap::Code::Request);
    let nak = nak.octets().filter(|_| asks);
    nak.unwrap_or_else(|| vec![EAP_FAILURE, identifier, 0, 4])
}

/// An Access-Challenge (RFC 2865 s4.4): what is asked for, that it may be shown while it is typed
/// (RFC 2869 s5.10), and what the NAS gives back with the answer. The words are left out where there is
/// no room for all of them.
pub(super) fn challenge(
    packet: &Packet<'_>,
    challenge: &Challenged,
    (keys, sign): (&SecretKeys, MessageAuthenticator),
) -> Result<Arc<[u8]>, BuildError> {
    let echo = u32::from(!challenge.factor.is_knowledge());
    let mut buffer = Vec::with_capacity(USUAL);
    let mut builder = ReplyBuilder::new(&mut buffer, Code::AccessChallenge, packet, sign);
    builder.attribute(Type::State, challenge.id.as_bytes())?;
    let mut left = left(packet);
    left.take(&[2 + challenge.id.len()]);
    let lengths: Vec<usize> = pieces(&challenge.prompt).map(|one| 2 + one.len()).collect();
    if left.take(&lengths) {
        for piece in pieces(&challenge.prompt) {
            builder.attribute(Type::ReplyMessage, piece.as_bytes())?;
        }
    }
    if left.take(&[2 + PROMPT]) {
        builder.attribute(Type::Prompt, &echo.to_be_bytes())?;
    }
    builder.finish(keys)?;
    Ok(buffer.into())
}

/// An Access-Challenge with a request of EAP, encoded, and the seconds that the peer has for its answer
/// where they are more than usual (RFC 3579 s2.1, s2.6.2).
pub(super) fn eap(
    packet: &Packet<'_>,
    (state, request): (&[u8], &[u8]),
    wait: Option<u32>,
    keys: &SecretKeys,
) -> Result<Arc<[u8]>, BuildError> {
    let mut buffer = Vec::with_capacity(request.len() + USUAL);
    let first = MessageAuthenticator::First;
    let mut builder = ReplyBuilder::new(&mut buffer, Code::AccessChallenge, packet, first);
    builder.attribute(Type::State, state)?;
    builder.encoded(request)?;
    if let Some(wait) = wait {
        builder.attribute(Type::SessionTimeout, &wait.to_be_bytes())?;
    }
    builder.finish(keys)?;
    Ok(buffer.into())
}

/// A reply that says nothing but its code.
pub(super) fn plain(
    packet: &Packet<'_>,
    code: Code,
    sign: MessageAuthenticator,
    keys: &SecretKeys,
) -> Result<Arc<[u8]>, BuildError> {
    let mut buffer = Vec::with_capacity(USUAL);
    ReplyBuilder::new(&mut buffer, code, packet, sign).finish(keys)?;
    Ok(buffer.into())
}

/// RFC 3748 s4: Code of a Failure packet.
const EAP_FAILURE: u8 = 4;

/// Why Reply-Message is left out.
const NO_ROOM: &str = "no room for all of it";
const BESIDE_EAP: &str = "it must not stand beside EAP-Message";

/// Octets of a Prompt.
const PROMPT: usize = 4;

/// Most octets of a State (contract s5).
const STATE: usize = 48;

/// Octets of a Message-Authenticator with its header.
const SIGNATURE: usize = 18;

/// Most octets of a value (RFC 2865 s5).
const VALUE: usize = 253;

/// Octets of most replies.
const USUAL: usize = 128;
