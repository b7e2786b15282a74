//! A segment as version 0.1.0 wrote it: a redb file, whose table `log_v1` maps the record number to
//! `MAC (32) | entry`, and whose table `anchor_v1` holds the MAC before the first record.
//!
//! It is read, never written: what the engine writes when it opens a file that was not closed stays in memory.

use redb::{
    AccessGuard, Builder, Database, ReadOnlyTable, ReadTransaction, ReadableDatabase,
    ReadableTable, StorageError, TableDefinition, TableError,
};

use crate::store::StoreError;
use crate::store::damage::guarded;
use crate::store::error::{disk, open_error};
use crate::store::journal::head::Head;
use crate::store::journal::record::Record;
use crate::store::medium::Medium;
use crate::store::unwritten::Unwritten;

/// One segment.
pub(crate) struct Former {
    pub(crate) first: u64,
    /// The MAC before its first record.
    pub(crate) anchor: [u8; 32],
    head: Head,
    db: Database,
}

impl Former {
    /// Opens the segment that begins with this record; `None` when it was never begun.
    pub(super) fn open(medium: &dyn Medium, first: u64) -> Result<Option<Self>, StoreError> {
        let opened = guarded(|| {
            let file = medium.raw(&name(first)).map_err(disk)?;
            let db = Builder::new()
                .set_cache_size(CACHE)
                .create_with_backend(Unwritten::new(file).map_err(disk)?)
                .map_err(open_error)?;
            let read = db.begin_read().map_err(disk)?;
            let (Some(mac), Some(table)) = (anchor(&read)?, table(&read)?) else {
                return Ok(None);
            };
            let seq = first.saturating_sub(1);
            let head = match table.last().map_err(disk)? {
                None => Head { seq, mac },
                Some((seq, value)) => Record::new(seq.value(), value.value())?.head(),
            };
            drop((table, read));
            Ok(Some(Self {
                first,
                anchor: mac,
                head,
                db,
            }))
        });
        opened.map_err(|error| match error {
            StoreError::Corrupt(what) => StoreError::File {
                file: name(first),
                what,
            },
            error => error,
        })
    }

    /// The end of the chain in it.
    pub(super) const fn head(&self) -> Head {
        self.head
    }

    /// Records `from..` in order, at most `limit`.
    pub(super) fn records(&self, from: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        let rows = self.table()?.range(from..).map_err(disk)?;
        consecutive((from..).zip(rows.take(limit)))
    }

    /// Records before `before`, newest first, at most `limit`.
    pub(super) fn records_back(
        &self,
        before: u64,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let rows = self.table()?.range(self.first..before).map_err(disk)?;
        consecutive((0..before).rev().zip(rows.rev().take(limit)))
    }

    fn table(&self) -> Result<Records, StoreError> {
        let read = self.db.begin_read().map_err(disk)?;
        table(&read)?.ok_or(StoreError::Corrupt(NO_BEGINNING))
    }
}

/// The records; `None` when the segment was never begun.
fn table(read: &ReadTransaction) -> Result<Option<Records>, StoreError> {
    match read.open_table(LOG) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(disk(error)),
    }
}

type Records = ReadOnlyTable<u64, &'static [u8]>;

fn anchor(read: &ReadTransaction) -> Result<Option<[u8; 32]>, StoreError> {
    let table = match read.open_table(ANCHOR) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(disk(error)),
    };
    let Some(value) = table.get(0).map_err(disk)? else {
        return Ok(None);
    };
    let mac = value.value().try_into();
    mac.map(Some).map_err(|_| StoreError::Corrupt(NO_BEGINNING))
}

/// Records whose numbers follow each other as they should: what follows a gap is not read, and a record
/// that stands where another one should is damage.
fn consecutive<'r>(
    rows: impl Iterator<Item = (u64, Result<RecordRow<'r>, StorageError>)>,
) -> Result<Vec<Record>, StoreError> {
    let mut records = Vec::new();
    for (seq, row) in rows {
        let (number, value) = row.map_err(disk)?;
        match Record::new(number.value(), value.value()) {
            Ok(record) if record.seq == seq => records.push(record),
            _ if !records.is_empty() => break,
            Ok(_) => return Err(MISNUMBERED),
            Err(error) => return Err(error),
        }
    }
    Ok(records)
}

type RecordRow<'r> = (AccessGuard<'r, u64>, AccessGuard<'r, &'static [u8]>);

/// The file of the segment that begins with this record.
pub(super) fn name(first: u64) -> String {
    format!("log-{first:016}.redb")
}

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log_v1");
const ANCHOR: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("anchor_v1");
/// Page cache of a segment.
const CACHE: usize = 8 << 20;
const NO_BEGINNING: &str = "a log segment has no beginning";
const MISNUMBERED: StoreError =
    StoreError::Corrupt("an audit record is missing, or bears another number");
