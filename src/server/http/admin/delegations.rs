//! `/v1/admin/delegations` and `/v1/admin/outage`.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::admin::Lend;
use crate::admin::effect::Means;
use crate::api;
use crate::api::Problem;
use crate::server::http::admin::time;
use crate::server::http::body::{Json, Query};
use crate::server::http::caller::Caller;
use crate::server::http::error::Failure;
use crate::server::http::{App, answer, forms};
use crate::store::By;

/// Rights to approve that are lent, ended ones too.
#[utoipa::path(
    get,
    path = "/v1/admin/delegations",
    tag = "delegations",
    responses(
        (status = 200, description = "All of them", body = api::Delegations),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list_delegations(State(app): State<Arc<App>>) -> Result<Response, Failure> {
    let lent = app.service().core.store().delegations()?;
    let now = app.service().core.now();
    let delegations = lent.iter().map(|one| forms::delegation(one, now)).collect();
    Ok(answer::json(
        StatusCode::OK,
        &api::Delegations { delegations },
    ))
}

/// Lends a right to approve. Approvers lend their own, administrators anybody's.
#[utoipa::path(
    post,
    path = "/v1/admin/delegations",
    tag = "delegations",
    request_body = api::DelegationCreate,
    responses(
        (status = 201, description = "Lent", body = api::Delegation),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn lend_approval(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Extension(by): Extension<By>,
    Json { value: wanted, .. }: Json<api::DelegationCreate>,
) -> Result<Response, Failure> {
    let from = wanted.from.unwrap_or_else(|| caller.actor());
    owner_or_admin(&caller, &from)?;
    let lend = Lend {
        from,
        to: wanted.to,
        until: time("until", &wanted.until)?,
        reason: wanted.reason,
    };
    let lent = app.service().admin.lend_approval(lend, by).await?;
    let mut shown = forms::delegation(&lent, app.service().core.now());
    shown.effect = Some(app.service().admin.effect_of(None, Means::Approval));
    Ok(answer::json(StatusCode::CREATED, &shown))
}

/// Takes a lent right back.
#[utoipa::path(
    delete,
    path = "/v1/admin/delegations",
    tag = "delegations",
    params(api::DelegationName),
    responses(
        (status = 204, description = "Taken back"),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn take_back_approval(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Extension(by): Extension<By>,
    Query(which): Query<api::DelegationName>,
) -> Result<StatusCode, Failure> {
    owner_or_admin(&caller, &which.from)?;
    let service = app.service();
    service
        .admin
        .take_back_approval(&which.from, &which.to, by)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn owner_or_admin(caller: &Caller, owner: &str) -> Result<(), Failure> {
    if caller.may_administer() || caller.actor() == owner {
        return Ok(());
    }
    Err(Failure::Forbidden(
        "only the scope `admin` lends another's right, or takes it back",
    ))
}

/// The outage that was declared last.
#[utoipa::path(
    get,
    path = "/v1/admin/outage",
    tag = "outage",
    responses(
        (status = 200, description = "What was declared last", body = api::Outage),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn show_outage(State(app): State<Arc<App>>) -> Result<Response, Failure> {
    let outage = app.service().admin.outage()?;
    let now = app.service().core.now();
    let outage = outage.map(|outage| {
        let mut shown = forms::waiver(&outage, now);
        shown.effect = Some(app.service().admin.effect_of(None, Means::Outage));
        shown
    });
    Ok(answer::json(StatusCode::OK, &api::Outage { outage }))
}

/// Declares an outage: until it ends, what policies name under `outage` is accepted as well.
#[utoipa::path(
    put,
    path = "/v1/admin/outage",
    tag = "outage",
    request_body = api::OutageDeclare,
    responses(
        (status = 200, description = "Declared", body = api::Outage),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn declare_outage(
    State(app): State<Arc<App>>,
    Extension(by): Extension<By>,
    Json { value: wanted, .. }: Json<api::OutageDeclare>,
) -> Result<Response, Failure> {
    let length = Duration::from_secs(wanted.for_secs);
    let service = app.service();
    let outage = service
        .admin
        .declare_outage(length, &wanted.reason, by)
        .await?;
    let mut outage = forms::waiver(&outage, service.core.now());
    outage.effect = Some(service.admin.effect_of(None, Means::Outage));
    let outage = Some(outage);
    Ok(answer::json(StatusCode::OK, &api::Outage { outage }))
}

/// Ends the outage before its time.
#[utoipa::path(
    delete,
    path = "/v1/admin/outage",
    tag = "outage",
    responses(
        (status = 204, description = "Ended"),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn end_outage(
    State(app): State<Arc<App>>,
    Extension(by): Extension<By>,
) -> Result<StatusCode, Failure> {
    app.service().admin.end_outage(by).await?;
    Ok(StatusCode::NO_CONTENT)
}
