//! A consistent look at all rows: memory first, then the file.

use std::ops::Bound;
use std::sync::RwLockReadGuard;

use crate::store::StoreError;
use crate::store::damage::NO_STATE;
use crate::store::error::disk;
use crate::store::fold::{Fold, Memory};
use crate::store::journal::Head;
use crate::store::main_file::{FileTable, closed};
use crate::store::record::{self, Table};
use crate::store::row_cache::{Kept, KeptRow, LISTED, State};

/// A look at all rows. Hold it briefly: the writer waits to publish.
pub(crate) struct Reader<'a> {
    pub(super) memory: RwLockReadGuard<'a, Memory>,
    pub(super) fold: &'a Fold,
}

/// What is done with a key and its value, which may be damaged; `false`: that is enough.
type Take<'t> = dyn FnMut(&[u8], Result<&[u8], StoreError>) -> Result<bool, StoreError> + 't;

impl Reader<'_> {
    /// The record up to which the rows stand.
    pub(crate) fn head(&self) -> Head {
        self.memory.rows.head
    }

    /// Generation of the static rows.
    pub(crate) fn generation(&self) -> u64 {
        self.memory.rows.generation
    }

    /// A row, by `parse`.
    pub(crate) fn get<T>(
        &self,
        table: Table,
        key: &[u8],
        parse: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        if let Some(value) = self.memory.rows.get(table, key) {
            return value.map(parse).transpose();
        }
        self.fold.damage.refuse(table, key)?;
        // Once: what is looked for in the file is parsed from there.
        let mut parse = Some(parse);
        let state = |row: &[u8]| parse.take().map(|parse| parse(row));
        match self.fold.kept.state(table, key, state) {
            State::Known(parsed) => return parsed.transpose(),
            State::Absent => return Ok(None),
            State::Unknown => {}
        }
        let Some(parse) = parse else { return Ok(None) };
        if table.is_kept() {
            match self.fold.kept.get(table, key) {
                Some(Kept::Row(value)) => return parse(&value).map(Some),
                Some(Kept::Absent) => return Ok(None),
                _ => {}
            }
        }
        let file = self.table(table)?;
        self.fold.reading(|| {
            let row = file.get(key).map_err(disk)?;
            let value = row
                .as_ref()
                .map(|row| self.fold.sound(table, key, row.value()));
            let value = value.transpose()?;
            self.keep(table, key, value);
            value.map(parse).transpose()
        })
    }

    /// Keeps what the file says about a row, for logins. The names of users that do not exist are not kept:
    /// they come from anyone who asks.
    fn keep(&self, table: Table, key: &[u8], value: Option<&[u8]>) {
        match value {
            Some(value) if table.is_hot() => self.fold.kept.put_state(table, key, value),
            _ if !table.is_kept() => {}
            Some(value) => self.fold.kept.put(table, key, Kept::Row(value.into())),
            None if table != Table::Users => self.fold.kept.put(table, key, Kept::Absent),
            None => {}
        }
    }

    /// A row that must be there, since the row that it belongs to is; without it no one can decide.
    pub(crate) fn needed<T>(
        &self,
        table: Table,
        key: &[u8],
        parse: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let row = self.get(table, key, parse)?;
        row.ok_or_else(|| self.missing(table, key))
    }

    /// Some keys of a table, whatever their rows are like: the first in all, the last in the file.
    pub(crate) fn sample(&self, table: Table, most: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut keys = Vec::new();
        self.walk(table, b"", Bound::Unbounded, &mut |key, _| {
            keys.push(key.to_vec());
            Ok(keys.len() < most)
        })?;
        let file = self.table(table)?;
        self.fold.reading(|| {
            let rows = file.range::<&[u8]>(..).map_err(disk)?;
            for row in rows.rev().take(most) {
                keys.push(row.map_err(disk)?.0.value().to_vec());
            }
            Ok(keys)
        })
    }

    /// Whether memory says anything about a row, newer than the file.
    pub(crate) fn remembers(&self, table: Table, key: &[u8]) -> bool {
        self.memory.rows.get(table, key).is_some()
    }

    /// Names a row that is missing.
    pub(crate) fn missing(&self, table: Table, key: &[u8]) -> StoreError {
        self.fold.damage.row(table, key, NO_STATE)
    }

    /// Rows in key order from `from`, whose keys begin with `prefix`, until `take` says enough. Fails
    /// when one of them is damaged, or missing by the journal.
    pub(crate) fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        from: Bound<&[u8]>,
        mut take: impl FnMut(&[u8], &[u8]) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let newer = |key: &[u8]| self.memory.rows.get(table, key).is_some();
        self.fold.damage.refuse_prefix(table, prefix, newer)?;
        // Nearly always: what logins read by prefix changes rarely.
        let listed = table.is_listed() && record::owner_prefix(prefix) == Some(prefix);
        if listed && from == Bound::Unbounded && !self.memory.rows.has(table) {
            return self.scan_kept(table, prefix, take);
        }
        self.walk(table, prefix, from, &mut |key, value| take(key, value?))
    }

    /// Rows of the file whose keys begin with `prefix`, by way of what is kept.
    fn scan_kept(
        &self,
        table: Table,
        prefix: &[u8],
        mut take: impl FnMut(&[u8], &[u8]) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        if let Some(Kept::Rows(rows)) = self.fold.kept.get(table, prefix) {
            for (key, value) in rows.iter() {
                if !take(key, value)? {
                    break;
                }
            }
            return Ok(());
        }
        let mut rows: Vec<KeptRow> = Vec::new();
        let (mut whole, mut more) = (true, true);
        self.walk(table, prefix, Bound::Unbounded, &mut |key, value| {
            let value = value?;
            whole = whole && rows.len() < LISTED;
            if whole {
                rows.push((key.into(), value.into()));
            }
            more = take(key, value)?;
            Ok(more)
        })?;
        // What ended before the last row is not all of them.
        if whole && more {
            self.fold.kept.put(table, prefix, Kept::Rows(rows.into()));
        }
        Ok(())
    }

    /// The same for lists: what is damaged is named, and the others are not hidden by it.
    pub(crate) fn list(
        &self,
        table: Table,
        prefix: &[u8],
        from: Bound<&[u8]>,
        mut take: impl FnMut(&[u8], &[u8]) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        self.walk(table, prefix, from, &mut |key, value| match value
            .and_then(|value| take(key, value))
        {
            Err(StoreError::Corrupt(what)) => {
                self.fold.damage.row(table, key, what);
                Ok(true)
            }
            done => done,
        })
    }

    fn walk(
        &self,
        table: Table,
        prefix: &[u8],
        from: Bound<&[u8]>,
        take: &mut Take<'_>,
    ) -> Result<(), StoreError> {
        let from = match from {
            Bound::Unbounded => Bound::Included(prefix),
            bound => bound,
        };
        let file = self.table(table)?;
        self.fold.reading(|| {
            let rows = file
                .range::<&[u8]>((from, Bound::Unbounded))
                .map_err(disk)?;
            if self.memory.rows.has(table) {
                self.walk_both(table, prefix, from, rows, take)
            } else {
                self.walk_file(table, prefix, rows, take)
            }
        })
    }

    fn walk_file(
        &self,
        table: Table,
        prefix: &[u8],
        rows: FileRange,
        take: &mut Take<'_>,
    ) -> Result<(), StoreError> {
        for row in rows {
            let (key, value) = row.map_err(disk)?;
            let key = key.value();
            if !key.starts_with(prefix) || !take(key, self.fold.sound(table, key, value.value()))? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn walk_both(
        &self,
        table: Table,
        prefix: &[u8],
        from: Bound<&[u8]>,
        mut file: FileRange,
        take: &mut Take<'_>,
    ) -> Result<(), StoreError> {
        let mut file_row = file.next().transpose().map_err(disk)?;
        let memory = &self.memory.rows;
        let mut frozen = memory
            .frozen
            .iter()
            .flat_map(|layer| layer.range(table, from))
            .peekable();
        let mut current = memory.current.range(table, from).peekable();
        loop {
            let keys = [
                current.peek().map(|(key, _)| *key),
                frozen.peek().map(|(key, _)| *key),
                file_row.as_ref().map(|(key, _)| key.value()),
            ];
            let Some(key) = keys.into_iter().flatten().min().map(<[u8]>::to_vec) else {
                return Ok(());
            };
            if !key.starts_with(prefix) {
                return Ok(());
            }
            let newest = current
                .next_if(|(at, _)| *at == key)
                .map(|(_, value)| value);
            let older = frozen.next_if(|(at, _)| *at == key).map(|(_, value)| value);
            let mut oldest = None;
            if file_row.as_ref().is_some_and(|(at, _)| at.value() == key) {
                oldest = file_row.take();
                file_row = file.next().transpose().map_err(disk)?;
            }
            let value = match newest.or(older) {
                Some(value) => value.map(Ok),
                None => oldest
                    .as_ref()
                    .map(|(_, value)| self.fold.sound(table, &key, value.value())),
            };
            if let Some(value) = value
                && !take(&key, value)?
            {
                return Ok(());
            }
        }
    }

    fn table(&self, table: Table) -> Result<&FileTable, StoreError> {
        let snapshot = self.memory.snapshot.as_ref().ok_or_else(closed)?;
        Ok(snapshot.table(table))
    }
}

type FileRange = redb::Range<'static, &'static [u8], &'static [u8]>;
