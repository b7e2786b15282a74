//! EAP packets and the methods that carry codes. Pure: states and secrets are the caller's.
//!
//! ```text
//! Code 1 | Identifier 1 | Length 2 | Type 1 | Type-Data ...        RFC 3748 s4
//! ```
//!
//! Sources: RFC 3748 (EAP, MD5-Challenge, GTC), RFC 3579 (EAP in RADIUS), draft-kamath-pppext-eap-mschapv2,
//! RFC 5281 (EAP-TTLS), draft-kamath-pppext-peapv0, RFC 9427 (keys by TLS 1.3).
//!
//! Invariants: a length inside a packet is never believed beyond the packet; what is gathered from several
//! packets has a limit ([`tls::MOST`]).

pub mod mschap;
pub mod peap;
pub mod tls;
pub mod ttls;

use crate::radius::attribute::Type;
use crate::radius::packet::Packet;
use crate::wire::Reader;

/// What a packet is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Code {
    /// To the peer.
    Request,
    /// From the peer.
    Response,
}

/// A request or a response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Message<'a> {
    /// Which of them.
    pub code: Code,
    /// Matches responses with requests.
    pub identifier: u8,
    /// The method, see [`kind`].
    pub kind: u8,
    /// What the method says.
    pub data: &'a [u8],
}

/// Types of requests and responses.
pub mod kind {
    /// Who the peer is.
    pub const IDENTITY: u8 = 1;
    /// Text for the person.
    pub const NOTIFICATION: u8 = 2;
    /// The peer wants other methods (responses only).
    pub const NAK: u8 = 3;
    /// MD5-Challenge.
    pub const MD5: u8 = 4;
    /// Generic Token Card.
    pub const GTC: u8 = 6;
    /// EAP-TTLS.
    pub const TTLS: u8 = 21;
    /// PEAP.
    pub const PEAP: u8 = 25;
    /// EAP-MSCHAPv2.
    pub const MS_CHAP_2: u8 = 26;
    /// The result of what is inside PEAP.
    pub const TLV: u8 = 33;
}

impl<'a> Message<'a> {
    /// Reads a packet; octets behind its Length are padding. `None`: it is no request or response, or not
    /// whole.
    pub fn parse(octets: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(octets);
        let code = match reader.u8()? {
            1 => Code::Request,
            2 => Code::Response,
            _ => return None,
        };
        let identifier = reader.u8()?;
        let length = u16::from_be_bytes([reader.u8()?, reader.u8()?]);
        let inside = reader.take(usize::from(length).checked_sub(HEADER)?)?;
        let (kind, data) = inside.split_first()?;
        Some(Self {
            code,
            identifier,
            kind: *kind,
            data,
        })
    }

    /// The packet; `None` above 65,535 octets.
    pub fn octets(&self) -> Option<Vec<u8>> {
        let length = u16::try_from(self.data.len() + HEADER + 1).ok()?;
        let code = match self.code {
            Code::Request => 1,
            Code::Response => 2,
        };
        let mut octets = vec![code, self.identifier];
        octets.extend(length.to_be_bytes());
        octets.push(self.kind);
        octets.extend(self.data);
        Some(octets)
    }

    /// The types that the peer wants in place of the one that was asked for; empty: none.
    pub fn wanted(&self) -> &'a [u8] {
        self.data
    }
}

/// The EAP packet of a request, put together (RFC 3579 s3.1); `None`: there is none. An empty one starts
/// a conversation.
pub fn joined(packet: &Packet<'_>) -> Option<Vec<u8>> {
    packet
        .has(Type::EapMessage)
        .then(|| packet.all(Type::EapMessage).flatten().copied().collect())
}

/// Encoded EAP-Message attributes with this packet.
pub fn attributes(octets: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(octets.len() + 16);
    for part in octets.chunks(VALUE) {
        let length = u8::try_from(part.len() + 2).unwrap_or(u8::MAX);
        encoded.extend([Type::EapMessage.0, length]);
        encoded.extend(part);
    }
    encoded
}

/// An EAP-Success.
pub const fn success(identifier: u8) -> [u8; 4] {
    [3, identifier, 0, 4]
}

/// The value of an MD5-Challenge request: the challenge with its length before it (RFC 3748 s5.4).
pub fn md5_challenge(challenge: &[u8; 16]) -> Vec<u8> {
    [&[16], challenge.as_slice()].concat()
}

/// The value of an MD5-Challenge response, as CHAP-Password has it. `None`: not 16 octets.
pub fn md5_response(identifier: u8, data: &[u8]) -> Option<[u8; 17]> {
    let (length, rest) = data.split_first()?;
    let (value, _name) = rest.split_first_chunk::<16>().filter(|_| *length == 16)?;
    let mut chap = [identifier; 17];
    let places = chap.iter_mut().skip(1);
    places.zip(value).for_each(|(to, from)| *to = *from);
    Some(chap)
}

/// Octets before the type.
const HEADER: usize = 4;
/// Most octets of an attribute's value.
const VALUE: usize = 253;

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_not_believed() {
        for octets in [
            &b""[..],
            b"\x02",
            b"\x02\x01\x00\x04",
            b"\x02\x01\x00\x05",
            b"\x02\x01\x00\x03\x01",
            b"\x02\x01\xff\xff\x01a",
            b"\x02\x01\x00\x00\x01a",
            b"\x03\x01\x00\x04",
            b"\x00\x01\x00\x05\x01",
        ] {
            assert_eq!(Message::parse(octets), None, "{octets:02x?}");
        }
        let message = Message::parse(b"\x02\x4d\x00\x0a\x01alice padding").unwrap();
        assert_eq!(
            (message.kind, message.data),
            (kind::IDENTITY, &b"alice"[..])
        );
        assert_eq!(message.octets().unwrap(), b"\x02\x4d\x00\x0a\x01alice");
    }

    #[test]
    fn long_packets_take_several_attributes() {
        let octets = attributes(&[7; 600]);
        let lengths: Vec<u8> = vec![octets[1], octets[256], octets[511]];
        assert_eq!((lengths, octets.len()), (vec![255, 255, 96], 606));
    }

    #[test]
    fn md5_responses_have_sixteen_octets() {
        let mut data = vec![16];
        data.extend([9; 16]);
        data.extend(b"name");
        assert_eq!(md5_response(5, &data).unwrap()[..2], [5, 9]);
        for bad in [&data[..16], &[15; 20], &[]] {
            assert_eq!(md5_response(5, bad), None);
        }
    }
}
