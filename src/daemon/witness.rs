//! What is known of the store in files outside it ([`crate::store::witness`]).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::daemon::keys::open_with_key;
use crate::daemon::{Site, StartError, cannot_open, install, parts};
use crate::store::Store;
use crate::store::witness::{Mismatch, accept_older};

/// Refuses a store that is older than what is known of it.
pub(super) fn check(site: &Site, store: &Store) -> Result<(), StartError> {
    match mismatch(site, store)? {
        None => Ok(()),
        Some((path, Mismatch::NotOurs)) => Err(StartError::Conflict {
            what: format!("{} is about another store, or was changed", path.display()),
            remedy: format!(
                "if the store in {} is the right one, remove that file; `store.witness` names it",
                site.config.store.dir.display()
            ),
        }),
        Some((path, Mismatch::Older(what))) => Err(StartError::Conflict {
            what: format!(
                "the store in {} was put back: by {} {what}; codes used since could be used again",
                site.config.store.dir.display(),
                path.display()
            ),
            remedy: "put the newer store back, or go on with this one: `oncegate serve --accept-rollback` refuses \
                     every code that may have been used"
                .to_owned(),
        }),
    }
}

fn mismatch<'s>(site: &'s Site, store: &Store) -> Result<Option<(&'s Path, Mismatch)>, StartError> {
    if store.broken().is_some() {
        // Records that it has lost are no sign that it was put back. It decides nothing until it is repaired, and a
        // repair closes what may have been used, and begins a new epoch.
        return Ok(None);
    }
    for path in &site.config.store.witness {
        let Some(text) = read(path) else { continue };
        let compared = store.compare(&text);
        let compared = compared.map_err(|error| cannot_open(&site.config.store.dir, &error))?;
        if let Some(mismatch) = compared {
            return Ok(Some((path, mismatch)));
        }
    }
    Ok(None)
}

/// Goes on with a store that was put back, if it was: closes every code that may have been used. Returns the
/// tokens that were closed; `None` where the store is not older than what is known of it.
pub fn accept_rollback(site: &Site) -> Result<Option<Vec<String>>, StartError> {
    let dir = &site.config.store.dir;
    let keys = &site.config.keys;
    let size = site.config.audit.segment_size;
    let store = open_with_key(site)?;
    let Some((path, Mismatch::Older(what))) = mismatch(site, &store)? else {
        return Ok(None);
    };
    drop(store);
    let master = install::master_key(&keys.master)?;
    let why = format!("accepted although by {} {what}", path.display());
    let accepted = accept_older(
        parts(dir, master, keys.algorithm, size),
        &statements(&site.config.store.witness),
        &why,
    );
    let (closed, epoch) = accepted.map_err(|error| cannot_open(dir, &error))?;
    tracing::warn!(epoch, tokens = closed.len(), "an older store was accepted");
    Ok(Some(closed))
}

/// The statements that there are.
pub(super) fn statements(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().filter_map(|path| read(path)).collect()
}

/// The statement in a file; `None` where there is none. One that cannot be read is said, and keeps no one out:
/// a disk that is away must not stop logins.
fn read(path: &Path) -> Option<String> {
    match fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        // There, and no text: it was changed.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Some(String::new()),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "store.witness cannot be read");
            None
        }
    }
}

/// Writes the statement of `store` to every file; what cannot be written does not keep the others.
///
/// A statement about a newer state, or of another store, stays: where two installations name one file, the later one
/// must be able to keep the other from starting.
pub(super) fn write(site: &Site, store: &Store, text: &str) -> Result<(), String> {
    let mut failed = None;
    for path in &site.config.store.witness {
        let there = read(path).map(|there| store.compare(&there)).transpose();
        let there = there.map_err(|error| error.to_string())?.flatten();
        if let Some(mismatch) = there {
            let why = match mismatch {
                Mismatch::NotOurs => "is about another store, or was changed".to_owned(),
                Mismatch::Older(what) => format!("knows of a newer state of this store: {what}"),
            };
            failed = Some(format!("{} {why}; it is left as it is", path.display()));
        } else if let Err(error) = put(path, text) {
            failed = Some(format!("{} cannot be written: {error}", path.display()));
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Exchanges a small file as a whole, durably.
pub(super) fn put(path: &Path, text: &str) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}
