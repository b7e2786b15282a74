//! The HTTP API on its router, without sockets: contract s4, threats T12, T20, T28, T30, T42.

use crate::support::app::{Answer, TestApp, ask, request, send};
use crate::support::disk::Disk;
use axum::body::Body;
use axum::http::Request;
use oncegate::model::client::Scope;
use oncegate::model::kind::Kind;
use oncegate::secret::SystemEntropy;
use oncegate::server::http::openapi;
use oncegate::time::{FixedClock, UnixTime};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn a_code_is_accepted_once() {
    let app = TestApp::new();
    let serial = app.user_with("alice", Kind::Totp, true).await;
    let key = app.key("web", Scope::Verify, None).await;
    let code = app.code(0);

    let first = app.verify(&key, "ALICE", &code).await;
    assert_eq!(first.status, 200);
    let answer = first.json();
    assert_eq!(answer["decision"], "accept");
    assert_eq!(answer["user"], "alice@default");
    assert_eq!(answer["serial"], serial.as_str());
    assert_eq!(answer["assurance"], 1);
    assert_eq!(answer["attributes"], json!({}));
    assert_eq!(
        first.headers["x-request-id"],
        answer["request_id"].as_str().unwrap()
    );
    assert_eq!(first.headers["cache-control"], "no-store");
    assert_eq!(first.headers["x-content-type-options"], "nosniff");
    assert!(!first.headers.contains_key("server"));

    let second = app.verify(&key, "alice@default", &code).await.json();
    assert_eq!(second["decision"], "reject");
    let newest = app
        .admin("GET", "/v1/admin/audit?limit=1", None)
        .await
        .json();
    assert_eq!(newest["records"][0]["reason"], "used_code");
    assert_eq!(newest["records"][0]["request_id"], second["request_id"]);
}

#[tokio::test]
async fn a_hundred_at_once_have_one_winner() {
    let app = TestApp::new();
    app.user_with("alice", Kind::Totp, true).await;
    let key = app.key("web", Scope::Verify, None).await;
    let code = app.code(0);
    let asks = (0..100).map(|_| {
        let request = request(
            "POST",
            "/v1/verify",
            Some(&key),
            Some(json!({ "user": "alice", "otp": code })),
        );
        let router = app.keyed.clone();
        tokio::spawn(async move { ask(&router, request).await.json() })
    });
    let mut accepted = 0;
    for task in asks.collect::<Vec<_>>() {
        accepted += u32::from(task.await.unwrap()["decision"] == "accept");
    }
    assert_eq!(accepted, 1);
}

/// Threats T12: whatever the cause, the same answer.
#[tokio::test]
async fn rejects_are_the_same_octets_whatever_the_cause() {
    let app = TestApp::new();
    let key = app.key("web", Scope::Verify, None).await;
    app.user("empty").await;
    app.user_with("used", Kind::Totp, true).await;
    let paused = app.user_with("paused", Kind::Totp, true).await;
    let path = format!("/v1/admin/tokens/{paused}/suspend");
    app.admin("POST", &path, None).await;
    app.user_with("wrong", Kind::Totp, true).await;
    app.user_with("locked", Kind::Totp, true).await;
    app.user_with("disabled", Kind::Totp, true).await;
    app.admin(
        "PATCH",
        "/v1/admin/users/disabled",
        Some(json!({ "disabled": true })),
    )
    .await;
    app.verify(&key, "used", &app.code(0)).await;
    for _ in 0..12 {
        app.verify(&key, "locked", "000000").await;
        app.clock.advance(Duration::from_secs(11));
    }
    let right = app.code(0);
    let mut rejects = Vec::new();
    for (user, code, reason) in [
        ("nobody", right.as_str(), "unknown_user"),
        ("empty", &right, "no_token"),
        ("paused", &right, "not_active"),
        ("wrong", "000000", "wrong_code"),
        ("locked", &right, "locked"),
        ("disabled", &right, "user_disabled"),
        ("wrong", "", "malformed_code"),
        ("wrong", "12345\u{664}", "malformed_code"),
        ("wrong", "\t123456", "malformed_code"),
        ("a\0b", &right, "unknown_user"),
        ("a\r\nb", &right, "unknown_user"),
        ("\u{1b}[2Jroot", &right, "unknown_user"),
        ("ecila\u{202e}", &right, "unknown_user"),
        ("DOMAIN\\alice@realm", &right, "unknown_user"),
        ("", &right, "unknown_user"),
    ] {
        let answer = app.verify(&key, user, code).await;
        assert_eq!(answer.status, 200, "{user:?}");
        let audit = app.admin("GET", "/v1/admin/audit?limit=1", None).await;
        assert_eq!(audit.json()["records"][0]["reason"], reason, "{user:?}");
        let text = String::from_utf8(audit.body).unwrap();
        assert!(
            !text.contains(['\0', '\r', '\n', '\u{1b}', '\u{202e}']),
            "{text:?}"
        );
        rejects.push(normal(&answer));
    }
    app.clock.advance(Duration::from_mins(1));
    let code = app.code(0);
    assert_eq!(
        app.verify(&key, "used", &code).await.json()["decision"],
        "accept"
    );
    rejects.push(normal(&app.verify(&key, "used", &code).await));
    for reject in &rejects {
        assert_eq!(*reject, rejects[0]);
    }
}

/// Status, headers and octets of an answer with the request id blanked out.
fn normal(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let id = answer.json()["request_id"].as_str().unwrap().to_owned();
    let blank = |text: &str| text.replace(&id, "ID");
    let headers = answer
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), blank(value.to_str().unwrap())));
    (
        answer.status.as_u16(),
        headers.collect(),
        blank(std::str::from_utf8(&answer.body).unwrap()),
    )
}

#[tokio::test]
async fn a_reject_leaves_at_its_time_and_an_accept_at_once() {
    let policy = "reject_delay = \"150ms\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n";
    let app = TestApp::with(policy, false);
    app.user_with("alice", Kind::Totp, true).await;
    let key = app.key("web", Scope::Verify, None).await;
    for user in ["alice", "nobody"] {
        let before = tokio::time::Instant::now();
        app.verify(&key, user, "000000").await;
        assert!(before.elapsed() >= Duration::from_millis(150), "{user}");
    }
    let before = tokio::time::Instant::now();
    app.verify(&key, "alice", &app.code(0)).await;
    assert!(
        before.elapsed() < Duration::from_millis(150),
        "an accept waits for nothing"
    );
}

#[tokio::test]
async fn a_missing_code_is_a_reject_and_a_passcode_is_a_code() {
    let app = TestApp::new();
    app.user_with("alice", Kind::Totp, true).await;
    let key = app.key("web", Scope::Verify, None).await;
    let verify = async |body: Value| {
        app.keyed("POST", "/v1/verify", Some(&key), Some(body))
            .await
    };
    // An empty box is an answer of the person; no box at all is a mistake of the application.
    let nothing = verify(json!({ "user": "alice" })).await;
    assert_eq!(nothing.problem().0, 400);
    let detail = nothing.json()["detail"].to_string();
    assert!(detail.contains("`otp`"), "{detail}");
    assert_eq!(
        verify(json!({ "user": "alice", "otp": "" })).await.json()["decision"],
        "reject"
    );
    let passcode = json!({ "user": "alice", "passcode": app.code(0), "client_ip": "2001:db8::1",
                           "context": { "app": "payroll" } });
    assert_eq!(verify(passcode).await.json()["decision"], "accept");
}

#[tokio::test]
async fn malformed_requests_are_refused_without_an_echo() {
    let app = TestApp::new();
    let key = app.key("web", Scope::Verify, None).await;
    let deep = format!("{{\"user\":{}1{}}}", "[".repeat(20), "]".repeat(20));
    let deeper = "[".repeat(16_000);
    for body in [
        "",
        "{",
        "null",
        "[]",
        "[\"alice\",\"canary4711\"]",
        "\"canary4711\"",
        "{\"user\":\"alice\",\"otp\":\"canary4711\"",
        "{\"user\":\"alice\",\"otp\":4711}",
        "{\"user\":[\"canary4711\"]}",
        "{\"otp\":\"canary4711\"}",
        "{\"user\":\"alice\",\"canary4711\":1}",
        "{\"user\":\"alice\",\"user\":\"canary4711\"}",
        "{\"user\":\"alice\",\"client_ip\":\"canary4711\"}",
        "{\"user\":\"alice\",\"context\":{\"app\":4711}}",
        "{\"user\":\"alice\",\"otp\":\"1\",\"passcode\":\"canary4711\"}",
        "{\"user\":\"al\u{0}ice\"}",
        "{\"user\":\"alice\"} trailing canary4711",
        deep.as_str(),
        deeper.as_str(),
    ] {
        let request = with_body(&key, "application/json", body.as_bytes().to_vec());
        let answer = ask(&app.keyed, request).await;
        assert_eq!(answer.problem(), (400, "malformed".to_owned()), "{body}");
        let text = String::from_utf8(answer.body).unwrap();
        assert!(!text.contains("4711"), "{text}");
        assert!(
            !text.contains("struct") && !text.contains("VerifyRequest"),
            "{text}"
        );
    }
    let not_text = with_body(
        &key,
        "application/json",
        b"{\"user\":\"\xff\xfe\"}".to_vec(),
    );
    assert_eq!(ask(&app.keyed, not_text).await.problem().0, 400);

    let huge = format!("{{\"user\":\"{}\"}}", "a".repeat(16 * 1024));
    let answer = ask(&app.keyed, with_body(&key, "application/json", huge.into())).await;
    assert_eq!(answer.problem(), (413, "too-large".to_owned()));
    for media in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "",
    ] {
        let answer = ask(
            &app.keyed,
            with_body(&key, media, b"{\"user\":\"a\"}".to_vec()),
        )
        .await;
        assert_eq!(answer.problem(), (415, "media-type".to_owned()), "{media}");
    }
    let utf8 = with_body(
        &key,
        "application/json; charset=utf-8",
        b"{\"user\":\"a\",\"otp\":\"\"}".to_vec(),
    );
    assert_eq!(ask(&app.keyed, utf8).await.status, 200);
    assert_eq!(
        app.keyed("GET", "/v1/verify", Some(&key), None)
            .await
            .problem()
            .0,
        405
    );
    assert_eq!(
        app.keyed("GET", "/v1/nothing", None, None)
            .await
            .problem()
            .0,
        404
    );
    let audit = app
        .admin("GET", "/v1/admin/audit?decision=reject", None)
        .await
        .json();
    assert_eq!(
        audit["records"].as_array().unwrap().len(),
        1,
        "only the one that was a question"
    );
}

#[tokio::test]
async fn complaints_name_the_field_and_what_is_allowed() {
    let app = TestApp::new();
    let key = app.key("web", Scope::Verify, None).await;
    let says = async |path: &str, body: Value, words: &[&str]| {
        let answer = app.keyed("POST", path, Some(&key), Some(body)).await;
        assert_eq!(answer.problem().0, 400);
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        for word in words {
            assert!(detail.contains(word), "{word}: {detail}");
        }
    };
    let question = json!({ "user": "a", "otp": "1" });
    says("/v1/verify?cleint=x", question, &["`cleint`", "`client`"]).await;
    let place = json!({ "user": "a", "otp": "1", "client_ip": "x" });
    says("/v1/verify", place, &["client_ip", "IPv4 or IPv6"]).await;
    says(
        "/v1/verify",
        json!({ "user": "a", "pass": "1" }),
        &["`pass`", "`passcode`"],
    )
    .await;
    says("/v1/verify", json!([]), &["JSON object"]).await;
}

fn with_body(key: &oncegate::secret::SecretString, media: &str, body: Vec<u8>) -> Request<Body> {
    Request::post("/v1/verify")
        .header("authorization", format!("Bearer {}", key.expose()))
        .header("content-type", media)
        .body(Body::from(body))
        .unwrap()
}

/// Threats T28: every route, every kind of caller.
#[tokio::test]
async fn every_route_asks_for_its_scope() {
    let app = TestApp::new();
    let verify = app.key("web", Scope::Verify, None).await;
    let admin = app.key("ops", Scope::Admin, None).await;
    let bound = app.key("tenant", Scope::Admin, Some("tenant")).await;
    let stranger = oncegate::secret::SecretString::from("og_nothing");
    let page = ["/enrol", "/enrol.js", "/enrol.css"];
    let open = [&["/healthz", "/readyz", "/openapi.json"][..], &page].concat();
    let mut seen = 0;
    for (method, path) in every_route() {
        let filled = path
            .replace("{user}", "x")
            .replace("{serial}", "X")
            .replace("{name}", "x")
            .replace("{client}", "x")
            .replace("{id}", "DEVICE-X");
        let status = async |key| {
            let answer = send(&app.keyed, request(&method, &filled, key, None)).await;
            answer.status().as_u16()
        };
        seen += 1;
        if open.contains(&path.as_str()) {
            assert_eq!(status(None).await, 200, "{method} {path}");
            continue;
        }
        // The code of a link, or the address of a client that is named: no key stands in for it.
        let keyless = [("/enrol/", 415), ("/compat/", 404), ("/wsapi/", 404)];
        let keyless = keyless.iter().find(|(prefix, _)| path.starts_with(prefix));
        if let Some((_, wanted)) = keyless {
            for key in [None, Some(&stranger), Some(&admin), Some(&verify)] {
                assert_eq!(status(key).await, *wanted, "{path}");
            }
            continue;
        }
        if path.starts_with("/scim/") {
            // Failures have the form of SCIM: tests of the module `scim`.
            for (key, wanted) in [
                (None, 401),
                (Some(&stranger), 401),
                (Some(&admin), 403),
                (Some(&verify), 403),
            ] {
                assert_eq!(status(key).await, wanted, "{method} {path}");
            }
            continue;
        }
        let none = app.keyed(&method, &filled, None, None).await;
        if path.starts_with("/v1/inbound") {
            // A gateway's signature is the credential; without a secret there is no such route.
            for key in [None, Some(&stranger), Some(&admin), Some(&verify)] {
                let answer = app.keyed(&method, &filled, key, None).await;
                assert_eq!(answer.status, 404, "{path}");
            }
            continue;
        }
        if path.starts_with("/v1/device") {
            // A device's signature is the credential; no key stands in for it.
            for key in [None, Some(&stranger), Some(&admin), Some(&verify)] {
                let answer = app.keyed(&method, &filled, key, None).await;
                assert_eq!(answer.problem(), (401, "not-taken".to_owned()), "{path}");
                assert_eq!(answer.headers["cache-control"], "no-store");
            }
            continue;
        }
        assert_eq!(
            none.problem(),
            (401, "no-key".to_owned()),
            "{method} {path}"
        );
        assert!(
            none.headers["www-authenticate"]
                .to_str()
                .unwrap()
                .starts_with("Bearer")
        );
        if path != "/metrics" {
            assert_eq!(none.headers["cache-control"], "no-store");
        }
        assert_eq!(status(Some(&stranger)).await, 401, "{method} {path}");
        let administrators = status(Some(&admin)).await;
        if path.starts_with("/v1/challenges/") {
            assert_eq!(administrators, 403, "an admin key is no application's key");
            assert_eq!(
                status(Some(&verify)).await,
                404,
                "no such round, but allowed"
            );
        } else if !path.starts_with("/v1/admin/") && path != "/metrics" {
            assert_eq!(administrators, 403, "an admin key is no application's key");
            assert_eq!(status(Some(&verify)).await, 415, "no body, but allowed");
        } else {
            assert!(![401, 403].contains(&administrators), "{method} {path}");
            assert_eq!(status(Some(&verify)).await, 403, "{method} {path}");
            assert_eq!(status(Some(&bound)).await, 403, "{method} {path}");
        }
    }
    assert!(seen >= 25, "{seen}");
}

fn every_route() -> Vec<(String, String)> {
    let document = openapi();
    let paths = document["paths"].as_object().unwrap();
    let routes = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys();
        methods
            .filter(|method| ["get", "post", "patch", "delete", "put"].contains(&method.as_str()))
            .map(|method| (method.to_uppercase(), path.clone()))
            .collect::<Vec<_>>()
    });
    routes.collect()
}

#[tokio::test]
async fn the_description_is_whole() {
    let app = TestApp::new();
    let document = app.keyed("GET", "/openapi.json", None, None).await.json();
    assert_eq!(
        document["openapi"].as_str().unwrap().split('.').next(),
        Some("3")
    );
    assert_eq!(
        document["components"]["securitySchemes"]["key"]["scheme"],
        "bearer"
    );
    assert_eq!(document["security"][0]["key"], json!([]));
    let text = document.to_string();
    let mut names = std::collections::BTreeSet::new();
    for (method, path) in every_route() {
        let operation = &document["paths"][&path][method.to_lowercase()];
        let id = operation["operationId"].as_str().unwrap();
        assert!(names.insert(id.to_owned()), "{id} twice");
        assert!(
            operation["summary"].is_string(),
            "{method} {path} has no words"
        );
        for segment in path.split('/').filter_map(|part| part.strip_prefix('{')) {
            let name = segment.trim_end_matches('}');
            let parameters = operation["parameters"].as_array().unwrap();
            assert!(
                parameters
                    .iter()
                    .any(|p| p["name"] == name && p["in"] == "path"),
                "{method} {path}"
            );
        }
    }
    let asked = &document["paths"]["/v1/verify"]["post"]["responses"];
    for status in [
        "200", "400", "401", "403", "408", "413", "415", "422", "503",
    ] {
        assert!(
            asked[status]["description"].is_string(),
            "{status}: {asked}"
        );
    }
    for part in text.split("\"$ref\":\"#/").skip(1) {
        let pointer = format!("/{}", part.split('"').next().unwrap());
        assert!(document.pointer(&pointer).is_some(), "{pointer} is missing");
    }
}

/// Threats T42.
#[tokio::test]
async fn a_key_of_a_realm_asks_about_its_realm_only() {
    let app = TestApp::new();
    app.user_with("alice@shop", Kind::Totp, true).await;
    app.user_with("alice@bank", Kind::Totp, true).await;
    let key = app.key("shop", Scope::Verify, Some("Shop")).await;
    for name in ["alice@bank", "BANK\\alice", "alice@default"] {
        let answer = app.verify(&key, name, &app.code(0)).await;
        assert_eq!(answer.problem(), (403, "forbidden".to_owned()), "{name}");
    }
    assert_eq!(
        app.verify(&key, "SHOP\\Alice", &app.code(0)).await.json()["decision"],
        "accept"
    );
    let path = "/v1/verify?client=shop";
    let asked = app
        .keyed("POST", path, Some(&key), Some(json!({ "user": "x@shop" })))
        .await;
    assert_eq!(asked.problem().0, 403);
}

#[tokio::test]
async fn local_callers_ask_for_themselves_or_for_a_client() {
    let app = TestApp::new();
    app.user_with("alice", Kind::Totp, true).await;
    app.key("web", Scope::Verify, None).await;
    let ask = async |path: &str, code: String| {
        app.admin("POST", path, Some(json!({ "user": "alice", "otp": code })))
            .await
    };
    assert_eq!(
        ask("/v1/verify", app.code(0)).await.json()["decision"],
        "accept"
    );
    let newest = app
        .admin("GET", "/v1/admin/audit?limit=1", None)
        .await
        .json();
    assert_eq!(newest["records"][0]["client"], "local");
    let used = ask("/v1/verify?client=web", app.code(0)).await.json();
    assert_eq!(used["decision"], "reject");
    let newest = app
        .admin("GET", "/v1/admin/audit?limit=1", None)
        .await
        .json();
    assert_eq!(newest["records"][0]["client"], "web");
    assert_eq!(
        ask("/v1/verify?client=nobody", app.code(0))
            .await
            .problem()
            .0,
        404
    );
    let vpn = json!({ "kind": "radius", "name": "vpn", "addresses": ["192.0.2.1"] });
    app.admin("POST", "/v1/admin/clients", Some(vpn)).await;
    let vpn = ask("/v1/verify?client=vpn", app.code(0)).await;
    assert_eq!(vpn.problem(), (409, "conflict".to_owned()));
    assert!(vpn.json()["detail"].as_str().unwrap().contains("RADIUS"));

    // Over the network it takes both scopes, as the first key of `init` has them.
    let body = json!({ "user": "alice", "otp": "000000" });
    for (scopes, status) in [
        (vec![Scope::Admin], 403),
        (vec![Scope::Verify], 403),
        (vec![Scope::Admin, Scope::Verify], 200),
    ] {
        let name = format!("k{}{status}", scopes.len()) + scopes[0].as_str();
        let service = &app.service;
        let made = service
            .admin
            .add_api_client(name, scopes, None, None, app.by());
        let key = made.await.unwrap().1;
        let path = "/v1/verify?client=web";
        let asked = app
            .keyed("POST", path, Some(&key), Some(body.clone()))
            .await;
        assert_eq!(asked.status, status, "{asked:?}");
    }
}

fn idempotent(key: &oncegate::secret::SecretString, name: &str, body: &Value) -> Request<Body> {
    let mut request = request("POST", "/v1/verify", Some(key), Some(body.clone()));
    request
        .headers_mut()
        .insert("idempotency-key", name.parse().unwrap());
    request
}

#[tokio::test]
async fn a_retry_hears_the_first_answer() {
    let app = TestApp::new();
    app.user_with("alice", Kind::Totp, true).await;
    let key = app.key("web", Scope::Verify, None).await;
    let other = app.key("other", Scope::Verify, None).await;
    let body = json!({ "user": "alice", "otp": app.code(0) });
    let first = ask(&app.keyed, idempotent(&key, "k-1", &body)).await;
    assert_eq!(first.json()["decision"], "accept");
    let retry = ask(&app.keyed, idempotent(&key, "k-1", &body)).await;
    assert_eq!(retry.body, first.body);
    let changed = json!({ "user": "alice", "otp": "000000" });
    let reused = ask(&app.keyed, idempotent(&key, "k-1", &changed)).await;
    assert_eq!(reused.problem(), (422, "key-reused".to_owned()));
    let fresh = ask(&app.keyed, idempotent(&key, "k-2", &body)).await;
    assert_eq!(
        fresh.json()["decision"],
        "reject",
        "another key is another request"
    );
    let stolen = ask(&app.keyed, idempotent(&other, "k-1", &body)).await;
    assert_eq!(
        stolen.json()["decision"],
        "reject",
        "another client is another request"
    );
    for name in ["", "\u{7f}", &"k".repeat(129)] {
        let mut request = request("POST", "/v1/verify", Some(&key), Some(body.clone()));
        let value = axum::http::HeaderValue::from_bytes(name.as_bytes());
        let Ok(value) = value else { continue };
        request.headers_mut().insert("idempotency-key", value);
        assert_eq!(ask(&app.keyed, request).await.problem().0, 400, "{name:?}");
    }
}

/// A retry costs no second message, and shows no second pair of cells.
#[tokio::test]
async fn a_retry_begins_no_second_round() {
    let policy = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n\
                  alternatives = [\"card\"]\n";
    let app = TestApp::with(policy, false);
    let key = app.key("web", Scope::Verify, None).await;
    app.user("alice").await;
    let card = json!({ "user": "alice", "kind": "card", "active": true });
    let made = app.admin("POST", "/v1/admin/tokens", Some(card)).await;
    assert_eq!(made.status, 201);
    let begin = async |name: &str, user: &str| {
        let body = json!({ "user": user, "factor": "card" });
        let mut request = request("POST", "/v1/challenges", Some(&key), Some(body));
        let headers = request.headers_mut();
        headers.insert("idempotency-key", name.parse().unwrap());
        ask(&app.keyed, request).await
    };
    let first = begin("k-1", "alice").await;
    assert_eq!(first.status, 201);
    let retry = begin("k-1", "alice").await;
    assert_eq!((retry.status, &retry.body), (first.status, &first.body));
    let fresh = begin("k-2", "alice").await;
    assert_ne!(fresh.json()["id"], first.json()["id"]);
    let reused = begin("k-1", "bob").await;
    assert_eq!(reused.problem(), (422, "key-reused".to_owned()));
}

/// Who gets an answer while nothing can be written must not tell who has a card (threats T12).
#[tokio::test]
async fn no_round_begins_for_any_name_while_the_store_cannot_commit() {
    let policy = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n\
                  alternatives = [\"sms\", \"card\"]\n";
    let (disk, entropy) = (Disk::default(), Arc::new(SystemEntropy));
    let clock = FixedClock::at(UnixTime::from_secs(1_800_000_000));
    let app = TestApp::on(Arc::new(disk.clone()), clock, entropy, policy, false);
    let key = app.key("web", Scope::Verify, None).await;
    app.user("bare").await;
    for user in ["drawn", "fresh"] {
        app.user(user).await;
        let card = json!({ "user": user, "kind": "card", "active": true });
        let made = app.admin("POST", "/v1/admin/tokens", Some(card)).await;
        assert_eq!(made.status, 201, "{user}");
    }
    let begin = async |user: &str, factor: &str| {
        let body = json!({ "user": user, "factor": factor });
        app.keyed("POST", "/v1/challenges", Some(&key), Some(body))
            .await
    };
    assert_eq!(begin("drawn", "card").await.status, 201);
    disk.set_full(true);
    for user in ["nobody", "bare", "fresh", "drawn"] {
        for factor in ["card", "sms"] {
            let answer = begin(user, factor).await;
            let problem = (503, "unavailable".to_owned());
            assert_eq!(answer.problem(), problem, "{user} {factor}");
            assert_eq!(answer.headers["retry-after"], "1", "{user} {factor}");
        }
    }
    disk.set_full(false);
    while app.service.core.store().health().fault.is_some() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(begin("nobody", "card").await.status, 201);
}

#[tokio::test]
async fn retries_in_flight_share_one_decision_even_when_the_first_hangs_up() {
    let app = TestApp::new();
    app.user_with("alice", Kind::Totp, true).await;
    let key = app.key("web", Scope::Verify, None).await;
    let body = json!({ "user": "alice", "otp": app.code(0) });
    let asks = (0..20).map(|_| {
        let (router, request) = (app.keyed.clone(), idempotent(&key, "k", &body));
        tokio::spawn(async move { ask(&router, request).await })
    });
    let mut asks = asks.collect::<Vec<_>>();
    asks.remove(0).abort();
    for task in asks {
        assert_eq!(task.await.unwrap().json()["decision"], "accept");
    }
    let audit = app
        .admin("GET", "/v1/admin/audit?user=alice&decision=accept", None)
        .await
        .json();
    let records = audit["records"].as_array().unwrap();
    let (first, again): (Vec<_>, Vec<_>) = records
        .iter()
        .partition(|record| record["reason"] == "totp_ok");
    assert_eq!(first.len(), 1, "one consumption");
    assert!(again.iter().all(|record| record["reason"] == "repeated_ok"));
}

#[tokio::test]
async fn health_follows_the_clock_and_metrics_name_nobody() {
    let app = TestApp::new();
    app.user_with("alice", Kind::Totp, true).await;
    let key = app.key("web", Scope::Verify, None).await;
    app.verify(&key, "alice", &app.code(0)).await;
    app.verify(&key, "alice", &app.code(0)).await;
    app.app
        .add_metrics(Box::new(|page| page.push_str("oncegate_radius_test 1\n")));
    let page = app.admin("GET", "/metrics", None).await;
    let page = String::from_utf8(page.body).unwrap();
    let accepted =
        r#"oncegate_decisions_total{channel="http",decision="accept",reason="totp_ok"} 1"#;
    for line in [
        accepted,
        r#"oncegate_http_requests_total{method="POST",route="/v1/verify",status="200"} 2"#,
        "oncegate_radius_test 1",
        "oncegate_ready 1",
    ] {
        assert!(
            page.lines().any(|found| found == line),
            "{line} is missing:\n{page}"
        );
    }
    assert!(!page.contains("# EOF") && !page.contains("alice"));
    assert_eq!(app.keyed("GET", "/readyz", None, None).await.status, 200);
    let status = app.admin("GET", "/v1/admin/status", None).await.json();
    assert_eq!(
        (&status["ready"], &status["accepts"]),
        (&json!(true), &json!(1))
    );

    app.clock.set(UnixTime::from_secs(1_700_000_000));
    assert_eq!(app.keyed("GET", "/healthz", None, None).await.status, 200);
    let unready = app.keyed("GET", "/readyz", None, None).await;
    assert_eq!(unready.problem(), (503, "unavailable".to_owned()));
    assert_eq!(unready.headers["retry-after"], "1");
    assert!(!unready.json()["detail"].as_str().unwrap().contains("2023"));
    let near = app.admin("GET", "/readyz", None).await;
    assert!(
        near.json()["detail"].as_str().unwrap().contains("2023"),
        "{near:?}"
    );
    let asked = app.verify(&key, "alice", "000000").await;
    assert_eq!(asked.problem(), (503, "unavailable".to_owned()));
    assert_eq!(asked.headers["retry-after"], "1");
    let recovered = app.admin("POST", "/v1/admin/clock/recover", None).await;
    assert_eq!(recovered.json()["recovered"], true);
    let policies = app.admin("GET", "/v1/admin/policies", None).await.json();
    assert_eq!(policies["policies"][0]["rules"], json!(["all"]));
}
