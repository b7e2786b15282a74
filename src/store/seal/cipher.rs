//! The algorithms of sealed blobs: octets and explicit keys, no places and no store.
//!
//! ```text
//! blob = algorithm (1) | nonce (12) | ciphertext | tag
//!
//! 1 aes-256-gcm               tag 16
//! 2 aria-256-gcm              tag 16
//! 3 seed-128-ctr-hmac-sha256  tag 32
//!     ciphertext = plain ^ SEED(nonce | block number (4))          block number from 0
//!     tag        = HMAC-SHA-256(framed associated data, nonce, ciphertext)
//!     framed x   = length of x in octets (8) | x
//! ```
//!
//! All numbers are big-endian. Sources: SP 800-38D (GCM), RFC 5794 (ARIA), RFC 8269 s4 (ARIA in
//! GCM), RFC 4269 (SEED), SP 800-38A s6.5 (counter mode), RFC 2104 (HMAC).
//!
//! Invariants: each blob is opened by the algorithm it names, never by the one that is selected.
//! Every algorithm has a key of its own, SEED one for encryption and one for the tag, so that
//! another number in front of a blob opens nothing. Authentication comes first, in constant time;
//! nothing is decrypted before it.
//!
//! Threats and limits: ARIA and SEED look up tables, see [`seed`](crate::store::seal::seed). The
//! counter of SEED has 32 bits: 64 GiB a blob, which is checked.

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, AesGcm, KeyInit};
use aria::Aria256;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::model::sealing::SealAlgorithm;
use crate::secret::{Entropy, Key256, SecretBytes, random};
use crate::store::StoreError;
use crate::store::seal::seed::Seed;

/// One key for each use.
pub struct Keys {
    /// AES-256-GCM.
    pub aes: Key256,
    /// ARIA-256-GCM.
    pub aria: Key256,
    /// SEED in counter mode.
    pub seed: Zeroizing<[u8; 16]>,
    /// HMAC-SHA-256 over what SEED encrypted.
    pub seed_mac: Key256,
}

/// Every algorithm, ready for use.
pub struct Ciphers {
    aes: Aes256Gcm,
    aria: AesGcm<Aria256, U12>,
    seed: Seed,
    seed_mac: Hmac<Sha256>,
}

fn blob(algorithm: SealAlgorithm, nonce: &[u8; NONCE], body: &[u8]) -> Vec<u8> {
    let mut blob = Vec::with_capacity(1 + NONCE + body.len());
    blob.push(number(algorithm));
    blob.extend_from_slice(nonce);
    blob.extend_from_slice(body);
    blob
}

/// As [`Ciphers::seal`] with AES-256-GCM, where no other algorithm is needed.
pub(crate) fn aes_seal(
    key: &Key256,
    associated: &[u8],
    plain: &[u8],
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, StoreError> {
    let nonce: [u8; NONCE] = random(entropy)?;
    let payload = Payload {
        msg: plain,
        aad: associated,
    };
    let aes = Aes256Gcm::new(key.expose().into());
    let body = aes.encrypt((&nonce).into(), payload).ok();
    let body = body.ok_or(StoreError::TooLarge)?;
    Ok(blob(SealAlgorithm::Aes256Gcm, &nonce, &body))
}

impl Ciphers {
    /// Computes the key schedules.
    pub fn new(keys: &Keys) -> Self {
        Self {
            aes: Aes256Gcm::new(keys.aes.expose().into()),
            aria: AesGcm::new(keys.aria.expose().into()),
            seed: Seed::new(&keys.seed),
            seed_mac: mac_key(&keys.seed_mac),
        }
    }

    /// Makes a blob with a random nonce. `TooLarge` beyond what the algorithm can encrypt.
    pub fn seal(
        &self,
        algorithm: SealAlgorithm,
        associated: &[u8],
        plain: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, StoreError> {
        let nonce: [u8; NONCE] = random(entropy)?;
        let payload = Payload {
            msg: plain,
            aad: associated,
        };
        let body = match algorithm {
            SealAlgorithm::Aes256Gcm => self.aes.encrypt((&nonce).into(), payload).ok(),
            SealAlgorithm::Aria256Gcm => self.aria.encrypt((&nonce).into(), payload).ok(),
            SealAlgorithm::Seed128CtrHmacSha256 => self.seed_seal(&nonce, associated, plain),
        };
        let body = body.ok_or(StoreError::TooLarge)?;
        Ok(blob(algorithm, &nonce, &body))
    }

    /// Opens a blob of any algorithm; `None` when it is not as it was sealed.
    pub fn open(&self, associated: &[u8], blob: &[u8]) -> Option<SecretBytes> {
        self.open_as(algorithm(blob)?, associated, blob.get(1..)?)
    }

    /// Opens what follows the algorithm in a blob.
    pub(crate) fn open_as(
        &self,
        algorithm: SealAlgorithm,
        associated: &[u8],
        rest: &[u8],
    ) -> Option<SecretBytes> {
        let (nonce, body) = rest.split_first_chunk::<NONCE>()?;
        let payload = Payload {
            msg: body,
            aad: associated,
        };
        match algorithm {
            SealAlgorithm::Aes256Gcm => self.aes.decrypt(nonce.into(), payload).ok(),
            SealAlgorithm::Aria256Gcm => self.aria.decrypt(nonce.into(), payload).ok(),
            SealAlgorithm::Seed128CtrHmacSha256 => self.seed_open(nonce, associated, body),
        }
        .map(SecretBytes::new)
    }

    fn seed_seal(&self, nonce: &[u8; NONCE], associated: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        let mut body = Vec::with_capacity(plain.len() + SEED_TAG);
        body.extend_from_slice(plain);
        self.seed_counter(nonce, &mut body)?;
        let tag = self.seed_tag(nonce, associated, &body);
        body.extend_from_slice(&tag.finalize().into_bytes());
        Some(body)
    }

    fn seed_open(&self, nonce: &[u8; NONCE], associated: &[u8], body: &[u8]) -> Option<Vec<u8>> {
        let (ciphertext, tag) = body.split_last_chunk::<SEED_TAG>()?;
        let expected = self.seed_tag(nonce, associated, ciphertext);
        expected.verify_slice(tag).ok()?;
        let mut plain = ciphertext.to_vec();
        self.seed_counter(nonce, &mut plain)?;
        Some(plain)
    }

    /// Encrypts and decrypts. `None` before a counter would repeat.
    fn seed_counter(&self, nonce: &[u8; NONCE], data: &mut [u8]) -> Option<()> {
        u32::try_from(data.len() / BLOCK).ok()?;
        let mut counter = [0; BLOCK];
        counter[..NONCE].copy_from_slice(nonce);
        for (number, chunk) in (0_u32..).zip(data.chunks_mut(BLOCK)) {
            counter[NONCE..].copy_from_slice(&number.to_be_bytes());
            let mask = Zeroizing::new(self.seed.encrypt(&counter));
            for (octet, mask) in chunk.iter_mut().zip(mask.iter()) {
                *octet ^= mask;
            }
        }
        Some(())
    }

    /// The lengths in front keep the parts apart: without them, octets could move from one part
    /// into the next under the same tag.
    fn seed_tag(&self, nonce: &[u8; NONCE], associated: &[u8], ciphertext: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.seed_mac.clone();
        for part in [associated, nonce, ciphertext] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }
}

/// HMAC-SHA-256 under this key.
pub(crate) fn mac_key(key: &Key256) -> Hmac<Sha256> {
    <Hmac<Sha256> as KeyInit>::new_from_slice(key.expose()).expect("HMAC takes keys of any length")
}

/// The algorithm a blob names; `None` when this version does not know it.
pub(crate) fn algorithm(blob: &[u8]) -> Option<SealAlgorithm> {
    let named = blob.first()?;
    SealAlgorithm::ALL
        .into_iter()
        .find(|known| number(*known) == *named)
}

/// How many octets a blob of an algorithm has beside its plain text.
pub(crate) const fn overhead(algorithm: SealAlgorithm) -> usize {
    let tag = match algorithm {
        SealAlgorithm::Aes256Gcm | SealAlgorithm::Aria256Gcm => 16,
        SealAlgorithm::Seed128CtrHmacSha256 => SEED_TAG,
    };
    1 + NONCE + tag
}

/// The number in front of a blob; never reused.
pub(crate) const fn number(algorithm: SealAlgorithm) -> u8 {
    match algorithm {
        SealAlgorithm::Aes256Gcm => 1,
        SealAlgorithm::Aria256Gcm => 2,
        SealAlgorithm::Seed128CtrHmacSha256 => 3,
    }
}

/// The highest number this version knows.
pub(crate) const NEWEST: u8 = number(SealAlgorithm::Seed128CtrHmacSha256);
const NONCE: usize = 12;
const BLOCK: usize = 16;
const SEED_TAG: usize = 32;
