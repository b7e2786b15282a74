//! Tampering with the audit trail is noticed, and the first bad record is named (threats T35).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use oncegate::model::reason::Decision;
use oncegate::store::medium::Directory;
use oncegate::store::{AuditQuery, By, ChainReport, Change, Store, StoreError};
use redb::{Database, TableDefinition};

use crate::support::base::Base;
use crate::support::journal::{Frame, forge, frame_of, frames, values};
use crate::support::store::{NOW, attempt, by, enrol, key, open, prune};

/// A closed store with 300 records in several segments, and which segment holds record 150.
async fn trail(dir: &Path) -> std::path::PathBuf {
    let store = open(Arc::new(Directory::new(dir))).unwrap();
    enrol(&store, "alice", "HOTP-1").await.unwrap();
    for step in 0..298 {
        attempt(&store, "alice", "HOTP-1", &[step], NOW)
            .await
            .unwrap();
    }
    assert_eq!(
        verify(&store).await,
        ChainReport {
            first: 1,
            good: 300,
            fault: None
        }
    );
    drop(store);
    segment_of(dir, 150)
}

fn segment_of(dir: &Path, seq: u64) -> std::path::PathBuf {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    let holds = |path: &std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap();
        name.strip_prefix("log-")
            .is_some_and(|first| first.parse::<u64>().unwrap() <= seq)
    };
    let segments: Vec<_> = files.into_iter().filter(holds).collect();
    segments.last().unwrap().clone()
}

/// Changes a file.
fn tamper(segment: &Path, act: impl FnOnce(&mut Vec<u8>)) {
    let mut octets = std::fs::read(segment).unwrap();
    act(&mut octets);
    std::fs::write(segment, octets).unwrap();
}

/// The frames of two records, the first before the second.
fn pair(file: &[u8], seq: u64) -> [Frame; 2] {
    [frame_of(file, seq), frame_of(file, seq + 1)]
}

async fn verify(store: &Store) -> ChainReport {
    store.verify_audit(Box::new(|_| ())).await.unwrap()
}

async fn first_bad(dir: &Path) -> Option<u64> {
    let store = open(Arc::new(Directory::new(dir))).unwrap();
    verify(&store).await.fault.map(|fault| fault.seq)
}

#[tokio::test]
async fn a_flipped_bit_is_found_wherever_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let segment = trail(dir.path()).await;
    let original = std::fs::read(&segment).unwrap();
    let frame = frame_of(&original, 150);
    // Behind the header of the frame and the length of the record.
    let record = 28 * 8..frame.place.len() * 8 - 64;
    for bit in record.step_by(37) {
        let flip = |frame: &mut [u8]| frame[bit / 8] ^= 1 << (bit % 8);
        tamper(&segment, |file| forge(file, &frame, flip));
        assert_eq!(first_bad(dir.path()).await, Some(150), "bit {bit}");
        std::fs::write(&segment, &original).unwrap();
        tamper(&segment, |file| flip(&mut file[frame.place.clone()]));
        assert_eq!(
            first_bad(dir.path()).await,
            Some(150),
            "bit {bit}, no checksum"
        );
        std::fs::write(&segment, &original).unwrap();
    }
    assert_eq!(
        first_bad(dir.path()).await,
        None,
        "the original is intact again"
    );
}

#[tokio::test]
async fn a_dropped_record_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let segment = trail(dir.path()).await;
    tamper(&segment, |file| {
        let place = frame_of(file, 150).place;
        file.drain(place);
    });
    assert_eq!(first_bad(dir.path()).await, Some(150));
}

#[tokio::test]
async fn swapped_records_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let segment = trail(dir.path()).await;
    let original = std::fs::read(&segment).unwrap();
    let [a, b] = pair(&original, 150);
    assert_eq!(a.place.len(), b.place.len());
    // As they are, and with each other's number.
    for keep in [24, 0] {
        tamper(&segment, |file| {
            let swapped = |with: &Frame| original[with.place.clone()][keep..].to_vec();
            let (one, other) = (swapped(&b), swapped(&a));
            forge(file, &a, |frame| frame[keep..].copy_from_slice(&one));
            forge(file, &b, |frame| frame[keep..].copy_from_slice(&other));
        });
        assert_eq!(first_bad(dir.path()).await, Some(150), "from octet {keep}");
        std::fs::write(&segment, &original).unwrap();
    }
}

#[tokio::test]
async fn records_cut_off_at_the_end_are_noticed_and_stop_decisions() {
    let dir = tempfile::tempdir().unwrap();
    trail(dir.path()).await;
    let segment = segment_of(dir.path(), 300);
    tamper(&segment, |file| {
        let place = frame_of(file, 300).place;
        file[place].fill(0);
    });
    let store = open(Arc::new(Directory::new(dir.path()))).unwrap();
    assert_eq!(verify(&store).await.fault.map(|fault| fault.seq), Some(300));
    assert!(store.health().fault.is_some());
    let refused = attempt(&store, "alice", "HOTP-1", &[1000], NOW).await;
    assert!(
        refused.is_err(),
        "a cut trail could hide consumptions: {refused:?}"
    );
}

#[tokio::test]
async fn a_missing_segment_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let segment = trail(dir.path()).await;
    let name = segment.file_stem().unwrap().to_str().unwrap();
    let first: u64 = name.strip_prefix("log-").unwrap().parse().unwrap();
    std::fs::remove_file(&segment).unwrap();
    assert_eq!(first_bad(dir.path()).await, Some(first));
}

fn segments(dir: &Path) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let log = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("log-")
    };
    let mut segments: Vec<_> = files.filter(log).collect();
    segments.sort();
    segments
}

#[tokio::test]
async fn pruned_segments_are_no_fault_and_missing_ones_still_are() {
    let dir = tempfile::tempdir().unwrap();
    trail(dir.path()).await;
    let before = segments(dir.path());
    let backup = tempfile::tempdir().unwrap();
    let first = backup.path().join("first");
    std::fs::copy(&before[0], &first).unwrap();

    let store = open(Arc::new(Directory::new(dir.path()))).unwrap();
    let nothing = prune(&store, NOW).await;
    assert!(
        matches!(nothing, Err(StoreError::NotFound)),
        "none is older"
    );
    prune(&store, NOW.plus(Duration::from_secs(1)))
        .await
        .unwrap();
    let report = verify(&store).await;
    assert_eq!(report.fault, None);
    assert_eq!(report.first + report.good, 302, "with the pruning itself");
    let query = AuditQuery {
        limit: 1000,
        ..AuditQuery::default()
    };
    let listed = store.audit(query).await.unwrap();
    assert_eq!(listed.last().unwrap().seq, report.first);
    let again = attempt(&store, "alice", "HOTP-1", &[297], NOW)
        .await
        .unwrap();
    assert_eq!(again.decision, Decision::Reject, "used codes stay used");
    drop(store);
    // The segment that was written to, and the one that the pruning's own record began.
    let left = segments(dir.path()).len();
    assert!(left < before.len(), "{left} of {}", before.len());

    // A crash between the record and the removal leaves files behind: they go.
    std::fs::copy(&first, &before[0]).unwrap();
    assert_eq!(first_bad(dir.path()).await, None);
    assert!(!before[0].exists());

    // The trail is cut further by somebody else.
    let store = open(Arc::new(Directory::new(dir.path()))).unwrap();
    for step in 298..500 {
        attempt(&store, "alice", "HOTP-1", &[step], NOW)
            .await
            .unwrap();
    }
    drop(store);
    let left = segments(dir.path());
    assert!(left.len() > 1, "{left:?}");
    std::fs::remove_file(&left[0]).unwrap();
    assert_eq!(first_bad(dir.path()).await, Some(report.first));
}

/// What is read while segments go is not taken for tampering.
#[tokio::test]
async fn a_verification_overtaken_by_a_pruning_starts_over() {
    let dir = tempfile::tempdir().unwrap();
    trail(dir.path()).await;
    let store = Arc::new(open(Arc::new(Directory::new(dir.path()))).unwrap());
    let (read, reading) = std::sync::mpsc::channel();
    let (gone, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let progress = move |good| {
        // Behind the first segment; later nobody waits any more.
        let _ = read.send(good);
        let _ = wait.lock().unwrap().recv();
    };
    let verifier = Arc::clone(&store);
    let report = tokio::spawn(async move { verifier.verify_audit(Box::new(progress)).await });
    tokio::task::spawn_blocking(move || reading.recv().unwrap())
        .await
        .unwrap();
    let later = NOW.plus(Duration::from_secs(1));
    prune(store.as_ref(), later).await.unwrap();
    drop(gone);
    let report = report.await.unwrap().unwrap();
    assert_eq!(report.fault, None);
    assert!(report.first > 1, "{report:?}");
}

/// Whoever has read up to a record that is gone since goes on with the first one there is.
/// Number, link, event and changed fields: personal data too, which lie sealed in the trail.
#[tokio::test]
async fn followers_are_told_what_is_on_record() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(Arc::new(Directory::new(dir.path()))).unwrap();
    let mut records = store.subscribe();
    enrol(&store, "alice", "HOTP-1").await.unwrap();
    let mut user = store.view(&key("alice")).unwrap().unwrap().user;
    user.phone = Some("+82 10-1234-5678".to_owned());
    store.change(Change::UpdateUser(user), by()).await.unwrap();
    let (right, replay, wrong) = (&[3_u64][..], &[3][..], &[][..]);
    for steps in [right, replay, wrong] {
        attempt(&store, "alice", "HOTP-1", steps, NOW)
            .await
            .unwrap();
    }
    let known = store.audit_after(0, 1000).await.unwrap();
    assert_eq!(known.len(), 6);
    assert!(format!("{known:?}").contains("1234-5678"), "{known:?}");
    for record in known {
        assert_eq!(*records.recv().await.unwrap(), record);
    }
}

#[tokio::test]
async fn followers_go_on_behind_a_pruning() {
    let dir = tempfile::tempdir().unwrap();
    trail(dir.path()).await;
    let store = open(Arc::new(Directory::new(dir.path()))).unwrap();
    let later = NOW.plus(Duration::from_secs(1));
    // The second one meets the first: what goes, goes once, and is on record once.
    let (one, other) = tokio::join!(prune(&store, later), prune(&store, later));
    assert_eq!(u8::from(one.is_ok()) + u8::from(other.is_ok()), 1);
    // The record of the first may have closed one more segment.
    while prune(&store, later).await.is_ok() {}
    let first = store.health().first;
    assert!(first > 1);
    let records = store.audit_after(1, 1000).await.unwrap();
    assert_eq!(records.first().map(|record| record.seq), Some(first));
    drop(store);
    assert_eq!(segments(dir.path()).len(), 1, "none but the newest is left");
    let store = open(Arc::new(Directory::new(dir.path()))).unwrap();
    let records = store.audit_after(1, 1000).await.unwrap();
    assert_eq!(records.first().map(|record| record.seq), Some(first));
}

/// A clock that is ahead, as after a boot without a battery, ages no record.
#[tokio::test]
async fn a_clock_set_ahead_prunes_nothing() {
    const DAY: Duration = Duration::from_hours(24);
    let dir = tempfile::tempdir().unwrap();
    trail(dir.path()).await;
    let years = NOW.plus(DAY * 800);
    let base = Base {
        medium: Arc::new(Directory::new(dir.path())),
        segment_size: 16 << 10,
        ..Base::at(years)
    };
    let service = base.service();
    assert!(!service.admin.prune_audit_older(DAY * 400).await.unwrap());
    assert_eq!(service.core.store().health().first, 1);
    // Life goes on at that time: it was right.
    let change = Change::Note {
        action: "test",
        target: "later".to_owned(),
        user: None,
        detail: String::new(),
    };
    let by = By { at: years, ..by() };
    service.core.store().change(change, by).await.unwrap();
    assert!(service.admin.prune_audit_older(DAY * 400).await.unwrap());
    assert!(service.core.store().health().first > 1);
}

/// Whoever can write the files, but has no key, cannot make a pruning up.
#[tokio::test]
async fn a_forged_pruning_is_noticed() {
    const SETTINGS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("settings");
    let dir = tempfile::tempdir().unwrap();
    trail(dir.path()).await;
    let files = segments(dir.path());
    let second = files[1].file_stem().unwrap().to_str().unwrap();
    let second: u64 = second.strip_prefix("log-").unwrap().parse().unwrap();
    let mac = {
        let file = std::fs::read(&files[0]).unwrap();
        let last = frames(&file).pop().unwrap();
        values(&file, &last).pop().unwrap().1[..32].to_vec()
    };
    let mut row = (second - 1).to_be_bytes().to_vec();
    row.extend(mac);
    row.extend([0; 16]);
    let db = Database::open(dir.path().join("main.redb")).unwrap();
    let write = db.begin_write().unwrap();
    let mut table = write.open_table(SETTINGS).unwrap();
    table.insert(&b"pruned"[..], row.as_slice()).unwrap();
    drop(table);
    write.commit().unwrap();
    drop(db);
    std::fs::remove_file(&files[0]).unwrap();
    assert_eq!(first_bad(dir.path()).await, Some(1));
}
