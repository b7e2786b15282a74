//! User-Password as it travels (RFC 2865 s5.2): hidden with MD5 of secret and authenticator.
//!
//! ```text
//! b1 = MD5(secret + Request Authenticator)   c1 = p1 xor b1
//! b2 = MD5(secret + c1)                      c2 = p2 xor b2   ... up to 8 blocks of 16
//! ```
//!
//! Invariants: a revealed password lives in memory that is overwritten; only *trailing* NULs are
//! padding, a NUL in the middle belongs to the password.
//!
//! Limits: this is secrecy only, and weak; a wrong shared secret reveals garbage, not an error.
//! Authenticity is the Message-Authenticator's work, which is checked before.

use zeroize::Zeroize as _;

use crate::radius::Discard;
use crate::radius::authenticator::{RequestAuthenticator, SecretKeys};
use crate::radius::encode::BuildError;
use crate::secret::SecretBytes;

/// What was typed, from the value of a User-Password attribute.
///
/// # Errors
/// `BadUserPasswordLength`: RFC 2865 s5.2 knows 16 to 128 octets, in whole blocks.
pub fn reveal(
    hidden: &[u8],
    authenticator: &RequestAuthenticator,
    keys: &SecretKeys,
) -> Result<SecretBytes, Discard> {
    let (blocks, rest) = hidden.as_chunks::<BLOCK>();
    if blocks.is_empty() || hidden.len() > MAX_LENGTH || !rest.is_empty() {
        return Err(Discard::BadUserPasswordLength);
    }
    // The capacity is exact, so no copy of a password is left behind by growing.
    let mut password = Vec::with_capacity(hidden.len());
    let mut previous = &authenticator.0;
    for block in blocks {
        let mask = keys.mask(previous);
        password.extend(block.iter().zip(mask).map(|(octet, mask)| octet ^ mask));
        previous = block;
    }
    let padding = password
        .iter()
        .rev()
        .take_while(|octet| **octet == 0)
        .count();
    password.truncate(password.len() - padding);
    Ok(SecretBytes::new(password))
}

/// The value of a User-Password attribute, padded with NULs to whole blocks.
///
/// # Errors
/// `PasswordTooLong` above 128 octets.
pub fn hide(
    password: &[u8],
    authenticator: &RequestAuthenticator,
    keys: &SecretKeys,
) -> Result<Vec<u8>, BuildError> {
    let mut room = [0; MAX_LENGTH];
    hide_in(&mut room, password, authenticator, keys).map(<[u8]>::to_vec)
}

/// As [`hide`], in memory of the caller's.
pub(crate) fn hide_in<'r>(
    room: &'r mut [u8; MAX_LENGTH],
    password: &[u8],
    authenticator: &RequestAuthenticator,
    keys: &SecretKeys,
) -> Result<&'r [u8], BuildError> {
    let place = room.get_mut(..password.len());
    place
        .ok_or(BuildError::PasswordTooLong)?
        .copy_from_slice(password);
    let blocks = password.len().div_ceil(BLOCK).max(1);
    let mut previous = authenticator.0;
    let (chunks, _) = room.as_chunks_mut::<BLOCK>();
    for (index, block) in chunks.iter_mut().take(blocks).enumerate() {
        let mask = keys.mask(&previous);
        // Padding is NUL whatever the room held before.
        let kept = password.len().saturating_sub(index * BLOCK).min(BLOCK);
        for (place, (octet, mask)) in block.iter_mut().zip(mask).enumerate() {
            *octet = if place < kept { *octet ^ mask } else { mask };
        }
        previous = *block;
    }
    room.get(..blocks * BLOCK)
        .ok_or(BuildError::PasswordTooLong)
}

/// The value of an attribute that is hidden with a salt (RFC 2868 s3.5, RFC 2548 s2.4.2), the salt
/// included. `None` above 239 octets.
///
/// ```text
/// b1 = MD5(secret + Request Authenticator + salt)   c1 = p1 xor b1
/// b2 = MD5(secret + c1)                             c2 = p2 xor b2   ...
/// ```
pub fn hide_salted(
    value: &[u8],
    authenticator: &RequestAuthenticator,
    keys: &SecretKeys,
    salt: u16,
) -> Option<Vec<u8>> {
    let length = u8::try_from(value.len())
        .ok()
        .filter(|length| *length <= 239)?;
    // The highest bit of a salt is set.
    let salt = (salt | 0x8000).to_be_bytes();
    let mut hidden = salt.to_vec();
    let mut plain = [&[length], value].concat();
    plain.resize(plain.len().next_multiple_of(BLOCK), 0);
    let mut mask = keys.mask(&[authenticator.0.as_slice(), &salt].concat());
    for block in plain.chunks(BLOCK) {
        let start = hidden.len();
        hidden.extend(block.iter().zip(mask).map(|(octet, mask)| octet ^ mask));
        mask = keys.mask(hidden.get(start..).unwrap_or_default());
    }
    plain.zeroize();
    Some(hidden)
}

/// What [`hide_salted`] hid. `None`: no such value.
pub fn reveal_salted(
    hidden: &[u8],
    authenticator: &RequestAuthenticator,
    keys: &SecretKeys,
) -> Option<SecretBytes> {
    let (salt, blocks) = hidden.split_first_chunk::<2>()?;
    let mut plain = Vec::with_capacity(blocks.len());
    let mut mask = keys.mask(&[authenticator.0.as_slice(), salt].concat());
    for block in blocks.chunks(BLOCK) {
        plain.extend(block.iter().zip(mask).map(|(octet, mask)| octet ^ mask));
        mask = keys.mask(block);
    }
    let plain = SecretBytes::new(plain);
    let (length, rest) = plain.expose().split_first()?;
    let value = rest.get(..usize::from(*length))?;
    Some(SecretBytes::from(value))
}

/// Block of the hiding scheme.
const BLOCK: usize = 16;

/// Longest password, hidden or not (RFC 2865 s5.2).
pub const MAX_LENGTH: usize = 128;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::secret::SharedSecret;

    fn keys(secret: &[u8]) -> SecretKeys {
        SecretKeys::new(SharedSecret::new(SecretBytes::from(secret)).unwrap())
    }

    const AUTHENTICATOR: RequestAuthenticator = RequestAuthenticator([7; 16]);

    fn round_trip(password: &[u8]) -> Vec<u8> {
        let keys = keys(b"xyzzy5461");
        let hidden = hide(password, &AUTHENTICATOR, &keys).unwrap();
        reveal(&hidden, &AUTHENTICATOR, &keys)
            .unwrap()
            .expose()
            .to_vec()
    }

    #[test]
    fn only_trailing_nuls_are_padding() {
        assert_eq!(round_trip(b"pin\0code"), b"pin\0code");
        assert_eq!(round_trip(b"code\0\0"), b"code");
        assert_eq!(round_trip(b""), b"");
        assert_eq!(round_trip(&[0; 32]), b"");
    }

    #[test]
    fn lengths_are_whole_blocks_from_16_to_128() {
        let keys = keys(b"s");
        for length in 0..=160 {
            let revealed = reveal(&vec![1; length], &AUTHENTICATOR, &keys);
            let valid = (16..=128).contains(&length) && length % 16 == 0;
            assert_eq!(revealed.is_ok(), valid, "{length}");
        }
        assert_eq!(
            hide(&[1; 129], &AUTHENTICATOR, &keys),
            Err(BuildError::PasswordTooLong)
        );
        assert_eq!(hide(b"", &AUTHENTICATOR, &keys).unwrap().len(), 16);
        assert_eq!(hide(&[1; 17], &AUTHENTICATOR, &keys).unwrap().len(), 32);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

        #[test]
        fn hide_and_reveal_are_inverse(
            password in prop::collection::vec(1_u8.., 0..=128),
            secret in prop::collection::vec(any::<u8>(), 1..=128),
            authenticator in any::<[u8; 16]>(),
        ) {
            let keys = keys(&secret);
            let authenticator = RequestAuthenticator(authenticator);
            let hidden = hide(&password, &authenticator, &keys).unwrap();
            let revealed = reveal(&hidden, &authenticator, &keys).unwrap();
            prop_assert_eq!(revealed.expose(), &password[..]);
        }
    }
}
