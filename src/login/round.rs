//! What is asked for in this round of a login, and what of it was presented. Pure.
//!
//! ```text
//! the rule's factors - what a challenge says was right - what is waived = remaining
//! separate fields    all of the remaining; or, where rounds are allowed, the first ones given
//! one box, joined    all of the remaining, split              PIN + code
//! one box, rounds    the first of the remaining, whole        password, then code
//! one box, either    split if a code in it is right, else the first of the remaining; where that is
//!                    wrong, split all the same, so that a wrong code is called one
//! ```

use std::fmt;

use crate::model::attempt::Comparison;
use crate::otp::Digits;
use crate::policy::Factor;
use crate::policy::split::{CodePart, Extra, Split, Splits, split};
use crate::secret::SecretString;

/// What was made of what was typed, and does not show it (CHAP, MS-CHAP).
pub trait Response: fmt::Debug + Send + Sync {
    /// Whether this text made it.
    fn is_of(&self, typed: &str) -> bool;

    /// Why there is none to compare, for the audit; `None` where there is one.
    fn absent(&self) -> Option<&str> {
        None
    }
}

/// What the person presented.
#[derive(Clone, Copy, Debug)]
pub enum Presented<'a> {
    /// All in one box, as a VPN's password box.
    Passcode(&'a SecretString),
    /// What was made of what was typed in one box; `None`: what came cannot be a response.
    Response(Option<&'a dyn Response>),
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
    /// What can only be a code, because it is asked for alone or in a field of its own, where
    /// something else than digits may stand for it.
    pub(crate) fn sole_code(self, only_otp: bool) -> Option<&'a str> {
        match self {
            Self::Passcode(text) if only_otp => Some(text.expose()),
            Self::Passcode(_) | Self::Response(_) => None,
            // A form sends a field that was left empty as an empty text.
            Self::Fields { otp, .. } => otp.map(SecretString::expose).filter(|otp| !otp.is_empty()),
        }
    }

    /// What was typed, with the blanks taken out of what holds only digits and blanks (contract s7).
    pub(crate) fn tidied<'b>(self, room: &'b mut [Option<SecretString>; 3]) -> Presented<'b>
    where
        'a: 'b,
    {
        let [one, two, three] = room;
        match self {
            Self::Response(response) => Presented::Response(response),
            Self::Passcode(text) => {
                *one = text.without_blanks();
                Presented::Passcode(one.as_ref().unwrap_or(text))
            }
            Self::Fields { password, pin, otp } => {
                *one = password.and_then(SecretString::without_blanks);
                *two = pin.and_then(SecretString::without_blanks);
                *three = otp.and_then(SecretString::without_blanks);
                Presented::Fields {
                    password: one.as_ref().or(password),
                    pin: two.as_ref().or(pin),
                    otp: three.as_ref().or(otp),
                }
            }
        }
    }

    /// Whether nothing at all was presented.
    pub(crate) fn is_empty(self) -> bool {
        match self {
            Self::Passcode(text) => text.expose().is_empty(),
            Self::Response(response) => response.is_none(),
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
#[derive(Clone, Debug)]
pub(crate) struct Round<'a> {
    /// The factors that are looked at, a beginning of the remaining ones.
    pub(crate) asked: &'a [Factor],
    /// What comes after them.
    pub(crate) next: Option<Factor>,
    /// What the person asked to be sent, or drawn from the card, for the held factor that comes next.
    pub(crate) keyword: Option<Factor>,
    /// What was presented for them; nothing stands for an empty text.
    pub(crate) parts: Split<'a>,
    /// One box read another way, where no code in it is right: the parts may tell that only the code
    /// is wrong.
    otherwise: Option<Split<'a>>,
    /// The code compared with every token that can make it, where that was needed to read the box.
    pub(crate) compared: Option<Vec<Comparison>>,
}

impl<'a> Round<'a> {
    pub(crate) fn new(remaining: &'a [Factor], count: usize, parts: Split<'a>) -> Self {
        let (asked, rest) = remaining.split_at(count.min(remaining.len()));
        Self {
            asked,
            next: rest.first().copied(),
            keyword: None,
            parts,
            otherwise: None,
            compared: None,
        }
    }

    /// Nothing was typed: everything is asked for.
    pub(crate) fn opening(remaining: &'a [Factor]) -> Self {
        Self::new(remaining, 0, Split::default())
    }

    /// All of the remaining factors as the second reading has them.
    pub(crate) fn otherwise(&self, remaining: &'a [Factor]) -> Option<Self> {
        let parts = self.otherwise?;
        Some(Self::new(remaining, remaining.len(), parts))
    }

    /// With a keyword in the place of the code everything before the code is looked at, and the code
    /// comes next.
    fn keyword_read(self, remaining: &'a [Factor]) -> Self {
        let Some(CodePart::Keyword(word)) = self.parts.code else {
            return self;
        };
        let before = remaining
            .iter()
            .take_while(|factor| factor.is_knowledge())
            .count();
        Self {
            keyword: Factor::of_keyword(word),
            ..Self::new(remaining, before, self.parts)
        }
    }

    fn one(remaining: &'a [Factor], text: &'a str, extra: Extra<'_>) -> Self {
        let text = Some(text).filter(|text| !text.is_empty());
        let mut parts = Split::default();
        match remaining.first() {
            Some(Factor::Password) => parts.password = text,
            Some(Factor::Pin) => parts.pin = text,
            Some(_) => parts.code = text.map(|text| CodePart::alone(text, extra)),
            None => {}
        }
        Self::new(remaining, 1, parts)
    }

    /// The held factor that is looked at.
    pub(crate) fn held(&self) -> Option<Factor> {
        let mut held = self.asked.iter().filter(|factor| !factor.is_knowledge());
        held.next().copied()
    }
}

/// How what was presented is read.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'x> {
    pub(crate) form: Form,
    /// Whether a code that was not typed may have been answered on another channel.
    pub(crate) elsewhere: bool,
    /// The length of the user's PIN, where it is known.
    pub(crate) pin_chars: Option<usize>,
    /// What besides digits may stand in the place of the code.
    pub(crate) extra: Extra<'x>,
}

/// Reads what was presented. `compare` compares a code with every token that can make it; `None`: what
/// was typed cannot be read as what is asked for.
pub(crate) fn round<'a>(
    remaining: &'a [Factor],
    presented: Presented<'a>,
    reading: Reading<'_>,
    lengths: impl IntoIterator<Item = Digits>,
    compare: impl Fn(CodePart<'_>) -> Option<Vec<Comparison>>,
) -> Option<Round<'a>> {
    let round = match presented {
        Presented::Fields { password, pin, otp } => {
            fields(remaining, (password, pin, otp), reading)
        }
        // It is told before (`crate::login::response`).
        Presented::Response(_) => None,
        Presented::Passcode(text) if reading.form == Form::One || remaining.len() == 1 => {
            Some(Round::one(remaining, text.expose(), reading.extra))
        }
        Presented::Passcode(text) => {
            let (pin, extra) = (reading.pin_chars, reading.extra);
            let splits = split(remaining, text.expose(), lengths, pin, extra);
            joined(remaining, text.expose(), &splits, reading, compare)
        }
    };
    round.map(|round| round.keyword_read(remaining))
}

/// Reads separate fields.
fn fields<'a>(
    remaining: &'a [Factor],
    (password, pin, otp): (
        Option<&'a SecretString>,
        Option<&'a SecretString>,
        Option<&'a SecretString>,
    ),
    reading: Reading<'_>,
) -> Option<Round<'a>> {
    let text = |field: Option<&'a SecretString>| {
        field
            .map(SecretString::expose)
            .filter(|text| !text.is_empty())
    };
    let parts = Split {
        password: text(password),
        pin: text(pin),
        code: text(otp).map(|text| CodePart::alone(text, reading.extra)),
    };
    let given = |factor: &Factor| match factor {
        Factor::Password => parts.password.is_some(),
        Factor::Pin => parts.pin.is_some(),
        _ => parts.code.is_some() || reading.elsewhere,
    };
    // One field holds one code: a second held factor is asked for in a round of its own.
    let mut held = 0;
    let first = remaining.iter().take_while(|factor| {
        held += usize::from(!factor.is_knowledge());
        held <= 1 && given(factor)
    });
    let first = first.count();
    // What is missing where nothing can be asked later is wrong, as an empty text is.
    let count = match reading.form {
        Form::One | Form::Either if first > 0 => first,
        _ => remaining.len(),
    };
    let round = Round::new(remaining, count, parts);
    // Where no round can follow, two held factors cannot be presented: one would be passed
    // by without a look.
    let held = round.asked.iter().filter(|factor| !factor.is_knowledge());
    (held.count() <= 1).then_some(round)
}

/// Reads one box that may hold several parts.
fn joined<'a>(
    remaining: &'a [Factor],
    text: &'a str,
    splits: &Splits<'a>,
    reading: Reading<'_>,
    compare: impl Fn(CodePart<'_>) -> Option<Vec<Comparison>>,
) -> Option<Round<'a>> {
    let all = |parts: &Split<'a>| Round::new(remaining, remaining.len(), *parts);
    let mut of_first = None;
    for (place, parts) in splits.iter().enumerate() {
        let compared = parts.code.and_then(&compare);
        if compared.as_ref().is_some_and(|found| is_match(found)) {
            return Some(Round {
                compared,
                ..all(parts)
            });
        }
        if place == 0 {
            of_first = compared;
        }
    }
    if reading.form == Form::Either {
        // A keyword is told by its comma: no password of a user ends like that by chance.
        let keyword = |parts: &&Split<'a>| matches!(parts.code, Some(CodePart::Keyword(_)));
        return Some(match splits.iter().find(keyword) {
            Some(parts) => all(parts),
            None => Round {
                otherwise: splits.iter().find(|parts| parts.code.is_some()).copied(),
                ..Round::one(remaining, text, reading.extra)
            },
        });
    }
    Some(Round {
        otherwise: splits.get(1).copied(),
        compared: of_first,
        ..all(splits.first()?)
    })
}

/// Whether a token makes the code.
pub(crate) fn is_match(compared: &[Comparison]) -> bool {
    compared.iter().any(|one| !one.matches.is_empty())
}
