//! The fold of the log: `main.redb` and the rows in memory on top of it.
//!
//! `main.redb` holds each row as of some record, in key order, and in its table `meta` up to which
//! record everything is in it (`applied`). A checkpoint writes the changed rows in sorted slices
//! with quick-repair commits and moves `applied` in the last one. A crash in between leaves rows
//! that are newer than `applied`; folding the log behind it again gives the same rows, because
//! entries hold absolute values.
//!
//! `applied` also carries the MAC of its record: a log that ends before it, or says something else
//! there, was cut or exchanged (threats T33, T35).
//!
//! Rows of the file are authenticated when they are read ([`crate::store::rows`]); what is damaged has
//! no value and is named ([`crate::store::damage`]).

use std::ops::Bound;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::model::sealing::SealAlgorithm;
use crate::secret::{Entropy, Key256};
use crate::store::damage::{ALTERED, Damage, guarded, is_of_engine};
use crate::store::error::disk;
use crate::store::identity::{BAD_META, FORMAT, Identity};
use crate::store::journal::Head;
use crate::store::main_file::{File, Snapshot, closed, put_whole, write_rows};
use crate::store::medium::Medium;
use crate::store::memtable::{Layer, Memtable};
use crate::store::record::Table;
use crate::store::row_cache::{Kept, KeptRow, RowCache};
use crate::store::rows::Whole;
use crate::store::seal::Sealer;
use crate::store::{StoreError, identity, main_file, rows};
use crate::time::UnixTime;

mod reader;

pub(crate) use reader::Reader;

/// The file and the memory in front of it.
pub(crate) struct Fold {
    medium: Arc<dyn Medium>,
    sealer: Arc<Sealer>,
    damage: Damage,
    memory: RwLock<Memory>,
    /// Rows of the file that logins read.
    kept: RowCache,
    /// `None` after a failure, until the file is open again. Held by checkpoints and checks only.
    file: Mutex<Option<File>>,
    /// The format that the file names.
    format: AtomicU8,
}

/// What readers look at.
struct Memory {
    rows: Memtable,
    /// The file as of the last slice that a checkpoint wrote. Opening tables costs more than reading
    /// rows, so it is kept between requests; a checkpoint replaces it after each slice, so that it
    /// pins few of the pages that were replaced since. `None` while the file is closed.
    snapshot: Option<Snapshot>,
    /// The last record that is in the file with all before it.
    applied: u64,
}

impl Memory {
    /// Whether the file is as it was after this record, and no checkpoint has begun.
    fn is_of(&self, applied: u64) -> bool {
        self.rows.frozen.is_none() && self.applied == applied
    }
}

impl Fold {
    /// Opens or creates the file; a new one gets a store id and a data key under `master`. A data
    /// key that another algorithm than `algorithm` sealed is sealed again.
    pub(crate) fn open(
        medium: Arc<dyn Medium>,
        master: &Key256,
        algorithm: SealAlgorithm,
        entropy: &dyn Entropy,
    ) -> Result<(Self, Arc<Sealer>), StoreError> {
        let (file, format, snapshot, sealer) = guarded(|| {
            let (file, sealer) = main_file::open(medium.as_ref(), master, algorithm, entropy)?;
            let format = Identity::read(&file.db)?.ok_or(BAD_META)?.format;
            let snapshot = Snapshot::of(&file.db)?;
            Ok((file, format, snapshot, sealer))
        })?;
        let Whole {
            applied,
            high_water,
            ..
        } = file.whole;
        let rows = Memtable {
            head: applied,
            high_water,
            frozen_at: (applied, high_water),
            ..Memtable::default()
        };
        let fold = Self {
            medium,
            sealer: Arc::clone(&sealer),
            damage: Damage::default(),
            memory: RwLock::new(Memory {
                rows,
                snapshot: Some(snapshot),
                applied: applied.seq,
            }),
            kept: RowCache::new(KEPT),
            file: Mutex::new(Some(file)),
            format: AtomicU8::new(format),
        };
        Ok((fold, sealer))
    }

    /// The format that the file names.
    pub(crate) fn format(&self) -> u8 {
        self.format.load(Ordering::Relaxed)
    }

    /// Keeps as many octets of rows of the file in memory.
    pub(crate) fn set_cache_size(&self, octets: u64) {
        self.kept.resize(octets);
    }

    /// [`identity::raise_format`].
    pub(crate) fn raise_format(&self) -> Result<(), StoreError> {
        if self.format() < FORMAT {
            let raised = match self.file().as_ref() {
                Some(file) => guarded(|| identity::raise_format(&file.db)),
                None => Err(closed()),
            };
            if raised.is_err() {
                // The engine refuses everything after an error, and no checkpoint opens the file again: no row changed.
                self.reopen();
                return raised;
            }
            self.format.store(FORMAT, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Where the file lives.
    pub(crate) fn medium(&self) -> &dyn Medium {
        self.medium.as_ref()
    }

    /// What is known to be damaged.
    pub(crate) const fn damage(&self) -> &Damage {
        &self.damage
    }

    /// The file, with no checkpoint under way as long as this is held.
    pub(crate) fn file(&self) -> MutexGuard<'_, Option<File>> {
        // The engine may have panicked under it; the file is opened again after that.
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value of a row of the file; named and refused when it is not as it was written.
    fn sound<'v>(
        &self,
        table: Table,
        key: &[u8],
        stored: &'v [u8],
    ) -> Result<&'v [u8], StoreError> {
        self.damage.refuse(table, key)?;
        match rows::open(&self.sealer, table, key, stored) {
            Some((value, _)) => Ok(value),
            None => Err(self.damage.row(table, key, ALTERED)),
        }
    }

    /// Runs what reads the file.
    pub(crate) fn reading<T>(
        &self,
        run: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let done = guarded(run);
        if let Err(error) = &done
            && is_of_engine(error)
        {
            self.damage.engine(error);
        }
        done
    }

    /// A consistent look at all rows. Hold it briefly: the writer waits to publish.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader {
            memory: self.memory.read().expect(UNPOISONED),
            fold: self,
        }
    }

    /// Publishes the rows of durable records up to `head`.
    pub(crate) fn publish(&self, rows: &mut Layer, head: Head, at: UnixTime, statics: bool) {
        let memory = &mut self.memory.write().expect(UNPOISONED).rows;
        memory.current.absorb(rows);
        memory.head = head;
        memory.high_water = memory.high_water.max(at);
        memory.generation += u64::from(statics);
    }

    /// Takes the administrator's word that `at` is the present although later times are on record.
    pub(crate) fn accept_clock(&self, at: UnixTime) {
        self.memory.write().expect(UNPOISONED).rows.high_water = at;
    }

    /// The last published record.
    pub(crate) fn head(&self) -> Head {
        self.memory.read().expect(UNPOISONED).rows.head
    }

    /// The last record that opening the store would not have to read again.
    pub(crate) fn applied(&self) -> u64 {
        self.memory.read().expect(UNPOISONED).applied
    }

    /// The latest time in any durable record.
    pub(crate) fn high_water(&self) -> UnixTime {
        self.memory.read().expect(UNPOISONED).rows.high_water
    }

    /// Changed rows that are not in the file yet.
    pub(crate) fn dirty(&self) -> usize {
        let memory = &self.memory.read().expect(UNPOISONED).rows;
        memory.current.rows() + memory.frozen.as_ref().map_or(0, |layer| layer.rows())
    }

    /// Writes what changed to the file. Readers and the writer go on meanwhile. `first` is what must be
    /// durable before the file says that it holds the newest records.
    pub(crate) fn checkpoint(
        &self,
        first: &dyn Fn() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let (layer, head, high_water) = {
            let memory = &mut self.memory.write().expect(UNPOISONED).rows;
            if memory.frozen.is_none() {
                // Refusals change no row, but opening reads the log from the last checkpoint.
                let ahead = memory.head.seq.saturating_sub(memory.frozen_at.0.seq);
                if memory.current.rows() == 0 && ahead < FAR {
                    return Ok(());
                }
                let next = memory.current.successor();
                let layer = std::mem::replace(&mut memory.current, next);
                memory.frozen = Some(Arc::new(layer));
                memory.frozen_at = (memory.head, memory.high_water);
            }
            // A layer that is still frozen is one whose checkpoint failed: write it again first.
            let layer = Arc::clone(memory.frozen.as_ref().expect("just frozen"));
            (layer, memory.frozen_at.0, memory.frozen_at.1)
        };
        first()?;
        if let Err(error) = guarded(|| self.write_out(&layer, head, high_water)) {
            self.reopen();
            return Err(error);
        }
        self.damage
            .mended(layer.all().map(|(table, key, _)| (table, key)));
        self.kept.take_over(&layer);
        let mut memory = self.memory.write().expect(UNPOISONED);
        memory.rows.frozen = None;
        memory.applied = head.seq;
        drop(memory);
        Ok(())
    }

    /// Keeps rows of the file as it was after record `applied`, which `rows` gives away, as long as no more than `most`
    /// hundredths of the room are taken. Whether more may come: not when a checkpoint has begun since, whose rows
    /// are newer.
    pub(crate) fn load(
        &self,
        table: Table,
        applied: u64,
        most: u64,
        rows: &mut Vec<(Box<[u8]>, Kept)>,
    ) -> bool {
        let memory = self.memory.read().expect(UNPOISONED);
        let may = memory.is_of(applied) && self.kept.octets() < self.kept.capacity() / 100 * most;
        if may {
            for (key, kept) in rows.drain(..) {
                self.kept.put(table, &key, kept);
            }
        }
        may
    }

    /// The same of states, which are kept where there is room; `end`: these are the last, and all before were taken.
    pub(crate) fn load_states(
        &self,
        table: Table,
        applied: u64,
        rows: &mut Vec<KeptRow>,
        end: bool,
    ) -> bool {
        let memory = self.memory.read().expect(UNPOISONED);
        let may = memory.is_of(applied);
        if may {
            for (key, row) in rows.drain(..) {
                self.kept.put_state(table, &key, &row);
            }
            if end {
                self.kept.is_whole(table);
            }
        }
        may
    }

    fn write_out(&self, layer: &Layer, head: Head, at: UnixTime) -> Result<(), StoreError> {
        let mut file = self.file();
        let file = file.as_mut().ok_or_else(closed)?;
        let mut changed = Table::ALL
            .into_iter()
            .flat_map(|table| {
                let rows = layer.range(table, Bound::Unbounded);
                rows.map(move |(key, value)| (table, key, value))
            })
            .peekable();
        loop {
            let mut write = file.db.begin_write().map_err(disk)?;
            write.set_quick_repair(true);
            let mut whole = file.whole.clone();
            let slice = changed.by_ref().take(SLICE);
            write_rows(&write, &self.sealer, &mut whole.sums, slice)?;
            let last = changed.peek().is_none();
            if last {
                whole.applied = head;
                whole.high_water = at;
            }
            put_whole(&write, &whole, &self.sealer)?;
            write.commit().map_err(disk)?;
            file.whole = whole;
            let snapshot = Snapshot::of(&file.db)?;
            let before = self.look_at(Some(snapshot));
            drop(before);
            if last {
                return Ok(());
            }
        }
    }

    /// Gives readers another snapshot and takes back the one before.
    fn look_at(&self, snapshot: Option<Snapshot>) -> Option<Snapshot> {
        let mut memory = self.memory.write().expect(UNPOISONED);
        std::mem::replace(&mut memory.snapshot, snapshot)
    }

    /// After a failed commit the engine refuses the handle: open the file again.
    fn reopen(&self) {
        let mut file = self.file();
        let opened = guarded(|| {
            // Anyone who reads meanwhile is refused; a snapshot would keep the file from being opened.
            drop(self.look_at(None));
            drop(file.take());
            let file = main_file::reopen(self.medium.as_ref(), &self.sealer)?;
            Ok((Snapshot::of(&file.db)?, file))
        });
        match opened {
            Ok((snapshot, opened)) => {
                *file = Some(opened);
                self.look_at(Some(snapshot));
            }
            Err(error) => {
                self.damage.engine(&error);
                tracing::error!(%error, "main.redb cannot be reopened");
            }
        }
    }
}

impl Drop for Fold {
    fn drop(&mut self) {
        // The engine writes when it closes a file.
        let closed = guarded(|| {
            drop(self.look_at(None));
            drop(self.file().take());
            Ok(())
        });
        if let Err(error) = closed {
            tracing::error!(%error, "main.redb was not closed");
        }
    }
}

/// Records after which a checkpoint is due although no row changed.
const FAR: u64 = 10_000;
/// Octets of rows of users and tokens that are kept in memory where nothing else is said.
const KEPT: u64 = 176 << 20;
/// Rows per checkpoint transaction.
const SLICE: usize = 50_000;
const UNPOISONED: &str = "no panic while the lock is held";
