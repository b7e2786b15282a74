//! Challenges: whose they are, how long they last, and that each is answered once.

use std::time::Duration;

use oncegate::admin::{ClientPatch, CredentialsPatch, NewVerifier};
use oncegate::model::kind::Kind;
use oncegate::otp::Digits;
use oncegate::radius::encode::BuildError;
use serde_json::json;

use crate::support::Random;
use crate::support::expected::{PASSWORD, PIN, WRONG_PIN};
use crate::support::lab::{Lab, code_of, key};

const ROUNDS: &str = r#"
reject_delay = "0s"
[[rule]]
name = "staff"
require = ["password", "otp"]
present = "challenge"
"#;

/// Alice, who has a password, a PIN and a counter token.
async fn lab() -> Lab {
    let lab = Lab::new(&[("vpn", ROUNDS), ("other", ROUNDS)]).await;
    lab.user("alice", Some(PIN), Some(PASSWORD)).await;
    lab.token("alice", Kind::Hotp, Digits::SIX).await;
    lab
}

fn code(counter: u64) -> String {
    code_of("alice", Digits::SIX, counter)
}

/// The State after a right password.
async fn state(lab: &Lab) -> String {
    let heard = lab.radius("vpn", "alice", PASSWORD, None, None).await;
    heard.challenge.expect("a challenge")
}

/// The word for an answer to a State.
async fn answer(lab: &Lab, state: &str, typed: &str) -> &'static str {
    lab.radius("vpn", "alice", typed, Some(state), None).await;
    lab.reason("alice").await
}

#[tokio::test]
async fn a_challenge_opens_only_for_its_own_login() {
    let lab = lab().await;
    lab.same_user("bob", "alice").await;
    lab.token("bob", Kind::Hotp, Digits::SIX).await;
    let own = state(&lab).await;
    assert!(own.len() <= 48);
    let typed = code(0);
    // Another client of the same policy.
    let body = json!({ "user": "alice", "otp": typed, "challenge": own });
    assert_eq!(lab.http("vpn", body).await.decision, "reject");
    assert_eq!(lab.reason("alice").await, "stale_challenge");
    // Another client of another policy.
    lab.radius("other", "alice", &typed, Some(&own), None).await;
    assert_eq!(lab.reason("alice").await, "stale_challenge");
    // Another user.
    let his = code_of("bob", Digits::SIX, 0);
    lab.radius("vpn", "bob", &his, Some(&own), None).await;
    assert_eq!(lab.reason("bob").await, "stale_challenge");
    assert_eq!(lab.last("bob"), None);
    // The same client after it was given another policy.
    let policy = |name: &str| ClientPatch {
        policy: Some(Some(name.to_owned())),
        ..ClientPatch::default()
    };
    for (name, word) in [("other", "stale_challenge"), ("vpn", "hotp_ok")] {
        let set = lab
            .service()
            .admin
            .set_client("nas-vpn", policy(name), None, lab.by());
        set.await.unwrap();
        assert_eq!(answer(&lab, &own, &typed).await, word);
        assert_eq!(lab.decision("alice").await.failures, 0);
    }
}

#[tokio::test]
async fn a_changed_challenge_is_none() {
    let lab = lab().await;
    let own = state(&lab).await;
    let mut changed = own.clone().into_bytes();
    changed[20] ^= 1;
    let changed = String::from_utf8(changed).unwrap();
    for bad in ["", "x", "\u{fc}", &own[1..], changed.as_str()] {
        assert_eq!(
            answer(&lab, bad, &code(0)).await,
            "stale_challenge",
            "{bad}"
        );
        let body = json!({ "user": "alice", "otp": code(0), "challenge": bad });
        lab.http("vpn", body).await;
        assert_eq!(lab.reason("alice").await, "stale_challenge", "{bad}");
    }
    assert_eq!(lab.decision("alice").await.failures, 0);
    assert_eq!(answer(&lab, &own, &code(0)).await, "hotp_ok");
}

#[tokio::test]
async fn a_challenge_expires_to_the_millisecond_and_a_late_code_is_not_counted() {
    let lab = lab().await;
    let (first, second) = (state(&lab).await, state(&lab).await);
    lab.clock.advance(Duration::from_millis(119_999));
    assert_eq!(answer(&lab, &first, &code(0)).await, "hotp_ok");
    lab.clock.advance(Duration::from_millis(1));
    assert_eq!(answer(&lab, &second, &code(1)).await, "stale_challenge");
    let decision = lab.decision("alice").await;
    assert_eq!((decision.failures, lab.last("alice")), (0, Some(0)));
    // Gear that gives an old State back with the password starts again (RFC 5080 s2.1.1).
    assert_eq!(answer(&lab, &second, PASSWORD).await, "challenged");
    assert_eq!(
        answer(&lab, &second, "wrong password").await,
        "wrong_password"
    );
    assert_eq!(lab.decision("alice").await.failures, 1);
}

#[tokio::test]
async fn a_challenge_is_answered_once() {
    let mut lab = lab().await;
    let own = state(&lab).await;
    // What was not compared was no answer.
    assert_eq!(answer(&lab, &own, "").await, "malformed_code");
    assert_eq!(answer(&lab, &own, "12345").await, "malformed_code");
    assert_eq!(answer(&lab, &own, &code(0)).await, "hotp_ok");
    assert_eq!(answer(&lab, &own, &code(1)).await, "stale_challenge");
    // Neither after a wrong answer, nor after a code that was used.
    for (wrong, word) in [(code(999), "wrong_code"), (code(0), "used_code")] {
        let own = state(&lab).await;
        assert_eq!(answer(&lab, &own, &wrong).await, word);
        assert_eq!(answer(&lab, &own, &code(1)).await, "stale_challenge");
    }
    assert_eq!(lab.last("alice"), Some(0));
    // Nor after a restart.
    let (open, done) = (state(&lab).await, own);
    lab.restart().await;
    assert_eq!(answer(&lab, &done, &code(1)).await, "stale_challenge");
    assert_eq!(answer(&lab, &open, &code(1)).await, "hotp_ok");
}

async fn failures_of(lab: &Lab) -> u64 {
    let alice = lab.admin("GET", "/v1/admin/users/alice").await;
    alice["lock"]["failures"].as_u64().expect("a number")
}

/// RFC 5080 s2.1.1: a NAS gives an old State back. It is as none, beside a first factor.
#[tokio::test]
async fn a_state_that_was_answered_begins_a_login_again() {
    let lab = lab().await;
    for (counter, typed, word) in [(0, code(0), "hotp_ok"), (1, code(999), "wrong_code")] {
        let own = state(&lab).await;
        assert_eq!(answer(&lab, &own, &typed).await, word);
        let failures = failures_of(&lab).await;
        let last = lab.last("alice");
        // A code, or the word that asks for one, is no password. The round that is over gives no more guesses.
        for late in [code(counter + 1).as_str(), "000000", "sms"] {
            assert_eq!(
                answer(&lab, &own, late).await,
                "stale_challenge",
                "{word} {late}"
            );
        }
        assert_eq!(failures_of(&lab).await, failures);
        assert_eq!(lab.last("alice"), last, "no code is used up");
        // The password begins again, and a wrong one counts as without a State.
        assert_eq!(
            answer(&lab, &own, "wrong password").await,
            "wrong_password",
            "{word}"
        );
        assert_eq!(failures_of(&lab).await, failures + 1);
        lab.clock.advance(Duration::from_secs(10));
        let heard = lab.radius("vpn", "alice", PASSWORD, Some(&own), None).await;
        assert_eq!(lab.reason("alice").await, "challenged", "{word}");
        let next = heard.challenge.expect("a challenge");
        assert_ne!(next, own);
        assert_eq!(answer(&lab, &next, &code(counter + 1)).await, "hotp_ok");
    }
}

/// Where the login begins with digits, a void State does not make a late code of them.
#[tokio::test]
async fn a_pin_beside_a_void_state_begins_a_login_again() {
    let pin_first = ROUNDS.replace("\"password\", \"otp\"", "\"pin\", \"otp\"");
    let lab = Lab::new(&[("vpn", &pin_first), ("other", &pin_first)]).await;
    lab.user("alice", Some(PIN), None).await;
    lab.token("alice", Kind::Hotp, Digits::SIX).await;
    let begun = async |policy: &str| {
        let heard = lab.radius(policy, "alice", PIN, None, None).await;
        heard.challenge.expect("a challenge")
    };
    let (expired, foreign) = (begun("vpn").await, begun("other").await);
    lab.clock.advance(Duration::from_mins(2));
    let spent = begun("vpn").await;
    assert_eq!(answer(&lab, &spent, &code(0)).await, "hotp_ok");
    for (what, void) in [("late", &expired), ("foreign", &foreign), ("spent", &spent)] {
        let failures = failures_of(&lab).await;
        // Codes are told from the PIN: the next one is not used up, the last one is not counted.
        for late in [code(1), code(0)] {
            let word = answer(&lab, void, &late).await;
            assert_eq!(word, "stale_challenge", "{what}");
        }
        assert_eq!(
            (failures_of(&lab).await, lab.last("alice")),
            (failures, Some(0)),
            "{what}"
        );
        assert_eq!(answer(&lab, void, PIN).await, "challenged", "{what}");
        // Other digits are a PIN, and a wrong one counts.
        assert_eq!(answer(&lab, void, WRONG_PIN).await, "wrong_pin", "{what}");
        assert_eq!(failures_of(&lab).await, failures + 1, "{what}");
        lab.clock.advance(Duration::from_secs(10));
    }
}

/// With a void State nothing is compared for who is locked: a hit would not be counted, and the audit would tell it.
#[tokio::test]
async fn a_void_state_buys_no_guesses_at_who_is_locked() {
    let locks = ROUNDS
        .replace("\"password\", \"otp\"", "\"pin\", \"otp\"")
        .replace("[[rule]]", "[lockout]\nfree = 1\nlock_after = 1\n[[rule]]");
    let lab = Lab::new(&[("vpn", &locks)]).await;
    lab.user("alice", Some(PIN), None).await;
    lab.token("alice", Kind::Hotp, Digits::SIX).await;
    assert_eq!(answer(&lab, "void", &code(0)).await, "stale_challenge");
    assert_eq!(answer(&lab, "void", WRONG_PIN).await, "wrong_pin");
    for typed in [code(0), code(999), PIN.to_owned()] {
        assert_eq!(answer(&lab, "void", &typed).await, "locked", "{typed}");
    }
    assert_eq!(lab.last("alice"), None);
    lab.clock.advance(Duration::from_mins(30));
    assert_eq!(answer(&lab, "void", &code(0)).await, "stale_challenge");
}

/// The same where a code comes first, and digits can be nothing else.
#[tokio::test]
async fn a_first_code_beside_a_void_state_begins_a_login_again() {
    let code_first = ROUNDS.replace("\"password\", \"otp\"", "\"otp\", \"password\"");
    let lab = Lab::new(&[("vpn", &code_first)]).await;
    lab.user("alice", None, Some(PASSWORD)).await;
    lab.token("alice", Kind::Hotp, Digits::SIX).await;
    let heard = lab.radius("vpn", "alice", &code(0), None, None).await;
    let own = heard.challenge.expect("a challenge");
    assert_eq!(answer(&lab, &own, PASSWORD).await, "password_ok");
    assert_eq!(answer(&lab, &own, &code(0)).await, "used_code");
    assert_eq!(answer(&lab, &own, &code(1)).await, "challenged");
    assert_eq!(lab.last("alice"), Some(1));
}

/// A login rests on the tokens of its earlier rounds: one that is changed, or not in use any more, ends it.
#[tokio::test]
async fn a_token_of_an_earlier_round_has_to_stay_as_it_was() {
    let code_first = ROUNDS.replace("\"password\", \"otp\"", "\"otp\", \"password\"");
    let lab = Lab::new(&[("vpn", &code_first)]).await;
    lab.user("alice", None, Some(PASSWORD)).await;
    for digits in [Digits::SIX, Digits::EIGHT] {
        lab.token("alice", Kind::Hotp, digits).await;
    }
    let view = lab.service().core.store().view(&key("alice"));
    let tokens = view.unwrap().unwrap().tokens;
    let serial = |digits| {
        let mut tokens = tokens.iter().map(|(token, _)| token);
        let token = tokens.find(|token| token.digits == digits);
        token.expect("a token").serial.to_string()
    };
    let act = async |digits, act: &str| {
        let path = format!("/v1/admin/tokens/{}/{act}", serial(digits));
        lab.change("POST", &path, json!({})).await;
    };
    let begun = async |counter| {
        let body = json!({ "user": "alice", "otp": code(counter) });
        lab.http("vpn", body).await.challenge.expect("a challenge")
    };
    let finish = async |challenge: &str| {
        let body = json!({ "user": "alice", "password": PASSWORD, "challenge": challenge });
        lab.http("vpn", body).await;
        lab.decision("alice").await
    };
    // The user's other token is nothing to it.
    let open = begun(0).await;
    act(Digits::EIGHT, "suspend").await;
    assert_eq!(finish(&open).await.reason.as_str(), "password_ok");
    act(Digits::EIGHT, "resume").await;
    let open = begun(1).await;
    act(Digits::SIX, "suspend").await;
    for resumed in [false, true] {
        if resumed {
            act(Digits::SIX, "resume").await;
        }
        let decision = finish(&open).await;
        assert_eq!(decision.reason.as_str(), "stale_challenge", "{resumed}");
        let note = decision.note.expect("why");
        assert!(note.contains(&serial(Digits::SIX)), "{note}");
        assert_eq!(decision.failures, 0);
    }
    let open = begun(2).await;
    assert_eq!(finish(&open).await.reason.as_str(), "password_ok");
}

/// Two answers at once, both with right codes.
#[tokio::test]
async fn of_two_answers_at_once_one_counts() {
    let lab = lab().await;
    for round in 0..8 {
        let own = state(&lab).await;
        let (one, two) = (code(2 * round), code(2 * round + 1));
        let ask = |typed| lab.radius("vpn", "alice", typed, Some(&own), None);
        let (one, two) = tokio::join!(ask(&one), ask(&two));
        let mut heard = [one.decision, two.decision];
        heard.sort();
        assert_eq!(heard, ["accept", "reject"]);
    }
}

#[tokio::test]
async fn two_logins_of_one_user_at_once_both_come_in() {
    let lab = lab().await;
    let (one, two) = (state(&lab).await, state(&lab).await);
    assert_ne!(one, two);
    assert_eq!(answer(&lab, &two, &code(0)).await, "hotp_ok");
    assert_eq!(answer(&lab, &one, &code(0)).await, "used_code");
    let one = state(&lab).await;
    let two = state(&lab).await;
    assert_eq!(answer(&lab, &one, &code(1)).await, "hotp_ok");
    assert_eq!(answer(&lab, &two, &code(2)).await, "hotp_ok");
}

#[tokio::test]
async fn a_new_password_or_pin_voids_what_is_open() {
    let lab = lab().await;
    let text = |text: &str| Some(NewVerifier::Text(text.into()));
    let patches = [
        CredentialsPatch {
            password: text("another long one"),
            ..CredentialsPatch::default()
        },
        CredentialsPatch {
            pin: text("593817"),
            ..CredentialsPatch::default()
        },
    ];
    let mut password = PASSWORD;
    for patch in patches {
        let heard = lab.radius("vpn", "alice", password, None, None).await;
        let open = heard.challenge.expect("a challenge");
        lab.set("alice", patch).await;
        assert_eq!(answer(&lab, &open, &code(0)).await, "stale_challenge");
        assert_eq!(lab.decision("alice").await.failures, 0);
        password = "another long one";
    }
    assert_eq!(lab.last("alice"), None);
}

/// Who answers more challenges within their life than are remembered voids those that were made before,
/// and no later one.
#[tokio::test]
async fn answers_are_remembered_up_to_a_bound_and_void_older_challenges_beyond() {
    let lab = lab().await;
    let oldest = state(&lab).await;
    for counter in 0..20 {
        lab.clock.advance(Duration::from_secs(1));
        let own = state(&lab).await;
        assert_eq!(answer(&lab, &own, &code(counter)).await, "hotp_ok");
    }
    assert_eq!(answer(&lab, &oldest, &code(20)).await, "stale_challenge");
    let own = state(&lab).await;
    assert_eq!(answer(&lab, &own, &code(20)).await, "hotp_ok");
}

#[tokio::test]
async fn gear_that_carries_no_challenge_gets_the_joined_form() {
    let lab = lab().await;
    let patch = ClientPatch {
        challenge: Some(false),
        ..ClientPatch::default()
    };
    let set = lab
        .service()
        .admin
        .set_client("nas-vpn", patch, None, lab.by());
    set.await.unwrap();
    let alone = lab.radius("vpn", "alice", PASSWORD, None, None).await;
    assert_eq!(alone.decision, "reject");
    for (counter, separator) in [(0, ""), (1, ",")] {
        let typed = format!("{PASSWORD}{separator}{}", code(counter));
        let heard = lab.radius("vpn", "alice", &typed, None, None).await;
        assert_eq!(heard.decision, "accept");
    }
}

/// RFC 2865 s5.2: what is longer does not travel. The password alone does, in a first round.
#[tokio::test]
async fn a_long_password_travels_joined_or_in_rounds() {
    let joined = ROUNDS.replace("\"challenge\"", "\"either\"");
    let lab = Lab::new(&[("vpn", &joined)]).await;
    for (user, length, joined) in [
        ("fits", 122, true),
        ("long", 123, false),
        ("most", 128, false),
    ] {
        let mut random = Random(7);
        let letter =
            |_| char::from(random.pick(b"abcdefghkmnpqrstuvwxyzABCDEFGHKMNPQRSTUVWXYZ&,!"));
        let password: String = (1..length).map(letter).chain(['x']).collect();
        lab.user(user, None, Some(&password)).await;
        lab.token(user, Kind::Hotp, Digits::SIX).await;
        let typed = format!("{password}{}", code_of(user, Digits::SIX, 0));
        if joined {
            let heard = lab.radius("vpn", user, &typed, None, None).await;
            assert_eq!((typed.len(), heard.decision.as_str()), (128, "accept"));
        } else {
            let hidden = crate::support::gear::hide(&typed);
            assert_eq!(hidden, Err(BuildError::PasswordTooLong));
            let body = json!({ "user": user, "passcode": typed });
            assert_eq!(lab.http("vpn", body).await.decision, "accept");
        }
        let heard = lab.radius("vpn", user, &password, None, None).await;
        let open = heard.challenge.expect("a challenge");
        let typed = code_of(user, Digits::SIX, 1);
        let heard = lab.radius("vpn", user, &typed, Some(&open), None).await;
        assert_eq!(heard.decision, "accept", "{user}");
    }
}
