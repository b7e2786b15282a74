//! What was found damaged in `main.redb`, and the guard against an engine that panics on it.
//!
//! A row that is named here has no value: anyone who asks for it could not decide. Everything else goes
//! on. What is found while rows are read, while the file is checked, and when it is compared with the
//! journal comes together here, and is said once.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once};

use crate::store::record::Table;
use crate::store::{DamagedRow, StoreError, rows};

/// What is damaged, as far as it is known.
#[derive(Default)]
pub(crate) struct Damage {
    /// False: nothing is.
    any: AtomicBool,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    rows: BTreeMap<(Table, Vec<u8>), &'static str>,
    /// Rows beyond those that are kept by name.
    more: u64,
    /// What is wrong with whole tables, by their number.
    tables: [Option<&'static str>; Table::ALL.len()],
    /// What is wrong with keys of personal data.
    personal: Vec<(String, &'static str)>,
    /// What the engine said when it could not read the file.
    engine: Option<String>,
}

impl Damage {
    /// Whether anything is known to be damaged.
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// A row is damaged; says so the first time.
    pub(crate) fn row(&self, table: Table, key: &[u8], what: &'static str) -> StoreError {
        let mut found = self.found.lock().expect(UNPOISONED);
        let known = found.rows.contains_key(&(table, key.to_vec()));
        if !known && found.rows.len() < NAMED {
            found.rows.insert((table, key.to_vec()), what);
            let (table, key) = (table.as_str(), rows::shown(key));
            tracing::error!(table, key, what, "a row of the store is damaged");
        } else if !known {
            if found.more == 0 {
                tracing::error!("more rows of the store are damaged than are named");
            }
            found.more += 1;
        }
        self.any.store(true, Ordering::Relaxed);
        StoreError::Corrupt(what)
    }

    /// Rows of a table are missing or older ones were put back, and no one knows which.
    pub(crate) fn table(&self, table: Table, what: &'static str) {
        self.found.lock().expect(UNPOISONED).tables[table as usize] = Some(what);
        self.any.store(true, Ordering::Relaxed);
        tracing::error!(
            table = table.as_str(),
            what,
            "a table of the store is damaged"
        );
    }

    /// What is wrong with keys of personal data, all of it.
    pub(crate) fn personal(&self, wrong: Vec<(String, &'static str)>) {
        let mut found = self.found.lock().expect(UNPOISONED);
        let news = wrong.iter().filter(|one| !found.personal.contains(one));
        for (key, what) in news.take(NAMED) {
            tracing::error!(key, what, "personal.keys is damaged");
        }
        found.personal = wrong;
        if !found.personal.is_empty() {
            self.any.store(true, Ordering::Relaxed);
        }
    }

    /// Keys of erased users that were there are destroyed.
    pub(crate) fn erased(&self) {
        let mut found = self.found.lock().expect(UNPOISONED);
        found.personal.retain(|(_, what)| *what != NOT_DESTROYED);
    }

    /// The engine cannot read the file; says so the first time.
    pub(crate) fn engine(&self, error: &StoreError) {
        let mut found = self.found.lock().expect(UNPOISONED);
        if found.engine.is_none() {
            tracing::error!(%error, "main.redb cannot be read everywhere");
            found.engine = Some(error.to_string());
        }
        self.any.store(true, Ordering::Relaxed);
    }

    /// Refuses what is damaged, whatever the file says.
    pub(crate) fn refuse(&self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        if !self.any() {
            return Ok(());
        }
        let found = self.found.lock().expect(UNPOISONED);
        if let Some(what) = found.tables[table as usize] {
            return Err(StoreError::Corrupt(what));
        }
        let row = found.rows.get(&(table, key.to_vec()));
        row.map_or(Ok(()), |what| Err(StoreError::Corrupt(what)))
    }

    /// Refuses when a table is damaged, or a row whose key begins with `prefix` and for which `newer`
    /// does not hold.
    pub(crate) fn refuse_prefix(
        &self,
        table: Table,
        prefix: &[u8],
        newer: impl Fn(&[u8]) -> bool,
    ) -> Result<(), StoreError> {
        if !self.any() {
            return Ok(());
        }
        let found = self.found.lock().expect(UNPOISONED);
        if let Some(what) = found.tables[table as usize] {
            return Err(StoreError::Corrupt(what));
        }
        let from = Bound::Included((table, prefix.to_vec()));
        let mut rows = found.rows.range((from, Bound::Unbounded));
        let within = |at: &(Table, Vec<u8>)| at.0 == table && at.1.starts_with(prefix);
        match rows.find(|(at, _)| !within(at) || !newer(&at.1)) {
            Some((at, what)) if within(at) => Err(StoreError::Corrupt(what)),
            _ => Ok(()),
        }
    }

    /// These rows were written anew.
    pub(crate) fn mended<'k>(&self, written: impl Iterator<Item = (Table, &'k [u8])>) {
        if !self.any() {
            return;
        }
        let mut found = self.found.lock().expect(UNPOISONED);
        for (table, key) in written {
            if found.rows.remove(&(table, key.to_vec())).is_some() {
                let (table, key) = (table.as_str(), rows::shown(key));
                tracing::info!(table, key, "a damaged row was replaced by a newer one");
            }
        }
    }

    /// How many rows and tables are damaged.
    pub(crate) fn count(&self) -> u64 {
        if !self.any() {
            return 0;
        }
        let found = self.found.lock().expect(UNPOISONED);
        let tables = found.tables.iter().flatten().count();
        let named = u64::try_from(found.rows.len() + tables).unwrap_or(u64::MAX);
        let personal = u64::try_from(found.personal.len()).unwrap_or(u64::MAX);
        let named = named.saturating_add(personal);
        named.saturating_add(found.more) + u64::from(found.engine.is_some())
    }

    /// What is damaged, at most so much of it; first what concerns most.
    pub(crate) fn list(&self, most: usize) -> Vec<DamagedRow> {
        if !self.any() {
            return Vec::new();
        }
        let found = self.found.lock().expect(UNPOISONED);
        let engine = found.engine.iter().map(|what| DamagedRow {
            table: "main.redb",
            key: None,
            what: what.clone(),
        });
        let tables = Table::ALL.into_iter().zip(&found.tables);
        let tables = tables.filter_map(|(table, what)| {
            Some(DamagedRow {
                table: table.as_str(),
                key: None,
                what: (*what)?.to_owned(),
            })
        });
        let rows = found.rows.iter().map(|((table, key), what)| DamagedRow {
            table: table.as_str(),
            key: Some(rows::shown(key)),
            what: (*what).to_owned(),
        });
        let personal = found.personal.iter().map(|(key, what)| DamagedRow {
            table: "personal.keys",
            key: Some(key.clone()),
            what: (*what).to_owned(),
        });
        let all = engine.chain(tables).chain(personal).chain(rows);
        all.take(most).collect()
    }
}

/// Runs what reads or opens a file. The engine panics on some damage; that is an error like others.
pub(crate) fn guarded<T>(run: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let former = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // Anyone who guards says what it means; the engine's words help no one.
            if GUARDS.get() == 0 {
                former(panic);
            }
        }));
    });
    GUARDS.set(GUARDS.get() + 1);
    let done = std::panic::catch_unwind(AssertUnwindSafe(run));
    GUARDS.set(GUARDS.get() - 1);
    done.unwrap_or(Err(StoreError::Corrupt(PANICKED)))
}

/// Whether the engine, not a single row, is the cause.
pub(crate) fn is_of_engine(error: &StoreError) -> bool {
    match error {
        StoreError::Disk(_) => true,
        StoreError::Corrupt(what) => *what == PANICKED,
        _ => false,
    }
}

thread_local! {
    /// Guards that this thread runs under.
    static GUARDS: Cell<u32> = const { Cell::new(0) };
}

/// Rows that are kept by name.
const NAMED: usize = 1000;
const UNPOISONED: &str = "no panic while the lock is held";
/// What is said of an erased user's key that is there.
pub(crate) const NOT_DESTROYED: &str = "the key of an erased user is there: an older file was put back; start the daemon again to destroy it";
const PANICKED: &str = "a page of a database file cannot be read";
/// What is said of a row that is not as it was written.
pub(crate) const ALTERED: &str = "the row is not as it was written";
/// What is said of a token or device without its state.
pub(crate) const NO_STATE: &str = "the row that says which codes are used is missing";
