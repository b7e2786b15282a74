//! What administrators do to devices.

use clap::Args;
use hyper::Method;
use serde_json::json;

use crate::api::{Device as Record, DeviceRename, Devices};
use crate::cli::error::{CliError, Exit};
use crate::cli::output::{Table, local_time, or_dash, printable};
use crate::cli::transport::{admin, with_query};
use crate::cli::words::Whom;
use crate::cli::{Context, input};

#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    whose: Whom,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Set {
    /// Which device
    id: String,
    /// Its new name
    #[arg(long)]
    name: String,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Remove {
    /// Which device
    id: String,
    /// Do not ask for confirmation at a terminal
    #[arg(long, short)]
    yes: bool,
}

impl List {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let api = context.transport().await?;
        let user = self.whose.user();
        let path = with_query(&admin(&["devices"]), &[("user", Some(&user))]);
        let devices: Devices = api.get(&path).await?;
        context.out.show(&devices, |devices| {
            table(&devices.devices).or("No devices. A device enrols itself by an enrolment code.")
        })?;
        Ok(Exit::Done)
    }
}

impl Set {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let api = context.transport().await?;
        let body = DeviceRename { name: self.name };
        let path = admin(&["devices", &self.id]);
        let device: Record = api.call(Method::PATCH, &path, Some(&body)).await?;
        context.out.show(&device, |device| {
            let (id, name) = (printable(&device.device), printable(&device.name));
            format!("Device {id} is called {name}.\n")
        })?;
        Ok(Exit::Done)
    }
}

impl Remove {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let id = self.id.to_ascii_uppercase();
        let question = format!("Revoke device {id} and its tokens for ever?");
        input::confirm(&question, self.yes)?;
        let api = context.transport().await?;
        api.order(Method::DELETE, &admin(&["devices", &id])).await?;
        context.out.show(&json!({ "revoked": id }), |_| {
            format!("Revoked device {} and its tokens.\n", printable(&id))
        })?;
        Ok(Exit::Done)
    }
}

/// Devices as a table.
pub(super) fn table(devices: &[Record]) -> Table {
    let mut table = Table::new(&["device", "name", "state", "enrolled", "last seen", ""]);
    for device in devices {
        let seen = device.last_seen.as_deref().map(local_time);
        table.row([
            device.device.as_str(),
            &device.name,
            &device.state,
            &local_time(&device.created),
            &or_dash(seen.as_deref()),
            if device.this == Some(true) {
                "this one"
            } else {
                ""
            },
        ]);
    }
    table
}
