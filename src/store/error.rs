//! Why the store has no answer.

use crate::secret::EntropyError;

/// Why a verb has no answer. Nothing is ever accepted on one of these.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The record exists already, or its revision is not the expected one.
    #[error("{0}")]
    Conflict(&'static str),
    /// There is no such record.
    #[error("not found")]
    NotFound,
    /// The device is unknown, revoked or has another key by now; or this request of it was taken
    /// before, is out of its time, or is one of too many.
    #[error("the device's request is not taken")]
    NotTaken,
    /// The queue is full.
    #[error("the store is overloaded")]
    Shed,
    /// The request's deadline passed before it was evaluated.
    #[error(
        "the time for one decision (`limits.request_timeout`) was over before the store could decide; if it goes on, \
         see what keeps this machine or its disk busy"
    )]
    Late,
    /// A commit failed or is in doubt.
    #[error("the store cannot commit: {0}")]
    Unavailable(String),
    /// The master key does not open this store.
    #[error("the master key does not open this store: it is of another store, or was exchanged")]
    WrongMasterKey,
    /// Another process has the store open.
    #[error("the store is in use by another oncegate process")]
    InUse,
    /// Something on disk is not as it was written.
    #[error("the store is damaged: {0}")]
    Corrupt(&'static str),
    /// A file beside `main.redb` is not as it was written.
    #[error("{file} is damaged: {what}")]
    File {
        /// Its name.
        file: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The store was written by a newer version.
    #[error(
        "the store has format {found}, this version reads up to {known}; run the newer version"
    )]
    NewerFormat {
        /// Format on disk.
        found: u8,
        /// Newest format this version knows.
        known: u8,
    },
    /// A value does not fit a record.
    #[error("a value is too large for a record")]
    TooLarge,
    /// No random octets.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The database engine or the disk failed.
    #[error("{0}")]
    Disk(String),
}

/// The engine's or the disk's failure, as the store's.
pub(crate) fn disk(error: impl std::fmt::Display) -> StoreError {
    StoreError::Disk(error.to_string())
}

/// A failure to open a database file.
pub(crate) fn open_error(error: redb::DatabaseError) -> StoreError {
    match error {
        redb::DatabaseError::DatabaseAlreadyOpen => StoreError::InUse,
        redb::DatabaseError::Storage(error) if is_damage(&error) => {
            tracing::error!(%error, "a file of the store is damaged");
            StoreError::Corrupt("a file is not a database any more")
        }
        other => disk(other),
    }
}

/// Whether the engine read the file and found it wrong; else the disk is what failed.
fn is_damage(error: &redb::StorageError) -> bool {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    match error {
        redb::StorageError::Corrupted(_) => true,
        redb::StorageError::Io(error) => matches!(error.kind(), InvalidData | UnexpectedEof),
        _ => false,
    }
}
