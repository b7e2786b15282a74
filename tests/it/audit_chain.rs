//! Tampering with the audit trail is noticed, and the first bad record is named (SECURITY T35).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use oncegate::model::reason::Decision;
use oncegate::store::AuditQuery;
use oncegate::store::ChainReport;
use oncegate::store::Change;
use oncegate::store::Store;
use oncegate::store::StoreError;
use oncegate::store::medium::Directory;
use oncegate::time::UnixTime;
use redb::Database;
use redb::ReadableDatabase;
use redb::ReadableTable;
use redb::TableDefinition;

use crate::support::store::NOW;
use crate::support::store::attempt;
use crate::support::store::by;
use crate::support::store::enrol;
use crate::support::store::open;

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log_v1");

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

/// Changes the values of the table with the engine itself, so that its checksums are right.
fn tamper(segment: &Path, act: impl FnOnce(&mut redb::Table<'_, u64, &[u8]>)) {
    let db = Database::open(segment).unwrap();
    let write = db.begin_write().unwrap();
    act(&mut write.open_table(LOG).unwrap());
    write.commit().unwrap();
}

fn value(table: &redb::Table<'_, u64, &[u8]>, seq: u64) -> Vec<u8> {
    table.get(seq).unwrap().unwrap().value().to_vec()
}

async fn verify(store: &dyn Store) -> ChainReport {
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
    let original = {
        let db = Database::open(&segment).unwrap();
        let table = db.begin_read().unwrap().open_table(LOG).unwrap();
        table.get(150).unwrap().unwrap().value().to_vec()
    };
    for bit in (0..original.len() * 8).step_by(37) {
        let mut bad = original.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        tamper(&segment, |table| {
            drop(table.insert(150, bad.as_slice()).unwrap());
        });
        assert_eq!(first_bad(dir.path()).await, Some(150), "bit {bit}");
    }
    tamper(&segment, |table| {
        drop(table.insert(150, original.as_slice()).unwrap());
    });
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
    tamper(&segment, |table| drop(table.remove(150).unwrap()));
    assert_eq!(first_bad(dir.path()).await, Some(150));
}

#[tokio::test]
async fn swapped_records_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let segment = trail(dir.path()).await;
    tamper(&segment, |table| {
        let (a, b) = (value(table, 150), value(table, 151));
        table.insert(150, b.as_slice()).unwrap();
        table.insert(151, a.as_slice()).unwrap();
    });
    assert_eq!(first_bad(dir.path()).await, Some(150));
}

#[tokio::test]
async fn records_cut_off_at_the_end_are_noticed_and_stop_decisions() {
    let dir = tempfile::tempdir().unwrap();
    trail(dir.path()).await;
    let segment = segment_of(dir.path(), 300);
    tamper(&segment, |table| drop(table.remove(300).unwrap()));
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

async fn prune(store: &dyn Store, before: UnixTime) -> Result<(), StoreError> {
    store.change(Change::PruneAudit { before }, by()).await
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
    // The segment that was written to, and the one that the pruning's own record began.
    assert!(
        segments(dir.path()).len() < before.len(),
        "{}",
        before.len()
    );
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
        let db = Database::open(&files[0]).unwrap();
        let table = db.begin_read().unwrap().open_table(LOG).unwrap();
        let last = table.last().unwrap().unwrap();
        last.1.value()[..32].to_vec()
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
