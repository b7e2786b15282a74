//! What an attempt does to the rows, given the newest ones. No IO of its own.

use crate::model::attempt::{Attempt, Compared, Current, Finding, Settlement, settle};
use crate::model::audit::{ChangeEvent, Event, Purpose};
use crate::model::id::Serial;
use crate::model::issue::{Issue, IssueCurrent, IssueRefusal, Issued, day, settle_issue};
use crate::model::reason::Decision;
use crate::model::source::{Source, SourceState};
use crate::model::token::TokenState;
use crate::model::user::UserState;
use crate::store::change::Keys;
use crate::store::record::{Entry, RowWrite, Table};
use crate::store::seal::Sealer;
use crate::store::working::Working;
use crate::store::{StoreError, changes, device, enrol, record};

/// Decides an attempt; `None` when its view is stale.
pub(crate) fn attempt(
    rows: &Working<'_>,
    attempt: &Attempt,
    keys: Keys<'_>,
) -> Result<Option<(Settlement, Entry)>, StoreError> {
    let mut user_row = Vec::new();
    let mut current = Current::default();
    if let Finding::Compared(compared) = &attempt.finding {
        if rows.differs_from(compared.generation) && !conditions_hold(rows, compared)? {
            return Ok(None);
        }
        user_row = record::user_key(&compared.user);
        current.user = user_state(rows, &user_row)?;
        for token in compared.tokens.iter().flatten() {
            current.tokens.push(token_state(rows, &token.serial)?);
        }
    }
    let source = attempt.source();
    if let Some(source) = source {
        let state = rows.get(Table::Sources, source.octets(), record::source_state)?;
        current.source = state.unwrap_or_default();
    }
    let Ok(settlement) = settle(attempt, &current) else {
        return Ok(None);
    };
    let mut writes = Vec::with_capacity(2);
    if let Some(state) = &settlement.user {
        writes.push(user_state_write(user_row.clone(), state)?);
    }
    if let (Some(source), Some(state)) = (source, &settlement.source) {
        writes.push(source_state_write(source, state)?);
    }
    for (serial, state) in &settlement.tokens {
        writes.push(token_state_write(serial, state)?);
    }
    if settlement.decision == Decision::Accept
        && let Some(serial) = &settlement.serial
    {
        match (attempt.purpose, &attempt.enrols) {
            (Purpose::Confirm, _) => {
                let key = record::token_key(&user_row, serial);
                let token = enrol::own_row(rows, &key)?.ok_or(StoreError::NotFound)?;
                writes.extend(enrol::activate(rows, &key, serial, token, attempt.at)?);
            }
            (Purpose::Enrol, Some(device)) => {
                writes.extend(enrol::enrolled(rows, serial, device, attempt.at)?);
            }
            _ => {}
        }
    }
    let event = Event::Decision(attempt.event(&settlement, keys.now));
    Ok(Some((
        settlement,
        Entry {
            at: attempt.at,
            event,
            changes: changes::of_attempt(rows, &writes, keys)?,
            writes,
        },
    )))
}

/// Decides whether a code is issued, and what that does to the rows.
pub(crate) fn issue(
    rows: &Working<'_>,
    issue: &Issue,
    sealer: &Sealer,
) -> Result<Result<(Issued, Entry), IssueRefusal>, StoreError> {
    let owner = record::user_key(&issue.user);
    let key = record::token_key(&owner, &issue.serial);
    let token = enrol::own_row(rows, &key)?;
    let today = day(issue.at);
    let quotas = issue.message.as_deref().unwrap_or_default();
    let counts = quotas.iter().map(|quota| {
        let found = rows.get(
            Table::Quotas,
            &quota_key(&quota.scope, sealer),
            record::count,
        )?;
        Ok(found
            .filter(|(day, _)| *day == today)
            .map_or(0, |(_, count)| count))
    });
    let current = IssueCurrent {
        carried: token.as_ref().is_some_and(|token| token.device().is_some()),
        state: match token {
            Some(_) => token_state(rows, &issue.serial)?,
            None => TokenState::default(),
        },
        token: match token {
            Some(token) => Some((token.revision(), token.state_at(issue.at)?)),
            None => None,
        },
        counts: counts.collect::<Result<_, StoreError>>()?,
        device: match &issue.device {
            Some(call) => device::calling(rows, call)?,
            None => None,
        },
    };
    let settled = match settle_issue(issue, &current) {
        Ok(settled) => settled,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut writes = vec![token_state_write(&issue.serial, &settled.state)?];
    for (quota, count) in quotas.iter().zip(&current.counts) {
        let row = record::count_row(today, count + 1)?;
        writes.push(put(Table::Quotas, quota_key(&quota.scope, sealer), row));
    }
    if let (Some(call), Some(state)) = (&issue.device, &settled.device) {
        writes.push(device::state_write(&call.device, state)?);
    }
    let event = Event::Change(ChangeEvent {
        request: issue.request,
        actor: issue.actor.clone(),
        action: "code_issue".to_owned(),
        target: issue.serial.to_string(),
        user: Some(issue.user.to_string()),
        detail: Some(issue.detail.clone()),
    });
    Ok(Ok((
        settled.issued,
        Entry {
            at: issue.at,
            event,
            changes: Vec::new(),
            writes,
        },
    )))
}

/// A count's key: its scope may be an address, which must not be readable here.
fn quota_key(scope: &str, sealer: &Sealer) -> Vec<u8> {
    sealer.mark(&[b"quota", scope.as_bytes()]).to_vec()
}

/// Whether the records that the view was read from are still the newest.
fn conditions_hold(rows: &Working<'_>, compared: &Compared) -> Result<bool, StoreError> {
    let owner = record::user_key(&compared.user);
    let user = rows.get(Table::Users, &owner, record::user_condition)?;
    if user.is_none_or(|(revision, disabled)| disabled || revision != compared.revision) {
        return Ok(false);
    }
    if let Some(seen) = compared.credentials {
        let row = rows.get(Table::Credentials, &owner, record::credentials_revision)?;
        if row.unwrap_or_default() != seen {
            return Ok(false);
        }
    }
    for token in compared.tokens.iter().flatten() {
        let key = record::token_key(&owner, &token.serial);
        let link = |row: &[u8]| Ok(record::link_target(row).map(<[u8]>::to_vec));
        let target = rows.get(Table::Tokens, &key, link)?.flatten();
        let key = target.as_deref().unwrap_or(&key);
        let found = rows.get(Table::Tokens, key, record::token_condition)?;
        if found.is_none_or(|(revision, _)| revision != token.revision) {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn user_state(rows: &Working<'_>, key: &[u8]) -> Result<UserState, StoreError> {
    let state = rows.get(Table::UserStates, key, record::user_state)?;
    Ok(state.unwrap_or_default())
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
    Ok(put(
        Table::TokenStates,
        key,
        record::token_state_row(state)?,
    ))
}

/// A user without failures needs no row.
pub(super) fn user_state_write(key: Vec<u8>, state: &UserState) -> Result<RowWrite, StoreError> {
    if *state == UserState::default() {
        return Ok(gone(Table::UserStates, key));
    }
    Ok(put(Table::UserStates, key, record::user_state_row(state)?))
}

fn source_state_write(source: Source, state: &SourceState) -> Result<RowWrite, StoreError> {
    let key = source.octets().to_vec();
    if *state == SourceState::default() {
        return Ok(gone(Table::Sources, key));
    }
    let row = record::source_state_row(state)?;
    Ok(put(Table::Sources, key, row))
}

pub(super) const fn put(table: Table, key: Vec<u8>, row: Vec<u8>) -> RowWrite {
    RowWrite {
        table,
        key,
        value: Some(row),
    }
}

pub(super) const fn gone(table: Table, key: Vec<u8>) -> RowWrite {
    RowWrite {
        table,
        key,
        value: None,
    }
}
