//! `oncegate store`: is it as it was written, and what to do if it is not.

use clap::{Args, Subcommand};
use tokio::net::UnixStream;

use crate::api::{AuditChain, StoreCheck, StoreRepair, VerifyStore};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::{count, printable};
use crate::cli::transport::{Transport, has_no_listener};
use crate::daemon;
use crate::daemon::{RESTORE, Site, remedy_of_file};
use crate::server::http::reports;
use crate::store::StoreError;
use crate::store::catch_up::is_of_the_end;
use crate::store::seal::personal;

/// Check and repair the store
#[derive(Debug, Subcommand)]
pub(super) enum Store {
    /// Check every row, the journal, and the rows against the journal; exit code 1 if something is damaged
    #[command(
        after_help = "Examples:\n  oncegate store verify\n  oncegate store verify --repair\n\
        Without a running daemon the checksums of the file's pages are checked too. A repair works on a \
        stopped store only; the damaged file is kept beside the new one."
    )]
    Verify(Verify),
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Make main.redb anew from the journal if something is damaged
    #[arg(long)]
    repair: bool,
}

impl Store {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let Self::Verify(verify) = self;
        if verify.repair {
            return repair(context).await;
        }
        let check = match stopped(context).await? {
            Some(site) => offline(&site).await?,
            None => {
                let api = context.transport().await?;
                api.ask::<VerifyStore>(()).await?
            }
        };
        context.out.show(&check, |check| describe(check, context))?;
        Ok(if check.intact { Exit::Done } else { Exit::No })
    }
}

/// The site, when no daemon of it runs and no other server was named.
pub(super) async fn stopped(context: &Context) -> Result<Option<Site>, CliError> {
    if context.server.is_some() {
        return Ok(None);
    }
    let site = match context.site() {
        Ok(site) => site,
        Err(error) => {
            let socket = Site::socket_of(&context.dir, context.config.as_deref());
            let daemon = Transport::of_daemon(&socket).await;
            return daemon.map(|_| None).ok_or(error);
        }
    };
    match UnixStream::connect(site.socket()).await {
        Err(error) if has_no_listener(&error) => Ok(Some(site)),
        _ => Ok(None),
    }
}

/// What is damaged of a stopped store, each with what to do about it.
pub(super) async fn damage(site: &Site) -> Result<Vec<(String, &'static str)>, CliError> {
    let check = offline(site).await?;
    let mut all: Vec<_> = check
        .damage
        .iter()
        .map(|row| (row.clone(), fix_of(row)))
        .collect();
    if let Some(journal) = check.journal.as_ref().filter(|journal| !journal.intact) {
        all.push((broken(journal), fix_of_journal(journal)));
    }
    if let Some(checksums) = wrong_checksums(&check).filter(|_| all.is_empty()) {
        all.push((format!("checksums of main.redb: {checksums}"), REPAIR));
    }
    Ok(all)
}

async fn offline(site: &Site) -> Result<StoreCheck, CliError> {
    let (report, checksums) = daemon::verify_store(site).await?;
    let mut check = match report {
        Ok(report) => reports::store(report),
        Err(error) => StoreCheck {
            damaged: 1,
            damage: vec![match error {
                StoreError::File { file, what } => format!("{file}: {what}"),
                error => format!("main.redb: {error}"),
            }],
            ..StoreCheck::default()
        },
    };
    check.intact &= checksums.is_ok();
    check.checksums = Some(match checksums {
        Ok(()) => "right".to_owned(),
        Err(error) => error.to_string(),
    });
    Ok(check)
}

async fn repair(context: &Context) -> Result<Exit, CliError> {
    context.local_only("store verify --repair")?;
    let Some(site) = stopped(context).await? else {
        return Err(CliError::new(
            Exit::Conflict,
            "the daemon runs: a repair works on a stopped store only",
        )
        .remedy(
            "stop the daemon, and repeat the command; `oncegate store verify` works meanwhile",
        ));
    };
    let before = offline(&site).await?;
    // Where rows are damaged, too, it finds by itself whether a broken journal keeps it from being done.
    let broken = before.damaged > 0
        && before
            .journal
            .as_ref()
            .is_some_and(|journal| !journal.intact);
    let repair = if before.intact || !(broken || fixes(&before).contains(&REPAIR)) {
        StoreRepair {
            repaired: false,
            records: 0,
            taken: 0,
            kept: None,
            lost: Vec::new(),
            closed: Vec::new(),
            check: before,
        }
    } else {
        let repaired = daemon::repair_store(&site)?;
        let mut lost = repaired.lost;
        // Only the damaged file knew.
        let unproven = before.unproven.iter().map(|table| {
            format!("{table}: whether rows are missing or outdated is no longer known")
        });
        lost.extend(unproven);
        let tables = before.damage.iter().filter(|row| row.contains(NOT_WHOLE));
        lost.extend(tables.cloned());
        StoreRepair {
            repaired: true,
            records: repaired.records,
            taken: repaired.taken,
            kept: repaired.kept,
            lost,
            closed: repaired.closed,
            check: offline(&site).await?,
        }
    };
    context
        .out
        .show(&repair, |repair| describe_repair(repair, context))?;
    Ok(if repair.check.intact && repair.lost.is_empty() {
        Exit::Done
    } else {
        Exit::No
    })
}

fn describe_repair(repair: &StoreRepair, context: &Context) -> String {
    if !repair.repaired {
        let said = if repair.check.intact {
            "There is nothing to repair.\n"
        } else {
            "A repair would not help, and was not made: main.redb stays as it is.\n"
        };
        return format!("{}{said}", describe(&repair.check, context));
    }
    let mut text = format!(
        "main.redb was made anew: {} from {}",
        count(repair.check.rows, "row"),
        count(repair.records, "journal record")
    );
    if repair.taken > 0 {
        let taken = count(repair.taken, "row");
        push!(text, " and {taken} of the damaged file");
    }
    text.push_str(".\n");
    if let Some(kept) = &repair.kept {
        push!(
            text,
            "The damaged file is kept as {kept} in the same directory.\n"
        );
    }
    for lost in &repair.lost {
        push!(text, "Not saved: {}\n", printable(lost));
    }
    for closed in &repair.closed {
        push!(text, "Closed: {}\n", printable(closed));
    }
    if !repair.closed.is_empty() {
        text.push_str("The audit lists what was closed as store_repair.\n");
    }
    text.push_str(&describe(&repair.check, context));
    text
}

fn describe(check: &StoreCheck, context: &Context) -> String {
    let mut text = String::new();
    if check.intact {
        push!(
            text,
            "The store is intact: {} rows as they were written",
            check.rows
        );
        if let Some(journal) = &check.journal {
            let good = count(journal.good, "record");
            push!(text, ", and {good} of the journal");
        }
        text.push_str(".\n");
        return text;
    }
    for row in &check.damage {
        push!(text, "Damaged: {}\n", printable(row));
    }
    let unnamed = check.damaged.saturating_sub(check.damage.len() as u64);
    if unnamed > 0 {
        push!(text, "{unnamed} more rows are damaged.\n");
    }
    for table in &check.unproven {
        push!(
            text,
            "Table {table}: whether rows are missing is not known, because a row is damaged.\n"
        );
    }
    if let Some(checksums) = wrong_checksums(check) {
        push!(text, "Checksums of main.redb: {}\n", printable(checksums));
    }
    if let Some(journal) = check.journal.as_ref().filter(|journal| !journal.intact) {
        push!(text, "{}.\n", printable(&broken(journal)));
    }
    for fix in fixes(check) {
        push!(text, "Next: {}\n", context.advice(fix));
    }
    text
}

fn wrong_checksums(check: &StoreCheck) -> Option<&String> {
    check.checksums.as_ref().filter(|word| *word != "right")
}

/// What is wrong with the journal.
pub(super) fn broken(journal: &AuditChain) -> String {
    let (record, fault) = (
        journal.first_bad.unwrap_or_default(),
        journal.fault.as_deref().unwrap_or("unknown"),
    );
    if is_of_the_end(fault) {
        format!("the end of the journal may be lost: audit record {record}: {fault}")
    } else {
        format!("the journal is broken at record {record}: {fault}")
    }
}

pub(super) fn fix_of_journal(journal: &AuditChain) -> &'static str {
    fix_of_fault(journal.fault.as_deref().unwrap_or_default())
}

/// What to do about a fault of the journal.
pub(super) fn fix_of_fault(fault: &str) -> &'static str {
    if is_of_the_end(fault) {
        REPAIR
    } else {
        RESTORE
    }
}

/// What to do about one line of the damage.
pub(super) fn fix_of(damage: &str) -> &'static str {
    let file = damage.split([' ', ':']).next().unwrap_or_default();
    match file {
        personal::FILE if damage.contains(ERASE_AGAIN) => "start the daemon again",
        personal::FILE if damage.contains(ERASE_USER) => "oncegate user erase USER",
        file if file == personal::FILE || file.starts_with("log-") => remedy_of_file(file),
        JOURNAL => RESTORE,
        _ => REPAIR,
    }
}

/// Whether a line of the damage is about the journal, which `audit verify` names as well.
pub(super) fn is_of_journal(damage: &str) -> bool {
    damage.split([' ', ':']).next() == Some(JOURNAL)
}

/// What to do about the damage that a daemon knows of; `unnamed`: there is more than it names.
pub(super) fn fixes_of(damage: &[String], unnamed: bool) -> Vec<&'static str> {
    let mut fixes: Vec<&str> = damage.iter().map(|row| fix_of(row)).collect();
    if unnamed {
        fixes.push(REPAIR);
    }
    that_help(fixes)
}

/// What to do about all that is wrong.
fn fixes(check: &StoreCheck) -> Vec<&'static str> {
    let mut fixes: Vec<&str> = check.damage.iter().map(|row| fix_of(row)).collect();
    let journal = check.journal.as_ref().filter(|journal| !journal.intact);
    fixes.extend(journal.map(fix_of_journal));
    let unnamed = check.damaged > check.damage.len() as u64 || !check.unproven.is_empty();
    if unnamed || wrong_checksums(check).is_some() || (!check.intact && fixes.is_empty()) {
        fixes.push(REPAIR);
    }
    that_help(fixes)
}

/// Each fix once; where the journal is lost, nothing else helps.
fn that_help(mut fixes: Vec<&'static str>) -> Vec<&'static str> {
    if fixes.contains(&RESTORE) {
        return vec![RESTORE];
    }
    fixes.sort_unstable();
    fixes.dedup();
    fixes
}

/// What to do about damage of `main.redb`, and where the end of the journal may be lost.
pub(super) const REPAIR: &str = "stop the daemon, then: oncegate store verify --repair";
/// Parts of what is said of keys that have another remedy than a backup.
const ERASE_AGAIN: &str = "start the daemon again";
const ERASE_USER: &str = "erase or remove the user";

/// As damage of the journal is named.
const JOURNAL: &str = "journal";
/// What is said of a table that is not whole.
const NOT_WHOLE: &str = "rows are missing, or older ones were put back";
