//! Values that must never be printed, and how they are held.
//!
//! A secret has no `Display` and a redacted `Debug`, is overwritten when dropped, and is compared
//! in constant time. The types are distinct so that a RADIUS shared secret cannot be passed where
//! an OTP key is wanted (both are called "shared secret" by their RFCs).
//!
//! Threat: seeds, codes and keys in logs, errors and core dumps (threats T26, T29). The redacted
//! `Debug` exists so that structures holding secrets can still derive it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// Octets that are overwritten on drop and never shown.
#[derive(Clone)]
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes ownership of the octets; the caller keeps no copy.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The octets themselves. The caller must not store or print them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for SecretBytes {
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes.to_vec())
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl PartialEq for SecretBytes {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretBytes {}

/// Text that is overwritten on drop and never shown: what a person typed, an API key.
#[derive(Clone, Default)]
pub struct SecretString(Zeroizing<String>);

impl SecretString {
    /// Takes ownership of the text; the caller keeps no copy.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Without its blanks (U+0020), when it holds digits and blanks only, and a blank.
    pub fn without_blanks(&self) -> Option<Self> {
        let mut octets = self.0.bytes();
        let blanks = self.0.contains(' ');
        if !blanks || !octets.all(|octet| octet == b' ' || octet.is_ascii_digit()) {
            return None;
        }
        // The capacity is enough, so no copy is left behind by growing.
        let mut text = String::with_capacity(self.0.len());
        text.extend(self.0.chars().filter(|c| *c != ' '));
        Some(Self::new(text))
    }

    /// The text itself. The caller must not store or print it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for SecretString {
    fn from(text: &str) -> Self {
        Self::new(text.to_owned())
    }
}

impl fmt::Debug for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl PartialEq for SecretString {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for SecretString {}

/// The password in a JSON body: read once into a secret, never written back.
impl<'de> serde::Deserialize<'de> for SecretString {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// A token's key K (RFC 4226 s5.1): 10 to 128 octets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OtpKey(SecretBytes);

impl OtpKey {
    /// Shortest key that is accepted at all: 80 bits, what old authenticator apps produced.
    pub const MIN: usize = 10;
    /// Keys shorter than this are accepted with a warning (RFC 4226 R6: 128 bits; SP 800-63B: 112).
    pub const ADVISED: usize = 14;
    /// Longest key: the block size of SHA-512; longer ones would only be hashed down.
    pub const MAX: usize = 128;
    /// Length of generated keys: 160 bits, as RFC 4226 R6 recommends.
    pub const GENERATED: usize = 20;

    /// Wraps key octets; `None` when the length is out of range.
    pub fn new(bytes: SecretBytes) -> Option<Self> {
        (Self::MIN..=Self::MAX)
            .contains(&bytes.expose().len())
            .then_some(Self(bytes))
    }

    /// The key octets.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

/// The secret between a RADIUS client and us (RFC 2865 s3): 1 to 128 octets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SharedSecret(SecretBytes);

impl SharedSecret {
    /// Longest secret that is accepted; appliances stop at 64.
    pub const MAX: usize = 128;
    /// Shorter ones are named by `oncegate doctor`.
    pub const ADVISED: usize = 16;

    /// Wraps the secret; `None` when empty (RFC 2865 s3 forbids it) or too long.
    pub fn new(bytes: SecretBytes) -> Option<Self> {
        (1..=Self::MAX)
            .contains(&bytes.expose().len())
            .then_some(Self(bytes))
    }

    /// The octets.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }

    /// Why it can be guessed from one captured packet (RFC 2865 s3: at least 16 octets), if so.
    pub fn weakness(&self) -> Option<&'static str> {
        let octets = self.expose();
        if octets.iter().all(|octet| octets.first() == Some(octet)) {
            return Some("one character over and over");
        }
        if is_made_of_words(octets) {
            return Some("a well known word");
        }
        (octets.len() < Self::ADVISED).then_some("fewer than 16 octets")
    }
}

/// Whether nothing but words that are tried first, digits and punctuation is there.
fn is_made_of_words(octets: &[u8]) -> bool {
    let mut rest = octets;
    let mut words = 0;
    while let Some((first, tail)) = rest.split_first() {
        let known = |word: &&&str| {
            let start = rest.get(..word.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
        };
        if let Some(word) = WORDS.iter().find(known) {
            words += 1;
            rest = rest.get(word.len()..).unwrap_or_default();
        } else if first.is_ascii_alphabetic() || !first.is_ascii() {
            return false;
        } else {
            rest = tail;
        }
    }
    words > 0
}

/// Secrets of examples, manuals and default installations.
const WORDS: [&str; 18] = [
    "testing",
    "test",
    "secret",
    "password",
    "passwort",
    "passwd",
    "radius",
    "cisco",
    "juniper",
    "fortinet",
    "shared",
    "sharedsecret",
    "changeme",
    "default",
    "admin",
    "vpn",
    "qwerty",
    "abc",
];

/// A 256-bit symmetric key.
#[derive(Clone, Zeroize)]
#[zeroize(drop)]
pub struct Key256([u8; 32]);

impl Key256 {
    /// Wraps key octets.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key octets.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for Key256 {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Key256 {}

impl fmt::Debug for Key256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Source of unpredictable octets; an argument wherever they are needed.
pub trait Entropy: Send + Sync + 'static {
    /// Fills the buffer. A failing source is an error, never weak octets.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError>;
}

/// The operating system gave no random octets.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the operating system's random number source failed")]
pub struct EntropyError;

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(buffer).map_err(|_| EntropyError)
    }
}

/// `N` unpredictable octets.
pub fn random<const N: usize>(entropy: &dyn Entropy) -> Result<[u8; N], EntropyError> {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes)?;
    Ok(bytes)
}

/// Unpredictable octets drawn many at a time. Each is given out once. Not for keys: what waits here
/// is ordinary memory.
#[derive(Default)]
pub struct Pool {
    octets: Vec<u8>,
}

impl Pool {
    /// `N` of them, at most [`Pool::SIZE`].
    pub fn draw<const N: usize>(&mut self, entropy: &dyn Entropy) -> Result<[u8; N], EntropyError> {
        if self.octets.len() < N {
            let mut fresh = vec![0; Self::SIZE];
            entropy.fill(&mut fresh)?;
            self.octets = fresh;
        }
        let rest = self.octets.len().saturating_sub(N);
        let mut drawn = [0; N];
        drawn.copy_from_slice(self.octets.get(rest..).unwrap_or_default());
        self.octets.truncate(rest);
        Ok(drawn)
    }

    /// Octets drawn at a time.
    pub const SIZE: usize = 1280;
}

/// A source that asks another one for many octets at a time, for work that needs a few thousand times. Octets are
/// overwritten as they are given out, and the rest when it is dropped.
pub struct Drawn {
    source: Arc<dyn Entropy>,
    octets: Mutex<Zeroizing<Vec<u8>>>,
}

impl Drawn {
    /// Has drawn nothing yet.
    pub fn new(source: Arc<dyn Entropy>) -> Self {
        Self {
            source,
            octets: Mutex::default(),
        }
    }

    /// Octets drawn at a time.
    const SIZE: usize = 4096;
}

impl Entropy for Drawn {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        if buffer.len() > Self::SIZE {
            return self.source.fill(buffer);
        }
        // What a panic left is given out no second time: it is cut off first.
        let mut octets = self.octets.lock().unwrap_or_else(PoisonError::into_inner);
        if octets.len() < buffer.len() {
            let mut fresh = Zeroizing::new(vec![0; Self::SIZE]);
            self.source.fill(&mut fresh)?;
            *octets = fresh;
        }
        let rest = octets.len() - buffer.len();
        for (to, from) in buffer.iter_mut().zip(octets.iter_mut().skip(rest)) {
            *to = std::mem::take(from);
        }
        octets.truncate(rest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_ahead_is_given_out_once() {
        struct Counting(Mutex<u32>);
        impl Entropy for Counting {
            fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
                for part in buffer.chunks_mut(4) {
                    let mut number = self.0.lock().unwrap();
                    *number += 1;
                    part.copy_from_slice(&number.to_be_bytes()[..part.len()]);
                }
                Ok(())
            }
        }
        let drawn = Drawn::new(Arc::new(Counting(Mutex::new(0))));
        let mut all: Vec<[u8; 4]> = (0..3000).map(|_| random(&drawn).unwrap()).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 3000);
        assert!(!all.contains(&[0; 4]));
        let mut long = vec![0; Drawn::SIZE + 4];
        drawn.fill(&mut long).unwrap();
        assert!(long.chunks(4).all(|part| part != [0; 4]));
    }

    #[test]
    fn a_pool_gives_each_octet_out_once() {
        struct Counting(Mutex<u8>);
        impl Entropy for Counting {
            fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
                let mut round = self.0.lock().unwrap();
                *round += 1;
                for (octet, number) in buffer.iter_mut().zip(0_usize..) {
                    *octet = *round ^ u8::try_from(number % 251).unwrap();
                }
                Ok(())
            }
        }
        let (entropy, mut pool) = (Counting(Mutex::new(0)), Pool::default());
        let mut drawn: Vec<u8> = Vec::new();
        for _ in 0..Pool::SIZE / 10 {
            let octets: [u8; 10] = pool.draw(&entropy).unwrap();
            drawn.extend(octets.iter().rev());
        }
        drawn.reverse();
        let mut expected = vec![0; Pool::SIZE];
        Counting(Mutex::new(0)).fill(&mut expected).unwrap();
        expected.sort_unstable();
        drawn.sort_unstable();
        assert_eq!(drawn, expected);
        let _: [u8; 10] = pool.draw(&entropy).unwrap();
        assert_eq!(*entropy.0.lock().unwrap(), 2, "then it is filled anew");
    }

    #[test]
    fn debug_shows_nothing() {
        let text = format!(
            "{:?} {:?} {:?}",
            SecretString::from("hunter2"),
            OtpKey::new(SecretBytes::from(&b"12345678901234567890"[..])),
            Key256::new([7; 32])
        );
        assert_eq!(text, "[redacted] Some(OtpKey([redacted])) [redacted]");
    }

    #[test]
    fn weak_shared_secrets_are_told_from_strong_ones() {
        let weakness = |text: &str| {
            let secret = SharedSecret::new(SecretBytes::from(text.as_bytes())).unwrap();
            secret.weakness()
        };
        for word in [
            "testing123",
            "SECRET",
            "password",
            "radius",
            "Cisco",
            "secretsecretsecret",
            "Password-1234567890!",
        ] {
            assert_eq!(weakness(word), Some("a well known word"), "{word}");
        }
        assert_eq!(
            weakness(&"x".repeat(40)),
            Some("one character over and over")
        );
        assert_eq!(weakness("k3v9Qp2mZr7tLwX"), Some("fewer than 16 octets"));
        for strong in [
            "k3v9Qp2mZr7tLwXs",
            "a-shared-secret-for-tests",
            "4711081541723390",
        ] {
            assert_eq!(weakness(strong), None, "{strong}");
        }
    }

    #[test]
    fn key_lengths_are_bounded() {
        let key = |n: usize| OtpKey::new(SecretBytes::new(vec![1; n]));
        assert!(key(9).is_none() && key(10).is_some() && key(128).is_some() && key(129).is_none());
        assert!(SharedSecret::new(SecretBytes::new(Vec::new())).is_none());
    }
}
