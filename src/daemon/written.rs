//! The files that the daemon writes beside its store: audit records, signed heads, statements of the store.
//!
//! A directory that is away keeps no one from logging in, and no daemon from starting: what is found here is a warning,
//! of `config check` and of `doctor`, before it is a failure of a job.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::unistd::{Uid, User};

use crate::config::keys;
use crate::daemon::Site;
use crate::diagnostic::Diagnostic;

/// Each of them that cannot be written for want of its directory.
pub fn unwritable_files(site: &Site) -> Vec<Diagnostic> {
    let (audit, store) = (&site.config.audit, &site.config.store);
    let ship = audit.ship.file.as_deref();
    let named = [
        (keys::AUDIT_SHIP_FILE, ship),
        (keys::AUDIT_HEADS, audit.heads.as_deref()),
    ];
    let witness = store
        .witness
        .iter()
        .map(|path| (keys::STORE_WITNESS, path.as_path()));
    let named = named
        .into_iter()
        .filter_map(|(key, path)| Some((key, path?)));
    let found = named.chain(witness).filter_map(|(key, path)| {
        let (why, help) = judge(site, path)?;
        Some(Diagnostic::warning(format!("`{}`: {why}", key.path)).help(help))
    });
    found.collect()
}

/// Why a file cannot be written, and what to do. What may not be looked at is not known.
fn judge(site: &Site, path: &Path) -> Option<(String, String)> {
    let (shown, parent) = (path.display(), path.parent());
    if fs::metadata(path).is_ok_and(|about| about.is_dir()) {
        let why = format!("{shown} is a directory");
        return Some((why, "name a file in it".to_owned()));
    }
    let dir = parent.filter(|dir| !dir.as_os_str().is_empty())?;
    let at = dir.display();
    match fs::metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let why = format!("{shown} cannot be written: there is no directory {at}");
            Some((why, make_directory(&site.dir, dir)))
        }
        Ok(about) if !about.is_dir() => {
            let why = format!("{shown} cannot be written: {at} is no directory");
            Some((why, "name a file in a directory".to_owned()))
        }
        _ => None,
    }
}

/// The command that makes a directory for the daemon of an installation: for the user whom the installation belongs to.
pub fn make_directory(site: &Path, dir: &Path) -> String {
    format!("install -d -o {} -m 0750 {}", owner(site), dir.display())
}

/// The name of the user whom an installation belongs to.
pub fn owner(site: &Path) -> String {
    let uid = fs::metadata(site).ok().map(|about| about.uid());
    let user = uid.and_then(|uid| User::from_uid(Uid::from_raw(uid)).ok().flatten());
    user.map_or_else(|| "oncegate".to_owned(), |user| user.name)
}
