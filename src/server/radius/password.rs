//! What the person typed, as it came in the request.

use crate::radius::attribute::{Attribute, Type};
use crate::radius::authenticator::Signature;
use crate::radius::packet::Packet;
use crate::radius::{Discard, password};
use crate::secret::{SecretBytes, SecretString};
use crate::server::radius::table::{Peer, Secret};
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
        let method = method(packet);
        let Some(hidden) = packet.first(Type::UserPassword).filter(|_| method == PAP) else {
            tracing::debug!(
                client = peer.client.name,
                method,
                "the credential is not looked at: set the NAS to PAP; rejected, not counted"
            );
            let passcode = SecretString::default();
            return Ok((Self { passcode, method }, secret));
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
                method,
            },
            used,
        ))
    }
}

/// How the credential travels: `none` without one, `mixed` where there are two (RFC 2865 s4.1 and
/// RFC 3579 s3.2 allow one).
fn method(packet: &Packet<'_>) -> &'static str {
    let mut found = None;
    for attribute in &packet.attributes {
        let method = match attribute.r#type {
            Type::UserPassword => PAP,
            Type::ChapPassword => "chap",
            Type::EapMessage => "eap",
            Type::VendorSpecific => match vendors(&attribute) {
                Some(method) => method,
                None => continue,
            },
            _ => continue,
        };
        match found {
            Some(other) if other != method => return "mixed",
            _ => found = Some(method),
        }
    }
    found.unwrap_or("none")
}

/// RFC 2548 s2.1.3 and s2.3.2.
fn vendors(attribute: &Attribute<'_>) -> Option<&'static str> {
    let vendor = attribute
        .vendor()
        .filter(|vendor| vendor.number == MICROSOFT)?;
    vendor.iter().find_map(|(r#type, _)| match r#type {
        MS_CHAP_RESPONSE => Some("mschap"),
        MS_CHAP2_RESPONSE => Some("mschapv2"),
        _ => None,
    })
}

fn is_text(typed: &SecretBytes) -> bool {
    let text = std::str::from_utf8(typed.expose());
    text.is_ok_and(|text| !text.chars().any(char::is_control))
}

/// The method that is taken.
const PAP: &str = "pap";

const MICROSOFT: u32 = 311;
const MS_CHAP_RESPONSE: u8 = 1;
const MS_CHAP2_RESPONSE: u8 = 25;
