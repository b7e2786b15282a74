//! What accounting does to the sessions on record.

use std::fmt::Write as _;

use crate::model::session::{NAS_REBOOT, Report, Session, SessionKey, Status, Usage, cause_word};
use crate::model::user_key::UserKey;
use crate::store::record::{RowWrite, Table};
use crate::store::transition::plan::Plan;
use crate::store::transition::rows::{gone, put, some};
use crate::store::transition::working::Working;
use crate::store::{StoreError, record};
use crate::time::UnixTime;

/// Takes a report; not found when it says nothing new.
pub(super) fn report(rows: &Working<'_>, report: Report) -> Result<Plan, StoreError> {
    let key = record::session_key(&report.session.key);
    let known = rows.get(Table::Sessions, &key, |row| record::session(&key, row))?;
    let action = match report.status {
        Status::Start => "session_start",
        Status::Interim => "session_update",
        Status::Stop => "session_stop",
    };
    let id = report.session.key.id.clone();
    let user = Some(report.session.user.clone()).filter(|user| !user.is_empty());
    let detail = report_detail(&report.session);
    let session = report.apply(known.as_ref());
    let session = session.ok_or(StoreError::NotFound)?;
    let was_open = known.is_some_and(|known| known.ended.is_none());
    let mut writes = match (was_open, session.ended.is_none()) {
        (false, true) => vec![put(Table::OpenSessions, key.clone(), vec![1])],
        (true, false) => vec![gone(Table::OpenSessions, key.clone())],
        _ => Vec::new(),
    };
    let row = record::session_row(&session)?;
    writes.push(put(Table::Sessions, key, row));
    let plan = Plan::new(action, &id, writes);
    Ok(plan.concerns(user).detail(detail))
}

/// Where a session is, and what it used.
fn report_detail(session: &Session) -> String {
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

/// Ends those of the sessions that began before their NAS has restarted; not found when there is none.
pub(super) fn end(
    rows: &Working<'_>,
    sessions: &[SessionKey],
    at: UnixTime,
) -> Result<Plan, StoreError> {
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
    let nas = sessions.first().map(|session| session.nas.clone());
    let detail = counted(&writes);
    let plan = Plan::new("sessions_end", &nas.unwrap_or_default(), some(writes)?);
    Ok(plan.detail(detail))
}

/// Forgets those of the sessions without a report since `before`; not found when there is none.
pub(super) fn forget(
    rows: &Working<'_>,
    sessions: &[SessionKey],
    before: UnixTime,
    user: Option<&UserKey>,
) -> Result<Plan, StoreError> {
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
    let user = user.map(ToString::to_string);
    let target = user.clone().unwrap_or_else(|| before.rfc3339());
    let detail = counted(&writes);
    let plan = Plan::new("sessions_forget", &target, some(writes)?);
    Ok(plan.concerns(user).detail(detail))
}

/// How many sessions these writes end or forget, for the audit.
fn counted(writes: &[RowWrite]) -> String {
    let sessions = writes.iter().filter(|write| write.table == Table::Sessions);
    format!("sessions: {}", sessions.count())
}
