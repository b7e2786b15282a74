//! Users that are looked for, and names that were probably meant.
//!
//! Invariant: one call looks at a bounded number of records and lets other work run in between, however
//! many users there are; the next call goes on where it ended.

use crate::admin::Admin;
use crate::diagnostic::did_you_mean;
use crate::model::id::Serial;
use crate::model::token::LifeCycle;
use crate::model::user::User;
use crate::model::user_key::{CONSOLE, UserKey};
use crate::otp::throttle::{Blocked, Throttle};
use crate::store::{StoreError, View};
use crate::time::UnixTime;

/// Which users are looked for: those of whom all that is said here holds.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// They are of this realm, in its canonical form.
    pub realm: Option<String>,
    /// They are in this group.
    pub group: Option<String>,
    /// No token of theirs can be used or is on its way: all are revoked or expired, if there are any.
    pub without_token: bool,
    /// They, or one of their active tokens, are locked.
    pub locked: bool,
    /// They are in this state.
    pub state: Option<UserState>,
    /// It is part of the login name, an alias, the display name, the phone number, the mail address, or the serial of a token.
    pub text: Option<String>,
    /// They are no people of the console.
    pub without_console: bool,
}

words! {
    /// What users are looked for by, beside locks and missing tokens.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum UserState {
        /// A token of theirs waits for an approval, to be handed out, or for its first code.
        Pending = "pending",
        /// They are disabled, or a token of theirs is suspended.
        Suspended = "suspended",
        /// An exception holds: a bypass, or an exemption.
        Exempt = "exempt",
    }
}

/// Some of the users that were found.
#[derive(Debug, Default)]
pub struct Found {
    /// In order of realm and name; the lock, where it was looked at.
    pub users: Vec<(User, Option<Throttle>)>,
    /// Where the next call goes on; none at the end. There may be one behind an empty page.
    pub next: Option<UserKey>,
}

impl UserFilter {
    /// Whether no one from this user on fits: users are in order of their realms.
    fn ends_before(&self, key: &UserKey) -> bool {
        let realm = self.realm.as_ref();
        realm.is_some_and(|realm| key.realm() > realm.as_str())
    }

    /// Whether it leaves no one out.
    pub fn is_empty(&self) -> bool {
        self.realm.is_none()
            && self.group.is_none()
            && !self.without_token
            && !self.locked
            && self.state.is_none()
            && self.text.is_none()
            && !self.without_console
    }
}

/// A text that is looked for, in the forms in which it may be on record.
struct Wanted {
    text: String,
    serial: String,
    /// Digits of a phone number, without the zero before an area code.
    digits: Option<String>,
}

impl Wanted {
    fn new(text: &str) -> Self {
        let is_number = |c: char| c.is_ascii_digit() || " +-().".contains(c);
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        let digits = digits.trim_start_matches('0').to_owned();
        Self {
            text: text.trim().to_lowercase(),
            serial: text.trim().to_ascii_uppercase(),
            digits: Some(digits).filter(|digits| digits.len() > 2 && text.chars().all(is_number)),
        }
    }

    fn is_in(&self, user: &User) -> bool {
        let holds = |text: &str| text.to_lowercase().contains(&self.text);
        let calls = |phone: &str| {
            let phone: String = phone.chars().filter(char::is_ascii_digit).collect();
            self.digits
                .as_ref()
                .is_some_and(|digits| phone.contains(digits))
        };
        holds(&user.key.to_string())
            || user.aliases.iter().any(|alias| holds(&alias.joined()))
            || user.display_name.as_deref().is_some_and(holds)
            || user.email.as_deref().is_some_and(holds)
            || user
                .phone
                .as_deref()
                .is_some_and(|phone| holds(phone) || calls(phone))
    }
}

impl Admin {
    /// Users that fit, after `after`, at most `limit`.
    pub async fn find_users(
        &self,
        filter: &UserFilter,
        after: Option<UserKey>,
        limit: usize,
    ) -> Result<Found, StoreError> {
        let now = self.core.now();
        let wanted = filter.text.as_deref().map(Wanted::new);
        let mut found = Found::default();
        let mut position = after;
        let mut looked = 0;
        loop {
            let batch = self.core.store.users(position.as_ref(), BATCH)?;
            let ended = batch.len() < BATCH;
            looked += batch.len();
            for user in batch {
                let key = user.key.clone();
                if filter.ends_before(&key) {
                    return Ok(found);
                }
                let Some(hit) = self.fits(filter, wanted.as_ref(), user, now)? else {
                    position = Some(key);
                    continue;
                };
                if found.users.len() == limit {
                    found.next = found.users.last().map(|(user, _)| user.key.clone());
                    return Ok(found);
                }
                found.users.push(hit);
                position = Some(key);
            }
            if ended {
                return Ok(found);
            }
            if looked >= LOOKED {
                found.next = position;
                return Ok(found);
            }
            // Logins go first.
            tokio::task::yield_now().await;
        }
    }

    /// The user, with the lock where it was looked at, if the filter lets it through.
    fn fits(
        &self,
        filter: &UserFilter,
        wanted: Option<&Wanted>,
        user: User,
        now: UnixTime,
    ) -> Result<Option<(User, Option<Throttle>)>, StoreError> {
        let of_group = |group: &String| user.groups.contains(group);
        let hidden = filter.without_console && user.key.realm() == CONSOLE;
        let elsewhere = |realm: &String| user.key.realm() != realm.as_str();
        let hidden = hidden || filter.realm.as_ref().is_some_and(elsewhere);
        if hidden || !filter.group.as_ref().is_none_or(of_group) {
            return Ok(None);
        }
        let by_serial = wanted.filter(|wanted| !wanted.is_in(&user));
        let is_known =
            |state| state == UserState::Exempt || (state == UserState::Suspended && user.disabled);
        if by_serial.is_none()
            && !filter.without_token
            && !filter.locked
            && filter.state.is_none_or(is_known)
        {
            let state = filter.state;
            if state.is_some_and(|state| !is_in(state, &user, None, now)) {
                return Ok(None);
            }
            return Ok(Some((user, None)));
        }
        let view = match self.core.store.view(&user.key) {
            // Named elsewhere; the others are not hidden by it.
            Err(StoreError::Corrupt(_)) => return Ok(None),
            view => view?,
        };
        // Removed meanwhile.
        let Some(view) = view else {
            return Ok(None);
        };
        let carries = |wanted: &Wanted| {
            let mut tokens = view.tokens.iter();
            tokens.any(|(token, _)| token.serial.as_str().contains(&wanted.serial))
        };
        let lock = lock(&view, now);
        let is_locked = matches!(lock.check(now), Err(Blocked::Locked { .. }));
        let in_state = |state| is_in(state, &user, Some(&view), now);
        let fits = by_serial.is_none_or(carries)
            && filter.state.is_none_or(in_state)
            && (!filter.locked || is_locked)
            && (!filter.without_token || !has_token(&view, now));
        Ok(fits.then_some((user, Some(lock))))
    }

    /// The user that was probably meant: the same name in another realm, or one like it.
    pub fn similar_user(
        &self,
        key: &UserKey,
        shown: impl Fn(&UserKey) -> bool,
    ) -> Result<Option<UserKey>, StoreError> {
        let mut near = self.core.store.users(None, NEAR)?;
        if near.len() == NEAR {
            // Names that begin alike.
            let half = key.name().chars().count().div_ceil(2);
            let start: String = key.name().chars().take(half).collect();
            if let Ok(start) = UserKey::with_realm(&start, key.realm()) {
                near.extend(self.core.store.users(Some(&start), NEAR)?);
            }
        }
        near.retain(|user| shown(&user.key));
        let keys = || near.iter().map(|user| &user.key);
        let elsewhere = keys().find(|other| other.name() == key.name());
        let names = keys().filter(|other| other.realm() == key.realm());
        let close = did_you_mean(key.name(), names.map(UserKey::name));
        let alike = |name: &&UserKey| name.realm() == key.realm() && Some(name.name()) == close;
        Ok(elsewhere.or_else(|| keys().find(alike)).cloned())
    }

    /// The serial that was probably meant, of the tokens of owners who are `shown`.
    pub fn similar_serial(
        &self,
        serial: &Serial,
        shown: impl Fn(&UserKey) -> bool,
    ) -> Result<Option<Serial>, StoreError> {
        let near = self.core.store.tokens(None, NEAR)?;
        let near = near.iter().filter(|(token, _)| shown(&token.user));
        let serials = near.map(|(token, _)| token.serial.as_str());
        let close = did_you_mean(serial.as_str(), serials);
        Ok(close.and_then(|close| close.parse().ok()))
    }

    /// The client that was probably meant.
    pub fn similar_client(&self, name: &str) -> Option<String> {
        let clients = self.core.clients().all();
        let names = clients.iter().map(|client| client.name.as_str());
        did_you_mean(name, names).map(str::to_owned)
    }

    /// What to say of a policy that is not loaded.
    pub(super) fn unknown_policy(&self, name: &str) -> String {
        let policies = self.core.policies();
        let names = policies.iter().map(|policy| policy.name.as_str());
        match did_you_mean(name, names) {
            Some(close) => format!("no policy `{name}` is loaded; did you mean `{close}`?"),
            None => {
                format!("no policy `{name}` is loaded; `oncegate policy list` shows those that are")
            }
        }
    }
}

/// The lock that holds a user up: the common one, that of a place the user logs in from, or that of a
/// token in use.
pub(super) fn lock(view: &View, now: UnixTime) -> Throttle {
    let known = view.state.known.iter().map(|known| known.throttle);
    let in_use = view
        .tokens
        .iter()
        .filter(|(token, _)| token.state_at(now) == LifeCycle::Active);
    let tokens = in_use.map(|(_, state)| state.lock());
    let locked = |throttle: &Throttle| matches!(throttle.check(now), Err(Blocked::Locked { .. }));
    let common = view.state.throttle;
    let mut all = std::iter::once(common).chain(known).chain(tokens);
    all.find(locked).unwrap_or(common)
}

/// Whether a user is in this state; without the tokens, as far as it can be told without them.
pub(super) fn is_in(state: UserState, user: &User, view: Option<&View>, now: UnixTime) -> bool {
    use crate::model::token::LifeCycle::{Approved, Pending, Requested, Suspended};
    let has = |states: &[_]| {
        let tokens = view.map_or(&[][..], |view| &view.tokens);
        let mut tokens = tokens.iter();
        tokens.any(|(token, _)| states.contains(&token.state_at(now)))
    };
    match state {
        UserState::Pending => has(&[Requested, Approved, Pending]),
        UserState::Suspended => user.disabled || has(&[Suspended]),
        UserState::Exempt => {
            let waivers = [&user.bypass, &user.exemption].into_iter().flatten();
            waivers.into_iter().any(|waiver| waiver.holds(now))
        }
    }
}

/// Whether a token of the user can be used, or will be.
pub(super) fn has_token(view: &View, now: UnixTime) -> bool {
    let is_over = |state| matches!(state, LifeCycle::Revoked | LifeCycle::Expired);
    view.tokens
        .iter()
        .any(|(token, _)| !is_over(token.state_at(now)))
}

/// Users read at a time.
const BATCH: usize = 250;
/// Users looked at in one call: some 20 ms when each of them is read with its tokens, so that a page of the console
/// stays within 50.
const LOOKED: usize = 1000;
/// Records among which a name is compared with one that was typed.
const NEAR: usize = 1000;
