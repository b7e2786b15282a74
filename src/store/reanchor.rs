//! What putting the clock right does to the rows. No IO of its own.

use crate::model::clock::{Present, changes, said};
use crate::model::device::DeviceId;
use crate::model::id::Serial;
use crate::model::token::LifeCycle;
use crate::store::change::find_token;
use crate::store::evaluate::{put, token_state, token_state_write, user_state, user_state_write};
use crate::store::record::{RowWrite, Table};
use crate::store::working::Working;
use crate::store::{Reanchor, StoreError, device, enrol, record};

/// The rows of a user, and what the audit says.
pub(super) fn user(
    rows: &Working<'_>,
    change: &Reanchor,
) -> Result<(Vec<RowWrite>, String), StoreError> {
    let present = change.present;
    let key = record::user_key(&change.user);
    rows.get(Table::Users, &key, |_| Ok(()))?
        .ok_or(StoreError::NotFound)?;
    let (mut writes, mut detail) = (Vec::new(), Vec::new());
    let before = user_state(rows, &key)?;
    let after = present.user(&before);
    if after != before {
        detail.push("waits of the user".to_owned());
        writes.push(user_state_write(key, &after)?);
    }
    for (serial, steps) in &change.tokens {
        token(
            rows,
            (serial, steps.as_deref()),
            present,
            (&mut writes, &mut detail),
        )?;
    }
    for id in &change.devices {
        writes.extend(device_state(rows, id, present)?);
        detail.push(format!("{id}: requests"));
    }
    Ok((writes, detail.join("; ")))
}

fn token(
    rows: &Working<'_>,
    (serial, steps): (&Serial, Option<&[u64]>),
    present: Present,
    (writes, detail): (&mut Vec<RowWrite>, &mut Vec<String>),
) -> Result<(), StoreError> {
    let key = find_token(rows, serial)?;
    let mut row = enrol::own_row(rows, &key)?.ok_or(StoreError::NotFound)?;
    let kind = row.kind().parse().map_err(|_| UNREADABLE)?;
    let before = token_state(rows, serial)?;
    let after = present.token(&before, kind, row.period()?, steps);
    if after != before {
        let mut said_of = changes(&before, &after).join(", ");
        if let (Some(from), Some(to)) = (before.moving.last, after.moving.last)
            && from != to
        {
            let void = said(&after.moving.ahead);
            said_of = format!("{said_of} (last {from} to {to}, used up {void})");
        }
        detail.push(format!("{serial}: {said_of}"));
        writes.push(token_state_write(serial, &after)?);
    }
    let expires = row.expires();
    if row.state()? == LifeCycle::Expired && present.expired_early(expires, &before) {
        // An administrator looks at it before it is in use again.
        row.set_state(LifeCycle::Suspended);
        writes.push(put(Table::Tokens, key, row.changed()?));
        if let Some(expires) = expires {
            let key = record::expiry_key(expires, serial.as_str());
            writes.push(put(Table::Expiries, key, Vec::new()));
        }
        detail.push(format!("{serial}: expired before its time, now suspended"));
    }
    Ok(())
}

fn device_state(
    rows: &Working<'_>,
    id: &DeviceId,
    present: Present,
) -> Result<Option<RowWrite>, StoreError> {
    let name = id.as_str().as_bytes();
    let state = rows.get(Table::DeviceStates, name, record::device_state)?;
    state
        .map(|state| device::state_write(id, &present.device(&state)))
        .transpose()
}

/// The rows of tokens that are gone.
pub(super) fn retired(
    rows: &Working<'_>,
    present: Present,
    keys: &[(Vec<u8>, Option<Vec<u64>>)],
) -> Result<Vec<RowWrite>, StoreError> {
    let mut writes = Vec::with_capacity(keys.len());
    for (key, steps) in keys {
        let found = rows.get(Table::Retired, key, record::retired)?;
        if let Some(mut retired) = found
            && let Some(period) = retired.period
        {
            retired.moving = present.moving(retired.moving, period, steps.as_deref());
            let row = record::retired_row(&retired)?;
            writes.push(put(Table::Retired, key.clone(), row));
        }
    }
    Ok(writes)
}

/// The rows of sources: at most so many at a time.
pub(super) fn sources(rows: &Working<'_>, present: Present) -> Result<Vec<RowWrite>, StoreError> {
    let mut writes = Vec::new();
    for key in rows.keys(Table::Sources, b"")? {
        let Some(before) = rows.get(Table::Sources, &key, record::source_state)? else {
            continue;
        };
        let after = present.source(before);
        if after != before {
            writes.push(put(Table::Sources, key, record::source_state_row(&after)?));
        }
        if writes.len() == SOURCES {
            break;
        }
    }
    if writes.is_empty() {
        return Err(StoreError::NotFound);
    }
    Ok(writes)
}

const UNREADABLE: StoreError = StoreError::Corrupt("the kind of a token cannot be read");
/// Most sources of one change.
const SOURCES: usize = 1_000;
