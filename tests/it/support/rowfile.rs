//! The rows of a closed store, read and changed behind its back.

use std::path::Path;

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

/// Keys and stored values of a table.
pub(crate) fn all(dir: &Path, table: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let file = open(dir);
    let table: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new(table);
    let table = file.begin_read().unwrap().open_table(table).unwrap();
    let rows = table.iter().unwrap();
    rows.map(|row| {
        let (key, value) = row.unwrap();
        (key.value().to_vec(), value.value().to_vec())
    })
    .collect()
}

/// The key that ends with this text, and its stored value.
pub(crate) fn find(dir: &Path, table: &str, end: &str) -> (Vec<u8>, Vec<u8>) {
    let rows = all(dir, table);
    let mut rows = rows.into_iter();
    let found = rows.find(|(key, _)| key.ends_with(end.as_bytes()));
    found.unwrap_or_else(|| panic!("{table} has no row {end}"))
}

/// Puts this value under the key, or removes the row.
pub(crate) fn put(dir: &Path, table: &str, key: &[u8], value: Option<&[u8]>) {
    let file = open(dir);
    let table: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new(table);
    let write = file.begin_write().unwrap();
    {
        let mut table = write.open_table(table).unwrap();
        match value {
            Some(value) => drop(table.insert(key, value).unwrap()),
            None => drop(table.remove(key).unwrap()),
        }
    }
    write.commit().unwrap();
}

fn open(dir: &Path) -> Database {
    Database::open(dir.join("main.redb")).unwrap()
}
