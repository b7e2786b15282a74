//! What is granted or handed out says where it has effect, and doctor compares clients with listeners.

use oncegate::admin::effect::Means;
use oncegate::model::client::Require;
use oncegate::model::kind::Kind;
use oncegate::model::user_key::UserKey;
use serde_json::Value;

use crate::support::daemon::{Site, command};
use crate::support::explained::House;
use crate::support::service::TestService;

const NOWHERE: &str = "no effect under any client's policy today";

#[test]
fn a_bypass_names_the_rules_under_which_it_holds() {
    let site = Site::new();
    site.json(&["user", "add", "alice"]);
    let add = |name: &str, address: &str, policy: &str| {
        let words = [
            "client",
            "add",
            "radius",
            name,
            "--address",
            address,
            "--policy",
            policy,
        ];
        site.json(&words);
    };
    let bypass = || {
        let words = [
            "user",
            "bypass",
            "alice",
            "--reason",
            "phone lost",
            "--for",
            "1h",
        ];
        let output = site.run(&words);
        let text = |octets| String::from_utf8(octets).unwrap();
        (text(output.stdout), text(output.stderr))
    };
    // Its rule asks for a code alone: nothing would be left.
    add("gate", "192.0.2.1/32", "default");
    let (out, err) = bypass();
    assert!(err.contains(NOWHERE), "{err}");
    assert!(out.contains("granted, without effect"), "{out}");
    let shown = site.json(&["user", "show", "alice"]);
    assert_eq!(shown["bypass"]["effect"], serde_json::json!([]));
    add("hall", "192.0.2.2/32", "pin-otp");
    let (out, err) = bypass();
    assert!(!err.contains(NOWHERE), "{err}");
    assert!(
        out.contains("under pin-otp:") && out.contains("(hall)"),
        "{out}"
    );
    site.json(&["user", "bypass", "alice", "--end"]);
    let shown = site.json(&["user", "show", "alice"]);
    assert!(shown["bypass"]["effect"].is_null(), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bypass_is_read_with_the_groups_of_today() {
    let house = House::new().await;
    house.bypass("carl").await;
    let (_, out, _) = house.run(&["user", "show", "carl"]);
    assert!(out.contains("under vpn:contractors (old, vpn)"), "{out}");
    // Staff must reach assurance 2, which a PIN alone does not.
    let (code, _, err) = house.run(&["user", "set", "carl", "--group", "staff"]);
    assert_eq!(code, 0, "{err}");
    let (_, out, _) = house.run(&["user", "show", "carl"]);
    assert!(out.contains("without effect"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_policy_takes_is_handed_out_with_a_warning() {
    let house = House::new().await;
    for kind in ["recovery", "card", "sms"] {
        let words = ["token", "add", "alice", "--kind", kind];
        let mut words = words.to_vec();
        if kind == "sms" {
            words.extend(["--address", "+82-10-1234-5678"]);
        }
        let (code, out, err) = house.run(&words);
        assert_eq!(code, 0, "{err}");
        assert!(err.contains(NOWHERE) && err.contains(kind), "{err}");
        assert!(out.contains("under no client's policy today"), "{out}");
    }
    let made = house.json(&["token", "add", "alice"]);
    let rules = made["accepted_by"].as_array().unwrap();
    assert!(
        rules.contains(&Value::from("vpn:staff (old, vpn)")),
        "{made}"
    );
    assert_eq!(made["warnings"], serde_json::json!([]));
    for words in [
        &["outage", "declare", "--for", "1h", "--reason", "x"][..],
        &["user", "exempt", "alice", "--reason", "x", "--for", "1d"],
    ] {
        let (code, _, err) = house.run(words);
        assert_eq!(code, 0, "{err}");
        assert!(err.contains(NOWHERE), "{err}");
    }
}

#[tokio::test]
async fn the_rules_are_read_as_a_login_reads_them() {
    let vpn = r#"
[[rule]]
name = "abroad"
when = { network = "203.0.113.0/24" }
require = ["password", "otp"]
alternatives = ["recovery"]
[[rule]]
name = "ops"
when = { group = "ops" }
require = ["pin", "otp"]
outage = { factor = "sms" }
[[rule]]
name = "rest"
require = ["otp"]
alternatives = ["card"]
"#;
    let none = "bypass = false\n[[rule]]\nname = \"all\"\nrequire = [\"pin\", \"otp\"]\n";
    let test = TestService::new(&[("default", none), ("vpn", vpn)]);
    test.user("alice").await;
    let alice = test
        .service
        .admin
        .user(&UserKey::parse("alice").unwrap())
        .unwrap();
    let at = |means| test.service.admin.effect_of(Some(&alice), means);
    // Without a client, by the policy `default`.
    assert_eq!(at(Means::Token(Kind::Totp)), ["default:all"]);
    assert!(at(Means::Bypass).is_empty(), "the policy knows no bypass");
    let secret = "a-shared-secret-for-tests";
    for (name, address, policy) in [
        ("gate", "192.0.2.1/32", Some("vpn")),
        ("hall", "192.0.2.2/32", None),
    ] {
        test.client(name, address, secret, Require::True, policy)
            .await;
    }
    assert_eq!(
        at(Means::Token(Kind::Totp)),
        ["default:all (hall)", "vpn:abroad (gate)", "vpn:rest (gate)"]
    );
    assert_eq!(at(Means::Token(Kind::Recovery)), ["vpn:abroad (gate)"]);
    assert_eq!(at(Means::Token(Kind::Card)), ["vpn:rest (gate)"]);
    assert_eq!(
        at(Means::Bypass),
        ["vpn:abroad (gate)"],
        "one factor must be left"
    );
    assert!(at(Means::Token(Kind::Sms)).is_empty(), "not her group");
    assert_eq!(
        test.service.admin.effect_of(None, Means::Outage),
        ["vpn:ops (gate)"]
    );
    assert!(
        test.service
            .admin
            .effect_of(None, Means::Approval)
            .is_empty()
    );
}

/// What doctor finds about listeners, when the daemon would listen there.
fn findings(site: &Site, listen: &str) -> Vec<(String, String)> {
    let mut doctor = command(&site.path());
    doctor
        .env("ONCEGATE__RADIUS__LISTEN", listen)
        .args(["--json", "doctor"]);
    let output = doctor.output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap().iter();
    let bad = checks.filter(|check| check["state"] != "ok" && check["check"] == "listeners");
    // What else listens on this machine is not looked at here.
    let bad = bad.filter(|check| !check["found"].as_str().unwrap().contains("cannot listen"));
    let text = |check: &Value, key: &str| check[key].as_str().unwrap().to_owned();
    bad.map(|check| (text(check, "found"), text(check, "fix")))
        .collect()
}

#[test]
fn doctor_compares_clients_with_listeners() {
    let site = Site::new();
    let add = |name: &str, address: &str| {
        site.json(&["client", "add", "radius", name, "--address", address]);
    };
    add("here", "127.0.0.1/32");
    assert_eq!(findings(&site, "127.0.0.1:1812"), []);
    add("gate", "192.0.2.0/24");
    let found = findings(&site, "127.0.0.1:1812");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].0.contains("gate (192.0.2.0/24)") && found[0].0.contains("loopback only"));
    assert!(found[0].1.contains("radius.listen") && found[0].1.contains("0.0.0.0:1812"));
    assert_eq!(findings(&site, "0.0.0.0:1812"), []);
    assert_eq!(findings(&site, "[::]:1812"), [], "takes both families");
    add("new", "2001:db8::/32");
    let found = findings(&site, "0.0.0.0:1812");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].0.contains("no listener is IPv6"), "{found:?}");
    let found = findings(&site, "[::1]:1812");
    assert_eq!(found.len(), 3, "IPv4 too: {found:?}");
    // A running daemon is asked, whatever the file says.
    let daemon = site.serve();
    let found = findings(&site, "0.0.0.0:1812");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].0.contains(&daemon.radius.to_string()), "{found:?}");
}
