//! One condition of a rule: a fact of the request and the values it may have.
//!
//! A condition holds when any value of the fact equals any of the wanted ones: a user of several
//! groups, an attribute that occurs several times, a list in the policy. A fact without a value (no
//! source address, attribute absent) never satisfies a condition. Words compare exactly, except
//! `realm` and `method`, which ignore ASCII case as the names themselves do; a method stands for the
//! methods of its family as well (`eap` for `eap-ttls-pap`).

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::diagnostic::Place;
use crate::model::method::stands_for;
use crate::policy::facts::Facts;
use crate::policy::hours::{Hours, WallClocks};

/// A condition.
#[derive(Clone, Debug)]
pub struct Condition {
    /// Where it is written.
    pub place: Place,
    /// The fact and what it must be.
    pub wanted: Wanted,
}

/// The fact and what it must be, any of.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// The source address lies in one of the networks.
    Network(Vec<IpNet>),
    /// The time lies in one of the ranges.
    Time(Vec<Hours>),
    /// A fact in words equals one of them.
    Words(Subject, Vec<Box<str>>),
}

/// A fact in words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Subject {
    /// An attribute of the RADIUS request, by dictionary name.
    Attribute(Box<str>),
    /// Name of the asking client.
    Client,
    /// An entry of the HTTP request's `context`.
    Context(Box<str>),
    /// The user's groups.
    Group,
    /// How the credentials came, see [`crate::model::method`].
    Method,
    /// The user's realm.
    Realm,
    /// The user's class.
    UserClass,
}

impl Condition {
    /// Whether it holds.
    pub fn holds(&self, facts: &Facts<'_>) -> bool {
        self.holds_by(facts, &mut WallClocks::new(facts.now))
    }

    /// As [`Condition::holds`], with the clocks of `facts.now` shared by many conditions.
    pub(super) fn holds_by<'p>(&'p self, facts: &Facts<'_>, clocks: &mut WallClocks<'p>) -> bool {
        match &self.wanted {
            Wanted::Network(networks) => facts.source.is_some_and(|source| {
                // Threat: ::ffff:10.0.0.1 from a dual-stack socket must meet rules about 10.0.0.0/8.
                let source = source.to_canonical();
                networks.iter().any(|network| network.contains(&source))
            }),
            Wanted::Time(ranges) => ranges.iter().any(|hours| hours.contains_now(clocks)),
            Wanted::Words(subject, words) => subject.any(facts, |value| {
                words.iter().any(|word| subject.equal(word, value))
            }),
        }
    }

    /// The key as the policy writes it.
    pub fn key(&self) -> String {
        match &self.wanted {
            Wanted::Network(_) => "network".to_owned(),
            Wanted::Time(_) => "time".to_owned(),
            Wanted::Words(subject, _) => subject.to_string(),
        }
    }

    /// The wanted values, for people.
    pub fn wanted_text(&self) -> String {
        match &self.wanted {
            Wanted::Network(networks) => one_of(networks),
            Wanted::Time(ranges) => one_of(ranges),
            Wanted::Words(_, words) => one_of(words),
        }
    }

    /// What the request has for it, for people; `None` when it has nothing.
    pub fn found_text(&self, facts: &Facts<'_>) -> Option<String> {
        match &self.wanted {
            Wanted::Network(_) => facts
                .source
                .map(|source: IpAddr| source.to_canonical().to_string()),
            Wanted::Time(ranges) => {
                let mut shown: Vec<String> = ranges.iter().map(|one| one.show(facts.now)).collect();
                shown.dedup();
                Some(shown.join(" = "))
            }
            Wanted::Words(subject, _) => {
                let mut found = Vec::new();
                subject.any(facts, |value| {
                    found.push(value.to_owned());
                    false
                });
                (!found.is_empty()).then(|| found.join(", "))
            }
        }
    }
}

impl Subject {
    /// Whether `test` says yes to any value of the fact.
    pub(super) fn any<'a>(&self, facts: &Facts<'a>, mut test: impl FnMut(&'a str) -> bool) -> bool {
        let mut listed = |pairs: &'a [(&'a str, &'a str)], name: &str| {
            pairs.iter().any(|(key, value)| *key == name && test(value))
        };
        match self {
            Self::Attribute(name) => listed(facts.attributes, name),
            Self::Client => test(facts.client),
            Self::Context(name) => listed(facts.context, name),
            Self::Group => facts.groups.iter().any(|group| test(group)),
            Self::Method => test(facts.method),
            Self::Realm => test(facts.realm),
            Self::UserClass => facts.user_class.is_some_and(test),
        }
    }

    pub(super) fn equal(&self, wanted: &str, found: &str) -> bool {
        match self {
            Self::Method => stands_for(wanted, found),
            Self::Realm => wanted.eq_ignore_ascii_case(found),
            _ => wanted == found,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attribute(name) => write!(f, "attribute.\"{name}\""),
            Self::Client => f.write_str("client"),
            Self::Context(name) => write!(f, "context.\"{name}\""),
            Self::Group => f.write_str("group"),
            Self::Method => f.write_str("method"),
            Self::Realm => f.write_str("realm"),
            Self::UserClass => f.write_str("user_class"),
        }
    }
}

fn one_of<T: fmt::Display>(values: &[T]) -> String {
    let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
    texts.join(" or ")
}
