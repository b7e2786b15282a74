//! A segment of the journal in a redb file, open for writing, or as it is on the disk after a failed commit.
//!
//! A handle whose write failed refuses everything from then on. Until the file takes writes again,
//! readers get what is durable: the file is opened once more with all writes kept in memory
//! ([`Unwritten`]), since opening one that was not closed writes to it, which a full disk does not take.

use std::sync::{RwLock, RwLockWriteGuard};

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
pub(crate) struct Segment {
    pub(crate) first: u64,
    state: RwLock<State>,
}

enum State {
    Open(Database),
    /// Readers only, without writing to the file.
    Shown(Database),
    /// Why.
    Closed(String),
}

impl Segment {
    /// Opens the segment that begins with this record, or makes it.
    pub(crate) fn open(medium: &dyn Medium, first: u64) -> Result<Self, StoreError> {
        let opened = guarded(|| open(medium, first));
        let opened = opened.map_err(|error| of_file(first, error));
        Ok(Self {
            first,
            state: RwLock::new(State::Open(opened?)),
        })
    }

    /// The end of the chain in this segment; `None` when it was never begun.
    pub(crate) fn head(&self, medium: &dyn Medium) -> Result<Option<Head>, StoreError> {
        let head = self.read(medium, |read| {
            let (Some(mac), Some(table)) = (anchor(read)?, table(read)?) else {
                return Ok(None);
            };
            let seq = self.first.saturating_sub(1);
            Ok(Some(match table.last().map_err(disk)? {
                None => Head { seq, mac },
                Some((seq, value)) => Record::new(seq.value(), value.value())?.head(),
            }))
        });
        head.map_err(|error| of_file(self.first, error))
    }

    /// The MAC before the first record.
    pub(crate) fn anchor(&self, medium: &dyn Medium) -> Result<Option<[u8; 32]>, StoreError> {
        self.read(medium, anchor)
    }

    /// Writes the anchor of a new segment, durably, and returns the head it stands for.
    pub(crate) fn begin(&self, medium: &dyn Medium, head: Head) -> Result<Head, StoreError> {
        self.write(|db| {
            let write = db.begin_write().map_err(disk)?;
            let mut anchors = write.open_table(ANCHOR).map_err(disk)?;
            anchors.insert(0, head.mac.as_slice()).map_err(disk)?;
            drop(anchors);
            drop(write.open_table(LOG).map_err(disk)?);
            write.commit().map_err(disk)
        })?;
        medium.sync().map_err(disk)?;
        Ok(head)
    }

    /// Records `from..` in order, at most `limit`.
    pub(crate) fn records(
        &self,
        medium: &dyn Medium,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.read(medium, |read| {
            let Some(table) = table(read)? else {
                return Ok(Vec::new());
            };
            let rows = table.range(from..).map_err(disk)?;
            consecutive((from..).zip(rows.take(limit)))
        })
    }

    /// Records before `before`, newest first, at most `limit`.
    pub(crate) fn records_back(
        &self,
        medium: &dyn Medium,
        before: u64,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.read(medium, |read| {
            let Some(table) = table(read)? else {
                return Ok(Vec::new());
            };
            let rows = table.range(self.first..before).map_err(disk)?;
            consecutive((0..before).rev().zip(rows.rev().take(limit)))
        })
    }

    /// Appends records in one durable commit: `MAC (32) | entry` each, numbered from `first`.
    pub(crate) fn append<'v>(
        &self,
        first: u64,
        values: impl Iterator<Item = &'v [u8]>,
    ) -> Result<(), StoreError> {
        self.write(|db| {
            let write = db.begin_write().map_err(disk)?;
            let mut table = write.open_table(LOG).map_err(disk)?;
            for (seq, value) in (first..).zip(values) {
                table.insert(seq, value).map_err(disk)?;
            }
            drop(table);
            write.commit().map_err(disk)
        })
    }

    /// Closes it for good.
    pub(crate) fn seal(&self) -> Result<(), StoreError> {
        self.write(|db| {
            let mut write = db.begin_write().map_err(disk)?;
            write.set_quick_repair(true);
            write.commit().map_err(disk)
        })
    }

    /// Reads; after a failed commit what is durable.
    fn read<T>(
        &self,
        medium: &dyn Medium,
        read: impl FnOnce(&ReadTransaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut state = self.state.read().expect(UNPOISONED);
        if matches!(*state, State::Closed(_)) {
            drop(state);
            let mut closed = self.state.write().expect(UNPOISONED);
            self.show(medium, &mut closed)?;
            state = RwLockWriteGuard::downgrade(closed);
        }
        match &*state {
            State::Open(db) | State::Shown(db) => read(&db.begin_read().map_err(disk)?),
            State::Closed(cause) => Err(StoreError::Unavailable(cause.clone())),
        }
    }

    fn show(&self, medium: &dyn Medium, state: &mut State) -> Result<(), StoreError> {
        let State::Closed(cause) = state else {
            return Ok(());
        };
        let shown = medium.raw(&name(self.first)).map_err(disk);
        let shown = shown.and_then(|file| {
            Builder::new()
                .set_cache_size(SHOWN_CACHE)
                .create_with_backend(Unwritten::new(file).map_err(disk)?)
                .map_err(open_error)
        });
        match shown {
            Ok(db) => {
                *state = State::Shown(db);
                Ok(())
            }
            Err(error) => Err(StoreError::Unavailable(format!(
                "{cause}; what is durable cannot be read either: {error}"
            ))),
        }
    }

    /// The database, for writing.
    fn write<T>(
        &self,
        write: impl FnOnce(&Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match &*self.state.read().expect(UNPOISONED) {
            State::Open(db) => write(db),
            State::Shown(_) => Err(StoreError::Unavailable(CLOSED.to_owned())),
            State::Closed(cause) => Err(StoreError::Unavailable(cause.clone())),
        }
    }

    /// Closes it after a failed write. What is cached of it is not trusted again.
    pub(crate) fn close(&self, cause: String) {
        *self.state.write().expect(UNPOISONED) = State::Closed(cause);
    }

    /// Opens the file again for writing, if it takes writes. Readers wait meanwhile.
    pub(crate) fn reopen(&self, medium: &dyn Medium) -> Result<(), StoreError> {
        let mut state = self.state.write().expect(UNPOISONED);
        // The handle before it goes first: the file has one owner.
        *state = State::Closed(CLOSED.to_owned());
        let proven = medium
            .forget(&name(self.first))
            .map_err(disk)
            .and_then(|()| open(medium, self.first))
            .and_then(|db| probe(&db).map(|()| db));
        match proven {
            Ok(db) => {
                *state = State::Open(db);
                Ok(())
            }
            Err(error) => {
                *state = State::Closed(error.to_string());
                Err(error)
            }
        }
    }
}

fn open(medium: &dyn Medium, first: u64) -> Result<Database, StoreError> {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    medium.open(&name(first), &builder).map_err(open_error)
}

/// Proves that the file takes writes again: a mere opening would call a full disk healthy.
fn probe(db: &Database) -> Result<(), StoreError> {
    let write = db.begin_write().map_err(disk)?;
    let mut anchors = write.open_table(ANCHOR).map_err(disk)?;
    anchors.insert(1, b"".as_slice()).map_err(disk)?;
    drop(anchors);
    write.commit().map_err(disk)
}

/// The records of a segment; `None` when it was never begun.
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
    value.value().try_into().map(Some).map_err(|_| NO_ANCHOR)
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

/// Damage that was found in the segment that begins with this record.
pub(crate) fn of_file(first: u64, error: StoreError) -> StoreError {
    match error {
        StoreError::Corrupt(what) => StoreError::File {
            file: name(first),
            what,
        },
        error => error,
    }
}

/// The file of the segment that begins with this record.
pub(crate) fn name(first: u64) -> String {
    format!("log-{first:016}.redb")
}

/// Whether a file of this name is a segment.
pub(crate) fn is_segment(name: &str) -> bool {
    first(name).is_some()
}

/// The first record of the segment in this file; `None` when it is no segment.
pub(crate) fn first(name: &str) -> Option<u64> {
    name.strip_prefix("log-")?
        .strip_suffix(".redb")?
        .parse()
        .ok()
}

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log_v1");
const ANCHOR: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("anchor_v1");
/// Page cache of a segment: the tail is appended to and read back, nothing else.
const CACHE: usize = 8 << 20;
const NO_ANCHOR: StoreError = StoreError::Corrupt("a log segment has no beginning");
const MISNUMBERED: StoreError =
    StoreError::Corrupt("an audit record is missing, or bears another number");
/// Page cache of a segment that is only shown.
const SHOWN_CACHE: usize = 4 << 20;
const CLOSED: &str = "the log is closed after a failed write";
const UNPOISONED: &str = "no panic while the lock is held";
