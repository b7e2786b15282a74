//! Whose challenge is answered: `LinOTP`'s `check_t` names the challenge and no user.
//!
//! Invariant: what is remembered here decides nothing. A challenge is bound to its client and its user, and is opened with
//! both.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::time::UnixTime;

/// Challenges that were handed out lately, and the users they were for.
#[derive(Default)]
pub(crate) struct Rounds(Mutex<HashMap<(String, String), (String, UnixTime)>>);

impl Rounds {
    /// Notes for whom a client was given a challenge.
    pub(super) fn note(&self, client: &str, id: &str, user: &str, at: UnixTime) {
        let mut rounds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rounds.len() >= MOST {
            rounds.retain(|_, (_, since)| at.since(*since) < KEPT);
        }
        // Where there are too many, the answers of new ones are refused.
        if rounds.len() < MOST {
            let challenge = (client.to_owned(), id.to_owned());
            rounds.insert(challenge, (user.to_owned(), at));
        }
    }

    /// For whom it was.
    pub(super) fn user(&self, client: &str, id: &str) -> Option<String> {
        let rounds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let challenge = (client.to_owned(), id.to_owned());
        rounds.get(&challenge).map(|(user, _)| user.clone())
    }
}

/// Most challenges that are remembered.
const MOST: usize = 16_384;
/// Longer than any challenge is answered.
const KEPT: Duration = Duration::from_mins(15);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_bounded_and_old_ones_make_room() {
        let rounds = Rounds::default();
        let now = UnixTime::from_secs(1_795_000_000);
        for number in 0..=MOST {
            rounds.note("fw", &number.to_string(), "ann", now);
        }
        assert_eq!(rounds.user("fw", "0").as_deref(), Some("ann"));
        assert_eq!(rounds.user("other", "0"), None);
        assert_eq!(rounds.user("fw", &MOST.to_string()), None);
        rounds.note("fw", "late", "bob", now.plus(KEPT));
        assert_eq!(rounds.user("fw", "late").as_deref(), Some("bob"));
        assert_eq!(rounds.user("fw", "0"), None);
    }
}
