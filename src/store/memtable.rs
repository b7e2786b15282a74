//! Rows that changed since the last checkpoint, in memory.
//!
//! Two layers: `current` takes what the writer publishes; `frozen` is being written to `main.redb`
//! by the checkpoint thread. A reader looks in both before the file, so that it never misses a row.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use foldhash::quality::RandomState;

use crate::store::journal::Head;
use crate::store::record::{RowWrite, Table};
use crate::time::UnixTime;

/// Rows of all tables; `None` is a removed row.
#[derive(Debug)]
pub(crate) struct Layer {
    tables: [Rows; Table::ALL.len()],
    rows: usize,
}

/// Rows of one table.
#[derive(Debug)]
enum Rows {
    /// In order of their keys, for tables that are read by prefix.
    Ordered(BTreeMap<Vec<u8>, Row>),
    /// In none, for tables of which every login reads and changes a row: a look-up among many
    /// thousand rows touches one of them, not one per level of a tree. No one from outside chooses their keys, so
    /// the hash need not withstand that.
    Hashed(HashMap<Vec<u8>, Row, RandomState>),
}

type Row = Option<Vec<u8>>;

/// Key and row.
type Seen<'a> = (&'a [u8], Option<&'a [u8]>);

impl Rows {
    fn new(table: Table) -> Self {
        if table.is_hot() {
            Self::Hashed(HashMap::default())
        } else {
            Self::Ordered(BTreeMap::new())
        }
    }

    fn get(&self, key: &[u8]) -> Option<&Row> {
        match self {
            Self::Ordered(rows) => rows.get(key),
            Self::Hashed(rows) => rows.get(key),
        }
    }

    fn insert(&mut self, key: Vec<u8>, row: Row) -> Option<Row> {
        match self {
            Self::Ordered(rows) => rows.insert(key, row),
            Self::Hashed(rows) => rows.insert(key, row),
        }
    }

    fn take(&mut self) -> Box<dyn Iterator<Item = (Vec<u8>, Row)>> {
        match self {
            Self::Ordered(rows) => Box::new(std::mem::take(rows).into_iter()),
            Self::Hashed(rows) => Box::new(std::mem::take(rows).into_iter()),
        }
    }
}

impl Default for Layer {
    fn default() -> Self {
        Self {
            tables: Table::ALL.map(Rows::new),
            rows: 0,
        }
    }
}

impl Layer {
    /// What this layer says about a row; `None` when it says nothing.
    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Option<Option<&[u8]>> {
        self.tables[table as usize].get(key).map(Option::as_deref)
    }

    /// Whether there is any row of a table.
    fn has(&self, table: Table) -> bool {
        match &self.tables[table as usize] {
            Rows::Ordered(rows) => !rows.is_empty(),
            Rows::Hashed(rows) => !rows.is_empty(),
        }
    }

    /// Takes a row as it is now.
    pub(crate) fn put(&mut self, write: RowWrite) {
        let rows = &mut self.tables[write.table as usize];
        if rows.insert(write.key, write.value).is_none() {
            self.rows += 1;
        }
    }

    /// Moves the rows of a newer layer on top of this one's. One by one: `BTreeMap::append` would
    /// build the whole larger map anew for each commit.
    pub(crate) fn absorb(&mut self, newer: &mut Self) {
        if newer.rows == 0 {
            return;
        }
        for (ours, theirs) in self.tables.iter_mut().zip(&mut newer.tables) {
            for (key, row) in theirs.take() {
                self.rows += usize::from(ours.insert(key, row).is_none());
            }
        }
        newer.rows = 0;
    }

    /// Rows of one table whose key is at or after `from`, in order. Of a hot table all of them are
    /// sorted first: that is for checkpoints.
    pub(crate) fn range(
        &self,
        table: Table,
        from: Bound<&[u8]>,
    ) -> Box<dyn Iterator<Item = Seen<'_>> + '_> {
        match &self.tables[table as usize] {
            Rows::Ordered(rows) => {
                let rows = rows.range::<[u8], _>((from, Bound::Unbounded));
                Box::new(rows.map(|(key, row)| (key.as_slice(), row.as_deref())))
            }
            Rows::Hashed(rows) => {
                let rows = rows.iter();
                let rows = rows.map(|(key, row)| (key.as_slice(), row.as_deref()));
                let begun = |key: &[u8]| match from {
                    Bound::Unbounded => true,
                    Bound::Included(from) => key >= from,
                    Bound::Excluded(from) => key > from,
                };
                let mut rows: Vec<_> = rows.filter(|(key, _)| begun(key)).collect();
                rows.sort_unstable_by_key(|(key, _)| *key);
                Box::new(rows.into_iter())
            }
        }
    }

    /// All rows, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Table, &[u8], Option<&[u8]>)> {
        Table::ALL.into_iter().flat_map(|table| {
            let rows: Box<dyn Iterator<Item = (&Vec<u8>, &Row)>> =
                match &self.tables[table as usize] {
                    Rows::Ordered(rows) => Box::new(rows.iter()),
                    Rows::Hashed(rows) => Box::new(rows.iter()),
                };
            rows.map(move |(key, row)| (table, key.as_slice(), row.as_deref()))
        })
    }

    /// Number of rows.
    pub(crate) const fn rows(&self) -> usize {
        self.rows
    }

    /// An empty layer with room for as many hot rows as this one has: a table that grows in the
    /// middle of a storm holds everybody up.
    pub(crate) fn successor(&self) -> Self {
        let mut next = Self::default();
        for (ours, theirs) in self.tables.iter().zip(&mut next.tables) {
            if let (Rows::Hashed(ours), Rows::Hashed(theirs)) = (ours, theirs) {
                theirs.reserve(ours.len());
            }
        }
        next
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
    /// Whether memory says anything about a table.
    pub(crate) fn has(&self, table: Table) -> bool {
        let layers = [Some(&self.current), self.frozen.as_deref()];
        layers.into_iter().flatten().any(|layer| layer.has(table))
    }

    /// What memory says about a row; `None` when it says nothing.
    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Option<Option<&[u8]>> {
        let frozen = || self.frozen.as_ref().and_then(|layer| layer.get(table, key));
        self.current.get(table, key).or_else(frozen)
    }
}
