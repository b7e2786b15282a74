//! The reference device: this machine as an enrolled device, a client of the device protocol
//! (`server::http::device`) like any app.
//!
//! All it needs is in one file; it never touches the installation of `--dir`.

use std::path::PathBuf;

use clap::Args;

mod ask;
mod enroll;
mod protocol;
mod state;

pub(crate) use ask::{Otp, Plain, Rename, Revoke, devices_table};
pub(crate) use enroll::Enroll;

/// Where the device keeps what it is.
#[derive(Debug, Args)]
struct StateFile {
    /// File with this device's key
    #[arg(long, value_name = "FILE", default_value = "oncegate-device.json")]
    state: PathBuf,
}
