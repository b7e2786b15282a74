//! `clock recover`: the present is what the clock says, and what a clock that was ahead left behind is
//! taken back.
//!
//! ```text
//! read the newest records: which steps were consumed
//!     -> user by user: one change, one audit record each; many share a commit
//!     -> vouch for the time: logins are decided again
//! ```
//!
//! Each call sees to so many users and names the last; the asker goes on behind that one.
//! It may be interrupted and run again: who was seen to is not seen to twice. Whose steps cannot be
//! read any more loses the steps up to the last one that was consumed, never a guarantee.
//!
//! Invariant: the time is vouched for when all is taken back, and not before: a login by the right time shows that
//! no record before it has a time to come that was not seen to.

use std::collections::HashMap;

use futures_util::future::try_join_all;

use crate::admin::Admin;
use crate::admin::AdminError;
use crate::model::audit::{AuditRecord, Event};
use crate::model::clock::{MARGIN, Present, changes};
use crate::model::id::Serial;
use crate::model::kind::Kind;
use crate::model::token::{LifeCycle, Token, TokenState};
use crate::model::user::Waiver;
use crate::model::user_key::UserKey;
use crate::otp::totp::TimeStep;
use crate::store::{By, Change, Reanchor, StoreError, View};
use crate::time::{UnixTime, millis};

/// What was taken back.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// How many users it concerned.
    pub count: usize,
    /// The first of them.
    pub users: Vec<Astray>,
    /// An outage that begins in the time to come, and is left as it is.
    pub outage: Option<Waiver>,
    /// The last user who was looked at, while there are more.
    pub next: Option<UserKey>,
}

/// A user of whom something lay in a time that is to come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Astray {
    /// Who.
    pub user: UserKey,
    /// What, in words.
    pub what: Vec<String>,
}

/// The steps that the newest records say were consumed.
#[derive(Default)]
struct Found {
    steps: HashMap<Serial, Vec<u64>>,
    /// Whether these are all since [`MARGIN`].
    complete: bool,
    ahead_from: Option<UnixTime>,
}

impl Found {
    fn of(&self, serial: &Serial) -> Option<Vec<u64>> {
        let known = || self.steps.get(serial).cloned().unwrap_or_default();
        self.complete.then(known)
    }
}

impl Admin {
    /// Vouches for the present time although later times are on record, and takes back what these left
    /// behind: of the first `most` users after `after`, whom the answer before named.
    pub async fn recover_clock(
        &self,
        mut after: Option<UserKey>,
        most: usize,
        by: By,
    ) -> Result<Recovered, AdminError> {
        let found = self.consumed(by.at).await?;
        let outage = self.core.store.outage()?;
        let mut recovered = Recovered {
            outage: outage.filter(|outage| outage.from > by.at),
            ..Recovered::default()
        };
        if found.complete && found.ahead_from.is_none() {
            self.vouch(by).await?;
            return Ok(recovered);
        }
        let policies = self.core.policies();
        let locks = policies.iter().map(|policy| policy.lockout.lock_for);
        let present = Present {
            at: by.at,
            lock_for: locks.max().unwrap_or_default(),
            ahead_from: found.ahead_from,
        };
        let mut left = most.max(1);
        loop {
            let users = self.core.store.users(after.as_ref(), PAGE.min(left))?;
            let Some(last) = users.last() else { break };
            after = Some(last.key.clone());
            left -= users.len();
            let keys = users.iter().map(|user| &user.key);
            let astray = keys.map(|key| self.reanchored(key, &found, present, &by));
            for astray in try_join_all(astray).await?.into_iter().flatten() {
                recovered.count += 1;
                if recovered.users.len() < SHOWN {
                    recovered.users.push(astray);
                }
            }
            if left == 0 {
                recovered.next = after;
                return Ok(recovered);
            }
        }
        self.reanchor_rest(&found, present, &by).await?;
        self.vouch(by).await?;
        Ok(recovered)
    }

    async fn vouch(&self, by: By) -> Result<(), AdminError> {
        self.core.store.change(Change::AcceptClock, by).await?;
        self.core.clock_watch.vouched();
        Ok(())
    }

    /// Reads the newest records back to the time before the clock was ahead.
    async fn consumed(&self, at: UnixTime) -> Result<Found, AdminError> {
        let enough = enough(at);
        // A lost record may have consumed steps up to there: no list of them is complete.
        if self.core.store.floor()?.is_some_and(|floor| floor > enough) {
            return Ok(Found::default());
        }
        let health = self.core.store.health();
        let (mut end, mut found) = (health.seq + 1, Found::default());
        let mut count = 0;
        while end > health.first && count < MOST {
            let begin = end.saturating_sub(RECORDS).max(health.first);
            let Some(records) = self.records(begin, end).await? else {
                // Whose steps are not known loses the steps up to the last one.
                return Ok(Found::default());
            };
            for record in records.iter().rev() {
                count += 1;
                if record.at > at {
                    found.ahead_from = Some(record.at);
                }
                let Event::Decision(decision) = &record.event else {
                    // Changes are made by whatever time the clock says.
                    continue;
                };
                let (Some(serial), Some(step)) = (&decision.serial, decision.step) else {
                    continue;
                };
                if record.at <= enough {
                    found.complete = true;
                    return Ok(found);
                }
                // Of the time before the clock was ahead: of those alone who came in while it was.
                if record.at <= at && !found.steps.contains_key(serial) {
                    continue;
                }
                found.steps.entry(serial.clone()).or_default().push(step);
            }
            end = begin;
        }
        found.complete = health.first <= 1 && count < MOST;
        Ok(found)
    }

    /// The records from `begin` to before `end`, all of them; `None`: there are not.
    async fn records(&self, begin: u64, end: u64) -> Result<Option<Vec<AuditRecord>>, AdminError> {
        let mut records: Vec<AuditRecord> = Vec::new();
        let mut next = begin;
        while next < end {
            let limit = usize::try_from(end - next).unwrap_or(usize::MAX);
            // What one file of the journal has of them.
            let part = self.core.store.audit_after(next - 1, limit).await?;
            if part.first().is_none_or(|first| first.seq != next) {
                return Ok(None);
            }
            next += part.len() as u64;
            records.extend(part);
        }
        Ok(Some(records))
    }

    async fn reanchored(
        &self,
        key: &UserKey,
        found: &Found,
        present: Present,
        by: &By,
    ) -> Result<Option<Astray>, AdminError> {
        let Some(view) = self.core.store.view(key)? else {
            return Ok(None);
        };
        let devices = self.core.store.devices(key)?;
        let mut change = Reanchor {
            user: key.clone(),
            present,
            tokens: Vec::new(),
            devices: Vec::new(),
        };
        let mut what = user_words(&view, present);
        for (token, state) in &view.tokens {
            let steps = self.known_steps(token, state, found, present)?;
            let words = token_words(token, state, present, steps.as_deref());
            // A token of another user counts with its owner.
            if words.is_empty() || token.user != *key {
                continue;
            }
            what.push(format!("{}: {}", token.serial, words.join(", ")));
            change.tokens.push((token.serial.clone(), steps));
        }
        for (device, state) in &devices {
            if present.device(state) != *state {
                what.push(format!("{}: requests", device.id));
                change.devices.push(device.id.clone());
            }
        }
        if what.is_empty() {
            return Ok(None);
        }
        let changes = present.user(&view.state) != view.state
            || !change.tokens.is_empty()
            || !change.devices.is_empty();
        if changes {
            let change = Change::Reanchor(Box::new(change));
            match self.core.store.change(change, by.clone()).await {
                // Removed meanwhile.
                Err(StoreError::NotFound) => return Ok(None),
                done => done?,
            }
        }
        let user = key.clone();
        Ok(Some(Astray { user, what }))
    }

    /// All steps that are known to be consumed of a token's key; `None`: not all are.
    fn known_steps(
        &self,
        token: &Token,
        state: &TokenState,
        found: &Found,
        present: Present,
    ) -> Result<Option<Vec<u64>>, AdminError> {
        let steps = found.of(&token.serial);
        let ahead = state.moving.last > Some(TimeStep::at(present.at, token.period).get());
        if steps.is_none() || token.kind != Kind::Totp || !ahead {
            return Ok(steps);
        }
        // What another token consumed of the key, which was removed since, is not among its own.
        let before = self.core.store.retired_with(&token.normal_key())?;
        let since = Some(TimeStep::at(enough(present.at), token.period).get());
        let inherits =
            before.is_some_and(|one| one.serial != token.serial && one.moving.last > since);
        Ok(steps.filter(|_| !inherits))
    }

    /// What belongs to no user: addresses, and the last steps of tokens that are gone.
    async fn reanchor_rest(
        &self,
        found: &Found,
        present: Present,
        by: &By,
    ) -> Result<(), AdminError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.core.store.retired(after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            let ahead = page.into_iter().filter_map(|(key, retired)| {
                let steps = found.of(&retired.serial);
                let moving = present.moving(retired.moving, retired.period?, steps.as_deref());
                (moving != retired.moving).then_some((key, steps))
            });
            let keys: Vec<_> = ahead.collect();
            if !keys.is_empty() {
                let change = Change::ReanchorRetired { present, keys };
                self.core.store.change(change, by.clone()).await?;
            }
        }
        loop {
            let change = Change::ReanchorSources(present);
            match self.core.store.change(change, by.clone()).await {
                Err(StoreError::NotFound) => return Ok(()),
                done => done?,
            }
        }
    }
}

/// How far back all consumed steps are to be known.
fn enough(at: UnixTime) -> UnixTime {
    UnixTime::from_millis(at.as_millis().saturating_sub(millis(MARGIN)))
}

fn user_words(view: &View, present: Present) -> Vec<String> {
    let mut what = Vec::new();
    if present.user(&view.state) != view.state {
        what.push("waits".to_owned());
    }
    let waivers = [
        ("bypass", &view.user.bypass),
        ("exemption", &view.user.exemption),
    ];
    for (word, waiver) in waivers {
        // Nothing tells whether it was meant for that time.
        if waiver
            .as_ref()
            .is_some_and(|waiver| waiver.from > present.at)
        {
            what.push(format!("{word} begins in a time to come; unchanged"));
        }
    }
    what
}

fn token_words(
    token: &Token,
    state: &TokenState,
    present: Present,
    steps: Option<&[u64]>,
) -> Vec<&'static str> {
    let after = present.token(state, token.kind, token.period, steps);
    let mut words = changes(state, &after);
    if token.state == LifeCycle::Expired && present.expired_early(token.expires, state) {
        words.push("expired before its time, now suspended");
    }
    words
}

/// Users seen to at a time: they share commits, and the writer does others' work in between.
const PAGE: usize = 256;
/// Records read at a time.
const RECORDS: u64 = 4096;
/// Most records that are read.
const MOST: u64 = 200_000_000;
/// Most users named in the answer; all are in the audit.
const SHOWN: usize = 10_000;
