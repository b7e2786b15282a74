//! `oncegate key`: the keys of the store.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;

use crate::api::{RotateMaster, ShowKeys, StoreKeys};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::{Table, count, local_time};
use crate::cli::store::stopped;
use crate::daemon;

/// Show and exchange the keys of the store
#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Show which keys there are and how old they are; no key is shown
    Status,
    /// Make a new master key and seal the store by it, while the daemon works
    #[command(
        after_help = "Examples:\n  oncegate key rotate\n  oncegate key rotate --to /root/new.key\n\
        The new key takes the place of the old file, which stays beside it: backups that were made before need it.\n\
        Move it to where they are kept. Where the key comes from the environment or a systemd credential, stop the\n\
        daemon, use --to, and put the new key there before the next start."
    )]
    Rotate(Rotate),
}

#[derive(Debug, Args)]
pub(super) struct Rotate {
    /// Write the new key to this file instead, on a stopped daemon
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

impl Key {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        match self {
            Self::Status => {
                let keys = context.transport().await?.ask::<ShowKeys>(()).await?;
                context.out.show(&keys, text)?;
            }
            Self::Rotate(Rotate { to: Some(to) }) => rotate_to(context, to).await?,
            Self::Rotate(Rotate { to: None }) => {
                let api = context.transport().await?;
                let done = api.ask::<RotateMaster>(()).await?;
                context.out.show(&done, |done| {
                    let former = done.former.as_deref().unwrap_or_default();
                    format!(
                        "The store is sealed by a new master key: {}\nBack it up apart from the store. The former one \
                         opens backups that were made before: {former}\nNext: oncegate backup FILE, then move the \
                         former key to where the older backups are kept\n",
                        done.file
                    )
                })?;
            }
        }
        Ok(Exit::Done)
    }
}

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
                 then start the daemon; keep the former key with the backups that were made before\n",
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
    table.pair("data key", format!("in use {}", age(&keys.data_since)));
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
