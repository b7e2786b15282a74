//! Why a conversation ended without a login: the audit says it, since the wire says only that it is over.

use std::borrow::Cow;

use crate::login;
use crate::radius::eap::kind;

/// Why. No names are in it: the audit's own field has that of the user.
#[derive(Clone, Debug)]
pub(super) struct Cause(Cow<'static, str>);

impl Cause {
    /// What came answers nothing that the peer was asked.
    pub(super) const ORDER: Self = Self(Cow::Borrowed(
        "EAP: the peer's packet answers nothing that it was asked, or is no response",
    ));
    /// The State leads to no conversation.
    pub(super) const UNKNOWN: Self = Self(Cow::Borrowed(
        "EAP: nothing is known of the conversation of this State: it took more than 2 minutes, was given up, or \
         began before a restart",
    ));
    /// The client's peers can be offered nothing.
    pub(super) const NOTHING_OFFERED: Self = Self(Cow::Borrowed(
        "EAP: no method can be offered to this client's peers: it is allowed none, or only those that need \
         radius.eap.certificate",
    ));
    /// The name inside a tunnel may not follow the one outside of it.
    pub(super) const NAMES: Self = Self(Cow::Borrowed(
        "EAP: the name inside the tunnel is not that outside of it, which is not anonymous",
    ));

    /// The peer wants other methods than it is offered; `inside` a tunnel or not.
    pub(super) fn no_method(wanted: &[u8], offered: &[u8], inside: bool) -> Self {
        let place = if inside { " inside the tunnel" } else { "" };
        let (wanted, offered) = (names(wanted), names(offered));
        Self(format!("EAP: the peer wants {wanted}{place}, and is offered {offered}").into())
    }

    /// A tunnel ended before a login.
    pub(super) fn tunnel(error: &dyn std::error::Error) -> Self {
        Self(format!("EAP: a tunnel ended before a login: {error}").into())
    }
}

impl login::Response for Cause {
    fn is_of(&self, _: &str) -> bool {
        false
    }

    fn absent(&self) -> Option<&str> {
        Some(&self.0)
    }
}

/// The methods of these types in words.
fn names(kinds: &[u8]) -> String {
    // RFC 3748 s5.3.1: 0 stands for none.
    let kinds = kinds.iter().filter(|kind| **kind != 0).take(MOST);
    let names: Vec<Cow<'static, str>> = kinds.map(|kind| name(*kind)).collect();
    if names.is_empty() {
        "no other method".to_owned()
    } else {
        names.join(", ")
    }
}

/// A method as the devices that speak it call it.
fn name(kind: u8) -> Cow<'static, str> {
    Cow::Borrowed(match kind {
        kind::MD5 => "EAP-MD5",
        5 => "EAP-OTP",
        kind::GTC => "EAP-GTC",
        13 => "EAP-TLS",
        17 => "LEAP",
        18 => "EAP-SIM",
        kind::TTLS => "EAP-TTLS",
        23 => "EAP-AKA",
        kind::PEAP => "PEAP",
        kind::MS_CHAP_2 => "EAP-MSCHAPv2",
        43 => "EAP-FAST",
        50 => "EAP-AKA'",
        52 => "EAP-PWD",
        55 => "TEAP",
        other => return Cow::Owned(format!("EAP type {other}")),
    })
}

/// Methods that are named: a peer may list hundreds.
const MOST: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_named_and_their_number_is_bounded() {
        let Cause(text) = Cause::no_method(&[13, 99], &[kind::TTLS, kind::PEAP], false);
        assert_eq!(
            text,
            "EAP: the peer wants EAP-TLS, EAP type 99, and is offered EAP-TTLS, PEAP"
        );
        let Cause(text) = Cause::no_method(&[0], &[kind::GTC], true);
        assert_eq!(
            text,
            "EAP: the peer wants no other method inside the tunnel, and is offered EAP-GTC"
        );
        let Cause(text) = Cause::no_method(&[200; 1000], &[], false);
        assert!(text.len() < 200, "{text}");
    }
}
