//! What the person typed, as it came in the request.

use crate::login::{self, Presented};
use crate::radius::attribute::{Attribute, Type};
use crate::radius::authenticator::Signature;
use crate::radius::mschap::Response;
use crate::radius::packet::Packet;
use crate::radius::{Discard, eap, microsoft, password};
use crate::secret::{SecretBytes, SecretString};
use crate::server::radius::table::{Peer, Secret};
use crate::time::UnixTime;

/// A credential and how it travelled.
pub(super) struct Credential {
    /// What to compare.
    pub(super) shown: Shown,
    /// For policy rules and the audit, see [`crate::model::method`].
    pub(super) method: &'static str,
    /// Whether the password of an unsigned request is no text: nothing says with which secret it was hidden.
    pub(super) is_noise: bool,
}

/// What a request shows of what was typed.
pub(super) enum Shown {
    /// The text; empty, and so never right, when it is not text or not ours to read.
    Passcode(SecretString),
    /// What was made of it; `None`: it does not have the form of a response.
    Response(Option<Response>),
    /// A packet of EAP, put together: it may lead to one of the others.
    Eap(Vec<u8>),
}

impl login::Response for Response {
    fn is_of(&self, typed: &str) -> bool {
        Self::is_of(self, typed)
    }
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
        let hidden = match method {
            PAP => packet.first(Type::UserPassword).unwrap_or_default(),
            _ => {
                let shown = shown(packet, method);
                let credential = Self {
                    shown,
                    method,
                    is_noise: false,
                };
                return Ok((credential, secret));
            }
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
        let is_noise = signature == Signature::Absent && !is_text(&typed);
        // What is not UTF-8 is no code. It must be refused like a wrong one, so it becomes empty.
        let passcode = std::str::from_utf8(typed.expose()).map(SecretString::from);
        let shown = Shown::Passcode(passcode.unwrap_or_default());
        let credential = Self {
            shown,
            method,
            is_noise,
        };
        Ok((credential, used))
    }

    /// The response, where there is one.
    pub(super) const fn response(&self) -> Option<&Response> {
        match &self.shown {
            Shown::Response(response) => response.as_ref(),
            Shown::Passcode(_) | Shown::Eap(_) => None,
        }
    }

    pub(super) fn presented(&self) -> Presented<'_> {
        self.shown.presented()
    }
}

impl Shown {
    pub(super) fn presented(&self) -> Presented<'_> {
        match self {
            Self::Passcode(text) => Presented::Passcode(text),
            Self::Response(response) => {
                let response = response.as_ref().map(|one| one as &dyn login::Response);
                Presented::Response(response)
            }
            Self::Eap(_) => Presented::Response(None),
        }
    }
}

/// What a request shows by another method than PAP.
fn shown(packet: &Packet<'_>, method: &str) -> Shown {
    let user = || packet.first(Type::UserName).unwrap_or_default();
    Shown::Response(match method {
        CHAP => {
            let value = packet.first(Type::ChapPassword).unwrap_or_default();
            // RFC 2865 s2.2: without a CHAP-Challenge the Request Authenticator is the challenge.
            let authenticator = packet.authenticator.as_slice();
            let challenge = packet.first(Type::ChapChallenge).unwrap_or(authenticator);
            Response::chap(value, challenge)
        }
        MS_CHAP => microsoft::response(packet, microsoft::RESPONSE, user()),
        MS_CHAP_2 => microsoft::response(packet, microsoft::RESPONSE_2, user()),
        EAP => return Shown::Eap(eap::joined(packet).unwrap_or_default()),
        _ => return Shown::Passcode(SecretString::default()),
    })
}

/// How the credential travels: `none` without one, `mixed` where there are two (RFC 2865 s4.1 and
/// RFC 3579 s3.2 allow one).
fn method(packet: &Packet<'_>) -> &'static str {
    let mut found = None;
    for attribute in &packet.attributes {
        let method = match attribute.r#type {
            Type::UserPassword => PAP,
            Type::ChapPassword => CHAP,
            Type::EapMessage => EAP,
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
        .filter(|vendor| vendor.number == microsoft::VENDOR)?;
    vendor.iter().find_map(|(r#type, _)| match r#type {
        microsoft::RESPONSE => Some(MS_CHAP),
        microsoft::RESPONSE_2 => Some(MS_CHAP_2),
        _ => None,
    })
}

fn is_text(typed: &SecretBytes) -> bool {
    let text = std::str::from_utf8(typed.expose());
    text.is_ok_and(|text| !text.chars().any(char::is_control))
}

const PAP: &str = "pap";
const CHAP: &str = "chap";
const EAP: &str = "eap";
const MS_CHAP: &str = "mschap";
const MS_CHAP_2: &str = "mschapv2";
