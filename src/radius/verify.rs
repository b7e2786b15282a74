//! Which requests are authentic enough to be worked on, and which replies a client may believe.
//!
//! Sources: RFC 2865 s3, RFC 2866 s3, RFC 3579 s3.1 and s3.2, RFC 5997 s3 and s4.1, CVE-2024-3596
//! (draft-ietf-radext-deprecating-radius).
//!
//! Invariant: this runs before the duplicate cache is asked (RFC 5080 s2.2.2: a packet with a
//! wrong Message-Authenticator must not touch it) and before a password is revealed.
//!
//! Threat: BlastRADIUS turns a Reject into an Accept with the help of a Proxy-State the attacker
//! put into an unsigned request. [`Rule::Required`] ends it; [`Rule::LimitProxyState`] is the
//! least that protects a NAS which cannot sign.

use crate::radius::attribute::Type;
use crate::radius::authenticator::{RequestAuthenticator, SecretKeys, Signature};
use crate::radius::packet::{Code, Packet};
use crate::radius::{Discard, authenticator};

/// What a client's Access-Requests must prove.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Rule {
    /// Every one is signed. The default.
    #[default]
    Required,
    /// Unsigned ones pass, except with a Proxy-State.
    LimitProxyState,
    /// Unsigned ones pass. Open to CVE-2024-3596; for proxies that cannot be upgraded.
    Optional,
}

/// Checks a packet that arrived at the authentication port.
///
/// # Errors
/// `UnexpectedCode`, `DuplicateMessageAuthenticator`, `BadMessageAuthenticator`,
/// `MissingMessageAuthenticator`, `ProxyStateWithoutMessageAuthenticator`,
/// `StatusServerWithCredentials`.
pub fn request(packet: &Packet<'_>, keys: &SecretKeys, rule: Rule) -> Result<Signature, Discard> {
    match packet.code {
        Code::AccessRequest => access_request(packet, keys, rule),
        Code::StatusServer => status_server(packet, keys),
        _ => Err(Discard::UnexpectedCode),
    }
}

/// Checks a packet that arrived at the accounting port.
///
/// # Errors
/// `UnexpectedCode`, `BadRequestAuthenticator`, and those of a Message-Authenticator.
pub fn accounting_request(packet: &Packet<'_>, keys: &SecretKeys) -> Result<Signature, Discard> {
    match packet.code {
        Code::AccountingRequest => {
            authenticator::verify_request_authenticator(packet, keys)?;
            authenticator::verify_message_authenticator(packet, keys, &[0; 16])
        }
        Code::StatusServer => status_server(packet, keys),
        _ => Err(Discard::UnexpectedCode),
    }
}

/// Checks a reply on behalf of the client that sent the request. A client that signs its own
/// requests should insist on [`Signature::Valid`].
///
/// # Errors
/// `UnexpectedIdentifier`, `BadResponseAuthenticator`, and those of a Message-Authenticator.
pub fn response(
    reply: &Packet<'_>,
    identifier: u8,
    request: &RequestAuthenticator,
    keys: &SecretKeys,
) -> Result<Signature, Discard> {
    if reply.identifier != identifier {
        return Err(Discard::UnexpectedIdentifier);
    }
    authenticator::verify_response_authenticator(reply, request, keys)?;
    authenticator::verify_message_authenticator(reply, keys, &request.0)
}

fn access_request(
    packet: &Packet<'_>,
    keys: &SecretKeys,
    rule: Rule,
) -> Result<Signature, Discard> {
    let signature =
        authenticator::verify_message_authenticator(packet, keys, packet.authenticator)?;
    if signature == Signature::Valid {
        return Ok(signature);
    }
    match rule {
        // RFC 3579 s3.1: EAP-Message without Message-Authenticator is silently discarded.
        _ if packet.has(Type::EapMessage) => Err(Discard::MissingMessageAuthenticator),
        Rule::Required => Err(Discard::MissingMessageAuthenticator),
        Rule::LimitProxyState if packet.has(Type::ProxyState) => {
            Err(Discard::ProxyStateWithoutMessageAuthenticator)
        }
        Rule::LimitProxyState | Rule::Optional => Ok(signature),
    }
}

fn status_server(packet: &Packet<'_>, keys: &SecretKeys) -> Result<Signature, Discard> {
    let signature =
        authenticator::verify_message_authenticator(packet, keys, packet.authenticator)?;
    // RFC 5997 s3: Message-Authenticator is mandatory, whatever the client's rule says.
    if signature == Signature::Absent {
        return Err(Discard::MissingMessageAuthenticator);
    }
    // RFC 5997 s3: asks about the server, never about a user.
    let credential = |r#type: &Type| packet.has(*r#type);
    if [
        Type::UserPassword,
        Type::ChapPassword,
        Type::State,
        Type::EapMessage,
    ]
    .iter()
    .any(credential)
    {
        return Err(Discard::StatusServerWithCredentials);
    }
    Ok(signature)
}
