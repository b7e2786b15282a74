//! Notes about users: on record, and nothing else.

use crate::support::daemon::Site;

#[test]
fn a_note_is_on_record_with_who_wrote_it() {
    let site = Site::new();
    site.json(&["user", "add", "kim"]);
    let before = site.json(&["user", "show", "kim"]);
    let text = "passport seen, \u{c694}\u{ccad} 4711";
    let noted = site.json(&["user", "note", "kim", text]);
    assert_eq!(noted["noted"], "kim@default");
    assert_eq!(site.json(&["user", "show", "kim"]), before);

    let listed = site.json(&["audit", "list", "--action", "user_note", "--user", "kim"]);
    let record = &listed["records"][0];
    assert_eq!(record["target"], "kim@default", "{listed}");
    assert_eq!(record["user"], "kim@default");
    assert_eq!(record["detail"], text);
    let request = record["request_id"].as_str().unwrap();
    let explained = site.run(&["explain", request]);
    let explained = String::from_utf8(explained.stdout).unwrap();
    let sentence = format!("noted about user kim@default ({text}).");
    assert!(explained.contains(&sentence), "{explained}");
}

#[test]
fn what_is_no_note_is_refused_and_not_on_record() {
    let site = Site::new();
    site.json(&["user", "add", "kim"]);
    let long = "x".repeat(257);
    for (user, text) in [
        ("kim", ""),
        ("kim", "  "),
        ("kim", long.as_str()),
        ("kim", "two\nlines"),
        ("lee", "nobody has this name"),
    ] {
        let output = site.run(&["user", "note", user, text]);
        assert!(!output.status.success(), "{user}: {text}");
        let said = String::from_utf8(output.stderr).unwrap();
        let wanted = if user == "lee" { "lee" } else { "text" };
        assert!(said.contains(wanted), "{said}");
    }
    let listed = site.json(&["audit", "list", "--action", "user_note"]);
    assert_eq!(
        listed["records"].as_array().map(Vec::len),
        Some(0),
        "{listed}"
    );
}
