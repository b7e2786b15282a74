//! A segment in a file of frames.
//!
//! ```text
//! page (4096)   magic (8) | version (4) | first record (8) | MAC before it (32) | CRC-32C (4) | zeros
//! frames        one behind the other, each of one commit; see `frame`
//! zeros         written ahead
//! ```
//!
//! A commit is one write of one frame and one flush, and the next one begins only after that. So:
//!
//! - What follows the last whole frame is a commit that was not made whole: [`Frames::settle`] writes zeros
//!   over it, unless its answer has left (see [`crate::store::journal::acknowledged`]).
//! - A frame that is not whole with a whole one behind it is damage. Its records are missing, the others
//!   are read.
//! - A whole frame at the end may not be on the disk yet when the process before was killed: it is
//!   written once more.

use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::StorageBackend;

use crate::store::StoreError;
use crate::store::error::disk;
use crate::store::journal::frame::{Batch, Frame, LEAST, Walk};
use crate::store::journal::head::Head;
use crate::store::journal::record::Record;
use crate::store::journal::spare::{self, PAGE, Spare};
use crate::store::medium::Medium;
use crate::store::seal::Sealer;

/// One segment.
pub(crate) struct Frames {
    pub(crate) first: u64,
    /// The MAC before its first record.
    pub(crate) anchor: [u8; 32],
    file: Box<dyn StorageBackend>,
    salt: u32,
    index: RwLock<Index>,
    /// Octets of the file.
    length: AtomicU64,
}

/// What is where. Behind `end` nothing was ever answered.
struct Index {
    /// Now and then a frame: its first record, and where it begins.
    marks: Vec<(u64, u64)>,
    /// The last whole frame begins, and ends.
    last: u64,
    end: u64,
    /// Behind this there are only zeros.
    rest: u64,
    head: Head,
}

impl Index {
    const fn new(head: Head) -> Self {
        Self {
            marks: Vec::new(),
            last: PAGE,
            end: PAGE,
            rest: PAGE,
            head,
        }
    }

    fn note(&mut self, first: u64, at: u64, octets: u64, head: Head) {
        let is_far = |(_, last): &(u64, u64)| at - last >= MARK;
        if self.marks.last().is_none_or(is_far) {
            self.marks.push((first, at));
        }
        self.last = at;
        self.end = at + octets;
        self.rest = self.end;
        self.head = head;
    }
}

impl Frames {
    /// Begins a segment behind `head` in a file that is ready, durably.
    pub(super) fn begin(
        medium: &dyn Medium,
        sealer: &Sealer,
        head: Head,
        spare: &Spare,
    ) -> Result<Self, StoreError> {
        let first = head.seq + 1;
        let salt = salt(sealer, first);
        let file = medium.raw(&spare.name).map_err(disk)?;
        let mut page = Vec::with_capacity(OPENING);
        page.extend_from_slice(MAGIC);
        page.extend_from_slice(&VERSION.to_le_bytes());
        page.extend_from_slice(&first.to_le_bytes());
        page.extend_from_slice(&head.mac);
        page.extend_from_slice(&crc32c::crc32c_append(salt, &page).to_le_bytes());
        file.write(0, &page).map_err(disk)?;
        file.sync_data().map_err(disk)?;
        drop(file);
        // Whole before it has its name.
        medium.rename(&spare.name, &name(first)).map_err(disk)?;
        medium.sync().map_err(disk)?;
        Ok(Self {
            first,
            anchor: head.mac,
            file: medium.raw(&name(first)).map_err(disk)?,
            salt,
            index: RwLock::new(Index::new(head)),
            length: AtomicU64::new(spare.length),
        })
    }

    /// Opens the segment that begins with this record, and finds its end. Nothing is written.
    pub(super) fn open(
        medium: &dyn Medium,
        sealer: &Sealer,
        first: u64,
    ) -> Result<Self, StoreError> {
        let salt = salt(sealer, first);
        let file = medium.raw(&name(first)).map_err(disk)?;
        let (anchor, length) = opening(&*file, salt, first)?;
        let head = Head {
            seq: first.saturating_sub(1),
            mac: anchor,
        };
        let index = scan(&*file, salt, length, head)?;
        Ok(Self {
            first,
            anchor,
            file,
            salt,
            index: RwLock::new(index),
            length: AtomicU64::new(length),
        })
    }

    /// Its file, for reading.
    pub(super) fn file(&self) -> &dyn StorageBackend {
        &*self.file
    }

    /// The end of the chain in it.
    pub(super) fn head(&self) -> Head {
        self.index.read().expect(UNPOISONED).head
    }

    /// Where its last frame ends.
    pub(super) fn end(&self) -> u64 {
        self.index.read().expect(UNPOISONED).end
    }

    /// Octets of its file.
    pub(super) fn length(&self) -> u64 {
        self.length.load(Ordering::Relaxed)
    }

    /// Appends what was linked behind its head up to `end`, durably.
    pub(super) fn append(&self, batch: &mut Batch, end: Head) -> Result<(), StoreError> {
        let (first, at) = {
            let index = self.index.read().expect(UNPOISONED);
            (index.head.seq + 1, index.end)
        };
        let frame = batch.seal(first, self.salt)?;
        let octets = frame.len() as u64;
        if at + octets > self.length() {
            self.grow(at + octets + GROW)?;
        }
        self.file.write(at, frame).map_err(disk)?;
        self.file.sync_data().map_err(disk)?;
        let mut index = self.index.write().expect(UNPOISONED);
        index.note(first, at, octets, end);
        Ok(())
    }

    /// Makes it ready for appending: what is left of a commit that was not made whole is taken away, and
    /// the last frame is written once more when it is `doubtful` whether the disk has it.
    pub(super) fn settle(&self, doubtful: bool) -> Result<(), StoreError> {
        let (last, end, rest) = {
            let index = self.index.read().expect(UNPOISONED);
            (index.last, index.end, index.rest)
        };
        let again = doubtful && end > last;
        if again {
            let mut frame = vec![0; usize::try_from(end - last).map_err(disk)?];
            self.file.read(last, &mut frame).map_err(disk)?;
            self.file.write(last, &frame).map_err(disk)?;
        }
        if rest > end {
            spare::zeros(&*self.file, end, rest)?;
        }
        if again || rest > end {
            self.file.sync_data().map_err(disk)?;
            self.index.write().expect(UNPOISONED).rest = end;
        }
        Ok(())
    }

    /// Proves that the disk takes so many octets more: merely opening a file would call a full disk healthy.
    pub(super) fn prove(&self, octets: u64) -> Result<(), StoreError> {
        let end = self.end();
        let wanted = end + octets.max(PAGE);
        if wanted > self.length() {
            self.grow(wanted)?;
        }
        self.file.write(end, &[0; 8]).map_err(disk)?;
        self.file.sync_data().map_err(disk)
    }

    /// Writes zeros behind the file's end.
    fn grow(&self, wanted: u64) -> Result<(), StoreError> {
        let wanted = wanted.next_multiple_of(PAGE);
        spare::zeros(&*self.file, self.length(), wanted)?;
        self.length.store(wanted, Ordering::Relaxed);
        Ok(())
    }

    /// Gives the zeros behind its end back: nothing is written to it any more.
    pub(super) fn trim(&self) -> Result<(), StoreError> {
        let end = self.end().next_multiple_of(PAGE);
        if end < self.length() {
            self.file.set_len(end).map_err(disk)?;
            self.length.store(end, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Records `from..` in order, at most `limit`: those whose numbers follow each other.
    pub(super) fn records(&self, from: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        let (begin, end) = {
            let index = self.index.read().expect(UNPOISONED);
            let place = index.marks.partition_point(|(first, _)| *first <= from);
            let mark = index.marks.get(place.saturating_sub(1));
            (mark.map_or(index.end, |(_, at)| *at), index.end)
        };
        let mut records = Vec::new();
        self.walk(begin, end, |seq, value| {
            let expected = from + records.len() as u64;
            if seq < expected {
                return Ok(true);
            }
            if records.len() == limit || (seq > expected && !records.is_empty()) {
                return Ok(false);
            }
            if seq > expected {
                return Err(GONE);
            }
            records.push(Record::new(seq, value)?);
            Ok(true)
        })?;
        Ok(records)
    }

    /// Records before `before`, newest first, at most `limit`: those whose numbers follow each other.
    pub(super) fn records_back(
        &self,
        before: u64,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let mut found = Vec::new();
        let mut next = before;
        while next > self.first && found.len() < limit {
            let mut part = Vec::new();
            let (begin, end) = self.mark_before(next);
            self.walk(begin, end, |seq, value| {
                if seq < next {
                    part.push(Record::new(seq, value)?);
                }
                Ok(seq < next)
            })?;
            let least = next;
            for record in part.into_iter().rev().take(limit - found.len()) {
                if record.seq + 1 != next {
                    break;
                }
                next = record.seq;
                found.push(record);
            }
            if next == least {
                // What should stand here does not.
                return if found.is_empty() {
                    Err(GONE)
                } else {
                    Ok(found)
                };
            }
        }
        Ok(found)
    }

    /// The last place that is known of a record before `next`, and the end.
    fn mark_before(&self, next: u64) -> (u64, u64) {
        let index = self.index.read().expect(UNPOISONED);
        let place = index.marks.partition_point(|(first, _)| *first < next);
        let mark = index.marks.get(place.saturating_sub(1));
        (mark.map_or(index.end, |(_, at)| *at), index.end)
    }

    /// Number and value of each record of the whole frames between two places, until `each` says enough.
    fn walk(
        &self,
        begin: u64,
        end: u64,
        mut each: impl FnMut(u64, &[u8]) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let mut walk = Walk::new(&*self.file, self.salt, end);
        let (mut at, mut seq) = (begin, 0);
        while at < end {
            let frame = walk.frame(at)?;
            let fits = |frame: &Frame<'_>| frame.first > seq && can_stand(self.first, at, frame);
            if let Some(frame) = frame.filter(fits) {
                for (number, value) in frame.records() {
                    if !each(number, value)? {
                        return Ok(());
                    }
                }
                seq = frame.next - 1;
                at += frame.octets;
            } else {
                at = walk.next_frame(at + 8, seq)?.unwrap_or(end);
            }
        }
        Ok(())
    }
}

/// The MAC before the first record of the segment that begins with this one, as its first page says.
pub(super) fn anchor(
    file: &dyn StorageBackend,
    sealer: &Sealer,
    first: u64,
) -> Result<[u8; 32], StoreError> {
    Ok(opening(file, salt(sealer, first), first)?.0)
}

/// What the first page says, and the octets of the file.
fn opening(
    file: &dyn StorageBackend,
    salt: u32,
    first: u64,
) -> Result<([u8; 32], u64), StoreError> {
    let damaged = |what| StoreError::File {
        file: name(first),
        what,
    };
    let length = file.len().map_err(disk)?;
    if length < PAGE {
        return Err(damaged(CUT));
    }
    let mut page = [0; OPENING];
    file.read(0, &mut page).map_err(disk)?;
    let (page, crc) = page.split_at(OPENING - 4);
    let (magic, rest) = page.split_at(8);
    let (version, rest) = rest.split_at(4);
    let (number, mac) = rest.split_at(8);
    let whole = crc == crc32c::crc32c_append(salt, page).to_le_bytes();
    if !whole || magic != MAGIC || number != first.to_le_bytes() {
        return Err(damaged(NO_BEGINNING));
    }
    if version != VERSION.to_le_bytes() {
        return Err(StoreError::NewerFormat {
            found: version[0],
            known: VERSION.to_le_bytes()[0],
        });
    }
    let mut anchor = [0; 32];
    anchor.copy_from_slice(mac);
    Ok((anchor, length))
}

/// Walks the frames of a file that is `length` long, from behind `head` to the last whole one.
fn scan(
    file: &dyn StorageBackend,
    salt: u32,
    length: u64,
    head: Head,
) -> Result<Index, StoreError> {
    let mut index = Index::new(head);
    let mut walk = Walk::new(file, salt, length);
    let mut at = index.end;
    loop {
        let seq = index.head.seq;
        if let Some(frame) = walk.frame(at)?
            && frame.first > seq
            && can_stand(head.seq + 1, at, &frame)
            && let Some(head) = frame.head()
        {
            index.note(frame.first, at, frame.octets, head);
            at = index.end;
            continue;
        }
        let rest = walk.rest(at)?;
        if rest == at {
            return Ok(index);
        }
        match walk.next_frame(at + 8, seq)? {
            Some(next) => at = next,
            None => {
                index.rest = rest;
                return Ok(index);
            }
        }
    }
}

/// Whether a frame can stand at this place of a segment: before it, there is room for so many records only. A
/// number that someone made up hides none of those behind it.
const fn can_stand(first: u64, at: u64, frame: &Frame<'_>) -> bool {
    frame.first <= first + (at - PAGE) / LEAST
}

/// What the checksums of a segment begin with.
pub(super) fn salt(sealer: &Sealer, first: u64) -> u32 {
    let [a, b, c, d, ..] = sealer.mark(&[b"journal segment", &first.to_le_bytes()]);
    u32::from_le_bytes([a, b, c, d])
}

/// The file of the segment that begins with this record.
pub(super) fn name(first: u64) -> String {
    format!("log-{first:016}.log")
}

const MAGIC: &[u8; 8] = b"OGJRNL\r\n";
const VERSION: u32 = 1;
/// Octets of the first page that say something.
const OPENING: usize = 56;
/// Octets between places that are remembered.
const MARK: u64 = 64 << 10;
/// Octets that a file grows by when no other one is ready.
const GROW: u64 = 256 << 10;
const CUT: &str = "it was cut short";
const NO_BEGINNING: &str = "a log segment has no beginning";
const GONE: StoreError =
    StoreError::Corrupt("an audit record is missing, damaged, or bears another number");
const UNPOISONED: &str = "no panic while the lock is held";
