//! What changes of clients do to the rows. No IO of its own.

use crate::model::client::{Access, Client};
use crate::store::change::{CHANGED, Keys, refuse_if, refuse_other};
use crate::store::evaluate::{gone, put};
use crate::store::record::{RowWrite, Table};
use crate::store::working::Working;
use crate::store::{StoreError, record};

pub(super) fn create(
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

pub(super) fn update(
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

pub(super) fn remove(
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
