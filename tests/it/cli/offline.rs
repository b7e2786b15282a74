//! The program on a store without a daemon: life of records, exit codes, `--json`.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

mod init;

/// An installation in a directory of its own.
struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    fn empty() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn new() -> Self {
        let site = Self::empty();
        site.ok(&["init"]);
        site
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("site")
    }

    fn run_with(&self, words: &[&str], stdin: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oncegate"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ONCEGATE")) {
            command.env_remove(name);
        }
        let mut child = command
            .args(words)
            .arg("--dir")
            .arg(self.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that does not read its stdin may have ended already.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        child.wait_with_output().unwrap()
    }

    fn run(&self, words: &[&str]) -> Output {
        self.run_with(words, "")
    }

    /// Runs a command with `--json` that must end with this code; its one document.
    fn exits(&self, code: i32, words: &[&str], stdin: &str) -> Value {
        let mut words = words.to_vec();
        words.push("--json");
        let output = self.run_with(&words, stdin);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{words:?}\n{out}\n{err}");
        assert_eq!(out.lines().count(), 1, "{words:?}: one document\n{out}");
        let document: Value = serde_json::from_str(&out).unwrap();
        if code > 1 {
            assert_eq!(document["error"]["exit"], code, "{words:?}: {document}");
            assert!(!err.contains("\"error\""), "said once: {err}");
        }
        document
    }

    fn ok(&self, words: &[&str]) -> Value {
        self.exits(0, words, "")
    }
}

fn text(octets: &[u8]) -> String {
    String::from_utf8(octets.to_vec()).unwrap()
}

fn names_in(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let files = ["oncegate.toml", "master.key"];
    files
        .iter()
        .map(|name| ((*name).to_owned(), std::fs::read(dir.join(name)).unwrap()))
        .collect()
}

#[test]
fn a_second_init_changes_nothing() {
    let site = Site::empty();
    let made = site.ok(&["init"]);
    assert!(
        made["key"].as_str().is_some_and(|key| key.len() >= 32),
        "{made}"
    );
    assert!(
        made["files"]
            .as_array()
            .is_some_and(|files| files.len() >= 4),
        "{made}"
    );
    let before = names_in(&site.path());
    let error = site.exits(5, &["init"], "");
    assert!(error["error"]["remedy"].is_string(), "{error}");
    assert_eq!(names_in(&site.path()), before);
    let clients = site.ok(&["client", "list"]);
    assert_eq!(clients["clients"].as_array().unwrap().len(), 1);
}

#[test]
fn without_an_installation_there_is_nothing_to_ask() {
    let site = Site::empty();
    let error = site.exits(4, &["user", "list"], "");
    let remedy = error["error"]["remedy"].as_str().unwrap();
    assert!(remedy.contains("oncegate init"), "{error}");
}

#[test]
fn users_live() {
    let site = Site::new();
    let made = site.ok(&[
        "user",
        "add",
        "Alice@Staff",
        "--group",
        "vpn",
        "--phone",
        "+1 212-555-0100",
    ]);
    assert_eq!(made["user"], "alice@staff");
    site.exits(5, &["user", "add", "alice@staff"], "");
    site.exits(4, &["user", "show", "nobody"], "");
    let changed = site.ok(&["user", "set", "alice@staff", "--phone", "", "--class", "x"]);
    assert_eq!(
        (&changed["phone"], &changed["class"]),
        (&Value::Null, &"x".into())
    );
    assert_eq!(changed["groups"], serde_json::json!(["vpn"]));
    site.exits(2, &["user", "set", "alice@staff"], "");
    assert_eq!(
        site.ok(&["user", "disable", "alice@staff"])["disabled"],
        true
    );
    assert_eq!(
        site.ok(&["user", "enable", "alice@staff"])["disabled"],
        false
    );
    site.ok(&["user", "unlock", "alice@staff"]);
    for (option, value, says) in [
        ("--birth-date", "1990-02-30", "no such day"),
        ("--birth-date", "2990-02-03", "in the future"),
        ("--birth-date", "3.2.1990", "YYYY-MM-DD"),
        ("--email", "alice", "name@domain"),
        ("--email", "alice@", "name@domain"),
        ("--email", "a@b@c", "name@domain"),
        ("--phone", "+82 555", "7 to 15 digits"),
        ("--phone", "call me 5555", "digits, spaces, dots"),
    ] {
        let error = site.exits(2, &["user", "set", "alice@staff", option, value], "");
        let detail = error["error"]["detail"].as_str().unwrap();
        assert!(
            detail.starts_with(option) && detail.contains(says),
            "{detail}"
        );
    }
    let groups = ["--group", "b", "--group", "a", "--group", "b"];
    let set = site.ok(&[&["user", "set", "alice@staff"], &groups[..]].concat());
    assert_eq!(set["groups"], serde_json::json!(["b", "a"]));
    site.exits(2, &["user", "add", "bob@r1", "--realm", "r2"], "");
    let bob = ["user", "add", "bob@r1", "--realm", "R1"];
    assert_eq!(site.ok(&bob)["user"], "bob@r1");
    let removed = site.ok(&["user", "remove", "BOB@r1", "--yes"]);
    assert_eq!(removed["removed"], "bob@r1", "{removed}");
    let spaced = text(&site.run(&["user", "add", "Bob Builder"]).stdout);
    assert!(
        spaced.contains("token add 'bob builder@default' --kind"),
        "{spaced}"
    );
    let shown = text(&site.run(&["user", "show", "Bob Builder"]).stdout);
    assert!(shown.contains("token add 'bob builder@default'"), "{shown}");
    // Nobody sits at stdin to be asked: the literal command of a script does what it says.
    site.ok(&["user", "remove", "alice@staff", "--yes"]);
    site.exits(4, &["user", "show", "alice@staff"], "");
}

#[test]
fn lists_are_paged_and_limited() {
    let site = Site::new();
    for name in ["a", "b", "c"] {
        site.ok(&["user", "add", name]);
    }
    let all = site.ok(&["user", "list"]);
    assert_eq!(all["users"].as_array().unwrap().len(), 3);
    let two = site.ok(&["user", "list", "--limit", "2"]);
    assert_eq!(two["users"].as_array().unwrap().len(), 2);
    for name in ["a", "b", "c"] {
        site.ok(&["client", "add", "api", name]);
    }
    let clients = site.ok(&["client", "list", "--limit", "2"]);
    assert_eq!(
        (&clients["clients"][0]["name"], &clients["next"]),
        (&"a".into(), &"admin".into())
    );
    let clients = site.ok(&["client", "list", "--after", "admin"]);
    assert_eq!(
        (&clients["clients"][0]["name"], &clients["next"]),
        (&"b".into(), &Value::Null)
    );
    let next = two["next"].as_str().unwrap();
    let rest = site.ok(&["user", "list", "--after", next]);
    assert_eq!(rest["users"][0]["name"], "c");
}

/// RFC 4226 appendix D: the key and its first codes.
#[test]
fn a_code_is_accepted_once() {
    let site = Site::new();
    site.ok(&["user", "add", "alice"]);
    let words = [
        "token",
        "add",
        "alice",
        "--kind",
        "hotp",
        "--secret-stdin",
        "--active",
    ];
    let made = site.exits(0, &words, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\n");
    assert_eq!(
        (&made["state"], &made["kind"]),
        (&"active".into(), &"hotp".into())
    );
    let verify = ["verify", "alice", "--otp-stdin"];
    let accepted = site.exits(0, &verify, "755224\n");
    assert_eq!(
        (&accepted["decision"], &accepted["user"]),
        (&"accept".into(), &"alice@default".into())
    );
    assert_eq!(site.exits(1, &verify, "755224\n")["decision"], "reject");
    assert_eq!(site.exits(0, &verify, "287082\n")["decision"], "accept");

    let list = site.ok(&["audit", "list", "--user", "alice", "--decision", "reject"]);
    assert_eq!(list["records"][0]["reason"], "used_code");
    assert_eq!(site.ok(&["audit", "verify"])["intact"], true);
    let export = site.run(&["audit", "export"]);
    let seqs: Vec<u64> = text(&export.stdout)
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["seq"]
                .as_u64()
                .unwrap()
        })
        .collect();
    assert!(seqs.len() >= 5 && seqs.is_sorted(), "{seqs:?}");
    let export = site.run(&["audit", "export", "--json"]);
    let array: Vec<Value> = serde_json::from_slice(&export.stdout).unwrap();
    assert_eq!(array.len(), seqs.len(), "one document");
    let none = site.run(&[
        "audit",
        "export",
        "--json",
        "--since",
        "2100-01-01T00:00:00Z",
    ]);
    assert_eq!(text(&none.stdout).trim(), "[]");
    let last = site.run(&["tail", "-n", "2", "--json"]);
    assert_eq!(text(&last.stdout).lines().count(), 2);
}

#[test]
fn the_first_right_code_activates() {
    let site = Site::new();
    site.ok(&["user", "add", "alice"]);
    let words = ["token", "add", "alice", "--kind", "hotp", "--secret-stdin"];
    let made = site.exits(0, &words, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    let serial = made["serial"].as_str().unwrap();
    assert_eq!(made["state"], "pending");
    assert!(
        made["otpauth_uri"]
            .as_str()
            .unwrap()
            .starts_with("otpauth://hotp/")
    );
    let refused = site.run_with(&["token", "confirm", serial, "--otp-stdin"], "000000");
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stderr));
    let shown = site.run(&["token", "show", serial]);
    assert!(text(&shown.stdout).contains("brings it into use, at any login until"));
    site.exits(0, &["verify", "alice", "--otp-stdin"], "755224");
    assert_eq!(site.ok(&["token", "show", serial])["state"], "active");
    site.exits(1, &["verify", "alice", "--otp-stdin"], "755224");
}

#[test]
fn a_token_is_confirmed_suspended_and_revoked() {
    let site = Site::new();
    site.ok(&["user", "add", "alice"]);
    let words = ["token", "add", "alice", "--kind", "hotp", "--secret-stdin"];
    let made = site.exits(0, &words, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    let serial = made["serial"].as_str().unwrap();
    let confirmed = site.exits(0, &["token", "confirm", serial, "--otp-stdin"], "755224");
    assert_eq!(confirmed["state"], "active");
    assert_eq!(site.ok(&["token", "suspend", serial])["state"], "suspended");
    site.exits(5, &["token", "suspend", serial], "");
    assert_eq!(site.ok(&["token", "resume", serial])["state"], "active");
    let list = site.ok(&["token", "list", "--user", "alice"]);
    assert!(list["tokens"][0].get("secret").is_none(), "{list}");
    assert_eq!(
        site.ok(&["token", "revoke", serial, "--yes"])["state"],
        "revoked"
    );
    site.ok(&["token", "remove", serial, "--yes"]);
    site.exits(4, &["token", "show", serial], "");
}

#[test]
fn clients_live() {
    let site = Site::new();
    let words = ["client", "add", "radius", "vpn", "--address", "192.0.2.10"];
    let made = site.ok(&words);
    assert!(
        made["secret"]
            .as_str()
            .is_some_and(|secret| secret.len() >= 32),
        "{made}"
    );
    site.exits(5, &words, "");
    let shown = site.ok(&["client", "show", "vpn"]);
    assert!(
        shown.get("secret").is_none() && shown.get("key").is_none(),
        "{shown}"
    );
    let set = site.ok(&[
        "client",
        "set",
        "vpn",
        "--require-message-authenticator",
        "auto",
    ]);
    assert_eq!(set["require_message_authenticator"], "auto");
    site.exits(4, &["client", "set", "nobody", "--policy", "otp"], "");
    let rotated = site.ok(&["client", "rotate", "vpn", "--grace", "1h"]);
    assert_ne!(rotated["secret"], made["secret"]);
    assert!(rotated["previous_until"].is_string());
    let long = site.exits(2, &["client", "rotate", "vpn", "--grace", "99999d"], "");
    let detail = long["error"]["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("--grace") && detail.contains("90 days"),
        "{detail}"
    );
    let asked = ["verify", "alice", "--client", "vpn", "--otp-stdin"];
    let error = site.exits(5, &asked, "123456");
    assert!(
        error["error"]["detail"]
            .as_str()
            .unwrap()
            .contains("RADIUS"),
        "{error}"
    );
    let key = site.ok(&["client", "add", "api", "app"]);
    assert!(key["key"].is_string());
    site.ok(&["client", "remove", "vpn", "--yes"]);
    site.exits(4, &["client", "show", "vpn"], "");
    // A client that lets replies be forged is a finding.
    assert_eq!(findings(&site, "clients"), [] as [Value; 0]);
    site.ok(&[
        "client",
        "add",
        "radius",
        "old",
        "--address",
        "192.0.2.1",
        "--require-message-authenticator",
        "false",
    ]);
    let found = findings(&site, "clients");
    assert_eq!(found.len(), 1, "{found:?}");
    // So is a shared secret out of a manual, of which the administrator hears at once, too.
    let words = [
        "client",
        "add",
        "radius",
        "weak",
        "--address",
        "192.0.2.2",
        "--secret-stdin",
    ];
    let made = site.run_with(&words, "testing123");
    assert!(
        text(&made.stderr).contains("weak"),
        "{}",
        text(&made.stderr)
    );
    let found = findings(&site, "clients");
    let weak = found
        .iter()
        .find(|check| check["found"].as_str().unwrap().contains("weak:"));
    let fix = weak.unwrap()["fix"].as_str().unwrap();
    assert!(fix.contains("client rotate weak"), "{found:?}");
    site.ok(&["client", "rotate", "weak"]);
    let found = findings(&site, "clients");
    assert!(
        found.iter().all(|check| check["fix"].is_string()),
        "{found:?}"
    );
}

/// What `doctor` finds wrong with one thing; how full this machine's disk is does not matter here.
fn findings(site: &Site, about: &str) -> Vec<Value> {
    let output = site.run(&["doctor", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap().iter();
    let bad = |check: &&Value| check["check"] == about && check["state"] != "ok";
    checks.filter(bad).cloned().collect()
}

#[test]
fn status_without_a_daemon_is_not_ready() {
    let site = Site::new();
    let output = site.run(&["status", "--json"]);
    assert_eq!(output.status.code(), Some(3));
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&status["daemon"], &status["ready"]),
        (&false.into(), &false.into())
    );
    let fault = status["fault"].as_str().unwrap();
    assert!(fault.contains("no daemon runs"), "{status}");
    // What only a person can know is not taken for granted.
    site.exits(2, &["clock", "recover"], "");
}

#[test]
fn policies_are_checked_with_their_place() {
    let site = Site::new();
    assert_eq!(site.ok(&["policy", "check"])["ok"], true);
    assert_eq!(site.ok(&["policy", "test"])["ok"], true);
    let bad = site.path().join("policies").join("vpn.toml");
    std::fs::write(
        &bad,
        "description = \"x\"\nrejct_delay = \"1s\"\n[[rule]]\nname = \"r\"\nrequire = [\"otp\"]\n",
    )
    .unwrap();
    let checked = site.exits(1, &["policy", "check"], "");
    assert_eq!(checked["findings"][0]["line"], 2, "{checked}");
    let people = site.run(&["policy", "check", bad.to_str().unwrap()]);
    assert!(
        text(&people.stdout).contains("^^^"),
        "{}",
        text(&people.stdout)
    );
}

#[test]
fn what_others_typed_does_not_reach_the_terminal() {
    let site = Site::new();
    site.ok(&["user", "add", "mallory"]);
    let hostile = "x\u{1b}[2J\u{7}";
    site.run(&["verify", hostile, "--otp", "123456"]);
    site.run(&["user", "set", "mallory", "--class", hostile]);
    for words in [
        &["audit", "list"][..],
        &["tail", "-n", "50"],
        &["user", "show", "mallory"],
        &["user", "show", hostile],
    ] {
        let output = site.run(words);
        for stream in [&output.stdout, &output.stderr] {
            let shown = text(stream);
            assert!(
                !shown.contains('\u{1b}') && !shown.contains('\u{7}'),
                "{words:?}: {shown:?}"
            );
        }
    }
}

#[test]
fn wrong_usage_is_said_in_json_too() {
    let site = Site::new();
    site.exits(2, &["frobnicate"], "");
    site.exits(
        2,
        &["client", "add", "radius", "vpn", "--address", "vpn.example"],
        "",
    );
    site.exits(
        2,
        &["token", "add", "x", "--kind", "totp", "--secret-stdin"],
        "",
    );
}

/// What comes from the environment is no part of what was typed wrong.
#[test]
fn usage_shows_what_is_missing_only() {
    let output = crate::support::daemon::command(Path::new("somewhere"))
        .args(["user", "add"])
        .output()
        .unwrap();
    let usage = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{usage}");
    assert!(
        usage.contains("<USER>") && !usage.contains("--dir"),
        "{usage}"
    );
    let keyless = Site::empty().run(&["--server", "http://127.0.0.1:1", "user", "list"]);
    assert_eq!(keyless.status.code(), Some(2), "{keyless:?}");
}

#[test]
fn files_of_the_store_are_for_one_user_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let site = Site::new();
    let files = std::fs::read_dir(site.path().join("store")).unwrap();
    let mut seen = 0;
    for file in files.map(Result::unwrap) {
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file:?}");
        seen += 1;
    }
    assert!(seen >= 2, "{seen}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_oncegate"))
        .args(["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

impl Site {
    /// Runs a command that must fail so, with these words in its detail and its remedy; the remedy.
    fn says(
        &self,
        code: i32,
        words: &[&str],
        stdin: &str,
        detail: &[&str],
        remedy: &[&str],
    ) -> String {
        let error = self.exits(code, words, stdin)["error"].clone();
        for (field, wanted) in [("detail", detail), ("remedy", remedy)] {
            let said = error[field].as_str().unwrap_or_default();
            for part in wanted {
                assert!(said.contains(part), "{words:?}: `{part}` is not in {error}");
            }
        }
        error["remedy"].as_str().unwrap_or_default().to_owned()
    }
}

/// What was wrong, where, and what to do next.
#[test]
fn errors_name_the_record_and_the_way_on() {
    let site = Site::new();
    site.ok(&["user", "add", "alice"]);
    site.ok(&["user", "add", "Bob Builder"]);
    let nobody = &["there is no user nobody@default"];
    site.says(
        4,
        &["user", "show", "nobody"],
        "",
        nobody,
        &["oncegate user list"],
    );
    site.says(
        4,
        &["token", "add", "nobody"],
        "",
        nobody,
        &["oncegate user add nobody@default"],
    );
    site.says(
        4,
        &["user", "unlock", "no body"],
        "",
        &["no body"],
        &["'no body@default'"],
    );
    let taken = &["user alice@default exists"];
    site.says(
        5,
        &["user", "add", "Alice"],
        "",
        taken,
        &["oncegate user set alice@default"],
    );
    let spaced = &["user bob builder@default exists"];
    site.says(
        5,
        &["user", "add", "bob builder"],
        "",
        spaced,
        &["set 'bob builder@default'"],
    );
    site.says(
        4,
        &["token", "suspend", "T-9"],
        "",
        &["no token T-9"],
        &["oncegate token list"],
    );
    site.says(
        4,
        &["client", "rotate", "vpn"],
        "",
        &["no client vpn"],
        &["oncegate client list"],
    );
    site.says(
        5,
        &["client", "add", "api", "admin"],
        "",
        &["client admin exists"],
        &["oncegate client rotate admin"],
    );
}

#[test]
fn errors_about_tokens_fit_their_state() {
    let site = Site::new();
    site.ok(&["user", "add", "alice"]);
    let hotp = ["token", "add", "alice", "--kind", "hotp", "--secret-stdin"];
    let key = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    let hotp = site.exits(0, &hotp, key)["serial"]
        .as_str()
        .unwrap()
        .to_owned();
    let totp = site.ok(&["token", "add", "alice"])["serial"]
        .as_str()
        .unwrap()
        .to_owned();
    let (hotp, totp) = (hotp.as_str(), totp.as_str());
    let state = |word: &str| format!("token {hotp} is {word}");
    let pending = state("pending");
    site.says(
        5,
        &["token", "suspend", hotp],
        "",
        &[&pending],
        &["token confirm", "token revoke"],
    );
    site.says(
        5,
        &["token", "resync", hotp],
        "1234567\n2345678\n",
        &[&pending],
        &["token confirm"],
    );

    let wrong = ["token", "confirm", totp, "--otp-stdin"];
    let remedy = site.says(
        1,
        &wrong,
        "000000",
        &[totp, "wrong_code"],
        &["clock", "next code"],
    );
    assert!(!remedy.contains("resync"), "{remedy}");
    let wrong = ["token", "confirm", hotp, "--otp-stdin"];
    let remedy = site.says(1, &wrong, "000000", &[hotp], &["press"]);
    assert!(
        !remedy.contains("resync") && !remedy.contains("clock"),
        "{remedy}"
    );
    site.exits(0, &wrong, "755224");
    let resync = ["token", "resync", hotp, "--otp-stdin"];
    let remedy = site.says(1, &resync, "000000\n000001\n", &[hotp], &["next two codes"]);
    assert!(
        !remedy.contains("resync") && !remedy.contains("clock"),
        "{remedy}"
    );
    site.ok(&["token", "suspend", hotp]);
    let suspended = state("suspended");
    site.says(
        5,
        &["token", "suspend", hotp],
        "",
        &[&suspended],
        &["token resume"],
    );
    site.ok(&["token", "revoke", hotp, "--yes"]);
    let revoked = state("revoked");
    site.says(
        5,
        &["token", "resume", hotp],
        "",
        &[&revoked],
        &["token add alice@default"],
    );
}
