//! `oncegate device enroll`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::api::{DeviceEnrol, DeviceEnrolled, EnrolDevice};
use crate::cli::context::{Context, program};
use crate::cli::error::{CliError, Exit};
use crate::cli::input;
use crate::cli::input::Ask;
use crate::cli::output::{Table, printable, shell_word};
use crate::otpauth::enrol::EnrolUri;
use crate::phone::StateFile;
use crate::phone::protocol::Protocol;
use crate::phone::state::{Place, State};
use crate::secret::{Key256, SystemEntropy, random};
use crate::signature::key::{KeyAlgorithm, SigningKey};

#[derive(Debug, Args)]
pub(crate) struct Enroll {
    /// NAME, NAME@REALM or DOMAIN\NAME; or what the QR code shows, `https://HOST/app/#..` or
    /// `oncegate://enroll?..`: server, user and code in one
    #[arg(value_name = "USER|URI", conflicts_with = "user")]
    what: Option<String>,
    /// The same as an option
    #[arg(long)]
    user: Option<String>,
    /// Read the enrolment or transfer code, or the URI, from stdin; on a terminal it is asked for
    #[arg(long)]
    code_stdin: bool,
    /// What the user will call this device [default: this machine's name]
    #[arg(long)]
    name: Option<String>,
    /// How its key signs
    #[arg(long, default_value = "ed25519", value_parser = ["ed25519", "ecdsa-p256-sha256"])]
    algorithm: String,
    /// Replace the device that is in the file already
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    file: StateFile,
}

#[derive(Serialize)]
struct Made<'a> {
    #[serde(flatten)]
    enrolled: &'a DeviceEnrolled,
    server: &'a str,
    state_file: PathBuf,
}

impl Enroll {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let place = Place::take(&self.file.state, self.force)?;
        let invitation = self.invitation(context)?;
        let name = self.name.clone().unwrap_or_else(own_name);
        let key = self.key()?;
        let ca_file = context.ca_file.as_deref().map(std::path::absolute);
        let ca_file = ca_file.transpose()?;
        let protocol = Protocol::new(&invitation.server, ca_file.as_deref(), &key)?;
        let public_key = key.public();
        let body = DeviceEnrol {
            user: invitation.user.clone(),
            code: invitation.code.clone(),
            name: name.clone(),
            algorithm: public_key.algorithm().as_str().to_owned(),
            public_key: public_key.base64url(),
        };
        let enrolled = protocol.call::<EnrolDevice>((), &body).await?;
        drop(protocol);
        let state = State {
            server: invitation.server.clone(),
            ca_file,
            user: enrolled.user.clone(),
            device: enrolled.device.clone(),
            name,
            serial: enrolled.token.serial.clone(),
            key,
        };
        place.fill(&state)?;
        let made = Made {
            enrolled: &enrolled,
            server: &state.server,
            state_file: self.file.state.clone(),
        };
        context.out.show(&made, describe)?;
        Ok(Exit::Done)
    }

    /// Server, user and code, wherever they come from.
    fn invitation(&self, context: &Context) -> Result<EnrolUri, CliError> {
        let what = self.what.as_deref();
        if let Some(uri) = what.filter(|what| what.contains("://")) {
            if self.code_stdin {
                return Err(CliError::usage(
                    "the URI has the code; leave --code-stdin out",
                ));
            }
            input::warn_of_arguments();
            return parse(uri);
        }
        let typed = input::secret(Ask::once("enrolment or transfer code"))?;
        if typed.expose().contains("://") {
            return parse(typed.expose());
        }
        let missing = |what: &'static str, how: &'static str| CliError::usage(what).remedy(how);
        let server = context.server.clone();
        Ok(EnrolUri {
            server: server.ok_or_else(|| {
                missing(
                    "no server to enrol at",
                    "name it: --server https://HOST[:PORT]; or give the oncegate:// URI",
                )
            })?,
            user: self
                .user
                .as_deref()
                .or(what)
                .map(str::to_owned)
                .ok_or_else(|| {
                    missing(
                        "no user to enrol for",
                        "name one: oncegate device enroll NAME, or --user NAME; or give the oncegate:// URI",
                    )
                })?,
            code: typed,
        })
    }

    fn key(&self) -> Result<SigningKey, CliError> {
        let failed = |error: &dyn std::fmt::Display| {
            CliError::unavailable(format!("cannot make a key: {error}"))
        };
        let algorithm: KeyAlgorithm = self.algorithm.parse().map_err(|e| failed(&e))?;
        let octets = Key256::new(random(&SystemEntropy).map_err(|e| failed(&e))?);
        SigningKey::from_random(algorithm, &octets).map_err(|e| failed(&e))
    }
}

fn parse(uri: &str) -> Result<EnrolUri, CliError> {
    EnrolUri::parse(uri).map_err(|error| {
        CliError::usage(format!("the enrolment URI: {error}"))
            .remedy("copy all of it, in quotes: oncegate device enroll 'oncegate://enroll?...'")
    })
}

/// The machine's name, for a device without one.
fn own_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() {
        "oncegate device".to_owned()
    } else {
        name.to_owned()
    }
}

fn describe(made: &Made<'_>) -> String {
    let enrolled = made.enrolled;
    let mut table = Table::pairs();
    table.pair("device", enrolled.device.clone());
    table.pair("user", enrolled.user.clone());
    table.pair("name", enrolled.name.clone());
    table.pair("server", made.server.to_owned());
    table.pair("token", enrolled.token.serial.clone());
    table.pair("state", enrolled.token.state.clone());
    table.pair("key", made.state_file.display().to_string());
    let mut text = String::from("Enrolled.\n");
    text.push_str(&table.text());
    if enrolled.token.state == "pending" {
        text.push_str("A first code proves the token: give it to your administrator, or type it where you enrolled.\n");
    }
    let file = made.state_file.to_string_lossy();
    let state = if file == DEFAULT {
        String::new()
    } else {
        format!(" --state {}", shell_word(&printable(&file)))
    };
    push!(text, "Next: {}\n", program(&format!("device otp{state}")));
    text
}

const DEFAULT: &str = "oncegate-device.json";
