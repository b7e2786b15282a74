//! `oncegate audit list`.

use clap::Args;
use jiff::Timestamp;

use crate::api::{self, AuditQuery, AuditRecord, ListAudit, ShowClient, ShowUser};
use crate::cli::audit::line::cells;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::{Table, local_time, printable};
use crate::cli::transport::Transport;
use crate::cli::words::Whose;
use crate::cli::{output, paging, when};
use crate::diagnostic::did_you_mean;
use crate::explain::ACTIONS;
use crate::model::reason::Reason;
use crate::time::{Clock as _, SystemClock};

#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    whose: Whose,
    /// Only at or after this time: 2026-11-20, 2026-11-20T10:00 (local time), `yesterday`, 30m, 7d
    #[arg(long, value_name = "TIME", value_parser = when::past)]
    since: Option<Timestamp>,
    /// Only before this time, in the same forms; a date alone is 00:00 of that day
    #[arg(long, value_name = "TIME", value_parser = when::past)]
    until: Option<Timestamp>,
    /// Only decisions for this client
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// Only decisions with this reason (`oncegate explain --reasons` lists them)
    #[arg(long, value_name = "WORD", value_parser = reason)]
    reason: Option<String>,
    /// Only changes of this kind, as the column `why` shows it: `user_set`, `token_add`
    #[arg(long, value_name = "WORD", conflicts_with_all = ["reason", "decision", "client"])]
    action: Option<String>,
    /// Only changes by this actor: `api:helpdesk`, `alice(uid 1000)`, `alice`
    #[arg(long, value_name = "WHO", conflicts_with_all = ["reason", "decision", "client"])]
    actor: Option<String>,
    /// Only logins and accounting of this NAS: its NAS-Identifier, in any case, or its address
    #[arg(long, value_name = "NAME|IP")]
    nas: Option<String>,
    /// Only these decisions
    #[arg(long, value_parser = ["accept", "reject", "challenge"])]
    decision: Option<String>,
    /// Only of this request
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// Only before the record with this number (`next` of the previous page)
    #[arg(long, value_name = "SEQ")]
    before: Option<u64>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = paging::most)]
    limit: usize,
}

impl List {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        if let (Some(since), Some(until)) = (self.since, self.until)
            && until <= since
        {
            let (since, until) = (
                local_time(&since.to_string()),
                local_time(&until.to_string()),
            );
            let message = format!("--until, {until}, is not after --since, {since}");
            return Err(CliError::usage(message).remedy("no record can be between the two"));
        }
        let api = context.transport().await?;
        let since = self.since.map(|since| since.to_string());
        let until = self.until.map(|until| until.to_string());
        let user = self.whose.user();
        let action = self.action.as_ref();
        let action = action.map(|action| action.to_ascii_lowercase());
        let query = AuditQuery {
            before: self.before,
            since,
            until,
            user: user.clone(),
            client: self.client.clone(),
            reason: self.reason.clone(),
            nas: self.nas.clone(),
            action: action.clone(),
            actor: self.actor.clone(),
            decision: self.decision.clone(),
            request: self.request.clone(),
            limit: None,
        };
        let all = paging::all::<ListAudit>(&api, query, Some(self.limit)).await?;
        if all.records.is_empty() {
            if let Some(user) = &user {
                note_unknown(api.ask::<ShowUser>(user).await);
            }
            if let Some(client) = &self.client {
                note_unknown(api.ask::<ShowClient>(client).await);
            }
            self.note_filters(&api, action.as_deref()).await;
        }
        context.out.show(&all, table)?;
        Ok(Exit::Done)
    }
}

impl List {
    /// Says why a list is empty where that is known.
    async fn note_filters(&self, api: &Transport, action: Option<&str>) {
        let note = |text: &str| output::warn(&format!("note: {}", printable(text)));
        if let Some(action) = action
            && !ACTIONS.contains_key(action)
        {
            let close = did_you_mean(action, ACTIONS.keys().map(String::as_str));
            let close = match close {
                Some(close) => format!("did you mean `{close}`?"),
                None => {
                    let all: Vec<&str> = ACTIONS.keys().map(String::as_str).collect();
                    format!("the actions are: {}", all.join(", "))
                }
            };
            note(&format!("no change has the action `{action}`; {close}"));
        }
        let now = i64::try_from(SystemClock.now().as_millis()).ok();
        let now = now.and_then(|now| Timestamp::from_millisecond(now).ok());
        if let (Some(since), Some(now)) = (self.since, now)
            && since > now
        {
            let since = local_time(&since.to_string());
            note(&format!("--since, {since}, is in the future"));
        }
        if let Some(nas) = self.nas.as_deref() {
            let query = AuditQuery {
                nas: Some(nas.to_owned()),
                limit: Some(1),
                ..AuditQuery::default()
            };
            let some = api.find::<ListAudit>(&query).await;
            if some.is_ok_and(|some| some.records.is_empty() && some.next.is_none()) {
                note(&format!("no record comes from a NAS `{nas}`"));
            }
        }
    }
}

/// Says why a list is empty where its filter names something that is not there.
pub(in crate::cli) fn note_unknown<T>(found: Result<T, CliError>) {
    if let Err(error) = found
        && error.exit == Exit::NotFound
    {
        output::warn(&format!("note: {}", printable(&error.line())));
    }
}

/// The newest records before one, oldest first.
pub(super) async fn records(
    api: &Transport,
    before: Option<u64>,
    wanted: usize,
) -> Result<Vec<AuditRecord>, CliError> {
    let query = AuditQuery {
        before,
        ..AuditQuery::default()
    };
    newest(api, query, wanted).await
}

/// The newest of those that are asked for, oldest first.
pub(super) async fn newest(
    api: &Transport,
    query: AuditQuery,
    wanted: usize,
) -> Result<Vec<AuditRecord>, CliError> {
    let found = paging::all::<ListAudit>(api, query, Some(wanted)).await?;
    Ok(found.records.into_iter().rev().collect())
}

fn table(audit: &api::Audit) -> String {
    let mut table = Table::new(&[
        "seq",
        "time",
        "what",
        "who",
        "why",
        "asked by",
        "token",
        "rule or change",
        "request",
    ]);
    for record in &audit.records {
        let seq = [record.seq.to_string()];
        table.row(seq.into_iter().chain(cells(record)));
    }
    let mut text = table.or("No records.");
    if let Some(next) = audit.next {
        push!(text, "Older: --before {next}\n");
    }
    text
}

/// A word of the closed list; a slip of the fingers is named with what was meant.
fn reason(text: &str) -> Result<String, String> {
    if text.parse::<Reason>().is_ok() {
        return Ok(text.to_owned());
    }
    let words = || Reason::ALL.iter().map(|reason| reason.as_str());
    Err(match did_you_mean(text, words()) {
        Some(close) => format!("unknown reason; did you mean `{close}`?"),
        None => format!(
            "unknown reason (changes are found by --action); reasons: {}",
            words().collect::<Vec<_>>().join(", ")
        ),
    })
}
