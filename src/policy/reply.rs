//! Reply attributes with placeholders: `"Filter-Id" = "{group}"`.
//!
//! Placeholders: `{user}`, `{realm}`, `{group}`, `{token}` (serial) and `{attribute.NAME}` (first
//! value of a request attribute); `{{` and `}}` are literal braces. They are checked when the policy
//! is read. An attribute whose placeholder has no value is left out of the reply: an empty or
//! half-filled `Filter-Id` could name another filter than the one meant.
//!
//! Threat: values come from requests and directories. Expansion is one pass, so a value holding
//! braces is text; whether it fits the attribute is checked again by the encoder.

use crate::diagnostic::did_you_mean;
use crate::model::id::Serial;
use crate::model::user_key::UserKey;
use crate::policy::Policy;

/// One attribute of an accept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReplyAttribute {
    /// Dictionary name.
    pub name: String,
    /// Its value.
    pub value: Template,
}

/// What placeholders stand for.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplyFacts<'a> {
    /// Name of the user, without realm.
    pub user: &'a str,
    /// Realm of the user.
    pub realm: &'a str,
    /// See [`crate::policy::Rule::group_of`].
    pub group: Option<&'a str>,
    /// Serial of the accepted token, if there was one.
    pub token: Option<&'a str>,
    /// RADIUS attributes of the request by dictionary name.
    pub attributes: &'a [(&'a str, &'a str)],
}

/// A text with placeholders.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Attribute(Box<str>),
    Group,
    Realm,
    Text(Box<str>),
    Token,
    User,
}

impl Template {
    /// Reads a template. The error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, brace, after)) = next_brace(rest) {
            literal.push_str(before);
            rest = if let Some(behind) = after.strip_prefix(brace) {
                literal.push(brace);
                behind
            } else if brace == '}' {
                return Err("a single `}`: write `}}` for a brace".to_owned());
            } else {
                let (name, behind) = after
                    .split_once('}')
                    .ok_or("a `{` without its `}`: write `{{` for a brace")?;
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal).into()));
                }
                parts.push(Part::named(name)?);
                behind
            };
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal.into()));
        }
        Ok(Self(parts))
    }

    /// The text with every placeholder filled; `None` when one has no value.
    pub fn expand(&self, facts: &ReplyFacts<'_>) -> Option<String> {
        self.0.iter().map(|part| part.value(facts)).collect()
    }

    /// The text with each placeholder replaced by one letter: what an attribute check can look at.
    pub(super) fn sample(&self) -> String {
        let sample = |part: &Part| match part {
            Part::Text(text) => text.to_string(),
            _ => "x".to_owned(),
        };
        self.0.iter().map(sample).collect()
    }

    /// The longest text that it can become; `None` without placeholders.
    pub(super) fn longest(&self) -> Option<String> {
        self.variable().next()?;
        let longest = |part: &Part| match part {
            Part::Text(text) => text.to_string(),
            part => "x".repeat(part.longest()),
        };
        Some(self.0.iter().map(longest).collect())
    }

    /// Its placeholders, with how long each can become.
    pub(super) fn variable(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(|part| {
            let name = match part {
                Part::Text(_) => return None,
                Part::Attribute(name) => format!("attribute.{name}"),
                Part::Group => "group".to_owned(),
                Part::Realm => "realm".to_owned(),
                Part::Token => "token".to_owned(),
                Part::User => "user".to_owned(),
            };
            Some(format!("{{{name}}} has up to {} octets", part.longest()))
        })
    }

    /// Names of the request attributes it uses.
    pub(super) fn attributes(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Attribute(name) => Some(name.as_ref()),
            _ => None,
        })
    }
}

impl Part {
    fn named(name: &str) -> Result<Self, String> {
        Ok(match name {
            "group" => Self::Group,
            "realm" => Self::Realm,
            "token" => Self::Token,
            "user" => Self::User,
            _ => match name.strip_prefix("attribute.") {
                Some(attribute) if !attribute.is_empty() => Self::Attribute(attribute.into()),
                _ => return Err(unknown(name)),
            },
        })
    }

    /// Most octets of its value.
    fn longest(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Attribute(_) => 253,
            Self::Group => 256,
            Self::Realm | Self::User => UserKey::MAX - 2,
            Self::Token => Serial::MAX,
        }
    }

    fn value<'a>(&'a self, facts: &ReplyFacts<'a>) -> Option<&'a str> {
        let value = match self {
            Self::Attribute(name) => {
                let mut attributes = facts.attributes.iter();
                attributes
                    .find(|(key, _)| *key == name.as_ref())
                    .map(|(_, value)| *value)?
            }
            Self::Group => facts.group?,
            Self::Realm => facts.realm,
            Self::Text(text) => text,
            Self::Token => facts.token?,
            Self::User => facts.user,
        };
        (!value.is_empty()).then_some(value)
    }
}

fn next_brace(text: &str) -> Option<(&str, char, &str)> {
    let at = text.find(['{', '}'])?;
    let (before, from) = text.split_at_checked(at)?;
    let mut chars = from.chars();
    let brace = chars.next()?;
    Some((before, brace, chars.as_str()))
}

fn unknown(name: &str) -> String {
    let known = ["user", "realm", "group", "token"];
    did_you_mean(name, known).map_or_else(
        || {
            format!(
                "unknown placeholder `{{{name}}}`: there are {{user}}, {{realm}}, {{group}}, \
                 {{token}} and {{attribute.NAME}}"
            )
        },
        |close| format!("unknown placeholder `{{{name}}}`: did you mean `{{{close}}}`?"),
    )
}

impl Policy {
    /// The reply attributes of an accept, in the order of the policy.
    pub fn expand(&self, facts: &ReplyFacts<'_>) -> Vec<(String, String)> {
        let filled = self.reply.iter().filter_map(|attribute| {
            let value = attribute.value.expand(facts)?;
            Some((attribute.name.clone(), value))
        });
        filled.collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn fills_placeholders_once() {
        let attributes = [("NAS-Port-Id", "{user}")];
        let facts = ReplyFacts {
            user: "alice",
            realm: "default",
            group: Some("staff"),
            token: Some("TOTP-1"),
            attributes: &attributes,
        };
        let expand = |text| Template::parse(text).map(|template| template.expand(&facts));
        let text = "{{{user}@{realm}}} {group} {token} {attribute.NAS-Port-Id}";
        assert_eq!(
            expand(text),
            Ok(Some("{alice@default} staff TOTP-1 {user}".to_owned()))
        );
        assert_eq!(expand("a {attribute.Class}"), Ok(None));
        assert_eq!(expand("plain"), Ok(Some("plain".to_owned())));
    }

    #[test]
    fn refuses_unknown_placeholders() {
        let error = |text| Template::parse(text).unwrap_err();
        assert_eq!(
            error("{gruop}"),
            "unknown placeholder `{gruop}`: did you mean `{group}`?"
        );
        assert!(error("{attribute.}").starts_with("unknown placeholder `{attribute.}`"));
        assert_eq!(
            error("{user"),
            "a `{` without its `}`: write `{{` for a brace"
        );
        assert_eq!(error("a } b"), "a single `}`: write `}}` for a brace");
    }
}
