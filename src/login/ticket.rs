//! Tickets behind challenges: over HTTP, where the id need not fit a NAS, a challenge says how it stands, and a round
//! that an application began is finished without typing anything.
//!
//! ```text
//! challenge 48 characters | "." or "~" | nonce 12 | AES-256-GCM( number 8, expires 8, serial, user, zeros ) | tag 16
//! associated data: client, challenge; a key for each of the signs
//! ```
//!
//! A ticket is as long with a token as without one, and as long for every name of a length.

use aes_gcm::aead::{Aead, Payload};

use crate::login::challenge::{BASE64, Inside, NONCE, Stage, cipher};
use crate::model::id::Serial;
use crate::policy::Policy;
use crate::secret::Key256;
use crate::time::UnixTime;

/// What stands for a challenge in the record of the code that answers it, see
/// [`crate::model::user_state::Answered::mark`]. It need not be opened for that.
pub(crate) fn mark(text: &str) -> Option<u32> {
    let (id, _) = parts(text);
    let octets = BASE64.decode(id.as_bytes()).ok()?;
    let (number, _) = octets.split_first_chunk::<4>()?;
    Some(u32::from_be_bytes(*number))
}

/// What a ticket stands behind. None passes for one of the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Behind {
    /// A round that an application began: its ticket stands for an answer on another channel.
    Begun,
    /// A challenge of a login: its ticket says how that stands, and for nothing else. The number is the
    /// challenge's name.
    Login,
}

impl Behind {
    /// Between a challenge and its ticket: no character of theirs.
    const fn sign(self) -> &'static str {
        match self {
            Self::Begun => TICKET,
            Self::Login => "~",
        }
    }

    /// Stands for an epoch, so that tickets have keys of their own: no time is so far away.
    const fn epoch(self) -> u64 {
        match self {
            Self::Begun => u64::MAX,
            Self::Login => u64::MAX - 1,
        }
    }
}

/// Which code a round was begun with: behind the challenge, for anyone who began it over HTTP and asks
/// how it stands, or finishes it without typing anything. Or which challenge of a login it is.
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

/// The challenge itself, and the ticket behind it when an application began it.
pub(crate) fn parts(text: &str) -> (&str, Option<&str>) {
    match text.split_once(TICKET) {
        Some((id, ticket)) => (id, Some(ticket)),
        None => (split(text, Behind::Login).map_or(text, |(id, _)| id), None),
    }
}

fn split(text: &str, behind: Behind) -> Option<(&str, &str)> {
    text.split_once(behind.sign())
}

/// Puts a ticket behind a challenge, for this client. `nonce` is drawn at random.
pub(crate) fn with_ticket(
    key: &Key256,
    client: &str,
    id: &str,
    (ticket, behind): (&Ticket, Behind),
    nonce: [u8; NONCE],
) -> Option<String> {
    let mut plain = ticket.number.to_be_bytes().to_vec();
    plain.extend_from_slice(&ticket.expires.as_millis().to_be_bytes());
    plain.extend_from_slice(ticket.serial.as_bytes());
    plain.push(0);
    plain.extend_from_slice(ticket.user.as_bytes());
    // Length tells nothing about whether there is such a user or token: a serial takes the longest one's room.
    let most = plain.len() - ticket.serial.len() + Serial::MAX;
    plain.resize(most.next_multiple_of(128), 0);
    let payload = Payload {
        msg: &plain,
        aad: &ticket_binding(client, id),
    };
    let sealed = cipher(key, behind.epoch())
        .encrypt((&nonce).into(), payload)
        .ok()?;
    let octets = [nonce.as_slice(), &sealed].concat();
    Some([id, &BASE64.encode(&octets)].join(behind.sign()))
}

/// Opens the ticket behind a round that an application began; `None` when there is none, or it is another
/// client's.
pub(crate) fn open_ticket(key: &Key256, client: &str, text: &str) -> Option<Ticket> {
    open_behind(key, client, text, Behind::Begun)
}

/// As [`open_ticket`], of either.
pub(crate) fn open_behind(
    key: &Key256,
    client: &str,
    text: &str,
    behind: Behind,
) -> Option<Ticket> {
    let (id, ticket) = split(text, behind)?;
    let octets = BASE64.decode(ticket.as_bytes()).ok()?;
    let (nonce, sealed) = octets.split_first_chunk::<NONCE>()?;
    let payload = Payload {
        msg: sealed,
        aad: &ticket_binding(client, id),
    };
    let plain = cipher(key, behind.epoch())
        .decrypt(nonce.into(), payload)
        .ok()?;
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

/// From when a challenge is answered no more: with a ticket that is what was told with it, and what who asks how
/// it stands is told. `None`: an application began it, and it came without its ticket.
pub(crate) fn end(policy: &Policy, inside: Inside, ticket: Option<&Ticket>) -> Option<UnixTime> {
    match (ticket, inside.stage) {
        (Some(ticket), _) => Some(ticket.expires),
        (None, Stage::Round | Stage::Opening) => Some(inside.issued.plus(policy.challenge.life)),
        (None, Stage::Application) => None,
    }
}

/// Between a challenge and its ticket, where an application began it.
pub(crate) const TICKET: &str = ".";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::challenge::name_of;

    const KEY: Key256 = Key256::new([3; 32]);
    const NOW: UnixTime = UnixTime::from_secs(1_795_000_000);
    /// The octets of a challenge, whose first four are its number.
    const OCTETS: [u8; 36] = [9; 36];

    fn sealed() -> String {
        BASE64.encode(&OCTETS)
    }

    #[test]
    fn a_challenge_has_the_mark_of_its_answer() {
        let answer = crate::model::user_state::Answered {
            challenge: name_of(&sealed(), NOW).unwrap(),
            expires: NOW,
        };
        assert_eq!(mark(&sealed()), Some(answer.mark()));
        assert_eq!(mark("a word.with a ticket"), None);
    }

    #[test]
    fn a_ticket_opens_for_its_client_behind_what_it_was_made_for() {
        let id = sealed();
        let ticket = Ticket {
            user: "alice@default".to_owned(),
            serial: "SMS-1".to_owned(),
            number: 7,
            expires: NOW,
        };
        for (behind, other) in [
            (Behind::Begun, Behind::Login),
            (Behind::Login, Behind::Begun),
        ] {
            let text = with_ticket(&KEY, "web", &id, (&ticket, behind), [5; NONCE]).unwrap();
            let opened = open_behind(&KEY, "web", &text, behind);
            assert_eq!(opened.as_ref(), Some(&ticket));
            assert_eq!(parts(&text).0, id);
            assert_eq!(open_behind(&KEY, "web2", &text, behind), None);
            assert_eq!(open_behind(&KEY, "web", &text, other), None);
            let disguised = text.replace(behind.sign(), other.sign());
            assert_eq!(open_behind(&KEY, "web", &disguised, other), None);
        }
    }

    #[test]
    fn a_ticket_is_as_long_without_a_token() {
        let length = |serial: usize, user: usize| {
            let ticket = Ticket {
                user: "u".repeat(user),
                serial: "s".repeat(serial),
                number: 7,
                expires: NOW,
            };
            let text = with_ticket(&KEY, "web", "id", (&ticket, Behind::Begun), [5; NONCE]);
            text.unwrap().len()
        };
        for user in 0..256 {
            assert_eq!(length(0, user), length(Serial::MAX, user), "{user}");
        }
    }
}
