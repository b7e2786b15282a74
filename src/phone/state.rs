//! What a device keeps: one JSON file with its key, readable by its owner only.
//!
//! Invariants: the file is never overwritten by another enrolment unless `--force` says so, and is
//! replaced whole, or not at all. A file that others may read is refused, like a key of ssh.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::cli::error::{CliError, Exit};
use crate::secret::SecretString;
use crate::signature::key::SigningKey;

/// An enrolled device.
pub(super) struct State {
    /// Where it was enrolled: `https://HOST[:PORT]`.
    pub(super) server: String,
    /// The authority that vouches for the server, if not one of the system's.
    pub(super) ca_file: Option<PathBuf>,
    /// Its user.
    pub(super) user: String,
    /// Its id.
    pub(super) device: String,
    /// What the user calls it.
    pub(super) name: String,
    /// The token that makes its codes.
    pub(super) serial: String,
    /// Its key.
    pub(super) key: SigningKey,
}

/// The file's form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    version: u8,
    server: String,
    ca_file: Option<PathBuf>,
    user: String,
    device: String,
    name: String,
    serial: String,
    private_key: SecretString,
}

/// The same, borrowed.
#[derive(Serialize)]
struct Written<'a> {
    version: u8,
    server: &'a str,
    ca_file: Option<&'a Path>,
    user: &'a str,
    device: &'a str,
    name: &'a str,
    serial: &'a str,
    /// PKCS#8 in PEM.
    private_key: &'a str,
}

impl State {
    /// Reads the file of an enrolled device.
    pub(super) fn load(path: &Path) -> Result<Self, CliError> {
        let shown = path.display();
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(CliError::new(
                    Exit::NotFound,
                    format!("{shown}: no device is enrolled here"),
                )
                .remedy("enrol it with `oncegate device enroll`, or name its file: --state FILE"));
            }
            Err(error) => return Err(CliError::usage(format!("--state {shown}: {error}"))),
        };
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(CliError::usage(format!(
                "{shown}: others may read or change the device's key"
            ))
            .remedy(format!(
                "chmod 600 {shown}; if another user had access: `oncegate device revoke`"
            )));
        }
        let damaged = |why: &str| {
            CliError::usage(format!("{shown}: {why}"))
                .remedy("put back a copy of the file, or enrol the device again (--force)")
        };
        let text = fs::read_to_string(path).map_err(|error| damaged(&error.to_string()))?;
        let text = Zeroizing::new(text);
        if text.is_empty() {
            return Err(damaged("the enrolment was not finished"));
        }
        let read: Read =
            serde_json::from_str(&text).map_err(|_| damaged("not the file of a device"))?;
        if read.version != VERSION {
            return Err(damaged("the file of another version of oncegate"));
        }
        let key = SigningKey::parse_pem(&read.private_key);
        Ok(Self {
            key: key.map_err(|error| damaged(&error.to_string()))?,
            server: read.server,
            ca_file: read.ca_file,
            user: read.user,
            device: read.device,
            name: read.name,
            serial: read.serial,
        })
    }

    /// Replaces the file.
    pub(super) fn save(&self, path: &Path) -> Result<(), CliError> {
        let pem = self
            .key
            .pem()
            .map_err(|error| CliError::usage(error.to_string()))?;
        let written = Written {
            version: VERSION,
            server: &self.server,
            ca_file: self.ca_file.as_deref(),
            user: &self.user,
            device: &self.device,
            name: &self.name,
            serial: &self.serial,
            private_key: pem.expose(),
        };
        // Allocated once: a vector that grows leaves copies of the key behind.
        let mut text = Zeroizing::new(Vec::with_capacity(8192));
        let failed = |error: io::Error| cannot_write(path, &error);
        serde_json::to_writer_pretty(&mut *text, &written).map_err(|e| failed(e.into()))?;
        text.push(b'\n');
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        let _ = fs::remove_file(&beside);
        let replaced = create(&beside).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&beside, path)
        });
        replaced.map_err(|error| {
            let _ = fs::remove_file(&beside);
            failed(error)
        })
    }
}

/// The place of a new device's file, taken before anything is asked for; given back when dropped
/// without [`Place::fill`].
pub(super) struct Place<'a> {
    path: &'a Path,
    /// Whether the file there is ours.
    made: bool,
}

impl<'a> Place<'a> {
    /// Takes the place; with `force` also one where a device is.
    pub(super) fn take(path: &'a Path, force: bool) -> Result<Self, CliError> {
        match create(path) {
            Ok(_) => Ok(Self { path, made: true }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && force => {
                Ok(Self { path, made: false })
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(CliError::new(
                Exit::Conflict,
                format!("{} exists: a device is enrolled there", path.display()),
            )
            .remedy("use it, name another file with --state FILE, or replace it with --force")),
            Err(error) => Err(cannot_write(path, &error)),
        }
    }

    /// Writes the device there.
    pub(super) fn fill(mut self, state: &State) -> Result<(), CliError> {
        state.save(self.path)?;
        self.made = false;
        Ok(())
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.made {
            let _ = fs::remove_file(self.path);
        }
    }
}

fn create(path: &Path) -> io::Result<fs::File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}

fn cannot_write(path: &Path, error: &io::Error) -> CliError {
    CliError::unavailable(format!("cannot write {}: {error}", path.display()))
        .remedy("name a file that can be written: --state FILE")
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Key256;
    use crate::signature::key::KeyAlgorithm;

    fn state() -> State {
        let random = Key256::new([7; 32]);
        State {
            server: "https://otp.example.com".to_owned(),
            ca_file: Some(PathBuf::from("/ca.pem")),
            user: "alice@default".to_owned(),
            device: "DEVICE-7F3K9Q2M".to_owned(),
            name: "desk".to_owned(),
            serial: "SERVER-7F3K9Q2M".to_owned(),
            key: SigningKey::from_random(KeyAlgorithm::EcdsaP256, &random).unwrap(),
        }
    }

    #[test]
    fn what_was_saved_is_loaded_and_is_the_owners() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("device.json");
        Place::take(&path, false).unwrap().fill(&state()).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let read = State::load(&path).unwrap();
        assert_eq!(read.key.public(), state().key.public());
        assert_eq!(
            (read.device, read.ca_file),
            (state().device, state().ca_file)
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(State::load(&path).err().map(|e| e.exit), Some(Exit::Usage));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_second_enrolment_changes_nothing_without_force() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("device.json");
        drop(Place::take(&path, false).unwrap());
        assert!(!path.exists(), "a place that is given back is free");
        Place::take(&path, false).unwrap().fill(&state()).unwrap();
        let before = fs::read(&path).unwrap();
        let second = Place::take(&path, false).err().map(|error| error.exit);
        assert_eq!(second, Some(Exit::Conflict));
        drop(Place::take(&path, true).unwrap());
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn what_is_no_device_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("device.json");
        assert_eq!(
            State::load(&path).err().map(|e| e.exit),
            Some(Exit::NotFound)
        );
        for text in ["", "{}", "{\"version\":1}"] {
            let _ = fs::remove_file(&path);
            create(&path).unwrap().write_all(text.as_bytes()).unwrap();
            assert_eq!(State::load(&path).err().map(|e| e.exit), Some(Exit::Usage));
        }
    }
}
