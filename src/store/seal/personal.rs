//! Keys of personal data, one for each user, in a file of their own.
//!
//! Display name, phone number, e-mail address and birth date are sealed under a key of their user, in rows
//! and in the audit. The keys lie in the numbered slots of `personal.keys`, each sealed by the store's data
//! key. Neither the log nor `main.redb` ever holds one, and no slot is used twice. So the destruction of one
//! slot is the end of all copies of what it sealed, in old log segments and in pages that redb has freed,
//! for those who hold the master key, too; and the audit chain stays as it is.
//!
//! ```text
//! master key -> data key -> slot n of personal.keys: key n -> personal fields of user n, wherever they lie
//! ```
//!
//! A slot is durable before the first row that names it. A destruction is decided in the log first and
//! carried out then; what a crash left undone is done when the store is opened again.
//!
//! Limits: copies of the file (backups, snapshots of the file system, blocks that a flash disk has moved)
//! keep a key that was destroyed here. A backup must be removed, or its erasures repeated: a store that is
//! opened with an older `personal.keys` destroys again what its own log says was destroyed
//! (`store::personal`).

use std::sync::Mutex;

use redb::StorageBackend;

use crate::secret::{Entropy, Key256, random};
use crate::store::StoreError;
use crate::store::error::disk;
use crate::store::medium::Medium;
use crate::store::seal::{Place, Sealer};

/// The file, open.
pub(crate) struct PersonalKeys {
    file: Box<dyn StorageBackend>,
    /// Slots that are durable and belong to no one yet: from the first up to before the second.
    free: Mutex<(u64, u64)>,
}

impl PersonalKeys {
    /// Opens the file, or makes it.
    pub(crate) fn open(medium: &dyn Medium) -> Result<Self, StoreError> {
        let file = medium.raw(FILE).map_err(disk)?;
        medium.sync().map_err(disk)?;
        // What was prepared and not given away stays unused: some may have been, just before a crash.
        let end = file.len().map_err(disk)?.div_ceil(SLOT);
        let free = Mutex::new((end, end));
        Ok(Self { file, free })
    }

    /// Whether there was never a key in it.
    pub(crate) fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.file.len().map_err(disk)? == 0)
    }

    /// Whether the file ends within a key.
    pub(crate) fn is_cut(&self) -> Result<bool, StoreError> {
        Ok(!self.file.len().map_err(disk)?.is_multiple_of(SLOT))
    }

    /// Whether the file ends before this key.
    pub(crate) fn is_lost(&self, number: u64) -> Result<bool, StoreError> {
        Ok(self.part(number)?.is_none())
    }

    /// All slots as they lie in the file, for a backup.
    pub(crate) fn octets(&self) -> Result<Vec<u8>, StoreError> {
        // What is being prepared belongs to no one yet.
        let free = self.free.lock().expect(UNPOISONED);
        let length = self.file.len().map_err(disk)?;
        let mut octets = vec![0; usize::try_from(length).map_err(disk)?];
        self.file.read(0, &mut octets).map_err(disk)?;
        drop(free);
        Ok(octets)
    }

    /// The number of a key that is durable and was never given away.
    pub(crate) fn draw(&self, sealer: &Sealer, entropy: &dyn Entropy) -> Result<u64, StoreError> {
        let mut free = self.free.lock().expect(UNPOISONED);
        if free.0 == free.1 {
            self.prepare(&mut free, sealer, entropy)?;
        }
        free.0 += 1;
        Ok(free.0 - 1)
    }

    /// Prepares keys before they run out, so that the writer need not wait for the disk.
    pub(crate) fn refill(&self, sealer: &Sealer, entropy: &dyn Entropy) -> Result<(), StoreError> {
        let mut free = self.free.lock().expect(UNPOISONED);
        if free.1 - free.0 < LOW {
            self.prepare(&mut free, sealer, entropy)?;
        }
        Ok(())
    }

    fn prepare(
        &self,
        free: &mut (u64, u64),
        sealer: &Sealer,
        entropy: &dyn Entropy,
    ) -> Result<(), StoreError> {
        let mut slots = Vec::with_capacity(CHUNK * SLOT_OCTETS);
        for number in (free.1..).take(CHUNK) {
            let key = Key256::new(random(entropy)?);
            let row = number.to_be_bytes();
            let mut slot = sealer.seal(place(&row), key.expose(), entropy)?;
            slot.resize(SLOT_OCTETS, 0);
            slots.extend_from_slice(&slot);
        }
        let (begin, end) = (free.1 * SLOT, (free.1 + CHUNK as u64) * SLOT);
        self.file.set_len(end).map_err(disk)?;
        self.file.write(begin, &slots).map_err(disk)?;
        self.file.sync_data().map_err(disk)?;
        free.1 += CHUNK as u64;
        Ok(())
    }

    /// The key with this number; `None`: it was destroyed.
    pub(crate) fn key(&self, number: u64, sealer: &Sealer) -> Result<Option<Key256>, StoreError> {
        let slot = self.slot(number)?;
        if slot == [0; SLOT_OCTETS] {
            return Ok(None);
        }
        let length = sealer.length_of_key(&slot).ok_or(BAD_SLOT)?;
        let row = number.to_be_bytes();
        let blob = slot.get(..length).ok_or(BAD_SLOT)?;
        let opened = sealer.open(place(&row), blob).map_err(|_| BAD_SLOT)?;
        let key = opened.expose().try_into().map_err(|_| BAD_SLOT)?;
        Ok(Some(Key256::new(key)))
    }

    /// Destroys these keys, durably; those that are destroyed already, or are not in the file, are passed
    /// over. One that cannot be destroyed does not keep the others.
    pub(crate) fn destroy(&self, numbers: &[u64]) -> Result<(), StoreError> {
        let mut destroyed = false;
        let mut failed = None;
        for number in numbers {
            match self.destroy_one(*number) {
                Ok(done) => destroyed |= done,
                Err(error) => failed = Some(error),
            }
        }
        if destroyed {
            self.file.sync_data().map_err(disk)?;
        }
        failed.map_or(Ok(()), Err)
    }

    fn destroy_one(&self, number: u64) -> Result<bool, StoreError> {
        let Some((begin, octets)) = self.part(number)? else {
            return Ok(false);
        };
        if octets.iter().all(|octet| *octet == 0) {
            return Ok(false);
        }
        self.file
            .write(begin, &vec![0; octets.len()])
            .map_err(disk)?;
        Ok(true)
    }

    /// Whether nothing is left of a key.
    pub(crate) fn is_destroyed(&self, number: u64) -> Result<bool, StoreError> {
        let part = self.part(number)?;
        Ok(part.is_none_or(|(_, octets)| octets.iter().all(|octet| *octet == 0)))
    }

    /// Where a slot begins, and what of it is in the file.
    fn part(&self, number: u64) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        let end = self.file.len().map_err(disk)?;
        let begin = number.checked_mul(SLOT).filter(|begin| *begin < end);
        let Some(begin) = begin else { return Ok(None) };
        let length = usize::try_from(end - begin).unwrap_or(SLOT_OCTETS);
        let mut octets = vec![0; length.min(SLOT_OCTETS)];
        self.file.read(begin, &mut octets).map_err(disk)?;
        Ok(Some((begin, octets)))
    }

    /// No number up to this one is given away any more, whatever the file's length says.
    pub(crate) fn reserve(&self, number: u64) {
        let mut free = self.free.lock().expect(UNPOISONED);
        if free.0 <= number {
            let next = number.saturating_add(1);
            *free = (next, next.max(free.1));
        }
    }

    fn slot(&self, number: u64) -> Result<[u8; SLOT_OCTETS], StoreError> {
        let begin = number.checked_mul(SLOT).ok_or(BAD_SLOT)?;
        let end = begin.checked_add(SLOT).ok_or(BAD_SLOT)?;
        if self.file.len().map_err(disk)? < end {
            return Err(BAD_SLOT);
        }
        let mut slot = [0; SLOT_OCTETS];
        self.file.read(begin, &mut slot).map_err(disk)?;
        Ok(slot)
    }
}

fn place(number: &[u8; 8]) -> Place<'_> {
    Place {
        table: FILE,
        row: number,
        field: "key",
        version: 1,
    }
}

/// The file's name.
pub(crate) const FILE: &str = "personal.keys";
/// Octets of a slot: the longest sealed key has 77.
const SLOT_OCTETS: usize = 80;
const SLOT: u64 = SLOT_OCTETS as u64;
/// Keys prepared at a time.
const CHUNK: usize = 256;
/// Fewer are too few.
const LOW: u64 = 64;
const BAD_SLOT: StoreError =
    StoreError::Corrupt("a key of personal data cannot be read in personal.keys");
const UNPOISONED: &str = "no panic while the lock is held";
