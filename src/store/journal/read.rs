//! The readable side of the journal.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use crate::store::error::disk;
use crate::store::journal::acknowledged::{Acknowledged, Found};
use crate::store::journal::growing::Growing;
use crate::store::journal::head::Head;
use crate::store::journal::indexes::Indexes;
use crate::store::journal::record::Record;
use crate::store::journal::segment::{Place, Segment};
use crate::store::journal::spare::{self, Spare};
use crate::store::medium::Medium;
use crate::store::seal::Sealer;
use crate::store::{ChainFault, ChainReport, StoreError};
use crate::time::UnixTime;

/// The readable side of the journal; shared.
pub(crate) struct Journal {
    pub(super) medium: Arc<dyn Medium>,
    pub(super) sealer: Arc<Sealer>,
    pub(super) segments: RwLock<Segments>,
    /// The last closed segment that was read, kept open for the next page.
    pub(super) last_read: Mutex<Option<Segment>>,
    /// The file of the next segment, when it is ready.
    pub(super) spare: Mutex<Option<Spare>>,
    /// How many of them were begun.
    pub(super) spares: AtomicU64,
    /// What segments hold.
    pub(super) indexes: RwLock<Indexes>,
    /// The index that is being made.
    pub(super) growing: Mutex<Option<Growing>>,
    /// Octets of a segment.
    pub(super) limit: u64,
    pub(super) acknowledged: Acknowledged,
    /// Up to which record answers had left when it was opened.
    pub(super) known: Found,
    /// The first record that is known to be damaged, although `main.redb` holds what it changed.
    pub(super) damaged: Mutex<Option<ChainFault>>,
}

pub(super) struct Segments {
    /// Every closed segment, ascending.
    pub(super) closed: Vec<Place>,
    pub(super) active: Segment,
}

impl Segments {
    /// First record of every segment.
    fn firsts(&self) -> impl Iterator<Item = u64> {
        let closed = self.closed.iter().map(|place| place.first);
        closed.chain([self.active.first()])
    }
}

/// Segments whose files can be removed.
pub(crate) struct Pruned(Vec<Place>);

impl Journal {
    /// Notes that answers up to this record, the last one, have left, unless that is known.
    pub(crate) fn acknowledge(&self, head: Head) -> Result<(), StoreError> {
        if self.known == Found::Head(head) {
            return Ok(());
        }
        self.acknowledged.write(head)?;
        self.acknowledged.flush()
    }

    /// Notes which record was found damaged, if one was, and says so the first time.
    pub(crate) fn note_damage(&self, found: Option<ChainFault>) {
        let mut damaged = self.damaged.lock().expect(UNPOISONED);
        if let Some(ChainFault { seq, what }) = &found
            && *damaged != found
        {
            tracing::error!(record = *seq, what, "a record of the journal is damaged");
        }
        *damaged = found;
    }

    /// The first record that is known to be damaged; one that was pruned is gone.
    pub(crate) fn damage(&self) -> Option<ChainFault> {
        let damaged = self.damaged.lock().expect(UNPOISONED).clone();
        damaged.filter(|fault| fault.seq >= self.first())
    }

    /// Makes durable up to which record answers have left.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        self.acknowledged.flush()
    }

    /// Records `from..` in order, at most `limit`, from one segment; empty at the end. Their numbers rise
    /// one by one, whatever the file says: what follows a gap is not read, and a record that stands
    /// where another one should is damage.
    pub(crate) fn read(&self, from: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        let segment = self.segment_of(from)?;
        segment.records(from.max(segment.first()), limit)
    }

    /// Records behind `head` in order, each linked to the one before it; at most `limit`, empty at the end.
    pub(crate) fn read_after(&self, head: Head, limit: usize) -> Result<Vec<Record>, StoreError> {
        let mut records = self.read(head.seq.saturating_add(1), limit)?;
        let mut at = head;
        for (index, record) in records.iter().enumerate() {
            let what = if record.seq != at.seq + 1 {
                MISSING
            } else if self.sealer.link(&at.mac, record.seq, &record.body) != record.mac {
                ALTERED
            } else {
                at = record.head();
                continue;
            };
            if index == 0 {
                return Err(StoreError::Corrupt(what));
            }
            records.truncate(index);
            break;
        }
        Ok(records)
    }

    /// Records before `before`, newest first, at most `limit`, from one segment; empty before the first.
    /// Their numbers fall one by one, as in [`Journal::read`].
    pub(crate) fn read_back(&self, before: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        let Some(last) = before.checked_sub(1).filter(|last| *last >= self.first()) else {
            return Ok(Vec::new());
        };
        self.segment_of(last)?.records_back(before, limit)
    }

    /// The newest segment.
    pub(super) fn active(&self) -> Segment {
        self.segments.read().expect(UNPOISONED).active.clone()
    }

    /// The last record of the newest segment as it is numbered there.
    pub(crate) fn last(&self) -> u64 {
        self.active().head().seq
    }

    /// The link before the first record that is kept.
    pub(crate) fn anchor(&self) -> Result<Head, StoreError> {
        let first = self.first();
        let mac = self.segment_of(first)?.anchor();
        let seq = first.saturating_sub(1);
        Ok(Head { seq, mac })
    }

    /// Number of the first record that is kept.
    pub(crate) fn first(&self) -> u64 {
        let segments = self.segments.read().expect(UNPOISONED);
        let first = segments.firsts().next();
        first.unwrap_or_default()
    }

    /// The link that would stand before the first record that stays, if the closed segments were
    /// removed that are older than `before`, all of their records among the `applied` first; `None`
    /// when there is no such segment. Opens one file after the other: not for the writer.
    pub(crate) fn prunable(
        &self,
        before: UnixTime,
        applied: u64,
        wanted: &dyn Fn() -> Result<(), StoreError>,
    ) -> Result<Option<Head>, StoreError> {
        let bounds: Vec<(u64, u64)> = {
            let segments = self.segments.read().expect(UNPOISONED);
            segments.firsts().zip(segments.firsts().skip(1)).collect()
        };
        let mut anchor = None;
        for (first, next) in bounds {
            wanted()?;
            let last = next.saturating_sub(1);
            // Both ends: changes bear the clock's time as it was, and it may have been wrong for a while.
            let (begin, end) = (self.record(first)?, self.record(last)?);
            let Some((begin, end)) = begin.zip(end).filter(|_| last <= applied) else {
                break;
            };
            if begin.parse()?.at >= before || end.parse()?.at >= before {
                break;
            }
            anchor = Some(end.head());
        }
        Ok(anchor)
    }

    pub(super) fn record(&self, seq: u64) -> Result<Option<Record>, StoreError> {
        let found = self.read(seq, 1)?.pop();
        Ok(found.filter(|record| record.seq == seq))
    }

    /// The MAC of a record, or the link before the record that follows it.
    pub(super) fn record_or_anchor(&self, seq: u64) -> Result<Option<[u8; 32]>, StoreError> {
        let active = self.active();
        if seq.saturating_add(1) == active.first() {
            return Ok(Some(active.anchor()));
        }
        Ok(self.record(seq)?.map(|record| record.mac))
    }

    /// Forgets the segments that end at or before `seq`, and returns which they are, for
    /// [`Journal::remove`].
    pub(crate) fn prune(&self, seq: u64) -> Pruned {
        let mut segments = self.segments.write().expect(UNPOISONED);
        let ends = segments.firsts().skip(1);
        let pruned = ends.take_while(|first| *first <= seq + 1).count();
        Pruned(segments.closed.drain(..pruned).collect())
    }

    /// Removes the files of segments that were pruned. What cannot be removed now is removed when
    /// the store is opened again.
    pub(crate) fn remove(&self, pruned: &Pruned) {
        // From here on no reader opens one of them: each looks the list up under this lock.
        drop(self.last_read.lock().expect(UNPOISONED).take());
        for place in &pruned.0 {
            self.forget(place.first);
            let file = place.name();
            if let Err(error) = self.medium.remove(&file) {
                tracing::warn!(file, %error, "a pruned audit segment was not removed");
            }
        }
    }

    /// Makes the file of the next segment ready, unless it is. It is four times as long as the newest one, up to
    /// the size of a segment, and is not made where the disk would be left with less room than that.
    pub(crate) fn prepare(&self) -> Result<(), StoreError> {
        let length = match self.active() {
            Segment::Frames(active) => active.length().saturating_mul(4).min(self.limit),
            Segment::Former(_) => return Ok(()),
        };
        let ready = self.spare.lock().expect(UNPOISONED).is_some();
        if ready || self.medium.room().map_err(disk)? / 2 < length {
            return Ok(());
        }
        let name = spare::ahead(self.spares.fetch_add(1, Ordering::Relaxed));
        let spare = Spare::make(self.medium.as_ref(), name, length)?;
        *self.spare.lock().expect(UNPOISONED) = Some(spare);
        Ok(())
    }

    /// Number of a record from the first number on such that those before it are older than `time`, found by halves. Times on
    /// record rise, but for requests that overtake each other and a clock that was set: who finds
    /// nothing there must look further.
    pub(crate) fn position(
        &self,
        time: UnixTime,
        (low, end): (u64, u64),
    ) -> Result<u64, StoreError> {
        let (mut low, mut high) = (low.max(self.first()), end.saturating_add(1));
        while low < high {
            let middle = low + (high - low) / 2;
            let records = self.read(middle, 1)?;
            let Some(record) = records.first() else {
                high = middle;
                continue;
            };
            if record.parse()?.at < time {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// First record of the segment after the one that holds `seq`.
    fn next_segment(&self, seq: u64) -> Option<u64> {
        let segments = self.segments.read().expect(UNPOISONED);
        segments.firsts().find(|first| *first > seq)
    }

    /// Walks the chain from behind `start` up to `end` and names the first record that is not as it was written.
    pub(crate) fn verify(
        &self,
        start: Head,
        end: Head,
        progress: &dyn Fn(u64) -> Result<(), StoreError>,
    ) -> Result<ChainReport, StoreError> {
        let first = start.seq + 1;
        let report = |at: Head, fault| ChainReport {
            first,
            good: at.seq - start.seq,
            fault,
        };
        let broken = |at: Head, what| {
            let seq = at.seq + 1;
            Ok(report(at, Some(ChainFault { seq, what })))
        };
        match self.segment_of(first) {
            Ok(one) if one.first() == first && one.anchor() == start.mac => {}
            Ok(_) => return broken(start, MISSING),
            Err(StoreError::File { .. }) => return broken(start, NO_FILE),
            Err(error) => return Err(error),
        }
        let mut at = start;
        while at.seq < end.seq {
            let limit = usize::try_from(end.seq - at.seq).map_or(SLICE, |left| left.min(SLICE));
            let records = match self.read_after(at, limit) {
                Err(StoreError::Corrupt(what)) => return broken(at, what),
                Err(StoreError::File { .. }) => return broken(at, NO_FILE),
                records => records?,
            };
            let Some(last) = records.last() else {
                // The segment ended early: the rest of it is missing.
                return broken(at, MISSING);
            };
            at = last.head();
            progress(at.seq - start.seq)?;
            let next = at.seq + 1;
            // The anchor must agree with what was just read, or a segment was exchanged.
            if at.seq < end.seq && self.next_segment(at.seq) == Some(next) {
                match self.segment_of(next) {
                    Ok(one) if one.anchor() == at.mac => {}
                    Ok(_) => return broken(at, ALTERED),
                    Err(StoreError::File { .. }) => return broken(at, NO_FILE),
                    Err(error) => return Err(error),
                }
            }
        }
        let exchanged = end.seq > start.seq && at.mac != end.mac;
        let seq = end.seq;
        let what = ALTERED;
        Ok(report(at, exchanged.then_some(ChainFault { seq, what })))
    }

    /// Whether the journal holds this record as it was, if it still holds records of that time.
    pub(crate) fn stands(&self, known: Head) -> Result<bool, StoreError> {
        if known.seq == 0 || known.seq < self.first() {
            return Ok(true);
        }
        match self.read(known.seq, 1) {
            Ok(records) => Ok(records
                .first()
                .is_some_and(|record| record.mac == known.mac)),
            Err(StoreError::Corrupt(_) | StoreError::File { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The first record that is lost although an answer about it may have left, or may be. The chain up to
    /// `end` is right, and `main.redb` holds it up to `applied`.
    pub(crate) fn lost(&self, applied: u64, end: Head) -> Result<Option<ChainFault>, StoreError> {
        let fault = |seq, what| Ok(Some(ChainFault { seq, what }));
        let head = match self.known {
            Found::Unusable(what) => return fault(end.seq, what),
            Found::Head(head) | Found::Half(head) => head,
        };
        if head.seq > end.seq {
            return fault(end.seq + 1, LOST);
        }
        if head.seq < applied {
            return fault(end.seq, HEAD_OLDER);
        }
        if self.known == Found::Half(end) {
            return fault(end.seq, HEAD_HALF);
        }
        if self.stands(head)? {
            return Ok(None);
        }
        fault(head.seq, EXCHANGED)
    }

    /// The segment that holds a record; the first one for those that were pruned.
    fn segment_of(&self, seq: u64) -> Result<Segment, StoreError> {
        if let Some(active) = self.if_active(seq) {
            return Ok(active);
        }
        // From here until it is open, no file is removed: see `remove`.
        let mut last = self.last_read.lock().expect(UNPOISONED);
        let place = {
            let segments = self.segments.read().expect(UNPOISONED);
            let index = segments.closed.partition_point(|place| place.first <= seq);
            match segments.closed.get(index.saturating_sub(1)) {
                Some(place) => *place,
                // Pruned meanwhile.
                None => return Ok(segments.active.clone()),
            }
        };
        if let Some(segment) = last.as_ref().filter(|segment| segment.place() == place) {
            return Ok(segment.clone());
        }
        *last = None;
        let segment = place.open(self.medium.as_ref(), &self.sealer)?;
        let segment = segment.ok_or(NO_ANCHOR)?;
        *last = Some(segment.clone());
        Ok(segment)
    }

    fn if_active(&self, seq: u64) -> Option<Segment> {
        let segments = self.segments.read().expect(UNPOISONED);
        let all = segments.closed.is_empty();
        (all || seq >= segments.active.first()).then(|| segments.active.clone())
    }
}

/// Whether a fault of the journal is that its end may be lost: then a repair believes what is left, and
/// closes what may have been used. All other faults are beyond a repair.
pub(crate) fn is_of_the_end(fault: &str) -> bool {
    let ends = [LOST, HEAD_OLDER, HEAD_HALF, EXCHANGED];
    fault.contains("store/head") || ends.iter().any(|end| fault.contains(end))
}

/// Records that are read together.
pub(super) const SLICE: usize = 1000;
pub(super) const UNPOISONED: &str = "no panic while the lock is held";
const NO_ANCHOR: StoreError = StoreError::Corrupt("a log segment has no beginning");
const NO_FILE: &str = "the file of the journal that holds it is damaged";
pub(super) const MISSING: &str = "the record is missing";
const ALTERED: &str = "the record was altered, or stands in another's place";
const LOST: &str = "it is lost, yet its answer has left: the end of the log was damaged";
const HEAD_OLDER: &str = "whether it is the last one answered cannot be told, since store/head is older than \
    main.redb: another copy was put back";
const HEAD_HALF: &str = "whether it is the last one answered cannot be told, since one half of store/head is \
    damaged";
const EXCHANGED: &str = "it is not the record whose answer has left";
