//! Users who enrol tokens themselves, through an application.

use std::sync::Arc;
use std::time::Duration;

use crate::support::app::TestApp;
use crate::support::outbox::{Inbox, outbox};
use oncegate::model::client::Scope;
use oncegate::secret::SecretString;
use serde_json::{Value, json};

pub(crate) const PASSWORD: &str = "correct horse battery";

/// An application, and a user who knows [`PASSWORD`].
pub(crate) struct House {
    pub(crate) app: TestApp,
    pub(crate) web: SecretString,
    inbox: Inbox,
}

impl House {
    /// A policy that asks for password and code, with these rules for enrolment, and a user.
    pub(crate) async fn new(enrolment: &str) -> Self {
        Self::with(&format!(
            "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"password\", \"otp\"]\n\
             [enrolment]\nself_service = [\"totp\", \"sms\", \"card\"]\nproof = [\"password\"]\n\
             {enrolment}\n"
        ))
        .await
    }

    /// The same with this policy.
    pub(crate) async fn with(policy: &str) -> Self {
        let app = TestApp::with(policy, false);
        let (courier, inbox) = outbox();
        app.service.core.set_courier(Arc::new(courier));
        let user = json!({
            "user": "alice", "password": PASSWORD, "phone": "+82-10-1234-5678",
            "remote_issue": false
        });
        let made = app.admin("POST", "/v1/admin/users", Some(user)).await;
        assert_eq!(made.status, 201, "{:?}", made.json());
        let web = app.key("web", Scope::Verify, None).await;
        Self { app, web, inbox }
    }

    pub(crate) async fn ask(&self, path: &str, body: Value) -> (u16, Value) {
        let path = format!("/v1/enrolments{path}");
        let answer = self.app.keyed("POST", &path, Some(&self.web), Some(body));
        let answer = answer.await;
        (answer.status.as_u16(), answer.json())
    }

    /// Asks for a token with the right password.
    pub(crate) async fn enrol(&self, kind: &str, more: Value) -> (u16, Value) {
        let mut body = json!({ "user": "alice", "kind": kind, "password": PASSWORD });
        for (name, value) in more.as_object().expect("fields") {
            body[name] = value.clone();
        }
        self.ask("", body).await
    }

    pub(crate) async fn confirm(&self, token: &Value, otp: &str) -> Value {
        let serial = token["serial"].as_str().expect("a serial");
        let body = json!({ "user": "alice", "otp": otp });
        self.ask(&format!("/{serial}/confirm"), body).await.1
    }

    /// What the app shows that scanned this token.
    pub(crate) fn code(&self, token: &Value) -> String {
        let uri = token["otpauth_uri"].as_str().expect("a URI");
        let secret = uri
            .split("secret=")
            .nth(1)
            .and_then(|rest| rest.split('&').next());
        let key = totp_rs::Secret::try_from_base32(secret.expect("a key")).expect("base 32");
        let totp = totp_rs::Builder::new()
            .with_secret(key.as_bytes().to_vec())
            .build_noncompliant();
        totp.generate(self.app.service.core.now().as_secs())
            .to_string()
    }
}

#[tokio::test]
async fn a_user_without_a_token_is_proven_by_the_password_and_then_never_again() {
    let house = House::new("").await;
    let (status, token) = house.enrol("totp", json!({})).await;
    assert_eq!(
        (status, &token["decision"]),
        (200, &json!("accept")),
        "{token}"
    );
    assert_eq!(
        (&token["state"], &token["requester"]),
        (&json!("pending"), &json!("user alice@default"))
    );
    let wrong = house.confirm(&token, "000000").await;
    assert_eq!(wrong["decision"], "reject");
    let fields: Vec<_> = wrong.as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields, ["decision", "request_id"]);
    house.app.clock.advance(Duration::from_mins(1));
    let proven = house.confirm(&token, &house.code(&token)).await;
    assert_eq!(
        (&proven["decision"], &proven["state"]),
        (&json!("accept"), &json!("active"))
    );

    house.app.clock.advance(Duration::from_mins(1));
    let (_, again) = house.enrol("totp", json!({})).await;
    assert_eq!(
        again["decision"], "reject",
        "now the rule's factors are asked for"
    );
    let otp = json!({ "otp": house.code(&token), "replaces": token["serial"] });
    let (_, second) = house.enrol("totp", otp).await;
    assert_eq!(second["decision"], "accept", "{second}");
    assert_eq!(second["replaces"], token["serial"]);
}

#[tokio::test]
async fn a_wrong_proof_is_counted_and_looks_the_same_for_everybody() {
    let house = House::new("").await;
    let asked =
        |user: &str, password: &str| json!({ "user": user, "kind": "totp", "password": password });
    for user in ["alice", "nobody", "a\u{0}b"] {
        let (status, answer) = house.ask("", asked(user, "wrong horse battery")).await;
        assert_eq!((status, &answer["decision"]), (200, &json!("reject")));
        assert_eq!(answer.as_object().unwrap().len(), 2);
    }
    let shown = house
        .app
        .admin("GET", "/v1/admin/users/alice", None)
        .await
        .json();
    assert_eq!(shown["lock"]["failures"], 1);
    let (status, _) = house.enrol("hotp", json!({})).await;
    assert_eq!(status, 403, "not a kind of the policy");
    let other = house.app.key("op", Scope::Operator, None).await;
    let body = Some(asked("alice", PASSWORD));
    let answer = house
        .app
        .keyed("POST", "/v1/enrolments", Some(&other), body);
    assert_eq!(answer.await.problem().0, 403);
}

#[tokio::test]
async fn a_bypass_is_no_proof() {
    let house = House::new("").await;
    let (_, token) = house.enrol("totp", json!({})).await;
    house.confirm(&token, &house.code(&token)).await;
    let until = house
        .app
        .service
        .core
        .now()
        .plus(Duration::from_hours(1))
        .rfc3339();
    let grant = json!({ "reason": "telephone lost", "until": until });
    let path = "/v1/admin/users/alice/bypass";
    assert_eq!(house.app.admin("PUT", path, Some(grant)).await.status, 200);
    let (_, answer) = house.enrol("totp", json!({})).await;
    assert_eq!(answer["decision"], "reject");
}

#[tokio::test]
async fn row_c10_without_consent_only_an_operator_enrols() {
    let house = House::new("remote = false").await;
    let (status, answer) = house.enrol("totp", json!({})).await;
    assert_eq!(status, 403, "{answer}");
    let consent = json!({ "remote_issue": true });
    let path = "/v1/admin/users/alice";
    let user = house.app.admin("PATCH", path, Some(consent)).await.json();
    assert_eq!(user["remote_issue"], true);
    let (_, answer) = house.enrol("totp", json!({})).await;
    assert_eq!(answer["decision"], "accept");
}

#[tokio::test]
async fn row_c1_a_branch_code_is_good_once() {
    let house = House::new("step_up = [\"branch_code\", \"sms\"]").await;
    let (status, missing) = house.enrol("totp", json!({})).await;
    assert_eq!(status, 400, "{missing}");
    let add = async |body: Value| {
        let made = house
            .app
            .admin("POST", "/v1/admin/tokens", Some(body))
            .await;
        made.json()["codes"][0].as_str().expect("a code").to_owned()
    };
    let with = |code: &str| json!({ "step_up": { "branch_code": code } });
    let sheet = add(json!({ "user": "alice", "kind": "recovery", "valid_for_secs": 86_400 })).await;
    let (_, answer) = house.enrol("totp", with(&sheet)).await;
    assert_eq!(
        answer["decision"], "reject",
        "a recovery code is no branch code"
    );
    let branch =
        json!({ "user": "alice", "kind": "recovery", "count": 1, "valid_for_secs": 86_400 });
    let code = add(branch).await;
    let (_, answer) = house.enrol("totp", with("00000-00000")).await;
    assert_eq!(answer["decision"], "reject");
    house.app.clock.advance(Duration::from_secs(5));
    let (_, answer) = house.enrol("totp", with(&code)).await;
    assert_eq!(answer["decision"], "accept", "{answer}");
    let (_, answer) = house.enrol("totp", with(&code)).await;
    assert_eq!(answer["decision"], "reject", "once");
    house.app.clock.advance(Duration::from_hours(25));
    let branch = json!({ "user": "alice", "kind": "recovery", "count": 1, "valid_for_secs": 60 });
    let code = add(branch).await;
    house.app.clock.advance(Duration::from_mins(1));
    let (_, answer) = house.enrol("totp", with(&code)).await;
    assert_eq!(answer["decision"], "reject", "it has an end");
}

#[tokio::test]
async fn row_c2_another_address_needs_another_token_or_an_operator() {
    let mut house = House::new("").await;
    let other = json!({ "address": "+821099990000" });
    let (status, answer) = house.enrol("sms", other.clone()).await;
    assert_eq!(status, 403, "{answer}");
    assert!(house.inbox.is_empty());
    let own = json!({ "address": "+82 10 1234 5678" });
    let (_, sms) = house.enrol("sms", own).await;
    assert_eq!(
        (&sms["decision"], &sms["state"]),
        (&json!("accept"), &json!("pending"))
    );
    let (_, to, code) = house.inbox.next().await;
    assert_eq!(to, "+821012345678");
    let (_, totp) = house.enrol("totp", json!({})).await;
    assert_eq!(totp["decision"], "accept", "a pending token is none in use");
    let proven = house.confirm(&sms, &code).await;
    assert_eq!(proven["state"], "active");
    house.confirm(&totp, &house.code(&totp)).await;
    house.app.clock.advance(Duration::from_mins(1));
    let mut with_otp = other;
    with_otp["otp"] = json!(house.code(&totp));
    let (_, changed) = house.enrol("sms", with_otp).await;
    assert_eq!(changed["decision"], "accept", "{changed}");
    assert_eq!(house.inbox.next().await.1, "+821099990000");
    assert_eq!(changed["state"], "pending", "and is proven itself");
}

#[tokio::test]
async fn row_a3_what_others_must_approve_shows_nothing_yet() {
    let house = House::new("approvers = 1").await;
    let (_, token) = house.enrol("totp", json!({})).await;
    assert_eq!(
        (&token["decision"], &token["state"]),
        (&json!("accept"), &json!("requested"))
    );
    assert!(token.get("otpauth_uri").is_none());
    let (_, card) = house.enrol("card", json!({})).await;
    assert!(card.get("cells").is_none());
    assert_eq!(house.confirm(&token, "123456").await["decision"], "reject");
}
