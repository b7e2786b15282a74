//! A database file that is looked at and never written.
//!
//! The engine repairs what it opens. A damaged file must stay as it is, for anyone who wants to know what
//! happened to it and for what can still be read from it; so what the engine writes stays in memory.

use std::fs::File;
use std::ops::Bound;
use std::path::Path;

use redb::backends::FileBackend;
use redb::{Builder, Database, StorageBackend as _};

use crate::store::StoreError;
use crate::store::damage::guarded;
use crate::store::error::{disk, open_error};
use crate::store::unwritten::Unwritten;

/// Opens a file to look at it. `InUse` when a process has it open.
pub(crate) fn look_at(path: &Path, cache: usize) -> Result<Database, StoreError> {
    let file = File::options().read(true).write(true).open(path);
    let file = FileBackend::new(file.map_err(disk)?).map_err(open_error)?;
    let whole = (Bound::Unbounded, Bound::Unbounded);
    if !file.try_lock_range(whole.0, whole.1).map_err(disk)? {
        return Err(StoreError::InUse);
    }
    let mut builder = Builder::new();
    builder.set_cache_size(cache);
    let unwritten = Unwritten::new(Box::new(file)).map_err(disk)?;
    builder.create_with_backend(unwritten).map_err(open_error)
}

/// Whether the engine finds its checksums right, on all pages that are in use.
pub fn checksums(path: &Path, cache: usize) -> Result<(), StoreError> {
    let clean = guarded(|| {
        let mut file = look_at(path, cache)?;
        file.check_integrity().map_err(open_error)
    })?;
    if clean {
        Ok(())
    } else {
        Err(StoreError::Corrupt("a page does not have its checksum"))
    }
}
