//! The data keys of a store: the first one, and those that its secrets were sealed by anew.
//!
//! ```text
//! one key       blob of the data key: algorithm | nonce | sealed first key (32) | tag
//! exchanged     0x20 + algorithm | nonce | sealed (first key (32) | (number (1) | since (8) | key (32)) ..) | tag
//!
//! a secret under the first key     algorithm | nonce | ciphertext | tag
//! a secret under key n, from 1     0x10 + algorithm | n | nonce | ciphertext | tag
//! ```
//!
//! An exchange adds a key, by which secrets are sealed from then on; what was sealed before is sealed again bit by bit
//! ([`crate::store::reseal`]). Keys that were in use stay in the ring: older records of the journal, and what is not sealed
//! again yet, need them. The first key stays for what only it can say: the audit chain, the tags of rows, the pepper.
//!
//! Invariants: each key is random and of its own, so that a blob under another number opens nothing. A version that
//! knows no exchange takes the first octet of the blob for an algorithm that it does not know, and refuses the store.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use zeroize::Zeroizing;

use crate::model::sealing::SealAlgorithm;
use crate::secret::{Entropy, Key256, SecretBytes};
use crate::store::StoreError;
use crate::store::seal::cipher::Ciphers;
use crate::store::seal::{cipher, ciphers, wrapping};
use crate::time::UnixTime;

/// The data keys, as they are sealed by the master key.
pub(crate) struct Keyring {
    pub(crate) first: Key256,
    newer: Vec<NewerKey>,
}

/// A key that secrets were sealed by anew.
#[derive(Clone)]
struct NewerKey {
    number: u8,
    since: UnixTime,
    key: Key256,
}

impl Keyring {
    /// The ring of a new store.
    pub(crate) const fn new(first: Key256) -> Self {
        let newer = Vec::new();
        Self { first, newer }
    }

    /// How many keys are in it.
    pub(crate) fn keys(&self) -> usize {
        1 + self.newer.len()
    }

    /// Adds the key by which secrets are sealed from now on; returns its number.
    pub(crate) fn add(&mut self, key: Key256, since: UnixTime) -> Result<u8, StoreError> {
        let last = self.newer.last().map_or(0, |newer| newer.number);
        let number = last.checked_add(1).ok_or(StoreError::Conflict(TOO_MANY))?;
        self.newer.push(NewerKey { number, since, key });
        Ok(number)
    }

    /// Seals the ring by the master key.
    pub(crate) fn wrap(
        &self,
        store: [u8; 16],
        master: &Key256,
        algorithm: SealAlgorithm,
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, StoreError> {
        let by = wrapping(store, master);
        if self.newer.is_empty() {
            return by.seal(algorithm, DATA_KEY, self.first.expose(), entropy);
        }
        let mut plain = Zeroizing::new(Vec::with_capacity(32 + self.newer.len() * ENTRY));
        plain.extend_from_slice(self.first.expose());
        for newer in &self.newer {
            plain.push(newer.number);
            plain.extend_from_slice(&newer.since.as_millis().to_be_bytes());
            plain.extend_from_slice(newer.key.expose());
        }
        let mut blob = by.seal(algorithm, DATA_KEYS, &plain, entropy)?;
        if let Some(named) = blob.first_mut() {
            *named |= RING;
        }
        Ok(blob)
    }

    /// Opens the ring; `WrongMasterKey` when the master key is another store's, `NewerFormat` when this version does
    /// not know how it was sealed.
    pub(crate) fn unwrap(
        store: [u8; 16],
        master: &Key256,
        wrapped: &[u8],
    ) -> Result<Self, StoreError> {
        let (Some(algorithm), Some((named, rest))) = (wrapped_by(wrapped), wrapped.split_first())
        else {
            return Err(StoreError::NewerFormat {
                found: wrapped.first().copied().unwrap_or_default(),
                known: cipher::NEWEST,
            });
        };
        let is_ring = named & RING != 0;
        let associated = if is_ring { DATA_KEYS } else { DATA_KEY };
        let opened = wrapping(store, master).open_as(algorithm, associated, rest);
        let opened = opened.ok_or(StoreError::WrongMasterKey)?;
        Self::parse(opened.expose()).ok_or(StoreError::WrongMasterKey)
    }

    /// The same ring sealed by `algorithm`; `None` when it is already.
    pub(crate) fn rewrap(
        store: [u8; 16],
        master: &Key256,
        algorithm: SealAlgorithm,
        wrapped: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        if wrapped_by(wrapped) == Some(algorithm) {
            return Ok(None);
        }
        let ring = Self::unwrap(store, master, wrapped)?;
        ring.wrap(store, master, algorithm, entropy).map(Some)
    }

    fn parse(plain: &[u8]) -> Option<Self> {
        let (first, rest) = plain.split_first_chunk::<32>()?;
        let (entries, end) = rest.as_chunks::<ENTRY>();
        if !end.is_empty() {
            return None;
        }
        let mut newer: Vec<NewerKey> = Vec::with_capacity(entries.len());
        for entry in entries {
            let (number, rest) = entry.split_first()?;
            let (since, key) = rest.split_first_chunk::<8>()?;
            if newer.last().map_or(0, |last| last.number) >= *number {
                return None;
            }
            newer.push(NewerKey {
                number: *number,
                since: UnixTime::from_millis(u64::from_be_bytes(*since)),
                key: Key256::new(key.try_into().ok()?),
            });
        }
        Some(Self {
            first: Key256::new(*first),
            newer,
        })
    }
}

/// What seals and opens: the ring, ready for use. A key is added while others read, without a lock.
pub(crate) struct Ring {
    first: Ciphers,
    newer: Box<[OnceLock<Newer>]>,
    /// Number of the key that seals; 0 is the first.
    current: AtomicU8,
}

struct Newer {
    since: UnixTime,
    ciphers: Box<Ciphers>,
}

impl Ring {
    /// Computes the key schedules; the newest key seals.
    pub(crate) fn new(store: [u8; 16], keys: &Keyring) -> Self {
        let ring = Self {
            first: ciphers(store, &keys.first, "seal"),
            newer: (0..u8::MAX).map(|_| OnceLock::new()).collect(),
            current: AtomicU8::new(0),
        };
        for newer in &keys.newer {
            ring.add(store, newer.number, &newer.key, newer.since);
        }
        ring
    }

    /// Takes a key that the store's file holds already; it seals from now on.
    pub(crate) fn add(&self, store: [u8; 16], number: u8, key: &Key256, since: UnixTime) {
        if let Some(slot) = self.slot(number) {
            let ciphers = Box::new(ciphers(store, key, "seal"));
            let _ = slot.set(Newer { since, ciphers });
            self.current.store(number, Ordering::Release);
        }
    }

    /// Number of the key that seals, and since when it does; the first one is as old as the store.
    pub(crate) fn current(&self) -> (u8, Option<UnixTime>) {
        let number = self.current.load(Ordering::Acquire);
        (number, self.newer(number).map(|newer| newer.since))
    }

    pub(crate) fn seal(
        &self,
        algorithm: SealAlgorithm,
        associated: &[u8],
        plain: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, StoreError> {
        let number = self.current.load(Ordering::Acquire);
        let Some(newer) = self.newer(number) else {
            return self.first.seal(algorithm, associated, plain, entropy);
        };
        let blob = newer.ciphers.seal(algorithm, associated, plain, entropy)?;
        let (named, rest) = blob.split_first().ok_or(StoreError::TooLarge)?;
        let mut numbered = Vec::with_capacity(blob.len() + 1);
        numbered.extend_from_slice(&[named | NUMBERED, number]);
        numbered.extend_from_slice(rest);
        Ok(numbered)
    }

    /// Opens a blob by the key and the algorithm that it names.
    pub(crate) fn open(&self, associated: &[u8], blob: &[u8]) -> Option<SecretBytes> {
        match blob {
            [named, number, rest @ ..] if named & NUMBERED != 0 => {
                let algorithm = cipher::algorithm(&[named & !NUMBERED])?;
                let newer = self.newer(*number)?;
                newer.ciphers.open_as(algorithm, associated, rest)
            }
            _ => self.first.open(associated, blob),
        }
    }

    fn slot(&self, number: u8) -> Option<&OnceLock<Newer>> {
        self.newer.get(usize::from(number.checked_sub(1)?))
    }

    fn newer(&self, number: u8) -> Option<&Newer> {
        self.slot(number)?.get()
    }
}

/// Number of the key that a blob names; 0 is the first.
pub(crate) fn number_of(blob: &[u8]) -> u8 {
    match blob {
        [named, number, ..] if named & NUMBERED != 0 => *number,
        _ => 0,
    }
}

/// Octets of a sealed key of 32 octets at the beginning of what it lies in.
pub(crate) fn length_of_key(blob: &[u8]) -> Option<usize> {
    let named = blob.first()?;
    let algorithm = cipher::algorithm(&[named & !NUMBERED])?;
    let numbered = usize::from(named & NUMBERED != 0);
    Some(cipher::overhead(algorithm) + numbered + 32)
}

/// The algorithm that seals a ring; `None` when this version does not know it.
fn wrapped_by(wrapped: &[u8]) -> Option<SealAlgorithm> {
    cipher::algorithm(&[wrapped.first()? & !RING])
}

/// In the first octet of a blob: a key's number follows.
const NUMBERED: u8 = 0x10;
/// In the first octet of the sealed data key: it is a ring of several.
const RING: u8 = 0x20;
/// Octets of one further key.
const ENTRY: usize = 1 + 8 + 32;
const DATA_KEY: &[u8] = b"data key";
const DATA_KEYS: &[u8] = b"data keys";
const TOO_MANY: &str = "the data key was exchanged 255 times, which is the most";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SystemEntropy;

    fn ring_of(numbers: u8) -> Keyring {
        let mut ring = Keyring::new(Key256::new([1; 32]));
        for number in 0..numbers {
            let since = UnixTime::from_millis(u64::from(number) + 7);
            ring.add(Key256::new([number.wrapping_add(2); 32]), since)
                .unwrap();
        }
        ring
    }

    #[test]
    fn a_ring_opens_with_its_master_key_only_and_in_every_algorithm() {
        let (store, master) = ([3; 16], Key256::new([9; 32]));
        for numbers in [0, 1, 3, 255] {
            let ring = ring_of(numbers);
            for algorithm in SealAlgorithm::ALL {
                let wrapped = ring
                    .wrap(store, &master, algorithm, &SystemEntropy)
                    .unwrap();
                let opened = Keyring::unwrap(store, &master, &wrapped).unwrap();
                assert_eq!(opened.first.expose(), ring.first.expose());
                assert_eq!(opened.newer.len(), usize::from(numbers));
                for (a, b) in opened.newer.iter().zip(&ring.newer) {
                    assert_eq!(
                        (a.number, a.since, a.key.expose()),
                        (b.number, b.since, b.key.expose())
                    );
                }
                let other = Key256::new([8; 32]);
                assert!(matches!(
                    Keyring::unwrap(store, &other, &wrapped),
                    Err(StoreError::WrongMasterKey)
                ));
                assert!(Keyring::unwrap([4; 16], &master, &wrapped).is_err());
                let mut turned = wrapped.clone();
                turned[0] ^= RING;
                assert!(Keyring::unwrap(store, &master, &turned).is_err());
                let same = Keyring::rewrap(store, &master, algorithm, &wrapped, &SystemEntropy);
                assert!(same.unwrap().is_none());
            }
        }
        assert!(matches!(
            ring_of(255).add(Key256::new([0; 32]), UnixTime::EPOCH),
            Err(StoreError::Conflict(_))
        ));
    }

    #[test]
    fn what_an_older_version_does_not_know_is_told_as_newer() {
        let store = [3; 16];
        let master = Key256::new([9; 32]);
        let wrapped = ring_of(1).wrap(store, &master, SealAlgorithm::default(), &SystemEntropy);
        // What version 0.1 looked at: the first octet as an algorithm.
        assert!(cipher::algorithm(&wrapped.unwrap()).is_none());
        assert!(matches!(
            Keyring::unwrap(store, &master, &[0x40 | 1; 80]),
            Err(StoreError::NewerFormat { found: 0x41, .. })
        ));
    }

    #[test]
    fn every_key_of_the_ring_opens_what_it_sealed_and_the_newest_seals() {
        let store = [3; 16];
        let ring = Ring::new(store, &ring_of(0));
        let mut blobs = Vec::new();
        for number in 0..4_u8 {
            if number > 0 {
                ring.add(store, number, &Key256::new([number; 32]), UnixTime::EPOCH);
            }
            for algorithm in SealAlgorithm::ALL {
                let blob = ring
                    .seal(algorithm, b"place", b"secret", &SystemEntropy)
                    .unwrap();
                assert_eq!(number_of(&blob), number);
                blobs.push(blob);
            }
        }
        for blob in &blobs {
            assert_eq!(ring.open(b"place", blob).unwrap().expose(), b"secret");
            assert!(ring.open(b"other", blob).is_none());
            for bit in 0..blob.len() * 8 {
                let mut bad = blob.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(ring.open(b"place", &bad).is_none(), "bit {bit}");
            }
        }
        let fewer = Ring::new(store, &ring_of(0));
        assert!(fewer.open(b"place", blobs.last().unwrap()).is_none());
        assert!(ring.open(b"place", &[0x11]).is_none() && ring.open(b"place", &[]).is_none());
    }

    #[test]
    fn a_sealed_key_says_how_long_it_is() {
        let store = [3; 16];
        let ring = Ring::new(store, &ring_of(0));
        for number in 0..2_u8 {
            if number > 0 {
                ring.add(store, number, &Key256::new([number; 32]), UnixTime::EPOCH);
            }
            for algorithm in SealAlgorithm::ALL {
                let blob = ring
                    .seal(algorithm, b"place", &[7; 32], &SystemEntropy)
                    .unwrap();
                assert_eq!(length_of_key(&blob), Some(blob.len()));
                assert!(blob.len() <= 80, "it fits its slot");
            }
        }
    }
}
