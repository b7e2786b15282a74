//! Challenges: what the person has proven so far, sealed and carried by anyone who asks.
//!
//! ```text
//! nonce 12 | AES-256-GCM( passed factors, demand, stage 2, issued 4, rule 1, source 1 ) 8 | tag 16
//! 36 octets, 48 characters; associated data: client, user and its age, policy and its text, revision
//! of the verifiers, tokens whose codes were right and the revisions of their records
//! ```
//!
//! There is no table that an attacker could fill: a challenge costs us nothing until it is answered.
//! It does not open for another client, user or policy, nor after the policy's text, the password or a
//! token that it rests on was changed, and it is answered once: the answer is remembered with the user's
//! counters until it expires (threats T41, T42); over HTTP a wrong one is none while a code that was sent has
//! tries left. The form is base64url, which every NAS carries unharmed, and within the 48 octets that all known
//! ones echo.
//!
//! The rule that began a login also ends it: its place in the policy is sealed, since what its
//! conditions looked at (address, attributes, context) need not come with the answer. So is the
//! assurance that was asked for, whether what was right adds to it, and, where the user was known, from
//! which of the known sources.
//!
//! There is no room for the names of tokens. Who opens it tries those that the user has.
//!
//! Nonces are random. The key changes every 36 hours, so that the number of nonces under one key
//! stays far below the 2^32 that SP 800-38D allows.

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::model::attempt::Proven;
use crate::model::source::Source;
use crate::policy::Factor;
use crate::secret::Key256;
use crate::time::UnixTime;

/// Factors, as a set.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Factors(u16);

impl Factors {
    pub(crate) fn contains(self, factor: Factor) -> bool {
        self.0 & bit(factor) != 0
    }

    pub(crate) fn with(self, factor: Factor) -> Self {
        Self(self.0 | bit(factor))
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether one of them is something that the user has.
    pub(crate) fn has_held(self) -> bool {
        let mut held = Factor::ALL.iter().filter(|factor| !factor.is_knowledge());
        held.any(|factor| self.contains(*factor))
    }
}

fn bit(factor: Factor) -> u16 {
    let place = Factor::ALL.iter().position(|known| *known == factor);
    place.map_or(0, |place| 1 << place)
}

/// What a challenge belongs to: it opens with all of this as it was.
#[derive(Clone, Copy)]
pub(crate) struct Binding<'a> {
    pub(crate) client: &'a str,
    pub(crate) user: &'a str,
    pub(crate) policy: &'a str,
    /// Stands for the policy's text, see [`crate::policy::Policy::text`].
    pub(crate) text: u64,
    /// When the user's record was made: another user of the same name is another user.
    pub(crate) since: UnixTime,
    /// Revision of the verifiers; 0 where the rule asks for nothing known.
    pub(crate) credentials: u64,
    /// The tokens whose codes were right, in the order of their serials.
    pub(crate) held: &'a [Proven],
}

/// How a login came to its challenge.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Stage {
    /// Something was right, and more is asked for.
    #[default]
    Round,
    /// Nothing was typed yet.
    Opening,
    /// An application began it.
    Application,
}

/// What a login has come to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reached<'a> {
    /// What was right.
    pub(crate) passed: Factors,
    /// Whether a held factor among it adds to what is known.
    pub(crate) adds: bool,
    /// The tokens whose codes were right, in the order of their serials.
    pub(crate) held: &'a [Proven],
    /// How it came to its challenge.
    pub(crate) stage: Stage,
}

/// What is sealed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Inside {
    /// What was right before.
    pub(crate) passed: Factors,
    /// Whether a held factor among it adds to what is known: a code by e-mail does not, nor do digits that were
    /// shown and came back on another channel.
    pub(crate) adds: bool,
    /// Assurance that was asked for: 0 to 3.
    pub(crate) least: u8,
    pub(crate) stage: Stage,
    /// When it was made, in whole seconds.
    pub(crate) issued: UnixTime,
    /// Place of the rule in the policy.
    pub(crate) rule: u8,
    /// Which known source of the user it was asked for from, see [`mark_of`]; 0: none.
    pub(crate) source: u8,
}

/// A challenge that opened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Opened {
    pub(crate) inside: Inside,
    /// Its name: rises with the second in which it was made.
    pub(crate) id: u64,
    /// The tokens whose codes were right before.
    pub(crate) held: Vec<Proven>,
}

/// Stands for a source, never 0.
pub(crate) fn mark_of(source: Source) -> u8 {
    let octets = source.octets().iter();
    let sum = octets.fold(0_u32, |sum, octet| (sum * 31 + u32::from(*octet)) % 255);
    u8::try_from(sum).unwrap_or_default() + 1
}

impl Inside {
    fn octets(self) -> Option<[u8; PLAIN]> {
        let stage = match self.stage {
            Stage::Round => 0,
            Stage::Opening => 1,
            Stage::Application => 2,
        };
        let least = u16::from(self.least.min(3)) << LEAST;
        let word = self.passed.0 | u16::from(self.adds) << ADDS | least | stage << STAGE;
        let issued = u32::try_from(self.issued.as_secs()).ok()?;
        let [w0, w1] = word.to_be_bytes();
        let [i0, i1, i2, i3] = issued.to_be_bytes();
        Some([w0, w1, i0, i1, i2, i3, self.rule, self.source])
    }

    fn read(plain: &[u8]) -> Option<Self> {
        let &[w0, w1, i0, i1, i2, i3, rule, source] = plain else {
            return None;
        };
        let word = u16::from_be_bytes([w0, w1]);
        Some(Self {
            passed: Factors(word & ((1 << ADDS) - 1)),
            adds: word >> ADDS & 1 == 1,
            least: (word >> LEAST & 3).to_be_bytes()[1],
            stage: match word >> STAGE {
                0 => Stage::Round,
                1 => Stage::Opening,
                2 => Stage::Application,
                _ => return None,
            },
            issued: UnixTime::from_secs(u32::from_be_bytes([i0, i1, i2, i3]).into()),
            rule,
            source,
        })
    }
}

/// Seals where a login stands. `nonce` is drawn at random.
pub(crate) fn seal(
    key: &Key256,
    binding: Binding<'_>,
    inside: Inside,
    nonce: [u8; NONCE],
) -> Option<String> {
    let plain = inside.octets()?;
    let payload = Payload {
        msg: &plain,
        aad: &binding.octets(),
    };
    let cipher = cipher(key, epoch(inside.issued.as_secs()));
    let sealed = cipher.encrypt((&nonce).into(), payload).ok()?;
    let mut octets = nonce.to_vec();
    octets.extend_from_slice(&sealed);
    Some(BASE64.encode(&octets))
}

/// A challenge as it came, not opened yet.
pub(crate) struct Closed {
    octets: Vec<u8>,
    ciphers: [Aes256Gcm; 3],
}

impl Closed {
    /// `None`: it is none of ours.
    pub(crate) fn read(key: &Key256, text: &str, now: UnixTime) -> Option<Self> {
        let octets = BASE64.decode(text.as_bytes()).ok()?;
        if octets.len() != NONCE + PLAIN + TAG {
            return None;
        }
        // An old one is still recognised for an epoch; one of the next is of a clock that was ahead.
        let here = epoch(now.as_secs());
        let epochs = [here, here.saturating_sub(1), here + 1];
        Some(Self {
            octets,
            ciphers: epochs.map(|epoch| cipher(key, epoch)),
        })
    }

    /// Opens it; `None` when it does not belong to this.
    pub(crate) fn open(&self, binding: Binding<'_>) -> Option<Opened> {
        let (nonce, sealed) = self.octets.split_first_chunk::<NONCE>()?;
        let aad = binding.octets();
        let plain = self.ciphers.iter().find_map(|cipher| {
            let payload = Payload {
                msg: sealed,
                aad: &aad,
            };
            cipher.decrypt(nonce.into(), payload).ok()
        })?;
        let inside = Inside::read(&plain)?;
        let (number, _) = nonce.split_first_chunk::<4>()?;
        let id = named(inside.issued, *number);
        Some(Opened {
            inside,
            id,
            held: binding.held.to_vec(),
        })
    }
}

/// The name of a challenge that was made then, as it is found in it when it opens; `None`: it is none of ours.
pub(crate) fn name_of(id: &str, made: UnixTime) -> Option<u64> {
    let octets = BASE64.decode(id.as_bytes()).ok()?;
    let (number, _) = octets.split_first_chunk::<4>()?;
    Some(named(made, *number))
}

fn named(made: UnixTime, number: [u8; 4]) -> u64 {
    made.as_secs() << 32 | u64::from(u32::from_be_bytes(number))
}

impl Binding<'_> {
    fn octets(&self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(96);
        for part in [self.client, self.user, self.policy] {
            octets.extend_from_slice(&(part.len() as u64).to_be_bytes());
            octets.extend_from_slice(part.as_bytes());
        }
        octets.extend_from_slice(&self.text.to_be_bytes());
        octets.extend_from_slice(&self.since.as_millis().to_be_bytes());
        octets.extend_from_slice(&self.credentials.to_be_bytes());
        for token in self.held {
            let serial = token.serial.as_str();
            octets.extend_from_slice(&(serial.len() as u64).to_be_bytes());
            octets.extend_from_slice(serial.as_bytes());
            octets.extend_from_slice(&token.revision.to_be_bytes());
        }
        octets
    }
}

const fn epoch(secs: u64) -> u64 {
    secs >> 17
}

pub(super) fn cipher(key: &Key256, epoch: u64) -> Aes256Gcm {
    let mut derived = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, key.expose())
        .expand(&epoch.to_be_bytes(), derived.as_mut())
        .expect("32 octets are within HKDF's limit");
    Aes256Gcm::new((&*derived).into())
}

/// Octets of a nonce.
pub(crate) const NONCE: usize = 12;
/// Octets that are sealed, and of the tag behind them.
const PLAIN: usize = 8;
const TAG: usize = 16;
/// Where the rest stands, above the factors.
const ADDS: u32 = 11;
const LEAST: u32 = 12;
const STAGE: u32 = 14;
pub(super) const BASE64: data_encoding::Encoding = data_encoding::BASE64URL_NOPAD;

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key256 = Key256::new([3; 32]);
    const NOW: UnixTime = UnixTime::from_secs(1_795_000_000);
    const BINDING: Binding<'static> = Binding {
        client: "vpn",
        user: "alice@default",
        policy: "default",
        text: 77,
        since: NOW,
        credentials: 4,
        held: &[],
    };

    fn inside() -> Inside {
        Inside {
            passed: Factors::default().with(Factor::Password),
            adds: true,
            least: 3,
            stage: Stage::Application,
            issued: NOW,
            rule: 255,
            source: 9,
        }
    }

    fn sealed() -> String {
        seal(&KEY, BINDING, inside(), [9; NONCE]).unwrap()
    }

    fn open(key: &Key256, binding: Binding<'_>, text: &str, now: UnixTime) -> Option<Opened> {
        Closed::read(key, text, now)?.open(binding)
    }

    #[test]
    fn opens_for_the_login_it_was_made_for_and_fits_every_nas() {
        let text = sealed();
        assert!(text.len() <= 48 && text.is_ascii());
        let opened = open(&KEY, BINDING, &text, NOW).unwrap();
        assert_eq!(opened.inside, inside());
        let later = Inside {
            issued: UnixTime::from_secs(NOW.as_secs() + 1),
            ..inside()
        };
        let later = seal(&KEY, BINDING, later, [0; NONCE]).unwrap();
        assert!(open(&KEY, BINDING, &later, NOW).unwrap().id > opened.id);
    }

    #[test]
    fn opens_for_no_one_else() {
        let text = sealed();
        for other in [
            Binding {
                client: "vpn2",
                ..BINDING
            },
            Binding {
                user: "bob@default",
                ..BINDING
            },
            Binding {
                policy: "lax",
                ..BINDING
            },
            Binding {
                text: 78,
                ..BINDING
            },
            Binding {
                credentials: 5,
                ..BINDING
            },
            Binding {
                since: UnixTime::from_secs(0),
                ..BINDING
            },
        ] {
            assert_eq!(open(&KEY, other, &text, NOW), None);
        }
        assert_eq!(open(&Key256::new([4; 32]), BINDING, &text, NOW), None);
        for end in 0..text.len() {
            assert_eq!(open(&KEY, BINDING, &text[..end], NOW), None);
        }
    }

    #[test]
    fn opens_with_the_tokens_that_it_rests_on_as_they_were() {
        fn of(held: &[Proven]) -> Binding<'_> {
            Binding { held, ..BINDING }
        }
        let token = |serial: &str, revision| Proven {
            serial: serial.parse().unwrap(),
            revision,
            first: false,
        };
        let held = [token("TOTP-A", 3), token("TOTP-B", 4)];
        let text = seal(&KEY, of(&held), inside(), [9; NONCE]).unwrap();
        assert_eq!(open(&KEY, of(&held), &text, NOW).unwrap().held, held);
        let changed = [token("TOTP-A", 4), token("TOTP-B", 4)];
        let others = [token("TOTP-A", 3), token("TOTP-C", 4)];
        for other in [&changed[..], &others, &held[..1], &[]] {
            assert_eq!(open(&KEY, of(other), &text, NOW), None, "{other:?}");
        }
    }

    #[test]
    fn every_set_of_factors_reads_back_beside_the_rest() {
        let all = Factor::ALL.iter();
        let all = all.fold(Factors::default(), |set, factor| set.with(*factor));
        assert!(all.0 < 1 << ADDS);
        for adds in [false, true] {
            for (passed, least) in [(all, 0), (Factors::default(), 3)] {
                let inside = Inside {
                    passed,
                    adds,
                    least,
                    ..inside()
                };
                assert_eq!(Inside::read(&inside.octets().unwrap()), Some(inside));
            }
        }
    }

    #[test]
    fn a_challenge_has_the_name_that_it_opens_with() {
        let opened = open(&KEY, BINDING, &sealed(), NOW).unwrap();
        assert_eq!(name_of(&sealed(), NOW), Some(opened.id));
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let text = sealed();
        for place in 0..text.len() {
            let mut bad = text.clone().into_bytes();
            bad[place] = if bad[place] == b'A' { b'B' } else { b'A' };
            let bad = String::from_utf8(bad).unwrap();
            assert_eq!(open(&KEY, BINDING, &bad, NOW), None, "{place}");
        }
    }

    #[test]
    fn is_recognised_across_the_change_of_keys() {
        for secs in [1 << 17, (1 << 17) - 1, (1 << 17) - 60] {
            let now = UnixTime::from_secs(10 * (1 << 17) + secs);
            let inside = Inside {
                issued: now,
                ..inside()
            };
            let text = seal(&KEY, BINDING, inside, [1; NONCE]).unwrap();
            for later in [0, 120, 1000] {
                let then = UnixTime::from_secs(now.as_secs() + later);
                assert!(open(&KEY, BINDING, &text, then).is_some(), "{secs} {later}");
            }
        }
    }
}
