//! Drills: backups, restores and exchanges of the keys, killed at every stage while people log in. Whatever the
//! moment, the next start or the next call goes on, what was used stays used, and the trail is whole.
//!
//! 70 kills together; `ONCEGATE_KILLS` asks for so many of each.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use crate::support::codes::{hotp_of, secret_of};
use crate::support::copy;
use crate::support::daemon::{Site, command};
use crate::support::kills::{Killer, Load, Stage, kills, run_killed, stages};
use crate::support::net::Http;
use crate::support::require;

/// Stages of a daemon that exchanges a key: a call, and at how many of them it is killed.
const OF_EXCHANGES: [(&str, usize); 5] = [
    ("fsync", 3),
    ("fdatasync", 14),
    ("rename", 2),
    ("ftruncate", 2),
    ("unlink", 1),
];

/// All of them in turn: the first of each call, then the second ones, and from the beginning again.
fn of_exchanges() -> impl Iterator<Item = Stage> {
    let most = OF_EXCHANGES.iter().map(|(_, most)| *most).max().unwrap();
    let all = (1..=most).flat_map(|nth| {
        let those = OF_EXCHANGES.iter().filter(move |(_, most)| nth <= *most);
        those.map(move |(call, _)| Stage::new(call, nth))
    });
    all.collect::<Vec<_>>().into_iter().cycle()
}

/// Users besides, with something to seal again: more than one part of it.
const PEOPLE: usize = 450;

/// What holds in the end, whatever was killed before.
fn whole(site: &Site, load: &Load) {
    let daemon = site.serve();
    load.replay(daemon.http);
    assert!(daemon.terminate().success());
    let report = site.json(&["store", "verify"]);
    assert_eq!(report["intact"], true, "{report}");
    let chain = site.json(&["audit", "verify"]);
    assert_eq!(chain["intact"], true, "{chain}");
    let records = site.json(&["audit", "export"]);
    let records = records.as_array().unwrap().iter();
    let accepts = records.filter(|one| one["decision"] == "accept").count() as u64;
    assert!(
        accepts >= load.accepts(),
        "{accepts} accepts on record, {} were answered",
        load.accepts()
    );
}

#[test]
fn exchanges_of_the_master_key_are_killed_at_every_stage_under_load() {
    if !require("strace", "strace") {
        return;
    }
    let site = Site::new();
    let load = Load::new(&site);
    let (count, mut killed) = (kills(17), 0);
    for stage in of_exchanges().take(count) {
        let mut daemon = site.serve();
        load.replay(daemon.http);
        let killer = Killer::of(daemon.pid(), &stage);
        // Where the daemon is gone before it is asked, the command does it alone.
        load.during(daemon.http, || site.run(&["key", "rotate"]));
        killed += usize::from(!daemon.runs());
        // Where it did not come to that stage.
        daemon.kill();
        drop(killer);
    }
    assert!(killed * 4 > count, "{killed} of {count}");
    whole(&site, &load);
    assert_eq!(site.json(&["key", "status"])["master_exchanged"], true);
}

#[test]
fn exchanges_of_the_data_key_are_killed_at_every_stage_under_load() {
    if !require("strace", "strace") {
        return;
    }
    let site = Site::new();
    let load = Load::new(&site);
    let mut csv = String::from("user,phone\n");
    for number in 0..PEOPLE {
        let _ = writeln!(csv, "p{number},+82 10 1234 {number:04}");
    }
    let file = site.path().with_file_name("people.csv");
    fs::write(&file, csv).unwrap();
    site.json(&["user", "import", file.to_str().unwrap()]);
    let sealed = || {
        let status = site.json(&["key", "status"]);
        status["data_secrets"].is_null()
    };
    let (count, mut killed, mut begun) = (kills(16), 0, 0);
    for stage in of_exchanges().take(count) {
        let mut daemon = site.serve();
        load.replay(daemon.http);
        let killer = Killer::of(daemon.pid(), &stage);
        load.during(daemon.http, || {
            // What an earlier life left is gone on with; refused (5) until that is done.
            let made = site.run(&["key", "rotate", "--data"]);
            begun += usize::from(made.status.success());
            let since = Instant::now();
            while daemon.runs() && since.elapsed() < Duration::from_millis(200) {
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        killed += usize::from(!daemon.runs());
        daemon.kill();
        drop(killer);
    }
    assert!(killed * 4 > count, "{killed} of {count}");
    // The last life ends what is left, and begins where every command before lost its answer.
    let daemon = site.serve();
    load.during(daemon.http, || {
        if begun == 0 {
            site.run(&["key", "rotate", "--data"]);
        }
        let since = Instant::now();
        while !sealed() {
            assert!(since.elapsed() < Duration::from_secs(30), "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    assert!(daemon.terminate().success());
    whole(&site, &load);
    let person = site.json(&["user", "show", "p7"]);
    assert!(person["phone"].as_str().unwrap().contains("10"), "{person}");
}

/// A backup that was killed leaves no file that passes for one; a restore leaves nothing in its place, or all of it.
#[test]
fn backups_and_restores_are_killed_at_every_stage_under_load() {
    if !require("strace", "strace") {
        return;
    }
    let site = Site::new();
    let load = Load::new(&site);
    let daemon = site.serve();
    load.replay(daemon.http);
    let place = |name: &str| site.path().with_file_name(name);
    let key = site.path().join("master.key");
    let (key, kept) = (key.to_str().unwrap(), place("kept"));
    let kept = kept.to_str().unwrap();
    let restore = |to: &Site| {
        let mut restore = command(&to.path());
        restore.args(["restore", kept, "--master-key", key]);
        restore
    };
    load.during(daemon.http, || {
        site.json(&["backup", kept]);
        let mut backup = command(&site.path());
        let file = place("killed");
        backup.arg("backup").arg(&file);
        let of_backup = stages(&backup, &place(""));
        for stage in &of_backup {
            fs::remove_file(&file).ok();
            run_killed(&backup, stage);
            if file.exists() {
                // Named when it was whole.
                let empty = Site::empty();
                empty.json(&["restore", file.to_str().unwrap(), "--master-key", key]);
            }
        }
        // The same behind a backup.
        let mut behind = command(&site.path());
        behind.arg("backup").arg(&file).args(["--since", kept]);
        fs::remove_file(&file).ok();
        for stage in stages(&behind, &place("")) {
            fs::remove_file(&file).ok();
            run_killed(&behind, &stage);
            if file.exists() {
                let empty = Site::empty();
                let both = ["restore", kept, file.to_str().unwrap(), "--master-key", key];
                empty.json(&both);
            }
        }
        let of_restore = stages(&restore(&Site::empty()), &place(""));
        assert!(of_restore.len() > 50, "{of_restore:?}");
        let count = kills(17 - of_backup.len());
        for number in 0..count {
            let stage = &of_restore[number * of_restore.len() / count % of_restore.len()];
            let empty = Site::empty();
            let killed = run_killed(&restore(&empty), stage);
            assert!(killed, "{stage:?}");
            let again = restore(&empty).output().unwrap();
            let done = again.status.success();
            assert!(
                done || again.status.code() == Some(5),
                "{stage:?}: {}",
                String::from_utf8_lossy(&again.stderr)
            );
            let users = empty.json(&["user", "list"]);
            assert_eq!(users["users"].as_array().unwrap().len(), 3, "{stage:?}");
            // What was used meanwhile, behind the backup.
            let (user, code) = &load.used()[number % 3];
            let words = ["verify", user, "--client", "load", "--otp-stdin"];
            let answer = empty.run_with(&words, &format!("{code}\n"));
            assert_eq!(answer.status.code(), Some(1), "{stage:?}");
        }
    });
    assert!(daemon.terminate().success());
    whole(&site, &load);
}

/// A daemon that is gone while it sends a backup: the command says so and leaves no file, and the next one is whole.
#[test]
fn a_daemon_is_killed_while_it_sends_a_backup_under_load() {
    if !require("strace", "strace") {
        return;
    }
    let site = Site::new();
    let load = Load::new(&site);
    // Some megabytes: a backup is no matter of one call.
    let mut csv = String::from("user,phone\n");
    for number in 0..PEOPLE * 10 {
        let _ = writeln!(csv, "p{number},+82 10 1234 {number:04}");
    }
    let file = site.path().with_file_name("people.csv");
    fs::write(&file, csv).unwrap();
    site.json(&["user", "import", file.to_str().unwrap()]);
    let place = |name: &str| site.path().with_file_name(name);
    let (kept, killed, key) = (
        place("kept"),
        place("killed"),
        site.path().join("master.key"),
    );
    let (kept, sent, key) = (
        kept.to_str().unwrap(),
        killed.to_str().unwrap(),
        key.to_str().unwrap(),
    );
    site.json(&["backup", kept]);
    let (count, mut gone) = (kills(10), 0);
    for number in 0..count {
        let mut daemon = site.serve();
        load.replay(daemon.http);
        // What it reads of the files and what it sends, for the backup or for a login.
        let call = ["pread64", "writev"][number % 2];
        let killer = Killer::of(daemon.pid(), &Stage::new(call, 1 + number));
        let words: &[&str] = match number / 2 % 2 {
            0 => &["backup", sent],
            _ => &["backup", sent, "--since", kept],
        };
        let made = load.during(daemon.http, || site.run(words));
        let ran = daemon.runs();
        gone += usize::from(!ran);
        if made.status.success() {
            fs::remove_file(sent).unwrap();
        } else {
            assert!(!killed.exists(), "{made:?}");
            assert!(!ran, "{made:?}");
        }
        daemon.kill();
        drop(killer);
    }
    assert!(gone * 4 > count, "{gone} of {count}");
    let daemon = site.serve();
    load.replay(daemon.http);
    load.during(daemon.http, || {
        site.json(&["backup", sent, "--since", kept])
    });
    assert!(daemon.terminate().success());
    let empty = Site::empty();
    empty.json(&["restore", kept, sent, "--master-key", key]);
    assert_eq!(empty.json(&["store", "verify"])["intact"], true);
    whole(&site, &load);
}

/// A store that was put back, accepted by starts that are killed: whatever the moment, the next one closes what may
/// have been used, or has closed it.
#[test]
fn acceptances_of_an_older_store_are_killed_at_every_stage() {
    if !require("strace", "strace") {
        return;
    }
    let site = Site::new();
    let users: Vec<String> = (0..300).map(|number| format!("p{number}")).collect();
    let mut csv = String::from("user,kind,secret\n");
    for user in &users {
        let _ = writeln!(csv, "{user},hotp,{}", secret_of(user));
    }
    let file = site.path().with_file_name("people.csv");
    fs::write(&file, csv).unwrap();
    site.json(&["user", "import", file.to_str().unwrap()]);
    let key = site.api_client("app");
    assert!(site.serve().terminate().success());
    let place = |name: &str| site.path().with_file_name(name);
    copy(&site.path().join("store"), &place("older"));
    let asked = |http, user: &str| {
        let heard = Http::new(http, &key).verify(user, &hotp_of(user, 0));
        heard.unwrap().1["decision"].clone()
    };
    let daemon = site.serve();
    for user in &users[..40] {
        assert_eq!(asked(daemon.http, user), "accept");
    }
    assert!(daemon.terminate().success());
    copy(&site.path(), &place("later"));

    let put_back = || {
        fs::remove_dir_all(site.path()).unwrap();
        copy(&place("later"), &site.path());
        fs::remove_dir_all(site.path().join("store")).unwrap();
        copy(&place("older"), &site.path().join("store"));
    };
    let of_acceptance = [
        ("fdatasync", 5),
        ("fsync", 2),
        ("rename", 2),
        ("ftruncate", 1),
    ];
    let of_acceptance =
        of_acceptance.map(|(call, most)| (1..=most).map(move |nth| Stage::new(call, nth)));
    let mut gone = 0;
    for (number, stage) in of_acceptance.into_iter().flatten().enumerate() {
        put_back();
        match site.serve_killed("--accept-rollback", &stage) {
            Err(end) => {
                assert_eq!(end.code(), None, "{stage:?}: {}", site.log());
                gone += 1;
            }
            Ok(daemon) => drop(daemon),
        }
        // Refused still, or accepted already.
        let daemon = site.try_serve().unwrap_or_else(|end| {
            assert_eq!(end.code(), Some(5), "{stage:?}: {}", site.log());
            let words = ["serve", "--radius", "127.0.0.1:0", "--http", "127.0.0.1:0"];
            let mut serve = command(&site.path());
            site.started(serve.args(words).arg("--accept-rollback"))
        });
        for user in users[..40].iter().skip(number).step_by(10) {
            assert_eq!(asked(daemon.http, user), "reject", "{stage:?} {user}");
        }
        drop(daemon);
        let chain = site.json(&["audit", "verify"]);
        assert_eq!(chain["intact"], true, "{stage:?}: {chain}");
        assert_eq!(site.json(&["store", "verify"])["intact"], true, "{stage:?}");
    }
    assert!(gone > 5, "{gone}");
}
