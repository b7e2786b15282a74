//! The master key from a hardware security module (PKCS #11 v2.40).
//!
//! ```text
//! key object in the token (generic secret, 256 bits, never leaves it)
//!   `- CKM_SHA256_HMAC over "oncegate master key v1"  =  the master key
//! ```
//!
//! The module is asked once, at the start; the key object signs and cannot be read. Without the module nothing in the
//! store opens. The session is closed as soon as the key is there.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use crate::config::Pkcs11Key;
use crate::daemon::{StartError, failed};
use crate::secret::Key256;

/// Reads the master key of an object that is there.
pub(super) fn read(place: &Pkcs11Key) -> Result<Key256, StartError> {
    with_session(place, false, |session| {
        let key = find(session, place)?.ok_or_else(|| {
            failed(
                format!("the token {} has no key object called {}", place.token, place.object),
                "correct `object=` in keys.master; a new one is made by `oncegate key rotate --to 'pkcs11:..'`",
            )
        })?;
        derive(session, key)
    })
}

/// Makes a key object unless it is there, and reads the master key of it.
pub(super) fn make(place: &Pkcs11Key) -> Result<Key256, StartError> {
    with_session(place, true, |session| {
        let key = match find(session, place)? {
            Some(key) => key,
            None => session
                .generate_key(
                    &Mechanism::GenericSecretKeyGen,
                    &[
                        Attribute::Class(ObjectClass::SECRET_KEY),
                        Attribute::KeyType(KeyType::GENERIC_SECRET),
                        Attribute::ValueLen(32.into()),
                        Attribute::Label(place.object.clone().into_bytes()),
                        Attribute::Token(true),
                        Attribute::Private(true),
                        Attribute::Sensitive(true),
                        Attribute::Extractable(false),
                        Attribute::Sign(true),
                    ],
                )
                .map_err(|error| refused("a key object cannot be made", &error))?,
        };
        derive(session, key)
    })
}

fn with_session<T>(
    place: &Pkcs11Key,
    writes: bool,
    work: impl FnOnce(&Session) -> Result<T, StartError>,
) -> Result<T, StartError> {
    let module = place.module.display();
    let library = Pkcs11::new(&place.module).map_err(|error| {
        failed(
            format!("the PKCS #11 module {module} cannot be loaded: {error}"),
            "correct `module-path=` in keys.master, or install it",
        )
    })?;
    let flags = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
    match library.initialize(flags) {
        // Read a second time in one process, to exchange a key.
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(refused("the module cannot be used", &error)),
    }
    let slots = library.get_slots_with_initialized_token();
    let slots = slots.map_err(|error| refused("its slots cannot be listed", &error))?;
    let is_ours = |slot: &cryptoki::slot::Slot| {
        let token = library.get_token_info(*slot);
        token.is_ok_and(|token| token.label().trim_end() == place.token)
    };
    let slot = slots.into_iter().find(is_ours).ok_or_else(|| {
        failed(
            format!("the module {module} has no token called {}", place.token),
            "correct `token=` in keys.master, or see that the token is plugged in",
        )
    })?;
    let session = if writes {
        library.open_rw_session(slot)
    } else {
        library.open_ro_session(slot)
    };
    let session = session.map_err(|error| refused("no session", &error))?;
    let pin = pin(place)?;
    match session.login(UserType::User, Some(&pin)) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
        Err(error) => return Err(refused("the token does not take the PIN", &error)),
    }
    let done = work(&session);
    let _ = session.logout();
    done
}

/// The key objects of this name: one.
fn find(session: &Session, place: &Pkcs11Key) -> Result<Option<ObjectHandle>, StartError> {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::Label(place.object.clone().into_bytes()),
    ];
    let found = session.find_objects(&template);
    let found = found.map_err(|error| refused("its objects cannot be listed", &error))?;
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(*one)),
        more => Err(failed(
            format!(
                "the token {} has {} key objects called {}",
                place.token,
                more.len(),
                place.object
            ),
            "give each another name: which one opens the store cannot be told",
        )),
    }
}

fn derive(session: &Session, key: ObjectHandle) -> Result<Key256, StartError> {
    let made = session.sign(&Mechanism::Sha256Hmac, key, LABEL);
    let made =
        made.map_err(|error| refused("the key object does not sign (CKM_SHA256_HMAC)", &error))?;
    let made = Zeroizing::new(made);
    let key: &[u8; 32] = made.as_slice().try_into().map_err(|_| {
        failed(
            "the key object's signature has a wrong length",
            "use a key object of 256 bits",
        )
    })?;
    Ok(Key256::new(*key))
}

/// The PIN, from a file that only its owner reads.
fn pin(place: &Pkcs11Key) -> Result<AuthPin, StartError> {
    let shown = place.pin_file.display();
    let unreadable = |error: std::io::Error| {
        failed(
            format!("the PIN of the token cannot be read: {shown}: {error}"),
            "write it into that file (mode 0600), or correct `pin-source=` in keys.master",
        )
    };
    let metadata = fs::metadata(&place.pin_file).map_err(unreadable)?;
    if metadata.mode() & 0o077 != 0 {
        return Err(failed(
            format!("others can read the PIN of the token in {shown}"),
            format!("chmod 600 {shown}"),
        ));
    }
    let text = Zeroizing::new(fs::read_to_string(&place.pin_file).map_err(unreadable)?);
    Ok(AuthPin::new(text.trim().to_owned().into()))
}

fn refused(what: &str, error: &Error) -> StartError {
    failed(
        format!("PKCS #11: {what}: {error}"),
        "see the module's own log; keys.master names module, token, object and PIN file",
    )
}

/// What the key object signs.
const LABEL: &[u8] = b"oncegate master key v1";
