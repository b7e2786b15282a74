//! PINs and passwords that an attacker guesses within the attempts that are allowed.
//!
//! ```text
//! repeats     one character over and over (111111), or one piece (121212, 48294829)
//! run         up or down, past the end too (345678, 654321, 890123, abcdef)
//! keypad      lines of a telephone's keys (147258, 2580, 159357)
//! birth_date  year, month and day or day and month of birth: so all of YYYYMMDD, YYMMDD, DDMMYY..
//! phone       any four digits of the telephone number, in its order
//! user_name   the user's name, or four of its digits, or a part of it; forwards or backwards
//! common      what lists of leaked credentials begin with
//! ```
//!
//! The first three look for stretches of three or more characters and refuse a PIN when fewer
//! than [`FREE`] characters lie outside of all stretches together: `123987` has none, `123958` has
//! three. Six digits with a stretch of four are thus refused, a long PIN with one is not. They
//! look twice, the second time without a separator (`12-34-56`). The rules on persons look at the
//! digits alone, in their order, whatever stands between them.
//!
//! Limits: the rules refuse some 3 % of random six-digit PINs, which leaves a guesser of the
//! remaining ones no better off than before.

use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use crate::credential::common;
use crate::credential::text::{Form, Text};

/// What is known of the user who chooses, and so to an attacker who knows the user.
#[derive(Clone, Copy, Default)]
pub struct Personal<'a> {
    /// `YYYY-MM-DD`. Any other spelling counts as a number: no four digits of it.
    pub birth_date: Option<&'a str>,
    /// The telephone number, written in any way.
    pub phone: Option<&'a str>,
    /// The name they sign in with; of `domain\name` and `name@domain` the name counts.
    pub user: &'a str,
}

/// The rule that a PIN or password breaks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum Weak {
    /// A date of birth.
    #[error("it contains the date or year of birth")]
    BirthDate,
    /// On the list.
    #[error("it is one of the most common ones")]
    Common,
    /// Lines on a telephone's keys.
    #[error("it is a line on the keypad, such as 147258")]
    Keypad,
    /// Digits of the telephone number.
    #[error("it contains four or more digits of the telephone number")]
    Phone,
    /// The same again and again.
    #[error("it repeats the same characters, such as 111111 or 121212")]
    Repeats,
    /// Up or down.
    #[error("it counts up or down, such as 345678 or 890123")]
    Run,
    /// The user's name.
    #[error("it contains the user name or is a part of it")]
    UserName,
}

impl Weak {
    /// The stable word for answers and audit records.
    pub const fn word(self) -> &'static str {
        match self {
            Self::BirthDate => "birth_date",
            Self::Common => "common",
            Self::Keypad => "keypad",
            Self::Phone => "phone",
            Self::Repeats => "repeats",
            Self::Run => "run",
            Self::UserName => "user_name",
        }
    }
}

/// Whether a PIN may be chosen by this person; the first rule that it breaks if not.
pub fn check_pin(pin: &Text, personal: &Personal<'_>) -> Result<(), Weak> {
    let pin = Subject::new(pin);
    pin.check_patterns(Form::Pin, &[Weak::Repeats, Weak::Run, Weak::Keypad])?;
    pin.refuse(Weak::BirthDate, |pin| {
        let birth = digits(personal.birth_date.unwrap_or_default());
        // Year, month and day, day and month: every usual spelling of the whole has one of them.
        match (personal.birth_date, birth.as_slice()) {
            (Some(date), [y @ .., m1, m2, d1, d2]) if y.len() == 4 && is_date(date) => {
                let either = [[*m1, *m2, *d1, *d2], [*d1, *d2, *m1, *m2]];
                contains(&pin.digits, y) || either.iter().any(|day| contains(&pin.digits, day))
            }
            _ => shares_digits(&pin.digits, &birth),
        }
    })?;
    pin.refuse(Weak::Phone, |pin| {
        shares_digits(&pin.digits, &digits(personal.phone.unwrap_or_default()))
    })?;
    pin.refuse(Weak::UserName, |pin| {
        let name = name_of(personal.user);
        let number = digits(&name.iter().collect::<String>());
        pin.names(&name) || shares_digits(&pin.digits, &number)
    })?;
    pin.refuse(Weak::Common, |pin| {
        pin.is_one_of(common::PINS) || pin.is_common_password()
    })
}

/// Whether a password may be chosen by the user of this name; the first rule that it breaks if
/// not.
pub fn check_password(password: &Text, user: &str) -> Result<(), Weak> {
    let password = Subject::new(password);
    password.check_patterns(Form::Password, &[Weak::Repeats])?;
    password.refuse(Weak::UserName, |password| password.names(&name_of(user)))?;
    password.refuse(Weak::Common, Subject::is_common_password)
}

/// What the rules look at. Overwritten on drop.
struct Subject {
    /// In lower case.
    whole: Zeroizing<Vec<char>>,
    /// The same without its separator, if there is one.
    bare: Zeroizing<Vec<char>>,
    /// The ASCII digits alone.
    digits: Zeroizing<Vec<char>>,
}

impl Subject {
    fn new(text: &Text) -> Self {
        let whole = folded(text.expose());
        let mut bare = whole.clone();
        let sign = whole.iter().find(|c| !c.is_alphanumeric()).copied();
        bare.retain(|c| Some(*c) != sign);
        Self {
            digits: digits(text.expose()),
            bare,
            whole,
        }
    }

    fn refuse(&self, rule: Weak, breaks: impl Fn(&Self) -> bool) -> Result<(), Weak> {
        if breaks(self) { Err(rule) } else { Ok(()) }
    }

    /// The rules on stretches; of several that apply, the one that covers most.
    fn check_patterns(&self, form: Form, rules: &[Weak]) -> Result<(), Weak> {
        for text in [&self.whole, &self.bare] {
            if is_periodic(text, form.least()) {
                return Err(Weak::Repeats);
            }
            let mut all = vec![false; text.len()];
            // The first of equals wins.
            let mut most = (0, Weak::Repeats);
            for rule in rules {
                let mut covered = vec![false; text.len()];
                cover(*rule, text, &mut covered);
                let count = covered.iter().filter(|covered| **covered).count();
                if count > most.0 {
                    most = (count, *rule);
                }
                all.iter_mut().zip(covered).for_each(|(a, b)| *a |= b);
            }
            let free = all.iter().filter(|covered| !**covered).count();
            if free < FREE && most.0 > 0 {
                return Err(most.1);
            }
        }
        Ok(())
    }

    /// Whether the text contains the name or a part of it, or is contained in it; either way
    /// round. Names of one or two characters count only as the whole text.
    fn names(&self, name: &[char]) -> bool {
        let mut parts: Vec<Vec<char>> = name
            .split(|c| !c.is_alphanumeric())
            .map(<[char]>::to_vec)
            .collect();
        parts.push(name.to_vec());
        let backwards = parts.clone().into_iter().map(|mut part| {
            part.reverse();
            part
        });
        let parts: Vec<Vec<char>> = parts.clone().into_iter().chain(backwards).collect();
        parts.iter().any(|part| {
            contains(part, &self.whole)
                || part.len() >= NAME && (contains(&self.whole, part) || contains(&self.bare, part))
        })
    }

    fn is_one_of(&self, list: &str) -> bool {
        let same = |text: &[char], entry: &str| text.iter().copied().eq(entry.chars());
        list.split(' ')
            .any(|entry| same(&self.whole, entry) || same(&self.bare, entry))
    }

    /// What is tried first as a password: a PIN of letters is one, too.
    fn is_common_password(&self) -> bool {
        self.is_one_of(common::PASSWORDS) || self.is_word_with_tail()
    }

    /// A common word and at most [`TAIL`] digits or signs, or the like in front of it.
    fn is_word_with_tail(&self) -> bool {
        common::WORDS.split(' ').any(|word| {
            let word: Vec<char> = word.chars().collect();
            let rest = self.whole.len().saturating_sub(word.len());
            let tail = self.whole.strip_prefix(word.as_slice());
            let head = self.whole.strip_suffix(word.as_slice());
            rest <= TAIL
                && [tail, head]
                    .iter()
                    .flatten()
                    .any(|rest| rest.iter().all(|c| !c.is_alphabetic()))
        })
    }
}

/// Marks the stretches that a rule knows.
fn cover(rule: Weak, text: &[char], covered: &mut [bool]) {
    for start in 0..text.len() {
        let rest = text.get(start..).unwrap_or_default();
        let length = match rule {
            Weak::Repeats => stretch(rest, |a, b| a == b),
            Weak::Run => stretch(rest, follows).max(stretch(rest, |a, b| follows(b, a))),
            Weak::Keypad => on_a_line(rest),
            _ => 0,
        };
        if length >= STRETCH {
            covered
                .iter_mut()
                .skip(start)
                .take(length)
                .for_each(|c| *c = true);
        }
    }
}

/// How many characters from the first on stand each in the relation to the one before.
fn stretch(text: &[char], relation: impl Fn(char, char) -> bool) -> usize {
    let pairs = text.iter().zip(text.iter().skip(1));
    1 + pairs.take_while(|(a, b)| relation(**a, **b)).count()
}

/// The next digit (0 follows 9) or the next letter of the alphabet.
fn follows(a: char, b: char) -> bool {
    let next = u32::from(a) + 1 == u32::from(b);
    (a, b) == ('9', '0') || next && a.is_alphanumeric() && b.is_alphanumeric()
}

/// How many characters from the first on lie on one line of the keys.
fn on_a_line(text: &[char]) -> usize {
    let on = |line: &str, count: usize| {
        let line: Vec<char> = line.chars().collect();
        text.get(..count).is_some_and(|part| contains(&line, part))
    };
    let longest = |line: &&str| (1..=line.len()).rev().find(|count| on(line, *count));
    LINES.iter().filter_map(longest).max().unwrap_or_default()
}

/// Whether the text is one piece, shorter than `least`, at least twice.
fn is_periodic(text: &[char], least: usize) -> bool {
    (1..least).any(|period| {
        let shifted = text.iter().skip(period);
        2 * period <= text.len() && shifted.zip(text).all(|(a, b)| a == b)
    })
}

/// Whether four digits in a row are the same in both.
fn shares_digits(a: &[char], b: &[char]) -> bool {
    b.windows(SHARED).any(|window| contains(a, window))
}

fn contains(text: &[char], part: &[char]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window == part)
}

fn is_date(text: &str) -> bool {
    text.bytes()
        .map(|octet| octet.is_ascii_digit())
        .eq([true, true, true, true, false, true, true, false, true, true])
}

fn digits(text: &str) -> Zeroizing<Vec<char>> {
    only_of(text, text.chars().filter(char::is_ascii_digit))
}

fn folded(text: &str) -> Zeroizing<Vec<char>> {
    only_of(text, text.nfkc().flat_map(char::to_lowercase))
}

/// The characters in a buffer that does not grow for any PIN or password (growing leaves copies).
fn only_of(text: &str, characters: impl Iterator<Item = char>) -> Zeroizing<Vec<char>> {
    // Lower case has at most three characters for one.
    let mut kept = Zeroizing::new(Vec::with_capacity(3 * text.len()));
    kept.extend(characters);
    kept
}

/// The name of a user without domain, folded.
fn name_of(user: &str) -> Zeroizing<Vec<char>> {
    let name = user.rsplit(['\\', '/']).next().unwrap_or_default();
    folded(name.split('@').next().unwrap_or_default())
}

/// Characters that must lie outside of all stretches: a thousand guesses for six digits.
pub const FREE: usize = 3;

/// Shortest stretch.
const STRETCH: usize = 3;

/// Digits in a row that give a number away (capabilities D4).
const SHARED: usize = 4;

/// Shortest name, or part of one, that is looked for within a text.
const NAME: usize = 3;

/// Most characters beside a common word.
const TAIL: usize = 4;

/// The lines of a telephone's keys, both ways.
const LINES: [&str; 16] = [
    "123", "456", "789", "147", "2580", "369", "159", "357", "321", "654", "987", "741", "0852",
    "963", "951", "753",
];
