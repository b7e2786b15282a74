//! `oncegate tail`.

use clap::Args;

use crate::api::{AuditEvent, AuditQuery, AuditRecord, ShowUser, TailAudit};
use crate::cli::audit::line::line;
use crate::cli::audit::list::{newest, note_unknown};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::transport::Transport;
use crate::cli::words::Whose;
use crate::model::user_key::UserKey;

/// Follow decisions and changes as they happen, one line each
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  oncegate tail\n  oncegate tail alice\n  oncegate tail -n 20 --follow\n  \
    oncegate tail --json | jq 'select(.decision == \"reject\")'\n\
    With --json each record is a line of its own (JSON lines), also with -n."
)]
pub(in crate::cli) struct Tail {
    #[command(flatten)]
    whose: Whose,
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
        let user = match self.whose.user() {
            Some(name) => Some(on_record(&api, &name).await?),
            None => None,
        };
        // Opened before the past is read, so that no record falls between the two.
        let stream = if follow && !api.is_local() {
            Some(api.lines::<TailAudit>().await?)
        } else {
            None
        };
        let mut shown = 0;
        let show = |record: &AuditRecord| context.out.show(record, line);
        if let Some(wanted) = self.lines.filter(|wanted| *wanted > 0) {
            let query = AuditQuery {
                user: user.clone(),
                ..AuditQuery::default()
            };
            for record in newest(&api, query, wanted).await? {
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
            if record.seq > shown && user.as_deref().is_none_or(|user| is_about(&record, user)) {
                show(&record)?;
            }
        }
        Err(CliError::unavailable("the daemon ended the stream")
            .remedy("see `oncegate status`, then start tail again"))
    }
}

/// The name under which records have a user, who need not be known.
async fn on_record(api: &Transport, name: &str) -> Result<String, CliError> {
    match api.ask::<ShowUser>(name).await {
        Ok(user) => Ok(user.user),
        Err(error) => match UserKey::parse(name) {
            Err(_) => Err(error),
            Ok(key) => {
                note_unknown::<()>(Err(error));
                Ok(key.to_string())
            }
        },
    }
}

fn is_about(record: &AuditRecord, user: &str) -> bool {
    match &record.event {
        AuditEvent::Decision { user: found, .. } => found == user,
        AuditEvent::Change { user: found, .. } => found.as_deref() == Some(user),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_about_its_user_only() {
        let record = |user: Option<&str>| AuditRecord {
            seq: 1,
            time: String::new(),
            request_id: String::new(),
            event: AuditEvent::Change {
                actor: "alice@default".to_owned(),
                action: "user_set".to_owned(),
                target: "alice@default".to_owned(),
                user: user.map(str::to_owned),
                detail: None,
            },
            changes: Vec::new(),
        };
        assert!(is_about(&record(Some("bob@default")), "bob@default"));
        assert!(!is_about(&record(Some("bob@default")), "alice@default"));
        assert!(!is_about(&record(None), "alice@default"));
    }
}
