//! What is set for the whole installation: outage, delegations, files in force, what was told, counts
//! that are forgotten, and where the audit begins.

use data_encoding::HEXLOWER;

use crate::diagnostic::units::count;
use crate::model::audit::{Changed, FieldChange};
use crate::model::enrolment::Delegation;
use crate::model::group::SourceGroup;
use crate::model::issue::day;
use crate::model::source::SourceState;
use crate::model::user::Waiver;
use crate::store::journal::Head;
use crate::store::record::{RowWrite, Table};
use crate::store::transition::plan::Plan;
use crate::store::transition::rows::{Keys, gone, put, some};
use crate::store::transition::users::waiver_detail;
use crate::store::transition::working::Working;
use crate::store::{StoreError, record};
use crate::time::UnixTime;

/// Declares an outage, or ends it.
pub(super) fn outage(rows: &Working<'_>, outage: Option<&Waiver>) -> Result<Plan, StoreError> {
    let key = record::OUTAGE.to_vec();
    let (action, write) = match outage {
        Some(outage) => {
            let row = record::waiver_row(outage)?;
            ("outage_declare", put(Table::Settings, key, row))
        }
        None => {
            rows.require(Table::Settings, &key)?;
            ("outage_end", gone(Table::Settings, key))
        }
    };
    let plan = Plan::new(action, "outage", vec![write]);
    Ok(plan.detail(outage.map(waiver_detail)))
}

/// A group of a source as it shall be.
#[derive(Clone, Debug)]
pub struct GroupAct {
    /// The source.
    pub source: String,
    /// The identity of the group.
    pub id: String,
    /// The group; none: there is none any more.
    pub group: Option<SourceGroup>,
}

impl GroupAct {
    pub(super) fn plan(&self, rows: &Working<'_>) -> Result<Plan, StoreError> {
        let key = record::source_group_key(&self.source, &self.id);
        let mut writes = apart(rows, &self.source)?;
        writes.retain(|other| other.key != key);
        let (action, name) = if let Some(group) = &self.group {
            writes.push(source_group_write(&self.source, group)?);
            ("source_group_set", Some(group.name.clone()))
        } else {
            let group = rows.get(Table::Settings, &key, record::source_group)?;
            writes.push(gone(Table::Settings, key));
            ("source_group_remove", group.map(|group| group.name))
        };
        Ok(Plan::new(action, &self.source, writes).detail(name))
    }
}

/// Users were made as their source says.
#[derive(Clone, Debug)]
pub struct Synced {
    /// The source.
    pub source: String,
    /// What it says of them, in words.
    pub says: Vec<String>,
    /// What was changed, for the audit.
    pub detail: String,
}

impl Synced {
    pub(super) fn plan(self) -> Result<Plan, StoreError> {
        let key = record::source_says_key(&self.source);
        let row = record::source_says_row(&self.says)?;
        let plan = Plan::new(
            "source_sync",
            &self.source,
            vec![put(Table::Settings, key, row)],
        );
        Ok(plan.detail(self.detail))
    }
}

fn source_group_write(source: &str, group: &SourceGroup) -> Result<RowWrite, StoreError> {
    let key = record::source_group_key(source, &group.id);
    Ok(put(Table::Settings, key, record::source_group_row(group)?))
}

/// Each group of a source gets a row of its own where one row still has them all.
fn apart(rows: &Working<'_>, source: &str) -> Result<Vec<RowWrite>, StoreError> {
    let key = record::all_source_groups_key(source);
    let groups = rows.get(Table::Settings, &key, record::all_source_groups)?;
    let Some(groups) = groups else {
        return Ok(Vec::new());
    };
    let writes = groups.iter().map(|group| source_group_write(source, group));
    let mut writes: Vec<RowWrite> = writes.collect::<Result<_, _>>()?;
    writes.push(gone(Table::Settings, key));
    Ok(writes)
}

/// Lends a right to approve.
pub(super) fn delegate(lent: &Delegation) -> Result<Plan, StoreError> {
    let Delegation {
        from,
        to,
        until,
        reason,
    } = lent;
    let key = record::delegation_key(from, to);
    let writes = vec![put(Table::Delegations, key, record::delegation_row(lent)?)];
    let plan = Plan::new("approval_lend", &format!("{from} to {to}"), writes);
    Ok(plan.detail(format!("until {until}: {reason}")))
}

/// Takes a right to approve back.
pub(super) fn undelegate(rows: &Working<'_>, from: &str, to: &str) -> Result<Plan, StoreError> {
    let key = record::delegation_key(from, to);
    rows.require(Table::Delegations, &key)?;
    let writes = vec![gone(Table::Delegations, key)];
    let target = format!("{from} to {to}");
    Ok(Plan::new("approval_take_back", &target, writes))
}

/// The notices about records up to this one are done.
pub(super) fn notified(seq: u64, detail: String) -> Plan {
    let row = seq.to_be_bytes().to_vec();
    let writes = vec![put(Table::Settings, record::NOTIFIED.to_vec(), row)];
    Plan::new("notified", &seq, writes).detail(detail)
}

/// A backup was made, which holds all up to this record. One that is older than the last is on record, and not the last.
pub(super) fn backed_up(
    rows: &Working<'_>,
    (at, seq): (UnixTime, u64),
    detail: String,
) -> Result<Plan, StoreError> {
    let last = rows.get(Table::Settings, record::BACKUP, record::backup)?;
    let mut writes = Vec::new();
    if last.is_none_or(|(_, last)| seq > last) {
        let row = record::backup_row(at, seq)?;
        writes.push(put(Table::Settings, record::BACKUP.to_vec(), row));
    }
    let plan = Plan::new("store_backup", &format!("record {seq}"), writes);
    Ok(plan.detail(detail))
}

/// The master key was exchanged.
pub(super) fn master_exchanged(at: UnixTime, place: &str) -> Result<Plan, StoreError> {
    let row = record::time_row(at)?;
    let writes = vec![put(Table::Settings, record::MASTER.to_vec(), row)];
    Ok(Plan::new("key_rotate", "master key", writes).detail(place.to_owned()))
}

/// Sources and counts of messages that are long past. At most so many at a time, and nothing to do is no
/// entry.
pub(super) fn forget_sources(
    rows: &Working<'_>,
    before: UnixTime,
    now: UnixTime,
) -> Result<Plan, StoreError> {
    let mut writes = Vec::new();
    for key in rows.keys(Table::Sources, b"")? {
        let state = rows.get(Table::Sources, &key, record::source_state)?;
        let quiet = |state: SourceState| state.last < before && state.throttle.check(now).is_ok();
        if state.is_some_and(quiet) {
            writes.push(gone(Table::Sources, key));
        }
        if writes.len() == FORGOTTEN {
            break;
        }
    }
    let today = day(now);
    for key in rows.keys(Table::Quotas, b"")? {
        let counted = rows.get(Table::Quotas, &key, record::count)?;
        if writes.len() < FORGOTTEN && counted.is_some_and(|(of, _)| of < today) {
            writes.push(gone(Table::Quotas, key));
        }
    }
    let detail = count(writes.len() as u64, "row");
    let plan = Plan::new("sources_forget", &before.rfc3339(), some(writes)?);
    Ok(plan.detail(detail))
}

/// Audit records that can be pruned: whole segments, older than a time or beyond a size.
#[derive(Clone, Debug)]
pub struct Prunable {
    /// That time, or that size.
    pub(crate) until: String,
    /// The last record that goes.
    pub(crate) anchor: Head,
}

impl Prunable {
    /// The last record that goes.
    pub const fn last(&self) -> u64 {
        self.anchor.seq
    }
}

/// The row that says with which record the trail begins from now on.
pub(super) fn prune(
    rows: &Working<'_>,
    prunable: &Prunable,
    keys: Keys<'_>,
) -> Result<Plan, StoreError> {
    let Prunable { until, anchor } = prunable;
    let anchor = *anchor;
    let pruned = |row: &[u8]| record::pruned(row, keys.sealer);
    let known = rows.get(Table::Settings, record::PRUNED, pruned)?;
    if known.is_some_and(|known| known.seq >= anchor.seq) {
        // Another prune was quicker.
        return Err(StoreError::NotFound);
    }
    let row = record::pruned_row(anchor, keys.sealer);
    let writes = vec![put(Table::Settings, record::PRUNED.to_vec(), row)];
    let plan = Plan::new("audit_prune", until, writes);
    Ok(plan.detail(format!("records up to {}", anchor.seq)))
}

/// A file by what it is, `policy vpn`, and its SHA-256.
pub type LoadedFile = (String, [u8; 32]);

/// Files that decide are in force: policies, texts, tables.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What was done, a word.
    pub what: &'static str,
    /// All of them.
    pub files: Vec<LoadedFile>,
    /// What differs within them.
    pub changes: Vec<FieldChange>,
    /// The parts that were refused, and why.
    pub refused: Option<String>,
    /// Whether it was asked for: then it is on record although nothing differs; not found otherwise.
    pub asked: bool,
}

/// The row that names the files in force, and how they differ from those before.
pub(super) fn loaded(rows: &Working<'_>, loaded: Loaded) -> Result<Plan, StoreError> {
    let before = rows.get(Table::Settings, record::LOADED, record::loaded)?;
    let mut changes = differences(&before.unwrap_or_default(), &loaded.files);
    if changes.is_empty() && !loaded.asked {
        return Err(StoreError::NotFound);
    }
    let mut writes = Vec::new();
    if !changes.is_empty() {
        let row = record::loaded_row(&loaded.files)?;
        writes.push(put(Table::Settings, record::LOADED.to_vec(), row));
    }
    changes.extend(loaded.changes);
    let detail = match loaded.refused {
        Some(refused) => Some(format!("refused, what was in force stays: {refused}")),
        None => changes.is_empty().then(|| "no file has changed".to_owned()),
    };
    let plan = Plan::new(loaded.what, "files", writes);
    Ok(plan.detail(detail).others(changes))
}

fn differences(before: &[LoadedFile], after: &[LoadedFile]) -> Vec<FieldChange> {
    let of = |files: &[LoadedFile], name: &str| {
        let found = files.iter().find(|(file, _)| file == name);
        found.map(|(_, hash)| HEXLOWER.encode(hash))
    };
    let gone = before.iter().filter(|(name, _)| of(after, name).is_none());
    let names = after.iter().chain(gone).map(|(name, _)| name);
    names
        .map(|name| (name, of(before, name), of(after, name)))
        .filter(|(_, before, after)| before != after)
        .map(|(name, before, after)| FieldChange {
            record: Some(name.clone()),
            field: "sha256".to_owned(),
            change: Changed::Text { before, after },
        })
        .collect()
}

/// Most sources forgotten by one change.
const FORGOTTEN: usize = 10_000;
