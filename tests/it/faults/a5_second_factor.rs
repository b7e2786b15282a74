//! Who has or had a second factor enrols only with one, or through an operator.

use std::time::Duration;

use oncegate::model::token::LifeCycle;
use oncegate::model::user_key::UserKey;
use oncegate::store::Change;
use serde_json::{Value, json};

use crate::web::self_service::{House, PASSWORD};

const DAY: Duration = Duration::from_hours(24);

/// A user with a token in use that was enrolled by the password.
async fn enrolled(house: &House) -> Value {
    let (_, token) = house.enrol("totp", json!({})).await;
    let proven = house.confirm(&token, &house.code(&token)).await;
    assert_eq!(proven["state"], "active", "{proven}");
    house.app.clock.advance(Duration::from_mins(1));
    token
}

fn serial(token: &Value) -> &str {
    token["serial"].as_str().expect("a serial")
}

async fn act(house: &House, token: &Value, act: &str) {
    let path = format!("/v1/admin/tokens/{}/{act}", serial(token));
    let done = house.app.admin("POST", &path, Some(json!({}))).await;
    assert_eq!(done.status, 200, "{:?}", done.json());
}

async fn remove(house: &House, token: &Value) {
    let path = format!("/v1/admin/tokens/{}", serial(token));
    let done = house.app.admin("DELETE", &path, None).await;
    assert_eq!(done.status, 204);
}

/// What comes of asking with the password alone.
async fn decision(house: &House) -> Value {
    house.enrol("totp", json!({})).await.1["decision"].clone()
}

#[tokio::test]
async fn suspending_opens_nothing() {
    let house = House::new("").await;
    let token = enrolled(&house).await;
    act(&house, &token, "suspend").await;
    assert_eq!(decision(&house).await, "reject");
    let code = json!({ "otp": house.code(&token), "replaces": token["serial"] });
    let (_, answer) = house.enrol("totp", code).await;
    assert_eq!(
        answer["decision"], "reject",
        "a suspended token proves nothing"
    );
    house.app.clock.advance(DAY * 400);
    assert_eq!(decision(&house).await, "reject", "as long as it is there");
    act(&house, &token, "resume").await;
    house.app.clock.advance(Duration::from_mins(1));
    let code = json!({ "otp": house.code(&token) });
    let (_, answer) = house.enrol("totp", code).await;
    assert_eq!(answer["decision"], "accept", "{answer}");
}

#[tokio::test]
async fn what_is_revoked_or_removed_is_remembered_for_a_while() {
    for way in ["revoke", "remove", "suspend and remove"] {
        let house = House::new("factor_memory = \"30d\"").await;
        let token = enrolled(&house).await;
        match way {
            "revoke" => act(&house, &token, "revoke").await,
            "remove" => remove(&house, &token).await,
            _ => {
                act(&house, &token, "suspend").await;
                remove(&house, &token).await;
            }
        }
        assert_eq!(decision(&house).await, "reject", "{way}");
        house.app.clock.advance(DAY * 29);
        assert_eq!(decision(&house).await, "reject", "{way}");
        house.app.clock.advance(DAY);
        assert_eq!(decision(&house).await, "accept", "{way}");
    }
}

#[tokio::test]
async fn what_has_expired_is_remembered_whether_or_not_that_is_on_record() {
    for swept in [false, true] {
        let house = House::new("valid_for = \"10d\"").await;
        enrolled(&house).await;
        house.app.clock.advance(DAY * 11);
        if swept {
            house
                .app
                .service
                .admin
                .expire_tokens()
                .await
                .expect("one expires");
        }
        assert_eq!(decision(&house).await, "reject", "{swept}");
        house.app.clock.advance(DAY * 87);
        assert_eq!(decision(&house).await, "reject", "{swept}");
        house.app.clock.advance(DAY * 3);
        assert_eq!(decision(&house).await, "accept", "{swept}");
    }
}

#[tokio::test]
async fn a_rule_that_asks_for_less_elsewhere_replaces_no_token() {
    let house = House::with(
        "reject_delay = \"0s\"\n[[rule]]\nname = \"office\"\nwhen = { network = \"10.0.0.0/8\" }\n\
         require = [\"password\"]\n[[rule]]\nname = \"all\"\nrequire = [\"password\", \"otp\"]\n\
         [enrolment]\nself_service = [\"totp\"]\n",
    )
    .await;
    let office = json!({ "client_ip": "10.1.2.3" });
    let (_, token) = house.enrol("totp", office.clone()).await;
    assert_eq!(
        token["decision"], "accept",
        "who has none is proven by the rule"
    );
    house.confirm(&token, &house.code(&token)).await;
    house.app.clock.advance(Duration::from_mins(1));
    let (_, again) = house.enrol("totp", office.clone()).await;
    assert_eq!(again["decision"], "reject");
    act(&house, &token, "suspend").await;
    let (_, again) = house.enrol("totp", office).await;
    assert_eq!(again["decision"], "reject");
}

#[tokio::test]
async fn an_operator_opens_the_way_by_a_branch_code_or_a_token() {
    let house = House::new("step_up = [\"branch_code\"]").await;
    let branch = async || {
        let body =
            json!({ "user": "alice", "kind": "recovery", "count": 1, "valid_for_secs": 3600 });
        let made = house
            .app
            .admin("POST", "/v1/admin/tokens", Some(body))
            .await;
        made.json()["codes"][0].as_str().expect("a code").to_owned()
    };
    let with = |code: &str| json!({ "step_up": { "branch_code": code } });
    let (_, token) = house.enrol("totp", with(&branch().await)).await;
    house.confirm(&token, &house.code(&token)).await;
    house.app.clock.advance(Duration::from_mins(1));
    let code = branch().await;
    let (_, answer) = house.enrol("totp", with(&code)).await;
    assert_eq!(answer["decision"], "reject", "a token in use is asked for");
    act(&house, &token, "suspend").await;
    house.app.clock.advance(Duration::from_mins(1));
    let (_, answer) = house.enrol("totp", with("00000-00000")).await;
    assert_eq!(answer["decision"], "reject");
    house.app.clock.advance(Duration::from_mins(1));
    let (_, answer) = house.enrol("totp", with(&code)).await;
    assert_eq!(answer["decision"], "accept", "{answer}");
    let made = json!({ "user": "alice", "kind": "totp" });
    let made = house
        .app
        .admin("POST", "/v1/admin/tokens", Some(made))
        .await
        .json();
    house.app.clock.advance(Duration::from_mins(1));
    let proven = house.confirm(&made, &house.code(&made)).await;
    assert_eq!(proven["state"], "active", "{proven}");
}

/// The password was known to somebody before the user had a token; that one must not come in later.
#[tokio::test]
async fn a_token_asked_for_before_the_first_one_does_not_come_into_use_beside_it() {
    let house = House::new("").await;
    let (_, planted) = house.enrol("totp", json!({})).await;
    let token = enrolled(&house).await;
    house.app.clock.advance(Duration::from_hours(2));
    let proven = house.confirm(&planted, &house.code(&planted)).await;
    assert_ne!(proven["state"], "active", "{proven}");
    act(&house, &token, "revoke").await;
    house.app.clock.advance(Duration::from_mins(1));
    let proven = house.confirm(&planted, &house.code(&planted)).await;
    assert_ne!(proven["state"], "active", "nor after it");
}

#[tokio::test]
async fn a_linked_token_counts_for_both() {
    let house = House::new("").await;
    let bob = json!({ "user": "bob", "password": PASSWORD });
    house.app.admin("POST", "/v1/admin/users", Some(bob)).await;
    let token = enrolled(&house).await;
    let user = UserKey::parse("bob").expect("a name");
    let change = Change::LinkToken(serial(&token).parse().expect("a serial"), user);
    let by = house.app.by();
    house
        .app
        .service
        .core
        .store()
        .change(change, by)
        .await
        .expect("linked");
    let ask = async || {
        let body = json!({ "user": "bob", "kind": "totp", "password": PASSWORD });
        house.ask("", body).await.1["decision"].clone()
    };
    assert_eq!(ask().await, "reject");
    let path = format!("/v1/admin/tokens/{}/unlink", serial(&token));
    let done = house
        .app
        .admin("POST", &path, Some(json!({ "user": "bob" })))
        .await;
    assert!(done.status.is_success(), "{done:?}");
    assert_eq!(ask().await, "reject", "it went a moment ago");
}

/// Who answers a notice by "this was not me" is not to be asked for the password alone once more.
#[tokio::test]
async fn a_request_that_was_frozen_is_remembered() {
    let house = House::new("").await;
    let (_, token) = house.enrol("totp", json!({})).await;
    let serial = serial(&token).parse().expect("a serial");
    let seen = house.app.service.admin.token(&serial).expect("a token");
    let change = Change::SetTokenState {
        serial,
        state: LifeCycle::Revoked,
        expected: seen.0.revision,
        reason: Some("frozen".to_owned()),
    };
    let by = house.app.by();
    house
        .app
        .service
        .core
        .store()
        .change(change, by)
        .await
        .expect("frozen");
    assert_eq!(decision(&house).await, "reject");
}
