//! Names of attributes: what an operator writes in a policy, what goes on the wire.
//!
//! The files have the format of FreeRADIUS dictionaries, so that the vendor file of any appliance
//! can be used as it is; the built-in ones (`radius-dict/`) are our own, written from the IANA
//! registry and the RFCs, or from the vendors' published attribute lists. A site's own files are read
//! behind them and win where both know a name.
//!
//! ```text
//! place of a value      on the wire
//! standard n            n len value                                    RFC 2865 s5
//! vendor v, n           26 len v [n len value]  (or the vendor's form) RFC 2865 s5.26
//! extended 241.n        241 len n value                                RFC 6929 s2.1
//! long 245.n            245 len n M....... value, in as many as needed RFC 6929 s2.2
//! 245.26.v.n            the same, value = v n value                    RFC 6929 s2.4
//! ... .m                TLVs in any of these: m len value              RFC 6929 s2.3
//! ```
//!
//! Invariants: a name means one attribute; names are compared without case; an attribute that
//! cannot be encoded faithfully (`struct`, a server's internal number) is known by name and refused,
//! never sent wrong.

use std::collections::HashMap;
use std::fmt;

use crate::radius::attribute::Type;

mod decode;
mod encode;
mod fault;
mod parse;
mod value;

use crate::diagnostic::did_you_mean;
pub use crate::radius::dictionary::decode::known_attribute;
pub use crate::radius::dictionary::encode::{EncodeError, Hiding};
pub use crate::radius::dictionary::fault::{Cause, ParseError};

/// Attributes by name and by place.
#[derive(Clone, Debug, Default)]
pub struct Dictionary {
    attributes: Vec<Attribute>,
    by_name: HashMap<String, usize>,
    /// Outermost attributes; those inside are the [`Attribute::children`] of these.
    by_number: HashMap<(Space, u32), usize>,
    vendors: Vec<Vendor>,
    warnings: Vec<ParseError>,
}

/// Whose numbers an attribute's outermost number is one of.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Space {
    /// The IANA registry.
    Standard,
    /// A vendor's, in Vendor-Specific: its private enterprise number.
    Vendor(u32),
    /// A vendor's, in one of the Extended-Vendor-Specific attributes.
    Extended {
        /// 241 to 246.
        outer: u8,
        /// The vendor's private enterprise number.
        vendor: u32,
    },
}

/// What a dictionary knows about an attribute.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attribute {
    /// As spelled in the dictionary.
    pub name: String,
    /// Whose number the first of [`Self::path`] is.
    pub space: Space,
    /// Numbers, from the outermost: `[26]`, `[241, 1]`, `[1, 2]` for a TLV in an attribute.
    pub path: Vec<u32>,
    /// Form of the value.
    pub data_type: DataType,
    /// RFC 2868: the value starts with a tag.
    pub tagged: bool,
    /// How the shared secret hides the value.
    pub encryption: Option<Encryption>,
    /// A value that is too long for one attribute goes on in the next (`concat`).
    pub concat: bool,
    /// A number of the server's own, of which nothing is sent.
    pub internal: bool,
    values: HashMap<String, u64>,
    value_names: HashMap<u64, String>,
    children: HashMap<u32, usize>,
}

/// How the shared secret hides a value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Encryption {
    /// `encrypt=1`: as User-Password (RFC 2865 s5.2).
    Password,
    /// `encrypt=2`: with a salt, as Tunnel-Password (RFC 2868 s3.5).
    Salted,
    /// `encrypt=3`: Ascend-Send-Secret, one block of 16 octets.
    Ascend,
}

/// A vendor.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Vendor {
    name: String,
    number: u32,
    format: Format,
}

/// How a vendor frames its attributes in a Vendor-Specific.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Format {
    /// Octets of the number: 1, 2 or 4.
    number: usize,
    /// Octets of the length: 0, 1 or 2. Without a length there is one attribute in each Vendor-Specific.
    length: usize,
    /// Whether an octet follows whose highest bit says that the value goes on (`WiMAX`).
    continues: bool,
}

impl Format {
    /// RFC 2865 s5.26.
    const STANDARD: Self = Self {
        number: 1,
        length: 1,
        continues: false,
    };
}

/// Form of a value (RFC 8044 s3), under the names of the dictionary format.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DataType {
    /// UTF-8 text.
    String,
    /// Any octets, written `0x...` or as text.
    Octets,
    /// So many octets.
    Sized(u16),
    /// Four octets; also written as the name of a value.
    Integer,
    /// One octet.
    Byte,
    /// Two octets.
    Short,
    /// Eight octets.
    Integer64,
    /// Four octets, two's complement.
    Signed,
    /// IPv4 address.
    Ipaddr,
    /// IPv6 address.
    Ipv6addr,
    /// Either, told apart by their length.
    ComboIp,
    /// IPv4 prefix (RFC 8044 s3.11).
    Ipv4prefix,
    /// IPv6 prefix.
    Ipv6prefix,
    /// Interface-Id (RFC 3162 s2.2): eight octets, written `0:0:0:1`.
    Ifid,
    /// MAC address.
    Ether,
    /// Seconds since 1970.
    Date,
    /// One octet, 0 or 1.
    Bool,
    /// Ascend's binary filter, written `0x...` only.
    Abinary,
    /// Has attributes in it.
    Tlv,
    /// Vendor-Specific.
    Vsa,
    /// Extended-Vendor-Specific (RFC 6929 s2.4).
    Evs,
    /// Extended type (RFC 6929 s2.1).
    Extended,
    /// Long extended type (RFC 6929 s2.2).
    LongExtended,
    /// Fields one after the other; known by name only.
    Struct,
}

impl Dictionary {
    /// What is built in.
    ///
    /// # Errors
    /// None, as a test parses every built-in file; the type says so to callers that add their own.
    pub fn builtin() -> Result<Self, ParseError> {
        Self::default().with("dictionary", |name| {
            BUILTIN
                .iter()
                .find(|(file, _)| *file == name)
                .map(|(_, text)| (*text).to_owned())
        })
    }

    /// Reads the file named `root` and what it includes; `resolve` maps names to contents. An
    /// attribute that is known here already may be redefined.
    ///
    /// # Errors
    /// The first fault, with file and line, and those behind it.
    pub fn with(
        self,
        root: &str,
        resolve: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ParseError> {
        parse::parse(self, root, &resolve)
    }

    /// An attribute by name, whatever its case.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes
            .get(*self.by_name.get(&name.to_ascii_lowercase())?)
    }

    /// An outermost attribute by number.
    pub fn by_number(&self, space: Space, number: u32) -> Option<&Attribute> {
        self.attributes.get(*self.by_number.get(&(space, number))?)
    }

    fn child(&self, parent: &Attribute, number: u32) -> Option<&Attribute> {
        self.attributes.get(*parent.children.get(&number)?)
    }

    /// The name of a vendor.
    pub fn vendor_name(&self, number: u32) -> Option<&str> {
        self.vendor(number).map(|vendor| vendor.name.as_str())
    }

    fn vendor(&self, number: u32) -> Option<&Vendor> {
        let mut vendors = self.vendors.iter().rev();
        vendors.find(|vendor| vendor.number == number)
    }

    /// What was passed over: values of attributes that no file defines.
    pub fn warnings(&self) -> &[ParseError] {
        &self.warnings
    }

    fn format(&self, vendor: u32) -> Format {
        self.vendor(vendor)
            .map_or(Format::STANDARD, |vendor| vendor.format)
    }

    /// All attributes, in the order of the files; not those that were redefined.
    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        let attributes = self.attributes.iter().enumerate();
        let in_force = attributes.filter(|(index, attribute)| {
            self.by_name.get(&attribute.name.to_ascii_lowercase()) == Some(index)
        });
        in_force.map(|(_, attribute)| attribute)
    }

    /// The octets of as many whole attributes as the value takes, headers included. A tagged attribute may be given
    /// its tag as `Name:tag`. Without what hides values a hidden one has only its length.
    ///
    /// # Errors
    /// The operator's fault each time; see [`EncodeError`].
    pub fn encode(
        &self,
        name: &str,
        value: &str,
        hiding: Option<Hiding<'_>>,
    ) -> Result<Vec<u8>, EncodeError> {
        encode::encode(self, name, value, hiding)
    }

    /// The known name most like a mistyped one, if any is close.
    pub fn suggest(&self, name: &str) -> Option<&str> {
        let names = self.attributes().map(|one| one.name.as_str());
        did_you_mean(name, names)
    }
}

impl Attribute {
    /// Whether this is the attribute with a number of the IANA registry.
    pub fn is(&self, r#type: Type) -> bool {
        self.space == Space::Standard && self.path == [u32::from(r#type.0)]
    }

    /// Where it stands on the wire, for messages.
    fn place(&self) -> (Space, &[u32]) {
        (self.space, &self.path)
    }

    /// The number a value name stands for.
    fn value(&self, name: &str) -> Option<u64> {
        self.values.get(&name.to_ascii_lowercase()).copied()
    }

    /// The name of a number: the first that the files give it.
    fn value_name(&self, number: u64) -> Option<&str> {
        self.value_names.get(&number).map(String::as_str)
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
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
    "dictionary.rfc6929"
    "dictionary.rfc7930"
    "dictionary.checkpoint"
    "dictionary.cisco"
    "dictionary.cisco.asa"
    "dictionary.citrix"
    "dictionary.f5"
    "dictionary.fortinet"
    "dictionary.freeradius"
    "dictionary.juniper"
    "dictionary.microsoft"
    "dictionary.mikrotik"
    "dictionary.paloalto"
    "dictionary.sonicwall"
}

#[cfg(test)]
mod tests;
