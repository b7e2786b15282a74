//! HTTP requests signed by a device's key: who sends this request, unchanged, now, once?
//!
//! Sources: RFC 9421 (HTTP Message Signatures), RFC 9530 (Content-Digest), RFC 8941 (structured
//! fields), RFC 7638 and RFC 8037 (JWK thumbprint), RFC 8032 (Ed25519), FIPS 186-5 and RFC 6979
//! (ECDSA P-256), RFC 8410 and RFC 5480 (keys in DER), RFC 9110 s4.2.3 (authority).
//!
//! The way of a request through the server; the caller keeps keys and nonces:
//!
//! ```text
//! verify::claimed(headers)       the signature and the keyid it names      else Malformed, ..
//!        (load the device's PublicKey by that keyid; unknown: refuse)
//!        (read the body)
//! Claimed::verify(request, key, now, requirements)      -> Verified        else TooOld, ..
//!        (store Verified::nonce for this keyid until Verified::until; already there: refuse)
//! ```
//!
//! The device calls [`sign::sign`] and adds the fields it returns. A request so signed, `@authority`
//! and `content-type` covered besides, byte for byte, by the key of RFC 8032 s7.1 test 1 with the
//! octets 0 to 15 as nonce; a line that begins with two spaces continues the one before it, without
//! them:
//!
//! ```text
//! POST /v1/device/requests/42/approve?lang=ko HTTP/1.1
//! Host: otp.example.com
//! Content-Type: application/json
//! Content-Digest: sha-256=:2Ac2y5aAArMzudvTSTddtCOkLDgVWHmPirupYMQaWGI=:
//! Signature-Input: oncegate=("@method" "@authority" "@path" "@query" "content-digest"
//!    "content-type");created=1618884473;keyid="kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
//!   ;nonce="AAECAwQFBgcICQoLDA0ODw";alg="ed25519";tag="oncegate"
//! Signature: oncegate=:5SJOaWCpA8Goplz1whMAX+qxy4jYXtWAePgV4b+U2L99NS6AwSXl5b4Jd7dFnB1c
//!   zRs+rc26xXnrHhsPQUr6Cg==:
//!
//! {"approve":true}
//! ```
//!
//! The body is those 16 octets, without a line feed. What is signed, the signature base (RFC 9421
//! s2.5); it does not end with a line feed:
//!
//! ```text
//! "@method": POST
//! "@authority": otp.example.com
//! "@path": /v1/device/requests/42/approve
//! "@query": ?lang=ko
//! "content-digest": sha-256=:2Ac2y5aAArMzudvTSTddtCOkLDgVWHmPirupYMQaWGI=:
//! "content-type": application/json
//! "@signature-params": ("@method" "@authority" "@path" "@query" "content-digest" "content-type")
//!   ;created=1618884473;keyid="kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
//!   ;nonce="AAECAwQFBgcICQoLDA0ODw";alg="ed25519";tag="oncegate"
//! ```
//!
//! `keyid` is the thumbprint of the public key, so a keyid cannot be chosen and two devices with
//! the same one have the same key.
//!
//! Invariants: no input panics. What is verified is built again from the request that arrived,
//! never from what the sender says it is. One signature is used, the one labelled `oncegate`, or
//! the only one. This module remembers nothing: a replay is refused by the caller, who keeps each
//! nonce until [`verify::Verified::until`]; after that the signature is too old.
//!
//! Threats: a captured request replayed, redirected to another path, or sent with another body; a
//! part of a request moved into another part with the same text of both; a key of small order
//! that accepts any message; two encodings of one key; fields written twice and read differently.
//!
//! Limits: `@scheme`, `@request-target`, `@query-param`, `@status` and parameters of components
//! (`;sf`, `;bs`, `;key`, `;req`, `;tr`) are refused, not ignored. `@query` is `?` for a request
//! with an empty query and for one without any (RFC 9421 s2.2.7); `@target-uri` tells them apart.

// Octets <-> keys
pub mod key;

// Text <-> types
pub mod digest;
mod fields;
pub mod request;

// Both ends
pub mod sign;
pub mod verify;

use std::fmt;

/// The label of our signature in `Signature-Input` and `Signature`.
pub const LABEL: &str = "oncegate";

/// The `tag` of our signatures (RFC 9421 s2.3): not made for another application.
pub const TAG: &str = "oncegate";

/// One line per reason: variant, audit word, sentence.
macro_rules! errors {
    ($($name:ident $word:literal $sentence:literal;)*) => {
        /// Why a signed request is not believed. All are the sender's fault; the sender may be
        /// told, since nothing here depends on a secret.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum SignatureError {
            $(#[doc = $sentence] $name,)*
        }

        impl SignatureError {
            /// Every reason, in the order in which a request meets them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Stable word for audit, metric labels and problem documents.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            const fn sentence(self) -> &'static str {
                match self {
                    $(Self::$name => $sentence,)*
                }
            }
        }
    };
}

errors! {
    Missing "signature_missing"
        "The request has no Signature-Input or no Signature; sign it as RFC 9421 says.";
    Malformed "signature_malformed"
        "Signature-Input, Signature, Content-Digest or a covered part of the request is malformed.";
    Unsupported "signature_unsupported"
        "The signature covers a component, or has a parameter, that is not supported here.";
    WrongTag "signature_tag"
        "The signature's tag names another application.";
    WrongAlgorithm "signature_algorithm"
        "The signature's alg is not that of the key; use ed25519 or ecdsa-p256-sha256.";
    MissingParameter "signature_parameter"
        "The signature lacks created, keyid or nonce.";
    MissingComponent "signature_component"
        "The signature does not cover @method, @path, @query, content-digest or a field that it \
         must, or covers one that the request does not have.";
    TooOld "signature_too_old"
        "The signature was made too long ago or has expired; check the clock and sign again.";
    TooNew "signature_too_new"
        "The signature was made in the future; check the clock.";
    DigestMismatch "digest_mismatch"
        "No sha-256 or sha-512 Content-Digest is given, or one does not match the body.";
    WrongKey "signature_key"
        "The signature names another key than the one it is verified with.";
    BadSignature "signature_bad"
        "The signature is wrong: the request was changed or another key signed it.";
}

/// The sentence, for people.
impl fmt::Display for SignatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl std::error::Error for SignatureError {}

#[cfg(test)]
mod tests;
