//! What a change of a record does to the rows, given the newest ones. No IO of its own.

use std::fmt::Write as _;

use crate::diagnostic::units::count;
use crate::model::audit::{ChangeEvent, Changed, Event, FieldChange};
use crate::model::credential::{Credentials, Verifier};
use crate::model::id::Serial;
use crate::model::issue::day;
use crate::model::kind::Kind;
use crate::model::session::{Session, Usage, cause_word};
use crate::model::source::SourceState;
use crate::model::token::{LifeCycle, Moving, Token, TokenState};
use crate::model::user::Waiver;
use crate::model::user_key::UserKey;
use crate::secret::Entropy;
use crate::store::import::Prepared;
use crate::store::log::Head;
use crate::store::new_token::token_writes;
use crate::store::record::{Entry, RowWrite, Table};
use crate::store::seal::Sealer;
use crate::store::words::{concerned, words};
use crate::store::working::Working;
use crate::store::{
    By, Change, DeviceAct, Retired, StoreError, changes, clients, device, enrol, loaded, reanchor,
    record, session, users,
};
use crate::time::UnixTime;

use crate::store::evaluate::{gone, put, token_state};

/// Carries out a change on the rows.
pub(crate) fn change(
    rows: &Working<'_>,
    change: &Change,
    by: &By,
    sealer: &Sealer,
    entropy: &dyn Entropy,
) -> Result<Entry, StoreError> {
    let (action, target) = words(change, by);
    let user = concerned(rows, change)?;
    let keys = Keys {
        sealer,
        entropy,
        now: by.at,
        actor: &by.actor,
    };
    let mut expired = None;
    let mut loaded = None;
    let mut anchored = None;
    let writes = match change {
        Change::ExpireTokens => {
            let (writes, serials) = enrol::expire(rows, by.at)?;
            expired = Some(serials.join(" "));
            writes
        }
        Change::Loaded { files, asked, .. } => {
            let (writes, changes) = loaded::change(rows, files, *asked)?;
            loaded = Some(changes);
            writes
        }
        Change::Reanchor(change) => {
            let (writes, detail) = reanchor::user(rows, change)?;
            anchored = Some(detail);
            writes
        }
        change => writes(rows, change, keys)?,
    };
    let detail = match change {
        Change::UpdateUser(user) => users::contacts(rows, user, sealer)?,
        Change::SetTokenState { reason, .. } => reason.clone(),
        Change::ApproveToken { on_behalf, .. } => on_behalf
            .as_ref()
            .map(|from| format!("on behalf of {from}")),
        Change::CreateToken(token, _) => Some(created(token)),
        Change::RenewToken { expires, .. } => Some(format!("until {expires}")),
        Change::LinkToken(_, user) | Change::UnlinkToken(_, user) => Some(user.to_string()),
        Change::Device { act, .. } => match act {
            DeviceAct::Ask => None,
            DeviceAct::Rename(name) => Some(name.clone()),
            DeviceAct::Revoke(why) => Some(why.clone()),
        },
        Change::SetOutage(outage) => outage.as_ref().map(|outage| {
            let (from, until) = (outage.from, outage.until);
            format!("{from} to {until}: {}", outage.reason)
        }),
        Change::Delegate(lent) => Some(format!("until {}: {}", lent.until, lent.reason)),
        Change::Notified { detail, .. } | Change::Note { detail, .. } => Some(detail.clone()),
        Change::SetWaiver { waiver, .. } => waiver.as_ref().map(|waiver| {
            let (from, until) = (waiver.from, waiver.until);
            format!("{from} to {until}: {}", waiver.reason)
        }),
        Change::SetCredentials(_, credentials) => Some(
            [
                ("PIN", &credentials.pin),
                ("password", &credentials.password),
            ]
            .map(|(name, verifier)| said(name, verifier.as_ref(), by))
            .join(", "),
        ),
        Change::EraseUser(_) => {
            let keys = writes.iter().filter(|write| write.table == Table::Erased);
            Some(format!("keys of personal data destroyed: {}", keys.count()))
        }
        Change::ForgetSources { .. } => Some(count(writes.len() as u64, "row")),
        Change::ForgetSessions { .. } | Change::EndSessions { .. } => {
            Some(session::counted(&writes))
        }
        Change::ReportSession(report) => Some(reported(&report.session)),
        Change::ExpireTokens => expired,
        Change::Reanchor(_) => anchored,
        Change::Loaded {
            refused: Some(refused),
            ..
        } => Some(format!("refused, what was in force stays: {refused}")),
        Change::Loaded { changes, .. }
            if changes.is_empty() && loaded.as_ref().is_some_and(Vec::is_empty) =>
        {
            Some("no file has changed".to_owned())
        }
        _ => None,
    };
    let mut changes = changes::of(rows, &writes, &target, keys)?;
    if let Change::EraseUser(_) = change {
        // They could not be read.
        changes.retain(|one| !matches!(one.change, Changed::Sealed { .. }));
    }
    changes.extend(loaded.into_iter().flatten());
    if let Change::Loaded { changes: rules, .. } = change {
        changes.extend(rules.iter().cloned());
    }
    Ok(Made {
        action,
        target,
        user,
        detail,
        changes,
        writes,
    }
    .entry(by))
}

/// What a change comes to, before it is an entry.
struct Made {
    action: &'static str,
    target: String,
    user: Option<String>,
    detail: Option<String>,
    changes: Vec<FieldChange>,
    writes: Vec<RowWrite>,
}

impl Made {
    fn entry(self, by: &By) -> Entry {
        let event = Event::Change(ChangeEvent {
            request: by.request,
            actor: by.shown(),
            action: self.action.to_owned(),
            target: self.target,
            user: self.user,
            detail: self.detail,
        });
        Entry {
            at: by.at,
            event,
            changes: self.changes,
            writes: self.writes,
        }
    }
}

/// Carries out an import.
pub(crate) fn import(
    rows: &Working<'_>,
    prepared: Prepared,
    by: &By,
    sealer: &Sealer,
    entropy: &dyn Entropy,
) -> Result<Entry, StoreError> {
    let (target, detail) = prepared.words();
    let keys = Keys {
        sealer,
        entropy,
        now: by.at,
        actor: &by.actor,
    };
    let writes = prepared.writes(rows, keys)?;
    // The list itself is in the entry's own rows; see `audit show`.
    let digest = changes::digest(&changes::listed(&writes));
    let changes = vec![FieldChange {
        record: None,
        field: "records_sha256".to_owned(),
        change: Changed::Text {
            before: None,
            after: Some(digest),
        },
    }];
    Ok(Made {
        action: "import",
        target,
        user: None,
        detail,
        changes,
        writes,
    }
    .entry(by))
}

/// Audit segments that are not needed any more; see [`crate::store::log::Log::prunable`].
pub(crate) struct Prune {
    /// Older than this.
    pub(crate) before: UnixTime,
    /// The last record that goes.
    pub(crate) anchor: Head,
    pub(crate) by: By,
}

/// Old segments go: the row that says with which record the trail begins from now on.
pub(crate) fn prune(
    rows: &Working<'_>,
    prune: &Prune,
    sealer: &Sealer,
    entropy: &dyn Entropy,
) -> Result<Entry, StoreError> {
    let Prune { before, anchor, by } = prune;
    let known = rows.get(Table::Settings, PRUNED, |row| record::pruned(row, sealer))?;
    if known.is_some_and(|known| known.seq >= anchor.seq) {
        // Another prune was quicker.
        return Err(StoreError::NotFound);
    }
    let (action, target) = words(&Change::PruneAudit { before: *before }, by);
    let detail = format!("records up to {}", anchor.seq);
    let row = record::pruned_row(*anchor, sealer);
    let writes = vec![put(Table::Settings, PRUNED.to_vec(), row)];
    let keys = Keys {
        sealer,
        entropy,
        now: by.at,
        actor: &by.actor,
    };
    let changes = changes::of(rows, &writes, &target, keys)?;
    Ok(Made {
        action,
        target,
        user: None,
        detail: Some(detail),
        changes,
        writes,
    }
    .entry(by))
}

/// Where a new token stands, and what it replaces.
fn created(token: &Token) -> String {
    let mut said = token.state.to_string();
    if let Some(old) = &token.enrolment.replaces {
        said.push_str(", replaces ");
        said.push_str(old.as_str());
    }
    said
}

/// Where a session is, and what it used.
fn reported(session: &Session) -> String {
    let mut said = format!("NAS {}", session.key.nas);
    if let Some(address) = session.framed_ip {
        let _ = write!(said, ", address {address}");
    }
    if session.usage != Usage::default() {
        let Usage {
            seconds,
            octets_in,
            octets_out,
        } = session.usage;
        let _ = write!(
            said,
            ", {seconds} s, {octets_in} octets in, {octets_out} out"
        );
    }
    if let Some(cause) = session.cause.and_then(cause_word) {
        let _ = write!(said, ", {cause}");
    }
    said
}

/// `new PIN`, `no password`, ...
fn said(name: &str, verifier: Option<&Verifier>, by: &By) -> String {
    let Some(verifier) = verifier else {
        return format!("no {name}");
    };
    let age = if verifier.set == by.at { "new" } else { "same" };
    let imported = verifier.hash.imported();
    let imported = imported.map_or("", |_| "imported ");
    let change = if verifier.must_change {
        " to be changed"
    } else {
        ""
    };
    format!("{age} {imported}{name}{change}")
}

fn writes(
    rows: &Working<'_>,
    change: &Change,
    keys: Keys<'_>,
) -> Result<Vec<RowWrite>, StoreError> {
    match change {
        Change::CreateUser(user) => users::create_user(rows, user, keys),
        Change::UpdateUser(user) => users::update_user(rows, user, keys),
        Change::RemoveUser(key, expected) => users::remove_user(rows, key, *expected, keys),
        Change::EraseUser(key) => users::erase_user(rows, key, keys),
        Change::Unlock(key) => users::unlock(rows, key),
        Change::EndWaits(key) => users::end_waits(rows, key, keys.now),
        Change::SetWaiver {
            user,
            which,
            waiver,
            expected,
        } => Ok(vec![users::set_waiver(
            rows,
            user,
            *which,
            waiver.as_ref(),
            *expected,
            keys,
        )?]),
        Change::SetCredentials(key, credentials) => {
            Ok(vec![set_credentials(rows, key, credentials, 1, keys)?])
        }
        Change::RenewCredentials(key, credentials) => {
            Ok(vec![set_credentials(rows, key, credentials, 0, keys)?])
        }
        Change::ForgetSources { before } => forget_sources(rows, *before, keys.now),
        Change::ReportSession(report) => session::report(rows, report),
        Change::EndSessions { sessions, at } => session::end(rows, sessions, *at),
        Change::ForgetSessions {
            sessions, before, ..
        } => session::forget(rows, sessions, *before),
        Change::CreateToken(token, state) => create_token(rows, token, state, keys),
        Change::SetTokenState {
            serial,
            state,
            expected,
            reason,
        } => {
            let frozen = reason.as_deref() == Some(FROZEN);
            set_token_state(rows, serial, (*state, frozen), *expected, keys.now)
        }
        Change::ApproveToken {
            serial,
            by,
            on_behalf,
            expected,
        } => {
            let on_behalf = on_behalf.as_deref();
            enrol::approve(rows, serial, by, on_behalf, *expected, keys.now)
        }
        Change::RenewToken {
            serial,
            expires,
            expected,
            call,
        } => enrol::renew(rows, serial, *expires, *expected, call.as_ref(), keys.now),
        Change::LinkToken(serial, user) => enrol::link(rows, serial, user, keys),
        Change::UnlinkToken(serial, user) => enrol::unlink(rows, serial, user, keys.now),
        Change::ExpireTokens => Ok(enrol::expire(rows, keys.now)?.0),
        Change::Device { id, act, call } => device::change(rows, id, act, call.as_ref(), keys.now),
        Change::SetOutage(outage) => set_outage(rows, outage.as_ref()),
        Change::Delegate(lent) => Ok(vec![put(
            Table::Delegations,
            record::delegation_key(&lent.from, &lent.to),
            record::delegation_row(lent)?,
        )]),
        Change::Undelegate(from, to) => {
            let key = record::delegation_key(from, to);
            rows.get(Table::Delegations, &key, |_| Ok(()))?
                .ok_or(StoreError::NotFound)?;
            Ok(vec![gone(Table::Delegations, key)])
        }
        Change::Notified { seq, .. } => Ok(vec![put(
            Table::Settings,
            NOTIFIED.to_vec(),
            seq.to_be_bytes().to_vec(),
        )]),
        Change::RemoveToken(serial, expected) => {
            remove_token(rows, serial, *expected, (keys.sealer, keys.now))
        }
        Change::CreateClient(client) => Ok(vec![clients::create(rows, client, keys)?]),
        Change::UpdateClient(client) => Ok(vec![clients::update(rows, client, keys)?]),
        Change::RemoveClient(name, expected) => clients::remove(rows, name, *expected),
        Change::Learn { client, address } => {
            let key = record::lesson_key(client, *address);
            let known = rows.get(Table::Lessons, &key, |_| Ok(()))?.is_some();
            refuse_if(known, "the lesson is known")?;
            Ok(vec![put(Table::Lessons, key, vec![1])])
        }
        Change::AcceptClock | Change::Note { .. } => Ok(Vec::new()),
        Change::Reanchor(change) => Ok(reanchor::user(rows, change)?.0),
        Change::ReanchorRetired { present, keys } => reanchor::retired(rows, *present, keys),
        Change::ReanchorSources(present) => reanchor::sources(rows, *present),
        Change::Import(_) => Err(StoreError::Conflict("an import is made ready first")),
        Change::PruneAudit { .. } => Err(StoreError::Conflict("what goes is found first")),
        Change::Loaded { files, asked, .. } => Ok(loaded::change(rows, files, *asked)?.0),
    }
}

/// Whether the entry says that its time is the present although later ones are on record.
pub(crate) fn accepts_clock(entry: &Entry) -> bool {
    matches!(&entry.event, Event::Change(event) if event.action == ACCEPT_CLOCK)
}

#[derive(Clone, Copy)]
pub(crate) struct Keys<'a> {
    pub(crate) now: UnixTime,
    /// Who acts; none for a decision.
    pub(crate) actor: &'a str,
    pub(crate) sealer: &'a Sealer,
    pub(crate) entropy: &'a dyn Entropy,
}

fn set_credentials(
    rows: &Working<'_>,
    user: &UserKey,
    credentials: &Credentials,
    raise: u64,
    keys: Keys<'_>,
) -> Result<RowWrite, StoreError> {
    let key = record::user_key(user);
    rows.get(Table::Users, &key, |_| Ok(()))?
        .ok_or(StoreError::NotFound)?;
    let found = rows.get(Table::Credentials, &key, record::credentials_revision)?;
    refuse_if(found.unwrap_or_default() != credentials.revision, CHANGED)?;
    let credentials = Credentials {
        revision: credentials.revision + raise,
        ..credentials.clone()
    };
    let row = record::credentials_row(&key, &credentials, keys.sealer, keys.entropy)?;
    Ok(put(Table::Credentials, key, row))
}

/// Sources whose last failure is long past. At most so many at a time, and nothing to do is no
/// entry.
fn forget_sources(
    rows: &Working<'_>,
    before: UnixTime,
    now: UnixTime,
) -> Result<Vec<RowWrite>, StoreError> {
    let mut writes = Vec::new();
    for key in rows.keys(Table::Sources, b"")? {
        let state = rows.get(Table::Sources, &key, record::source_state)?;
        let quiet = |state: SourceState| state.last < before && state.throttle.check(now).is_ok();
        if state.is_some_and(quiet) {
            writes.push(gone(Table::Sources, key));
        }
        if writes.len() == FORGOTTEN {
            break;
        }
    }
    let today = day(now);
    for key in rows.keys(Table::Quotas, b"")? {
        let counted = rows.get(Table::Quotas, &key, record::count)?;
        if writes.len() < FORGOTTEN && counted.is_some_and(|(of, _)| of < today) {
            writes.push(gone(Table::Quotas, key));
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
    refuse_twin(rows, &owner, token, keys)?;
    let person = users::person_of(rows, &owner)?;
    token_writes(rows, owner, token, state, person, keys)
}

/// The owner must exist and have no token with the same key: each of the two would accept the same
/// code once.
pub(super) fn refuse_twin(
    rows: &Working<'_>,
    owner: &[u8],
    token: &Token,
    keys: Keys<'_>,
) -> Result<(), StoreError> {
    rows.get(Table::Users, owner, |_| Ok(()))?
        .ok_or(StoreError::NotFound)?;
    refuse_key(rows, &token.user, token, keys)
}

/// One key twice for one user, be it their own or one that counts for them too: each of the two would
/// accept the same code once.
pub(super) fn refuse_key(
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
        refuse_if(same, "the user has a token with this key already")?;
    }
    Ok(())
}

fn set_outage(rows: &Working<'_>, outage: Option<&Waiver>) -> Result<Vec<RowWrite>, StoreError> {
    let key = OUTAGE.to_vec();
    match outage {
        Some(outage) => Ok(vec![put(Table::Settings, key, record::waiver_row(outage)?)]),
        None => {
            rows.get(Table::Settings, &key, |_| Ok(()))?
                .ok_or(StoreError::NotFound)?;
            Ok(vec![gone(Table::Settings, key)])
        }
    }
}

fn set_token_state(
    rows: &Working<'_>,
    serial: &Serial,
    (state, frozen): (LifeCycle, bool),
    expected: u64,
    at: UnixTime,
) -> Result<Vec<RowWrite>, StoreError> {
    let (key, mut token) = enrol::seen(rows, serial, expected)?;
    let present = token.state_at(at)?;
    refuse_if(
        !present.may_become(state),
        "the token's present state does not allow that",
    )?;
    match (present, state) {
        (_, LifeCycle::Revoked | LifeCycle::Expired) => {
            let owner = key[..key.len() - serial.as_str().len() - 1].to_vec();
            let mut writes = enrol::remembered(rows, &owner, serial.as_str(), &token, at)?;
            if frozen && writes.is_empty() {
                // "This was not me": no password alone is believed for a while.
                writes.push(enrol::remember(rows, owner, at)?);
            }
            writes.extend(enrol::ended(key, serial.as_str(), token, state)?);
            Ok(writes)
        }
        (LifeCycle::Pending, LifeCycle::Active) => enrol::activate(rows, &key, serial, token, at),
        _ => {
            if state == LifeCycle::Active {
                enrol::refuse_unsynchronised(rows, serial)?;
            }
            token.set_state(state);
            Ok(vec![put(Table::Tokens, key, token.changed()?)])
        }
    }
}

fn remove_token(
    rows: &Working<'_>,
    serial: &Serial,
    expected: Option<u64>,
    (sealer, at): (&Sealer, UnixTime),
) -> Result<Vec<RowWrite>, StoreError> {
    let key = find_token(rows, serial)?;
    let condition = rows.get(Table::Tokens, &key, record::token_condition)?;
    let (revision, _) = condition.ok_or(StoreError::NotFound)?;
    refuse_other(revision, expected)?;
    token_gone(rows, key, serial, sealer, at)
}

pub(super) fn find_token(rows: &Working<'_>, serial: &Serial) -> Result<Vec<u8>, StoreError> {
    let owner = rows.get(Table::Owners, serial.as_str().as_bytes(), |row| {
        Ok(row.to_vec())
    })?;
    Ok(record::token_key(
        &owner.ok_or(StoreError::NotFound)?,
        serial,
    ))
}

pub(super) fn tokens_of(
    rows: &Working<'_>,
    user: &UserKey,
) -> Result<Vec<(Vec<u8>, Serial)>, StoreError> {
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

/// The token's rows go; the last step of its key stays, or the same key under a new token would
/// make used codes good again.
pub(super) fn token_gone(
    rows: &Working<'_>,
    key: Vec<u8>,
    serial: &Serial,
    sealer: &Sealer,
    at: UnixTime,
) -> Result<Vec<RowWrite>, StoreError> {
    let token = rows
        .get(Table::Tokens, &key, |row| record::token(row, sealer))?
        .ok_or(StoreError::NotFound)?;
    let moving = match token_state(rows, serial) {
        Ok(state) if state.needs_resync().is_none() => state.moving,
        // Which codes are used is not known: none of this key is taken again.
        Ok(_) | Err(StoreError::Corrupt(_)) => Moving {
            last: Some(ALL_USED),
            ..Moving::default()
        },
        Err(error) => return Err(error),
    };
    let row = enrol::own_row(rows, &key)?.ok_or(StoreError::NotFound)?;
    let owner = &key[..key.len() - serial.as_str().len() - 1];
    let until = row.expires().map_or(at, |end| end.min(at));
    let remembered = enrol::remembered(rows, owner, serial.as_str(), &row, until)?;
    let indexes = enrol::indexes_gone(rows, serial, &row)?;
    let name = serial.as_str().as_bytes().to_vec();
    let mut writes = vec![
        gone(Table::Tokens, key),
        gone(Table::Owners, name.clone()),
        gone(Table::TokenStates, name),
    ];
    let seed = record::seed_of(&token, sealer);
    writes.extend(seed.map(|seed| gone(Table::Seeds, seed)));
    // Only keys that came from outside can come again.
    if moving.last.is_some() && matches!(token.kind, Kind::Totp | Kind::Hotp) {
        let key = record::retired_key(&token.normal_key(), sealer);
        let retired = Retired {
            serial: serial.clone(),
            period: token.counts_time(),
            moving,
        };
        writes.push(put(Table::Retired, key, record::retired_row(&retired)?));
    }
    writes.extend(indexes);
    writes.extend(remembered);
    Ok(writes)
}

pub(super) const fn refuse_if(refuse: bool, why: &'static str) -> Result<(), StoreError> {
    if refuse {
        Err(StoreError::Conflict(why))
    } else {
        Ok(())
    }
}

/// A removal under a revision that is not the present one.
pub(super) fn refuse_other(revision: u64, expected: Option<u64>) -> Result<(), StoreError> {
    refuse_if(expected.is_some_and(|seen| seen != revision), CHANGED)
}

/// Stands for the last step of a key of which no code is good any more.
const ALL_USED: u64 = u64::MAX >> 1;
/// Most sources forgotten by one change.
const FORGOTTEN: usize = 10_000;
/// The reason of a state that the word in a notice gave.
pub(crate) const FROZEN: &str = "frozen";
pub(crate) const ACCEPT_CLOCK: &str = "clock_accept";
/// Keys of the table of settings.
pub(super) const OUTAGE: &[u8] = b"outage";
pub(super) const NOTIFIED: &[u8] = b"notified";
pub(super) const PRUNED: &[u8] = b"pruned";
pub(super) const CHANGED: &str =
    "the record was changed by somebody else; look at it and try again";
