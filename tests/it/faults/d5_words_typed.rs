//! What newcomers type works where its meaning is certain, and gets the right word where it is not.

use crate::support::daemon::Site;

const KEY: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

/// Standard error of a command that must be refused as wrong usage.
fn advice(site: &Site, words: &[&str]) -> String {
    let output = site.run(words);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
    said
}

#[test]
fn other_names_of_verbs_and_nouns_work() {
    let site = Site::new();
    let done = |words: &[&str]| site.json(words);
    done(&["user", "create", "alice"]);
    done(&["users", "new", "bob"]);
    assert_eq!(done(&["user", "ls"])["users"].as_array().unwrap().len(), 2);
    assert_eq!(done(&["user", "get", "alice"])["user"], "alice@default");
    assert_eq!(
        done(&["user", "edit", "bob", "--group", "vpn"])["groups"][0],
        "vpn"
    );
    assert_eq!(done(&["user", "block", "bob"])["disabled"], true);
    assert_eq!(done(&["user", "unblock", "bob"])["disabled"], false);
    for (serial, verb) in [("A-1", "delete"), ("A-2", "rm"), ("A-3", "del")] {
        done(&["token", "new", "alice", "--serial", serial]);
        assert_eq!(done(&["token", verb, serial])["removed"], serial);
    }
    done(&["client", "create", "api", "app"]);
    assert_eq!(done(&["clients", "delete", "app"])["removed"], "app");
    assert_eq!(
        done(&["user", "delete", "alice"])["removed"],
        "alice@default"
    );
    assert_eq!(
        done(&["user", "rm", "bob", "--yes"])["removed"],
        "bob@default"
    );
    assert_eq!(
        done(&["delegations", "ls"])["delegations"],
        serde_json::json!([])
    );
    assert_eq!(done(&["policies", "validate"])["ok"], true);
    assert_eq!(done(&["config", "validate"])["ok"], true);
    let version = done(&["version"])["version"].as_str().unwrap().to_owned();
    let output = site.run(&["version"]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("oncegate {version}\n")
    );
}

#[test]
fn a_user_stands_without_an_option() {
    let site = Site::new();
    let serial = site.enrol("alice", "hotp", KEY);
    site.json(&["user", "add", "bob"]);
    for words in [
        &["token", "list", "alice"][..],
        &["token", "list", "--user", "alice"],
    ] {
        assert_eq!(site.json(words)["tokens"][0]["serial"], serial.as_str());
    }
    for words in [
        &["device", "list", "alice"][..],
        &["device", "list", "--user", "alice"],
    ] {
        assert_eq!(site.json(words)["devices"], serde_json::json!([]));
    }
    let two = "755224\n287082\n";
    site.json_with(&["token", "link", &serial, "bob", "--otp-stdin"], two);
    site.json(&["token", "unlink", &serial, "bob"]);
    let of = |words: &[&str]| site.json(words)["records"].as_array().unwrap().len();
    let some = of(&["audit", "list", "bob"]);
    assert!(some > 0 && some < of(&["audit", "list"]));
    assert_eq!(some, of(&["audit", "list", "--user", "bob"]));
    for words in [
        &["explain", "bob", "--client", "local"][..],
        &["explain", "--user", "bob", "--client", "local"],
    ] {
        let explained = site.json(words);
        assert_eq!(
            explained["login"]["user"]["user"], "bob@default",
            "{words:?}"
        );
    }
    // Both at once could be two users.
    for words in [
        &["token", "list", "alice", "--user", "bob"][..],
        &["device", "list", "alice", "--user", "bob"],
        &["audit", "list", "alice", "--user", "bob"],
    ] {
        advice(&site, words);
    }
    let said = advice(&site, &["explain", "bob"]);
    assert!(said.contains("explain bob --client"), "{said}");
}

#[test]
fn tail_follows_as_tail_does() {
    let site = Site::new();
    site.json(&["user", "add", "alice"]);
    // Without a daemon there is nothing to follow, and that is what is said.
    for words in [
        &["tail", "-f"][..],
        &["tail", "--follow"],
        &["tail"],
        &["audit", "tail", "-f"],
    ] {
        let output = site.run(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{words:?}: {said}");
        assert!(said.contains("no daemon runs"), "{said}");
    }
    let output = site.run(&["audit", "tail", "-n", "1"]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && shown.contains("alice"),
        "{shown}"
    );
}

#[test]
fn a_word_without_certain_meaning_gets_the_right_one() {
    let site = Site::new();
    for (words, right) in [
        (&["user", "lock", "alice"][..], "oncegate user disable"),
        (&["user", "suspend", "alice"], "oncegate user disable"),
        (&["user", "passwd", "alice"], "--password-stdin"),
        (&["users", "lock", "alice"], "oncegate user disable"),
        (&["token", "disable", "A-1"], "oncegate token suspend"),
        (&["token", "activate", "A-1"], "oncegate token confirm"),
        (&["token", "qr", "A-1"], "oncegate token add"),
        (&["client", "add", "vpn1"], "oncegate client add radius"),
        (&["client", "disable", "vpn1"], "oncegate client remove"),
        (&["config", "reload"], "oncegate reload"),
        (&["policy", "load"], "oncegate reload"),
        (&["policy", "edit", "vpn"], "policies/NAME.toml"),
        (&["audit", "search", "alice"], "oncegate audit list"),
        (&["log"], "oncegate tail"),
        (&["logs", "-f"], "oncegate tail"),
        (&["server", "start"], "oncegate serve"),
        (&["start"], "oncegate serve"),
        (&["stop"], "SIGTERM"),
        (&["status", "--watch"], "watch -n 5 oncegate status"),
        (&["list", "users"], "oncegate user list"),
        (&["add", "user", "alice"], "oncegate user add"),
        (&["user", "alice@staff"], "oncegate user show alice@staff"),
        (&["user", "list", "alice"], "oncegate user show"),
        (
            &["--quiet", "user", "lock", "alice"],
            "oncegate user disable",
        ),
        (&["--dir", "x", "log"], "oncegate tail"),
    ] {
        let said = advice(&site, words);
        let next = said.lines().find(|line| line.starts_with("next:"));
        assert!(
            next.is_some_and(|next| next.contains(right)),
            "{words:?}: {said}"
        );
    }
    // A slip of the fingers is named by the parser itself.
    let said = advice(&site, &["user", "lst"]);
    assert!(said.contains("'list'"), "{said}");
    // For programs it is one document, with the advice in it.
    let output = site.run(&["--json", "user", "lock", "alice"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let remedy = document["error"]["remedy"].as_str().unwrap();
    assert!(remedy.contains("oncegate user disable"), "{document}");
}

/// What is advised can be typed.
#[test]
fn help_of_each_alias_is_that_of_its_command() {
    let site = Site::new();
    let help = |words: &[&str]| {
        let output = site.run(&[words, &["--help"]].concat());
        assert!(output.status.success(), "{words:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for (alias, command) in [
        (&["user", "del"][..], &["user", "remove"][..]),
        (&["token", "create"], &["token", "add"]),
        (&["outage", "start"], &["outage", "declare"]),
        (&["device", "enrol"], &["device", "enroll"]),
        (&["completion"], &["completions"]),
    ] {
        assert_eq!(help(alias), help(command));
    }
}
