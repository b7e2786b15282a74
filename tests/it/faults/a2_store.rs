//! A damaged `main.redb`: refused with advice or worked around, named, and made anew from the journal.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use oncegate::model::reason::Decision;
use oncegate::model::sealing::SealAlgorithm;
use oncegate::secret::Key256;
use oncegate::store::medium::{Directory, Medium, Memory};
use oncegate::store::repair::repair;
use oncegate::store::{Change, StoreError};
use oncegate::time::UnixTime;
use serde_json::Value;

use crate::support::codes::{hotp_of, secret_of};
use crate::support::daemon::Site;
use crate::support::journal::{Frame, frames};
use crate::support::net::Http;
use crate::support::{Random, rowfile, store};

/// Places that are damaged; `ONCEGATE_FLIPS` asks for more.
const FLIPS: u64 = 24;
const USERS: u64 = 12;

/// A stopped installation whose users have used their first code.
struct House {
    site: Site,
    key: String,
    /// The files of the store as they were at the end.
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl House {
    fn new() -> Self {
        let site = Site::new();
        let key = site.api_client("app");
        for user in 0..USERS {
            let user = format!("user{user}");
            site.enrol(&user, "hotp", &secret_of(&user));
        }
        let daemon = site.serve();
        let mut http = Http::new(daemon.http, &key);
        for user in 0..USERS {
            let user = format!("user{user}");
            let (status, answer) = http.verify(&user, &hotp_of(&user, 0)).unwrap();
            assert_eq!((status, &answer["decision"]), (200, &Value::from("accept")));
        }
        assert!(daemon.terminate().success());
        let store = site.path().join("store");
        let files = fs::read_dir(store).unwrap().map(|entry| {
            let path = entry.unwrap().path();
            let octets = fs::read(&path).unwrap();
            (path, octets)
        });
        let files = files.collect();
        Self { site, key, files }
    }

    fn store(&self) -> PathBuf {
        self.site.path().join("store")
    }

    fn main(&self) -> PathBuf {
        self.store().join("main.redb")
    }

    /// The file of the journal.
    fn log(&self) -> PathBuf {
        let is_log = |path: &&PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with("log-")
        };
        let log = self.files.iter().map(|(path, _)| path).find(is_log);
        log.unwrap().clone()
    }

    /// Damages a frame of the journal; the number of its first record.
    fn damage_frame(&self, which: impl Fn(&[Frame]) -> &Frame) -> u64 {
        let mut octets = fs::read(self.log()).unwrap();
        let frames = frames(&octets);
        let frame = which(&frames);
        octets[frame.place.start + 40] ^= 1;
        fs::write(self.log(), &octets).unwrap();
        frame.first
    }

    /// Puts all files back as they were.
    fn reset(&self) {
        for entry in fs::read_dir(self.store()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for (path, octets) in &self.files {
            fs::write(path, octets).unwrap();
        }
        // That it was put back is not what is tested here: `backup_rollback`.
        let _ = fs::remove_file(self.site.path().join("witness"));
        let _ = fs::remove_file(self.site.path().join("log"));
    }

    /// Used codes are never accepted, fresh ones are accepted or not decided about, or must be accepted.
    fn ask_all(&self, http: std::net::SocketAddr, whole: bool, about: &str) {
        let mut http = Http::new(http, &self.key);
        for user in 0..USERS {
            let user = format!("user{user}");
            let mut ask = |counter| {
                let (status, answer) = http.verify(&user, &hotp_of(&user, counter)).unwrap();
                (
                    status,
                    answer["decision"].as_str().unwrap_or_default().to_owned(),
                )
            };
            let used = ask(0);
            let fresh = ask(1);
            let may = |answer: &(u16, String), word: &str| {
                (answer.0 == 200 && answer.1 == word) || (!whole && answer.0 == 503)
            };
            assert!(may(&used, "reject"), "{about}: {user}, used: {used:?}");
            assert!(may(&fresh, "accept"), "{about}: {user}, fresh: {fresh:?}");
        }
    }

    fn repaired(&self, about: &str) -> Value {
        let repair = self.site.run(&["--json", "store", "verify", "--repair"]);
        let text = String::from_utf8_lossy(&repair.stdout).into_owned();
        assert_eq!(repair.status.code(), Some(0), "{about}: {repair:?}");
        let done: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(done["check"]["intact"], true, "{about}: {done}");
        done
    }

    fn works_as_before(&self, about: &str) {
        let daemon = self.site.serve();
        self.ask_all(daemon.http, true, about);
        assert!(daemon.terminate().success(), "{about}");
    }
}

#[test]
fn flipped_page_headers_are_refused_or_survived_and_repaired() {
    let wanted = std::env::var("ONCEGATE_FLIPS").ok();
    let flips = wanted.and_then(|n| n.parse().ok()).unwrap_or(FLIPS);
    let house = House::new();
    let length = fs::metadata(house.main()).unwrap().len();
    let octets = fs::read(house.main()).unwrap();
    let used: Vec<u64> = (0..length / 4096)
        .filter(|page| {
            let begin = usize::try_from(page * 4096).unwrap();
            octets[begin..begin + 4096].iter().any(|octet| *octet != 0)
        })
        .collect();
    let mut random = Random(12);
    let (mut refused, mut named) = (0, 0);
    for flip in 0..flips {
        house.reset();
        let mut octets = octets.clone();
        let page = used[usize::try_from(random.below(used.len() as u64)).unwrap()];
        let at = usize::try_from(page * 4096 + random.below(8)).unwrap();
        octets[at] ^= 1 << random.below(8);
        fs::write(house.main(), octets).unwrap();
        let about = format!("flip {flip} at {at}");
        match house.site.try_serve() {
            Ok(daemon) => {
                house.ask_all(daemon.http, false, &about);
                assert!(
                    daemon.terminate().success(),
                    "{about}: {}",
                    house.site.log()
                );
            }
            Err(status) => {
                refused += 1;
                assert_eq!(status.code(), Some(3), "{about}: {}", house.site.log());
                let log = house.site.log();
                assert!(log.contains("store verify --repair"), "{about}: {log}");
            }
        }
        let log = house.site.log();
        assert!(!log.contains("panicked"), "{about}: {log}");
        let verify = house.site.run(&["--json", "store", "verify"]);
        let code = verify.status.code();
        assert!(matches!(code, Some(0 | 1)), "{about}: {verify:?}");
        assert!(!String::from_utf8_lossy(&verify.stderr).contains("panicked"));
        if code == Some(1) {
            named += 1;
            house.repaired(&about);
        }
        let daemon = house.site.serve();
        let mut http = Http::new(daemon.http, &house.key);
        for user in 0..USERS {
            let user = format!("user{user}");
            let (status, answer) = http.verify(&user, &hotp_of(&user, 0)).unwrap();
            assert_eq!(status, 200, "{about}: {answer}");
            assert_eq!(answer["decision"], "reject", "{about}: accepted twice");
        }
        assert!(daemon.terminate().success(), "{about}");
    }
    assert!(refused + named > 0, "no damage was noticed at all");
}

#[test]
fn a_file_that_is_no_database_any_more_is_made_anew() {
    let house = House::new();
    let whole = fs::read(house.main()).unwrap();
    let damages: [(&str, Vec<u8>); 4] = [
        ("empty", Vec::new()),
        ("cut", whole[..whole.len() / 2].to_vec()),
        (
            "no header",
            [vec![0; 4096], whole[4096..].to_vec()].concat(),
        ),
        ("another file", b"not a database".repeat(1000)),
    ];
    for (about, octets) in damages {
        house.reset();
        fs::write(house.main(), &octets).unwrap();
        let status = house.site.try_serve().map(|_| about).unwrap_err();
        assert_eq!(status.code(), Some(3), "{about}: {}", house.site.log());
        let log = house.site.log();
        assert!(log.contains("store verify --repair"), "{about}: {log}");
        assert!(!log.contains("panicked"), "{about}: {log}");
        let verify = house.site.run(&["store", "verify"]);
        assert_eq!(verify.status.code(), Some(1), "{about}: {verify:?}");
        let done = house.repaired(about);
        let kept = fs::read(house.store().join(done["kept"].as_str().unwrap())).unwrap();
        // The engine begins an empty file when it opens it.
        assert!(
            octets.is_empty() || kept == octets,
            "{about}: kept as it was"
        );
        house.works_as_before(about);
        let chain = house.site.json(&["audit", "verify"]);
        assert_eq!(chain["intact"], true, "{about}");
    }
}

#[test]
fn a_missing_file_is_made_anew_and_never_begun_again() {
    let house = House::new();
    fs::remove_file(house.main()).unwrap();
    let verify = house.site.run(&["store", "verify"]);
    assert_eq!(verify.status.code(), Some(1), "{verify:?}");
    house.repaired("missing");
    house.works_as_before("missing");
}

#[test]
fn a_running_daemon_is_asked_and_not_repaired() {
    let house = House::new();
    let serial = rowfile::all(&house.store(), "token_states").remove(0);
    rowfile::put(&house.store(), "token_states", &serial.0, Some(b"nothing"));
    let daemon = house.site.serve();
    let verify = house.site.run(&["--json", "store", "verify"]);
    assert_eq!(verify.status.code(), Some(1), "{verify:?}");
    let check: Value = serde_json::from_slice(&verify.stdout).unwrap();
    assert_eq!(check["damaged"], 1, "{check}");
    let wanted = format!("token_states {}", String::from_utf8_lossy(&serial.0));
    assert!(
        check["damage"][0].as_str().unwrap().starts_with(&wanted),
        "{check}"
    );
    assert_eq!(check["journal"]["intact"], true);
    let made = house
        .site
        .json(&["client", "add", "api", "eyes", "--scope", "auditor"]);
    let mut auditor = Http::new(daemon.http, made["key"].as_str().unwrap());
    let (status, _) = auditor.send("POST", "/v1/admin/store/verify", b"").unwrap();
    assert_eq!(status, 200);
    let mut app = Http::new(daemon.http, &house.key);
    let (status, _) = app.send("POST", "/v1/admin/store/verify", b"").unwrap();
    assert_eq!(status, 403);
    let refused = house.site.run(&["store", "verify", "--repair"]);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(text.contains("stop the daemon"), "{text}");
    assert!(daemon.terminate().success());
    house.repaired("one row");
    house.works_as_before("one row");
    let again = house.site.json(&["store", "verify", "--repair"]);
    assert_eq!(again["repaired"], false, "nothing to do: {again}");
}

/// When nobody can be let in, the daemon does not say that it is ready.
#[test]
fn a_store_in_which_nobody_can_be_read_is_not_ready() {
    let house = House::new();
    for (key, mut stored) in rowfile::all(&house.store(), "token_states") {
        stored[1] ^= 1;
        rowfile::put(&house.store(), "token_states", &key, Some(&stored));
    }
    let status = house.site.try_serve().map(|_| ()).unwrap_err();
    assert_eq!(status.code(), Some(3), "{}", house.site.log());
    let shown = house.site.run(&["status"]);
    assert_eq!(shown.status.code(), Some(3), "{shown:?}");
    house.repaired("all states");
    house.works_as_before("all states");
}

/// What a command says on both of its outputs.
fn said(site: &Site, words: &[&str]) -> (Option<i32>, String) {
    let output = site.run(words);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let text = text + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

/// What doctor finds wrong: what it is about, and the fix.
fn found(site: &Site) -> Vec<(String, String, String)> {
    let output = site.run(&["--json", "doctor"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap().iter();
    // What else listens on this machine is not looked at here.
    let bad = checks.filter(|check| check["state"] == "failure" && check["check"] != "listeners");
    let word = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
    bad.map(|check| {
        (
            word(check, "check"),
            word(check, "found"),
            word(check, "fix"),
        )
    })
    .collect()
}

/// A file of the journal that has lost its beginning is named; no repair of main.redb is advised for it. One that
/// has lost its end is a case for the repair, which closes what may have been used.
#[test]
fn a_cut_file_of_the_journal_is_named_with_its_remedy() {
    let house = House::new();
    let log = house.log();
    let name = log.file_name().unwrap().to_str().unwrap();
    let whole = fs::read(&log).unwrap();
    let frames = frames(&whole);
    let half = frames[frames.len() / 2].clone();
    let commands = [
        &["store", "verify"][..],
        &["serve", "--radius", "127.0.0.1:0", "--http", "127.0.0.1:0"],
        &["doctor"],
        &["store", "verify", "--repair"],
    ];
    for keep in [0, 100, 4000] {
        house.reset();
        fs::write(&log, &whole[..keep]).unwrap();
        for words in commands {
            let (code, text) = said(&house.site, words);
            assert!(matches!(code, Some(1 | 3)), "{keep}, {words:?}: {text}");
            assert!(text.contains(name), "{keep}, {words:?}: {text}");
            assert!(text.contains("from a backup"), "{keep}, {words:?}: {text}");
            assert!(!text.contains("--repair"), "{keep}, {words:?}: {text}");
            assert!(!text.contains("main.redb:"), "{keep}, {words:?}: {text}");
        }
    }
    for keep in [half.place.start, half.place.start + 30] {
        house.reset();
        fs::write(&log, &whole[..keep]).unwrap();
        for words in &commands[..3] {
            let (code, text) = said(&house.site, words);
            assert!(matches!(code, Some(1 | 3)), "{keep}, {words:?}: {text}");
            for part in [format!("audit record {}", half.first).as_str(), "--repair"] {
                assert!(
                    text.contains(part),
                    "{keep}, {words:?}: no `{part}` in {text}"
                );
            }
        }
        let (code, text) = said(&house.site, commands[3]);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("may be lost"), "{text}");
        assert!(house.site.serve().terminate().success());
    }
}

/// A damaged record of the journal that `main.redb` holds stops no decision, and every way names it with what helps.
#[test]
fn a_journal_that_is_damaged_in_the_middle_is_named_by_every_way() {
    let house = House::new();
    let bad = house.damage_frame(|frames| &frames[1]);
    let verified = |way: &[&str]| {
        let words = [way, &["store", "verify"]].concat();
        let (code, text) = said(&house.site, &words);
        assert_eq!(code, Some(1), "{text}");
        let named = text.contains(&format!("broken at record {bad}:"));
        assert!(named && text.contains("from a backup"), "{text}");
        assert!(!text.contains("--repair"), "{text}");
        let output = house.site.run(&[&["--json"], words.as_slice()].concat());
        let check: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(check["journal"]["first_bad"], bad, "{check}");
        assert_eq!(check["damaged"], 0, "{check}");
        let (code, text) = said(&house.site, &[way, &["audit", "verify"]].concat());
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("from a backup"), "{text}");
        let export = house.site.run(&[way, &["audit", "export"]].concat());
        let text = String::from_utf8_lossy(&export.stdout);
        assert_eq!(export.status.code(), Some(3), "{text}");
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let (last, records) = lines.split_last().unwrap();
        assert_eq!(records.len() as u64, bad - 1, "{text}");
        assert_eq!(last["last"], bad - 1, "{text}");
        let next = String::from_utf8_lossy(&export.stderr).into_owned();
        assert!(next.contains("store verify"), "{next}");
    };
    verified(&[]);
    let (code, text) = said(&house.site, &["store", "verify", "--repair"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("would not help"), "{text}");
    let daemon = house.site.serve();
    verified(&[]);
    let key = house.site.path().join("key");
    fs::write(&key, &house.site.admin_key).unwrap();
    let url = format!("http://{}", daemon.http);
    verified(&["--server", &url, "--key-file", key.to_str().unwrap()]);
    let status = house.site.json(&["status"]);
    assert_eq!(status["ready"], true, "{status}");
    assert_eq!(status["damaged"], 1, "{status}");
    let named = status["damage"][0].as_str().unwrap();
    assert!(
        named.starts_with(&format!("journal record {bad}: ")),
        "{status}"
    );
    let (code, text) = said(&house.site, &["status"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("from a backup") && !text.contains("--repair"),
        "{text}"
    );
    let mut found = found(&house.site);
    found.retain(|(about, ..)| ["audit", "store"].contains(&about.as_str()));
    assert_eq!(found.len(), 1, "one cause, one fix: {found:?}");
    assert!(found[0].2.contains("from a backup"), "{found:?}");
    let mut http = Http::new(daemon.http, &house.site.admin_key);
    let (_, page) = http.send("GET", "/metrics", b"").unwrap();
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains("oncegate_store_damaged_rows 1\n"), "{page}");
    house.ask_all(daemon.http, true, "the rows hold it");
    assert!(daemon.terminate().success());
}

/// The last record is lost: that is no store that was put back, whatever the statement outside it says.
#[test]
fn a_damaged_last_record_is_no_store_that_was_put_back() {
    let house = House::new();
    assert!(house.site.path().join("witness").exists());
    let bad = house.damage_frame(|frames| frames.last().unwrap());
    let serve = ["serve", "--radius", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    let accept = [&serve[..], &["--accept-rollback"]].concat();
    for (words, wanted) in [
        (&["audit", "verify"][..], 1),
        (&["store", "verify"], 1),
        (&["doctor"], 1),
        (&serve, 3),
        (accept.as_slice(), 3),
    ] {
        let (code, text) = said(&house.site, words);
        assert_eq!(code, Some(wanted), "{words:?}: {text}");
        let named = text.contains(&format!("record {bad}:"));
        assert!(named && text.contains("--repair"), "{words:?}: {text}");
        let misled = text.contains("put back:") || text.contains("serve --accept");
        assert!(!misled, "{words:?}: {text}");
    }
    let (code, text) = said(&house.site, &["store", "verify", "--repair"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("may be lost"), "{text}");
    assert!(house.site.serve().terminate().success());
}

/// What is wrong in one place hides nothing elsewhere, and one cause has one fix.
#[test]
fn doctor_makes_all_checks_and_gives_one_fix_for_one_cause() {
    let house = House::new();
    let dir = house.site.path();
    let mode = |mode| fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
    // A wrong mode, and a damaged file.
    mode(0o755);
    fs::write(house.main(), b"not a database".repeat(1000)).unwrap();
    let bad = found(&house.site);
    let about: Vec<&str> = bad.iter().map(|one| one.0.as_str()).collect();
    assert_eq!(about, ["modes", "store"], "{bad:?}");
    assert!(bad[1].2.contains("store verify --repair"), "{bad:?}");
    // Damaged rows beside it.
    house.reset();
    let serial = rowfile::all(&house.store(), "token_states").remove(0);
    rowfile::put(&house.store(), "token_states", &serial.0, Some(b"nothing"));
    let bad = found(&house.site);
    let about: Vec<&str> = bad.iter().map(|one| one.0.as_str()).collect();
    assert_eq!(about, ["modes", "store"], "{bad:?}");
    mode(0o700);
    // The head is missing.
    house.reset();
    fs::remove_file(house.store().join("head")).unwrap();
    let bad = found(&house.site);
    assert_eq!(bad.len(), 1, "{bad:?}");
    assert!(bad[0].1.contains("store/head is missing"), "{bad:?}");
    assert!(bad[0].2.contains("store verify --repair"), "{bad:?}");
    let (code, text) = said(&house.site, &["store", "verify"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(!text.contains("broken"), "{text}");
    // There is no store at all.
    house.reset();
    fs::rename(house.store(), dir.join("elsewhere")).unwrap();
    let bad = found(&house.site);
    assert_eq!(bad.len(), 1, "{bad:?}");
    assert!(bad[0].1.contains("there is no"), "{bad:?}");
    assert!(!bad[0].2.contains("daemon's user"), "{bad:?}");
}

fn open(dir: &std::path::Path) -> oncegate::store::Store {
    store::open(Arc::new(Directory::new(dir))).unwrap()
}

/// What the journal does not hold any more comes from the damaged file, or is named as lost.
#[tokio::test]
async fn a_repair_says_what_could_not_be_saved() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = open(dir.path());
    for (user, serial) in [("alice", "HOTP-1"), ("bob", "HOTP-2"), ("carol", "HOTP-3")] {
        store::enrol(&embedded, user, serial).await.unwrap();
        let used = store::attempt(&embedded, user, serial, &[5], store::NOW).await;
        used.unwrap();
    }
    for step in 6..206 {
        let used = store::attempt(&embedded, "bob", "HOTP-2", &[step], store::NOW).await;
        used.unwrap();
    }
    let before = UnixTime::from_secs(store::NOW.as_secs() + 60);
    let prune = || store::prune(&embedded, before);
    while matches!(prune().await, Err(StoreError::NotFound)) {
        // The checkpoint is not as far yet.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(embedded);
    for serial in ["HOTP-1", "HOTP-2"] {
        rowfile::put(
            dir.path(),
            "token_states",
            serial.as_bytes(),
            Some(b"nothing"),
        );
    }
    let master = Key256::new([7; 32]);
    let done = repair(dir.path(), &master, SealAlgorithm::default(), store::NOW).unwrap();
    assert!(done.taken > 0 && done.records > 0, "{done:?}");
    let named = done
        .lost
        .iter()
        .filter(|lost| lost.contains("HOTP-1"))
        .count();
    assert!(named > 0 && named == done.lost.len(), "{:?}", done.lost);
    let embedded = open(dir.path());
    let alice = store::attempt(&embedded, "alice", "HOTP-1", &[5], store::NOW).await;
    assert!(matches!(alice, Err(StoreError::Corrupt(_))), "{alice:?}");
    for (user, serial, step) in [("bob", "HOTP-2", 205), ("carol", "HOTP-3", 5)] {
        let used = store::attempt(&embedded, user, serial, &[step], store::NOW).await;
        assert_eq!(used.unwrap().decision, Decision::Reject, "{user}");
        let fresh = store::attempt(&embedded, user, serial, &[300], store::NOW).await;
        assert_eq!(fresh.unwrap().decision, Decision::Accept, "{user}");
    }
    // The way out: the token goes, and its key does not come back with used codes.
    let remove = Change::RemoveToken("HOTP-1".parse().unwrap(), None);
    embedded.change(remove, store::by()).await.unwrap();
}

/// A medium on which removing a file fails in a way that nobody foresaw.
struct Broken(Memory);

impl Medium for Broken {
    fn open(
        &self,
        name: &str,
        builder: &redb::Builder,
    ) -> Result<redb::Database, redb::DatabaseError> {
        self.0.open(name, builder)
    }

    fn raw(&self, name: &str) -> io::Result<Box<dyn redb::StorageBackend>> {
        self.0.raw(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        panic!("a defect")
    }
}

#[tokio::test]
async fn a_thread_that_has_ended_makes_the_store_not_ready() {
    let embedded = store::open(Arc::new(Broken(Memory::default()))).unwrap();
    store::enrol(&embedded, "alice", "HOTP-1").await.unwrap();
    for step in 0..200 {
        let used = store::attempt(&embedded, "alice", "HOTP-1", &[step], store::NOW).await;
        used.unwrap();
    }
    assert_eq!(embedded.health().fault, None);
    let before = UnixTime::from_secs(store::NOW.as_secs() + 60);
    let prune = || store::prune(&embedded, before);
    while matches!(prune().await, Err(StoreError::NotFound)) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let fault = loop {
        if let Some(fault) = embedded.health().fault {
            break fault;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(fault.contains("store-checkpoint has ended"), "{fault}");
}
