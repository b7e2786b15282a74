//! The list of sessions.

use std::ops::Bound;

use crate::model::session::{Session, SessionKey};
use crate::store::fold::Fold;
use crate::store::record::Table;
use crate::store::{StoreError, record};

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

/// Rows that one look reads: the writer waits for it.
const MOST: usize = 1_000;
