//! What a closed segment holds, so that a search reads only the parts of it that may hold what is looked for.
//!
//! ```text
//! index-FIRST, pages of 4096 octets, each ends with 16 octets of a MAC over its number and the others
//!   page 0       magic (8) | first (8) | last (8) | MAC of the last record (32) | earliest (8) | latest (8)
//!                | blocks (4) | pages of words (4)
//!   blocks       of about 128 records each: first (8) | where it begins (8) | earliest (8) | latest (8)
//!   words        sorted: CRC-32C of a word (4) | block (2)
//! ```
//!
//! All numbers are big-endian. A word is a letter and a text: `u` user, `c` client, `r` reason, `n` name of a NAS, `i` address
//! of a NAS, `a` action, `d` decision, `k` actor, `p` client and reason, `q` user and reason. Checksums are spread evenly, so
//! that the page of a word is found by its place among all checksums, and a search reads two or three pages of a segment.
//!
//! The file is derived: made behind the writer ([`growing`](super::growing)), made again when it is missing or damaged, and
//! never believed over the records. It counts only with the very segment that it was made from (the MAC of the last
//! record is the one before the next segment); where it says nothing, or its MAC is wrong, the segment is read.

use std::collections::BTreeSet;

use memchr::memmem::Finder;
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
    /// A record as it is stored holds each of them.
    pub(crate) texts: Vec<Finder<'static>>,
    pub(crate) since: Option<UnixTime>,
    /// Before it.
    pub(crate) until: Option<UnixTime>,
}

impl Search {
    /// The blocks that hold of each list a word, by what `blocks_of` adds for the checksum of one; all of them where
    /// there are no lists. `None`: it could not tell.
    pub(super) fn blocks(
        &self,
        salt: u32,
        mut blocks_of: impl FnMut(u32, &mut BTreeSet<u16>) -> bool,
    ) -> Option<Allowed> {
        let mut allowed = Allowed::All;
        for any in &self.words {
            let mut these = BTreeSet::new();
            for word in any {
                if !blocks_of(checksum(salt, &[word]), &mut these) {
                    return None;
                }
            }
            if let Allowed::These(before) = &allowed {
                these = before.intersection(&these).copied().collect();
            }
            allowed = Allowed::These(these);
        }
        Some(allowed)
    }

    fn is_at(&self, earliest: u64, latest: u64) -> bool {
        self.since.is_none_or(|since| latest >= since.as_millis())
            && self.until.is_none_or(|until| earliest < until.as_millis())
    }

    fn may_be(&self, stored: &[u8]) -> bool {
        self.texts.iter().all(|text| text.find(stored).is_some())
    }
}

/// Blocks of a segment.
pub(super) enum Allowed {
    All,
    These(BTreeSet<u16>),
}

/// Tells the words of a stored entry, each in parts, and returns its time.
pub(crate) type WordsOf = dyn Fn(&[u8], &mut dyn FnMut(&[&str])) -> Result<UnixTime, StoreError>;

/// The index of one segment, open.
pub(super) struct Index {
    first: u64,
    last: u64,
    /// Of the last record.
    mac: [u8; 32],
    earliest: u64,
    latest: u64,
    blocks: Blocks,
    /// Pages of words.
    pages: u64,
    /// The first of them.
    begin: u64,
    salt: u32,
    file: Box<dyn StorageBackend>,
}

/// Records that are found or left out together.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub(super) first: u64,
    /// Where it begins in the file.
    pub(super) at: u64,
    pub(super) earliest: u64,
    pub(super) latest: u64,
}

/// Blocks of a segment, from its first one on, and the record behind the last of them.
#[derive(Clone, Default)]
pub(super) struct Blocks {
    pub(super) all: Vec<Block>,
    pub(super) end: u64,
}

impl Blocks {
    /// The newest one below `before` that is allowed and of the time that is looked for.
    pub(super) fn below(&self, before: u64, allowed: &Allowed, search: &Search) -> Option<Found> {
        let below = self.all.partition_point(|block| block.first < before);
        for (number, block) in self.all.iter().enumerate().take(below).rev() {
            let may = match allowed {
                Allowed::All => true,
                Allowed::These(these) => {
                    u16::try_from(number).is_ok_and(|number| these.contains(&number))
                }
            };
            if may && search.is_at(block.earliest, block.latest) {
                let next = self.all.get(number + 1);
                let end = next.map_or(self.end, |next| next.first).min(before);
                return Some(Found::Block(block.first, end, block.at));
            }
        }
        None
    }
}

/// Where a search goes on below a record.
#[derive(Clone, Copy)]
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
            let there = index.blocks.all.len() as u64;
            let left = blocks.saturating_sub(there).min(BLOCKS);
            let left = usize::try_from(left).unwrap_or_default();
            index
                .blocks
                .all
                .extend(entries.iter().take(left).map(|entry| {
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
            blocks: Blocks {
                all: Vec::new(),
                end: number_at(numbers, 8).checked_add(1)?,
            },
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
        let nothing = Found::Nothing(self.first);
        if !search.is_at(self.earliest, self.latest) {
            return Some(nothing);
        }
        let allowed = search.blocks(self.salt, |word, blocks| {
            self.blocks_of(sealer, word, blocks)
        })?;
        Some(
            self.blocks
                .below(before, &allowed, search)
                .unwrap_or(nothing),
        )
    }

    /// Adds the blocks that hold a word; `false`: the file is damaged.
    fn blocks_of(&self, sealer: &Sealer, wanted: u32, blocks: &mut BTreeSet<u16>) -> bool {
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

/// Writes the index of a segment that ends with this record. None is written where there is nothing to say, or
/// more than it can.
pub(super) fn write(
    medium: &dyn Medium,
    sealer: &Sealer,
    (first, end): (u64, Head),
    blocks: &[Block],
    words: &mut [(u32, u16)],
) -> Result<(), StoreError> {
    let Some(octets) = octets(sealer, (first, end), blocks, words) else {
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

fn octets(
    sealer: &Sealer,
    (first, end): (u64, Head),
    blocks: &[Block],
    words: &mut [(u32, u16)],
) -> Option<Vec<u8>> {
    let count = u32::try_from(blocks.len()).ok()?;
    if count > u32::from(u16::MAX) {
        return None;
    }
    words.sort_unstable();
    let pages = u32::try_from(words.len().div_ceil(WORDS)).ok()?;
    let mut opening = MAGIC.to_vec();
    for number in [first, end.seq] {
        opening.extend_from_slice(&number.to_be_bytes());
    }
    opening.extend_from_slice(&end.mac);
    let earliest = blocks.iter().map(|block| block.earliest).min()?;
    let latest = blocks.iter().map(|block| block.latest).max()?;
    opening.extend_from_slice(&earliest.to_be_bytes());
    opening.extend_from_slice(&latest.to_be_bytes());
    opening.extend_from_slice(&count.to_be_bytes());
    opening.extend_from_slice(&pages.to_be_bytes());
    let mut bodies = vec![opening];
    let per_page = usize::try_from(BLOCKS).ok()?;
    bodies.extend(blocks.chunks(per_page).map(|blocks| {
        let numbers = blocks.iter();
        let numbers = numbers.flat_map(|one| [one.first, one.at, one.earliest, one.latest]);
        numbers.flat_map(u64::to_be_bytes).collect()
    }));
    bodies.extend(words.chunks(WORDS).map(|words| {
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

/// Of a segment of `length` octets those records of a block, newest first, from `first` to before `end`, that may be
/// looked for; none where the segment says otherwise.
pub(super) fn block(
    file: &dyn StorageBackend,
    (salt, length): (u32, u64),
    (first, end, at): (u64, u64, u64),
    search: &Search,
) -> Result<Option<Vec<Record>>, StoreError> {
    let mut walk = Walk::new(file, salt, length);
    let (mut records, mut at, mut next) = (Vec::new(), at, first);
    while next < end {
        let Some(frame) = walk.frame(at)?.filter(|frame| frame.first == next) else {
            return Ok(None);
        };
        for (seq, value) in frame.records().take_while(|(seq, _)| *seq < end) {
            if search.may_be(value) {
                records.push(Record::new(seq, value)?);
            }
        }
        next = frame.next;
        at += frame.octets;
    }
    records.reverse();
    Ok(Some(records))
}

/// What a word is found by.
pub(super) fn checksum(salt: u32, parts: &[&str]) -> u32 {
    parts.iter().fold(salt, |crc, part| {
        crc32c::crc32c_append(crc, part.as_bytes())
    })
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

const NEW: &str = "index.new";
const MAGIC: &[u8; 8] = b"OGIDX2\r\n";
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
