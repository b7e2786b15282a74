//! Kill -9 under load, again and again: no accepted code is accepted again, no answered decision is
//! missing from the audit, the store opens each time.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use oncegate::radius::packet::Code;

use crate::support::Random;
use crate::support::codes::RFC_SECRET;
use crate::support::codes::hotp;
use crate::support::daemon::Site;
use crate::support::net::Http;
use crate::support::net::Radius;

/// Kills; `ONCEGATE_KILLS` asks for more.
const KILLS: u64 = 50;
const ASKERS: usize = 8;

#[derive(Default)]
struct Asker {
    /// Counter of the next code to send.
    next: u64,
    /// Counters that were answered with accept.
    accepted: Vec<u64>,
    /// Request ids of answered decisions.
    answered: usize,
}

#[test]
fn no_code_is_accepted_again_after_kill_9() {
    let kills = std::env::var("ONCEGATE_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(KILLS);
    let site = Site::new();
    for asker in 0..ASKERS {
        site.enrol(&format!("user{asker}"), "hotp", RFC_SECRET);
    }
    site.radius_client("nas", "testing123");
    let key = site.api_client("app");
    let askers: Vec<Mutex<Asker>> = (0..ASKERS).map(|_| Mutex::default()).collect();
    let mut random = Random(1);
    let mut total = 0;
    for kill in 0..kills {
        let mut daemon = site.serve();
        for (number, asker) in askers.iter().enumerate() {
            replay(&daemon, &key, number, &mut asker.lock().unwrap(), kill);
        }
        let dead = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for (number, asker) in askers.iter().enumerate() {
                let (dead, key) = (&dead, &key);
                let (http, radius) = (daemon.http, daemon.radius);
                scope.spawn(move || {
                    let mut asker = asker.lock().unwrap();
                    let user = format!("user{number}");
                    let mut http = Http::new(http, key);
                    let mut radius = Radius::new(radius, "testing123");
                    while !dead.load(Ordering::SeqCst) {
                        let counter = asker.next;
                        let code = hotp(counter);
                        asker.next += 1;
                        let accepted = if (number + usize::try_from(counter).unwrap()) % 2 == 0 {
                            radius.patience(Duration::from_secs(3));
                            radius
                                .ask(&user, &code)
                                .map(|code| code == Code::AccessAccept)
                        } else {
                            let answer = http.verify(&user, &code).ok();
                            answer.map(|(_, answer)| answer["decision"] == "accept")
                        };
                        match accepted {
                            Some(accepted) => {
                                assert!(accepted, "{user}: a fresh code ({counter}) was refused");
                                asker.accepted.push(counter);
                                asker.answered += 1;
                            }
                            None => return,
                        }
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(20 + random.below(150)));
            daemon.kill();
            dead.store(true, Ordering::SeqCst);
        });
    }
    // The last life: everything that was ever answered is still used up and on record.
    let daemon = site.serve();
    for (number, asker) in askers.iter().enumerate() {
        let mut asker = asker.lock().unwrap();
        replay(&daemon, &key, number, &mut asker, kills);
        total += asker.accepted.len();
        assert!(!asker.accepted.is_empty());
    }
    assert!(daemon.terminate().success());
    let chain = site.json(&["audit", "verify"]);
    assert_eq!(chain["intact"], true, "{chain}");
    let on_record = accepts_on_record(&site);
    assert!(
        on_record >= total,
        "{on_record} accepts on record, {total} were answered"
    );
    println!("{kills} kills, {total} accepts answered, {on_record} on record");
}

/// Presents the last accepted code again: it must be refused. One counted failure at most is left
/// behind, and the next success forgets it.
fn replay(
    daemon: &crate::support::daemon::Daemon,
    key: &str,
    number: usize,
    asker: &mut Asker,
    kill: u64,
) {
    let Some(last) = asker.accepted.last() else {
        return;
    };
    let user = format!("user{number}");
    let (status, answer) = Http::new(daemon.http, key)
        .verify(&user, &hotp(*last))
        .unwrap();
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        answer["decision"], "reject",
        "kill {kill}: {user} counter {last} accepted twice"
    );
    asker.answered += 1;
}

fn accepts_on_record(site: &Site) -> usize {
    let mut before = None;
    let mut accepts = 0;
    loop {
        let mut words = vec!["audit", "list", "--decision", "accept", "--limit", "1000"];
        let cursor: String;
        if let Some(before) = before {
            cursor = format!("{before}");
            words.extend(["--before", &cursor]);
        }
        let page = site.json(&words);
        let records = page["records"].as_array().unwrap();
        accepts += records.len();
        before = page["next"].as_u64();
        if before.is_none() {
            return accepts;
        }
    }
}
