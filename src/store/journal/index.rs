//! What a closed segment holds, so that a search reads only the parts of it that may hold what is looked for.
//!
//! ```text
//! index-FIRST, pages of 4096 octets, each ends with 16 octets of a MAC over its number and the others
//!   page 0       magic (8) | first (8) | last (8) | MAC of the last record (32) | earliest (8) | latest (8)
//!                | blocks (4) | pages of words (4)
//!   blocks       of about 512 records each: first (8) | where it begins (8) | earliest (8) | latest (8)
//!   words        sorted: CRC-32C of a word (4) | block (2)
//! ```
//!
//! All numbers are big-endian. A word is a letter and a text: `u` user, `c` client, `r` reason, `n` name of a NAS, `i` address
//! of a NAS, `a` action, `d` decision, `k` actor. Checksums are spread evenly, so that the page of a word is found by
//! its place among all checksums, and a search reads two or three pages of a segment.
//!
//! The file is derived: made behind the writer when a segment is closed, made again when it is missing or damaged, and
//! never believed over the records. It counts only with the very segment that it was made from (the MAC of the last
//! record is the one before the next segment); where it says nothing, or its MAC is wrong, the segment is read.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use redb::StorageBackend;

use crate::store::StoreError;
use crate::store::error::disk;
use crate::store::journal::frame::Walk;
use crate::store::journal::frames;
use crate::store::journal::head::Head;
use crate::store::journal::record::Record;
use crate::store::journal::spare::PAGE;
use crate::store::medium::Medium;
use crate::store::seal::Sealer;
use crate::time::UnixTime;

/// What is looked for: of each list at least one word, and records of this time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Search {
    pub(crate) words: Vec<Vec<String>>,
    pub(crate) since: Option<UnixTime>,
    /// Before it.
    pub(crate) until: Option<UnixTime>,
}

/// The words of a record, and its time.
pub(crate) type WordsOf = dyn Fn(&Record) -> Result<(UnixTime, Vec<String>), StoreError>;

/// The index of one segment, open.
pub(super) struct Index {
    first: u64,
    last: u64,
    /// Of the last record.
    mac: [u8; 32],
    earliest: u64,
    latest: u64,
    blocks: Vec<Block>,
    /// Pages of words.
    pages: u64,
    /// The first of them.
    begin: u64,
    salt: u32,
    file: Box<dyn StorageBackend>,
}

#[derive(Clone, Copy)]
struct Block {
    first: u64,
    at: u64,
    earliest: u64,
    latest: u64,
}

/// Where a search goes on below a record.
pub(super) enum Found {
    /// Nothing down to this record can be what is looked for.
    Nothing(u64),
    /// What may be is among the records from the first number to before the second, which begin here in the file.
    Block(u64, u64, u64),
}

impl Index {
    /// Reads the index of the segment that begins with this record; none where there is none of use.
    pub(super) fn open(
        medium: &dyn Medium,
        sealer: &Sealer,
        first: u64,
    ) -> Result<Option<Self>, StoreError> {
        let file = medium.raw(&name(first)).map_err(disk)?;
        let length = file.len().map_err(disk)?;
        let page = |number: u64| page(&*file, sealer, first, number);
        if length < PAGE || !length.is_multiple_of(PAGE) {
            return Ok(None);
        }
        let Some(opening) = page(0) else {
            return Ok(None);
        };
        let Some((mut index, blocks)) = Self::parse(&opening, first, frames::salt(sealer, first))
        else {
            return Ok(None);
        };
        index.begin = 1 + blocks.div_ceil(BLOCKS);
        if length != (index.begin + index.pages) * PAGE {
            return Ok(None);
        }
        for number in 1..index.begin {
            let Some(octets) = page(number) else {
                return Ok(None);
            };
            let (entries, _) = octets.as_chunks::<32>();
            let left = blocks.saturating_sub(index.blocks.len() as u64).min(BLOCKS);
            let left = usize::try_from(left).unwrap_or_default();
            index.blocks.extend(entries.iter().take(left).map(|entry| {
                let number = |at: usize| number_at(entry, at);
                Block {
                    first: number(0),
                    at: number(8),
                    earliest: number(16),
                    latest: number(24),
                }
            }));
        }
        index.file = file;
        Ok(Some(index))
    }

    fn parse(page: &[u8; BODY], first: u64, salt: u32) -> Option<(Self, u64)> {
        let (magic, rest) = page.split_first_chunk::<8>()?;
        let (numbers, rest) = rest.split_first_chunk::<16>()?;
        let (mac, rest) = rest.split_first_chunk::<32>()?;
        let blocks = u64::from(u32::from_be_bytes(*rest.get(16..)?.first_chunk::<4>()?));
        let pages = u64::from(u32::from_be_bytes(*rest.get(20..)?.first_chunk::<4>()?));
        let index = Self {
            first: number_at(numbers, 0),
            last: number_at(numbers, 8),
            mac: *mac,
            earliest: number_at(rest, 0),
            latest: number_at(rest, 8),
            blocks: Vec::new(),
            pages,
            begin: 0,
            salt,
            file: Box::new(redb::backends::InMemoryBackend::new()),
        };
        (magic == MAGIC && index.first == first && blocks > 0).then_some((index, blocks))
    }

    /// Whether it was made from the segment that ends with this record.
    pub(super) fn is_of(&self, last: u64, mac: &[u8; 32]) -> bool {
        self.last == last && self.mac == *mac
    }

    /// The newest block below `before` that may hold what is looked for; `None`: its file is damaged.
    pub(super) fn below(&self, sealer: &Sealer, before: u64, search: &Search) -> Option<Found> {
        let in_time = |earliest: u64, latest: u64| {
            search.since.is_none_or(|since| latest >= since.as_millis())
                && search
                    .until
                    .is_none_or(|until| earliest < until.as_millis())
        };
        if !in_time(self.earliest, self.latest) {
            return Some(Found::Nothing(self.first));
        }
        let mut allowed: Option<BTreeSet<u16>> = None;
        for any in &search.words {
            let mut these = BTreeSet::new();
            for word in any {
                if !self.blocks_of(sealer, word, &mut these) {
                    return None;
                }
            }
            allowed = Some(match allowed {
                None => these,
                Some(before) => before.intersection(&these).copied().collect(),
            });
        }
        let below = self.blocks.partition_point(|block| block.first < before);
        for (number, block) in self.blocks.iter().enumerate().take(below).rev() {
            let named = u16::try_from(number).ok();
            let may = allowed
                .as_ref()
                .is_none_or(|allowed| named.is_some_and(|named| allowed.contains(&named)));
            if may && in_time(block.earliest, block.latest) {
                let next = self.blocks.get(number + 1);
                let end = next.map_or(self.last + 1, |next| next.first).min(before);
                return Some(Found::Block(block.first, end, block.at));
            }
        }
        Some(Found::Nothing(self.first))
    }

    /// Adds the blocks that hold a word; `false`: the file is damaged.
    fn blocks_of(&self, sealer: &Sealer, word: &str, blocks: &mut BTreeSet<u16>) -> bool {
        let wanted = crc32c::crc32c_append(self.salt, word.as_bytes());
        let Some(last) = self.pages.checked_sub(1) else {
            return true;
        };
        // The last page that begins below the checksum, found from where it should be.
        let mut number = ((u64::from(wanted) * self.pages) >> 32).min(last);
        let page = |number: u64| page(&*self.file, sealer, self.first, self.begin + number);
        loop {
            let Some(octets) = page(number) else {
                return false;
            };
            if number > 0 && first_word(&octets).is_none_or(|first| first >= wanted) {
                number -= 1;
                continue;
            }
            break;
        }
        loop {
            let Some(octets) = page(number) else {
                return false;
            };
            let (entries, _) = octets.as_chunks::<WORD>();
            for [a, b, c, d, e, f] in entries {
                match u32::from_be_bytes([*a, *b, *c, *d]).cmp(&wanted) {
                    std::cmp::Ordering::Equal => drop(blocks.insert(u16::from_be_bytes([*e, *f]))),
                    std::cmp::Ordering::Greater => return true,
                    std::cmp::Ordering::Less => {}
                }
            }
            if number == last {
                return true;
            }
            number += 1;
        }
    }
}

/// Makes the index of a closed segment of frames. Nothing is made of one that is not whole.
pub(super) fn make(
    medium: &dyn Medium,
    sealer: &Sealer,
    (first, segment): (u64, &dyn StorageBackend),
    words_of: &WordsOf,
    stop: &dyn Fn() -> bool,
) -> Result<(), StoreError> {
    let salt = frames::salt(sealer, first);
    let length = segment.len().map_err(disk)?;
    let mut walk = Walk::new(segment, salt, length);
    let mut made = Making {
        salt,
        blocks: Vec::new(),
        records: 0,
        words: Vec::new(),
        in_block: HashSet::new(),
        end: Head {
            seq: first.saturating_sub(1),
            mac: [0; 32],
        },
    };
    let mut at = PAGE;
    while let Some(frame) = walk.frame(at)? {
        if stop() || frame.first != made.end.seq + 1 {
            return Ok(());
        }
        made.begin(frame.first, at);
        for (seq, value) in frame.records() {
            let record = Record::new(seq, value)?;
            let (time, words) = words_of(&record)?;
            made.record(&record, time, &words);
        }
        at += frame.octets;
    }
    made.close();
    if walk.rest(at)? > at {
        // Something follows that is no frame: it is read, and named there.
        return Ok(());
    }
    let Some(octets) = made.octets(sealer, first) else {
        return Ok(());
    };
    // Whole before it has its name; a power cut that loses it costs making it again.
    medium.remove(NEW).map_err(disk)?;
    let file = medium.raw(NEW).map_err(disk)?;
    file.write(0, &octets).map_err(disk)?;
    file.sync_data().map_err(disk)?;
    drop(file);
    medium.rename(NEW, &name(first)).map_err(disk)?;
    medium.sync().map_err(disk)
}

/// An index that is being made.
struct Making {
    salt: u32,
    blocks: Vec<Block>,
    /// Records in the newest block.
    records: u64,
    words: Vec<(u32, u16)>,
    in_block: HashSet<u32>,
    end: Head,
}

impl Making {
    /// A frame begins here: it is in the newest block, or begins one.
    fn begin(&mut self, first: u64, at: u64) {
        if self.records >= RECORDS || self.blocks.is_empty() {
            self.close();
            self.records = 0;
            self.blocks.push(Block {
                first,
                at,
                earliest: u64::MAX,
                latest: 0,
            });
        }
    }

    fn record(&mut self, record: &Record, time: UnixTime, words: &[String]) {
        self.records += 1;
        self.end = record.head();
        if let Some(block) = self.blocks.last_mut() {
            block.earliest = block.earliest.min(time.as_millis());
            block.latest = block.latest.max(time.as_millis());
        }
        for word in words {
            self.in_block
                .insert(crc32c::crc32c_append(self.salt, word.as_bytes()));
        }
    }

    fn close(&mut self) {
        let number = self.blocks.len().saturating_sub(1);
        if let Ok(number) = u16::try_from(number) {
            self.words
                .extend(self.in_block.drain().map(|word| (word, number)));
        }
    }

    /// The file; none where there is nothing to say, or more than it can.
    fn octets(mut self, sealer: &Sealer, first: u64) -> Option<Vec<u8>> {
        let blocks = u32::try_from(self.blocks.len()).ok()?;
        if self.blocks.is_empty() || blocks > u32::from(u16::MAX) {
            return None;
        }
        self.words.sort_unstable();
        let pages = u32::try_from(self.words.len().div_ceil(WORDS)).ok()?;
        let mut opening = MAGIC.to_vec();
        for number in [first, self.end.seq] {
            opening.extend_from_slice(&number.to_be_bytes());
        }
        opening.extend_from_slice(&self.end.mac);
        let earliest = self.blocks.iter().map(|block| block.earliest).min()?;
        let latest = self.blocks.iter().map(|block| block.latest).max()?;
        opening.extend_from_slice(&earliest.to_be_bytes());
        opening.extend_from_slice(&latest.to_be_bytes());
        opening.extend_from_slice(&blocks.to_be_bytes());
        opening.extend_from_slice(&pages.to_be_bytes());
        let mut bodies = vec![opening];
        let per_page = usize::try_from(BLOCKS).ok()?;
        bodies.extend(self.blocks.chunks(per_page).map(|blocks| {
            let numbers = blocks.iter();
            let numbers = numbers.flat_map(|one| [one.first, one.at, one.earliest, one.latest]);
            numbers.flat_map(u64::to_be_bytes).collect()
        }));
        bodies.extend(self.words.chunks(WORDS).map(|words| {
            // What is left of the last page sorts behind every word.
            let mut body: Vec<u8> = Vec::with_capacity(BODY);
            for (word, block) in words {
                body.extend_from_slice(&word.to_be_bytes());
                body.extend_from_slice(&block.to_be_bytes());
            }
            body.resize(BODY, u8::MAX);
            body
        }));
        let mut octets = Vec::with_capacity(bodies.len() * BODY);
        for (number, mut body) in (0_u64..).zip(bodies) {
            body.resize(BODY, 0);
            let tag = tag(sealer, first, number, &body);
            octets.extend_from_slice(&body);
            octets.extend_from_slice(&tag);
        }
        Some(octets)
    }
}

/// The records of a block, newest first, from `first` to before `end`; none where the segment says otherwise.
pub(super) fn block(
    file: &dyn StorageBackend,
    sealer: &Sealer,
    segment: u64,
    (first, end, at): (u64, u64, u64),
) -> Result<Option<Vec<Record>>, StoreError> {
    let length = file.len().map_err(disk)?;
    let mut walk = Walk::new(file, frames::salt(sealer, segment), length);
    let (mut records, mut at, mut next) = (Vec::new(), at, first);
    while next < end {
        let Some(frame) = walk.frame(at)?.filter(|frame| frame.first == next) else {
            return Ok(None);
        };
        for (seq, value) in frame.records().take_while(|(seq, _)| *seq < end) {
            records.push(Record::new(seq, value)?);
        }
        next = frame.next;
        at += frame.octets;
    }
    records.reverse();
    Ok(Some(records))
}

/// A page whose MAC is right.
fn page(file: &dyn StorageBackend, sealer: &Sealer, first: u64, number: u64) -> Option<[u8; BODY]> {
    let mut page = [0; BODY + TAG];
    if let Err(error) = file.read(number * PAGE, &mut page) {
        // It is not needed: what it would say is in the segment.
        tracing::debug!(first, number, %error, "a page of an index cannot be read");
        return None;
    }
    let (body, found) = page.split_first_chunk::<BODY>()?;
    (tag(sealer, first, number, body) == *found).then_some(*body)
}

fn tag(sealer: &Sealer, first: u64, number: u64, body: &[u8]) -> [u8; TAG] {
    let key = [first.to_be_bytes(), number.to_be_bytes()].concat();
    let mac = sealer.row(TABLE, &key, body);
    let mut tag = [0; TAG];
    tag.copy_from_slice(&mac[..TAG]);
    tag
}

fn first_word(page: &[u8; BODY]) -> Option<u32> {
    page.first_chunk::<4>()
        .map(|word| u32::from_be_bytes(*word))
}

fn number_at(octets: &[u8], at: usize) -> u64 {
    let number = octets.get(at..).and_then(|rest| rest.first_chunk::<8>());
    number.map_or(0, |number| u64::from_be_bytes(*number))
}

/// The file of the index of the segment that begins with this record.
pub(super) fn name(first: u64) -> String {
    format!("index-{first:016}")
}

/// The indexes that are open, and the segments that none can be made of.
#[derive(Default)]
pub(super) struct Indexes {
    pub(super) open: HashMap<u64, Arc<Index>>,
    pub(super) without: BTreeSet<u64>,
}

const NEW: &str = "index.new";
const MAGIC: &[u8; 8] = b"OGIDX1\r\n";
/// Stands for a table where tags of rows are made.
const TABLE: u8 = 254;
const TAG: usize = 16;
/// Octets of a page that say something.
const BODY: usize = 4096 - TAG;
/// Octets of a word and its block, and how many a page has.
const WORD: usize = 6;
const WORDS: usize = BODY / WORD;
/// Blocks in a page.
const BLOCKS: u64 = BODY as u64 / 32;
/// Records of a block, but for those of the frame that ends it.
const RECORDS: u64 = 512;
