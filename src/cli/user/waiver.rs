//! `oncegate user bypass` and `oncegate user exempt`.

use std::time::Duration;

use clap::Args;

use crate::api::call::{Call, NoQuery, UserName};
use crate::api::{User as Record, WaiverGrant};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::user::Name;
use crate::cli::user::describe::describe;
use crate::diagnostic::units;
use crate::time::{Clock as _, SystemClock};

#[derive(Debug, Args)]
pub(in crate::cli) struct Bypass {
    #[command(flatten)]
    who: Name,
    /// Why; written into every audit record while it holds
    #[arg(long, required_unless_present = "end")]
    reason: Option<String>,
    /// How long: 30m, 4h, 30d
    #[arg(long = "for", value_name = "DURATION", required_unless_present = "end",
          value_parser = units::duration)]
    length: Option<Duration>,
    /// End it now
    #[arg(long, conflicts_with_all = ["reason", "length"])]
    end: bool,
}

impl Bypass {
    pub(super) async fn run<Grant, End>(self, context: &Context, what: &str) -> Result<(), CliError>
    where
        Grant: Call<Place = UserName, Query = NoQuery, Body = WaiverGrant, Answer = Record>,
        End: Call<Place = UserName, Query = NoQuery, Body = (), Answer = Record>,
    {
        let api = context.transport().await?;
        let user = self.who.key()?;
        let user = match (self.reason, self.length) {
            (Some(reason), Some(length)) => {
                let grant = WaiverGrant {
                    reason,
                    from: None,
                    until: SystemClock.now().plus(length).rfc3339(),
                };
                let granted = api.send::<Grant>(&user, &grant).await;
                granted.map_err(|error| error.option("until", "for"))?
            }
            _ => api.ask::<End>(&user).await?,
        };
        let granted = if what == "bypass" {
            &user.bypass
        } else {
            &user.exemption
        };
        let effect = granted.as_ref().and_then(|waiver| waiver.effect.as_deref());
        if effect.is_some_and(<[String]>::is_empty) {
            output::warn(&format!(
                "warning: this {what} has no effect under any client's policy today: no rule for this \
                 user leaves something out because of it"
            ));
        }
        context.out.show(&user, describe)
    }
}
