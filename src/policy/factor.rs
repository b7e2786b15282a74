//! The factors a rule can require.
//!
//! Invariant: [`Factor::SUPPORTED`] is the one table that says what this version can check. A
//! policy asking for more is refused when it is read: a factor that is not checked must never look like a
//! factor that was passed.

use crate::model::credential::Knowledge;
use crate::model::kind::Kind;
use crate::policy::OtpWindows;

words! {
    /// What a rule can require.
    #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
    pub enum Factor {
        /// The user's password.
        Password = "password",
        /// The user's PIN.
        Pin = "pin",
        /// A code of a token of the kinds `[otp] kinds`.
        Otp = "otp",
        /// A code sent by text message.
        Sms = "sms",
        /// A code sent by e-mail.
        Email = "email",
        /// A code read out by a telephone call.
        Voice = "voice",
        /// Two cells of the security card.
        Card = "card",
        /// A recovery code.
        Recovery = "recovery",
        /// A confirmation on an enrolled device.
        Push = "push",
    }
}

/// The factor that a right answer of such a token proves.
pub(crate) const fn factor_of(kind: Kind) -> Factor {
    match kind {
        Kind::Totp | Kind::Hotp | Kind::Server | Kind::Yubikey => Factor::Otp,
        Kind::Sms => Factor::Sms,
        Kind::Email => Factor::Email,
        Kind::Voice => Factor::Voice,
        Kind::Card => Factor::Card,
        Kind::Recovery => Factor::Recovery,
        Kind::Push => Factor::Push,
    }
}

/// The kinds of token of which a right answer proves a factor; none for what is known.
pub fn kinds_of(factor: Factor, otp: &OtpWindows) -> &[Kind] {
    match factor {
        Factor::Password | Factor::Pin => &[],
        Factor::Otp => &otp.kinds,
        Factor::Sms => &[Kind::Sms],
        Factor::Email => &[Kind::Email],
        Factor::Voice => &[Kind::Voice],
        Factor::Card => &[Kind::Card],
        Factor::Recovery => &[Kind::Recovery],
        Factor::Push => &[Kind::Push],
    }
}

impl Factor {
    /// What this version can check.
    pub const SUPPORTED: &'static [Self] = &[
        Self::Password,
        Self::Pin,
        Self::Otp,
        Self::Sms,
        Self::Email,
        Self::Voice,
        Self::Card,
        Self::Recovery,
    ];

    /// What a rule may accept in the place of `otp`, always or while outage mode is declared.
    pub const STAND_INS: &'static [Self] = &[
        Self::Sms,
        Self::Email,
        Self::Voice,
        Self::Card,
        Self::Recovery,
    ];

    /// What the user knows, if it is that; otherwise it is something the user has.
    pub const fn knowledge(self) -> Option<Knowledge> {
        match self {
            Self::Pin => Some(Knowledge::Pin),
            Self::Password => Some(Knowledge::Password),
            _ => None,
        }
    }

    /// Whether it is something the user knows.
    pub const fn is_knowledge(self) -> bool {
        self.knowledge().is_some()
    }

    /// Whether the server sends or draws something for one login, which the person then answers.
    pub const fn is_issued(self) -> bool {
        matches!(self, Self::Sms | Self::Email | Self::Voice | Self::Card)
    }

    /// The words that ask for it when they are typed in the place of a code.
    pub const fn keywords(self) -> &'static [&'static str] {
        match self {
            Self::Sms => &["sms"],
            Self::Email => &["email"],
            Self::Voice => &["voice", "call"],
            Self::Card => &["card"],
            _ => &[],
        }
    }

    /// The factor that a keyword asks for, in any ASCII case.
    pub fn of_keyword(word: &str) -> Option<Self> {
        let asks = |factor: &Self| {
            let mut words = factor.keywords().iter();
            words.any(|keyword| keyword.eq_ignore_ascii_case(word))
        };
        Self::ALL.into_iter().find(asks)
    }
}

/// The assurance reached by factors that were presented, the held one proved by a token of `kind`
/// (`None`: by the best kind there is): 1 for one category, 2 when something known and something held
/// came together (NIST SP 800-63B AAL1 and AAL2; AAL3 needs hardware that this version does not know).
///
/// Text messages and calls are restricted there, but reach 2. E-mail proves no possession at all
/// (SP 800-63B-3 s5.1.3.1): it adds nothing to something known.
///
/// Of a login in rounds `kind` is not that of its last round: what proved the held factor may have come before.
pub fn assurance(factors: &[Factor], kind: Option<Kind>) -> u8 {
    let known = factors.iter().any(|factor| factor.is_knowledge());
    let held = kind.is_none_or(adds)
        && factors
            .iter()
            .any(|factor| !factor.is_knowledge() && *factor != Factor::Email);
    1 + u8::from(known && held)
}

/// Whether a right code of such a token adds to something known.
pub(crate) const fn adds(kind: Kind) -> bool {
    !matches!(kind, Kind::Email)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
        for factor in Factor::ALL {
            assert_eq!(factor.as_str().parse(), Ok(factor));
        }
    }

    #[test]
    fn each_kind_proves_one_factor() {
        let otp = OtpWindows {
            kinds: vec![Kind::Totp, Kind::Server],
            ..OtpWindows::default()
        };
        for factor in Factor::ALL {
            let kinds = kinds_of(factor, &otp);
            assert_eq!(kinds.is_empty(), factor.is_knowledge(), "{factor}");
            assert!(kinds.iter().all(|kind| factor_of(*kind) == factor));
        }
        assert_eq!(kinds_of(Factor::Otp, &otp), [Kind::Totp, Kind::Server]);
    }

    #[test]
    fn keywords_ask_for_what_is_issued() {
        for factor in Factor::ALL {
            assert_eq!(!factor.keywords().is_empty(), factor.is_issued());
            for word in factor.keywords() {
                assert_eq!(Factor::of_keyword(word), Some(factor));
                assert_eq!(Factor::of_keyword(&word.to_uppercase()), Some(factor));
            }
        }
        for word in ["", "sm", "sms ", "otp", "recovery", "\u{ff53}ms"] {
            assert_eq!(Factor::of_keyword(word), None, "{word}");
        }
    }

    #[test]
    fn assurance_needs_two_categories_and_no_mail() {
        use Factor::{Email, Otp, Password, Pin, Sms};
        for (factors, kind, reached) in [
            (&[Otp][..], None, 1),
            (&[Password, Pin], None, 1),
            (&[Otp, Sms], None, 1),
            (&[Password, Otp], None, 2),
            (&[Otp, Pin], Some(Kind::Totp), 2),
            (&[Pin, Sms], Some(Kind::Sms), 2),
            (&[Password, Otp], Some(Kind::Voice), 2),
            (&[Password, Otp], Some(Kind::Email), 1),
            (&[Password, Email], None, 1),
            (&[Password, Email], Some(Kind::Email), 1),
            (&[], None, 1),
        ] {
            assert_eq!(assurance(factors, kind), reached, "{factors:?} {kind:?}");
        }
    }
}
