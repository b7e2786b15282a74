//! Whose store it is: its id and its sealed data key, in `main.redb` and once more beside it.
//!
//! Without the data key nothing in a store can be read, the journal included. The copy in
//! `identity.redb` is there for the day on which `main.redb` cannot be opened.

use redb::{Builder, Database, ReadableDatabase, TableDefinition};

use crate::store::StoreError;
use crate::store::damage::guarded;
use crate::store::error::{disk, open_error};
use crate::store::medium::Medium;

/// Whose store it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Identity {
    /// The format in which the store may hold records and rows.
    pub(crate) format: u8,
    pub(crate) store: [u8; 16],
    /// Sealed by the master key.
    pub(crate) data_key: Vec<u8>,
}

impl Identity {
    /// What a file says; `None` when it says nothing yet.
    pub(crate) fn read(file: &Database) -> Result<Option<Self>, StoreError> {
        let read = file.begin_read().map_err(disk)?;
        let table = match read.open_table(META) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(disk(error)),
        };
        let get = |key: &str| -> Result<Vec<u8>, StoreError> {
            let value = table.get(key.as_bytes()).map_err(disk)?;
            value.map(|value| value.value().to_vec()).ok_or(BAD_META)
        };
        let format = match get("format")?.as_slice() {
            [format @ 1..=FORMAT] => *format,
            [found, ..] if *found > FORMAT => {
                return Err(StoreError::NewerFormat {
                    found: *found,
                    known: FORMAT,
                });
            }
            _ => return Err(BAD_META),
        };
        Ok(Some(Self {
            format,
            store: get("store")?.try_into().map_err(|_| BAD_META)?,
            data_key: get("data_key")?,
        }))
    }

    /// The same in the higher format of both: what the newer one was kept for stays in the store.
    pub(crate) fn in_format_of(self, other: &Self) -> Self {
        Self {
            format: self.format.max(other.format),
            ..self
        }
    }

    /// Writes it to a file, with the next commit.
    pub(crate) fn put(&self, write: &redb::WriteTransaction) -> Result<(), StoreError> {
        let mut table = write.open_table(META).map_err(disk)?;
        let rows: [(&str, &[u8]); 3] = [
            ("format", &[self.format]),
            ("store", &self.store),
            ("data_key", &self.data_key),
        ];
        for (key, value) in rows {
            table.insert(key.as_bytes(), value).map_err(disk)?;
        }
        Ok(())
    }

    /// Writes it to a file, durably.
    pub(crate) fn write(&self, file: &Database) -> Result<(), StoreError> {
        let mut write = file.begin_write().map_err(disk)?;
        write.set_quick_repair(true);
        self.put(&write)?;
        write.commit().map_err(disk)
    }

    /// The copy beside the file; `None` when there is none.
    pub(crate) fn copy(medium: &dyn Medium) -> Result<Option<Self>, StoreError> {
        let there = medium.list().map_err(disk)?;
        if !there.iter().any(|name| name == FILE) {
            return Ok(None);
        }
        guarded(|| Self::read(&open(medium)?))
    }

    /// Sees to it that the copy is there and the same.
    pub(crate) fn keep(&self, medium: &dyn Medium) -> Result<(), StoreError> {
        match Self::copy(medium) {
            Ok(Some(copy)) if copy == *self => return Ok(()),
            Ok(_) => {}
            // It is of no use as it is.
            Err(StoreError::Corrupt(_) | StoreError::Disk(_)) => {
                medium.remove(FILE).map_err(disk)?;
            }
            Err(error) => return Err(error),
        }
        guarded(|| {
            self.write(&open(medium)?)?;
            medium.sync().map_err(disk)
        })
    }
}

/// Sees to it that a file names the present format, durably: before anything is written in that format, so that an
/// older version refuses the store with the cause and misreads no record. The copy follows at the next start.
pub(crate) fn raise_format(file: &Database) -> Result<(), StoreError> {
    let known = Identity::read(file)?.ok_or(BAD_META)?;
    if known.format == FORMAT {
        return Ok(());
    }
    let raised = Identity {
        format: FORMAT,
        ..known
    };
    raised.write(file)
}

fn open(medium: &dyn Medium) -> Result<Database, StoreError> {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    medium.open(FILE, &builder).map_err(open_error)
}

/// The copy's file.
const FILE: &str = "identity.redb";
pub(crate) const META: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("meta");
/// Format of the files. 2: records of the journal leave out what they say elsewhere.
pub const FORMAT: u8 = 2;
const CACHE: usize = 1 << 20;
pub(crate) const BAD_META: StoreError = StoreError::Corrupt("main.redb does not say what it is");
