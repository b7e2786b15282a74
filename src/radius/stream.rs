//! Packets in a stream of octets: RADIUS over TLS (RFC 6613 s2.6.4, RFC 6614 s2.1).
//!
//! Invariant: a Length that is out of range ends the connection. Nothing behind it can be understood, and what
//! a peer claims never becomes a larger buffer than one packet.

use crate::radius::packet::{HEADER, MAX_LENGTH};
use crate::wire::Reader;

/// What stands at the beginning of the octets received so far.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framed {
    /// Less than one packet.
    Incomplete,
    /// A packet of so many octets.
    Packet(usize),
    /// No packet: the connection is of no use any more.
    Broken,
}

/// Looks for a packet at the beginning of `octets`.
pub fn next(octets: &[u8]) -> Framed {
    let mut header = Reader::new(octets);
    let length = header.take(2).and_then(|_| header.u16());
    let Some(length) = length.map(usize::from) else {
        return Framed::Incomplete;
    };
    if !(HEADER..=MAX_LENGTH).contains(&length) {
        Framed::Broken
    } else if octets.len() < length {
        Framed::Incomplete
    } else {
        Framed::Packet(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_found_however_the_octets_arrive() {
        let packet = [&[1, 7, 0, 21], &[0; 17][..]].concat();
        for end in 0..packet.len() {
            assert_eq!(next(&packet[..end]), Framed::Incomplete, "{end}");
        }
        assert_eq!(next(&packet), Framed::Packet(21));
        assert_eq!(next(&[packet.clone(), packet].concat()), Framed::Packet(21));
    }

    #[test]
    fn a_length_out_of_range_is_the_end() {
        for length in [0_u16, 19, 4097, 65_535] {
            let [high, low] = length.to_be_bytes();
            assert_eq!(next(&[1, 7, high, low]), Framed::Broken, "{length}");
        }
    }
}
