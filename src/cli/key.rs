//! `oncegate key`: the keys of the store.

use std::io::{self, IsTerminal as _, Read as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;
use zeroize::Zeroizing;

use crate::api::{RotateData, RotateMaster, ShowKeys, StoreKeys};
use crate::cli::context::{Context, program};
use crate::cli::error::{CliError, Exit};
use crate::cli::output::{self, Table, count, local_time};
use crate::cli::store::stopped;
use crate::daemon;

mod shares;

/// Show and exchange the keys of the store
#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Show which keys there are and how old they are; no key is shown
    Status,
    /// Make a new master key and seal the store by it, or a new data key, while the daemon works
    #[command(after_help = "Examples:\n  \
    oncegate key rotate\n  \
    oncegate key rotate --to /root/new.key\n  \
    oncegate key rotate --data\n\
    The new key takes the place of the old file, which stays beside it: backups that were made before \
    need it. Move it to where they are kept. Where the key comes from the environment or a systemd \
    credential, stop the daemon, use --to, and put the new key there before the next start. A key in a hardware security module is named as in RFC 7512: \
    'pkcs11:token=LABEL;object=LABEL?module-path=FILE&pin-source=file:FILE'; keys.master takes the same words.\n\
    With --data the key below it is exchanged: the keys of tokens, the secrets of clients, PINs, passwords and the \
    keys of personal data are sealed anew in the background. It goes on after an interruption; the former data key \
    stays in the store for older records of the journal and for backups.")]
    Rotate(Rotate),
    /// Split the master key into shares for the safe, of which some make it again
    #[command(after_help = "Examples:\n  \
    oncegate key export --shares 5 --threshold 3\n  \
    oncegate key export --shares 5 --threshold 3 --out /media/usb/shares\n\
    Fewer shares than the threshold say nothing of the key. Give each to another person, or put it into another safe; \
    print them, and leave none on this machine. `oncegate key import` makes the key of them again.")]
    Export(Export),
    /// Make the master key of its shares again, in a new file
    #[command(after_help = "Examples:\n  \
    oncegate key import --to /root/master.key < shares.txt\n  \
    oncegate --dir /var/lib/oncegate restore /backup/oncegate-2026-11-20 --master-key /root/master.key\n\
    Reads one share on each line of standard input; at a terminal, end with Ctrl-D. Case, blanks and dashes are of no \
    meaning; lines that begin with # are passed over.")]
    Import(Import),
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// How many shares to make, up to 255
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(2..))]
    shares: u8,
    /// How many of them make the key again, at least 2
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u8).range(2..))]
    threshold: u8,
    /// Directory for a file of each share, instead of standard output
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// New file for the key; one that is there is left as it is
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Rotate {
    /// Write the new key to this file instead, or make it in a hardware security module (pkcs11:..), on a stopped
    /// daemon
    #[arg(long, value_name = "FILE|PKCS11")]
    to: Option<PathBuf>,
    /// Exchange the data key, which seals the secrets, and not the master key, which seals the data key
    #[arg(long, conflicts_with = "to")]
    data: bool,
}

impl Key {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        match self {
            Self::Status => {
                let keys = context.transport().await?.ask::<ShowKeys>(()).await?;
                context.out.show(&keys, text)?;
            }
            Self::Export(export) => export.run(context)?,
            Self::Import(import) => import.run(context)?,
            Self::Rotate(Rotate { to: Some(to), .. }) => rotate_to(context, to).await?,
            Self::Rotate(Rotate { data: true, .. }) => {
                let done = context.transport().await?.ask::<RotateData>(()).await?;
                context.out.show(&done, |done| {
                    format!(
                        "Data key {} seals from now on. What was sealed before is sealed again in the background while \
                         the daemon runs;\nboth keys open what they sealed meanwhile, and logins go on.\n\
                         Next: {} shows how far it is\n",
                        done.number,
                        context.command("key status")
                    )
                })?;
            }
            Self::Rotate(Rotate { to: None, .. }) => {
                let api = context.transport().await?;
                let done = api.ask::<RotateMaster>(()).await?;
                context.out.show(&done, |done| {
                    let former = done.former.as_deref().unwrap_or_default();
                    format!(
                        "The store is sealed by a new master key: {}\nBack it up apart from the store. The former one \
                         opens backups that were made before: {former}\nNext: {}, then move the former key to where \
                         the older backups are kept\n",
                        done.file,
                        context.command("backup FILE")
                    )
                })?;
            }
        }
        Ok(Exit::Done)
    }
}

impl Export {
    fn run(self, context: &Context) -> Result<(), CliError> {
        context.local_only("key export")?;
        let (threshold, count) = (self.threshold, self.shares);
        if threshold > count {
            return Err(CliError::usage(format!(
                "--threshold {threshold} is more than --shares {count}: the key could never be made again"
            ))
            .remedy("choose a threshold of at most the number of shares"));
        }
        let site = context.site()?;
        let key = daemon::master_key(&site.config.keys.master)?;
        let split = shares::split(&key, threshold, count).map_err(CliError::unavailable)?;
        let name = &split.fingerprint;
        let labelled = |number: usize, share: &str| {
            format!(
                "# oncegate master key {name}: share {} of {count}, any {threshold} make it\n{share}\n",
                number + 1
            )
        };
        let mut files = Vec::new();
        if let Some(dir) = &self.out {
            for (number, share) in split.shares.iter().enumerate() {
                let path = dir.join(format!("share-{}-of-{count}.txt", number + 1));
                let text = Zeroizing::new(labelled(number, share));
                daemon::write_private(&path, text.as_bytes())?;
                files.push(path);
            }
        }
        let shown: Vec<&str> = match self.out {
            Some(_) => Vec::new(),
            None => split.shares.iter().map(|share| share.as_str()).collect(),
        };
        let document = json!({
            "fingerprint": name, "threshold": threshold, "shares": shown, "files": files,
        });
        context.out.show(&document, |_| {
            let mut text = String::new();
            for file in &files {
                push!(text, "wrote  {}\n", file.display());
            }
            for (number, share) in shown.iter().enumerate() {
                push!(text, "{}\n", labelled(number, share));
            }
            push!(
                text,
                "Print them and put each into another safe. Next: {} --to FILE, with {threshold} of them, shows that \
                 they are right\n",
                context.command("key import")
            );
            text
        })?;
        Ok(())
    }
}

impl Import {
    fn run(self, context: &Context) -> Result<(), CliError> {
        context.local_only("key import")?;
        if self.to.symlink_metadata().is_ok() {
            return Err(CliError::new(
                Exit::Conflict,
                format!("{} exists already", self.to.display()),
            )
            .remedy("choose another name: a key is not overwritten"));
        }
        if io::stdin().is_terminal() {
            output::warn("Shares, one on each line; end with Ctrl-D:");
        }
        let mut text = Zeroizing::new(String::new());
        let read = io::stdin().lock().take(TYPED).read_to_string(&mut text);
        read.map_err(|error| CliError::usage(format!("the shares cannot be read: {error}")))?;
        let (key, name) = shares::combine(&text).map_err(|why| {
            CliError::usage(why)
                .remedy("see that each line is one share, as it was printed; nothing was written")
        })?;
        daemon::write_key(&self.to, &key)?;
        let own = context.site().ok();
        let own = own.and_then(|site| daemon::master_key(&site.config.keys.master).ok());
        let is_own = own.map(|own| own == key);
        let document = json!({ "file": self.to, "fingerprint": name, "in_use": is_own });
        context.out.show(&document, |_| {
            let in_use = match is_own {
                Some(true) => "It is the key that this installation uses.\n",
                Some(false) => "It is not the key that this installation uses.\n",
                None => "",
            };
            format!(
                "The master key {name} is in {}. {in_use}Next: put it where `keys.master` looks for it, or {}; then remove \
                 this file\n",
                self.to.display(),
                program("--dir NEW restore BACKUP --master-key FILE")
            )
        })?;
        Ok(())
    }
}

/// Octets of shares that are read at most.
const TYPED: u64 = 64 << 10;

async fn rotate_to(context: &Context, to: PathBuf) -> Result<(), CliError> {
    context.local_only("key rotate --to")?;
    let Some(site) = stopped(context).await? else {
        return Err(CliError::new(
            Exit::Conflict,
            "the daemon runs: --to works on a stopped one only",
        )
        .remedy(
            "stop the daemon and repeat the command, or leave --to out where the key is in a file",
        ));
    };
    daemon::rotate_to(&site, &to).await?;
    let place = site.config.keys.master.to_string();
    context
        .out
        .show(&json!({ "file": to, "master": place }), |_| {
            format!(
                "The store is sealed by a new master key: {}\nNext: put it where `keys.master` looks for it ({place}), \
                 or change that, then start the daemon; keep the former key with the backups that were made before\n",
                to.display()
            )
        })
}

fn text(keys: &StoreKeys) -> String {
    let age = |since: &Option<String>| match since {
        Some(since) => format!("{} ({})", local_time(since), days(since)),
        None => "not known any more: the audit of that time was pruned".to_owned(),
    };
    let mut table = Table::pairs();
    table.pair("master key", keys.master.clone());
    let exchanged = if keys.master_exchanged {
        "exchanged"
    } else {
        "since the store was made"
    };
    table.pair(
        "  in use",
        format!("{}, {exchanged}", age(&keys.master_since)),
    );
    table.pair("data key", format!("number {}", keys.data_number));
    let exchanged = match keys.data_number {
        0 => "since the store was made",
        _ => "exchanged",
    };
    table.pair(
        "  in use",
        format!("{}, {exchanged}", age(&keys.data_since)),
    );
    if let (Some(done), Some(all)) = (keys.data_sealed, keys.data_secrets) {
        let percent = done.saturating_mul(100) / all.max(1);
        let shown = format!("{done} of {all} secrets, {percent} %; the daemon seals the others");
        table.pair("  sealed by it", shown);
    }
    table.pair("  seals", keys.algorithm.clone());
    table.pair(
        "last backup",
        keys.last_backup
            .as_deref()
            .map_or_else(|| "none".to_owned(), local_time),
    );
    table.text()
}

fn days(since: &str) -> String {
    let Ok(since) = since.parse::<Timestamp>() else {
        return String::new();
    };
    let seconds = Timestamp::now()
        .as_second()
        .saturating_sub(since.as_second());
    count(u64::try_from(seconds / 86_400).unwrap_or_default(), "day")
}
