//! Templates of a gateway's requests: `{"to": "{to}"}`. What is filled in is escaped for where it stands.
//!
//! Threat: a message may hold what a stranger typed. It must not end a JSON string, add a
//! parameter to a URL or a line to a header.

use zeroize::Zeroizing;

use crate::template;
use crate::template::Braces;
use crate::wire::percent_encode;

/// What a place is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Placeholder {
    /// The code alone.
    Code,
    /// The message's id: 32 hexadecimal digits.
    Id,
    /// `en` or `ko`.
    Language,
    /// The gateway's own secret.
    Secret,
    /// The subject of a mail.
    Subject,
    /// The text.
    Text,
    /// The address.
    To,
}

impl Placeholder {
    const ALL: [(&'static str, Self); 7] = [
        ("code", Self::Code),
        ("id", Self::Id),
        ("language", Self::Language),
        ("secret", Self::Secret),
        ("subject", Self::Subject),
        ("text", Self::Text),
        ("to", Self::To),
    ];

    /// Its name between the braces.
    pub fn as_str(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, one)| *one == self);
        found.map_or("", |(name, _)| name)
    }
}

/// Where a template stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Escape {
    /// Inside a JSON string (RFC 8259 s7).
    Json,
    /// In a URL or a form: all but unreserved characters (RFC 3986 s2.3).
    Percent,
    /// Nowhere special: the reader of the text checks it.
    Plain,
}

/// A text for a gateway.
pub type Template = template::Template<Placeholder>;

/// Reads a template. The error names an unknown placeholder.
pub fn parse(text: &str) -> Result<Template, String> {
    Template::parse(text, Braces::Kept, |name| {
        let known = Placeholder::ALL.iter().find(|(known, _)| *known == name);
        let names = Placeholder::ALL.map(|(name, _)| name);
        known
            .map(|(_, place)| *place)
            .ok_or_else(|| template::unknown(name, &names))
    })
}

/// The text with every place filled.
pub fn fill<'v>(
    template: &Template,
    escape: Escape,
    value: impl Fn(Placeholder) -> &'v str,
) -> Zeroizing<String> {
    // Allocated once: a text that grows leaves copies of a secret behind.
    let longest = |place: &Placeholder| value(*place).len().saturating_mul(LONGEST_ESCAPE);
    let mut filled = Zeroizing::new(String::with_capacity(template.length(longest)));
    template.fill(&mut filled, |place, into| put(value(*place), escape, into));
    filled
}

fn put(value: &str, escape: Escape, into: &mut String) {
    match escape {
        Escape::Plain => into.push_str(value),
        Escape::Percent => percent_encode(value, into),
        Escape::Json => {
            for sign in value.chars() {
                match sign {
                    '"' => into.push_str("\\\""),
                    '\\' => into.push_str("\\\\"),
                    '\n' => into.push_str("\\n"),
                    '\r' => into.push_str("\\r"),
                    '\t' => into.push_str("\\t"),
                    sign if sign.is_control() || LINE_SEPARATORS.contains(&sign) => {
                        use std::fmt::Write as _;
                        let _ = write!(into, "\\u{:04x}", u32::from(sign));
                    }
                    sign => into.push(sign),
                }
            }
        }
    }
}

/// Lines end there for some readers of JSON.
const LINE_SEPARATORS: [char; 2] = ['\u{2028}', '\u{2029}'];
/// `\u0001` for one octet.
const LONGEST_ESCAPE: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    const NASTY: &str = "say \"hi\" & go\r\nto=+82\\ \u{c778}\u{c99d} {to} {secret}\u{1}\u{2028}";

    fn value(place: Placeholder) -> &'static str {
        match place {
            Placeholder::Text => NASTY,
            Placeholder::To => "+821012345678",
            other => other.as_str(),
        }
    }

    #[test]
    fn json_strings_keep_what_is_put_into_them() {
        let template = parse(r#"{"a":{"to":"{to}","text":"x{text}y"},"{id}":[{}]}"#);
        let filled = fill(&template.unwrap(), Escape::Json, value);
        let read: serde_json::Value = serde_json::from_str(&filled).unwrap();
        assert_eq!(read["a"]["text"], format!("x{NASTY}y"));
        assert_eq!(read["a"]["to"], "+821012345678");
        assert_eq!(read["id"], serde_json::json!([{}]));
        assert!(!filled.contains('\u{2028}'));
    }

    #[test]
    fn forms_keep_what_is_put_into_them() {
        let template = parse("to={to}&text={text}&n=1").unwrap();
        let filled = fill(&template, Escape::Percent, value);
        let pairs: Vec<&str> = filled.split('&').collect();
        assert_eq!(pairs.len(), 3);
        assert_eq!(pairs[0], "to=%2B821012345678");
        assert!(pairs[1].starts_with("text=say%20%22hi%22%20%26%20go%0D%0Ato%3D%2B82%5C"));
        assert!(pairs[1].contains("%EC%9D%B8%EC%A6%9D%20%7Bto%7D%20%7Bsecret%7D%01"));
    }

    #[test]
    fn a_secret_is_written_into_memory_once() {
        let template = parse("{text}{text}").unwrap();
        let worst = "\u{1}".repeat(100);
        let filled = fill(&template, Escape::Json, |_| &worst);
        assert!(filled.len() == 1200 && filled.capacity() < 1300);
    }
}
