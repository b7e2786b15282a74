//! What newcomers type works where its meaning is certain, and gets the right word where it is not.

use crate::support::codes::hotp;
use crate::support::daemon::Site;
use crate::support::net::Http;
use crate::support::terminal::Terminal;

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
        assert_eq!(done(&["token", verb, serial, "--yes"])["removed"], serial);
    }
    done(&["client", "create", "api", "app"]);
    assert_eq!(
        done(&["clients", "delete", "app", "--yes"])["removed"],
        "app"
    );
    assert_eq!(
        done(&["user", "delete", "alice", "--yes"])["removed"],
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

/// What would end all of a user's sessions is not done for a word in the place of a session, but named.
#[test]
fn a_user_in_the_place_of_a_session_is_told_the_option() {
    let site = Site::new();
    site.json(&["user", "add", "alice"]);
    let daemon = site.serve();
    for words in [
        &["session", "disconnect", "alice", "--yes"][..],
        &["session", "set", "alice"],
    ] {
        let output = site.run(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{words:?}: {said}");
        let right = format!("oncegate session {} --user alice", words[1]);
        assert!(said.contains(&right), "{words:?}: {said}");
    }
    assert!(daemon.terminate().success());
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
    // Of one user, by the name that was typed; also of one who is only known by what was tried.
    site.json(&["user", "add", "bob"]);
    for (words, lines) in [
        (&["tail", "-n", "9", "alice"][..], 1),
        (&["tail", "-n", "9", "--user", "ALICE@default"], 1),
        (&["tail", "-n", "9", "nobody"], 0),
    ] {
        let output = site.run(words);
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{words:?}: {output:?}");
        assert_eq!(shown.lines().count(), lines, "{words:?}: {shown}");
        assert!(!shown.contains("bob"), "{words:?}: {shown}");
    }
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

/// What destroys something asks at a terminal, and wants `--yes` where nothing can be asked.
#[test]
fn what_destroys_is_confirmed() {
    let site = Site::new();
    site.enrol("alice", "hotp", KEY);
    let serial = site.json(&["token", "list", "alice"])["tokens"][0]["serial"]
        .as_str()
        .unwrap()
        .to_owned();
    site.api_client("app");
    for name in ["kim", "lee"] {
        site.json(&["client", "add", "api", name, "--scope", "approver"]);
    }
    let lend = ["delegation", "add", "--from", "api:kim", "--to", "api:lee"];
    site.json(&[&lend[..], &["--for", "1d", "--reason", "x"]].concat());
    let destroying = [
        &["token", "revoke", &serial][..],
        &["token", "remove", &serial],
        &["client", "remove", "app"],
        &[
            "delegation",
            "remove",
            "--from",
            "api:kim",
            "--to",
            "api:lee",
        ],
        &["user", "erase", "alice"],
        &["user", "remove", "alice"],
        &["device", "remove", "DEVICE-1"],
        &["clock", "recover"],
    ];
    let seq = || site.json(&["audit", "list", "--limit", "1"])["records"][0]["seq"].clone();
    let before = seq();
    for words in destroying {
        // Without a terminal only what no other command makes good wants the word.
        if ["erase", "recover"].contains(&words[1]) {
            let said = advice(&site, words);
            assert!(said.contains("--yes"), "{words:?}: {said}");
        }
        // At a terminal an answer that is not yes changes nothing.
        let mut command = crate::support::daemon::command(&site.path());
        command.args(words);
        let mut terminal = Terminal::start(command);
        terminal.until("[y/N]");
        terminal.type_line("n");
        terminal.until("nothing was changed");
        assert_eq!(terminal.end().1.code(), Some(1), "{words:?}");
    }
    assert_eq!(seq(), before, "nothing was changed");
    for words in [destroying[3], destroying[0], destroying[5]] {
        let mut command = crate::support::daemon::command(&site.path());
        command.args(words);
        let mut terminal = Terminal::start(command);
        terminal.until("[y/N]");
        terminal.type_line("y");
        assert_eq!(terminal.end().1.code(), Some(0), "{words:?}");
    }
    assert_eq!(site.run(&["user", "show", "alice"]).status.code(), Some(4));
    // A program is not asked.
    site.json(destroying[2]);
}

/// The parser suggests names that the help shows: no alias, no option for tests.
#[test]
fn suggestions_are_names_that_help_shows() {
    let site = Site::new();
    for (words, right, hidden) in [
        (&["user", "delte"][..], "'remove'", "'delete'"),
        (&["user", "crate"], "'add'", "'create'"),
        (&["userz"], "'user'", "'users'"),
        (&["token", "delet"], "'remove'", "'delete'"),
        (&["client", "updat"], "'set'", "'update'"),
    ] {
        let said = advice(&site, words);
        assert!(said.contains(right), "{words:?}: {said}");
        assert!(!said.contains(hidden), "{words:?}: {said}");
    }
    let said = advice(&site, &["verify", "alice", "--ot", "123456"]);
    assert!(!said.contains("'--otp'"), "{said}");
}

/// A value that came with one option is complained of with that option's name.
#[test]
fn complaints_name_the_option_that_was_given() {
    let site = Site::new();
    site.json(&["user", "add", "alice"]);
    let refused = |words: &[&str]| {
        let said = advice(&site, words);
        assert!(
            !said.contains("--until") && !said.contains("_secs"),
            "{said}"
        );
        said
    };
    let bypass = ["user", "bypass", "alice", "--reason", "x", "--for"];
    for length in ["48h", "0m"] {
        let said = refused(&[&bypass[..], &[length]].concat());
        assert!(said.contains("--for: "), "{said}");
    }
    let said = refused(&["user", "exempt", "alice", "--reason", "x", "--for", "9999d"]);
    assert!(said.contains("--for: "), "{said}");
    site.json(&["client", "add", "api", "kim", "--scope", "approver"]);
    let lend = ["delegation", "add", "--to", "api:kim", "--reason", "x"];
    let said = refused(&[&lend[..], &["--for", "999d"]].concat());
    assert!(said.contains("--for: "), "{said}");
    let said = advice(&site, &[&lend[..], &["--until", "2099-01-01"]].concat());
    assert!(said.contains("--until: "), "{said}");
    let said = refused(&["outage", "declare", "--for", "48h", "--reason", "x"]);
    assert!(said.contains("--for: "), "{said}");
}

/// A network with bits behind its prefix could be that network or the one address.
#[test]
fn a_network_with_host_bits_is_refused_with_both_readings() {
    let site = Site::new();
    for (given, network, address) in [
        ("10.0.0.5/24", "10.0.0.0/24", "10.0.0.5/32"),
        ("192.0.2.130/25", "192.0.2.128/25", "192.0.2.130/32"),
        ("2001:db8::7/64", "2001:db8::/64", "2001:db8::7/128"),
    ] {
        let said = advice(
            &site,
            &["client", "add", "radius", "vpn", "--address", given],
        );
        assert!(said.contains(network) && said.contains(address), "{said}");
    }
    site.json(&["client", "add", "radius", "vpn", "--address", "10.0.0.0/24"]);
    let said = advice(&site, &["client", "set", "vpn", "--address", "10.0.0.5/24"]);
    assert!(said.contains("10.0.0.5/32"), "{said}");
    // The API refuses the same.
    let daemon = site.serve();
    let mut http = Http::new(daemon.http, &site.admin_key);
    let body = r#"{"kind":"radius","name":"v2","addresses":["10.1.0.5/24"]}"#;
    let (status, answer) = http
        .send("POST", "/v1/admin/clients", body.as_bytes())
        .unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert_eq!(status, 400, "{answer}");
    assert!(answer.contains("10.1.0.0/24"), "{answer}");
    assert!(daemon.terminate().success());
    // And so does the configuration.
    let path = site.path().join("oncegate.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let proxies = "trusted_proxies = [\"10.0.0.5/24\"]";
    let text = text.replacen(
        "# trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/24\"]",
        proxies,
        1,
    );
    assert!(text.contains(proxies));
    std::fs::write(&path, text).unwrap();
    let said = advice(&site, &["user", "list"]);
    assert!(said.contains("10.0.0.0/24"), "{said}");
}

#[test]
fn a_resync_says_what_it_did() {
    let site = Site::new();
    let serial = site.enrol("alice", "hotp", KEY);
    let codes = format!("{}\n{}\n", hotp(20), hotp(21));
    let output = site.run_with(&["token", "resync", &serial, "--otp-stdin"], &codes);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("in step again") && said.contains("22"),
        "{said}"
    );
    assert!(!said.contains("is active"), "{said}");
}

#[test]
fn what_a_library_says_of_a_value_is_said_in_our_words() {
    let site = Site::new();
    for (words, said) in [
        (
            &["user", "list", "--limit", "x"][..],
            "write a whole number",
        ),
        (&["user", "list", "--limit", "0"], "from 1 on"),
        (&["audit", "list", "--limit", "0"], "from 1 on"),
        (&["audit", "list", "--before", ""], "whole number"),
        (&["tail", "-n", "-1x"], "error"),
        (&["serve", "--radius", "localhost"], "write ADDR:PORT"),
        (&["verify", "bob", "--from", "here"], "write an IP address"),
        (
            &["audit", "list", "--since", "2026-13-01"],
            "no such day or time",
        ),
        (
            &["audit", "list", "--since", "25:00"],
            "no such day or time",
        ),
        (
            &["audit", "list", "--request", "x"],
            "has 26 letters and digits",
        ),
    ] {
        let text = advice(&site, words);
        assert!(text.contains(said), "{words:?}: {text}");
        for theirs in [
            "invalid digit",
            "invalid socket",
            "invalid IP address syntax",
            "cannot parse",
        ] {
            assert!(!text.contains(theirs), "{words:?}: {text}");
        }
        let text = advice(&site, &[&["--json"], words].concat());
        assert!(!text.contains("invalid digit"), "{text}");
    }
}

#[test]
fn what_works_on_files_of_this_machine_is_named_as_it_was_typed() {
    let site = Site::new();
    for verb in ["check", "test"] {
        let words = ["policy", verb, "--server", "http://127.0.0.1:1"];
        let text = advice(&site, &words);
        let command = format!("`policy {verb}` works on this machine's files");
        assert!(text.contains(&command), "{text}");
    }
    // What help calls a time is one.
    let help = site.run(&["explain", "--help"]);
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(!help.contains("or in 2h"), "{help}");
}

#[test]
fn what_was_so_already_is_said() {
    let site = Site::new();
    site.enrol("alice", "hotp", KEY);
    let said = |words: &[&str]| {
        let output = site.run(words);
        assert!(output.status.success(), "{words:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(said(&["user", "enable", "alice"]).contains("alice@default was enabled already"));
    assert_eq!(said(&["user", "disable", "alice"]), "");
    assert!(said(&["user", "disable", "alice"]).contains("alice@default was disabled already"));
    assert_eq!(said(&["user", "enable", "alice"]), "");
    assert!(said(&["user", "unlock", "alice"]).contains("was not locked"));
    for _ in 0..2 {
        site.run_with(&["verify", "alice", "--otp-stdin"], "000000");
    }
    let ended = said(&["user", "unlock", "alice"]);
    assert!(
        ended.contains("Ended: ") && ended.contains("failure"),
        "{ended}"
    );
    assert!(said(&["user", "unlock", "alice"]).contains("was not locked"));
    let output = site.run(&["user", "set", "alice", "--group", "vpn"]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("unlocked, no failures"), "{shown}");
}

#[test]
fn there_is_a_man_page_for_each_command_and_none_for_help() {
    let site = Site::new();
    let dir = tempfile::tempdir().unwrap();
    let wrote = site.json(&["man", dir.path().to_str().unwrap()]);
    let files: Vec<&str> = wrote["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file.as_str().unwrap())
        .collect();
    assert!(
        files
            .iter()
            .any(|file| file.ends_with("oncegate-user-add.1"))
    );
    assert!(
        files.len() > 50 && !files.iter().any(|file| file.contains("help")),
        "{files:?}"
    );
    let page = std::fs::read_to_string(dir.path().join("oncegate-user.1")).unwrap();
    assert!(!page.contains("user\\-help"), "{page}");
}

#[test]
fn an_address_that_a_client_has_names_that_client() {
    let site = Site::new();
    site.json(&["client", "add", "radius", "first", "--address", "192.0.2.7"]);
    site.json(&["client", "add", "radius", "third", "--address", "192.0.2.9"]);
    for words in [
        &[
            "client",
            "add",
            "radius",
            "second",
            "--address",
            "192.0.2.7",
        ][..],
        &[
            "client",
            "add",
            "radius",
            "second",
            "--address",
            "192.0.2.7/32",
        ],
        &["client", "set", "third", "--address", "192.0.2.7"],
    ] {
        let output = site.run(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(5), "{said}");
        assert!(said.contains("client first has the address"), "{said}");
        assert!(said.contains("client set first"), "{said}");
    }
    let output = site.run(&["client", "add", "radius", "first", "--address", "192.0.2.7"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("client first exists already"), "{said}");
}

#[test]
fn the_first_user_of_a_realm_is_told() {
    let site = Site::new();
    let said = |name: &str| {
        let output = site.run(&["user", "add", name]);
        assert!(output.status.success(), "{name}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert_eq!(said("alice"), "");
    assert!(said("bob@nowhere").contains("first user of the realm `nowhere`"));
    assert_eq!(said("carol@nowhere"), "");
    assert!(said("STAFF\\dave").contains("`staff`"));
    site.json(&["client", "add", "api", "app", "--realm", "partners"]);
    assert_eq!(said("erin@partners"), "");
    assert!(
        said("frank@where").contains("`where`"),
        "a part of another realm's name"
    );
}

#[test]
fn the_line_to_try_a_client_with_holds_what_its_policy_asks_for() {
    let site = Site::new();
    let policy = site.path().join("policies/pin.toml");
    let text = "[[rule]]\nname = \"everyone\"\nrequire = [\"pin\", \"otp\"]\n";
    std::fs::write(policy, text).unwrap();
    let tried = |words: &[&str]| {
        let output = site.run(&[&["client", "add"], words].concat());
        String::from_utf8(output.stdout).unwrap()
    };
    let address = ["--address", "192.0.2.1", "--policy", "pin"];
    let text = tried(&[&["radius", "one"], &address[..]].concat());
    assert!(text.contains("User-Password=PINCODE,"), "{text}");
    let text = tried(&["radius", "two", "--address", "192.0.2.2"]);
    assert!(text.contains("User-Password=CODE,"), "{text}");
    let text = tried(&["api", "three", "--policy", "pin"]);
    assert!(
        text.contains(r#"\"pin\":\"PIN\",\"otp\":\"CODE\""#),
        "{text}"
    );
}
