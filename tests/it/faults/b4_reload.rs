//! Fault B4: a reload that failed looked successful, and nobody looked at certificates.

use std::fs;
use std::io::Read;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;
use std::time::Instant;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use nix::sys::signal::Signal;
use rcgen::CertificateParams;
use rcgen::DnType;
use rcgen::Issuer;
use rcgen::KeyPair;
use serde_json::Value;

use crate::support::codes::RFC_SECRET;
use crate::support::codes::hotp;
use crate::support::daemon::NO_DELAY;
use crate::support::daemon::Site;
use crate::support::gateway::GatewayDouble;
use crate::support::net::Http;

/// Writes a key of the configuration in the place of its commented default.
fn configure(site: &Site, default: &str, wanted: &str) {
    let path = site.path().join("oncegate.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(default), "{default}");
    fs::write(path, text.replacen(default, wanted, 1)).unwrap();
}

fn line_of(site: &Site, text: &str) -> String {
    let file = fs::read_to_string(site.path().join("oncegate.toml")).unwrap();
    let line = file.lines().position(|line| line == text).unwrap();
    format!("oncegate.toml:{}", line + 1)
}

fn words(output: &Output) -> (Option<i32>, String) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let text = text + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

/// Reloads; the exit code and all of the words must be these.
fn reloads(site: &Site, code: i32, expected: &[&str]) {
    let (exit, text) = words(&site.run(&["reload"]));
    assert_eq!(exit, Some(code), "{text}");
    for word in expected {
        assert!(text.contains(word), "no `{word}` in: {text}");
    }
}

fn until_logged(site: &Site, word: &str) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !site.log().contains(word) {
        assert!(Instant::now() < deadline, "no `{word}` in: {}", site.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn exit_code_and_text_are_the_result_and_what_is_bad_stays_as_it_was() {
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    let daemon = site.serve();
    let mut http = Http::new(daemon.http, &site.admin_key);
    let decision = |http: &mut Http, counter: u64| {
        let answer = http.verify("alice", &hotp(counter)).unwrap().1;
        answer["decision"].as_str().unwrap().to_owned()
    };
    reloads(
        &site,
        0,
        &["policies", "texts", "gateways", "log level", "reloaded"],
    );
    assert_eq!(decision(&mut http, 0), "accept");

    let policy = site.path().join("policies/default.toml");
    fs::write(&policy, "[[rule]]\nname = \"x\"\nreqiure = [\"otp\"]\n").unwrap();
    reloads(
        &site,
        1,
        &["policies", "kept as it was", "default.toml:3", "reqiure"],
    );
    assert_eq!(decision(&mut http, 1), "accept", "the old policy");
    let json = site.run(&["--json", "reload"]);
    let done: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((json.status.code(), &done["ok"]), (Some(1), &false.into()));

    // The signal says the same in the log.
    daemon.signal(Signal::SIGHUP);
    until_logged(&site, "default.toml:3");

    // Another part is taken all the same.
    configure(&site, "# level = \"info\"", "level = \"debug\"");
    reloads(&site, 1, &["default.toml:3", "log level      reloaded"]);
    assert_eq!(http.send("GET", "/healthz", b"").unwrap().0, 200);
    until_logged(&site, "DEBUG");

    fs::write(&policy, NO_DELAY.replace("otp", "pin")).unwrap();
    reloads(&site, 0, &["policies       reloaded"]);
    assert_eq!(decision(&mut http, 2), "reject", "the new policy");
    fs::write(&policy, NO_DELAY).unwrap();
    fs::create_dir(site.path().join("templates")).unwrap();
    fs::write(site.path().join("templates/xx.toml"), "").unwrap();
    reloads(&site, 1, &["texts", "xx.toml"]);
    fs::remove_file(site.path().join("templates/xx.toml")).unwrap();
    assert!(daemon.terminate().success());
    let (exit, text) = words(&site.run(&["reload"]));
    assert_eq!(exit, Some(3), "{text}");
    assert!(text.contains("no daemon runs"), "{text}");
}

#[test]
fn what_takes_a_restart_is_named_by_reload_and_config_check() {
    let site = Site::new();
    let daemon = site.serve();
    let (exit, text) = words(&site.run(&["config", "check"]));
    assert_eq!(exit, Some(0));
    assert!(!text.contains("restart"), "{text}");
    configure(
        &site,
        "# listen = \"127.0.0.1:1812\"",
        "listen = \"127.0.0.1:1999\"",
    );
    configure(
        &site,
        "# request_timeout = \"3s\"",
        "request_timeout = \"4s\"",
    );
    configure(&site, "# level = \"info\"", "level = \"warn\"");
    let place = line_of(&site, "listen = \"127.0.0.1:1999\"");
    let needs = [
        "radius.listen needs a restart: 127.0.0.1:1812 is in use, 127.0.0.1:1999 is written",
        "limits.request_timeout needs a restart",
        &place,
    ];
    reloads(&site, 0, &needs);
    let (exit, text) = words(&site.run(&["config", "check"]));
    assert_eq!(exit, Some(0), "{text}");
    for word in needs {
        assert!(text.contains(word), "no `{word}` in: {text}");
    }
    assert!(!text.contains("log.level"), "{text}");
    // A configuration that cannot be read changes nothing, and says where.
    configure(&site, "level = \"warn\"", "level = \"loud\"");
    let place = line_of(&site, "level = \"loud\"");
    reloads(&site, 2, &[&place]);
    assert!(daemon.terminate().success());
}

#[test]
fn gateways_are_taken_and_a_bad_one_leaves_those_before() {
    let double = GatewayDouble::start();
    let site = Site::new();
    let daemon = site.serve();
    let names = || {
        let list = site.json(&["delivery", "list"]);
        let gateways = list["gateways"].as_array().unwrap().iter();
        let names: Vec<String> = gateways
            .map(|one| one["name"].as_str().unwrap().into())
            .collect();
        names
    };
    assert!(names().is_empty());
    let path = site.path().join("oncegate.toml");
    let text = fs::read_to_string(&path).unwrap();
    let with = |more: &str| format!("{text}\n{}", double.table("sms", more));
    fs::write(&path, with("")).unwrap();
    reloads(&site, 0, &["gateways       reloaded"]);
    assert_eq!(names(), ["sms"]);
    assert_eq!(
        site.json(&["delivery", "test", "sms", "--to", "010-1234-5678"])["taken"],
        true
    );
    // A secret that is not there.
    fs::write(&path, with("secret_file = \"missing.key\"\n")).unwrap();
    reloads(&site, 1, &["gateways", "kept as it was", "missing.key"]);
    assert_eq!(names(), ["sms"]);
    assert_eq!(
        site.json(&["delivery", "test", "sms", "--to", "010-1234-5678"])["taken"],
        true
    );
    assert!(daemon.terminate().success());
}

/// Files of a certificate: name, authority, days of validity from now.
struct Made {
    certificate: String,
    key: String,
}

fn params(name: &str, days: (i64, i64)) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let day = |offset: i64| {
        let seconds = Timestamp::now().as_second() + offset * 86_400;
        let time = Timestamp::from_second(seconds)
            .unwrap()
            .to_zoned(TimeZone::UTC);
        let (month, day) = (time.month().unsigned_abs(), time.day().unsigned_abs());
        rcgen::date_time_ymd(time.year().into(), month, day)
    };
    (params.not_before, params.not_after) = (day(days.0), day(days.1));
    params
}

fn made(days: (i64, i64)) -> Made {
    let key = KeyPair::generate().unwrap();
    Made {
        certificate: params("localhost", days).self_signed(&key).unwrap().pem(),
        key: key.serialize_pem(),
    }
}

fn files(site: &Site) -> (PathBuf, PathBuf) {
    (site.path().join("http.pem"), site.path().join("http.key"))
}

fn put(site: &Site, made: &Made) {
    let (certificate, key) = files(site);
    fs::write(certificate, &made.certificate).unwrap();
    fs::write(&key, &made.key).unwrap();
}

fn tls_site() -> Site {
    let site = Site::new();
    configure(
        &site,
        "# certificate = \"http.pem\"",
        "certificate = \"http.pem\"",
    );
    configure(&site, "# key = \"http.key\"", "key = \"http.key\"");
    site
}

/// `/metrics` by the admin socket.
fn not_after(site: &Site) -> i64 {
    let mut stream = UnixStream::connect(site.path().join("admin.sock")).unwrap();
    let ask = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(ask).unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let name = "oncegate_certificate_not_after_seconds ";
    let mut lines = page.lines();
    let value = lines.find_map(|line| line.strip_prefix(name));
    value.expect("the metric").parse().unwrap()
}

#[test]
fn certificates_are_looked_at_before_clients_refuse_them() {
    let site = tls_site();
    let checks = |code: i32, word: &str| {
        let (exit, text) = words(&site.run(&["config", "check"]));
        assert_eq!(exit, Some(code), "{text}");
        assert!(text.contains(word), "no `{word}` in {text}");
        // Its exit code also depends on the machine: the space on its disk.
        let (_, text) = words(&site.run(&["doctor"]));
        let word = if word.is_empty() {
            "ok       cert"
        } else {
            word
        };
        assert!(text.contains(word), "no `{word}` in {text}");
    };
    put(&site, &made((-1, 400)));
    checks(0, "");
    put(&site, &made((-1, 20)));
    checks(0, "it expires at");
    put(&site, &made((-400, -3)));
    checks(1, "it expired at");
    put(&site, &made((3, 400)));
    checks(1, "it is not valid before");
    put(
        &site,
        &Made {
            key: made((-1, 400)).key,
            ..made((-1, 400))
        },
    );
    checks(1, "private key that belongs to");
    // Intermediates: signed by the next one, or not.
    let (authority, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let issuer = params("authority", (-1, 400));
    let key = KeyPair::generate().unwrap();
    let signed = params("localhost", (-1, 400))
        .signed_by(&key, &Issuer::from_params(&issuer, &authority))
        .unwrap();
    let chain = |second: String| Made {
        certificate: signed.pem() + &second,
        key: key.serialize_pem(),
    };
    put(&site, &chain(issuer.self_signed(&authority).unwrap().pem()));
    checks(0, "");
    put(&site, &chain(issuer.self_signed(&other).unwrap().pem()));
    checks(1, "was not signed by");
    let stranger = params("stranger", (-1, 400)).self_signed(&other).unwrap();
    put(&site, &chain(stranger.pem()));
    checks(1, "the chain is out of order");
    // An intermediate that ends before the server's.
    let ended = params("authority", (-400, -2))
        .self_signed(&authority)
        .unwrap();
    put(&site, &chain(ended.pem()));
    checks(1, "it expired at");
}

#[test]
fn a_reload_takes_a_new_certificate_and_keeps_the_old_one_for_a_bad_one() {
    let site = tls_site();
    put(&site, &made((-1, 20)));
    let daemon = site.serve();
    until_logged(&site, "it expires at");
    let (_, status) = words(&site.run(&["status"]));
    assert!(status.contains("it expires at"), "{status}");
    let soon = not_after(&site);
    put(&site, &made((-1, 400)));
    reloads(&site, 0, &["certificate    reloaded"]);
    let later = not_after(&site);
    assert_eq!(later - soon, 380 * 86_400);
    for (bad, word) in [
        (made((-400, -3)), "it expired at"),
        (made((3, 400)), "it is not valid before"),
        (
            Made {
                key: made((-1, 400)).key,
                ..made((-1, 400))
            },
            "belongs to",
        ),
        (
            Made {
                certificate: "SECRET".to_owned(),
                key: String::new(),
            },
            "http.pem",
        ),
    ] {
        put(&site, &bad);
        reloads(&site, 1, &["certificate", "kept as it was", word]);
        assert_eq!(not_after(&site), later);
    }
    // Other files are taken too; TLS itself comes and goes with a restart.
    let (certificate, key) = files(&site);
    put(&site, &made((-1, 100)));
    fs::rename(certificate, site.path().join("new.pem")).unwrap();
    fs::rename(key, site.path().join("new.key")).unwrap();
    configure(
        &site,
        "certificate = \"http.pem\"",
        "certificate = \"new.pem\"",
    );
    configure(&site, "key = \"http.key\"", "key = \"new.key\"");
    reloads(&site, 0, &["certificate    reloaded"]);
    assert_eq!(later - not_after(&site), 300 * 86_400);
    assert!(daemon.terminate().success());
}
