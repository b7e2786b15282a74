//! The kinds of token (contract s1).

use std::fmt;
use std::str::FromStr;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $word:literal),+ $(,)?) => {
        /// What makes a token's codes.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Kind { $($(#[$doc])* $name),+ }

        impl Kind {
            /// Every kind, in the order of the contract.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The word used in configuration, output and audit.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),+ }
            }
        }
    };
}

kinds! {
    /// Time-based code (RFC 6238).
    Totp = "totp",
    /// Counter-based code (RFC 4226).
    Hotp = "hotp",
    /// Code that the enrolled device asks from the server.
    Server = "server",
    /// Code sent by SMS.
    Sms = "sms",
    /// Code sent by e-mail.
    Email = "email",
    /// Code spoken in a call.
    Voice = "voice",
    /// Printed security card.
    Card = "card",
    /// Printed recovery codes.
    Recovery = "recovery",
    /// Yubico OTP.
    Yubikey = "yubikey",
    /// Confirmation on the enrolled device.
    Push = "push",
}

impl Kind {
    /// Whether its codes are made by us when they are wanted.
    pub const fn is_issued(self) -> bool {
        matches!(
            self,
            Self::Server | Self::Sms | Self::Email | Self::Voice | Self::Card
        )
    }

    /// Whether its codes are sent to an address.
    pub const fn is_sent(self) -> bool {
        matches!(self, Self::Sms | Self::Email | Self::Voice)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The word names no kind of token.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown token kind `{0}`")]
pub struct UnknownKind(pub String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(word: &str) -> Result<Self, UnknownKind> {
        let found = Self::ALL.iter().find(|kind| kind.as_str() == word);
        found.copied().ok_or_else(|| UnknownKind(word.to_owned()))
    }
}
