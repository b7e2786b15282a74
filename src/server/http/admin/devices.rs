//! `/v1/admin/devices`: enrolled devices, as administrators see them.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;

use crate::admin::AdminError;
use crate::api;
use crate::api::Problem;
use crate::model::device::DeviceId;
use crate::server::http::admin::{segment, tell, user_key};
use crate::server::http::body::{Json, Query};
use crate::server::http::error::Failure;
use crate::server::http::{App, answer, forms};
use crate::store::By;

/// A device's id in a path.
pub(crate) struct DevicePath(DeviceId);

impl<S: Send + Sync> FromRequestParts<S> for DevicePath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let axum::extract::Path(text) = segment(parts, state).await?;
        text.parse()
            .map(Self)
            .map_err(|_| Failure::missing("device"))
    }
}

/// A user's devices.
#[utoipa::path(
    get,
    path = "/v1/admin/devices",
    tag = "devices",
    params(api::DevicesOf),
    responses(
        (status = 200, description = "All of them, revoked ones too", body = api::Devices),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list_devices(
    State(app): State<Arc<App>>,
    Query(of): Query<api::DevicesOf>,
) -> Result<Response, Failure> {
    let user = user_key(&of.user)?;
    let found = app.service().admin.devices_of(&user);
    let found = match found {
        Ok(found) => found,
        Err(error) => return Err(tell::user(&app, &user, error)),
    };
    let devices = found.iter();
    let devices = devices
        .map(|(device, state)| forms::device(device, state))
        .collect();
    Ok(answer::json(StatusCode::OK, &api::Devices { devices }))
}

/// A device.
#[utoipa::path(
    get,
    path = "/v1/admin/devices/{id}",
    tag = "devices",
    params(("id" = String, Path, description = "The device's id")),
    responses(
        (status = 200, description = "The device", body = api::Device),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn show_device(
    State(app): State<Arc<App>>,
    DevicePath(id): DevicePath,
) -> Result<Response, Failure> {
    shown(&app, &id)
}

/// Gives a device another name.
#[utoipa::path(
    patch,
    path = "/v1/admin/devices/{id}",
    tag = "devices",
    params(("id" = String, Path, description = "The device's id")),
    request_body = api::DeviceRename,
    responses(
        (status = 200, description = "The device", body = api::Device),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn rename_device(
    State(app): State<Arc<App>>,
    DevicePath(id): DevicePath,
    Extension(by): Extension<By>,
    Json { value, .. }: Json<api::DeviceRename>,
) -> Result<Response, Failure> {
    let renamed = app.service().admin.rename_device(&id, value.name, by).await;
    renamed.map_err(|error| told(&id, error))?;
    shown(&app, &id)
}

/// Ends a device and its tokens. Its record stays.
#[utoipa::path(
    delete,
    path = "/v1/admin/devices/{id}",
    tag = "devices",
    params(("id" = String, Path, description = "The device's id")),
    responses(
        (status = 204, description = "Revoked"),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn revoke_device(
    State(app): State<Arc<App>>,
    DevicePath(id): DevicePath,
    Extension(by): Extension<By>,
) -> Result<StatusCode, Failure> {
    let revoked = app.service().admin.revoke_device(&id, by).await;
    revoked.map_err(|error| told(&id, error))?;
    Ok(StatusCode::NO_CONTENT)
}

fn shown(app: &App, id: &DeviceId) -> Result<Response, Failure> {
    let found = app.service().admin.device(id)?;
    let (device, state) = found.ok_or_else(|| told(id, AdminError::NotFound("device")))?;
    let shown = forms::device(&device, &state);
    Ok(answer::record(StatusCode::OK, &shown, device.revision))
}

/// A failed verb about this device.
fn told(id: &DeviceId, error: AdminError) -> Failure {
    match error {
        AdminError::NotFound("device") => {
            Failure::NotFound(format!("there is no device {id}").into())
                .advise("compare with `oncegate device list --user USER`")
        }
        other => other.into(),
    }
}
