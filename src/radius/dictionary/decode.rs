//! Wire to text: what policy rules and reply templates see of a request's attributes.
//!
//! Sources: RFC 8044 s3 (data types), RFC 2868 s3 (tags).
//!
//! Invariant: a text made here is what [`crate::radius::dictionary::encode`] reads back to the same
//! octets, so an operator can write in a rule what a log shows. A value that does not decode has no
//! text; a rule about it does not hold.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::radius::attribute;
use crate::radius::attribute::Type;
use crate::radius::dictionary::{Attribute, DataType, Dictionary};
use crate::wire::Reader;

/// Name and text of an attribute.
pub type Named<'a> = (&'a str, Cow<'a, str>);

impl Dictionary {
    /// Calls `found` with name and text of an attribute of a request, or of each sub-attribute of a
    /// Vendor-Specific; a number that has a name is told twice, by name first. Credentials, the
    /// signature and what we do not know or cannot decode are left out.
    pub fn describe<'a>(
        &'a self,
        attribute: attribute::Attribute<'a>,
        mut found: impl FnMut(Named<'a>),
    ) {
        if let Some(vendor) = attribute.vendor() {
            for (r#type, value) in vendor.iter() {
                self.tell(vendor.number, r#type, value, &mut found);
            }
        } else if !attribute.r#type.is_credential()
            && attribute.r#type != Type::MessageAuthenticator
        {
            self.tell(0, attribute.r#type.0, attribute.value, &mut found);
        }
    }

    fn tell<'a>(
        &'a self,
        vendor: u32,
        r#type: u8,
        value: &'a [u8],
        found: &mut impl FnMut(Named<'a>),
    ) {
        let Some(attribute) = self
            .by_number(vendor, r#type)
            .filter(|known| !known.encrypted)
        else {
            return;
        };
        texts(attribute, value, |text| {
            found((attribute.name.as_str(), text));
        });
    }

    /// Checks a name and, if given, a value that an operator wrote in a policy, so that what is
    /// loaded can be sent, and a rule about it can hold.
    ///
    /// # Errors
    /// What is wrong and what to write instead.
    pub fn check(&self, written: &str, value: Option<&str>) -> Result<(), String> {
        let name = written.split_once(':').map_or(written, |(name, _)| name);
        let encoded = value.map(|value| self.encode(written, value)).transpose();
        let encoded = encoded.map_err(|error| error.to_string())?;
        let Some(attribute) = self.attribute(name) else {
            // Without a value there was no encoding that would have said so.
            let suggestion = self
                .suggest(name)
                .map(|near| format!("; did you mean `{near}`?"));
            return Err(format!(
                "there is no attribute `{name}`{}",
                suggestion.unwrap_or_default()
            ));
        };
        // Rules compare names exactly.
        if attribute.name != name {
            return Err(format!("write it `{}`", attribute.name));
        }
        let (Some(value), Some(octets), false) = (value, encoded, attribute.tagged) else {
            return Ok(());
        };
        let mut forms: Vec<String> = Vec::new();
        let mut reader = Reader::new(&octets);
        let header = if attribute.vendor == 0 { 2 } else { 8 };
        let _ = reader.take(header);
        texts(attribute, reader.rest(), |text| {
            forms.push(text.into_owned());
        });
        // And values: `virtual` is sent as 5, but a request that holds 5 reads `Virtual`.
        match forms.first() {
            Some(first) if !forms.iter().any(|form| form == value) => {
                Err(format!("write `{value}` as `{first}`"))
            }
            _ => Ok(()),
        }
    }
}

/// The check of reply and request attributes that [`crate::policy::Policies::parse`] asks for.
pub fn known_attribute(
    dictionary: &Dictionary,
) -> impl Fn(&str, Option<&str>) -> Result<(), String> + '_ {
    |name, value| dictionary.check(name, value)
}

fn texts<'a>(attribute: &'a Attribute, value: &'a [u8], mut found: impl FnMut(Cow<'a, str>)) {
    let (value, data_type) = (untagged(attribute, value), attribute.data_type);
    let number = match (data_type, value) {
        (DataType::Byte, &[octet]) => Some(u32::from(octet)),
        (DataType::Short, &[high, low]) => Some(u32::from(u16::from_be_bytes([high, low]))),
        (DataType::Integer, &[high, low, last]) if attribute.tagged => {
            Some(u32::from_be_bytes([0, high, low, last]))
        }
        (DataType::Integer | DataType::Date, &[a, b, c, d]) => {
            Some(u32::from_be_bytes([a, b, c, d]))
        }
        _ => None,
    };
    if let Some(number) = number {
        if let Some(name) = attribute.value_name(number) {
            found(Cow::Borrowed(name));
        }
        return found(Cow::Owned(number.to_string()));
    }
    let text = match data_type {
        DataType::String => readable(value).map(Cow::Borrowed),
        DataType::Octets => readable(value)
            .map(Cow::Borrowed)
            .or_else(|| Some(hex(value).into())),
        DataType::Integer64 => value
            .try_into()
            .ok()
            .map(|octets| u64::from_be_bytes(octets).to_string().into()),
        DataType::Ipaddr => {
            let octets: Option<[u8; 4]> = value.try_into().ok();
            octets.map(|octets| Ipv4Addr::from(octets).to_string().into())
        }
        DataType::Ipv6addr => {
            let octets: Option<[u8; 16]> = value.try_into().ok();
            octets.map(|octets| Ipv6Addr::from(octets).to_string().into())
        }
        DataType::Ipv6prefix => prefix(value).map(Cow::Owned),
        DataType::Integer | DataType::Byte | DataType::Short | DataType::Date | DataType::Other => {
            None
        }
    };
    if let Some(text) = text {
        found(text);
    }
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

fn hex(value: &[u8]) -> String {
    let mut text = String::with_capacity(2 + 2 * value.len());
    text.push_str("0x");
    for octet in value {
        // Writing to a string cannot fail.
        let _ = write!(text, "{octet:02x}");
    }
    text
}

/// RFC 3162 s2.3: a reserved octet, the length, and as many octets as are needed.
fn prefix(value: &[u8]) -> Option<String> {
    let mut reader = Reader::new(value);
    let (_, length) = (reader.u8()?, reader.u8()?);
    let mut octets = [0; 16];
    let rest = reader.rest();
    octets.get_mut(..rest.len())?.copy_from_slice(rest);
    (length <= 128).then(|| format!("{}/{length}", Ipv6Addr::from(octets)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::radius::attribute::Type;

    fn described(r#type: Type, value: &[u8]) -> Vec<(String, String)> {
        let dictionary = Dictionary::builtin().unwrap();
        let mut all = Vec::new();
        let attribute = attribute::Attribute { r#type, value };
        dictionary.describe(attribute, |(name, text)| {
            all.push((name.to_owned(), text.into()));
        });
        all
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect()
    }

    #[test]
    fn numbers_are_told_by_name_and_by_number() {
        assert_eq!(
            described(Type::NasPortType, &[0, 0, 0, 5]),
            pairs(&[("NAS-Port-Type", "Virtual"), ("NAS-Port-Type", "5")])
        );
        assert_eq!(
            described(Type::NasPort, &[0, 0, 1, 0]),
            pairs(&[("NAS-Port", "256")])
        );
        assert_eq!(described(Type::NasPort, &[0, 1]), []);
    }

    #[test]
    fn texts_and_addresses() {
        assert_eq!(
            described(Type::NasIdentifier, b"gw-1"),
            pairs(&[("NAS-Identifier", "gw-1")])
        );
        assert_eq!(described(Type::NasIdentifier, b"a\x1b[2J"), []);
        assert_eq!(
            described(Type::NasIpAddress, &[192, 0, 2, 1]),
            pairs(&[("NAS-IP-Address", "192.0.2.1")])
        );
    }

    #[test]
    fn credentials_are_never_told() {
        for r#type in [
            Type::UserPassword,
            Type::ChapPassword,
            Type::State,
            Type::EapMessage,
        ] {
            assert_eq!(described(r#type, b"0123456789abcdef"), []);
        }
    }

    #[test]
    fn vendor_attributes_are_told() {
        let value = b"\0\0\0\x09\x01\x0fshell:priv=15";
        assert_eq!(
            described(Type::VendorSpecific, value),
            pairs(&[("Cisco-AVPair", "shell:priv=15")])
        );
    }

    #[test]
    fn what_could_never_hold_or_be_sent_is_refused() {
        let dictionary = Dictionary::builtin().unwrap();
        let check = known_attribute(&dictionary);
        assert_eq!(check("NAS-Port-Type", Some("Virtual")), Ok(()));
        assert_eq!(check("NAS-Port-Type", Some("5")), Ok(()));
        assert_eq!(check("Class", Some("OU=vpn;")), Ok(()));
        assert_eq!(check("Filter-Id", Some("x")), Ok(()));
        assert_eq!(check("Tunnel-Type:1", Some("VLAN")), Ok(()));
        assert_eq!(check("NAS-Identifier", None), Ok(()));
        for (name, value, hint) in [
            ("NAS-Port-Type", Some("virtual"), "`Virtual`"),
            ("nas-identifier", None, "`NAS-Identifier`"),
            ("NAS-Identifer", None, "did you mean `NAS-Identifier`"),
            ("Proxy-State", Some("x"), "itself"),
            ("Session-Timeout", Some("x"), "number"),
        ] {
            let error = check(name, value).unwrap_err();
            assert!(error.contains(hint), "{name}: {error}");
        }
    }
}
