//! Making an installation, and reading the master key of one.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{fs, io};

use nix::unistd::geteuid;
use zeroize::Zeroizing;

use crate::config::{Config, MasterKey, TEMPLATE};
use crate::daemon::files::POLICIES;
#[cfg(feature = "hsm")]
use crate::daemon::hsm;
use crate::daemon::{PUT_KEY_BACK, StartError, failed};
use crate::policy;
use crate::secret::{Key256, SystemEntropy, random};

/// An installation that is whole, but for what its maker does last.
#[must_use = "what was begun is finished by `finish`"]
pub struct Installation {
    /// What was written, in order; without what an earlier try had put in its place.
    pub files: Vec<PathBuf>,
    /// Whether an earlier try was interrupted after it had made all files.
    pub resumed: bool,
    staged: PathBuf,
    /// Held until the end: two at the same time would remove each other's files.
    _lock: File,
}

impl Installation {
    /// All is done; from now on the installation is left as it is.
    pub fn finish(self) -> Result<(), StartError> {
        fs::remove_dir_all(&self.staged).map_err(|error| unwritable(&self.staged, &error))
    }
}

/// Creates `dir` (0700) with `oncegate.toml`, `master.key` (0600), `store/` and `policies/`.
///
/// ```text
/// all of it is made in DIR/init.unfinished, the configuration last
///   -> each part is moved to its place, the configuration last
///   -> Installation::finish removes DIR/init.unfinished
/// ```
///
/// Interrupted, the next call begins again where nothing was moved, and moves the rest where all was made:
/// outside `init.unfinished` nothing is removed or overwritten. Policies that are there before anything else is,
/// as where a volume holds them, are those of the installation: none is added.
pub fn init(dir: &Path) -> Result<Installation, StartError> {
    let made_dir = directory(dir)?;
    let lock = File::open(dir).map_err(|error| unreadable(dir, &error))?;
    if lock.try_lock().is_err() {
        return Err(StartError::InUse {
            dir: dir.display().to_string(),
        });
    }
    let staged = dir.join(STAGED);
    let begun = is_there(&staged);
    let (staged_config, config) = (staged.join(CONFIG), dir.join(CONFIG));
    let mut files = Vec::new();
    if begun && is_there(&config) && !is_there(&staged_config) {
        return Ok(Installation {
            files,
            resumed: true,
            staged,
            _lock: lock,
        });
    }
    refuse_present(dir, &staged)?;
    if !is_there(&staged_config) {
        if begun {
            fs::remove_dir_all(&staged).map_err(|error| unwritable(&staged, &error))?;
        }
        let own = has_policies(&dir.join(POLICIES));
        make(&staged, key_elsewhere(dir)?, own).inspect_err(|_| {
            // Best effort: the cause is being reported, and all that is there is ours.
            let _ = fs::remove_dir_all(&staged);
            if made_dir {
                let _ = fs::remove_dir(dir);
            }
        })?;
    }
    if made_dir {
        files.push(dir.to_owned());
    }
    place(&staged, dir, &mut files)?;
    Ok(Installation {
        files,
        resumed: begun,
        staged,
        _lock: lock,
    })
}

/// The master key, where the environment says that it is not to be in the installation.
fn key_elsewhere(dir: &Path) -> Result<Option<Key256>, StartError> {
    let (config, _) =
        Config::load(None, super::environment()?, dir).map_err(StartError::Findings)?;
    match &config.keys.master {
        MasterKey::File(path) if *path == dir.join("master.key") => Ok(None),
        elsewhere => master_key(elsewhere).map(Some),
    }
}

/// Makes all parts in `staged`; a master key unless there is one, policies unless the site has its own.
fn make(staged: &Path, elsewhere: Option<Key256>, own_policies: bool) -> Result<(), StartError> {
    directory(staged)?;
    let key = match elsewhere {
        Some(key) => key,
        None => new_key(&staged.join("master.key"))?,
    };
    if !own_policies {
        let policies = staged.join(POLICIES);
        directory(&policies)?;
        for (name, text) in shipped() {
            file(&policies.join(name), text.as_bytes())?;
        }
        sync_directory(&policies)?;
    }
    let store = staged.join("store");
    directory(&store)?;
    super::create_store(&store, key)?;
    let half = staged.join("oncegate.toml.new");
    file(&half, TEMPLATE.as_bytes())?;
    sync_directory(staged)?;
    // From here on all of it is made.
    rename(&half, &staged.join(CONFIG))?;
    sync_directory(staged)
}

/// A new master key, and the file with it.
pub(super) fn new_key(path: &Path) -> Result<Key256, StartError> {
    let key: [u8; 32] = random(&SystemEntropy).map_err(|error| {
        failed(
            error.to_string(),
            "try again; a system without random numbers cannot hold keys",
        )
    })?;
    let key = Zeroizing::new(key);
    file(path, encode_key(&key).as_bytes())?;
    Ok(Key256::new(*key))
}

/// Moves the parts that are not in their place yet, and notes which.
fn place(staged: &Path, dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), StartError> {
    if is_there(&staged.join("master.key")) {
        put(staged, dir, "master.key", files)?;
    }
    if is_there(&staged.join(POLICIES)) {
        let policies = dir.join(POLICIES);
        if directory(&policies)? {
            files.push(policies.clone());
        }
        for (name, _) in shipped() {
            put(&staged.join(POLICIES), &policies, &name, files)?;
        }
        sync_directory(&policies)?;
    }
    put(staged, dir, "store", files)?;
    sync_directory(dir)?;
    // Last: a directory with a configuration is a whole installation.
    put(staged, dir, CONFIG, files)?;
    sync_directory(dir)
}

fn put(from: &Path, to: &Path, name: &str, files: &mut Vec<PathBuf>) -> Result<(), StartError> {
    let (from, to) = (from.join(name), to.join(name));
    if !is_there(&from) && is_there(&to) {
        return Ok(());
    }
    match fs::rename(&from, &to) {
        // Policies may lie on another file system.
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices && from.is_file() => {
            let octets = fs::read(&from).map_err(|error| unreadable(&from, &error))?;
            let half = to.with_extension("new");
            let _ = fs::remove_file(&half);
            file(&half, &octets)?;
            rename(&half, &to)?;
            fs::remove_file(&from).map_err(|error| unwritable(&from, &error))?;
        }
        done => done.map_err(|error| unwritable(&to, &error))?,
    }
    files.push(to);
    Ok(())
}

/// What is there already may be in use: no octet of it is changed. What was moved from `staged` is not
/// there any more.
fn refuse_present(dir: &Path, staged: &Path) -> Result<(), StartError> {
    let whole = is_there(&staged.join(CONFIG));
    let policies = shipped().map(|(name, _)| format!("{POLICIES}/{name}"));
    let policies = policies.filter(|_| whole);
    let parts = [CONFIG, "master.key", "store"].map(str::to_owned);
    for part in parts.into_iter().chain(policies) {
        let path = dir.join(&part);
        let moved = whole && !is_there(&staged.join(&part));
        // The same policy again: interrupted between two file systems.
        let same = || fs::read(&path).ok() == fs::read(staged.join(&part)).ok();
        if is_there(&path) && !moved && !(whole && part.starts_with(POLICIES) && same()) {
            let remedy = if whole {
                format!(
                    "an `init` was interrupted, and this is not of it: move one of them away, {} or {}",
                    path.display(),
                    staged.display()
                )
            } else {
                "nothing was changed; use it as it is, or choose another directory with --dir"
                    .to_owned()
            };
            return Err(StartError::Conflict {
                what: format!(
                    "{} exists: an installation is there already",
                    path.display()
                ),
                remedy,
            });
        }
    }
    Ok(())
}

/// The policies that come with the program: file name and text.
fn shipped() -> impl Iterator<Item = (String, String)> {
    policy::shipped().into_iter().map(|source| {
        let name = Path::new(source.name()).file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        (name, source.text().to_owned())
    })
}

/// Whether a directory holds policies.
fn has_policies(dir: &Path) -> bool {
    let is_policy = |entry: io::Result<fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.path().extension().is_some_and(|end| end == "toml"))
    };
    fs::read_dir(dir).is_ok_and(|mut entries| entries.any(is_policy))
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Where an installation is made before its parts are moved to their places.
const STAGED: &str = "init.unfinished";
const CONFIG: &str = "oncegate.toml";

/// Reads the master key from where the configuration says it is.
pub(crate) fn master_key(place: &MasterKey) -> Result<Key256, StartError> {
    let (text, shown) = match place {
        MasterKey::File(path) => (read_key_file(path)?, path.display().to_string()),
        MasterKey::Env(name) => {
            let text = std::env::var(name).map_err(|_| {
                failed(
                    format!("the environment variable {name} does not hold the master key"),
                    "set it to the 64 hexadecimal digits of the key that is in use",
                )
            })?;
            (Zeroizing::new(text), format!("environment variable {name}"))
        }
        MasterKey::Credential(name) => {
            let dir = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                failed(
                    "there is no CREDENTIALS_DIRECTORY: systemd passed no credentials",
                    format!(
                        "for the daemon: LoadCredentialEncrypted={name}:FILE in its unit; for this command: \
                         systemd-run --pipe --uid=oncegate -p LoadCredentialEncrypted={name}:FILE oncegate .."
                    ),
                )
            })?;
            let path = Path::new(&dir).join(name);
            let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
            (Zeroizing::new(text), path.display().to_string())
        }
        #[cfg(feature = "hsm")]
        MasterKey::Pkcs11(key) => return hsm::read(key),
        #[cfg(not(feature = "hsm"))]
        MasterKey::Pkcs11(_) => return Err(failed(NO_HSM, "use a build with the feature `hsm`")),
    };
    decode_key(text.trim()).ok_or_else(|| {
        failed(
            format!("{shown} is not a master key: it must have 64 hexadecimal digits"),
            PUT_KEY_BACK,
        )
    })
}

#[cfg(not(feature = "hsm"))]
const NO_HSM: &str = "this program was built without PKCS #11";

fn read_key_file(path: &Path) -> Result<Zeroizing<String>, StartError> {
    let metadata = fs::metadata(path).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            failed(
                format!("the master key {} is missing", path.display()),
                PUT_KEY_BACK,
            )
        } else {
            unreadable(path, &error)
        }
    })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(failed(
            format!(
                "the master key {} has mode {mode:04o}: others can read it",
                path.display()
            ),
            format!("chmod 600 {}", path.display()),
        ));
    }
    let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    Ok(Zeroizing::new(text))
}

fn encode_key(key: &[u8; 32]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(65));
    for octet in key {
        for nibble in [octet >> 4, octet & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    text.push('\n');
    text
}

/// Writes a key into a new file that only its owner reads, durably.
pub fn write_key(path: &Path, key: &Key256) -> Result<(), StartError> {
    file(path, encode_key(key.expose()).as_bytes())?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent),
        _ => sync_directory(Path::new(".")),
    }
}

fn decode_key(text: &str) -> Option<Key256> {
    if text.len() != 64 || !text.bytes().all(|octet| octet.is_ascii_hexdigit()) {
        return None;
    }
    let mut key = Zeroizing::new([0; 32]);
    for (octet, place) in key.iter_mut().zip((0..64).step_by(2)) {
        *octet = u8::from_str_radix(text.get(place..place + 2)?, 16).ok()?;
    }
    Some(Key256::new(*key))
}

/// Makes a private directory, or a private one of what is there; whether it is new.
pub(super) fn directory(path: &Path) -> Result<bool, StartError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {
            let mode = fs::metadata(path)
                .map_err(|error| unwritable(path, &error))?
                .mode();
            if mode & 0o077 != 0 {
                let private = fs::Permissions::from_mode(0o700);
                fs::set_permissions(path, private).map_err(|error| unwritable(path, &error))?;
            }
            Ok(false)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(failed(
            format!(
                "{} cannot be made: its parent directory does not exist",
                path.display()
            ),
            "make the parent directory first",
        )),
        Err(error) => Err(unwritable(path, &error)),
    }
}

pub(crate) fn file(path: &Path, content: &[u8]) -> Result<(), StartError> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let mut file = file.map_err(|error| unwritable(path, &error))?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    written.map_err(|error| unwritable(path, &error))
}

pub(super) fn rename(from: &Path, to: &Path) -> Result<(), StartError> {
    fs::rename(from, to).map_err(|error| unwritable(to, &error))
}

pub(super) fn sync_directory(path: &Path) -> Result<(), StartError> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(|error| unwritable(path, &error))
}

pub(super) fn unwritable(path: &Path, error: &io::Error) -> StartError {
    let remedy = match error.kind() {
        io::ErrorKind::StorageFull => "free some space on the disk",
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only; name another place",
        io::ErrorKind::PermissionDenied => {
            "run as the user who owns the directory, or name another place"
        }
        io::ErrorKind::NotFound => "make its directory first, or name another place",
        io::ErrorKind::AlreadyExists => {
            "nothing is overwritten; move it away, or name another place"
        }
        _ => "see the cause, then repeat the command: what was begun is gone on with",
    };
    failed(
        format!("{} cannot be written: {error}", path.display()),
        remedy,
    )
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> StartError {
    let ours = geteuid().as_raw();
    // What stands in a directory that may not be entered belongs to the owner of that.
    let known = |place: &Path| Some((place.to_owned(), fs::symlink_metadata(place).ok()?.uid()));
    let remedy = match (error.kind(), path.ancestors().find_map(known)) {
        (io::ErrorKind::PermissionDenied, Some((place, uid))) if uid != ours => format!(
            "{} belongs to uid {uid}, and this runs as uid {ours}: run as its owner, or give it to who runs the daemon \
             (chown)",
            place.display()
        ),
        (io::ErrorKind::PermissionDenied, _) => "let the user who runs this read it".to_owned(),
        _ => "see the cause; a damaged file is put back from a backup".to_owned(),
    };
    failed(
        format!("{} cannot be read: {error}", path.display()),
        remedy,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a file in a directory that may not be entered nothing is known but whose the directory is.
    #[test]
    fn what_stands_in_a_closed_directory_is_read_as_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let foreign = if geteuid().is_root() {
            if std::os::unix::fs::chown(dir.path(), Some(12_345), None).is_err() {
                return;
            }
            dir.path()
        } else {
            Path::new("/")
        };
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = unreadable(&foreign.join("closed/oncegate.toml"), &denied);
        let StartError::Failed { remedy, .. } = &error else {
            panic!("{error}");
        };
        assert!(remedy.contains("run as its owner"), "{remedy}");
    }

    #[test]
    fn a_key_survives_its_file() {
        let text = encode_key(&[0xa5; 32]);
        assert_eq!(decode_key(text.trim()).unwrap().expose(), &[0xa5; 32]);
        assert!(decode_key("a5").is_none());
        assert!(decode_key(&"g".repeat(64)).is_none());
        assert!(decode_key(&"\u{e4}".repeat(32)).is_none());
    }
}
