//! Drills: backups, restores and exchanges of the keys, killed at every stage while people log in. Whatever the
//! moment, the next start or the next call goes on, what was used stays used, and the trail is whole.
//!
//! 50 kills together; `ONCEGATE_KILLS` asks for so many of each.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use crate::support::daemon::{Site, command};
use crate::support::kills::{Killer, Load, Stage, kills, run_killed, stages};
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
