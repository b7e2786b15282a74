//! `oncegate backup` and `oncegate restore`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;

use crate::api;
use crate::cli::context::{Context, program};
use crate::cli::error::{CliError, Exit};
use crate::cli::output::{self, count, local_time, printable};
use crate::cli::transport::Transport;
use crate::daemon;
use crate::daemon::{After, RestoreError, Wanted};
use crate::store::backup::{BackupError, Header, Restored, Scan};

/// Write a backup of store, policies and configuration, while the daemon works
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    oncegate backup /backup/oncegate-$(date +%F)\n  \
    oncegate backup - | ssh vault 'cat > oncegate.backup'\n  \
    oncegate backup /backup/monday --since /backup/sunday\n\
    The backup is sealed and needs the master key, which is not in it: keep that apart. It also works \
    without a daemon, and over --server. A file that exists is left as it is (exit code 5).")]
pub(super) struct Backup {
    /// File to write; - for standard output
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only what came behind this backup, which is needed to restore it
    #[arg(long, value_name = "BACKUP")]
    since: Option<PathBuf>,
}

/// Make an installation of a backup; no code that was used is good again
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    oncegate --dir /var/lib/oncegate restore /backup/oncegate-2026-11-20 --master-key \
    /safe/master.key\n  \
    oncegate restore FILE --at 4711\n  \
    oncegate restore /backup/sunday /backup/monday /backup/tuesday\n\
    Into an empty directory all is written: store, policies, configuration. Where there is an \
    installation without its store, only the store is. Codes that may have been used since are refused: \
    time-based ones for some minutes, counter-based tokens until they are resynchronised, recovery codes \
    and sent codes for good.")]
pub(super) struct Restore {
    /// Backup to read, and the incremental ones that go on from it, in order; - for standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Last audit record to restore; later ones only say which codes were used
    #[arg(long, value_name = "SEQ")]
    at: Option<u64>,
    /// File with the master key, if it is not in its place
    #[arg(long, value_name = "FILE")]
    master_key: Option<PathBuf>,
}

#[derive(Serialize)]
struct Made<'h> {
    /// Absent where it went to standard output.
    file: Option<&'h Path>,
    octets: u64,
    #[serde(flatten)]
    header: &'h Header,
}

impl Backup {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let to_stdout = self.file.as_os_str() == "-";
        if to_stdout && context.out.json {
            return Err(
                CliError::usage("--json and a backup both want standard output")
                    .remedy("write the backup to a file"),
            );
        }
        if to_stdout && io::stdout().is_terminal() {
            return Err(CliError::usage("a backup is not for a terminal")
                .remedy("write it to a file, or into a pipe"));
        }
        let query = self.since.as_deref().map(before).transpose()?;
        let query = query.unwrap_or_default();
        let api = context.transport().await?;
        if to_stdout {
            let (octets, header) = copy(context, (&api, &query), &mut io::stdout().lock()).await?;
            confirm(&api, &header, octets).await;
            context.out.note(&described(&header, octets, None));
            return Ok(Exit::Done);
        }
        let (octets, header) = into_file(context, (&api, &query), &self.file).await?;
        confirm(&api, &header, octets).await;
        let made = Made {
            file: Some(&self.file),
            octets,
            header: &header,
        };
        context
            .out
            .show(&made, |made| described(made.header, made.octets, made.file))?;
        Ok(Exit::Done)
    }
}

/// What the backup to go on from says about itself.
fn before(path: &Path) -> Result<api::BackupQuery, CliError> {
    let file = File::open(path).map_err(|error| {
        CliError::unreadable(path, &error).remedy("name a file that `oncegate backup` wrote")
    })?;
    let header = Header::read(io::BufReader::new(file)).map_err(|error| {
        CliError::usage(format!("{}: {error}", path.display()))
            .remedy("name a file that `oncegate backup` wrote")
    })?;
    if header.head_mac.is_none() {
        return Err(CliError::usage(format!(
            "{} is of a version that knew no incremental backups",
            path.display()
        ))
        .remedy("make a whole backup first, and go on from that"));
    }
    Ok(api::BackupQuery {
        since: Some(header.backup),
        store: Some(header.store),
        head: Some(header.head),
        head_mac: header.head_mac,
    })
}

fn described(header: &Header, octets: u64, file: Option<&Path>) -> String {
    let mut text = format!(
        "Backup of the audit records {} to {}, {} in all, {octets} octets",
        header.first,
        header.head,
        count(header.items, "row and record").replace("row and records", "rows and records"),
    );
    match file {
        Some(file) if header.since.is_some() => {
            let file = output::shell_word(&file.to_string_lossy()).into_owned();
            push!(
                text,
                ": {file}\nIt goes on from another backup and is restored with it and those between.\nNext: {}\n",
                program(&format!(
                    "--dir NEW restore FIRST .. {file} --master-key FILE"
                ))
            );
        }
        Some(file) => {
            let file = output::shell_word(&file.to_string_lossy()).into_owned();
            push!(
                text,
                ": {file}\nIt does not hold the master key; keep that apart from it.\nNext: {}\n",
                program(&format!("--dir NEW restore {file} --master-key FILE"))
            );
        }
        None => text.push_str(".\n"),
    }
    text
}

/// Writes a new file, whole or not at all.
async fn into_file(
    context: &Context,
    api: (&Transport, &api::BackupQuery),
    path: &Path,
) -> Result<(u64, Header), CliError> {
    let cannot = |path: &Path, error: &io::Error| {
        let exit = match error.kind() {
            io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::Unavailable,
        };
        CliError::new(
            exit,
            format!("{} cannot be written: {error}", path.display()),
        )
        .remedy("choose a directory that is there, with room, and that this user may write to")
    };
    if path.symlink_metadata().is_ok() {
        return Err(
            CliError::new(Exit::Conflict, format!("{} exists already", path.display()))
                .remedy("choose another name: a backup is not overwritten"),
        );
    }
    let mut part = path.as_os_str().to_owned();
    part.push(format!(".{}.part", std::process::id()));
    let part = PathBuf::from(part);
    let mut options = OpenOptions::new();
    // A new file, never what a link of that name leads to.
    let file = options.write(true).create_new(true).mode(0o600);
    let mut file = file.open(&part).map_err(|error| cannot(&part, &error))?;
    let copied = copy(context, api, &mut file).await;
    let done = copied.and_then(|copied| {
        file.sync_all().map_err(|error| cannot(&part, &error))?;
        fs::rename(&part, path).map_err(|error| cannot(path, &error))?;
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let parent = File::open(parent.unwrap_or_else(|| Path::new(".")));
        let synced = parent.and_then(|parent| parent.sync_all());
        synced.map_err(|error| cannot(path, &error))?;
        Ok(copied)
    });
    done.inspect_err(|_| {
        // What is there of it is no backup.
        let _ = fs::remove_file(&part);
    })
}

/// Says that the backup was kept; only from then on it counts as made. A backup that is whole is one without that, too.
async fn confirm(api: &Transport, header: &Header, octets: u64) {
    let kept = api::BackupKept {
        backup: header.backup.clone(),
        store: header.store.clone(),
        head: header.head,
        head_mac: header.head_mac.clone().unwrap_or_default(),
        octets: Some(octets),
    };
    let Err(error) = api.send::<api::ConfirmBackup>((), &kept).await else {
        return;
    };
    // A server of an earlier version put it on record when it had sent it.
    if error.exit != Exit::NotFound {
        let (why, _) = error.words();
        output::warn(&format!(
            "warning: the backup is whole and was kept, but it is not on record as made: {why}; `oncegate status` and \
             `oncegate doctor` do not count it"
        ));
    }
}

/// Copies the stream, and sees that its end was there.
async fn copy(
    context: &Context,
    (api, query): (&Transport, &api::BackupQuery),
    to: &mut impl Write,
) -> Result<(u64, Header), CliError> {
    let mut from = api.octets::<api::Backup>(query).await?;
    let (mut scan, mut octets) = (Scan::default(), 0);
    let mut bar: Option<ProgressBar> = None;
    while let Some(piece) = from.next().await? {
        scan.take(&piece);
        octets += piece.len() as u64;
        to.write_all(&piece).map_err(|error| {
            let remedy = if error.kind() == io::ErrorKind::BrokenPipe {
                "what reads it has ended early: see what it says, then repeat the command"
            } else {
                "see that there is room, then repeat the command"
            };
            CliError::unavailable(format!("the backup cannot be written: {error}")).remedy(remedy)
        })?;
        if let (None, Some(header)) = (&bar, scan.header()) {
            bar = Some(output::progress(context.out, "backup", header.items));
        }
        if let Some(bar) = &bar {
            bar.set_position(scan.done());
        }
    }
    to.flush()?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    match scan.header() {
        Some(header) if scan.is_whole() => Ok((octets, header.clone())),
        _ => Err(
            CliError::unavailable("the backup broke off before its end and was not kept")
                .remedy("the daemon's log says why; repeat the command"),
        ),
    }
}

#[derive(Serialize)]
struct Done<'r> {
    dir: &'r Path,
    files: &'r [PathBuf],
    /// Last record that was restored.
    at: u64,
    rows: u64,
    records: u64,
    epoch: u64,
    closed: &'r [String],
    used_later: u64,
    /// What to do about the master key before the start; absent where it is in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    master_key: Option<&'r str>,
    backup: &'r Header,
}

impl Restore {
    #[allow(clippy::unused_async)] // like its neighbours
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        context.local_only("restore")?;
        let wanted = Wanted {
            at: self.at,
            master: self.master_key.clone(),
        };
        let (dir, config) = (context.dir.as_path(), context.config.as_deref());
        let from_stdin = self.files.iter().any(|file| file.as_os_str() == "-");
        let restored = if from_stdin {
            if self.files.len() > 1 {
                return Err(CliError::usage("standard input holds one backup only")
                    .remedy("name the files, the whole backup first"));
            }
            daemon::restore(dir, config, &wanted, vec![io::stdin().lock()])
        } else {
            let bar = output::progress(context.out, "restore", 0);
            let mut backups = Vec::new();
            for path in &self.files {
                let file = File::open(path).map_err(|error| {
                    CliError::unreadable(path, &error)
                        .remedy("name the file that `oncegate backup` wrote")
                })?;
                bar.inc_length(file.metadata().map_or(0, |metadata| metadata.len()));
                let read = Watched { file, bar: &bar };
                backups.push(io::BufReader::with_capacity(1 << 20, read));
            }
            let restored = daemon::restore(dir, config, &wanted, backups);
            bar.finish_and_clear();
            restored
        };
        let (restored, files, after) = restored.map_err(refused)?;
        let done = Done {
            dir,
            files: &files,
            at: restored.at,
            rows: restored.rows,
            records: restored.records,
            epoch: restored.epoch,
            closed: &restored.closed,
            used_later: restored.used_later,
            master_key: after.key.as_deref(),
            backup: &restored.header,
        };
        context
            .out
            .show(&done, |_| text(context, &restored, &files, &after))?;
        Ok(Exit::Done)
    }
}

fn refused(error: RestoreError) -> CliError {
    let remedy = match &error {
        RestoreError::Start(_) => None,
        RestoreError::Backup(error) => Some(match error {
            BackupError::NotABackup => "name a file that `oncegate backup` wrote",
            BackupError::NewerFormat { .. } => {
                "run the version of oncegate that wrote it, or a newer one"
            }
            BackupError::OtherInstallation { .. } => {
                "name the master key that was in use when the backup was made: --master-key FILE"
            }
            BackupError::NoSuchRecord { .. } => {
                "leave --at out for all of it, or name one of these records"
            }
            BackupError::Chain(_) => {
                "name the whole backup first, then each that goes on from the one before, in the order in which they were made"
            }
            BackupError::Store(_) => "see the cause; nothing was put in place",
            _ => "take another copy of it, or an older backup; nothing was put in place",
        }),
    };
    match (error, remedy) {
        (RestoreError::Start(error), _) => error.into(),
        (RestoreError::Backup(error @ BackupError::Chain(_)), Some(remedy)) => {
            CliError::usage(error.to_string()).remedy(remedy)
        }
        (RestoreError::Backup(error @ BackupError::NoSuchRecord { .. }), Some(remedy)) => {
            CliError::new(Exit::NotFound, error.to_string()).remedy(remedy)
        }
        (error, remedy) => {
            CliError::unavailable(error.to_string()).remedy(remedy.unwrap_or_default())
        }
    }
}

fn text(context: &Context, restored: &Restored, files: &[PathBuf], after: &After) -> String {
    let mut text = String::new();
    for file in files {
        push!(text, "wrote  {}\n", file.display());
    }
    push!(
        text,
        "\nRestored up to audit record {} from the backup of {} ({} and {}).\n\
         What was changed after that is not there: users, tokens and rights that were added, changed or taken away,\n\
         new passwords and PINs, locks. Codes that may have been used are refused:\n",
        restored.at,
        local_time(&restored.header.created),
        count(restored.rows, "row"),
        count(restored.records, "record"),
    );
    for closed in &restored.closed {
        push!(text, "  {}\n", printable(closed));
    }
    if restored.closed.is_empty() {
        text.push_str("  no token: there was none to close\n");
    }
    for path in &after.outside {
        push!(
            text,
            "From its start it writes how far it is to {}, and the installation that was backed up refuses to start\n\
             where it names that file too. For a trial set ONCEGATE__STORE__WITNESS=witness first.\n",
            path.display()
        );
    }
    let serve = context.command("serve");
    text.push_str("The audit lists them as store_restore.\n");
    match &after.key {
        Some(key) => push!(
            text,
            "`keys.master` does not give the master key that opens this store.\nNext: {key}; then {serve}\n"
        ),
        None => push!(text, "Next: {serve}\n"),
    }
    text
}

/// A file that says how far it was read.
struct Watched<'b> {
    file: File,
    bar: &'b ProgressBar,
}

impl Read for Watched<'_> {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(octets)?;
        self.bar.inc(read as u64);
        Ok(read)
    }
}
