//! What the installation needs of other machines: names that resolve, and something that answers there.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::api::{ListSources, Sources};
use crate::cli::context::Context;
use crate::cli::doctor::report::Report;
use crate::cli::error::CliError;
use crate::cli::output::count;
use crate::cli::transport::Transport;
use crate::config::sources::Origin;
use crate::config::target::{Host, Reach, Target, refusal};
use crate::daemon::Site;

/// Whether what is named in the configuration is found and answers.
pub(super) async fn places(report: &mut Report, site: &Site) {
    let config = &site.config;
    let mut all: Vec<(&'static str, String, &Target)> = Vec::new();
    // What asks a gateway refuses an address of this machine unless the configuration allows it; the others may be
    // anywhere in the site.
    let mut reaches = Vec::new();
    for gateway in &config.delivery.gateways {
        all.push((
            "delivery",
            format!("gateway {}", gateway.name),
            &gateway.target,
        ));
        reaches.push(gateway.reach);
    }
    for source in &config.sources {
        let what = || format!("source {}", source.name);
        match &source.origin {
            Origin::Ldap(ldap) => {
                all.extend(
                    ldap.servers
                        .iter()
                        .map(|server| ("sources", what(), server)),
                );
            }
            Origin::Sql(sql) => {
                let servers = sql.servers.iter().map(|server| &server.target);
                all.extend(servers.map(|server| ("sources", what(), server)));
            }
            Origin::File(people) => readable(report, &source.name, &people.path),
        }
    }
    let ship = &config.audit.ship;
    if let Some(target) = &ship.syslog {
        all.push(("audit", "audit.ship_syslog".to_owned(), target));
    }
    if let Some((_, target)) = &ship.http {
        all.push(("audit", "audit.ship_http".to_owned(), target));
    }
    reaches.resize(all.len(), Reach::Private);
    let looks = all.iter().zip(reaches);
    let found = join_all(looks.map(|((_, _, target), reach)| look(target, reach))).await;
    let answering = found.iter().filter(|found| matches!(found, Found::Answers));
    if !all.is_empty() && answering.count() == all.len() {
        report.ok(
            "dns",
            "every name in the configuration is found and answers",
        );
    }
    for ((about, what, target), found) in all.iter().zip(found) {
        tell(report, (*about, what.as_str()), target, found);
    }
}

/// What is wrong with a place, if something is.
fn tell(report: &mut Report, (about, what): (&'static str, &str), target: &Target, found: Found) {
    let (host, port) = match &target.host {
        Host::Name(name) => (name.clone(), target.port),
        Host::Address(address) => (address.to_string(), target.port),
    };
    match found {
        Found::Answers => {}
        Found::NoName(why) => report.failure(
            "dns",
            format!("{what}: the name {host} leads nowhere: {why}"),
            format!("getent hosts {host}; correct the name in oncegate.toml, or the resolver of this machine"),
        ),
        Found::Refused(why, can_be_allowed) => report.failure(
            about,
            format!("{what}: {host} leads to {why}: it is not asked, and nothing is sent"),
            if can_be_allowed {
                format!("write `allow_private = true` into the table of {what} in oncegate.toml, then `oncegate reload`")
            } else {
                "name another host in oncegate.toml, then `oncegate reload`".to_owned()
            },
        ),
        Found::Silent(why) => report.warning(
            about,
            format!("{what}: nothing answers at {host}, port {port}: {why}"),
            format!("see that it runs and that the firewall lets this machine through: nc -vz {host} {port}"),
        ),
    }
}

/// Whether the file that a source reads its people from is one that can be read.
fn readable(report: &mut Report, source: &str, path: &Path) {
    let shown = path.display();
    let why = match File::open(path).and_then(|file| file.metadata()) {
        Err(error) => format!("{shown} cannot be read: {error}"),
        Ok(about) if about.is_dir() => format!("{shown} is a directory"),
        Ok(_) => return,
    };
    report.failure(
        "sources",
        format!("source {source}: {why}"),
        format!("see that the system that writes it does, or correct `source.{source}.file` in oncegate.toml"),
    );
}

enum Found {
    Answers,
    NoName(String),
    /// An address that the daemon does not connect to, and whether the configuration can allow it.
    Refused(String, bool),
    Silent(String),
}

async fn look(target: &Target, reach: Reach) -> Found {
    let addresses = match &target.host {
        Host::Address(address) => vec![SocketAddr::new(*address, target.port)],
        Host::Name(name) => {
            match timeout(PATIENCE, lookup_host((name.as_str(), target.port))).await {
                Err(_) => return Found::NoName("no answer in time".to_owned()),
                Ok(Err(error)) => return Found::NoName(error.to_string()),
                Ok(Ok(addresses)) => addresses.collect(),
            }
        }
    };
    if addresses.is_empty() {
        return Found::NoName("it has no address".to_owned());
    }
    // One that is refused refuses the name as a whole, as where the daemon connects.
    for address in &addresses {
        if let Some(why) = refusal(address.ip(), reach) {
            let can_be_allowed = refusal(address.ip(), Reach::Private).is_none();
            return Found::Refused(format!("{}, {why}", address.ip()), can_be_allowed);
        }
    }
    match timeout(PATIENCE, TcpStream::connect(addresses.as_slice())).await {
        Ok(Ok(_)) => Found::Answers,
        Ok(Err(error)) => Found::Silent(error.to_string()),
        Err(_) => Found::Silent("no answer in time".to_owned()),
    }
}

/// How users follow their directories.
pub(super) async fn sources(
    report: &mut Report,
    api: &Transport,
    context: &Context,
) -> Result<(), CliError> {
    let Sources { sources } = api.ask::<ListSources>(()).await?;
    for source in &sources {
        let name = &source.name;
        let before = report.0.len();
        if let Some(error) = &source.error {
            report.failure(
                "sources",
                format!("source {name}: its last run failed: {error}"),
                context.command(&format!("source sync {name} --dry-run")),
            );
        }
        if source
            .password
            .as_deref()
            .is_some_and(|state| state != "closed")
        {
            report.warning(
                "sources",
                format!("source {name} is not asked for passwords at present, after failures"),
                context.command(&format!("source show {name}")),
            );
        }
        if report.0.len() == before {
            let last = source
                .last
                .as_deref()
                .unwrap_or("not since the daemon's start");
            let users = count(source.users as u64, "user");
            report.ok(
                "sources",
                format!("source {name}: {users}, last run {last}"),
            );
        }
    }
    Ok(())
}

/// For one look-up, and for one connection.
const PATIENCE: Duration = Duration::from_secs(3);
