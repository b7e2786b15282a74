//! `/v1/admin/devices`: enrolled devices, as administrators see them.

use std::sync::Arc;

use crate::api::forms;
use crate::api::{self, ListDevices, RenameDevice, RevokeDevice, ShowDevice};
use crate::model::device::DeviceId;
use crate::server::http::caller::Caller;
use crate::server::http::error::Failure;
use crate::server::http::read::user_named;
use crate::server::http::route::{Admin, Received, Routes};
use crate::server::http::{App, tell};
use crate::store::By;

pub(super) fn routes(routes: Routes) -> Routes {
    routes.on(list).on(show).on(rename).on(revoke)
}

async fn list(
    app: Arc<App>,
    call: Received<ListDevices, (Caller, By)>,
) -> Result<api::Devices, Failure> {
    let user = user_named(&app, &call.query.user)?;
    if !call.from.0.sees(&user) {
        return Err(tell::no_user(&app, &call.from.0, &user));
    }
    let found = match app.admin().devices_of(&user) {
        Ok(found) => found,
        Err(error) => return Err(tell::user(&app, &call.from.0, &user, error)),
    };
    let devices = found.iter();
    let devices = devices.map(|(device, state)| forms::device(device, state));
    Ok(api::Devices {
        devices: devices.collect(),
    })
}

async fn show(app: Arc<App>, call: Admin<ShowDevice>) -> Result<api::Device, Failure> {
    shown(&app, &call.place)
}

async fn rename(app: Arc<App>, call: Admin<RenameDevice>) -> Result<api::Device, Failure> {
    let renamed = app
        .admin()
        .rename_device(&call.place, call.body.name, call.from);
    renamed.await?;
    shown(&app, &call.place)
}

async fn revoke(app: Arc<App>, call: Admin<RevokeDevice>) -> Result<(), Failure> {
    app.admin().revoke_device(&call.place, call.from).await?;
    Ok(())
}

fn shown(app: &App, id: &DeviceId) -> Result<api::Device, Failure> {
    let found = app.admin().device(id)?;
    let (device, state) = found.ok_or_else(|| Failure::missing("device"))?;
    Ok(forms::device(&device, &state))
}
