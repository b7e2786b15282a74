//! A flood of datagrams from an address of no client, and clients meanwhile.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use oncegate::radius::packet::Code;

use crate::support::codes::{hotp_of, secret_of};
use crate::support::daemon::{Daemon, Site};
use crate::support::net::{Http, Radius};

const SECRET: &str = "a shared secret of a NAS";
const STRANGER: &str = "127.0.0.9";

fn client(site: &Site, name: &str, address: &str) {
    let words = [
        "client",
        "add",
        "radius",
        name,
        "--address",
        address,
        "--secret-stdin",
    ];
    site.json_with(&words, SECRET);
}

/// A number that `/metrics` has of the listener.
fn metric(http: &mut Http, daemon: &Daemon, name: &str, rest: &str) -> u64 {
    let (status, page) = http.send("GET", "/metrics", b"").unwrap();
    let page = String::from_utf8(page).unwrap();
    assert_eq!(status, 200);
    let line = format!("{name}{{listener=\"{}\"{rest}}} ", daemon.radius);
    let value = page.lines().find_map(|found| found.strip_prefix(&line));
    value.expect("the metric").parse().unwrap()
}

fn comes_to(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < Duration::from_secs(40), "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The system drops the flood, no login of a client, and no request of a client that is made meanwhile; afterwards
/// everything is received again.
#[test]
fn clients_are_answered_and_the_system_drops_the_flood() {
    let site = Site::new();
    site.enrol("alice", "hotp", &secret_of("alice"));
    client(&site, "nas", "127.0.0.1");
    let daemon = site.serve();
    let mut http = Http::new(daemon.http, &site.api_client("app"));
    let mut shielded = || metric(&mut http, &daemon, "oncegate_radius_shielded", "") == 1;
    assert!(!shielded());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let stranger = UdpSocket::bind((STRANGER, 0)).unwrap();
            stranger.connect(daemon.radius).unwrap();
            while !stop.load(Ordering::Relaxed) {
                for _ in 0..200 {
                    let _ = stranger.send(&[0x5a; 62]);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        comes_to("the flood is dropped", &mut shielded);
        let mut nas = Radius::new(daemon.radius, SECRET);
        for counter in 0..20 {
            let reply = nas.ask("alice", &hotp_of("alice", counter));
            assert_eq!(reply, Some(Code::AccessAccept), "{counter}");
        }
        client(&site, "late", "127.0.0.8");
        let mut late = Radius::from("127.0.0.8", daemon.radius, SECRET);
        for counter in 20..25 {
            let reply = late.ask("alice", &hotp_of("alice", counter));
            assert_eq!(reply, Some(Code::AccessAccept), "{counter}");
        }
        assert!(shielded());
        stop.store(true, Ordering::Relaxed);
    });
    comes_to("it is over", || !shielded());
    let words = [
        "oncegate_radius_listener_total",
        ",result=\"unknown_client\"",
    ];
    let before = metric(&mut http, &daemon, words[0], words[1]);
    let stranger = UdpSocket::bind((STRANGER, 0)).unwrap();
    for _ in 0..50 {
        stranger.send_to(&[0x5a; 62], daemon.radius).unwrap();
    }
    comes_to("all are counted", || {
        metric(&mut http, &daemon, words[0], words[1]) == before + 50
    });
    let log = site.log();
    assert!(!log.contains("panicked"), "{log}");
    assert!(daemon.terminate().success());
}
