//! Links by which a person makes their account of the console: the first administrator's, and those after.
//!
//! ```text
//! https://HOST/console/setup#K3QF-9TZM-4W8X   the part behind # stays in the browser: no log, proxy or Referer has it
//! ```
//!
//! Made on the machine of the daemon only (admin socket). 60 bits, ten minutes, once; only the SHA-256 is kept, in
//! this process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::api::{ConsoleLink, ConsoleLinkWanted};
use crate::model::client::Scope;
use crate::model::user_key::{CONSOLE, UserKey};
use crate::secret::{SecretString, random};
use crate::server::http::caller::Caller;
use crate::web::Web;
use crate::web::person::ROLES;

/// The links that are open, and what was begun with one.
#[derive(Default)]
pub(crate) struct Links(Mutex<HashMap<[u8; 32], Link>>);

/// One link.
#[derive(Clone)]
pub(crate) struct Link {
    /// Whose account it makes, or makes anew; anyone's who is not there yet when none.
    pub(crate) user: Option<UserKey>,
    /// What it gives; none: a new person everything, others nothing new.
    pub(crate) role: Option<Scope>,
    /// Who made it.
    pub(crate) by: Caller,
    /// What was begun with it, and waits for the first code.
    pub(crate) begun: Option<Begun>,
    until: Instant,
}

/// An account without a proven authenticator.
#[derive(Clone)]
pub(crate) struct Begun {
    pub(crate) user: UserKey,
    pub(crate) serial: String,
    pub(crate) uri: SecretString,
    pub(crate) secret: SecretString,
}

impl Links {
    /// The link of this code, as people type it.
    pub(crate) fn find(&self, code: &str, now: Instant) -> Option<Link> {
        let link = self.lock().get(&key(code)).cloned();
        link.filter(|link| link.until > now)
    }

    /// Notes what was begun with it.
    pub(crate) fn begin(&self, code: &str, begun: Begun) {
        if let Some(link) = self.lock().get_mut(&key(code)) {
            link.begun = Some(begun);
        }
    }

    /// It is used up; says whether it was still there.
    pub(crate) fn end(&self, code: &str) -> bool {
        self.lock().remove(&key(code)).is_some()
    }

    fn add(&self, code: &str, link: Link) {
        let mut all = self.lock();
        all.retain(|_, link| link.until > Instant::now());
        if all.len() >= MOST {
            let oldest = all.iter().min_by_key(|(_, link)| link.until);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                all.remove(&oldest);
            }
        }
        all.insert(key(code), link);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Link>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Web {
    /// Makes a link; the error says what is wrong with what was asked for.
    pub(crate) fn make_link(
        &self,
        wanted: &ConsoleLinkWanted,
        by: Caller,
    ) -> Result<ConsoleLink, String> {
        let role = match wanted.role.as_deref() {
            None => None,
            Some(word) => {
                let role = ROLES.into_iter().find(|role| role.as_str() == word);
                Some(role.ok_or("role: one of admin, operator, approver, auditor")?)
            }
        };
        let user = match wanted.user.as_deref() {
            None => None,
            Some(name) => Some(person_named(name).ok_or("for: a name, as kim")?),
        };
        let octets = random::<12>(self.entropy.as_ref()).map_err(|error| error.to_string())?;
        let mut code = String::new();
        for (place, octet) in octets.into_iter().enumerate() {
            if place > 0 && place % 4 == 0 {
                code.push('-');
            }
            let sign = ALPHABET.get(usize::from(octet % 32));
            code.push(sign.copied().map_or('0', char::from));
        }
        let link = Link {
            user,
            role,
            by,
            begun: None,
            until: Instant::now() + LIFE,
        };
        self.links.add(&code, link);
        Ok(ConsoleLink {
            code,
            link: None,
            role: role.map(|role| role.to_string()),
            expires_in: LIFE.as_secs(),
        })
    }
}

/// The person of this name: `kim` or `kim@console`.
pub(crate) fn person_named(name: &str) -> Option<UserKey> {
    let key = UserKey::parse_in(name, CONSOLE).ok()?;
    (key.realm() == CONSOLE).then_some(key)
}

/// Of what a person typed only the signs count, and those that look like others are these.
fn key(code: &str) -> [u8; 32] {
    let signs = code.chars().filter(|sign| !matches!(sign, '-' | ' '));
    let plain = signs.map(|sign| match sign.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    });
    let plain = SecretString::new(plain.take(64).collect());
    Sha256::digest(plain.expose().as_bytes()).into()
}

/// Crockford's alphabet: nothing in it looks like another.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// How long a link is good.
const LIFE: Duration = Duration::from_mins(10);
/// Links that are open at a time.
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_type_it() {
        assert_eq!(key("K3QF-9TZM-4W8X"), key("k3qf 9tzm4w8x"));
        assert_eq!(key("0011"), key("oOiL"));
        assert_ne!(key("K3QF"), key("K3QG"));
    }

    #[test]
    fn names_are_of_the_realm_of_the_console() {
        assert_eq!(person_named("Kim").unwrap().to_string(), "kim@console");
        assert!(person_named("kim@default").is_none());
        assert!(person_named("kim@console").is_some());
        assert!(person_named("").is_none());
    }
}
