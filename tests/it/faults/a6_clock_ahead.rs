//! A clock that was ahead, and was put right: `clock recover` takes back what lies in the time to come,
//! and no code is accepted twice, neither now nor then.

use std::net::IpAddr;
use std::time::Duration;

use oncegate::admin::NewToken;
use oncegate::model::id::Serial;
use oncegate::model::kind::Kind;
use oncegate::otp::totp::TimeStep;
use oncegate::otp::{Algorithm, Digits, Period, Typed};
use oncegate::secret::SecretBytes;
use oncegate::time::UnixTime;
use serde_json::{Value, json};

use crate::support::lab::{Lab, START, code_of, key, octets};

const OTP: &str = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n";
const DAY: Duration = Duration::from_hours(24);
const MINUTE: Duration = Duration::from_mins(1);

async fn lab() -> Lab {
    let lab = Lab::new(&[("vpn", OTP)]).await;
    lab.user("alice", None, None).await;
    lab.token("alice", Kind::Totp, Digits::SIX).await;
    lab
}

fn step(at: UnixTime) -> u64 {
    TimeStep::at(at, Period::THIRTY).get()
}

/// Asks with the code of this step; the audit's word.
async fn present(lab: &Lab, step: u64) -> &'static str {
    let code = code_of("alice", Digits::SIX, step);
    lab.http("vpn", json!({ "user": "alice", "otp": code }))
        .await;
    lab.reason("alice").await
}

async fn recover(lab: &Lab) -> Value {
    lab.admin("POST", "/v1/admin/clock/recover").await
}

fn users(answer: &Value) -> Vec<&str> {
    let users = answer["users"].as_array().expect("users").iter();
    users
        .map(|user| user["user"].as_str().expect("a name"))
        .collect()
}

fn serial(lab: &Lab) -> Serial {
    let view = lab.service().core.store().view(&key("alice")).unwrap();
    view.unwrap().tokens[0].0.serial.clone()
}

/// A day ahead, two codes are accepted; ten minutes later by the right clock, it is recovered.
async fn astray() -> (Lab, [u64; 2], UnixTime) {
    let lab = lab().await;
    assert_eq!(present(&lab, step(START)).await, "totp_ok");
    let ahead = START.plus(DAY);
    lab.clock.set(ahead);
    let first = step(ahead);
    assert_eq!(present(&lab, first).await, "totp_ok");
    lab.clock.advance(MINUTE * 5);
    assert_eq!(present(&lab, first + 10).await, "totp_ok");
    let now = START.plus(MINUTE * 10);
    lab.clock.set(now);
    (lab, [first, first + 10], now)
}

#[tokio::test]
async fn right_codes_are_right_again_and_used_ones_stay_used() {
    let (mut lab, used, now) = astray().await;
    let answer = recover(&lab).await;
    assert_eq!(
        (users(&answer), &answer["affected"]),
        (vec!["alice@default"], &json!(1))
    );
    assert_eq!(present(&lab, step(now)).await, "totp_ok");
    lab.restart().await;
    assert_eq!(present(&lab, step(now)).await, "used_code");
    // When their time comes, the two are used up and all others are not.
    for (used, free) in [(used[0], used[0] + 2), (used[1], used[1] + 2)] {
        lab.clock.set(UnixTime::from_secs(used * 30));
        assert_eq!(present(&lab, used).await, "used_code");
        lab.clock.set(UnixTime::from_secs(free * 30));
        assert_eq!(present(&lab, free).await, "totp_ok");
    }
    let again = recover(&lab).await;
    assert_eq!(again["affected"], 0, "{again}");
}

#[tokio::test]
async fn what_was_accepted_before_the_jump_does_not_open_again() {
    let lab = lab().await;
    let past = step(START);
    assert_eq!(present(&lab, past).await, "totp_ok");
    lab.clock.set(START.plus(DAY));
    assert_eq!(present(&lab, step(START.plus(DAY))).await, "totp_ok");
    lab.clock.set(START.plus(Duration::from_secs(5)));
    recover(&lab).await;
    assert_eq!(present(&lab, past).await, "used_code");
    lab.clock.advance(Duration::from_secs(30));
    assert_eq!(present(&lab, past).await, "used_code");
    assert_eq!(present(&lab, past + 1).await, "totp_ok");
}

/// The step is consumed although the PIN was wrong, and so it stays.
#[tokio::test]
async fn a_code_that_was_used_up_by_a_wrong_pin_is_void_too() {
    let policy = OTP.replace("\"otp\"", "\"pin\", \"otp\"");
    let lab = Lab::new(&[("vpn", &policy)]).await;
    lab.user("alice", Some("884213"), None).await;
    lab.token("alice", Kind::Totp, Digits::SIX).await;
    let ahead = START.plus(DAY);
    let ask = async |pin: &str, step: u64| {
        let code = code_of("alice", Digits::SIX, step);
        lab.http("vpn", json!({ "user": "alice", "pin": pin, "otp": code }))
            .await;
        lab.reason("alice").await
    };
    lab.clock.set(ahead);
    assert_eq!(ask("884214", step(ahead)).await, "wrong_pin");
    lab.clock.set(ahead.plus(MINUTE));
    assert_eq!(ask("884213", step(ahead) + 2).await, "totp_ok");
    lab.clock.set(START.plus(MINUTE));
    recover(&lab).await;
    assert_eq!(ask("884213", step(START) + 2).await, "totp_ok");
    lab.clock.set(ahead);
    assert_eq!(ask("884213", step(ahead)).await, "used_code");
}

#[tokio::test]
async fn waits_and_locks_end_within_their_length_from_now() {
    let lab = lab().await;
    let nearby: IpAddr = "203.0.113.9".parse().unwrap();
    lab.clock.set(START.plus(DAY * 3));
    for _ in 0..10 {
        let body = json!({ "user": "alice", "otp": "000000", "client_ip": nearby });
        lab.http("vpn", body).await;
        lab.clock.advance(Duration::from_secs(10));
    }
    assert_eq!(present(&lab, 1).await, "locked");
    lab.clock.set(START);
    let answer = recover(&lab).await;
    assert_eq!(users(&answer), ["alice@default"]);
    assert_eq!(
        present(&lab, step(START)).await,
        "locked",
        "not before its length"
    );
    lab.clock.set(START.plus(MINUTE * 30));
    assert_eq!(present(&lab, step(START) + 60).await, "totp_ok");
    // The address too.
    let body = json!({ "user": "nobody", "otp": "000000", "client_ip": nearby });
    lab.http("vpn", body).await;
    assert_eq!(lab.reason("nobody").await, "unknown_user");
}

#[tokio::test]
async fn two_consecutive_codes_find_the_clock_again() {
    let (lab, _, now) = astray().await;
    recover(&lab).await;
    let serial = serial(&lab);
    let code = |step| Typed::parse(&code_of("alice", Digits::SIX, step)).unwrap();
    let (first, second) = (code(step(now) + 4), code(step(now) + 5));
    let found = lab
        .service()
        .admin
        .resync_token(&serial, &first, &second, lab.by())
        .await;
    assert!(found.is_ok(), "{found:?}");
}

/// The clock is ahead once more, and further: what was consumed the first time stays consumed.
#[tokio::test]
async fn a_second_jump_forgets_nothing_of_the_first() {
    for recovered_between in [true, false] {
        let (lab, used, now) = astray().await;
        if recovered_between {
            recover(&lab).await;
            // Behind this record the second search reads nothing.
            assert_eq!(present(&lab, step(now)).await, "totp_ok");
        }
        // What administrators do meanwhile is on record by the right time.
        lab.user("berta", None, None).await;
        let later = now.plus(MINUTE * 240);
        lab.clock.set(later.plus(DAY * 2));
        let last = step(later.plus(DAY * 2));
        assert_eq!(present(&lab, last).await, "totp_ok");
        lab.clock.set(later);
        recover(&lab).await;
        assert_eq!(present(&lab, step(later)).await, "totp_ok");
        for step in [used[0], used[1], last] {
            lab.clock.set(UnixTime::from_secs(step * 30));
            assert_eq!(
                present(&lab, step).await,
                "used_code",
                "{recovered_between}"
            );
        }
    }
}

/// Codes of before the jump that a lost record may have used stay closed.
#[tokio::test]
async fn what_a_restore_closed_does_not_open_again() {
    let mut lab = lab().await;
    let backup = lab.backup().await;
    let lost = step(START);
    assert_eq!(present(&lab, lost).await, "totp_ok");
    lab.clock.advance(Duration::from_secs(5));
    lab.restore(&backup).await;
    // No code is tried in between: that it is refused would be on record.
    lab.clock.set(START.plus(DAY));
    assert_eq!(present(&lab, step(START.plus(DAY))).await, "totp_ok");
    lab.clock.set(START.plus(Duration::from_secs(20)));
    recover(&lab).await;
    assert_eq!(present(&lab, lost).await, "used_code");
}

async fn enrol_again(lab: &Lab, serial: &Serial) {
    let admin = &lab.service().admin;
    admin.remove_token(serial, None, lab.by()).await.unwrap();
    enrol(lab).await;
}

async fn enrol(lab: &Lab) {
    let admin = &lab.service().admin;
    let new = NewToken {
        user: key("alice"),
        kind: Kind::Totp,
        algorithm: Algorithm::Sha1,
        digits: Digits::SIX,
        period: Period::THIRTY,
        key: Some(SecretBytes::new(octets("alice", Digits::SIX))),
        counter: 0,
        active: true,
        serial: None,
    };
    admin.add_token(new, lab.by()).await.unwrap();
}

/// What a removed token with the same key consumed is not among the steps of the new one.
#[tokio::test]
async fn a_seed_that_was_enrolled_again_while_ahead_keeps_its_used_codes() {
    for times in 1..=2 {
        for removed_at_last in [false, true] {
            let (lab, used, now) = astray().await;
            lab.clock
                .set(UnixTime::from_secs(used[1] * 30).plus(MINUTE));
            for _ in 0..times {
                enrol_again(&lab, &serial(&lab)).await;
            }
            assert_eq!(present(&lab, used[1] + 2).await, "totp_ok");
            if removed_at_last {
                enrol_again(&lab, &serial(&lab)).await;
            }
            lab.clock.set(now);
            recover(&lab).await;
            for step in [used[0], used[1], used[1] + 2] {
                lab.clock.set(UnixTime::from_secs(step * 30));
                assert_eq!(present(&lab, step).await, "used_code", "{times} {step}");
            }
        }
    }
}

#[tokio::test]
async fn the_same_seed_can_be_enrolled_again() {
    for removed_ahead in [true, false] {
        let (lab, used, now) = astray().await;
        let serial = serial(&lab);
        if removed_ahead {
            lab.clock.set(UnixTime::from_secs(used[1] * 30));
            lab.service()
                .admin
                .remove_token(&serial, None, lab.by())
                .await
                .unwrap();
            lab.clock.set(now);
            recover(&lab).await;
            enrol(&lab).await;
        } else {
            recover(&lab).await;
            enrol_again(&lab, &serial).await;
        }
        assert_eq!(present(&lab, step(now)).await, "totp_ok", "{removed_ahead}");
        lab.clock.set(UnixTime::from_secs(used[0] * 30));
        assert_eq!(present(&lab, used[0]).await, "used_code", "{removed_ahead}");
    }
}

#[tokio::test]
async fn a_counter_is_left_alone_and_a_clock_that_was_right_changes_nothing() {
    let lab = Lab::new(&[("vpn", OTP)]).await;
    lab.user("alice", None, None).await;
    lab.token("alice", Kind::Hotp, Digits::SIX).await;
    lab.clock.set(START.plus(DAY));
    assert_eq!(present(&lab, 3).await, "hotp_ok");
    lab.clock.set(START);
    recover(&lab).await;
    assert_eq!(lab.last("alice"), Some(3));
    assert_eq!(present(&lab, 3).await, "used_code");
    let answer = recover(&lab).await;
    assert_eq!(answer["affected"], 0, "{answer}");
}

/// More than fits is kept as ranges: then more is void, never less.
#[tokio::test]
async fn many_codes_of_the_time_to_come_are_all_used_up() {
    let lab = lab().await;
    let ahead = START.plus(DAY);
    let mut used = Vec::new();
    for number in 0..9_u64 {
        let at = ahead.plus(MINUTE * u32::try_from(number * number).unwrap());
        lab.clock.set(at);
        assert_eq!(present(&lab, step(at)).await, "totp_ok");
        used.push(step(at));
    }
    lab.clock.set(START);
    recover(&lab).await;
    assert_eq!(present(&lab, step(START)).await, "totp_ok");
    for step in used {
        lab.clock.set(UnixTime::from_secs(step * 30));
        assert_eq!(present(&lab, step).await, "used_code", "{step}");
    }
}

#[tokio::test]
async fn what_was_done_is_in_the_audit_of_the_user() {
    let (lab, used, _) = astray().await;
    recover(&lab).await;
    let shown = lab.admin("GET", "/v1/admin/audit?user=alice").await;
    let records = shown["records"].as_array().expect("records").iter();
    let found = records.filter(|one| one["action"] == "clock_reanchor");
    let found: Vec<String> = found.map(ToString::to_string).collect();
    let [record] = found.as_slice() else {
        panic!("{shown}");
    };
    for step in used {
        assert!(record.contains(&step.to_string()), "{record}");
    }
}

fn shown(status: &Value) -> Option<i64> {
    status["clock_jump"]["seconds"].as_i64()
}

/// Nobody else says it: codes of another time are accepted, those of the present refused.
#[tokio::test]
async fn a_jump_of_the_clock_is_said_until_somebody_vouches_for_it() {
    let lab = lab().await;
    let status = async || lab.admin("GET", "/v1/admin/status").await;
    let look = |running: u64| lab.service().core.watch_clock(Duration::from_secs(running));
    assert_eq!(look(100), None, "the first look");
    lab.clock.advance(Duration::from_secs(5));
    assert_eq!(look(105), None);
    lab.clock.advance(Duration::from_secs(64));
    assert_eq!(look(110), None, "59 s are within the step");
    assert_eq!(shown(&status().await), None);
    lab.clock.advance(DAY);
    let jump = look(115).expect("a jump");
    assert_eq!(jump.seconds(), 86_395);
    assert_eq!(shown(&status().await), Some(86_395));
    assert_eq!(look(115), None, "said once");
    // Put right again: that is one, too.
    lab.clock.set(START.plus(MINUTE));
    assert!(look(120).expect("a jump").seconds() < -86_000);
    assert_eq!(lab.service().core.clock_jumps(), 2);
    assert!(shown(&status().await).is_some_and(|seconds| seconds < 0));
    recover(&lab).await;
    assert_eq!(shown(&status().await), None, "vouched for");
    // A machine that slept: the other clock stands still meanwhile.
    lab.clock.advance(MINUTE * 90);
    assert!(look(121).is_some());
    lab.clock.advance(DAY);
    assert_eq!(shown(&status().await), None, "a day later");
}

#[tokio::test]
async fn a_start_compares_the_clock_with_the_record() {
    let mut lab = lab().await;
    for (at, wanted) in [
        (START.plus(Duration::from_secs(20)), None),
        (START.plus(DAY * 6), None),
        (START.plus(DAY * 8), Some(8 * 86_400)),
        (UnixTime::from_secs(START.as_secs() - 60), Some(-60)),
    ] {
        lab.clock.set(at);
        lab.restart().await;
        let jump = lab.service().core.watch_clock_at_start();
        assert_eq!(jump.map(|jump| jump.seconds()), wanted, "{at}");
        let status = lab.admin("GET", "/v1/admin/status").await;
        assert_eq!(shown(&status), wanted, "{at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_that_mends_it_is_named() {
    let house = crate::support::explained::House::new().await;
    let service = &house.test.service;
    service.core.watch_clock(Duration::ZERO);
    house.test.clock.advance(DAY);
    service
        .core
        .watch_clock(Duration::from_secs(5))
        .expect("a jump");
    for command in ["status", "doctor"] {
        let (_, out, err) = house.run(&[command]);
        assert!(
            out.contains("oncegate clock recover"),
            "{command}: {out}{err}"
        );
        assert!(out.contains("86395 s"), "{command}: {out}{err}");
    }
}

#[tokio::test]
async fn an_outage_that_was_declared_ahead_is_listed() {
    let lab = lab().await;
    let declare = async |reason: &str| {
        let declared = lab
            .service()
            .admin
            .declare_outage(DAY, reason, lab.by())
            .await;
        declared.expect("an outage");
    };
    declare("of the present").await;
    lab.clock.advance(MINUTE);
    assert!(recover(&lab).await["outage"].is_null(), "it is under way");
    lab.clock.set(START.plus(DAY * 30));
    declare("of the time to come").await;
    lab.clock.set(START.plus(MINUTE * 2));
    for _ in 0..2 {
        let answer = recover(&lab).await;
        assert_eq!(
            answer["outage"]["reason"], "of the time to come",
            "{answer}"
        );
    }
    lab.service()
        .admin
        .end_outage(lab.by())
        .await
        .expect("it ends");
    assert!(recover(&lab).await["outage"].is_null());
}

/// Each call is bounded; together they see to everybody, and once.
#[tokio::test]
async fn many_users_are_seen_to_in_parts() {
    let lab = lab().await;
    let names = ["bert", "carl", "dora", "emma"];
    for name in names {
        lab.user(name, None, None).await;
        lab.token(name, Kind::Totp, Digits::SIX).await;
    }
    lab.clock.set(START.plus(DAY));
    let ask = async |name: &str, step: u64| {
        let code = code_of(name, Digits::SIX, step);
        lab.http("vpn", json!({ "user": name, "otp": code })).await;
        lab.reason(name).await
    };
    for name in names {
        assert_eq!(ask(name, step(START.plus(DAY))).await, "totp_ok");
    }
    lab.clock.set(START.plus(MINUTE));
    let (mut seen, mut after) = (Vec::new(), String::new());
    for call in 0..9 {
        let path = format!("/v1/admin/clock/recover?limit=2{after}");
        let answer = lab.admin("POST", &path).await;
        assert_eq!(answer["recovered"], answer["next"].is_null(), "{answer}");
        seen.extend(users(&answer).into_iter().map(str::to_owned));
        let Some(next) = answer["next"].as_str() else {
            assert_eq!(call, 2, "{answer}");
            break;
        };
        after = format!("&after={next}");
    }
    let wanted = names.map(|name| format!("{name}@default"));
    assert_eq!(seen, wanted);
    for name in names {
        assert_eq!(ask(name, step(START) + 2).await, "totp_ok", "{name}");
    }
    lab.clock.set(START.plus(DAY));
    assert_eq!(ask("dora", step(START.plus(DAY))).await, "used_code");
    let audit = lab.admin("GET", "/v1/admin/audit?limit=500").await;
    let records = audit["records"].as_array().expect("records").iter();
    let vouched = records.filter(|one| one["action"] == "clock_accept");
    assert_eq!(vouched.count(), 1, "one word for all of them");
}

/// Files of the journal end anywhere among the records that are read together.
#[tokio::test]
async fn what_lies_in_several_files_of_the_journal_is_read() {
    let lab = lab().await;
    let fill = async || {
        for _ in 0..40 {
            let note = oncegate::store::Change::Note {
                action: "test",
                target: String::new(),
                user: None,
                detail: "x".repeat(60_000),
            };
            let store = lab.service().core.store();
            store.change(note, lab.by()).await.expect("a note");
        }
    };
    fill().await;
    let ahead = START.plus(DAY);
    lab.clock.set(ahead);
    let first = step(ahead);
    assert_eq!(present(&lab, first).await, "totp_ok");
    fill().await;
    lab.clock.advance(MINUTE * 5);
    assert_eq!(present(&lab, first + 10).await, "totp_ok");
    fill().await;
    lab.clock.set(START.plus(MINUTE));
    let answer = recover(&lab).await;
    assert_eq!(answer["affected"], 1, "{answer}");
    assert_eq!(present(&lab, step(START) + 2).await, "totp_ok");
    // All were found: no other is void.
    for (step, wanted) in [
        (first, "used_code"),
        (first + 4, "totp_ok"),
        (first + 10, "used_code"),
        (first + 12, "totp_ok"),
    ] {
        lab.clock.set(UnixTime::from_secs(step * 30));
        assert_eq!(present(&lab, step).await, wanted, "{step}");
    }
}
