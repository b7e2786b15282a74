//! Changes of devices, and their own requests.

use crate::model::device::{Device, DeviceCall, DeviceId, DeviceState};
use crate::model::id::Serial;
use crate::model::kind::Kind;
use crate::model::token::LifeCycle;
use crate::model::user_key::UserKey;
use crate::store::record::{RowWrite, Table, TokenRow};
use crate::store::transition::lifecycle;
use crate::store::transition::plan::Plan;
use crate::store::transition::rows::{
    device_state_write, gone, own_row, put, refuse_if, token_row,
};
use crate::store::transition::working::Working;
use crate::store::{StoreError, record};
use crate::time::UnixTime;

/// What happens to a device.
#[derive(Clone, Debug)]
pub enum DeviceAct {
    /// Nothing: its request is only taken, so that it is not taken twice.
    Ask,
    /// Its user signs in to self-service by it.
    SignIn,
    /// It is called otherwise.
    Rename(String),
    /// It and its tokens are revoked; why, a word.
    Revoke(String),
}

/// The key of a device's row.
fn find(rows: &Working<'_>, id: &DeviceId) -> Result<Option<Vec<u8>>, StoreError> {
    let owner = rows.get(Table::DeviceOwners, id.as_str().as_bytes(), |row| {
        Ok(row.to_vec())
    })?;
    Ok(owner.map(|owner| record::device_key(&owner, id)))
}

/// The state of the device that calls; `None` when it is none of ours, revoked, or has another key.
pub(super) fn calling(
    rows: &Working<'_>,
    call: &DeviceCall,
) -> Result<Option<DeviceState>, StoreError> {
    let Some(key) = find(rows, &call.device)? else {
        return Ok(None);
    };
    let condition = rows.get(Table::Devices, &key, record::device_condition)?;
    if condition != Some((call.revision, false)) {
        return Ok(None);
    }
    let name = call.device.as_str().as_bytes();
    rows.needed(Table::DeviceStates, name, record::device_state)
        .map(Some)
}

/// The row that remembers a device's request; refused when it was taken before.
pub(super) fn taken(
    rows: &Working<'_>,
    call: Option<&DeviceCall>,
    at: UnixTime,
) -> Result<Vec<RowWrite>, StoreError> {
    let Some(call) = call else {
        return Ok(Vec::new());
    };
    let state = calling(rows, call)?.ok_or(StoreError::NotTaken)?;
    let state = state.take(call, at).map_err(|_| StoreError::NotTaken)?;
    Ok(vec![device_state_write(&call.device, &state)?])
}

fn created(rows: &Working<'_>, owner: &[u8], device: &Device) -> Result<Vec<RowWrite>, StoreError> {
    let id = device.id.as_str().as_bytes();
    let exists = rows.has(Table::DeviceOwners, id)?;
    refuse_if(exists, "a device with this id exists already")?;
    for key in rows.keys(Table::Devices, &record::devices_prefix(&device.user))? {
        let other = rows.get(Table::Devices, &key, record::device)?;
        let same = other.is_some_and(|other| other.public_key == device.public_key);
        refuse_if(same, "the user has a device with this key already")?;
    }
    let row = record::device_row(device)?;
    Ok(vec![
        put(Table::Devices, record::device_key(owner, &device.id), row),
        put(Table::DeviceOwners, id.to_vec(), owner.to_vec()),
        device_state_write(&device.id, &DeviceState::default())?,
    ])
}

/// Tokens of the user that this device carries.
pub(super) fn tokens(
    rows: &Working<'_>,
    owner: &[u8],
    device: &str,
) -> Result<Vec<(Vec<u8>, TokenRow)>, StoreError> {
    let mut tokens = Vec::new();
    for key in rows.keys(Table::Tokens, &[owner, b"\0"].concat())? {
        if let Some(token) = own_row(rows, &key)?
            && token.device() == Some(device)
        {
            tokens.push((key, token));
        }
    }
    Ok(tokens)
}

/// The row of a device whose signatures are no longer taken.
fn revoked(rows: &Working<'_>, owner: &[u8], id: &str) -> Result<Option<RowWrite>, StoreError> {
    let id: DeviceId = id.parse().map_err(|_| StoreError::NotFound)?;
    let key = record::device_key(owner, &id);
    let Some(mut device) = rows.get(Table::Devices, &key, record::device)? else {
        return Ok(None);
    };
    device.revoked = true;
    device.revision += 1;
    Ok(Some(put(Table::Devices, key, record::device_row(&device)?)))
}

/// Carries out what is done to a device; by its own request when it has one.
pub(super) fn change(
    rows: &Working<'_>,
    id: &DeviceId,
    act: DeviceAct,
    call: Option<&DeviceCall>,
    at: UnixTime,
) -> Result<Plan, StoreError> {
    let mut writes = taken(rows, call, at)?;
    let key = find(rows, id)?.ok_or(StoreError::NotFound)?;
    let device = rows.get(Table::Devices, &key, record::device)?;
    let mut device = device.ok_or(StoreError::NotFound)?;
    let user = device.user.to_string();
    let (action, detail) = match act {
        DeviceAct::Ask => ("device_ask", None),
        DeviceAct::SignIn => ("device_sign_in", None),
        DeviceAct::Rename(name) => {
            device.name.clone_from(&name);
            device.revision += 1;
            writes.push(put(Table::Devices, key, record::device_row(&device)?));
            ("device_rename", Some(name))
        }
        DeviceAct::Revoke(why) => {
            refuse_if(device.revoked, "the device is revoked already")?;
            let owner = record::user_key(&device.user);
            writes.extend(revoked(rows, &owner, id.as_str())?);
            for (key, token) in tokens(rows, &owner, id.as_str())? {
                if token.state()?.may_become(LifeCycle::Revoked) {
                    let prefix = [owner.as_slice(), b"\0"].concat();
                    let serial = record::last_part(&key, &prefix)?.to_owned();
                    writes.extend(lifecycle::remembered(rows, &owner, &serial, &token, at)?);
                    writes.extend(lifecycle::ended(key, &serial, token, LifeCycle::Revoked)?);
                }
            }
            ("device_revoke", Some(why))
        }
    };
    let plan = Plan::new(action, id, writes).concerns(Some(user));
    Ok(plan.detail(detail))
}

/// The rows of all devices of a user who goes.
pub(super) fn removed(rows: &Working<'_>, user: &UserKey) -> Result<Vec<RowWrite>, StoreError> {
    let prefix = record::devices_prefix(user);
    let mut writes = Vec::new();
    for key in rows.keys(Table::Devices, &prefix)? {
        let id = record::last_part(&key, &prefix)?.as_bytes().to_vec();
        writes.push(gone(Table::DeviceOwners, id.clone()));
        writes.push(gone(Table::DeviceStates, id));
        writes.push(gone(Table::Devices, key));
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
    let (key, mut token) = token_row(rows, serial)?;
    let owner = record::user_key(&device.user);
    let mut writes = created(rows, &owner, device)?;
    let id = device.id.to_string();
    let Some(before) = token.device().map(str::to_owned) else {
        token.set_device(Some(id));
        let enrolment = token.enrolment()?;
        // The code proved that it is the user's device, unless the policy wants the first code confirmed.
        if enrolment.verify && enrolment.first_use_within.is_none() {
            writes.push(put(Table::Tokens, key, token.changed()?));
        } else {
            let activated = lifecycle::activate(rows, &key, serial, token, at)?;
            writes.extend(activated);
        }
        return Ok(writes);
    };
    // All that the old device carried moves; its key is good for nothing any more (capabilities C6). What it
    // made codes of by itself ends: the old device knows it.
    let prefix = [owner.as_slice(), b"\0"].concat();
    for (key, mut moved) in tokens(rows, &owner, &before)? {
        if moved.kind() == Kind::Totp.as_str() {
            if moved.state()?.may_become(LifeCycle::Revoked) {
                let name = record::last_part(&key, &prefix)?.to_owned();
                writes.extend(lifecycle::ended(key, &name, moved, LifeCycle::Revoked)?);
            }
            continue;
        }
        moved.set_device(Some(id.clone()));
        writes.push(put(Table::Tokens, key, moved.changed()?));
    }
    writes.extend(revoked(rows, &owner, &before)?);
    Ok(writes)
}
