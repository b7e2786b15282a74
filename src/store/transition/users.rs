//! Changes of users and of what they know.

use crate::model::credential::{Credentials, Verifier};
use crate::model::token::{LifeCycle, TokenState};
use crate::model::user::{Touched, User, Waiver};
use crate::model::user_key::{CONSOLE, UserKey};
use crate::store::record::{Former, RowWrite, Table};
use crate::store::transition::plan::Plan;
use crate::store::transition::rows::{
    CHANGED, Keys, gone, own_row, person_of, put, refuse_if, refuse_other, token_state,
    token_state_write, tokens_of, user_state, user_state_write,
};
use crate::store::transition::working::Working;
use crate::store::transition::{changed, devices, tokens};
use crate::store::{StoreError, record};
use crate::time::UnixTime;

/// The exceptions that can be granted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WaiverKind {
    /// What the user has is not asked for.
    Bypass,
    /// What a rule names under `exempt` is not asked for abroad.
    Exemption,
}

pub(super) fn create(
    rows: &Working<'_>,
    user: &User,
    credentials: Option<&Credentials>,
    keys: Keys<'_>,
) -> Result<Plan, StoreError> {
    let key = record::user_key(&user.key);
    refuse_existing(rows, &user.key, keys)?;
    let mut sets_up = user.did(Touched::Made, keys.now);
    if sets_up.any(|act| act.actor == keys.actor) {
        refuse_if(removed_lately(rows, &key, keys)?, OWN_REMOVAL)?;
    }
    let person = keys.sealer.personal()?.draw(keys.sealer, keys.entropy)?;
    let mut writes = vec![new_row(user, person, keys)?];
    writes.extend(aliases(rows, &[], user, keys)?);
    let mut detail = None;
    if let Some(credentials) = credentials {
        let first = Credentials {
            revision: keys.first_revision()?,
            ..credentials.clone()
        };
        let row = record::credentials_row(&key, &first, keys.sealer, keys.entropy)?;
        writes.push(put(Table::Credentials, key, row));
        detail = Some(verifiers_detail(credentials, keys.now));
    }
    Ok(Plan::of_user("user_add", &user.key, writes).detail(detail))
}

/// The row of a new user.
pub(super) fn new_row(user: &User, person: u64, keys: Keys<'_>) -> Result<RowWrite, StoreError> {
    let key = record::user_key(&user.key);
    let first = (user.revision, user.created);
    let row = record::user_row(user, first, person, keys.sealer, keys.entropy)?;
    Ok(put(Table::Users, key, row))
}

/// Refuses a name that a user has as the own one or as an alias.
pub(super) fn refuse_existing(
    rows: &Working<'_>,
    user: &UserKey,
    keys: Keys<'_>,
) -> Result<(), StoreError> {
    let alias = record::alias_key(user, keys.sealer);
    refuse_taken(rows, &record::user_key(user), &alias)
}

/// The same, by the row keys of the name and of an alias of that name.
pub(super) fn refuse_taken(
    rows: &Working<'_>,
    name: &[u8],
    alias: &[u8],
) -> Result<(), StoreError> {
    refuse_if(rows.has(Table::Users, name)?, "the user exists already")?;
    refuse_if(rows.has(Table::Aliases, alias)?, NAME_IS_ALIAS)
}

/// The rows of the aliases that come and go. A new one is no user's name and no alias: one name leads to one
/// user, whatever is changed at the same time.
pub(super) fn aliases(
    rows: &Working<'_>,
    before: &[UserKey],
    user: &User,
    keys: Keys<'_>,
) -> Result<Vec<RowWrite>, StoreError> {
    let row_of = |alias: &UserKey| record::alias_key(alias, keys.sealer);
    let left = before.iter().filter(|alias| !user.aliases.contains(alias));
    let mut writes: Vec<RowWrite> = left
        .map(|alias| gone(Table::Aliases, row_of(alias)))
        .collect();
    let acts = user.did(Touched::Alias, keys.now);
    let mut acts = acts.chain(user.did(Touched::Made, keys.now));
    let guarded = acts.any(|act| act.actor == keys.actor);
    let new = user.aliases.iter().filter(|alias| !before.contains(alias));
    for alias in new {
        let (name, row) = (record::user_key(alias), row_of(alias));
        // First: whether there is such a name in the console is not told.
        let apart = (alias.realm() == CONSOLE) != (user.key.realm() == CONSOLE);
        refuse_if(apart, ALIAS_OF_CONSOLE)?;
        let taken = *alias == user.key
            || rows.has(Table::Users, &name)?
            || rows.has(Table::Aliases, &row)?;
        refuse_if(taken, ALIAS_TAKEN)?;
        if guarded {
            refuse_if(removed_lately(rows, &name, keys)?, OWN_REMOVAL)?;
        }
        writes.push(put(Table::Aliases, row, record::user_key(&user.key)));
    }
    Ok(writes)
}

/// Whether the one who acts removed the user of this name within the last day.
fn removed_lately(rows: &Working<'_>, key: &[u8], keys: Keys<'_>) -> Result<bool, StoreError> {
    let removed = former(rows, key)?.removed;
    Ok(
        removed
            .is_some_and(|(actor, at)| actor == keys.actor && keys.now < at.plus(User::ACTS_FOR)),
    )
}

pub(super) fn update(rows: &Working<'_>, user: &User, keys: Keys<'_>) -> Result<Plan, StoreError> {
    let key = record::user_key(&user.key);
    let before = rows.get(Table::Users, &key, |row| record::user(row, keys.sealer))?;
    let before = before.ok_or(StoreError::NotFound)?;
    refuse_if(before.revision != user.revision, CHANGED)?;
    // A change of an address may be the first step of its misuse.
    let addresses = [
        ("phone", before.phone != user.phone),
        ("email", before.email != user.email),
    ];
    let changed = addresses.iter().filter(|(_, changed)| *changed);
    let changed: Vec<&str> = changed.map(|(word, _)| *word).collect();
    let detail = (!changed.is_empty()).then(|| changed.join(", "));
    let mut writes = vec![changed_row(rows, key, user, keys)?];
    writes.extend(aliases(rows, &before.aliases, user, keys)?);
    Ok(Plan::of_user("user_set", &user.key, writes).detail(detail))
}

/// The row of a user at the next revision.
fn changed_row(
    rows: &Working<'_>,
    key: Vec<u8>,
    user: &User,
    keys: Keys<'_>,
) -> Result<RowWrite, StoreError> {
    let person = person_of(rows, &key)?;
    let next = (user.revision + 1, keys.now);
    let row = record::user_row(user, next, person, keys.sealer, keys.entropy)?;
    Ok(put(Table::Users, key, row))
}

pub(super) fn set_waiver(
    rows: &Working<'_>,
    user: &UserKey,
    (which, waiver): (WaiverKind, Option<Waiver>),
    expected: u64,
    keys: Keys<'_>,
) -> Result<Plan, StoreError> {
    let key = record::user_key(user);
    let found = rows.get(Table::Users, &key, |row| record::user(row, keys.sealer))?;
    let mut changed = found.ok_or(StoreError::NotFound)?;
    refuse_if(changed.revision != expected, CHANGED)?;
    let action = match (which, waiver.is_some()) {
        (WaiverKind::Bypass, true) => "bypass_grant",
        (WaiverKind::Bypass, false) => "bypass_end",
        (WaiverKind::Exemption, true) => "exemption_grant",
        (WaiverKind::Exemption, false) => "exemption_end",
    };
    let detail = waiver.as_ref().map(waiver_detail);
    match which {
        WaiverKind::Bypass => changed.bypass = waiver,
        WaiverKind::Exemption => changed.exemption = waiver,
    }
    let writes = vec![changed_row(rows, key, &changed, keys)?];
    Ok(Plan::of_user(action, user, writes).detail(detail))
}

/// From when to when and why, for the audit.
pub(super) fn waiver_detail(waiver: &Waiver) -> String {
    let (from, until) = (waiver.from, waiver.until);
    format!("{from} to {until}: {}", waiver.reason)
}

pub(super) fn remove(
    rows: &Working<'_>,
    user: &UserKey,
    expected: Option<u64>,
    keys: Keys<'_>,
) -> Result<Plan, StoreError> {
    let writes = removed(rows, user, expected, keys)?;
    Ok(Plan::of_user("user_remove", user, writes))
}

fn removed(
    rows: &Working<'_>,
    user: &UserKey,
    expected: Option<u64>,
    keys: Keys<'_>,
) -> Result<Vec<RowWrite>, StoreError> {
    let key = record::user_key(user);
    let found = rows.get(Table::Users, &key, record::user_condition)?;
    let (revision, _) = found.ok_or(StoreError::NotFound)?;
    refuse_other(revision, expected)?;
    // The audit can be read until the key is destroyed, too.
    let mut former = former(rows, &key)?;
    former.persons.push(person_of(rows, &key)?);
    former.removed = Some((keys.actor.to_owned(), keys.now));
    let names = rows.get(Table::Users, &key, record::user_aliases)?;
    let mut writes = vec![
        gone(Table::Users, key.clone()),
        gone(Table::Credentials, key.clone()),
        put(Table::Former, key, record::former_row(&former)?),
    ];
    let names = names.into_iter().flatten();
    writes.extend(names.map(|name| gone(Table::Aliases, name)));
    for (key, serial) in tokens_of(rows, user)? {
        writes.extend(if let Some(own) = own_row(rows, &key)? {
            // It may be the only token of someone who was not asked.
            let ended = matches!(
                own.state_at(keys.now),
                Ok(LifeCycle::Revoked | LifeCycle::Expired)
            );
            let shared = !ended && tokens::is_shared(rows, &serial)?;
            refuse_if(shared, tokens::COUNTS_TWICE)?;
            tokens::removed(rows, key, &serial, keys)?
        } else {
            tokens::unlinked(rows, &serial, user, keys.now)?
        });
    }
    writes.extend(devices::removed(rows, user)?);
    // After what is remembered of the tokens that go.
    writes.push(gone(Table::UserStates, record::user_key(user)));
    Ok(writes)
}

/// Removes the user, if there still is one, and lists the keys of all who had this name for destruction.
pub(super) fn erase(
    rows: &Working<'_>,
    user: &UserKey,
    keys: Keys<'_>,
) -> Result<Plan, StoreError> {
    let key = record::user_key(user);
    let mut persons = former(rows, &key)?.persons;
    let mut writes = Vec::new();
    if rows.has(Table::Users, &key)? {
        persons.push(person_of(rows, &key)?);
        writes = removed(rows, user, None, keys)?;
        writes.retain(|write| write.table != Table::Former);
    }
    if persons.is_empty() {
        return Err(StoreError::NotFound);
    }
    writes.push(gone(Table::Former, key));
    let erased = |person: &u64| put(Table::Erased, person.to_be_bytes().to_vec(), vec![1]);
    writes.extend(persons.iter().map(erased));
    let detail = format!("keys of personal data destroyed: {}", persons.len());
    Ok(Plan::of_user("user_erase", user, writes).detail(detail))
}

/// What an operator says of a user.
pub(super) fn note(
    rows: &Working<'_>,
    action: &'static str,
    (user, text): (&UserKey, String),
    keys: Keys<'_>,
) -> Result<Plan, StoreError> {
    let person = person_of(rows, &record::user_key(user))?;
    let said = changed::said(person, text, keys)?;
    Ok(Plan::of_user(action, user, Vec::new()).others(vec![said]))
}

/// What is left of users who had this name and were removed.
fn former(rows: &Working<'_>, key: &[u8]) -> Result<Former, StoreError> {
    let found = rows.get(Table::Former, key, record::former)?;
    Ok(found.unwrap_or_default())
}

/// A user who is removed and created again by one person is that person's.
pub(crate) const OWN_REMOVAL: &str = "the same person removed a user of this name";

/// A name that is added.
pub(crate) const NAME_IS_ALIAS: &str = "the name is an alias of another user";
/// The name of an administrator would lead to another user.
const ALIAS_OF_CONSOLE: &str = "the realm `console` is for administrators: no alias leads into it or out of it; \
     choose an alias of another realm (for a person of the console: NAME@console), or make a second user";

/// An alias that is added.
pub(crate) const ALIAS_TAKEN: &str = "the alias is a user's name, or an alias already";

pub(super) fn unlock(rows: &Working<'_>, user: &UserKey) -> Result<Plan, StoreError> {
    let key = record::user_key(user);
    rows.require(Table::Users, &key)?;
    let state = user_state(rows, &key)?.unlocked();
    let mut writes = vec![user_state_write(key, &state)?];
    for (_, serial) in tokens_of(rows, user)? {
        let state = token_state(rows, &serial)?;
        if state.is_locked() {
            writes.push(token_state_write(&serial, &state.unlocked())?);
        }
    }
    Ok(Plan::of_user("user_unlock", user, writes))
}

/// The user may try again at once; failures stay counted, and a lock that no time ends stays.
pub(super) fn end_waits(
    rows: &Working<'_>,
    user: &UserKey,
    now: UnixTime,
) -> Result<Plan, StoreError> {
    let key = record::user_key(user);
    rows.require(Table::Users, &key)?;
    let state = user_state(rows, &key)?;
    let (mut waits, mut locked) = (state.waits(now), state.is_locked_for_good());
    let mut writes = vec![user_state_write(key, &state.without_waits())?];
    for (_, serial) in tokens_of(rows, user)? {
        let state = token_state(rows, &serial)?;
        waits |= state.throttle.waits(now);
        locked |= state.is_locked_for_good();
        let throttle = state.throttle.without_wait();
        if state.throttle != throttle {
            let state = TokenState { throttle, ..state };
            writes.push(token_state_write(&serial, &state)?);
        }
    }
    refuse_if(locked && !waits, LOCKED_FOR_GOOD)?;
    Ok(Plan::of_user("user_end_waits", user, writes))
}

/// What an operator does not end.
pub(crate) const LOCKED_FOR_GOOD: &str = "too many wrong answers: the user, or a token of the user, is locked \
    until an administrator unlocks";

pub(super) fn set_credentials(
    rows: &Working<'_>,
    user: &UserKey,
    credentials: &Credentials,
    keys: Keys<'_>,
) -> Result<Plan, StoreError> {
    let revision = match credentials.revision {
        0 => keys.first_revision()?,
        seen => seen + 1,
    };
    let changed = Credentials {
        revision,
        ..credentials.clone()
    };
    let writes = credentials_row(rows, user, &changed, credentials.revision, keys)?;
    let plan = Plan::of_user("credentials_set", user, writes);
    Ok(plan.detail(verifiers_detail(credentials, keys.now)))
}

/// The same verifiers with other hashes: their revision stays.
pub(super) fn renew_credentials(
    rows: &Working<'_>,
    user: &UserKey,
    credentials: &Credentials,
    keys: Keys<'_>,
) -> Result<Plan, StoreError> {
    let writes = credentials_row(rows, user, credentials, credentials.revision, keys)?;
    Ok(Plan::of_user("credentials_renew", user, writes))
}

pub(super) fn credentials_row(
    rows: &Working<'_>,
    user: &UserKey,
    credentials: &Credentials,
    expected: u64,
    keys: Keys<'_>,
) -> Result<Vec<RowWrite>, StoreError> {
    let key = record::user_key(user);
    rows.require(Table::Users, &key)?;
    let found = rows.get(Table::Credentials, &key, record::credentials_revision)?;
    refuse_if(found.unwrap_or_default() != expected, CHANGED)?;
    let row = record::credentials_row(&key, credentials, keys.sealer, keys.entropy)?;
    Ok(vec![put(Table::Credentials, key, row)])
}

/// `new PIN, no password`
fn verifiers_detail(credentials: &Credentials, now: UnixTime) -> String {
    let pin = verifier_detail("PIN", credentials.pin.as_ref(), now);
    let password = verifier_detail("password", credentials.password.as_ref(), now);
    format!("{pin}, {password}")
}

/// `new PIN`, `no password`, ...
fn verifier_detail(name: &str, verifier: Option<&Verifier>, now: UnixTime) -> String {
    let Some(verifier) = verifier else {
        return format!("no {name}");
    };
    let age = if verifier.set == now { "new" } else { "same" };
    let imported = verifier.hash.imported();
    let imported = imported.map_or("", |_| "imported ");
    let change = if verifier.must_change {
        " to be changed"
    } else {
        ""
    };
    format!("{age} {imported}{name}{change}")
}
