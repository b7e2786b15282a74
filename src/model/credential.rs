//! What a user knows: PIN and password, as verifiers.

use crate::credential::Hash;
use crate::secret::SecretString;
use crate::time::UnixTime;

words! {
    /// Something the user knows.
    #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
    pub enum Knowledge {
        /// The PIN.
        Pin = "pin",
        /// The password.
        Password = "password",
    }
}

/// The verifiers of one user.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Credentials {
    /// Of the PIN.
    pub pin: Option<Verifier>,
    /// Of the password.
    pub password: Option<Verifier>,
    /// The PIN itself: only where a policy asks that it is kept, see [`crate::policy::Pin`].
    pub pin_text: Option<SecretString>,
    /// Rises by one with every change; 0: there is no record.
    pub revision: u64,
}

impl Credentials {
    /// The verifier of this kind.
    pub const fn get(&self, which: Knowledge) -> Option<&Verifier> {
        match which {
            Knowledge::Pin => self.pin.as_ref(),
            Knowledge::Password => self.password.as_ref(),
        }
    }

    /// The place of the verifier of this kind.
    pub const fn get_mut(&mut self, which: Knowledge) -> &mut Option<Verifier> {
        match which {
            Knowledge::Pin => &mut self.pin,
            Knowledge::Password => &mut self.password,
        }
    }
}

/// One verifier and its history.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verifier {
    /// What an answer is compared with.
    pub hash: Hash,
    /// Characters of the text, for splitting what was typed in one box; unknown when imported.
    pub length: Option<u16>,
    /// When it was set.
    pub set: UnixTime,
    /// The user must choose another before it opens anything.
    pub must_change: bool,
    /// The ones before it, newest first, at most [`Verifier::HISTORY`].
    pub previous: Vec<Hash>,
}

impl Verifier {
    /// Former verifiers that may not be chosen again.
    pub const HISTORY: usize = 5;
}
