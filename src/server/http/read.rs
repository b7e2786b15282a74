//! Words of requests, read strictly: each complaint says which field, and what is expected.

use crate::model::user_key::UserKey;
use crate::otp::Typed;
use crate::secret::SecretString;
use crate::server::http::App;
use crate::server::http::error::Failure;
use crate::time::UnixTime;

/// A user.
pub(crate) fn user_key(text: &str) -> Result<UserKey, Failure> {
    UserKey::parse(text).map_err(|error| Failure::malformed(format!("user: {error}")))
}

/// A user by name or alias, for administrators.
pub(crate) fn user_named(app: &App, text: &str) -> Result<UserKey, Failure> {
    Ok(app.core().store().named(user_key(text)?)?)
}

/// One word of a list.
pub(crate) fn word<T: std::str::FromStr>(
    field: &str,
    text: &str,
    words: &str,
) -> Result<T, Failure> {
    text.parse()
        .map_err(|_| Failure::malformed(format!("{field}: one of {words}")))
}

/// A time (RFC 3339).
pub(crate) fn time(field: &str, text: &str) -> Result<UnixTime, Failure> {
    let wanted = "a time as 2026-01-31T08:00:00Z (RFC 3339)";
    UnixTime::parse_rfc3339(text).ok_or_else(|| Failure::malformed(format!("{field}: {wanted}")))
}

/// A code of a token that makes its codes itself.
pub(crate) fn code(field: &str, text: &SecretString) -> Result<Typed, Failure> {
    let tidy = text.without_blanks();
    Typed::parse(tidy.as_ref().unwrap_or(text).expose())
        .map_err(|_| Failure::malformed(format!("{field}: a code has 6 to 9 ASCII digits")))
}

/// How many records a page shall have.
pub(crate) fn limit(wanted: Option<usize>) -> Result<usize, Failure> {
    match wanted.unwrap_or(PAGE) {
        limit @ 1..=PAGE_MAX => Ok(limit),
        _ => Err(Failure::malformed("limit: 1 to 1000")),
    }
}

/// A page, and where the next one begins. `found` has one record more than the page where there are more.
pub(crate) fn page<T, N>(
    mut found: Vec<T>,
    limit: usize,
    name: impl FnOnce(&T) -> N,
) -> (Vec<T>, Option<N>) {
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(name);
    (found, next)
}

pub(crate) const KINDS: &str = "totp, hotp, server, sms, email, voice, card, recovery, yubikey";
pub(crate) const STATES: &str =
    "requested, approved, pending, active, suspended, revoked, expired, unassigned";
/// Records on a page when the caller does not say.
const PAGE: usize = 100;
/// Most records on a page: an answer of some 500 KiB.
const PAGE_MAX: usize = 1000;
