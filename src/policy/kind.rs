//! The kinds of token and the factors a rule can require.
//!
//! Invariant: [`Factor::SUPPORTED`] is the one table that says what this version can check. A
//! policy asking for more is refused when it is read: a factor nobody checks must never look like a
//! factor that was passed.

use std::fmt;
use std::str::FromStr;

/// What a token is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// Time-based one-time password, RFC 6238.
    Totp,
    /// Counter-based one-time password, RFC 4226.
    Hotp,
    /// Server-synchronised: an enrolled device asks the server for a fresh code.
    Server,
    /// Code sent by text message.
    Sms,
    /// Code sent by e-mail.
    Email,
    /// Code read out by a telephone call.
    Voice,
    /// Printed security card.
    Card,
    /// Recovery codes.
    Recovery,
    /// Yubico OTP.
    Yubikey,
    /// Confirmation on an enrolled device.
    Push,
}

impl Kind {
    /// All kinds, in the order of the documentation.
    pub const ALL: [Self; 10] = [
        Self::Totp,
        Self::Hotp,
        Self::Server,
        Self::Sms,
        Self::Email,
        Self::Voice,
        Self::Card,
        Self::Recovery,
        Self::Yubikey,
        Self::Push,
    ];

    /// The word used in files, commands, JSON and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::Hotp => "hotp",
            Self::Server => "server",
            Self::Sms => "sms",
            Self::Email => "email",
            Self::Voice => "voice",
            Self::Card => "card",
            Self::Recovery => "recovery",
            Self::Yubikey => "yubikey",
            Self::Push => "push",
        }
    }

    /// The factor a right answer of such a token proves.
    pub const fn factor(self) -> Factor {
        match self {
            Self::Totp | Self::Hotp | Self::Server | Self::Yubikey => Factor::Otp,
            Self::Sms => Factor::Sms,
            Self::Email => Factor::Email,
            Self::Voice => Factor::Voice,
            Self::Card => Factor::Card,
            Self::Recovery => Factor::Recovery,
            Self::Push => Factor::Push,
        }
    }
}

/// What a rule can require.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Factor {
    /// The user's password.
    Password,
    /// The user's PIN.
    Pin,
    /// A code of a token of the kinds `[otp] kinds`.
    Otp,
    /// A code sent by text message.
    Sms,
    /// A code sent by e-mail.
    Email,
    /// A code read out by a telephone call.
    Voice,
    /// Two cells of the security card.
    Card,
    /// A recovery code.
    Recovery,
    /// A confirmation on an enrolled device.
    Push,
}

impl Factor {
    /// All factors, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::Password,
        Self::Pin,
        Self::Otp,
        Self::Sms,
        Self::Email,
        Self::Voice,
        Self::Card,
        Self::Recovery,
        Self::Push,
    ];

    /// What this version can check.
    pub const SUPPORTED: &'static [Self] = &[Self::Otp];

    /// The word used in files, JSON and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Pin => "pin",
            Self::Otp => "otp",
            Self::Sms => "sms",
            Self::Email => "email",
            Self::Voice => "voice",
            Self::Card => "card",
            Self::Recovery => "recovery",
            Self::Push => "push",
        }
    }

    /// Whether it is something the user knows (otherwise something the user has).
    pub const fn is_knowledge(self) -> bool {
        matches!(self, Self::Password | Self::Pin)
    }
}

/// A word that names no kind or factor.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown name")]
pub struct UnknownName;

impl FromStr for Kind {
    type Err = UnknownName;

    fn from_str(word: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or(UnknownName)
    }
}

impl FromStr for Factor {
    type Err = UnknownName;

    fn from_str(word: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|factor| factor.as_str() == word)
            .ok_or(UnknownName)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        for factor in Factor::ALL {
            assert_eq!(factor.as_str().parse(), Ok(factor));
        }
        assert_eq!("TOTP".parse::<Kind>(), Err(UnknownName));
    }
}
