//! Windows, drift, resynchronisation. Edges in milliseconds: `tests/it/login/otp_vectors.rs`.

use proptest::prelude::*;

use super::*;
use crate::otp::tests::key;

const P: Parameters = Parameters {
    algorithm: Algorithm::Sha1,
    digits: Digits::SIX,
    period: Period::THIRTY,
};

fn time(step: u64) -> UnixTime {
    UnixTime::from_secs(step * 30 + 7)
}

fn code(step: u64) -> Code {
    generate(&key(20), P, TimeStep(step))
}

fn drift(offset: i32, learned: i8) -> Drift {
    Drift::new(offset, learned).unwrap()
}

/// The steps, relative to `now`, whose codes are found.
fn open(now: u64, drift: Drift, window: Window) -> Vec<i64> {
    let found =
        |step: &u64| find(&key(20), P, &code(*step), time(now), drift, window).contains(*step);
    let steps = now.saturating_sub(50)..=now + 50;
    steps
        .filter(found)
        .map(|step| TimeStep(step).steps_after(TimeStep(now)))
        .collect()
}

#[test]
fn learned_drift_extends_one_side_and_closes_nothing() {
    let window = Window::default();
    let cases = [
        ((0, 0), -1..=0),
        ((0, -1), -2..=0),
        ((0, -2), -3..=0),
        ((0, 1), -1..=1),
        ((0, 2), -1..=2),
        ((-4, 0), -5..=-4),
        ((-4, -2), -7..=-4),
        ((7, 2), 6..=9),
    ];
    for ((offset, learned), expected) in cases {
        let steps = open(1000, drift(offset, learned), window);
        assert_eq!(
            steps,
            expected.collect::<Vec<i64>>(),
            "offset {offset}, learned {learned}"
        );
    }
    assert_eq!(
        open(1000, Drift::default(), Window { back: 0, ahead: 0 }),
        [0]
    );
    assert_eq!(
        open(1000, Drift::default(), Window { back: 2, ahead: 3 }),
        [-2, -1, 0, 1, 2, 3]
    );
}

#[test]
fn nothing_exists_before_the_epoch() {
    assert_eq!(open(0, Drift::default(), Window::default()), [0]);
    assert_eq!(open(1, drift(0, -2), Window::default()), [-1, 0]);
    // A window that lies wholly before the epoch is empty.
    assert_eq!(open(3, drift(-10, 0), Window::default()), [] as [i64; 0]);
    assert_eq!(open(3, drift(-3, 0), Window::default()), [-3]);
}

#[test]
fn stored_drift_out_of_range_is_refused() {
    assert!(Drift::new(40, 2).is_some() && Drift::new(-40, -2).is_some());
    assert!(Drift::new(41, 0).is_none() && Drift::new(i32::MIN, 0).is_none());
    assert!(Drift::new(0, 3).is_none() && Drift::new(0, i8::MIN).is_none());
}

#[test]
fn drift_is_measured_from_the_clock_and_capped() {
    let learn = |drift: Drift, step| drift.learn(TimeStep(step), TimeStep(1000)).learned();
    assert_eq!(learn(drift(0, 0), 999), -1);
    assert_eq!(learn(drift(0, -2), 1000), 0);
    assert_eq!(learn(drift(0, -2), 997), -2);
    assert_eq!(learn(drift(-4, 0), 996), 0);
    assert_eq!(learn(drift(-4, 0), u64::MAX), 2);
    assert_eq!(learn(drift(40, 0), 0), -2);
    assert_eq!(
        drift(-4, 1).learn(TimeStep(995), TimeStep(1000)),
        drift(-4, -1)
    );
}

#[test]
fn digits_must_be_the_tokens() {
    let eight = Parameters {
        digits: Digits::EIGHT,
        ..P
    };
    let code = generate(&key(20), eight, TimeStep(1000));
    assert!(
        find(
            &key(20),
            P,
            &code,
            time(1000),
            Drift::default(),
            Window::default()
        )
        .is_empty()
    );
}

#[test]
fn resync_finds_a_clock_that_is_off() {
    let resync = |first, second, after: Option<u64>, within| {
        let after = after.map(TimeStep);
        resync(
            &key(20),
            P,
            &code(first),
            &code(second),
            time(1000),
            after,
            within,
        )
    };
    let at = |step: u64, offset| Some((TimeStep(step), drift(offset, 0)));
    assert_eq!(resync(999, 1000, None, 50), at(1000, 0));
    assert_eq!(resync(993, 994, None, 50), at(994, -6));
    assert_eq!(resync(1019, 1020, None, 50), at(1020, 20));
    assert_eq!(resync(980, 981, None, 50), at(981, -19));
    // Beyond ten minutes, whatever is asked.
    assert_eq!(resync(1020, 1021, None, 50), None);
    assert_eq!(resync(979, 980, None, u32::MAX), None);
    assert_eq!(resync(996, 997, None, 3), None);
    assert_eq!(resync(997, 998, None, 3), at(998, -2));
    // Consecutive, in order, both unused.
    assert_eq!(resync(994, 993, None, 50), None);
    assert_eq!(resync(993, 995, None, 50), None);
    assert_eq!(resync(993, 993, None, 50), None);
    assert_eq!(resync(993, 994, Some(992), 50), at(994, -6));
    assert_eq!(resync(993, 994, Some(993), 50), None);
    assert_eq!(resync(993, 994, Some(994), 50), None);
}

#[test]
fn the_largest_offset_is_the_reach_in_the_shortest_period() {
    let steps = RESYNC_REACH.as_secs() / u64::from(Period::MIN.as_secs());
    assert_eq!(u64::from(MAX_OFFSET.unsigned_abs()), steps);
    let parameters = Parameters {
        period: Period::MIN,
        ..P
    };
    let code = |step| generate(&key(20), parameters, TimeStep(step));
    let now = UnixTime::from_secs(15 * 1000);
    let found = resync(
        &key(20),
        parameters,
        &code(1039),
        &code(1040),
        now,
        None,
        u32::MAX,
    );
    assert_eq!(found, Some((TimeStep(1040), drift(40, 0))));
}

/// devise-two-factor (CVE-2021-43177), `LinOTP` (CVE-2019-12887): with drift, one code was accepted
/// twice because the step was compared in the other clock's numbers.
#[test]
fn with_drift_a_code_is_still_good_once() {
    let (key, window) = (key(20), Window::default());
    let mut drift = drift(-4, 0);
    let mut last = None;
    let typed = code(1000 - 5);
    for now in 995..1010 {
        let matches = find(&key, P, &typed, time(now), drift, window);
        if let Some(step) = matches.first_after(last) {
            assert_eq!(last, None, "accepted again at step {now}");
            drift = drift.learn(TimeStep(step), TimeStep::at(time(now), P.period));
            last = Some(step);
        }
    }
    assert_eq!(last, Some(995));
}

proptest! {
    #[test]
    fn finds_what_a_naive_search_finds(
        now in 0_u64..100, offset in -40_i32..=40, learned in -2_i8..=2,
        back in 0_u8..4, ahead in 0_u8..4, step in 0_u64..200,
    ) {
        let key = key(20);
        let typed = code(step);
        let now_signed = i64::try_from(now).unwrap() + i64::from(offset);
        let naive: Vec<u64> = (0..300_u64)
            .filter(|s| {
                let relative = i64::try_from(*s).unwrap() - now_signed;
                let base = (-i64::from(back)..=i64::from(ahead)).contains(&relative);
                let past = learned < 0
                    && (i64::from(learned) - i64::from(back)..=0).contains(&relative);
                let future = learned > 0
                    && (0..=i64::from(learned) + i64::from(ahead)).contains(&relative);
                (base || past || future) && code(*s) == typed
            })
            .collect();
        let window = Window { back, ahead };
        let found = find(&key, P, &typed, time(now), drift(offset, learned), window);
        prop_assert_eq!(found.iter().collect::<Vec<_>>(), naive);
    }

    /// Threats T1, T21: whatever is typed when, also with the clock moving back: accepted steps
    /// strictly increase.
    #[test]
    fn accepted_steps_strictly_increase(
        tries in proptest::collection::vec((100_u64..120, 100_u64..120), 1..60)
    ) {
        let (key, window) = (key(20), Window { back: 1, ahead: 1 });
        let mut state = (Drift::default(), None);
        let mut accepted = Vec::new();
        for (now, step) in tries {
            let (drift, last) = state;
            let matches = find(&key, P, &code(step), time(now), drift, window);
            if let Some(step) = matches.first_after(last) {
                let drift = drift.learn(TimeStep(step), TimeStep(now));
                state = (drift, Some(step));
                accepted.push(step);
            }
        }
        prop_assert!(accepted.is_sorted_by(|a, b| a < b), "{:?}", accepted);
    }

    #[test]
    fn no_time_is_too_late(millis in any::<u64>(), offset in -40_i32..=40, learned in -2_i8..=2) {
        let now = UnixTime::from_millis(millis);
        let step = TimeStep::at(now, P.period).plus(i64::from(offset));
        let typed = generate(&key(20), P, step);
        let found = find(&key(20), P, &typed, now, drift(offset, learned), Window::default());
        prop_assert!(found.contains(step.get()) || millis < 40 * 30_000);
    }
}
