//! What the files hold that a configuration names, and the master key: looked at before anything is opened.
//!
//! Invariant: what is found here refuses a start, and `config check`, `doctor` and `reload` say the same of it, each
//! with file and line of the key that names the file.
//!
//! Threat: a secret that is missing or empty is no secret. A daemon that starts without one signs with nothing, or stays
//! silent where it was to tell. No finding holds what is in a file.

use std::fs::{self, File};
use std::path::Path;

use crate::config::named::{Holds, NamedFile};
use crate::config::{self, MasterKey, Origin, keys};
use crate::daemon::{Site, StartError, dictionary, jobs, load_policies, load_texts, master_key};
use crate::delivery::read_secret;
use crate::diagnostic::{Diagnostic, LineOf};
use crate::login::travel::{Table, TableError, Travel};
use crate::net::tls::client_config;
use crate::secret::SecretBytes;
use crate::server::radius::RadiusTls;
use crate::server::tls::{Tls, TlsError};

/// A file that is no good.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Dotted path of the key that names it.
    pub key: String,
    /// What is wrong with it, where the key is, and what to do.
    pub finding: Diagnostic,
}

impl Site {
    /// Reads the configuration for a start, or to check it: where it has faults, those of the policies, the texts and the
    /// files that it names are found in the same run.
    pub fn load_whole(dir: &Path, config: Option<&Path>) -> Result<Self, StartError> {
        Self::read(dir, config).map_err(|(error, rest)| match (error, rest) {
            (StartError::Findings(mut found), Some(rest)) => {
                found.extend(findings(&rest));
                StartError::Findings(found)
            }
            (error, _) => error,
        })
    }
}

impl Fault {
    fn of(file: &NamedFile, why: &str, help: impl Into<String>) -> Self {
        Self::at(&file.key, &file.origin, why, help)
    }

    fn at(key: &str, origin: &Origin, why: &str, help: impl Into<String>) -> Self {
        let message = format!("`{key}`: {why}");
        let finding = match origin {
            Origin::File { file, line } => Diagnostic::error(message).in_line(LineOf {
                file: file.clone(),
                line: *line,
                column: None,
            }),
            Origin::Env { name } => Diagnostic::error(format!("{message} (from {name})")),
            Origin::Default => Diagnostic::error(format!("{message} (default of `{key}`)")),
        };
        Self {
            key: key.to_owned(),
            finding: finding.help(help),
        }
    }

    /// Whether the key is this one, or below this section.
    pub fn is_of(&self, key: &str) -> bool {
        let rest = self.key.strip_prefix(key);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// Every file that a configuration names and that is no good, and the master key, in the order of the keys.
pub fn file_faults(site: &Site) -> Vec<Fault> {
    let files = site.config.named_files();
    let mut faults = Vec::new();
    for file in &files {
        if let Err((why, help)) = judge(site, file) {
            faults.push(Fault::of(file, &why, help));
        }
    }
    for (section, error) in pairs(site) {
        // A file that cannot be read is named already.
        if faults.iter().any(|fault| fault.is_of(section)) {
            continue;
        }
        let prefix = format!("{section}.");
        let named = |file: &&NamedFile| file.key.starts_with(&prefix) && file.path == error.file;
        if let Some(file) = files.iter().find(named) {
            let why = format!("{}: {}", error.file.display(), error.cause);
            faults.push(Fault::of(file, &why, error.remedy));
        }
    }
    by_line(faults)
}

fn by_line(mut faults: Vec<Fault>) -> Vec<Fault> {
    faults.sort_by_key(|fault| fault.finding.line.as_ref().map(|line| line.line));
    faults
}

/// Everything that is wrong with the files of a site: those that are named, the master key, policies and texts. A daemon
/// that runs has its key, which may lie elsewhere by then.
pub fn findings(site: &Site) -> Vec<Diagnostic> {
    let mut faults = file_faults(site);
    faults.extend(master(site));
    let faults = by_line(faults);
    let is_known = |key: &str| faults.iter().any(|fault| fault.is_of(key));
    let mut needed = [keys::POLICIES_DIR, keys::RADIUS_DICTIONARY].into_iter();
    let readable = needed.all(|key| site.config.is_read(key.path) && !is_known(key.path));
    let mut all: Vec<Diagnostic> = faults.into_iter().map(|fault| fault.finding).collect();
    if readable && let Err(error) = load_policies(site) {
        all.extend(error.into_findings());
    }
    if let Err(error) = load_texts(&site.dir) {
        all.extend(error.into_findings());
    }
    all
}

/// Refuses a site that names a file which is no good; what else is wrong with its files is said too.
pub fn refuse_faults(site: &Site) -> Result<(), StartError> {
    if file_faults(site).is_empty() && master(site).is_none() {
        return Ok(());
    }
    Err(StartError::Findings(findings(site)))
}

/// Adds to the findings of one part what is wrong with all others.
pub(super) fn complete(error: StartError, site: &Site) -> StartError {
    match error {
        StartError::Findings(found) => {
            let mut all = findings(site);
            for one in found {
                if !all.contains(&one) {
                    all.push(one);
                }
            }
            StartError::Findings(all)
        }
        other => other,
    }
}

/// What is wrong with a file taken by itself, and what to do.
fn judge(site: &Site, file: &NamedFile) -> Result<(), (String, String)> {
    let path = file.path.as_path();
    let advised = |help: &'static str| move |why: String| (why, help.to_owned());
    match file.holds {
        Holds::Secret => read_secret(path).map(drop).map_err(advised(SECRET)),
        Holds::BearerToken => jobs::ship_token(path).map(drop).map_err(advised(SECRET)),
        Holds::YubicoKey => yubico_key(path).map(drop).map_err(advised(YUBICO_KEY)),
        Holds::WebhookKey => {
            let key = jobs::webhook_key(path).map(drop);
            key.map_err(|why| (why, jobs::make_webhook_key(path)))
        }
        Holds::Certificate | Holds::PrivateKey | Holds::ClientAuthorities => {
            readable(path).map_err(advised(PEM))
        }
        Holds::Authorities => {
            readable(path).map_err(advised(PEM))?;
            let read = client_config(Some(path)).map(drop);
            read.map_err(|error| (error.to_string(), error.remedy().to_owned()))
        }
        Holds::Departures => table(path, |text| Travel::parse(text, "")).map_err(advised(TABLE)),
        Holds::Countries => table(path, |text| Travel::parse("", text)).map_err(advised(TABLE)),
        Holds::Policies => {
            let read = fs::read_dir(path).map(drop);
            let why = |error| format!("{} cannot be read: {error}", path.display());
            read.map_err(why).map_err(advised(POLICIES))
        }
        Holds::Dictionary => dictionary(Some(site)).map(drop).map_err(|error| {
            let (what, remedy) = error.words();
            // It names its key itself.
            let why = what.strip_prefix("radius.dictionary: ").unwrap_or(&what);
            (why.to_owned(), remedy)
        }),
    }
}

/// What is wrong with the master key. A credential of systemd and a variable may be there for the daemon alone, and a
/// module is asked when the store is opened.
fn master(site: &Site) -> Option<Fault> {
    let (config, key) = (&site.config, keys::KEYS_MASTER.path);
    let is_here = match &config.keys.master {
        MasterKey::File(_) => true,
        MasterKey::Env(name) => std::env::var_os(name).is_some(),
        MasterKey::Credential(_) => std::env::var_os("CREDENTIALS_DIRECTORY").is_some(),
        MasterKey::Pkcs11(_) => false,
    };
    if !is_here || !config.is_read(key) {
        return None;
    }
    let (why, help) = master_key(&config.keys.master).err()?.words();
    Some(Fault::at(key, &config.origin(key), &why, help))
}

fn table(
    path: &Path,
    parse: impl Fn(&str) -> Result<Travel, (Table, TableError)>,
) -> Result<(), String> {
    let shown = path.display();
    let text = fs::read_to_string(path);
    let text = text.map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let parsed = parse(&text).map(drop);
    parsed.map_err(|(_, error)| format!("{shown}:{}: {}", error.line, error.what))
}

fn readable(path: &Path) -> Result<(), String> {
    let shown = path.display();
    match File::open(path).and_then(|file| file.metadata()) {
        Err(error) => Err(format!("{shown} cannot be read: {error}")),
        Ok(about) if about.is_dir() => Err(format!("{shown} is a directory")),
        Ok(_) => Ok(()),
    }
}

/// Certificates that do not fit their keys, or are none, each with its section.
fn pairs(site: &Site) -> Vec<(&'static str, TlsError)> {
    let (http, radius) = (&site.config.http, &site.config.radius);
    let load = |tls: &config::Tls| Tls::load(&tls.certificate, &tls.key).err();
    let radius_tls = radius.tls.as_ref();
    let all = [
        ("http.tls", http.tls.as_ref().and_then(load)),
        ("radius.eap", radius.eap.as_ref().and_then(load)),
        (
            "radius.tls",
            radius_tls.and_then(|tls| RadiusTls::load(tls).err()),
        ),
    ];
    let bad = all.into_iter();
    bad.filter_map(|(section, error)| Some((section, error?)))
        .collect()
}

/// The key of a client that speaks Yubico's protocol.
pub(super) fn yubico_key(path: &Path) -> Result<SecretBytes, String> {
    let text = read_secret(path)?;
    let key = data_encoding::BASE64.decode(text.expose().as_bytes());
    let key = key.map(SecretBytes::new).ok();
    let key = key.filter(|key| (10..=128).contains(&key.expose().len()));
    let shown = path.display();
    key.ok_or_else(|| format!("{shown} holds no key of 10 to 128 octets in base 64"))
}

const SECRET: &str = "put the key, password or token into it on one line, readable for the daemon";
/// What to do about a file that is no key of a client.
pub(super) const YUBICO_KEY: &str =
    "write the client's API key into it, or a new one: openssl rand -base64 20";
const PEM: &str = "name a PEM file that the daemon can read";
const TABLE: &str = "put the table there or correct its line, or remove the key";
const POLICIES: &str = "policies live in the directory that `[policies] dir` names";
