//! `oncegate audit verify`: the chain by itself, and against heads that were signed before.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::api::{
    AuditCompared, AuditEvent, AuditHeads, AuditQuery, CompareAudit, ListAudit, VerifyAudit,
};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output;
use crate::cli::output::{local_time, printable};
use crate::cli::store::fix_of_journal;
use crate::cli::transport::Transport;
use crate::store::course::{BEGINNINGS, epoch_begun};
use crate::store::heads::SignedHead;

#[derive(Debug, Args)]
pub(in crate::cli) struct Verify {
    /// File with signed heads, which `audit.heads` names, or a copy of it
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Public key by which they must be signed, as their lines show it; otherwise the store's own
    #[arg(long, value_name = "PUBLIC_KEY", requires = "against")]
    key: Option<String>,
}

impl Verify {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let api = context.transport().await?;
        match &self.against {
            None => chain(&api, context).await,
            Some(file) => against(&api, context, file, self.key.as_deref()).await,
        }
    }
}

async fn chain(api: &Transport, context: &Context) -> Result<Exit, CliError> {
    let chain = api.ask::<VerifyAudit>(()).await?;
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
                "The chain is broken at record {}: {}\n{} before it can be trusted.\nNext: {}\n",
                bad.map_or_else(|| "?".to_owned(), |seq| seq.to_string()),
                printable(chain.fault.as_deref().unwrap_or("unknown")),
                output::count(chain.good, "record"),
                context.advice(fix_of_journal(chain))
            ),
        })?;
    Ok(if chain.intact { Exit::Done } else { Exit::No })
}

/// Compares the trail with the heads in a file, a piece at a time.
async fn against(
    api: &Transport,
    context: &Context,
    file: &Path,
    key: Option<&str>,
) -> Result<Exit, CliError> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        CliError::unreadable(file, &error).remedy("name the file of `audit.heads`, or a copy of it")
    })?;
    let heads = signed(file, &text, key)?;
    let mut all: Option<AuditCompared> = None;
    for piece in heads.chunks(PIECE) {
        let heads = piece
            .iter()
            .map(|head| format!("{} {}", head.seq, head.mac))
            .collect();
        let mut found = api.send::<CompareAudit>((), &AuditHeads { heads }).await?;
        if let Some(before) = all {
            found.same += before.same;
            found.pruned += before.pruned;
        }
        let ends = found.different.is_some();
        all = Some(found);
        if ends {
            break;
        }
    }
    let Some(all) = all else {
        return Err(
            CliError::usage(format!("{}: there is no signed head in it", file.display()))
                .remedy("name the file of `audit.heads`, or a copy of it"),
        );
    };
    if key.is_none()
        && let Some(other) = heads.iter().find(|head| head.key != all.key)
    {
        return Err(CliError::new(
            Exit::No,
            format!(
                "the head of record {} is signed by another key than this store's ({})",
                other.seq, other.key
            ),
        )
        .remedy(
            "compare the key with the one that was noted when the file was begun: --key BASE64",
        ));
    }
    let course = other_course(api, &heads, all.different).await?;
    context
        .out
        .show(&all, |all| described(all, course.as_deref()))?;
    Ok(if all.different.is_none() {
        Exit::Done
    } else {
        Exit::No
    })
}

/// What the trail says of why it does not hold the record of a head: a restore, an accepted rollback or a repair that began
/// a later state epoch than the one in which the head was signed.
async fn other_course(
    api: &Transport,
    heads: &[SignedHead],
    different: Option<u64>,
) -> Result<Option<String>, CliError> {
    let head = heads.iter().find(|head| Some(head.seq) == different);
    let Some(head) = head else { return Ok(None) };
    let mut found: Option<(u64, String)> = None;
    for action in BEGINNINGS {
        let query = AuditQuery {
            action: Some(action.to_owned()),
            limit: Some(1000),
            ..AuditQuery::default()
        };
        let records = api.find::<ListAudit>(&query).await?.records;
        let numbers: BTreeSet<u64> = records.iter().map(|record| record.seq).collect();
        for record in records {
            let AuditEvent::Change { detail, target, .. } = &record.event else {
                continue;
            };
            // What lies before its own first record was there already: another course does not explain that.
            let mut first = record.seq;
            while numbers.contains(&first.wrapping_sub(1)) {
                first -= 1;
            }
            let kept = target
                .strip_prefix("record ")
                .and_then(|kept| kept.parse::<u64>().ok());
            if head.seq <= kept.unwrap_or(first - 1) {
                continue;
            }
            let detail = detail.as_deref().unwrap_or_default();
            let Some(epoch) = epoch_begun(detail).filter(|epoch| *epoch > head.epoch) else {
                continue;
            };
            if found.as_ref().is_none_or(|(lowest, _)| epoch < *lowest) {
                let said = format!(
                    "Record {} was signed in state epoch {} at {}, and is not in the trail any more: record {} of {}, {action}, \
                     says: {}.\n",
                    head.seq,
                    head.epoch,
                    local_time(&head.time),
                    record.seq,
                    local_time(&record.time),
                    printable(detail)
                );
                found = Some((epoch, said));
            }
        }
    }
    Ok(found.map(|(_, said)| said))
}

fn described(all: &AuditCompared, course: Option<&str>) -> String {
    let same = output::count(all.same, "signed head");
    match all.different {
        Some(_) if course.is_some() => format!(
            "{}Before it the trail holds {same}. The records behind what was gone back to are lost.\n\
             If you know of that, keep this file and let `audit.heads` name a new one; if not, keep all files as they are \
             and compare them with a backup.\n",
            course.unwrap_or_default()
        ),
        None => {
            let mut text = format!("The trail is the one that was signed; it holds {same}.\n");
            if all.pruned > 0 {
                let pruned = output::count(all.pruned, "head");
                push!(text, "The records of {pruned} were pruned since.\n");
            }
            text
        }
        Some(seq) if all.ends_before => format!(
            "The trail ends before record {seq}, which was signed: an older store was put back, or its end is lost.\n"
        ),
        Some(seq) => format!(
            "Record {seq} is not the one that was signed: the trail was exchanged. Before it the trail holds {same}.\n\
             Keep the files as they are and compare them with a backup.\n"
        ),
    }
}

/// The heads of a file, each proven to be signed.
fn signed(file: &Path, text: &str, key: Option<&str>) -> Result<Vec<SignedHead>, CliError> {
    let mut heads = Vec::new();
    let lines = text.lines().enumerate();
    for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let head: Option<SignedHead> = serde_json::from_str(line).ok();
        let bad = |what: &str| {
            CliError::new(
                Exit::No,
                format!("{}:{}: {what}", file.display(), number + 1),
            )
            .remedy("take another copy of the file; a line that was changed proves nothing")
        };
        let head = head.ok_or_else(|| bad("this is no signed head"))?;
        if !head.is_signed() {
            return Err(bad("the head is not signed by the key that it names"));
        }
        if key.is_some_and(|key| key != head.key) {
            return Err(bad("the head is signed by another key than --key")
                .remedy("compare --key with the key that was noted when the file was begun"));
        }
        heads.push(head);
    }
    Ok(heads)
}

/// Heads that are compared at a time: what one request holds (16 KiB).
const PIECE: usize = 150;
