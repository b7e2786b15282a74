//! What the shared secret proves: Request Authenticator, Response Authenticator and
//! Message-Authenticator.
//!
//! Sources: RFC 2865 s3 (Response Authenticator), RFC 2866 s3 (accounting Request Authenticator),
//! RFC 3579 s3.2 (Message-Authenticator), RFC 5997 s3 (Status-Server).
//!
//! Invariants: everything is computed over the packet without padding; every comparison takes the
//! same time wherever the first difference is; at most one Message-Authenticator counts, wherever
//! it sits.
//!
//! Threats: MD5 by itself is broken (CVE-2024-3596 forges a Response Authenticator); HMAC-MD5, the
//! Message-Authenticator, is not. What is proven here decides what may be cached and revealed.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::radius::Discard;
use crate::radius::attribute::Type;
use crate::radius::packet::{HEADER, Packet};
use crate::secret::SharedSecret;

/// Unpredictable in Access-Request and Status-Server (RFC 2865 s3), a digest in accounting.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct RequestAuthenticator(pub [u8; 16]);

/// Binds a reply to its request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ResponseAuthenticator(pub [u8; 16]);

impl Packet<'_> {
    /// The authenticator, of a packet that is a request.
    pub const fn request_authenticator(&self) -> RequestAuthenticator {
        RequestAuthenticator(*self.authenticator)
    }

    /// The authenticator, of a packet that is a reply.
    pub const fn response_authenticator(&self) -> ResponseAuthenticator {
        ResponseAuthenticator(*self.authenticator)
    }
}

/// Whether a packet that passed carried a valid Message-Authenticator.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signature {
    /// One, and it is right.
    Valid,
    /// None: what else proves the packet is for the caller to weigh.
    Absent,
}

/// A shared secret with what can be computed from it ahead of time, once per client.
#[derive(Clone)]
pub struct SecretKeys {
    secret: SharedSecret,
    /// HMAC-MD5 after its key block: saves two of the four compressions per signature.
    hmac: Hmac<Md5>,
    /// MD5 after the secret, for RFC 2865 s5.2.
    prefix: Md5,
}

impl SecretKeys {
    /// Prepares a secret for use.
    pub fn new(secret: SharedSecret) -> Self {
        Self {
            hmac: Hmac::new((&*key_block(secret.expose())).into()),
            prefix: Md5::new_with_prefix(secret.expose()),
            secret,
        }
    }

    /// The secret itself.
    pub const fn secret(&self) -> &SharedSecret {
        &self.secret
    }

    /// HMAC-MD5 of the parts in order.
    pub(crate) fn sign(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut hmac = self.hmac.clone();
        for part in parts {
            hmac.update(part);
        }
        hmac.finalize().into_bytes().into()
    }

    /// MD5 of the parts in order, then the secret.
    pub(crate) fn digest(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut md5 = Md5::new();
        for part in parts {
            md5.update(part);
        }
        md5.update(self.secret.expose());
        md5.finalize().into()
    }

    /// MD5 of the secret, then the block: the mask of RFC 2865 s5.2.
    pub(crate) fn mask(&self, block: &[u8]) -> [u8; 16] {
        self.prefix.clone().chain_update(block).finalize().into()
    }
}

impl fmt::Debug for SecretKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKeys([redacted])")
    }
}

/// RFC 2104 s2: a key longer than the block is hashed, a shorter one is padded with zeros.
fn key_block(secret: &[u8]) -> Zeroizing<[u8; 64]> {
    let mut block = Zeroizing::new([0; 64]);
    let hashed: [u8; 16];
    let key = if secret.len() > block.len() {
        hashed = Md5::digest(secret).into();
        &hashed
    } else {
        secret
    };
    block
        .iter_mut()
        .zip(key)
        .for_each(|(octet, key)| *octet = *key);
    block
}

/// Checks the Message-Authenticator as computed with `authenticator` in the header: the packet's
/// own in Access-Request and Status-Server, zeros in Accounting-Request, the request's in a reply.
///
/// # Errors
/// `DuplicateMessageAuthenticator`, `BadMessageAuthenticator` (wrong, or not 16 octets).
pub fn verify_message_authenticator(
    packet: &Packet<'_>,
    keys: &SecretKeys,
    authenticator: &[u8; 16],
) -> Result<Signature, Discard> {
    let Some(place) = locate(packet)? else {
        return Ok(Signature::Absent);
    };
    let expected = keys.sign(&[
        place.header,
        authenticator,
        place.before,
        &[0; 16],
        place.after,
    ]);
    if expected.ct_eq(place.value).into() {
        Ok(Signature::Valid)
    } else {
        Err(Discard::BadMessageAuthenticator)
    }
}

/// The packet cut at its Message-Authenticator.
struct Place<'a> {
    /// Code, Identifier, Length.
    header: &'a [u8],
    /// From the first attribute to the Length octet of the Message-Authenticator.
    before: &'a [u8],
    value: &'a [u8; 16],
    after: &'a [u8],
}

fn locate<'a>(packet: &Packet<'a>) -> Result<Option<Place<'a>>, Discard> {
    let mut found = None;
    let mut attributes = packet.attributes.iter();
    while let Some(attribute) = attributes.next() {
        if attribute.r#type == Type::MessageAuthenticator
            && found
                .replace((attribute.value, attributes.remaining()))
                .is_some()
        {
            // RFC 3579 s3.3 allows 0-1; with two, verifier and user could look at different ones.
            return Err(Discard::DuplicateMessageAuthenticator);
        }
    }
    let Some((value, after)) = found else {
        return Ok(None);
    };
    let cut = || {
        let all = packet.attributes.octets();
        let (rest, after) = all.split_at_checked(all.len().checked_sub(after)?)?;
        let (before, value) = rest.split_at_checked(rest.len().checked_sub(value.len())?)?;
        Some(Place {
            header: packet.octets().get(..4)?,
            before,
            value: value.try_into().ok()?,
            after,
        })
    };
    cut().map(Some).ok_or(Discard::BadMessageAuthenticator)
}

/// MD5(Code + Identifier + Length + Request Authenticator + Attributes + Secret), RFC 2865 s3.
pub fn response_authenticator(
    reply: &Packet<'_>,
    request: &RequestAuthenticator,
    keys: &SecretKeys,
) -> ResponseAuthenticator {
    ResponseAuthenticator(digest_with(reply, &request.0, keys))
}

/// Checks the Response Authenticator of a reply.
///
/// # Errors
/// `BadResponseAuthenticator`.
pub fn verify_response_authenticator(
    reply: &Packet<'_>,
    request: &RequestAuthenticator,
    keys: &SecretKeys,
) -> Result<(), Discard> {
    let expected = response_authenticator(reply, request, keys);
    if expected.0.ct_eq(reply.authenticator).into() {
        Ok(())
    } else {
        Err(Discard::BadResponseAuthenticator)
    }
}

/// Checks the Request Authenticator of an Accounting-Request (RFC 2866 s3); CoA and Disconnect
/// are computed alike (RFC 5176 s2.3).
///
/// # Errors
/// `BadRequestAuthenticator`.
pub fn verify_request_authenticator(
    request: &Packet<'_>,
    keys: &SecretKeys,
) -> Result<(), Discard> {
    let expected = digest_with(request, &[0; 16], keys);
    if expected.ct_eq(request.authenticator).into() {
        Ok(())
    } else {
        Err(Discard::BadRequestAuthenticator)
    }
}

fn digest_with(packet: &Packet<'_>, authenticator: &[u8; 16], keys: &SecretKeys) -> [u8; 16] {
    let header = packet.octets().get(..HEADER - 16).unwrap_or_default();
    keys.digest(&[header, authenticator, packet.attributes.octets()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretBytes;

    fn keys(secret: &[u8]) -> SecretKeys {
        SecretKeys::new(SharedSecret::new(SecretBytes::from(secret)).unwrap())
    }

    #[test]
    fn rfc2202_hmac_md5_long_and_short_keys() {
        let long =
            keys(&[0xaa; 80]).sign(&[b"Test Using Larger Than Block-Size Key - Hash Key First"]);
        assert_eq!(
            u128::from_be_bytes(long),
            0x6b1a_b7fe_4bd7_bf8f_0b62_e6ce_61b9_d0cd
        );
        let short = keys(b"Jefe").sign(&[b"what do ya want ", b"for nothing?"]);
        assert_eq!(
            u128::from_be_bytes(short),
            0x750c_783e_6ab0_b503_eaa8_6e31_0a5d_b738
        );
    }

    /// An Access-Request whose attributes are signed where the zeros are.
    fn signed(attributes: &[u8], at: usize) -> Vec<u8> {
        let mut octets = vec![1, 1, 0, 0];
        octets.extend([7; 16]);
        octets.extend(attributes);
        let length = u16::try_from(octets.len()).unwrap().to_be_bytes();
        octets.splice(2..4, length);
        let signature = keys(b"secret").sign(&[&octets]);
        octets.splice(20 + at..20 + at + 16, signature);
        octets
    }

    fn verify(datagram: &[u8]) -> Result<Signature, Discard> {
        let packet = Packet::parse(datagram).unwrap();
        verify_message_authenticator(&packet, &keys(b"secret"), packet.authenticator)
    }

    const ZERO: [u8; 18] = [80, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    #[test]
    fn found_wherever_it_sits_and_without_padding() {
        let user = [1, 3, b'x'];
        for (attributes, at) in [
            (ZERO.to_vec(), 2),
            ([&ZERO[..], &user].concat(), 2),
            ([&user[..], &ZERO].concat(), 5),
            ([&user[..], &ZERO, &user].concat(), 5),
        ] {
            let mut datagram = signed(&attributes, at);
            assert_eq!(verify(&datagram), Ok(Signature::Valid));
            datagram.extend([0; 9]);
            assert_eq!(verify(&datagram), Ok(Signature::Valid), "padded");
        }
    }

    #[test]
    fn every_changed_octet_is_noticed() {
        let datagram = signed(&[&ZERO[..], &[1, 3, b'x']].concat(), 2);
        for at in (4..20).chain(22..38).chain(40..41) {
            let mut forged = datagram.clone();
            *forged.get_mut(at).unwrap() ^= 1;
            assert_eq!(
                verify(&forged),
                Err(Discard::BadMessageAuthenticator),
                "octet {at}"
            );
        }
    }

    #[test]
    fn two_or_odd_sized_ones_are_refused() {
        let two = signed(&[ZERO, ZERO].concat(), 2);
        assert_eq!(verify(&two), Err(Discard::DuplicateMessageAuthenticator));
        for size in [2, 17, 19] {
            let mut attribute = vec![80, size];
            attribute.resize(usize::from(size), 0);
            let mut octets = vec![1, 1, 0, 20 + size];
            octets.extend([7; 16]);
            octets.extend(attribute);
            assert_eq!(
                verify(&octets),
                Err(Discard::BadMessageAuthenticator),
                "{size}"
            );
        }
    }

    #[test]
    fn debug_is_redacted() {
        assert_eq!(format!("{:?}", keys(b"hunter2")), "SecretKeys([redacted])");
    }
}
