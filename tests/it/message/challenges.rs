//! Challenges: what was answered is on record, how they stand, and how long one lasts whose code was sent.

use std::time::Duration;

use oncegate::admin::ClientPatch;
use oncegate::model::audit::{Channel, Event};
use oncegate::model::kind::Kind;
use oncegate::model::reason::{Decision, Reason};
use oncegate::otp::card;
use oncegate::store::AuditQuery;
use serde_json::json;

use crate::message::channels::{hotp, lab};
use crate::support::expected::PASSWORD;
use crate::support::lab::{Lab, key};
use crate::support::postbox::{Postbox, issued_token, octets};

/// Another code of six digits, which no token makes.
fn other(code: &str) -> String {
    let value: u32 = code.parse().expect("digits");
    format!("{:06}", (value + 1) % 1_000_000)
}

/// Contract s8.8.
#[tokio::test]
async fn audit_and_metrics_say_what_was_answered() {
    let lab = lab().await;
    let _postbox = Postbox::of(&lab);
    let patch = ClientPatch {
        challenge: Some(false),
        ..ClientPatch::default()
    };
    let admin = &lab.service().admin;
    let set = admin.set_client("nas-codes", patch, None, lab.by());
    set.await.expect("a change");
    // A client that shows no challenges.
    let heard = lab.radius("codes", "alice", "sms", None, None).await;
    assert_eq!(heard.decision, "reject");
    let event = lab.decision("alice").await;
    assert_eq!(
        (event.decision, event.reason),
        (Decision::Reject, Reason::Challenged)
    );
    // Who is no user is asked as everybody is.
    let body = json!({ "user": "carol", "otp": "sms" });
    let heard = lab.http("codes", body).await;
    assert_eq!(heard.decision, "challenge");
    let event = lab.decision("carol").await;
    assert_eq!(
        (event.decision, event.reason),
        (Decision::Challenge, Reason::UnknownUser)
    );
    for (word, user) in [("challenge", "carol@default"), ("reject", "alice@default")] {
        let path = format!("/v1/admin/audit?decision={word}");
        let listed = lab.admin("GET", &path).await;
        let records = listed["records"].as_array().expect("records");
        let users: Vec<_> = records.iter().map(|record| &record["user"]).collect();
        assert_eq!(users, [user], "{word}");
        assert_eq!(records[0]["decision"], word);
    }
    let counters = lab.service().core.counters().all();
    let counted: Vec<_> = counters.filter(|(.., count)| *count > 0).collect();
    let expected = [
        (
            Channel::Radius,
            Some((Reason::Challenged, Decision::Reject)),
            1,
        ),
        (
            Channel::Http,
            Some((Reason::UnknownUser, Decision::Challenge)),
            1,
        ),
    ];
    assert_eq!(counted, expected);
    let status = lab.admin("GET", "/v1/admin/status").await;
    assert_eq!(status["rejects"], 1, "{status}");
}

#[tokio::test]
async fn a_challenge_of_a_login_says_how_it_stands() {
    let mut lab = lab().await;
    let ask = async |lab: &Lab| {
        let body = json!({ "user": "alice", "password": PASSWORD });
        let asked = lab.http("staff", body).await;
        asked.challenge.expect("a challenge")
    };
    let answer = async |lab: &Lab, id: &str, code: &str| {
        let body = json!({ "user": "alice", "otp": code, "challenge": id });
        lab.http("staff", body).await.decision
    };
    let wrong = ask(&lab).await;
    assert_eq!(lab.standing("staff", &wrong).await, "pending");
    assert_eq!(lab.standing("codes", &wrong).await, "404");
    let changed = wrong.replace('~', ".");
    assert_eq!(lab.standing("staff", &changed).await, "404");
    assert_eq!(answer(&lab, &wrong, &hotp(900)).await, "reject");
    assert_eq!(lab.standing("staff", &wrong).await, "pending");
    // No code was sent: one answer.
    assert_eq!(answer(&lab, &wrong, &hotp(0)).await, "reject");
    assert_eq!(lab.reason("alice").await, "stale_challenge");
    // It stands for no answer on another channel.
    let open = ask(&lab).await;
    let body = json!({ "user": "alice", "challenge": open });
    assert_eq!(lab.http("staff", body).await.decision, "reject");
    assert_eq!(lab.reason("alice").await, "malformed_code");
    assert_eq!(answer(&lab, &open, &hotp(0)).await, "accept");
    assert_eq!(lab.standing("staff", &open).await, "accepted");
    assert_eq!(lab.standing("staff", &wrong).await, "pending");
    let late = ask(&lab).await;
    lab.restart().await;
    assert_eq!(lab.standing("staff", &open).await, "accepted");
    lab.clock.advance(Duration::from_millis(119_999));
    assert_eq!(lab.standing("staff", &late).await, "pending");
    lab.clock.advance(Duration::from_millis(1));
    assert_eq!(lab.standing("staff", &late).await, "expired");
    assert_eq!(lab.standing("staff", &wrong).await, "expired");
    assert_eq!(answer(&lab, &late, &hotp(1)).await, "reject");
    assert_eq!(lab.reason("alice").await, "stale_challenge");
}

/// Who has no such token, and who is no user, is told the same.
#[tokio::test]
async fn how_a_challenge_of_a_login_stands_tells_no_user() {
    let lab = lab().await;
    let _postbox = Postbox::of(&lab);
    lab.user("bobby", None, None).await;
    let mut asked = Vec::new();
    for user in ["alice", "bobby", "carol"] {
        let body = json!({ "user": user, "otp": "sms" });
        let id = lab.http("codes", body).await.challenge;
        asked.push((user, id.expect("a challenge")));
    }
    let polls = async |what: &str| {
        let mut said = Vec::new();
        for (_, id) in &asked {
            said.push((lab.standing("codes", id).await, id.len()));
        }
        said.dedup();
        assert_eq!(said.len(), 1, "{what}: {said:?}");
        said.remove(0).0
    };
    assert_eq!(polls("asked").await, "pending");
    for (user, id) in &asked {
        let body = json!({ "user": user, "otp": "12345678", "challenge": id });
        assert_eq!(lab.http("codes", body).await.decision, "reject");
    }
    assert_eq!(polls("answered").await, "pending");
    lab.clock.advance(Duration::from_mins(2));
    assert_eq!(polls("late").await, "expired");
}

/// Contract s7: five tries for a code that was sent.
#[tokio::test]
async fn a_wrong_answer_leaves_a_challenge_whose_code_has_tries_left() {
    let lab = lab().await;
    let postbox = Postbox::of(&lab);
    let answer = async |policy: &str, id: &str, code: &str| {
        let body = json!({ "user": "alice", "otp": code, "challenge": id });
        let heard = lab.http(policy, body).await;
        lab.clock.advance(Duration::from_secs(11));
        (heard.decision, lab.reason("alice").await)
    };
    let said = |decision: &str, reason| (decision.to_owned(), reason);
    let begin = async || {
        let body = json!({ "user": "alice", "factor": "sms" });
        let begun = lab.begin("codes", "/v1/challenges", body).await;
        begun["id"].as_str().expect("an id").to_owned()
    };
    let id = begin().await;
    let code = postbox.code(1).await;
    for _ in 0..4 {
        let wrong = answer("codes", &id, &other(&code)).await;
        assert_eq!(wrong, said("reject", "wrong_code"));
        assert_eq!(lab.standing("codes", &id).await, "pending");
    }
    let right = answer("codes", &id, &code).await;
    assert_eq!(right, said("accept", "sms_ok"));
    assert_eq!(lab.standing("codes", &id).await, "accepted");
    // The accept ends it.
    let again = answer("codes", &id, &hotp(0)).await;
    assert_eq!(again, said("reject", "stale_challenge"));

    // So does the last try.
    let id = begin().await;
    let code = postbox.code(2).await;
    for _ in 0..5 {
        let wrong = answer("codes", &id, &other(&code)).await;
        assert_eq!(wrong, said("reject", "wrong_code"));
    }
    let late = answer("codes", &id, &code).await;
    assert_eq!(late, said("reject", "stale_challenge"));
}

/// The same behind a password; over RADIUS a State is answered once.
#[tokio::test]
async fn a_wrong_answer_leaves_a_login_whose_code_was_sent_over_http() {
    let lab = lab().await;
    let postbox = Postbox::of(&lab);
    let typed = format!("{PASSWORD},sms");
    let body = json!({ "user": "alice", "passcode": typed });
    let id = lab.http("staff", body).await.challenge;
    let code = postbox.code(1).await;
    for (code, decision) in [(other(&code), "reject"), (code, "accept")] {
        let body = json!({ "user": "alice", "otp": code, "challenge": id });
        assert_eq!(lab.http("staff", body).await.decision, decision);
    }
    lab.clock.advance(Duration::from_mins(2));
    let asked = lab.radius("staff", "alice", &typed, None, None).await;
    let state = asked.challenge.as_deref();
    let code = postbox.code(2).await;
    for (code, reason) in [(other(&code), "wrong_code"), (code, "stale_challenge")] {
        lab.radius("staff", "alice", &code, state, None).await;
        assert_eq!(lab.reason("alice").await, reason);
    }
}

/// After a wrong answer as before one: of right answers at once, one counts.
#[tokio::test]
async fn of_two_right_answers_after_a_wrong_one_one_counts() {
    let lab = lab().await;
    let postbox = Postbox::of(&lab);
    for round in 1..=8 {
        let body = json!({ "user": "alice", "factor": "sms" });
        let begun = lab.begin("codes", "/v1/challenges", body).await;
        let code = postbox.code(round).await;
        let answer = |code: &str| {
            let body = json!({ "user": "alice", "otp": code, "challenge": begun["id"] });
            lab.http("codes", body)
        };
        assert_eq!(answer(&other(&code)).await.decision, "reject");
        lab.clock.advance(Duration::from_secs(11));
        let (one, two) = tokio::join!(answer(&code), answer(&code));
        let mut heard = [one.decision, two.decision];
        heard.sort();
        assert_eq!(heard, ["accept", "reject"], "round {round}");
    }
}

/// A code is for one client: at another one that asks for it a moment later the round cannot be finished, and
/// nothing that is typed there counts. Of two rounds of its client only that is accepted which it was given back in.
#[tokio::test]
async fn a_code_is_for_one_client_and_answers_one_round() {
    let lab = lab().await;
    let postbox = Postbox::of(&lab);
    let begin = async |policy: &str| {
        let body = json!({ "user": "alice", "factor": "sms" });
        let begun = lab.begin(policy, "/v1/challenges", body).await;
        begun["id"].as_str().expect("an id").to_owned()
    };
    let (one, elsewhere) = (begin("codes").await, begin("staff").await);
    let query = AuditQuery {
        user: Some(key("alice").to_string()),
        limit: 16,
        ..AuditQuery::default()
    };
    let records = lab.service().core.store().audit(query).await.unwrap();
    let told = records.iter().any(|record| {
        let Event::Change(event) = &record.event else {
            return false;
        };
        let detail = event.detail.as_deref().unwrap_or_default();
        event.action == "code_refuse" && detail.contains("for another client")
    });
    assert!(told, "{records:?}");
    let two = begin("codes").await;
    let code = postbox.code(1).await;
    assert_eq!(postbox.count(), 1);
    let body =
        json!({ "user": "alice", "password": PASSWORD, "otp": code, "challenge": elsewhere });
    assert_eq!(lab.http("staff", body).await.decision, "reject");
    let decision = lab.decision("alice").await;
    assert_eq!(
        (decision.reason.as_str(), decision.failures),
        ("stale_challenge", 0)
    );
    let body = json!({ "user": "alice", "otp": code, "challenge": one });
    assert_eq!(lab.http("codes", body).await.decision, "accept");
    for (policy, id, standing) in [
        ("codes", &one, "accepted"),
        ("codes", &two, "pending"),
        ("staff", &elsewhere, "pending"),
    ] {
        assert_eq!(lab.standing(policy, id).await, standing);
    }
    // The next message may leave, and is for whom it is asked for then.
    lab.clock.advance(Duration::from_mins(1));
    let next = begin("staff").await;
    let code = postbox.code(2).await;
    let body = json!({ "user": "alice", "password": PASSWORD, "otp": code, "challenge": next });
    assert_eq!(lab.http("staff", body).await.decision, "accept");
    assert_eq!(lab.standing("staff", &next).await, "accepted");
}

/// The sighting: a card's cells were taken for minutes after the poll had said `expired`.
#[tokio::test]
async fn a_challenge_ends_when_its_poll_says_so() {
    let lab = lab().await;
    let postbox = Postbox::of(&lab);
    issued_token(&lab, "alice", Kind::Card, "CARD-20481482", "").await;
    let cells = octets("CARD-20481482");
    let cells = card::answer(&cells, 482, card::pair(&cells, 1)).unwrap();
    let cells = cells.expose().expose().to_owned();
    // A code that is sent lives longer than a challenge of a login.
    for (factor, life, right) in [("card", 120_u64, "card_ok"), ("sms", 180, "sms_ok")] {
        let begin = async || {
            let body = json!({ "user": "alice", "factor": factor });
            let begun = lab.begin("staff", "/v1/challenges", body).await;
            assert_eq!(begun["expires_in"], life, "{factor}");
            begun["id"].as_str().unwrap().to_owned()
        };
        let typed = async |message: usize| match factor {
            "card" => cells.clone(),
            _ => postbox.code(message).await,
        };
        let answer = async |id: &str, otp: &str| {
            let body =
                json!({ "user": "alice", "password": PASSWORD, "otp": otp, "challenge": id });
            lab.http("staff", body).await;
            lab.reason("alice").await
        };
        let id = begin().await;
        let otp = typed(1).await;
        lab.clock.advance(Duration::from_secs(life));
        assert_eq!(lab.standing("staff", &id).await, "expired", "{factor}");
        assert_eq!(answer(&id, &otp).await, "stale_challenge", "{factor}");
        let id = begin().await;
        let otp = typed(2).await;
        lab.clock.advance(Duration::from_millis(life * 1000 - 1));
        assert_eq!(lab.standing("staff", &id).await, "pending", "{factor}");
        // Without what says when it ends it is none.
        let (cut, _) = id.split_once('.').unwrap();
        assert_eq!(answer(cut, &otp).await, "stale_challenge", "{factor}");
        assert_eq!(answer(&id, &otp).await, right);
    }
}

/// A word that asks for a code answers nothing, but what was proven before goes with it: else one password, or one code,
/// would serve for login after login.
#[tokio::test]
async fn what_was_proven_is_of_one_login() {
    let lab = lab().await;
    let postbox = Postbox::of(&lab);
    let ask = async || {
        let body = json!({ "user": "alice", "password": PASSWORD });
        lab.http("staff", body)
            .await
            .challenge
            .expect("a challenge")
    };
    let answer = async |id: &str, otp: &str| {
        let body = json!({ "user": "alice", "otp": otp, "challenge": id });
        lab.http("staff", body).await
    };
    let answered = ask().await;
    assert_eq!(answer(&answered, &hotp(0)).await.decision, "accept");
    assert_eq!(answer(&answered, "sms").await.decision, "reject");
    assert_eq!(lab.reason("alice").await, "stale_challenge");
    assert_eq!(postbox.count(), 0);

    let begun = ask().await;
    let sent = answer(&begun, "sms").await.challenge.expect("a challenge");
    assert_eq!(lab.standing("staff", &begun).await, "pending");
    assert_eq!(answer(&begun, &hotp(1)).await.decision, "reject");
    assert_eq!(lab.reason("alice").await, "stale_challenge");
    let code = postbox.code(1).await;
    assert_eq!(answer(&sent, &code).await.decision, "accept");
}
