//! `oncegate init`: a new installation.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::api::{AddClient, ClientCreate, ClientCreated};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::transport::Transport;
use crate::daemon;
use crate::daemon::{Installation, Site};

/// Create an installation: configuration, master key, store, policies, first API key
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oncegate init --dir /var/lib/oncegate\n\
    An existing installation is left as it is (exit code 5); an interrupted init is finished.")]
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
        let (made, begun) = begin(context).await?;
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
        begun.finish()?;
        Ok(Exit::Done)
    }
}

/// An installation without a word about it.
pub(super) async fn make(context: &Context) -> Result<(), CliError> {
    let (_, begun) = begin(context).await?;
    Ok(begun.finish()?)
}

async fn begin(context: &Context) -> Result<(Made, Installation), CliError> {
    context.local_only("init")?;
    if context.config.is_some() {
        return Err(
            CliError::usage("init writes a configuration, it does not take one")
                .remedy("name the directory instead: --dir DIR"),
        );
    }
    let dir = context.dir.as_path();
    let mut begun = daemon::init(dir)?;
    let created = match first_client(&context.site()?, begun.resumed).await {
        Err(error) if error.exit == Exit::Conflict => {
            begun.finish()?;
            return Err(error);
        }
        done => done?,
    };
    let made = Made {
        dir: dir.to_owned(),
        files: std::mem::take(&mut begun.files),
        key: created.key.unwrap_or_default(),
    };
    Ok((made, begun))
}

/// The first client, and its key. It is there after an earlier try that ended before it had shown the key.
async fn first_client(site: &Site, resumed: bool) -> Result<ClientCreated, CliError> {
    let api = Transport::of_site(site).await?;
    let body = ClientCreate::Api {
        name: FIRST.to_owned(),
        scopes: vec!["admin".to_owned(), "verify".to_owned()],
        policy: None,
        realm: None,
    };
    match api.send::<AddClient>((), &body).await {
        Err(error) if resumed && error.exit == Exit::Conflict => Err(CliError::new(
            Exit::Conflict,
            format!("the installation is there already, with the API client `{FIRST}`"),
        )
        .remedy(format!(
            "use it as it is; if the client's key was not shown, make another: oncegate client rotate {FIRST}"
        ))),
        done => done,
    }
}

/// Name of the first API client.
const FIRST: &str = "admin";
