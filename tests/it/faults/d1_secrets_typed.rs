//! Secrets that are typed or piped: what is stored is what was meant, whole.

use std::process::Output;

use crate::support::daemon::{Site, command};
use crate::support::terminal::Terminal;

const KEY: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

fn terminal(site: &Site, words: &[&str]) -> Terminal {
    let mut command = command(&site.path());
    command.args(words);
    Terminal::start(command)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A command that must refuse its input; what it says names no secret.
fn refused(site: &Site, words: &[&str], input: &str) -> String {
    let output = site.run_with(words, input);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(2), "{words:?} {input:?}: {said}");
    for line in input.lines().filter(|line| line.len() > 3) {
        assert!(!said.contains(line), "{words:?} repeats a secret: {said}");
    }
    said
}

#[test]
fn a_password_is_typed_twice_and_never_shown() {
    let site = Site::new();
    site.json(&["user", "add", "alice"]);
    let mut screen = terminal(&site, &["user", "set", "alice", "--password-stdin"]);
    screen.until("Type the password");
    assert!(!screen.echoes());
    screen.type_line("ein langes Wort");
    screen.until("again");
    assert!(!screen.echoes());
    screen.type_line("ein langes Wort");
    let (shown, status) = screen.end();
    assert!(status.success(), "{shown}");
    assert!(!shown.contains("langes"), "{shown}");
    assert!(!site.json(&["user", "show", "alice"])["password"].is_null());
}

#[test]
fn two_that_differ_change_nothing() {
    let site = Site::new();
    site.json(&["user", "add", "alice"]);
    let mut screen = terminal(&site, &["user", "set", "alice", "--pin-stdin"]);
    screen.until("Type the PIN");
    screen.type_line("839201");
    screen.until("again");
    screen.type_line("839210");
    let (shown, status) = screen.end();
    assert_eq!(status.code(), Some(2), "{shown}");
    assert!(
        shown.contains("not the same PIN") && !shown.contains("8392"),
        "{shown}"
    );
    assert!(site.json(&["user", "show", "alice"])["pin"].is_null());
}

#[test]
fn password_and_pin_are_asked_for_in_their_order() {
    let site = Site::new();
    let words = ["user", "add", "bob", "--pin-stdin", "--password-stdin"];
    let mut screen = terminal(&site, &words);
    for (what, text) in [("password", "ein langes Wort"), ("PIN", "839201")] {
        screen.until(&format!("Type the {what}"));
        screen.type_line(text);
        screen.until("again");
        screen.type_line(text);
    }
    let (shown, status) = screen.end();
    assert!(status.success(), "{shown}");
    let bob = site.json(&["user", "show", "bob"]);
    assert!(!bob["pin"].is_null() && !bob["password"].is_null());
}

#[test]
fn keys_and_shared_secrets_are_typed_twice_codes_once() {
    let site = Site::new();
    site.json(&["user", "add", "alice"]);
    let radius = [
        "client",
        "add",
        "radius",
        "vpn",
        "--address",
        "192.0.2.1",
        "--secret-stdin",
    ];
    let token = ["token", "add", "alice", "--kind", "hotp", "--secret-stdin"];
    for (words, what, text) in [
        (&radius[..], "shared secret", "Zf9-qqX_77w.KmP31vAa"),
        (&token[..], "key", KEY),
    ] {
        let mut screen = terminal(&site, words);
        screen.until(&format!("Type the {what}"));
        screen.type_line(text);
        screen.until("again");
        screen.type_line(text);
        let (shown, status) = screen.end();
        assert!(status.success(), "{shown}");
        let shown = shown.split("Shared secret").next().unwrap();
        assert!(!shown.contains(text), "{shown}");
    }
    let tokens = site.json(&["token", "list", "--user", "alice"]);
    let serial = tokens["tokens"][0]["serial"].as_str().unwrap().to_owned();
    // RFC 4226, the codes of counters 0 and 1.
    let mut screen = terminal(&site, &["token", "confirm", &serial]);
    screen.until("Type the code");
    screen.type_line("755224");
    let (shown, status) = screen.end();
    assert!(status.success() && !shown.contains("again"), "{shown}");
    let mut screen = terminal(&site, &["verify", "alice"]);
    screen.until("Type the code");
    screen.type_line("287082");
    let (shown, status) = screen.end();
    assert!(status.success() && !shown.contains("287082"), "{shown}");
}

#[test]
fn an_interrupt_puts_the_terminal_back_and_changes_nothing() {
    let site = Site::new();
    site.json(&["user", "add", "alice"]);
    for key in [3, 28] {
        let mut screen = terminal(&site, &["user", "set", "alice", "--password-stdin"]);
        screen.until("Type the password");
        screen.press(b'x');
        screen.press(key);
        screen.until("stopped");
        let (shown, status) = screen.end();
        assert_eq!(status.code(), Some(1), "{shown}");
    }
    // The end of a terminal's input is no password either.
    let mut screen = terminal(&site, &["user", "set", "alice", "--password-stdin"]);
    screen.until("Type the password");
    screen.press(4);
    screen.until("empty");
    assert_eq!(screen.end().1.code(), Some(2));
    assert!(site.json(&["user", "show", "alice"])["password"].is_null());
}

#[test]
fn a_key_wrapped_over_lines_is_refused() {
    let site = Site::new();
    site.json(&["user", "add", "alice"]);
    let words = ["token", "add", "alice", "--active", "--secret-stdin"];
    for wrapped in [
        "GEZDGNBVGY3TQOJQ\nGEZDGNBVGY3TQOJQ\n",
        "GEZDGNBVGY3TQOJQ\r\nGEZDGNBVGY3TQOJQ\r\n",
        "GEZDGNBVGY3TQOJQ\n\nGEZDGNBVGY3TQOJQ",
    ] {
        let said = refused(&site, &words, wrapped);
        assert!(said.contains("the key is one line"), "{said}");
        assert!(said.contains("tr -d"), "says what to do: {said}");
    }
    let tokens = site.json(&["token", "list"]);
    assert_eq!(tokens["tokens"].as_array().unwrap().len(), 0);
    // One line is taken whole, however it ends and wherever it has blanks.
    for (serial, whole) in [
        ("A-1", "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ\r\n"),
        ("A-2", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\n"),
        ("A-3", "gezdgnbvgy3tqojqgezdgnbvgy3tqojq"),
    ] {
        site.json(&["user", "add", serial]);
        let words = ["token", "add", serial, "--serial", serial, "--secret-stdin"];
        assert_eq!(site.json_with(&words, whole)["secret"], KEY, "{whole:?}");
        site.json(&["token", "remove", serial]);
    }
}

#[test]
fn every_option_takes_its_line_and_no_more() {
    let site = Site::new();
    let serial = site.enrol("alice", "hotp", KEY);
    let two = "755224\n287082\n";
    for (words, lines) in [
        (
            &["user", "set", "alice", "--password-stdin"][..],
            "ein langes Wort\nund mehr\n",
        ),
        (&["user", "set", "alice", "--pin-stdin"], "839201\n839201\n"),
        (
            &["user", "set", "alice", "--password-stdin", "--pin-stdin"],
            "ein langes Wort\n839201\n839201\n",
        ),
        (&["user", "add", "carol", "--pin-stdin"], "839201\n\n839201"),
        (
            &[
                "client",
                "add",
                "radius",
                "vpn",
                "--address",
                "192.0.2.1",
                "--secret-stdin",
            ],
            "Zf9-qqX_77w.KmP31vAa\nund mehr",
        ),
        (&["verify", "alice", "--otp-stdin"], two),
        (&["verify", "alice", "--passcode-stdin"], two),
        (
            &["verify", "alice", "--pin-stdin", "--otp-stdin"],
            "839201\n755224\n287082\n",
        ),
        (
            &["token", "resync", &serial, "--otp-stdin"],
            "755224\n287082\n359152\n",
        ),
    ] {
        let said = refused(&site, words, lines);
        assert!(said.contains("stdin has more than"), "{words:?}: {said}");
    }
    // Too few are named too, with the order.
    let words = ["user", "set", "alice", "--pin-stdin", "--password-stdin"];
    let said = refused(&site, &words, "ein langes Wort\n");
    assert!(said.contains("PIN on stdin is empty"), "{said}");
    assert!(said.contains("password, then PIN"), "{said}");
    // Nothing of this was done, and no code was used up by it.
    let alice = site.json(&["user", "show", "alice"]);
    assert!(alice["password"].is_null() && alice["pin"].is_null());
    assert_eq!(site.run(&["user", "show", "carol"]).status.code(), Some(4));
    let verified = site.run_with(&["verify", "alice", "--otp-stdin"], "755224\r\n");
    assert!(verified.status.success());
    let set = ["user", "set", "alice", "--pin-stdin", "--password-stdin"];
    site.json_with(&set, "ein langes Wort\r\n839201\r\n");
}

#[test]
fn a_file_with_a_secret_holds_one_line() {
    let site = Site::new();
    let daemon = site.serve();
    let key = site.path().join("key");
    let url = format!("http://{}", daemon.http);
    let ask = |text: &str| {
        std::fs::write(&key, text).unwrap();
        let file = key.to_str().unwrap();
        site.run(&["--server", &url, "--key-file", file, "user", "list"])
    };
    let good = site.admin_key.clone();
    assert!(ask(&format!("{good}\r\n")).status.success());
    let output = ask(&format!("{good}\n{good}\n"));
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(!said(&output).contains(&good));

    let users = site.path().join("users.csv");
    std::fs::write(&users, format!("user,secret\nalice,{KEY}\n")).unwrap();
    let secret = site.path().join("secret");
    std::fs::write(&secret, "Zf9-qqX_77w\n.KmP31vAa\n").unwrap();
    let output = site.run(&[
        "bench",
        "radius",
        &daemon.radius.to_string(),
        "--users",
        users.to_str().unwrap(),
        "--secret-file",
        secret.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("one line"), "{}", said(&output));
}

/// A password or a key that stands in the configuration itself is named by its line, and repeated by no command.
#[test]
fn a_secret_in_the_configuration_is_not_repeated() {
    let site = Site::new();
    let config = site.path().join("oncegate.toml");
    let bad = "[source.hr]\nkind = \"sql\"\nquery = \"SELECT 1\"\n\
               url = \"postgresql://u:DBSECRET@127.0.0.1/db\"\nbind_password = \"BINDSECRET\"\n\
               [audit]\nship_http = \"https://u:SHIPSECRET@127.0.0.1/?token=TOKENSECRET\"\n\
               [delivery.sms]\npassword = \"SMSSECRET\"\n[keys]\nmastr = \"KEYSECRET\"\n";
    std::fs::write(&config, bad).unwrap();
    for (words, code) in [
        (&["config", "check"][..], 1),
        (&["config", "show"], 2),
        (&["serve"], 2),
        (&["--json", "config", "check"], 1),
        (&["--json", "serve"], 2),
    ] {
        let output = site.run(words);
        let shown = String::from_utf8_lossy(&output.stdout).into_owned() + &said(&output);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {shown}");
        assert!(!shown.contains("SECRET"), "{words:?}: {shown}");
        if words[0] == "--json" {
            continue;
        }
        for line in [4, 5, 7, 9, 11] {
            let place = format!("oncegate.toml:{line}");
            assert!(shown.contains(&place), "{words:?}: no {place} in {shown}");
        }
        assert!(shown.contains("5 | bind_password =\n"), "{shown}");
    }
    // What is right is shown without what may be a key.
    let good = "[audit]\nship_http = \"https://127.0.0.1:9/in?token=TOKENSECRET\"\n";
    std::fs::write(&config, good).unwrap();
    let shown = site.json(&["config", "show"]).to_string();
    assert!(shown.contains("https://127.0.0.1:9/in?token="), "{shown}");
    assert!(!shown.contains("TOKENSECRET"), "{shown}");
}
