//! What an enrolled device asks: codes, what waits, its siblings, its end.

use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::api::{
    AskForCode, Device, DeviceCodeWanted, DevicePending, DeviceRename, DeviceTokenWanted, Devices,
    ListOwnDevices, RenameOwnDevice, RenewOwnToken, RevokeOwnDevice, ShowPending, TransferDevice,
};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::input;
use crate::cli::output::{Table, local_time, or_dash, printable};
use crate::otp::issued::grouped;
use crate::phone::StateFile;
use crate::phone::protocol::Protocol;
use crate::phone::state::State;

#[derive(Debug, Args)]
pub(crate) struct Plain {
    #[command(flatten)]
    file: StateFile,
}

#[derive(Debug, Args)]
pub(crate) struct Otp {
    /// The only client (VPN gateway, application) that may be given the code [default: any]
    #[arg(long)]
    client: Option<String>,
    #[command(flatten)]
    file: StateFile,
}

#[derive(Debug, Args)]
pub(crate) struct Rename {
    /// The new name
    name: String,
    #[command(flatten)]
    file: StateFile,
}

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// Which device [default: this one]
    id: Option<String>,
    /// Do not ask for confirmation at a terminal
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    file: StateFile,
}

/// What `show` prints for programs.
#[derive(Serialize)]
struct Shown<'a> {
    device: &'a str,
    user: &'a str,
    name: &'a str,
    server: &'a str,
    serial: &'a str,
    thumbprint: String,
    devices: &'a Devices,
}

impl StateFile {
    /// The device of the file.
    fn load(&self, context: &Context) -> Result<State, CliError> {
        let state = State::load(&self.state)?;
        if let Some(other) = context
            .server
            .as_deref()
            .filter(|server| *server != state.server)
        {
            context.out.note(&format!(
                "Not {}: the device asks {}, where it was enrolled.",
                printable(other),
                printable(&state.server)
            ));
        }
        Ok(state)
    }
}

impl Otp {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let state = self.file.load(context)?;
        let wanted = DeviceCodeWanted {
            client: self.client,
            serial: None,
            // The reference device has no screen lock to ask.
            uv: None,
        };
        let code = Protocol::of(&state)?
            .call::<AskForCode>((), &wanted)
            .await?;
        if !context.out.json {
            context.out.note(&format!(
                "Good once, for {} s; a new one voids it.",
                code.expires_in
            ));
        }
        context
            .out
            .show(&code, |code| printable(&code.code).into_owned())?;
        Ok(Exit::Done)
    }
}

impl Plain {
    pub(crate) async fn pending(self, context: &Context) -> Result<Exit, CliError> {
        let state = self.file.load(context)?;
        let pending = Protocol::of(&state)?.call::<ShowPending>((), &()).await?;
        context.out.show(&pending, waiting)?;
        Ok(Exit::Done)
    }

    pub(crate) async fn show(self, context: &Context) -> Result<Exit, CliError> {
        let state = self.file.load(context)?;
        let mut table = Table::pairs();
        table.pair("device", state.device.clone());
        table.pair("user", state.user.clone());
        table.pair("name", state.name.clone());
        table.pair("server", state.server.clone());
        table.pair("token", state.serial.clone());
        table.pair("key", state.key.public().thumbprint());
        let devices = Protocol::of(&state)?.call::<ListOwnDevices>((), &()).await;
        if !context.out.json {
            // What the file says is of use when the server does not answer, too.
            context.out.say(&table.text())?;
        }
        let devices = devices?;
        let shown = Shown {
            device: &state.device,
            user: &state.user,
            name: &state.name,
            server: &state.server,
            serial: &state.serial,
            thumbprint: state.key.public().thumbprint(),
            devices: &devices,
        };
        context.out.show(&shown, |shown| {
            format!("\n{}", devices_table(&shown.devices.devices).text())
        })?;
        Ok(Exit::Done)
    }

    pub(crate) async fn transfer(self, context: &Context) -> Result<Exit, CliError> {
        let state = self.file.load(context)?;
        let wanted = DeviceTokenWanted::default();
        let code = Protocol::of(&state)?
            .call::<TransferDevice>((), &wanted)
            .await?;
        context.out.show(&code, |code| {
            let shown = grouped(&code.code, 4);
            format!(
                "{}\nType it on the other device within {} s; this one is revoked by that.\n",
                printable(shown.expose()),
                code.expires_in
            )
        })?;
        Ok(Exit::Done)
    }

    pub(crate) async fn renew(self, context: &Context) -> Result<Exit, CliError> {
        let state = self.file.load(context)?;
        let wanted = DeviceTokenWanted::default();
        let token = Protocol::of(&state)?
            .call::<RenewOwnToken>((), &wanted)
            .await?;
        context.out.show(&token, |token| {
            let until = token.expires.as_deref().map(local_time);
            format!(
                "Token {} is good until {}.\n",
                printable(&token.serial),
                or_dash(until.as_deref())
            )
        })?;
        Ok(Exit::Done)
    }
}

impl Rename {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let mut state = self.file.load(context)?;
        let wanted = DeviceRename { name: self.name };
        let protocol = Protocol::of(&state)?;
        protocol.call::<RenameOwnDevice>((), &wanted).await?;
        drop(protocol);
        state.name = wanted.name;
        state.save(&self.file.state)?;
        let renamed = json!({ "device": state.device, "name": state.name });
        context.out.show(&renamed, |_| {
            let (device, name) = (printable(&state.device), printable(&state.name));
            format!("Device {device} is called {name}.\n")
        })?;
        Ok(Exit::Done)
    }
}

impl Revoke {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let state = self.file.load(context)?;
        let id = self.id.unwrap_or_else(|| state.device.clone());
        let question = format!("Revoke device {id} and its tokens for ever?");
        input::confirm(&question, self.yes)?;
        let protocol = Protocol::of(&state)?;
        protocol.call::<RevokeOwnDevice>(&id, &()).await?;
        let itself = id.eq_ignore_ascii_case(&state.device);
        context.out.show(&json!({ "revoked": id }), |_| {
            let mut text = format!("Revoked device {}.\n", printable(&id));
            if itself {
                let file = self.file.state.display();
                push!(
                    text,
                    "Its key in {file} is of no use any more; delete it.\n"
                );
            }
            text
        })?;
        Ok(Exit::Done)
    }
}

fn waiting(pending: &DevicePending) -> String {
    let mut tokens = Table::new(&["token", "kind", "state", "expires"]);
    for token in &pending.tokens {
        let expires = token.expires.as_deref().map(local_time);
        tokens.row([
            token.serial.as_str(),
            &token.kind,
            &token.state,
            &or_dash(expires.as_deref()),
        ]);
    }
    let mut codes = Table::new(&["live code of", "kind", "for", "sent to", "until"]);
    for code in &pending.codes {
        let expires = code.expires.as_deref().map(local_time);
        codes.row([
            code.serial.as_str(),
            &code.kind,
            &code.way,
            &or_dash(code.to.as_deref()),
            &or_dash(expires.as_deref()),
        ]);
    }
    format!(
        "{}\n{}",
        tokens.or("The device carries no token."),
        codes.or("No other code waits for the user.")
    )
}

/// Devices as a table.
pub(crate) fn devices_table(devices: &[Device]) -> Table {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::DeviceOpenCode;
    use crate::api::DeviceToken;

    #[test]
    fn what_waits_is_told_and_harmless() {
        let none = DevicePending {
            user: "alice@default".to_owned(),
            tokens: Vec::new(),
            codes: Vec::new(),
        };
        assert!(waiting(&none).contains("No other code waits"));
        let some = DevicePending {
            tokens: vec![DeviceToken {
                serial: "SERVER-1".to_owned(),
                kind: "server".to_owned(),
                state: "active".to_owned(),
                expires: None,
            }],
            codes: vec![DeviceOpenCode {
                serial: "SMS-1\u{1b}[2J".to_owned(),
                kind: "sms".to_owned(),
                way: "code".to_owned(),
                to: Some("+82******5678".to_owned()),
                expires: None,
            }],
            ..none
        };
        let text = waiting(&some);
        assert!(text.contains("SERVER-1") && text.contains("5678"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
