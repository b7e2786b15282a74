//! The ladder as a table, and the state machine against a model that shares nothing with it.

use proptest::prelude::*;

use super::*;

fn at(secs: u64) -> UnixTime {
    UnixTime::from_secs(secs)
}

/// Fails as soon as it may, from `now` on; the pauses in seconds, `None` for the hard lock.
fn pauses(lockout: &Lockout, count: usize) -> Vec<Option<u64>> {
    let (mut state, mut now) = (Throttle::default(), at(1000));
    let mut pauses = Vec::new();
    for _ in 0..count {
        state = state.failed(lockout, now);
        let pause = match state.check(now) {
            Ok(()) => Some(Duration::ZERO),
            Err(Blocked::Throttled { until } | Blocked::Locked { until: Some(until) }) => {
                Some(until.since(now))
            }
            Err(Blocked::Locked { until: None }) => None,
        };
        pauses.push(pause.map(|pause| pause.as_secs()));
        now = now.plus(pause.unwrap_or_default());
    }
    pauses
}

#[test]
fn three_free_then_the_ladder_then_a_lock() {
    let round = [0, 0, 0, 1, 3, 5, 10, 10, 10, 1800].map(Some);
    assert_eq!(pauses(&Lockout::default(), 10), round);
    let all = pauses(&Lockout::default(), 102);
    for (number, chunk) in all.chunks(10).take(9).enumerate() {
        assert_eq!(chunk, round, "round {number}");
    }
    assert_eq!(&all[90..99], &round[..9]);
    assert_eq!(&all[99..], &[None; 3]);
}

#[test]
fn a_block_ends_on_the_millisecond() {
    let mut state = Throttle::default();
    for _ in 0..4 {
        state = state.failed(&Lockout::default(), at(1000));
    }
    let until = at(1001);
    let just_before = UnixTime::from_millis(1_000_999);
    assert_eq!(state.check(just_before), Err(Blocked::Throttled { until }));
    assert_eq!(state.check(until), Ok(()));
}

#[test]
fn forgiving_ends_no_block_that_runs() {
    let failed = Throttle {
        failures: 9,
        block: Block::Delay { until: at(5) },
    };
    assert_eq!(failed.forgiven(9, at(5)), Throttle::default());
    let running = Throttle {
        failures: 6,
        ..failed
    };
    assert_eq!(failed.forgiven(3, at(4)), running);
    let hard = Throttle {
        failures: 100,
        block: Block::Hard,
    };
    assert_eq!(hard.forgiven(100, at(9)).block, Block::Hard);
    assert_eq!(hard.failed(&Lockout::default(), at(0)).block, Block::Hard);
    assert_eq!(Throttle::unlocked().check(at(0)), Ok(()));
}

#[test]
fn a_laxer_policy_does_not_open_a_hard_lock() {
    let hard = Throttle {
        failures: 100,
        block: Block::Hard,
    };
    let lax = Lockout {
        hard_lock_after: 1000,
        ..Lockout::default()
    };
    assert_eq!(hard.failed(&lax, at(0)).block, Block::Hard);
}

#[test]
fn nonsense_limits_are_strict_limits() {
    let zeros = Lockout {
        free: 0,
        lock_after: 0,
        hard_lock_after: 0,
        ..Lockout::default()
    };
    assert_eq!(pauses(&zeros, 1), [None]);
    let one = Lockout {
        lock_after: 0,
        ..Lockout::default()
    };
    assert_eq!(pauses(&one, 2), [Some(1800); 2]);
    let free = Lockout {
        free: 50,
        ..Lockout::default()
    };
    assert_eq!(pauses(&free, 10)[8..], [Some(0), Some(1800)]);
}

#[test]
fn a_clock_set_back_lengthens_a_block() {
    let state = Throttle {
        failures: 9,
        block: Block::None,
    }
    .failed(&Lockout::default(), at(9000));
    let until = at(9000 + 1800);
    assert_eq!(
        state.check(at(0)),
        Err(Blocked::Locked { until: Some(until) })
    );
    // A failure counted at the earlier time does not replace the later end.
    assert_eq!(
        state.failed(&Lockout::default(), at(100)).block,
        Block::Locked { until }
    );
}

#[test]
fn counts_and_times_saturate() {
    let state = Throttle {
        failures: u32::MAX,
        block: Block::None,
    };
    let never = Lockout {
        hard_lock_after: u32::MAX,
        ..Lockout::default()
    };
    assert_eq!(state.failed(&never, at(0)).failures, u32::MAX);
    let end = UnixTime::from_millis(u64::MAX);
    let state = Throttle {
        failures: 9,
        block: Block::None,
    }
    .failed(&Lockout::default(), end);
    assert_eq!(state.block, Block::Locked { until: end });
}

/// The rules once more, as a log that is read from the start: no state but what happened.
#[derive(Default)]
struct Model {
    /// When each failure since the last success happened, in milliseconds.
    failures: Vec<u64>,
}

impl Model {
    /// First millisecond at which an attempt is evaluated; `None`: never.
    fn open_from(&self, lockout: &Lockout) -> Option<u64> {
        let mut open = 0;
        for (index, time) in self.failures.iter().enumerate() {
            let number = index + 1;
            if number >= lockout.hard_lock_after as usize {
                return None;
            }
            let in_round = number % lockout.lock_after as usize;
            let pause = match in_round {
                0 => lockout.lock_for.as_secs(),
                n if n <= lockout.free as usize => 0,
                n => *[1, 3, 5].get(n - lockout.free as usize - 1).unwrap_or(&10),
            };
            let end = if pause == 0 { 0 } else { time + pause * 1000 };
            open = if *time < open { open.max(end) } else { end };
        }
        Some(open)
    }
}

proptest! {
    /// Attempts at arbitrary times, also with the clock moving back; parallel ones are evaluated
    /// although the state is blocked by then (`late`).
    #[test]
    fn agrees_with_the_model(
        free in 0_u32..5, lock_after in 1_u32..12, hard in 1_u32..40,
        events in proptest::collection::vec((0_u64..200_000, 0..20_u8, any::<bool>()), 1..80),
    ) {
        let lockout = Lockout {
            free, lock_after, hard_lock_after: hard, lock_for: Duration::from_mins(1), ..Lockout::default()
        };
        let (mut state, mut model) = (Throttle::default(), Model::default());
        for (millis, luck, late) in events {
            let now = UnixTime::from_millis(millis);
            let open = model.open_from(&lockout).is_some_and(|from| millis >= from);
            prop_assert_eq!(state.check(now).is_ok(), open);
            if open && luck == 0 {
                state = state.forgiven(u32::MAX, now);
                model.failures.clear();
            } else if open || late {
                state = state.failed(&lockout, now);
                model.failures.push(millis);
            }
            prop_assert_eq!(state.failures as usize, model.failures.len());
        }
    }

    /// Threats T9: however the attempts are timed, without a success no more than the limit are
    /// evaluated, and a failure never makes an earlier attempt possible.
    #[test]
    fn guesses_are_bounded_and_blocks_do_not_shrink(
        steps in proptest::collection::vec((0_u64..4_000_000, 0_u64..10_000_000), 1..300),
    ) {
        let lockout = Lockout::default();
        let (mut state, mut evaluated) = (Throttle::default(), 0);
        for (millis, probe) in steps {
            let (now, probe) = (UnixTime::from_millis(millis), UnixTime::from_millis(probe));
            if state.check(now).is_ok() {
                evaluated += 1;
                state = state.failed(&lockout, now);
            } else {
                let after = state.failed(&lockout, now);
                prop_assert!(state.check(probe).is_ok() || after.check(probe).is_err());
            }
        }
        prop_assert!(evaluated <= 100);
    }
}
