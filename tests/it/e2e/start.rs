//! A daemon that cannot do its work refuses to start, and says what is wrong and what to do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use crate::support::codes::{RFC_SECRET, hotp};
use crate::support::daemon::{Site, command};
use crate::support::net::Http;

fn serve(site: &Site) -> Output {
    site.run(&["serve", "--radius", "127.0.0.1:0", "--http", "127.0.0.1:0"])
}

/// Starting fails, prints nothing on standard output, and names all of `words` on standard error.
fn refuses(site: &Site, words: &[&str]) {
    let output = serve(site);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "it started: {error}");
    assert!(
        output.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    for word in words {
        assert!(error.contains(word), "no `{word}` in: {error}");
    }
}

#[test]
fn a_second_daemon_on_the_same_directory() {
    let site = Site::new();
    let daemon = site.serve();
    refuses(&site, &["in use", "daemon"]);
    assert!(daemon.terminate().success());
    assert!(site.serve().terminate().success(), "nothing was damaged");
}

#[test]
fn a_missing_wrong_or_readable_master_key() {
    let site = Site::new();
    let file = site.path().join("master.key");
    let right = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    refuses(&site, &["master.key", "missing"]);
    fs::write(&file, "0".repeat(64)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    refuses(
        &site,
        &["master key does not open", "its copy from the safe"],
    );
    fs::write(&file, "not a key").unwrap();
    refuses(&site, &["master.key", "64 hexadecimal digits"]);
    fs::write(&file, &right).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    refuses(&site, &["0644", "chmod 600"]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(site.serve().terminate().success(), "nothing was damaged");
}

#[test]
fn mistakes_in_configuration_and_policies_are_all_named_with_their_place() {
    let site = Site::new();
    let config = site.path().join("oncegate.toml");
    fs::write(
        &config,
        "[radius]\nlisten = \"127.0.0.1:0\"\nsecert = 1\n[htpp]\n",
    )
    .unwrap();
    refuses(
        &site,
        &["oncegate.toml:3", "secert", "oncegate.toml:4", "htpp"],
    );
    fs::write(&config, "").unwrap();
    let policy = site.path().join("policies/default.toml");
    fs::write(
        &policy,
        "[[rule]]\nname = \"x\"\nrequire = [\"sms\", \"otp\"]\n",
    )
    .unwrap();
    refuses(&site, &["default.toml:3", "sms"]);
    fs::write(&policy, "[[rule]]\nname = \"x\"\nreqiure = [\"otp\"]\n").unwrap();
    refuses(&site, &["default.toml:3", "did you mean", "require"]);
    fs::write(&policy, crate::support::daemon::NO_DELAY).unwrap();
    assert!(site.serve().terminate().success(), "nothing was damaged");
}

#[test]
fn plain_http_beyond_loopback() {
    let site = Site::new();
    fs::write(
        site.path().join("oncegate.toml"),
        "[http]\nlisten = \"0.0.0.0:0\"\n",
    )
    .unwrap();
    refuses(&site, &["oncegate.toml:2", "insecure"]);
}

#[test]
fn a_directory_that_is_no_installation() {
    let site = Site::new();
    fs::remove_file(site.path().join("oncegate.toml")).unwrap();
    refuses(&site, &["no installation", "oncegate init"]);
}

#[test]
fn a_store_that_was_cut_refuses_to_decide() {
    let site = Site::new();
    site.json(&["user", "add", "alice"]);
    let store = site.path().join("store");
    for entry in fs::read_dir(&store).unwrap() {
        let path = entry.unwrap().path();
        if path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("log-")
        {
            fs::remove_file(path).unwrap();
        }
    }
    refuses(&site, &["audit record"]);
}

#[test]
fn a_full_disk_is_silence_and_503_and_heals() {
    if !nix::unistd::geteuid().is_root() {
        crate::support::skip("a small disk is mounted, which takes root");
        return;
    }
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    let key = site.api_client("app");
    let store = site.path().join("store");
    let copy = site.path().join("store.copy");
    fs::rename(&store, &copy).unwrap();
    fs::create_dir(&store).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=24m,mode=0700", "tmpfs"])
        .arg(&store)
        .output()
        .unwrap();
    if !mounted.status.success() {
        crate::support::skip(&format!(
            "mount: {}",
            String::from_utf8_lossy(&mounted.stderr)
        ));
        return;
    }
    let _unmount = Unmount(store.clone());
    for entry in fs::read_dir(&copy).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, store.join(path.file_name().unwrap())).unwrap();
    }
    let daemon = site.serve();
    let mut http = Http::new(daemon.http, &key);
    assert_eq!(
        http.verify("alice", &hotp(0)).unwrap().1["decision"],
        "accept"
    );
    let ballast = store.join("ballast");
    let mut file = fs::File::create(&ballast).unwrap();
    while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
    // Space that the files hold already lasts for some time; then nothing is decided any more.
    let mut counter = 1;
    let refused = loop {
        let (status, answer) = http.verify("alice", &hotp(counter)).unwrap();
        if status == 503 {
            break answer;
        }
        assert_eq!(answer["decision"], "accept");
        counter += 1;
        assert!(counter < 100_000, "the disk never fills");
    };
    assert_eq!(refused["status"], 503, "{refused}");
    drop(file); // an open file keeps its space
    fs::remove_file(&ballast).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let (status, answer) = http.verify("alice", &hotp(counter)).unwrap();
        if status == 200 {
            // In doubt means used or not, never accepted twice: the next code decides.
            if answer["decision"] == "accept" {
                break;
            }
            counter += 1;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "it does not heal: {answer}\n{}",
            site.log()
        );
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(daemon.terminate().success());
    assert_eq!(site.json(&["audit", "verify"])["intact"], true);
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let done = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .output();
        assert!(done.is_ok_and(|output| output.status.success()) || std::thread::panicking());
    }
}

/// Contract s4: 429 is the client's own rate; others are served.
#[test]
fn a_client_is_held_to_its_rate() {
    let site = Site::new();
    let (busy, calm) = (site.api_client("busy"), site.api_client("calm"));
    let daemon = site.serve_with(&[("ONCEGATE__LIMITS__HTTP_CLIENT_RATE", "5")]);
    let mut busy = Http::new(daemon.http, &busy);
    let statuses: Vec<u16> = (0..30)
        .map(|_| busy.verify("nobody", "000000").unwrap().0)
        .collect();
    assert!(statuses.contains(&200) && statuses.contains(&429));
    let mut calm = Http::new(daemon.http, &calm);
    assert_eq!(calm.verify("nobody", "000000").unwrap().0, 200);
    assert!(daemon.terminate().success());
}

/// An address of this machine is one however it is written.
#[test]
fn loopback_may_be_written_as_an_address_of_ipv6() {
    let at = "[::ffff:127.0.0.1]:0";
    if std::net::TcpListener::bind(at).is_err() {
        crate::support::skip("there is no IPv6 here");
        return;
    }
    let site = Site::new();
    let mut serve = command(&site.path());
    serve.args(["serve", "--radius", "127.0.0.1:0", "--http", at]);
    assert!(site.started(&mut serve).terminate().success());
}
