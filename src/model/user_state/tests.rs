use std::time::Duration;

use proptest::prelude::*;

use super::*;

const LOCKOUT: Lockout = Lockout {
    free: 3,
    lock_after: 10,
    lock_for: Duration::from_mins(30),
    hard_lock_after: 100,
    year_lock_after: 1000,
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
    let mut state = UserState::default()
        .spared(HOME, &LOCKOUT, at(0))
        .known_at(HOME, at(0));
    let evaluated = guess(&mut state, STRANGER, 1, 86_400);
    assert_eq!(evaluated, 90, "a round is left to the known source");
    assert_eq!(
        state.check(STRANGER, &LOCKOUT, at(90_000)),
        Err(Blocked::Locked { until: None })
    );
    assert_eq!(state.check(HOME, &LOCKOUT, at(1_000)), Ok(()));
    // The victim's login hands out no fresh guesses.
    let state = state
        .spared(HOME, &LOCKOUT, at(90_000))
        .known_at(HOME, at(90_000));
    assert!(state.check(STRANGER, &LOCKOUT, at(90_000)).is_err());
    assert_eq!(state.check(HOME, &LOCKOUT, at(90_000)), Ok(()));
}

#[test]
fn a_login_from_a_known_source_forgives_strangers_nothing() {
    let mut state = UserState::default()
        .spared(HOME, &LOCKOUT, at(0))
        .known_at(HOME, at(0));
    guess(&mut state, STRANGER, 1, 200);
    state = state.failed(HOME, &LOCKOUT, at(200));
    assert_eq!((state.throttle.failures, state.failures()), (10, 11));
    let state = state
        .spared(HOME, &LOCKOUT, at(200))
        .known_at(HOME, at(200));
    assert_eq!((state.throttle.failures, state.failures()), (10, 10));
    assert!(state.check(STRANGER, &LOCKOUT, at(201)).is_err());
    assert_eq!(state.check(STRANGER, &LOCKOUT, at(2_100)), Ok(()));
}

#[test]
fn a_year_without_a_failure_forgives() {
    let mut state = UserState::default()
        .spared(HOME, &LOCKOUT, at(0))
        .known_at(HOME, at(0));
    assert_eq!(guess(&mut state, STRANGER, 1, 3_600), 20);
    let year = UserState::CLEAN.as_secs();
    let last = state.last_failure;
    let soon = last.plus(Duration::from_secs(year - 1));
    let later = last.plus(Duration::from_secs(year));
    assert_eq!(
        state.clone().failed(STRANGER, &LOCKOUT, soon).failures(),
        21
    );
    assert_eq!(
        state.clone().failed(STRANGER, &LOCKOUT, later).failures(),
        1
    );
    assert_eq!(state.summary(later).failures, 0);
    // A hard lock is not slept off.
    guess(&mut state, STRANGER, 3_600, 86_400);
    let later = state.last_failure.plus(UserState::CLEAN);
    assert!(state.check(STRANGER, &LOCKOUT, later).is_err());
}

#[test]
fn typing_errors_before_a_success_from_the_same_place_are_forgiven() {
    for place in [None, STRANGER] {
        let mut state = UserState::default();
        for _ in 0..5 {
            state = state.failed(place, &LOCKOUT, at(0));
        }
        // None that came from elsewhere or long ago.
        let after = state
            .clone()
            .spared(place, &LOCKOUT, at(60))
            .known_at(place, at(60));
        assert_eq!(after.failures(), 0, "{place:?}");
        let after = state
            .clone()
            .spared(HOME, &LOCKOUT, at(60))
            .known_at(HOME, at(60));
        assert_eq!(after.failures(), 5, "{place:?}");
        let after = state
            .spared(place, &LOCKOUT, at(601))
            .known_at(place, at(601));
        assert_eq!(after.failures(), 5, "{place:?}");
    }
}

#[test]
fn half_a_round_of_one_run_is_forgiven() {
    for (pause, forgiven) in [(60, 5), (600, 5), (601, 1)] {
        let (mut state, mut now) = (UserState::default(), 0);
        for _ in 0..9 {
            now += pause;
            state = state.failed(None, &LOCKOUT, at(now));
        }
        let state = state
            .spared(None, &LOCKOUT, at(now))
            .known_at(None, at(now));
        assert_eq!(state.failures(), 9 - forgiven, "{pause}");
    }
}

/// A person who mistypes twice before each login, wherever they are, for three years.
#[test]
fn who_mistypes_twice_a_day_is_never_locked_out() {
    for place in [None, HOME] {
        let mut state = UserState::default();
        for day in 0..1100 {
            for typed in 0..2 {
                let now = at(day * 86_400 + typed * 20);
                assert_eq!(state.check(place, &LOCKOUT, now), Ok(()), "{place:?} {day}");
                state = state.failed(place, &LOCKOUT, now);
            }
            let now = at(day * 86_400 + 40);
            assert_eq!(state.check(place, &LOCKOUT, now), Ok(()), "{place:?} {day}");
            state = state.spared(place, &LOCKOUT, now).known_at(place, now);
            assert_eq!(state.failures(), 0);
        }
        assert!(state.in_a_year(at(1100 * 86_400)) > 730);
    }
}

/// Guesses from where the user logs in every hour, behind the same address or where none is told;
/// the attacker guesses as often as they are looked at.
#[test]
fn guesses_beside_the_user_are_bounded_within_a_year() {
    for (place, expected) in [(HOME, 1000), (None, 100)] {
        let (mut state, mut evaluated) = (
            UserState::default()
                .spared(place, &LOCKOUT, at(0))
                .known_at(place, at(0)),
            0,
        );
        for hour in 0..24 * 365 {
            // In the first half of the hour: the login is not just behind a guess.
            evaluated += guess(&mut state, place, hour * 3600, hour * 3600 + 30);
            let now = at(hour * 3600 + 3000);
            if state.check(place, &LOCKOUT, now).is_ok() {
                state = state.spared(place, &LOCKOUT, now).known_at(place, now);
            }
        }
        assert_eq!(evaluated, expected, "{place:?}");
        let later = at(10 * 365 * 86_400);
        assert!(
            state.check(place, &LOCKOUT, later).is_err(),
            "not slept off"
        );
        assert_eq!(state.unlocked().check(place, &LOCKOUT, later), Ok(()));
    }
}

/// Who knows when the user logs in, and guesses just before it where no address is told, is bounded by
/// the year; and what is left to known places is not theirs.
#[test]
fn guesses_just_before_logins_are_bounded_and_leave_the_known_places_a_part() {
    let mut state = UserState::default()
        .spared(HOME, &LOCKOUT, at(0))
        .known_at(HOME, at(0));
    let mut evaluated = 0;
    for login in 0..1000 {
        let now = 100 + login * 3600;
        evaluated += guess(&mut state, None, now, now + 1);
        if state.check(None, &LOCKOUT, at(now + 300)).is_ok() {
            state = state
                .spared(None, &LOCKOUT, at(now + 300))
                .known_at(None, at(now + 300));
        }
    }
    assert_eq!(evaluated, 900);
    assert!(state.check(None, &LOCKOUT, at(5_000_000)).is_err());
    assert_eq!(state.check(HOME, &LOCKOUT, at(5_000_000)), Ok(()));
    assert!(state.knows(HOME));
}

#[test]
fn a_month_that_is_long_past_does_not_count() {
    let mut state = UserState::default();
    state = state
        .failed(HOME, &LOCKOUT, at(0))
        .failed(None, &LOCKOUT, at(0));
    let days = |days: u64| at(days * 86_400);
    assert_eq!(state.in_a_year(days(365)), 2);
    assert_eq!(state.in_a_year(days(404)), 0);
    let state = state.failed(None, &LOCKOUT, days(404));
    assert_eq!(state.months.len(), 1);
    assert!((0..5000).all(|day| {
        let state = state.clone().failed(HOME, &LOCKOUT, days(404 + day));
        state.months.len() <= 2
    }));
}

#[test]
fn a_place_that_is_forgotten_leaves_its_failures_behind() {
    let mut state = UserState::default()
        .spared(HOME, &LOCKOUT, at(0))
        .known_at(HOME, at(0));
    for _ in 0..5 {
        state = state.failed(HOME, &LOCKOUT, at(1));
    }
    for last in 0..4 {
        let other = Some(Source::V4([198, 51, 100, last]));
        state = state.spared(other, &LOCKOUT, at(2)).known_at(other, at(2));
    }
    assert!(!state.knows(HOME));
    assert_eq!((state.failures(), state.throttle.failures), (5, 5));
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
    let first = UserState::default()
        .spared(HOME, &LOCKOUT, at(0))
        .known_at(HOME, at(0));
    assert_eq!(
        first
            .clone()
            .spared(HOME, &LOCKOUT, at(60))
            .known_at(HOME, at(60)),
        first
    );
    assert_ne!(
        first
            .clone()
            .spared(HOME, &LOCKOUT, at(100_000))
            .known_at(HOME, at(100_000)),
        first
    );
}

#[test]
fn only_the_last_sources_are_known() {
    let mut state = UserState::default();
    for last in 0..9 {
        let place = Some(Source::V4([192, 0, 2, last]));
        state = state
            .spared(place, &LOCKOUT, at(u64::from(last)))
            .known_at(place, at(u64::from(last)));
    }
    assert_eq!(state.known.len(), UserState::KNOWN);
    assert!(state.knows(Some(Source::V4([192, 0, 2, 8]))));
    assert!(!state.knows(Some(Source::V4([192, 0, 2, 4]))));
}

#[test]
fn unlocking_forgives_and_remembers_where() {
    let mut state = UserState::default()
        .spared(HOME, &LOCKOUT, at(0))
        .known_at(HOME, at(0));
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

#[test]
fn right_answers_are_remembered_as_long_as_answers() {
    let answered = |challenge, expires| Answered {
        challenge,
        expires: at(expires),
    };
    let state = UserState::default()
        .answer(answered(1, 120), at(0))
        .answer_right(answered(2, 120), at(1));
    assert_eq!(state.right, [2]);
    let state = state.answer(answered(3, 240), at(119));
    assert_eq!(state.right, [2]);
    let mut state = state.answer_right(answered(4, 240), at(120));
    assert_eq!(state.right, [4]);
    for challenge in 5..100 {
        state = state.answer_right(answered(challenge, 240), at(121));
    }
    assert!(state.right.len() <= UserState::ANSWERED + 1);
    assert_eq!(state.right.last(), Some(&99));
}

proptest! {
    /// However attempts, sources, successes and time mix: between two successes never more than the
    /// hard limit is evaluated, and what is known of a user stays bounded. Of places from which the
    /// user never succeeds, never more than the limit whatever the user does elsewhere.
    #[test]
    fn guesses_never_exceed_the_limit(
        events in proptest::collection::vec((0_u8..4, 0_u8..6, 0_u64..4_000), 1..400),
    ) {
        let (mut state, mut now, mut evaluated) = (UserState::default(), 0, 0_u32);
        let mut strangers = 0;
        let mut year = Vec::new();
        for (what, place, pause) in events {
            // Now and then a week.
            let pause = if pause < 100 { pause * 6_048 } else { pause };
            now += pause;
            let source = (place > 0).then_some(Source::V4([192, 0, 2, place]));
            if state.check(source, &LOCKOUT, at(now)).is_err() {
                continue;
            }
            let stranger = place > 3;
            if what == 0 && !stranger {
                state = state.spared(source, &LOCKOUT, at(now)).known_at(source, at(now));
                evaluated = 0;
            } else {
                for _ in 0..9 {
                    if state.check(source, &LOCKOUT, at(now)).is_ok() {
                        state = state.failed(source, &LOCKOUT, at(now));
                        evaluated += 1;
                        year.push(now);
                        strangers += u32::from(stranger);
                    }
                }
            }
            year.retain(|then| now - then < 365 * 86_400);
            prop_assert!(year.len() <= 1000);
            prop_assert!(strangers <= LOCKOUT.hard_lock_after);
            prop_assert!(evaluated <= LOCKOUT.hard_lock_after);
            prop_assert!(state.known.len() <= UserState::KNOWN);
        }
    }
}
