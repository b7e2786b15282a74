//! Keys of devices: the public one the server stores, the secret one the device keeps.
//!
//! Sources: RFC 9421 s3.3.4 and s3.3.6 (algorithms), RFC 8032 (Ed25519), RFC 6979 (ECDSA without
//! random numbers), SEC1 s2.3 (points), RFC 5480 and RFC 8410 (DER), RFC 7468 (PEM), RFC 7638 and
//! RFC 8037 s2 (thumbprint).
//!
//! Invariants: a [`PublicKey`] is a point of the large prime-order group in its one encoding, so
//! equal keys have equal octets and equal thumbprints. A [`SigningKey`] cannot be printed,
//! compared or copied, and is overwritten when dropped.
//!
//! Threats: an Ed25519 key of small order, for which one signature fits any message; the same key
//! under two names. Deviation: ECDSA signatures with a large `s` are accepted, since the keystores
//! of phones make them; a second signature over the same nonce gains nothing.

use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::pkcs8::KeypairBytes;
use p256::ecdsa::signature::{Signer as _, Verifier as _};
use p256::pkcs8::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use p256::pkcs8::{
    AssociatedOid as _, Document, EncodePrivateKey as _, EncodePublicKey as _, LineEnding,
    PrivateKeyInfoRef, SecretDocument,
};
use sha2::{Digest as _, Sha256};

use crate::secret::{Key256, SecretString};
use crate::signature::SignatureError;

/// How a key signs.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum KeyAlgorithm {
    /// `EdDSA` on edwards25519.
    Ed25519,
    /// ECDSA on P-256 with SHA-256.
    EcdsaP256,
}

impl KeyAlgorithm {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Ed25519, Self::EcdsaP256];

    /// The name in the registry of RFC 9421 s6.2.2.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256 => "ecdsa-p256-sha256",
        }
    }
}

/// The algorithm with a given name.
impl std::str::FromStr for KeyAlgorithm {
    type Err = KeyError;

    fn from_str(name: &str) -> Result<Self, KeyError> {
        let named = |algorithm: &Self| algorithm.as_str() == name;
        Self::ALL.into_iter().find(named).ok_or(KeyError::Algorithm)
    }
}

/// The algorithm of a key in DER (RFC 8410 s3, RFC 5480 s2.1.1).
fn algorithm(of: &AlgorithmIdentifierRef<'_>) -> Result<KeyAlgorithm, KeyError> {
    match of.oids() {
        Ok((ed25519_dalek::pkcs8::ALGORITHM_OID, None)) if of.parameters.is_none() => {
            Ok(KeyAlgorithm::Ed25519)
        }
        Ok((p256::elliptic_curve::ALGORITHM_OID, Some(p256::NistP256::OID))) => {
            Ok(KeyAlgorithm::EcdsaP256)
        }
        _ => Err(KeyError::Algorithm),
    }
}

/// Why octets or text are no key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyError {
    /// Another algorithm, or none that is known.
    #[error("not an Ed25519 or P-256 key; make one of these")]
    Algorithm,
    /// Not in the form it should be in.
    #[error("the key is malformed; give it as it was made, all of it")]
    Malformed,
    /// Not a point, or a scalar, that is safe to use.
    #[error("the key is not a point of the curve or is weak; make a new key")]
    Invalid,
}

/// The key that verifies a device's signatures.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublicKey(Public);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Public {
    Ed25519(ed25519_dalek::VerifyingKey),
    EcdsaP256(p256::ecdsa::VerifyingKey),
}

impl PublicKey {
    /// Reads 32 octets (RFC 8032 s5.1.5), or a SEC1 point of 65 octets, or of 33 when compressed.
    ///
    /// # Errors
    /// `Malformed` for another length or kind of point, `Invalid` for octets that are no point of
    /// the curve or one outside its prime-order group.
    pub fn parse(algorithm: KeyAlgorithm, octets: &[u8]) -> Result<Self, KeyError> {
        match algorithm {
            KeyAlgorithm::Ed25519 => {
                let octets = octets.try_into().map_err(|_| KeyError::Malformed)?;
                let key = ed25519_dalek::VerifyingKey::from_bytes(octets);
                Self::sound(key.map_err(|_| KeyError::Invalid)?)
            }
            KeyAlgorithm::EcdsaP256 => {
                if !matches!(
                    (octets.len(), octets.first()),
                    (65, Some(4)) | (33, Some(2 | 3))
                ) {
                    return Err(KeyError::Malformed);
                }
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(octets);
                Ok(Self(Public::EcdsaP256(key.map_err(|_| KeyError::Invalid)?)))
            }
        }
    }

    /// Reads the octets of [`Self::parse`] from base64url without padding.
    ///
    /// # Errors
    /// Those of [`Self::parse`]; `Malformed` for text that is not base64url.
    pub fn parse_base64url(algorithm: KeyAlgorithm, text: &str) -> Result<Self, KeyError> {
        let octets = BASE64URL_NOPAD.decode(text.as_bytes());
        Self::parse(algorithm, &octets.map_err(|_| KeyError::Malformed)?)
    }

    /// Reads a `SubjectPublicKeyInfo` in DER. The curve must be named, not described.
    ///
    /// # Errors
    /// Those of [`Self::parse`]; `Algorithm` when it is another kind of key.
    pub fn parse_der(octets: &[u8]) -> Result<Self, KeyError> {
        let info = SubjectPublicKeyInfoRef::try_from(octets).map_err(|_| KeyError::Malformed)?;
        let algorithm = algorithm(&info.algorithm)?;
        let octets = info.subject_public_key.as_bytes();
        Self::parse(algorithm, octets.ok_or(KeyError::Malformed)?)
    }

    /// Reads a `PUBLIC KEY` block in PEM, with nothing after it.
    ///
    /// # Errors
    /// Those of [`Self::parse_der`].
    pub fn parse_pem(text: &str) -> Result<Self, KeyError> {
        let (label, document) = Document::from_pem(text).map_err(|_| KeyError::Malformed)?;
        if label != "PUBLIC KEY" {
            return Err(KeyError::Algorithm);
        }
        Self::parse_der(document.as_bytes())
    }

    /// The decoder accepts any point. In the prime-order group every point has one encoding: the
    /// 26 that write `y` plus the field's prime (RFC 8032 s5.1.3 forbids it) are outside of it.
    fn sound(key: ed25519_dalek::VerifyingKey) -> Result<Self, KeyError> {
        (!key.is_weak() && key.to_edwards().is_torsion_free())
            .then_some(Self(Public::Ed25519(key)))
            .ok_or(KeyError::Invalid)
    }

    /// How it signs.
    pub const fn algorithm(&self) -> KeyAlgorithm {
        match self.0 {
            Public::Ed25519(_) => KeyAlgorithm::Ed25519,
            Public::EcdsaP256(_) => KeyAlgorithm::EcdsaP256,
        }
    }

    /// The octets that [`Self::parse`] reads: 32, or 65 of an uncompressed point.
    pub fn encode(&self) -> Vec<u8> {
        match &self.0 {
            Public::Ed25519(key) => key.to_bytes().to_vec(),
            Public::EcdsaP256(key) => key.to_sec1_point(false).as_bytes().to_vec(),
        }
    }

    /// [`Self::encode`] in base64url without padding: 43 or 87 characters.
    pub fn base64url(&self) -> String {
        BASE64URL_NOPAD.encode(&self.encode())
    }

    /// `SubjectPublicKeyInfo` in DER.
    ///
    /// # Errors
    /// `Malformed` when it cannot be written, which the library does not rule out by type.
    pub fn der(&self) -> Result<Vec<u8>, KeyError> {
        let document = match &self.0 {
            Public::Ed25519(key) => key.to_public_key_der(),
            Public::EcdsaP256(key) => key.to_public_key_der(),
        };
        document
            .map(|document| document.as_bytes().to_vec())
            .map_err(|_| KeyError::Malformed)
    }

    /// `SubjectPublicKeyInfo` in PEM.
    ///
    /// # Errors
    /// As [`Self::der`].
    pub fn pem(&self) -> Result<String, KeyError> {
        match &self.0 {
            Public::Ed25519(key) => key.to_public_key_pem(LineEnding::LF),
            Public::EcdsaP256(key) => key.to_public_key_pem(LineEnding::LF),
        }
        .map_err(|_| KeyError::Malformed)
    }

    /// The key's name, `keyid`: SHA-256 of its JWK's required members (RFC 7638 s3) in base64url,
    /// 43 characters.
    pub fn thumbprint(&self) -> String {
        let octets = self.encode();
        let jwk = match self.0 {
            Public::Ed25519(_) => {
                let x = BASE64URL_NOPAD.encode(&octets);
                format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)
            }
            Public::EcdsaP256(_) => {
                // The first octet says that both coordinates follow.
                let (x, y) = octets.split_at_checked(33).unwrap_or_default();
                let x = BASE64URL_NOPAD.encode(x.get(1..).unwrap_or_default());
                let y = BASE64URL_NOPAD.encode(y);
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
        };
        BASE64URL_NOPAD.encode(&Sha256::digest(jwk))
    }

    /// Verifies a signature of 64 octets: R and S (RFC 8032 s5.1.6), or r and s (RFC 9421 s3.3.4).
    ///
    /// # Errors
    /// `BadSignature`, whatever is wrong with it.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        match &self.0 {
            Public::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .and_then(|signature| key.verify_strict(message, &signature)),
            Public::EcdsaP256(key) => p256::ecdsa::Signature::from_slice(signature)
                .and_then(|signature| key.verify(message, &signature)),
        }
        .map_err(|_| SignatureError::BadSignature)
    }
}

/// The key that signs; only the device has it.
pub struct SigningKey(Secret);

enum Secret {
    Ed25519(ed25519_dalek::SigningKey),
    EcdsaP256(p256::ecdsa::SigningKey),
}

impl SigningKey {
    /// The key made of 256 unpredictable bits.
    ///
    /// # Errors
    /// `Invalid` when they are no scalar of P-256, once in 2^32: draw again.
    pub fn from_random(algorithm: KeyAlgorithm, random: &Key256) -> Result<Self, KeyError> {
        Ok(Self(match algorithm {
            KeyAlgorithm::Ed25519 => {
                Secret::Ed25519(ed25519_dalek::SigningKey::from_bytes(random.expose()))
            }
            KeyAlgorithm::EcdsaP256 => Secret::EcdsaP256(
                p256::ecdsa::SigningKey::from_slice(random.expose())
                    .map_err(|_| KeyError::Invalid)?,
            ),
        }))
    }

    /// Reads a `PRIVATE KEY` block in PEM (PKCS#8, RFC 5958), with nothing after it. A public key
    /// that is in it, too, must be the right one.
    ///
    /// # Errors
    /// `Malformed` when it is no such block, `Algorithm` when it is another kind of key, `Invalid`
    /// when the secret key is out of range or the public one another's.
    pub fn parse_pem(text: &SecretString) -> Result<Self, KeyError> {
        let (label, document) =
            SecretDocument::from_pem(text.expose()).map_err(|_| KeyError::Malformed)?;
        if label != "PRIVATE KEY" {
            return Err(KeyError::Algorithm);
        }
        let info = PrivateKeyInfoRef::try_from(document.as_bytes());
        let info = info.map_err(|_| KeyError::Malformed)?;
        let key = match algorithm(&info.algorithm)? {
            KeyAlgorithm::Ed25519 => info.try_into().map(Secret::Ed25519),
            KeyAlgorithm::EcdsaP256 => info.try_into().map(Secret::EcdsaP256),
        };
        key.map(Self).map_err(|_| KeyError::Invalid)
    }

    /// PKCS#8 in PEM, for a file that only its owner can read.
    ///
    /// # Errors
    /// `Malformed` when it cannot be written, which the library does not rule out by type.
    pub fn pem(&self) -> Result<SecretString, KeyError> {
        let text = match &self.0 {
            Secret::Ed25519(key) => {
                // Without the public key: older readers know version 1 only (RFC 5208).
                let mut pair = KeypairBytes {
                    secret_key: key.to_bytes(),
                    public_key: None,
                };
                let text = pair.to_pkcs8_pem(LineEnding::LF);
                zeroize::Zeroize::zeroize(&mut pair.secret_key);
                text
            }
            Secret::EcdsaP256(key) => key.to_pkcs8_pem(LineEnding::LF),
        };
        text.map(|text| SecretString::from(text.as_str()))
            .map_err(|_| KeyError::Malformed)
    }

    /// The key that verifies what this one signs.
    pub fn public(&self) -> PublicKey {
        PublicKey(match &self.0 {
            Secret::Ed25519(key) => Public::Ed25519(key.verifying_key()),
            Secret::EcdsaP256(key) => Public::EcdsaP256(*key.verifying_key()),
        })
    }

    /// Signs a message; the same message gives the same 64 octets.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        match &self.0 {
            Secret::Ed25519(key) => key.sign(message).to_bytes(),
            Secret::EcdsaP256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_bytes().into()
            }
        }
    }
}
