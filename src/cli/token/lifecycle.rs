//! The verbs by which tokens come into use and end: `offer`, `approve`, `confirm`, `revoke` ...

use std::time::Duration;

use clap::Args;

use crate::api::call::{Call, NoQuery, TokenSerial};
use crate::api::{
    self, ApproveToken, AssignToken, ConfirmToken, DenyToken, LinkToken, OfferToken, Offered,
    RenewToken, ResyncToken, RevokeToken, Token as Record, UnlinkToken,
};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::input::Ask;
use crate::cli::output::{Table, local_time, printable};
use crate::cli::token::shown::{first_code, is_closed};
use crate::cli::words::Whom;
use crate::cli::{input, paper};
use crate::diagnostic::units;
use crate::secret::SecretString;

#[derive(Debug, Args)]
#[allow(clippy::doc_markdown)] // help is plain text
pub(in crate::cli) struct Offer {
    /// Name of the token
    serial: String,
    /// How the code of a server token reaches its user: text, qr, sms, email [default: text,qr]
    #[arg(long, value_name = "WAYS", value_delimiter = ',',
          value_parser = ["text", "qr", "sms", "email"])]
    by: Vec<String>,
    /// Where devices reach this server, for the QR code [default: http.public_url]
    #[arg(long, value_name = "URL")]
    server_url: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Approve {
    /// Name of the token
    serial: String,
    /// On whose behalf, with a delegation: api:NAME or 'uid N'
    #[arg(long, value_name = "WHO")]
    on_behalf: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Deny {
    /// Name of the token
    serial: String,
    /// Why; written into the audit
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Renew {
    /// Name of the token
    serial: String,
    /// How long from now [default: as long as before]
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    valid_for: Option<Duration>,
    /// Also earlier than the policy allows
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Revoke {
    /// Name of the token
    serial: String,
    /// Why
    #[arg(long, default_value = "other", value_parser =
          ["lost", "stolen", "replaced", "moved", "left", "compromised", "other"])]
    reason: String,
    /// Do not ask for confirmation at a terminal
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
#[command(override_usage = "oncegate token link [OPTIONS] <SERIAL> <USER|--user <USER>>")]
pub(in crate::cli) struct Link {
    /// Name of the token
    serial: String,
    #[command(flatten)]
    second: Whom,
    /// Read two consecutive codes of the token, one a line, from stdin
    #[arg(long)]
    otp_stdin: bool,
    /// The two codes, for tests
    #[arg(long, hide = true, num_args = 2, conflicts_with = "otp_stdin")]
    otp: Vec<String>,
}

#[derive(Debug, Args)]
#[command(override_usage = "oncegate token unlink [OPTIONS] <SERIAL> <USER|--user <USER>>")]
pub(in crate::cli) struct Unlink {
    /// Name of the token
    serial: String,
    #[command(flatten)]
    second: Whom,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Confirm {
    /// Name of the token
    serial: String,
    /// Read the code from stdin; on a terminal it is asked for anyway
    #[arg(long)]
    otp_stdin: bool,
    /// The code, for tests
    #[arg(long, hide = true, conflicts_with = "otp_stdin")]
    otp: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Resync {
    /// Name of the token
    serial: String,
    /// Read two consecutive codes, one a line, from stdin
    #[arg(long)]
    otp_stdin: bool,
    /// The two codes, for tests
    #[arg(long, hide = true, num_args = 2, conflicts_with = "otp_stdin")]
    otp: Vec<String>,
}

/// A token from stock for a user.
#[derive(Debug, Args)]
#[command(override_usage = "oncegate token assign [OPTIONS] <SERIAL> <USER|--user <USER>>")]
pub(in crate::cli) struct Assign {
    /// Name of the token
    serial: String,
    #[command(flatten)]
    user: Whom,
    /// In use at once, without a code of it
    #[arg(long, conflicts_with_all = ["otp_stdin", "otp"])]
    active: bool,
    /// Read two consecutive codes of the token, one a line, from stdin: then it is in use at once
    #[arg(long)]
    otp_stdin: bool,
    /// The two codes, for tests
    #[arg(long, hide = true, num_args = 2, conflicts_with = "otp_stdin")]
    otp: Vec<String>,
}

impl Assign {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let codes = match (self.otp_stdin, self.otp.is_empty()) {
            (false, true) => None,
            _ => Some(two_codes(&self.otp)?),
        };
        let (first, second) = codes.unzip();
        let body = api::Assign {
            user: self.user.user(),
            active: self.active,
            first,
            second,
        };
        let api = context.transport().await?;
        let token = api.send::<AssignToken>(&self.serial, &body).await?;
        context.out.show(&token, |token| {
            let (serial, owner) = (printable(&token.serial), printable(token.owner()));
            let mut text = format!("Token {serial} is {owner}'s now, and {}.\n", token.state);
            if let Some(first) = first_code(token) {
                push!(text, "Its first right code {first}.\n");
            }
            if is_closed(token) {
                let resync = context.command(&format!("token resync {serial}"));
                let confirm = context.command(&format!("token confirm {serial}"));
                push!(
                    text,
                    "Which of its codes are used is not known.\nNext: {resync}, then {confirm}\n"
                );
            }
            text
        })
    }
}

impl Offer {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let body = api::Offer {
            by: self.by,
            server_url: self.server_url,
        };
        let api = context.transport().await?;
        let offered = api.send::<OfferToken>(&self.serial, &body).await?;
        context
            .out
            .show(&offered, |offered| handed(offered, context))
    }
}

impl Approve {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let body = api::Approve {
            on_behalf: self.on_behalf,
        };
        let api = context.transport().await?;
        let token = api.send::<ApproveToken>(&self.serial, &body).await?;
        context.out.show(&token, |token| {
            let serial = printable(&token.serial);
            let needed = token.approvals_needed.unwrap_or_default();
            let given = token.approvals.len();
            if token.state == "requested" {
                return format!("Counted: {given} of {needed} approvals for token {serial}.\n");
            }
            let next = context.command(&format!("token offer {serial}"));
            format!("Token {serial} is approved.\nNext: {next}\n")
        })
    }
}

impl Deny {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let body = api::Deny {
            reason: self.reason,
        };
        act::<DenyToken>(context, &self.serial, &body).await
    }
}

impl Renew {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let body = api::Renew {
            valid_for_secs: self.valid_for.map(|length| length.as_secs()),
            force: self.force,
        };
        let api = context.transport().await?;
        let token = api.send::<RenewToken>(&self.serial, &body).await?;
        context.out.show(&token, |token| {
            let until = token.expires.as_deref().map(local_time);
            format!(
                "Token {} is valid until {}.\n",
                printable(&token.serial),
                until.unwrap_or_default()
            )
        })
    }
}

impl Revoke {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let serial = &self.serial;
        input::confirm(&format!("Revoke token {serial} for good?"), self.yes)?;
        let body = api::Revoke {
            reason: Some(self.reason),
        };
        act::<RevokeToken>(context, serial, &body).await
    }
}

impl Confirm {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let otp = one_code(self.otp)?;
        act::<ConfirmToken>(context, &self.serial, &api::Confirm { otp }).await
    }
}

impl Resync {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let (first, second) = two_codes(&self.otp)?;
        let body = api::Resync { first, second };
        let api = context.transport().await?;
        let token = api.send::<ResyncToken>(&self.serial, &body).await?;
        context.out.show(&token, resynchronised)
    }
}

impl Link {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let (first, second) = two_codes(&self.otp)?;
        let user = self.second.user();
        let body = api::Link {
            user: user.clone(),
            first,
            second,
        };
        let api = context.transport().await?;
        let token = api.send::<LinkToken>(&self.serial, &body).await?;
        context.out.show(&token, |token| {
            format!(
                "Token {} of {} counts for {} too: one key, one counter.\n",
                printable(&token.serial),
                printable(token.owner()),
                printable(&user)
            )
        })
    }
}

impl Unlink {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let body = api::Unlink {
            user: self.second.user(),
        };
        let api = context.transport().await?;
        let token = api.send::<UnlinkToken>(&self.serial, &body).await?;
        context.out.show(&token, |token| {
            format!(
                "Token {} counts for {} only.\n",
                printable(&token.serial),
                printable(token.owner())
            )
        })
    }
}

/// A token that was handed out: what its owner is given, and what to do next.
fn handed(offered: &Offered, context: &Context) -> String {
    let token = &offered.token;
    let serial = printable(&token.serial);
    let uris = offered.enrol_uri.iter().chain(&offered.otpauth_uri);
    let mut text = paper::handout(token, uris, &offered.cells, &offered.codes, context.out);
    let mut table = Table::pairs();
    table.pair("token", token.serial.clone());
    table.pair("user", token.owner().to_owned());
    table.pair("state", token.state.clone());
    table.pair("code", offered.code.clone());
    for to in &offered.sent {
        table.pair("sent by", format!("{} to {}", to.medium, to.to));
    }
    if let Some(asked) = offered.asked {
        let (first, second) = (asked.first, asked.second);
        let asked = format!("the first two digits of cell {first}, the last two of cell {second}");
        table.pair("asked for", asked);
    }
    table.pair("good until", offered.until.as_deref().map(local_time));
    text.push_str(&table.text());
    let confirm = context.command(&format!("token confirm {serial}"));
    let next = match token.kind.as_str() {
        _ if token.state != "pending" => return text,
        "server" => {
            format!("the device redeems the code; if the token stays pending: {confirm}")
        }
        "card" => format!("the card's last three digits and these four: {confirm}"),
        "totp" | "hotp" => format!("scan it, then {confirm}"),
        _ => format!("the code that was sent: {confirm}"),
    };
    push!(text, "Next: {next}\n");
    text
}

/// The two codes given on the command line, or read from stdin.
fn two_codes(arguments: &[String]) -> Result<(SecretString, SecretString), CliError> {
    match arguments {
        [first, second] => {
            input::warn_of_arguments();
            Ok((first.as_str().into(), second.as_str().into()))
        }
        _ => {
            let wanted = [Some(Ask::once("code")), Some(Ask::once("next code"))];
            match input::secrets(wanted)? {
                [Some(first), Some(second)] => Ok((first, second)),
                _ => Err(CliError::usage("two codes are needed, one a line")),
            }
        }
    }
}

/// Changes a token and says in which state it is then.
pub(super) async fn act<C>(context: &Context, serial: &str, body: &C::Body) -> Result<(), CliError>
where
    C: Call<Place = TokenSerial, Query = NoQuery, Answer = Record>,
{
    let api = context.transport().await?;
    let token = api.send::<C>(serial, body).await?;
    context.out.show(&token, |token| {
        format!(
            "Token {} is {}.\n",
            printable(&token.serial),
            printable(&token.state)
        )
    })
}

fn resynchronised(token: &Record) -> String {
    let serial = printable(&token.serial);
    let now = match (token.drift, token.last_step) {
        (Some(0), _) => "its clock is right".to_owned(),
        (Some(drift), _) => format!("its clock is {drift:+} steps off, and that is allowed for"),
        (None, Some(last)) => format!("its counter stands at {}", last.saturating_add(1)),
        (None, None) => "its next code is known".to_owned(),
    };
    format!("Token {serial} is in step again: {now}. Both codes are used up.\n")
}

/// The code given on the command line, or read from stdin.
fn one_code(argument: Option<String>) -> Result<SecretString, CliError> {
    match argument {
        Some(otp) => Ok(input::argument(otp)),
        None => input::secret(Ask::once("code")),
    }
}
