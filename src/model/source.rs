//! Where a person asks from, as failures are counted: an IPv4 address, or an IPv6 /64.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::otp::throttle::{Lockout, Throttle};
use crate::time::{UnixTime, millis};

/// What one subscriber can be expected to hold: counting single IPv6 addresses would count nothing,
/// since everybody has 2^64 of them.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Source {
    /// One address.
    V4([u8; 4]),
    /// The first 64 bits.
    V6([u8; 8]),
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let mut network = [0; 8];
                let octets = network.iter_mut().zip(address.octets());
                octets.for_each(|(octet, known)| *octet = known);
                Self::V6(network)
            }
        }
    }
}

impl Source {
    /// The octets that name it: 4 or 8.
    pub const fn octets(&self) -> &[u8] {
        match self {
            Self::V4(octets) => octets,
            Self::V6(octets) => octets,
        }
    }

    /// An address in it.
    pub fn address(self) -> IpAddr {
        match self {
            Self::V4(octets) => IpAddr::V4(octets.into()),
            Self::V6(prefix) => {
                let bits = u128::from(u64::from_be_bytes(prefix)) << 64;
                IpAddr::V6(Ipv6Addr::from(bits))
            }
        }
    }

    /// The whole of what a subscriber is given, whose share of the server it takes: of IPv6 the /56. Shares by /64
    /// would give a home of 256 networks 256 of them. Failures are counted by the source itself.
    #[must_use]
    pub const fn site(self) -> Self {
        match self {
            Self::V4(_) => self,
            Self::V6(prefix) => Self::V6((u64::from_be_bytes(prefix) & !0xff).to_be_bytes()),
        }
    }

    /// Reads [`Source::octets`].
    pub fn from_octets(octets: &[u8]) -> Option<Self> {
        match octets.len() {
            4 => octets.try_into().ok().map(Self::V4),
            8 => octets.try_into().ok().map(Self::V6),
            _ => None,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(octets) => Ipv4Addr::from(*octets).fmt(f),
            Self::V6(prefix) => {
                let bits = u128::from(u64::from_be_bytes(*prefix)) << 64;
                write!(f, "{}/64", Ipv6Addr::from(bits))
            }
        }
    }
}

/// What attempts change about a source.
///
/// ```text
/// refusal of a name     counts, but no more than `free` times for one name, whether or not it is a user's
/// success of a user     forgives what counts for that user's name, and nothing else
/// time                  forgives at the pace of the limit: `lock_after` failures in `lock_for`
/// ```
///
/// Names are counted here and not at the user: what a name that is no user's adds must be what a user's adds,
/// or the count tells who is one (threats T12). A user who goes on failing is the business of the user's own
/// counter; this one is there for those who try many. Only [`SourceState::NAMES`] names are kept, since anyone
/// chooses them: the oldest makes room, and counts anew when it fails again.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SourceState {
    /// Failures over all names that nothing has forgiven yet.
    pub throttle: Throttle,
    /// The last failure that counted, or up to when time has forgiven: what is long past may be forgotten.
    pub last: UnixTime,
    /// The names that failed, the newest first.
    pub names: [Tried; Self::NAMES],
}

/// A name that failed from a source.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tried {
    /// Stands for the name, which is not to be read where it is kept.
    pub name: u32,
    /// How many of its failures count; 0: none, and the place is free.
    pub failures: u32,
}

impl SourceState {
    /// Most names that are kept.
    pub const NAMES: usize = 16;

    /// After a failure by this name.
    #[must_use]
    pub fn failed(self, name: u32, lockout: &Lockout, at: UnixTime) -> Self {
        let limits = Lockout {
            free: lockout.source_free,
            lock_after: lockout.source_lock_after,
            // No one answers for an address: its locks always end by themselves.
            hard_lock_after: u32::MAX,
            ..*lockout
        };
        let mut after = self.rested(&limits, at);
        let failures = after.tried(name).map_or(0, |tried| tried.failures);
        if failures >= lockout.free.max(1) {
            return self;
        }
        after.throttle = after.throttle.failed(&limits, at);
        after.last = at;
        after.remember(Tried {
            name,
            failures: failures + 1,
        });
        after
    }

    /// After a success of the user of this name: what counted for it is forgiven, and a block that runs goes on.
    /// Anyone who has one account of their own must not buy fresh guesses at everybody else's with it (threats
    /// T10).
    #[must_use]
    pub fn forgiven(self, name: u32, at: UnixTime) -> Self {
        let mut after = self;
        let mut names = after.names.iter_mut();
        let Some(tried) = names.find(|tried| tried.failures > 0 && tried.name == name) else {
            return self;
        };
        let failures = std::mem::take(tried).failures;
        after.throttle = after.throttle.forgiven(failures, at);
        after.unless_clean()
    }

    /// What time forgives: as much as the limit would let pass in it. A typed name that is no user's is forgiven by
    /// no success, and an office must not be locked for those of a week.
    fn rested(self, limits: &Lockout, at: UnixTime) -> Self {
        let pace = limits.lock_for / limits.lock_after.max(1);
        let passed = millis(at.since(self.last)).checked_div(millis(pace));
        let passed = u32::try_from(passed.unwrap_or(0)).unwrap_or(u32::MAX);
        let forgiven = passed.min(self.throttle.failures);
        let after = Self {
            throttle: self.throttle.forgiven(forgiven, at),
            last: self.last.plus(pace.saturating_mul(forgiven)),
            ..self
        };
        after.unless_clean()
    }

    /// Where nothing is left that counts, nothing is kept.
    fn unless_clean(self) -> Self {
        if self.throttle == Throttle::default() {
            Self::default()
        } else {
            self
        }
    }

    fn tried(&self, name: u32) -> Option<&Tried> {
        let mut names = self.names.iter();
        names.find(|tried| tried.failures > 0 && tried.name == name)
    }

    /// Puts a name first, in its own place, a free one, or that of the oldest.
    fn remember(&mut self, tried: Tried) {
        let mut names = self.names.iter();
        let own = names.position(|one| one.failures > 0 && one.name == tried.name);
        let mut names = self.names.iter();
        let place = own.or_else(|| names.position(|one| one.failures == 0));
        let place = place.unwrap_or(Self::NAMES - 1);
        if let Some(names) = self.names.get_mut(..=place) {
            names.rotate_right(1);
            if let Some(first) = names.first_mut() {
                *first = tried;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(address: &str) -> String {
        Source::from(address.parse::<IpAddr>().unwrap()).to_string()
    }

    #[test]
    fn one_subscriber_is_one_source() {
        assert_eq!(shown("203.0.113.7"), "203.0.113.7");
        assert_eq!(shown("::ffff:203.0.113.7"), "203.0.113.7");
        assert_eq!(shown("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(shown("2001:db8:1:2::9"), shown("2001:db8:1:2:3:4:5:6"));
        let site = |address: &str| Source::from(address.parse::<IpAddr>().unwrap()).site();
        assert_eq!(site("2001:db8:1:200::1"), site("2001:db8:1:2ff::1"));
        assert_ne!(site("2001:db8:1:200::1"), site("2001:db8:1:300::1"));
        assert_ne!(site("192.0.2.1"), site("192.0.2.2"));
        for address in ["192.0.2.1", "2001:db8::1"] {
            let source = Source::from(address.parse::<IpAddr>().unwrap());
            assert_eq!(Source::from_octets(source.octets()), Some(source));
        }
    }

    const START: UnixTime = UnixTime::from_secs(1_795_000_000);

    fn failures(state: &SourceState) -> u32 {
        state.throttle.failures
    }

    /// Fails by each of these names in turn.
    fn tried(state: SourceState, names: impl IntoIterator<Item = u32>) -> SourceState {
        let lockout = Lockout::default();
        let mut state = state;
        for name in names {
            state = state.failed(name, &lockout, START);
        }
        state
    }

    #[test]
    fn a_name_counts_up_to_its_free_failures_and_no_more() {
        let one = tried(SourceState::default(), [7; 20]);
        assert_eq!((failures(&one), one.throttle.check(START)), (3, Ok(())));
        assert_eq!(failures(&tried(one, [8])), 4);
        // Many names lock it, and later ones of them count anew where they were forgotten.
        let many = tried(SourceState::default(), 0..100);
        assert_eq!(failures(&many), 100);
        assert_eq!(failures(&tried(many, [99, 99, 99])), 102);
        assert_eq!(failures(&tried(many, [0])), 101);
    }

    #[test]
    fn a_success_forgives_its_own_name_only() {
        let state = tried(SourceState::default(), [1, 1, 2, 3]);
        let after = state.forgiven(9, START);
        assert_eq!(after, state);
        let after = state.forgiven(1, START);
        assert_eq!(failures(&after), 2);
        assert_eq!(after.forgiven(1, START), after);
        // The pause after the fourth failure goes on.
        assert!(after.throttle.check(START).is_err());
        let later = START.plus(std::time::Duration::from_secs(10));
        let clean = after.forgiven(2, later).forgiven(3, later);
        assert_eq!(clean, SourceState::default());
    }

    #[test]
    fn time_forgives_at_the_pace_of_the_limit() {
        let lockout = Lockout::default();
        let pace = lockout.lock_for / lockout.source_lock_after;
        let state = tried(SourceState::default(), 0..9);
        // With the one that fails then.
        for (passed, left) in [(0, 10), (1, 9), (2, 8), (8, 2), (9, 1), (1000, 1)] {
            let at = START.plus(pace * passed);
            let after = state.failed(77, &lockout, at);
            assert_eq!(failures(&after), left, "{passed}");
        }
        // One a pace is never locked: that is what a lock lets pass in its time.
        let mut state = SourceState::default();
        for number in 0..200 {
            let at = START.plus(pace * number);
            assert_eq!(state.throttle.check(at), Ok(()), "{number}");
            state = state.failed(number, &lockout, at);
        }
        assert_eq!(failures(&state), 1);
    }
}
