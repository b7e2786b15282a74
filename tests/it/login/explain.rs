//! `oncegate explain` as people read it, against a service whose clock stands still.
//!
//! The goldens are `tests/golden/explain/*.txt`; ids and serials differ from run to run and are
//! shown as letters instead. `ONCEGATE_GOLDEN=write` writes them anew: read them aloud before you
//! commit them.

use std::process::Command;
use std::time::Duration;

use oncegate::admin::{CredentialsPatch, UserPatch};
use oncegate::diagnostic::Source;
use oncegate::explain::Supposed;
use oncegate::login::LoginAnswer;
use oncegate::model::kind::Kind;
use oncegate::model::reason::Reason;
use oncegate::policy::Policies;
use serde_json::Value;

use crate::support::explained::{AWAY, Ask, DEFAULT, House, PIN, VPN, key};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_code() {
    let house = House::new().await;
    let (id, reason) = house.vpn("alice", &format!("{PIN}000000")).await;
    assert_eq!(reason, Reason::WrongCode, "the PIN in it is right");
    let ask = Ask {
        user: "alice",
        client: "old",
        typed: &format!("{PIN}000000"),
        from: Some(AWAY),
        ..Ask::default()
    };
    house.explained("wrong-code-of-either", &id);
    let (id, decided) = house.ask(ask).await;
    assert_eq!(decided.reason, Reason::WrongCode);
    house.explained("wrong-code", &id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_code() {
    let house = House::new().await;
    let typed = house.joined("alice");
    let (first, reason) = house.vpn("alice", &typed).await;
    assert_eq!(reason, Reason::TotpOk);
    house.explained("accept", &first);
    house.test.clock.advance(Duration::from_secs(7));
    let (second, reason) = house.vpn("alice", &typed).await;
    assert_eq!(reason, Reason::UsedCode);
    house.explained("used-code", &second);
    let json = house.json(&["explain", &second]);
    let one = &json["records"][0];
    assert_eq!(one["token"]["used_by"]["request_id"], first.as_str());
    assert_eq!(one["login"]["rule"]["place"], "policies/vpn.toml:14");
    assert_eq!(one["login"]["rules"][1]["conditions"][1]["held"], "no");
    assert_eq!(one["next"][1]["command"][0], "oncegate");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_pin() {
    let house = House::new().await;
    let code = house.test.code("alice", 0);
    let (id, reason) = house.vpn("alice", &format!("111111,{code}")).await;
    assert_eq!(reason, Reason::WrongPin);
    house.explained("wrong-pin", &id);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_user_with_a_hostile_name() {
    let house = House::new().await;
    let (id, reason) = house.vpn("eve; reboot", "123456").await;
    assert_eq!(reason, Reason::UnknownUser);
    house.explained("unknown-user", &id);
    let (id, _) = house.vpn("eve\u{1b}[2J\r\nroot", "123456").await;
    house.explained("unreadable-user", &id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_then_and_now() {
    let house = House::new().await;
    for _ in 0..3 {
        house.vpn("carl", "000000000000").await;
        house.test.clock.advance(Duration::from_secs(20));
    }
    let (id, reason) = house.vpn("carl", &house.joined("carl")).await;
    assert_eq!(reason, Reason::Locked);
    house.explained("locked", &id);
    house.golden(
        "what-if-locked",
        &[
            "explain", "--user", "carl", "--client", "vpn", "--from", AWAY,
        ],
    );
    let service = &house.test.service;
    service
        .admin
        .unlock_user(&key("carl"), house.test.by())
        .await
        .unwrap();
    house.explained("locked-then-unlocked", &id);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_rule_outside_hours() {
    let house = House::new().await;
    house.test.clock.advance(Duration::from_hours(12));
    let (id, reason) = house.vpn("carl", "123456").await;
    assert_eq!(reason, Reason::NoRule);
    house.explained("no-rule", &id);
}

#[tokio::test(flavor = "multi_thread")]
async fn challenges() {
    let house = House::new().await;
    let ask = |typed, challenge| Ask {
        user: "alice",
        client: "vpn",
        typed,
        from: Some(AWAY),
        challenge,
        ..Ask::default()
    };
    let (asked, decided) = house.ask(ask(PIN, None)).await;
    let LoginAnswer::Challenge(challenge) = decided.answer else {
        panic!("{decided:?}");
    };
    house.explained("challenged", &asked);
    let code = house.test.code("alice", 0);
    let answer = ask(&code, Some(&challenge.id));
    let (_, decided) = house.ask(answer).await;
    assert_eq!(decided.reason, Reason::TotpOk);
    house.test.clock.advance(Duration::from_secs(30));
    let code = house.test.code("alice", 0);
    let (late, decided) = house.ask(ask(&code, Some(&challenge.id))).await;
    assert_eq!(decided.reason, Reason::StaleChallenge);
    house.explained("stale-challenge", &late);
    house.golden(
        "audit-list-challenge",
        &["audit", "list", "--decision", "challenge"],
    );
    house.golden("tail", &["tail", "-n", "3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bypass() {
    let house = House::new().await;
    house.bypass("carl").await;
    let (id, reason) = house.vpn("carl", PIN).await;
    assert_eq!(reason, Reason::BypassOk);
    house.explained("bypass", &id);
    house.golden(
        "what-if-bypass",
        &["explain", "--user", "carl", "--client", "vpn"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token() {
    let house = House::new().await;
    let (id, reason) = house.vpn("zoe", &format!("{PIN}123456")).await;
    assert_eq!(reason, Reason::NoToken);
    house.explained("no-token", &id);
}

#[tokio::test(flavor = "multi_thread")]
async fn low_assurance() {
    let house = House::new().await;
    let ask = Ask {
        user: "alice",
        client: "app",
        typed: &house.test.code("alice", 0),
        context: &[("min_assurance", "2")],
        ..Ask::default()
    };
    let (id, decided) = house.ask(ask).await;
    assert_eq!(decided.reason, Reason::LowAssurance);
    house.explained("low-assurance", &id);
}

/// What has expired is not in use from that moment on: no job has to note it first.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expired_a_moment_ago() {
    let house = House::new().await;
    house.json(&["token", "add", "zoe", "--active", "--valid-for", "24h"]);
    let ask = ["explain", "--user", "zoe", "--client", "app"];
    let (_, before, _) = house.run(&ask);
    assert!(!before.contains("does not count"), "{before}");
    house.test.clock.advance(Duration::from_hours(25));
    let (code, out, err) = house.run(&ask);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("does not count: it is expired"), "{out}");
    assert!(!out.contains("another token"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_happen() {
    let house = House::new().await;
    let ask = |user, more: &[&'static str]| {
        let mut words = vec!["explain", "--user", user, "--client", "vpn"];
        words.extend_from_slice(more);
        words
    };
    house.golden("what-if", &ask("alice", &["--from", AWAY]));
    house.golden("what-if-office", &ask("alice", &["--from", "10.1.2.3"]));
    let at = [
        "--at",
        "2026-01-03T03:00:00+09:00",
        "--attribute",
        "NAS-Port=7",
    ];
    house.golden("what-if-outside-hours", &ask("carl", &at));
    let old = ["explain", "--user", "alice", "--client", "old"];
    house.golden("what-if-no-challenge", &old);
    let app = ["explain", "--user", "alice", "--client", "app"];
    house.golden("what-if-http", &app);
    house.golden("what-if-unknown", &ask("mallory", &[]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_since() {
    let house = House::new().await;
    let (id, _) = house.vpn("alice", &house.joined("alice")).await;
    let service = &house.test.service;
    let by = house.test.by();
    let change = by.request.to_string();
    let patch = UserPatch {
        groups: Some(vec!["interns".to_owned()]),
        ..UserPatch::default()
    };
    service
        .admin
        .set_user(&key("alice"), patch, None, by)
        .await
        .unwrap();
    house.explained("changed-group", &id);
    house.explained("change", &change);
    let others = VPN.replace("name          = \"staff\"", "name = \"people\"");
    let sources = [
        Source::new("policies/default.toml", DEFAULT),
        Source::new("policies/vpn.toml", others.as_str()),
    ];
    let policies = Policies::parse(&sources, &|_, _| Ok(())).unwrap();
    service.core.replace_policies(policies).unwrap();
    house.explained("rule-gone", &id);
    service
        .admin
        .remove_user(&key("alice"), None, house.test.by())
        .await
        .unwrap();
    service
        .admin
        .remove_client("vpn", None, house.test.by())
        .await
        .unwrap();
    house.explained("all-gone", &id);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_and_the_unknown_is_not_found() {
    let house = House::new().await;
    house.vpn("alice", "000000").await;
    let seq = house.test.service.core.store().health().seq;
    let (id, _) = house.test.service.core.arrival().unwrap();
    let (code, out, err) = house.run(&["explain", &id.to_string()]);
    assert_eq!((code, out.as_str()), (4, ""), "{err}");
    assert!(err.contains("audit list"), "{err}");
    assert_eq!(house.run(&["explain", "nonsense"]).0, 2);
    let asked = ["explain", "--user", "alice", "--client", "nobody"];
    assert_eq!(house.run(&asked).0, 4);
    for client in ["vpn", "app", "local"] {
        let asked = [
            "explain", "--user", "alice", "--client", client, "--from", AWAY,
        ];
        assert_eq!(house.run(&asked).0, 0);
    }
    assert_eq!(house.test.service.core.store().health().seq, seq);
}

/// What is foreseen is what happens.
#[tokio::test(flavor = "multi_thread")]
async fn explanations_do_not_differ_from_decisions() {
    let house = House::new().await;
    let foreseen = async |user: &str, client: &str, from: Option<&str>| {
        let supposed = Supposed {
            user,
            client,
            at: None,
            source: from.map(|from| from.parse().unwrap()),
            method: None,
            attributes: &[],
            context: &[],
        };
        house
            .test
            .service
            .explain
            .foresee(supposed)
            .unwrap()
            .reason
            .map(|word| word.parse::<Reason>().unwrap())
    };
    let compare = async |user: &str, client: &str, from: Option<&str>, typed: &str| {
        let foreseen = foreseen(user, client, from).await;
        let ask = Ask {
            user,
            client,
            typed,
            from,
            ..Ask::default()
        };
        let (_, decided) = house.ask(ask).await;
        let accepted = matches!(decided.answer, LoginAnswer::Accept(_));
        let happened = (!accepted).then_some(decided.reason);
        assert_eq!(foreseen, happened, "{user} {client} {from:?}");
        happened
    };
    let right = house.joined("alice");
    assert_eq!(compare("alice", "vpn", Some(AWAY), &right).await, None);
    assert_eq!(
        compare("carl", "old", None, &house.joined("carl")).await,
        None
    );
    let no_token = compare("zoe", "vpn", Some(AWAY), &right).await;
    assert_eq!(no_token, Some(Reason::NoToken));
    let unknown = compare("mallory", "vpn", None, &right).await;
    assert_eq!(unknown, Some(Reason::UnknownUser));
    house.test.user("sam@console").await;
    house.test.token("sam@console", Kind::Totp).await;
    let code = house.test.code("sam@console", 0);
    let elsewhere = compare("sam@console", "app", None, &code).await;
    assert_eq!(elsewhere, Some(Reason::UnknownUser));
    let service = &house.test.service;
    let disabled = UserPatch {
        disabled: Some(true),
        ..UserPatch::default()
    };
    service
        .admin
        .set_user(&key("zoe"), disabled, None, house.test.by())
        .await
        .unwrap();
    let off = compare("zoe", "vpn", None, &right).await;
    assert_eq!(off, Some(Reason::UserDisabled));
    for _ in 0..3 {
        let guess = Ask {
            user: "carl",
            client: "vpn",
            typed: "000000000000",
            from: Some("198.51.100.7"),
            ..Ask::default()
        };
        house.ask(guess).await;
    }
    let locked = compare("carl", "vpn", Some(AWAY), &house.joined("carl")).await;
    assert_eq!(locked, Some(Reason::Locked));
    house.test.clock.advance(Duration::from_hours(12));
    let night = compare("carl", "vpn", Some("198.51.100.1"), &right).await;
    assert_eq!(night, Some(Reason::NoRule));
    let must = UserPatch {
        credentials: CredentialsPatch {
            must_change: Some(true),
            ..CredentialsPatch::default()
        },
        ..UserPatch::default()
    };
    service
        .admin
        .set_user(&key("alice"), must, None, house.test.by())
        .await
        .unwrap();
    let must = compare("alice", "vpn", Some(AWAY), &house.joined("alice")).await;
    assert_eq!(must, Some(Reason::MustChange));
    for number in 0..20 {
        house.vpn(&format!("nobody{number}"), "123456").await;
    }
    let blocked = compare("nobody", "vpn", Some(AWAY), &right).await;
    assert_eq!(blocked, Some(Reason::SourceBlocked));
}

#[test]
fn every_reason_is_listed() {
    let run = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oncegate"));
        let output = command.args(words).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let text = run(&["explain", "--reasons"]);
    let json: Value = serde_json::from_str(&run(&["explain", "--reasons", "--json"])).unwrap();
    let rows = json["reasons"].as_array().unwrap();
    assert_eq!(rows.len(), Reason::ALL.len());
    for (reason, row) in Reason::ALL.iter().zip(rows) {
        assert_eq!(row["reason"], reason.as_str());
        assert_eq!(row["decision"], reason.decision().as_str());
        assert_eq!(row["advice"], reason.advice());
        let line = |line: &str| line.split_whitespace().next() == Some(reason.as_str());
        assert!(text.lines().any(line), "{reason}\n{text}");
    }
}

#[test]
fn without_a_daemon_the_answers_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let run = |code: i32, words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oncegate"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ONCEGATE")) {
            command.env_remove(name);
        }
        let site = dir.path().join("site");
        let output = command
            .args(words)
            .arg("--json")
            .arg("--dir")
            .arg(site)
            .output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?} {output:?}");
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    };
    run(0, &["init"]);
    run(0, &["user", "add", "alice"]);
    let answer = run(1, &["verify", "alice", "--otp", "123456"]);
    let id = answer["request_id"].as_str().unwrap();
    let told = run(0, &["explain", id]);
    assert_eq!(told["records"][0]["reason"], "no_token");
    assert_eq!(told["records"][0]["login"]["client"]["name"], "local");
    assert_eq!(told["records"][0]["login"]["client"]["known"], true);
    let command = told["records"][0]["next"][0]["command"].as_array().unwrap();
    assert_eq!(command[3], "alice@default");
    let asked = [
        "explain",
        "--user",
        "alice",
        "--client",
        "local",
        "--at",
        "sat 03:00",
    ];
    assert_eq!(run(0, &asked)["reason"], "no_token");
    run(4, &["explain", "01M85J3KY28Q1C9WJCP9C5VPRY"]);
}
