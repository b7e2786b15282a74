use std::time::Duration;

use proptest::prelude::*;

use super::*;

const LOCKOUT: Lockout = Lockout {
    free: 3,
    lock_after: 10,
    lock_for: Duration::from_mins(30),
    hard_lock_after: 100,
    source_free: 3,
    source_lock_after: 10,
};

const HOME: Option<Source> = Some(Source::V4([192, 0, 2, 1]));
const STRANGER: Option<Source> = Some(Source::V4([203, 0, 113, 9]));

fn at(secs: u64) -> UnixTime {
    UnixTime::from_secs(1_795_000_000 + secs)
}

/// Guesses as fast as they are evaluated; returns how many were.
fn guess(state: &mut UserState, source: Option<Source>, from: u64, until: u64) -> u32 {
    let mut evaluated = 0;
    for secs in from..until {
        while state.check(source, &LOCKOUT, at(secs)).is_ok() {
            *state = state.clone().failed(source, &LOCKOUT, at(secs));
            evaluated += 1;
        }
    }
    evaluated
}

#[test]
fn a_stranger_cannot_lock_out_a_known_source() {
    let mut state = UserState::default().succeeded(HOME, at(0));
    let evaluated = guess(&mut state, STRANGER, 1, 86_400);
    assert_eq!(evaluated, 90, "a round is left to the known source");
    assert_eq!(
        state.check(STRANGER, &LOCKOUT, at(90_000)),
        Err(Blocked::Locked { until: None })
    );
    assert_eq!(state.check(HOME, &LOCKOUT, at(1_000)), Ok(()));
    // The victim's login hands out no fresh guesses.
    let state = state.succeeded(HOME, at(90_000));
    assert!(state.check(STRANGER, &LOCKOUT, at(90_000)).is_err());
    assert_eq!(state.check(HOME, &LOCKOUT, at(90_000)), Ok(()));
}

#[test]
fn a_login_from_a_known_source_does_not_end_a_lock_of_strangers() {
    let mut state = UserState::default().succeeded(HOME, at(0));
    guess(&mut state, STRANGER, 1, 200);
    assert_eq!(state.throttle.failures, 10);
    let state = state.succeeded(HOME, at(200));
    assert_eq!(state.throttle.failures, 0);
    assert!(state.check(STRANGER, &LOCKOUT, at(201)).is_err());
    assert_eq!(state.check(STRANGER, &LOCKOUT, at(2_100)), Ok(()));
}

#[test]
fn one_source_alone_meets_the_ladder_of_the_contract() {
    for source in [None, HOME] {
        let mut state = UserState::default();
        for _ in 0..10 {
            state = state.failed(source, &LOCKOUT, at(0));
        }
        let until = Some(at(1_800));
        assert_eq!(
            state.check(source, &LOCKOUT, at(1_799)),
            Err(Blocked::Locked { until })
        );
        assert_eq!(state.check(source, &LOCKOUT, at(1_800)), Ok(()));
    }
}

#[test]
fn a_login_every_day_changes_the_row_once_a_day() {
    let first = UserState::default().succeeded(HOME, at(0));
    assert_eq!(first.clone().succeeded(HOME, at(60)), first);
    assert_ne!(first.clone().succeeded(HOME, at(100_000)), first);
}

#[test]
fn only_the_last_sources_are_known() {
    let mut state = UserState::default();
    for last in 0..9 {
        state = state.succeeded(Some(Source::V4([192, 0, 2, last])), at(u64::from(last)));
    }
    assert_eq!(state.known.len(), UserState::KNOWN);
    assert!(state.knows(Some(Source::V4([192, 0, 2, 8]))));
    assert!(!state.knows(Some(Source::V4([192, 0, 2, 4]))));
}

#[test]
fn unlocking_forgives_and_remembers_where() {
    let mut state = UserState::default().succeeded(HOME, at(0));
    guess(&mut state, STRANGER, 1, 86_400);
    guess(&mut state, HOME, 1, 86_400);
    let state = state.unlocked();
    assert_eq!(state.check(STRANGER, &LOCKOUT, at(86_400)), Ok(()));
    assert!(state.knows(HOME));
}

#[test]
fn a_challenge_is_answered_once() {
    let answered = |challenge| Answered {
        challenge,
        expires: at(120),
    };
    let mut state = UserState::default().answer(answered(1), at(0));
    assert!(state.has_answered(answered(1), at(1)));
    assert!(!state.has_answered(answered(2), at(1)));
    for challenge in 2..=16 {
        state = state.answer(answered(challenge), at(1));
    }
    // One more makes room: the oldest is forgotten, and what is not newer is void.
    assert!(!state.has_answered(answered(99), at(2)));
    let state = state.answer(answered(99), at(2));
    assert_eq!(state.answered.len(), 16);
    assert!(state.has_answered(answered(1), at(119)));
    assert!(state.has_answered(answered(0), at(119)));
    assert!(state.has_answered(answered(2), at(119)));
    assert!(!state.has_answered(answered(100), at(119)));
    let late = Answered {
        challenge: 100,
        expires: at(240),
    };
    let state = state.answer(late, at(120));
    assert_eq!((state.answered.len(), state.voided), (1, None));
}

proptest! {
    /// However attempts, sources, successes and time mix: between two successes never more than the
    /// hard limit is evaluated, and what is known of a user stays bounded.
    #[test]
    fn guesses_never_exceed_the_limit(
        events in proptest::collection::vec((0_u8..4, 0_u8..6, 0_u64..4_000), 1..400),
    ) {
        let (mut state, mut now, mut evaluated) = (UserState::default(), 0, 0_u32);
        for (what, place, pause) in events {
            now += pause;
            let source = (place > 0).then_some(Source::V4([192, 0, 2, place]));
            if state.check(source, &LOCKOUT, at(now)).is_err() {
                continue;
            }
            if what == 0 {
                state = state.succeeded(source, at(now));
                evaluated = 0;
            } else {
                for _ in 0..9 {
                    if state.check(source, &LOCKOUT, at(now)).is_ok() {
                        state = state.failed(source, &LOCKOUT, at(now));
                        evaluated += 1;
                    }
                }
            }
            prop_assert!(evaluated <= LOCKOUT.hard_lock_after);
            prop_assert!(state.known.len() <= UserState::KNOWN);
        }
    }
}
