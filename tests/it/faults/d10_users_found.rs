//! Users are found by what is known of them, names by what was probably meant, records by time,
//! client and reason, and a time may be typed as people write it.

use oncegate::model::client::Scope;
use serde_json::{Value, json};

use crate::support::app::{TestApp, ask, request};
use crate::support::daemon::{NO_DELAY, Site, command};

const KEY: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

fn names(users: &Value) -> Vec<String> {
    let users = users["users"].as_array().unwrap().iter();
    users
        .map(|user| user["name"].as_str().unwrap().to_owned())
        .collect()
}

/// People of several kinds.
fn people() -> Site {
    let site = Site::new();
    site.json(&[
        "user",
        "add",
        "alice",
        "--group",
        "vpn",
        "--phone",
        "+82-10-1234-5678",
    ]);
    site.json(&[
        "user",
        "add",
        "bob",
        "--group",
        "vpn",
        "--email",
        "Robert@Example.org",
    ]);
    site.json(&["user", "add", "carol", "--group", "vpnadmins"]);
    site.json(&["user", "add", "dave@staff"]);
    site.json_with(
        &[
            "token",
            "add",
            "alice",
            "--active",
            "--secret-stdin",
            "--serial",
            "YUBI-4711",
        ],
        KEY,
    );
    site.json(&["token", "add", "carol", "--serial", "OLD-1"]);
    site.json(&["token", "revoke", "OLD-1", "--yes"]);
    site
}

/// The three ways to the API give the same answer.
fn three_ways(site: &Site, words: &[&str], wanted: &[&str]) {
    assert_eq!(names(&site.json(words)), wanted, "offline {words:?}");
    let daemon = site.serve();
    assert_eq!(names(&site.json(words)), wanted, "socket {words:?}");
    let key = site.path().join("key");
    std::fs::write(&key, &site.admin_key).unwrap();
    let (url, key) = (format!("http://{}", daemon.http), key.to_str().unwrap());
    let far = [&["--server", &url, "--key-file", key], words].concat();
    assert_eq!(names(&site.json(&far)), wanted, "remote {words:?}");
    assert!(daemon.terminate().success());
}

#[test]
fn users_are_listed_by_group_token_and_lock() {
    let site = people();
    for (words, wanted) in [
        (
            &["user", "list", "--group", "vpn"][..],
            &["alice", "bob"][..],
        ),
        (
            &["user", "list", "--without-token"],
            &["bob", "carol", "dave"],
        ),
        (
            &["user", "list", "--group", "vpn", "--without-token"],
            &["bob"],
        ),
        (&["user", "list", "--group", "nobody"], &[]),
        (&["user", "list", "--locked"], &[]),
    ] {
        assert_eq!(names(&site.json(words)), wanted, "{words:?}");
    }
    let words = ["user", "list", "--group", "vpn", "--limit", "1"];
    let first = site.json(&words);
    assert_eq!(
        (names(&first), &first["next"]),
        (vec!["alice".to_owned()], &json!("alice@default"))
    );
    let more = [&words[..], &["--after", "alice@default"]].concat();
    let second = site.json(&more);
    assert_eq!(
        (names(&second), &second["next"]),
        (vec!["bob".to_owned()], &Value::Null)
    );
    three_ways(
        &site,
        &["user", "list", "--group", "vpn"],
        &["alice", "bob"],
    );
}

#[test]
fn locked_users_are_found_until_they_are_unlocked() {
    let site = people();
    let soon = format!("{NO_DELAY}[lockout]\nfree = 3\nlock_after = 3\n");
    std::fs::write(site.path().join("policies/default.toml"), soon).unwrap();
    for _ in 0..3 {
        assert!(names(&site.json(&["user", "list", "--locked"])).is_empty());
        site.run_with(&["verify", "alice", "--otp-stdin"], "000000");
    }
    let found = site.json(&["user", "list", "--locked"]);
    let states = |found: &Value| found["users"][0]["lock"]["state"].clone();
    assert_eq!(names(&found), ["alice"], "{found}");
    assert_eq!(states(&found), "locked");
    assert!(names(&site.json(&["user", "list", "--locked", "--without-token"])).is_empty());
    site.json(&["user", "unlock", "alice"]);
    assert!(names(&site.json(&["user", "list", "--locked"])).is_empty());
}

#[test]
fn users_are_searched_by_all_that_is_known_of_them() {
    let site = people();
    for (text, wanted) in [
        ("ALI", &["alice"][..]),
        ("robert@", &["bob"]),
        ("1234 5678", &["alice"]),
        ("010-1234", &["alice"]),
        ("+8210", &["alice"]),
        ("yubi-47", &["alice"]),
        ("4711", &["alice"]),
        ("@staff", &["dave"]),
        ("old", &["carol"]),
        ("o", &["bob", "carol"]),
        ("nobody at all", &[]),
    ] {
        let found = site.json(&["user", "search", text]);
        assert_eq!(names(&found), wanted, "{text}");
        assert_eq!(names(&site.json(&["user", "find", text])), wanted, "{text}");
    }
    let found = site.json(&["user", "search", "o", "--without-token", "--group", "vpn"]);
    assert_eq!(names(&found), ["bob"]);
    three_ways(&site, &["user", "search", "yubi"], &["alice"]);
    let output = site.run(&["user", "search", ""]);
    assert_eq!(output.status.code(), Some(2));
}

/// A page is a bounded piece of work, and pages together miss nobody.
#[tokio::test]
async fn pages_of_a_search_are_bounded_and_complete() {
    let app = TestApp::new();
    for start in (0..6000).step_by(400) {
        let rows: Vec<Value> = (start..(start + 400).min(6000))
            .map(|number| json!({"user": format!("u{number:05}"), "groups": ["all"]}))
            .collect();
        let body = json!({"make": "users", "rows": rows});
        let answer = app.admin("POST", "/v1/admin/import", Some(body)).await;
        assert_eq!(answer.status, 200);
    }
    let mut path = "/v1/admin/users?search=99&group=all&limit=50".to_owned();
    let (mut found, mut calls) = (Vec::new(), 0);
    loop {
        let page = app.admin("GET", &path, None).await.json();
        found.extend(names(&page));
        calls += 1;
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!(
            "/v1/admin/users?search=99&group=all&limit=50&after={}",
            next.replace('@', "%40")
        );
    }
    let wanted: Vec<String> = (0..6000)
        .map(|number| format!("u{number:05}"))
        .filter(|name| name.contains("99"))
        .collect();
    assert_eq!(found, wanted);
    assert!(calls > 1, "one call looked at everybody");
    // Nobody fits: the call ends early all the same, and says where to go on.
    let page = app
        .admin("GET", "/v1/admin/users?search=zzz", None)
        .await
        .json();
    assert!(
        names(&page).is_empty() && page["next"].is_string(),
        "{page}"
    );
}

#[test]
fn what_was_probably_meant_is_named() {
    let site = people();
    site.json(&["client", "add", "api", "payroll"]);
    for (words, meant) in [
        (
            &["user", "show", "alcie"][..],
            "did you mean alice@default?",
        ),
        (&["user", "show", "dave"], "oncegate user show dave@staff"),
        (
            &["user", "remove", "crol", "--yes"],
            "did you mean carol@default?",
        ),
        (&["token", "list", "allice"], "did you mean alice@default?"),
        (&["token", "add", "bbob"], "did you mean bob@default?"),
        (&["token", "show", "YUBI-4771"], "did you mean YUBI-4711?"),
        (&["token", "suspend", "yubi4711"], "did you mean YUBI-4711?"),
        (&["client", "show", "payrol"], "did you mean payroll?"),
        (
            &["client", "add", "api", "other", "--policy", "defualt"],
            "did you mean `default`?",
        ),
        (
            &["token", "add", "bob", "--policy", "defalt"],
            "did you mean `default`?",
        ),
        (&["audit", "list", "--reason", "wrong_cod"], "wrong_code"),
        (&["usr", "list"], "user"),
    ] {
        let output = site.run(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains(meant),
            "{words:?}: {said}"
        );
    }
    // Nothing like it is no suggestion.
    let output = site.run(&["user", "show", "zebedee"]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("did you mean"));
}

/// Names are suggested to those who administer, and to nobody who asks about codes.
#[tokio::test]
async fn an_application_is_never_told_a_name() {
    let app = TestApp::new();
    app.user("alice").await;
    let verify = app.key("app", Scope::Verify, None).await;
    let both = app.key("both", Scope::Verify, None).await;
    for (path, body) in [
        ("/v1/verify", json!({"user": "alcie", "otp": "123456"})),
        (
            "/v1/verify?client=bothh",
            json!({"user": "alcie", "otp": "123456"}),
        ),
        ("/v1/challenges", json!({"user": "alcie", "factor": "sms"})),
        (
            "/v1/credentials",
            json!({"user": "alcie", "otp": "123456", "new_pin": "839201"}),
        ),
        ("/v1/enrolments", json!({"user": "alcie", "kind": "totp"})),
    ] {
        for key in [&verify, &both] {
            let answer = ask(
                &app.keyed,
                request("POST", path, Some(key), Some(body.clone())),
            )
            .await;
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(
                !text.contains("did you mean") && !text.contains("alice"),
                "{path}: {text}"
            );
        }
    }
    let auditor = app.key("auditor", Scope::Auditor, None).await;
    let asked = request("GET", "/v1/admin/users/alcie", Some(&auditor), None);
    let answer = ask(&app.keyed, asked).await.json();
    assert!(
        answer["remedy"]
            .as_str()
            .unwrap()
            .contains("did you mean alice@default?")
    );
}

#[test]
fn records_are_listed_by_client_reason_and_time() {
    let site = people();
    site.json(&["client", "add", "api", "payroll"]);
    site.run_with(
        &["verify", "alice", "--client", "payroll", "--otp-stdin"],
        "000000",
    );
    site.run_with(&["verify", "alice", "--otp-stdin"], "000000");
    site.run_with(
        &["verify", "mallory", "--client", "payroll", "--otp-stdin"],
        "000000",
    );
    let list = |more: &[&str]| {
        let listed = site.json(&[&["audit", "list"], more].concat());
        let records = listed["records"].as_array().unwrap().clone();
        records
            .iter()
            .map(|record| record["reason"].clone())
            .collect::<Vec<_>>()
    };
    let all = list(&[]).len();
    assert_eq!(
        list(&["--client", "payroll"]),
        ["unknown_user", "wrong_code"]
    );
    assert_eq!(
        list(&["--reason", "wrong_code"]),
        ["wrong_code", "wrong_code"]
    );
    assert_eq!(
        list(&["--reason", "wrong_code", "--client", "payroll"]),
        ["wrong_code"]
    );
    assert_eq!(list(&["alice", "--client", "payroll"]), ["wrong_code"]);
    for (more, count) in [
        (&["--until", "tomorrow"][..], all),
        (&["--since", "yesterday", "--until", "2h"], 0),
        (&["--until", "yesterday"], 0),
        (&["--until", "2020-01-01"], 0),
        (&["--since", "2020-01-01"], all),
        (
            &["--since", "2020-01-01T10:00", "--until", "2999-12-31"],
            all,
        ),
        (&["--since", "7d"], all),
        (&["--since", "tomorrow"], 0),
    ] {
        assert_eq!(list(more).len(), count, "{more:?}");
    }
    let records = site.json(&["audit", "list", "--limit", "500"])["records"].clone();
    let middle = records[all / 2]["time"].as_str().unwrap();
    let (before, after) = (
        list(&["--until", middle]).len(),
        list(&["--since", middle]).len(),
    );
    assert_eq!(before + after, all);
    for (more, word) in [
        (&["--since", "soon"][..], "2026-11-20"),
        (&["--reason", "bad_luck"], "wrong_code"),
    ] {
        let output = site.run(&[&["audit", "list"], more].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(2) && said.contains(word),
            "{said}"
        );
    }
}

#[test]
fn times_are_typed_as_people_write_them_in_the_local_zone() {
    let site = people();
    let run = |words: &[&str]| {
        let mut command = command(&site.path());
        command.args(words).arg("--json").env("TZ", "Asia/Seoul");
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {said}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let token = run(&["token", "add", "bob", "--expires", "2099-11-20"]);
    assert_eq!(token["expires"], "2099-11-19T15:00:00.000Z");
    let token = run(&["token", "add", "carol", "--expires", "2099-11-20T10:00"]);
    assert_eq!(token["expires"], "2099-11-20T01:00:00.000Z");
    run(&["token", "add", "carol", "--expires", "30d"]);
    for name in ["kim", "lee"] {
        run(&["client", "add", "api", name, "--scope", "approver"]);
    }
    let lend = |until: &str| {
        let who = [
            "delegation",
            "add",
            "--from",
            "api:kim",
            "--to",
            "api:lee",
            "--reason",
            "x",
        ];
        run(&[&who[..], &["--until", until]].concat())["until"].clone()
    };
    let tomorrow = lend("tomorrow");
    assert!(
        tomorrow.as_str().unwrap().ends_with("T15:00:00.000Z"),
        "{tomorrow}"
    );
    lend("14d");
    run(&[
        "explain",
        "alice",
        "--client",
        "local",
        "--at",
        "2099-11-20 10:00",
    ]);
    run(&["audit", "prune", "--before", "2020-01-01", "--yes"]);
    let output = site.run(&["audit", "export", "--since", "yesterday"]);
    assert!(output.status.success() && !output.stdout.is_empty());
    let output = site.run(&["audit", "export", "--since", "2099-01-01"]);
    assert!(output.status.success() && output.stdout.is_empty());
}

/// A filter that names what is not there says so beside the empty list.
#[test]
fn a_filter_without_its_record_is_not_silently_empty() {
    let site = people();
    site.json(&["client", "add", "api", "payroll"]);
    let told = |words: &[&str]| {
        let output = site.run(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{words:?}: {said}");
        said
    };
    for (words, right) in [
        (
            &["audit", "list", "--user", "alcie"][..],
            &[
                "there is no user alcie@default",
                "did you mean alice@default?",
            ][..],
        ),
        (
            &["audit", "list", "alice@staff"],
            &["there is no user alice@staff", "alice@default"],
        ),
        (
            &["audit", "list", "--client", "payrol"],
            &["there is no client payrol", "did you mean payroll?"],
        ),
        (
            &["user", "list", "--group", "vnp"],
            &["no user is in group `vnp`", "did you mean `vpn`?"],
        ),
        (
            &["user", "search", "a", "--group", "vpnadmin"],
            &[
                "no user is in group `vpnadmin`",
                "did you mean `vpnadmins`?",
            ],
        ),
        (
            &["user", "list", "--group", "nothing-like-it"],
            &["no user is in group `nothing-like-it`"],
        ),
    ] {
        let said = told(words);
        for word in right {
            assert!(said.contains(word), "{words:?}: no `{word}` in `{said}`");
        }
    }
    // An empty list of what is there says nothing else.
    for words in [
        &["user", "list", "--group", "vpn", "--locked"][..],
        &["audit", "list", "--client", "payroll"],
        &["audit", "list", "alice", "--reason", "totp_ok"],
    ] {
        assert_eq!(told(words), "", "{words:?}");
    }
}

/// The list has the number that `audit show` takes; a request id is taken, too.
#[test]
fn a_record_of_the_list_can_be_shown() {
    let site = people();
    let text = |words: &[&str]| {
        let output = site.run(words);
        assert!(output.status.success(), "{words:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let list = text(&["audit", "list", "alice", "--limit", "1"]);
    assert!(list.starts_with("SEQ"), "{list}");
    let row: Vec<&str> = list.lines().nth(1).unwrap().split_whitespace().collect();
    let shown = text(&["audit", "show", row[0]]);
    assert!(
        shown.starts_with(&format!("Record {}\n", row[0])),
        "{shown}"
    );
    let id = *row.last().unwrap();
    assert_eq!(text(&["audit", "show", id]), shown);
    let entries = site.json(&["audit", "show", id])["entries"].clone();
    assert_eq!(entries[0]["seq"].to_string(), row[0]);
    // Neither of the two, and a request without a record.
    assert_eq!(
        site.run(&["audit", "show", "nonsense"]).status.code(),
        Some(2)
    );
    let none = ["audit", "show", "01M85J3KY28Q1C9WJCP9C5VPRY"];
    assert_eq!(site.run(&none).status.code(), Some(4));
}

#[test]
fn changes_are_listed_by_what_was_done() {
    let site = people();
    let of = |action: &str| {
        let list = site.json(&["audit", "list", "--action", action]);
        let records = list["records"].as_array().unwrap().iter();
        records
            .map(|record| record["action"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(of("user_add").len(), 4);
    assert_eq!(of("Token_Revoke"), ["token_revoke"]);
    assert!(of("user_remove").is_empty());
    let words = ["audit", "list", "--action", "token_add", "--user", "carol"];
    assert_eq!(site.json(&words)["records"].as_array().unwrap().len(), 1);
    // A change is no reason: the error says which option finds it.
    let output = site.run(&["audit", "list", "--reason", "user_set"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("--action"), "{said}");
    let output = site.run(&["audit", "list", "--reason", "wrong_cod"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("wrong_code"), "{said}");
}

/// Notices that no gateway can carry are found before a user misses one.
#[test]
fn doctor_says_which_notices_nobody_carries() {
    let site = people();
    let found = || {
        let output = site.run(&["--json", "doctor"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = report["checks"].as_array().unwrap().clone();
        let about = |check: &&Value| check["check"] == "notices";
        checks.iter().filter(about).cloned().collect::<Vec<_>>()
    };
    let telling = format!("{NO_DELAY}[notify]\nevents = [\"lock\"]\nmedia = [\"email\"]\n");
    let policies = site.path().join("policies");
    std::fs::write(policies.join("telling.toml"), &telling).unwrap();
    assert!(found().is_empty(), "no client has that policy");
    let client = ["client", "add", "api", "web", "--policy", "telling"];
    let daemon = site.serve();
    site.json(&client);
    let all = found();
    assert_eq!(all.len(), 1, "{all:?}");
    let text = all[0].to_string();
    for word in ["telling", "lock", "email", "[delivery."] {
        assert!(text.contains(word), "no {word} in {text}");
    }
    assert_ne!(all[0]["state"], "ok");
    // A gateway of another medium does not help; one of this does.
    let path = site.path().join("oncegate.toml");
    let good = std::fs::read_to_string(&path).unwrap();
    let double = crate::support::gateway::GatewayDouble::start();
    std::fs::write(&path, format!("{good}\n{}", double.table("sms", ""))).unwrap();
    assert_eq!(found().len(), 1);
    let mail = double.table("mail", "").replace("\"sms\"", "\"email\"");
    std::fs::write(&path, format!("{good}\n{mail}")).unwrap();
    assert!(found().is_empty());
    assert!(daemon.terminate().success());
}

#[test]
fn an_empty_list_says_what_is_known_to_be_wrong() {
    let site = people();
    let run = |words: &[&str]| {
        let output = site.run(words);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    for (words, said) in [
        (&["--action", "user_ad"][..], "did you mean `user_add`?"),
        (
            &["--action", "something"],
            "the actions are: accounting_off",
        ),
        (&["--nas", "nope"], "no record comes from a NAS `nope`"),
        (&["--since", "2100-01-01"], "is in the future"),
        (&["--user", "nobody-here"], "nobody-here"),
    ] {
        let (code, text) = run(&[&["audit", "list"], words].concat());
        assert_eq!(code, Some(0), "{text}");
        assert!(
            text.contains("No records") && text.contains(said),
            "{words:?}: {text}"
        );
    }
    let (code, text) = run(&["audit", "list", "--since", "1h", "--until", "2h"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("is not after --since"), "{text}");
    // What is known and has no record is a plain list.
    let (_, text) = run(&["audit", "list", "--action", "user_erase"]);
    assert_eq!(text, "No records.\n");
    let (_, text) = run(&["user", "list", "--after", "zzz@zz"]);
    assert!(
        text.contains("No matching users after zzz@zz.") && !text.contains("Add one"),
        "{text}"
    );
    let (_, text) = run(&["user", "list", "--limit", "0"]);
    assert!(!text.contains("Add one"), "{text}");
    let empty = Site::new();
    let output = empty.run(&["user", "list"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("Add one"));
}

#[test]
fn a_prune_that_removes_nothing_says_why_and_does_not_ask() {
    let site = people();
    for before in ["2100-01-01", "1h", "2020-01-01"] {
        // Not asked: without --yes a command that asks is refused here, or waits.
        let output = site.run(&["audit", "prune", "--before", before]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{before}");
        assert!(
            text.contains("the newest is never pruned"),
            "{before}: {text}"
        );
    }
    let done = site.json(&["audit", "prune", "--before", "2100-01-01"]);
    assert_eq!(done["removed"], 0);
    assert!(
        site.json(&["audit", "list", "--action", "audit_prune"])["records"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}
