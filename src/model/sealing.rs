//! The algorithms that seal secrets at rest.

words! {
    /// What seals a secret in the store: encryption together with authentication. The word is that of
    /// the configuration.
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    pub enum SealAlgorithm {
        /// AES-256 (FIPS 197) in GCM (SP 800-38D).
        #[default]
        Aes256Gcm = "aes-256-gcm",
        /// ARIA-256 (RFC 5794) in GCM, as RFC 8269 combines them.
        Aria256Gcm = "aria-256-gcm",
        /// SEED (RFC 4269) in counter mode, then HMAC-SHA-256 over the ciphertext.
        Seed128CtrHmacSha256 = "seed-128-ctr-hmac-sha256",
    }
}
