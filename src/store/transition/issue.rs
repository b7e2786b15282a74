//! Issuing a code: what that does to the rows, given the newest ones.

use crate::model::audit::{ChangeEvent, Event};
use crate::model::issue::{Issue, IssueCurrent, IssueRefusal, Issued, day, settle_issue};
use crate::model::token::TokenState;
use crate::store::record::{Entry, Table};
use crate::store::seal::Sealer;
use crate::store::transition::devices;
use crate::store::transition::rows::{
    device_state_write, own_row, put, token_state, token_state_write,
};
use crate::store::transition::working::Working;
use crate::store::{StoreError, record};

/// Decides whether a code is issued, and what that does to the rows.
pub(crate) fn issue(
    rows: &Working<'_>,
    issue: &Issue,
    sealer: &Sealer,
) -> Result<Result<(Issued, Entry), IssueRefusal>, StoreError> {
    let owner = record::user_key(&issue.user);
    let key = record::token_key(&owner, &issue.serial);
    let token = own_row(rows, &key)?;
    let today = day(issue.at);
    let quotas = issue.message.as_deref().unwrap_or_default();
    let counts = quotas.iter().map(|quota| {
        let found = rows.get(
            Table::Quotas,
            &quota_key(&quota.scope, sealer),
            record::count,
        )?;
        Ok(found
            .filter(|(day, _)| *day == today)
            .map_or(0, |(_, count)| count))
    });
    let current = IssueCurrent {
        carried: token.as_ref().is_some_and(|token| token.device().is_some()),
        state: match token {
            Some(_) => token_state(rows, &issue.serial)?,
            None => TokenState::default(),
        },
        token: match token {
            Some(token) => Some((token.revision(), token.state_at(issue.at)?)),
            None => None,
        },
        counts: counts.collect::<Result<_, StoreError>>()?,
        device: match &issue.device {
            Some(call) => devices::calling(rows, call)?,
            None => None,
        },
    };
    let settled = match settle_issue(issue, &current) {
        Ok(settled) => settled,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut writes = vec![token_state_write(&issue.serial, &settled.state)?];
    for (quota, count) in quotas.iter().zip(&current.counts) {
        let row = record::count_row(today, count + 1)?;
        writes.push(put(Table::Quotas, quota_key(&quota.scope, sealer), row));
    }
    if let (Some(call), Some(state)) = (&issue.device, &settled.device) {
        writes.push(device_state_write(&call.device, state)?);
    }
    let event = Event::Change(ChangeEvent {
        request: issue.request,
        actor: issue.actor.clone(),
        action: "code_issue".to_owned(),
        target: issue.serial.to_string(),
        user: Some(issue.user.to_string()),
        detail: Some(issue.detail.clone()),
    });
    Ok(Ok((
        settled.issued,
        Entry {
            at: issue.at,
            event,
            changes: Vec::new(),
            writes,
        },
    )))
}

/// A count's key: its scope may be an address, which must not be readable here.
fn quota_key(scope: &str, sealer: &Sealer) -> Vec<u8> {
    sealer.mark(&[b"quota", scope.as_bytes()]).to_vec()
}
