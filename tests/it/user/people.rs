//! People from files of a personnel department: columns by their own names, updates, and those who have left.

use std::fmt::Write as _;
use std::fs;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::daemon::Site;

fn import(site: &Site, text: &str, words: &[&str]) -> Output {
    let file = site.path().join("hr.csv");
    fs::write(&file, text).unwrap();
    let file = file.to_string_lossy().into_owned();
    site.run(&[&["--json", "user", "import", &file], words].concat())
}

fn document(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

const MAP: &str = "Login=user,Handy=phone,\u{c774}\u{b984}=display_name,Mail=email";

fn staff(people: usize) -> String {
    let mut text = "\u{feff}Handy;\u{c774}\u{b984};Login;Mail;Kostenstelle\r\n".to_owned();
    for number in 0..people {
        let _ = write!(
            text,
            "010-1234-{number:04};\u{ae40} {number};staff{number};staff{number}@example.com;42\r\n"
        );
    }
    text
}

#[test]
fn a_file_with_its_own_names_is_imported_and_followed() {
    let site = Site::new();
    let words = ["--map", MAP, "--ignore-columns"];
    let made = document(&import(&site, &staff(30), &words));
    assert_eq!(made["users"], 30);
    site.json(&["user", "add", "guest@partner"]);
    let update = [&words[..], &["--update", "--disable-missing"]].concat();
    let same = document(&import(&site, &staff(30), &update));
    assert_eq!(same["unchanged"], 30, "{same}");
    assert_eq!(
        (&same["changed"], &same["disabled"]),
        (&json!([]), &json!([]))
    );

    // One has left, one is new, one has another number and no mail address any more.
    let text = staff(31).replace("010-1234-0003;", "010-9999-0003;");
    let text = text.replace("staff3@example.com", "");
    let gone = "010-1234-0005;\u{ae40} 5;staff5;staff5@example.com;42\r\n";
    assert!(text.contains(gone));
    let text = text.replace(gone, "");
    let dry = [&update[..], &["--dry-run"]].concat();
    for (words, phone) in [(&dry, "+821012340003"), (&update, "+821099990003")] {
        let plan = document(&import(&site, &text, words));
        assert_eq!(plan["created"], json!(["staff30@default"]));
        assert_eq!(plan["disabled"], json!(["staff5@default"]), "and no guest");
        let changed = plan["changed"].as_array().unwrap();
        let fields: Vec<_> = changed
            .iter()
            .map(|one| one["field"].as_str().unwrap())
            .collect();
        assert_eq!(fields, ["phone", "email"], "{plan}");
        let user = site.json(&["user", "show", "staff3"]);
        assert_eq!(user["phone"], phone);
    }
    assert_eq!(site.json(&["user", "show", "staff3"])["email"], Value::Null);
    assert_eq!(site.json(&["user", "show", "staff5"])["disabled"], true);
    assert_eq!(
        site.json(&["user", "show", "guest@partner"])["disabled"],
        false
    );
}

#[test]
fn a_file_that_was_cut_off_disables_no_one() {
    let site = Site::new();
    let words = ["--map", MAP, "--ignore-columns"];
    document(&import(&site, &staff(30), &words));
    let update = [&words[..], &["--update", "--disable-missing"]].concat();
    let refused = import(&site, &staff(26), &update);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    let text = String::from_utf8_lossy(&refused.stdout);
    assert!(text.contains("4 of 30 users are not in the file"), "{text}");
    assert_eq!(site.json(&["user", "show", "staff29"])["disabled"], false);
    let forced = [&update[..], &["--force"]].concat();
    let done = document(&import(&site, &staff(26), &forced));
    assert_eq!(done["disabled"].as_array().unwrap().len(), 4);
    assert_eq!(site.json(&["user", "show", "staff29"])["disabled"], true);
    for (words, what) in [
        (&["--map", "Nosuch=user"][..], "no column `Nosuch`"),
        (&["--map", "Login=nosuch"], "`nosuch` is no column"),
        (&["--disable-missing"], "--update"),
    ] {
        let refused = import(&site, &staff(1), words);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        let text = String::from_utf8_lossy(&refused.stdout);
        assert!(text.contains(what), "{what}: {text}");
    }
}
