//! The keyed hash behind a code: HMAC with the key pads hashed once, and its truncation.
//!
//! Sources: RFC 2104; RFC 4226 s5.3 (dynamic truncation).
//!
//! A window asks for several candidates under one key. The two blocks made of the key are hashed
//! when the state is built and copied afterwards, which halves the work of each candidate.

use hmac::{Hmac, KeyInit};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use crate::otp::{Algorithm, Code, Digits};
use crate::secret::OtpKey;

/// HMAC state of one key, before any message.
pub(super) enum Mac {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha512(Hmac<Sha512>),
}

impl Mac {
    /// Hashes the key pads. Keys longer than the hash's block are hashed down (RFC 2104 s2).
    pub(super) fn new(key: &OtpKey, algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha1 => Self::Sha1(keyed(key)),
            Algorithm::Sha256 => Self::Sha256(keyed(key)),
            Algorithm::Sha512 => Self::Sha512(keyed(key)),
        }
    }

    /// HOTP(K, C): the code of one moving factor (RFC 4226 s5.3).
    pub(super) fn code(&self, moving_factor: u64, digits: Digits) -> Code {
        let message = moving_factor.to_be_bytes();
        let number = match self {
            Self::Sha1(state) => truncate(state.clone(), message),
            Self::Sha256(state) => truncate(state.clone(), message),
            Self::Sha512(state) => truncate(state.clone(), message),
        };
        Code::of_truncated(number, digits)
    }
}

/// The state after the key. HMAC takes keys of any length (RFC 2104 s3), so the error is none.
fn keyed<M: KeyInit>(key: &OtpKey) -> M {
    let Ok(state) = M::new_from_slice(key.expose()) else {
        unreachable!("HMAC takes keys of any length")
    };
    state
}

/// DT(HMAC(K, C)): 31 bits, big-endian, from the offset named by the last four bits
/// (RFC 4226 s5.3 step 2). The offset is at most 15 and the shortest hash has 20 octets.
fn truncate(state: impl hmac::Mac, message: [u8; 8]) -> u32 {
    let hash = state.chain_update(message).finalize().into_bytes();
    let offset = hash.last().map_or(0, |last| usize::from(last & 0x0f));
    let word = hash
        .iter()
        .skip(offset)
        .take(4)
        .fold(0, |word, octet| word << 8 | u32::from(*octet));
    word & 0x7fff_ffff
}
