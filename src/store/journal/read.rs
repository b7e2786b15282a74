//! The readable side of the journal.

use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use crate::store::journal::acknowledged::{Acknowledged, Found};
use crate::store::journal::head::Head;
use crate::store::journal::record::Record;
use crate::store::journal::segment::{self, Segment};
use crate::store::medium::Medium;
use crate::store::seal::Sealer;
use crate::store::{ChainFault, ChainReport, StoreError};
use crate::time::UnixTime;

/// The readable side of the journal; shared.
pub(crate) struct Journal {
    pub(super) medium: Arc<dyn Medium>,
    pub(super) sealer: Arc<Sealer>,
    pub(super) segments: RwLock<Segments>,
    /// The last sealed segment that was read, kept open for the next page.
    pub(super) last_read: Mutex<Option<Arc<Segment>>>,
    pub(super) acknowledged: Acknowledged,
    /// Up to which record answers had left when it was opened.
    pub(super) known: Found,
}

pub(super) struct Segments {
    /// First record of every sealed segment, ascending.
    pub(super) sealed: Vec<u64>,
    pub(super) active: Arc<Segment>,
}

/// Segments whose files can be removed.
pub(crate) struct Pruned(Vec<u64>);

impl Journal {
    /// Notes that answers up to this record, the last one, have left, unless that is known.
    pub(crate) fn acknowledge(&self, head: Head) -> Result<(), StoreError> {
        if self.known == Found::Head(head) {
            return Ok(());
        }
        self.acknowledged.write(head)?;
        self.acknowledged.flush()
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
        let from = from.max(segment.first);
        segment.records(self.medium.as_ref(), from, limit)
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
        let segment = self.segment_of(last)?;
        segment.records_back(self.medium.as_ref(), before, limit)
    }

    /// The last record of the newest segment as it is numbered there.
    pub(crate) fn last(&self) -> Result<u64, StoreError> {
        let active = Arc::clone(&self.segments.read().expect(UNPOISONED).active);
        let head = active.head(self.medium.as_ref())?;
        Ok(head.unwrap_or_default().seq)
    }

    /// The link before the first record that is kept.
    pub(crate) fn anchor(&self) -> Result<Head, StoreError> {
        let first = self.first();
        let mac = self.anchor_of(first)?;
        let seq = first.saturating_sub(1);
        Ok(Head { seq, mac })
    }

    /// Number of the first record that is kept.
    pub(crate) fn first(&self) -> u64 {
        let segments = self.segments.read().expect(UNPOISONED);
        segments
            .sealed
            .first()
            .copied()
            .unwrap_or(segments.active.first)
    }

    /// The link that would stand before the first record that stays, if the sealed segments were
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
            let ends = segments.sealed.iter().copied().skip(1);
            let ends = ends.chain([segments.active.first]);
            segments.sealed.iter().copied().zip(ends).collect()
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

    fn record(&self, seq: u64) -> Result<Option<Record>, StoreError> {
        let found = self.read(seq, 1)?.pop();
        Ok(found.filter(|record| record.seq == seq))
    }

    /// The MAC of a record, or the link before the record that follows it.
    pub(super) fn record_or_anchor(&self, seq: u64) -> Result<Option<[u8; 32]>, StoreError> {
        let active = Arc::clone(&self.segments.read().expect(UNPOISONED).active);
        if seq.saturating_add(1) == active.first {
            return active.anchor(self.medium.as_ref());
        }
        Ok(self.record(seq)?.map(|record| record.mac))
    }

    /// Forgets the segments that end at or before `seq`, and returns which they are, for
    /// [`Journal::remove`].
    pub(crate) fn prune(&self, seq: u64) -> Pruned {
        let mut segments = self.segments.write().expect(UNPOISONED);
        let next = segments.sealed.iter().copied().skip(1);
        let ends = next.chain([segments.active.first]);
        let pruned = ends.take_while(|first| *first <= seq + 1).count();
        let pruned = pruned.min(segments.sealed.len());
        Pruned(segments.sealed.drain(..pruned).collect())
    }

    /// Removes the files of segments that were pruned. What cannot be removed now is removed when
    /// the store is opened again.
    pub(crate) fn remove(&self, pruned: &Pruned) {
        // From here on no reader opens one of them: each looks the list up under this lock.
        drop(self.last_read.lock().expect(UNPOISONED).take());
        for first in &pruned.0 {
            if let Err(error) = self.medium.remove(&segment::name(*first)) {
                tracing::warn!(first, %error, "a pruned audit segment was not removed");
            }
        }
    }

    /// Number of a record such that those before it are older than `time`, found by halves. Times on
    /// record rise, but for requests that overtake each other and a clock that was set: who finds
    /// nothing there must look further.
    pub(crate) fn position(&self, time: UnixTime, end: u64) -> Result<u64, StoreError> {
        let (mut low, mut high) = (self.first(), end.saturating_add(1));
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
        let mut firsts = segments
            .sealed
            .iter()
            .copied()
            .chain([segments.active.first]);
        firsts.find(|first| *first > seq)
    }

    /// The MAC before the first record of the segment that holds `seq`.
    fn anchor_of(&self, seq: u64) -> Result<[u8; 32], StoreError> {
        let segment = self.segment_of(seq)?;
        let anchor = segment.anchor(self.medium.as_ref())?;
        anchor.ok_or(NO_ANCHOR)
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
        if self.segment_of(first)?.first != first || self.anchor_of(first)? != start.mac {
            return broken(start, MISSING);
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
            if at.seq < end.seq
                && self.next_segment(at.seq) == Some(next)
                && self.anchor_of(next)? != at.mac
            {
                return broken(at, ALTERED);
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
    fn segment_of(&self, seq: u64) -> Result<Arc<Segment>, StoreError> {
        if let Some(active) = self.if_active(seq) {
            return Ok(active);
        }
        let mut last = self.last_read.lock().expect(UNPOISONED);
        let first = {
            let segments = self.segments.read().expect(UNPOISONED);
            let index = segments.sealed.partition_point(|first| *first <= seq);
            match segments.sealed.get(index.saturating_sub(1)) {
                Some(first) => *first,
                // Pruned meanwhile.
                None => return Ok(Arc::clone(&segments.active)),
            }
        };
        if let Some(segment) = last.as_ref().filter(|segment| segment.first == first) {
            return Ok(Arc::clone(segment));
        }
        *last = None;
        let begun = Instant::now();
        let segment = loop {
            match Segment::open(self.medium.as_ref(), first) {
                // Another reader has not finished its page of it.
                Err(StoreError::InUse) if begun.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
                opened => break Arc::new(opened?),
            }
        };
        *last = Some(Arc::clone(&segment));
        Ok(segment)
    }

    fn if_active(&self, seq: u64) -> Option<Arc<Segment>> {
        let segments = self.segments.read().expect(UNPOISONED);
        let all = segments.sealed.is_empty();
        (all || seq >= segments.active.first).then(|| Arc::clone(&segments.active))
    }
}

/// Whether a fault of the journal is that its end may be lost: then a repair believes what is left, and
/// closes what may have been used. All other faults are beyond a repair.
pub(crate) fn is_of_the_end(fault: &str) -> bool {
    let ends = [LOST, HEAD_OLDER, HEAD_HALF, EXCHANGED];
    fault.contains("store/head") || ends.iter().any(|end| fault.contains(end))
}

/// How long a reader waits for another one that has a sealed segment open, and how often it looks.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(2);
/// Records per read transaction; a longer one would pin pages under the writer.
pub(super) const SLICE: usize = 1000;
pub(super) const UNPOISONED: &str = "no panic while the lock is held";
pub(super) const NO_ANCHOR: StoreError = StoreError::Corrupt("a log segment has no beginning");
const NO_FILE: &str = "the file log-*.redb that holds it is not a database any more";
pub(super) const MISSING: &str = "the record is missing";
const ALTERED: &str = "the record was altered, or stands in another's place";
const LOST: &str = "it is lost, yet its answer has left: the end of the log was damaged";
const HEAD_OLDER: &str = "whether it is the last one answered cannot be told, since store/head is older than \
    main.redb: another copy was put back";
const HEAD_HALF: &str = "whether it is the last one answered cannot be told, since one half of store/head is \
    damaged";
const EXCHANGED: &str = "it is not the record whose answer has left";
