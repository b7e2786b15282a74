//! Kill -9 under load, again and again: no accepted code is accepted again, no answered decision is
//! missing from the audit, the store opens each time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use oncegate::radius::packet::Code;

use crate::support::Random;
use crate::support::codes::{hotp_of, secret_of};
use crate::support::daemon::Site;
use crate::support::gateway::GatewayDouble;
use crate::support::kills::kills;
use crate::support::net::{Http, Radius};

/// Kills; `ONCEGATE_KILLS` asks for more.
const KILLS: usize = 50;
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
    let kills = kills(KILLS) as u64;
    let site = Site::new();
    for asker in 0..ASKERS {
        let user = format!("user{asker}");
        site.enrol(&user, "hotp", &secret_of(&user));
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
                        let code = hotp_of(&user, counter);
                        asker.next += 1;
                        let accepted = if (number + usize::try_from(counter).unwrap()) % 2 == 0 {
                            radius.patience(Duration::from_secs(3));
                            radius
                                .ask(&user, &code)
                                .map(|code| code == Code::AccessAccept)
                        } else {
                            let answer = http.verify(&user, &code).ok();
                            answer.map(|(status, answer)| {
                                assert_eq!(status, 200, "{user}: {answer}");
                                answer["decision"] == "accept"
                            })
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
        .verify(&user, &hotp_of(&user, *last))
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

/// A policy whose users may ask for a text message; failures are followed by no delay, so that the
/// tries of the code alone end the guessing.
const ON_REQUEST: &str = r#"
reject_delay = "0s"
[[rule]]
name = "everyone"
require = ["otp"]
alternatives = ["sms"]
[lockout]
free = 20
lock_after = 20
hard_lock_after = 100
"#;

/// Capabilities A10, threats T38: what was sent, and how often it was guessed at, is on disk before anybody
/// hears of it.
#[test]
fn sent_codes_and_their_tries_survive_kill_9() {
    let gateway = GatewayDouble::start();
    let site = Site::new();
    std::fs::write(site.path().join("policies/default.toml"), ON_REQUEST).unwrap();
    let file = site.path().join("oncegate.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let gateways = format!(
        "[delivery.double]\nkind = \"http\"\nmedia = [\"sms\"]\nallow_private = true\n\
         url = \"http://{}/\"\nbody = '{{\"to\": \"{{to}}\", \"code\": \"{{code}}\"}}'\n",
        gateway.address()
    );
    std::fs::write(&file, text + &gateways).unwrap();
    for user in ["alice", "bob"] {
        site.json(&["user", "add", user, "--phone", "+82 10-1234-5678"]);
        site.json(&["token", "add", user, "--kind", "sms", "--active"]);
    }
    let key = site.api_client("app");
    let mut daemon = site.serve();
    let mut codes = Vec::new();
    for user in ["alice", "bob"] {
        let body = serde_json::json!({ "user": user, "factor": "sms" }).to_string();
        let mut http = Http::new(daemon.http, &key);
        let (status, _) = http
            .send("POST", "/v1/challenges", body.as_bytes())
            .unwrap();
        assert_eq!(status, 201);
        let received = gateway.wait(codes.len() + 1);
        let code = received.last().unwrap().json()["code"].clone();
        codes.push(code.as_str().unwrap().to_owned());
    }
    let wrong = |code: &str| format!("{:06}", (code.parse::<u32>().unwrap() + 1) % 1_000_000);
    let ask = |daemon: &crate::support::daemon::Daemon, user: &str, code: &str| {
        let (_, answer) = Http::new(daemon.http, &key).verify(user, code).unwrap();
        answer["decision"].as_str().unwrap().to_owned()
    };
    // Five wrong answers, a kill after each: the right one comes too late.
    for _ in 0..5 {
        assert_eq!(ask(&daemon, "alice", &wrong(&codes[0])), "reject");
        daemon.kill();
        daemon = site.serve();
    }
    assert_eq!(ask(&daemon, "alice", &codes[0]), "reject");
    // The other code lived through all of it, and is used up whatever happens after its accept.
    assert_eq!(ask(&daemon, "bob", &codes[1]), "accept");
    daemon.kill();
    daemon = site.serve();
    assert_eq!(ask(&daemon, "bob", &codes[1]), "reject");
    assert!(daemon.terminate().success());
    let log = site.log();
    assert!(codes.iter().all(|code| !log.contains(code)));
}
