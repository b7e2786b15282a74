//! A disk that forgets: unsynced sectors are lost, kept or torn at a power cut, files whose
//! directory was not synced vanish, and after a chosen number of operations nothing works.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fmt, io};

use oncegate::store::medium::Medium;
use redb::{Builder, Database, DatabaseError, StorageBackend};

use crate::support::Random;

/// The disk; clones are the same disk.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: BTreeMap<String, File>,
    /// Operations until every further one fails; `None`: never.
    left: Option<u64>,
    operations: u64,
    /// What a failing operation says.
    full: bool,
    /// Whether flushes do not end.
    hangs: bool,
}

#[derive(Default)]
struct File {
    /// The name it has on the disk until the directory is synced, when it was given another one.
    formerly: Option<String>,
    view: Vec<u8>,
    synced: Vec<u8>,
    pending: Vec<Change>,
    named: bool,
}

enum Change {
    Length(usize),
    Write(usize, Vec<u8>),
}

impl Disk {
    /// Lets every operation after `operations` more fail as after a power cut.
    pub(crate) fn fail_after(&self, operations: u64) {
        self.0.lock().unwrap().left = Some(operations);
    }

    /// Lets every further write fail as on a full disk, or work again.
    pub(crate) fn set_full(&self, full: bool) {
        let mut state = self.0.lock().unwrap();
        state.full = full;
    }

    /// Lets every further flush wait, until they are let go.
    pub(crate) fn set_hangs(&self, hangs: bool) {
        self.0.lock().unwrap().hangs = hangs;
    }

    /// Lets everything work again.
    pub(crate) fn mend(&self) {
        self.0.lock().unwrap().left = None;
    }

    /// Operations so far.
    pub(crate) fn operations(&self) -> u64 {
        self.0.lock().unwrap().operations
    }

    /// What is in the files at present, as a process that is killed now leaves it.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.0.lock().unwrap();
        let files = state.files.iter();
        files
            .map(|(name, file)| (name.clone(), file.view.clone()))
            .collect()
    }

    /// A disk with these files, all of them durable.
    pub(crate) fn with(files: BTreeMap<String, Vec<u8>>) -> Self {
        let disk = Self::default();
        let durable = |octets: Vec<u8>| File {
            formerly: None,
            view: octets.clone(),
            synced: octets,
            pending: Vec::new(),
            named: true,
        };
        let files = files.into_iter();
        disk.0.lock().unwrap().files = files
            .map(|(name, octets)| (name, durable(octets)))
            .collect();
        disk
    }

    /// Cuts the power: what was not synced is lost, kept or torn by sector, as `random` says.
    pub(crate) fn power_cut(&self, random: &mut Random) {
        let mut state = self.0.lock().unwrap();
        state.left = None;
        state.files.retain(|_, file| file.named);
        for (name, mut file) in std::mem::take(&mut state.files) {
            let formerly = file.formerly.take();
            let name = formerly.filter(|_| random.below(2) == 0).unwrap_or(name);
            state.files.insert(name, file);
        }
        for file in state.files.values_mut() {
            for change in std::mem::take(&mut file.pending) {
                match change {
                    Change::Length(length) if random.below(2) == 0 => file.synced.resize(length, 0),
                    Change::Length(_) => {}
                    Change::Write(offset, data) => {
                        for (index, sector) in data.chunks(SECTOR).enumerate() {
                            if random.below(2) == 0 {
                                write_at(&mut file.synced, offset + index * SECTOR, sector);
                            }
                        }
                    }
                }
            }
            file.view.clone_from(&file.synced);
        }
    }
}

impl State {
    fn operate(&mut self, writes: bool) -> io::Result<()> {
        self.operations += 1;
        if writes && self.full {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        match &mut self.left {
            None => Ok(()),
            Some(0) => Err(io::Error::other("power cut")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

impl Medium for Disk {
    fn open(&self, name: &str, builder: &Builder) -> Result<Database, DatabaseError> {
        let mut state = self.0.lock().unwrap();
        state
            .operate(false)
            .map_err(|error| DatabaseError::Storage(error.into()))?;
        state.files.entry(name.to_owned()).or_default();
        drop(state);
        builder.create_with_backend(Handle {
            disk: self.clone(),
            name: name.to_owned(),
        })
    }

    fn raw(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        let mut state = self.0.lock().unwrap();
        state.operate(false)?;
        state.files.entry(name.to_owned()).or_default();
        drop(state);
        Ok(Box::new(Handle {
            disk: self.clone(),
            name: name.to_owned(),
        }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().files.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.operate(false)?;
        state.files.remove(name);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.operate(true)?;
        let file = state.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        let formerly = Some(from.to_owned());
        state.files.insert(to.to_owned(), File { formerly, ..file });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.operate(false)?;
        for file in state.files.values_mut() {
            (file.named, file.formerly) = (true, None);
        }
        Ok(())
    }
}

struct Handle {
    disk: Disk,
    name: String,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Handle {
    fn with<T>(&self, writes: bool, act: impl FnOnce(&mut File) -> T) -> io::Result<T> {
        let mut state = self.disk.0.lock().unwrap();
        state.operate(writes)?;
        Ok(act(state
            .files
            .get_mut(&self.name)
            .expect("open files exist")))
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        self.with(false, |file| file.view.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        self.with(false, |file| {
            file.view
                .get(offset..offset + out.len())
                .map(|data| out.copy_from_slice(data))
                .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
        })?
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).unwrap();
        self.with(true, |file| {
            file.view.resize(length, 0);
            file.pending.push(Change::Length(length));
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        while self.disk.0.lock().unwrap().hangs {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.with(true, |file| {
            for change in std::mem::take(&mut file.pending) {
                match change {
                    Change::Length(length) => file.synced.resize(length, 0),
                    Change::Write(offset, data) => write_at(&mut file.synced, offset, &data),
                }
            }
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        self.with(true, |file| {
            write_at(&mut file.view, offset, data);
            file.pending.push(Change::Write(offset, data.to_vec()));
        })
    }
}

fn write_at(file: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if file.len() < offset + data.len() {
        file.resize(offset + data.len(), 0);
    }
    file[offset..offset + data.len()].copy_from_slice(data);
}

const SECTOR: usize = 512;
