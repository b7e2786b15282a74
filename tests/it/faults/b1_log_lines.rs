//! Fault B1: a log line that could not be written killed the service.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Write};
use std::net::UdpSocket;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::Signal;
use oncegate::radius::packet::Code;
use oncegate::server::radius::{Pipeline, bind_all, run};
use oncegate::time::{Clock, FixedClock, UnixTime};
use tokio_util::sync::CancellationToken;

use crate::radius::dialogue::SETTINGS;
use crate::support::base::Base;
use crate::support::codes::{RFC_SECRET, hotp};
use crate::support::daemon::{Daemon, NO_DELAY, Site};
use crate::support::net::{Http, Radius};

const SECRET: &str = "a shared secret that is long enough";
const NOISY: [(&str, &str); 1] = [("ONCEGATE__LOG__LEVEL", "debug")];

/// A user with a counter token, a client on 127.0.0.1 and none on 127.0.0.2.
fn site() -> Site {
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    let words = "client add radius vpn --address 127.0.0.1/32 --secret-stdin";
    let words: Vec<&str> = words.split(' ').collect();
    site.json_with(&words, SECRET);
    site
}

/// All that writes a line: strangers, octets that are no packet, a wrong secret, a reload.
fn disturb(daemon: &Daemon) {
    for source in ["127.0.0.2:0", "127.0.0.3:0", "127.0.0.1:0"] {
        let socket = UdpSocket::bind(source).unwrap();
        for octets in [&b"x"[..], &[1; 20], &[1, 0, 0, 20, 0]] {
            socket.send_to(octets, daemon.radius).unwrap();
        }
    }
    let mut impostor = Radius::new(daemon.radius, "another secret than the configured one");
    let request = impostor.request("alice", "000000");
    impostor.send(&request);
    daemon.signal(Signal::SIGHUP);
}

/// One login per front end, and the health check.
fn serves(daemon: &mut Daemon, site: &Site, counter: u64) {
    assert!(daemon.runs(), "it ended");
    let code = hotp(counter);
    let mut radius = Radius::new(daemon.radius, SECRET);
    assert_eq!(radius.ask("alice", &code), Some(Code::AccessAccept));
    assert_eq!(radius.ask("alice", &code), Some(Code::AccessReject));
    let mut http = Http::new(daemon.http, &site.admin_key);
    assert_eq!(http.send("GET", "/readyz", b"").unwrap().0, 200);
}

fn lost(daemon: &Daemon, site: &Site) -> u64 {
    let mut http = Http::new(daemon.http, &site.admin_key);
    let (_, page) = http.send("GET", "/metrics", b"").unwrap();
    let page = String::from_utf8(page).unwrap();
    let mut lines = page.lines();
    let value = lines.find_map(|line| line.strip_prefix("oncegate_log_lines_lost_total "));
    value.expect("the metric").parse().unwrap()
}

/// Disturbs until lines are counted as lost, a login between; the next unused counter.
fn loses(daemon: &mut Daemon, site: &Site) -> u64 {
    for counter in 0.. {
        disturb(daemon);
        serves(daemon, site, counter);
        if lost(daemon, site) > 0 {
            return counter + 1;
        }
        assert!(counter < 8, "nothing is counted");
    }
    unreachable!("counters do not end")
}

/// A pipe that is full after a page.
fn narrow_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    (reader, writer)
}

fn flood(daemon: &Daemon, site: &Site) {
    let mut http = Http::new(daemon.http, &site.admin_key);
    for _ in 0..6000 {
        assert_eq!(http.send("GET", "/healthz", b"").unwrap().0, 200);
    }
}

#[test]
fn standard_error_without_a_reader_stops_nothing() {
    let site = site();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut daemon = site.serve_on(&NOISY, writer.into());
    drop(reader);
    loses(&mut daemon, &site);
    assert!(daemon.terminate().success());
}

#[test]
fn a_full_log_disk_stops_nothing_and_a_reload_neither() {
    let site = site();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut daemon = site.serve_on(&[], full.into());
    let next = loses(&mut daemon, &site);
    let policy = site.path().join("policies/default.toml");
    std::fs::write(&policy, "[[rule]]\nreqiure = 1\n").unwrap();
    daemon.signal(Signal::SIGHUP);
    std::fs::write(&policy, NO_DELAY).unwrap();
    daemon.signal(Signal::SIGHUP);
    serves(&mut daemon, &site, next);
    assert!(daemon.terminate().success());
}

/// The reader of the pipe has stopped, then goes on: what was lost is said, once.
#[test]
fn a_reader_that_stopped_silences_nothing_and_is_told_what_it_missed() {
    let site = site();
    let (reader, writer) = narrow_pipe();
    let mut daemon = site.serve_on(&NOISY, writer.into());
    flood(&daemon, &site);
    let next = loses(&mut daemon, &site);
    let mut lines = BufReader::new(reader).lines();
    let told = lines.find(|line| line.as_ref().unwrap().contains(" lines were lost"));
    assert!(told.is_some());
    // Everything later is written, and nothing is said again.
    serves(&mut daemon, &site, next);
    let pid = daemon.pid();
    let rest = std::thread::spawn(move || lines.map(Result::unwrap).collect::<Vec<_>>());
    assert!(daemon.terminate().success(), "{pid}");
    let rest = rest.join().unwrap();
    assert!(
        !rest.iter().any(|line| line.contains("lost")),
        "it was said again"
    );
    assert!(rest.iter().any(|line| line.contains("stopping")));
}

/// Nothing at all may be written while it stops either.
#[test]
fn a_reader_that_stopped_does_not_hold_up_the_end() {
    let site = site();
    let (reader, writer) = narrow_pipe();
    let daemon = site.serve_on(&NOISY, writer.into());
    flood(&daemon, &site);
    assert!(daemon.terminate().success());
    drop(reader);
}

#[test]
fn the_ready_line_may_be_lost_too() {
    let site = site();
    let log = || File::create(site.path().join("log")).unwrap();
    // No reader.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut daemon = site.serve_without_line(writer.into(), log().into());
    serves(&mut daemon, &site, 0);
    assert!(daemon.terminate().success());
    // A reader that does not read.
    let (reader, mut writer) = narrow_pipe();
    writer.write_all(&[b'x'; 4096]).unwrap();
    let mut daemon = site.serve_without_line(writer.into(), log().into());
    serves(&mut daemon, &site, 1);
    assert!(daemon.terminate().success());
    drop(reader);
    // No room on the disk.
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut daemon = site.serve_without_line(full.into(), Stdio::null());
    serves(&mut daemon, &site, 2);
    assert!(daemon.terminate().success());
}

/// A clock whose defect ends the lanes.
struct Breaking {
    clock: FixedClock,
    breaks: AtomicBool,
}

impl Clock for Breaking {
    fn now(&self) -> UnixTime {
        let lane = std::thread::current().name() == Some("radius-lane");
        assert!(!(lane && self.breaks.load(Ordering::Relaxed)), "a defect");
        self.clock.now()
    }
}

async fn until(wanted: impl Fn() -> bool) {
    let waited = async {
        while !wanted() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), waited).await;
    waited.expect("it never came to that");
}

#[tokio::test]
async fn a_listener_without_a_live_lane_is_not_ready() {
    let base = Base::at(UnixTime::from_secs(1_767_225_600));
    let clock = Arc::new(Breaking {
        clock: base.clock.clone(),
        breaks: AtomicBool::new(false),
    });
    let service = base.service_by(Arc::clone(&clock) as Arc<dyn Clock>);
    let dictionary = oncegate::radius::dictionary::Dictionary::builtin().unwrap();
    let pipeline = Pipeline::new(Arc::clone(&service), Arc::new(dictionary), SETTINGS);
    let listeners = bind_all(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let (server, end) = (listeners[0].local_addr(), CancellationToken::new());
    let lanes = tokio::spawn(run(listeners, pipeline, end.clone()));
    until(|| service.core.vitals().count("RADIUS") > 0).await;
    assert_eq!(service.core.fault(), None);

    clock.breaks.store(true, Ordering::Relaxed);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    until(|| {
        socket.send_to(b"x", server).unwrap();
        service.core.fault().is_some()
    })
    .await;
    let fault = service.core.fault().unwrap();
    assert!(fault.contains(&format!("RADIUS on {server}")), "{fault}");
    // Another lane takes its place.
    clock.breaks.store(false, Ordering::Relaxed);
    until(|| service.core.fault().is_none()).await;

    end.cancel();
    lanes.await.unwrap();
    assert!(service.core.fault().unwrap().contains("RADIUS on"));
}

/// Without a key and without a device, one request is no line of the log.
#[test]
fn strangers_who_ask_as_devices_do_not_fill_the_log() {
    let site = site();
    let daemon = site.serve();
    let mut stranger = Http::new(daemon.http, "none");
    for _ in 0..50 {
        assert_eq!(stranger.send("GET", "/v1/device", b"").unwrap().0, 401);
    }
    assert!(daemon.terminate().success());
    let log = site.log();
    assert_eq!(log.matches("device's request").count(), 0, "{log}");
}
