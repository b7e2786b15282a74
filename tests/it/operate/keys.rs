//! The master key exchanged while the daemon works, and an exchange that was killed at any moment.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
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
    let status = site.json(&["status"]);
    let accepts = status["last_hour"]["accepts"].as_array().unwrap();
    let accepts: u64 = accepts.iter().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(accepts, codes, "{status}");
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

/// Both moments of an exchange in which two files are there (`drills` kills at all of them).
#[test]
fn an_exchange_that_was_interrupted_leaves_a_store_that_opens() {
    let site = Site::new();
    site.enrol("alice", "hotp", &secret_of("alice"));
    site.json(&["key", "rotate"]);
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

/// How far the exchange of the data key is; `None`: every secret is sealed by the newest one.
fn resealing(site: &Site) -> (u64, Option<(u64, u64)>) {
    let status = site.json(&["key", "status"]);
    let number = |name: &str| status[name].as_u64();
    let number_of = number("data_number").unwrap();
    (number_of, number("data_sealed").zip(number("data_secrets")))
}

/// Under load, killed at every stage: no login fails but those whose daemon was killed, what was used stays used, and
/// in the end nothing is sealed by the former key.
#[test]
fn a_data_key_is_exchanged_under_load_and_killed_at_every_stage() {
    const PEOPLE: usize = 1500;
    let site = Site::new();
    site.enrol("alice", "hotp", &secret_of("alice"));
    let mut csv = String::from("user,phone,secret\n");
    for number in 0..PEOPLE {
        let secret = secret_of(&format!("{number:04}"));
        let _ = writeln!(csv, "p{number},+82 10 1234 {number:04},{secret}");
    }
    let file = site.path().with_file_name("people.csv");
    fs::write(&file, csv).unwrap();
    site.json(&["user", "import", file.to_str().unwrap()]);
    let key = site.api_client("app");
    assert_eq!(resealing(&site), (0, None));
    let mut daemon = site.serve();
    let done = site.json(&["key", "rotate", "--data"]);
    assert_eq!(done["number"], 1, "{done}");
    let (mut counter, mut seen) = (0, Vec::new());
    // The last round is not killed: it ends.
    for wait in [0, 4, 12, 30, u64::MAX] {
        let is_killed = wait != u64::MAX;
        if is_killed {
            std::thread::sleep(Duration::from_millis(wait));
            daemon.kill();
            daemon = site.serve();
        }
        loop {
            // Logins, each of which is accepted while its secret is moved from one key to the other.
            let mut http = Http::new(daemon.http, &key);
            let code = hotp_of("alice", counter);
            for decision in ["accept", "reject"] {
                let (status, heard) = http.verify("alice", &code).unwrap();
                assert_eq!(
                    (status, &heard["decision"]),
                    (200, &decision.into()),
                    "{heard}"
                );
            }
            counter += 1;
            let (number, left) = resealing(&site);
            assert_eq!(number, 1);
            let Some((sealed, all)) = left else { break };
            assert!(sealed <= all, "{sealed} of {all}");
            seen.push(sealed);
            if is_killed {
                break;
            }
        }
    }
    assert!(!seen.is_empty(), "it was killed while it worked");
    assert!(seen.is_sorted(), "what was sealed stays sealed: {seen:?}");
    assert!(daemon.terminate().success());
    let report = site.json(&["store", "verify"]);
    assert_eq!(report["intact"], true, "{report}");
    // Personal data opens under the keys that were sealed again.
    let person = site.json(&["user", "show", "p7"]);
    assert!(person["phone"].as_str().unwrap().contains("10"), "{person}");
    // The master key can be exchanged above both, and a second exchange begins.
    site.json(&["key", "rotate"]);
    assert_eq!(site.json(&["key", "rotate", "--data"])["number"], 2);
    let (number, left) = resealing(&site);
    let (sealed, all) = left.unwrap();
    assert_eq!(number, 2);
    assert!(sealed < all && all > PEOPLE as u64, "{sealed} of {all}");
    // Nothing can be exchanged a third time meanwhile.
    let again = site.run(&["key", "rotate", "--data"]);
    assert_eq!(again.status.code(), Some(5));
    // main.redb anew from the journal, whose records hold secrets of three keys.
    fs::remove_file(site.path().join("store/main.redb")).unwrap();
    site.json(&["store", "verify", "--repair"]);
    let code = hotp_of("alice", counter);
    let mut words = vec!["--json", "verify", "alice", "--otp-stdin"];
    words.extend(["--client", "app"]);
    let answer = site.run_with(&words, &format!("{code}\n"));
    assert!(
        answer.status.success(),
        "{}",
        String::from_utf8_lossy(&answer.stderr)
    );
}

/// Shares of the master key: any three of five make it again, and what does not is named.
#[test]
fn a_master_key_is_split_for_the_safe_and_made_again() {
    let site = Site::new();
    let out = site.path().with_file_name("shares");
    fs::create_dir(&out).unwrap();
    let words = ["key", "export", "--shares", "5", "--threshold", "3"];
    let made = site.json(&[&words[..], &["--out", out.to_str().unwrap()]].concat());
    assert_eq!(made["files"].as_array().unwrap().len(), 5, "{made}");
    assert_eq!(
        made["shares"],
        serde_json::json!([]),
        "what is in files is not shown"
    );
    let share = |number: usize| {
        let file = out.join(format!("share-{number}-of-5.txt"));
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        fs::read_to_string(file).unwrap()
    };
    let to = site.path().with_file_name("made.key");
    let import = |text: &str| {
        let words = ["key", "import", "--to", to.to_str().unwrap()];
        let output = site.run_with(&words, text);
        let said = [&output.stdout[..], &output.stderr].concat();
        (
            output.status.code().unwrap(),
            String::from_utf8(said).unwrap(),
        )
    };
    let (code, said) = import(&[share(1), share(4)].concat());
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("2 of the 3 shares that are needed: number 1, 4 of 5"),
        "{said}"
    );
    let other = site.json(&words)["shares"][1].as_str().unwrap().to_owned();
    let (code, said) = import(&format!("{}{}{other}", share(1), share(3)));
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("split at different times"), "{said}");
    let (code, said) = import("\u{0}\u{1b}[2J nothing\n");
    assert_eq!(code, 2, "{said}");
    assert!(!to.exists());
    let (code, said) = import(&[share(5), share(2), share(3)].concat());
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("It is the key that this installation uses"),
        "{said}"
    );
    assert_eq!(fs::read(&to).unwrap(), fs::read(key_of(&site)).unwrap());
    assert_eq!(import(&share(1)).0, 5, "what is there is not overwritten");
    for (words, about) in [
        (["3", "4"], "could never be made again"),
        (["1", "1"], "2.."),
        (["300", "2"], "255"),
    ] {
        let all = [
            "key",
            "export",
            "--shares",
            words[0],
            "--threshold",
            words[1],
        ];
        let output = site.run(&all);
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(about), "{said}");
    }
    // The key that was made opens a backup.
    let backup = site.path().with_file_name("backup");
    site.json(&["backup", backup.to_str().unwrap()]);
    let empty = Site::empty();
    empty.json(&[
        "restore",
        backup.to_str().unwrap(),
        "--master-key",
        to.to_str().unwrap(),
    ]);
}

/// main.redb of before an exchange, with the journal of after it: the key is found in the copy beside it.
#[test]
fn an_older_file_that_was_put_back_loses_no_data_key() {
    let site = Site::new();
    site.enrol("alice", "hotp", &secret_of("alice"));
    site.api_client("app");
    let main = site.path().join("store/main.redb");
    let old = fs::read(&main).unwrap();
    assert_eq!(site.json(&["key", "rotate", "--data"])["number"], 1);
    site.enrol("bob", "hotp", &secret_of("bob"));
    fs::write(&main, old).unwrap();
    for user in ["alice", "bob"] {
        let words = ["verify", user, "--client", "app", "--otp-stdin"];
        let output = site.run_with(&words, &format!("{}\n", hotp_of(user, 0)));
        assert!(
            output.status.success(),
            "{user}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert_eq!(resealing(&site).0, 1);
    assert_eq!(site.json(&["store", "verify"])["intact"], true);
}

fn said(output: &std::process::Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// A backup of before an exchange, restored where `keys.master` gives the newer key.
#[test]
fn a_restore_with_a_former_key_says_how_that_comes_to_its_place() {
    let site = Site::new();
    let backup = site.path().with_file_name("backup");
    let backup = backup.to_str().unwrap();
    site.json(&["backup", backup]);
    site.json(&["key", "rotate"]);
    let store = site.path().join("store");
    let kept = former(&site);
    let restore = |env: Option<&str>| {
        fs::remove_dir_all(&store).unwrap();
        let mut restore = command(&site.path());
        restore.args(["restore", backup, "--master-key", kept.to_str().unwrap()]);
        restore.envs(env.map(|place| ("ONCEGATE__KEYS__MASTER", place)));
        let output = restore.output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    for (env, part) in [
        (
            Some("env:THE_KEY"),
            "environment variable THE_KEY of the daemon",
        ),
        (Some("credential:the-key"), "credential the-key"),
        (None, "master.key (mode 0600"),
    ] {
        let told = restore(env);
        for part in ["keys.master", kept.to_str().unwrap(), part, " serve --dir "] {
            assert!(told.contains(part), "no `{part}` in {told}");
        }
    }
    // As it says: nothing starts before, and the store opens after.
    assert_eq!(site.try_serve().err().and_then(|end| end.code()), Some(3));
    assert!(
        site.log().contains("key import --to FILE"),
        "{}",
        site.log()
    );
    fs::rename(key_of(&site), site.path().join("newer.key")).unwrap();
    fs::copy(&kept, key_of(&site)).unwrap();
    assert!(site.serve().terminate().success(), "{}", site.log());
    let told = restore(None);
    assert!(!told.contains("keys.master"), "{told}");
}

/// No backup holds the key, and `init` need not have made the one that is in use.
#[test]
fn a_master_key_that_is_missing_has_a_remedy_that_works() {
    let site = Site::new();
    site.json(&["key", "rotate"]);
    fs::rename(key_of(&site), site.path().with_file_name("safe")).unwrap();
    for words in [&["doctor"][..], &["user", "list"]] {
        let output = site.run(words);
        assert_ne!(output.status.code(), Some(0));
        // Pages are wrapped.
        let told = said(&output);
        let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in ["the safe", "key import --to FILE"] {
            assert!(told.contains(part), "no `{part}` in {told}");
        }
        let wrong = ["restore it from a backup", "`oncegate init` wrote"];
        assert!(!wrong.iter().any(|wrong| told.contains(wrong)), "{told}");
    }
}

/// As with a secret that is mounted for reading: no file can be made beside the key.
#[test]
fn an_exchange_that_can_write_nothing_beside_the_key_says_what_to_do() {
    let site = Site::new();
    // A directory of that name stands for it: root may write everywhere.
    fs::create_dir(site.path().join("master.key.new")).unwrap();
    let old = fs::read(key_of(&site)).unwrap();
    let output = site.run(&["key", "rotate"]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let told = said(&output);
    let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "stop the daemon",
        "key rotate --to FILE",
        "exchange the secret",
    ] {
        assert!(told.contains(part), "no `{part}` in {told}");
    }
    assert_eq!(fs::read(key_of(&site)).unwrap(), old);
}
