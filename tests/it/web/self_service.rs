//! Users who enrol tokens themselves, through an application.

use std::sync::Arc;
use std::time::Duration;

use crate::support::app::TestApp;
use crate::support::corp::Corp;
use crate::support::outbox::{Inbox, outbox};
use crate::user::enrolment::{code_of, last, state};
use oncegate::explain::Supposed;
use oncegate::model::client::Scope;
use oncegate::model::reason::Reason;
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

    /// A record that an administrator makes.
    async fn made(&self, what: &str, body: Value) -> Value {
        let path = format!("/v1/admin/{what}");
        let made = self.app.admin("POST", &path, Some(body)).await;
        assert_eq!(made.status, 201, "{:?}", made.json());
        made.json()
    }

    /// What an administrator changes about a user.
    async fn set(&self, user: &str, body: Value) {
        let path = format!("/v1/admin/users/{user}");
        let set = self.app.admin("PATCH", &path, Some(body)).await;
        assert_eq!(set.status, 200, "{:?}", set.json());
    }

    /// Asks, is rejected, and gives the record of that.
    async fn rejected(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask(path, body).await;
        assert_eq!((status, &answer["decision"]), (200, &json!("reject")));
        assert_eq!(answer.as_object().unwrap().len(), 2, "{answer}");
        let record = last(&self.app).await;
        assert_eq!(record["request_id"], answer["request_id"], "{record}");
        record
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

/// At an application a password alone would make a key to the console, and wrong ones would lock its people out.
#[tokio::test]
async fn an_application_knows_no_one_of_the_console() {
    let house = House::with(
        "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"password\", \"otp\"]\n\
         alternatives = [\"sms\"]\n[enrolment]\nself_service = [\"totp\"]\nproof = [\"password\"]\n",
    )
    .await;
    for (name, phone) in [("boss", "+821099990001"), ("chief", "+821099990002")] {
        let person = json!({
            "user": format!("{name}@console"), "groups": ["admin"], "password": PASSWORD,
            "phone": phone
        });
        house.made("users", person).await;
    }
    for password in [PASSWORD, "wrong horse battery"] {
        let body = json!({ "user": "chief@console", "kind": "totp", "password": password });
        let record = house.rejected("", body).await;
        assert_eq!(
            (&record["reason"], &record["user"]),
            (&json!("unknown_user"), &json!("chief@console"))
        );
    }
    let path = "/v1/admin/users/chief@console";
    let chief = house.app.admin("GET", path, None).await.json();
    assert_eq!(chief["lock"]["failures"], 0, "{chief}");
    let tokens = chief["tokens"].as_array();
    assert!(tokens.is_none_or(Vec::is_empty), "{chief}");

    let sms = json!({ "user": "boss@console", "kind": "sms", "active": true });
    house.made("tokens", sms).await;
    let totp = json!({ "user": "boss@console", "kind": "totp" });
    let pending = house.made("tokens", totp).await;
    let serial = pending["serial"].as_str().unwrap();
    let code = code_of(&house.app, &pending);
    let body = json!({ "user": "boss@console", "otp": code });
    let record = house.rejected(&format!("/{serial}/confirm"), body).await;
    assert_eq!(
        (&record["reason"], &record["purpose"]),
        (&json!("unknown_user"), &json!("confirm"))
    );
    assert_eq!(state(&house.app, serial).await, "pending");
    let body = json!({ "user": "boss@console", "factor": "sms" });
    let web = Some(&house.web);
    let begun = house
        .app
        .keyed("POST", "/v1/challenges", web, Some(body))
        .await;
    assert_eq!(begun.status, 201, "as for everyone: {begun:?}");
    let record = last(&house.app).await;
    assert_eq!(record["action"], "code_refuse", "{record}");
    let why = record["detail"].as_str().unwrap();
    assert!(why.contains("unknown_user"), "{why}");
}

/// What was set here before a user followed the directory proves nothing; what the directory takes does.
#[tokio::test]
async fn the_proof_is_the_password_of_the_directory_that_checks_it() {
    let house = House::new("").await;
    let corp = Arc::new(Corp::default());
    corp.add("alice", Reason::PasswordOk);
    corp.add("bora", Reason::AccountDisabled);
    house.app.service.core.directories().set(corp);
    let adopt = Some(json!({ "adopt": true }));
    let path = "/v1/admin/sources/corp/sync";
    let synced = house.app.admin("POST", path, adopt).await.json();
    assert_eq!(synced["counts"]["adopted"], 1, "{synced}");
    for (user, password, reason) in [
        ("alice", PASSWORD, "wrong_password"),
        ("bora", Corp::PASSWORD, "account_disabled"),
    ] {
        let body = json!({ "user": user, "kind": "totp", "password": password });
        let record = house.rejected("", body).await;
        assert_eq!(
            (&record["reason"], &record["purpose"]),
            (&json!(reason), &json!("enrol"))
        );
        house.app.clock.advance(Duration::from_mins(1));
    }
    let right = json!({ "password": Corp::PASSWORD });
    let (_, token) = house.enrol("totp", right).await;
    assert_eq!(token["decision"], "accept", "{token}");
    let proven = house.confirm(&token, &house.code(&token)).await;
    assert_eq!(proven["state"], "active", "{proven}");
    // An explanation reads the password as a login does: the one of here need not be changed first.
    house.set("alice", json!({ "must_change": true })).await;
    let supposed = Supposed {
        user: "alice",
        client: "web",
        at: None,
        source: None,
        method: None,
        attributes: &[],
        context: &[],
    };
    let foreseen = house.app.service.explain.foresee(supposed).unwrap();
    assert_eq!(foreseen.reason, None, "{foreseen:?}");
}

/// Contract s6: no rule holds, reject. A user who is disabled neither.
#[tokio::test]
async fn without_a_rule_no_one_enrols_or_confirms() {
    let house = House::with(
        "reject_delay = \"0s\"\n[[rule]]\nname = \"vpn\"\nwhen = { group = \"vpn\" }\n\
         require = [\"password\", \"otp\"]\n[enrolment]\nself_service = [\"totp\"]\n\
         proof = [\"password\"]\n",
    )
    .await;
    let asks = || json!({ "user": "alice", "kind": "totp", "password": PASSWORD });
    assert_eq!(house.rejected("", asks()).await["reason"], "no_rule");
    house.set("alice", json!({ "groups": ["vpn"] })).await;
    let (_, token) = house.enrol("totp", json!({})).await;
    assert_eq!(token["decision"], "accept", "{token}");
    let serial = token["serial"].as_str().unwrap();
    let path = format!("/{serial}/confirm");
    let shows = || json!({ "user": "alice", "otp": house.code(&token) });
    for (hinders, ends, reason) in [
        (
            json!({ "groups": [] }),
            json!({ "groups": ["vpn"] }),
            "no_rule",
        ),
        (
            json!({ "disabled": true }),
            json!({ "disabled": false }),
            "user_disabled",
        ),
    ] {
        house.set("alice", hinders).await;
        let record = house.rejected(&path, shows()).await;
        assert_eq!(
            (&record["reason"], &record["purpose"]),
            (&json!(reason), &json!("confirm"))
        );
        assert_eq!(house.rejected("", asks()).await["reason"], reason);
        assert_eq!(state(&house.app, serial).await, "pending", "{reason}");
        house.set("alice", ends).await;
    }
    let (_, proven) = house.ask(&path, shows()).await;
    assert_eq!(proven["state"], "active", "{proven}");
}

/// Contract s8.8: what is refused before anything is compared is on record, too.
#[tokio::test]
async fn every_refusal_of_a_first_code_is_on_record() {
    let house = House::new("").await;
    let bob = json!({ "user": "bob", "password": PASSWORD });
    house.made("users", bob).await;
    let (_, token) = house.enrol("totp", json!({})).await;
    let serial = token["serial"].as_str().unwrap().to_owned();
    let code = house.code(&token);
    let confirm = async |serial: &str, user: &str, otp: &str| {
        let body = json!({ "user": user, "otp": otp });
        let record = house.rejected(&format!("/{serial}/confirm"), body).await;
        assert_eq!(record["purpose"], "confirm", "{record}");
        let note = record["note"].as_str().unwrap_or_default();
        assert!(note.contains(serial), "{record}");
        (record["user"].clone(), record["reason"].clone())
    };
    for (serial, user, otp, reason) in [
        ("TOTP-ZZZZZZZZ", "alice", code.as_str(), "no_token"),
        (&serial, "bob", &code, "no_token"),
        (&serial, "nemo", &code, "unknown_user"),
        (&serial, "alice", "12", "malformed_code"),
    ] {
        let found = confirm(serial, user, otp).await;
        let of = format!("{user}@default");
        assert_eq!(found, (json!(of), json!(reason)), "{serial} {user}");
    }
    let proven = house.confirm(&token, &code).await;
    assert_eq!(
        proven["state"], "active",
        "none of these used it up: {proven}"
    );
    let found = confirm(&serial, "alice", &code).await;
    assert_eq!(found.1, "not_active");
}
