//! A totp token that a device carries: its key is shown once, it ends with the device.

use oncegate::admin::UserPatch;
use oncegate::model::client::Scope;
use oncegate::model::token::LifeCycle;
use oncegate::model::user_key::UserKey;
use oncegate::store::By;
use serde_json::{Value, json};
use std::time::Duration;

use crate::device::devices::{CODE, SERIAL, enrolled, invite};
use crate::support::app::TestApp;
use crate::support::device::{Phone, pending};

const TOTP: &str = "/v1/device/totp";
const CONFLICT: (u16, &str) = (409, "conflict");

async fn carried(app: &TestApp, phone: &Phone, body: Option<Value>) -> Value {
    let answer = app.as_phone(phone, "POST", TOTP, body).await;
    assert_eq!(answer.status, 201, "{:?}", answer.json());
    assert_eq!(answer.headers["cache-control"], "no-store");
    answer.json()
}

async fn refused(app: &TestApp, phone: &Phone, body: Option<Value>, wanted: (u16, &str)) {
    let (status, word) = app.as_phone(phone, "POST", TOTP, body).await.problem();
    assert_eq!((status, word.as_str()), wanted);
}

fn code(app: &TestApp, made: &Value) -> String {
    let secret = made["secret"].as_str().expect("a key");
    let key = totp_rs::Secret::try_from_base32(secret).expect("base 32");
    let totp = totp_rs::Builder::new()
        .with_secret(key.as_bytes().to_vec())
        .build_noncompliant();
    totp.generate(app.service.core.now().as_secs()).to_string()
}

fn serial(made: &Value) -> &str {
    made["token"]["serial"].as_str().expect("a serial")
}

#[tokio::test]
async fn a_device_is_shown_a_key_once_and_its_codes_are_good_once() {
    let (app, phone) = enrolled().await;
    let key = app.key("web", Scope::Verify, None).await;
    let made = carried(&app, &phone, None).await;
    assert_eq!(
        (&made["algorithm"], &made["digits"], &made["period"]),
        (&json!("sha1"), &json!(6), &json!(30))
    );
    let (token, _) = app.found(serial(&made));
    assert_eq!(
        (token.state, token.device),
        (LifeCycle::Active, Some(phone.id()))
    );
    let body = json!({ "user": "alice", "otp": code(&app, &made) });
    let mut decisions = Vec::new();
    for _ in 0..2 {
        let answer = app.keyed("POST", "/v1/verify", Some(&key), Some(body.clone()));
        decisions.push(answer.await.json()["decision"].clone());
    }
    assert_eq!(decisions, ["accept", "reject"]);

    refused(&app, &phone, None, CONFLICT).await;
    // Where the answer was lost it is named, and ends.
    for other in [SERIAL, "TOTP-NOTMINE1"] {
        let body = Some(json!({ "replaces": other }));
        let (status, _) = app.as_phone(&phone, "POST", TOTP, body).await.problem();
        assert!([400, 404, 409].contains(&status), "{other}: {status}");
    }
    let body = Some(json!({ "replaces": serial(&made) }));
    let next = carried(&app, &phone, body).await;
    assert_ne!(next["secret"], made["secret"]);
    assert_eq!(app.found(serial(&made)).0.state, LifeCycle::Revoked);
    let shown = app
        .as_phone(&phone, "GET", "/v1/device/pending", None)
        .await;
    let shown = String::from_utf8(shown.body).unwrap();
    assert!(shown.contains(serial(&next)), "{shown}");
    assert!(!shown.contains(next["secret"].as_str().unwrap()));
}

#[tokio::test]
async fn the_key_ends_with_the_device_that_knows_it() {
    let (app, old) = enrolled().await;
    let made = carried(&app, &old, None).await;
    let moved = app
        .as_phone(&old, "POST", "/v1/device/transfer", None)
        .await;
    let moved = moved.json()["code"].as_str().unwrap().to_owned();
    let new = Phone::new(2);
    let sent = new.enrol(app.service.core.now(), "alice", &moved);
    assert_eq!(app.send(&sent).await.status, 201);
    assert_eq!(app.found(serial(&made)).0.state, LifeCycle::Revoked);
    refused(&app, &old, None, (401, "not-taken")).await;
    let own = carried(&app, &new, None).await;
    assert_ne!(own["secret"], made["secret"]);
    let gone = format!("/v1/device/{}", new.id());
    assert_eq!(app.as_phone(&new, "DELETE", &gone, None).await.status, 204);
    assert_eq!(app.found(serial(&own)).0.state, LifeCycle::Revoked);
}

/// Who has lost a telephone has lost all that is on it, whichever of its tokens they name.
#[tokio::test]
async fn what_a_lost_device_carries_is_suspended_together() {
    for named in [None, Some(SERIAL)] {
        let (app, phone) = enrolled().await;
        let made = carried(&app, &phone, None).await;
        let user = UserKey::parse("alice").expect("a user");
        let serial = named
            .unwrap_or_else(|| serial(&made))
            .parse()
            .expect("a serial");
        let by = By::new(
            "user alice".to_owned(),
            app.service.core.arrival().expect("an id"),
        );
        let lost = app
            .service
            .admin
            .suspend_own(&user, Some(&serial), by)
            .await;
        assert_eq!(lost.expect("done"), 2);
        for serial in [SERIAL, made["token"]["serial"].as_str().expect("a serial")] {
            assert_eq!(app.found(serial).0.state, LifeCycle::Suspended, "{serial}");
        }
    }
}

#[tokio::test]
async fn a_request_for_a_key_is_signed_and_taken_once() {
    let (app, phone) = enrolled().await;
    let sent = phone.ask(app.service.core.now(), "POST", TOTP, Some(json!({})));
    let foreign = Phone::new(9).ask(app.service.core.now(), "POST", TOTP, Some(json!({})));
    assert_eq!(app.send(&foreign).await.status, 401);
    let mut changed = sent.clone();
    changed.body = "{ }".to_owned();
    assert_eq!(app.send(&changed).await.status, 401);
    assert_eq!(app.send(&sent).await.status, 201);
    assert_eq!(app.send(&sent).await.status, 401, "the same again");
    for body in [json!({ "replaces": 7 }), json!({ "more": true }), json!([])] {
        let answer = app.as_phone(&phone, "POST", TOTP, Some(body)).await;
        assert_eq!(answer.status, 400);
    }
    // 64 at once make one.
    let app = std::sync::Arc::new(app);
    app.clock.advance(Duration::from_mins(2));
    let old = carried_serial(&app, &phone).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let body = Some(json!({ "replaces": old }));
        let sent = phone.ask(app.service.core.now(), "POST", TOTP, body);
        let app = std::sync::Arc::clone(&app);
        tasks.spawn(async move { app.send(&sent).await.status.as_u16() });
    }
    let statuses = tasks.join_all().await;
    let made = statuses.iter().filter(|status| **status == 201).count();
    assert_eq!(made, 1, "{statuses:?}");
}

async fn carried_serial(app: &TestApp, phone: &Phone) -> String {
    let shown = app.as_phone(phone, "GET", "/v1/device/pending", None).await;
    let shown = shown.json();
    let tokens = shown["tokens"].as_array().expect("tokens");
    let totp = tokens
        .iter()
        .find(|token| token["kind"] == "totp" && token["state"] == "active");
    let serial = totp.expect("one")["serial"].as_str();
    serial.expect("a serial").to_owned()
}

#[tokio::test]
async fn the_policy_and_the_approvers_say_whether_devices_get_keys() {
    for rules in ["device = \"server\"", "approvers_for = { totp = 1 }"] {
        let app = TestApp::with(
            &format!(
                "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n[enrolment]\n{rules}\n"
            ),
            false,
        );
        invite(&app, "alice", SERIAL, CODE).await;
        let phone = Phone::new(1);
        let sent = phone.enrol(app.service.core.now(), "alice", CODE);
        assert_eq!(app.send(&sent).await.status, 201);
        refused(&app, &phone, None, CONFLICT).await;
    }
    // A device whose own token waits for a confirmation has proven nothing yet.
    let app = TestApp::with(crate::device::devices::POLICY, false);
    let alice = app.user("alice").await;
    pending(&app.service, &alice, SERIAL, true).await;
    crate::support::device::hand_out(&app.service, SERIAL, CODE).await;
    let phone = Phone::new(1);
    let sent = phone.enrol(app.service.core.now(), "alice", CODE);
    assert_eq!(app.send(&sent).await.json()["token"]["state"], "pending");
    refused(&app, &phone, None, CONFLICT).await;
}

#[tokio::test]
async fn reads_are_taken_once_without_a_record_of_each() {
    let (app, phone) = enrolled().await;
    // What is signed in the server's first second goes on record.
    app.clock.advance(Duration::from_secs(1));
    let records = || async {
        app.service
            .core
            .store()
            .audit_after(0, 1000)
            .await
            .unwrap()
            .len()
    };
    let before = records().await;
    let sent = phone.ask(app.service.core.now(), "GET", "/v1/device/pending", None);
    assert_eq!(app.send(&sent).await.status, 200);
    assert_eq!(app.send(&sent).await.status, 401, "the same again");
    for _ in 0..63 {
        let answer = app
            .as_phone(&phone, "GET", "/v1/device/pending", None)
            .await;
        assert_eq!(answer.status, 200);
    }
    let more = app
        .as_phone(&phone, "GET", "/v1/device/pending", None)
        .await;
    assert_eq!(more.status, 401, "64 a minute");
    assert_eq!(records().await, before);
    // A flood of reads does not keep the device from asking for a code.
    let code = app.as_phone(&phone, "POST", "/v1/device/otp", None).await;
    assert_eq!(code.status, 200);
    app.clock.advance(Duration::from_secs(61));
    let later = app
        .as_phone(&phone, "GET", "/v1/device/pending", None)
        .await;
    assert_eq!(later.status, 200);
    assert_eq!(app.send(&sent).await.status, 401, "too old");
}

/// As at every other front end: nothing for a disabled user, and what is the matter.
#[tokio::test]
async fn a_device_of_a_disabled_user_gets_no_codes_and_no_key() {
    let (app, phone) = enrolled().await;
    let user = UserKey::parse("alice").unwrap();
    let set = async |disabled| {
        let patch = UserPatch {
            disabled: Some(disabled),
            ..UserPatch::default()
        };
        let done = app.service.admin.set_user(&user, patch, None, app.by());
        done.await.unwrap();
    };
    set(true).await;
    for path in ["otp", "totp", "transfer", "renew"] {
        let path = format!("/v1/device/{path}");
        let answer = app.as_phone(&phone, "POST", &path, None).await;
        let problem = answer.json();
        assert_eq!(answer.status, 409, "{path}: {problem}");
        assert_eq!(problem["detail"], "the user is disabled", "{path}");
    }
    set(false).await;
    let answer = app.as_phone(&phone, "POST", "/v1/device/otp", None).await;
    assert_eq!(answer.status, 200, "{:?}", answer.json());
}
