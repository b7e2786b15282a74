//! `oncegate device`: this machine as a device ([`crate::phone`]), and what administrators do to devices.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::api::{DeviceRename, DevicesOf, ListDevices, RenameDevice, RevokeDevice};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::input;
use crate::cli::output::printable;
use crate::cli::words::Whom;
use crate::phone;
use crate::phone::devices_table;

/// Act as a device that fetches codes, or manage the devices of users
#[derive(Debug, Subcommand)]
#[command(after_help = "As the device itself (its key is in --state FILE):\n  \
    enroll, otp, pending, show, rename, transfer, renew, revoke\n\
    As an administrator (of --dir or --server):\n  \
    list, set, remove\n\
    First steps:\n  \
    oncegate device enroll --server https://otp.example.com --user alice\n  \
    oncegate device otp")]
pub(super) enum Device {
    /// Create a key and bind it to a user by an enrolment or transfer code
    #[command(after_help = "Examples:\n  \
    oncegate device enroll alice --server https://otp.example.com\n  \
    oncegate device enroll alice --server https://otp.example.com --code-stdin < code\n  \
    oncegate device enroll 'oncegate://enroll?server=...&user=alice&code=...'\n\
    The code is asked for at a terminal. An administrator makes it, or `device transfer` on the device \
    that this one takes over from.")]
    Enroll(Box<phone::Enroll>),
    /// Fetch a new code and print it; it voids the one before
    #[command(after_help = "Examples:\n  \
        oncegate device otp\n  \
        oncegate verify alice --otp-stdin <<< \"$(oncegate device otp --quiet)\"")]
    Otp(phone::Otp),
    /// Show this device's tokens and the live codes of the user's other tokens
    Pending(phone::Plain),
    /// Show this device and the others of its user
    Show(phone::Plain),
    /// Rename this device
    Rename(phone::Rename),
    /// Get a 12-digit code by which another device takes over from this one
    #[command(
        after_help = "Type the code on the other device within three minutes (`oncegate device enroll`). This device is \
    revoked by that. Asking for a code (`device otp`) voids it."
    )]
    Transfer(phone::Plain),
    /// Renew this device's token shortly before it expires
    Renew(phone::Plain),
    /// Revoke this device, or another one of its user, with all its tokens
    Revoke(phone::Revoke),
    /// Administrator: list a user's devices
    List(List),
    /// Administrator: rename a device
    Set(Set),
    /// Administrator: revoke a device and its tokens; its record stays
    Remove(Remove),
}

impl Device {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        match self {
            Self::Enroll(command) => command.run(context).await,
            Self::Otp(command) => command.run(context).await,
            Self::Pending(command) => command.pending(context).await,
            Self::Show(command) => command.show(context).await,
            Self::Rename(command) => command.run(context).await,
            Self::Transfer(command) => command.transfer(context).await,
            Self::Renew(command) => command.renew(context).await,
            Self::Revoke(command) => command.run(context).await,
            Self::List(command) => command.run(context).await,
            Self::Set(command) => command.run(context).await,
            Self::Remove(command) => command.run(context).await,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    whose: Whom,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    /// Which device
    id: String,
    /// Its new name
    #[arg(long)]
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct Remove {
    /// Which device
    id: String,
    /// Do not ask for confirmation at a terminal
    #[arg(long, short)]
    yes: bool,
}

impl List {
    async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let api = context.transport().await?;
        let user = self.whose.user();
        let devices = api.find::<ListDevices>(&DevicesOf { user }).await?;
        context.out.show(&devices, |devices| {
            devices_table(&devices.devices)
                .or("No devices. A device enrols itself by an enrolment code.")
        })?;
        Ok(Exit::Done)
    }
}

impl Set {
    async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let api = context.transport().await?;
        let body = DeviceRename { name: self.name };
        let device = api.send::<RenameDevice>(&self.id, &body).await?;
        context.out.show(&device, |device| {
            let (id, name) = (printable(&device.device), printable(&device.name));
            format!("Device {id} is called {name}.\n")
        })?;
        Ok(Exit::Done)
    }
}

impl Remove {
    async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let id = self.id.to_ascii_uppercase();
        let question = format!("Revoke device {id} and its tokens for ever?");
        input::confirm(&question, self.yes)?;
        let api = context.transport().await?;
        api.ask::<RevokeDevice>(&id).await?;
        context.out.show(&json!({ "revoked": id }), |_| {
            format!("Revoked device {} and its tokens.\n", printable(&id))
        })?;
        Ok(Exit::Done)
    }
}
