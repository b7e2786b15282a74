//! Password hashes that other systems made: recognised, bounded, verified. None is ever made here.
//!
//! ```text
//! $2a$ $2b$ $2y$ COST $ SALT TAG                     bcrypt
//! $argon2id$v=19$m=M,t=T,p=P$SALT$TAG                argon2id without a pepper
//! $pbkdf2-sha256$i=N,l=L$SALT$TAG     -sha512        PBKDF2: PHC
//! $pbkdf2-sha256$N$SALT$TAG           -sha512        PBKDF2: passlib (`.` for `+`)
//! pbkdf2_sha256$N$SALT$TAG            _sha512        PBKDF2: Django (the salt is text)
//! $6$rounds=N$SALT$TAG  $6$SALT$TAG  {CRYPT}$6$..    sha512-crypt, as in /etc/shadow
//! {SSHA} {SSHA256} {SSHA512} base64(TAG SALT)        salted SHA: LDAP
//! ```
//!
//! Sources: the bcrypt paper and OpenBSD's `$2b$`; RFC 8018 s5.2; passlib 1.7; Django 5; Drepper's
//! SHA-crypt; `slappasswd(8)`.
//!
//! Threats: an import file is not trusted. Work is bounded, so that no record can keep a core
//! busy: about a second, three at the most. bcrypt reads 72 octets and repeats a short
//! password with a NUL between; what it would cut off or confuse never matches.

use base64ct::{Base64, Base64Bcrypt, Base64ShaCrypt, Base64Unpadded, Encoding};
use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::credential::argon2id::{Phc, Scratch};
use crate::credential::scheme::{ImportError, Scheme, number};
use crate::secret::SecretBytes;

/// A hash from elsewhere, ready to compare.
#[derive(Clone, Debug)]
pub(super) enum Imported {
    Argon2id(Phc),
    Bcrypt {
        cost: u32,
        salt: [u8; 16],
        tag: SecretBytes,
    },
    Pbkdf2 {
        sha: Sha,
        iterations: u32,
        salt: Vec<u8>,
        tag: SecretBytes,
    },
    SaltedSha {
        sha: Sha,
        salt: Vec<u8>,
        tag: SecretBytes,
    },
    Sha512Crypt {
        rounds: sha_crypt::Params,
        salt: Vec<u8>,
        tag: SecretBytes,
    },
}

/// A SHA and how many octets it gives.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sha {
    One,
    Two256,
    Two512,
}

impl Imported {
    /// Reads any of the forms above.
    pub(super) fn parse(text: &str) -> Result<Self, ImportError> {
        if text.len() > MAX_HASH_OCTETS {
            return Err(ImportError::Unknown);
        }
        if let Some((name, rest)) = text.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            return match name.to_ascii_uppercase().as_str() {
                "CRYPT" if rest.starts_with('$') => Self::modular(rest),
                "SSHA" => salted_sha(Sha::One, rest),
                "SSHA256" => salted_sha(Sha::Two256, rest),
                "SSHA512" => salted_sha(Sha::Two512, rest),
                _ => Err(ImportError::Unknown),
            };
        }
        match text.split_once('$') {
            Some(("pbkdf2_sha256", rest)) => django(Sha::Two256, rest),
            Some(("pbkdf2_sha512", rest)) => django(Sha::Two512, rest),
            _ => Self::modular(text),
        }
    }

    /// `$id$...`
    fn modular(text: &str) -> Result<Self, ImportError> {
        let Some((id, rest)) = text.strip_prefix('$').and_then(|rest| rest.split_once('$')) else {
            return Err(ImportError::Unknown);
        };
        match id {
            "2a" | "2b" | "2y" => bcrypt(rest),
            "6" => sha512_crypt(rest),
            "argon2id" => Phc::parse(text).map(Self::Argon2id),
            "pbkdf2-sha256" => pbkdf2(Sha::Two256, rest),
            "pbkdf2-sha512" => pbkdf2(Sha::Two512, rest),
            _ => Err(ImportError::Unknown),
        }
    }

    /// The family.
    pub(super) const fn scheme(&self) -> Scheme {
        match self {
            Self::Argon2id(_) => Scheme::Argon2id,
            Self::Bcrypt { .. } => Scheme::Bcrypt,
            Self::Pbkdf2 { .. } => Scheme::Pbkdf2,
            Self::SaltedSha { .. } => Scheme::SaltedSha,
            Self::Sha512Crypt { .. } => Scheme::Sha512Crypt,
        }
    }

    /// Whether these octets made the tag.
    pub(super) fn matches(&self, password: &[u8], scratch: &mut Scratch) -> bool {
        match self {
            Self::Argon2id(phc) => phc.matches(password, None, scratch),
            Self::Bcrypt { cost, salt, tag } => {
                if password.len() > BCRYPT_OCTETS || password.contains(&0) {
                    return false;
                }
                let mut ended = Zeroizing::new(Vec::with_capacity(BCRYPT_OCTETS + 1));
                ended.extend_from_slice(password);
                ended.push(0);
                // A password of 72 octets has no room for its NUL.
                ended.truncate(BCRYPT_OCTETS);
                let made = Zeroizing::new(bcrypt::bcrypt(*cost, *salt, &ended));
                // The last octet of bcrypt's 24 is not kept.
                equal(made.split_last().map_or(&[], |(_, kept)| kept), tag)
            }
            Self::Pbkdf2 {
                sha,
                iterations,
                salt,
                tag,
            } => {
                let mut made = Zeroizing::new(vec![0; tag.expose().len()]);
                let fill = match sha {
                    Sha::One => pbkdf2_hmac::<Sha1>,
                    Sha::Two256 => pbkdf2_hmac::<Sha256>,
                    Sha::Two512 => pbkdf2_hmac::<Sha512>,
                };
                fill(password, salt, *iterations, &mut made);
                equal(&made, tag)
            }
            Self::SaltedSha { sha, salt, tag } => equal(&sha.digest(password, salt), tag),
            Self::Sha512Crypt { rounds, salt, tag } => {
                let made = Zeroizing::new(sha_crypt::sha512_crypt(password, salt, *rounds));
                equal(&*made, tag)
            }
        }
    }
}

impl Sha {
    const fn octets(self) -> usize {
        match self {
            Self::One => 20,
            Self::Two256 => 32,
            Self::Two512 => 64,
        }
    }

    fn digest(self, password: &[u8], salt: &[u8]) -> Zeroizing<Vec<u8>> {
        fn of<D: Digest>(password: &[u8], salt: &[u8]) -> Zeroizing<Vec<u8>> {
            let hash = D::new().chain_update(password).chain_update(salt);
            Zeroizing::new(hash.finalize().to_vec())
        }
        match self {
            Self::One => of::<Sha1>(password, salt),
            Self::Two256 => of::<Sha256>(password, salt),
            Self::Two512 => of::<Sha512>(password, salt),
        }
    }
}

/// `COST$SALTTAG`, 22 and 31 characters.
fn bcrypt(rest: &str) -> Result<Imported, ImportError> {
    let damaged = ImportError::Damaged(Scheme::Bcrypt);
    let (cost, rest) = rest.split_once('$').ok_or(damaged)?;
    let cost: u32 = match cost.as_bytes() {
        [b'0'..=b'3', b'0'..=b'9'] => cost.parse().map_err(|_| damaged)?,
        _ => return Err(damaged),
    };
    let (salt, tag) = rest.split_at_checked(22).ok_or(damaged)?;
    let salt = decode::<Base64Bcrypt>(salt).ok_or(damaged)?;
    let tag = decode::<Base64Bcrypt>(tag).ok_or(damaged)?;
    if !(4..=31).contains(&cost) || tag.len() != 23 {
        return Err(damaged);
    }
    if cost > MAX_BCRYPT_COST {
        return Err(ImportError::Costly(Scheme::Bcrypt));
    }
    Ok(Imported::Bcrypt {
        cost,
        salt: salt.try_into().map_err(|_| damaged)?,
        tag: SecretBytes::new(tag),
    })
}

/// PHC (`i=N` or `i=N,l=L`) or passlib (`N`).
fn pbkdf2(sha: Sha, rest: &str) -> Result<Imported, ImportError> {
    let parts: Vec<&str> = rest.split('$').collect();
    let [parameters, salt, tag] = parts.as_slice() else {
        return Err(ImportError::Damaged(Scheme::Pbkdf2));
    };
    let standard = |text: &str| decode::<Base64Unpadded>(text);
    let adapted = |text: &str| decode::<Base64Unpadded>(&text.replace('.', "+"));
    let Some(parameters) = parameters.strip_prefix("i=") else {
        return pbkdf2_of(sha, parameters, adapted(salt), adapted(tag));
    };
    let (iterations, length) = match parameters.split_once(",l=") {
        Some((iterations, length)) => (iterations, Some(length)),
        None => (parameters, None),
    };
    let tag = standard(tag).filter(|tag| length.is_none_or(|l| l == tag.len().to_string()));
    pbkdf2_of(sha, iterations, standard(salt), tag)
}

/// `N$SALT$TAG`: the salt is used as it is written, the tag is padded base64.
fn django(sha: Sha, rest: &str) -> Result<Imported, ImportError> {
    let parts: Vec<&str> = rest.split('$').collect();
    let [iterations, salt, tag] = parts.as_slice() else {
        return Err(ImportError::Damaged(Scheme::Pbkdf2));
    };
    let salt = salt.as_bytes().to_vec();
    pbkdf2_of(sha, iterations, Some(salt), decode::<Base64>(tag))
}

fn pbkdf2_of(
    sha: Sha,
    iterations: &str,
    salt: Option<Vec<u8>>,
    tag: Option<Vec<u8>>,
) -> Result<Imported, ImportError> {
    let damaged = ImportError::Damaged(Scheme::Pbkdf2);
    let iterations = number(iterations).filter(|n| *n > 0).ok_or(damaged)?;
    let salt = salt.filter(|salt| (1..=64).contains(&salt.len()));
    let tag = tag.filter(|tag| (16..=sha.octets()).contains(&tag.len()));
    if iterations > MAX_PBKDF2_ITERATIONS {
        return Err(ImportError::Costly(Scheme::Pbkdf2));
    }
    Ok(Imported::Pbkdf2 {
        sha,
        iterations,
        salt: salt.ok_or(damaged)?,
        tag: tag.map(SecretBytes::new).ok_or(damaged)?,
    })
}

/// `[rounds=N$]SALT$TAG`.
fn sha512_crypt(rest: &str) -> Result<Imported, ImportError> {
    let damaged = ImportError::Damaged(Scheme::Sha512Crypt);
    let parts: Vec<&str> = rest.split('$').collect();
    let (rounds, salt, tag) = match parts.as_slice() {
        [salt, tag] => (sha_crypt::Params::RECOMMENDED_ROUNDS, salt, tag),
        [rounds, salt, tag] => {
            let rounds = rounds.strip_prefix("rounds=").and_then(number);
            (rounds.ok_or(damaged)?, salt, tag)
        }
        _ => return Err(damaged),
    };
    if rounds > MAX_SHA_CRYPT_ROUNDS {
        return Err(ImportError::Costly(Scheme::Sha512Crypt));
    }
    let rounds = sha_crypt::Params::new(rounds).map_err(|_| damaged)?;
    let plain = salt.bytes().all(|octet| octet.is_ascii_graphic());
    if !plain || !(1..=16).contains(&salt.len()) {
        return Err(damaged);
    }
    let written = decode::<Base64ShaCrypt>(tag).filter(|written| written.len() == 64);
    Ok(Imported::Sha512Crypt {
        rounds,
        salt: salt.as_bytes().to_vec(),
        tag: SecretBytes::new(in_order(&written.ok_or(damaged)?)),
    })
}

/// The octets of a sha512-crypt tag in the digest's order. They are written in groups of three,
/// each taken from the digest's thirds and turned one place further than the group before.
fn in_order(written: &[u8]) -> Vec<u8> {
    let mut tag = written.to_vec();
    for (at, octet) in written.iter().enumerate().take(63) {
        let (group, place) = (at / 3, at % 3);
        let third = (2 - place + group) % 3;
        if let Some(slot) = tag.get_mut(third * 21 + group) {
            *slot = *octet;
        }
    }
    tag
}

/// base64 of the digest and then the salt.
fn salted_sha(sha: Sha, rest: &str) -> Result<Imported, ImportError> {
    let damaged = ImportError::Damaged(Scheme::SaltedSha);
    let mut tag = decode::<Base64>(rest).ok_or(damaged)?;
    if !(sha.octets() + 1..=sha.octets() + 64).contains(&tag.len()) {
        return Err(damaged);
    }
    let salt = tag.split_off(sha.octets());
    Ok(Imported::SaltedSha {
        sha,
        salt,
        tag: SecretBytes::new(tag),
    })
}

fn decode<E: Encoding>(text: &str) -> Option<Vec<u8>> {
    E::decode_vec(text).ok()
}

fn equal(made: &[u8], tag: &SecretBytes) -> bool {
    made.ct_eq(tag.expose()).into()
}

/// Longest hash text: the longest of the forms above has some 250 octets.
const MAX_HASH_OCTETS: usize = 512;

/// What bcrypt reads of a password.
const BCRYPT_OCTETS: usize = 72;

/// 2^14 rounds: about a second.
const MAX_BCRYPT_COST: u32 = 14;

/// Four times what Django 5 writes: 0.7 s with SHA-256, 2.8 s with SHA-512.
const MAX_PBKDF2_ITERATIONS: u32 = 4_000_000;

/// Two hundred times the default: 0.4 s, 3 s for a password of 500 octets.
const MAX_SHA_CRYPT_ROUNDS: u32 = 1_000_000;
