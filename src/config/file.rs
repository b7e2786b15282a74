//! What was written: the keys of `oncegate.toml` and of the environment, not yet understood.
//!
//! Every key is declared once, as a [`Key`] with its default and meaning. Reading is driven by that
//! table rather than by serde derives, because three things follow from it together: all unknown
//! keys of a file are found at once, the environment overrides key by key, and every value keeps its
//! origin for `config show --effective`.
//!
//! All values are texts here (`4096`, `true`, `"3s"`), so that a file and an environment variable
//! mean the same; a list in the environment is separated by commas.

use std::collections::BTreeMap;

use crate::diagnostic::Diagnostic;
use crate::diagnostic::Findings;
use crate::diagnostic::Place;
use crate::diagnostic::Source;
use crate::diagnostic::did_you_mean;
use crate::diagnostic::document::Document;
use crate::diagnostic::document::Table;

/// A key of the configuration.
#[derive(Debug, Eq, PartialEq)]
pub struct Key {
    /// Dotted path.
    pub path: &'static str,
    /// The value when none is written; empty for keys that are simply absent.
    pub default: &'static str,
    /// One line for people.
    pub about: &'static str,
}

impl Key {
    /// The environment variable that overrides it: `radius.listen` is `ONCEGATE__RADIUS__LISTEN`.
    pub fn variable(&self) -> String {
        format!(
            "{PREFIX}{}",
            self.path.replace('.', "__").to_ascii_uppercase()
        )
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

/// All keys that were written.
#[derive(Debug, Default)]
pub(super) struct Written(BTreeMap<&'static str, Entry>);

impl Written {
    /// Reads file and environment; the environment wins.
    pub(super) fn read(
        source: Option<&Source>,
        env: impl IntoIterator<Item = (String, String)>,
        keys: &[&'static Key],
        findings: &mut Findings,
    ) -> Self {
        let mut written = Self::default();
        if let Some(document) = source.and_then(|source| Document::parse(source, findings)) {
            let paths: Vec<&'static str> = keys.iter().map(|key| key.path).collect();
            written.section(document.root(), "", &paths, findings);
        }
        for (name, value) in env {
            written.variable(&name, &value, keys, findings);
        }
        written
    }

    /// The entry of a key: as written, or its default.
    pub(super) fn entry(&self, key: &Key) -> Entry {
        self.0.get(key.path).cloned().unwrap_or_else(|| Entry {
            values: split_list(key.default),
            origin: Origin::Default,
        })
    }

    fn section(
        &mut self,
        mut table: Table<'_>,
        prefix: &str,
        paths: &[&'static str],
        findings: &mut Findings,
    ) {
        let mut sections: Vec<&'static str> = Vec::new();
        for path in paths {
            let Some(rest) = path.strip_prefix(prefix) else {
                continue;
            };
            if let Some((section, _)) = rest.split_once('.') {
                if !sections.contains(&section) {
                    sections.push(section);
                }
                continue;
            }
            let Some(value) = table.value(rest) else {
                continue;
            };
            let place = value.place();
            let Some(scalars) = value.scalars(findings) else {
                continue;
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
            self.0.insert(path, Entry { values, origin });
        }
        for (parent, section) in LATER {
            if parent == prefix
                && let Some(value) = table.refused(section)
            {
                let message = format!("`[{}]` is not supported by this version", value.path());
                findings.push(value.error(message).help("remove the section"));
            }
        }
        for section in sections {
            let Some(value) = table.value(section) else {
                continue;
            };
            if let Some(inner) = value.table(findings) {
                self.section(inner, &format!("{prefix}{section}."), paths, findings);
            }
        }
        table.finish(findings);
    }

    fn variable(
        &mut self,
        name: &str,
        value: &str,
        keys: &[&'static Key],
        findings: &mut Findings,
    ) {
        if !name.starts_with(PREFIX) {
            return;
        }
        if let Some(key) = keys.iter().find(|key| key.variable() == name) {
            let origin = Origin::Env {
                name: name.to_owned(),
            };
            self.0.insert(
                key.path,
                Entry {
                    values: split_list(value),
                    origin,
                },
            );
            return;
        }
        let error = Diagnostic::error(format!("unknown environment variable `{name}`"));
        let names: Vec<String> = keys.iter().map(|key| key.variable()).collect();
        let close = did_you_mean(name, names.iter().map(String::as_str));
        findings.push(match close {
            Some(close) => error.help(format!("did you mean `{close}`?")),
            None => error.help("it would be ignored: unset it, or see `oncegate config show`"),
        });
    }
}

fn split_list(text: &str) -> Vec<Scalar> {
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts
        .map(|part| Scalar {
            text: part.to_owned(),
            place: None,
        })
        .collect()
}

/// Prefix of the variables that override the file.
pub const PREFIX: &str = "ONCEGATE__";

/// Sections that later versions know: (parent path, section).
const LATER: [(&str, &str); 2] = [("", "delivery"), ("radius.", "tls")];
