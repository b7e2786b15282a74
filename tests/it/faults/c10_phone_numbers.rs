//! Phone numbers of users and of tokens have one form, whichever way they are written.

use serde_json::Value;

use crate::support::daemon::Site;

/// An installation whose national numbers are those of `home`.
fn site(home: Option<&str>) -> Site {
    let site = Site::new();
    if let Some(home) = home {
        let path = site.path().join("oncegate.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let wanted = format!("delivery_home = \"{home}\"");
        let changed = text.replace("# delivery_home = \"+82\"", &wanted);
        assert_ne!(text, changed);
        std::fs::write(&path, changed).unwrap();
    }
    site
}

fn phone_of(site: &Site, user: &str, phone: &str) -> String {
    let made = site.json(&["user", "add", user, "--phone", phone]);
    made["phone"].as_str().unwrap().to_owned()
}

fn refused(site: &Site, words: &[&str]) -> String {
    let output = site.run_with(&[&["--json"], words].concat(), "");
    assert_eq!(output.status.code(), Some(2), "{words:?}");
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    error["error"]["detail"].as_str().unwrap().to_owned()
}

#[test]
fn every_way_of_writing_a_korean_number_is_the_same_number() {
    let site = site(Some("+82"));
    for (index, text) in [
        "+82 010-1234-5678",
        "82-10-1234-5678",
        "010.1234.5678",
        "0082-10-1234-5678",
        "+82 (0)10 1234 5678",
        "82 010 1234 5678",
    ]
    .into_iter()
    .enumerate()
    {
        let phone = phone_of(&site, &format!("user{index}"), text);
        assert_eq!(phone, "+821012345678", "{text}");
    }
}

#[test]
fn a_token_has_the_form_of_its_user() {
    let site = site(Some("+82"));
    phone_of(&site, "alice", "82-10-1234-5678");
    let add = ["token", "add", "alice", "--kind", "sms", "--active"];
    let own = site.json(&add);
    let given = site.json(&[&add[..], &["--address", "0082 010-1234-5678"]].concat());
    assert_eq!(own["address"], given["address"]);
}

#[test]
fn imported_numbers_have_it_too() {
    let site = site(Some("+82"));
    let csv = "user,phone\nalice,010.1234.5678\nbob,+82 010-2222-3333\n";
    site.json_with(&["user", "import", "-"], csv);
    assert_eq!(
        site.json(&["user", "show", "alice"])["phone"],
        "+821012345678"
    );
    assert_eq!(
        site.json(&["user", "show", "bob"])["phone"],
        "+821022223333"
    );
}

#[test]
fn what_is_no_number_is_refused_with_the_reason() {
    let korea = site(Some("+82"));
    for (phone, says) in [
        ("010-1234-567", "no such number in Korea"),
        ("001-1-212-555-0100", "international prefix"),
        ("010-1234-5678 ext 2", "digits, spaces, dots"),
    ] {
        let detail = refused(&korea, &["user", "add", "alice", "--phone", phone]);
        assert!(detail.contains(says), "{phone}: {detail}");
    }
    korea.json(&["user", "add", "alice"]);
    let add = ["token", "add", "alice", "--kind", "sms", "--address"];
    let detail = refused(&korea, &[&add[..], &["010-1234-567"]].concat());
    assert!(detail.contains("no such number in Korea"), "{detail}");
}

#[test]
fn a_mail_address_of_a_user_is_one_that_mail_can_be_sent_to() {
    let site = site(None);
    let mail = |text| refused(&site, &["user", "add", "alice", "--email", text]);
    for text in ["alice@", "alice@exa mple.com", "\"al ice\"@example.com"] {
        assert!(mail(text).contains("name@domain"), "{text}");
    }
}
