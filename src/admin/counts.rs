//! How many users there are of each sort, for the tabs above lists of them.
//!
//! Of few users all are counted whenever it is asked. Of many the last count is given; when it is old another one
//! begins, which takes at most a twentieth of the time and lets logins run in between.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::admin::Admin;
use crate::admin::find::{UserState, has_token, is_in, lock};
use crate::model::user_key::{CONSOLE, UserKey};
use crate::otp::throttle::Blocked;
use crate::store::{StoreError, View};
use crate::time::UnixTime;

/// How many users there are of each sort.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// All.
    pub all: u64,
    /// Without a token that can be used or is on its way.
    pub without_token: u64,
    /// With a token that waits for its first code, or to be handed out.
    pub pending: u64,
    /// Locked, or with a locked token in use.
    pub locked: u64,
    /// Disabled, or with a suspended token.
    pub suspended: u64,
    /// With an exception that holds.
    pub exempt: u64,
}

/// A count of all users.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// Of users.
    pub users: Counts,
    /// Of the people of the console.
    pub console: Counts,
    /// When it was made.
    pub at: UnixTime,
}

/// The last count.
#[derive(Default)]
pub(super) struct Census(Mutex<Known>);

#[derive(Default)]
struct Known {
    last: Option<Counted>,
    /// Not before this another one begins; none while one is going on.
    next: Option<Instant>,
    is_going_on: bool,
}

impl Census {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn add(&mut self, view: &View, now: UnixTime) {
        let holds = |state| u64::from(is_in(state, &view.user, Some(view), now));
        self.all += 1;
        self.without_token += u64::from(!has_token(view, now));
        self.locked += u64::from(matches!(
            lock(view, now).check(now),
            Err(Blocked::Locked { .. })
        ));
        self.pending += holds(UserState::Pending);
        self.suspended += holds(UserState::Suspended);
        self.exempt += holds(UserState::Exempt);
    }
}

impl Admin {
    /// The last count, and whether [`Admin::count_all`] should make another one. Where there are few users they are
    /// counted now.
    pub fn counts(&self) -> Result<(Option<Counted>, bool), StoreError> {
        let last = self.census.lock().last;
        let is_small = last.is_none_or(|last| last.users.all + last.console.all < FEW as u64);
        if is_small {
            let (mut counted, mut after) = (self.none_yet(), None);
            if self.count_page(&mut counted, &mut after, FEW)? {
                let mut known = self.census.lock();
                if !known.is_going_on {
                    known.last = Some(counted);
                }
                return Ok((Some(counted), false));
            }
        }
        let mut known = self.census.lock();
        let is_time = known.next.is_none_or(|next| Instant::now() >= next);
        let begins = is_time && !known.is_going_on;
        known.is_going_on |= begins;
        Ok((known.last, begins))
    }

    /// Counts all users, as [`Admin::counts`] asked for it.
    pub async fn count_all(&self) -> Result<(), StoreError> {
        let began = Instant::now();
        let (mut counted, mut after) = (self.none_yet(), None);
        let outcome = loop {
            match self.count_page(&mut counted, &mut after, BATCH) {
                Ok(true) => break Ok(counted),
                Ok(false) => tokio::task::yield_now().await,
                Err(error) => break Err(error),
            }
        };
        let mut known = self.census.lock();
        known.is_going_on = false;
        known.next = Some(Instant::now() + (began.elapsed() * SHARE).max(SHORTEST));
        known.last = outcome.as_ref().ok().copied().or(known.last);
        outcome.map(drop)
    }

    fn none_yet(&self) -> Counted {
        Counted {
            users: Counts::default(),
            console: Counts::default(),
            at: self.core.now(),
        }
    }

    /// Counts the next users; says whether there are no more.
    fn count_page(
        &self,
        counted: &mut Counted,
        after: &mut Option<UserKey>,
        limit: usize,
    ) -> Result<bool, StoreError> {
        let page = self.core.store.users(after.as_ref(), limit)?;
        let is_last = page.len() < limit;
        for user in page {
            let view = match self.core.store.view(&user.key) {
                // Named elsewhere; the others are counted.
                Err(StoreError::Corrupt(_)) => None,
                view => view?,
            };
            if let Some(view) = view {
                let of = match user.key.realm() {
                    CONSOLE => &mut counted.console,
                    _ => &mut counted.users,
                };
                of.add(&view, counted.at);
            }
            *after = Some(user.key);
        }
        Ok(is_last)
    }
}

/// So many users are counted whenever it is asked: some 10 ms.
const FEW: usize = 1000;
/// Users counted at a time.
const BATCH: usize = 250;
/// A count is followed by a pause of so many times its length.
const SHARE: u32 = 20;
/// Shortest pause.
const SHORTEST: Duration = Duration::from_secs(30);
