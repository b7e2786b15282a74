//! The journal's files: commits that were torn, disks that fail and recover, and what version 0.1.0 wrote.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oncegate::model::reason::Decision;
use oncegate::model::token::LifeCycle;
use oncegate::secret::Key256;
use oncegate::store::medium::Directory;
use oncegate::store::repair::repair;
use oncegate::store::{AuditQuery, Store};

use crate::support::Random;
use crate::support::disk::Disk;
use crate::support::journal::{former, frame_of, frames};
use crate::support::store::{NOW, attempt, enrol, open, prune};

type Files = BTreeMap<String, Vec<u8>>;

fn newest(files: &Files) -> String {
    let mut logs = files.keys().filter(|name| name.starts_with("log-"));
    logs.next_back().expect("a log").clone()
}

/// Whether a file is a segment of version 0.1.0.
fn is_former(name: &str) -> bool {
    name.starts_with("log-") && name.strip_suffix(".redb").is_some()
}

fn on(files: &Files) -> (Disk, Store) {
    let disk = Disk::with(files.clone());
    let store = open(Arc::new(disk.clone())).unwrap();
    (disk, store)
}

async fn decided(store: &Store, step: u64) -> Decision {
    let settled = attempt(store, "alice", "HOTP-1", &[step], NOW).await;
    settled.unwrap().decision
}

async fn is_intact(store: &Store, about: &str) {
    let report = store.verify_audit(Box::new(|_| ())).await.unwrap();
    assert_eq!(report.fault, None, "{about}");
}

/// Wherever the write of a commit ended, the store opens without it. Once its answer has left, it is refused.
#[tokio::test]
async fn a_commit_that_was_torn_at_any_octet_is_cut_unless_it_was_answered() {
    let (disk, store) = on(&Files::new());
    enrol(&store, "alice", "HOTP-1").await.unwrap();
    assert_eq!(decided(&store, 1).await, Decision::Accept);
    let before = disk.files();
    assert_eq!(decided(&store, 2).await, Decision::Accept);
    let after = disk.files();
    drop(store);
    let log = newest(&after);
    let frame = frames(&after[&log]).pop().unwrap();
    let mut answered = 0;
    for torn in frame.place.clone() {
        let mut files = before.clone();
        let octets = files.get_mut(&log).unwrap();
        octets[frame.place.start..torn].copy_from_slice(&after[&log][frame.place.start..torn]);
        let whole = octets == &after[&log];
        let about = format!("octet {torn} of {:?}", frame.place);
        let (again, store) = on(&files);
        assert_eq!(store.health().fault, None, "{about}");
        let expected = if whole {
            Decision::Reject
        } else {
            Decision::Accept
        };
        assert_eq!(decided(&store, 2).await, expected, "{about}");
        is_intact(&store, &about).await;
        drop(store);
        // What was torn is gone, not hidden: nothing of it stands behind what was written since.
        let left = again.files();
        let end = frames(&left[&log]).pop().unwrap().place.end;
        assert!(left[&log][end..].iter().all(|octet| *octet == 0), "{about}");

        files.insert("head".to_owned(), after["head"].clone());
        let (again, store) = on(&files);
        let fault = store.health().fault;
        assert_eq!(fault.is_none(), whole, "{about}: {fault:?}");
        if let Some(fault) = fault {
            assert!(
                fault.contains(&format!("audit record {}", frame.first)),
                "{fault}"
            );
            drop(store);
            assert_eq!(again.files()[&log], files[&log], "{about}: it was cut");
            answered += 1;
        }
    }
    assert!(answered > 100, "{answered}");
}

/// The files before and after the logins of forty users at once, among so many others.
async fn forty_logins(others: usize) -> (Files, Files) {
    let (disk, store) = on(&Files::new());
    for other in 0..others {
        enrol(&store, &format!("o{other}"), &format!("HOTP-O{other}"))
            .await
            .unwrap();
    }
    let users: Vec<(String, String)> = (0..40)
        .map(|user| (format!("u{user}"), format!("HOTP-U{user}")))
        .collect();
    for (name, serial) in &users {
        enrol(&store, name, serial).await.unwrap();
    }
    let before = disk.files();
    let held = store.hold_batch();
    let logins = users
        .iter()
        .map(|(name, serial)| attempt(&store, name, serial, &[1], NOW));
    let mut logins = Box::pin(futures_util::future::join_all(logins));
    let early = futures_util::poll!(&mut logins);
    drop(held);
    if early.is_pending() {
        logins.await;
    }
    (before, disk.files())
}

/// Sectors reach the disk in any order: whatever is missing of a commit, it is cut whole.
#[tokio::test]
async fn a_commit_of_which_any_sector_is_missing_is_cut() {
    let (before, after) = 'one: {
        for others in 0..100 {
            let (before, after) = forty_logins(others).await;
            // A writer's thread that was awake takes some by themselves, or they begin a new file: once more.
            let log = newest(&after);
            let frames_of = |files: &Files| frames(&files[&log]).len();
            if log == newest(&before) && frames_of(&before) + 1 == frames_of(&after) {
                break 'one (before, after);
            }
        }
        panic!("no commit took all");
    };
    let log = newest(&after);
    let frame = frames(&after[&log]).pop().unwrap();
    assert!(frame.count > 1 && frame.place.len() > 4 * 512, "{frame:?}");
    let mut random = Random(5);
    for round in 0..60 {
        let mut files = before.clone();
        files.insert(log.clone(), after[&log].clone());
        let octets = files.get_mut(&log).unwrap();
        octets[frame.place.clone()].fill(0);
        let mut kept = true;
        for sector in (frame.place.start / 512 * 512..frame.place.end).step_by(512) {
            let part = sector.max(frame.place.start)..(sector + 512).min(frame.place.end);
            if random.below(4) > 0 {
                octets[part.clone()].copy_from_slice(&after[&log][part]);
            } else {
                kept = false;
            }
        }
        let (_, store) = on(&files);
        assert_eq!(store.health().fault, None, "round {round}");
        let last = frame.first - 1 + if kept { u64::from(frame.count) } else { 0 };
        assert_eq!(store.health().seq, last, "round {round}");
        is_intact(&store, &format!("round {round}")).await;
    }
}

/// A whole frame behind a broken one: the disk lost what it had. Where the rows do not hold it yet, nothing
/// is decided; where they do, only the audit has lost something. It is named in both cases.
#[tokio::test]
async fn damage_in_the_middle_is_named_and_never_cut() {
    let (disk, store) = on(&Files::new());
    enrol(&store, "alice", "HOTP-1").await.unwrap();
    let older = disk.files();
    for step in 1..=5 {
        assert_eq!(decided(&store, step).await, Decision::Accept);
    }
    drop(store);
    let mut files = disk.files();
    let log = newest(&files);
    let frame = frame_of(&files[&log], 4);
    files.get_mut(&log).unwrap()[frame.place.start + 60] ^= 1;
    let (again, store) = on(&files);
    let health = store.health();
    let named: Vec<String> = health.damage.iter().map(ToString::to_string).collect();
    assert_eq!((health.damaged, named.len()), (1, 1), "{named:?}");
    assert!(named[0].starts_with("journal record 4: "), "{named:?}");
    let report = store.verify_audit(Box::new(|_| ())).await.unwrap();
    assert_eq!(report.fault.map(|fault| fault.seq), Some(4));
    let report = store.verify_store().await.unwrap();
    assert_eq!(report.chain.fault.map(|fault| fault.seq), Some(4));
    assert_eq!((report.damaged, report.unproven.len()), (0, 0));
    assert!(report.rows > 0);
    assert_eq!(store.health().fault, None, "the rows hold it");
    assert_eq!(decided(&store, 3).await, Decision::Reject);
    assert_eq!(decided(&store, 6).await, Decision::Accept);
    drop(store);
    assert_eq!(
        again.files()[&log][frame.place.clone()],
        files[&log][frame.place.clone()],
        "it stays as it is"
    );
    files.insert("main.redb".to_owned(), older["main.redb"].clone());
    let (_, store) = on(&files);
    let fault = store.health().fault.unwrap();
    assert!(fault.contains("audit record 4"), "{fault}");
    assert!(attempt(&store, "alice", "HOTP-1", &[6], NOW).await.is_err());
}

/// The record that the rows stand at cannot be read, and whole ones follow it: that is no end that was lost, and no
/// repair helps.
#[tokio::test]
async fn damage_of_the_record_that_the_rows_stand_at_is_no_lost_end() {
    let (disk, store) = on(&Files::new());
    enrol(&store, "alice", "HOTP-1").await.unwrap();
    let applied = store.health().seq;
    drop(store);
    let older = disk.files();
    let (disk, store) = on(&older);
    for step in 1..=2 {
        assert_eq!(decided(&store, step).await, Decision::Accept);
    }
    drop(store);
    let mut files = disk.files();
    files.insert("main.redb".to_owned(), older["main.redb"].clone());
    let log = newest(&files);
    let frame = frame_of(&files[&log], applied);
    files.get_mut(&log).unwrap()[frame.place.start + 60] ^= 1;
    let (_, store) = on(&files);
    let fault = store.health().fault.unwrap();
    assert!(
        fault.starts_with(&format!("audit record {applied}: ")),
        "{fault}"
    );
    assert!(!fault.contains("that was applied"), "{fault}");
    let report = store.verify_audit(Box::new(|_| ())).await.unwrap();
    assert_eq!(report.fault.map(|fault| fault.seq), Some(applied));
}

/// Whichever operation fails, writes, flushes and names of files alike: nothing is decided on it, and when the
/// disk works again the store does, without a restart.
#[tokio::test]
async fn a_disk_that_fails_anywhere_is_survived_without_a_restart() {
    for before in [0, 30] {
        let (disk, store) = on(&Files::new());
        enrol(&store, "alice", "HOTP-1").await.unwrap();
        let mut step = 0;
        for _ in 0..before {
            step += 1;
            assert_eq!(decided(&store, step).await, Decision::Accept);
        }
        for failing in 0..40 {
            let about = format!("{before} logins before, operation {failing}");
            disk.fail_after(failing % 20);
            let deadline = Instant::now() + Duration::from_mins(1);
            loop {
                step += 1;
                match attempt(&store, "alice", "HOTP-1", &[step], NOW).await {
                    Ok(settled) => assert_eq!(settled.decision, Decision::Accept, "{about}"),
                    Err(_) => break,
                }
                assert!(Instant::now() < deadline, "{about}: it never fails");
            }
            disk.mend();
            // In doubt: used or not, never accepted and then accepted again.
            loop {
                step += 1;
                match attempt(&store, "alice", "HOTP-1", &[step], NOW).await {
                    Ok(settled) => break assert_eq!(settled.decision, Decision::Accept, "{about}"),
                    Err(error) => assert!(Instant::now() < deadline, "{about}: {error}"),
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if failing % 10 == 9 {
                is_intact(&store, &about).await;
                let (_, killed) = on(&disk.files());
                assert_eq!(killed.health().fault, None, "{about}");
                assert_eq!(decided(&killed, step).await, Decision::Reject, "{about}");
                is_intact(&killed, &about).await;
            }
        }
    }
}

/// A store of version 0.1.0 is read to its end, goes on in files of today's form, and loses nothing: not when
/// it is interrupted at any operation, nor when its segments are pruned.
#[tokio::test]
async fn a_journal_of_version_0_1_0_is_read_continued_and_pruned() {
    let (disk, store) = on(&Files::new());
    enrol(&store, "alice", "HOTP-1").await.unwrap();
    for step in 1..=150 {
        assert_eq!(decided(&store, step).await, Decision::Accept);
    }
    drop(store);
    let old = former(disk.files());
    let segments = old.keys().filter(|name| is_former(name));
    assert!(segments.count() > 2);
    let all = AuditQuery {
        limit: usize::MAX,
        ..AuditQuery::default()
    };
    for failing in (0..120).step_by(3) {
        for power in [false, true] {
            let disk = Disk::with(old.clone());
            disk.fail_after(failing);
            drop(open(Arc::new(disk.clone())));
            let files = if power {
                disk.power_cut(&mut Random(failing));
                disk.files()
            } else {
                disk.files()
            };
            let about = format!("operation {failing}, power cut {power}");
            let (disk, store) = on(&files);
            assert_eq!(store.health().fault, None, "{about}");
            assert_eq!(decided(&store, 150).await, Decision::Reject, "{about}");
            assert_eq!(decided(&store, 151).await, Decision::Accept, "{about}");
            let records = store.audit(all.clone()).await.unwrap();
            assert_eq!(records.len(), 154, "{about}");
            is_intact(&store, &about).await;
            drop(store);
            let files = disk.files();
            assert!(!is_former(&newest(&files)), "{about}");
            for (name, octets) in old.iter().filter(|(name, _)| name.starts_with("log-")) {
                assert_eq!(&files[name], octets, "{about}: {name} was written");
            }
        }
    }
    let (disk, store) = on(&old);
    prune(&store, NOW.plus(Duration::from_secs(1)))
        .await
        .unwrap();
    is_intact(&store, "pruned").await;
    assert_eq!(decided(&store, 150).await, Decision::Reject);
    drop(store);
    let files = disk.files();
    assert!(files.keys().all(|name| !is_former(name)));
    let (_, store) = on(&files);
    assert_eq!(store.health().fault, None);
    is_intact(&store, "opened after it").await;
}

/// Its end may be lost as that of any other: it is refused, left as it is, and repaired.
#[tokio::test]
async fn a_journal_of_version_0_1_0_without_its_end_is_refused_and_repaired() {
    let (disk, store) = on(&Files::new());
    enrol(&store, "alice", "HOTP-1").await.unwrap();
    let before = former(disk.files());
    assert_eq!(decided(&store, 1).await, Decision::Accept);
    drop(store);
    let mut files = before;
    files.insert("head".to_owned(), disk.files()["head"].clone());
    let (disk, store) = on(&files);
    let fault = store.health().fault.unwrap();
    assert!(fault.contains("its answer has left"), "{fault}");
    drop(store);
    let looked_at = disk.files();
    assert!(
        is_former(&newest(&looked_at)),
        "nothing was begun behind it"
    );

    let dir = tempfile::tempdir().unwrap();
    for (name, octets) in &files {
        std::fs::write(dir.path().join(name), octets).unwrap();
    }
    let algorithm = oncegate::model::sealing::SealAlgorithm::default();
    let done = repair(dir.path(), &Key256::new([7; 32]), algorithm, NOW).unwrap();
    assert!(!done.closed.is_empty(), "{done:?}");
    let store = open(Arc::new(Directory::new(dir.path()))).unwrap();
    assert_eq!(store.health().fault, None);
    let (token, _) = store.token(&"HOTP-1".parse().unwrap()).unwrap().unwrap();
    assert_eq!(token.state, LifeCycle::Suspended);
    is_intact(&store, "repaired").await;
}
