//! `oncegate outage`: codes cannot be had at present, and what policies allow then.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::api::{self, DeclareOutage, EndOutage, ShowOutage};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output;
use crate::cli::output::{Table, local_time};
use crate::diagnostic::units;

/// Declare an outage, in which policies also accept the factor named under `outage`
#[derive(Debug, Subcommand)]
pub(super) enum Outage {
    /// Declare an outage; it ends by itself
    #[command(
        after_help = "Example:\n  oncegate outage declare --for 1h --reason 'app servers are down'\n\
        The audit has the beginning, the end and the reason."
    )]
    Declare(Declare),
    /// End an outage before its time
    End,
    /// Show the latest outage
    Show,
}

#[derive(Debug, Args)]
pub(super) struct Declare {
    /// How long: 1m to 24h
    #[arg(long = "for", value_name = "DURATION", value_parser = units::duration)]
    length: Duration,
    /// Why; written into the audit
    #[arg(long)]
    reason: String,
}

impl Outage {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let api = context.transport().await?;
        let outage = match self {
            Self::Declare(declare) => {
                let body = api::OutageDeclare {
                    for_secs: declare.length.as_secs(),
                    reason: declare.reason,
                };
                api.send::<DeclareOutage>((), &body).await?
            }
            Self::End => {
                api.ask::<EndOutage>(()).await?;
                context.out.show(&json!({ "ended": true }), |_| {
                    "The outage has ended.\n".to_owned()
                })?;
                return Ok(Exit::Done);
            }
            Self::Show => api.ask::<ShowOutage>(()).await?,
        };
        let shown = outage.outage.as_ref().filter(|outage| outage.holds);
        let effect = shown.and_then(|outage| outage.effect.as_deref());
        if effect.is_some_and(<[String]>::is_empty) {
            output::warn(
                "warning: the outage has no effect under any client's policy today: no rule has `outage`",
            );
        }
        context.out.show(&outage, describe)?;
        Ok(Exit::Done)
    }
}

fn describe(outage: &api::Outage) -> String {
    let Some(outage) = &outage.outage else {
        return "No outage is declared.\n".to_owned();
    };
    let mut table = Table::pairs();
    let state = if outage.holds {
        "declared"
    } else {
        "over: it ended by itself"
    };
    table.pair("outage", state.to_owned());
    table.pair("from", local_time(&outage.from));
    table.pair("until", local_time(&outage.until));
    table.pair("by", outage.owner.clone());
    table.pair("reason", outage.reason.clone());
    let effect = outage.effect.as_deref().filter(|_| outage.holds);
    table.pair("has effect", effect.map(output::effect));
    table.text()
}
