//! `oncegate serve`: the daemon.

use std::net::SocketAddr;

use clap::Args;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::{init, logging, output};
use crate::daemon;
use crate::daemon::{Overrides, Site};
use crate::server::Info;

/// Run the daemon until SIGTERM or SIGINT
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    oncegate serve --radius 0.0.0.0:1812 --http 127.0.0.1:8080\n\
    Prints one line `ready radius=ADDR http=ADDR accounting=ADDR radius_tls=ADDR` when every listener is \
    bound; the last two are missing where they are not served. Where no one has an account of the \
    console, a second line is `console LINK`, which makes the first administrator. SIGHUP does what \
    `oncegate reload` does, and says it in the log.")]
pub(super) struct Serve {
    #[command(flatten)]
    listeners: Listeners,
    /// Make the installation first where there is none, as `oncegate init` does; no key is shown
    #[arg(long)]
    init: bool,
    /// Go on with a store that was put back (a copied directory, the snapshot of a machine): every code that may have
    /// been used since is refused, and the audit says so; without effect on any other store
    #[arg(long)]
    accept_rollback: bool,
}

/// Listener addresses instead of the configuration's.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Listeners {
    /// Serve RADIUS here instead of where the configuration says; repeat it for more; port 0 takes
    /// a free one
    #[arg(long, value_name = "ADDR:PORT")]
    pub(super) radius: Vec<SocketAddr>,
    /// Serve RADIUS accounting here instead of where the configuration says; repeat it for more
    #[arg(long, value_name = "ADDR:PORT")]
    pub(super) accounting: Vec<SocketAddr>,
    /// Serve HTTP here instead of where the configuration says; repeat it for more
    #[arg(long, value_name = "ADDR:PORT")]
    pub(super) http: Vec<SocketAddr>,
}

impl Listeners {
    pub(super) fn overrides(self) -> Overrides {
        let some = |addresses: Vec<SocketAddr>| Some(addresses).filter(|some| !some.is_empty());
        Overrides {
            radius: some(self.radius),
            accounting: some(self.accounting),
            http: some(self.http),
        }
    }
}

impl Serve {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        context.local_only("serve")?;
        if self.init && !context.is_installed() {
            init::make(context).await?;
        }
        let site = context.whole_site()?;
        logging::start(site.config.log);
        warn_of(&site);
        let out = context.out;
        let ready = |info: &Info, _: &_| {
            let list = |addresses: &[SocketAddr]| -> Vec<String> {
                addresses.iter().map(ToString::to_string).collect()
            };
            let (radius, http) = (list(&info.radius), list(&info.http));
            let (accounting, tls) = (list(&info.accounting), list(&info.radius_tls));
            let mut ready = json!({
                "ready": true, "radius": radius, "http": http, "accounting": accounting,
                "radius_tls": tls,
            });
            // The journal of a service is no place for it: `oncegate console-link` makes another.
            let console = info.console.clone().filter(|_| !output::is_journal());
            if let Some(link) = &console {
                ready["console"] = link.expose().into();
            }
            // A thread of its own, which nothing waits for: when the line is not read, only the line
            // is lost.
            let show = move || {
                drop(out.show(&ready, |_| {
                    let mut lines = ready_line([&radius, &http, &accounting, &tls]);
                    if let Some(link) = console {
                        push!(lines, "\nconsole {}", link.expose());
                    }
                    lines
                }));
            };
            drop(std::thread::Builder::new().spawn(show));
        };
        if self.accept_rollback {
            // Nothing is closed in a store that is not served then.
            daemon::refuse_faults(&site)?;
        }
        if self.accept_rollback
            && let Some(closed) = daemon::accept_rollback(&site)?
        {
            output::warn(&format!(
                "warning: the store is older than what is known of it and was accepted; closed: {}; see: oncegate \
                 audit list --action store_rollback",
                output::count(closed.len() as u64, "token")
            ));
        }
        daemon::serve(site, self.listeners.overrides(), ready).await?;
        Ok(Exit::Done)
    }
}

/// The findings of the configuration that do not prevent a start.
pub(super) fn warn_of(site: &Site) {
    for warning in &site.warnings {
        output::warn(&warning.render(output::stderr_colour()));
    }
}

fn ready_line([radius, http, accounting, tls]: [&[String]; 4]) -> String {
    let list = |addresses: &[String]| match addresses {
        [] => "none".to_owned(),
        some => some.join(","),
    };
    let mut line = format!("ready radius={} http={}", list(radius), list(http));
    for (name, addresses) in [("accounting", accounting), ("radius_tls", tls)] {
        if !addresses.is_empty() {
            push!(line, " {name}={}", list(addresses));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_names_every_listener() {
        let two = ["127.0.0.1:1812".to_owned(), "[::1]:1812".to_owned()];
        assert_eq!(
            ready_line([&two, &[], &[], &[]]),
            "ready radius=127.0.0.1:1812,[::1]:1812 http=none"
        );
        assert_eq!(
            ready_line([
                &two[..1],
                &[],
                &["127.0.0.1:1813".to_owned()],
                &["127.0.0.1:2083".to_owned()]
            ]),
            "ready radius=127.0.0.1:1812 http=none accounting=127.0.0.1:1813 radius_tls=127.0.0.1:2083"
        );
    }

    #[test]
    fn nothing_given_leaves_the_configuration() {
        let overrides = Listeners::default().overrides();
        assert!(overrides.radius.is_none() && overrides.http.is_none());
    }
}
