//! The dictionary format, line by line.
//!
//! ```text
//! # comment
//! $INCLUDE name
//! VENDOR       name number [format=1,1]
//! BEGIN-VENDOR name                          END-VENDOR name
//! ATTRIBUTE    name number type [flags]      VALUE attribute name number
//! ```
//!
//! Invariant: an unknown word is an error, not a comment; a dictionary that is half understood
//! would send half of a policy. The exception are attributes nested in others (`ATTRIBUTE x 241.1`,
//! `BEGIN-TLV`), which vendor files contain and policies do not need: they are kept by name only.

use std::collections::HashMap;

use crate::radius::dictionary::{Attribute, DataType, Dictionary, Vendor};

/// A fault in a dictionary file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{file}:{line}: {cause}")]
pub struct ParseError {
    /// The file, as named to the resolver.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub cause: Cause,
}

/// What is wrong with a line.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Cause {
    /// No such file.
    #[error("cannot read `{0}`")]
    Missing(String),
    /// Files include each other.
    #[error("files include each other more than {MAX_DEPTH} deep")]
    TooDeep,
    /// The first word of the line.
    #[error("`{0}` is not ATTRIBUTE, VALUE, VENDOR, BEGIN-VENDOR, END-VENDOR or $INCLUDE")]
    UnknownKeyword(String),
    /// Too few or too many words.
    #[error("expected {0}")]
    Expected(&'static str),
    /// Not a number, or out of range.
    #[error("`{0}` is not a number that fits here")]
    BadNumber(String),
    /// Not a data type.
    #[error("`{0}` is not a data type")]
    UnknownType(String),
    /// Not a flag.
    #[error("`{0}` is not a flag")]
    UnknownFlag(String),
    /// Neither declared before nor built in.
    #[error("the vendor `{0}` was not declared")]
    UnknownVendor(String),
    /// A VALUE for nothing.
    #[error("the attribute `{0}` is not defined")]
    UnknownAttribute(String),
    /// Two meanings for one name.
    #[error("`{0}` is defined already, differently")]
    Conflict(String),
    /// BEGIN and END do not match.
    #[error("{0} without its counterpart")]
    Unbalanced(&'static str),
}

pub(crate) fn parse(
    root: &str,
    resolve: &dyn Fn(&str) -> Option<String>,
) -> Result<Dictionary, ParseError> {
    let mut parser = Parser {
        resolve,
        dictionary: Dictionary::default(),
        values: Vec::new(),
    };
    let text = resolve(root).ok_or_else(|| ParseError {
        file: root.to_owned(),
        line: 1,
        cause: Cause::Missing(root.to_owned()),
    })?;
    parser.file(root, &text, 0)?;
    parser.finish()
}

struct Parser<'r> {
    resolve: &'r dyn Fn(&str) -> Option<String>,
    dictionary: Dictionary,
    /// Resolved at the end: files may name values before attributes.
    values: Vec<PendingValue>,
}

struct PendingValue {
    file: String,
    line: usize,
    attribute: String,
    name: String,
    number: u32,
}

/// What a file has begun and not ended.
#[derive(Default)]
struct Scope {
    vendor: Option<u32>,
    nested: usize,
}

impl Parser<'_> {
    fn file(&mut self, file: &str, text: &str, depth: usize) -> Result<(), ParseError> {
        let mut scope = Scope::default();
        let at = |line: usize, cause| ParseError {
            file: file.to_owned(),
            line,
            cause,
        };
        let mut last = 1;
        for (number, line) in (1..).zip(text.lines()) {
            last = number;
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [] => {}
                ["$INCLUDE", name] => {
                    if depth == MAX_DEPTH {
                        return Err(at(number, Cause::TooDeep));
                    }
                    let text = (self.resolve)(name)
                        .ok_or_else(|| at(number, Cause::Missing((*name).to_owned())))?;
                    self.file(name, &text, depth + 1)?;
                }
                ["VALUE", attribute, name, value] => self.values.push(PendingValue {
                    file: file.to_owned(),
                    line: number,
                    attribute: attribute.to_ascii_lowercase(),
                    name: (*name).to_owned(),
                    number: number_of(value).map_err(|cause| at(number, cause))?,
                }),
                words => self
                    .line(words, &mut scope)
                    .map_err(|cause| at(number, cause))?,
            }
        }
        match scope {
            Scope {
                vendor: Some(_), ..
            } => Err(at(last, Cause::Unbalanced("BEGIN-VENDOR"))),
            Scope { nested: 1.., .. } => Err(at(last, Cause::Unbalanced("BEGIN-TLV"))),
            Scope { .. } => Ok(()),
        }
    }

    fn line(&mut self, words: &[&str], scope: &mut Scope) -> Result<(), Cause> {
        match *words {
            ["VENDOR", name, number, ref options @ ..] => self.vendor(name, number, options),
            ["BEGIN-VENDOR", name, ..] => {
                let found = self.dictionary.vendors.iter().find(|v| v.name == name);
                let vendor = found.ok_or_else(|| Cause::UnknownVendor(name.to_owned()))?;
                match scope.vendor.replace(vendor.number) {
                    None => Ok(()),
                    Some(_) => Err(Cause::Unbalanced("BEGIN-VENDOR")),
                }
            }
            ["END-VENDOR", _] => scope
                .vendor
                .take()
                .map(|_| ())
                .ok_or(Cause::Unbalanced("END-VENDOR")),
            ["BEGIN-TLV", _] => {
                scope.nested += 1;
                Ok(())
            }
            ["END-TLV", _] => {
                scope.nested = scope
                    .nested
                    .checked_sub(1)
                    .ok_or(Cause::Unbalanced("END-TLV"))?;
                Ok(())
            }
            ["ATTRIBUTE", name, number, r#type, ref flags @ ..] => {
                self.attribute(name, number, r#type, flags, scope)
            }
            ["ATTRIBUTE", ..] => Err(Cause::Expected("ATTRIBUTE name number type")),
            ["VALUE", ..] => Err(Cause::Expected("VALUE attribute name number")),
            ["VENDOR", ..] => Err(Cause::Expected("VENDOR name number")),
            ["$INCLUDE", ..] => Err(Cause::Expected("$INCLUDE name")),
            ["BEGIN-VENDOR" | "END-VENDOR" | "BEGIN-TLV" | "END-TLV", ..] => {
                Err(Cause::Expected("one name"))
            }
            _ => Err(Cause::UnknownKeyword(
                words.first().copied().unwrap_or_default().to_owned(),
            )),
        }
    }

    fn vendor(&mut self, name: &str, number: &str, options: &[&str]) -> Result<(), Cause> {
        let number = number_of(number)?;
        let standard = match options {
            [] => true,
            [format] if format.starts_with("format=") => {
                matches!(*format, "format=1,1")
            }
            [other, ..] => return Err(Cause::UnknownFlag((*other).to_owned())),
        };
        let vendor = Vendor {
            name: name.to_owned(),
            number,
            standard,
        };
        match self
            .dictionary
            .vendors
            .iter()
            .find(|other| other.name == name)
        {
            Some(other) if *other == vendor => {}
            Some(_) => return Err(Cause::Conflict(name.to_owned())),
            None => self.dictionary.vendors.push(vendor),
        }
        Ok(())
    }

    fn attribute(
        &mut self,
        name: &str,
        number: &str,
        r#type: &str,
        flags: &[&str],
        scope: &Scope,
    ) -> Result<(), Cause> {
        let vendor = scope.vendor.unwrap_or_default();
        let mut attribute = Attribute {
            name: name.to_owned(),
            vendor,
            r#type: None,
            data_type: data_type(r#type)?,
            tagged: false,
            encrypted: false,
            values: HashMap::new(),
            value_names: HashMap::new(),
        };
        self.flags(&mut attribute, flags)?;
        let standard = self
            .dictionary
            .vendors
            .iter()
            .find(|other| other.number == attribute.vendor)
            .is_none_or(|vendor| vendor.standard);
        if scope.nested == 0 && standard && !number.contains('.') {
            let number = number_of(number)?;
            // Vendors count beyond 255 in formats we do not encode; RFC attributes cannot.
            attribute.r#type =
                Some(u8::try_from(number).map_err(|_| Cause::BadNumber(number.to_string()))?);
        } else {
            attribute.data_type = DataType::Other;
        }
        let key = name.to_ascii_lowercase();
        if let Some(&index) = self.dictionary.by_name.get(&key) {
            let same = self.dictionary.attributes.get(index) == Some(&attribute);
            return if same {
                Ok(())
            } else {
                Err(Cause::Conflict(name.to_owned()))
            };
        }
        let index = self.dictionary.attributes.len();
        self.dictionary.by_name.insert(key, index);
        if let Some(r#type) = attribute.r#type {
            // The first name of a number is its name, later ones are aliases.
            self.dictionary
                .by_number
                .entry((attribute.vendor, r#type))
                .or_insert(index);
        }
        self.dictionary.attributes.push(attribute);
        Ok(())
    }

    /// Flags are separated by commas or spaces; old files name the vendor in their place.
    fn flags(&self, attribute: &mut Attribute, flags: &[&str]) -> Result<(), Cause> {
        for flag in flags
            .iter()
            .flat_map(|flags| flags.split(','))
            .filter(|flag| !flag.is_empty())
        {
            match flag {
                "has_tag" => attribute.tagged = true,
                "array" | "secret" | "virtual" => {}
                "concat" => attribute.data_type = DataType::Other,
                flag if flag.starts_with("encrypt=") => attribute.encrypted = true,
                name => {
                    let vendor = self.dictionary.vendors.iter().find(|v| v.name == name);
                    let unknown = || Cause::UnknownFlag(name.to_owned());
                    attribute.vendor = vendor.ok_or_else(unknown)?.number;
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Dictionary, ParseError> {
        let Self {
            mut dictionary,
            values,
            ..
        } = self;
        for PendingValue {
            file,
            line,
            attribute,
            name,
            number,
        } in values
        {
            let index = dictionary.by_name.get(&attribute).copied();
            let found = index.and_then(|index| dictionary.attributes.get_mut(index));
            let Some(found) = found else {
                return Err(ParseError {
                    file,
                    line,
                    cause: Cause::UnknownAttribute(attribute),
                });
            };
            if found
                .values
                .insert(name.to_ascii_lowercase(), number)
                .is_some_and(|old| old != number)
            {
                return Err(ParseError {
                    file,
                    line,
                    cause: Cause::Conflict(name),
                });
            }
            found.value_names.entry(number).or_insert(name);
        }
        Ok(dictionary)
    }
}

fn number_of(text: &str) -> Result<u32, Cause> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.map_err(|_| Cause::BadNumber(text.to_owned()))
}

fn data_type(name: &str) -> Result<DataType, Cause> {
    Ok(match name {
        "string" | "text" => DataType::String,
        "octets" => DataType::Octets,
        "integer" | "uint32" | "enum" => DataType::Integer,
        "byte" | "uint8" => DataType::Byte,
        "short" | "uint16" => DataType::Short,
        "integer64" | "uint64" => DataType::Integer64,
        "ipaddr" | "ipv4addr" => DataType::Ipaddr,
        "ipv6addr" => DataType::Ipv6addr,
        "ipv6prefix" => DataType::Ipv6prefix,
        "date" | "time" => DataType::Date,
        "ipv4prefix" | "ifid" | "ether" | "combo-ip" | "comboip" | "signed" | "int32"
        | "abinary" | "bool" | "tlv" | "struct" | "vsa" | "evs" | "extended" | "long-extended" => {
            DataType::Other
        }
        // `octets[16]`: a length we do not check
        sized if sized.starts_with("octets[") => DataType::Octets,
        _ => return Err(Cause::UnknownType(name.to_owned())),
    })
}

/// Deepest nesting of includes: files that include each other end here, not on the stack.
const MAX_DEPTH: usize = 8;
