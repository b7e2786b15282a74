//! Fault C4: the audit did not say what changed.

use crate::support::codes::hotp;
use crate::support::daemon::{Daemon, Site};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const POLICY: &str = r#"
reject_delay = "0s"
[[rule]]
name = "contractors"
when = { group = "contractors" }
require = ["pin", "otp"]
[[rule]]
name = "everyone"
require = ["otp"]
"#;

/// The newest record with this action.
fn newest(site: &Site, action: &str) -> Value {
    let audit = site.json(&["audit", "list", "--limit", "200"]);
    let records = audit["records"].as_array().unwrap();
    let found = records.iter().find(|record| record["action"] == action);
    found
        .unwrap_or_else(|| panic!("no {action} in {audit}"))
        .clone()
}

/// What the newest record with this action says of a field: the one of the target.
fn field(site: &Site, action: &str, name: &str) -> Value {
    let record = newest(site, action);
    let changes = record["changes"].as_array().cloned().unwrap_or_default();
    let of_target = |change: &&Value| change["field"] == name && change.get("record").is_none();
    let found = changes.iter().find(of_target);
    found
        .unwrap_or_else(|| panic!("{action} says nothing of {name}: {record}"))
        .clone()
}

fn became(site: &Site, action: &str, name: &str) -> (Value, Value) {
    let field = field(site, action, name);
    (field["before"].clone(), field["after"].clone())
}

fn file(name: &str, text: &str) -> (String, Value) {
    let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(text));
    (format!("policy {name}"), json!(hash))
}

fn hang_up(site: &Site, daemon: &Daemon, reloads: usize) {
    nix::sys::signal::kill(daemon.pid(), nix::sys::signal::Signal::SIGHUP).unwrap();
    // The record is written after the answer to a signal nobody waits for.
    let done = || {
        let audit = site.json(&["audit", "list", "--limit", "200"]);
        let records = audit["records"].as_array().unwrap().iter();
        records
            .filter(|record| record["action"] == "files_reload")
            .count()
            == reloads
    };
    while !done() {
        std::thread::yield_now();
    }
}

/// The same over the daemon's socket and without a daemon.
#[test]
fn every_field_is_on_record_before_and_after() {
    for online in [true, false] {
        let site = Site::new();
        let daemon = online.then(|| site.serve());
        site.json(&["user", "add", "kim", "--group", "a", "--group", "b"]);
        assert_eq!(
            field(&site, "user_add", "groups")["added"],
            json!(["a", "b"])
        );
        site.json(&["user", "set", "kim", "--phone", "+821012345678"]);
        assert_eq!(
            became(&site, "user_set", "phone"),
            (json!(null), json!("+821012345678"))
        );
        site.json(&[
            "user",
            "set",
            "kim",
            "--phone",
            "+821087654321",
            "--group",
            "b",
            "--group",
            "c",
        ]);
        assert_eq!(
            became(&site, "user_set", "phone"),
            (json!("+821012345678"), json!("+821087654321"))
        );
        let groups = field(&site, "user_set", "groups");
        assert_eq!(
            (&groups["added"], &groups["removed"]),
            (&json!(["c"]), &json!(["a"]))
        );
        site.json(&["user", "set", "kim", "--phone", ""]);
        assert_eq!(
            became(&site, "user_set", "phone"),
            (json!("+821087654321"), json!(null))
        );
        site.json(&["user", "disable", "kim"]);
        assert_eq!(
            became(&site, "user_set", "disabled"),
            (json!("no"), json!("yes"))
        );

        site.json(&[
            "user",
            "bypass",
            "kim",
            "--reason",
            "telephone lost",
            "--for",
            "4h",
        ]);
        let (before, after) = became(&site, "bypass_grant", "bypass");
        assert_eq!(before, json!(null));
        assert!(
            after.as_str().unwrap().ends_with(": telephone lost"),
            "{after}"
        );
        site.json(&["user", "bypass", "kim", "--end"]);
        assert_eq!(became(&site, "bypass_end", "bypass"), (after, json!(null)));

        let token = site.json(&["token", "add", "kim", "--kind", "totp", "--active"]);
        let serial = token["serial"].as_str().unwrap();
        assert_eq!(
            became(&site, "token_add", "state"),
            (json!(null), json!("active"))
        );
        site.json(&["token", "suspend", serial]);
        assert_eq!(
            became(&site, "token_suspend", "state"),
            (json!("active"), json!("suspended"))
        );

        site.json(&["client", "add", "radius", "vpn", "--address", "192.0.2.1"]);
        site.json(&[
            "client",
            "set",
            "vpn",
            "--require-message-authenticator",
            "auto",
        ]);
        assert_eq!(
            became(&site, "client_set", "require_message_authenticator"),
            (json!("true"), json!("auto"))
        );
        site.json(&["client", "rotate", "vpn", "--grace", "1h"]);
        assert_eq!(field(&site, "client_set", "secret")["secret"], "changed");

        // What goes with the user is named with its own record.
        site.json(&["user", "remove", "kim", "--yes"]);
        let removed = newest(&site, "user_remove");
        let gone = removed["changes"].as_array().unwrap().iter();
        let token = gone
            .clone()
            .find(|change| change["record"] == format!("token {serial}"));
        assert!(token.is_some(), "{removed}");
        let groups = gone
            .clone()
            .find(|change| change["field"] == "groups")
            .unwrap();
        assert_eq!(groups["removed"], json!(["b", "c"]));
        drop(daemon);
    }
}

#[test]
fn no_secret_is_in_a_change() {
    let site = Site::new();
    let secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";
    let serial = site.enrol("kim", "totp", secret);
    site.json_with(
        &["user", "set", "kim", "--password-stdin"],
        "correct horse battery staple",
    );
    assert_eq!(field(&site, "credentials_set", "password")["secret"], "set");
    site.json_with(
        &["user", "set", "kim", "--password-stdin"],
        "another horse battery staple",
    );
    assert_eq!(
        field(&site, "credentials_set", "password")["secret"],
        "changed"
    );
    site.json_with(&["user", "set", "kim", "--pin-stdin"], "739154");
    assert_eq!(field(&site, "credentials_set", "pin")["secret"], "set");
    site.radius_client("vpn", "a shared secret of the test");
    let key = site.api_client("web");
    site.json(&["token", "remove", &serial, "--yes"]);
    assert_eq!(field(&site, "token_remove", "key")["secret"], "removed");
    let exported = String::from_utf8(site.run(&["audit", "export"]).stdout).unwrap();
    assert!(exported.contains("\"secret\":\"set\""));
    for secret in [
        secret,
        "horse",
        "739154",
        "a shared secret of the test",
        &key,
        "$argon2",
    ] {
        assert!(!exported.contains(secret), "{secret} is in the audit");
    }
    // The hash of a key is not shown either.
    let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(&key));
    assert!(!exported.contains(&hash));
}

#[test]
fn a_reload_says_which_rule_changed() {
    let site = Site::new();
    let path = site.path().join("policies/default.toml");
    std::fs::write(&path, POLICY).unwrap();
    let daemon = site.serve();
    let weaker = POLICY.replace("[\"pin\", \"otp\"]", "[\"otp\"]") + "[otp]\nback = 2\n";
    std::fs::write(&path, &weaker).unwrap();
    hang_up(&site, &daemon, 1);
    let record = newest(&site, "files_reload");
    let of = |record: &Value, field: &str| -> (Value, Value) {
        let mut changes = record["changes"].as_array().unwrap().iter();
        let found = changes.find(|change| change["field"] == field);
        let found = found.unwrap_or_else(|| panic!("nothing of {field}: {record}"));
        assert_eq!(found["record"], "policy default");
        (found["before"].clone(), found["after"].clone())
    };
    let hashes = (file("default", POLICY).1, file("default", &weaker).1);
    assert_eq!(of(&record, "sha256"), hashes);
    let required = (json!("[\"pin\", \"otp\"]"), json!("[\"otp\"]"));
    assert_eq!(of(&record, "rule contractors.require"), required);
    assert_eq!(of(&record, "otp.back"), (json!(null), json!("2")));

    // A rule more and the others in another order; then nothing.
    let rules: Vec<&str> = POLICY.split("[[rule]]").collect();
    let turned = format!(
        "{}[[rule]]{}[[rule]]{}[[rule]]\nname = \"new\"\nrequire = [\"pin\", \"otp\"]\n",
        rules[0],
        rules[2].replace("require", "when = { group = \"x\" }\nrequire"),
        rules[1],
    );
    std::fs::write(&path, &turned).unwrap();
    hang_up(&site, &daemon, 2);
    let record = newest(&site, "files_reload");
    let changes = record["changes"].as_array().unwrap();
    let rules = changes
        .iter()
        .find(|change| change["field"] == "rules")
        .unwrap();
    assert_eq!(rules["added"], json!(["new"]));
    let order = (
        json!("contractors, everyone"),
        json!("everyone, contractors"),
    );
    assert_eq!(of(&record, "order of rules"), order);
    hang_up(&site, &daemon, 3);
    let record = newest(&site, "files_reload");
    assert_eq!(record["detail"], "no file has changed");
    assert!(record.get("changes").is_none());
    // A file that is refused changes nothing, and is named with what is wrong.
    std::fs::write(&path, "nonsense").unwrap();
    hang_up(&site, &daemon, 4);
    let record = newest(&site, "files_reload");
    let detail = record["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("refused")
            && detail.contains("policies: ")
            && detail.contains("default.toml:1"),
        "{detail}"
    );
    assert!(record.get("changes").is_none());
    // For people, too.
    std::fs::write(&path, POLICY).unwrap();
    hang_up(&site, &daemon, 5);
    let id = newest(&site, "files_reload")["request_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let told = String::from_utf8(site.run(&["explain", &id]).stdout).unwrap();
    assert!(
        told.contains("order of rules: everyone, contractors -> contractors, everyone"),
        "{told}"
    );
    let verified = site.json(&["audit", "verify"]);
    assert_eq!(verified["intact"], true);
}

/// What nobody reloads, because the daemon was down, is seen when it starts.
#[test]
fn files_changed_while_nothing_ran_are_on_record_at_the_start() {
    let site = Site::new();
    let path = site.path().join("policies/default.toml");
    std::fs::write(&path, POLICY).unwrap();
    drop(site.serve());
    let first = newest(&site, "files_load");
    let other = POLICY.replace("[\"pin\", \"otp\"]", "[\"otp\"]");
    std::fs::write(&path, &other).unwrap();
    drop(site.serve());
    let second = newest(&site, "files_load");
    assert_ne!(first["seq"], second["seq"]);
    let changes = second["changes"].as_array().unwrap();
    let (name, after) = file("default", &other);
    assert_eq!(changes.len(), 1, "only one of the files differs: {second}");
    assert_eq!(changes[0]["record"], name);
    assert_eq!(changes[0]["before"], file("default", POLICY).1);
    assert_eq!(changes[0]["after"], after);
    // A start with the same files says nothing.
    drop(site.serve());
    assert_eq!(newest(&site, "files_load")["seq"], second["seq"]);
}

#[test]
fn the_list_of_an_import_is_under_the_chain() {
    let site = Site::new();
    let csv = site.path().join("users.csv");
    let heading = ["user,groups,kind,secret,serial".to_owned()];
    let rows = (b'A'..b'U')
        .map(char::from)
        .enumerate()
        .map(|(n, end)| format!("u{n},staff,totp,JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PX{end},T-{n}"));
    let lines: Vec<String> = heading.into_iter().chain(rows).collect();
    let text = lines.join("\n") + "\n";
    std::fs::write(&csv, text).unwrap();
    site.json(&["user", "import", csv.to_str().unwrap()]);
    let record = newest(&site, "import");
    let seq = record["seq"].to_string();
    let shown = site.json(&["audit", "show", &seq]);
    let list: Vec<&str> = shown["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one.as_str().unwrap())
        .collect();
    assert_eq!(list.len(), 40);
    for n in 0..20 {
        assert!(
            list.contains(&format!("user u{n}@default").as_str()),
            "{list:?}"
        );
        assert!(
            list.contains(&format!("token T-{n} of u{n}@default").as_str()),
            "{list:?}"
        );
    }
    let lines = list.join("\n") + "\n";
    let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(lines));
    assert_eq!(
        became(&site, "import", "records_sha256"),
        (json!(null), json!(hash))
    );
    assert_eq!(shown["records_sha256"], hash);
    let none = site.run(&["audit", "show", "999999"]);
    assert_eq!(none.status.code(), Some(4));
    // For people: the list, and what is in the trail.
    let told = String::from_utf8(site.run(&["audit", "show", &seq]).stdout).unwrap();
    assert!(
        told.contains("token T-7 of u7@default") && told.contains(&hash),
        "{told}"
    );
}

#[test]
fn the_actor_is_a_person_or_a_client() {
    let site = Site::new();
    let uid = nix::unistd::geteuid();
    let name = nix::unistd::User::from_uid(uid)
        .unwrap()
        .map(|user| user.name);
    let person = name.map_or_else(|| format!("uid {uid}"), |name| format!("{name}(uid {uid})"));
    let by = |action: &str| newest(&site, action)["actor"].as_str().unwrap().to_owned();
    site.json(&["user", "add", "offline"]);
    assert!(by("user_add").starts_with(&person), "{}", by("user_add"));
    let daemon = site.serve();
    site.json(&["user", "add", "online"]);
    assert!(by("user_add").starts_with(&person), "{}", by("user_add"));
    // What the environment claims is not believed.
    let claimed = crate::support::daemon::command(&site.path())
        .env("SUDO_UID", "4711")
        .env("SUDO_USER", "mallory")
        .env("USER", "mallory")
        .args(["user", "add", "claimed"])
        .output()
        .unwrap();
    assert!(claimed.status.success());
    assert_eq!(newest(&site, "user_add")["target"], "claimed@default");
    assert!(!by("user_add").contains("mallory") && !by("user_add").contains("4711"));
    // An application is itself.
    let key = site.path().join("key");
    std::fs::write(&key, &site.admin_key).unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let url = format!("http://{}", daemon.http);
    let remote = ["--server", &url, "--key-file", key.to_str().unwrap()];
    site.json(&[&remote[..], &["user", "add", "remote"]].concat());
    assert!(by("user_add").starts_with("api:"), "{}", by("user_add"));
}

/// A decision changes records, too: the first right code activates a token and ends the one it replaces.
#[test]
fn the_first_right_code_says_what_it_activated_and_ended() {
    let site = Site::new();
    let old = site.enrol("kim", "hotp", "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP");
    let words = [
        "token",
        "add",
        "kim",
        "--kind",
        "hotp",
        "--secret-stdin",
        "--replaces",
        &old,
    ];
    let new = site.json_with(&words, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    let serial = new["serial"].as_str().unwrap();
    site.json_with(&["token", "confirm", serial, "--otp-stdin"], &hotp(0));
    let audit = site.json(&["audit", "list", "--user", "kim"]);
    let records = audit["records"].as_array().unwrap().iter();
    let confirmed = records
        .clone()
        .find(|record| record["purpose"] == "confirm");
    let confirmed = confirmed.unwrap_or_else(|| panic!("{audit}"));
    let states: Vec<(String, Value, Value)> = confirmed["changes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|change| change["field"] == "state")
        .map(|change| {
            (
                change["record"].as_str().unwrap().to_owned(),
                change["before"].clone(),
                change["after"].clone(),
            )
        })
        .collect();
    assert!(
        states.contains(&(format!("token {serial}"), json!("pending"), json!("active"))),
        "{states:?}"
    );
    assert!(
        states.contains(&(format!("token {old}"), json!("active"), json!("revoked"))),
        "{states:?}"
    );
}
