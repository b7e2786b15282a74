//! Reading the audit trail: by what is looked for, and one entry with all it wrote.

use std::time::Duration;

use crate::model::audit::AuditRecord;
use crate::store::catch_up::is_of_the_end;
use crate::store::journal::{Head, Part, Record};
use crate::store::record::Entry;
use crate::store::transition::changed;
use crate::store::wanted::Wanted;
use crate::store::{
    AuditQuery, ChainFault, ChainReport, Progress, Prunable, Reading, Store, StoreError,
    StoreReport, Written, check, personal, search,
};
use crate::time::{UnixTime, millis};

impl Store {
    /// The audit records in segments that are older than a time, for [`Change::PruneAudit`](crate::store::Change).
    pub async fn prunable(&self, before: UnixTime) -> Result<Option<Prunable>, StoreError> {
        let prunable = move |reading: &Reading, wanted: &Wanted| {
            let wanted = || wanted.check();
            let applied = reading.fold.applied();
            let anchor = reading.journal.prunable(before, applied, &wanted)?;
            let until = before.rfc3339();
            Ok(anchor.map(|anchor| Prunable { until, anchor }))
        };
        self.read_log(prunable).await
    }

    /// The oldest segments, as far as the audit has more octets than `most`.
    pub async fn prunable_beyond(&self, most: u64) -> Result<Option<Prunable>, StoreError> {
        let prunable = move |reading: &Reading, _: &Wanted| {
            let applied = reading.fold.applied();
            let (all, anchor) = reading.journal.prunable_beyond(most, applied)?;
            let until = format!("{all} octets, of which {most} are kept");
            Ok(anchor.map(|anchor| Prunable { until, anchor }))
        };
        self.read_log(prunable).await
    }

    /// Audit records, newest first.
    pub async fn audit(&self, query: AuditQuery) -> Result<Vec<AuditRecord>, StoreError> {
        self.read_log(move |reading, wanted| reading.audit(&query, wanted))
            .await
    }

    /// Audit records after the one with this number, oldest first.
    pub async fn audit_after(
        &self,
        seq: u64,
        limit: usize,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let read = move |reading: &Reading, _: &Wanted| {
            let end = reading.fold.head().seq;
            let records = reading.journal.read(seq.saturating_add(1), limit)?;
            let known = records.iter().filter(|record| record.seq <= end);
            let opened = |raw: &Record| Ok(changed::opened(raw.parse()?, &reading.sealer));
            known.map(opened).collect()
        };
        self.read_log(read).await
    }

    /// One audit record and the list of what it made, changed or removed, in order; `None`: there is none
    /// with this number any more, or yet.
    pub async fn audit_entry(&self, seq: u64) -> Result<Option<Written>, StoreError> {
        self.read_log(move |reading, _| reading.entry(seq)).await
    }

    /// Checks the audit chain from the first record that is kept to the last; `progress` is called with how
    /// many records have been read.
    pub async fn verify_audit(&self, progress: Progress) -> Result<ChainReport, StoreError> {
        self.read_log(move |reading, wanted| reading.verify(&*progress, wanted))
            .await
    }

    /// Checks everything: every row, each table as a whole, the audit chain, and the rows against the
    /// records that wrote them. Dropping the answer ends the check.
    pub async fn verify_store(&self) -> Result<StoreReport, StoreError> {
        let check = |reading: &Reading, wanted: &Wanted| {
            let chain = reading.verify(&|_| {}, wanted)?;
            let stop = || wanted.check().is_err();
            check::report(
                &reading.fold,
                &reading.journal,
                &reading.sealer,
                chain,
                &stop,
            )
        };
        self.read_log(check).await
    }
}

impl Reading {
    /// Destroys the keys of personal data that the journal says must not be.
    pub(super) fn erase(&self) -> Result<(), StoreError> {
        personal::destroy_erased(self.fold.reader(), &self.sealer)?;
        // What was brought back is gone again.
        self.fold.damage().erased();
        Ok(())
    }

    /// The link before the first audit record that is kept, if any were pruned.
    pub(super) fn pruned(&self) -> Result<Option<Head>, StoreError> {
        check::pruned(&self.fold, &self.sealer)
    }

    /// With the fault that opening found; what is missing at the end is named as that says it.
    fn with_end(&self, report: ChainReport) -> ChainReport {
        let at_end = |fault: &ChainFault, found: &ChainFault| {
            fault.seq == found.seq && is_of_the_end(found.what)
        };
        match &self.found {
            Some(found)
                if report
                    .fault
                    .as_ref()
                    .is_none_or(|fault| at_end(fault, found)) =>
            {
                let fault = Some(found.clone());
                ChainReport { fault, ..report }
            }
            _ => report,
        }
    }

    fn verify(&self, progress: &dyn Fn(u64), wanted: &Wanted) -> Result<ChainReport, StoreError> {
        let progress = |good| {
            progress(good);
            wanted.check()
        };
        let report = check::chain(&self.fold, &self.journal, &self.sealer, &progress)?;
        if self.found.is_none() {
            self.journal.note_damage(report.fault.clone());
        }
        Ok(self.with_end(report))
    }

    /// One record, with the list of the records that it made, changed or removed.
    fn entry(&self, seq: u64) -> Result<Option<Written>, StoreError> {
        if seq > self.fold.head().seq {
            return Ok(None);
        }
        let found = self.journal.read(seq, 1)?.pop();
        let Some(raw) = found.filter(|raw| raw.seq == seq) else {
            return Ok(None);
        };
        let records = changed::listed(&Entry::decode(&raw.body)?.writes);
        Ok(Some(Written {
            record: changed::opened(raw.parse()?, &self.sealer),
            sha256: changed::digest(&records),
            records,
        }))
    }

    /// The records of one request lie around the time in its id; only when they do not is the whole
    /// trail read.
    fn audit(&self, query: &AuditQuery, wanted: &Wanted) -> Result<Vec<AuditRecord>, StoreError> {
        let mut last = self.fold.head().seq;
        if self.found.is_some() {
            // The log may end before what was applied.
            last = last.min(self.journal.last());
        }
        let whole = (self.journal.first(), last.saturating_add(1));
        let Some(request) = query.request else {
            return self.audit_within(query, whole, wanted);
        };
        let at = request.at();
        let early = UnixTime::from_millis(at.as_millis().saturating_sub(millis(BEFORE)));
        let from = self.journal.position(early, whole)?;
        let to = self.journal.position(at.plus(AFTER), whole)?;
        let found = self.audit_within(query, (from, to.min(whole.1)), wanted)?;
        if found.is_empty() {
            return self.audit_within(query, whole, wanted);
        }
        Ok(found)
    }

    /// Among the records from the first number to before the second.
    fn audit_within(
        &self,
        query: &AuditQuery,
        (first, end): (u64, u64),
        wanted: &Wanted,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let mut before = query.before.unwrap_or(u64::MAX).min(end);
        if let Some(until) = query.until {
            // Times on record rise, but for a clock that was behind for a while. Indexes know the times of what they
            // are of.
            let low = if self.journal.is_indexed() {
                self.journal.newest()
            } else {
                0
            };
            before = before.min(self.journal.position(until.plus(AFTER), (low, end))?);
        }
        let search = search::of(query);
        let (mut found, mut older) = (Vec::new(), 0);
        while before > first && found.len() < query.limit {
            wanted.check()?;
            let records = match self.journal.search(before, &search)? {
                Part::Nothing(to) => {
                    before = to;
                    continue;
                }
                Part::Records(records, to) => {
                    before = to;
                    records
                }
                Part::Unknown => {
                    let records = self.journal.read_back(before, PAGE)?;
                    let Some(last) = records.last() else { break };
                    before = last.seq;
                    records
                }
            };
            for record in records.iter().take_while(|record| record.seq >= first) {
                let record = record.parse()?;
                if query.since.is_some_and(|since| record.at < since) {
                    older += 1;
                    continue;
                }
                older = 0;
                if search::selects(query, &record) {
                    found.push(changed::opened(record, &self.sealer));
                    if found.len() == query.limit {
                        return Ok(found);
                    }
                }
            }
            // The clock may have been behind for a record or two; not for a page of them.
            if older >= PAGE {
                break;
            }
        }
        Ok(found)
    }
}

/// How far the records of a request may stand from the time in its id: others overtake it while it is
/// decided, and while the clock is behind (by half a minute at most) decisions bear the latest time on
/// record.
const BEFORE: Duration = Duration::from_secs(5);
const AFTER: Duration = Duration::from_secs(40);
/// Audit records read at a time, backwards.
const PAGE: usize = 500;
