//! Reads one table whose name the operator chose: `[delivery.NAME]`, `[source.NAME]`.

use crate::config::file::{Chosen, Key};
use crate::config::reader::Resolver;
use crate::diagnostic::Diagnostic;

/// A table, and what reads it.
pub(super) struct Table<'r, 'w> {
    pub(super) reader: &'r mut Resolver<'w>,
    pub(super) table: &'r Chosen,
}

impl Table<'_, '_> {
    pub(super) fn is_written(&self, key: &'static Key) -> bool {
        let entry = self.reader.written.entry(key.of(&self.table.name));
        entry.origin != crate::config::Origin::Default
    }

    /// One value, which has a default.
    pub(super) fn one<T>(
        &mut self,
        key: &'static Key,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.reader.one(key.of(&self.table.name), parse)
    }

    /// One value or none. The outer option is empty when it could not be understood.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static Key,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Option<T>> {
        if self.is_written(key) {
            return self.one(key, parse).map(Some);
        }
        self.reader.list(key.of(&self.table.name), |_| Ok(()))?;
        Some(None)
    }

    /// One value that must be there.
    pub(super) fn required<T>(
        &mut self,
        key: &'static Key,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.optional(key, parse)?;
        if value.is_none() {
            self.missing(key, key.about);
        }
        value
    }

    pub(super) fn missing(&mut self, key: &'static Key, help: &str) {
        let path = self.path(key);
        let error = Diagnostic::error(format!("`{path}` is missing"));
        let place = self.table.place.clone();
        self.reader.faulty.push(path);
        self.reader.findings.push(error.at(place).help(help));
    }

    pub(super) fn path(&self, key: &'static Key) -> String {
        key.of(&self.table.name).path()
    }

    /// Reports at the value of a key.
    pub(super) fn report(&mut self, key: &'static Key, finding: Diagnostic) {
        let entry = self.reader.written.entry(key.of(&self.table.name));
        let scalar = entry.values.first();
        self.reader
            .report(key.of(&self.table.name), &entry, scalar, finding);
    }
}
