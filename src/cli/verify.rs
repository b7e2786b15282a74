//! `oncegate verify` and `oncegate code`: a login as an application asks for it, and the code for it.

use std::io::IsTerminal as _;
use std::net::IpAddr;
use std::time::Duration;

use clap::Args;

use crate::api::{self, OnBehalf, ShowDemoCode, VerifyAnswer, VerifyRequest};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::input;
use crate::cli::input::Ask;
use crate::cli::output::{Table, printable};

/// Verify a code as an API client would; a correct code is consumed
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // each is a flag
#[command(after_help = "Examples:\n  oncegate verify alice\n  \
    oncegate code demo --next | oncegate verify demo --otp-stdin\n\
    Exit code 0: accepted, 1: rejected. The cause is in `oncegate audit list`.")]
pub(super) struct Verify {
    /// NAME, NAME@REALM or DOMAIN\NAME
    user: String,
    /// Ask as this API client: its policy and realm apply
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// Read the code from stdin: the last line; on a terminal it is asked for anyway
    #[arg(long)]
    otp_stdin: bool,
    /// Read the password from stdin: a line of its own, before the PIN and the code
    #[arg(long)]
    password_stdin: bool,
    /// Read the PIN from stdin: a line of its own, after the password, before the code
    #[arg(long)]
    pin_stdin: bool,
    /// Read from stdin what the user would type into the password box of a VPN
    #[arg(long, conflicts_with_all = ["otp_stdin", "password_stdin", "pin_stdin", "otp"])]
    passcode_stdin: bool,
    /// The code, for tests
    #[arg(long, hide = true, conflicts_with = "otp_stdin")]
    otp: Option<String>,
    /// Answer this challenge
    #[arg(long, value_name = "ID")]
    challenge: Option<String>,
    /// Address of the user, for policy rules
    #[arg(long, value_name = "IP")]
    from: Option<IpAddr>,
    /// Context of the application, for policy rules; repeat it for more
    #[arg(long = "context", value_name = "KEY=VALUE", value_parser = pair)]
    context: Vec<(String, String)>,
}

/// Show the current code of a demonstration token (`quickstart` directories only)
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oncegate code demo --next")]
pub(super) struct ShowCode {
    /// NAME, NAME@REALM or DOMAIN\NAME
    user: String,
    /// Wait for a code that is not used up
    #[arg(long)]
    next: bool,
}

impl Verify {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let others = self.password_stdin || self.pin_stdin || self.passcode_stdin;
        let asks = self.otp_stdin || (!others && self.otp.is_none());
        let wanted = |wanted: bool, what| wanted.then_some(Ask::once(what));
        let [password, pin, passcode, otp] = input::secrets([
            wanted(self.password_stdin, "password"),
            wanted(self.pin_stdin, "PIN"),
            wanted(self.passcode_stdin, "passcode"),
            wanted(asks, "code"),
        ])?;
        let otp = otp.or_else(|| self.otp.map(input::argument));
        let body = VerifyRequest {
            user: self.user,
            otp,
            passcode,
            password,
            pin,
            challenge: self.challenge,
            client_ip: self.from,
            context: self.context.into_iter().collect(),
        };
        let on_behalf = OnBehalf {
            client: self.client,
            status: None,
        };
        let api = context.transport().await?;
        let mut answer = api.call::<api::Verify>((), &on_behalf, &body).await?;
        // A person at the terminal is asked for what is missing, as a gateway would.
        while let VerifyAnswer::Challenge { challenge, .. } = &answer
            && std::io::stdin().is_terminal()
        {
            let typed = input::secret(Ask::once(&challenge.factor))?;
            let again = VerifyRequest {
                user: body.user.clone(),
                passcode: Some(typed),
                challenge: Some(challenge.id.clone()),
                client_ip: body.client_ip,
                context: body.context.clone(),
                ..VerifyRequest::default()
            };
            answer = api.call::<api::Verify>((), &on_behalf, &again).await?;
        }
        context
            .out
            .show(&answer, |answer| describe(answer, context))?;
        Ok(match answer {
            VerifyAnswer::Accept { .. } => Exit::Done,
            VerifyAnswer::Challenge { .. } | VerifyAnswer::Reject { .. } => Exit::No,
        })
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn describe(answer: &VerifyAnswer, context: &Context) -> String {
    match answer {
        VerifyAnswer::Accept {
            user,
            serial,
            assurance,
            attributes,
            request_id,
        } => {
            let mut table = Table::pairs();
            table.pair("accept", user.clone());
            table.pair("token", serial.clone());
            table.pair("assurance", assurance.to_string());
            for (name, value) in attributes {
                table.pair(name, value.all().join(", "));
            }
            table.pair("request", request_id.clone());
            table.text()
        }
        VerifyAnswer::Challenge { challenge, .. } => {
            let mut table = Table::pairs();
            table.pair("challenge", challenge.id.clone());
            table.pair("asks for", challenge.factor.clone());
            table.pair("prompt", challenge.prompt.clone());
            table.pair("within", format!("{} s", challenge.expires_in));
            table.text()
        }
        VerifyAnswer::Reject { request_id } => {
            let id = printable(request_id);
            let why = context.command(&format!("explain {id}"));
            format!("reject\nWhy: {why}\n")
        }
    }
}

impl ShowCode {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let api = context.transport().await?;
        let mut code = api.ask::<ShowDemoCode>(&self.user).await?;
        while self.next && code.used {
            let wait = code.next_in.clamp(1, NEXT_MAX);
            context.out.note(&format!(
                "The present code is used up; the next one comes in {wait} s."
            ));
            tokio::time::sleep(Duration::from_secs(wait)).await;
            code = api.ask::<ShowDemoCode>(&self.user).await?;
        }
        if code.used {
            context.out.note(&format!(
                "This code is used up; the next one comes in {} s (--next waits for it).",
                code.next_in
            ));
        }
        context
            .out
            .show(&code, |code| format!("{}\n", printable(&code.code)))?;
        Ok(Exit::Done)
    }
}

/// Longest period of a token: whatever the server says, we look again then.
const NEXT_MAX: u64 = 300;
