//! Where the daemon may connect to: hosts as they are written, and which addresses are refused.
//!
//! A host is written by an administrator and resolved by foreign servers, so it is judged
//! twice: its form here, when the configuration is read, and the address it leads to by [`refusal`],
//! each time, right before that very address is connected to.
//!
//! Threats T31, request forgery: numbers in disguise (`0x7f.1`, `2130706433`, `0177.0.0.1`)
//! are refused by form, because resolvers read them and people do not; `user@host` and `\` hide the
//! host from the eye; an IPv6 address can carry an IPv4 one (mapped, NAT64, 6to4, Teredo). IPv6 is
//! therefore an allow-list: global unicast, without the ranges that lead elsewhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::Uri;

/// Who is at the other end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Host {
    /// This address.
    Address(IpAddr),
    /// Whatever this name leads to: ASCII, lower case, no dot at the end.
    Name(String),
}

/// A place to connect to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// Who is there.
    pub host: Host,
    /// TCP port, not 0.
    pub port: u16,
    /// Whether TLS begins at once.
    pub secure: bool,
}

/// A URL as it may be shown: behind its `?` may be a key. Placeholders stay.
pub fn shown(url: &str) -> String {
    match url.split_once('?') {
        Some((place, query)) => format!("{place}?{}", shown_pairs(query)),
        None => url.to_owned(),
    }
}

/// The same of a form, or of a query.
pub(super) fn shown_pairs(form: &str) -> String {
    let pairs = form.split('&').map(|pair| match pair.split_once('=') {
        Some((_, value)) if is_placeholder(value) => pair.to_owned(),
        Some((name, _)) => format!("{name}={HIDDEN}"),
        None => HIDDEN.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// Whether a value is one placeholder and nothing else.
pub(super) fn is_placeholder(value: &str) -> bool {
    let name = value
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    name.is_some_and(|name| name.bytes().all(|octet| octet.is_ascii_lowercase()))
}

/// What stands for what may be a secret.
pub(super) const HIDDEN: &str = "[redacted]";

/// Which addresses a target may lead to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reach {
    /// Public ones.
    Public,
    /// Also this machine and private networks.
    Private,
}

/// Why a text names no place to connect to. No variant holds the text: it may have a password.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TargetError {
    /// No URL.
    #[error("not a URL: write https://HOST/PATH, percent-encoded")]
    Url,
    /// Another scheme.
    #[error("the scheme is neither https nor http")]
    Scheme,
    /// A user, and perhaps a password, before the host.
    #[error("a URL with a user or a password in it: it is shown and logged, so take them out")]
    UserInfo,
    /// The host is neither a name nor an address.
    #[error("the host is neither a name in ASCII letters nor a usual IP address")]
    Host,
    /// Port 0 or none that is a number.
    #[error("the port is not a number from 1 to 65535")]
    Port,
}

impl Target {
    /// The host and port of an `http` or `https` URL.
    pub fn of_url(url: &str) -> Result<Self, TargetError> {
        // Some parsers end the host at a backslash, some drop control characters.
        if !url.bytes().all(|octet| octet.is_ascii_graphic()) || url.contains('\\') {
            return Err(TargetError::Url);
        }
        let (scheme, rest) = url.split_once("://").ok_or(TargetError::Url)?;
        let secure = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(TargetError::Scheme),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).ok_or(TargetError::Url)?;
        if authority.contains('@') {
            return Err(TargetError::UserInfo);
        }
        if path.contains('#') {
            return Err(TargetError::Url);
        }
        let uri: Uri = url.parse().map_err(|_| TargetError::Url)?;
        if uri.authority().map(hyper::http::uri::Authority::as_str) != Some(authority) {
            return Err(TargetError::Url);
        }
        let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or(TargetError::Host)?;
            let host: Ipv6Addr = host.parse().map_err(|_| TargetError::Host)?;
            let port = match rest {
                "" => None,
                rest => Some(rest.strip_prefix(':').ok_or(TargetError::Port)?),
            };
            (Host::Address(host.into()), port)
        } else {
            let (host, port) = match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            };
            (parse_host(host)?, port)
        };
        let port = match port {
            Some(port) => parse_port(port)?,
            None if secure => 443,
            None => 80,
        };
        Ok(Self { host, port, secure })
    }

    /// A host and a port written apart.
    pub fn of_host(host: &str, port: u16, secure: bool) -> Result<Self, TargetError> {
        if port == 0 {
            return Err(TargetError::Port);
        }
        let host = match host.parse::<Ipv6Addr>() {
            Ok(address) => Host::Address(address.into()),
            Err(_) => parse_host(host)?,
        };
        Ok(Self { host, port, secure })
    }

    /// Whether it is written as an address of this machine, or as its usual name.
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Address(address) => address.is_loopback(),
            Host::Name(name) => name == "localhost",
        }
    }
}

/// Why this address is not connected to; `None` when it may be.
pub const fn refusal(address: IpAddr, reach: Reach) -> Option<&'static str> {
    let (why, private) = match address {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(address) => v6(address),
    };
    match reach {
        Reach::Private if private => None,
        Reach::Private | Reach::Public => why,
    }
}

/// What is special about the address, and whether `allow_private` covers it. Addresses of the link
/// and of cloud metadata are never covered: no gateway is there, and credentials are.
const fn v4(address: Ipv4Addr) -> (Option<&'static str>, bool) {
    match address.octets() {
        [127, ..] => (Some("an address of this machine"), true),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => (Some("a private address"), true),
        [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16] => {
            (Some("an address of cloud metadata"), false)
        }
        [100, 64..=127, ..] => (Some("an address inside a provider's network"), true),
        [169, 254, ..] => (Some("a link-local address"), false),
        [0, ..] => (Some("an unspecified address"), false),
        [224..=239, ..] => (Some("a multicast address"), false),
        [192, 0, 0 | 2, _]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [192, 88, 99, _]
        | [198, 18..=19, ..]
        | [240..=255, ..] => (Some("a reserved address"), false),
        _ => (None, false),
    }
}

const fn v6(address: Ipv6Addr) -> (Option<&'static str>, bool) {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => (Some("an address of this machine"), true),
        [0, 0, 0, 0, 0, 0, 0, 0] => (Some("an unspecified address"), false),
        [0, 0, 0, 0, 0, 0xffff | 0, ..] | [0x64, 0xff9b, ..] | [0x2002, ..] | [0x2001, 0, ..] => {
            (Some("an IPv4 address inside an IPv6 address"), false)
        }
        [0xfd00, 0xec2, ..] => (Some("an address of cloud metadata"), false),
        [0xfc00..=0xfdff, ..] => (Some("a private address"), true),
        [0xfe80..=0xfebf, ..] => (Some("a link-local address"), false),
        [0xff00..=0xffff, ..] => (Some("a multicast address"), false),
        // RFC 2928, RFC 3849, RFC 9637.
        [0x2001, 0..=0x01ff | 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] => {
            (Some("a reserved address"), false)
        }
        [0x2000..=0x3fff, ..] => (None, false),
        _ => (Some("a reserved address"), false),
    }
}

fn parse_port(text: &str) -> Result<u16, TargetError> {
    let digits = text.bytes().all(|octet| octet.is_ascii_digit());
    let port = text.parse().ok().filter(|port| digits && *port != 0);
    port.ok_or(TargetError::Port)
}

fn parse_host(text: &str) -> Result<Host, TargetError> {
    // The standard library takes four decimal numbers without leading zeros and nothing else.
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(Host::Address(address.into()));
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_".contains(&octet);
        (1..=63).contains(&label.len()) && label.bytes().all(plain) && !label.starts_with('-')
    };
    if name.len() > 253 || !name.split('.').all(label) || ends_in_number(name) {
        return Err(TargetError::Host);
    }
    Ok(Host::Name(name.to_ascii_lowercase()))
}

/// Whether resolvers take the host for an IPv4 address in one of its old forms.
fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    last.bytes().all(|octet| octet.is_ascii_digit())
        || hex.is_some_and(|hex| hex.bytes().all(|octet| octet.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_urls_are_understood() {
        let name = |name: &str| Host::Name(name.to_owned());
        for (url, host, port, secure) in [
            (
                "https://api.example.com/send?x=1",
                name("api.example.com"),
                443,
                true,
            ),
            (
                "http://API.Example.com.",
                name("api.example.com"),
                80,
                false,
            ),
            (
                "https://93.184.216.34:8443/",
                Host::Address([93, 184, 216, 34].into()),
                8443,
                true,
            ),
            (
                "http://[2606:2800::1]:80/",
                Host::Address("2606:2800::1".parse().unwrap()),
                80,
                false,
            ),
            (
                "https://sms_1.example?to=%2B82",
                name("sms_1.example"),
                443,
                true,
            ),
        ] {
            assert_eq!(
                Target::of_url(url),
                Ok(Target { host, port, secure }),
                "{url}"
            );
        }
        let host = Target::of_host("::1", 25, false).unwrap();
        assert!(host.is_loopback() && Target::of_host("mail", 0, false).is_err());
    }

    #[test]
    fn a_shown_url_has_no_credential() {
        for (url, wanted) in [
            ("https://a.example/in", "https://a.example/in"),
            (
                "https://a.example/in?to={to}&key=s3cret&s3cret",
                "https://a.example/in?to={to}&key=[redacted]&[redacted]",
            ),
            (
                "https://a.example/in?to={to}&more={\"key\":\"s3cret\"}",
                "https://a.example/in?to={to}&more=[redacted]",
            ),
        ] {
            assert_eq!(shown(url), wanted);
        }
        let error = Target::of_url("https://u:s3cret@a.example").unwrap_err();
        assert!(!error.to_string().contains("s3cret"));
    }

    #[test]
    fn what_a_switch_opens_is_private_only() {
        for (address, public, private) in [
            ("8.8.8.8", true, true),
            ("2606:4700::1111", true, true),
            ("127.0.0.1", false, true),
            ("::1", false, true),
            ("10.1.2.3", false, true),
            ("172.31.255.255", false, true),
            ("172.32.0.1", true, true),
            ("100.64.0.1", false, true),
            ("100.128.0.1", true, true),
            ("fd12::1", false, true),
            ("169.254.169.254", false, false),
            ("100.100.100.200", false, false),
            ("168.63.129.16", false, false),
            ("fd00:ec2::254", false, false),
            ("fe80::1", false, false),
            ("0.0.0.0", false, false),
            ("::", false, false),
            ("::ffff:127.0.0.1", false, false),
            ("::ffff:8.8.8.8", false, false),
            ("::127.0.0.1", false, false),
            ("64:ff9b::7f00:1", false, false),
            ("64:ff9b:1::7f00:1", false, false),
            ("2002:7f00:1::", false, false),
            ("2001:0:1::1", false, false),
            ("2001:db8::1", false, false),
            ("224.0.0.1", false, false),
            ("ff02::1", false, false),
            ("255.255.255.255", false, false),
            ("192.0.2.1", false, false),
            ("198.18.0.1", false, false),
            ("4000::1", false, false),
        ] {
            let at = |reach| refusal(address.parse().unwrap(), reach).is_none();
            assert_eq!(
                (at(Reach::Public), at(Reach::Private)),
                (public, private),
                "{address}"
            );
        }
    }
}
