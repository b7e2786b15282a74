//! Making an installation, and reading the master key of one.

use std::fs;
use std::fs::DirBuilder;
use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::config::MasterKey;
use crate::config::TEMPLATE;
use crate::daemon::StartError;
use crate::daemon::failed;
use crate::policy;
use crate::secret::Key256;
use crate::secret::SystemEntropy;
use crate::secret::random;

/// Creates `dir` (0700) with `oncegate.toml`, `master.key` (0600), `store/` and `policies/`;
/// returns what was written, in order. On a failure everything it made is removed again.
pub fn init(dir: &Path) -> Result<Vec<PathBuf>, StartError> {
    for name in ["oncegate.toml", "master.key", "store"] {
        let path = dir.join(name);
        if path.symlink_metadata().is_ok() {
            return Err(StartError::Conflict {
                what: format!(
                    "{} exists: {} is an installation already",
                    path.display(),
                    dir.display()
                ),
                remedy: "nothing was changed; use it, or choose another directory with --dir"
                    .to_owned(),
            });
        }
    }
    let mut made = Made::default();
    made.directory(dir)?;
    let key: [u8; 32] = random(&SystemEntropy).map_err(|error| {
        failed(
            error.to_string(),
            "try again; a system without random numbers cannot hold keys",
        )
    })?;
    let key = Zeroizing::new(key);
    made.file(&dir.join("master.key"), encode_key(&key).as_bytes())?;
    let policies = dir.join("policies");
    made.directory(&policies)?;
    for source in policy::shipped() {
        let name = Path::new(source.name()).file_name().unwrap_or_default();
        made.file(&policies.join(name), source.text().as_bytes())?;
    }
    let store = dir.join("store");
    made.directory(&store)?;
    super::create_store(&store, Key256::new(*key))?;
    // Written last: a directory with a configuration is a whole installation.
    made.file(&dir.join("oncegate.toml"), TEMPLATE.as_bytes())?;
    sync_directory(dir)?;
    Ok(made.finish())
}

/// Reads the master key from where the configuration says it is.
pub(crate) fn master_key(place: &MasterKey) -> Result<Key256, StartError> {
    let (text, shown) = match place {
        MasterKey::File(path) => (read_key_file(path)?, path.display().to_string()),
        MasterKey::Env(name) => {
            let text = std::env::var(name).map_err(|_| {
                failed(
                    format!("the environment variable {name} does not hold the master key"),
                    "set it to the 64 hexadecimal digits of master.key",
                )
            })?;
            (Zeroizing::new(text), format!("environment variable {name}"))
        }
        MasterKey::Credential(name) => {
            let dir = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                failed(
                    "there is no CREDENTIALS_DIRECTORY: systemd passed no credentials",
                    format!("add LoadCredentialEncrypted={name}:... to the unit"),
                )
            })?;
            let path = Path::new(&dir).join(name);
            let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
            (Zeroizing::new(text), path.display().to_string())
        }
    };
    decode_key(text.trim()).ok_or_else(|| {
        failed(
            format!("{shown} is not a master key: it must have 64 hexadecimal digits"),
            "put back the file that `oncegate init` wrote",
        )
    })
}

fn read_key_file(path: &Path) -> Result<Zeroizing<String>, StartError> {
    let metadata = fs::metadata(path).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            failed(
                format!("the master key {} is missing", path.display()),
                "put back the file that `oncegate init` wrote; without it nothing in the store opens",
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

/// What was made so far; removed again unless it becomes a whole.
#[derive(Default)]
struct Made {
    paths: Vec<PathBuf>,
    directories: Vec<PathBuf>,
    whole: bool,
}

impl Made {
    fn directory(&mut self, path: &Path) -> Result<(), StartError> {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {
                self.directories.push(path.to_owned());
                self.paths.push(path.to_owned());
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {
                let mode = fs::metadata(path)
                    .map_err(|error| unwritable(path, &error))?
                    .mode();
                if mode & 0o077 == 0 {
                    return Ok(());
                }
                let private = fs::Permissions::from_mode(0o700);
                fs::set_permissions(path, private).map_err(|error| unwritable(path, &error))
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

    fn file(&mut self, path: &Path, content: &[u8]) -> Result<(), StartError> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        let mut file = file.map_err(|error| unwritable(path, &error))?;
        self.paths.push(path.to_owned());
        let written = file.write_all(content).and_then(|()| file.sync_all());
        written.map_err(|error| unwritable(path, &error))
    }

    fn finish(mut self) -> Vec<PathBuf> {
        self.whole = true;
        std::mem::take(&mut self.paths)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if self.whole {
            return;
        }
        // Best effort: the cause is being reported, and what stays behind is empty or ours.
        for path in self.paths.iter().rev() {
            if self.directories.contains(path) && path.ends_with("store") {
                let _ = fs::remove_dir_all(path);
            } else if self.directories.contains(path) {
                let _ = fs::remove_dir(path);
            } else {
                let _ = fs::remove_file(path);
            }
        }
    }
}

fn sync_directory(path: &Path) -> Result<(), StartError> {
    let synced = fs::File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &io::Error) -> StartError {
    let remedy = match error.kind() {
        io::ErrorKind::StorageFull => "free some space on the disk",
        io::ErrorKind::ReadOnlyFilesystem => {
            "the file system is read-only; choose another directory with --dir"
        }
        io::ErrorKind::PermissionDenied => {
            "run as the user who owns the directory, or choose another with --dir"
        }
        _ => "see the cause; nothing was changed",
    };
    failed(
        format!("{} cannot be written: {error}", path.display()),
        remedy,
    )
}

fn unreadable(path: &Path, error: &io::Error) -> StartError {
    failed(
        format!("{} cannot be read: {error}", path.display()),
        "run as the user who owns the installation",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_file() {
        let text = encode_key(&[0xa5; 32]);
        assert_eq!(decode_key(text.trim()).unwrap().expose(), &[0xa5; 32]);
        assert!(decode_key("a5").is_none());
        assert!(decode_key(&"g".repeat(64)).is_none());
        assert!(decode_key(&"\u{e4}".repeat(32)).is_none());
    }
}
