//! The device protocol and its signatures.

pub(crate) mod devices;
mod limits;
mod signature_oracle;
mod signature_vectors;
mod totp;
