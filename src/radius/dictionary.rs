//! Names of attributes: what an operator writes in a policy, what goes on the wire.
//!
//! The files have the format of FreeRADIUS dictionaries, so that an operator can add the vendor
//! file of any appliance; the built-in ones (`radius-dict/`) are our own, written from the IANA
//! registry and the RFCs, or from the vendors' published attribute lists.
//!
//! Invariants: a name means one attribute; names are compared without case; an attribute we
//! cannot encode faithfully (structured, encrypted, odd vendor format) is known by name and
//! refused, never sent wrong.
//!
//! Limits: encodes and decodes the flat types.

use std::collections::HashMap;
use std::fmt;

mod decode;
mod encode;
mod parse;

pub use crate::radius::dictionary::decode::{Named, known_attribute};
pub use crate::radius::dictionary::encode::EncodeError;
pub use crate::radius::dictionary::parse::{Cause, ParseError};

/// Attributes by name and by number.
#[derive(Clone, Debug, Default)]
pub struct Dictionary {
    attributes: Vec<Attribute>,
    by_name: HashMap<String, usize>,
    by_number: HashMap<(u32, u8), usize>,
    vendors: Vec<Vendor>,
}

/// What a dictionary knows about an attribute.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attribute {
    /// As spelled in the dictionary.
    pub name: String,
    /// The vendor's private enterprise number, 0 for the RFC attributes.
    pub vendor: u32,
    /// Attribute type, within the vendor's if there is one; `None` for nested attributes.
    pub r#type: Option<u8>,
    /// Form of the value.
    pub data_type: DataType,
    /// RFC 2868: the value starts with a tag.
    pub tagged: bool,
    /// The value is encrypted with the shared secret; not encoded by us.
    pub encrypted: bool,
    values: HashMap<String, u32>,
    value_names: HashMap<u32, String>,
}

/// A vendor.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Vendor {
    name: String,
    number: u32,
    /// Whether its sub-attributes have one octet of type and one of length (RFC 2865 s5.26).
    standard: bool,
}

/// Form of a value (RFC 8044 s3), under the names of the dictionary format.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DataType {
    /// UTF-8 text.
    String,
    /// Any octets, written `0x...` or as text.
    Octets,
    /// Four octets; also written as the name of a value.
    Integer,
    /// One octet.
    Byte,
    /// Two octets.
    Short,
    /// Eight octets.
    Integer64,
    /// IPv4 address.
    Ipaddr,
    /// IPv6 address.
    Ipv6addr,
    /// IPv6 prefix.
    Ipv6prefix,
    /// Seconds since 1970.
    Date,
    /// Known, but not encoded: prefixes, nested attributes, vendors' inventions.
    Other,
}

impl Dictionary {
    /// What is built in.
    ///
    /// # Errors
    /// None, as a test parses every built-in file; the type says so to callers that add their own.
    pub fn builtin() -> Result<Self, ParseError> {
        Self::parse("dictionary", |name| {
            BUILTIN
                .iter()
                .find(|(file, _)| *file == name)
                .map(|(_, text)| (*text).to_owned())
        })
    }

    /// Reads the file named `root` and what it includes; `resolve` maps names to contents.
    ///
    /// # Errors
    /// The first fault, with file and line.
    pub fn parse(root: &str, resolve: impl Fn(&str) -> Option<String>) -> Result<Self, ParseError> {
        parse::parse(root, &resolve)
    }

    /// An attribute by name, whatever its case.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes
            .get(*self.by_name.get(&name.to_ascii_lowercase())?)
    }

    /// An attribute by vendor (0: none) and type.
    pub fn by_number(&self, vendor: u32, r#type: u8) -> Option<&Attribute> {
        self.attributes.get(*self.by_number.get(&(vendor, r#type))?)
    }

    /// The name of a vendor.
    pub fn vendor_name(&self, number: u32) -> Option<&str> {
        self.vendors
            .iter()
            .find(|vendor| vendor.number == number)
            .map(|v| v.name.as_str())
    }

    /// All attributes, in the order of the files.
    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.attributes.iter()
    }

    /// The octets of a whole attribute, header and Vendor-Specific frame included. A tagged
    /// attribute may be given its tag as `Name:tag`.
    ///
    /// # Errors
    /// The operator's fault each time; see [`EncodeError`].
    pub fn encode(&self, name: &str, value: &str) -> Result<Vec<u8>, EncodeError> {
        encode::encode(self, name, value)
    }

    /// The known name most like a mistyped one, if any is close.
    pub fn suggest(&self, name: &str) -> Option<&str> {
        let name = name.to_ascii_lowercase();
        let limit = name.len() / 3;
        self.attributes
            .iter()
            .map(|attribute| {
                (
                    distance(&name, &attribute.name.to_ascii_lowercase()),
                    attribute.name.as_str(),
                )
            })
            .filter(|(distance, _)| *distance <= limit)
            .min()
            .map(|(_, name)| name)
    }
}

impl Attribute {
    /// The number a value name stands for.
    pub fn value(&self, name: &str) -> Option<u32> {
        self.values.get(&name.to_ascii_lowercase()).copied()
    }

    /// The name of a number: the first that the files give it.
    pub fn value_name(&self, number: u32) -> Option<&str> {
        self.value_names.get(&number).map(String::as_str)
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Levenshtein distance over octets: names are ASCII.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let here = (diagonal + usize::from(x != y))
                .min(left + 1)
                .min(*cell + 1);
            (diagonal, left, *cell) = (*cell, here, here);
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

macro_rules! builtin {
    ($($file:literal)*) => {
        /// Name and text of every file in `radius-dict/`.
        const BUILTIN: &[(&str, &str)] =
            &[$(($file, include_str!(concat!("../../radius-dict/", $file))),)*];
    };
}

builtin! {
    "dictionary"
    "dictionary.rfc2865"
    "dictionary.rfc2866"
    "dictionary.rfc2868"
    "dictionary.rfc2869"
    "dictionary.rfc3162"
    "dictionary.rfc5176"
    "dictionary.rfc6911"
    "dictionary.checkpoint"
    "dictionary.cisco"
    "dictionary.cisco.asa"
    "dictionary.citrix"
    "dictionary.f5"
    "dictionary.fortinet"
    "dictionary.juniper"
    "dictionary.microsoft"
    "dictionary.mikrotik"
    "dictionary.paloalto"
    "dictionary.sonicwall"
}

#[cfg(test)]
mod tests;
