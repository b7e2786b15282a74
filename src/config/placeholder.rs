//! Texts with places for what differs from message to message: `{"to": "{to}"}`.
//!
//! `{` and the name of a placeholder and `}` is a place; other braces are what they are. What is
//! filled in is escaped for where it stands and never read again, so that a text with `{secret}`
//! or with quotes in it stays a text.
//!
//! Threat: a message may hold what a stranger typed. It must not end a JSON string, add a
//! parameter to a URL or a line to a header.

use zeroize::Zeroizing;

use crate::diagnostic::did_you_mean;
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
    /// Nowhere special: whoever takes the text checks it.
    Plain,
}

/// A text with places.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    Literal(String),
    Place(Placeholder),
}

impl Template {
    /// Reads a template. The error names an unknown placeholder.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            literal.push_str(before);
            let name = behind.split_once('}').filter(|(name, _)| {
                !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_lowercase())
            });
            let Some((name, after)) = name else {
                literal.push('{');
                rest = behind;
                continue;
            };
            let known = Placeholder::ALL.iter().find(|(known, _)| *known == name);
            let (_, place) = known.ok_or_else(|| unknown(name))?;
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Place(*place));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self(pieces))
    }

    /// What stands before the first place.
    pub fn head(&self) -> &str {
        match self.0.first() {
            Some(Piece::Literal(text)) => text,
            _ => "",
        }
    }

    /// Whether there is a place for it.
    pub fn has(&self, wanted: Placeholder) -> bool {
        self.places().any(|place| place == wanted)
    }

    /// The places, in order.
    pub fn places(&self) -> impl Iterator<Item = Placeholder> + '_ {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Literal(_) => None,
            Piece::Place(place) => Some(*place),
        })
    }

    /// The text with every place filled.
    pub fn fill<'v>(
        &self,
        escape: Escape,
        value: impl Fn(Placeholder) -> &'v str,
    ) -> Zeroizing<String> {
        let longest = |piece: &Piece| match piece {
            Piece::Literal(text) => text.len(),
            Piece::Place(place) => value(*place).len().saturating_mul(LONGEST_ESCAPE),
        };
        // Allocated once: a text that grows leaves copies of a secret behind.
        let capacity = self.0.iter().map(longest).fold(2, usize::saturating_add);
        let mut filled = Zeroizing::new(String::with_capacity(capacity));
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => filled.push_str(text),
                Piece::Place(place) => put(value(*place), escape, &mut filled),
            }
        }
        filled
    }
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

fn unknown(name: &str) -> String {
    let names = Placeholder::ALL.map(|(name, _)| name);
    match did_you_mean(name, names) {
        Some(close) => format!("unknown placeholder `{{{name}}}`: did you mean `{{{close}}}`?"),
        None => format!(
            "unknown placeholder `{{{name}}}`: there are {{{}}}",
            names.join("}, {")
        ),
    }
}

/// Lines end there for some readers of JSON.
const LINE_SEPARATORS: [char; 2] = ['\u{2028}', '\u{2029}'];
/// `\u0001` for one octet.
const LONGEST_ESCAPE: usize = 6;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

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
        let template = Template::parse(r#"{"a":{"to":"{to}","text":"x{text}y"},"{id}":[{}]}"#);
        let filled = template.unwrap().fill(Escape::Json, value);
        let read: serde_json::Value = serde_json::from_str(&filled).unwrap();
        assert_eq!(read["a"]["text"], format!("x{NASTY}y"));
        assert_eq!(read["a"]["to"], "+821012345678");
        assert_eq!(read["id"], serde_json::json!([{}]));
        assert!(!filled.contains('\u{2028}'));
    }

    #[test]
    fn forms_keep_what_is_put_into_them() {
        let template = Template::parse("to={to}&text={text}&n=1").unwrap();
        let filled = template.fill(Escape::Percent, value);
        let pairs: Vec<&str> = filled.split('&').collect();
        assert_eq!(pairs.len(), 3);
        assert_eq!(pairs[0], "to=%2B821012345678");
        assert!(pairs[1].starts_with("text=say%20%22hi%22%20%26%20go%0D%0Ato%3D%2B82%5C"));
        assert!(pairs[1].contains("%EC%9D%B8%EC%A6%9D%20%7Bto%7D%20%7Bsecret%7D%01"));
    }

    #[test]
    fn braces_that_are_no_places_stay() {
        for text in [
            "{",
            "}",
            "{}",
            "{{",
            "{ to}",
            "{TO}",
            "{\"to\":1}",
            "a{b c}d",
        ] {
            let filled = Template::parse(text).unwrap().fill(Escape::Plain, value);
            assert_eq!(*filled, text);
        }
        let filled = Template::parse("{{to}}")
            .unwrap()
            .fill(Escape::Plain, value);
        assert_eq!(*filled, "{+821012345678}");
    }

    #[test]
    fn unknown_places_are_named() {
        let error = Template::parse("{txt}").unwrap_err();
        assert_eq!(error, "unknown placeholder `{txt}`: did you mean `{text}`?");
        let error = Template::parse("{recipient}").unwrap_err();
        assert!(
            error
                .ends_with("there are {code}, {id}, {language}, {secret}, {subject}, {text}, {to}")
        );
    }

    #[test]
    fn a_secret_is_written_into_memory_once() {
        let template = Template::parse("{text}{text}").unwrap();
        let worst = "\u{1}".repeat(100);
        let filled = template.fill(Escape::Json, |_| &worst);
        assert!(filled.len() == 1200 && filled.capacity() < 1300);
    }
}
