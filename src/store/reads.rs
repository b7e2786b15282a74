//! Reads of rows. They look at memory and `main.redb` at one moment, and never wait.

use std::net::IpAddr;
use std::ops::Bound;

use crate::model::client::Client;
use crate::model::credential::Credentials;
use crate::model::device::{Device, DeviceId, DeviceState};
use crate::model::draft::Draft;
use crate::model::enrolment::Delegation;
use crate::model::group::SourceGroup;
use crate::model::id::Serial;
use crate::model::session::{Session, SessionKey};
use crate::model::source::{Source, SourceState};
use crate::model::token::{Token, TokenState};
use crate::model::user::{User, Waiver};
use crate::model::user_key::UserKey;
use crate::model::user_state::UserState;
use crate::otp::normal::NormalKey;
use crate::store::fold::Reader;
use crate::store::record::Table;
use crate::store::{Retired, Store, StoreError, View, record};
use crate::time::UnixTime;

impl Store {
    /// What an evaluation needs to know about a user; `None` when there is no such user.
    pub fn view(&self, user: &UserKey) -> Result<Option<View>, StoreError> {
        self.view_in(&self.rows(), user)
    }

    /// As [`Store::view`], by a user's name or an alias.
    pub fn view_by_name(&self, name: &UserKey) -> Result<Option<View>, StoreError> {
        let rows = self.rows();
        if let Some(view) = self.view_in(&rows, name)? {
            return Ok(Some(view));
        }
        let owner = self.alias_in(&rows, name)?;
        let view = owner.map(|owner| self.view_in(&rows, &owner));
        Ok(view.transpose()?.flatten())
    }

    /// The user who has this alias.
    pub fn of_alias(&self, alias: &UserKey) -> Result<Option<UserKey>, StoreError> {
        self.alias_in(&self.rows(), alias)
    }

    /// Who is meant by a name: the user who has it as an alias, else a user of this name.
    pub fn named(&self, name: UserKey) -> Result<UserKey, StoreError> {
        Ok(self.of_alias(&name)?.unwrap_or(name))
    }

    fn alias_in(&self, rows: &Reader<'_>, alias: &UserKey) -> Result<Option<UserKey>, StoreError> {
        let row = record::alias_key(alias, self.sealer());
        rows.get(Table::Aliases, &row, record::owner)
    }

    fn view_in(&self, rows: &Reader<'_>, user: &UserKey) -> Result<Option<View>, StoreError> {
        let key = record::user_key(user);
        let open = |row: &[u8]| record::user(row, self.sealer());
        let Some(user_row) = rows.get(Table::Users, &key, open)? else {
            return Ok(None);
        };
        let state = rows.get(Table::UserStates, &key, record::user_state)?;
        let mut tokens = Vec::new();
        let mut links = Vec::new();
        let prefix = record::tokens_prefix(user);
        let open = |row: &[u8]| record::token(row, self.sealer());
        rows.scan(Table::Tokens, &prefix, Bound::Unbounded, |_, row| {
            match record::link_target(row) {
                None => tokens.push(with_state(rows, open(row)?)?),
                Some(target) => links.push(target.to_vec()),
            }
            Ok(true)
        })?;
        for target in links {
            if let Some(token) = rows.get(Table::Tokens, &target, open)? {
                tokens.push(with_state(rows, token)?);
            }
        }
        Ok(Some(View {
            generation: rows.generation(),
            user: user_row,
            state: state.unwrap_or_default(),
            tokens,
        }))
    }

    /// The verifiers of what a user knows; none has the default ones.
    pub fn credentials(&self, user: &UserKey) -> Result<Credentials, StoreError> {
        let key = record::user_key(user);
        let open = |row: &[u8]| record::credentials(&key, row, self.sealer());
        let found = self.rows().get(Table::Credentials, &key, open)?;
        Ok(found.unwrap_or_default())
    }

    /// The groups that a source has pushed.
    pub fn source_groups(&self, source: &str) -> Result<Vec<SourceGroup>, StoreError> {
        let rows = self.rows();
        let former = record::all_source_groups_key(source);
        let former = rows.get(Table::Settings, &former, record::all_source_groups)?;
        let mut groups = former.unwrap_or_default();
        let prefix = record::source_group_key(source, "");
        rows.scan(Table::Settings, &prefix, Bound::Unbounded, |_, row| {
            groups.push(record::source_group(row)?);
            Ok(true)
        })?;
        Ok(groups)
    }

    /// What a source says of its users, in words; nothing where it was never read.
    pub fn source_says(&self, source: &str) -> Result<Vec<String>, StoreError> {
        let key = record::source_says_key(source);
        let says = self
            .rows()
            .get(Table::Settings, &key, record::source_says)?;
        Ok(says.unwrap_or_default())
    }

    /// The failures counted against a source.
    pub fn source(&self, source: Source) -> Result<SourceState, StoreError> {
        let rows = self.rows();
        let state = rows.get(Table::Sources, source.octets(), record::source_state)?;
        Ok(state.unwrap_or_default())
    }

    /// Users in order of realm and name, after `after`, at most `limit`.
    pub fn users(&self, after: Option<&UserKey>, limit: usize) -> Result<Vec<User>, StoreError> {
        let after = after.map(record::user_key);
        self.page(Table::Users, after.as_deref(), limit, |_, row| {
            record::user(row, self.sealer()).map(Some)
        })
    }

    /// Users who have a state, in order of realm and name, after `after`, at most `limit`.
    pub fn user_states(
        &self,
        after: Option<&UserKey>,
        limit: usize,
    ) -> Result<Vec<(UserKey, UserState)>, StoreError> {
        let after = after.map(record::user_key);
        self.page(Table::UserStates, after.as_deref(), limit, |key, row| {
            Ok(Some((record::owner(key)?, record::user_state(row)?)))
        })
    }

    /// Users of the same name in other realms. Realms are found by skipping from one to the next.
    pub fn namesakes(&self, user: &UserKey) -> Result<Vec<UserKey>, StoreError> {
        let rows = self.rows();
        let mut found = Vec::new();
        let mut from = Vec::new();
        for _ in 0..REALMS {
            let mut realm = None;
            rows.list(Table::Users, b"", Bound::Excluded(&from), |key, _| {
                realm = Some(record::owner(key)?.realm().to_owned());
                Ok(false)
            })?;
            let Some(realm) = realm else { break };
            let other = UserKey::with_realm(user.name(), &realm).ok();
            if let Some(other) = other.filter(|other| other != user) {
                let key = record::user_key(&other);
                let there = rows.get(Table::Users, &key, |_| Ok(()))?;
                found.extend(there.map(|()| other));
            }
            // Behind every row of the realm: a zero ends its name in their keys.
            from = realm.into_bytes();
            from.push(1);
        }
        Ok(found)
    }

    /// The token with this serial, and its state.
    pub fn token(&self, serial: &Serial) -> Result<Option<(Token, TokenState)>, StoreError> {
        let rows = self.rows();
        let name = serial.as_str().as_bytes();
        let owner = rows.get(Table::Owners, name, |row| Ok(row.to_vec()))?;
        let Some(owner) = owner else { return Ok(None) };
        let key = record::token_key(&owner, serial);
        let open = |row: &[u8]| record::token(row, self.sealer());
        let token = rows.get(Table::Tokens, &key, open)?;
        token.map(|token| with_state(&rows, token)).transpose()
    }

    /// The users for whom a token counts beside its owner.
    pub fn sharers(&self, serial: &Serial) -> Result<Vec<UserKey>, StoreError> {
        let prefix = record::link_key(serial.as_str(), b"");
        let mut users = Vec::new();
        self.rows()
            .scan(Table::Links, &prefix, Bound::Unbounded, |key, _| {
                users.push(record::owner(key.get(prefix.len()..).unwrap_or_default())?);
                Ok(true)
            })?;
        Ok(users)
    }

    /// Tokens of all users, after the one of this user and serial, at most `limit`.
    pub fn tokens(
        &self,
        after: Option<(&UserKey, &Serial)>,
        limit: usize,
    ) -> Result<Vec<(Token, TokenState)>, StoreError> {
        let after = after.map(|(user, serial)| record::token_key(&record::user_key(user), serial));
        let rows = self.rows();
        page(&rows, Table::Tokens, after.as_deref(), limit, |_, row| {
            // What counts for a second user is listed with its owner.
            if record::link_target(row).is_some() {
                return Ok(None);
            }
            with_state(&rows, record::token(row, self.sealer())?).map(Some)
        })
    }

    /// Tokens whose codes are sent to this address, and their state.
    pub fn tokens_at(&self, address: &str) -> Result<Vec<(Token, TokenState)>, StoreError> {
        let mark = record::address_mark(address, self.sealer());
        let prefix = record::address_key(&mark, "");
        let mut serials: Vec<Serial> = Vec::new();
        let rows = self.rows();
        rows.scan(Table::Addresses, &prefix, Bound::Unbounded, |key, _| {
            let serial = record::last_part(key, &prefix)?.parse();
            serials.push(serial.map_err(|_| UNREADABLE)?);
            Ok(serials.len() < SHARED_ADDRESS)
        })?;
        drop(rows);
        let mut tokens = Vec::new();
        for serial in serials {
            tokens.extend(self.token(&serial)?);
        }
        Ok(tokens)
    }

    /// The device with this id, and its state.
    pub fn device(&self, id: &DeviceId) -> Result<Option<(Device, DeviceState)>, StoreError> {
        let rows = self.rows();
        let name = id.as_str().as_bytes();
        let owner = rows.get(Table::DeviceOwners, name, |row| Ok(row.to_vec()))?;
        let Some(owner) = owner else { return Ok(None) };
        let key = record::device_key(&owner, id);
        let device = rows.get(Table::Devices, &key, record::device)?;
        device.map(|device| device_state(&rows, device)).transpose()
    }

    /// A user's devices in order of id.
    pub fn devices(&self, user: &UserKey) -> Result<Vec<(Device, DeviceState)>, StoreError> {
        let rows = self.rows();
        let mut devices = Vec::new();
        let prefix = record::devices_prefix(user);
        rows.scan(Table::Devices, &prefix, Bound::Unbounded, |_, row| {
            devices.push(device_state(&rows, record::device(row)?)?);
            Ok(true)
        })?;
        Ok(devices)
    }

    /// The last steps of tokens that are gone, after the one with this key, at most `limit`.
    pub fn retired(
        &self,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Retired)>, StoreError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut page = Vec::new();
        self.rows().scan(Table::Retired, b"", from, |key, row| {
            page.push((key.to_vec(), record::retired(row)?));
            Ok(page.len() < limit)
        })?;
        Ok(page)
    }

    /// The token that has this key, ended ones too, of the kinds whose keys come from outside or are shown.
    pub fn with_key(&self, key: &NormalKey) -> Result<Option<Serial>, StoreError> {
        let key = record::seed_key(key, self.sealer());
        self.rows().get(Table::Seeds, &key, |row| {
            let serial = std::str::from_utf8(row).ok();
            let serial = serial.and_then(|serial| serial.parse().ok());
            serial.ok_or(StoreError::Corrupt("the token of a key cannot be read"))
        })
    }

    /// The last step of the token with this key that is gone.
    pub fn retired_with(&self, key: &NormalKey) -> Result<Option<Retired>, StoreError> {
        let key = record::retired_key(key, self.sealer());
        self.rows().get(Table::Retired, &key, record::retired)
    }

    /// The outage that was declared last, whether or not it has ended.
    pub fn outage(&self) -> Result<Option<Waiver>, StoreError> {
        let rows = self.rows();
        rows.get(Table::Settings, record::OUTAGE, record::waiver)
    }

    /// Rights to approve that were lent, ended ones too.
    pub fn delegations(&self) -> Result<Vec<Delegation>, StoreError> {
        self.page(Table::Delegations, None, usize::MAX, |_, row| {
            record::delegation(row).map(Some)
        })
    }

    /// Drafts of policy files, by name.
    pub fn drafts(&self) -> Result<Vec<Draft>, StoreError> {
        let mut drafts = Vec::new();
        let prefix = record::draft_key("");
        self.rows()
            .list(Table::Settings, &prefix, Bound::Unbounded, |_, row| {
                drafts.push(record::draft(row)?);
                Ok(true)
            })?;
        Ok(drafts)
    }

    /// The draft of a policy, if there is one.
    pub fn draft(&self, policy: &str) -> Result<Option<Draft>, StoreError> {
        let key = record::draft_key(policy);
        self.rows().get(Table::Settings, &key, record::draft)
    }

    /// The last backup: when it was made, and the last record in it.
    pub fn last_backup(&self) -> Result<Option<(UnixTime, u64)>, StoreError> {
        self.rows()
            .get(Table::Settings, record::BACKUP, record::backup)
    }

    /// The last audit record whose notifications are done.
    pub fn notified(&self) -> Result<u64, StoreError> {
        let seq = self.rows().get(Table::Settings, record::NOTIFIED, |row| {
            let octets = row.try_into().map_err(|_| UNREADABLE)?;
            Ok(u64::from_be_bytes(octets))
        })?;
        Ok(seq.unwrap_or_default())
    }

    /// All clients in order of name.
    pub fn clients(&self) -> Result<Vec<Client>, StoreError> {
        self.page(Table::Clients, None, usize::MAX, |_, row| {
            record::client(row, self.sealer()).map(Some)
        })
    }

    /// Source addresses of clients with `require = auto` that are known to sign their requests:
    /// (client, address).
    pub fn lessons(&self) -> Result<Vec<(String, IpAddr)>, StoreError> {
        self.page(Table::Lessons, None, usize::MAX, |key, _| {
            record::lesson(key).map(Some)
        })
    }

    /// Sessions in order of client, NAS and id, after the one with this key, at most `limit`, of those that
    /// `wanted` takes. A page of rows at a time, with a pause between: the writer waits for readers.
    pub async fn sessions(
        &self,
        mut after: Option<SessionKey>,
        limit: usize,
        wanted: &(dyn Fn(&Session) -> bool + Sync),
    ) -> Result<Vec<Session>, StoreError> {
        let mut found = Vec::new();
        loop {
            let (mut read, mut last) = (0, None);
            let key = after.as_ref().map(record::session_key);
            let from = key.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            self.rows().list(Table::Sessions, b"", from, |key, row| {
                let session = record::session(key, row)?;
                read += 1;
                last = Some(session.key.clone());
                if wanted(&session) {
                    found.push(session);
                }
                Ok(found.len() < limit && read < SESSIONS)
            })?;
            if found.len() >= limit || read < SESSIONS {
                return Ok(found);
            }
            after = last;
            tokio::task::yield_now().await;
        }
    }

    /// Open sessions of a NAS (client, NAS) after this one, at most `limit`.
    pub fn open_sessions(
        &self,
        (client, nas): (&str, &str),
        after: Option<&SessionKey>,
        limit: usize,
    ) -> Result<Vec<SessionKey>, StoreError> {
        let prefix = record::sessions_prefix(client, nas);
        let after = after.map(record::session_key);
        let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut found = Vec::new();
        let rows = self.rows();
        rows.list(Table::OpenSessions, &prefix, from, |key, _| {
            found.push(record::read_session_key(key)?);
            Ok(found.len() < limit)
        })?;
        Ok(found)
    }

    /// Open sessions after the one with this key, at most `limit`, of those that `wanted` takes. Read as
    /// [`Store::sessions`] does.
    pub async fn open_sessions_of(
        &self,
        mut after: Option<SessionKey>,
        limit: usize,
        wanted: &(dyn Fn(&Session) -> bool + Sync),
    ) -> Result<Vec<Session>, StoreError> {
        let mut found = Vec::new();
        loop {
            let (mut read, mut last) = (0, None);
            let key = after.as_ref().map(record::session_key);
            let from = key.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            {
                let rows = self.rows();
                let mut keys = Vec::new();
                rows.list(Table::OpenSessions, b"", from, |key, _| {
                    keys.push(key.to_vec());
                    read += 1;
                    Ok(read < SESSIONS)
                })?;
                for key in keys {
                    let read = |row: &[u8]| record::session(&key, row);
                    let session = match rows.get(Table::Sessions, &key, read) {
                        // Named where sessions are listed; the others are what was asked for.
                        Err(StoreError::Corrupt(_)) => None,
                        session => session?,
                    };
                    last = Some(record::read_session_key(&key)?);
                    found.extend(session.filter(|session| wanted(session)));
                    if found.len() >= limit {
                        return Ok(found);
                    }
                }
            }
            if read < SESSIONS {
                return Ok(found);
            }
            after = last;
            tokio::task::yield_now().await;
        }
    }

    fn page<T>(
        &self,
        table: Table,
        after: Option<&[u8]>,
        limit: usize,
        take: impl Fn(&[u8], &[u8]) -> Result<Option<T>, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        page(&self.rows(), table, after, limit, take)
    }
}

/// The next `limit` rows of a table after a key that `take` wants; damaged ones are named and left out.
fn page<T>(
    rows: &Reader<'_>,
    table: Table,
    after: Option<&[u8]>,
    limit: usize,
    take: impl Fn(&[u8], &[u8]) -> Result<Option<T>, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut page = Vec::new();
    rows.list(table, b"", from, |key, row| {
        if page.len() < limit {
            page.extend(take(key, row)?);
        }
        Ok(page.len() < limit)
    })?;
    Ok(page)
}

fn with_state(rows: &Reader<'_>, token: Token) -> Result<(Token, TokenState), StoreError> {
    let key = token.serial.as_str().as_bytes();
    let state = rows.needed(Table::TokenStates, key, record::token_state)?;
    Ok((token, state))
}

fn device_state(rows: &Reader<'_>, device: Device) -> Result<(Device, DeviceState), StoreError> {
    let key = device.id.as_str().as_bytes();
    let state = rows.needed(Table::DeviceStates, key, record::device_state)?;
    Ok((device, state))
}

/// Most realms that are looked at for users of the same name.
const REALMS: usize = 64;
/// Most tokens that are looked at for one address: a family's telephone has a few.
const SHARED_ADDRESS: usize = 16;
/// Rows of sessions that one look reads.
const SESSIONS: usize = 1_000;
const UNREADABLE: StoreError = StoreError::Corrupt("an entry of an index cannot be read");
