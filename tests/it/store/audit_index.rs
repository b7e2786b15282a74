//! Indexes of the audit: a search by them finds what a search without them does, reads nothing else, and believes none
//! that is damaged or another's. Retention by size.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use oncegate::model::audit::{AuditRecord, Event};
use oncegate::store::medium::Directory;
use oncegate::store::{AuditQuery, Change, Store};
use oncegate::time::UnixTime;

use crate::support::store::{NOW, attempt, by, enrol, open};

const PEOPLE: [&str; 4] = ["alice", "bob", "carol", "dave"];

fn files(dir: &Path, begin: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| {
        path.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with(begin)
    });
    files.sort();
    files
}

fn at(second: u64) -> UnixTime {
    NOW.plus(Duration::from_secs(second))
}

/// A closed store: a record of `rare` at the beginning, then many of others, of whom `dave` comes last.
async fn trail(dir: &Path) {
    let store = open(Arc::new(Directory::new(dir))).unwrap();
    enrol(&store, "rare", "HOTP-0").await.unwrap();
    attempt(&store, "rare", "HOTP-0", &[0], at(0))
        .await
        .unwrap();
    for (number, name) in PEOPLE.iter().enumerate() {
        enrol(&store, name, &format!("HOTP-{}", number + 1))
            .await
            .unwrap();
    }
    for (step, number) in (0..900_u64).zip(0_usize..) {
        let who = if step < 700 { number % 3 } else { 3 };
        let serial = format!("HOTP-{}", who + 1);
        // Every fifth is a code that was used.
        let code = if step % 5 == 4 { 0 } else { step };
        attempt(&store, PEOPLE[who], &serial, &[code], at(step))
            .await
            .unwrap();
    }
}

/// Opens it and waits until every closed segment has its index.
async fn indexed(dir: &Path) -> Store {
    let store = open(Arc::new(Directory::new(dir))).unwrap();
    let began = Instant::now();
    while files(dir, "index-").len() + 1 < files(dir, "log-").len() {
        assert!(began.elapsed() < Duration::from_secs(20), "no indexes");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    store
}

/// All records, read one after the other.
async fn all(store: &Store) -> Vec<AuditRecord> {
    let mut records: Vec<AuditRecord> = Vec::new();
    loop {
        let last = records.last().map_or(0, |record| record.seq);
        let more = store.audit_after(last, 500).await.unwrap();
        if more.is_empty() {
            records.reverse();
            return records;
        }
        records.extend(more);
    }
}

fn user_of(record: &AuditRecord) -> Option<&str> {
    match &record.event {
        Event::Decision(event) => Some(&event.user),
        Event::Change(event) => event.user.as_deref(),
    }
}

async fn found(store: &Store, query: &AuditQuery) -> Vec<u64> {
    let records = store.audit(query.clone()).await.unwrap();
    records.iter().map(|record| record.seq).collect()
}

fn of(user: &str) -> AuditQuery {
    AuditQuery {
        user: Some(format!("{user}@default")),
        limit: 10_000,
        ..AuditQuery::default()
    }
}

#[tokio::test]
async fn a_search_by_indexes_finds_what_there_is_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    trail(dir.path()).await;
    let store = indexed(dir.path()).await;
    let all = all(&store).await;
    let with = |fits: &dyn Fn(&AuditRecord) -> bool| -> Vec<u64> {
        let fitting = all.iter().filter(|record| fits(record));
        fitting.map(|record| record.seq).collect()
    };
    for user in ["rare", "alice", "dave", "none"] {
        let name = format!("{user}@default");
        let expected = with(&|record| user_of(record) == Some(&name));
        assert_eq!(expected.is_empty(), user == "none");
        assert_eq!(found(&store, &of(user)).await, expected, "{user}");
        let part = AuditQuery {
            limit: 3,
            ..of(user)
        };
        assert_eq!(
            found(&store, &part).await,
            expected[..expected.len().min(3)]
        );
        for before in [1, 2, 300, 301, 302, 800, 100_000] {
            let query = AuditQuery {
                before: Some(before),
                ..of(user)
            };
            let below: Vec<u64> = expected
                .iter()
                .copied()
                .filter(|seq| *seq < before)
                .collect();
            assert_eq!(found(&store, &query).await, below, "{user} before {before}");
        }
    }
    for (reason, word) in [("used_code", "used_code"), ("hotp_ok", "hotp_ok")] {
        let reason = reason.parse().unwrap();
        let query = AuditQuery {
            reason: Some(reason),
            user: None,
            ..of("alice")
        };
        let expected = with(
            &|record| matches!(&record.event, Event::Decision(event) if event.reason.as_str() == word),
        );
        assert!(!expected.is_empty());
        assert_eq!(found(&store, &query).await, expected, "{word}");
    }
    for (since, until) in [(0, 1), (100, 120), (690, 705), (899, 2000), (5000, 6000)] {
        let query = AuditQuery {
            since: Some(at(since)),
            until: Some(at(until)),
            user: None,
            ..of("alice")
        };
        let expected = with(&|record| record.at >= at(since) && record.at < at(until));
        assert_eq!(found(&store, &query).await, expected, "{since} to {until}");
    }
    let actor = AuditQuery {
        actor: Some("test".to_owned()),
        user: None,
        ..of("alice")
    };
    let expected =
        with(&|record| matches!(&record.event, Event::Change(event) if event.actor == "test"));
    assert_eq!(found(&store, &actor).await, expected);
    let both = AuditQuery {
        client: Some("test".to_owned()),
        ..of("dave")
    };
    assert_eq!(found(&store, &both).await.len(), 200);
    let neither = AuditQuery {
        client: Some("other".to_owned()),
        ..of("dave")
    };
    assert_eq!(found(&store, &neither).await, Vec::<u64>::new());
}

#[tokio::test]
async fn segments_without_what_is_looked_for_are_not_read() {
    let dir = tempfile::tempdir().unwrap();
    trail(dir.path()).await;
    let store = indexed(dir.path()).await;
    let segments = files(dir.path(), "log-");
    assert!(segments.len() > 8, "{}", segments.len());
    let expected = found(&store, &of("rare")).await;
    assert_eq!(expected.len(), 3);
    // What is overwritten here is missed by who reads it.
    let length = std::fs::metadata(&segments[4]).unwrap().len();
    let mut octets = std::fs::read(&segments[4]).unwrap();
    octets[4096..].fill(0);
    std::fs::write(&segments[4], &octets).unwrap();
    assert_eq!(octets.len() as u64, length);
    assert_eq!(found(&store, &of("rare")).await, expected);
    let alice = store.audit(of("alice")).await;
    assert!(
        alice.is_err() || alice.unwrap().len() < 200,
        "it reads that segment"
    );
}

#[tokio::test]
async fn an_index_that_is_damaged_or_of_another_segment_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    trail(dir.path()).await;
    let store = indexed(dir.path()).await;
    let expected = found(&store, &of("alice")).await;
    drop(store);
    let indexes = files(dir.path(), "index-");
    let original = std::fs::read(&indexes[3]).unwrap();
    let spoil = |what: usize| match what {
        // Pages: what it says of itself, its blocks, its words.
        0..3 => {
            let mut bad = original.clone();
            bad[what * 4096 + 20] ^= 1;
            std::fs::write(&indexes[3], bad).unwrap();
        }
        3 => std::fs::remove_file(&indexes[3]).unwrap(),
        4 => std::fs::write(&indexes[3], b"").unwrap(),
        5 => drop(std::fs::copy(&indexes[5], &indexes[3]).unwrap()),
        6 => std::fs::write(&indexes[3], &original[..4096]).unwrap(),
        _ => std::fs::write(&indexes[3], vec![0xff; 1 << 20]).unwrap(),
    };
    for what in 0..8 {
        spoil(what);
        // Opened with it, and spoilt while it is in use.
        let store = open(Arc::new(Directory::new(dir.path()))).unwrap();
        assert_eq!(found(&store, &of("alice")).await, expected, "{what}");
        let began = Instant::now();
        while std::fs::read(&indexes[3]).ok().as_ref() != Some(&original) {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "{what} is not made again"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(found(&store, &of("alice")).await, expected, "{what}");
        spoil(what);
        assert_eq!(found(&store, &of("alice")).await, expected, "{what} in use");
        drop(store);
        std::fs::write(&indexes[3], &original).unwrap();
    }
}

#[tokio::test]
async fn the_audit_is_kept_up_to_a_size() {
    let dir = tempfile::tempdir().unwrap();
    trail(dir.path()).await;
    let store = indexed(dir.path()).await;
    let size = |begin: &str| -> u64 {
        let all = files(dir.path(), begin);
        // A file that is listed may be removed before its size is asked for.
        all.iter()
            .filter_map(|path| Some(std::fs::metadata(path).ok()?.len()))
            .sum()
    };
    let before = size("log-");
    assert!(
        store.prunable_beyond(before).await.unwrap().is_none(),
        "all of it fits"
    );
    let most = before / 2;
    // Only what main.redb holds as well can go.
    let began = Instant::now();
    let prunable = loop {
        match store.prunable_beyond(most).await.unwrap() {
            Some(prunable) => break prunable,
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
        assert!(began.elapsed() < Duration::from_secs(10));
    };
    let last = prunable.last();
    store
        .change(Change::PruneAudit(prunable), by())
        .await
        .unwrap();
    let began = Instant::now();
    // What the pruning itself puts on record may begin another file.
    let all = files(dir.path(), "log-");
    let lengths = all
        .iter()
        .filter_map(|path| Some(std::fs::metadata(path).ok()?.len()));
    let most = most + lengths.max().unwrap_or_default();
    while size("log-") > most {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{} of {most}",
            size("log-")
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(size("log-") > most / 2, "no more than needed goes");
    assert!(files(dir.path(), "index-").len() < files(dir.path(), "log-").len());
    assert!(
        store
            .verify_audit(Box::new(|_| ()))
            .await
            .unwrap()
            .fault
            .is_none()
    );
    assert!(found(&store, &of("rare")).await.is_empty());
    assert_eq!(store.health().first, last + 1);
    assert!(!found(&store, &of("dave")).await.is_empty());
    drop(store);
    open(Arc::new(Directory::new(dir.path()))).unwrap();
}
