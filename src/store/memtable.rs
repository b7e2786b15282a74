//! Rows that changed since the last checkpoint, in memory.
//!
//! Two layers: `current` takes what the writer publishes; `frozen` is being written to `main.redb`
//! by the checkpoint thread. A reader looks in both before the file, so that it never misses a row.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::store::log::Head;
use crate::store::record::RowWrite;
use crate::store::record::Table;
use crate::time::UnixTime;

/// Rows of all tables; `None` is a removed row.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    tables: [BTreeMap<Vec<u8>, Option<Vec<u8>>>; Table::ALL.len()],
    rows: usize,
}

impl Layer {
    /// What this layer says about a row; `None` when it says nothing.
    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Option<Option<&[u8]>> {
        self.tables[table as usize].get(key).map(Option::as_deref)
    }

    /// Takes a row as it is now.
    pub(crate) fn put(&mut self, write: RowWrite) {
        if self.tables[write.table as usize]
            .insert(write.key, write.value)
            .is_none()
        {
            self.rows += 1;
        }
    }

    /// Moves the rows of a newer layer on top of this one's. One by one: `BTreeMap::append` would
    /// build the whole larger map anew for each commit.
    pub(crate) fn absorb(&mut self, newer: &mut Self) {
        for (ours, theirs) in self.tables.iter_mut().zip(&mut newer.tables) {
            let before = ours.len();
            ours.extend(std::mem::take(theirs));
            self.rows += ours.len() - before;
        }
        newer.rows = 0;
    }

    /// Rows of one table whose key is at or after `from`.
    pub(crate) fn range(
        &self,
        table: Table,
        from: Bound<&[u8]>,
    ) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.tables[table as usize]
            .range::<[u8], _>((from, Bound::Unbounded))
            .map(|(key, value)| (key.as_slice(), value.as_deref()))
    }

    /// Number of rows.
    pub(crate) const fn rows(&self) -> usize {
        self.rows
    }
}

/// Both layers and what they stand for.
#[derive(Debug, Default)]
pub(crate) struct Memtable {
    /// Published since the last checkpoint began.
    pub(crate) current: Layer,
    /// Being written to the file.
    pub(crate) frozen: Option<Arc<Layer>>,
    /// The last record, and the latest time, that the frozen layer covers.
    pub(crate) frozen_at: (Head, UnixTime),
    /// The last record whose rows are published.
    pub(crate) head: Head,
    /// The latest time in any record.
    pub(crate) high_water: UnixTime,
    /// Rises when a static row changes.
    pub(crate) generation: u64,
}

impl Memtable {
    /// What memory says about a row; `None` when it says nothing.
    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Option<Option<&[u8]>> {
        let frozen = || self.frozen.as_ref().and_then(|layer| layer.get(table, key));
        self.current.get(table, key).or_else(frozen)
    }
}
