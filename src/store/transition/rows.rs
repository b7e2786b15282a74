//! What all transitions share: rows that are read and written the same way by several of them.

use crate::model::device::{DeviceId, DeviceState};
use crate::model::id::{self, Serial};
use crate::model::token::TokenState;
use crate::model::user_key::UserKey;
use crate::model::user_state::UserState;
use crate::secret::{Entropy, random};
use crate::store::record::{RowWrite, Table, TokenRow};
use crate::store::seal::Sealer;
use crate::store::transition::working::Working;
use crate::store::{StoreError, record};
use crate::time::UnixTime;

/// What a transition needs beside the rows.
#[derive(Clone, Copy)]
pub(crate) struct Keys<'a> {
    pub(crate) now: UnixTime,
    /// Who acts; empty for a decision.
    pub(crate) actor: &'a str,
    pub(crate) sealer: &'a Sealer,
    pub(crate) entropy: &'a dyn Entropy,
}

impl Keys<'_> {
    /// For a record that is made: see [`id::first_revision`].
    pub(super) fn first_revision(self) -> Result<u64, StoreError> {
        Ok(id::first_revision(random(self.entropy)?))
    }
}

/// A row as it shall be.
pub(crate) const fn put(table: Table, key: Vec<u8>, row: Vec<u8>) -> RowWrite {
    RowWrite {
        table,
        key,
        value: Some(row),
    }
}

/// A row that goes.
pub(crate) const fn gone(table: Table, key: Vec<u8>) -> RowWrite {
    RowWrite {
        table,
        key,
        value: None,
    }
}

/// The writes of a change that is none without one.
pub(super) fn some(writes: Vec<RowWrite>) -> Result<Vec<RowWrite>, StoreError> {
    if writes.is_empty() {
        return Err(StoreError::NotFound);
    }
    Ok(writes)
}

pub(super) const fn refuse_if(refuse: bool, why: &'static str) -> Result<(), StoreError> {
    if refuse {
        Err(StoreError::Conflict(why))
    } else {
        Ok(())
    }
}

/// Refuses a change under a revision that is not the present one.
pub(super) fn refuse_other(revision: u64, expected: Option<u64>) -> Result<(), StoreError> {
    refuse_if(expected.is_some_and(|seen| seen != revision), CHANGED)
}

/// The failures of a user; a user without any has no row.
pub(super) fn user_state(rows: &Working<'_>, key: &[u8]) -> Result<UserState, StoreError> {
    let state = rows.get(Table::UserStates, key, record::user_state)?;
    Ok(state.unwrap_or_default())
}

/// A user without failures needs no row.
pub(crate) fn user_state_write(key: Vec<u8>, state: &UserState) -> Result<RowWrite, StoreError> {
    if *state == UserState::default() {
        return Ok(gone(Table::UserStates, key));
    }
    Ok(put(Table::UserStates, key, record::user_state_row(state)?))
}

/// The number of the key of a user's personal data.
pub(super) fn person_of(rows: &Working<'_>, owner: &[u8]) -> Result<u64, StoreError> {
    let person = rows.get(Table::Users, owner, record::user_person)?;
    person.ok_or(StoreError::NotFound)
}

/// The row key of a token, under its owner.
pub(super) fn find_token(rows: &Working<'_>, serial: &Serial) -> Result<Vec<u8>, StoreError> {
    let owner = owner_of(rows, serial)?;
    Ok(record::token_key(&owner, serial))
}

/// The row key of a token's owner.
pub(super) fn owner_of(rows: &Working<'_>, serial: &Serial) -> Result<Vec<u8>, StoreError> {
    let key = serial.as_str().as_bytes();
    let owner = rows.get(Table::Owners, key, |row| Ok(row.to_vec()))?;
    owner.ok_or(StoreError::NotFound)
}

/// The row keys and serials of a user's tokens, and of those that count for the user too.
pub(super) fn tokens_of(
    rows: &Working<'_>,
    user: &UserKey,
) -> Result<Vec<(Vec<u8>, Serial)>, StoreError> {
    let prefix = record::tokens_prefix(user);
    let mut tokens = Vec::new();
    for key in rows.keys(Table::Tokens, &prefix)? {
        let serial = std::str::from_utf8(&key[prefix.len()..]).ok();
        let serial = serial.and_then(|serial| serial.parse().ok());
        let serial = serial.ok_or(StoreError::Corrupt("a token's key cannot be read"))?;
        tokens.push((key, serial));
    }
    Ok(tokens)
}

/// The row of a token that belongs to the user under whose prefix it lies; `None`: it is another's.
pub(super) fn own_row(rows: &Working<'_>, key: &[u8]) -> Result<Option<TokenRow>, StoreError> {
    let parse = |row: &[u8]| {
        let own = record::link_target(row).is_none();
        own.then(|| TokenRow::parse(row)).transpose()
    };
    Ok(rows.get(Table::Tokens, key, parse)?.flatten())
}

/// A token's row under its key.
pub(super) fn token_row(
    rows: &Working<'_>,
    serial: &Serial,
) -> Result<(Vec<u8>, TokenRow), StoreError> {
    let key = find_token(rows, serial)?;
    let token = own_row(rows, &key)?.ok_or(StoreError::NotFound)?;
    Ok((key, token))
}

/// A token's row under its key, at the revision that was seen.
pub(super) fn seen(
    rows: &Working<'_>,
    serial: &Serial,
    expected: u64,
) -> Result<(Vec<u8>, TokenRow), StoreError> {
    let (key, token) = token_row(rows, serial)?;
    refuse_other(token.revision(), Some(expected))?;
    Ok((key, token))
}

/// The state of a token that is there. Each has one from the beginning: without it a code that was used
/// would be good again.
pub(super) fn token_state(rows: &Working<'_>, serial: &Serial) -> Result<TokenState, StoreError> {
    let key = serial.as_str().as_bytes();
    rows.needed(Table::TokenStates, key, record::token_state)
}

pub(super) fn token_state_write(
    serial: &Serial,
    state: &TokenState,
) -> Result<RowWrite, StoreError> {
    let key = serial.as_str().as_bytes().to_vec();
    let row = record::token_state_row(state)?;
    Ok(put(Table::TokenStates, key, row))
}

pub(super) fn device_state_write(
    id: &DeviceId,
    state: &DeviceState,
) -> Result<RowWrite, StoreError> {
    let key = id.as_str().as_bytes().to_vec();
    let row = record::device_state_row(state)?;
    Ok(put(Table::DeviceStates, key, row))
}

/// The index row of a token that expires.
pub(super) fn expiry_put(expires: UnixTime, serial: &str) -> RowWrite {
    put(
        Table::Expiries,
        record::expiry_key(expires, serial),
        Vec::new(),
    )
}

/// The index row of a token that expires no more at that time.
pub(super) fn expiry_gone(expires: UnixTime, serial: &str) -> RowWrite {
    gone(Table::Expiries, record::expiry_key(expires, serial))
}

pub(super) const CHANGED: &str = "the record was changed meanwhile; look at it and try again";
