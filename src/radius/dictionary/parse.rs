//! The dictionary format, line by line.
//!
//! ```text
//! # comment
//! $INCLUDE name                              $INCLUDE- name   (where there is such a file)
//! VENDOR       name number [format=1,1[,c]]  octets of number and of length; c: continuation octet
//! BEGIN-VENDOR name [parent=attribute]       END-VENDOR name
//! BEGIN-TLV    attribute                     END-TLV attribute
//! ATTRIBUTE    name number type [flags]      number: n, n.m for a TLV, 241.n, 245.26.vendor.n
//! VALUE        attribute name number
//! FLAGS        [!]internal
//! ```
//!
//! Invariant: an unknown word is an error, not a comment; a dictionary that is half understood
//! would send half of a policy.

use std::collections::HashMap;

use crate::radius::dictionary::fault::MAX_DEPTH;
use crate::radius::dictionary::{
    Attribute, Cause, DataType, Dictionary, Encryption, Format, ParseError, Space, Vendor,
};

pub(crate) fn parse(
    known: Dictionary,
    root: &str,
    resolve: &dyn Fn(&str) -> Option<String>,
) -> Result<Dictionary, ParseError> {
    let mut parser = Parser {
        resolve,
        redefinable: known.attributes.len(),
        other_vendors: known.vendors.len(),
        dictionary: known,
        values: Vec::new(),
        internal: false,
        files: 1,
        lines: 0,
        faults: Vec::new(),
    };
    let missing = || ParseError::new(root, 1, Cause::Missing(root.to_owned()));
    let text = resolve(root).ok_or_else(missing)?;
    let read = parser.file(root, &text, 0);
    parser.finish(read)
}

struct Parser<'r> {
    resolve: &'r dyn Fn(&str) -> Option<String>,
    dictionary: Dictionary,
    /// So many attributes were known before: they give way to what the files say.
    redefinable: usize,
    /// And so many vendors.
    other_vendors: usize,
    /// Resolved at the end: files may name values before attributes.
    values: Vec<PendingValue>,
    /// Whether numbers are the server's own for now (`FLAGS internal`).
    internal: bool,
    /// Files read so far, each as often as it was included.
    files: usize,
    /// Lines of them.
    lines: usize,
    /// Faults of lines behind which reading went on.
    faults: Vec<ParseError>,
}

struct PendingValue {
    file: String,
    line: usize,
    attribute: String,
    name: String,
    number: u64,
}

/// What a file has begun and not ended.
#[derive(Default)]
struct Scope {
    space: Option<Space>,
    /// The attributes whose insides are described, from the outermost.
    parents: Vec<usize>,
}

impl Parser<'_> {
    fn file(&mut self, file: &str, text: &str, depth: usize) -> Result<(), ParseError> {
        let mut scope = Scope::default();
        let at = |line: usize, cause| ParseError::new(file, line, cause);
        let mut last = 1;
        for (number, line) in (1..).zip(text.lines()) {
            last = number;
            self.lines += 1;
            few("lines", self.lines, MAX_LINES).map_err(|cause| at(number, cause))?;
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [] => {}
                [include @ ("$INCLUDE" | "$INCLUDE-"), name] => {
                    if depth == MAX_DEPTH {
                        return Err(at(number, Cause::TooDeep));
                    }
                    match (self.resolve)(name) {
                        Some(text) => {
                            self.files += 1;
                            few("files", self.files, MAX_FILES)
                                .map_err(|cause| at(number, cause))?;
                            self.file(name, &text, depth + 1)?;
                        }
                        None if *include == "$INCLUDE-" => {}
                        None => return Err(at(number, Cause::Missing((*name).to_owned()))),
                    }
                }
                ["VALUE", attribute, name, value] => match number_of(value) {
                    Ok(value) => self.values.push(PendingValue {
                        file: file.to_owned(),
                        line: number,
                        attribute: attribute.to_ascii_lowercase(),
                        name: (*name).to_owned(),
                        number: value,
                    }),
                    Err(cause) => self.note(&words, at(number, cause))?,
                },
                words => {
                    if let Err(cause) = self.line(words, &mut scope) {
                        self.note(words, at(number, cause))?;
                    }
                }
            }
        }
        match scope {
            Scope { parents, .. } if !parents.is_empty() => {
                Err(at(last, Cause::Unbalanced("BEGIN-TLV")))
            }
            Scope { space: Some(_), .. } => Err(at(last, Cause::Unbalanced("BEGIN-VENDOR"))),
            Scope { .. } => Ok(()),
        }
    }

    /// Goes on behind the fault of a line that says nothing of the lines below it.
    fn note(&mut self, words: &[&str], fault: ParseError) -> Result<(), ParseError> {
        let begins = words.first().is_some_and(|word| FRAME.contains(word));
        if begins || self.faults.len() + 1 >= MAX_FAULTS {
            return Err(fault);
        }
        // What stands in an attribute that was not understood is no further fault.
        if self.faults.is_empty() || !matches!(fault.cause, Cause::NoParent(_)) {
            self.faults.push(fault);
        }
        Ok(())
    }

    fn line(&mut self, words: &[&str], scope: &mut Scope) -> Result<(), Cause> {
        match *words {
            ["VENDOR", name, number] => self.vendor(name, number, Format::STANDARD),
            ["VENDOR", name, number, format] => self.vendor(name, number, format_of(format)?),
            ["BEGIN-VENDOR", name, ref parent @ ..] => {
                let space = self.space(name, parent)?;
                match scope.space.replace(space) {
                    None => Ok(()),
                    Some(_) => Err(Cause::Unbalanced("BEGIN-VENDOR")),
                }
            }
            ["END-VENDOR", _] => {
                let ended = scope.space.take();
                ended.map(|_| ()).ok_or(Cause::Unbalanced("END-VENDOR"))
            }
            ["BEGIN-TLV", name] => {
                let found = self.dictionary.by_name.get(&name.to_ascii_lowercase());
                let parent = *found.ok_or_else(|| Cause::UnknownAttribute(name.to_owned()))?;
                scope.parents.push(parent);
                Ok(())
            }
            ["END-TLV", _] => {
                let ended = scope.parents.pop();
                ended.map(|_| ()).ok_or(Cause::Unbalanced("END-TLV"))
            }
            ["ATTRIBUTE", name, number, r#type, ref flags @ ..] => {
                self.attribute(name, number, r#type, flags, scope)
            }
            ["FLAGS", "internal"] => {
                self.internal = true;
                Ok(())
            }
            ["FLAGS", "!internal"] => {
                self.internal = false;
                Ok(())
            }
            ["FLAGS", flag] => Err(Cause::UnknownFlag(flag.to_owned())),
            ["ATTRIBUTE", ..] => Err(Cause::Expected("ATTRIBUTE name number type")),
            ["VALUE", ..] => Err(Cause::Expected("VALUE attribute name number")),
            ["VENDOR", ..] => Err(Cause::Expected("VENDOR name number")),
            ["$INCLUDE" | "$INCLUDE-", ..] => Err(Cause::Expected("$INCLUDE name")),
            [
                "BEGIN-VENDOR" | "END-VENDOR" | "BEGIN-TLV" | "END-TLV" | "FLAGS",
                ..,
            ] => Err(Cause::Expected("one name")),
            _ => Err(Cause::UnknownKeyword(
                words.first().copied().unwrap_or_default().to_owned(),
            )),
        }
    }

    fn vendor(&mut self, name: &str, number: &str, format: Format) -> Result<(), Cause> {
        let vendor = Vendor {
            name: name.to_owned(),
            number: small(number)?,
            format,
        };
        let vendors = &mut self.dictionary.vendors;
        let others = vendors.iter().skip(self.other_vendors);
        if others.clone().any(|other| *other == vendor) {
            return Ok(());
        }
        if others.clone().any(|other| other.name == name) {
            return Err(Cause::Conflict(name.to_owned()));
        }
        few("vendors", vendors.len() + 1, MAX_VENDORS)?;
        vendors.push(vendor);
        Ok(())
    }

    /// Whose numbers follow.
    fn space(&self, name: &str, parent: &[&str]) -> Result<Space, Cause> {
        let vendor = self.vendor_number(name);
        let vendor = vendor.ok_or_else(|| Cause::UnknownVendor(name.to_owned()))?;
        let [parent] = parent else {
            let alone = parent.is_empty().then_some(Space::Vendor(vendor));
            return alone.ok_or(Cause::Expected("BEGIN-VENDOR name [parent=attribute]"));
        };
        let unknown = || Cause::UnknownFlag((*parent).to_owned());
        let (_, parent) = parent
            .split_once('=')
            .filter(|(word, _)| matches!(*word, "parent" | "format"))
            .ok_or_else(unknown)?;
        let found = self.dictionary.attribute(parent);
        match found.filter(|found| found.data_type == DataType::Evs) {
            Some(Attribute { path, .. }) => {
                let outer = path.first().and_then(|outer| u8::try_from(*outer).ok());
                let outer = outer.ok_or_else(|| Cause::NoParent(name.to_owned()))?;
                Ok(Space::Extended { outer, vendor })
            }
            None => Err(Cause::UnknownAttribute(parent.to_owned())),
        }
    }

    fn vendor_number(&self, name: &str) -> Option<u32> {
        let mut vendors = self.dictionary.vendors.iter().rev();
        vendors
            .find(|vendor| vendor.name == name)
            .map(|vendor| vendor.number)
    }

    fn attribute(
        &mut self,
        name: &str,
        number: &str,
        r#type: &str,
        flags: &[&str],
        scope: &Scope,
    ) -> Result<(), Cause> {
        let numbers = number.split('.').map(small);
        let mut attribute = Attribute {
            name: name.to_owned(),
            space: scope.space.unwrap_or(Space::Standard),
            path: numbers.collect::<Result<_, _>>()?,
            data_type: data_type(r#type)?,
            tagged: false,
            encryption: None,
            concat: false,
            internal: self.internal,
            values: HashMap::new(),
            value_names: HashMap::new(),
            children: HashMap::new(),
        };
        self.flags(&mut attribute, flags)?;
        if let Some(parent) = scope.parents.last() {
            let parent = self.dictionary.attributes.get(*parent);
            let parent = parent.ok_or_else(|| Cause::NoParent(name.to_owned()))?;
            attribute.space = parent.space;
            attribute.path.splice(..0, parent.path.iter().copied());
        }
        if let (Space::Standard, [outer @ 241..=246, 26, vendor, inner @ ..]) =
            (attribute.space, attribute.path.as_slice())
            && !inner.is_empty()
        {
            attribute.space = Space::Extended {
                outer: u8::try_from(*outer).unwrap_or_default(),
                vendor: *vendor,
            };
            attribute.path = inner.to_vec();
        }
        self.fits(&mut attribute, number)?;
        self.insert(attribute)
    }

    /// Whether the numbers can stand on the wire. RFC attributes beyond 255 are a server's own.
    fn fits(&self, attribute: &mut Attribute, written: &str) -> Result<(), Cause> {
        let bad = || Cause::BadNumber(written.to_owned());
        let (outer, inner) = attribute.path.split_first().ok_or_else(bad)?;
        let most = match attribute.space {
            Space::Standard if *outer > 255 => {
                attribute.internal = true;
                u32::MAX
            }
            Space::Standard | Space::Extended { .. } => 255,
            Space::Vendor(vendor) => match self.dictionary.format(vendor).number {
                1 => 255,
                2 => 65_535,
                _ => u32::MAX,
            },
        };
        let inside = inner.iter().all(|number| *number <= 255) && inner.len() < MAX_NESTING;
        (*outer <= most && inside).then_some(()).ok_or_else(bad)
    }

    fn insert(&mut self, mut attribute: Attribute) -> Result<(), Cause> {
        let key = attribute.name.to_ascii_lowercase();
        let dictionary = &mut self.dictionary;
        let index = dictionary.attributes.len();
        if let Some(&known) = dictionary.by_name.get(&key)
            && let Some(other) = dictionary.attributes.get_mut(known)
        {
            if other.place() == attribute.place() && other.data_type == attribute.data_type {
                if known < self.redefinable {
                    (other.tagged, other.concat) = (attribute.tagged, attribute.concat);
                    other.encryption = attribute.encryption;
                    if let [number] = attribute.path.as_slice() {
                        let place = (attribute.space, *number);
                        dictionary.by_number.insert(place, known);
                    }
                }
                return Ok(());
            }
            if known >= self.redefinable {
                return Err(Cause::Conflict(attribute.name));
            }
        }
        // The last name of a number is its name, those before are aliases.
        let before = match attribute.path.as_slice() {
            [number] => dictionary
                .by_number
                .insert((attribute.space, *number), index),
            [path @ .., number] => {
                let parent = parent(dictionary, attribute.space, path);
                let parent = parent.ok_or_else(|| Cause::NoParent(attribute.name.clone()))?;
                parent.children.insert(*number, index)
            }
            [] => None,
        };
        if let Some(before) = before.and_then(|before| dictionary.attributes.get(before)) {
            attribute.children.clone_from(&before.children);
        }
        dictionary.by_name.insert(key, index);
        dictionary.attributes.push(attribute);
        Ok(())
    }

    /// Flags are separated by commas or spaces; old files name the vendor in their place.
    fn flags(&self, attribute: &mut Attribute, flags: &[&str]) -> Result<(), Cause> {
        let flags = flags.iter().flat_map(|flags| flags.split(','));
        for flag in flags.filter(|flag| !flag.is_empty()) {
            match flag {
                "has_tag" => attribute.tagged = true,
                "concat" => attribute.concat = true,
                "internal" | "virtual" => attribute.internal = true,
                "array" | "secret" => {}
                "encrypt=1" => attribute.encryption = Some(Encryption::Password),
                "encrypt=2" => attribute.encryption = Some(Encryption::Salted),
                "encrypt=3" => attribute.encryption = Some(Encryption::Ascend),
                name => {
                    let vendor = self.vendor_number(name);
                    let unknown = || Cause::UnknownFlag(name.to_owned());
                    attribute.space = Space::Vendor(vendor.ok_or_else(unknown)?);
                }
            }
        }
        Ok(())
    }

    fn finish(self, read: Result<(), ParseError>) -> Result<Dictionary, ParseError> {
        let Self {
            mut dictionary,
            mut faults,
            values,
            redefinable,
            ..
        } = self;
        faults.extend(read.err());
        for PendingValue {
            file,
            line,
            attribute,
            name,
            number,
        } in values
        {
            let fault = |cause| ParseError::new(&file, line, cause);
            let index = dictionary.by_name.get(&attribute).copied();
            let found = index.and_then(|index| dictionary.attributes.get_mut(index));
            let (Some(found), Some(index)) = (found, index) else {
                // It may be of a file that is left out.
                dictionary
                    .warnings
                    .push(fault(Cause::UnknownAttribute(attribute)));
                continue;
            };
            let old = found.values.insert(name.to_ascii_lowercase(), number);
            if index >= redefinable && old.is_some_and(|old| old != number) {
                if faults.len() < MAX_FAULTS {
                    faults.push(fault(Cause::Conflict(name)));
                }
                continue;
            }
            found.value_names.entry(number).or_insert(name);
        }
        let mut faults = faults.into_iter();
        match faults.next() {
            None => Ok(dictionary),
            Some(first) => Err(ParseError {
                more: faults.collect(),
                ..first
            }),
        }
    }
}

/// The attribute that others are in, by its place.
fn parent<'d>(
    dictionary: &'d mut Dictionary,
    space: Space,
    path: &[u32],
) -> Option<&'d mut Attribute> {
    let (outer, inner) = path.split_first()?;
    let mut index = *dictionary.by_number.get(&(space, *outer))?;
    for number in inner {
        index = *dictionary.attributes.get(index)?.children.get(number)?;
    }
    let holds = [DataType::Tlv, DataType::Extended, DataType::LongExtended];
    let found = dictionary.attributes.get_mut(index)?;
    holds.contains(&found.data_type).then_some(found)
}

fn number_of(text: &str) -> Result<u64, Cause> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.map_err(|_| Cause::BadNumber(text.to_owned()))
}

fn small(text: &str) -> Result<u32, Cause> {
    u32::try_from(number_of(text)?).map_err(|_| Cause::BadNumber(text.to_owned()))
}

/// `format=2,1`: octets of number and of length; `c` behind them: and one that says whether the value goes on.
fn format_of(text: &str) -> Result<Format, Cause> {
    let unknown = || Cause::UnknownFlag(text.to_owned());
    let format = text.strip_prefix("format=").ok_or_else(unknown)?;
    let parts: Vec<&str> = format.split(',').collect();
    let (number, length, continues) = match *parts.as_slice() {
        [number, length] => (number, length, false),
        [number @ "1", length @ "1", "c"] => (number, length, true),
        _ => return Err(unknown()),
    };
    let octets = |text: &str, allowed: &[usize]| {
        let octets = text.parse().ok();
        octets
            .filter(|octets| allowed.contains(octets))
            .ok_or_else(unknown)
    };
    Ok(Format {
        number: octets(number, &[1, 2, 4])?,
        length: octets(length, &[0, 1, 2])?,
        continues,
    })
}

fn data_type(name: &str) -> Result<DataType, Cause> {
    let unknown = || Cause::UnknownType(name.to_owned());
    let lower = name.to_ascii_lowercase();
    Ok(match lower.as_str() {
        "string" | "text" => DataType::String,
        "octets" => DataType::Octets,
        "integer" | "uint32" | "enum" | "time_delta" => DataType::Integer,
        "byte" | "uint8" => DataType::Byte,
        "short" | "uint16" => DataType::Short,
        "integer64" | "uint64" => DataType::Integer64,
        "signed" | "int32" => DataType::Signed,
        "bool" => DataType::Bool,
        "ipaddr" | "ipv4addr" => DataType::Ipaddr,
        "ipv6addr" => DataType::Ipv6addr,
        "combo-ip" | "comboip" => DataType::ComboIp,
        "ipv4prefix" => DataType::Ipv4prefix,
        "ipv6prefix" => DataType::Ipv6prefix,
        "ifid" => DataType::Ifid,
        "ether" | "ethernet" => DataType::Ether,
        "date" | "time" => DataType::Date,
        "abinary" => DataType::Abinary,
        "tlv" => DataType::Tlv,
        "vsa" => DataType::Vsa,
        "evs" => DataType::Evs,
        "extended" => DataType::Extended,
        "long-extended" => DataType::LongExtended,
        "struct" => DataType::Struct,
        sized => {
            let digits = sized
                .strip_prefix("octets[")
                .and_then(|rest| rest.strip_suffix(']'));
            let length = digits.and_then(|digits| digits.parse().ok());
            DataType::Sized(length.ok_or_else(unknown)?)
        }
    })
}

/// Refuses more of something than a dictionary has.
///
/// Threat: a few files that include each other a dozen times at each of some levels are read for hours.
fn few(what: &'static str, found: usize, most: usize) -> Result<(), Cause> {
    if found > most {
        return Err(Cause::TooMany { what, most });
    }
    Ok(())
}

/// First words of lines that say what the lines below them are.
const FRAME: [&str; 7] = [
    "VENDOR",
    "BEGIN-VENDOR",
    "END-VENDOR",
    "BEGIN-TLV",
    "END-TLV",
    "$INCLUDE",
    "$INCLUDE-",
];
/// Most faults that are said at once.
const MAX_FAULTS: usize = 20;
/// Most files that are read: the whole of FreeRADIUS has 250.
const MAX_FILES: usize = 1_000;
/// Most lines of them.
const MAX_LINES: usize = 1_000_000;
/// Most vendors: they are looked for one after the other.
const MAX_VENDORS: usize = 2_000;
/// Deepest nesting of attributes: what describes a value recurses as deep.
const MAX_NESTING: usize = 8;
