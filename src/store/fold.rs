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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use redb::{Builder, Database, ReadOnlyTable, ReadableDatabase, TableDefinition};

use crate::model::sealing::SealAlgorithm;
use crate::secret::{Entropy, Key256, random};
use crate::store::damage::{ALTERED, Damage, NO_STATE, guarded, is_of_engine};
use crate::store::head::Acknowledged;
use crate::store::identity::{BAD_META, Identity, META};
use crate::store::log::{Head, disk, open_error};
use crate::store::medium::Medium;
use crate::store::memtable::{Layer, Memtable};
use crate::store::personal::PersonalKeys;
use crate::store::record::Table;
use crate::store::rows::{APPLIED, Sums, Whole};
use crate::store::seal::Sealer;
use crate::store::{StoreError, rows, seal};
use crate::time::UnixTime;

/// The file and the memory in front of it.
pub(crate) struct Fold {
    medium: Arc<dyn Medium>,
    sealer: Arc<Sealer>,
    damage: Damage,
    memory: RwLock<Memory>,
    /// `None` after a failure, until the file is open again. Held by checkpoints and checks only.
    file: Mutex<Option<File>>,
}

/// The open file.
pub(crate) struct File {
    pub(crate) db: Database,
    /// As of its last commit.
    pub(crate) whole: Whole,
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

/// All tables at one moment, in the order of their numbers.
pub(crate) struct Snapshot(Vec<FileTable>);

pub(crate) type FileTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

impl Snapshot {
    pub(crate) fn table(&self, table: Table) -> &FileTable {
        &self.0[table as usize]
    }

    pub(crate) fn of(file: &Database) -> Result<Self, StoreError> {
        let read = file.begin_read().map_err(disk)?;
        let open = |table| read.open_table(definition(table)).map_err(disk);
        Table::ALL
            .into_iter()
            .map(open)
            .collect::<Result<_, _>>()
            .map(Self)
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
        let opened = guarded(|| {
            let db = match open_file(medium.as_ref(), FILE) {
                Err(StoreError::Corrupt(_)) if is_unmade(medium.as_ref())? => {
                    // Killed while it was made: nothing was ever in it.
                    medium.remove(FILE).map_err(disk)?;
                    open_file(medium.as_ref(), FILE)?
                }
                opened => opened?,
            };
            let known = Identity::read(&db)?;
            let is_new = known.is_none();
            if is_new && is_begun(medium.as_ref())? {
                return Err(StoreError::Corrupt(
                    "main.redb is empty, and a journal is there",
                ));
            }
            let mut identity = match known {
                Some(known) => known,
                None => new_identity(master, algorithm, entropy)?,
            };
            let Identity { store, data_key } = &identity;
            let data_key = seal::unwrap_data_key(*store, master, data_key)?;
            let personal = PersonalKeys::open(medium.as_ref())?;
            let sealer = Sealer::new(*store, &data_key, algorithm).with_personal(personal);
            let sealer = Arc::new(sealer);
            if is_new {
                // Before the file says which store it is: a store without a head has lost it.
                Acknowledged::begin(medium.as_ref(), Arc::clone(&sealer), Head::default())?;
                write_first_meta(&db, &identity, &sealer)?;
                medium.sync().map_err(disk)?;
            }
            let Identity { store, data_key } = &identity;
            let again = seal::rewrap_data_key(*store, master, algorithm, data_key, entropy)?;
            if let Some(data_key) = again {
                write_data_key(&db, &data_key)?;
                identity.data_key = data_key;
            }
            if let Err(error) = identity.keep(medium.as_ref()) {
                tracing::warn!(%error, "the copy of the store's identity was not written");
            }
            let whole = read_whole(&db, &sealer)?;
            let snapshot = Snapshot::of(&db)?;
            Ok((File { db, whole }, snapshot, sealer))
        });
        let (file, snapshot, sealer) = opened?;
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
            file: Mutex::new(Some(file)),
        };
        Ok((fold, sealer))
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
        self.damage.mended(layer.keys());
        let mut memory = self.memory.write().expect(UNPOISONED);
        memory.rows.frozen = None;
        memory.applied = head.seq;
        drop(memory);
        Ok(())
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
            // Whoever reads meanwhile is refused; a snapshot would keep the file from being opened.
            drop(self.look_at(None));
            drop(file.take());
            self.medium.forget(FILE).map_err(disk)?;
            let db = open_file(self.medium.as_ref(), FILE)?;
            let whole = read_whole(&db, &self.sealer)?;
            Ok((Snapshot::of(&db)?, File { db, whole }))
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

/// Writes rows, each in its authenticated form, and keeps the sums.
pub(crate) fn write_rows<'r>(
    write: &redb::WriteTransaction,
    sealer: &Sealer,
    sums: &mut Sums,
    changed: impl Iterator<Item = (Table, &'r [u8], Option<&'r [u8]>)>,
) -> Result<(), StoreError> {
    let mut open = None;
    let mut stored = Vec::new();
    for (table, key, value) in changed {
        if !matches!(&open, Some((opened, _)) if *opened == table) {
            drop(open.take());
            open = Some((table, write.open_table(definition(table)).map_err(disk)?));
        }
        let (_, handle) = open.as_mut().expect("just opened");
        let before = match value {
            Some(value) => {
                let part = rows::seal(sealer, table, key, value, &mut stored);
                sums.add(table, part);
                handle.insert(key, stored.as_slice()).map_err(disk)?
            }
            None => handle.remove(key).map_err(disk)?,
        };
        if let Some(before) = before {
            let before = rows::open(sealer, table, key, before.value());
            sums.take(table, before.map(|(_, part)| part));
        }
    }
    Ok(())
}

/// A consistent look at all rows: memory first, then the file.
pub(crate) struct Reader<'a> {
    memory: RwLockReadGuard<'a, Memory>,
    fold: &'a Fold,
}

/// What is done with a key and its value, which may be damaged; `false`: that is enough.
type Take<'t> = dyn FnMut(&[u8], Result<&[u8], StoreError>) -> Result<bool, StoreError> + 't;

impl Reader<'_> {
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
        let file = self.table(table)?;
        self.fold.reading(|| {
            let row = file.get(key).map_err(disk)?;
            row.map(|row| parse(self.fold.sound(table, key, row.value())?))
                .transpose()
        })
    }

    /// A row that must be there, since the row that it belongs to is; without it nobody can decide.
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
        self.walk(table, prefix, from, &mut |key, value| take(key, value?))
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
                // Nearly always: what logins read by prefix changes rarely.
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

fn open_file(medium: &dyn Medium, name: &str) -> Result<Database, StoreError> {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    medium.open(name, &builder).map_err(open_error)
}

pub(crate) fn read_whole(file: &Database, sealer: &Sealer) -> Result<Whole, StoreError> {
    let read = file.begin_read().map_err(disk)?;
    let table = read.open_table(META).map_err(disk)?;
    let stored = table.get(APPLIED).map_err(disk)?.ok_or(BAD_META)?;
    Whole::decode(stored.value(), sealer)
}

fn new_identity(
    master: &Key256,
    algorithm: SealAlgorithm,
    entropy: &dyn Entropy,
) -> Result<Identity, StoreError> {
    let store: [u8; 16] = random(entropy)?;
    let data_key = Key256::new(random(entropy)?);
    let data_key = seal::wrap_data_key(store, master, algorithm, &data_key, entropy)?;
    Ok(Identity { store, data_key })
}

/// Whether a store was here before: its key was another.
fn is_begun(medium: &dyn Medium) -> Result<bool, StoreError> {
    let there = medium.list().map_err(disk)?;
    let ours = |name: &String| name.starts_with("log-") || name == "identity.redb";
    Ok(there.iter().any(ours))
}

/// Whether the first file of a store was never made whole: there is no other one, and the engine has not
/// written its mark, the first octets, which it writes last. A file that was damaged is kept.
fn is_unmade(medium: &dyn Medium) -> Result<bool, StoreError> {
    let there = medium.list().map_err(disk)?;
    if there.iter().any(|name| name != FILE) {
        return Ok(false);
    }
    let file = medium.raw(FILE).map_err(disk)?;
    let length = file.len().map_err(disk)?;
    let mut mark = [0; MARK];
    let read = mark.len().min(usize::try_from(length).unwrap_or(MARK));
    let (begun, _) = mark.split_at_mut(read);
    file.read(0, begun).map_err(disk)?;
    Ok(begun.iter().all(|octet| *octet == 0))
}

/// Octets of the engine's mark.
const MARK: usize = 9;

/// Makes an empty file this store's.
fn write_first_meta(
    file: &Database,
    identity: &Identity,
    sealer: &Sealer,
) -> Result<(), StoreError> {
    let mut write = file.begin_write().map_err(disk)?;
    write.set_quick_repair(true);
    identity.put(&write)?;
    for table in Table::ALL {
        write.open_table(definition(table)).map_err(disk)?;
    }
    put_whole(&write, &Whole::default(), sealer)?;
    write.commit().map_err(disk)
}

/// Makes a new file of this store under another name.
pub(crate) fn create(
    medium: &dyn Medium,
    name: &str,
    identity: &Identity,
    sealer: &Sealer,
) -> Result<Database, StoreError> {
    let file = open_file(medium, name)?;
    write_first_meta(&file, identity, sealer)?;
    Ok(file)
}

fn write_data_key(file: &Database, data_key: &[u8]) -> Result<(), StoreError> {
    let mut write = file.begin_write().map_err(disk)?;
    write.set_quick_repair(true);
    {
        let mut table = write.open_table(META).map_err(disk)?;
        table
            .insert("data_key".as_bytes(), data_key)
            .map_err(disk)?;
    }
    write.commit().map_err(disk)
}

pub(crate) fn put_whole(
    write: &redb::WriteTransaction,
    whole: &Whole,
    sealer: &Sealer,
) -> Result<(), StoreError> {
    let mut table = write.open_table(META).map_err(disk)?;
    let value = whole.encode(sealer);
    table.insert(APPLIED, value.as_slice()).map_err(disk)?;
    Ok(())
}

/// The next checkpoint opens the file again.
fn closed() -> StoreError {
    StoreError::Unavailable("main.redb is closed after a failed write".to_owned())
}

pub(crate) const fn definition(
    table: Table,
) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.name())
}

/// The file of rows.
const FILE: &str = "main.redb";
/// Page cache of `main.redb`, filled on demand: the leaves that a storm of a million users touches do not
/// fit half of it, and each miss is a read and a checksum.
const CACHE: usize = 256 << 20;
/// Records after which a checkpoint is due although no row changed.
const FAR: u64 = 10_000;
/// Rows per checkpoint transaction.
const SLICE: usize = 20_000;
const UNPOISONED: &str = "no panic while the lock is held";
