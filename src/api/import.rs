//! Many users and tokens at once.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::{in_clear, unless_null};
use crate::secret::{OtpKey, SecretString};

/// Users and tokens to be made: all of them, or none. At most 500 rows and 1 MiB.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    /// `users`: rows make users, with a token where they name one. `tokens`: rows make tokens of
    /// users who exist.
    pub make: String,
    /// What exists already: `fail` (default) refuses the batch, `skip` leaves it as it is.
    pub on_conflict: Option<String>,
    /// Whether nothing is to be made.
    #[serde(default, deserialize_with = "unless_null")]
    #[schema(nullable)]
    pub dry_run: bool,
    /// Whether a token of another user that has the key of a row, and makes the same codes, counts for the user of
    /// the row, too: one token, one counter. Without it such a row is refused.
    #[serde(default, deserialize_with = "unless_null")]
    #[schema(nullable)]
    pub link: bool,
    /// Several tokens of one new user are rows one after the other.
    pub rows: Vec<ImportRow>,
}

/// A user with or without a token, or a token.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportRow {
    /// `name`, `name@realm` or `DOMAIN\name`; empty for a token that goes into stock.
    pub user: String,
    /// Other names that lead to this user.
    #[serde(
        default,
        deserialize_with = "unless_null",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schema(nullable)]
    pub aliases: Vec<String>,
    /// Groups.
    #[serde(default, deserialize_with = "unless_null")]
    #[schema(nullable)]
    pub groups: Vec<String>,
    /// The name as people write it.
    pub display_name: Option<String>,
    /// Telephone number.
    pub phone: Option<String>,
    /// Mail address.
    pub email: Option<String>,
    /// Class, for policy rules.
    pub class: Option<String>,
    /// The key of the token in base 32; without it the row has no token. Of a yubikey 44 hexadecimal digits: its
    /// AES key, and behind it the private id.
    #[schema(value_type = Option<String>)]
    #[serde(serialize_with = "in_clear")]
    pub secret: Option<SecretString>,
    /// `totp` (default), `hotp` or `yubikey`. Imported tokens are active at once.
    pub kind: Option<String>,
    /// `sha1` (default), `sha256`, `sha512`.
    pub algorithm: Option<String>,
    /// 6 (default) to 9.
    pub digits: Option<u8>,
    /// Seconds per code: 15 to 300; 30 by default.
    pub period: Option<u16>,
    /// Next counter (HOTP); of a yubikey usage counter times 256 plus session use.
    pub counter: Option<u64>,
    /// Name of the token; generated when absent. Of a yubikey its public id in modhex.
    pub serial: Option<String>,
    /// Hash of the user's PIN in another system (bcrypt, PBKDF2, sha512-crypt, SSHA, argon2id). Who has a PIN keeps it.
    #[serde(
        default,
        serialize_with = "in_clear",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<String>)]
    pub pin_hash: Option<SecretString>,
    /// Hash of the user's password in another system. Who has a password keeps it.
    #[serde(
        default,
        serialize_with = "in_clear",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<String>)]
    pub password_hash: Option<SecretString>,
}

/// What came of an import.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct Imported {
    /// Users made.
    pub users: usize,
    /// Tokens made.
    pub tokens: usize,
    /// Tokens of others that count for users of the rows, too.
    #[serde(default)]
    pub linked: usize,
    /// Rows whose token is there as they describe it: of the same user, or in stock, with the same key and codes.
    #[serde(default)]
    pub there: usize,
    /// Rows left alone, because they exist.
    pub skipped: usize,
    /// Rows that cannot be made; while there is one, nothing of the batch is.
    pub refused: Vec<ImportRefusal>,
    /// What is weak about the tokens: how many keys have less than 112 bits, and where the first of them is.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// What is said of so many keys that are shorter than advised; `first` says where the first of them is.
pub fn weak_keys(count: usize, first: &str) -> String {
    let bits = 8 * OtpKey::ADVISED;
    format!(
        "keys of less than {bits} bits: {count}, the first of them in {first}; give their users new tokens when you can"
    )
}

/// Why a row cannot be made.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ImportRefusal {
    /// Its index in `rows`, from 0.
    pub row: usize,
    /// `exists` (the user, or a token of this serial: `on_conflict` `skip` leaves it), `conflict`, `malformed` or `not-found`.
    pub kind: String,
    /// What is wrong.
    pub detail: String,
}
