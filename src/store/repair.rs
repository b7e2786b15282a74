//! `main.redb` made anew from the journal, and from what can be read of the damaged file.
//!
//! Entries of the journal hold rows as they were written, in absolute values: where nothing was pruned,
//! the journal alone is the store. Where its beginning was pruned, rows that have not changed since are
//! taken from the damaged file if their tag is right; what is neither here nor there is lost, and is
//! named. The new file takes the damaged one's place in one step, and the damaged one stays beside it.
//!
//! Where the newest records of the journal may be lost ([`crate::store::journal`]), what is left of it is
//! believed, and every code that may have been used is closed ([`crate::store::floor`]): records of the
//! journal say which. Where `main.redb` is further than the journal, its whole tables are believed. The
//! head is written last: a repair that was interrupted is begun again.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable};

use crate::model::sealing::SealAlgorithm;
use crate::secret::Key256;
use crate::store::check::{each_row, survey};
use crate::store::closing::Cause;
use crate::store::damage::guarded;
use crate::store::error::disk;
use crate::store::identity::Identity;
use crate::store::journal::{Appender, Head, Journal};
use crate::store::look::look_at;
use crate::store::main_file::{Snapshot, create, definition, read_whole};
use crate::store::medium::{Directory, Medium};
use crate::store::memtable::Layer;
use crate::store::rebuild::Rebuild;
use crate::store::record::{Entry, RowWrite, Table};
use crate::store::rows::{Sum, Whole};
use crate::store::seal::Sealer;
use crate::store::seal::ring::Keyring;
use crate::store::{ChainFault, StoreError, journal, record, rows};
use crate::time::UnixTime;

/// What a repair did.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Repaired {
    /// Rows of the new file.
    pub rows: u64,
    /// Journal records that were read for it.
    pub records: u64,
    /// Rows that were taken from the damaged file.
    pub taken: u64,
    /// Under which name the damaged file was kept, if there was one.
    pub kept: Option<String>,
    /// What could not be saved, and what to do about it.
    pub lost: Vec<String>,
    /// Tokens that were closed because codes of them may have been used: the first ten thousand.
    pub closed: Vec<String>,
}

/// Makes `main.redb` of a store that no one has open anew. The data key is opened by `master`.
pub fn repair(
    dir: &Path,
    master: &Key256,
    algorithm: SealAlgorithm,
    now: UnixTime,
) -> Result<Repaired, StoreError> {
    let medium: Arc<dyn Medium> = Arc::new(Directory::new(dir));
    let damaged = match guarded(|| look_at(&dir.join(FILE), CACHE)) {
        Err(StoreError::InUse) => return Err(StoreError::InUse),
        opened => opened.ok(),
    };
    let identity = identity(damaged.as_ref(), medium.as_ref(), master)?;
    let data_key = Keyring::unwrap(identity.store, master, &identity.data_key)?;
    let sealer = Arc::new(Sealer::new(identity.store, &data_key, algorithm));
    let (journal, mut appender) = open_journal(&medium, &sealer)?;
    let (begin, end) = (journal.anchor()?, appender.head());
    let file = damaged.as_ref();
    let whole = file.and_then(|file| guarded(|| read_whole(file, &sealer)).ok());
    let (further, tail) = lost_tail(&journal, end, whole.as_ref())?;
    medium.remove(NEW).map_err(disk)?;
    let mut anew = Anew {
        made: Rebuild {
            file: create(medium.as_ref(), NEW, &identity, &sealer)?,
            sealer: Arc::clone(&sealer),
            whole: Whole::default(),
        },
        suspects: BTreeSet::new(),
        settled: [false; Table::ALL.len()],
        begins: None,
        done: Repaired::default(),
    };
    anew.salvage_first(file, whole.filter(|_| further), begin)?;
    anew.journal(&journal, begin, end)?;
    if further && let Some(damaged) = file {
        anew.salvage(damaged)?;
    }
    if let Some(fault) = &tail {
        anew.say_what_may_be_lost(&journal, end, fault)?;
        anew.done.closed = anew.made.close_codes(&mut appender, now, REPAIR)?;
        let notified = anew.notified(end)?;
        // What is known of the store outside it may be about records that are lost.
        anew.made.begin_epoch(
            &mut appender,
            0,
            (REPAIR, now),
            "store".to_owned(),
            &format!("audit record {}: {}", fault.seq, fault.what),
            notified,
        )?;
    }
    anew.look_over()?;
    let Anew { made, mut done, .. } = anew;
    let end = appender.head();
    drop((made, journal, appender));
    let head = || journal::begin(medium.as_ref(), Arc::clone(&sealer), end);
    if tail.is_none() {
        // `main.redb` must not be further than it.
        head()?;
    }
    close(damaged);
    done.kept = swap(dir, now)?;
    medium.sync().map_err(disk)?;
    if tail.is_some() {
        head()?;
    }
    identity.keep(medium.as_ref())?;
    Ok(done)
}

/// The journal, which must be whole.
fn open_journal(
    medium: &Arc<dyn Medium>,
    sealer: &Arc<Sealer>,
) -> Result<(Arc<Journal>, Appender), StoreError> {
    let opened = || journal::open_for_repair(Arc::clone(medium), Arc::clone(sealer));
    let (journal, appender) = guarded(opened)?;
    let (begin, end) = (journal.anchor()?, appender.head());
    let report = guarded(|| journal.verify(begin, end, &|_| Ok(())))?;
    match report.fault {
        None => Ok((journal, appender)),
        Some(_) => Err(JOURNAL),
    }
}

/// Whether the damaged file is further than the journal, and what the journal has lost of its end.
fn lost_tail(
    journal: &Journal,
    end: Head,
    whole: Option<&Whole>,
) -> Result<(bool, Option<ChainFault>), StoreError> {
    let applied = whole.map(|whole| whole.applied).unwrap_or_default();
    let further = !journal.stands(applied)?;
    let tail = match journal.lost(applied.seq, end)? {
        None if further => Some(ChainFault {
            seq: end.seq + 1,
            what: FURTHER,
        }),
        tail => tail,
    };
    Ok((further, tail))
}

/// The engine writes when it closes a file, and may fail on this one.
fn close(damaged: Option<Database>) {
    let closed = guarded(|| {
        drop(damaged);
        Ok(())
    });
    if let Err(error) = closed {
        tracing::debug!(%error, "the damaged file was not closed");
    }
}

/// Whose store it is: by the file if its data key opens, else by the copy. Each may be the older one, so the format is
/// the higher of both.
fn identity(
    damaged: Option<&Database>,
    medium: &dyn Medium,
    master: &Key256,
) -> Result<Identity, StoreError> {
    let keys = |identity: &Identity| {
        let ring = Keyring::unwrap(identity.store, master, &identity.data_key);
        ring.map_or(0, |ring| ring.keys())
    };
    let own = damaged.and_then(|file| guarded(|| Identity::read(file)).ok().flatten());
    let copy = Identity::copy(medium);
    // The one that knows more keys: an older file may have been put back.
    let further = copy.as_ref().ok().and_then(Option::as_ref);
    if let Some(own) = &own
        && keys(own) > 0
        && keys(own) >= further.map_or(0, keys)
    {
        let own = own.clone();
        return Ok(match further {
            Some(copy) if copy.store == own.store => own.in_format_of(copy),
            _ => own,
        });
    }
    let copy = copy?.ok_or(StoreError::Corrupt(
        "neither main.redb nor identity.redb says which key opens the store; restore a backup",
    ))?;
    // A copy that does not open says why.
    Keyring::unwrap(copy.store, master, &copy.data_key)?;
    Ok(match &own {
        Some(own) if own.store == copy.store => copy.in_format_of(own),
        _ => copy,
    })
}

/// The file that is being made.
struct Anew {
    made: Rebuild,
    /// Rows of the damaged file that are not as they were written, until the journal has them.
    suspects: BTreeSet<(Table, Vec<u8>)>,
    /// Tables that were taken whole from a file that is further than the journal.
    settled: [bool; Table::ALL.len()],
    /// With which record the journal begins, by the newest record that says so.
    begins: Option<Head>,
    done: Repaired,
}

impl Anew {
    fn lose(&mut self, what: String) {
        self.done.lost.push(what);
    }

    /// What is older than the journal; `further` is the damaged file that holds more than the journal.
    fn salvage_first(
        &mut self,
        damaged: Option<&Database>,
        further: Option<Whole>,
        begin: Head,
    ) -> Result<(), StoreError> {
        match (damaged, further) {
            (Some(damaged), Some(whole)) => self.salvage_further(damaged, &whole),
            _ if begin.seq == 0 => Ok(()),
            (Some(damaged), None) => self.salvage(damaged),
            (None, _) => {
                self.lose(format!(
                    "main.redb cannot be opened: what has not changed since record {} is lost; restore a backup \
                     if there is one",
                    begin.seq + 1
                ));
                Ok(())
            }
        }
    }

    /// Takes the tables that are whole of a file that is further than the journal: nothing of the
    /// journal is newer.
    fn salvage_further(&mut self, damaged: &Database, whole: &Whole) -> Result<(), StoreError> {
        self.made.whole.high_water = whole.high_water;
        let Ok(snapshot) = guarded(|| Snapshot::of(damaged)) else {
            return Ok(());
        };
        for table in Table::ALL {
            let file = snapshot.table(table);
            let survey = guarded(|| survey((file, table), &self.made.sealer, &|| false, |_, _| {}));
            let sum = whole.sums.of(table);
            if survey.is_ok_and(|survey| !survey.bad && sum == Sum::Known(survey.sum)) {
                self.salvage_table(&snapshot, table)?;
                self.settled[table as usize] = true;
            }
        }
        Ok(())
    }

    /// Takes the rows of the damaged file that are as they were written.
    fn salvage(&mut self, damaged: &Database) -> Result<(), StoreError> {
        if let Ok(whole) = guarded(|| read_whole(damaged, &self.made.sealer)) {
            self.made.whole.high_water = self.made.whole.high_water.max(whole.high_water);
        }
        let snapshot = match guarded(|| Snapshot::of(damaged)) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                self.lose(format!("no table of main.redb can be read: {error}"));
                return Ok(());
            }
        };
        for table in Table::ALL {
            if !self.settled[table as usize] {
                self.salvage_table(&snapshot, table)?;
            }
        }
        // Closing what is damaged may fail in the engine as reading it does.
        let _ = guarded(|| {
            drop(snapshot);
            Ok(())
        });
        Ok(())
    }

    fn salvage_table(&mut self, snapshot: &Snapshot, table: Table) -> Result<(), StoreError> {
        let file = snapshot.table(table);
        let mut found = Found::default();
        let sealer = Arc::clone(&self.made.sealer);
        let mut last = Vec::new();
        let forwards = guarded(|| {
            each_row(file, &|| false, |key, stored| {
                found.take(&sealer, table, key, stored);
                last = key.to_vec();
            })
        });
        if let Err(error) = forwards {
            // The other side of the damaged page, from the end.
            let backwards = guarded(|| {
                for row in file.range::<&[u8]>(..).map_err(disk)?.rev() {
                    let (key, stored) = row.map_err(disk)?;
                    if key.value() <= last.as_slice() {
                        break;
                    }
                    found.take(&sealer, table, key.value(), stored.value());
                }
                Ok(())
            });
            drop(backwards);
            self.lose(format!(
                "rows of {} behind {} cannot be read, unless they have changed since: {error}",
                table.as_str(),
                rows::shown(&last)
            ));
        }
        self.done.taken += found.layer.rows() as u64;
        self.suspects
            .extend(found.bad.into_iter().map(|key| (table, key)));
        self.made.flush(&mut found.layer)
    }

    /// Carries the journal over the rows.
    fn journal(&mut self, journal: &Journal, begin: Head, end: Head) -> Result<(), StoreError> {
        let mut layer = Layer::default();
        let mut next = begin.seq + 1;
        while next <= end.seq {
            let records = journal.read(next, SLICE)?;
            let Some(last) = records.last().map(|record| record.seq) else {
                return Err(JOURNAL);
            };
            for record in records {
                let entry = Entry::decode(&record.body)?;
                self.done.records += 1;
                let accepts = entry.accepts_clock();
                let latest = self.made.whole.high_water.max(entry.at);
                self.made.whole.high_water = if accepts { entry.at } else { latest };
                for write in entry.writes {
                    self.suspects.remove(&(write.table, write.key.clone()));
                    if write.table == Table::Settings && write.key == record::PRUNED {
                        let row = write.value.as_deref();
                        let row = row.map(|row| record::pruned(row, &self.made.sealer));
                        self.begins = row.transpose()?;
                    }
                    if !self.settled[write.table as usize] {
                        layer.put(write);
                    }
                }
            }
            if layer.rows() > MANY {
                self.made.flush(&mut layer)?;
            }
            next = last.max(next) + 1;
        }
        self.made.whole.applied = end;
        self.made.flush(&mut layer)?;
        if begin.seq > 0 && self.begins != Some(begin) {
            self.lose(format!(
                "audit records before {} are missing, and no pruning of them is on record",
                begin.seq + 1
            ));
        }
        let suspects = std::mem::take(&mut self.suspects);
        for (table, key) in suspects {
            let (table, key) = (table.as_str(), rows::shown(&key));
            self.lose(format!(
                "{table} {key}: the row is damaged, and the journal of that time was pruned"
            ));
        }
        Ok(())
    }

    /// Notices about lost records are not those about the records that take their numbers.
    fn notified(&self, end: Head) -> Result<Vec<RowWrite>, StoreError> {
        let snapshot = Snapshot::of(&self.made.file)?;
        let row = snapshot.get(&self.made.sealer, Table::Settings, record::NOTIFIED)?;
        let octets: Option<[u8; 8]> = row.and_then(|row| row.try_into().ok());
        let done = octets.map(u64::from_be_bytes).filter(|seq| *seq > end.seq);
        let write = done.map(|_| RowWrite {
            table: Table::Settings,
            key: record::NOTIFIED.to_vec(),
            value: Some(end.seq.max(1).to_be_bytes().to_vec()),
        });
        Ok(write.into_iter().collect())
    }

    /// Says what the newest records may have held.
    fn say_what_may_be_lost(
        &mut self,
        journal: &Journal,
        end: Head,
        ChainFault { seq, what }: &ChainFault,
    ) -> Result<(), StoreError> {
        let last = journal.read_back(end.seq + 1, 1)?.pop();
        let since = match last {
            Some(record) => format!(
                "after audit record {} of {}",
                end.seq,
                record.parse()?.at.rfc3339()
            ),
            None => "since the store was made".to_owned(),
        };
        self.lose(format!("audit record {seq}: {what}"));
        self.lose(format!(
            "what was decided or changed {since} may be lost: users, tokens, devices and rights that were added, \
             changed or taken away, new passwords and PINs, counted failures and locks; compare `oncegate audit \
             list` with what was exported, and repeat what is missing"
        ));
        Ok(())
    }

    /// Counts the rows, and names tokens and devices of which no one knows which codes are used.
    fn look_over(&mut self) -> Result<(), StoreError> {
        let read = self.made.file.begin_read().map_err(disk)?;
        let mut lost = Vec::new();
        for table in Table::ALL {
            let file = read.open_table(definition(table)).map_err(disk)?;
            self.done.rows += redb::ReadableTableMetadata::len(&file).map_err(disk)?;
            let states = match table {
                Table::Tokens => Table::TokenStates,
                Table::Devices => Table::DeviceStates,
                _ => continue,
            };
            let states = read.open_table(definition(states)).map_err(disk)?;
            for row in file.iter().map_err(disk)? {
                let (key, stored) = row.map_err(disk)?;
                let name = key.value().rsplit(|octet| *octet == 0).next();
                let name = name.unwrap_or_default();
                let row = rows::open(&self.made.sealer, table, key.value(), stored.value());
                let linked = row.is_some_and(|(row, _)| record::link_target(row).is_some());
                if !(table == Table::Tokens && linked) && states.get(name).map_err(disk)?.is_none()
                {
                    let name = rows::shown(name);
                    lost.push(format!(
                        "{} {name}: no one knows which of its codes are used; it lets no one in until it \
                         is removed and enrolled again",
                        table.as_str()
                    ));
                }
            }
        }
        lost.into_iter().for_each(|what| self.lose(what));
        Ok(())
    }
}

/// Rows of the damaged file.
#[derive(Default)]
struct Found {
    layer: Layer,
    bad: Vec<Vec<u8>>,
}

impl Found {
    fn take(&mut self, sealer: &Sealer, table: Table, key: &[u8], stored: &[u8]) {
        match rows::open(sealer, table, key, stored) {
            Some((value, _)) => self.layer.put(RowWrite {
                table,
                key: key.to_vec(),
                value: Some(value.to_vec()),
            }),
            None => self.bad.push(key.to_vec()),
        }
    }
}

/// Puts the new file in the place of the damaged one, which is kept; returns its name.
fn swap(dir: &Path, now: UnixTime) -> Result<Option<String>, StoreError> {
    let (main, new) = (dir.join(FILE), dir.join(NEW));
    let time: String = now
        .rfc3339()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    let kept = format!("{FILE}.damaged-{time}");
    let there = main.exists();
    if there {
        // Both names for a moment: at no time is there no file.
        std::fs::hard_link(&main, dir.join(&kept)).map_err(disk)?;
    }
    std::fs::rename(&new, &main).map_err(disk)?;
    Ok(there.then_some(kept))
}

const FILE: &str = "main.redb";
const NEW: &str = "main.redb.new";
const CACHE: usize = 64 << 20;
/// Records read at a time, and rows that are written at a time.
const SLICE: usize = 1000;
const MANY: usize = 50_000;
/// As the audit names it.
const REPAIR: Cause = Cause {
    actor: "oncegate store verify --repair",
    action: "store_repair",
};
const FURTHER: &str = "it is lost, yet main.redb holds what it changed";
const JOURNAL: StoreError = StoreError::Corrupt(
    "the journal is damaged as well (`oncegate audit verify` says where); restore the store from a backup",
);
