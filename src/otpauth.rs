//! `otpauth://` URIs and base32: how a key travels to an authenticator and from another system.
//!
//! Sources: the Key Uri Format of the Google Authenticator project; RFC 4648 s6 (base32);
//! RFC 3986 s2 (percent-encoding).
//!
//! ```text
//! otpauth://totp/ISSUER:ACCOUNT?secret=BASE32&issuer=ISSUER&algorithm=SHA1&digits=6&period=30
//! otpauth://hotp/ISSUER:ACCOUNT?secret=BASE32&issuer=ISSUER&algorithm=SHA1&digits=6&counter=0
//! ```
//!
//! We write one form, strictly: every parameter is present, also where it is the default, because
//! authenticators differ in what they assume. We read what is found in the wild: any case, spaces
//! and dashes in secrets, padding, `HmacSHA256`, missing parameters, unknown parameters.
//!
//! The writer is ours for both kinds: `totp-rs` knows no HOTP and drops parameters that equal its
//! defaults. It is the oracle in the tests.
//!
//! Invariants: parsing what was written gives the same value. A value out of range is an error
//! and not a default. Errors name the place, never the content: the URI *is* the secret.

pub mod enrol;

use std::fmt::Write as _;
use std::str::FromStr as _;

use zeroize::Zeroizing;

use crate::otp::{Algorithm, Digits, Period};
use crate::secret::{OtpKey, SecretBytes, SecretString};
use crate::wire::percent_encode;

/// A token as an authenticator is told about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OtpAuth {
    /// What the authenticator shows.
    pub label: Label,
    /// The key.
    pub key: OtpKey,
    /// The hash function.
    pub algorithm: Algorithm,
    /// The length of the codes.
    pub digits: Digits,
    /// Time or counter.
    pub moving_factor: MovingFactor,
}

/// What changes from code to code.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MovingFactor {
    /// `hotp`: the counter of the next code.
    Counter(u64),
    /// `totp`: the time step of this length.
    Time(Period),
}

/// The two texts an authenticator shows above the code.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Label {
    issuer: Option<String>,
    account: String,
}

impl Label {
    /// Any texts. The format separates the two by a colon and has no escape for it, so a colon
    /// inside one becomes `_`; so do control characters. An issuer without letters is none.
    pub fn new(issuer: Option<&str>, account: &str) -> Self {
        let clean = |text: &str| {
            text.trim()
                .replace(|c: char| c == ':' || c.is_control(), "_")
        };
        let issuer = issuer.map(clean).filter(|issuer| !issuer.is_empty());
        Self {
            issuer,
            account: clean(account),
        }
    }

    /// Who issued the token: the organisation.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// Whose token it is: the user.
    pub fn account(&self) -> &str {
        &self.account
    }
}

impl OtpAuth {
    /// The URI, for a QR code.
    pub fn to_uri(&self) -> SecretString {
        let (kind, factor, value) = match self.moving_factor {
            MovingFactor::Counter(counter) => ("hotp", "counter", counter),
            MovingFactor::Time(period) => ("totp", "period", u64::from(period.as_secs())),
        };
        let issuer = self.label.issuer.as_deref().map(escape);
        let account = escape(&self.label.account);
        let algorithm = self.algorithm.as_str().to_ascii_uppercase();
        let secret = encode_base32(self.key.expose());
        // Room for all of it: a buffer that grows leaves copies of the secret behind.
        let names = 2 * issuer.as_ref().map_or(0, String::len) + account.len();
        let mut uri = String::with_capacity(names + secret.expose().len() + 128);
        uri.push_str("otpauth://");
        uri.push_str(kind);
        uri.push('/');
        if let Some(issuer) = &issuer {
            uri.push_str(issuer);
            uri.push(':');
        }
        uri.push_str(&account);
        uri.push_str("?secret=");
        uri.push_str(secret.expose());
        if let Some(issuer) = &issuer {
            uri.push_str("&issuer=");
            uri.push_str(issuer);
        }
        // Writing to a String cannot fail.
        let _ = write!(
            uri,
            "&algorithm={algorithm}&digits={}&{factor}={value}",
            self.digits
        );
        SecretString::new(uri)
    }

    /// Reads a URI of any producer.
    pub fn parse(uri: &str) -> Result<Self, InvalidOtpAuth> {
        if uri.len() > MAX_URI {
            return Err(InvalidOtpAuth::TooLong);
        }
        let rest = after_scheme(uri.trim()).ok_or(InvalidOtpAuth::Scheme)?;
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (kind, label) = path.split_once('/').unwrap_or((path, ""));
        let query = Query::parse(query)?;

        let issuer = query.get("issuer")?;
        let label = parse_label(label, issuer.as_ref().map(|issuer| issuer.as_str()))?;
        let secret = query.get("secret")?.ok_or(InvalidOtpAuth::NoSecret)?;
        let key = decode_base32(&secret).map_err(InvalidOtpAuth::Secret)?;
        let key = OtpKey::new(key).ok_or(InvalidOtpAuth::KeyLength)?;
        let algorithm = match query.get("algorithm")? {
            Some(name) => parse_algorithm(&name).ok_or(InvalidOtpAuth::Algorithm)?,
            None => Algorithm::default(),
        };
        let digits = match query.number("digits")? {
            Some(digits) => u8::try_from(digits).ok().and_then(Digits::new),
            None => Some(Digits::default()),
        };
        let digits = digits.ok_or(InvalidOtpAuth::Digits)?;
        let moving_factor = if kind.eq_ignore_ascii_case("totp") {
            let period = match query.number("period")? {
                Some(secs) => u16::try_from(secs).ok().and_then(Period::new),
                None => Some(Period::default()),
            };
            MovingFactor::Time(period.ok_or(InvalidOtpAuth::Period)?)
        } else if kind.eq_ignore_ascii_case("hotp") {
            MovingFactor::Counter(query.number("counter")?.unwrap_or(0))
        } else {
            return Err(InvalidOtpAuth::Kind);
        };
        Ok(Self {
            label,
            key,
            algorithm,
            digits,
            moving_factor,
        })
    }
}

/// Why a text is not a URI we can use. Says where, never what.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidOtpAuth {
    /// A hash function other than the three.
    #[error("algorithm: must be SHA1, SHA256 or SHA512")]
    Algorithm,
    /// Out of range.
    #[error("digits: must be 6 to 9")]
    Digits,
    /// One parameter given twice: which one another reader takes cannot be known.
    #[error("a parameter is given twice")]
    Duplicate,
    /// A `%` without two hexadecimal digits, or octets that are not UTF-8.
    #[error("the percent-encoding is broken")]
    Escape,
    /// A key we refuse.
    #[error("secret: must be 10 to 128 octets (80 to 1024 bits) long")]
    KeyLength,
    /// Neither `totp` nor `hotp`.
    #[error("must start with otpauth://totp/ or otpauth://hotp/")]
    Kind,
    /// No `secret` parameter.
    #[error("secret: missing")]
    NoSecret,
    /// A number that is not a number.
    #[error("digits, period and counter must be whole numbers")]
    Number,
    /// Out of range.
    #[error("period: must be 15 to 300 seconds")]
    Period,
    /// Not `otpauth://`.
    #[error("must start with otpauth://")]
    Scheme,
    /// Not base32.
    #[error("secret: {0}")]
    Secret(InvalidBase32),
    /// Longer than any QR code.
    #[error("longer than 4096 octets")]
    TooLong,
}

/// Base32 in upper case without padding (RFC 4648 s6), as authenticators want it.
pub fn encode_base32(octets: &[u8]) -> SecretString {
    let mut text = String::with_capacity(octets.len().div_ceil(5) * 8);
    for chunk in octets.chunks(5) {
        let bits = chunk
            .iter()
            .fold(0_u64, |bits, octet| bits << 8 | u64::from(*octet));
        let bits = bits << (8 * (5 - chunk.len()));
        for place in 0..(chunk.len() * 8).div_ceil(5) {
            let symbol = usize::try_from(bits >> (35 - 5 * place) & 31).unwrap_or_default();
            text.extend(ALPHABET.get(symbol).copied().map(char::from));
        }
    }
    SecretString::new(text)
}

/// Reads base32 as people copy it: any case, spaces, dashes, with or without padding. Unused bits
/// at the end are dropped, as authenticators do.
pub fn decode_base32(text: &str) -> Result<SecretBytes, InvalidBase32> {
    // Allocated once: a vector that grows leaves copies of the secret behind.
    let mut octets = Zeroizing::new(Vec::with_capacity(text.len() * 5 / 8 + 1));
    let (mut bits, mut pending, mut symbols) = (0_u32, 0_u32, 0_usize);
    let mut padded = false;
    for (index, c) in text.chars().enumerate() {
        let position = index + 1;
        if c.is_whitespace() || c == '-' {
            continue;
        }
        if c == '=' {
            padded = true;
            continue;
        }
        if padded {
            return Err(InvalidBase32::AfterPadding { position });
        }
        let value = symbol_value(c).ok_or(InvalidBase32::Character { position })?;
        bits = bits << 5 | value;
        pending += 5;
        symbols += 1;
        if pending >= 8 {
            pending -= 8;
            octets.extend((bits >> pending).to_le_bytes().first());
            bits &= (1 << pending) - 1;
        }
    }
    match symbols % 8 {
        1 | 3 | 6 => Err(InvalidBase32::Length),
        _ => Ok(SecretBytes::new(std::mem::take(&mut octets))),
    }
}

/// Why a text is not base32. Positions count characters from 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidBase32 {
    /// A symbol behind the `=`.
    #[error("character {position} follows the padding")]
    AfterPadding {
        /// Which character.
        position: usize,
    },
    /// Not in the alphabet.
    #[error("character {position} is not base32 (A-Z and 2-7)")]
    Character {
        /// Which character.
        position: usize,
    },
    /// A number of symbols that whole octets cannot give: something was not copied.
    #[error("a character is missing or too many")]
    Length,
}

/// The value of one symbol, in either case.
fn symbol_value(c: char) -> Option<u32> {
    match c.to_ascii_uppercase() {
        upper @ 'A'..='Z' => Some(u32::from(upper) - u32::from('A')),
        digit @ '2'..='7' => Some(u32::from(digit) - u32::from('2') + 26),
        _ => None,
    }
}

/// What follows `otpauth://`, in any case.
fn after_scheme(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once("://")?;
    scheme.eq_ignore_ascii_case("otpauth").then_some(rest)
}

/// Splits at the first colon, plain or escaped, before anything is unescaped: unescaping first
/// would unescape the account twice. The `issuer` parameter wins over the prefix.
fn parse_label(raw: &str, issuer: Option<&str>) -> Result<Label, InvalidOtpAuth> {
    let colon = [":", "%3A", "%3a"]
        .iter()
        .filter_map(|colon| raw.split_once(colon));
    let (prefix, account) = match colon.min_by_key(|(prefix, _)| prefix.len()) {
        Some((prefix, account)) => (Some(unescape(prefix, Plus::Literal)?), account),
        None => (None, raw),
    };
    let account = unescape(account, Plus::Literal)?;
    let prefix = prefix.as_ref().map(|prefix| prefix.as_str());
    Ok(Label::new(issuer.or(prefix), &account))
}

/// `SHA1`, `sha-256`, `HmacSHA512`, `HMAC_SHA1`.
fn parse_algorithm(name: &str) -> Option<Algorithm> {
    let name = name.to_ascii_lowercase().replace(['-', '_'], "");
    Algorithm::from_str(name.strip_prefix("hmac").unwrap_or(&name)).ok()
}

/// The parameters, unescaped; names in lower case.
struct Query(Vec<(String, Zeroizing<String>)>);

impl Query {
    fn parse(raw: &str) -> Result<Self, InvalidOtpAuth> {
        let pairs = raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = unescape(name, Plus::Space)?.to_ascii_lowercase();
            Ok((name, unescape(value, Plus::Space)?))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    fn get(&self, name: &str) -> Result<Option<Zeroizing<String>>, InvalidOtpAuth> {
        let mut values = self.0.iter().filter(|(known, _)| known == name);
        match (values.next(), values.next()) {
            (found, None) => Ok(found.map(|(_, value)| value.clone())),
            (_, Some(_)) => Err(InvalidOtpAuth::Duplicate),
        }
    }

    fn number(&self, name: &str) -> Result<Option<u64>, InvalidOtpAuth> {
        let Some(text) = self.get(name)? else {
            return Ok(None);
        };
        let digits_only = text.bytes().all(|octet| octet.is_ascii_digit()); // no `+6`
        let number = text.parse().ok().filter(|_| digits_only);
        number.map(Some).ok_or(InvalidOtpAuth::Number)
    }
}

/// What a `+` means: a space in parameters (form encoding, as many producers do), itself in paths.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Plus {
    Literal,
    Space,
}

/// Resolves `%XX` once.
fn unescape(raw: &str, plus: Plus) -> Result<Zeroizing<String>, InvalidOtpAuth> {
    let mut octets = Zeroizing::new(Vec::with_capacity(raw.len()));
    let mut rest = raw.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'%' => {
                let mut nibble = || char::from(rest.next()?).to_digit(16);
                let high = nibble().ok_or(InvalidOtpAuth::Escape)?;
                let low = nibble().ok_or(InvalidOtpAuth::Escape)?;
                u8::try_from(high << 4 | low).map_err(|_| InvalidOtpAuth::Escape)?
            }
            b'+' if plus == Plus::Space => b' ',
            octet => octet,
        });
    }
    let text = str::from_utf8(&octets).map_err(|_| InvalidOtpAuth::Escape)?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() * 3);
    percent_encode(text, &mut escaped);
    escaped
}

/// RFC 4648 table 3.
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Longest URI that is looked at; the largest QR code holds less.
const MAX_URI: usize = 4096;

#[cfg(test)]
mod tests;
