//! Structured fields, as much of them as signatures and digests need: dictionaries.
//!
//! Source: RFC 8941 s4.2. Whole dictionaries are read, because a proxy may add a signature of its
//! own beside ours; what ours may not contain is read as [`Bare::Other`] and refused later.
//!
//! Deviations, all stricter: a key that occurs twice is refused (RFC 8941 s4.2.2: the last one
//! wins), base64 must be padded and canonical (s4.2.7: should be lenient), the dates and display
//! strings of RFC 9651 are refused.
//!
//! Threat: a field that two readers understand differently. Anything beyond the limits below is
//! refused before it costs memory.

use data_encoding::BASE64;

/// The value of an item, without its parameters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Bare {
    /// At most 15 digits.
    Integer(i64),
    /// Printable ASCII, escapes resolved.
    String(String),
    /// Octets, written in base64 between colons.
    Octets(Vec<u8>),
    /// A decimal, token or boolean: well formed, and nothing we use.
    Other,
}

/// Keys and values in the order written; no key twice.
pub(super) type Parameters = Vec<(String, Bare)>;

/// A bare item and its parameters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Item {
    pub(super) value: Bare,
    pub(super) parameters: Parameters,
}

/// The value of a dictionary's member.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Member {
    Item(Item),
    List(Vec<Item>, Parameters),
}

/// Members in the order written; no key twice.
pub(super) type Dictionary = Vec<(String, Member)>;

/// Reads a dictionary, all of it; `None` when it is none or exceeds a limit.
pub(super) fn dictionary(text: &[u8]) -> Option<Dictionary> {
    if text.len() > MAX_LENGTH {
        return None;
    }
    let mut cursor = Cursor(text);
    cursor.skip(is_space);
    let mut members = Dictionary::new();
    while !cursor.0.is_empty() {
        let key = cursor.key()?;
        let member = if cursor.eat(b'=') {
            cursor.member()?
        } else {
            Member::Item(Item {
                value: Bare::Other,
                parameters: cursor.parameters()?,
            })
        };
        put(&mut members, key, member, MAX_MEMBERS)?;
        cursor.skip(is_blank);
        if cursor.0.is_empty() {
            break;
        }
        if !cursor.eat(b',') {
            return None;
        }
        cursor.skip(is_blank);
        if cursor.0.is_empty() {
            return None;
        }
    }
    Some(members)
}

/// Appends a string as RFC 8941 s4.1.6 writes it. The text is printable ASCII.
pub(super) fn write_string(to: &mut String, text: &str) {
    to.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            to.push('\\');
        }
        to.push(character);
    }
    to.push('"');
}

/// Adds what is not there yet; `None` when it is, or when there are too many.
fn put<T>(to: &mut Vec<(String, T)>, key: String, value: T, limit: usize) -> Option<()> {
    if to.len() >= limit || to.iter().any(|(known, _)| *known == key) {
        return None;
    }
    to.push((key, value));
    Some(())
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn eat(&mut self, octet: u8) -> bool {
        let there = self.peek() == Some(octet);
        if there {
            self.next();
        }
        there
    }

    /// The longest start of which every octet is `wanted`.
    fn skip(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|octet| !wanted(*octet));
        let (head, tail) = self
            .0
            .split_at_checked(end.unwrap_or(self.0.len()))
            .unwrap_or_default();
        self.0 = tail;
        head
    }

    fn key(&mut self) -> Option<String> {
        let first = self.peek()?;
        if !first.is_ascii_lowercase() && first != b'*' {
            return None;
        }
        let key = self.skip(|octet| {
            octet.is_ascii_lowercase() || octet.is_ascii_digit() || b"_-.*".contains(&octet)
        });
        String::from_utf8(key.to_vec()).ok()
    }

    fn member(&mut self) -> Option<Member> {
        if !self.eat(b'(') {
            return self.item().map(Member::Item);
        }
        let mut items = Vec::new();
        loop {
            self.skip(is_space);
            if self.eat(b')') {
                return Some(Member::List(items, self.parameters()?));
            }
            if items.len() >= MAX_ITEMS {
                return None;
            }
            items.push(self.item()?);
            if !matches!(self.peek()?, b' ' | b')') {
                return None;
            }
        }
    }

    fn item(&mut self) -> Option<Item> {
        Some(Item {
            value: self.bare()?,
            parameters: self.parameters()?,
        })
    }

    fn parameters(&mut self) -> Option<Parameters> {
        let mut parameters = Parameters::new();
        while self.eat(b';') {
            self.skip(is_space);
            let key = self.key()?;
            let value = if self.eat(b'=') {
                self.bare()?
            } else {
                Bare::Other
            };
            put(&mut parameters, key, value, MAX_PARAMETERS)?;
        }
        Some(parameters)
    }

    fn bare(&mut self) -> Option<Bare> {
        match self.peek()? {
            b'"' => self.string(),
            b':' => self.octets(),
            b'-' | b'0'..=b'9' => self.number(),
            b'?' => {
                self.next();
                matches!(self.next()?, b'0' | b'1').then_some(Bare::Other)
            }
            b'*' | b'a'..=b'z' | b'A'..=b'Z' => {
                self.skip(is_token);
                Some(Bare::Other)
            }
            _ => None,
        }
    }

    fn string(&mut self) -> Option<Bare> {
        self.next();
        let mut text = String::new();
        loop {
            let octet = match self.next()? {
                b'"' => return Some(Bare::String(text)),
                b'\\' => self.next().filter(|octet| matches!(octet, b'"' | b'\\'))?,
                octet => octet,
            };
            if !is_printable(octet) {
                return None;
            }
            text.push(char::from(octet));
        }
    }

    fn octets(&mut self) -> Option<Bare> {
        self.next();
        let text = self.skip(|octet| octet != b':');
        if !self.eat(b':') {
            return None;
        }
        BASE64.decode(text).ok().map(Bare::Octets)
    }

    fn number(&mut self) -> Option<Bare> {
        let negative = self.eat(b'-');
        let whole = self.skip(|octet| octet.is_ascii_digit());
        if self.eat(b'.') {
            let fraction = self.skip(|octet| octet.is_ascii_digit());
            let fits = (1..=12).contains(&whole.len()) && (1..=3).contains(&fraction.len());
            return fits.then_some(Bare::Other);
        }
        if !(1..=15).contains(&whole.len()) {
            return None;
        }
        // At most 15 digits: no overflow.
        let value = whole
            .iter()
            .fold(0_i64, |value, digit| value * 10 + i64::from(digit - b'0'));
        Some(Bare::Integer(if negative { -value } else { value }))
    }
}

const fn is_space(octet: u8) -> bool {
    octet == b' '
}

const fn is_blank(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

/// Whether it may stand in a string, and in any part of a request that is signed.
pub(super) const fn is_printable(octet: u8) -> bool {
    matches!(octet, b' '..=b'~')
}

/// Whether it may follow the first character of a token (RFC 8941 s3.3.4).
fn is_token(octet: u8) -> bool {
    is_tchar(octet) || matches!(octet, b':' | b'/')
}

/// Whether it may stand in a method or in the name of a field (RFC 9110 s5.6.2).
pub(super) fn is_tchar(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet)
}

/// Longest field we read, in octets; ours are below 400. A sender without a key gets this far.
pub(super) const MAX_LENGTH: usize = 4096;

/// Most members of a dictionary: our signature and those of proxies, or the digests of a body.
const MAX_MEMBERS: usize = 8;

/// Most components that a signature covers.
pub(super) const MAX_ITEMS: usize = 32;

/// Most parameters of one thing; RFC 9421 s2.3 knows six.
const MAX_PARAMETERS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn integer(text: &str) -> Option<Bare> {
        match dictionary(format!("a={text}").as_bytes())?.pop()? {
            (_, Member::Item(item)) => Some(item.value),
            (_, Member::List(..)) => None,
        }
    }

    #[test]
    fn reads_lists_with_parameters() {
        let text = b" s=( \"@method\"   \"x\";sf );n=1;  k=\"a\\\"b\\\\\",b=:AQI=:;c ,\td=?1";
        let item = |value, parameters| Item { value, parameters };
        let method = item(Bare::String("@method".to_owned()), Vec::new());
        let field = item(
            Bare::String("x".to_owned()),
            vec![("sf".to_owned(), Bare::Other)],
        );
        let number = ("n".to_owned(), Bare::Integer(1));
        let string = ("k".to_owned(), Bare::String("a\"b\\".to_owned()));
        let list = Member::List(vec![method, field], vec![number, string]);
        let octets = item(
            Bare::Octets(vec![1, 2]),
            vec![("c".to_owned(), Bare::Other)],
        );
        assert_eq!(
            dictionary(text).unwrap(),
            [
                ("s".to_owned(), list),
                ("b".to_owned(), Member::Item(octets)),
                ("d".to_owned(), Member::Item(item(Bare::Other, Vec::new()))),
            ]
        );
    }

    #[test]
    fn numbers_have_at_most_fifteen_digits() {
        assert_eq!(
            integer("999999999999999"),
            Some(Bare::Integer(999_999_999_999_999))
        );
        assert_eq!(integer("-007"), Some(Bare::Integer(-7)));
        assert_eq!(integer("1000000000000000"), None);
        assert_eq!(integer("1.25"), Some(Bare::Other));
        for bad in [
            "1.",
            "1.2345",
            "-",
            "--1",
            "+1",
            "1 2",
            "0x1",
            "1234567890123.1",
        ] {
            assert_eq!(integer(bad), None, "{bad}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_dictionary() {
        for bad in [
            "a=1,",
            "a=1,,b=2",
            ",a=1",
            "a=1 b=2",
            "A=1",
            "a=",
            "a=(",
            "a=(1",
            "a=(1",
            "a=(1 2",
            "a=(1\t2)",
            "a=(1,2)",
            "a=(1\"x\")",
            "a=\"x",
            "a=\"\\n\"",
            "a=\"\x7f\"",
            "a=:AQI:",
            "a=:AQJ=:",
            "a=:AQI=",
            "a=:A-I=:",
            "a=?2",
            "a=@1",
            "a=%\"x\"",
            "a=1;",
            "a=1;B",
            "\ta=1",
            "a=1;b=1;b=2",
            "a=1,a=1",
            "a=(1;x;x)",
            "a=\"\u{e9}\"",
        ] {
            assert_eq!(dictionary(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(dictionary(b"  "), Some(Vec::new()));
    }

    #[test]
    fn limits_hold() {
        let many = |count: usize, unit: &str, join: &str| vec![unit; count].join(join);
        let list = |count| format!("a=({})", many(count, "1", " "));
        assert!(dictionary(list(MAX_ITEMS).as_bytes()).is_some());
        assert!(dictionary(list(MAX_ITEMS + 1).as_bytes()).is_none());
        let string = |length| format!("a=\"{}\"", "x".repeat(length - 4));
        assert!(dictionary(string(MAX_LENGTH).as_bytes()).is_some());
        assert!(dictionary(string(MAX_LENGTH + 1).as_bytes()).is_none());
        let members = |count: usize| {
            let keys: Vec<String> = (0..count).map(|index| format!("k{index}")).collect();
            (keys.join(","), format!("a;{}", keys.join(";")))
        };
        let (dictionary_full, parameters_full) = members(MAX_MEMBERS);
        assert!(dictionary(dictionary_full.as_bytes()).is_some());
        assert!(dictionary(parameters_full.as_bytes()).is_some());
        let (dictionary_over, parameters_over) = members(MAX_MEMBERS + 1);
        assert!(dictionary(dictionary_over.as_bytes()).is_none());
        assert!(dictionary(parameters_over.as_bytes()).is_none());
    }
}
