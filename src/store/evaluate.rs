//! What an attempt or a change does to the rows, given the newest ones. No IO of its own.

use crate::model::attempt::Attempt;
use crate::model::attempt::Compared;
use crate::model::attempt::Current;
use crate::model::attempt::Finding;
use crate::model::attempt::Settlement;
use crate::model::attempt::settle;
use crate::model::audit::ChangeEvent;
use crate::model::audit::Event;
use crate::model::audit::Purpose;
use crate::model::client::Access;
use crate::model::client::Client;
use crate::model::credential::Credentials;
use crate::model::id::Serial;
use crate::model::reason::Decision;
use crate::model::source::Source;
use crate::model::source::SourceState;
use crate::model::token::LifeCycle;
use crate::model::token::Token;
use crate::model::token::TokenState;
use crate::model::user::User;
use crate::model::user::UserState;
use crate::model::user::Waiver;
use crate::model::user_key::UserKey;
use crate::otp::throttle::Throttle;
use crate::secret::Entropy;
use crate::store::By;
use crate::store::Change;
use crate::store::StoreError;
use crate::store::WaiverKind;
use crate::store::fold::Working;
use crate::store::record;
use crate::store::record::Entry;
use crate::store::record::RowWrite;
use crate::store::record::Table;
use crate::store::seal::Sealer;
use crate::time::UnixTime;

/// Decides an attempt; `None` when its view is stale.
pub(crate) fn attempt(
    rows: &Working<'_>,
    attempt: &Attempt,
    now: UnixTime,
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
    if let Some((serial, state)) = &settlement.token {
        writes.push(token_state_write(serial, state)?);
        if attempt.purpose == Purpose::Confirm && settlement.decision == Decision::Accept {
            let key = record::token_key(&user_row, serial);
            let activate = |row: &[u8]| record::token_row_in(row, LifeCycle::Active);
            let row = rows
                .get(Table::Tokens, &key, activate)?
                .ok_or(StoreError::NotFound)?;
            writes.push(put(Table::Tokens, key, row));
        }
    }
    let event = Event::Decision(attempt.event(&settlement, now));
    Ok(Some((
        settlement,
        Entry {
            at: attempt.at,
            event,
            writes,
        },
    )))
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
        let found = rows.get(Table::Tokens, &key, record::token_condition)?;
        if found.is_none_or(|(revision, _)| revision != token.revision) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Carries out a change on the rows.
pub(crate) fn change(
    rows: &Working<'_>,
    change: &Change,
    by: &By,
    sealer: &Sealer,
    entropy: &dyn Entropy,
) -> Result<Entry, StoreError> {
    let keys = Keys { sealer, entropy };
    let user = concerned(rows, change)?;
    let mut detail = None;
    let (action, target, writes) = match change {
        Change::CreateUser(user) => ("user_add", user.key.to_string(), create_user(rows, user)?),
        Change::UpdateUser(user) => ("user_set", user.key.to_string(), update_user(rows, user)?),
        Change::RemoveUser(key, expected) => (
            "user_remove",
            key.to_string(),
            remove_user(rows, key, *expected, sealer)?,
        ),
        Change::Unlock(key) => ("user_unlock", key.to_string(), unlock(rows, key)?),
        Change::SetWaiver {
            user,
            which,
            waiver,
            expected,
        } => {
            detail = waiver.as_ref().map(|waiver| {
                let (from, until) = (waiver.from, waiver.until);
                format!("{from} to {until}: {}", waiver.reason)
            });
            let action = match (which, waiver.is_some()) {
                (WaiverKind::Bypass, true) => "bypass_grant",
                (WaiverKind::Bypass, false) => "bypass_end",
                (WaiverKind::Exemption, true) => "exemption_grant",
                (WaiverKind::Exemption, false) => "exemption_end",
            };
            let write = set_waiver(rows, user, *which, waiver.as_ref(), *expected)?;
            (action, user.to_string(), vec![write])
        }
        Change::SetCredentials(key, credentials) => (
            "credentials_set",
            key.to_string(),
            vec![set_credentials(rows, key, credentials, keys)?],
        ),
        Change::ForgetSources { before } => (
            "sources_forget",
            before.rfc3339(),
            forget_sources(rows, *before)?,
        ),
        Change::CreateToken(token, state) => (
            "token_add",
            token.serial.to_string(),
            create_token(rows, token, state, keys)?,
        ),
        Change::SetTokenState {
            serial,
            state,
            expected,
        } => (
            match state {
                LifeCycle::Active => "token_resume",
                LifeCycle::Suspended => "token_suspend",
                LifeCycle::Revoked => "token_revoke",
                LifeCycle::Pending => "token_reset",
            },
            serial.to_string(),
            vec![set_token_state(rows, serial, *state, *expected)?],
        ),
        Change::RemoveToken(serial, expected) => (
            "token_remove",
            serial.to_string(),
            remove_token(rows, serial, *expected, sealer)?,
        ),
        Change::CreateClient(client) => (
            "client_add",
            client.name.clone(),
            vec![create_client(rows, client, keys)?],
        ),
        Change::UpdateClient(client) => (
            "client_set",
            client.name.clone(),
            vec![update_client(rows, client, keys)?],
        ),
        Change::RemoveClient(name, expected) => (
            "client_remove",
            name.clone(),
            remove_client(rows, name, *expected)?,
        ),
        Change::Learn { client, address } => {
            let key = record::lesson_key(client, *address);
            let known = rows.get(Table::Lessons, &key, |_| Ok(()))?.is_some();
            refuse_if(known, "the lesson is known")?;
            let write = put(Table::Lessons, key, vec![1]);
            ("client_learn", format!("{client} {address}"), vec![write])
        }
        Change::AcceptClock => (ACCEPT_CLOCK, by.at.rfc3339(), Vec::new()),
    };
    let event = Event::Change(ChangeEvent {
        request: by.request,
        actor: by.actor.clone(),
        action: action.to_owned(),
        target,
        user,
        detail,
    });
    Ok(Entry {
        at: by.at,
        event,
        writes,
    })
}

/// Whether the entry says that its time is the present although later ones are on record.
pub(crate) fn accepts_clock(entry: &Entry) -> bool {
    matches!(&entry.event, Event::Change(event) if event.action == ACCEPT_CLOCK)
}

#[derive(Clone, Copy)]
struct Keys<'a> {
    sealer: &'a Sealer,
    entropy: &'a dyn Entropy,
}

fn create_user(rows: &Working<'_>, user: &User) -> Result<Vec<RowWrite>, StoreError> {
    let key = record::user_key(&user.key);
    let exists = rows.get(Table::Users, &key, |_| Ok(()))?.is_some();
    refuse_if(exists, "the user exists already")?;
    Ok(vec![put(
        Table::Users,
        key,
        record::user_row(&User {
            revision: 1,
            ..user.clone()
        })?,
    )])
}

fn update_user(rows: &Working<'_>, user: &User) -> Result<Vec<RowWrite>, StoreError> {
    let key = record::user_key(&user.key);
    let found = rows
        .get(Table::Users, &key, record::user)?
        .ok_or(StoreError::NotFound)?;
    refuse_if(found.revision != user.revision, CHANGED)?;
    let revision = user.revision + 1;
    Ok(vec![put(
        Table::Users,
        key,
        record::user_row(&User {
            revision,
            ..user.clone()
        })?,
    )])
}

fn set_waiver(
    rows: &Working<'_>,
    user: &UserKey,
    which: WaiverKind,
    waiver: Option<&Waiver>,
    expected: u64,
) -> Result<RowWrite, StoreError> {
    let key = record::user_key(user);
    let mut user = rows
        .get(Table::Users, &key, record::user)?
        .ok_or(StoreError::NotFound)?;
    refuse_if(user.revision != expected, CHANGED)?;
    match which {
        WaiverKind::Bypass => user.bypass = waiver.cloned(),
        WaiverKind::Exemption => user.exemption = waiver.cloned(),
    }
    user.revision += 1;
    Ok(put(Table::Users, key, record::user_row(&user)?))
}

fn remove_user(
    rows: &Working<'_>,
    user: &UserKey,
    expected: Option<u64>,
    sealer: &Sealer,
) -> Result<Vec<RowWrite>, StoreError> {
    let key = record::user_key(user);
    let found = rows
        .get(Table::Users, &key, record::user)?
        .ok_or(StoreError::NotFound)?;
    refuse_other(found.revision, expected)?;
    let mut writes = vec![
        gone(Table::Users, key.clone()),
        gone(Table::Credentials, key.clone()),
        gone(Table::UserStates, key),
    ];
    for (key, serial) in tokens_of(rows, user)? {
        writes.extend(token_gone(rows, key, &serial, sealer)?);
    }
    Ok(writes)
}

fn unlock(rows: &Working<'_>, user: &UserKey) -> Result<Vec<RowWrite>, StoreError> {
    let key = record::user_key(user);
    rows.get(Table::Users, &key, |_| Ok(()))?
        .ok_or(StoreError::NotFound)?;
    let state = user_state(rows, &key)?.unlocked();
    let mut writes = vec![user_state_write(key, &state)?];
    for (_, serial) in tokens_of(rows, user)? {
        let state = token_state(rows, &serial)?;
        if state.throttle != Throttle::default() {
            let state = TokenState {
                throttle: Throttle::default(),
                ..state
            };
            writes.push(token_state_write(&serial, &state)?);
        }
    }
    Ok(writes)
}

fn set_credentials(
    rows: &Working<'_>,
    user: &UserKey,
    credentials: &Credentials,
    keys: Keys<'_>,
) -> Result<RowWrite, StoreError> {
    let key = record::user_key(user);
    rows.get(Table::Users, &key, |_| Ok(()))?
        .ok_or(StoreError::NotFound)?;
    let found = rows.get(Table::Credentials, &key, record::credentials_revision)?;
    refuse_if(found.unwrap_or_default() != credentials.revision, CHANGED)?;
    let credentials = Credentials {
        revision: credentials.revision + 1,
        ..credentials.clone()
    };
    let row = record::credentials_row(&key, &credentials, keys.sealer, keys.entropy)?;
    Ok(put(Table::Credentials, key, row))
}

/// Sources whose last failure is long past. At most so many at a time, and nothing to do is no
/// entry.
fn forget_sources(rows: &Working<'_>, before: UnixTime) -> Result<Vec<RowWrite>, StoreError> {
    let mut writes = Vec::new();
    for key in rows.keys(Table::Sources, b"")? {
        let state = rows.get(Table::Sources, &key, record::source_state)?;
        if state.is_some_and(|state| state.last < before) {
            writes.push(gone(Table::Sources, key));
        }
        if writes.len() == FORGOTTEN {
            break;
        }
    }
    if writes.is_empty() {
        return Err(StoreError::NotFound);
    }
    Ok(writes)
}

fn create_token(
    rows: &Working<'_>,
    token: &Token,
    state: &TokenState,
    keys: Keys<'_>,
) -> Result<Vec<RowWrite>, StoreError> {
    let owner = record::user_key(&token.user);
    rows.get(Table::Users, &owner, |_| Ok(()))?
        .ok_or(StoreError::NotFound)?;
    let serial = token.serial.as_str().as_bytes().to_vec();
    let exists = rows.get(Table::Owners, &serial, |_| Ok(()))?.is_some();
    refuse_if(exists, "a token with this serial exists already")?;
    for (key, _) in tokens_of(rows, &token.user)? {
        let other = rows.get(Table::Tokens, &key, |row| record::token(row, keys.sealer))?;
        let same = other.is_some_and(|other| other.key == token.key);
        // Each of the two would accept the same code once.
        refuse_if(same, "the user has a token with this key already")?;
    }
    let token = Token {
        revision: 1,
        ..token.clone()
    };
    let mut state = *state;
    let retired = record::retired_key(&token, keys.sealer);
    let retired = rows.get(Table::Retired, &retired, record::retired)?;
    state.moving.last = state.moving.last.max(retired);
    let row = record::token_row(&token, keys.sealer, keys.entropy)?;
    let mut writes = vec![
        put(Table::Tokens, record::token_key(&owner, &token.serial), row),
        put(Table::Owners, serial, owner),
    ];
    if state != TokenState::default() {
        writes.push(token_state_write(&token.serial, &state)?);
    }
    Ok(writes)
}

fn set_token_state(
    rows: &Working<'_>,
    serial: &Serial,
    state: LifeCycle,
    expected: u64,
) -> Result<RowWrite, StoreError> {
    let key = find_token(rows, serial)?;
    let condition = rows.get(Table::Tokens, &key, record::token_condition)?;
    let (revision, present) = condition.ok_or(StoreError::NotFound)?;
    refuse_if(revision != expected, CHANGED)?;
    refuse_if(
        !present.may_become(state),
        "the token's present state does not allow that",
    )?;
    let moved = |row: &[u8]| record::token_row_in(row, state);
    let row = rows
        .get(Table::Tokens, &key, moved)?
        .ok_or(StoreError::NotFound)?;
    Ok(put(Table::Tokens, key, row))
}

fn remove_token(
    rows: &Working<'_>,
    serial: &Serial,
    expected: Option<u64>,
    sealer: &Sealer,
) -> Result<Vec<RowWrite>, StoreError> {
    let key = find_token(rows, serial)?;
    let condition = rows.get(Table::Tokens, &key, record::token_condition)?;
    let (revision, _) = condition.ok_or(StoreError::NotFound)?;
    refuse_other(revision, expected)?;
    token_gone(rows, key, serial, sealer)
}

fn create_client(
    rows: &Working<'_>,
    client: &Client,
    keys: Keys<'_>,
) -> Result<RowWrite, StoreError> {
    let key = client.name.as_bytes().to_vec();
    let exists = rows.get(Table::Clients, &key, |_| Ok(()))?.is_some();
    refuse_if(exists, "a client with this name exists already")?;
    refuse_shared_address(rows, client)?;
    let client = Client {
        revision: 1,
        ..client.clone()
    };
    Ok(put(
        Table::Clients,
        key,
        record::client_row(&client, keys.sealer, keys.entropy)?,
    ))
}

fn update_client(
    rows: &Working<'_>,
    client: &Client,
    keys: Keys<'_>,
) -> Result<RowWrite, StoreError> {
    let key = client.name.as_bytes().to_vec();
    let found = rows.get(Table::Clients, &key, record::client_condition)?;
    let (revision, _) = found.ok_or(StoreError::NotFound)?;
    refuse_if(revision != client.revision, CHANGED)?;
    refuse_shared_address(rows, client)?;
    let client = Client {
        revision: revision + 1,
        ..client.clone()
    };
    Ok(put(
        Table::Clients,
        key,
        record::client_row(&client, keys.sealer, keys.entropy)?,
    ))
}

fn remove_client(
    rows: &Working<'_>,
    name: &str,
    expected: Option<u64>,
) -> Result<Vec<RowWrite>, StoreError> {
    let key = name.as_bytes().to_vec();
    let found = rows.get(Table::Clients, &key, record::client_condition)?;
    let (revision, _) = found.ok_or(StoreError::NotFound)?;
    refuse_other(revision, expected)?;
    let mut writes = vec![gone(Table::Clients, key)];
    let mut prefix = name.as_bytes().to_vec();
    prefix.push(0);
    let lessons = rows.keys(Table::Lessons, &prefix)?;
    writes.extend(lessons.into_iter().map(|key| gone(Table::Lessons, key)));
    Ok(writes)
}

/// Two clients with the same network: nobody could say whose secret opens a packet.
fn refuse_shared_address(rows: &Working<'_>, client: &Client) -> Result<(), StoreError> {
    let Access::Radius(radius) = &client.access else {
        return Ok(());
    };
    for key in rows.keys(Table::Clients, b"")? {
        if key == client.name.as_bytes() {
            continue;
        }
        let found = rows.get(Table::Clients, &key, record::client_condition)?;
        let shared = found.is_some_and(|(_, taken)| {
            radius
                .addresses
                .iter()
                .any(|address| taken.contains(&address.to_string()))
        });
        refuse_if(shared, "another client has the same address")?;
    }
    Ok(())
}

/// The user whom a change concerns.
fn concerned(rows: &Working<'_>, change: &Change) -> Result<Option<String>, StoreError> {
    let user = match change {
        Change::CreateUser(user) | Change::UpdateUser(user) => &user.key,
        Change::RemoveUser(key, _) | Change::Unlock(key) | Change::SetCredentials(key, _) => key,
        Change::SetWaiver { user, .. } => user,
        Change::CreateToken(token, _) => &token.user,
        Change::SetTokenState { serial, .. } | Change::RemoveToken(serial, _) => {
            let owner = |row: &[u8]| record::owner(row).map(|key| key.to_string());
            return rows.get(Table::Owners, serial.as_str().as_bytes(), owner);
        }
        Change::CreateClient(_)
        | Change::UpdateClient(_)
        | Change::RemoveClient(..)
        | Change::Learn { .. }
        | Change::ForgetSources { .. }
        | Change::AcceptClock => return Ok(None),
    };
    Ok(Some(user.to_string()))
}

fn find_token(rows: &Working<'_>, serial: &Serial) -> Result<Vec<u8>, StoreError> {
    let owner = rows.get(Table::Owners, serial.as_str().as_bytes(), |row| {
        Ok(row.to_vec())
    })?;
    Ok(record::token_key(
        &owner.ok_or(StoreError::NotFound)?,
        serial,
    ))
}

fn tokens_of(rows: &Working<'_>, user: &UserKey) -> Result<Vec<(Vec<u8>, Serial)>, StoreError> {
    let prefix = record::tokens_prefix(user);
    let mut tokens = Vec::new();
    for key in rows.keys(Table::Tokens, &prefix)? {
        let serial = std::str::from_utf8(&key[prefix.len()..]).ok();
        let serial = serial.and_then(|serial| serial.parse().ok());
        tokens.push((
            key,
            serial.ok_or(StoreError::Corrupt("a token's key cannot be read"))?,
        ));
    }
    Ok(tokens)
}

fn user_state(rows: &Working<'_>, key: &[u8]) -> Result<UserState, StoreError> {
    let state = rows.get(Table::UserStates, key, record::user_state)?;
    Ok(state.unwrap_or_default())
}

fn token_state(rows: &Working<'_>, serial: &Serial) -> Result<TokenState, StoreError> {
    let key = serial.as_str().as_bytes();
    Ok(rows
        .get(Table::TokenStates, key, record::token_state)?
        .unwrap_or_default())
}

fn token_state_write(serial: &Serial, state: &TokenState) -> Result<RowWrite, StoreError> {
    let key = serial.as_str().as_bytes().to_vec();
    Ok(put(
        Table::TokenStates,
        key,
        record::token_state_row(state)?,
    ))
}

/// A user without failures needs no row.
fn user_state_write(key: Vec<u8>, state: &UserState) -> Result<RowWrite, StoreError> {
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

/// The token's rows go; the last step of its key stays, or the same key under a new token would
/// make used codes good again.
fn token_gone(
    rows: &Working<'_>,
    key: Vec<u8>,
    serial: &Serial,
    sealer: &Sealer,
) -> Result<Vec<RowWrite>, StoreError> {
    let token = rows
        .get(Table::Tokens, &key, |row| record::token(row, sealer))?
        .ok_or(StoreError::NotFound)?;
    let last = token_state(rows, serial)?.moving.last;
    let serial = serial.as_str().as_bytes().to_vec();
    let mut writes = vec![
        gone(Table::Tokens, key),
        gone(Table::Owners, serial.clone()),
        gone(Table::TokenStates, serial),
    ];
    if let Some(last) = last {
        let key = record::retired_key(&token, sealer);
        writes.push(put(Table::Retired, key, record::retired_row(last)));
    }
    Ok(writes)
}

const fn put(table: Table, key: Vec<u8>, row: Vec<u8>) -> RowWrite {
    RowWrite {
        table,
        key,
        value: Some(row),
    }
}

const fn gone(table: Table, key: Vec<u8>) -> RowWrite {
    RowWrite {
        table,
        key,
        value: None,
    }
}

const fn refuse_if(refuse: bool, why: &'static str) -> Result<(), StoreError> {
    if refuse {
        Err(StoreError::Conflict(why))
    } else {
        Ok(())
    }
}

/// A removal under a revision that is not the present one.
fn refuse_other(revision: u64, expected: Option<u64>) -> Result<(), StoreError> {
    refuse_if(expected.is_some_and(|seen| seen != revision), CHANGED)
}

/// Most sources forgotten by one change.
const FORGOTTEN: usize = 10_000;
const ACCEPT_CLOCK: &str = "clock_accept";
const CHANGED: &str = "the record was changed by somebody else; look at it and try again";
