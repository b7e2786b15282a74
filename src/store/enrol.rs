//! What a token's way into use, and out of it, does to the rows. No IO of its own.
//!
//! Every way into use goes through [`activate`]: the token it replaces ends in the same transaction
//! (capabilities C11: the old one is good until the new one is proven), the number of tokens in use is
//! bounded, and its time begins to run.

use std::time::Duration;

use crate::model::device::{Device, DeviceCall};
use crate::model::enrolment::NotApproved;
use crate::model::id::Serial;
use crate::model::kind::Kind;
use crate::model::token::LifeCycle;
use crate::model::user_key::UserKey;
use crate::store::change::{CHANGED, Keys, find_token, refuse_if, refuse_key};
use crate::store::evaluate::{gone, put, user_state, user_state_write};
use crate::store::record::{RowWrite, Table, TokenRow};
use crate::store::working::Working;
use crate::store::{StoreError, device, record};
use crate::time::UnixTime;

/// The rows of a token that comes into use at `at`.
pub(super) fn activate(
    rows: &Working<'_>,
    key: &[u8],
    serial: &Serial,
    mut token: TokenRow,
    at: UnixTime,
) -> Result<Vec<RowWrite>, StoreError> {
    refuse_unsynchronised(rows, serial)?;
    let enrolment = token.enrolment()?;
    let mut writes = Vec::new();
    let owner = &key[..key.len() - serial.as_str().len()];
    let mut in_use = 1_usize;
    let mut has_other = user_state(rows, owner.strip_suffix(b"\0").unwrap_or(owner))?
        .held
        .is_some();
    for other_key in rows.keys(Table::Tokens, owner)? {
        let Some(other) = own_row(rows, &other_key)? else {
            continue;
        };
        let name = record::last_part(&other_key, owner)?;
        if name == serial.as_str() {
            continue;
        }
        let replaced = enrolment
            .replaces
            .as_ref()
            .is_some_and(|old| old.as_str() == name);
        let state = other.state_at(at)?;
        has_other |= is_factor(&other)?;
        if replaced && state.may_become(LifeCycle::Revoked) {
            let ended = ended(other_key.clone(), name, other, LifeCycle::Revoked)?;
            writes.extend(ended);
        } else if other.kind() == token.kind()
            && matches!(state, LifeCycle::Active | LifeCycle::Suspended)
        {
            in_use += 1;
        }
    }
    // Whoever knew the password before the user had a token must not come in by it ever after.
    let late = at.since(token.created()) > ASKED;
    refuse_if(
        enrolment.by_knowledge && has_other && late,
        "the token was asked for with a password or PIN alone, and the user has another by now; ask for it \
         again with a code of that one, or let an operator enrol it",
    )?;
    let most = enrolment.max_active.map(usize::from);
    refuse_if(
        most.is_some_and(|most| in_use > most),
        "the user has as many tokens of this kind in use as the policy allows; revoke one, or enrol it \
         as a replacement",
    )?;
    if let Some(secs) = enrolment.valid_for
        && token.expires().is_none()
    {
        let expires = at.plus(Duration::from_secs(secs));
        token.set_expires(Some(expires));
        writes.push(put(
            Table::Expiries,
            record::expiry_key(expires, serial.as_str()),
            Vec::new(),
        ));
    }
    token.set_state(LifeCycle::Active);
    writes.push(put(Table::Tokens, key.to_vec(), token.changed()?));
    Ok(writes)
}

/// A token of which a repair of the store could not tell the used counters does not come into use.
pub(super) fn refuse_unsynchronised(rows: &Working<'_>, serial: &Serial) -> Result<(), StoreError> {
    let name = serial.as_str().as_bytes();
    let state = rows.get(Table::TokenStates, name, record::token_state)?;
    let closed = state.and_then(|state| state.needs_resync());
    refuse_if(closed.is_some(), UNSYNCHRONISED)
}

/// Whether the token is, or was until it is put on record, in use as something that the user has.
fn is_factor(token: &TokenRow) -> Result<bool, StoreError> {
    let state = token.state()?;
    let used = matches!(state, LifeCycle::Active | LifeCycle::Suspended);
    Ok(used && token.kind() != Kind::Recovery.as_str())
}

/// The rows that remember of its users that a token in use went at `at`: what they know alone must not
/// bring them another one. None when it was not in use.
pub(super) fn remembered(
    rows: &Working<'_>,
    owner: &[u8],
    serial: &str,
    token: &TokenRow,
    at: UnixTime,
) -> Result<Vec<RowWrite>, StoreError> {
    if !is_factor(token)? {
        return Ok(Vec::new());
    }
    let prefix = link_key(serial, b"");
    let mut users = vec![owner.to_vec()];
    for entry in rows.keys(Table::Links, &prefix)? {
        users.push(entry[prefix.len()..].to_vec());
    }
    let mut writes = Vec::new();
    for user in users {
        match remember(rows, user, at) {
            // A row that is damaged lets nobody in, and does not keep a token from ending.
            Err(StoreError::Corrupt(_)) => {}
            write => writes.push(write?),
        }
    }
    Ok(writes)
}

/// The row that remembers that a user had a token until `at`.
pub(super) fn remember(
    rows: &Working<'_>,
    user: Vec<u8>,
    at: UnixTime,
) -> Result<RowWrite, StoreError> {
    let mut state = user_state(rows, &user)?;
    state.held = state.held.max(Some(at));
    user_state_write(user, &state)
}

/// The rows of a token that ends.
pub(super) fn ended(
    key: Vec<u8>,
    serial: &str,
    mut token: TokenRow,
    state: LifeCycle,
) -> Result<Vec<RowWrite>, StoreError> {
    let mut writes = Vec::with_capacity(2);
    if let Some(expires) = token.expires() {
        writes.push(gone(Table::Expiries, record::expiry_key(expires, serial)));
    }
    token.set_state(state);
    writes.push(put(Table::Tokens, key, token.changed()?));
    Ok(writes)
}

/// The row of a token that belongs to the user under whose prefix it lies; `None`: it is another's.
pub(super) fn own_row(rows: &Working<'_>, key: &[u8]) -> Result<Option<TokenRow>, StoreError> {
    let parse = |row: &[u8]| {
        let own = record::link_target(row).is_none();
        own.then(|| TokenRow::parse(row)).transpose()
    };
    Ok(rows.get(Table::Tokens, key, parse)?.flatten())
}

/// A token's row under its key, at the revision that was seen.
pub(super) fn seen(
    rows: &Working<'_>,
    serial: &Serial,
    expected: u64,
) -> Result<(Vec<u8>, TokenRow), StoreError> {
    let key = find_token(rows, serial)?;
    let token = own_row(rows, &key)?.ok_or(StoreError::NotFound)?;
    refuse_if(token.revision() != expected, CHANGED)?;
    Ok((key, token))
}

pub(super) fn approve(
    rows: &Working<'_>,
    serial: &Serial,
    by: &str,
    on_behalf: Option<&str>,
    expected: u64,
    at: UnixTime,
) -> Result<Vec<RowWrite>, StoreError> {
    let (key, mut token) = seen(rows, serial, expected)?;
    let lent = on_behalf.map(|from| {
        let key = record::delegation_key(from, by);
        rows.get(Table::Delegations, &key, record::delegation)
    });
    let lent = match lent {
        None => None,
        Some(found) => Some(found?.ok_or_else(|| conflict(NotApproved::NotDelegated))?),
    };
    let approved = token
        .enrolment()?
        .approve(token.state_at(at)?, by, lent.as_ref(), at);
    let (enrolment, state) = approved.map_err(conflict)?;
    token.set_enrolment(&enrolment);
    token.set_state(state);
    Ok(vec![put(Table::Tokens, key, token.changed()?)])
}

const fn conflict(cause: NotApproved) -> StoreError {
    StoreError::Conflict(match cause {
        NotApproved::NotRequested => "the token does not wait for an approval",
        NotApproved::OwnRequest => "who asked for a token cannot approve it; somebody else must",
        NotApproved::Twice => "this approver has approved it already; another one must",
        NotApproved::NotDelegated => "there is no delegation to this approver at present",
    })
}

pub(super) fn renew(
    rows: &Working<'_>,
    serial: &Serial,
    expires: UnixTime,
    expected: u64,
    call: Option<&DeviceCall>,
    at: UnixTime,
) -> Result<Vec<RowWrite>, StoreError> {
    let (key, mut token) = seen(rows, serial, expected)?;
    let in_use = matches!(
        token.state_at(at)?,
        LifeCycle::Active | LifeCycle::Suspended
    );
    refuse_if(!in_use, "only a token in use is renewed")?;
    let mut writes = device::taken(rows, call, at)?;
    if let Some(before) = token.expires() {
        writes.push(gone(
            Table::Expiries,
            record::expiry_key(before, serial.as_str()),
        ));
    }
    token.set_expires(Some(expires));
    writes.push(put(
        Table::Expiries,
        record::expiry_key(expires, serial.as_str()),
        Vec::new(),
    ));
    writes.push(put(Table::Tokens, key, token.changed()?));
    Ok(writes)
}

/// Tokens whose time has come: at most so many at a time.
pub(super) fn expire(
    rows: &Working<'_>,
    at: UnixTime,
) -> Result<(Vec<RowWrite>, Vec<String>), StoreError> {
    let mut writes = Vec::new();
    let mut serials = Vec::new();
    for entry in rows.first_keys(Table::Expiries, EXPIRED)? {
        let (expires, name) = record::expiry_time(&entry)?;
        if expires > at {
            break;
        }
        let serial: Serial = name.parse().map_err(|_| UNREADABLE)?;
        let key = find_token(rows, &serial)?;
        let token = own_row(rows, &key)?.ok_or(StoreError::NotFound)?;
        if token.state()?.may_become(LifeCycle::Expired) {
            let owner = &key[..key.len() - name.len() - 1];
            writes.extend(remembered(rows, owner, name, &token, expires)?);
            writes.extend(ended(key, name, token, LifeCycle::Expired)?);
            serials.push(name.to_owned());
        } else {
            writes.push(gone(Table::Expiries, entry.clone()));
        }
    }
    if writes.is_empty() {
        return Err(StoreError::NotFound);
    }
    Ok((writes, serials))
}

pub(super) fn link(
    rows: &Working<'_>,
    serial: &Serial,
    user: &UserKey,
    keys: Keys<'_>,
) -> Result<Vec<RowWrite>, StoreError> {
    let other = record::user_key(user);
    rows.get(Table::Users, &other, |_| Ok(()))?
        .ok_or(StoreError::NotFound)?;
    let owner = rows.get(Table::Owners, serial.as_str().as_bytes(), |row| {
        Ok(row.to_vec())
    })?;
    let owner = owner.ok_or(StoreError::NotFound)?;
    refuse_if(owner == other, "the token is this user's own")?;
    let key = record::token_key(&other, serial);
    let linked = rows.get(Table::Tokens, &key, |_| Ok(()))?.is_some();
    refuse_if(linked, "the token counts for this user already")?;
    let own = record::token_key(&owner, serial);
    let token = rows.get(Table::Tokens, &own, |row| record::token(row, keys.sealer))?;
    refuse_key(rows, user, &token.ok_or(StoreError::NotFound)?, keys)?;
    Ok(vec![
        put(Table::Tokens, key, record::link_row(&owner, serial)),
        put(Table::Links, link_key(serial.as_str(), &other), Vec::new()),
    ])
}

pub(super) fn unlink(
    rows: &Working<'_>,
    serial: &Serial,
    user: &UserKey,
    at: UnixTime,
) -> Result<Vec<RowWrite>, StoreError> {
    let other = record::user_key(user);
    let entry = link_key(serial.as_str(), &other);
    rows.get(Table::Links, &entry, |_| Ok(()))?
        .ok_or(StoreError::NotFound)?;
    let mut writes = vec![
        gone(Table::Tokens, record::token_key(&other, serial)),
        gone(Table::Links, entry),
    ];
    let own = own_row(rows, &find_token(rows, serial)?)?;
    if own.is_some_and(|token| is_factor(&token).unwrap_or(true)) {
        writes.push(remember(rows, other, at)?);
    }
    Ok(writes)
}

/// The rows that go with a token that goes: its links, its address, its time.
pub(super) fn indexes_gone(
    rows: &Working<'_>,
    serial: &Serial,
    token: &TokenRow,
) -> Result<Vec<RowWrite>, StoreError> {
    let name = serial.as_str();
    let mut writes = Vec::new();
    let prefix = link_key(name, b"");
    for entry in rows.keys(Table::Links, &prefix)? {
        let other = &entry[prefix.len()..];
        writes.push(gone(Table::Tokens, record::token_key(other, serial)));
        writes.push(gone(Table::Links, entry.clone()));
    }
    if let Some(mark) = token.address_mark() {
        writes.push(gone(Table::Addresses, record::address_key(mark, name)));
    }
    if let Some(expires) = token.expires() {
        writes.push(gone(Table::Expiries, record::expiry_key(expires, name)));
    }
    Ok(writes)
}

/// The rows of a device that takes a token over, by a right enrolment or transfer code.
pub(super) fn enrolled(
    rows: &Working<'_>,
    serial: &Serial,
    device: &Device,
    at: UnixTime,
) -> Result<Vec<RowWrite>, StoreError> {
    let key = find_token(rows, serial)?;
    let mut token = own_row(rows, &key)?.ok_or(StoreError::NotFound)?;
    let owner = record::user_key(&device.user);
    let mut writes = device::created(rows, &owner, device)?;
    let id = device.id.to_string();
    let Some(before) = token.device().map(str::to_owned) else {
        token.set_device(Some(id));
        if token.enrolment()?.verify {
            writes.push(put(Table::Tokens, key, token.changed()?));
        } else {
            writes.extend(activate(rows, &key, serial, token, at)?);
        }
        return Ok(writes);
    };
    // All that the old device carried moves; its key is good for nothing any more (capabilities C6).
    for (key, mut moved) in device::tokens(rows, &owner, &before)? {
        moved.set_device(Some(id.clone()));
        writes.push(put(Table::Tokens, key, moved.changed()?));
    }
    writes.extend(device::revoked(rows, &owner, &before)?);
    Ok(writes)
}

fn link_key(serial: &str, user: &[u8]) -> Vec<u8> {
    [serial.as_bytes(), b"\0", user].concat()
}

/// How long after it was asked for with a password or PIN alone a token comes into use beside another.
const ASKED: Duration = Duration::from_hours(1);
/// Most tokens ended by one change.
const EXPIRED: usize = 500;
/// See [`refuse_unsynchronised`].
const UNSYNCHRONISED: &str = "a repair of the store closed the token, and which of its codes are used is not \
    known: resync it by two codes first (oncegate token resync)";
const UNREADABLE: StoreError =
    StoreError::Corrupt("an entry of a token that expires cannot be read");
