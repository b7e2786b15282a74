//! Codes that the server makes itself, and the keyed hash that is all it keeps of them.
//!
//! Sources: SP 800-63B s3.1.3 (out-of-band: at least 20 bits, single use, ten minutes at most).
//!
//! Invariant: a mark is bound to the token's key, to what the code is for and, where one is named,
//! to the client. An attacker who reads the store without the master key learns nothing from it, because
//! the token's key is sealed; a mark copied to another token fits no code there.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::secret::{OtpKey, SecretString};

/// What remains of an issued code: 128 bits of HMAC-SHA-256.
#[derive(Clone, Copy, Debug)]
pub struct Mark([u8; 16]);

impl Mark {
    /// The mark of `text`, issued by the token with this key for `purpose`, to be presented to
    /// `client` only when one is named.
    pub fn of(key: &OtpKey, purpose: &str, client: Option<&str>, text: &str) -> Self {
        let client = client.map(str::as_bytes);
        Self(derive(
            key,
            purpose,
            &[client.unwrap_or_default(), text.as_bytes()],
        ))
    }

    /// From its stored octets.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its octets.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl PartialEq for Mark {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Mark {}

/// What stands for a client that codes of the token with this key are for, beside their marks.
pub fn client_mark(key: &OtpKey, client: &str) -> u32 {
    let [one, two, three, four, ..] = derive(key, "client", &[client.as_bytes()]);
    u32::from_be_bytes([one, two, three, four])
}

/// 128 bits that follow from a token's key, a purpose and parts.
pub(crate) fn derive(key: &OtpKey, purpose: &str, parts: &[&[u8]]) -> [u8; 16] {
    let mut out = [0; 16];
    // HMAC takes keys of any length; an impossible failure gives a mark that fits nothing.
    let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(key.expose()) else {
        return [0xff; 16];
    };
    let purpose = ["oncegate issued v1 ", purpose].concat();
    for part in [&[purpose.as_bytes()], parts].concat() {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    let full: [u8; 32] = mac.finalize().into_bytes().into();
    for (to, from) in out.iter_mut().zip(full) {
        *to = from;
    }
    out
}

/// A number below `bound`, uniform, from eight random octets; `None`: draw again. The part of the
/// range that does not divide evenly is refused, or small numbers would come more often.
pub fn uniform(random: [u8; 8], bound: u64) -> Option<u64> {
    let bound = bound.max(1);
    let value = u64::from_be_bytes(random);
    let fair = u64::MAX - (u64::MAX % bound);
    (value < fair).then(|| value % bound)
}

/// `length` decimal digits that show `value`.
pub fn digits(value: u64, length: usize) -> SecretString {
    SecretString::new(format!("{value:0length$}"))
}

/// The text of a code of letters as it is compared: upper case, without dashes and blanks, the
/// letters that are taken for digits read as these (Crockford's base 32); `None` when it is none,
/// or not of this length.
pub fn canonical(text: &str, length: usize) -> Option<SecretString> {
    // A bound before any work: dashes and blanks included.
    if text.len() > 2 * length {
        return None;
    }
    let mut read = String::with_capacity(length);
    for character in text.chars().filter(|c| !matches!(c, '-' | ' ')) {
        let upper = character.to_ascii_uppercase();
        let plain = match upper {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        if !CROCKFORD.contains(plain) {
            return None;
        }
        read.push(plain);
    }
    (read.len() == length).then(|| SecretString::new(read))
}

/// `length` Crockford characters of these random bits, the low five first.
pub fn letters(mut bits: u128, length: usize) -> SecretString {
    let mut text = String::with_capacity(length);
    for _ in 0..length {
        let index = usize::try_from(bits & 31).unwrap_or_default();
        text.push(char::from(
            *CROCKFORD.as_bytes().get(index).unwrap_or(&b'0'),
        ));
        bits >>= 5;
    }
    SecretString::new(text)
}

/// The characters in groups, for reading aloud: `7F3K-9Q2M-44XZ`.
pub fn grouped(text: &str, group: usize) -> SecretString {
    let mut shown = String::with_capacity(text.len() + text.len() / group.max(1));
    for (place, character) in text.chars().enumerate() {
        if place > 0 && place % group.max(1) == 0 {
            shown.push('-');
        }
        shown.push(character);
    }
    SecretString::new(shown)
}

const CROCKFORD: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretBytes;

    fn key(octet: u8) -> OtpKey {
        OtpKey::new(SecretBytes::new(vec![octet; 20])).unwrap()
    }

    #[test]
    fn a_mark_fits_its_own_token_purpose_client_and_text() {
        let mark = Mark::of(&key(1), "code", Some("vpn"), "123456");
        assert_eq!(mark, Mark::of(&key(1), "code", Some("vpn"), "123456"));
        for other in [
            Mark::of(&key(2), "code", Some("vpn"), "123456"),
            Mark::of(&key(1), "enrol", Some("vpn"), "123456"),
            Mark::of(&key(1), "code", Some("web"), "123456"),
            Mark::of(&key(1), "code", None, "123456"),
            Mark::of(&key(1), "code", Some("vpn1"), "23456"),
            Mark::of(&key(1), "code", Some("vpn"), "123457"),
        ] {
            assert_ne!(mark, other);
        }
    }

    #[test]
    fn numbers_are_uniform_or_drawn_again() {
        assert_eq!(uniform([0xff; 8], 1_000_000), None);
        assert_eq!(uniform([0; 8], 1_000_000), Some(0));
        assert_eq!(uniform(1_000_001_u64.to_be_bytes(), 1_000_000), Some(1));
        assert_eq!(digits(7, 6).expose(), "000007");
    }

    #[test]
    fn letters_have_one_canonical_spelling() {
        let code = letters(0x1234_5678_9abc_def0, 12);
        assert_eq!(code.expose().len(), 12);
        let shown = grouped(code.expose(), 4);
        assert_eq!(shown.expose().len(), 14);
        assert_eq!(canonical(shown.expose(), 12), Some(code.clone()));
        let lower = shown.expose().to_lowercase();
        assert_eq!(canonical(&lower, 12), Some(code));
        assert_eq!(canonical("OIL0000000", 10).unwrap().expose(), "0110000000");
        for wrong in [
            "",
            "123456789",
            "12345678901",
            "U234567890",
            "\u{ff11}234567890",
        ] {
            assert_eq!(canonical(wrong, 10), None, "{wrong}");
        }
        assert_eq!(canonical(&"-".repeat(1000), 10), None);
    }
}
