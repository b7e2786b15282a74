//! `oncegate doctor`: what is wrong or weak here, each with the command that repairs it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use hyper::Method;
use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::api::{AuditChain, Clients, Gateways, Status};
use crate::cli::client::Listing;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::transport::{Transport, admin};
use crate::cli::{policy, store};
use crate::config::MasterKey;
use crate::core::clock::Jump;
use crate::core::courier::BreakerState;
use crate::daemon;
use crate::daemon::Site;
use crate::model::message::Medium;
use crate::policy::Policies;
use crate::server::tls::Tls;
use crate::time::{Clock as _, SystemClock};

mod report;

use report::{Check, Report, State};

/// Look for what is wrong or weak, with a fix for each finding; exit code 1 if there is one
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oncegate doctor --json | jq '.checks[] | select(.state != \"ok\")'\n\
    With --server only what the daemon can tell is looked at."
)]
pub(super) struct Doctor {}

impl Doctor {
    #[allow(clippy::unused_self)] // like its neighbours
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let mut report = Report::default();
        let mut policies = None;
        let mut media = Vec::new();
        if context.server.is_none() {
            let site = Site::load(&context.dir, context.config.as_deref());
            match site {
                Ok(site) => {
                    config(&mut report, &site);
                    modes(&mut report, &site);
                    disk(&mut report, &site.config.store.dir);
                    couriers(&mut report, &site);
                    certificate(&mut report, &site);
                    policies = policy_files(&mut report, &site);
                    let gateways = site.config.delivery.gateways.iter();
                    media.extend(gateways.flat_map(|gateway| gateway.media.iter().copied()));
                }
                Err(_) => {
                    // Read again for its words: a directory without an installation says so.
                    if let Err(error) = context.site() {
                        report.failed("config", &error);
                    }
                }
            }
        }
        match context.transport().await {
            Ok(api) => {
                if let Err(error) = daemon(
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

fn config(report: &mut Report, site: &Site) {
    for warning in &site.warnings {
        let place = warning.file_line().map(|place| format!(" ({place})"));
        let fix = warning.help.clone();
        report.warning(
            "config",
            format!("{}{}", warning.message, place.unwrap_or_default()),
            fix.unwrap_or_else(|| "see `oncegate config check`".to_owned()),
        );
    }
    if site.warnings.is_empty() {
        report.ok("config", "no fault");
    }
    if site.is_quickstart() {
        report.warning(
            "config",
            "this is a quickstart directory: it shows demonstration codes to whoever may ask",
            "make another for real use: oncegate init --dir DIR",
        );
    }
}

/// Who can read the master key can read every OTP key; who can write the directory can replace it.
fn modes(report: &mut Report, site: &Site) {
    let before = report.0.len();
    private(report, &site.dir, "700");
    match &site.config.keys.master {
        MasterKey::File(path) => private(report, path, "600"),
        MasterKey::Env(name) => report.warning(
            "modes",
            format!("the master key is in the environment variable {name}"),
            "keep it in a file (0600) or in a systemd credential: `keys.master`",
        ),
        MasterKey::Credential(_) => {}
    }
    let store = &site.config.store.dir;
    if is_missing(store) {
        report.failure(
            "store",
            format!("there is no directory {}", store.display()),
            "restore it from a backup, or correct `store.dir`",
        );
    } else {
        private(report, store, "700");
    }
    for gateway in &site.config.delivery.gateways {
        if let Some(path) = &gateway.secret_file {
            private(report, path, "600");
        }
    }
    if report.0.len() == before {
        report.ok(
            "modes",
            "directory, store and master key are for one user only",
        );
    }
}

fn private(report: &mut Report, path: &Path, wanted: &str) {
    let shown = path.display();
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => report.failure(
            "modes",
            format!("there is no {shown}"),
            "restore it from a backup, or correct its place in oncegate.toml",
        ),
        Err(error) => report.failure(
            "modes",
            format!("cannot look at {shown}: {error}"),
            "run doctor as the daemon's user",
        ),
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            let mode = metadata.permissions().mode() & 0o7777;
            report.failure(
                "modes",
                format!("others can enter or read {shown} (mode {mode:04o})"),
                format!("chmod {wanted} {shown}"),
            );
        }
        Ok(_) => {}
    }
}

fn is_missing(path: &Path) -> bool {
    std::fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn disk(report: &mut Report, dir: &Path) {
    if is_missing(dir) {
        return; // named already
    }
    let shown = dir.display();
    match nix::sys::statvfs::statvfs(dir) {
        Err(error) => report.warning(
            "disk",
            format!("cannot ask for the free space of {shown}: {error}"),
            "run doctor as the daemon's user",
        ),
        Ok(space) => {
            let (free, all) = (space.blocks_available(), space.blocks().max(1));
            let percent = free.saturating_mul(100) / all;
            if percent < DISK_LOW {
                report.warning(
                    "disk",
                    format!("{percent} % free at {shown}; without space no login is decided"),
                    "free some, or move the store: `store.dir`",
                );
            } else {
                report.ok("disk", format!("{percent} % free"));
            }
        }
    }
}

/// What the gateways need before one message can leave.
fn couriers(report: &mut Report, site: &Site) {
    let count = site.config.delivery.gateways.len();
    match daemon::couriers(site) {
        Ok(_) if count == 0 => report.ok("delivery", "no gateway is configured"),
        Ok(_) => report.ok("delivery", format!("{count} gateways can be asked")),
        Err(error) => report.failed("delivery", &error.into()),
    }
}

/// The certificate of the HTTPS listeners, as it is in its files.
fn certificate(report: &mut Report, site: &Site) {
    let Some(files) = &site.config.http.tls else {
        return;
    };
    let tls = match Tls::load(&files.certificate, &files.key) {
        Ok(tls) => tls,
        Err(error) => {
            let remedy = error.remedy;
            return report.failure("cert", error.to_string(), remedy);
        }
    };
    let (validity, file) = (tls.validity(), files.certificate.display());
    let concerns = validity.concerns(SystemClock.now());
    for concern in &concerns {
        let (found, fix) = (format!("{file}: {}", concern.what), RENEW);
        if concern.is_refused {
            report.failure("cert", found, fix);
        } else {
            report.warning("cert", found, fix);
        }
    }
    if concerns.is_empty() {
        let end = validity.not_after.rfc3339();
        report.ok("cert", format!("valid until {end}, key and chain match"));
    }
}

/// The policies, when they can be read.
fn policy_files(report: &mut Report, site: &Site) -> Option<Policies> {
    let sources = daemon::policy_files(&site.config.policies.dir).map_err(CliError::from);
    let policies = match sources.and_then(|sources| policy::parse(&sources)) {
        Err(error) => {
            report.failed("policies", &error);
            return None;
        }
        Ok(Err(faults)) => {
            for fault in faults {
                report.failure("policies", fault.to_string(), "oncegate policy check");
            }
            return None;
        }
        Ok(Ok(policies)) => policies,
    };
    if let Some(missing) = daemon::no_default(&site.config.policies.dir, &policies) {
        let fix = missing.help.clone().unwrap_or_default();
        report.failure("policies", missing.message, fix);
        return None;
    }
    let outcomes = policies.run_tests();
    for outcome in outcomes.iter().filter(|outcome| !outcome.passed()) {
        report.failure(
            "policies",
            format!(
                "{}: test `{}` fails ({})",
                outcome.policy, outcome.name, outcome.place
            ),
            "oncegate policy test",
        );
    }
    let count = policies.iter().count();
    if outcomes.iter().all(crate::policy::TestOutcome::passed) {
        report.ok(
            "policies",
            format!("{count} files, {} tests passed", outcomes.len()),
        );
    }
    Some(policies)
}

async fn daemon(
    report: &mut Report,
    api: &Transport,
    read: Option<(&Policies, &[Medium])>,
    context: &Context,
) -> Result<(), CliError> {
    let status: Status = api.get(&admin(&["status"])).await?;
    health(report, &status);
    clock(report, &status);
    let gateways: Gateways = api.get(&admin(&["delivery"])).await?;
    breakers(report, &gateways, context);
    let all = Listing::default().fetch(api).await?;
    let names = |policies: &Policies| policies.iter().map(|one| one.name.clone()).collect();
    let names: Option<Vec<String>> = read.map(|(policies, _)| names(policies));
    let names = names.as_deref().unwrap_or(&status.policies);
    clients(report, &all, names, context);
    if let Some((policies, media)) = read {
        notices(report, &all, policies, media);
    }
    reached(report, &all, &Heard::of(&status, context));
    let path = admin(&["audit", "verify"]);
    let chain: AuditChain = api.call(Method::POST, &path, None::<&()>).await?;
    // What keeps the daemon from deciding was said with its fix.
    let is_said = |fault: &String| {
        let known = status.fault.as_ref();
        known.is_some_and(|known| known.contains(fault.as_str()))
    };
    if chain.intact || chain.fault.as_ref().is_some_and(is_said) {
        report.ok(
            "audit",
            format!("{} records as they were written", chain.good),
        );
    } else {
        report.failure(
            "audit",
            store::broken(&chain),
            store::fix_of_journal(&chain),
        );
    }
    // The listeners of another machine are reached through --server, or not from here at all.
    if context.server.is_none() {
        listeners(report, &status).await;
    }
    Ok(())
}

fn health(report: &mut Report, status: &Status) {
    let is_record = |fault: &String| fault.starts_with("audit record ");
    match &status.fault {
        Some(fault) if is_record(fault) => report.failure(
            "store",
            format!("no login is decided: {fault}"),
            store::fix_of_fault(fault),
        ),
        // Where rows or the clock are the cause, they are named with their fix.
        Some(_) if status.damaged > 0 || behind(status).is_some() => {}
        Some(fault) => report.failure(
            "daemon",
            format!("cannot decide: {fault}"),
            "look at its log; no login is decided until this is mended",
        ),
        None if status.daemon => report.ok("daemon", format!("version {}", status.version)),
        None => report.ok("daemon", "none runs; the store was read directly"),
    }
    for damage in &status.damage {
        report.failure("store", damage, store::fix_of(damage));
    }
    let unnamed = status.damaged.saturating_sub(status.damage.len() as u64);
    if unnamed > 0 {
        report.failure(
            "store",
            format!("{unnamed} more rows are damaged"),
            store::REPAIR,
        );
    }
    if let Some(cause) = &status.checkpoint {
        report.failure(
            "store",
            format!("changed rows cannot be written to main.redb: {cause}"),
            "look at the disk and the log; decisions are durable in the journal meanwhile",
        );
    }
    let sound = !status.fault.as_ref().is_some_and(is_record);
    if status.damaged == 0 && status.checkpoint.is_none() && sound {
        report.ok("store", "no row is known to be damaged");
    }
    for concern in &status.certificate {
        report.warning("cert", format!("the one in use: {concern}"), RENEW);
    }
    if status.queue.saturating_mul(5) > status.queue_limit.saturating_mul(4) {
        report.warning(
            "daemon",
            format!(
                "{} of {} places in the queue are taken",
                status.queue, status.queue_limit
            ),
            "look for a slow disk, or for a client that floods: oncegate tail",
        );
    }
}

/// Gateways that are left alone after failures: their messages take another way, or none.
fn breakers(report: &mut Report, gateways: &Gateways, context: &Context) {
    for gateway in &gateways.gateways {
        if gateway.breaker != BreakerState::Closed.as_str() {
            let (name, last) = (&gateway.name, gateway.last_error.as_deref());
            report.warning(
                "delivery",
                format!(
                    "gateway {name} is {} after failures: {}",
                    gateway.breaker,
                    last.unwrap_or("no answer")
                ),
                context.command(&format!("delivery test {name} --to ADDRESS")),
            );
        }
    }
}

/// How many seconds the clock is behind the latest time on record, if no login is decided for that.
fn behind(status: &Status) -> Option<i64> {
    let now = status.now.parse::<Timestamp>().ok()?;
    let seen = status.last_seen.parse::<Timestamp>().ok()?;
    let behind = seen.as_second().saturating_sub(now.as_second());
    (behind > CLOCK_BEHIND).then_some(behind)
}

fn clock(report: &mut Report, status: &Status) {
    if let Some(behind) = behind(status) {
        report.failure(
            "clock",
            format!("{behind} s behind the latest time on record; no login is decided"),
            "set the clock; if it is right now: oncegate clock recover",
        );
    } else if let Some(jump) = &status.clock_jump {
        report.warning("clock", &jump.detail, Jump::REMEDY);
    } else {
        report.ok("clock", "not behind the latest time on record");
    }
}

fn clients(report: &mut Report, clients: &Clients, policies: &[String], context: &Context) {
    let before = report.0.len();
    for client in &clients.clients {
        let name = &client.name;
        let policy = client.policy.as_deref().unwrap_or(crate::policy::DEFAULT);
        if !policies.iter().any(|known| known == policy) {
            report.failure(
                "clients",
                format!("client {name}: policy `{policy}` does not exist; its users are refused"),
                context.command(&format!("client set {name} --policy NAME")),
            );
        }
        let word = client.require_message_authenticator.as_deref();
        if let Some(word @ ("false" | "auto")) = word {
            report.warning(
                "clients",
                format!("client {name}: Message-Authenticator is not required ({word}); replies can be forged (CVE-2024-3596)"),
                context.command(&format!(
                    "client set {name} --require-message-authenticator true"
                )),
            );
        }
    }
    for client in &clients.clients {
        let (name, weakness) = (&client.name, client.weak_secret.as_deref());
        if let Some(weakness) = weakness {
            report.warning(
                "clients",
                format!("client {name}: its shared secret is weak ({weakness}); one captured packet is enough to guess it"),
                context.command(&format!("client rotate {name}")),
            );
        }
    }
    if report.0.len() == before {
        report.ok("clients", format!("{} checked", clients.clients.len()));
    }
}

/// Whether users can be told what the policies in use tell them.
fn notices(report: &mut Report, clients: &Clients, policies: &Policies, media: &[Medium]) {
    let used = clients
        .clients
        .iter()
        .map(|client| client.policy.as_deref());
    let used: Vec<&str> = used
        .map(|policy| policy.unwrap_or(crate::policy::DEFAULT))
        .collect();
    for policy in policies.iter() {
        let notify = &policy.notify;
        let carried = notify.media.iter().any(|wish| {
            let mut media = media.iter();
            media.any(|medium| medium.as_str() == wish.as_str())
        });
        if notify.events.is_empty() || carried || !used.contains(&policy.name.as_str()) {
            continue;
        }
        let events: Vec<&str> = notify.events.iter().map(|event| event.as_str()).collect();
        let ways: Vec<&str> = notify.media.iter().map(|wish| wish.as_str()).collect();
        report.warning(
            "notices",
            format!(
                "policy {} tells users of {}, and no gateway carries {}: they are not told",
                policy.name,
                events.join(", "),
                ways.join(" or ")
            ),
            "configure a gateway: a table [delivery.NAME] in oncegate.toml, then `oncegate reload`",
        );
    }
}

/// Where the daemon listens, or would.
struct Heard {
    radius: Vec<SocketAddr>,
    http: Vec<SocketAddr>,
}

impl Heard {
    fn of(status: &Status, context: &Context) -> Self {
        let read = |all: &[String]| all.iter().filter_map(|one| one.parse().ok()).collect();
        let site = || context.server.is_none().then(|| context.site().ok())?;
        match site().filter(|_| !status.daemon) {
            Some(site) => Self {
                radius: site.config.radius.listen,
                http: site.config.http.listen,
            },
            None => Self {
                radius: read(&status.radius),
                http: read(&status.http),
            },
        }
    }
}

/// Whether clients can reach what listens.
fn reached(report: &mut Report, clients: &Clients, heard: &Heard) {
    let before = report.0.len();
    for client in &clients.clients {
        if client.kind == "api" {
            if heard.http.is_empty() {
                report.warning(
                    "listeners",
                    format!("client {} asks over HTTP, and nothing listens there", client.name),
                    "set `http.enabled = true` and `http.listen` in oncegate.toml, and restart the daemon",
                );
            }
            continue;
        }
        for network in client.addresses.iter().flatten() {
            let Some(why) = network
                .parse::<IpNet>()
                .ok()
                .and_then(|net| deaf(net, &heard.radius))
            else {
                continue;
            };
            let any = if network.contains(':') {
                "[::]:1812"
            } else {
                "0.0.0.0:1812"
            };
            report.warning(
                "listeners",
                format!("client {} ({network}) cannot reach RADIUS: {why}", client.name),
                format!("add \"{any}\", or this machine's address, to `radius.listen` in oncegate.toml (serve --radius), and restart the daemon"),
            );
        }
    }
    if report.0.len() == before && !clients.clients.is_empty() {
        let radius = clients.clients.iter().any(|client| client.kind != "api");
        let http = heard
            .http
            .iter()
            .all(|at| at.ip().to_canonical().is_loopback());
        let app = clients.clients.iter().any(|client| client.kind == "api");
        if radius {
            report.ok(
                "listeners",
                "RADIUS can be reached from every client's address",
            );
        }
        if app && http {
            report.ok(
                "listeners",
                "HTTP listens on loopback: applications ask from this machine, or through a proxy on it",
            );
        }
    }
}

/// Why a client of this network reaches none of the listeners, if so.
fn deaf(network: IpNet, listeners: &[SocketAddr]) -> Option<String> {
    let (address, all) = (network.addr().to_canonical(), listeners);
    let shown = || {
        let all: Vec<String> = all.iter().map(ToString::to_string).collect();
        all.join(", ")
    };
    if all.is_empty() {
        return Some("nothing listens".to_owned());
    }
    let family = |at: &&SocketAddr| {
        // `[::]` takes both families where the system says so; other addresses only their own.
        at.is_ipv4() == address.is_ipv4() || at.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    };
    let same: Vec<&SocketAddr> = all.iter().filter(family).collect();
    if same.is_empty() {
        let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        return Some(format!("no listener is {family} ({})", shown()));
    }
    let local = |at: &&SocketAddr| at.ip().to_canonical().is_loopback();
    // A network that holds loopback among others can be asked from elsewhere as well.
    let only_here = address.is_loopback() && network.prefix_len() >= 8;
    if !only_here && same.iter().all(local) {
        return Some(format!("it listens on loopback only ({})", shown()));
    }
    None
}

/// Where reports of sessions are taken.
fn accounting(status: &Status) -> String {
    if status.accounting.is_empty() {
        return "; accounting is not served: a NAS that waits for answers to it refuses logins \
                (radius.accounting_listen)"
            .to_owned();
    }
    format!("; accounting to {}", status.accounting.join(", "))
}

async fn listeners(report: &mut Report, status: &Status) {
    for listener in &status.http {
        let Ok(address) = listener.parse::<SocketAddr>() else {
            continue;
        };
        let address = reachable(address);
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(_)) => report.ok("listeners", format!("HTTP on {listener} answers")),
            _ => report.failure(
                "listeners",
                format!("HTTP on {listener} does not answer"),
                "look at the daemon's log and at the firewall",
            ),
        }
    }
    if !status.radius.is_empty() {
        report.ok(
            "listeners",
            format!(
                "RADIUS is bound to {}{}",
                status.radius.join(", "),
                accounting(status)
            ),
        );
    }
}

/// Where a listener on "any address" is reached from this machine.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

const RENEW: &str = "renew the certificate, then `oncegate reload`";
/// Percent of free space below which somebody should look.
const DISK_LOW: u64 = 20;
/// What the service tolerates, in seconds.
const CLOCK_BEHIND: i64 = 30;
const CONNECT: Duration = Duration::from_secs(2);

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

    #[test]
    fn a_file_others_can_read_is_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        std::fs::write(&path, "k").unwrap();
        for (mode, failures) in [(0o600, 0), (0o400, 0), (0o640, 1), (0o604, 1)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let mut report = Report::default();
            private(&mut report, &path, "600");
            assert_eq!(report.count(State::Failure), failures, "{mode:o}");
        }
    }

    #[test]
    fn any_address_is_reached_over_loopback() {
        let at = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(at("0.0.0.0:1"), "127.0.0.1:1");
        assert_eq!(at("[::]:1"), "[::1]:1");
        assert_eq!(at("192.0.2.1:1"), "192.0.2.1:1");
    }
}
