//! Reply attributes with placeholders: `"Filter-Id" = "{group}"`.
//!
//! Placeholders: `{user}`, `{realm}`, `{display_name}`, `{group}`, `{groups}`, `{token}` (serial) and
//! `{attribute.NAME}` (first value of a request attribute); `{{` and `}}` are literal braces. They are checked when the
//! policy is read. An attribute whose placeholder has no value is left out of the reply: an empty or
//! half-filled `Filter-Id` could name another filter than the one meant.
//!
//! `{groups}` makes one attribute of each group. Which groups `{group}` and `{groups}` stand for, and
//! under which names, is said by `group_filter` and `group_map` beside the attributes. A rule's own
//! reply takes the place of the policy's, attribute by attribute.
//!
//! Threat: values come from requests and directories. Expansion is one pass, so a value holding
//! braces is text; whether it fits the attribute is checked again by the encoder.

use std::collections::BTreeMap;

use crate::model::id::Serial;
use crate::model::user_key::UserKey;
use crate::policy::{Policy, Rule};
use crate::template;
use crate::template::Braces;

/// One attribute of an accept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReplyAttribute {
    /// Dictionary name.
    pub name: String,
    /// Its value.
    pub value: Template,
}

/// What goes with an accept.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// In the order of the file.
    pub attributes: Vec<ReplyAttribute>,
    /// Which groups are sent.
    pub groups: Groups,
}

/// Which groups placeholders stand for, and under which names.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    /// Names that are sent, `*` for any text; `None`: all.
    pub filter: Option<Vec<Box<str>>>,
    /// Other names for some of them.
    pub map: BTreeMap<Box<str>, Box<str>>,
}

impl Groups {
    /// The name under which a group is sent, if it is.
    pub fn name<'a>(&'a self, group: &'a str) -> Option<&'a str> {
        let wanted = |filter: &Vec<Box<str>>| filter.iter().any(|pattern| fits(pattern, group));
        let sent = self.filter.as_ref().is_none_or(wanted);
        let name = self.map.get(group).map_or(group, |name| &**name);
        sent.then_some(name)
    }
}

/// Whether a text is of a pattern with at most one `*`.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((front, back)) => {
            let rest = text.strip_prefix(front);
            rest.is_some_and(|rest| rest.ends_with(back))
        }
    }
}

impl Reply {
    /// A rule's reply over the policy's.
    pub(super) fn over(&self, policy: &Self) -> Self {
        let own = |name: &str| {
            let mut attributes = self.attributes.iter();
            attributes.any(|one| one.name.eq_ignore_ascii_case(name))
        };
        let kept = policy.attributes.iter().filter(|one| !own(&one.name));
        let mut groups = self.groups.clone();
        groups.filter = groups.filter.or_else(|| policy.groups.filter.clone());
        if groups.map.is_empty() {
            groups.map.clone_from(&policy.groups.map);
        }
        Self {
            attributes: kept.chain(&self.attributes).cloned().collect(),
            groups,
        }
    }
}

/// What placeholders stand for.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplyFacts<'a> {
    /// Name of the user, without realm.
    pub user: &'a str,
    /// Realm of the user.
    pub realm: &'a str,
    /// What the user is called; at most 128 octets of it are sent.
    pub display_name: Option<&'a str>,
    /// See [`crate::policy::Rule::group_of`], as it is sent.
    pub group: Option<&'a str>,
    /// All groups of the user, by their own names.
    pub groups: &'a [String],
    /// Serial of the accepted token, if there was one.
    pub token: Option<&'a str>,
    /// RADIUS attributes of the request by dictionary name.
    pub attributes: &'a [(&'a str, &'a str)],
}

/// A value with placeholders.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template(template::Template<Part>);

/// What a placeholder stands for.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Attribute(Box<str>),
    DisplayName,
    Group,
    Groups,
    Realm,
    Token,
    User,
}

impl Template {
    /// Reads a template. The error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        template::Template::parse(text, Braces::Doubled, Part::named).map(Self)
    }

    /// The texts with every placeholder filled: none when one has no value, several with `{groups}`,
    /// no text twice.
    pub fn expand(&self, facts: &ReplyFacts<'_>, groups: &Groups) -> Vec<String> {
        let filled = |group: Option<&str>| -> Option<String> {
            let mut missing = false;
            let mut filled = String::new();
            self.0
                .fill(&mut filled, |part, into| match part.value(facts, group) {
                    Some(value) => into.push_str(value),
                    None => missing = true,
                });
            (!missing).then_some(filled)
        };
        // Without `{groups}` it is one attribute.
        if !self.0.places().any(|part| *part == Part::Groups) {
            return filled(None).into_iter().collect();
        }
        let mut texts = Vec::new();
        let names = facts.groups.iter().filter_map(|group| groups.name(group));
        for text in names.filter_map(|name| filled(Some(name))) {
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        texts
    }

    /// The text with each placeholder replaced by one letter: what an attribute check can look at.
    pub(super) fn sample(&self) -> String {
        self.with_letters(|_| 1)
    }

    /// The longest text that it can become; `None` without placeholders.
    pub(super) fn longest(&self) -> Option<String> {
        self.0.places().next()?;
        Some(self.with_letters(Part::longest))
    }

    fn with_letters(&self, count: impl Fn(&Part) -> usize) -> String {
        let mut text = String::new();
        self.0.fill(&mut text, |part, into| {
            into.extend(std::iter::repeat_n('x', count(part)));
        });
        text
    }

    /// Its placeholders, with how long each can become.
    pub(super) fn variable(&self) -> impl Iterator<Item = String> {
        self.0.places().map(|part| {
            let name = match part {
                Part::Attribute(name) => format!("attribute.{name}"),
                Part::DisplayName => "display_name".to_owned(),
                Part::Group => "group".to_owned(),
                Part::Groups => "groups".to_owned(),
                Part::Realm => "realm".to_owned(),
                Part::Token => "token".to_owned(),
                Part::User => "user".to_owned(),
            };
            format!("{{{name}}} has up to {} octets", part.longest())
        })
    }

    /// Names of the request attributes it uses.
    pub(super) fn attributes(&self) -> impl Iterator<Item = &str> {
        self.0.places().filter_map(|part| match part {
            Part::Attribute(name) => Some(name.as_ref()),
            _ => None,
        })
    }
}

impl Part {
    fn named(name: &str) -> Result<Self, String> {
        Ok(match name {
            "display_name" => Self::DisplayName,
            "group" => Self::Group,
            "groups" => Self::Groups,
            "realm" => Self::Realm,
            "token" => Self::Token,
            "user" => Self::User,
            _ => match name.strip_prefix("attribute.") {
                Some(attribute) if !attribute.is_empty() => Self::Attribute(attribute.into()),
                _ => return Err(template::unknown(name, &KNOWN)),
            },
        })
    }

    /// Most octets of its value.
    fn longest(&self) -> usize {
        match self {
            Self::Attribute(_) => 253,
            Self::DisplayName => DISPLAY_NAME,
            Self::Group | Self::Groups => 256,
            Self::Realm | Self::User => UserKey::MAX - 2,
            Self::Token => Serial::MAX,
        }
    }

    fn value<'a>(&'a self, facts: &ReplyFacts<'a>, group: Option<&'a str>) -> Option<&'a str> {
        let value = match self {
            Self::Attribute(name) => {
                let mut attributes = facts.attributes.iter();
                attributes
                    .find(|(key, _)| *key == name.as_ref())
                    .map(|(_, value)| *value)?
            }
            Self::DisplayName => {
                let name = facts.display_name?;
                name.get(..name.floor_char_boundary(DISPLAY_NAME))?
            }
            Self::Group => facts.group?,
            Self::Groups => group?,
            Self::Realm => facts.realm,
            Self::Token => facts.token?,
            Self::User => facts.user,
        };
        (!value.is_empty()).then_some(value)
    }
}

/// Most octets of a display name in a reply: a longer one is cut between two characters.
const DISPLAY_NAME: usize = 128;

/// The placeholders, for complaints.
const KNOWN: [&str; 7] = [
    "user",
    "realm",
    "display_name",
    "group",
    "groups",
    "token",
    "attribute.NAME",
];

impl Policy {
    /// What goes with an accept by this rule.
    pub fn reply_of<'a>(&'a self, rule: &'a Rule) -> &'a Reply {
        rule.reply.as_ref().unwrap_or(&self.reply)
    }

    /// The reply attributes of an accept by this rule, in the order of the file.
    pub fn expand(&self, rule: &Rule, facts: &ReplyFacts<'_>) -> Vec<(String, String)> {
        let reply = self.reply_of(rule);
        let mut filled = Vec::new();
        for attribute in &reply.attributes {
            for value in attribute.value.expand(facts, &reply.groups) {
                filled.push((attribute.name.clone(), value));
            }
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_placeholders_once() {
        let attributes = [("NAS-Port-Id", "{user}")];
        let facts = ReplyFacts {
            user: "alice",
            realm: "default",
            display_name: None,
            group: Some("staff"),
            groups: &[],
            token: Some("TOTP-1"),
            attributes: &attributes,
        };
        let groups = Groups::default();
        let expand = |text| -> Result<Option<String>, String> {
            let template = Template::parse(text)?;
            Ok(template.expand(&facts, &groups).pop())
        };
        let text = "{{{user}@{realm}}} {group} {token} {attribute.NAS-Port-Id}";
        assert_eq!(
            expand(text),
            Ok(Some("{alice@default} staff TOTP-1 {user}".to_owned()))
        );
        assert_eq!(expand("a {attribute.Class}"), Ok(None));
        assert_eq!(expand("plain"), Ok(Some("plain".to_owned())));
    }

    #[test]
    fn a_display_name_is_cut_between_two_characters_or_left_out() {
        let template = Template::parse("N={display_name}").unwrap();
        let expand = |name: Option<&str>| {
            let facts = ReplyFacts {
                display_name: name,
                ..ReplyFacts::default()
            };
            template.expand(&facts, &Groups::default())
        };
        assert!(expand(None).is_empty() && expand(Some("")).is_empty());
        assert_eq!(expand(Some("Kim {user}")), ["N=Kim {user}"]);
        // 43 characters of three octets are 129.
        let long = "\u{ae40}".repeat(43);
        assert_eq!(
            expand(Some(&long)),
            [format!("N={}", "\u{ae40}".repeat(42))]
        );
    }

    #[test]
    fn groups_are_filtered_mapped_and_repeated() {
        let all = ["staff", "vpn-a", "vpn-b", "vpn-c"].map(str::to_owned);
        let facts = ReplyFacts {
            groups: &all,
            ..ReplyFacts::default()
        };
        let groups = Groups {
            filter: Some(vec!["vpn-*".into()]),
            map: BTreeMap::from([
                ("vpn-a".into(), "ADMIN".into()),
                ("vpn-c".into(), "ADMIN".into()),
            ]),
        };
        let expand = |text| Template::parse(text).unwrap().expand(&facts, &groups);
        assert_eq!(expand("OU={groups};"), ["OU=ADMIN;", "OU=vpn-b;"]);
        assert_eq!(expand("{groups}{group}"), [""; 0]);
        for (pattern, text, wanted) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*b", "ab", true),
            ("a*b", "a", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(fits(pattern, text), wanted, "{pattern} {text}");
        }
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
