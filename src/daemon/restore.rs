//! An installation, or its store, from a backup.
//!
//! ```text
//! DIR without an installation  DIR/restore.unfinished/{store, policies, templates, oncegate.toml} -> DIR
//! an installation whose store  STORE.unfinished -> STORE
//! is missing or empty
//! ```
//!
//! What is there already is never overwritten. Interrupted, nothing is in its place, and the next call begins again.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::config::{Config, MasterKey};
use crate::daemon::files::{CONFIG, POLICIES, is_of_site};
use crate::daemon::install::{directory, file, master_key, rename, sync_directory, unwritable};
use crate::daemon::{Site, StartError, TEMPLATES, environment, failed, open_store, witness};
use crate::diagnostic::Source;
use crate::model::sealing::SealAlgorithm;
use crate::secret::Key256;
use crate::store::backup::{BackupError, Restore, Restored, SiteFile, restore as make};
use crate::time::{Clock as _, SystemClock};

/// What is to be restored.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The record that is to be the last one.
    pub at: Option<u64>,
    /// A file with the master key, where it is not in its place.
    pub master: Option<PathBuf>,
}

/// What is to be known before the restored installation is started.
#[derive(Debug)]
pub struct After {
    /// Files outside DIR to which it will write its statements ([`crate::store::witness`]).
    pub outside: Vec<PathBuf>,
    /// What to do about the master key, where `keys.master` does not give the one that opens the store.
    pub key: Option<String>,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup cannot be used.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The place cannot.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Restores a whole backup and the incremental ones behind it; returns what was made, the files that were written, and what
/// is to be known before a start.
pub fn restore(
    dir: &Path,
    config: Option<&Path>,
    wanted: &Wanted,
    backups: Vec<impl Read>,
) -> Result<(Restored, Vec<PathBuf>, After), RestoreError> {
    let has_site = config.is_some() || dir.join(CONFIG).exists();
    let (restored, files) = if has_site {
        store_only(dir, config, wanted, backups)?
    } else {
        whole(dir, wanted, backups)?
    };
    let site = Site::load(dir, config)?;
    // What cannot be opened was not restored.
    let (keys, store) = (&site.config.keys, &site.config.store.dir);
    let placed = files.iter().find(|file| file.ends_with("store"));
    let store = placed.unwrap_or(store).clone();
    // As it was read for the restore: the configuration that was restored may name another place.
    let given = match &wanted.master {
        Some(path) => MasterKey::File(path.clone()),
        None if has_site => keys.master.clone(),
        None => MasterKey::File(dir.join(KEY)),
    };
    let master = master_key(&given)?;
    let key = misplaced(&keys.master, &given, &master);
    let opened = open_store(
        &store,
        master,
        keys.algorithm,
        site.config.audit.segment_size,
    );
    drop(opened.map_err(|error| super::cannot_open(&store, &error))?);
    let witness = site.config.store.witness.iter();
    let outside = witness.filter(|path| !path.starts_with(dir));
    let outside = outside.cloned().collect();
    Ok((restored, files, After { outside, key }))
}

/// How the key that was `given` comes to where `place` looks for it, if it is not there.
fn misplaced(place: &MasterKey, given: &MasterKey, key: &Key256) -> Option<String> {
    let there = master_key(place).ok();
    if there.is_some_and(|there| there == *key) {
        return None;
    }
    let file = match given {
        MasterKey::File(path) => path.display().to_string(),
        other => other.to_string(),
    };
    Some(match place {
        MasterKey::File(path) => format!(
            "put {file} in the place of {} (mode 0600, of the daemon's user); keep the key that is there, if one is, for \
             the backups that it opens",
            path.display()
        ),
        MasterKey::Env(name) => {
            format!("let the environment variable {name} of the daemon hold the content of {file}")
        }
        MasterKey::Credential(name) => format!(
            "let the credential {name} of the daemon's unit be {file}: systemd-creds encrypt --name={name}, and \
             LoadCredentialEncrypted={name}:.. in the unit"
        ),
        MasterKey::Pkcs11(_) => format!(
            "let `keys.master` name {file} (file:PATH): the object in the hardware security module that it names is \
             another key, or cannot be reached"
        ),
    })
}

fn master_of(place: &MasterKey, wanted: &Wanted) -> Result<Key256, StartError> {
    match &wanted.master {
        Some(path) => master_key(&MasterKey::File(path.clone())),
        None => master_key(place),
    }
}

/// The store of an installation that has none.
fn store_only(
    dir: &Path,
    config: Option<&Path>,
    wanted: &Wanted,
    backups: Vec<impl Read>,
) -> Result<(Restored, Vec<PathBuf>), RestoreError> {
    let site = Site::load(dir, config)?;
    if UnixStream::connect(site.socket()).is_ok() {
        return Err(conflict(
            "the daemon runs".to_owned(),
            "stop it, move the store away, and repeat the command",
        ));
    }
    let store = &site.config.store.dir;
    if fs::read_dir(store).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(conflict(
            format!("there is a store in {}", store.display()),
            "a restore overwrites nothing: move that directory away, or restore into another one with --dir",
        ));
    }
    let master = master_of(&site.config.keys.master, wanted)?;
    let mut staged = store.as_os_str().to_owned();
    staged.push(".unfinished");
    let staged = PathBuf::from(staged);
    begin(&staged)?;
    let what = Restore {
        dir: &staged,
        master: &master,
        algorithm: site.config.keys.algorithm,
        segment_size: site.config.audit.segment_size,
        at: wanted.at,
        now: SystemClock.now(),
        statements: &|_| witness::statements(&site.config.store.witness),
    };
    let restored = make(&what, backups).inspect_err(|_| {
        let _ = fs::remove_dir_all(&staged);
    })?;
    if store.exists() {
        fs::remove_dir(store).map_err(|error| unwritable(store, &error))?;
    }
    rename(&staged, store)?;
    if let Some(parent) = store.parent() {
        sync_directory(parent)?;
    }
    Ok((restored, vec![store.clone()]))
}

/// An installation where there is none.
fn whole(
    dir: &Path,
    wanted: &Wanted,
    backups: Vec<impl Read>,
) -> Result<(Restored, Vec<PathBuf>), RestoreError> {
    let made_dir = directory(dir)?;
    // An earlier restore that was interrupted while it put its parts in their place: they are made anew.
    let goes_on = dir.join(STAGED).join(PLACING).exists();
    for entry in fs::read_dir(dir).map_err(|error| unwritable(dir, &error))? {
        let entry = entry.map_err(|error| unwritable(dir, &error))?;
        let name = entry.file_name();
        if name != KEY && name != STAGED && !(goes_on && is_part(&name)) {
            return Err(conflict(
                format!("{} is not empty: {}", dir.display(), entry.path().display()),
                "choose an empty directory with --dir; master.key alone may be in it",
            ));
        }
    }
    let own_key = dir.join(KEY);
    let place = MasterKey::File(own_key.clone());
    if wanted.master.is_none() && !own_key.exists() {
        if made_dir {
            let _ = fs::remove_dir(dir);
        }
        return Err(RestoreError::Start(failed(
            format!("the master key is missing: {}", own_key.display()),
            "the backup does not hold it: put it there (mode 0600), or name it with --master-key FILE",
        )));
    }
    let master = master_of(&place, wanted)?;
    let staged = dir.join(STAGED);
    if goes_on {
        clear(dir)?;
    }
    begin(&staged)?;
    let store = staged.join(STORE);
    directory(&store)?;
    let statements = |files: &[SiteFile]| match config_of(dir, files) {
        Some(config) => witness::statements(&config.store.witness),
        None => Vec::new(),
    };
    let what = Restore {
        dir: &store,
        master: &master,
        algorithm: SealAlgorithm::default(),
        segment_size: SEGMENT,
        at: wanted.at,
        now: SystemClock.now(),
        statements: &statements,
    };
    let restored = make(&what, backups).inspect_err(|_| {
        let _ = fs::remove_dir_all(&staged);
        if made_dir {
            let _ = fs::remove_dir(dir);
        }
    })?;
    if let Some(config) = config_of(dir, &restored.files) {
        has_place(dir, &config)?;
    }
    let written = put_in_place(dir, &staged, wanted, &restored.files)?;
    Ok((restored, written))
}

/// Puts what was made in its place; returns what was written.
fn put_in_place(
    dir: &Path,
    staged: &Path,
    wanted: &Wanted,
    files: &[SiteFile],
) -> Result<Vec<PathBuf>, StartError> {
    let own_key = dir.join(KEY);
    let mut written = Vec::new();
    file(&staged.join(PLACING), b"")?;
    sync_directory(staged)?;
    // Only where the configuration looks for it: the key lies apart from the data otherwise.
    let config = config_of(dir, files);
    let of_file =
        config.is_none_or(|config| config.keys.master == MasterKey::File(own_key.clone()));
    if let Some(path) = &wanted.master
        && of_file
        && !own_key.exists()
    {
        let octets = fs::read(path).map_err(|error| unwritable(path, &error))?;
        file(&own_key, &octets)?;
        written.push(own_key);
    }
    // The configuration last: a directory that has one is a whole installation.
    let (config, others): (Vec<_>, Vec<_>) = files
        .iter()
        .filter(|(name, _)| is_of_site(name))
        .partition(|(name, _)| name == CONFIG);
    for (name, octets) in others {
        let path = dir.join(name);
        if let Some(parent) = path.parent() {
            directory(parent)?;
        }
        let _ = fs::remove_file(&path);
        file(&path, octets)?;
        written.push(path);
    }
    rename(&staged.join(STORE), &dir.join(STORE))?;
    written.push(dir.join(STORE));
    sync_directory(dir)?;
    for (name, octets) in config {
        let new = staged.join(name);
        file(&new, octets)?;
        rename(&new, &dir.join(name))?;
        written.push(dir.join(name));
    }
    sync_directory(dir)?;
    let _ = fs::remove_dir_all(staged);
    sync_directory(dir)?;
    Ok(written)
}

/// The configuration in the backup, as it will be in `dir`.
fn config_of(dir: &Path, files: &[SiteFile]) -> Option<Config> {
    let (_, octets) = files.iter().find(|(name, _)| name == CONFIG)?;
    let text = String::from_utf8(octets.clone()).ok()?;
    let source = Source::new(CONFIG.to_owned(), text);
    let loaded = Config::load(Some(&source), environment().ok()?, dir);
    loaded.ok().map(|(config, _)| config)
}

/// Refuses a configuration that keeps its store elsewhere: there may be one that is in use.
fn has_place(dir: &Path, config: &Config) -> Result<(), RestoreError> {
    let store = &config.store.dir;
    if *store == dir.join(STORE) {
        return Ok(());
    }
    Err(conflict(
        format!(
            "the configuration in the backup keeps the store outside {}: in {}",
            dir.display(),
            store.display()
        ),
        "set ONCEGATE__STORE__DIR to a directory inside, or put oncegate.toml there first: then only the store is \
         restored, in its place",
    ))
}

/// Whether a restore makes a directory of this name.
fn is_part(name: &OsStr) -> bool {
    name == STORE || name == POLICIES || name == TEMPLATES
}

/// Takes away what an interrupted restore put in its place.
fn clear(dir: &Path) -> Result<(), StartError> {
    for entry in fs::read_dir(dir).map_err(|error| unwritable(dir, &error))? {
        let entry = entry.map_err(|error| unwritable(dir, &error))?;
        if is_part(&entry.file_name()) {
            let path = entry.path();
            fs::remove_dir_all(&path).map_err(|error| unwritable(&path, &error))?;
        }
    }
    Ok(())
}

/// An empty directory, whatever an interrupted restore left there.
fn begin(staged: &Path) -> Result<(), StartError> {
    if staged.exists() {
        fs::remove_dir_all(staged).map_err(|error| unwritable(staged, &error))?;
    }
    directory(staged).map(drop)
}

fn conflict(what: String, remedy: &str) -> RestoreError {
    RestoreError::Start(StartError::Conflict {
        what,
        remedy: remedy.to_owned(),
    })
}

const KEY: &str = "master.key";
const STAGED: &str = "restore.unfinished";
const STORE: &str = "store";
/// In [`STAGED`]: parts are being put in their place.
const PLACING: &str = "placing";
/// Octets of a segment of the journal, until the configuration says something else.
const SEGMENT: u64 = 64 << 20;
