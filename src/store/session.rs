//! Sessions: what accounting does to the rows, and the list of them.

use std::ops::Bound;

use crate::model::session::{NAS_REBOOT, Report, Session, SessionKey};
use crate::store::evaluate::{gone, put};
use crate::store::fold::Fold;
use crate::store::record::{RowWrite, Table};
use crate::store::working::Working;
use crate::store::{StoreError, record};
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

/// Names of open sessions of a NAS behind this one, at most `limit`.
pub(super) fn open(
    fold: &Fold,
    (client, nas): (&str, &str),
    after: Option<&SessionKey>,
    limit: usize,
) -> Result<Vec<SessionKey>, StoreError> {
    let prefix = record::sessions_prefix(client, nas);
    let after = after.map(record::session_key);
    let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let mut found = Vec::new();
    fold.reader()
        .list(Table::OpenSessions, &prefix, from, |key, _| {
            found.push(record::read_session_key(key)?);
            Ok(found.len() < limit)
        })?;
    Ok(found)
}

/// Takes a report; not found when it says nothing new.
pub(super) fn report(rows: &Working<'_>, report: &Report) -> Result<Vec<RowWrite>, StoreError> {
    let key = record::session_key(&report.session.key);
    let known = rows.get(Table::Sessions, &key, |row| record::session(&key, row))?;
    let session = report.clone().apply(known.as_ref());
    let session = session.ok_or(StoreError::NotFound)?;
    let was_open = known.is_some_and(|known| known.ended.is_none());
    let mut writes = match (was_open, session.ended.is_none()) {
        (false, true) => vec![put(Table::OpenSessions, key.clone(), vec![1])],
        (true, false) => vec![gone(Table::OpenSessions, key.clone())],
        _ => Vec::new(),
    };
    let row = record::session_row(&session)?;
    writes.push(put(Table::Sessions, key, row));
    Ok(writes)
}

/// Ends those of the sessions that began before their NAS has restarted; not found when there is none.
pub(super) fn end(
    rows: &Working<'_>,
    sessions: &[SessionKey],
    at: UnixTime,
) -> Result<Vec<RowWrite>, StoreError> {
    let mut writes = Vec::new();
    for key in sessions.iter().map(record::session_key) {
        let session = rows.get(Table::Sessions, &key, |row| record::session(&key, row))?;
        let open = |session: &Session| session.ended.is_none() && session.started < at;
        if let Some(session) = session.filter(open) {
            let ended = Session {
                ended: Some(at),
                cause: Some(NAS_REBOOT),
                ..session
            };
            writes.push(gone(Table::OpenSessions, key.clone()));
            writes.push(put(Table::Sessions, key, record::session_row(&ended)?));
        }
    }
    some(writes)
}

/// Forgets those of the sessions without a report since `before`; not found when there is none.
pub(super) fn forget(
    rows: &Working<'_>,
    sessions: &[SessionKey],
    before: UnixTime,
) -> Result<Vec<RowWrite>, StoreError> {
    let mut writes = Vec::new();
    for key in sessions.iter().map(record::session_key) {
        let session = rows.get(Table::Sessions, &key, |row| record::session(&key, row))?;
        if let Some(session) = session.filter(|session| session.updated < before) {
            if session.ended.is_none() {
                writes.push(gone(Table::OpenSessions, key.clone()));
            }
            writes.push(gone(Table::Sessions, key));
        }
    }
    some(writes)
}

/// How many sessions these writes end or forget, for the audit.
pub(super) fn counted(writes: &[RowWrite]) -> String {
    let sessions = writes.iter().filter(|write| write.table == Table::Sessions);
    format!("sessions: {}", sessions.count())
}

fn some(writes: Vec<RowWrite>) -> Result<Vec<RowWrite>, StoreError> {
    if writes.is_empty() {
        return Err(StoreError::NotFound);
    }
    Ok(writes)
}

/// Rows that one look reads: the writer waits for it.
const MOST: usize = 1_000;
