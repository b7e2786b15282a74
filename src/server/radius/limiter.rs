//! One log line per cause and minute, however many packets have it.
//!
//! Threat: a flood that fills the disk with log lines, or memory with causes: at most [`CAUSES`]
//! are remembered, and beyond them nothing is logged until the minute is over. The counters still
//! count everything.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::model::client::{Access, Client};
use crate::radius::Discard;
use crate::radius::packet::Code;
use crate::server::radius::udp::Serves;
use crate::time::UnixTime;

/// Remembers what was logged lately.
#[derive(Debug, Default)]
pub(super) struct Limiter(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    began: UnixTime,
    seen: HashMap<(Subject, &'static str), u64>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Subject {
    Client(String),
    Network(IpAddr),
}

impl Limiter {
    /// Whether to log now.
    fn admit(&self, subject: Subject, word: &'static str, now: UnixTime) -> bool {
        let mut state = self.0.lock().expect("no panic while the lock is held");
        // A clock set back begins a new minute too.
        if now < state.began || now.since(state.began) >= MINUTE {
            state.began = now;
            state.seen.clear();
        }
        if state.seen.len() >= CAUSES {
            return false;
        }
        let count = state.seen.entry((subject, word)).or_default();
        *count += 1;
        *count == 1
    }

    /// Says that a packet of a client was discarded, and what to do about it.
    pub(super) fn discarded(
        &self,
        client: &Arc<Client>,
        source: IpAddr,
        discard: Discard,
        ports: &Ports,
        now: UnixTime,
    ) {
        let (name, reason) = (client.name.as_str(), discard.as_str());
        if discard == Discard::DuplicateInFlight {
            tracing::debug!(client = name, %source, reason, "{discard}");
            return;
        }
        if !self.admit(Subject::Client(name.to_owned()), reason, now) {
            return;
        }
        match discard {
            Discard::BadMessageAuthenticator | Discard::BadRequestAuthenticator => {
                let advice = of_secret(client);
                tracing::warn!(client = name, %source, reason, "{discard} {advice}");
            }
            Discard::IncompleteAccounting => tracing::warn!(
                client = name, %source, reason,
                "{discard} Its accounting is not on record: let the NAS send both, or switch its \
                 accounting off"
            ),
            Discard::MissingMessageAuthenticator => tracing::warn!(
                client = name, %source, reason,
                "{discard} Let the NAS send it; only if it cannot: \
                 `oncegate client set {name} --require-message-authenticator false` (EAP is never taken \
                 without it)"
            ),
            Discard::ProxyStateWithoutMessageAuthenticator => tracing::warn!(
                client = name, %source, reason,
                "{discard} Let the proxy sign its requests (CVE-2024-3596)"
            ),
            Discard::Overload => tracing::warn!(
                client = name, %source, reason,
                "{discard} If this lasts, raise limits.radius_in_flight or look at the disk"
            ),
            Discard::UnexpectedCode => {
                let advice = ports.advice();
                tracing::info!(client = name, %source, reason, "{discard} {advice}");
            }
            _ => tracing::info!(client = name, %source, reason, "{discard}"),
        }
    }

    /// Says that what an unsigned request has for a password is no text: nothing else shows that the
    /// shared secrets differ.
    pub(super) fn noise(&self, client: &Arc<Client>, source: IpAddr, now: UnixTime) {
        if self.once(client, "password_noise", now) {
            let (name, advice) = (client.name.as_str(), of_secret(client));
            tracing::warn!(
                client = name, %source,
                "the password of a request without Message-Authenticator is no text: perhaps the shared \
                 secrets differ. {advice}"
            );
        }
    }

    /// Says that a datagram came from an address no client has.
    pub(super) fn unknown(&self, source: IpAddr, now: UnixTime) {
        let reason = Discard::UnknownClient.as_str();
        if self.admit(Subject::Network(network(source)), reason, now) {
            tracing::info!(
                %source, reason,
                "no client has this address; if it is yours: \
                 `oncegate client add radius NAME --address {source}`"
            );
        }
    }

    /// Whether to say now that an address has this trouble.
    pub(super) fn once_from(&self, source: IpAddr, word: &'static str, now: UnixTime) -> bool {
        self.admit(Subject::Network(network(source)), word, now)
    }

    /// Whether to say now that a client has this other trouble.
    pub(super) fn once(&self, client: &Client, word: &'static str, now: UnixTime) -> bool {
        self.admit(Subject::Client(client.name.clone()), word, now)
    }
}

/// What the port serves that a packet came to, and where the other kind is served.
#[derive(Debug)]
pub(super) struct Ports {
    pub(super) here: Serves,
    pub(super) other: Option<SocketAddr>,
    /// The Code of the packet.
    pub(super) code: Option<Code>,
}

impl Ports {
    /// Where a packet of the other kind belongs; of no kind that is answered anywhere, which are.
    fn advice(&self) -> String {
        let (here, code, kind, other) = match self.here {
            Serves::Authentication => (
                "Logins",
                Code::AccountingRequest,
                "Accounting-Requests",
                "accounting",
            ),
            Serves::Accounting => (
                "Accounting",
                Code::AccessRequest,
                "Access-Requests",
                "logins",
            ),
        };
        if self.code != Some(code) {
            let number = self.code.map_or(0, |code| code.0);
            return format!(
                "Its Code is {number}: let the NAS send Access-Request (1), Accounting-Request (4) or \
                 Status-Server (12)"
            );
        }
        match self.other {
            Some(at) => {
                let port = at.port();
                format!("{here} only is served here; let the NAS send {kind} to port {port} ({at})")
            }
            None => format!(
                "{here} only is served here, and {other} nowhere: see `radius.listen` and \
                 `radius.accounting_listen` in the configuration"
            ),
        }
    }
}

/// What to do where the shared secrets differ. Over TLS there is one secret for all (RFC 6614 s2.3).
fn of_secret(client: &Client) -> String {
    match &client.access {
        Access::Radius(radius) if radius.settings.certificate.is_some() => {
            "Over TLS the shared secret is the word `radsec`, always: set that in the NAS"
                .to_owned()
        }
        _ => {
            let name = &client.name;
            format!(
                "Set here the secret that the NAS has: `oncegate client rotate {name} --secret-stdin`; without \
                 --secret-stdin it makes a new one for both sides"
            )
        }
    }
}

/// The /24 or /48 of an address: who can send from one address can send from its neighbours.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & (!0 << 8)).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (!0 << 80)).into(),
    }
}

const MINUTE: Duration = Duration::from_mins(1);

/// Causes remembered per minute. Against packets with forged source addresses.
const CAUSES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::client::{RadiusAccess, RadiusSettings, Require};
    use crate::model::method::Allowed;
    use crate::secret::{SecretBytes, SharedSecret};

    #[test]
    fn one_line_per_cause_and_minute() {
        let limiter = Limiter::default();
        let at = UnixTime::from_secs(1000);
        let admit = |address: &str, at| {
            let address = address.parse().expect("an address");
            limiter.admit(Subject::Network(network(address)), "unknown_client", at)
        };
        assert!(admit("192.0.2.1", at));
        assert!(!admit("192.0.2.200", at), "same /24");
        assert!(admit("192.0.3.1", at));
        assert!(admit("192.0.2.1", at.plus(MINUTE)));
        assert!(
            admit("192.0.2.1", at),
            "a clock set back does not silence for ever"
        );
    }

    #[test]
    fn advice_is_of_the_packet_and_of_the_transport() {
        let at = "127.0.0.1:1813".parse::<SocketAddr>().ok();
        let advice = |here, code| {
            let ports = Ports {
                here,
                other: at,
                code: Some(Code(code)),
            };
            ports.advice()
        };
        let moves = advice(Serves::Authentication, 4);
        assert!(moves.contains("to port 1813"), "{moves}");
        assert!(advice(Serves::Accounting, 1).contains("to port 1813"));
        for here in [Serves::Authentication, Serves::Accounting] {
            let other = advice(here, 99);
            assert!(
                other.starts_with("Its Code is 99: ") && !other.contains("port"),
                "{other}"
            );
        }
        let mut client = Client::without_record("nas");
        let access = |certificate: Option<&str>| {
            let secret = SharedSecret::new(SecretBytes::from(&b"a secret"[..]));
            Access::Radius(RadiusAccess {
                addresses: Vec::new(),
                secret: secret.expect("8 octets"),
                previous: None,
                message_authenticator: Require::True,
                challenge: true,
                methods: Allowed::default(),
                settings: RadiusSettings {
                    certificate: certificate.map(str::to_owned),
                    ..RadiusSettings::default()
                },
            })
        };
        client.access = access(None);
        assert!(of_secret(&client).contains("`oncegate client rotate nas --secret-stdin`"));
        client.access = access(Some("nas.example"));
        let tls = of_secret(&client);
        assert!(tls.contains("`radsec`") && !tls.contains("rotate"), "{tls}");
    }

    #[test]
    fn causes_are_bounded() {
        let limiter = Limiter::default();
        let admitted = (0..10_000_u32).filter(|number| {
            let subject = Subject::Network(Ipv4Addr::from_bits(number << 8).into());
            limiter.admit(subject, "unknown_client", UnixTime::from_secs(1))
        });
        assert_eq!(admitted.count(), CAUSES);
    }
}
