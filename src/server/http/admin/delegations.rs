//! `/v1/admin/delegations` and `/v1/admin/outage`.

use std::sync::Arc;
use std::time::Duration;

use crate::admin::Lend;
use crate::admin::effect::Means;
use crate::api::forms;
use crate::api::{
    self, AddDelegation, DeclareOutage, EndOutage, ListDelegations, RemoveDelegation, ShowOutage,
};
use crate::model::user::Waiver;
use crate::server::http::App;
use crate::server::http::caller::Caller;
use crate::server::http::error::Failure;
use crate::server::http::read::time;
use crate::server::http::route::{Admin, Received, Routes};
use crate::store::By;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .on(list)
        .on(add)
        .on(remove)
        .on(show_outage)
        .on(declare_outage)
        .on(end_outage)
}

async fn list(app: Arc<App>, _: Admin<ListDelegations>) -> Result<api::Delegations, Failure> {
    let lent = app.core().store().delegations()?;
    let now = app.core().now();
    let delegations = lent.iter().map(|one| forms::delegation(one, now)).collect();
    Ok(api::Delegations { delegations })
}

async fn add(
    app: Arc<App>,
    call: Received<AddDelegation, (Caller, By)>,
) -> Result<api::Delegation, Failure> {
    let ((caller, by), wanted) = (call.from, call.body);
    let from = wanted.from.unwrap_or_else(|| caller.actor());
    let lend = Lend {
        from,
        to: wanted.to,
        until: time("until", &wanted.until)?,
        reason: wanted.reason,
    };
    let lent = app.admin().lend_approval(lend, by).await?;
    let mut shown = forms::delegation(&lent, app.core().now());
    shown.effect = Some(app.admin().effect_of(None, Means::Approval));
    Ok(shown)
}

async fn remove(app: Arc<App>, call: Admin<RemoveDelegation>) -> Result<(), Failure> {
    let (by, which) = (call.from, call.query);
    let ended = app.admin().take_back_approval(&which.from, &which.to, by);
    Ok(ended.await?)
}

async fn show_outage(app: Arc<App>, _: Admin<ShowOutage>) -> Result<api::Outage, Failure> {
    let outage = app.admin().outage()?;
    Ok(shown(&app, outage.as_ref()))
}

async fn declare_outage(app: Arc<App>, call: Admin<DeclareOutage>) -> Result<api::Outage, Failure> {
    let length = Duration::from_secs(call.body.for_secs);
    let outage = app
        .admin()
        .declare_outage(length, &call.body.reason, call.from);
    Ok(shown(&app, Some(&outage.await?)))
}

async fn end_outage(app: Arc<App>, call: Admin<EndOutage>) -> Result<(), Failure> {
    Ok(app.admin().end_outage(call.from).await?)
}

fn shown(app: &App, outage: Option<&Waiver>) -> api::Outage {
    let outage = outage.map(|outage| api::Waiver {
        effect: Some(app.admin().effect_of(None, Means::Outage)),
        ..forms::waiver(outage, app.core().now())
    });
    api::Outage { outage }
}
