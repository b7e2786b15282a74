//! What requests and replies have in common when they are built: header, attributes, signature.
//!
//! Invariants: a finished packet parses again to the same attributes; a value that does not fit is
//! an error, never a truncation. While a packet is being built its Length reads 65535, which no
//! RADIUS peer accepts, and a failed build empties the buffer.

use crate::radius::attribute::{Attributes, MAX_ATTRIBUTES, Type};
use crate::radius::authenticator::SecretKeys;
use crate::radius::packet::{Code, HEADER, MAX_LENGTH};
use crate::wire::{Slot, Writer};

/// Whether a packet we build is signed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum MessageAuthenticator {
    /// As its first attribute: there it also protects clients that never look at it
    /// (CVE-2024-3596), since the attacker's prefix cannot contain it.
    #[default]
    First,
    /// Not at all. Only for a NAS that drops signed replies; such a client is open to
    /// CVE-2024-3596.
    Omit,
}

/// Why a packet was not built.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BuildError {
    /// RFC 2865 s5: Length is one octet and counts two of overhead.
    #[error("the value of {0} is longer than 253 octets")]
    ValueTooLong(Type),
    /// RFC 2865 s3.
    #[error("the packet would be longer than 4096 octets")]
    PacketTooLong,
    /// A peer with the same limit would drop it.
    #[error("the packet would have more than 200 attributes")]
    TooManyAttributes,
    /// Message-Authenticator and Proxy-State are set by the builder alone.
    #[error("{0} is not for the caller to set")]
    Reserved(Type),
    /// Octets passed as encoded attributes are not.
    #[error("the encoded attributes are malformed")]
    Malformed,
    /// RFC 2865 s5.2.
    #[error("the password is longer than 128 octets")]
    PasswordTooLong,
}

/// A packet under construction, in a buffer the caller owns and reuses.
#[derive(Debug)]
pub(crate) struct Encoder<'b> {
    writer: Writer<'b>,
    start: [u8; 2],
    length: Slot<2>,
    authenticator: Slot<16>,
    signature: Option<Slot<16>>,
    count: usize,
}

/// A packet under construction that callers append to: a request or a reply.
#[derive(Debug)]
pub struct Builder<'b, P> {
    pub(super) encoder: Encoder<'b>,
    pub(super) purpose: P,
}

impl<P> Builder<'_, P> {
    /// Appends a vendor's attribute.
    ///
    /// # Errors
    /// `ValueTooLong`, `PacketTooLong`, `TooManyAttributes`; nothing was appended.
    pub fn vendor(
        &mut self,
        vendor: u32,
        r#type: u8,
        value: &[u8],
    ) -> Result<&mut Self, BuildError> {
        self.encoder.vendor(vendor, r#type, value)?;
        Ok(self)
    }

    /// Appends attributes as [`crate::radius::dictionary::Dictionary::encode`] makes them.
    ///
    /// # Errors
    /// As [`Self::vendor`], and `Malformed`, `Reserved`.
    pub fn encoded(&mut self, attributes: &[u8]) -> Result<&mut Self, BuildError> {
        self.encoder.encoded(attributes)?;
        Ok(self)
    }
}

/// Which authenticator a packet is hashed with, and which it then carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Authenticator {
    /// Access-Request, Status-Server: this one, both times.
    Random([u8; 16]),
    /// A reply is hashed with the request's and carries a digest; accounting is hashed with zeros.
    Digest([u8; 16]),
}

impl<'b> Encoder<'b> {
    pub(crate) fn new(
        buffer: &'b mut Vec<u8>,
        code: Code,
        identifier: u8,
        sign: MessageAuthenticator,
    ) -> Self {
        let mut writer = Writer::new(buffer);
        let start = [code.0, identifier];
        writer.put(&start);
        let length = writer.reserve(UNREADABLE);
        let authenticator = writer.reserve([0; 16]);
        let signature = (sign == MessageAuthenticator::First).then(|| {
            writer.put(&[Type::MessageAuthenticator.0, 18]);
            writer.reserve([0; 16])
        });
        Self {
            writer,
            start,
            length,
            authenticator,
            count: usize::from(signature.is_some()),
            signature,
        }
    }

    pub(crate) fn attribute(&mut self, r#type: Type, value: &[u8]) -> Result<(), BuildError> {
        refuse_reserved(r#type)?;
        self.copy(r#type, value)
    }

    /// Appends an attribute of any type.
    pub(crate) fn copy(&mut self, r#type: Type, value: &[u8]) -> Result<(), BuildError> {
        let length = u8::try_from(value.len() + 2).map_err(|_| BuildError::ValueTooLong(r#type))?;
        self.make_room(usize::from(length), 1)?;
        self.writer.put(&[r#type.0, length]);
        self.writer.put(value);
        Ok(())
    }

    /// Appends a Vendor-Specific attribute with one sub-attribute (RFC 2865 s5.26).
    pub(crate) fn vendor(
        &mut self,
        vendor: u32,
        r#type: u8,
        value: &[u8],
    ) -> Result<(), BuildError> {
        let too_long = BuildError::ValueTooLong(Type::VendorSpecific);
        let inner = u8::try_from(value.len() + 2).map_err(|_| too_long)?;
        let outer = inner.checked_add(6).ok_or(too_long)?;
        self.make_room(usize::from(outer), 1)?;
        self.writer.put(&[Type::VendorSpecific.0, outer]);
        self.writer.u32(vendor);
        self.writer.put(&[r#type, inner]);
        self.writer.put(value);
        Ok(())
    }

    /// Appends attributes that are encoded already.
    pub(crate) fn encoded(&mut self, octets: &[u8]) -> Result<(), BuildError> {
        let attributes = Attributes::parse(octets).map_err(|_| BuildError::Malformed)?;
        attributes
            .iter()
            .try_for_each(|attribute| refuse_reserved(attribute.r#type))?;
        self.make_room(octets.len(), attributes.iter().count())?;
        self.writer.put(octets);
        Ok(())
    }

    fn make_room(&mut self, octets: usize, attributes: usize) -> Result<(), BuildError> {
        if self.writer.len() + octets > MAX_LENGTH {
            return Err(BuildError::PacketTooLong);
        }
        if self.count + attributes > MAX_ATTRIBUTES {
            return Err(BuildError::TooManyAttributes);
        }
        self.count += attributes;
        Ok(())
    }

    /// Sets Length, then Message-Authenticator, then the authenticator of the header: each is
    /// computed over those before it (RFC 3579 s3.2).
    pub(crate) fn finish(
        self,
        authenticator: Authenticator,
        keys: &SecretKeys,
    ) -> Result<(), BuildError> {
        let Self {
            mut writer,
            start,
            length,
            authenticator: slot,
            signature,
            ..
        } = self;
        let Ok(total) = u16::try_from(writer.len()) else {
            writer.abandon();
            return Err(BuildError::PacketTooLong);
        };
        let total = total.to_be_bytes();
        writer.fill(length, total);
        let (Authenticator::Random(hashed) | Authenticator::Digest(hashed)) = authenticator;
        if let Some(signature) = signature {
            let value = keys.sign(&[&start, &total, &hashed, attributes(&writer)]);
            writer.fill(signature, value);
        }
        let carried = match authenticator {
            Authenticator::Random(random) => random,
            Authenticator::Digest(_) => {
                keys.digest(&[&start, &total, &hashed, attributes(&writer)])
            }
        };
        writer.fill(slot, carried);
        Ok(())
    }

    pub(crate) fn abandon(self) {
        self.writer.abandon();
    }
}

fn attributes<'w>(writer: &'w Writer<'_>) -> &'w [u8] {
    writer.octets().get(HEADER..).unwrap_or_default()
}

/// A second Message-Authenticator makes peers drop the packet, a made-up Proxy-State breaks the
/// way back through proxies (RFC 2865 s5.33).
const fn refuse_reserved(r#type: Type) -> Result<(), BuildError> {
    match r#type {
        Type::MessageAuthenticator | Type::ProxyState => Err(BuildError::Reserved(r#type)),
        _ => Ok(()),
    }
}

/// Length while a packet is not finished: out of range for every reader.
const UNREADABLE: [u8; 2] = [0xff; 2];
