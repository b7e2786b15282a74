//! Keys and the sealing of secrets at rest.
//!
//! ```text
//! master key (file, mode 0600, outside the store)
//!   `- opens the data key (sealed in the store's meta table, made once at init)
//!        |- HKDF "seal .."    keys of every sealed field, other ones for each algorithm
//!        |- HKDF "audit"      HMAC-SHA-256 key of the audit chain
//!        |- HKDF "mark"       HMAC-SHA-256 key that recognises a token's key again
//!        |- HKDF "rows"       HMAC-SHA-256 key of the rows in the file
//!        |- HKDF "pepper"     secret input of every PIN and password hash
//!        |- opens the keys of personal data, one for each user; see [`personal`](crate::store::seal::personal)
//!        `- HKDF "challenge"  AES-256-GCM key of challenges
//! ```
//!
//! The keys of sealed fields can be exchanged for those of a further data key; see [`ring`].
//!
//! A sealed field is a blob of [`cipher`]: `algorithm | nonce (12) | ciphertext | tag`. Its
//! associated data is `store id | table | row key | field | form version`, so that a blob copied to
//! another row, field or store does not open (threats T24).
//!
//! # Algorithms
//!
//! `[keys] algorithm` selects what seals from now on; every blob is opened by the algorithm it
//! names, so a store whose selection was changed reads all it ever wrote. Fields sealed before keep
//! their algorithm until they are written again.
//!
//! The data key is sealed by the selected algorithm too: anyone who must use ARIA or SEED must use it
//! for the key above all. When the selection was changed, opening the store seals the same data key
//! again, in one transaction; a crash leaves the one blob or the other, and both open. Pages that
//! redb has freed may hold the former blob until they are overwritten. A version that does not know
//! the algorithm of the data key refuses the store.
//!
//! Not subject to the selection: challenges, which leave the store and live for minutes, are
//! AES-256-GCM; the audit chain and marks are HMAC-SHA-256.
//!
//! The algorithms are those of RFC 5794 (ARIA) and RFC 4269 (SEED). The implementation is **not a
//! KCMVP-validated module, and nothing here is certified**; a site that needs a validated module
//! does not get one by selecting them. ARIA and SEED look up tables, in time that is not constant
//! with respect to caches.
//!
//! Nonces are random. Seals happen at enrolment and rotation only, so the number under one key
//! stays far below the 2^32 that SP 800-38D allows; the same bound keeps counters of SEED apart.

use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::model::sealing::SealAlgorithm;
use crate::secret::{Entropy, Key256, SecretBytes};
use crate::store::StoreError;
use crate::store::seal::cipher::{Ciphers, Keys, mac_key};
use crate::store::seal::personal::PersonalKeys;
use crate::store::seal::ring::{Keyring, Ring};
use crate::time::UnixTime;

pub mod cipher;
pub(crate) mod personal;
pub(crate) mod ring;
pub mod seed;

/// Where a sealed field lives; becomes its associated data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// Table name.
    pub(crate) table: &'a str,
    /// Row key.
    pub(crate) row: &'a [u8],
    /// Field within the row.
    pub(crate) field: &'a str,
    /// Version of the record form.
    pub(crate) version: u8,
}

/// What a derived key is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyPurpose {
    /// Mixed into every PIN and password before it is hashed, so that the hashes alone are useless.
    Pepper,
    /// Seals challenges.
    Challenge,
    /// Proves that a Class is ours.
    Class,
    /// Signs heads of the audit chain (Ed25519).
    Heads,
    /// Signs the tokens of service accounts.
    Account,
}

/// The keys of one open store.
pub(crate) struct Sealer {
    store: [u8; 16],
    ring: Ring,
    algorithm: SealAlgorithm,
    audit: Hmac<Sha256>,
    mark: Hmac<Sha256>,
    rows: Hmac<Sha256>,
    pepper: Key256,
    challenge: Key256,
    class: Key256,
    heads: Key256,
    account: Key256,
    /// Keys of personal data; only an open store has them.
    personal: Option<PersonalKeys>,
}

impl Sealer {
    /// Derives the working keys from the data keys; seals are made with `algorithm`.
    pub(crate) fn new(store: [u8; 16], keys: &Keyring, algorithm: SealAlgorithm) -> Self {
        let data_key = &keys.first;
        let audit = derive(store, data_key, "oncegate audit v1");
        let mark = derive(store, data_key, "oncegate mark v1");
        let rows = derive(store, data_key, "oncegate rows v1");
        Self {
            store,
            ring: Ring::new(store, keys),
            algorithm,
            audit: mac_key(&audit),
            mark: mac_key(&mark),
            rows: mac_key(&rows),
            pepper: derive(store, data_key, "oncegate pepper v1"),
            challenge: derive(store, data_key, "oncegate challenge v1"),
            class: derive(store, data_key, "oncegate class v1"),
            heads: derive(store, data_key, "oncegate heads v1"),
            account: derive(store, data_key, "oncegate account v1"),
            personal: None,
        }
    }

    /// The same with the keys of personal data.
    pub(crate) fn with_personal(self, keys: PersonalKeys) -> Self {
        let personal = Some(keys);
        Self { personal, ..self }
    }

    /// What seals from now on.
    pub(crate) const fn algorithm(&self) -> SealAlgorithm {
        self.algorithm
    }

    /// The id of the store.
    pub(crate) const fn store(&self) -> [u8; 16] {
        self.store
    }

    /// The keys of personal data.
    pub(crate) fn personal(&self) -> Result<&PersonalKeys, StoreError> {
        let keys = self.personal.as_ref();
        keys.ok_or(StoreError::Corrupt("there are no keys of personal data"))
    }

    /// Seals personal data of the user with this key.
    pub(crate) fn seal_personal(
        &self,
        person: u64,
        place: Place<'_>,
        plain: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, StoreError> {
        let key = self.personal()?.key_to_seal(person, self)?;
        let key = key.ok_or(StoreError::Corrupt(
            "the key of the user's personal data was destroyed",
        ))?;
        let associated = self.associated(place);
        if self.algorithm == SealAlgorithm::Aes256Gcm {
            // The keys of the others are not needed, and a user is sealed in one go.
            let key = derive(self.store, &key, PERSONAL_AES);
            return cipher::aes_seal(&key, &associated, plain, entropy);
        }
        let ciphers = ciphers(self.store, &key, "personal");
        ciphers.seal(self.algorithm, &associated, plain, entropy)
    }

    /// Opens what [`Sealer::seal_personal`] made for the same place; `None`: the key was destroyed.
    pub(crate) fn open_personal(
        &self,
        person: u64,
        place: Place<'_>,
        sealed: &[u8],
    ) -> Result<Option<SecretBytes>, StoreError> {
        let Some(key) = self.personal()?.key(person, self)? else {
            return Ok(None);
        };
        let ciphers = ciphers(self.store, &key, "personal");
        let opened = ciphers.open(&self.associated(place), sealed);
        opened.map(Some).ok_or(StoreError::Corrupt(
            "personal data do not open in their place",
        ))
    }

    /// Octets of a sealed key at the beginning of what it lies in.
    #[allow(clippy::unused_self)] // beside `seal` and `open`
    pub(crate) fn length_of_key(&self, blob: &[u8]) -> Option<usize> {
        ring::length_of_key(blob)
    }

    /// Seals `plain` for `place`.
    pub(crate) fn seal(
        &self,
        place: Place<'_>,
        plain: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, StoreError> {
        let associated = self.associated(place);
        self.ring.seal(self.algorithm, &associated, plain, entropy)
    }

    /// Takes a further data key, which the store's file holds already: it seals from now on.
    pub(crate) fn add_key(&self, number: u8, key: &Key256, since: UnixTime) {
        self.ring.add(self.store, number, key, since);
    }

    /// Number of the data key that seals, and since when it does; number 0 is as old as the store.
    pub(crate) fn current_key(&self) -> (u8, Option<UnixTime>) {
        self.ring.current()
    }

    /// What lies in this place, sealed by the data key that seals now; `None`: it is already.
    pub(crate) fn reseal(
        &self,
        place: Place<'_>,
        sealed: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        if ring::number_of(sealed) == self.current_key().0 {
            return Ok(None);
        }
        let opened = self.open(place, sealed)?;
        self.seal(place, opened.expose(), entropy).map(Some)
    }

    /// Opens what [`Sealer::seal`] made for the same place.
    pub(crate) fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<SecretBytes, StoreError> {
        let opened = self.ring.open(&self.associated(place), sealed);
        opened.ok_or(StoreError::Corrupt(
            "a sealed field does not open in its place",
        ))
    }

    /// The MAC of audit record `seq`, whose predecessor's MAC is `previous`.
    pub(crate) fn link(&self, previous: &[u8; 32], seq: u64, body: &[u8]) -> [u8; 32] {
        let mut mac = self.audit.clone();
        mac.update(previous);
        mac.update(&seq.to_be_bytes());
        mac.update(body);
        mac.finalize().into_bytes().into()
    }

    /// The MAC of a row under its key in the table with this number.
    pub(crate) fn row(&self, table: u8, key: &[u8], value: &[u8]) -> [u8; 32] {
        let mut mac = self.rows.clone();
        let [a, b, c, d] = u32::try_from(key.len()).unwrap_or(u32::MAX).to_be_bytes();
        mac.update(&[table, a, b, c, d]);
        mac.update(key);
        mac.update(value);
        mac.finalize().into_bytes().into()
    }

    /// The key of this purpose.
    pub(crate) fn key(&self, purpose: KeyPurpose) -> Key256 {
        match purpose {
            KeyPurpose::Pepper => self.pepper.clone(),
            KeyPurpose::Challenge => self.challenge.clone(),
            KeyPurpose::Class => self.class.clone(),
            KeyPurpose::Heads => self.heads.clone(),
            KeyPurpose::Account => self.account.clone(),
        }
    }

    /// Recognises a value again without keeping it.
    pub(crate) fn mark(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut mac = self.mark.clone();
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let full: [u8; 32] = mac.finalize().into_bytes().into();
        let mut mark = [0; 16];
        mark.copy_from_slice(&full[..16]);
        mark
    }

    fn associated(&self, place: Place<'_>) -> Vec<u8> {
        let mut data = Vec::with_capacity(64 + place.row.len());
        data.extend_from_slice(&self.store);
        for part in [place.table.as_bytes(), place.field.as_bytes()] {
            data.extend_from_slice(part);
            data.push(0);
        }
        data.push(place.version);
        data.extend_from_slice(place.row);
        data
    }
}

fn wrapping(store: [u8; 16], master: &Key256) -> Ciphers {
    ciphers(store, master, "data key")
}

/// As [`ciphers`] names it.
const PERSONAL_AES: &str = "oncegate personal v1";

/// The names of the AES keys are those of the first stores, which knew no other algorithm.
fn ciphers(store: [u8; 16], key: &Key256, sealed: &str) -> Ciphers {
    let name = |kind: &str| format!("oncegate {sealed} {kind}v1");
    let mut seed = Zeroizing::new([0; 16]);
    expand(store, key, &name("seed-128-ctr "), seed.as_mut());
    Ciphers::new(&Keys {
        aes: derive(store, key, &name("")),
        aria: derive(store, key, &name("aria-256-gcm ")),
        seed,
        seed_mac: derive(store, key, &name("seed-128-ctr hmac-sha256 ")),
    })
}

fn derive(store: [u8; 16], key: &Key256, purpose: &str) -> Key256 {
    let mut derived = Zeroizing::new([0; 32]);
    expand(store, key, purpose, derived.as_mut());
    Key256::new(*derived)
}

fn expand(store: [u8; 16], key: &Key256, purpose: &str, derived: &mut [u8]) {
    Hkdf::<Sha256>::new(Some(&store), key.expose())
        .expand(purpose.as_bytes(), derived)
        .expect("a key is within HKDF's limit");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SystemEntropy;

    const PLACE: Place<'static> = Place {
        table: "tokens",
        row: b"TOTP-1",
        field: "key",
        version: 1,
    };

    fn sealer(store: u8, algorithm: SealAlgorithm) -> Sealer {
        let keys = Keyring::new(Key256::new([9; 32]));
        Sealer::new([store; 16], &keys, algorithm)
    }

    /// A sealer of each algorithm.
    fn sealers() -> [Sealer; 3] {
        SealAlgorithm::ALL.map(|algorithm| sealer(1, algorithm))
    }

    #[test]
    fn a_blob_opens_by_its_own_algorithm_whatever_is_selected() {
        for plain in [&b""[..], b"12345678901234567890", &[7; 16], &[7; 1000]] {
            for writer in sealers() {
                let sealed = writer.seal(PLACE, plain, &SystemEntropy).unwrap();
                assert_eq!(cipher::algorithm(&sealed), Some(writer.algorithm));
                for reader in sealers() {
                    let opened = reader.open(PLACE, &sealed).unwrap();
                    assert_eq!(opened.expose(), plain, "{}", writer.algorithm);
                }
            }
        }
    }

    #[test]
    fn opens_only_in_its_own_place() {
        for algorithm in SealAlgorithm::ALL {
            let one = sealer(1, algorithm);
            let sealed = one.seal(PLACE, b"secret", &SystemEntropy).unwrap();
            for place in [
                Place {
                    table: "clients",
                    ..PLACE
                },
                Place {
                    row: b"TOTP-2",
                    ..PLACE
                },
                Place {
                    field: "pin",
                    ..PLACE
                },
                Place {
                    version: 2,
                    ..PLACE
                },
            ] {
                assert!(one.open(place, &sealed).is_err(), "{algorithm} {place:?}");
            }
            let other = sealer(2, algorithm);
            assert!(
                other.open(PLACE, &sealed).is_err(),
                "{algorithm}: another store"
            );
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for sealer in sealers() {
            let sealed = sealer.seal(PLACE, b"secret", &SystemEntropy).unwrap();
            for bit in 0..sealed.len() * 8 {
                let mut bad = sealed.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(
                    sealer.open(PLACE, &bad).is_err(),
                    "{} bit {bit}",
                    sealer.algorithm
                );
            }
        }
    }

    #[test]
    fn a_blob_cut_short_or_made_longer_does_not_open() {
        for sealer in sealers() {
            let mut sealed = sealer.seal(PLACE, b"secret", &SystemEntropy).unwrap();
            for length in 0..sealed.len() {
                assert!(
                    sealer.open(PLACE, &sealed[..length]).is_err(),
                    "{} length {length}",
                    sealer.algorithm
                );
            }
            sealed.push(0);
            assert!(sealer.open(PLACE, &sealed).is_err(), "{}", sealer.algorithm);
        }
    }

    /// A number in front of a blob must not make another algorithm, or another key, open it.
    #[test]
    fn a_blob_does_not_open_by_another_algorithm() {
        for sealer in sealers() {
            let sealed = sealer.seal(PLACE, &[7; 64], &SystemEntropy).unwrap();
            for number in 0..=u8::MAX {
                let mut renamed = sealed.clone();
                renamed[0] = number;
                let opens = sealer.open(PLACE, &renamed).is_ok();
                assert_eq!(opens, number == sealed[0], "{} {number}", sealer.algorithm);
            }
        }
    }

    /// What the first stores wrote, which knew AES-256-GCM only.
    #[test]
    fn blobs_of_the_first_stores_open() {
        // HKDF-SHA-256 and AES-256-GCM of another implementation.
        let field = [
            0x01, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x9a,
            0x30, 0x44, 0xa6, 0xdf, 0xf4, 0xab, 0x99, 0xa8, 0xa8, 0x0c, 0x0a, 0xf5, 0x5a, 0x77,
            0xa0, 0x66, 0x7f, 0xc9, 0x97, 0x85, 0x4f,
        ];
        for reader in sealers() {
            assert_eq!(reader.open(PLACE, &field).unwrap().expose(), b"secret");
        }
        let wrapped = [
            0x01, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x67,
            0x03, 0xb3, 0xab, 0x7b, 0x9d, 0xfc, 0xcc, 0x30, 0x85, 0xab, 0x3d, 0xa7, 0xf5, 0xa2,
            0xb5, 0x0e, 0x47, 0x74, 0x11, 0xfc, 0xa3, 0x4f, 0x15, 0xfb, 0xed, 0x5f, 0xb6, 0x96,
            0x74, 0xf3, 0xae, 0xf7, 0x98, 0xb0, 0x26, 0x69, 0x85, 0x7f, 0x56, 0x89, 0x05, 0xdd,
            0xce, 0x8a, 0x31, 0xe7, 0x41,
        ];
        let opened = Keyring::unwrap([1; 16], &Key256::new([5; 32]), &wrapped).unwrap();
        assert_eq!(opened.first.expose(), &[9; 32]);
    }

    #[test]
    fn a_changed_selection_seals_the_same_data_key_again() {
        let (master, ring) = (Key256::new([1; 32]), Keyring::new(Key256::new([3; 32])));
        for from in SealAlgorithm::ALL {
            let wrapped = ring.wrap([0; 16], &master, from, &SystemEntropy).unwrap();
            for to in SealAlgorithm::ALL {
                let again =
                    Keyring::rewrap([0; 16], &master, to, &wrapped, &SystemEntropy).unwrap();
                assert_eq!(again.is_none(), from == to);
                let again = again.as_ref().unwrap_or(&wrapped);
                assert_eq!(cipher::algorithm(again), Some(to));
                let opened = Keyring::unwrap([0; 16], &master, again).unwrap();
                assert_eq!(opened.first.expose(), &[3; 32]);
            }
        }
    }

    #[test]
    fn a_data_key_of_an_unknown_algorithm_asks_for_the_newer_version() {
        let wrapped = [cipher::NEWEST + 1; 80];
        assert!(matches!(
            Keyring::unwrap([0; 16], &Key256::new([1; 32]), &wrapped),
            Err(StoreError::NewerFormat { found: 4, known: 3 })
        ));
    }
}
