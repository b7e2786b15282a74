//! Limits on guessing, from outside: however parallel, over both front ends, across restarts; and
//! who still comes in while somebody guesses.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use oncegate::model::audit::Event;
use oncegate::model::kind::Kind;
use oncegate::otp::Digits;
use oncegate::store::AuditQuery;
use proptest::prelude::*;
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::expected::{PIN, WRONG_PIN};
use crate::support::lab::{Lab, START, code_of, key};
use crate::support::limits::{Limits, Model, Try};

const OTP: &str = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n";

/// How many of so many guesses at once were evaluated.
async fn evaluated(lab: Lab, guesses: usize) -> (Lab, usize) {
    let lab = Arc::new(lab);
    let before = words(&lab).await.len();
    let mut tasks = JoinSet::new();
    for number in 0..guesses {
        let lab = Arc::clone(&lab);
        tasks.spawn(async move {
            let (pin, otp) = match number % 3 {
                0 => (PIN, "000000"),
                1 => (WRONG_PIN, "000000"),
                _ => (WRONG_PIN, "000001"),
            };
            let heard = if number % 2 == 0 {
                let body = json!({ "user": "alice", "pin": pin, "otp": otp });
                lab.http("vpn", body).await
            } else {
                let typed = format!("{pin}{otp}");
                lab.radius("vpn", "Alice@default", &typed, None, None).await
            };
            assert_eq!(heard.decision, "reject");
        });
    }
    tasks.join_all().await;
    let words = words(&lab).await;
    let fresh = &words[..words.len() - before];
    assert_eq!(fresh.len(), guesses);
    let evaluated = fresh.iter().filter(|word| word.starts_with("wrong_"));
    let evaluated = evaluated.count();
    let refused = fresh
        .iter()
        .filter(|word| ["locked", "throttled"].contains(word));
    assert_eq!(evaluated + refused.count(), guesses, "{fresh:?}");
    let lab = Arc::into_inner(lab).expect("nobody asks any more");
    (lab, evaluated)
}

/// Of every decision, newest first.
async fn words(lab: &Lab) -> Vec<&'static str> {
    let query = AuditQuery {
        limit: 10_000,
        ..AuditQuery::default()
    };
    let records = lab.service().core.store().audit(query).await.unwrap();
    let decisions = records.iter().filter_map(|record| match &record.event {
        Event::Decision(decision) => Some(decision.reason.as_str()),
        Event::Change(_) => None,
    });
    decisions.collect()
}

/// Threats T9, contract s8.3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_at_once_are_evaluated_up_to_the_limit_exactly() {
    let policy = OTP.replace("\"otp\"", "\"pin\", \"otp\"")
        + "[lockout]\nfree = 10\nlock_after = 10\nhard_lock_after = 25\n";
    let lab = Lab::new(&[("vpn", &policy)]).await;
    lab.user("alice", Some(PIN), None).await;
    lab.token("alice", Kind::Hotp, Digits::SIX).await;
    let (mut lab, first) = evaluated(lab, 200).await;
    assert_eq!(first, 10);
    lab.restart().await;
    let (lab, again) = evaluated(lab, 50).await;
    assert_eq!(again, 0, "a restart forgets nothing");
    // The next rounds, and the last one, which is short.
    let mut lab = lab;
    for round in [10, 5, 0] {
        lab.clock.advance(Duration::from_mins(30));
        let more;
        (lab, more) = evaluated(lab, 50).await;
        assert_eq!(more, round);
    }
}

/// Threats T11: a stranger guesses all day; the victim comes in from home every time.
#[tokio::test]
async fn a_guesser_locks_nobody_out_of_a_known_place() {
    let lab = Lab::new(&[("vpn", OTP)]).await;
    lab.user("alice", None, None).await;
    lab.token("alice", Kind::Hotp, Digits::SIX).await;
    let home: IpAddr = "192.0.2.1".parse().unwrap();
    let mut counter = 0;
    let mut evaluated = 0;
    for minute in 0_u16..24 * 60 {
        if minute % 60 == 0 {
            let code = code_of("alice", Digits::SIX, counter);
            lab.radius("vpn", "alice", &code, None, Some(home)).await;
            assert_eq!(lab.reason("alice").await, "hotp_ok", "minute {minute}");
            counter += 1;
        }
        // From ever new addresses, and from nowhere.
        let [high, low] = minute.to_be_bytes();
        let address = [203, 0, high, low];
        let stranger = (minute % 3 > 0).then_some(IpAddr::from(address));
        lab.radius("vpn", "alice", "000000", None, stranger).await;
        let word = lab.reason("alice").await;
        evaluated += u32::from(word == "wrong_code");
        assert!(
            ["wrong_code", "locked", "throttled", "source_blocked"].contains(&word),
            "{word}"
        );
        lab.clock.advance(Duration::from_mins(1));
    }
    // A round is left to the known source.
    assert_eq!(evaluated, 90);
}

/// Threats T10: one address tries many names; others are not held back.
#[tokio::test]
async fn many_names_from_one_address_are_refused() {
    let lab = Lab::new(&[("vpn", OTP)]).await;
    lab.user("alice", None, None).await;
    lab.token("alice", Kind::Hotp, Digits::SIX).await;
    let ask = async |user: &str, typed: &str, from: &str| {
        let from: IpAddr = from.parse().unwrap();
        lab.radius("vpn", user, typed, None, Some(from)).await;
        lab.reason(user).await
    };
    let mut evaluated = 0;
    for number in 0..300 {
        let user = format!("name{number}");
        // One subscriber has a whole /64.
        let word = ask(&user, "123456", &format!("2001:db8::{number:x}")).await;
        evaluated += u32::from(word == "unknown_user");
        if word != "unknown_user" {
            assert_eq!(word, "source_blocked");
        }
        lab.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(evaluated, 10, "then it is locked for half an hour");
    let code = code_of("alice", Digits::SIX, 0);
    assert_eq!(ask("alice", &code, "2001:db8::1").await, "source_blocked");
    assert_eq!(lab.last("alice"), None);
    assert_eq!(ask("alice", &code, "2001:db8:0:1::1").await, "hotp_ok");
}

/// Threats T10: who has an account buys no guesses at others with it.
#[tokio::test]
async fn own_logins_buy_no_guesses_at_others() {
    let lab = Lab::new(&[("vpn", OTP)]).await;
    lab.user("mallory", None, None).await;
    lab.token("mallory", Kind::Hotp, Digits::SIX).await;
    let from: IpAddr = "198.51.100.8".parse().unwrap();
    let failures = || {
        let state = lab.service().core.store().source(from.into()).unwrap();
        state.throttle.failures
    };
    let mut evaluated = 0;
    for number in 0..25_u64 {
        let victim = format!("victim{number}");
        lab.user(&victim, None, None).await;
        lab.token(&victim, Kind::Hotp, Digits::SIX).await;
        lab.fail("vpn", &victim, Some(from), 1).await;
        evaluated += u32::from(lab.reason(&victim).await == "wrong_code");
        let own = code_of("mallory", Digits::SIX, number);
        lab.radius("vpn", "mallory", &own, None, Some(from)).await;
        assert_eq!(lab.reason("mallory").await, "hotp_ok", "{number}");
        lab.clock.advance(Duration::from_secs(10));
    }
    assert_eq!((evaluated, failures()), (10, 10));
    // Typing errors of one's own are forgiven, and time forgives the others.
    lab.clock.advance(Duration::from_mins(31));
    lab.fail("vpn", "mallory", Some(from), 2).await;
    assert_eq!(failures(), 2);
    let own = code_of("mallory", Digits::SIX, 25);
    lab.radius("vpn", "mallory", &own, None, Some(from)).await;
    assert_eq!(failures(), 0);
}

/// Threats T12: whose own login from an address is refused, or not, after tries at a name must not learn by it
/// whether that is a user's.
#[tokio::test]
async fn an_address_counts_every_name_alike() {
    let pins = OTP.replace("\"otp\"", "\"pin\", \"otp\"");
    let staff = OTP.replace("require", "when = { group = \"staff\" }\nrequire");
    let sent = format!("{OTP}alternatives = [\"sms\"]\n");
    let policies = [
        ("vpn", OTP),
        ("pins", &pins),
        ("staff", &staff),
        ("sent", &sent),
    ];
    let lab = Lab::new(&policies).await;
    lab.user("victim", Some(PIN), None).await;
    for name in ["off", "shut", "mallory"] {
        lab.same_user(name, "victim").await;
        lab.token(name, Kind::Hotp, Digits::SIX).await;
    }
    lab.token("victim", Kind::Hotp, Digits::SIX).await;
    lab.user("bare", None, None).await;
    let disabled = json!({ "disabled": true });
    lab.change("PATCH", "/v1/admin/users/off", disabled).await;
    for _ in 0..10 {
        lab.fail("vpn", "shut", None, 1).await;
        lab.clock.advance(Duration::from_secs(10));
    }
    let mut own = 0;
    for (case, policy, typed, counts) in [
        (0, "vpn", "000000", 3),
        (1, "pins", "000000000000", 3),
        // What cannot hold a PIN and a code, and where nothing is right for anybody.
        (2, "pins", "x", 3),
        (3, "staff", "000000", 3),
        // A request for a message is no guess.
        (4, "sent", "sms", 0),
        (5, "void", "000000", 3),
    ] {
        for (number, name) in ["nobody", "victim", "bare", "off", "shut"]
            .iter()
            .enumerate()
        {
            let from = IpAddr::from([203, 0, case, u8::try_from(number).unwrap()]);
            for _ in 0..5 {
                if policy == "void" {
                    let body = json!({ "user": name, "otp": typed, "challenge": "none",
                                       "client_ip": from });
                    lab.http("vpn", body).await;
                } else {
                    lab.radius(policy, name, typed, None, Some(from)).await;
                }
            }
            let state = lab.service().core.store().source(from.into()).unwrap();
            assert_eq!(state.throttle.failures, counts, "{case} {name}");
            let code = code_of("mallory", Digits::SIX, own);
            lab.radius("vpn", "mallory", &code, None, Some(from)).await;
            assert_eq!(lab.reason("mallory").await, "hotp_ok", "{case} {name}");
            own += 1;
        }
    }
}

/// Small enough that random tries meet every limit.
const SMALL: Limits = Limits {
    free: 1,
    lock_after: 4,
    lock_for: 60_000,
    hard_lock_after: 11,
    source_free: 2,
    source_lock_after: 5,
};
/// Contract s7.
const USUAL: Limits = Limits {
    free: 3,
    lock_after: 10,
    lock_for: 1_800_000,
    hard_lock_after: 100,
    source_free: 3,
    source_lock_after: 10,
};
/// Sources are not limited.
const UNSOURCED: Limits = Limits {
    source_free: 0,
    source_lock_after: 0,
    ..SMALL
};

#[derive(Clone, Copy, Debug)]
enum Step {
    Ask(Option<u8>, Try),
    Forward(u64),
    Back(u64),
    Restart,
    Unlock,
}

fn step() -> impl Strategy<Value = Step> {
    let from = prop_oneof![
        1 => Just(None),
        6 => (1_u8..4).prop_map(Some),
        1 => (4_u8..8).prop_map(Some),
    ];
    let what = prop_oneof![
        8 => Just(Try::Wrong),
        3 => Just(Try::Right),
        1 => Just(Try::Replay),
        2 => Just(Try::Nobody),
    ];
    let pauses = [
        1, 999, 1_000, 3_000, 5_000, 10_000, 59_999, 60_000, 1_800_000, 86_400_000,
    ];
    prop_oneof![
        20 => (from, what).prop_map(|(from, what)| Step::Ask(from, what)),
        8 => proptest::sample::select(pauses.to_vec()).prop_map(Step::Forward),
        2 => (1_u64..30_000).prop_map(Step::Back),
        1 => Just(Step::Restart),
        1 => Just(Step::Unlock),
    ]
}

async fn follow(limits: Limits, steps: &[Step]) -> Result<(), TestCaseError> {
    let Limits {
        free,
        lock_after,
        lock_for,
        hard_lock_after,
        source_free,
        source_lock_after,
    } = limits;
    let lockout = format!(
        "[lockout]\nfree = {free}\nlock_after = {lock_after}\nlock_for = \"{}s\"\n\
         hard_lock_after = {hard_lock_after}\nsource_free = {source_free}\n\
         source_lock_after = {source_lock_after}\n",
        lock_for / 1000
    );
    let mut lab = Lab::new(&[("vpn", &format!("{OTP}{lockout}"))]).await;
    lab.user("alice", None, None).await;
    lab.token("alice", Kind::Hotp, Digits::SIX).await;
    let mut model = Model::new(limits);
    let mut next = 0_u64;
    let mut seen = START;
    for (number, step) in steps.iter().enumerate() {
        match *step {
            Step::Ask(from, what) => {
                let (user, code) = match what {
                    Try::Wrong => ("alice", next + 1000),
                    Try::Right => ("alice", next),
                    // Before the first success there is none: a guess.
                    Try::Replay if next == 0 => continue,
                    Try::Replay => ("alice", next - 1),
                    Try::Nobody => ("nobody", 0),
                };
                // Time stands still while the clock is behind what is on record.
                seen = seen.max(lab.service().core.now());
                let word = model.ask(from, what, seen.as_millis());
                let typed = code_of("alice", Digits::SIX, code);
                let station = from.map(|last| IpAddr::from([203, 0, 113, last]));
                if number % 2 == 0 {
                    lab.radius("vpn", user, &typed, None, station).await;
                } else {
                    let body = json!({ "user": user, "otp": typed, "client_ip": station });
                    lab.http("vpn", body).await;
                }
                let found = lab.reason(user).await;
                prop_assert_eq!(found, word, "step {}: {:?}", number, step);
                next += u64::from(word == "hotp_ok");
            }
            Step::Forward(millis) => lab.clock.advance(Duration::from_millis(millis)),
            Step::Back(millis) => {
                let now = lab.service().core.now().as_millis();
                let least = seen.as_millis() - 30_000;
                let back = (now - millis).max(least);
                lab.clock.set(oncegate::time::UnixTime::from_millis(back));
            }
            Step::Restart => lab.restart().await,
            Step::Unlock => {
                let by = lab.by();
                seen = seen.max(by.at);
                lab.service()
                    .admin
                    .unlock_user(&key("alice"), by)
                    .await
                    .unwrap();
                model.unlock();
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Contract s7, against a model of it.
    #[test]
    fn limits_are_those_of_the_contract(
        limits in prop_oneof![3 => Just(SMALL), 1 => Just(USUAL), 1 => Just(UNSOURCED)],
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(follow(limits, &steps))?;
    }
}
