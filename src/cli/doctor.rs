//! `oncegate doctor`: what is wrong or weak here, each with the command that repairs it.

use clap::Args;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::store;
use crate::daemon::Site;

mod daemon;
mod methods;
mod places;
mod ports;
mod report;
pub(super) mod site;

use report::Check;
pub(super) use report::{Report, State};

/// Check the installation, with a fix for each finding; exit code 1 if there is one
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oncegate doctor --json | jq '.checks[] | select(.state != \"ok\")'\n\
    With --server only what the daemon reports is checked."
)]
pub(super) struct Doctor {}

impl Doctor {
    #[allow(clippy::unused_self)] // like its neighbours
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let mut report = Report::default();
        let mut policies = None;
        let mut media = Vec::new();
        let mut here = None;
        if context.server.is_none() {
            let site = Site::load(&context.dir, context.config.as_deref());
            match site {
                Ok(site) => {
                    site::config(&mut report, &site);
                    site::modes(&mut report, &site);
                    site::disk(&mut report, &site.config.store.dir);
                    site::couriers(&mut report, &site);
                    site::webhooks(&mut report, &site).await;
                    places::places(&mut report, &site).await;
                    site::certificate(&mut report, &site);
                    policies = site::policy_files(&mut report, &site);
                    let gateways = site.config.delivery.gateways.iter();
                    media.extend(gateways.flat_map(|gateway| gateway.media.iter().copied()));
                    here = Some(site);
                }
                Err(_) => {
                    // Read again for its words: a directory without an installation says so.
                    if let Err(error) = context.whole_site() {
                        report.failed("config", &error);
                    }
                }
            }
        }
        match context.transport().await {
            Ok(api) => {
                // The store was free: what listens is no daemon of this installation.
                if let Some(site) = here.filter(|_| api.is_local()) {
                    ports::ports(&mut report, &site);
                }
                if let Err(error) = daemon::daemon(
                    &mut report,
                    &api,
                    policies.as_ref().map(|all| (all, &*media)),
                    context,
                )
                .await
                {
                    report.failed("daemon", &error);
                }
            }
            Err(error) => unopened(&mut report, context, &error).await,
        }
        report.advise(|fix| context.advice(fix));
        let findings = report.count(State::Warning) + report.count(State::Failure);
        let document = json!({ "ok": findings == 0, "checks": report.0 });
        context.out.show(&document, |_| report.text())?;
        Ok(if findings == 0 { Exit::Done } else { Exit::No })
    }
}

/// What keeps the store from being read, where no daemon answers either.
async fn unopened(report: &mut Report, context: &Context, error: &CliError) {
    let before = report.0.len();
    let site = context.server.is_none().then(|| context.site().ok());
    if let Some(site) = site.flatten().filter(|site| site.config.store.dir.exists())
        && let Ok(damage) = store::damage(&site).await
    {
        for (found, fix) in &damage {
            report.failure("store", found, *fix);
        }
        if damage.is_empty() {
            report.ok("store", "no row is damaged");
        }
    }
    let damaged = report.0[before..]
        .iter()
        .any(|check| check.state == State::Failure);
    // Where the store is whole, something that was found before may be the cause.
    let known = ["config", "policies", "delivery", "cert", "store"];
    let is_cause = |check: &Check| check.state == State::Failure && known.contains(&check.about);
    if !damaged && !report.0.iter().any(is_cause) {
        report.failed("daemon", error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finding_has_a_fix() {
        let mut report = Report::default();
        report.ok("disk", "fine");
        report.warning("clients", "weak \u{1b}[2J", "do this");
        let text = report.text();
        assert!(
            text.contains("weak \\u{1b}[2J") && text.contains("fix: do this"),
            "{text}"
        );
        assert!(text.ends_with("1 warning, 0 failures\n"), "{text}");
    }
}
