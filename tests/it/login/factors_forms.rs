//! One box and its readings, PINs and passwords that must be changed, and hashes from elsewhere.

use oncegate::admin::{CredentialsPatch, NewVerifier};
use oncegate::model::audit::Event;
use oncegate::model::kind::Kind;
use oncegate::otp::Digits;
use serde_json::json;

use crate::support::expected::{PASSWORD, PIN};
use crate::support::lab::{Lab, code_of};

fn policy(require: &str) -> String {
    format!("reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [{require}]\n")
}

/// Tokens of both lengths; the PIN looks like a code.
#[tokio::test]
async fn codes_of_six_and_of_eight_digits_are_told_apart() {
    for (require, known) in [
        ("\"password\", \"otp\"", PASSWORD),
        ("\"pin\", \"otp\"", PIN),
    ] {
        let lab = Lab::new(&[("vpn", &policy(require))]).await;
        lab.user("alice", Some(PIN), Some(PASSWORD)).await;
        lab.token("alice", Kind::Hotp, Digits::SIX).await;
        lab.token("alice", Kind::Hotp, Digits::EIGHT).await;
        let mut counter = 0;
        for digits in [Digits::SIX, Digits::EIGHT] {
            for separator in ["", ","] {
                let code = code_of("alice", digits, counter);
                let typed = format!("{known}{separator}{code}");
                lab.radius("vpn", "alice", &typed, None, None).await;
                let decision = lab.decision("alice").await;
                let found = (decision.reason.as_str(), decision.step);
                assert_eq!(found, ("hotp_ok", Some(counter)), "{require} {digits:?}");
                counter += 1;
            }
        }
    }
}

#[tokio::test]
async fn a_wrong_pin_of_any_length_uses_the_code_up() {
    let lab = Lab::new(&[("vpn", &policy("\"pin\", \"otp\""))]).await;
    lab.user("alice", Some(PIN), None).await;
    lab.token("alice", Kind::Hotp, Digits::SIX).await;
    for (counter, pin) in [(0, "1"), (1, "28046"), (2, "2804655"), (3, "280465280465")] {
        let typed = format!("{pin}{}", code_of("alice", Digits::SIX, counter));
        lab.radius("vpn", "alice", &typed, None, None).await;
        assert_eq!(lab.reason("alice").await, "wrong_pin", "{pin}");
        assert_eq!(lab.last("alice"), Some(counter), "{pin}");
        let by = lab.by();
        let key = crate::support::lab::key("alice");
        lab.service().admin.unlock_user(&key, by).await.unwrap();
    }
}

#[tokio::test]
async fn only_ascii_digits_are_a_code() {
    let lab = Lab::new(&[("vpn", &policy("\"password\", \"otp\""))]).await;
    lab.user("alice", None, Some(PASSWORD)).await;
    lab.token("alice", Kind::Hotp, Digits::SIX).await;
    let code = code_of("alice", Digits::SIX, 0);
    let wide = |digit: char| char::from_u32(u32::from(digit) - 0x30 + 0xff10).unwrap();
    let arabic = |digit: char| char::from_u32(u32::from(digit) - 0x30 + 0x660).unwrap();
    let half = format!("{}{}", &code[..5], wide(char::from(code.as_bytes()[5])));
    let others = [
        code.chars().map(wide).collect::<String>(),
        code.chars().map(arabic).collect(),
        half,
        format!("{code}\n"),
    ];
    for other in others {
        for separator in ["", ","] {
            let typed = format!("{PASSWORD}{separator}{other}");
            lab.radius("vpn", "alice", &typed, None, None).await;
            assert_eq!(lab.reason("alice").await, "malformed_code", "{other:?}");
        }
        let body = json!({ "user": "alice", "password": PASSWORD, "otp": other });
        lab.http("vpn", body).await;
        assert_eq!(lab.reason("alice").await, "malformed_code", "{other:?}");
    }
    assert_eq!(lab.decision("alice").await.failures, 0);
    assert_eq!(lab.last("alice"), None);
}

/// Contract s7: everything right does not help until another is chosen.
#[tokio::test]
async fn what_must_be_changed_opens_nothing_but_its_own_change() {
    let rounds = policy("\"pin\", \"otp\"") + "present = \"challenge\"\n";
    let joined = policy("\"pin\", \"otp\"");
    let lab = Lab::new(&[("vpn", &joined), ("rounds", &rounds)]).await;
    lab.user("alice", Some(PIN), None).await;
    lab.token("alice", Kind::Hotp, Digits::SIX).await;
    lab.set(
        "alice",
        CredentialsPatch {
            must_change: Some(true),
            ..CredentialsPatch::default()
        },
    )
    .await;
    let code = |counter| code_of("alice", Digits::SIX, counter);
    let ask = async |pin: &str, counter| {
        let body = json!({ "user": "alice", "pin": pin, "otp": code(counter) });
        let heard = lab.http("vpn", body).await;
        (heard, lab.reason("alice").await, lab.last("alice"))
    };
    let (right, reason, last) = ask(PIN, 0).await;
    assert_eq!((reason, last), ("must_change", Some(0)));
    let (wrong, reason, last) = ask("280466", 1).await;
    assert_eq!((reason, last), ("wrong_pin", Some(1)));
    assert_eq!(right.seen, wrong.seen, "nobody learns that all was right");
    let typed = format!("{PIN}{}", code(2));
    let heard = lab.radius("vpn", "alice", &typed, None, None).await;
    let reason = lab.reason("alice").await;
    assert_eq!((heard.decision.as_str(), reason), ("reject", "must_change"));
    // In rounds it is said at the end.
    let heard = lab.radius("rounds", "alice", PIN, None, None).await;
    let open = heard.challenge.expect("a challenge");
    lab.radius("rounds", "alice", &code(3), Some(&open), None)
        .await;
    assert_eq!(lab.reason("alice").await, "must_change");
    // The way out; a wrong proof is none.
    let mut change =
        json!({ "user": "alice", "pin": "280466", "otp": code(4), "new_pin": "593817" });
    let refused = lab.post("vpn", "/v1/credentials", change.clone()).await;
    assert_eq!(refused.decision, "reject");
    assert_eq!(refused.seen, wrong.seen);
    change["pin"] = json!(PIN);
    change["otp"] = json!(code(5));
    let done = lab.post("vpn", "/v1/credentials", change).await;
    assert_eq!(done.decision, "accept");
    assert_eq!(ask("593817", 6).await.1, "hotp_ok");
    assert_eq!(ask(PIN, 7).await.1, "wrong_pin");
}

/// Made by `slapd` and libxcrypt from [`PASSWORD`].
const HASHES: [(&str, &str); 3] = [
    (
        "salted-sha",
        "{SSHA}iSSKKeqXryieR1wVh0PMh2/U+bFzYWx0eXNhbA==",
    ),
    (
        "bcrypt",
        "$2b$06$abcdefghijklmnopqrstuuJ6aKTqt9LUiGE63SNXdNQieC7GUxhZC",
    ),
    (
        "sha512-crypt",
        "$6$saltsalt$HLKn1GMPph2DkPVDaALTgK/hvl.ivQs1Ht8fmR2/qPnPSdWS8ggtFOXOIkNWD6gLwsNW0QJ/2RpMx8CpGkNmi1",
    ),
];

async fn imported(lab: &Lab, user: &str, hash: &str) {
    lab.user(user, None, None).await;
    lab.token(user, Kind::Hotp, Digits::SIX).await;
    let patch = CredentialsPatch {
        password: Some(NewVerifier::Hash(hash.into())),
        ..CredentialsPatch::default()
    };
    lab.set(user, patch).await;
}

#[tokio::test]
async fn an_imported_hash_is_renewed_by_the_first_login() {
    let lab = Lab::new(&[("vpn", &policy("\"password\", \"otp\""))]).await;
    for (user, hash) in HASHES {
        imported(&lab, user, hash).await;
        let imported = async || {
            let shown = lab.admin("GET", &format!("/v1/admin/users/{user}")).await;
            shown["password"]["imported"].clone()
        };
        let ask = async |password: &str, counter| {
            let otp = code_of(user, Digits::SIX, counter);
            let body = json!({ "user": user, "password": password, "otp": otp });
            lab.http("vpn", body).await;
            lab.reason(user).await
        };
        assert_eq!(imported().await, user);
        assert_eq!(ask("Tr0ub4dor&3y", 0).await, "wrong_password");
        assert_eq!(imported().await, user, "a wrong password renews nothing");
        let mut changes = lab.service().core.store().subscribe();
        assert_eq!(ask(PASSWORD, 1).await, "hotp_ok");
        // The login, then the renewal behind it.
        for _ in 0..2 {
            changes.recv().await.expect("a record");
        }
        assert!(imported().await.is_null(), "{user}");
        assert_eq!(ask("Tr0ub4dor&3y", 2).await, "wrong_password");
        assert_eq!(ask(PASSWORD, 3).await, "hotp_ok");
    }
}

/// Whoever holds a token alone must not make it the key to what it is the second factor for.
#[tokio::test]
async fn only_what_was_proven_can_be_replaced() {
    let (code_only, pin_too) = (policy("\"otp\""), policy("\"pin\", \"otp\""));
    let lab = Lab::new(&[("vpn", &code_only), ("bank", &pin_too)]).await;
    lab.user("alice", Some(PIN), Some(PASSWORD)).await;
    lab.token("alice", Kind::Hotp, Digits::SIX).await;
    let steal = |code: &str| json!({"user": "alice", "otp": code, "new_pin": "592618"});
    let stolen = lab
        .status(
            "vpn",
            "/v1/credentials",
            steal(&code_of("alice", Digits::SIX, 0)),
        )
        .await;
    assert_eq!(stolen, 400);
    let other = json!({"user": "alice", "otp": code_of("alice", Digits::SIX, 1), "pin": PIN,
                       "new_password": "another long one"});
    assert_eq!(lab.status("bank", "/v1/credentials", other).await, 400);
    let typed = format!("{PIN}{}", code_of("alice", Digits::SIX, 2));
    let heard = lab
        .http("bank", json!({"user": "alice", "passcode": typed}))
        .await;
    assert_eq!(heard.decision, "accept", "the old PIN still opens");
}

/// One who must say the password in a first round is renewed there, and comes in all the same.
#[tokio::test]
async fn an_imported_hash_is_renewed_in_rounds_too() {
    let rounds = policy("\"password\", \"otp\"") + "present = \"challenge\"\n";
    let lab = Lab::new(&[("vpn", &rounds)]).await;
    for (user, hash) in HASHES {
        imported(&lab, user, hash).await;
        let mut changes = lab.service().core.store().subscribe();
        let heard = lab.radius("vpn", user, PASSWORD, None, None).await;
        let open = heard.challenge.expect("a challenge");
        let code = code_of(user, Digits::SIX, 0);
        lab.radius("vpn", user, &code, Some(&open), None).await;
        assert_eq!(lab.reason(user).await, "hotp_ok", "{user}");
        // The renewal runs behind the challenge.
        loop {
            let record = changes.recv().await.expect("a record");
            if matches!(&record.event, Event::Change(change) if change.action == "credentials_renew")
            {
                break;
            }
        }
        let shown = lab.admin("GET", &format!("/v1/admin/users/{user}")).await;
        assert!(shown["password"]["imported"].is_null(), "{user}");
    }
}

/// The renewal must not come between the proof and the new password.
#[tokio::test]
async fn an_imported_password_can_be_changed_at_once() {
    let lab = Lab::new(&[("vpn", &policy("\"password\", \"otp\""))]).await;
    for (user, hash) in HASHES {
        imported(&lab, user, hash).await;
        let change = json!({
            "user": user,
            "password": PASSWORD,
            "otp": code_of(user, Digits::SIX, 0),
            "new_password": "another long one",
        });
        let done = lab.post("vpn", "/v1/credentials", change).await;
        assert_eq!(done.decision, "accept", "{user}");
    }
}

/// Held factors of which the user has no token: nothing typed passes for them, not the known factor
/// alone either.
#[tokio::test]
async fn nobody_passes_by_a_factor_they_have_no_token_of() {
    let rules = [
        ("\"sms\"", "joined"),
        ("\"password\", \"sms\"", "joined"),
        ("\"password\", \"card\"", "either"),
        ("\"password\", \"email\"", "challenge"),
        ("\"otp\", \"voice\"", "challenge"),
        ("\"recovery\", \"password\"", "joined"),
    ];
    for (require, present) in rules {
        let text = format!("{}present = \"{present}\"\n", policy(require));
        let lab = Lab::new(&[("vpn", &text)]).await;
        lab.user("alice", None, Some(PASSWORD)).await;
        lab.token("alice", Kind::Hotp, Digits::SIX).await;
        let code = code_of("alice", Digits::SIX, 0);
        for typed in [
            PASSWORD.to_owned(),
            code.clone(),
            format!("{PASSWORD},{code}"),
            format!("{code},{PASSWORD}"),
            "sms".to_owned(),
        ] {
            let heard = lab.radius("vpn", "alice", &typed, None, None).await;
            assert_ne!(heard.decision, "accept", "{require} {present} {typed}");
            let body = json!({ "user": "alice", "passcode": typed });
            let heard = lab.http("vpn", body).await;
            assert_ne!(heard.decision, "accept", "{require} {present} {typed}");
        }
        let body = json!({ "user": "alice", "password": PASSWORD, "otp": code });
        assert_ne!(lab.http("vpn", body).await.decision, "accept", "{require}");
    }
}
