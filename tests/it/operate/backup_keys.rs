//! Keys that the restored store does not have, or only as those of tokens that are over: what was used of them is not
//! good again when they are enrolled once more.

use std::fs;

use serde_json::{Value, json};

use super::backup::{backup, decision, restored, text, totp};
use crate::support::codes::{hotp_of, secret_of};
use crate::support::copy;
use crate::support::daemon::{Daemon, Site, command};

/// Adds alice's key to a user, to be in use at once.
fn added(site: &Site, user: &str, kind: &str, serial: &str) -> Value {
    let words = [
        "token",
        "add",
        user,
        "--kind",
        kind,
        "--active",
        "--serial",
        serial,
        "--secret-stdin",
    ];
    site.json_with(&words, &secret_of("alice"))
}

/// It waits for two codes, and says so.
fn waits(made: &Value) {
    assert_eq!(made["state"], "pending", "{made}");
    assert!(made["store_repaired"].is_string(), "{made}");
    assert!(made["refused_until"].is_null(), "{made}");
    let said = made["warnings"].to_string();
    assert!(said.contains("oncegate token resync HOTP-A"), "{made}");
}

fn asked(daemon: &Daemon, key: &str, user: &str, code: &str) -> Value {
    let body = json!({ "user": user, "otp": code });
    decision(daemon, key, &body)["decision"].clone()
}

fn two(first: u64) -> String {
    format!(
        "{}\n{}\n",
        hotp_of("alice", first),
        hotp_of("alice", first + 1)
    )
}

#[test]
fn a_key_that_was_added_behind_the_record_goes_on_behind_its_used_codes() {
    let site = Site::new();
    let key = site.api_client("app");
    site.json(&["user", "add", "alice"]);
    let at = site.json(&["audit", "list", "--limit", "1"])["records"][0]["seq"].clone();
    assert_eq!(added(&site, "alice", "hotp", "HOTP-A")["state"], "active");
    let daemon = site.serve();
    for counter in 0..3 {
        let code = hotp_of("alice", counter);
        assert_eq!(asked(&daemon, &key, "alice", &code), "accept");
    }
    assert!(daemon.terminate().success());
    // One that was made, used and removed behind the record is known by what is kept of it.
    let words = ["token", "add", "alice", "--kind", "hotp", "--active"];
    let words = [&words[..], &["--serial", "HOTP-B", "--secret-stdin"]].concat();
    site.json_with(&words, &secret_of("other"));
    let code = hotp_of("other", 4);
    let verified = site.run_with(&["verify", "alice", "--otp-stdin"], &code);
    assert!(verified.status.success(), "{}", text(&verified));
    site.json(&["token", "remove", "HOTP-B", "--yes"]);

    let (file, _) = backup(&site, "backup");
    let (again, done) = restored(&file, &site, &["--at", &at.to_string()]);
    assert_eq!(done["used_later"], 2, "{done}");
    let made = added(&again, "alice", "hotp", "HOTP-A");
    waits(&made);
    assert_eq!(made["last_step"], 2, "{made}");
    let other = again.json_with(&words, &secret_of("other"));
    assert_eq!(other["last_step"], 4, "{other}");
    let daemon = again.serve();
    for counter in 0..4 {
        let code = hotp_of("alice", counter);
        assert_eq!(asked(&daemon, &key, "alice", &code), "reject", "{counter}");
    }
    let unlock = || again.run(&["user", "unlock", "alice"]);
    unlock();
    let resync = ["token", "resync", "HOTP-A", "--otp-stdin"];
    let refused = again.run_with(&resync, &two(1));
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    unlock();
    again.json_with(&resync, &two(3));
    let proof = hotp_of("alice", 5);
    let confirmed = again.run(&["token", "confirm", "HOTP-A", "--otp", &proof]);
    assert!(confirmed.status.success(), "{}", text(&confirmed));
    assert_eq!(asked(&daemon, &key, "alice", &proof), "reject");
    let next = hotp_of("alice", 6);
    assert_eq!(asked(&daemon, &key, "alice", &next), "accept");
    // A key that is made here is new.
    let words = ["token", "add", "alice", "--kind", "hotp", "--active"];
    assert_eq!(again.json(&words)["state"], "active");
    assert!(daemon.terminate().success());
}

/// The restored store has the token of before: it is behind what was used under the other serial.
#[test]
fn a_key_that_was_used_under_another_serial_behind_the_record_goes_on_behind_its_used_codes() {
    let site = Site::new();
    let key = site.api_client("app");
    site.json(&["user", "add", "alice"]);
    added(&site, "alice", "hotp", "HOTP-A");
    let daemon = site.serve();
    let accepted = |daemon: &Daemon, counter| {
        let code = hotp_of("alice", counter);
        assert_eq!(asked(daemon, &key, "alice", &code), "accept", "{counter}");
    };
    accepted(&daemon, 0);
    let at = site.json(&["audit", "list", "--limit", "1"])["records"][0]["seq"].clone();
    site.json(&["token", "remove", "HOTP-A", "--yes"]);
    added(&site, "alice", "hotp", "HOTP-B");
    for counter in 1..4 {
        accepted(&daemon, counter);
    }
    // The serial is that of another key in the end.
    site.json(&["token", "remove", "HOTP-B", "--yes"]);
    let words = ["token", "add", "alice", "--kind", "hotp", "--active"];
    let words = [&words[..], &["--serial", "HOTP-B", "--secret-stdin"]].concat();
    site.json_with(&words, &secret_of("other"));
    assert!(daemon.terminate().success());

    let (file, _) = backup(&site, "backup");
    let (again, _) = restored(&file, &site, &["--at", &at.to_string()]);
    let shown = again.json(&["token", "show", "HOTP-A"]);
    assert_eq!(shown["last_step"], 3, "{shown}");
    assert_eq!(shown["state"], "suspended", "{shown}");
    assert_eq!(again.json(&["store", "verify"])["intact"], true);
    let unlock = || again.run(&["user", "unlock", "alice"]);
    let resync = ["token", "resync", "HOTP-A", "--otp-stdin"];
    for used in 1..3 {
        let refused = again.run_with(&resync, &two(used));
        assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
        unlock();
    }
    again.json_with(&resync, &two(4));
    again.json(&["token", "resume", "HOTP-A"]);
    let daemon = again.serve();
    let used = hotp_of("alice", 3);
    assert_eq!(asked(&daemon, &key, "alice", &used), "reject");
    accepted(&daemon, 6);
    assert!(daemon.terminate().success());

    // Removed as it is, it leaves what was used to the next token with the key.
    let (again, _) = restored(&file, &site, &["--at", &at.to_string()]);
    again.json(&["token", "remove", "HOTP-A", "--yes"]);
    let made = added(&again, "alice", "hotp", "HOTP-C");
    assert_eq!(made["last_step"], 3, "{made}");
}

#[test]
fn the_key_of_a_token_that_had_ended_is_not_enrolled_again() {
    let site = Site::new();
    let key = site.api_client("app");
    site.json(&["user", "add", "alice"]);
    added(&site, "alice", "hotp", "HOTP-A");
    let daemon = site.serve();
    let accepted = |counter| {
        let code = hotp_of("alice", counter);
        assert_eq!(asked(&daemon, &key, "alice", &code), "accept", "{counter}");
    };
    accepted(0);
    site.json(&["token", "revoke", "HOTP-A"]);
    let (file, _) = backup(&site, "backup");
    site.json(&["token", "remove", "HOTP-A", "--yes"]);
    added(&site, "alice", "hotp", "HOTP-B");
    accepted(1);
    accepted(2);
    drop(daemon);

    let (again, done) = restored(&file, &site, &[]);
    // It lets no one in as it is.
    assert!(!done["closed"].to_string().contains("HOTP-A"), "{done}");
    let shown = again.json(&["token", "show", "HOTP-A"]);
    assert!(shown["store_repaired"].is_null(), "{shown}");
    again.json(&["token", "remove", "HOTP-A", "--yes"]);
    let words = ["token", "add", "alice", "--kind", "hotp", "--active"];
    let words = [&words[..], &["--serial", "HOTP-C", "--secret-stdin"]].concat();
    let refused = again.run_with(&words, &secret_of("alice"));
    assert_eq!(refused.status.code(), Some(5), "{}", text(&refused));
    assert!(text(&refused).contains("a new key"), "{}", text(&refused));
    let daemon = again.serve();
    for counter in 1..3 {
        let code = hotp_of("alice", counter);
        assert_eq!(asked(&daemon, &key, "alice", &code), "reject", "{counter}");
    }
    assert!(daemon.terminate().success());
}

#[test]
fn a_time_based_key_that_was_added_after_the_backup_is_refused_as_long_as_the_others() {
    let site = Site::new();
    let key = site.api_client("app");
    site.json(&["user", "add", "alice"]);
    let (file, _) = backup(&site, "backup");
    added(&site, "alice", "totp", "TOTP-A");
    let daemon = site.serve();
    let code = totp("alice");
    assert_eq!(asked(&daemon, &key, "alice", &code), "accept");
    assert!(daemon.terminate().success());

    let (again, _) = restored(&file, &site, &[]);
    let made = added(&again, "alice", "totp", "TOTP-A");
    assert!(made["refused_until"].is_string(), "{made}");
    let said = made["warnings"].to_string();
    assert!(said.contains("refused until"), "{made}");
    let daemon = again.serve();
    for code in [code, totp("alice")] {
        assert_eq!(asked(&daemon, &key, "alice", &code), "reject");
    }
    // A key that is made here is new.
    let made = again.json(&["token", "add", "alice", "--kind", "totp"]);
    assert!(made["refused_until"].is_null(), "{made}");
    assert!(daemon.terminate().success());
}

/// A lost record may have given a token in stock to a user.
#[test]
fn a_token_in_stock_is_closed_like_those_of_users() {
    let site = Site::new();
    let key = site.api_client("app");
    site.json(&["user", "add", "alice"]);
    site.json(&["user", "add", "bob"]);
    added(&site, "alice", "hotp", "HOTP-A");
    site.json(&["token", "unassign", "HOTP-A"]);
    let (file, _) = backup(&site, "backup");
    let assign = ["token", "assign", "HOTP-A", "bob"];
    let at_once = [&assign[..], &["--active"]].concat();
    site.json(&at_once);
    let daemon = site.serve();
    for counter in 0..2 {
        let code = hotp_of("alice", counter);
        assert_eq!(asked(&daemon, &key, "bob", &code), "accept");
    }
    assert!(daemon.terminate().success());

    let (again, done) = restored(&file, &site, &[]);
    assert!(done["closed"].to_string().contains("HOTP-A"), "{done}");
    let audit = again.json(&["audit", "list", "--action", "store_restore"]);
    assert!(audit.to_string().contains("tokens in stock"), "{audit}");
    assert_eq!(again.json(&["store", "verify"])["intact"], true);
    let refused = again.run(&at_once);
    assert_eq!(refused.status.code(), Some(5), "{}", text(&refused));
    assert!(text(&refused).contains("resync"), "{}", text(&refused));
    // The first right code of its owner is none.
    assert_eq!(again.json(&assign)["state"], "pending");
    let daemon = again.serve();
    for counter in 0..2 {
        let code = hotp_of("alice", counter);
        assert_eq!(asked(&daemon, &key, "bob", &code), "reject", "{counter}");
    }
    again.json(&["token", "unassign", "HOTP-A"]);
    again.run(&["user", "unlock", "bob"]);
    let proven = [&assign[..], &["--otp-stdin"]].concat();
    assert_eq!(again.json_with(&proven, &two(4))["state"], "active");
    let (last, next) = (hotp_of("alice", 5), hotp_of("alice", 6));
    assert_eq!(asked(&daemon, &key, "bob", &last), "reject");
    assert_eq!(asked(&daemon, &key, "bob", &next), "accept");
    assert!(daemon.terminate().success());
}

#[test]
fn a_key_that_is_added_after_an_accepted_rollback_or_a_repair_waits_for_two_codes() {
    for repair in [false, true] {
        let site = Site::new();
        let key = site.api_client("app");
        site.json(&["user", "add", "alice"]);
        assert!(site.serve().terminate().success());
        let (store, old) = (
            site.path().join("store"),
            site.path().with_file_name("older"),
        );
        copy(&store, &old);
        added(&site, "alice", "hotp", "HOTP-A");
        let daemon = site.serve();
        let code = hotp_of("alice", 0);
        assert_eq!(asked(&daemon, &key, "alice", &code), "accept");
        assert!(daemon.terminate().success());
        fs::remove_dir_all(&store).unwrap();
        copy(&old, &store);
        let daemon = if repair {
            // What is known of it outside is gone as well.
            fs::remove_file(site.path().join("witness")).unwrap();
            fs::remove_file(store.join("head")).unwrap();
            let repaired = site.run(&["store", "verify", "--repair"]);
            assert_eq!(repaired.status.code(), Some(1), "{}", text(&repaired));
            site.serve()
        } else {
            let mut serve = command(&site.path());
            serve.args(["serve", "--radius", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
            site.started(serve.arg("--accept-rollback"))
        };
        waits(&added(&site, "alice", "hotp", "HOTP-A"));
        assert_eq!(asked(&daemon, &key, "alice", &code), "reject", "{repair}");
        assert!(daemon.terminate().success());
    }
}
