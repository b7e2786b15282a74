//! Microsoft's attributes for MS-CHAP and MPPE (RFC 2548): read from requests, put into replies.
//!
//! ```text
//! request    MS-CHAP-Challenge 11, MS-CHAP-Response 1 or MS-CHAP2-Response 25
//! accept     MS-CHAP2-Success 26; MS-CHAP-MPPE-Keys 12, or MS-MPPE-Send-Key 16 and -Recv-Key 17
//! reject     MS-CHAP-Error 2: ident, "E=691 R=0 ..."
//! ```
//!
//! A reject does not allow another try within the same exchange (`R=0`): each try is a login of its own,
//! with the next code.

use zeroize::Zeroizing;

use crate::radius::authenticator::{RequestAuthenticator, SecretKeys};
use crate::radius::mschap::{MppeKeys, Response};
use crate::radius::packet::Packet;
use crate::radius::password;

/// What hides the keys on their way.
#[derive(Clone, Copy, Debug)]
pub struct Cover<'a> {
    /// The secret shared with the NAS.
    pub keys: &'a SecretKeys,
    /// Of the request.
    pub authenticator: &'a RequestAuthenticator,
    /// Unique in the reply, together with the one after it.
    pub salt: u16,
}

/// The value of one of Microsoft's attributes in a request.
pub fn find<'p>(packet: &Packet<'p>, wanted: u8) -> Option<&'p [u8]> {
    let vendors = packet.attributes.into_iter();
    let vendors = vendors.filter_map(|attribute| attribute.vendor());
    let mut ours = vendors.filter(|vendor| vendor.number == VENDOR);
    ours.find_map(|vendor| {
        let mut inside = vendor.iter();
        inside.find_map(|(number, value)| (number == wanted).then_some(value))
    })
}

/// The response in a request; `None`: its attributes do not belong together, or are not of their length.
pub fn response(packet: &Packet<'_>, number: u8, user: &[u8]) -> Option<Response> {
    let (value, challenge) = (find(packet, number)?, find(packet, CHALLENGE)?);
    match number {
        RESPONSE => Response::ms_chap(value, challenge),
        RESPONSE_2 => Response::ms_chap2(value, challenge, user),
        _ => None,
    }
}

/// Octets and attributes that [`accept`] adds for such a response.
pub const fn room(response: &Response) -> (usize, usize) {
    let policy = 2 * (HEADER + 4);
    match response {
        Response::Chap { .. } => (0, 0),
        Response::MsChap { .. } => (HEADER + 32 + policy, 3),
        Response::MsChap2 { .. } => (HEADER + 1 + PROOF + 2 * (HEADER + 34) + policy, 5),
    }
}

/// What goes with an accept of the text that made the response, encoded.
pub fn accept(response: &Response, typed: &str, cover: Cover<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let success = response.success(typed);
    if let (Response::MsChap2 { ident, .. }, Some(proof)) = (response, success.proof) {
        put(&mut out, SUCCESS_2, &[&[*ident], proof.as_bytes()].concat());
    }
    match success.keys {
        None => return out,
        Some(MppeKeys::Shared(shared)) => {
            let hidden = password::hide(shared.as_slice(), cover.authenticator, cover.keys);
            put(&mut out, CHAP_MPPE_KEYS, &hidden.unwrap_or_default());
        }
        Some(MppeKeys::Pair { send, receive }) => {
            keys(&mut out, (send.as_slice(), receive.as_slice()), cover);
        }
    }
    // Encryption is allowed, not required, by keys of 128 bits (RFC 2548 s2.4.4 and s2.4.5).
    put(&mut out, ENCRYPTION_POLICY, &1_u32.to_be_bytes());
    put(&mut out, ENCRYPTION_TYPES, &4_u32.to_be_bytes());
    out
}

/// The keys that an EAP method with a tunnel, or MS-CHAPv2 in EAP, gives the NAS: the first half of the
/// master session key is what it receives with (RFC 3748 s7.10, RFC 2548 s2.4.2).
pub fn session_keys(out: &mut Vec<u8>, master: &[u8; 64], cover: Cover<'_>) {
    let (receive, send) = master.split_at(32);
    keys(out, (send, receive), cover);
}

fn keys(out: &mut Vec<u8>, (send, receive): (&[u8], &[u8]), cover: Cover<'_>) {
    let salts = [cover.salt, cover.salt.wrapping_add(1)];
    for ((number, key), salt) in [(SEND_KEY, send), (RECEIVE_KEY, receive)]
        .into_iter()
        .zip(salts)
    {
        let hidden = password::hide_salted(key, cover.authenticator, cover.keys, salt);
        put(out, number, &hidden.unwrap_or_default());
    }
}

/// MS-CHAP-Error for a reject, encoded; the same whatever the cause.
pub fn error(response: &Response, challenge: &[u8; 16]) -> Option<Vec<u8>> {
    let (ident, text) = match response {
        Response::Chap { .. } => return None,
        Response::MsChap { ident, .. } => (*ident, "E=691 R=0 V=2".to_owned()),
        Response::MsChap2 { ident, .. } => (*ident, failure(challenge)),
    };
    let mut out = Vec::new();
    put(&mut out, ERROR, &[&[ident], text.as_bytes()].concat());
    Some(out)
}

/// The text of an MS-CHAPv2 failure (RFC 2759 s6): authentication failed, no retry. It names a challenge
/// because it must.
pub fn failure(challenge: &[u8; 16]) -> String {
    let challenge = data_encoding::HEXUPPER.encode(challenge);
    format!("E=691 R=0 C={challenge} V=3 M=Login refused")
}

/// The master session key of EAP-MSCHAPv2: what it receives with, what it sends with, zeros
/// (draft-kamath-pppext-eap-mschapv2 s2.8).
pub fn master_of(keys: &MppeKeys) -> Option<Zeroizing<[u8; 64]>> {
    let MppeKeys::Pair { send, receive } = keys else {
        return None;
    };
    let mut master = Zeroizing::new([0; 64]);
    let parts = receive.iter().chain(send.iter());
    master
        .iter_mut()
        .zip(parts)
        .for_each(|(to, from)| *to = *from);
    Some(master)
}

fn put(out: &mut Vec<u8>, number: u8, value: &[u8]) {
    let inner = u8::try_from(value.len() + 2).unwrap_or(u8::MAX);
    let Some(outer) = inner.checked_add(6).filter(|_| value.len() <= MOST) else {
        return;
    };
    out.extend([26, outer]);
    out.extend(VENDOR.to_be_bytes());
    out.extend([number, inner]);
    out.extend(value);
}

/// Number of Microsoft among vendors.
pub const VENDOR: u32 = 311;
/// MS-CHAP-Response.
pub const RESPONSE: u8 = 1;
/// MS-CHAP-Error.
pub const ERROR: u8 = 2;
/// MS-CHAP-Challenge.
pub const CHALLENGE: u8 = 11;
/// MS-CHAP2-Response.
pub const RESPONSE_2: u8 = 25;
/// MS-CHAP2-Success.
pub const SUCCESS_2: u8 = 26;
const ENCRYPTION_POLICY: u8 = 7;
const ENCRYPTION_TYPES: u8 = 8;
const CHAP_MPPE_KEYS: u8 = 12;
const SEND_KEY: u8 = 16;
const RECEIVE_KEY: u8 = 17;

/// Octets of a Vendor-Specific's header and of the header inside.
const HEADER: usize = 8;
/// Octets of `S=` and 40 digits.
const PROOF: usize = 42;
/// Most octets of a value inside.
const MOST: usize = 247;

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::radius::attribute::Attributes;
    use crate::secret::{SecretBytes, SharedSecret};

    fn ms_chap2() -> Response {
        Response::ms_chap2(&[7; 50], &[9; 16], b"alice").unwrap()
    }

    #[test]
    fn what_is_added_is_what_was_measured() {
        let secret = SharedSecret::new(SecretBytes::from(&b"xyzzy5461"[..])).unwrap();
        let cover = Cover {
            keys: &SecretKeys::new(secret),
            authenticator: &RequestAuthenticator([3; 16]),
            salt: 0xffff,
        };
        let mut ms_chap = vec![7, 1];
        ms_chap.extend([0; 48]);
        for response in [
            Response::chap(&[7; 17], b"challenge").unwrap(),
            Response::ms_chap(&ms_chap, &[9; 8]).unwrap(),
            ms_chap2(),
        ] {
            let octets = accept(&response, "755224", cover);
            let attributes = Attributes::parse(&octets).unwrap().iter().count();
            assert_eq!((octets.len(), attributes), room(&response), "{response:?}");
        }
    }

    #[test]
    fn an_error_says_that_nothing_more_comes_of_it() {
        let octets = error(&ms_chap2(), &[0xab; 16]).unwrap();
        let text = std::str::from_utf8(&octets[9..]).unwrap();
        let challenge = "AB".repeat(16);
        assert_eq!(text, format!("E=691 R=0 C={challenge} V=3 M=Login refused"));
        assert_eq!(octets[8], 7);
        assert_eq!(
            error(&Response::chap(&[7; 17], b"").unwrap(), &[0; 16]),
            None
        );
    }
}
