//! What the daemon reports of itself, or the store that was opened in its place.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::api::{
    AuditQuery, Clients, Gateways, ListAudit, ListGateways, ShowStatus, Status, VerifyAudit,
};
use crate::cli::client::Listing;
use crate::cli::context::Context;
use crate::cli::doctor::report::{RENEW, Report};
use crate::cli::doctor::{methods, places};
use crate::cli::error::CliError;
use crate::cli::output::local_time;
use crate::cli::store;
use crate::cli::transport::Transport;
use crate::core::clock::Jump;
use crate::core::courier::BreakerState;
use crate::daemon::{make_directory, owner};
use crate::model::message::Medium;
use crate::net::{reachable, why_unreachable};
use crate::policy::Policies;

pub(super) async fn daemon(
    report: &mut Report,
    api: &Transport,
    read: Option<(&Policies, &[Medium])>,
    context: &Context,
) -> Result<(), CliError> {
    let status = api.ask::<ShowStatus>(()).await?;
    health(report, &status);
    jobs(report, &status, context);
    clock(report, &status);
    backup(report, &status, context);
    let gateways = api.ask::<ListGateways>(()).await?;
    breakers(report, &gateways, context);
    places::sources(report, api, context).await?;
    let all = Listing::default().fetch(api).await?;
    let names = |policies: &Policies| policies.iter().map(|one| one.name.clone()).collect();
    let names: Option<Vec<String>> = read.map(|(policies, _)| names(policies));
    let names = names.as_deref().unwrap_or(&status.policies);
    clients(report, &all, names, context);
    if let Some((policies, media)) = read {
        notices(report, &all, policies, media);
    }
    reachability(report, &all, &Listening::of(&status, context));
    let latest = AuditQuery {
        limit: Some(LATEST),
        ..AuditQuery::default()
    };
    // A trail that cannot be read is named below.
    let latest = api.find::<ListAudit>(&latest).await.ok();
    methods::weak(report, &all, latest.as_ref(), context);
    let chain = api.ask::<VerifyAudit>(()).await?;
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
    // The journal is named by its check.
    let rows = status
        .damage
        .iter()
        .filter(|one| !store::is_of_journal(one));
    let named = rows.clone().count() as u64;
    let unnamed = status.damaged.saturating_sub(status.damage.len() as u64);
    let damaged = named + unnamed;
    match &status.fault {
        Some(fault) if is_record(fault) => report.failure(
            "store",
            format!("no login is decided: {fault}"),
            store::fix_of_fault(fault),
        ),
        // Where rows or the clock are the cause, they are named with their fix.
        Some(_) if damaged > 0 || behind(status).is_some() => {}
        Some(fault) => report.failure(
            "daemon",
            format!("cannot decide: {fault}"),
            "look at its log; no login is decided until this is mended",
        ),
        None if status.daemon => report.ok("daemon", format!("version {}", status.version)),
        None => report.ok("daemon", "none runs; the store was read directly"),
    }
    for damage in rows {
        report.failure("store", damage, store::fix_of(damage));
    }
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
    if damaged == 0 && status.checkpoint.is_none() && sound {
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

/// What the daemon does beside requests, where it fails.
fn jobs(report: &mut Report, status: &Status, context: &Context) {
    for job in &status.jobs {
        let Some(error) = &job.error else { continue };
        let path = error.split_once(CANNOT_WRITE).map(|(path, _)| path);
        // A directory that is missing was named with the key that names the file: one cause has one line.
        let is_said = |path: &str| {
            let mut said = report.0.iter();
            said.any(|check| check.about == "config" && check.found.contains(path))
        };
        if path.is_some_and(is_said) {
            continue;
        }
        report.warning(
            "daemon",
            format!("the background job `{}` failed: {error}", job.name),
            fix_of_job(error, &context.dir),
        );
    }
}

/// What to do about a job that failed, by its cause.
fn fix_of_job(error: &str, site: &Path) -> String {
    let look = "look at its log; it runs again at the time that `oncegate status` shows";
    let Some((path, cause)) = error.split_once(CANNOT_WRITE) else {
        return look.to_owned();
    };
    let dir = Path::new(path).parent();
    let Some(dir) = dir.filter(|dir| !dir.as_os_str().is_empty()) else {
        return look.to_owned();
    };
    let shown = dir.display();
    if cause.starts_with("No such file") {
        return make_directory(site, dir);
    }
    // The unit of the package makes all but its own directory read-only.
    if cause.starts_with("Read-only") {
        return format!(
            "systemctl edit oncegate, with the lines [Service] and ReadWritePaths={shown}; then systemctl restart \
             oncegate"
        );
    }
    if cause.starts_with("Permission denied") {
        return format!("chown {} {shown}", owner(site));
    }
    look.to_owned()
}

/// Whether a backup was made, and not too long ago.
fn backup(report: &mut Report, status: &Status, context: &Context) {
    let fix = || context.command("backup FILE");
    let made = status
        .last_backup
        .as_ref()
        .and_then(|at| at.parse::<Timestamp>().ok());
    if let Some(made) = made {
        let days = Timestamp::now().duration_since(made).as_secs() / DAY;
        if days >= BACKUP_DAYS {
            report.warning("backup", format!("the last one is {days} days old"), fix());
        } else {
            report.ok(
                "backup",
                format!(
                    "the last one goes up to audit record {}",
                    status.last_backup_seq.unwrap_or_default()
                ),
            );
        }
        return;
    }
    // The identity is written once, when the store is made.
    let site = context
        .server
        .is_none()
        .then(|| context.site().ok())
        .flatten();
    let made = site.and_then(|site| {
        let identity = site.config.store.dir.join("identity.redb");
        std::fs::metadata(identity)
            .ok()?
            .modified()
            .ok()?
            .elapsed()
            .ok()
    });
    let days = made.map_or(0, |age| age.as_secs() / DAY.unsigned_abs());
    if days >= BACKUP_DAYS.unsigned_abs() {
        report.warning(
            "backup",
            format!("none was ever made in {days} days"),
            fix(),
        );
    } else {
        report.ok("backup", "none yet");
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
        if let Some(until) = &client.unsigned_replies_until {
            report.warning(
                "clients",
                format!(
                    "client {name}: replies leave without Message-Authenticator until {}; they can be forged \
                     (CVE-2024-3596)",
                    local_time(until)
                ),
                context.command(&format!("client set {name} --unsigned-replies 0s")),
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

/// Whether a gateway carries the notices of the policies in use.
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
                "policy {} notifies users of {}, and no gateway carries {}: no notice is sent",
                policy.name,
                events.join(", "),
                ways.join(" or ")
            ),
            "configure a gateway: a table [delivery.NAME] in oncegate.toml, then `oncegate reload`",
        );
    }
}

/// Where the daemon listens, or would.
struct Listening {
    radius: Vec<SocketAddr>,
    http: Vec<SocketAddr>,
}

impl Listening {
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
fn reachability(report: &mut Report, clients: &Clients, listening: &Listening) {
    let before = report.0.len();
    for client in &clients.clients {
        if client.kind == "api" {
            if listening.http.is_empty() {
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
                .and_then(|net| why_unreachable(net, &listening.radius))
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
        let http = listening
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

/// How jobs say that a file cannot be written: its path before it, the cause behind it.
const CANNOT_WRITE: &str = " cannot be written: ";
/// How many of the latest records are looked at for weak methods.
const LATEST: usize = 1000;
/// Days after which a backup is old.
const BACKUP_DAYS: i64 = 7;
const DAY: i64 = 86_400;
/// What the service tolerates, in seconds.
const CLOCK_BEHIND: i64 = 30;
const CONNECT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_cannot_write_has_a_command_by_its_cause() {
        let site = Path::new("/nowhere/at/all");
        let fix = |cause: &str| fix_of_job(&format!("/srv/x/log cannot be written: {cause}"), site);
        let made = fix("No such file or directory (os error 2)");
        assert_eq!(made, "install -d -o oncegate -m 0750 /srv/x");
        let opened = fix("Read-only file system (os error 30)");
        assert!(
            opened.contains("systemctl edit oncegate") && opened.contains("ReadWritePaths=/srv/x")
        );
        assert_eq!(
            fix("Permission denied (os error 13)"),
            "chown oncegate /srv/x"
        );
        assert!(fix("No space left on device (os error 28)").contains("its log"));
        assert!(fix_of_job("no answer", site).contains("its log"));
    }
}
