//! Keys of personal data, one for each user, in a file of their own.
//!
//! Display name, phone number, e-mail address and birth date are sealed under a key of their user, in rows
//! and in the audit, and there what operators note about the user. The keys lie in the numbered slots of `personal.keys`, each sealed by the store's data
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
use crate::store::seal::ring::number_of;
use crate::store::seal::{Place, Sealer};

/// The file, open.
pub(crate) struct PersonalKeys {
    file: Box<dyn StorageBackend>,
    /// Slots that are durable and belong to no one yet: from the first up to before the second.
    free: Mutex<(u64, u64)>,
    /// The keys that were prepared last, from the slot with this number on: what is sealed under them next does not read
    /// them again. None after any was destroyed.
    fresh: Mutex<(u64, Vec<Key256>)>,
}

impl PersonalKeys {
    /// Opens the file, or makes it.
    pub(crate) fn open(medium: &dyn Medium, sealer: &Sealer) -> Result<Self, StoreError> {
        let file = medium.raw(FILE).map_err(disk)?;
        medium.sync().map_err(disk)?;
        if medium.list().map_err(disk)?.iter().any(|name| name == NEXT) {
            go_on(medium, sealer, file.as_ref())?;
        }
        // What was prepared and not given away stays unused: some may have been, just before a crash.
        let end = file.len().map_err(disk)?.div_ceil(SLOT);
        let free = Mutex::new((end, end));
        let fresh = Mutex::default();
        Ok(Self { file, free, fresh })
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
            self.prepare(&mut free, CHUNK, sealer, entropy)?;
        }
        free.0 += 1;
        Ok(free.0 - 1)
    }

    /// The same for many users, whose keys wait for the disk once.
    pub(crate) fn draw_many(
        &self,
        users: usize,
        sealer: &Sealer,
        entropy: &dyn Entropy,
    ) -> Result<std::ops::Range<u64>, StoreError> {
        let mut free = self.free.lock().expect(UNPOISONED);
        let (first, wanted) = (free.0, users as u64);
        let there = free.1 - first;
        if there < wanted {
            let missing = usize::try_from(wanted - there).unwrap_or(users);
            self.prepare(&mut free, missing.max(MANY), sealer, entropy)?;
        }
        free.0 += wanted;
        Ok(first..free.0)
    }

    /// Prepares keys before they run out, so that the writer need not wait for the disk.
    pub(crate) fn refill(&self, sealer: &Sealer, entropy: &dyn Entropy) -> Result<(), StoreError> {
        let mut free = self.free.lock().expect(UNPOISONED);
        if free.1 - free.0 < LOW {
            self.prepare(&mut free, CHUNK, sealer, entropy)?;
        }
        Ok(())
    }

    fn prepare(
        &self,
        free: &mut (u64, u64),
        keys: usize,
        sealer: &Sealer,
        entropy: &dyn Entropy,
    ) -> Result<(), StoreError> {
        let mut slots = Vec::with_capacity(keys * SLOT_OCTETS);
        let mut fresh = Vec::with_capacity(keys);
        for number in (free.1..).take(keys) {
            let key = Key256::new(random(entropy)?);
            let row = number.to_be_bytes();
            let mut slot = sealer.seal(place(&row), key.expose(), entropy)?;
            slot.resize(SLOT_OCTETS, 0);
            slots.extend_from_slice(&slot);
            fresh.push(key);
        }
        let (begin, end) = (free.1 * SLOT, (free.1 + keys as u64) * SLOT);
        self.file.set_len(end).map_err(disk)?;
        self.file.write(begin, &slots).map_err(disk)?;
        self.file.sync_data().map_err(disk)?;
        *self.fresh.lock().expect(UNPOISONED) = (free.1, fresh);
        free.1 += keys as u64;
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

    /// The key with this number, to seal under: not from the file where it was prepared a moment ago.
    pub(super) fn key_to_seal(
        &self,
        number: u64,
        sealer: &Sealer,
    ) -> Result<Option<Key256>, StoreError> {
        match self.prepared(number) {
            Some(key) => Ok(Some(key)),
            None => self.key(number, sealer),
        }
    }

    fn prepared(&self, number: u64) -> Option<Key256> {
        let fresh = self.fresh.lock().expect(UNPOISONED);
        let place = usize::try_from(number.checked_sub(fresh.0)?).ok()?;
        fresh.1.get(place).cloned()
    }

    /// Destroys these keys, durably; those that are destroyed already, or are not in the file, are passed
    /// over. One that cannot be destroyed does not keep the others.
    pub(crate) fn destroy(&self, numbers: &[u64]) -> Result<(), StoreError> {
        // What is being sealed again must not bring one back.
        let _free = self.free.lock().expect(UNPOISONED);
        *self.fresh.lock().expect(UNPOISONED) = (0, Vec::new());
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

    /// Seals some keys by the store's newest data key, from this slot on; returns the next slot, if there is one.
    ///
    /// What is to be written is durable beside the file first, so that a slot that a power cut tears is written again.
    pub(crate) fn reseal(
        &self,
        medium: &dyn Medium,
        sealer: &Sealer,
        entropy: &dyn Entropy,
        first: u64,
    ) -> Result<Option<u64>, StoreError> {
        // No key is prepared or destroyed meanwhile.
        let _free = self.free.lock().expect(UNPOISONED);
        let end = self.file.len().map_err(disk)? / SLOT;
        let last = end.min(first.saturating_add(RESEALED));
        let mut octets = Vec::with_capacity(SLOT_OCTETS * 1024);
        let mut changed = false;
        for number in first..last {
            let slot = self.slot(number)?;
            let again = reslot(number, &slot, sealer, entropy)?;
            changed |= again.is_some();
            octets.extend_from_slice(&again.unwrap_or(slot));
        }
        if changed {
            let next = medium.raw(NEXT).map_err(disk)?;
            let begin = first.to_be_bytes();
            let tag = sealer.row(u8::MAX, &begin, &octets);
            next.write(0, &[&begin[..], &tag, &octets].concat())
                .map_err(disk)?;
            next.sync_data().map_err(disk)?;
            medium.sync().map_err(disk)?;
            self.file.write(first * SLOT, &octets).map_err(disk)?;
            self.file.sync_data().map_err(disk)?;
            medium.remove(NEXT).map_err(disk)?;
            medium.sync().map_err(disk)?;
        }
        Ok((last < end).then_some(last))
    }

    /// Keys that the data key with this number seals, and all that are there.
    pub(crate) fn sealed_by(&self, number: u8) -> Result<(u64, u64), StoreError> {
        let end = self.file.len().map_err(disk)? / SLOT;
        let (mut done, mut all, mut first) = (0, 0, 0);
        while first < end {
            let slots = RESEALED.min(end - first);
            let mut octets = vec![0; usize::try_from(slots * SLOT).map_err(disk)?];
            self.file.read(first * SLOT, &mut octets).map_err(disk)?;
            for slot in octets.chunks(SLOT_OCTETS) {
                let is_there = slot.iter().any(|octet| *octet != 0);
                all += u64::from(is_there);
                done += u64::from(is_there && number_of(slot) == number);
            }
            first += slots;
        }
        Ok((done, all))
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

/// A slot sealed by the newest data key; `None`: it is, it is empty, or it does not open, which is said elsewhere.
fn reslot(
    number: u64,
    slot: &[u8; SLOT_OCTETS],
    sealer: &Sealer,
    entropy: &dyn Entropy,
) -> Result<Option<[u8; SLOT_OCTETS]>, StoreError> {
    let length = sealer.length_of_key(slot);
    let Some(blob) = length.and_then(|length| slot.get(..length)) else {
        return Ok(None);
    };
    let row = number.to_be_bytes();
    let sealed = match sealer.reseal(place(&row), blob, entropy) {
        Ok(Some(sealed)) => sealed,
        Ok(None) | Err(StoreError::Corrupt(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut again = [0; SLOT_OCTETS];
    let part = again.get_mut(..sealed.len()).ok_or(BAD_SLOT)?;
    part.copy_from_slice(&sealed);
    Ok(Some(again))
}

/// Writes again what was to be written when the power went, or throws away what was not whole.
fn go_on(
    medium: &dyn Medium,
    sealer: &Sealer,
    keys: &dyn StorageBackend,
) -> Result<(), StoreError> {
    let next = medium.raw(NEXT).map_err(disk)?;
    let length = usize::try_from(next.len().map_err(disk)?).map_err(disk)?;
    let mut read = vec![0; length];
    next.read(0, &mut read).map_err(disk)?;
    if let Some((begin, rest)) = read.split_first_chunk::<8>()
        && let Some((tag, octets)) = rest.split_first_chunk::<32>()
        && sealer.row(u8::MAX, begin, octets) == *tag
    {
        let begin = u64::from_be_bytes(*begin)
            .checked_mul(SLOT)
            .ok_or(BAD_SLOT)?;
        keys.write(begin, octets).map_err(disk)?;
        keys.sync_data().map_err(disk)?;
    }
    drop(next);
    medium.remove(NEXT).map_err(disk)?;
    medium.sync().map_err(disk)
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
/// What is being written to it, beside it.
const NEXT: &str = "personal.next";
/// Octets of a slot: the longest sealed key has 78.
const SLOT_OCTETS: usize = 80;
const SLOT: u64 = SLOT_OCTETS as u64;
/// Keys sealed again at a time: some milliseconds, in which no new user gets one.
const RESEALED: u64 = 2048;
/// Keys prepared at a time.
const CHUNK: usize = 256;
/// The same while many users are imported.
const MANY: usize = 8192;
/// Fewer are too few.
const LOW: u64 = 64;
const BAD_SLOT: StoreError =
    StoreError::Corrupt("a key of personal data cannot be read in personal.keys");
const UNPOISONED: &str = "no panic while the lock is held";
