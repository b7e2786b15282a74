//! Rows of the store that were changed, removed or exchanged behind its back: nobody is let in on one.

use std::sync::Arc;
use std::time::Duration;

use oncegate::store::medium::Directory;
use oncegate::store::{Change, StoreError};
use oncegate::time::UnixTime;

use crate::support::codes::{hotp_of, secret_of};
use crate::support::daemon::{Daemon, Site};
use crate::support::net::{Http, Radius};
use crate::support::{rowfile, store};

/// Alice and Bob with a counter-based token each; the first code of both is used, and the daemon has
/// been stopped.
struct House {
    site: Site,
    key: String,
    alice: String,
    bob: String,
    /// Bob's next counter.
    next: u64,
}

impl House {
    fn new() -> Self {
        let site = Site::new();
        let alice = site.enrol("alice", "hotp", &secret_of("alice"));
        let bob = site.enrol("bob", "hotp", &secret_of("bob"));
        site.radius_client("nas", "testing123");
        let key = site.api_client("app");
        let mut house = Self {
            site,
            key,
            alice,
            bob,
            next: 0,
        };
        let daemon = house.site.serve();
        assert_eq!(house.ask(&daemon, "alice", 0), (200, "accept".to_owned()));
        house.bob_is_let_in(&daemon);
        assert!(daemon.terminate().success());
        house
    }

    fn store(&self) -> std::path::PathBuf {
        self.site.path().join("store")
    }

    fn ask(&self, daemon: &Daemon, user: &str, counter: u64) -> (u16, String) {
        let mut http = Http::new(daemon.http, &self.key);
        let (status, answer) = http.verify(user, &hotp_of(user, counter)).unwrap();
        let decision = answer["decision"].as_str().unwrap_or_default();
        (status, decision.to_owned())
    }

    fn bob_is_let_in(&mut self, daemon: &Daemon) {
        let answer = self.ask(daemon, "bob", self.next);
        assert_eq!(answer, (200, "accept".to_owned()));
        self.next += 1;
    }

    /// Alice's used code is not decided about, over either front end; Bob is let in.
    fn alice_waits(&mut self, daemon: &Daemon) {
        assert_eq!(self.ask(daemon, "alice", 0), (503, String::new()));
        assert_eq!(self.ask(daemon, "alice", 1), (503, String::new()));
        self.bob_is_let_in(daemon);
    }

    /// What `status` says is damaged.
    fn damage(&self) -> Vec<String> {
        let status = self.site.json(&["status"]);
        let damage = status["damage"].as_array().cloned().unwrap_or_default();
        let words = damage.iter().map(|row| row.as_str().unwrap().to_owned());
        words.collect()
    }
}

/// The sighting: one octet of a last step.
#[test]
fn a_changed_state_lets_nobody_in_and_is_named() {
    let mut house = House::new();
    let (key, stored) = rowfile::find(&house.store(), "token_states", &house.alice);
    let damages: [fn(&mut Vec<u8>); 5] = [
        |row| row[1] ^= 1,
        |row| row[2] ^= 1,
        |row| *row.last_mut().unwrap() ^= 0x80,
        |row| row.truncate(7),
        Vec::clear,
    ];
    for damage in damages {
        let mut row = stored.clone();
        damage(&mut row);
        rowfile::put(&house.store(), "token_states", &key, Some(&row));
        let daemon = house.site.serve();
        house.alice_waits(&daemon);
        let named = house.damage();
        assert_eq!(named.len(), 1, "{named:?}");
        let wanted = format!("token_states {}: ", house.alice);
        assert!(named[0].starts_with(&wanted), "{named:?}");
        assert!(daemon.terminate().success());
        rowfile::put(&house.store(), "token_states", &key, Some(&stored));
    }
    let daemon = house.site.serve();
    assert_eq!(house.ask(&daemon, "alice", 0), (200, "reject".to_owned()));
    assert!(house.damage().is_empty());
}

#[test]
fn damage_is_named_by_doctor_log_and_metric_without_secrets() {
    let mut house = House::new();
    let (key, mut stored) = rowfile::find(&house.store(), "token_states", &house.alice);
    stored[1] ^= 1;
    rowfile::put(&house.store(), "token_states", &key, Some(&stored));
    let daemon = house.site.serve();
    house.alice_waits(&daemon);
    let mut radius = Radius::new(daemon.radius, "testing123");
    radius.patience(Duration::from_millis(300));
    assert_eq!(radius.ask("alice", &hotp_of("alice", 0)), None, "silence");
    let (_, page) = Http::new(daemon.http, &house.key)
        .send("GET", "/metrics", b"")
        .unwrap();
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains("oncegate_store_damaged_rows 1\n"), "{page}");
    let doctor = house.site.run(&["doctor"]);
    let text = String::from_utf8(doctor.stdout).unwrap();
    assert_eq!(doctor.status.code(), Some(1));
    assert!(
        text.contains(&format!("token_states {}", house.alice)),
        "{text}"
    );
    assert!(text.contains("store verify --repair"), "{text}");
    let screen = String::from_utf8(house.site.run(&["status"]).stdout).unwrap();
    assert!(screen.contains(&house.alice), "{screen}");
    let log = house.site.log();
    let lines = log
        .lines()
        .filter(|line| line.contains("a row of the store is damaged"));
    assert_eq!(lines.count(), 1, "said once: {log}");
    assert!(log.contains(&house.alice) && !log.contains("123456789012345"));
}

/// Anybody can write a group into a row; only the store can make its tag.
#[test]
fn a_group_edited_without_the_key_lets_nobody_in() {
    let mut house = House::new();
    let site = &house.site;
    site.json(&["user", "set", "alice", "--group", "guest"]);
    let (key, mut stored) = rowfile::find(&house.store(), "users", "alice");
    let at = stored.windows(5).position(|five| five == b"guest").unwrap();
    stored[at..at + 5].copy_from_slice(b"staff");
    rowfile::put(&house.store(), "users", &key, Some(&stored));
    let daemon = house.site.serve();
    house.alice_waits(&daemon);
    let list = house.site.run(&["--json", "user", "list"]);
    assert!(list.status.success(), "{list:?}");
    let users: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
    let names: Vec<&str> = users["users"]
        .as_array()
        .unwrap()
        .iter()
        .map(|user| user["user"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["bob@default"], "the others are shown");
    let damaged = users["damaged"][0].as_str().unwrap();
    assert!(damaged.starts_with("users default/alice: "), "{damaged}");
    assert!(String::from_utf8_lossy(&list.stderr).contains("default/alice"));
}

/// Its tag is right, yet it is not the newest.
#[test]
fn an_older_row_put_back_is_caught_against_the_journal() {
    let mut house = House::new();
    let (key, older) = rowfile::find(&house.store(), "token_states", &house.alice);
    let daemon = house.site.serve();
    assert_eq!(house.ask(&daemon, "alice", 1), (200, "accept".to_owned()));
    assert!(daemon.terminate().success());
    rowfile::put(&house.store(), "token_states", &key, Some(&older));
    let daemon = house.site.serve();
    house.alice_waits(&daemon);
    let named = house.damage();
    assert!(named[0].contains("an older row was put back"), "{named:?}");
}

/// A right row in another's place.
#[test]
fn a_row_of_another_token_is_refused() {
    let mut house = House::new();
    let (_, of_bob) = rowfile::find(&house.store(), "token_states", &house.bob);
    rowfile::put(
        &house.store(),
        "token_states",
        house.alice.as_bytes(),
        Some(&of_bob),
    );
    let daemon = house.site.serve();
    house.alice_waits(&daemon);
}

/// What is missing would mean the beginning: no step used, no failure counted, no such user.
#[test]
fn a_removed_row_is_not_the_beginning() {
    let mut house = House::new();
    let daemon = house.site.serve();
    for _ in 0..4 {
        house.ask(&daemon, "alice", 500);
    }
    assert!(daemon.terminate().success());
    for (table, end) in [
        ("token_states", house.alice.clone()),
        ("user_states", "alice".to_owned()),
        ("users", "alice".to_owned()),
        ("tokens", house.alice.clone()),
    ] {
        let (key, stored) = rowfile::find(&house.store(), table, &end);
        rowfile::put(&house.store(), table, &key, None);
        let daemon = house.site.serve();
        house.alice_waits(&daemon);
        let named = house.damage();
        assert!(
            named[0].starts_with(table) && named[0].contains("missing"),
            "{named:?}"
        );
        assert!(daemon.terminate().success());
        rowfile::put(&house.store(), table, &key, Some(&stored));
    }
}

/// The whole file of yesterday is not damaged: the journal brings it up to today.
#[test]
fn a_whole_older_file_is_brought_up_by_the_journal() {
    let mut house = House::new();
    let main = house.store().join("main.redb");
    let older = std::fs::read(&main).unwrap();
    let daemon = house.site.serve();
    assert_eq!(house.ask(&daemon, "alice", 1), (200, "accept".to_owned()));
    assert!(daemon.terminate().success());
    std::fs::write(&main, older).unwrap();
    let daemon = house.site.serve();
    assert_eq!(house.ask(&daemon, "alice", 1), (200, "reject".to_owned()));
    house.bob_is_let_in(&daemon);
    assert!(house.damage().is_empty(), "{:?}", house.damage());
}

/// Up to which record the file is written decides what is read again at the start.
#[test]
fn what_the_file_says_of_itself_is_authenticated() {
    let house = House::new();
    let (key, mut stored) = rowfile::find(&house.store(), "meta", "applied");
    stored[7] ^= 1;
    rowfile::put(&house.store(), "meta", &key, Some(&stored));
    let refused = house.site.run(&["serve"]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(text.contains("store verify --repair"), "{text}");
}

/// Where the journal was pruned nothing names the row, but the sum of the table tells.
#[tokio::test]
async fn an_older_row_is_noticed_where_the_journal_was_pruned() {
    let dir = tempfile::tempdir().unwrap();
    let medium = || Arc::new(Directory::new(dir.path()));
    let open = || store::open(medium());
    let embedded = open().unwrap();
    for (user, serial) in [("alice", "HOTP-1"), ("bob", "HOTP-2")] {
        store::enrol(&embedded, user, serial).await.unwrap();
    }
    drop(embedded);
    let (key, older) = rowfile::find(dir.path(), "token_states", "HOTP-1");
    let embedded = open().unwrap();
    let used = store::attempt(&embedded, "alice", "HOTP-1", &[5], store::NOW).await;
    used.unwrap();
    for step in 0..200 {
        let used = store::attempt(&embedded, "bob", "HOTP-2", &[step], store::NOW).await;
        used.unwrap();
    }
    let before = UnixTime::from_secs(store::NOW.as_secs() + 60);
    let prune = || store::prune(&embedded, before);
    while matches!(prune().await, Err(StoreError::NotFound)) {
        // The checkpoint is not as far yet.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(embedded.health().first > 8, "{:?}", embedded.health());
    drop(embedded);
    let (_, newer) = rowfile::find(dir.path(), "token_states", "HOTP-1");
    rowfile::put(dir.path(), "token_states", &key, Some(&older));
    let embedded = open().unwrap();
    let undecided = store::attempt(&embedded, "alice", "HOTP-1", &[5], store::NOW).await;
    assert!(
        matches!(undecided, Err(StoreError::Corrupt(_))),
        "{undecided:?}"
    );
    let health = embedded.health();
    assert_eq!(health.damage[0].table, "token_states");
    assert!(health.fault.is_some(), "nobody's state is sure");
    drop(embedded);
    rowfile::put(dir.path(), "token_states", &key, Some(&newer));
    let embedded = open().unwrap();
    assert!(embedded.view(&store::key("alice")).is_ok());
    assert_eq!(embedded.health().damaged, 0);
}

/// The sums follow every change, a checkpoint after the other, over removals.
#[tokio::test]
async fn a_store_that_nobody_touched_is_never_called_damaged() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..6_u64 {
        let embedded = store::open(Arc::new(Directory::new(dir.path()))).unwrap();
        assert_eq!(embedded.health().damaged, 0, "{:?}", embedded.health());
        let (user, serial) = (format!("user{round}"), format!("HOTP-{round}"));
        store::enrol(&embedded, &user, &serial).await.unwrap();
        for step in 0..20 {
            let used = store::attempt(&embedded, &user, &serial, &[step], store::NOW).await;
            used.unwrap();
        }
        if round % 2 == 1 {
            let remove = Change::RemoveUser(store::key(&user), None);
            embedded.change(remove, store::by()).await.unwrap();
        }
    }
    let embedded = store::open(Arc::new(Directory::new(dir.path()))).unwrap();
    assert_eq!(embedded.health().damaged, 0, "{:?}", embedded.health());
}
