//! Texts of messages with places for what differs from one to the next: `Your code is {code}.`

use crate::secret::SecretString;
use crate::template;
use crate::template::Braces;

words! {
    /// What a place is for.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum Place {
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
        /// The address of a page for this user alone.
        Link = "link",
        /// Minutes for which the code is good.
        Minutes = "minutes",
        /// The first cell of a card that is asked for.
        First = "first",
        /// The second.
        Second = "second",
    }
}

/// A text for people.
pub(super) type Template = template::Template<Place>;

/// Reads a text that may have these places. The error names one that it may not have.
pub(super) fn parse(text: &str, known: &[Place]) -> Result<Template, String> {
    Template::parse(text, Braces::Kept, |name| {
        let found = known.iter().find(|place| place.as_str() == name);
        found.copied().ok_or_else(|| {
            let names: Vec<&str> = known.iter().map(|place| place.as_str()).collect();
            template::unknown(name, &names)
        })
    })
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
    // Allocated once: a text that grows leaves copies of a code behind.
    let length = |template: &&Template| template.length(|place| value(*place).len());
    let capacity = templates.iter().map(length).sum::<usize>() + templates.len() * separator.len();
    let mut filled = String::with_capacity(capacity);
    for (index, template) in templates.iter().enumerate() {
        if index > 0 {
            filled.push_str(separator);
        }
        template.fill(&mut filled, |place, into| into.push_str(value(*place)));
    }
    SecretString::new(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Place] = &[Place::User, Place::Serial];

    #[test]
    fn places_are_filled_once() {
        let first = parse("{user} has {serial}{}{ user}", KNOWN).unwrap();
        let second = parse("{user}", KNOWN).unwrap();
        let values = [(Place::User, "{serial}"), (Place::Serial, "TOTP-1")];
        let filled = fill(&[&first, &second], "; ", &values);
        assert_eq!(filled.expose(), "{serial} has TOTP-1{}{ user}; {serial}");
        assert_eq!(fill(&[&second], "", &[]).expose(), "");
    }
}
