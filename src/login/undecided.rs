//! The log of logins that were not decided: one line per client, cause and minute.
//!
//! Threat: a flood that finds no place for hashing and fills the disk with log lines (threats T20), or memory with
//! causes: at most [`CAUSES`] are told apart in a minute. What is left out is counted, and said by the next line;
//! the counter of undecided logins counts all.

use std::collections::HashSet;
use std::mem::{Discriminant, discriminant};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::core::CoreError;
use crate::login::LoginRequest;
use crate::model::id::RequestId;
use crate::time::UnixTime;

/// Remembers what was logged lately.
#[derive(Debug, Default)]
pub(super) struct Undecided(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    began: UnixTime,
    /// Not by the text: that of a clock that is behind differs with each.
    seen: HashSet<(String, Discriminant<CoreError>)>,
    /// Lines left out since the last one that was written.
    left_out: u64,
}

impl Undecided {
    /// Says that a login was not decided, and why.
    pub(super) fn log(&self, request: &LoginRequest<'_>, error: &CoreError) {
        let client = request.client.name.as_str();
        self.log_of((request.id, request.at), client, error);
    }

    /// The same of a request that is no login.
    pub(super) fn log_of(&self, (id, at): (RequestId, UnixTime), client: &str, error: &CoreError) {
        if let Some(left_out) = self.admit(client, error, at) {
            tracing::warn!(%id, client, %error, left_out, "no decision");
        }
    }

    /// How many lines were left out before this one; `None`: it is left out, too.
    fn admit(&self, client: &str, error: &CoreError, now: UnixTime) -> Option<u64> {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock set back begins a new minute too.
        if now < minute.began || now.since(minute.began) >= MINUTE {
            minute.began = now;
            minute.seen.clear();
        }
        let cause = (client.to_owned(), discriminant(error));
        if minute.seen.len() >= CAUSES || !minute.seen.insert(cause) {
            minute.left_out += 1;
            return None;
        }
        Some(std::mem::take(&mut minute.left_out))
    }
}

/// Clients and causes that are told apart in a minute.
const CAUSES: usize = 256;
const MINUTE: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_cause_is_one_line_a_minute() {
        let (log, now) = (Undecided::default(), UnixTime::from_secs(1_800_000_000));
        let busy = |client: &str, now| log.admit(client, &CoreError::Busy, now);
        let behind = |seen| {
            let error = CoreError::ClockBehind { now, seen };
            log.admit("console", &error, now)
        };
        let lines = (0..17_000).filter(|_| busy("console", now).is_some());
        assert_eq!(lines.count(), 1);
        assert_eq!(busy("vpn", now), Some(16_999), "another client");
        assert_eq!(behind(now.plus(MINUTE)), Some(0), "another cause");
        assert_eq!(behind(now.plus(MINUTE * 2)), None);
        assert_eq!(busy("console", now.plus(MINUTE)), Some(1));
        assert_eq!(busy("console", now), Some(0), "a clock set back");
    }

    #[test]
    fn memory_for_causes_is_bounded() {
        let (log, now) = (Undecided::default(), UnixTime::from_secs(1_800_000_000));
        let admitted = (0..CAUSES * 2).filter(|number| {
            let client = format!("app-{number}");
            log.admit(&client, &CoreError::Busy, now).is_some()
        });
        assert_eq!(admitted.count(), CAUSES);
        let later = log.admit("late", &CoreError::Busy, now.plus(MINUTE));
        assert!(later.is_some());
    }
}
