//! Audit records elsewhere: a file, a syslog server with TLS, a URL; in order, each at least once. Signed heads.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::codes::{hotp_of, secret_of};
use crate::support::copy;
use crate::support::daemon::{Site, command};
use crate::support::net::Http;
use crate::support::require;
use crate::support::slapd::free_port;

type Lines = Arc<Mutex<Vec<String>>>;

fn configure(site: &Site, keys: &str) {
    let file = site.path().join("oncegate.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        text.replace("[audit]\n", &format!("[audit]\n{keys}")),
    )
    .unwrap();
}

fn until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The messages of a stream, by their octet counts.
fn messages(mut octets: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    while !octets.is_empty() {
        let end = octets.iter().position(|octet| *octet == b' ').unwrap();
        let length: usize = std::str::from_utf8(&octets[..end])
            .unwrap()
            .parse()
            .unwrap();
        let (message, rest) = octets[end + 1..].split_at(length);
        found.push(String::from_utf8(message.to_vec()).unwrap());
        octets = rest;
    }
    found
}

type Certificate = rcgen::CertifiedKey<rcgen::KeyPair>;

/// A certificate of this machine; its own authority is in `ca.pem` beside the site.
fn certificate(site: &Site) -> Certificate {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = rcgen::generate_simple_self_signed(names).unwrap();
    let authority = site.path().with_file_name("ca.pem");
    fs::write(authority, certificate.cert.pem()).unwrap();
    certificate
}

fn tls_of(certificate: &Certificate) -> Arc<rustls::ServerConfig> {
    let chain = vec![certificate.cert.der().clone()];
    let key = rustls::pki_types::PrivateKeyDer::try_from(certificate.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key.unwrap())
        .unwrap();
    Arc::new(config)
}

/// A syslog server with TLS; the first connections break before they are read.
fn syslog(certificate: &Certificate, broken: usize) -> (SocketAddr, Lines) {
    let config = tls_of(certificate);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let lines = Lines::default();
    let taken = Arc::clone(&lines);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            if number < broken {
                // In the middle of the handshake.
                let _ = tls.read_tls(&mut stream);
                continue;
            }
            let mut octets = Vec::new();
            let mut tls = rustls::Stream::new(&mut tls, &mut stream);
            let _ = tls.read_to_end(&mut octets);
            taken.lock().unwrap().extend(messages(&octets));
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
    });
    (address, lines)
}

/// A collector behind a URL with TLS, which refuses the first requests.
fn collector(certificate: &Certificate, refused: usize) -> (SocketAddr, Lines) {
    let config = tls_of(certificate);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let lines = Lines::default();
    let taken = Arc::clone(&lines);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(tls, stream.unwrap());
            let mut reader = BufReader::new(&mut stream);
            let (mut length, mut bearer) = (0, false);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let line = line.trim_end().to_lowercase();
                bearer |= line == "authorization: bearer t0ken";
                if let Some(value) = line.strip_prefix("content-length: ") {
                    length = value.parse().unwrap();
                }
                if line.is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let status = if number < refused || !bearer {
                "503 No"
            } else {
                "200 OK"
            };
            if status == "200 OK" {
                let body = String::from_utf8(body).unwrap();
                taken
                    .lock()
                    .unwrap()
                    .extend(body.lines().map(str::to_owned));
            }
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    (address, lines)
}

fn numbers(lines: &[String]) -> Vec<u64> {
    let json = lines.iter().map(|line| &line[line.find('{').unwrap()..]);
    let parsed = json.map(|json| serde_json::from_str::<Value>(json).unwrap());
    parsed
        .map(|record| record["seq"].as_u64().unwrap())
        .collect()
}

/// All from the first to the last, none skipped; repetitions are allowed, and none goes back further than a batch.
fn whole(lines: &[String], last: u64) -> bool {
    let all: BTreeSet<u64> = numbers(lines).into_iter().collect();
    all.into_iter().eq(1..=last)
}

#[test]
fn every_record_arrives_at_a_file_at_syslog_and_at_a_url_though_they_fail_at_first() {
    let site = Site::new();
    let certificate = certificate(&site);
    let beside = |name: &str| site.path().with_file_name(name);
    fs::write(beside("token"), "t0ken\n").unwrap();
    let (tls, syslog) = syslog(&certificate, 2);
    let (http, posted) = collector(&certificate, 2);
    let file = beside("audit.ndjson");
    configure(
        &site,
        &format!(
            "ship_file = {file:?}\nship_syslog = \"tls://127.0.0.1:{}\"\nship_http = \"https://{http}/in?x=1\"\n\
             ship_token_file = {:?}\nship_ca_file = {:?}\n",
            tls.port(),
            beside("token"),
            beside("ca.pem"),
        ),
    );
    site.json(&["user", "add", "alice", "--phone", "+821012345678"]);
    site.json_with(
        &[
            "token",
            "add",
            "alice",
            "--kind",
            "hotp",
            "--active",
            "--secret-stdin",
        ],
        &secret_of("alice"),
    );
    let key = site.api_client("app");
    let mut daemon = site.serve();
    for counter in 0..20 {
        let mut http = Http::new(daemon.http, &key);
        assert_eq!(
            http.verify("alice", &hotp_of("alice", counter)).unwrap().1["decision"],
            "accept"
        );
        if counter == 10 {
            daemon.kill();
            daemon = site.serve();
        }
    }
    let last = site.json(&["status"])["audit_seq"].as_u64().unwrap();
    let shipped = || fs::read_to_string(&file).unwrap_or_default();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    until("the file", || whole(&lines(&shipped()), last));
    until("syslog", || whole(&syslog.lock().unwrap(), last));
    until("the URL", || whole(&posted.lock().unwrap(), last));
    // RFC 5424: priority, version, time, host, program, process, word, data.
    let message = syslog.lock().unwrap().last().unwrap().clone();
    let words: Vec<&str> = message.splitn(8, ' ').collect();
    assert!(
        words[0] == "<86>1" && words[3] == "oncegate" && words[5] == "hotp_ok",
        "{message}"
    );
    assert!(words[6].starts_with("[oncegate@32473"), "{message}");
    // What is personal stays in the store, and no secret leaves it.
    for text in [
        shipped(),
        syslog.lock().unwrap().join("\n"),
        posted.lock().unwrap().join("\n"),
    ] {
        assert!(!text.contains("821012345678") && !text.contains(&secret_of("alice")));
    }
    until("the cursors", || {
        let page = Http::new(daemon.http, &site.admin_key)
            .send("GET", "/metrics", b"")
            .unwrap()
            .1;
        let page = String::from_utf8(page).unwrap();
        let none = |name: &str| {
            page.contains(&format!(
                "oncegate_audit_ship_lag{{destination=\"{name}\"}} 0\n"
            ))
        };
        none("file") && none("syslog") && none("http")
    });
    assert!(daemon.terminate().success());
}

/// rsyslog, which reads syslog over TLS and writes each message as it came.
struct Rsyslog {
    dir: PathBuf,
    process: Child,
}

impl Rsyslog {
    fn start(dir: &Path, port: u16) -> Self {
        let at = |name: &str| dir.join(name).display().to_string();
        let text = format!(
            r#"global(workDirectory="{}" DefaultNetstreamDriver="gtls" DefaultNetstreamDriverCAFile="{ca}"
                 DefaultNetstreamDriverCertFile="{ca}" DefaultNetstreamDriverKeyFile="{}")
               module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
               template(name="whole" type="string" string="%rawmsg%\n")
               input(type="imtcp" port="{port}" address="127.0.0.1")
               *.* action(type="omfile" file="{}" template="whole" flushOnTXEnd="on")
            "#,
            dir.display(),
            at("key.pem"),
            at("received"),
            ca = at("ca.pem"),
        );
        fs::write(dir.join("rsyslog.conf"), text).unwrap();
        let process = Command::new("rsyslogd")
            .args(["-n", "-f", &at("rsyslog.conf"), "-i", &at("rsyslog.pid")])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            dir: dir.to_owned(),
            process,
        }
    }

    fn received(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.join("received")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// It writes what it has taken first.
    fn stop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.process.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn rsyslog_takes_every_record_over_tls_though_it_is_away_for_a_while() {
    if !require("rsyslogd", "rsyslog rsyslog-gnutls") {
        return;
    }
    let site = Site::new();
    let certificate = certificate(&site);
    let dir = site.path().with_file_name("rsyslog");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("ca.pem"), certificate.cert.pem()).unwrap();
    fs::write(dir.join("key.pem"), certificate.signing_key.serialize_pem()).unwrap();
    let port = free_port();
    configure(
        &site,
        &format!(
            "ship_syslog = \"tls://127.0.0.1:{port}\"\nship_ca_file = {:?}\n",
            dir.join("ca.pem")
        ),
    );
    let daemon = site.serve();
    let mut rsyslog = Rsyslog::start(&dir, port);
    let add = |name: &str| drop(site.json(&["user", "add", name]));
    let last = || site.json(&["status"])["audit_seq"].as_u64().unwrap();
    (0..5).for_each(|number| add(&format!("before{number}")));
    let so_far = last();
    until("rsyslog has the first records", || {
        whole(&rsyslog.received(), so_far)
    });
    rsyslog.stop();
    (0..5).for_each(|number| add(&format!("meanwhile{number}")));
    let rsyslog = Rsyslog::start(&dir, port);
    let all = last();
    until("rsyslog has all records", || {
        whole(&rsyslog.received(), all)
    });
    assert!(daemon.terminate().success());
}

/// A destination that takes nothing delays no login.
#[test]
fn a_destination_that_is_away_stops_no_login_and_is_named() {
    let site = Site::new();
    configure(&site, "ship_syslog = \"tcp://127.0.0.1:9\"\n");
    site.enrol("alice", "hotp", &secret_of("alice"));
    let key = site.api_client("app");
    let daemon = site.serve();
    let mut http = Http::new(daemon.http, &key);
    assert_eq!(
        http.verify("alice", &hotp_of("alice", 0)).unwrap().1["decision"],
        "accept"
    );
    until("the failure is told", || {
        let jobs = site.json(&["status"])["jobs"].clone();
        let jobs = jobs.as_array().unwrap();
        jobs.iter()
            .any(|job| job["name"] == "audit to syslog" && job["error"].is_string())
    });
    assert_eq!(
        http.verify("alice", &hotp_of("alice", 1)).unwrap().1["decision"],
        "accept"
    );
    // It is asked every second, and one sentence is enough.
    until("three failures", || {
        let mut admin = Http::new(daemon.http, &site.admin_key);
        let (_, page) = admin.send("GET", "/metrics", b"").unwrap();
        let page = String::from_utf8(page).unwrap();
        let name = "oncegate_audit_ship_failures_total{destination=\"syslog\"} ";
        let value = page.lines().find_map(|line| line.strip_prefix(name));
        value.is_some_and(|value| value.parse::<u64>().unwrap() >= 3)
    });
    let log = site.log();
    assert_eq!(log.matches("a background job failed").count(), 1, "{log}");
    assert!(daemon.terminate().success());
}

#[test]
fn signed_heads_prove_the_trail_against_those_who_have_its_keys() {
    let site = Site::new();
    let heads = site.path().with_file_name("heads");
    configure(&site, &format!("heads = {heads:?}\n"));
    site.json(&["user", "add", "alice"]);
    assert!(site.serve().terminate().success());
    let old = site.path().with_file_name("old");
    let copied = Command::new("cp")
        .arg("-a")
        .arg(site.path())
        .arg(&old)
        .status();
    assert!(copied.unwrap().success());
    let daemon = site.serve();
    site.json(&["user", "add", "bob"]);
    assert!(daemon.terminate().success());
    let against = ["audit", "verify", "--against", heads.to_str().unwrap()];
    let verified = site.json(&against);
    assert_eq!(verified["different"], Value::Null, "{verified}");
    assert!(verified["same"].as_u64().unwrap() >= 2, "{verified}");
    let key = verified["key"].as_str().unwrap();
    assert_eq!(
        site.run(&[&against[..], &["--key", key]].concat())
            .status
            .code(),
        Some(0)
    );
    let other = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert_eq!(
        site.run(&[&against[..], &["--key", other]].concat())
            .status
            .code(),
        Some(1)
    );

    // A line that was changed proves nothing.
    let text = fs::read_to_string(&heads).unwrap();
    let mut first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    first["seq"] = json!(first["seq"].as_u64().unwrap() + 1);
    let forged = site.path().with_file_name("forged");
    fs::write(&forged, first.to_string()).unwrap();
    let output = site.run(&["audit", "verify", "--against", forged.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not signed by the key"));

    // Another past with the same keys: shorter, then as long as the signed one.
    fs::remove_dir_all(site.path().join("store")).unwrap();
    fs::rename(old.join("store"), site.path().join("store")).unwrap();
    fs::remove_file(site.path().join("witness")).unwrap();
    let output = site.run(&[&against[..], &["--json"]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"ends_before\":true"));
    for n in 0..10 {
        site.json(&["user", "add", &format!("carol{n}")]);
    }
    let output = site.run(&[&against[..], &["--json"]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"ends_before\":false"));
}

/// As a SIEM reads it: the fields of a refused login, whose name was chosen to look like others.
#[test]
fn a_siem_gets_common_event_format() {
    let site = Site::new();
    let certificate = certificate(&site);
    let (collector, posted) = collector(&certificate, 0);
    let beside = |name: &str| site.path().with_file_name(name);
    fs::write(beside("token"), "t0ken\n").unwrap();
    let file = beside("audit.cef");
    configure(
        &site,
        &format!(
            "ship_file = {file:?}\nship_format = \"cef\"\nship_http = \"https://{collector}/cef\"\n\
             ship_token_file = {:?}\nship_ca_file = {:?}\n",
            beside("token"),
            beside("ca.pem")
        ),
    );
    let key = site.api_client("app");
    let daemon = site.serve();
    let mut http = Http::new(daemon.http, &key);
    let refused = http.verify("eve|x=1 act=accept", "123456").unwrap();
    assert_eq!(refused.1["decision"], "reject");
    let refusal = || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let mut lines = text.lines().map(str::to_owned);
        lines.find(|line| line.contains("login rejected"))
    };
    until("the file", || refusal().is_some());
    let line = refusal().unwrap();
    let (head, fields) = line.split_at(line.find("rt=").unwrap());
    assert!(
        head.starts_with("CEF:0|Oncegate|oncegate|") && head.contains("|login rejected|5|"),
        "{line}"
    );
    assert!(fields.contains(" act=reject reason="), "{line}");
    assert!(fields.contains(r"x\=1 act\=accept"), "{line}");
    assert!(
        fields.contains(" requestClientApplication=app app=http cs1="),
        "{line}"
    );
    assert!(!line.contains("123456"), "{line}");
    until("the URL", || posted.lock().unwrap().contains(&line));
    assert!(daemon.terminate().success());
}

/// Number and request of each record.
fn named<'r>(records: impl Iterator<Item = &'r Value>) -> BTreeSet<(u64, String)> {
    let named = records.map(|record| {
        let seq = record["seq"].as_u64().unwrap();
        (seq, record["request_id"].as_str().unwrap().to_owned())
    });
    named.collect()
}

/// A restore, and the acceptance of an older store, write other records under numbers that were shipped and signed.
#[test]
fn what_a_restore_or_a_rollback_writes_is_shipped_though_its_numbers_were_before() {
    for rollback in [false, true] {
        let site = Site::new();
        let beside = |name: &str| site.path().with_file_name(name);
        let (file, heads, backup) = (beside("audit.ndjson"), beside("heads"), beside("backup"));
        configure(&site, &format!("ship_file = {file:?}\nheads = {heads:?}\n"));
        let backup = backup.to_str().unwrap();
        let (store, older) = (site.path().join("store"), beside("older"));
        site.json(&["user", "add", "before"]);
        let at = site.status()["audit_seq"].as_u64().unwrap();
        if rollback {
            copy(&store, &older);
        } else {
            site.json(&["backup", backup]);
        }
        let shipped = || {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
            lines.collect::<Vec<Value>>()
        };
        let daemon = site.serve();
        (0..20).for_each(|number| drop(site.json(&["user", "add", &format!("lost{number}")])));
        let last = site.status()["audit_seq"].as_u64().unwrap();
        until("the records that are lost", || {
            shipped().iter().any(|record| record["seq"] == last)
        });
        assert!(daemon.terminate().success());

        fs::remove_dir_all(&store).unwrap();
        let mut serve = command(&site.path());
        serve.args(["serve", "--radius", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        let action = if rollback {
            copy(&older, &store);
            serve.arg("--accept-rollback");
            "store_rollback"
        } else {
            site.json(&["restore", backup]);
            "store_restore"
        };
        let daemon = site.started(&mut serve);
        site.json(&["user", "add", "after"]);
        let trail = site.json(&["audit", "export"]);
        let trail = trail.as_array().unwrap().iter();
        let new = named(trail.filter(|record| record["seq"].as_u64() > Some(at)));
        assert!(new.len() >= 2 && at + (new.len() as u64) < last, "{new:?}");
        until("the records that are new", || {
            named(shipped().iter()).is_superset(&new)
        });
        assert!(daemon.terminate().success());
        // Nothing comes again at the next start.
        let sent = shipped().len();
        let daemon = site.serve();
        site.json(&["user", "add", "later"]);
        until("the last one", || shipped().len() > sent);
        assert!(shipped().len() < sent + 10, "{:?}", &shipped()[sent..]);
        assert!(daemon.terminate().success());

        let output = site.run(&["audit", "verify", "--against", heads.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stdout);
        for part in ["signed in state epoch 0", action, "state epoch 1"] {
            assert!(said.contains(part), "no `{part}` in {said}");
        }
        assert!(!said.contains("exchanged"), "{said}");
    }
}
