//! Texts with places for values: `Your code is {code}.`
//!
//! `{`, the name of a place and `}` is a place. What is filled in is never read again, so that a user
//! called `{code}` stays a name.

use crate::diagnostic::did_you_mean;

/// A text with places.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template<P>(Vec<Piece<P>>);

/// A part of a template.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Piece<P> {
    /// The same in every text.
    Text(Box<str>),
    /// A place for a value.
    Place(P),
}

/// What braces mean that are around no name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Braces {
    /// They stay what they are, as JSON has them.
    Kept,
    /// A fault: `{{` and `}}` are braces of the text.
    Doubled,
}

impl<P> Default for Template<P> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<P> Template<P> {
    /// Reads a template; `place` knows the names.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn parse(
        text: &str,
        braces: Braces,
        place: impl Fn(&str) -> Result<P, String>,
    ) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            literal.push_str(before);
            let (brace, behind) = from.split_at(1);
            let name = behind.split_once('}').filter(|_| brace == "{");
            let name = match braces {
                Braces::Kept => name.filter(|(name, _)| is_word(name)),
                Braces::Doubled if behind.starts_with(brace) => {
                    literal.push_str(brace);
                    rest = behind.split_at(1).1;
                    continue;
                }
                Braces::Doubled if brace == "}" => {
                    return Err("a single `}`: write `}}` for a brace".to_owned());
                }
                Braces::Doubled => {
                    Some(name.ok_or("a `{` without its `}`: write `{{` for a brace")?)
                }
            };
            let Some((name, after)) = name else {
                literal.push_str(brace);
                rest = behind;
                continue;
            };
            let place = place(name)?;
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal).into()));
            }
            pieces.push(Piece::Place(place));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal.into()));
        }
        Ok(Self(pieces))
    }

    /// Its parts, in order.
    pub fn pieces(&self) -> &[Piece<P>] {
        &self.0
    }

    /// Its places, in order.
    pub fn places(&self) -> impl Iterator<Item = &P> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Place(place) => Some(place),
        })
    }

    /// Whether it has this place.
    pub fn has(&self, wanted: &P) -> bool
    where
        P: PartialEq,
    {
        self.places().any(|place| place == wanted)
    }

    /// What stands before the first place.
    pub fn head(&self) -> &str {
        match self.0.first() {
            Some(Piece::Text(text)) => text,
            _ => "",
        }
    }

    /// Octets of its texts, and of its places by `length`.
    pub fn length(&self, length: impl Fn(&P) -> usize) -> usize {
        let lengths = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Place(place) => length(place),
        });
        lengths.fold(0, usize::saturating_add)
    }

    /// Appends the text, each place filled by `put`.
    pub fn fill(&self, into: &mut String, mut put: impl FnMut(&P, &mut String)) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => into.push_str(text),
                Piece::Place(place) => put(place, into),
            }
        }
    }
}

fn is_word(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_lowercase())
}

/// The complaint about a name that is none of the known ones.
pub fn unknown(name: &str, known: &[&str]) -> String {
    if let Some(close) = did_you_mean(name, known.iter().copied()) {
        return format!("unknown placeholder `{{{name}}}`: did you mean `{{{close}}}`?");
    }
    if known.is_empty() {
        return format!("`{{{name}}}`: this text has no placeholders");
    }
    let known = known.join("}, {");
    format!("unknown placeholder `{{{name}}}`: this text may have {{{known}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str, braces: Braces) -> Result<String, String> {
        let named = |name: &str| match name {
            "user" => Ok(name.to_uppercase()),
            _ => Err(unknown(name, &["user", "serial"])),
        };
        let template = Template::parse(text, braces, named)?;
        let mut filled = String::new();
        template.fill(&mut filled, |place, into| into.push_str(place));
        assert_eq!(filled.len(), template.length(String::len));
        Ok(filled)
    }

    #[test]
    fn braces_around_no_name_are_kept() {
        for text in [
            "{",
            "}",
            "{}",
            "{{",
            "{ user}",
            "{USER}",
            "{\"user\":1}",
            "a{b c}d",
        ] {
            assert_eq!(filled(text, Braces::Kept).unwrap(), text);
        }
        assert_eq!(filled("{{user}}", Braces::Kept).unwrap(), "{USER}");
    }

    #[test]
    fn doubled_braces_are_braces() {
        assert_eq!(
            filled("{{user}} {user}", Braces::Doubled).unwrap(),
            "{user} USER"
        );
        for text in ["{", "}", "a}b", "{user"] {
            assert!(filled(text, Braces::Doubled).is_err(), "{text}");
        }
    }

    #[test]
    fn unknown_places_are_named() {
        let error = filled("{usr}", Braces::Kept).unwrap_err();
        assert_eq!(error, "unknown placeholder `{usr}`: did you mean `{user}`?");
        let error = filled("{recipient}", Braces::Kept).unwrap_err();
        assert!(
            error.ends_with("this text may have {user}, {serial}"),
            "{error}"
        );
        assert_eq!(
            unknown("code", &[]),
            "`{code}`: this text has no placeholders"
        );
    }
}
