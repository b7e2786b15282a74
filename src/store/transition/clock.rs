//! Putting right what a clock that was ahead left behind.

use crate::model::clock::{Present, changes, said};
use crate::model::device::DeviceId;
use crate::model::id::Serial;
use crate::model::token::LifeCycle;
use crate::model::user_key::UserKey;
use crate::store::record::{RowWrite, Table};
use crate::store::transition::plan::Plan;
use crate::store::transition::rows::{
    device_state_write, expiry_put, put, some, token_row, token_state, token_state_write,
    user_state, user_state_write,
};
use crate::store::transition::working::Working;
use crate::store::{StoreError, record};

/// What a clock that was ahead left behind of a user.
#[derive(Clone, Debug)]
pub struct Reanchor {
    /// Whose.
    pub user: UserKey,
    /// The present.
    pub present: Present,
    /// The user's own tokens, with the steps known to be consumed; `None`: not all are known.
    pub tokens: Vec<(Serial, Option<Vec<u64>>)>,
    /// The user's devices.
    pub devices: Vec<DeviceId>,
}

pub(super) fn user(rows: &Working<'_>, change: &Reanchor) -> Result<Plan, StoreError> {
    let present = change.present;
    let key = record::user_key(&change.user);
    rows.require(Table::Users, &key)?;
    let (mut writes, mut detail) = (Vec::new(), Vec::new());
    let before = user_state(rows, &key)?;
    let after = present.user(&before);
    if after != before {
        detail.push("waits of the user".to_owned());
        writes.push(user_state_write(key, &after)?);
    }
    for (serial, steps) in &change.tokens {
        let steps = steps.as_deref();
        token(rows, (serial, steps), present, (&mut writes, &mut detail))?;
    }
    for id in &change.devices {
        let name = id.as_str().as_bytes();
        if let Some(state) = rows.get(Table::DeviceStates, name, record::device_state)? {
            writes.push(device_state_write(id, &present.device(&state))?);
        }
        detail.push(format!("{id}: requests"));
    }
    let plan = Plan::of_user(ACTION, &change.user, writes);
    Ok(plan.detail(detail.join("; ")))
}

fn token(
    rows: &Working<'_>,
    (serial, steps): (&Serial, Option<&[u64]>),
    present: Present,
    (writes, detail): (&mut Vec<RowWrite>, &mut Vec<String>),
) -> Result<(), StoreError> {
    let (key, mut row) = token_row(rows, serial)?;
    let kind = row.kind().parse().map_err(|()| UNREADABLE)?;
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
        writes.extend(expires.map(|expires| expiry_put(expires, serial.as_str())));
        detail.push(format!("{serial}: expired before its time, now suspended"));
    }
    Ok(())
}

pub(super) fn retired(
    rows: &Working<'_>,
    present: Present,
    keys: &[(Vec<u8>, Option<Vec<u64>>)],
) -> Result<Plan, StoreError> {
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
    Ok(Plan::new(ACTION, "tokens that are gone", writes))
}

/// At most so many sources at a time.
pub(super) fn sources(rows: &Working<'_>, present: Present) -> Result<Plan, StoreError> {
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
    Ok(Plan::new(ACTION, "sources", some(writes)?))
}

const ACTION: &str = "clock_reanchor";
const UNREADABLE: StoreError = StoreError::Corrupt("the kind of a token cannot be read");
/// Most sources of one change.
const SOURCES: usize = 1_000;
