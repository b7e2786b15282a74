//! The fold of the log: `main.redb` and the rows in memory on top of it.
//!
//! `main.redb` holds each row as of some record, in key order, and in its table `meta` up to which
//! record everything is in it (`applied`). A checkpoint writes the changed rows in sorted slices
//! with quick-repair commits and moves `applied` in the last one. A crash in between leaves rows
//! that are newer than `applied`; folding the log behind it again gives the same rows, because
//! entries hold absolute values.
//!
//! `applied` also carries the MAC of its record: a log that ends before it, or says something else
//! there, was cut or exchanged (SECURITY T33, T35).

use std::ops::Bound;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::RwLock;
use std::sync::RwLockReadGuard;

use redb::Builder;
use redb::Database;
use redb::ReadOnlyTable;
use redb::ReadableDatabase;
use redb::TableDefinition;

use crate::model::sealing::SealAlgorithm;
use crate::secret::Entropy;
use crate::secret::Key256;
use crate::secret::random;
use crate::store::StoreError;
use crate::store::log::Head;
use crate::store::log::disk;
use crate::store::log::open_error;
use crate::store::medium::Medium;
use crate::store::memtable::Layer;
use crate::store::memtable::Memtable;
use crate::store::record::RowWrite;
use crate::store::record::Table;
use crate::store::seal;
use crate::time::UnixTime;

/// The file and the memory in front of it.
pub(crate) struct Fold {
    medium: Arc<dyn Medium>,
    memory: RwLock<Memory>,
    /// `None` after a failure, until the file is open again. Held by the checkpoint only.
    file: Mutex<Option<Database>>,
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
struct Snapshot(Vec<FileTable>);

type FileTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

impl Snapshot {
    fn of(file: &Database) -> Result<Self, StoreError> {
        let read = file.begin_read().map_err(disk)?;
        let open = |table| read.open_table(definition(table)).map_err(disk);
        Table::ALL
            .into_iter()
            .map(open)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// What `main.redb` says about itself.
pub(crate) struct Meta {
    pub(crate) store: [u8; 16],
    pub(crate) data_key: Vec<u8>,
    pub(crate) applied: Head,
    pub(crate) high_water: UnixTime,
}

impl Fold {
    /// Opens or creates the file; a new one gets a store id and a data key under `master`. A data
    /// key that another algorithm than `algorithm` sealed is sealed again.
    pub(crate) fn open(
        medium: Arc<dyn Medium>,
        master: &Key256,
        algorithm: SealAlgorithm,
        entropy: &dyn Entropy,
    ) -> Result<(Self, Meta), StoreError> {
        let file = open_file(medium.as_ref())?;
        let meta = match read_meta(&file)? {
            Some(mut meta) => {
                let (store, sealed) = (meta.store, &meta.data_key);
                let again = seal::rewrap_data_key(store, master, algorithm, sealed, entropy)?;
                if let Some(data_key) = again {
                    write_data_key(&file, &data_key)?;
                    meta.data_key = data_key;
                }
                meta
            }
            None => {
                let meta = write_first_meta(&file, master, algorithm, entropy)?;
                medium.sync().map_err(disk)?;
                meta
            }
        };
        let rows = Memtable {
            head: meta.applied,
            high_water: meta.high_water,
            frozen_at: (meta.applied, meta.high_water),
            ..Memtable::default()
        };
        let snapshot = Some(Snapshot::of(&file)?);
        let fold = Self {
            medium,
            memory: RwLock::new(Memory {
                rows,
                snapshot,
                applied: meta.applied.seq,
            }),
            file: Mutex::new(Some(file)),
        };
        Ok((fold, meta))
    }

    /// A consistent look at all rows. Hold it briefly: the writer waits to publish.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader(self.memory.read().expect(UNPOISONED))
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

    /// Writes what changed to the file. Readers and the writer go on meanwhile.
    pub(crate) fn checkpoint(&self) -> Result<(), StoreError> {
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
        if let Err(error) = self.write_out(&layer, head, high_water) {
            self.reopen();
            return Err(error);
        }
        let mut memory = self.memory.write().expect(UNPOISONED);
        memory.rows.frozen = None;
        memory.applied = head.seq;
        drop(memory);
        Ok(())
    }

    fn write_out(&self, layer: &Layer, head: Head, at: UnixTime) -> Result<(), StoreError> {
        let file = self.file.lock().expect(UNPOISONED);
        let file = file.as_ref().ok_or_else(closed)?;
        let mut rows = Table::ALL
            .into_iter()
            .flat_map(|table| {
                let rows = layer.range(table, Bound::Unbounded);
                rows.map(move |(key, value)| (table, key, value))
            })
            .peekable();
        loop {
            let mut write = file.begin_write().map_err(disk)?;
            write.set_quick_repair(true);
            let mut open = None;
            for (table, key, value) in rows.by_ref().take(SLICE) {
                if !matches!(&open, Some((opened, _)) if *opened == table) {
                    drop(open.take());
                    open = Some((table, write.open_table(definition(table)).map_err(disk)?));
                }
                let (_, handle) = open.as_mut().expect("just opened");
                match value {
                    Some(value) => drop(handle.insert(key, value).map_err(disk)?),
                    None => drop(handle.remove(key).map_err(disk)?),
                }
            }
            drop(open);
            let last = rows.peek().is_none();
            if last {
                put_applied(&write, head, at)?;
            }
            write.commit().map_err(disk)?;
            let snapshot = Snapshot::of(file)?;
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
        let mut file = self.file.lock().expect(UNPOISONED);
        // Whoever reads meanwhile is refused; a snapshot would keep the file from being opened.
        drop(self.look_at(None));
        *file = None;
        let forgotten = self.medium.forget(FILE).map_err(disk);
        let opened = forgotten
            .and_then(|()| open_file(self.medium.as_ref()))
            .and_then(|opened| Ok((Snapshot::of(&opened)?, opened)));
        match opened {
            Ok((snapshot, opened)) => {
                *file = Some(opened);
                self.look_at(Some(snapshot));
            }
            Err(error) => tracing::error!(%error, "main.redb cannot be reopened"),
        }
    }
}

/// A consistent look at all rows: memory first, then the file.
pub(crate) struct Reader<'a>(RwLockReadGuard<'a, Memory>);

impl Reader<'_> {
    /// Generation of the static rows.
    pub(crate) fn generation(&self) -> u64 {
        self.0.rows.generation
    }

    /// A row, by `parse`.
    pub(crate) fn get<T>(
        &self,
        table: Table,
        key: &[u8],
        parse: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        if let Some(value) = self.0.rows.get(table, key) {
            return value.map(parse).transpose();
        }
        let row = self.table(table)?.get(key).map_err(disk)?;
        row.map(|row| parse(row.value())).transpose()
    }

    /// Rows in key order from `from`, whose keys begin with `prefix`, until `take` says enough.
    pub(crate) fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        from: Bound<&[u8]>,
        mut take: impl FnMut(&[u8], &[u8]) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let from = match from {
            Bound::Unbounded => Bound::Included(prefix),
            bound => bound,
        };
        let mut file = self
            .table(table)?
            .range::<&[u8]>((from, Bound::Unbounded))
            .map_err(disk)?;
        if !self.0.rows.has(table) {
            // Nearly always: what logins read by prefix changes rarely.
            for row in file {
                let (key, value) = row.map_err(disk)?;
                if !key.value().starts_with(prefix) || !take(key.value(), value.value())? {
                    return Ok(());
                }
            }
            return Ok(());
        }
        let mut file_row = file.next().transpose().map_err(disk)?;
        let mut frozen = self
            .0
            .rows
            .frozen
            .iter()
            .flat_map(|layer| layer.range(table, from))
            .peekable();
        let mut current = self.0.rows.current.range(table, from).peekable();
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
                Some(value) => value,
                None => oldest.as_ref().map(|(_, value)| value.value()),
            };
            if let Some(value) = value
                && !take(&key, value)?
            {
                return Ok(());
            }
        }
    }

    fn table(&self, table: Table) -> Result<&FileTable, StoreError> {
        let snapshot = self.0.snapshot.as_ref().ok_or_else(closed)?;
        Ok(&snapshot.0[table as usize])
    }
}

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

    /// Keys of one table that begin with `prefix`.
    pub(crate) fn keys(&self, table: Table, prefix: &[u8]) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut keys = Vec::new();
        self.reader
            .scan(table, prefix, Bound::Unbounded, |key, _| {
                if self.rows.get(table, key).is_none() {
                    keys.push(key.to_vec());
                }
                Ok(true)
            })?;
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
        self.reader.scan(table, b"", Bound::Unbounded, |key, _| {
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

fn open_file(medium: &dyn Medium) -> Result<Database, StoreError> {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    medium.open(FILE, &builder).map_err(open_error)
}

fn read_meta(file: &Database) -> Result<Option<Meta>, StoreError> {
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
    let format = get("format")?;
    if format != [FORMAT] {
        let found = format.first().copied().unwrap_or_default();
        return Err(StoreError::NewerFormat {
            found,
            known: FORMAT,
        });
    }
    let applied = get("applied")?;
    let (seq, rest) = applied.split_first_chunk::<8>().ok_or(BAD_META)?;
    let (mac, time) = rest.split_first_chunk::<32>().ok_or(BAD_META)?;
    let time: [u8; 8] = time.try_into().map_err(|_| BAD_META)?;
    Ok(Some(Meta {
        store: get("store")?.try_into().map_err(|_| BAD_META)?,
        data_key: get("data_key")?,
        applied: Head {
            seq: u64::from_be_bytes(*seq),
            mac: *mac,
        },
        high_water: UnixTime::from_millis(u64::from_be_bytes(time)),
    }))
}

fn write_first_meta(
    file: &Database,
    master: &Key256,
    algorithm: SealAlgorithm,
    entropy: &dyn Entropy,
) -> Result<Meta, StoreError> {
    let store: [u8; 16] = random(entropy)?;
    let data_key = Key256::new(random(entropy)?);
    let data_key = seal::wrap_data_key(store, master, algorithm, &data_key, entropy)?;
    let mut write = file.begin_write().map_err(disk)?;
    write.set_quick_repair(true);
    {
        let mut table = write.open_table(META).map_err(disk)?;
        let rows: [(&str, &[u8]); 3] = [
            ("format", &[FORMAT]),
            ("store", &store),
            ("data_key", &data_key),
        ];
        for (key, value) in rows {
            table.insert(key.as_bytes(), value).map_err(disk)?;
        }
        for table in Table::ALL {
            write.open_table(definition(table)).map_err(disk)?;
        }
    }
    put_applied(&write, Head::default(), UnixTime::EPOCH)?;
    write.commit().map_err(disk)?;
    Ok(Meta {
        store,
        data_key,
        applied: Head::default(),
        high_water: UnixTime::EPOCH,
    })
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

fn put_applied(write: &redb::WriteTransaction, head: Head, at: UnixTime) -> Result<(), StoreError> {
    let mut value = [0; 48];
    value[..8].copy_from_slice(&head.seq.to_be_bytes());
    value[8..40].copy_from_slice(&head.mac);
    value[40..].copy_from_slice(&at.as_millis().to_be_bytes());
    let mut table = write.open_table(META).map_err(disk)?;
    table
        .insert("applied".as_bytes(), value.as_slice())
        .map_err(disk)?;
    Ok(())
}

/// The next checkpoint opens the file again.
fn closed() -> StoreError {
    StoreError::Unavailable("main.redb is closed after a failed write".to_owned())
}

const fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.name())
}

/// The file of rows.
const FILE: &str = "main.redb";
const META: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("meta");
/// Format of the files.
const FORMAT: u8 = 1;
/// Page cache of `main.redb`, filled on demand: the leaves that a storm of a million users touches do not
/// fit half of it, and each miss is a read and a checksum.
const CACHE: usize = 256 << 20;
/// Records after which a checkpoint is due although no row changed.
const FAR: u64 = 10_000;
/// Rows per checkpoint transaction.
const SLICE: usize = 20_000;
const UNPOISONED: &str = "no panic while the lock is held";
const BAD_META: StoreError = StoreError::Corrupt("main.redb does not say what it is");
