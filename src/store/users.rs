//! What changes of users do to the rows. No IO of its own.

use std::ops::Bound;

use crate::model::token::TokenState;
use crate::model::user::{Touched, User, Waiver};
use crate::model::user_key::UserKey;
use crate::store::change::{CHANGED, Keys, refuse_if, refuse_other, token_gone, tokens_of};
use crate::store::evaluate::{
    gone, put, token_state, token_state_write, user_state, user_state_write,
};
use crate::store::fold::Reader;
use crate::store::record::{Former, RowWrite, Table};
use crate::store::seal::Sealer;
use crate::store::working::Working;
use crate::store::{StoreError, WaiverKind, device, enrol, record};
use crate::time::UnixTime;

pub(super) fn create_user(
    rows: &Working<'_>,
    user: &User,
    keys: Keys<'_>,
) -> Result<Vec<RowWrite>, StoreError> {
    let key = record::user_key(&user.key);
    refuse_user(rows, &key)?;
    let mut sets_up = user.did(Touched::Made, keys.now);
    if sets_up.any(|act| act.actor == keys.actor) {
        let removed = former(rows, &key)?.removed;
        let lately = removed
            .is_some_and(|(actor, at)| actor == keys.actor && keys.now < at.plus(User::ACTS_FOR));
        refuse_if(lately, OWN_REMOVAL)?;
    }
    let person = keys.sealer.personal()?.draw(keys.sealer, keys.entropy)?;
    Ok(vec![user_write(user, person, keys)?])
}

/// The row of a new user.
pub(super) fn user_write(user: &User, person: u64, keys: Keys<'_>) -> Result<RowWrite, StoreError> {
    let key = record::user_key(&user.key);
    let row = record::user_row(user, 1, person, keys.sealer, keys.entropy)?;
    Ok(put(Table::Users, key, row))
}

/// The number of the key of a user's personal data.
pub(super) fn person_of(rows: &Working<'_>, owner: &[u8]) -> Result<u64, StoreError> {
    let person = rows.get(Table::Users, owner, record::user_person)?;
    person.ok_or(StoreError::NotFound)
}

pub(super) fn refuse_user(rows: &Working<'_>, key: &[u8]) -> Result<(), StoreError> {
    let exists = rows.get(Table::Users, key, |_| Ok(()))?.is_some();
    refuse_if(exists, "the user exists already")
}

pub(super) fn update_user(
    rows: &Working<'_>,
    user: &User,
    keys: Keys<'_>,
) -> Result<Vec<RowWrite>, StoreError> {
    let key = record::user_key(&user.key);
    let found = rows.get(Table::Users, &key, record::user_condition)?;
    let (revision, _) = found.ok_or(StoreError::NotFound)?;
    refuse_if(revision != user.revision, CHANGED)?;
    Ok(vec![changed_user(rows, key, user, keys)?])
}

/// The row of a user at the next revision.
fn changed_user(
    rows: &Working<'_>,
    key: Vec<u8>,
    user: &User,
    keys: Keys<'_>,
) -> Result<RowWrite, StoreError> {
    let person = person_of(rows, &key)?;
    let revision = user.revision + 1;
    let row = record::user_row(user, revision, person, keys.sealer, keys.entropy)?;
    Ok(put(Table::Users, key, row))
}

pub(super) fn set_waiver(
    rows: &Working<'_>,
    user: &UserKey,
    which: WaiverKind,
    waiver: Option<&Waiver>,
    expected: u64,
    keys: Keys<'_>,
) -> Result<RowWrite, StoreError> {
    let key = record::user_key(user);
    let mut user = rows
        .get(Table::Users, &key, |row| record::user(row, keys.sealer))?
        .ok_or(StoreError::NotFound)?;
    refuse_if(user.revision != expected, CHANGED)?;
    match which {
        WaiverKind::Bypass => user.bypass = waiver.cloned(),
        WaiverKind::Exemption => user.exemption = waiver.cloned(),
    }
    changed_user(rows, key, &user, keys)
}

pub(super) fn remove_user(
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
    let mut writes = vec![
        gone(Table::Users, key.clone()),
        gone(Table::Credentials, key.clone()),
        put(Table::Former, key, record::former_row(&former)?),
    ];
    for (key, serial) in tokens_of(rows, user)? {
        if enrol::own_row(rows, &key)?.is_some() {
            writes.extend(token_gone(rows, key, &serial, keys.sealer, keys.now)?);
        } else {
            writes.extend(enrol::unlink(rows, &serial, user, keys.now)?);
        }
    }
    writes.extend(device::all_gone(rows, user)?);
    // After what is remembered of the tokens that go.
    writes.push(gone(Table::UserStates, record::user_key(user)));
    Ok(writes)
}

/// Removes the user, if there still is one, and lists the keys of all who had this name for destruction.
pub(super) fn erase_user(
    rows: &Working<'_>,
    user: &UserKey,
    keys: Keys<'_>,
) -> Result<Vec<RowWrite>, StoreError> {
    let key = record::user_key(user);
    let mut persons = former(rows, &key)?.persons;
    let mut writes = Vec::new();
    if rows.get(Table::Users, &key, |_| Ok(()))?.is_some() {
        persons.push(person_of(rows, &key)?);
        writes = remove_user(rows, user, None, keys)?;
        writes.retain(|write| write.table != Table::Former);
    }
    refuse_nothing(persons.is_empty())?;
    writes.push(gone(Table::Former, key));
    let erased = |person: &u64| put(Table::Erased, person.to_be_bytes().to_vec(), vec![1]);
    writes.extend(persons.iter().map(erased));
    Ok(writes)
}

/// What is left of users who had this name and were removed.
fn former(rows: &Working<'_>, key: &[u8]) -> Result<Former, StoreError> {
    let found = rows.get(Table::Former, key, record::former)?;
    Ok(found.unwrap_or_default())
}

/// A user who is removed and made again by one person is that person's.
pub(crate) const OWN_REMOVAL: &str = "the same person removed a user of this name";

const fn refuse_nothing(nothing: bool) -> Result<(), StoreError> {
    if nothing {
        Err(StoreError::NotFound)
    } else {
        Ok(())
    }
}

pub(super) fn unlock(rows: &Working<'_>, user: &UserKey) -> Result<Vec<RowWrite>, StoreError> {
    let key = record::user_key(user);
    rows.get(Table::Users, &key, |_| Ok(()))?
        .ok_or(StoreError::NotFound)?;
    let state = user_state(rows, &key)?.unlocked();
    let mut writes = vec![user_state_write(key, &state)?];
    for (_, serial) in tokens_of(rows, user)? {
        let state = token_state(rows, &serial)?;
        if state.is_locked() {
            writes.push(token_state_write(&serial, &state.unlocked())?);
        }
    }
    Ok(writes)
}

/// The user may try again at once; failures stay counted, and a lock that no time ends stays.
pub(super) fn end_waits(
    rows: &Working<'_>,
    user: &UserKey,
    now: UnixTime,
) -> Result<Vec<RowWrite>, StoreError> {
    let key = record::user_key(user);
    rows.get(Table::Users, &key, |_| Ok(()))?
        .ok_or(StoreError::NotFound)?;
    let state = user_state(rows, &key)?;
    let (mut waits, mut locked) = (state.waits(now), state.is_locked_for_good());
    let mut writes = vec![user_state_write(key, &state.without_waits())?];
    for (_, serial) in tokens_of(rows, user)? {
        let state = token_state(rows, &serial)?;
        waits |= state.throttle.waits(now);
        locked |= state.is_locked_for_good();
        if state.throttle != state.throttle.without_wait() {
            let throttle = state.throttle.without_wait();
            let state = TokenState { throttle, ..state };
            writes.push(token_state_write(&serial, &state)?);
        }
    }
    refuse_if(locked && !waits, LOCKED_FOR_GOOD)?;
    Ok(writes)
}

/// What an operator does not end.
pub(crate) const LOCKED_FOR_GOOD: &str = "too many wrong answers: the user, or a token of the user, is locked \
    until an administrator unlocks";

/// Which addresses of a user change: whoever changes one may be about to use it.
pub(super) fn contacts(
    rows: &Working<'_>,
    user: &User,
    sealer: &Sealer,
) -> Result<Option<String>, StoreError> {
    let key = record::user_key(&user.key);
    let read = |row: &[u8]| record::user(row, sealer);
    let Some(before) = rows.get(Table::Users, &key, read)? else {
        return Ok(None);
    };
    let changed = [
        ("phone", before.phone != user.phone),
        ("email", before.email != user.email),
    ];
    let changed = changed.iter().filter(|(_, changed)| *changed);
    let words: Vec<&str> = changed.map(|(word, _)| *word).collect();
    Ok((!words.is_empty()).then(|| words.join(", ")))
}

/// Users of the same name in other realms. Realms are found by skipping from one to the next.
pub(super) fn namesakes(rows: &Reader<'_>, user: &UserKey) -> Result<Vec<UserKey>, StoreError> {
    let mut found = Vec::new();
    let mut from = Vec::new();
    for _ in 0..REALMS {
        let mut realm = None;
        rows.list(Table::Users, b"", Bound::Excluded(&from), |key, _| {
            realm = Some(record::owner(key)?.realm().to_owned());
            Ok(false)
        })?;
        let Some(realm) = realm else { break };
        let other = UserKey::with_realm(user.name(), &realm);
        if let Some(other) = other.ok().filter(|other| other != user)
            && rows
                .get(Table::Users, &record::user_key(&other), |_| Ok(()))?
                .is_some()
        {
            found.push(other);
        }
        // Behind every row of the realm: a zero ends its name in their keys.
        from = realm.into_bytes();
        from.push(1);
    }
    Ok(found)
}

/// Most realms that are looked at for users of the same name.
const REALMS: usize = 64;
