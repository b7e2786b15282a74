//! Tokens that are added, removed, renewed, and shared by a second user.

use crate::model::device::DeviceCall;
use crate::model::enrolment::Enrolment;
use crate::model::id::Serial;
use crate::model::kind::Kind;
use crate::model::token::{LifeCycle, Moving, Token, TokenState};
use crate::model::user_key::UserKey;
use crate::otp::Period;
use crate::store::record::{FLOOR, RowWrite, Table, TokenRow, link_key};
use crate::store::transition::plan::Plan;
use crate::store::transition::rows::{
    Keys, expiry_gone, expiry_put, find_token, gone, own_row, owner_of, person_of, put, refuse_if,
    refuse_other, seen, token_state, token_state_write, tokens_of,
};
use crate::store::transition::working::Working;
use crate::store::transition::{devices, lifecycle};
use crate::store::{Retired, StoreError, record};
use crate::time::UnixTime;

pub(super) fn create(
    rows: &Working<'_>,
    token: &Token,
    state: &TokenState,
    keys: Keys<'_>,
) -> Result<Plan, StoreError> {
    let owner = record::user_key(&token.user);
    refuse_twin(rows, &owner, token, keys)?;
    let person = owners_person(rows, token)?;
    let writes = created(rows, owner, token, state, person, keys)?;
    let mut detail = token.state.to_string();
    if let Some(old) = &token.enrolment.replaces {
        detail.push_str(", replaces ");
        detail.push_str(old.as_str());
    }
    let plan = Plan::new("token_add", &token.serial, writes);
    let plan = plan.concerns(Some(token.user.to_string()));
    Ok(plan.detail(detail))
}

/// A new token that the device which asks for it carries.
pub(super) fn carry(
    rows: &Working<'_>,
    token: &Token,
    call: &DeviceCall,
    keys: Keys<'_>,
) -> Result<Plan, StoreError> {
    let taken = devices::taken(rows, Some(call), keys.now)?;
    let owner = record::user_key(&token.user);
    let prefix = [owner.as_slice(), b"\0"].concat();
    let (mut is_proven, mut replaces) = (false, None);
    for (key, other) in devices::tokens(rows, &owner, call.device.as_str())? {
        let state = other.state_at(keys.now)?;
        is_proven |= other.kind() == Kind::Server.as_str() && state == LifeCycle::Active;
        if other.kind() != token.kind.as_str() || !state.may_become(LifeCycle::Revoked) {
            continue;
        }
        let name = record::last_part(&key, &prefix)?.to_owned();
        let named = token.enrolment.replaces.as_ref();
        refuse_if(named.is_none_or(|old| old.as_str() != name), CARRIED)?;
        replaces = Some(name);
    }
    refuse_if(!is_proven, "no token of the device is in use")?;
    if token.enrolment.replaces.is_some() && replaces.is_none() {
        return Err(StoreError::NotFound);
    }
    let plan = create(rows, token, &TokenState::default(), keys)?;
    Ok(plan.also(taken))
}

/// The rows of a new token of an owner who may have it.
pub(super) fn created(
    rows: &Working<'_>,
    owner: Vec<u8>,
    token: &Token,
    state: &TokenState,
    person: u64,
    keys: Keys<'_>,
) -> Result<Vec<RowWrite>, StoreError> {
    let made = Made::new(token, person, keys)?;
    let mut writes = made.rows(rows, owner, token, state)?;
    if token.state == LifeCycle::Active {
        let key = record::token_key(&record::user_key(&token.user), &token.serial);
        let is_row = |write: &RowWrite| write.table == Table::Tokens && write.key == key;
        let made = writes.iter().find(|write| is_row(write));
        let made = made.and_then(|write| write.value.as_deref());
        let row = TokenRow::parse(made.ok_or(StoreError::NotFound)?)?;
        // Made active at once, it comes into use like any other: under the limits, replacing.
        writes.retain(|write| !is_row(write));
        let activated = lifecycle::activate(rows, &key, &token.serial, row, keys.now)?;
        writes.extend(activated);
    }
    Ok(writes)
}

/// What of a new token is made without looking at any row.
#[derive(Clone, Debug)]
pub(super) struct Made {
    row: Vec<u8>,
    retired: Vec<u8>,
    seed: Option<Vec<u8>>,
    /// What stands for its address in the index.
    address: Option<[u8; 16]>,
}

impl Made {
    /// Of a token that comes into use, if it does, by [`lifecycle::activate`].
    fn new(token: &Token, person: u64, keys: Keys<'_>) -> Result<Self, StoreError> {
        // Coming into use at once raises it to the same first revision.
        let raised = u64::from(token.state == LifeCycle::Active);
        Self::at(token.revision.saturating_sub(raised), token, person, keys)
    }

    /// Of one that no user has yet.
    pub(super) fn at_rest(token: &Token, keys: Keys<'_>) -> Result<Self, StoreError> {
        Self::new(token, 0, keys)
    }

    /// What stands for its key in the index of keys.
    pub(super) const fn seed(&self) -> Option<&Vec<u8>> {
        self.seed.as_ref()
    }

    /// Of a token at its first revision, in its state.
    pub(super) fn first(token: &Token, person: u64, keys: Keys<'_>) -> Result<Self, StoreError> {
        Self::at(token.revision, token, person, keys)
    }

    fn at(revision: u64, token: &Token, person: u64, keys: Keys<'_>) -> Result<Self, StoreError> {
        let address = token.address.as_deref();
        Ok(Self {
            row: record::token_row(token, revision, person, keys.sealer, keys.entropy)?,
            retired: record::retired_key(&token.normal_key(), keys.sealer),
            seed: record::seed_of(token, keys.sealer),
            address: address.map(|address| record::address_mark(address, keys.sealer)),
        })
    }

    /// The rows of the new token.
    pub(super) fn rows(
        self,
        rows: &Working<'_>,
        owner: Vec<u8>,
        token: &Token,
        state: &TokenState,
    ) -> Result<Vec<RowWrite>, StoreError> {
        let name = token.serial.as_str();
        let serial = name.as_bytes().to_vec();
        refuse_if(
            rows.has(Table::Owners, &serial)?,
            "a token with this serial exists already",
        )?;
        if let Some(seed) = &self.seed {
            refuse_if(rows.has(Table::Seeds, seed)?, SEED_TAKEN)?;
        }
        let mut state = *state;
        let closed = token.state == LifeCycle::Active && state.needs_resync().is_some();
        refuse_if(closed, lifecycle::UNSYNCHRONISED)?;
        let retired = rows.get(Table::Retired, &self.retired, record::retired)?;
        if let Some(retired) = retired {
            let barred = retired.bars(token.counts_time());
            barred.map_or(Ok(()), |why| Err(StoreError::Conflict(why)))?;
            state.moving = retired.used_up(state.moving);
        }
        let key = record::token_key(&owner, &token.serial);
        let mut writes = vec![
            put(Table::Tokens, key, self.row),
            put(Table::Owners, serial.clone(), owner),
            token_state_write(&token.serial, &state)?,
        ];
        writes.extend(self.seed.map(|seed| put(Table::Seeds, seed, serial)));
        let address = self.address.map(|mark| record::address_key(&mark, name));
        writes.extend(address.map(|key| put(Table::Addresses, key, Vec::new())));
        writes.extend(token.expires.map(|expires| expiry_put(expires, name)));
        Ok(writes)
    }
}

/// The owner must exist and have no token with the same key: each of the two would accept the same
/// code once.
pub(super) fn refuse_twin(
    rows: &Working<'_>,
    owner: &[u8],
    token: &Token,
    keys: Keys<'_>,
) -> Result<(), StoreError> {
    if token.user.is_stock() {
        // Whosever it is, the same key twice is refused by its own index.
        return Ok(());
    }
    rows.require(Table::Users, owner)?;
    refuse_key(rows, &token.user, token, keys)
}

/// The number of the key of an owner's personal data; tokens in stock have none.
pub(super) fn owners_person(rows: &Working<'_>, token: &Token) -> Result<u64, StoreError> {
    if token.user.is_stock() {
        return Ok(0);
    }
    person_of(rows, &record::user_key(&token.user))
}

/// Gives a token in stock to a user: its counter and its used codes go with it.
pub(super) fn assign(
    rows: &Working<'_>,
    serial: &Serial,
    user: &UserKey,
    (state, enrolment): (LifeCycle, &Enrolment),
    expected: u64,
    keys: Keys<'_>,
) -> Result<Plan, StoreError> {
    let (old, mut row) = seen(rows, serial, expected)?;
    refuse_if(
        row.state_at(keys.now)? != LifeCycle::Unassigned,
        "only a token in stock is assigned",
    )?;
    let owner = record::user_key(user);
    rows.require(Table::Users, &owner)?;
    let token = rows.get(Table::Tokens, &old, |row| record::token(row, keys.sealer))?;
    refuse_key(rows, user, &token.ok_or(StoreError::NotFound)?, keys)?;
    let closed = token_state(rows, serial)?.needs_resync().is_some();
    refuse_if(closed && state == LifeCycle::Active, CLOSED_IN_STOCK)?;
    row.set_owner(user);
    let key = record::token_key(&owner, serial);
    let name = serial.as_str().as_bytes().to_vec();
    let mut writes = vec![gone(Table::Tokens, old), put(Table::Owners, name, owner)];
    if state == LifeCycle::Active {
        row.set_enrolment(enrolment);
        writes.extend(lifecycle::activate(rows, &key, serial, row, keys.now)?);
    } else {
        row.set_enrolment(&enrolment.clone().handed_out(keys.now));
        row.set_state(state);
        writes.push(put(Table::Tokens, key, row.changed()?));
    }
    let plan = Plan::new("token_assign", serial, writes);
    let plan = plan.concerns(Some(user.to_string()));
    Ok(plan.detail(state.to_string()))
}

/// Takes a token back into stock.
pub(super) fn unassign(
    rows: &Working<'_>,
    serial: &Serial,
    expected: u64,
    at: UnixTime,
) -> Result<Plan, StoreError> {
    let (old, mut row) = seen(rows, serial, expected)?;
    let state = row.state_at(at)?;
    let made_for_one = row.device().is_some() || !matches!(row.kind(), "totp" | "hotp");
    let enrolment = row.enrolment()?;
    refuse_if(
        made_for_one || enrolment.link.is_some(),
        "only totp and hotp tokens that were not enrolled by a device or a link go into stock",
    )?;
    refuse_if(
        !matches!(
            state,
            LifeCycle::Pending | LifeCycle::Active | LifeCycle::Suspended
        ),
        "only a token that is pending, active or suspended goes back into stock",
    )?;
    refuse_if(is_shared(rows, serial)?, COUNTS_TWICE)?;
    let owner = record::owner_part(&old, serial).to_vec();
    let stock = record::user_key(&UserKey::stock());
    let mut writes = lifecycle::remembered(rows, &owner, serial.as_str(), &row, at)?;
    let expires = row.expires();
    writes.extend(expires.map(|expires| expiry_gone(expires, serial.as_str())));
    row.set_expires(None);
    row.set_enrolment(&Enrolment {
        requester: enrolment.requester,
        ..Enrolment::default()
    });
    row.set_owner(&UserKey::stock());
    row.set_state(LifeCycle::Unassigned);
    let key = record::token_key(&stock, serial);
    writes.push(gone(Table::Tokens, old));
    writes.push(put(Table::Tokens, key, row.changed()?));
    let name = serial.as_str().as_bytes().to_vec();
    writes.push(put(Table::Owners, name, stock));
    Plan::of_token(rows, "token_unassign", serial, writes)
}

/// Whether it counts for a second user.
pub(super) fn is_shared(rows: &Working<'_>, serial: &Serial) -> Result<bool, StoreError> {
    let links = rows.keys(Table::Links, &link_key(serial.as_str(), b""))?;
    Ok(!links.is_empty())
}

/// One key twice for one user, be it their own or one that counts for them too: each of the two would
/// accept the same code once.
fn refuse_key(
    rows: &Working<'_>,
    user: &UserKey,
    token: &Token,
    keys: Keys<'_>,
) -> Result<(), StoreError> {
    let normal = token.normal_key();
    for (key, _) in tokens_of(rows, user)? {
        let link = |row: &[u8]| Ok(record::link_target(row).map(<[u8]>::to_vec));
        let target = rows.get(Table::Tokens, &key, link)?.flatten();
        let key = target.as_deref().unwrap_or(&key);
        let other = rows.get(Table::Tokens, key, |row| record::token(row, keys.sealer))?;
        let same = other.is_some_and(|other| other.normal_key() == normal);
        refuse_if(same, TWIN)?;
    }
    Ok(())
}

pub(super) fn remove(
    rows: &Working<'_>,
    serial: &Serial,
    expected: Option<u64>,
    keys: Keys<'_>,
) -> Result<Plan, StoreError> {
    let key = find_token(rows, serial)?;
    let condition = rows.get(Table::Tokens, &key, record::token_condition)?;
    let (revision, _) = condition.ok_or(StoreError::NotFound)?;
    refuse_other(revision, expected)?;
    let writes = removed(rows, key, serial, keys)?;
    Plan::of_token(rows, "token_remove", serial, writes)
}

/// The token's rows go; the last step of its key stays, or the same key under a new token would
/// make used codes good again.
pub(super) fn removed(
    rows: &Working<'_>,
    key: Vec<u8>,
    serial: &Serial,
    keys: Keys<'_>,
) -> Result<Vec<RowWrite>, StoreError> {
    let token = rows.get(Table::Tokens, &key, |row| record::token(row, keys.sealer))?;
    let token = token.ok_or(StoreError::NotFound)?;
    // What may be resynchronised still may be so under another name: there, too, it is closed until then.
    let ends = matches!(
        token.state_at(keys.now),
        LifeCycle::Revoked | LifeCycle::Expired
    );
    let closed_again = !ends && rows.has(Table::Settings, FLOOR)?;
    let moving = match token_state(rows, serial) {
        Ok(state) if closed_again || state.needs_resync().is_none() => state.moving,
        // Which codes are used is not known: none of this key is taken again.
        Ok(_) | Err(StoreError::Corrupt(_)) => Moving {
            last: Some(ALL_USED),
            ..Moving::default()
        },
        Err(error) => return Err(error),
    };
    let row = own_row(rows, &key)?.ok_or(StoreError::NotFound)?;
    let owner = record::owner_part(&key, serial);
    let until = row.expires().map_or(keys.now, |end| end.min(keys.now));
    let remembered = lifecycle::remembered(rows, owner, serial.as_str(), &row, until)?;
    let indexes = indexes_gone(rows, serial, &row)?;
    let name = serial.as_str().as_bytes().to_vec();
    let mut writes = vec![
        gone(Table::Tokens, key),
        gone(Table::Owners, name.clone()),
        gone(Table::TokenStates, name),
    ];
    let seed = record::seed_of(&token, keys.sealer);
    writes.extend(seed.map(|seed| gone(Table::Seeds, seed)));
    // Only keys that came from outside can come again.
    if moving.last.is_some() && token.kind.is_keyed() {
        let key = record::retired_key(&token.normal_key(), keys.sealer);
        // The first of several with this key: the steps that the audit has of it are not all, and `clock recover`
        // must not believe that they are.
        let before = rows.get(Table::Retired, &key, record::retired)?;
        let retired = Retired {
            serial: before.map_or_else(|| serial.clone(), |before| before.serial),
            period: token.counts_time(),
            moving,
        };
        writes.push(put(Table::Retired, key, record::retired_row(&retired)?));
    }
    writes.extend(indexes);
    writes.extend(remembered);
    Ok(writes)
}

/// The rows that go with a token that goes: its links, its address, its time.
fn indexes_gone(
    rows: &Working<'_>,
    serial: &Serial,
    token: &TokenRow,
) -> Result<Vec<RowWrite>, StoreError> {
    let name = serial.as_str();
    let mut writes = Vec::new();
    let prefix = link_key(name, b"");
    for entry in rows.keys(Table::Links, &prefix)? {
        let other = &entry[prefix.len()..];
        writes.push(gone(Table::Tokens, record::token_key(other, serial)));
        writes.push(gone(Table::Links, entry.clone()));
    }
    let address = token.address_mark();
    let address = address.map(|mark| record::address_key(mark, name));
    writes.extend(address.map(|key| gone(Table::Addresses, key)));
    writes.extend(token.expires().map(|expires| expiry_gone(expires, name)));
    Ok(writes)
}

/// Gives a token in use another end.
pub(super) fn renew(
    rows: &Working<'_>,
    serial: &Serial,
    expires: UnixTime,
    (expected, call): (u64, Option<&DeviceCall>),
    at: UnixTime,
) -> Result<Plan, StoreError> {
    let (key, mut token) = seen(rows, serial, expected)?;
    let in_use = matches!(
        token.state_at(at)?,
        LifeCycle::Active | LifeCycle::Suspended
    );
    refuse_if(!in_use, "only a token in use is renewed")?;
    let mut writes = devices::taken(rows, call, at)?;
    let before = token.expires();
    writes.extend(before.map(|before| expiry_gone(before, serial.as_str())));
    token.set_expires(Some(expires));
    writes.push(expiry_put(expires, serial.as_str()));
    writes.push(put(Table::Tokens, key, token.changed()?));
    let plan = Plan::of_token(rows, "token_renew", serial, writes)?;
    Ok(plan.detail(format!("until {expires}")))
}

pub(super) fn link(
    rows: &Working<'_>,
    serial: &Serial,
    user: &UserKey,
    keys: Keys<'_>,
) -> Result<Plan, StoreError> {
    rows.require(Table::Users, &record::user_key(user))?;
    let token = on_record(rows, serial, keys)?;
    let writes = linked(rows, &token, user, keys)?;
    let plan = Plan::of_token(rows, "token_link", serial, writes)?;
    Ok(plan.detail(user.to_string()))
}

/// The token with this serial.
pub(super) fn on_record(
    rows: &Working<'_>,
    serial: &Serial,
    keys: Keys<'_>,
) -> Result<Token, StoreError> {
    let key = record::token_key(&owner_of(rows, serial)?, serial);
    let token = rows.get(Table::Tokens, &key, |row| record::token(row, keys.sealer))?;
    token.ok_or(StoreError::NotFound)
}

/// The rows by which a token in use counts for this user, too.
pub(super) fn linked(
    rows: &Working<'_>,
    token: &Token,
    user: &UserKey,
    keys: Keys<'_>,
) -> Result<Vec<RowWrite>, StoreError> {
    let (owner, other) = (record::user_key(&token.user), record::user_key(user));
    refuse_if(owner == other, OWN_TOKEN)?;
    let in_use = token.state_at(keys.now) == LifeCycle::Active && !token.user.is_stock();
    refuse_if(!in_use, "only a token in use counts for a second user")?;
    let key = record::token_key(&other, &token.serial);
    refuse_if(rows.has(Table::Tokens, &key)?, LINKED)?;
    refuse_key(rows, user, token, keys)?;
    Ok(vec![
        put(Table::Tokens, key, record::link_row(&owner, &token.serial)),
        put(
            Table::Links,
            link_key(token.serial.as_str(), &other),
            Vec::new(),
        ),
    ])
}

pub(super) fn unlink(
    rows: &Working<'_>,
    serial: &Serial,
    user: &UserKey,
    at: UnixTime,
) -> Result<Plan, StoreError> {
    let writes = unlinked(rows, serial, user, at)?;
    let plan = Plan::of_token(rows, "token_unlink", serial, writes)?;
    Ok(plan.detail(user.to_string()))
}

pub(super) fn unlinked(
    rows: &Working<'_>,
    serial: &Serial,
    user: &UserKey,
    at: UnixTime,
) -> Result<Vec<RowWrite>, StoreError> {
    let other = record::user_key(user);
    let entry = link_key(serial.as_str(), &other);
    rows.require(Table::Links, &entry)?;
    let mut writes = vec![
        gone(Table::Tokens, record::token_key(&other, serial)),
        gone(Table::Links, entry),
    ];
    let own = own_row(rows, &find_token(rows, serial)?)?;
    if own.is_some_and(|token| lifecycle::is_factor(&token).unwrap_or(true)) {
        writes.push(lifecycle::remember(rows, other, at)?);
    }
    Ok(writes)
}

/// Of two tokens with one key each would accept the same code once. It lies on record until its token is
/// removed, for an ended one knows which codes were used.
pub(crate) const CARRIED: &str = "the device carries a token of this kind already";
pub(crate) const COUNTS_TWICE: &str = "the token counts for a second user: unlink it first";
pub(crate) const OWN_TOKEN: &str = "the token is this user's own";
pub(crate) const LINKED: &str = "the token counts for this user already";
pub(crate) const SEED_TAKEN: &str = "another user's token has this key";
pub(crate) const TWIN: &str = "the user has a token with this key already";
/// A counter and steps of time, or of another length, are numbers of one row: what the one used up says
/// nothing about the other.
const OTHER_USE: &str = "a removed token had this key as another kind or with another period: \
    its used codes could be right again; make a token with a new key";
/// No code of the key would ever be right: better to say so than to make a token that lets no one in.
const VOID_KEY: &str = "a removed token had this key, and which of its codes are used is not known since the store was \
    repaired or restored: none of them is taken again; make a token with a new key";
/// See [`lifecycle::UNSYNCHRONISED`].
const CLOSED_IN_STOCK: &str = "a repair or restore of the store closed the token, and which of its codes are used is not \
    known: assign it without making it active, resync it by two codes (oncegate token resync), then confirm it";
/// Stands for the last step of a key of which no code is good any more.
const ALL_USED: u64 = u64::MAX >> 1;

impl Retired {
    /// Why no token with the same key is made that counts so: time in steps of this many seconds, or presses.
    pub(crate) fn bars(&self, period: Option<Period>) -> Option<&'static str> {
        if self.period != period {
            return Some(OTHER_USE);
        }
        (self.moving.last >= Some(ALL_USED)).then_some(VOID_KEY)
    }

    /// A moving factor behind what was used up of the key.
    pub(crate) fn used_up(&self, moving: Moving) -> Moving {
        let used = self.moving.ahead.ranges();
        Moving {
            last: moving.last.max(self.moving.last),
            ahead: used.fold(moving.ahead, |all, (first, last)| all.with(first, last)),
            ..moving
        }
    }
}
