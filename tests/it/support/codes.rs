//! Codes of the tokens that the tests enrol.

use oncegate::otp::Algorithm;
use oncegate::otp::Digits;
use oncegate::otp::hotp;
use oncegate::secret::OtpKey;
use oncegate::secret::SecretBytes;

/// The key of RFC 4226 appendix D in base 32: `12345678901234567890`.
pub(crate) const RFC_SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

/// Six digits of the RFC's key at `counter`.
pub(crate) fn hotp(counter: u64) -> String {
    let key = OtpKey::new(SecretBytes::from(&b"12345678901234567890"[..])).unwrap();
    let code = hotp::generate(&key, Algorithm::Sha1, Digits::SIX, counter);
    code.expose().expose().to_owned()
}
