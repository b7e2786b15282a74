//! What a key may do is asked when the body has come, and again for as long as an answer goes on.

use std::time::Duration;

use http_body_util::BodyExt as _;
use oncegate::model::client::Scope;
use oncegate::model::kind::Kind;
use oncegate::secret::SecretString;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::app::{TestApp, request, send};
use crate::support::slow::slowly;

async fn admin(app: &TestApp, method: &str, path: &str, body: Option<Value>) {
    let answer = app.admin(method, path, body).await;
    assert!(answer.status.is_success(), "{method} {path}: {answer:?}");
}

#[tokio::test]
async fn a_key_that_was_removed_while_the_body_came_does_nothing() {
    let app = TestApp::new();
    let add = |key: &SecretString, name: &str| {
        let body = json!({ "user": name });
        request("POST", "/v1/admin/users", Some(key), Some(body))
    };
    let key = app.key("ops", Scope::Admin, None).await;
    let made = slowly(&app.keyed, add(&key, "slow"), async {}).await;
    assert_eq!(made.status, 201, "{made:?}");
    let removed = admin(&app, "DELETE", "/v1/admin/clients/ops", None);
    let late = slowly(&app.keyed, add(&key, "evil"), removed).await;
    assert_eq!(late.problem(), (401, "no-key".to_owned()));

    // One that was exchanged, and one that was bound to a realm.
    let key = app.key("ops", Scope::Admin, None).await;
    let at_once = Some(json!({ "grace_secs": 0 }));
    let rotated = admin(&app, "POST", "/v1/admin/clients/ops/rotate", at_once);
    let late = slowly(&app.keyed, add(&key, "evil"), rotated).await;
    assert_eq!(late.problem(), (401, "no-key".to_owned()));
    let key = app.key("bound", Scope::Admin, None).await;
    let realm = Some(json!({ "realm": "default" }));
    let bound = admin(&app, "PATCH", "/v1/admin/clients/bound", realm);
    let late = slowly(&app.keyed, add(&key, "evil"), bound).await;
    assert_eq!(late.problem(), (403, "forbidden".to_owned()));
    let shown = app.admin("GET", "/v1/admin/users/evil", None).await;
    assert_eq!(shown.status, 404);
}

#[tokio::test]
async fn a_code_is_not_used_up_by_a_key_that_was_removed_while_the_body_came() {
    let app = TestApp::new();
    app.user_with("alice", Kind::Totp, true).await;
    let (web, other) = (
        app.key("web", Scope::Verify, None).await,
        app.key("other", Scope::Verify, None).await,
    );
    let body = json!({ "user": "alice", "otp": app.code(0) });
    let asked = request("POST", "/v1/verify", Some(&web), Some(body));
    let removed = admin(&app, "DELETE", "/v1/admin/clients/web", None);
    let late = slowly(&app.keyed, asked, removed).await;
    assert_eq!(late.problem(), (401, "no-key".to_owned()));
    let answer = app.verify(&other, "alice", &app.code(0)).await.json();
    assert_eq!(answer["decision"], "accept", "{answer}");
}

#[tokio::test]
async fn an_audit_that_is_followed_ends_with_the_key() {
    let app = TestApp::new();
    let key = app.key("siem", Scope::Auditor, None).await;
    let tail = request("GET", "/v1/admin/audit/tail", Some(&key), None);
    let mut tail = send(&app.keyed, tail).await.into_body();
    app.user("alice").await;
    let first = tail.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("alice"));
    admin(&app, "DELETE", "/v1/admin/clients/siem", None).await;
    app.user("bob").await;
    let rest = timeout(Duration::from_secs(10), tail.collect()).await;
    let rest = rest.expect("it ends").unwrap().to_bytes();
    let rest = String::from_utf8_lossy(&rest);
    assert!(!rest.contains("bob"), "{rest}");
}
