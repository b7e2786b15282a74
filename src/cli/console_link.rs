//! `oncegate console-link`: a link into the console.

use clap::Args;

use crate::api::{ConsoleLinkWanted, MakeConsoleLink};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::transport::Transport;

/// Make a link by which a person sets up their account of the console
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    oncegate console-link --for kim --role operator\n\
    The link is good for ten minutes, once. It is made on the machine of the daemon only. For someone \
    who has an account it sets a new password, authenticator and recovery codes: the way back in.")]
pub(super) struct ConsoleLink {
    /// The person, as they will sign in; without it they choose the name
    #[arg(long = "for", value_name = "NAME")]
    user: Option<String>,
    /// What they may do: admin, operator, approver or auditor; without it a new person is an administrator, and others
    /// stay what they are
    #[arg(long)]
    role: Option<String>,
}

impl ConsoleLink {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        context.local_only("console-link")?;
        let site = context.site()?;
        let daemon = Transport::of_daemon(&site.socket()).await;
        let api = daemon.ok_or_else(|| {
            CliError::unavailable("no daemon runs in this directory, and the link leads to it")
                .remedy("start it: oncegate serve")
        })?;
        let wanted = ConsoleLinkWanted {
            user: self.user,
            role: self.role,
        };
        let made = api.send::<MakeConsoleLink>((), &wanted).await?;
        context.out.show(&made, |made| {
            let link = made.link.as_deref().unwrap_or(&made.code);
            let role = made.role.as_deref().map(|role| format!(" role {role};"));
            format!(
                "{link}\n\nGood for {} minutes, once;{} it is as good as the account: hand it over yourself.\n",
                made.expires_in / 60,
                role.unwrap_or_default()
            )
        })?;
        Ok(Exit::Done)
    }
}
