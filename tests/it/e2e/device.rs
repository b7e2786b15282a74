//! The reference device against a real daemon: what it prints, what it keeps, what it never shows.

use std::fs;
use std::path::Path;
use std::process::Output;

use oncegate::daemon;
use oncegate::model::user_key::UserKey;

use crate::support::daemon::Site;
use crate::support::device::{hand_out, pending};

const CODE: &str = "7F3K-9Q2M-44XZ";
const SERIAL: &str = "SERVER-7F3K9Q2M";

/// An installation with a user whose token waits for [`CODE`].
fn invited() -> Site {
    let site = Site::new();
    site.json(&["user", "add", "alice"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let opened = daemon::Site::load(&site.path(), None).unwrap();
        let service = daemon::open(&opened).await.unwrap();
        let alice = UserKey::parse("alice").unwrap();
        pending(&service, &alice, SERIAL, false).await;
        hand_out(&service, SERIAL, &CODE.replace('-', "")).await;
    });
    site
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

fn failed(output: &Output, code: i32, says: &[&str]) {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    for word in says {
        assert!(error.contains(word), "{word}: {error}");
    }
}

#[test]
#[allow(clippy::too_many_lines)] // one day of a device, in order
fn a_device_from_its_first_command_to_its_last() {
    let site = invited();
    let daemon = site.serve_with(&[("ONCEGATE__LOG__LEVEL", "trace")]);
    let server = format!("http://{}", daemon.http);
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let (phone, desk) = (file("phone.json"), file("desk.json"));
    let device = |state: &str, words: &[&str], input: &str| {
        let words = [&["device"], words, &["--state", state]].concat();
        site.run_with(&words, input)
    };

    // Before anything: what to do next is said.
    failed(
        &device(&phone, &["otp"], ""),
        4,
        &["no device is enrolled", "device enroll"],
    );
    let enrol = [
        "enroll",
        "--server",
        &server,
        "--user",
        "alice",
        "--code-stdin",
    ];
    failed(
        &device(&phone, &enrol, "000000000000"),
        1,
        &["ask for a new code"],
    );
    assert!(!Path::new(&phone).exists(), "nothing is left behind");
    let output = device(
        &phone,
        &[&enrol[..], &["--name", "my phone"]].concat(),
        CODE,
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(
        said.contains(SERIAL) && said.contains("device otp"),
        "{said}"
    );
    failed(&device(&phone, &enrol, CODE), 5, &["exists", "--force"]);

    // A code, and only that, on stdout.
    let output = device(&phone, &["otp", "--quiet"], "");
    let first = text(&output.stdout);
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    assert_eq!(first.trim_end().len(), 6, "{first}");
    let output = device(&phone, &["otp", "--json"], "");
    let code: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let second = code["code"].as_str().unwrap().to_owned();
    assert_eq!(code["serial"], SERIAL);

    let output = device(&phone, &["pending"], "");
    assert!(text(&output.stdout).contains(SERIAL));
    let output = device(&phone, &["rename", "pocket"], "");
    assert!(text(&output.stdout).contains("pocket"));
    let output = device(&phone, &["show"], "");
    let said = text(&output.stdout);
    for word in ["alice@default", &server, SERIAL, "pocket", "this one"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    failed(&device(&phone, &["renew"], ""), 5, &["not renewed here"]);

    // Over to another machine, by a URI.
    let output = device(&phone, &["transfer", "--json"], "");
    let transfer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let transfer = transfer["code"].as_str().unwrap().to_owned();
    let uri = oncegate::otpauth::enrol::enrol_uri(
        &server,
        "alice",
        &oncegate::secret::SecretString::from(transfer.as_str()),
    );
    let output = device(
        &desk,
        &["enroll", uri.expose(), "--algorithm", "ecdsa-p256-sha256"],
        "",
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    failed(
        &device(&phone, &["otp"], ""),
        3,
        &["revoked", "enrol it again"],
    );
    let listed = site.json(&["device", "list", "--user", "alice"]);
    let devices = listed["devices"].as_array().unwrap();
    assert_eq!(devices.len(), 2);
    let active = devices.iter().find(|one| one["state"] == "active").unwrap();
    let id = active["device"].as_str().unwrap();
    let set = site.json(&["device", "set", id, "--name", "desk"]);
    assert_eq!(set["name"], "desk");
    site.json(&["device", "remove", id, "--yes"]);
    failed(&device(&desk, &["otp"], ""), 3, &["revoked"]);
    assert!(site.run(&["audit", "verify"]).status.success());
    assert!(daemon.terminate().success());

    // Nothing of it is in the log, the audit or the files of the server.
    let key = |file: &str| {
        let state: serde_json::Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        let pem = state["private_key"].as_str().unwrap();
        pem.lines().nth(1).unwrap().to_owned()
    };
    let plain = CODE.replace('-', "");
    let canaries = [key(&phone), key(&desk), CODE.to_owned(), plain, transfer];
    let log = site.log();
    assert!(log.lines().count() > 10, "trace logging was on: {log}");
    let audit = site.run(&["audit", "export"]);
    let audit = text(&audit.stdout);
    assert!(audit.contains("device_revoke"), "{audit}");
    for canary in &canaries {
        assert!(!log.contains(canary), "`{canary}` is in the log");
        assert!(!audit.contains(canary), "`{canary}` is in the audit");
    }
    // Six digits alone are found in any file; with a quote or a blank around them they are a code.
    for code in [first.trim_end(), second.as_str()] {
        for around in [
            format!("\"{code}\""),
            format!(" {code}"),
            format!("={code}"),
        ] {
            assert!(
                !log.contains(&around) && !audit.contains(&around),
                "{around}"
            );
        }
    }
    let mut files = 0;
    search(&site.path(), &canaries, &mut files);
    assert!(files > 3, "{files}");
}

#[test]
fn a_device_says_what_is_wrong_with_what_it_was_given() {
    let site = Site::new();
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("d.json").to_string_lossy().into_owned();
    let device = |words: &[&str], input: &str| {
        let words = [&["device"], words, &["--state", &state]].concat();
        site.run_with(&words, input)
    };
    let code = "000000000000";
    failed(&device(&["enroll"], code), 2, &["--server"]);
    failed(
        &device(&["enroll", "--server", "http://127.0.0.1:1"], code),
        2,
        &["--user"],
    );
    let far = ["enroll", "--server", "http://192.0.2.1", "--user", "a"];
    failed(&device(&far, code), 2, &["loopback only"]);
    let path = [
        "enroll",
        "--server",
        "http://127.0.0.1:1/otp",
        "--user",
        "a",
    ];
    failed(&device(&path, code), 2, &["without a path"]);
    let nobody = ["enroll", "--server", "http://127.0.0.1:1", "--user", "a"];
    failed(&device(&nobody, code), 3, &["cannot reach"]);
    failed(
        &device(&["enroll", "oncegate://enroll?user=a"], ""),
        2,
        &["server: missing"],
    );
    failed(
        &device(&["enroll"], "otpauth://totp/x"),
        2,
        &["oncegate://enroll"],
    );
    assert!(!Path::new(&state).exists());
    failed(
        &site.run(&["device", "list", "--user", "nobody"]),
        4,
        &["nobody"],
    );
}

fn search(dir: &Path, canaries: &[String], files: &mut usize) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            search(&path, canaries, files);
            continue;
        }
        *files += 1;
        let content = fs::read(&path).unwrap_or_default();
        for canary in canaries {
            let canary = canary.as_bytes();
            let found = content.windows(canary.len()).any(|window| window == canary);
            assert!(!found, "{} in {}", text(canary), path.display());
        }
    }
}
