//! A file whose writes stay in memory: what is damaged, or cannot be written, is looked at without a change.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;

use redb::StorageBackend;

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
const UNPOISONED: &str = "no panic while the lock is held";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::medium::{Medium as _, Memory};

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
