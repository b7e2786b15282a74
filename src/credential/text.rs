//! The text of a PIN or a password: normalised, bounded, never shown.

use std::{fmt, mem};

use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use crate::secret::SecretString;

/// Which of the two.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Form {
    /// 6 to 64 characters, mostly digits; always together with a code.
    Pin,
    /// 8 to 128 characters.
    Password,
}

impl Form {
    /// Fewest characters (code points after NFKC).
    pub const fn least(self) -> usize {
        match self {
            Self::Pin => 6,
            Self::Password => 8,
        }
    }

    /// Most characters (code points after NFKC).
    pub const fn most(self) -> usize {
        match self {
            Self::Pin => 64,
            Self::Password => 128,
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pin => "PIN",
            Self::Password => "password",
        })
    }
}

/// A PIN or password that may be set: NFKC, within the bounds of its form.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Text(SecretString);

impl Text {
    /// Longest text that is hashed at all, in octets: what the longest password (128 characters)
    /// takes in UTF-8. A longer one only costs time.
    pub const MAX_OCTETS: usize = 512;

    /// Normalises what a person chose and checks it against the bounds of the form.
    ///
    /// A comma at the end is refused because it separates the password from the code where both
    /// are typed into one field.
    pub fn parse(form: Form, typed: &SecretString) -> Result<Self, Unfit> {
        let too_long = Unfit::TooLong {
            form,
            most: form.most(),
        };
        if typed.expose().is_empty() {
            return Err(Unfit::Empty { form });
        }
        let text = Self::typed(typed).ok_or(too_long)?;
        let count = text.expose().chars().count();
        if text.expose().contains(char::is_control) {
            return Err(Unfit::Control { form });
        }
        if count < form.least() {
            return Err(Unfit::TooShort {
                form,
                least: form.least(),
            });
        }
        if count > form.most() {
            return Err(too_long);
        }
        if text.expose().ends_with(',') {
            return Err(Unfit::TrailingComma { form });
        }
        Ok(text)
    }

    /// Normalises what a user typed to log in; asks no bounds but the octets, since a hash
    /// from elsewhere may be of anything. `None` when it is empty or longer than anything stored.
    pub(super) fn typed(typed: &SecretString) -> Option<Self> {
        if typed.expose().is_empty() || typed.expose().len() > MAX_TYPED_OCTETS {
            return None;
        }
        // Never grows: growing would leave copies behind that are not overwritten.
        let mut text = Zeroizing::new(String::with_capacity(Self::MAX_OCTETS));
        for character in typed.expose().nfkc() {
            if text.len() + character.len_utf8() > Self::MAX_OCTETS {
                return None;
            }
            text.push(character);
        }
        Some(Self(SecretString::new(mem::take(&mut text))))
    }

    /// The text. The caller must not store or print it.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// Why a text cannot be a PIN or a password.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unfit {
    /// A line end, a tab, an escape: no two keyboards send the same.
    #[error("a {form} has no control characters; remove line ends and tabs")]
    Control {
        /// Which of the two.
        form: Form,
    },
    /// Nothing at all.
    #[error("the {form} is empty")]
    Empty {
        /// Which of the two.
        form: Form,
    },
    /// Above the bound.
    #[error("a {form} has at most {most} characters")]
    TooLong {
        /// Which of the two.
        form: Form,
        /// Characters.
        most: usize,
    },
    /// Below the bound.
    #[error("a {form} has at least {least} characters")]
    TooShort {
        /// Which of the two.
        form: Form,
        /// Characters.
        least: usize,
    },
    /// `,` separates the password from the code.
    #[error("a {form} cannot end with a comma, which separates it from the code")]
    TrailingComma {
        /// Which of the two.
        form: Form,
    },
}

/// Most octets that are normalised: decomposed Hangul takes three times what it becomes.
const MAX_TYPED_OCTETS: usize = 4 * Text::MAX_OCTETS;
