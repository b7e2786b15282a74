//! Where a person asks from, as failures are counted: an IPv4 address, or an IPv6 /64.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::otp::throttle::Throttle;
use crate::time::UnixTime;

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
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SourceState {
    /// Failures over all users since the last success from there.
    pub throttle: Throttle,
    /// The last failure: what is long past may be forgotten.
    pub last: UnixTime,
}

impl SourceState {
    /// After a right answer from there: one failure less, and a block that runs goes on. Anyone who has
    /// one account of their own must not buy fresh guesses at everybody else's with it (threats
    /// T10); an office forgives its typing errors by working.
    pub fn forgiven(self, at: UnixTime) -> Self {
        if self.throttle.check(at).is_err() {
            return self;
        }
        match self.throttle.failures {
            0 | 1 => Self::default(),
            failures => Self {
                throttle: Throttle {
                    failures: failures - 1,
                    ..Throttle::default()
                },
                ..self
            },
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
}
