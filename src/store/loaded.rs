//! Which files that decide are in force: policies, texts, tables. No IO of its own.

use data_encoding::HEXLOWER;

use crate::model::audit::{Changed, FieldChange};
use crate::store::evaluate::put;
use crate::store::record::{RowWrite, Table};
use crate::store::working::Working;
use crate::store::{StoreError, record};

/// A file by what it is, `policy vpn`, and its SHA-256.
pub type LoadedFile = (String, [u8; 32]);

/// The row that names the files in force, and how they differ from those before; not found where they are
/// the same and nobody asked for a record.
pub(super) fn change(
    rows: &Working<'_>,
    files: &[LoadedFile],
    asked: bool,
) -> Result<(Vec<RowWrite>, Vec<FieldChange>), StoreError> {
    let before = rows.get(Table::Settings, LOADED, record::loaded)?;
    let before = before.unwrap_or_default();
    let changes = differences(&before, files);
    if changes.is_empty() {
        let unchanged = Ok((Vec::new(), changes));
        return if asked {
            unchanged
        } else {
            Err(StoreError::NotFound)
        };
    }
    let row = record::loaded_row(files)?;
    Ok((vec![put(Table::Settings, LOADED.to_vec(), row)], changes))
}

fn differences(before: &[LoadedFile], after: &[LoadedFile]) -> Vec<FieldChange> {
    let of = |files: &[LoadedFile], name: &str| {
        let found = files.iter().find(|(file, _)| file == name);
        found.map(|(_, hash)| HEXLOWER.encode(hash))
    };
    let gone = before.iter().filter(|(name, _)| of(after, name).is_none());
    let names = after.iter().chain(gone).map(|(name, _)| name);
    names
        .map(|name| (name, of(before, name), of(after, name)))
        .filter(|(_, before, after)| before != after)
        .map(|(name, before, after)| FieldChange {
            record: Some(name.clone()),
            field: "sha256".to_owned(),
            change: Changed::Text { before, after },
        })
        .collect()
}

/// The key among the settings.
const LOADED: &[u8] = b"loaded";
