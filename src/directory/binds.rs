//! Passwords that a directory checks: one bind for one attempt.
//!
//! ```text
//! identity + password -> known a moment ago? its answer : breaker -> place (bulkhead) -> search, bind -> answer
//! ```
//!
//! Invariants: an empty password and one with a NUL are never asked about: many directories take a bind without
//! a password for one without a name, and say yes (RFC 4513 s5.1.2). What is asked is asked once: the same attempt
//! again, retransmitted or decided anew, waits for the same answer, which is kept for [`KEPT`]. Who has waited for
//! `bind_timeout` gets no decision; the bind goes on, for the directory counts it all the same. A directory
//! that fails fills its own places and then is left alone for a while; other sources have their own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::config::sources::ldap::Password;
use crate::core::courier::BreakerState;
use crate::core::directory::PasswordAnswer;
use crate::delivery::breaker::{Breaker, Pass};
use crate::directory::ldap::Server;
use crate::secret::{Key256, SecretString};
use crate::time::Clock;

/// What came of a bind, once it is known.
type Answer = Option<Result<PasswordAnswer, String>>;
type Mark = [u8; 32];

/// The binds of one source.
pub(super) struct Binds {
    server: Arc<Server>,
    settings: Password,
    /// Of what is kept in place of passwords.
    key: Arc<Key256>,
    asked: Arc<Mutex<HashMap<Mark, watch::Receiver<Answer>>>>,
    breaker: Arc<Mutex<Breaker>>,
    places: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
    /// Front ends have runtimes of their own, which end before a bind may.
    runtime: tokio::runtime::Handle,
}

impl Binds {
    pub(super) fn new(
        server: Arc<Server>,
        settings: Password,
        key: Arc<Key256>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let breaker = Breaker::new(settings.breaker_failures, settings.breaker_pause);
        Self {
            places: Arc::new(Semaphore::new(settings.in_flight)),
            breaker: Arc::new(Mutex::new(breaker)),
            asked: Arc::default(),
            runtime: tokio::runtime::Handle::current(),
            server,
            settings,
            key,
            clock,
        }
    }

    pub(super) fn state(&self) -> BreakerState {
        self.breaker
            .lock()
            .expect(UNPOISONED)
            .state(self.clock.now())
    }

    /// What the directory says of the password of this identity.
    pub(super) async fn ask(
        &self,
        id: &str,
        password: &SecretString,
    ) -> Result<PasswordAnswer, String> {
        let text = password.expose();
        if text.is_empty() || text.contains('\0') {
            return Ok(PasswordAnswer::Wrong);
        }
        let mut answer = self.asked_or_ask(id, password)?;
        let wait = self.settings.timeout;
        let known = timeout(wait, answer.wait_for(Option::is_some)).await;
        let late = || format!("no answer within {} ms", wait.as_millis());
        let known = known.map_err(|_| late())?;
        let known = known.map_err(|_| "the bind was given up".to_owned())?;
        known.clone().unwrap_or_else(|| Err(late()))
    }

    fn asked_or_ask(
        &self,
        id: &str,
        password: &SecretString,
    ) -> Result<watch::Receiver<Answer>, String> {
        let mark = self.mark(id, password);
        let mut asked = self.asked.lock().expect(UNPOISONED);
        if let Some(known) = asked.get(&mark) {
            return Ok(known.clone());
        }
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| "too many binds are under way".to_owned())?;
        let now = self.clock.now();
        let pass = self.breaker.lock().expect(UNPOISONED).admit(now);
        let pass = pass.ok_or("not asked for a while, after failures in a row")?;
        let (tell, known) = watch::channel(None);
        asked.insert(mark, known.clone());
        drop(asked);
        let (server, asked) = (Arc::clone(&self.server), Arc::clone(&self.asked));
        let (breaker, clock) = (Arc::clone(&self.breaker), Arc::clone(&self.clock));
        let (id, password, wait) = (id.to_owned(), password.clone(), self.settings.timeout);
        self.runtime.spawn(async move {
            let asking = Asking {
                breaker: &breaker,
                clock: clock.as_ref(),
                pass: Some(pass),
            };
            let began = Instant::now();
            let answer = server.check(&id, &password, clock.now()).await;
            asking.ended(answer.is_ok() && began.elapsed() <= wait);
            drop(place);
            let kept = if answer.is_ok() { KEPT } else { Duration::ZERO };
            tell.send_replace(Some(answer));
            sleep(kept).await;
            asked.lock().expect(UNPOISONED).remove(&mark);
        });
        Ok(known)
    }

    /// Stands for an identity and a password.
    fn mark(&self, id: &str, password: &SecretString) -> Mark {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.key.expose()).expect("any length is a key");
        for part in [id, password.expose()] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }
}

/// A bind under way, for the breaker: one that is never ended was given up.
struct Asking<'a> {
    breaker: &'a Mutex<Breaker>,
    clock: &'a dyn Clock,
    pass: Option<Pass>,
}

impl Asking<'_> {
    fn ended(mut self, well: bool) {
        let Some(pass) = self.pass.take() else { return };
        let mut breaker = self.breaker.lock().expect(UNPOISONED);
        if well {
            breaker.succeeded();
        } else {
            breaker.failed(pass, self.clock.now());
        }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if let Some(pass) = self.pass.take() {
            self.breaker.lock().expect(UNPOISONED).abandoned(pass);
        }
    }
}

/// How long an answer stands: the time in which a NAS sends the same again.
const KEPT: Duration = Duration::from_secs(10);
const UNPOISONED: &str = "no panic while the lock is held";
