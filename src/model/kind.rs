//! The kinds of token (contract s1).

words! {
    /// What makes a token's codes.
    #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
    pub enum Kind {
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
}

impl Kind {
    /// Whether it makes its codes itself, from a key that came from outside or was shown.
    pub const fn is_keyed(self) -> bool {
        matches!(self, Self::Totp | Self::Hotp | Self::Yubikey)
    }

    /// Whether its codes are made by us when they are wanted.
    pub const fn is_issued(self) -> bool {
        matches!(
            self,
            Self::Server | Self::Sms | Self::Email | Self::Voice | Self::Card
        )
    }
}
