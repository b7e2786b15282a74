//! A TOML document read key by key, every value with its place.
//!
//! Why not serde: its derive stops at the first fault, and an operator repairing a file wants all of
//! them. Here every question about a key is also its declaration: [`Table::finish`] refuses the keys
//! no reader asked for and suggests the nearest one that was.
//!
//! Invariant: nothing in a document is ignored. A table is finished, or its faults were reported.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::diagnostic::units;
use crate::diagnostic::{Diagnostic, Findings, Place, Source};

/// A parsed document.
pub struct Document<'s> {
    source: &'s Source,
    root: Spanned<DeTable<'s>>,
}

impl<'s> Document<'s> {
    /// Parses the text of a source. Of a file that is not TOML only the first fault is reported:
    /// those behind it are mostly its echo.
    pub fn parse(source: &'s Source, findings: &mut Findings) -> Option<Self> {
        let parsed = DeTable::parse(source.text());
        let root = parsed.map_err(|error| Diagnostic::from_toml(source, &error));
        findings.take(root).map(|root| Self { source, root })
    }

    /// As [`Document::parse`], for a text whose values may be secrets: the line of the fault is not quoted.
    pub fn parse_unquoted(source: &'s Source, findings: &mut Findings) -> Option<Self> {
        let mut found = Findings::default();
        let document = Self::parse(source, &mut found);
        findings.push_unquoted(found);
        document
    }

    /// The table of the top level.
    pub fn root(&self) -> Table<'_> {
        Table {
            source: self.source,
            path: String::new(),
            place: self.source.place(0..0),
            entries: self.root.get_ref(),
            asked: Vec::new(),
        }
    }
}

/// A table that remembers which keys were asked for.
pub struct Table<'d> {
    source: &'d Source,
    path: String,
    place: Place,
    entries: &'d DeTable<'d>,
    asked: Vec<&'static str>,
}

impl<'d> Table<'d> {
    /// The table's header, or the inline table itself.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The value of a key, if it is written; either way the key is known from now on.
    pub fn value(&mut self, key: &'static str) -> Option<Value<'d>> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.entries()
            .find(|(name, ..)| *name == key)
            .map(|(_, _, value)| value)
    }

    /// As [`Table::value`], reporting a missing key.
    pub fn required(&mut self, key: &'static str, findings: &mut Findings) -> Option<Value<'d>> {
        let value = self.value(key);
        if value.is_none() {
            let message = format!("`{}` is missing", join(&self.path, key));
            findings.push(Diagnostic::error(message).at(self.place.clone()));
        }
        value
    }

    /// All entries in the order of the file, for tables whose keys are free.
    pub fn free(&self) -> Vec<(&'d str, Place, Value<'d>)> {
        let mut entries: Vec<_> = self.entries().collect();
        entries.sort_by_key(|(_, place, _)| place.span.start);
        entries
    }

    /// Refuses every key that was not asked for. Its value is not shown: it may be a secret whose key was misspelt.
    pub fn finish(self, findings: &mut Findings) {
        let mut unknown: Vec<_> = self
            .entries()
            .filter(|(name, ..)| !self.asked.contains(name))
            .collect();
        unknown.sort_by_key(|(_, place, _)| place.span.start);
        for (name, place, _) in unknown {
            let message = format!("unknown key `{}`", join(&self.path, name));
            let error = Diagnostic::error(message).at(place.without_value());
            findings.push(error.suggest(name, self.asked.iter().copied()));
        }
    }

    fn entries(&self) -> impl Iterator<Item = (&'d str, Place, Value<'d>)> + use<'d> {
        let (source, path) = (self.source, self.path.clone());
        self.entries.iter().map(move |(name, value)| {
            let path = join(&path, name.get_ref());
            (
                name.get_ref().as_ref(),
                source.place(name.span()),
                Value {
                    source,
                    path,
                    spanned: value,
                },
            )
        })
    }
}

/// A value with its place and its dotted path.
#[derive(Clone)]
pub struct Value<'d> {
    source: &'d Source,
    path: String,
    spanned: &'d Spanned<DeValue<'d>>,
}

/// A string and where it stands.
#[derive(Clone, Debug)]
pub struct Text<'d> {
    /// The string.
    pub text: &'d str,
    /// Its place, quotes included.
    pub place: Place,
}

impl<'d> Value<'d> {
    /// Where the value stands.
    pub fn place(&self) -> Place {
        self.source.place(self.spanned.span())
    }

    /// The dotted path of its key.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// An error about this value.
    pub fn error(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(message).at(self.place())
    }

    /// A string.
    pub fn text(&self, findings: &mut Findings) -> Option<Text<'d>> {
        let Some(text) = self.spanned.get_ref().as_str() else {
            return self.mismatch("a string", findings);
        };
        Some(Text {
            text,
            place: self.place(),
        })
    }

    /// A string, or a list of strings.
    pub fn texts(&self, findings: &mut Findings) -> Option<Vec<Text<'d>>> {
        match self.spanned.get_ref() {
            DeValue::String(_) => self.text(findings).map(|text| vec![text]),
            DeValue::Array(list) => {
                let texts: Vec<_> = self.items(list).map(|item| item.text(findings)).collect();
                texts.into_iter().collect()
            }
            _ => self.mismatch("a string or a list of strings", findings),
        }
    }

    /// A string, number or boolean as it would be written in an environment variable, or a list of
    /// them.
    pub fn scalars(&self, findings: &mut Findings) -> Option<Vec<(String, Place)>> {
        match self.spanned.get_ref() {
            DeValue::Array(list) => {
                let items: Vec<_> = self.items(list).map(|item| item.scalar(findings)).collect();
                items.into_iter().collect()
            }
            _ => self.scalar(findings).map(|scalar| vec![scalar]),
        }
    }

    /// A boolean.
    pub fn flag(&self, findings: &mut Findings) -> Option<bool> {
        let flag = self.spanned.get_ref().as_bool();
        flag.or_else(|| self.mismatch("true or false", findings))
    }

    /// An integer inside a range.
    pub fn number<T: TryFrom<i64>>(
        &self,
        range: RangeInclusive<i64>,
        findings: &mut Findings,
    ) -> Option<T> {
        let Some(number) = self.spanned.get_ref().as_integer() else {
            return self.mismatch("an integer", findings);
        };
        let number = i64::from_str_radix(number.as_str(), number.radix()).ok();
        let number = number
            .filter(|number| range.contains(number))
            .and_then(|n| T::try_from(n).ok());
        if number.is_none() {
            let (low, high) = (range.start(), range.end());
            findings.push(self.error(format!("`{}` must be {low} to {high}", self.path)));
        }
        number
    }

    /// A duration inside a range.
    pub fn duration(
        &self,
        range: RangeInclusive<Duration>,
        findings: &mut Findings,
    ) -> Option<Duration> {
        let text = self.text(findings)?;
        let duration =
            findings.take(units::duration(text.text).map_err(|message| self.error(message)))?;
        if !range.contains(&duration) {
            let (low, high) = (
                units::show_duration(*range.start()),
                units::show_duration(*range.end()),
            );
            findings.push(self.error(format!("`{}` must be {low} to {high}", self.path)));
            return None;
        }
        Some(duration)
    }

    /// A date and time: RFC 3339, as a TOML value or as a string.
    pub fn moment(&self, findings: &mut Findings) -> Option<String> {
        match self.spanned.get_ref() {
            DeValue::Datetime(moment) => Some(moment.to_string()),
            DeValue::String(text) => Some(text.as_ref().to_owned()),
            _ => self.mismatch("a date and time", findings),
        }
    }

    /// A table.
    pub fn table(&self, findings: &mut Findings) -> Option<Table<'d>> {
        let Some(entries) = self.spanned.get_ref().as_table() else {
            return self.mismatch("a table", findings);
        };
        let (source, path, place) = (self.source, self.path.clone(), self.place());
        Some(Table {
            source,
            path,
            place,
            entries,
            asked: Vec::new(),
        })
    }

    /// A list of tables, `[[name]]`.
    pub fn tables(&self, findings: &mut Findings) -> Option<Vec<Table<'d>>> {
        let Some(list) = self.spanned.get_ref().as_array() else {
            return self.mismatch("a list of tables", findings);
        };
        let tables: Vec<_> = self.items(list).map(|item| item.table(findings)).collect();
        tables.into_iter().collect()
    }

    /// Whether it is a table (and not a value to be read by the other methods).
    pub fn is_table(&self) -> bool {
        self.spanned.get_ref().is_table()
    }

    /// Whether it is a list of nothing.
    pub fn is_empty_list(&self) -> bool {
        let list = self.spanned.get_ref().as_array();
        list.is_some_and(|list| list.is_empty())
    }

    fn items(&self, list: &'d DeArray<'d>) -> impl Iterator<Item = Value<'d>> + use<'d> {
        let (source, path) = (self.source, self.path.clone());
        list.iter().map(move |value| Value {
            source,
            path: path.clone(),
            spanned: value,
        })
    }

    fn scalar(&self, findings: &mut Findings) -> Option<(String, Place)> {
        let text = match self.spanned.get_ref() {
            DeValue::String(text) => text.as_ref().to_owned(),
            DeValue::Boolean(flag) => flag.to_string(),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| number.as_str().to_owned(), |number| number.to_string()),
            _ => return self.mismatch("a string, an integer, true or false", findings),
        };
        Some((text, self.place()))
    }

    fn mismatch<T>(&self, wanted: &str, findings: &mut Findings) -> Option<T> {
        let found = self.spanned.get_ref().type_str();
        findings.push(
            self.error(format!("`{}` must be {wanted}", self.path))
                .label(format!("this is {found}")),
        );
        None
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
