//! The replies: what a decision looks like on the wire.
//!
//! Invariant: an Access-Reject is a function of the request alone (Message-Authenticator,
//! EAP-Failure if EAP was asked, Proxy-State), whatever the cause.

use std::sync::Arc;

use crate::radius::attribute::Type;
use crate::radius::authenticator::SecretKeys;
use crate::radius::dictionary::Dictionary;
use crate::radius::dictionary::EncodeError;
use crate::radius::encode::BuildError;
use crate::radius::encode::MessageAuthenticator;
use crate::radius::packet::Code;
use crate::radius::packet::Packet;
use crate::radius::reply::ReplyBuilder;
use crate::service::Challenged;

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

/// An Access-Accept with a policy's reply attributes, in order.
pub(super) fn accept(
    packet: &Packet<'_>,
    attributes: &[(String, String)],
    dictionary: &Dictionary,
    keys: &SecretKeys,
) -> Result<Arc<[u8]>, AcceptError> {
    let mut buffer = Vec::with_capacity(USUAL);
    let first = MessageAuthenticator::First;
    let mut builder = ReplyBuilder::new(&mut buffer, Code::AccessAccept, packet, first);
    for (name, value) in attributes {
        builder.encoded(&dictionary.encode(name, value)?)?;
    }
    builder.finish(keys)?;
    Ok(buffer.into())
}

/// An Access-Reject.
pub(super) fn reject(packet: &Packet<'_>, keys: &SecretKeys) -> Result<Arc<[u8]>, BuildError> {
    let mut buffer = Vec::with_capacity(USUAL);
    let first = MessageAuthenticator::First;
    let mut builder = ReplyBuilder::new(&mut buffer, Code::AccessReject, packet, first);
    // RFC 3579 s2.6.3: the EAP peer is told, with the Identifier of its own packet.
    if let Some(&[_, identifier, ..]) = packet.first(Type::EapMessage) {
        builder.attribute(Type::EapMessage, &[EAP_FAILURE, identifier, 0, 4])?;
    }
    builder.finish(keys)?;
    Ok(buffer.into())
}

/// An Access-Challenge (RFC 2865 s4.4): what is asked for, that it may be shown while it is typed
/// (RFC 2869 s5.10), and what the gear gives back with the answer.
pub(super) fn challenge(
    packet: &Packet<'_>,
    challenge: &Challenged,
    keys: &SecretKeys,
) -> Result<Arc<[u8]>, BuildError> {
    let echo = u32::from(!challenge.factor.is_knowledge());
    let mut buffer = Vec::with_capacity(USUAL);
    let first = MessageAuthenticator::First;
    let mut builder = ReplyBuilder::new(&mut buffer, Code::AccessChallenge, packet, first);
    builder
        .attribute(Type::State, challenge.id.as_bytes())?
        .attribute(Type::ReplyMessage, challenge.prompt.as_bytes())?
        .attribute(Type::Prompt, &echo.to_be_bytes())?;
    builder.finish(keys)?;
    Ok(buffer.into())
}

/// A reply that says nothing but its code.
pub(super) fn plain(
    packet: &Packet<'_>,
    code: Code,
    keys: &SecretKeys,
) -> Result<Arc<[u8]>, BuildError> {
    let mut buffer = Vec::with_capacity(USUAL);
    ReplyBuilder::new(&mut buffer, code, packet, MessageAuthenticator::First).finish(keys)?;
    Ok(buffer.into())
}

/// RFC 3748 s4: Code of a Failure packet.
const EAP_FAILURE: u8 = 4;

/// Octets of most replies.
const USUAL: usize = 128;
