//! A store that was put back is noticed at the start, refused, and accepted by one option that closes every code.

use std::fs;

use serde_json::json;

use crate::support::codes::{hotp_of, secret_of};
use crate::support::copy;
use crate::support::daemon::{Site, command};
use crate::support::net::Http;

fn accepts(site: &Site, http: std::net::SocketAddr, key: &str, counter: u64) -> bool {
    let (status, heard) = Http::new(http, key)
        .verify("alice", &hotp_of("alice", counter))
        .unwrap();
    assert_eq!(status, 200, "{}", site.log());
    heard["decision"] == "accept"
}

#[test]
fn an_older_store_is_refused_and_accepted_without_a_code_that_was_used() {
    let site = Site::new();
    // Beside the installation: a directory that is put back whole is noticed, too.
    let beside = site.path().with_file_name("witness");
    let file = site.path().join("oncegate.toml");
    let config = fs::read_to_string(&file).unwrap();
    let named = format!("witness = [\"witness\", {:?}]\n", beside.to_str().unwrap());
    fs::write(
        &file,
        config.replace("[store]\n", &format!("[store]\n{named}")),
    )
    .unwrap();
    site.enrol("alice", "hotp", &secret_of("alice"));
    let key = site.api_client("app");
    assert!(site.serve().terminate().success());
    let old = site.path().with_file_name("old");
    copy(&site.path(), &old);
    let daemon = site.serve();
    assert!(accepts(&site, daemon.http, &key, 0));
    assert!(daemon.terminate().success());

    // The store alone, then the whole directory.
    for whole in [false, true] {
        if whole {
            fs::remove_dir_all(site.path()).unwrap();
            copy(&old, &site.path());
        } else {
            fs::remove_dir_all(site.path().join("store")).unwrap();
            copy(&old.join("store"), &site.path().join("store"));
        }
        let refused = site.try_serve().err().expect("it does not start");
        assert_eq!(refused.code(), Some(5), "{}", site.log());
        assert!(site.log().contains("was put back"), "{}", site.log());
        // No command decides on it either.
        let code = hotp_of("alice", 0);
        let output = site.run_with(&["verify", "alice", "--otp-stdin"], &code);
        assert_eq!(output.status.code(), Some(5));
    }
    let mut serve = command(&site.path());
    serve.args([
        "serve",
        "--radius",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--accept-rollback",
    ]);
    let daemon = site.started(&mut serve);
    assert!(!accepts(&site, daemon.http, &key, 0));
    assert!(!accepts(&site, daemon.http, &key, 1));
    let audit = site.json(&["audit", "list", "--action", "store_rollback"]);
    let records = audit["records"].as_array().unwrap();
    assert!(
        records.iter().any(|one| one["target"] == json!("store")),
        "{audit}"
    );
    assert_eq!(site.json(&["status"])["epoch"], 1);
    assert!(daemon.terminate().success());
    // From now on this is the present one, and the other copy is not.
    assert!(site.serve().terminate().success());
    fs::remove_dir_all(site.path().join("store")).unwrap();
    copy(&old.join("store"), &site.path().join("store"));
    assert_eq!(site.try_serve().err().and_then(|end| end.code()), Some(5));
}

#[test]
fn a_statement_about_another_store_is_named() {
    let (site, other) = (Site::new(), Site::new());
    assert!(site.serve().terminate().success());
    assert!(other.serve().terminate().success());
    let witness = site.path().join("witness");
    let own = fs::read_to_string(&witness).unwrap();
    for wrong in [
        fs::read(other.path().join("witness")).unwrap(),
        own.replace("epoch 0", "epoch 7").into_bytes(),
        Vec::new(),
        // No text any more.
        [own.as_bytes(), &[0xff]].concat(),
    ] {
        fs::write(&witness, wrong).unwrap();
        assert_eq!(site.try_serve().err().and_then(|end| end.code()), Some(5));
        assert!(site.log().contains("about another store"), "{}", site.log());
    }
    // A file that is gone keeps no one out, and is made again.
    fs::remove_file(&witness).unwrap();
    assert!(site.serve().terminate().success());
    assert_eq!(
        fs::read_to_string(&witness).unwrap().lines().next(),
        own.lines().next()
    );
}

/// Two installations of one store that name one file: the later one keeps the other from starting, whatever the other
/// writes before it ends.
#[test]
fn a_statement_about_a_newer_state_is_not_overwritten() {
    let (site, later) = (Site::new(), Site::empty());
    site.enrol("alice", "hotp", &secret_of("alice"));
    let file = site.path().with_file_name("backup");
    let (file, key) = (file.to_str().unwrap(), site.path().join("master.key"));
    site.json(&["backup", file]);
    later.json(&["restore", file, "--master-key", key.to_str().unwrap()]);
    assert!(later.serve().terminate().success());
    let newer = fs::read_to_string(later.path().join("witness")).unwrap();
    assert!(newer.contains("epoch 1"), "{newer}");

    let witness = site.path().join("witness");
    let daemon = site.serve();
    fs::write(&witness, &newer).unwrap();
    site.json(&["user", "add", "bob"]);
    assert!(daemon.terminate().success());
    assert_eq!(fs::read_to_string(&witness).unwrap(), newer);
    assert!(site.log().contains("newer state"), "{}", site.log());
    assert_eq!(site.try_serve().err().and_then(|end| end.code()), Some(5));
}
