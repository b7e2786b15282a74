//! One-time password verifiers: given a key and a code, which steps does the code belong to?
//!
//! A verifier here is a pure function. It names the steps (HOTP counters, TOTP time steps) whose
//! code equals what was typed; it does not decide. Whether a step may still be used is the
//! store's business: a step is accepted when it lies after the last consumed one *and* that
//! consumption became durable (contract s8). Hence [`Matches::first_after`], and hence no
//! `verify` returning a boolean: a yes without a step to consume cannot be expressed.
//!
//! Sources: RFC 4226 (HOTP) with erratum 5792 (at most 9 digits), RFC 6238 (TOTP), SP 800-63B
//! (throttling, single use).
//!
//! Invariants:
//! - A [`Code`] is exactly 6 to 9 ASCII digits. Nothing is trimmed, converted or padded, so one
//!   code has one spelling (CVE-2025-6014: a used code accepted again with a space).
//! - All candidates of a window are computed and compared in constant time, always: the time taken
//!   tells neither how near a guess was nor which step matched.
//! - Every search is bounded by a constant, whatever the configuration says.
//!
//! Limits: the verifier holds the same key as the prover; who reads the key makes codes.

pub mod ahead;
pub mod card;
pub mod hotp;
pub mod issued;
pub mod normal;
pub mod recovery;
pub mod throttle;
pub mod totp;
pub mod yubikey;

mod mac;

use std::fmt;

use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroize;

use crate::secret::SecretString;

/// A code as typed or generated: 6 to 9 decimal digits (RFC 4226 s5.3), leading zeros included.
///
/// Secret: no `Display`, redacted `Debug`, overwritten on drop, compared in constant time.
#[derive(Clone)]
pub struct Code {
    value: u32,
    digits: Digits,
}

impl Code {
    /// Parses what a person typed. Exactly 6 to 9 ASCII digits; no spaces, signs, separators or
    /// other scripts' digits.
    pub fn parse(text: &str) -> Result<Self, MalformedCode> {
        let digits = u8::try_from(text.len())
            .ok()
            .and_then(Digits::new)
            .ok_or(MalformedCode)?;
        let value = text.bytes().try_fold(0_u32, |value, octet| {
            // At most nine digits: no overflow.
            octet
                .is_ascii_digit()
                .then(|| value * 10 + u32::from(octet - b'0'))
        });
        value
            .map(|value| Self { value, digits })
            .ok_or(MalformedCode)
    }

    /// The code that shows `value`, zeros in front; `None` when it needs more digits. For codes
    /// the server issues itself (the caller draws `value` uniformly below `digits.modulus()`).
    pub fn from_value(value: u32, digits: Digits) -> Option<Self> {
        (value < digits.modulus()).then_some(Self { value, digits })
    }

    /// The last `digits` decimal digits of a truncated HMAC (RFC 4226 s5.3 step 3).
    fn of_truncated(number: u32, digits: Digits) -> Self {
        Self {
            value: number % digits.modulus(),
            digits,
        }
    }

    /// How many digits it has.
    pub const fn digits(&self) -> Digits {
        self.digits
    }

    /// The number its digits show, as secret as the code; [`Code::from_value`] gives the code back.
    pub const fn value(&self) -> u32 {
        self.value
    }

    /// The digits as text; equal to what [`Code::parse`] accepted.
    pub fn expose(&self) -> SecretString {
        let width = usize::from(self.digits.get());
        SecretString::new(format!("{:0width$}", self.value))
    }
}

impl ConstantTimeEq for Code {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.value.ct_eq(&other.value) & self.digits.get().ct_eq(&other.digits.get())
    }
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for Code {}

impl Drop for Code {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What was typed cannot be a code, whatever the token.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a code is 6 to 9 digits (0-9) and nothing else")]
pub struct MalformedCode;

/// A code as a person types it, or a key does.
#[derive(Clone, Debug)]
pub enum Typed {
    /// Decimal digits.
    Digits(Code),
    /// A Yubico OTP.
    Yubikey(SecretString),
}

impl Typed {
    /// Parses what was typed: 6 to 9 ASCII digits, or what has the form of a Yubico OTP.
    pub fn parse(text: &str) -> Result<Self, MalformedCode> {
        if yubikey::is_otp(text) {
            return Ok(Self::Yubikey(text.into()));
        }
        Code::parse(text).map(Self::Digits)
    }

    /// The code, if it is digits.
    pub const fn digits(&self) -> Option<&Code> {
        match self {
            Self::Digits(code) => Some(code),
            Self::Yubikey(_) => None,
        }
    }
}

/// Number of digits of a token's codes (RFC 4226 Digit): 6 to 9.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Digits(u8);

impl Digits {
    /// Fewest digits (RFC 4226 R4).
    pub const MIN: Self = Self(6);
    /// Six digits, the default: what every authenticator app can show.
    pub const SIX: Self = Self(6);
    /// Seven digits: the answer of a security card.
    pub const SEVEN: Self = Self(7);
    /// Eight digits: a hundred times fewer lucky guesses.
    pub const EIGHT: Self = Self(8);
    /// Most digits: the truncated value has 31 bits, a tenth digit would only be 0, 1 or 2
    /// (RFC 4226 erratum 5792).
    pub const MAX: Self = Self(9);

    /// `None` outside 6..=9.
    pub const fn new(digits: u8) -> Option<Self> {
        if digits >= Self::MIN.0 && digits <= Self::MAX.0 {
            Some(Self(digits))
        } else {
            None
        }
    }

    /// The number, 6..=9.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// How many different codes there are: ten to the power of the digits.
    pub const fn modulus(self) -> u32 {
        10_u32.pow(self.0 as u32)
    }
}

impl Default for Digits {
    fn default() -> Self {
        Self::SIX
    }
}

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Length of a time step (RFC 6238 X): 15 to 300 whole seconds.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Period(u16);

impl Period {
    /// Shortest: below this no user reads and types in time.
    pub const MIN: Self = Self(15);
    /// What RFC 6238 s5.2 recommends, and the default.
    pub const THIRTY: Self = Self(30);
    /// Longest: a code read over a shoulder must go stale before it is of use.
    pub const MAX: Self = Self(300);

    /// From seconds; `None` outside 15..=300.
    pub const fn new(secs: u16) -> Option<Self> {
        if secs >= Self::MIN.0 && secs <= Self::MAX.0 {
            Some(Self(secs))
        } else {
            None
        }
    }

    /// Seconds, 15..=300.
    pub const fn as_secs(self) -> u16 {
        self.0
    }
}

impl Default for Period {
    fn default() -> Self {
        Self::THIRTY
    }
}

words! {
    /// Hash function under the HMAC (RFC 6238 s1.2); written `sha1`, `sha256`, `sha512`.
    #[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
    pub enum Algorithm {
        /// HMAC-SHA-1, the default of every authenticator. Collisions do not touch HMAC
        /// (RFC 4226 appendix B.2).
        #[default]
        Sha1 = "sha1",
        /// HMAC-SHA-256.
        Sha256 = "sha256",
        /// HMAC-SHA-512.
        Sha512 = "sha512",
    }
}

/// The steps whose code equals the one that was typed, ascending. Nearly always none or one.
///
/// More than one happens (about once in 10^6 per candidate): all are kept, because the first may
/// already be consumed and the typed code may honestly be the second.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Matches(Vec<u64>);

impl Matches {
    /// Compares each candidate with the typed code; never stops early.
    fn among(code: &Code, candidates: impl Iterator<Item = (u64, Code)>) -> Self {
        let mut steps = Vec::new(); // no memory is taken until something matches
        for (step, candidate) in candidates {
            if candidate.ct_eq(code).into() {
                steps.push(step);
            }
        }
        Self(steps)
    }

    /// The first matching step after the last consumed one; the first of all when none was ever
    /// consumed. This is the only step that may be accepted (RFC 6238 s5.2).
    pub fn first_after(&self, last: Option<u64>) -> Option<u64> {
        self.iter()
            .find(|step| last.is_none_or(|last| *step > last))
    }

    /// Adds a step that was compared outside the window.
    pub fn insert(&mut self, step: u64) {
        if let Err(place) = self.0.binary_search(&step) {
            self.0.insert(place, step);
        }
    }

    /// Whether this step's code is the one that was typed.
    pub fn contains(&self, step: u64) -> bool {
        self.0.contains(&step)
    }

    /// Whether the code is wrong for every step of the window.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The matching steps, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests;
