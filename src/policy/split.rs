//! How one password box is read when its parts come joined: `hunter2,123456`.
//!
//! ```text
//! require            typed                    parts
//! password, otp      hunter2123456            hunter2 | 123456
//! pin, otp           8842,12345678            8842 | 12345678       codes of 8 digits
//! otp, password      123456hunter2            123456 | hunter2
//! password, pin, otp hunter28842123456        hunter2 | 8842 | 123456   the PIN has 4 characters
//! password, pin, otp hunter2,8842,123456      the same, also when the PIN's length is not known
//! ```
//!
//! Parts follow the order of `require`. What has a known length (the code, and a PIN whose length is
//! known) is cut off from both ends, and the rest is what is left; a PIN of unknown length ends at
//! the comma nearest to it, so that a password may hold commas. At each cut one comma is a separator
//! and removed, exactly one. A secret that begins or ends with a comma must be typed with separators.
//!
//! Tokens of several code lengths make several readings. They come most specific first: those whose
//! PIN has the known length, among them the longest code. The caller compares codes, which is cheap,
//! and hashes once: the reading whose code matches, else the first.
//!
//! Invariants:
//! - No part is empty: an empty password is an anonymous bind to some directories.
//! - A PIN of another than the known length is a wrong PIN and read all the same, where the rest
//!   allows: its code is then consumed as with any wrong PIN.
//! - A code is ASCII digits; full-width ones never are.
//!
//! Threat: the readings depend on the user's tokens and PIN. For a user who does not exist the caller
//! passes those of a typical one, or the missing hash tells that there is none.

use std::fmt;
use std::ops::Deref;

use crate::otp::Digits;
use crate::policy::factor::Factor;

/// One reading of a password box. A part is `None` when it is not asked for.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
pub struct Split<'t> {
    /// The password, not empty.
    pub password: Option<&'t str>,
    /// The PIN, not empty.
    pub pin: Option<&'t str>,
    /// The code: as many ASCII digits as one of the lengths.
    pub otp: Option<&'t str>,
}

/// Names the parts without what is in them.
impl fmt::Debug for Split<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.password.map(|_| Factor::Password),
            self.pin.map(|_| Factor::Pin),
            self.otp.map(|_| Factor::Otp),
        ];
        f.write_str("Split ")?;
        f.debug_set().entries(parts.iter().flatten()).finish()
    }
}

/// The readings, most specific first; at most one for each code length.
#[derive(Clone, Copy, Debug, Default)]
pub struct Splits<'t> {
    readings: [Split<'t>; LENGTHS],
    count: usize,
}

impl<'t> Deref for Splits<'t> {
    type Target = [Split<'t>];

    fn deref(&self) -> &[Split<'t>] {
        self.readings.get(..self.count).unwrap_or_default()
    }
}

/// Reads `text` as the parts that `require` asks for: some of password, PIN and code, in any order.
/// `lengths` are those of the codes of the user's tokens that count, `pin_chars` the length of the
/// PIN in characters. No reading: malformed, or, where a challenge may follow, the first factor alone.
pub fn split<'t>(
    require: &[Factor],
    text: &'t str,
    lengths: impl IntoIterator<Item = Digits>,
    pin_chars: Option<usize>,
) -> Splits<'t> {
    let mut splits = Splits::default();
    let mut wanted = [false; LENGTHS];
    if require.contains(&Factor::Otp) {
        for length in lengths {
            if let Some(slot) = wanted.get_mut(usize::from(Digits::MAX.get() - length.get())) {
                *slot = true;
            }
        }
    } else {
        // Without a code there is one reading, whatever the lengths.
        wanted = [true, false, false, false];
    }
    let longest_first = (Digits::MIN.get()..=Digits::MAX.get()).rev();
    let codes = longest_first.zip(wanted).filter(|(_, wanted)| *wanted);
    let readings = codes.filter_map(|(code, _)| {
        let lengths = Lengths {
            code: usize::from(code),
            pin: pin_chars,
        };
        let by_length = lengths.read(require, text);
        by_length.or_else(|| {
            Lengths {
                pin: None,
                ..lengths
            }
            .read(require, text)
        })
    });
    let fits = |split: &Split<'_>| match (split.pin, pin_chars) {
        (Some(pin), Some(chars)) => pin.chars().count() == chars,
        _ => true,
    };
    for fitting in [true, false] {
        for reading in readings.clone().filter(|one| fits(one) == fitting) {
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

/// What is known about the lengths of parts, in characters.
#[derive(Clone, Copy)]
struct Lengths {
    code: usize,
    pin: Option<usize>,
}

impl Lengths {
    fn of(self, factor: Factor) -> Option<usize> {
        match factor {
            Factor::Otp => Some(self.code),
            Factor::Pin => self.pin,
            _ => None,
        }
    }

    /// The one reading with these lengths.
    fn read<'t>(self, require: &[Factor], text: &'t str) -> Option<Split<'t>> {
        let mut split = Split::default();
        let (mut parts, mut rest) = (require, text);
        while let ([first, tail @ ..], [head @ .., last]) = (parts, parts)
            && !tail.is_empty()
        {
            let (factor, part);
            if let Some(chars) = self.of(*last) {
                (rest, part) = cut_back(rest, chars)?;
                rest = rest.strip_suffix(SEPARATOR).unwrap_or(rest);
                (factor, parts) = (*last, head);
            } else if let Some(chars) = self.of(*first) {
                (part, rest) = cut_front(rest, chars)?;
                rest = rest.strip_prefix(SEPARATOR).unwrap_or(rest);
                (factor, parts) = (*first, tail);
            } else if *last == Factor::Pin {
                (rest, part) = rest.rsplit_once(SEPARATOR)?;
                (factor, parts) = (*last, head);
            } else if *first == Factor::Pin {
                (part, rest) = rest.split_once(SEPARATOR)?;
                (factor, parts) = (*first, tail);
            } else {
                return None;
            }
            self.put(&mut split, factor, part)?;
        }
        self.put(&mut split, *parts.first()?, rest)?;
        Some(split)
    }

    fn put<'t>(self, split: &mut Split<'t>, factor: Factor, part: &'t str) -> Option<()> {
        let is_code = part.len() == self.code && part.bytes().all(|byte| byte.is_ascii_digit());
        let place = match factor {
            Factor::Password => &mut split.password,
            Factor::Pin => &mut split.pin,
            Factor::Otp if is_code => &mut split.otp,
            _ => return None,
        };
        *place = (!part.is_empty()).then_some(part);
        place.map(|_| ())
    }
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

/// How many code lengths there are.
const LENGTHS: usize = (Digits::MAX.get() - Digits::MIN.get() + 1) as usize;

#[cfg(test)]
mod tests;
