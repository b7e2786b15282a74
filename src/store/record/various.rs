//! Small rows: counts, delegations, settings, and the keys of indexes.

use serde::{Deserialize, Serialize};

use crate::model::draft::Draft;
use crate::model::enrolment::Delegation;
use crate::model::group::SourceGroup;
use crate::model::user::Waiver;
use crate::store::StoreError;
use crate::store::journal::Head;
use crate::store::record::{BAD_FORM, row, take};
use crate::store::seal::Sealer;
use crate::time::UnixTime;

/// A count of one day.
pub(crate) fn count_row(day: u64, count: u32) -> Result<Vec<u8>, StoreError> {
    row(1, &(day, count))
}

/// Reads a count: the day, and how many.
pub(crate) fn count(bytes: &[u8]) -> Result<(u64, u32), StoreError> {
    take(1, bytes)
}

/// The link before the first audit record that is kept, with the store's mark: anyone who can only write
/// files cannot make one.
pub(crate) fn pruned_row(anchor: Head, sealer: &Sealer) -> Vec<u8> {
    let mut row = anchor.seq.to_be_bytes().to_vec();
    row.extend_from_slice(&anchor.mac);
    let mark = sealer.mark(&[PRUNED, &row]);
    row.extend_from_slice(&mark);
    row
}

/// Reads it.
pub(crate) fn pruned(bytes: &[u8], sealer: &Sealer) -> Result<Head, StoreError> {
    let (row, mark) = bytes.split_last_chunk::<16>().ok_or(BAD_FORM)?;
    let (seq, mac) = row.split_first_chunk::<8>().ok_or(BAD_FORM)?;
    if sealer.mark(&[PRUNED, row]) != *mark {
        return Err(StoreError::Corrupt(
            "the mark of what was pruned is not ours",
        ));
    }
    Ok(Head {
        seq: u64::from_be_bytes(*seq),
        mac: mac.try_into().map_err(|_| BAD_FORM)?,
    })
}

#[derive(Serialize, Deserialize)]
pub(super) struct WaiverV1 {
    reason: String,
    owner: String,
    from: u64,
    until: u64,
}

impl From<&Waiver> for WaiverV1 {
    fn from(waiver: &Waiver) -> Self {
        Self {
            reason: waiver.reason.clone(),
            owner: waiver.owner.clone(),
            from: waiver.from.as_millis(),
            until: waiver.until.as_millis(),
        }
    }
}

impl From<WaiverV1> for Waiver {
    fn from(form: WaiverV1) -> Self {
        Self {
            reason: form.reason,
            owner: form.owner,
            from: UnixTime::from_millis(form.from),
            until: UnixTime::from_millis(form.until),
        }
    }
}

/// The declared outage.
pub(crate) fn waiver_row(waiver: &Waiver) -> Result<Vec<u8>, StoreError> {
    row(1, &WaiverV1::from(waiver))
}

/// Reads a declared outage.
pub(crate) fn waiver(bytes: &[u8]) -> Result<Waiver, StoreError> {
    let form: WaiverV1 = take(1, bytes)?;
    Ok(form.into())
}

/// The key of a group of a source among the settings; of no id: what all of them begin with.
pub(crate) fn source_group_key(source: &str, id: &str) -> Vec<u8> {
    [b"group\0", source.as_bytes(), b"\0", id.as_bytes()].concat()
}

/// The row key of what a source says of its users.
pub(crate) fn source_says_key(source: &str) -> Vec<u8> {
    [b"says\0", source.as_bytes()].concat()
}

/// What a source says of its users, in words.
pub(crate) fn source_says_row(says: &[String]) -> Result<Vec<u8>, StoreError> {
    row(1, &says)
}

/// Reads it.
pub(crate) fn source_says(bytes: &[u8]) -> Result<Vec<String>, StoreError> {
    take(1, bytes)
}

/// A group of a source.
pub(crate) fn source_group_row(group: &SourceGroup) -> Result<Vec<u8>, StoreError> {
    let times = (group.created.as_millis(), group.modified.as_millis());
    row(1, &(&group.id, &group.name, &group.external, times))
}

/// Reads it.
pub(crate) fn source_group(bytes: &[u8]) -> Result<SourceGroup, StoreError> {
    let (id, name, external, (created, modified)) = take(1, bytes)?;
    Ok(SourceGroup {
        id,
        name,
        external,
        created: UnixTime::from_millis(created),
        modified: UnixTime::from_millis(modified),
    })
}

/// The key of the row that had all groups of a source until each had one.
pub(crate) fn all_source_groups_key(source: &str) -> Vec<u8> {
    [b"groups\0", source.as_bytes()].concat()
}

/// Reads that row.
pub(crate) fn all_source_groups(bytes: &[u8]) -> Result<Vec<SourceGroup>, StoreError> {
    let groups: Vec<(String, String, Option<String>)> = take(1, bytes)?;
    let group = |(id, name, external)| SourceGroup {
        id,
        name,
        external,
        created: UnixTime::default(),
        modified: UnixTime::default(),
    };
    Ok(groups.into_iter().map(group).collect())
}

/// The state epoch.
pub(crate) fn epoch_row(epoch: u64) -> Result<Vec<u8>, StoreError> {
    row(1, &epoch)
}

/// Reads it.
pub(crate) fn epoch(bytes: &[u8]) -> Result<u64, StoreError> {
    take(1, bytes)
}

/// A time.
pub(crate) fn time_row(at: UnixTime) -> Result<Vec<u8>, StoreError> {
    row(1, &at.as_millis())
}

/// Reads it.
pub(crate) fn time(bytes: &[u8]) -> Result<UnixTime, StoreError> {
    take(1, bytes).map(UnixTime::from_millis)
}

/// The last backup: when it was made, and the last record in it.
pub(crate) fn backup_row(at: UnixTime, seq: u64) -> Result<Vec<u8>, StoreError> {
    row(1, &(at.as_millis(), seq))
}

/// Reads it.
pub(crate) fn backup(bytes: &[u8]) -> Result<(UnixTime, u64), StoreError> {
    let (at, seq) = take(1, bytes)?;
    Ok((UnixTime::from_millis(at), seq))
}

/// The files that decide and were loaded last: what each is, and its SHA-256.
pub(crate) fn loaded_row(files: &[(String, [u8; 32])]) -> Result<Vec<u8>, StoreError> {
    row(1, &files)
}

/// Reads them.
pub(crate) fn loaded(bytes: &[u8]) -> Result<Vec<(String, [u8; 32])>, StoreError> {
    take(1, bytes)
}

#[derive(Serialize, Deserialize)]
struct DelegationV1 {
    from: String,
    to: String,
    until: u64,
    reason: String,
}

/// A delegation's row.
pub(crate) fn delegation_row(delegation: &Delegation) -> Result<Vec<u8>, StoreError> {
    let form = DelegationV1 {
        from: delegation.from.clone(),
        to: delegation.to.clone(),
        until: delegation.until.as_millis(),
        reason: delegation.reason.clone(),
    };
    row(1, &form)
}

/// Reads a delegation's row.
pub(crate) fn delegation(bytes: &[u8]) -> Result<Delegation, StoreError> {
    let form: DelegationV1 = take(1, bytes)?;
    Ok(Delegation {
        from: form.from,
        to: form.to,
        until: UnixTime::from_millis(form.until),
        reason: form.reason,
    })
}

#[derive(Serialize, Deserialize)]
struct DraftV1 {
    policy: String,
    text: String,
    base: Option<[u8; 32]>,
    author: String,
    at: u64,
    note: String,
    approved: Option<String>,
    revision: u64,
}

/// The key of the draft of a policy among the settings; without a name the beginning of all such keys.
pub(crate) fn draft_key(policy: &str) -> Vec<u8> {
    [b"draft\0", policy.as_bytes()].concat()
}

/// A draft's row.
pub(crate) fn draft_row(draft: &Draft) -> Result<Vec<u8>, StoreError> {
    let draft = draft.clone();
    let form = DraftV1 {
        policy: draft.policy,
        text: draft.text,
        base: draft.base,
        author: draft.author,
        at: draft.at.as_millis(),
        note: draft.note,
        approved: draft.approved,
        revision: draft.revision,
    };
    row(1, &form)
}

/// Reads a draft's row.
pub(crate) fn draft(bytes: &[u8]) -> Result<Draft, StoreError> {
    let form: DraftV1 = take(1, bytes)?;
    Ok(Draft {
        policy: form.policy,
        text: form.text,
        base: form.base,
        author: form.author,
        at: UnixTime::from_millis(form.at),
        note: form.note,
        approved: form.approved,
        revision: form.revision,
    })
}

/// A delegation's row key.
pub(crate) fn delegation_key(from: &str, to: &str) -> Vec<u8> {
    [from.as_bytes(), b"\0", to.as_bytes()].concat()
}

/// What stands for an address in the index: the same for the same address, and nothing to read.
pub(crate) fn address_mark(address: &str, sealer: &Sealer) -> [u8; 16] {
    sealer.mark(&[b"address", address.as_bytes()])
}

/// The key of an address's entry for a token; without a serial the prefix of all of them.
pub(crate) fn address_key(mark: &[u8; 16], serial: &str) -> Vec<u8> {
    [mark.as_slice(), serial.as_bytes()].concat()
}

/// What is left of users who had a name and were removed.
#[derive(Debug, Default)]
pub(crate) struct Former {
    /// The numbers of the keys of their personal data.
    pub(crate) persons: Vec<u64>,
    /// Who removed the last of them, and when.
    pub(crate) removed: Option<(String, UnixTime)>,
}

/// The row of users who were removed.
pub(crate) fn former_row(former: &Former) -> Result<Vec<u8>, StoreError> {
    let removed = former.removed.as_ref();
    let removed = removed.map(|(actor, at)| (actor.as_str(), at.as_millis()));
    row(1, &(&former.persons, removed))
}

/// Reads it.
pub(crate) fn former(bytes: &[u8]) -> Result<Former, StoreError> {
    let (persons, removed): (Vec<u64>, Option<(String, u64)>) = take(1, bytes)?;
    let removed = removed.map(|(actor, at)| (actor, UnixTime::from_millis(at)));
    Ok(Former { persons, removed })
}

/// The key of the entry of a token that expires.
pub(crate) fn expiry_key(expires: UnixTime, serial: &str) -> Vec<u8> {
    [&expires.as_millis().to_be_bytes(), serial.as_bytes()].concat()
}

/// When the token of this entry expires, and its serial.
pub(crate) fn expiry_time(key: &[u8]) -> Result<(UnixTime, &str), StoreError> {
    let (time, serial) = key.split_first_chunk::<8>().ok_or(BAD_FORM)?;
    let serial = std::str::from_utf8(serial).map_err(|_| BAD_FORM)?;
    Ok((UnixTime::from_millis(u64::from_be_bytes(*time)), serial))
}

/// What stands behind the prefix of an index's key.
pub(crate) fn last_part<'k>(key: &'k [u8], prefix: &[u8]) -> Result<&'k str, StoreError> {
    let part = key.strip_prefix(prefix).ok_or(BAD_FORM)?;
    std::str::from_utf8(part).map_err(|_| BAD_FORM)
}

/// What the mark is of.
const PRUNED: &[u8] = b"audit pruned";
