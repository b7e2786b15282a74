//! How far one who follows the trail is, in a file of DIR: `RECORD EPOCH MAC`, exchanged durably.

use std::fs;
use std::path::PathBuf;

use crate::daemon::witness;
use crate::store::Store;
use crate::store::course::Taken;

/// The file.
pub(super) struct Cursor(PathBuf);

impl Cursor {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// What it says; `None` where it is not there, or says nothing.
    pub(super) fn read(&self) -> Option<Taken> {
        let text = fs::read_to_string(&self.0).ok()?;
        Taken::read(&text)
    }

    /// The record behind which it is gone on ([`Store::resumed`]); `None` as for [`Cursor::read`].
    pub(super) async fn resumed(&self, store: &Store) -> Result<Option<u64>, String> {
        let Some(taken) = self.read() else {
            return Ok(None);
        };
        let seq = store.resumed(taken).await;
        let seq = seq.map_err(|error| error.to_string())?;
        if seq < taken.seq {
            tracing::warn!(
                cursor = %self.0.display(),
                taken = taken.seq,
                behind = seq,
                "the store was restored, put back or repaired: what may not have been taken is sent again"
            );
        }
        Ok(Some(seq))
    }

    /// Notes, durably, that all up to this record was taken.
    pub(super) fn write(&self, store: &Store, seq: u64) -> Result<(), String> {
        let taken = store.taken(seq).map_err(|error| error.to_string())?;
        let text = taken.text();
        let made = self.0.parent().map(fs::create_dir_all).transpose();
        let written = made.and_then(|_| witness::put(&self.0, &text));
        written.map_err(|error| format!("{} cannot be written: {error}", self.0.display()))
    }
}
