//! The master key: found, exchanged, and an exchange that was interrupted.
//!
//! ```text
//! PATH.new is written -> the data key is sealed by it, in one commit -> PATH becomes PATH.before-TIME -> PATH.new becomes PATH
//! ```
//!
//! Interrupted before the commit, PATH opens the store and PATH.new is left over. Interrupted after it, PATH.new opens the
//! store, and the next start moves it to its place.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{MasterKey, Pkcs11Key};
#[cfg(feature = "hsm")]
use crate::daemon::hsm;
use crate::daemon::install::{master_key, new_key, rename, sync_directory, unwritable};
use crate::daemon::{Site, StartError, cannot_open, failed, open_store};
use crate::secret::{Key256, SystemEntropy, random};
use crate::server::http::{App, MasterReader, RotateError, Rotator};
use crate::store::{By, Change, Store, StoreError};
use crate::time::{Clock as _, SystemClock};

/// Opens the store of a site by its master key, or by the new one of an exchange that was interrupted.
pub(super) fn open_with_key(site: &Site) -> Result<Store, StartError> {
    let (dir, keys) = (&site.config.store.dir, &site.config.keys);
    let size = site.config.audit.segment_size;
    let open = |key: Key256| open_store(dir, key, keys.algorithm, size);
    let master = master_key(&keys.master)?;
    let new = match &keys.master {
        MasterKey::File(path) => Some((path, beside(path, "new"))),
        _ => None,
    };
    let store = match (open(master), new) {
        (Err(StoreError::WrongMasterKey), Some((path, new))) if new.exists() => {
            let store = open(master_key(&MasterKey::File(new.clone()))?);
            if store.is_ok() {
                put_in_place(path, &new)?;
                tracing::warn!(path = %path.display(), "an exchange of the master key was interrupted, and is done now");
            }
            store
        }
        (store, _) => store,
    };
    store.map_err(|error| cannot_open(dir, &error))
}

/// The way to exchange the master key of a site while its store is open.
pub fn rotator(site: &Site) -> Rotator {
    let (master, shown) = (
        site.config.keys.master.clone(),
        site.config.keys.master.to_string(),
    );
    Box::new(move |app: Arc<App>| {
        let (master, shown) = (master.clone(), shown.clone());
        Box::pin(async move {
            let MasterKey::File(path) = &master else {
                return Err(RotateError::NotInAFile(shown));
            };
            let done = async {
                let old = master_key(&master)?;
                let new = beside(path, "new");
                let made = exchangeable(path).and_then(|()| write_new(&new));
                let key = made.map_err(|error| elsewhere(&error, path))?;
                let store = app.store();
                let exchanged = store.exchange_master(old, key).await;
                exchanged.map_err(|error| cannot_open(path, &error))?;
                put_in_place(path, &new)
            };
            let former = done.await.map_err(|error: StartError| {
                let (what, next) = error.words();
                RotateError::Failed(what, next)
            })?;
            Ok((path.display().to_string(), former.display().to_string()))
        })
    })
}

/// Refuses a file that is mounted by itself: no other can take its place, and the store would be sealed by the new key when
/// that is found out.
fn exchangeable(path: &Path) -> Result<(), StartError> {
    let trial = beside(path, "trial");
    // Left over by a trial that was interrupted.
    let _ = fs::remove_file(&trial);
    let tried = fs::hard_link(path, &trial).and_then(|()| fs::remove_file(&trial));
    tried.map_err(|error| unwritable(&trial, &error))
}

/// No file can be made beside the key: its directory is mounted for reading, or belongs to someone else.
fn elsewhere(error: &StartError, path: &Path) -> StartError {
    let (what, _) = error.words();
    failed(
        what,
        format!(
            "let the daemon write beside {}; where it is mounted for reading only, stop the daemon, make the new key \
             elsewhere with `oncegate key rotate --to FILE`, put FILE in the place of the former one (exchange the \
             secret), and start the daemon again",
            path.display()
        ),
    )
}

/// The way to read the master key of a site again.
pub fn master_reader(site: &Site) -> MasterReader {
    let place = site.config.keys.master.clone();
    Box::new(move || master_key(&place).map_err(|error| error.to_string()))
}

/// Exchanges the master key of a stopped daemon; the new one is written to a file, and has to be put where
/// `keys.master` looks for it.
pub async fn rotate_to(site: &Site, to: &Path) -> Result<(), StartError> {
    let old = master_key(&site.config.keys.master)?;
    let store = open_with_key(site)?;
    let key = new_at(site, to)?;
    let exchanged = store.exchange_master(old, key).await;
    exchanged.map_err(|error| cannot_open(&site.config.store.dir, &error))?;
    let at = SystemClock.now();
    let request = random(&SystemEntropy).map_err(|error| failed(error.to_string(), "try again"))?;
    let by = By::daemon((crate::model::id::RequestId::new(at, request), at));
    let recorded = store.change(Change::MasterExchanged(to.display().to_string()), by);
    recorded
        .await
        .map_err(|error| cannot_open(&site.config.store.dir, &error))
}

/// The key of an object in a hardware security module, which is made unless it is there, or a new one in a file.
fn new_at(site: &Site, to: &Path) -> Result<Key256, StartError> {
    let Some(object) = to.to_str().and_then(|to| to.strip_prefix("pkcs11:")) else {
        return write_new(to);
    };
    let object = Pkcs11Key::parse(object, &site.dir).ok_or_else(|| {
        failed(
            "--to: this names no key object of a PKCS #11 module",
            "write 'pkcs11:token=LABEL;object=LABEL?module-path=FILE&pin-source=file:FILE'",
        )
    })?;
    #[cfg(feature = "hsm")]
    let key = hsm::make(&object)?;
    #[cfg(not(feature = "hsm"))]
    let key = master_key(&MasterKey::Pkcs11(object))?;
    Ok(key)
}

/// A new key in a file of its own, durably.
fn write_new(path: &Path) -> Result<Key256, StartError> {
    if path.extension().is_some_and(|extension| extension == "new") {
        // Left over by an exchange that was interrupted before it did anything.
        let _ = fs::remove_file(path);
    }
    let key = new_key(path)?;
    sync_directory(parent(path))?;
    Ok(key)
}

/// Moves the new key to its place; the former one stays beside it. Returns its name.
fn put_in_place(path: &Path, new: &Path) -> Result<PathBuf, StartError> {
    let time = SystemClock.now().rfc3339();
    let time: String = time.chars().filter(char::is_ascii_alphanumeric).collect();
    let former = beside(path, &format!("before-{time}"));
    // Both names for a moment: at no time is there no file.
    fs::hard_link(path, &former).map_err(|error| unwritable(&former, &error))?;
    rename(new, path)?;
    sync_directory(parent(path))?;
    Ok(former)
}

fn beside(path: &Path, more: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(more);
    PathBuf::from(name)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
