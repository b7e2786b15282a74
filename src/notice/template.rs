//! Texts with places for what differs from message to message: `Your code is {code}.`
//!
//! `{` and the name of a place and `}` is a place; other braces are what they are. What is filled in
//! is never read again, so that a user called `{code}` stays a name.

use crate::diagnostic::did_you_mean;
use crate::secret::SecretString;

macro_rules! places {
    ($($(#[$doc:meta])* $name:ident = $word:literal),+ $(,)?) => {
        /// What a place is for.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Place { $($(#[$doc])* $name),+ }

        impl Place {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The name between the braces.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),+ }
            }
        }
    };
}

places! {
    /// The user's name.
    User = "user",
    /// The name of the token or device.
    Serial = "serial",
    /// What kind of token it is.
    Kind = "kind",
    /// When it happened.
    Time = "time",
    /// Who asked: the client's name.
    Client = "client",
    /// The word that freezes the token.
    Freeze = "freeze",
    /// When a lock ends.
    Until = "until",
    /// Recovery codes that are left.
    Left = "left",
    /// A code.
    Code = "code",
    /// Minutes for which the code is good.
    Minutes = "minutes",
    /// The first cell of a card that is asked for.
    First = "first",
    /// The second.
    Second = "second",
}

/// A text with places.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    Literal(String),
    Place(Place),
}

impl Template {
    /// Reads a text that may have these places. The error names one that it may not have.
    pub(super) fn parse(text: &str, known: &[Place]) -> Result<Self, String> {
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
            let found = known.iter().find(|place| place.as_str() == name);
            let place = found.ok_or_else(|| unknown(name, known))?;
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

    /// Whether there is a place for it.
    pub(super) fn has(&self, wanted: Place) -> bool {
        let mut pieces = self.0.iter();
        pieces.any(|piece| matches!(piece, Piece::Place(place) if *place == wanted))
    }
}

/// The texts behind one another, a separator between two, with every place filled. A place without
/// a value stays empty.
pub(super) fn fill(
    templates: &[&Template],
    separator: &str,
    values: &[(Place, &str)],
) -> SecretString {
    let value = |place: Place| {
        let found = values.iter().find(|(known, _)| *known == place);
        found.map_or("", |(_, value)| *value)
    };
    let text = |piece: &Piece| match piece {
        Piece::Literal(text) => text.len(),
        Piece::Place(place) => value(*place).len(),
    };
    let length = |template: &&Template| template.0.iter().map(text).sum::<usize>();
    // Allocated once: a text that grows leaves copies of a code behind.
    let capacity = templates.iter().map(length).sum::<usize>() + templates.len() * separator.len();
    let mut filled = String::with_capacity(capacity);
    for (index, template) in templates.iter().enumerate() {
        if index > 0 {
            filled.push_str(separator);
        }
        for piece in &template.0 {
            match piece {
                Piece::Literal(text) => filled.push_str(text),
                Piece::Place(place) => filled.push_str(value(*place)),
            }
        }
    }
    SecretString::new(filled)
}

fn unknown(name: &str, known: &[Place]) -> String {
    let names: Vec<&str> = known.iter().map(|place| place.as_str()).collect();
    if let Some(close) = did_you_mean(name, names.iter().copied()) {
        return format!("unknown placeholder `{{{name}}}`: did you mean `{{{close}}}`?");
    }
    if names.is_empty() {
        return format!("`{{{name}}}`: this text has no placeholders");
    }
    let all = names.join("}, {");
    format!("unknown placeholder `{{{name}}}`: this text may have {{{all}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Place] = &[Place::User, Place::Serial];

    #[test]
    fn places_are_filled_once() {
        let first = Template::parse("{user} has {serial}{}{ user}", KNOWN).unwrap();
        let second = Template::parse("{user}", KNOWN).unwrap();
        let values = [(Place::User, "{serial}"), (Place::Serial, "TOTP-1")];
        let filled = fill(&[&first, &second], "; ", &values);
        assert_eq!(filled.expose(), "{serial} has TOTP-1{}{ user}; {serial}");
        assert_eq!(fill(&[&second], "", &[]).expose(), "");
        assert!(first.has(Place::Serial) && !second.has(Place::Serial));
    }

    #[test]
    fn unknown_places_are_named() {
        for (text, known, wanted) in [
            (
                "{usr}",
                KNOWN,
                "unknown placeholder `{usr}`: did you mean `{user}`?",
            ),
            (
                "{code}",
                KNOWN,
                "unknown placeholder `{code}`: this text may have {user}, {serial}",
            ),
            ("{code}", &[], "`{code}`: this text has no placeholders"),
        ] {
            assert_eq!(Template::parse(text, known).unwrap_err(), wanted);
        }
    }
}
