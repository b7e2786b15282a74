//! What a source says of its users is changed there: a change here would be put back without a word.

use std::fs;
use std::process::Output;

use crate::support::daemon::Site;

/// A site whose users follow a file.
fn site() -> Site {
    let site = Site::new();
    let path = site.path().join("oncegate.toml");
    let written = fs::read_to_string(&path).unwrap();
    let table = "[source.hr]\nkind = \"file\"\nfile = \"people.csv\"\nevery = \"never\"\n";
    fs::write(&path, format!("{written}\n{table}")).unwrap();
    site
}

fn people(site: &Site, rows: &[&str]) {
    let text = format!("id,user,phone\n{}\n", rows.join("\n"));
    fs::write(site.path().join("people.csv"), text).unwrap();
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_a_source_says_is_changed_there_and_the_rest_here() {
    let site = site();
    people(&site, &["1,ann,010-1000-0001", "2,bob,010-1000-0002"]);
    site.json(&["source", "sync", "hr"]);
    site.json(&["user", "add", "carol", "--phone", "010-1000-0003"]);
    let set = |user: &str, words: &[&str]| {
        let words = [&["user", "set", user], words].concat();
        site.run(&words)
    };
    for phone in ["010-9999-0000", ""] {
        let refused = set("ann", &["--phone", phone, "--class", "special"]);
        let text = said(&refused);
        assert_eq!(refused.status.code(), Some(5), "{text}");
        assert!(
            text.contains("phone follows the source `hr`: change it there"),
            "{text}"
        );
        assert!(text.contains("oncegate source sync hr"), "{text}");
    }
    let ann = site.json(&["user", "show", "ann"]);
    assert_eq!(
        (&ann["phone"], ann["class"].as_str()),
        (&"+821010000001".into(), None)
    );
    // The same value in another spelling, what the file does not say, and a user of one's own.
    for (user, words) in [
        ("ann", ["--phone", "+82 10 1000 0001"]),
        ("ann", ["--email", "ann@example.com"]),
        ("ann", ["--group", "staff"]),
        ("carol", ["--phone", "010-9999-0000"]),
    ] {
        let done = set(user, &words);
        assert!(done.status.success(), "{words:?}: {}", said(&done));
    }
    let again = site.json(&["source", "sync", "hr"]);
    assert_eq!(again["changed"], serde_json::json!([]), "{again}");
    let ann = site.json(&["user", "show", "ann"]);
    assert_eq!(ann["email"], "ann@example.com");

    // Gone from the file: who enables the user here would see them disabled at the next run.
    people(&site, &["1,ann,010-1000-0001"]);
    site.json(&["source", "sync", "hr", "--force"]);
    let refused = site.run(&["user", "enable", "bob"]);
    assert_eq!(refused.status.code(), Some(5), "{}", said(&refused));
    assert!(
        said(&refused).contains("disabled follows the source `hr`"),
        "{}",
        said(&refused)
    );
    // Whom an administrator disabled they enable.
    site.json(&["user", "disable", "ann"]);
    site.json(&["user", "enable", "ann"]);

    // A source that is configured no more puts nothing back.
    let path = site.path().join("oncegate.toml");
    let written = fs::read_to_string(&path).unwrap();
    fs::write(&path, written.split("[source.hr]").next().unwrap()).unwrap();
    for words in [
        &["user", "set", "ann", "--phone", ""][..],
        &["user", "enable", "bob"],
    ] {
        let done = site.run(words);
        assert!(done.status.success(), "{words:?}: {}", said(&done));
    }
}

/// A column that the file gets later is the source's from the next run on, and one that it loses is not.
#[test]
fn what_a_source_says_is_what_it_said_last() {
    let site = site();
    people(&site, &["1,ann,010-1000-0001"]);
    site.json(&["source", "sync", "hr"]);
    let set = |words: &[&str]| {
        let words = [&["user", "set", "ann"], words].concat();
        site.run(&words).status.code()
    };
    assert_eq!(set(&["--email", "own@example.com"]), Some(0));
    let file = site.path().join("people.csv");
    fs::write(&file, "id,user,email\n1,ann,own@example.com\n").unwrap();
    // Nothing of anyone changes: only what is said.
    let dry = site.json(&["source", "sync", "hr", "--dry-run"]);
    assert_eq!(dry["counts"]["unchanged"], 1, "{dry}");
    assert_eq!(set(&["--phone", ""]), Some(5), "a dry run changes nothing");
    site.json(&["source", "sync", "hr"]);
    assert_eq!(set(&["--phone", ""]), Some(0));
    assert_eq!(set(&["--email", "other@example.com"]), Some(5));
}

/// Users who follow a source are left as they are, by name; the others of the file are changed.
#[test]
fn an_update_from_a_file_goes_past_those_who_follow_a_source() {
    let site = site();
    people(&site, &["1,ann,010-1000-0001"]);
    site.json(&["source", "sync", "hr"]);
    site.json(&["user", "add", "zoe", "--phone", "010-1000-0003"]);
    let file = site.path().join("update.csv");
    fs::write(&file, "user,phone\nann,010-9999-0001\nzoe,010-9999-0002\n").unwrap();
    let file = file.to_str().unwrap();
    let update = site.run(&["user", "import", file, "--update"]);
    assert_eq!(update.status.code(), Some(5), "{}", said(&update));
    assert!(
        said(&update).contains("Not changed: ann"),
        "{}",
        said(&update)
    );
    let phone = |user: &str| site.json(&["user", "show", user])["phone"].clone();
    assert_eq!(phone("zoe"), "+821099990002");
    assert_eq!(phone("ann"), "+821010000001");
}

/// A source enables whom it alone has disabled: not whom an administrator disables too, before it or after.
#[test]
fn whom_a_source_and_an_administrator_disabled_stays_so() {
    let site = site();
    let all = ["1,ann,010-1000-0001", "2,bob,010-1000-0002"];
    people(&site, &all);
    site.json(&["source", "sync", "hr"]);
    people(&site, &all[..1]);
    site.json(&["source", "sync", "hr", "--force"]);
    site.json(&["user", "disable", "bob"]);
    people(&site, &all);
    let back = site.json(&["source", "sync", "hr"]);
    let disabled = || site.json(&["user", "show", "bob"])["disabled"].clone();
    assert_eq!(disabled(), true, "{back}");
    site.json(&["user", "enable", "bob"]);
    assert_eq!(disabled(), false);
}
