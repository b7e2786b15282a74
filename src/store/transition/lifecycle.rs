//! A token's way into use, and out of it.
//!
//! Every way into use goes through [`activate`]: the token it replaces ends in the same transaction
//! (capabilities C11: the old one is good until the new one is proven), the number of tokens in use is
//! bounded, and its time begins to run.

use std::time::Duration;

use crate::model::enrolment::NotApproved;
use crate::model::id::Serial;
use crate::model::kind::Kind;
use crate::model::token::LifeCycle;
use crate::store::record::{RowWrite, Table, TokenRow, link_key};
use crate::store::transition::plan::Plan;
use crate::store::transition::rows::{
    expiry_gone, expiry_put, gone, own_row, put, refuse_if, seen, some, token_row, user_state,
    user_state_write,
};
use crate::store::transition::working::Working;
use crate::store::{StoreError, record};
use crate::time::UnixTime;

/// Moves a token from one state to another; why, a word.
pub(super) fn set_state(
    rows: &Working<'_>,
    serial: &Serial,
    (state, reason): (LifeCycle, Option<String>),
    expected: u64,
    at: UnixTime,
) -> Result<Plan, StoreError> {
    let (key, mut token) = seen(rows, serial, expected)?;
    let present = token.state_at(at)?;
    let again = (present, state) == (LifeCycle::Pending, LifeCycle::Pending);
    refuse_if(
        !present.may_become(state) && !again,
        "the token's present state does not allow that",
    )?;
    let writes = match (present, state) {
        (_, LifeCycle::Revoked | LifeCycle::Expired) => {
            let owner = record::owner_part(&key, serial);
            let mut writes = remembered(rows, owner, serial.as_str(), &token, at)?;
            if reason.as_deref() == Some(FROZEN) && writes.is_empty() {
                // "This was not me": no password alone is believed for a while.
                writes.push(remember(rows, owner.to_vec(), at)?);
            }
            writes.extend(ended(key, serial.as_str(), token, state)?);
            writes
        }
        (LifeCycle::Pending, LifeCycle::Active) => activate(rows, &key, serial, token, at)?,
        (_, LifeCycle::Pending) => {
            token.set_enrolment(&token.enrolment()?.handed_out(at));
            token.set_state(state);
            vec![put(Table::Tokens, key, token.changed()?)]
        }
        _ => {
            if state == LifeCycle::Active {
                refuse_unsynchronised(rows, serial)?;
            }
            token.set_state(state);
            vec![put(Table::Tokens, key, token.changed()?)]
        }
    };
    let action = match state {
        LifeCycle::Active => "token_resume",
        LifeCycle::Suspended => "token_suspend",
        LifeCycle::Revoked => "token_revoke",
        LifeCycle::Pending => "token_offer",
        LifeCycle::Requested => "token_request",
        LifeCycle::Approved => "token_approve",
        LifeCycle::Expired => "token_expire",
        LifeCycle::Unassigned => "token_unassign",
    };
    Ok(Plan::of_token(rows, action, serial, writes)?.detail(reason))
}

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
        let mut replaced = enrolment.replaces.iter();
        let replaced = replaced.any(|old| old.as_str() == name);
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
    // A password that was known before the user had a token must not bring another one ever after.
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
        writes.push(expiry_put(expires, serial.as_str()));
    }
    token.set_state(LifeCycle::Active);
    writes.push(put(Table::Tokens, key.to_vec(), token.changed()?));
    Ok(writes)
}

/// A token of which a repair of the store could not tell the used counters does not come into use.
fn refuse_unsynchronised(rows: &Working<'_>, serial: &Serial) -> Result<(), StoreError> {
    let name = serial.as_str().as_bytes();
    let state = rows.get(Table::TokenStates, name, record::token_state)?;
    let closed = state.and_then(|state| state.needs_resync());
    refuse_if(closed.is_some(), UNSYNCHRONISED)
}

/// Whether the token is, or was until it is put on record, in use as something that the user has.
pub(super) fn is_factor(token: &TokenRow) -> Result<bool, StoreError> {
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
            // A row that is damaged lets nothing in, and does not keep a token from ending.
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
    writes.extend(token.expires().map(|expires| expiry_gone(expires, serial)));
    token.set_state(state);
    writes.push(put(Table::Tokens, key, token.changed()?));
    Ok(writes)
}

/// Approves a requested token, in the name of another approver if one lent the right.
pub(super) fn approve(
    rows: &Working<'_>,
    serial: &Serial,
    (by, on_behalf): (&str, Option<&str>),
    expected: u64,
    at: UnixTime,
) -> Result<Plan, StoreError> {
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
    let writes = vec![put(Table::Tokens, key, token.changed()?)];
    let plan = Plan::of_token(rows, "token_approve", serial, writes)?;
    Ok(plan.detail(on_behalf.map(|from| format!("on behalf of {from}"))))
}

const fn conflict(cause: NotApproved) -> StoreError {
    StoreError::Conflict(match cause {
        NotApproved::NotRequested => "the token does not wait for an approval",
        NotApproved::OwnRequest => OWN_REQUEST,
        NotApproved::Twice => APPROVED_TWICE,
        NotApproved::NotDelegated => "there is no delegation to this approver at present",
    })
}

/// Why an approval needs another person.
pub(crate) const OWN_REQUEST: &str = "who asked for a token cannot approve it; another person must";
pub(crate) const APPROVED_TWICE: &str = "this approver has approved it already; another one must";

/// Ends tokens whose time has come: at most so many at a time.
pub(super) fn expire(rows: &Working<'_>, at: UnixTime) -> Result<Plan, StoreError> {
    let mut writes = Vec::new();
    let mut serials = Vec::new();
    for entry in rows.first_keys(Table::Expiries, EXPIRED)? {
        let (expires, name) = record::expiry_time(&entry)?;
        if expires > at {
            break;
        }
        let serial: Serial = name.parse().map_err(|_| UNREADABLE)?;
        let (key, token) = token_row(rows, &serial)?;
        if token.state()?.may_become(LifeCycle::Expired) {
            let owner = record::owner_part(&key, &serial);
            writes.extend(remembered(rows, owner, name, &token, expires)?);
            writes.extend(ended(key, name, token, LifeCycle::Expired)?);
            serials.push(name.to_owned());
        } else {
            writes.push(gone(Table::Expiries, entry.clone()));
        }
    }
    let plan = Plan::new("token_expire", "tokens", some(writes)?);
    Ok(plan.detail(serials.join(" ")))
}

/// The reason of a state that the word in a notice gave.
pub(crate) const FROZEN: &str = "frozen";
/// How long after it was asked for with a password or PIN alone a token comes into use beside another.
const ASKED: Duration = Duration::from_hours(1);
/// Most tokens ended by one change.
const EXPIRED: usize = 500;
/// See [`refuse_unsynchronised`].
pub(super) const UNSYNCHRONISED: &str = "a repair or restore of the store closed the token, and which of its codes are used is \
    not known: resync it by two codes first (oncegate token resync)";
const UNREADABLE: StoreError =
    StoreError::Corrupt("an entry of a token that expires cannot be read");
