//! Sessions: what accounting does to the rows, and the list of them.

use std::ops::Bound;

use crate::model::session::NAS_REBOOT;
use crate::model::session::Report;
use crate::model::session::Session;
use crate::model::session::SessionKey;
use crate::model::user_key::UserKey;
use crate::store::StoreError;
use crate::store::evaluate::gone;
use crate::store::evaluate::put;
use crate::store::fold::Fold;
use crate::store::record;
use crate::store::record::RowWrite;
use crate::store::record::Table;
use crate::store::working::Working;
use crate::time::UnixTime;

/// Sessions behind this one, at most `limit`, that `wanted` takes. A page of rows at a time: the writer waits
/// for readers.
pub(super) async fn list(
    fold: &Fold,
    mut after: Option<SessionKey>,
    limit: usize,
    wanted: &(dyn Fn(&Session) -> bool + Sync),
) -> Result<Vec<Session>, StoreError> {
    let mut found = Vec::new();
    loop {
        let (mut read, mut last) = (0, None);
        {
            let key = after.as_ref().map(record::session_key);
            let from = key.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            fold.reader().list(Table::Sessions, b"", from, |key, row| {
                let session = record::session(key, row)?;
                read += 1;
                last = Some(session.key.clone());
                if wanted(&session) {
                    found.push(session);
                }
                Ok(found.len() < limit && read < MOST)
            })?;
        }
        if found.len() >= limit || read < MOST {
            return Ok(found);
        }
        after = last;
        tokio::task::yield_now().await;
    }
}

/// Takes a report; not found when it says nothing new.
pub(super) fn report(rows: &Working<'_>, report: &Report) -> Result<Vec<RowWrite>, StoreError> {
    let key = record::session_key(&report.session.key);
    let known = rows.get(Table::Sessions, &key, |row| record::session(&key, row))?;
    let session = report.clone().apply(known.as_ref());
    let session = session.ok_or(StoreError::NotFound)?;
    Ok(vec![put(
        Table::Sessions,
        key,
        record::session_row(&session)?,
    )])
}

/// Ends open sessions of a NAS that has restarted, at most [`MOST`]; not found when there is none.
pub(super) fn end_of_nas(
    rows: &Working<'_>,
    client: &str,
    nas: &str,
    at: UnixTime,
) -> Result<Vec<RowWrite>, StoreError> {
    let prefix = record::sessions_prefix(client, nas);
    let open = |session: &Session| session.ended.is_none() && session.started < at;
    let mut writes = Vec::new();
    for key in rows.keys(Table::Sessions, &prefix)? {
        let session = rows.get(Table::Sessions, &key, |row| record::session(&key, row))?;
        if let Some(session) = session.filter(open) {
            let ended = Session {
                ended: Some(at),
                cause: Some(NAS_REBOOT),
                ..session
            };
            writes.push(put(Table::Sessions, key, record::session_row(&ended)?));
        }
        if writes.len() == MOST {
            break;
        }
    }
    some(writes)
}

/// Forgets sessions without a report since `before`, of one user or of all, at most [`MOST`]; not found when
/// there is none.
pub(super) fn forget(
    rows: &Working<'_>,
    before: UnixTime,
    user: Option<&UserKey>,
) -> Result<Vec<RowWrite>, StoreError> {
    let user = user.map(ToString::to_string);
    let goes = |session: Session| {
        session.updated < before && user.as_ref().is_none_or(|user| *user == session.user)
    };
    let mut writes = Vec::new();
    for key in rows.keys(Table::Sessions, b"")? {
        let session = rows.get(Table::Sessions, &key, |row| record::session(&key, row))?;
        if session.is_some_and(goes) {
            writes.push(gone(Table::Sessions, key));
        }
        if writes.len() == MOST {
            break;
        }
    }
    some(writes)
}

fn some(writes: Vec<RowWrite>) -> Result<Vec<RowWrite>, StoreError> {
    if writes.is_empty() {
        return Err(StoreError::NotFound);
    }
    Ok(writes)
}

/// Rows that one change writes, or one look reads: others wait for it.
const MOST: usize = 1_000;
