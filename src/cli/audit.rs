//! `oncegate audit` and `oncegate tail`: what happened.

use clap::{Args, Subcommand};
use hyper::Method;
use jiff::Timestamp;
use owo_colors::OwoColorize as _;
use serde_json::json;

use crate::api;
use crate::api::{AuditChain, AuditEvent, AuditRecord, FieldChange};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::{Table, local_time, or_dash, printable};
use crate::cli::transport::{Transport, admin, with_query};
use crate::cli::user::PAGE;
use crate::cli::words::Whose;
use crate::cli::{changes, input, output, when};
use crate::diagnostic::did_you_mean;
use crate::model::id::RequestId;
use crate::model::reason::Reason;
use crate::store::ACTIONS;
use crate::time::{Clock as _, SystemClock};

/// What happened: decisions and changes, in a chain that shows tampering
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
    Verify,
    /// Print all records as JSON lines, oldest first; with --json as one array
    #[command(
        after_help = "Example:\n  oncegate audit export --since 7d > audit.ndjson\n\
        An export that ends early exits with 3: its last line has the type `incomplete`; its array has\n\
        no end."
    )]
    Export(Export),
    /// Remove old records, in whole segments; that it was done is on record
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
    /// Only what is before this time: 2026-11-20, or how long ago, as 90d
    #[arg(long, value_name = "TIME", value_parser = when::past)]
    before: Timestamp,
    /// Do not ask for confirmation at a terminal
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    whose: Whose,
    /// Only at or after this time: 2026-11-20, 2026-11-20T10:00 (local time), `yesterday`, 30m, 7d
    #[arg(long, value_name = "TIME", value_parser = when::past)]
    since: Option<Timestamp>,
    /// Only before this time, written alike; a date alone is 00:00 of that day
    #[arg(long, value_name = "TIME", value_parser = when::past)]
    until: Option<Timestamp>,
    /// Only what this client asked
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// Only decisions with this reason (`oncegate explain --reasons` lists them)
    #[arg(long, value_name = "WORD", value_parser = reason)]
    reason: Option<String>,
    /// Only changes of this kind, as the column `why` shows it: `user_set`, `token_add`
    #[arg(long, value_name = "WORD", conflicts_with_all = ["reason", "decision", "client"])]
    action: Option<String>,
    /// Only what came from this NAS, its logins and its accounting: its NAS-Identifier, in any case, or its address
    #[arg(long, value_name = "NAME|IP")]
    nas: Option<String>,
    /// Only these decisions
    #[arg(long, value_parser = ["accept", "reject", "challenge"])]
    decision: Option<String>,
    /// Only of this request
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// Only before the record with this number (`next` of the list before)
    #[arg(long, value_name = "SEQ")]
    before: Option<u64>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// Only at or after this time: 2026-11-20, 2026-11-20T10:00 (local time), `yesterday`, 30m, 7d
    #[arg(long, value_name = "TIME", value_parser = when::past)]
    since: Option<Timestamp>,
}

/// Follow decisions and changes as they happen, one line each
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  oncegate tail\n  oncegate tail -n 20 --follow\n  \
    oncegate tail --json | jq 'select(.decision == \"reject\")'\n\
    With --json each record is a line of its own (JSON lines), also with -n."
)]
pub(super) struct Tail {
    /// Show the last N and stop
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<usize>,
    /// Go on after the last N; without -n this is what tail does
    #[arg(short, long)]
    follow: bool,
}

impl Audit {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Show { record } => show(&record, context).await,
            Self::Verify => verify(context).await,
            Self::Export(export) => export.run(context).await,
            Self::Prune(prune) => prune.run(context).await,
            Self::Tail(tail) => tail.run(context).await,
        }
    }
}

impl List {
    async fn run(self, context: &Context) -> Result<Exit, CliError> {
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
        let mut all = api::Audit {
            records: Vec::new(),
            next: self.before,
        };
        loop {
            let wanted = self.limit.saturating_sub(all.records.len()).min(PAGE);
            let (wanted, before) = (wanted.to_string(), all.next.map(|seq| seq.to_string()));
            let query = [
                ("before", before.as_deref()),
                ("since", since.as_deref()),
                ("until", until.as_deref()),
                ("user", user.as_deref()),
                ("client", self.client.as_deref()),
                ("reason", self.reason.as_deref()),
                ("action", action.as_deref()),
                ("nas", self.nas.as_deref()),
                ("decision", self.decision.as_deref()),
                ("request", self.request.as_deref()),
                ("limit", Some(wanted.as_str())),
            ];
            let page: api::Audit = api.get(&with_query(&admin(&["audit"]), &query)).await?;
            all.records.extend(page.records);
            if page.next.is_some() && page.next >= all.next.or(Some(u64::MAX)) {
                return Err(out_of_order());
            }
            all.next = page.next;
            if all.next.is_none() || all.records.len() >= self.limit {
                break;
            }
        }
        if all.records.is_empty() {
            if let Some(user) = &user {
                note_unknown(&api, &admin(&["users", user])).await;
            }
            if let Some(client) = &self.client {
                note_unknown(&api, &admin(&["clients", client])).await;
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
            && !ACTIONS.contains(&action)
        {
            let close = did_you_mean(action, ACTIONS.iter().copied());
            let close = match close {
                Some(close) => format!("did you mean `{close}`?"),
                None => format!("the actions are: {}", ACTIONS.join(", ")),
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
            let query = [("nas", Some(nas)), ("limit", Some("1"))];
            let some: Result<api::Audit, CliError> =
                api.get(&with_query(&admin(&["audit"]), &query)).await;
            if some.is_ok_and(|some| some.records.is_empty() && some.next.is_none()) {
                note(&format!("no record comes from a NAS `{nas}`"));
            }
        }
    }
}

/// Says why a list is empty where its filter names something that is not there.
pub(super) async fn note_unknown(api: &Transport, path: &str) {
    let found: Result<serde_json::Value, CliError> = api.get(path).await;
    if let Err(error) = found.map(drop)
        && error.exit == Exit::NotFound
    {
        output::warn(&format!("note: {}", printable(&error.line())));
    }
}

async fn show(which: &str, context: &Context) -> Result<Exit, CliError> {
    let api = context.transport().await?;
    if which.parse::<RequestId>().is_ok() {
        let query = [("request", Some(which)), ("limit", Some("1000"))];
        let path = with_query(&admin(&["audit"]), &query);
        let found: api::Audit = api.get(&path).await?;
        if found.records.is_empty() {
            let message = format!("there is no record of request {which}");
            return Err(
                CliError::new(Exit::NotFound, message).remedy(context.command("audit list"))
            );
        }
        let mut entries = Vec::new();
        for record in found.records.iter().rev() {
            let path = admin(&["audit", &record.seq.to_string()]);
            entries.push(api.get::<api::AuditEntry>(&path).await?);
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
    let path = admin(&["audit", which]);
    let entry: api::AuditEntry = api.get(&path).await?;
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

async fn verify(context: &Context) -> Result<Exit, CliError> {
    let api = context.transport().await?;
    let path = admin(&["audit", "verify"]);
    let chain: AuditChain = api.call(Method::POST, &path, None::<&()>).await?;
    context
        .out
        .show(&chain, |chain| match (chain.intact, chain.first_bad) {
            (true, _) => {
                let (good, first) = (chain.good, chain.first);
                let as_was = if good == 1 { "it was" } else { "they were" };
                let good = output::count(good, "record");
                let mut text = format!("The chain is intact: {good} as {as_was} written.\n");
                if first > 1 {
                    push!(
                        text,
                        "It begins with record {first}; those before it were pruned.\n"
                    );
                }
                text
            }
            (false, bad) => format!(
                "The chain is broken at record {}: {}\n{} before it can be trusted. \
             Keep the files as they are and compare them with a backup.\n",
                bad.map_or_else(|| "?".to_owned(), |seq| seq.to_string()),
                printable(chain.fault.as_deref().unwrap_or("unknown")),
                output::count(chain.good, "record")
            ),
        })?;
    Ok(if chain.intact { Exit::Done } else { Exit::No })
}

impl Prune {
    async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let before = self.before;
        let api = context.transport().await?;
        let path = admin(&["audit", "prune"]);
        let mut wanted = api::AuditPrune {
            before: before.to_string(),
            dry_run: true,
        };
        let found: api::AuditPruned = api.call(Method::POST, &path, Some(&wanted)).await?;
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
        let pruned: api::AuditPruned = api.call(Method::POST, &path, Some(&wanted)).await?;
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

impl Export {
    /// Walks windows of sequence numbers from the first to the last, so that records leave in
    /// order and memory holds one page.
    async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let api = context.transport().await?;
        let status: api::Status = api.get(&admin(&["status"])).await?;
        let out = context.out;
        let end = status.audit_seq;
        let mut last = match self.since {
            Some(since) => before_since(&api, since, end).await?,
            None => 0,
        };
        // What was pruned is not walked.
        last = last.max(status.audit_first.saturating_sub(1));
        let mut before_record = "[";
        while last < end {
            let read = match whole_page(&api, last, end).await {
                Ok(read) => read,
                Err(error) => {
                    if !out.json {
                        out.record(&incomplete(last, end, &error))?;
                    }
                    let words = error.words().0;
                    return Err(CliError::unavailable(format!(
                        "the export is incomplete: it ends after record {last} of {end}: {words}"
                    ))
                    .remedy("see `oncegate status`; then export again"));
                }
            };
            for record in &read {
                if !self.excludes(record) {
                    if out.json {
                        out.piece(std::mem::replace(&mut before_record, ","))?;
                    }
                    out.record(record)?;
                }
                last = record.seq;
            }
        }
        if out.json {
            out.say(if before_record == "[" { "[]" } else { "]" })?;
        }
        Ok(Exit::Done)
    }

    /// A record without a readable time is never left out.
    fn excludes(&self, record: &AuditRecord) -> bool {
        let time = record.time.parse::<Timestamp>();
        self.since
            .is_some_and(|since| time.is_ok_and(|time| time < since))
    }
}

impl Tail {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let api = context.transport().await?;
        let follow = self.follow || self.lines.is_none();
        // Opened before the past is read, so that no record falls between the two.
        let stream = if follow && !api.is_local() {
            Some(api.lines(&admin(&["audit", "tail"])).await?)
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

/// A record behind which the export begins: pages are looked at, twice as far back each time, until all
/// of one is older than `since`. A whole page, because the clock may have been wrong for a record.
async fn before_since(api: &Transport, since: Timestamp, end: u64) -> Result<u64, CliError> {
    let older = |record: &AuditRecord| {
        let time = record.time.parse::<Timestamp>();
        time.is_ok_and(|time| time < since)
    };
    let mut back = u64::try_from(PAGE).unwrap_or(u64::MAX);
    while back < end {
        let last = end - back;
        let page = records(api, Some(last + 1), PAGE).await?;
        if page.iter().all(older) {
            return Ok(last);
        }
        back = back.saturating_mul(2);
    }
    Ok(0)
}

/// The next page of records after `last`, oldest first, without a gap; what was pruned meanwhile is
/// passed over.
async fn whole_page(api: &Transport, last: u64, end: u64) -> Result<Vec<AuditRecord>, CliError> {
    let page = u64::try_from(PAGE).unwrap_or(u64::MAX);
    let before = last.saturating_add(page).min(end).saturating_add(1);
    let mut read = records(api, Some(before), PAGE).await?;
    read.retain(|record| record.seq > last);
    let numbers = read.iter().map(|record| record.seq);
    let whole = |first: u64| numbers.clone().eq(first..before);
    if whole(last + 1) {
        return Ok(read);
    }
    let status: api::Status = api.get(&admin(&["status"])).await?;
    let first = status.audit_first;
    if first > last + 1 && (first >= before || whole(first)) {
        let after = first.min(before) - 1;
        return Box::pin(whole_page(api, after, end)).await;
    }
    Err(CliError::unavailable(format!(
        "records between {last} and {before} are missing"
    )))
}

/// The last line of an export that ends early.
fn incomplete(last: u64, end: u64, error: &CliError) -> serde_json::Value {
    json!({
        "type": "incomplete",
        "last": last,
        "expected": end,
        "cause": error.words().0,
    })
}

/// A server that leads in a circle is not followed.
fn out_of_order() -> CliError {
    CliError::unavailable("the server's pages do not follow each other")
        .remedy("oncegate audit verify")
}

/// The newest records before one, oldest first.
async fn records(
    api: &Transport,
    before: Option<u64>,
    wanted: usize,
) -> Result<Vec<AuditRecord>, CliError> {
    let mut all: Vec<AuditRecord> = Vec::new();
    let mut before = before;
    while all.len() < wanted {
        let limit = (wanted - all.len()).min(PAGE).to_string();
        let seq = before.map(|seq| seq.to_string());
        let query = [("before", seq.as_deref()), ("limit", Some(limit.as_str()))];
        let page: api::Audit = api.get(&with_query(&admin(&["audit"]), &query)).await?;
        let empty = page.records.is_empty();
        all.extend(page.records);
        if page.next.is_some() && page.next >= before.or(Some(u64::MAX)) {
            return Err(out_of_order());
        }
        before = page.next;
        if before.is_none() || empty {
            break;
        }
    }
    all.reverse();
    Ok(all)
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

fn cells(record: &AuditRecord) -> [String; 8] {
    let time = local_time(&record.time);
    let id = record.request_id.clone();
    match &record.event {
        AuditEvent::Decision {
            decision,
            reason,
            purpose,
            user,
            serial,
            client,
            channel,
            rule,
            ..
        } => {
            let what = match purpose.as_str() {
                "login" => decision.clone(),
                other => format!("{decision} ({other})"),
            };
            [
                time,
                what,
                or_dash(Some(user.as_str()).filter(|user| !user.is_empty())),
                reason.clone(),
                format!("{channel} {client}"),
                or_dash(serial.as_deref()),
                or_dash(rule.as_deref()),
                id,
            ]
        }
        AuditEvent::Change {
            actor,
            action,
            target,
            detail,
            ..
        } => [
            time,
            "change".to_owned(),
            actor.clone(),
            action.clone(),
            "-".to_owned(),
            target.clone(),
            or_dash(brief(&record.changes, detail.as_deref()).as_deref()),
            id,
        ],
    }
}

/// What changed; where no field did, what the record says besides.
fn brief(fields: &[FieldChange], detail: Option<&str>) -> Option<String> {
    let fields = changes::brief(fields);
    let detail = detail.filter(|_| fields.is_empty()).map(changes::cell);
    detail.or(Some(fields)).filter(|text| !text.is_empty())
}

/// One line of `tail`.
fn line(record: &AuditRecord) -> String {
    spaced(record, cells(record))
}

/// The same with nothing cut: what a change says stands below it.
fn whole(record: &AuditRecord) -> String {
    let mut cells = cells(record);
    let said = match &record.event {
        AuditEvent::Change { detail, .. } => {
            "-".clone_into(&mut cells[6]);
            detail
        }
        AuditEvent::Decision { note, .. } => note,
    };
    let mut text = spaced(record, cells);
    if let Some(said) = said {
        push!(text, "  {}\n", printable(said));
    }
    text
}

/// Columns are wide enough for most; a wider value pushes the rest.
fn spaced(record: &AuditRecord, cells: [String; 8]) -> String {
    let [time, what, who, rest @ ..] = cells.map(|cell| printable(&cell).into_owned());
    let [why, client, token, rule, id] = rest;
    let padded = format!("{what:<9}");
    let what = match what.as_str() {
        what if what.starts_with("accept") => padded.green().to_string(),
        what if what.starts_with("reject") => padded.red().to_string(),
        _ => padded,
    };
    let mut text = String::new();
    push!(
        text,
        "{time}  {what}  {who:<20}  {why:<15}  {client:<20}  {token:<14}"
    );
    push!(text, "  {rule:<18}  {id}");
    if let AuditEvent::Decision { latency_ms, .. } = &record.event {
        push!(text, "  {latency_ms} ms");
    }
    text.push('\n');
    text
}

/// A word of the closed list; a slip of the fingers is named with what was meant.
fn reason(text: &str) -> Result<String, String> {
    if text.parse::<Reason>().is_ok() {
        return Ok(text.to_owned());
    }
    let words = || Reason::ALL.iter().map(|reason| reason.as_str());
    Err(match did_you_mean(text, words()) {
        Some(close) => format!("no reason is called so; did you mean `{close}`?"),
        None => format!(
            "no reason is called so (changes are found by --action); reasons: {}",
            words().collect::<Vec<_>>().join(", ")
        ),
    })
}

const NOTHING_OLD: &str = "Nothing to remove: of the segments before the newest none has only records \
                           before that time, and the newest is never pruned.\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(user: &str) -> AuditRecord {
        AuditRecord {
            seq: 1,
            time: "2026-11-23T07:56:39Z".to_owned(),
            request_id: "r-1".to_owned(),
            event: AuditEvent::Decision {
                decision: "reject".to_owned(),
                reason: "unknown_user".to_owned(),
                purpose: "login".to_owned(),
                user: user.to_owned(),
                serial: None,
                step: None,
                client: "vpn".to_owned(),
                channel: "radius".to_owned(),
                client_ip: None,
                nas: None,
                nas_ip: None,
                calling_station: None,
                note: None,
                method: "pap".to_owned(),
                rule: None,
                waiver: None,
                failures: 0,
                latency_ms: 2,
            },
            changes: Vec::new(),
        }
    }

    #[test]
    fn an_empty_user_has_a_mark() {
        let mut record = decision("");
        assert_eq!(cells(&record)[2], "-");
        record = decision("alice@default");
        assert_eq!(cells(&record)[2], "alice@default");
    }

    #[test]
    fn a_line_shows_a_hostile_user_name_harmlessly() {
        let record = decision("a\u{1b}[2J\nroot");
        let text = line(&record);
        assert!(text.contains("a\\u{1b}[2J\\u{a}root"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }
}
