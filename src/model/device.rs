//! An enrolled app or browser: it holds a key pair, and signs what it asks.
//!
//! Invariant: a signed request is taken once. Its nonce is remembered, durably and in the same
//! transaction as what it does, until its time has passed the window in which it would be taken.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::model::id::{InvalidId, Serial};
use crate::model::user_key::UserKey;
use crate::time::UnixTime;

/// The name of a device: `DEVICE-` and eight Crockford characters, the first 40 bits of the
/// thumbprint of its key. So a device is found by the `keyid` of its signatures, and a key is
/// enrolled once.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DeviceId(Serial);

impl DeviceId {
    /// The id of the device whose key's thumbprint begins with these octets.
    pub fn new(thumbprint: [u8; 5]) -> Self {
        Self(Serial::new("device", thumbprint))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for DeviceId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        text.parse().map(Self)
    }
}

/// A device as it was enrolled.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Device {
    /// Its name.
    pub id: DeviceId,
    /// The user it belongs to.
    pub user: UserKey,
    /// What the user calls it.
    pub name: String,
    /// The algorithm of its signatures, by the name of RFC 9421 (`ed25519`, `ecdsa-p256-sha256`).
    pub algorithm: String,
    /// Its public key: 32 octets of Ed25519, or a SEC1 point.
    pub public_key: Vec<u8>,
    /// Whether its signatures are no longer taken.
    pub revoked: bool,
    /// When it was enrolled.
    pub created: UnixTime,
    /// Rises by one with every change.
    pub revision: u64,
}

/// What requests change about a device.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DeviceState {
    /// Nonces of requests whose time is still within the window: a mark of each, and the time.
    pub recent: Vec<(u64, UnixTime)>,
    /// When it last asked for anything.
    pub last_seen: Option<UnixTime>,
    /// Requests that say they were signed between these times are not taken: they may have been, while
    /// the clock was ahead.
    pub void: Option<(UnixTime, UnixTime)>,
}

/// A signed request of a device, its signature verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeviceCall {
    /// Which.
    pub device: DeviceId,
    /// Its revision, under whose key the signature was verified.
    pub revision: u64,
    /// A mark of the nonce.
    pub nonce: u64,
    /// When the device says that it signed.
    pub created: UnixTime,
}

/// The request was taken before, is too old or too new, or too many came within the window.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotTaken;

impl DeviceState {
    /// How far a device's clock may be from ours (capabilities A2).
    pub const SKEW: Duration = Duration::from_mins(1);
    /// Most requests within the window: a device that asks oftener is broken, or not a device.
    pub const RECENT: usize = 64;

    /// After this request; refused when its nonce was seen, or its time is out of the window.
    pub fn take(&self, call: &DeviceCall, at: UnixTime) -> Result<Self, NotTaken> {
        // A request that was long on its way, or a clock that was set back, must not meet a memory
        // from which its nonce is gone already.
        let at = self.last_seen.map_or(at, |seen| seen.max(at));
        let skew = at.since(call.created).max(call.created.since(at));
        let void = self.void.filter(|(_, last)| *last >= at);
        let is_void = void.is_some_and(|(first, last)| (first..=last).contains(&call.created));
        if is_void || skew > Self::SKEW || self.recent.iter().any(|(nonce, _)| *nonce == call.nonce)
        {
            return Err(NotTaken);
        }
        let mut recent = self.recent.clone();
        recent.retain(|(_, created)| at.since(*created) <= Self::SKEW);
        let soon = at.plus(Self::SKEW);
        if recent
            .iter()
            .filter(|(_, created)| *created <= soon)
            .count()
            >= Self::RECENT
        {
            return Err(NotTaken);
        }
        recent.push((call.nonce, call.created));
        Ok(Self {
            recent,
            last_seen: Some(at),
            // Also where it seems to be over: the clock may be ahead once more.
            void: self.void,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_795_000_000);

    fn call(nonce: u64, created: UnixTime) -> DeviceCall {
        DeviceCall {
            device: DeviceId::new([1; 5]),
            revision: 1,
            nonce,
            created,
        }
    }

    #[test]
    fn a_nonce_is_taken_once_within_its_window() {
        let state = DeviceState::default().take(&call(1, NOW), NOW).unwrap();
        for later in [0, 30, 60] {
            let at = NOW.plus(Duration::from_secs(later));
            assert_eq!(state.take(&call(1, NOW), at), Err(NotTaken));
        }
        // Forgotten only when its time alone refuses it.
        let late = NOW.plus(Duration::from_secs(61));
        assert_eq!(state.take(&call(1, NOW), late), Err(NotTaken));
        assert!(state.take(&call(2, late), late).unwrap().recent.len() == 1);
    }

    #[test]
    fn a_nonce_from_a_fast_clock_is_remembered_until_it_is_too_old() {
        let ahead = NOW.plus(Duration::from_mins(1));
        let mut state = DeviceState::default().take(&call(1, ahead), NOW).unwrap();
        for step in 1..=12 {
            let at = NOW.plus(Duration::from_secs(step * 10));
            assert_eq!(state.take(&call(1, ahead), at), Err(NotTaken), "{step}");
            state = state.take(&call(100 + step, at), at).unwrap();
        }
    }

    #[test]
    fn time_that_falls_back_does_not_bring_a_forgotten_nonce_back() {
        let state = DeviceState::default().take(&call(1, NOW), NOW).unwrap();
        let later = NOW.plus(Duration::from_secs(61));
        let state = state.take(&call(2, later), later).unwrap();
        // Held back by anyone who copied it, it arrives with the time of its first octet.
        let earlier = NOW.plus(Duration::from_secs(59));
        assert_eq!(state.take(&call(1, NOW), earlier), Err(NotTaken));
    }

    #[test]
    fn clocks_may_differ_by_a_minute_and_requests_are_bounded() {
        let state = DeviceState::default();
        for (secs, good) in [(0, true), (60, true), (61, false)] {
            let other = NOW.plus(Duration::from_secs(secs));
            assert_eq!(state.take(&call(1, NOW), other).is_ok(), good);
            assert_eq!(state.take(&call(1, other), NOW).is_ok(), good);
        }
        let mut state = state;
        for nonce in 0..64 {
            state = state.take(&call(nonce, NOW), NOW).unwrap();
        }
        assert_eq!(state.take(&call(99, NOW), NOW), Err(NotTaken));
    }
}
