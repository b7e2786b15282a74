//! The one spelling of a person: `name@realm`.
//!
//! Every lookup, lock, counter, cache key and log line uses this key. Where two spellings of one
//! person had two keys, attackers chose the spelling without a second factor (`FortiOS`
//! CVE-2020-12812) or with fresh guess counters (Vault CVE-2025-6004): threats T43.
//!
//! Sources: Unicode 3.13 D145 (case folding), UAX 15 (NFKC), UAX 31 s2.3 (what is invisible);
//! RFC 2865 s5.1 (User-Name, at most 253 octets).
//!
//! # Canonical form
//!
//! 1. Refuse what cannot be seen or has no fixed meaning: controls, bidirectional controls and all
//!    other default-ignorable characters, unassigned and private-use code points.
//! 2. NFKC and full case folding, repeated until nothing changes (one pass of each is not
//!    idempotent), so that `ALICE`, full-width `alice` and `alice` are one.
//! 3. Split `name@realm` at the last `@`, or `DOMAIN\name` at the backslash; [`DEFAULT_REALM`]
//!    when there is neither. Splitting comes after step 2: a full-width `@` is an `@`.
//! 4. Trim both halves; a run of spaces inside is one space, as directories compare.
//!
//! Both separators in one text (`DOMAIN\alice@realm`) is refused: it names two realms, and
//! whichever were chosen, the front end in between may have chosen the other.
//!
//! Invariants: `parse(k.to_string()) == k`; a key holds no backslash, no control and at most
//! [`UserKey::MAX`] octets.
//!
//! Limits: look-alikes of different scripts (Cyrillic U+0430 for `a`) stay different people, and so do
//! dotless i (U+0131) and `i`: an unknown user is rejected, never let in with fewer factors.
//! A Windows domain and its DNS name are two realms.
//! Case folding knows Unicode 16: letters of scripts added later do not fold, and would from the
//! release on whose table knows them.

use std::fmt;
use std::str::FromStr;

use caseless::Caseless;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{is_combining_mark, is_public_assigned};

/// A user's name and realm in canonical form.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UserKey {
    name: String,
    realm: String,
}

impl UserKey {
    /// Most octets of a key as displayed (`name@realm`): what fits into a RADIUS User-Name.
    pub const MAX: usize = 253;

    /// Reads what a person, a NAS or an application calls the user: `name`, `name@realm` or
    /// `DOMAIN\name`.
    pub fn parse(text: &str) -> Result<Self, InvalidUserKey> {
        Self::parse_in(text, DEFAULT_REALM)
    }

    /// As [`UserKey::parse`], with the realm of a name without one; it is canonical already.
    pub fn parse_in(text: &str, realm: &str) -> Result<Self, InvalidUserKey> {
        if is_plain(text) {
            return Self::new(text, realm);
        }
        let text = canonical(text)?;
        match (text.split_once('\\'), text.rsplit_once('@')) {
            (Some(_), Some(_)) => Err(InvalidUserKey::TwoRealms),
            (Some((realm, name)), None) | (None, Some((name, realm))) => Self::new(name, realm),
            (None, None) => Self::new(&text, realm),
        }
    }

    /// A name that is known to belong to `realm`; the name is not split and may hold `@`.
    pub fn with_realm(name: &str, realm: &str) -> Result<Self, InvalidUserKey> {
        if is_plain(name) && is_plain(realm) {
            return Self::new(name, realm);
        }
        Self::new(&canonical(name)?, &canonical(realm)?)
    }

    /// The owner of tokens that are no user's yet: no text names it.
    pub const fn stock() -> Self {
        Self {
            name: String::new(),
            realm: String::new(),
        }
    }

    /// Whether it is that one.
    pub const fn is_stock(&self) -> bool {
        self.name.is_empty()
    }

    /// From the halves that a record holds.
    pub fn stored(name: &str, realm: &str) -> Result<Self, InvalidUserKey> {
        if name.is_empty() && realm.is_empty() {
            return Ok(Self::stock());
        }
        Self::with_realm(name, realm)
    }

    /// Joins two halves in canonical characters.
    fn new(name: &str, realm: &str) -> Result<Self, InvalidUserKey> {
        if is_plain(name) && is_plain(realm) && name.len() + 1 + realm.len() <= Self::MAX {
            let (name, realm) = (name.to_owned(), realm.to_owned());
            return Ok(Self { name, realm });
        }
        let (name, realm) = (single_spaced(name), single_spaced(realm));
        if name.is_empty() {
            return Err(InvalidUserKey::Empty);
        }
        if realm.is_empty() {
            return Err(InvalidUserKey::EmptyRealm);
        }
        if name.contains('\\') || realm.contains(['\\', '@']) {
            return Err(InvalidUserKey::Separator);
        }
        if [&name, &realm]
            .iter()
            .any(|half| half.starts_with(is_combining_mark))
        {
            return Err(InvalidUserKey::LeadingMark);
        }
        if name.len() + 1 + realm.len() > Self::MAX {
            return Err(InvalidUserKey::TooLong);
        }
        Ok(Self { name, realm })
    }

    /// As displayed; what `to_string` gives, without its detours.
    pub fn joined(&self) -> String {
        let mut text = String::with_capacity(self.name.len() + 1 + self.realm.len());
        text.push_str(&self.name);
        text.push('@');
        text.push_str(&self.realm);
        text
    }

    /// The name within the realm.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The realm; [`DEFAULT_REALM`] when none was given.
    pub fn realm(&self) -> &str {
        &self.realm
    }
}

impl fmt::Display for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.joined())
    }
}

impl FromStr for UserKey {
    type Err = InvalidUserKey;

    fn from_str(text: &str) -> Result<Self, InvalidUserKey> {
        Self::parse(text)
    }
}

/// Why a text names no one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidUserKey {
    /// A control character: NUL, line feed, escape, ...
    #[error("the user name holds a control character")]
    Control,
    /// Nothing, or nothing but spaces, where the name should be.
    #[error("the user name is empty")]
    Empty,
    /// A separator with nothing on the realm's side.
    #[error("the realm is empty")]
    EmptyRealm,
    /// Something that is not seen but tells two names apart: zero-width, bidirectional, filler.
    #[error("the user name holds an invisible or text-direction character")]
    Invisible,
    /// An accent with no letter under it, which would attach to whatever is printed before it.
    #[error("the user name or the realm starts with a combining mark")]
    LeadingMark,
    /// A backslash inside a half, or an `@` inside the realm.
    #[error("the user name or the realm holds a separator (backslash, or @ in a realm)")]
    Separator,
    /// More than [`UserKey::MAX`] octets.
    #[error("the user name and realm are longer than 253 octets")]
    TooLong,
    /// `DOMAIN\name@realm`.
    #[error("the user name has both DOMAIN\\ and @realm; give one of them")]
    TwoRealms,
    /// A code point that Unicode has not assigned (yet), or assigned to no one in particular.
    #[error("the user name holds a character without a defined meaning")]
    Unassigned,
    /// Normalisation does not come to rest.
    #[error("the user name has no stable canonical form")]
    Unstable,
}

/// Whether this is a half in canonical form beyond doubt, as nearly all are: none of the rules finds
/// anything to do. What is written back by us is read again with each login.
fn is_plain(text: &str) -> bool {
    let plain = |octet: u8| {
        octet.is_ascii_graphic() && !octet.is_ascii_uppercase() && octet != b'@' && octet != b'\\'
    };
    !text.is_empty() && text.bytes().all(plain)
}

/// Visible characters only, compatibility-normalised and case-folded.
fn canonical(text: &str) -> Result<String, InvalidUserKey> {
    // Bounds the work before it is done; four octets may become one, never one two.
    if text.len() > UserKey::MAX * 4 {
        return Err(InvalidUserKey::TooLong);
    }
    // Nearly all names: their normal form is themselves, and folding is lower case.
    if text.is_ascii() {
        if text.bytes().any(|octet| octet.is_ascii_control()) {
            return Err(InvalidUserKey::Control);
        }
        return Ok(text.to_ascii_lowercase());
    }
    canonical_unicode(text)
}

fn canonical_unicode(text: &str) -> Result<String, InvalidUserKey> {
    seen(text)?;
    let mut form = folded(text);
    for _ in 0..MOST_PASSES {
        let next = folded(&form);
        if next == form {
            // Normalisation can uncover what was refused above (U+FFA0 becomes U+1160).
            seen(&form)?;
            return Ok(form);
        }
        form = next;
    }
    Err(InvalidUserKey::Unstable)
}

/// One pass of NFKC, case folding, NFKC.
fn folded(text: &str) -> String {
    text.nfkc().default_case_fold().nfkc().collect()
}

/// Refuses what a reader of the name would not see.
fn seen(text: &str) -> Result<(), InvalidUserKey> {
    for c in text.chars() {
        if c.is_control() {
            return Err(InvalidUserKey::Control);
        }
        if INVISIBLE
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&c))
        {
            return Err(InvalidUserKey::Invisible);
        }
        // U+FFFD stands where a decoder lost octets: two names lost the same way are not one.
        if !is_public_assigned(c) || matches!(c, '\u{fffc}' | '\u{fffd}') {
            return Err(InvalidUserKey::Unassigned);
        }
    }
    Ok(())
}

/// Trimmed, and every run of white space one space.
fn single_spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The realm of the people who sign in to the console; the client in whose name they do, and its policy.
pub const CONSOLE: &str = "console";
/// The client in whose name users sign in to self-service, and its policy.
pub const SELF_SERVICE: &str = "self-service";
/// The realm of users that are named without one.
pub const DEFAULT_REALM: &str = "default";

/// Passes until the canonical form must have come to rest. The tests find no text that needs
/// more; one that did would be refused, not accepted in two forms.
const MOST_PASSES: usize = 4;

/// Unicode 17: `General_Category` Cf, Zl and Zp, and `Default_Ignorable_Code_Point`; and three that
/// are drawn as nothing (U+2800, U+16FE4, U+1D159). Includes the joiners U+200C and U+200D, which some scripts use
/// inside words: a name that needs them is refused rather than told apart by them.
const INVISIBLE: [(char, char); 28] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
    ('\u{16fe4}', '\u{16fe4}'),
    ('\u{1d159}', '\u{1d159}'),
];

#[cfg(test)]
mod tests;
