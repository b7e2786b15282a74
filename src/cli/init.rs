//! `oncegate init`: a new installation.

use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::api::ClientCreated;
use crate::cli::Context;
use crate::cli::client;
use crate::cli::error::CliError;
use crate::cli::error::Exit;
use crate::cli::transport::Transport;
use crate::cli::transport::admin;
use crate::daemon;

/// Make an installation: configuration, master key, store, policies, first API key
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oncegate init --dir /var/lib/oncegate\n\
    An existing installation is left as it is (exit code 5).")]
pub(super) struct Init {}

#[derive(Serialize)]
struct Made {
    dir: PathBuf,
    files: Vec<PathBuf>,
    key: String,
}

impl Init {
    #[allow(clippy::unused_self)] // like its neighbours
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        context.local_only("init")?;
        if context.config.is_some() {
            return Err(
                CliError::usage("init writes a configuration, it does not take one")
                    .remedy("name the directory instead: --dir DIR"),
            );
        }
        let dir = context.dir.as_path();
        refuse_second(dir)?;
        let files = daemon::init(dir)?;
        let site = context.site()?;
        let api = Transport::of_site(&site).await?;
        let body = client::ApiBody {
            kind: "api",
            name: FIRST,
            scopes: &["admin".to_owned(), "verify".to_owned()],
            policy: None,
            realm: None,
        };
        let created: ClientCreated = api.post(&admin(&["clients"]), &body).await?;
        let made = Made {
            dir: dir.to_owned(),
            files,
            key: created.key.unwrap_or_default(),
        };
        context.out.show(&made, |made| {
            let mut text = String::new();
            for file in &made.files {
                push!(text, "wrote  {}\n", file.display());
            }
            push!(
                text,
                "\nFirst admin API key (client `{FIRST}`), shown only now:\n  {}\n\n\
                 On this machine no key is needed. Back up {} apart from the store.\n\
                 Next: {}\n",
                made.key,
                made.dir.join("master.key").display(),
                context.command("serve")
            );
            text
        })?;
        Ok(Exit::Done)
    }
}

/// What is there already is somebody's; not a byte of it is touched.
fn refuse_second(dir: &Path) -> Result<(), CliError> {
    let traces = ["oncegate.toml", "master.key", "store"];
    match traces
        .iter()
        .map(|name| dir.join(name))
        .find(|path| path.symlink_metadata().is_ok())
    {
        None => Ok(()),
        Some(path) => {
            let message = format!(
                "{} exists: an installation is there already",
                path.display()
            );
            Err(CliError::new(Exit::Conflict, message)
                .remedy("use it as it is, or name another directory: --dir DIR"))
        }
    }
}

/// Name of the first API client.
const FIRST: &str = "admin";
