//! Where the store's files live: a directory, memory, or (in tests) a disk that fails.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use redb::backends::{FileBackend, InMemoryBackend};
use redb::{Builder, Database, DatabaseError, StorageBackend};

/// A place for named database files.
pub trait Medium: Send + Sync + 'static {
    /// Opens the database, creating it when it is missing.
    fn open(&self, name: &str, builder: &Builder) -> Result<Database, DatabaseError>;

    /// Opens a file as it is, creating it when it is missing. Nothing locks it: anyone who writes to it has
    /// the store, or no one else writes to it. What is written behind its end makes it longer.
    fn raw(&self, name: &str) -> io::Result<Box<dyn StorageBackend>>;

    /// Names of the files that exist.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes creations durable: a file whose directory entry is lost in a power cut is lost.
    fn sync(&self) -> io::Result<()>;

    /// Gives a file another name, in one step; durable after [`Medium::sync`]. No one has it open.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Octets that can still be written, as far as that is known.
    fn room(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    /// Removes a file that no one will open again; one that is gone already is no error. Its space is free
    /// when the last reader has closed it.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Forgets what is cached of a closed file. After a failed fsync the system takes pages that
    /// never reached the disk for clean: who reads them would trust what a power cut takes away.
    fn forget(&self, _name: &str) -> io::Result<()> {
        Ok(())
    }
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

impl Directory {
    fn file(&self, name: &str) -> io::Result<File> {
        let mut options = File::options();
        // What is in it is no one else's, whatever the umask says.
        options.read(true).write(true).create(true).mode(0o600);
        options.truncate(false).open(self.0.join(name))
    }
}

impl Medium for Directory {
    fn open(&self, name: &str, builder: &Builder) -> Result<Database, DatabaseError> {
        let file = self.file(name)?;
        builder.create_with_backend(FileBackend::new(file)?)
    }

    fn raw(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        Ok(Box::new(Plain(self.file(name)?)))
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

    fn remove(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_file(self.0.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.0.join(from), self.0.join(to))
    }

    fn room(&self) -> io::Result<u64> {
        let disk = nix::sys::statvfs::statvfs(&self.0)?;
        Ok(disk.blocks_available().saturating_mul(disk.fragment_size()))
    }

    fn forget(&self, name: &str) -> io::Result<()> {
        let file = File::open(self.0.join(name))?;
        let discard = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
        Ok(nix::fcntl::posix_fadvise(&file, 0, 0, discard)?)
    }
}

/// Files that vanish with the process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<BTreeMap<String, Arc<InMemoryBackend>>>>);

impl Memory {
    fn file(&self, name: &str) -> Shared {
        let mut files = self.0.lock().expect("no panic while the lock is held");
        Shared(Arc::clone(files.entry(name.to_owned()).or_default()))
    }
}

impl Medium for Memory {
    fn open(&self, name: &str, builder: &Builder) -> Result<Database, DatabaseError> {
        builder.create_with_backend(self.file(name))
    }

    fn raw(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        Ok(Box::new(self.file(name)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let files = self.0.lock().expect("no panic while the lock is held");
        Ok(files.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut files = self.0.lock().expect("no panic while the lock is held");
        files.remove(name);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.0.lock().expect("no panic while the lock is held");
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A file without a lock.
#[derive(Debug)]
struct Plain(File);

impl StorageBackend for Plain {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
}

/// One file in memory, which outlives its handles.
#[derive(Debug)]
struct Shared(Arc<InMemoryBackend>);

impl StorageBackend for Shared {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset.saturating_add(data.len() as u64);
        if self.0.len()? < end {
            self.0.set_len(end)?;
        }
        self.0.write(offset, data)
    }
}
