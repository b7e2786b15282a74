//! Codes that the server makes, in logins: by text message, mail, call, card and paper; in an outage;
//! and answers on another channel. Tests name the rows of the page `capabilities`.

use std::time::Duration;

use oncegate::model::kind::Kind;
use oncegate::model::message::Medium;
use oncegate::model::user::Waiver;
use oncegate::otp::{Digits, card, recovery};
use oncegate::store::{Change, WaiverKind};
use serde_json::json;

use crate::support::expected::{PASSWORD, PIN};
use crate::support::lab::{Lab, START, code_of, key};
use crate::support::postbox::{Postbox, issued_token, octets, server_code};

/// Password and code; a text message, the card or paper on request, and in an outage.
const STAFF: &str = r#"
reject_delay = "0s"
[[rule]]
name = "staff"
require = ["password", "otp"]
present = "either"
alternatives = ["sms", "card", "recovery"]
outage = { factor = "voice" }
"#;

/// A code alone, or a text message on request.
const CODES: &str = r#"
reject_delay = "0s"
[[rule]]
name = "codes"
require = ["otp"]
alternatives = ["sms"]
"#;

/// Both a code and a text message.
const BOTH: &str = r#"
reject_delay = "0s"
[[rule]]
name = "both"
require = ["otp", "sms"]
present = "challenge"
"#;

/// What `default` is for.
const DEFAULT: &str = r#"
reject_delay = "0s"
[[rule]]
name = "all"
require = ["otp"]
"#;

pub(crate) const NUMBER: &str = "+821012345678";

pub(crate) async fn lab() -> Lab {
    let policies = [
        ("staff", STAFF),
        ("codes", CODES),
        ("both", BOTH),
        ("default", DEFAULT),
    ];
    let lab = Lab::new(&policies).await;
    lab.user("alice", None, Some(PASSWORD)).await;
    lab.token("alice", Kind::Hotp, Digits::SIX).await;
    issued_token(&lab, "alice", Kind::Sms, "SMS-1", NUMBER).await;
    lab
}

pub(crate) fn hotp(counter: u64) -> String {
    code_of("alice", Digits::SIX, counter)
}

/// Another code of six digits.
fn other(code: &str) -> String {
    let value: u32 = code.parse().expect("digits");
    format!("{:06}", (value + 1) % 1_000_000)
}

#[tokio::test]
async fn row_a4_a_text_message_is_sent_on_request_only_and_its_code_opens_once() {
    let lab = lab().await;
    let postbox = Postbox::of(&lab);
    // The code of the token goes on working, and nothing is sent for it.
    let asked = lab.radius("staff", "alice", PASSWORD, None, None).await;
    assert_eq!(asked.decision, "challenge");
    assert_eq!(postbox.count(), 0);
    let state = asked.challenge.unwrap();
    // The keyword in the second round: a new round, and a message.
    let asked = lab
        .radius("staff", "alice", "SMS", Some(&state), None)
        .await;
    assert_eq!(asked.decision, "challenge", "{}", asked.seen);
    let code = postbox.code(1).await;
    let state = asked.challenge.unwrap();
    let heard = lab
        .radius("staff", "alice", &code, Some(&state), None)
        .await;
    assert_eq!(heard.decision, "accept");
    assert_eq!(lab.reason("alice").await, "sms_ok");
    // Used up, in a new round and in one box.
    let typed = format!("{PASSWORD},{code}");
    lab.radius("staff", "alice", &typed, None, None).await;
    assert_eq!(lab.reason("alice").await, "used_code");
    assert_eq!(lab.decision("alice").await.failures, 0);
}

#[tokio::test]
async fn row_a4_keyword_behind_the_password_and_the_code_in_one_box() {
    let lab = lab().await;
    let postbox = Postbox::of(&lab);
    let typed = format!("{PASSWORD},sms");
    let asked = lab
        .http("staff", json!({ "user": "alice", "passcode": typed }))
        .await;
    assert_eq!(asked.decision, "challenge");
    assert_eq!(asked.body["challenge"]["factor"], "sms");
    let code = postbox.code(1).await;
    let body = json!({ "user": "alice", "passcode": format!("{PASSWORD}{code}") });
    assert_eq!(lab.http("staff", body).await.decision, "accept");
    // A wrong password sends nothing.
    lab.clock.advance(Duration::from_mins(2));
    let body = json!({ "user": "alice", "passcode": "wrong-password,sms" });
    assert_eq!(lab.http("staff", body).await.decision, "reject");
    assert_eq!(postbox.count(), 1);
}

#[tokio::test]
async fn whoever_asks_for_a_message_hears_the_same_whether_or_not_there_is_such_a_user() {
    let lab = lab().await;
    let postbox = Postbox::of(&lab);
    lab.user("bob", None, None).await;
    let length = |heard: &crate::support::lab::Heard| heard.challenge.as_deref().map(str::len);
    let real = lab.radius("codes", "alice", "sms", None, None).await;
    postbox.after(1).await;
    for nobody in ["bob", "carol"] {
        let heard = lab.radius("codes", nobody, "sms", None, None).await;
        assert_eq!(
            (heard.decision.as_str(), length(&heard)),
            ("challenge", length(&real))
        );
        // Nobody can finish it.
        let state = heard.challenge.unwrap();
        let heard = lab
            .radius("codes", nobody, "123456", Some(&state), None)
            .await;
        assert_eq!(heard.decision, "reject");
    }
    let begin = |user: &str| json!({ "user": user, "factor": "sms" });
    let path = "/v1/challenges";
    let mut answers = Vec::new();
    lab.clock.advance(Duration::from_mins(2));
    for user in ["alice", "bob", "carol"] {
        let mut answer = lab.begin("codes", path, begin(user)).await;
        for field in ["id", "request_id"] {
            let text = answer[field].as_str().unwrap();
            answer[field] = text.len().into();
        }
        answers.push(answer);
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
    assert_eq!(postbox.after(2).await.len(), 2);
}

#[tokio::test]
async fn row_a8_two_held_factors_one_after_the_other() {
    let lab = lab().await;
    let postbox = Postbox::of(&lab);
    let asked = lab.radius("both", "alice", &hotp(0), None, None).await;
    assert_eq!(asked.decision, "challenge");
    let code = postbox.code(1).await;
    // Neither a code of the token nor the same code again is the message's.
    let state = asked.challenge.unwrap();
    lab.radius("both", "alice", &hotp(1), Some(&state), None)
        .await;
    assert_eq!(lab.reason("alice").await, "wrong_code");
    let asked = lab.radius("both", "alice", &hotp(1), None, None).await;
    let state = asked.challenge.unwrap();
    // The first message is still good: the second was too soon.
    let heard = lab.radius("both", "alice", &code, Some(&state), None).await;
    assert_eq!(heard.decision, "accept");
    assert_eq!(postbox.count(), 1);
}

#[tokio::test]
async fn a_code_is_void_after_its_time_and_after_five_wrong_answers_also_across_restarts() {
    let mut lab = lab().await;
    let postbox = Postbox::of(&lab);
    lab.begin(
        "codes",
        "/v1/challenges",
        json!({ "user": "alice", "factor": "sms" }),
    )
    .await;
    let code = postbox.code(1).await;
    lab.clock.advance(Duration::from_mins(3));
    lab.http("codes", json!({ "user": "alice", "otp": code }))
        .await;
    assert_eq!(lab.reason("alice").await, "expired_code");
    // A new one; wrong answers of its length count against it, whatever restarts.
    lab.begin(
        "codes",
        "/v1/challenges",
        json!({ "user": "alice", "factor": "sms" }),
    )
    .await;
    let code = postbox.code(2).await;
    for _ in 0..4 {
        lab.http("codes", json!({ "user": "alice", "otp": other(&code) }))
            .await;
        lab.clock.advance(Duration::from_secs(11));
        lab.restart().await;
    }
    postbox.serve(&lab);
    lab.http("codes", json!({ "user": "alice", "otp": other(&code) }))
        .await;
    assert_eq!(lab.reason("alice").await, "wrong_code");
    lab.clock.advance(Duration::from_secs(11));
    lab.http("codes", json!({ "user": "alice", "otp": code }))
        .await;
    assert_eq!(lab.reason("alice").await, "expired_code");
}

#[tokio::test]
async fn threat_38_resending_gives_no_further_guesses() {
    let lab = lab().await;
    let postbox = Postbox::of(&lab);
    let mut evaluated = 0;
    for round in 0..50 {
        lab.begin(
            "codes",
            "/v1/challenges",
            json!({ "user": "alice", "factor": "sms" }),
        )
        .await;
        let code = postbox.code(1).await;
        for _ in 0..3 {
            lab.http("codes", json!({ "user": "alice", "otp": other(&code) }))
                .await;
            let reason = lab.reason("alice").await;
            evaluated += u32::from(matches!(reason, "wrong_code" | "expired_code"));
        }
        // Long enough for every delay, and for the next message, but not for the lock to end.
        lab.clock
            .advance(Duration::from_secs(if round < 8 { 65 } else { 1 }));
    }
    assert_eq!(evaluated, 10, "the limit of the policy, not of a code");
    assert_eq!(lab.reason("alice").await, "locked");
}

#[tokio::test]
async fn threat_37_messages_wait_longer_each_time_and_end_for_the_day() {
    let lab = lab().await;
    let postbox = Postbox::of(&lab);
    let mut sent = Vec::new();
    // Every ten seconds for a day.
    for tick in 0..8640_u64 {
        let before = postbox.count();
        lab.begin(
            "codes",
            "/v1/challenges",
            json!({ "user": "alice", "factor": "sms" }),
        )
        .await;
        tokio::task::yield_now().await;
        if postbox.count() > before {
            sent.push(tick * 10);
        }
        if sent.len() >= 10 && tick > 8000 {
            break;
        }
        lab.clock.advance(Duration::from_secs(10));
        if sent.len() == 8 {
            // The rest of the day in larger steps.
            lab.clock.advance(Duration::from_mins(40));
        }
    }
    assert_eq!(sent[..7], [0, 60, 180, 420, 900, 1860, 3780]);
    let day = START.as_secs() / 86_400;
    let messages = postbox.after(1).await.len();
    assert!(messages <= 20, "{messages}");
    let records = lab.admin("GET", "/v1/admin/audit?limit=1000").await;
    let text = records.to_string();
    assert!(text.contains("no more messages today"), "day {day}");
}

#[tokio::test]
async fn row_d2_the_card_asks_for_the_same_cells_until_they_are_answered() {
    let lab = lab().await;
    issued_token(&lab, "alice", Kind::Card, "CARD-20481482", "").await;
    let key = octets("CARD-20481482");
    let ask = async || {
        let typed = format!("{PASSWORD},card");
        let body = json!({ "user": "alice", "passcode": typed });
        let asked = lab.http("staff", body).await;
        let prompt = asked.body["challenge"]["prompt"]
            .as_str()
            .map(str::to_owned);
        (
            asked.challenge.expect("a challenge"),
            prompt.expect("a prompt"),
        )
    };
    let give = async |answer: &str, challenge: &str| {
        let body = json!({ "user": "alice", "otp": answer, "challenge": challenge });
        lab.http("staff", body).await
    };
    let first = card::pair(&key, 1);
    let (_, prompt) = ask().await;
    assert!(
        prompt.contains(&format!("cell {}", first.first)),
        "{prompt}"
    );
    // Asking again and again does not bring other cells.
    for _ in 0..5 {
        let (_, again) = ask().await;
        assert!(again.contains(&format!(
            "cell {}, the last 2 of cell {}",
            first.first, first.second
        )));
    }
    let answer = card::answer(&key, 482, first).unwrap();
    let (state, _) = ask().await;
    let answer = answer.expose().expose().to_owned();
    assert_eq!(give(&answer, &state).await.decision, "accept");
    assert_eq!(lab.reason("alice").await, "card_ok");
    // The next login asks for other cells, and the answer opens nothing again.
    let second = card::pair(&key, 2);
    assert_ne!(first, second);
    let (state, prompt) = ask().await;
    assert!(
        prompt.contains(&format!("cell {}", second.first)),
        "{prompt}"
    );
    give(&answer, &state).await;
    assert!(matches!(
        lab.reason("alice").await,
        "used_code" | "wrong_code"
    ));
}

#[tokio::test]
async fn row_d2_five_wrong_answers_lock_the_card_until_somebody_unlocks() {
    let lab = lab().await;
    issued_token(&lab, "alice", Kind::Card, "CARD-20481482", "").await;
    let key = octets("CARD-20481482");
    let right = card::answer(&key, 482, card::pair(&key, 1)).unwrap();
    let right = right.expose().expose().to_owned();
    let wrong = format!(
        "482{:04}",
        (right[3..].parse::<u32>().unwrap() + 1) % 10_000
    );
    let login = async |answer: &str| {
        let typed = format!("{PASSWORD},card");
        let asked = lab.radius("staff", "alice", &typed, None, None).await;
        let state = asked.challenge.expect("a challenge");
        let state = Some(state.as_str());
        let heard = lab.radius("staff", "alice", answer, state, None).await;
        lab.clock.advance(Duration::from_secs(11));
        heard.decision
    };
    for _ in 0..5 {
        assert_eq!(login(&wrong).await, "reject");
        // The card is locked by it, and not its user.
        assert!(!lab.decision("alice").await.locks_for_good());
    }
    let card = lab.admin("GET", "/v1/admin/tokens/CARD-20481482").await;
    let lock = json!({ "failures": 5, "state": "hard_locked", "until": null });
    assert_eq!(card["lock"], lock);
    let locked = lab.admin("GET", "/v1/admin/users?locked=true").await;
    assert_eq!(locked["users"][0]["user"], "alice@default", "{locked}");
    assert_eq!(login(&right).await, "reject");
    // Other tokens of the user are not locked by it.
    let typed = format!("{PASSWORD},{}", hotp(0));
    let heard = lab.radius("staff", "alice", &typed, None, None).await;
    assert_eq!(heard.decision, "accept");
    let unlocked = lab.service().core.store();
    unlocked
        .change(Change::Unlock(self::key("alice")), lab.by())
        .await
        .unwrap();
    assert_eq!(login(&right).await, "accept");
}

#[tokio::test]
async fn recovery_codes_open_once_each_in_any_order() {
    let lab = lab().await;
    issued_token(&lab, "alice", Kind::Recovery, "RECOVERY-1", "").await;
    let sheet = recovery::sheet(&octets("RECOVERY-1"), 10);
    for number in [7, 0, 9] {
        let typed = format!("{PASSWORD}{}", sheet[number].expose());
        let heard = lab.radius("staff", "alice", &typed, None, None).await;
        assert_eq!(heard.decision, "accept", "{number}");
        assert_eq!(lab.reason("alice").await, "recovery_ok");
        let lower = format!("{PASSWORD},{}", sheet[number].expose().to_lowercase());
        let heard = lab.radius("staff", "alice", &lower, None, None).await;
        assert_eq!(heard.decision, "reject", "{number}");
        assert_eq!(lab.reason("alice").await, "used_code");
    }
    // In a field of its own, and what was not printed is not good.
    let body = json!({ "user": "alice", "password": PASSWORD, "otp": sheet[1].expose() });
    assert_eq!(lab.http("staff", body).await.decision, "accept");
    let unprinted = recovery::sheet(&octets("RECOVERY-1"), 12)[11]
        .expose()
        .to_owned();
    let body = json!({ "user": "alice", "password": PASSWORD, "otp": unprinted });
    assert_eq!(lab.http("staff", body).await.decision, "reject");
    // A policy that does not take them.
    let body = json!({ "user": "alice", "otp": sheet[2].expose() });
    assert_eq!(lab.http("codes", body).await.decision, "reject");
}

#[tokio::test]
async fn row_a11_an_outage_lets_in_by_call_while_it_lasts_and_says_so() {
    let lab = lab().await;
    let postbox = Postbox::of(&lab);
    issued_token(&lab, "alice", Kind::Voice, "VOICE-1", NUMBER).await;
    let keyword = format!("{PASSWORD},call");
    let heard = lab.radius("staff", "alice", &keyword, None, None).await;
    assert_eq!(heard.decision, "reject", "not while all is well");
    let now = lab.service().core.now();
    let outage = Waiver {
        reason: "token service down".to_owned(),
        owner: "uid 0".to_owned(),
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
    lab.clock.advance(Duration::from_secs(2));
    let asked = lab.radius("staff", "alice", PASSWORD, None, None).await;
    assert_eq!(asked.decision, "challenge");
    let code = postbox.code(1).await;
    assert_eq!(postbox.after(1).await[0].medium, Medium::Voice);
    let state = asked.challenge.unwrap();
    let heard = lab
        .radius("staff", "alice", &code, Some(&state), None)
        .await;
    assert_eq!(heard.decision, "accept");
    let decision = lab.decision("alice").await;
    let waiver = decision.waiver.unwrap();
    assert!(waiver.starts_with("outage by uid 0 until "), "{waiver}");
    // The code of the token still works meanwhile; and the outage ends by itself.
    let typed = format!("{PASSWORD}{}", hotp(0));
    assert_eq!(
        lab.radius("staff", "alice", &typed, None, None)
            .await
            .decision,
        "accept"
    );
    lab.clock.advance(Duration::from_mins(30));
    let asked = lab.radius("staff", "alice", PASSWORD, None, None).await;
    assert!(asked.seen.contains("token") || asked.decision == "challenge");
    assert_eq!(postbox.count(), 1);
    let heard = lab.radius("staff", "alice", &keyword, None, None).await;
    assert_eq!(heard.decision, "reject");
}

#[tokio::test]
async fn row_a10_a_server_code_is_good_for_the_client_it_was_made_for() {
    let lab = lab().await;
    issued_token(&lab, "alice", Kind::Server, "SERVER-1", "").await;
    let made = server_code(&lab, "SERVER-1", Some("nas-codes")).await;
    lab.radius("default", "alice", &made, None, None).await;
    assert_eq!(lab.reason("alice").await, "wrong_code");
    let heard = lab.radius("codes", "alice", &made, None, None).await;
    assert_eq!(heard.decision, "accept");
    assert_eq!(lab.reason("alice").await, "server_ok");
    lab.radius("codes", "alice", &made, None, None).await;
    assert_eq!(lab.reason("alice").await, "used_code");
    // A new code voids the one before, and a minute ends it.
    let first = server_code(&lab, "SERVER-1", None).await;
    let second = server_code(&lab, "SERVER-1", None).await;
    if first != second {
        lab.radius("codes", "alice", &first, None, None).await;
        assert_eq!(lab.reason("alice").await, "wrong_code");
    }
    lab.clock.advance(Duration::from_mins(1));
    lab.radius("codes", "alice", &second, None, None).await;
    assert_eq!(lab.reason("alice").await, "expired_code");
}

#[tokio::test]
async fn row_a7_one_sent_code_in_parallel_over_both_front_ends_opens_once() {
    let lab = lab().await;
    let postbox = Postbox::of(&lab);
    let lab = std::sync::Arc::new(lab);
    for round in 1..=8 {
        lab.begin(
            "codes",
            "/v1/challenges",
            json!({ "user": "alice", "factor": "sms" }),
        )
        .await;
        let code = postbox.code(round).await;
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..64 {
            let (lab, code) = (std::sync::Arc::clone(&lab), code.clone());
            tasks.spawn(async move {
                // The code was asked for by the application: the gear's is another client.
                let body = json!({ "user": "alice", "otp": code });
                let _ = number;
                lab.http("codes", body).await.decision == "accept"
            });
        }
        let accepted = tasks
            .join_all()
            .await
            .into_iter()
            .filter(|yes| *yes)
            .count();
        assert_eq!(accepted, 1, "round {round}");
        lab.clock.advance(Duration::from_mins(2));
    }
}

#[tokio::test]
async fn a_second_held_factor_is_never_passed_by() {
    const THREE: &str = r#"
reject_delay = "0s"
[[rule]]
name = "three"
require = ["password", "otp", "sms"]
present = "challenge"
"#;
    let lab = Lab::new(&[("three", THREE), ("default", DEFAULT)]).await;
    lab.user("alice", None, Some(PASSWORD)).await;
    lab.token("alice", Kind::Hotp, Digits::SIX).await;
    issued_token(&lab, "alice", Kind::Sms, "SMS-1", NUMBER).await;
    let postbox = Postbox::of(&lab);
    // Where no further round can follow, it cannot be presented at all.
    let body = json!({ "user": "alice", "password": PASSWORD, "otp": hotp(0),
                       "new_password": "another long one" });
    assert_eq!(
        lab.post("three", "/v1/credentials", body).await.decision,
        "reject"
    );
    let body = json!({ "user": "alice", "password": PASSWORD, "otp": hotp(0) });
    let asked = lab.http("three", body).await;
    assert_eq!(asked.decision, "challenge");
    let code = postbox.code(1).await;
    let body = json!({ "user": "alice", "otp": code, "challenge": asked.challenge });
    assert_eq!(lab.http("three", body).await.decision, "accept");
}

#[tokio::test]
async fn a_round_begun_again_too_soon_asks_for_the_code_that_is_there() {
    let lab = lab().await;
    let postbox = Postbox::of(&lab);
    let begin = json!({ "user": "alice", "factor": "sms" });
    lab.begin("codes", "/v1/challenges", begin.clone()).await;
    let code = postbox.code(1).await;
    lab.clock.advance(Duration::from_secs(5));
    let again = lab.begin("codes", "/v1/challenges", begin).await;
    let id = again["id"].as_str().unwrap();
    assert_eq!(lab.standing("codes", id).await, "pending");
    let body = json!({ "user": "alice", "otp": code, "challenge": id });
    assert_eq!(lab.http("codes", body).await.decision, "accept");
    assert_eq!(lab.standing("codes", id).await, "accepted");
    assert_eq!(postbox.count(), 1);
}

/// A code by mail adds nothing to a password, in whichever round the password comes.
#[tokio::test]
async fn a_code_by_mail_adds_no_assurance_in_later_rounds() {
    const FIRST: &str = r#"
reject_delay = "0s"
[[rule]]
name = "first"
require = ["otp", "password"]
present = "challenge"
alternatives = ["email"]
"#;
    let lab = Lab::new(&[("first", FIRST)]).await;
    lab.user("alice", None, Some(PASSWORD)).await;
    lab.token("alice", Kind::Hotp, Digits::SIX).await;
    issued_token(&lab, "alice", Kind::Email, "EMAIL-1", "alice@example.com").await;
    let postbox = Postbox::of(&lab);
    let finish = async |first: serde_json::Value, least: &str| {
        let open = lab
            .http("first", first)
            .await
            .challenge
            .expect("a challenge");
        let body = json!({ "user": "alice", "password": PASSWORD, "challenge": open,
                           "context": { "min_assurance": least } });
        let heard = lab.http("first", body).await;
        (lab.reason("alice").await, heard.body["assurance"].as_u64())
    };
    for (number, least, heard) in [
        (1, "1", ("password_ok", Some(1))),
        (2, "2", ("low_assurance", None)),
    ] {
        let begin = json!({ "user": "alice", "factor": "email" });
        let begun = lab.begin("first", "/v1/challenges", begin).await;
        let code = postbox.code(number).await;
        let first = json!({ "user": "alice", "otp": code, "challenge": begun["id"] });
        assert_eq!(finish(first, least).await, heard);
        lab.clock.advance(Duration::from_mins(3));
    }
    let first = json!({ "user": "alice", "otp": hotp(0) });
    assert_eq!(finish(first, "2").await, ("password_ok", Some(2)));
}

#[tokio::test]
async fn a_locked_user_who_asks_for_a_message_hears_what_everybody_hears_and_gets_none() {
    let lab = lab().await;
    let postbox = Postbox::of(&lab);
    for _ in 0..10 {
        lab.http("codes", json!({ "user": "alice", "otp": hotp(900) }))
            .await;
        lab.clock.advance(Duration::from_secs(11));
    }
    lab.http("codes", json!({ "user": "alice", "otp": hotp(900) }))
        .await;
    assert_eq!(lab.reason("alice").await, "locked");
    let heard = lab.radius("codes", "alice", "sms", None, None).await;
    assert_eq!(heard.decision, "challenge");
    assert_eq!(postbox.count(), 0);
}

#[tokio::test]
async fn keywords_fill_no_memory_that_a_login_needs() {
    let lab = lab().await;
    Postbox::of(&lab);
    let mut state = lab
        .radius("codes", "alice", "sms", None, None)
        .await
        .challenge;
    for _ in 0..20 {
        let heard = lab
            .radius("codes", "alice", "sms", state.as_deref(), None)
            .await;
        state = heard.challenge;
    }
    let asked = lab.radius("staff", "alice", PASSWORD, None, None).await;
    let heard = lab
        .radius("staff", "alice", &hotp(0), asked.challenge.as_deref(), None)
        .await;
    assert_eq!(heard.decision, "accept");
}

#[tokio::test]
async fn a_right_code_with_a_wrong_password_is_no_accepted_round() {
    let lab = lab().await;
    let postbox = Postbox::of(&lab);
    let begun = lab.begin(
        "staff",
        "/v1/challenges",
        json!({ "user": "alice", "factor": "sms" }),
    );
    let id = begun.await["id"].as_str().unwrap().to_owned();
    let code = postbox.code(1).await;
    let body = json!({ "user": "alice", "password": "a wrong one", "otp": code, "challenge": id });
    assert_eq!(lab.http("staff", body).await.decision, "reject");
    assert_eq!(lab.standing("staff", &id).await, "pending");
    let body = json!({ "user": "alice", "password": PASSWORD, "otp": code });
    assert_eq!(lab.http("staff", body).await.decision, "reject");
    assert_eq!(lab.reason("alice").await, "used_code");
}

/// A code that comes along although a bypass waives it is used up, of whatever kind it is.
#[tokio::test]
async fn a_sent_code_beside_a_bypass_is_used_up() {
    const BY_SMS: &str = r#"
reject_delay = "0s"
[[rule]]
name = "by-sms"
require = ["password", "sms"]
"#;
    let lab = Lab::new(&[("by-sms", BY_SMS), ("default", DEFAULT)]).await;
    lab.user("alice", None, Some(PASSWORD)).await;
    issued_token(&lab, "alice", Kind::Sms, "SMS-1", NUMBER).await;
    let postbox = Postbox::of(&lab);
    lab.begin(
        "by-sms",
        "/v1/challenges",
        json!({ "user": "alice", "factor": "sms" }),
    )
    .await;
    let code = postbox.code(1).await;
    let now = lab.service().core.now();
    let waiver = Waiver {
        reason: "telephone lost".to_owned(),
        owner: "uid 0".to_owned(),
        from: now,
        until: now.plus(Duration::from_hours(1)),
    };
    let seen = lab.service().admin.user(&key("alice")).unwrap();
    let change = Change::SetWaiver {
        user: key("alice"),
        which: WaiverKind::Bypass,
        waiver: Some(waiver),
        expected: seen.revision,
    };
    lab.service()
        .core
        .store()
        .change(change, lab.by())
        .await
        .unwrap();
    let body = json!({ "user": "alice", "password": PASSWORD, "otp": code });
    assert_eq!(lab.http("by-sms", body).await.decision, "accept");
    assert_eq!(lab.reason("alice").await, "sms_ok");
    let body = json!({ "user": "alice", "password": PASSWORD });
    assert_eq!(lab.http("by-sms", body).await.decision, "accept");
    assert_eq!(lab.reason("alice").await, "bypass_ok");
}

/// The sighting: the word was called a code that cannot be one, and no one was told that a telephone is missing.
#[tokio::test]
async fn a_word_without_a_token_for_it_says_what_is_missing() {
    let pin_first = CODES.replace("[\"otp\"]", "[\"pin\", \"otp\"]");
    let policies = [
        ("codes", CODES),
        ("pin", pin_first.as_str()),
        ("default", DEFAULT),
    ];
    let lab = Lab::new(&policies).await;
    lab.user("bob", Some(PIN), None).await;
    lab.token("bob", Kind::Hotp, Digits::SIX).await;
    let found = async || {
        let event = lab.decision("bob").await;
        let path = format!("/v1/admin/explain/{}", event.request);
        let page = lab.admin("GET", &path).await;
        assert_eq!(event.failures, 0, "{event:?}");
        (
            event.reason.as_str(),
            event.note.unwrap_or_default(),
            page["records"][0]["next"].to_string(),
        )
    };
    for (policy, body) in [
        ("codes", json!({ "user": "bob", "passcode": "SMS" })),
        ("codes", json!({ "user": "bob", "otp": "sms" })),
        ("pin", json!({ "user": "bob", "pin": PIN, "otp": "sms" })),
        (
            "pin",
            json!({ "user": "bob", "passcode": format!("{PIN},sms") }),
        ),
    ] {
        lab.http(policy, body.clone()).await;
        let (reason, note, next) = found().await;
        assert_eq!(reason, "no_token", "{body}");
        assert!(note.contains("asks for `sms`"), "{note}");
        let command = r#""token","add","bob@default","--kind","sms""#;
        assert!(next.contains(command), "{next}");
    }
    // Where the rule takes none, it is no code.
    let body = json!({ "user": "bob", "passcode": "sms" });
    lab.http("default", body.clone()).await;
    assert_eq!(found().await.0, "malformed_code");
    issued_token(&lab, "bob", Kind::Sms, "SMS-2", NUMBER).await;
    let path = "/v1/admin/tokens/SMS-2/suspend";
    lab.change("POST", path, json!({})).await;
    lab.http("codes", body).await;
    let (reason, note, next) = found().await;
    assert_eq!(reason, "not_active");
    assert!(note.contains("asks for `sms`"), "{note}");
    let command = r#""token","list","--user","bob@default""#;
    assert!(next.contains(command), "{next}");
}
