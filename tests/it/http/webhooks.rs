//! Programs that are told of enrolments, locks and approvals: a receiver that is down, wrong, slow, and then there.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::codes::RFC_SECRET;
use crate::support::daemon::{NO_DELAY, Site};
use crate::support::slapd::free_port;

const KEY: &[u8] = b"a key of thirty-two octets for us";

/// What a receiver does with a request.
#[derive(Clone, Copy)]
enum Mood {
    Says(u16),
    /// It reads, and says nothing.
    Sleeps,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
struct Got {
    id: String,
    stamp: String,
    signature: String,
    body: String,
    /// Whether it was taken.
    taken: bool,
}

#[derive(Clone, Default)]
struct Receiver {
    moods: Arc<Mutex<VecDeque<Mood>>>,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Receiver {
    fn listen(&self, at: SocketAddr) {
        let listener = TcpListener::bind(at).unwrap();
        let receiver = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                receiver.take(stream.unwrap());
            }
        });
    }

    fn take(&self, mut stream: TcpStream) {
        let mut from = BufReader::new(stream.try_clone().unwrap());
        let (mut lines, mut line) = (Vec::new(), String::new());
        // A look whether someone is there sends nothing.
        while from.read_line(&mut line).unwrap_or_default() > 2 {
            lines.push(line.trim().to_owned());
            line.clear();
        }
        let header = |name: &str| {
            let mut found = lines.iter().filter_map(|line| line.split_once(": "));
            let found = found.find(|(own, _)| own.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_owned())
        };
        let Some(length) = header("content-length") else {
            return;
        };
        let mut body = vec![0; length.parse().unwrap()];
        from.read_exact(&mut body).unwrap();
        let mood = self.moods.lock().unwrap().pop_front();
        let mood = mood.unwrap_or(Mood::Says(204));
        self.got.lock().unwrap().push(Got {
            id: header("webhook-id").unwrap(),
            stamp: header("webhook-timestamp").unwrap(),
            signature: header("webhook-signature").unwrap(),
            body: String::from_utf8(body).unwrap(),
            taken: matches!(mood, Mood::Says(200..=299)),
        });
        match mood {
            Mood::Says(status) => {
                let answer = format!(
                    "HTTP/1.1 {status} x\r\nContent-Length: 0\r\nLocation: http://192.0.2.1/\r\n\r\n"
                );
                let _ = stream.write_all(answer.as_bytes());
            }
            Mood::Sleeps => std::thread::sleep(Duration::from_millis(700)),
        }
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// The words of what was taken, in order.
    fn taken(&self) -> Vec<String> {
        let got = self.got().into_iter().filter(|one| one.taken);
        got.map(|one| one.json()["type"].as_str().unwrap().to_owned())
            .collect()
    }

    fn wait(&self, site: &Site, what: &str, is: impl Fn(&Self) -> bool) {
        let until = Instant::now() + Duration::from_secs(20);
        while !is(self) {
            assert!(
                Instant::now() < until,
                "{what}: {:?}\n{}",
                self.got(),
                site.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn is_signed(&self) -> bool {
        let mut mac = Hmac::<Sha256>::new_from_slice(KEY).unwrap();
        mac.update(format!("{}.{}.{}", self.id, self.stamp, self.body).as_bytes());
        let signature = data_encoding::BASE64.encode(&mac.finalize().into_bytes());
        self.signature == format!("v1,{signature}")
    }
}

/// What `doctor` says of webhooks.
fn doctor(site: &Site) -> Vec<Value> {
    let output = site.run(&["--json", "doctor"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap().iter();
    let own = checks.filter(|one| one["check"] == "webhooks" || one["about"] == "webhooks");
    own.cloned().collect()
}

fn metric(http: SocketAddr, name: &str) -> u64 {
    let mut stream = TcpStream::connect(http).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let start = format!("{name}{{webhook=\"desk\"}} ");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(start.as_str()));
    line.unwrap_or_else(|| panic!("{name}: {text}"))
        .parse()
        .unwrap()
}

#[test]
#[allow(clippy::too_many_lines)] // one way after the other
fn programs_are_told_in_order_at_least_once_whatever_state_they_are_in() {
    let site = Site::new();
    let at: SocketAddr = format!("127.0.0.1:{}", free_port()).parse().unwrap();
    let file = site.path().join("oncegate.toml");
    let configuration = fs::read_to_string(&file).unwrap();
    let table = format!(
        "{configuration}\n[webhook.desk]\nurl = \"http://{at}/hook?from=oncegate\"\nsecret_file = \"desk.key\"\n\
         timeout = \"300ms\"\n"
    );
    fs::write(&file, &table).unwrap();
    let policy = format!("{NO_DELAY}[lockout]\nfree = 2\nlock_after = 2\n");
    fs::write(site.path().join("policies/default.toml"), policy).unwrap();
    site.json(&["user", "add", "before"]);
    for name in ["kim", "lee"] {
        site.json(&["client", "add", "api", name, "--scope", "approver"]);
    }
    let checks = doctor(&site);
    assert!(
        checks[0]["found"]
            .to_string()
            .contains("desk.key cannot be read"),
        "{checks:?}"
    );
    let key = site.path().join("desk.key");
    let text = format!("whsec_{}\n", data_encoding::BASE64.encode(KEY));
    fs::write(&key, text).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let checks = doctor(&site);
    assert!(
        checks[0]["found"]
            .to_string()
            .contains("Connection refused"),
        "{checks:?}"
    );

    // Down, then wrong in three ways: each later, and nothing else waits for it.
    let receiver = Receiver::default();
    receiver
        .moods
        .lock()
        .unwrap()
        .extend([Mood::Says(500), Mood::Sleeps, Mood::Says(302)]);
    let mut daemon = site.serve();
    site.enrol("alice", "hotp", RFC_SECRET);
    let until = Instant::now() + Duration::from_secs(10);
    while metric(daemon.http, "oncegate_webhook_failures_total") == 0 {
        assert!(Instant::now() < until, "{}", site.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    receiver.listen(at);
    for code in ["000000", "000001"] {
        let output = site.run_with(&["verify", "alice", "--otp-stdin"], code);
        assert_eq!(output.status.code(), Some(1));
    }
    site.json(&["user", "unlock", "alice"]);
    site.json(&[
        "delegation",
        "add",
        "--from",
        "api:kim",
        "--to",
        "api:lee",
        "--for",
        "1d",
        "--reason",
        "leave",
    ]);
    let all = ["token_add", "user_locked", "user_unlock", "approval_lend"];
    receiver.wait(&site, "all of them", |one| one.taken().len() >= all.len());
    assert_eq!(receiver.taken(), all);
    let got = receiver.got();
    assert!(got.iter().all(Got::is_signed), "{got:?}");
    let first: Vec<&Got> = got.iter().take_while(|one| !one.taken).collect();
    assert_eq!(first.len(), 3, "{got:?}");
    assert!(
        got[..4]
            .windows(2)
            .all(|pair| pair[0].id == pair[1].id && pair[0].body == pair[1].body)
    );
    let locked = got[4].json();
    assert_eq!(locked["data"]["topic"], "locks");
    assert_eq!(locked["data"]["about"]["user"], "alice@default", "{locked}");
    assert!(
        !got.iter().any(|one| one.body.contains("000000")),
        "{got:?}"
    );
    assert!(metric(daemon.http, "oncegate_webhook_failures_total") >= 4);
    assert_eq!(metric(daemon.http, "oncegate_webhook_sent_total"), 4);

    // What happened while the daemon was about to die is told by the next one, and nothing twice.
    receiver.moods.lock().unwrap().push_back(Mood::Says(503));
    site.json(&["token", "add", "alice", "--kind", "totp", "--active"]);
    receiver.wait(&site, "the refused one", |one| one.got().len() > got.len());
    daemon.kill();
    let daemon = site.serve();
    receiver.wait(&site, "the last one", |one| one.taken().len() > all.len());
    assert_eq!(receiver.taken().len(), 5, "{:?}", receiver.taken());
    assert_eq!(doctor(&site)[0]["state"], "ok");
    let jobs = site.json(&["status"]);
    assert!(jobs.to_string().contains("webhook desk"), "{jobs}");
    drop(daemon);
    for (wrong, said) in [
        ("http://192.0.2.1/", "write https://"),
        ("https://u:p@example.com/", ""),
        ("ftp://example.com/", ""),
    ] {
        fs::write(
            &file,
            table.replace(&format!("http://{at}/hook?from=oncegate"), wrong),
        )
        .unwrap();
        let output = site.run(&["config", "check"]);
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(
            output.status.code() != Some(0) && text.contains(said),
            "{wrong}: {text}"
        );
    }
    fs::write(
        &file,
        table.replace("timeout = \"300ms\"", "events = [\"logins\"]"),
    )
    .unwrap();
    let output = site.run(&["config", "check"]);
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(
        text.contains("write enrolments, locks, approvals"),
        "{text}"
    );
    assert_eq!(json!(output.status.code()), json!(1), "{text}");
}

/// A restore gives the numbers of records that were told of to others.
#[test]
fn what_happens_after_a_restore_is_told_though_its_numbers_were_before() {
    let site = Site::new();
    let at: SocketAddr = format!("127.0.0.1:{}", free_port()).parse().unwrap();
    let file = site.path().join("oncegate.toml");
    let configuration = fs::read_to_string(&file).unwrap();
    let table = format!(
        "{configuration}\n[webhook.desk]\nurl = \"http://{at}/hook\"\nsecret_file = \"desk.key\"\n"
    );
    fs::write(&file, &table).unwrap();
    let key = site.path().join("desk.key");
    let text = format!("whsec_{}\n", data_encoding::BASE64.encode(KEY));
    fs::write(&key, text).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let receiver = Receiver::default();
    receiver.listen(at);
    let backup = site.path().with_file_name("backup");
    let backup = backup.to_str().unwrap();
    site.json(&["user", "add", "alice"]);
    site.json(&["backup", backup]);
    let token = |user: &str| site.json(&["token", "add", user, "--kind", "totp", "--active"]);
    let daemon = site.serve();
    for number in 0..6 {
        let user = format!("lost{number}");
        site.json(&["user", "add", &user]);
        token(&user);
    }
    receiver.wait(&site, "what is lost", |one| one.taken().len() >= 6);
    assert!(daemon.terminate().success());

    let store = site.path().join("store");
    fs::remove_dir_all(&store).unwrap();
    site.json(&["restore", backup]);
    let daemon = site.serve();
    token("alice");
    receiver.wait(&site, "what is new", |one| one.taken().len() >= 7);
    assert!(daemon.terminate().success());
    let told: Vec<Value> = receiver.got().iter().map(Got::json).collect();
    let (new, lost) = (told[6]["data"].clone(), told[5]["data"].clone());
    assert_eq!(new["about"]["user"], "alice@default", "{told:?}");
    assert!(
        new["record"].as_u64() < lost["record"].as_u64(),
        "{new} {lost}"
    );
}
