//! What a change did to the records, for the audit: field by field, before and after.
//!
//! Derived from the rows that a transition writes and from those they replace, so that nothing a verb
//! writes can be missing and no verb needs code of its own. Rows that only repeat or count (indexes,
//! quotas, counters of logins) are left out.
//!
//! Invariant: secrets are compared here and never shown; see [`Changed::Secret`].

use sha2::{Digest as _, Sha256};

use crate::model::audit::{AuditRecord, Changed, Event, FieldChange, SecretChange};
use crate::model::client::Access;
use crate::model::credential::Verifier;
use crate::model::user::Waiver;
use crate::model::user_key::UserKey;
use crate::notice::FORMER_CONTACTS;
use crate::otp::throttle::{Block, Throttle};
use crate::store::record::{OUTAGE, PRUNED, RowWrite, Table, TokenRow};
use crate::store::seal::{Place, Sealer};
use crate::store::transition::rows::Keys;
use crate::store::transition::working::Working;
use crate::store::{StoreError, record};
use crate::time::UnixTime;

/// What these writes change of the records that `target` and others name.
pub(super) fn of(
    rows: &Working<'_>,
    writes: &[RowWrite],
    target: &str,
    keys: Keys<'_>,
) -> Result<Vec<FieldChange>, StoreError> {
    let shown: Vec<&RowWrite> = writes.iter().filter(|write| is_shown(write)).collect();
    let mut changes = Vec::new();
    for (index, write) in shown.iter().enumerate() {
        let later = shown.get(index + 1..).unwrap_or_default();
        if later
            .iter()
            .any(|other| (other.table, &other.key) == (write.table, &write.key))
        {
            continue;
        }
        let read = |row: &[u8]| fields(write.table, &write.key, row, keys.sealer);
        let before = rows.get(write.table, &write.key, |row| {
            let mut fields = read(row)?;
            if write.table == Table::Users && write.value.is_none() {
                fields.extend(former_contacts(row, keys)?);
            }
            Ok(fields)
        });
        let before = match before {
            // A damaged record can be removed or replaced, and that is what the audit says.
            Err(StoreError::Corrupt(what)) => Some(vec![("unreadable", Shown::Text(what.into()))]),
            before => before?,
        };
        let after = write.value.as_deref().map(read).transpose()?;
        let (noun, name) = named(write.table, &write.key);
        let record = (name != target).then(|| format!("{noun} {name}"));
        for (field, change, person) in difference(before, after) {
            let change = match person {
                None => change,
                Some(person) => sealed(person, field, &change, keys)?,
            };
            changes.push(FieldChange {
                record: record.clone(),
                field: field.to_owned(),
                change,
            });
        }
    }
    Ok(changes)
}

/// As [`of`], for an attempt: nothing of the counters that every attempt moves.
pub(super) fn of_attempt(
    rows: &Working<'_>,
    writes: &[RowWrite],
    keys: Keys<'_>,
) -> Result<Vec<FieldChange>, StoreError> {
    let lasting = |write: &&RowWrite| is_shown(write) && !write.table.is_hot();
    let lasting: Vec<RowWrite> = writes.iter().filter(lasting).cloned().collect();
    of(rows, &lasting, "", keys)
}

/// The users and tokens that these writes make or change, in order: `user NAME`, `token SERIAL of NAME`.
pub(crate) fn listed(writes: &[RowWrite]) -> Vec<String> {
    let records = writes.iter().filter_map(|write| {
        let (noun, name) = named(write.table, &write.key);
        let removed = if write.value.is_none() {
            " removed"
        } else {
            ""
        };
        match write.table {
            Table::Users | Table::Clients | Table::Devices => {
                Some(format!("{noun} {name}{removed}"))
            }
            Table::Tokens => {
                let owner = owner_of(&write.key);
                Some(format!("{noun} {name} of {owner}{removed}"))
            }
            _ => None,
        }
    });
    records.collect()
}

/// SHA-256 of a list, one record a line.
pub(crate) fn digest(list: &[String]) -> String {
    let mut hash = Sha256::new();
    for line in list {
        hash.update(line);
        hash.update("\n");
    }
    data_encoding::HEXLOWER.encode(&hash.finalize())
}

/// A field as the audit shows it.
#[derive(Eq, PartialEq)]
enum Shown {
    Text(String),
    Flag(bool),
    List(Vec<String>),
    /// Of the user with the key of this number: shown while that key is.
    Personal(u64, String),
    /// What is equal for equal secrets and is never shown.
    Secret(Vec<u8>),
}

type Fields = Vec<(&'static str, Shown)>;

/// Whether the audit says what became of the row.
fn is_shown(write: &RowWrite) -> bool {
    match write.table {
        Table::Users
        | Table::Tokens
        | Table::Clients
        | Table::Credentials
        | Table::Devices
        | Table::Delegations
        | Table::Lessons => true,
        // What goes with its user or token needs no mention.
        Table::UserStates | Table::TokenStates => write.value.is_some(),
        Table::Settings => [OUTAGE, PRUNED].contains(&write.key.as_slice()),
        Table::Owners
        | Table::Retired
        | Table::Sources
        | Table::DeviceOwners
        | Table::DeviceStates
        | Table::Addresses
        | Table::Quotas
        | Table::Expiries
        | Table::Links
        | Table::Former
        | Table::Erased
        | Table::Sessions
        | Table::OpenSessions
        | Table::Seeds
        | Table::Aliases => false,
    }
}

/// What the record of a row is called: its noun and its name.
fn named(table: Table, key: &[u8]) -> (&'static str, String) {
    let text = |key: &[u8]| String::from_utf8_lossy(key).replace('\0', " to ");
    let last = || {
        let last = key.rsplit(|octet| *octet == 0).next();
        String::from_utf8_lossy(last.unwrap_or_default()).into_owned()
    };
    match table {
        Table::Users | Table::Credentials | Table::UserStates => ("user", user(key)),
        Table::Tokens => ("token", last()),
        Table::TokenStates => ("token", text(key)),
        Table::Devices => ("device", last()),
        Table::Lessons => {
            let client = key.split(|octet| *octet == 0).next();
            ("client", text(client.unwrap_or_default()))
        }
        Table::Clients => ("client", text(key)),
        Table::Delegations => ("delegation", text(key)),
        _ => ("setting", text(key)),
    }
}

fn user(key: &[u8]) -> String {
    match record::owner(key) {
        Ok(key) if key.is_stock() => "stock".to_owned(),
        Ok(key) => key.to_string(),
        Err(_) => String::from_utf8_lossy(key).into_owned(),
    }
}

/// The user under whose prefix a token's row lies.
fn owner_of(key: &[u8]) -> String {
    let end = key.iter().rposition(|octet| *octet == 0);
    user(key.get(..end.unwrap_or_default()).unwrap_or_default())
}

fn fields(table: Table, key: &[u8], row: &[u8], sealer: &Sealer) -> Result<Fields, StoreError> {
    match table {
        Table::Users => user_fields(row, sealer),
        Table::Tokens => token_fields(row, sealer),
        Table::Clients => client_fields(row, sealer),
        Table::Credentials => {
            let credentials = record::credentials(key, row, sealer)?;
            let mut fields = Vec::new();
            verifier_fields(&mut fields, PIN, credentials.pin.as_ref());
            verifier_fields(&mut fields, PASSWORD, credentials.password.as_ref());
            Ok(fields)
        }
        Table::Devices => {
            let device = record::device(row)?;
            let state = if device.revoked { "revoked" } else { "active" };
            Ok(vec![
                ("name", Shown::Text(device.name)),
                ("algorithm", Shown::Text(device.algorithm)),
                ("state", Shown::Text(state.to_owned())),
            ])
        }
        Table::Delegations => {
            let lent = record::delegation(row)?;
            Ok(vec![
                ("until", Shown::Text(lent.until.to_string())),
                ("reason", Shown::Text(lent.reason)),
            ])
        }
        Table::Lessons => {
            let (_, address) = record::lesson(key)?;
            let signs = format!("{address}");
            Ok(vec![("signing_addresses", Shown::List(vec![signs]))])
        }
        Table::UserStates => Ok(throttle_fields(record::user_state(row)?.throttle)),
        Table::TokenStates => {
            let state = record::token_state(row)?;
            let mut fields = throttle_fields(state.throttle);
            let last = state.moving.last.map(|step| step.to_string());
            optional(&mut fields, "last_step", last);
            Ok(fields)
        }
        Table::Settings => setting_fields(key, row, sealer),
        _ => Ok(Vec::new()),
    }
}

fn user_fields(row: &[u8], sealer: &Sealer) -> Result<Fields, StoreError> {
    let (user, person) = (record::user(row, sealer)?, record::user_person(row)?);
    let mut fields = vec![("groups", Shown::List(user.groups))];
    for (field, value) in [
        ("display_name", user.display_name),
        ("phone", user.phone),
        ("email", user.email),
        ("birth_date", user.birth_date),
    ] {
        fields.extend(value.map(|value| (field, Shown::Personal(person, value))));
    }
    let aliases: Vec<String> = user.aliases.iter().map(UserKey::joined).collect();
    if !aliases.is_empty() {
        fields.push(("aliases", Shown::Personal(person, aliases.join(", "))));
    }
    optional(&mut fields, "class", user.class);
    fields.push(("language", Shown::Text(user.language.to_string())));
    fields.push(("disabled", Shown::Flag(user.disabled)));
    fields.push(("remote_issue", Shown::Flag(user.remote_issue)));
    optional(&mut fields, "bypass", user.bypass.as_ref().map(waiver));
    let exemption = user.exemption.as_ref().map(waiver);
    optional(&mut fields, "exemption", exemption);
    let source = user.directory.map(|one| one.source);
    optional(&mut fields, "source", source);
    Ok(fields)
}

/// Where a user who is removed was reached until lately: to be told there.
fn former_contacts(
    row: &[u8],
    keys: Keys<'_>,
) -> Result<Option<(&'static str, Shown)>, StoreError> {
    let (user, person) = (record::user(row, keys.sealer)?, record::user_person(row)?);
    let former = user.former.iter().filter(|one| keys.now < one.until);
    let former: Vec<String> = former
        .map(|one| format!("{} {}", one.medium.as_str(), one.address))
        .collect();
    let text = former.join(", ");
    Ok((!text.is_empty()).then_some((FORMER_CONTACTS, Shown::Personal(person, text))))
}

fn token_fields(row: &[u8], sealer: &Sealer) -> Result<Fields, StoreError> {
    if let Some(target) = record::link_target(row) {
        let owner = owner_of(target);
        return Ok(vec![("counts_for_second_user", Shown::Text(owner))]);
    }
    let token = TokenRow::parse(row)?;
    let enrolment = token.enrolment()?;
    let mut fields = vec![
        ("kind", Shown::Text(token.kind().to_owned())),
        ("state", Shown::Text(token.state()?.to_string())),
        ("parameters", Shown::Text(token.parameters())),
        ("key", Shown::Secret(token.sealed_key().to_vec())),
    ];
    let address = token.address(sealer);
    fields.extend(address.map(|(person, text)| ("address", Shown::Personal(person, text))));
    optional(&mut fields, "device", token.device().map(str::to_owned));
    let expires = token.expires().map(|end| end.to_string());
    optional(&mut fields, "expires", expires);
    let requester = Some(enrolment.requester).filter(|who| !who.is_empty());
    optional(&mut fields, "requester", requester);
    let needed = Some(enrolment.needed).filter(|needed| *needed > 0);
    let needed = needed.map(|needed| needed.to_string());
    optional(&mut fields, "approvals_needed", needed);
    let approvals = enrolment.approvals.into_iter();
    let approvals = approvals.map(|one| match one.on_behalf {
        None => one.by,
        Some(from) => format!("{} on behalf of {from}", one.by),
    });
    fields.push(("approvals", Shown::List(approvals.collect())));
    let replaces = enrolment.replaces.map(|old| old.to_string());
    optional(&mut fields, "replaces", replaces);
    Ok(fields)
}

fn client_fields(row: &[u8], sealer: &Sealer) -> Result<Fields, StoreError> {
    let client = record::client(row, sealer)?;
    let secret = |octets: &[u8]| Shown::Secret(sealer.mark(&[octets]).to_vec());
    let mut fields = Vec::new();
    optional(&mut fields, "policy", client.policy);
    optional(&mut fields, "realm", client.realm);
    let until = match client.access {
        Access::Radius(radius) => {
            let addresses = radius.addresses.iter().map(ToString::to_string);
            let require = radius.message_authenticator.as_str().to_owned();
            fields.push(("addresses", Shown::List(addresses.collect())));
            fields.push(("secret", secret(radius.secret.expose())));
            fields.push(("profile", Shown::Text(radius.settings.profile)));
            let until = radius.settings.unsigned_until.map(UnixTime::rfc3339);
            optional(&mut fields, "unsigned_replies_until", until);
            fields.push(("require_message_authenticator", Shown::Text(require)));
            fields.push(("challenge", Shown::Flag(radius.challenge)));
            let methods = radius.methods.words().to_vec();
            fields.push(("methods", Shown::List(methods)));
            let port = radius.settings.disconnect_port.map(|port| port.to_string());
            optional(&mut fields, "disconnect_port", port);
            let limit = radius.settings.limit_proxy_state;
            fields.push(("limit_proxy_state", Shown::Flag(limit)));
            let window = radius.settings.retry_window;
            let window = (!window.is_zero()).then(|| format!("{} s", window.as_secs()));
            optional(&mut fields, "retry_window", window);
            let names = radius.settings.names.iter().map(ToString::to_string);
            fields.push(("name_rules", Shown::List(names.collect())));
            optional(&mut fields, "certificate", radius.settings.certificate);
            radius.previous.map(|(_, until)| until)
        }
        Access::Api(api) => {
            let scopes = api.scopes.iter().map(ToString::to_string);
            fields.push(("scopes", Shown::List(scopes.collect())));
            fields.push(("key", secret(&api.key_hash)));
            api.previous.map(|(_, until)| until)
        }
    };
    let until = until.map(|until| until.to_string());
    optional(&mut fields, "previous_until", until);
    Ok(fields)
}

fn setting_fields(key: &[u8], row: &[u8], sealer: &Sealer) -> Result<Fields, StoreError> {
    let (field, text) = match key {
        OUTAGE => ("outage", waiver(&record::waiver(row)?)),
        PRUNED => ("pruned_up_to", record::pruned(row, sealer)?.seq.to_string()),
        _ => return Ok(Vec::new()),
    };
    Ok(vec![(field, Shown::Text(text))])
}

/// Names of the fields of one verifier.
#[derive(Clone, Copy)]
struct VerifierNames {
    secret: &'static str,
    scheme: &'static str,
    must_change: &'static str,
}

const PIN: VerifierNames = VerifierNames {
    secret: "pin",
    scheme: "pin_scheme",
    must_change: "pin_must_change",
};
const PASSWORD: VerifierNames = VerifierNames {
    secret: "password",
    scheme: "password_scheme",
    must_change: "password_must_change",
};

fn verifier_fields(fields: &mut Fields, names: VerifierNames, verifier: Option<&Verifier>) {
    let Some(verifier) = verifier else { return };
    // The same PIN or password hashed anew keeps its time.
    let set = verifier.set.as_millis().to_be_bytes().to_vec();
    let scheme = verifier
        .hash
        .imported()
        .map_or("oncegate", |scheme| scheme.word());
    fields.push((names.secret, Shown::Secret(set)));
    fields.push((names.scheme, Shown::Text(scheme.to_owned())));
    fields.push((names.must_change, Shown::Flag(verifier.must_change)));
}

fn throttle_fields(throttle: Throttle) -> Fields {
    let mut fields = Vec::new();
    let failures = Some(throttle.failures).filter(|failures| *failures > 0);
    optional(&mut fields, "failures", failures.map(|n| n.to_string()));
    let lock = match throttle.block {
        Block::None => None,
        Block::Delay { until } => Some(format!("delayed until {until}")),
        Block::Locked { until } => Some(format!("locked until {until}")),
        Block::Hard => Some("locked until an administrator unlocks".to_owned()),
    };
    optional(&mut fields, "lock", lock);
    fields
}

fn waiver(waiver: &Waiver) -> String {
    let (from, until) = (waiver.from, waiver.until);
    format!("{from} to {until} by {}: {}", waiver.owner, waiver.reason)
}

fn optional(fields: &mut Fields, name: &'static str, value: Option<String>) {
    fields.extend(value.map(|value| (name, Shown::Text(value))));
}

/// The fields that differ, in the order of the record.
fn difference(
    before: Option<Fields>,
    after: Option<Fields>,
) -> Vec<(&'static str, Changed, Option<u64>)> {
    // Of a record that is made or goes, what is not so needs no mention.
    let partial = before.is_none() || after.is_none();
    let plain = |fields: Option<Fields>| {
        let mut fields = fields.unwrap_or_default();
        fields.retain(|(_, shown)| !partial || *shown != Shown::Flag(false));
        fields
    };
    let (mut before, after) = (plain(before), plain(after));
    let mut changes = Vec::new();
    for (field, now) in after {
        let place = before.iter().position(|(other, _)| *other == field);
        let then = place.map(|place| before.remove(place).1);
        if then.as_ref() != Some(&now) {
            let person = person(&now);
            let change = changed(then, Some(now));
            changes.extend(change.map(|change| (field, change, person)));
        }
    }
    for (field, then) in before {
        let person = person(&then);
        let change = changed(Some(then), None);
        changes.extend(change.map(|change| (field, change, person)));
    }
    changes
}

const fn person(shown: &Shown) -> Option<u64> {
    match shown {
        Shown::Personal(person, _) => Some(*person),
        _ => None,
    }
}

/// What became of a personal field, under the key of its user.
fn sealed(
    person: u64,
    field: &str,
    change: &Changed,
    keys: Keys<'_>,
) -> Result<Changed, StoreError> {
    let plain = record::changed_row(change)?;
    let row = person.to_be_bytes();
    let place = personal_place(&row, field);
    let sealed = keys
        .sealer
        .seal_personal(person, place, &plain, keys.entropy)?;
    Ok(Changed::Sealed { person, sealed })
}

/// What is said of a user, which goes with the user's personal data.
pub(super) fn said(person: u64, text: String, keys: Keys<'_>) -> Result<FieldChange, StoreError> {
    let change = Changed::Text {
        before: None,
        after: Some(text),
    };
    Ok(FieldChange {
        record: None,
        field: SAID.to_owned(),
        change: sealed(person, SAID, &change, keys)?,
    })
}

/// The record with its personal fields opened, as far as their keys still are. What is said of a user is its detail
/// then, and a hidden field when the key is gone.
pub(crate) fn opened(mut record: AuditRecord, sealer: &Sealer) -> AuditRecord {
    let mut said = None;
    record.changes.retain_mut(|one| {
        let Changed::Sealed { person, sealed } = &one.change else {
            return true;
        };
        let row = person.to_be_bytes();
        let place = personal_place(&row, &one.field);
        let opened = sealer.open_personal(*person, place, sealed);
        one.change = match opened {
            Ok(None) => Changed::Hidden("erased"),
            Ok(Some(plain)) => {
                record::changed(plain.expose()).unwrap_or(Changed::Hidden("unreadable"))
            }
            Err(_) => Changed::Hidden("unreadable"),
        };
        match &mut one.change {
            Changed::Text { after, .. } if one.field == SAID => {
                said = after.take();
                said.is_none()
            }
            _ => true,
        }
    });
    if let (Event::Change(event), Some(said)) = (&mut record.event, said) {
        event.detail = Some(said);
    }
    record
}

/// The field in which a record has what is said of a user.
const SAID: &str = "note";

fn personal_place<'a>(row: &'a [u8], field: &'a str) -> Place<'a> {
    Place {
        table: "audit",
        row,
        field,
        version: 1,
    }
}

/// What became of one field; `None` where that is nothing to be seen.
fn changed(before: Option<Shown>, after: Option<Shown>) -> Option<Changed> {
    let is_list = |shown: &Option<Shown>| matches!(shown, Some(Shown::List(_)));
    let is_secret = |shown: &Option<Shown>| matches!(shown, Some(Shown::Secret(_)));
    if is_list(&before) || is_list(&after) {
        let list = |shown| match shown {
            Some(Shown::List(list)) => list,
            _ => Vec::new(),
        };
        return listed_change(&list(before), &list(after));
    }
    if is_secret(&before) || is_secret(&after) {
        return Some(Changed::Secret(match (before, after) {
            (None, _) => SecretChange::Set,
            (_, None) => SecretChange::Removed,
            _ => SecretChange::Changed,
        }));
    }
    let text = |shown| match shown {
        Some(Shown::Text(text) | Shown::Personal(_, text)) => Some(text),
        Some(Shown::Flag(flag)) => Some(if flag { "yes" } else { "no" }.to_owned()),
        _ => None,
    };
    let (before, after) = (text(before), text(after));
    Some(Changed::Text { before, after })
}

/// A list whose order alone changed is shown whole, before and after.
fn listed_change(before: &[String], after: &[String]) -> Option<Changed> {
    let without = |list: &[String], other: &[String]| -> Vec<String> {
        let missing = list.iter().filter(|one| !other.contains(one));
        missing.cloned().collect()
    };
    if before == after {
        return None;
    }
    let (added, removed) = (without(after, before), without(before, after));
    Some(if added.is_empty() && removed.is_empty() {
        Changed::Text {
            before: Some(before.join(", ")),
            after: Some(after.join(", ")),
        }
    } else {
        Changed::List { added, removed }
    })
}
