//! The writing side of the journal: batches of entries, one durable commit each.

use std::sync::{Arc, Mutex, RwLock};

use crate::store::StoreError;
use crate::store::error::disk;
use crate::store::journal::acknowledged::{Acknowledged, Found};
use crate::store::journal::head::Head;
use crate::store::journal::read::{Journal, MISSING, NO_ANCHOR, SLICE, Segments, UNPOISONED};
use crate::store::journal::record::Record;
use crate::store::journal::segment::{self, Segment};
use crate::store::medium::{Medium, Memory};
use crate::store::record::Entry;
use crate::store::seal::Sealer;

/// The writing side of the journal; there is one.
pub(crate) struct Appender {
    journal: Arc<Journal>,
    active: Arc<Segment>,
    head: Head,
    /// In the active segment, and how many it takes.
    octets: u64,
    limit: u64,
}

/// What became of an append.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Appended {
    /// The entries are durable, and this is the last of them.
    UpTo(Head),
    /// Nothing was appended: the journal does not end where it was expected to.
    Behind,
}

/// Entries in their stored form, for one append.
#[derive(Default)]
pub(crate) struct Batch {
    /// One after the other: `MAC (32) | entry`.
    values: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
}

impl Batch {
    /// Adds an entry. After an error it is not there.
    pub(crate) fn push(&mut self, entry: &Entry) -> Result<(), StoreError> {
        let begin = self.values.len();
        self.values.resize(begin + 32, 0);
        if let Err(error) = entry.encode(&mut self.values) {
            self.values.truncate(begin);
            return Err(error);
        }
        self.ends.push(self.values.len());
        Ok(())
    }

    /// Adds an entry in the stored form of a record, so that its link is the same again.
    pub(crate) fn push_body(&mut self, body: &[u8]) {
        self.values.resize(self.values.len() + 32, 0);
        self.values.extend_from_slice(body);
        self.ends.push(self.values.len());
    }

    /// How many entries.
    pub(crate) const fn len(&self) -> usize {
        self.ends.len()
    }

    /// The entries as records, once they were appended up to this one.
    pub(crate) fn records(&self, head: Head) -> impl Iterator<Item = Record> {
        let first = (head.seq + 1).saturating_sub(self.ends.len() as u64);
        let records = (first..).zip(self.values());
        records.map(|(seq, value)| Record::new(seq, value).expect("it was pushed whole"))
    }

    /// Empties it. One large import must not hold its memory for ever.
    pub(crate) fn clear(&mut self) {
        self.values.clear();
        self.ends.clear();
        self.values.shrink_to(KEPT);
    }

    fn values(&self) -> impl Iterator<Item = &[u8]> {
        let begins = [0].into_iter().chain(self.ends.iter().copied());
        let places = begins.zip(&self.ends);
        places.map(|(begin, end)| self.values.get(begin..*end).unwrap_or_default())
    }

    /// Links the entries to the chain behind `head`, and returns the last link.
    fn link(&mut self, mut head: Head, mac: impl Fn(Head, &[u8]) -> [u8; 32]) -> Head {
        let mut begin = 0;
        for end in &self.ends {
            let value = self.values.get_mut(begin..*end);
            let (link, body) = value
                .and_then(<[u8]>::split_first_chunk_mut::<32>)
                .expect("it was pushed whole");
            *link = mac(head, body);
            head = Head {
                seq: head.seq + 1,
                mac: *link,
            };
            begin = *end;
        }
        head
    }
}

impl Appender {
    pub(super) fn new(journal: Arc<Journal>, active: Arc<Segment>, head: Head, limit: u64) -> Self {
        let records = head.seq.saturating_sub(active.first);
        Self {
            journal,
            active,
            head,
            octets: records.saturating_mul(ASSUMED_RECORD),
            limit,
        }
    }

    /// The end of the chain as it is durable.
    pub(crate) const fn head(&self) -> Head {
        self.head
    }

    /// Makes durable up to which record answers may leave.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        self.journal.flush()
    }

    /// Links the entries to the chain and makes them durable in one commit, if the journal ends at `expected`.
    ///
    /// After an error the commit is in doubt and nothing can be appended: call [`Appender::reopen`].
    pub(crate) fn append(
        &mut self,
        expected: Head,
        batch: &mut Batch,
    ) -> Result<Appended, StoreError> {
        if expected != self.head {
            return Ok(Appended::Behind);
        }
        let sealer = &self.journal.sealer;
        let end = batch.link(self.head, |head, body| {
            sealer.link(&head.mac, head.seq + 1, body)
        });
        if let Err(error) = self.write(batch, end) {
            self.active.close(error.to_string());
            return Err(error);
        }
        Ok(Appended::UpTo(end))
    }

    fn write(&mut self, batch: &Batch, end: Head) -> Result<(), StoreError> {
        if self.octets >= self.limit {
            self.roll()?;
        }
        self.active.append(self.head.seq + 1, batch.values())?;
        // Durable; from here on answers may leave, and their loss would be noticed.
        self.journal.acknowledged.write(end)?;
        self.head = end;
        self.octets += batch.values.len() as u64;
        Ok(())
    }

    /// Opens the newest segment again after a failed commit. What turned out durable although it was not
    /// answered is behind the former head.
    pub(crate) fn reopen(&mut self) -> Result<(), StoreError> {
        let journal = Arc::clone(&self.journal);
        let medium = journal.medium.as_ref();
        self.active.reopen(medium)?;
        let head = self.active.head(medium)?.ok_or(NO_ANCHOR)?;
        let known = journal.record_or_anchor(self.head.seq)?;
        if known.is_none_or(|mac| mac != self.head.mac) {
            return Err(StoreError::Corrupt("durable audit records are gone"));
        }
        let mut end = self.head;
        while end.seq < head.seq {
            let records = journal.read_after(end, SLICE)?;
            let last = records.last().ok_or(StoreError::Corrupt(MISSING))?;
            end = last.head();
        }
        journal.acknowledged.write(end)?;
        self.head = end;
        Ok(())
    }

    /// Closes the newest segment for good and begins the next.
    fn roll(&mut self) -> Result<(), StoreError> {
        self.active.seal()?;
        let medium = self.journal.medium.as_ref();
        let segment = Segment::open(medium, self.head.seq + 1)?;
        segment.begin(medium, self.head)?;
        let segment = Arc::new(segment);
        let mut segments = self.journal.segments.write().expect(UNPOISONED);
        segments.sealed.push(self.active.first);
        segments.active = Arc::clone(&segment);
        drop(segments);
        self.active = segment;
        self.octets = 0;
        Ok(())
    }
}

/// Begins a journal whose answers have left up to `head`, durably, whatever was known of it.
pub(crate) fn begin(
    medium: &dyn Medium,
    sealer: Arc<Sealer>,
    head: Head,
) -> Result<(), StoreError> {
    Acknowledged::begin(medium, sealer, head).map(drop)
}

/// Makes a journal whose first record will follow `anchor`, where there is none.
pub(crate) fn create(
    medium: Arc<dyn Medium>,
    sealer: Arc<Sealer>,
    limit: u64,
    anchor: Head,
) -> Result<(Arc<Journal>, Appender), StoreError> {
    begin(medium.as_ref(), Arc::clone(&sealer), anchor)?;
    let segment = Segment::open(medium.as_ref(), anchor.seq + 1)?;
    segment.begin(medium.as_ref(), anchor)?;
    drop(segment);
    open(medium, sealer, limit)
}

/// Opens the journal; a new one when there is none. A segment is closed when it has `limit` octets.
pub(crate) fn open(
    medium: Arc<dyn Medium>,
    sealer: Arc<Sealer>,
    limit: u64,
) -> Result<(Arc<Journal>, Appender), StoreError> {
    let (acknowledged, known) = Acknowledged::open(medium.as_ref(), Arc::clone(&sealer))?;
    open_with(medium, sealer, limit, acknowledged, known)
}

/// Opens the journal for a repair: up to which record answers have left stays on record as it is.
pub(crate) fn open_for_repair(
    medium: Arc<dyn Medium>,
    sealer: Arc<Sealer>,
) -> Result<(Arc<Journal>, Appender), StoreError> {
    let (_, known) = Acknowledged::open(medium.as_ref(), Arc::clone(&sealer))?;
    let aside = Acknowledged::begin(&Memory::default(), Arc::clone(&sealer), Head::default())?;
    open_with(medium, sealer, u64::MAX, aside, known)
}

fn open_with(
    medium: Arc<dyn Medium>,
    sealer: Arc<Sealer>,
    limit: u64,
    acknowledged: Acknowledged,
    known: Found,
) -> Result<(Arc<Journal>, Appender), StoreError> {
    let names = medium.list().map_err(disk)?;
    let mut firsts: Vec<u64> = names
        .iter()
        .filter_map(|name| segment::first(name))
        .collect();
    firsts.sort_unstable();
    let newest = firsts.pop().unwrap_or(1);
    let active = match Segment::open(medium.as_ref(), newest) {
        Err(StoreError::File { .. }) if matches!(known, Found::Head(head) if head.seq < newest) => {
            // Killed while it was made: nothing in it was ever answered.
            medium.remove(&segment::name(newest)).map_err(disk)?;
            Segment::open(medium.as_ref(), newest)?
        }
        opened => opened?,
    };
    // Anyone who created it may have been killed before its name was durable.
    medium.sync().map_err(disk)?;
    let head = match active.head(medium.as_ref())? {
        Some(head) => head,
        // Created but not yet begun when the process ended: begin it where its predecessor ends.
        None => match firsts.last() {
            None => active.begin(medium.as_ref(), Head::default())?,
            Some(previous) => {
                let previous = Segment::open(medium.as_ref(), *previous)?;
                let end = previous.head(medium.as_ref())?;
                let end = end.ok_or_else(|| segment::of_file(previous.first, NO_ANCHOR))?;
                active.begin(medium.as_ref(), end)?
            }
        },
    };
    let active = Arc::new(active);
    let segments = RwLock::new(Segments {
        sealed: firsts,
        active: Arc::clone(&active),
    });
    let journal = Arc::new(Journal {
        medium,
        sealer,
        segments,
        last_read: Mutex::new(None),
        acknowledged,
        known,
    });
    let appender = Appender::new(Arc::clone(&journal), active, head, limit);
    Ok((journal, appender))
}

/// Octets kept for entries from one commit to the next.
const KEPT: usize = 1 << 20;
/// Stands for the size of records that were written before this process began.
const ASSUMED_RECORD: u64 = 256;
