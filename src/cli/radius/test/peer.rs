//! The peer's side of EAP (RFC 3748), for the methods without a tunnel.
//!
//! ```text
//! Response/Identity -> Request of some method -> Nak with ours, where it is another
//!                   -> Request of ours        -> what the person types -> .. -> Success, Failure
//! ```

use md5::{Digest as _, Md5};

use crate::cli::error::CliError;
use crate::cli::radius::test::Person;
use crate::radius::eap::{Code, Message, kind, mschap};
use crate::radius::mschap::{
    authenticator_response, challenge_hash, challenge_response, nt_password_hash,
};
use crate::secret::{SecretString, SystemEntropy, random};

/// A peer that speaks one method.
pub(super) struct Peer<'a> {
    kind: u8,
    user: &'a str,
    /// Requests that were answered.
    packets: u32,
    /// Whether another method was declined.
    declined: bool,
    /// Whether the server asked by this one.
    began: bool,
    /// What a server sends that knows the password.
    proof: Option<String>,
    /// Whether it did.
    proven: Option<bool>,
}

impl<'a> Peer<'a> {
    pub(super) const fn new(kind: u8, user: &'a str) -> Self {
        Self {
            kind,
            user,
            packets: 0,
            declined: false,
            began: false,
            proof: None,
            proven: None,
        }
    }

    /// What begins a conversation.
    pub(super) fn identity(&self) -> Vec<u8> {
        response(0, kind::IDENTITY, self.user.as_bytes()).unwrap_or_default()
    }

    /// The answer to a request; `None`: there is none, and the conversation ends here.
    pub(super) fn answers(
        &mut self,
        request: &[u8],
        person: &mut Person,
    ) -> Result<Option<Vec<u8>>, CliError> {
        self.packets += 1;
        let message = Message::parse(request).filter(|one| one.code == Code::Request);
        let Some(message) = message.filter(|_| self.packets <= MOST) else {
            return Ok(None);
        };
        let (kind, data) = match message.kind {
            kind::IDENTITY => (kind::IDENTITY, Some(self.user.as_bytes().to_vec())),
            kind::NOTIFICATION => (kind::NOTIFICATION, Some(Vec::new())),
            asked if asked == self.kind => {
                self.began = true;
                (asked, self.method(&message, person)?)
            }
            _ if self.declined => return Ok(None),
            _ => {
                self.declined = true;
                (kind::NAK, Some(vec![self.kind]))
            }
        };
        Ok(data.and_then(|data| response(message.identifier, kind, &data)))
    }

    fn method(
        &mut self,
        message: &Message<'_>,
        person: &mut Person,
    ) -> Result<Option<Vec<u8>>, CliError> {
        Ok(match self.kind {
            kind::MD5 => {
                let typed = person.types("MD5-Challenge")?;
                typed.and_then(|typed| md5(message, &typed))
            }
            kind::GTC => {
                let typed = person.types(&String::from_utf8_lossy(message.data))?;
                typed.map(|typed| typed.expose().as_bytes().to_vec())
            }
            _ => self.ms_chap_2(message.data, person)?,
        })
    }

    fn ms_chap_2(&mut self, data: &[u8], person: &mut Person) -> Result<Option<Vec<u8>>, CliError> {
        match data {
            [1, ident, _, _, 16, rest @ ..] => {
                let Some(challenge) = rest.first_chunk::<16>() else {
                    return Ok(None);
                };
                let Some(typed) = person.types("MS-CHAPv2 challenge")? else {
                    return Ok(None);
                };
                let own: [u8; 16] = random(&SystemEntropy).unwrap_or_default();
                let hash = nt_password_hash(typed.expose());
                let both = challenge_hash(&own, challenge, self.user.as_bytes());
                let answer = challenge_response(both, &hash);
                let proof = authenticator_response(&hash, &answer, both);
                self.proof = Some(format!("S={}", data_encoding::HEXUPPER.encode(&proof)));
                let name = self.user.as_bytes();
                Ok(Some(mschap::response(*ident, &own, &answer, name)))
            }
            [3, _, _, _, said @ ..] => {
                let proof = self.proof.as_deref().map(str::as_bytes);
                let right = proof.is_some_and(|proof| said.starts_with(proof));
                self.proven = Some(right);
                Ok(right.then(|| vec![3]))
            }
            [4, ..] => Ok(Some(vec![4])),
            _ => Ok(None),
        }
    }

    /// Whether the server proved that it knows the password, where the method does that.
    pub(super) fn proven(&self, accepted: bool) -> Option<bool> {
        let unproven = accepted && self.kind == kind::MS_CHAP_2;
        self.proven.or_else(|| unproven.then_some(false))
    }

    /// What to look at where nothing came of it.
    pub(super) fn advice(&self) -> Option<String> {
        let refused = self.declined && !self.began;
        refused.then(|| {
            "the server offers another EAP method and does not take this one: see the methods of the client \
             (`oncegate client show NAME`)"
                .to_owned()
        })
    }
}

/// As CHAP does, with the identifier of the request (RFC 3748 s5.4).
fn md5(message: &Message<'_>, typed: &SecretString) -> Option<Vec<u8>> {
    let (length, rest) = message.data.split_first()?;
    let challenge = rest.get(..usize::from(*length))?;
    let digest = Md5::new()
        .chain_update([message.identifier])
        .chain_update(typed.expose())
        .chain_update(challenge)
        .finalize();
    Some([&[16], digest.as_slice()].concat())
}

fn response(identifier: u8, kind: u8, data: &[u8]) -> Option<Vec<u8>> {
    let message = Message {
        code: Code::Response,
        identifier,
        kind,
        data,
    };
    message.octets()
}

/// Most requests of one conversation: a server that asks on and on is left.
const MOST: u32 = 32;
