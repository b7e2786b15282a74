//! `oncegate device`: the reference device, and what administrators do to devices.
//!
//! As the device it is a client of the device protocol (`server::http::device`) like any app: all
//! it needs is in one file, and it never touches the installation of `--dir`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::Context;
use crate::cli::error::{CliError, Exit};

mod admin;
mod ask;
mod enroll;
mod protocol;
mod state;

/// Devices that hold a key and fetch codes: this machine as one, and everybody's
#[derive(Debug, Subcommand)]
#[command(after_help = "As the device itself (its key is in --state FILE):\n  \
    enroll, otp, pending, show, rename, transfer, renew, revoke\n\
    As an administrator (of --dir or --server):\n  \
    list, set, remove\n\
    First steps:\n  \
    oncegate device enroll --server https://otp.example.com --user alice\n  \
    oncegate device otp")]
pub(super) enum Device {
    /// Make a key and bind it to a user by an enrolment or transfer code
    #[command(after_help = "Examples:\n  \
        oncegate device enroll alice --server https://otp.example.com\n  \
        oncegate device enroll alice --server https://otp.example.com --code-stdin < code\n  \
        oncegate device enroll 'oncegate://enroll?server=...&user=alice&code=...'\n\
        The code is asked for at a terminal. An administrator makes it, or `device transfer` on\n\
        the device that this one takes over from.")]
    Enroll(Box<enroll::Enroll>),
    /// Fetch a new code and print it; it voids the one before
    #[command(after_help = "Examples:\n  \
        oncegate device otp\n  \
        oncegate verify alice --otp-stdin <<< \"$(oncegate device otp --quiet)\"")]
    Otp(ask::Otp),
    /// Show what waits for the user: this device's tokens, live codes of the others
    Pending(ask::Plain),
    /// Show this device, and the others of its user
    Show(ask::Plain),
    /// Give this device another name
    Rename(ask::Rename),
    /// Get a 12-digit code by which another device takes over from this one
    #[command(
        after_help = "Type the code on the other device within three minutes (`oncegate device \
        enroll`).\nThis device is revoked by that. Asking for a code (`device otp`) voids it."
    )]
    Transfer(ask::Plain),
    /// Give this device's token a new end, shortly before the present one
    Renew(ask::Plain),
    /// End this device, or another one of its user, with all tokens that it carries
    Revoke(ask::Revoke),
    /// Administrator: list a user's devices
    List(admin::List),
    /// Administrator: give a device another name
    Set(admin::Set),
    /// Administrator: end a device and its tokens; its record stays
    Remove(admin::Remove),
}

/// Where the device keeps what it is.
#[derive(Debug, Args)]
struct StateFile {
    /// File with this device's key
    #[arg(long, value_name = "FILE", default_value = "oncegate-device.json")]
    state: PathBuf,
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
