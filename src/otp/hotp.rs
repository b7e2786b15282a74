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

use subtle::{Choice, ConstantTimeEq};

use crate::otp::mac::Mac;
use crate::otp::{Algorithm, Code, Digits, Matches};
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

/// The codes that [`find`] looks at.
pub fn codes(
    key: &OtpKey,
    algorithm: Algorithm,
    digits: Digits,
    from: u64,
    look_ahead: u32,
) -> impl Iterator<Item = Code> {
    let mac = Mac::new(key, algorithm);
    reach(from, look_ahead).map(move |counter| mac.code(counter, digits))
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
            found = Some(counter); // the loop goes on: its length must not reveal the counter
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::otp::tests::key;

    const SHA1: Algorithm = Algorithm::Sha1;
    const SIX: Digits = Digits::SIX;

    fn code(counter: u64) -> Code {
        generate(&key(20), SHA1, SIX, counter)
    }

    fn found(code: &Code, from: u64, look_ahead: u32) -> Vec<u64> {
        find(&key(20), SHA1, SIX, code, from, look_ahead)
            .iter()
            .collect()
    }

    #[test]
    fn looks_ahead_and_never_back() {
        assert_eq!(found(&code(9), 10, 5), [0_u64; 0]);
        assert_eq!(found(&code(10), 10, 5), [10]);
        assert_eq!(found(&code(15), 10, 5), [15]);
        assert_eq!(found(&code(16), 10, 5), [0_u64; 0]);
        assert_eq!(found(&code(10), 10, 0), [10]);
    }

    #[test]
    fn the_search_is_bounded() {
        let last = u64::from(MAX_REACH);
        assert_eq!(found(&code(last), 0, u32::MAX), [last]);
        assert_eq!(found(&code(last + 1), 0, u32::MAX), [0_u64; 0]);
    }

    #[test]
    fn the_last_counter_never_matches() {
        assert_eq!(found(&code(u64::MAX), u64::MAX, 5), [0_u64; 0]);
        assert_eq!(found(&code(u64::MAX), u64::MAX - 3, 5), [0_u64; 0]);
        assert_eq!(found(&code(u64::MAX - 1), u64::MAX - 3, 5), [u64::MAX - 1]);
    }

    #[test]
    fn digits_must_be_the_tokens() {
        let eight = generate(&key(20), SHA1, Digits::EIGHT, 10);
        assert!(find(&key(20), SHA1, SIX, &eight, 10, 5).is_empty());
        assert_eq!(resync(&key(20), SHA1, SIX, &code(10), &eight, 10, 5), None);
    }

    #[test]
    fn resync_takes_two_neighbours_in_order() {
        let resync =
            |first, second| resync(&key(20), SHA1, SIX, &code(first), &code(second), 100, 50);
        assert_eq!(resync(100, 101), Some(101));
        assert_eq!(resync(149, 150), Some(150));
        assert_eq!(resync(150, 151), None);
        assert_eq!(resync(99, 100), None);
        assert_eq!(resync(120, 122), None);
        assert_eq!(resync(121, 120), None);
        assert_eq!(resync(120, 120), None);
    }

    proptest! {
        #[test]
        fn finds_what_a_naive_search_finds(
            from in any::<u64>(), ahead in 0_u32..20, distance in 0_u64..30, length in 10_u8..=128
        ) {
            let key = key(length);
            let wanted = generate(&key, SHA1, SIX, from.saturating_add(distance));
            let naive: Vec<u64> = (0..=u64::from(ahead))
                .filter_map(|n| from.checked_add(n))
                .filter(|c| *c != u64::MAX && generate(&key, SHA1, SIX, *c) == wanted)
                .collect();
            let found: Vec<u64> = find(&key, SHA1, SIX, &wanted, from, ahead).iter().collect();
            prop_assert_eq!(found, naive);
        }
    }
}
