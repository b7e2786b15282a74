//! A pending token is activated by its owner's first right code at any front end.

use std::time::Duration;

use oncegate::model::client::Scope;
use oncegate::secret::SecretString;
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp};
use crate::user::enrolment::{code_of, last, policy, state, totp};

/// Asks with what a person types into one box.
async fn passcode(app: &TestApp, key: &SecretString, user: &str, typed: &str) -> Answer {
    let body = json!({ "user": user, "passcode": typed });
    app.keyed("POST", "/v1/verify", Some(key), Some(body)).await
}

/// The owner's first right code at a front end brings the token into use, in the transaction that consumes it:
/// with the right PIN beside it, until its time has passed, and once.
#[tokio::test]
async fn the_first_right_code_activates() {
    let app = TestApp::with(
        "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"pin\", \"otp\"]\n\
         [enrolment]\nfirst_use_within = \"2d\"\n",
        false,
    );
    let verify = app.key("web", Scope::Verify, None).await;
    for user in ["alice", "bob"] {
        let pin = json!({ "user": user, "pin": "48201973" });
        let made = app.admin("POST", "/v1/admin/users", Some(pin)).await;
        assert_eq!(made.status, 201, "{made:?}");
    }
    let token = totp(&app, "alice", "ALICE", json!({})).await;
    assert_eq!(token["state"], "pending");
    let until = app.service.core.now().plus(Duration::from_hours(48));
    assert_eq!(token["first_use_until"], until.rfc3339());
    let pinned = |pin: &str, code: &str| format!("{pin}{code}");

    let wrong = pinned("11111111", &code_of(&app, &token));
    let wrong = passcode(&app, &verify, "alice", &wrong).await;
    assert_eq!(wrong.json()["decision"], "reject");
    assert_eq!(last(&app).await["reason"], "wrong_pin");
    assert_eq!(
        state(&app, "ALICE").await,
        "pending",
        "its code is used up all the same"
    );

    app.clock.advance(Duration::from_mins(1));
    let right = pinned("48201973", &code_of(&app, &token));
    let login = passcode(&app, &verify, "alice", &right).await.json();
    assert_eq!(
        (&login["decision"], &login["serial"]),
        (&json!("accept"), &json!("ALICE"))
    );
    let record = last(&app).await;
    assert_eq!(record["reason"], "totp_ok");
    assert_eq!(
        record["note"],
        "its first right code: the token is in use from now on"
    );
    let changes = record["changes"].as_array().unwrap();
    let moved = changes.iter().find(|one| one["field"] == "state").unwrap();
    assert_eq!(
        (&moved["before"], &moved["after"]),
        (&json!("pending"), &json!("active"))
    );
    let path = "/v1/admin/tokens/ALICE";
    let shown = app.admin("GET", path, None).await.json();
    assert_eq!(
        (&shown["state"], &shown["first_use_until"]),
        (&json!("active"), &Value::Null)
    );
    let again = passcode(&app, &verify, "alice", &right).await;
    assert_eq!(again.json()["decision"], "reject");
    assert_eq!(last(&app).await["reason"], "used_code");

    // Too late: it is confirmed, or handed out again.
    let token = totp(&app, "bob", "BOB", json!({})).await;
    app.clock.advance(Duration::from_hours(48));
    let right = || pinned("48201973", &code_of(&app, &token));
    let login = passcode(&app, &verify, "bob", &right()).await.json();
    assert_eq!(login["decision"], "reject");
    assert_eq!(last(&app).await["reason"], "not_active");
    let id = login["request_id"].as_str().unwrap();
    let path = format!("/v1/admin/explain/{id}");
    let explained = app.admin("GET", &path, None).await.json().to_string();
    for word in [
        "first code ended on",
        "token offer BOB",
        "token confirm BOB",
    ] {
        let word = word.replace(' ', "\",\"");
        let plain = word.replace("\",\"", " ");
        assert!(
            explained.contains(&word) || explained.contains(&plain),
            "{plain}: {explained}"
        );
    }
    let offered = app.admin("POST", "/v1/admin/tokens/BOB/offer", None).await;
    assert_eq!(offered.status, 200, "{offered:?}");
    let login = passcode(&app, &verify, "bob", &right()).await.json();
    assert_eq!(login["decision"], "accept");
    assert_eq!(state(&app, "BOB").await, "active");
}

/// Where more is asked for in a later round, the token waits for that: its code is used up at once.
#[tokio::test]
async fn a_first_code_activates_when_the_rest_is_proven() {
    let app = TestApp::with(
        "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\", \"pin\"]\n\
         present = \"challenge\"\n[enrolment]\nfirst_use_within = \"2d\"\n",
        false,
    );
    let verify = app.key("web", Scope::Verify, None).await;
    let alice = json!({ "user": "alice", "pin": "48201973" });
    let made = app.admin("POST", "/v1/admin/users", Some(alice)).await;
    assert_eq!(made.status, 201, "{made:?}");
    let token = totp(&app, "alice", "ALICE", json!({})).await;
    let ask = async |body: Value| {
        let answer = app.keyed("POST", "/v1/verify", Some(&verify), Some(body));
        answer.await.json()
    };
    let begin = async || {
        let asked = ask(json!({ "user": "alice", "otp": code_of(&app, &token) })).await;
        assert_eq!(state(&app, "ALICE").await, "pending");
        asked["challenge"]["id"].clone()
    };
    let finish = async |open: Value, pin: &str| {
        let body = json!({ "user": "alice", "pin": pin, "challenge": open });
        ask(body).await
    };

    let open = begin().await;
    assert!(open.is_string());
    assert_eq!(finish(open, "11111111").await["decision"], "reject");
    assert_eq!(state(&app, "ALICE").await, "pending");
    assert!(begin().await.is_null());
    assert_eq!(last(&app).await["reason"], "used_code");

    app.clock.advance(Duration::from_mins(1));
    let open = begin().await;
    assert_eq!(finish(open, "48201973").await["decision"], "accept");
    assert_eq!(state(&app, "ALICE").await, "active");
    let record = last(&app).await;
    assert_eq!(record["reason"], "pin_ok");
    let note = record["note"].as_str().unwrap();
    assert!(note.contains("in an earlier round"), "{note}");
}

/// Under a limit of one, one of two first codes comes in, however many ask at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_code_counts_once_however_many_ask() {
    let app = TestApp::with(&policy("max_active = 1"), false);
    app.user("alice").await;
    let verify = app.key("web", Scope::Verify, None).await;
    let one = totp(&app, "alice", "ONE", json!({})).await;
    let two = totp(&app, "alice", "TWO", json!({})).await;
    let codes = [code_of(&app, &one), code_of(&app, &two)];
    let asks = (0..24).map(|number| {
        let (app, code) = (&app, &codes[number % 2]);
        let key = &verify;
        async move { app.verify(key, "alice", code).await.json() }
    });
    let answers = futures_util::future::join_all(asks).await;
    let accepted = answers
        .iter()
        .filter(|one| one["decision"] == "accept")
        .count();
    assert_eq!(accepted, 1, "{answers:?}");
    let states = [state(&app, "ONE").await, state(&app, "TWO").await];
    assert_eq!(
        states.iter().filter(|one| *one == "active").count(),
        1,
        "{states:?}"
    );
}

/// `activate = "confirm"`: no login brings a token into use.
#[tokio::test]
async fn a_policy_may_ask_for_a_confirmation() {
    let app = TestApp::with(&policy("activate = \"confirm\""), false);
    app.user("alice").await;
    let verify = app.key("web", Scope::Verify, None).await;
    let token = totp(&app, "alice", "ALICE", json!({})).await;
    assert_eq!(token.get("first_use_until"), None);
    let login = app.verify(&verify, "alice", &code_of(&app, &token)).await;
    assert_eq!(login.json()["decision"], "reject");
    assert_eq!(last(&app).await["reason"], "not_active");
    let otp = json!({ "otp": code_of(&app, &token) });
    let proven = app.admin("POST", "/v1/admin/tokens/ALICE/confirm", Some(otp));
    assert_eq!(proven.await.json()["state"], "active");
}
