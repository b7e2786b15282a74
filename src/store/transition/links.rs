//! Links by which users take over the key of a pending token themselves.

use crate::model::enrolment::Link;
use crate::model::id::Serial;
use crate::model::token::LifeCycle;
use crate::otp::issued::Mark;
use crate::store::StoreError;
use crate::store::record::{RowWrite, Table};
use crate::store::transition::lifecycle;
use crate::store::transition::plan::Plan;
use crate::store::transition::rows::{put, refuse_if, seen};
use crate::store::transition::working::Working;
use crate::time::UnixTime;

/// Gives a pending token a link; the one before is void.
pub(super) fn offer(
    rows: &Working<'_>,
    serial: &Serial,
    link: Link,
    expected: u64,
    at: UnixTime,
) -> Result<Plan, StoreError> {
    let (key, mut token) = seen(rows, serial, expected)?;
    let mut enrolment = token.enrolment()?;
    let taken = enrolment.link.is_some_and(|link| link.redeemed.is_some());
    refuse_if(
        token.state_at(at)? != LifeCycle::Pending || token.device().is_some() || taken,
        "only a pending token whose key no one has yet is handed out by a link",
    )?;
    enrolment.link = Some(link);
    token.set_enrolment(&enrolment);
    let writes = vec![put(Table::Tokens, key, token.changed()?)];
    let plan = Plan::of_token(rows, "enrol_link", serial, writes)?;
    Ok(plan.detail(match link.redeemed {
        None => format!("good until {}", link.until),
        Some(_) => "for the first code of its device".to_owned(),
    }))
}

/// The owner takes the key over: the link is used up, and the time for the first code begins. Or takes a device
/// instead: the link is used up, and the token ends.
pub(super) fn redeem(
    rows: &Working<'_>,
    serial: &Serial,
    (mark, by_device): (Mark, bool),
    expected: u64,
    at: UnixTime,
) -> Result<Plan, StoreError> {
    let (key, mut token) = seen(rows, serial, expected)?;
    let enrolment = token.enrolment()?;
    let open = enrolment
        .link
        .filter(|link| link.mark == mark && link.is_open(at));
    let pending = token.state_at(at)? == LifeCycle::Pending;
    let link = open.filter(|_| pending).ok_or(StoreError::NotTaken)?;
    let mut enrolment = enrolment.handed_out(at);
    enrolment.link = Some(Link {
        redeemed: Some(at),
        ..link
    });
    token.set_enrolment(&enrolment);
    let writes: Vec<RowWrite> = if by_device {
        lifecycle::ended(key, serial.as_str(), token, LifeCycle::Revoked)?
    } else if enrolment.verify {
        vec![put(Table::Tokens, key, token.changed()?)]
    } else {
        lifecycle::activate(rows, &key, serial, token, at)?
    };
    let plan = Plan::of_token(rows, "enrol_redeem", serial, writes)?;
    Ok(plan.detail(by_device.then(|| "for a device".to_owned())))
}
