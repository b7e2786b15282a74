//! TLS records in EAP: fragments in either direction (RFC 5216 s2.1.5, RFC 5281 s9.2).
//!
//! ```text
//! flags 1: L length included, M more fragments, S start, version 3 bits | [TLS length 4] | data
//! ```

use crate::wire::Reader;

/// Puts together what the peer sends.
#[derive(Debug, Default)]
pub struct Incoming {
    octets: Vec<u8>,
    announced: Option<usize>,
}

/// What became of a fragment.
#[derive(Debug, Eq, PartialEq)]
pub enum Taken {
    /// More follow: they are asked for with an empty request.
    More,
    /// All of it; empty: the peer acknowledges, and has nothing to say.
    Whole(Vec<u8>),
}

impl Incoming {
    /// Takes the data of a response. `None`: lengths do not agree, or it is too much.
    pub fn take(&mut self, data: &[u8]) -> Option<Taken> {
        let mut reader = Reader::new(data);
        let flags = reader.u8()?;
        if flags & LENGTH != 0 {
            let announced = usize::try_from(reader.u32()?).ok()?;
            // The first fragment says how long all of it is; others may repeat it.
            let first = self.octets.is_empty() && self.announced.is_none();
            if announced > MOST || (!first && self.announced != Some(announced)) {
                return None;
            }
            self.announced = Some(announced);
        }
        let part = reader.rest();
        let more = flags & MORE != 0;
        let total = self.octets.len() + part.len();
        if total > self.announced.unwrap_or(MOST) || (more && part.is_empty()) {
            return None;
        }
        self.octets.extend(part);
        if more {
            return Some(Taken::More);
        }
        let whole = self.announced.take().is_none_or(|length| length == total);
        whole.then(|| Taken::Whole(std::mem::take(&mut self.octets)))
    }
}

/// Takes apart what is sent to the peer.
#[derive(Debug, Default)]
pub struct Outgoing {
    octets: Vec<u8>,
    sent: usize,
}

impl Outgoing {
    /// What is to be sent now.
    pub fn new(octets: Vec<u8>) -> Self {
        Self { octets, sent: 0 }
    }

    /// Whether there are more fragments.
    pub const fn is_pending(&self) -> bool {
        self.sent < self.octets.len()
    }

    /// The data of the next request, of at most `most` octets; empty but for its flags when there is
    /// nothing to say.
    pub fn next(&mut self, most: usize) -> Vec<u8> {
        let first = self.sent == 0;
        let rest = self.octets.get(self.sent..).unwrap_or_default();
        let room = most.saturating_sub(HEADER).max(1);
        let part = rest.get(..room).unwrap_or(rest);
        let more = part.len() < rest.len();
        let mut data = vec![if more { MORE } else { 0 }];
        if first && more {
            let length = u32::try_from(self.octets.len()).unwrap_or(u32::MAX);
            data = vec![MORE | LENGTH];
            data.extend(length.to_be_bytes());
        }
        data.extend(part);
        self.sent += part.len();
        data
    }
}

/// The data of the first request: the peer begins.
pub const START: [u8; 1] = [0x20];
/// Most octets of one side's turn: a chain of certificates, or a page of text.
pub const MOST: usize = 16 * 1024;

const LENGTH: u8 = 0x80;
const MORE: u8 = 0x40;
/// Flags and length.
const HEADER: usize = 5;

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_apart_is_put_together() {
        for length in [0, 1, 95, 96, 100, 1000, MOST] {
            let octets: Vec<u8> = (0..length)
                .map(|at| u8::try_from(at % 251).unwrap())
                .collect();
            let mut outgoing = Outgoing::new(octets.clone());
            let mut incoming = Incoming::default();
            let whole = loop {
                let data = outgoing.next(100);
                assert!(data.len() <= 100);
                match incoming.take(&data).unwrap() {
                    Taken::More => assert!(outgoing.is_pending()),
                    Taken::Whole(whole) => break whole,
                }
            };
            assert!(whole == octets && !outgoing.is_pending(), "{length}");
        }
    }

    #[test]
    fn lies_about_the_length_end_it() {
        let take = |fragments: &[&[u8]]| {
            let mut incoming = Incoming::default();
            let mut last = None;
            for fragment in fragments {
                last = Some(incoming.take(fragment)?);
            }
            last
        };
        for bad in [
            &[&b""[..]][..],
            &[b"\x80"],
            &[b"\x80\0\0\0"],
            &[b"\x80\0\0\0\x05abcd"],
            &[b"\x80\0\0\0\x03abcd"],
            &[b"\x80\xff\xff\xff\xffabcd"],
            &[b"\xc0\0\0\0\x08abcd", b"\x80\0\0\0\x09efgh"],
            &[b"\xc0\0\0\0\x08abcd", b"\x40efghi"],
            &[b"\x40abcd", b"\x80\0\0\0\x08efgh"],
            // Nothing, for ever.
            &[b"\x40"],
        ] {
            assert_eq!(take(bad), None, "{bad:02x?}");
        }
        let many = [0x40; 1000];
        let mut incoming = Incoming::default();
        let taken = (0..1000).map_while(|_| incoming.take(&many)).count();
        assert!(taken * 999 <= MOST, "{taken}");
        let good = take(&[b"\xc0\0\0\0\x08abcd", b"\0efgh"]);
        assert_eq!(good, Some(Taken::Whole(b"abcdefgh".to_vec())));
    }
}
