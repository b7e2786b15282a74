//! Enrolments that were refused although no live code was guessed at: unknown users, users without
//! such a token, what cannot be a code.
//!
//! Invariants: a guess at a live code has an audit record of its own and counts against its user, always;
//! those are few, because five of them void the code. Of the others [`RECORDED`] a minute have records;
//! what is more is counted here and put on record together, by cause and address.
//!
//! Threats T19, T20: an attacker without a key fills the disk and the audit trail. Threats T13: what is
//! not put on record is refused sooner than what is, so that from then on all refusals wait [`WAIT`].

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use crate::login::Login;
use crate::model::reason::Reason;
use crate::model::source::Source;
use crate::store::{By, Change, StoreError};
use crate::time::UnixTime;

/// What was refused within a minute.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    began: UnixTime,
    recorded: u32,
    causes: BTreeMap<&'static str, u64>,
    sources: BTreeMap<Option<Source>, u64>,
    elsewhere: u64,
}

impl Refusals {
    /// Whether one more has a record of its own. Otherwise it is counted.
    pub(crate) fn is_recorded(&self, reason: Reason, source: Option<IpAddr>, at: UnixTime) -> bool {
        let mut minute = self.0.lock().expect(UNPOISONED);
        if minute.is_over(at) && minute.causes.is_empty() {
            *minute = Minute {
                began: at,
                ..Minute::default()
            };
        }
        if minute.recorded < RECORDED {
            minute.recorded += 1;
            return true;
        }
        *minute.causes.entry(reason.as_str()).or_default() += 1;
        let source = source.map(Source::from);
        if minute.sources.len() < SOURCES || minute.sources.contains_key(&source) {
            *minute.sources.entry(source).or_default() += 1;
        } else {
            minute.elsewhere += 1;
        }
        false
    }

    /// How long refusals must wait now at least.
    pub(crate) fn wait(&self) -> Duration {
        let minute = self.0.lock().expect(UNPOISONED);
        if minute.recorded < RECORDED {
            Duration::ZERO
        } else {
            WAIT
        }
    }

    /// What was counted in the minute before, if it is over or `ends` now; a new one begins.
    fn counted(&self, at: UnixTime, ends: bool) -> Option<String> {
        let mut minute = self.0.lock().expect(UNPOISONED);
        if minute.causes.is_empty() || !(ends || minute.is_over(at)) {
            return None;
        }
        let over = std::mem::replace(
            &mut *minute,
            Minute {
                began: at,
                ..Minute::default()
            },
        );
        Some(over.words())
    }
}

impl Minute {
    /// A clock set back ends it too.
    fn is_over(&self, at: UnixTime) -> bool {
        at < self.began || at.since(self.began) >= MINUTE
    }

    fn words(&self) -> String {
        let total: u64 = self.causes.values().sum();
        let mut words = format!("{total} more from {}:", self.began.rfc3339());
        for (cause, count) in &self.causes {
            let _ = write!(words, " {cause} {count}");
        }
        let mut sources: Vec<_> = self.sources.iter().collect();
        sources.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        words.push_str("; by address:");
        let mut rest = self.elsewhere;
        for (place, (source, count)) in sources.into_iter().enumerate() {
            match source {
                _ if place >= NAMED => rest += count,
                Some(source) => _ = write!(words, " {source} {count}"),
                None => _ = write!(words, " unknown {count}"),
            }
        }
        if rest > 0 {
            let _ = write!(words, " others {rest}");
        }
        words
    }
}

impl Login {
    /// Puts on record what was counted in a minute that is over, or that `ends` with the daemon.
    pub async fn note_refusals(&self, ends: bool) -> Result<(), StoreError> {
        let Ok((request, at)) = self.core.arrival() else {
            return Ok(());
        };
        let Some(detail) = self.refusals.counted(at, ends) else {
            return Ok(());
        };
        let by = By::daemon((request, at));
        let change = Change::Note {
            action: "enrol_refused",
            target: "enrolments".to_owned(),
            user: None,
            detail,
        };
        self.core.store.change(change, by).await
    }
}

/// Refusals a minute that have records of their own.
const RECORDED: u32 = 60;
/// Addresses that are told apart in a minute, and those that its record names.
const SOURCES: usize = 1024;
const NAMED: usize = 8;
const MINUTE: Duration = Duration::from_mins(1);
/// Longer than a commit takes.
const WAIT: Duration = Duration::from_millis(250);
const UNPOISONED: &str = "no panic while the lock is held";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_so_many_a_minute_they_are_counted() {
        let refusals = Refusals::default();
        let at = UnixTime::from_secs(1_800_000_000);
        let from = |last: u8| Some(IpAddr::from([192, 0, 2, last]));
        let recorded = (0..100).filter(|_| refusals.is_recorded(Reason::NoToken, from(1), at));
        assert_eq!(recorded.count(), 60);
        assert_eq!(refusals.wait(), WAIT);
        assert!(!refusals.is_recorded(Reason::UnknownUser, None, at));
        for last in 0..20 {
            refusals.is_recorded(Reason::UnknownUser, from(last), at);
        }
        assert_eq!(refusals.counted(at, false), None, "the minute is not over");
        let later = at.plus(MINUTE);
        let words = refusals.counted(later, false).unwrap();
        assert!(words.starts_with("61 more from 2027-01-15"), "{words}");
        assert!(words.contains("no_token 40 unknown_user 21"), "{words}");
        assert!(words.contains("192.0.2.1 41"), "{words}");
        assert!(words.ends_with("others 13"), "{words}");
        assert_eq!(refusals.counted(later, true), None, "once");
        assert!(refusals.is_recorded(Reason::NoToken, from(1), later));
        assert_eq!(refusals.wait(), Duration::ZERO);
    }

    #[test]
    fn a_clock_set_back_begins_a_new_minute() {
        let refusals = Refusals::default();
        let at = UnixTime::from_secs(1_800_000_000);
        for _ in 0..60 {
            refusals.is_recorded(Reason::NoToken, None, at);
        }
        assert!(refusals.is_recorded(Reason::NoToken, None, UnixTime::from_secs(1_700_000_000)));
    }
}
