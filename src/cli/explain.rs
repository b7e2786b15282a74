//! `oncegate explain`: why was it decided so, and what would happen.

use std::collections::BTreeMap;
use std::net::IpAddr;

use clap::{ArgGroup, Args};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use crate::api::explain::{ExplainLogin, ExplainRequest, ForeseeLogin};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::shell_word;
use crate::cli::when;
use crate::model::id::RequestId;
use crate::model::method::METHODS;
use crate::model::reason::Reason;

mod page;
mod words;

/// Explain why a request was decided as it was, or what would happen; changes nothing
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("question").required(true),
    after_help = "Examples:\n  \
    oncegate explain 01M85J3KY28Q1C9WJCP9C5VPRY\n  \
    oncegate explain alice --client vpn --from 203.0.113.9 --at 'sat 03:00'\n  \
    oncegate explain bob --client vpn --attribute NAS-Port-Type=Virtual\n  \
    oncegate explain --reasons\n\
    Request ids are in `oncegate tail`, `oncegate audit list` and in the answers of the HTTP API."
)]
pub(super) struct Explain {
    /// The request that was decided; with --client the user: NAME, NAME@REALM or DOMAIN\NAME
    #[arg(value_name = "REQUEST_ID|USER", group = "question")]
    request: Option<String>,
    /// What would happen to this user
    #[arg(long, group = "question", requires = "client")]
    user: Option<String>,
    /// The client that would ask; `local`: an administrator on the server; `console`, `self-service`: the server's pages
    #[arg(long, value_name = "NAME", conflicts_with = "reasons")]
    client: Option<String>,
    /// At this time: 2026-11-20T10:00, the next 03:00 or `sat 03:00` (local time), or 2h for in two hours
    /// [default: now]
    #[arg(long, value_name = "TIME", requires = "client", value_parser = when::future)]
    at: Option<Timestamp>,
    /// Where the person would be
    #[arg(long, value_name = "IP", requires = "client")]
    from: Option<IpAddr>,
    /// A RADIUS attribute of the request; repeat it for more
    #[arg(long = "attribute", value_name = "NAME=VALUE", requires = "client", value_parser = pair)]
    attributes: Vec<(String, String)>,
    /// The application's own words (HTTP); repeat it for more
    #[arg(long = "context", value_name = "KEY=VALUE", requires = "client", value_parser = pair)]
    context: Vec<(String, String)>,
    /// How the password would travel [default: what is usual for the client]
    #[arg(long, requires = "client", value_parser = METHODS)]
    method: Option<String>,
    /// List every reason word: what it means and what to do
    #[arg(long, group = "question")]
    reasons: bool,
}

#[derive(Serialize)]
struct ReasonRow {
    reason: &'static str,
    decision: &'static str,
    advice: &'static str,
}

impl Explain {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        if self.reasons {
            return reasons(context);
        }
        if let Some(word) = &self.request {
            let is_id = word.parse::<RequestId>().is_ok();
            if is_id && self.client.is_some() {
                return Err(CliError::usage("a request that was decided has its client")
                    .remedy("leave --client out, or name a user"));
            }
            if !is_id && self.client.is_none() {
                let asks = format!("oncegate explain {} --client NAME", shell_word(word));
                return Err(
                    CliError::usage(format!("`{word}` is not a request id")).remedy(format!(
                        "request ids are in `oncegate tail`; what would happen to a user: {asks}"
                    )),
                );
            }
        }
        let api = context.transport().await?;
        if let Some(request) = self.request.as_ref().filter(|_| self.client.is_none()) {
            let all = api.ask::<ExplainRequest>(request).await?;
            context.out.show(&all, |all| page::all(all, context))?;
            return Ok(Exit::Done);
        }
        let body = self.body();
        let explanation = api.send::<ForeseeLogin>((), &body).await?;
        context
            .out
            .show(&explanation, |one| page::one(one, context))?;
        Ok(Exit::Done)
    }

    fn body(self) -> ExplainLogin {
        let mut attributes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in self.attributes {
            attributes.entry(name).or_default().push(value);
        }
        ExplainLogin {
            user: self.user.or(self.request).unwrap_or_default(),
            client: self.client.unwrap_or_default(),
            at: self.at.map(|at| at.to_string()),
            client_ip: self.from,
            method: self.method,
            attributes,
            context: self.context.into_iter().collect(),
        }
    }
}

/// The closed list. Needs no daemon: it belongs to the program.
fn reasons(context: &Context) -> Result<Exit, CliError> {
    let rows = Reason::ALL.iter().map(|reason| ReasonRow {
        reason: reason.as_str(),
        decision: reason.decision().as_str(),
        advice: reason.advice(),
    });
    let rows: Vec<ReasonRow> = rows.collect();
    context
        .out
        .show(&json!({ "reasons": rows }), |_| table(&rows))?;
    Ok(Exit::Done)
}

/// The closed list for people.
fn table(rows: &[ReasonRow]) -> String {
    let mut page = page::Page::default();
    let mut last = "";
    for row in rows {
        if row.decision != last {
            if !last.is_empty() {
                page.text.push('\n');
            }
            push!(page.text, "{}\n", row.decision.to_ascii_uppercase());
            last = row.decision;
        }
        page.label = 20;
        page.line(&format!("  {}", row.reason), row.advice);
    }
    page.text
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}
