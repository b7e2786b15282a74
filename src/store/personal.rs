//! `personal.keys` against the rows: keys of erased users are destroyed, keys of users are there and open.

use std::ops::Bound;

use crate::store::damage::NOT_DESTROYED;
use crate::store::fold::{Fold, Reader};
use crate::store::record::{Table, TokenRow};
use crate::store::seal::Sealer;
use crate::store::seal::personal::FILE;
use crate::store::wanted::{Stop, stopped};
use crate::store::{StoreError, record, rows};

/// Refuses a store whose file of keys was lost: nothing would open, and numbers would be given twice.
pub(super) fn check_present(rows: &Reader<'_>, sealer: &Sealer) -> Result<(), StoreError> {
    // Damaged rows and pages are named elsewhere, and are no reason to refuse the start here.
    let users = rows.sample(Table::Users, 1);
    let users = users.is_ok_and(|keys| !keys.is_empty());
    if users && sealer.personal()?.is_empty()? {
        return Err(StoreError::File {
            file: FILE.to_owned(),
            what: "it is missing or empty although there are users",
        });
    }
    Ok(())
}

/// Destroys the keys that the log says must not be; one that is gone already costs a look.
pub(super) fn destroy_erased(rows: Reader<'_>, sealer: &Sealer) -> Result<(), StoreError> {
    let mut numbers = Vec::new();
    rows.scan(Table::Erased, b"", Bound::Unbounded, |key, _| {
        let number = key.try_into().map_err(|_| BAD_NUMBER)?;
        numbers.push(u64::from_be_bytes(number));
        Ok(true)
    })?;
    // The writer waits for readers.
    drop(rows);
    sealer.personal()?.destroy(&numbers)
}

/// Compares the file with the rows: each key that must not be is destroyed, each that a user needs is
/// there and opens. Returns whose is wrong, and what.
pub(super) fn check(
    fold: &Fold,
    sealer: &Sealer,
    stop: Stop<'_>,
) -> Result<Vec<(String, &'static str)>, StoreError> {
    let keys = sealer.personal()?;
    let mut found = Vec::new();
    if keys.is_cut()? {
        found.push(("length".to_owned(), CUT));
    }
    let mut erased = Vec::new();
    pages(fold, Table::Erased, stop, &mut |key, _| {
        let number = key.try_into().map_err(|_| BAD_NUMBER)?;
        erased.push(u64::from_be_bytes(number));
        Ok(())
    })?;
    for number in &erased {
        if !keys.is_destroyed(*number)? {
            found.push((format!("key {number}"), NOT_DESTROYED));
        }
    }
    let mut highest = erased.into_iter().max();
    let mut needed = Vec::new();
    pages(fold, Table::Users, stop, &mut |key, row| {
        let (number, needs) = record::user_personal(row)?;
        highest = highest.max(Some(number));
        if needs {
            needed.push((key.to_vec(), number));
        }
        Ok(())
    })?;
    pages(fold, Table::Tokens, stop, &mut |key, row| {
        if record::link_target(row).is_none()
            && let Some(number) = TokenRow::parse(row)?.person()
        {
            needed.push((key.to_vec(), number));
        }
        Ok(())
    })?;
    pages(fold, Table::Former, stop, &mut |_, row| {
        highest = highest.max(record::former(row)?.persons.into_iter().max());
        Ok(())
    })?;
    if let Some(number) = highest {
        keys.reserve(number);
    }
    for (owner, number) in needed {
        let what = match keys.key(number, sealer) {
            Ok(Some(_)) => continue,
            Ok(None) => DESTROYED,
            Err(_) if keys.is_lost(number)? => LOST,
            Err(_) => UNREADABLE,
        };
        found.push((format!("key {number} of {}", rows::shown(&owner)), what));
    }
    Ok(found)
}

/// What is done with a key and its row.
type Each<'e> = dyn FnMut(&[u8], &[u8]) -> Result<(), StoreError> + 'e;

/// Rows of a table, a page at a time: the writer waits for readers. Damaged ones are named elsewhere.
fn pages(fold: &Fold, table: Table, stop: Stop<'_>, each: &mut Each<'_>) -> Result<(), StoreError> {
    let mut last: Option<Vec<u8>> = None;
    loop {
        if stop() {
            return Err(stopped());
        }
        let from = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut page = Vec::new();
        fold.reader().list(table, b"", from, |key, row| {
            page.push((key.to_vec(), row.to_vec()));
            Ok(page.len() < PAGE)
        })?;
        for (key, row) in &page {
            match each(key, row) {
                Err(StoreError::Corrupt(_)) => {}
                done => done?,
            }
        }
        match page.pop() {
            Some((key, _)) if page.len() + 1 == PAGE => last = Some(key),
            _ => return Ok(()),
        }
    }
}

/// Rows that are read at a time.
const PAGE: usize = 1000;
const CUT: &str = "the file ends within a key; put personal.keys back from a newer backup";
const DESTROYED: &str = "the key is destroyed, and the user is there; erase or remove the user";
const LOST: &str =
    "the key is missing: a shorter file was put back; put personal.keys back from a newer backup";
const UNREADABLE: &str =
    "the key cannot be read; put personal.keys back from a newer backup, or remove the user";
const BAD_NUMBER: StoreError =
    StoreError::Corrupt("the number of an erased key of personal data cannot be read");
