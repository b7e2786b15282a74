//! Fault D2: blanks in what holds only digits and blanks are taken out before anything else.

use oncegate::admin::{CredentialsPatch, NewVerifier};
use oncegate::model::kind::Kind;
use oncegate::otp::Digits;
use serde_json::json;

use crate::support::lab::Lab;

const PASSWORD: &str = "correct horse 9";
const PIN: &str = "280465";

fn policy(require: &str, present: &str) -> String {
    format!(
        "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [{require}]\n\
         present = \"{present}\"\n"
    )
}

async fn lab(require: &str, present: &str) -> Lab {
    let lab = Lab::new(&[("vpn", &policy(require, present))]).await;
    lab.user("alice", Some(PIN), Some(PASSWORD)).await;
    lab.token("alice", Kind::Totp, Digits::SIX).await;
    lab
}

/// The present code as people type it.
fn spaced(code: &str, form: usize) -> String {
    let (one, two) = code.split_at(3);
    match form {
        0 => format!("{one} {two}"),
        1 => format!(" {code} "),
        2 => format!("{one}  {two}   "),
        _ => code.chars().flat_map(|digit| [digit, ' ']).collect(),
    }
}

#[tokio::test]
async fn a_code_with_blanks_is_the_code() {
    let lab = lab("\"otp\"", "joined").await;
    for form in 0..4 {
        let typed = spaced(&lab.code("alice"), form);
        let heard = match form % 2 {
            0 => lab.radius("vpn", "alice", &typed, None, None).await,
            _ => {
                lab.http("vpn", json!({"user": "alice", "otp": typed}))
                    .await
            }
        };
        assert_eq!(heard.decision, "accept", "{form}");
        lab.clock.advance(std::time::Duration::from_secs(30));
    }
    // Other spaces are no blanks, and a letter makes it no code.
    for typed in ["123\t456", "123\u{a0}456", "123 45a", "123\u{2009}456"] {
        lab.radius("vpn", "alice", typed, None, None).await;
        let event = lab.decision("alice").await;
        assert_eq!(event.reason.as_str(), "malformed_code", "{typed:?}");
        assert_eq!(event.failures, 0);
    }
}

#[tokio::test]
async fn blanks_burn_no_challenge() {
    let lab = lab("\"password\", \"otp\"", "challenge").await;
    for form in 0..4 {
        let first = lab.radius("vpn", "alice", PASSWORD, None, None).await;
        let state = first.challenge.expect("a challenge");
        let typed = spaced(&lab.code("alice"), form);
        let heard = lab.radius("vpn", "alice", &typed, Some(&state), None).await;
        assert_eq!(heard.decision, "accept", "{form}");
        lab.clock.advance(std::time::Duration::from_secs(30));
    }
}

#[tokio::test]
async fn pin_blank_code_is_read_as_pin_and_code() {
    let lab = lab("\"pin\", \"otp\"", "joined").await;
    for form in 0..4 {
        let typed = format!("{PIN} {}", spaced(&lab.code("alice"), form));
        let heard = lab.radius("vpn", "alice", &typed, None, None).await;
        assert_eq!(heard.decision, "accept", "{form}");
        lab.clock.advance(std::time::Duration::from_secs(30));
    }
    // With a comma it is not digits and blanks alone.
    let typed = format!("{PIN}, {}", lab.code("alice"));
    let heard = lab.radius("vpn", "alice", &typed, None, None).await;
    assert_eq!(heard.decision, "reject");
}

/// A variant: a PIN that was set with blanks is the PIN without them, in both places.
#[tokio::test]
async fn a_pin_set_with_blanks_is_good_with_and_without_them() {
    let lab = lab("\"pin\", \"otp\"", "joined").await;
    let credentials = CredentialsPatch {
        pin: Some(NewVerifier::Text("2804 6559".into())),
        password: None,
        must_change: None,
    };
    lab.set("alice", credentials).await;
    for pin in ["28046559", "2804 6559", "2 8 0 4 6 5 5 9"] {
        let otp = lab.code("alice");
        let body = json!({"user": "alice", "pin": pin, "otp": otp});
        assert_eq!(lab.http("vpn", body).await.decision, "accept", "{pin}");
        lab.clock.advance(std::time::Duration::from_secs(30));
    }
}

/// A variant: a password with blanks and letters keeps them.
#[tokio::test]
async fn a_password_keeps_its_blanks() {
    let lab = lab("\"password\", \"otp\"", "joined").await;
    let typed = format!("{PASSWORD}{}", lab.code("alice"));
    let heard = lab.radius("vpn", "alice", &typed, None, None).await;
    assert_eq!(heard.decision, "accept");
}
