//! Octets in, octets out: the only place that does arithmetic on lengths a peer wrote.
//!
//! Invariants: a [`Reader`] never yields an octet beyond the slice it was made from, and every
//! successful `take` of a positive length makes progress. A [`Writer`] only appends; what must be
//! known late (a length, a digest) is a [`Slot`] that is reserved first and filled once.
//!
//! Threat: an inner length that reaches beyond its frame, or a length of zero that loops for ever
//! (threats T18). Parsers above this module take a sub-reader for each frame and index nothing.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Appends a text with everything but unreserved characters as the octets of its UTF-8 (RFC 3986
/// s2.3): one word of a path, a query or a form. A word that is `.` or `..` alone is an instruction
/// to those who normalise paths, and is encoded whole.
pub fn percent_encode(text: &str, into: &mut String) {
    if matches!(text, "." | "..") {
        into.push_str(&text.replace('.', "%2E"));
    } else {
        into.extend(utf8_percent_encode(text, RESERVED));
    }
}

/// All but letters, digits and `-._~`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A cursor over octets received from a peer. `None` always means: not that many octets left.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Starts at the first octet of `octets`.
    pub const fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    /// The next `count` octets.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    /// The next `N` octets as an array.
    pub fn take_array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (head, tail) = self.0.split_first_chunk()?;
        self.0 = tail;
        Some(head)
    }

    /// The next octet.
    pub fn u8(&mut self) -> Option<u8> {
        self.take_array().map(|&[octet]| octet)
    }

    /// The next two octets, network byte order.
    pub fn u16(&mut self) -> Option<u16> {
        self.take_array().map(|&octets| u16::from_be_bytes(octets))
    }

    /// The next four octets, network byte order.
    pub fn u32(&mut self) -> Option<u32> {
        self.take_array().map(|&octets| u32::from_be_bytes(octets))
    }

    /// A reader of the next `count` octets that cannot leave them.
    pub fn sub(&mut self, count: usize) -> Option<Self> {
        self.take(count).map(Self)
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// How many octets are left.
    pub const fn remaining(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is left over.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What `parse` makes of the octets, if it consumes all of them.
    pub fn all<T>(mut self, parse: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let value = parse(&mut self)?;
        self.is_empty().then_some(value)
    }
}

/// Appends to a buffer the caller owns and reuses.
#[derive(Debug)]
pub struct Writer<'b>(&'b mut Vec<u8>);

/// `N` octets that were reserved and are filled later.
#[derive(Debug)]
#[must_use = "a reserved slot that is never filled leaves its placeholder on the wire"]
pub struct Slot<const N: usize>(usize);

impl<'b> Writer<'b> {
    /// Empties `buffer` and writes from its start; its capacity is kept.
    pub fn new(buffer: &'b mut Vec<u8>) -> Self {
        buffer.clear();
        Self(buffer)
    }

    /// Appends octets as they are.
    pub fn put(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(octets);
    }

    /// Appends one octet.
    pub fn u8(&mut self, octet: u8) {
        self.0.push(octet);
    }

    /// Appends four octets, network byte order.
    pub fn u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    /// Appends `placeholder` and remembers where. A placeholder that is invalid as a value makes
    /// a half-built buffer unreadable rather than wrong.
    pub fn reserve<const N: usize>(&mut self, placeholder: [u8; N]) -> Slot<N> {
        let slot = Slot(self.0.len());
        self.put(&placeholder);
        slot
    }

    /// Puts the final value where the placeholder was.
    #[allow(clippy::needless_pass_by_value)] // a slot is filled once
    pub fn fill<const N: usize>(&mut self, slot: Slot<N>, value: [u8; N]) {
        let place = self.0.get_mut(slot.0..).and_then(<[u8]>::first_chunk_mut);
        if let Some(place) = place {
            *place = value;
        }
    }

    /// What was written so far.
    pub fn octets(&self) -> &[u8] {
        self.0
    }

    /// How many octets were written so far.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was written yet.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Drops everything written, so that a failed build leaves nothing that could be sent.
    pub fn abandon(self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_network_byte_order_and_stops_at_the_end() {
        let mut reader = Reader::new(&[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(reader.u8(), Some(1));
        assert_eq!(reader.u16(), Some(0x0203));
        assert_eq!(reader.u32(), Some(0x0405_0607));
        assert_eq!(reader.u16(), None);
        assert_eq!(reader.remaining(), 1, "a failed read consumes nothing");
        assert_eq!(reader.rest(), [8]);
        assert!(reader.is_empty());
    }

    #[test]
    fn sub_reader_cannot_leave_its_frame() {
        let mut reader = Reader::new(&[1, 2, 3]);
        let mut inner = reader.sub(2).unwrap();
        assert_eq!(inner.take(3), None);
        assert_eq!(reader.sub(2), None);
        assert_eq!(reader.take(usize::MAX), None);
    }

    #[test]
    fn all_refuses_leftovers() {
        assert_eq!(Reader::new(&[0, 7]).all(Reader::u16), Some(7));
        assert_eq!(Reader::new(&[0, 7, 0]).all(Reader::u16), None);
    }

    #[test]
    fn slots_keep_their_place() {
        let mut buffer = vec![9; 3];
        let mut writer = Writer::new(&mut buffer);
        writer.u8(1);
        let slot = writer.reserve([0xff; 2]);
        writer.u32(3);
        writer.fill(slot, 2_u16.to_be_bytes());
        assert_eq!(writer.octets(), [1, 0, 2, 0, 0, 0, 3]);
        writer.abandon();
        assert!(buffer.is_empty());
    }
}
