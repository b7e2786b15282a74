//! What was written: the keys of `oncegate.toml` and of the environment, not yet understood.
//!
//! Every key is declared once, as a [`Key`] with its default and meaning. Reading is driven by that
//! table rather than by serde derives, because three things follow from it together: all unknown
//! keys of a file are found at once, the environment overrides key by key, and every value keeps its
//! origin for `config show --effective`.
//!
//! All values are texts here (`4096`, `true`, `"3s"`), so that a file and an environment variable
//! mean the same; a list in the environment is separated by commas, or written as in the file: `["A", "B"]`.
//!
//! A `*` in a path stands for a name that the operator chooses ([`Key::of`]): the tables of gateways.
//! The file alone says which names there are; a variable can change a key of them, not add one.

use std::collections::BTreeMap;

use crate::diagnostic::document::{Document, Table, Value};
use crate::diagnostic::{Diagnostic, Findings, Place, Source, did_you_mean};

/// A key of the configuration.
#[derive(Debug, Eq, PartialEq)]
pub struct Key {
    /// Dotted path; `*` is a chosen name.
    pub path: &'static str,
    /// The value when none is written; empty for keys that are simply absent.
    pub default: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// How a text of it is read.
    pub form: Form,
}

/// How the text of a key in the environment is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// Commas separate values.
    List,
    /// The whole is one value: a comma belongs to it.
    Text,
}

impl Key {
    /// Whether it is a key of the tables in this section.
    fn is_in(&self, section: &str) -> bool {
        let chosen = self.path.split_once(".*.");
        chosen.is_some_and(|(own, _)| own == section)
    }

    /// The environment variable that overrides it: `radius.listen` is `ONCEGATE__RADIUS__LISTEN`.
    pub fn variable(&'static self) -> String {
        Named::from(self).variable()
    }

    /// The key in the table of this name.
    pub(super) const fn of<'n>(&'static self, name: &'n str) -> Named<'n> {
        Named { key: self, name }
    }
}

/// A key in its place: for a `*` in its path there is a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'n> {
    pub(super) key: &'static Key,
    name: &'n str,
}

impl From<&'static Key> for Named<'_> {
    fn from(key: &'static Key) -> Self {
        key.of("")
    }
}

impl Named<'_> {
    pub(super) fn path(&self) -> String {
        self.key.path.replacen('*', self.name, 1)
    }

    fn variable(&self) -> String {
        let words = self.path().replace('.', "__").replace('-', "_");
        format!("{PREFIX}{}", words.to_ascii_uppercase())
    }
}

/// Where a value came from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
    /// The key's default.
    Default,
    /// An environment variable.
    Env {
        /// Its name.
        name: String,
    },
    /// The file.
    File {
        /// Name of the file.
        file: String,
        /// Line, from 1.
        line: usize,
    },
}

/// One value as it was written.
#[derive(Clone, Debug)]
pub(super) struct Scalar {
    pub(super) text: String,
    pub(super) place: Option<Place>,
}

/// The values of one key.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) values: Vec<Scalar>,
    pub(super) origin: Origin,
}

/// A table with a chosen name.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    /// The table that it is in.
    section: &'static str,
    pub(super) name: String,
    /// Its header.
    pub(super) place: Place,
}

impl Chosen {
    /// Whether it is the table of this key.
    pub(super) fn has(&self, path: &str) -> bool {
        let inner = path.strip_prefix(self.section);
        let inner = inner.and_then(|rest| rest.strip_prefix('.')?.strip_prefix(&*self.name));
        inner.is_some_and(|rest| rest.starts_with('.'))
    }
}

/// The keys a file may have.
#[derive(Clone, Copy)]
pub(super) struct Vocabulary {
    /// Keys with a fixed path.
    pub(super) fixed: &'static [&'static Key],
    /// Keys of the tables with chosen names, `SECTION.*.KEY`: one list for a section.
    pub(super) free: &'static [&'static [&'static Key]],
}

impl Vocabulary {
    /// The keys of the tables in this section.
    fn of(self, section: &str) -> impl Iterator<Item = &'static Key> {
        let lists = self.free.iter();
        let list = lists
            .copied()
            .find(|keys| keys.first().is_some_and(|key| key.is_in(section)));
        list.unwrap_or_default().iter().copied()
    }
}

/// All keys that were written.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    entries: BTreeMap<String, Entry>,
    chosen: Vec<Chosen>,
    /// Whether the file could be read at all, if there is one.
    pub(super) is_whole: bool,
}

impl Written {
    /// Reads file and environment; the environment wins.
    pub(super) fn read(
        source: Option<&Source>,
        env: impl IntoIterator<Item = (String, String)>,
        keys: Vocabulary,
        findings: &mut Findings,
    ) -> Self {
        let mut written = Self::default();
        let document = source.and_then(|source| Document::parse_unquoted(source, findings));
        written.is_whole = source.is_none() || document.is_some();
        if let Some(document) = document {
            written.section(document.root(), "", keys, findings);
        }
        let chosen = written.chosen.clone();
        let free = chosen
            .iter()
            .flat_map(|table| keys.of(table.section).map(|key| key.of(&table.name)));
        let fixed = keys.fixed.iter().map(|key| Named::from(*key));
        let known: Vec<(String, Named<'_>)> =
            fixed.chain(free).map(|key| (key.variable(), key)).collect();
        for (name, value) in env {
            written.variable(&name, &value, &known, findings);
        }
        written
    }

    /// The entry of a key: as written, or its default.
    pub(super) fn entry<'n>(&self, key: impl Into<Named<'n>>) -> Entry {
        let named = key.into();
        let written = self.entries.get(&named.path()).cloned();
        written.unwrap_or_else(|| Entry {
            values: split(named.key.form, named.key.default),
            origin: Origin::Default,
        })
    }

    /// The tables of this section with chosen names, in the order of the file.
    pub(super) fn chosen(&self, section: &str) -> Vec<Chosen> {
        let all = self.chosen.iter();
        all.filter(|one| one.section == section).cloned().collect()
    }

    /// Every table with a chosen name.
    pub(super) fn tables(&self) -> &[Chosen] {
        &self.chosen
    }

    /// The same without these keys: each is at its default, or its table is left out.
    pub(super) fn without(&self, keys: &[String]) -> Self {
        let mut rest = self.clone();
        rest.entries.retain(|path, _| !keys.contains(path));
        rest.chosen
            .retain(|table| !keys.iter().any(|key| table.has(key)));
        rest
    }

    fn section(
        &mut self,
        mut table: Table<'_>,
        prefix: &str,
        keys: Vocabulary,
        findings: &mut Findings,
    ) {
        let mut sections: Vec<&'static str> = Vec::new();
        for key in keys.fixed {
            let Some(rest) = key.path.strip_prefix(prefix) else {
                continue;
            };
            if let Some((section, _)) = rest.split_once('.') {
                if !sections.contains(&section) {
                    sections.push(section);
                }
                continue;
            }
            if let Some(value) = table.value(rest) {
                self.value(key.path.to_owned(), &value, findings);
            }
        }
        for section in sections {
            let Some(value) = table.value(section) else {
                continue;
            };
            if let Some(inner) = table_of(&value, findings) {
                self.section(inner, &format!("{prefix}{section}."), keys, findings);
            }
        }
        if prefix.is_empty() {
            for keys in keys.free {
                self.free_tables(&mut table, keys, findings);
            }
        }
        table.finish(findings);
    }

    /// `[SECTION.NAME]`, as often as the operator likes.
    fn free_tables(
        &mut self,
        table: &mut Table<'_>,
        keys: &'static [&'static Key],
        findings: &mut Findings,
    ) {
        let sections = keys.first().and_then(|key| key.path.split_once(".*."));
        let Some((section, _)) = sections else {
            return;
        };
        let Some(all) = table.value(section) else {
            return;
        };
        let Some(all) = table_of(&all, findings) else {
            return;
        };
        for (name, place, value) in all.free() {
            if !is_name(name) {
                let message = format!("`{name}` cannot be the name of a table in `{section}`");
                let help = "a name has small letters, digits and dashes, and begins with a letter";
                let error = Diagnostic::error(message).at(place.without_value());
                findings.push(error.help(help));
                continue;
            }
            let Some(mut inner) = table_of(&value, findings) else {
                continue;
            };
            for key in keys {
                let (_, last) = key.path.rsplit_once('.').unwrap_or(("", key.path));
                if let Some(value) = inner.value(last) {
                    self.value(key.of(name).path(), &value, findings);
                }
            }
            inner.finish(findings);
            self.chosen.push(Chosen {
                section,
                name: name.to_owned(),
                place: place.without_value(),
            });
        }
    }

    fn value(&mut self, path: String, value: &Value<'_>, findings: &mut Findings) {
        let place = value.place();
        let mut found = Findings::default();
        let scalars = value.scalars(&mut found);
        // What is no text may hold one: `headers = { Authorization = ".." }`.
        findings.push_unquoted(found);
        let Some(scalars) = scalars else {
            return;
        };
        let origin = Origin::File {
            file: place.file().to_owned(),
            line: place.line(),
        };
        let scalar = |(text, place)| Scalar {
            text,
            place: Some(place),
        };
        let values = scalars.into_iter().map(scalar).collect();
        self.entries.insert(path, Entry { values, origin });
    }

    fn variable(
        &mut self,
        name: &str,
        value: &str,
        known: &[(String, Named<'_>)],
        findings: &mut Findings,
    ) {
        if !name.starts_with(PREFIX) {
            return;
        }
        if let Some((_, key)) = known.iter().find(|(variable, _)| variable == name) {
            let origin = Origin::Env {
                name: name.to_owned(),
            };
            let values = split(key.key.form, value);
            self.entries.insert(key.path(), Entry { values, origin });
            return;
        }
        let error = Diagnostic::error(format!("unknown environment variable `{name}`"));
        let close = did_you_mean(name, known.iter().map(|(variable, _)| variable.as_str()));
        findings.push(match close {
            Some(close) => error.help(format!("did you mean `{close}`?")),
            None => error.help("it would be ignored: unset it, or see `oncegate config show`"),
        });
    }
}

/// The table that a value is. What stands there in its place may be a secret.
fn table_of<'d>(value: &Value<'d>, findings: &mut Findings) -> Option<Table<'d>> {
    let mut found = Findings::default();
    let table = value.table(&mut found);
    findings.push_unquoted(found);
    table
}

/// Names are what a variable can spell: an underscore stands for a dash there.
fn is_name(name: &str) -> bool {
    let plain = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-';
    name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(plain)
}

fn split(form: Form, text: &str) -> Vec<Scalar> {
    let parts: Vec<String> = match form {
        Form::List => array(text).unwrap_or_else(|| {
            let parts = text.split(',').map(str::trim);
            parts.map(str::to_owned).collect()
        }),
        Form::Text => vec![text.to_owned()],
    };
    let written = parts.into_iter().filter(|part| !part.is_empty());
    written.map(|text| Scalar { text, place: None }).collect()
}

/// The texts of an array of TOML; `[::1]:1812` is none.
fn array(text: &str) -> Option<Vec<String>> {
    let text = text.trim();
    if !text.starts_with('[') {
        return None;
    }
    let table: toml::Table = format!("list = {text}").parse().ok()?;
    let list = table.get("list")?.as_array()?.iter();
    list.map(|value| match value {
        toml::Value::String(text) => Some(text.trim().to_owned()),
        toml::Value::Integer(_) | toml::Value::Boolean(_) => Some(value.to_string()),
        _ => None,
    })
    .collect()
}

/// Prefix of the variables that override the file.
pub const PREFIX: &str = "ONCEGATE__";
