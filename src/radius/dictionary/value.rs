//! Values: text to octets and back, by data type (RFC 8044 s3).
//!
//! Invariant: a text made here is read back to the same octets, so an operator can write in a rule
//! what a log shows. A value that does not decode has no text; a rule about it does not hold.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use crate::radius::dictionary::{Attribute, DataType};
use crate::wire::Reader;

/// Why a text is no value.
pub(super) enum Wrong {
    /// What a value looks like.
    Expected(Cow<'static, str>),
    /// Neither a number nor the name of a value.
    Unknown,
    /// The form cannot be sent.
    Unsupported,
}

fn expected(what: &'static str) -> Wrong {
    Wrong::Expected(Cow::Borrowed(what))
}

/// The octets of a value.
pub(super) fn encode(attribute: &Attribute, text: &str) -> Result<Vec<u8>, Wrong> {
    match attribute.data_type {
        DataType::String => Ok(text.as_bytes().to_vec()),
        DataType::Octets => octets(text),
        DataType::Abinary => filter(text),
        DataType::Sized(length) => {
            let octets = octets(text)?;
            let fits = octets.len() == usize::from(length);
            let wrong = || Wrong::Expected(format!("exactly {length} octets").into());
            fits.then_some(octets).ok_or_else(wrong)
        }
        DataType::Integer => {
            let number = u32::try_from(number(attribute, text)?);
            number
                .map(|number| number.to_be_bytes().to_vec())
                .map_err(|_| Wrong::Unknown)
        }
        DataType::Byte => {
            let number = u8::try_from(number(attribute, text)?);
            number
                .map(|number| vec![number])
                .map_err(|_| expected("0 to 255"))
        }
        DataType::Short => {
            let number = u16::try_from(number(attribute, text)?);
            let octets = number.map(|number| number.to_be_bytes().to_vec());
            octets.map_err(|_| expected("0 to 65535"))
        }
        DataType::Integer64 => {
            let number = number(attribute, text).map_err(|_| expected("a number"))?;
            Ok(number.to_be_bytes().to_vec())
        }
        DataType::Signed => fixed(text, |text| text.parse().ok().map(i32::to_be_bytes))
            .ok_or_else(|| expected("a number from -2147483648 to 2147483647")),
        DataType::Bool => match text {
            "0" | "no" | "false" => Ok(vec![0]),
            "1" | "yes" | "true" => Ok(vec![1]),
            _ => Err(expected("0 or 1")),
        },
        DataType::Ipaddr => fixed(text, |text| Some(text.parse::<Ipv4Addr>().ok()?.octets()))
            .ok_or_else(|| expected("an IPv4 address")),
        DataType::Ipv6addr => fixed(text, |text| Some(text.parse::<Ipv6Addr>().ok()?.octets()))
            .ok_or_else(|| expected("an IPv6 address")),
        DataType::ComboIp => fixed(text, |text| Some(text.parse::<Ipv4Addr>().ok()?.octets()))
            .or_else(|| fixed(text, |text| Some(text.parse::<Ipv6Addr>().ok()?.octets())))
            .ok_or_else(|| expected("an IP address")),
        DataType::Ipv4prefix => {
            let net: Ipv4Net = text.parse().map_err(|_| expected("an IPv4 prefix"))?;
            Ok([&[0, net.prefix_len()], net.network().octets().as_slice()].concat())
        }
        DataType::Ipv6prefix => {
            let net: Ipv6Net = text.parse().map_err(|_| expected("an IPv6 prefix"))?;
            Ok([&[0, net.prefix_len()], net.network().octets().as_slice()].concat())
        }
        DataType::Ifid => interface(text).ok_or_else(|| expected("an interface id as 0:0:0:1")),
        DataType::Ether => {
            let parts: Option<Vec<u8>> = text.split(':').map(hex_octet).collect();
            let mac = parts.filter(|octets| octets.len() == 6);
            mac.ok_or_else(|| expected("a MAC address as 00:00:5e:00:53:01"))
        }
        DataType::Date => fixed(text, |text| text.parse().ok().map(u32::to_be_bytes))
            .ok_or_else(|| expected("seconds since 1970")),
        DataType::Tlv
        | DataType::Vsa
        | DataType::Evs
        | DataType::Extended
        | DataType::LongExtended
        | DataType::Struct => Err(Wrong::Unsupported),
    }
}

fn fixed<const N: usize>(text: &str, read: impl Fn(&str) -> Option<[u8; N]>) -> Option<Vec<u8>> {
    read(text).map(|octets| octets.to_vec())
}

/// `0x` and hex digits, or text as it is.
fn octets(text: &str) -> Result<Vec<u8>, Wrong> {
    let Some(digits) = text.strip_prefix("0x") else {
        return Ok(text.as_bytes().to_vec());
    };
    hex(digits).ok_or_else(|| expected("an even number of hex digits"))
}

/// Octets only: a text is the source of a filter, and would filter nothing if it were sent as it is.
fn filter(text: &str) -> Result<Vec<u8>, Wrong> {
    let octets = text.strip_prefix("0x").and_then(hex);
    octets.ok_or_else(|| expected("a filter as 0x and hex digits (its text form is not read)"))
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let octet = |pair: &[u8; 2]| hex_octet(std::str::from_utf8(pair).ok()?);
    rest.is_empty().then(|| pairs.iter().map(octet).collect())?
}

/// Two hex digits.
fn hex_octet(text: &str) -> Option<u8> {
    let digits = text.len() == 2 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    digits.then(|| u8::from_str_radix(text, 16).ok())?
}

/// RFC 3162 s2.2: four groups of up to four hex digits.
fn interface(text: &str) -> Option<Vec<u8>> {
    let groups = text.split(':').map(|group| {
        let digits = group.bytes().all(|digit| digit.is_ascii_hexdigit());
        digits.then(|| u16::from_str_radix(group, 16).ok())?
    });
    let groups: Vec<u16> = groups.collect::<Option<_>>()?;
    (groups.len() == 4).then(|| {
        groups
            .iter()
            .flat_map(|group| group.to_be_bytes())
            .collect()
    })
}

/// A number, or the name of a value.
fn number(attribute: &Attribute, text: &str) -> Result<u64, Wrong> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    number
        .or_else(|| attribute.value(text))
        .ok_or(Wrong::Unknown)
}

/// Calls `found` with the text of a value; a number that has a name is told twice, by name first.
pub(super) fn texts<'a>(
    attribute: &'a Attribute,
    value: &'a [u8],
    mut found: impl FnMut(Cow<'a, str>),
) {
    let value = untagged(attribute, value);
    if let Some(number) = unsigned(attribute, value) {
        if let Some(name) = attribute.value_name(number) {
            found(Cow::Borrowed(name));
        }
        return found(Cow::Owned(number.to_string()));
    }
    let text = match attribute.data_type {
        DataType::String => readable(value).map(Cow::Borrowed),
        DataType::Abinary => Some(Cow::Owned(hexed(value))),
        DataType::Octets | DataType::Sized(_) => {
            let text = readable(value).filter(|text| !text.starts_with("0x"));
            text.map(Cow::Borrowed)
                .or_else(|| Some(Cow::Owned(hexed(value))))
        }
        DataType::Signed => {
            array(value).map(|octets| i32::from_be_bytes(octets).to_string().into())
        }
        DataType::Ipaddr => ipv4(value),
        DataType::Ipv6addr => ipv6(value),
        DataType::ComboIp => ipv4(value).or_else(|| ipv6(value)),
        DataType::Ipv4prefix => prefix::<4>(value, |octets| Ipv4Addr::from(octets).to_string()),
        DataType::Ipv6prefix => prefix::<16>(value, |octets| Ipv6Addr::from(octets).to_string()),
        DataType::Ifid => array(value).map(|octets: [u8; 8]| {
            let [a, b, c, d] = [0, 2, 4, 6].map(|at| {
                let group = octets.get(at..).and_then(|rest| rest.first_chunk());
                u16::from_be_bytes(group.copied().unwrap_or_default())
            });
            format!("{a:x}:{b:x}:{c:x}:{d:x}").into()
        }),
        DataType::Ether => array(value).map(|[a, b, c, d, e, f]: [u8; 6]| {
            format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}").into()
        }),
        _ => None,
    };
    if let Some(text) = text {
        found(text);
    }
}

fn unsigned(attribute: &Attribute, value: &[u8]) -> Option<u64> {
    match (attribute.data_type, value) {
        (DataType::Byte | DataType::Bool, &[octet]) => Some(octet.into()),
        (DataType::Short, &[high, low]) => Some(u16::from_be_bytes([high, low]).into()),
        (DataType::Integer, &[high, low, last]) if attribute.tagged => {
            Some(u32::from_be_bytes([0, high, low, last]).into())
        }
        (DataType::Integer | DataType::Date, &[a, b, c, d]) => {
            Some(u32::from_be_bytes([a, b, c, d]).into())
        }
        (DataType::Integer64, _) => array(value).map(u64::from_be_bytes),
        _ => None,
    }
}

fn array<const N: usize>(value: &[u8]) -> Option<[u8; N]> {
    value.try_into().ok()
}

fn ipv4(value: &[u8]) -> Option<Cow<'static, str>> {
    array(value).map(|octets: [u8; 4]| Ipv4Addr::from(octets).to_string().into())
}

fn ipv6(value: &[u8]) -> Option<Cow<'static, str>> {
    array(value).map(|octets: [u8; 16]| Ipv6Addr::from(octets).to_string().into())
}

/// RFC 3162 s2.3, RFC 8044 s3.11: a reserved octet, the length, and as many octets as are needed.
fn prefix<const N: usize>(
    value: &[u8],
    address: impl Fn([u8; N]) -> String,
) -> Option<Cow<'static, str>> {
    let mut reader = Reader::new(value);
    let (_, length) = (reader.u8()?, reader.u8()?);
    let mut octets = [0; N];
    let rest = reader.rest();
    octets.get_mut(..rest.len())?.copy_from_slice(rest);
    let fits = usize::from(length) <= N * 8;
    fits.then(|| format!("{}/{length}", address(octets)).into())
}

/// RFC 2868 s3: a first octet up to 0x1f is a tag; integers have three octets behind it.
fn untagged<'a>(attribute: &Attribute, value: &'a [u8]) -> &'a [u8] {
    match value.split_first() {
        Some((tag, rest))
            if attribute.tagged && (*tag <= 0x1f || attribute.data_type == DataType::Integer) =>
        {
            rest
        }
        _ => value,
    }
}

/// Text that no control character makes dangerous to show or ambiguous to compare.
fn readable(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    (!text.is_empty() && !text.chars().any(char::is_control)).then_some(text)
}

fn hexed(value: &[u8]) -> String {
    let mut text = String::with_capacity(2 + 2 * value.len());
    text.push_str("0x");
    for octet in value {
        // Writing to a string cannot fail.
        let _ = write!(text, "{octet:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::radius::attribute::Attributes;
    use crate::radius::dictionary::Dictionary;

    /// The text of Ascend's filter is its source: as octets of a value it would filter nothing.
    #[test]
    fn a_binary_filter_is_octets_and_no_text() {
        let text = "VENDOR Ascend 529\nBEGIN-VENDOR Ascend\nATTRIBUTE Filter 242 abinary\nEND-VENDOR Ascend\n";
        let resolve = |name: &str| (name == "test").then(|| text.to_owned());
        let dictionary = Dictionary::default().with("test", resolve).unwrap();
        let encode = |text| dictionary.encode("Filter", text, None);
        let refused = encode("ip in forward tcp est").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "`ip in forward tcp est` is not a filter as 0x and hex digits (its text form is not read), which \
             Filter wants"
        );
        assert!(encode("0x010").is_err());
        let octets = encode("0x616263").unwrap();
        assert_eq!(octets, *b"\x1a\x0b\0\0\x02\x11\xf2\x05abc");
        // Octets that happen to be letters are told as what can be written.
        let mut told = Vec::new();
        dictionary.describe(Attributes::parse(&octets).unwrap(), |(name, text)| {
            told.push(format!("{name}={text}"));
        });
        assert_eq!(told, ["Filter=0x616263"]);
    }
}
