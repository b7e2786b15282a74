//! `oncegate tail`.

use clap::Args;

use crate::api::{AuditRecord, TailAudit};
use crate::cli::audit::line::line;
use crate::cli::audit::list::records;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};

/// Follow decisions and changes as they happen, one line each
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  oncegate tail\n  oncegate tail -n 20 --follow\n  \
    oncegate tail --json | jq 'select(.decision == \"reject\")'\n\
    With --json each record is a line of its own (JSON lines), also with -n."
)]
pub(in crate::cli) struct Tail {
    /// Show the last N and stop
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<usize>,
    /// Continue after the last N; the default without -n
    #[arg(short, long)]
    follow: bool,
}

impl Tail {
    pub(in crate::cli) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let api = context.transport().await?;
        let follow = self.follow || self.lines.is_none();
        // Opened before the past is read, so that no record falls between the two.
        let stream = if follow && !api.is_local() {
            Some(api.lines::<TailAudit>().await?)
        } else {
            None
        };
        let mut shown = 0;
        let show = |record: &AuditRecord| context.out.show(record, line);
        if let Some(wanted) = self.lines.filter(|wanted| *wanted > 0) {
            for record in records(&api, None, wanted).await? {
                show(&record)?;
                shown = record.seq;
            }
        }
        if follow && api.is_local() {
            return Err(
                CliError::unavailable("no daemon runs: there is nothing to follow")
                    .remedy("start it with `oncegate serve`, or show the past with -n N"),
            );
        }
        let Some(mut stream) = stream else {
            return Ok(Exit::Done);
        };
        while let Some(text) = stream.next().await? {
            let record: AuditRecord = serde_json::from_slice(&text).map_err(|error| {
                CliError::unavailable(format!("a record was not understood: {error}"))
                    .remedy("use an oncegate of the server's version")
            })?;
            if record.seq > shown {
                show(&record)?;
            }
        }
        Err(CliError::unavailable("the daemon ended the stream")
            .remedy("see `oncegate status`, then start tail again"))
    }
}
