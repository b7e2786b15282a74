//! The frames of a backup: sealed pieces of the stream of items, each bound to its place.

use std::io::{self, Read, Write};
use std::ops::Range;

use sha2::{Digest, Sha256};

use crate::secret::Entropy;
use crate::store::StoreError;
use crate::store::backup::{BackupError, FORMAT, Header, INCREMENTAL, Item};
use crate::store::error::disk;
use crate::store::seal::{Place, Sealer};

/// Writes items.
pub(super) struct Writer<'a, W> {
    out: W,
    sealer: &'a Sealer,
    entropy: &'a dyn Entropy,
    header: [u8; 32],
    /// Of the next frame.
    number: u64,
    /// Rows and records so far.
    done: u64,
    plain: Vec<u8>,
    octets: u64,
}

impl<'a, W: Write> Writer<'a, W> {
    /// Writes the header.
    pub(super) fn begin(
        mut out: W,
        header: &Header,
        sealer: &'a Sealer,
        entropy: &'a dyn Entropy,
    ) -> Result<Self, StoreError> {
        let text = serde_json::to_vec(header).map_err(disk)?;
        let length = u32::try_from(text.len()).map_err(|_| StoreError::TooLarge)?;
        let mut begin = MAGIC.to_vec();
        begin.extend_from_slice(&length.to_be_bytes());
        begin.extend_from_slice(&text);
        out.write_all(&begin).map_err(disk)?;
        Ok(Self {
            out,
            sealer,
            entropy,
            header: Sha256::digest(&begin).into(),
            number: 0,
            done: 0,
            plain: Vec::with_capacity(2 * PART),
            octets: begin.len() as u64,
        })
    }

    /// Writes an item whose body is these parts; `counts` when it is a row or record.
    pub(super) fn item(
        &mut self,
        tag: u8,
        counts: bool,
        parts: &[&[u8]],
    ) -> Result<(), StoreError> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if length > ITEM {
            return Err(StoreError::TooLarge);
        }
        let length = u32::try_from(length).map_err(|_| StoreError::TooLarge)?;
        self.plain.push(tag);
        self.plain.extend_from_slice(&length.to_be_bytes());
        for part in parts {
            self.plain.extend_from_slice(part);
        }
        self.done += u64::from(counts);
        let mut begin = 0;
        while self.plain.len() - begin >= PART {
            self.frame(begin..begin + PART, Kind::Part)?;
            begin += PART;
        }
        self.plain.drain(..begin);
        Ok(())
    }

    /// Writes what is left as the last frame; returns the octets of the whole.
    pub(super) fn finish(mut self) -> Result<u64, StoreError> {
        self.frame(0..self.plain.len(), Kind::Last)?;
        self.out.flush().map_err(disk)?;
        Ok(self.octets)
    }

    fn frame(&mut self, range: Range<usize>, kind: Kind) -> Result<(), StoreError> {
        let place = place(&self.header, self.number, self.done);
        let plain = self.plain.get(range).unwrap_or_default();
        let sealed = self.sealer.seal(kind.place(&place), plain, self.entropy)?;
        let octets = u32::try_from(sealed.len()).map_err(|_| StoreError::TooLarge)?;
        let mut prefix = [0; PREFIX];
        prefix[0] = kind as u8;
        prefix[1..9].copy_from_slice(&self.done.to_be_bytes());
        prefix[9..].copy_from_slice(&octets.to_be_bytes());
        self.out.write_all(&prefix).map_err(disk)?;
        self.out.write_all(&sealed).map_err(disk)?;
        self.octets += (PREFIX + sealed.len()) as u64;
        self.number += 1;
        Ok(())
    }
}

/// Whether a frame is the last one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
enum Kind {
    Part = b'P',
    Last = b'L',
}

impl Kind {
    const fn of(octet: u8) -> Option<Self> {
        match octet {
            b'P' => Some(Self::Part),
            b'L' => Some(Self::Last),
            _ => None,
        }
    }

    const fn place(self, row: &[u8]) -> Place<'_> {
        Place {
            table: "backup",
            row,
            field: match self {
                Self::Part => "part",
                Self::Last => "last",
            },
            version: FORMAT,
        }
    }
}

fn place(header: &[u8; 32], number: u64, done: u64) -> [u8; 48] {
    let mut place = [0; 48];
    place[..32].copy_from_slice(header);
    place[32..40].copy_from_slice(&number.to_be_bytes());
    place[40..].copy_from_slice(&done.to_be_bytes());
    place
}

/// The beginning of a backup.
pub(super) struct Opening {
    pub(super) header: Header,
    digest: [u8; 32],
    octets: u64,
}

impl Opening {
    /// Reads magic and header; nothing of it is proven yet.
    pub(super) fn read(input: &mut impl Read) -> Result<Self, BackupError> {
        let mut offset = 0;
        let mut begin = [0; MAGIC.len() + 4];
        match fill(input, &mut begin, &mut offset) {
            Err(BackupError::CutShort { .. }) => return Err(BackupError::NotABackup),
            done => done?,
        }
        let (magic, length) = begin.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(BackupError::NotABackup);
        }
        let length = length.try_into().map_or(0, u32::from_be_bytes);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let altered = BackupError::Altered { offset: 0 };
        if length > HEADER {
            return Err(altered);
        }
        let mut text = vec![0; length];
        fill(input, &mut text, &mut offset)?;
        let Ok(header) = serde_json::from_slice::<Header>(&text) else {
            return Err(match serde_json::from_slice::<Format>(&text) {
                Ok(Format { format }) if format > INCREMENTAL => newer(format),
                _ => altered,
            });
        };
        if header.format > INCREMENTAL {
            return Err(newer(header.format));
        }
        let digest = Sha256::new().chain_update(begin).chain_update(&text);
        Ok(Self {
            header,
            digest: digest.finalize().into(),
            octets: offset,
        })
    }
}

/// All that can be read of a newer header.
#[derive(serde::Deserialize)]
struct Format {
    format: u8,
}

const fn newer(found: u8) -> BackupError {
    BackupError::NewerFormat {
        found,
        known: INCREMENTAL,
    }
}

/// Reads items.
pub(super) struct Reader<'a, R> {
    input: R,
    sealer: &'a Sealer,
    header: [u8; 32],
    number: u64,
    offset: u64,
    plain: Vec<u8>,
    /// Of `plain`, read already.
    read: usize,
    ended: bool,
}

impl<'a, R: Read> Reader<'a, R> {
    pub(super) fn new(input: R, opening: &Opening, sealer: &'a Sealer) -> Self {
        Self {
            input,
            sealer,
            header: opening.digest,
            number: 0,
            offset: opening.octets,
            plain: Vec::new(),
            read: 0,
            ended: false,
        }
    }

    /// The next item; `None` behind the last one, when nothing follows it.
    pub(super) fn next(&mut self) -> Result<Option<Item>, BackupError> {
        let altered = BackupError::Altered {
            offset: self.offset,
        };
        if !self.have(1)? {
            return Ok(None);
        }
        if !self.have(ITEM_PREFIX)? {
            return Err(altered);
        }
        let prefix = self.plain.get(self.read..self.read + ITEM_PREFIX);
        let (tag, length) = prefix
            .and_then(<[u8]>::split_first)
            .ok_or(BackupError::NotABackup)?;
        let tag = *tag;
        let length = length.try_into().map_or(u32::MAX, u32::from_be_bytes);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > ITEM || !self.have(ITEM_PREFIX + length)? {
            return Err(altered);
        }
        let begin = self.read + ITEM_PREFIX;
        let body = self.plain.get(begin..begin + length).unwrap_or_default();
        let item = Item::read(tag, body).ok_or(altered)?;
        self.read = begin + length;
        Ok(Some(item))
    }

    /// Whether so many octets are there, or can be read.
    fn have(&mut self, length: usize) -> Result<bool, BackupError> {
        while self.plain.len() - self.read < length {
            if self.ended {
                return Ok(false);
            }
            self.plain.drain(..self.read);
            self.read = 0;
            self.frame()?;
        }
        Ok(true)
    }

    fn frame(&mut self) -> Result<(), BackupError> {
        let begin = self.offset;
        let altered = || BackupError::Altered { offset: begin };
        let mut prefix = [0; PREFIX];
        fill(&mut self.input, &mut prefix, &mut self.offset)?;
        let (kind, rest) = prefix.split_first().ok_or_else(altered)?;
        let kind = Kind::of(*kind).ok_or_else(altered)?;
        let (done, length) = rest.split_first_chunk::<8>().ok_or_else(altered)?;
        let done = u64::from_be_bytes(*done);
        let length = length.try_into().map_or(u32::MAX, u32::from_be_bytes);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > FRAME {
            return Err(altered());
        }
        let mut sealed = vec![0; length];
        fill(&mut self.input, &mut sealed, &mut self.offset)?;
        let place = place(&self.header, self.number, done);
        let opened = self.sealer.open(kind.place(&place), &sealed);
        let opened = opened.map_err(|_| altered())?;
        self.plain.extend_from_slice(opened.expose());
        self.number += 1;
        if kind == Kind::Last {
            self.ended = true;
            let mut more = [0];
            if self.input.read(&mut more).map_err(BackupError::Read)? > 0 {
                return Err(BackupError::Longer {
                    offset: self.offset,
                });
            }
        }
        Ok(())
    }
}

fn fill(input: &mut impl Read, octets: &mut [u8], offset: &mut u64) -> Result<(), BackupError> {
    let mut filled = 0;
    while let Some(rest) = octets.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) => {
                let offset = *offset + filled as u64;
                return Err(BackupError::CutShort { offset });
            }
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(BackupError::Read(error)),
        }
    }
    *offset += filled as u64;
    Ok(())
}

/// Follows a backup as it passes, without its keys: how far it is, and whether its end was there.
#[derive(Debug, Default)]
pub struct Scan {
    pending: Vec<u8>,
    /// Octets of the present frame that are still to come.
    skip: u64,
    header: Option<Header>,
    done: u64,
    last: bool,
    broken: bool,
}

impl Scan {
    /// Looks at the next octets.
    pub fn take(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() && !self.broken {
            let skipped = octets
                .len()
                .min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            self.skip -= skipped as u64;
            octets = octets.get(skipped..).unwrap_or_default();
            if octets.is_empty() {
                return;
            }
            self.broken = self.last;
            let (next, rest) = octets.split_at(1);
            self.pending.extend_from_slice(next);
            octets = rest;
            self.step();
        }
    }

    fn step(&mut self) {
        if self.header.is_some() {
            if let Some((kind, done, length)) = prefix(&self.pending) {
                (self.done, self.skip) = (done, length);
                match Kind::of(kind) {
                    Some(kind) => self.last = kind == Kind::Last,
                    None => self.broken = true,
                }
                self.pending.clear();
            }
            return;
        }
        let Some(length) = self.pending.get(MAGIC.len()..MAGIC.len() + 4) else {
            return;
        };
        let length = length.try_into().map_or(u32::MAX, u32::from_be_bytes);
        let end = usize::try_from(length).unwrap_or(usize::MAX);
        let end = end.saturating_add(MAGIC.len() + 4);
        if end > HEADER + MAGIC.len() + 4 || !self.pending.starts_with(MAGIC) {
            self.broken = true;
        } else if self.pending.len() == end {
            let text = self.pending.get(MAGIC.len() + 4..).unwrap_or_default();
            self.header = serde_json::from_slice(text).ok();
            self.broken = self.header.is_none();
            self.pending.clear();
        }
    }

    /// What it says about itself, once that has passed.
    pub const fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// Rows and records so far.
    pub const fn done(&self) -> u64 {
        self.done
    }

    /// Whether it was a whole backup, by its frames.
    pub const fn is_whole(&self) -> bool {
        self.last && self.skip == 0 && !self.broken
    }
}

fn prefix(octets: &[u8]) -> Option<(u8, u64, u64)> {
    let prefix: &[u8; PREFIX] = octets.try_into().ok()?;
    let (kind, rest) = prefix.split_first()?;
    let (done, length) = rest.split_first_chunk::<8>()?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    Some((*kind, u64::from_be_bytes(*done), length.into()))
}

const MAGIC: &[u8; 8] = b"OGBAK1\r\n";
/// Most octets of a header.
const HEADER: usize = 4096;
const PREFIX: usize = 13;
const ITEM_PREFIX: usize = 5;
/// Octets of the item stream in a frame.
const PART: usize = 256 << 10;
/// Most octets of a sealed frame: a part, the last one with all but an item more, and the seal.
const FRAME: usize = 2 * PART;
/// Most octets of an item: an import is one record.
const ITEM: usize = 256 << 20;
