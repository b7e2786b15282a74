//! Files for segments that are yet to come: zeros, written and flushed ahead, so that a commit into them
//! changes no file's size and the disk has the room already.
//!
//! They bear names of their own until they are begun, and are removed at opening: what has a segment's
//! name was begun whole.

use crate::store::StoreError;
use crate::store::error::disk;
use crate::store::medium::Medium;

/// A file that is ready.
pub(super) struct Spare {
    pub(super) name: &'static str,
    /// Octets, all zeros.
    pub(super) length: u64,
}

impl Spare {
    /// Makes one. A part of it is not left behind.
    pub(super) fn make(
        medium: &dyn Medium,
        name: &'static str,
        length: u64,
    ) -> Result<Self, StoreError> {
        let length = length.next_multiple_of(PAGE);
        match fill(medium, name, length) {
            Ok(()) => Ok(Self { name, length }),
            Err(error) => {
                if let Err(error) = medium.remove(name) {
                    tracing::debug!(name, %error, "a file that was not made whole stays");
                }
                Err(error)
            }
        }
    }
}

/// Removes those of the process before.
pub(super) fn remove_all(medium: &dyn Medium, there: &[String]) -> Result<(), StoreError> {
    let ours = there
        .iter()
        .filter(|name| [AHEAD, NOW].contains(&name.as_str()));
    for name in ours {
        medium.remove(name).map_err(disk)?;
    }
    Ok(())
}

fn fill(medium: &dyn Medium, name: &str, length: u64) -> Result<(), StoreError> {
    let file = medium.raw(name).map_err(disk)?;
    if file.len().map_err(disk)? > 0 {
        file.set_len(0).map_err(disk)?;
    }
    let mut at = 0;
    while at < length {
        let piece = (length - at).min(PIECE);
        zeros(&*file, at, at + piece)?;
        // Piece by piece: a commit meanwhile waits for one of them at most.
        file.sync_data().map_err(disk)?;
        at += piece;
    }
    Ok(())
}

/// Writes zeros from `from` to `to`.
pub(super) fn zeros(file: &dyn redb::StorageBackend, from: u64, to: u64) -> Result<(), StoreError> {
    let size = to.saturating_sub(from).min(PIECE);
    let octets = vec![0; usize::try_from(size).map_err(disk)?];
    let mut at = from;
    while at < to {
        let part = usize::try_from((to - at).min(PIECE)).map_err(disk)?;
        file.write(at, &octets[..part]).map_err(disk)?;
        at += part as u64;
    }
    Ok(())
}

/// The file that is made ahead, and one that is made when none is ready.
pub(super) const AHEAD: &str = "spare.log";
pub(super) const NOW: &str = "spare-now.log";
/// Lengths are multiples of it.
pub(super) const PAGE: u64 = 4096;
/// Octets written at once.
const PIECE: u64 = 1 << 20;
