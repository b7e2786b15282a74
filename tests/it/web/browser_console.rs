//! The console in Chromium, against the real daemon: first run, every page in both languages, light and dark, on a
//! desktop and a telephone; accessible, under its content security policy, and without scripts.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use oncegate::server::http::serve_tcp;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::support::console::Console;
use crate::support::daemon::{NO_DELAY, Site};
use crate::support::require;
use crate::web::browser_app::{browser, node};

#[test]
fn a_whole_day_from_the_first_link_to_the_audit_export() {
    if browser().is_none() || !require("radclient", "freeradius-utils") {
        return;
    }
    let site = Site::new();
    // Locked at the third failure, without waits before.
    let policy = format!("{NO_DELAY}[lockout]\nfree = 3\nlock_after = 3\n");
    std::fs::write(site.path().join("policies/default.toml"), policy).expect("written");
    let daemon = site.serve_with(&[
        ("ONCEGATE__WEB__EDIT_POLICIES", "true"),
        ("ONCEGATE__HTTP__PUBLIC_URL", "http://localhost"),
    ]);
    let base = format!("http://{}", daemon.http);
    let link = |words: &[&str]| {
        let made = site.json(&[&["console-link"], words].concat());
        let link = made["link"].as_str().expect("a link");
        link.replace("http://localhost", &base)
    };
    let out = concat!(env!("CARGO_MANIFEST_DIR"), "/target/pictures");
    let told = json!({
        "base": base, "radius": daemon.radius.to_string(), "out": out,
        "links": { "kim": link(&[]), "lee": link(&["--for", "lee", "--role", "approver"]) },
    });
    node(&["day.mjs"], &[("ONCEGATE_BROWSER", told.to_string())]);
}

#[test]
fn an_administrator_works_a_day_in_the_browser() {
    if browser().is_none() {
        return;
    }
    let site = Site::new();
    let daemon = site.serve();
    let base = format!("http://{}", daemon.http);
    let key = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    site.enrol("alice", "totp", key);
    let words = [
        "user",
        "set",
        "alice",
        "--group",
        "staff",
        "--email",
        "alice@example.com",
    ];
    site.json(&words);
    for user in ["bora", "chul", "dana"] {
        site.json(&["user", "add", user, "--group", "staff"]);
    }
    site.json(&["user", "disable", "dana"]);
    site.radius_client("vpn", "a long shared secret of a gateway");
    let api = site.api_client("payroll");
    let link = site.json(&["console-link"]);
    let link = link["link"].as_str().expect("a link").to_owned();
    let out = concat!(env!("CARGO_MANIFEST_DIR"), "/target/pictures");
    let told = json!({
        "base": base, "link": link, "api": api, "out": out, "key": key,
    });
    node(&["console.mjs"], &[("ONCEGATE_BROWSER", told.to_string())]);
    // What was done in the browser is on record in the name of the person.
    let audit = site.json(&["audit", "list", "--action", "user_unlock", "--limit", "1"]);
    assert_eq!(audit["records"][0]["actor"], "kim@console");
}

/// The clock of the server is moved while the browser waits: five minutes after a code a grave act asks for another.
#[tokio::test]
async fn a_grave_act_asks_for_a_code_after_five_minutes() {
    let Some(dir) = browser() else { return };
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    let user = serde_json::json!({ "user": "alice" });
    console.admin("POST", "/v1/admin/users", Some(user)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let (app, stop) = (Arc::clone(&console.app), CancellationToken::new());
    let places = Arc::new(Semaphore::new(64));
    let served = tokio::spawn(serve_tcp(listener, None, app, places, stop.clone()));
    let out = concat!(env!("CARGO_MANIFEST_DIR"), "/target/pictures");
    let mut program = tokio::process::Command::new("node")
        .arg("step_up.mjs")
        .current_dir(dir)
        .env(
            "ONCEGATE_BROWSER",
            json!({ "base": base, "out": out }).to_string(),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node");
    let mut answers = program.stdin.take().expect("a pipe");
    let mut lines = BufReader::new(program.stdout.take().expect("a pipe")).lines();
    while let Some(line) = lines.next_line().await.expect("a line") {
        let answer = match line.as_str() {
            "code" => console.code(&kim.uri),
            "later" => {
                console.clock.advance(Duration::from_mins(5));
                "done".to_owned()
            }
            other => panic!("{other}"),
        };
        let line = format!("{answer}\n");
        answers.write_all(line.as_bytes()).await.expect("written");
    }
    assert!(program.wait().await.expect("its end").success());
    stop.cancel();
    served.await.expect("no panic");
}
