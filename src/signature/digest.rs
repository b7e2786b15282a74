//! The digest of a body, in the field `Content-Digest`.
//!
//! Source: RFC 9530 s2 (the field), s5 (algorithms). The body is the content as it is sent; we
//! know no content coding.
//!
//! Deviation: every digest of an algorithm we know must match, not only one (RFC 9530 s6.1 leaves
//! it open). Digests of other algorithms, among them the broken ones, prove nothing and are
//! ignored. Digests are not secret: they are compared as they are.

use data_encoding::BASE64;
use sha2::{Digest as _, Sha256, Sha512};

use crate::signature::fields::{Bare, Member};
use crate::signature::{SignatureError, fields};

/// The name of the field, as it is covered by a signature.
pub const FIELD: &str = "content-digest";

/// The field's value for a body: `sha-256=:...:`.
pub fn of(body: &[u8]) -> String {
    format!("sha-256=:{}:", BASE64.encode(&Sha256::digest(body)))
}

/// Checks a body against the field's value.
///
/// # Errors
/// `Malformed` when the value is no dictionary or a known digest no octets, `DigestMismatch` when
/// no known digest is given or one does not match.
pub fn check(value: &str, body: &[u8]) -> Result<(), SignatureError> {
    let members = fields::dictionary(value.as_bytes()).ok_or(SignatureError::Malformed)?;
    let mut known = false;
    for (algorithm, member) in members {
        let computed = match algorithm.as_str() {
            "sha-256" => Sha256::digest(body).to_vec(),
            "sha-512" => Sha512::digest(body).to_vec(),
            _ => continue,
        };
        let Member::Item(item) = member else {
            return Err(SignatureError::Malformed);
        };
        let Bare::Octets(given) = item.value else {
            return Err(SignatureError::Malformed);
        };
        if given != computed {
            return Err(SignatureError::DigestMismatch);
        }
        known = true;
    }
    known.then_some(()).ok_or(SignatureError::DigestMismatch)
}
