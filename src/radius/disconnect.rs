//! Disconnect-Request and CoA-Request: a session to octets, and what a NAS answers (RFC 5176).
//!
//! The session is named as the NAS itself named it: User-Name, Acct-Session-Id and the NAS's own name or
//! address, and nothing else but what is to change. A NAS refuses a request with an attribute that it does not know (Error-Cause
//! 401), as hostapd does.
//!
//! Invariant: a request that is sent again is the same octets, Event-Timestamp included (RFC 5176 s3.5).

use std::net::IpAddr;

use crate::model::session::Session;
use crate::radius::attribute::Type;
use crate::radius::authenticator::{RequestAuthenticator, SecretKeys};
use crate::radius::encode::{BuildError, MessageAuthenticator};
use crate::radius::packet::{Code, Packet};
use crate::radius::request::RequestBuilder;
use crate::radius::verify;
use crate::time::UnixTime;

/// A request about a session, ready to be sent.
#[derive(Debug)]
pub struct Request {
    /// Its octets.
    pub octets: Vec<u8>,
    identifier: u8,
    code: Code,
}

/// What a NAS answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// Disconnect-ACK or CoA-ACK: the session is at its end, or changed.
    Ack,
    /// Disconnect-NAK or CoA-NAK: it is not, and Error-Cause says why.
    Nak(Option<u32>),
}

impl Request {
    /// Asks the NAS of a session to end it, or to change it to these attributes, encoded.
    ///
    /// # Errors
    /// When a name is longer than an attribute, or the whole longer than a packet.
    pub fn new(
        session: &Session,
        change: Option<&[u8]>,
        at: UnixTime,
        identifier: u8,
        keys: &SecretKeys,
    ) -> Result<Self, BuildError> {
        let mut octets = Vec::new();
        let code = match change {
            None => Code::DisconnectRequest,
            Some(_) => Code::CoaRequest,
        };
        let mut request = RequestBuilder::new(
            &mut octets,
            code,
            identifier,
            RequestAuthenticator([0; 16]),
            MessageAuthenticator::First,
        );
        let user = session.user_name.as_deref().unwrap_or(&session.user);
        for (r#type, text) in [
            (Type::UserName, user),
            (Type::AcctSessionId, &session.key.id),
        ] {
            if !text.is_empty() {
                request.attribute(r#type, &as_sent(text))?;
            }
        }
        // A NAS that gave no name of its own is called by its address.
        if session.key.nas.parse::<IpAddr>().is_err() {
            request.attribute(Type::NasIdentifier, &as_sent(&session.key.nas))?;
        }
        match session.nas_ip {
            Some(IpAddr::V4(address)) => {
                request.attribute(Type::NasIpAddress, &address.octets())?;
            }
            Some(IpAddr::V6(address)) => {
                request.attribute(Type::NasIpv6Address, &address.octets())?;
            }
            None => {}
        }
        let seconds = u32::try_from(at.as_millis() / 1_000).unwrap_or(u32::MAX);
        request.attribute(Type::EventTimestamp, &seconds.to_be_bytes())?;
        if let Some(change) = change {
            request.encoded(change)?;
        }
        request.finish(keys)?;
        Ok(Self {
            octets,
            identifier,
            code,
        })
    }

    /// Reads what may be an answer to it; `None`: it is not one that the NAS made.
    pub fn answer(&self, datagram: &[u8], keys: &SecretKeys) -> Option<Answer> {
        let reply = Packet::parse(datagram).ok()?;
        let sent = Packet::parse(&self.octets).ok()?.request_authenticator();
        // A Message-Authenticator in it is an HMAC over the request's authenticator (RFC 5176 s3.4).
        verify::response(&reply, self.identifier, &sent, keys).ok()?;
        self.read(&reply)
    }

    /// The same of an answer over RADIUS/1.1, which the connection has proven.
    pub fn answer_v11(&self, octets: &[u8]) -> Option<Answer> {
        self.read(&Packet::parse(octets).ok()?)
    }

    fn read(&self, reply: &Packet<'_>) -> Option<Answer> {
        match (self.code, reply.code) {
            (Code::DisconnectRequest, Code::DisconnectAck) | (Code::CoaRequest, Code::CoaAck) => {
                Some(Answer::Ack)
            }
            (Code::DisconnectRequest, Code::DisconnectNak) | (Code::CoaRequest, Code::CoaNak) => {
                let cause = reply.first(Type::ErrorCause);
                let cause = cause.and_then(|octets| <[u8; 4]>::try_from(octets).ok());
                Some(Answer::Nak(cause.map(u32::from_be_bytes)))
            }
            _ => None,
        }
    }
}

/// The octets of a name as accounting keeps it: hexadecimal digits where it is not printable.
fn as_sent(text: &str) -> Vec<u8> {
    let digits = text.strip_prefix("0x");
    let octets = digits.and_then(|digits| data_encoding::HEXLOWER.decode(digits.as_bytes()).ok());
    octets.unwrap_or_else(|| text.as_bytes().to_vec())
}

/// The name of an Error-Cause (RFC 5176 s3.5).
pub const fn error_cause(cause: u32) -> Option<&'static str> {
    Some(match cause {
        201 => "Residual-Session-Context-Removed",
        202 => "Invalid-EAP-Packet",
        401 => "Unsupported-Attribute",
        402 => "Missing-Attribute",
        403 => "NAS-Identification-Mismatch",
        404 => "Invalid-Request",
        405 => "Unsupported-Service",
        406 => "Unsupported-Extension",
        407 => "Invalid-Attribute-Value",
        501 => "Administratively-Prohibited",
        502 => "Request-Not-Routable",
        503 => "Session-Context-Not-Found",
        504 => "Session-Context-Not-Removable",
        505 => "Other-Proxy-Processing-Error",
        506 => "Resources-Unavailable",
        507 => "Request-Initiated",
        508 => "Multiple-Session-Selection-Unsupported",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::session::{SessionKey, Usage};
    use crate::radius::encode::{Authenticator, Encoder};
    use crate::secret::{SecretBytes, SharedSecret};

    fn keys(secret: &str) -> SecretKeys {
        SecretKeys::new(SharedSecret::new(SecretBytes::from(secret.as_bytes())).unwrap())
    }

    fn session() -> Session {
        Session {
            key: SessionKey {
                client: "vpn".into(),
                nas: "gate".into(),
                id: "0xff00".into(),
            },
            user: "alice@default".into(),
            user_name: Some("Alice".into()),
            login: None,
            nas_ip: Some("192.0.2.7".parse().unwrap()),
            source: None,
            calling_station: None,
            framed_ip: None,
            started: UnixTime::from_millis(1_000),
            updated: UnixTime::from_millis(1_000),
            ended: None,
            cause: None,
            usage: Usage::default(),
        }
    }

    fn reply(request: &Request, code: Code, cause: Option<u32>, secret: &str) -> Vec<u8> {
        let sent = Packet::parse(&request.octets).unwrap();
        let mut octets = Vec::new();
        let sign = MessageAuthenticator::First;
        let mut encoder = Encoder::new(&mut octets, code, sent.identifier, sign);
        if let Some(cause) = cause {
            let cause = cause.to_be_bytes();
            encoder.attribute(Type::ErrorCause, &cause).unwrap();
        }
        let authenticator = Authenticator::Digest(*sent.authenticator);
        encoder.finish(authenticator, &keys(secret)).unwrap();
        octets
    }

    #[test]
    fn a_session_is_named_as_the_nas_named_it_and_the_request_is_signed() {
        let keys = keys("a shared secret");
        let at = UnixTime::from_millis(1_800_000_000_500);
        let request = Request::new(&session(), None, at, 9, &keys).unwrap();
        let packet = Packet::parse(&request.octets).unwrap();
        assert_eq!(packet.code, Code::DisconnectRequest);
        assert_eq!(packet.octets()[20], Type::MessageAuthenticator.0);
        assert_eq!(packet.first(Type::UserName), Some(&b"Alice"[..]));
        assert_eq!(packet.first(Type::AcctSessionId), Some(&[0xff, 0][..]));
        assert_eq!(packet.first(Type::NasIdentifier), Some(&b"gate"[..]));
        assert_eq!(packet.first(Type::NasIpAddress), Some(&[192, 0, 2, 7][..]));
        let stamp = 1_800_000_000_u32.to_be_bytes();
        assert_eq!(packet.first(Type::EventTimestamp), Some(&stamp[..]));
        let zero = [0; 16];
        crate::radius::authenticator::verify_request_authenticator(&packet, &keys).unwrap();
        crate::radius::authenticator::verify_message_authenticator(&packet, &keys, &zero).unwrap();
    }

    #[test]
    fn only_the_nas_itself_is_believed() {
        let (ours, others) = ("a shared secret", "another secret");
        let at = UnixTime::from_millis(0);
        let request = Request::new(&session(), None, at, 9, &keys(ours)).unwrap();
        let heard = |octets: &[u8]| request.answer(octets, &keys(ours));
        let ack = reply(&request, Code::DisconnectAck, None, ours);
        assert_eq!(heard(&ack), Some(Answer::Ack));
        let nak = reply(&request, Code::DisconnectNak, Some(503), ours);
        assert_eq!(heard(&nak), Some(Answer::Nak(Some(503))));
        assert_eq!(error_cause(503), Some("Session-Context-Not-Found"));
        let forged = reply(&request, Code::DisconnectAck, None, others);
        assert_eq!(heard(&forged), None);
        let coa = reply(&request, Code::CoaAck, None, ours);
        assert_eq!(heard(&coa), None);
        let mut other = ack.clone();
        other[1] ^= 1;
        assert_eq!(heard(&other), None);
        assert_eq!(heard(&ack[..19]), None);
        assert_eq!(heard(b""), None);
    }

    #[test]
    fn a_change_names_the_session_and_what_it_becomes() {
        let keys = keys("a shared secret");
        let at = UnixTime::from_millis(1_800_000_000_500);
        let change = [27, 6, 0, 0, 2, 88];
        let request = Request::new(&session(), Some(&change), at, 9, &keys).unwrap();
        let packet = Packet::parse(&request.octets).unwrap();
        assert_eq!(packet.code, Code::CoaRequest);
        assert_eq!(packet.first(Type::AcctSessionId), Some(&[0xff, 0][..]));
        assert!(packet.has(Type::EventTimestamp) && packet.has(Type::MessageAuthenticator));
        assert_eq!(packet.first(Type::SessionTimeout), Some(&[0, 0, 2, 88][..]));
        let heard =
            |code, cause| request.answer(&reply(&request, code, cause, "a shared secret"), &keys);
        assert_eq!(heard(Code::CoaAck, None), Some(Answer::Ack));
        assert_eq!(heard(Code::CoaNak, Some(404)), Some(Answer::Nak(Some(404))));
        assert_eq!(heard(Code::DisconnectAck, None), None);
        let whole = Request::new(&session(), Some(&[26; 4096]), at, 9, &keys);
        assert!(whole.is_err());
    }
}
