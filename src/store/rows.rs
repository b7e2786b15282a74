//! Rows as they lie in `main.redb`: authenticated each by itself, and each table as a whole.
//!
//! ```text
//! file    table: key -> value | tag (16)
//!         meta:  "applied" -> seq (8) | MAC of that record (32) | time (8) | sums (16 each) | tag (16)
//! ```
//!
//! HMAC-SHA-256 over `table | key | value`, under a key of the store, gives 32 octets. The first half
//! is the row's tag: a value that was changed, or that stands under another key or in another table,
//! does not have it. The second half never reaches the disk; the sum of these halves over all rows of
//! a table, modulo 2^128, lies in `meta` under a tag of its own. A row that was removed, or an older
//! one that was put back, has a right tag or none, but the sum is another: without the key the halves
//! that would have to be taken away and added are not known. The sums are bound to the record up to
//! which the file is written, so that an older sum cannot be put back with the rows it belongs to.
//!
//! Rows in memory came from the journal, whose chain is authenticated; they carry no tag.

use crate::store::StoreError;
use crate::store::journal::Head;
use crate::store::record::Table;
use crate::store::seal::Sealer;
use crate::time::UnixTime;

/// The sum over the rows of each table, by its number.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Sums([Sum; Table::ALL.len()]);

/// The sum over the rows of one table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sum {
    /// It is this.
    Known(u128),
    /// A damaged row was replaced, whose part in the sum no one knows.
    Lost,
}

impl Default for Sum {
    fn default() -> Self {
        Self::Known(0)
    }
}

impl Sums {
    /// The sum of a table.
    pub(crate) const fn of(&self, table: Table) -> Sum {
        self.0[table as usize]
    }

    /// A row is there.
    pub(crate) const fn add(&mut self, table: Table, part: u128) {
        if let Sum::Known(sum) = &mut self.0[table as usize] {
            *sum = sum.wrapping_add(part);
        }
    }

    /// A row is gone; `None` when its part cannot be known.
    pub(crate) const fn take(&mut self, table: Table, part: Option<u128>) {
        let sum = &mut self.0[table as usize];
        match (sum, part) {
            (Sum::Known(sum), Some(part)) => *sum = sum.wrapping_sub(part),
            (sum, _) => *sum = Sum::Lost,
        }
    }
}

/// What `main.redb` says about itself as a whole.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Whole {
    /// The last record that is in it with all before it.
    pub(crate) applied: Head,
    /// The latest time in any of them.
    pub(crate) high_water: UnixTime,
    pub(crate) sums: Sums,
}

impl Whole {
    /// The stored form.
    pub(crate) fn encode(&self, sealer: &Sealer) -> Vec<u8> {
        let mut value = Vec::with_capacity(64 + 17 * Table::ALL.len());
        value.extend_from_slice(&self.applied.seq.to_be_bytes());
        value.extend_from_slice(&self.applied.mac);
        value.extend_from_slice(&self.high_water.as_millis().to_be_bytes());
        for sum in &self.sums.0 {
            let (known, sum) = match sum {
                Sum::Known(sum) => (1, *sum),
                Sum::Lost => (0, 0),
            };
            value.push(known);
            value.extend_from_slice(&sum.to_be_bytes());
        }
        let (tag, _) = halves(sealer.row(META, APPLIED, &value));
        value.extend_from_slice(&tag.to_be_bytes());
        value
    }

    /// Reads it; refused unless it is as it was written.
    pub(crate) fn decode(stored: &[u8], sealer: &Sealer) -> Result<Self, StoreError> {
        let (value, tag) = stored.split_last_chunk::<TAG>().ok_or(ALTERED_META)?;
        if halves(sealer.row(META, APPLIED, value)).0 != u128::from_be_bytes(*tag) {
            return Err(ALTERED_META);
        }
        let (seq, rest) = value.split_first_chunk::<8>().ok_or(ALTERED_META)?;
        let (mac, rest) = rest.split_first_chunk::<32>().ok_or(ALTERED_META)?;
        let (time, rest) = rest.split_first_chunk::<8>().ok_or(ALTERED_META)?;
        let (stored, rest) = rest.as_chunks::<17>();
        if !rest.is_empty() {
            return Err(ALTERED_META);
        }
        let mut sums = Sums::default();
        for (sum, stored) in sums.0.iter_mut().zip(stored) {
            let [known, octets @ ..] = *stored;
            *sum = match known {
                0 => Sum::Lost,
                _ => Sum::Known(u128::from_be_bytes(octets)),
            };
        }
        Ok(Self {
            applied: Head {
                seq: u64::from_be_bytes(*seq),
                mac: *mac,
            },
            high_water: UnixTime::from_millis(u64::from_be_bytes(*time)),
            sums,
        })
    }
}

/// Writes the stored form of a row to `out`, which is cleared, and returns its part in the sum.
pub(crate) fn seal(
    sealer: &Sealer,
    table: Table,
    key: &[u8],
    value: &[u8],
    out: &mut Vec<u8>,
) -> u128 {
    let (tag, part) = halves(sealer.row(table as u8, key, value));
    out.clear();
    out.extend_from_slice(value);
    out.extend_from_slice(&tag.to_be_bytes());
    part
}

/// The value of a stored row and its part in the sum; `None` when it is not as it was written.
pub(crate) fn open<'v>(
    sealer: &Sealer,
    table: Table,
    key: &[u8],
    stored: &'v [u8],
) -> Option<(&'v [u8], u128)> {
    let (value, found) = stored.split_last_chunk::<TAG>()?;
    let (tag, part) = halves(sealer.row(table as u8, key, value));
    // Compared as one number, in constant time.
    (tag ^ u128::from_be_bytes(*found) == 0).then_some((value, part))
}

/// The tag of a row with this value, and its part in the sum.
pub(crate) fn expected(sealer: &Sealer, table: Table, key: &[u8], value: &[u8]) -> (u128, u128) {
    halves(sealer.row(table as u8, key, value))
}

/// The tag of a stored row, right or wrong.
pub(crate) fn tag(stored: &[u8]) -> Option<u128> {
    stored
        .split_last_chunk::<TAG>()
        .map(|(_, tag)| u128::from_be_bytes(*tag))
}

fn halves(mac: [u8; 32]) -> (u128, u128) {
    let [tag, part] = mac.as_chunks::<16>().0 else {
        return (0, 0);
    };
    (u128::from_be_bytes(*tag), u128::from_be_bytes(*part))
}

/// A row's key as people read it; what is no text becomes hexadecimal.
pub(crate) fn shown(key: &[u8]) -> String {
    let plain = |c: char| c == '\0' || !c.is_control();
    match std::str::from_utf8(key) {
        Ok(text) if text.chars().all(plain) => text.replace('\0', "/"),
        _ => data_encoding::HEXLOWER.encode(key),
    }
}

/// Key of the record of the whole in the table `meta`.
pub(crate) const APPLIED: &[u8] = b"applied";
/// The number that stands for the table `meta`; no table of rows has it.
const META: u8 = u8::MAX;
const TAG: usize = 16;
const ALTERED_META: StoreError =
    StoreError::Corrupt("what main.redb says about itself is not as it was written");
