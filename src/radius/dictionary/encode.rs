//! Text to attribute: what a policy's reply line becomes on the wire.
//!
//! Sources: RFC 8044 s3 (data types), RFC 2865 s5.26 (Vendor-Specific), RFC 2868 s3 (tags).

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;

use crate::radius::attribute::Type;
use crate::radius::dictionary::{Attribute, DataType, Dictionary};

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
        expected: &'static str,
    },
    /// The attribute would be longer than one can be.
    #[error("the value of {0} is too long")]
    TooLong(String),
    /// Empty text carries nothing (RFC 2865 s5: such an attribute must not be sent).
    #[error("the value of {0} is empty")]
    Empty(String),
    /// Known by name only.
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

pub(crate) fn encode(
    dictionary: &Dictionary,
    written: &str,
    text: &str,
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
    let Some(r#type) = attribute.r#type.filter(|_| !attribute.encrypted) else {
        return Err(EncodeError::Unsupported(attribute.name.clone()));
    };
    if attribute.vendor == 0 {
        refuse_reserved(attribute, Type(r#type))?;
    }
    let mut value = encode_value(attribute, text)?;
    if let Some(tag) = tag {
        value = tagged(attribute, tag, value)?;
    }
    if value.is_empty() {
        return Err(EncodeError::Empty(attribute.name.clone()));
    }
    let too_long = || EncodeError::TooLong(attribute.name.clone());
    let framed = frame(r#type, &value).ok_or_else(too_long)?;
    if attribute.vendor == 0 {
        return Ok(framed);
    }
    let vendor = [&attribute.vendor.to_be_bytes(), framed.as_slice()].concat();
    frame(Type::VendorSpecific.0, &vendor).ok_or_else(too_long)
}

/// Type, Length, Value.
fn frame(r#type: u8, value: &[u8]) -> Option<Vec<u8>> {
    let length = u8::try_from(value.len() + 2).ok()?;
    Some([&[r#type, length], value].concat())
}

/// A policy must not forge what the protocol itself relies on.
fn refuse_reserved(attribute: &Attribute, r#type: Type) -> Result<(), EncodeError> {
    match r#type {
        Type::MessageAuthenticator | Type::ProxyState | Type::State | Type::EapMessage => {
            Err(EncodeError::Reserved(attribute.name.clone()))
        }
        Type::UserPassword | Type::ChapPassword | Type::VendorSpecific => {
            Err(EncodeError::Unsupported(attribute.name.clone()))
        }
        _ => Ok(()),
    }
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

fn encode_value(attribute: &Attribute, text: &str) -> Result<Vec<u8>, EncodeError> {
    let bad = |expected| EncodeError::BadValue {
        attribute: attribute.name.clone(),
        value: text.to_owned(),
        expected,
    };
    match attribute.data_type {
        DataType::String => Ok(text.as_bytes().to_vec()),
        DataType::Octets => match text.strip_prefix("0x") {
            Some(digits) => hex(digits).ok_or_else(|| bad("an even number of hex digits")),
            None => Ok(text.as_bytes().to_vec()),
        },
        DataType::Integer => number(attribute, text).map(|number| number.to_be_bytes().to_vec()),
        DataType::Byte => u8::try_from(number(attribute, text)?)
            .map(|number| vec![number])
            .map_err(|_| bad("0 to 255")),
        DataType::Short => u16::try_from(number(attribute, text)?)
            .map(|number| number.to_be_bytes().to_vec())
            .map_err(|_| bad("0 to 65535")),
        DataType::Integer64 => text
            .parse::<u64>()
            .map(|number| number.to_be_bytes().to_vec())
            .map_err(|_| bad("a number")),
        DataType::Ipaddr => text
            .parse::<Ipv4Addr>()
            .map(|address| address.octets().to_vec())
            .map_err(|_| bad("an IPv4 address")),
        DataType::Ipv6addr => text
            .parse::<Ipv6Addr>()
            .map(|address| address.octets().to_vec())
            .map_err(|_| bad("an IPv6 address")),
        DataType::Ipv6prefix => text
            .parse::<Ipv6Net>()
            .map(|net| [&[0, net.prefix_len()], net.network().octets().as_slice()].concat())
            .map_err(|_| bad("an IPv6 prefix")),
        DataType::Date => text
            .parse::<u32>()
            .map(|seconds| seconds.to_be_bytes().to_vec())
            .map_err(|_| bad("seconds since 1970")),
        DataType::Other => Err(EncodeError::Unsupported(attribute.name.clone())),
    }
}

/// A number, or the name of a value.
fn number(attribute: &Attribute, text: &str) -> Result<u32, EncodeError> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    number
        .or_else(|| attribute.value(text))
        .ok_or_else(|| EncodeError::UnknownValue {
            attribute: attribute.name.clone(),
            value: text.to_owned(),
        })
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let digit = |octet: u8| {
        char::from(octet)
            .to_digit(16)
            .and_then(|n| u8::try_from(n).ok())
    };
    let pair = |&[high, low]: &[u8; 2]| Some(digit(high)? << 4 | digit(low)?);
    rest.is_empty().then(|| pairs.iter().map(pair).collect())?
}

/// RFC 2868 s3: tags are 1 to 31; 0 means none.
const MAX_TAG: u8 = 31;
