//! A login: what an attempt does to the rows, given the newest ones.

use crate::model::attempt::{
    AtSource, Attempt, Compared, Current, Evidence, Proven, Repeated, Stale, Verdict,
};
use crate::model::audit::{Event, Purpose};
use crate::model::id::Serial;
use crate::model::reason::Decision;
use crate::model::settle::settle;
use crate::model::source::{Source, SourceState};
use crate::store::record::{Entry, RowWrite, Table};
use crate::store::transition::rows::{
    Keys, gone, own_row, put, token_state, token_state_write, user_state, user_state_write,
};
use crate::store::transition::working::Working;
use crate::store::transition::{changed, devices, lifecycle};
use crate::store::{StoreError, record};
use crate::time::UnixTime;

/// Decides an attempt against the newest rows.
pub(crate) fn attempt(
    rows: &Working<'_>,
    attempt: &Attempt,
    keys: Keys<'_>,
) -> Result<Result<(Verdict, Entry), Stale>, StoreError> {
    let Some((user_row, mut current)) = current(rows, attempt)? else {
        return Ok(Err(Stale));
    };
    let source = attempt.source();
    if let Some(source) = source {
        let state = rows.get(Table::Sources, source.octets(), record::source_state)?;
        current.source = state.unwrap_or_default();
    }
    let Ok(mut verdict) = settle(attempt, &current) else {
        return Ok(Err(Stale));
    };
    let mut activated = Vec::new();
    if let Some(serial) = &verdict.activates {
        match activate(rows, &user_row, serial, attempt.at) {
            Err(StoreError::Conflict(why)) => verdict = verdict.not_activated(why, &current),
            rows => activated = rows?,
        }
    }
    let mut writes = Vec::with_capacity(2);
    if let Some(state) = &verdict.user {
        writes.push(user_state_write(user_row.clone(), state)?);
    }
    if let (Some(source), Some(event)) = (source, verdict.source) {
        writes.extend(at_source(attempt, (source, &current.source), event, keys)?);
    }
    for (serial, state) in &verdict.tokens {
        writes.push(token_state_write(serial, state)?);
    }
    writes.extend(activated);
    if verdict.decision == Decision::Accept
        && let Some(serial) = &verdict.serial
    {
        match (attempt.purpose, &attempt.enrols) {
            (Purpose::Confirm, _) => {
                writes.extend(activate(rows, &user_row, serial, attempt.at)?);
            }
            (Purpose::Enrol, Some(device)) => {
                writes.extend(devices::enrolled(rows, serial, device, attempt.at)?);
            }
            _ => {}
        }
    }
    let event = Event::Decision(attempt.event(&verdict, keys.now));
    Ok(Ok((
        verdict,
        Entry {
            at: attempt.at,
            event,
            changes: changed::of_attempt(rows, &writes, keys)?,
            writes,
        },
    )))
}

/// The row key of the user and the newest state of what the evidence touches; `None`: what it was found by is
/// not the newest any more.
fn current(
    rows: &Working<'_>,
    attempt: &Attempt,
) -> Result<Option<(Vec<u8>, Current)>, StoreError> {
    let evidence = &attempt.evidence;
    let (user, holds) = match evidence {
        Evidence::Refused(_) | Evidence::Missed { .. } => return Ok(Some(Default::default())),
        Evidence::Compared(compared) => {
            let differs = rows.differs_from(compared.generation);
            let holds = !differs || conditions_hold(rows, compared, &attempt.proven)?;
            (&compared.user, holds)
        }
        Evidence::Repeated(repeated) => {
            let differs = rows.differs_from(repeated.generation);
            (&repeated.user, !differs || is_as_it_was(rows, repeated)?)
        }
    };
    if !holds {
        return Ok(None);
    }
    let row = record::user_key(user);
    let mut current = Current {
        user: user_state(rows, &row)?,
        ..Current::default()
    };
    if let Evidence::Compared(compared) = evidence {
        for token in compared.tokens.iter().flatten() {
            current.tokens.push(token_state(rows, &token.serial)?);
        }
    }
    Ok(Some((row, current)))
}

/// The rows of a user's own token that comes into use.
fn activate(
    rows: &Working<'_>,
    owner: &[u8],
    serial: &Serial,
    at: UnixTime,
) -> Result<Vec<RowWrite>, StoreError> {
    let key = record::token_key(owner, serial);
    let token = own_row(rows, &key)?.ok_or(StoreError::NotFound)?;
    lifecycle::activate(rows, &key, serial, token, at)
}

/// Whether the records that the view was read from are still the newest.
fn conditions_hold(
    rows: &Working<'_>,
    compared: &Compared,
    proven: &[Proven],
) -> Result<bool, StoreError> {
    let owner = record::user_key(&compared.user);
    let user = rows.get(Table::Users, &owner, record::user_condition)?;
    if user.is_none_or(|(revision, disabled)| disabled || revision != compared.revision) {
        return Ok(false);
    }
    if let Some(seen) = compared.credentials {
        let row = rows.get(Table::Credentials, &owner, record::credentials_revision)?;
        if row.unwrap_or_default() != seen {
            return Ok(false);
        }
    }
    let tokens = compared.tokens.iter().flatten();
    let tokens = tokens.map(|token| (&token.serial, token.revision));
    let proven = proven.iter().map(|token| (&token.serial, token.revision));
    for (serial, seen) in tokens.chain(proven) {
        if revision_of(rows, &owner, serial)? != Some(seen) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The revision of a token that counts for a user; of one that is another's, that of its record there.
fn revision_of(
    rows: &Working<'_>,
    owner: &[u8],
    serial: &Serial,
) -> Result<Option<u64>, StoreError> {
    let key = record::token_key(owner, serial);
    let link = |row: &[u8]| Ok(record::link_target(row).map(<[u8]>::to_vec));
    let target = rows.get(Table::Tokens, &key, link)?.flatten();
    let key = target.as_deref().unwrap_or(&key);
    let found = rows.get(Table::Tokens, key, record::token_condition)?;
    Ok(found.map(|(revision, _)| revision))
}

/// Whether user, PIN, password and tokens are what they were when the accept was given first.
fn is_as_it_was(rows: &Working<'_>, repeated: &Repeated) -> Result<bool, StoreError> {
    let owner = record::user_key(&repeated.user);
    let user = rows.get(Table::Users, &owner, record::user_condition)?;
    if user != Some((repeated.revision, false)) {
        return Ok(false);
    }
    if let Some(seen) = repeated.credentials {
        let row = rows.get(Table::Credentials, &owner, record::credentials_revision)?;
        if row.unwrap_or_default() != seen {
            return Ok(false);
        }
    }
    let last = repeated
        .serial
        .iter()
        .map(|serial| (serial, repeated.token));
    let held = repeated
        .held
        .iter()
        .map(|token| (&token.serial, token.revision));
    for (serial, seen) in last.chain(held) {
        if revision_of(rows, &owner, serial)? != Some(seen) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What an attempt does to the row of its source. What a name is called is not to be read there: anyone may have
/// typed anything, a password too.
fn at_source(
    attempt: &Attempt,
    (source, before): (Source, &SourceState),
    event: AtSource,
    keys: Keys<'_>,
) -> Result<Option<RowWrite>, StoreError> {
    if event == AtSource::Right && *before == SourceState::default() {
        return Ok(None);
    }
    let [one, two, three, four, ..] = keys.sealer.mark(&[b"tried", attempt.name().as_bytes()]);
    let name = u32::from_be_bytes([one, two, three, four]);
    let after = match event {
        AtSource::Failed => before.failed(name, &attempt.lockout, attempt.at),
        AtSource::Right => before.forgiven(name, attempt.at),
    };
    if after == *before {
        return Ok(None);
    }
    let key = source.octets().to_vec();
    Ok(Some(if after == SourceState::default() {
        gone(Table::Sources, key)
    } else {
        put(Table::Sources, key, record::source_state_row(&after)?)
    }))
}
