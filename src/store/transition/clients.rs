//! Changes of clients.

use std::net::IpAddr;

use crate::model::client::{Access, Client};
use crate::store::record::{RowWrite, Table};
use crate::store::transition::plan::Plan;
use crate::store::transition::rows::{Keys, gone, put, refuse_if, refuse_other};
use crate::store::transition::working::Working;
use crate::store::{StoreError, record};

pub(super) fn create(
    rows: &Working<'_>,
    client: &Client,
    keys: Keys<'_>,
) -> Result<Plan, StoreError> {
    let exists = rows.has(Table::Clients, client.name.as_bytes())?;
    refuse_if(exists, "a client with this name exists already")?;
    let writes = written(rows, client, client.revision, keys)?;
    Ok(Plan::new("client_add", &client.name, writes))
}

pub(super) fn update(
    rows: &Working<'_>,
    client: &Client,
    keys: Keys<'_>,
) -> Result<Plan, StoreError> {
    let revision = seen(rows, &client.name, Some(client.revision))?;
    let writes = written(rows, client, revision + 1, keys)?;
    Ok(Plan::new("client_set", &client.name, writes))
}

fn written(
    rows: &Working<'_>,
    client: &Client,
    revision: u64,
    keys: Keys<'_>,
) -> Result<Vec<RowWrite>, StoreError> {
    refuse_shared_address(rows, client)?;
    let client = Client {
        revision,
        ..client.clone()
    };
    let row = record::client_row(&client, keys.sealer, keys.entropy)?;
    Ok(vec![put(Table::Clients, client.name.into_bytes(), row)])
}

pub(super) fn remove(
    rows: &Working<'_>,
    name: &str,
    expected: Option<u64>,
) -> Result<Plan, StoreError> {
    seen(rows, name, expected)?;
    let mut writes = vec![gone(Table::Clients, name.as_bytes().to_vec())];
    let lessons = rows.keys(Table::Lessons, &[name.as_bytes(), b"\0"].concat())?;
    writes.extend(lessons.into_iter().map(|key| gone(Table::Lessons, key)));
    Ok(Plan::new("client_remove", name, writes))
}

/// The revision of a client, which is the expected one.
fn seen(rows: &Working<'_>, name: &str, expected: Option<u64>) -> Result<u64, StoreError> {
    let found = rows.get(Table::Clients, name.as_bytes(), record::client_condition)?;
    let (revision, _) = found.ok_or(StoreError::NotFound)?;
    refuse_other(revision, expected)?;
    Ok(revision)
}

/// Of two clients with the same network, the secret that opens a packet would not be known.
fn refuse_shared_address(rows: &Working<'_>, client: &Client) -> Result<(), StoreError> {
    let Access::Radius(radius) = &client.access else {
        return Ok(());
    };
    for key in rows.keys(Table::Clients, b"")? {
        if key == client.name.as_bytes() {
            continue;
        }
        let found = rows.get(Table::Clients, &key, record::client_condition)?;
        let marks = record::client_marks(radius);
        let shared = found.is_some_and(|(_, taken)| marks.iter().any(|mark| taken.contains(mark)));
        let what = match radius.settings.certificate {
            None => "another client has the same address",
            Some(_) => "another client has the same name in its certificate",
        };
        refuse_if(shared, what)?;
    }
    Ok(())
}

/// An address of a client signs its requests.
pub(super) fn learn(rows: &Working<'_>, client: &str, address: IpAddr) -> Result<Plan, StoreError> {
    let key = record::lesson_key(client, address);
    refuse_if(rows.has(Table::Lessons, &key)?, "the lesson is known")?;
    let writes = vec![put(Table::Lessons, key, vec![1])];
    Ok(Plan::new(
        "client_learn",
        &format!("{client} {address}"),
        writes,
    ))
}
