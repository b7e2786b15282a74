//! Counter-based codes: HOTP.
//!
//! Sources: RFC 4226 s5.3 (generation), s7.2 (look-ahead), s7.4 (resynchronisation).
//!
//! The counter of the prover runs ahead when codes are made and not used. The verifier therefore
//! looks at the next counter and some after it, never before: what lies behind is consumed.
//!
//! Invariants: counter `u64::MAX` never matches, so the next counter of a matched one exists and
//! "consumed" can always be expressed. A search computes at most [`MAX_REACH`] + 1 codes.
//!
//! Threat: each counter of the window is one more code that a guess may hit; keep `look_ahead`
//! low (RFC 4226 s7.2) and use [`resync`] for the rest.

use subtle::Choice;
use subtle::ConstantTimeEq;

use crate::otp::Algorithm;
use crate::otp::Code;
use crate::otp::Digits;
use crate::otp::Matches;
use crate::otp::mac::Mac;
use crate::secret::OtpKey;

/// The code of one counter (RFC 4226 s5.3).
pub fn generate(key: &OtpKey, algorithm: Algorithm, digits: Digits, counter: u64) -> Code {
    Mac::new(key, algorithm).code(counter, digits)
}

/// The counters in `from..=from + look_ahead` whose code is `code` (RFC 4226 s7.2). `from` is the
/// next counter: the one after the last consumed. A code of another length than `digits` matches
/// nothing. `look_ahead` above [`MAX_REACH`] is cut to it.
pub fn find(
    key: &OtpKey,
    algorithm: Algorithm,
    digits: Digits,
    code: &Code,
    from: u64,
    look_ahead: u32,
) -> Matches {
    let mac = Mac::new(key, algorithm);
    Matches::among(
        code,
        reach(from, look_ahead).map(|counter| (counter, mac.code(counter, digits))),
    )
}

/// The counter of the second of two consecutive codes, both inside `from..=from + within`
/// (RFC 4226 s7.4); `None` when no two neighbours show them. Of several pairs the lowest counts.
/// `within` above [`MAX_REACH`] is cut to it.
///
/// The caller consumes the answer like any other step (`LinOTP` CVE-2019-12887: replay through
/// resynchronisation).
pub fn resync(
    key: &OtpKey,
    algorithm: Algorithm,
    digits: Digits,
    first: &Code,
    second: &Code,
    from: u64,
    within: u32,
) -> Option<u64> {
    let mac = Mac::new(key, algorithm);
    let mut before_is_first = Choice::from(0);
    let mut found = None;
    for counter in reach(from, within) {
        let candidate = mac.code(counter, digits);
        let pair = before_is_first & candidate.ct_eq(second);
        if pair.into() && found.is_none() {
            found = Some(counter); // the loop goes on: its length must not tell the counter
        }
        before_is_first = candidate.ct_eq(first);
    }
    found
}

/// The counters of a search, without the very last one.
fn reach(from: u64, ahead: u32) -> impl Iterator<Item = u64> {
    let end = from
        .saturating_add(u64::from(ahead.min(MAX_REACH)))
        .min(u64::MAX - 1);
    from..=end
}

/// Most counters looked at beyond the first, whatever is asked: a slip in the configuration must
/// not let one guess cost seconds or hit thousands of codes.
pub const MAX_REACH: u32 = 1000;
