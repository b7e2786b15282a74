//! The admin API: users, tokens, clients, audit.

use crate::support::app::{Answer, TestApp, ask, request, send};
use http_body_util::BodyExt as _;
use oncegate::model::client::Scope;
use oncegate::model::kind::Kind;
use serde_json::{Value, json};
use std::time::Duration;

fn revision(answer: &Answer) -> u64 {
    let tag = answer.headers["etag"].to_str().unwrap();
    tag.trim_matches('"').parse().unwrap()
}

/// What an administrator saw of a record is not taken for another one that has its name now.
#[tokio::test]
async fn a_record_made_again_has_no_revision_of_the_one_before() {
    let app = TestApp::new();
    let conditional = async |method: &str, path: &str, tag: &str, body: Option<Value>| {
        let mut request = request(method, path, None, body);
        request
            .headers_mut()
            .insert("if-match", tag.parse().unwrap());
        ask(&app.local, request).await
    };
    for (all, one, new, change) in [
        (
            "users",
            "users/sue",
            json!({ "user": "sue" }),
            json!({ "class": "corporate" }),
        ),
        (
            "tokens",
            "tokens/HOTP-SUE",
            json!({ "user": "kim", "kind": "hotp", "serial": "HOTP-SUE" }),
            Value::Null,
        ),
        (
            "clients",
            "clients/web",
            json!({ "kind": "api", "name": "web", "scopes": ["verify"] }),
            json!({ "policy": "strict" }),
        ),
    ] {
        if all == "tokens" {
            app.user("kim").await;
        }
        let (all, one) = (format!("/v1/admin/{all}"), format!("/v1/admin/{one}"));
        let made = app.admin("POST", &all, Some(new.clone())).await;
        assert_eq!(made.status, 201, "{made:?}");
        let seen = made.headers["etag"].to_str().unwrap().to_owned();
        let shown = app.admin("GET", &one, None).await;
        assert_eq!(shown.headers["etag"], seen.as_str(), "{one}");
        assert_eq!(app.admin("DELETE", &one, None).await.status, 204);
        let again = app.admin("POST", &all, Some(new)).await;
        assert_eq!(again.status, 201, "{again:?}");
        assert_ne!(revision(&again), revision(&made), "{one}");
        let stale = match change {
            Value::Null => conditional("DELETE", &one, &seen, None).await,
            change => conditional("PATCH", &one, &seen, Some(change)).await,
        };
        assert_eq!(stale.problem(), (412, "changed".to_owned()), "{one}");
    }
}

#[tokio::test]
async fn users_are_made_changed_and_removed_under_their_revision() {
    let app = TestApp::new();
    let new = json!({ "user": "ALICE", "groups": ["staff"], "email": "a@example.org" });
    let made = app
        .admin("POST", "/v1/admin/users", Some(new.clone()))
        .await;
    assert_eq!(made.status.as_u16(), 201);
    let first = revision(&made);
    let tag = |later: u64| format!("\"{}\"", first + later);
    assert_eq!(made.json()["user"], "alice@default");
    let again = app.admin("POST", "/v1/admin/users", Some(new)).await;
    assert_eq!(again.problem(), (409, "conflict".to_owned()));

    let path = "/v1/admin/users/alice%40default";
    let change = async |tag: &str, body: Value| {
        let mut request = request("PATCH", path, None, Some(body));
        request
            .headers_mut()
            .insert("if-match", tag.parse().unwrap());
        ask(&app.local, request).await
    };
    let changed = change(&tag(0), json!({ "class": "corporate", "email": null })).await;
    assert_eq!(changed.status, 200);
    assert_eq!(revision(&changed), first + 1);
    assert_eq!(changed.json()["email"], Value::Null);
    assert_eq!(changed.json()["groups"], json!(["staff"]));
    let late = change(&tag(0), json!({ "class": "individual" })).await;
    assert_eq!(late.problem(), (412, "changed".to_owned()));
    assert_eq!(change("\"x\"", json!({})).await.problem().0, 412);
    assert_eq!(change("2", json!({})).await.problem().0, 400);
    assert_eq!(change("*", json!({ "disabled": true })).await.status, 200);
    let shown = app.admin("GET", path, None).await;
    assert_eq!(revision(&shown), first + 2);
    assert_eq!(
        shown.json()["lock"],
        json!({ "failures": 0, "state": "open", "until": null })
    );
    assert_eq!(shown.json()["tokens"], json!([]));
    for bad in [
        json!({ "email": "a\u{1b}[2J" }),
        json!({ "birth_date": "1.2.1990" }),
    ] {
        let answer = app.admin("PATCH", path, Some(bad)).await;
        assert_eq!(answer.problem().0, 400);
    }
    for bad in ["a%00b", "%FF", "a%E2%80%AEb", "%20"] {
        let answer = app
            .admin("GET", &format!("/v1/admin/users/{bad}"), None)
            .await;
        assert_eq!(answer.problem().0, 400, "{bad}");
    }
    assert_eq!(app.admin("DELETE", path, None).await.status, 204);
    assert_eq!(app.admin("DELETE", path, None).await.problem().0, 404);
    assert_eq!(app.admin("GET", path, None).await.problem().0, 404);
}

#[tokio::test]
async fn pages_meet_without_gap_or_overlap() {
    let app = TestApp::new();
    for number in 0..7 {
        app.user_with(&format!("u{number}@r{}", number % 2), Kind::Hotp, true)
            .await;
    }
    for (what, name) in [("users", "user"), ("tokens", "serial")] {
        let mut found = Vec::new();
        let mut after = String::new();
        loop {
            let path = format!("/v1/admin/{what}?limit=3{after}");
            let page = app.admin("GET", &path, None).await.json();
            let rows = page[what].as_array().unwrap().iter();
            found.extend(rows.map(|row| row[name].as_str().unwrap().to_owned()));
            let Some(next) = page["next"].as_str() else {
                break;
            };
            after = format!("&after={}", next.replace('@', "%40").replace('/', "%2F"));
        }
        assert_eq!(found.len(), 7, "{what}: {found:?}");
        let whole = app
            .admin("GET", &format!("/v1/admin/{what}"), None)
            .await
            .json();
        let whole = whole[what].as_array().unwrap().iter();
        let whole: Vec<_> = whole
            .map(|row| row[name].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(found, whole);
    }
    let one = app
        .admin("GET", "/v1/admin/tokens?user=U3@R1", None)
        .await
        .json();
    assert_eq!(one["tokens"].as_array().unwrap().len(), 1);
    for bad in [
        "users?limit=0",
        "users?limit=1001",
        "users?user=a",
        "tokens?after=x",
        "users?x=1",
    ] {
        let answer = app.admin("GET", &format!("/v1/admin/{bad}"), None).await;
        assert_eq!(answer.problem().0, 400, "{bad}");
    }
    let mut before = String::new();
    let mut records = 0;
    loop {
        let page = app
            .admin("GET", &format!("/v1/admin/audit?limit=5{before}"), None)
            .await
            .json();
        records += page["records"].as_array().unwrap().len();
        let Some(next) = page["next"].as_u64() else {
            break;
        };
        before = format!("&before={next}");
    }
    assert_eq!(records, 14);
}

#[tokio::test]
async fn a_token_lives_from_its_key_to_its_end() {
    let app = TestApp::new();
    app.user("alice").await;
    let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    let new = json!({ "user": "alice", "kind": "totp", "secret": secret, "serial": "t-1" });
    let made = app
        .admin("POST", "/v1/admin/tokens", Some(new.clone()))
        .await;
    assert_eq!(made.status, 201);
    let token = made.json();
    assert_eq!(token["secret"], secret);
    assert_eq!(token["serial"], "T-1");
    assert_eq!(token["state"], "pending");
    assert_eq!(token["warnings"], json!([]));
    let uri = token["otpauth_uri"].as_str().unwrap();
    assert!(
        uri.starts_with("otpauth://totp/Oncegate:alice%40default?secret="),
        "{uri}"
    );
    assert_eq!(
        app.admin("POST", "/v1/admin/tokens", Some(new))
            .await
            .problem()
            .0,
        409
    );

    let path = |verb: &str| format!("/v1/admin/tokens/T-1{verb}");
    let wrong = app
        .admin("POST", &path("/confirm"), Some(json!({ "otp": "000000" })))
        .await;
    assert_eq!(wrong.problem(), (409, "refused".to_owned()));
    let resumed = app.admin("POST", &path("/resume"), None).await;
    assert_eq!(
        resumed.problem().0,
        409,
        "pending tokens are not resumed into activity"
    );
    let code = json!({ "otp": app.code(0) });
    let confirmed = app.admin("POST", &path("/confirm"), Some(code)).await;
    assert_eq!(confirmed.json()["state"], "active");
    let used = app.admin(
        "POST",
        "/v1/verify",
        Some(json!({ "user": "alice", "otp": app.code(0) })),
    );
    assert_eq!(
        used.await.json()["decision"],
        "reject",
        "the confirming code is used up"
    );

    app.clock.advance(Duration::from_mins(1));
    let codes = json!({ "first": app.code(5), "second": app.code(6) });
    let resynced = app.admin("POST", &path("/resync"), Some(codes)).await;
    assert_eq!(resynced.status, 200, "{resynced:?}");
    assert!(resynced.json()["drift"].as_i64().unwrap() > 0);
    assert_eq!(
        app.admin("POST", &path("/suspend"), None).await.json()["state"],
        "suspended"
    );
    assert_eq!(
        app.admin("POST", &path("/resume"), None).await.json()["state"],
        "active"
    );
    assert_eq!(
        app.admin("POST", &path("/revoke"), None).await.json()["state"],
        "revoked"
    );
    assert_eq!(
        app.admin("POST", &path("/resume"), None).await.problem().0,
        409
    );
    let shown = app.admin("GET", &path(""), None).await;
    assert!(!String::from_utf8(shown.body).unwrap().contains("GEZD"));
    assert_eq!(app.admin("DELETE", &path(""), None).await.status, 204);
    assert_eq!(app.admin("GET", &path(""), None).await.problem().0, 404);
}

#[tokio::test]
async fn tokens_that_cannot_be_are_refused() {
    let app = TestApp::new();
    app.user("alice").await;
    for bad in [
        json!({ "user": "alice", "kind": "sms" }),
        json!({ "user": "alice", "kind": "totp", "digits": 5 }),
        json!({ "user": "alice", "kind": "totp", "period": 5 }),
        json!({ "user": "alice", "kind": "totp", "counter": 5 }),
        json!({ "user": "alice", "kind": "totp", "algorithm": "md5" }),
        json!({ "user": "alice", "kind": "totp", "secret": "ABCDEFGH" }),
        json!({ "user": "alice", "kind": "totp", "secret": "not base 32!" }),
        json!({ "user": "alice", "kind": "totp", "serial": "a b" }),
    ] {
        let answer = app
            .admin("POST", "/v1/admin/tokens", Some(bad.clone()))
            .await;
        assert_eq!(answer.problem().0, 400, "{bad}");
    }
    let nobody = json!({ "user": "nobody", "kind": "totp" });
    assert_eq!(
        app.admin("POST", "/v1/admin/tokens", Some(nobody))
            .await
            .problem()
            .0,
        404
    );
    let weak =
        json!({ "user": "alice", "kind": "hotp", "secret": "GEZDGNBVGY3TQOJQ", "counter": 7 });
    let weak = app
        .admin("POST", "/v1/admin/tokens", Some(weak))
        .await
        .json();
    assert!(weak["warnings"][0].as_str().unwrap().contains("80 bits"));
    assert!(weak["otpauth_uri"].as_str().unwrap().contains("counter=7"));
}

#[tokio::test]
async fn clients_are_made_rotated_and_removed() {
    let app = TestApp::new();
    let new = json!({ "kind": "radius", "name": "vpn", "addresses": ["192.0.2.0/24"] });
    let made = app.admin("POST", "/v1/admin/clients", Some(new)).await;
    assert_eq!(made.status, 201);
    assert_eq!(made.json()["secret"].as_str().unwrap().len(), 32);
    assert_eq!(made.json()["addresses"], json!(["192.0.2.0/24"]));
    let new = json!({ "kind": "api", "name": "web", "scopes": ["verify"] });
    let made = app
        .admin("POST", "/v1/admin/clients", Some(new))
        .await
        .json();
    let old = oncegate::secret::SecretString::from(made["key"].as_str().unwrap());
    let shown = app.admin("GET", "/v1/admin/clients", None).await;
    assert!(
        !String::from_utf8(shown.body)
            .unwrap()
            .contains(old.expose())
    );

    let rotated = app
        .admin("POST", "/v1/admin/clients/web/rotate", None)
        .await;
    assert_eq!(rotated.status, 200);
    let new = rotated.json()["key"].as_str().unwrap().to_owned();
    assert_ne!(new, old.expose());
    assert!(rotated.json()["previous_until"].is_string());
    assert_eq!(app.verify(&old, "x", "123456").await.status, 200);
    app.clock.advance(Duration::from_hours(25));
    assert_eq!(app.verify(&old, "x", "123456").await.status, 401);
    assert_eq!(
        app.verify(&new.as_str().into(), "x", "123456").await.status,
        200
    );
    let grace = json!({ "grace_secs": 99_999_999 });
    let long = app
        .admin("POST", "/v1/admin/clients/web/rotate", Some(grace))
        .await;
    assert_eq!(long.problem().0, 400);

    let change = json!({ "policy": "strict", "realm": "Shop" });
    let changed = app
        .admin("PATCH", "/v1/admin/clients/web", Some(change))
        .await
        .json();
    assert_eq!(
        (&changed["policy"], &changed["realm"]),
        (&json!("strict"), &json!("shop"))
    );
    for bad in [
        json!({ "kind": "api", "name": "a b" }),
        json!({ "kind": "api", "name": "x", "scopes": ["root"] }),
        json!({ "kind": "api", "name": "x", "policy": "missing" }),
        json!({ "kind": "telnet", "name": "x" }),
        json!({ "kind": "radius", "name": "x", "addresses": [] }),
        json!({ "kind": "radius", "name": "x", "addresses": ["192.0.2.0/99"] }),
        json!({ "kind": "radius", "name": "x", "addresses": ["::1"], "scopes": [] }),
    ] {
        let answer = app
            .admin("POST", "/v1/admin/clients", Some(bad.clone()))
            .await;
        assert_eq!(answer.problem().0, 400, "{bad}");
    }
    let twin = json!({ "kind": "radius", "name": "b", "addresses": ["192.0.2.0/24"] });
    assert_eq!(
        app.admin("POST", "/v1/admin/clients", Some(twin))
            .await
            .problem()
            .0,
        409
    );
    assert_eq!(
        app.admin("DELETE", "/v1/admin/clients/web", None)
            .await
            .status,
        204
    );
    assert_eq!(
        app.verify(&new.as_str().into(), "x", "123456").await.status,
        401
    );
}

/// Over TLS the shared secret is one word for all: nothing changes on the wire, and nothing is said to.
#[tokio::test]
async fn a_client_with_a_certificate_has_no_secret_to_rotate() {
    let app = TestApp::new();
    let path = "/v1/admin/clients";
    let new = json!({ "kind": "radius", "name": "nas", "addresses": ["192.0.2.7"] });
    assert_eq!(app.admin("POST", path, Some(new)).await.status, 201);
    let rotate = async || {
        app.admin("POST", "/v1/admin/clients/nas/rotate", None)
            .await
    };
    let rotated = rotate().await;
    assert!(rotated.json()["previous_until"].is_string());
    let change = json!({ "certificate": "nas.example" });
    let changed = app
        .admin("PATCH", "/v1/admin/clients/nas", Some(change))
        .await;
    assert_eq!(changed.status, 200);
    assert!(
        changed.json()["previous_until"].is_null(),
        "no old secret works"
    );
    let refused = rotate().await;
    assert_eq!(refused.problem().0, 409);
    let refused = refused.json();
    assert!(refused["detail"].as_str().unwrap().contains("`radsec`"));
    let remedy = refused["remedy"].as_str().unwrap();
    assert!(
        remedy.contains("oncegate client set nas --certificate"),
        "{remedy}"
    );
    assert!(!remedy.contains("--force"), "{remedy}");
}

#[tokio::test]
async fn a_lock_is_shown_and_taken_off() {
    let app = TestApp::new();
    app.user_with("alice", Kind::Totp, true).await;
    let key = app.key("web", Scope::Verify, None).await;
    for _ in 0..10 {
        app.verify(&key, "alice", "000000").await;
        app.clock.advance(Duration::from_secs(11));
    }
    let user = app.admin("GET", "/v1/admin/users/alice", None).await.json();
    assert_eq!(user["lock"]["state"], "locked");
    assert_eq!(user["lock"]["failures"], 10);
    let unlocked = app
        .admin("POST", "/v1/admin/users/alice/unlock", None)
        .await
        .json();
    assert_eq!(unlocked["lock"]["state"], "open");
    assert_eq!(
        app.verify(&key, "alice", &app.code(0)).await.json()["decision"],
        "accept"
    );
}

#[tokio::test]
async fn the_audit_can_be_followed_searched_and_checked() {
    let app = TestApp::new();
    app.user_with("alice", Kind::Totp, true).await;
    let key = app.key("web", Scope::Verify, None).await;
    let tail = send(
        &app.local,
        request("GET", "/v1/admin/audit/tail", None, None),
    )
    .await;
    assert_eq!(tail.headers()["content-type"], "application/x-ndjson");
    let mut tail = tail.into_body();
    let asked = app.verify(&key, "alice", &app.code(0)).await.json();
    let asked = asked["request_id"].as_str().unwrap();
    let frame = tail.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(frame.split(|octet| *octet == b'\n').count(), 2, "one line");
    let record: Value = serde_json::from_slice(&frame).unwrap();
    assert_eq!(record["request_id"], asked);
    assert_eq!(
        (&record["type"], &record["reason"]),
        (&json!("decision"), &json!("totp_ok"))
    );

    let found = app
        .admin("GET", &format!("/v1/admin/audit?request={asked}"), None)
        .await
        .json();
    assert_eq!(found["records"], json!([record]));
    let none = "/v1/admin/audit?since=2100-01-01T00:00:00Z";
    assert_eq!(
        app.admin("GET", none, None).await.json()["records"],
        json!([])
    );
    for bad in [
        "since=yesterday",
        "decision=maybe",
        "request=1",
        "limit=0",
        "before=x",
    ] {
        let answer = app
            .admin("GET", &format!("/v1/admin/audit?{bad}"), None)
            .await;
        assert_eq!(answer.problem().0, 400, "{bad}");
    }
    let chain = app
        .admin("POST", "/v1/admin/audit/verify", None)
        .await
        .json();
    assert_eq!(
        (&chain["intact"], &chain["good"]),
        (&json!(true), &json!(4))
    );
    app.app.drain().await;
    assert!(
        tail.frame().await.is_none(),
        "a stopping server ends the stream"
    );
}

/// Writes the tokens of a demonstration as `oncegate quickstart` does.
fn named(app: &TestApp, demo: &Value) {
    let marker = app.marker.as_ref().expect("a quickstart directory");
    std::fs::write(marker.path(), demo.to_string()).expect("written");
}

#[tokio::test]
async fn codes_are_shown_for_demonstration_only() {
    let app = TestApp::new();
    app.user_with("demo", Kind::Totp, true).await;
    let path = "/v1/admin/users/demo/code";
    assert_eq!(app.admin("GET", path, None).await.problem().0, 404);

    let policy = "[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n";
    let app = TestApp::with(policy, true);
    let demo = app.user_with("demo", Kind::Totp, true).await;
    // A token that someone else made in such a directory is no demonstration.
    assert_eq!(app.admin("GET", path, None).await.problem().0, 404);
    named(&app, &json!({ "serial": demo.as_str() }));
    app.user_with("ceo", Kind::Totp, true).await;
    let other = app.admin("GET", "/v1/admin/users/ceo/code", None).await;
    assert_eq!(other.problem().0, 404);
    let shown = app.admin("GET", path, None).await.json();
    assert_eq!(shown["code"], app.code(0));
    assert_eq!(
        (&shown["used"], &shown["next_in"]),
        (&json!(false), &json!(30))
    );
    let body = json!({ "user": "demo", "otp": shown["code"] });
    let accepted = app.admin("POST", "/v1/verify", Some(body)).await.json();
    assert_eq!(accepted["decision"], "accept");
    assert_eq!(app.admin("GET", path, None).await.json()["used"], true);
    let app = TestApp::with(policy, true);
    let counter = app.user_with("counter", Kind::Hotp, true).await;
    named(&app, &json!({ "counter_serial": counter.as_str() }));
    let shown = app
        .admin("GET", "/v1/admin/users/counter/code", None)
        .await
        .json();
    assert_eq!(shown["code"], "755224");
}

/// Two administrators: what the second one would remove or move is not what they saw.
#[tokio::test]
async fn removals_and_moves_are_conditional_too() {
    let app = TestApp::new();
    let serial = app.user_with("alice", Kind::Hotp, false).await;
    app.key("web", Scope::Verify, None).await;
    let ask = async |method: &str, path: &str, tag: &str, body: Option<Value>| {
        let mut request = request(method, &format!("/v1/admin/{path}"), None, body);
        request
            .headers_mut()
            .insert("if-match", tag.parse().unwrap());
        ask(&app.local, request).await
    };
    let of = async |path: &str| {
        let path = format!("/v1/admin/{path}");
        revision(&app.admin("GET", &path, None).await)
    };
    let token = format!("tokens/{serial}");
    let (first, user, client) = (
        of(&token).await,
        of("users/alice").await,
        of("clients/web").await,
    );
    let confirm = format!("{token}/confirm");
    let code = Some(json!({ "otp": "755224" }));
    let stale = ask("POST", &confirm, "\"7\"", code.clone()).await;
    assert_eq!(stale.problem(), (412, "changed".to_owned()));
    let tag = format!("\"{first}\"");
    assert_eq!(ask("POST", &confirm, &tag, code).await.status, 200);
    for (verb, seen) in [
        ("suspend", first + 1),
        ("resume", first + 2),
        ("suspend", first + 3),
        ("revoke", first + 4),
    ] {
        let path = format!("{token}/{verb}");
        let stale = ask("POST", &path, &tag, None).await;
        assert_eq!(stale.problem(), (412, "changed".to_owned()), "{verb}");
        let moved = ask("POST", &path, &format!("\"{seen}\""), None).await;
        assert_eq!(moved.status, 200, "{verb}: {moved:?}");
    }
    for (path, seen) in [
        (token.as_str(), first + 5),
        ("users/alice", user),
        ("clients/web", client),
    ] {
        let stale = ask("DELETE", path, "\"99\"", None).await;
        assert_eq!(stale.problem(), (412, "changed".to_owned()), "{path}");
        let gone = ask("DELETE", path, &format!("\"{seen}\""), None).await;
        assert_eq!(gone.status, 204, "{path}: {gone:?}");
        assert_eq!(ask("DELETE", path, "*", None).await.status, 404, "{path}");
    }
}
