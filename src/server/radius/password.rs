//! What the person typed, as it came in the request.

use crate::radius::Discard;
use crate::radius::attribute::Type;
use crate::radius::authenticator::Signature;
use crate::radius::packet::Packet;
use crate::radius::password;
use crate::secret::SecretBytes;
use crate::secret::SecretString;
use crate::server::radius::table::Peer;
use crate::server::radius::table::Secret;
use crate::time::UnixTime;

/// A credential and how it travelled.
pub(super) struct Credential {
    /// What to compare; empty, and so never right, when it is not text or not ours to read.
    pub(super) passcode: SecretString,
    /// For policy rules.
    pub(super) method: &'static str,
}

impl Credential {
    /// Reads the credential, and says with which secret it was hidden.
    ///
    /// A request without a Message-Authenticator does not say which secret it was made with. While
    /// two are valid, the previous one is meant when only with that the password is text: under
    /// the wrong secret it is 16 random octets, which are text once in millions.
    pub(super) fn reveal(
        packet: &Packet<'_>,
        peer: &Peer,
        signature: Signature,
        secret: Secret,
        now: UnixTime,
    ) -> Result<(Self, Secret), Discard> {
        let Some(hidden) = packet.first(Type::UserPassword) else {
            return Ok((Self::unsupported(packet, peer), secret));
        };
        let authenticator = packet.request_authenticator();
        let reveal = |secret| password::reveal(hidden, &authenticator, peer.keys(secret));
        let mut typed = reveal(secret)?;
        let mut used = secret;
        if signature == Signature::Absent && !is_text(&typed) && peer.previous(now).is_some() {
            let other = reveal(Secret::Previous)?;
            if is_text(&other) {
                (typed, used) = (other, Secret::Previous);
            }
        }
        // What is not UTF-8 is no code. It must be refused like a wrong one, so it becomes empty.
        let passcode = std::str::from_utf8(typed.expose()).map(SecretString::from);
        Ok((
            Self {
                passcode: passcode.unwrap_or_default(),
                method: "pap",
            },
            used,
        ))
    }

    fn unsupported(packet: &Packet<'_>, peer: &Peer) -> Self {
        let method = if packet.has(Type::EapMessage) {
            "eap"
        } else if packet.has(Type::ChapPassword) {
            "chap"
        } else {
            "pap"
        };
        tracing::debug!(
            client = peer.client.name,
            method,
            "no User-Password in the request: set the gear to PAP; rejected, not counted"
        );
        Self {
            passcode: SecretString::default(),
            method,
        }
    }
}

fn is_text(typed: &SecretBytes) -> bool {
    let text = std::str::from_utf8(typed.expose());
    text.is_ok_and(|text| !text.chars().any(char::is_control))
}
