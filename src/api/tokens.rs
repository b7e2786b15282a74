//! Tokens.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::Lock;
use crate::secret::SecretString;

/// A token to be made.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenCreate {
    /// Whose: `name` or `name@realm`.
    pub user: String,
    /// `totp` or `hotp`.
    pub kind: String,
    /// `sha1` (default), `sha256`, `sha512`.
    pub algorithm: Option<String>,
    /// 6 (default) to 9.
    pub digits: Option<u8>,
    /// Seconds per code: 15 to 300; 30 by default.
    pub period: Option<u16>,
    /// Key in base 32; generated when absent.
    #[schema(value_type = Option<String>)]
    pub secret: Option<SecretString>,
    /// First counter (HOTP).
    pub counter: Option<u64>,
    /// Active at once, without a first right code.
    #[serde(default)]
    pub active: bool,
    /// Name; generated when absent.
    pub serial: Option<String>,
}

/// A token.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Token {
    /// Its name.
    pub serial: String,
    /// Canonical `name@realm` of its user.
    pub user: String,
    /// What makes its codes.
    pub kind: String,
    /// Where it stands in its life.
    pub state: String,
    /// Hash function.
    pub algorithm: String,
    /// Length of its codes.
    pub digits: u8,
    /// Seconds per code; absent for counters.
    pub period: Option<u16>,
    /// Last used step or counter.
    pub last_step: Option<u64>,
    /// How far its clock is from ours, in steps; absent for counters.
    pub drift: Option<i32>,
    /// Failures attributable to it, and its lock.
    pub lock: Lock,
    /// When a code of it was last accepted.
    pub last_accept: Option<String>,
    /// When the record was made.
    pub created: String,
    /// What `If-Match` compares.
    pub revision: u64,
}

/// A token just made, with its key: the only time it is shown.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct TokenCreated {
    /// The token.
    #[serde(flatten)]
    pub token: Token,
    /// The key in base 32.
    pub secret: String,
    /// For authenticator apps.
    pub otpauth_uri: String,
    /// What is weak about it.
    pub warnings: Vec<String>,
}

/// A code for `confirm`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    /// The code that the token shows.
    #[schema(value_type = String)]
    pub otp: SecretString,
}

/// Two consecutive codes for `resync`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Resync {
    /// The first.
    #[schema(value_type = String)]
    pub first: SecretString,
    /// The next.
    #[schema(value_type = String)]
    pub second: SecretString,
}

/// A page of tokens.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Tokens {
    /// In order of user and serial.
    pub tokens: Vec<Token>,
    /// `after` of the next page; absent on the last.
    pub next: Option<String>,
}

/// The present code of a demonstration token; served in `quickstart` directories only.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct DemoCode {
    /// The token.
    pub serial: String,
    /// Its code.
    pub code: String,
    /// Whether it is used up already.
    pub used: bool,
    /// Seconds until the next one.
    pub next_in: u64,
}
