//! What is wrong with a file of tokens, or is not taken over with a token of it.

use crate::text::printable;
use crate::token_file::{base32_key, hex_key};

/// What cannot be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// Where.
    pub line: usize,
    /// Which token of the file it is, from 1; 0: it is no single one.
    pub entry: usize,
    /// What the file calls the token, where it says that.
    pub name: Option<String>,
    /// What is wrong, without the content.
    pub what: String,
    /// What to do about it.
    pub remedy: Remedy,
}

impl Fault {
    pub(super) fn new(line: usize, wrong: impl Into<Wrong>) -> Self {
        let Wrong { what, remedy } = wrong.into();
        Self {
            line,
            entry: 0,
            name: None,
            what,
            remedy,
        }
    }

    /// The same of a token that has these names.
    pub(super) fn named(mut self, serial: Option<&str>, user: Option<&str>) -> Self {
        self.name = named(serial, user);
        self
    }

    /// Which token it is, for people: a line may hold several.
    pub fn which(&self) -> Option<String> {
        (self.entry > 0).then(|| which(self.entry, self.name.as_deref()))
    }
}

pub(super) fn which(entry: usize, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("entry {entry}, {name}"),
        None => format!("entry {entry}"),
    }
}

/// What a token is called where something is said of it.
///
/// Threat: where columns are taken for each other, a key stands in the place of a name. What could be one is not shown.
pub(super) fn named(serial: Option<&str>, user: Option<&str>) -> Option<String> {
    let shown = |text: Option<&str>| {
        let text = text?.trim();
        let fits = !text.is_empty() && text.len() <= NAME_MAX && !could_be_key(text);
        fits.then(|| printable(text).into_owned())
    };
    match (shown(serial), shown(user)) {
        (Some(serial), Some(user)) => Some(format!("{serial} of {user}")),
        (serial, user) => serial.or(user),
    }
}

/// Whether a text could be a key, or one with a wrong character, in any of the forms that keys have in files.
fn could_be_key(text: &str) -> bool {
    let text = text.strip_prefix("0x").unwrap_or(text);
    let is_between = |sign: &char| matches!(sign, ':' | '-' | '=' | ' ');
    let mut signs = text.chars().filter(|sign| !is_between(sign)).peekable();
    let of_keys = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '+' | '/' | '_');
    let length = signs.clone().count();
    hex_key(text).is_ok() || base32_key(text).is_ok() || (length >= SHORTEST && signs.all(of_keys))
}

/// Characters of the shortest text that is taken for a key: 64 bits in hex.
const SHORTEST: usize = 16;

/// What a person does about a file, or a token in it, that cannot be read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Remedy {
    /// Correct what stands there.
    #[default]
    Correct,
    /// Say what the file is.
    NameFormat,
    /// Say whose token it is.
    NameOwner,
    /// Say how long a code lasts.
    NamePeriod,
    /// Give the key or password of the file.
    GiveKey,
    /// Give another one.
    GiveRightKey,
    /// Export it once more, it is damaged.
    ExportAgain,
    /// Export it once more, without a password.
    ExportPlain,
    /// Export it in a format that is read.
    ExportOtherwise,
    /// See that it is the right file, or say what it is.
    OtherFile,
    /// Take the DTD out.
    DropDtd,
    /// Leave it out: it is as the file says, and not for use.
    LeaveOut,
}

/// What a file says of a token that is not taken over with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Caution {
    /// Its clock is off.
    Drift,
    /// It ends some day.
    Ends,
    /// Its owner has a PIN, in a form that is no hash.
    Pin,
    /// Its owner has a password, in a form that is no hash.
    Password,
}

/// What is wrong, wherever it stands.
#[derive(Clone, Debug)]
pub(super) struct Wrong {
    what: String,
    remedy: Remedy,
}

impl<T: Into<String>> From<T> for Wrong {
    fn from(what: T) -> Self {
        let (what, remedy) = (what.into(), Remedy::Correct);
        Self { what, remedy }
    }
}

impl Remedy {
    pub(super) fn of(self, what: impl Into<String>) -> Wrong {
        let (what, remedy) = (what.into(), self);
        Wrong { what, remedy }
    }
}

/// Longest name of a token that is shown.
const NAME_MAX: usize = 64;
