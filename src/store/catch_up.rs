//! Opening: what the journal holds behind the last checkpoint comes into memory.

use crate::store::fold::Fold;
use crate::store::head::Found as Known;
use crate::store::log::{Head, Log};
use crate::store::memtable::Layer;
use crate::store::record::Entry;
use crate::store::seal::Sealer;
use crate::store::{ChainFault, ChainReport, StoreError, transition};

/// Folds the log's tail into memory. Returns the first record that is not as it was written; the
/// store then answers readers and `audit verify`, and refuses to decide.
pub(crate) fn catch_up(
    fold: &Fold,
    log: &Log,
    sealer: &Sealer,
    applied: Head,
    end: Head,
) -> Result<Option<(u64, &'static str)>, StoreError> {
    if end.seq < applied.seq {
        return Ok(Some((end.seq + 1, ENDS)));
    }
    let mut head = applied;
    if !stands(log, applied)? {
        return Ok(Some((applied.seq, NOT_APPLIED)));
    }
    loop {
        let records = match log.read(head.seq.saturating_add(1), TAIL_SLICE) {
            Err(StoreError::Corrupt(what) | StoreError::File { what, .. }) => {
                return Ok(Some((head.seq.saturating_add(1), what)));
            }
            records => records?,
        };
        if records.is_empty() {
            break;
        }
        for record in records {
            if record.seq != head.seq + 1 {
                return Ok(Some((head.seq + 1, "the record is missing")));
            }
            if sealer.link(&head.mac, record.seq, &record.body) != record.mac {
                return Ok(Some((record.seq, "the record was altered")));
            }
            head = Head {
                seq: record.seq,
                mac: record.mac,
            };
            let entry = match Entry::decode(&record.body) {
                Err(StoreError::Corrupt(what)) => return Ok(Some((record.seq, what))),
                entry => entry?,
            };
            let accepts_clock = transition::accepts_clock(&entry);
            let mut rows = Layer::default();
            entry.writes.into_iter().for_each(|write| rows.put(write));
            fold.publish(&mut rows, head, entry.at, true);
            if accepts_clock {
                fold.accept_clock(entry.at);
            }
        }
    }
    if head.seq != end.seq {
        return Ok(Some((head.seq + 1, "the record is missing")));
    }
    Ok(None)
}

/// Whether the log holds this record as it was, if it still holds records of that time.
pub(crate) fn stands(log: &Log, known: Head) -> Result<bool, StoreError> {
    if known.seq == 0 || known.seq < log.first() {
        return Ok(true);
    }
    match log.read(known.seq, 1) {
        Ok(records) => Ok(records
            .first()
            .is_some_and(|record| record.mac == known.mac)),
        Err(StoreError::Corrupt(_) | StoreError::File { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The first record that is lost although an answer about it may have left, or may be. The chain up to
/// `end` is right, and `main.redb` holds it up to `applied`.
pub(crate) fn lost(
    log: &Log,
    known: Known,
    applied: u64,
    end: Head,
) -> Result<Option<(u64, &'static str)>, StoreError> {
    let head = match known {
        Known::Unusable(what) => return Ok(Some((end.seq, what))),
        Known::Head(head) | Known::Half(head) => head,
    };
    if head.seq > end.seq {
        return Ok(Some((end.seq + 1, LOST)));
    }
    if head.seq < applied {
        return Ok(Some((end.seq, HEAD_OLDER)));
    }
    if known == Known::Half(end) {
        return Ok(Some((end.seq, HEAD_HALF)));
    }
    Ok((!stands(log, head)?).then_some((head.seq, EXCHANGED)))
}

/// Whether a fault of the journal is that its end may be lost: then a repair believes what is left, and
/// closes what may have been used. All other faults are beyond a repair.
pub(crate) fn is_of_the_end(fault: &str) -> bool {
    let ends = [LOST, HEAD_OLDER, HEAD_HALF, EXCHANGED, ENDS, NOT_APPLIED];
    fault.contains("store/head") || ends.iter().any(|end| fault.contains(end))
}

impl ChainReport {
    /// With the fault that opening found; what is missing at the end is named as that says it.
    pub(crate) fn with_end(self, found: Option<(u64, &'static str)>) -> Self {
        let fault = self.fault.as_ref();
        match found {
            Some((seq, what))
                if fault.is_none_or(|fault| fault.seq == seq && is_of_the_end(what)) =>
            {
                Self {
                    fault: Some(ChainFault { seq, what }),
                    ..self
                }
            }
            _ => self,
        }
    }
}

/// Records folded at a time.
const TAIL_SLICE: usize = 10_000;
const ENDS: &str = "the log ends before it, yet it was applied";
const NOT_APPLIED: &str = "it is not the record that was applied";
const LOST: &str = "it is lost, yet its answer has left: the end of the log was damaged";
const HEAD_OLDER: &str = "whether it is the last one answered cannot be told, since store/head is older than \
    main.redb: another copy was put back";
const HEAD_HALF: &str = "whether it is the last one answered cannot be told, since one half of store/head is \
    damaged";
const EXCHANGED: &str = "it is not the record whose answer has left";
