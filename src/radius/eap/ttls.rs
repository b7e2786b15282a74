//! What is inside EAP-TTLS: attributes in the form of Diameter (RFC 5281 s10).
//!
//! ```text
//! code 4 | flags 1: V vendor, M mandatory | length 3 | [vendor 4] | data | padding to 4
//! ```

use crate::radius::microsoft;
use crate::radius::mschap::Response;
use crate::secret::SecretString;
use crate::wire::Reader;

/// What the peer shows of itself.
#[derive(Debug)]
pub enum Inside {
    /// What was typed.
    Password(SecretString),
    /// What was made of it, and by which method; `None`: it does not fit the challenge, or does not
    /// have the form of a response.
    Response(Option<Response>, &'static str),
    /// An EAP packet.
    Eap(Vec<u8>),
}

/// Octets that both sides derive from the tunnel, in place of a challenge and an identifier (RFC 5281
/// s11.1): 17 for CHAP and MS-CHAPv2, 9 for MS-CHAP. By TLS 1.3 neither begins with the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Implicit {
    /// 16 octets of challenge.
    pub long: [u8; 17],
    /// 8 octets of challenge.
    pub short: [u8; 9],
}

/// What a peer sent through the tunnel.
#[derive(Debug)]
pub struct Shown {
    /// User-Name.
    pub user: Option<String>,
    /// The credential.
    pub inside: Inside,
}

#[derive(Default)]
struct Found<'a> {
    user: Option<&'a [u8]>,
    password: Option<&'a [u8]>,
    chap: Option<&'a [u8]>,
    chap_challenge: Option<&'a [u8]>,
    ms_challenge: Option<&'a [u8]>,
    ms_chap: Option<&'a [u8]>,
    ms_chap_2: Option<&'a [u8]>,
    eap: Vec<u8>,
    has_eap: bool,
}

/// Reads what came through the tunnel. `None`: it is not whole, says more than one thing, or demands what
/// is not known here.
pub fn read(octets: &[u8], implicit: &Implicit) -> Option<Shown> {
    let found = found(octets)?;
    let user = found
        .user
        .map(|name| String::from_utf8_lossy(name).into_owned());
    let ways = [
        found.password.is_some(),
        found.chap.is_some(),
        found.ms_chap.is_some(),
        found.ms_chap_2.is_some(),
        found.has_eap,
    ];
    if ways.into_iter().filter(|way| *way).count() != 1 {
        return None;
    }
    let inside = if let Some(password) = found.password {
        let padding = password.iter().rev().take_while(|octet| **octet == 0);
        let text = password.get(..password.len() - padding.count())?;
        // What is not UTF-8 is no code.
        Inside::Password(std::str::from_utf8(text).unwrap_or_default().into())
    } else if found.has_eap {
        Inside::Eap(found.eap)
    } else {
        let (response, method) = found.response(implicit);
        Inside::Response(response, method)
    };
    Some(Shown { user, inside })
}

impl Found<'_> {
    fn response(&self, implicit: &Implicit) -> (Option<Response>, &'static str) {
        // The peer does not choose its challenge: RFC 5281 s11.2.2.
        fn bound<'i>(
            derived: &'i [u8],
            challenge: Option<&[u8]>,
            response: &[u8],
        ) -> Option<&'i [u8]> {
            let (ident, wanted) = derived.split_last()?;
            let fits = challenge == Some(wanted) && response.first() == Some(ident);
            fits.then_some(wanted)
        }
        if let Some(value) = self.chap {
            let challenge = bound(&implicit.long, self.chap_challenge, value);
            return (challenge.and_then(|one| Response::chap(value, one)), "chap");
        }
        if let Some(value) = self.ms_chap {
            let challenge = bound(&implicit.short, self.ms_challenge, value);
            let response = challenge.and_then(|one| Response::ms_chap(value, one));
            return (response, "mschap");
        }
        let value = self.ms_chap_2.unwrap_or_default();
        let challenge = bound(&implicit.long, self.ms_challenge, value);
        let user = self.user.unwrap_or_default();
        let response = challenge.and_then(|one| Response::ms_chap2(value, one, user));
        (response, "mschapv2")
    }
}

fn found(octets: &[u8]) -> Option<Found<'_>> {
    let mut reader = Reader::new(octets);
    let mut found = Found::default();
    let mut count = 0;
    while !reader.is_empty() {
        count += 1;
        let code = reader.u32()?;
        let word = reader.u32()?;
        let [flags, ..] = word.to_be_bytes();
        let length = usize::try_from(word & 0x00ff_ffff).ok()?;
        let has_vendor = flags & VENDOR != 0;
        let vendor = if has_vendor { reader.u32()? } else { 0 };
        let header = if has_vendor { 12 } else { 8 };
        let data = reader.take(length.checked_sub(header)?)?;
        // The last one need not be padded.
        let padding = length.next_multiple_of(4) - length;
        reader.take(padding.min(reader.remaining()))?;
        let place = match (vendor, code) {
            (0, 1) => &mut found.user,
            (0, 2) => &mut found.password,
            (0, 3) => &mut found.chap,
            (0, 60) => &mut found.chap_challenge,
            (0, EAP_MESSAGE) => {
                found.eap.extend(data);
                found.has_eap = true;
                continue;
            }
            (VENDOR_MICROSOFT, code) if code == u32::from(microsoft::CHALLENGE) => {
                &mut found.ms_challenge
            }
            (VENDOR_MICROSOFT, code) if code == u32::from(microsoft::RESPONSE) => {
                &mut found.ms_chap
            }
            (VENDOR_MICROSOFT, code) if code == u32::from(microsoft::RESPONSE_2) => {
                &mut found.ms_chap_2
            }
            _ if flags & MANDATORY != 0 => return None,
            _ => continue,
        };
        if place.replace(data).is_some() || count > MOST {
            return None;
        }
    }
    Some(found)
}

/// An EAP packet for the peer.
pub fn eap(octets: &[u8]) -> Vec<u8> {
    avp(None, EAP_MESSAGE, octets)
}

/// MS-CHAP2-Success for the peer.
pub fn success(ident: u8, proof: &str) -> Vec<u8> {
    let value = [&[ident], proof.as_bytes()].concat();
    avp(Some(VENDOR_MICROSOFT), microsoft::SUCCESS_2.into(), &value)
}

fn avp(vendor: Option<u32>, code: u32, data: &[u8]) -> Vec<u8> {
    let (flags, header) = match vendor {
        Some(_) => (VENDOR | MANDATORY, 12),
        None => (MANDATORY, 8),
    };
    let length = u32::try_from(data.len() + header).unwrap_or(0x00ff_ffff);
    let mut octets = code.to_be_bytes().to_vec();
    octets.extend((u32::from(flags) << 24 | length).to_be_bytes());
    octets.extend(vendor.into_iter().flat_map(u32::to_be_bytes));
    octets.extend(data);
    octets.resize(octets.len().next_multiple_of(4), 0);
    octets
}

const VENDOR: u8 = 0x80;
const MANDATORY: u8 = 0x40;
const EAP_MESSAGE: u32 = 79;
const VENDOR_MICROSOFT: u32 = microsoft::VENDOR;
/// Most attributes.
const MOST: usize = 64;

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use super::*;

    const IMPLICIT: Implicit = Implicit {
        long: [9; 17],
        short: [9; 9],
    };

    #[test]
    fn a_password_loses_its_padding_only() {
        let octets = [
            avp(None, 1, b"alice"),
            avp(None, 2, b"755224\0\0\0\0\0\0\0\0\0\0"),
        ]
        .concat();
        let shown = read(&octets, &IMPLICIT).unwrap();
        assert_eq!(shown.user.as_deref(), Some("alice"));
        let Inside::Password(text) = shown.inside else {
            panic!()
        };
        assert_eq!(text.expose(), "755224");
    }

    #[test]
    fn a_response_belongs_to_the_tunnel() {
        let chap = |challenge: &[u8], ident| {
            let octets = [
                avp(None, 60, challenge),
                avp(None, 3, &[&[ident], &[1; 16][..]].concat()),
            ];
            match read(&octets.concat(), &IMPLICIT).unwrap().inside {
                Inside::Response(response, "chap") => response.is_some(),
                _ => panic!(),
            }
        };
        assert!(chap(&[9; 16], 9));
        assert!(!chap(&[9; 16], 8) && !chap(&[8; 16], 9) && !chap(&[9; 15], 9));
    }

    #[test]
    fn what_is_broken_or_says_two_things_is_nothing() {
        let (user, password) = (avp(None, 1, b"alice"), avp(None, 2, b"755224"));
        let whole = [user.clone(), password.clone()].concat();
        for end in 1..whole.len() - 2 {
            assert!(read(&whole[..end], &IMPLICIT).is_none(), "{end}");
        }
        let two = [password.clone(), eap(b"\x02\x01\x00\x05\x01")].concat();
        assert!(read(&two, &IMPLICIT).is_none());
        let twice = [password.clone(), password.clone()].concat();
        assert!(read(&twice, &IMPLICIT).is_none());
        let unknown = [avp(Some(9), 1, b"x"), password.clone()].concat();
        assert!(read(&unknown, &IMPLICIT).is_none());
        let mut zero = password;
        zero[7] = 0;
        assert!(read(&zero, &IMPLICIT).is_none());
        let many = [user, avp(None, 3, b"x").repeat(100)].concat();
        assert!(read(&many, &IMPLICIT).is_none());
        assert!(read(b"", &IMPLICIT).is_none());
    }
}
