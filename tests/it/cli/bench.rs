//! The load generator: it counts what the server's audit counts, and it notices servers that lie.

use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use oncegate::radius::authenticator::SecretKeys;
use oncegate::radius::encode::MessageAuthenticator;
use oncegate::radius::packet::{Code, Packet};
use oncegate::radius::reply::ReplyBuilder;
use oncegate::secret::{SecretBytes, SharedSecret};
use serde_json::Value;

use crate::support::daemon::{Site, command};

const SECRET: &str = "a secret of the bench";

/// What answers every request with one code, whatever is asked.
struct Liar {
    address: SocketAddr,
    asked: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Liar {
    fn new(code: Option<Code>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let wait = Duration::from_millis(20);
        socket.set_read_timeout(Some(wait)).unwrap();
        let address = socket.local_addr().unwrap();
        let (asked, stop) = (Arc::default(), Arc::default());
        let (count, over): (Arc<AtomicU64>, Arc<AtomicBool>) =
            (Arc::clone(&asked), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let secret = SharedSecret::new(SecretBytes::from(SECRET.as_bytes())).unwrap();
            let keys = SecretKeys::new(secret);
            let (mut buffer, mut reply) = ([0; 4096], Vec::new());
            while !over.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                count.fetch_add(1, Ordering::Relaxed);
                let Some(code) = code else { continue };
                let request = Packet::parse(&buffer[..length]).unwrap();
                let sign = MessageAuthenticator::First;
                ReplyBuilder::new(&mut reply, code, &request, sign)
                    .finish(&keys)
                    .unwrap();
                socket.send_to(&reply, from).unwrap();
            }
        });
        Self {
            address,
            asked,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

/// Makes users and answers the file they are in.
fn users(dir: &Path, count: u32, kind: &str) -> String {
    let file = dir.join(format!("{kind}.csv"));
    let output = command(dir)
        .args(["bench", "users", &count.to_string(), "--kind", kind])
        .args(["--prefix", kind, "--write"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    file.to_str().unwrap().to_owned()
}

/// Runs a load over RADIUS; its output and what it printed as JSON.
fn radius(dir: &Path, server: SocketAddr, users: &str, words: &[&str]) -> (Output, Value) {
    let secret = dir.join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    let server = server.to_string();
    let output = command(dir)
        .args(["--json", "bench", "radius", &server, "--users", users])
        .arg("--secret-file")
        .arg(&secret)
        .args(words)
        .output()
        .unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output, report)
}

fn number(report: &Value, field: &str) -> u64 {
    let found = field.split('.').fold(report, |value, name| &value[name]);
    found
        .as_u64()
        .unwrap_or_else(|| panic!("{field}: {report}"))
}

/// An installation that knows the users of a file.
fn site_with(make: impl FnOnce(&Path) -> String) -> (Site, String) {
    let site = Site::new();
    let file = make(&site.path());
    site.json(&["user", "import", &file]);
    (site, file)
}

/// Decisions in the audit: all of a kind, and those with this reason.
fn audited(site: &Site, decision: &str, reason: &str) -> (u64, u64) {
    let records = site.json(&["audit", "export"]);
    let records = records.as_array().unwrap();
    let of = |record: &&&Value| record["type"] == "decision" && record["decision"] == decision;
    let all = records.iter().by_ref().filter(|record| of(&record)).count();
    let some = records
        .iter()
        .filter(|record| of(&record) && record["reason"] == reason)
        .count();
    (all as u64, some as u64)
}

#[test]
fn over_radius_the_counts_are_those_of_the_audit() {
    let (site, file) = site_with(|dir| users(dir, 8, "hotp"));
    site.radius_client("bench", SECRET);
    let daemon = site.serve();
    let saved = site.path().join("after.csv");
    let words = [
        "--duration",
        "1s",
        "--outstanding",
        "4",
        "--threads",
        "2",
        "--wrong",
        "20%",
        "--replay",
        "10%",
        "--timeout",
        "20s",
        "--save",
        saved.to_str().unwrap(),
    ];
    let (output, report) = radius(&site.path(), daemon.radius, &file, &words);
    assert!(output.status.success(), "{output:?}");
    for field in ["timeouts", "unexpected.accepts", "unexpected.rejects"] {
        assert_eq!(number(&report, field), 0, "{field}: {report}");
    }
    let (accepts, rejects) = (number(&report, "accepts"), number(&report, "rejects"));
    assert!(accepts > 0 && rejects > 0, "{report}");
    assert_eq!(number(&report, "sent"), accepts + rejects);
    assert_eq!(number(&report, "latency_ms.accept.count"), accepts);
    assert!(daemon.terminate().success());
    assert_eq!(audited(&site, "accept", "hotp_ok"), (accepts, accepts));
    let (rejected, used) = audited(&site, "reject", "used_code");
    assert_eq!(rejected, rejects);
    assert!(used > 0 && used < rejected, "{used} of {rejected}");
    // The counters went on by as many logins as were accepted.
    let text = std::fs::read_to_string(&saved).unwrap();
    let counters = text.lines().skip(1).map(|line| {
        let counter = line.rsplit(',').next().unwrap();
        counter.parse::<u64>().unwrap()
    });
    assert_eq!(counters.sum::<u64>(), accepts);
}

#[test]
fn over_http_the_counts_are_those_of_the_audit() {
    let (site, file) = site_with(|dir| users(dir, 6, "totp"));
    let key = site.api_client("bench");
    let key_file = site.path().join("key");
    std::fs::write(&key_file, key).unwrap();
    std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let daemon = site.serve();
    let url = format!("http://{}", daemon.http);
    let words = [
        "--json",
        "bench",
        "http",
        &url,
        "--users",
        &file,
        "--rate",
        "40",
        "--duration",
        "1s",
        "--wrong",
        "10%",
        "--timeout",
        "20s",
        "--key-file",
    ];
    let output = command(&site.path())
        .args(words)
        .arg(&key_file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (accepts, rejects) = (number(&report, "accepts"), number(&report, "rejects"));
    // Six users have six codes, or twelve where a step ended in between; the rest are replays.
    assert!((1..=12).contains(&accepts), "{report}");
    assert_eq!(accepts + rejects, 40, "{report}");
    assert_eq!(number(&report, "unexpected.accepts"), 0, "{report}");
    assert!(daemon.terminate().success());
    assert_eq!(audited(&site, "accept", "totp_ok"), (accepts, accepts));
    let (rejected, wrong) = audited(&site, "reject", "wrong_code");
    assert_eq!(rejected, rejects);
    // The fourth is owed where everybody is on the way when its turn comes.
    assert!((3..=4).contains(&wrong), "{wrong}");
}

#[test]
fn a_server_that_accepts_everything_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let file = users(dir.path(), 50, "totp");
    let liar = Liar::new(Some(Code::AccessAccept));
    let words = ["--duration", "300ms", "--wrong", "10%", "--spent", "accept"];
    let (output, report) = radius(dir.path(), liar.address, &file, &words);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let unexpected = number(&report, "unexpected.accepts");
    assert!(
        unexpected.abs_diff(number(&report, "sent") / 10) <= 100,
        "{report}"
    );
    // The same server does what one may expect of it when nothing wrong is sent.
    let (output, report) = radius(dir.path(), liar.address, &file, &words[..2]);
    assert_eq!(output.status.code(), Some(1), "used codes: {output:?}");
    assert_eq!(number(&report, "rejects"), 0);
    let words = [
        "--duration",
        "300ms",
        "--spent",
        "accept",
        "--method",
        "chap",
    ];
    let (output, report) = radius(dir.path(), liar.address, &file, &words);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(number(&report, "sent"), number(&report, "accepts"));
    // MS-CHAPv2 asks the server to prove itself, which one that knows no password cannot.
    let words = ["--duration", "300ms", "--method", "mschapv2"];
    let (output, report) = radius(dir.path(), liar.address, &file, &words);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(number(&report, "accepts"), 0, "{report}");
}

#[test]
fn an_open_loop_sends_what_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = users(dir.path(), 500, "totp");
    let liar = Liar::new(Some(Code::AccessReject));
    let words = ["--duration", "1s", "--rate", "400", "--timeout", "20s"];
    let (output, report) = radius(dir.path(), liar.address, &file, &words);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(number(&report, "sent"), 400, "{report}");
    assert_eq!(number(&report, "unexpected.rejects"), 400, "{report}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("400 right codes were rejected"), "{said}");
}

#[test]
fn no_answer_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    let file = users(dir.path(), 4, "hotp");
    let silent = Liar::new(None);
    let words = ["--duration", "200ms", "--timeout", "50ms", "--retries", "2"];
    let (output, report) = radius(dir.path(), silent.address, &file, &words);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let (sent, again) = (number(&report, "sent"), number(&report, "retransmissions"));
    assert_eq!(number(&report, "timeouts"), sent, "{report}");
    assert_eq!(again, 2 * sent, "{report}");
    let asked = silent.asked.load(Ordering::Relaxed);
    assert_eq!(asked, sent + again);
    let nobody = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (output, _) = radius(dir.path(), nobody, &file, &[]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let detail = said["error"]["detail"].as_str().unwrap();
    assert!(detail.contains("nothing listens"), "{detail}");
}

#[test]
fn an_interrupted_run_tells_what_it_measured() {
    let dir = tempfile::tempdir().unwrap();
    let file = users(dir.path(), 50, "hotp");
    let liar = Liar::new(Some(Code::AccessAccept));
    let secret = dir.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let server = liar.address.to_string();
    let child = command(dir.path())
        .args(["--json", "bench", "radius", &server, "--users", &file])
        .args(["--duration", "10m", "--secret-file"])
        .arg(&secret)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while liar.asked.load(Ordering::Relaxed) < 1000 {
        std::thread::yield_now();
    }
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["interrupted"], true);
    assert!(number(&report, "accepts") > 500, "{report}");
}

#[test]
fn what_contradicts_itself_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = users(dir.path(), 1, "totp");
    let server = "127.0.0.1:9".parse().unwrap();
    for (words, said) in [
        (&["--wrong", "60%", "--replay", "50%"][..], "more than 100%"),
        (&["--replay", "5%", "--spent", "accept"], "contradict"),
        (&["--wrong", "5"], "no share"),
        (&["--duration", "0s"], "--duration"),
    ] {
        let (output, _) = radius(dir.path(), server, &file, words);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains(said), "{text}");
    }
    // A second file of keys never takes the place of the first.
    let again = command(dir.path())
        .args(["bench", "users", "1", "--write", &file])
        .output()
        .unwrap();
    assert_eq!(again.status.code(), Some(5), "{again:?}");
    let bad = dir.path().join("bad.csv");
    std::fs::write(&bad, "user,secret\nalice,GEZDGNBVGY3TQOJQ\nbob,GEZDGNBV1\n").unwrap();
    let (output, _) = radius(dir.path(), server, bad.to_str().unwrap(), &[]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("bad.csv:3: secret"), "{text}");
    assert!(!text.contains("GEZDGNBV1"), "{text}");
}
