//! Fault A3: damage at the end of the log took the newest commit back without a word, and a used code was
//! accepted again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use oncegate::model::reason::Decision;
use oncegate::store::Change;
use oncegate::store::Import;
use oncegate::store::Store;
use oncegate::store::embedded::Embedded;
use serde_json::Value;

use crate::support::Random;
use crate::support::codes::RFC_SECRET;
use crate::support::codes::hotp;
use crate::support::daemon::Site;
use crate::support::disk::Disk;
use crate::support::net::Http;
use crate::support::store::NOW;
use crate::support::store::attempt;
use crate::support::store::by;
use crate::support::store::enrol;
use crate::support::store::open_with;
use crate::support::store::user;

const KEY: [u8; 32] = [7; 32];
const PAGE: usize = 4096;

/// A daemon's store as kill -9 left it.
struct Killed {
    site: Site,
    store: PathBuf,
    /// The files before the last login, and after it.
    before: BTreeMap<String, Vec<u8>>,
    after: BTreeMap<String, Vec<u8>>,
    /// Number of the last login's record, and its code's counter.
    seq: u64,
    counter: u64,
}

impl Killed {
    /// Some logins, each answered, then kill -9.
    fn new(counter: u64, site: Site) -> Self {
        let store = site.path().join("store");
        let mut daemon = site.serve();
        let mut http = Http::new(daemon.http, &site.admin_key);
        for used in counter..counter + 2 {
            accepted(&mut http, used, "accept");
        }
        let status = http.send("GET", "/v1/admin/status", b"").unwrap().1;
        let status: Value = serde_json::from_slice(&status).unwrap();
        let before = read(&store);
        accepted(&mut http, counter + 2, "accept");
        daemon.kill();
        Self {
            seq: status["audit_seq"].as_u64().unwrap() + 1,
            after: read(&store),
            before,
            store,
            site,
            counter: counter + 2,
        }
    }

    /// The pages of the log that the last login wrote: offset.
    fn pages(&self) -> Vec<usize> {
        let (before, after) = (log(&self.before), log(&self.after));
        let pages = (PAGE..after.len()).step_by(PAGE);
        let page = |at: usize| at..(at + PAGE).min(after.len());
        pages
            .filter(|at| before.get(page(*at)) != after.get(page(*at)))
            .collect()
    }

    /// Where the last login's record is in the log: its user's name.
    fn record(&self) -> usize {
        let (log, name) = (log(&self.after), b"alice@default");
        let pages = self.pages().into_iter().filter_map(|at| {
            let page = &log[at..(at + PAGE).min(log.len())];
            let last = page.windows(name.len()).rposition(|window| window == name);
            last.map(|within| at + within)
        });
        pages.max().expect("the record")
    }

    /// Puts these files into the store.
    fn put(&self, files: &BTreeMap<String, Vec<u8>>) {
        for (name, octets) in files {
            fs::write(self.store.join(name), octets).unwrap();
        }
    }

    fn serve(&self) -> (Option<i32>, String) {
        let output = self
            .site
            .run(&["serve", "--radius", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), error)
    }

    /// The daemon does not start on these files, and names the record.
    fn is_refused(&self, files: &BTreeMap<String, Vec<u8>>, what: &str) {
        self.put(files);
        let (code, error) = self.serve();
        assert_eq!(code, Some(3), "{what}: {error}");
        let named = format!("audit record {}", self.seq);
        for word in ["damaged", named.as_str(), "oncegate audit verify"] {
            assert!(error.contains(word), "{what}: no `{word}` in {error}");
        }
    }

    /// The daemon serves on these files; what it answers to the last login's code.
    fn answers(&self, files: &BTreeMap<String, Vec<u8>>, decision: &str) {
        self.put(files);
        let daemon = self.site.serve();
        let mut http = Http::new(daemon.http, &self.site.admin_key);
        accepted(&mut http, self.counter - 1, "reject");
        accepted(&mut http, self.counter, decision);
        assert!(daemon.terminate().success());
    }
}

fn accepted(http: &mut Http, counter: u64, decision: &str) {
    let (status, answer) = http.verify("alice", &hotp(counter)).unwrap();
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["decision"], decision, "code {counter}");
}

fn read(store: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(store).unwrap().map(|file| file.unwrap());
    files
        .map(|file| {
            let name = file.file_name().into_string().unwrap();
            (name, fs::read(file.path()).unwrap())
        })
        .collect()
}

fn log_name(files: &BTreeMap<String, Vec<u8>>) -> String {
    let mut logs = files.keys().filter(|name| name.starts_with("log-"));
    logs.next_back().expect("a log").clone()
}

fn log(files: &BTreeMap<String, Vec<u8>>) -> &[u8] {
    &files[&log_name(files)]
}

fn site() -> Site {
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    site
}

#[test]
fn damage_of_the_newest_page_is_named_25_times_of_25() {
    let killed = Killed::new(0, site());
    let record = killed.record();
    let mut random = Random(3);
    for trial in 0..25 {
        let mut files = killed.after.clone();
        let octets = files.get_mut(&log_name(&killed.after)).unwrap();
        // Around the name lie request, token, rule and client of the same record.
        let at = record - 12 + usize::try_from(random.below(40)).unwrap();
        octets[at] ^= 1 << random.below(8);
        killed.is_refused(&files, &format!("trial {trial}"));
    }
    // The chain's check says the same, and what is whole is as it was.
    let verified = killed.site.run(&["--json", "audit", "verify"]);
    assert_eq!(verified.status.code(), Some(1));
    let chain: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!(chain["first_bad"], killed.seq);
    killed.answers(&killed.after, "reject");
}

/// A page of zeros, a page that was never written, a whole log from before: all of them read as an older
/// log that is in order.
#[test]
fn lost_and_stale_pages_are_named_too() {
    let killed = Killed::new(0, site());
    let name = log_name(&killed.after);
    let page = killed.record() / PAGE * PAGE;
    let with = |octets: Vec<u8>| {
        let mut files = killed.after.clone();
        files.insert(name.clone(), octets);
        files
    };
    let mut zeros = killed.after[&name].clone();
    zeros[page..page + PAGE].fill(0);
    killed.is_refused(&with(zeros), "zeros");
    let mut stale = killed.after[&name].clone();
    stale[page..page + PAGE].copy_from_slice(&killed.before[&name][page..page + PAGE]);
    killed.is_refused(&with(stale), "a page that was never written");
    killed.is_refused(&with(killed.before[&name].clone()), "the log from before");
    // The rows as well: nothing but the head knows.
    let mut files = killed.before.clone();
    files.insert("head".to_owned(), killed.after["head"].clone());
    killed.is_refused(&files, "log and rows from before");
    killed.answers(&killed.after, "reject");
}

/// What was never answered may be lost: the torn end is cut, and service goes on.
#[test]
fn a_torn_end_that_was_never_answered_is_cut() {
    let killed = Killed::new(0, site());
    let name = log_name(&killed.after);
    let mut files = killed.after.clone();
    files.insert("head".to_owned(), killed.before["head"].clone());
    files.insert("main.redb".to_owned(), killed.before["main.redb"].clone());
    let whole = files.clone();
    let record = killed.record();
    files.get_mut(&name).unwrap()[record] ^= 1;
    killed.answers(&files, "accept");
    // An end that is whole stays, though nobody was told.
    killed.answers(&whole, "reject");
}

#[test]
fn a_head_that_is_missing_or_half_damaged_is_made_anew_and_one_that_says_nothing_is_named() {
    let killed = Killed::new(0, site());
    let damaged = |slots: &[usize]| {
        let mut files = killed.after.clone();
        for slot in slots {
            files.get_mut("head").unwrap()[slot * 512 + 20] ^= 1;
        }
        files
    };
    for slot in [0, 1] {
        killed.answers(&damaged(&[slot]), "reject");
    }
    killed.put(&damaged(&[0, 1]));
    let (code, error) = killed.serve();
    assert_eq!(code, Some(3), "{error}");
    for word in ["store/head", "damaged", "remove that file"] {
        assert!(error.contains(word), "no `{word}` in {error}");
    }
    // As a store from before there was one; and it guards again at once.
    let mut files = killed.after.clone();
    files.remove("head");
    fs::remove_file(killed.store.join("head")).unwrap();
    killed.answers(&files, "reject");
    let again = Killed::new(3, killed.site);
    let mut files = again.after.clone();
    let record = again.record();
    files.get_mut(&log_name(&again.after)).unwrap()[record] ^= 1;
    again.is_refused(&files, "made anew");
}

/// Whatever commits moves the head: a log from before it is refused.
#[tokio::test]
async fn every_way_to_commit_moves_the_head() {
    let disk = Disk::default();
    let store = open_with(Arc::new(disk.clone()), KEY, 40_000).unwrap();
    enrol(&store, "alice", "HOTP-1").await.unwrap();
    let is_guarded = |before: &BTreeMap<String, Vec<u8>>, what: &str| {
        let mut files = before.clone();
        files.insert("head".to_owned(), disk.files()["head"].clone());
        let store = open_with(Arc::new(Disk::with(files)), KEY, 40_000).unwrap();
        let fault = store.health().fault.unwrap_or_default();
        assert!(fault.contains("its answer has left"), "{what}: {fault}");
        let whole = open_with(Arc::new(Disk::with(disk.files())), KEY, 40_000).unwrap();
        assert_eq!(whole.health().fault, None, "{what}");
    };
    let before = disk.files();
    let settled = attempt(&store, "alice", "HOTP-1", &[1], NOW).await.unwrap();
    assert_eq!(settled.decision, Decision::Accept);
    is_guarded(&before, "a login");

    let before = disk.files();
    let users = (0..50).map(|n| Import::User(Box::new(user(&format!("user{n}")))));
    let import = Change::Import(users.collect());
    store.change(import, by()).await.unwrap();
    is_guarded(&before, "an import");

    // Into the next segment, then the first one goes.
    for n in 0..200 {
        note(&store, n).await;
    }
    enrol(&store, "bob", "HOTP-2").await.unwrap();
    let before = disk.files();
    let later = NOW.plus(Duration::from_secs(1));
    let prune = Change::PruneAudit { before: later };
    let deadline = Instant::now() + Duration::from_mins(1);
    while let Err(error) = store.change(prune.clone(), by()).await {
        // Until the checkpoint.
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    is_guarded(&before, "pruning");

    // A disk that was full: what turned out durable counts, and so does what follows.
    disk.set_full(true);
    assert!(attempt(&store, "alice", "HOTP-1", &[2], NOW).await.is_err());
    disk.set_full(false);
    while store.health().fault.is_some() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let before = disk.files();
    attempt(&store, "alice", "HOTP-1", &[3], NOW).await.unwrap();
    is_guarded(&before, "a commit after a fault");
}

async fn note(store: &Embedded, n: u64) {
    let note = Change::Note {
        action: "test",
        target: n.to_string(),
        user: None,
        detail: "x".repeat(300),
    };
    store.change(note, by()).await.unwrap();
}
