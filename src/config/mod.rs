//! The configuration: what the written keys mean, typed and checked once.
//!
//! ```text
//! oncegate.toml + ONCEGATE__SECTION__KEY --file.rs--> texts with origin --here--> Config
//! ```
//!
//! File text, environment and directory are arguments; nothing here reads or writes. Clients,
//! users and tokens live in the store, not in this file.
//!
//! Invariants: a `Config` was checked as a whole, and all its faults are reported together. Every
//! default is a [`keys`] const. Paths are joined to the directory of the file.
//!
//! Threats: plain HTTP beyond loopback carries passwords, so it needs a word that says so
//! (`http.insecure`). A key pasted into `keys.master` is not quoted back, in no diagnostic and no
//! `show`; nor is a password in a URL, or the value of an unknown key. A misspelt key or variable is an
//! error: a limit that an operator has set must be in force.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use crate::config::named::NamedFile;
use crate::config::target::Target;
use crate::credential::Cost;
use crate::diagnostic::{Diagnostic, Findings, Source};
use crate::model::sealing::SealAlgorithm;

pub mod compat;
pub mod delivery;
mod file;
mod gateways;
pub mod keys;
mod listen;
pub mod named;
mod pkcs11;
pub mod placeholder;
mod reader;
mod resolve;
mod rest;
pub mod sources;
mod table;
pub mod target;
pub mod webhooks;

pub use file::{Form, Key, Origin, PREFIX};
pub use pkcs11::Pkcs11Key;

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[radius]`
    pub radius: Radius,
    /// `[http]`
    pub http: Http,
    /// `[web]`
    pub web: Web,
    /// `[store]`
    pub store: Store,
    /// `[keys]`
    pub keys: Keys,
    /// `[policies]`
    pub policies: Policies,
    /// `[audit]`
    pub audit: Audit,
    /// `[limits]`
    pub limits: Limits,
    /// `[delivery]`, and what `[limits]` says about it
    pub delivery: delivery::Delivery,
    /// `[outage]`; none: an outage is declared by people only.
    pub outage: Option<Outage>,
    /// `[log]`
    pub log: Log,
    /// `[source.NAME]`: directories that users follow.
    pub sources: Vec<sources::UserSource>,
    /// Those of them whose clients push.
    pub scim: Vec<sources::ScimSource>,
    /// `[webhook.NAME]`: programs that are told of what happens.
    pub webhooks: Vec<webhooks::Webhook>,
    effective: Vec<EffectiveValue>,
    /// Keys that were not understood ([`Faulty::rest`]): at their defaults, or their tables left out.
    unread: Vec<String>,
    /// Files that those tables name.
    beside: Vec<NamedFile>,
}

/// A configuration that cannot be used.
#[derive(Debug)]
pub struct Faulty {
    /// Every finding.
    pub findings: Vec<Diagnostic>,
    /// What can be understood of it, to look at the files that it names; nothing is to be served by it.
    pub rest: Option<Box<Config>>,
}

impl Config {
    /// Reads and checks the configuration. `source` is the file, if there is one; `env` all
    /// variables of the process; `dir` the directory relative paths start from. Returns the
    /// configuration with its warnings, or every finding.
    pub fn load(
        source: Option<&Source>,
        env: impl IntoIterator<Item = (String, String)>,
        dir: &Path,
    ) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        Self::load_or_rest(source, env, dir).map_err(|faulty| faulty.findings)
    }

    /// The same; beside the findings stands what is left.
    pub fn load_or_rest(
        source: Option<&Source>,
        env: impl IntoIterator<Item = (String, String)>,
        dir: &Path,
    ) -> Result<(Self, Vec<Diagnostic>), Faulty> {
        let (mut findings, mut found) = (Findings::default(), Findings::default());
        let written = file::Written::read(source, env, VOCABULARY, &mut found);
        let resolved = resolve::resolve(&written, dir, &mut found);
        findings.append(found);
        let concluded = findings.conclude(resolved.config);
        concluded.map_err(|findings| rest::faulty(findings, &written, dir))
    }

    /// Every key with its value and origin, in the order of the template.
    pub fn effective(&self) -> &[EffectiveValue] {
        &self.effective
    }
}

/// `[radius]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Radius {
    /// Where RADIUS over UDP is served; empty when disabled.
    pub listen: Vec<SocketAddr>,
    /// Where accounting is.
    pub accounting: Accounting,
    /// How long a session is listed after its last report.
    pub accounting_keep: Duration,
    /// Certificate and key of the tunnels of EAP; none are offered without.
    pub eap: Option<Tls>,
    /// Dictionaries of the site: a file or a directory.
    pub dictionary: Option<PathBuf>,
    /// RADIUS over TLS, where it is served.
    pub tls: Option<RadiusTls>,
}

/// `[radius.tls]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RadiusTls {
    /// Where it is served.
    pub listen: Vec<SocketAddr>,
    /// PEM file of the certificate chain.
    pub certificate: PathBuf,
    /// PEM file of its private key.
    pub key: PathBuf,
    /// PEM file of the authorities of clients.
    pub client_ca: PathBuf,
}

/// Where accounting is served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Accounting {
    /// Beside the listeners on the usual ports.
    Auto,
    /// Here; nowhere when empty.
    At(Vec<SocketAddr>),
}

impl Accounting {
    /// The addresses, beside these listeners for authentication.
    pub fn beside(&self, listen: &[SocketAddr]) -> Vec<SocketAddr> {
        if let Self::At(addresses) = self {
            return addresses.clone();
        }
        // RFC 2866 s3, and the pair that was used before it; 0 is any free one.
        let port = |port| match port {
            1812 => Some(1813),
            1645 => Some(1646),
            0 => Some(0),
            _ => None,
        };
        let beside = |address: &SocketAddr| Some((address.ip(), port(address.port())?).into());
        listen.iter().filter_map(beside).collect()
    }
}

/// `[http]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Http {
    /// Where HTTP is served; empty when disabled.
    pub listen: Vec<SocketAddr>,
    /// Certificate and key; plain HTTP without.
    pub tls: Option<Tls>,
    /// Whether plain HTTP beyond loopback was asked for.
    pub insecure: bool,
    /// File with the secret by which gateways sign what they send.
    pub inbound_secret_file: Option<PathBuf>,
    /// Reverse proxies whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Where devices reach it from outside.
    pub public_url: Option<String>,
    /// Clients that speak the request shapes of other products.
    pub compat: Vec<compat::Compat>,
}

/// `[web]`: pages for people.
#[allow(clippy::struct_excessive_bools)] // a switch for each part
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Web {
    /// Whether the console is served.
    pub console: bool,
    /// Whether self-service is served.
    pub portal: bool,
    /// Whether the authenticator of telephones is.
    pub app: bool,
    /// Networks from which the console is reached; from everywhere when empty.
    pub console_networks: Vec<IpNet>,
    /// Listeners of the console's own; it is served by all of HTTP when empty.
    pub console_listen: Vec<SocketAddr>,
    /// Whether policy files are changed by drafts.
    pub edit_policies: bool,
}

/// `[http.tls]`, `[radius.eap]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tls {
    /// PEM file of the certificate chain.
    pub certificate: PathBuf,
    /// PEM file of its private key.
    pub key: PathBuf,
}

/// `[store]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Store {
    /// What holds the data.
    pub engine: Engine,
    /// Directory of its files.
    pub dir: PathBuf,
    /// Octets of rows of users and tokens that are kept in memory.
    pub cache_size: u64,
    /// Files that say how far it is.
    pub witness: Vec<PathBuf>,
}

/// A store engine of this version.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Engine {
    /// Embedded files.
    Redb,
}

/// `[keys]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Keys {
    /// Where the master key is kept.
    pub master: MasterKey,
    /// What seals secrets in the store.
    pub algorithm: SealAlgorithm,
}

/// Where the master key is kept; the caller fetches it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MasterKey {
    /// The systemd credential of this name: `$CREDENTIALS_DIRECTORY/NAME`.
    Credential(String),
    /// The environment variable of this name.
    Env(String),
    /// A file readable by the daemon only.
    File(PathBuf),
    /// A key object in a hardware security module.
    Pkcs11(Pkcs11Key),
}

/// As the configuration writes it.
impl fmt::Display for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credential(name) => write!(f, "credential:{name}"),
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Pkcs11(key) => key.fmt(f),
        }
    }
}

/// `[policies]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policies {
    /// Directory of the policy files.
    pub dir: PathBuf,
    /// Table of who is abroad.
    pub departures: Option<PathBuf>,
    /// Table of networks and countries.
    pub countries: Option<PathBuf>,
}

/// `[audit]`
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Audit {
    /// Octets at which a new segment begins.
    pub segment_size: u64,
    /// How long records are kept; none: for ever.
    pub keep: Option<Duration>,
    /// Octets of records that are kept at most; none: no bound.
    pub keep_size: Option<u64>,
    /// Where records go beside the store.
    pub ship: Ship,
    /// File for the signed heads of the chain.
    pub heads: Option<PathBuf>,
}

words! {
    /// What an audit record looks like beside the store.
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    pub enum ShipFormat {
        /// A line of JSON, as `oncegate audit list --json` prints it.
        #[default]
        Json = "json",
        /// A line in the Common Event Format.
        Cef = "cef",
    }
}

/// Where audit records go beside the store.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ship {
    /// What a record looks like there.
    pub format: ShipFormat,
    /// A file.
    pub file: Option<PathBuf>,
    /// A syslog server.
    pub syslog: Option<Target>,
    /// A URL, and its host.
    pub http: Option<(String, Target)>,
    /// File with the bearer token for the URL.
    pub token_file: Option<PathBuf>,
    /// PEM file of the authority of both.
    pub ca_file: Option<PathBuf>,
}

/// `[limits]`: what a flood can occupy. Bodies of HTTP requests are not configurable
/// ([`HTTP_BODY`]).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// RADIUS requests worked on at a time.
    pub radius_in_flight: usize,
    /// RADIUS datagrams waiting for a worker.
    pub radius_queue: usize,
    /// Open HTTP connections.
    pub http_connections: usize,
    /// Open HTTP connections of one address.
    pub http_connections_per_address: usize,
    /// Requests a second of one API client; none: no limit.
    pub http_client_rate: Option<u32>,
    /// Time for one decision.
    pub request_timeout: Duration,
    /// Rejects waiting for their delay.
    pub reject_queue: usize,
    /// PINs and passwords compared at a time; none: one less than there are cores.
    pub password_threads: Option<usize>,
    /// PINs and passwords waiting to be compared.
    pub password_queue: usize,
    /// What one argon2id computation takes.
    pub password_cost: Cost,
}

/// `[outage]`: when the daemon declares an outage by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Outage {
    /// Users whose codes fail.
    pub users: usize,
    /// Time in which they fail.
    pub window: Duration,
    /// How long the outage is declared.
    pub length: Duration,
}

/// `[log]`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Log {
    /// Least severe level that is written.
    pub level: Level,
    /// How lines look.
    pub format: LogFormat,
}

words! {
    /// Severity of a log line.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum Level {
        /// Something failed.
        Error = "error",
        /// Something is odd.
        Warn = "warn",
        /// Something happened.
        Info = "info",
        /// For developers.
        Debug = "debug",
        /// For developers with patience.
        Trace = "trace",
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// Entries of systemd's journal, with their fields; JSON where there is none.
    Journald,
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

/// One line of `config show --effective`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EffectiveValue {
    /// Dotted path of the key.
    pub key: String,
    /// Its value as it would be written without quotes; lists separated by `, `.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

impl EffectiveValue {
    /// The value as it may be shown: of a URL without what may be a key behind its `?`, of a gateway's body by its
    /// placeholders.
    pub fn shown(&self) -> String {
        let last = self.key.rsplit('.').next().unwrap_or_default();
        if last == "url" || self.key == keys::AUDIT_SHIP_HTTP.path {
            target::shown(&self.value)
        } else if last == "body" {
            gateways::shown_body(&self.value)
        } else {
            self.value.clone()
        }
    }
}

/// Longest body of an HTTP request in octets; the largest honest one has a few hundred.
pub const HTTP_BODY: usize = 16 * 1024;

const VOCABULARY: file::Vocabulary = file::Vocabulary {
    fixed: keys::ALL,
    free: &[keys::GATEWAY, keys::SOURCE, keys::WEBHOOK],
};

/// The file `init` writes: every key with its default, commented out.
pub const TEMPLATE: &str = include_str!("template.toml");

#[cfg(test)]
mod tests;
