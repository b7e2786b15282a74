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
//! opened with an older `personal.keys` destroys again what its own log says was destroyed.

use std::ops::Bound;
use std::sync::Mutex;

use redb::StorageBackend;

use crate::secret::Entropy;
use crate::secret::Key256;
use crate::secret::random;
use crate::store::StoreError;
use crate::store::fold::Reader;
use crate::store::log::disk;
use crate::store::medium::Medium;
use crate::store::record::Table;
use crate::store::seal::Place;
use crate::store::seal::Sealer;

/// The file, open.
pub(crate) struct PersonalKeys {
    file: Box<dyn StorageBackend>,
    /// Slots that are durable and belong to nobody yet: from the first up to before the second.
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

    /// Destroys these keys, durably; those that are destroyed already are passed over.
    pub(crate) fn destroy(&self, numbers: &[u64]) -> Result<(), StoreError> {
        let mut destroyed = false;
        for number in numbers {
            if self.slot(*number)? != [0; SLOT_OCTETS] {
                let begin = number * SLOT;
                self.file.write(begin, &[0; SLOT_OCTETS]).map_err(disk)?;
                destroyed = true;
            }
        }
        if destroyed {
            self.file.sync_data().map_err(disk)?;
        }
        Ok(())
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

/// Refuses a store whose file of keys was lost: nothing would open, and numbers would be given twice.
pub(super) fn check_present(rows: &Reader<'_>, sealer: &Sealer) -> Result<(), StoreError> {
    // Damaged rows and pages are named elsewhere, and are no reason to refuse the start here.
    let users = rows.sample(Table::Users, 1);
    let users = users.is_ok_and(|keys| !keys.is_empty());
    if users && sealer.personal()?.is_empty()? {
        return Err(StoreError::Corrupt(
            "personal.keys is missing or empty although there are users; put it back from a backup",
        ));
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

fn place(number: &[u8; 8]) -> Place<'_> {
    Place {
        table: FILE,
        row: number,
        field: "key",
        version: 1,
    }
}

/// The file's name.
const FILE: &str = "personal.keys";
/// Octets of a slot: the longest sealed key has 77.
const SLOT_OCTETS: usize = 80;
const SLOT: u64 = SLOT_OCTETS as u64;
/// Keys prepared at a time.
const CHUNK: usize = 256;
/// Fewer are too few.
const LOW: u64 = 64;
const BAD_SLOT: StoreError =
    StoreError::Corrupt("a key of personal data cannot be read in personal.keys");
const BAD_NUMBER: StoreError =
    StoreError::Corrupt("the number of an erased key of personal data cannot be read");
const UNPOISONED: &str = "no panic while the lock is held";
