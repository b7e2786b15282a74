//! Where a request comes from: the peer of its connection, or the hop that a listed proxy names.
//!
//! ```text
//! X-Forwarded-For: spoofed, 203.0.113.7, 10.0.0.2     peer 10.0.0.1; listed: 10.0.0.0/24
//!                           ^ right-most hop that is not listed: the client
//! ```
//!
//! Sources: RFC 7239 (`Forwarded`); `X-Forwarded-For` as proxies write it.
//!
//! Invariants: what an unlisted peer says of others is ignored; it can only lose by it (a request with a
//! forwarding header is not [`Near`](super::caller::Near)). Hops to the left of the first unlisted one
//! are the client's own words and are not read. Where both headers are there and disagree, one was
//! passed on from outside: the request is then of the proxy itself.
//!
//! Threats T44, T20: a client that names another address to escape its limits, to make
//! another's full, or to be taken for this machine.

use std::net::{IpAddr, SocketAddr};

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ipnet::IpNet;

use crate::model::source::Source;
use crate::server::http::App;
use crate::server::http::error::Failure;

/// The reverse proxies that are believed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies(Vec<IpNet>);

impl Proxies {
    /// These networks.
    pub(crate) const fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether one of them has this address.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// The other end of a TCP connection; only the listener inserts it.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Who sent a request, as far as that is known.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Origin {
    /// The address; none on the admin socket and in process.
    pub(crate) address: Option<IpAddr>,
    /// Whether it is the peer of a connection from loopback that no proxy stands behind.
    pub(crate) near: bool,
    /// Whether a listed proxy passed it on.
    passed_on: bool,
}

impl Origin {
    fn of(peer: IpAddr, headers: &HeaderMap, proxies: &Proxies) -> Self {
        let peer = peer.to_canonical();
        let forwarded = FORWARDING.iter().any(|name| headers.contains_key(name));
        if !proxies.has(peer) {
            return Self {
                address: Some(peer),
                near: peer.is_loopback() && !forwarded,
                passed_on: false,
            };
        }
        let plain = hops(headers, &X_FORWARDED_FOR, |text| vec![node(text)]);
        let standard = hops(headers, &header::FORWARDED, elements);
        let client =
            |hops: Option<Vec<Option<IpAddr>>>| hops.map(|hops| client(peer, &hops, proxies));
        let address = match (client(plain), client(standard)) {
            (None, None) => peer,
            (Some(one), Some(other)) if one != other => peer,
            (Some(one), _) | (None, Some(one)) => one,
        };
        Self {
            address: Some(address),
            near: false,
            passed_on: true,
        }
    }
}

/// Finds out where a request comes from. What listed proxies pass on has the share of its own address, as
/// a connection would have.
pub(super) async fn located(app: &App, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    let origin = peer.map(|peer| Origin::of(peer.0.ip(), request.headers(), app.proxies()));
    let origin = origin.unwrap_or_default();
    request.extensions_mut().insert(origin);
    let _share = match origin.address.filter(|_| origin.passed_on) {
        None => None,
        Some(address) => {
            let most = app.connections_of(address);
            match app.addresses().share(Source::from(address).site(), most) {
                Some(share) => Some(share),
                None => return Failure::CROWDED.into_response(),
            }
        }
    };
    next.run(request).await
}

/// The right-most hop that is not a listed proxy; where that one is hidden, the proxy that hid it.
fn client(peer: IpAddr, hops: &[Option<IpAddr>], proxies: &Proxies) -> IpAddr {
    let mut at = peer;
    for hop in hops.iter().rev() {
        match hop {
            Some(hop) if proxies.has(at) => at = *hop,
            _ => break,
        }
    }
    at
}

/// All hops that a header names, oldest first; none without the header.
fn hops(
    headers: &HeaderMap,
    name: &HeaderName,
    read: fn(&str) -> Vec<Option<IpAddr>>,
) -> Option<Vec<Option<IpAddr>>> {
    headers.contains_key(name).then(|| {
        let lines = headers.get_all(name).iter();
        lines
            // A line that is not text hides its hops.
            .flat_map(|line| match line.to_str() {
                Ok(text) => pieces(text, ',').flat_map(read).collect(),
                Err(_) => vec![None],
            })
            .collect()
    })
}

/// `for=192.0.2.60;proto=https` of `Forwarded`.
fn elements(element: &str) -> Vec<Option<IpAddr>> {
    let mut of = pieces(element, ';').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value)
    });
    let value = of.next().filter(|_| of.next().is_none());
    vec![value.and_then(|value| node(value.trim().trim_matches('"')))]
}

/// Splits where the separator is not inside quotes.
fn pieces(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |character| {
        quoted ^= character == '"';
        character == separator && !quoted
    })
}

/// An address, with or without port and brackets; nothing for `unknown` and obfuscated names.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip());
    let address = bare.parse::<IpAddr>().or_else(|_| with_port()).ok()?;
    Some(address.to_canonical())
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Headers that a request from this machine itself does not have.
const FORWARDING: [HeaderName; 4] = [
    header::FORWARDED,
    X_FORWARDED_FOR,
    HeaderName::from_static("x-real-ip"),
    header::VIA,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies() -> Proxies {
        let networks = ["127.0.0.1/32", "10.0.0.0/24", "2001:db8:1::/64"];
        Proxies::new(networks.map(|text| text.parse().unwrap()).into())
    }

    fn origin(peer: &str, lines: &[(&'static str, &str)]) -> Origin {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        Origin::of(peer.parse().unwrap(), &headers, &proxies())
    }

    fn address(peer: &str, lines: &[(&'static str, &str)]) -> String {
        origin(peer, lines).address.unwrap().to_string()
    }

    #[test]
    fn the_right_most_hop_that_is_not_listed_is_the_client() {
        const X: &str = "x-forwarded-for";
        const F: &str = "forwarded";
        for (peer, lines, client) in [
            ("10.0.0.1", &[(X, "203.0.113.7")][..], "203.0.113.7"),
            (
                "10.0.0.1",
                &[(X, "192.0.2.9, 203.0.113.7, 10.0.0.2")],
                "203.0.113.7",
            ),
            (
                "10.0.0.1",
                &[(X, "192.0.2.9"), (X, "203.0.113.7")],
                "203.0.113.7",
            ),
            ("10.0.0.1", &[(X, "203.0.113.7:4711")], "203.0.113.7"),
            ("10.0.0.1", &[(X, "2001:db8::7")], "2001:db8::7"),
            ("10.0.0.1", &[(X, "[2001:db8::7]:80")], "2001:db8::7"),
            (
                "::ffff:10.0.0.1",
                &[(X, "::ffff:203.0.113.7")],
                "203.0.113.7",
            ),
            (
                "2001:db8:1::5",
                &[(F, "for=203.0.113.7;proto=https")],
                "203.0.113.7",
            ),
            (
                "10.0.0.1",
                &[(F, "for=192.0.2.9, For=\"[2001:db8::7]:4711\"")],
                "2001:db8::7",
            ),
            (
                "10.0.0.1",
                &[(F, "by=\"a,b;for=1.1.1.1\";for=203.0.113.7")],
                "203.0.113.7",
            ),
            // All are proxies: the first of them asked itself.
            ("10.0.0.1", &[(X, "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
            // Hidden, or nonsense: what is left of it is not read.
            ("10.0.0.1", &[(X, "203.0.113.7, unknown")], "10.0.0.1"),
            (
                "10.0.0.1",
                &[(F, "for=203.0.113.7, for=_hidden, for=10.0.0.2")],
                "10.0.0.2",
            ),
            (
                "10.0.0.1",
                &[(F, "for=203.0.113.7;for=192.0.2.9")],
                "10.0.0.1",
            ),
            ("10.0.0.1", &[(X, "")], "10.0.0.1"),
            // Both, of which one was passed on from outside.
            (
                "10.0.0.1",
                &[(X, "203.0.113.7"), (F, "for=192.0.2.9")],
                "10.0.0.1",
            ),
            (
                "10.0.0.1",
                &[(X, "203.0.113.7"), (F, "for=203.0.113.7")],
                "203.0.113.7",
            ),
            ("10.0.0.1", &[], "10.0.0.1"),
            // These are not listed.
            ("10.0.1.1", &[(X, "203.0.113.7")], "10.0.1.1"),
            ("203.0.113.7", &[(F, "for=10.0.0.1")], "203.0.113.7"),
        ] {
            assert_eq!(address(peer, lines), client, "{peer} {lines:?}");
        }
    }

    #[test]
    fn only_a_peer_on_this_machine_is_near() {
        let near = |peer, lines: &[_]| origin(peer, lines).near;
        assert!(near("127.0.0.2", &[]) && near("::1", &[]));
        for name in ["forwarded", "x-forwarded-for", "x-real-ip", "via"] {
            assert!(!near("127.0.0.2", &[(name, "127.0.0.1")]), "{name}");
        }
        assert!(!near("127.0.0.1", &[]), "a listed proxy speaks for others");
        assert!(!near("127.0.0.1", &[("x-forwarded-for", "127.0.0.1")]));
        assert!(!near("203.0.113.7", &[("x-forwarded-for", "127.0.0.1")]));
    }
}
