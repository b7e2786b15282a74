//! Backup and restore: no code that was used is good again, whatever the backup is and whoever made it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use oncegate::daemon;
use oncegate::model::user_key::UserKey;
use oncegate::otp::totp::TimeStep;
use oncegate::otp::{Algorithm, Digits, Period, hotp as otp};
use oncegate::time::{Clock as _, SystemClock};
use serde_json::{Value, json};

use crate::support::codes::{hotp_of, key_of, secret_of};
use crate::support::daemon::{Daemon, Site, command};
use crate::support::device::{hand_out, pending};
use crate::support::gateway::GatewayDouble;
use crate::support::net::Http;

/// Everything that makes codes, at the user's choice.
const ALL_KINDS: &str = r#"
reject_delay = "0s"
[[rule]]
name = "all"
require = ["otp"]
alternatives = ["sms", "card", "recovery"]
"#;
const ENROLMENT_CODE: &str = "7F3K9Q2M44XZ";

pub(super) fn text(output: &Output) -> String {
    let mut all = String::from_utf8_lossy(&output.stdout).into_owned();
    all.push_str(&String::from_utf8_lossy(&output.stderr));
    all
}

/// Makes a backup of the installation.
pub(super) fn backup(site: &Site, name: &str) -> (PathBuf, Value) {
    let file = site.path().with_file_name(name);
    let made = site.json(&["backup", file.to_str().unwrap()]);
    (file, made)
}

/// The words of a restore with the key of another installation.
fn words<'w>(backup: &'w Path, key: &'w Path) -> [&'w str; 4] {
    let (backup, key) = (backup.to_str().unwrap(), key.to_str().unwrap());
    ["restore", backup, "--master-key", key]
}

/// An installation made of a backup.
pub(super) fn restored(backup: &Path, of: &Site, more: &[&str]) -> (Site, Value) {
    let site = Site::empty();
    let key = of.path().join("master.key");
    let done = site.json(&[&words(backup, &key)[..], more].concat());
    (site, done)
}

pub(super) fn decision(daemon: &Daemon, key: &str, body: &Value) -> Value {
    let mut http = Http::new(daemon.http, key);
    let (status, answer) = http
        .send("POST", "/v1/verify", body.to_string().as_bytes())
        .unwrap();
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    serde_json::from_slice(&answer).unwrap()
}

pub(super) fn totp(user: &str) -> String {
    let step = TimeStep::at(SystemClock.now(), Period::THIRTY).get();
    let code = otp::generate(&key_of(user), Algorithm::Sha1, Digits::SIX, step);
    code.expose().expose().to_owned()
}

/// The answer to a card's challenge, from what is printed on it.
fn cells(card: &Value, prompt: &str) -> String {
    let numbers: Vec<usize> = prompt
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|word| word.parse().ok())
        .collect();
    // "... the first 2 digits of cell 7, the last 2 of cell 31".
    let (first, second) = (numbers[numbers.len() - 3], numbers[numbers.len() - 1]);
    let cell = |number: usize| card["cells"][number - 1].as_str().unwrap();
    let serial = card["serial"].as_str().unwrap();
    let tail = &serial[serial.len() - 3..];
    format!("{tail}{}{}", &cell(first)[..2], &cell(second)[2..])
}

/// A user with every kind of token, and the codes of theirs that were used: what `/v1/verify` was asked.
struct Everything {
    site: Site,
    key: String,
    card: Value,
    recovery: Value,
    phone: PathBuf,
    gateway: GatewayDouble,
}

impl Everything {
    fn new() -> Self {
        let gateway = GatewayDouble::start();
        let site = Site::new();
        fs::write(site.path().join("policies/default.toml"), ALL_KINDS).unwrap();
        let file = site.path().join("oncegate.toml");
        let gateways = format!(
            "[delivery.double]\nkind = \"http\"\nmedia = [\"sms\"]\nallow_private = true\n\
             url = \"http://{}/\"\nbody = '{{\"to\": \"{{to}}\", \"code\": \"{{code}}\"}}'\n",
            gateway.address()
        );
        let config = fs::read_to_string(&file).unwrap() + &gateways;
        fs::write(&file, config).unwrap();
        for user in ["hanna", "tom"] {
            let kind = if user == "tom" { "totp" } else { "hotp" };
            site.enrol(user, kind, &secret_of(user));
        }
        site.json(&["user", "add", "sue", "--phone", "+821012345678"]);
        site.json(&["token", "add", "sue", "--kind", "sms", "--active"]);
        let active = |user: &str, kind: &str| {
            site.json(&["user", "add", user]);
            site.json(&["token", "add", user, "--kind", kind, "--active"])
        };
        let (card, recovery) = (active("carla", "card"), active("rita", "recovery"));
        site.json(&["user", "add", "dora"]);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let opened = daemon::Site::load(&site.path(), None).unwrap();
            let service = daemon::open(&opened).await.unwrap();
            let dora = UserKey::parse("dora").unwrap();
            pending(&service, &dora, "SERVER-7F3K9Q2M", false).await;
            hand_out(&service, "SERVER-7F3K9Q2M", ENROLMENT_CODE).await;
        });
        let key = site.api_client("app");
        let phone = site.path().with_file_name("phone.json");
        Self {
            site,
            key,
            card,
            recovery,
            phone,
            gateway,
        }
    }

    fn device(&self, words: &[&str], input: &str) -> Output {
        let state = ["--state", self.phone.to_str().unwrap()];
        self.site
            .run_with(&[&["device"], words, &state].concat(), input)
    }

    fn begin(&self, daemon: &Daemon, user: &str, factor: &str) -> Value {
        let body = json!({ "user": user, "factor": factor }).to_string();
        let mut http = Http::new(daemon.http, &self.key);
        let (status, answer) = http
            .send("POST", "/v1/challenges", body.as_bytes())
            .unwrap();
        assert_eq!(status, 201, "{}", String::from_utf8_lossy(&answer));
        serde_json::from_slice(&answer).unwrap()
    }
}

/// One code of every kind is made before the backup, and used after it.
#[test]
#[allow(clippy::too_many_lines)] // every kind in turn
fn codes_used_after_the_backup_are_refused_after_the_restore_whatever_their_kind() {
    let all = Everything::new();
    let daemon = all.site.serve();
    let server = format!("http://{}", daemon.http);
    let words = [
        "enroll",
        "--server",
        &server,
        "--user",
        "dora",
        "--code-stdin",
    ];
    let enrolled = all.device(&words, ENROLMENT_CODE);
    assert!(enrolled.status.success(), "{}", text(&enrolled));
    let fetched = all.device(&["otp", "--quiet"], "");
    let fetched = String::from_utf8_lossy(&fetched.stdout).trim().to_owned();
    all.begin(&daemon, "sue", "sms");
    let sent = all.gateway.wait(1).last().unwrap().json()["code"].clone();
    let asked = all.begin(&daemon, "carla", "card");
    let prompt = asked["prompt"].as_str().unwrap();
    let answer = cells(&all.card, prompt);
    let paper = all.recovery["codes"][0].as_str().unwrap();
    let used = [
        json!({ "user": "hanna", "otp": hotp_of("hanna", 0) }),
        json!({ "user": "tom", "otp": totp("tom") }),
        json!({ "user": "sue", "otp": sent }),
        json!({ "user": "carla", "otp": answer, "challenge": asked["id"] }),
        json!({ "user": "rita", "otp": paper }),
        json!({ "user": "dora", "otp": fetched }),
    ];
    let (file, made) = backup(&all.site, "first");
    for body in &used {
        let heard = decision(&daemon, &all.key, body);
        assert_eq!(heard["decision"], "accept", "{body} {heard}");
    }
    assert!(daemon.terminate().success());

    let (again, done) = restored(&file, &all.site, &[]);
    assert_eq!(done["at"], made["head"], "{done}");
    assert_eq!(done["epoch"], 1);
    assert_eq!(again.json(&["store", "verify"])["intact"], true);
    let daemon = again.serve();
    for body in &used {
        let heard = decision(&daemon, &all.key, body);
        assert_eq!(heard["decision"], "reject", "{body}");
        // A card's answer without its challenge, too.
        let mut alone = body.clone();
        alone.as_object_mut().unwrap().remove("challenge");
        assert_eq!(
            decision(&daemon, &all.key, &alone)["decision"],
            "reject",
            "{alone}"
        );
    }
    // The card asks for other cells, and opens with them; a lock does not come with a restore. Challenges are
    // numbered by the second: those of the second of the restore are void.
    std::thread::sleep(Duration::from_secs(1));
    let asked = all.begin(&daemon, "carla", "card");
    let other = asked["prompt"].as_str().unwrap();
    assert_ne!(other, prompt);
    let body = json!({ "user": "carla", "otp": cells(&all.card, other), "challenge": asked["id"] });
    assert_eq!(decision(&daemon, &all.key, &body)["decision"], "accept");
    // A new code by text message opens, and a counter does when it was found again.
    let audit = again.json(&[
        "audit",
        "list",
        "--action",
        "store_restore",
        "--limit",
        "50",
    ]);
    let records = audit["records"].as_array().unwrap();
    assert!(records.len() >= 5, "{audit}");
    let serial = again.json(&["user", "show", "hanna"])["tokens"][0]["serial"].clone();
    let serial = serial.as_str().unwrap();
    assert_eq!(
        again.run(&["token", "resume", serial]).status.code(),
        Some(5)
    );
    let two = format!("{}\n{}\n", hotp_of("hanna", 1), hotp_of("hanna", 2));
    again.json_with(&["token", "resync", serial, "--otp-stdin"], &two);
    again.json(&["token", "resume", serial]);
    let hanna = |counter| json!({ "user": "hanna", "otp": hotp_of("hanna", counter) });
    assert_eq!(decision(&daemon, &all.key, &hanna(2))["decision"], "reject");
    assert_eq!(decision(&daemon, &all.key, &hanna(3))["decision"], "accept");
    assert!(daemon.terminate().success());
    assert_eq!(again.json(&["audit", "verify"])["intact"], true);
}

/// A thousand codes: those used while the backup was made, and those after it.
#[test]
fn a_thousand_codes_used_while_and_after_it_was_made_are_refused() {
    const USERS: u64 = 20;
    const CODES: u64 = 50;
    let site = Site::new();
    let users: Vec<String> = (0..USERS).map(|n| format!("user{n}")).collect();
    for user in &users {
        site.enrol(user, "hotp", &secret_of(user));
    }
    let key = site.api_client("app");
    let daemon = site.serve();
    let begun = AtomicBool::new(false);
    let (file, made) = std::thread::scope(|scope| {
        for user in &users {
            let (begun, key, http) = (&begun, &key, daemon.http);
            scope.spawn(move || {
                let mut http = Http::new(http, key);
                for counter in 0..CODES {
                    let (_, heard) = http.verify(user, &hotp_of(user, counter)).unwrap();
                    assert_eq!(heard["decision"], "accept", "{user} {counter}");
                    begun.store(true, Ordering::Relaxed);
                }
            });
        }
        while !begun.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        backup(&site, "under-load")
    });
    assert!(daemon.terminate().success());
    let last = site.json(&["audit", "list", "--limit", "1"])["records"][0]["seq"].clone();
    assert!(made["head"].as_u64() < last.as_u64(), "{made} {last}");
    let (again, _) = restored(&file, &site, &[]);
    let check = again.json(&["store", "verify"]);
    assert_eq!(check["intact"], true, "{check}");
    // Resynchronised by an attacker who heard two codes that are newer than the backup, it would go
    // forward only; before that it accepts nothing.
    let daemon = again.serve();
    std::thread::scope(|scope| {
        for user in &users {
            let (key, http) = (&key, daemon.http);
            scope.spawn(move || {
                let mut http = Http::new(http, key);
                for counter in 0..CODES {
                    let (_, heard) = http.verify(user, &hotp_of(user, counter)).unwrap();
                    assert_eq!(heard["decision"], "reject", "{user} {counter}");
                }
            });
        }
    });
    assert!(daemon.terminate().success());
}

#[test]
fn a_backup_that_was_changed_cut_or_taken_from_elsewhere_is_refused_by_name() {
    let site = Site::new();
    site.enrol("alice", "hotp", &secret_of("alice"));
    // Without a daemon, and to standard output.
    let (file, _) = backup(&site, "backup");
    let octets = fs::read(&file).unwrap();
    let piped = site.run(&["backup", "-"]);
    assert!(
        piped.status.success() && piped.stdout.starts_with(b"OGBAK1\r\n"),
        "{}",
        text(&piped)
    );
    assert!(
        !octets.windows(5).any(|window| window == b"alice"),
        "it is sealed"
    );
    let bad = file.with_file_name("bad");
    let key = site.path().join("master.key");
    let refused = |octets: &[u8], says: &str| {
        fs::write(&bad, octets).unwrap();
        let empty = Site::empty();
        let output = empty.run(&words(&bad, &key));
        let said = text(&output);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(
            said.contains(says) && said.contains("next:"),
            "{says}: {said}"
        );
        assert!(!empty.path().exists(), "nothing is left: {said}");
    };
    let length = octets.len();
    for offset in [9, 20, 200, length / 2, length - 40, length - 1] {
        let mut flipped = octets.clone();
        flipped[offset] ^= 1;
        refused(
            &flipped,
            if offset < 400 {
                ""
            } else {
                "not as it was written"
            },
        );
    }
    for end in [13, 200, length / 2, length - 1] {
        refused(&octets[..end], "cut short");
    }
    refused(&[&octets[..], b"x"].concat(), "longer than it was written");
    refused(b"", "no backup of oncegate");
    refused(
        b"PK\x03\x04 something else entirely",
        "no backup of oncegate",
    );
    let other = Site::new();
    let (theirs, _) = backup(&other, "theirs");
    refused(&fs::read(theirs).unwrap(), "another installation");
    let newer =
        String::from_utf8_lossy(&octets[12..200]).replacen("\"format\":1", "\"format\":9", 1);
    let newer = [&octets[..12], newer.as_bytes(), &octets[200..]].concat();
    refused(&newer, "format 9");

    // What is there is not overwritten, on either side.
    let output = site.run(&["backup", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    let output = site.run(&["restore", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    assert!(text(&output).contains("overwrites nothing"));
    let daemon = site.serve();
    fs::rename(site.path().join("store"), site.path().join("store.old")).unwrap();
    let output = site.run(&["restore", file.to_str().unwrap()]);
    assert!(
        text(&output).contains("the daemon runs"),
        "{}",
        text(&output)
    );
    assert!(daemon.terminate().success());
    // Without a store the installation takes one back; its configuration stays.
    let done = site.json(&["restore", file.to_str().unwrap()]);
    assert_eq!(done["files"].as_array().unwrap().len(), 1, "{done}");
    assert_eq!(
        site.json(&["user", "show", "alice"])["user"],
        "alice@default"
    );
    // The master key is not in it.
    let empty = Site::empty();
    let output = empty.run(&["restore", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output).contains("--master-key"), "{}", text(&output));
}

#[test]
fn a_restore_goes_back_to_a_record_and_still_knows_the_codes_used_later() {
    let site = Site::new();
    let serial = site.enrol("alice", "hotp", &secret_of("alice"));
    let key = site.api_client("app");
    let daemon = site.serve();
    let at = site.json(&["status"])["audit_seq"].as_u64().unwrap();
    let alice = |counter| json!({ "user": "alice", "otp": hotp_of("alice", counter) });
    for counter in 0..4 {
        assert_eq!(
            decision(&daemon, &key, &alice(counter))["decision"],
            "accept"
        );
    }
    site.json(&["user", "add", "mistake"]);
    assert!(daemon.terminate().success());
    let (file, made) = backup(&site, "backup");
    let (again, done) = restored(&file, &site, &["--at", &at.to_string()]);
    assert_eq!(
        (&done["at"], &done["used_later"]),
        (&json!(at), &json!(1)),
        "{done}"
    );
    assert_eq!(
        again.run(&["user", "show", "mistake"]).status.code(),
        Some(4)
    );
    // Two codes that follow each other, used after that record: they find nothing again.
    let two = format!("{}\n{}\n", hotp_of("alice", 2), hotp_of("alice", 3));
    let output = again.run_with(&["token", "resync", &serial, "--otp-stdin"], &two);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let two = format!("{}\n{}\n", hotp_of("alice", 5), hotp_of("alice", 6));
    again.json_with(&["token", "resync", &serial, "--otp-stdin"], &two);
    assert_eq!(again.json(&["audit", "verify"])["intact"], true);

    let beyond = made["head"].as_u64().unwrap() + 1;
    let empty = Site::empty();
    let master = site.path().join("master.key");
    let at = beyond.to_string();
    let output = empty.run(&[&words(&file, &master)[..], &["--at", &at]].concat());
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    assert!(text(&output).contains("can be restored at the records 0 to"));
}

/// A whole backup and what goes on from it: what was used between and after is used, erased users are erased, and what
/// does not belong together is refused by name.
#[test]
#[allow(clippy::too_many_lines)] // one store through all of it
fn incremental_backups_are_restored_with_the_one_they_go_on_from() {
    let site = Site::new();
    site.enrol("alice", "hotp", &secret_of("alice"));
    let key = site.api_client("app");
    let daemon = site.serve();
    let ask = |daemon: &Daemon, user: &str, counter: u64| {
        decision(
            daemon,
            &key,
            &json!({"user": user, "otp": hotp_of(user, counter)}),
        )["decision"]
            .clone()
    };
    assert_eq!(ask(&daemon, "alice", 0), "accept");
    let (whole, made) = backup(&site, "whole");
    assert!(
        made["since"].is_null() && made["head_mac"].is_string(),
        "{made}"
    );
    assert_eq!(ask(&daemon, "alice", 1), "accept");
    site.enrol("bob", "hotp", &secret_of("bob"));
    site.json(&["user", "add", "carol", "--phone", "+82 10 1234 5678"]);
    let since = |name: &str, before: &Path| {
        let file = site.path().with_file_name(name);
        let words = [
            "backup",
            file.to_str().unwrap(),
            "--since",
            before.to_str().unwrap(),
        ];
        (file.clone(), site.json(&words))
    };
    let (first, made) = since("first", &whole);
    assert!(made["since"].is_string() && made["format"] == 2, "{made}");
    assert_eq!(
        (ask(&daemon, "alice", 2), ask(&daemon, "bob", 0)),
        ("accept".into(), "accept".into())
    );
    site.json(&["user", "erase", "carol", "--yes"]);
    // The data key and the master key are exchanged between.
    site.json(&["key", "rotate", "--data"]);
    let old = site.path().with_file_name("old.key");
    fs::copy(site.path().join("master.key"), &old).unwrap();
    site.json(&["key", "rotate"]);
    let (second, _) = since("second", &first);
    assert_eq!(ask(&daemon, "alice", 3), "accept");
    drop(daemon);

    let empty = Site::empty();
    let new = site.path().join("master.key");
    let restore = |empty: &Site, files: &[&Path], key: &Path| {
        let mut all = vec!["restore"];
        all.extend(files.iter().map(|file| file.to_str().unwrap()));
        all.extend(["--master-key", key.to_str().unwrap()]);
        let output = empty.run(&all);
        (output.status.code().unwrap(), text(&output))
    };
    for (files, code, about) in [
        (&[&*first][..], 2, "which is missing"),
        (&[&whole, &second], 2, "goes on from another one"),
        (&[&whole, &whole], 2, "whole by itself"),
        (&[&first, &whole], 2, "which is missing"),
    ] {
        let (exit, said) = restore(&empty, files, &new);
        assert_eq!(exit, code, "{said}");
        assert!(said.contains(about) && said.contains("next:"), "{said}");
    }
    let (exit, said) = restore(&empty, &[&whole, &first, &second], &old);
    assert_eq!(exit, 3, "the last one is opened by the newer key: {said}");
    let (exit, said) = restore(&empty, &[&whole, &first, &second], &new);
    assert_eq!(exit, 0, "{said}");
    assert_eq!(empty.json(&["store", "verify"])["intact"], true);
    assert_eq!(empty.run(&["user", "show", "carol"]).status.code(), Some(4));
    let daemon = empty.serve();
    for counter in 0..4 {
        assert_eq!(ask(&daemon, "alice", counter), "reject", "{counter}");
    }
    assert_eq!(ask(&daemon, "bob", 0), "reject");
    drop(daemon);
    // The restored store took another course from here on: the backups of the other one are not gone on from.
    let beyond = site.path().with_file_name("beyond");
    let daemon = site.serve();
    assert_eq!(ask(&daemon, "bob", 1), "accept");
    site.json(&[
        "backup",
        beyond.to_str().unwrap(),
        "--since",
        second.to_str().unwrap(),
    ]);
    let file = site.path().with_file_name("other");
    let output = empty.run(&[
        "backup",
        file.to_str().unwrap(),
        "--since",
        beyond.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    assert!(
        text(&output).contains("has not gone on from that backup"),
        "{}",
        text(&output)
    );
    let output = site.run(&[
        "backup",
        file.to_str().unwrap(),
        "--since",
        new.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
}

/// What could not be written by who received it is no backup, with a daemon and without one.
#[test]
fn a_backup_that_was_not_kept_does_not_count() {
    let site = Site::new();
    site.json(&["user", "add", "alice"]);
    let last = || site.status()["last_backup_seq"].clone();
    let kept = || {
        let audit = site.json(&["audit", "list", "--action", "store_backup"]);
        audit["records"].as_array().unwrap().len()
    };
    let lost = || {
        let full = fs::OpenOptions::new().write(true).open("/dev/full");
        let mut backup = command(&site.path());
        backup.args(["backup", "-"]).stdin(Stdio::null());
        let output = backup.stdout(full.unwrap()).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    };
    lost();
    let daemon = site.serve();
    lost();
    assert_eq!((last(), kept()), (Value::Null, 0));

    // A caller of the API: sent and on record as that, and made when the caller says so.
    let mut http = Http::new(daemon.http, &site.admin_key);
    let mut asked = |path: &str, body: &Value| {
        let body = body.to_string();
        http.send("POST", path, body.as_bytes()).unwrap().0
    };
    let (_, made) = backup(&site, "kept");
    assert_eq!((last(), kept()), (made["head"].clone(), 1));
    let audit = site.json(&["audit", "list", "--action", "store_backup_send"]);
    assert!(
        audit.to_string().contains(made["backup"].as_str().unwrap()),
        "{audit}"
    );
    let path = "/v1/admin/backup/confirm";
    let fields = ["backup", "store", "head", "head_mac"];
    let header: serde_json::Map<String, Value> = fields
        .iter()
        .map(|field| ((*field).to_owned(), made[*field].clone()))
        .collect();
    let with = |field: &str, value: Value| {
        let mut header = header.clone();
        header.insert(field.to_owned(), value);
        Value::Object(header)
    };
    for (wrong, status) in [
        (with("head", json!(1)), 409),
        (with("head_mac", json!("00")), 400),
        (with("head_mac", json!("00".repeat(32))), 409),
        (with("store", json!("00".repeat(16))), 409),
        (with("backup", json!("two\nlines")), 400),
        (with("more", json!(1)), 400),
    ] {
        assert_eq!(asked(path, &wrong), status, "{wrong}");
    }
    assert_eq!(kept(), 1);
    assert_eq!(asked(path, &Value::Object(header.clone())), 204);
    assert_eq!((last(), kept()), (made["head"].clone(), 2));
    // One that is older than the last is not the last.
    let (_, newer) = backup(&site, "newer");
    assert_eq!(asked(path, &Value::Object(header)), 204);
    assert_eq!((last(), kept()), (newer["head"].clone(), 4));
    assert!(daemon.terminate().success());

    // Without a daemon.
    let (_, made) = backup(&site, "kept-alone");
    assert_eq!((last(), kept()), (made["head"].clone(), 5));
}
