//! No secret leaves: not in a log at trace level, not in an answer, not in the files at rest
//! (threats T24, T29).

use std::fs;
use std::path::Path;

use crate::support::daemon::Site;
use crate::support::net::{Http, Radius};

/// Eight digits, so that no timestamp looks like one.
const CODES: [&str; 4] = ["84755224", "94287082", "37359152", "26969429"];
/// `12345678901234567890` and its spellings.
const SEED: &[u8] = b"12345678901234567890";
const SEED_BASE32: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
const SEED_HEX: &str = "3132333435363738393031323334353637383930";
const SHARED_SECRET: &str = "canary-shared-secret-a1b2c3";
const PASSWORD: &str = "canary-typed-password";

#[test]
#[allow(clippy::too_many_lines)] // one day of a daemon, in order
fn no_secret_in_any_log_answer_or_file() {
    let site = Site::new();
    site.json(&["user", "add", "alice"]);
    let words = [
        "token",
        "add",
        "alice",
        "--kind",
        "hotp",
        "--digits",
        "8",
        "--active",
        "--secret-stdin",
    ];
    let serial = site.json_with(&words, SEED_BASE32)["serial"]
        .as_str()
        .unwrap()
        .to_owned();
    site.radius_client("nas", SHARED_SECRET);
    let key = site.api_client("app");
    let daemon = site.serve_with(&[("ONCEGATE__LOG__LEVEL", "trace")]);
    let mut answers = Vec::new();

    let mut http = Http::new(daemon.http, &key);
    let mut radius = Radius::new(daemon.radius, SHARED_SECRET);
    for code in [
        CODES[0],
        CODES[0],
        CODES[1],
        PASSWORD,
        "",
        "84755224\r\n",
        "\u{1b}[2J",
    ] {
        answers.push(http.verify("alice", code).unwrap().1.to_string());
    }
    for (user, code) in [
        ("alice", CODES[2]),
        ("alice", CODES[2]),
        ("nobody", PASSWORD),
    ] {
        radius.ask(user, code).expect("an answer");
    }
    let mut stranger = Radius::new(daemon.radius, "not-the-secret");
    stranger.patience(std::time::Duration::from_millis(300));
    assert_eq!(stranger.ask("alice", CODES[3]), None);
    for body in [
        format!(
            r#"{{"user":"alice","otp":"{}","otpp":"{PASSWORD}"}}"#,
            CODES[3]
        ),
        format!(r#"{{"user":"alice","otp":["{PASSWORD}"]}}"#),
        format!(r#"{{"user":"alice","otp":"{PASSWORD}""#),
    ] {
        let (status, answer) = http.send("POST", "/v1/verify", body.as_bytes()).unwrap();
        assert_eq!(status, 400);
        answers.push(String::from_utf8(answer).unwrap());
    }
    let mut admin = Http::new(daemon.http, &site.admin_key);
    for path in [
        "users/alice",
        "tokens",
        "clients",
        "audit",
        "status",
        "policies",
    ] {
        let (status, answer) = admin
            .send("GET", &format!("/v1/admin/{path}"), b"")
            .unwrap();
        assert_eq!(status, 200, "{path}");
        answers.push(String::from_utf8(answer).unwrap());
    }
    let (_, metrics) = http.send("GET", "/metrics", b"").unwrap();
    answers.push(String::from_utf8(metrics).unwrap());
    let resync = format!(r#"{{"first":"{}","second":"{}"}}"#, CODES[3], CODES[0]);
    let path = format!("/v1/admin/tokens/{serial}/resync");
    answers
        .push(String::from_utf8(admin.send("POST", &path, resync.as_bytes()).unwrap().1).unwrap());
    for words in [
        &["audit", "list"][..],
        &["user", "show", "alice"],
        &["client", "show", "nas"],
    ] {
        let output = site.run(words);
        answers.push(String::from_utf8_lossy(&output.stdout).into_owned());
        answers.push(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    assert!(daemon.terminate().success());

    let log = site.log();
    assert!(log.lines().count() > 20, "trace logging was on: {log}");
    let mut canaries = vec![
        SEED_BASE32,
        SEED_HEX,
        SHARED_SECRET,
        PASSWORD,
        &key,
        &site.admin_key,
    ];
    canaries.extend(CODES);
    canaries.push(std::str::from_utf8(SEED).unwrap());
    for canary in &canaries {
        assert!(!log.contains(canary), "`{canary}` is in the log");
        for answer in &answers {
            assert!(
                !answer.contains(canary),
                "`{canary}` is in an answer: {answer}"
            );
        }
    }
    let mut found = Vec::new();
    search(&site.path(), &canaries, &mut found);
    assert!(found.is_empty(), "at rest: {found:?}");
}

fn search(dir: &Path, canaries: &[&str], found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            search(&path, canaries, found);
            continue;
        }
        let Ok(content) = fs::read(&path) else {
            continue;
        };
        for canary in canaries {
            let canary = canary.as_bytes();
            if content.windows(canary.len()).any(|window| window == canary) {
                found.push(format!(
                    "{} in {}",
                    String::from_utf8_lossy(canary),
                    path.display()
                ));
            }
        }
    }
}
