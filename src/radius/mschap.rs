//! CHAP, MS-CHAP and MS-CHAPv2: whether a response was made with a password, and what is sent back.
//!
//! ```text
//! CHAP        MD5(ident + password + challenge)                              RFC 1994 s4.1
//! MS-CHAP     3 x DES(challenge) under NtPasswordHash                        RFC 2433 A.5
//! MS-CHAPv2   the same, of SHA-1(peer challenge + challenge + user name)     RFC 2759 s8
//! ```
//!
//! The server tells whether a candidate made the response by making it again: codes are few, passwords
//! are kept hashed and cannot be tried.
//!
//! Sources: RFC 2759 s8 and RFC 3079 s3 (the functions have their names from there in their docs),
//! RFC 2548 s2 (attributes).
//!
//! Limits: who sees an exchange finds a code of six digits by trying all; that it is accepted once is what
//! protects it. The schemes are broken (MD5, two DES keys of an MD4 hash); they are here because NASes speak them.

use des::Des;
use des::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use md4::Md4;
use md5::Md5;
use sha1::{Digest as _, Sha1};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// What a NAS sends in place of a password.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Response {
    /// CHAP-Password (RFC 2865 s5.3).
    Chap {
        /// CHAP identifier.
        ident: u8,
        /// CHAP-Challenge, or the Request Authenticator.
        challenge: Vec<u8>,
        /// 16 octets.
        response: [u8; 16],
    },
    /// MS-CHAP-Response (RFC 2548 s2.1.3).
    MsChap {
        /// Goes back with an error.
        ident: u8,
        /// MS-CHAP-Challenge.
        challenge: [u8; 8],
        /// NT-Response.
        response: [u8; 24],
    },
    /// MS-CHAP2-Response (RFC 2548 s2.3.2).
    MsChap2 {
        /// Goes back with the answer.
        ident: u8,
        /// SHA-1 of both challenges and the name (`ChallengeHash`).
        challenge: [u8; 8],
        /// NT-Response.
        response: [u8; 24],
    },
}

/// What the NAS is sent when a candidate was right.
#[derive(Debug)]
pub struct Success {
    /// `S=` and 40 hexadecimal digits: proves to the client that the server knows the password. MS-CHAPv2 only.
    pub proof: Option<String>,
    /// Keys for MPPE; CHAP has none.
    pub keys: Option<MppeKeys>,
}

/// Keys for MPPE (RFC 3079).
#[derive(Debug)]
pub enum MppeKeys {
    /// MS-CHAP: MS-CHAP-MPPE-Keys without its hiding, 32 octets (RFC 2548 s2.4.1).
    Shared(Zeroizing<[u8; 32]>),
    /// MS-CHAPv2: MS-MPPE-Send-Key and MS-MPPE-Recv-Key, as the NAS uses them.
    Pair {
        /// To the client.
        send: Zeroizing<[u8; 16]>,
        /// From the client.
        receive: Zeroizing<[u8; 16]>,
    },
}

impl Response {
    /// CHAP-Password and CHAP-Challenge; without the latter the Request Authenticator stands for it.
    /// `None`: not 17 octets.
    pub fn chap(password: &[u8], challenge: &[u8]) -> Option<Self> {
        let (ident, response) = password.split_first()?;
        Some(Self::Chap {
            ident: *ident,
            challenge: challenge.to_vec(),
            response: response.try_into().ok()?,
        })
    }

    /// MS-CHAP-Response and MS-CHAP-Challenge. `None`: not 50 and 8 octets, or a response by the LAN Manager
    /// hash alone.
    pub fn ms_chap(value: &[u8], challenge: &[u8]) -> Option<Self> {
        let [ident, flags, rest @ ..] = value else {
            return None;
        };
        let (_, response) = rest.split_at_checked(24)?;
        let response = response.try_into().ok().filter(|_| *flags == NT_RESPONSE)?;
        Some(Self::MsChap {
            ident: *ident,
            challenge: challenge.try_into().ok()?,
            response,
        })
    }

    /// MS-CHAP2-Response and MS-CHAP-Challenge, and User-Name; a `DOMAIN\` in front of it does not count
    /// (RFC 2759 s4). `None`: not 50 and 16 octets.
    pub fn ms_chap2(value: &[u8], challenge: &[u8], user: &[u8]) -> Option<Self> {
        let [ident, _flags, rest @ ..] = value else {
            return None;
        };
        let (peer, rest) = rest.split_first_chunk::<16>()?;
        let (_reserved, response) = rest.split_first_chunk::<8>()?;
        let challenge: &[u8; 16] = challenge.try_into().ok()?;
        Some(Self::MsChap2 {
            ident: *ident,
            challenge: challenge_hash(peer, challenge, user),
            response: response.try_into().ok()?,
        })
    }

    /// The method, for policies and the audit.
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Chap { .. } => "chap",
            Self::MsChap { .. } => "mschap",
            Self::MsChap2 { .. } => "mschapv2",
        }
    }

    /// Whether the response was made with this password.
    pub fn is_of(&self, password: &str) -> bool {
        match self {
            Self::Chap {
                ident,
                challenge,
                response,
            } => {
                let digest = Md5::new()
                    .chain_update([*ident])
                    .chain_update(password)
                    .chain_update(challenge)
                    .finalize();
                digest.as_slice().ct_eq(response.as_slice()).into()
            }
            Self::MsChap {
                challenge,
                response,
                ..
            }
            | Self::MsChap2 {
                challenge,
                response,
                ..
            } => {
                let hash = nt_password_hash(password);
                challenge_response(*challenge, &hash).ct_eq(response).into()
            }
        }
    }

    /// What goes with an accept of this password.
    pub fn success(&self, password: &str) -> Success {
        match self {
            Self::Chap { .. } => Success {
                proof: None,
                keys: None,
            },
            Self::MsChap { .. } => {
                // The LAN Manager part stays empty: its use is forbidden.
                let mut keys = Zeroizing::new([0; 32]);
                let hash_hash = Md4::digest(*nt_password_hash(password));
                let places = keys.iter_mut().skip(8);
                places.zip(hash_hash).for_each(|(to, from)| *to = from);
                Success {
                    proof: None,
                    keys: Some(MppeKeys::Shared(keys)),
                }
            }
            Self::MsChap2 {
                challenge,
                response,
                ..
            } => {
                let hash = nt_password_hash(password);
                let proof = authenticator_response(&hash, response, *challenge);
                let master = master_key(&hash, response);
                Success {
                    proof: Some(format!("S={}", data_encoding::HEXUPPER.encode(&proof))),
                    keys: Some(MppeKeys::Pair {
                        send: start_key(&master, SERVER_SENDS),
                        receive: start_key(&master, CLIENT_SENDS),
                    }),
                }
            }
        }
    }
}

/// `NtPasswordHash`.
pub fn nt_password_hash(password: &str) -> Zeroizing<[u8; 16]> {
    let mut hash = Md4::new();
    for unit in password.encode_utf16() {
        hash.update(unit.to_le_bytes());
    }
    Zeroizing::new(hash.finalize().into())
}

/// `ChallengeHash`. A `DOMAIN\` in front of the name does not count.
pub fn challenge_hash(peer: &[u8; 16], authenticator: &[u8; 16], user: &[u8]) -> [u8; 8] {
    let name = user.rsplit(|octet| *octet == b'\\').next();
    let hash = Sha1::new()
        .chain_update(peer)
        .chain_update(authenticator)
        .chain_update(name.unwrap_or(user))
        .finalize();
    first(&hash)
}

/// `ChallengeResponse`: the challenge under three DES keys made of the hash and five zeros.
pub fn challenge_response(challenge: [u8; 8], hash: &[u8; 16]) -> [u8; 24] {
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
pub fn authenticator_response(
    hash: &[u8; 16],
    response: &[u8; 24],
    challenge: [u8; 8],
) -> [u8; 20] {
    let digest = Sha1::new()
        .chain_update(Md4::digest(hash))
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

/// `GetMasterKey` (RFC 3079 s3.4).
fn master_key(hash: &[u8; 16], response: &[u8; 24]) -> Zeroizing<[u8; 16]> {
    let digest = Sha1::new()
        .chain_update(Md4::digest(hash))
        .chain_update(response)
        .chain_update(b"This is the MPPE Master Key")
        .finalize();
    Zeroizing::new(first(&digest))
}

/// `GetAsymmetricStartKey` for 128 bits (RFC 3079 s3.4).
fn start_key(master: &[u8; 16], direction: &[u8]) -> Zeroizing<[u8; 16]> {
    let digest = Sha1::new()
        .chain_update(master)
        .chain_update([0; 40])
        .chain_update(direction)
        .chain_update([0xf2; 40])
        .finalize();
    Zeroizing::new(first(&digest))
}

/// The first octets of a digest.
fn first<const N: usize>(digest: &[u8]) -> [u8; N] {
    let mut octets = [0; N];
    octets
        .iter_mut()
        .zip(digest)
        .for_each(|(to, from)| *to = *from);
    octets
}

/// RFC 2548 s2.1.3: the NT-Response is the one to look at.
const NT_RESPONSE: u8 = 1;
const CLIENT_SENDS: &[u8] =
    b"On the client side, this is the send key; on the server side, it is the receive key.";
const SERVER_SENDS: &[u8] =
    b"On the client side, this is the receive key; on the server side, it is the send key.";

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        let octets = data_encoding::HEXUPPER.decode(text.as_bytes()).unwrap();
        octets.try_into().unwrap()
    }

    fn rfc2759(user: &[u8]) -> Response {
        let mut value = vec![7, 0];
        value.extend(hex::<16>("21402324255E262A28295F2B3A337C7E"));
        value.extend([0; 8]);
        value.extend(hex::<24>(
            "82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF",
        ));
        let challenge: [u8; 16] = hex("5B5D7C7D7B3F2F3E3C2C602132262628");
        Response::ms_chap2(&value, &challenge, user).unwrap()
    }

    #[test]
    fn rfc2759_section_9_2() {
        assert_eq!(
            *nt_password_hash("clientPass"),
            hex("44EBBA8D5312B8D611474411F56989AE")
        );
        for user in [&b"User"[..], b"DOMAIN\\User"] {
            let response = rfc2759(user);
            assert!(response.is_of("clientPass"));
            assert!(!response.is_of("clientpass"));
            let success = response.success("clientPass");
            assert_eq!(
                success.proof.unwrap(),
                "S=407A5589115FD0D6209F510FE9C04566932CDA56"
            );
        }
        assert!(!rfc2759(b"Other").is_of("clientPass"));
    }

    #[test]
    fn rfc3079_section_3_5_3() {
        let response = rfc2759(b"User");
        let Response::MsChap2 { response: nt, .. } = &response else {
            panic!()
        };
        let master = master_key(&nt_password_hash("clientPass"), nt);
        assert_eq!(*master, hex("FDECE3717A8C838CB388E527AE3CDD31"));
        let Some(MppeKeys::Pair { send, receive }) = response.success("clientPass").keys else {
            panic!()
        };
        assert_eq!(*send, hex("8B7CDC149B993A1BA118CB153F56DCCB"));
        assert_ne!(*send, *receive);
    }

    /// RFC 2433 B.2 has no vector with an NT-Response of its own; the octets are of RFC 2759's functions.
    #[test]
    fn ms_chap_is_the_same_of_a_shorter_challenge() {
        let challenge = hex::<8>("D02E4386BCE91226");
        let mut value = vec![3, 1];
        value.extend([0; 24]);
        value.extend(hex::<24>(
            "82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF",
        ));
        let response = Response::ms_chap(&value, &challenge).unwrap();
        assert!(response.is_of("clientPass"));
        let Some(MppeKeys::Shared(keys)) = response.success("clientPass").keys else {
            panic!()
        };
        // RFC 2759 s9.2: the hash of the hash.
        assert_eq!(keys[8..24], hex::<16>("41C00C584BD2D91C4017A2A12FA59F3F"));
        assert_eq!((&keys[..8], &keys[24..]), (&[0; 8][..], &[0; 8][..]));
        // By the LAN Manager hash alone.
        value[1] = 0;
        assert_eq!(Response::ms_chap(&value, &challenge), None);
    }

    #[test]
    fn chap_hashes_ident_password_and_challenge() {
        let digest: [u8; 16] = Md5::digest(b"\x01755224challenge").into();
        let value = [&[1], digest.as_slice()].concat();
        let response = Response::chap(&value, b"challenge").unwrap();
        assert!(response.is_of("755224"));
        assert!(!response.is_of("755225"));
        for length in [0, 1, 16, 18] {
            assert_eq!(Response::chap(&vec![0; length], b"challenge"), None);
        }
    }

    #[test]
    fn odd_lengths_are_no_responses() {
        for length in [0, 1, 2, 25, 49, 51] {
            let value = vec![1; length];
            assert_eq!(Response::ms_chap(&value, &[0; 8]), None, "{length}");
            assert_eq!(Response::ms_chap2(&value, &[0; 16], b"u"), None, "{length}");
        }
        assert_eq!(Response::ms_chap(&[1; 50], &[0; 7]), None);
        assert_eq!(Response::ms_chap2(&[1; 50], &[0; 8], b"u"), None);
    }
}
