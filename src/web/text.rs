//! What pages say, in every language: `src/web/text/{en,ko}.toml`.
//!
//! Invariant: all languages have the same keys with the same places (tested), and every key that the sources name
//! is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{LazyLock, OnceLock};

use axum::http::HeaderMap;
use axum::http::header;

use crate::diagnostic::{Diagnostic, Source};
use crate::model::message::Language;

/// Texts by their keys.
pub(crate) type Texts = BTreeMap<String, String>;

static ENGLISH: LazyLock<Texts> = LazyLock::new(|| read(include_str!("text/en.toml")));
static KOREAN: LazyLock<Texts> = LazyLock::new(|| read(include_str!("text/ko.toml")));

/// What the server itself says in English, in Korean.
static SAID: LazyLock<Texts> = LazyLock::new(|| {
    let table = include_str!("text/said.ko.toml").parse::<toml::Table>();
    let pairs = table.unwrap_or_default().into_iter();
    let pairs = pairs.filter_map(|(said, value)| Some((said, value.as_str()?.to_owned())));
    pairs.collect()
});

/// Those of an installation, by language.
static OVERRIDES: OnceLock<BTreeMap<&'static str, Texts>> = OnceLock::new();

/// Uses an installation's own texts from now on; the first ones stay.
pub(crate) fn set_overrides(all: BTreeMap<&'static str, Texts>) {
    let _ = OVERRIDES.set(all);
}

/// The texts of one language.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text(pub(crate) Language);

impl Text {
    /// The language that a browser prefers, of those there are.
    pub(crate) fn preferred(headers: &HeaderMap) -> Language {
        let accepted = headers.get(header::ACCEPT_LANGUAGE);
        let accepted = accepted.and_then(|value| value.to_str().ok());
        let first = accepted.unwrap_or_default().split(',').find_map(|one| {
            let tag = one.split(';').next().unwrap_or_default().trim();
            tag.split('-').next().unwrap_or_default().parse().ok()
        });
        first.unwrap_or(Language::En)
    }

    /// The tag for `lang`.
    pub(crate) fn code(self) -> &'static str {
        self.0.as_str()
    }

    /// A text; where this language lacks it, in English; what no one wrote is its key.
    pub(crate) fn get(self, key: &str) -> &str {
        self.find(key).unwrap_or(key)
    }

    /// The same for keys that are made of words of the server.
    pub(crate) fn find(self, key: &str) -> Option<&'static str> {
        let own = OVERRIDES
            .get()
            .and_then(|all| all.get(self.code())?.get(key));
        if let Some(own) = own {
            return Some(own);
        }
        let own = match self.0 {
            Language::En => ENGLISH.get(key),
            Language::Ko => KOREAN.get(key),
        };
        own.or_else(|| ENGLISH.get(key)).map(String::as_str)
    }

    /// A name that the server has in English, in this language where it is known.
    pub(crate) fn said(self, english: &str) -> &str {
        match self.0 {
            Language::En => english,
            Language::Ko => SAID.get(english).map_or(english, String::as_str),
        }
    }

    /// A sentence that the server says in English, in this language; none where it is not known: as a whole, with
    /// values in its places, or behind the word of a reason or the name of a field.
    pub(crate) fn told(self, english: &str) -> Option<String> {
        if self.0 == Language::En {
            return Some(english.to_owned());
        }
        if let Some(known) = SAID.get(english) {
            return Some(known.clone());
        }
        if let Some((word, rest)) = english.split_once(": ") {
            if let Some(reason) = self.find(&format!("reason.{word}")) {
                return Some(reason.to_owned());
            }
            let is_name = |sign: char| sign.is_ascii_lowercase() || sign == '_';
            if let Some(rest) = word.chars().all(is_name).then(|| self.told(rest)).flatten() {
                let name = self.find(&format!("field.{word}")).unwrap_or(word);
                return Some(format!("{name}: {rest}"));
            }
        }
        SAID.iter().find_map(|(pattern, known)| {
            let found = matched(pattern, english)?;
            let mut values = Vec::new();
            for place in places(known) {
                let (_, value) = found.iter().find(|(name, _)| *name == place)?;
                // Names and numbers stay; a sentence in a place is known, or the whole is not.
                let is_sentence = value.contains(' ') && !value.contains(", ");
                let shown = is_sentence.then(|| self.told(value));
                values.push((place, shown.unwrap_or_else(|| Some((*value).to_owned()))?));
            }
            let values: Vec<_> = values
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            Some(filled(known, &values))
        })
    }

    /// A text with its places filled.
    pub(crate) fn with(self, key: &str, values: &[(&str, &str)]) -> String {
        filled(self.get(key), values)
    }
}

fn filled(text: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::new();
    let mut rest = text;
    // Once from left to right: what a value holds is no place.
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, behind)) = after.split_once('}') else {
            break;
        };
        filled.push_str(before);
        let value = values.iter().find(|(place, _)| *place == name);
        filled.push_str(value.map_or("", |(_, value)| value));
        rest = behind;
    }
    filled.push_str(rest);
    filled
}

/// The values of a pattern's places, if a text is of its form.
fn matched<'a>(pattern: &'a str, text: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
    let (before, mut pattern) = pattern.split_once('{')?;
    let mut text = text.strip_prefix(before)?;
    let mut values = Vec::new();
    loop {
        let (name, behind) = pattern.split_once('}')?;
        let Some((between, next)) = behind.split_once('{') else {
            values.push((name, text.strip_suffix(behind)?));
            return Some(values);
        };
        let (value, rest) = text.split_once(between)?;
        values.push((name, value));
        (text, pattern) = (rest, next);
    }
}

/// Texts of an installation in the place of single ones that are built in; what fits none is a finding.
pub(crate) fn overrides(language: Language, source: &Source) -> (Texts, Vec<Diagnostic>) {
    let table = match source.text().parse::<toml::Table>() {
        Ok(table) => table,
        Err(error) => return (Texts::new(), vec![Diagnostic::from_toml(source, &error)]),
    };
    let (mut texts, mut faults) = (Texts::new(), Vec::new());
    flatten("", table, &mut texts);
    let built_in = match language {
        Language::En => &ENGLISH,
        Language::Ko => &KOREAN,
    };
    texts.retain(|key, text| {
        let wrong = match built_in.get(key) {
            None => format!("there is no text `{key}`"),
            Some(own) if places(own) == places(text) => return true,
            Some(own) => format!("the text `{key}` has other places than `{own}`"),
        };
        let name = source.name();
        faults.push(Diagnostic::error(format!("{name}: {wrong}")));
        false
    });
    (texts, faults)
}

/// The places of a text that values stand in.
fn places(text: &str) -> BTreeSet<&str> {
    let after = text.split('{').skip(1);
    after.filter_map(|one| one.split('}').next()).collect()
}

fn read(text: &str) -> Texts {
    let mut texts = Texts::new();
    // Checked by the tests below.
    if let Ok(table) = text.parse::<toml::Table>() {
        flatten("", table, &mut texts);
    }
    texts
}

fn flatten(before: &str, table: toml::Table, texts: &mut Texts) {
    for (name, value) in table {
        let key = if before.is_empty() {
            name
        } else {
            format!("{before}.{name}")
        };
        match value {
            toml::Value::Table(table) => flatten(&key, table, texts),
            toml::Value::String(text) => drop(texts.insert(key, text)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::model::reason::{Decision, Reason};

    #[test]
    fn every_language_has_every_text_with_its_places() {
        let keys = |texts: &Texts| texts.keys().cloned().collect::<Vec<_>>();
        assert!(ENGLISH.len() > 50);
        assert_eq!(keys(&ENGLISH), keys(&KOREAN));
        for (key, english) in ENGLISH.iter() {
            assert_eq!(places(english), places(&KOREAN[key]), "{key}");
            assert!(!english.is_empty() && !KOREAN[key].is_empty(), "{key}");
        }
    }

    #[test]
    fn every_reason_has_a_sentence() {
        for reason in Reason::ALL {
            assert!(
                ENGLISH.contains_key(&format!("reason.{reason}")),
                "{reason}"
            );
        }
    }

    #[test]
    fn every_refusal_has_an_advice() {
        let refused = Reason::ALL.into_iter();
        for reason in refused.filter(|reason| reason.decision() == Decision::Reject) {
            assert!(ENGLISH.contains_key(&format!("next.{reason}")), "{reason}");
        }
    }

    fn named(dir: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                named(&path, found);
            } else if path
                .extension()
                .is_some_and(|end| end == "rs" || end == "html")
            {
                let text = fs::read_to_string(&path).unwrap();
                let text = text.split("#[cfg(test)]").next().unwrap();
                for start in ["t.get(\"", "t.with(\"", "t.get(\n"] {
                    let after = text.split(start).skip(1);
                    found.extend(after.map(|one| one.split('"').next().unwrap().to_owned()));
                }
            }
        }
    }

    #[test]
    fn every_key_that_is_named_is_there() {
        let mut found = BTreeSet::new();
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web");
        named(&sources, &mut found);
        found.retain(|key| !key.trim().is_empty());
        assert!(found.len() > 20);
        let missing: Vec<_> = found
            .iter()
            .filter(|key| !ENGLISH.contains_key(*key))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    /// Names of settings and commands stay as the appliance has them.
    #[test]
    fn steps_of_appliances_are_said_in_korean() {
        let words = [
            " or ", " and ", " is ", " not ", " are ", " from ", " by ", " of ", " in ", " the ",
            " a ",
        ];
        let mut missing = BTreeSet::new();
        for profile in crate::model::profile::PROFILES {
            for fact in profile.enter.iter().chain(profile.known) {
                for text in [fact.about, fact.says] {
                    let padded = format!(" {text} ").replace([';', ','], " ");
                    let is_prose = words.iter().any(|word| padded.contains(word));
                    if is_prose && !SAID.contains_key(text) {
                        missing.insert(text);
                    }
                }
            }
        }
        assert!(missing.is_empty(), "{missing:#?}");
        assert!(SAID.values().all(|text| !text.is_empty()));
    }

    /// The text of these sources and of those in these directories, without their tests.
    fn sources(paths: &[&str]) -> String {
        let mut all = String::new();
        for path in paths {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
            let mut files = vec![path.clone()];
            if path.is_dir() {
                let entries = fs::read_dir(&path).unwrap();
                files = entries.map(|entry| entry.unwrap().path()).collect();
            }
            for file in files.iter().filter(|file| file.is_file()) {
                let text = fs::read_to_string(file).unwrap();
                all.push_str(text.split("#[cfg(test)]").next().unwrap());
            }
        }
        all
    }

    /// The literal that a text begins with, if it begins with one.
    fn literal(text: &str) -> Option<String> {
        let text = text.trim_start();
        let text = text.strip_prefix("format!(").unwrap_or(text).trim_start();
        let literal = text.strip_prefix('"')?.split('"').next()?;
        Some(literal.split("\\\n").map(str::trim_start).collect())
    }

    /// What a page can be refused with is known in Korean: a new refusal is found here.
    #[test]
    fn every_refusal_of_the_administration_is_said_in_korean() {
        let all = sources(&[
            "src/admin",
            "src/store/transition",
            "src/model/enrolment.rs",
            "src/model/issue.rs",
            "src/model/message.rs",
            "src/model/user_key.rs",
            "src/server/http/tell.rs",
            "src/server/http/links.rs",
        ]);
        let mut found = BTreeSet::new();
        for word in [
            "Conflict(",
            "Forbidden(",
            "::conflict(",
            "::forbidden(",
            "#[error(",
        ] {
            found.extend(all.split(word).skip(1).filter_map(literal));
        }
        // Behind the field, and behind the condition.
        for word in ["invalid(", "refuse_if("] {
            let calls = all.split(word).skip(1);
            found.extend(calls.filter_map(|call| literal(call.split_once(',')?.1)));
        }
        assert!(found.len() > 80, "{}", found.len());
        for name in ["VOID_KEY", "CLOSED_IN_STOCK", "UNSYNCHRONISED", "OTHER_USE"] {
            let after = all.split(&format!("const {name}: &str =")).nth(1);
            found.insert(after.and_then(literal).expect(name));
        }
        let next = all.split("let next =").skip(1).filter_map(literal);
        found.extend(next);
        // What stands beside a token that was made.
        let made = sources(&["src/server/http/admin/tokens.rs"]);
        for word in ["Some(format!(", "warnings.push("] {
            found.extend(made.split(word).skip(1).filter_map(literal));
        }
        // These hold nothing of their own.
        let bare = |text: &str| {
            text.split(['{', '}'])
                .step_by(2)
                .all(|part| part.trim_matches([':', ' ']).is_empty())
        };
        found.retain(|text| !bare(text) && !SAID.contains_key(text.as_str()));
        assert!(found.is_empty(), "{found:#?}");
    }

    #[test]
    fn a_sentence_with_values_is_known_by_its_form() {
        let korean = Text(Language::Ko);
        let told = korean.told("user bora@default exists already").unwrap();
        assert!(told.starts_with("bora@default "), "{told}");
        let name = korean.get("field.phone");
        let told = korean.told("phone: a phone number has 7 to 15 digits with its country");
        assert!(told.unwrap().starts_with(&format!("{name}: ")));
        let told = korean.told("wrong_code: advice of the server").unwrap();
        assert_eq!(told, korean.get("reason.wrong_code"));
        assert_eq!(korean.told("what no one has written down"), None);
        assert!(korean.told(&crate::api::weak_keys(2, "line 7")).is_some());
        let told = korean
            .told("no code is made: the token is not in use")
            .unwrap();
        assert!(told.ends_with(&korean.told("the token is not in use").unwrap()));
        assert_eq!(
            korean.told("no code is made: for a reason of its own"),
            None
        );
        assert_eq!(korean.told("evil: what no one has written down"), None);
        assert_eq!(
            matched("a {x} b {y}", "a 1 b 2"),
            Some(vec![("x", "1"), ("y", "2")])
        );
        assert_eq!(matched("a {x} b", "a 1 c"), None);
    }

    #[test]
    fn every_action_of_the_audit_has_a_name() {
        for action in crate::explain::ACTIONS.keys() {
            assert!(
                ENGLISH.contains_key(&format!("action.{action}")),
                "{action}"
            );
        }
    }

    #[test]
    fn a_value_is_no_place() {
        let text = Text(Language::En).with("test {a} and {b}", &[("a", "{b}"), ("b", "2")]);
        assert_eq!(text, "test {b} and 2");
    }
}
