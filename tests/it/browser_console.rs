//! The console in Chromium, against the real daemon: first run, every page in both languages, light and dark, on a
//! desktop and a telephone; accessible, under its content security policy, and without scripts.

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::support::daemon::Site;
use crate::support::{require, skip};

#[test]
fn an_administrator_works_a_day_in_the_browser() {
    let dir = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser"));
    if !require("node", "nodejs") || !require("chromium", "chromium") {
        return;
    }
    if !dir.join("node_modules/playwright-core").is_dir() {
        skip("no packages for the browser's tests (npm ci, in tests/browser)");
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
    let mut command = Command::new("node");
    command.arg("console.mjs").current_dir(dir);
    let output = command
        .env("ONCEGATE_BROWSER", told.to_string())
        .output()
        .unwrap();
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    assert!(
        output.status.success(),
        "{}{}{}",
        text(&output.stdout),
        text(&output.stderr),
        site.log()
    );
    // What was done in the browser is on record in the name of the person.
    let audit = site.json(&["audit", "list", "--action", "user_unlock", "--limit", "1"]);
    assert_eq!(audit["records"][0]["actor"], "kim@console");
}
