//! What records behind the last one that is restored say about used codes.
//!
//! Tokens that the restored store has are known by their serial. Others, which were made later or are gone, are known
//! by their key: it may be enrolled again, or be that of a token which the restored store has under another serial.

use std::collections::HashMap;

use crate::model::id::Serial;
use crate::model::kind::Kind;
use crate::model::token::{Moving, TokenState};
use crate::otp::Period;
use crate::store::main_file::Snapshot;
use crate::store::record::{Entry, RowWrite, Table, TokenRow};
use crate::store::seal::Sealer;
use crate::store::transition::rows::put;
use crate::store::{Retired, StoreError, record};

/// Used codes, as those records have them.
#[derive(Default)]
pub(super) struct Later {
    /// The last step of tokens, by their row key.
    used: HashMap<Vec<u8>, u64>,
    /// The keys of tokens, by the row key of their state.
    keys: HashMap<Vec<u8>, Key>,
    /// What is used up of keys, by the row key of a token that is gone.
    gone: HashMap<Vec<u8>, Retired>,
    /// What tokens used of keys, by the row key under which the token with the key is found.
    seeds: HashMap<Vec<u8>, Retired>,
}

/// The key of a token.
struct Key {
    /// The row key under which what is used up of it is kept.
    retired: Vec<u8>,
    /// The row key under which the token with it is found.
    seed: Vec<u8>,
    serial: Serial,
    period: Option<Period>,
}

impl Later {
    /// Tokens whose used codes are known.
    pub(super) fn tokens(&self) -> u64 {
        self.used.len() as u64
    }

    /// Notes what an entry says.
    pub(super) fn note(&mut self, entry: Entry, sealer: &Sealer) -> Result<(), StoreError> {
        for RowWrite { table, key, value } in &entry.writes {
            if let (Table::Tokens, Some(row)) = (table, value) {
                self.key(key, row, sealer)?;
            }
        }
        for RowWrite { table, key, value } in entry.writes {
            match (table, value) {
                (Table::TokenStates, Some(row)) => {
                    self.used(key, record::token_state(&row)?.moving);
                }
                (Table::Retired, Some(row)) => add(&mut self.gone, key, record::retired(&row)?),
                _ => {}
            }
        }
        Ok(())
    }

    fn key(&mut self, key: &[u8], row: &[u8], sealer: &Sealer) -> Result<(), StoreError> {
        if record::link_target(row).is_some() {
            return Ok(());
        }
        let kind: Result<Kind, ()> = TokenRow::parse(row)?.kind().parse();
        if !kind.is_ok_and(Kind::is_keyed) {
            return Ok(());
        }
        // Sealed by a data key that is not kept any more, it says nothing: its key is closed like any that comes from
        // outside.
        let Ok(token) = record::token(row, sealer) else {
            return Ok(());
        };
        let serial = key.rsplit(|octet| *octet == 0).next().unwrap_or_default();
        let normal = token.normal_key();
        let key = Key {
            retired: record::retired_key(&normal, sealer),
            seed: record::seed_key(&normal, sealer),
            period: token.counts_time(),
            serial: token.serial,
        };
        self.keys.insert(serial.to_vec(), key);
        Ok(())
    }

    fn used(&mut self, serial: Vec<u8>, moving: Moving) {
        if let Some(key) = self.keys.get(&serial) {
            let retired = Retired {
                serial: key.serial.clone(),
                period: key.period,
                moving,
            };
            add(&mut self.seeds, key.seed.clone(), retired.clone());
            add(&mut self.gone, key.retired.clone(), retired);
        }
        if let Some(last) = moving.last {
            let known = self.used.entry(serial).or_insert(last);
            *known = last.max(*known);
        }
    }

    /// The rows of what was used, beside what the restored store knows of it.
    pub(super) fn rows(
        &self,
        snapshot: &Snapshot,
        sealer: &Sealer,
    ) -> Result<Vec<RowWrite>, StoreError> {
        let mut writes = Vec::new();
        for (serial, state) in self.states(snapshot, sealer)? {
            let row = record::token_state_row(&state)?;
            writes.push(put(Table::TokenStates, serial, row));
        }
        for (key, retired) in &self.gone {
            let known = snapshot.get(sealer, Table::Retired, key)?;
            let known = known.map(|row| record::retired(&row)).transpose()?;
            let retired = match known {
                // A key that had another use is refused; which one stays.
                Some(known) if known.period != retired.period => continue,
                Some(known) => with(known, retired),
                None => retired.clone(),
            };
            let row = record::retired_row(&retired)?;
            writes.push(put(Table::Retired, key.clone(), row));
        }
        Ok(writes)
    }

    /// Tokens of the restored store, by their serial, behind what was used of them and of their keys.
    fn states(
        &self,
        snapshot: &Snapshot,
        sealer: &Sealer,
    ) -> Result<HashMap<Vec<u8>, TokenState>, StoreError> {
        let mut states = HashMap::new();
        for (serial, last) in &self.used {
            if let Some(mut state) = state_of(snapshot, sealer, serial)? {
                state.moving.last = state.moving.last.max(Some(*last));
                states.insert(serial.clone(), state);
            }
        }
        for (seed, used) in &self.seeds {
            let Some(serial) = holder(snapshot, sealer, seed, used.period)? else {
                continue;
            };
            let known = match states.remove(&serial) {
                None => state_of(snapshot, sealer, &serial)?,
                known => known,
            };
            if let Some(mut state) = known {
                state.moving = used.used_up(state.moving);
                states.insert(serial, state);
            }
        }
        Ok(states)
    }
}

/// Adds what is used up of a key.
fn add(all: &mut HashMap<Vec<u8>, Retired>, key: Vec<u8>, retired: Retired) {
    if retired.moving.last.is_none() && retired.moving.ahead.last().is_none() {
        return;
    }
    let retired = match all.get(&key) {
        // Of another use: the last one counts.
        Some(known) if known.period == retired.period => with(retired, known),
        _ => retired,
    };
    all.insert(key, retired);
}

/// A token's state in the restored store.
fn state_of(
    snapshot: &Snapshot,
    sealer: &Sealer,
    serial: &[u8],
) -> Result<Option<TokenState>, StoreError> {
    let row = snapshot.get(sealer, Table::TokenStates, serial)?;
    row.map(|row| record::token_state(&row)).transpose()
}

/// The serial of the token that has a key in the restored store. None where it counts otherwise: steps of time, or of
/// another length, say nothing about its codes.
fn holder(
    snapshot: &Snapshot,
    sealer: &Sealer,
    seed: &[u8],
    period: Option<Period>,
) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(serial) = snapshot.get(sealer, Table::Seeds, seed)? else {
        return Ok(None);
    };
    let Some(owner) = snapshot.get(sealer, Table::Owners, &serial)? else {
        return Ok(None);
    };
    let key = [owner.as_slice(), b"\0", serial.as_slice()].concat();
    let Some(row) = snapshot.get(sealer, Table::Tokens, &key)? else {
        return Ok(None);
    };
    let row = TokenRow::parse(&row)?;
    let kind: Result<Kind, ()> = row.kind().parse();
    let counts_time = kind == Ok(Kind::Totp);
    let own = counts_time.then(|| row.period()).transpose()?;
    Ok((own == period).then_some(serial))
}

/// With what is known to be used up, too.
fn with(retired: Retired, other: &Retired) -> Retired {
    Retired {
        moving: other.used_up(retired.moving),
        ..retired
    }
}
