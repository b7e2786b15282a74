//! `/v1/admin/users/{user}/bypass` and `/exemption`: exceptions somebody answers for.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::admin::Grant;
use crate::admin::effect::Means;
use crate::api;
use crate::api::Problem;
use crate::model::user::User;
use crate::model::user_key::UserKey;
use crate::server::http::admin::{UserPath, time};
use crate::server::http::body::Json;
use crate::server::http::error::Failure;
use crate::server::http::{App, answer, forms};
use crate::store::{By, WaiverKind};

/// For at most 24 hours, what the user has is not asked for where a rule also asks for what the
/// user knows.
#[utoipa::path(
    put,
    path = "/v1/admin/users/{user}/bypass",
    tag = "users",
    params(("user" = String, Path, description = "`name`, `name@realm` or `DOMAIN\\name`")),
    request_body = api::WaiverGrant,
    responses(
        (status = 200, description = "Granted", body = api::User),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn grant_bypass(
    State(app): State<Arc<App>>,
    UserPath(key): UserPath,
    Extension(by): Extension<By>,
    Json { value, .. }: Json<api::WaiverGrant>,
) -> Result<Response, Failure> {
    grant(&app, &key, WaiverKind::Bypass, value, by).await
}

/// Ends the bypass.
#[utoipa::path(
    delete,
    path = "/v1/admin/users/{user}/bypass",
    tag = "users",
    params(("user" = String, Path, description = "`name`, `name@realm` or `DOMAIN\\name`")),
    responses(
        (status = 200, description = "Ended", body = api::User),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn end_bypass(
    State(app): State<Arc<App>>,
    UserPath(key): UserPath,
    Extension(by): Extension<By>,
) -> Result<Response, Failure> {
    end(&app, &key, WaiverKind::Bypass, by).await
}

/// While the user is on record as departed and asks from abroad, what a rule names under `exempt`
/// is not asked for.
#[utoipa::path(
    put,
    path = "/v1/admin/users/{user}/exemption",
    tag = "users",
    params(("user" = String, Path, description = "`name`, `name@realm` or `DOMAIN\\name`")),
    request_body = api::WaiverGrant,
    responses(
        (status = 200, description = "Granted", body = api::User),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn grant_exemption(
    State(app): State<Arc<App>>,
    UserPath(key): UserPath,
    Extension(by): Extension<By>,
    Json { value, .. }: Json<api::WaiverGrant>,
) -> Result<Response, Failure> {
    grant(&app, &key, WaiverKind::Exemption, value, by).await
}

/// Ends the exemption.
#[utoipa::path(
    delete,
    path = "/v1/admin/users/{user}/exemption",
    tag = "users",
    params(("user" = String, Path, description = "`name`, `name@realm` or `DOMAIN\\name`")),
    responses(
        (status = 200, description = "Ended", body = api::User),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn end_exemption(
    State(app): State<Arc<App>>,
    UserPath(key): UserPath,
    Extension(by): Extension<By>,
) -> Result<Response, Failure> {
    end(&app, &key, WaiverKind::Exemption, by).await
}

async fn grant(
    app: &App,
    key: &UserKey,
    which: WaiverKind,
    wanted: api::WaiverGrant,
    by: By,
) -> Result<Response, Failure> {
    let grant = Grant {
        reason: wanted.reason,
        from: match wanted.from {
            Some(from) => time("from", &from)?,
            None => by.at,
        },
        until: time("until", &wanted.until)?,
    };
    let user = app.service().admin.grant(key, which, grant, by).await?;
    let mut shown = forms::user(&user, app.service().core.now());
    effects(app, &user, &mut shown);
    Ok(answer::record(StatusCode::OK, &shown, user.revision))
}

/// Where the user's exceptions have effect.
pub(super) fn effects(app: &App, user: &User, shown: &mut api::User) {
    for (waiver, means) in [
        (&mut shown.bypass, Means::Bypass),
        (&mut shown.exemption, Means::Exemption),
    ] {
        if let Some(waiver) = waiver {
            waiver.effect = Some(app.service().admin.effect_of(Some(user), means));
        }
    }
}

async fn end(app: &App, key: &UserKey, which: WaiverKind, by: By) -> Result<Response, Failure> {
    let user = app.service().admin.end_waiver(key, which, by).await?;
    let shown = forms::user(&user, app.service().core.now());
    Ok(answer::record(StatusCode::OK, &shown, user.revision))
}
