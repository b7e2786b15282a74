//! Sessions that end while something is sent: a form, an export, one change after the other.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use futures_util::future::join_all;
use http_body_util::BodyExt as _;
use oncegate::store::By;
use serde_json::json;
use tokio::time::timeout;

use super::me::{shown, signed_in, user};
use crate::support::app::{ask, request, send};
use crate::support::console::{Console, built, cookie, text};
use crate::support::desk::nothing;
use crate::support::slow::slowly;

fn posted(path: &str, form: &[(&str, &str)], session: &str) -> Request<Body> {
    let mut request = built("POST", path, Some(session), Some(form));
    let headers = request.headers_mut();
    headers.insert("sec-fetch-site", "same-origin".parse().expect("a value"));
    request
}

#[tokio::test]
async fn a_form_of_the_console_does_nothing_when_its_session_has_ended() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    let session = console.sign_in(&kim).await;
    let add = |name: &str| posted("/console/act/add_user", &[("user", name)], &session);
    let done = slowly(&console.pages, add("slow"), async {}).await;
    assert_eq!(done.headers["location"], "/console?done=add_user");
    let disabled = async {
        let off = json!({ "disabled": true });
        let path = "/v1/admin/users/kim@console";
        console.admin("PATCH", path, Some(off)).await;
    };
    let late = slowly(&console.pages, add("evil"), disabled).await;
    assert_eq!(late.status, 303, "{}", text(&late));
    assert_eq!(late.headers["location"], "/console/sign-in");
    for (name, status) in [("slow", 200), ("evil", 404)] {
        let path = format!("/v1/admin/users/{name}");
        let found = ask(&console.local, request("GET", &path, None, None)).await;
        assert_eq!(found.status, status, "{name}");
    }
}

/// The guard is where forms are read, whatever they do.
#[tokio::test]
async fn every_form_of_the_console_is_of_a_session_that_still_is() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    for path in [
        "/console/act/disable",
        "/console/act/import",
        "/console/import",
        "/console/account/end",
        "/console/printed",
    ] {
        let session = console.sign_in(&kim).await;
        let end = async {
            console.post("/console/sign-out", &[], Some(&session)).await;
        };
        let form = posted(path, &[("place", "alice@default")], &session);
        let late = slowly(&console.pages, form, end).await;
        assert_eq!(late.status, 303, "{path}: {}", text(&late));
        assert_eq!(late.headers["location"], "/console/sign-in", "{path}");
    }
}

#[tokio::test]
async fn a_form_of_self_service_does_nothing_when_its_session_has_ended() {
    let console = Console::new();
    let uri = user(&console, "alice", json!({})).await;
    let session = signed_in(&console, "alice", &uri).await;
    let before = shown(&console, "alice").await["language"].clone();
    let form = posted("/me/language", &[("language", "ko")], &session);
    let changed = async {
        let new = json!({ "display_name": "Alice Kim" });
        let path = "/v1/admin/users/alice";
        console.admin("PATCH", path, Some(new)).await;
    };
    let late = slowly(&console.pages, form, changed).await;
    assert_eq!(late.headers["location"], "/me/sign-in");
    assert_eq!(cookie(&late), None, "no session goes on");
    assert_eq!(shown(&console, "alice").await["language"], before);

    for path in [
        "/me/language",
        "/me/lost",
        "/me/device",
        "/me/device/name",
        "/me/contact",
        "/me/printed",
        "/me/pin",
        "/me/token",
        "/me/token/code",
        "/me/recovery",
        "/me/stock",
    ] {
        let session = signed_in(&console, "alice", &uri).await;
        let end = async {
            console.post("/me/sign-out", &[], Some(&session)).await;
        };
        let form = posted(path, &[("language", "ko")], &session);
        let late = slowly(&console.pages, form, end).await;
        assert_eq!(late.status, 303, "{path}: {}", text(&late));
        assert_eq!(late.headers["location"], "/me/sign-in", "{path}");
        assert_eq!(cookie(&late), None, "{path}");
    }
}

#[tokio::test]
async fn a_session_of_self_service_lasts_twelve_hours_whatever_is_changed_in_it() {
    let console = Console::new();
    let uri = user(&console, "alice", json!({})).await;
    let mut session = signed_in(&console, "alice", &uri).await;
    for _ in 0..51 {
        console.clock.advance(Duration::from_mins(14));
        let form = [("language", "ko")];
        let done = console.post("/me/language", &form, Some(&session)).await;
        assert_eq!(done.headers["location"], "/me");
        session = cookie(&done).expect("the session goes on");
    }
    assert_eq!(console.get("/me", Some(&session)).await.status, 200);
    console.clock.advance(Duration::from_mins(6));
    let late = console.get("/me", Some(&session)).await;
    assert_eq!(late.headers["location"], "/me/sign-in");
}

/// A browser takes its time for a long file.
#[tokio::test]
async fn an_export_is_broken_off_when_the_person_is_one_no_more() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    let session = console.sign_in(&kim).await;
    let store = console.service.core.store();
    for _ in 0..25 {
        let made = (0..100).map(|_| {
            let arrival = console.service.core.arrival().expect("random octets");
            store.change(nothing(), By::new("test".to_owned(), arrival))
        });
        for done in join_all(made).await {
            done.expect("a record");
        }
    }
    let path = "/console/audit/export?format=csv";
    let read = async || {
        let export = built("GET", path, Some(&session), None);
        send(&console.pages, export).await.into_body()
    };
    let whole = read().await.collect().await.expect("all of it").to_bytes();
    let lines = String::from_utf8_lossy(&whole).lines().count();
    assert!(lines > 2500, "{lines}");
    let mut part = read().await;
    part.frame().await.expect("a piece").expect("its octets");
    let off = json!({ "disabled": true });
    let path = "/v1/admin/users/kim@console";
    console.admin("PATCH", path, Some(off)).await;
    let rest = timeout(Duration::from_secs(10), part.collect()).await;
    assert!(rest.expect("an end").is_err(), "it does not look whole");
}
