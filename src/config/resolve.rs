//! From written texts to a checked [`Config`].

use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::compat;
use crate::config::delivery::Delivery;
use crate::config::file::{Key, Written};
use crate::config::reader::{Resolver, in_range, parse_choice, parse_count, parse_flag};
use crate::config::target::Target;
use crate::config::{
    Accounting, Audit, Config, EffectiveValue, Engine, Http, Keys, Level, Limits, Log, LogFormat,
    MasterKey, Outage, Pkcs11Key, Policies, Radius, RadiusTls, Ship, Store, Tls, Web, gateways,
    keys, sources, webhooks,
};
use crate::credential::Cost;
use crate::diagnostic::{Diagnostic, Findings, units};
use crate::model::sealing::SealAlgorithm;

/// What came of the written keys.
pub(super) struct Resolved {
    /// `None`: a key cannot be understood.
    pub(super) config: Option<Config>,
    /// Paths of the keys with faults.
    pub(super) faulty: Vec<String>,
}

/// Understands every key.
pub(super) fn resolve(written: &Written, dir: &Path, findings: &mut Findings) -> Resolved {
    let mut reader = Resolver {
        written,
        findings,
        effective: Vec::new(),
        faulty: Vec::new(),
    };
    Resolved {
        config: reader.whole(dir),
        faulty: reader.faulty,
    }
}

impl Resolver<'_> {
    fn whole(&mut self, dir: &Path) -> Option<Config> {
        // Every section is read before any `?`, so that all faults are found.
        let radius = self.radius(dir);
        let http = self.http(dir);
        let web = self.web();
        self.listeners_apart();
        let engine = self.one(keys::STORE_ENGINE, parse_engine);
        let store_dir = self.one(keys::STORE_DIR, |text| Ok(dir.join(text)));
        let cache_size = self.one(keys::STORE_CACHE_SIZE, |text| {
            let size = in_range(units::size(text)?, CACHE_MIN..=CACHE_MAX);
            size.ok_or_else(|| "write 16MiB to 64GiB".to_owned())
        });
        let witness = self.list(keys::STORE_WITNESS, |text| Ok(dir.join(text)));
        let own_keys = self.keys(dir);
        let policies = self.policies(dir);
        let audit = self.audit(dir);
        let limits = self.limits();
        let delivery = gateways::delivery(self);
        let outage = self.outage();
        let log = self.log();
        let gateways = gateways::gateways(self, dir);
        let sources = sources::sources(self, dir);
        let webhooks = webhooks::webhooks(self, dir);
        let (sources, scim) = sources?;
        let (radius, http) = (radius?, http?);
        if radius.listen.is_empty() && http.listen.is_empty() {
            let error = Diagnostic::error("`radius.enabled` and `http.enabled` are both false");
            self.findings
                .push(error.help("enable at least one: there is nothing to serve"));
        }
        Some(Config {
            radius,
            http,
            web: web?,
            store: Store {
                engine: engine?,
                dir: store_dir?,
                cache_size: cache_size?,
                witness: witness?,
            },
            keys: own_keys?,
            policies: policies?,
            audit: audit?,
            limits: limits?,
            delivery: Delivery {
                gateways: gateways?,
                ..delivery?
            },
            outage: outage?,
            log: log?,
            sources,
            webhooks: webhooks?,
            scim,
            effective: std::mem::take(&mut self.effective),
            unread: Vec::new(),
            beside: Vec::new(),
        })
    }

    fn radius(&mut self, dir: &Path) -> Option<Radius> {
        let enabled = self.one(keys::RADIUS_ENABLED, parse_flag);
        let listen = self.addresses(keys::RADIUS_LISTEN, "127.0.0.1:1812 or [::]:1812");
        let accounting = self.accounting();
        let accounting_keep = self.one(keys::RADIUS_ACCOUNTING_KEEP, |text| {
            let keep = in_range(units::duration(text)?, KEEP_MIN..=Duration::MAX);
            keep.ok_or_else(|| "write at least 1d".to_owned())
        });
        let eap = self.pair(dir, keys::RADIUS_EAP_CERTIFICATE, keys::RADIUS_EAP_KEY);
        let (dictionary, tls) = (
            self.path(keys::RADIUS_DICTIONARY, dir),
            self.radius_tls(dir),
        );
        let enabled = enabled?;
        let (listen, accounting) = if enabled {
            (listen?, accounting?)
        } else {
            (Vec::new(), Accounting::At(Vec::new()))
        };
        Some(Radius {
            listen,
            accounting,
            accounting_keep: accounting_keep?,
            eap: eap?,
            dictionary,
            tls: tls?.filter(|_| enabled),
        })
    }

    fn radius_tls(&mut self, dir: &Path) -> Option<Option<RadiusTls>> {
        let listen = self.addresses(keys::RADIUS_TLS_LISTEN, "127.0.0.1:2083 or [::]:2083");
        let files = [
            keys::RADIUS_TLS_CERTIFICATE,
            keys::RADIUS_TLS_KEY,
            keys::RADIUS_TLS_CLIENT_CA,
        ];
        let [certificate, key, client_ca] = files.map(|key| (key, self.path(key, dir)));
        match (certificate, key, client_ca) {
            ((_, None), (_, None), (_, None)) => Some(None),
            ((_, Some(certificate)), (_, Some(key)), (_, Some(client_ca))) => {
                Some(Some(RadiusTls {
                    listen: listen?,
                    certificate,
                    key,
                    client_ca,
                }))
            }
            (one, two, three) => {
                let all = [one, two, three];
                let present = all.iter().find(|(_, path)| path.is_some())?.0;
                let missing = all.iter().find(|(_, path)| path.is_none())?.0;
                self.lonely(present, missing)
            }
        }
    }

    fn accounting(&mut self) -> Option<Accounting> {
        let key = keys::RADIUS_ACCOUNTING_LISTEN;
        let values = self.written.entry(key).values;
        let accounting = match values.as_slice() {
            [one] if one.text == "auto" => Accounting::Auto,
            [one] if one.text == "off" => Accounting::At(Vec::new()),
            [] => Accounting::At(Vec::new()),
            _ => {
                let forms = "127.0.0.1:1813, auto or off";
                return self.addresses(key, forms).map(Accounting::At);
            }
        };
        self.list(key, |_| Ok(()))?;
        Some(accounting)
    }

    /// The files of a certificate and of its key: both, or neither.
    fn pair(
        &mut self,
        dir: &Path,
        certificate: &'static Key,
        key: &'static Key,
    ) -> Option<Option<Tls>> {
        match (self.path(certificate, dir), self.path(key, dir)) {
            (Some(certificate), Some(key)) => Some(Some(Tls { certificate, key })),
            (None, None) => Some(None),
            (Some(_), None) => self.lonely(certificate, key),
            (None, Some(_)) => self.lonely(key, certificate),
        }
    }

    fn http(&mut self, dir: &Path) -> Option<Http> {
        let enabled = self.one(keys::HTTP_ENABLED, parse_flag);
        let listen = self.addresses(keys::HTTP_LISTEN, "127.0.0.1:8080 or [::]:8080");
        let insecure = self.one(keys::HTTP_INSECURE, parse_flag);
        let inbound_secret_file = self.path(keys::HTTP_INBOUND_SECRET_FILE, dir);
        let trusted_proxies = self.list(keys::HTTP_TRUSTED_PROXIES, parse_proxy);
        let public_url = self.list(keys::HTTP_PUBLIC_URL, parse_url);
        let compat = self.list(keys::HTTP_COMPAT, |text| compat::parse(text, dir));
        if let Some(what) = compat.as_deref().and_then(compat::clash) {
            let entry = self.written.entry(keys::HTTP_COMPAT);
            let error = Diagnostic::error(format!("`http.compat`: {what}"));
            self.report(keys::HTTP_COMPAT, &entry, None, error);
        }
        let tls = self.pair(dir, keys::HTTP_TLS_CERTIFICATE, keys::HTTP_TLS_KEY);
        let listen = if enabled? { listen? } else { Vec::new() };
        self.plain_http(keys::HTTP_LISTEN, &listen);
        Some(Http {
            listen,
            tls: tls?,
            insecure: insecure?,
            inbound_secret_file,
            trusted_proxies: trusted_proxies?,
            public_url: public_url?.pop(),
            compat: compat?,
        })
    }

    fn web(&mut self) -> Option<Web> {
        let console = self.one(keys::WEB_CONSOLE, parse_flag);
        let portal = self.one(keys::WEB_PORTAL, parse_flag);
        let app = self.one(keys::WEB_APP, parse_flag);
        let console_networks = self.list(keys::WEB_CONSOLE_NETWORKS, parse_proxy);
        let console_listen = self.any_addresses(keys::WEB_CONSOLE_LISTEN, "10.20.0.5:8443");
        if let Some(addresses) = &console_listen {
            self.plain_http(keys::WEB_CONSOLE_LISTEN, addresses);
        }
        let edit_policies = self.one(keys::WEB_EDIT_POLICIES, parse_flag);
        Some(Web {
            console: console?,
            portal: portal?,
            app: app?,
            console_networks: console_networks?,
            console_listen: console_listen?,
            edit_policies: edit_policies?,
        })
    }

    fn limits(&mut self) -> Option<Limits> {
        let radius_in_flight = self.one(keys::LIMITS_RADIUS_IN_FLIGHT, parse_count);
        let radius_queue = self.one(keys::LIMITS_RADIUS_QUEUE, parse_count);
        let http_connections = self.one(keys::LIMITS_HTTP_CONNECTIONS, parse_count);
        let per_address = self.one(keys::LIMITS_HTTP_CONNECTIONS_PER_ADDRESS, parse_count);
        let http_client_rate = self.one(keys::LIMITS_HTTP_CLIENT_RATE, |text| {
            if text == "none" {
                return Ok(None);
            }
            let rate = parse_count(text).ok();
            let rate = rate.and_then(|rate| u32::try_from(rate).ok());
            rate.map(Some)
                .ok_or_else(|| format!("`{text}` is neither a number of requests nor none"))
        });
        let request_timeout = self.one(keys::LIMITS_REQUEST_TIMEOUT, |text| {
            let duration = units::duration(text)?;
            in_range(duration, TIMEOUT_MIN..=TIMEOUT_MAX)
                .ok_or_else(|| "write 100ms to 60s".to_owned())
        });
        let reject_queue = self.one(keys::LIMITS_REJECT_QUEUE, parse_count);
        let password_threads = self.one(keys::LIMITS_PASSWORD_THREADS, |text| {
            if text == "auto" {
                return Ok(None);
            }
            parse_count(text)
                .map(Some)
                .map_err(|error| format!("{error}, or auto"))
        });
        let password_queue = self.one(keys::LIMITS_PASSWORD_QUEUE, parse_count);
        let password_cost = self.one(keys::LIMITS_PASSWORD_COST, parse_cost);
        Some(Limits {
            radius_in_flight: radius_in_flight?,
            radius_queue: radius_queue?,
            http_connections: http_connections?,
            http_connections_per_address: per_address?,
            http_client_rate: http_client_rate?,
            request_timeout: request_timeout?,
            reject_queue: reject_queue?,
            password_threads: password_threads?,
            password_queue: password_queue?,
            password_cost: password_cost?,
        })
    }

    fn keys(&mut self, dir: &Path) -> Option<Keys> {
        let master = self.master(dir);
        let algorithm = self.one(keys::KEYS_ALGORITHM, |text| {
            let choices = SealAlgorithm::ALL.map(|algorithm| (algorithm.as_str(), algorithm));
            parse_choice(text, &choices)
        });
        Some(Keys {
            master: master?,
            algorithm: algorithm?,
        })
    }

    fn policies(&mut self, dir: &Path) -> Option<Policies> {
        let policies = self.one(keys::POLICIES_DIR, |text| Ok(dir.join(text)));
        let departures = self.path(keys::POLICIES_DEPARTURES, dir);
        let countries = self.path(keys::POLICIES_COUNTRIES, dir);
        Some(Policies {
            dir: policies?,
            departures,
            countries,
        })
    }

    fn audit(&mut self, dir: &Path) -> Option<Audit> {
        let segment_size = self.one(keys::AUDIT_SEGMENT_SIZE, |text| {
            let size = units::size(text)?;
            in_range(size, SEGMENT_MIN..=SEGMENT_MAX).ok_or_else(|| "write 1MiB to 1GiB".to_owned())
        });
        let keep = self.one(keys::AUDIT_KEEP, |text| {
            if text == FOREVER {
                return Ok(None);
            }
            let keep = in_range(units::duration(text)?, KEEP_MIN..=Duration::MAX);
            keep.map(Some)
                .ok_or_else(|| "write at least 1d, or forever".to_owned())
        });
        let keep_size = self.one(keys::AUDIT_KEEP_SIZE, |text| {
            if text == UNLIMITED {
                return Ok(None);
            }
            let keep = in_range(units::size(text)?, KEEP_SIZE_MIN..=u64::MAX);
            keep.map(Some)
                .ok_or_else(|| "write at least 64MiB, or unlimited".to_owned())
        });
        let ship = self.ship(dir);
        let heads = self.path(keys::AUDIT_HEADS, dir);
        Some(Audit {
            segment_size: segment_size?,
            keep: keep?,
            keep_size: keep_size?,
            ship: ship?,
            heads,
        })
    }

    fn ship(&mut self, dir: &Path) -> Option<Ship> {
        let format = self.one(keys::AUDIT_SHIP_FORMAT, |text| {
            text.parse().map_err(|()| "write json or cef".to_owned())
        });
        let file = self.path(keys::AUDIT_SHIP_FILE, dir);
        let syslog = self.list(keys::AUDIT_SHIP_SYSLOG, parse_syslog);
        let http = self.list(keys::AUDIT_SHIP_HTTP, |text| {
            let target = Target::of_url(text).map_err(|error| error.to_string())?;
            if !target.secure && !target.is_loopback() {
                return Err("write https://: the audit would travel readable".to_owned());
            }
            Ok((text.to_owned(), target))
        });
        let token_file = self.path(keys::AUDIT_SHIP_TOKEN_FILE, dir);
        let ca_file = self.path(keys::AUDIT_SHIP_CA_FILE, dir);
        Some(Ship {
            format: format?,
            file,
            syslog: syslog?.pop(),
            http: http?.pop(),
            token_file,
            ca_file,
        })
    }

    fn outage(&mut self) -> Option<Option<Outage>> {
        let users = self.one(keys::OUTAGE_USERS, |text| match text {
            "none" => Ok(None),
            _ => parse_count(text)
                .map(Some)
                .map_err(|error| format!("{error}, or none")),
        });
        let window = self.one(keys::OUTAGE_WINDOW, |text| {
            in_range(units::duration(text)?, MINUTE..=HOUR)
                .ok_or_else(|| "write 1m to 1h".to_owned())
        });
        let length = self.one(keys::OUTAGE_FOR, |text| {
            in_range(units::duration(text)?, MINUTE..=DAY)
                .ok_or_else(|| "write 1m to 24h".to_owned())
        });
        let (users, window, length) = (users?, window?, length?);
        Some(users.map(|users| Outage {
            users,
            window,
            length,
        }))
    }

    fn log(&mut self) -> Option<Log> {
        let levels = [
            Level::Error,
            Level::Warn,
            Level::Info,
            Level::Debug,
            Level::Trace,
        ];
        let level = self.one(keys::LOG_LEVEL, |text| {
            parse_choice(text, &levels.map(|level| (level.as_str(), level)))
        });
        let formats = [
            ("text", LogFormat::Text),
            ("json", LogFormat::Json),
            ("journald", LogFormat::Journald),
        ];
        let format = self.one(keys::LOG_FORMAT, |text| parse_choice(text, &formats));
        Some(Log {
            level: level?,
            format: format?,
        })
    }

    /// Threat: a key that was pasted here by mistake must not appear on the terminal, in a log or in
    /// `config show`. So neither the text nor its line is quoted.
    fn master(&mut self, dir: &Path) -> Option<MasterKey> {
        let entry = self.written.entry(keys::KEYS_MASTER);
        let text = match entry.values.as_slice() {
            [one] => one.text.as_str(),
            _ => "",
        };
        let parsed = match text.split_once(':') {
            Some((_, "")) | None => None,
            Some(("file", path)) => Some(MasterKey::File(dir.join(path))),
            Some(("env", name)) => Some(MasterKey::Env(name.to_owned())),
            Some(("credential", name)) if !name.contains('/') => {
                Some(MasterKey::Credential(name.to_owned()))
            }
            Some(("pkcs11", key)) => Pkcs11Key::parse(key, dir).map(MasterKey::Pkcs11),
            Some(_) => None,
        };
        let value = if parsed.is_some() { text } else { "[redacted]" };
        self.effective.push(EffectiveValue {
            key: keys::KEYS_MASTER.path.to_owned(),
            value: value.to_owned(),
            origin: entry.origin.clone(),
        });
        if parsed.is_none() {
            let error = Diagnostic::error("`keys.master` does not say where the key is kept");
            self.report(keys::KEYS_MASTER, &entry, None, error.help(MASTER_FORMS));
        }
        parsed
    }
}

/// A network of proxies. All addresses at once are refused: every client would be believed.
fn parse_proxy(text: &str) -> Result<IpNet, String> {
    let network = units::network(text)?;
    if network.prefix_len() == 0 {
        return Err(format!(
            "`{text}` is everyone: name the proxies' own addresses"
        ));
    }
    Ok(network)
}

/// `https://HOST[:PORT][/PATH]`, without a query, a fragment or a slash at the end. What was written is not repeated: it
/// may have a password.
fn parse_url(text: &str) -> Result<String, String> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let plain = |rest: &str| {
        rest.bytes().all(|octet| octet.is_ascii_graphic())
            && !rest.starts_with(['/', ':'])
            && !rest.contains(['?', '#', '@', '"'])
    };
    match rest {
        Some(rest) if !rest.is_empty() && plain(rest) => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err(
            "write a URL as https://otp.example.com, with no user, query or fragment".to_owned(),
        ),
    }
}

/// `19MiB x 2`: memory and passes.
fn parse_cost(text: &str) -> Result<Cost, String> {
    let form = || "write memory and passes as 19MiB x 2".to_owned();
    let (memory, passes) = text.split_once('x').ok_or_else(form)?;
    let kib = u32::try_from(units::size(memory.trim())? / 1024).map_err(|_| form())?;
    let passes = passes.trim().parse().map_err(|_| form())?;
    Cost::new(kib, passes, 1).map_err(|error| error.to_string())
}

fn parse_syslog(text: &str) -> Result<Target, String> {
    let form = "write tls://HOST:6514, or tcp://HOST:PORT";
    let (secure, rest) = match text.split_once("://") {
        Some(("tls", rest)) => (true, rest),
        Some(("tcp", rest)) => (false, rest),
        _ => return Err(form.to_owned()),
    };
    if rest.contains(['/', '?']) {
        return Err(form.to_owned());
    }
    // The host and port of a URL; the scheme says how it is reached.
    let target = Target::of_url(&format!("http://{rest}")).map_err(|error| error.to_string())?;
    let port = rest
        .rsplit_once(':')
        .filter(|(_, port)| !port.contains(']'));
    match (port, secure) {
        (None, true) => Ok(Target {
            port: SYSLOG_TLS,
            secure,
            ..target
        }),
        (None, false) => Err(form.to_owned()),
        (Some(_), _) => Ok(Target { secure, ..target }),
    }
}

fn parse_engine(text: &str) -> Result<Engine, String> {
    match text {
        "redb" => Ok(Engine::Redb),
        _ => Err(format!(
            "engine `{text}` is not supported by this version: write \"redb\""
        )),
    }
}

const MASTER_FORMS: &str = "write file:PATH, env:NAME, credential:NAME, or \
    pkcs11:token=LABEL;object=LABEL?module-path=FILE&pin-source=file:FILE (no pin-value: a PIN does not belong here)";
/// Word of `audit.keep` for no end.
const FOREVER: &str = "forever";
/// Word of `audit.keep_size` for no bound.
const UNLIMITED: &str = "unlimited";
/// Least room for audit records.
const KEEP_SIZE_MIN: u64 = 64 << 20;
/// Shortest time to keep audit records.
const KEEP_MIN: Duration = Duration::from_hours(24);
const SEGMENT_MIN: u64 = 1 << 20;
const SEGMENT_MAX: u64 = 1 << 30;
const CACHE_MIN: u64 = 16 << 20;
const CACHE_MAX: u64 = 64 << 30;
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
const TIMEOUT_MAX: Duration = Duration::from_mins(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// Port of syslog over TLS (RFC 5425 s4.1).
const SYSLOG_TLS: u16 = 6514;
