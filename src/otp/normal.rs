//! The normal form of an HMAC key: two keys make the same codes exactly when they have the same one.
//!
//! Source: RFC 2104 s2. A key longer than the block of the hash is hashed, and what is shorter is filled up
//! with zeros: K, K with zeros behind it and, of a long K, its hash are one key.
//!
//! What is kept under a key (that a token has it, which of its codes were used) is kept under this form,
//! or the same codes would be accepted once more for another spelling of the key. Keys that fit into the
//! blocks of two hash functions have the same form under both.

use sha1::{Digest, Sha1};
use sha2::{Sha256, Sha512};

use crate::otp::Algorithm;
use crate::secret::{OtpKey, SecretBytes};

/// A key as HMAC takes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NormalKey(SecretBytes);

impl NormalKey {
    /// The normal form of a key that is used with this hash function.
    pub fn of(key: &OtpKey, algorithm: Algorithm) -> Self {
        let key = key.expose();
        let mut octets = match algorithm {
            Algorithm::Sha1 if key.len() > 64 => Sha1::digest(key).to_vec(),
            Algorithm::Sha256 if key.len() > 64 => Sha256::digest(key).to_vec(),
            Algorithm::Sha512 if key.len() > 128 => Sha512::digest(key).to_vec(),
            _ => key.to_vec(),
        };
        let zeros = octets.iter().rev().take_while(|octet| **octet == 0);
        octets.truncate(octets.len() - zeros.count());
        Self(SecretBytes::new(octets))
    }

    /// The octets.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};
    use proptest::prelude::*;

    use super::*;

    fn mac<M: Mac + KeyInit>(key: &[u8]) -> Vec<u8> {
        let mac = <M as KeyInit>::new_from_slice(key).unwrap();
        mac.chain_update(b"a message")
            .finalize()
            .into_bytes()
            .to_vec()
    }

    /// The other side: the hash functions' own HMAC.
    fn hmac(key: &[u8], algorithm: Algorithm) -> Vec<u8> {
        match algorithm {
            Algorithm::Sha1 => mac::<Hmac<Sha1>>(key),
            Algorithm::Sha256 => mac::<Hmac<Sha256>>(key),
            Algorithm::Sha512 => mac::<Hmac<Sha512>>(key),
        }
    }

    fn form(key: &[u8], algorithm: Algorithm) -> NormalKey {
        NormalKey::of(&OtpKey::new(SecretBytes::from(key)).unwrap(), algorithm)
    }

    /// Another spelling of the key, or nearly one.
    fn other(key: &[u8], way: u8, zeros: usize, hash: Algorithm) -> Vec<u8> {
        let mut other = key.to_vec();
        match way {
            0 => other.resize(key.len() + zeros, 0),
            1 => {
                other.resize(key.len() + zeros, 0);
                *other.last_mut().unwrap() ^= 1;
            }
            2 => other.truncate(key.len() - zeros.min(key.len() - OtpKey::MIN)),
            3 => other.insert(0, 0),
            _ => {
                other = match hash {
                    Algorithm::Sha1 => Sha1::digest(key).to_vec(),
                    Algorithm::Sha256 => Sha256::digest(key).to_vec(),
                    Algorithm::Sha512 => Sha512::digest(key).to_vec(),
                };
                other.resize(other.len() + zeros, 0);
            }
        }
        other.truncate(OtpKey::MAX);
        other
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

        /// The same form, the same code for every message; another form, another.
        #[test]
        fn keys_have_one_form_exactly_when_they_are_one_to_hmac(
            length in 10_usize..=128, fill in any::<[u8; 32]>(), cut in 0_usize..130,
            way in 0_u8..5, zeros in 0_usize..70, which in 0_usize..3, hash in 0_usize..3,
        ) {
            let mut key: Vec<u8> = fill.iter().cycle().take(length).copied().collect();
            key.iter_mut().skip(cut).for_each(|octet| *octet = 0);
            let [Some(algorithm), Some(hash)] = [which, hash].map(|i| Algorithm::ALL.get(i)) else {
                unreachable!()
            };
            let other = other(&key, way, zeros, *hash);
            let one_form = form(&key, *algorithm) == form(&other, *algorithm);
            prop_assert_eq!(one_form, hmac(&key, *algorithm) == hmac(&other, *algorithm));
        }
    }

    #[test]
    fn a_short_key_has_one_form_under_all_hash_functions() {
        let key: Vec<u8> = (1..=64).collect();
        for algorithm in Algorithm::ALL {
            assert_eq!(form(&key, algorithm).expose(), key);
        }
        let long: Vec<u8> = (1..=65).collect();
        assert_eq!(
            form(&long, Algorithm::Sha1).expose(),
            &Sha1::digest(&long)[..]
        );
        assert_eq!(form(&long, Algorithm::Sha512).expose(), long);
    }
}
