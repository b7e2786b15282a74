//! What attempts change: counters and moving factors of users, tokens and sources.

use serde::{Deserialize, Serialize};

use crate::model::issue::{Issued, Sends, Way};
use crate::model::source::{Source, SourceState, Tried};
use crate::model::token::{Moving, Repaired, TokenState};
use crate::model::user_state::{Answered, KnownSource, Month, Recent, UserState};
use crate::otp::ahead::Ahead;
use crate::otp::card::Pair;
use crate::otp::issued::Mark;
use crate::otp::recovery::Used;
use crate::otp::throttle::{Block, Throttle};
use crate::otp::totp::Drift;
use crate::store::StoreError;
use crate::store::record::{BAD_FORM, row, take};
use crate::time::UnixTime;

#[derive(Clone, Copy, Serialize, Deserialize)]
struct ThrottleV1 {
    failures: u32,
    block: BlockV1,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum BlockV1 {
    None,
    Delay(u64),
    Locked(u64),
    Hard,
}

impl From<Throttle> for ThrottleV1 {
    fn from(throttle: Throttle) -> Self {
        let block = match throttle.block {
            Block::None => BlockV1::None,
            Block::Delay { until } => BlockV1::Delay(until.as_millis()),
            Block::Locked { until } => BlockV1::Locked(until.as_millis()),
            Block::Hard => BlockV1::Hard,
        };
        Self {
            failures: throttle.failures,
            block,
        }
    }
}

impl From<ThrottleV1> for Throttle {
    fn from(form: ThrottleV1) -> Self {
        let block = match form.block {
            BlockV1::None => Block::None,
            BlockV1::Delay(until) => Block::Delay {
                until: UnixTime::from_millis(until),
            },
            BlockV1::Locked(until) => Block::Locked {
                until: UnixTime::from_millis(until),
            },
            BlockV1::Hard => Block::Hard,
        };
        Self {
            failures: form.failures,
            block,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct UserStateV1 {
    throttle: ThrottleV1,
    last_failure: u64,
    recent: Vec<(Vec<u8>, u32, u32, u64)>,
    months: Vec<(u32, u32)>,
    known: Vec<KnownV1>,
    answered: Vec<(u64, u64)>,
    voided: Option<(u64, u64)>,
    held: Option<u64>,
}

/// Version 2 says which answers to challenges were right.
#[derive(Serialize, Deserialize)]
struct UserStateV2 {
    state: UserStateV1,
    right: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
struct KnownV1 {
    source: Vec<u8>,
    day: u32,
    throttle: ThrottleV1,
}

/// A user's counters.
pub(crate) fn user_state_row(state: &UserState) -> Result<Vec<u8>, StoreError> {
    let known = state.known.iter().map(|known| KnownV1 {
        source: known.source.octets().to_vec(),
        day: known.day,
        throttle: known.throttle.into(),
    });
    let answered = state.answered.iter();
    let recent = state.recent.iter().map(|recent| {
        let source = recent.source.map(|source| source.octets().to_vec());
        let last = recent.last.as_millis();
        (
            source.unwrap_or_default(),
            recent.failures,
            recent.run,
            last,
        )
    });
    let months = state.months.iter();
    let form = UserStateV1 {
        throttle: state.throttle.into(),
        last_failure: state.last_failure.as_millis(),
        recent: recent.collect(),
        months: months.map(|month| (month.number, month.failures)).collect(),
        held: state.held.map(UnixTime::as_millis),
        known: known.collect(),
        answered: answered
            .map(|answered| (answered.challenge, answered.expires.as_millis()))
            .collect(),
        voided: state
            .voided
            .map(|mark| (mark.challenge, mark.expires.as_millis())),
    };
    let right = state.right.clone();
    row(2, &UserStateV2 { state: form, right })
}

/// Reads a user's counters.
pub(crate) fn user_state(bytes: &[u8]) -> Result<UserState, StoreError> {
    let (form, right) = match bytes.first() {
        Some(1) => {
            let form: UserStateV1 = take(1, bytes)?;
            (form, Vec::new())
        }
        _ => {
            let form: UserStateV2 = take(2, bytes)?;
            (form.state, form.right)
        }
    };
    let known = form.known.into_iter().map(|known| {
        Ok(KnownSource {
            source: Source::from_octets(&known.source).ok_or(BAD_FORM)?,
            day: known.day,
            throttle: known.throttle.into(),
        })
    });
    let answered = form.answered.into_iter();
    let recent = form
        .recent
        .into_iter()
        .map(|(source, failures, run, last)| {
            let source = match source.as_slice() {
                [] => None,
                octets => Some(Source::from_octets(octets).ok_or(BAD_FORM)?),
            };
            Ok(Recent {
                source,
                failures,
                run,
                last: UnixTime::from_millis(last),
            })
        });
    let months = form.months.into_iter();
    let months = months.map(|(number, failures)| Month { number, failures });
    Ok(UserState {
        throttle: form.throttle.into(),
        last_failure: UnixTime::from_millis(form.last_failure),
        recent: recent.collect::<Result<_, StoreError>>()?,
        months: months.collect(),
        held: form.held.map(UnixTime::from_millis),
        known: known.collect::<Result<_, StoreError>>()?,
        answered: answered
            .map(|(challenge, expires)| Answered {
                challenge,
                expires: UnixTime::from_millis(expires),
            })
            .collect(),
        right,
        voided: form.voided.map(|(challenge, expires)| Answered {
            challenge,
            expires: UnixTime::from_millis(expires),
        }),
    })
}

#[derive(Serialize, Deserialize)]
struct SourceStateV1 {
    throttle: ThrottleV1,
    last: u64,
}

/// A source's counters. Since 2 the names that failed, and how often, follow.
pub(crate) fn source_state_row(state: &SourceState) -> Result<Vec<u8>, StoreError> {
    let form = SourceStateV1 {
        throttle: state.throttle.into(),
        last: state.last.as_millis(),
    };
    let names = state.names.iter().filter(|tried| tried.failures > 0);
    let names: Vec<(u32, u32)> = names.map(|tried| (tried.name, tried.failures)).collect();
    row(2, &(form, names))
}

/// Reads a source's counters.
pub(crate) fn source_state(bytes: &[u8]) -> Result<SourceState, StoreError> {
    let (form, tried): (SourceStateV1, Vec<(u32, u32)>) = match bytes.first() {
        Some(1) => (take(1, bytes)?, Vec::new()),
        _ => take(2, bytes)?,
    };
    let mut names = [Tried::default(); SourceState::NAMES];
    for (place, (name, failures)) in names.iter_mut().zip(tried) {
        *place = Tried { name, failures };
    }
    Ok(SourceState {
        throttle: form.throttle.into(),
        last: UnixTime::from_millis(form.last),
        names,
    })
}

#[derive(Serialize, Deserialize)]
struct TokenStateV1 {
    last: Option<u64>,
    offset: i32,
    learned: i8,
    throttle: ThrottleV1,
    last_accept: Option<u64>,
    issued: Option<IssuedV1>,
    used: u32,
    sends: Option<(u64, u8)>,
    ahead: Vec<(u64, u64)>,
    repaired: Option<(u64, Option<u64>)>,
}

/// What version 2 of the row has behind the fields of version 1.
#[derive(Default, Serialize, Deserialize)]
struct TokenStateV2 {
    client: Option<u32>,
    round: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct IssuedV1 {
    number: u64,
    way: u8,
    mark: [u8; 16],
    pair: Option<(u8, u8)>,
    expires: u64,
    tries: u8,
    answered: bool,
}

/// A token's moving factor and counters.
pub(crate) fn token_state_row(state: &TokenState) -> Result<Vec<u8>, StoreError> {
    let issued = state.issued.map(|issued| IssuedV1 {
        number: issued.number,
        way: issued.way.number(),
        mark: issued.mark.to_bytes(),
        pair: issued.pair.map(|pair| (pair.first, pair.second)),
        expires: issued.expires.as_millis(),
        tries: issued.tries,
        answered: issued.answered,
    });
    let sends = (state.sends != Sends::default())
        .then(|| (state.sends.last.as_millis(), state.sends.streak));
    let form = TokenStateV1 {
        last: state.moving.last,
        offset: state.moving.drift.offset(),
        learned: state.moving.drift.learned(),
        throttle: state.throttle.into(),
        last_accept: state.last_accept.map(UnixTime::as_millis),
        issued,
        used: state.used.bits(),
        sends,
        ahead: state.moving.ahead.ranges().collect(),
        repaired: state.repaired.map(|repaired| {
            let until = repaired.until.map(UnixTime::as_millis);
            (repaired.at.as_millis(), until)
        }),
    };
    let more = TokenStateV2 {
        client: state.client,
        round: state.round,
    };
    // Of most tokens the server sends nothing: their rows stay as short.
    match more {
        TokenStateV2 {
            client: None,
            round: None,
        } => row(1, &form),
        more => row(2, &(form, more)),
    }
}

/// Reads consumed steps.
pub(crate) fn ahead(ranges: &[(u64, u64)]) -> Ahead {
    let ranges = ranges.iter().copied();
    ranges.fold(Ahead::default(), |ahead, (first, last)| {
        ahead.with(first, last)
    })
}

/// Reads a token's moving factor and counters.
pub(crate) fn token_state(bytes: &[u8]) -> Result<TokenState, StoreError> {
    let (form, more): (TokenStateV1, TokenStateV2) = match bytes.first() {
        Some(1) => (take(1, bytes)?, TokenStateV2::default()),
        _ => take(2, bytes)?,
    };
    let drift = Drift::new(form.offset, form.learned).ok_or(BAD_FORM)?;
    let issued = form.issued.map(|issued| {
        Ok::<_, StoreError>(Issued {
            number: issued.number,
            way: Way::from_number(issued.way).ok_or(BAD_FORM)?,
            mark: Mark::from_bytes(issued.mark),
            pair: issued.pair.map(|(first, second)| Pair { first, second }),
            expires: UnixTime::from_millis(issued.expires),
            tries: issued.tries,
            answered: issued.answered,
        })
    });
    let sends = form.sends.map(|(last, streak)| Sends {
        last: UnixTime::from_millis(last),
        streak,
    });
    Ok(TokenState {
        moving: Moving {
            last: form.last,
            drift,
            ahead: ahead(&form.ahead),
        },
        throttle: form.throttle.into(),
        last_accept: form.last_accept.map(UnixTime::from_millis),
        issued: issued.transpose()?,
        used: Used::from_bits(form.used),
        sends: sends.unwrap_or_default(),
        repaired: form.repaired.map(|(at, until)| Repaired {
            at: UnixTime::from_millis(at),
            until: until.map(UnixTime::from_millis),
        }),
        client: more.client,
        round: more.round,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_a_user_are_read_in_both_versions() {
        let answered = |challenge| Answered {
            challenge,
            expires: UnixTime::from_secs(240),
        };
        let at = UnixTime::from_secs(120);
        let state = UserState::default()
            .answer(answered(7), at)
            .answer_right(answered(9), at);
        let stored = user_state_row(&state).unwrap();
        assert_eq!(user_state(&stored).unwrap(), state);
        // As versions before wrote it: without what follows the answers.
        let right = row(0, &state.right).unwrap();
        let body = stored[1..].strip_suffix(&right[1..]).unwrap();
        let mut before = vec![1];
        before.extend_from_slice(body);
        let expected = UserState {
            right: Vec::new(),
            ..state
        };
        assert_eq!(user_state(&before).unwrap(), expected);
    }

    #[test]
    fn rows_of_the_version_before_are_read() {
        let throttle = Throttle {
            failures: 7,
            block: Block::None,
        };
        let form = SourceStateV1 {
            throttle: throttle.into(),
            last: 5,
        };
        let before = SourceState {
            throttle,
            last: UnixTime::from_millis(5),
            ..SourceState::default()
        };
        assert_eq!(source_state(&row(1, &form).unwrap()).unwrap(), before);
        // That of a token that the server sends nothing is still written.
        let octets = token_state_row(&TokenState::default()).unwrap();
        assert_eq!(octets.first(), Some(&1));
        assert_eq!(token_state(&octets).unwrap(), TokenState::default());
    }

    #[test]
    fn rows_read_back() {
        let mut state = SourceState::default();
        for (name, place) in (1..).zip(&mut state.names) {
            let failures = name * 3;
            *place = Tried { name, failures };
        }
        let octets = source_state_row(&state).unwrap();
        assert_eq!(source_state(&octets).unwrap(), state);
        for (client, round) in [(Some(7), None), (None, Some(9)), (Some(7), Some(9))] {
            let state = TokenState {
                client,
                round,
                ..TokenState::default()
            };
            let octets = token_state_row(&state).unwrap();
            assert_eq!(token_state(&octets).unwrap(), state);
        }
    }
}
