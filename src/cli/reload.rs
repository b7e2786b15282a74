//! `oncegate reload`: what was changed in files, taken by the running daemon.

use clap::Args;

use crate::api::{NeedsRestart, Reload as Done, ReloadFiles};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::printable;

/// Reload policies, tables, texts, certificate, gateways, inbound secret and log level
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    oncegate policy test && oncegate reload\n\
    What is not right stays as it was, and is named by file and line; exit code 1 then. What takes a \
    restart is named too. SIGHUP does the same and says it in the log.")]
pub(super) struct Reload {}

impl Reload {
    #[allow(clippy::unused_self)] // like its neighbours
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let api = context.transport().await?;
        if api.is_local() {
            return Err(
                CliError::unavailable("no daemon runs: there is nothing to reload")
                    .remedy("check the files with `oncegate config check`, then `oncegate serve`"),
            );
        }
        let done = api.ask::<ReloadFiles>(()).await?;
        context.out.show(&done, text)?;
        Ok(if done.ok { Exit::Done } else { Exit::No })
    }
}

fn text(done: &Done) -> String {
    let mut text = String::new();
    let names = done.parts.iter().map(|part| part.name.chars().count());
    let width = names.max().unwrap_or_default().max(NAME) + 1;
    for part in &done.parts {
        if part.faults.is_empty() {
            let but = match part.name.as_str() {
                "configuration" if !done.restart.is_empty() => {
                    ", but for what needs a restart (below)"
                }
                _ => "",
            };
            push!(text, "{:<width$}reloaded{but}\n", part.name);
        }
        for fault in &part.faults {
            push!(
                text,
                "{:<width$}kept as it was: {}\n",
                part.name,
                printable(fault)
            );
        }
    }
    for change in &done.restart {
        push!(text, "{}\n", printable(&restart(change)));
    }
    text
}

/// A change that the daemon does not take while it runs.
pub(super) fn restart(change: &NeedsRestart) -> String {
    let shown = |value: &str| {
        if value.is_empty() {
            "nothing".to_owned()
        } else {
            value.to_owned()
        }
    };
    let without = change.option.as_ref();
    let without = without.map(|option| format!(" without `{option}`"));
    format!(
        "{} needs a restart{}: {} is in use, {} is written ({})",
        change.key,
        without.unwrap_or_default(),
        shown(&change.running),
        shown(&change.written),
        change.origin
    )
}

/// Least width of the names: that of `inbound secret`.
const NAME: usize = 14;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ReloadPart;

    #[test]
    fn a_long_name_stands_apart_from_what_is_said_of_it() {
        let part = |name: &str, faults: &[&str]| ReloadPart {
            name: name.to_owned(),
            faults: faults.iter().map(|fault| (*fault).to_owned()).collect(),
        };
        let done = |parts| Done {
            ok: true,
            parts,
            restart: Vec::new(),
        };
        let short = done(vec![part("policies", &[])]);
        assert_eq!(text(&short), "policies       reloaded\n");
        let long = done(vec![
            part("policies", &[]),
            part("RADIUS certificate", &[]),
            part("EAP certificate", &["expired"]),
        ]);
        assert_eq!(
            text(&long),
            "policies           reloaded\nRADIUS certificate reloaded\n\
             EAP certificate    kept as it was: expired\n"
        );
    }
}
