//! A log segment's file, open for writing, or as it is on the disk after a failed commit.
//!
//! A handle whose write failed refuses everything from then on. Until the file takes writes again,
//! readers get what is durable: the file is opened once more with all writes kept in memory
//! ([`Unwritten`]), since opening one that was not closed writes to it, which a full disk does not take.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, RwLock, RwLockWriteGuard};

use redb::{Builder, Database, ReadableDatabase, StorageBackend};

use crate::store::StoreError;
use crate::store::damage::guarded;
use crate::store::log::{disk, open_error};
use crate::store::medium::Medium;

/// One segment.
pub(crate) struct Segment {
    pub(crate) first: u64,
    state: RwLock<State>,
}

enum State {
    Open(Database),
    /// Readers only, without writing to the file.
    Shown(Database),
    /// Why.
    Closed(String),
}

impl Segment {
    /// Opens the segment that begins with this record, or makes it.
    pub(crate) fn open(medium: &dyn Medium, first: u64, cache: usize) -> Result<Self, StoreError> {
        let opened = guarded(|| open(medium, first, cache));
        let opened = opened.map_err(|error| match error {
            StoreError::Corrupt(what) => StoreError::File {
                file: name(first),
                what,
            },
            error => error,
        });
        Ok(Self {
            first,
            state: RwLock::new(State::Open(opened?)),
        })
    }

    /// Reads; after a failed commit what is durable.
    pub(crate) fn read<T>(
        &self,
        medium: &dyn Medium,
        read: impl FnOnce(&redb::ReadTransaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut state = self.state.read().expect(UNPOISONED);
        if matches!(*state, State::Closed(_)) {
            drop(state);
            let mut closed = self.state.write().expect(UNPOISONED);
            self.show(medium, &mut closed)?;
            state = RwLockWriteGuard::downgrade(closed);
        }
        match &*state {
            State::Open(db) | State::Shown(db) => read(&db.begin_read().map_err(disk)?),
            State::Closed(cause) => Err(StoreError::Unavailable(cause.clone())),
        }
    }

    fn show(&self, medium: &dyn Medium, state: &mut State) -> Result<(), StoreError> {
        let State::Closed(cause) = state else {
            return Ok(());
        };
        let shown = medium.raw(&name(self.first)).map_err(disk);
        let shown = shown.and_then(|file| {
            Builder::new()
                .set_cache_size(SHOWN_CACHE)
                .create_with_backend(Unwritten::new(file).map_err(disk)?)
                .map_err(open_error)
        });
        match shown {
            Ok(db) => {
                *state = State::Shown(db);
                Ok(())
            }
            Err(error) => Err(StoreError::Unavailable(format!(
                "{cause}; what is durable cannot be read either: {error}"
            ))),
        }
    }

    /// The database, for writing.
    pub(crate) fn write<T>(
        &self,
        write: impl FnOnce(&Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match &*self.state.read().expect(UNPOISONED) {
            State::Open(db) => write(db),
            State::Shown(_) => Err(StoreError::Unavailable(CLOSED.to_owned())),
            State::Closed(cause) => Err(StoreError::Unavailable(cause.clone())),
        }
    }

    /// Closes it after a failed write. What is cached of it is not trusted again.
    pub(crate) fn close(&self, cause: String) {
        *self.state.write().expect(UNPOISONED) = State::Closed(cause);
    }

    /// Opens the file again for writing, if it passes `prove`. Readers wait meanwhile.
    pub(crate) fn reopen(
        &self,
        medium: &dyn Medium,
        cache: usize,
        prove: impl FnOnce(&Database) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut state = self.state.write().expect(UNPOISONED);
        // The handle before it goes first: the file has one owner.
        *state = State::Closed(CLOSED.to_owned());
        let proven = medium
            .forget(&name(self.first))
            .map_err(disk)
            .and_then(|()| open(medium, self.first, cache))
            .and_then(|db| prove(&db).map(|()| db));
        match proven {
            Ok(db) => {
                *state = State::Open(db);
                Ok(())
            }
            Err(error) => {
                *state = State::Closed(error.to_string());
                Err(error)
            }
        }
    }
}

fn open(medium: &dyn Medium, first: u64, cache: usize) -> Result<Database, StoreError> {
    let mut builder = Builder::new();
    builder.set_cache_size(cache);
    medium.open(&name(first), &builder).map_err(open_error)
}

/// The file of the segment that begins with this record.
pub(crate) fn name(first: u64) -> String {
    format!("log-{first:016}.redb")
}

/// The first record of the segment in this file; `None` when it is no segment.
pub(crate) fn first(name: &str) -> Option<u64> {
    name.strip_prefix("log-")?
        .strip_suffix(".redb")?
        .parse()
        .ok()
}

/// A file whose writes stay in memory, page by page.
#[derive(Debug)]
pub(crate) struct Unwritten {
    file: Box<dyn StorageBackend>,
    state: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    length: u64,
    /// What is read of the file itself; behind it are zeros.
    durable: u64,
    pages: BTreeMap<u64, Box<[u8]>>,
}

impl Unwritten {
    pub(crate) fn new(file: Box<dyn StorageBackend>) -> io::Result<Self> {
        let length = file.len()?;
        let state = Mutex::new(Written {
            length,
            durable: length,
            pages: BTreeMap::new(),
        });
        Ok(Self { file, state })
    }

    /// The page of the file, without what was written.
    fn durable(&self, page: u64, end: u64) -> io::Result<Box<[u8]>> {
        let mut octets = vec![0; PAGE].into_boxed_slice();
        let begin = page * PAGE as u64;
        let length = end.saturating_sub(begin).min(PAGE as u64);
        let length = usize::try_from(length).unwrap_or(PAGE);
        if let Some(part) = octets.get_mut(..length).filter(|part| !part.is_empty()) {
            self.file.read(begin, part)?;
        }
        Ok(octets)
    }
}

/// Pieces of a range, page by page: page, offset in it, length.
fn pieces(mut offset: u64, mut length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    std::iter::from_fn(move || {
        let within = usize::try_from(offset % PAGE as u64).ok()?;
        let piece = length.min(PAGE - within);
        let page = offset / PAGE as u64;
        offset += piece as u64;
        length -= piece;
        (piece > 0).then_some((page, within, piece))
    })
}

impl StorageBackend for Unwritten {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().expect(UNPOISONED).length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state.lock().expect(UNPOISONED);
        if offset.saturating_add(out.len() as u64) > state.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut rest = out;
        for (page, within, piece) in pieces(offset, rest.len()) {
            let (part, behind) = rest.split_at_mut(piece);
            match state.pages.get(&page) {
                Some(octets) => part.copy_from_slice(&octets[within..within + piece]),
                None => {
                    let octets = self.durable(page, state.durable)?;
                    part.copy_from_slice(&octets[within..within + piece]);
                }
            }
            rest = behind;
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.state.lock().expect(UNPOISONED);
        if length < state.length {
            // What was cut off is zeros when it comes back.
            let page = length / PAGE as u64;
            let within = usize::try_from(length % PAGE as u64).unwrap_or_default();
            drop(state.pages.split_off(&(page + u64::from(within > 0))));
            if let Some(octets) = state.pages.get_mut(&page) {
                octets[within..].fill(0);
            }
            state.durable = state.durable.min(length);
        }
        state.length = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock().expect(UNPOISONED);
        let mut rest = data;
        for (page, within, piece) in pieces(offset, data.len()) {
            let (part, behind) = rest.split_at(piece);
            if !state.pages.contains_key(&page) {
                let octets = self.durable(page, state.durable)?;
                state.pages.insert(page, octets);
            }
            if let Some(octets) = state.pages.get_mut(&page) {
                octets[within..within + piece].copy_from_slice(part);
            }
            rest = behind;
        }
        Ok(())
    }
}

const PAGE: usize = 4096;
/// Page cache of a segment that is only shown.
const SHOWN_CACHE: usize = 4 << 20;
const CLOSED: &str = "the log is closed after a failed write";
const UNPOISONED: &str = "no panic while the lock is held";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::medium::Memory;

    /// Whatever is written, cut and grown reads as on a file, and the file stays as it was.
    #[test]
    fn writes_stay_in_memory() {
        let medium = Memory::default();
        let file = medium.raw("f").unwrap();
        file.set_len(3 * PAGE as u64).unwrap();
        file.write(0, &[7; 3 * PAGE]).unwrap();
        let shown = Unwritten::new(medium.raw("f").unwrap()).unwrap();
        let mut model = vec![7; 3 * PAGE];
        let mut seed = 1_u64;
        let mut below = |end: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from((seed >> 33) % end as u64).unwrap()
        };
        for round in 0..500_u16 {
            if round % 5 == 0 {
                let length = below(5 * PAGE);
                shown.set_len(length as u64).unwrap();
                model.resize(length, 0);
            } else if !model.is_empty() {
                let offset = below(model.len());
                let length = below(model.len() - offset + 1);
                let octet = round.to_le_bytes()[0];
                shown.write(offset as u64, &vec![octet; length]).unwrap();
                model[offset..offset + length].fill(octet);
            }
            let mut read = vec![0; model.len()];
            assert_eq!(shown.len().unwrap(), model.len() as u64);
            shown.read(0, &mut read).unwrap();
            assert!(read == model, "round {round}");
        }
        let mut read = vec![0; 3 * PAGE];
        file.read(0, &mut read).unwrap();
        assert!(read == [7; 3 * PAGE]);
    }
}
