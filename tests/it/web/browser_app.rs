//! The authenticator of the browser (`/app`) on Chromium of a telephone's size, against the real daemon.

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::support::daemon::Site;
use crate::support::{require, skip};

/// The directory of the browser's tests, where their packages are installed.
pub(crate) fn browser() -> Option<PathBuf> {
    let dir = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser"));
    if !require("node", "nodejs") || !require("chromium", "chromium") {
        return None;
    }
    if !dir.join("node_modules/playwright-core").is_dir() {
        skip("no packages for the browser's tests (npm ci, in tests/browser)");
        return None;
    }
    Some(dir)
}

/// Runs a program of node there; its output is the message when it fails.
pub(crate) fn node(words: &[&str], env: &[(&str, String)]) {
    let Some(dir) = browser() else { return };
    let mut command = Command::new("node");
    command.args(words).current_dir(dir);
    let output = command.envs(env.iter().cloned()).output().unwrap();
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    assert!(
        output.status.success(),
        "{words:?}: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

#[test]
fn a_telephone_enrols_by_link_logs_in_and_moves() {
    if browser().is_none() {
        return;
    }
    let site = Site::new();
    let strict =
        "[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n[enrolment]\nactivate = \"confirm\"\n";
    std::fs::write(site.path().join("policies/strict.toml"), strict).expect("written");
    let daemon = site.serve_with(&[("ONCEGATE__HTTP__PUBLIC_URL", "http://localhost")]);
    let base = format!("http://{}", daemon.http);
    let offer = |user: &str| {
        let token = site.json(&["token", "add", user, "--kind", "server"]);
        let serial = token["serial"].as_str().unwrap();
        site.json(&["token", "offer", serial])
    };
    let link = |user: &str| {
        site.json(&["user", "add", user]);
        // What a telephone's camera reads leads to this server's page.
        let offered = offer(user);
        let read = offered["enrol_uri"].as_str().unwrap();
        let path = read.strip_prefix("http://localhost").unwrap();
        assert!(path.starts_with("/app/#user="), "{path}");
        format!("{base}{path}")
    };
    let links = json!({ "alice": link("alice"), "bo": link("bo") });
    site.json(&["user", "add", "cho"]);
    site.json(&["user", "add", "dae"]);
    // Open beside the telephone's own.
    offer("alice");
    let out = concat!(env!("CARGO_MANIFEST_DIR"), "/target/pictures");
    let told = json!({
        "base": base, "api": site.api_client("web"), "out": out, "links": links,
        "admin": site.admin_key,
    });
    node(&["app.mjs"], &[("ONCEGATE_BROWSER", told.to_string())]);
}

#[test]
fn the_scripts_of_the_telephone_have_their_types() {
    let common = [
        "node_modules/typescript/bin/tsc",
        "--allowJs",
        "--checkJs",
        "--strict",
        "--noEmit",
        "--target",
        "es2023",
        "--module",
        "esnext",
        "--moduleResolution",
        "bundler",
        "--moduleDetection",
        "force",
        "--types",
        "",
    ];
    for (libraries, file) in [
        ("es2023,dom,dom.iterable", "../../src/web/app/main.js"),
        ("es2023,webworker", "../../src/web/app/sw.js"),
    ] {
        node(&[&common[..], &["--lib", libraries, file]].concat(), &[]);
    }
}

#[test]
fn people_help_themselves() {
    if browser().is_none() {
        return;
    }
    let site = Site::new();
    let (password, pin) = ("correct horse battery", "48151623");
    let secrets = [
        ("alice", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"),
        ("bo", "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"),
        ("cho", "KRSXG5CTMVRXEZLUKRSXG5CTMVRXEZLU"),
        ("dan", "MFRGGZDFMZTWQ2LKMFRGGZDFMZTWQ2LK"),
    ];
    for (user, secret) in secrets {
        site.enrol(user, "hotp", secret);
        site.json_with(&["user", "set", user, "--password-stdin"], password);
        site.json_with(&["user", "set", user, "--pin-stdin"], pin);
        let mail = format!("{user}@example.com");
        let contacts = ["--phone", "+821012345678", "--email", &mail];
        site.json(
            &[
                &["user", "set", user][..],
                &contacts,
                &["--remote-issue", "true"],
            ]
            .concat(),
        );
    }
    let daemon = site.serve();
    let out = concat!(env!("CARGO_MANIFEST_DIR"), "/target/pictures");
    let told = json!({
        "base": format!("http://{}", daemon.http), "out": out, "password": password, "pin": pin,
        "secrets": std::collections::BTreeMap::from(secrets), "admin": site.admin_key,
    });
    node(&["me.mjs"], &[("ONCEGATE_BROWSER", told.to_string())]);
}
