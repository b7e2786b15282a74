//! Sessions of people who have signed in.
//!
//! ```text
//! cookie = 256 random bits; kept: their SHA-256, who, and what they signed in with
//! ends: 15 minutes without a request, 12 hours after the sign-in, when the person changes, on demand, and
//!       with the daemon
//! goes on under another cookie after a change that was made in it, for what is left of the 12 hours
//! ```
//!
//! Threats: a session id that an attacker chose is never taken, since every sign-in draws a new one; a copy of
//! memory or of the store opens nothing; a stolen cookie ends when the person's roles, password or tokens
//! change ([`Ground`]).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::model::user_key::UserKey;
use crate::secret::{Entropy, EntropyError, SecretString, random};
use crate::time::UnixTime;
use crate::web::person::Ground;

/// All sessions of this process.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<[u8; 32], Session>>);

/// One session.
#[derive(Clone)]
pub(crate) struct Session {
    /// What lists call it; says nothing of its cookie.
    pub(crate) id: String,
    pub(crate) user: UserKey,
    /// What the person signed in with.
    pub(crate) ground: Ground,
    pub(crate) began: UnixTime,
    pub(crate) seen: UnixTime,
    pub(crate) address: Option<IpAddr>,
    pub(crate) browser: String,
    opened: Instant,
    used: Instant,
    proven: Instant,
}

impl Session {
    /// Whether the person has proven so lately who they are that dangerous acts are theirs.
    pub(crate) fn is_proven(&self, now: Instant) -> bool {
        now < self.proven + STEP_UP
    }

    fn is_over(&self, now: Instant) -> bool {
        now >= self.used + IDLE || now >= self.opened + LONGEST
    }
}

/// Who signs in, and from where.
pub(crate) struct Opening {
    pub(crate) user: UserKey,
    pub(crate) ground: Ground,
    pub(crate) at: UnixTime,
    pub(crate) address: Option<IpAddr>,
    pub(crate) browser: String,
}

impl Sessions {
    /// Begins one; returns what its cookie holds. Of one person the oldest gives way to the newest.
    pub(crate) fn open(
        &self,
        opening: Opening,
        now: Instant,
        entropy: &dyn Entropy,
    ) -> Result<SecretString, EntropyError> {
        let (cookie, key) = fresh(entropy)?;
        let session = Session {
            id: HEXLOWER.encode(&random::<8>(entropy)?),
            user: opening.user,
            ground: opening.ground,
            began: opening.at,
            seen: opening.at,
            address: opening.address,
            browser: opening.browser,
            opened: now,
            used: now,
            proven: now,
        };
        let mut all = self.lock();
        all.retain(|_, session| !session.is_over(now));
        loop {
            let of_person = all.values().filter(|one| one.user == session.user).count();
            let person = (of_person >= PER_PERSON).then_some(&session.user);
            if person.is_none() && all.len() < MOST {
                break;
            }
            let fits = |one: &Session| person.is_none_or(|user| one.user == *user);
            let oldest = all.iter().filter(|(_, one)| fits(one));
            let oldest = oldest.min_by_key(|(_, one)| one.used).map(|(key, _)| *key);
            let Some(oldest) = oldest else { break };
            all.remove(&oldest);
        }
        all.insert(key, session);
        Ok(cookie)
    }

    /// The session of a cookie, which is thereby in use.
    pub(crate) fn find(&self, cookie: &str, at: UnixTime, now: Instant) -> Option<Session> {
        let key = key(cookie);
        let mut all = self.lock();
        let session = all.get_mut(&key)?;
        if session.is_over(now) {
            all.remove(&key);
            return None;
        }
        session.used = now;
        session.seen = at;
        Some(session.clone())
    }

    /// The session goes on under a new cookie and stands on this from now on; `None` where it has ended.
    pub(crate) fn renew(
        &self,
        cookie: &str,
        ground: Ground,
        now: Instant,
        entropy: &dyn Entropy,
    ) -> Result<Option<SecretString>, EntropyError> {
        self.goes_on(cookie, now, entropy, |session| session.ground = ground)
    }

    /// The same after the person has proven again who they are.
    pub(crate) fn step_up(
        &self,
        cookie: &str,
        ground: Ground,
        now: Instant,
        entropy: &dyn Entropy,
    ) -> Result<Option<SecretString>, EntropyError> {
        self.goes_on(cookie, now, entropy, |session| {
            session.ground = ground;
            session.proven = now;
        })
    }

    fn goes_on(
        &self,
        cookie: &str,
        now: Instant,
        entropy: &dyn Entropy,
        change: impl FnOnce(&mut Session),
    ) -> Result<Option<SecretString>, EntropyError> {
        let (renewed, key_then) = fresh(entropy)?;
        let mut all = self.lock();
        let found = all.remove(&key(cookie));
        let Some(mut session) = found.filter(|session| !session.is_over(now)) else {
            return Ok(None);
        };
        change(&mut session);
        all.insert(key_then, session);
        Ok(Some(renewed))
    }

    /// Ends the session of a cookie.
    pub(crate) fn end(&self, cookie: &str) {
        self.lock().remove(&key(cookie));
    }

    /// Ends those that fit; says how many.
    pub(crate) fn end_those(&self, fits: impl Fn(&Session) -> bool) -> usize {
        let mut all = self.lock();
        let before = all.len();
        all.retain(|_, session| !fits(session));
        before - all.len()
    }

    /// Those that fit, the latest first.
    pub(crate) fn list(&self, now: Instant, fits: impl Fn(&Session) -> bool) -> Vec<Session> {
        let all = self.lock();
        let live = all
            .values()
            .filter(|one| !one.is_over(now) && fits(one))
            .cloned();
        let mut live: Vec<Session> = live.collect();
        live.sort_by_key(|session| std::cmp::Reverse(session.used));
        live
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fresh(entropy: &dyn Entropy) -> Result<(SecretString, [u8; 32]), EntropyError> {
    let cookie = SecretString::new(BASE64URL_NOPAD.encode(&random::<32>(entropy)?));
    let key = key(cookie.expose());
    Ok((cookie, key))
}

fn key(cookie: &str) -> [u8; 32] {
    Sha256::digest(cookie.as_bytes()).into()
}

/// Without a request it ends after this.
const IDLE: Duration = Duration::from_mins(15);
/// It ends after this in any case.
const LONGEST: Duration = Duration::from_hours(12);
/// How long a code counts for dangerous acts.
const STEP_UP: Duration = Duration::from_mins(5);
/// Sessions of all people.
const MOST: usize = 10_000;
/// Sessions of one person.
const PER_PERSON: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SystemEntropy;

    fn open(sessions: &Sessions, name: &str, now: Instant) -> SecretString {
        let opening = Opening {
            user: UserKey::with_realm(name, "console").unwrap(),
            ground: Ground::default(),
            at: UnixTime::EPOCH,
            address: None,
            browser: String::new(),
        };
        sessions.open(opening, now, &SystemEntropy).unwrap()
    }

    fn find(sessions: &Sessions, cookie: &SecretString, now: Instant) -> Option<Session> {
        sessions.find(cookie.expose(), UnixTime::EPOCH, now)
    }

    #[test]
    fn a_session_ends_by_idleness_and_by_age() {
        let (sessions, mut now) = (Sessions::default(), Instant::now());
        let cookie = open(&sessions, "kim", now);
        for _ in 0..48 {
            assert!(find(&sessions, &cookie, now).is_some());
            now += Duration::from_secs(15 * 60 - 1);
        }
        assert!(
            find(&sessions, &cookie, now).is_some(),
            "less than 12 hours"
        );
        now += Duration::from_mins(1);
        assert!(find(&sessions, &cookie, now).is_none(), "12 hours are over");
        let cookie = open(&sessions, "kim", now);
        assert!(find(&sessions, &cookie, now + IDLE).is_none());
    }

    #[test]
    fn a_step_up_lasts_five_minutes_and_changes_the_cookie() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let cookie = open(&sessions, "kim", now);
        let later = now + STEP_UP;
        assert!(find(&sessions, &cookie, now).unwrap().is_proven(now));
        assert!(!find(&sessions, &cookie, later).unwrap().is_proven(later));
        let ground = Ground::default();
        let renewed = sessions.step_up(cookie.expose(), ground, later, &SystemEntropy);
        let renewed = renewed.unwrap().unwrap();
        assert!(find(&sessions, &cookie, later).is_none());
        assert!(find(&sessions, &renewed, later).unwrap().is_proven(later));
    }

    /// What is changed in a session buys it no time.
    #[test]
    fn a_session_that_goes_on_ends_when_it_would_have() {
        let (sessions, began) = (Sessions::default(), Instant::now());
        let mut cookie = open(&sessions, "kim", began);
        let renewed = |cookie: &SecretString, now: Instant| {
            let ground = Ground::default();
            let renewed = sessions.renew(cookie.expose(), ground, now, &SystemEntropy);
            renewed.unwrap()
        };
        let mut now = began;
        while now + Duration::from_mins(14) < began + LONGEST {
            now += Duration::from_mins(14);
            assert!(find(&sessions, &cookie, now).is_some());
            let next = renewed(&cookie, now).unwrap();
            assert!(renewed(&cookie, now).is_none(), "once");
            cookie = next;
        }
        assert!(renewed(&cookie, began + LONGEST).is_none());
        let other = open(&sessions, "kim", began);
        sessions.end(other.expose());
        assert!(renewed(&other, began).is_none(), "it was ended");
    }

    #[test]
    fn there_is_a_bound_on_all_sessions_and_the_oldest_gives_way() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let first = open(&sessions, "first", now);
        let one = find(&sessions, &first, now).unwrap();
        for number in 1..MOST as u64 {
            let user = UserKey::with_realm(&format!("u{number}"), "console").unwrap();
            let used = now + Duration::from_millis(number);
            let session = Session {
                user,
                used,
                ..one.clone()
            };
            let key = Sha256::digest(number.to_be_bytes()).into();
            sessions.lock().insert(key, session);
        }
        let later = now + Duration::from_mins(1);
        let new = open(&sessions, "new", later);
        assert_eq!(sessions.lock().len(), MOST);
        assert!(find(&sessions, &first, later).is_none(), "the oldest");
        assert!(find(&sessions, &new, later).is_some());
    }

    #[test]
    fn a_person_has_a_few_sessions_and_no_one_elses_end_for_them() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let other = open(&sessions, "lee", now);
        let first = open(&sessions, "kim", now);
        for later in 1..=PER_PERSON {
            open(&sessions, "kim", now + Duration::from_millis(later as u64));
        }
        let now = now + Duration::from_secs(1);
        assert!(find(&sessions, &other, now).is_some());
        assert!(find(&sessions, &first, now).is_none());
        let listed = sessions.list(now, |one| one.user.name() == "kim");
        assert_eq!(listed.len(), PER_PERSON);
    }
}
