//! What authenticator apps show above a code: the organisation and the account.

use crate::model::user_key::UserKey;
use crate::template::{self, Braces};

/// A text with places for the user.
pub(super) type Template = template::Template<Place>;

/// What stands for the user in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    /// Canonical `name@realm`.
    User,
    /// The name without its realm.
    Name,
    /// The realm.
    Realm,
    /// The name as people write it; the canonical one where there is none.
    Display,
}

/// What authenticator apps show of the tokens of a policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Naming {
    /// The organisation.
    pub(super) issuer: Template,
    /// The same for users of a realm. No realm twice.
    pub(super) issuer_for: Vec<(String, Template)>,
    /// The account.
    pub(super) label: Template,
}

impl Default for Naming {
    fn default() -> Self {
        let read = |text| parse(text).unwrap_or_default();
        Self {
            issuer: read("Oncegate"),
            issuer_for: Vec::new(),
            label: read("{user}"),
        }
    }
}

impl Naming {
    /// The organisation, for this user.
    pub fn issuer(&self, user: &UserKey, display: Option<&str>) -> String {
        let mut own = self.issuer_for.iter();
        let own = own.find(|(realm, _)| realm == user.realm());
        let template = own.map_or(&self.issuer, |(_, template)| template);
        filled(template, user, display)
    }

    /// The account of this user.
    pub fn account(&self, user: &UserKey, display: Option<&str>) -> String {
        filled(&self.label, user, display)
    }
}

/// Reads a text with places.
///
/// # Errors
/// What is wrong, for people.
pub(super) fn parse(text: &str) -> Result<Template, String> {
    Template::parse(text, Braces::Doubled, |name| match name {
        "user" => Ok(Place::User),
        "name" => Ok(Place::Name),
        "realm" => Ok(Place::Realm),
        "display" => Ok(Place::Display),
        _ => Err(template::unknown(
            name,
            &["user", "name", "realm", "display"],
        )),
    })
}

fn filled(template: &Template, user: &UserKey, display: Option<&str>) -> String {
    let mut text = String::new();
    template.fill(&mut text, |place, text| match place {
        Place::User => push!(text, "{user}"),
        Place::Name => text.push_str(user.name()),
        Place::Realm => text.push_str(user.realm()),
        Place::Display => text.push_str(display.unwrap_or_else(|| user.name())),
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_organisation_may_differ_by_realm() {
        let naming = Naming {
            issuer: parse("ACME").unwrap(),
            issuer_for: vec![(
                "partner".to_owned(),
                parse("Guests of ACME ({realm})").unwrap(),
            )],
            label: parse("{display} <{name}>").unwrap(),
        };
        let own = UserKey::parse("alice").unwrap();
        let guest = UserKey::parse("bob@partner").unwrap();
        assert_eq!(naming.issuer(&own, None), "ACME");
        assert_eq!(naming.issuer(&guest, None), "Guests of ACME (partner)");
        assert_eq!(naming.account(&own, Some("Kim")), "Kim <alice>");
        assert_eq!(naming.account(&guest, None), "bob <bob>");
        let plain = Naming::default();
        assert_eq!(plain.issuer(&own, None), "Oncegate");
        assert_eq!(plain.account(&own, Some("Kim")), "alice@default");
        assert!(parse("{usr}").is_err());
    }
}
