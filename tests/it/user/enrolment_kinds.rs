//! Tokens whose codes we make: how each kind is handed out and proven.

use std::sync::Arc;
use std::time::Duration;

use crate::support::app::TestApp;
use crate::support::outbox::{Inbox, outbox};
use futures_util::FutureExt as _;
use oncegate::admin::outage_watch::{Rule, Watch};
use oncegate::model::message::Medium;
use serde_json::{Value, json};

/// A front end whose messages arrive here, and a user with a telephone and a mailbox.
async fn house() -> (TestApp, Inbox) {
    let app = TestApp::new();
    let (courier, inbox) = outbox();
    app.service.core.set_courier(Arc::new(courier));
    app.service.core.set_home(Some("+82".to_owned()));
    let user = json!({ "user": "alice", "phone": "010-1234-5678", "email": "alice@example.com" });
    let made = app.admin("POST", "/v1/admin/users", Some(user)).await;
    assert_eq!(made.status, 201);
    (app, inbox)
}

async fn add(app: &TestApp, body: Value) -> Value {
    let made = app.admin("POST", "/v1/admin/tokens", Some(body)).await;
    assert_eq!(made.status, 201, "{:?}", made.json());
    made.json()
}

async fn act(app: &TestApp, token: &Value, verb: &str, body: Value) -> (u16, Value) {
    let serial = token["serial"].as_str().expect("a serial");
    let path = format!("/v1/admin/tokens/{serial}/{verb}");
    let answer = app.admin("POST", &path, Some(body)).await;
    (answer.status.as_u16(), answer.json())
}

#[tokio::test]
async fn row_c2_an_address_is_usable_only_when_a_code_came_back() {
    let (app, mut inbox) = house().await;
    for (kind, medium, to, shown) in [
        ("sms", Medium::Sms, "+821012345678", "+82******5678"),
        ("voice", Medium::Voice, "+821012345678", "+82******5678"),
        (
            "email",
            Medium::Email,
            "alice@example.com",
            "a***@example.com",
        ),
    ] {
        let token = add(&app, json!({ "user": "alice", "kind": kind })).await;
        assert_eq!(
            (&token["state"], &token["address"]),
            (&json!("pending"), &json!(shown))
        );
        assert!(token.get("secret").is_none() && token.get("otpauth_uri").is_none());
        let early = act(&app, &token, "confirm", json!({ "otp": "123456" })).await;
        assert_eq!(early.0, 409, "there is no code yet");
        let (status, offered) = act(&app, &token, "offer", json!({})).await;
        assert_eq!(status, 200, "{offered}");
        assert_eq!(offered["sent"], json!([{ "medium": kind, "to": shown }]));
        assert!(
            offered.get("code").is_none(),
            "who administers does not see it"
        );
        let (by, address, code) = inbox.next().await;
        assert_eq!((by, address.as_str()), (medium, to));
        app.clock.advance(Duration::from_secs(5));
        let wrong = if code == "000000" { "000001" } else { "000000" };
        assert_eq!(
            act(&app, &token, "confirm", json!({ "otp": wrong }))
                .await
                .0,
            409
        );
        app.clock.advance(Duration::from_secs(5));
        let (status, proven) = act(&app, &token, "confirm", json!({ "otp": code })).await;
        assert_eq!(
            (status, &proven["state"]),
            (200, &json!("active")),
            "{proven}"
        );
    }
    let bad = json!({ "user": "alice", "kind": "sms", "address": "12" });
    let bad = app.admin("POST", "/v1/admin/tokens", Some(bad)).await;
    assert_eq!(bad.problem().0, 400);
    let other = json!({ "user": "alice", "kind": "sms", "address": "+82-10-9999-0000" });
    assert_eq!(
        add(&app, other).await["state"],
        "pending",
        "a change is a new token"
    );
}

#[tokio::test]
async fn a_message_is_not_repeated_at_once_and_a_new_code_voids_the_old() {
    let (app, mut inbox) = house().await;
    let token = add(&app, json!({ "user": "alice", "kind": "sms" })).await;
    assert_eq!(act(&app, &token, "offer", json!({})).await.0, 200);
    let (.., first) = inbox.next().await;
    let (status, soon) = act(&app, &token, "offer", json!({})).await;
    assert_eq!(status, 409, "{soon}");
    assert!(
        soon["detail"].as_str().unwrap().contains("a moment ago"),
        "{soon}"
    );
    app.clock.advance(Duration::from_secs(61));
    assert_eq!(act(&app, &token, "offer", json!({})).await.0, 200);
    let (.., second) = inbox.next().await;
    assert!(inbox.is_empty());
    if first != second {
        assert_eq!(
            act(&app, &token, "confirm", json!({ "otp": first }))
                .await
                .0,
            409
        );
        app.clock.advance(Duration::from_secs(5));
    }
    assert_eq!(
        act(&app, &token, "confirm", json!({ "otp": second }))
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn row_a1_all_ways_carry_the_same_enrolment_code() {
    let (app, mut inbox) = house().await;
    let token = add(&app, json!({ "user": "alice", "kind": "server" })).await;
    assert_eq!(token["state"], "pending");
    let offer = json!({
        "by": ["text", "qr", "sms", "email"], "server_url": "https://otp.example.com"
    });
    let (status, offered) = act(&app, &token, "offer", offer).await;
    assert_eq!(status, 200, "{offered}");
    let shown = offered["code"].as_str().unwrap();
    let groups: Vec<usize> = shown.split('-').map(str::len).collect();
    assert_eq!(groups, [4, 4, 4]);
    let code = shown.replace('-', "");
    let wanted = format!(
        "oncegate://enroll?server=https%3A%2F%2Fotp.example.com&user=alice%40default&code={code}"
    );
    assert_eq!(offered["enrol_uri"], wanted);
    for _ in 0..2 {
        let (medium, _, sent) = inbox.next().await;
        assert!(matches!(medium, Medium::Sms | Medium::Email));
        assert_eq!(sent, code);
    }
    let until = app
        .service
        .core
        .now()
        .plus(Duration::from_mins(10))
        .rfc3339();
    assert_eq!(offered["until"], until);
    let (_, text) = act(&app, &token, "offer", json!({ "by": ["text"] })).await;
    assert_ne!(text["code"], offered["code"], "a new one voids the old");
    assert!(text.get("enrol_uri").is_none());
    let qr = act(&app, &token, "offer", json!({ "by": ["qr"] })).await;
    assert_eq!(qr.0, 400, "the QR code names a server");
    let typed = json!({ "otp": code });
    assert_eq!(
        act(&app, &token, "confirm", typed).await.0,
        409,
        "it is for a device"
    );
    let at_once = json!({ "user": "alice", "kind": "server", "active": true });
    let at_once = app.admin("POST", "/v1/admin/tokens", Some(at_once)).await;
    assert_eq!(at_once.problem().0, 400);
}

#[tokio::test]
async fn row_d2_a_card_is_printed_once_and_proven_by_two_cells() {
    let (app, _inbox) = house().await;
    let token = add(&app, json!({ "user": "alice", "kind": "card" })).await;
    let serial = token["serial"].as_str().unwrap().to_owned();
    let number = serial.strip_prefix("CARD-").unwrap();
    assert!(number.len() == 8 && number.bytes().all(|octet| octet.is_ascii_digit()));
    let cells = token["cells"].as_array().unwrap().clone();
    assert_eq!(cells.len(), 35);
    let (_, offered) = act(&app, &token, "offer", json!({})).await;
    assert!(offered.get("cells").is_none(), "printed once");
    let (_, again) = act(&app, &token, "offer", json!({})).await;
    assert_eq!(
        again["asked"], offered["asked"],
        "the same cells until they are answered"
    );
    let cell = |name: &str| {
        let number = usize::try_from(offered["asked"][name].as_u64().unwrap()).unwrap();
        cells[number - 1].as_str().unwrap().to_owned()
    };
    let answer = format!(
        "{}{}{}",
        &number[5..],
        &cell("first")[..2],
        &cell("second")[2..]
    );
    let (status, proven) = act(&app, &token, "confirm", json!({ "otp": answer })).await;
    assert_eq!(
        (status, &proven["state"]),
        (200, &json!("active")),
        "{proven}"
    );
    let shown = app
        .admin("GET", &format!("/v1/admin/tokens/{serial}"), None)
        .await;
    assert!(shown.json().get("cells").is_none());
    let odd = json!({ "user": "alice", "kind": "card", "serial": "MY-CARD" });
    assert_eq!(
        app.admin("POST", "/v1/admin/tokens", Some(odd))
            .await
            .problem()
            .0,
        400
    );
}

#[tokio::test]
async fn recovery_codes_are_printed_once_and_only_so_many() {
    let (app, _inbox) = house().await;
    let sheet = add(&app, json!({ "user": "alice", "kind": "recovery" })).await;
    assert_eq!(sheet["state"], "active");
    assert_eq!(sheet["codes"].as_array().unwrap().len(), 10);
    assert_eq!(sheet["codes_left"], 10);
    let serial = sheet["serial"].as_str().unwrap().parse().unwrap();
    let (_, state) = app.service.admin.token(&serial).unwrap();
    assert!((0..10).all(|place| !state.used.contains(place)));
    assert!(
        (10..32).all(|place| state.used.contains(place)),
        "what was not printed is used up"
    );
    let (status, _) = act(&app, &sheet, "offer", json!({})).await;
    assert_eq!(status, 409, "printed once");

    let emergency = json!({
        "user": "alice", "kind": "recovery", "count": 1, "valid_for_secs": 86_400,
        "replaces": sheet["serial"]
    });
    let emergency = add(&app, emergency).await;
    assert_eq!(emergency["codes"].as_array().unwrap().len(), 1);
    let end = app
        .service
        .core
        .now()
        .plus(Duration::from_hours(24))
        .rfc3339();
    assert_eq!(emergency["expires"], end);
    let (old, _) = app.service.admin.token(&serial).unwrap();
    assert_eq!(
        old.state.as_str(),
        "revoked",
        "a new sheet ends the old one"
    );
    for count in [0, 33] {
        let body = json!({ "user": "alice", "kind": "recovery", "count": count });
        assert_eq!(
            app.admin("POST", "/v1/admin/tokens", Some(body))
                .await
                .problem()
                .0,
            400
        );
    }
}

#[tokio::test]
async fn what_others_must_approve_of_is_printed_when_it_is_handed_out() {
    let policy = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n\
        [enrolment]\napprovers = 1\n";
    let app = TestApp::with(policy, false);
    app.user("alice").await;
    let kim = app
        .key("kim", oncegate::model::client::Scope::Approver, None)
        .await;
    for (kind, printed, state) in [
        ("card", "cells", "pending"),
        ("recovery", "codes", "active"),
    ] {
        let new = json!({ "user": "alice", "kind": kind, "request": true });
        let token = add(&app, new).await;
        assert_eq!(token["state"], "requested");
        assert!(token.get(printed).is_none());
        assert_eq!(act(&app, &token, "offer", json!({})).await.0, 409);
        let path = format!(
            "/v1/admin/tokens/{}/approve",
            token["serial"].as_str().unwrap()
        );
        let approved = app.keyed("POST", &path, Some(&kim), Some(json!({}))).await;
        assert_eq!(approved.status, 200, "{approved:?}");
        let (_, offered) = act(&app, &token, "offer", json!({})).await;
        assert!(!offered[printed].as_array().unwrap().is_empty());
        assert_eq!(offered["state"], state);
    }
}

/// What was refused is refused again: another person is named, not another try.
#[tokio::test]
async fn who_may_not_approve_is_told_who_may() {
    let policy = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n\
        [enrolment]\napprovers = 2\n";
    let app = TestApp::with(policy, false);
    app.user("alice").await;
    let scope = oncegate::model::client::Scope::Approver;
    let kim = app.key("kim", scope, None).await;
    let new = json!({ "user": "alice", "kind": "totp", "request": true });
    let token = add(&app, new).await;
    let (status, own) = act(&app, &token, "approve", json!({})).await;
    assert_eq!(status, 409);
    let serial = token["serial"].as_str().unwrap();
    let path = format!("/v1/admin/tokens/{serial}/approve");
    let approve = async || app.keyed("POST", &path, Some(&kim), Some(json!({}))).await;
    assert_eq!(approve().await.status, 200);
    let again = approve().await;
    assert_eq!(again.status, 409);
    for refused in [own, again.json()] {
        let remedy = refused["remedy"].as_str().unwrap();
        assert!(remedy.starts_with("ask another approver"), "{remedy}");
    }
}

#[tokio::test]
async fn without_a_gateway_nobody_is_promised_a_message() {
    let app = TestApp::new();
    let user = json!({ "user": "alice", "phone": "+821012345678" });
    app.admin("POST", "/v1/admin/users", Some(user)).await;
    let token = add(&app, json!({ "user": "alice", "kind": "sms" })).await;
    let (status, refused) = act(&app, &token, "offer", json!({})).await;
    assert_eq!(status, 409);
    assert!(
        refused["remedy"]
            .as_str()
            .unwrap()
            .contains("[delivery.NAME]"),
        "{refused}"
    );
}

#[tokio::test]
async fn row_a11_an_outage_is_declared_shown_and_ends_by_itself() {
    let app = TestApp::new();
    let path = "/v1/admin/outage";
    let none = json!({ "outage": null });
    assert_eq!(app.admin("GET", path, None).await.json(), none);
    for bad in [0, 59, 86_401] {
        let body = json!({ "for_secs": bad, "reason": "x" });
        assert_eq!(app.admin("PUT", path, Some(body)).await.problem().0, 400);
    }
    let body = json!({ "for_secs": 3600, "reason": "app servers are down" });
    let declared = app.admin("PUT", path, Some(body)).await.json();
    assert_eq!(declared["outage"]["holds"], true);
    let status = app.admin("GET", "/v1/admin/status", None).await.json();
    assert_eq!(status["outage"]["reason"], "app servers are down");
    app.clock.advance(Duration::from_hours(1));
    assert_eq!(
        app.admin("GET", path, None).await.json()["outage"]["holds"],
        false
    );
    let status = app.admin("GET", "/v1/admin/status", None).await.json();
    assert!(status.get("outage").is_none());
    assert_eq!(app.admin("DELETE", path, None).await.status, 204);
    let again = app.admin("DELETE", path, None).await;
    assert_eq!(again.problem().0, 404);
    let remedy = again.json()["remedy"].to_string();
    assert!(remedy.contains("none is declared"), "{remedy}");
    assert_eq!(app.admin("GET", path, None).await.json(), none);
}

#[tokio::test]
async fn row_a11_the_daemon_declares_an_outage_when_nobodys_codes_work() {
    let policy = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\n\
        require = [\"password\", \"otp\"]\n";
    let app = TestApp::with(policy, false);
    let web = app
        .key("web", oncegate::model::client::Scope::Verify, None)
        .await;
    let mut records = app.service.core.store().subscribe();
    let mut watch = Watch::new(Rule {
        users: 2,
        window: Duration::from_mins(5),
        length: Duration::from_mins(30),
    });
    for (user, password) in [
        ("a", "wrong"),
        ("a", "right"),
        ("b", "wrong"),
        ("b", "right"),
    ] {
        let password = format!("{password} horse battery");
        let new = json!({ "user": user, "password": "right horse battery" });
        app.admin("POST", "/v1/admin/users", Some(new)).await;
        let token = json!({ "user": user, "kind": "totp", "active": true });
        add(&app, token).await;
        let body = json!({ "user": user, "password": password, "otp": "000000" });
        let answer = app.keyed("POST", "/v1/verify", Some(&web), Some(body));
        assert_eq!(answer.await.json()["decision"], "reject");
        assert_eq!(app.service.admin.outage().unwrap(), None);
        if (user, password.as_str()) == ("b", "right horse battery") {
            break;
        }
        while let Some(Ok(record)) = records.recv().now_or_never() {
            app.service
                .admin
                .watch_outage(&mut watch, record)
                .await
                .unwrap();
        }
    }
    while let Some(Ok(record)) = records.recv().now_or_never() {
        app.service
            .admin
            .watch_outage(&mut watch, record)
            .await
            .unwrap();
    }
    let outage = app.service.admin.outage().unwrap().expect("an outage");
    assert_eq!(outage.owner, "daemon");
    assert!(outage.reason.contains("2 users"), "{}", outage.reason);
}
