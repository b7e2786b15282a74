//! The program beside a running daemon: over its socket, and over HTTP with a key.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::codes::{RFC_SECRET, hotp};
use crate::support::daemon::Site;

fn text(octets: &[u8]) -> String {
    String::from_utf8(octets.to_vec()).unwrap()
}

/// Lines to be pasted name the addresses of this daemon, not those of a default one.
#[test]
fn lines_to_try_name_the_running_daemon() {
    let site = Site::new();
    let gateway = ["client", "add", "radius", "vpn", "--address", "127.0.0.1"];
    let configured = text(&site.run(&gateway).stdout);
    assert!(configured.contains("127.0.0.1:1812"), "{configured}");
    let daemon = site.serve();
    let app = text(&site.run(&["client", "add", "api", "app"]).stdout);
    let line = format!("http://{}/v1/verify", daemon.http);
    assert!(app.contains(&line), "{app}");
    let rotated = text(&site.run(&["client", "rotate", "vpn"]).stdout);
    assert!(rotated.contains(&daemon.radius.to_string()), "{rotated}");
}

#[test]
fn a_remote_command_has_the_rights_of_its_key() {
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    let only_admin = site.json(&["client", "add", "api", "ops", "--scope", "admin"]);
    let daemon = site.serve();
    let url = format!("http://{}", daemon.http);
    let file = site.path().join("key");
    let file = file.to_str().unwrap();
    let remote = |key: &str, words: &[&str], stdin: &str| {
        std::fs::write(file, key).unwrap();
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let way = ["--server", &url, "--key-file", file];
        site.run_with(&[&way, words].concat(), stdin)
    };
    let verify = ["verify", "alice", "--otp-stdin"];
    let accepted = remote(&site.admin_key, &verify, &hotp(0));
    assert_eq!(accepted.status.code(), Some(0), "{accepted:?}");
    let refused = remote(only_admin["key"].as_str().unwrap(), &verify, &hotp(1));
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert!(
        text(&refused.stderr).contains("scope `verify`"),
        "{refused:?}"
    );
    let unknown = remote("og_nothing", &["user", "list"], "");
    assert_eq!(unknown.status.code(), Some(3), "{unknown:?}");
    let said = text(&unknown.stderr);
    let wanted = format!("the key in {file} is not valid for {url}");
    assert!(said.contains(&wanted), "{said}");
}

/// What the daemon does beside requests is shown with its last run and its next one.
#[test]
fn status_shows_the_background_jobs() {
    let site = Site::new();
    let _daemon = site.serve();
    let status = site.json(&["status"]);
    let jobs = status["jobs"].as_array().unwrap();
    let job = |name: &str| jobs.iter().find(|job| job["name"] == name).unwrap();
    assert!(job("expiry of tokens")["next"].is_string(), "{jobs:?}");
    assert!(job("forgetting of addresses")["last"].is_null(), "{jobs:?}");
    assert!(job("notices to users")["next"].is_null(), "{jobs:?}");
    assert!(jobs.iter().all(|job| job["error"].is_null()), "{jobs:?}");
    let screen = text(&site.run(&["status"]).stdout);
    assert!(screen.contains("expiry of tokens: "), "{screen}");
    assert!(
        screen.contains("notices to users: waits for events"),
        "{screen}"
    );
}
