//! What devices and their requests do to the rows. No IO of its own.

use crate::model::device::{Device, DeviceCall, DeviceId, DeviceState};
use crate::model::token::LifeCycle;
use crate::store::change::refuse_if;
use crate::store::evaluate::{gone, put};
use crate::store::record::{RowWrite, Table, TokenRow};
use crate::store::working::Working;
use crate::store::{DeviceAct, StoreError, enrol, record};
use crate::time::UnixTime;

/// The key of a device's row.
pub(super) fn find(rows: &Working<'_>, id: &DeviceId) -> Result<Option<Vec<u8>>, StoreError> {
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
    Ok(vec![state_write(&call.device, &state)?])
}

pub(super) fn state_write(id: &DeviceId, state: &DeviceState) -> Result<RowWrite, StoreError> {
    let row = record::device_state_row(state)?;
    Ok(put(
        Table::DeviceStates,
        id.as_str().as_bytes().to_vec(),
        row,
    ))
}

pub(super) fn created(
    rows: &Working<'_>,
    owner: &[u8],
    device: &Device,
) -> Result<Vec<RowWrite>, StoreError> {
    let id = device.id.as_str().as_bytes();
    let exists = rows.get(Table::DeviceOwners, id, |_| Ok(()))?.is_some();
    refuse_if(exists, "a device with this id exists already")?;
    for key in rows.keys(Table::Devices, &record::devices_prefix(&device.user))? {
        let other = rows.get(Table::Devices, &key, record::device)?;
        let same = other.is_some_and(|other| other.public_key == device.public_key);
        refuse_if(same, "the user has a device with this key already")?;
    }
    let row = record::device_row(&Device {
        revision: 1,
        ..device.clone()
    })?;
    Ok(vec![
        put(Table::Devices, record::device_key(owner, &device.id), row),
        put(Table::DeviceOwners, id.to_vec(), owner.to_vec()),
        state_write(&device.id, &DeviceState::default())?,
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
        if let Some(token) = enrol::own_row(rows, &key)?
            && token.device() == Some(device)
        {
            tokens.push((key, token));
        }
    }
    Ok(tokens)
}

/// The row of a device whose signatures are no longer taken.
pub(super) fn revoked(
    rows: &Working<'_>,
    owner: &[u8],
    id: &str,
) -> Result<Option<RowWrite>, StoreError> {
    let id: DeviceId = id.parse().map_err(|_| StoreError::NotFound)?;
    let key = record::device_key(owner, &id);
    let Some(mut device) = rows.get(Table::Devices, &key, record::device)? else {
        return Ok(None);
    };
    device.revoked = true;
    device.revision += 1;
    Ok(Some(put(Table::Devices, key, record::device_row(&device)?)))
}

/// Carries out what is done to a device.
pub(super) fn change(
    rows: &Working<'_>,
    id: &DeviceId,
    act: &DeviceAct,
    call: Option<&DeviceCall>,
    at: UnixTime,
) -> Result<Vec<RowWrite>, StoreError> {
    let mut writes = taken(rows, call, at)?;
    let key = find(rows, id)?.ok_or(StoreError::NotFound)?;
    let mut device = rows
        .get(Table::Devices, &key, record::device)?
        .ok_or(StoreError::NotFound)?;
    match act {
        DeviceAct::Ask => {}
        DeviceAct::Rename(name) => {
            device.name.clone_from(name);
            device.revision += 1;
            writes.push(put(Table::Devices, key, record::device_row(&device)?));
        }
        DeviceAct::Revoke(_) => {
            refuse_if(device.revoked, "the device is revoked already")?;
            let owner = record::user_key(&device.user);
            writes.extend(revoked(rows, &owner, id.as_str())?);
            for (key, token) in tokens(rows, &owner, id.as_str())? {
                if token.state()?.may_become(LifeCycle::Revoked) {
                    let prefix = [owner.as_slice(), b"\0"].concat();
                    let serial = record::last_part(&key, &prefix)?.to_owned();
                    writes.extend(enrol::remembered(rows, &owner, &serial, &token, at)?);
                    writes.extend(enrol::ended(key, &serial, token, LifeCycle::Revoked)?);
                }
            }
        }
    }
    Ok(writes)
}

/// The rows of all devices of a user who goes.
pub(super) fn all_gone(
    rows: &Working<'_>,
    user: &crate::model::user_key::UserKey,
) -> Result<Vec<RowWrite>, StoreError> {
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
