//! The journal entries that close codes which may have been used; see [`crate::store::floor`].

use crate::diagnostic::units::count;
use crate::model::audit::{ChangeEvent, Event};
use crate::model::id::RequestId;
use crate::model::token::{LifeCycle, Token, TokenState};
use crate::model::user_key::UserKey;
use crate::secret::{SystemEntropy, random};
use crate::store::error::disk;
use crate::store::floor::Floor;
use crate::store::main_file::Snapshot;
use crate::store::record::{Entry, FLOOR, RowWrite, Table, TokenRow};
use crate::store::seal::Sealer;
use crate::store::transition::rows::{put, user_state_write};
use crate::store::{Store, StoreError, record};
use crate::time::UnixTime;

/// The rows as they are, and when codes may have been used the last time.
pub(super) struct Closing<'a> {
    snapshot: &'a Snapshot,
    sealer: &'a Sealer,
    at: UnixTime,
    floor: Floor,
    cause: Cause,
}

/// Why codes are closed, as the audit names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cause {
    pub(super) actor: &'static str,
    pub(super) action: &'static str,
}

impl<'a> Closing<'a> {
    pub(super) const fn new(
        snapshot: &'a Snapshot,
        sealer: &'a Sealer,
        at: UnixTime,
        cause: Cause,
    ) -> Self {
        Self {
            cause,
            snapshot,
            sealer,
            at,
            floor: Floor(at),
        }
    }

    /// The keys of all users, and of others under whose name tokens lie: a user whose row was lost may be added
    /// again.
    pub(super) fn owners(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut owners = self.keys(Table::Users, b"")?;
        let stock = record::user_key(&UserKey::stock());
        let mut others: Vec<Vec<u8>> = Vec::new();
        self.each(Table::Tokens, b"", |key| {
            let owner = record::owner_prefix(key).and_then(|prefix| prefix.strip_suffix(b"\0"));
            let Some(owner) = owner.filter(|owner| *owner != stock.as_slice()) else {
                return;
            };
            let known = owners.binary_search_by(|user| user.as_slice().cmp(owner));
            if known.is_err() && others.last().is_none_or(|last| last != owner) {
                others.push(owner.to_vec());
            }
        })?;
        owners.append(&mut others);
        Ok(owners)
    }

    /// The keys of the tokens in stock.
    pub(super) fn stock(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        self.keys(Table::Tokens, &record::tokens_prefix(&UserKey::stock()))
    }

    /// What closes tokens in stock, and which: a lost record may have given one to a user.
    pub(super) fn in_stock(
        &self,
        keys: &[Vec<u8>],
    ) -> Result<(Option<Entry>, Vec<String>), StoreError> {
        let prefix = record::tokens_prefix(&UserKey::stock());
        let (mut writes, mut closed) = (Vec::new(), Vec::new());
        for key in keys {
            let serial = record::last_part(key, &prefix)?;
            if let Some(what) = self.token(key, serial, &mut writes)? {
                closed.push(format!("in stock {serial}: {what}"));
            }
        }
        let tokens = count(writes.len() as u64, "token");
        let detail = format!("codes of {tokens} that may have been used are void");
        let made = !writes.is_empty();
        let entry = made.then(|| self.entry("tokens in stock".to_owned(), None, detail, writes));
        Ok((entry.transpose()?, closed))
    }

    /// What closes a user's codes, and which tokens that are. A user without tokens has no record of their
    /// own: the writes are those of a record about many.
    pub(super) fn user(
        &self,
        key: &[u8],
        others: &mut Vec<RowWrite>,
    ) -> Result<(Option<Entry>, Vec<String>), StoreError> {
        let name = record::owner(key)?.to_string();
        let mut writes = Vec::new();
        if self.row(Table::Users, key)?.is_some() {
            let state = self.row(Table::UserStates, key)?;
            let state = state.map(|row| record::user_state(&row)).transpose()?;
            let state = self.floor.user(state.unwrap_or_default());
            writes.push(user_state_write(key.to_vec(), &state)?);
        }
        let mut closed = Vec::new();
        let prefix = [key, b"\0"].concat();
        for key in self.keys(Table::Tokens, &prefix)? {
            let serial = record::last_part(&key, &prefix)?;
            if let Some(what) = self.token(&key, serial, &mut writes)? {
                closed.push(format!("{serial}: {what}"));
            }
        }
        for key in self.keys(Table::Devices, &prefix)? {
            let id = record::last_part(&key, &prefix)?.as_bytes();
            if let Some(row) = self.row(Table::DeviceStates, id)? {
                let state = self.floor.device(record::device_state(&row)?);
                let row = record::device_state_row(&state)?;
                writes.push(put(Table::DeviceStates, id.to_vec(), row));
            }
        }
        if closed.is_empty() {
            others.append(&mut writes);
            return Ok((None, closed));
        }
        let detail = closed.join("; ");
        let entry = self.entry(name.clone(), Some(name.clone()), detail, writes)?;
        let closed = closed.into_iter().map(|what| format!("{name} {what}"));
        Ok((Some(entry), closed.collect()))
    }

    /// One record about users of whom no token was closed that could come into use.
    pub(super) fn others(&self, writes: Vec<RowWrite>) -> Result<Option<Entry>, StoreError> {
        let of = |table: Table| writes.iter().filter(|write| write.table == table).count();
        let (users, ended) = (of(Table::UserStates), of(Table::TokenStates));
        let users = count(users as u64, "user");
        let mut detail = format!("challenges that were handed out to {users} are void");
        if ended > 0 {
            let ended = count(ended as u64, "token");
            push!(detail, "; codes of {ended} that ended are void");
        }
        let target = "users without a token to close".to_owned();
        let made = !writes.is_empty();
        made.then(|| self.entry(target, None, detail, writes))
            .transpose()
    }

    fn token(
        &self,
        key: &[u8],
        serial: &str,
        writes: &mut Vec<RowWrite>,
    ) -> Result<Option<String>, StoreError> {
        let name = serial.as_bytes();
        let rows = (
            self.row(Table::Tokens, key)?,
            self.row(Table::TokenStates, name)?,
        );
        // Without a state it decides nothing; a link is closed with the token itself.
        let (Some(row), Some(state)) = rows else {
            return Ok(None);
        };
        if record::link_target(&row).is_some() {
            return Ok(None);
        }
        let (mut row, state) = (TokenRow::parse(&row)?, record::token_state(&state)?);
        let kind = row.kind().parse().map_err(|()| UNREADABLE)?;
        let closed = self
            .floor
            .token(&state, (kind, row.state()?), row.period()?);
        let state = record::token_state_row(&closed.state)?;
        writes.push(put(Table::TokenStates, name.to_vec(), state));
        if closed.suspended {
            row.set_state(LifeCycle::Suspended);
            writes.push(put(Table::Tokens, key.to_vec(), row.changed()?));
        }
        Ok(closed.what.map(|what| what.replace("SERIAL", serial)))
    }

    /// The keys of the rows of tokens that are gone.
    pub(super) fn gone(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        self.keys(Table::Retired, b"")
    }

    /// What closes tokens that are gone, for when the same key is enrolled again.
    pub(super) fn retired(&self, keys: &[Vec<u8>]) -> Result<Option<Entry>, StoreError> {
        let mut writes = Vec::new();
        for key in keys {
            if let Some(row) = self.row(Table::Retired, key)? {
                let retired = self.floor.retired(record::retired(&row)?);
                let row = record::retired_row(&retired)?;
                writes.push(put(Table::Retired, key.clone(), row));
            }
        }
        let target = "tokens that are gone".to_owned();
        let keys = count(writes.len() as u64, "key");
        let detail = format!("codes of {keys} are void");
        let made = !writes.is_empty();
        made.then(|| self.entry(target, None, detail, writes))
            .transpose()
    }

    fn entry(
        &self,
        target: String,
        user: Option<String>,
        detail: String,
        writes: Vec<RowWrite>,
    ) -> Result<Entry, StoreError> {
        let event = Event::Change(ChangeEvent {
            request: RequestId::new(self.at, random(&SystemEntropy)?),
            actor: self.cause.actor.to_owned(),
            action: self.cause.action.to_owned(),
            target,
            user,
            detail: Some(detail),
        });
        Ok(Entry {
            at: self.at,
            event,
            changes: Vec::new(),
            writes,
        })
    }

    /// A row; one that is not as it was written decides nothing, and stays.
    fn row(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.snapshot.get(self.sealer, table, key)
    }

    fn keys(&self, table: Table, prefix: &[u8]) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut keys = Vec::new();
        self.each(table, prefix, |key| keys.push(key.to_vec()))?;
        Ok(keys)
    }

    fn each(
        &self,
        table: Table,
        prefix: &[u8],
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), StoreError> {
        for row in self.snapshot.table(table).range(prefix..).map_err(disk)? {
            let (key, _) = row.map_err(disk)?;
            if !key.value().starts_with(prefix) {
                break;
            }
            take(key.value());
        }
        Ok(())
    }
}

impl Store {
    /// When codes may have been used the last time under a record that is lost; `None`: none is.
    pub(crate) fn floor(&self) -> Result<Option<UnixTime>, StoreError> {
        self.rows().get(Table::Settings, FLOOR, record::time)
    }

    /// Where a token begins whose key comes from outside. After a restore, a repair or the acceptance of an older
    /// store its codes may have been used under a record that is lost: it is closed as the tokens of that time were,
    /// and a counter is not known before a resynchronisation.
    pub(crate) fn begun(
        &self,
        token: &Token,
        state: &TokenState,
    ) -> Result<TokenState, StoreError> {
        let Some(floor) = self.floor()?.filter(|_| token.kind.is_keyed()) else {
            return Ok(*state);
        };
        let life = (token.kind, token.state);
        Ok(Floor(floor).token(state, life, token.period).state)
    }
}

const UNREADABLE: StoreError = StoreError::Corrupt("the kind of a token cannot be read");
