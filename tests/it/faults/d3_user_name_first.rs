//! Fault D3: an empty password begins the rounds, and nobody can tell by it who is a user.

use oncegate::model::kind::Kind;
use oncegate::otp::Digits;
use serde_json::json;

use crate::support::lab::{Heard, Lab};

const PASSWORD: &str = "correct horse 9";

fn policy(present: &str) -> String {
    format!(
        "reject_delay = \"0s\"\n[[rule]]\nname = \"staff\"\nwhen = {{ group = \"staff\" }}\n\
         require = [\"otp\"]\n[[rule]]\nname = \"all\"\nrequire = [\"password\", \"otp\"]\n\
         present = \"{present}\"\n"
    )
}

async fn lab(present: &str) -> Lab {
    let lab = Lab::new(&[("vpn", &policy(present))]).await;
    for user in ["alice", "staff", "bare", "locked", "off"] {
        lab.user(user, None, Some(PASSWORD)).await;
        if user != "bare" {
            lab.token(user, Kind::Totp, Digits::SIX).await;
        }
    }
    lab.groups("staff", &["staff"]).await;
    for _ in 0..10 {
        lab.radius("vpn", "locked", "wrong", None, None).await;
        lab.clock.advance(std::time::Duration::from_secs(11));
    }
    let patch = oncegate::admin::UserPatch {
        disabled: Some(true),
        ..Default::default()
    };
    let key = crate::support::lab::key("off");
    let by = lab.by();
    lab.service()
        .admin
        .set_user(&key, patch, None, by)
        .await
        .unwrap();
    lab
}

fn without_state(heard: &Heard) -> String {
    let state = heard.challenge.as_deref().expect("a challenge");
    // Over HTTP there is more behind it, of one length for all.
    let challenge = state.split('~').next().expect("a first part");
    assert_eq!(challenge.len(), 48);
    let octets = format!("{:02x?}", state.as_bytes());
    let length = state.len().to_string();
    heard.seen.replace(&octets, "STATE").replace(state, &length)
}

#[tokio::test]
async fn an_empty_box_begins_the_rounds() {
    for present in ["challenge", "either"] {
        let lab = lab(present).await;
        let heard = lab.radius("vpn", "alice", "", None, None).await;
        let state = heard.challenge.expect("a challenge");
        assert_eq!(lab.reason("alice").await, "challenged");
        let heard = lab
            .radius("vpn", "alice", PASSWORD, Some(&state), None)
            .await;
        let state = heard.challenge.expect("another");
        let code = lab.code("alice");
        let heard = lab.radius("vpn", "alice", &code, Some(&state), None).await;
        assert_eq!(heard.decision, "accept", "{present}");
    }
}

#[tokio::test]
async fn over_http_too() {
    let lab = lab("challenge").await;
    for body in [
        json!({"user": "alice", "password": ""}),
        json!({"user": "alice", "passcode": ""}),
        json!({"user": "alice", "passcode": "   "}),
    ] {
        let heard = lab.http("vpn", body).await;
        assert_eq!(heard.body["challenge"]["factor"], "password");
        let id = heard.challenge.expect("a challenge");
        let body = json!({"user": "alice", "password": PASSWORD, "challenge": id});
        let id = lab.http("vpn", body).await.challenge.expect("another");
        let body = json!({"user": "alice", "otp": lab.code("alice"), "challenge": id});
        assert_eq!(lab.http("vpn", body).await.decision, "accept");
        lab.clock.advance(std::time::Duration::from_secs(30));
    }
}

#[tokio::test]
async fn everybody_is_asked_in_the_same_octets() {
    let lab = lab("challenge").await;
    let users = [
        "alice",
        "staff",
        "bare",
        "locked",
        "off",
        "nobody",
        "b@elsewhere",
    ];
    let (mut radius, mut http) = (Vec::new(), Vec::new());
    for user in users {
        let heard = lab.radius("vpn", user, "", None, None).await;
        radius.push(without_state(&heard));
        let heard = lab.http("vpn", json!({"user": user, "password": ""})).await;
        http.push(without_state(&heard));
    }
    for (number, user) in users.iter().enumerate() {
        assert_eq!(radius[number], radius[0], "{user}");
        assert_eq!(http[number], http[0], "{user}");
    }
}

#[tokio::test]
async fn the_challenge_of_nobody_is_refused_later_and_the_audit_says_what_was_sent() {
    let lab = lab("challenge").await;
    for user in ["nobody", "bare", "off"] {
        let heard = lab.radius("vpn", user, "", None, None).await;
        let event = lab.decision(user).await;
        assert_eq!(event.decision.as_str(), "challenge");
        assert_eq!(event.reason.decision().as_str(), "reject");
        assert!(event.note.as_deref().unwrap().contains("challenge"));
        assert_eq!(event.failures, 0);
        let state = heard.challenge.expect("a challenge");
        let heard = lab.radius("vpn", user, PASSWORD, Some(&state), None).await;
        assert_eq!(heard.decision, "reject", "{user}");
    }
}

/// A variant: the user whose own rule reads everything at once goes on as that rule says.
#[tokio::test]
async fn a_rule_without_rounds_takes_everything_in_the_answer() {
    let lab = lab("challenge").await;
    let heard = lab.radius("vpn", "staff", "", None, None).await;
    let state = heard.challenge.expect("a challenge");
    let code = lab.code("staff");
    let heard = lab.radius("vpn", "staff", &code, Some(&state), None).await;
    assert_eq!(heard.decision, "accept");
}

/// A variant: where no rule has rounds, an empty box is what it was, and a wrong answer is one failure.
#[tokio::test]
async fn without_rounds_an_empty_box_is_malformed() {
    let lab = lab("joined").await;
    let heard = lab.radius("vpn", "alice", "", None, None).await;
    assert_eq!(heard.decision, "reject");
    assert_eq!(lab.reason("alice").await, "malformed_code");
    let lab = self::lab("challenge").await;
    let heard = lab.radius("vpn", "alice", "", None, None).await;
    let state = heard.challenge.expect("a challenge");
    lab.radius("vpn", "alice", "wrong horse 9", Some(&state), None)
        .await;
    let event = lab.decision("alice").await;
    assert_eq!(
        (event.reason.as_str(), event.failures),
        ("wrong_password", 1)
    );
    // It was answered: the State is as none, and the login begins again.
    lab.radius("vpn", "alice", PASSWORD, Some(&state), None)
        .await;
    assert_eq!(lab.reason("alice").await, "challenged");
}
