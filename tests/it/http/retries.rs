//! `Idempotency-Key`: what is given again, to whom, and what the audit says of it.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use oncegate::model::client::Scope;
use oncegate::model::kind::Kind;
use oncegate::secret::SecretString;
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp, ask, request};

fn idempotent(key: &SecretString, name: &str, body: &Value) -> Request<Body> {
    let mut request = request("POST", "/v1/verify", Some(key), Some(body.clone()));
    let name = name.parse().expect("a value");
    request.headers_mut().insert("idempotency-key", name);
    request
}

/// What is on record under the id of a request.
async fn recorded(app: &TestApp, answer: &Answer) -> Value {
    let id = answer.headers["x-request-id"].to_str().expect("an id");
    let path = format!("/v1/admin/audit?request={id}");
    let found = app.admin("GET", &path, None).await.json();
    assert_eq!(found["records"].as_array().map(Vec::len), Some(1), "{id}");
    found["records"][0].clone()
}

#[tokio::test]
async fn an_accept_is_not_given_again_when_what_it_rested_on_has_changed() {
    let app = TestApp::new();
    let serial = app.user_with("alice", Kind::Totp, true).await;
    let key = app.key("web", Scope::Verify, None).await;
    let late = async |name: &str, method: &str, path: &str, body: Option<Value>| {
        app.clock.advance(Duration::from_secs(30));
        let asked = json!({ "user": "alice", "otp": app.code(0) });
        let first = ask(&app.keyed, idempotent(&key, name, &asked)).await;
        assert_eq!(first.json()["decision"], "accept", "{name}");
        let retry = ask(&app.keyed, idempotent(&key, name, &asked)).await;
        assert_eq!(retry.body, first.body, "{name}");
        let changed = app.admin(method, path, body).await;
        assert!(changed.status.is_success(), "{name}: {changed:?}");
        let late = ask(&app.keyed, idempotent(&key, name, &asked)).await;
        assert_eq!(late.json()["decision"], "reject", "{name}");
        let id = late.headers["x-request-id"].to_str().expect("an id");
        assert_eq!(late.json()["request_id"], id, "a decision of its own");
        let reason = recorded(&app, &late).await["reason"].clone();
        reason.as_str().expect("a reason").to_owned()
    };
    let user = "/v1/admin/users/alice";
    let policy = Some(json!({ "policy": "strict" }));
    let reason = late("client", "PATCH", "/v1/admin/clients/web", policy).await;
    assert_eq!(reason, "used_code");
    let groups = Some(json!({ "groups": ["staff"] }));
    assert_eq!(late("record", "PATCH", user, groups).await, "used_code");
    let suspend = format!("/v1/admin/tokens/{serial}/suspend");
    assert_eq!(late("token", "POST", &suspend, None).await, "not_active");
    let resume = format!("/v1/admin/tokens/{serial}/resume");
    let resumed = app.admin("POST", &resume, None).await;
    assert!(resumed.status.is_success(), "{resumed:?}");
    let off = Some(json!({ "disabled": true }));
    assert_eq!(late("off", "PATCH", user, off).await, "user_disabled");
    let on = Some(json!({ "disabled": false }));
    assert_eq!(app.admin("PATCH", user, on).await.status, 200);
    assert_eq!(late("gone", "DELETE", user, None).await, "unknown_user");
}

#[tokio::test]
async fn a_client_made_anew_is_another_caller() {
    let app = TestApp::new();
    app.user_with("alice", Kind::Totp, true).await;
    let former = app.key("web", Scope::Verify, None).await;
    let right = json!({ "user": "alice", "otp": app.code(0) });
    let wrong = json!({ "user": "nobody", "otp": "000000" });
    let accepted = ask(&app.keyed, idempotent(&former, "right", &right)).await;
    assert_eq!(accepted.json()["decision"], "accept");
    let refused = ask(&app.keyed, idempotent(&former, "wrong", &wrong)).await;
    assert_eq!(refused.json()["decision"], "reject");
    let gone = app.admin("DELETE", "/v1/admin/clients/web", None).await;
    assert!(gone.status.is_success(), "{gone:?}");
    app.clock.advance(Duration::from_secs(1));
    let key = app.key("web", Scope::Verify, None).await;
    let late = ask(&app.keyed, idempotent(&key, "right", &right)).await;
    assert_eq!(late.json()["decision"], "reject");
    assert_eq!(recorded(&app, &late).await["reason"], "used_code");
    // Nothing of the former one's is in the way of its keys.
    let other = json!({ "user": "nobody", "otp": "111111" });
    let fresh = ask(&app.keyed, idempotent(&key, "wrong", &other)).await;
    assert_eq!(fresh.json()["decision"], "reject");
}

/// Contract s8.8, and nothing is counted twice.
#[tokio::test]
async fn what_is_given_again_is_on_record() {
    let app = TestApp::new();
    app.user_with("alice", Kind::Totp, true).await;
    let key = app.key("web", Scope::Verify, None).await;
    let (right, wrong) = (app.code(0), "000000".to_owned());
    for (name, user, otp, reasons) in [
        ("a", "alice", &right, ["totp_ok", "repeated_ok"]),
        ("b", "alice", &wrong, ["wrong_code", "repeated"]),
        ("c", "nobody", &wrong, ["unknown_user", "repeated"]),
    ] {
        let asked = json!({ "user": user, "otp": otp });
        let first = ask(&app.keyed, idempotent(&key, name, &asked)).await;
        let retry = ask(&app.keyed, idempotent(&key, name, &asked)).await;
        assert_eq!(first.body, retry.body, "{name}");
        let records = [recorded(&app, &first).await, recorded(&app, &retry).await];
        let said = records.each_ref().map(|record| record["reason"].as_str());
        assert_eq!(said, reasons.map(Some), "{name}");
        let id = first.headers["x-request-id"].to_str().expect("an id");
        let note = records[1]["note"].as_str().expect("a note");
        assert!(note.contains(id), "{note}");
    }
    let alice = app.admin("GET", "/v1/admin/users/alice", None).await;
    assert_eq!(alice.json()["lock"]["failures"], 1);
}

/// The code of its first round is used up: deciding again would refuse it.
#[tokio::test]
async fn a_challenge_is_given_again_as_it_was() {
    let app = TestApp::with(
        "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\", \"password\"]\n\
         present = \"challenge\"\n",
        false,
    );
    app.user_with("alice", Kind::Totp, true).await;
    let password = json!({ "password": "correct horse battery" });
    let set = app.admin("PATCH", "/v1/admin/users/alice", Some(password));
    assert_eq!(set.await.status, 200);
    let key = app.key("web", Scope::Verify, None).await;
    let asked = json!({ "user": "alice", "otp": app.code(0) });
    let first = ask(&app.keyed, idempotent(&key, "one", &asked)).await;
    assert_eq!(first.json()["decision"], "challenge", "{first:?}");
    let retry = ask(&app.keyed, idempotent(&key, "one", &asked)).await;
    assert_eq!(retry.body, first.body);
}

/// The last round asks for no code, and does not say again what the rule's condition looked at.
#[tokio::test]
async fn the_accept_of_a_login_in_rounds_is_given_again() {
    let app = TestApp::with(
        "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\", \"password\"]\n\
         present = \"challenge\"\nwhen = { network = \"192.0.2.0/24\" }\n",
        false,
    );
    let serial = app.user_with("alice", Kind::Totp, true).await;
    let password = json!({ "password": "correct horse battery" });
    let set = app.admin("PATCH", "/v1/admin/users/alice", Some(password));
    assert_eq!(set.await.status, 200);
    let key = app.key("web", Scope::Verify, None).await;
    let asked = json!({ "user": "alice", "otp": app.code(0), "client_ip": "192.0.2.7" });
    let first = ask(&app.keyed, idempotent(&key, "one", &asked)).await;
    let id = first.json()["challenge"]["id"].clone();
    let asked = json!({ "user": "alice", "password": "correct horse battery", "challenge": id });
    let accepted = ask(&app.keyed, idempotent(&key, "two", &asked)).await;
    assert_eq!(accepted.json()["decision"], "accept", "{accepted:?}");
    let retry = ask(&app.keyed, idempotent(&key, "two", &asked)).await;
    assert_eq!(retry.body, accepted.body);
    assert_eq!(recorded(&app, &retry).await["reason"], "repeated_ok");
    // The token of the first round counts for it as that of the last.
    let suspend = format!("/v1/admin/tokens/{serial}/suspend");
    let suspended = app.admin("POST", &suspend, None).await;
    assert!(suspended.status.is_success(), "{suspended:?}");
    let late = ask(&app.keyed, idempotent(&key, "two", &asked)).await;
    assert_eq!(late.json()["decision"], "reject");
}
