//! `oncegate config`: what the configuration says and means.

use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::api::CompareFiles;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::Table;
use crate::cli::transport::Transport;
use crate::cli::{policy, reload};
use crate::config::{self, EffectiveValue, Origin};
use crate::daemon;
use crate::daemon::{Site, StartError};
use crate::diagnostic::Diagnostic;
use crate::server::certificate::{Concern, Validity};
use crate::server::radius::RadiusTls;
use crate::server::tls::Tls;
use crate::time::{Clock as _, SystemClock};
use crate::web::Theme;

/// Check and show the configuration
#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// Check configuration and policies, everything but the listeners
    #[command(
        after_help = "Example:\n  oncegate config check --config /etc/oncegate/oncegate.toml"
    )]
    Check,
    /// Show the configuration with the origin of each value
    #[command(after_help = "Example:\n  oncegate config show --effective")]
    Show(Show),
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// Every key, defaults too
    #[arg(long)]
    effective: bool,
}

impl Config {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        context.local_only("config")?;
        match self {
            Self::Check => check(context).await,
            Self::Show(show) => {
                let site = context.site()?;
                let values = site.config.effective().iter();
                let values: Vec<&EffectiveValue> = values
                    .filter(|value| show.effective || value.origin != Origin::Default)
                    .collect();
                let rows: Vec<_> = values
                    .iter()
                    .map(|value| {
                        json!({
                            "key": value.key, "value": value.shown(), "origin": origin(&value.origin),
                        })
                    })
                    .collect();
                context.out.show(&json!({ "values": rows }), |_| {
                    let mut table = Table::new(&["key", "value", "origin"]);
                    for value in &values {
                        table.row([&value.key, &value.shown(), &origin(&value.origin)]);
                    }
                    table.or("Everything is as by default; --effective shows it.")
                })?;
                Ok(Exit::Done)
            }
        }
    }
}

async fn check(context: &Context) -> Result<Exit, CliError> {
    let site = match Site::load_whole(&context.dir, context.config.as_deref()) {
        Ok(site) => site,
        Err(StartError::Findings(findings)) => return policy::report(context.out, &findings, ""),
        Err(_) => context.site()?, // says why
    };
    let mut findings = site.warnings.clone();
    findings.extend(daemon::findings(&site));
    findings.extend(daemon::unwritable_files(&site));
    findings.extend(Theme::load(&site.dir).1);
    findings.extend(certificates(&site));
    findings.extend(restart(&site).await);
    policy::report(
        context.out,
        &findings,
        "No fault in configuration and policies.",
    )
}

/// What clients refuse, or soon will, of the certificates of the HTTPS listeners, of EAP and of RADIUS over TLS. Files
/// that are no certificates are among the findings of the daemon.
fn certificates(site: &Site) -> Vec<Diagnostic> {
    let (http, radius) = (&site.config.http, &site.config.radius);
    let pairs = [&http.tls, &radius.eap].into_iter().flatten();
    let validity = |files: &config::Tls| {
        let tls = Tls::load(&files.certificate, &files.key).ok()?;
        Some(concerns(&files.certificate, &tls.validity()))
    };
    let mut found: Vec<Diagnostic> = pairs.filter_map(validity).flatten().collect();
    if let Some(files) = &radius.tls
        && let Ok(tls) = RadiusTls::load(files)
    {
        found.extend(concerns(&files.certificate, &tls.validity()));
    }
    found
}

fn concerns(file: &Path, validity: &Validity) -> Vec<Diagnostic> {
    let file = file.display();
    let concerns = validity.concerns(SystemClock.now()).into_iter();
    let finding = |concern: Concern| {
        let what = format!("{file}: {}", concern.what);
        let finding = if concern.is_refused {
            Diagnostic::error(what)
        } else {
            Diagnostic::warning(what)
        };
        finding.help("renew the certificate, then `oncegate reload`")
    };
    concerns.map(finding).collect()
}

/// What the running daemon, if there is one, takes at its next start only.
async fn restart(site: &Site) -> Vec<Diagnostic> {
    let Some(api) = Transport::of_daemon(&site.socket()).await else {
        return Vec::new();
    };
    // A daemon that does not answer is not what is being checked.
    let compared = api.ask::<CompareFiles>(()).await;
    let restart = compared.map_or_else(|_| Vec::new(), |compared| compared.restart);
    let findings = restart.iter().map(|change| {
        Diagnostic::warning(reload::restart(change)).help("restart the daemon to use it")
    });
    findings.collect()
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Default => "default".to_owned(),
        Origin::Env { name } => name.clone(),
        Origin::File { file, line } => format!("{file}:{line}"),
    }
}
