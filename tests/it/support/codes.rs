//! Codes of the tokens that the tests enrol.

use oncegate::otp::{Algorithm, Digits, hotp};
use oncegate::secret::{OtpKey, SecretBytes};

/// The key of RFC 4226 appendix D in base 32: `12345678901234567890`.
pub(crate) const RFC_SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

/// Six digits of the RFC's key at `counter`.
pub(crate) fn hotp(counter: u64) -> String {
    let key = OtpKey::new(SecretBytes::from(&b"12345678901234567890"[..])).unwrap();
    let code = hotp::generate(&key, Algorithm::Sha1, Digits::SIX, counter);
    code.expose().expose().to_owned()
}

/// The key of a user where there are several: no two have one.
fn octets_of(user: &str) -> Vec<u8> {
    let octets = format!("{user}12345678901234567890").into_bytes();
    octets.into_iter().take(20).collect()
}

/// It in base 32.
pub(crate) fn secret_of(user: &str) -> String {
    data_encoding::BASE32.encode(&octets_of(user))
}

/// It as a key.
pub(crate) fn key_of(user: &str) -> OtpKey {
    OtpKey::new(SecretBytes::new(octets_of(user))).unwrap()
}

/// Six digits of it at `counter`.
pub(crate) fn hotp_of(user: &str, counter: u64) -> String {
    let code = hotp::generate(&key_of(user), Algorithm::Sha1, Digits::SIX, counter);
    code.expose().expose().to_owned()
}
