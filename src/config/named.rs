//! The files that a configuration names to be read: by which key, and what is to be in them.
//!
//! The master key and the PIN of its module are not among them: the key need not be in a file. Nor is what a source reads
//! its people from: it comes and goes with the system that writes it.

use std::path::{Path, PathBuf};

use crate::config::file::{Key, Named, Origin, Written};
use crate::config::sources::Origin as Kind;
use crate::config::{Config, Tls, keys};

/// A file or a directory that is named.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamedFile {
    /// Dotted path of the key that names it.
    pub key: String,
    /// Where that key is written.
    pub origin: Origin,
    /// Where the file is.
    pub path: PathBuf,
    /// What is to be in it.
    pub holds: Holds,
}

/// What is to be in a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Holds {
    /// A key or a password on one line.
    Secret,
    /// The key that signs what a webhook is told.
    WebhookKey,
    /// The key of a client of Yubico's protocol.
    YubicoKey,
    /// What is sent as bearer token.
    BearerToken,
    /// A certificate chain of this server (PEM).
    Certificate,
    /// The private key of one (PEM).
    PrivateKey,
    /// Authorities that make certificates of clients (PEM).
    ClientAuthorities,
    /// Authorities that vouch for others (PEM).
    Authorities,
    /// Who is abroad.
    Departures,
    /// Networks and their countries.
    Countries,
    /// Dictionaries of RADIUS: a file or a directory.
    Dictionary,
    /// A directory of policies.
    Policies,
}

impl Holds {
    /// Whether no one else may read it.
    pub const fn is_secret(self) -> bool {
        matches!(
            self,
            Self::Secret
                | Self::WebhookKey
                | Self::YubicoKey
                | Self::BearerToken
                | Self::PrivateKey
        )
    }
}

impl Config {
    /// Every file and directory that is named to be read.
    pub fn named_files(&self) -> Vec<NamedFile> {
        let mut list = List {
            config: self,
            files: Vec::new(),
        };
        list.of_radius();
        list.of_http();
        list.of_policies_and_audit();
        list.of_tables();
        list.files.extend(self.beside.iter().cloned());
        list.files
    }

    /// Whether this key, and each below this section, was understood: where one was not, its default says nothing of what
    /// it was to name.
    pub fn is_read(&self, path: &str) -> bool {
        let is_below = |key: &String| {
            let rest = key.strip_prefix(path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        !self.unread.iter().any(is_below)
    }

    /// Where the value of a key comes from.
    pub fn origin(&self, path: &str) -> Origin {
        let mut written = self.effective.iter();
        let written = written.find(|value| value.key == path);
        written.map_or(Origin::Default, |value| value.origin.clone())
    }
}

/// The files that tables name which cannot be understood as a whole, for keys of theirs.
pub(super) fn files_of(written: &Written, unread: &[String], dir: &Path) -> Vec<NamedFile> {
    let left_out = written
        .tables()
        .iter()
        .filter(|table| unread.iter().any(|key| table.has(key)));
    let mut files = Vec::new();
    for table in left_out {
        for (key, holds) in OF_TABLES {
            let named = key.of(&table.name);
            let (path, entry) = (named.path(), written.entry(named));
            if let Some(file) = entry.values.first()
                && table.has(&path)
                && !unread.contains(&path)
            {
                files.push(NamedFile {
                    key: path,
                    origin: entry.origin,
                    path: dir.join(&file.text),
                    holds: *holds,
                });
            }
        }
    }
    files
}

struct List<'c> {
    config: &'c Config,
    files: Vec<NamedFile>,
}

impl List<'_> {
    fn add<'n>(&mut self, key: impl Into<Named<'n>>, path: Option<&Path>, holds: Holds) {
        let Some(path) = path else { return };
        let key = key.into().path();
        if self.config.unread.contains(&key) {
            return;
        }
        self.files.push(NamedFile {
            origin: self.config.origin(&key),
            path: path.to_owned(),
            key,
            holds,
        });
    }

    fn pair(&mut self, tls: Option<&Tls>, certificate: &'static Key, key: &'static Key) {
        let file = tls.map(|tls| tls.certificate.as_path());
        self.add(certificate, file, Holds::Certificate);
        let file = tls.map(|tls| tls.key.as_path());
        self.add(key, file, Holds::PrivateKey);
    }

    fn of_radius(&mut self) {
        let radius = &self.config.radius;
        self.pair(
            radius.eap.as_ref(),
            keys::RADIUS_EAP_CERTIFICATE,
            keys::RADIUS_EAP_KEY,
        );
        let dictionary = radius.dictionary.as_deref();
        self.add(keys::RADIUS_DICTIONARY, dictionary, Holds::Dictionary);
        let Some(tls) = &radius.tls else { return };
        for (key, path, holds) in [
            (
                keys::RADIUS_TLS_CERTIFICATE,
                &tls.certificate,
                Holds::Certificate,
            ),
            (keys::RADIUS_TLS_KEY, &tls.key, Holds::PrivateKey),
            (
                keys::RADIUS_TLS_CLIENT_CA,
                &tls.client_ca,
                Holds::ClientAuthorities,
            ),
        ] {
            self.add(key, Some(path.as_path()), holds);
        }
    }

    fn of_http(&mut self) {
        let http = &self.config.http;
        let inbound = http.inbound_secret_file.as_deref();
        self.add(keys::HTTP_INBOUND_SECRET_FILE, inbound, Holds::Secret);
        for yubico in http.compat.iter().filter_map(|one| one.yubico.as_ref()) {
            let path = Some(yubico.key_file.as_path());
            self.add(keys::HTTP_COMPAT, path, Holds::YubicoKey);
        }
        self.pair(
            http.tls.as_ref(),
            keys::HTTP_TLS_CERTIFICATE,
            keys::HTTP_TLS_KEY,
        );
    }

    fn of_policies_and_audit(&mut self) {
        let (policies, ship) = (&self.config.policies, &self.config.audit.ship);
        let dir = Some(policies.dir.as_path());
        self.add(keys::POLICIES_DIR, dir, Holds::Policies);
        let departures = policies.departures.as_deref();
        self.add(keys::POLICIES_DEPARTURES, departures, Holds::Departures);
        let countries = policies.countries.as_deref();
        self.add(keys::POLICIES_COUNTRIES, countries, Holds::Countries);
        let token = ship.token_file.as_deref();
        self.add(keys::AUDIT_SHIP_TOKEN_FILE, token, Holds::BearerToken);
        let ca = ship.ca_file.as_deref();
        self.add(keys::AUDIT_SHIP_CA_FILE, ca, Holds::Authorities);
    }

    /// Of the tables whose names the operator chose.
    fn of_tables(&mut self) {
        for gateway in &self.config.delivery.gateways {
            let (name, ca) = (&gateway.name, gateway.ca_file.as_deref());
            let secret = gateway.secret_file.as_deref();
            self.add(keys::GATEWAY_SECRET_FILE.of(name), secret, Holds::Secret);
            self.add(keys::GATEWAY_CA_FILE.of(name), ca, Holds::Authorities);
        }
        for source in &self.config.sources {
            let (secret, ca) = match &source.origin {
                Kind::Ldap(ldap) => (Some(ldap.secret_file.as_path()), ldap.ca_file.as_deref()),
                Kind::Sql(sql) => (sql.secret_file.as_deref(), sql.ca_file.as_deref()),
                Kind::File(_) => (None, None),
            };
            let name = &source.name;
            self.add(keys::SOURCE_SECRET_FILE.of(name), secret, Holds::Secret);
            self.add(keys::SOURCE_CA_FILE.of(name), ca, Holds::Authorities);
        }
        for hook in &self.config.webhooks {
            let (name, ca) = (&hook.name, hook.ca_file.as_deref());
            let secret = Some(hook.secret_file.as_path());
            self.add(
                keys::WEBHOOK_SECRET_FILE.of(name),
                secret,
                Holds::WebhookKey,
            );
            self.add(keys::WEBHOOK_CA_FILE.of(name), ca, Holds::Authorities);
        }
    }
}

/// The keys of tables with chosen names that name files.
const OF_TABLES: &[(&Key, Holds)] = &[
    (keys::GATEWAY_SECRET_FILE, Holds::Secret),
    (keys::GATEWAY_CA_FILE, Holds::Authorities),
    (keys::SOURCE_SECRET_FILE, Holds::Secret),
    (keys::SOURCE_CA_FILE, Holds::Authorities),
    (keys::WEBHOOK_SECRET_FILE, Holds::WebhookKey),
    (keys::WEBHOOK_CA_FILE, Holds::Authorities),
];
