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
//! to the serial of the token that has it. Indexes have empty rows: `mark of an address, serial`, `time 8 serial` of what expires,
//! `serial 00 realm 00 name` of tokens that count for a second user.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::audit::{
    ChangeEvent, Channel, DecisionEvent, Event, FieldChange, Origin, Purpose,
};
use crate::model::id::{RequestId, Serial};
use crate::model::kind::Kind;
use crate::model::reason::{Decision, Reason};
use crate::model::token::{Moving, Token};
use crate::model::user::{FormerContact, OperatorAct, Touched, User, Waiver};
use crate::model::user_key::UserKey;
use crate::otp::Period;
use crate::otp::normal::NormalKey;
use crate::secret::Entropy;
use crate::store::record::changes::FieldChangeV1;
use crate::store::seal::{Place, Sealer};
use crate::store::{Retired, StoreError};
use crate::time::UnixTime;

mod changes;
mod client;
mod credential;
mod device;
mod session;
mod state;
mod table;
mod token;
mod various;

pub(crate) use changes::{changed, changed_row};
pub(crate) use client::{client, client_condition, client_row};
pub(crate) use credential::{credentials, credentials_revision, credentials_row};
pub(crate) use device::{
    device, device_condition, device_key, device_row, device_state, device_state_row,
    devices_prefix,
};
pub(crate) use session::{read_session_key, session, session_key, session_row, sessions_prefix};
pub(crate) use state::{
    source_state, source_state_row, token_state, token_state_row, user_state, user_state_row,
};
pub(crate) use table::{LOADED, NOTIFIED, OUTAGE, PRUNED, Table};
pub(crate) use token::{Row as TokenRow, link_row, link_target, token, token_condition, token_row};
pub(crate) use various::{
    Former, address_key, address_mark, count, count_row, delegation, delegation_key,
    delegation_row, expiry_key, expiry_time, former, former_row, last_part, loaded, loaded_row,
    pruned, pruned_row, waiver, waiver_row,
};

/// A row as it shall be; `None` removes it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct RowWrite {
    pub(crate) table: Table,
    pub(crate) key: Vec<u8>,
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
    /// Appends the stored form to `out`; after an error nothing is to be made of what is there.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), StoreError> {
        let form = EntryV1 {
            at: self.at.as_millis(),
            event: EventV1::from(&self.event),
            changes: self.changes.iter().map(Into::into).collect(),
            writes: &self.writes,
        };
        put(1, &form, out)
    }

    /// Reads a stored form.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let form: EntryV1Owned<'_> = take(1, bytes)?;
        Ok(Self {
            at: UnixTime::from_millis(form.at),
            event: form.event.parse().ok_or(BAD_FORM)?,
            changes: form.changes.into_iter().map(Into::into).collect(),
            writes: form.writes,
        })
    }
}

#[derive(Serialize)]
struct EntryV1<'a> {
    at: u64,
    event: EventV1<'a>,
    changes: Vec<FieldChangeV1<'a>>,
    writes: &'a [RowWrite],
}

#[derive(Deserialize)]
struct EntryV1Owned<'a> {
    at: u64,
    #[serde(borrow)]
    event: EventV1<'a>,
    #[serde(borrow)]
    changes: Vec<FieldChangeV1<'a>>,
    writes: Vec<RowWrite>,
}

#[derive(Serialize, Deserialize)]
enum EventV1<'a> {
    Decision {
        request: [u8; 16],
        purpose: u8,
        decision: u8,
        reason: u8,
        user: &'a str,
        #[serde(borrow)]
        serial: Option<&'a str>,
        step: Option<u64>,
        client: &'a str,
        channel: u8,
        method: &'a str,
        source: Option<IpAddr>,
        #[serde(borrow)]
        rule: Option<&'a str>,
        #[serde(borrow)]
        waiver: Option<&'a str>,
        #[serde(borrow)]
        nas: Option<&'a str>,
        nas_ip: Option<IpAddr>,
        #[serde(borrow)]
        calling_station: Option<&'a str>,
        #[serde(borrow)]
        note: Option<&'a str>,
        failures: u32,
        locked: bool,
        latency: u32,
    },
    Change {
        request: [u8; 16],
        actor: &'a str,
        action: &'a str,
        target: &'a str,
        #[serde(borrow)]
        user: Option<&'a str>,
        #[serde(borrow)]
        detail: Option<&'a str>,
    },
}

impl<'a> From<&'a Event> for EventV1<'a> {
    fn from(event: &'a Event) -> Self {
        match event {
            Event::Decision(event) => Self::Decision {
                request: event.request.to_bytes(),
                purpose: match event.purpose {
                    Purpose::Login => 0,
                    Purpose::Confirm => 1,
                    Purpose::Resync => 2,
                    Purpose::Enrol => 3,
                    Purpose::Inbound => 4,
                },
                decision: match event.decision {
                    Decision::Reject => 0,
                    Decision::Accept => 1,
                    Decision::Challenge => 2,
                },
                reason: event.reason.number(),
                user: &event.user,
                serial: event.serial.as_ref().map(Serial::as_str),
                step: event.step,
                client: &event.client,
                channel: match event.channel {
                    Channel::Radius => 0,
                    Channel::Http => 1,
                    Channel::Admin => 2,
                    Channel::Device => 3,
                    Channel::Inbound => 4,
                },
                method: &event.method,
                source: event.source,
                rule: event.rule.as_deref(),
                waiver: event.waiver.as_deref(),
                nas: event
                    .origin
                    .as_ref()
                    .and_then(|origin| origin.nas.as_deref()),
                nas_ip: event.origin.as_ref().and_then(|origin| origin.nas_ip),
                calling_station: event
                    .origin
                    .as_ref()
                    .and_then(|origin| origin.calling_station.as_deref()),
                note: event.note.as_deref(),
                failures: event.failures,
                locked: event.locked,
                latency: event.latency,
            },
            Event::Change(event) => Self::Change {
                request: event.request.to_bytes(),
                actor: &event.actor,
                action: &event.action,
                target: &event.target,
                user: event.user.as_deref(),
                detail: event.detail.as_deref(),
            },
        }
    }
}

impl EventV1<'_> {
    fn parse(self) -> Option<Event> {
        Some(match self {
            Self::Decision {
                request,
                purpose,
                decision,
                reason,
                user,
                serial,
                step,
                client,
                channel,
                method,
                source,
                rule,
                waiver,
                nas,
                nas_ip,
                calling_station,
                note,
                failures,
                locked,
                latency,
            } => Event::Decision(DecisionEvent {
                request: RequestId::from_bytes(request),
                purpose: match purpose {
                    0 => Purpose::Login,
                    1 => Purpose::Confirm,
                    2 => Purpose::Resync,
                    3 => Purpose::Enrol,
                    4 => Purpose::Inbound,
                    _ => return None,
                },
                decision: match decision {
                    0 => Decision::Reject,
                    1 => Decision::Accept,
                    2 => Decision::Challenge,
                    _ => return None,
                },
                reason: Reason::from_number(reason)?,
                user: user.to_owned(),
                serial: serial.map(str::parse).transpose().ok()?,
                step,
                client: client.into(),
                channel: match channel {
                    0 => Channel::Radius,
                    1 => Channel::Http,
                    2 => Channel::Admin,
                    3 => Channel::Device,
                    4 => Channel::Inbound,
                    _ => return None,
                },
                method: method.into(),
                source,
                rule: rule.map(Into::into),
                waiver: waiver.map(str::to_owned),
                origin: (nas.is_some() || nas_ip.is_some() || calling_station.is_some()).then(
                    || {
                        Arc::new(Origin {
                            nas: nas.map(Into::into),
                            nas_ip,
                            calling_station: calling_station.map(Into::into),
                        })
                    },
                ),
                note: note.map(str::to_owned),
                failures,
                locked,
                latency,
            }),
            Self::Change {
                request,
                actor,
                action,
                target,
                user,
                detail,
            } => Event::Change(ChangeEvent {
                request: RequestId::from_bytes(request),
                actor: actor.to_owned(),
                action: action.to_owned(),
                target: target.to_owned(),
                user: user.map(str::to_owned),
                detail: detail.map(str::to_owned),
            }),
        })
    }
}

#[derive(Serialize, Deserialize)]
struct UserV1<'a> {
    name: &'a str,
    realm: &'a str,
    groups: Vec<String>,
    class: Option<String>,
    disabled: bool,
    bypass: Option<WaiverV1>,
    exemption: Option<WaiverV1>,
    remote_issue: bool,
    language: &'a str,
    acts: Vec<(String, String, u64)>,
    created: u64,
    revision: u64,
    /// Number of the key of the personal data.
    person: u64,
    /// A sealed [`PersonalV1`], if any of it is known.
    #[serde(borrow)]
    personal: Option<&'a [u8]>,
}

#[derive(Default, Serialize, Deserialize)]
struct PersonalV1 {
    display_name: Option<String>,
    phone: Option<String>,
    email: Option<String>,
    birth_date: Option<String>,
    former: Vec<(String, String, u64)>,
}

#[derive(Serialize, Deserialize)]
struct WaiverV1 {
    reason: String,
    owner: String,
    from: u64,
    until: u64,
}

impl From<&Waiver> for WaiverV1 {
    fn from(waiver: &Waiver) -> Self {
        Self {
            reason: waiver.reason.clone(),
            owner: waiver.owner.clone(),
            from: waiver.from.as_millis(),
            until: waiver.until.as_millis(),
        }
    }
}

impl From<WaiverV1> for Waiver {
    fn from(form: WaiverV1) -> Self {
        Self {
            reason: form.reason,
            owner: form.owner,
            from: UnixTime::from_millis(form.from),
            until: UnixTime::from_millis(form.until),
        }
    }
}

/// A user's row at this revision; personal data are sealed under the key of this number.
pub(crate) fn user_row(
    user: &User,
    revision: u64,
    person: u64,
    sealer: &Sealer,
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, StoreError> {
    let personal = PersonalV1 {
        display_name: user.display_name.clone(),
        phone: user.phone.clone(),
        email: user.email.clone(),
        birth_date: user.birth_date.clone(),
        former: user.former.iter().map(left_contact).collect(),
    };
    let known = [
        &personal.display_name,
        &personal.phone,
        &personal.email,
        &personal.birth_date,
    ];
    let sealed = if known.into_iter().all(Option::is_none) && personal.former.is_empty() {
        None
    } else {
        let plain = zeroize::Zeroizing::new(row(1, &personal)?);
        let key = user_key(&user.key);
        Some(sealer.seal_personal(person, personal_place(&key), &plain, entropy)?)
    };
    let form = UserV1 {
        name: user.key.name(),
        realm: user.key.realm(),
        groups: user.groups.clone(),
        class: user.class.clone(),
        disabled: user.disabled,
        bypass: user.bypass.as_ref().map(WaiverV1::from),
        exemption: user.exemption.as_ref().map(WaiverV1::from),
        remote_issue: user.remote_issue,
        language: user.language.as_str(),
        acts: user.acts.iter().map(act).collect(),
        created: user.created.as_millis(),
        revision,
        person,
        personal: sealed.as_deref(),
    };
    row(1, &form)
}

/// Reads a user's row and opens the personal data.
pub(crate) fn user(bytes: &[u8], sealer: &Sealer) -> Result<User, StoreError> {
    let form: UserV1<'_> = take(1, bytes)?;
    let key = UserKey::with_realm(form.name, form.realm).map_err(|_| BAD_FORM)?;
    let personal = match form.personal {
        None => PersonalV1::default(),
        Some(sealed) => {
            let row = user_key(&key);
            let opened = sealer.open_personal(form.person, personal_place(&row), sealed)?;
            let opened = opened.ok_or(StoreError::Corrupt(
                "the key of the user's personal data was destroyed",
            ))?;
            take(1, opened.expose())?
        }
    };
    Ok(User {
        key,
        groups: form.groups,
        display_name: personal.display_name,
        phone: personal.phone,
        email: personal.email,
        birth_date: personal.birth_date,
        class: form.class,
        disabled: form.disabled,
        bypass: form.bypass.map(Waiver::from),
        exemption: form.exemption.map(Waiver::from),
        remote_issue: form.remote_issue,
        language: form.language.parse().map_err(|()| BAD_FORM)?,
        former: personal
            .former
            .into_iter()
            .map(read_left_contact)
            .collect::<Result<_, _>>()?,
        acts: form
            .acts
            .into_iter()
            .map(read_act)
            .collect::<Result<_, _>>()?,
        created: UnixTime::from_millis(form.created),
        revision: form.revision,
    })
}

/// The number of the key of a user's personal data, and whether anything is sealed under it.
pub(crate) fn user_personal(bytes: &[u8]) -> Result<(u64, bool), StoreError> {
    let form: UserV1<'_> = take(1, bytes)?;
    Ok((form.person, form.personal.is_some()))
}

/// The number of the key of a user's personal data.
pub(crate) fn user_person(bytes: &[u8]) -> Result<u64, StoreError> {
    let form: UserV1<'_> = take(1, bytes)?;
    Ok(form.person)
}

fn personal_place(row: &[u8]) -> Place<'_> {
    Place {
        table: Table::Users.name(),
        row,
        field: "personal",
        version: 1,
    }
}

fn left_contact(one: &FormerContact) -> (String, String, u64) {
    let medium = one.medium.as_str().to_owned();
    (medium, one.address.clone(), one.until.as_millis())
}

fn read_left_contact(
    (medium, address, until): (String, String, u64),
) -> Result<FormerContact, StoreError> {
    Ok(FormerContact {
        medium: medium.parse().map_err(|()| BAD_FORM)?,
        address,
        until: UnixTime::from_millis(until),
    })
}

fn act(one: &OperatorAct) -> (String, String, u64) {
    let touched = one.touched.as_str().to_owned();
    (touched, one.actor.clone(), one.at.as_millis())
}

fn read_act((touched, actor, at): (String, String, u64)) -> Result<OperatorAct, StoreError> {
    let mut all = Touched::ALL.into_iter();
    Ok(OperatorAct {
        touched: all.find(|one| one.as_str() == touched).ok_or(BAD_FORM)?,
        actor,
        at: UnixTime::from_millis(at),
    })
}

/// What an attempt's conditions compare: revision, and whether the user may come in at all.
pub(crate) fn user_condition(bytes: &[u8]) -> Result<(u64, bool), StoreError> {
    let form: UserV1<'_> = take(1, bytes)?;
    Ok((form.revision, form.disabled))
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
    UserKey::with_realm(name, realm).map_err(|_| BAD_FORM)
}

/// The prefix of the row keys of a user's tokens.
pub(crate) fn tokens_prefix(key: &UserKey) -> Vec<u8> {
    let mut bytes = user_key(key);
    bytes.push(0);
    bytes
}

/// A token's row key.
pub(crate) fn token_key(owner: &[u8], serial: &Serial) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(owner.len() + 1 + serial.as_str().len());
    bytes.extend_from_slice(owner);
    bytes.push(0);
    bytes.extend_from_slice(serial.as_str().as_bytes());
    bytes
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

/// The row key of a token's key, where that came from outside or was shown, and can come again.
pub(crate) fn seed_of(token: &Token, sealer: &Sealer) -> Option<Vec<u8>> {
    let comes_again = matches!(token.kind, Kind::Totp | Kind::Hotp);
    comes_again.then(|| seed_key(&token.normal_key(), sealer))
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
    let (found, body) = bytes.split_first().ok_or(BAD_FORM)?;
    if *found > version {
        return Err(StoreError::NewerFormat {
            found: *found,
            known: version,
        });
    }
    let (form, rest) = postcard::take_from_bytes(body).map_err(|_| BAD_FORM)?;
    if rest.is_empty() {
        Ok(form)
    } else {
        Err(BAD_FORM)
    }
}

const BAD_FORM: StoreError = StoreError::Corrupt("a record cannot be read");
