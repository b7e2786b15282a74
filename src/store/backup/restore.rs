//! A new store from a backup, in which no code is good again.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use data_encoding::{BASE64, HEXLOWER};

use crate::diagnostic::units::count;
use crate::model::sealing::SealAlgorithm;
use crate::secret::Key256;
use crate::store::backup::frame::{Opening, Reader};
use crate::store::backup::later::Later;
use crate::store::backup::{BackupError, Begin, Counts, Header, Item, SiteFile};
use crate::store::closing::Cause;
use crate::store::error::disk;
use crate::store::identity::{FORMAT, Identity};
use crate::store::journal::{Appended, Appender, Batch, Head, Journal, Record};
use crate::store::main_file::{Snapshot, create};
use crate::store::medium::{Directory, Medium};
use crate::store::memtable::Layer;
use crate::store::rebuild::Rebuild;
use crate::store::record::{Entry, PRUNED, Table};
use crate::store::rows::Whole;
use crate::store::seal::Sealer;
use crate::store::seal::personal;
use crate::store::seal::ring::Keyring;
use crate::store::transition::rows::put;
use crate::store::witness::Known;
use crate::store::{StoreError, journal, record};
use crate::time::UnixTime;

/// What is to be made of a backup.
pub struct Restore<'a> {
    /// An empty directory for the store's files.
    pub dir: &'a Path,
    /// Opens the data key.
    pub master: &'a Key256,
    /// Seals what is written from now on.
    pub algorithm: SealAlgorithm,
    /// Octets of a segment of the journal.
    pub segment_size: u64,
    /// The record that is to be the last one; all of the backup when none is named.
    pub at: Option<u64>,
    /// The present: no code that may have been used before it is accepted.
    pub now: UnixTime,
    /// The statements about this store in files outside it, which the files in the backup name.
    pub statements: &'a dyn Fn(&[SiteFile]) -> Vec<String>,
}

/// What a restore made.
#[derive(Debug)]
pub struct Restored {
    /// What the backup says about itself.
    pub header: Header,
    /// Files of the installation that are in it.
    pub files: Vec<SiteFile>,
    /// The last record that was restored.
    pub at: u64,
    /// Rows that were read.
    pub rows: u64,
    /// Records that were restored.
    pub records: u64,
    /// The state epoch from now on.
    pub epoch: u64,
    /// Tokens that were closed: the first ten thousand.
    pub closed: Vec<String>,
    /// Tokens whose used codes are known from records behind the last one that was restored.
    pub used_later: u64,
}

/// Makes a store in an empty directory of a whole backup and the incremental ones that go on from it, in order. After an
/// error the directory is of no use.
pub fn restore<R: Read>(what: &Restore<'_>, mut inputs: Vec<R>) -> Result<Restored, BackupError> {
    let openings = inputs.iter_mut().map(Opening::read);
    let openings: Vec<Opening> = openings.collect::<Result<_, _>>()?;
    let header = chained(&openings)?.clone();
    // Of the last one: its data keys are all of them.
    let identity = identity(&header)?;
    let keys = keys_of(&header, &identity, what.master)?;
    let sealer = Arc::new(Sealer::new(identity.store, &keys, what.algorithm));
    let parts = inputs.into_iter().zip(&openings);
    let mut parts = parts.map(|(input, opening)| Reader::new(input, opening, &sealer));
    let mut from = parts.next().ok_or(BackupError::NotABackup)?;
    let medium: Arc<dyn Medium> = Arc::new(Directory::new(what.dir));
    let (mut files, begin) = beginning(&mut from, medium.as_ref())?;
    let from_start = from_start(what.at, &header, &begin)?;
    let made = Rebuild {
        file: create(medium.as_ref(), "main.redb", &identity, &sealer)?,
        sealer: Arc::clone(&sealer),
        whole: Whole::default(),
    };
    let (size, anchor) = (what.segment_size, begin.anchor);
    let (journal, appender) =
        journal::create(Arc::clone(&medium), Arc::clone(&sealer), size, anchor)?;
    let mut anew = Anew {
        made,
        appender,
        batch: Batch::default(),
        layer: Layer::default(),
        begin,
        from_start,
        last: what.at.unwrap_or(header.head),
        at: anchor,
        later: Later::default(),
        counts: Counts::default(),
    };
    anew.high_water(anew.begin.high_water);
    anew.read(&mut from)?;
    for mut next in parts {
        let (newer, begin) = beginning(&mut next, medium.as_ref())?;
        if begin.anchor != anew.at {
            return Err(BackupError::Chain(GAP.to_owned()));
        }
        files = newer;
        anew.high_water(begin.high_water);
        anew.read(&mut next)?;
    }
    anew.finish()?;
    let (at, records) = (
        anew.appender.head().seq,
        anew.appender.head().seq - anchor.seq,
    );
    let mut restored = Restored {
        header,
        files,
        at,
        rows: anew.counts.rows,
        records,
        epoch: 0,
        closed: Vec::new(),
        used_later: anew.later.tokens(),
    };
    anew.close(what, &journal, &mut restored)?;
    identity.keep(medium.as_ref())?;
    medium.sync().map_err(disk)?;
    Ok(restored)
}

/// The data keys of a backup, by its master key.
fn keys_of(header: &Header, identity: &Identity, master: &Key256) -> Result<Keyring, BackupError> {
    let keys = Keyring::unwrap(identity.store, master, &identity.data_key);
    keys.map_err(|error| match error {
        StoreError::WrongMasterKey => BackupError::OtherInstallation {
            store: header.store.clone(),
            created: header.created.clone(),
        },
        error => error.into(),
    })
}

/// Refuses backups that are not one behind the other; returns what the last one says about itself.
fn chained(openings: &[Opening]) -> Result<&Header, BackupError> {
    let wrong = |what: String| Err(BackupError::Chain(what));
    let mut before: Option<&Header> = None;
    for Opening { header, .. } in openings {
        match (before, &header.since) {
            (None, None) => {}
            (None, Some(since)) => {
                return wrong(format!(
                    "the first backup, of {}, goes on from another one ({since}), which is missing",
                    header.created
                ));
            }
            (Some(_), None) => {
                return wrong(format!(
                    "the backup of {} is whole by itself: it goes on from no other",
                    header.created
                ));
            }
            (Some(before), Some(since)) => {
                if before.store != header.store {
                    return wrong("the backups are of different installations".to_owned());
                }
                if *since != before.backup || header.first != before.head + 1 {
                    return wrong(format!(
                        "the backup of {} goes on from another one ({since}) than the one of {} before it",
                        header.created, before.created
                    ));
                }
            }
        }
        before = Some(header);
    }
    before.ok_or(BackupError::NotABackup)
}

/// What comes before rows and records: files, and keys of personal data, which take the place of those before.
fn beginning(
    from: &mut Reader<'_, impl Read>,
    medium: &dyn Medium,
) -> Result<(Vec<SiteFile>, Begin), BackupError> {
    let mut files = Vec::new();
    loop {
        match from.next()? {
            Some(Item::File(file)) => files.push(file),
            Some(Item::Slots { first, octets }) => write_slots(medium, first, &octets)?,
            Some(Item::Begin(begin)) => return Ok((files, begin)),
            _ => return Err(DISORDER.into()),
        }
    }
}

/// Whose backup it is.
fn identity(header: &Header) -> Result<Identity, BackupError> {
    let altered = BackupError::Altered { offset: 0 };
    let store = HEXLOWER.decode(header.store.as_bytes()).ok();
    let data_key = BASE64.decode(header.data_key.as_bytes()).ok();
    match (store.and_then(|store| store.try_into().ok()), data_key) {
        (Some(store), Some(data_key)) => Ok(Identity {
            format: FORMAT,
            store,
            data_key,
        }),
        _ => Err(altered),
    }
}

/// Whether the rows are made from the records alone, because those of the backup are newer than the last record
/// that is wanted.
fn from_start(at: Option<u64>, header: &Header, begin: &Begin) -> Result<bool, BackupError> {
    let Some(wanted) = at else { return Ok(false) };
    let complete = begin.anchor.seq == 0;
    let first = if complete { 0 } else { begin.applied.seq };
    if wanted < first || wanted > header.head {
        return Err(BackupError::NoSuchRecord {
            wanted,
            first,
            last: header.head,
        });
    }
    Ok(wanted < begin.applied.seq)
}

fn write_slots(medium: &dyn Medium, first: u64, octets: &[u8]) -> Result<(), StoreError> {
    let file = medium.raw(personal::FILE).map_err(disk)?;
    if first == 0 {
        file.set_len(0).map_err(disk)?;
    }
    let length = file.len().map_err(disk)?;
    if first != length {
        return Err(DISORDER);
    }
    file.set_len(length + octets.len() as u64).map_err(disk)?;
    file.write(first, octets).map_err(disk)?;
    file.sync_data().map_err(disk)
}

/// The store that is being made.
struct Anew {
    made: Rebuild,
    appender: Appender,
    batch: Batch,
    layer: Layer,
    begin: Begin,
    from_start: bool,
    /// The last record that is wanted.
    last: u64,
    /// The last record that was read.
    at: Head,
    /// Codes that were used in records behind the last one that is wanted.
    later: Later,
    counts: Counts,
}

impl Anew {
    /// The latest time of what is in a backup from its beginning on.
    fn high_water(&mut self, millis: u64) {
        if !self.from_start {
            let at = UnixTime::from_millis(millis);
            self.made.whole.high_water = self.made.whole.high_water.max(at);
        }
    }

    fn read(&mut self, from: &mut Reader<'_, impl Read>) -> Result<(), BackupError> {
        let mut found = Counts::default();
        loop {
            match from.next()? {
                Some(Item::Row { table, key, value }) if found.records == 0 => {
                    found.rows += 1;
                    if !self.from_start {
                        self.layer.put(put(table, key, value));
                    }
                }
                Some(Item::Record(record)) => {
                    found.records += 1;
                    self.record(&record)?;
                }
                Some(Item::End(counts)) if counts == found => break,
                _ => return Err(DISORDER.into()),
            }
            if self.layer.rows() > MANY {
                self.made.flush(&mut self.layer)?;
            }
        }
        if from.next()?.is_some() {
            return Err(DISORDER.into());
        }
        self.counts.rows += found.rows;
        self.counts.records += found.records;
        Ok(())
    }

    /// Makes durable what was read.
    fn finish(&mut self) -> Result<(), StoreError> {
        self.append()?;
        self.made.whole.applied = self.appender.head();
        self.made.flush(&mut self.layer)
    }

    fn record(&mut self, record: &Record) -> Result<(), StoreError> {
        let link = self
            .made
            .sealer
            .link(&self.at.mac, record.seq, &record.body);
        if record.seq != self.at.seq + 1 || link != record.mac {
            return Err(StoreError::Corrupt(
                "a record of the backup is not linked to the one before it",
            ));
        }
        self.at = record.head();
        let entry = Entry::decode(&record.body)?;
        if record.seq > self.last {
            return self.later.note(entry, &self.made.sealer);
        }
        self.batch.push_body(&record.body)?;
        if self.batch.len() >= SLICE {
            self.append()?;
        }
        let high_water = &mut self.made.whole.high_water;
        *high_water = if entry.accepts_clock() {
            entry.at
        } else {
            entry.at.max(*high_water)
        };
        if self.from_start || record.seq > self.begin.applied.seq {
            entry
                .writes
                .into_iter()
                .for_each(|write| self.layer.put(write));
        }
        Ok(())
    }

    fn append(&mut self) -> Result<(), StoreError> {
        match self
            .appender
            .append(self.appender.head(), &mut self.batch)?
        {
            Appended::UpTo(_) => {
                self.batch.clear();
                Ok(())
            }
            Appended::Behind => Err(DISORDER),
        }
    }

    /// Closes what may have been used since the last record, and puts the restore on record.
    fn close(
        mut self,
        what: &Restore<'_>,
        journal: &Journal,
        restored: &mut Restored,
    ) -> Result<(), StoreError> {
        let known = Known::of(&(what.statements)(&restored.files), &self.made.sealer);
        // A clock that is behind re-opens nothing.
        let made = UnixTime::parse_rfc3339(&restored.header.created).unwrap_or(what.now);
        let now = what.now.max(known.at).max(made);
        restored.closed = self.made.close_codes(&mut self.appender, now, RESTORE)?;
        let snapshot = Snapshot::of(&self.made.file)?;
        let mut writes = self.later.rows(&snapshot, &self.made.sealer)?;
        drop(snapshot);
        if self.begin.anchor.seq > 0 {
            let pruned = record::pruned_row(self.begin.anchor, &self.made.sealer);
            writes.push(put(Table::Settings, PRUNED.to_vec(), pruned));
        }
        let Restored {
            header,
            at,
            used_later,
            ..
        } = &*restored;
        let mut detail = format!(
            "backup {} of {}, which goes up to record {}",
            header.backup, header.created, header.head
        );
        if *used_later > 0 {
            let tokens = count(*used_later, "token");
            push!(
                detail,
                "; codes of {tokens} were used behind record {at}, and stay used"
            );
        }
        restored.epoch = self.made.begin_epoch(
            &mut self.appender,
            known.epoch,
            (RESTORE, now),
            format!("record {at}"),
            &detail,
            writes,
        )?;
        journal.flush()
    }
}

/// As the audit names it.
const RESTORE: Cause = Cause {
    actor: "oncegate restore",
    action: "store_restore",
};
/// Records of one commit, and rows of one.
const SLICE: usize = 1000;
const MANY: usize = 50_000;
const GAP: &str =
    "a backup does not begin where the one before it ends: a record between them is another one";
const DISORDER: StoreError =
    StoreError::Corrupt("the parts of the backup are not in the order in which they are written");
