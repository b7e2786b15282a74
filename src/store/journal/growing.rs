//! The index of a segment while it is made: of the newest one behind the writer, block by block, so that a search
//! reads no more of it than of others; written to its file when the segment is closed.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use redb::StorageBackend;

use crate::store::StoreError;
use crate::store::error::disk;
use crate::store::journal::frame::Walk;
use crate::store::journal::frames;
use crate::store::journal::head::Head;
use crate::store::journal::index::{self, Block, Blocks, Found, Search, WordsOf, checksum};
use crate::store::journal::record::SHORT;
use crate::store::journal::spare::PAGE;
use crate::store::medium::Medium;
use crate::store::seal::Sealer;

/// The index of a segment, as far as the segment was read.
pub(super) struct Growing {
    first: u64,
    salt: u32,
    blocks: Blocks,
    /// Of each block, sorted.
    words: Vec<Arc<[u32]>>,
    /// The block that goes on, its records and words.
    open: Option<Block>,
    records: u64,
    in_block: HashSet<u32>,
    /// Where the next frame begins, and the record before it.
    at: u64,
    end: Head,
}

impl Growing {
    /// Nothing is read yet of the segment that begins with this record.
    pub(super) fn new(sealer: &Sealer, first: u64) -> Self {
        Self {
            first,
            salt: frames::salt(sealer, first),
            blocks: Blocks {
                all: Vec::new(),
                end: first,
            },
            words: Vec::new(),
            open: None,
            records: 0,
            in_block: HashSet::new(),
            at: PAGE,
            end: Head {
                seq: first.saturating_sub(1),
                mac: [0; 32],
            },
        }
    }

    /// First record of its segment.
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    /// Reads on before `until`, as far as one frame follows the other; how many records.
    pub(super) fn read(
        &mut self,
        file: &dyn StorageBackend,
        until: u64,
        words_of: &WordsOf,
        stop: &dyn Fn() -> bool,
    ) -> Result<u64, StoreError> {
        let before = self.end.seq;
        let mut walk = Walk::new(file, self.salt, until);
        while self.at < until && !stop() {
            let frame = walk.frame(self.at)?;
            let Some(frame) = frame.filter(|frame| frame.first == self.end.seq + 1) else {
                break;
            };
            if !self.begin(frame.first) {
                break;
            }
            for (seq, value) in frame.records() {
                let (mac, body) = value.split_first_chunk().ok_or(SHORT)?;
                let (salt, words) = (self.salt, &mut self.in_block);
                let time = words_of(body, &mut |parts| {
                    words.insert(checksum(salt, parts));
                })?;
                if let Some(block) = &mut self.open {
                    block.earliest = block.earliest.min(time.as_millis());
                    block.latest = block.latest.max(time.as_millis());
                }
                self.records += 1;
                self.end = Head { seq, mac: *mac };
            }
            self.at += frame.octets;
        }
        Ok(self.end.seq - before)
    }

    /// A frame begins: it is in the open block, or in the next one; `false`: there are no numbers for more.
    fn begin(&mut self, first: u64) -> bool {
        if self.open.is_none() || self.records >= RECORDS {
            self.close();
            if self.words.len() >= usize::from(u16::MAX) {
                return false;
            }
            self.open = Some(Block {
                first,
                at: self.at,
                earliest: u64::MAX,
                latest: 0,
            });
        }
        true
    }

    fn close(&mut self) {
        if let Some(block) = self.open.take() {
            let mut words: Vec<u32> = self.in_block.drain().collect();
            words.sort_unstable();
            self.words.push(words.into());
            self.blocks.all.push(block);
            self.blocks.end = self.end.seq + 1;
        }
        self.records = 0;
    }

    /// What searches use of it: its whole blocks.
    pub(super) fn grown(&self) -> Grown {
        Grown {
            first: self.first,
            salt: self.salt,
            blocks: self.blocks.clone(),
            words: self.words.clone(),
        }
    }

    /// Writes the index of the segment, which is closed. None is made of one that was not read to its end.
    pub(super) fn write(
        mut self,
        medium: &dyn Medium,
        sealer: &Sealer,
        file: &dyn StorageBackend,
    ) -> Result<(), StoreError> {
        let length = file.len().map_err(disk)?;
        if Walk::new(file, self.salt, length).rest(self.at)? > self.at {
            // Something follows that is no frame: it is read, and named there.
            return Ok(());
        }
        self.close();
        let mut words = Vec::new();
        for (number, of_block) in (0..=u16::MAX).zip(&self.words) {
            words.extend(of_block.iter().map(|word| (*word, number)));
        }
        let (what, blocks) = ((self.first, self.end), &self.blocks.all);
        index::write(medium, sealer, what, blocks, &mut words)
    }
}

/// The whole blocks of a segment whose index grows.
pub(super) struct Grown {
    first: u64,
    salt: u32,
    blocks: Blocks,
    words: Vec<Arc<[u32]>>,
}

impl Grown {
    /// First record of its segment.
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    /// How many blocks.
    pub(super) const fn len(&self) -> usize {
        self.words.len()
    }

    /// The newest block below `before` that may hold what is looked for; `None`: it does not know of all records there.
    pub(super) fn below(&self, before: u64, search: &Search) -> Option<Found> {
        if before > self.blocks.end {
            return None;
        }
        let allowed = search.blocks(self.salt, |word, blocks: &mut BTreeSet<u16>| {
            let numbers = (0..=u16::MAX).zip(&self.words);
            let holding = numbers.filter(|(_, words)| words.binary_search(&word).is_ok());
            blocks.extend(holding.map(|(number, _)| number));
            true
        })?;
        let found = self.blocks.below(before, &allowed, search);
        Some(found.unwrap_or(Found::Nothing(self.first)))
    }
}

/// Records of a block, but for those of the frame that ends it.
const RECORDS: u64 = 128;
