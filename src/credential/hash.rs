//! What is stored of a PIN or a password.
//!
//! ```text
//! peppered:$argon2id$v=19$m=19456,t=2,p=1$SALT$TAG     made here; the pepper is argon2's K
//! imported:TEXT                                        made elsewhere, without our pepper
//! ```
//!
//! Both carry their prefix, so an argon2id hash from elsewhere cannot be taken for ours, nor can
//! an administrator who may import plant one that skips the pepper unseen.

use zeroize::Zeroizing;

use crate::credential::argon2id::{Cost, Phc, Scratch};
use crate::credential::import::Imported;
use crate::credential::scheme::{ImportError, Scheme};
use crate::credential::text::Text;
use crate::secret::{Key256, SecretString};

/// The stored verifier of one PIN or password. Redacted, overwritten on drop.
#[derive(Clone, Debug)]
pub struct Hash {
    verifier: Verifier,
    text: SecretString,
}

#[derive(Clone, Debug)]
enum Verifier {
    Imported(Imported),
    Peppered(Phc),
}

impl Hash {
    /// Hashes a text that was chosen. The salt is 16 unpredictable octets, new for every hash.
    pub fn new(
        text: &Text,
        pepper: &Key256,
        salt: [u8; 16],
        cost: Cost,
        scratch: &mut Scratch,
    ) -> Self {
        let octets = text.expose().as_bytes();
        let phc = Phc::make(octets, pepper, salt, cost, scratch);
        let encoded = Zeroizing::new(phc.encode());
        Self {
            text: SecretString::new(format!("{PEPPERED}{}", *encoded)),
            verifier: Verifier::Peppered(phc),
        }
    }

    /// Hashes anew what was typed and has just been verified. Asks no bounds: a password that was
    /// imported may be shorter than one that may be set. `None` for what never verifies: nothing,
    /// and more than [`Text::MAX_OCTETS`].
    pub fn renew(
        typed: &SecretString,
        pepper: &Key256,
        salt: [u8; 16],
        cost: Cost,
        scratch: &mut Scratch,
    ) -> Option<Self> {
        let text = Text::typed(typed)?;
        Some(Self::new(&text, pepper, salt, cost, scratch))
    }

    /// Takes over a hash that another system made; the forms are those of [`super::import`].
    pub fn import(text: &str) -> Result<Self, ImportError> {
        if text.starts_with(PEPPERED) || text.starts_with(IMPORTED) {
            return Err(ImportError::Stored);
        }
        let imported = Imported::parse(text)?;
        Ok(Self {
            verifier: Verifier::Imported(imported),
            text: SecretString::new(format!("{IMPORTED}{text}")),
        })
    }

    /// Reads what [`Hash::expose`] gave. An error means that the store was tampered with, or is
    /// of another version.
    pub fn parse(stored: &SecretString) -> Result<Self, ImportError> {
        if let Some(text) = stored.expose().strip_prefix(IMPORTED) {
            return Self::import(text);
        }
        let phc = stored.expose().strip_prefix(PEPPERED);
        Ok(Self {
            verifier: Verifier::Peppered(Phc::parse(phc.ok_or(ImportError::Unknown)?)?),
            text: stored.clone(),
        })
    }

    /// The text to store.
    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    /// Whether what was typed is the credential. Costs what the hash asks for, whatever was typed,
    /// save what never matches and is refused at once: nothing (some systems keep a hash of the
    /// empty password where there is none), more than [`Text::MAX_OCTETS`], and for bcrypt more
    /// than the 72 octets it reads.
    ///
    /// An imported hash was made from octets as some other program took them: the text as it was
    /// typed counts too, where normalising changes it.
    pub fn verify(&self, typed: &SecretString, pepper: &Key256, scratch: &mut Scratch) -> bool {
        let Some(text) = Text::typed(typed) else {
            return false;
        };
        let octets = text.expose().as_bytes();
        match &self.verifier {
            Verifier::Peppered(phc) => phc.matches(octets, Some(pepper), scratch),
            Verifier::Imported(imported) => {
                let raw = typed.expose().as_bytes();
                let differs = raw != octets && raw.len() <= Text::MAX_OCTETS;
                imported.matches(octets, scratch) || differs && imported.matches(raw, scratch)
            }
        }
    }

    /// Whether to replace it after the next success: not ours, or of another cost.
    pub fn needs_rehash(&self, cost: Cost) -> bool {
        match &self.verifier {
            Verifier::Imported(_) => true,
            Verifier::Peppered(phc) => phc.cost() != cost,
        }
    }

    /// The family of an imported hash; `None` for one made here. A failed attempt against an
    /// imported hash takes its own time: to hide which users exist add [`super::spend`].
    pub const fn imported(&self) -> Option<Scheme> {
        match &self.verifier {
            Verifier::Imported(imported) => Some(imported.scheme()),
            Verifier::Peppered(_) => None,
        }
    }
}

impl PartialEq for Hash {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Hash {}

const PEPPERED: &str = "peppered:";
const IMPORTED: &str = "imported:";
