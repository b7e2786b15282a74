//! Where the store's files live: a directory, memory, or (in tests) a disk that fails.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use redb::Builder;
use redb::Database;
use redb::DatabaseError;

/// A place for named database files.
pub trait Medium: Send + Sync + 'static {
    /// Opens the database, creating it when it is missing.
    fn open(&self, name: &str, builder: &Builder) -> Result<Database, DatabaseError>;

    /// Names of the files that exist.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes creations durable: a file whose directory entry is lost in a power cut is lost.
    fn sync(&self) -> io::Result<()>;
}

/// A directory of the file system; never a network file system.
#[derive(Clone, Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// The directory at `path`, which exists.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
}

impl Medium for Directory {
    fn open(&self, name: &str, builder: &Builder) -> Result<Database, DatabaseError> {
        builder.create(self.0.join(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.0)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

/// Files that vanish with the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory;

impl Medium for Memory {
    fn open(&self, _name: &str, builder: &Builder) -> Result<Database, DatabaseError> {
        builder.create_with_backend(redb::backends::InMemoryBackend::new())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
