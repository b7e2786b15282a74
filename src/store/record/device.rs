//! The rows of a device: what it is, and what it asked lately.

use serde::{Deserialize, Serialize};

use crate::model::device::{Device, DeviceId, DeviceState};
use crate::model::user_key::UserKey;
use crate::store::StoreError;
use crate::store::record::{BAD_FORM, row, take, user_key};
use crate::time::UnixTime;

#[derive(Serialize, Deserialize)]
struct DeviceV1 {
    id: String,
    user: String,
    realm: String,
    name: String,
    algorithm: String,
    public_key: Vec<u8>,
    revoked: bool,
    created: u64,
    revision: u64,
}

/// A device's row.
pub(crate) fn device_row(device: &Device) -> Result<Vec<u8>, StoreError> {
    let form = DeviceV1 {
        id: device.id.to_string(),
        user: device.user.name().to_owned(),
        realm: device.user.realm().to_owned(),
        name: device.name.clone(),
        algorithm: device.algorithm.clone(),
        public_key: device.public_key.clone(),
        revoked: device.revoked,
        created: device.created.as_millis(),
        revision: device.revision,
    };
    row(1, &form)
}

/// Reads a device's row.
pub(crate) fn device(bytes: &[u8]) -> Result<Device, StoreError> {
    let form: DeviceV1 = take(1, bytes)?;
    Ok(Device {
        id: form.id.parse().map_err(|_| BAD_FORM)?,
        user: UserKey::with_realm(&form.user, &form.realm).map_err(|_| BAD_FORM)?,
        name: form.name,
        algorithm: form.algorithm,
        public_key: form.public_key,
        revoked: form.revoked,
        created: UnixTime::from_millis(form.created),
        revision: form.revision,
    })
}

/// What a signed request compares: revision, and whether the device is revoked.
pub(crate) fn device_condition(bytes: &[u8]) -> Result<(u64, bool), StoreError> {
    let form: DeviceV1 = take(1, bytes)?;
    Ok((form.revision, form.revoked))
}

#[derive(Serialize, Deserialize)]
struct DeviceStateV1 {
    recent: Vec<(u64, u64)>,
    last_seen: Option<u64>,
    void: Option<(u64, u64)>,
}

/// The row of what a device asked lately.
pub(crate) fn device_state_row(state: &DeviceState) -> Result<Vec<u8>, StoreError> {
    let recent = state.recent.iter();
    let form = DeviceStateV1 {
        recent: recent
            .map(|(nonce, created)| (*nonce, created.as_millis()))
            .collect(),
        last_seen: state.last_seen.map(UnixTime::as_millis),
        void: (state.void).map(|(first, last)| (first.as_millis(), last.as_millis())),
    };
    row(1, &form)
}

/// Reads what a device asked lately.
pub(crate) fn device_state(bytes: &[u8]) -> Result<DeviceState, StoreError> {
    let form: DeviceStateV1 = take(1, bytes)?;
    let recent = form.recent.into_iter();
    Ok(DeviceState {
        recent: recent
            .map(|(nonce, created)| (nonce, UnixTime::from_millis(created)))
            .collect(),
        last_seen: form.last_seen.map(UnixTime::from_millis),
        void: form
            .void
            .map(|(first, last)| (UnixTime::from_millis(first), UnixTime::from_millis(last))),
    })
}

/// The prefix of the row keys of a user's devices.
pub(crate) fn devices_prefix(user: &UserKey) -> Vec<u8> {
    let mut bytes = user_key(user);
    bytes.push(0);
    bytes
}

/// A device's row key.
pub(crate) fn device_key(owner: &[u8], id: &DeviceId) -> Vec<u8> {
    [owner, b"\0", id.as_str().as_bytes()].concat()
}
