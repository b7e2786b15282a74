//! The writing side of the journal: batches of entries, one durable commit each.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, RwLock};

use crate::store::StoreError;
use crate::store::error::disk;
use crate::store::journal::acknowledged::{Acknowledged, Found};
use crate::store::journal::frame::Batch;
use crate::store::journal::frames::Frames;
use crate::store::journal::head::Head;
use crate::store::journal::read::{Journal, MISSING, SLICE, Segments, UNPOISONED};
use crate::store::journal::segment::{Form, Place, Segment};
use crate::store::journal::spare::{self, PAGE, Spare};
use crate::store::medium::{Medium, Memory};
use crate::store::seal::Sealer;

/// The writing side of the journal; there is one.
pub(crate) struct Appender {
    journal: Arc<Journal>,
    head: Head,
    /// The newest segment, once it was taken over for writing.
    file: Option<Arc<Frames>>,
    /// After a failed commit: how many octets it had.
    failed: Option<u64>,
    /// The length that the newest segment's file had when the next one was asked for; none yet: 0.
    asked: u64,
}

/// What became of an append.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Appended {
    /// The entries are durable, and this is the last of them.
    UpTo(Head),
    /// Nothing was appended: the journal does not end where it was expected to.
    Behind,
}

impl Appender {
    /// The end of the chain as it is durable.
    pub(crate) const fn head(&self) -> Head {
        self.head
    }

    /// Makes durable up to which record answers may leave.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        self.journal.flush()
    }

    /// Takes the newest segment over for writing: the end of a commit that was not made whole is taken away,
    /// and behind a segment of version 0.1.0 one of today's form is begun. Only when nothing is lost at the
    /// end: it would be written over.
    pub(crate) fn settle(&mut self) -> Result<(), StoreError> {
        self.taken_over().map(drop)
    }

    fn taken_over(&mut self) -> Result<Arc<Frames>, StoreError> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let active = self.journal.active();
        let file = match &active {
            Segment::Frames(file) => {
                file.settle(self.journal.known != Found::Head(self.head))?;
                Arc::clone(file)
            }
            Segment::Former(former) => {
                let file = self.begin(None)?;
                if former.first == self.head.seq + 1 {
                    // Nothing was ever in it.
                    let name = active.place().name();
                    self.journal.medium.remove(&name).map_err(disk)?;
                }
                file
            }
        };
        self.file = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Links the entries to the chain and makes them durable in one commit, if the journal ends at `expected`.
    ///
    /// After an error the commit is in doubt and nothing can be appended: call [`Appender::reopen`].
    pub(crate) fn append(
        &mut self,
        expected: Head,
        batch: &mut Batch,
    ) -> Result<Appended, StoreError> {
        if self.failed.is_some() {
            return Err(StoreError::Unavailable(CLOSED.to_owned()));
        }
        if expected != self.head {
            return Ok(Appended::Behind);
        }
        let sealer = &self.journal.sealer;
        let end = batch.link(self.head, |head, body| {
            sealer.link(&head.mac, head.seq + 1, body)
        });
        if let Err(error) = self.write(batch, end) {
            self.failed = Some(batch.octets());
            return Err(error);
        }
        Ok(Appended::UpTo(end))
    }

    /// Whether the last commit is durable is not known: nothing is appended until [`Appender::reopen`].
    pub(crate) fn doubt(&mut self) {
        self.failed.get_or_insert(0);
    }

    fn write(&mut self, batch: &mut Batch, end: Head) -> Result<(), StoreError> {
        let mut file = self.taken_over()?;
        if self.is_full(&file, batch.octets()) {
            file = self.roll(&file)?;
        }
        file.append(batch, end)?;
        // Durable; from here on answers may leave, and their loss would be noticed.
        self.journal.acknowledged.write(end)?;
        self.head = end;
        Ok(())
    }

    /// Whether so many octets more belong into the next segment: there is no room, or there is one ready.
    fn is_full(&self, file: &Frames, octets: u64) -> bool {
        let end = file.end();
        let is_ready = || self.journal.spare.lock().expect(UNPOISONED).is_some();
        let full = end + octets > file.length() && is_ready();
        end > PAGE && (full || end + octets > self.journal.limit)
    }

    /// Whether the file of the next segment should be made ready ([`Journal::prepare`]); says so once.
    pub(crate) fn wants_file(&mut self) -> bool {
        let Some(file) = &self.file else {
            return false;
        };
        let length = file.length();
        let due = self.asked != length && file.end() > length / 2;
        if due {
            self.asked = length;
        }
        due
    }

    /// Opens the newest segment again after a failed commit. What turned out durable although it was not
    /// answered is behind the former head.
    pub(crate) fn reopen(&mut self) -> Result<(), StoreError> {
        let journal = Arc::clone(&self.journal);
        let medium = journal.medium.as_ref();
        let place = journal.active().place();
        let names = medium.list().map_err(disk)?;
        let later = names.iter().filter_map(|name| Place::of(name));
        for begun in later.filter(|other| *other > place) {
            // It was begun by the commit that failed; nothing is in it.
            medium.remove(&begun.name()).map_err(disk)?;
        }
        medium.forget(&place.name()).map_err(disk)?;
        let opened = place.open(medium, &journal.sealer)?.ok_or(GONE)?;
        journal.segments.write().expect(UNPOISONED).active = opened.clone();
        let known = journal.record_or_anchor(self.head.seq)?;
        if known.is_none_or(|mac| mac != self.head.mac) {
            return Err(GONE);
        }
        let (mut end, last) = (self.head, opened.head());
        while end.seq < last.seq {
            let records = journal.read_after(end, SLICE)?;
            end = records.last().ok_or(StoreError::Corrupt(MISSING))?.head();
        }
        self.file = None;
        if let Segment::Frames(file) = opened {
            file.settle(true)?;
            file.prove(self.failed.unwrap_or_default())?;
            self.file = Some(file);
        }
        journal.acknowledged.write(end)?;
        self.head = end;
        self.failed = None;
        Ok(())
    }

    /// Closes the newest segment for good and begins the next.
    fn roll(&mut self, former: &Frames) -> Result<Arc<Frames>, StoreError> {
        let file = self.begin(Some(former))?;
        self.file = Some(Arc::clone(&file));
        self.asked = 0;
        Ok(file)
    }

    /// Begins a segment behind the head, and makes it the newest one.
    fn begin(&self, former: Option<&Frames>) -> Result<Arc<Frames>, StoreError> {
        let journal = &self.journal;
        let ready = journal.spare.lock().expect(UNPOISONED).take();
        let file = begin_segment(
            journal.medium.as_ref(),
            &journal.sealer,
            self.head,
            (journal.limit, ready),
        )?;
        // Before anyone opens it as a closed one.
        if let Some(Err(error)) = former.map(Frames::trim) {
            tracing::debug!(%error, "the room behind a closed segment was not given back");
        }
        let mut segments = journal.segments.write().expect(UNPOISONED);
        let closed = segments.active.place();
        if closed.first != file.first {
            segments.closed.push(closed);
        }
        segments.active = Segment::Frames(Arc::clone(&file));
        Ok(file)
    }
}

/// Begins a segment in the file that is ready, or in a short one.
fn begin_segment(
    medium: &dyn Medium,
    sealer: &Sealer,
    head: Head,
    (limit, ready): (u64, Option<Spare>),
) -> Result<Arc<Frames>, StoreError> {
    let spare = match ready {
        Some(spare) => spare,
        None => Spare::make(medium, spare::NOW.to_owned(), FIRST.min(limit))?,
    };
    Frames::begin(medium, sealer, head, &spare).map(Arc::new)
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
    begin_segment(medium.as_ref(), &sealer, anchor, (limit, None))?;
    open(medium, sealer, limit)
}

/// Opens the journal; a new one when there is none. A segment is closed when it has `limit` octets.
pub(crate) fn open(
    medium: Arc<dyn Medium>,
    sealer: Arc<Sealer>,
    limit: u64,
) -> Result<(Arc<Journal>, Appender), StoreError> {
    let (acknowledged, known) = Acknowledged::open(medium.as_ref(), Arc::clone(&sealer))?;
    open_with(medium, sealer, limit, (acknowledged, known))
}

/// Opens the journal for a repair: up to which record answers have left stays on record as it is.
pub(crate) fn open_for_repair(
    medium: Arc<dyn Medium>,
    sealer: Arc<Sealer>,
) -> Result<(Arc<Journal>, Appender), StoreError> {
    let (_, known) = Acknowledged::open(medium.as_ref(), Arc::clone(&sealer))?;
    let aside = Acknowledged::begin(&Memory::default(), Arc::clone(&sealer), Head::default())?;
    open_with(medium, sealer, u64::MAX, (aside, known))
}

fn open_with(
    medium: Arc<dyn Medium>,
    sealer: Arc<Sealer>,
    limit: u64,
    (acknowledged, known): (Acknowledged, Found),
) -> Result<(Arc<Journal>, Appender), StoreError> {
    let names = medium.list().map_err(disk)?;
    spare::remove_all(medium.as_ref(), &names)?;
    let mut closed: Vec<Place> = names.iter().filter_map(|name| Place::of(name)).collect();
    closed.sort_unstable();
    let active = newest(medium.as_ref(), &sealer, known, &mut closed)?;
    let active = match active {
        Some(active) => active,
        None => {
            let (head, how) = (Head::default(), (limit, None));
            Segment::Frames(begin_segment(medium.as_ref(), &sealer, head, how)?)
        }
    };
    // Anyone who named it may have been killed before its name was durable.
    medium.sync().map_err(disk)?;
    let head = active.head();
    let journal = Arc::new(Journal {
        medium,
        sealer,
        segments: RwLock::new(Segments { closed, active }),
        last_read: Mutex::new(None),
        spare: Mutex::new(None),
        spares: AtomicU64::new(0),
        indexes: RwLock::default(),
        growing: Mutex::new(None),
        limit,
        acknowledged,
        known,
        damaged: Mutex::new(None),
    });
    let appender = Appender {
        journal: Arc::clone(&journal),
        head,
        file: None,
        failed: None,
        asked: 0,
    };
    Ok((journal, appender))
}

/// Takes the newest segment from the list. One of version 0.1.0 may have been named and never begun.
fn newest(
    medium: &dyn Medium,
    sealer: &Sealer,
    known: Found,
    closed: &mut Vec<Place>,
) -> Result<Option<Segment>, StoreError> {
    while let Some(place) = closed.pop() {
        let is_former = place.form == Form::Former;
        let unanswered = matches!(known, Found::Head(head) if head.seq < place.first);
        match place.open(medium, sealer) {
            Ok(Some(segment)) => {
                // What was begun with the same record in the former form holds none.
                if let Some(empty) = closed.pop_if(|other| other.first == place.first) {
                    medium.remove(&empty.name()).map_err(disk)?;
                }
                return Ok(Some(segment));
            }
            Err(StoreError::File { .. }) if is_former && unanswered => {}
            Err(error) => return Err(error),
            Ok(None) => {}
        }
        medium.remove(&place.name()).map_err(disk)?;
    }
    Ok(None)
}

/// Octets of a segment for which no file was ready.
const FIRST: u64 = 128 << 10;
const CLOSED: &str = "the log is closed after a failed write";
const GONE: StoreError = StoreError::Corrupt("durable audit records are gone");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sealing::SealAlgorithm;
    use crate::secret::Key256;
    use crate::store::seal::ring::Keyring;

    const LIMIT: u64 = 64 << 10;

    fn sealer() -> Arc<Sealer> {
        let keys = Keyring::new(Key256::new([7; 32]));
        Arc::new(Sealer::new([1; 16], &keys, SealAlgorithm::default()))
    }

    fn opened() -> (Memory, Arc<Journal>, Appender) {
        let medium = Memory::default();
        let shared = Arc::new(medium.clone());
        begin(shared.as_ref(), sealer(), Head::default()).unwrap();
        let (journal, mut appender) = open(shared, sealer(), LIMIT).unwrap();
        appender.settle().unwrap();
        (medium, journal, appender)
    }

    fn add(appender: &mut Appender) {
        let mut batch = Batch::default();
        batch.push_body(&[7; 4000]).unwrap();
        let head = appender.head();
        appender.append(head, &mut batch).unwrap();
    }

    /// All segments are as long as the first one: the length alone does not tell for which one a file was asked.
    #[test]
    fn a_file_is_made_ahead_of_every_segment() {
        let (_, journal, mut appender) = opened();
        let closed = || journal.segments.read().unwrap().closed.len();
        let mut asked = 0;
        while closed() < 6 {
            add(&mut appender);
            if appender.wants_file() {
                asked += 1;
                journal.prepare().unwrap();
            }
        }
        assert_eq!(asked, closed());
    }

    /// Between the moment at which a commit takes the file and the one at which it has a segment's name, the next
    /// file may be made.
    #[test]
    fn a_file_that_becomes_a_segment_is_not_made_again_meanwhile() {
        let (medium, journal, mut appender) = opened();
        journal.prepare().unwrap();
        let taken = journal.spare.lock().unwrap().take().unwrap();
        journal.prepare().unwrap();
        let next = journal.spare.lock().unwrap().replace(taken).unwrap();
        let file = medium.raw(&next.name).unwrap();
        while journal.segments.read().unwrap().closed.is_empty() {
            add(&mut appender);
        }
        // What the other thread still writes goes into its own file.
        spare::zeros(&*file, 0, LIMIT).unwrap();
        let head = appender.head();
        drop((journal, appender));
        let (journal, _) = open(Arc::new(medium), sealer(), LIMIT).unwrap();
        assert_eq!(journal.active().head(), head);
        assert_eq!(journal.last(), head.seq);
    }
}
