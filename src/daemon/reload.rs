//! Reading again what can change while the daemon runs: policies, tables, texts, certificate, gateways,
//! inbound secret, log level. `SIGHUP` and `oncegate reload` come here.
//!
//! Invariant: each part is taken as a whole or stays as it was, and the answer says which, with
//! file and line of each fault. What was changed in the configuration and takes a restart is named.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::api;
use crate::config::{self, Config, EffectiveValue, Origin, keys};
use crate::daemon::{
    Fault, Site, StartError, couriers, dictionary, file_faults, load_policies, load_texts,
    load_travel, logging,
};
use crate::diagnostic::Severity;
use crate::secret::SecretString;
use crate::server::http::{AHEAD, App};
use crate::server::radius::{Pipeline, RadiusTls};
use crate::server::tls::Tls;
use crate::service::Service;
use crate::store::LoadedFile;

/// What a running daemon needs to read its files again.
pub(super) struct Reloader {
    /// As the daemon was started.
    site: Arc<Site>,
    service: Arc<Service>,
    /// It owns what calls this.
    app: Weak<App>,
    certificates: Certificates,
    pipeline: Arc<Pipeline>,
    /// Listeners that the command line gave.
    overridden: Vec<Override>,
    /// As its configuration was taken last. Locked for the length of a reload: one at a time.
    taken: Mutex<Arc<Site>>,
}

/// The certificates in use.
#[derive(Clone)]
pub(super) struct Certificates {
    pub(super) http: Option<Arc<Tls>>,
    pub(super) eap: Option<Arc<Tls>>,
    pub(super) radius: Option<Arc<RadiusTls>>,
}

impl Certificates {
    /// Each by what it is called in a reload, with the files that a configuration has for it.
    fn all(&self) -> [(&'static str, Option<&Tls>, FilesOf); 2] {
        let (http, eap) = (self.http.as_deref(), self.eap.as_deref());
        [
            ("certificate", http, |config| config.http.tls.as_ref()),
            ("EAP certificate", eap, |config| config.radius.eap.as_ref()),
        ]
    }

    /// Appends until when each is good.
    pub(super) fn write_metrics(&self, out: &mut String) {
        let ends = [
            ("https", self.http.as_ref().map(|tls| tls.validity())),
            ("radius", self.radius.as_ref().map(|tls| tls.validity())),
            ("eap", self.eap.as_ref().map(|tls| tls.validity())),
        ];
        let ends = ends.map(|(of, validity)| Some((of, validity?.not_after.as_secs())));
        if ends.iter().all(Option::is_none) {
            return;
        }
        let name = "oncegate_certificate_not_after_seconds";
        let _ = writeln!(
            out,
            "# HELP {name} Until when a certificate is good, in seconds since 1970\n# TYPE {name} gauge"
        );
        for (of, end) in ends.into_iter().flatten() {
            let _ = writeln!(out, "{name}{{of=\"{of}\"}} {end}");
        }
    }
}

/// The files of a certificate in a configuration.
type FilesOf = fn(&Config) -> Option<&config::Tls>;

/// Faults of files that no part has told yet.
struct Named(Vec<Fault>);

impl Named {
    /// The faults of the files that these keys and sections name; where there are none, what `act` does.
    fn or(
        &mut self,
        of: &[&str],
        act: impl FnOnce() -> Option<Result<(), Vec<String>>>,
    ) -> Option<Result<(), Vec<String>>> {
        let is_own = |fault: &Fault| of.iter().any(|key| fault.is_of(key));
        let all = std::mem::take(&mut self.0);
        let (own, others): (Vec<Fault>, Vec<Fault>) = all.into_iter().partition(is_own);
        self.0 = others;
        if own.is_empty() {
            act()
        } else {
            Some(Err(told(&own)))
        }
    }

    fn rest(self) -> Vec<String> {
        told(&self.0)
    }
}

/// Each fault with the place of its key.
fn told(faults: &[Fault]) -> Vec<String> {
    let all = faults.iter();
    all.map(|fault| fault.finding.to_string()).collect()
}

/// What is served, with the parts that can be replaced.
pub(super) struct Served {
    pub(super) certificates: Certificates,
    pub(super) pipeline: Arc<Pipeline>,
}

/// A key of the configuration that an option of `serve` overrides.
pub(super) struct Override {
    pub(super) key: &'static str,
    pub(super) option: &'static str,
    /// Where it listens.
    pub(super) running: Vec<SocketAddr>,
}

impl Override {
    fn shown(&self) -> String {
        let all: Vec<String> = self.running.iter().map(ToString::to_string).collect();
        all.join(", ")
    }
}

impl Reloader {
    /// Reads files again when the admin API asks for it, or when the caller does.
    pub(super) fn start(
        site: &Arc<Site>,
        overridden: Vec<Override>,
        service: &Arc<Service>,
        app: &Arc<App>,
        served: Served,
    ) -> Arc<Self> {
        let reloader = Arc::new(Self {
            taken: Mutex::new(Arc::clone(site)),
            overridden,
            site: Arc::clone(site),
            service: Arc::clone(service),
            app: Arc::downgrade(app),
            certificates: served.certificates,
            pipeline: served.pipeline,
        });
        let asked = Arc::clone(&reloader);
        app.set_reloader(Box::new(
            move |act| {
                if act { asked.reload() } else { asked.compare() }
            },
        ));
        reloader
    }

    /// Does what no reload may come between.
    pub(super) fn alone<T>(&self, act: impl FnOnce() -> T) -> T {
        let turn = self.taken.lock();
        let _turn = turn.unwrap_or_else(PoisonError::into_inner);
        act()
    }

    /// What differs between the configuration in use and the written one, and takes a restart.
    pub(super) fn compare(&self) -> api::Reload {
        match self.read() {
            Ok(site) => api::Reload {
                ok: true,
                parts: Vec::new(),
                restart: self.restart(&site.config),
            },
            Err((faults, _)) => api::Reload {
                ok: false,
                parts: vec![part("configuration", Err(faults))],
                restart: Vec::new(),
            },
        }
    }

    /// Reads everything again and takes what is right.
    pub(super) fn reload(&self) -> api::Reload {
        let taken = self.taken.lock();
        let mut taken = taken.unwrap_or_else(PoisonError::into_inner);
        let before = Arc::clone(&taken);
        let (mut parts, mut restart) = (Vec::new(), Vec::new());
        let gateways = match self.read() {
            Ok(site) => {
                restart = self.restart(&site.config);
                parts.push(part("configuration", Ok(())));
                *taken = Arc::new(site);
                Gateways::Read
            }
            // The rest is read from where it was before.
            Err((faults, blamed)) => {
                parts.push(part("configuration", Err(faults)));
                if blamed || !before.config.delivery.gateways.is_empty() {
                    Gateways::Kept
                } else {
                    Gateways::Unconcerned
                }
            }
        };
        let site = Arc::clone(&taken);
        self.replace(&site, &before, gateways, &mut parts);
        if gateways == Gateways::Read {
            logging::set_level(site.config.log.level);
            parts.push(part("log level", Ok(())));
        }
        let files = other_files(site.sha256, &self.certificates);
        self.service.admin.set_other_files(files);
        api::Reload {
            ok: parts.iter().all(|part| part.faults.is_empty()),
            parts,
            restart,
        }
    }

    /// Takes each part of the site whose files are good. Files of parts that are read at the start only are named by
    /// themselves: the next start would be refused.
    fn replace(
        &self,
        site: &Site,
        before: &Site,
        gateways: Gateways,
        parts: &mut Vec<api::ReloadPart>,
    ) {
        let mut named = Named(file_faults(site));
        // Before the policies, which name its attributes.
        let dictionary = || self.dictionary(site, before);
        if let Some(done) = named.or(&[keys::RADIUS_DICTIONARY.path], dictionary) {
            parts.push(part("dictionary", done));
        }
        let policies = named.or(&[keys::POLICIES_DIR.path], || Some(self.policies(site)));
        parts.extend(policies.map(|done| part("policies", done)));
        let tables = [
            keys::POLICIES_DEPARTURES.path,
            keys::POLICIES_COUNTRIES.path,
        ];
        let travel = named.or(&tables, || Some(self.travel(site)));
        parts.extend(travel.map(|done| part("tables", done)));
        parts.push(part(
            "texts",
            load_texts(&site.dir)
                .map(|texts| self.service.core.replace_texts(texts))
                .map_err(faults),
        ));
        for (section, (name, tls, files)) in ["http.tls", "radius.eap"]
            .into_iter()
            .zip(self.certificates.all())
        {
            if let Some(tls) = tls {
                let done = named.or(&[section], || Some(self.certificate(tls, files, site)));
                parts.extend(done.map(|done| part(name, done)));
            }
        }
        if let Some(tls) = &self.certificates.radius {
            let done = named.or(&["radius.tls"], || Some(self.radius_certificate(tls, site)));
            parts.extend(done.map(|done| part("RADIUS certificate", done)));
        }
        let done = match gateways {
            Gateways::Read => named.or(&["delivery"], || Some(self.gateways(site))),
            Gateways::Kept => Some(Err(vec![KEPT.to_owned()])),
            Gateways::Unconcerned => None,
        };
        parts.extend(done.map(|done| part("gateways", done)));
        let secret = || self.inbound(site, before);
        if let Some(done) = named.or(&[keys::HTTP_INBOUND_SECRET_FILE.path], secret) {
            parts.push(part("inbound secret", done));
        }
        if !named.0.is_empty() {
            parts.push(part("files", Err(named.rest())));
        }
    }

    /// The site as it is written; else the faults of its configuration, and whether the tables of gateways have some, as far
    /// as that can be known.
    fn read(&self) -> Result<Site, (Vec<String>, bool)> {
        let read = Site::read(&self.site.dir, Some(&self.site.file));
        read.map_err(|(error, rest)| {
            let blamed = rest.is_none_or(|rest| !rest.config.is_read("delivery"));
            (faults(error), blamed)
        })
    }

    /// The files of the site beside the dictionary that is built in, if there are or were any.
    fn dictionary(&self, site: &Site, before: &Site) -> Option<Result<(), Vec<String>>> {
        let configured = |site: &Site| site.config.radius.dictionary.is_some();
        if !configured(site) && !configured(before) {
            return None;
        }
        let read = dictionary(Some(site)).map_err(faults);
        Some(read.map(|read| self.pipeline.replace_dictionary(Arc::new(read))))
    }

    fn policies(&self, site: &Site) -> Result<(), Vec<String>> {
        let policies = load_policies(site).map_err(faults)?;
        let replaced = self.service.core.replace_policies(policies);
        replaced.map_err(|error| vec![error.to_string()])
    }

    fn travel(&self, site: &Site) -> Result<(), Vec<String>> {
        let travel = load_travel(site).map_err(faults)?;
        self.service.login.replace_travel(travel);
        Ok(())
    }

    fn certificate(&self, tls: &Tls, files: FilesOf, site: &Site) -> Result<(), Vec<String>> {
        // Without a pair in the file the one in use stays; that is a change for a restart.
        let Some(files) = files(&site.config) else {
            return Ok(());
        };
        tls.replace(&files.certificate, &files.key, self.service.core.now())
            .map_err(|error| vec![error.to_string()])
    }

    fn radius_certificate(&self, tls: &RadiusTls, site: &Site) -> Result<(), Vec<String>> {
        let Some(plan) = &site.config.radius.tls else {
            return Ok(());
        };
        tls.replace(plan, self.service.core.now())
            .map_err(|error| vec![error.to_string()])
    }

    fn gateways(&self, site: &Site) -> Result<(), Vec<String>> {
        let couriers = couriers(site).map_err(faults)?;
        self.service.core.set_courier(couriers);
        self.service
            .core
            .set_home(site.config.delivery.home.clone());
        Ok(())
    }

    /// The secret of gateways that send, if there is or was one.
    fn inbound(&self, site: &Site, before: &Site) -> Option<Result<(), Vec<String>>> {
        let configured = |site: &Site| site.config.http.inbound_secret_file.is_some();
        let some = configured(site) || configured(before);
        some.then(|| self.inbound_secret(site))
    }

    fn inbound_secret(&self, site: &Site) -> Result<(), Vec<String>> {
        let secret = inbound_secret(&site.config).map_err(|error| vec![error])?;
        if let Some(app) = self.app.upgrade() {
            app.replace_inbound_secret(secret, self.service.core.now().plus(AHEAD));
        }
        Ok(())
    }

    fn restart(&self, written: &Config) -> Vec<api::NeedsRestart> {
        let running = self.site.config.effective();
        let value = |config: &[EffectiveValue], key: &str| {
            let found = config.iter().find(|value| value.key == key);
            found.map(EffectiveValue::shown).unwrap_or_default()
        };
        let differs = |value: &&EffectiveValue| {
            let before = running.iter().find(|before| before.key == value.key);
            before.is_none_or(|before| before.value != value.value)
        };
        let mut changed: Vec<_> = written.effective().iter().filter(differs).collect();
        changed.retain(|value| !self.is_reloaded(&value.key, written));
        changed
            .into_iter()
            .map(|now| {
                let overridden = self
                    .overridden
                    .iter()
                    .find(|overridden| overridden.key == now.key);
                api::NeedsRestart {
                    key: now.key.clone(),
                    running: overridden.map_or_else(|| value(running, &now.key), Override::shown),
                    option: overridden.map(|overridden| overridden.option.to_owned()),
                    written: now.shown(),
                    origin: match &now.origin {
                        Origin::Default => "default".to_owned(),
                        Origin::Env { name } => name.clone(),
                        Origin::File { file, line } => format!("{file}:{line}"),
                    },
                }
            })
            .collect()
    }

    /// Whether a change of this key is taken while the daemon runs.
    fn is_reloaded(&self, key: &str, written: &Config) -> bool {
        let pairs = [
            [keys::HTTP_TLS_CERTIFICATE.path, keys::HTTP_TLS_KEY.path],
            [keys::RADIUS_EAP_CERTIFICATE.path, keys::RADIUS_EAP_KEY.path],
        ];
        for (pair, (_, tls, files)) in pairs.into_iter().zip(self.certificates.all()) {
            if pair.contains(&key) {
                return tls.is_some() && files(written).is_some();
            }
        }
        let radius = [
            keys::RADIUS_TLS_CERTIFICATE.path,
            keys::RADIUS_TLS_KEY.path,
            keys::RADIUS_TLS_CLIENT_CA.path,
        ];
        if radius.contains(&key) {
            return self.certificates.radius.is_some() && written.radius.tls.is_some();
        }
        let always = [
            keys::LOG_LEVEL.path,
            keys::RADIUS_DICTIONARY.path,
            keys::LIMITS_DELIVERY_BUDGET.path,
            keys::LIMITS_DELIVERY_COUNTRIES.path,
            keys::LIMITS_DELIVERY_HOME.path,
            keys::HTTP_INBOUND_SECRET_FILE.path,
        ];
        always.contains(&key) || key.starts_with("delivery.") || key.starts_with("policies.")
    }
}

/// What decides beside policies, tables and texts, for the audit: each by what it is, with its SHA-256.
pub(super) fn other_files(configuration: [u8; 32], certificates: &Certificates) -> Vec<LoadedFile> {
    let all = certificates.all().into_iter();
    let all = all.filter_map(|(name, tls, _)| Some((name.to_owned(), tls?.sha256())));
    let radius = certificates.radius.as_deref();
    let radius = radius.map(|tls| ("RADIUS certificate".to_owned(), tls.sha256()));
    let configuration = ("configuration".to_owned(), configuration);
    std::iter::once(configuration)
        .chain(all)
        .chain(radius)
        .collect()
}

/// The secret with which gateways sign what they send, where one is configured.
pub(super) fn inbound_secret(config: &Config) -> Result<Option<SecretString>, String> {
    let path = config.http.inbound_secret_file.as_deref();
    path.map(crate::delivery::read_secret).transpose()
}

/// Says in the log what a reload did.
pub(super) fn log(reload: &api::Reload) {
    for part in &reload.parts {
        let name = &part.name;
        for fault in &part.faults {
            tracing::error!(part = name, fault, "not reloaded; what was in use stays");
        }
        if part.faults.is_empty() {
            tracing::info!(part = name, "reloaded");
        }
    }
    for change in &reload.restart {
        let api::NeedsRestart {
            key,
            running,
            option,
            written,
            origin,
        } = change;
        match option {
            None => tracing::warn!(key, running, written, origin, "changed; it takes a restart"),
            Some(option) => tracing::warn!(
                key,
                running,
                written,
                origin,
                "changed; it takes a restart without `{option}`"
            ),
        }
    }
}

fn part(name: &str, done: Result<(), Vec<String>>) -> api::ReloadPart {
    api::ReloadPart {
        name: name.to_owned(),
        faults: done.err().unwrap_or_default(),
    }
}

/// Each error with its place. A warning keeps nothing from being taken.
fn faults(error: StartError) -> Vec<String> {
    match error {
        StartError::Findings(mut findings) => {
            findings.retain(|finding| finding.severity == Severity::Error);
            findings.iter().map(ToString::to_string).collect()
        }
        other => vec![other.to_string()],
    }
}

/// What becomes of the gateways, which are tables of the configuration.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Gateways {
    /// They are read with it.
    Read,
    /// It was not taken.
    Kept,
    /// It was not taken, and has none.
    Unconcerned,
}

const KEPT: &str = "their tables stand in the configuration, which was not taken";
