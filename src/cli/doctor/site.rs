//! What the files of the installation show: configuration, modes, space, certificate, policies.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::cli::doctor::report::{RENEW, Report};
use crate::cli::error::CliError;
use crate::cli::output::count;
use crate::cli::policy;
use crate::config::MasterKey;
use crate::config::target::shown;
use crate::daemon;
use crate::daemon::{Fault, Site};
use crate::model::user_key::CONSOLE;
use crate::policy::Policies;
use crate::server::tls::Tls;
use crate::time::{Clock as _, SystemClock};

pub(in crate::cli) fn config(report: &mut Report, site: &Site) {
    let before = report.0.len();
    for warning in &site.warnings {
        let fix = warning.help.clone();
        report.warning(
            "config",
            warning.placed(),
            fix.unwrap_or_else(|| "see `oncegate config check`".to_owned()),
        );
    }
    let faults = daemon::file_faults(site);
    for fault in faults.iter().filter(|fault| !has_own_check(fault)) {
        let fix = fault.finding.help.clone().unwrap_or_default();
        report.failure("config", fault.finding.placed(), fix);
    }
    for finding in daemon::unwritable_files(site) {
        let fix = finding.help.clone().unwrap_or_default();
        report.warning("config", finding.message, fix);
    }
    if report.0.len() == before {
        report.ok("config", "no fault");
    }
    if site.demo_file().is_some() {
        report.warning(
            "config",
            "this is a quickstart directory: it shows demonstration codes to every administrator",
            "make another for real use: oncegate init --dir DIR",
        );
    }
}

/// Whether the file is named by the check of what it is for: one cause has one line.
fn has_own_check(fault: &Fault) -> bool {
    let sections = [
        "delivery",
        "webhook",
        "policies.dir",
        "radius.dictionary",
        "keys.master",
    ];
    let pairs = [".certificate", ".key"];
    sections.iter().any(|section| fault.is_of(section))
        || pairs.iter().any(|end| fault.key.ends_with(end))
}

/// Who can read the master key can read every OTP key; who can write the directory can replace it. So it is with every
/// other file that holds a secret.
pub(super) fn modes(report: &mut Report, site: &Site) {
    let before = report.0.len();
    private(report, &site.dir, "700");
    match &site.config.keys.master {
        MasterKey::File(path) if is_missing(path) => report.failure(
            "modes",
            format!("there is no {}, the master key", path.display()),
            daemon::PUT_KEY_BACK,
        ),
        MasterKey::File(path) => private(report, path, "600"),
        MasterKey::Env(name) => report.warning(
            "modes",
            format!("the master key is in the environment variable {name}"),
            "keep it in a file (0600) or in a systemd credential: `keys.master`",
        ),
        MasterKey::Credential(_) => {}
        MasterKey::Pkcs11(key) => private(report, &key.pin_file, "600"),
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
    let named = site.config.named_files().into_iter();
    let secrets = named.filter(|file| file.holds.is_secret());
    let secrets: BTreeSet<PathBuf> = secrets.map(|file| file.path).collect();
    for path in &secrets {
        secret(report, &site.dir, path);
    }
    if report.0.len() == before {
        report.ok(
            "modes",
            "directory, store, master key and files with secrets are for one user only",
        );
    }
}

/// A file with a secret that others can read. Where it has another owner than the installation, as root, its group may
/// read it: that is how the daemon does. One that is missing is named by what needs it.
fn secret(report: &mut Report, dir: &Path, path: &Path) {
    let (Ok(home), Ok(file)) = (std::fs::metadata(dir), std::fs::metadata(path)) else {
        return;
    };
    let own = home.uid() == file.uid();
    let mode = file.permissions().mode() & 0o7777;
    let others = if own { 0o077 } else { 0o037 };
    if mode & others == 0 {
        return;
    }
    let (shown, dir) = (path.display(), dir.display());
    let fix = if own {
        format!("chmod 600 {shown}")
    } else {
        format!("chown --reference={dir} {shown} && chmod 600 {shown}")
    };
    report.failure(
        "modes",
        format!("others can enter or read {shown} (mode {mode:04o})"),
        fix,
    );
}

pub(super) fn private(report: &mut Report, path: &Path, wanted: &str) {
    let shown = path.display();
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => report.failure(
            "modes",
            format!("there is no {shown}"),
            "correct its place in oncegate.toml, or put it there again",
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

pub(in crate::cli) fn disk(report: &mut Report, dir: &Path) {
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
            let octets = free.saturating_mul(space.fragment_size());
            if percent < DISK_LOW && octets < DISK_PLENTY {
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
pub(super) fn couriers(report: &mut Report, site: &Site) {
    let gateways = site.config.delivery.gateways.len() as u64;
    match daemon::couriers(site) {
        Ok(_) if gateways == 0 => report.ok("delivery", "no gateway is configured"),
        Ok(_) => {
            let gateways = count(gateways, "gateway");
            report.ok("delivery", format!("{gateways} can be asked"));
        }
        Err(error) => report.failed("delivery", &error.into()),
    }
}

/// What webhooks need before one event can leave: their keys, and someone who answers.
pub(super) async fn webhooks(report: &mut Report, site: &Site) {
    for hook in &site.config.webhooks {
        let what = format!("webhook {}", hook.name);
        match daemon::webhook_answers(hook).await {
            Ok(()) => {
                let url = shown(&hook.url);
                report.ok("webhooks", format!("{what}: {url} can be reached"));
            }
            Err((why, fix)) => report.failure("webhooks", format!("{what}: {why}"), fix),
        }
    }
}

/// The certificates of the HTTPS listeners, of EAP and of RADIUS over TLS, as they are in their files.
pub(super) fn certificate(report: &mut Report, site: &Site) {
    let (http, radius) = (&site.config.http, &site.config.radius);
    for files in [&http.tls, &radius.eap].into_iter().flatten() {
        pair(report, &files.certificate, &files.key);
    }
    if let Some(files) = &radius.tls {
        pair(report, &files.certificate, &files.key);
    }
}

fn pair(report: &mut Report, certificate: &Path, key: &Path) {
    let tls = match Tls::load(certificate, key) {
        Ok(tls) => tls,
        Err(error) => {
            let remedy = error.remedy;
            return report.failure("cert", error.to_string(), remedy);
        }
    };
    let (validity, file) = (tls.validity(), certificate.display());
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
pub(in crate::cli) fn policy_files(report: &mut Report, site: &Site) -> Option<Policies> {
    let sources = daemon::policy_files(&site.config.policies.dir).map_err(CliError::from);
    let policies = match sources.and_then(|sources| policy::parse(&sources, Some(site))) {
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
    let files = policies.iter().count() as u64;
    if outcomes.iter().all(crate::policy::TestOutcome::passed) {
        report.ok(
            "policies",
            format!(
                "{}, {} passed",
                count(files, "file"),
                count(outcomes.len() as u64, "test")
            ),
        );
    }
    if site.config.web.console {
        console(report, &policies);
    }
    Some(policies)
}

/// Whether the people of the console sign in with something that they hold.
fn console(report: &mut Report, policies: &Policies) {
    let Some(policy) = policies.get(CONSOLE) else {
        report.warning(
            "policies",
            "there is no policy `console`: no one signs in to the console",
            "copy policies/console.toml of this version into the policy directory, or set `web.console = false`",
        );
        return;
    };
    for rule in &policy.rules {
        if rule.require.iter().all(|factor| factor.is_knowledge()) {
            report.failure(
                "policies",
                format!(
                    "rule `{}` of the policy `console` asks for nothing that a person holds ({})",
                    rule.name,
                    rule.file_line()
                ),
                "add `otp` to its `require`",
            );
        }
    }
}

/// Percent of free space below which doctor warns, unless so many octets are free.
const DISK_LOW: u64 = 20;
const DISK_PLENTY: u64 = 20 << 30;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::report::State;

    #[test]
    fn a_secret_of_another_owner_may_be_read_by_its_group() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("http.key");
        std::fs::write(&path, "k").unwrap();
        // The root directory stands for an installation of another owner, where this is not root's.
        let owners = [dir.path(), Path::new("/")].map(|dir| std::fs::metadata(dir).unwrap().uid());
        for (mode, own, foreign) in [(0o600, 0, 0), (0o640, 1, 0), (0o660, 1, 1), (0o644, 1, 1)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let failures = |dir: &Path| {
                let mut report = Report::default();
                secret(&mut report, dir, &path);
                report.count(State::Failure)
            };
            assert_eq!(failures(dir.path()), own, "{mode:o}");
            if owners[0] != owners[1] {
                assert_eq!(failures(Path::new("/")), foreign, "{mode:o}");
            }
        }
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
}
