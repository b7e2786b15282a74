//! Secrets sealed by a newer data key, in rows that stay the same otherwise.

use crate::diagnostic::units::count;
use crate::store::record::Table;
use crate::store::transition::changed;
use crate::store::transition::plan::Plan;
use crate::store::transition::rows::{Keys, put, some};
use crate::store::transition::working::Working;
use crate::store::{StoreError, record};

/// A step of the exchange of a data key.
#[derive(Clone, Debug)]
pub struct Reseal(Step);

#[derive(Clone, Debug)]
enum Step {
    Rows(Vec<(Table, Vec<u8>)>),
    Done(u8),
}

impl Reseal {
    /// Seals the secrets of these rows by the newest data key; not found when they are already.
    pub(crate) const fn rows(places: Vec<(Table, Vec<u8>)>) -> Self {
        Self(Step::Rows(places))
    }

    /// Every secret is sealed by the data key with this number.
    pub(crate) const fn done(number: u8) -> Self {
        Self(Step::Done(number))
    }

    pub(super) fn plan(self, rows: &Working<'_>, keys: Keys<'_>) -> Result<Plan, StoreError> {
        match self.0 {
            Step::Rows(places) => again(rows, &places, keys),
            Step::Done(number) => {
                let row = record::backup_row(keys.now, u64::from(number))?;
                let writes = vec![put(Table::Settings, record::DATA_KEY.to_vec(), row)];
                let plan = Plan::new("key_reseal", "data key", writes);
                Ok(plan.detail(format!("every secret is sealed by data key {number}")))
            }
        }
    }
}

fn again(
    rows: &Working<'_>,
    places: &[(Table, Vec<u8>)],
    keys: Keys<'_>,
) -> Result<Plan, StoreError> {
    let mut writes = Vec::with_capacity(places.len());
    for (table, key) in places {
        let again = |row: &[u8]| record::resealed(*table, key, row, keys.sealer, keys.entropy);
        match rows.get(*table, key, again) {
            Ok(Some(Some(row))) => writes.push(put(*table, key.clone(), row)),
            // One that is damaged is named, and keeps the others from nothing.
            Ok(_) | Err(StoreError::Corrupt(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let detail = count(writes.len() as u64, "row");
    let digest = changed::digest(&changed::listed(&writes));
    let plan = Plan::new("key_reseal", "data key", some(writes)?);
    Ok(plan.with_digest(digest).detail(detail))
}
