//! Signed requests of devices that only read: taken once, without a record of each.
//!
//! An app that waits for something asks every few seconds. What it is told changes nothing, so its requests
//! are remembered in this process and not in the store.
//!
//! Invariant: no request is taken twice. One that was signed before this process began may have been taken
//! by an earlier one and is refused; one of the second in which it began, or from a clock that is ahead, goes
//! on record.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::device::{DeviceCall, DeviceId, DeviceState, NotTaken};
use crate::time::UnixTime;

/// What devices read lately.
pub(super) struct Reads {
    /// Nothing that was signed before is taken.
    since: UnixTime,
    devices: Mutex<HashMap<DeviceId, DeviceState>>,
}

impl Reads {
    /// None yet.
    pub(super) fn since(now: UnixTime) -> Self {
        Self {
            // Signatures tell whole seconds.
            since: UnixTime::from_secs(now.as_secs()),
            devices: Mutex::default(),
        }
    }

    /// Takes a request; `false`: it must go on record.
    pub(super) fn take(&self, call: &DeviceCall, at: UnixTime) -> Result<bool, NotTaken> {
        // By a clock that was ahead when the process began, nothing can be told.
        if call.created > at || call.created == self.since || at < self.since {
            return Ok(false);
        }
        if call.created < self.since {
            return Err(NotTaken);
        }
        let mut devices = self.lock();
        if devices.len() >= DEVICES && !devices.contains_key(&call.device) {
            let is_recent = |seen: UnixTime| at.since(seen) <= DeviceState::SKEW * 2;
            devices.retain(|_, state| state.last_seen.is_some_and(is_recent));
            if devices.len() >= DEVICES {
                return Ok(false);
            }
        }
        let state = devices.entry(call.device.clone()).or_default();
        // A clock that was ahead and is vouched for again does not shut a device out.
        let known = DeviceState {
            last_seen: None,
            ..state.clone()
        };
        *state = known.take(call, at)?;
        Ok(true)
    }

    /// When the device last asked for anything, by what is on record and here.
    pub(super) fn seen(&self, id: &DeviceId, recorded: Option<UnixTime>) -> Option<UnixTime> {
        let here = self.lock().get(id).and_then(|state| state.last_seen);
        recorded.max(here)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceId, DeviceState>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Most devices that are remembered at a time, at most 64 requests each; reads of others go on record.
const DEVICES: usize = 16_384;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_795_000_000);

    fn call(device: u8, nonce: u64, created: UnixTime) -> DeviceCall {
        DeviceCall {
            device: DeviceId::new([device; 5]),
            revision: 1,
            nonce,
            created,
        }
    }

    #[test]
    fn a_read_is_taken_once_and_never_from_before_the_start() {
        let second = Duration::from_secs(1);
        let reads = Reads::since(UnixTime::from_secs(NOW.as_secs() - 1));
        assert_eq!(reads.take(&call(1, 1, NOW), NOW), Ok(true));
        assert_eq!(
            reads.take(&call(1, 1, NOW), NOW.plus(second)),
            Err(NotTaken)
        );
        assert_eq!(reads.take(&call(2, 1, NOW), NOW), Ok(true));
        for (before, taken) in [(1, Ok(false)), (2, Err(NotTaken))] {
            let before = UnixTime::from_secs(NOW.as_secs() - before);
            assert_eq!(reads.take(&call(1, 2, before), NOW), taken);
        }
        assert_eq!(reads.take(&call(1, 3, NOW.plus(second)), NOW), Ok(false));
        assert_eq!(reads.seen(&DeviceId::new([1; 5]), None), Some(NOW));
    }

    #[test]
    fn a_flood_of_one_device_is_bounded_and_of_many_goes_on_record() {
        let reads = Reads::since(UnixTime::default());
        for nonce in 0..64 {
            assert_eq!(reads.take(&call(1, nonce, NOW), NOW), Ok(true));
        }
        assert_eq!(reads.take(&call(1, 99, NOW), NOW), Err(NotTaken));
        for number in 0..DEVICES as u64 {
            let [.., a, b, c] = number.to_be_bytes();
            let one = DeviceCall {
                device: DeviceId::new([9, 9, a, b, c]),
                ..call(0, 1, NOW)
            };
            let _ = reads.take(&one, NOW);
        }
        assert_eq!(reads.take(&call(7, 1, NOW), NOW), Ok(false));
        // The first ones are forgotten when their time alone refuses them.
        let later = NOW.plus(Duration::from_secs(121));
        assert_eq!(reads.take(&call(7, 1, later), later), Ok(true));
        assert_eq!(reads.take(&call(1, 1, NOW), later), Err(NotTaken));
    }
}
