//! Stores that earlier versions wrote are opened by this one, and what was used stays used.
//!
//! Before a release, and before a change of the stored form, this version's store is added:
//! `cargo test --test it -- --ignored fixtures`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use oncegate::model::client::Scope;
use oncegate::model::kind::Kind;
use oncegate::model::sealing::SealAlgorithm;
use oncegate::secret::{Key256, SystemEntropy};
use oncegate::store::STORE_FORMAT;
use oncegate::store::medium::Directory;
use oncegate::store::repair::repair;
use oncegate::time::{FixedClock, UnixTime};
use redb::{ReadableDatabase as _, TableDefinition};
use serde_json::json;

use crate::support::app::TestApp;
use crate::support::codes::hotp;
use crate::support::daemon::{NO_DELAY, Site};
use crate::support::disk::Disk;
use crate::support::store::{NOW, enrol, open_with};

/// When every fixture was written.
const WRITTEN: UnixTime = UnixTime::from_secs(1_767_225_600);

const META: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("meta");

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn open(dir: &Path, now: UnixTime) -> TestApp {
    let (medium, entropy) = (Arc::new(Directory::new(dir)), Arc::new(SystemEntropy));
    TestApp::on(medium, FixedClock::at(now), entropy, NO_DELAY, false)
}

#[tokio::test]
async fn stores_of_every_version_are_opened() {
    let mut versions = 0;
    for entry in fs::read_dir(fixtures()).unwrap() {
        let fixture = entry.unwrap().path();
        let dir = tempfile::tempdir().unwrap();
        for file in fs::read_dir(&fixture).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
        }
        let app = open(dir.path(), WRITTEN.plus(Duration::from_hours(24)));
        let format = async || app.admin("GET", "/v1/admin/status", None).await.json();
        assert_eq!(format().await["store_format"], 1);
        assert_eq!(format_of(dir.path(), "main.redb"), 1, "nothing was written");
        let alice = app.admin("GET", "/v1/admin/users/alice", None).await.json();
        assert_eq!(alice["groups"], json!(["staff"]), "{alice}");
        assert_eq!(
            alice["phone"], "+821012345678",
            "sealed by a key of its own"
        );
        let key = app.key("app", Scope::Verify, None).await;
        // The first code was accepted by the version that wrote the store.
        for (step, decision) in [(0, "reject"), (1, "accept"), (1, "reject")] {
            let answer = app.verify(&key, "alice", &hotp(step)).await.json();
            assert_eq!(answer["decision"], decision, "{}", fixture.display());
        }
        for part in ["audit", "store"] {
            let path = format!("/v1/admin/{part}/verify");
            let report = app.admin("POST", &path, None).await.json();
            assert_eq!(report["intact"], true, "{report}");
        }
        assert_eq!(format().await["store_format"], STORE_FORMAT);
        app.app.drain().await;
        drop(app);
        // An older version refuses it from now on, by the one file and by the other.
        drop(open(dir.path(), WRITTEN.plus(Duration::from_hours(24))));
        for file in ["main.redb", "identity.redb"] {
            assert_eq!(format_of(dir.path(), file), STORE_FORMAT, "{file}");
        }
        versions += 1;
    }
    assert_eq!(versions, 2, "fixtures");
}

/// The format that a file of a store names.
fn format_of(dir: &Path, file: &str) -> u8 {
    // A copy, since the store may have it open.
    let copy = tempfile::tempdir().unwrap();
    let copy = copy.path().join(file);
    fs::copy(dir.join(file), &copy).unwrap();
    let file = redb::Database::open(copy).unwrap();
    let table = file.begin_read().unwrap().open_table(META).unwrap();
    table.get(&b"format"[..]).unwrap().unwrap().value()[0]
}

/// Has a file of a store name another format.
fn set_format(dir: &Path, file: &str, format: u8) {
    let file = redb::Database::open(dir.join(file)).unwrap();
    let write = file.begin_write().unwrap();
    let mut table = write.open_table(META).unwrap();
    table.insert(&b"format"[..], &[format][..]).unwrap();
    drop(table);
    write.commit().unwrap();
}

/// One of the two files is older: neither a key nor the format of the other is lost.
#[tokio::test]
async fn the_higher_format_stays_whichever_file_knows_more_keys() {
    const KEY: [u8; 32] = [7; 32];
    let (main, copy) = ("main.redb", "identity.redb");
    // The file of before the exchange of the data key, if one is put back, and the one with the lower format.
    let cases = [
        (Some(main), copy),
        (Some(copy), main),
        (None, main),
        (None, copy),
    ];
    for (older, lower) in cases {
        for repaired in [false, true] {
            let about = format!("{older:?} {lower} {repaired}");
            let dir = tempfile::tempdir().unwrap();
            let open = || open_with(Arc::new(Directory::new(dir.path())), KEY, 1 << 20).unwrap();
            let store = open();
            enrol(&store, "alice", "HOTP-1").await.unwrap();
            drop(store);
            let before = older.map(|file| (file, fs::read(dir.path().join(file)).unwrap()));
            let store = open();
            let exchanged = store.exchange_data_key(Key256::new(KEY), NOW).await;
            assert_eq!(exchanged.unwrap(), 1);
            drop(store);
            if let Some((file, octets)) = before {
                fs::write(dir.path().join(file), octets).unwrap();
            }
            set_format(dir.path(), lower, 1);
            if repaired {
                let algorithm = SealAlgorithm::default();
                repair(dir.path(), &Key256::new(KEY), algorithm, NOW).unwrap();
                assert_eq!(format_of(dir.path(), main), STORE_FORMAT, "{about}");
            }
            let store = open();
            assert_eq!(store.data_keys().await.unwrap().number, 1, "{about}");
            drop(store);
            for file in [main, copy] {
                assert_eq!(format_of(dir.path(), file), STORE_FORMAT, "{about} {file}");
            }
        }
    }
}

/// What a newer version has written in a form of its own: this one says so, everywhere, and changes nothing.
#[test]
fn a_store_of_a_newer_version_is_refused_with_the_cause() {
    let site = Site::new();
    for file in ["main.redb", "identity.redb"] {
        set_format(&site.path().join("store"), file, 200);
    }
    for (words, code) in [
        (
            &["serve", "--radius", "127.0.0.1:0", "--http", "127.0.0.1:0"][..],
            3,
        ),
        (&["user", "list"], 3),
        (&["store", "verify", "--repair"], 3),
        (&["upgrade", "check"], 1),
        (&["doctor"], 1),
    ] {
        let output = site.run(words);
        let said = [&output.stdout[..], &output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(
            said.contains("format 200") && said.contains("run the newer version"),
            "{words:?}: {said}"
        );
    }
    let main = redb::Database::open(site.path().join("store/main.redb")).unwrap();
    let read = main.begin_read().unwrap().open_table(META).unwrap();
    let format = read.get(&b"format"[..]).unwrap().unwrap();
    assert_eq!(format.value(), [200], "it is as it was");
}

#[tokio::test]
#[ignore = "writes the fixture of this version"]
async fn the_store_of_this_version_is_written() {
    let dir = fixtures().join(concat!("store-", env!("CARGO_PKG_VERSION")));
    assert!(!dir.exists(), "{} exists", dir.display());
    fs::create_dir_all(&dir).unwrap();
    let app = open(&dir, WRITTEN);
    app.user_with("alice", Kind::Hotp, true).await;
    app.user_with("bob", Kind::Totp, false).await;
    let change = json!({ "groups": ["staff"], "phone": "+821012345678" });
    let changed = app.admin("PATCH", "/v1/admin/users/alice", Some(change));
    assert_eq!(changed.await.status, 200);
    let key = app.key("payroll", Scope::Verify, None).await;
    let accepted = app.verify(&key, "alice", &hotp(0)).await.json();
    assert_eq!(accepted["decision"], "accept", "{accepted}");
    app.app.drain().await;
}

/// A disk that has no room at the first write of this version: it is over when there is room, without a restart.
#[tokio::test]
async fn a_store_is_taken_over_when_the_disk_has_room_again() {
    let fixture = fixtures().join("store-0.1.0-segments");
    let files = fs::read_dir(fixture).unwrap().map(|file| {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        (name, fs::read(file.path()).unwrap())
    });
    let disk = Disk::with(files.collect());
    let (medium, entropy) = (Arc::new(disk.clone()), Arc::new(SystemEntropy));
    let clock = FixedClock::at(WRITTEN.plus(Duration::from_hours(24)));
    let app = TestApp::on(medium, clock, entropy, NO_DELAY, false);
    let add = async || {
        let body = Some(json!({ "user": "carol" }));
        app.admin("POST", "/v1/admin/users", body).await.status
    };
    disk.set_full(true);
    assert_eq!(add().await, 503);
    disk.set_full(false);
    let healed = async {
        while add().await != 201 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let healed = tokio::time::timeout(Duration::from_secs(30), healed).await;
    assert!(healed.is_ok(), "{:?}", app.app.store().health().fault);
}
