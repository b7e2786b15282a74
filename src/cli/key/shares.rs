//! The master key in parts, of which some make it again (Shamir's secret sharing over GF(256), crate `blahaj`).
//!
//! ```text
//! 80 characters of Crockford's base 32 in groups of five, case and separators of no meaning:
//!   version (1) | fingerprint of the key (6) | how many make it (1) | of how many (1) | splitting (4) | share (33)
//!   | checksum (4): the first octets of the SHA-256 of what is before it
//! ```
//!
//! A share alone, or fewer than are needed, says nothing of the key; the fingerprint is the beginning of a hash of a
//! random key of 256 bits. Lines are checked one by one, so that what was mistyped is named by its line.

use blahaj::{Share, Sharks};
use data_encoding::{Encoding, Specification};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::secret::{Key256, SystemEntropy, random};

/// What is known of a splitting, and its shares.
pub(super) struct Shares {
    /// Names the key.
    pub(super) fingerprint: String,
    pub(super) shares: Vec<Zeroizing<String>>,
}

/// Splits a key into `count` shares, of which any `threshold` make it again.
pub(super) fn split(key: &Key256, threshold: u8, count: u8) -> Result<Shares, String> {
    let splitting: [u8; 4] = random(&SystemEntropy).map_err(|error| error.to_string())?;
    let fingerprint = fingerprint(key);
    let dealt = Sharks(threshold).dealer(key.expose()).take(count.into());
    let shares = dealt.map(|share| {
        let share = Zeroizing::new(Vec::from(&share));
        let mut octets = Zeroizing::new(Vec::with_capacity(LENGTH));
        octets.push(VERSION);
        octets.extend_from_slice(&fingerprint);
        octets.extend_from_slice(&[threshold, count]);
        octets.extend_from_slice(&splitting);
        octets.extend_from_slice(&share);
        let sum = checksum(&octets);
        octets.extend_from_slice(&sum);
        grouped(&octets)
    });
    Ok(Shares {
        fingerprint: shown(fingerprint),
        shares: shares.collect::<Result<_, _>>()?,
    })
}

/// Makes the key of the lines of a text, one share each; empty lines and those that begin with `#` are passed over.
pub(super) fn combine(text: &str) -> Result<(Key256, String), String> {
    let lines = (1..).zip(text.lines().map(str::trim));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let mut parts: Vec<Part> = Vec::new();
    for (number, line) in lines.take(usize::from(u8::MAX) + 1) {
        let part = Part::parse(number, line)?;
        if let Some(first) = parts.first() {
            part.goes_with(first)?;
        }
        if let Some(same) = parts.iter().find(|other| other.number() == part.number()) {
            return Err(format!(
                "lines {} and {number} are the same share, number {}",
                same.line,
                part.number()
            ));
        }
        parts.push(part);
    }
    let Some(first) = parts.first() else {
        return Err("there is no share: give one on each line".to_owned());
    };
    if parts.len() < usize::from(first.threshold) {
        let numbers: Vec<String> = parts.iter().map(|part| part.number().to_string()).collect();
        return Err(format!(
            "{} of the {} shares that are needed: number {} of {}",
            parts.len(),
            first.threshold,
            numbers.join(", "),
            first.count
        ));
    }
    let shares: Result<Vec<Share>, _> = parts
        .iter()
        .map(|part| Share::try_from(part.share.as_slice()))
        .collect();
    let shares = shares.map_err(str::to_owned)?;
    let sharks = Sharks(first.threshold);
    let key = sharks.recover(&shares).map_err(str::to_owned)?;
    let key = Zeroizing::new(key);
    let key: &[u8; 32] = key.as_slice().try_into().map_err(|_| UNLIKE.to_owned())?;
    let key = Key256::new(*key);
    let found = fingerprint(&key);
    if found != first.fingerprint {
        return Err(UNLIKE.to_owned());
    }
    Ok((key, shown(found)))
}

/// One share as it was typed.
struct Part {
    line: usize,
    fingerprint: [u8; 6],
    threshold: u8,
    count: u8,
    splitting: [u8; 4],
    share: Zeroizing<Vec<u8>>,
}

impl Part {
    fn parse(line: usize, text: &str) -> Result<Self, String> {
        let typed: Zeroizing<String> = Zeroizing::new(
            text.chars()
                .filter(|c| !c.is_ascii_whitespace() && *c != '-')
                .take(LENGTH * 8)
                .collect(),
        );
        let wrong = |what: &str| Err(format!("line {line}: {what}"));
        if typed.chars().count() != CHARACTERS {
            return wrong(&format!(
                "a share has {CHARACTERS} characters, this has {}",
                typed.chars().count()
            ));
        }
        let octets = encoding()?.decode(typed.as_bytes()).map(Zeroizing::new);
        let Ok(octets) = octets else {
            return wrong("a character that no share has");
        };
        let Some((body, sum)) = octets.split_last_chunk::<4>() else {
            return wrong("too short");
        };
        if checksum(body) != *sum {
            return wrong("mistyped: its checksum is wrong");
        }
        let parts = (|| {
            let (version, rest) = body.split_first()?;
            let (fingerprint, rest) = rest.split_first_chunk::<6>()?;
            let ([threshold, count], rest) = rest.split_first_chunk::<2>()?;
            let (splitting, share) = rest.split_first_chunk::<4>()?;
            let known = *version == VERSION && share.len() == 33 && *threshold > 0;
            known.then(|| Self {
                line,
                fingerprint: *fingerprint,
                threshold: *threshold,
                count: *count,
                splitting: *splitting,
                share: Zeroizing::new(share.to_vec()),
            })
        })();
        parts.map_or_else(
            || wrong("a share of a form that this version does not know"),
            Ok,
        )
    }

    /// Its number among the shares.
    fn number(&self) -> u8 {
        self.share.first().copied().unwrap_or_default()
    }

    fn goes_with(&self, first: &Self) -> Result<(), String> {
        let both = format!("lines {} and {}", first.line, self.line);
        if self.fingerprint != first.fingerprint {
            return Err(format!(
                "{both} are shares of different keys: {} and {}",
                shown(first.fingerprint),
                shown(self.fingerprint)
            ));
        }
        if self.splitting != first.splitting || self.threshold != first.threshold {
            return Err(format!(
                "{both} are of the same key, split at different times: shares of one splitting belong together"
            ));
        }
        Ok(())
    }
}

/// Names a key without saying anything of it.
pub(super) fn fingerprint(key: &Key256) -> [u8; 6] {
    let digest = Sha256::new()
        .chain_update(b"oncegate master key fingerprint")
        .chain_update(key.expose())
        .finalize();
    let mut first = [0; 6];
    first.copy_from_slice(&digest[..6]);
    first
}

fn shown(fingerprint: [u8; 6]) -> String {
    data_encoding::HEXUPPER.encode(&fingerprint)
}

fn checksum(octets: &[u8]) -> [u8; 4] {
    let digest = Sha256::digest(octets);
    let mut sum = [0; 4];
    sum.copy_from_slice(&digest[..4]);
    sum
}

fn grouped(octets: &[u8]) -> Result<Zeroizing<String>, String> {
    let text = Zeroizing::new(encoding()?.encode(octets));
    let mut grouped = Zeroizing::new(String::with_capacity(CHARACTERS * 6 / 5));
    for (at, character) in text.chars().enumerate() {
        if at > 0 && at % 5 == 0 {
            grouped.push('-');
        }
        grouped.push(character);
    }
    Ok(grouped)
}

/// Crockford's base 32: O is taken for 0, I and L for 1.
fn encoding() -> Result<Encoding, String> {
    let mut form = Specification::new();
    form.symbols.push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
    form.translate.from.push_str("abcdefghjkmnpqrstvwxyzOoIiLl");
    form.translate.to.push_str("ABCDEFGHJKMNPQRSTVWXYZ001111");
    form.encoding().map_err(|error| error.to_string())
}

const VERSION: u8 = 1;
/// Octets of a share with all that goes with it, and its characters.
const LENGTH: usize = 1 + 6 + 2 + 4 + 33 + 4;
const CHARACTERS: usize = LENGTH * 8 / 5;
const UNLIKE: &str = "the shares do not make the key that they are of: at least one was altered";

#[cfg(test)]
mod tests {
    use super::*;

    fn key(octet: u8) -> Key256 {
        Key256::new([octet; 32])
    }

    fn lines(shares: &Shares, which: &[usize]) -> String {
        let which = which.iter().map(|at| shares.shares[*at].as_str());
        which.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_threshold_of_shares_makes_the_key_and_fewer_do_not() {
        let shares = split(&key(7), 3, 5).unwrap();
        for a in 0..5 {
            for b in 0..5 {
                for c in 0..5 {
                    let text = lines(&shares, &[a, b, c]);
                    let made = combine(&text);
                    if a == b || b == c || a == c {
                        assert!(made.unwrap_err().contains("the same share"));
                    } else {
                        let (made, name) = made.unwrap();
                        assert_eq!(made.expose(), key(7).expose());
                        assert_eq!(name, shares.fingerprint);
                    }
                }
                if a != b {
                    let why = combine(&lines(&shares, &[a, b])).unwrap_err();
                    assert!(why.contains("2 of the 3 shares"), "{why}");
                }
            }
        }
        assert!(combine(&lines(&shares, &[0, 1, 2, 3, 4])).is_ok());
        assert!(combine("\n# nothing\n").unwrap_err().contains("no share"));
    }

    #[test]
    fn how_it_is_typed_is_of_no_meaning_but_every_character_is() {
        let shares = split(&key(1), 2, 2).unwrap();
        let text = lines(&shares, &[0, 1]);
        let typed = text
            .to_lowercase()
            .replace('-', " ")
            .replace('0', "o")
            .replace('1', "l");
        assert!(combine(&format!("# safe A\n{typed}\n")).is_ok());
        let first: Vec<char> = shares.shares[0].chars().collect();
        for at in 0..first.len() {
            if first[at] == '-' {
                continue;
            }
            let mut other = first.clone();
            other[at] = if other[at] == '7' { '8' } else { '7' };
            let other: String = other.into_iter().collect();
            let why = combine(&format!("{other}\n{}", *shares.shares[1])).unwrap_err();
            assert!(why.starts_with("line 1: mistyped"), "{at}: {why}");
        }
        for (bad, about) in [
            ("ABC", "80 characters"),
            ("U", "80 characters"),
            ("\u{7}", "80 characters"),
        ] {
            assert!(combine(bad).unwrap_err().contains(about));
        }
        let bad = "U".repeat(80);
        assert!(combine(&bad).unwrap_err().contains("no share has"));
        assert!(
            combine(&"A".repeat(1 << 20))
                .unwrap_err()
                .contains("80 characters")
        );
    }

    #[test]
    fn shares_that_do_not_belong_together_are_told_apart() {
        let (one, again, other) = (
            split(&key(1), 2, 3),
            split(&key(1), 2, 3),
            split(&key(2), 2, 3),
        );
        let [one, again, other] = [one, again, other].map(Result::unwrap);
        let mixed = |a: &Shares, b: &Shares| {
            combine(&format!("{}\n{}", *a.shares[0], *b.shares[1])).unwrap_err()
        };
        assert!(mixed(&one, &again).contains("split at different times"));
        assert!(mixed(&one, &other).contains("different keys"));
    }
}
