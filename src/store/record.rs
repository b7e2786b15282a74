//! Stored forms: what a row or log entry looks like on disk, and the one conversion each way.
//!
//! Every value is a version octet and a postcard body. Readers accept the versions named here,
//! writers write the newest. The model never derives serde: a change of a model type cannot change
//! the disk by accident.
//!
//! Row keys: a user is `realm 00 name`, a token `realm 00 name 00 serial` (control characters are
//! refused in names, so keys are prefix-free and a user's tokens lie together), a device
//! `realm 00 name 00 id`; token state and owner are keyed by serial, device state and owner by id, a
//! client by name, a session by `client 00 NAS 00 id`, and so is the entry
//! of an open one, a lesson by `client 00 address`, the last step of a token that is gone by a mark of
//! its key. A removed user's name leads to the numbers of the keys of their personal data; the
//! number of a key that must not be is in `erased`. A mark of a key that came, or could come, from outside leads
//! to the serial of the token that has it; a mark of an alias leads to the row key of its user. Indexes have empty rows: `mark of an address, serial`, `time 8 serial` of what expires,
//! `serial 00 realm 00 name` of tokens that count for a second user.

use std::net::IpAddr;

use serde::{Deserialize, Serialize, Serializer};

use crate::model::audit::{Event, FieldChange};
use crate::model::id::Serial;
use crate::model::token::{Moving, Token};
use crate::model::user_key::UserKey;
use crate::otp::Period;
use crate::otp::normal::NormalKey;
use crate::secret::Entropy;
use crate::store::record::changes::FieldChangeV1;
use crate::store::record::event::EventV1;
use crate::store::seal::Sealer;
use crate::store::{Retired, StoreError};
use crate::time::UnixTime;

mod changes;
mod client;
mod credential;
mod device;
mod event;
mod session;
mod state;
mod table;
mod token;
mod user;
mod various;

pub(crate) use changes::{changed, changed_row};
pub(crate) use client::{
    client, client_condition, client_marks, client_resealed, client_row, client_sealed_by,
};
pub(crate) use credential::{
    credentials, credentials_resealed, credentials_revision, credentials_row, credentials_sealed_by,
};
pub(crate) use device::{
    device, device_condition, device_key, device_row, device_state, device_state_row,
    devices_prefix,
};
pub(crate) use session::{read_session_key, session, session_key, session_row, sessions_prefix};
pub(crate) use state::{
    source_state, source_state_row, token_state, token_state_row, user_state, user_state_row,
};
pub(crate) use table::{
    BACKUP, DATA_KEY, EPOCH, FLOOR, LOADED, MASTER, NOTIFIED, OUTAGE, PRUNED, Table,
};
pub(crate) use token::{
    Row as TokenRow, link_row, link_target, token, token_condition, token_resealed, token_row,
    token_sealed_by,
};
pub(crate) use user::{user, user_aliases, user_condition, user_person, user_personal, user_row};
pub(crate) use various::{
    Former, address_key, address_mark, all_source_groups, all_source_groups_key, backup,
    backup_row, count, count_row, delegation, delegation_key, delegation_row, draft, draft_key,
    draft_row, epoch, epoch_row, expiry_key, expiry_time, former, former_row, last_part, loaded,
    loaded_row, pruned, pruned_row, source_group, source_group_key, source_group_row, source_says,
    source_says_key, source_says_row, time, time_row, waiver, waiver_row,
};

/// Number of the oldest data key that seals a secret in a row; `None`: it holds none.
pub(crate) fn sealed_by(table: Table, row: &[u8]) -> Result<Option<u8>, StoreError> {
    match table {
        Table::Clients => client_sealed_by(row).map(Some),
        Table::Credentials => credentials_sealed_by(row).map(Some),
        Table::Tokens => token_sealed_by(row),
        _ => Ok(None),
    }
}

/// A row with its secrets sealed by the newest data key; `None`: they are already, or it holds none.
pub(crate) fn resealed(
    table: Table,
    key: &[u8],
    row: &[u8],
    sealer: &Sealer,
    entropy: &dyn Entropy,
) -> Result<Option<Vec<u8>>, StoreError> {
    match table {
        Table::Clients => client_resealed(row, sealer, entropy),
        Table::Credentials => credentials_resealed(key, row, sealer, entropy),
        Table::Tokens => token_resealed(row, sealer, entropy),
        _ => Ok(None),
    }
}

/// A row as it shall be; `None` removes it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct RowWrite {
    pub(crate) table: Table,
    #[serde(with = "serde_bytes")]
    pub(crate) key: Vec<u8>,
    #[serde(with = "serde_bytes")]
    pub(crate) value: Option<Vec<u8>>,
}

/// One log entry: an audit event, what it changed, and the rows that changed with it, in absolute values, so that
/// folding it twice is folding it once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Entry {
    pub(crate) at: UnixTime,
    pub(crate) event: Event,
    pub(crate) changes: Vec<FieldChange>,
    pub(crate) writes: Vec<RowWrite>,
}

impl Entry {
    /// Whether it says that its time is the present although later ones are on record.
    pub(crate) fn accepts_clock(&self) -> bool {
        matches!(&self.event, Event::Change(event) if event.action == ACCEPT_CLOCK)
    }

    /// Appends the stored form to `out`; after an error nothing is to be made of what is there.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), StoreError> {
        let form = EntryForm {
            at: (self.at.as_millis()).wrapping_sub(self.event.request().at().as_millis()),
            event: EventV1::from(&self.event),
            changes: self.changes.iter().map(Into::into).collect(),
            writes: Writes {
                writes: &self.writes,
                serial: serial_of(&self.event),
            },
        };
        put(ENTRY, &form, out)
    }

    /// Reads a stored form.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let form: EntryFormOwned<'_> = take(ENTRY, bytes)?;
        let event = form.event.parse().ok_or(BAD_FORM)?;
        let mut writes = form.writes;
        let of_token = (writes.iter_mut())
            .filter(|write| write.table == Table::TokenStates && write.key.is_empty());
        for write in of_token {
            write.key = serial_of(&event).ok_or(BAD_FORM)?.to_vec();
        }
        Ok(Self {
            at: written_at(bytes, form.at, &event),
            event,
            changes: form.changes.into_iter().map(Into::into).collect(),
            writes,
        })
    }

    /// Reads when and what, and none of the rows behind it.
    pub(crate) fn event(bytes: &[u8]) -> Result<(UnixTime, Event), StoreError> {
        let ((at, event), _): ((u64, EventV1<'_>), _) = begun(ENTRY, bytes)?;
        let event = event.parse().ok_or(BAD_FORM)?;
        Ok((written_at(bytes, at, &event), event))
    }
}

/// Version of the stored form of entries. Most records are of logins, so what a record says twice is left out
/// since 2: the request's id has its time of arrival, and the event names the token whose state changed.
const ENTRY: u8 = 2;

/// When an entry was written. 1: milliseconds since 1970. 2: since its request arrived, modulo 2^64.
fn written_at(bytes: &[u8], at: u64, event: &Event) -> UnixTime {
    match bytes.first() {
        Some(1) => UnixTime::from_millis(at),
        _ => UnixTime::from_millis(event.request().at().as_millis().wrapping_add(at)),
    }
}

/// The token that decided.
fn serial_of(event: &Event) -> Option<&[u8]> {
    match event {
        Event::Decision(event) => (event.serial.as_ref()).map(|serial| serial.as_str().as_bytes()),
        Event::Change(_) => None,
    }
}

#[derive(Serialize)]
struct EntryForm<'a> {
    at: u64,
    event: EventV1<'a>,
    changes: Vec<FieldChangeV1<'a>>,
    writes: Writes<'a>,
}

#[derive(Deserialize)]
struct EntryFormOwned<'a> {
    at: u64,
    #[serde(borrow)]
    event: EventV1<'a>,
    #[serde(borrow)]
    changes: Vec<FieldChangeV1<'a>>,
    writes: Vec<RowWrite>,
}

/// Rows as an entry has them. The state of the token that decided has no key there: its serial stands in the event.
struct Writes<'a> {
    writes: &'a [RowWrite],
    serial: Option<&'a [u8]>,
}

impl Serialize for Writes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.writes.iter().map(|write| {
            let known =
                write.table == Table::TokenStates && self.serial == Some(write.key.as_slice());
            let key = if known { &[][..] } else { &write.key };
            let value = write.value.as_deref().map(serde_bytes::Bytes::new);
            (write.table, serde_bytes::Bytes::new(key), value)
        }))
    }
}

/// A user's row key, and the prefix of its tokens' keys when `00` is appended.
pub(crate) fn user_key(key: &UserKey) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(key.realm().len() + key.name().len() + 1 + 24);
    bytes.extend_from_slice(key.realm().as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(key.name().as_bytes());
    bytes
}

/// Reads a user's row key.
pub(crate) fn owner(key: &[u8]) -> Result<UserKey, StoreError> {
    let text = std::str::from_utf8(key).map_err(|_| BAD_FORM)?;
    let (realm, name) = text.split_once('\0').ok_or(BAD_FORM)?;
    UserKey::stored(name, realm).map_err(|_| BAD_FORM)
}

/// The prefix of the row keys of a user's tokens.
pub(crate) fn tokens_prefix(key: &UserKey) -> Vec<u8> {
    let mut bytes = user_key(key);
    bytes.push(0);
    bytes
}

/// The prefix of its owner at the beginning of a row key: zeros end the realm and the name.
pub(crate) fn owner_prefix(key: &[u8]) -> Option<&[u8]> {
    let mut ends = key.iter().enumerate().filter(|(_, octet)| **octet == 0);
    ends.nth(1).and_then(|(at, _)| key.get(..=at))
}

/// A token's row key.
pub(crate) fn token_key(owner: &[u8], serial: &Serial) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(owner.len() + 1 + serial.as_str().len());
    bytes.extend_from_slice(owner);
    bytes.push(0);
    bytes.extend_from_slice(serial.as_str().as_bytes());
    bytes
}

/// Row keys under which a token that counts for several users is found.
pub(crate) fn link_key(serial: &str, user: &[u8]) -> Vec<u8> {
    [serial.as_bytes(), b"\0", user].concat()
}

/// The owner's part of a token's row key.
pub(crate) fn owner_part<'k>(key: &'k [u8], serial: &Serial) -> &'k [u8] {
    let end = key.len().saturating_sub(serial.as_str().len() + 1);
    key.split_at(end).0
}

/// The row key under which a removed token's last step is kept: who makes the token again, for
/// whichever user and as whatever kind, must not make its used codes good again.
pub(crate) fn retired_key(key: &NormalKey, sealer: &Sealer) -> Vec<u8> {
    sealer.mark(&[b"retired", key.expose()]).to_vec()
}

/// The row key under which the token with this key is found, whosever it is.
pub(crate) fn seed_key(key: &NormalKey, sealer: &Sealer) -> Vec<u8> {
    sealer.mark(&[b"seed", key.expose()]).to_vec()
}

/// The row key under which the user with this alias is found. What a person is called elsewhere is
/// personal data: at rest there is a mark of it.
pub(crate) fn alias_key(alias: &UserKey, sealer: &Sealer) -> Vec<u8> {
    sealer.mark(&[b"alias", &user_key(alias)]).to_vec()
}

/// The row key of a token's key, where that came from outside or was shown, and can come again.
pub(crate) fn seed_of(token: &Token, sealer: &Sealer) -> Option<Vec<u8>> {
    token
        .kind
        .is_keyed()
        .then(|| seed_key(&token.normal_key(), sealer))
}

#[derive(Serialize, Deserialize)]
struct RetiredV1<'a> {
    serial: &'a str,
    period: Option<u16>,
    last: Option<u64>,
    ahead: Vec<(u64, u64)>,
}

/// A removed token's last step.
pub(crate) fn retired_row(retired: &Retired) -> Result<Vec<u8>, StoreError> {
    let form = RetiredV1 {
        serial: retired.serial.as_str(),
        period: retired.period.map(Period::as_secs),
        last: retired.moving.last,
        ahead: retired.moving.ahead.ranges().collect(),
    };
    row(1, &form)
}

/// Reads a removed token's last step.
pub(crate) fn retired(bytes: &[u8]) -> Result<Retired, StoreError> {
    let form: RetiredV1<'_> = take(1, bytes)?;
    let period = form.period.map(|secs| Period::new(secs).ok_or(BAD_FORM));
    Ok(Retired {
        serial: form.serial.parse().map_err(|_| BAD_FORM)?,
        period: period.transpose()?,
        moving: Moving {
            last: form.last,
            ahead: state::ahead(&form.ahead),
            ..Moving::default()
        },
    })
}

/// A lesson's row key.
pub(crate) fn lesson_key(client: &str, address: IpAddr) -> Vec<u8> {
    let mut bytes = client.as_bytes().to_vec();
    bytes.push(0);
    bytes.extend_from_slice(address.to_string().as_bytes());
    bytes
}

/// Reads a lesson's row key.
pub(crate) fn lesson(key: &[u8]) -> Result<(String, IpAddr), StoreError> {
    let text = std::str::from_utf8(key).map_err(|_| BAD_FORM)?;
    let (client, address) = text.split_once('\0').ok_or(BAD_FORM)?;
    Ok((client.to_owned(), address.parse().map_err(|_| BAD_FORM)?))
}

/// A version octet and the body.
fn row<T: Serialize>(version: u8, form: &T) -> Result<Vec<u8>, StoreError> {
    let mut out = Vec::with_capacity(64);
    put(version, form, &mut out)?;
    Ok(out)
}

fn put<T: Serialize>(version: u8, form: &T, out: &mut Vec<u8>) -> Result<(), StoreError> {
    out.push(version);
    let taken = std::mem::take(out);
    *out = postcard::to_extend(form, taken).map_err(|_| StoreError::TooLarge)?;
    Ok(())
}

fn take<'a, T: Deserialize<'a>>(version: u8, bytes: &'a [u8]) -> Result<T, StoreError> {
    let (form, rest) = begun(version, bytes)?;
    if rest.is_empty() {
        Ok(form)
    } else {
        Err(BAD_FORM)
    }
}

/// The form that these octets begin with, and what follows.
fn begun<'a, T: Deserialize<'a>>(
    version: u8,
    bytes: &'a [u8],
) -> Result<(T, &'a [u8]), StoreError> {
    let (found, body) = bytes.split_first().ok_or(BAD_FORM)?;
    if *found > version {
        return Err(StoreError::NewerFormat {
            found: *found,
            known: version,
        });
    }
    postcard::take_from_bytes(body).map_err(|_| BAD_FORM)
}

/// The word of the change that takes the clock's time for the present.
pub(crate) const ACCEPT_CLOCK: &str = "clock_accept";
const BAD_FORM: StoreError = StoreError::Corrupt("a record cannot be read");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::audit::{ChangeEvent, Channel, DecisionEvent, Purpose};
    use crate::model::id::RequestId;
    use crate::model::reason::{Decision, Reason};

    const ARRIVED: UnixTime = UnixTime::from_millis(1_767_225_600_123);
    const SERIAL: &str = "TOTP-7F3K9Q2M";

    fn login(serial: Option<&str>) -> Event {
        Event::Decision(DecisionEvent {
            request: RequestId::new(ARRIVED, [7; 10]),
            purpose: Purpose::Login,
            decision: Decision::Accept,
            reason: Reason::TotpOk,
            user: "alice@default".to_owned(),
            serial: serial.map(|serial| serial.parse().unwrap()),
            step: Some(58_907_520),
            client: "vpn".into(),
            channel: Channel::Radius,
            method: "pap".into(),
            source: None,
            rule: Some("default".into()),
            waiver: None,
            origin: None,
            note: None,
            failures: 0,
            locked: false,
            latency: 812,
        })
    }

    fn change() -> Event {
        Event::Change(ChangeEvent {
            request: RequestId::new(ARRIVED, [8; 10]),
            actor: "kim(uid 1000)".to_owned(),
            action: "token_suspend".to_owned(),
            target: SERIAL.to_owned(),
            user: None,
            detail: None,
        })
    }

    fn stored(at: UnixTime, event: Event, keys: &[(Table, &[u8])]) -> (Entry, Vec<u8>) {
        let writes = keys.iter().map(|(table, key)| RowWrite {
            table: *table,
            key: key.to_vec(),
            value: (*table != Table::Owners).then(|| vec![1, 2, 3]),
        });
        let entry = Entry {
            at,
            event,
            changes: Vec::new(),
            writes: writes.collect(),
        };
        let mut octets = Vec::new();
        entry.encode(&mut octets).unwrap();
        (entry, octets)
    }

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let serial = SERIAL.as_bytes();
        let state = (Table::TokenStates, serial);
        let other = (Table::TokenStates, &b"TOTP-22222222"[..]);
        let before = UnixTime::from_millis(ARRIVED.as_millis() - 5000);
        for at in [
            ARRIVED,
            ARRIVED.plus(std::time::Duration::from_millis(3)),
            before,
        ] {
            for event in [login(Some(SERIAL)), login(None), change()] {
                for keys in [
                    &[][..],
                    &[state],
                    &[other, state, (Table::Owners, serial)],
                    &[(Table::Settings, b"")],
                ] {
                    let (entry, octets) = stored(at, event.clone(), keys);
                    assert_eq!(Entry::decode(&octets).unwrap(), entry);
                    assert_eq!(Entry::event(&octets).unwrap(), (at, event.clone()));
                }
            }
        }
    }

    #[test]
    fn a_login_says_the_serial_of_its_token_once() {
        let state = (Table::TokenStates, SERIAL.as_bytes());
        let (_, octets) = stored(ARRIVED, login(Some(SERIAL)), &[state]);
        let found = octets.windows(SERIAL.len());
        assert_eq!(found.filter(|part| *part == SERIAL.as_bytes()).count(), 1);
        // A state without a key is of no token where the event names none.
        let (_, octets) = stored(ARRIVED, login(None), &[(Table::TokenStates, b"")]);
        assert!(Entry::decode(&octets).is_err());
    }
}
