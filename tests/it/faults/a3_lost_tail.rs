//! Fault A3: damage at the end of the log took the newest commit back without a word, and a used code was
//! accepted again.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use oncegate::model::kind::Kind;
use oncegate::model::reason::Decision;
use oncegate::model::sealing::SealAlgorithm;
use oncegate::model::token::TokenState;
use oncegate::secret::Key256;
use oncegate::store::course::Taken;
use oncegate::store::medium::Directory;
use oncegate::store::repair::repair;
use oncegate::store::{Change, Import, Store};
use serde_json::Value;

use crate::support::Random;
use crate::support::codes::{RFC_SECRET, hotp, hotp_of, secret_of};
use crate::support::daemon::Site;
use crate::support::disk::Disk;
use crate::support::journal::frame_of;
use crate::support::net::Http;
use crate::support::store::{NOW, attempt, by, enrol, open_with, prune, token, user};

const KEY: [u8; 32] = [7; 32];

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

    /// Where the last login's frame is in the log.
    fn frame(&self) -> Range<usize> {
        frame_of(log(&self.after), self.seq).place
    }

    /// Where its user's name is in the log.
    fn record(&self) -> usize {
        let (log, name, frame) = (log(&self.after), b"alice@default", self.frame());
        let mut windows = log[frame.clone()].windows(name.len());
        frame.start
            + windows
                .rposition(|window| window == name)
                .expect("the name")
    }

    /// Puts these files into the store.
    fn put(&self, files: &BTreeMap<String, Vec<u8>>) {
        // That it was put back is not what is tested here.
        let _ = fs::remove_file(self.site.path().join("witness"));
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

/// Zeros, a frame that was never written, a whole log from before: all of them read as an older log that is
/// in order.
#[test]
fn lost_and_stale_frames_are_named_too() {
    let killed = Killed::new(0, site());
    let name = log_name(&killed.after);
    let frame = killed.frame();
    let with = |octets: Vec<u8>| {
        let mut files = killed.after.clone();
        files.insert(name.clone(), octets);
        files
    };
    let mut zeros = killed.after[&name].clone();
    zeros[frame.clone()].fill(0);
    killed.is_refused(&with(zeros), "zeros");
    // Its first half is that of the frame before: a sector that was never written.
    let mut stale = killed.after[&name].clone();
    let half = frame.start + frame.len() / 2;
    let before = frame_of(&stale, killed.seq - 1).place.start;
    stale.copy_within(before..before + frame.len() / 2, frame.start);
    assert!(stale[..half] != killed.after[&name][..half]);
    killed.is_refused(&with(stale), "a sector that was never written");
    let mut cut = killed.after[&name].clone();
    cut.truncate(half);
    killed.is_refused(&with(cut), "a file that was cut");
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

/// One half says a commit less: it is believed where the log goes further.
#[test]
fn a_head_of_which_one_half_is_damaged_guards_as_far_as_it_goes() {
    let killed = Killed::new(0, site());
    let damaged = |slot: usize| {
        let mut files = killed.after.clone();
        files.get_mut("head").unwrap()[slot * 512 + 20] ^= 1;
        files
    };
    let head = &killed.after["head"];
    let number = |slot: usize| u64::from_be_bytes(head[slot * 512 + 8..][..8].try_into().unwrap());
    let newer = usize::from(number(1) > number(0));
    // The older half may have been the newer one: the end of the log proves nothing.
    killed.put(&damaged(newer ^ 1));
    let (code, error) = killed.serve();
    assert_eq!(code, Some(3), "{error}");
    assert!(error.contains("one half of store/head"), "{error}");
    killed.answers(&damaged(newer), "reject");
}

/// A store is made with a head. Without it, or with another one, nothing says whether the log is whole.
#[test]
fn a_head_that_is_gone_or_not_ours_is_refused_named_and_mended() {
    let killed = Killed::new(0, site());
    let other = Killed::new(0, site());
    let whole = killed.after["head"].clone();
    let foreign = other.after["head"].clone();
    let variants: [(&str, Option<Vec<u8>>); 6] = [
        ("missing", None),
        ("zeros", Some(vec![0; whole.len()])),
        ("damaged", Some(foreign)),
        ("another length", Some(whole[..512].to_vec())),
        ("another length", Some(Vec::new())),
        ("another length", Some([whole.clone(), vec![0]].concat())),
    ];
    for (word, head) in variants {
        killed.put(&killed.after);
        match &head {
            Some(octets) => fs::write(killed.store.join("head"), octets).unwrap(),
            None => fs::remove_file(killed.store.join("head")).unwrap(),
        }
        let (code, error) = killed.serve();
        assert_eq!(code, Some(3), "{word}: {error}");
        let verified = killed.site.run(&["store", "verify"]);
        assert_eq!(verified.status.code(), Some(1), "{word}: {verified:?}");
        let said = String::from_utf8_lossy(&verified.stdout).into_owned();
        let doctor = killed.site.run(&["doctor"]);
        assert_eq!(doctor.status.code(), Some(1), "{word}");
        let found = String::from_utf8_lossy(&doctor.stdout).into_owned();
        for text in [&error, &said, &found] {
            for part in ["store/head", word, "store verify --repair"] {
                assert!(text.contains(part), "{word}: no `{part}` in {text}");
            }
        }
        // Nobody made it anew by looking.
        assert_eq!(fs::read(killed.store.join("head")).ok(), head, "{word}");
    }
}

/// The sighting: no head, and a log from before the last login. The repair lets the used code in no more.
#[test]
fn a_repair_without_a_head_closes_what_may_have_been_used() {
    for further in [false, true] {
        let killed = Killed::new(0, site());
        killed.site.enrol("bob", "totp", &secret_of("bob"));
        let mut files = killed.before.clone();
        if further {
            // A checkpoint has it already: `main.redb` is further than the log.
            killed.put(&killed.after);
            killed.site.json(&["user", "list"]);
            let main = fs::read(killed.store.join("main.redb")).unwrap();
            files.insert("main.redb".to_owned(), main);
        }
        killed.put(&files);
        fs::remove_file(killed.store.join("head")).unwrap();
        assert_eq!(killed.serve().0, Some(3));
        let repair = killed.site.run(&["--json", "store", "verify", "--repair"]);
        assert_eq!(repair.status.code(), Some(1), "{repair:?}");
        let repair: Value = serde_json::from_slice(&repair.stdout).unwrap();
        assert_eq!(repair["check"]["intact"], true, "{repair}");
        let lost = repair["lost"].to_string();
        assert!(
            lost.contains("may be lost") && lost.contains("record"),
            "{lost}"
        );
        let closed = repair["closed"].to_string();
        assert!(
            closed.contains("alice@default") && closed.contains("suspended"),
            "{closed}"
        );
        // It serves again; the code of the lost login, and all others, are not accepted.
        let daemon = killed.site.serve();
        let mut http = Http::new(daemon.http, &killed.site.admin_key);
        for counter in 0..=killed.counter + 1 {
            accepted(&mut http, counter, "reject");
        }
        let listed = killed.site.json(&["audit", "list", "--user", "alice"]);
        assert!(listed.to_string().contains("store_repair"), "{listed}");
        // Resynchronised, then resumed, it goes on behind what was used.
        let tokens = killed.site.json(&["token", "list", "alice"]);
        let serial = tokens["tokens"][0]["serial"].as_str().unwrap().to_owned();
        let (first, second) = (hotp(killed.counter + 2), hotp(killed.counter + 3));
        killed
            .site
            .json(&["token", "resync", &serial, "--otp", &first, &second]);
        killed.site.json(&["token", "resume", &serial]);
        for counter in 0..=killed.counter + 3 {
            accepted(&mut http, counter, "reject");
        }
        assert!(daemon.terminate().success());
    }
}

/// The words of a command that ended with this code.
fn told(site: &Site, words: &[&str], code: i32) -> String {
    let output = site.run(words);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let text = text + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{words:?}: {text}");
    text
}

fn tells(text: &str, parts: &[&str]) {
    // Pages are wrapped.
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in parts {
        assert!(flat.contains(part), "no `{part}` in {text}");
    }
}

/// Which counters are used is not known: no way but two codes brings the token into use.
#[test]
#[allow(clippy::too_many_lines)] // one way after the other
fn a_token_that_a_repair_closed_comes_into_use_by_a_resync_only() {
    let killed = Killed::new(0, site());
    let site = &killed.site;
    let pending = site.json_with(
        &[
            "token",
            "add",
            "alice",
            "--kind",
            "hotp",
            "--secret-stdin",
            "--serial",
            "HOTP-P",
        ],
        &secret_of("pending"),
    );
    assert_eq!(pending["state"], "pending");
    site.json(&["user", "add", "carol"]);
    let store = read(&killed.store);
    killed.put(&store);
    fs::remove_file(killed.store.join("head")).unwrap();
    let repaired = told(site, &["store", "verify", "--repair"], 1);
    let tokens = site.json(&["token", "list", "alice"]);
    let tokens = tokens["tokens"].as_array().unwrap().clone();
    let one = tokens.iter().find(|one| one["serial"] != "HOTP-P").unwrap();
    let serial = one["serial"].as_str().unwrap();
    let steps = [
        format!("token resync {serial}"),
        format!("token resume {serial}"),
    ];
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    tells(&repaired, &steps);
    tells(&repaired, &["oncegate token resync HOTP-P"]);
    // A user of whom nothing was closed has no record of it.
    let carol = site.json(&["audit", "list", "--user", "carol"]).to_string();
    assert!(!carol.contains("store_repair"), "{carol}");

    let daemon = site.serve();
    let mut http = Http::new(daemon.http, &site.admin_key);
    let refused = told(site, &["token", "resume", serial], 5);
    tells(
        &refused,
        &["repair or restore of the store on", steps[0], steps[1]],
    );
    let path = format!("/v1/admin/tokens/{serial}/resume");
    assert_eq!(http.send("POST", &path, b"").unwrap().0, 409);
    tells(
        &told(site, &["token", "show", serial], 0),
        &["repair or restore of the store", steps[0], steps[1]],
    );
    tells(
        &told(site, &["token", "list", "alice"], 0),
        &["resync it first"],
    );
    let explained = told(
        site,
        &["explain", "--user", "alice", "--client", "local"],
        0,
    );
    tells(
        &explained,
        &["repair or restore of the store on", steps[0], steps[1]],
    );
    // Two codes of another key find nothing, and open nothing.
    let foreign = [hotp_of("other", 0), hotp_of("other", 1)];
    let wrong = ["token", "resync", serial, "--otp", &foreign[0], &foreign[1]];
    told(site, &wrong, 1);
    told(site, &["token", "resume", serial], 5);
    for counter in 0..=killed.counter + 1 {
        accepted(&mut http, counter, "reject");
    }
    // One that waits for its first code may have had it.
    let code = |counter| hotp_of("pending", counter);
    let refused = told(site, &["token", "confirm", "HOTP-P", "--otp", &code(0)], 5);
    tells(
        &refused,
        &[
            "repair or restore of the store on",
            "token resync HOTP-P",
            "token confirm HOTP-P",
        ],
    );
    told(site, &["user", "unlock", "alice"], 0);
    told(
        site,
        &["token", "resync", "HOTP-P", "--otp", &code(3), &code(4)],
        0,
    );
    told(site, &["token", "confirm", "HOTP-P", "--otp", &code(5)], 0);

    let next = killed.counter + 2;
    told(
        site,
        &[
            "token",
            "resync",
            serial,
            "--otp",
            &hotp(next),
            &hotp(next + 1),
        ],
        0,
    );
    told(site, &["token", "resume", serial], 0);
    told(site, &["user", "unlock", "alice"], 0);
    accepted(&mut http, next + 1, "reject");
    told(site, &["user", "unlock", "alice"], 0);
    accepted(&mut http, next + 2, "accept");
    // From now on it is a token like others.
    told(site, &["token", "suspend", serial], 0);
    told(site, &["token", "resume", serial], 0);
    assert!(daemon.terminate().success());
}

/// Nor is there a way around by removing it: the same key stays closed.
#[test]
fn the_key_of_a_token_that_a_repair_closed_is_not_open_under_another_name() {
    let killed = Killed::new(0, site());
    killed.put(&killed.before);
    fs::remove_file(killed.store.join("head")).unwrap();
    let site = &killed.site;
    told(site, &["store", "verify", "--repair"], 1);
    let tokens = site.json(&["token", "list", "alice"]);
    let serial = tokens["tokens"][0]["serial"].as_str().unwrap().to_owned();
    told(site, &["token", "remove", &serial, "--yes"], 0);
    site.run_with(
        &[
            "token",
            "add",
            "alice",
            "--kind",
            "hotp",
            "--active",
            "--secret-stdin",
        ],
        RFC_SECRET,
    );
    let daemon = site.serve();
    let mut http = Http::new(daemon.http, &site.admin_key);
    for counter in 0..=killed.counter {
        accepted(&mut http, counter, "reject");
    }
    assert!(daemon.terminate().success());
}

/// A right code that counts as used because of a repair is said to be that, before and after.
#[test]
fn time_based_codes_that_a_repair_closed_are_explained_by_it() {
    let site = site();
    site.enrol("bob", "totp", &secret_of("bob"));
    fs::remove_file(site.path().join("store/head")).unwrap();
    told(&site, &["store", "verify", "--repair"], 1);
    let daemon = site.serve();
    let mut http = Http::new(daemon.http, &site.admin_key);
    let step = oncegate::time::Clock::now(&oncegate::time::SystemClock).as_secs() / 30;
    let (status, answer) = http.verify("bob", &hotp_of("bob", step)).unwrap();
    assert_eq!((status, &answer["decision"]), (200, &Value::from("reject")));
    let cause = ["refused until", "repaired or restored on"];
    let supposed = told(&site, &["explain", "--user", "bob", "--client", "local"], 0);
    tells(&supposed, &cause);
    assert!(supposed.contains("REJECT used_code"), "{supposed}");
    let records = site.json(&["audit", "list", "--user", "bob", "--decision", "reject"]);
    let id = records["records"][0]["request_id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(records["records"][0]["reason"], "used_code", "{records}");
    let past = told(&site, &["explain", &id], 0);
    tells(&past, &cause);
    assert!(
        !past.contains("twice") && !past.contains("came again"),
        "{past}"
    );
    let tokens = site.json(&["token", "list", "bob"]);
    let serial = tokens["tokens"][0]["serial"].as_str().unwrap();
    tells(&told(&site, &["token", "show", serial], 0), &cause);
    tells(&told(&site, &["token", "list", "bob"], 0), &cause);
    assert!(daemon.terminate().success());
}

/// A head from before the checkpoint cannot be the newest: `main.redb` holds more than it says.
#[tokio::test]
async fn an_older_head_beside_a_newer_main_file_is_refused() {
    let disk = Disk::default();
    let store = open_with(Arc::new(disk.clone()), KEY, 1 << 20).unwrap();
    enrol(&store, "alice", "HOTP-1").await.unwrap();
    let older = disk.files();
    attempt(&store, "alice", "HOTP-1", &[1], NOW).await.unwrap();
    drop(store);
    let newer = disk.files();
    let log = log_name(&newer);
    let fault = |names: &[&str]| {
        let mut files = newer.clone();
        for name in names {
            files.insert((*name).to_owned(), older[*name].clone());
        }
        let store = open_with(Arc::new(Disk::with(files)), KEY, 1 << 20).unwrap();
        store.health().fault
    };
    let head = fault(&["head"]).unwrap_or_default();
    assert!(head.contains("older than main.redb"), "{head}");
    // The log of the same age does not make it better; nor does an older `main.redb` hide a cut log.
    assert!(fault(&["head", log.as_str()]).is_some());
    assert!(fault(&["main.redb", log.as_str()]).is_some());
    // The log alone brings an older `main.redb` up to date.
    assert_eq!(fault(&["main.redb"]), None);
    assert_eq!(fault(&[]), None);
}

/// Wherever `init` is interrupted, what is there opens or is made anew.
#[tokio::test]
async fn a_store_whose_making_was_interrupted_opens_or_is_made_anew() {
    let whole = Disk::default();
    drop(open_with(Arc::new(whole.clone()), KEY, 1 << 20).unwrap());
    let steps = whole.operations();
    assert!(steps > 50, "{steps}");
    for step in 0..steps {
        for power in [false, true] {
            let disk = Disk::default();
            disk.fail_after(step);
            drop(open_with(Arc::new(disk.clone()), KEY, 1 << 20));
            let disk = if power {
                disk.power_cut(&mut Random(step));
                disk
            } else {
                Disk::with(disk.files())
            };
            let about = format!("step {step}, power cut {power}");
            let store = open_with(Arc::new(disk.clone()), KEY, 1 << 20);
            let store = store.unwrap_or_else(|error| panic!("{about}: {error}"));
            assert_eq!(store.health().fault, None, "{about}");
            enrol(&store, "alice", "HOTP-1").await.unwrap();
            drop(store);
            // From here on it has a head.
            let mut files = disk.files();
            files.remove("head");
            let store = open_with(Arc::new(Disk::with(files)), KEY, 1 << 20).unwrap();
            assert!(store.health().fault.is_some(), "{about}");
        }
    }
}

/// Time-based codes are refused until no lost record can have used them; then they are good again.
#[tokio::test]
async fn a_repair_refuses_time_based_codes_for_a_while_and_voids_what_was_issued() {
    let dir = tempfile::tempdir().unwrap();
    let medium = || Arc::new(Directory::new(dir.path()));
    let store = open_with(medium(), KEY, 1 << 20).unwrap();
    store
        .change(Change::CreateUser(user("alice"), None), by())
        .await
        .unwrap();
    let mut totp = token("alice", "TOTP-1");
    totp.kind = Kind::Totp;
    let create = Change::CreateToken(totp, TokenState::default());
    store.change(create, by()).await.unwrap();
    let now = NOW.as_secs() / 30;
    drop(store);
    fs::write(dir.path().join("head"), [0; 1024]).unwrap();
    let done = repair(dir.path(), &Key256::new(KEY), SealAlgorithm::default(), NOW).unwrap();
    assert!(
        done.closed[0].contains("TOTP-1: codes are refused until"),
        "{:?}",
        done.closed
    );
    let store = open_with(medium(), KEY, 1 << 20).unwrap();
    assert_eq!(store.health().fault, None);
    // As far as a resynchronisation may have gone, the learned drift, and the widest window.
    for step in [now - 1, now, now + 1, now + 20, now + 32] {
        let settled = attempt(&store, "alice", "TOTP-1", &[step], NOW)
            .await
            .unwrap();
        assert_eq!(settled.decision, Decision::Reject, "{step}");
    }
    let later = NOW.plus(Duration::from_mins(20));
    let settled = attempt(&store, "alice", "TOTP-1", &[now + 40], later)
        .await
        .unwrap();
    assert_eq!(settled.decision, Decision::Accept);
}

/// What a repair writes takes the numbers of lost records: whoever follows the trail goes back to before it.
#[tokio::test]
async fn those_who_follow_the_trail_go_back_to_before_what_a_repair_lost() {
    let dir = tempfile::tempdir().unwrap();
    let medium = || Arc::new(Directory::new(dir.path()));
    let is_log = |name: &str| name.starts_with("log-") || name.starts_with("spare-");
    let store = open_with(medium(), KEY, 1 << 20).unwrap();
    enrol(&store, "alice", "HOTP-1").await.unwrap();
    let kept = store.health().seq;
    drop(store);
    let before = read(dir.path());
    let store = open_with(medium(), KEY, 1 << 20).unwrap();
    for n in 0..20 {
        note(&store, n).await;
    }
    let last = store.health().seq;
    let detail = "all of them".to_owned();
    let told = Change::Notified { seq: last, detail };
    store.change(told, by()).await.unwrap();
    drop(store);
    // `main.redb` is further than the log that was put back.
    for name in read(dir.path()).keys().filter(|name| is_log(name)) {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    for (name, octets) in before.iter().filter(|(name, _)| is_log(name)) {
        fs::write(dir.path().join(name), octets).unwrap();
    }
    repair(dir.path(), &Key256::new(KEY), SealAlgorithm::default(), NOW).unwrap();

    let store = open_with(medium(), KEY, 1 << 20).unwrap();
    assert_eq!(store.health().fault, None);
    let (head, epoch) = (store.health().seq, store.epoch().unwrap());
    assert!(head > kept && epoch == 1, "{head} {epoch}");
    // Notices of lost records are not those of the ones in their places.
    assert_eq!(store.notified().unwrap(), kept);
    // The last number as an earlier version wrote it; one of before; one of now; one that is of no known course.
    let earlier = Taken::read(&format!("{last}\n")).unwrap();
    let of = |seq, epoch| Taken {
        seq,
        epoch,
        mac: None,
    };
    for (taken, goes_on) in [
        (of(last, 0), kept),
        (earlier, kept),
        (of(1, 0), 1),
        (of(head, epoch), head),
        (store.taken(head).unwrap(), head),
        // The same number and epoch, on another course.
        (
            Taken {
                mac: Some([7; 32]),
                ..of(head, epoch)
            },
            kept,
        ),
        (of(head + 9, epoch), 0),
    ] {
        assert_eq!(store.resumed(taken).await.unwrap(), goes_on, "{taken:?}");
    }
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
    let import = Change::Import(store.prepare(users.collect(), NOW).unwrap());
    store.change(import, by()).await.unwrap();
    is_guarded(&before, "an import");

    // Into the next segment, then the first one goes.
    for n in 0..200 {
        note(&store, n).await;
    }
    enrol(&store, "bob", "HOTP-2").await.unwrap();
    let before = disk.files();
    let later = NOW.plus(Duration::from_secs(1));
    let deadline = Instant::now() + Duration::from_mins(1);
    while let Err(error) = prune(&store, later).await {
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

async fn note(store: &Store, n: u64) {
    let note = Change::Note {
        action: "test",
        target: n.to_string(),
        user: None,
        detail: "x".repeat(300),
    };
    store.change(note, by()).await.unwrap();
}

/// What is taken for a store that was never made whole is removed: a damaged one that has lost all its
/// other files is not such a one.
#[test]
fn a_damaged_main_file_that_is_alone_is_kept() {
    let site = Site::new();
    let store = site.path().join("store");
    for file in fs::read_dir(&store).unwrap() {
        let path = file.unwrap().path();
        if !path.ends_with("main.redb") {
            fs::remove_file(path).unwrap();
        }
    }
    let main = store.join("main.redb");
    let mut octets = fs::read(&main).unwrap();
    octets[..4].copy_from_slice(b"XXXX");
    fs::write(&main, &octets).unwrap();
    let said = site.run(&["user", "list"]);
    assert_eq!(said.status.code(), Some(3), "{said:?}");
    assert_eq!(fs::read(&main).unwrap(), octets);
}
