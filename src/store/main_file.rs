//! `main.redb`: the rows as of some record, in key order, and what the file says about itself.

use std::sync::Arc;

use redb::{Builder, Database, ReadOnlyTable, ReadableDatabase, TableDefinition, TableHandle as _};

use crate::model::sealing::SealAlgorithm;
use crate::secret::{Entropy, Key256, random};
use crate::store::error::{disk, open_error};
use crate::store::identity::{BAD_META, FORMAT, Identity, META};
use crate::store::journal::{self, Head};
use crate::store::medium::Medium;
use crate::store::record::Table;
use crate::store::rows::{APPLIED, Sums, Whole};
use crate::store::seal::Sealer;
use crate::store::seal::personal::PersonalKeys;
use crate::store::seal::ring::Keyring;
use crate::store::{StoreError, rows};

/// The open file.
pub(crate) struct File {
    pub(crate) db: Database,
    /// As of its last commit.
    pub(crate) whole: Whole,
}

/// All tables at one moment, in the order of their numbers.
pub(crate) struct Snapshot(Vec<FileTable>);

pub(crate) type FileTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

impl Snapshot {
    pub(crate) fn table(&self, table: Table) -> &FileTable {
        &self.0[table as usize]
    }

    /// A row; none where it is not as it was written.
    pub(crate) fn get(
        &self,
        sealer: &Sealer,
        table: Table,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let row = self.table(table).get(key).map_err(disk)?;
        let row = row.as_ref().map(redb::AccessGuard::value);
        let sound = row.and_then(|stored| rows::open(sealer, table, key, stored));
        Ok(sound.map(|(value, _)| value.to_vec()))
    }

    /// Whether every row is as it was written.
    pub(crate) fn is_sound(&self, sealer: &Sealer) -> Result<bool, StoreError> {
        for table in Table::ALL {
            for row in self.table(table).range::<&[u8]>(..).map_err(disk)? {
                let (key, stored) = row.map_err(disk)?;
                if rows::open(sealer, table, key.value(), stored.value()).is_none() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
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

/// Opens or creates the file; a new one gets a store id and a data key under `master`. A data
/// key that another algorithm than `algorithm` sealed is sealed again.
pub(crate) fn open(
    medium: &dyn Medium,
    master: &Key256,
    algorithm: SealAlgorithm,
    entropy: &dyn Entropy,
) -> Result<(File, Arc<Sealer>), StoreError> {
    let db = match open_file(medium) {
        Err(StoreError::Corrupt(_)) if is_unmade(medium)? => {
            // Killed while it was made: nothing was ever in it.
            medium.remove(FILE).map_err(disk)?;
            open_file(medium)?
        }
        opened => opened?,
    };
    let known = Identity::read(&db)?;
    let is_new = known.is_none();
    if is_new && is_begun(medium)? {
        return Err(StoreError::Corrupt(
            "main.redb is empty, and a journal is there",
        ));
    }
    let mut identity = match known {
        Some(known) => known,
        None => new_identity(master, algorithm, entropy)?,
    };
    let mut opened = Keyring::unwrap(identity.store, master, &identity.data_key)?;
    // An older main.redb that was put back does not know a key or a format that the journal's records need.
    if let Ok(Some(copy)) = Identity::copy(medium)
        && copy.store == identity.store
    {
        let own = identity.clone();
        identity = identity.in_format_of(&copy);
        if let Ok(ring) = Keyring::unwrap(copy.store, master, &copy.data_key)
            && ring.keys() > opened.keys()
        {
            (identity.data_key, opened) = (copy.data_key, ring);
        }
        if identity != own {
            identity.write(&db)?;
        }
    }
    let Identity {
        store, data_key, ..
    } = &identity;
    let sealer = Sealer::new(*store, &opened, algorithm);
    let personal = PersonalKeys::open(medium, &sealer)?;
    let sealer = sealer.with_personal(personal);
    let sealer = Arc::new(sealer);
    if is_new {
        // Before the file says which store it is: a store without a head has lost it.
        journal::begin(medium, Arc::clone(&sealer), Head::default())?;
        write_first_meta(&db, &identity, &sealer)?;
        medium.sync().map_err(disk)?;
    }
    let again = Keyring::rewrap(*store, master, algorithm, data_key, entropy)?;
    if let Some(data_key) = again {
        identity.data_key = data_key;
        identity.write(&db)?;
    }
    if let Err(error) = identity.keep(medium) {
        tracing::warn!(%error, "the copy of the store's identity was not written");
    }
    add_tables(&db)?;
    let whole = read_whole(&db, &sealer)?;
    Ok((File { db, whole }, sealer))
}

/// Opens the file again after a failed commit. What is cached of it is not trusted.
pub(crate) fn reopen(medium: &dyn Medium, sealer: &Sealer) -> Result<File, StoreError> {
    medium.forget(FILE).map_err(disk)?;
    let db = open_file(medium)?;
    let whole = read_whole(&db, sealer)?;
    Ok(File { db, whole })
}

fn open_file(medium: &dyn Medium) -> Result<Database, StoreError> {
    open_named(medium, FILE)
}

fn open_named(medium: &dyn Medium, name: &str) -> Result<Database, StoreError> {
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
    let data_key = Keyring::new(data_key).wrap(store, master, algorithm, entropy)?;
    Ok(Identity {
        format: FORMAT,
        store,
        data_key,
    })
}

/// Whether a store was here before: its key was another.
fn is_begun(medium: &dyn Medium) -> Result<bool, StoreError> {
    let there = medium.list().map_err(disk)?;
    let ours = |name: &String| journal::is_segment(name) || name == "identity.redb";
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

/// Adds the tables that an earlier version did not have.
fn add_tables(file: &Database) -> Result<(), StoreError> {
    let read = file.begin_read().map_err(disk)?;
    let there: Vec<String> = (read.list_tables().map_err(disk)?)
        .map(|table| table.name().to_owned())
        .collect();
    drop(read);
    let is_there = |table: &Table| there.iter().any(|name| name == table.as_str());
    if Table::ALL.iter().all(is_there) {
        return Ok(());
    }
    let mut write = file.begin_write().map_err(disk)?;
    write.set_quick_repair(true);
    for table in Table::ALL {
        write.open_table(definition(table)).map_err(disk)?;
    }
    write.commit().map_err(disk)
}

/// Makes a new file of this store under another name.
pub(crate) fn create(
    medium: &dyn Medium,
    name: &str,
    identity: &Identity,
    sealer: &Sealer,
) -> Result<Database, StoreError> {
    let file = open_named(medium, name)?;
    write_first_meta(&file, identity, sealer)?;
    Ok(file)
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

/// The next checkpoint opens the file again.
pub(crate) fn closed() -> StoreError {
    StoreError::Unavailable("main.redb is closed after a failed write".to_owned())
}

pub(crate) const fn definition(
    table: Table,
) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.as_str())
}

/// The file of rows.
const FILE: &str = "main.redb";
/// Page cache of `main.redb`, filled on demand. What logins read is kept as rows (`row_cache`), and the system keeps the
/// file: a miss is a read and a checksum.
const CACHE: usize = 64 << 20;
