//! The states of a token, from the request for it to its end.

use std::fmt;
use std::str::FromStr;

macro_rules! life_cycle {
    ($($(#[$doc:meta])* $name:ident = $number:literal $word:literal),+ $(,)?) => {
        /// A token's life (contract s1). Only `Active` authenticates.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum LifeCycle { $($(#[$doc])* $name),+ }

        impl LifeCycle {
            /// The word used in output and audit.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),+ }
            }

            /// The number in stored records; never reused.
            pub const fn number(self) -> u8 {
                match self { $(Self::$name => $number),+ }
            }

            /// The state with this stored number.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$name),)+ _ => None }
            }
        }

        impl FromStr for LifeCycle {
            type Err = ();

            fn from_str(word: &str) -> Result<Self, ()> {
                match word { $($word => Ok(Self::$name),)+ _ => Err(()) }
            }
        }
    };
}

life_cycle! {
    /// Asked for; waits for approvals.
    Requested = 1 "requested",
    /// Approved; waits to be handed out.
    Approved = 2 "approved",
    /// Handed out; waits for its first right code.
    Pending = 3 "pending",
    /// In use.
    Active = 4 "active",
    /// Paused by an administrator; can be resumed.
    Suspended = 5 "suspended",
    /// Ended by an administrator; final.
    Revoked = 6 "revoked",
    /// Ended by its time; final.
    Expired = 7 "expired",
}

impl LifeCycle {
    /// Whether the contract's diagram has an arrow from this state to `next`.
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Requested, Self::Approved)
                | (Self::Approved, Self::Pending)
                | (Self::Pending | Self::Suspended, Self::Active)
                | (Self::Active, Self::Suspended)
                | (
                    Self::Requested
                        | Self::Approved
                        | Self::Pending
                        | Self::Active
                        | Self::Suspended,
                    Self::Revoked | Self::Expired
                )
        )
    }
}

impl fmt::Display for LifeCycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_are_final() {
        for number in 0..=u8::MAX {
            if let Some(next) = LifeCycle::from_number(number) {
                assert!(!LifeCycle::Revoked.may_become(next));
                assert!(!LifeCycle::Expired.may_become(next));
            }
        }
    }
}
