//! Access-Requests of the load, and what a reply to one is worth.
//!
//! Sources: RFC 2865 s5.2 (User-Password), s5.3 and s5.40 (CHAP), RFC 2548 s2.3 (MS-CHAPv2),
//! RFC 3579 s3.2. Message-Authenticator is sent always, and a reply without one is no answer unless
//! that is allowed (CVE-2024-3596); a wrong one never is.

use clap::ValueEnum;
use md5::{Digest as _, Md5};
use serde::Serialize;

use crate::load::drill::Answer;
use crate::load::mschap;
use crate::load::mschap::Exchange;
use crate::radius::attribute::Type;
use crate::radius::authenticator::{RequestAuthenticator, SecretKeys, Signature};
use crate::radius::encode::{BuildError, MessageAuthenticator};
use crate::radius::packet::{Code, Packet};
use crate::radius::request::RequestBuilder;
use crate::radius::verify;

/// How the password travels.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Method {
    /// User-Password
    #[default]
    Pap,
    /// CHAP-Password
    Chap,
    /// MS-CHAP2-Response
    Mschapv2,
}

/// Unpredictable octets of one request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Nonce {
    /// The Request Authenticator, and the challenge of CHAP and MS-CHAPv2.
    pub(super) authenticator: [u8; 16],
    /// The peer challenge of MS-CHAPv2.
    pub(super) peer: [u8; 16],
}

/// Builds a request in `datagram`. With MS-CHAPv2 answers what an accept must prove.
pub(super) fn build(
    datagram: &mut Vec<u8>,
    method: Method,
    identifier: u8,
    nonce: &Nonce,
    (user, password): (&str, &[u8]),
    keys: &SecretKeys,
) -> Result<Option<Exchange>, BuildError> {
    let authenticator = RequestAuthenticator(nonce.authenticator);
    let mut request = RequestBuilder::new(
        datagram,
        Code::AccessRequest,
        identifier,
        authenticator,
        MessageAuthenticator::First,
    );
    request.attribute(Type::UserName, user.as_bytes())?;
    let mut exchange = None;
    match method {
        Method::Pap => {
            request.user_password(password, keys)?;
        }
        Method::Chap => {
            request.attribute(Type::ChapPassword, &chap(identifier, password, nonce))?;
        }
        Method::Mschapv2 => {
            let made = Exchange::new(user, password, &nonce.authenticator, &nonce.peer);
            let mut value = [0; 50];
            value[0] = identifier;
            value[2..18].copy_from_slice(&nonce.peer);
            value[26..].copy_from_slice(&made.response);
            request.vendor(mschap::VENDOR, mschap::CHALLENGE, &nonce.authenticator)?;
            request.vendor(mschap::VENDOR, mschap::RESPONSE, &value)?;
            exchange = Some(made);
        }
    }
    request.attribute(Type::NasIdentifier, NAS)?;
    request.finish(keys)?;
    Ok(exchange)
}

/// Ident, then MD5(ident + password + challenge); without a CHAP-Challenge attribute the challenge
/// is the Request Authenticator (RFC 2865 s5.40).
fn chap(identifier: u8, password: &[u8], nonce: &Nonce) -> [u8; 17] {
    let digest: [u8; 16] = Md5::new()
        .chain_update([identifier])
        .chain_update(password)
        .chain_update(nonce.authenticator)
        .finalize()
        .into();
    let mut value = [identifier; 17];
    value[1..].copy_from_slice(&digest);
    value
}

/// What a reply without a Message-Authenticator is worth. Its Response Authenticator is checked in any
/// case.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unsigned {
    /// As much as any: servers before July 2024 send none.
    Allow,
    /// Nothing.
    Refuse,
}

/// A reply that is the server's, and the request it answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reply {
    /// A decision.
    Decided(Answer),
    /// An accept that does not prove what MS-CHAPv2 asks for.
    Unproven,
    /// Without a Message-Authenticator: its sender is not proven.
    Unsigned,
    /// Authentic, and no answer to an Access-Request.
    Other(Code),
}

/// What a datagram says to the request; `None` when it is not the server's answer to it.
pub(super) fn read(
    reply: &Packet<'_>,
    identifier: u8,
    authenticator: &[u8; 16],
    exchange: Option<&Exchange>,
    keys: &SecretKeys,
    unsigned: Unsigned,
) -> Option<Reply> {
    let authenticator = RequestAuthenticator(*authenticator);
    match verify::response(reply, identifier, &authenticator, keys) {
        Ok(Signature::Absent) if unsigned == Unsigned::Refuse => return Some(Reply::Unsigned),
        Ok(Signature::Absent | Signature::Valid) => {}
        Err(_) => return None,
    }
    Some(match reply.code {
        Code::AccessAccept if exchange.is_some_and(|exchange| !is_proven(reply, exchange)) => {
            Reply::Unproven
        }
        Code::AccessAccept => Reply::Decided(Answer::Accept),
        Code::AccessReject => Reply::Decided(Answer::Reject),
        Code::AccessChallenge => Reply::Decided(Answer::Challenge),
        code => Reply::Other(code),
    })
}

fn is_proven(reply: &Packet<'_>, exchange: &Exchange) -> bool {
    reply
        .attributes
        .iter()
        .filter_map(|attribute| attribute.vendor())
        .filter(|vendor| vendor.number == mschap::VENDOR)
        .any(|vendor| {
            vendor
                .iter()
                .any(|(r#type, value)| r#type == mschap::SUCCESS && exchange.is_proven_by(value))
        })
}

/// NAS-Identifier of the load, so that audit and policies can tell it from people.
const NAS: &[u8] = b"oncegate-bench";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::radius::password;
    use crate::radius::reply::ReplyBuilder;
    use crate::radius::verify::Rule;
    use crate::secret::{SecretBytes, SharedSecret};

    fn keys(secret: &[u8]) -> SecretKeys {
        SecretKeys::new(SharedSecret::new(SecretBytes::from(secret)).unwrap())
    }

    const NONCE: Nonce = Nonce {
        authenticator: [7; 16],
        peer: [9; 16],
    };

    fn request(method: Method) -> (Vec<u8>, Option<Exchange>) {
        let mut datagram = Vec::new();
        let login = ("alice", &b"755224"[..]);
        let exchange = build(&mut datagram, method, 3, &NONCE, login, &keys(b"s")).unwrap();
        (datagram, exchange)
    }

    #[test]
    fn requests_satisfy_the_strictest_client_rule() {
        for method in [Method::Pap, Method::Chap, Method::Mschapv2] {
            let (datagram, exchange) = request(method);
            let packet = Packet::parse(&datagram).unwrap();
            assert!(verify::request(&packet, &keys(b"s"), Rule::Required).is_ok());
            assert_eq!(exchange.is_some(), method == Method::Mschapv2);
        }
        let (datagram, _) = request(Method::Pap);
        let packet = Packet::parse(&datagram).unwrap();
        let hidden = packet.first(Type::UserPassword).unwrap();
        let typed = password::reveal(hidden, &packet.request_authenticator(), &keys(b"s"));
        assert_eq!(typed.unwrap().expose(), b"755224");
    }

    fn answer(code: Code, success: Option<&[u8]>, secret: &[u8]) -> Vec<u8> {
        let (datagram, _) = request(Method::Mschapv2);
        let packet = Packet::parse(&datagram).unwrap();
        let mut octets = Vec::new();
        let sign = MessageAuthenticator::First;
        let mut reply = ReplyBuilder::new(&mut octets, code, &packet, sign);
        if let Some(success) = success {
            reply
                .vendor(mschap::VENDOR, mschap::SUCCESS, success)
                .unwrap();
        }
        reply.finish(&keys(secret)).unwrap();
        octets
    }

    #[test]
    fn an_accept_must_be_signed_and_proven() {
        let (_, exchange) = request(Method::Mschapv2);
        let said = |octets: &[u8], exchange| {
            let reply = Packet::parse(octets).unwrap();
            let unsigned = Unsigned::Refuse;
            read(
                &reply,
                3,
                &NONCE.authenticator,
                exchange,
                &keys(b"s"),
                unsigned,
            )
        };
        let accept = answer(Code::AccessAccept, None, b"s");
        let accepted = Some(Reply::Decided(Answer::Accept));
        assert_eq!(said(&accept, None), accepted);
        assert_eq!(said(&accept, exchange.as_ref()), Some(Reply::Unproven));
        let reject = answer(Code::AccessReject, None, b"s");
        assert_eq!(
            said(&reject, exchange.as_ref()),
            Some(Reply::Decided(Answer::Reject))
        );
        let other = answer(Code::ProtocolError, None, b"s");
        assert_eq!(said(&other, None), Some(Reply::Other(Code::ProtocolError)));
        let forged = answer(Code::AccessAccept, None, b"other");
        assert_eq!(said(&forged, None), None);
    }

    #[test]
    fn an_unsigned_reply_counts_only_where_that_is_allowed() {
        let (datagram, _) = request(Method::Pap);
        let packet = Packet::parse(&datagram).unwrap();
        let mut octets = Vec::new();
        let sign = MessageAuthenticator::Omit;
        ReplyBuilder::new(&mut octets, Code::AccessAccept, &packet, sign)
            .finish(&keys(b"s"))
            .unwrap();
        let reply = Packet::parse(&octets).unwrap();
        let said = |unsigned, secret: &[u8]| {
            let nonce = &NONCE.authenticator;
            read(&reply, 3, nonce, None, &keys(secret), unsigned)
        };
        assert_eq!(said(Unsigned::Refuse, b"s"), Some(Reply::Unsigned));
        let accepted = Some(Reply::Decided(Answer::Accept));
        assert_eq!(said(Unsigned::Allow, b"s"), accepted);
        assert_eq!(said(Unsigned::Allow, b"other"), None);
    }
}
