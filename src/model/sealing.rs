//! The algorithms that seal secrets at rest.

use std::fmt;

/// What seals a secret in the store: encryption together with authentication. The word is that of
/// the configuration.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SealAlgorithm {
    /// AES-256 (FIPS 197) in GCM (SP 800-38D).
    #[default]
    Aes256Gcm,
    /// ARIA-256 (RFC 5794) in GCM, as RFC 8269 combines them.
    Aria256Gcm,
    /// SEED (RFC 4269) in counter mode, then HMAC-SHA-256 over the ciphertext.
    Seed128CtrHmacSha256,
}

impl SealAlgorithm {
    /// All of them, the default first.
    pub const ALL: [Self; 3] = [
        Self::Aes256Gcm,
        Self::Aria256Gcm,
        Self::Seed128CtrHmacSha256,
    ];

    /// The word of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aes256Gcm => "aes-256-gcm",
            Self::Aria256Gcm => "aria-256-gcm",
            Self::Seed128CtrHmacSha256 => "seed-128-ctr-hmac-sha256",
        }
    }
}

impl fmt::Display for SealAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
