//! Bad input of all pages in one house: what strangers write, uploads without an end, links that ran out, and who asks
//! for whose records.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use serde_json::json;

use crate::support::app::{ask, request};
use crate::support::console::{Console, built, cookie, text};

const EVIL: &str = "<img src=x onerror=alert(1)>\"'&{{7*7}}";

/// All octets as a query has them.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for octet in text.bytes() {
        let _ = write!(encoded, "%{octet:02X}");
    }
    encoded
}

/// Every page, and every place of an address that a page reads, with this in it.
fn paths(query: &str) -> Vec<String> {
    let mut paths: Vec<String> = [
        "/console",
        "/console/users",
        "/console/users/alice@default",
        "/console/requests",
        "/console/clients",
        "/console/clients/vpn",
        "/console/policies",
        "/console/audit",
        "/console/health",
        "/console/account",
        "/console/stock",
    ]
    .map(str::to_owned)
    .into();
    for place in [
        "/console/users?q=",
        "/console/users?tab=",
        "/console/users?after=",
        "/console/users/",
        "/console/find?q=",
        "/console/clients/",
        "/console/policies/",
        "/console/policies?client=app&ip=&user=",
        "/console/draft?policy=",
        "/console/audit?user=",
        "/console/audit?since=",
        "/console/audit?nas=",
        "/console/why/",
        "/console/audit/",
        "/console?span=",
        "/console?done=",
        "/console/none/",
    ] {
        paths.push(format!("{place}{query}"));
    }
    paths.extend((1..=12).map(|seq| format!("/console/audit/{seq}")));
    paths
}

/// Writes it wherever something can be written; the serial of a token.
async fn written(console: &Console) -> String {
    let user = json!({
        "user": "alice", "display_name": EVIL, "groups": [EVIL], "class": EVIL,
        "password": "correct horse battery",
    });
    console.admin("POST", "/v1/admin/users", Some(user)).await;
    let client = json!({ "kind": "radius", "name": "vpn", "addresses": ["192.0.2.1"] });
    console
        .admin("POST", "/v1/admin/clients", Some(client))
        .await;
    let key = console.key("app", "verify").await;
    for (user, more) in [
        (EVIL, json!({})),
        ("alice", json!({ "context": { "app": EVIL } })),
    ] {
        let mut login = json!({ "user": user, "otp": "123456" });
        if let Some(context) = more.get("context") {
            login["context"] = context.clone();
        }
        ask(
            &console.pages,
            request("POST", "/v1/verify", Some(&key), Some(login)),
        )
        .await;
    }
    let token = json!({ "user": "alice", "kind": "totp", "active": true });
    let token = console.admin("POST", "/v1/admin/tokens", Some(token)).await;
    let serial = token["serial"].as_str().expect("a serial").to_owned();
    let until = console
        .service
        .core
        .now()
        .plus(Duration::from_hours(1))
        .rfc3339();
    let waiver = json!({ "reason": EVIL, "until": until });
    console
        .admin("PUT", "/v1/admin/users/alice/bypass", Some(waiver))
        .await;
    let outage = json!({ "for_secs": 600, "reason": EVIL });
    console.admin("PUT", "/v1/admin/outage", Some(outage)).await;
    let lend = json!({ "to": "kim@console", "until": until, "reason": EVIL });
    let lent = request("POST", "/v1/admin/delegations", None, Some(lend));
    ask(&console.local, lent).await;
    serial
}

/// What users, NAS and administrators can write anywhere is text on every page that shows it.
#[tokio::test]
async fn no_field_that_anyone_fills_in_becomes_markup() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    let session = {
        // The browser names itself.
        let code = console.code(&kim.uri);
        let form = [
            ("name", "kim"),
            ("password", "correct horse staple"),
            ("code", &code),
        ];
        let mut request = built("POST", "/console/sign-in", None, Some(&form));
        let headers = request.headers_mut();
        headers.insert("sec-fetch-site", "same-origin".parse().expect("a value"));
        headers.insert("user-agent", EVIL.parse().expect("a value"));
        cookie(&ask(&console.pages, request).await).expect("a session")
    };
    let serial = written(&console).await;
    let query = encoded(EVIL);
    let paths = paths(&query);
    let mut shown = 0;
    for path in &paths {
        let answer = console.get(path, Some(&session)).await;
        assert!(answer.status.as_u16() < 500, "{path}: {}", answer.status);
        let page = text(&answer);
        assert!(!page.contains("<img src=x"), "{path}");
        assert!(!page.contains("49\""), "{path}: no template reads it");
        shown += page.matches("&#60;img src=x").count();
    }
    assert!(shown > 12, "it is shown: {shown}");
    // The same in the answers of acts, and in what is sent again after a step-up.
    for (act, form) in [
        ("revoke", vec![("place", serial.as_str()), ("reason", EVIL)]),
        ("add_user", vec![("user", EVIL)]),
        (
            "set_user",
            vec![
                ("place", "alice"),
                ("display_name", EVIL),
                ("revision", EVIL),
            ],
        ),
        (
            "add_radius",
            vec![("name", EVIL), ("addresses", EVIL), ("profile", EVIL)],
        ),
        (EVIL, vec![]),
    ] {
        let mut path = "/console/act/".to_owned();
        path.push_str(if act == EVIL { &query } else { act });
        let answer = console.post(&path, &form, Some(&session)).await;
        assert!(answer.status.as_u16() < 500, "{act}: {}", answer.status);
        assert!(!text(&answer).contains("<img src=x"), "{act}");
    }
    // Own pages of the user.
    let page = text(&console.get("/me/sign-in", None).await);
    assert!(!page.contains("<img src=x"));
}

/// An upload is refused when it is too long, not when it ends.
#[tokio::test]
async fn an_upload_without_an_end_is_cut_off() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    let session = console.sign_in(&kim).await;
    let piece = Bytes::from(vec![b'a'; 1 << 16]);
    for (path, most) in [
        ("/console/import", 4 << 20),
        ("/console/act/set_draft", 4 << 20),
        ("/console/act/add_user", 1 << 17),
        ("/console/sign-in", 1 << 17),
        ("/me/sign-in", 1 << 17),
        ("/me/sign-in/device", 1 << 17),
        ("/console/look", 1 << 17),
    ] {
        let sent = Arc::new(AtomicUsize::new(0));
        let (count, piece) = (Arc::clone(&sent), piece.clone());
        // 100 MB, one piece after the other.
        let pieces = (0..1600).map(move |_| {
            count.fetch_add(piece.len(), Ordering::Relaxed);
            Ok::<_, std::io::Error>(piece.clone())
        });
        let mut request = built("POST", path, Some(&session), Some(&[]));
        request
            .headers_mut()
            .insert("sec-fetch-site", "same-origin".parse().expect("a value"));
        *request.body_mut() = Body::from_stream(futures_util::stream::iter(pieces));
        let answer = ask(&console.pages, request).await;
        assert!(
            [400, 413].contains(&answer.status.as_u16()),
            "{path}: {}",
            answer.status
        );
        let sent = sent.load(Ordering::Relaxed);
        assert!(sent <= most, "{path}: {sent} octets were read");
    }
}

/// Links of the console and of users end with their time.
#[tokio::test]
async fn a_link_that_ran_out_opens_nothing() {
    let console = Console::new();
    let made = console
        .admin("POST", "/v1/admin/console/link", Some(json!({})))
        .await;
    let code = made["code"].as_str().expect("a code");
    let form = [
        ("link", code),
        ("name", "kim"),
        ("password", "correct horse staple"),
        ("again", "correct horse staple"),
    ];
    console.clock.advance(Duration::from_mins(11));
    let late = console.post("/console/setup", &form, None).await;
    assert_eq!(late.status, 400, "{}", text(&late));
    let users = console.admin("GET", "/v1/admin/users", None).await;
    assert_eq!(users["users"], json!([]), "nothing is made");
}

/// A session lasts 15 minutes without a click, 12 hours in all; a code counts for grave acts for 5 minutes, and the
/// next one changes the cookie.
#[tokio::test]
async fn after_five_minutes_a_code_is_asked_for_again() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    let session = console.sign_in(&kim).await;
    console
        .admin("POST", "/v1/admin/users", Some(json!({ "user": "alice" })))
        .await;
    let act = async |session: &str, code: &str| {
        let form = [("user", "alice"), ("kind", "totp"), ("step_up", code)];
        console
            .post("/console/act/add_token", &form, Some(session))
            .await
    };
    assert_eq!(act(&session, "").await.status, 200);
    console.clock.advance(Duration::from_mins(5));
    let asked = act(&session, "").await;
    assert_eq!(asked.status, 401);
    assert!(text(&asked).contains("name=\"step_up\""));
    let wrong = act(&session, "000000").await;
    assert_eq!(wrong.status, 401);
    let tokens = console
        .admin("GET", "/v1/admin/tokens?user=alice", None)
        .await;
    assert_eq!(tokens["tokens"].as_array().map(Vec::len), Some(1));
    console.clock.advance(Duration::from_mins(1));
    let right = act(&session, &console.code(&kim.uri)).await;
    assert_eq!(right.status, 200, "{}", text(&right));
    let renewed = cookie(&right).expect("another cookie");
    assert_eq!(
        console.get("/console", Some(&session)).await.status,
        303,
        "the old one is void"
    );
    assert_eq!(act(&renewed, "").await.status, 200);
    console.clock.advance(Duration::from_mins(15));
    assert_eq!(console.get("/console", Some(&renewed)).await.status, 303);
}
