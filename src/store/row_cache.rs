//! Rows of `main.redb` that logins read, kept in memory.
//!
//! A row is kept as it lay in the file, after its tag was checked: a look-up costs neither the engine's
//! pages nor the tag again. Keys of tokens stay sealed.
//!
//! Invariants: rows in memory that are newer than the file ([`crate::store::memtable`]) are looked for first, so
//! what is kept may be older than those, and only those; [`RowCache::take_over`] is called for the rows of a checkpoint
//! before the memory forgets them. A row is kept under the lock under which it was read, so
//! that no newer one was published meanwhile. What does not exist is kept for some tables only: names of users come from
//! anyone who asks.
//!
//! States, which every login reads and changes, are kept all of them where there is room: what is not among them
//! does not exist then. Their keys are those of rows that exist, which those who ask for logins do not choose, so a
//! cheaper hash than `SipHash` does. Addresses, which are kept beside the users, come from anyone.

use std::collections::HashMap;
use std::hash::{Hash, RandomState};
use std::sync::{Arc, RwLock};

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{Equivalent, Weighter};

use crate::store::memtable::Layer;
use crate::store::record::{self, Table};

/// The rows of one key, or of one prefix.
#[derive(Clone)]
pub(crate) enum Kept {
    /// There is no such row.
    Absent,
    /// Its value.
    Row(Arc<[u8]>),
    /// All rows whose keys begin with the key: keys and values, in order.
    Rows(Arc<[KeptRow]>),
}

/// A row's key and value.
pub(crate) type KeptRow = (Box<[u8]>, Box<[u8]>);

/// What is kept, bounded by its size in memory.
pub(crate) struct RowCache {
    rows: Cache<Place, Kept, Size, RandomState>,
    states: [States; Table::HOT.len()],
}

/// The rows of a table of states.
#[derive(Default)]
struct States(RwLock<StateRows>);

#[derive(Default)]
struct StateRows {
    rows: HashMap<Box<[u8]>, Box<[u8]>, foldhash::quality::RandomState>,
    octets: usize,
    /// As many octets are kept.
    most: usize,
    /// Whether a row had no room.
    dropped: bool,
    /// Whether all rows of the file are here.
    whole: bool,
}

/// What is known of a state.
pub(crate) enum State<T> {
    /// It is there.
    Known(T),
    /// There is none.
    Absent,
    /// The file knows.
    Unknown,
}

/// Where a row lies.
#[derive(Eq, Hash, PartialEq)]
struct Place(Table, Box<[u8]>);

/// The same, borrowed.
#[derive(Hash)]
struct At<'a>(Table, &'a [u8]);

impl Equivalent<Place> for At<'_> {
    fn equivalent(&self, place: &Place) -> bool {
        self.0 == place.0 && *self.1 == *place.1
    }
}

#[derive(Clone)]
struct Size;

impl Weighter<Place, Kept> for Size {
    fn weight(&self, place: &Place, kept: &Kept) -> u64 {
        let rows = match kept {
            Kept::Absent => 0,
            Kept::Row(value) => value.len(),
            Kept::Rows(rows) => {
                let octets = |(key, value): &KeptRow| ROW + key.len() + value.len();
                rows.iter().map(octets).sum()
            }
        };
        (ENTRY + place.1.len() + rows) as u64
    }
}

impl RowCache {
    /// Keeps at most about `octets`.
    pub(crate) fn new(octets: u64) -> Self {
        let expected = usize::try_from(octets).unwrap_or(usize::MAX) / (4 * ENTRY);
        let cache = Self {
            rows: Cache::with(
                expected,
                octets,
                Size,
                RandomState::new(),
                DefaultLifecycle::default(),
            ),
            states: Default::default(),
        };
        cache.resize(octets);
        cache
    }

    /// Keeps at most about `octets` of rows from now on, and half as much again of each table of states.
    pub(crate) fn resize(&self, octets: u64) {
        self.rows.set_capacity(octets);
        let most = usize::try_from(octets / 2 * 3).unwrap_or(usize::MAX);
        for states in &self.states {
            states.0.write().expect(UNPOISONED).most = most;
        }
    }

    /// As much as is kept of rows at most.
    pub(crate) fn capacity(&self) -> u64 {
        self.rows.capacity()
    }

    /// What is known of a row of a hot table, by `parse`.
    pub(crate) fn state<T>(
        &self,
        table: Table,
        key: &[u8],
        parse: impl FnOnce(&[u8]) -> T,
    ) -> State<T> {
        let Some(states) = self.states(table) else {
            return State::Unknown;
        };
        let states = states.0.read().expect(UNPOISONED);
        match states.rows.get(key) {
            Some(row) => State::Known(parse(row)),
            None if states.whole => State::Absent,
            None => State::Unknown,
        }
    }

    /// Keeps a row of a hot table where there is room.
    pub(crate) fn put_state(&self, table: Table, key: &[u8], row: &[u8]) {
        if let Some(states) = self.states(table) {
            states.0.write().expect(UNPOISONED).put(key, row);
        }
    }

    /// All rows of a hot table were put here. Not believed where one did not fit.
    pub(crate) fn is_whole(&self, table: Table) {
        if let Some(states) = self.states(table) {
            let states = &mut states.0.write().expect(UNPOISONED);
            states.whole = !states.dropped;
        }
    }

    fn states(&self, table: Table) -> Option<&States> {
        let place = Table::HOT.iter().position(|hot| *hot == table)?;
        self.states.get(place)
    }

    /// What is kept under a key, or under the prefix of several.
    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Option<Kept> {
        self.rows.get(&At(table, key))
    }

    /// Keeps what was read.
    pub(crate) fn put(&self, table: Table, key: &[u8], kept: Kept) {
        self.rows.insert(Place(table, key.into()), kept);
    }

    /// About how much is kept.
    pub(crate) fn octets(&self) -> u64 {
        self.rows.weight()
    }

    /// Takes over the rows of a checkpoint, which the memory is about to forget.
    pub(crate) fn take_over(&self, written: &Layer) {
        for (table, key, value) in written.all() {
            if table.is_listed() {
                let prefix = record::owner_prefix(key);
                prefix.and_then(|prefix| self.rows.remove(&At(table, prefix)));
            }
            match self.states(table) {
                // One lock for each: a login may be waiting for it.
                Some(states) => {
                    let states = &mut states.0.write().expect(UNPOISONED);
                    match value {
                        Some(value) => states.put(key, value),
                        None => states.remove(key),
                    }
                }
                None => drop(self.rows.remove(&At(table, key))),
            }
        }
    }
}

impl StateRows {
    fn put(&mut self, key: &[u8], row: &[u8]) {
        if let Some(before) = self.rows.get_mut(key) {
            self.octets = self.octets + row.len() - before.len();
            if before.len() == row.len() {
                before.copy_from_slice(row);
            } else {
                *before = row.into();
            }
        } else if self.octets < self.most {
            self.octets += STATE + key.len() + row.len();
            self.rows.insert(key.into(), row.into());
        } else {
            (self.dropped, self.whole) = (true, false);
        }
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some(row) = self.rows.remove(key) {
            self.octets -= STATE + key.len() + row.len();
        }
    }
}

/// Most rows that are kept under one prefix.
pub(crate) const LISTED: usize = 32;

/// What a state takes besides its octets.
const STATE: usize = 64;

const UNPOISONED: &str = "no panic while the lock is held";

/// What an entry takes besides its rows.
const ENTRY: usize = 96;

/// What a row of several takes besides its octets.
const ROW: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::record::RowWrite;

    /// Rows that had no room before there was more are not taken for rows that do not exist.
    #[test]
    fn what_had_no_room_is_not_forgotten() {
        let cache = RowCache::new(2000);
        for number in 0..100_u8 {
            cache.put_state(Table::UserStates, &[number], &[number; 100]);
        }
        cache.resize(1 << 20);
        cache.is_whole(Table::UserStates);
        let last = cache.state(Table::UserStates, &[99], |_| ());
        assert!(matches!(last, State::Unknown));
    }

    #[test]
    fn as_much_is_kept_as_there_is_room_for() {
        let cache = RowCache::new(2000);
        let fill = |cache: &RowCache| {
            for number in 0..100_u8 {
                let row = Kept::Row([number; 100].into());
                cache.put(Table::Users, &[number], row);
                cache.put_state(Table::TokenStates, &[number], &[number; 100]);
            }
            cache.is_whole(Table::TokenStates);
            let all = (0..100_u8).filter(|number| cache.get(Table::Users, &[*number]).is_some());
            let absent = cache.state(Table::TokenStates, b"other", |_| ());
            (all.count(), matches!(absent, State::Absent))
        };
        let (kept, is_whole) = fill(&cache);
        assert!(kept < 20 && !is_whole, "{kept}");
        cache.resize(1 << 20);
        assert_eq!(fill(&cache).0, 100);
        assert_eq!(fill(&RowCache::new(1 << 20)), (100, true));
    }

    #[test]
    fn a_checkpoint_replaces_states_and_drops_what_else_it_changed() {
        let cache = RowCache::new(1 << 20);
        let row = |value: &[u8]| Kept::Row(value.into());
        cache.put_state(Table::TokenStates, b"T-1", b"old");
        cache.put_state(Table::TokenStates, b"T-3", b"gone");
        cache.is_whole(Table::TokenStates);
        cache.put(Table::Users, b"default\0kim", row(b"kim"));
        cache.put(Table::Users, b"default\0lee", row(b"lee"));
        let tokens: [KeptRow; 1] = [(b"default\0kim\0T-1"[..].into(), b"t"[..].into())];
        cache.put(Table::Tokens, b"default\0kim\0", Kept::Rows(tokens.into()));
        let mut layer = Layer::default();
        let mut write = |table, key: &[u8], value: Option<&[u8]>| {
            layer.put(RowWrite {
                table,
                key: key.to_vec(),
                value: value.map(<[u8]>::to_vec),
            });
        };
        write(Table::TokenStates, b"T-1", Some(b"new"));
        write(Table::TokenStates, b"T-2", Some(b"other"));
        write(Table::TokenStates, b"T-3", None);
        write(Table::Users, b"default\0kim", Some(b"changed"));
        write(Table::Tokens, b"default\0kim\0T-9", None);
        cache.take_over(&layer);
        let value = |table, key: &[u8]| match cache.get(table, key) {
            Some(Kept::Row(value)) => Some(value.to_vec()),
            _ => None,
        };
        let state = |table, key: &[u8]| match cache.state(table, key, <[u8]>::to_vec) {
            State::Known(value) => Some(Some(value)),
            State::Absent => Some(None),
            State::Unknown => None,
        };
        let known = |value: &[u8]| Some(Some(value.to_vec()));
        assert_eq!(state(Table::TokenStates, b"T-1"), known(b"new"));
        assert_eq!(state(Table::TokenStates, b"T-2"), known(b"other"));
        assert_eq!(state(Table::TokenStates, b"T-3"), Some(None));
        assert_eq!(state(Table::UserStates, b"default\0kim"), None);
        assert_eq!(value(Table::Users, b"default\0kim"), None);
        assert_eq!(value(Table::Users, b"default\0lee").unwrap(), b"lee");
        assert!(cache.get(Table::Tokens, b"default\0kim\0").is_none());
    }

    #[test]
    fn is_bounded() {
        let cache = RowCache::new(100_000);
        for number in 0..10_000_u32 {
            cache.put(
                Table::Users,
                &number.to_be_bytes(),
                Kept::Row([7; 100].into()),
            );
        }
        assert!(cache.rows.weight() <= 100_000 && cache.rows.len() > 100);
    }
}
