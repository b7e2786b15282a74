//! `oncegate delegation`: rights to approve that are lent.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::api::{self, AddDelegation, ListDelegations, RemoveDelegation};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::{Table, local_time, printable};
use crate::cli::{input, output, when};
use crate::diagnostic::units;
use crate::time::{Clock as _, SystemClock, UnixTime};

/// Delegate the right to approve token requests for a time
#[derive(Debug, Subcommand)]
pub(super) enum Delegation {
    /// Delegate a right; repeating it changes the end
    #[command(after_help = "Examples:\n  \
        oncegate delegation add --from api:kim --to api:lee --for 14d --reason holiday\n  \
        oncegate token approve TOTP-7F3K9Q2M --on-behalf api:kim\n\
        People are called as the audit calls them: api:NAME of an API client, 'uid N' on this machine.")]
    Add(Add),
    /// List delegations, also ended ones
    List,
    /// Remove a delegation
    Remove(Remove),
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// Whose right [default: your own]
    #[arg(long, value_name = "WHO")]
    from: Option<String>,
    /// To whom
    #[arg(long, value_name = "WHO")]
    to: String,
    /// How long: 8h, 14d; at most 366d
    #[arg(long = "for", value_name = "DURATION", value_parser = units::duration,
          required_unless_present = "until", conflicts_with = "until")]
    length: Option<Duration>,
    /// Until when: 2026-12-31 (its beginning, local time), 2026-12-31T18:00, 14d
    #[arg(long, value_name = "TIME", value_parser = when::future_rfc3339)]
    until: Option<String>,
    /// Why; written into the audit
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Args)]
pub(super) struct Remove {
    /// Whose right
    #[arg(long, value_name = "WHO")]
    from: String,
    /// To whom it was lent
    #[arg(long, value_name = "WHO")]
    to: String,
    /// Do not ask for confirmation at a terminal
    #[arg(long, short)]
    yes: bool,
}

impl Delegation {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        if let Self::Remove(Remove { from, to, yes }) = &self {
            let question = format!("Take back the right of {from} that was lent to {to}?");
            input::confirm(&question, *yes)?;
        }
        let api = context.transport().await?;
        match self {
            Self::Add(add) => {
                let until = add.length.map(|length| SystemClock.now().plus(length));
                let body = api::DelegationCreate {
                    from: add.from,
                    to: add.to,
                    until: until.map_or_else(|| add.until.unwrap_or_default(), UnixTime::rfc3339),
                    reason: add.reason,
                };
                let by_length = add.length.is_some();
                let lent = api.send::<AddDelegation>((), &body).await;
                let lent = lent.map_err(|error| {
                    if by_length {
                        error.option("until", "for")
                    } else {
                        error
                    }
                })?;
                if lent.effect.as_ref().is_some_and(Vec::is_empty) {
                    output::warn(
                        "warning: this has no effect under any client's policy today: none asks for \
                         approvals ([enrolment] approvers)",
                    );
                }
                context.out.show(&lent, |lent| {
                    format!(
                        "{} may approve in the name of {} until {}.\n",
                        printable(&lent.to),
                        printable(&lent.from),
                        local_time(&lent.until)
                    )
                })?;
            }
            Self::List => {
                let lent = api.ask::<ListDelegations>(()).await?;
                context.out.show(&lent, table)?;
            }
            Self::Remove(Remove { from, to, .. }) => {
                let which = api::DelegationName { from, to };
                api.find::<RemoveDelegation>(&which).await?;
                let api::DelegationName { from, to } = which;
                context
                    .out
                    .show(&json!({ "removed": { "from": from, "to": to } }), |_| {
                        let (from, to) = (printable(&from), printable(&to));
                        format!("{to} does not approve in the name of {from} any more.\n")
                    })?;
            }
        }
        Ok(Exit::Done)
    }
}

fn table(lent: &api::Delegations) -> String {
    let mut table = Table::new(&["from", "to", "until", "state", "reason"]);
    for one in &lent.delegations {
        table.row([
            one.from.clone(),
            one.to.clone(),
            local_time(&one.until),
            if one.holds { "holds" } else { "over" }.to_owned(),
            one.reason.clone(),
        ]);
    }
    table.or("No right is lent. Lend one with `oncegate delegation add`.")
}
