//! MS-CHAPv2 as a client speaks it: the response to a challenge, and what proves that the server
//! knows the password too.
//!
//! Sources: RFC 2759 s8 (the functions have its names there in their docs), RFC 2548 s2.3
//! (attributes).
//!
//! Limits: the scheme is broken (two DES keys of an MD4 hash); it is here because gear speaks it.

use des::Des;
use des::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use md4::{Digest as _, Md4};
use sha1::Sha1;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// Number of Microsoft among vendors.
pub(super) const VENDOR: u32 = 311;
/// MS-CHAP-Challenge.
pub(super) const CHALLENGE: u8 = 11;
/// MS-CHAP2-Response: ident, flags, peer challenge, 8 octets zero, response.
pub(super) const RESPONSE: u8 = 25;
/// MS-CHAP2-Success: ident, then `S=` and 40 hexadecimal digits.
pub(super) const SUCCESS: u8 = 26;

/// What a login is answered with, and what a server must answer that accepts it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Exchange {
    /// The response (NT-Response).
    pub(super) response: [u8; 24],
    /// The digest behind `S=` (the authenticator response).
    proof: [u8; 20],
}

impl Exchange {
    /// Computes both. `user` is what is sent as User-Name; a `DOMAIN\` in front does not count
    /// (RFC 2759 s4).
    pub(super) fn new(
        user: &str,
        password: &[u8],
        authenticator_challenge: &[u8; 16],
        peer_challenge: &[u8; 16],
    ) -> Self {
        let name = user.rsplit_once('\\').map_or(user, |(_, name)| name);
        let hash = nt_password_hash(password);
        let challenge = challenge_hash(peer_challenge, authenticator_challenge, name);
        let response = challenge_response(challenge, &hash);
        let proof = authenticator_response(&hash, &response, challenge);
        Self { response, proof }
    }

    /// Whether the value of an MS-CHAP2-Success proves that the server knows the password.
    pub(super) fn is_proven_by(&self, success: &[u8]) -> bool {
        let Some(digits) = success.get(1..).and_then(|text| text.strip_prefix(b"S=")) else {
            return false;
        };
        let expected = data_encoding::HEXUPPER.encode(&self.proof);
        let given = digits.get(..expected.len()).unwrap_or_default();
        given.ct_eq(expected.as_bytes()).into()
    }
}

/// `NtPasswordHash`. A password that is no UTF-8 is read as far as it is.
fn nt_password_hash(password: &[u8]) -> Zeroizing<[u8; 16]> {
    let text = String::from_utf8_lossy(password);
    let mut hash = Md4::new();
    for unit in text.encode_utf16() {
        hash.update(unit.to_le_bytes());
    }
    Zeroizing::new(hash.finalize().into())
}

/// `ChallengeHash`.
fn challenge_hash(peer: &[u8; 16], authenticator: &[u8; 16], user: &str) -> [u8; 8] {
    let hash = Sha1::new()
        .chain_update(peer)
        .chain_update(authenticator)
        .chain_update(user)
        .finalize();
    let mut challenge = [0; 8];
    challenge
        .iter_mut()
        .zip(hash)
        .for_each(|(to, from)| *to = from);
    challenge
}

/// `ChallengeResponse`: the challenge under three DES keys made of the hash and five zeros.
fn challenge_response(challenge: [u8; 8], hash: &[u8; 16]) -> [u8; 24] {
    let mut key = Zeroizing::new([0_u8; 21]);
    key.iter_mut().zip(hash).for_each(|(to, from)| *to = *from);
    let mut response = [0; 24];
    let (parts, _) = key.as_chunks::<7>();
    let (blocks, _) = response.as_chunks_mut::<8>();
    for (part, block) in parts.iter().zip(blocks) {
        *block = challenge;
        let block: &mut [u8; 8] = block;
        Des::new(&with_parity(*part).into()).encrypt_block(block.into());
    }
    response
}

/// Seven octets as the eight of a DES key: seven bits each, the last one is parity and ignored.
fn with_parity(part: [u8; 7]) -> [u8; 8] {
    let bits = part
        .iter()
        .fold(0_u64, |bits, octet| bits << 8 | u64::from(*octet));
    let mut key = [0; 8];
    for (index, octet) in key.iter_mut().enumerate() {
        let seven = bits >> (49 - 7 * index) & 0x7f;
        *octet = u8::try_from(seven << 1).unwrap_or_default();
    }
    key
}

/// `GenerateAuthenticatorResponse`.
fn authenticator_response(hash: &[u8; 16], response: &[u8; 24], challenge: [u8; 8]) -> [u8; 20] {
    let hash_hash = Md4::digest(hash);
    let digest = Sha1::new()
        .chain_update(hash_hash)
        .chain_update(response)
        .chain_update(b"Magic server to client signing constant")
        .finalize();
    Sha1::new()
        .chain_update(digest)
        .chain_update(challenge)
        .chain_update(b"Pad to make it do more than one iteration")
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        let octets = data_encoding::HEXUPPER.decode(text.as_bytes()).unwrap();
        octets.try_into().unwrap()
    }

    #[test]
    fn rfc2759_section_9_2() {
        let authenticator = hex("5B5D7C7D7B3F2F3E3C2C602132262628");
        let peer = hex("21402324255E262A28295F2B3A337C7E");
        let hash = nt_password_hash(b"clientPass");
        assert_eq!(*hash, hex("44EBBA8D5312B8D611474411F56989AE"));
        let challenge = challenge_hash(&peer, &authenticator, "User");
        assert_eq!(challenge, hex("D02E4386BCE91226"));
        for user in ["User", "DOMAIN\\User"] {
            let exchange = Exchange::new(user, b"clientPass", &authenticator, &peer);
            assert_eq!(
                exchange.response,
                hex("82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF")
            );
            let success = b"\x07S=407A5589115FD0D6209F510FE9C04566932CDA56 M=hello";
            assert!(exchange.is_proven_by(success));
        }
    }

    #[test]
    fn a_server_without_the_password_proves_nothing() {
        let exchange = Exchange::new("User", b"clientPass", &[1; 16], &[2; 16]);
        for success in [
            &b""[..],
            b"\x07",
            b"\x07S=",
            b"\x07S=407A5589115FD0D6209F510FE9C04566932CDA56",
            b"\x07E=691",
        ] {
            assert!(!exchange.is_proven_by(success), "{success:?}");
        }
    }
}
