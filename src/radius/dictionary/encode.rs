//! Text to attribute: what a policy's reply line becomes on the wire.
//!
//! Sources: RFC 2865 s5.26 (Vendor-Specific), RFC 2868 s3 (tags, hiding), RFC 6929 (extended types, TLVs).

use std::borrow::Cow;

use crate::radius::attribute::Type;
use crate::radius::authenticator::{RequestAuthenticator, SecretKeys};
use crate::radius::dictionary::value::Wrong;
use crate::radius::dictionary::{
    Attribute, DataType, Dictionary, Encryption, Format, Space, value,
};
use crate::radius::password;

/// Why a value was not encoded. Always the operator's fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EncodeError {
    /// No dictionary has the name.
    #[error("there is no attribute `{name}`{}", did_you_mean(suggestion.as_ref()))]
    UnknownAttribute {
        /// As written.
        name: String,
        /// The closest known name.
        suggestion: Option<String>,
    },
    /// Neither a number nor the name of a value.
    #[error("`{value}` is neither a number nor a value of {attribute}")]
    UnknownValue {
        /// The attribute.
        attribute: String,
        /// As written.
        value: String,
    },
    /// Not of the attribute's data type.
    #[error("`{value}` is not {expected}, which {attribute} wants")]
    BadValue {
        /// The attribute.
        attribute: String,
        /// As written.
        value: String,
        /// What a value looks like.
        expected: Cow<'static, str>,
    },
    /// The attribute would be longer than it can be.
    #[error("the value of {0} is too long")]
    TooLong(String),
    /// Empty text carries nothing (RFC 2865 s5: such an attribute must not be sent).
    #[error("the value of {0} is empty")]
    Empty(String),
    /// A container of attributes, a credential, or a number of a server's own.
    #[error("{0} has a form that cannot be sent")]
    Unsupported(String),
    /// Message-Authenticator, Proxy-State, State: the server's own.
    #[error("{0} is set by the server itself")]
    Reserved(String),
    /// Tag on an attribute without tags, or out of range 0 to 31.
    #[error("{0} does not take this tag")]
    BadTag(String),
}

fn did_you_mean(suggestion: Option<&String>) -> String {
    suggestion.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// What hides the values that the shared secret hides.
#[derive(Clone, Copy, Debug)]
pub struct Hiding<'k> {
    /// Of the secret that is shared with the client.
    pub keys: &'k SecretKeys,
    /// Of the request that is answered.
    pub authenticator: &'k RequestAuthenticator,
    /// Sets apart the attributes that are hidden with a salt: another one for each in a packet.
    pub salt: u16,
}

pub(crate) fn encode(
    dictionary: &Dictionary,
    written: &str,
    text: &str,
    hiding: Option<Hiding<'_>>,
) -> Result<Vec<u8>, EncodeError> {
    let (name, tag) = match written.split_once(':') {
        Some((name, tag)) => (name, Some(tag)),
        None => (written, None),
    };
    let attribute = dictionary
        .attribute(name)
        .ok_or_else(|| EncodeError::UnknownAttribute {
            name: name.to_owned(),
            suggestion: dictionary.suggest(name).map(str::to_owned),
        })?;
    let tag = tag.map(|tag| parse_tag(attribute, tag)).transpose()?;
    refuse_reserved(attribute)?;
    let mut octets =
        value::encode(attribute, text).map_err(|wrong| named(attribute, text, wrong))?;
    if octets.is_empty() {
        return Err(EncodeError::Empty(attribute.name.clone()));
    }
    let too_long = || EncodeError::TooLong(attribute.name.clone());
    if let Some(encryption) = attribute.encryption {
        octets = hidden(&octets, encryption, hiding).ok_or_else(too_long)?;
    }
    // RFC 2868 s3.5: what is hidden always has its tag octet.
    let needs_tag = attribute.tagged && attribute.encryption.is_some();
    if let Some(tag) = tag.or_else(|| needs_tag.then_some(0)) {
        octets = tagged(attribute, tag, octets)?;
    }
    framed(dictionary, attribute, octets).ok_or_else(too_long)
}

/// Without a secret: zeros, as many as there would be octets.
fn hidden(value: &[u8], encryption: Encryption, hiding: Option<Hiding<'_>>) -> Option<Vec<u8>> {
    let Some(hiding) = hiding else {
        let length = match encryption {
            Encryption::Password => value.len().next_multiple_of(16),
            Encryption::Salted => 2 + (1 + value.len()).next_multiple_of(16),
            Encryption::Ascend => 16,
        };
        return Some(vec![0; length]);
    };
    let Hiding {
        keys,
        authenticator,
        salt,
    } = hiding;
    match encryption {
        Encryption::Password => password::hide(value, authenticator, keys).ok(),
        Encryption::Salted => password::hide_salted(value, authenticator, keys, salt),
        Encryption::Ascend => {
            let mut block = keys.digest(&[&authenticator.0]);
            block.get(..value.len())?;
            block
                .iter_mut()
                .zip(value)
                .for_each(|(mask, octet)| *mask ^= octet);
            Some(block.to_vec())
        }
    }
}

/// The whole attribute, or as many as the value takes; `None`: it does not fit.
fn framed(dictionary: &Dictionary, attribute: &Attribute, value: Vec<u8>) -> Option<Vec<u8>> {
    let octet = |number: &u32| u8::try_from(*number).ok();
    match (attribute.space, attribute.path.as_slice()) {
        (Space::Standard, [outer, inner @ ..]) => match (octet(outer)?, inner) {
            (outer @ 241..=244, [number, inner @ ..]) => frame(
                outer,
                &[&[octet(number)?], nested(inner, value)?.as_slice()].concat(),
            ),
            (outer @ 245..=246, [number, inner @ ..]) => {
                long(outer, octet(number)?, &nested(inner, value)?)
            }
            (outer, inner) if attribute.concat => {
                let value = nested(inner, value)?;
                let pieces: Option<Vec<_>> = value
                    .chunks(VALUE)
                    .map(|piece| frame(outer, piece))
                    .collect();
                pieces.map(|pieces| pieces.concat())
            }
            (outer, inner) => frame(outer, &nested(inner, value)?),
        },
        (Space::Vendor(vendor), [number, inner @ ..]) => {
            let value = nested(inner, value)?;
            vendors(vendor, dictionary.format(vendor), *number, &value)
        }
        (Space::Extended { outer, vendor }, [number, inner @ ..]) => {
            let header = [vendor.to_be_bytes().as_slice(), &[octet(number)?]].concat();
            let value = [header, nested(inner, value)?].concat();
            match outer {
                245..=246 => long(outer, EXTENDED_VENDOR, &value),
                _ => frame(outer, &[&[EXTENDED_VENDOR], value.as_slice()].concat()),
            }
        }
        (_, []) => None,
    }
}

/// TLVs around a value, `path` from the outermost (RFC 6929 s2.3).
fn nested(path: &[u32], mut value: Vec<u8>) -> Option<Vec<u8>> {
    for number in path.iter().rev() {
        value = frame(u8::try_from(*number).ok()?, &value)?;
    }
    Some(value)
}

/// Type, Length, Value.
fn frame(r#type: u8, value: &[u8]) -> Option<Vec<u8>> {
    let length = u8::try_from(value.len() + 2).ok()?;
    Some([&[r#type, length], value].concat())
}

/// RFC 6929 s2.2: pieces that all but the last say that more follows.
fn long(outer: u8, number: u8, value: &[u8]) -> Option<Vec<u8>> {
    let pieces = value.chunks(VALUE - 2);
    let last = pieces.len().checked_sub(1)?;
    let piece = |(index, piece): (usize, &[u8])| {
        let flags = if index < last { MORE } else { 0 };
        frame(outer, &[&[number, flags], piece].concat())
    };
    let pieces: Option<Vec<_>> = pieces.enumerate().map(piece).collect();
    pieces.map(|pieces| pieces.concat())
}

/// Vendor-Specific in the vendor's own form.
fn vendors(vendor: u32, format: Format, number: u32, value: &[u8]) -> Option<Vec<u8>> {
    let header = format.number + format.length + usize::from(format.continues);
    let room = VALUE - 4 - header;
    if !format.continues && value.len() > room {
        return None;
    }
    let pieces = value.chunks(room);
    let last = pieces.len().checked_sub(1)?;
    let piece = |(index, piece): (usize, &[u8])| {
        let (number, length) = (
            number.to_be_bytes(),
            u16::try_from(header + piece.len()).ok()?,
        );
        let (number, length) = (number.get(4 - format.number..)?, length.to_be_bytes());
        let length = length.get(2 - format.length..)?;
        let flags = if index < last { MORE } else { 0 };
        let flags: &[u8] = if format.continues { &[flags] } else { &[] };
        let vendor = vendor.to_be_bytes();
        frame(
            Type::VendorSpecific.0,
            &[&vendor, number, length, flags, piece].concat(),
        )
    };
    let pieces: Option<Vec<_>> = pieces.enumerate().map(piece).collect();
    pieces.map(|pieces| pieces.concat())
}

/// A policy must not forge what the protocol itself relies on.
fn refuse_reserved(attribute: &Attribute) -> Result<(), EncodeError> {
    let reserved = [
        Type::MessageAuthenticator,
        Type::ProxyState,
        Type::State,
        Type::EapMessage,
    ];
    let unsupported = [Type::UserPassword, Type::ChapPassword];
    if reserved.iter().any(|one| attribute.is(*one)) {
        return Err(EncodeError::Reserved(attribute.name.clone()));
    }
    if attribute.internal || unsupported.iter().any(|one| attribute.is(*one)) {
        return Err(EncodeError::Unsupported(attribute.name.clone()));
    }
    Ok(())
}

fn parse_tag(attribute: &Attribute, tag: &str) -> Result<u8, EncodeError> {
    let number = tag
        .parse()
        .ok()
        .filter(|number| *number <= MAX_TAG && attribute.tagged);
    number.ok_or_else(|| EncodeError::BadTag(attribute.name.clone()))
}

/// RFC 2868 s3: before a string, or in place of an integer's first octet.
fn tagged(attribute: &Attribute, tag: u8, mut value: Vec<u8>) -> Result<Vec<u8>, EncodeError> {
    if attribute.data_type != DataType::Integer {
        value.insert(0, tag);
        return Ok(value);
    }
    match value.first_mut() {
        Some(first) if *first == 0 => *first = tag,
        _ => return Err(EncodeError::TooLong(attribute.name.clone())),
    }
    Ok(value)
}

fn named(attribute: &Attribute, text: &str, wrong: Wrong) -> EncodeError {
    let (attribute, value) = (attribute.name.clone(), text.to_owned());
    match wrong {
        Wrong::Expected(expected) => EncodeError::BadValue {
            attribute,
            value,
            expected,
        },
        Wrong::Unknown => EncodeError::UnknownValue { attribute, value },
        Wrong::Unsupported => EncodeError::Unsupported(attribute),
    }
}

/// RFC 2868 s3: tags are 1 to 31; 0 means none.
const MAX_TAG: u8 = 31;
/// Most octets of a value (RFC 2865 s5).
const VALUE: usize = 253;
/// RFC 6929 s2.2: the value goes on in the next attribute; `WiMAX` has the same bit.
pub(super) const MORE: u8 = 0x80;
/// RFC 6929 s2.4: Extended-Vendor-Specific within an extended attribute.
pub(super) const EXTENDED_VENDOR: u8 = 26;
