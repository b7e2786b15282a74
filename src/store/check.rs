//! Checks of `main.redb`: every row by itself, each table as a whole, and all of it against the journal.
//!
//! The first two need the file alone. The journal is read when they find something, or when someone
//! asks: it says which row it is, and what stood there. Where it was pruned or is damaged, a row that is missing
//! or an older one that was put back is known to be there by the table's sum, not by name.

use std::collections::{HashMap, HashSet};

use crate::store::catch_up::is_of_the_end;
use crate::store::damage::{ALTERED, guarded, is_of_engine};
use crate::store::error::disk;
use crate::store::fold::Fold;
use crate::store::journal::{Head, Journal};
use crate::store::main_file::{FileTable, Snapshot, read_whole};
use crate::store::preload::Preload;
use crate::store::record::{self, Entry, RowWrite, Table};
use crate::store::rows::{Sum, Whole};
use crate::store::seal::Sealer;
use crate::store::wanted::{Stop, stopped};
use crate::store::{ChainFault, ChainReport, StoreError, StoreReport, personal, rows};

/// What a check found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Rows that were read.
    pub(crate) rows: u64,
    /// Those that are not as they were written.
    pub(crate) damaged: Vec<Damaged>,
    /// Tables that are not whole, without a row to name.
    pub(crate) tables: Vec<(Table, &'static str)>,
    /// Tables of which no one can tell: a damaged row's part in the sum is not known.
    pub(crate) unproven: Vec<Table>,
}

/// A damaged row.
#[derive(Debug)]
pub(crate) struct Damaged {
    pub(crate) table: Table,
    pub(crate) key: Vec<u8>,
    pub(crate) what: &'static str,
}

impl Findings {
    /// Enters what was found, except where memory knows better.
    pub(crate) fn enter(&self, fold: &Fold) {
        for row in &self.damaged {
            if !fold.reader().remembers(row.table, &row.key) {
                fold.damage().row(row.table, &row.key, row.what);
            }
        }
        for (table, what) in &self.tables {
            fold.damage().table(*table, what);
        }
    }
}

/// Compares the newest records with the file before the first decision. A record that cannot be read for it is
/// noted: it is damage, although `main.redb` holds what it changed.
pub(crate) fn newest(fold: &Fold, journal: &Journal) {
    match guarded(|| recent(fold, journal)) {
        Ok(damaged) => journal.note_damage(damaged),
        Err(error) => {
            tracing::error!(%error, "the newest records could not be compared with main.redb");
        }
    }
}

/// Compares what the newest records wrote with the rows of the file, and names those that differ: what
/// was used a moment before the daemon stopped must not be good again. Bounded by rows, so that it can be
/// done before the first decision: a record of an import holds thousands of them.
///
/// Returns the newest record that is damaged, if it came to one. What is before it is not compared: a row may
/// have been changed by what is missing.
fn recent(fold: &Fold, journal: &Journal) -> Result<Option<ChainFault>, StoreError> {
    let mut newest: HashMap<(Table, Vec<u8>), Option<Vec<u8>>> = HashMap::new();
    let mut before = fold.applied().saturating_add(1);
    let mut damaged = None;
    while damaged.is_none() && newest.len() < RECENT {
        let records = match journal.read_back(before, BACK) {
            Err(StoreError::Corrupt(what) | StoreError::File { what, .. }) => {
                let seq = before.saturating_sub(1);
                damaged = Some(ChainFault { seq, what });
                break;
            }
            records => records?,
        };
        let Some(last) = records.last() else { break };
        before = last.seq;
        for record in records {
            let entry = match Entry::decode(&record.body) {
                Err(StoreError::Corrupt(what)) => {
                    let seq = record.seq;
                    damaged = Some(ChainFault { seq, what });
                    break;
                }
                entry => entry?,
            };
            for write in entry.writes.into_iter().rev() {
                newest
                    .entry((write.table, write.key))
                    .or_insert(write.value);
            }
            if newest.len() >= RECENT {
                break;
            }
        }
    }
    let reader = fold.reader();
    for ((table, key), value) in newest {
        // What memory knows better is not read from the file. What cannot be read was named by that.
        let found = match reader.get(table, &key, |row| Ok(row.to_vec())) {
            Ok(found) if !reader.remembers(table, &key) => found,
            _ => continue,
        };
        if found != value {
            let what = match (found, value) {
                (None, _) => MISSING,
                (_, None) => PUT_BACK,
                _ => OLDER,
            };
            fold.damage().row(table, &key, what);
        }
    }
    Ok(damaged)
}

/// Walks the chain from the first record that is kept to the last.
pub(crate) fn chain(
    fold: &Fold,
    journal: &Journal,
    sealer: &Sealer,
    progress: &dyn Fn(u64) -> Result<(), StoreError>,
) -> Result<ChainReport, StoreError> {
    let mut start = match pruned(fold, sealer) {
        Err(StoreError::Corrupt(what)) => {
            let fault = Some(ChainFault { seq: 1, what });
            let (first, good) = (1, 0);
            return Ok(ChainReport { first, good, fault });
        }
        start => start?.unwrap_or_default(),
    };
    loop {
        let report = journal.verify(start, fold.head(), progress)?;
        let present = pruned(fold, sealer)?.unwrap_or_default();
        if report.fault.is_none() || present == start {
            return Ok(report);
        }
        // Pruned while it was read: what seems missing went by that.
        start = present;
    }
}

/// The link before the first audit record that is kept, if any were pruned.
pub(crate) fn pruned(fold: &Fold, sealer: &Sealer) -> Result<Option<Head>, StoreError> {
    let read = |row: &[u8]| record::pruned(row, sealer);
    fold.reader().get(Table::Settings, record::PRUNED, read)
}

/// Checks the whole file. The journal is read for tables that are not as they should be, or for all
/// when `thorough`; where it is damaged, the file by itself.
pub(crate) fn whole(
    fold: &Fold,
    journal: &Journal,
    sealer: &Sealer,
    thorough: bool,
    stop: Stop<'_>,
) -> Result<Findings, StoreError> {
    fold.reading(|| {
        let mut suspects = Table::ALL.map(|_| thorough);
        let mut findings = Findings::default();
        if !thorough {
            let (snapshot, whole) = look(fold, sealer)?;
            let mut sound = true;
            for table in Table::ALL {
                let mut preload = Preload::of(fold, table, whole.applied.seq);
                let file = snapshot.table(table);
                let survey = guarded(|| {
                    survey((file, table), sealer, stop, |key, row| {
                        preload.row(key, row);
                    })
                });
                let Some(survey) = readable(table, survey, &mut findings)? else {
                    continue;
                };
                findings.rows += survey.rows;
                let suspect = survey.bad || whole.sums.of(table) != Sum::Known(survey.sum);
                preload.finish(!suspect);
                suspects[table as usize] = suspect;
                sound &= !suspect;
            }
            if sound {
                return Ok(findings);
            }
        }
        findings.rows = 0;
        match compare(fold, journal, sealer, &suspects, stop, &mut findings) {
            Ok(()) => Ok(findings),
            // The journal does not say what stands in the file.
            Err(StoreError::Corrupt(_) | StoreError::File { .. }) => alone(fold, sealer, stop),
            Err(error) => Err(error),
        }
    })
}

/// Checks the file by itself: each row by its tag, each table by its sum.
fn alone(fold: &Fold, sealer: &Sealer, stop: Stop<'_>) -> Result<Findings, StoreError> {
    let mut findings = Findings::default();
    let (snapshot, whole) = look(fold, sealer)?;
    for table in Table::ALL {
        let file = snapshot.table(table);
        let mut altered = Vec::new();
        let survey = guarded(|| {
            survey((file, table), sealer, stop, |key, row| {
                if row.is_none() {
                    altered.push(key.to_vec());
                }
            })
        });
        let Some(survey) = readable(table, survey, &mut findings)? else {
            continue;
        };
        findings.rows += survey.rows;
        findings
            .damaged
            .extend(altered.into_iter().map(|key| Damaged {
                table,
                key,
                what: ALTERED,
            }));
        match whole.sums.of(table) {
            Sum::Known(sum) if !survey.bad && sum != survey.sum => {
                findings.tables.push((table, UNTOLD));
            }
            Sum::Known(_) if !survey.bad => {}
            _ => findings.unproven.push(table),
        }
    }
    Ok(findings)
}

/// Compares everything with everything. Records of a chain that is broken are not believed: then the file is checked
/// by itself.
pub(crate) fn report(
    fold: &Fold,
    journal: &Journal,
    sealer: &Sealer,
    chain: ChainReport,
    stop: Stop<'_>,
) -> Result<StoreReport, StoreError> {
    let broken = chain.fault.as_ref();
    let findings = if broken.is_some_and(|fault| !is_of_the_end(fault.what)) {
        fold.reading(|| alone(fold, sealer, stop))
    } else {
        whole(fold, journal, sealer, true, stop)
    };
    let findings = match findings {
        Ok(findings) => findings,
        // Named by what is known to be damaged.
        Err(error) if is_of_engine(&error) => Findings::default(),
        Err(error) => return Err(error),
    };
    findings.enter(fold);
    fold.damage().personal(personal::check(fold, sealer, stop)?);
    let unproven = findings.unproven.iter().map(|table| table.as_str());
    Ok(StoreReport {
        chain,
        rows: findings.rows,
        damaged: fold.damage().count(),
        damage: fold.damage().list(NAMED),
        unproven: unproven.collect(),
    })
}

/// The file at one moment, and what it says of itself then.
fn look(fold: &Fold, sealer: &Sealer) -> Result<(Snapshot, Whole), StoreError> {
    let file = fold.file();
    let file = file.as_ref().ok_or_else(|| {
        StoreError::Unavailable("main.redb is closed after a failed write".to_owned())
    })?;
    Ok((Snapshot::of(&file.db)?, read_whole(&file.db, sealer)?))
}

/// What was read of a table; a table that cannot be read to its end is named. No one can say then that
/// a row is not in it.
fn readable<T>(
    table: Table,
    read: Result<T, StoreError>,
    findings: &mut Findings,
) -> Result<Option<T>, StoreError> {
    match read {
        Err(StoreError::Corrupt(_) | StoreError::Disk(_)) => {
            findings.tables.push((table, UNREADABLE));
            Ok(None)
        }
        read => read.map(Some),
    }
}

/// The rows of a table by themselves.
#[derive(Default)]
pub(crate) struct Survey {
    rows: u64,
    pub(crate) sum: u128,
    /// Whether one is not as it was written.
    pub(crate) bad: bool,
}

/// Looks through a table; `each` is given the keys and values in order, without a value where it is not as it was
/// written.
pub(crate) fn survey(
    (file, table): (&FileTable, Table),
    sealer: &Sealer,
    stop: Stop<'_>,
    mut each: impl FnMut(&[u8], Option<&[u8]>),
) -> Result<Survey, StoreError> {
    let mut survey = Survey::default();
    each_row(file, stop, |key, stored| {
        survey.rows += 1;
        let sound = rows::open(sealer, table, key, stored);
        match sound {
            Some((_, part)) => survey.sum = survey.sum.wrapping_add(part),
            None => survey.bad = true,
        }
        each(key, sound.map(|(value, _)| value));
    })?;
    Ok(survey)
}

/// Rows in order. A tree that leads back into itself ends it.
pub(crate) fn each_row(
    file: &FileTable,
    stop: Stop<'_>,
    mut each: impl FnMut(&[u8], &[u8]),
) -> Result<(), StoreError> {
    let mut last: Option<Vec<u8>> = None;
    let rows = file.range::<&[u8]>(..).map_err(disk)?;
    for (number, row) in rows.enumerate() {
        let (key, stored) = row.map_err(disk)?;
        let key = key.value();
        if last.as_deref().is_some_and(|last| last >= key) {
            return Err(DISORDER);
        }
        each(key, stored.value());
        let last = last.get_or_insert_default();
        last.clear();
        last.extend_from_slice(key);
        if number.is_multiple_of(PAUSE) && stop() {
            return Err(stopped());
        }
    }
    Ok(())
}

/// What the journal says about a row.
struct Written {
    table: Table,
    /// Its tag and its part in the sum by the newest record that the file holds; `Some(None)`: removed.
    applied: Option<Option<(u128, u128)>>,
    /// Tags by records after that: a checkpoint may have ended in the middle.
    later: Vec<Option<u128>>,
}

impl Written {
    /// Whether the file may hold a row with this tag, or none.
    fn allows(&self, tag: Option<u128>) -> bool {
        let applied = match self.applied {
            Some(row) => row.map(|(tag, _)| tag) == tag,
            None => tag.is_none(),
        };
        applied || self.later.contains(&tag)
    }

    /// What the row adds to its table's sum.
    fn part(&self) -> u128 {
        self.applied.flatten().map_or(0, |(_, part)| part)
    }
}

/// The newest writes of some tables, by a short name of table and key.
struct Writes<'a> {
    sealer: &'a Sealer,
    suspects: &'a [bool; Table::ALL.len()],
    rows: HashMap<u128, Written>,
    /// Whether nothing was pruned: what is not in it was never written.
    complete: bool,
}

impl Writes<'_> {
    fn name(&self, table: Table, key: &[u8]) -> u128 {
        rows::expected(self.sealer, table, key, b"").1
    }

    fn take(&mut self, write: &RowWrite, applied: bool) {
        let RowWrite { table, key, value } = write;
        if !self.suspects[*table as usize] {
            return;
        }
        let row = value.as_deref();
        let row = row.map(|value| rows::expected(self.sealer, *table, key, value));
        let name = self.name(*table, key);
        let written = self.rows.entry(name).or_insert(Written {
            table: *table,
            applied: None,
            later: Vec::new(),
        });
        if applied {
            written.applied = Some(row);
        } else {
            written.later.push(row.map(|(tag, _)| tag));
        }
    }
}

fn compare(
    fold: &Fold,
    journal: &Journal,
    sealer: &Sealer,
    suspects: &[bool; Table::ALL.len()],
    stop: Stop<'_>,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let mut newest = Writes {
        sealer,
        suspects,
        rows: HashMap::new(),
        complete: journal.first() == 1,
    };
    // The long part of the journal is read before the file is looked at: what is looked at cannot be
    // written over.
    let begun = fold.applied();
    read_log(journal, journal.first(), begun, stop, |_, write| {
        newest.take(&write, true);
    })?;
    let (snapshot, whole) = look(fold, sealer)?;
    let end = fold.head().seq;
    read_log(journal, begun + 1, end, stop, |seq, write| {
        newest.take(&write, seq <= whole.applied.seq);
    })?;
    let mut missing = HashSet::new();
    for table in Table::ALL {
        if suspects[table as usize] {
            let (file, sum) = (snapshot.table(table), whole.sums.of(table));
            let compared =
                guarded(|| compare_table(file, (table, sum), &mut newest, stop, findings));
            missing.extend(readable(table, compared, findings)?.unwrap_or_default());
        }
    }
    drop(snapshot);
    if missing.is_empty() {
        return Ok(());
    }
    // Only the journal has their names.
    read_log(journal, journal.first(), end, stop, |_, write| {
        let RowWrite { table, key, .. } = write;
        if missing.remove(&newest.name(table, &key)) {
            findings.damaged.push(Damaged {
                table,
                key,
                what: MISSING,
            });
        }
    })
}

/// Compares the rows of a table; returns the short names of those that are missing.
fn compare_table(
    file: &FileTable,
    (table, sum): (Table, Sum),
    newest: &mut Writes<'_>,
    stop: Stop<'_>,
    findings: &mut Findings,
) -> Result<Vec<u128>, StoreError> {
    // The sum as it should be, as far as that can be told.
    let (mut right, mut told) = (0_u128, true);
    let sealer = newest.sealer;
    each_row(file, stop, |key, stored| {
        findings.rows += 1;
        let sound = rows::open(sealer, table, key, stored);
        let name = newest.name(table, key);
        let written = newest.rows.remove(&name);
        let what = match (sound, &written) {
            (Some((_, part)), None) => {
                right = right.wrapping_add(part);
                return;
            }
            (Some((_, part)), Some(written)) if written.allows(rows::tag(stored)) => {
                right = right.wrapping_add(part);
                return;
            }
            (Some(_), Some(written)) => match written.applied {
                Some(None) => PUT_BACK,
                _ => OLDER,
            },
            (None, _) => ALTERED,
        };
        let kept = written.as_ref().is_some_and(|row| row.applied.is_some());
        right = right.wrapping_add(written.as_ref().map_or(0, Written::part));
        told &= kept;
        findings.damaged.push(Damaged {
            table,
            key: key.to_vec(),
            what,
        });
    })?;
    let mut missing = Vec::new();
    for (name, written) in &newest.rows {
        if written.table == table && !written.allows(None) {
            right = right.wrapping_add(written.part());
            missing.push(*name);
        }
    }
    if !newest.complete {
        match sum {
            Sum::Known(sum) if told && sum != right => findings.tables.push((table, NOT_WHOLE)),
            Sum::Known(_) if told => {}
            _ => findings.unproven.push(table),
        }
    }
    Ok(missing)
}

/// The writes of the records from `first` to `last`, in order.
fn read_log(
    journal: &Journal,
    first: u64,
    last: u64,
    stop: Stop<'_>,
    mut each: impl FnMut(u64, RowWrite),
) -> Result<(), StoreError> {
    let mut next = first;
    while next <= last {
        if stop() {
            return Err(stopped());
        }
        let records = journal.read(next, SLICE)?;
        let Some(end) = records.last().map(|record| record.seq) else {
            return Ok(());
        };
        for record in records {
            if record.seq > last {
                return Ok(());
            }
            for write in Entry::decode(&record.body)?.writes {
                each(record.seq, write);
            }
        }
        // Every turn reads something further on, whatever the numbers say.
        next = end.max(next).saturating_add(1);
    }
    Ok(())
}

/// Rows of the newest records that are compared before the first decision.
const RECENT: usize = 20_000;
/// Records read back at a time.
const BACK: usize = 128;
/// Records read at a time.
const SLICE: usize = 1000;
/// Damaged rows that a report names.
const NAMED: usize = 1000;
/// Rows between two looks at whether to go on.
const PAUSE: usize = 1024;
const MISSING: &str = "the row is missing; the journal holds it";
const OLDER: &str = "an older row was put back; the journal holds the newer one";
const PUT_BACK: &str = "the row was removed by a change, and was put back";
const NOT_WHOLE: &str =
    "rows are missing, or older ones were put back, and the journal of that time was pruned";
const UNTOLD: &str =
    "rows are missing, or older ones were put back, and the damaged journal does not say which";
const UNREADABLE: &str = "a page of the table cannot be read";
const DISORDER: StoreError = StoreError::Corrupt("the rows of a table are out of order");
