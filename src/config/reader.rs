//! Reads single keys of the written configuration: text to value, with every fault at its place.

use std::path::{Path, PathBuf};

use crate::config::EffectiveValue;
use crate::config::file::{Entry, Key, Named, Origin, Scalar, Written};
use crate::config::keys;
use crate::diagnostic::{Diagnostic, Findings, LineOf, Severity, did_you_mean};

/// Reads keys, collects faults and the effective configuration.
pub(super) struct Resolver<'w> {
    pub(super) written: &'w Written,
    pub(super) findings: &'w mut Findings,
    pub(super) effective: Vec<EffectiveValue>,
    /// Paths of the keys with faults.
    pub(super) faulty: Vec<String>,
}

impl Resolver<'_> {
    pub(super) fn path(&mut self, key: &'static Key, dir: &Path) -> Option<PathBuf> {
        self.list(key, |text| Ok(dir.join(text)))?.pop()
    }

    pub(super) fn lonely<T>(&mut self, present: &'static Key, missing: &'static Key) -> Option<T> {
        let entry = self.written.entry(present);
        let error = Diagnostic::error(format!("`{}` is missing", missing.path));
        let help = format!("`{}` is set; TLS needs all of its files", present.path);
        let scalar = entry.values.first();
        self.report(present, &entry, scalar, error.help(help));
        None
    }

    /// Exactly one value.
    pub(super) fn one<'n, T>(
        &mut self,
        key: impl Into<Named<'n>>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let key = key.into();
        let mut values = self.list(key, parse)?;
        if values.len() == 1 {
            return values.pop();
        }
        let entry = self.written.entry(key);
        let error = Diagnostic::error(format!("`{}` must be one value", key.path()));
        let scalar = entry.values.first();
        self.report(key, &entry, scalar, error);
        None
    }

    /// All values of a key, which becomes a line of the effective configuration.
    pub(super) fn list<'n, T>(
        &mut self,
        key: impl Into<Named<'n>>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let key = key.into();
        let entry = self.written.entry(key);
        let texts: Vec<&str> = entry.values.iter().map(|one| one.text.as_str()).collect();
        self.effective.push(EffectiveValue {
            key: key.path(),
            value: texts.join(", "),
            origin: entry.origin.clone(),
        });
        let mut parsed = Vec::new();
        for scalar in &entry.values {
            match parse(&scalar.text) {
                Ok(value) => parsed.push(Some(value)),
                Err(message) => {
                    parsed.push(None);
                    let error = Diagnostic::error(format!("`{}`: {message}", key.path()));
                    self.report(key, &entry, Some(scalar), error);
                }
            }
        }
        parsed.into_iter().collect()
    }

    /// Reports with the place in the file, or the name of the variable. A line that may hold a secret is not quoted, nor
    /// is one without a scalar.
    pub(super) fn report<'n>(
        &mut self,
        key: impl Into<Named<'n>>,
        entry: &Entry,
        scalar: Option<&Scalar>,
        finding: Diagnostic,
    ) {
        let key = key.into();
        let path = key.path();
        let place = scalar.and_then(|scalar| scalar.place.clone());
        if finding.severity == Severity::Error {
            self.faulty.push(path.clone());
        }
        self.findings.push(match (place, &entry.origin) {
            (Some(place), _) if keys::PRIVATE.contains(&key.key) || place.is_inline() => {
                finding.at(place).unquoted()
            }
            (Some(place), _) => finding.at(place),
            (None, Origin::Env { name }) => {
                let message = format!("{} (from {name})", finding.message);
                Diagnostic { message, ..finding }
            }
            (None, Origin::File { file, line }) => finding.in_line(LineOf {
                file: file.clone(),
                line: *line,
                column: None,
            }),
            (None, Origin::Default) => {
                let message = format!("{} (default of `{path}`)", finding.message);
                Diagnostic { message, ..finding }
            }
        });
    }
}

pub(super) fn parse_flag(text: &str) -> Result<bool, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is neither true nor false"))
}

pub(super) fn parse_count(text: &str) -> Result<usize, String> {
    let count = text
        .parse()
        .ok()
        .and_then(|count| in_range(count, 1..=COUNT_MAX));
    count.ok_or_else(|| format!("`{text}` is not a number from 1 to {COUNT_MAX}"))
}

pub(super) fn parse_choice<T: Copy>(
    text: &str,
    choices: &[(&'static str, T)],
) -> Result<T, String> {
    if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text) {
        return Ok(*choice);
    }
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    Err(did_you_mean(text, words.iter().copied()).map_or_else(
        || format!("`{text}` is not one of {}", words.join(", ")),
        |close| format!("`{text}`: did you mean `{close}`?"),
    ))
}

pub(super) fn in_range<T: PartialOrd>(value: T, range: std::ops::RangeInclusive<T>) -> Option<T> {
    range.contains(&value).then_some(value)
}

/// Beyond this a limit protects nothing on any machine.
const COUNT_MAX: usize = 1_000_000;
