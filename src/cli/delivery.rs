//! `oncegate delivery`: the gateways that carry messages.

use clap::{Args, Subcommand};

use crate::api::{GatewayTried, Gateways, ListGateways, TestGateway, TryGateway};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::{Table, joined, printable};

/// List and test the gateways for SMS, mail and calls
#[derive(Debug, Subcommand)]
pub(super) enum Delivery {
    /// List the gateways in the order in which they are asked, with their state
    #[command(
        after_help = "Gateways are configured as [delivery.NAME] in oncegate.toml.\n\
        Counts are since the daemon's start.\n\
        Example:\n  oncegate delivery list --json | jq '.gateways[] | select(.breaker != \"closed\")'"
    )]
    List,
    /// Send a test message through one gateway and say what it answered; exit code 1 if it took none
    #[command(after_help = "Examples:\n  \
        oncegate delivery test sms-provider --to +82-10-1234-5678\n  \
        oncegate delivery test mail --to alice@example.com")]
    Test(Test),
}

#[derive(Debug, Args)]
pub(super) struct Test {
    /// Name of the gateway
    #[arg(value_name = "NAME")]
    name: String,
    /// Phone number or mail address
    #[arg(long, value_name = "ADDRESS")]
    to: String,
    /// How it travels [default: what the address and the gateway allow]
    #[arg(long, value_parser = ["sms", "email", "voice"])]
    medium: Option<String>,
    /// Language of the text [default: en]
    #[arg(long, value_parser = ["en", "ko"])]
    language: Option<String>,
}

impl Delivery {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        match self {
            Self::List => list(context).await,
            Self::Test(test) => test.run(context).await,
        }
    }
}

impl Test {
    async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let api = context.transport().await?;
        let wanted = TryGateway {
            to: self.to,
            medium: self.medium,
            language: self.language,
        };
        let tried = api.send::<TestGateway>(&self.name, &wanted).await;
        let tried = tried.map_err(|error| match waits(context, &self.name) {
            Some(file) if error.exit == Exit::NotFound => CliError::new(
                Exit::NotFound,
                format!(
                    "the daemon does not know the gateway {} yet",
                    printable(&self.name)
                ),
            )
            .remedy(format!(
                "[delivery.{}] is in {file}, which the daemon read before: {RELOAD}",
                printable(&self.name)
            )),
            _ => error,
        })?;
        context.out.show(&tried, describe_trial)?;
        Ok(if tried.taken { Exit::Done } else { Exit::No })
    }
}

/// The configuration file that has this gateway, when it is on this machine.
fn waits(context: &Context, name: &str) -> Option<String> {
    let site = context.server.is_none().then(|| context.site().ok())??;
    let mut gateways = site.config.delivery.gateways.iter();
    let file = context.config.clone();
    let file = file.unwrap_or_else(|| site.dir.join("oncegate.toml"));
    gateways
        .any(|gateway| gateway.name == name)
        .then(|| file.display().to_string())
}

/// The gateways of the configuration file that the daemon does not know.
fn unread(context: &Context, all: &Gateways) -> String {
    let site = || context.server.is_none().then(|| context.site().ok())?;
    let Some(site) = site() else {
        return String::new();
    };
    let known = |name: &str| all.gateways.iter().any(|gateway| gateway.name == name);
    let names = site.config.delivery.gateways.iter();
    let names = names.map(|gateway| gateway.name.clone());
    let names: Vec<String> = names.filter(|name| !known(name)).collect();
    if names.is_empty() {
        return String::new();
    }
    format!(
        "In the configuration, and not known to the daemon yet ({RELOAD}): {}\n",
        joined(&names)
    )
}

/// What makes the daemon read its gateways again.
const RELOAD: &str = "run `oncegate reload`";

async fn list(context: &Context) -> Result<Exit, CliError> {
    let api = context.transport().await?;
    let all = api.ask::<ListGateways>(()).await?;
    context.out.show(&all, |all| {
        let mut table = Table::new(&[
            "gateway",
            "media",
            "breaker",
            "in flight",
            "sent",
            "failed",
            "last error",
        ]);
        for gateway in &all.gateways {
            table.row([
                gateway.name.as_str(),
                &joined(&gateway.media),
                &gateway.breaker,
                &gateway.in_flight.to_string(),
                &gateway.sent.to_string(),
                &gateway.failed.to_string(),
                gateway.last_error.as_deref().unwrap_or("-"),
            ]);
        }
        let unread = unread(context, all);
        if all.gateways.is_empty() && !unread.is_empty() {
            return unread;
        }
        let none = "No gateway is configured; [delivery.NAME] in oncegate.toml makes one.";
        table.or(none) + &unread
    })?;
    Ok(Exit::Done)
}

fn describe_trial(tried: &GatewayTried) -> String {
    let (gateway, medium, to) = (&tried.gateway, &tried.medium, &tried.to);
    let mut text = String::new();
    match &tried.error {
        None => push!(text, "{gateway} took the {medium} message to {to}.\n"),
        Some(error) => {
            let error = printable(error);
            push!(
                text,
                "{gateway} did not take the {medium} message to {to}: {error}\n"
            );
        }
    }
    if let Some(reference) = &tried.reference {
        push!(text, "It calls the message: {}\n", printable(reference));
    }
    if let Some(answer) = &tried.answer {
        push!(text, "It answered: {}\n", printable(answer));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_gateway_says_is_harmless_to_a_terminal() {
        let tried = GatewayTried {
            gateway: "sms".to_owned(),
            medium: "sms".to_owned(),
            to: "+82******5678".to_owned(),
            taken: false,
            reference: None,
            error: Some("HTTP 500".to_owned()),
            answer: Some("HTTP 500 \u{1b}[2J".to_owned()),
        };
        let wanted = "sms did not take the sms message to +82******5678: HTTP 500\n\
                      It answered: HTTP 500 \\u{1b}[2J\n";
        assert_eq!(describe_trial(&tried), wanted);
    }
}
