//! Connections to other machines: to gateways, and to a server from the command line.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

pub mod connect;
pub mod exchange;
pub mod tls;

/// Where a listener on "any address" is reached from this machine.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Why a client of this network reaches none of the listeners, if so.
pub fn why_unreachable(network: IpNet, listeners: &[SocketAddr]) -> Option<String> {
    let (address, all) = (network.addr().to_canonical(), listeners);
    let shown = || {
        let all: Vec<String> = all.iter().map(ToString::to_string).collect();
        all.join(", ")
    };
    if all.is_empty() {
        return Some("nothing listens".to_owned());
    }
    let family = |at: &&SocketAddr| {
        // `[::]` takes both families where the system says so; other addresses only their own.
        at.is_ipv4() == address.is_ipv4() || at.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    };
    let same: Vec<&SocketAddr> = all.iter().filter(family).collect();
    if same.is_empty() {
        let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        return Some(format!("no listener is {family} ({})", shown()));
    }
    let local = |at: &&SocketAddr| at.ip().to_canonical().is_loopback();
    // A network that holds loopback among others can be asked from elsewhere as well.
    let only_here = address.is_loopback() && network.prefix_len() >= 8;
    if !only_here && same.iter().all(local) {
        return Some(format!("it listens on loopback only ({})", shown()));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_is_reached_over_loopback() {
        let at = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(at("0.0.0.0:1"), "127.0.0.1:1");
        assert_eq!(at("[::]:1"), "[::1]:1");
        assert_eq!(at("192.0.2.1:1"), "192.0.2.1:1");
    }

    #[test]
    fn says_why_no_listener_is_reached() {
        let why = |network: &str, listeners: &[&str]| {
            let listeners: Vec<_> = listeners.iter().map(|at| at.parse().unwrap()).collect();
            why_unreachable(network.parse().unwrap(), &listeners)
        };
        assert_eq!(why("192.0.2.1/32", &["0.0.0.0:1812"]), None);
        assert_eq!(why("192.0.2.1/32", &["127.0.0.1:1812", "[::]:1812"]), None);
        assert_eq!(why("127.0.0.1/32", &["127.0.0.1:1812"]), None);
        let only_here = why("192.0.2.1/32", &["127.0.0.1:1812"]).unwrap();
        assert_eq!(only_here, "it listens on loopback only (127.0.0.1:1812)");
        let family = why("2001:db8::/64", &["192.0.2.7:1812"]).unwrap();
        assert_eq!(family, "no listener is IPv6 (192.0.2.7:1812)");
        assert_eq!(why("192.0.2.1/32", &[]).unwrap(), "nothing listens");
    }
}
