//! `oncegate setup`: what cannot be used makes nothing, and what is still to be done is said.

use std::fs;

use crate::support::daemon::{Site, command};
use crate::support::terminal::Terminal;

/// Files that are no pair, and answers that the configuration refuses; the corrected call finds nothing in its way.
#[test]
fn answers_that_cannot_be_used_make_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let make = || rcgen::generate_simple_self_signed(vec!["otp.example.com".to_owned()]).unwrap();
    let (one, other) = (make(), make());
    let certificate = put("g.pem", &one.cert.pem());
    let key = put("g.key", &one.signing_key.serialize_pem());
    let foreign = put("f.key", &other.signing_key.serialize_pem());
    let garbage = put("garbage", "no PEM");
    let site = Site::empty();
    let mail = |host: &'static str, from: &'static str| ["--mail-host", host, "--mail-from", from];
    for (words, about) in [
        (
            ["--certificate", &*garbage, "--key", &*garbage],
            "no certificate in it",
        ),
        (
            ["--certificate", &*certificate, "--key", &*garbage],
            "garbage",
        ),
        (
            ["--certificate", &*certificate, "--key", &*foreign],
            "f.key",
        ),
        (mail("mail host", "otp@example.org"), "--mail-host"),
        (mail("169.254.169.254", "otp@example.org"), "link-local"),
        (mail("127.0.0.1", "otp@"), "cannot be used"),
    ] {
        let output = site.run(&[&["setup"][..], &words[..]].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        assert!(
            said.contains(about) && said.contains("nothing was made"),
            "{words:?}: {said}"
        );
        assert!(!site.path().exists(), "{words:?}: {said}");
    }
    let made = site.json(&[
        "setup",
        "--http",
        "0.0.0.0:18444",
        "--certificate",
        &certificate,
        "--key",
        &key,
    ]);
    assert_eq!(made["ok"], true, "{made}");
    let notes = made["notes"].to_string();
    assert!(notes.contains("No login over HTTPS was tried"), "{made}");
}

#[test]
fn what_is_still_to_be_done_is_said() {
    let site = Site::empty();
    let words = [
        "setup",
        "--client",
        "vpn",
        "--address",
        "192.0.2.1",
        "--policy",
        "pin-otp",
        "--user",
        "bob",
        "--mail-host",
        "localhost",
        "--mail-from",
        "otp@example.org",
    ];
    let made = site.json(&words);
    assert_eq!(made["ok"], true, "{made}");
    let notes = made["notes"].to_string();
    for said in [
        " yet: it listens on loopback only",
        "asks for a PIN, and bob has none yet",
        "user set bob --pin-stdin",
        "allow_private = true",
        "delivery test mail --to ADDRESS",
    ] {
        assert!(notes.contains(said), "{said}: {notes}");
    }
    let config = site.json(&["config", "show"]);
    let mut values = config["values"].as_array().unwrap().iter();
    let allowed = values.find(|value| value["key"] == "delivery.mail.allow_private");
    assert_eq!(allowed.unwrap()["value"], "true", "{config}");
    // What is there is not made again: the commands that add to it are named.
    let again = site.run(&words);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert_eq!(again.status.code(), Some(5), "{said}");
    for command in [
        "client add radius NAME --address ADDRESS",
        "user add NAME",
        "token add NAME",
    ] {
        assert!(said.contains(command), "{command}: {said}");
    }
}

/// Nothing is to be typed twice because of one answer.
#[test]
fn a_wrong_answer_is_asked_for_again_at_once() {
    let site = Site::empty();
    let mut setup = command(&site.path());
    setup.arg("setup");
    let mut terminal = Terminal::start(setup);
    for (question, wrong, why, right) in [
        (
            "Where shall RADIUS be served?",
            "1812",
            "`1812` cannot be used: give an address and a port",
            "127.0.0.1:18125",
        ),
        ("Certificate for HTTPS", "/none", "it cannot be read", ""),
        (
            "Where shall HTTP be served",
            "0.0.0.0:18085",
            "beyond loopback it needs a certificate",
            "127.0.0.1:18085",
        ),
        (
            "Name of the first VPN gateway",
            "v p n",
            "choose a name of letters",
            "vpn",
        ),
        ("Its address", "nowhere", "cannot be used", "127.0.0.1"),
        ("What is it", "toaster", "manual appliances", ""),
        ("What must its users present", "none", "manual policies", ""),
        ("Mail server", "mail host", "cannot be used", ""),
    ] {
        if question == "Mail server" {
            terminal.until("Name of the first user");
            terminal.type_line("");
        }
        terminal.until(question);
        terminal.type_line(wrong);
        terminal.until(why);
        terminal.until(question);
        terminal.type_line(right);
    }
    let (screen, status) = terminal.end();
    assert_eq!(status.code(), Some(0), "{screen}");
    assert!(screen.contains("No user yet"), "{screen}");
}
