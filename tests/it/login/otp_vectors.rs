//! The standards' own examples, and the exact edges of windows.

use oncegate::otp::totp::{Drift, Parameters, TimeStep, Window};
use oncegate::otp::{Algorithm, Code, Digits, Period, hotp, totp};
use oncegate::secret::{OtpKey, SecretBytes};
use oncegate::time::UnixTime;

use crate::support::vectors;

fn key(hex: &str) -> OtpKey {
    OtpKey::new(SecretBytes::new(vectors::hex(hex))).expect("10 to 128 octets")
}

fn rfc_key() -> OtpKey {
    OtpKey::new(SecretBytes::from(&b"12345678901234567890"[..])).expect("20 octets")
}

#[test]
fn rfc4226_appendix_d() {
    let rows = vectors::load::<5>("rfc4226-d.txt", "hotp-truncation");
    assert_eq!(rows.len(), 10);
    for [hex, algorithm, counter, truncated, code] in rows {
        let (key, algorithm) = (key(&hex), algorithm.parse().expect("an algorithm"));
        let (counter, truncated): (u64, u32) = (
            counter.parse().expect("a counter"),
            truncated.parse().expect("31 bits"),
        );
        assert_eq!(
            hotp::generate(&key, algorithm, Digits::SIX, counter)
                .expose()
                .expose(),
            code
        );
        for digits in (6..=9).filter_map(Digits::new) {
            let expected = Code::from_value(truncated % digits.modulus(), digits).expect("fits");
            assert_eq!(hotp::generate(&key, algorithm, digits, counter), expected);
            let found = hotp::find(&key, algorithm, digits, &expected, counter, 0);
            assert_eq!(found.first_after(None), Some(counter));
        }
    }
}

#[test]
fn rfc6238_appendix_b() {
    let rows = vectors::load::<4>("rfc6238-b.txt", "totp-code");
    assert_eq!(rows.len(), 18);
    for [secs, algorithm, code, hex] in rows {
        let parameters = Parameters {
            algorithm: algorithm.parse().expect("an algorithm"),
            digits: Digits::EIGHT,
            period: Period::THIRTY,
        };
        let now = UnixTime::from_secs(secs.parse().expect("seconds"));
        let step = TimeStep::at(now, parameters.period);
        let typed = Code::parse(&code).expect("eight digits");
        let key = key(&hex);
        assert_eq!(
            totp::generate(&key, parameters, step),
            typed,
            "{secs} {algorithm}"
        );
        let strict = Window { back: 0, ahead: 0 };
        let found = totp::find(&key, parameters, &typed, now, Drift::default(), strict);
        assert_eq!(found.first_after(None), Some(step.get()));
        assert_eq!(found.first_after(Some(step.get())), None);
    }
}

/// First and last millisecond at which the code of `step` is found.
fn life(step: u64, period: u16, drift: (i32, i8), window: Window) -> (u64, u64) {
    let period = Period::new(period).expect("15 to 300");
    let parameters = Parameters {
        period,
        ..Parameters::default()
    };
    let drift = Drift::new(drift.0, drift.1).expect("in range");
    let key = rfc_key();
    let typed = totp::generate(&key, parameters, TimeStep::new(step));
    let found = |millis| {
        let now = UnixTime::from_millis(millis);
        totp::find(&key, parameters, &typed, now, drift, window).contains(step)
    };
    // Every edge is at a whole second: each second's first and last millisecond is tried.
    let length = u64::from(period.as_secs());
    let seconds = (step * length).saturating_sub(8 * length)..(step + 8) * length;
    let open: Vec<u64> = seconds
        .flat_map(|second| [second * 1000, second * 1000 + 999])
        .filter(|millis| found(*millis))
        .collect();
    let (first, last) = (open[0], open[open.len() - 1]);
    assert_eq!(
        open.len() as u64,
        (last + 1 - first) / 500,
        "the life of a code has a hole"
    );
    (first, last)
}

/// A code lives exactly as long as the window says, to the millisecond (Keycloak CVE-2024-7318:
/// 30 s too long), in steps of any length (multiOTP issue 261: 60 s).
#[test]
fn a_code_lives_exactly_as_long_as_the_window_says() {
    let step = 1000;
    for period in [15_u16, 30, 60, 300] {
        let length = u64::from(period) * 1000;
        let start = step * length;
        let life = |drift, back, ahead| life(step, period, drift, Window { back, ahead });
        assert_eq!(life((0, 0), 0, 0), (start, start + length - 1));
        assert_eq!(life((0, 0), 1, 0), (start, start + 2 * length - 1));
        assert_eq!(life((0, 0), 1, 1), (start - length, start + 2 * length - 1));
        assert_eq!(life((0, -1), 1, 0), (start, start + 3 * length - 1));
        assert_eq!(life((0, -2), 1, 0), (start, start + 4 * length - 1));
        assert_eq!(
            life((0, 2), 1, 0),
            (start - 2 * length, start + 2 * length - 1)
        );
        // A slow token shows this code later; it lives as long.
        assert_eq!(
            life((-3, 0), 1, 0),
            (start + 3 * length, start + 5 * length - 1)
        );
        assert_eq!(life((3, 0), 1, 0), (start - 3 * length, start - length - 1));
    }
}

/// Threats T23: nothing happens where 31 and 32 bits of seconds end, nor at a leap second.
#[test]
fn large_times_are_ordinary_times() {
    let window = Window::default();
    for secs in [
        1_u64 << 31,
        1 << 32,
        1 << 33,
        1_483_228_800, /* 2017-01-01, after 23:59:60 */
    ] {
        for period in [30_u16, 60] {
            let length = u64::from(period);
            for step in [secs / length - 1, secs / length, secs / length + 1] {
                let expected = (step * length * 1000, (step + 2) * length * 1000 - 1);
                assert_eq!(life(step, period, (0, 0), window), expected);
            }
        }
    }
}

#[test]
fn algorithms_differ() {
    let codes = Algorithm::ALL.map(|a| hotp::generate(&rfc_key(), a, Digits::MAX, 1));
    assert!(codes[0] != codes[1] && codes[1] != codes[2] && codes[0] != codes[2]);
}
