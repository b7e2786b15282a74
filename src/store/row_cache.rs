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

use std::hash::{Hash, RandomState};
use std::sync::Arc;

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
pub(crate) struct RowCache(Cache<Place, Kept, Size, RandomState>);

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
        Self(Cache::with(
            expected,
            octets,
            Size,
            RandomState::new(),
            DefaultLifecycle::default(),
        ))
    }

    /// What is kept under a key, or under the prefix of several.
    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Option<Kept> {
        self.0.get(&At(table, key))
    }

    /// Keeps what was read.
    pub(crate) fn put(&self, table: Table, key: &[u8], kept: Kept) {
        self.0.insert(Place(table, key.into()), kept);
    }

    /// About how much is kept.
    pub(crate) fn octets(&self) -> u64 {
        self.0.weight()
    }

    /// Takes over the rows of a checkpoint, which the memory is about to forget.
    pub(crate) fn take_over(&self, written: &Layer) {
        for (table, key, value) in written.all() {
            if table.is_listed() {
                let prefix = record::owner_prefix(key);
                prefix.and_then(|prefix| self.0.remove(&At(table, prefix)));
            }
            match value {
                Some(value) if table.is_hot() => self.put(table, key, Kept::Row(value.into())),
                _ => drop(self.0.remove(&At(table, key))),
            }
        }
    }
}

/// Most rows that are kept under one prefix.
pub(crate) const LISTED: usize = 32;

/// What an entry takes besides its rows.
const ENTRY: usize = 96;

/// What a row of several takes besides its octets.
const ROW: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::record::RowWrite;

    #[test]
    fn a_checkpoint_replaces_states_and_drops_what_else_it_changed() {
        let cache = RowCache::new(1 << 20);
        let row = |value: &[u8]| Kept::Row(value.into());
        cache.put(Table::TokenStates, b"T-1", row(b"old"));
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
        write(Table::Users, b"default\0kim", Some(b"changed"));
        write(Table::Tokens, b"default\0kim\0T-9", None);
        cache.take_over(&layer);
        let value = |table, key: &[u8]| match cache.get(table, key) {
            Some(Kept::Row(value)) => Some(value.to_vec()),
            _ => None,
        };
        assert_eq!(value(Table::TokenStates, b"T-1").unwrap(), b"new");
        assert_eq!(value(Table::TokenStates, b"T-2").unwrap(), b"other");
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
        assert!(cache.0.weight() <= 100_000 && cache.0.len() > 100);
    }
}
