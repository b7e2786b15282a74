//! What the audit calls a change: a word, the record it is done to, the user it concerns.

use crate::model::session::Status;
use crate::model::token::LifeCycle;
use crate::store::change::ACCEPT_CLOCK;
use crate::store::record::Table;
use crate::store::working::Working;
use crate::store::{By, Change, DeviceAct, StoreError, WaiverKind, record};

/// What the audit calls it, and the record it is done to.
pub(super) fn words(change: &Change, by: &By) -> (&'static str, String) {
    match change {
        Change::CreateUser(user) => ("user_add", user.key.to_string()),
        Change::UpdateUser(user) => ("user_set", user.key.to_string()),
        Change::RemoveUser(key, _) => ("user_remove", key.to_string()),
        Change::EraseUser(key) => ("user_erase", key.to_string()),
        Change::Unlock(key) => ("user_unlock", key.to_string()),
        Change::EndWaits(key) => ("user_end_waits", key.to_string()),
        Change::SetWaiver {
            user,
            which,
            waiver,
            ..
        } => {
            let action = match (which, waiver.is_some()) {
                (WaiverKind::Bypass, true) => "bypass_grant",
                (WaiverKind::Bypass, false) => "bypass_end",
                (WaiverKind::Exemption, true) => "exemption_grant",
                (WaiverKind::Exemption, false) => "exemption_end",
            };
            (action, user.to_string())
        }
        Change::SetCredentials(key, _) => ("credentials_set", key.to_string()),
        Change::RenewCredentials(key, _) => ("credentials_renew", key.to_string()),
        Change::ForgetSources { before } => ("sources_forget", before.rfc3339()),
        Change::ReportSession(report) => {
            let action = match report.status {
                Status::Start => "session_start",
                Status::Interim => "session_update",
                Status::Stop => "session_stop",
            };
            (action, report.session.key.id.clone())
        }
        Change::EndSessions { sessions, .. } => {
            let nas = sessions.first().map(|session| session.nas.clone());
            ("sessions_end", nas.unwrap_or_default())
        }
        Change::ForgetSessions { before, user, .. } => {
            let target = user
                .as_ref()
                .map_or_else(|| before.rfc3339(), ToString::to_string);
            ("sessions_forget", target)
        }
        Change::CreateToken(token, _) => ("token_add", token.serial.to_string()),
        Change::SetTokenState { serial, state, .. } => {
            let action = match state {
                LifeCycle::Active => "token_resume",
                LifeCycle::Suspended => "token_suspend",
                LifeCycle::Revoked => "token_revoke",
                LifeCycle::Pending => "token_offer",
                LifeCycle::Requested => "token_request",
                LifeCycle::Approved => "token_approve",
                LifeCycle::Expired => "token_expire",
            };
            (action, serial.to_string())
        }
        Change::ApproveToken { serial, .. } => ("token_approve", serial.to_string()),
        Change::RenewToken { serial, .. } => ("token_renew", serial.to_string()),
        Change::LinkToken(serial, _) => ("token_link", serial.to_string()),
        Change::UnlinkToken(serial, _) => ("token_unlink", serial.to_string()),
        Change::ExpireTokens => ("token_expire", "tokens".to_owned()),
        Change::Device { id, act, .. } => {
            let action = match act {
                DeviceAct::Ask => "device_ask",
                DeviceAct::Rename(_) => "device_rename",
                DeviceAct::Revoke(_) => "device_revoke",
            };
            (action, id.to_string())
        }
        Change::SetOutage(Some(_)) => ("outage_declare", "outage".to_owned()),
        Change::SetOutage(None) => ("outage_end", "outage".to_owned()),
        Change::Delegate(lent) => ("approval_lend", format!("{} to {}", lent.from, lent.to)),
        Change::Undelegate(from, to) => ("approval_take_back", format!("{from} to {to}")),
        Change::Notified { seq, .. } => ("notified", seq.to_string()),
        Change::Note { action, target, .. } => (action, target.clone()),
        Change::RemoveToken(serial, _) => ("token_remove", serial.to_string()),
        Change::CreateClient(client) => ("client_add", client.name.clone()),
        Change::UpdateClient(client) => ("client_set", client.name.clone()),
        Change::RemoveClient(name, _) => ("client_remove", name.clone()),
        Change::Learn { client, address } => ("client_learn", format!("{client} {address}")),
        Change::Import(_) => ("import", String::new()),
        Change::PruneAudit { before } => ("audit_prune", before.rfc3339()),
        Change::AcceptClock => (ACCEPT_CLOCK, by.at.rfc3339()),
        Change::Loaded { what, .. } => (what, "files".to_owned()),
        Change::Reanchor(change) => (REANCHOR, change.user.to_string()),
        Change::ReanchorRetired { .. } => (REANCHOR, "tokens that are gone".to_owned()),
        Change::ReanchorSources(_) => (REANCHOR, "sources".to_owned()),
    }
}

/// The user whom a change concerns.
pub(super) fn concerned(rows: &Working<'_>, change: &Change) -> Result<Option<String>, StoreError> {
    let user = match change {
        Change::CreateUser(user) | Change::UpdateUser(user) => &user.key,
        Change::RemoveUser(key, _)
        | Change::EraseUser(key)
        | Change::Unlock(key)
        | Change::EndWaits(key)
        | Change::SetCredentials(key, _)
        | Change::RenewCredentials(key, _) => key,
        Change::SetWaiver { user, .. } => user,
        Change::CreateToken(token, _) => &token.user,
        Change::Device { id, .. } => {
            let owner = |row: &[u8]| record::owner(row).map(|key| key.to_string());
            return rows.get(Table::DeviceOwners, id.as_str().as_bytes(), owner);
        }
        Change::SetTokenState { serial, .. }
        | Change::ApproveToken { serial, .. }
        | Change::RenewToken { serial, .. }
        | Change::LinkToken(serial, _)
        | Change::UnlinkToken(serial, _)
        | Change::RemoveToken(serial, _) => {
            let owner = |row: &[u8]| record::owner(row).map(|key| key.to_string());
            return rows.get(Table::Owners, serial.as_str().as_bytes(), owner);
        }
        Change::Note { user, .. } => return Ok(user.clone()),
        Change::ForgetSessions { user, .. } => {
            return Ok(user.as_ref().map(ToString::to_string));
        }
        Change::ReportSession(report) => {
            let user = &report.session.user;
            return Ok((!user.is_empty()).then(|| user.clone()));
        }
        Change::Reanchor(change) => &change.user,
        Change::CreateClient(_)
        | Change::UpdateClient(_)
        | Change::RemoveClient(..)
        | Change::Learn { .. }
        | Change::ForgetSources { .. }
        | Change::EndSessions { .. }
        | Change::ExpireTokens
        | Change::SetOutage(_)
        | Change::Delegate(_)
        | Change::Undelegate(..)
        | Change::Notified { .. }
        | Change::Import(_)
        | Change::PruneAudit { .. }
        | Change::Loaded { .. }
        | Change::ReanchorRetired { .. }
        | Change::ReanchorSources(_)
        | Change::AcceptClock => return Ok(None),
    };
    Ok(Some(user.to_string()))
}

/// Every word that a change has in the audit, also of what changes no record.
pub const ACTIONS: &[&str] = &[
    "accounting_off",
    "accounting_on",
    "accounting_other",
    "approval_lend",
    "approval_take_back",
    "audit_prune",
    "bypass_end",
    "bypass_grant",
    "client_add",
    "client_learn",
    "client_remove",
    "client_set",
    "clock_accept",
    "clock_reanchor",
    "code_issue",
    "code_refuse",
    "credentials_renew",
    "credentials_set",
    "device_ask",
    "device_rename",
    "device_revoke",
    "enrol_refused",
    "exemption_end",
    "exemption_grant",
    "files_load",
    "files_reload",
    "import",
    "message_failed",
    "message_sent",
    "notice_failed",
    "notice_sent",
    "notified",
    "outage_declare",
    "outage_end",
    "session_start",
    "session_stop",
    "session_update",
    "sessions_end",
    "sessions_forget",
    "sources_forget",
    "token_add",
    "token_approve",
    "token_expire",
    "token_link",
    "token_offer",
    "token_remove",
    "token_renew",
    "token_request",
    "token_resume",
    "token_revoke",
    "token_suspend",
    "token_unlink",
    "user_add",
    "user_erase",
    "user_remove",
    "user_set",
    "user_unlock",
];

const REANCHOR: &str = "clock_reanchor";
