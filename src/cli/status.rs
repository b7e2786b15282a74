//! `oncegate status` and `oncegate clock`.

use clap::{Args, Subcommand};

use crate::api::{self, RecoverClock, ShowStatus};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::{Table, joined, local_time};
use crate::cli::{input, output, store};
use crate::core::clock::Jump;

/// Show health on one screen; exit code 0 ready, 3 not ready
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oncegate status --quiet --json | jq .queue")]
pub(super) struct Status {}

/// Recover after the clock was wrong
#[derive(Debug, Subcommand)]
pub(super) enum Clock {
    /// Accept the present time although it is before times on record
    #[command(
        after_help = "Only when the clock was wrong before and has been put right: after a clock that was ahead, or a \
    virtual machine that was resumed with the wrong time. Codes that were accepted stay used up, also \
    when their time comes; tokens, waits and locks that lie in that time are taken back, and the users \
    are listed. It may be repeated when it was interrupted."
    )]
    Recover(Recover),
}

#[derive(Debug, Args)]
pub(super) struct Recover {
    /// Do not ask; needed where stdin is not a terminal
    #[arg(long, short)]
    yes: bool,
}

impl Status {
    #[allow(clippy::unused_self)] // like its neighbours
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let api = context.transport().await?;
        let mut status = api.ask::<ShowStatus>(()).await?;
        if !status.daemon {
            // The store could decide; no daemon is there to be asked.
            status.ready = false;
            status.fault.get_or_insert_with(|| output::hint(NO_DAEMON));
        }
        context.out.show(&status, describe)?;
        Ok(if status.ready {
            Exit::Done
        } else {
            Exit::Unavailable
        })
    }
}

impl Clock {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let Self::Recover(recover) = self;
        input::vouch("Is the clock of the server right now?", recover.yes)?;
        let api = context.transport().await?;
        let mut page = api::ClockPage {
            limit: Some(AT_ONCE),
            ..api::ClockPage::default()
        };
        let mut done = api.find::<RecoverClock>(&page).await?;
        while let Some(after) = done.next.take() {
            let so_far = done.affected;
            context
                .out
                .note(&format!("up to {after}: {so_far} concerned; going on"));
            page.after = Some(after);
            let more = api.find::<RecoverClock>(&page).await?;
            done.affected += more.affected;
            done.users.extend(more.users);
            done.users.truncate(SHOWN);
            (done.next, done.recovered) = (more.next, more.recovered);
        }
        context.out.show(&done, recovered)?;
        Ok(Exit::Done)
    }
}

fn recovered(done: &api::ClockRecovered) -> String {
    let mut text = "Decisions are made by the present clock again.\n".to_owned();
    if let Some(outage) = &done.outage {
        let (from, until) = (local_time(&outage.from), local_time(&outage.until));
        push!(
            text,
            "An outage was declared for a time to come, {from} to {until}, by {}: {}\nIt is left as it is; if \
             it was not meant so: {}\n",
            outage.owner,
            outage.reason,
            output::hint("oncegate outage end")
        );
    }
    if done.users.is_empty() {
        return text;
    }
    text.push_str("Taken back from the time to come:\n\n");
    let mut table = Table::new(&["USER", "WHAT"]);
    for user in &done.users {
        table.row([user.user.clone(), user.what.join("; ")]);
    }
    text.push_str(&table.text());
    if done.affected > done.users.len() {
        let more = done.affected - done.users.len();
        let rest = output::hint("oncegate audit list");
        push!(text, "and {more} more: {rest}\n");
    }
    text
}

fn describe(status: &api::Status) -> String {
    let mut table = Table::pairs();
    let state = match (&status.fault, status.ready) {
        (Some(fault), _) => format!("not ready: {fault}"),
        (None, true) => "ready".to_owned(),
        (None, false) => "not ready".to_owned(),
    };
    table.lines("oncegate", &format!("{} {state}", status.version));
    table.pair("radius", status.daemon.then(|| joined(&status.radius)));
    let accounting = (status.daemon && !status.radius.is_empty()).then(|| {
        if status.accounting.is_empty() {
            "not served (radius.accounting_listen)".to_owned()
        } else {
            joined(&status.accounting)
        }
    });
    table.pair("accounting", accounting);
    let tls = Some(&status.radius_tls).filter(|some| !some.is_empty());
    table.pair("radius over TLS", tls.map(|some| joined(some)));
    table.pair("http", status.daemon.then(|| joined(&status.http)));
    let outage = status.outage.as_ref().map(|outage| {
        let until = local_time(&outage.until);
        format!(
            "declared until {until} by {}: {}",
            outage.owner, outage.reason
        )
    });
    table.pair("outage", outage);
    table.pair("policies", joined(&status.policies));
    table.pair("clients", status.clients.to_string());
    table.pair(
        "decisions",
        format!(
            "{} accepted, {} rejected, {} not decided since start",
            status.accepts, status.rejects, status.undecided
        ),
    );
    if let Some(hour) = &status.last_hour {
        table.lines("last hour", &last_hour(hour));
    }
    table.pair(
        "queue",
        format!("{} of {}", status.queue, status.queue_limit),
    );
    table.pair("commits", commits(status));
    table.lines("damage", &damage(status).unwrap_or_default());
    table.pair("checkpoint", status.checkpoint.clone());
    let pruned = status.audit_first.saturating_sub(1);
    let records = status.audit_seq.saturating_sub(pruned);
    table.pair("audit", output::count(records, "record"));
    table.pair("backup", backup(status));
    table.pair("notices", notices(&status.notices));
    let certificate = status.certificate_not_after.as_ref().map(|end| {
        let until = format!("valid until {}", local_time(end));
        let concerns = status.certificate.iter().map(String::as_str);
        let all: Vec<&str> = std::iter::once(until.as_str()).chain(concerns).collect();
        all.join("; ")
    });
    table.pair("certificate", certificate);
    let jump = status.clock_jump.as_ref();
    let jump = jump.map(|jump| format!("\n{}\n{}", jump.detail, Jump::REMEDY));
    let clock = local_time(&status.now) + jump.as_deref().unwrap_or_default();
    let jobs: Vec<String> = status.jobs.iter().map(job).collect();
    table.lines("jobs", &jobs.join("\n"));
    table.lines("clock", &clock);
    table.pair("last seen", local_time(&status.last_seen));
    table.text()
}

/// The decisions of the last hour, a line for each outcome that there was.
fn last_hour(hour: &api::LastHour) -> String {
    let lines = [
        ("accepted", &hour.accepts),
        ("rejected", &hour.rejects),
        ("not decided", &hour.undecided),
    ];
    let mut text = String::new();
    for (what, minutes) in lines {
        let all: u64 = minutes.iter().sum();
        let most = minutes.iter().max().copied().unwrap_or_default();
        if all > 0 {
            push!(
                text,
                "{} {all} {what}, at most {most} a minute\n",
                sparkline(minutes, most)
            );
        }
    }
    if text.is_empty() {
        text.push_str("no decision");
    }
    text
}

/// A bar for each minute of an hour, the present one at the right; blank where the daemon did not run.
fn sparkline(minutes: &[u64], most: u64) -> String {
    let mut line = " ".repeat(HOUR.saturating_sub(minutes.len()));
    line.extend(minutes.iter().map(|count| {
        let height = count.saturating_mul(7).div_ceil(most.max(1));
        let height = usize::try_from(height).unwrap_or_default();
        BARS.get(height).copied().unwrap_or(' ')
    }));
    line
}

/// Minutes of a line.
const HOUR: usize = 60;
/// From nothing to the highest, an eighth of a line each.
const BARS: [char; 8] = [
    '\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}', '\u{2588}',
];

/// What is damaged, one under the other, and what mends it.
fn damage(status: &api::Status) -> Option<String> {
    if status.damaged == 0 {
        return None;
    }
    let named = status.damage.len() as u64;
    let mut text = status.damage.join("\n");
    if status.damaged > named {
        push!(text, "\nand {} more", status.damaged - named);
    }
    for fix in store::fixes_of(&status.damage, status.damaged > named) {
        push!(text, "\n{}", output::hint(fix));
    }
    Some(text)
}

/// A background job in one line.
fn job(job: &api::Job) -> String {
    let mut text = job.name.clone();
    match (&job.last, &job.error) {
        (None, _) if job.next.is_none() => text.push_str(": waits for events"),
        (None, _) => text.push_str(": has not run yet"),
        (Some(last), None) => push!(text, ": last run {}", local_time(last)),
        (Some(last), Some(error)) => push!(text, ": FAILED {}: {error}", local_time(last)),
    }
    if let Some(done) = &job.done {
        push!(text, ", {done}");
    }
    if let Some(next) = &job.next {
        push!(text, "; next {}", local_time(next));
    }
    text
}

fn backup(status: &api::Status) -> String {
    let last = status.last_backup.as_ref().zip(status.last_backup_seq);
    let mut text = match last {
        Some((at, seq)) => format!("{}, up to record {seq}", local_time(at)),
        None => output::hint("none was made: oncegate backup FILE"),
    };
    if status.epoch > 0 {
        push!(text, "; state epoch {}", status.epoch);
    }
    text
}

fn notices(notices: &api::Notices) -> String {
    if notices.cursor == 0 {
        return "users are not notified: that takes a gateway, or `[notify] events` in a policy in use".to_owned();
    }
    format!(
        "up to record {}; {} waiting, {} sent and {} failed since start",
        notices.cursor, notices.waiting, notices.sent, notices.failed
    )
}

fn commits(status: &api::Status) -> String {
    // Tenths without floats: records per commit.
    let tenths = (status.records * 10)
        .checked_div(status.commits)
        .unwrap_or_default();
    format!(
        "{} for {} ({}.{} records each)",
        status.commits,
        output::count(status.records, "record"),
        tenths / 10,
        tenths % 10
    )
}

/// Most users that are listed.
const SHOWN: usize = 10_000;
/// Users of one call of `clock recover`, between which it says how far it is.
const AT_ONCE: usize = 100_000;
const NO_DAEMON: &str = "no daemon runs; start it with `oncegate serve`";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_screen_says_whether_it_is_ready() {
        let mut status: api::Status = serde_json::from_value(json!({
            "ready": true, "fault": null, "version": "0.1.0", "daemon": true,
            "radius": ["127.0.0.1:1812"], "http": [], "policies": ["default"], "clients": 1,
            "audit_seq": 7, "queue": 0, "queue_limit": 10, "commits": 4, "records": 10,
            "accepts": 1, "rejects": 2, "undecided": 0,
            "now": "2026-01-01T00:00:00Z", "last_seen": "2026-01-01T00:00:00Z"
        }))
        .unwrap();
        let text = describe(&status);
        assert!(
            text.contains("0.1.0 ready\n") && text.contains("2.5 records each"),
            "{text}"
        );
        assert!(text.contains("users are not notified"), "{text}");
        status.jobs = vec![api::Job {
            name: "expiry of tokens".to_owned(),
            last: Some("2026-01-01T00:00:00Z".to_owned()),
            done: None,
            error: Some("the disk is full".to_owned()),
            next: None,
        }];
        assert!(describe(&status).contains("expiry of tokens: FAILED 2026-01-01"));
        status.notices = api::Notices {
            cursor: 9,
            waiting: 1,
            sent: 2,
            failed: 3,
            retried: 4,
        };
        let wanted = "up to record 9; 1 waiting, 2 sent and 3 failed since start\n";
        assert!(describe(&status).contains(wanted));
        (status.damaged, status.damage) = (2, vec!["row 1".to_owned(), "row 2".to_owned()]);
        let text = describe(&status);
        assert!(
            text.contains(" row 1\n") && text.contains(" row 2\n"),
            "{text}"
        );
        assert!(!text.contains("\\u{a}"), "{text}");
        assert!(text.contains("store verify --repair"), "{text}");
        status.damage = vec!["row 1".to_owned(), "journal record 2: missing".to_owned()];
        let text = describe(&status);
        assert!(
            text.contains("from a backup") && !text.contains("--repair"),
            "{text}"
        );
        status.fault = Some("disk\u{1b}[2J".to_owned());
        let text = describe(&status);
        assert!(text.contains("not ready: disk\\u{1b}"), "{text}");
    }

    #[test]
    fn a_bar_is_as_high_as_its_minute() {
        let line = sparkline(&[0, 1, 50, 100], 100);
        assert_eq!(line.chars().count(), HOUR);
        assert!(
            line.ends_with(" \u{2581}\u{2582}\u{2585}\u{2588}"),
            "{line}"
        );
        assert!(sparkline(&[0; 60], 0).chars().all(|bar| bar == '\u{2581}'));
        assert_eq!(sparkline(&[u64::MAX], u64::MAX).chars().count(), HOUR);
    }

    #[test]
    fn an_hour_names_what_there_was() {
        let hour = api::LastHour {
            accepts: vec![0, 3],
            rejects: vec![0, 0],
            undecided: vec![0, 0],
        };
        let text = last_hour(&hour);
        assert!(text.contains("3 accepted, at most 3 a minute"), "{text}");
        assert!(!text.contains("rejected"), "{text}");
        assert_eq!(last_hour(&api::LastHour::default()), "no decision");
    }
}
