//! Licences, and a description of the API that is complete: no person in it, failures, bounds and
//! examples that hold, limits as they are.

use std::fs;
use std::path::Path;

use axum::body::Body;
use axum::http::Request;
use oncegate::model::client::Scope;
use oncegate::model::session::{Report, Session, SessionKey, Status, Usage};
use oncegate::store::Change;
use serde_json::{Value, json};

use crate::support::app::{TestApp, send};

/// Every operation: method, path, what is said about it.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            found.push((method.to_uppercase(), path.clone(), operation.clone()));
        }
    }
    assert!(found.len() > 60, "{}", found.len());
    found
}

fn document() -> Value {
    oncegate::server::http::openapi()
}

#[test]
fn both_licences_are_there_and_no_person_is_in_the_description() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = |name: &str| fs::read_to_string(root.join(name)).expect(name);
    assert!(text("LICENSE-MIT").contains("Permission is hereby granted"));
    assert!(text("LICENSE-APACHE").contains("Version 2.0, January 2004"));
    let document = document();
    assert_eq!(document["info"]["contact"], Value::Null);
    assert_eq!(
        document["info"]["license"]["identifier"],
        "MIT OR Apache-2.0"
    );
    let all = document.to_string();
    for word in all.split(['"', ' ']).filter(|word| word.contains('@')) {
        let example = word.ends_with("@example.com") || word.ends_with("@default");
        let form = word.contains("name@realm") || word.starts_with('@');
        assert!(example || form || !word.contains('.'), "{word}");
    }
}

#[test]
fn what_is_named_in_a_path_may_be_missing_and_that_is_said() {
    for (method, path, operation) in operations(&document()) {
        let responses = &operation["responses"];
        assert_eq!(
            responses["404"].is_object(),
            path.contains('{'),
            "{method} {path}"
        );
        // It is mostly answered before there is a request, and then without a document.
        let long = &responses["431"];
        assert!(long.is_object(), "{method} {path}");
        assert!(long["content"].is_null(), "{method} {path}");
    }
}

#[tokio::test]
async fn a_missing_record_is_answered_as_described() {
    let app = TestApp::new();
    let admin = app.key("ops", Scope::Admin, None).await;
    for (method, path, _) in operations(&document()) {
        let named = path.starts_with("/v1/admin/") && path.contains('{');
        if method != "GET" && method != "DELETE" || !named {
            continue;
        }
        let path = path
            .replace("{user}", "missing")
            .replace("{serial}", "TOTP-00000000")
            .replace("{name}", "missing")
            .replace("{id}", "DEVICE-00000000")
            .replace("{request_id}", "01M85HXTB4DGFEQJ4KE7067NRK");
        let answer = app.keyed(&method, &path, Some(&admin), None).await;
        assert_eq!(
            answer.problem(),
            (404, "not-found".to_owned()),
            "{method} {path}"
        );
    }
}

/// A text has a greatest length, a number a range, a list or a map items that have them.
fn bounded(field: &Value) -> bool {
    let has = |kind: &str| match &field["type"] {
        Value::String(one) => one == kind,
        Value::Array(kinds) => kinds.iter().any(|one| one == kind),
        _ => false,
    };
    if field["$ref"].is_string() || field["oneOf"].is_array() || field["enum"].is_array() {
        return true;
    }
    if has("array") {
        return bounded(&field["items"]);
    }
    if has("object") {
        return bounded(&field["additionalProperties"]);
    }
    has("boolean")
        || (has("string") && field["maxLength"].is_u64())
        || (has("integer") && field["maximum"].is_u64() && field["minimum"].is_u64())
}

#[test]
fn every_field_of_a_request_has_bounds() {
    let document = document();
    let mut seen = 0;
    let mut check = |place: &str, schema: &Value| {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            seen += 1;
            assert!(bounded(field), "{place}.{name}: {field}");
        }
    };
    for (method, path, operation) in operations(&document) {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            let header = parameter["in"] == "header";
            assert!(
                header || bounded(&parameter["schema"]),
                "{method} {path} {name}"
            );
        }
        let body = &operation["requestBody"]["content"]["application/json"]["schema"];
        let Some(name) = body["$ref"]
            .as_str()
            .and_then(|name| name.rsplit('/').next())
        else {
            continue;
        };
        let schema = &document["components"]["schemas"][name];
        check(name, schema);
        for form in schema["oneOf"].as_array().into_iter().flatten() {
            check(name, form);
        }
    }
    assert!(seen > 100, "{seen}");
}

/// The greatest length of a parameter of `GET` on this path.
fn most(document: &Value, path: &str, name: &str) -> u64 {
    let parameters = document["paths"][path]["get"]["parameters"].as_array();
    let mut parameters = parameters.expect(path).iter();
    let found = parameters.find(|parameter| parameter["name"] == name);
    found.expect(name)["schema"]["maxLength"]
        .as_u64()
        .expect("a bound")
}

/// What the server made comes back to it: a caller that checks the bounds must be able to send it.
#[tokio::test]
async fn what_the_server_names_is_within_the_bounds() {
    let app = TestApp::new();
    let verify = app.key("web", Scope::Verify, None).await;
    let document = document();
    let schema = &document["components"]["schemas"]["VerifyRequest"]["properties"];
    let bounds = [
        most(&document, "/v1/challenges/{id}", "id"),
        schema["challenge"]["maxLength"].as_u64().expect("a bound"),
    ];
    for user in ["alice".to_owned(), "\u{20bb7}".repeat(64)] {
        let body = json!({ "user": user, "factor": "sms" });
        let begun = app
            .keyed("POST", "/v1/challenges", Some(&verify), Some(body))
            .await;
        assert_eq!(begun.status, 201);
        let begun = begun.json();
        let id = begun["id"].as_str().unwrap();
        for bound in bounds {
            assert!(id.len() as u64 <= bound, "{} {bound}", id.len());
        }
        let path = format!("/v1/challenges/{id}");
        let standing = app.keyed("GET", &path, Some(&verify), None).await;
        assert_eq!(standing.json()["status"], "pending");
    }

    // The longest names that a NAS can give: 253 octets that are no text.
    let long = format!("0x{}", "ff".repeat(253));
    for number in 0..2 {
        let id = format!("0x{number}{}", &long[3..]);
        let session = Session {
            key: SessionKey {
                client: "c".repeat(64),
                nas: long.clone(),
                id,
            },
            user: "alice@default".to_owned(),
            login: None,
            user_name: None,
            nas_ip: None,
            source: None,
            calling_station: None,
            framed_ip: None,
            started: app.service.core.now(),
            updated: app.service.core.now(),
            ended: None,
            cause: None,
            usage: Usage::default(),
        };
        let report = Report {
            status: Status::Start,
            session,
        };
        let change = Change::ReportSession(report);
        let reported = app.service.core.store().change(change, app.by()).await;
        reported.expect("a session");
    }
    let page = app.admin("GET", "/v1/admin/sessions?limit=1", None).await;
    let next = page.json()["next"].as_str().expect("a page").to_owned();
    let bound = most(&document, "/v1/admin/sessions", "after");
    assert!(next.len() as u64 <= bound, "{} {bound}", next.len());
    let path = format!("/v1/admin/sessions?limit=1&after={next}");
    let page = app.admin("GET", &path, None).await;
    assert_eq!(page.json()["sessions"].as_array().unwrap().len(), 1);
}

/// Each example is taken as it stands: what is refused then is refused for what is on record.
#[tokio::test]
async fn every_example_is_understood() {
    let app = TestApp::new();
    let admin = app.key("ops", Scope::Admin, None).await;
    let verify = app.key("web", Scope::Verify, None).await;
    let mut seen = 0;
    let mut refused = Vec::new();
    for (method, path, operation) in operations(&document()) {
        let body = &operation["requestBody"]["content"]["application/json"];
        if !body.is_object() || path.starts_with("/v1/device") || path.starts_with("/v1/inbound") {
            continue;
        }
        let mut example = body["example"].clone();
        assert!(example.is_object(), "{method} {path}");
        if example.get("until").is_some() {
            example["until"] = "2027-01-15T09:00:00Z".into();
        }
        let key = if path.starts_with("/v1/admin") {
            &admin
        } else {
            &verify
        };
        let path = path
            .replace("{user}", "alice")
            .replace("{serial}", "TOTP-7F3K9Q2M")
            .replace("{name}", "vpn");
        let answer = app
            .keyed(&method, &path, Some(key), Some(example.clone()))
            .await;
        let status = answer.status.as_u16();
        let text = String::from_utf8_lossy(&answer.body);
        if status >= 300 && !matches!(status, 403 | 404 | 409) {
            refused.push(format!("{method} {path} {example}: {status} {text}"));
        }
        seen += 1;
    }
    assert!(seen > 20, "{seen}");
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[tokio::test]
async fn the_head_of_a_request_has_the_described_limit() {
    let app = TestApp::new();
    let status = async |octets: usize| {
        let fixed = "GET /healthz HTTP/1.1\r\n".len() + "x-long: \r\n".len();
        let request = Request::get("/healthz").header("x-long", "x".repeat(octets - fixed));
        let answer = send(&app.keyed, request.body(Body::empty()).unwrap()).await;
        answer.status().as_u16()
    };
    assert_eq!(status(32 * 1024).await, 200);
    assert_eq!(status(32 * 1024 + 1).await, 431);
    assert_eq!(status(39 * 1024).await, 431);
}
