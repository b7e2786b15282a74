//! One code, many askers over both front ends at once: exactly one is let in, every time.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use oncegate::radius::packet::Code;

use crate::support::codes::{RFC_SECRET, hotp};
use crate::support::daemon::Site;
use crate::support::net::{Http, Radius};

/// Rounds, one code each; `ONCEGATE_RACE_ROUNDS` asks for more.
const ROUNDS: u64 = 1000;
const ASKERS: usize = 32;

#[test]
fn exactly_one_of_32_parallel_askers_is_accepted() {
    let rounds = std::env::var("ONCEGATE_RACE_ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok());
    let rounds = rounds.unwrap_or(ROUNDS);
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    site.radius_client("nas", "testing123");
    let key = site.api_client("app");
    let daemon = site.serve();
    let codes: Vec<String> = (0..rounds).map(hotp).collect();
    let accepts: Vec<AtomicUsize> = codes.iter().map(|_| AtomicUsize::new(0)).collect();
    let rejects: Vec<AtomicUsize> = codes.iter().map(|_| AtomicUsize::new(0)).collect();
    let start = Barrier::new(ASKERS);
    std::thread::scope(|scope| {
        for asker in 0..ASKERS {
            let (codes, accepts, rejects, start) = (&codes, &accepts, &rejects, &start);
            let mut http = Http::new(daemon.http, &key);
            let mut radius = Radius::new(daemon.radius, "testing123");
            scope.spawn(move || {
                for (round, code) in codes.iter().enumerate() {
                    start.wait();
                    let accepted = if asker % 2 == 0 {
                        let (status, answer) = http.verify("alice", code).unwrap();
                        assert_eq!(status, 200, "{answer}");
                        answer["decision"] == "accept"
                    } else {
                        radius.ask("alice", code).expect("an answer") == Code::AccessAccept
                    };
                    let tally = if accepted { accepts } else { rejects };
                    tally[round].fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    for round in 0..codes.len() {
        let accepted = accepts[round].load(Ordering::Relaxed);
        let rejected = rejects[round].load(Ordering::Relaxed);
        assert_eq!((accepted, rejected), (1, ASKERS - 1), "round {round}");
    }
    assert!(daemon.terminate().success());
    let chain = site.json(&["audit", "verify"]);
    assert_eq!(chain["intact"], true, "{chain}");
}
