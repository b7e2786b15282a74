//! Notes about users: on record, and nothing else.

use oncegate::store::Change;

use crate::support::daemon::Site;
use crate::support::lab::Lab;

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

/// Whether a file of the store has this text.
fn lies_in_the_store(site: &Site, text: &str) -> bool {
    let files = std::fs::read_dir(site.path().join("store")).unwrap();
    let mut files = files.map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    files.any(|octets| octets.windows(text.len()).any(|one| one == text.as_bytes()))
}

/// A note is data about its user: sealed like a telephone number, and gone with it.
#[test]
fn a_note_is_sealed_at_rest_and_gone_with_its_user() {
    const TEXT: &str = "asked about Kim Canarynote";
    let site = Site::new();
    let daemon = site.serve();
    site.json(&["user", "add", "kim"]);
    site.json(&["user", "add", "lee"]);
    site.json(&["user", "note", "kim", TEXT]);
    site.json(&["user", "note", "lee", "the card is in the safe"]);
    let listed = site.json(&["audit", "list", "--action", "user_note", "--user", "kim"]);
    assert_eq!(listed["records"][0]["detail"], TEXT, "{listed}");
    assert!(!lies_in_the_store(&site, "Canarynote"));
    site.json(&["user", "erase", "kim", "--yes"]);
    let listed = site.json(&["audit", "list", "--action", "user_note"]);
    assert!(!listed.to_string().contains("Canarynote"), "{listed}");
    let records = listed["records"].as_array().unwrap();
    let of = |user: &str| records.iter().find(|one| one["user"] == user).unwrap();
    assert_eq!(of("kim@default")["changes"][0]["hidden"], "erased");
    assert_eq!(of("lee@default")["detail"], "the card is in the safe");
    assert!(of("lee@default")["changes"].is_null());
    assert_eq!(site.json(&["audit", "verify"])["intact"], true);
    drop(daemon);
    assert!(!lies_in_the_store(&site, "Canarynote"));
}

/// As records have it that were written before notes were sealed.
#[tokio::test]
async fn notes_in_earlier_records_stay_readable() {
    let lab = Lab::new(&[]).await;
    lab.user("kim", None, None).await;
    let note = Change::Note {
        action: "user_note",
        target: "kim@default".to_owned(),
        user: Some("kim@default".to_owned()),
        detail: "passport seen".to_owned(),
    };
    let store = lab.service().core.store();
    store.change(note, lab.by()).await.unwrap();
    let page = lab
        .admin("GET", "/v1/admin/audit?action=user_note&user=kim")
        .await;
    assert_eq!(page["records"][0]["detail"], "passport seen", "{page}");
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
