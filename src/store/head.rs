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
//! power cut leaves an older head, which asks for less. A slot fits a sector, so that a torn
//! write damages one of them at most; the other one then says a commit less.
//!
//! At opening a log that ends before the head, or has another record there, has lost what was
//! answered: it is refused. What stands behind the head was told to nobody and stays, since it may
//! have been. A file that is missing or was never written is made from the log (a store made before
//! there was one, or an operator who accepts the log as it is); one with nothing but damaged slots is
//! refused, since it cannot be told from a file that was altered to hide a loss.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use redb::StorageBackend;

use crate::store::StoreError;
use crate::store::log::Head;
use crate::store::log::disk;
use crate::store::medium::Medium;
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
    /// Nothing was ever written.
    Nothing,
    /// The last record whose answer may have left.
    Head(Head),
    /// What was written cannot be read.
    Damaged,
}

impl Acknowledged {
    /// Opens the file, making it when it is missing.
    pub(crate) fn open(
        medium: &dyn Medium,
        sealer: Arc<Sealer>,
    ) -> Result<(Self, Found), StoreError> {
        let file = medium.raw(NAME).map_err(disk)?;
        let length = file.len().map_err(disk)?;
        if length < SIZE {
            file.set_len(SIZE).map_err(disk)?;
            if length == 0 {
                // Room that is there for good: a full disk must not be what refuses the first commit.
                file.write(0, &[0; 2 * SLOT]).map_err(disk)?;
            }
            file.sync_data().map_err(disk)?;
            medium.sync().map_err(disk)?;
        }
        let mut octets = [0; 2 * SLOT];
        file.read(0, &mut octets).map_err(disk)?;
        let mut newest: Option<(usize, Head)> = None;
        let mut written = false;
        for (slot, octets) in octets.chunks(SLOT).enumerate() {
            written |= octets.iter().any(|octet| *octet != 0);
            if let Some(head) = decode(octets, &sealer)
                && newest.is_none_or(|(_, other)| other.seq < head.seq)
            {
                newest = Some((slot, head));
            }
        }
        let found = match newest {
            Some((_, head)) => Found::Head(head),
            None if written => Found::Damaged,
            None => Found::Nothing,
        };
        let next = AtomicUsize::new(newest.map_or(0, |(slot, _)| slot ^ 1));
        let dirty = AtomicBool::new(false);
        let acknowledged = Self {
            file,
            sealer,
            next,
            dirty,
        };
        Ok((acknowledged, found))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sealing::SealAlgorithm;
    use crate::secret::Key256;
    use crate::store::medium::Memory;

    fn sealer(store: u8) -> Arc<Sealer> {
        let key = Key256::new([7; 32]);
        Arc::new(Sealer::new([store; 16], &key, SealAlgorithm::default()))
    }

    fn found(medium: &Memory) -> Found {
        Acknowledged::open(medium, sealer(1)).unwrap().1
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
        let medium = Memory::default();
        assert_eq!(found(&medium), Found::Nothing);
        let (file, _) = Acknowledged::open(&medium, sealer(1)).unwrap();
        for seq in 1..=5 {
            file.write(head(seq)).unwrap();
            assert_eq!(found(&medium), Found::Head(head(seq)));
        }
        // Opened again it overwrites the older slot.
        let (file, _) = Acknowledged::open(&medium, sealer(1)).unwrap();
        file.write(head(6)).unwrap();
        assert_eq!(found(&medium), Found::Head(head(6)));
        damage(&medium, SLOT as u64 + 20);
        assert_eq!(found(&medium), Found::Head(head(5)));
        damage(&medium, 20);
        assert_eq!(found(&medium), Found::Damaged);
    }

    #[test]
    fn another_stores_head_is_damage() {
        let medium = Memory::default();
        let (file, _) = Acknowledged::open(&medium, sealer(2)).unwrap();
        file.write(head(9)).unwrap();
        assert_eq!(found(&medium), Found::Damaged);
    }

    #[test]
    fn every_octet_of_a_slot_counts() {
        let medium = Memory::default();
        let (file, _) = Acknowledged::open(&medium, sealer(1)).unwrap();
        file.write(head(1)).unwrap();
        for offset in 0..LENGTH as u64 {
            damage(&medium, offset);
            assert_eq!(found(&medium), Found::Damaged, "octet {offset}");
            damage(&medium, offset);
        }
        assert_eq!(found(&medium), Found::Head(head(1)));
    }
}
