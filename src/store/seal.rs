//! Keys and the sealing of secrets at rest.
//!
//! ```text
//! master key (file, mode 0600, outside the store)
//!   `- opens the data key (sealed in the store's meta table, made once at init)
//!        |- HKDF "seal"   AES-256-GCM key of every sealed field
//!        |- HKDF "audit"  HMAC-SHA-256 key of the audit chain
//!        |- HKDF "mark"   HMAC-SHA-256 key that recognises a token's key again
//!        |- HKDF "pepper"     secret input of every PIN and password hash
//!        `- HKDF "challenge"  AES-256-GCM key of challenges
//! ```
//!
//! A sealed field is `algorithm | nonce (12) | ciphertext | tag (16)`. Its associated data is
//! `store id | table | row key | field | form version`, so that a blob copied to another row, field
//! or store does not open (SECURITY T24).
//!
//! Nonces are random. Seals happen at enrolment and rotation only, so the number under one key
//! stays far below the 2^32 that SP 800-38D allows.

use aes_gcm::Aes256Gcm;
use aes_gcm::KeyInit;
use aes_gcm::aead::Aead;
use aes_gcm::aead::Payload;
use hkdf::Hkdf;
use hmac::Hmac;
use hmac::Mac;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::secret::Entropy;
use crate::secret::Key256;
use crate::secret::SecretBytes;
use crate::secret::random;
use crate::store::KeyPurpose;
use crate::store::StoreError;

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

/// The keys of one open store.
pub(crate) struct Sealer {
    store: [u8; 16],
    cipher: Aes256Gcm,
    audit: Hmac<Sha256>,
    mark: Hmac<Sha256>,
    pepper: Key256,
    challenge: Key256,
}

impl Sealer {
    /// Derives the working keys from the data key.
    pub(crate) fn new(store: [u8; 16], data_key: &Key256) -> Self {
        let seal = derive(store, data_key, "oncegate seal v1");
        let audit = derive(store, data_key, "oncegate audit v1");
        let mark = derive(store, data_key, "oncegate mark v1");
        Self {
            store,
            cipher: Aes256Gcm::new(seal.expose().into()),
            audit: mac_key(&audit),
            mark: mac_key(&mark),
            pepper: derive(store, data_key, "oncegate pepper v1"),
            challenge: derive(store, data_key, "oncegate challenge v1"),
        }
    }

    /// Seals `plain` for `place`.
    pub(crate) fn seal(
        &self,
        place: Place<'_>,
        plain: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, StoreError> {
        seal_with(&self.cipher, &self.associated(place), plain, entropy)
    }

    /// Opens what [`Sealer::seal`] made for the same place.
    pub(crate) fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<SecretBytes, StoreError> {
        open_with(&self.cipher, &self.associated(place), sealed).ok_or(StoreError::Corrupt(
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

    /// The key of this purpose.
    pub(crate) fn key(&self, purpose: KeyPurpose) -> Key256 {
        match purpose {
            KeyPurpose::Pepper => self.pepper.clone(),
            KeyPurpose::Challenge => self.challenge.clone(),
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

/// Seals a fresh data key under the master key.
pub(crate) fn wrap_data_key(
    store: [u8; 16],
    master: &Key256,
    data_key: &Key256,
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, StoreError> {
    seal_with(
        &wrapping(store, master),
        DATA_KEY,
        data_key.expose(),
        entropy,
    )
}

/// Opens the data key; `WrongMasterKey` when the master key is another store's.
pub(crate) fn unwrap_data_key(
    store: [u8; 16],
    master: &Key256,
    wrapped: &[u8],
) -> Result<Key256, StoreError> {
    let bytes =
        open_with(&wrapping(store, master), DATA_KEY, wrapped).ok_or(StoreError::WrongMasterKey)?;
    let key = bytes
        .expose()
        .try_into()
        .map_err(|_| StoreError::WrongMasterKey)?;
    Ok(Key256::new(key))
}

fn wrapping(store: [u8; 16], master: &Key256) -> Aes256Gcm {
    let key = derive(store, master, "oncegate data key v1");
    Aes256Gcm::new(key.expose().into())
}

fn derive(store: [u8; 16], key: &Key256, purpose: &str) -> Key256 {
    let mut derived = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(&store), key.expose())
        .expand(purpose.as_bytes(), derived.as_mut())
        .expect("32 octets are within HKDF's limit");
    Key256::new(*derived)
}

fn mac_key(key: &Key256) -> Hmac<Sha256> {
    <Hmac<Sha256> as KeyInit>::new_from_slice(key.expose()).expect("HMAC takes keys of any length")
}

fn seal_with(
    cipher: &Aes256Gcm,
    associated: &[u8],
    plain: &[u8],
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, StoreError> {
    let nonce: [u8; NONCE] = random(entropy)?;
    let payload = Payload {
        msg: plain,
        aad: associated,
    };
    let sealed = cipher
        .encrypt((&nonce).into(), payload)
        .map_err(|_| StoreError::TooLarge)?;
    let mut out = Vec::with_capacity(1 + NONCE + sealed.len());
    out.push(AES_256_GCM);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&sealed);
    Ok(out)
}

fn open_with(cipher: &Aes256Gcm, associated: &[u8], sealed: &[u8]) -> Option<SecretBytes> {
    let (algorithm, rest) = sealed.split_first()?;
    let (nonce, body) = rest.split_first_chunk::<NONCE>()?;
    if *algorithm != AES_256_GCM {
        return None;
    }
    let payload = Payload {
        msg: body,
        aad: associated,
    };
    cipher
        .decrypt(nonce.into(), payload)
        .ok()
        .map(SecretBytes::new)
}

/// Algorithm number in sealed fields; never reused.
const AES_256_GCM: u8 = 1;
const NONCE: usize = 12;
const DATA_KEY: &[u8] = b"data key";

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

    fn sealer(store: u8) -> Sealer {
        Sealer::new([store; 16], &Key256::new([9; 32]))
    }

    #[test]
    fn opens_only_in_its_own_place() {
        let sealed = sealer(1)
            .seal(PLACE, b"12345678901234567890", &SystemEntropy)
            .unwrap();
        assert_eq!(
            sealer(1).open(PLACE, &sealed).unwrap().expose(),
            b"12345678901234567890"
        );
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
            assert!(sealer(1).open(place, &sealed).is_err(), "{place:?}");
        }
        assert!(sealer(2).open(PLACE, &sealed).is_err(), "another store");
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let sealed = sealer(1).seal(PLACE, b"secret", &SystemEntropy).unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(sealer(1).open(PLACE, &bad).is_err(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(
                sealer(1).open(PLACE, &sealed[..length]).is_err(),
                "length {length}"
            );
        }
    }

    #[test]
    fn another_master_key_is_named_as_the_cause() {
        let (right, wrong) = (Key256::new([1; 32]), Key256::new([2; 32]));
        let wrapped =
            wrap_data_key([0; 16], &right, &Key256::new([3; 32]), &SystemEntropy).unwrap();
        assert_eq!(
            unwrap_data_key([0; 16], &right, &wrapped).unwrap().expose(),
            &[3; 32]
        );
        assert!(matches!(
            unwrap_data_key([0; 16], &wrong, &wrapped),
            Err(StoreError::WrongMasterKey)
        ));
    }
}
