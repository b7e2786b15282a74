//! `oncegate verify` and `oncegate code`: a login as an application asks for it, and the code for it.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::api::DemoCode;
use crate::api::VerifyAnswer;
use crate::cli::Context;
use crate::cli::error::CliError;
use crate::cli::error::Exit;
use crate::cli::output::Table;
use crate::cli::output::printable;
use crate::cli::token;
use crate::cli::transport::admin;
use crate::cli::transport::with_query;

/// Ask whether a code is right, as an API client would; a right code is used up
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  oncegate verify alice\n  \
    oncegate code demo --next | oncegate verify demo --otp-stdin\n\
    Exit code 0: accepted, 1: rejected. The cause is in `oncegate audit list`.")]
pub(super) struct Verify {
    /// NAME, NAME@REALM or DOMAIN\NAME
    user: String,
    /// Ask as this API client: its policy and realm apply
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// Read the code from stdin; on a terminal it is asked for anyway
    #[arg(long)]
    otp_stdin: bool,
    /// The code, for tests
    #[arg(long, hide = true, conflicts_with = "otp_stdin")]
    otp: Option<String>,
    /// Where the person is, for policy rules
    #[arg(long, value_name = "IP")]
    from: Option<IpAddr>,
}

/// Show the present code of a demonstration token (`quickstart` directories only)
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oncegate code demo --next")]
pub(super) struct ShowCode {
    /// NAME, NAME@REALM or DOMAIN\NAME
    user: String,
    /// Wait for a code that is not used up
    #[arg(long)]
    next: bool,
}

/// `api::VerifyRequest`, borrowed.
#[derive(Serialize)]
pub(super) struct VerifyBody<'a> {
    pub(super) user: &'a str,
    pub(super) otp: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_ip: Option<IpAddr>,
}

impl Verify {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let otp = token::one_code(self.otp)?;
        let body = VerifyBody {
            user: &self.user,
            otp: otp.expose(),
            client_ip: self.from,
        };
        let path = with_query("/v1/verify", &[("client", self.client.as_deref())]);
        let answer: VerifyAnswer = context.transport().await?.post(&path, &body).await?;
        context
            .out
            .show(&answer, |answer| describe(answer, context))?;
        Ok(match answer {
            VerifyAnswer::Accept { .. } => Exit::Done,
            VerifyAnswer::Reject { .. } => Exit::No,
        })
    }
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
                table.pair(name, value.clone());
            }
            table.pair("request", request_id.clone());
            table.text()
        }
        VerifyAnswer::Reject { request_id } => {
            let id = printable(request_id);
            let why = context.command(&format!("audit list --request {id}"));
            format!("reject\nWhy: {why}\n")
        }
    }
}

impl ShowCode {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let api = context.transport().await?;
        let path = admin(&["users", &self.user, "code"]);
        let mut code: DemoCode = api.get(&path).await?;
        while self.next && code.used {
            let wait = code.next_in.clamp(1, NEXT_MAX);
            context.out.note(&format!(
                "The present code is used up; the next one comes in {wait} s."
            ));
            tokio::time::sleep(Duration::from_secs(wait)).await;
            code = api.get(&path).await?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api;

    #[test]
    fn the_body_is_what_the_api_reads() {
        let from = Some("203.0.113.7".parse().unwrap());
        let body = VerifyBody {
            user: "alice",
            otp: "755224",
            client_ip: from,
        };
        let text = serde_json::to_string(&body).unwrap();
        let read: api::VerifyRequest = serde_json::from_str(&text).unwrap();
        assert_eq!((read.user.as_str(), read.client_ip), ("alice", from));
        assert_eq!(read.otp.unwrap().expose(), "755224");
    }
}
