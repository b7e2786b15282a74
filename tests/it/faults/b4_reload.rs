//! Fault B4: a reload that failed looked successful, and nobody looked at certificates.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use nix::sys::signal::Signal;
use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
use serde_json::Value;

use crate::support::codes::{RFC_SECRET, hotp};
use crate::support::daemon::{NO_DELAY, Site};
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
    // The option says otherwise than the file, before and after.
    let listen = format!(
        "radius.listen needs a restart without `serve --radius`: {} is in use, 127.0.0.1:1999 is written",
        daemon.radius
    );
    let needs = [
        listen.as_str(),
        "limits.request_timeout needs a restart",
        &place,
    ];
    reloads(&site, 0, &needs);
    reloads(
        &site,
        0,
        &["configuration  reloaded, but for what needs a restart"],
    );
    let (exit, text) = words(&site.run(&["config", "check"]));
    assert_eq!(exit, Some(0), "{text}");
    for word in needs {
        assert!(text.contains(word), "no `{word}` in: {text}");
    }
    assert!(!text.contains("log.level"), "{text}");
    // A configuration that cannot be read changes nothing, and says where.
    configure(&site, "level = \"warn\"", "level = \"loud\"");
    let place = line_of(&site, "level = \"loud\"");
    reloads(&site, 1, &["configuration", "kept as it was", &place]);
    assert!(daemon.terminate().success());
}

/// A daemon that runs can be asked whatever is written in its configuration file by now.
#[test]
fn a_faulty_configuration_does_not_keep_commands_from_the_daemon() {
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    let daemon = site.serve();
    let path = site.path().join("oncegate.toml");
    let good = fs::read_to_string(&path).unwrap();
    let lines = good.lines().count();
    for (faulty, place) in [
        (format!("{good}[raduis]\nlisten = 1\n"), lines + 1),
        (format!("{good}[log\n"), lines + 1),
        (
            good.replacen("# level = \"info\"", "level = \"loud\"", 1),
            good.lines()
                .position(|line| line == "# level = \"info\"")
                .unwrap()
                + 1,
        ),
    ] {
        fs::write(&path, faulty).unwrap();
        let place = format!("oncegate.toml:{place}");
        let config = path.to_str().unwrap();
        for command in [
            &["user", "list"][..],
            &["user", "set", "alice", "--group", "vpn"],
            &["status"],
            &["audit", "list", "--limit", "1"],
            &["store", "verify"],
            &["--config", config, "token", "list", "alice"],
        ] {
            let output = site.run(command);
            let (exit, text) = words(&output);
            assert_eq!(exit, Some(0), "{command:?}: {text}");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.starts_with("warning: "), "{command:?}: {said}");
            assert!(said.contains(&place), "no {place} in {said}");
        }
        // The document is alone on stdout.
        let output = site.run(&["--json", "user", "show", "alice"]);
        let user: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(user["groups"][0], "vpn");
        reloads(&site, 1, &["configuration", &place]);
        let (exit, text) = words(&site.run(&["doctor"]));
        assert_eq!(exit, Some(1));
        assert!(text.contains(&place), "{text}");
        assert!(text.contains("ok       daemon"), "{text}");
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(words(&site.run(&["user", "list"])).0, Some(0));
    fs::write(&path, good + "[raduis]\n").unwrap();
    assert!(daemon.terminate().success());
    let (exit, text) = words(&site.run(&["user", "list"]));
    assert_eq!(exit, Some(2), "without a daemon: {text}");
}

/// The status of a signed text message that a gateway brings.
fn bring(http: &Http, secret: &str) -> u16 {
    use hmac::Mac as _;
    let body = "{\"from\":\"+821012345678\",\"text\":\"48\"}";
    let at = Timestamp::now().as_second();
    let mut mac =
        <hmac::Hmac<sha2::Sha256> as hmac::KeyInit>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{at}.sms.{body}").as_bytes());
    let mac = data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes());
    let mut stream = std::net::TcpStream::connect(http.address()).unwrap();
    let request = format!(
        "POST /v1/inbound/sms HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nOncegate-Signature: t={at},v2={mac}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn the_inbound_secret_is_read_again() {
    let site = Site::new();
    let file = site.path().join("inbound.key");
    let (first, second) = (
        "the first secret of gateways",
        "the second secret of gateways",
    );
    fs::write(&file, first).unwrap();
    configure(
        &site,
        "# inbound_secret_file = \"inbound.key\"",
        "inbound_secret_file = \"inbound.key\"",
    );
    let daemon = site.serve();
    let http = Http::new(daemon.http, &site.admin_key);
    // Signed rightly, but too soon after the secret was read: 503, not 401.
    assert_eq!((bring(&http, first), bring(&http, second)), (503, 401));
    fs::write(&file, second).unwrap();
    reloads(&site, 0, &["inbound secret reloaded"]);
    assert_eq!((bring(&http, first), bring(&http, second)), (401, 503));
    // A bad one leaves the one before, and is named.
    fs::write(&file, "").unwrap();
    reloads(&site, 1, &["inbound secret kept as it was", "inbound.key"]);
    assert_eq!(bring(&http, second), 503);
    fs::remove_file(&file).unwrap();
    reloads(&site, 1, &["inbound secret kept as it was", "inbound.key"]);
    // Another file, and none.
    fs::write(site.path().join("other.key"), first).unwrap();
    configure(&site, "\"inbound.key\"", "\"other.key\"");
    let (exit, text) = words(&site.run(&["reload"]));
    assert_eq!(exit, Some(0), "{text}");
    assert!(!text.contains("needs a restart"), "{text}");
    assert_eq!((bring(&http, first), bring(&http, second)), (503, 401));
    configure(
        &site,
        "inbound_secret_file = \"other.key\"",
        "# inbound_secret_file = \"inbound.key\"",
    );
    reloads(&site, 0, &["inbound secret reloaded"]);
    assert_eq!(bring(&http, first), 404, "nothing is taken any more");
    assert!(daemon.terminate().success());
}

/// What is refused, and a certificate that is taken, stand in the audit.
#[test]
fn a_reload_is_on_record_with_what_it_refused() {
    let site = tls_site();
    put(&site, &made((-1, 20)));
    let daemon = site.serve();
    let newest = || {
        let list = site.json(&["audit", "list", "--action", "files_reload", "--limit", "1"]);
        list["records"][0].clone()
    };
    let changed = |record: &Value, name: &str| {
        let changes = record["changes"].as_array().cloned().unwrap_or_default();
        changes.iter().any(|change| change["record"] == name)
    };
    put(&site, &made((-1, 400)));
    reloads(&site, 0, &["certificate"]);
    let taken = newest();
    assert!(changed(&taken, "certificate"), "{taken}");
    assert_eq!(taken.get("detail"), None);
    // An expired one is refused: what was in force stays on record.
    put(&site, &made((-400, -3)));
    reloads(&site, 1, &["certificate", "kept as it was"]);
    let refused = newest();
    let detail = refused["detail"].as_str().unwrap();
    for word in ["refused", "certificate: ", "http.pem", "it expired at"] {
        assert!(detail.contains(word), "no `{word}` in {detail}");
    }
    assert!(!changed(&refused, "certificate"), "{refused}");
    put(&site, &made((-1, 400)));
    // A policy, and the configuration itself.
    let policy = site.path().join("policies/default.toml");
    fs::write(&policy, "[[rule]]\nname = \"x\"\nreqiure = [\"otp\"]\n").unwrap();
    configure(&site, "# level = \"info\"", "level = \"loud\"");
    let place = line_of(&site, "level = \"loud\"");
    daemon.signal(Signal::SIGHUP);
    let deadline = Instant::now() + Duration::from_mins(1);
    while newest()["seq"] == refused["seq"] {
        assert!(Instant::now() < deadline, "no record");
        std::thread::yield_now();
    }
    let both = newest();
    let detail = both["detail"].as_str().unwrap();
    for word in ["default.toml:3", "reqiure", "configuration: ", &place] {
        assert!(detail.contains(word), "no `{word}` in {detail}");
    }
    // For people, in the list and in the explanation.
    let list = words(&site.run(&["audit", "list", "--action", "files_reload"])).1;
    assert!(list.contains("refused"), "{list}");
    let told = site.run(&["explain", both["request_id"].as_str().unwrap()]);
    assert!(words(&told).1.contains("default.toml:3"));
    // The configuration as a file that changed.
    configure(&site, "level = \"loud\"", "level = \"warn\"");
    fs::write(&policy, NO_DELAY).unwrap();
    reloads(&site, 0, &["policies"]);
    assert!(changed(&newest(), "configuration"));
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

/// Gateways of a configuration that was not taken are not said to be reloaded, and stay; a warning is no fault.
#[test]
fn a_reload_names_the_part_that_is_bad() {
    let double = GatewayDouble::start();
    let site = Site::new();
    let daemon = site.serve();
    let path = site.path().join("oncegate.toml");
    let text = fs::read_to_string(&path).unwrap();
    let table = double.table("sms", "");
    let names = || {
        let list = site.json(&["delivery", "list"]);
        let gateways = list["gateways"].as_array().unwrap().clone();
        let names = gateways.iter().map(|one| one["name"].clone());
        names.collect::<Vec<Value>>()
    };
    let kept = [
        "configuration  kept as it was: ",
        "`delivery.sms.kind`",
        "gateways       kept as it was: ",
    ];
    let faulty = format!("{text}\n{}", table.replace("\"http\"", "\"htp\""));
    fs::write(&path, &faulty).unwrap();
    reloads(&site, 1, &kept);
    assert!(names().is_empty());
    // What an earlier reload took stays, too.
    fs::write(&path, format!("{text}\n{table}")).unwrap();
    reloads(&site, 0, &["gateways       reloaded"]);
    fs::write(&path, faulty).unwrap();
    reloads(&site, 1, &kept);
    assert_eq!(names(), ["sms"]);
    // Where there are none, another fault of the configuration is not theirs.
    fs::write(&path, &text).unwrap();
    reloads(&site, 0, &["gateways       reloaded"]);
    fs::write(&path, format!("{text}\n[raduis]\n")).unwrap();
    let (exit, said) = words(&site.run(&["reload"]));
    assert_eq!(exit, Some(1), "{said}");
    assert!(!said.contains("gateways"), "{said}");
    fs::write(&path, &text).unwrap();
    let warned =
        "[[rule]]\nname = \"x\"\nrequire = [\"otp\"]\n[reply]\n\"Filter-Id\" = \"{group}\"\n";
    fs::write(site.path().join("policies/vpn.toml"), warned).unwrap();
    let check = site.run(&["policy", "check"]);
    let said = words(&check).1;
    assert!(said.contains("warning"), "it warns of nothing: {said}");
    let policy = site.path().join("policies/default.toml");
    fs::write(&policy, "[[rule]]\nname = \"x\"\nreqiure = [\"otp\"]\n").unwrap();
    let (exit, said) = words(&site.run(&["reload"]));
    assert_eq!(exit, Some(1), "{said}");
    assert!(said.contains("default.toml:3"), "{said}");
    assert!(!said.contains("warning"), "{said}");
    assert!(daemon.terminate().success());
}

/// Files of parts that are read at the start only are named too: the next start would be refused.
#[test]
fn a_reload_names_every_file_that_would_refuse_a_start() {
    let site = Site::new();
    let config = site.path().join("oncegate.toml");
    let text = fs::read_to_string(&config).unwrap();
    let table = "secret_file = \"desk.key\"";
    let text = format!("{text}\n[webhook.desk]\nurl = \"http://127.0.0.1:9/\"\n{table}\n");
    fs::write(&config, text).unwrap();
    let key = site.path().join("desk.key");
    fs::write(&key, "k".repeat(32)).unwrap();
    let daemon = site.serve();
    reloads(&site, 0, &["policies       reloaded"]);
    fs::remove_file(&key).unwrap();
    let place = format!(
        "{}: error: `webhook.desk.secret_file`: ",
        line_of(&site, table)
    );
    reloads(
        &site,
        1,
        &[
            "files          kept as it was",
            &place,
            "policies       reloaded",
        ],
    );
    // What has a part of its own is told there, with the line of its key.
    fs::write(&key, "k".repeat(32)).unwrap();
    let table = "departures = \"departures.csv\"";
    let text = fs::read_to_string(&config).unwrap();
    let text = text.replace("[policies]\n", &format!("[policies]\n{table}\n"));
    fs::write(&config, text).unwrap();
    let place = format!("{}: error: `policies.departures`: ", line_of(&site, table));
    reloads(&site, 1, &["tables         kept as it was", &place]);
    assert!(!words(&site.run(&["reload"])).1.contains("files    "));
    fs::write(site.path().join("departures.csv"), "").unwrap();
    reloads(&site, 0, &["tables         reloaded"]);
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
    let name = "oncegate_certificate_not_after_seconds{of=\"https\"} ";
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

/// The policy of clients that name none is gone: all who look say the same.
#[test]
fn a_missing_default_policy_is_named_by_all() {
    let site = Site::new();
    let daemon = site.serve();
    let policy = site.path().join("policies/default.toml");
    let text = fs::read_to_string(&policy).unwrap();
    fs::remove_file(&policy).unwrap();
    let missing = "has no default.toml";
    for words_of in [
        &["config", "check"][..],
        &["policy", "check"],
        &["policy", "test"],
        &["reload"],
        &["doctor"],
    ] {
        let (code, said) = words(&site.run(words_of));
        assert_eq!(code, Some(1), "{words_of:?}: {said}");
        assert!(said.contains(missing), "{words_of:?}: {said}");
        assert!(!said.contains("client set"), "{words_of:?}: {said}");
    }
    assert!(daemon.terminate().success());
    let status = site.try_serve().map(|_| ()).unwrap_err();
    assert_eq!(status.code(), Some(2));
    assert!(site.log().contains(missing), "{}", site.log());
    let (code, said) = words(&site.run(&["doctor"]));
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(said.matches("failure  ").count(), 1, "{said}");
    // A file that is checked by itself need not be the default.
    let other = site.path().join("vpn.toml");
    fs::write(&other, text).unwrap();
    let (code, said) = words(&site.run(&["policy", "check", other.to_str().unwrap()]));
    assert_eq!(code, Some(0), "{said}");
}
