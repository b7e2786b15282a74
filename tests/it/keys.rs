//! The master key exchanged while the daemon works, and an exchange that was killed at any moment.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::codes::{hotp_of, secret_of};
use crate::support::daemon::{Site, command};
use crate::support::net::Http;

fn key_of(site: &Site) -> PathBuf {
    site.path().join("master.key")
}

/// The former key of an exchange.
fn former(site: &Site) -> PathBuf {
    let entries = fs::read_dir(site.path()).unwrap();
    let mut names = entries.map(|entry| entry.unwrap().path());
    names
        .find(|path| path.to_string_lossy().contains("master.key.before-"))
        .expect("the former key stays beside the new one")
}

#[test]
fn a_new_master_key_opens_the_store_and_the_former_one_the_older_backups() {
    let site = Site::new();
    site.enrol("alice", "hotp", &secret_of("alice"));
    let key = site.api_client("app");
    let before = site.json(&["key", "status"]);
    assert_eq!(before["master_exchanged"], false, "{before}");
    assert!(before["master_since"].is_string() && before["data_since"].is_string());
    let daemon = site.serve();
    let old = fs::read(key_of(&site)).unwrap();
    let backup = site.path().with_file_name("backup");
    let backup = backup.to_str().unwrap();
    site.json(&["backup", backup]);
    let ended = AtomicBool::new(false);
    // Decisions go on meanwhile.
    let (done, codes) = std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let mut http = Http::new(daemon.http, &key);
            let mut counter = 0;
            while !ended.load(Ordering::Relaxed) || counter < 5 {
                let (status, heard) = http.verify("alice", &hotp_of("alice", counter)).unwrap();
                assert_eq!(
                    (status, &heard["decision"]),
                    (200, &"accept".into()),
                    "{heard}"
                );
                counter += 1;
            }
            counter
        });
        let done = site.json(&["key", "rotate"]);
        ended.store(true, Ordering::Relaxed);
        (done, asked.join().unwrap())
    });
    assert_eq!(done["file"], key_of(&site).to_str().unwrap());
    assert_ne!(fs::read(key_of(&site)).unwrap(), old);
    assert_eq!(fs::read(former(&site)).unwrap(), old);
    let status = site.json(&["key", "status"]);
    assert_eq!(status["master_exchanged"], true, "{status}");
    assert!(daemon.terminate().success());

    // The new one opens it, with the codes used as they were; the former one does not.
    let daemon = site.serve();
    let ask = |counter| {
        let mut http = Http::new(daemon.http, &key);
        http.verify("alice", &hotp_of("alice", counter)).unwrap().1["decision"].clone()
    };
    assert_eq!(
        (ask(codes - 1), ask(codes)),
        ("reject".into(), "accept".into())
    );
    assert!(daemon.terminate().success());
    assert_eq!(site.json(&["store", "verify"])["intact"], true);
    let new = fs::read(key_of(&site)).unwrap();
    let kept = former(&site);
    fs::write(key_of(&site), &old).unwrap();
    let output = site.run(&["user", "list"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("master key"));
    fs::write(key_of(&site), &new).unwrap();
    // Backups need the key of their time.
    for (key, code) in [(key_of(&site), 3), (kept, 0)] {
        let empty = Site::empty();
        let output = empty.run(&["restore", backup, "--master-key", key.to_str().unwrap()]);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// The daemon and the command are killed in the middle, at whatever moment: one of the two keys opens the store, and
/// the next start knows which.
#[test]
fn an_exchange_that_was_killed_leaves_a_store_that_opens() {
    let site = Site::new();
    site.enrol("alice", "hotp", &secret_of("alice"));
    for wait in [0, 2, 4, 6, 8, 10, 12, 15, 18, 25] {
        let mut daemon = site.serve();
        let mut rotate = command(&site.path())
            .args(["key", "rotate"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        daemon.kill();
        rotate.wait().unwrap();
    }
    assert!(site.serve().terminate().success(), "{}", site.log());
    // Both moments in which two files are there.
    if !site.path().join("master.key.new").exists() {
        site.json(&["key", "rotate"]);
    }
    let new = site.path().join("master.key.new");
    fs::rename(key_of(&site), &new).unwrap();
    fs::copy(former(&site), key_of(&site)).unwrap();
    assert!(site.serve().terminate().success(), "{}", site.log());
    assert!(
        !new.exists() && site.log().contains("was interrupted"),
        "{}",
        site.log()
    );
    // Left over before anything was sealed: it is made anew.
    fs::write(&new, "half").unwrap();
    site.json(&["key", "rotate"]);
    assert_eq!(site.json(&["store", "verify"])["intact"], true);
}

#[test]
fn a_key_from_the_environment_is_exchanged_on_a_stopped_daemon() {
    let site = Site::new();
    let config = site.path().join("oncegate.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(
        &config,
        text.replace("[keys]\n", "[keys]\nmaster = \"env:OG_TEST_KEY\"\n"),
    )
    .unwrap();
    let run = |words: &[&str], key: &str| {
        let mut command = command(&site.path());
        command
            .args(words)
            .env("OG_TEST_KEY", key)
            .output()
            .unwrap()
    };
    let old = fs::read_to_string(key_of(&site)).unwrap();
    let output = run(&["key", "rotate"], old.trim());
    assert_eq!(output.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&output.stderr).contains("key rotate --to"));
    let to = site.path().with_file_name("to.key");
    let output = run(&["key", "rotate", "--to", to.to_str().unwrap()], old.trim());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(run(&["user", "list"], old.trim()).status.code(), Some(3));
    let new = fs::read_to_string(&to).unwrap();
    assert!(run(&["user", "list"], new.trim()).status.success());
}
