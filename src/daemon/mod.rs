//! The composition root: configuration, store, policies, service, listeners, signals.
//!
//! The only place that constructs the real clock, entropy and sockets. Start order is straight code:
//! configuration, the files it names, store (its lock says whether another daemon runs), policies, listeners, ready.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use sha2::{Digest as _, Sha256};

use crate::config::sources::ScimAlias;
use crate::config::{Config, Faulty, Limits, PREFIX};
use crate::core::courier::{Courier, NoCourier};
use crate::core::directory::{Directory as UserDirectory, Pushed};
use crate::delivery::{Deliveries, Parts as DeliveryParts};
use crate::diagnostic::{Diagnostic, Source, units};
use crate::directory::{Parts as DirectoryParts, Sources};
use crate::login::travel::Travel;
use crate::login::{hashing, travel};
use crate::model::message::Language;
use crate::model::sealing::SealAlgorithm;
use crate::net::connect::SystemResolver;
use crate::notice::Catalogue;
use crate::policy::Policies;
use crate::radius::dictionary::known_attribute;
use crate::secret::{Key256, SystemEntropy, random};
use crate::service::Service;
use crate::store::medium::Directory;
use crate::store::repair::Repaired;
use crate::store::seal::personal;
use crate::store::{Parts, Store, StoreError, StoreReport, look, repair};
use crate::time::{Clock as _, SystemClock};

mod dictionaries;
mod files;
#[cfg(feature = "hsm")]
mod hsm;
mod inherited;
mod install;
mod jobs;
mod journald;
mod keys;
mod listeners;
pub mod logging;
mod named;
mod ownership;
mod policy_files;
mod reload;
mod restore;
mod run;
mod supervisor;
mod witness;
mod written;

pub use dictionaries::dictionary;
pub use files::site_files;
pub use install::{Installation, init, write_key};
pub(crate) use install::{file as write_private, master_key};
pub use jobs::webhook_answers;
pub use keys::{master_reader, rotate_to, rotator};
pub(crate) use listeners::info_of;
pub use named::{Fault, file_faults, findings, refuse_faults};
pub use ownership::hand_over;
pub use restore::{After, RestoreError, Wanted, restore};
pub use run::serve;
pub use witness::accept_rollback;
pub use written::{make_directory, owner, unwritable_files};

/// An installation: its directory and what its configuration means.
#[derive(Debug)]
pub struct Site {
    /// Directory of the installation.
    pub dir: PathBuf,
    /// The configuration file.
    pub file: PathBuf,
    /// Its configuration.
    pub config: Config,
    /// What the configuration deserves to be warned of.
    pub warnings: Vec<Diagnostic>,
    /// SHA-256 of the configuration file.
    pub sha256: [u8; 32],
}

/// Why the daemon, or a command that opens the store itself, cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Findings in configuration or policy files, all of them.
    #[error("{} in configuration or policies", units::count(.0.len() as u64, "finding"))]
    Findings(Vec<Diagnostic>),
    /// It exists already.
    #[error("{what}")]
    Conflict {
        /// What exists.
        what: String,
        /// What to do next.
        remedy: String,
    },
    /// Another process has the store open.
    #[error("the store in {dir} is in use by another oncegate process")]
    InUse {
        /// Of the store.
        dir: String,
    },
    /// Something else: what, and what to do about it.
    #[error("{what}")]
    Failed {
        /// What is wrong, and where.
        what: String,
        /// What to do next.
        remedy: String,
    },
}

impl StartError {
    /// What is wrong, and what to do next.
    fn words(&self) -> (String, String) {
        match self {
            Self::Conflict { what, remedy } | Self::Failed { what, remedy } => {
                (what.clone(), remedy.clone())
            }
            Self::Findings(_) | Self::InUse { .. } => {
                (self.to_string(), "see `oncegate config check`".to_owned())
            }
        }
    }

    /// The same as findings, among others.
    fn into_findings(self) -> Vec<Diagnostic> {
        if let Self::Findings(findings) = self {
            return findings;
        }
        let (what, remedy) = self.words();
        vec![Diagnostic::error(what).help(remedy)]
    }
}

/// Listener addresses from the command line, instead of the configuration's.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `serve --radius`.
    pub radius: Option<Vec<SocketAddr>>,
    /// `serve --accounting`.
    pub accounting: Option<Vec<SocketAddr>>,
    /// `serve --http`.
    pub http: Option<Vec<SocketAddr>>,
}

impl Site {
    /// Reads the configuration of `dir`, or `config` when given; the installation is then the
    /// directory of that file.
    pub fn load(dir: &Path, config: Option<&Path>) -> Result<Self, StartError> {
        Self::read(dir, config).map_err(|(error, _)| error)
    }

    /// The same; beside the findings of a configuration stands the site with what can be understood of it.
    fn read(dir: &Path, config: Option<&Path>) -> Result<Self, (StartError, Option<Box<Self>>)> {
        let alone = |error: StartError| (error, None::<Box<Self>>);
        let file = config.map_or_else(|| dir.join("oncegate.toml"), Path::to_owned);
        let dir = Self::directory(dir, config);
        let text = fs::read_to_string(&file).map_err(|error| {
            alone(match error.kind() {
                io::ErrorKind::NotFound => failed(
                    format!(
                        "{} does not exist: there is no installation here",
                        file.display()
                    ),
                    format!("oncegate init --dir {}", dir.display()),
                ),
                _ => install::unreadable(&file, &error),
            })
        })?;
        let sha256 = Sha256::digest(&text).into();
        let source = Source::new(file.display().to_string(), text);
        let env = environment().map_err(alone)?;
        let loaded = Config::load_or_rest(Some(&source), env, &dir);
        let site = |config, warnings| Self {
            dir,
            file,
            config,
            warnings,
            sha256,
        };
        match loaded {
            Ok((config, warnings)) => Ok(site(config, warnings)),
            Err(Faulty { findings, rest }) => {
                let rest = rest.map(|config| Box::new(site(*config, Vec::new())));
                Err((StartError::Findings(findings), rest))
            }
        }
    }

    /// The directory of the installation: that of the configuration file where one is named.
    fn directory(dir: &Path, config: Option<&Path>) -> PathBuf {
        match config {
            None => dir.to_owned(),
            Some(file) => match file.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
                _ => PathBuf::from("."),
            },
        }
    }

    /// The admin socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join(SOCKET)
    }

    /// The admin socket of an installation whose configuration need not be readable.
    pub fn socket_of(dir: &Path, config: Option<&Path>) -> PathBuf {
        Self::directory(dir, config).join(SOCKET)
    }

    /// The file that `quickstart` leaves in a directory that it made: it names the tokens whose codes may be shown.
    pub fn demo_file(&self) -> Option<PathBuf> {
        let file = self.dir.join("quickstart");
        file.exists().then_some(file)
    }
}

/// Whether there is such a file or directory. One that may not be looked at is not missing.
fn is_there(path: &Path) -> Result<bool, StartError> {
    path.try_exists().map_err(|error| {
        failed(
            format!("{} cannot be looked at: {error}", path.display()),
            "run as the user who owns the installation",
        )
    })
}

/// Opens the store and the policies, for `serve` and for commands without a daemon.
pub async fn open(site: &Site) -> Result<Arc<Service>, StartError> {
    let policies = load_policies(site)?;
    let dir = &site.config.store.dir;
    if !is_there(&dir.join("main.redb"))? {
        return Err(failed(
            format!("there is no store in {}", dir.display()),
            "put the store back, restore it from a backup with `oncegate restore FILE --dir EMPTY_DIR`, or make a new \
             installation with `oncegate init --dir DIR`",
        ));
    }
    let store = keys::open_with_key(site)?;
    witness::check(site, &store)?;
    store.set_cache_size(site.config.store.cache_size);
    let service = Service::new(
        Arc::new(store),
        policies,
        Arc::new(SystemClock),
        Arc::new(SystemEntropy),
        hashing(&site.config.limits),
    );
    let service = service.map_err(|error| {
        failed(
            format!("the clients cannot be read: {error}"),
            "oncegate store verify --repair",
        )
    })?;
    service.login.replace_travel(load_travel(site)?);
    service.core.set_courier(couriers(site)?);
    let pushed = site.config.scim.iter().map(|source| Pushed {
        name: source.name.clone(),
        client: source.client.clone(),
        realm: source.realm.clone(),
        email_is_alias: source.aliases.contains(&ScimAlias::Emails),
        external_is_alias: source.aliases.contains(&ScimAlias::ExternalId),
    });
    service.core.directories().set_pushed(pushed.collect());
    if let Some(directories) = directories(site)? {
        service.core.directories().set(directories);
    }
    service.core.set_home(site.config.delivery.home.clone());
    service.core.set_language(site.config.delivery.language);
    service.core.replace_texts(load_texts(&site.dir)?);
    Ok(Arc::new(service))
}

/// What the store of a site without a daemon looks like, and what the checksums of its file say.
pub async fn verify_store(
    site: &Site,
) -> Result<(Result<StoreReport, StoreError>, Result<(), StoreError>), StartError> {
    let dir = &site.config.store.dir;
    if !dir.join("main.redb").exists() {
        // Opening would begin a new one.
        let missing = || StoreError::Corrupt("the file is missing");
        return Ok((Err(missing()), Err(missing())));
    }
    let checksums = look::checksums(&dir.join("main.redb"), CACHE);
    if matches!(checksums, Err(StoreError::InUse)) {
        return Err(cannot_open(dir, &StoreError::InUse));
    }
    let master = master_key(&site.config.keys.master)?;
    let opened = open_store(
        dir,
        master,
        site.config.keys.algorithm,
        site.config.audit.segment_size,
    );
    let report = match opened {
        Ok(store) => store.verify_store().await,
        Err(error) => Err(error),
    };
    match report {
        // A finding, like others.
        Err(StoreError::Corrupt(_) | StoreError::File { .. } | StoreError::Disk(_)) | Ok(_) => {
            Ok((report, checksums))
        }
        Err(error) => Err(cannot_open(dir, &error)),
    }
}

/// Makes `main.redb` of a site without a daemon anew; see [`repair`].
pub fn repair_store(site: &Site) -> Result<Repaired, StartError> {
    let dir = &site.config.store.dir;
    let master = master_key(&site.config.keys.master)?;
    let now = SystemClock.now();
    repair::repair(dir, &master, site.config.keys.algorithm, now).map_err(|error| match error {
        StoreError::Corrupt(_) | StoreError::File { .. } => failed(
            format!("the store in {} cannot be repaired: {error}", dir.display()),
            RESTORE,
        ),
        error => cannot_open(dir, &error),
    })
}

/// The courier: the configured gateways, or none. Secrets and certificates are read now.
pub fn couriers(site: &Site) -> Result<Arc<dyn Courier>, StartError> {
    let plan = &site.config.delivery;
    if plan.gateways.is_empty() {
        return Ok(Arc::new(NoCourier));
    }
    let parts = DeliveryParts {
        clock: Arc::new(SystemClock),
        resolver: Arc::new(SystemResolver),
    };
    let deliveries = Deliveries::open(plan, &parts).map_err(StartError::Findings)?;
    Ok(Arc::new(deliveries))
}

/// The directories that users follow, if some are configured. Passwords and certificates are read now.
pub fn directories(site: &Site) -> Result<Option<Arc<dyn UserDirectory>>, StartError> {
    let sources = &site.config.sources;
    if sources.is_empty() {
        return Ok(None);
    }
    let parts = DirectoryParts {
        clock: Arc::new(SystemClock),
        resolver: Arc::new(SystemResolver),
    };
    let key: [u8; 32] = random(&SystemEntropy).map_err(|error| {
        failed(
            error.to_string(),
            "try again: the system has no random numbers",
        )
    })?;
    let opened = Sources::open(sources, &parts, Key256::new(key));
    Ok(Some(Arc::new(opened.map_err(StartError::Findings)?)))
}

/// Reads the texts of messages: those built in, and over them `templates/en.toml` and
/// `templates/ko.toml` of the installation, where there are such files.
pub fn load_texts(dir: &Path) -> Result<Catalogue, StartError> {
    let dir = dir.join(TEMPLATES);
    if !is_there(&dir)? {
        return Ok(Catalogue::default());
    }
    let mut files = Vec::new();
    let mut findings = Vec::new();
    for source in toml_files(&dir, "let the user who runs the daemon read it")? {
        let path = Path::new(source.name());
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        match stem.unwrap_or_default().parse::<Language>() {
            Ok(language) => files.push((language, source)),
            Err(()) => {
                let stem = stem.unwrap_or_default();
                let error = Diagnostic::error(format!("there are no texts in language `{stem}`"));
                let languages = Language::ALL.map(Language::as_str);
                findings.push(error.at(source.place(0..0)).suggest(stem, languages));
            }
        }
    }
    match Catalogue::parse(&files) {
        Ok(catalogue) if findings.is_empty() => return Ok(catalogue),
        Ok(_) => {}
        Err(faults) => findings.extend(faults),
    }
    Err(StartError::Findings(findings))
}

/// Reads the tables of travellers and countries; a table that is not configured is empty.
pub fn load_travel(site: &Site) -> Result<Travel, StartError> {
    let policies = &site.config.policies;
    let read = |path: &Option<PathBuf>| match path {
        None => Ok(String::new()),
        Some(path) => fs::read_to_string(path).map_err(|error| {
            failed(
                format!("{} cannot be read: {error}", path.display()),
                "put the table there, or remove the key under [policies]",
            )
        }),
    };
    let (departures, countries) = (read(&policies.departures)?, read(&policies.countries)?);
    Travel::parse(&departures, &countries).map_err(|(table, error)| {
        let path = match table {
            travel::Table::Departures => &policies.departures,
            travel::Table::Countries => &policies.countries,
        };
        let path = path.as_deref().unwrap_or_else(|| Path::new(""));
        let place = format!("{}:{}", path.display(), error.line);
        failed(format!("{place}: {}", error.what), "correct the line")
    })
}

fn hashing(limits: &Limits) -> hashing::Settings {
    let default = hashing::Settings::default();
    hashing::Settings {
        threads: limits.password_threads.unwrap_or(default.threads),
        queue: limits.password_queue,
        cost: limits.password_cost,
        yields: true,
    }
}

/// Checks policy files as they are loaded, reply attributes against the dictionary included.
pub fn parse_policies(sources: &[Source], site: Option<&Site>) -> Result<Policies, StartError> {
    let dictionary = dictionary(site)?;
    Policies::parse(sources, &known_attribute(&dictionary)).map_err(StartError::Findings)
}

/// Reads the policy files of a site, checks them and runs the tests in them.
pub fn load_policies(site: &Site) -> Result<Policies, StartError> {
    let dir = &site.config.policies.dir;
    let policies = parse_policies(&policy_files(dir)?, Some(site))?;
    let tests = policies.run_tests().into_iter();
    let mut faults: Vec<Diagnostic> = tests.filter_map(|test| test.failure).collect();
    faults.extend(no_default(dir, &policies));
    if faults.is_empty() {
        Ok(policies)
    } else {
        Err(StartError::Findings(faults))
    }
}

/// The finding that a directory of policies lacks the one that is needed by clients that name none.
pub fn no_default(dir: &Path, policies: &Policies) -> Option<Diagnostic> {
    if policies.resolve(None).is_some() {
        return None;
    }
    let missing = Diagnostic::error(format!("{} has no default.toml", dir.display()));
    Some(missing.help(
        "clients that name no policy need one: put it back, or take the one that `oncegate init --dir` writes \
         into an empty directory",
    ))
}

/// The policy files of a directory.
pub fn policy_files(dir: &Path) -> Result<Vec<Source>, StartError> {
    toml_files(
        dir,
        "policies live in the directory that `[policies] dir` names",
    )
}

/// The files `*.toml` of a directory in order of name, without hidden ones.
fn toml_files(dir: &Path, remedy: &str) -> Result<Vec<Source>, StartError> {
    let unreadable = |path: &Path, error: &io::Error| {
        let what = format!("{} cannot be read: {error}", path.display());
        StartError::Findings(vec![Diagnostic::error(what).help(remedy)])
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| unreadable(dir, &error))? {
        let path = entry.map_err(|error| unreadable(dir, &error))?.path();
        let hidden = path
            .file_name()
            .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden
            && path
                .extension()
                .is_some_and(|extension| extension == "toml")
        {
            paths.push(path);
        }
    }
    paths.sort();
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
        Ok(Source::new(path.display().to_string(), text))
    };
    paths.iter().map(read).collect()
}

fn open_store(
    dir: &Path,
    master: Key256,
    algorithm: SealAlgorithm,
    segment_size: u64,
) -> Result<Store, StoreError> {
    Store::open(parts(dir, master, algorithm, segment_size))
}

fn parts(dir: &Path, master: Key256, algorithm: SealAlgorithm, segment_size: u64) -> Parts {
    Parts {
        medium: Arc::new(Directory::new(dir)),
        master,
        algorithm,
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        segment_size,
        checkpoint: CHECKPOINT,
    }
}

/// Makes an empty store; `init` has just made its directory. No algorithm is selected yet; the
/// first opening with a configuration that selects one seals the data key again.
fn create_store(dir: &Path, master: Key256) -> Result<(), StartError> {
    let store = open_store(dir, master, SealAlgorithm::default(), u64::MAX)
        .map_err(|error| cannot_open(dir, &error))?;
    drop(store);
    Ok(())
}

fn cannot_open(dir: &Path, error: &StoreError) -> StartError {
    let remedy = match error {
        StoreError::InUse => {
            return StartError::InUse {
                dir: dir.display().to_string(),
            };
        }
        StoreError::WrongMasterKey => PUT_KEY_BACK,
        StoreError::NewerFormat { .. } => {
            "run the version of oncegate that wrote it, or a newer one"
        }
        StoreError::Corrupt(_) => "oncegate store verify --repair",
        StoreError::File { file, .. } => remedy_of_file(file),
        _ => "see that the disk is mounted writable, has space, and belongs to this user",
    };
    failed(
        format!("the store in {} cannot be opened: {error}", dir.display()),
        remedy,
    )
}

/// What to do about a damaged file beside `main.redb`: a repair makes none of them anew.
pub fn remedy_of_file(file: &str) -> &'static str {
    if file == personal::FILE {
        PERSONAL
    } else {
        RESTORE
    }
}

/// The variables that configure us. One that is not text is named, not skipped.
fn environment() -> Result<Vec<(String, String)>, StartError> {
    let ours =
        |(name, _): &(OsString, OsString)| name.as_encoded_bytes().starts_with(PREFIX.as_bytes());
    let text = |(name, value): (OsString, OsString)| {
        let name = name.to_string_lossy().into_owned();
        match value.into_string() {
            Ok(value) => Ok((name, value)),
            Err(_) => Err(failed(
                format!("the variable {name} is not UTF-8 text"),
                "set it again",
            )),
        }
    };
    std::env::vars_os().filter(ours).map(text).collect()
}

fn failed(what: impl Into<String>, remedy: impl Into<String>) -> StartError {
    StartError::Failed {
        what: what.into(),
        remedy: remedy.into(),
    }
}

/// What to do where the master key is missing, or is another one: it may have been exchanged since `init`, and need not be in
/// a file.
pub const PUT_KEY_BACK: &str = "put the key that is in use where `keys.master` looks for it: its copy from the safe, what \
    `oncegate key import --to FILE` makes of its shares, or after a restore of an older backup the `master.key.before-TIME` of that \
    time; no backup holds it, and without it nothing in the store opens";
/// What to do about a journal that is damaged before its end.
pub const RESTORE: &str = "keep the files as they are, and restore the whole store from a backup";
/// What to do about damaged keys of personal data.
const PERSONAL: &str =
    "put store/personal.keys back from a backup that is newer than the last erasure";
/// The admin socket, in the installation's directory.
const SOCKET: &str = "admin.sock";
/// Directory of the operator's own texts, in that of the installation.
const TEMPLATES: &str = "templates";
/// Page cache of a check of the checksums.
const CACHE: usize = 64 << 20;
/// Time between checkpoints: bounds what opening has to fold again.
const CHECKPOINT: Duration = Duration::from_secs(5);
