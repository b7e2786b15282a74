//! The acknowledged head: up to which record answers have left, kept beside the log.
//!
//! The log's own end cannot say whether its last record was lost: after a kill the newest pages may be
//! damaged, and what is left ends one commit earlier, whole and in order. So each commit, when it is
//! durable and before its answers leave, writes number and MAC of its last record into `head`:
//!
//! ```text
//! slot 0 (512 octets), slot 1: written in turn
//!   magic (8) | record (8) | its MAC (32) | mark under a key of the store (16) | zeros
//! ```
//!
//! Written in place and flushed with the checkpoints only: a kill leaves the system's cache as it is, and a
//! power cut leaves an older head, which asks for less. It is flushed before the checkpoint is written, so
//! that `main.redb` never holds more than the head says. A slot fits a sector, so that a torn
//! write damages one of them at most; the other one then says a commit less.
//!
//! At opening a log that ends before the head, or has another record there, has lost what was
//! answered: it is refused. What stands behind the head was told to no one and stays, since it may
//! have been. The head is made before `main.redb` says which store it is: a store without one, or with
//! one that is older than `main.redb`, has lost it, and is refused, since the end of the log may be
//! lost as well. Where one slot is damaged, it may have been the newer one: the log must then go
//! further than the other one says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use redb::StorageBackend;

use crate::store::StoreError;
use crate::store::error::disk;
use crate::store::journal::head::Head;
use crate::store::medium::{Medium, Memory};
use crate::store::seal::Sealer;

/// The file.
pub(crate) struct Acknowledged {
    file: Box<dyn StorageBackend>,
    sealer: Arc<Sealer>,
    /// The slot that is written next.
    next: AtomicUsize,
    /// Written since the last flush.
    dirty: AtomicBool,
}

/// What the file says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Found {
    /// The last record whose answer may have left.
    Head(Head),
    /// One slot is damaged; the other one says this.
    Half(Head),
    /// Nothing that can be believed: what is wrong.
    Unusable(&'static str),
}

impl Acknowledged {
    /// Makes the file anew, durably, whatever was there.
    pub(crate) fn begin(
        medium: &dyn Medium,
        sealer: Arc<Sealer>,
        head: Head,
    ) -> Result<Self, StoreError> {
        let file = medium.raw(NAME).map_err(disk)?;
        let mut octets = encode(head, &sealer).to_vec();
        octets.resize(SLOT, 0);
        octets.extend_from_within(..);
        file.set_len(SIZE).map_err(disk)?;
        file.write(0, &octets).map_err(disk)?;
        file.sync_data().map_err(disk)?;
        medium.sync().map_err(disk)?;
        Ok(Self::new(file, sealer, 0))
    }

    /// Opens the file. What cannot be used is left as it is.
    pub(crate) fn open(
        medium: &dyn Medium,
        sealer: Arc<Sealer>,
    ) -> Result<(Self, Found), StoreError> {
        let there = medium.list().map_err(disk)?;
        if !there.iter().any(|name| name == NAME) {
            // Nothing is written to it: a store without a head decides nothing.
            let aside = Self::begin(&Memory::default(), sealer, Head::default())?;
            return Ok((aside, Found::Unusable(MISSING)));
        }
        let file = medium.raw(NAME).map_err(disk)?;
        if file.len().map_err(disk)? != SIZE {
            return Ok((Self::new(file, sealer, 0), Found::Unusable(SHORT)));
        }
        let mut octets = [0; 2 * SLOT];
        file.read(0, &mut octets).map_err(disk)?;
        let (first, second) = octets.split_at(SLOT);
        let (first, second) = (decode(first, &sealer), decode(second, &sealer));
        // The slot that is written next is the older one, or the damaged one.
        let (found, next) = match (first, second) {
            (Some(first), Some(second)) if first.seq > second.seq => (Found::Head(first), 1),
            (Some(_), Some(second)) => (Found::Head(second), 0),
            (Some(head), None) => (Found::Half(head), 1),
            (None, Some(head)) => (Found::Half(head), 0),
            (None, None) if octets == [0; 2 * SLOT] => (Found::Unusable(EMPTY), 0),
            (None, None) => (Found::Unusable(DAMAGED), 0),
        };
        Ok((Self::new(file, sealer, next), found))
    }

    fn new(file: Box<dyn StorageBackend>, sealer: Arc<Sealer>, next: usize) -> Self {
        Self {
            file,
            sealer,
            next: AtomicUsize::new(next),
            dirty: AtomicBool::new(false),
        }
    }

    /// Notes that answers up to this record may leave. Survives a kill, and a power cut after
    /// [`Acknowledged::flush`].
    pub(crate) fn write(&self, head: Head) -> Result<(), StoreError> {
        let slot = self.next.fetch_xor(1, Ordering::Relaxed);
        let offset = (slot * SLOT) as u64;
        let written = self.file.write(offset, &encode(head, &self.sealer));
        self.dirty.store(true, Ordering::Release);
        written.map_err(disk)
    }

    /// Makes durable what was written.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        if !self.dirty.swap(false, Ordering::Acquire) {
            return Ok(());
        }
        let flushed = self.file.sync_data().map_err(disk);
        if flushed.is_err() {
            self.dirty.store(true, Ordering::Release);
        }
        flushed
    }
}

fn encode(head: Head, sealer: &Sealer) -> [u8; LENGTH] {
    let mut octets = [0; LENGTH];
    octets[..8].copy_from_slice(MAGIC);
    octets[8..16].copy_from_slice(&head.seq.to_be_bytes());
    octets[16..48].copy_from_slice(&head.mac);
    octets[48..].copy_from_slice(&mark(head, sealer));
    octets
}

fn decode(octets: &[u8], sealer: &Sealer) -> Option<Head> {
    let (magic, rest) = octets.split_first_chunk::<8>()?;
    let (seq, rest) = rest.split_first_chunk::<8>()?;
    let (mac, rest) = rest.split_first_chunk::<32>()?;
    let (marked, _) = rest.split_first_chunk::<16>()?;
    let seq = u64::from_be_bytes(*seq);
    let head = Head { seq, mac: *mac };
    (magic == MAGIC && *marked == mark(head, sealer)).then_some(head)
}

fn mark(head: Head, sealer: &Sealer) -> [u8; 16] {
    sealer.mark(&[b"acknowledged head", &head.seq.to_be_bytes(), &head.mac])
}

/// The file.
const NAME: &str = "head";
const MAGIC: &[u8; 8] = b"OGHEAD1\n";
const SLOT: usize = 512;
const SIZE: u64 = 2 * SLOT as u64;
const LENGTH: usize = 64;
const MISSING: &str =
    "whether it is the last one answered cannot be told, since store/head is missing";
const SHORT: &str = "whether it is the last one answered cannot be told, since store/head has another length than it was made with";
const EMPTY: &str =
    "whether it is the last one answered cannot be told, since store/head holds nothing but zeros";
const DAMAGED: &str = "whether it is the last one answered cannot be told, since store/head is damaged, or \
    another store's";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sealing::SealAlgorithm;
    use crate::secret::Key256;
    use crate::store::medium::Memory;
    use crate::store::seal::ring::Keyring;

    fn sealer(store: u8) -> Arc<Sealer> {
        let keys = Keyring::new(Key256::new([7; 32]));
        Arc::new(Sealer::new([store; 16], &keys, SealAlgorithm::default()))
    }

    fn found(medium: &Memory) -> Found {
        Acknowledged::open(medium, sealer(1)).unwrap().1
    }

    fn begun() -> (Memory, Acknowledged) {
        let medium = Memory::default();
        let file = Acknowledged::begin(&medium, sealer(1), Head::default()).unwrap();
        (medium, file)
    }

    fn head(seq: u64) -> Head {
        Head { seq, mac: [3; 32] }
    }

    fn damage(medium: &Memory, offset: u64) {
        let file = medium.raw(NAME).unwrap();
        let mut octet = [0];
        file.read(offset, &mut octet).unwrap();
        file.write(offset, &[octet[0] ^ 1]).unwrap();
    }

    #[test]
    fn the_newest_whole_slot_counts_and_a_damaged_one_leaves_the_other() {
        let (medium, file) = begun();
        assert_eq!(found(&medium), Found::Head(Head::default()));
        for seq in 1..=5 {
            file.write(head(seq)).unwrap();
            assert_eq!(found(&medium), Found::Head(head(seq)));
        }
        // Opened again it overwrites the older slot.
        let (file, _) = Acknowledged::open(&medium, sealer(1)).unwrap();
        file.write(head(6)).unwrap();
        assert_eq!(found(&medium), Found::Head(head(6)));
        damage(&medium, SLOT as u64 + 20);
        assert_eq!(found(&medium), Found::Half(head(5)));
        // The damaged one is the next that is written.
        let (file, _) = Acknowledged::open(&medium, sealer(1)).unwrap();
        file.write(head(7)).unwrap();
        assert_eq!(found(&medium), Found::Head(head(7)));
        damage(&medium, SLOT as u64 + 20);
        damage(&medium, 20);
        assert_eq!(found(&medium), Found::Unusable(DAMAGED));
    }

    #[test]
    fn what_is_not_this_stores_head_is_named_and_left_as_it_is() {
        let medium = Memory::default();
        assert_eq!(found(&medium), Found::Unusable(MISSING));
        assert!(medium.list().unwrap().is_empty());
        let file = medium.raw(NAME).unwrap();
        assert_eq!(found(&medium), Found::Unusable(SHORT));
        file.set_len(SIZE).unwrap();
        assert_eq!(found(&medium), Found::Unusable(EMPTY));
        Acknowledged::begin(&medium, sealer(2), head(9)).unwrap();
        assert_eq!(found(&medium), Found::Unusable(DAMAGED));
        file.set_len(SIZE + 1).unwrap();
        assert_eq!(found(&medium), Found::Unusable(SHORT));
    }

    #[test]
    fn every_octet_of_a_slot_counts() {
        let (medium, file) = begun();
        file.write(head(1)).unwrap();
        for offset in 0..LENGTH as u64 {
            damage(&medium, offset);
            assert_eq!(
                found(&medium),
                Found::Half(Head::default()),
                "octet {offset}"
            );
            damage(&medium, offset);
        }
        assert_eq!(found(&medium), Found::Head(head(1)));
    }
}
