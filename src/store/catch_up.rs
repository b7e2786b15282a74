//! What the journal holds behind the rows comes into memory.

use crate::store::fold::Fold;
use crate::store::journal::{self, Head, Journal};
use crate::store::memtable::Layer;
use crate::store::record::Entry;
use crate::store::{ChainFault, StoreError};

/// Folds the records between the newest published one and `end`. Returns the first record that is not as it was
/// written; the store then answers readers and `audit verify`, and refuses to decide.
pub(crate) fn catch_up(
    fold: &Fold,
    journal: &Journal,
    end: Head,
) -> Result<Option<ChainFault>, StoreError> {
    let mut head = fold.head();
    let fault = |seq, what| Ok(Some(ChainFault { seq, what }));
    if end.seq < head.seq {
        return fault(end.seq + 1, ENDS);
    }
    if !journal.stands(head)? {
        // It cannot be read, with whole records behind it: the end is there, and the middle is damaged.
        let what = match journal.read(head.seq, 1) {
            Err(StoreError::Corrupt(what) | StoreError::File { what, .. }) => what,
            _ => NOT_APPLIED,
        };
        return fault(head.seq, what);
    }
    while head.seq < end.seq {
        let next = head.seq + 1;
        let records = match journal.read_after(head, SLICE) {
            Err(StoreError::Corrupt(what) | StoreError::File { what, .. }) => {
                return fault(next, what);
            }
            records => records?,
        };
        if records.is_empty() {
            return fault(next, "the record is missing");
        }
        for record in records {
            let entry = match Entry::decode(&record.body) {
                Err(StoreError::Corrupt(what)) => return fault(record.seq, what),
                entry => entry?,
            };
            head = record.head();
            let accepts_clock = entry.accepts_clock();
            let mut rows = Layer::default();
            entry.writes.into_iter().for_each(|write| rows.put(write));
            fold.publish(&mut rows, head, entry.at, true);
            if accepts_clock {
                fold.accept_clock(entry.at);
            }
        }
    }
    Ok(None)
}

/// Whether a fault of the journal is that its end may be lost: then a repair believes what is left, and
/// closes what may have been used. All other faults are beyond a repair.
pub(crate) fn is_of_the_end(fault: &str) -> bool {
    journal::is_of_the_end(fault) || [ENDS, NOT_APPLIED].iter().any(|end| fault.contains(end))
}

/// Records folded at a time.
const SLICE: usize = 10_000;
const ENDS: &str = "the log ends before it, yet it was applied";
const NOT_APPLIED: &str = "it is not the record that was applied";
