//! Fault B2: on a full disk the audit was shown as empty and as damaged.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use oncegate::store::AuditQuery;
use serde_json::Value;

use crate::support::base::Base;
use crate::support::codes::{RFC_SECRET, hotp};
use crate::support::daemon::{Daemon, Site};
use crate::support::disk::Disk;
use crate::support::net::Http;
use crate::support::store::{NOW, attempt, enrol, open_with};

const KEY: [u8; 32] = [7; 32];

pub(super) fn octets(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).unwrap();
    files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum()
}

/// Changes the room on the daemon's disk, which is a file system of its own, mounted for it alone.
pub(super) fn room(daemon: &Daemon, store: &Path, kib: u64) {
    let (pid, size) = (daemon.pid().to_string(), format!("remount,size={kib}k"));
    let mut command = Command::new("nsenter");
    let command = command.args(["-t", &pid, "-m", "mount", "-o", &size]);
    let done = command.arg(store).status().expect("nsenter (util-linux)");
    assert!(done.success(), "the mount takes another size");
}

/// Logs in until nothing can be decided; how many decisions there were.
pub(super) fn fill(http: &mut Http) -> usize {
    for n in 0..100_000 {
        let (status, _) = http.verify(&format!("stranger{n}"), "000000").unwrap();
        if status == 503 {
            return n;
        }
        assert_eq!(status, 200);
    }
    panic!("the disk does not fill");
}

/// The daemon, with its store on a small disk of so many KiB.
pub(super) fn on_a_small_disk(site: &Site, store: &Path) -> (Daemon, u64) {
    let kib = octets(store) / 1024 + 64;
    let shown = store.display();
    let script = format!(
        "set -e; cp -a {shown} {shown}.copy; mount -t tmpfs -o size={kib}k tmpfs {shown}; \
         cp -a {shown}.copy/. {shown}/; exec \"$0\" \"$@\""
    );
    let daemon = site.serve_by(&["unshare", "-m", "sh", "-c", &script]);
    (daemon, kib)
}

#[test]
fn a_full_disk_hides_nothing_and_is_no_damage() {
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    let store = site.path().join("store");
    let (daemon, kib) = on_a_small_disk(&site, &store);
    let mut http = Http::new(daemon.http, &site.admin_key);
    let (_, answer) = http.verify("alice", &hotp(0)).unwrap();
    assert_eq!(answer["decision"], "accept");
    let decided = fill(&mut http);
    assert_eq!(http.send("GET", "/readyz", b"").unwrap().0, 503);

    let list = site.json(&["audit", "list", "--limit", "1000000"]);
    let listed = list["records"].as_array().unwrap();
    let decisions = listed.iter().filter(|record| record["type"] == "decision");
    assert_eq!(decisions.count(), decided + 1);
    let numbers: BTreeSet<u64> = listed
        .iter()
        .map(|record| record["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers.len() as u64, *numbers.last().unwrap());
    let export = site.run(&["audit", "export"]);
    assert!(export.status.success());
    let text = String::from_utf8(export.stdout).unwrap();
    let exported = text.lines().map(|line| {
        let record: Value = serde_json::from_str(line).unwrap();
        record["seq"].as_u64().unwrap()
    });
    assert!(exported.eq(numbers), "every record, in order");
    let chain = site.json(&["audit", "verify"]);
    assert_eq!(
        (&chain["intact"], &chain["good"]),
        (&true.into(), &listed.len().into())
    );

    // With room again it goes on by itself, and the used code stays used.
    room(&daemon, &store, kib * 4);
    let answer = loop {
        match http.verify("alice", &hotp(0)).unwrap() {
            (200, answer) => break answer,
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    assert_eq!(answer["decision"], "reject");
    let (_, answer) = http.verify("alice", &hotp(1)).unwrap();
    assert_eq!(answer["decision"], "accept");
    assert_eq!(site.json(&["audit", "verify"])["intact"], true);
    assert!(daemon.terminate().success());
}

/// The same on a disk that takes no write at all, not even over what is there.
#[tokio::test]
async fn what_is_durable_is_read_while_nothing_can_be_written() {
    let disk = Disk::default();
    let base = Base {
        medium: Arc::new(disk.clone()),
        ..Base::at(NOW)
    };
    let store = base.store();
    enrol(&store, "alice", "HOTP-1").await.unwrap();
    for step in 1..=10 {
        attempt(&store, "alice", "HOTP-1", &[step], NOW)
            .await
            .unwrap();
    }
    let all = || AuditQuery {
        limit: usize::MAX,
        ..AuditQuery::default()
    };
    let before = store.audit(all()).await.unwrap();
    disk.set_full(true);
    for step in 11..=13 {
        assert!(
            attempt(&store, "alice", "HOTP-1", &[step], NOW)
                .await
                .is_err()
        );
        assert_eq!(store.audit(all()).await.unwrap(), before);
        assert_eq!(store.audit_after(3, 4).await.unwrap().len(), 4);
        let report = store.verify_audit(Box::new(|_| ())).await.unwrap();
        assert_eq!((report.fault, report.good), (None, before.len() as u64));
    }
    disk.set_full(false);
    while store.health().fault.is_some() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    attempt(&store, "alice", "HOTP-1", &[20], NOW)
        .await
        .unwrap();
    assert_eq!(store.audit(all()).await.unwrap().len(), before.len() + 1);
}

/// A disk that cannot be read either is an error, never an empty trail.
#[tokio::test]
async fn a_disk_that_cannot_be_read_is_an_error() {
    let disk = Disk::default();
    let store = open_with(Arc::new(disk.clone()), KEY, 1 << 20).unwrap();
    enrol(&store, "alice", "HOTP-1").await.unwrap();
    disk.fail_after(0);
    assert!(attempt(&store, "alice", "HOTP-1", &[1], NOW).await.is_err());
    let all = AuditQuery {
        limit: 10,
        ..AuditQuery::default()
    };
    // What is still in memory may be shown, whole; else it is an error that names the disk.
    for read in [store.audit(all).await, store.audit_after(0, 10).await] {
        match read {
            Ok(records) => assert_eq!(records.len(), 2),
            Err(error) => assert!(names_the_disk(&error), "{error}"),
        }
    }
    match store.verify_audit(Box::new(|_| ())).await {
        Ok(report) => assert_eq!((report.good, report.fault), (2, None)),
        Err(error) => assert!(names_the_disk(&error), "{error}"),
    }
}

fn names_the_disk(error: &oncegate::store::StoreError) -> bool {
    let error = error.to_string();
    error.contains("power cut") || error.contains("main.redb is closed after a failed write")
}
