//! What `doctor` finds where the service is down, or mute.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::daemon::{Site, command};

/// What is found to be wrong, and the fix, with these variables.
fn findings(site: &Site, env: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut doctor = command(&site.path());
    doctor.envs(env.iter().copied()).args(["--json", "doctor"]);
    let report: Value = serde_json::from_slice(&doctor.output().unwrap().stdout).unwrap();
    let checks = report["checks"].as_array().unwrap().iter();
    let bad = checks.filter(|check| check["state"] != "ok");
    let text = |check: &Value, key: &str| check[key].as_str().unwrap().to_owned();
    bad.map(|check| (text(check, "found"), text(check, "fix")))
        .collect()
}

fn configure(site: &Site, change: impl Fn(&str) -> String) {
    let file = site.path().join("oncegate.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, change(&text)).unwrap();
}

fn has(found: &[(String, String)], what: &str, fix: &str) -> bool {
    let mut found = found.iter();
    found.any(|(said, advice)| said.contains(what) && advice.contains(fix))
}

#[test]
fn a_port_that_another_program_has_is_named() {
    let site = Site::new();
    let radius = UdpSocket::bind("127.0.0.1:0").unwrap();
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = [radius.local_addr(), http.local_addr()];
    let [radius_at, http_at] = addresses.map(|at| at.unwrap().to_string());
    let found = findings(
        &site,
        &[
            ("ONCEGATE__RADIUS__LISTEN", radius_at.as_str()),
            ("ONCEGATE__HTTP__LISTEN", http_at.as_str()),
        ],
    );
    for (what, at, key) in [
        ("RADIUS", &radius_at, "radius.listen"),
        ("HTTP", &http_at, "http.listen"),
    ] {
        let what = format!("{what} cannot listen on {at}: a program of the user");
        assert!(has(&found, &what, key), "{found:?}");
    }
    let free = [
        ("ONCEGATE__RADIUS__LISTEN", "127.0.0.1:0"),
        ("ONCEGATE__HTTP__LISTEN", "127.0.0.1:0"),
    ];
    let found = findings(&site, &free);
    assert!(!has(&found, "cannot listen", ""), "{found:?}");
}

/// A gateway that the daemon does not ask, whatever answers there.
#[test]
fn a_gateway_at_an_address_that_is_refused_is_named() {
    let site = Site::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    configure(&site, |text| {
        format!(
            "{text}\n[delivery.relay]\nkind = \"smtp\"\nmedia = [\"email\"]\nhost = \"localhost\"\nport = {port}\n\
             from = \"otp@example.org\"\n"
        )
    });
    let found = findings(&site, &[]);
    let what = "gateway relay: localhost leads to ";
    assert!(has(&found, what, "allow_private = true"), "{found:?}");
    configure(&site, |text| format!("{text}allow_private = true\n"));
    let found = findings(&site, &[]);
    assert!(!has(&found, what, ""), "{found:?}");
}

#[test]
fn a_source_whose_file_is_gone_is_named() {
    let site = Site::new();
    configure(&site, |text| {
        format!(
            "{text}\n[source.people]\nkind = \"file\"\nfile = \"people.csv\"\nevery = \"never\"\n"
        )
    });
    let what = "source people: ";
    let found = findings(&site, &[]);
    assert!(has(&found, what, "source.people.file"), "{found:?}");
    fs::write(site.path().join("people.csv"), "user\nalice\n").unwrap();
    let found = findings(&site, &[]);
    assert!(!has(&found, what, ""), "{found:?}");
}

/// Before the daemon runs, and then: one line, with the command that makes the directory.
#[test]
fn a_file_in_a_directory_that_is_missing_is_named() {
    let site = Site::new();
    let dir = site.path().join("missing");
    let file = dir.join("audit.log");
    let key = format!("[audit]\nship_file = {:?}\n", file.to_str().unwrap());
    configure(&site, |text| text.replace("[audit]\n", &key));
    let told = || {
        let mut found = findings(&site, &[]);
        found.retain(|(said, _)| said.contains(file.to_str().unwrap()));
        found
    };
    let found = told();
    assert_eq!(found.len(), 1, "{found:?}");
    let fix = &found[0].1;
    let made = format!("-m 0750 {}", dir.display());
    assert!(
        fix.starts_with("install -d -o ") && fix.ends_with(&made),
        "{fix}"
    );
    let check = site.run(&["config", "check"]);
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(said.contains("there is no directory"), "{said}");
    assert_eq!(
        check.status.code(),
        Some(0),
        "it keeps no daemon from starting"
    );
    let daemon = site.serve();
    let deadline = Instant::now() + Duration::from_secs(30);
    let fails = || {
        let status = site.json(&["status"]);
        let mut jobs = status["jobs"].as_array().unwrap().iter();
        jobs.any(|job| job["name"] == "audit to a file" && job["error"].is_string())
    };
    while !fails() {
        assert!(Instant::now() < deadline, "{}", site.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(told(), found);
    assert!(daemon.terminate().success());
}
