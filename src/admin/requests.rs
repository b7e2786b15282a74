//! Tokens that were asked for and wait for an approval, kept in memory: a list of them costs what they are, not what
//! all tokens are.
//!
//! Invariant: it decides nothing. Each is read again before it is listed, and what is no request any more is dropped;
//! until all tokens were looked at once, there is no list.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::admin::Admin;
use crate::model::id::Serial;
use crate::model::token::{LifeCycle, Token, TokenState};
use crate::model::user_key::UserKey;
use crate::store::StoreError;
use crate::time::UnixTime;

/// The serials.
#[derive(Default)]
pub(super) struct Requests {
    known: Mutex<BTreeSet<Serial>>,
    complete: AtomicBool,
}

impl Requests {
    /// A token was made, or changed.
    pub(super) fn is_now(&self, token: &Token) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if token.state == LifeCycle::Requested {
            known.insert(token.serial.clone());
        } else {
            known.remove(&token.serial);
        }
    }

    fn all(&self) -> Option<Vec<Serial>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let complete = self.complete.load(Ordering::Acquire);
        complete.then(|| known.iter().cloned().collect())
    }

    fn forget(&self, serial: &Serial) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(serial);
    }
}

impl Admin {
    /// Looks at all tokens, once; logins go first.
    pub async fn find_requests(&self) -> Result<(), StoreError> {
        let mut after: Option<(UserKey, Serial)> = None;
        loop {
            let position = after.as_ref().map(|(user, serial)| (user, serial));
            let page = self.core.store.tokens(position, BATCH)?;
            for (token, _) in page
                .iter()
                .filter(|(token, _)| token.state == LifeCycle::Requested)
            {
                self.requests.is_now(token);
            }
            after = page
                .into_iter()
                .last()
                .map(|(token, _)| (token.user, token.serial));
            if after.is_none() {
                self.requests.complete.store(true, Ordering::Release);
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
    }

    /// The tokens that wait for an approval, in order of owner; `None`: not all are known yet.
    pub fn requested(&self, at: UnixTime) -> Result<Option<Vec<(Token, TokenState)>>, StoreError> {
        let Some(serials) = self.requests.all() else {
            return Ok(None);
        };
        let mut found = Vec::new();
        for serial in serials {
            let token = self.core.store.token(&serial)?;
            match token.filter(|(token, _)| token.state_at(at) == LifeCycle::Requested) {
                Some(token) => found.push(token),
                None => self.requests.forget(&serial),
            }
        }
        found.sort_by_cached_key(|(token, _)| place(token));
        Ok(Some(found))
    }

    /// How many wait, as far as it is known.
    pub fn count_requests(&self) -> usize {
        self.requests.all().map_or(0, |serials| serials.len())
    }
}

/// Where a token stands in lists.
fn place(token: &Token) -> (String, String, Serial) {
    let user = &token.user;
    (
        user.realm().to_owned(),
        user.name().to_owned(),
        token.serial.clone(),
    )
}

/// Tokens that are looked at at a time.
const BATCH: usize = 250;
