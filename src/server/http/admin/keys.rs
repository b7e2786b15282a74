//! `/v1/admin/keys`: which keys there are, a new master key, a new data key.

use std::sync::Arc;

use crate::api::{self, RotateData, RotateMaster, ShowKeys};
use crate::server::http::error::Failure;
use crate::server::http::route::{Admin, Routes};
use crate::server::http::{App, RotateError};
use crate::time::UnixTime;

pub(super) fn routes(routes: Routes) -> Routes {
    routes.on(show).on(rotate).on(rotate_data)
}

async fn show(app: Arc<App>, _: Admin<ShowKeys>) -> Result<api::StoreKeys, Failure> {
    let store = app.core().store();
    let exchanged = store.master_since()?;
    // The first record is as old as the store.
    let first = match store.health().first {
        1 => store
            .audit_after(0, 1)
            .await?
            .first()
            .map(|record| record.at),
        _ => None,
    };
    let data = store.data_keys().await?;
    let info = app.info();
    Ok(api::StoreKeys {
        master: info.master.clone(),
        master_since: exchanged.or(first).map(UnixTime::rfc3339),
        master_exchanged: exchanged.is_some(),
        algorithm: info.algorithm.to_owned(),
        data_since: data.since.or(first).map(UnixTime::rfc3339),
        data_number: data.number,
        data_sealed: data.resealing.map(|(done, _)| done),
        data_secrets: data.resealing.map(|(_, all)| all),
        last_backup: store.last_backup()?.map(|(at, _)| at.rfc3339()),
    })
}

async fn rotate_data(app: Arc<App>, call: Admin<RotateData>) -> Result<api::DataRotated, Failure> {
    let place = Arc::clone(app.backups()).try_acquire_owned();
    let _place = place.map_err(|_| busy())?;
    let Some(read) = app.master_reader() else {
        return Err(Failure::unavailable("no key can be exchanged here"));
    };
    let master = read().map_err(Failure::unavailable)?;
    let at = call.from.at;
    let number = app.admin().exchange_data_key(master, call.from).await?;
    Ok(api::DataRotated {
        number,
        since: at.rfc3339(),
    })
}

fn busy() -> Failure {
    Failure::conflict("a backup is being made, or a key is being exchanged")
        .advise("wait until that is done, then repeat the command")
}

async fn rotate(app: Arc<App>, call: Admin<RotateMaster>) -> Result<api::MasterRotated, Failure> {
    let place = Arc::clone(app.backups()).try_acquire_owned();
    let _place = place.map_err(|_| busy())?;
    let Some(rotate) = app.rotator() else {
        return Err(Failure::unavailable("no key can be exchanged here"));
    };
    let (file, former) = rotate(Arc::clone(&app))
        .await
        .map_err(|error| match error {
            RotateError::NotInAFile(place) => Failure::conflict(format!(
                "the master key is not in a file: keys.master is {place}"
            ))
            .advise("stop the daemon, then: oncegate key rotate --to FILE"),
            RotateError::Failed(what, next) => Failure::unavailable(what).advise(next),
        })?;
    let at = call.from.at;
    app.admin().record_master(file.clone(), call.from).await?;
    Ok(api::MasterRotated {
        file,
        former: Some(former),
        since: at.rfc3339(),
    })
}
