//! Answers on another channel than the login's: digits by text message and call, the word that freezes.

use std::time::Duration;

use oncegate::login::inbound::{Effect, Inbound};
use oncegate::model::kind::Kind;
use oncegate::model::message::Medium;
use oncegate::model::user::Waiver;
use oncegate::secret::SecretString;
use oncegate::store::Change;
use serde_json::json;

use crate::message::channels::{NUMBER, hotp, lab};
use crate::support::expected::PASSWORD;
use crate::support::lab::{Lab, key};
use crate::support::postbox::{Postbox, issued_token};

async fn bring(lab: &Lab, medium: Medium, from: &str, text: &str) -> Effect {
    let (id, at) = lab.service().core.arrival().unwrap();
    let text = SecretString::from(text);
    let inbound = Inbound {
        id,
        at,
        deadline: at,
        medium,
        from,
        text: &text,
    };
    lab.service().login.inbound(&inbound).await.unwrap()
}

fn word(effect: Effect) -> &'static str {
    match effect {
        Effect::Answer(reason) => reason.as_str(),
        Effect::Frozen(_) => "frozen",
    }
}

#[tokio::test]
async fn rows_c7_d3_the_person_texts_the_digits_that_are_shown() {
    let lab = lab().await;
    Postbox::of(&lab);
    let path = "/v1/challenges";
    let inbound = json!({ "user": "alice", "factor": "sms", "way": "inbound" });
    let begun = lab.begin("staff", path, inbound.clone()).await;
    let (id, shown) = (
        begun["id"].as_str().unwrap(),
        begun["display"].as_str().unwrap(),
    );
    assert_eq!(shown.len(), 2);
    assert_eq!(begun["expires_in"], 300);
    let standing = async |id: &str| lab.standing("staff", id).await;
    assert_eq!(standing(id).await, "pending");
    // Nobody is let in before it was answered, and not without the password after it.
    let finish = |id: &str| json!({ "user": "alice", "password": PASSWORD, "challenge": id });
    assert_ne!(lab.http("staff", finish(id)).await.decision, "accept");
    // The wrong number, digits of another script, a wrong answer.
    assert_eq!(
        word(bring(&lab, Medium::Sms, "+821099999999", shown).await),
        "wrong_sender"
    );
    let wide: String = shown
        .bytes()
        .map(|digit| char::from_u32(0xff10 + u32::from(digit - b'0')).unwrap())
        .collect();
    assert_eq!(
        word(bring(&lab, Medium::Sms, NUMBER, &wide).await),
        "wrong_code"
    );
    assert_eq!(standing(id).await, "pending");
    // As the number is dialled at home: that is known of the country in the configuration only.
    let dialled = NUMBER.replacen("+82", "0", 1);
    assert_eq!(
        word(bring(&lab, Medium::Sms, &dialled, shown).await),
        "wrong_sender"
    );
    lab.service().core.set_home(Some("+82".to_owned()));
    assert_eq!(
        word(bring(&lab, Medium::Sms, &dialled, shown).await),
        "answered"
    );
    assert_eq!(standing(id).await, "accepted");
    // Brought again: nothing new.
    assert_eq!(
        word(bring(&lab, Medium::Sms, NUMBER, shown).await),
        "answered"
    );
    assert_eq!(standing(id).await, "accepted");
    // Another client cannot ask, nor finish it.
    assert_eq!(lab.standing("both", id).await, "404");
    let body = json!({ "user": "alice", "password": PASSWORD, "challenge": id });
    let heard = lab.http("staff", body.clone()).await;
    assert_eq!(heard.decision, "accept", "{}", lab.reason("alice").await);
    assert_eq!(lab.reason("alice").await, "sms_ok");
    // Once.
    assert_ne!(lab.http("staff", body).await.decision, "accept");
}

#[tokio::test]
async fn rows_c7_d3_three_wrong_answers_or_five_minutes_end_it() {
    let lab = lab().await;
    Postbox::of(&lab);
    let inbound = json!({ "user": "alice", "factor": "sms", "way": "inbound" });
    let begun = lab.begin("staff", "/v1/challenges", inbound.clone()).await;
    let (id, shown) = (
        begun["id"].as_str().unwrap(),
        begun["display"].as_str().unwrap(),
    );
    let wrong = format!("{:02}", (shown.parse::<u32>().unwrap() + 1) % 100);
    for _ in 0..3 {
        assert_eq!(
            word(bring(&lab, Medium::Sms, NUMBER, &wrong).await),
            "wrong_code"
        );
    }
    lab.clock.advance(Duration::from_secs(11));
    assert_eq!(
        word(bring(&lab, Medium::Sms, NUMBER, shown).await),
        "expired_code"
    );
    // Nobody else's round could say more.
    assert_eq!(lab.standing("staff", id).await, "pending");
    lab.clock.advance(Duration::from_secs(11));
    let begun = lab.begin("staff", "/v1/challenges", inbound).await;
    let (id, shown) = (
        begun["id"].as_str().unwrap(),
        begun["display"].as_str().unwrap(),
    );
    lab.clock.advance(Duration::from_mins(5));
    assert_eq!(lab.standing("staff", id).await, "expired");
    assert_eq!(
        word(bring(&lab, Medium::Sms, NUMBER, shown).await),
        "expired_code"
    );
}

#[tokio::test]
async fn row_d1_digits_keyed_in_during_a_call_are_an_extra_factor_only() {
    let lab = lab().await;
    let postbox = Postbox::of(&lab);
    // A code alone asks for nothing else besides: two digits are no factor of their own.
    let inbound = json!({ "user": "alice", "factor": "sms", "way": "inbound" });
    let begun = lab.begin("codes", "/v1/challenges", inbound).await;
    let shown = begun["display"].as_str().unwrap();
    assert_eq!(
        word(bring(&lab, Medium::Sms, NUMBER, shown).await),
        "wrong_sender"
    );
    // In the outage of `staff` calls are taken.
    issued_token(&lab, "alice", Kind::Voice, "VOICE-1", NUMBER).await;
    let now = lab.service().core.now();
    let outage = Waiver {
        reason: "x".to_owned(),
        owner: "y".to_owned(),
        from: now,
        until: now.plus(Duration::from_mins(30)),
    };
    let change = Change::SetOutage(Some(outage));
    lab.service()
        .core
        .store()
        .change(change, lab.by())
        .await
        .unwrap();
    let inbound = json!({ "user": "alice", "factor": "voice", "way": "inbound" });
    let begun = lab.begin("staff", "/v1/challenges", inbound).await;
    let (id, shown) = (
        begun["id"].as_str().unwrap(),
        begun["display"].as_str().unwrap(),
    );
    let call = &postbox.after(1).await[0];
    assert!(call.code.is_none() && !call.text.expose().contains(shown));
    assert_eq!(begun["expires_in"], 120);
    assert_eq!(
        word(bring(&lab, Medium::Voice, NUMBER, shown).await),
        "answered"
    );
    let body = json!({ "user": "alice", "password": PASSWORD, "challenge": id });
    assert_eq!(lab.http("staff", body).await.decision, "accept");
    assert_eq!(lab.reason("alice").await, "voice_ok");
}

/// Two digits reach assurance 1, in whichever round the password comes.
#[tokio::test]
async fn digits_that_came_back_add_no_assurance_in_later_rounds() {
    const FIRST: &str = r#"
reject_delay = "0s"
[[rule]]
name = "first"
require = ["otp", "password"]
present = "challenge"
alternatives = ["sms"]
"#;
    let lab = Lab::new(&[("first", FIRST)]).await;
    lab.user("alice", None, Some(PASSWORD)).await;
    issued_token(&lab, "alice", Kind::Sms, "SMS-1", NUMBER).await;
    Postbox::of(&lab);
    for (least, reason, assurance) in [("1", "password_ok", Some(1)), ("2", "low_assurance", None)]
    {
        let inbound = json!({ "user": "alice", "factor": "sms", "way": "inbound" });
        let begun = lab.begin("first", "/v1/challenges", inbound).await;
        let shown = begun["display"].as_str().unwrap();
        assert_eq!(
            word(bring(&lab, Medium::Sms, NUMBER, shown).await),
            "answered"
        );
        let body = json!({ "user": "alice", "challenge": begun["id"] });
        let open = lab.http("first", body).await.challenge;
        let body = json!({ "user": "alice", "password": PASSWORD, "challenge": open.unwrap(),
                           "context": { "min_assurance": least } });
        let heard = lab.http("first", body).await;
        assert_eq!(lab.reason("alice").await, reason);
        assert_eq!(heard.body["assurance"].as_u64(), assurance);
    }
}

#[tokio::test]
async fn row_d5_the_word_in_a_notice_freezes_the_token_and_no_other() {
    let lab = lab().await;
    Postbox::of(&lab);
    let view = lab
        .service()
        .core
        .store()
        .view(&key("alice"))
        .unwrap()
        .unwrap();
    let hotp_serial = view
        .tokens
        .iter()
        .find(|(token, _)| token.kind == Kind::Hotp);
    let serial = hotp_serial.unwrap().0.serial.to_string();
    let freeze = lab.service().core.freeze_word(&serial);
    // From a number that is nobody's it does nothing.
    let text = format!("FREEZE {}", freeze.expose());
    assert_eq!(
        word(bring(&lab, Medium::Sms, "+821099999999", &text).await),
        "wrong_sender"
    );
    assert_eq!(
        bring(&lab, Medium::Sms, NUMBER, &text).await,
        Effect::Frozen(1)
    );
    lab.http("codes", json!({ "user": "alice", "otp": hotp(0) }))
        .await;
    assert_eq!(
        lab.reason("alice").await,
        "wrong_code",
        "only the text message token is left"
    );
    // Repeated: frozen already.
    assert_eq!(
        bring(&lab, Medium::Sms, NUMBER, freeze.expose()).await,
        Effect::Frozen(0)
    );
}
