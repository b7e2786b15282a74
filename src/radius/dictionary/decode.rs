//! Wire to text: what policy rules and reply templates see of a request's attributes.
//!
//! Sources: RFC 2865 s5.26 (Vendor-Specific), RFC 6929 (extended types, TLVs).
//!
//! Limits: a value that goes on over several attributes is put together when they follow one another, up to
//! [`LONGEST`]; what is left open has no text.

use std::borrow::Cow;

use crate::radius::attribute::{Attribute as Octets, Attributes, Iter, Type};
use crate::radius::dictionary::encode::{EXTENDED_VENDOR, MORE};
use crate::radius::dictionary::{Attribute, DataType, Dictionary, Format, Space, value};
use crate::wire::Reader;

/// Name and text of an attribute.
type Named<'a> = (&'a str, Cow<'a, str>);

impl Dictionary {
    /// Calls `found` with name and text of each attribute of a request, also of those in others; a number
    /// that has a name is told twice, by name first. Credentials, the signature and what is not known or
    /// does not decode are left out.
    pub fn describe<'a>(&'a self, attributes: Attributes<'a>, mut found: impl FnMut(Named<'a>)) {
        let mut rest = attributes.iter();
        while let Some(attribute) = rest.next() {
            let value = attribute.value;
            match attribute.r#type {
                Type::VendorSpecific => self.vendors(value, &mut rest, &mut found),
                Type(outer @ 241..=244) => {
                    if let [number, value @ ..] = value {
                        self.extended(outer, *number, Cow::Borrowed(value), &mut found);
                    }
                }
                Type(outer @ 245..=246) => {
                    let [number, flags, first @ ..] = value else {
                        continue;
                    };
                    let next = |octets: Octets<'a>| match octets.value {
                        [other, flags, more @ ..] if other == number => Some((*flags, more)),
                        _ => None,
                    };
                    if let Some(value) = joined(attribute, *flags, first, &mut rest, next) {
                        self.extended(outer, *number, value, &mut found);
                    }
                }
                r#type if r#type.is_credential() || r#type == Type::MessageAuthenticator => {}
                Type(number) => {
                    if let Some(known) = self.by_number(Space::Standard, number.into()) {
                        self.tell(known, Cow::Borrowed(value), &mut found);
                    }
                }
            }
        }
    }

    /// RFC 2865 s5.26. A value that does not follow the vendor's form to its end stays opaque.
    fn vendors<'a>(
        &'a self,
        value: &'a [u8],
        rest: &mut Iter<'a>,
        found: &mut impl FnMut(Named<'a>),
    ) {
        let mut reader = Reader::new(value);
        let Some(vendor) = reader.u32() else { return };
        let (space, format) = (Space::Vendor(vendor), self.format(vendor));
        let mut ahead = reader;
        while sub_attribute(&mut ahead, format).is_some() {}
        if !ahead.is_empty() {
            return;
        }
        while let Some((number, flags, value)) = sub_attribute(&mut reader, format) {
            let next = |octets: Octets<'a>| {
                let mut reader = Reader::new(octets.value);
                let same_vendor = reader.u32() == Some(vendor);
                let (other, flags, more) = sub_attribute(&mut reader, format)?;
                (same_vendor && other == number && reader.is_empty()).then_some((flags, more))
            };
            let outer = Octets {
                r#type: Type::VendorSpecific,
                value,
            };
            let value = joined(outer, flags, value, rest, next);
            if let (Some(value), Some(known)) = (value, self.by_number(space, number)) {
                self.tell(known, value, found);
            }
        }
    }

    /// RFC 6929 s2.1 and s2.4.
    fn extended<'a>(
        &'a self,
        outer: u8,
        number: u8,
        value: Cow<'a, [u8]>,
        found: &mut impl FnMut(Named<'a>),
    ) {
        if number == EXTENDED_VENDOR {
            let mut reader = Reader::new(&value);
            let (Some(vendor), Some(number)) = (reader.u32(), reader.u8()) else {
                return;
            };
            let space = Space::Extended { outer, vendor };
            if let Some(known) = self.by_number(space, number.into()) {
                self.tell(known, behind(value, 5), found);
            }
        } else if let Some(parent) = self.by_number(Space::Standard, outer.into())
            && let Some(known) = self.child(parent, number.into())
        {
            self.tell(known, value, found);
        }
    }

    /// Tells a value, or what is in it. The depth is that of the dictionary.
    fn tell<'a>(
        &'a self,
        attribute: &'a Attribute,
        value: Cow<'a, [u8]>,
        found: &mut impl FnMut(Named<'a>),
    ) {
        if attribute.encryption.is_some() {
            return;
        }
        if attribute.data_type == DataType::Tlv {
            let inside = |octets: &[u8]| -> Vec<(u8, usize, usize)> {
                let Ok(all) = Attributes::parse(octets) else {
                    return Vec::new();
                };
                let mut at = 0;
                let place = |one: Octets<'_>| {
                    let start = at + 2;
                    at = start + one.value.len();
                    (one.r#type.0, start, at)
                };
                all.iter().map(place).collect()
            };
            for (number, start, end) in inside(&value) {
                let inner = match &value {
                    Cow::Borrowed(octets) => octets.get(start..end).map(Cow::Borrowed),
                    Cow::Owned(octets) => {
                        octets.get(start..end).map(|one| Cow::Owned(one.to_vec()))
                    }
                };
                if let (Some(inner), Some(known)) = (inner, self.child(attribute, number.into())) {
                    self.tell(known, inner, found);
                }
            }
            return;
        }
        let name = attribute.name.as_str();
        match value {
            Cow::Borrowed(value) => value::texts(attribute, value, |text| found((name, text))),
            Cow::Owned(value) => value::texts(attribute, &value, |text| {
                found((name, Cow::Owned(text.into_owned())));
            }),
        }
    }

    /// Checks a name and, if given, a value that an operator wrote in a policy, so that what is
    /// loaded can be sent, and a rule about it can hold.
    ///
    /// # Errors
    /// What is wrong and what to write instead.
    pub fn check(&self, written: &str, value: Option<&str>) -> Result<(), String> {
        let name = written.split_once(':').map_or(written, |(name, _)| name);
        let encoded = value.map(|value| self.encode(written, value, None));
        let encoded = encoded.transpose();
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
        if let Ok(attributes) = Attributes::parse(&octets) {
            self.describe(attributes, |(_, text)| forms.push(text.into_owned()));
        }
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

/// Number, flags and value of the next attribute in a vendor's form.
fn sub_attribute<'a>(reader: &mut Reader<'a>, format: Format) -> Option<(u32, u8, &'a [u8])> {
    if reader.is_empty() {
        return None;
    }
    let number = match format.number {
        1 => reader.u8()?.into(),
        2 => reader.u16()?.into(),
        _ => reader.u32()?,
    };
    let header = format.number + format.length + usize::from(format.continues);
    let length = match format.length {
        0 => None,
        1 => Some(usize::from(reader.u8()?)),
        _ => Some(usize::from(reader.u16()?)),
    };
    let flags = if format.continues { reader.u8()? } else { 0 };
    let value = match length {
        // CVE-2001-1377: a length that does not count itself.
        Some(length) => reader.take(length.checked_sub(header)?)?,
        None => reader.rest(),
    };
    Some((number, flags, value))
}

/// A value that goes on in the attributes that follow; `None` where it never ends.
fn joined<'a>(
    first: Octets<'a>,
    mut flags: u8,
    value: &'a [u8],
    rest: &mut Iter<'a>,
    next: impl Fn(Octets<'a>) -> Option<(u8, &'a [u8])>,
) -> Option<Cow<'a, [u8]>> {
    if flags & MORE == 0 {
        return Some(Cow::Borrowed(value));
    }
    let mut whole = value.to_vec();
    while flags & MORE != 0 {
        let mut ahead = rest.clone();
        let following = ahead.next().filter(|one| one.r#type == first.r#type)?;
        let (more, piece) = next(following)?;
        if whole.len() + piece.len() > LONGEST {
            return None;
        }
        whole.extend_from_slice(piece);
        (flags, *rest) = (more, ahead);
    }
    Some(Cow::Owned(whole))
}

fn behind(value: Cow<'_, [u8]>, count: usize) -> Cow<'_, [u8]> {
    match value {
        Cow::Borrowed(octets) => Cow::Borrowed(octets.get(count..).unwrap_or_default()),
        Cow::Owned(mut octets) => {
            octets.drain(..count.min(octets.len()));
            Cow::Owned(octets)
        }
    }
}

/// Most octets of a value put together: a packet has no more.
const LONGEST: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn described(r#type: Type, value: &[u8]) -> Vec<(String, String)> {
        let dictionary = Dictionary::builtin().unwrap();
        let mut all = Vec::new();
        let octets = [&[r#type.0, u8::try_from(value.len() + 2).unwrap()], value].concat();
        let attributes = Attributes::parse(&octets).unwrap();
        dictionary.describe(attributes, |(name, text)| {
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
