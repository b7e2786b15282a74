//! The rows of a new token.

use std::ops::Bound;

use crate::model::id::Serial;
use crate::model::token::{LifeCycle, Token, TokenState};
use crate::otp::normal::NormalKey;
use crate::store::change::{Keys, refuse_if};
use crate::store::evaluate::{put, token_state_write};
use crate::store::fold::Reader;
use crate::store::record::{RowWrite, Table, TokenRow};
use crate::store::seal::Sealer;
use crate::store::working::Working;
use crate::store::{Retired, StoreError, enrol, record};

/// The rows of a new token of an owner who may have it.
pub(super) fn token_writes(
    rows: &Working<'_>,
    owner: Vec<u8>,
    token: &Token,
    state: &TokenState,
    person: u64,
    keys: Keys<'_>,
) -> Result<Vec<RowWrite>, StoreError> {
    let made = Made::new(token, person, keys)?;
    let mut writes = made_token(rows, owner, token, state, made)?;
    if token.state == LifeCycle::Active {
        let key = record::token_key(&record::user_key(&token.user), &token.serial);
        let is_row = |write: &RowWrite| write.table == Table::Tokens && write.key == key;
        let made = writes.iter().find(|write| is_row(write));
        let made = made.and_then(|write| write.value.as_deref());
        let row = TokenRow::parse(made.ok_or(StoreError::NotFound)?)?;
        // Made active at once, it comes into use like any other: under the limits, replacing.
        writes.retain(|write| !is_row(write));
        writes.extend(enrol::activate(rows, &key, &token.serial, row, keys.now)?);
    }
    Ok(writes)
}

/// What of a new token is made without looking at any row.
pub(super) struct Made {
    row: Vec<u8>,
    retired: Vec<u8>,
    seed: Option<Vec<u8>>,
    /// What stands for its address in the index.
    address: Option<[u8; 16]>,
}

impl Made {
    /// Of a token that comes into use, if it does, by [`enrol::activate`].
    fn new(token: &Token, person: u64, keys: Keys<'_>) -> Result<Self, StoreError> {
        // Coming into use at once raises it to the same first revision.
        Self::at(
            u64::from(token.state != LifeCycle::Active),
            token,
            person,
            keys,
        )
    }

    /// Of a token at its first revision, in its state.
    pub(super) fn first(token: &Token, person: u64, keys: Keys<'_>) -> Result<Self, StoreError> {
        Self::at(1, token, person, keys)
    }

    fn at(revision: u64, token: &Token, person: u64, keys: Keys<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            row: record::token_row(token, revision, person, keys.sealer, keys.entropy)?,
            retired: record::retired_key(&token.normal_key(), keys.sealer),
            seed: record::seed_of(token, keys.sealer),
            address: token
                .address
                .as_deref()
                .map(|address| record::address_mark(address, keys.sealer)),
        })
    }
}

/// The rows of a new token.
pub(super) fn made_token(
    rows: &Working<'_>,
    owner: Vec<u8>,
    token: &Token,
    state: &TokenState,
    made: Made,
) -> Result<Vec<RowWrite>, StoreError> {
    let serial = token.serial.as_str().as_bytes().to_vec();
    let exists = rows.get(Table::Owners, &serial, |_| Ok(()))?.is_some();
    refuse_if(exists, "a token with this serial exists already")?;
    if let Some(seed) = &made.seed {
        let taken = rows.get(Table::Seeds, seed, |_| Ok(()))?.is_some();
        refuse_if(taken, SEED_TAKEN)?;
    }
    let mut state = *state;
    let retired = rows.get(Table::Retired, &made.retired, record::retired)?;
    if let Some(Retired { moving, period, .. }) = retired {
        refuse_if(period != token.counts_time(), OTHER_USE)?;
        state.moving.last = state.moving.last.max(moving.last);
        state.moving.ahead = moving.ahead;
    }
    let mut writes = vec![
        put(
            Table::Tokens,
            record::token_key(&owner, &token.serial),
            made.row,
        ),
        put(Table::Owners, serial.clone(), owner),
        token_state_write(&token.serial, &state)?,
    ];
    writes.extend(made.seed.map(|seed| put(Table::Seeds, seed, serial)));
    let name = token.serial.as_str();
    if let Some(mark) = &made.address {
        writes.push(put(
            Table::Addresses,
            record::address_key(mark, name),
            Vec::new(),
        ));
    }
    if let Some(expires) = token.expires {
        writes.push(put(
            Table::Expiries,
            record::expiry_key(expires, name),
            Vec::new(),
        ));
    }
    Ok(writes)
}

/// Of two tokens with one key each would accept the same code once. It lies on record until its token is
/// removed, for an ended one knows which codes were used.
pub(crate) const SEED_TAKEN: &str = "another user's token has this key";
/// A counter and steps of time, or of another length, are numbers of one row: what the one used up says
/// nothing about the other.
pub(crate) const OTHER_USE: &str = "a removed token had this key as another kind or with another period: \
    its used codes could be right again; make a token with a new key";

/// The token that has this key.
pub(super) fn holder(
    rows: &Reader<'_>,
    key: &NormalKey,
    sealer: &Sealer,
) -> Result<Option<Serial>, StoreError> {
    rows.get(Table::Seeds, &record::seed_key(key, sealer), |row| {
        let serial = std::str::from_utf8(row).ok();
        let serial = serial.and_then(|serial| serial.parse().ok());
        serial.ok_or(StoreError::Corrupt("the token of a key cannot be read"))
    })
}

/// The last steps of keys of removed tokens, after this one, at most so many.
pub(super) fn retired(
    rows: &Reader<'_>,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<(Vec<u8>, Retired)>, StoreError> {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut page = Vec::new();
    rows.scan(Table::Retired, b"", from, |key, row| {
        page.push((key.to_vec(), record::retired(row)?));
        Ok(page.len() < limit)
    })?;
    Ok(page)
}
