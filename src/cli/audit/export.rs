//! `oncegate audit export`: all records in order, without a gap.

use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use crate::api::{AuditRecord, ShowStatus};
use crate::cli::audit::list::records;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::paging::PAGE;
use crate::cli::transport::Transport;
use crate::cli::when;

#[derive(Debug, Args)]
pub(in crate::cli) struct Export {
    /// Only at or after this time: 2026-11-20, 2026-11-20T10:00 (local time), `yesterday`, 30m, 7d
    #[arg(long, value_name = "TIME", value_parser = when::past)]
    since: Option<Timestamp>,
}

impl Export {
    /// Walks windows of sequence numbers from the first to the last, so that records leave in
    /// order and memory holds one page.
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let api = context.transport().await?;
        let status = api.ask::<ShowStatus>(()).await?;
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
            let read = match page_or_part(&api, last, end).await {
                Ok(read) => read,
                Err(error) => {
                    if !out.json {
                        out.record(&incomplete(last, end, &error))?;
                    }
                    return Err(ended_early(last, end, &error));
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

/// The next page of records after `last`; where a record of it cannot be read, a part of it that ends before that
/// one.
async fn page_or_part(api: &Transport, last: u64, end: u64) -> Result<Vec<AuditRecord>, CliError> {
    let mut page = u64::try_from(PAGE).unwrap_or(u64::MAX);
    page = page.min(end.saturating_sub(last)).max(1);
    loop {
        match whole_page(api, last, end, page).await {
            Err(error) if error.is_answer() && page > 1 => page /= 2,
            read => return read,
        }
    }
}

/// The next `page` records after `last`, oldest first, without a gap; what was pruned meanwhile is passed over.
async fn whole_page(
    api: &Transport,
    last: u64,
    end: u64,
    page: u64,
) -> Result<Vec<AuditRecord>, CliError> {
    let before = last.saturating_add(page).min(end).saturating_add(1);
    let wanted = usize::try_from(page).unwrap_or(PAGE);
    let mut read = records(api, Some(before), wanted).await?;
    read.retain(|record| record.seq > last);
    let numbers = read.iter().map(|record| record.seq);
    let whole = |first: u64| numbers.clone().eq(first..before);
    if whole(last + 1) {
        return Ok(read);
    }
    let status = api.ask::<ShowStatus>(()).await?;
    let first = status.audit_first;
    if first > last + 1 && (first >= before || whole(first)) {
        let after = first.min(before) - 1;
        return Box::pin(whole_page(api, after, end, page)).await;
    }
    Err(CliError::unavailable(format!(
        "records between {last} and {before} are missing"
    )))
}

fn ended_early(last: u64, end: u64, error: &CliError) -> CliError {
    let (words, remedy) = error.words();
    let remedy = remedy.unwrap_or("see `oncegate status`; then export again");
    CliError::unavailable(format!(
        "the export is incomplete: it ends after record {last} of {end}: {words}"
    ))
    .remedy(remedy.to_owned())
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
