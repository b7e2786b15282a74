//! The newest rows as decisions of one batch see them.

use std::ops::Bound;

use crate::store::StoreError;
use crate::store::fold::Reader;
use crate::store::memtable::Layer;
use crate::store::record::{RowWrite, Table};

/// Rows that are decided but not durable yet, on top of a reader: what the next attempt in the same
/// batch must see.
pub(crate) struct Working<'a> {
    reader: &'a Reader<'a>,
    rows: Layer,
    disturbed: bool,
}

impl<'a> Working<'a> {
    /// Nothing decided yet.
    pub(crate) fn new(reader: &'a Reader<'a>) -> Self {
        Self {
            reader,
            rows: Layer::default(),
            disturbed: false,
        }
    }

    /// Whether the static rows may differ from those of a view of this generation.
    pub(crate) fn differs_from(&self, generation: u64) -> bool {
        self.disturbed || self.reader.generation() != generation
    }

    /// A row, by `parse`.
    pub(crate) fn get<T>(
        &self,
        table: Table,
        key: &[u8],
        parse: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        match self.rows.get(table, key) {
            Some(value) => value.map(parse).transpose(),
            None => self.reader.get(table, key, parse),
        }
    }

    /// A row that must be there, since the row that it belongs to is.
    pub(crate) fn needed<T>(
        &self,
        table: Table,
        key: &[u8],
        parse: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let row = self.get(table, key, parse)?;
        row.ok_or_else(|| self.reader.missing(table, key))
    }

    /// Whether there is such a row.
    pub(crate) fn has(&self, table: Table, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.get(table, key, |_| Ok(()))?.is_some())
    }

    /// Refuses unless there is such a row.
    pub(crate) fn require(&self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.get(table, key, |_| Ok(()))?
            .ok_or(StoreError::NotFound)
    }

    /// Keys of one table that begin with `prefix`. Without a prefix those of damaged rows are left out:
    /// house-keeping goes on with the others.
    pub(crate) fn keys(&self, table: Table, prefix: &[u8]) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut keys = Vec::new();
        let take = |key: &[u8], _: &[u8]| {
            if self.rows.get(table, key).is_none() {
                keys.push(key.to_vec());
            }
            Ok(true)
        };
        if prefix.is_empty() {
            self.reader.list(table, prefix, Bound::Unbounded, take)?;
        } else {
            self.reader.scan(table, prefix, Bound::Unbounded, take)?;
        }
        let decided = self.rows.range(table, Bound::Included(prefix));
        let decided = decided.take_while(|(key, _)| key.starts_with(prefix));
        keys.extend(
            decided
                .filter(|(_, row)| row.is_some())
                .map(|(key, _)| key.to_vec()),
        );
        Ok(keys)
    }

    /// The first `most` keys of one table.
    pub(crate) fn first_keys(&self, table: Table, most: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut keys = Vec::new();
        self.reader.list(table, b"", Bound::Unbounded, |key, _| {
            if self.rows.get(table, key).is_none() {
                keys.push(key.to_vec());
            }
            Ok(keys.len() < most)
        })?;
        let decided = self.rows.range(table, Bound::Unbounded);
        keys.extend(
            decided
                .filter(|(_, row)| row.is_some())
                .map(|(key, _)| key.to_vec()),
        );
        keys.sort_unstable();
        keys.truncate(most);
        Ok(keys)
    }

    /// Takes decided rows.
    pub(crate) fn put(&mut self, writes: Vec<RowWrite>) {
        self.disturbed |= writes.iter().any(|write| write.table.is_static());
        writes.into_iter().for_each(|write| self.rows.put(write));
    }

    /// Whether a static row is among the decided ones.
    pub(crate) const fn disturbed(&self) -> bool {
        self.disturbed
    }

    /// The decided rows, for publication.
    pub(crate) fn into_rows(self) -> Layer {
        self.rows
    }
}
