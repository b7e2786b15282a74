//! A user gets another name: all rows under the old one move.
//!
//! Invariants: tokens keep their serials, and with them their states: no used code becomes good again. The key of
//! the personal data stays the person's; the old name is no longer theirs, and erasing it does not touch them.

use crate::model::user::User;
use crate::model::user_key::UserKey;
use crate::store::record::{RowWrite, Table, link_key};
use crate::store::transition::plan::Plan;
use crate::store::transition::rows::{
    CHANGED, Keys, gone, own_row, person_of, put, refuse_if, tokens_of,
};
use crate::store::transition::users;
use crate::store::transition::working::Working;
use crate::store::{StoreError, record};

pub(super) fn rename(
    rows: &Working<'_>,
    from: &UserKey,
    user: &User,
    keys: Keys<'_>,
) -> Result<Plan, StoreError> {
    let (old, new) = (record::user_key(from), record::user_key(&user.key));
    let before = rows.get(Table::Users, &old, |row| record::user(row, keys.sealer))?;
    let before = before.ok_or(StoreError::NotFound)?;
    refuse_if(before.revision != user.revision, CHANGED)?;
    if before.aliases.contains(&user.key) {
        // What was another name of theirs becomes the name.
        refuse_if(rows.has(Table::Users, &new)?, "the user exists already")?;
    } else {
        users::refuse_existing(rows, &user.key, keys)?;
    }
    let person = person_of(rows, &old)?;
    let next = (user.revision + 1, keys.now);
    let row = record::user_row(user, next, person, keys.sealer, keys.entropy)?;
    let mut writes = vec![
        gone(Table::Users, old.clone()),
        put(Table::Users, new.clone(), row),
    ];
    let kept = user.aliases.iter();
    let kept = kept.filter(|alias| before.aliases.contains(alias));
    let kept = kept.map(|alias| record::alias_key(alias, keys.sealer));
    writes.extend(kept.map(|alias| put(Table::Aliases, alias, new.clone())));
    writes.extend(users::aliases(rows, &before.aliases, user, keys)?);
    let state = rows.get(Table::UserStates, &old, |row| Ok(row.to_vec()))?;
    if let Some(state) = state {
        writes.push(gone(Table::UserStates, old.clone()));
        writes.push(put(Table::UserStates, new.clone(), state));
    }
    let known = rows.get(Table::Credentials, &old, |row| {
        record::credentials(&old, row, keys.sealer)
    })?;
    if let Some(known) = known {
        let row = record::credentials_row(&new, &known, keys.sealer, keys.entropy)?;
        writes.push(gone(Table::Credentials, old.clone()));
        writes.push(put(Table::Credentials, new.clone(), row));
    }
    tokens(rows, from, (&user.key, &new), &mut writes)?;
    devices(rows, from, (&user.key, &new), &mut writes)?;
    let plan = Plan::of_user("user_rename", &user.key, writes);
    Ok(plan.detail(format!("from {from}")))
}

/// Tokens of the user, and those of others that count for the user too.
fn tokens(
    rows: &Working<'_>,
    from: &UserKey,
    (to, new): (&UserKey, &[u8]),
    writes: &mut Vec<RowWrite>,
) -> Result<(), StoreError> {
    let old = record::user_key(from);
    for (key, serial) in tokens_of(rows, from)? {
        let moved = record::token_key(new, &serial);
        let name = serial.as_str();
        if let Some(mut token) = own_row(rows, &key)? {
            token.set_owner(to);
            writes.push(put(Table::Tokens, moved, token.changed()?));
            let owners = name.as_bytes().to_vec();
            writes.push(put(Table::Owners, owners, new.to_vec()));
            let prefix = link_key(name, b"");
            for entry in rows.keys(Table::Links, &prefix)? {
                let other = entry.get(prefix.len()..).unwrap_or_default();
                let link = record::link_row(new, &serial);
                writes.push(put(Table::Tokens, record::token_key(other, &serial), link));
            }
        } else {
            let link = rows.get(Table::Tokens, &key, |row| Ok(row.to_vec()))?;
            writes.push(put(Table::Tokens, moved, link.ok_or(StoreError::NotFound)?));
            writes.push(gone(Table::Links, link_key(name, &old)));
            writes.push(put(Table::Links, link_key(name, new), Vec::new()));
        }
        writes.push(gone(Table::Tokens, key));
    }
    Ok(())
}

fn devices(
    rows: &Working<'_>,
    from: &UserKey,
    (to, new): (&UserKey, &[u8]),
    writes: &mut Vec<RowWrite>,
) -> Result<(), StoreError> {
    for key in rows.keys(Table::Devices, &record::devices_prefix(from))? {
        let device = rows.get(Table::Devices, &key, record::device)?;
        let mut device = device.ok_or(StoreError::NotFound)?;
        device.user = to.clone();
        let row = record::device_row(&device)?;
        writes.push(gone(Table::Devices, key));
        writes.push(put(
            Table::Devices,
            record::device_key(new, &device.id),
            row,
        ));
        let name = device.id.as_str().as_bytes().to_vec();
        writes.push(put(Table::DeviceOwners, name, new.to_vec()));
    }
    Ok(())
}
