//! EAP-MSCHAPv2: challenge, response, and what follows.
//!
//! ```text
//! OpCode 1 | MS-CHAPv2-ID 1 | MS-Length 2 | ...
//! 1 challenge   Value-Size 1 = 16 | challenge 16 | name
//! 2 response    Value-Size 1 = 49 | peer challenge 16 | reserved 8 | NT-Response 24 | flags 1 | name
//! 3 success     "S=... M=OK"      answered by the code alone
//! 4 failure     "E=691 ..."       answered by the code alone
//! ```

use crate::radius::mschap::Response;

/// What the peer sent.
#[derive(Debug, Eq, PartialEq)]
pub enum Said {
    /// The response to the challenge.
    Response(Response),
    /// It has seen that the server knows the password.
    Success,
    /// It has seen that it was refused.
    Failure,
}

/// The challenge.
pub fn challenge(ident: u8, challenge: &[u8; 16]) -> Vec<u8> {
    packet(1, ident, &[&[16], challenge.as_slice(), NAME].concat())
}

/// The password was right, and this proves that we know it.
pub fn success(ident: u8, proof: &str) -> Vec<u8> {
    packet(3, ident, format!("{proof} M=OK").as_bytes())
}

/// The password was wrong: see [`crate::radius::microsoft::failure`].
pub fn failure(ident: u8, text: &str) -> Vec<u8> {
    packet(4, ident, text.as_bytes())
}

/// The response of a peer, as it sends it.
pub fn response(ident: u8, peer: &[u8; 16], response: &[u8; 24], name: &[u8]) -> Vec<u8> {
    let parts = [&[49], peer.as_slice(), &[0; 8], response, &[0], name];
    packet(2, ident, &parts.concat())
}

/// Reads what the peer sent to a challenge of ours. `None`: it is none of the three, or not whole.
pub fn read(data: &[u8], ident: u8, challenge: &[u8; 16]) -> Option<Said> {
    match data {
        [3, ..] => return Some(Said::Success),
        [4, ..] => return Some(Said::Failure),
        _ => {}
    }
    let [2, found, high, low, 49, rest @ ..] = data else {
        return None;
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let (value, behind) = rest.split_first_chunk::<49>()?;
    let name = behind.get(..length.checked_sub(HEADER + 1 + 49)?)?;
    // As MS-CHAP2-Response has it: ident, flags, and the rest in the same order.
    let (fields, flags) = value.split_at(48);
    let joined = [&[*found], flags, fields].concat();
    let response = Response::ms_chap2(&joined, challenge, name);
    response.filter(|_| *found == ident).map(Said::Response)
}

fn packet(code: u8, ident: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len() + HEADER).unwrap_or(u16::MAX);
    let mut octets = vec![code, ident];
    octets.extend(length.to_be_bytes());
    octets.extend(rest);
    octets
}

/// What the server calls itself.
const NAME: &[u8] = b"oncegate";
/// Octets before a value.
const HEADER: usize = 4;

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::radius::mschap::{challenge_hash, challenge_response, nt_password_hash};

    fn response(ident: u8, name: &[u8]) -> Vec<u8> {
        let hash = challenge_hash(&[3; 16], &[9; 16], name);
        let answer = challenge_response(hash, &nt_password_hash("755224"));
        super::response(ident, &[3; 16], &answer, name)
    }

    #[test]
    fn a_response_is_that_of_ms_chap() {
        let Some(Said::Response(response)) = read(&response(5, b"alice"), 5, &[9; 16]) else {
            panic!()
        };
        assert!(response.is_of("755224") && !response.is_of("755225"));
    }

    #[test]
    fn what_is_cut_or_of_another_exchange_is_nothing() {
        let whole = response(5, b"alice");
        assert_eq!(read(&whole, 6, &[9; 16]), None);
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end], 5, &[9; 16]), None, "{end}");
        }
        let mut short = whole.clone();
        short[3] = 10;
        assert_eq!(read(&short, 5, &[9; 16]), None);
        short[4] = 48;
        assert_eq!(read(&short, 5, &[9; 16]), None);
    }
}
