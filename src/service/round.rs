//! What is asked for in this round of a login, and what of it was presented. Pure.
//!
//! ```text
//! the rule's factors - what a challenge says was right - what is waived = remaining
//! separate fields    all of the remaining; or, where rounds are allowed, the first ones given
//! one box, joined    all of the remaining, split              PIN + code
//! one box, rounds    the first of the remaining, whole        password, then code
//! one box, either    split if a code in it is right, else the first of the remaining
//! ```

use crate::otp::Digits;
use crate::policy::Factor;
use crate::policy::split::CodePart;
use crate::policy::split::Extra;
use crate::policy::split::Split;
use crate::policy::split::Splits;
use crate::policy::split::split;
use crate::secret::SecretString;

/// What the person presented.
#[derive(Clone, Copy, Debug)]
pub enum Presented<'a> {
    /// All in one box, as a VPN's password box.
    Passcode(&'a SecretString),
    /// In separate fields.
    Fields {
        /// The password.
        password: Option<&'a SecretString>,
        /// The PIN.
        pin: Option<&'a SecretString>,
        /// The code.
        otp: Option<&'a SecretString>,
    },
}

impl<'a> Presented<'a> {
    /// What can only be a code, because it is asked for alone or in a field of its own.
    pub(crate) fn sole_code(self, only_otp: bool) -> Option<&'a str> {
        match self {
            Self::Passcode(text) if only_otp => Some(text.expose()),
            Self::Passcode(_) => None,
            // A form sends a field that was left empty as an empty text.
            Self::Fields { otp, .. } => otp.map(SecretString::expose).filter(|otp| !otp.is_empty()),
        }
    }

    /// Whether nothing at all was presented.
    pub(crate) fn is_empty(self) -> bool {
        match self {
            Self::Passcode(text) => text.expose().is_empty(),
            Self::Fields { password, pin, otp } => [password, pin, otp]
                .into_iter()
                .flatten()
                .all(|text| text.expose().is_empty()),
        }
    }
}

/// How one box is read in this round.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// Everything that remains, joined.
    Joined,
    /// One factor.
    One,
    /// Joined if a code in it is right, else one factor.
    Either,
}

/// What is asked for in this round, with what was presented for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round<'a> {
    /// The factors that are looked at, a beginning of the remaining ones.
    pub(crate) asked: &'a [Factor],
    /// What comes after them.
    pub(crate) next: Option<Factor>,
    /// What was presented for them; nothing stands for an empty text.
    pub(crate) parts: Split<'a>,
}

impl<'a> Round<'a> {
    fn new(remaining: &'a [Factor], count: usize, parts: Split<'a>) -> Self {
        let (asked, rest) = remaining.split_at(count.min(remaining.len()));
        Self {
            asked,
            next: rest.first().copied(),
            parts,
        }
    }

    fn one(remaining: &'a [Factor], text: &'a str) -> Self {
        let text = Some(text).filter(|text| !text.is_empty());
        let mut parts = Split::default();
        match remaining.first() {
            Some(Factor::Password) => parts.password = text,
            Some(Factor::Pin) => parts.pin = text,
            Some(_) => parts.code = text.map(CodePart::Digits),
            None => {}
        }
        Self::new(remaining, 1, parts)
    }

    /// Whether this factor is looked at.
    pub(crate) fn asks(&self, factor: Factor) -> bool {
        self.asked.contains(&factor)
    }
}

/// Reads what was presented. `is_right` says of a code whether a token makes it; `None`: what was
/// typed cannot be read as what is asked for.
pub(crate) fn round<'a>(
    remaining: &'a [Factor],
    presented: Presented<'a>,
    form: Form,
    lengths: impl IntoIterator<Item = Digits>,
    pin_chars: Option<usize>,
    is_right: impl Fn(&str) -> bool,
) -> Option<Round<'a>> {
    let text = match presented {
        Presented::Passcode(text) => text.expose(),
        Presented::Fields { password, pin, otp } => {
            let text = |field: Option<&'a SecretString>| {
                field
                    .map(SecretString::expose)
                    .filter(|text| !text.is_empty())
            };
            let parts = Split {
                password: text(password),
                pin: text(pin),
                code: text(otp).map(CodePart::Digits),
            };
            let given = |factor: &Factor| match factor {
                Factor::Password => parts.password.is_some(),
                Factor::Pin => parts.pin.is_some(),
                _ => parts.code.is_some(),
            };
            let first = remaining.iter().take_while(|factor| given(factor)).count();
            // What is missing where nothing can be asked later is wrong, as an empty text is.
            let count = match form {
                Form::One | Form::Either if first > 0 => first,
                _ => remaining.len(),
            };
            return Some(Round::new(remaining, count, parts));
        }
    };
    if form == Form::One || remaining.len() == 1 {
        return Some(Round::one(remaining, text));
    }
    let splits: Splits<'a> = split(remaining, text, lengths, pin_chars, Extra::default());
    let right = splits
        .iter()
        .find(|parts| parts.digits().is_some_and(&is_right))
        .copied();
    match (right, form) {
        (Some(parts), _) => Some(Round::new(remaining, remaining.len(), parts)),
        (None, Form::Either) => Some(Round::one(remaining, text)),
        (None, _) => {
            let parts = *splits.first()?;
            Some(Round::new(remaining, remaining.len(), parts))
        }
    }
}
