//! What the console says of users and clients at a glance, and what is done to all of it at once.

use axum::http::StatusCode;
use serde_json::json;

use crate::support::app::{ask, request};
use crate::support::console::{Console, text};
use crate::web::me::{signed_in, user};

#[tokio::test]
async fn all_tokens_in_use_are_frozen_by_one_act() {
    let console = Console::new();
    let body = json!({ "user": "alice" });
    console.admin("POST", "/v1/admin/users", Some(body)).await;
    for (serial, active) in [("A-1", true), ("A-2", true), ("A-3", false)] {
        let token = json!({ "user": "alice", "kind": "totp", "serial": serial, "active": active });
        console.admin("POST", "/v1/admin/tokens", Some(token)).await;
    }
    let operator = console.person("op", &["operator"]).await;
    let session = console.sign_in(&operator).await;
    let path = "/console/users/alice@default";
    let page = text(&console.get(path, Some(&session)).await);
    assert!(page.contains("action=\"/console/act/freeze\""), "{page}");
    let form = [("place", "alice@default"), ("back", path)];
    let done = console
        .post("/console/act/freeze", &form, Some(&session))
        .await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", text(&done));
    for (serial, state) in [
        ("A-1", "suspended"),
        ("A-2", "suspended"),
        ("A-3", "pending"),
    ] {
        let path = format!("/v1/admin/tokens/{serial}");
        let token = console.admin("GET", &path, None).await;
        assert_eq!(token["state"], state, "{serial}");
    }
    let page = text(&console.get(path, Some(&session)).await);
    assert!(!page.contains("/console/act/freeze"), "{page}");
    let audit = console
        .admin("GET", "/v1/admin/audit?action=token_suspend", None)
        .await;
    let records = audit["records"].as_array().expect("records");
    assert_eq!(records.len(), 2, "{audit}");
    for record in records {
        assert_eq!(record["actor"], "op@console");
    }
    // Who has no account has nothing to be frozen, and the people of the console are not an operator's.
    for (place, status) in [("zzz", 404), ("op@console", 409)] {
        let form = [("place", place), ("back", path)];
        let refused = console
            .post("/console/act/freeze", &form, Some(&session))
            .await;
        assert_eq!(
            refused.status.as_u16(),
            status,
            "{place}: {}",
            text(&refused)
        );
    }
}

#[tokio::test]
async fn users_are_listed_with_their_tokens_and_their_last_code() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    let uri = user(&console, "alice", json!({})).await;
    let pending = json!({ "user": "alice", "kind": "hotp", "serial": "H-1" });
    console
        .admin("POST", "/v1/admin/tokens", Some(pending))
        .await;
    let session = console.sign_in(&kim).await;
    let row = async || {
        let page = text(&console.get("/console/users?q=alice", Some(&session)).await);
        let (_, rest) = page.split_once("alice@default</a>").expect("a row");
        rest.split("</tr>").next().expect("its end").to_owned()
    };
    let before = row().await;
    assert!(before.contains("Authenticator app: active"), "{before}");
    assert!(
        before.contains("Counter token: waits for its first code"),
        "{before}"
    );
    let none = "<td data-head=\"Last code (UTC)\"><span class=\"faint\">-</span>";
    assert!(before.contains(none), "{before}");
    signed_in(&console, "alice", &uri).await;
    let after = row().await;
    assert!(!after.contains(none), "{after}");
}

#[tokio::test]
async fn clients_are_shown_with_what_is_known_of_their_requests() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    let vpn = json!({ "kind": "radius", "name": "vpn", "addresses": ["192.0.2.1"],
        "require_message_authenticator": "auto" });
    console.admin("POST", "/v1/admin/clients", Some(vpn)).await;
    let key = console.key("app", "verify").await;
    let counters = |name: &str| match name {
        "vpn" => vec![
            ("radiusAuthServExtAccessRequests", 9_u64),
            ("radiusAuthServExtAccessRejects", 4),
            ("radiusAuthServExtBadAuthenticators", 2),
            ("radiusAccServExtBadAuthenticators", 1),
        ],
        _ => Vec::new(),
    };
    console.app.set_client_counters(Box::new(counters));
    let address = "192.0.2.1".parse().expect("an address");
    let learned = console.service.admin.learn("vpn", address).await;
    learned.expect("learned");
    let session = console.sign_in(&kim).await;
    let page = async |path: &str| text(&console.get(path, Some(&session)).await);
    let seen = "<dt>Last seen (UTC)</dt>";
    assert!(!page("/console/clients/app").await.contains(seen));
    let login = json!({ "user": "alice", "otp": "000000" });
    let asked = request("POST", "/v1/verify", Some(&key), Some(login));
    assert_eq!(ask(&console.pages, asked).await.status, 200);
    let app = page("/console/clients/app").await;
    assert!(app.contains(seen), "{app}");

    let list = page("/console/clients").await;
    for shown in ["Rejected: 4", "Wrong secret or signature: 3"] {
        assert!(list.contains(shown), "{shown}: {list}");
    }
    let vpn = page("/console/clients/vpn").await;
    for shown in [
        "<dt>Signs its requests from</dt><dd><span>192.0.2.1</span>",
        "Packets since the server started",
        "<dt>Requests</dt><dd><span>9</span>",
    ] {
        assert!(vpn.contains(shown), "{shown}: {vpn}");
    }
    assert!(!vpn.contains(seen), "it has sent nothing");
}

#[tokio::test]
async fn challenge_methods_and_retry_window_of_a_client_are_changed() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    let vpn = json!({ "kind": "radius", "name": "vpn", "addresses": ["192.0.2.1"] });
    console.admin("POST", "/v1/admin/clients", Some(vpn)).await;
    let session = console.sign_in(&kim).await;
    let page = text(&console.get("/console/clients/vpn", Some(&session)).await);
    for field in ["challenge", "methods", "retry_window_secs"] {
        assert!(
            page.contains(&format!("name=\"{field}\"")),
            "{field}: {page}"
        );
    }
    let set = async |more: &[(&str, &str)]| {
        let form = [
            ("place", "vpn"),
            ("back", "/console/clients/vpn"),
            ("require_message_authenticator", "true"),
        ];
        let form = [form.as_slice(), more].concat();
        let answer = console.post("/console/act/set_radius", &form, Some(&session));
        answer.await.status.as_u16()
    };
    let changed = [
        ("challenge", "no"),
        ("methods", "pap, mschapv2"),
        ("retry_window_secs", "5"),
    ];
    assert_eq!(set(&changed).await, 303);
    // What a form does not have stays, and what is no number changes nothing.
    assert_eq!(set(&[]).await, 303);
    assert_eq!(set(&[("retry_window_secs", "soon")]).await, 400);
    assert_eq!(set(&[("retry_window_secs", "31")]).await, 400);
    let client = console.admin("GET", "/v1/admin/clients/vpn", None).await;
    assert_eq!(
        (
            &client["challenge"],
            &client["methods"],
            &client["retry_window_secs"]
        ),
        (&json!(false), &json!(["pap", "mschapv2"]), &json!(5))
    );
    assert_eq!(client["addresses"], json!(["192.0.2.1/32"]));
    assert_eq!(set(&[("methods", "")]).await, 303);
    let client = console.admin("GET", "/v1/admin/clients/vpn", None).await;
    assert_eq!(client["methods"], json!([]), "every method");
}

#[tokio::test]
async fn a_client_that_pushes_users_is_made() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    let session = console.sign_in(&kim).await;
    let page = text(&console.get("/console/clients", Some(&session)).await);
    assert!(page.contains("<option value=\"scim\""), "{page}");
    let form = [("name", "entra"), ("scopes", "scim")];
    let made = console
        .post("/console/act/add_api", &form, Some(&session))
        .await;
    assert_eq!(made.status, 200, "{}", text(&made));
    let client = console.admin("GET", "/v1/admin/clients/entra", None).await;
    assert_eq!(client["scopes"], json!(["scim"]));
}
