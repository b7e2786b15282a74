//! `keys.master = "pkcs11:.."`: a key object in a hardware security module, as RFC 7512 writes it.
//!
//! Of its attributes these are known: `token` and `object` (labels), `module-path` and `pin-source` (a file). A PIN does not
//! belong into the configuration: `pin-value` is refused.

use std::fmt;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// A key object, and how it is reached.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pkcs11Key {
    /// The library of the module.
    pub module: PathBuf,
    /// Label of the token.
    pub token: String,
    /// Label of the key object.
    pub object: String,
    /// File with the PIN of the token.
    pub pin_file: PathBuf,
}

impl Pkcs11Key {
    /// Reads what follows `pkcs11:`; `None` where something is missing, unknown or named twice.
    pub fn parse(text: &str, dir: &Path) -> Option<Self> {
        let (path, query) = text.split_once('?')?;
        let mut named = [const { None::<String> }; 4];
        for pair in path.split(';').chain(query.split('&')) {
            let (name, value) = pair.split_once('=')?;
            let place = NAMES.iter().position(|known| *known == name)?;
            let value = percent_decode_str(value).decode_utf8().ok()?;
            let slot = named.get_mut(place).filter(|slot| slot.is_none())?;
            *slot = Some(value.into_owned()).filter(|value| !value.is_empty());
        }
        let [token, object, module, pin] = named;
        let pin = pin?;
        Some(Self {
            token: token?,
            object: object?,
            module: PathBuf::from(module?),
            pin_file: dir.join(pin.strip_prefix("file:").unwrap_or(&pin)),
        })
    }
}

/// As the configuration writes it.
impl fmt::Display for Pkcs11Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoded = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
        write!(
            f,
            "pkcs11:token={};object={}?module-path={}&pin-source=file:{}",
            encoded(&self.token),
            encoded(&self.object),
            encoded(&self.module.to_string_lossy()),
            encoded(&self.pin_file.to_string_lossy())
        )
    }
}

const NAMES: [&str; 4] = ["token", "object", "module-path", "pin-source"];
/// What is encoded in a value.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'/');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_object_is_named_as_in_rfc_7512_and_written_again() {
        let dir = Path::new("/srv/oncegate");
        let text = "token=My%20HSM;object=master?module-path=/usr/lib/x.so&pin-source=file:hsm.pin";
        let key = Pkcs11Key::parse(text, dir).unwrap();
        assert_eq!(
            (key.token.as_str(), key.object.as_str()),
            ("My HSM", "master")
        );
        assert_eq!(key.module, Path::new("/usr/lib/x.so"));
        assert_eq!(key.pin_file, Path::new("/srv/oncegate/hsm.pin"));
        let written = key.to_string();
        let again = Pkcs11Key::parse(written.strip_prefix("pkcs11:").unwrap(), Path::new("/"));
        assert_eq!(again, Some(key));
        for bad in [
            "",
            "token=a;object=b",
            "token=a;object=b?module-path=/m",
            "token=a?module-path=/m&pin-source=file:p",
            "token=a;token=b;object=c?module-path=/m&pin-source=p",
            "token=a;object=b?module-path=/m&pin-value=1234",
            "token=a;object=b;serial=7?module-path=/m&pin-source=p",
            "token=;object=b?module-path=/m&pin-source=p",
            "token=%ff;object=b?module-path=/m&pin-source=p",
        ] {
            assert_eq!(Pkcs11Key::parse(bad, dir), None, "{bad}");
        }
    }
}
