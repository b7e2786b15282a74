//! Prompts and mails are in the user's language, and no prompt tells who exists.

use oncegate::admin::UserPatch;
use oncegate::login::LoginAnswer;
use oncegate::model::kind::Kind;
use oncegate::model::message::{Language, Medium};
use oncegate::model::token::LifeCycle;
use oncegate::notice::{Catalogue, Text};
use serde_json::json;

use crate::support::daemon::Site;
use crate::support::desk::{About, Desk, PHONE};
use crate::support::explained::{AWAY, Ask, House, PIN, key};

/// Whether a text is Korean.
fn korean(text: &str) -> bool {
    text.chars()
        .any(|sign| ('\u{ac00}'..='\u{d7a3}').contains(&sign))
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_right_factor_the_user_is_asked_in_their_language() {
    let house = House::new().await;
    let service = &house.test.service;
    for (language, wanted) in [
        (
            Language::Ko,
            "OTP \u{c778}\u{c99d}\u{bc88}\u{d638}\u{b97c} \u{c785}\u{b825}\u{d558}\u{c138}\u{c694}",
        ),
        (Language::En, "Enter the code of your token"),
    ] {
        let patch = UserPatch {
            language: Some(language),
            ..UserPatch::default()
        };
        let set = service
            .admin
            .set_user(&key("alice"), patch, None, house.test.by())
            .await;
        set.unwrap();
        let ask = Ask {
            user: "alice",
            client: "vpn",
            typed: PIN,
            from: Some(AWAY),
            ..Ask::default()
        };
        let (_, decided) = house.ask(ask).await;
        let LoginAnswer::Challenge(challenge) = decided.answer else {
            panic!("{decided:?}");
        };
        assert_eq!(challenge.prompt, wanted);
        // As explain says it.
        let words = [
            "explain", "--user", "alice", "--client", "vpn", "--from", AWAY,
        ];
        let (_, out, _) = house.run(&words);
        assert!(out.contains(wanted), "{out}");
    }
}

#[tokio::test]
async fn before_that_everybody_is_asked_alike() {
    let policy = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n\
                  alternatives = [\"sms\"]\npresent = \"challenge\"\n";
    let desk = Desk::new(&[("default", policy)]).await;
    for (name, serial, language) in [
        ("alice", "SMS-1", Language::Ko),
        ("bob", "SMS-2", Language::En),
    ] {
        desk.lab.user(name, None, None).await;
        let about = About {
            language,
            ..About::default()
        };
        desk.describe(name, about).await;
        desk.token(name, serial, Kind::Sms, LifeCycle::Active, PHONE)
            .await;
    }
    for site in [Language::En, Language::Ko] {
        desk.lab.service().core.set_language(site);
        let mut prompts = Vec::new();
        for user in ["alice", "bob", "nobody"] {
            let heard = desk
                .lab
                .http("default", json!({ "user": user, "otp": "sms" }))
                .await;
            assert_eq!(heard.decision, "challenge", "{user}");
            prompts.push(heard.body["challenge"]["prompt"].clone());
        }
        assert!(
            prompts.iter().all(|prompt| *prompt == prompts[0]),
            "{prompts:?}"
        );
        assert_eq!(korean(prompts[0].as_str().unwrap()), site == Language::Ko);
    }
}

#[test]
fn korean_mails_are_korean_and_no_text_messages() {
    let catalogue = Catalogue::default();
    for text in Text::ALL.iter().filter(|text| !text.is_prompt()) {
        let mail = catalogue.message(Language::Ko, Medium::Email, &[*text], &[]);
        assert!(korean(mail.expose()), "{text:?}");
        assert!(
            !mail.expose().contains("\u{bb38}\u{c790}"),
            "{text:?}: {}",
            mail.expose()
        );
        let subject = catalogue.subject(Language::Ko, Medium::Email, *text, &[]);
        assert!(subject.is_none_or(|subject| korean(&subject)), "{text:?}");
    }
    let test = catalogue.subject(Language::Ko, Medium::Email, Text::TestMessage, &[]);
    assert!(test.is_some_and(|subject| korean(&subject)));
}

#[test]
fn new_users_have_the_language_of_the_site() {
    let site = Site::new();
    let path = site.path().join("oncegate.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("# delivery_language = \"en\"", "delivery_language = \"ko\"");
    std::fs::write(&path, text).unwrap();
    assert_eq!(site.json(&["user", "add", "alice"])["language"], "ko");
    let other = site.json(&["user", "add", "bob", "--language", "en"]);
    assert_eq!(other["language"], "en");
    // A text of the site's own, and one that loses its places.
    let templates = site.path().join("templates");
    std::fs::create_dir(&templates).unwrap();
    let file = templates.join("ko.toml");
    std::fs::write(&file, "[ask_cells]\ntext = \"{first}\"\n").unwrap();
    let refused = site.run(&["user", "list"]);
    let err = String::from_utf8(refused.stderr).unwrap();
    assert!(err.contains("needs the placeholder {second}"), "{err}");
}
