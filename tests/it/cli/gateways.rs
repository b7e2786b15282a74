//! `oncegate delivery` and `doctor` about gateways: the real binary, with a daemon and without.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::support::daemon::Site;
use crate::support::gateway::{Behaviour, GatewayDouble};

/// An installation with a gateway `sms` that asks this double.
fn site(double: &GatewayDouble, more: &str) -> Site {
    let site = Site::new();
    let file = site.path().join("sms.key");
    std::fs::write(&file, "s3cr3t-of-the-gateway").unwrap();
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(file, private).unwrap();
    let headers = "headers = [\"X-Id: {id}\", \"Authorization: Bearer {secret}\"]";
    let table = double.table("sms", &format!("secret_file = \"sms.key\"\n{more}"));
    let table = table.replace("headers = [\"X-Id: {id}\"]", headers);
    let path = site.path().join("oncegate.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, format!("{text}\n{table}")).unwrap();
    site
}

fn findings(site: &Site) -> Vec<(String, String)> {
    let output = site.run(&["--json", "doctor"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap().iter();
    let bad = checks.filter(|check| check["state"] != "ok");
    let text = |check: &Value, key: &str| check[key].as_str().unwrap().to_owned();
    bad.map(|check| (text(check, "found"), text(check, "fix")))
        .collect()
}

#[test]
fn gateways_are_listed_and_tried() {
    let double = GatewayDouble::start();
    let site = site(&double, "attempts = 1\nbreaker_failures = 1");
    // Without a daemon the same answers come from the store's process.
    let list = site.json(&["delivery", "list"]);
    assert_eq!(list["gateways"][0]["name"], "sms");
    assert_eq!(list["gateways"][0]["breaker"], "closed");

    let daemon = site.serve();
    let test = [
        "delivery",
        "test",
        "sms",
        "--to",
        "010-1234-5678",
        "--language",
        "ko",
    ];
    let tried = site.json(&test);
    assert_eq!(tried["taken"], true);
    assert_eq!(tried["to"], "+82******5678");
    assert_eq!(tried["reference"], "m-1");
    assert_eq!(
        tried["answer"],
        "HTTP 200 {\"result\":\"ok\",\"message_id\":\"m-1\"}"
    );
    let received = &double.received()[0];
    assert_eq!(
        received.header("authorization"),
        Some("Bearer s3cr3t-of-the-gateway")
    );
    assert!(
        received.json()["text"]
            .as_str()
            .unwrap()
            .starts_with("Oncegate \u{c2dc}")
    );
    let output = site.run(&test);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("sms took the sms message to +82******5678."),
        "{text}"
    );

    double.behave(Behaviour::Say(
        500,
        "s3cr3t-of-the-gateway is out of credit".to_owned(),
    ));
    let output = site.run(&test);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("sms did not take the sms message to +82******5678: HTTP 500\n"),
        "{text}"
    );
    assert!(
        text.ends_with("It answered: HTTP 500 [redacted] is out of credit\n"),
        "{text}"
    );
    let list = site.json(&["delivery", "list"]);
    let gateway = &list["gateways"][0];
    assert_eq!(
        (&gateway["breaker"], &gateway["sent"], &gateway["failed"]),
        (&"open".into(), &2.into(), &1.into())
    );
    let found = findings(&site);
    let wanted = "gateway sms is open after failures: HTTP 500";
    assert!(found.iter().any(|(found, _)| found == wanted), "{found:?}");

    for (words, code, wanted) in [
        (
            &["delivery", "test", "mail", "--to", "a@b"][..],
            4,
            "there is no such gateway",
        ),
        (
            &["delivery", "test", "sms", "--to", "+1 900 555 0100"],
            2,
            "that country are not served",
        ),
        (
            &["delivery", "test", "sms", "--to", "12ab"],
            2,
            "not well formed",
        ),
        (
            &["delivery", "test", "sms", "--to", "a@example.com"],
            2,
            "no gateway delivers email",
        ),
    ] {
        let output = site.run(words);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {told}");
        assert!(
            told.contains(wanted) && told.contains("next: "),
            "{words:?}: {told}"
        );
    }
    drop(daemon);
}

#[test]
fn doctor_names_a_secret_that_cannot_be_read() {
    let double = GatewayDouble::start();
    let site = site(&double, "");
    let key = site.path().join("sms.key");
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(&key, open).unwrap();
    let found = findings(&site);
    let wanted = format!("chmod 600 {}", key.display());
    assert!(found.iter().any(|(_, fix)| *fix == wanted), "{found:?}");

    std::fs::remove_file(&key).unwrap();
    let found = findings(&site);
    let wanted = "gateway `sms`: ";
    let told = |found: &(String, String)| found.0.contains(wanted) && found.0.contains("sms.key");
    assert!(found.iter().any(told), "{found:?}");
    let output = site.run(&["serve"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && told.contains("sms.key cannot be read"),
        "{told}"
    );
}

#[test]
fn the_effective_configuration_shows_gateways_and_no_secret() {
    let double = GatewayDouble::start();
    let site = site(&double, "");
    let shown = site.json(&["config", "show", "--effective"]);
    let values = shown["values"].as_array().unwrap();
    let value = |key: &str| {
        let found = values.iter().find(|value| value["key"] == key);
        found.unwrap()["value"].as_str().unwrap().to_owned()
    };
    assert_eq!(value("delivery.sms.secret_file"), "sms.key");
    assert!(value("delivery.sms.headers").contains("Bearer {secret}"));
    assert_eq!(value("delivery.sms.timeout"), "5s");
    assert!(!shown.to_string().contains("s3cr3t"));
}

/// Names that lead nowhere, and places where nothing answers, each with what to do.
#[test]
fn doctor_looks_at_the_places_that_are_named() {
    let double = GatewayDouble::start();
    let site = site(&double, "");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let path = site.path().join("oncegate.toml");
    let mut text = std::fs::read_to_string(&path).unwrap();
    let mail = |name: &str, host: &str| {
        format!(
            "\n[delivery.{name}]\nkind = \"smtp\"\nmedia = \"email\"\nhost = \"{host}\"\nport = {port}\n\
             from = \"otp@example.org\"\nallow_private = true\ntls = \"none\"\n"
        )
    };
    text.push_str(&mail("closed", "127.0.0.1"));
    text.push_str(&mail("gone", "no-such-host.invalid"));
    std::fs::write(&path, text).unwrap();
    let found = findings(&site);
    let has = |what: &str, fix: &str| {
        let mut found = found.iter();
        found.any(|(said, advice)| said.contains(what) && advice.contains(fix))
    };
    let silent = format!("gateway closed: nothing answers at 127.0.0.1, port {port}");
    assert!(has(&silent, "nc -vz 127.0.0.1"), "{found:?}");
    let lost = "gateway gone: the name no-such-host.invalid leads nowhere";
    assert!(has(lost, "getent hosts no-such-host.invalid"), "{found:?}");
    assert!(!has("gateway sms", ""), "{found:?}");
}
