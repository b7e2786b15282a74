//! Frames: the records of one commit, as they lie in a segment.
//!
//! ```text
//! magic (4) | octets of records (4) | CRC-32C (4) | first record (8) | how many (4) | records | zeros to 8
//! record: length (4) | MAC (32) | entry
//! ```
//!
//! Numbers are little-endian. The CRC is taken over all but itself and the zeros, and begins with a salt that
//! the store's key gives each segment: no text in a record passes for a frame, nor does a frame of another
//! segment. It finds what a disk did; the MACs find what a person did.

use redb::StorageBackend;

use crate::store::StoreError;
use crate::store::error::disk;
use crate::store::journal::head::Head;
use crate::store::record::Entry;

/// Entries for one commit: the frame that they will be.
#[derive(Default)]
pub(crate) struct Batch {
    octets: Vec<u8>,
    /// Where each record ends.
    ends: Vec<usize>,
}

impl Batch {
    /// Adds an entry. After an error it is not there.
    pub(crate) fn push(&mut self, entry: &Entry) -> Result<(), StoreError> {
        self.add(|octets| entry.encode(octets))
    }

    /// Adds an entry in the stored form of a record, so that its link is the same again.
    pub(crate) fn push_body(&mut self, body: &[u8]) -> Result<(), StoreError> {
        self.add(|octets| {
            octets.extend_from_slice(body);
            Ok(())
        })
    }

    fn add(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let begin = self.octets.len().max(HEADER);
        self.octets.resize(begin + PREFIX + MAC, 0);
        let written = write(&mut self.octets);
        // A frame says its length in four octets.
        let fits = u32::try_from(self.octets.len()).map_err(|_| StoreError::TooLarge);
        let length = written.and(fits).and_then(|_| {
            let length = self.octets.len() - begin - PREFIX;
            u32::try_from(length).map_err(|_| StoreError::TooLarge)
        });
        match length {
            Ok(length) => {
                self.octets[begin..begin + PREFIX].copy_from_slice(&length.to_le_bytes());
                self.ends.push(self.octets.len());
                Ok(())
            }
            Err(error) => {
                self.octets.truncate(begin);
                Err(error)
            }
        }
    }

    /// How many entries.
    pub(crate) const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Octets of the frame.
    pub(super) const fn octets(&self) -> u64 {
        self.octets.len().next_multiple_of(ALIGN) as u64
    }

    /// Number and link of each entry, once they were appended up to `head`.
    pub(crate) fn links(&self, head: Head) -> impl Iterator<Item = Head> {
        let first = (head.seq + 1).saturating_sub(self.ends.len() as u64);
        let begins = [HEADER].into_iter().chain(self.ends.iter().copied());
        (first..)
            .zip(begins)
            .zip(&self.ends)
            .map(|((seq, begin), _)| {
                let link = self.octets[begin + PREFIX..].first_chunk();
                let mac = *link.expect("it was pushed whole");
                Head { seq, mac }
            })
    }

    /// Empties it. One large import must not hold its memory for ever.
    pub(crate) fn clear(&mut self) {
        self.octets.clear();
        self.ends.clear();
        self.octets.shrink_to(KEPT);
    }

    /// Links the entries to the chain behind `head`, and returns the last link.
    pub(super) fn link(&mut self, mut head: Head, mac: impl Fn(Head, &[u8]) -> [u8; 32]) -> Head {
        let mut begin = HEADER;
        for end in &self.ends {
            let value = &mut self.octets[begin + PREFIX..*end];
            let (link, body) = value
                .split_first_chunk_mut::<MAC>()
                .expect("it was pushed whole");
            *link = mac(head, body);
            head = Head {
                seq: head.seq + 1,
                mac: *link,
            };
            begin = *end;
        }
        head
    }

    /// The frame, with `first` as the number of its first record.
    pub(super) fn seal(&mut self, first: u64, salt: u32) -> Result<&[u8], StoreError> {
        let end = self.ends.last().copied().unwrap_or(HEADER);
        let length = u32::try_from(end - HEADER).map_err(|_| StoreError::TooLarge)?;
        let count = u32::try_from(self.ends.len()).map_err(|_| StoreError::TooLarge)?;
        self.octets.truncate(end);
        self.octets.resize(end.next_multiple_of(ALIGN), 0);
        let (header, rest) = self
            .octets
            .split_first_chunk_mut::<HEADER>()
            .ok_or(StoreError::TooLarge)?;
        header[..4].copy_from_slice(&MAGIC);
        header[4..8].copy_from_slice(&length.to_le_bytes());
        header[12..20].copy_from_slice(&first.to_le_bytes());
        header[20..].copy_from_slice(&count.to_le_bytes());
        let crc = checksum(salt, header, &rest[..end - HEADER]);
        header[8..12].copy_from_slice(&crc.to_le_bytes());
        Ok(&self.octets)
    }
}

fn checksum(salt: u32, header: &[u8; HEADER], records: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(salt, &header[..8]);
    let crc = crc32c::crc32c_append(crc, &header[12..]);
    crc32c::crc32c_append(crc, records)
}

/// A whole frame of a file.
pub(super) struct Frame<'a> {
    /// Number of its first record.
    pub(super) first: u64,
    /// The number behind its last one.
    pub(super) next: u64,
    /// With header and zeros.
    pub(super) octets: u64,
    body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Number and `MAC | entry` of each record.
    pub(super) fn records(&self) -> impl Iterator<Item = (u64, &'a [u8])> + use<'a> {
        let mut rest = self.body;
        (self.first..self.next).zip(std::iter::from_fn(move || {
            let (length, more) = rest.split_first_chunk::<PREFIX>()?;
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            let (record, more) = more.split_at_checked(length)?;
            rest = more;
            Some(record)
        }))
    }

    /// The chain's end behind it.
    pub(super) fn head(&self) -> Option<Head> {
        let (seq, value) = self.records().last()?;
        let mac = value.first_chunk::<MAC>()?;
        (seq + 1 == self.next).then_some(Head { seq, mac: *mac })
    }
}

/// Walks the octets of a file.
pub(super) struct Walk<'f> {
    file: &'f dyn StorageBackend,
    salt: u32,
    /// Where the file ends for this walk.
    end: u64,
    /// What was read last, and from where.
    window: Vec<u8>,
    at: u64,
}

impl<'f> Walk<'f> {
    pub(super) const fn new(file: &'f dyn StorageBackend, salt: u32, end: u64) -> Self {
        Self {
            file,
            salt,
            end,
            window: Vec::new(),
            at: 0,
        }
    }

    /// So many octets from `at`; fewer at the end.
    fn look(&mut self, at: u64, size: usize) -> Result<&[u8], StoreError> {
        let left = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX);
        let size = size.min(left);
        let known = at >= self.at && at + size as u64 <= self.at + self.window.len() as u64;
        if !known {
            self.window.resize(size.max(VIEW.min(left)), 0);
            self.at = at;
            if let Err(error) = self.file.read(at, &mut self.window) {
                self.window.clear();
                return Err(disk(error));
            }
        }
        let from = usize::try_from(at - self.at).unwrap_or_default();
        Ok(&self.window[from..from + size])
    }

    /// The frame that begins at `at`, if it is whole.
    pub(super) fn frame(&mut self, at: u64) -> Result<Option<Frame<'_>>, StoreError> {
        let (salt, left) = (self.salt, self.end.saturating_sub(at));
        let Some(header) = self.look(at, HEADER)?.first_chunk::<HEADER>().copied() else {
            return Ok(None);
        };
        let word = |from: usize| {
            let word = header[from..].first_chunk::<4>();
            word.map_or(0, |word| u32::from_le_bytes(*word))
        };
        let (length, crc, count) = (word(4), word(8), word(20));
        let first = u64::from(word(12)) | u64::from(word(16)) << 32;
        let octets = (HEADER as u64 + u64::from(length)).next_multiple_of(ALIGN as u64);
        if header[..4] != MAGIC || count == 0 || octets > left {
            return Ok(None);
        }
        let Some(next) = first.checked_add(u64::from(count)) else {
            return Ok(None);
        };
        let length = usize::try_from(length).map_err(disk)?;
        let body = &self.look(at, HEADER + length)?[HEADER..];
        let frame = Frame {
            first,
            next,
            octets,
            body,
        };
        let whole = checksum(salt, &header, body) == crc && frame.head().is_some();
        Ok(whole.then_some(frame))
    }

    /// Where the next whole frame begins, at `from` or behind it, whose records are all behind `seq`.
    pub(super) fn next_frame(&mut self, from: u64, seq: u64) -> Result<Option<u64>, StoreError> {
        let mut at = from.next_multiple_of(ALIGN as u64);
        loop {
            let part = self.look(at, VIEW)?;
            if part.is_empty() {
                return Ok(None);
            }
            let found = part
                .chunks(ALIGN)
                .position(|octets| octets.starts_with(&MAGIC));
            let Some(place) = found else {
                at = (at + part.len() as u64).next_multiple_of(ALIGN as u64);
                continue;
            };
            at += (place * ALIGN) as u64;
            if self.frame(at)?.is_some_and(|frame| frame.first > seq) {
                return Ok(Some(at));
            }
            at += ALIGN as u64;
        }
    }

    /// Where the last octet ends that is not zero; `from` when there is none behind it.
    pub(super) fn rest(&mut self, from: u64) -> Result<u64, StoreError> {
        let (mut at, mut rest) = (from, from);
        loop {
            let part = self.look(at, VIEW)?;
            if part.is_empty() {
                return Ok(rest);
            }
            if part.iter().fold(0, |all, octet| all | octet) != 0 {
                let last = part.iter().rposition(|octet| *octet != 0);
                rest = at + last.unwrap_or_default() as u64 + 1;
            }
            at += part.len() as u64;
        }
    }
}

/// Begins a frame.
const MAGIC: [u8; 4] = *b"OGF1";
/// Octets of a frame before its records, of a record before its MAC, and of the MAC.
const HEADER: usize = 24;
const PREFIX: usize = 4;
const MAC: usize = 32;
/// Octets of the shortest record.
pub(super) const LEAST: u64 = (PREFIX + MAC) as u64;
/// Frames begin at multiples of it.
const ALIGN: usize = 8;
/// Octets that are read together.
const VIEW: usize = 64 << 10;
/// Octets kept for entries from one commit to the next.
const KEPT: usize = 1 << 20;
