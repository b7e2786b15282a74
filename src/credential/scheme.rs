//! The families of hashes of other systems, and why one is refused.

use std::fmt;

/// Families of imported hashes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scheme {
    /// argon2id, version 1.3, no pepper.
    Argon2id,
    /// bcrypt `$2a$`, `$2b$`, `$2y$`.
    Bcrypt,
    /// PBKDF2 with HMAC-SHA-256 or HMAC-SHA-512.
    Pbkdf2,
    /// One round of SHA-1, SHA-256 or SHA-512.
    SaltedSha,
    /// sha512-crypt `$6$`.
    Sha512Crypt,
}

impl Scheme {
    /// The word for reports and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Argon2id => "argon2id",
            Self::Bcrypt => "bcrypt",
            Self::Pbkdf2 => "pbkdf2",
            Self::SaltedSha => "salted-sha",
            Self::Sha512Crypt => "sha512-crypt",
        }
    }

    const fn limit(self) -> &'static str {
        match self {
            Self::Argon2id => "262144 KiB, 64 passes, 16 lanes, and memory times passes 1048576",
            Self::Bcrypt => "cost 14",
            Self::Pbkdf2 => "4000000 iterations",
            Self::SaltedSha => "one round",
            Self::Sha512Crypt => "1000000 rounds",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why a hash is not taken. Shows nothing of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ImportError {
    /// Verifying it would take too long.
    #[error("this {0} hash asks for too much work; the limit is {limit}", limit = .0.limit())]
    Costly(Scheme),
    /// Recognised, but some part is missing, out of range or not what the scheme writes.
    #[error("this {0} hash is damaged: copy it whole, without spaces")]
    Damaged(Scheme),
    /// The stored form of this server, not a hash to import.
    #[error("this is a hash as Oncegate stores it; move it with a backup, not with an import")]
    Stored,
    /// No form that is known here.
    #[error(
        "unknown password hash; accepted are bcrypt ($2a$, $2b$, $2y$), argon2id ($argon2id$v=19$), \
         PBKDF2 ($pbkdf2-sha256$, $pbkdf2-sha512$, pbkdf2_sha256$, pbkdf2_sha512$), sha512-crypt \
         ($6$) and salted SHA ({{SSHA}}, {{SSHA256}}, {{SSHA512}})"
    )]
    Unknown,
}

/// A decimal number as programs write it: no sign, no zeros in front, at most nine digits.
pub(super) fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|octet| octet.is_ascii_digit());
    let plain = digits && text.len() <= 9 && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}
