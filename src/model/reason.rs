//! The closed list of causes: one word in audit, metrics, logs, console and documentation.
//!
//! Invariant: the word never reaches whoever is being authenticated; every reject looks alike.

use std::fmt;
use std::str::FromStr;

/// What the person hears.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Decision {
    /// Let in.
    Accept,
    /// Refused.
    Reject,
}

impl Decision {
    /// The word on the wire and in the audit.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Reject => "reject",
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

macro_rules! reasons {
    ($($name:ident = $number:literal $word:literal $advice:literal),+ $(,)?) => {
        /// Why a decision was made.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[allow(missing_docs)] // the table below is the documentation
        pub enum Reason { $($name),+ }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),+ }
            }

            /// The number in stored records; never reused.
            pub const fn number(self) -> u8 {
                match self { $(Self::$name => $number),+ }
            }

            /// The reason with this stored number.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$name),)+ _ => None }
            }

            /// What happened and what an administrator does next.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice),+ }
            }
        }
    };
}

reasons! {
    TotpOk = 1 "totp_ok" "the time-based code was right and unused",
    HotpOk = 2 "hotp_ok" "the counter-based code was right and unused",
    WrongCode = 10 "wrong_code" "no active token of the user makes this code now; if it repeats, look at the phone's clock and run `oncegate token resync`",
    UsedCode = 11 "used_code" "the code was right but is already used up; wait for the next one",
    MalformedCode = 12 "malformed_code" "what was typed is not 6 to 9 ASCII digits; nothing was looked up and nothing was counted",
    UnknownUser = 20 "unknown_user" "no such user; compare the spelling and the realm with `oncegate user list`",
    UserDisabled = 21 "user_disabled" "the user is disabled; `oncegate user enable` lets them in again",
    NoToken = 22 "no_token" "the user has no token of a kind that the policy accepts; `oncegate token add`",
    NotActive = 23 "not_active" "the user's token is not active; confirm it with `oncegate token confirm` or resume it",
    Locked = 30 "locked" "too many failures; the lock ends by itself or by `oncegate user unlock`",
    Throttled = 31 "throttled" "the attempt came too soon after a failure and was not evaluated; wait some seconds",
    NoRule = 40 "no_rule" "no rule of the client's policy applies to this request",
    OtherRealm = 41 "other_realm" "the client may only ask for users of its own realm",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Reason {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL
            .iter()
            .find(|reason| reason.as_str() == word)
            .copied()
            .ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_are_unique_and_reversible() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_number(reason.number()), Some(*reason));
            assert_eq!(reason.as_str().parse(), Ok(*reason));
        }
    }
}
