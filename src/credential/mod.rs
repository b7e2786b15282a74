//! PINs and passwords: what may be one, how it is kept, and which are too easy.
//!
//! ```text
//! typed --Text::parse--> Text --check_pin--> Text --Hash::new--> stored text     (setting)
//! typed -----------------------------------------Hash::verify--> yes or no       (signing in)
//! another system's hash -------------------------Hash::import--> stored text     (moving in)
//! ```
//!
//! Sources: SP 800-63B s5.1.1.2 (lengths, normalisation, deny lists, no truncation), RFC 9106
//! (argon2), OWASP Password Storage Cheat Sheet (cost).
//!
//! Invariants:
//! - What was typed is normalised (NFKC) and otherwise left alone: nothing is trimmed, folded or
//!   cut off, so two different credentials never open the same door.
//! - A hash made here needs the pepper, a key that is not in the store: a stolen store alone is
//!   worth nothing, six digits or not. Stored texts say whether they need it.
//! - The work a hash may ask for is bounded when it is read, wherever it comes from.
//!
//! Limits: an imported hash is as strong as its maker made it, until its owner signs in once and
//! it is renewed. An attacker who has the pepper and the store can try all PINs.

// What a person types
pub mod text;
pub mod weak;

// What is stored
pub mod hash;
mod import;
mod scheme;

mod argon2id;
mod common;
#[cfg(test)]
mod tests;

pub use argon2id::{Cost, InvalidCost, Scratch, spend};
pub use hash::Hash;
pub use scheme::{ImportError, Scheme};
pub use text::{Form, Text, Unfit};
pub use weak::{Personal, Weak, check_password, check_pin};
