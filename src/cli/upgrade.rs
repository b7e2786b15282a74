//! `oncegate upgrade`: whether this version can take over.

use std::cmp::Ordering;

use clap::Subcommand;
use serde_json::json;

use crate::api::{ShowStatus, Status};
use crate::cli::context::Context;
use crate::cli::doctor::{Report, State, site};
use crate::cli::error::{CliError, Exit};
use crate::cli::transport::Transport;
use crate::daemon::Site;
use crate::store::STORE_FORMAT;

/// See whether this version can take over from the one that runs
#[derive(Debug, Subcommand)]
pub(super) enum Upgrade {
    /// Check configuration, policies and formats with this binary; exit code 1 if something is in the way
    #[command(after_help = "Example, with the new binary beside the old one:\n  \
    ./oncegate --dir /var/lib/oncegate upgrade check\n\
    Nothing is changed, and the daemon goes on. Make a backup before the upgrade: a store that a newer \
    version has written to in a newer format is refused by older ones.")]
    Check,
}

impl Upgrade {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let Self::Check = self;
        context.local_only("upgrade check")?;
        let mut report = Report::default();
        match Site::load(&context.dir, context.config.as_deref()) {
            Ok(found) => {
                site::config(&mut report, &found);
                site::policy_files(&mut report, &found);
                site::disk(&mut report, &found.config.store.dir);
            }
            Err(_) => {
                if let Err(error) = context.whole_site() {
                    report.failed("config", &error);
                }
            }
        }
        let socket = Site::socket_of(&context.dir, context.config.as_deref());
        let api = match Transport::of_daemon(&socket).await {
            Some(daemon) => Ok(daemon),
            // Opening it is the proof.
            None => context.transport().await,
        };
        match api {
            Err(error) => report.failed("store", &error),
            Ok(api) => store(&mut report, &api.ask::<ShowStatus>(()).await?, context),
        }
        let failures = report.count(State::Failure);
        let document = json!({ "ok": failures == 0, "version": OWN, "checks": report.0 });
        context.out.show(&document, |_| report.text())?;
        Ok(if failures == 0 { Exit::Done } else { Exit::No })
    }
}

fn store(report: &mut Report, status: &Status, context: &Context) {
    let running = if status.daemon {
        format!("{} runs, this is {OWN}", status.version)
    } else {
        format!("none runs; this is {OWN}, and it opens the store")
    };
    report.ok("version", running);
    let format = status.store_format;
    match format.cmp(&STORE_FORMAT) {
        Ordering::Greater => report.failure(
            "store",
            format!("format {format}; this version reads up to {STORE_FORMAT}"),
            "use the version that runs, or a newer one",
        ),
        Ordering::Equal => report.ok(
            "store",
            format!("format {format}, which this version reads"),
        ),
        Ordering::Less => report.ok(
            "store",
            format!(
                "format {format}, which this version reads; from its first write on the store has format {STORE_FORMAT}, \
                 and the way back is a backup"
            ),
        ),
    }
    if let Some(fault) = &status.fault {
        report.failure(
            "store",
            fault,
            "mend this before the upgrade: oncegate doctor",
        );
    }
    match status.last_backup_seq {
        Some(seq) if seq + BACKUP_RECORDS >= status.audit_seq => {
            report.ok("backup", format!("up to audit record {seq}"));
        }
        _ => report.warning(
            "backup",
            "none of the present state",
            context.command("backup FILE"),
        ),
    }
}

const OWN: &str = env!("CARGO_PKG_VERSION");
/// A backup that lacks fewer records than this is one of the present state.
const BACKUP_RECORDS: u64 = 10_000;
