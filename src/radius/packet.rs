//! One RADIUS packet, read in place (RFC 2865 s3, s5).
//!
//! Invariants: a [`Packet`] spans exactly `Length` octets, so whatever is hashed later excludes
//! padding; its attributes were walked once when it was parsed, so iterating them cannot fail.
//! Nothing here trusts the peer: a parsed packet is well framed, not authentic. That is
//! [`crate::radius::verify`].
//!
//! Unknown codes and attribute types are kept as they came (RFC 2865 s5: unknown types are
//! ignored, never a reason to drop the packet); which codes are answered is the listener's matter.

use std::fmt;

use crate::radius::Discard;
use crate::radius::attribute::{Attribute, Attributes, Type};
use crate::wire::Reader;

/// A packet in the buffer it was received into.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Packet<'a> {
    /// What kind of packet.
    pub code: Code,
    /// Matches replies to requests; unique per source port, and only for a while.
    pub identifier: u8,
    /// Request or Response Authenticator, by the code.
    pub authenticator: &'a [u8; 16],
    /// The attributes, well framed.
    pub attributes: Attributes<'a>,
    octets: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads the packet at the start of a datagram. Octets beyond Length are padding and are cut
    /// off here (RFC 2865 s3), before anything can hash them.
    ///
    /// # Errors
    /// `TooShort`, `BadLength`, `MalformedAttribute`, `TooManyAttributes`.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Discard> {
        let mut header = Reader::new(datagram);
        let code = header.u8().ok_or(Discard::TooShort)?;
        let identifier = header.u8().ok_or(Discard::TooShort)?;
        let length = usize::from(header.u16().ok_or(Discard::TooShort)?);
        let authenticator = header.take_array().ok_or(Discard::TooShort)?;
        // RFC 2865 s3: minimum 20, maximum 4096; shorter datagram than Length: silently discard.
        if !(HEADER..=MAX_LENGTH).contains(&length) {
            return Err(Discard::BadLength);
        }
        let octets = Reader::new(datagram)
            .take(length)
            .ok_or(Discard::BadLength)?;
        let attributes = header.take(length - HEADER).ok_or(Discard::BadLength)?;
        let attributes = Attributes::parse(attributes)?;
        Ok(Self {
            code: Code(code),
            identifier,
            authenticator,
            attributes,
            octets,
        })
    }

    /// The packet as received: `Length` octets, no padding.
    pub const fn octets(&self) -> &'a [u8] {
        self.octets
    }
    /// Value of the first attribute of a type.
    pub fn first(&self, r#type: Type) -> Option<&'a [u8]> {
        self.all(r#type).next()
    }

    /// Values of all attributes of a type, in order.
    pub fn all(&self, r#type: Type) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.attributes
            .iter()
            .filter(move |attribute: &Attribute<'a>| attribute.r#type == r#type)
            .map(|attribute| attribute.value)
    }

    /// Whether an attribute of the type occurs.
    pub fn has(&self, r#type: Type) -> bool {
        self.first(r#type).is_some()
    }
}

/// A packet that was read, with its own copy of the octets: what a job keeps after the receive buffer is
/// used again.
pub struct OwnedPacket {
    code: Code,
    identifier: u8,
    authenticator: [u8; 16],
    octets: Vec<u8>,
}

impl OwnedPacket {
    /// The packet as it was read; nothing is parsed again.
    pub fn borrow(&self) -> Packet<'_> {
        let attributes = self.octets.get(HEADER..).unwrap_or_default();
        Packet {
            code: self.code,
            identifier: self.identifier,
            authenticator: &self.authenticator,
            attributes: Attributes::walked(attributes),
            octets: &self.octets,
        }
    }
}

impl From<Packet<'_>> for OwnedPacket {
    fn from(packet: Packet<'_>) -> Self {
        Self {
            code: packet.code,
            identifier: packet.identifier,
            authenticator: *packet.authenticator,
            octets: packet.octets.to_vec(),
        }
    }
}

/// Header and attribute types only: values may be credentials.
impl fmt::Debug for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet")
            .field("code", &self.code)
            .field("identifier", &self.identifier)
            .field("length", &self.octets.len())
            .field("attributes", &self.attributes)
            .finish_non_exhaustive()
    }
}

/// Packet type (RFC 2865 s4, RFC 2866 s4, RFC 5176 s3, RFC 5997 s3).
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Code(pub u8);

/// The codes of the IANA registry that we name, in its order.
#[allow(non_upper_case_globals)] // IANA spelling turned to Rust: `Code::AccessRequest`
impl Code {
    /// Asks whether a user may log in.
    pub const AccessRequest: Self = Self(1);
    /// They may.
    pub const AccessAccept: Self = Self(2);
    /// They may not.
    pub const AccessReject: Self = Self(3);
    /// Reports the start, course or end of a session.
    pub const AccountingRequest: Self = Self(4);
    /// The report was stored.
    pub const AccountingResponse: Self = Self(5);
    /// One more question first.
    pub const AccessChallenge: Self = Self(11);
    /// Asks whether the server is there (RFC 5997).
    pub const StatusServer: Self = Self(12);
    /// Ends a session (RFC 5176), sent by the server.
    pub const DisconnectRequest: Self = Self(40);
    /// The session was ended.
    pub const DisconnectAck: Self = Self(41);
    /// The session was not ended.
    pub const DisconnectNak: Self = Self(42);
    /// Changes a session (RFC 5176), sent by the server.
    pub const CoaRequest: Self = Self(43);
    /// The session was changed.
    pub const CoaAck: Self = Self(44);
    /// The session was not changed.
    pub const CoaNak: Self = Self(45);
    /// The request cannot be answered for a reason of protocol (RFC 7930 s4).
    pub const ProtocolError: Self = Self(52);

    /// IANA name, where we know one.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::AccessRequest => "Access-Request",
            Self::AccessAccept => "Access-Accept",
            Self::AccessReject => "Access-Reject",
            Self::AccountingRequest => "Accounting-Request",
            Self::AccountingResponse => "Accounting-Response",
            Self::AccessChallenge => "Access-Challenge",
            Self::StatusServer => "Status-Server",
            Self::DisconnectRequest => "Disconnect-Request",
            Self::DisconnectAck => "Disconnect-ACK",
            Self::DisconnectNak => "Disconnect-NAK",
            Self::CoaRequest => "CoA-Request",
            Self::CoaAck => "CoA-ACK",
            Self::CoaNak => "CoA-NAK",
            Self::ProtocolError => "Protocol-Error",
            _ => return None,
        })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Octets before the attributes: Code, Identifier, Length, Authenticator.
pub const HEADER: usize = 20;

/// Longest packet over UDP (RFC 2865 s3). A receive buffer must be larger by one octet at least,
/// or a truncated datagram looks like a whole one.
pub const MAX_LENGTH: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(length: u16, attributes: &[u8]) -> Vec<u8> {
        let mut octets = vec![1, 7];
        octets.extend(length.to_be_bytes());
        octets.extend([0xaa; 16]);
        octets.extend(attributes);
        octets
    }

    #[test]
    fn padding_is_cut_before_anything_sees_it() {
        let octets = datagram(25, &[1, 5, b'b', b'o', b'b', 80, 18, 0, 0]);
        let packet = Packet::parse(&octets).unwrap();
        assert_eq!(packet.octets(), &octets[..25]);
        assert_eq!(packet.first(Type::UserName), Some(&b"bob"[..]));
        assert_eq!(packet.attributes.iter().count(), 1);
    }

    #[test]
    fn an_owned_packet_is_the_one_that_was_read() {
        let octets = datagram(25, &[1, 5, b'b', b'o', b'b', 80, 18, 0, 0]);
        let packet = Packet::parse(&octets).unwrap();
        assert_eq!(OwnedPacket::from(packet).borrow(), packet);
    }

    #[test]
    fn padding_may_exceed_the_largest_packet() {
        let octets = datagram(20, &[0; 5000]);
        assert_eq!(Packet::parse(&octets).unwrap().octets().len(), 20);
    }

    #[test]
    fn length_is_held_to_its_range() {
        let parse = |octets: Vec<u8>| Packet::parse(&octets).map(|_| ());
        assert_eq!(parse(Vec::new()), Err(Discard::TooShort));
        assert_eq!(
            parse(datagram(20, &[])[..19].to_vec()),
            Err(Discard::TooShort)
        );
        assert_eq!(parse(datagram(19, &[])), Err(Discard::BadLength));
        assert_eq!(parse(datagram(21, &[])), Err(Discard::BadLength));
        assert_eq!(parse(datagram(4097, &[0; 4077])), Err(Discard::BadLength));
        assert_eq!(parse(datagram(20, &[])), Ok(()));
    }

    #[test]
    fn attribute_may_not_reach_into_the_padding() {
        let octets = datagram(24, &[1, 5, b'b', b'o', b'b']);
        assert_eq!(
            Packet::parse(&octets).unwrap_err(),
            Discard::MalformedAttribute
        );
    }

    #[test]
    fn debug_shows_no_values() {
        let octets = datagram(38, &[[2, 18].as_slice(), b"0123456789abcdef"].concat());
        let text = format!("{:?}", Packet::parse(&octets).unwrap());
        assert_eq!(
            text,
            "Packet { code: Access-Request, identifier: 7, length: 38, \
             attributes: [User-Password], .. }"
        );
    }

    #[test]
    fn unknown_code_survives() {
        assert_eq!(Code(77).to_string(), "77");
        assert_eq!(Code::ProtocolError.to_string(), "Protocol-Error");
    }
}
