//! RADIUS/1.1 (RFC 9765): the same packets without MD5, for connections over TLS 1.3.
//!
//! ```text
//! Code  Reserved-1  Length  Token (4)  Reserved-2 (12)  attributes; User-Password and others in clear
//! ```
//!
//! A request becomes a packet of RADIUS/1.0 under the fixed secret of RADIUS over TLS, and its reply is turned
//! back: one pipeline decides for all transports.
//!
//! Invariants: a Message-Authenticator is ignored and never sent (RFC 9765 s5.2); a reply carries the Token of
//! its request; nothing hidden with MD5 leaves.

use crate::radius::attribute::{Attribute, Type};
use crate::radius::authenticator::{RequestAuthenticator, SecretKeys};
use crate::radius::encode::{Authenticator, BuildError, Encoder, MessageAuthenticator};
use crate::radius::packet::{Code, HEADER, Packet};
use crate::radius::{Discard, password};
use crate::secret::SecretBytes;
use crate::wire::Reader;

/// Binds a reply to its request; unique on a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Token(pub [u8; 4]);

/// Reads a request of RADIUS/1.1 and writes it to `out` as one of RADIUS/1.0.
///
/// # Errors
/// As [`Packet::parse`]; `BadUserPasswordLength` where a password is longer than 128 octets.
pub fn request(octets: &[u8], keys: &SecretKeys, out: &mut Vec<u8>) -> Result<Token, Discard> {
    let packet = Packet::parse(octets)?;
    let (token, _) = packet
        .authenticator
        .split_first_chunk::<4>()
        .ok_or(Discard::TooShort)?;
    let token = Token(*token);
    let mut authenticator = [0; 16];
    for (place, octet) in authenticator.iter_mut().zip(token.0) {
        *place = octet;
    }
    let too_large = |_: BuildError| Discard::BadLength;
    // In 1.1 the octet of the Identifier is reserved.
    let mut encoder = Encoder::new(out, packet.code, 0, MessageAuthenticator::First);
    for Attribute { r#type, value, .. } in &packet.attributes {
        match r#type {
            Type::MessageAuthenticator => {}
            Type::UserPassword => {
                let hidden = password::hide(value, &RequestAuthenticator(authenticator), keys);
                let hidden = hidden.map_err(|_| Discard::BadUserPasswordLength)?;
                encoder.copy(r#type, &hidden).map_err(too_large)?;
            }
            _ => encoder.copy(r#type, value).map_err(too_large)?,
        }
    }
    let authenticator = match packet.code {
        Code::AccessRequest | Code::StatusServer => Authenticator::Random(authenticator),
        _ => Authenticator::Digest([0; 16]),
    };
    encoder.finish(authenticator, keys).map_err(too_large)?;
    Ok(token)
}

/// Turns a request of ours, without hidden attributes, into one of RADIUS/1.1.
///
/// # Errors
/// When it is malformed.
pub fn own_request(octets: &[u8], token: Token) -> Result<Vec<u8>, Discard> {
    let packet = Packet::parse(octets)?;
    let mut out = vec![packet.code.0, 0, 0, 0];
    out.extend(token.0);
    out.resize(HEADER, 0);
    for Attribute { r#type, value, .. } in &packet.attributes {
        if r#type != Type::MessageAuthenticator {
            let length = u8::try_from(value.len() + 2).map_err(|_| Discard::MalformedAttribute)?;
            out.extend([r#type.0, length]);
            out.extend(value);
        }
    }
    sized(out)
}

/// Turns the reply to a request that [`request`] made into one of RADIUS/1.1.
///
/// # Errors
/// When the reply is malformed.
pub fn reply(
    octets: &[u8],
    token: Token,
    request: &[u8],
    keys: &SecretKeys,
) -> Result<Vec<u8>, Discard> {
    let packet = Packet::parse(octets)?;
    let authenticator = Packet::parse(request)?.request_authenticator();
    let mut out = vec![packet.code.0, 0, 0, 0];
    out.extend(token.0);
    out.resize(HEADER, 0);
    for Attribute { r#type, value, .. } in &packet.attributes {
        let value = match r#type {
            Type::MessageAuthenticator => continue,
            Type::TunnelPassword => tunnel_password(value, &authenticator, keys)?,
            Type::VendorSpecific => vendor(value, &authenticator, keys)?,
            _ => value.to_vec(),
        };
        let length = u8::try_from(value.len() + 2).map_err(|_| Discard::MalformedAttribute)?;
        out.extend([r#type.0, length]);
        out.extend(value);
    }
    sized(out)
}

/// Writes the Length of a packet into it.
fn sized(mut packet: Vec<u8>) -> Result<Vec<u8>, Discard> {
    let length = u16::try_from(packet.len()).map_err(|_| Discard::BadLength)?;
    if let Some(place) = packet.get_mut(2..4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    Ok(packet)
}

/// A tag and the password itself, without the salt.
fn tunnel_password(
    value: &[u8],
    authenticator: &RequestAuthenticator,
    keys: &SecretKeys,
) -> Result<Vec<u8>, Discard> {
    let (tag, hidden) = value.split_first().ok_or(Discard::MalformedAttribute)?;
    let plain = password::reveal_salted(hidden, authenticator, keys);
    let plain = plain.ok_or(Discard::MalformedAttribute)?;
    Ok([&[*tag], plain.expose()].concat())
}

/// The keys of RFC 2548 in clear; anything else as it is.
fn vendor(
    value: &[u8],
    authenticator: &RequestAuthenticator,
    keys: &SecretKeys,
) -> Result<Vec<u8>, Discard> {
    let mut reader = Reader::new(value);
    let (number, kind) = (reader.u32(), reader.u8());
    let hidden = value.get(6..).unwrap_or_default();
    let plain = match kind {
        _ if number != Some(MICROSOFT) => return Ok(value.to_vec()),
        Some(MPPE_SEND_KEY | MPPE_RECV_KEY) => {
            let plain = password::reveal_salted(hidden, authenticator, keys);
            plain.ok_or(Discard::MalformedAttribute)?
        }
        // Hidden as a password is, without a length: its zeros are a part of it (RFC 2548 s2.4.1).
        Some(CHAP_MPPE_KEYS) => {
            let plain = password::reveal(hidden, authenticator, keys)?;
            let mut whole = Vec::with_capacity(hidden.len());
            whole.extend_from_slice(plain.expose());
            whole.resize(hidden.len(), 0);
            SecretBytes::new(whole)
        }
        _ => return Ok(value.to_vec()),
    };
    let length = u8::try_from(plain.expose().len() + 2).map_err(|_| Discard::MalformedAttribute)?;
    let head = value.get(..5).unwrap_or_default();
    Ok([head, &[length], plain.expose()].concat())
}

const MICROSOFT: u32 = 311;
const CHAP_MPPE_KEYS: u8 = 12;
const MPPE_SEND_KEY: u8 = 16;
const MPPE_RECV_KEY: u8 = 17;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::radius::reply::ReplyBuilder;
    use crate::radius::verify;
    use crate::radius::verify::Rule;
    use crate::secret::SharedSecret;

    fn keys() -> SecretKeys {
        SecretKeys::new(SharedSecret::new(SecretBytes::from(&b"radsec"[..])).unwrap())
    }

    fn v11(code: u8, attributes: &[(u8, &[u8])]) -> Vec<u8> {
        let mut octets = vec![code, 0, 0, 0, 9, 8, 7, 6];
        octets.resize(20, 0);
        for (r#type, value) in attributes {
            octets.extend([*r#type, u8::try_from(value.len() + 2).unwrap()]);
            octets.extend(*value);
        }
        let length = u16::try_from(octets.len()).unwrap();
        octets[2..4].copy_from_slice(&length.to_be_bytes());
        octets
    }

    #[test]
    fn a_request_becomes_a_signed_one_with_its_password_hidden() {
        let octets = v11(1, &[(1, b"alice"), (2, b"755224"), (80, &[0; 16])]);
        let mut old = Vec::new();
        assert_eq!(request(&octets, &keys(), &mut old), Ok(Token([9, 8, 7, 6])));
        let packet = Packet::parse(&old).unwrap();
        verify::request(&packet, &keys(), Rule::Required).unwrap();
        let hidden = packet.first(Type::UserPassword).unwrap();
        let plain = password::reveal(hidden, &packet.request_authenticator(), &keys()).unwrap();
        assert_eq!(plain.expose(), b"755224");
        let report = v11(4, &[(40, &[0, 0, 0, 1]), (44, b"1")]);
        request(&report, &keys(), &mut old).unwrap();
        verify::accounting_request(&Packet::parse(&old).unwrap(), &keys()).unwrap();
        let long = v11(1, &[(2, &[b'x'; 129])]);
        assert_eq!(
            request(&long, &keys(), &mut old),
            Err(Discard::BadUserPasswordLength)
        );
    }

    #[test]
    fn a_reply_has_the_token_and_nothing_of_md5() {
        let (keys, octets) = (keys(), v11(1, &[(1, b"alice")]));
        let mut old = Vec::new();
        let token = request(&octets, &keys, &mut old).unwrap();
        let asked = Packet::parse(&old).unwrap();
        let authenticator = asked.request_authenticator();
        let hidden = password::hide_salted(b"key", &authenticator, &keys, 7).unwrap();
        let mut answer = Vec::new();
        let sign = MessageAuthenticator::First;
        let mut builder = ReplyBuilder::new(&mut answer, Code::AccessAccept, &asked, sign);
        let tunnel = [&[1], &hidden[..]].concat();
        builder.attribute(Type::TunnelPassword, &tunnel).unwrap();
        builder.vendor(MICROSOFT, MPPE_SEND_KEY, &hidden).unwrap();
        builder.attribute(Type::ReplyMessage, b"hello").unwrap();
        builder.finish(&keys).unwrap();
        let new = reply(&answer, token, &old, &keys).unwrap();
        assert_eq!(&new[..8], &[2, 0, 0, 44, 9, 8, 7, 6]);
        let new = Packet::parse(&new).unwrap();
        assert!(!new.has(Type::MessageAuthenticator));
        assert_eq!(new.first(Type::TunnelPassword), Some(&b"\x01key"[..]));
        let vendor = new.first(Type::VendorSpecific).unwrap();
        assert_eq!(vendor, [&[0, 0, 1, 55, 16, 5], &b"key"[..]].concat());
        assert_eq!(new.first(Type::ReplyMessage), Some(&b"hello"[..]));
    }

    #[test]
    fn keys_of_ms_chap_go_in_clear_with_their_zeros() {
        let (keys, octets) = (keys(), v11(1, &[(1, b"alice")]));
        let mut old = Vec::new();
        let token = request(&octets, &keys, &mut old).unwrap();
        let asked = Packet::parse(&old).unwrap();
        let plain = [&[0x4b; 24][..], &[0; 8]].concat();
        let hidden = password::hide(&plain, &asked.request_authenticator(), &keys).unwrap();
        let mut answer = Vec::new();
        let sign = MessageAuthenticator::First;
        let mut builder = ReplyBuilder::new(&mut answer, Code::AccessAccept, &asked, sign);
        builder.vendor(MICROSOFT, CHAP_MPPE_KEYS, &hidden).unwrap();
        builder.finish(&keys).unwrap();
        let new = reply(&answer, token, &old, &keys).unwrap();
        let new = Packet::parse(&new).unwrap();
        let vendor = new.first(Type::VendorSpecific).unwrap();
        assert_eq!(vendor, [&[0, 0, 1, 55, 12, 34], &plain[..]].concat());
    }
}
