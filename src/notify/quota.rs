//! How many notices a user gets in a day.
//!
//! Counted in memory: after a start a user may get as many again, which a crash is not worth.

use std::collections::HashMap;

use crate::model::issue::day;
use crate::model::user_key::UserKey;
use crate::notice::{Notice, Topic};
use crate::time::UnixTime;

/// Counts of one day.
#[derive(Debug, Default)]
pub(super) struct Quota {
    day: u64,
    counts: HashMap<UserKey, Count>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    all: u32,
    locks: u32,
    refused: u32,
}

/// Whether a notice may be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Allowed {
    Yes,
    /// There were enough. `first`: this is the first one that is refused that day.
    No {
        first: bool,
    },
}

impl Quota {
    /// Notices to one user in a day, apart from the codes that they ask for. An honest user sees a
    /// handful: a telephone that is replaced gives five.
    pub(super) const USER: u32 = 20;
    /// Of these, notices of locks.
    const LOCKS: u32 = Self::USER / 2;

    /// Counts a notice.
    pub(super) fn take(&mut self, notice: &Notice, now: UnixTime) -> Allowed {
        let today = day(now);
        if self.day != today {
            self.day = today;
            self.counts.clear();
        }
        let count = self.counts.entry(notice.user.clone()).or_default();
        let lock = notice.topic == Topic::Locked;
        if count.all >= Self::USER || (lock && count.locks >= Self::LOCKS) {
            count.refused += 1;
            return Allowed::No {
                first: count.refused == 1,
            };
        }
        count.all += 1;
        count.locks += u32::from(lock);
        Allowed::Yes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOW: UnixTime = UnixTime::from_secs(1_795_000_000);

    fn of(topic: Topic, user: &str) -> Notice {
        Notice {
            topic,
            user: UserKey::parse(user).unwrap(),
            target: None,
            client: None,
            policy: None,
            for_good: false,
            left: None,
            at: NOW,
        }
    }

    #[test]
    fn locks_leave_room_for_what_matters_more() {
        let mut quota = Quota::default();
        let (lock, enrolment) = (of(Topic::Locked, "alice"), of(Topic::DeviceBound, "alice"));
        for _ in 0..10 {
            assert_eq!(quota.take(&lock, NOW), Allowed::Yes);
        }
        assert_eq!(quota.take(&lock, NOW), Allowed::No { first: true });
        assert_eq!(quota.take(&lock, NOW), Allowed::No { first: false });
        for _ in 0..10 {
            assert_eq!(quota.take(&enrolment, NOW), Allowed::Yes);
        }
        assert_eq!(quota.take(&enrolment, NOW), Allowed::No { first: false });
        assert_eq!(quota.take(&of(Topic::Locked, "bob"), NOW), Allowed::Yes);
        let tomorrow = NOW.plus(Duration::from_hours(24));
        assert_eq!(quota.take(&lock, tomorrow), Allowed::Yes);
    }
}
