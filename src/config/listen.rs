//! Addresses that are listened on: each of them once, and plain HTTP only where a word allows it.
//!
//! Invariant: what is found here is what would keep a listener from being bound by another of the same configuration, so
//! that a start does not blame another program for it.

use std::net::SocketAddr;

use crate::config::file::Key;
use crate::config::keys;
use crate::config::reader::Resolver;
use crate::diagnostic::Diagnostic;

impl Resolver<'_> {
    /// Addresses of a listener that is disabled by a key of its own: at least one.
    pub(super) fn addresses(&mut self, key: &'static Key, forms: &str) -> Option<Vec<SocketAddr>> {
        let addresses = self.any_addresses(key, forms)?;
        if addresses.is_empty() {
            let section = key.path.split('.').next().unwrap_or_default();
            let error = Diagnostic::error(format!("`{}` is empty", key.path));
            let help = format!("name an address, or write `{section}.enabled = false`");
            let entry = self.written.entry(key);
            self.report(key, &entry, None, error.help(help));
            return None;
        }
        Some(addresses)
    }

    /// The same, or none.
    pub(super) fn any_addresses(
        &mut self,
        key: &'static Key,
        forms: &str,
    ) -> Option<Vec<SocketAddr>> {
        let addresses = self.list(key, |text| {
            text.parse::<SocketAddr>()
                .map_err(|_| format!("`{text}` is not an address with a port: write {forms}"))
        })?;
        let entry = self.written.entry(key);
        for (index, address) in addresses.iter().enumerate() {
            let mut before = addresses.iter().take(index);
            if before.any(|other| is_same(*other, *address)) {
                let error = Diagnostic::error(format!("{address} is listed twice"));
                self.report(key, &entry, entry.values.get(index), error);
            }
        }
        Some(addresses)
    }

    /// Whether the addresses of this key may be served without TLS, where they are.
    pub(super) fn plain_http(&mut self, key: &'static Key, addresses: &[SocketAddr]) {
        let open = addresses
            .iter()
            .find(|address| !address.ip().to_canonical().is_loopback());
        let files = [keys::HTTP_TLS_CERTIFICATE, keys::HTTP_TLS_KEY];
        let has_tls = files.into_iter().any(|file| self.is_written(file));
        let Some(address) = open.filter(|_| !has_tls) else {
            return;
        };
        let finding = if self.says(keys::HTTP_INSECURE, "true") {
            Diagnostic::warning(format!("HTTP on {address} is served without TLS"))
                .help("passwords, codes and API keys travel readable: set up [http.tls]")
        } else {
            Diagnostic::error(format!("HTTP on {address} needs TLS")).help(
                "set certificate and key under [http.tls], or listen on 127.0.0.1, or accept \
                 that passwords travel readable with `http.insecure = true`",
            )
        };
        let entry = self.written.entry(key);
        let mut values = entry.values.iter();
        let scalar = values.find(|one| one.text.parse().ok() == Some(*address));
        self.report(key, &entry, scalar, finding);
    }

    /// Whether each place is listened on by one listener alone, of all that are served.
    pub(super) fn listeners_apart(&mut self) {
        let radius = !self.says(keys::RADIUS_ENABLED, "false");
        let http = !self.says(keys::HTTP_ENABLED, "false");
        let tls = radius && self.is_written(keys::RADIUS_TLS_CERTIFICATE);
        self.apart(&[
            (keys::RADIUS_LISTEN, radius),
            (keys::RADIUS_ACCOUNTING_LISTEN, radius),
        ]);
        self.apart(&[
            (keys::HTTP_LISTEN, http),
            (keys::WEB_CONSOLE_LISTEN, true),
            (keys::RADIUS_TLS_LISTEN, tls),
        ]);
    }

    /// The same of listeners of one protocol, each with whether it is served.
    fn apart(&mut self, listeners: &[(&'static Key, bool)]) {
        let mut taken: Vec<(&'static Key, SocketAddr)> = Vec::new();
        for (key, _) in listeners.iter().filter(|(_, served)| *served) {
            let key = *key;
            let entry = self.written.entry(key);
            for scalar in &entry.values {
                // What is no address is `auto` or `off`, or a fault that was found.
                let Ok(address) = scalar.text.parse::<SocketAddr>() else {
                    continue;
                };
                let there = taken.iter().find(|(other, at)| {
                    // What stands twice in one list is said there.
                    let twice = *other == key && is_same(*at, address);
                    meets(*at, address) && !twice
                });
                if let Some((other, at)) = there {
                    let other = other.path;
                    let error = Diagnostic::error(if is_same(*at, address) {
                        format!("{address} is in `{other}` too")
                    } else {
                        format!("{address} and {at} of `{other}` overlap")
                    });
                    self.report(key, &entry, Some(scalar), error.help(APART));
                }
                taken.push((key, address));
            }
        }
    }

    /// Whether the key has this value alone.
    fn says(&self, key: &'static Key, word: &str) -> bool {
        let entry = self.written.entry(key);
        matches!(entry.values.as_slice(), [one] if one.text == word)
    }

    /// Whether the key has a value.
    fn is_written(&self, key: &'static Key) -> bool {
        !self.written.entry(key).values.is_empty()
    }
}

/// Whether both are one address and port; port 0 is another one each time.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    // The address of a link is another one on each of them.
    let scope = |at: SocketAddr| match at {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(at) => at.scope_id(),
    };
    one.port() != 0
        && one.port() == other.port()
        && one.ip().to_canonical() == other.ip().to_canonical()
        && scope(one) == scope(other)
}

/// Whether a socket at one of them keeps another from the other: all addresses of a family hold each of it.
fn meets(one: SocketAddr, other: SocketAddr) -> bool {
    let (first, second) = (one.ip().to_canonical(), other.ip().to_canonical());
    let all = first.is_unspecified() || second.is_unspecified();
    let ports = one.port() != 0 && one.port() == other.port();
    is_same(one, other) || ports && all && first.is_ipv4() == second.is_ipv4()
}

const APART: &str =
    "one listener has an address and port for itself: write another port, or leave one of them out";
