//! Fault C2: the rule that began a login also ends it, whatever comes with the answer; what must not
//! change between the rounds is named. Fault A10, its part about challenges.

use std::net::IpAddr;
use std::time::Duration;

use oncegate::admin::{CredentialsPatch, NewVerifier};
use oncegate::model::kind::Kind;
use oncegate::otp::Digits;
use oncegate::radius::attribute::Type;
use serde_json::json;

use crate::support::lab::{Heard, Lab};

const PASSWORD: &str = "correct horse 9";
const INSIDE: &str = "10.1.2.3";

fn text(when: &str) -> String {
    format!(
        "reject_delay = \"0s\"\n[[rule]]\nname = \"office\"\nwhen = {{ {when} }}\n\
         require = [\"password\", \"otp\"]\npresent = \"challenge\"\n\
         [[rule]]\nname = \"rest\"\nrequire = [\"pin\", \"password\", \"otp\"]\n\
         present = \"challenge\"\n"
    )
}

async fn lab(when: &str) -> Lab {
    let lab = Lab::new(&[("vpn", &text(when)), ("other", &text(when))]).await;
    lab.user("alice", None, Some(PASSWORD)).await;
    lab.token("alice", Kind::Totp, Digits::SIX).await;
    lab
}

#[allow(clippy::unnecessary_wraps)] // as the field has it
fn station(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

async fn first(lab: &Lab) -> String {
    let heard = lab
        .radius("vpn", "alice", PASSWORD, None, station(INSIDE))
        .await;
    heard.challenge.expect("a challenge")
}

async fn second(lab: &Lab, state: &str, from: Option<IpAddr>) -> Heard {
    let code = lab.code("alice");
    lab.radius("vpn", "alice", &code, Some(state), from).await
}

#[tokio::test]
async fn an_answer_without_the_address_is_judged_by_the_rule_of_its_challenge() {
    let lab = lab("network = \"10.0.0.0/8\"").await;
    for from in [None, station("203.0.113.9")] {
        let state = first(&lab).await;
        assert_eq!(
            second(&lab, &state, from).await.decision,
            "accept",
            "{from:?}"
        );
        let event = lab.decision("alice").await;
        assert_eq!(event.rule.as_deref(), Some("vpn:office"));
        let note = event.note.expect("a note");
        assert!(
            note.contains("rule office") && note.contains("rest"),
            "{note}"
        );
        lab.clock.advance(Duration::from_secs(30));
    }
}

#[tokio::test]
async fn an_answer_without_the_attribute_is_judged_by_the_rule_of_its_challenge() {
    let lab = lab("attribute.\"NAS-Port-Type\" = \"Virtual\"").await;
    let (_, heard) = lab
        .send("vpn", |request, keys| {
            request.attribute(Type::UserName, b"alice").unwrap();
            request.user_password(PASSWORD.as_bytes(), keys).unwrap();
            request.attribute(Type(61), &5_u32.to_be_bytes()).unwrap();
        })
        .await;
    let state = heard.challenge.expect("a challenge");
    assert_eq!(second(&lab, &state, None).await.decision, "accept");
}

#[tokio::test]
async fn an_answer_without_context_or_address_is_judged_by_the_rule_of_its_challenge() {
    for (when, begin) in [
        (
            "context.app = \"payroll\"",
            json!({"context": {"app": "payroll"}}),
        ),
        ("network = \"10.0.0.0/8\"", json!({"client_ip": INSIDE})),
    ] {
        let lab = lab(when).await;
        let mut body = begin.clone();
        body["user"] = "alice".into();
        body["password"] = PASSWORD.into();
        let challenge = lab.http("vpn", body).await.challenge.expect("a challenge");
        let body = json!({"user": "alice", "otp": lab.code("alice"), "challenge": challenge});
        assert_eq!(lab.http("vpn", body).await.decision, "accept", "{when}");
    }
}

/// A variant: the hours of the rule end between the rounds, and the groups change.
#[tokio::test]
async fn what_ends_between_the_rounds_does_not_change_the_rule() {
    // The lab begins in the first second of a step; the rule ends a minute later.
    let start = crate::support::lab::START;
    let clock = |at: oncegate::time::UnixTime| at.rfc3339()[11..16].to_owned();
    let hours = format!(
        "time = \"mon-sun {}-{} UTC\"",
        clock(start),
        clock(start.plus(Duration::from_mins(1)))
    );
    let lab_ = lab(&hours).await;
    let state = first(&lab_).await;
    lab_.clock.advance(Duration::from_secs(90));
    assert_eq!(second(&lab_, &state, None).await.decision, "accept");

    let lab_ = lab("group = \"staff\"").await;
    lab_.groups("alice", &["staff"]).await;
    let state = first(&lab_).await;
    lab_.groups("alice", &[]).await;
    assert_eq!(second(&lab_, &state, None).await.decision, "accept");
}

#[tokio::test]
async fn what_must_not_change_is_named() {
    let when = "network = \"10.0.0.0/8\"";
    let lab = lab(when).await;
    let note = async || {
        let event = lab.decision("alice").await;
        assert_eq!(event.reason.as_str(), "stale_challenge");
        assert_eq!(event.failures, 0);
        event.note.expect("a note")
    };
    // The client.
    let state = first(&lab).await;
    let code = lab.code("alice");
    let heard = lab
        .radius("other", "alice", &code, Some(&state), None)
        .await;
    assert_eq!(heard.decision, "reject");
    assert!(note().await.contains("client nas-vpn"));
    // It is still good where it was made, once.
    assert_eq!(second(&lab, &state, None).await.decision, "accept");
    lab.clock.advance(Duration::from_secs(30));
    assert_eq!(second(&lab, &state, None).await.decision, "reject");
    assert!(note().await.contains("answered before"));
    // The policy.
    let state = first(&lab).await;
    let edited = format!("description = \"edited\"\n{}", text(when));
    lab.edit(&[
        ("vpn", &edited),
        ("other", &text(when)),
        ("default", &text(when)),
    ]);
    assert_eq!(second(&lab, &state, None).await.decision, "reject");
    assert!(note().await.contains("policy vpn was changed"));
    // The password.
    let state = first(&lab).await;
    let credentials = CredentialsPatch {
        password: Some(NewVerifier::Text("another horse 8".into())),
        pin: None,
        must_change: None,
    };
    lab.set("alice", credentials).await;
    assert_eq!(second(&lab, &state, None).await.decision, "reject");
    assert!(note().await.contains("password was changed"));
    // Its time.
    let heard = lab
        .radius("vpn", "alice", "another horse 8", None, station(INSIDE))
        .await;
    let state = heard.challenge.expect("a challenge");
    lab.clock.advance(Duration::from_secs(121));
    assert_eq!(second(&lab, &state, None).await.decision, "reject");
    assert!(note().await.contains("expired at"));
    // The user, which nobody can read out of a challenge.
    lab.user("bob", None, Some(PASSWORD)).await;
    lab.token("bob", Kind::Totp, Digits::SIX).await;
    let heard = lab
        .radius("vpn", "bob", PASSWORD, None, station(INSIDE))
        .await;
    let state = heard.challenge.expect("a challenge");
    assert_eq!(second(&lab, &state, None).await.decision, "reject");
    assert!(note().await.contains("another user"));
}

/// A variant: a stricter demand of the first round holds in the second.
#[tokio::test]
async fn the_assurance_that_was_asked_for_is_sealed_too() {
    let policy = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\n\
                  require = [\"password\", \"otp\"]\npresent = \"challenge\"\n\
                  alternatives = [\"recovery\"]\n";
    let lab = Lab::new(&[("vpn", policy)]).await;
    lab.user("alice", None, Some(PASSWORD)).await;
    lab.token("alice", Kind::Totp, Digits::SIX).await;
    let body = json!({"user": "alice", "password": PASSWORD, "context": {"min_assurance": "2"}});
    let challenge = lab.http("vpn", body).await.challenge.expect("a challenge");
    let body = json!({"user": "alice", "otp": lab.code("alice"), "challenge": challenge});
    let heard = lab.http("vpn", body).await;
    assert_eq!(heard.body["assurance"], 2);
}

/// Strangers who lock everybody else out do not lock out the second round of a known source.
#[tokio::test]
async fn the_source_of_the_first_round_counts_in_the_second() {
    let lab = lab("network = \"10.0.0.0/8\"").await;
    let state = first(&lab).await;
    assert_eq!(
        second(&lab, &state, station(INSIDE)).await.decision,
        "accept"
    );
    lab.clock.advance(Duration::from_secs(30));
    for stranger in 1..=10 {
        let address = format!("10.66.6.{stranger}");
        let guess = json!({"user": "alice", "password": "wrong", "client_ip": address});
        assert_eq!(lab.http("other", guess).await.decision, "reject");
        lab.clock.advance(Duration::from_secs(15));
    }
    assert!(lab.decision("alice").await.failures > 3);
    let guess = json!({"user": "alice", "password": "wrong", "client_ip": "10.66.6.11"});
    lab.http("other", guess).await;
    assert_eq!(lab.reason("alice").await, "locked", "strangers are");
    let state = first(&lab).await;
    assert_eq!(second(&lab, &state, None).await.decision, "accept");
}

#[tokio::test]
async fn many_answered_challenges_shut_nobody_out() {
    let lab = lab("network = \"10.0.0.0/8\"").await;
    let mut burnt = Vec::new();
    // A busy user: forty logins in forty seconds, no two with the same code.
    lab.token("alice", Kind::Hotp, Digits::EIGHT).await;
    for counter in 0..40 {
        let state = first(&lab).await;
        let code = crate::support::lab::code_of("alice", Digits::EIGHT, counter);
        let heard = lab.radius("vpn", "alice", &code, Some(&state), None).await;
        assert_eq!(heard.decision, "accept", "{counter}");
        burnt.push(state);
        lab.clock.advance(Duration::from_secs(1));
    }
    // None of them is good again.
    for (number, state) in burnt.iter().enumerate() {
        let counter = 40 + u64::try_from(number).unwrap();
        let code = crate::support::lab::code_of("alice", Digits::EIGHT, 40);
        let heard = lab.radius("vpn", "alice", &code, Some(state), None).await;
        assert_eq!(heard.decision, "reject", "{number} {counter}");
        assert_eq!(lab.reason("alice").await, "stale_challenge", "{number}");
    }
}
