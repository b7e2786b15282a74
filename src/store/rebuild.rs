//! A `main.redb` that is being made: its rows, and the journal's records that close codes.
//!
//! A repair, a restore and the acceptance of an older store all end in the same way: records may be missing in
//! which codes were used, so every code that may have been used is closed ([`crate::store::floor`]), and the
//! journal says which.

use std::ops::Bound;
use std::sync::Arc;

use redb::Database;

use crate::model::audit::{ChangeEvent, Event};
use crate::model::id::RequestId;
use crate::secret::{SystemEntropy, random};
use crate::store::closing::{Cause, Closing};
use crate::store::course::STATE_EPOCH;
use crate::store::error::disk;
use crate::store::identity::raise_format;
use crate::store::journal::{Appended, Appender, Batch};
use crate::store::main_file::{Snapshot, put_whole, write_rows};
use crate::store::memtable::Layer;
use crate::store::record::{EPOCH, Entry, FLOOR, RowWrite, Table};
use crate::store::rows::Whole;
use crate::store::seal::Sealer;
use crate::store::transition::rows::put;
use crate::store::{StoreError, record};
use crate::time::UnixTime;

/// The file, and what it says about itself as a whole.
pub(crate) struct Rebuild {
    pub(crate) file: Database,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) whole: Whole,
}

impl Rebuild {
    /// Writes rows, and empties the layer.
    pub(crate) fn flush(&mut self, layer: &mut Layer) -> Result<(), StoreError> {
        let mut write = self.file.begin_write().map_err(disk)?;
        write.set_quick_repair(true);
        let changed = Table::ALL.into_iter().flat_map(|table| {
            let rows = layer.range(table, Bound::Unbounded);
            rows.map(move |(key, value)| (table, key, value))
        });
        write_rows(&write, &self.sealer, &mut self.whole.sums, changed)?;
        put_whole(&write, &self.whole, &self.sealer)?;
        write.commit().map_err(disk)?;
        *layer = Layer::default();
        Ok(())
    }

    /// Closes every code that may have been used up to `now` in records that are not here; the journal says so,
    /// too. Returns the tokens that were closed, the first ten thousand.
    pub(crate) fn close_codes(
        &mut self,
        appender: &mut Appender,
        now: UnixTime,
        cause: Cause,
    ) -> Result<Vec<String>, StoreError> {
        let at = now.max(self.whole.high_water);
        let snapshot = Snapshot::of(&self.file)?;
        let sealer = Arc::clone(&self.sealer);
        let closing = Closing::new(&snapshot, &sealer, at, cause);
        self.whole.high_water = at;
        let mut named: Vec<String> = Vec::new();
        let name = |named: &mut Vec<String>, closed: Vec<String>| {
            let room = NAMED.saturating_sub(named.len());
            named.extend(closed.into_iter().take(room));
        };
        let mut slice = Slice::default();
        for keys in closing.owners()?.chunks(SLICE) {
            let mut others = Vec::new();
            for key in keys {
                let (entry, closed) = closing.user(key, &mut others)?;
                slice.take(entry)?;
                name(&mut named, closed);
            }
            slice.take(closing.others(others)?)?;
            self.commit(appender, &mut slice)?;
        }
        for keys in closing.stock()?.chunks(SLICE) {
            let (entry, closed) = closing.in_stock(keys)?;
            slice.take(entry)?;
            name(&mut named, closed);
            self.commit(appender, &mut slice)?;
        }
        for keys in closing.gone()?.chunks(SLICE) {
            slice.take(closing.retired(keys)?)?;
            self.commit(appender, &mut slice)?;
        }
        Ok(named)
    }

    /// Begins a new state epoch above the known ones, on record: of two stores with the same past the one with the
    /// higher epoch is the later one. Up to when codes may have been used stays on record with it, for keys that come
    /// from outside later. Returns it.
    pub(crate) fn begin_epoch(
        &mut self,
        appender: &mut Appender,
        known: u64,
        (cause, now): (Cause, UnixTime),
        target: String,
        detail: &str,
        mut writes: Vec<RowWrite>,
    ) -> Result<u64, StoreError> {
        let snapshot = Snapshot::of(&self.file)?;
        let own = snapshot.get(&self.sealer, Table::Settings, EPOCH)?;
        let own = own.map(|row| record::epoch(&row)).transpose()?;
        let before = snapshot.get(&self.sealer, Table::Settings, FLOOR)?;
        let before = before.map(|row| record::time(&row)).transpose()?;
        drop(snapshot);
        // Not lower where the clock was put right meanwhile: a lost record of the time ahead may have used codes of it.
        let floor = before.unwrap_or_default().max(self.whole.high_water);
        let floor = record::time_row(floor)?;
        writes.push(put(Table::Settings, FLOOR.to_vec(), floor));
        let epoch = own.unwrap_or_default().max(known).checked_add(1);
        let epoch = epoch.ok_or(StoreError::Corrupt("there is no higher state epoch"))?;
        writes.push(put(
            Table::Settings,
            EPOCH.to_vec(),
            record::epoch_row(epoch)?,
        ));
        let entry = Entry {
            at: self.whole.high_water,
            event: Event::Change(ChangeEvent {
                request: RequestId::new(now, random(&SystemEntropy)?),
                actor: cause.actor.to_owned(),
                action: cause.action.to_owned(),
                target,
                user: None,
                detail: Some(format!("{detail}{STATE_EPOCH}{epoch}")),
            }),
            changes: Vec::new(),
            writes,
        };
        self.append(appender, entry)?;
        Ok(epoch)
    }

    /// Appends one entry, and writes its rows.
    fn append(&mut self, appender: &mut Appender, entry: Entry) -> Result<(), StoreError> {
        let mut slice = Slice::default();
        slice.take(Some(entry))?;
        self.commit(appender, &mut slice)
    }

    /// To the journal first.
    fn commit(&mut self, appender: &mut Appender, slice: &mut Slice) -> Result<(), StoreError> {
        raise_format(&self.file)?;
        match appender.append(appender.head(), &mut slice.batch)? {
            Appended::UpTo(head) => self.whole.applied = head,
            Appended::Behind => return Err(BEHIND),
        }
        slice.batch.clear();
        // The file must not be further than what is known of the journal.
        appender.flush()?;
        self.flush(&mut slice.layer)
    }
}

/// Entries that are not appended yet, and their rows.
#[derive(Default)]
struct Slice {
    batch: Batch,
    layer: Layer,
}

impl Slice {
    fn take(&mut self, entry: Option<Entry>) -> Result<(), StoreError> {
        if let Some(entry) = entry {
            self.batch.push(&entry)?;
            let writes = entry.writes.into_iter();
            writes.for_each(|write| self.layer.put(write));
        }
        Ok(())
    }
}

/// Users, tokens in stock or tokens that are gone whose codes are closed in one commit.
const SLICE: usize = 1000;
/// Closed tokens that are named.
const NAMED: usize = 10_000;
const BEHIND: StoreError = StoreError::Corrupt("the journal has another writer");
