//! A flood at one form for people who have no key is taken from its own share only.

use std::net::SocketAddr;
use std::time::Instant;

use axum::http::StatusCode;
use oncegate::server::http::Peer;

use crate::device::devices::CODE;
use crate::support::app::ask;
use crate::support::console::{Console, built, cookie, text};
use crate::support::device::Phone;

/// What is answered to this form when it is sent from there.
async fn sent(console: &Console, path: &str, form: &[(&str, &str)], from: &str) -> StatusCode {
    let mut request = built("POST", path, None, Some(form));
    let headers = request.headers_mut();
    headers.insert("sec-fetch-site", "same-origin".parse().expect("a value"));
    let peer: SocketAddr = from.parse().expect("an address");
    request.extensions_mut().insert(Peer(peer));
    ask(&console.pages, request).await.status
}

/// How many tries from there are looked at before one is not.
async fn looked_at(console: &Console, path: &str, from: &str) -> usize {
    let form = [("name", "nobody"), ("password", "wrong"), ("code", "y")];
    for number in 0..200 {
        match sent(console, path, &form, from).await {
            StatusCode::TOO_MANY_REQUESTS => return number,
            other => assert_eq!(other, 401, "{path}"),
        }
    }
    panic!("{path}: 200 tries of one address were looked at");
}

#[tokio::test]
async fn one_address_does_not_try_passwords_without_end() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    let (flood, other) = ("203.0.113.7:4000", "203.0.113.8:4000");
    let seq = || console.service.core.store().health().seq;
    let (began, before) = (Instant::now(), seq());
    let tries = looked_at(&console, "/console/sign-in", flood).await;
    let secs = usize::try_from(began.elapsed().as_secs()).expect("few");
    // 30 at once, and one more every two seconds that this takes.
    assert!((30..=31 + secs / 2).contains(&tries), "{tries} in {secs} s");
    // What is not looked at is not on record.
    assert!(seq() - before <= tries as u64);
    // Another address is let in, and so is this one at the other form: each has tries of its own.
    let code = console.code(&kim.uri);
    let form = [
        ("name", "kim"),
        ("password", "correct horse staple"),
        ("code", &code),
    ];
    let status = sent(&console, "/console/sign-in", &form, other).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    looked_at(&console, "/me/sign-in", flood).await;
    let phone = Phone::new(1);
    let mut enrol = phone
        .enrol(console.service.core.now(), "nobody", CODE)
        .request();
    let peer: SocketAddr = flood.parse().expect("an address");
    enrol.extensions_mut().insert(Peer(peer));
    let answer = ask(&console.pages, enrol).await;
    assert_ne!(answer.status, StatusCode::TOO_MANY_REQUESTS);
}

/// The page says what happened, and no session is begun.
#[tokio::test]
async fn who_tries_too_often_is_told_so() {
    let console = Console::new();
    looked_at(&console, "/console/sign-in", "127.0.0.1:40000").await;
    let mut said = false;
    // A share may come back in between.
    for _ in 0..5 {
        let form = [("name", "nobody"), ("password", "wrong"), ("code", "y")];
        let answer = console.post("/console/sign-in", &form, None).await;
        assert!(cookie(&answer).is_none());
        said |= text(&answer).contains("Too many attempts from your network");
    }
    assert!(said);
}
