//! The log: an append-only, MAC-chained table in segments. It is the audit trail and the truth.
//!
//! A segment is a redb file `log-SEQ.redb`, named by the number of its first record. Its table
//! `log` maps the record number to `MAC (32) | entry`; its table `anchor` holds the MAC before the
//! first record. Only the newest segment is written; it is closed with a quick-repair commit when
//! it is full. The repair after a kill walks the newest segment alone, so it is bounded by the
//! segment size, not by the trail.
//!
//! `MAC(n) = HMAC-SHA-256(audit key, MAC(n-1) | n | entry)`: whoever cannot read the master key can
//! neither change, drop, swap nor insert a record unnoticed (threats T35). Records missing at the
//! end are noticed against the checkpoint (see [`crate::store::fold`]) and the acknowledged head (see
//! [`crate::store::head`]).
//!
//! Numbers found in a file bound no loop: [`Log::read`] and [`Log::read_back`] give records whose numbers
//! follow each other, and at least one or an end, so that whatever walks the log walks what is there.
//!
//! Old segments may be pruned. That is a change like others: its record is in the chain, and with it
//! goes a row that names the link before the first record that stays, marked with a key of the store.
//! Without that row a missing segment is a fault; nobody can prune unseen.

use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use redb::{Database, ReadOnlyTable, ReadTransaction, ReadableTable, TableDefinition, TableError};

use crate::model::audit::AuditRecord;
use crate::store::head::{Acknowledged, Found};
use crate::store::medium::Medium;
use crate::store::record::Entry;
use crate::store::seal::Sealer;
use crate::store::segment::Segment;
use crate::store::{ChainFault, ChainReport, StoreError, segment};
use crate::time::UnixTime;

/// The end of the chain.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Head {
    /// Number of the last record; 0 when there is none.
    pub(crate) seq: u64,
    /// Its MAC; zeros when there is none.
    pub(crate) mac: [u8; 32],
}

/// A stored record before it is parsed.
pub(crate) struct RawRecord {
    pub(crate) seq: u64,
    pub(crate) mac: [u8; 32],
    pub(crate) body: Vec<u8>,
}

impl RawRecord {
    fn new(seq: u64, value: &[u8]) -> Result<Self, StoreError> {
        let (mac, body) = value.split_first_chunk::<32>().ok_or(SHORT)?;
        Ok(Self {
            seq,
            mac: *mac,
            body: body.to_vec(),
        })
    }

    /// The record without the rows that changed with it.
    pub(crate) fn parse(&self) -> Result<AuditRecord, StoreError> {
        let entry = Entry::decode(&self.body)?;
        Ok(AuditRecord {
            seq: self.seq,
            at: entry.at,
            event: entry.event,
            changes: entry.changes,
            mac: self.mac,
        })
    }
}

/// The readable side of the log; shared.
pub(crate) struct Log {
    medium: Arc<dyn Medium>,
    cache: usize,
    segments: RwLock<Segments>,
    /// The last sealed segment that was read, kept open for the next page.
    last_read: Mutex<Option<Arc<Segment>>>,
}

struct Segments {
    /// First record of every sealed segment, ascending.
    sealed: Vec<u64>,
    active: Arc<Segment>,
}

/// The writing side of the log; one, owned by the writer thread.
pub(crate) struct Appender {
    log: Arc<Log>,
    sealer: Arc<Sealer>,
    active: Arc<Segment>,
    head: Head,
    octets: u64,
    limit: u64,
    acknowledged: Arc<Acknowledged>,
    staged: Staged,
}

/// Records that are linked to the chain but not durable yet.
#[derive(Default)]
struct Staged {
    /// One after the other: `MAC (32) | entry`.
    values: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
    /// The last one's link.
    head: Head,
}

impl Staged {
    /// Their values in order.
    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let begins = [0].into_iter().chain(self.ends.iter().copied());
        let places = begins.zip(&self.ends);
        places.map(|(begin, end)| self.values.get(begin..*end).unwrap_or_default())
    }
}

impl Log {
    /// Opens the log; a new one when there is none. `known` says up to which record answers have left.
    pub(crate) fn open(
        medium: Arc<dyn Medium>,
        sealer: Arc<Sealer>,
        limit: u64,
        (acknowledged, known): (Arc<Acknowledged>, Found),
    ) -> Result<(Arc<Self>, Appender), StoreError> {
        let mut firsts: Vec<u64> = medium
            .list()
            .map_err(disk)?
            .iter()
            .filter_map(|name| segment::first(name))
            .collect();
        firsts.sort_unstable();
        let newest = firsts.pop().unwrap_or(1);
        let active = match Segment::open(medium.as_ref(), newest, CACHE) {
            Err(StoreError::File { .. }) if matches!(known, Found::Head(head) if head.seq < newest) =>
            {
                // Killed while it was made: nothing in it was ever answered.
                medium.remove(&segment::name(newest)).map_err(disk)?;
                Segment::open(medium.as_ref(), newest, CACHE)?
            }
            opened => opened?,
        };
        // Whoever created it may have been killed before its name was durable.
        medium.sync().map_err(disk)?;
        let head = segment_head(medium.as_ref(), &active);
        let head = match head.map_err(|error| of_file(newest, error))? {
            Some(head) => head,
            // Created but not yet begun when the process ended: begin it where its predecessor ends.
            None => match firsts.last() {
                None => begin_segment(medium.as_ref(), &active, Head::default())?,
                Some(previous) => {
                    let previous = Segment::open(medium.as_ref(), *previous, CACHE)?;
                    let end = segment_head(medium.as_ref(), &previous)
                        .and_then(|end| end.ok_or(NO_ANCHOR))
                        .map_err(|error| of_file(previous.first, error))?;
                    begin_segment(medium.as_ref(), &active, end)?
                }
            },
        };
        let active = Arc::new(active);
        let segments = RwLock::new(Segments {
            sealed: firsts,
            active: Arc::clone(&active),
        });
        let log = Arc::new(Self {
            medium,
            cache: CACHE,
            segments,
            last_read: Mutex::new(None),
        });
        let octets = head
            .seq
            .saturating_sub(newest)
            .saturating_mul(ASSUMED_RECORD);
        let appender = Appender {
            log: Arc::clone(&log),
            sealer,
            active,
            head,
            octets,
            limit,
            acknowledged,
            staged: Staged::default(),
        };
        Ok((log, appender))
    }

    /// Records `from..` in order, at most `limit`, from one segment; empty at the end. Their numbers rise
    /// one by one, whatever the file says: what follows a gap is not read, and a record that stands
    /// where another one should is damage.
    pub(crate) fn read(&self, from: u64, limit: usize) -> Result<Vec<RawRecord>, StoreError> {
        let segment = self.segment_of(from)?;
        let from = from.max(segment.first);
        segment.read(self.medium.as_ref(), |read| {
            let Some(table) = table(read)? else {
                return Ok(Vec::new());
            };
            let mut records = Vec::new();
            for (seq, row) in (from..).zip(table.range(from..).map_err(disk)?.take(limit)) {
                let (number, value) = row.map_err(disk)?;
                match RawRecord::new(number.value(), value.value()) {
                    Ok(record) if record.seq == seq => records.push(record),
                    _ if !records.is_empty() => break,
                    Ok(_) => return Err(MISNUMBERED),
                    Err(error) => return Err(error),
                }
            }
            Ok(records)
        })
    }

    /// Records before `before`, newest first, at most `limit`, from one segment; empty before the first.
    /// Their numbers fall one by one, as in [`Log::read`].
    pub(crate) fn read_back(
        &self,
        before: u64,
        limit: usize,
    ) -> Result<Vec<RawRecord>, StoreError> {
        let Some(last) = before.checked_sub(1).filter(|last| *last >= self.first()) else {
            return Ok(Vec::new());
        };
        let segment = self.segment_of(last)?;
        segment.read(self.medium.as_ref(), |read| {
            let Some(table) = table(read)? else {
                return Ok(Vec::new());
            };
            let rows = table.range(segment.first..before).map_err(disk)?;
            let mut records = Vec::new();
            for (seq, row) in (0..=last).rev().zip(rows.rev().take(limit)) {
                let (number, value) = row.map_err(disk)?;
                match RawRecord::new(number.value(), value.value()) {
                    Ok(record) if record.seq == seq => records.push(record),
                    _ if !records.is_empty() => break,
                    Ok(_) => return Err(MISNUMBERED),
                    Err(error) => return Err(error),
                }
            }
            Ok(records)
        })
    }

    /// The last record of the newest segment as it is numbered there.
    pub(crate) fn last(&self) -> Result<u64, StoreError> {
        let active = Arc::clone(&self.segments.read().expect(UNPOISONED).active);
        let head = segment_head(self.medium.as_ref(), &active)?;
        Ok(head.unwrap_or_default().seq)
    }

    /// The link before the first record that is kept.
    pub(crate) fn begin(&self) -> Result<Head, StoreError> {
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
            anchor = Some(Head {
                seq: last,
                mac: end.mac,
            });
        }
        Ok(anchor)
    }

    fn record(&self, seq: u64) -> Result<Option<RawRecord>, StoreError> {
        let found = self.read(seq, 1)?.pop();
        Ok(found.filter(|record| record.seq == seq))
    }

    /// The MAC of a record, or the link before the record that follows it.
    fn record_or_anchor(&self, seq: u64) -> Result<Option<[u8; 32]>, StoreError> {
        let active = Arc::clone(&self.segments.read().expect(UNPOISONED).active);
        if seq.saturating_add(1) == active.first {
            return active.read(self.medium.as_ref(), anchor);
        }
        Ok(self.record(seq)?.map(|record| record.mac))
    }

    /// Forgets the segments that end at or before `seq`, and returns which they are, for
    /// [`Log::remove`].
    pub(crate) fn prune(&self, seq: u64) -> Vec<u64> {
        let mut segments = self.segments.write().expect(UNPOISONED);
        let next = segments.sealed.iter().copied().skip(1);
        let ends = next.chain([segments.active.first]);
        let pruned = ends.take_while(|first| *first <= seq + 1).count();
        let pruned = pruned.min(segments.sealed.len());
        segments.sealed.drain(..pruned).collect()
    }

    /// Removes the files of segments that were pruned. What cannot be removed now is removed when
    /// the store is opened again.
    pub(crate) fn remove(&self, pruned: &[u64]) {
        // From here on no reader opens one of them: each looks the list up under this lock.
        drop(self.last_read.lock().expect(UNPOISONED).take());
        for first in pruned {
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
        let anchor = segment.read(self.medium.as_ref(), anchor)?;
        anchor.ok_or(NO_ANCHOR)
    }

    /// Walks the chain from behind `start` up to `end` and names the first record that is not as it was written.
    pub(crate) fn verify(
        &self,
        sealer: &Sealer,
        start: Head,
        end: Head,
        progress: &dyn Fn(u64) -> Result<(), StoreError>,
    ) -> Result<ChainReport, StoreError> {
        let mut good = 0;
        let mut mac = start.mac;
        let first = start.seq + 1;
        let mut next = first;
        if self.segment_of(next)?.first != next || self.anchor_of(next)? != mac {
            return Ok(broken(first, good, next, MISSING));
        }
        while next <= end.seq {
            let records = match self.read(next, SLICE) {
                Ok(records) => records,
                Err(StoreError::Corrupt(what)) => return Ok(broken(first, good, next, what)),
                Err(StoreError::File { .. }) => {
                    return Ok(broken(first, good, next, NO_FILE));
                }
                Err(error) => return Err(error),
            };
            if records.is_empty() {
                // The segment ended early: the rest of it is missing.
                return Ok(broken(first, good, next, MISSING));
            }
            for record in &records {
                if record.seq > end.seq {
                    break;
                }
                if record.seq != next {
                    return Ok(broken(first, good, next, MISSING));
                }
                if sealer.link(&mac, record.seq, &record.body) != record.mac {
                    return Ok(broken(first, good, next, ALTERED));
                }
                mac = record.mac;
                next += 1;
                good += 1;
            }
            progress(good)?;
            if next <= end.seq && self.next_segment(next - 1) == Some(next) {
                // The anchor must agree with what was just read, or a segment was exchanged.
                if self.anchor_of(next)? != mac {
                    return Ok(broken(first, good, next, ALTERED));
                }
            }
        }
        if end.seq > start.seq && mac != end.mac {
            return Ok(broken(first, good, end.seq, ALTERED));
        }
        Ok(ChainReport {
            first,
            good,
            fault: None,
        })
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
            match Segment::open(self.medium.as_ref(), first, self.cache) {
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

impl Appender {
    /// The end of the chain as it is durable.
    pub(crate) const fn head(&self) -> Head {
        self.head
    }

    /// The readable side.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Links an entry to the chain, behind what is staged already. After an error it is not there.
    pub(crate) fn stage(&mut self, entry: &Entry) -> Result<(), StoreError> {
        let previous = self
            .staged
            .ends
            .last()
            .map_or(self.head, |_| self.staged.head);
        let values = &mut self.staged.values;
        let begin = values.len();
        values.resize(begin + 32, 0);
        if let Err(error) = entry.encode(values) {
            values.truncate(begin);
            return Err(error);
        }
        let seq = previous.seq + 1;
        let (mac, body) = values
            .get_mut(begin..)
            .and_then(<[u8]>::split_first_chunk_mut::<32>)
            .expect("just sized");
        *mac = self.sealer.link(&previous.mac, seq, body);
        self.staged.head = Head { seq, mac: *mac };
        self.staged.ends.push(values.len());
        Ok(())
    }

    /// Makes what is staged durable in one commit and returns how many records it were.
    ///
    /// After an error the commit is in doubt and the handle refuses writes: call
    /// [`Appender::reopen`]. Nothing is staged any more.
    pub(crate) fn commit(&mut self) -> Result<usize, StoreError> {
        let done = self.write();
        let records = self.staged.ends.len();
        if let Err(error) = &done {
            self.unstage();
            self.active.close(error.to_string());
        }
        done.map(|()| records)
    }

    fn write(&mut self) -> Result<(), StoreError> {
        if self.octets >= self.limit {
            self.roll()?;
        }
        self.active.write(|db| {
            let write = db.begin_write().map_err(disk)?;
            let mut table = write.open_table(LOG).map_err(disk)?;
            for (seq, value) in (self.head.seq + 1..).zip(self.staged.iter()) {
                table.insert(seq, value).map_err(disk)?;
            }
            drop(table);
            write.commit().map_err(disk)
        })?;
        // Durable; from here on answers may leave, and their loss would be noticed.
        self.acknowledged.write(self.staged.head)?;
        self.head = self.staged.head;
        self.octets += self.staged.values.len() as u64;
        Ok(())
    }

    /// The records of the last commit, until they are unstaged.
    pub(crate) fn committed(&self, mut each: impl FnMut(RawRecord)) {
        let first = (self.head.seq + 1).saturating_sub(self.staged.ends.len() as u64);
        for (seq, value) in (first..).zip(self.staged.iter()) {
            each(RawRecord::new(seq, value).expect("it was staged whole"));
        }
    }

    /// Forgets what is staged.
    pub(crate) fn unstage(&mut self) {
        self.staged.values.clear();
        self.staged.ends.clear();
        // One large import must not hold its memory for ever.
        self.staged.values.shrink_to(KEPT);
    }

    /// Opens the newest segment again after a failed commit and returns the entries that turned out
    /// durable although nobody was told.
    pub(crate) fn reopen(&mut self) -> Result<Vec<(u64, Entry)>, StoreError> {
        let (medium, cache) = (self.log.medium.as_ref(), self.log.cache);
        self.active.reopen(medium, cache, probe)?;
        let head = segment_head(medium, &self.active)?.ok_or(NO_ANCHOR)?;
        let known = self.log.record_or_anchor(self.head.seq)?;
        if known.is_none_or(|mac| mac != self.head.mac) {
            return Err(StoreError::Corrupt("durable audit records are gone"));
        }
        let mut entries = Vec::new();
        let mut end = self.head;
        while end.seq < head.seq {
            let records = self.log.read(end.seq + 1, SLICE)?;
            if records.is_empty() {
                return Err(StoreError::Corrupt(MISSING));
            }
            for record in records {
                if self.sealer.link(&end.mac, record.seq, &record.body) != record.mac {
                    return Err(StoreError::Corrupt(ALTERED));
                }
                end = Head {
                    seq: record.seq,
                    mac: record.mac,
                };
                entries.push((record.seq, Entry::decode(&record.body)?));
            }
        }
        self.acknowledged.write(end)?;
        self.head = end;
        Ok(entries)
    }

    /// Closes the newest segment for good and begins the next.
    fn roll(&mut self) -> Result<(), StoreError> {
        self.active.write(|db| {
            let mut write = db.begin_write().map_err(disk)?;
            write.set_quick_repair(true);
            write.commit().map_err(disk)
        })?;
        let first = self.head.seq + 1;
        let segment = Segment::open(self.log.medium.as_ref(), first, self.log.cache)?;
        begin_segment(self.log.medium.as_ref(), &segment, self.head)?;
        let segment = Arc::new(segment);
        let mut segments = self.log.segments.write().expect(UNPOISONED);
        segments.sealed.push(self.active.first);
        segments.active = Arc::clone(&segment);
        drop(segments);
        self.active = segment;
        self.octets = 0;
        Ok(())
    }
}

/// Writes the anchor of a new segment, durably, and returns the head it stands for.
fn begin_segment(medium: &dyn Medium, segment: &Segment, head: Head) -> Result<Head, StoreError> {
    segment.write(|db| {
        let write = db.begin_write().map_err(disk)?;
        let mut anchors = write.open_table(ANCHOR).map_err(disk)?;
        anchors.insert(0, head.mac.as_slice()).map_err(disk)?;
        drop(anchors);
        drop(write.open_table(LOG).map_err(disk)?);
        write.commit().map_err(disk)
    })?;
    medium.sync().map_err(disk)?;
    Ok(head)
}

/// Proves that the file takes writes again: who only opened it would call a full disk healthy.
fn probe(db: &Database) -> Result<(), StoreError> {
    let write = db.begin_write().map_err(disk)?;
    let mut anchors = write.open_table(ANCHOR).map_err(disk)?;
    anchors.insert(1, b"".as_slice()).map_err(disk)?;
    drop(anchors);
    write.commit().map_err(disk)
}

/// The records of a segment; `None` when it was never begun.
fn table(read: &ReadTransaction) -> Result<Option<Records>, StoreError> {
    match read.open_table(LOG) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(disk(error)),
    }
}

type Records = ReadOnlyTable<u64, &'static [u8]>;

fn anchor(read: &ReadTransaction) -> Result<Option<[u8; 32]>, StoreError> {
    let table = match read.open_table(ANCHOR) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(disk(error)),
    };
    let Some(value) = table.get(0).map_err(disk)? else {
        return Ok(None);
    };
    value.value().try_into().map(Some).map_err(|_| SHORT)
}

/// The end of the chain in this segment; `None` when it was never begun.
fn segment_head(medium: &dyn Medium, segment: &Segment) -> Result<Option<Head>, StoreError> {
    segment.read(medium, |read| {
        let (Some(mac), Some(table)) = (anchor(read)?, table(read)?) else {
            return Ok(None);
        };
        let last = table.last().map_err(disk)?;
        Ok(Some(match last {
            None => Head {
                seq: segment.first.saturating_sub(1),
                mac,
            },
            Some((seq, value)) => {
                let record = RawRecord::new(seq.value(), value.value())?;
                Head {
                    seq: record.seq,
                    mac: record.mac,
                }
            }
        }))
    })
}

fn broken(first: u64, good: u64, seq: u64, what: &'static str) -> ChainReport {
    ChainReport {
        first,
        good,
        fault: Some(ChainFault { seq, what }),
    }
}

/// The engine's or the disk's failure, as the store's.
pub(crate) fn disk(error: impl std::fmt::Display) -> StoreError {
    StoreError::Disk(error.to_string())
}

/// Damage that was found in the segment that begins with this record.
fn of_file(first: u64, error: StoreError) -> StoreError {
    match error {
        StoreError::Corrupt(what) => StoreError::File {
            file: segment::name(first),
            what,
        },
        error => error,
    }
}

/// A failure to open a database file.
pub(crate) fn open_error(error: redb::DatabaseError) -> StoreError {
    match error {
        redb::DatabaseError::DatabaseAlreadyOpen => StoreError::InUse,
        redb::DatabaseError::Storage(error) if is_damage(&error) => {
            tracing::error!(%error, "a file of the store is damaged");
            StoreError::Corrupt("a file is not a database any more")
        }
        other => disk(other),
    }
}

/// Whether the engine read the file and found it wrong; else the disk is what failed.
fn is_damage(error: &redb::StorageError) -> bool {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    match error {
        redb::StorageError::Corrupted(_) => true,
        redb::StorageError::Io(error) => matches!(error.kind(), InvalidData | UnexpectedEof),
        _ => false,
    }
}

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log_v1");
const ANCHOR: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("anchor_v1");
/// Page cache of a segment: the tail is appended to and read back, nothing else.
const CACHE: usize = 8 << 20;
/// How long a reader waits for another one that has a sealed segment open, and how often it looks.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(2);
/// Octets kept for staging from one commit to the next.
const KEPT: usize = 1 << 20;
/// Records per read transaction; a longer one would pin pages under the writer.
const SLICE: usize = 1000;
/// Stands for the size of records that were written before this process began.
const ASSUMED_RECORD: u64 = 256;
const UNPOISONED: &str = "no panic while the lock is held";
const SHORT: StoreError = StoreError::Corrupt("an audit record is cut short");
const MISNUMBERED: StoreError =
    StoreError::Corrupt("an audit record is missing, or bears another number");
const NO_ANCHOR: StoreError = StoreError::Corrupt("a log segment has no beginning");
const NO_FILE: &str = "the file log-*.redb that holds it is not a database any more";
const MISSING: &str = "the record is missing";
const ALTERED: &str = "the record was altered, or stands in another's place";
