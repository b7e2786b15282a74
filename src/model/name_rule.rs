//! What is done with the user names that a client sends before they are read: NASes put domains, realms and `host/`
//! around one and the same name, and one user has one key and one counter. A client has rules, and its policy.
//!
//! Rules are for what a client sends, once: a key that was made by them is not put through them again.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::model::user_key::UserKey;

/// One step; rules are taken in their order, those of the client before those of its policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NameRule {
    /// `DOMAIN\name` becomes `name`.
    StripDomain,
    /// `name@realm` becomes `name`.
    StripRealm,
    /// `host/name` becomes `name`.
    StripHost,
    /// `FROM\\name` and `name@FROM` become `name@to`.
    Map {
        /// A domain or realm, in lower case.
        from: String,
        /// The realm here.
        to: String,
    },
}

/// A text is no rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a rule is strip-domain, strip-realm, strip-host, or FROM=REALM")]
pub struct InvalidRule;

impl NameRule {
    fn apply<'n>(&self, name: Cow<'n, str>) -> Cow<'n, str> {
        let changed = match self {
            Self::StripDomain => name.split_once('\\').map(|(_, rest)| rest.to_owned()),
            Self::StripRealm => name.rsplit_once('@').map(|(head, _)| head.to_owned()),
            Self::StripHost => {
                let head = name.get(..HOST.len());
                let host = head.is_some_and(|head| head.eq_ignore_ascii_case(HOST));
                name.get(HOST.len()..).filter(|_| host).map(str::to_owned)
            }
            Self::Map { from, to } => {
                let domain = name.split_once('\\');
                let realm = name.rsplit_once('@').map(|(head, realm)| (realm, head));
                let found = domain.into_iter().chain(realm);
                let mut found = found.filter(|(word, _)| word.to_lowercase() == *from);
                found.next().map(|(_, name)| format!("{name}@{to}"))
            }
        };
        changed.map_or(name, Cow::Owned)
    }
}

/// A name after all rules.
pub fn apply<'n>(rules: &[NameRule], name: &'n str) -> Cow<'n, str> {
    let name = Cow::Borrowed(name.trim());
    rules.iter().fold(name, |name, rule| rule.apply(name))
}

impl FromStr for NameRule {
    type Err = InvalidRule;

    fn from_str(text: &str) -> Result<Self, InvalidRule> {
        match text {
            "strip-domain" => Ok(Self::StripDomain),
            "strip-realm" => Ok(Self::StripRealm),
            "strip-host" => Ok(Self::StripHost),
            _ => {
                let (from, to) = text.split_once('=').ok_or(InvalidRule)?;
                let to = UserKey::with_realm("x", to).map_err(|_| InvalidRule)?;
                let plain = |c: char| !c.is_control() && !c.is_whitespace() && !r"\@/".contains(c);
                let known = !from.is_empty() && from.chars().count() <= LONGEST;
                if !known || !from.chars().all(plain) {
                    return Err(InvalidRule);
                }
                Ok(Self::Map {
                    from: from.to_lowercase(),
                    to: to.realm().to_owned(),
                })
            }
        }
    }
}

impl fmt::Display for NameRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StripDomain => f.write_str("strip-domain"),
            Self::StripRealm => f.write_str("strip-realm"),
            Self::StripHost => f.write_str("strip-host"),
            Self::Map { from, to } => write!(f, "{from}={to}"),
        }
    }
}

/// Most rules of a client, and of a policy.
pub const MOST: usize = 32;

const HOST: &str = "host/";
/// Most characters of a domain or realm.
const LONGEST: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn after(rules: &[&str], name: &str) -> String {
        let rules: Vec<NameRule> = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        apply(&rules, name).into_owned()
    }

    #[test]
    fn names_lose_what_is_around_them() {
        assert_eq!(after(&["strip-domain"], r"CORP\alice"), "alice");
        assert_eq!(after(&["strip-realm"], "alice@corp.example"), "alice");
        assert_eq!(after(&["strip-host"], "HOST/pc7"), "pc7");
        let all = ["strip-host", "strip-domain", "strip-realm"];
        assert_eq!(after(&all, r" CORP\alice@x "), "alice");
        assert_eq!(after(&all, "alice"), "alice");
        assert_eq!(after(&[], r"CORP\alice"), r"CORP\alice");
    }

    #[test]
    fn domains_and_realms_become_realms() {
        let rules = ["CORP=staff", "corp.example=staff", "strip-domain"];
        assert_eq!(after(&rules, r"corp\alice"), "alice@staff");
        assert_eq!(after(&rules, "alice@Corp.Example"), "alice@staff");
        assert_eq!(after(&rules, r"OTHER\alice"), "alice");
    }

    #[test]
    fn rules_are_read_as_they_are_written() {
        for rule in ["strip-domain", "strip-realm", "strip-host", "corp=staff"] {
            assert_eq!(rule.parse::<NameRule>().unwrap().to_string(), rule);
        }
        for bad in [
            "",
            "strip",
            "=staff",
            "corp=",
            r"a\b=staff",
            "a b=c",
            "corp=a@b",
        ] {
            assert_eq!(bad.parse::<NameRule>(), Err(InvalidRule), "{bad}");
        }
    }
}
