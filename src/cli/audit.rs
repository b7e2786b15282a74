//! `oncegate audit` and `oncegate tail`: what happened.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;

use crate::api::{self, AuditQuery, ListAudit, PruneAudit, ShowAudit};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::{local_time, printable};
use crate::cli::{changes, input, output, when};
use crate::model::id::RequestId;

mod export;
mod line;
mod list;
mod tail;
mod verify;

pub(super) use list::note_unknown;
pub(super) use tail::Tail;

use export::Export;
use line::whole;
use list::List;

/// List, verify, export and prune the audit, the chain of all decisions and changes
#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// List records, newest first
    #[command(after_help = "Examples:\n  oncegate audit list alice --since 1h\n  \
        oncegate audit list --decision reject --since 2026-11-23 --until 2026-11-24\n  \
        oncegate audit list --client vpn --reason wrong_code --since yesterday")]
    List(Box<List>),
    /// Show one record: each field before and after, and the list of the records that it wrote
    #[command(after_help = "Examples:\n  oncegate audit show 4711\n  \
        oncegate audit show 01M85J3KY28Q1C9WJCP9C5VPRY\n\
        Of an import it lists the users and tokens that were made; the SHA-256 of that list, one a line, \
        is part of the chain.")]
    Show {
        /// Number of the record (SEQ), or the request whose records are meant
        #[arg(value_name = "SEQ|REQUEST_ID")]
        record: String,
    },
    /// Check the chain and name the first bad record; exit code 1 if there is one
    #[command(after_help = "Example:\n  \
    oncegate audit verify --against /srv/other-disk/oncegate.heads\n\
    Signed heads (`audit.heads`) say which record was the last one at a time: with them it is seen that \
    the trail was not exchanged as a whole, also by those who have the master key.")]
    Verify(verify::Verify),
    /// Print all records as JSON lines, oldest first; with --json as one array
    #[command(after_help = "Example:\n  \
    oncegate audit export --since 7d > audit.ndjson\n\
    An export that ends early exits with 3: its last line has the type `incomplete`; its array has no \
    end.")]
    Export(Export),
    /// Remove old records in whole segments; the removal is recorded
    #[command(
        after_help = "Examples:\n  oncegate audit export > audit.ndjson && oncegate audit prune --before 400d\n\
        A segment goes when all its records are older; see audit.segment_size and audit.keep in the \
        configuration. What was pruned cannot be brought back, and `verify` says where the trail begins."
    )]
    Prune(Prune),
    /// As `oncegate tail`
    #[command(hide = true)]
    Tail(Tail),
}

#[derive(Debug, Args)]
pub(super) struct Prune {
    /// Only records before this time: 2026-11-20, or how long ago, as 90d
    #[arg(long, value_name = "TIME", value_parser = when::past)]
    before: Timestamp,
    /// Do not ask for confirmation at a terminal
    #[arg(long)]
    yes: bool,
}

impl Audit {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Show { record } => show(&record, context).await,
            Self::Verify(verify) => verify.run(context).await,
            Self::Export(export) => export.run(context).await,
            Self::Prune(prune) => prune.run(context).await,
            Self::Tail(tail) => tail.run(context).await,
        }
    }
}

async fn show(which: &str, context: &Context) -> Result<Exit, CliError> {
    let api = context.transport().await?;
    if which.parse::<RequestId>().is_ok() {
        let query = AuditQuery {
            request: Some(which.to_owned()),
            limit: Some(1000),
            ..AuditQuery::default()
        };
        let found = api.find::<ListAudit>(&query).await?;
        if found.records.is_empty() {
            let message = format!("there is no record of request {which}");
            return Err(
                CliError::new(Exit::NotFound, message).remedy(context.command("audit list"))
            );
        }
        let mut entries = Vec::new();
        for record in found.records.iter().rev() {
            let seq = record.seq.to_string();
            entries.push(api.ask::<ShowAudit>(&seq).await?);
        }
        let pages = |_: &serde_json::Value| entries.iter().map(page).collect::<Vec<_>>().join("\n");
        context.out.show(&json!({ "entries": entries }), pages)?;
        return Ok(Exit::Done);
    }
    if which.parse::<u64>().is_err() {
        return Err(CliError::usage(format!(
            "`{which}` is neither the number of a record nor a request id"
        ))
        .remedy("both are in the list: oncegate audit list"));
    }
    let entry = api.ask::<ShowAudit>(which).await?;
    context.out.show(&entry, page)?;
    Ok(Exit::Done)
}

fn page(entry: &api::AuditEntry) -> String {
    let record = &entry.record;
    let mut text = format!("Record {}\n{}", record.seq, whole(record));
    for one in &record.changes {
        push!(text, "  {}\n", printable(&changes::text(one)));
    }
    if !entry.records.is_empty() {
        let (count, hash) = (entry.records.len(), &entry.records_sha256);
        push!(
            text,
            "Records written: {count}, SHA-256 of this list {hash}\n"
        );
        for one in &entry.records {
            push!(text, "  {}\n", printable(one));
        }
    }
    text
}

impl Prune {
    async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let before = self.before;
        let api = context.transport().await?;
        let mut wanted = api::AuditPrune {
            before: before.to_string(),
            dry_run: true,
        };
        let found = api.send::<PruneAudit>((), &wanted).await?;
        if found.removed == 0 {
            context.out.show(&found, |_| NOTHING_OLD.to_owned())?;
            return Ok(Exit::Done);
        }
        let count = output::count(found.removed, "audit record");
        let until = local_time(&wanted.before);
        input::confirm(
            &format!("Remove {count} before {until} for good?"),
            self.yes,
        )?;
        wanted.dry_run = false;
        let pruned = api.send::<PruneAudit>((), &wanted).await?;
        context.out.show(&pruned, |pruned| {
            let count = output::count(pruned.removed, "record");
            format!(
                "Removed {count}. The trail begins with record {}.\n",
                pruned.first
            )
        })?;
        Ok(Exit::Done)
    }
}

const NOTHING_OLD: &str = "Nothing to remove: no segment before the newest has only records before that \
                           time, and the newest is never pruned.\n";
