//! How one password box is read when its parts come joined: `hunter2,123456`.
//!
//! ```text
//! require            typed                    parts
//! password, otp      hunter2123456            hunter2 | 123456
//! pin, otp           8842,12345678            8842 | 12345678       codes of 8 digits
//! otp, password      123456hunter2            123456 | hunter2
//! password, pin, otp hunter28842123456        hunter2 | 8842 | 123456   the PIN has 4 characters
//! password, pin, otp hunter2,8842,123456      the same, also when the PIN's length is not known
//! password, otp      hunter2,sms              hunter2 | the keyword sms
//! password, otp      hunter2K7QF2-9XM4T       hunter2 | a recovery code
//! pin, otp           8842cccccccccbteffu...   8842 | the OTP of a yubikey, as long as its public id says
//! ```
//!
//! Parts follow the order of `require`. What has a known length (the code, and a PIN whose length is
//! known) is cut off from both ends, and the rest is what is left; a PIN of unknown length ends at
//! the comma nearest to it, so that a password may hold commas. At each cut one comma is a separator
//! and removed, exactly one. A secret that begins or ends with a comma must be typed with separators.
//!
//! The code is that of the one held factor of `require`, whichever it is; two codes are not read from
//! one box. Where the rule allows it, a keyword that asks for a code, or a recovery code, may stand in
//! its place. A keyword, and a recovery code without its dash, are told apart from the end of a password by
//! the commas around them alone, so these must be there.
//!
//! Tokens of several code lengths make several readings. They come most specific first: those whose
//! PIN has the known length, among them the longest code, and after all of them what is no digits.
//! The caller compares codes, which is cheap, and hashes once: the reading whose code matches, else
//! the first.
//!
//! Invariants:
//! - No part is empty: an empty password is an anonymous bind to some directories.
//! - A PIN of another than the known length is a wrong PIN and read all the same, where the rest
//!   allows: its code is then consumed as with any wrong PIN.
//! - A code is ASCII digits; full-width ones never are, and no keyword or recovery code either.
//!
//! Threat: the readings depend on the user's tokens and PIN. For a user who does not exist the caller
//! passes those of a typical one, or the missing hash tells that there is none.

use std::fmt;
use std::ops::Deref;

use crate::otp::{Digits, yubikey};
use crate::policy::factor::Factor;

/// One reading of a password box. A part is `None` when it is not asked for.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
pub struct Split<'t> {
    /// The password, not empty.
    pub password: Option<&'t str>,
    /// The PIN, not empty.
    pub pin: Option<&'t str>,
    /// What stands in the place of the code.
    pub code: Option<CodePart<'t>>,
}

impl<'t> Split<'t> {
    /// The code, if digits stand in its place.
    pub fn digits(&self) -> Option<&'t str> {
        self.code.and_then(CodePart::digits)
    }
}

/// Names the parts without what is in them.
impl fmt::Debug for Split<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.password.map(|_| "password"),
            self.pin.map(|_| "pin"),
            self.code.map(CodePart::name),
        ];
        f.write_str("Split {")?;
        for (index, part) in parts.into_iter().flatten().enumerate() {
            f.write_str(if index > 0 { ", " } else { "" })?;
            f.write_str(part)?;
        }
        f.write_str("}")
    }
}

/// What stands in the place of the code.
#[derive(Clone, Copy, Eq, PartialEq)]
pub enum CodePart<'t> {
    /// The code: as many ASCII digits as one of the lengths.
    Digits(&'t str),
    /// One of the keywords, as it was typed.
    Keyword(&'t str),
    /// A recovery code, as it was typed: with or without its dash, in any case.
    Recovery(&'t str),
    /// The OTP of a yubikey, as it was typed.
    Yubikey(&'t str),
}

impl<'t> CodePart<'t> {
    /// Reads a text that stands in the place of the code alone. What is neither a keyword nor a
    /// recovery code is taken for digits, of any number: whether they are a code is the caller's
    /// question.
    pub fn alone(text: &'t str, extra: Extra<'_>) -> Self {
        if extra.is_keyword(text) {
            Self::Keyword(text)
        } else if extra.recovery && (is_recovery(text) || is_dashed(text)) {
            Self::Recovery(text)
        } else if extra.yubikeys.any() && yubikey::is_otp(text) {
            Self::Yubikey(text)
        } else {
            Self::Digits(text)
        }
    }

    /// The code, if it is one.
    pub const fn digits(self) -> Option<&'t str> {
        match self {
            Self::Digits(text) => Some(text),
            Self::Keyword(_) | Self::Recovery(_) | Self::Yubikey(_) => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Digits(_) => "digits",
            Self::Keyword(_) => "keyword",
            Self::Recovery(_) => "recovery",
            Self::Yubikey(_) => "yubikey",
        }
    }
}

/// Names what it is without the text.
impl fmt::Debug for CodePart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What besides digits may stand in the place of the code; by default nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extra<'k> {
    /// Words that ask for a code, read in any ASCII case; see [`Factor::keywords`].
    pub keywords: &'k [&'k str],
    /// Whether a recovery code is read.
    pub recovery: bool,
    /// Lengths of the public ids of yubikeys whose OTPs are read.
    pub yubikeys: IdLengths,
}

/// A set of lengths of public ids.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdLengths(u32);

impl IdLengths {
    /// No yubikey's.
    pub const NONE: Self = Self(0);

    const fn any(self) -> bool {
        self.0 != 0
    }

    /// Lengths of the OTPs, longest first.
    fn otps(self) -> impl Iterator<Item = usize> {
        let lengths = (1..=yubikey::LONGEST_ID).rev();
        let lengths = lengths.filter(move |length| self.0 >> length & 1 == 1);
        lengths.map(|length| length + yubikey::BLOCK)
    }
}

impl FromIterator<usize> for IdLengths {
    fn from_iter<I: IntoIterator<Item = usize>>(lengths: I) -> Self {
        let lengths = lengths.into_iter();
        let lengths = lengths.filter(|length| *length <= yubikey::LONGEST_ID);
        Self(lengths.fold(0, |set, length| set | 1 << length))
    }
}

impl Extra<'_> {
    fn is_keyword(self, text: &str) -> bool {
        let mut keywords = self.keywords.iter();
        !text.is_empty() && keywords.any(|word| word.eq_ignore_ascii_case(text))
    }
}

/// The readings, most specific first; at most one for each code length and for each other form.
#[derive(Clone, Copy, Debug, Default)]
pub struct Splits<'t> {
    readings: [Split<'t>; LENGTHS + OTHERS],
    count: usize,
}

impl<'t> Deref for Splits<'t> {
    type Target = [Split<'t>];

    fn deref(&self) -> &[Split<'t>] {
        self.readings.get(..self.count).unwrap_or_default()
    }
}

/// Reads `text` as the parts that `require` asks for: some of password, PIN and one code, in any
/// order. `lengths` are those of the codes of the user's tokens that count, `pin_chars` the length of
/// the PIN in characters, `extra` what besides digits the rule allows. No reading: malformed, or, where
/// a challenge may follow, the first factor alone.
pub fn split<'t>(
    require: &[Factor],
    text: &'t str,
    lengths: impl IntoIterator<Item = Digits>,
    pin_chars: Option<usize>,
    extra: Extra<'_>,
) -> Splits<'t> {
    let mut splits = Splits::default();
    let mut held = require.iter().filter(|factor| !factor.is_knowledge());
    let (code, another) = (held.next(), held.next());
    if another.is_some() || code == Some(&Factor::Push) {
        return splits;
    }
    let mut wanted = [false; LENGTHS];
    if code.is_some() {
        for length in lengths {
            if let Some(slot) = wanted.get_mut(usize::from(Digits::MAX.get() - length.get())) {
                *slot = true;
            }
        }
    } else {
        // Without a code there is one reading, whatever the lengths.
        wanted = [true, false, false, false];
    }
    let read = |form| {
        let by_length = Cuts {
            code: form,
            pin: pin_chars,
        };
        let by_comma = Cuts {
            code: form,
            pin: None,
        };
        let reading = by_length.read(require, text);
        reading.or_else(|| by_comma.read(require, text))
    };
    let longest_first = (Digits::MIN.get()..=Digits::MAX.get()).rev();
    let codes = longest_first.zip(wanted).filter(|(_, wanted)| *wanted);
    let readings = codes.filter_map(|(digits, _)| read(Form::Digits(digits.into())));
    let fits = |split: &Split<'_>| match (split.pin, pin_chars) {
        (Some(pin), Some(chars)) => pin.chars().count() == chars,
        _ => true,
    };
    for fitting in [true, false] {
        for reading in readings.clone().filter(|one| fits(one) == fitting) {
            splits.push(reading);
        }
    }
    if code.is_some() {
        let yubikeys = extra.yubikeys.otps().map(Form::Yubikey);
        for reading in yubikeys.filter_map(read).take(YUBIKEYS) {
            splits.push(reading);
        }
        let recovery = [Form::Dashed, Form::Recovery];
        let recovery = recovery.into_iter().filter(|_| extra.recovery);
        let forms = recovery.chain([Form::Keyword(extra)]);
        for reading in forms.filter_map(read) {
            splits.push(reading);
        }
    }
    splits
}

impl<'t> Splits<'t> {
    fn push(&mut self, reading: Split<'t>) {
        if let Some(slot) = self.readings.get_mut(self.count) {
            *slot = reading;
            self.count += 1;
        }
    }
}

/// The form in which the code is looked for.
#[derive(Clone, Copy)]
enum Form<'k> {
    /// So many ASCII digits.
    Digits(usize),
    /// A recovery code with its dash.
    Dashed,
    /// A recovery code without it.
    Recovery,
    /// One of the keywords.
    Keyword(Extra<'k>),
    /// The OTP of a yubikey, so many letters.
    Yubikey(usize),
}

impl Form<'_> {
    /// Its length, where that is what it is cut off by; otherwise commas must stand around it.
    const fn chars(self) -> Option<usize> {
        match self {
            Self::Digits(length) | Self::Yubikey(length) => Some(length),
            Self::Dashed => Some(DASHED),
            Self::Recovery | Self::Keyword(_) => None,
        }
    }

    fn part(self, text: &str) -> Option<CodePart<'_>> {
        let (fits, part) = match self {
            Self::Digits(digits) => {
                let all_digits = text.bytes().all(|byte| byte.is_ascii_digit());
                (text.len() == digits && all_digits, CodePart::Digits(text))
            }
            Self::Dashed => (is_dashed(text), CodePart::Recovery(text)),
            Self::Recovery => (is_recovery(text), CodePart::Recovery(text)),
            Self::Keyword(extra) => (extra.is_keyword(text), CodePart::Keyword(text)),
            Self::Yubikey(length) => {
                let fits = text.len() == length && yubikey::is_otp(text);
                (fits, CodePart::Yubikey(text))
            }
        };
        fits.then_some(part)
    }
}

/// What parts are cut off by.
#[derive(Clone, Copy)]
struct Cuts<'k> {
    code: Form<'k>,
    /// The PIN's length in characters; `None`: by the comma nearest to it.
    pin: Option<usize>,
}

impl Cuts<'_> {
    fn chars(self, factor: Factor) -> Option<usize> {
        match factor {
            Factor::Password => None,
            Factor::Pin => self.pin,
            _ => self.code.chars(),
        }
    }

    /// Whether the comma between two parts cannot be left out.
    fn apart(self, one: Factor, other: Option<&Factor>) -> bool {
        let is_code = |factor: &Factor| !factor.is_knowledge();
        self.code.chars().is_none() && (is_code(&one) || other.is_some_and(is_code))
    }

    /// The one reading by these cuts.
    fn read<'t>(self, require: &[Factor], text: &'t str) -> Option<Split<'t>> {
        let mut split = Split::default();
        let (mut parts, mut rest) = (require, text);
        while let ([first, tail @ ..], [head @ .., last]) = (parts, parts)
            && !tail.is_empty()
        {
            let (factor, part);
            if let Some(chars) = self.chars(*last) {
                (rest, part) = cut_back(rest, chars)?;
                rest = match rest.strip_suffix(SEPARATOR) {
                    None if self.apart(*last, head.last()) => return None,
                    stripped => stripped.unwrap_or(rest),
                };
                (factor, parts) = (*last, head);
            } else if let Some(chars) = self.chars(*first) {
                (part, rest) = cut_front(rest, chars)?;
                rest = match rest.strip_prefix(SEPARATOR) {
                    None if self.apart(*first, tail.first()) => return None,
                    stripped => stripped.unwrap_or(rest),
                };
                (factor, parts) = (*first, tail);
            } else {
                // The code first: a PIN of unknown length may hold what the code cannot.
                let is_code = |factor: &Factor| !factor.is_knowledge();
                let is_pin = |factor: &Factor| *factor == Factor::Pin;
                if is_code(last) || (is_pin(last) && !is_code(first)) {
                    (rest, part) = rest.rsplit_once(SEPARATOR)?;
                    (factor, parts) = (*last, head);
                } else if is_code(first) || is_pin(first) {
                    (part, rest) = rest.split_once(SEPARATOR)?;
                    (factor, parts) = (*first, tail);
                } else {
                    return None;
                }
            }
            self.put(&mut split, factor, part)?;
        }
        self.put(&mut split, *parts.first()?, rest)?;
        Some(split)
    }

    fn put<'t>(self, split: &mut Split<'t>, factor: Factor, part: &'t str) -> Option<()> {
        let text = (!part.is_empty()).then_some(part)?;
        match factor {
            Factor::Password => split.password = Some(text),
            Factor::Pin => split.pin = Some(text),
            _ => split.code = Some(self.code.part(text)?),
        }
        Some(())
    }
}

/// Whether a box may hold a code beside something else, for all that can be said without a user's
/// tokens.
pub fn may_hold_code(text: &str) -> bool {
    let ends = |chars: usize| {
        let back = cut_back(text, chars).map(|(_, end)| end);
        let front = cut_front(text, chars).map(|(start, _)| start);
        [back, front].into_iter().flatten()
    };
    let number = |part: &str| part.bytes().all(|octet| octet.is_ascii_digit());
    let separated = [text.rsplit_once(SEPARATOR), text.split_once(SEPARATOR)];
    let mut separated = separated.into_iter().flatten();
    ends(usize::from(Digits::MIN.get())).any(number)
        || ends(DASHED).any(is_dashed)
        || ends(yubikey::BLOCK + 1).any(yubikey::is_otp)
        || separated.any(|(front, back)| is_recovery(front) || is_recovery(back))
}

/// Ten Crockford characters.
fn is_recovery(text: &str) -> bool {
    text.len() == RECOVERY && text.bytes().all(is_crockford)
}

/// Ten Crockford characters, a dash in their middle. With the dash it is a code also where letters are read for digits
/// ([`crate::otp::issued::canonical`]); without it `I`, `L` and `O` are those of a password or a keyword.
fn is_dashed(text: &str) -> bool {
    text.split_once('-').is_some_and(|(front, back)| {
        let halves = [front, back];
        let letter = |octet: u8| is_crockford(octet) || is_taken_for_digit(octet);
        let half = |text: &str| text.len() * 2 == RECOVERY && text.bytes().all(letter);
        halves.into_iter().all(half)
    })
}

/// All ASCII digits and letters without I, L, O and U.
const fn is_crockford(octet: u8) -> bool {
    octet.is_ascii_alphanumeric()
        && !matches!(octet.to_ascii_uppercase(), b'I' | b'L' | b'O' | b'U')
}

/// I, L and O, which are read as 1, 1 and 0.
const fn is_taken_for_digit(octet: u8) -> bool {
    matches!(octet.to_ascii_uppercase(), b'I' | b'L' | b'O')
}

/// The text without its last `chars` characters, and these.
fn cut_back(text: &str, chars: usize) -> Option<(&str, &str)> {
    let (at, _) = text.char_indices().rev().nth(chars.checked_sub(1)?)?;
    text.split_at_checked(at)
}

/// The first `chars` characters of a longer text, and what follows them.
fn cut_front(text: &str, chars: usize) -> Option<(&str, &str)> {
    let (at, _) = text.char_indices().nth(chars)?;
    text.split_at_checked(at)
}

const SEPARATOR: char = ',';

/// Characters of a recovery code, without and with its dash.
const RECOVERY: usize = 10;
const DASHED: usize = RECOVERY + 1;

/// How many forms there are that are no digits.
const OTHERS: usize = 3 + YUBIKEYS;

/// Lengths of OTPs of one user's yubikeys that are told apart in one box; nearly always there is one.
const YUBIKEYS: usize = 2;

/// How many code lengths there are.
const LENGTHS: usize = (Digits::MAX.get() - Digits::MIN.get() + 1) as usize;

#[cfg(test)]
mod tests;
