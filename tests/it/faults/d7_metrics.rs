//! `/metrics` is read by the parsers of others, in both formats, and says what operators look for.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::codes::{hotp_of, secret_of};
use crate::support::daemon::{Daemon, Site};
use crate::support::net::{Http, Radius};
use crate::support::skip;

const SECRET: &str = "shared-secret-of-the-nas";
const POLICY: &str = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n\
                      [lockout]\nfree = 2\nlock_after = 2\nlock_for = \"1h\"\n";
const OPEN: &str = "application/openmetrics-text";
const PLAIN: &str = "text/plain";

/// A sample: family, kind, name, labels, value.
#[derive(Clone, Debug)]
struct Sample {
    family: String,
    kind: String,
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

fn in_target(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("target")
        .join(path)
}

/// The page in this format; checks its media type.
fn page(daemon: &Daemon, accept: &str) -> String {
    asked(daemon, &format!("Accept: {accept}\r\n"), accept)
}

/// The page, asked for with these lines; checks its media type.
fn asked(daemon: &Daemon, lines: &str, media: &str) -> String {
    let mut stream = TcpStream::connect(daemon.http).unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{lines}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains(&format!("content-type: {media};")), "{head}");
    body.to_owned()
}

/// What a program makes of this input.
fn given(program: &mut Command, input: &str) -> String {
    let mut child = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || pipe.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let (said, errors) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{said}{errors}");
    said
}

/// The samples of a page, read by the parser of another implementation.
fn parsed(page: &str, accept: &str) -> Option<Vec<Sample>> {
    let python = in_target("venv/bin/python");
    if !python.is_file() {
        skip("target/venv is missing (tests/run makes it)");
        return None;
    }
    let script =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults/metrics_oracle.py");
    let format = if accept == OPEN { "open" } else { "plain" };
    let lines = given(Command::new(python).arg(script).arg(format), page);
    let sample = |line: &str| {
        let read: Value = serde_json::from_str(line).unwrap();
        let text = |place: usize| read[place].as_str().unwrap().to_owned();
        Sample {
            family: text(0),
            kind: text(1),
            name: text(2),
            labels: serde_json::from_value(read[3].clone()).unwrap(),
            value: read[4].as_f64().unwrap(),
        }
    };
    Some(lines.lines().map(sample).collect())
}

/// The sum of the samples of this name that have these labels.
fn sum(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    let has = |sample: &&Sample| {
        let same = |(label, value): &(&str, &str)| {
            sample.labels.get(*label).map(String::as_str) == Some(*value)
        };
        sample.name == name && labels.iter().all(same)
    };
    samples.iter().filter(has).map(|sample| sample.value).sum()
}

/// A daemon with a gateway that nobody answers for, and users who log in by all ways.
fn busy() -> (Site, Daemon) {
    let site = Site::new();
    std::fs::write(site.path().join("policies/default.toml"), POLICY).unwrap();
    let config = site.path().join("oncegate.toml");
    let mut text = std::fs::read_to_string(&config).unwrap();
    text = text.replace("[audit]\n", "[audit]\nship_file = \"shipped\"\n");
    text.push_str(
        "\n[delivery.sms-one]\nkind = \"http\"\nmedia = [\"sms\"]\nallow_private = true\n\
         url = \"http://127.0.0.1:9/\"\nbody = '{\"to\": \"{to}\", \"text\": \"{text}\"}'\n\
         [webhook.desk]\nurl = \"http://127.0.0.1:9/\"\nsecret_file = \"desk.key\"\n",
    );
    std::fs::write(site.path().join("desk.key"), "k".repeat(32)).unwrap();
    let people = site.path().join("people.csv").display().to_string();
    let source = format!("[source.people]\nkind = \"file\"\nfile = {people:?}\nevery = \"24h\"\n");
    text.push_str(&source);
    std::fs::write(&config, text).unwrap();
    for user in ["alice", "mallory"] {
        site.enrol(user, "hotp", &secret_of(user));
    }
    site.radius_client("nas", SECRET);
    let key = site.api_client("web");
    let daemon = site.serve();
    let mut http = Http::new(daemon.http, &key);
    let mut radius = Radius::new(daemon.radius, SECRET);
    assert_eq!(
        http.verify("alice", &hotp_of("alice", 0)).unwrap().1["decision"],
        "accept"
    );
    assert!(radius.ask("alice", &hotp_of("alice", 1)).is_some());
    for code in ["typed-by-a-stranger", "000000"] {
        assert_eq!(http.verify("no-such-user", code).unwrap().0, 200);
        assert!(radius.ask("no-such-user", code).is_some());
    }
    assert_eq!(http.send("GET", "/v1/device", b"").unwrap().0, 401);
    assert_eq!(http.send("BREW", "/no/such/route", b"").unwrap().0, 404);
    site.run(&["delivery", "test", "sms-one", "--to", "+821012345678"]);
    (site, daemon)
}

#[test]
fn both_formats_are_read_by_other_parsers_and_say_the_same() {
    let (_site, daemon) = busy();
    // The first one is a request that the next ones count.
    page(&daemon, OPEN);
    let (open, plain) = (page(&daemon, OPEN), page(&daemon, PLAIN));
    assert!(open.ends_with("# EOF\n") && !plain.contains("# EOF"));
    let (Some(open), Some(plain)) = (parsed(&open, OPEN), parsed(&plain, PLAIN)) else {
        return;
    };
    let names = |samples: &[Sample]| -> BTreeSet<String> {
        let name = |sample: &Sample| format!("{} {:?} {}", sample.name, sample.labels, sample.kind);
        samples.iter().map(name).collect()
    };
    assert_eq!(names(&open), names(&plain));
    assert!(open.len() > 100, "{}", open.len());
    for sample in &open {
        assert!(sample.family.starts_with("oncegate_"), "{sample:?}");
        assert!(sample.name.starts_with(&sample.family), "{sample:?}");
        assert!(sample.kind != "unknown", "{sample:?}");
        assert!(sample.value >= 0.0, "{sample:?}");
        // What strangers type is no label.
        for value in sample.labels.values() {
            for typed in ["alice", "no-such", "typed", "BREW", "mallory"] {
                assert!(!value.contains(typed), "{sample:?}");
            }
        }
    }
    assert!(daemon.terminate().success());
}

/// `curl /metrics` and what names no format get the one that every reader knows.
#[test]
fn who_names_no_format_gets_the_plain_one() {
    let (_site, daemon) = busy();
    for lines in ["", "Accept: */*\r\n"] {
        let said = asked(&daemon, lines, PLAIN);
        assert!(
            said.contains("# TYPE oncegate_decisions_total counter\n"),
            "{lines}{said}"
        );
        assert!(!said.contains("# EOF"), "{lines}{said}");
    }
    assert!(daemon.terminate().success());
}

#[test]
fn promtool_finds_nothing() {
    let promtool = in_target("tools/promtool");
    if !promtool.is_file() {
        skip("target/tools/promtool is missing (tests/run makes it)");
        return;
    }
    let (_site, daemon) = busy();
    for plain in [
        page(&daemon, PLAIN),
        asked(&daemon, "Accept: */*\r\n", PLAIN),
    ] {
        let mut check = Command::new(&promtool);
        assert_eq!(given(check.args(["check", "metrics"]), &plain), "");
    }
    assert!(daemon.terminate().success());
}

#[test]
fn latencies_gateways_and_room_are_there() {
    let (_site, daemon) = busy();
    let Some(samples) = parsed(&page(&daemon, PLAIN), PLAIN) else {
        return;
    };
    let took = |part: &str, labels: &[(&str, &str)]| {
        sum(
            &samples,
            &format!("oncegate_decision_duration_seconds_{part}"),
            labels,
        )
    };
    for (channel, outcome, count) in [
        ("http", "accept", 1.0),
        ("radius", "accept", 1.0),
        ("http", "reject", 2.0),
        ("radius", "reject", 2.0),
    ] {
        let labels = [("channel", channel), ("outcome", outcome)];
        assert!((took("count", &labels) - count).abs() < 0.1, "{labels:?}");
        let all = [labels[0], labels[1], ("le", "+Inf")];
        assert!((took("bucket", &all) - count).abs() < 0.1, "{all:?}");
        assert!(took("sum", &labels) > 0.0);
        let buckets: Vec<f64> = samples
            .iter()
            .filter(|sample| {
                sample.name.ends_with("seconds_bucket")
                    && sample.labels["channel"] == channel
                    && sample.labels["outcome"] == outcome
            })
            .map(|sample| sample.value)
            .collect();
        assert!(buckets.len() > 10 && buckets.is_sorted(), "{buckets:?}");
    }
    let failed = [("gateway", "sms-one"), ("result", "failed")];
    assert!(sum(&samples, "oncegate_delivery_attempts_total", &failed) > 0.0);
    let free = sum(&samples, "oncegate_store_disk_free_bytes", &[]);
    let size = sum(&samples, "oncegate_store_disk_size_bytes", &[]);
    assert!(0.0 < free && free <= size, "{free} of {size}");
    assert!(daemon.terminate().success());
}

/// A source whose file is not there, then is.
#[test]
fn a_source_that_fails_is_seen() {
    let (site, daemon) = busy();
    let failed = || {
        let samples = parsed(&page(&daemon, PLAIN), PLAIN)?;
        let people = [("source", "people")];
        assert!(sum(&samples, "oncegate_source_last_run_seconds", &people) > 1.7e9);
        Some(sum(&samples, "oncegate_source_failed", &people) > 0.5)
    };
    let sync = || site.run(&["source", "sync", "people"]);
    assert!(!sync().status.success());
    assert!(failed().is_none_or(|failed| failed));
    std::fs::write(site.path().join("people.csv"), "id,user\n1,kim\n").unwrap();
    let done = sync();
    assert!(done.status.success(), "{done:?}");
    assert!(failed().is_none_or(|failed| !failed));
    assert!(daemon.terminate().success());
}

#[test]
fn locked_users_are_counted_over_a_restart_until_they_are_unlocked() {
    let (site, daemon) = busy();
    let locked = |daemon: &Daemon| -> Option<(f64, f64)> {
        let samples = parsed(&page(daemon, PLAIN), PLAIN)?;
        let count = |lock| sum(&samples, "oncegate_users_locked", &[("lock", lock)]);
        Some((count("timed"), count("hard")))
    };
    let is = |found: Option<(f64, f64)>, timed: f64| {
        found.is_none_or(|found| (found.0 - timed).abs() < 0.1 && found.1 < 0.1)
    };
    assert!(is(locked(&daemon), 0.0));
    let mut radius = Radius::new(daemon.radius, SECRET);
    for _ in 0..2 {
        assert!(radius.ask("mallory", "000000").is_some());
    }
    assert!(is(locked(&daemon), 1.0), "{:?}", locked(&daemon));
    assert!(daemon.terminate().success());
    let daemon = site.serve();
    // Counted beside the first requests.
    let found = (0..1000).find(|_| is(locked(&daemon), 1.0));
    assert!(found.is_some());
    site.json(&["user", "unlock", "mallory"]);
    assert!(is(locked(&daemon), 0.0), "{:?}", locked(&daemon));
    assert!(daemon.terminate().success());
}

/// The table of the manual has every family, and no other.
#[test]
fn every_metric_is_in_the_manual() {
    let (_site, daemon) = busy();
    let open = page(&daemon, OPEN);
    let families: BTreeSet<&str> = open
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split(' ').next())
        .collect();
    let operate = oncegate::manual::page("operate").unwrap().text;
    let told: BTreeSet<&str> = operate
        .lines()
        .filter_map(|line| line.strip_prefix("| `oncegate_"))
        .filter_map(|line| line.split(['`', '{']).next())
        .collect();
    let told: BTreeSet<String> = told.iter().map(|name| format!("oncegate_{name}")).collect();
    let missing: Vec<_> = families
        .iter()
        .filter(|name| !told.contains(**name))
        .collect();
    assert!(missing.is_empty(), "not in the manual: {missing:?}");
    // Only with TLS.
    let absent =
        |name: &&String| !name.contains("certificate") && !families.contains(name.as_str());
    let gone: Vec<_> = told.iter().filter(absent).collect();
    assert!(gone.is_empty(), "not on the page: {gone:?}");
    assert!(daemon.terminate().success());
}
