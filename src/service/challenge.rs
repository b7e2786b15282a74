//! Challenges: what the person has proven so far, sealed and carried by whoever asks.
//!
//! ```text
//! nonce 12 | AES-256-GCM( passed factors 2, expiry 4 ) 6 | tag 16     34 octets, 46 characters
//! associated data: client, user and its age, policy, rule, revision of the verifiers
//! ```
//!
//! There is no table that an attacker could fill: a challenge costs us nothing until it is answered.
//! It does not open for another client, user, policy or rule, nor after the password was changed,
//! and it is answered once: the answer is remembered with the user's counters until it expires
//! (SECURITY T41, T42). The form is base64url, which every gear carries unharmed, and within the 48
//! octets that all known gear echoes.
//!
//! Nonces are random. The key changes every 36 hours, so that the number of nonces under one key
//! stays far below the 2^32 that SP 800-38D allows.

use aes_gcm::Aes256Gcm;
use aes_gcm::KeyInit;
use aes_gcm::aead::Aead;
use aes_gcm::aead::Payload;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::model::user::Answered;
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
}

fn bit(factor: Factor) -> u16 {
    let place = Factor::ALL.iter().position(|known| *known == factor);
    place.map_or(0, |place| 1 << place)
}

/// What a challenge belongs to.
#[derive(Clone, Copy)]
pub(crate) struct Binding<'a> {
    pub(crate) client: &'a str,
    pub(crate) user: &'a str,
    pub(crate) policy: &'a str,
    pub(crate) rule: &'a str,
    /// When the user's record was made: another user of the same name is another user.
    pub(crate) since: UnixTime,
    pub(crate) credentials: u64,
}

/// A challenge that opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Opened {
    /// What was right before.
    pub(crate) passed: Factors,
    /// Its name, to be remembered when it is answered.
    pub(crate) answer: Answered,
}

/// Seals what was right so far. `nonce` is drawn at random.
pub(crate) fn seal(
    key: &Key256,
    binding: Binding<'_>,
    passed: Factors,
    expires: UnixTime,
    nonce: [u8; NONCE],
) -> Option<String> {
    let expires = u32::try_from(expires.as_secs()).ok()?;
    let mut plain = [0; PLAIN];
    plain[..2].copy_from_slice(&passed.0.to_be_bytes());
    plain[2..].copy_from_slice(&expires.to_be_bytes());
    let payload = Payload {
        msg: &plain,
        aad: &binding.octets(),
    };
    let cipher = cipher(key, epoch(u64::from(expires)));
    let sealed = cipher.encrypt((&nonce).into(), payload).ok()?;
    let mut octets = nonce.to_vec();
    octets.extend_from_slice(&sealed);
    Some(BASE64.encode(&octets))
}

/// Opens a challenge; `None` when it is not ours, or not this login's.
pub(crate) fn open(
    key: &Key256,
    binding: Binding<'_>,
    text: &str,
    now: UnixTime,
) -> Option<Opened> {
    let octets = BASE64.decode(text.as_bytes()).ok()?;
    let (nonce, sealed) = octets.split_first_chunk::<NONCE>()?;
    let payload = || Payload {
        msg: sealed,
        aad: &[],
    };
    let aad = binding.octets();
    let here = epoch(now.as_secs());
    // It expires at most an epoch from now; an old one is still recognised for an epoch.
    let plain = [here, here + 1, here.saturating_sub(1)]
        .into_iter()
        .find_map(|epoch| {
            let payload = Payload {
                aad: &aad,
                ..payload()
            };
            cipher(key, epoch).decrypt(nonce.into(), payload).ok()
        })?;
    let (passed, expires) = plain.split_first_chunk::<2>()?;
    let expires: [u8; 4] = expires.try_into().ok()?;
    let (id, _) = nonce.split_first_chunk::<8>()?;
    Some(Opened {
        passed: Factors(u16::from_be_bytes(*passed)),
        answer: Answered {
            challenge: u64::from_be_bytes(*id),
            expires: UnixTime::from_secs(u32::from_be_bytes(expires).into()),
        },
    })
}

/// Which code a round was begun with: behind the challenge, for whoever began it over HTTP and asks
/// how it stands, or finishes it without typing anything.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Ticket {
    /// Whose.
    pub(crate) user: String,
    /// Of which token; empty where there is none.
    pub(crate) serial: String,
    /// The number of the code.
    pub(crate) number: u64,
    /// From when nothing more comes of it.
    pub(crate) expires: UnixTime,
}

/// The challenge itself, and the ticket behind it when there is one.
pub(crate) fn parts(text: &str) -> (&str, Option<&str>) {
    match text.split_once(TICKET) {
        Some((id, ticket)) => (id, Some(ticket)),
        None => (text, None),
    }
}

/// Puts a ticket behind a challenge, for this client. `nonce` is drawn at random.
pub(crate) fn with_ticket(
    key: &Key256,
    client: &str,
    id: &str,
    ticket: &Ticket,
    nonce: [u8; NONCE],
) -> Option<String> {
    let mut plain = ticket.number.to_be_bytes().to_vec();
    plain.extend_from_slice(&ticket.expires.as_millis().to_be_bytes());
    plain.extend_from_slice(ticket.serial.as_bytes());
    plain.push(0);
    plain.extend_from_slice(ticket.user.as_bytes());
    // Length tells nothing about whether there is such a user or token.
    plain.resize(plain.len().next_multiple_of(128), 0);
    let payload = Payload {
        msg: &plain,
        aad: &ticket_binding(client, id),
    };
    let sealed = cipher(key, TICKETS)
        .encrypt((&nonce).into(), payload)
        .ok()?;
    let octets = [nonce.as_slice(), &sealed].concat();
    Some([id, &BASE64.encode(&octets)].join(TICKET))
}

/// Opens the ticket behind a challenge; `None` when there is none, or it is another client's.
pub(crate) fn open_ticket(key: &Key256, client: &str, text: &str) -> Option<Ticket> {
    let (id, ticket) = parts(text);
    let octets = BASE64.decode(ticket?.as_bytes()).ok()?;
    let (nonce, sealed) = octets.split_first_chunk::<NONCE>()?;
    let payload = Payload {
        msg: sealed,
        aad: &ticket_binding(client, id),
    };
    let plain = cipher(key, TICKETS).decrypt(nonce.into(), payload).ok()?;
    let (number, rest) = plain.split_first_chunk::<8>()?;
    let (expires, rest) = rest.split_first_chunk::<8>()?;
    let mut texts = rest.split(|octet| *octet == 0);
    let mut text = || String::from_utf8(texts.next()?.to_vec()).ok();
    let (serial, user) = (text()?, text()?);
    Some(Ticket {
        user,
        serial,
        number: u64::from_be_bytes(*number),
        expires: UnixTime::from_millis(u64::from_be_bytes(*expires)),
    })
}

fn ticket_binding(client: &str, id: &str) -> Vec<u8> {
    [client.as_bytes(), b"\0", id.as_bytes()].concat()
}

impl Binding<'_> {
    fn octets(&self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(96);
        for part in [self.client, self.user, self.policy, self.rule] {
            octets.extend_from_slice(&(part.len() as u64).to_be_bytes());
            octets.extend_from_slice(part.as_bytes());
        }
        octets.extend_from_slice(&self.since.as_millis().to_be_bytes());
        octets.extend_from_slice(&self.credentials.to_be_bytes());
        octets
    }
}

const fn epoch(secs: u64) -> u64 {
    secs >> 17
}

fn cipher(key: &Key256, epoch: u64) -> Aes256Gcm {
    let mut derived = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, key.expose())
        .expand(&epoch.to_be_bytes(), derived.as_mut())
        .expect("32 octets are within HKDF's limit");
    Aes256Gcm::new((&*derived).into())
}

/// Between a challenge and its ticket.
pub(crate) const TICKET: &str = ".";
/// Stands for an epoch, so that tickets have a key of their own: no time is so far away.
const TICKETS: u64 = u64::MAX;
/// Octets of a nonce.
pub(crate) const NONCE: usize = 12;
const PLAIN: usize = 6;
const BASE64: data_encoding::Encoding = data_encoding::BASE64URL_NOPAD;

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key256 = Key256::new([3; 32]);
    const NOW: UnixTime = UnixTime::from_secs(1_795_000_000);
    const BINDING: Binding<'static> = Binding {
        client: "vpn",
        user: "alice@default",
        policy: "default",
        rule: "staff",
        since: NOW,
        credentials: 4,
    };

    fn sealed() -> String {
        let passed = Factors::default().with(Factor::Password);
        let expires = UnixTime::from_secs(NOW.as_secs() + 120);
        seal(&KEY, BINDING, passed, expires, [9; NONCE]).unwrap()
    }

    #[test]
    fn opens_for_the_login_it_was_made_for_and_fits_every_gear() {
        let text = sealed();
        assert!(text.len() <= 48 && text.is_ascii());
        let opened = open(&KEY, BINDING, &text, NOW).unwrap();
        assert!(opened.passed.contains(Factor::Password) && !opened.passed.contains(Factor::Otp));
        assert_eq!(opened.answer.expires.as_secs(), NOW.as_secs() + 120);
    }

    #[test]
    fn opens_for_nobody_else() {
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
                rule: "others",
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
            let expires = UnixTime::from_secs(now.as_secs() + 120);
            let text = seal(&KEY, BINDING, Factors::default(), expires, [1; NONCE]).unwrap();
            for later in [0, 120, 1000] {
                let then = UnixTime::from_secs(now.as_secs() + later);
                assert!(open(&KEY, BINDING, &text, then).is_some(), "{secs} {later}");
            }
        }
    }
}
