//! Users who follow a directory: slapd, and a directory that answers as it is told.

use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};

use crate::support::between::{Between, faults};
use crate::support::codes::{RFC_SECRET, hotp, hotp_of, secret_of};
use crate::support::daemon::Site;
use crate::support::require;
use crate::support::slapd::Slapd;

fn sync(site: &Site, words: &[&str]) -> Value {
    site.json(&[&["source", "sync", "corp"], words].concat())
}

/// What a command that fails says, and its exit code.
fn refused(site: &Site, words: &[&str]) -> (i32, String) {
    let output = site.run(words);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), text)
}

fn user(site: &Site, name: &str) -> Value {
    site.json(&["user", "show", name])
}

#[test]
fn row_a16_users_follow_a_directory() {
    if !require("ldapmodify", "ldap-utils slapd") {
        return;
    }
    let mut slapd = Slapd::start(2500);
    let site = Site::new();
    slapd.table(
        &site.path(),
        "corp",
        &slapd.url(),
        "every = \"never\"\ntimeout = \"2s\"",
    );

    // Without a daemon: pages of 500, over StartTLS.
    site.json(&["user", "add", "u7", "--group", "own"]);
    let first = sync(&site, &[]);
    assert_eq!(
        (&first["people"], &first["counts"]["created"]),
        (&json!(2500), &json!(2499))
    );
    let why = "a user of this name follows no source: `--adopt` takes them over";
    assert_eq!(first["skipped"], json!([{"entry": "u7", "why": why}]));
    assert_eq!(user(&site, "u7")["groups"], json!(["own"]));
    let u1 = user(&site, "u1");
    assert_eq!(u1["groups"], json!(["inner", "outer", "outer2"]));
    assert_eq!(u1["display_name"], "User 1");
    assert_eq!(
        (&u1["phone"], &u1["email"]),
        (&json!("+821010000001"), &json!("u1@example.org"))
    );
    assert_eq!(u1["source"], "corp");
    let daemon = site.serve();
    let adopted = sync(&site, &["--adopt"]);
    assert_eq!(adopted["adopted"], json!(["u7@default"]));
    assert_eq!(adopted["counts"]["unchanged"], 2499, "{adopted}");
    follows_changes(&slapd, &site);
    refuses_parts(&mut slapd, &site);
    assert_eq!(site.json(&["store", "verify"])["intact"], true);
    drop(daemon);
}

/// Renamed, gone, changed: and the renamed one's token goes with them.
fn follows_changes(slapd: &Slapd, site: &Site) {
    let words = [
        "token",
        "add",
        "u1",
        "--kind",
        "hotp",
        "--secret-stdin",
        "--active",
    ];
    site.json_with(&words, &format!("{RFC_SECRET}\n"));
    let words = [
        "token",
        "add",
        "u4",
        "--kind",
        "hotp",
        "--secret-stdin",
        "--active",
    ];
    let made = site.json_with(&words, &format!("{}\n", secret_of("u4")));
    let of_u4 = made["serial"].as_str().unwrap().to_owned();
    let codes = format!("{}\n{}\n", hotp_of("u4", 0), hotp_of("u4", 1));
    site.json_with(&["token", "link", &of_u4, "u1"], &codes);
    site.json(&["user", "set", "u1", "--class", "individual"]);
    let code = |user: &str, step| site.run_with(&["verify", user, "--otp-stdin"], &hotp(step));
    assert_eq!(code("u1", 0).status.code(), Some(0));
    slapd.modify(
        "dn: uid=u1,ou=people,dc=eco\nchangetype: modrdn\nnewrdn: uid=ann\ndeleteoldrdn: 1\n\n\
         dn: uid=u2,ou=people,dc=eco\nchangetype: delete\n\n\
         dn: uid=u3,ou=people,dc=eco\nchangetype: modify\nreplace: mobile\nmobile: +82 10 2000 0003\n\n",
    );
    let dry = sync(site, &["--dry-run"]);
    let done = sync(site, &[]);
    assert_eq!(
        (&dry["dry_run"], &done["dry_run"]),
        (&json!(true), &json!(false))
    );
    for answer in [&dry, &done] {
        let renamed = json!([{"before": "u1@default", "after": "ann@default"}]);
        assert_eq!(answer["renamed"], renamed);
        assert_eq!(answer["disabled"], json!(["u2@default"]));
        let change = json!({
            "user": "u3@default", "field": "phone", "before": "+821010000003", "after": "+821020000003",
        });
        assert_eq!(answer["changed"], json!([change]), "{answer}");
    }
    let ann = user(site, "ann");
    assert_eq!(
        (&ann["class"], &ann["groups"]),
        (&json!("individual"), &json!(["inner", "outer", "outer2"]))
    );
    assert_eq!(ann["tokens"].as_array().unwrap().len(), 2, "{ann}");
    assert_eq!(refused(site, &["user", "show", "u1"]).0, 4);
    // The code that was used stays used; the next one is good.
    assert_eq!(code("ann", 0).status.code(), Some(1));
    assert_eq!(code("ann", 1).status.code(), Some(0));
    assert_eq!(code("u1", 2).status.code(), Some(1));
    let linked = site.json(&["token", "show", &of_u4]);
    assert_eq!(linked["user"], "u4@default", "{linked}");
    assert_eq!(user(site, "u2")["disabled"], true);
    // The name passes to another person: not the tokens, nor what was set.
    slapd.modify(
        "dn: uid=u2,ou=people,dc=eco\nchangetype: add\nobjectClass: inetOrgPerson\nuid: u2\ncn: Another\nsn: A\n\n",
    );
    // An administrator's word stands.
    site.json(&["user", "disable", "u5"]);
    let other = sync(site, &[]);
    assert_eq!(other["counts"]["enabled"], 0);
    assert_eq!(user(site, "u5")["disabled"], true);
    let why = other["skipped"][0]["why"].as_str().unwrap();
    assert!(
        why.starts_with("the user of this name is another person"),
        "{other}"
    );
    assert_eq!(user(site, "u2")["display_name"], "User 2");
    assert_eq!(user(site, "u2")["disabled"], true);
    let shown = site.json(&["source", "show", "corp"]);
    assert_eq!(
        (&shown["users"], &shown["disabled"]),
        (&json!(2500), &json!(2))
    );
    assert!(
        shown["last"].is_string() && shown["error"].is_null(),
        "{shown}"
    );
}

/// A directory that is dead, slow, cut short or shrunk changes nothing.
fn refuses_parts(slapd: &mut Slapd, site: &Site) {
    let words = ["source", "sync", "corp"];
    let mut leavers = String::new();
    for number in 1000..1300 {
        let _ = write!(
            leavers,
            "dn: uid=u{number},ou=people,dc=eco\nchangetype: delete\n\n"
        );
    }
    slapd.modify(&leavers);
    let (code, text) = refused(site, &words);
    assert_eq!(code, 5, "{text}");
    assert!(text.contains("300 of 2498 users are gone"), "{text}");
    assert_eq!(site.json(&["source", "show", "corp"])["disabled"], 2);
    slapd.pause(true);
    let (code, text) = refused(site, &words);
    assert!(code == 3 && text.contains("no answer within 2 s"), "{text}");
    slapd.pause(false);
    slapd.kill();
    let (code, text) = refused(site, &words);
    assert!(code == 3 && text.contains("Connection refused"), "{text}");
    let shown = site.json(&["source", "show", "corp"]);
    assert!(
        shown["error"]
            .as_str()
            .unwrap()
            .contains("Connection refused"),
        "{shown}"
    );
    assert_eq!(shown["disabled"], 2);
    slapd.run();
    assert_eq!(sync(site, &["--force"])["counts"]["disabled"], 300);
    assert_eq!(refused(site, &["source", "sync", "nowhere"]).0, 4);
}

#[test]
fn row_a16_whatever_a_directory_does_wrong_changes_nothing() {
    if !require("ldapmodify", "ldap-utils slapd") {
        return;
    }
    let slapd = Slapd::start(12);
    let between = Between::start(slapd.address(), None);
    let site = Site::new();
    let url = format!("ldap://127.0.0.1:{}", between.port);
    let more = "starttls = false\nevery = \"never\"\ntimeout = \"1s\"\npage_size = 5";
    slapd.table(&site.path(), "corp", &url, more);
    let daemon = site.serve();
    assert_eq!(sync(&site, &[])["counts"]["created"], 12);
    faults(&site, &between);
    drop(daemon);
}

#[test]
fn a_directory_is_believed_when_it_is_whole_and_the_right_one() {
    if !require("ldapmodify", "ldap-utils slapd") {
        return;
    }
    let slapd = Slapd::start(150);
    let site = Site::new();
    let configuration = site.path().join("oncegate.toml");
    let before = fs::read_to_string(&configuration).unwrap();
    let tls = slapd.tls_url();
    let limited = "bind_dn = \"cn=limited,dc=eco\"";
    for (url, from, to, wanted) in [
        (&tls, "", "", None),
        // Paging does not help who may read no more than a hundred.
        (
            &tls,
            "bind_dn = \"cn=reader,dc=eco\"",
            limited,
            Some("sizeLimitExceeded (4)"),
        ),
        (
            &tls,
            "base = \"ou=people",
            "base = \"ou=nobody",
            Some("noSuchObject (32)"),
        ),
        (
            &tls,
            "group_base = \"ou=groups",
            "group_base = \"ou=none",
            Some("groups: below"),
        ),
        (
            &tls,
            "bind_dn = \"cn=reader",
            "bind_dn = \"cn=someone",
            Some("invalidCredentials (49)"),
        ),
        (
            &slapd.url(),
            "\nca_file",
            "\nfilter = \"(uid=(*)\"\nca_file",
            Some("no filter"),
        ),
        (
            &"ldap://198.51.100.1".to_owned(),
            "",
            "",
            Some("a reserved address"),
        ),
    ] {
        fs::write(&configuration, &before).unwrap();
        slapd.table(&site.path(), "corp", url, "page_size = 50");
        let text = fs::read_to_string(&configuration).unwrap();
        assert!(text.contains(from));
        fs::write(
            &configuration,
            text.replacen(from, to, usize::from(!from.is_empty())),
        )
        .unwrap();
        let secret = if to == limited {
            "limitedpw"
        } else {
            "readerpw"
        };
        fs::write(site.path().join("reader.password"), secret).unwrap();
        match wanted {
            None => assert_eq!(sync(&site, &[])["counts"]["created"], 150),
            Some(wanted) => {
                let (code, text) = refused(&site, &["source", "sync", "corp"]);
                assert!(code != 0 && text.contains(wanted), "{wanted}: {text}");
            }
        }
    }
    // A certificate of an authority that the system does not know, both ways.
    for url in [slapd.url(), tls] {
        fs::write(&configuration, &before).unwrap();
        slapd.table(&site.path(), "corp", &url, "");
        let text = fs::read_to_string(&configuration).unwrap();
        fs::write(&configuration, text.replace("\nca_file", "\n# ca_file")).unwrap();
        let (code, text) = refused(&site, &["source", "sync", "corp"]);
        assert!(code == 3 && text.contains("certificate"), "{text}");
    }
    assert_eq!(site.json(&["source", "show", "corp"])["users"], 150);
}
