//! What is inside PEAPv0: EAP packets without their header, and the result.
//!
//! ```text
//! Type 1 | Type-Data ...                              all types but one
//! Code 1 | Identifier 1 | Length 2 | 33 | TLVs        Extensions: whole
//! TLV: M 1 bit, type 14 bits = 3 (Result) | length 2 = 2 | status 2: 1 success, 2 failure
//! ```
//!
//! Source: draft-kamath-pppext-peapv0 s1.1 and s2.2.

use crate::radius::eap::{Code, Message, kind};

/// What the peer sent through the tunnel.
#[derive(Debug, Eq, PartialEq)]
pub enum Inside<'a> {
    /// A response of a method: type and data.
    Response(u8, &'a [u8]),
    /// What it holds of the result.
    Result(bool),
}

/// Reads what came through the tunnel. `None`: it is neither.
pub fn read(octets: &[u8]) -> Option<Inside<'_>> {
    if let Some(message) = Message::parse(octets)
        && message.code == Code::Response
        && message.kind == kind::TLV
    {
        return result(message.data).map(Inside::Result);
    }
    let (kind, data) = octets.split_first()?;
    Some(Inside::Response(*kind, data))
}

/// The result, if exactly one is said.
fn result(mut tlvs: &[u8]) -> Option<bool> {
    let mut said = None;
    while let [high, low, rest @ ..] = tlvs {
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (value, behind) = rest.split_at_checked(length)?;
        if u16::from_be_bytes([*high, *low]) & 0x3fff == RESULT {
            let success = match value {
                [0, 1] => true,
                [0, 2] => false,
                _ => return None,
            };
            if said.replace(success).is_some() {
                return None;
            }
        }
        tlvs = behind;
    }
    said.filter(|_| tlvs.is_empty())
}

/// A request of a method.
pub fn request(kind: u8, data: &[u8]) -> Vec<u8> {
    [&[kind], data].concat()
}

/// The result of what was inside, for the peer to confirm.
pub fn outcome(identifier: u8, success: bool) -> Vec<u8> {
    let status = if success { 1 } else { 2 };
    let data = [0x80, 0x03, 0, 2, 0, status];
    let message = Message {
        code: Code::Request,
        identifier,
        kind: kind::TLV,
        data: &data,
    };
    message.octets().unwrap_or_default()
}

const RESULT: u16 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_whole_and_said_once() {
        let answer = |data: &[u8]| {
            let message = Message {
                code: Code::Response,
                identifier: 5,
                kind: kind::TLV,
                data,
            };
            read(&message.octets().unwrap_or_default()) == Some(Inside::Result(true))
        };
        assert!(answer(&[0x80, 3, 0, 2, 0, 1]));
        assert!(answer(&[0, 9, 0, 1, 7, 0x80, 3, 0, 2, 0, 1]));
        for bad in [
            &[0x80, 3, 0, 2, 0, 2][..],
            &[0x80, 3, 0, 2, 0, 3],
            &[0x80, 3, 0, 2, 0],
            &[0x80, 3, 0, 9, 0, 1],
            &[0x80, 3, 0, 2, 0, 1, 0],
            &[0x80, 3, 0, 2, 0, 1, 0x80, 3, 0, 2, 0, 1],
            &[],
        ] {
            assert!(!answer(bad), "{bad:02x?}");
        }
        assert_eq!(read(b"\x01alice"), Some(Inside::Response(1, b"alice")));
        assert_eq!(read(b""), None);
    }
}
