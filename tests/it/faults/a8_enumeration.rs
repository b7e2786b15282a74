//! What is answered, when, and what is shed does not depend on who is a user.

use std::time::Duration;

use oncegate::login::{LoginRequest, Presented, hashing};
use oncegate::model::audit::{Channel, Event};
use oncegate::model::kind::Kind;
use oncegate::otp::Digits;
use oncegate::policy::Factor;
use oncegate::secret::SecretString;
use serde_json::{Value, json};

use crate::support::expected::{PASSWORD, PIN, WRONG_PIN};
use crate::support::lab::{Lab, key};
use crate::support::postbox::{Postbox, issued_token};

const PIN_OTP: &str = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"pin\", \"otp\"]\n\
    alternatives = [\"sms\", \"card\"]\n";
const CODES: &str = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n\
    alternatives = [\"sms\", \"card\"]\n";
/// One user in each state; whoever asks for one of them with a wrong code is rejected.
const STATES: [&str; 6] = ["alice", "nobody", "bare", "off", "shut", "slow"];

async fn lab() -> Lab {
    let late = CODES.replace("0s", "2s");
    let lab = Lab::new(&[("pin", PIN_OTP), ("codes", CODES), ("late", &late)]).await;
    lab.user("alice", Some(PIN), None).await;
    for (name, number) in [("bare", 0), ("off", 1), ("shut", 2), ("slow", 3)] {
        lab.same_user(name, "alice").await;
        if number > 0 {
            person(&lab, name, number).await;
        }
    }
    person(&lab, "alice", 9).await;
    let disabled = json!({ "disabled": true });
    lab.change("PATCH", "/v1/admin/users/off", disabled).await;
    for (name, failures) in [("shut", 10), ("slow", 4)] {
        for _ in 0..failures {
            let body = json!({ "user": name, "pin": PIN, "otp": "000000" });
            lab.http("pin", body).await;
            if name == "shut" {
                lab.clock.advance(Duration::from_secs(10));
            }
        }
    }
    assert_eq!(word(&lab, "shut").await, "locked");
    assert_eq!(word(&lab, "slow").await, "throttled");
    lab
}

async fn person(lab: &Lab, name: &str, number: u8) {
    lab.token(name, Kind::Hotp, Digits::SIX).await;
    let address = format!("+8210123456{number:02}");
    issued_token(lab, name, Kind::Sms, &format!("SMS-{number}"), &address).await;
}

async fn word(lab: &Lab, name: &str) -> &'static str {
    let body = json!({ "user": name, "pin": PIN, "otp": "000000" });
    lab.http("pin", body).await;
    lab.reason(name).await
}

/// All that differs between two answers of one kind taken out.
fn shape(status: u16, body: &Value) -> String {
    let fields = body.as_object().expect("an object").iter();
    let fields = fields.map(|(name, value)| match value {
        Value::String(text) if ["id", "request_id"].contains(&name.as_str()) => {
            format!("{name}={} characters", text.len())
        }
        other => format!("{name}={other}"),
    });
    format!("{status} {}", fields.collect::<Vec<_>>().join(" "))
}

/// The sighting: a locked name was rejected while an unknown one was not decided.
#[tokio::test]
async fn without_a_place_for_hashing_nobody_is_decided() {
    let mut lab = lab().await;
    lab.hashing = hashing::Settings {
        threads: 0,
        queue: 0,
        ..lab.hashing
    };
    lab.restart().await;
    let before = lab.service().core.store().health().seq;
    let mut seen = Vec::new();
    for name in STATES {
        for pin in [PIN, WRONG_PIN] {
            let body = json!({ "user": name, "pin": pin, "otp": "000000" });
            let (status, body) = lab.raw("POST", "pin", "/v1/verify", Some(body)).await;
            seen.push(shape(status, &body));
            // The answer to a challenge that is none.
            let body = json!({ "user": name, "otp": "000000", "challenge": "none" });
            let (status, body) = lab.raw("POST", "pin", "/v1/verify", Some(body)).await;
            seen.push(shape(status, &body));
            let typed = format!("{pin}000000");
            assert!(!lab.is_answered("pin", name, &typed, None).await, "{name}");
        }
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:#?}");
    assert!(seen[0].starts_with("503 "), "{seen:?}");
    assert_eq!(
        lab.service().core.store().health().seq,
        before,
        "and nobody is counted"
    );
    // Codes need no place.
    let body = json!({ "user": "alice", "otp": "000000" });
    assert_eq!(lab.http("codes", body).await.decision, "reject");
}

#[tokio::test]
async fn every_state_hears_the_same_from_a_challenge_and_its_polls() {
    let lab = lab().await;
    let _postbox = Postbox::of(&lab);
    for factor in ["sms", "card"] {
        let mut begun = Vec::new();
        let mut ids = Vec::new();
        for name in STATES {
            let body = json!({ "user": name, "factor": factor });
            let (status, mut answer) = lab.raw("POST", "codes", "/v1/challenges", Some(body)).await;
            ids.push(answer["id"].as_str().expect("an id").to_owned());
            if factor == "card" {
                // Nobody here has one: which cells are asked for follows from the name.
                answer["prompt"] = Value::Null;
            }
            begun.push(shape(status, &answer));
        }
        begun.dedup();
        assert_eq!(begun.len(), 1, "{begun:#?}");
        let polls = async |what: &str| {
            let mut seen = Vec::new();
            for id in &ids {
                let path = format!("/v1/challenges/{id}");
                let (status, body) = lab.raw("GET", "codes", &path, None).await;
                seen.push(shape(status, &body));
            }
            seen.dedup();
            assert_eq!(seen.len(), 1, "{factor}, {what}: {seen:#?}");
            seen.remove(0)
        };
        assert!(polls("begun").await.contains("pending"));
        for (name, id) in STATES.iter().zip(&ids) {
            for _ in 0..6 {
                let body = json!({ "user": name, "otp": "000000", "challenge": id });
                lab.http("codes", body).await;
            }
        }
        polls("after six wrong codes").await;
        lab.clock.advance(Duration::from_secs(61));
        for name in STATES {
            let body = json!({ "user": name, "factor": factor });
            lab.raw("POST", "codes", "/v1/challenges", Some(body)).await;
        }
        polls("begun again").await;
        lab.clock.advance(Duration::from_mins(10));
        assert!(polls("late").await.contains("expired"));
    }
}

#[tokio::test]
async fn a_challenge_leaves_on_the_schedule_of_rejects_and_costs_one_record() {
    let lab = lab().await;
    let _postbox = Postbox::of(&lab);
    let client = lab.service().admin.client("app-late").expect("a client");
    // Asked twice in a row: the second time the code before is asked for again.
    for name in STATES.into_iter().chain(["alice"]) {
        let (id, at) = lab.service().core.arrival().expect("random octets");
        let nothing = SecretString::default();
        let request = LoginRequest {
            id,
            at,
            deadline: at.plus(Duration::from_secs(3)),
            client: &client,
            channel: Channel::Http,
            method: "http",
            user: name,
            presented: Presented::Passcode(&nothing),
            challenge: None,
            rounds: true,
            source: None,
            attributes: &[],
            context: &[],
            origin: None,
            serial: None,
            carrier: None,
        };
        let begun = lab
            .service()
            .login
            .begin(&request, Factor::Sms, false)
            .await;
        assert_eq!(
            begun.expect("begun").delay,
            Duration::from_secs(2),
            "{name}"
        );
        let query = oncegate::store::AuditQuery {
            request: Some(id),
            limit: 10,
            ..oncegate::store::AuditQuery::default()
        };
        let records = lab
            .service()
            .core
            .store()
            .audit(query)
            .await
            .expect("the audit");
        let commits = records.iter().filter(
            |record| matches!(&record.event, Event::Change(one) if one.action.starts_with("code_")),
        );
        assert_eq!(commits.count(), 1, "{name}");
    }
}

/// Whoever asks for a token in a name is shed before the name is looked up, too.
#[tokio::test]
async fn without_a_place_for_hashing_nobody_enrols() {
    let policy = format!("{PIN_OTP}[enrolment]\nself_service = [\"totp\"]\nproof = [\"pin\"]\n");
    let mut lab = Lab::new(&[("pin", &policy)]).await;
    lab.user("alice", Some(PIN), None).await;
    lab.same_user("shut", "alice").await;
    for _ in 0..10 {
        let body = json!({ "user": "shut", "kind": "totp", "pin": WRONG_PIN });
        lab.raw("POST", "pin", "/v1/enrolments", Some(body)).await;
        lab.clock.advance(Duration::from_secs(10));
    }
    let view = lab
        .service()
        .core
        .store()
        .view(&key("shut"))
        .unwrap()
        .unwrap();
    assert_eq!(view.state.failures(), 10);
    lab.hashing = hashing::Settings {
        threads: 0,
        queue: 0,
        ..lab.hashing
    };
    lab.restart().await;
    let mut seen = Vec::new();
    for name in ["alice", "nobody", "shut"] {
        let body = json!({ "user": name, "kind": "totp", "pin": WRONG_PIN });
        let (status, body) = lab.raw("POST", "pin", "/v1/enrolments", Some(body)).await;
        seen.push(shape(status, &body));
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:#?}");
    assert!(seen[0].starts_with("503 "), "{seen:?}");
}

/// Where too many answers wait for their time, nobody is looked up: no answer leaves early, and who is
/// shed does not depend on whom was asked for. RADIUS:
/// `radius_server::rejects_wait_for_their_time_without_a_place`.
#[tokio::test]
async fn without_a_place_to_wait_nobody_is_decided_early() {
    let mut lab = lab().await;
    let _postbox = Postbox::of(&lab);
    let held = CODES.replace("0s", "10s") + "[enrolment]\nself_service = [\"totp\"]\n";
    lab.limits.reject_queue = 1;
    lab.restart().await;
    lab.edit(&[("pin", PIN_OTP), ("codes", CODES), ("late", &held)]);
    let before = lab.service().core.store().health().seq;
    let ask = |name: &str| json!({ "user": name, "otp": "000000" });
    let mut seen = Vec::new();
    let others = async {
        for name in STATES {
            let enrol = json!({ "user": name, "kind": "totp", "otp": "000000" });
            let change = json!({ "user": name, "otp": "000000", "new_pin": "802645" });
            for (path, body) in [
                ("/v1/verify", ask(name)),
                ("/v1/challenges", json!({ "user": name, "factor": "sms" })),
                ("/v1/enrolments", enrol),
                ("/v1/credentials", change),
            ] {
                let (status, body) = lab.raw("POST", "late", path, Some(body)).await;
                seen.push(shape(status, &body));
            }
        }
        // Who never waits needs no place.
        assert_eq!(lab.http("codes", ask("alice")).await.decision, "reject");
    };
    tokio::select! {
        biased;
        (status, _) = lab.raw("POST", "late", "/v1/verify", Some(ask("bare"))) => {
            panic!("{status} before its time");
        }
        () = others => {}
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:#?}");
    assert!(seen[0].starts_with("503 "), "{seen:?}");
    let records = lab
        .service()
        .core
        .store()
        .audit_after(before, 100)
        .await
        .unwrap();
    assert!(records.len() <= 2, "nobody else is on record: {records:?}");
}

/// Bodies are as long for every pair of cells, and a lock does not bring other cells.
#[tokio::test]
async fn every_state_is_asked_for_cells_alike_with_a_card_and_without() {
    let lab = lab().await;
    for (number, name) in ["alice", "off", "shut", "slow"].into_iter().enumerate() {
        issued_token(&lab, name, Kind::Card, &format!("CARD-{number}"), "").await;
    }
    let begin = async |name: &str| {
        let body = json!({ "user": name, "factor": "card" });
        let (status, answer) = lab.raw("POST", "codes", "/v1/challenges", Some(body)).await;
        assert_eq!(status, 201, "{name}");
        let prompt = answer["prompt"].as_str().unwrap().to_owned();
        (prompt, answer["id"].clone(), answer.to_string().len())
    };
    let mut lengths = Vec::new();
    for number in 0..40 {
        lengths.push(begin(&format!("nobody{number}")).await.2);
    }
    let mut cells = Vec::new();
    for name in STATES {
        let (prompt, id, length) = begin(name).await;
        lengths.push(length);
        cells.push(prompt);
        for _ in 0..6 {
            lab.clock.advance(Duration::from_secs(11));
            let body = json!({ "user": name, "otp": "0000000", "challenge": id });
            lab.http("codes", body).await;
        }
    }
    lengths.dedup();
    assert_eq!(lengths.len(), 1, "{lengths:?}");
    let ask_again = async |what: &str| {
        for (name, before) in STATES.iter().zip(&cells) {
            assert_eq!(&begin(name).await.0, before, "{name}, {what}");
            let body = json!({ "user": name, "otp": "card" });
            let heard = lab.http("codes", body).await;
            assert_eq!(
                heard.body["challenge"]["prompt"], **before,
                "{name}, {what}"
            );
        }
    };
    ask_again("after wrong answers").await;
    let disabled = json!({ "disabled": true });
    lab.change("PATCH", "/v1/admin/users/alice", disabled).await;
    ask_again("disabled").await;
}

const UNLIMITED: &str =
    "[lockout]\nfree = 100\nlock_after = 100\nhard_lock_after = 100\nsource_lock_after = 0\n";
/// The first rule asks for a code alone, the second for a password first.
const MIXED: &str = r#"
reject_delay = "0s"
[[rule]]
name = "contractors"
when = { group = "contractors" }
require = ["otp"]
[[rule]]
name = "staff"
when = { group = "staff" }
require = ["password", "otp"]
present = "either"
"#;
const THREE: &str = r#"
reject_delay = "0s"
[[rule]]
name = "all"
require = ["password", "pin", "otp"]
present = "either"
"#;
/// One user in each state; no one has rule and record that the others have.
const UNLIKE: [&str; 6] = ["alice", "conny", "bare", "off", "lost", "nobody"];

async fn unlike() -> Lab {
    let (mixed, three) = (format!("{MIXED}{UNLIMITED}"), format!("{THREE}{UNLIMITED}"));
    let lab = Lab::new(&[("mixed", &mixed), ("three", &three)]).await;
    for name in ["alice", "off"] {
        lab.user(name, Some(PIN), Some(PASSWORD)).await;
        lab.groups(name, &["staff"]).await;
    }
    for (name, group) in [
        ("conny", "contractors"),
        ("bare", "staff"),
        ("lost", "guests"),
    ] {
        lab.user(name, None, None).await;
        lab.groups(name, &[group]).await;
    }
    for name in ["alice", "conny", "off"] {
        lab.token(name, Kind::Hotp, Digits::SIX).await;
    }
    let disabled = json!({ "disabled": true });
    lab.change("PATCH", "/v1/admin/users/off", disabled).await;
    lab
}

/// Makes the login; how many PINs and passwords were compared for it, and the answer's challenge.
async fn compared(lab: &Lab, policy: &str, body: Value) -> (u64, Option<String>) {
    let login = &lab.service().login;
    let before = login.comparisons();
    let heard = lab.http(policy, body).await;
    (login.comparisons() - before, heard.challenge)
}

/// The sightings: where nothing was typed, a hash was made for a name of no user only; and where the first rule asks
/// for a code alone, for users of another rule only. Beside others that hash, the time told both.
#[tokio::test]
async fn as_much_is_hashed_for_every_name() {
    let lab = unlike().await;
    let wrong = "a wrong one";
    let all = format!("{wrong}{PIN}000000");
    for (policy, typed, wanted) in [
        ("mixed", json!({ "passcode": "" }), 0),
        ("mixed", json!({ "passcode": wrong }), 1),
        ("mixed", json!({ "passcode": "000000" }), 2),
        ("mixed", json!({ "passcode": all }), 2),
        ("mixed", json!({ "passcode": "a wrong one,sms" }), 2),
        ("mixed", json!({ "password": wrong, "otp": "000000" }), 1),
        ("mixed", json!({ "otp": "000000" }), 1),
        ("three", json!({ "passcode": "" }), 0),
        ("three", json!({ "passcode": wrong }), 1),
        ("three", json!({ "passcode": all }), 3),
        ("three", json!({ "password": wrong }), 2),
        (
            "three",
            json!({ "password": wrong, "pin": WRONG_PIN, "otp": "000000" }),
            2,
        ),
    ] {
        for name in UNLIKE {
            let mut body = typed.clone();
            body["user"] = name.into();
            let (made, _) = compared(&lab, policy, body).await;
            assert_eq!(made, wanted, "{name}, {policy}, {typed}");
        }
    }
    // The answer to a question that everyone is asked.
    for name in UNLIKE {
        let nothing = json!({ "user": name, "passcode": "" });
        let (_, challenge) = compared(&lab, "mixed", nothing).await;
        let body = json!({ "user": name, "passcode": wrong, "challenge": challenge.unwrap() });
        assert_eq!(compared(&lab, "mixed", body).await.0, 1, "{name}");
    }
    // A right answer costs no more than it is.
    let body = json!({ "user": "alice", "passcode": PASSWORD });
    let (made, challenge) = compared(&lab, "mixed", body).await;
    assert_eq!(made, 1);
    let body = json!({ "user": "alice", "otp": "000000", "challenge": challenge.unwrap() });
    assert_eq!(compared(&lab, "mixed", body).await.0, 0);
}

/// Two spellings of a name are one name, of a user with a card and of anybody else.
#[tokio::test]
async fn a_name_is_asked_for_the_same_cells_however_it_is_spelled() {
    let lab = lab().await;
    issued_token(&lab, "alice", Kind::Card, "CARD-0", "").await;
    for name in ["alice", "bare", "nobody"] {
        let (upper, full) = (name.to_uppercase(), format!("{name}@default"));
        let domain = format!("DEFAULT\\{upper}");
        let mut prompts = Vec::new();
        for spelled in [name, upper.as_str(), full.as_str(), domain.as_str()] {
            let body = json!({ "user": spelled, "factor": "card" });
            let (status, begun) = lab.raw("POST", "codes", "/v1/challenges", Some(body)).await;
            assert_eq!(status, 201, "{spelled}");
            prompts.push(begun["prompt"].clone());
            let body = json!({ "user": spelled, "otp": "card" });
            let heard = lab.http("codes", body).await;
            prompts.push(heard.body["challenge"]["prompt"].clone());
        }
        assert!(prompts[0].is_string());
        prompts.dedup();
        assert_eq!(prompts.len(), 1, "{name}: {prompts:?}");
    }
}
