//! Files for segments that are yet to come: zeros, written and flushed ahead, so that a commit into them
//! changes no file's size and the disk has the room already.
//!
//! They bear names of their own until they are begun, and are removed at opening: what has a segment's
//! name was begun whole.
//!
//! Invariant: no two files that are made ahead share a name. One that was taken keeps its name until its header is
//! durable; the next one, which another thread makes meanwhile, would be written over the segment that it becomes.

use crate::store::StoreError;
use crate::store::error::disk;
use crate::store::medium::Medium;

/// A file that is ready.
pub(super) struct Spare {
    pub(super) name: String,
    /// Octets, all zeros.
    pub(super) length: u64,
}

impl Spare {
    /// Makes one. A part of it is not left behind.
    pub(super) fn make(medium: &dyn Medium, name: String, length: u64) -> Result<Self, StoreError> {
        let length = length.next_multiple_of(PAGE);
        match fill(medium, &name, length) {
            Ok(()) => Ok(Self { name, length }),
            Err(error) => {
                if let Err(error) = medium.remove(&name) {
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
        .filter(|name| matches!(name.strip_prefix("spare"), Some(rest) if rest.strip_suffix(".log").is_some()));
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

/// The name of the file that is made ahead, by its number since the journal was opened.
pub(super) fn ahead(number: u64) -> String {
    format!("spare-{number}.log")
}

/// The one that is made when none is ready, by the only thread that appends.
pub(super) const NOW: &str = "spare.log";
/// Lengths are multiples of it.
pub(super) const PAGE: u64 = 4096;
/// Octets written at once.
const PIECE: u64 = 1 << 20;
