//! What a package needs, by the real tools: systemd-analyze, a supervisor's socket, promtool; first run without questions.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::daemon::{NO_DELAY, Site};
use crate::support::{require, skip};

/// Held by tests that write `target/package`.
static PREPARING: Mutex<()> = Mutex::new(());

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn run(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap();
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

#[test]
fn the_unit_is_valid_and_exposes_little() {
    if !require("systemd-analyze", "systemd") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let unit = fs::read_to_string(root().join("packaging/oncegate.service")).unwrap();
    let unit = unit.replace("/usr/bin/oncegate", env!("CARGO_BIN_EXE_oncegate"));
    let file = dir.path().join("oncegate.service");
    fs::write(&file, unit).unwrap();
    let socket = dir.path().join("oncegate.socket");
    fs::copy(root().join("packaging/oncegate.socket"), &socket).unwrap();
    let (valid, said) = run(Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args([&file, &socket]));
    assert!(valid && !said.contains("oncegate."), "{said}");
    let (within, said) = run(Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", "--threshold=15"])
        .arg(&file));
    assert!(within, "exposure above 1.5: {said}");
}

/// What systemd is told over its socket.
#[test]
fn a_supervisor_is_told_of_start_reload_life_and_end() {
    let site = Site::new();
    let path = site.path().with_file_name("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let heard = |wanted: &str| {
        let mut octets = [0; 1024];
        loop {
            let length = socket
                .recv(&mut octets)
                .unwrap_or_else(|error| panic!("{wanted}: {error}"));
            let text = String::from_utf8_lossy(&octets[..length]).into_owned();
            if text.lines().any(|line| line.starts_with(wanted)) {
                return text;
            }
        }
    };
    let daemon = site.serve_with(&[
        ("NOTIFY_SOCKET", path.to_str().unwrap()),
        ("WATCHDOG_USEC", "300000"),
    ]);
    heard("READY=1");
    heard("WATCHDOG=1");
    heard("WATCHDOG=1");
    daemon.signal(Signal::SIGHUP);
    assert!(heard("RELOADING=1").contains("MONOTONIC_USEC="));
    heard("READY=1");
    daemon.signal(Signal::SIGTERM);
    heard("STOPPING=1");
    assert!(daemon.terminate().success());
}

#[test]
fn the_first_start_makes_an_installation_with_the_key_outside_of_it() {
    let site = Site::empty();
    let key = site.path().with_file_name("key");
    fs::write(&key, "a5".repeat(32)).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let mut serve = crate::support::daemon::command(&site.path());
    serve
        .args([
            "serve",
            "--init",
            "--radius",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
        ])
        .env("ONCEGATE__KEYS__MASTER", format!("file:{}", key.display()));
    // Policies of the site's own, in a volume that takes nothing else.
    let policies = site.path().join("policies");
    fs::create_dir_all(&policies).unwrap();
    fs::set_permissions(site.path(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(policies.join("default.toml"), NO_DELAY).unwrap();
    fs::set_permissions(&policies, fs::Permissions::from_mode(0o555)).unwrap();
    let daemon = site.started(&mut serve);
    assert!(site.path().join("store").is_dir() && !site.path().join("master.key").exists());
    let status = site.json(&["status"]);
    assert_eq!(status["ready"], true);
    assert_eq!(
        status["policies"],
        serde_json::json!(["default"]),
        "{status}"
    );
    assert_eq!(
        fs::read_to_string(policies.join("default.toml")).unwrap(),
        NO_DELAY
    );
    assert!(daemon.terminate().success());
    // The second one uses it.
    let daemon = site.started(&mut serve);
    site.json(&["user", "add", "alice"]);
    assert!(daemon.terminate().success());
}

#[test]
fn all_that_the_package_holds_is_there() {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = toml::from_str(&text).unwrap();
    let deb = &manifest["package"]["metadata"]["deb"];
    let _alone = PREPARING.lock().unwrap();
    let prepared = run(Command::new("sh")
        .arg(root().join("packaging/prepare"))
        .arg(env!("CARGO_BIN_EXE_oncegate")));
    assert!(prepared.0, "{}", prepared.1);
    for asset in deb["assets"].as_array().unwrap() {
        let source = asset[0].as_str().unwrap();
        if source == "target/release/oncegate" {
            continue;
        }
        let (dir, all) = match source.strip_suffix("/*") {
            Some(dir) => (root().join(dir), true),
            None => (root().join(source), false),
        };
        let there = if all {
            fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some())
        } else {
            dir.is_file()
        };
        assert!(there, "{source}");
    }
    assert!(root().join(deb["changelog"].as_str().unwrap()).is_file());
    let mut targets = deb["assets"].as_array().unwrap().iter();
    let licence = "usr/share/doc/oncegate/copyright";
    assert!(targets.any(|asset| asset[1].as_str() == Some(licence)));
    let told = fs::read_to_string(root().join("packaging/copyright")).unwrap();
    for text in ["License: MIT or Apache-2.0", "common-licenses/Apache-2.0"] {
        assert!(told.contains(text), "{text}");
    }
    // What the head of the unit tells to write to is made before.
    let unit = fs::read_to_string(root().join("packaging/oncegate.service")).unwrap();
    assert!(unit.contains("install -d -m 0700 /etc/oncegate\n"));
    let scripts = root().join(deb["maintainer-scripts"].as_str().unwrap());
    for script in ["postinst", "prerm", "postrm"] {
        let (right, said) = run(Command::new("sh").arg("-n").arg(scripts.join(script)));
        assert!(right, "{said}");
    }
    let bill = fs::read(root().join("target/package/sbom.cdx.json")).unwrap();
    let bill: Value = serde_json::from_slice(&bill).unwrap();
    let parts: BTreeSet<&str> = (bill["components"].as_array().unwrap().iter())
        .filter(|part| {
            part["hashes"][0]["content"]
                .as_str()
                .is_some_and(|sum| sum.len() == 64)
        })
        .filter_map(|part| part["name"].as_str())
        .collect();
    for linked in manifest["dependencies"].as_table().unwrap() {
        let name = linked.1.get("package").and_then(toml::Value::as_str);
        assert!(parts.contains(name.unwrap_or(linked.0)), "{}", linked.0);
    }
    assert!(!parts.contains("radius"), "only tests use it");
    let pages = fs::read_dir(root().join("target/package/man"))
        .unwrap()
        .count();
    assert!(pages > 30, "{pages}");
    let bash = root().join("target/package/completions/oncegate.bash");
    let (right, said) = run(Command::new("bash").arg("-n").arg(bash));
    assert!(right, "{said}");
}

/// Names of metrics in a text.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let named = words.filter(|word| word.starts_with("oncegate_"));
    let family = |word: &str| {
        let ends = ["_total", "_bucket", "_sum", "_count"];
        let end = ends.iter().find_map(|end| word.strip_suffix(end));
        end.unwrap_or(word).to_owned()
    };
    named.map(family).collect()
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_there_are() {
    let monitoring = root().join("packaging/monitoring");
    let rules = monitoring.join("oncegate.rules.yaml");
    let dashboard = fs::read_to_string(monitoring.join("oncegate-dashboard.json")).unwrap();
    let parsed: Value = serde_json::from_str(&dashboard).unwrap();
    assert!(parsed["panels"].as_array().unwrap().len() > 10);
    let manual = oncegate::manual::page("operate").unwrap().text;
    let known = metrics(manual);
    for text in [fs::read_to_string(&rules).unwrap(), dashboard] {
        let unknown: Vec<String> = metrics(&text).difference(&known).cloned().collect();
        assert_eq!(unknown, Vec::<String>::new());
    }
    let promtool = root().join("target/tools/promtool");
    if !promtool.is_file() {
        skip("target/tools/promtool is missing (tests/run makes it)");
        return;
    }
    let (right, said) = run(Command::new(promtool).args(["check", "rules"]).arg(&rules));
    assert!(right && said.contains("SUCCESS"), "{said}");
}

#[test]
fn an_upgrade_is_checked_by_the_new_binary() {
    let site = Site::new();
    let daemon = site.serve();
    let check = site.json(&["upgrade", "check"]);
    assert_eq!(check["ok"], true, "{check}");
    let backup: &Path = &site.path().with_file_name("backup");
    site.json(&["backup", backup.to_str().unwrap()]);
    let check = site.json(&["upgrade", "check"]);
    let checks = check["checks"].as_array().unwrap();
    // How full the disk is here is not what is tested.
    let mut others = checks.iter().filter(|one| one["check"] != "disk");
    assert!(others.all(|one| one["state"] == "ok"), "{check}");
    let policy = site.path().join("policies/default.toml");
    fs::write(&policy, "nonsense = 1\n").unwrap();
    let output = site.run(&["upgrade", "check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("policies"));
    assert!(daemon.terminate().success());
}

/// All answers as options; the login is real, and leaves nothing behind.
#[test]
fn setup_makes_an_installation_and_proves_it_by_a_login() {
    let site = Site::empty();
    let words = [
        "setup",
        "--radius",
        "127.0.0.1:18120",
        "--http",
        "127.0.0.1:18080",
        "--client",
        "vpn",
        "--address",
        "192.0.2.1",
        "--policy",
        "otp",
        "--user",
        "alice",
        "--mail-host",
        "mail.example.org",
        "--mail-from",
        "otp@example.org",
    ];
    let made = site.json(&words);
    assert_eq!(made["ok"], true, "{made}");
    assert_eq!(made["checks"].as_array().unwrap().len(), 4, "{made}");
    assert!(made["client"]["secret"].is_string() && made["token"]["otpauth_uri"].is_string());
    let config = site.json(&["config", "show", "--effective"]).to_string();
    assert!(
        config.contains("127.0.0.1:18120") && config.contains("mail.example.org"),
        "{config}"
    );
    let users = site.json(&["user", "list"]);
    assert_eq!(users["users"].as_array().unwrap().len(), 1, "{users}");
    let clients = site.json(&["client", "list"]).to_string();
    assert!(
        clients.contains("vpn") && !clients.contains("setup-test"),
        "{clients}"
    );
    assert_eq!(
        site.run(&words).status.code(),
        Some(5),
        "what is there is not changed"
    );
}

/// A certificate for the first day, which clients who are given it believe; and what cannot be used, before anything
/// is made.
#[test]
fn setup_makes_a_certificate_and_refuses_what_cannot_be_used() {
    if !require("curl", "curl") {
        return;
    }
    let site = Site::empty();
    for (words, about) in [
        (&["--http", "0.0.0.0:8443"][..], "needs a certificate"),
        (&["--self-signed", "otp example"], "is no host name"),
        (&["--self-signed", "x..example"], "is no host name"),
        (
            &["--certificate", "/none", "--key", "/none"],
            "cannot be read",
        ),
        (
            &["--mail-host", "mail.example.org", "--mail-from", "otp"],
            "--mail-from",
        ),
        (
            &["--client", "vpn", "--address", "192.0.2.999"],
            "--address",
        ),
        (&["--client", "vpn"], "--address"),
        (&["--profile", "fortigate"], "--client"),
    ] {
        let words = [&["setup"], words].concat();
        let output = site.run(&words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        assert!(said.contains(about), "{words:?}: {said}");
        assert!(!site.path().exists(), "{words:?}: {said}");
    }
    let made = site.json(&[
        "setup",
        "--radius",
        "127.0.0.1:18122",
        "--http",
        "0.0.0.0:18443",
        "--self-signed",
        "otp.example.com",
        "--client",
        "gate",
        "--address",
        "192.0.2.0/24",
        "--profile",
        "fortigate",
    ]);
    let file = site.path().join("http.pem");
    assert_eq!(made["certificate"], file.to_str().unwrap(), "{made}");
    assert_eq!(made["client"]["profile"], "fortigate", "{made}");
    let mode = |file: &str| {
        let metadata = fs::metadata(site.path().join(file)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode("http.key"), 0o600);
    let daemon = site.serve();
    let port = daemon.http.port();
    let (believed, said) = run(Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--cacert"])
        .arg(&file)
        .args(["--resolve", &format!("otp.example.com:{port}:127.0.0.1")])
        .arg(format!("https://otp.example.com:{port}/healthz")));
    assert!(believed, "{said}");
    assert!(daemon.terminate().success());
}

/// The package as a site has it: under real systemd, from its installation to a login over RADIUS, and through
/// everything that happens to a package afterwards.
#[test]
fn a_package_lives_under_systemd() {
    for (tool, package) in [
        ("systemd-nspawn", "systemd-container"),
        ("dpkg-deb", "dpkg"),
        ("radclient", "freeradius-utils"),
        ("oathtool", "oathtool"),
    ] {
        if !require(tool, package) {
            return;
        }
    }
    let (may_mount, _) = run(Command::new("unshare").args(["--mount", "true"]));
    if !may_mount {
        // A container of systemd needs root; tests that run without it say so.
        eprintln!("SKIPPED a_package_lives_under_systemd: it needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let script = root().join("tests/packaging/life.sh");
    fs::copy(script, dir.path().join("life.sh")).unwrap();
    let mut files = Vec::new();
    let alone = PREPARING.lock().unwrap();
    for version in ["1.0.0", "1.0.1"] {
        let (built, said) = run(Command::new(root().join("packaging/deb"))
            .arg(env!("CARGO_BIN_EXE_oncegate"))
            .args(["--version", version, "--output"])
            .arg(dir.path()));
        assert!(built, "{said}");
        let file = Path::new(said.trim()).file_name().unwrap();
        files.push(file.to_str().unwrap().to_owned());
    }
    drop(alone);
    let script = format!("life.sh {}", files.join(" "));
    let (booted, said) = run(Command::new(root().join("tests/packaging/boot"))
        .arg(dir.path())
        .arg(script));
    assert!(booted, "{said}");
    let (_, lived) = said.split_once("Received Access-Accept\n").expect(&said);
    assert_eq!(lived, LIFE, "{said}");
}

/// What `tests/packaging/life.sh` says after the first login.
const LIFE: &str = "\
Received Access-Reject
-- the unit
enabled
active
NotifyAccess=main
User=oncegate
WatchdogUSec=30s
oncegate 700
active
-- a wrong configuration stops it for good, and says what is wrong
refused
0
oncegate.toml:LINE
active
-- the journal has its lines with their fields
MESSAGE:ready
-- after a kill it is there again, and remembers
active
Received Access-Reject
Received Access-Accept
-- upgrade
active
restarted
1.0.1
Received Access-Reject
Received Access-Accept
-- by sockets that systemd keeps: asked while it is stopped, it answers
inactive
Received Access-Reject
Received Access-Accept
active
1
-- removal leaves the store
inactive
/var/lib/oncegate/store/main.redb
oncegate: /var/lib/oncegate is left as it is; remove it by hand when no code of it is needed any more
/var/lib/oncegate/store/main.redb
-- and it comes back
active
Received Access-Reject
Received Access-Accept
-- root works on the stopped store, and the daemon's user goes on with it
active
Received Access-Reject
Received Access-Accept
-- the master key is a credential, and a second witness lies on another disk
active
Received Access-Reject
Received Access-Accept
oncegate /srv/other-disk/oncegate.witness
systemd-run --pipe --uid=oncegate -p LoadCredentialEncrypted=master
True
-- a store that root restores is the daemon's
active
0
exit 0
";

/// What the image is made of, by the Dockerfile's own words, and nothing else: no shell, no users, no place to write
/// but the volume. The binary is not the static one, so its libraries are there, too.
#[test]
fn the_image_of_the_container_holds_all_that_it_needs() {
    let (may_mount, _) = run(Command::new("unshare").args(["--mount", "true"]));
    if !may_mount {
        eprintln!("SKIPPED the_image_of_the_container_holds_all_that_it_needs: it needs root");
        return;
    }
    let dockerfile = fs::read_to_string(root().join("Dockerfile")).unwrap();
    let (_, image) = dockerfile.split_once("\nFROM gcr.io/").unwrap();
    let image = image.replace("\\\n", " ");
    let line = |word: &str| {
        let mut lines = image.lines();
        lines.find_map(|line| line.strip_prefix(word)).unwrap()
    };
    let words = |word: &str| -> Vec<String> {
        let list = line(word);
        serde_json::from_str(&list[list.find('[').unwrap()..]).unwrap()
    };
    let environment: Vec<(&str, &str)> = line("ENV ")
        .split_whitespace()
        .map(|pair| pair.split_once('=').unwrap())
        .collect();
    let compose = fs::read_to_string(root().join("packaging/compose.yaml")).unwrap();
    let compose: Value = serde_saphyr::from_str(&compose).unwrap();
    let service = &compose["services"]["oncegate"];
    let key = ("ONCEGATE__KEYS__MASTER", "file:/run/secrets/master_key");
    assert!(environment.contains(&key), "{environment:?}");
    assert_eq!(service["environment"][key.0], key.1);
    assert_eq!(service["secrets"][0], "master_key");
    let volume = line("VOLUME ");
    assert_eq!(service["volumes"][0], format!("store:{volume}"));

    let dir = tempfile::tempdir().unwrap();
    let inside = |path: &str| dir.path().join(path.trim_start_matches('/'));
    let (_, libraries) = run(Command::new("ldd").arg(env!("CARGO_BIN_EXE_oncegate")));
    let libraries = libraries
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    let files = libraries.map(|library| (library, library));
    let entry = words("ENTRYPOINT ").remove(0);
    for (from, to) in files.chain([(env!("CARGO_BIN_EXE_oncegate"), &*entry)]) {
        fs::create_dir_all(inside(to).parent().unwrap()).unwrap();
        fs::copy(from, inside(to)).unwrap();
    }
    let user = line("USER ");
    let (id, _) = user.split_once(':').unwrap();
    let id: u32 = id.parse().unwrap();
    for made in [volume, "/run/secrets"] {
        fs::create_dir_all(inside(made)).unwrap();
    }
    fs::set_permissions(inside(volume), fs::Permissions::from_mode(0o700)).unwrap();
    let secret = inside("/run/secrets/master_key");
    fs::write(&secret, "a5".repeat(32)).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    for owned in [&inside(volume), &secret] {
        std::os::unix::fs::chown(owned, Some(id), Some(id)).unwrap();
    }
    let contained = |words: &[String]| {
        let mut command = Command::new("/usr/sbin/chroot");
        command.arg(format!("--userspec={user}")).arg(dir.path());
        command.args(words).env_clear().envs(environment.clone());
        command
    };
    let mut serve = [words("ENTRYPOINT "), words("CMD ")].concat();
    for option in ["--radius", "--http"] {
        serve.extend([option.to_owned(), "127.0.0.1:0".to_owned()]);
    }
    let mut daemon = contained(&serve)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    let mut stdout = std::io::BufReader::new(daemon.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut ready).unwrap();
    assert!(ready.starts_with("ready radius="), "{ready}");
    let (healthy, said) = run(&mut contained(&words("HEALTHCHECK ")));
    assert!(healthy, "{said}");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(daemon.id()).unwrap());
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    assert!(daemon.wait().unwrap().success());
    // And says so while nothing serves.
    assert!(!run(&mut contained(&words("HEALTHCHECK "))).0);
    assert!(!inside(volume).join("master.key").exists());
}
