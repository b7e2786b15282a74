//! Advice helps: every reason's next steps are commands that exist and that fit the state in which
//! they are given.

use std::time::Duration;

use oncegate::admin::{CredentialsPatch, NewVerifier, UserPatch};
use oncegate::model::enrolment::RevokeReason;
use oncegate::model::reason::{Decision, Reason};
use oncegate::model::token::{LifeCycle, Token};
use oncegate::secret::SecretString;
use serde_json::Value;

use crate::support::explained::{AWAY, Ask, House, PIN, key};

/// The next steps of an explanation: texts, and commands without the program's name.
fn steps(house: &House, words: &[&str]) -> Vec<(String, Vec<String>)> {
    let json = house.json(words);
    let next = match &json["records"][0]["next"] {
        Value::Null => &json["next"],
        next => next,
    };
    let step = |step: &Value| {
        let words = step["command"].as_array().map_or(&[][..], Vec::as_slice);
        let words = words
            .iter()
            .skip(1)
            .map(|word| word.as_str().unwrap().to_owned());
        (step["text"].as_str().unwrap().to_owned(), words.collect())
    };
    next.as_array().unwrap().iter().map(step).collect()
}

/// Runs every command that is advised: none may be unknown, about something that is not there, or
/// about something in another state.
fn carry_out(house: &House, steps: &[(String, Vec<String>)]) {
    for (text, command) in steps.iter().filter(|(_, command)| !command.is_empty()) {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let input = match words.as_slice() {
            ["token", "resync", ..] => "111111\n222222\n",
            ["token", "confirm", ..] => "111111\n",
            _ => "correct-horse-battery-7391546\n",
        };
        let mut words = words;
        if matches!(words.as_slice(), ["token", "resync" | "confirm", _]) {
            words.push("--otp-stdin");
        }
        let (code, out, err) = house.run_with(&words, input);
        let weak = err.contains("digits") || err.contains("PIN");
        assert!(code <= 1 || weak, "{text}: {words:?}: {code} {out}{err}");
    }
}

fn commands(steps: &[(String, Vec<String>)]) -> Vec<String> {
    let commands = steps.iter().map(|(_, command)| command.join(" "));
    commands.filter(|command| !command.is_empty()).collect()
}

/// Asks from away at the client that cannot be asked for more.
async fn old(house: &House, user: &str, typed: &str) -> (String, Reason) {
    let ask = Ask {
        user,
        client: "old",
        typed,
        from: Some(AWAY),
        ..Ask::default()
    };
    let (id, decided) = house.ask(ask).await;
    (id, decided.reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reason_names_commands_that_exist() {
    let house = House::new().await;
    let reasons = house.json(&["explain", "--reasons"]);
    let reasons = reasons["reasons"].as_array().unwrap();
    assert_eq!(reasons.len(), Reason::ALL.len(), "the closed list");
    let tokens = house.json(&["token", "list", "--user", "alice"]);
    let serial = tokens["tokens"][0]["serial"].as_str().unwrap().to_owned();
    for reason in reasons {
        let advice = reason["advice"].as_str().unwrap();
        for command in advice.split('`').skip(1).step_by(2) {
            let Some(command) = command.strip_prefix("oncegate ") else {
                continue;
            };
            let command = command
                .replace("USER", "alice")
                .replace("SERIAL", &serial)
                .replace("KIND", "totp");
            let mut words: Vec<&str> = command.split(' ').collect();
            words.push("--help");
            let (code, out, err) = house.run(&words);
            assert_eq!(code, 0, "{advice}: {out}{err}");
            words.pop();
            assert!(
                words.len() == 2 || words.len() > 2 && words[2] != "--help",
                "{words:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_code_beside_a_right_password_is_a_wrong_code() {
    let house = House::new().await;
    // Where one box may also be the PIN alone, as where it may not.
    let stale = house.test.code("alice", -40);
    for typed in [format!("{PIN}{stale}"), format!("{PIN},{stale}")] {
        let (id, reason) = house.vpn("alice", &typed).await;
        assert_eq!(reason, Reason::WrongCode, "{typed}");
        let next = steps(&house, &["explain", &id]);
        let all = commands(&next);
        assert!(
            all.iter().all(|one| !one.contains("--pin-stdin")),
            "{all:?}"
        );
        assert!(all.iter().any(|one| one.starts_with("token resync TOTP-")));
        carry_out(&house, &next);
        house.test.clock.advance(Duration::from_secs(15));
    }
    let (_, reason) = house.vpn("alice", &format!("111111,{stale}")).await;
    assert_eq!(
        reason,
        Reason::WrongPin,
        "both are wrong: the first one is named"
    );
    let (_, reason) = house.vpn("alice", PIN).await;
    let blocked = matches!(reason, Reason::Locked | Reason::SourceBlocked);
    assert!(blocked, "all of them were counted: {reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_secret_comes_after_a_slip() {
    let house = House::new().await;
    let code = house.test.code("alice", 0);
    let (id, reason) = old(&house, "alice", &format!("111111,{code}")).await;
    assert_eq!(reason, Reason::WrongPin);
    let next = steps(&house, &["explain", &id]);
    assert!(
        next[0].1.is_empty() && next[0].0.contains("slip"),
        "{next:?}"
    );
    assert!(next[1].0.contains("forgotten"), "{next:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_added_twice() {
    let house = House::new().await;
    let (id, reason) = house.vpn("alice@other", "123456").await;
    assert_eq!(reason, Reason::UnknownUser);
    let next = steps(&house, &["explain", &id]);
    assert_eq!(commands(&next), ["user show alice@default"]);
    carry_out(&house, &next);
    // The same where a command is about the name.
    for words in [
        &["user", "show", "alice@other"][..],
        &["user", "unlock", "OTHER\\alice"],
        &["token", "add", "alice@other"],
        &["token", "list", "--user", "alice@other"],
        &["user", "set", "alice@other", "--group", "x"],
    ] {
        let (code, _, err) = house.run(words);
        assert_eq!(code, 4, "{err}");
        assert!(err.contains("oncegate user show alice@default"), "{err}");
        assert!(!err.contains("user add"), "{err}");
    }
    // Names that are in no realm are still added.
    let (id, _) = house.vpn("mallory@other", "123456").await;
    let next = steps(&house, &["explain", &id]);
    assert!(commands(&next).contains(&"user add mallory@other".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_in_every_state() {
    let house = House::new().await;
    let tokens = house.json(&["token", "list", "--user", "alice"]);
    let serial = tokens["tokens"][0]["serial"].as_str().unwrap().to_owned();
    let set = async |state: LifeCycle| -> Token {
        let (serial, by) = (serial.parse().unwrap(), house.test.by());
        let admin = &house.test.service.admin;
        match state {
            LifeCycle::Suspended => admin.suspend_token(&serial, None, by).await.unwrap(),
            _ => {
                let why = RevokeReason::Other;
                admin.revoke_token(&serial, why, None, by).await.unwrap()
            }
        }
    };
    let advice = |words: &[&str]| {
        let input = match words {
            ["token", "resync", ..] => "111111\n222222\n",
            _ => "111111\n",
        };
        let (code, _, err) = house.run_with(&[words, &[&serial]].concat(), input);
        assert_eq!(code, 5, "{words:?}: {err}");
        err
    };
    let err = advice(&["token", "confirm", "--otp-stdin"]);
    assert!(
        err.contains(&format!("oncegate token show {serial}")),
        "{err}"
    );
    assert!(!err.contains("revoke") && !err.contains("suspend"), "{err}");
    assert!(!advice(&["token", "resume"]).contains("revoke"));
    assert!(!advice(&["token", "renew"]).contains("revoke"));
    set(LifeCycle::Suspended).await;
    let err = advice(&["token", "confirm", "--otp-stdin"]);
    assert!(
        err.contains(&format!("oncegate token resume {serial}")),
        "{err}"
    );
    assert!(!err.contains("revoke"), "{err}");
    // After a repair it is resynchronised before it is resumed.
    let words = ["token", "resync", "--otp-stdin", &serial];
    let (code, _, err) = house.run_with(&words, "111111\n222222\n");
    assert_eq!(code, 1, "{err}");
    assert!(advice(&["token", "suspend"]).contains("oncegate token revoke"));
    let (id, reason) = old(&house, "alice", &house.joined("alice")).await;
    assert_eq!(reason, Reason::NotActive);
    let next = steps(&house, &["explain", &id]);
    assert_eq!(commands(&next), [format!("token resume {serial}")]);
    carry_out(&house, &next);
    let next = steps(&house, &["explain", &id]);
    assert_eq!(commands(&next), [""; 0], "it is in use by now: {next:?}");
    set(LifeCycle::Revoked).await;
    let (id, reason) = old(&house, "alice", &house.joined("alice")).await;
    assert_eq!(reason, Reason::NotActive);
    let next = steps(&house, &["explain", &id]);
    assert_eq!(commands(&next), ["token add alice@default --kind totp"]);
    carry_out(&house, &next);
    let next = steps(&house, &["explain", &id]);
    assert!(
        commands(&next)[0].starts_with("token confirm TOTP-"),
        "{next:?}"
    );
    carry_out(&house, &next);
    assert!(advice(&["token", "resume"]).contains("oncegate token add alice@default --kind totp"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_says_nothing_about_the_token() {
    let house = House::new().await;
    let tokens = house.json(&["token", "list", "--user", "carl"]);
    let serial = tokens["tokens"][0]["serial"].as_str().unwrap().to_owned();
    let resync = || {
        house.run_with(
            &["token", "resync", &serial, "--otp-stdin"],
            "111111\n222222\n",
        )
    };
    for _ in 0..4 {
        assert_eq!(resync().0, 1);
    }
    let (code, _, err) = resync();
    assert_eq!(code, 1);
    assert!(err.contains("throttled") && err.contains("wait"), "{err}");
    assert!(!err.contains("remove"), "{err}");
    let list = house.json(&["audit", "list", "--user", "carl", "--limit", "1"]);
    let id = list["records"][0]["request_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let next = steps(&house, &["explain", &id]);
    assert!(next[0].0.contains("wait"), "{next:?}");
    // Locked: nothing helps before the lock has ended.
    house.test.clock.advance(Duration::from_secs(30));
    for _ in 0..6 {
        assert_eq!(resync().0, 1);
        house.test.clock.advance(Duration::from_secs(15));
    }
    let (_, _, err) = resync();
    assert!(err.contains("oncegate user unlock carl@default"), "{err}");
    assert!(!err.contains("remove"), "{err}");
    // A wrong code of a login that has locked the user meanwhile.
    let list = house.json(&["audit", "list", "--user", "carl", "--limit", "20"]);
    let records = list["records"].as_array().unwrap();
    let wrong = records
        .iter()
        .find(|record| record["reason"] == "wrong_code");
    let id = wrong.unwrap()["request_id"].as_str().unwrap().to_owned();
    let next = steps(&house, &["explain", &id]);
    assert!(commands(&next)[0].starts_with("token resync"), "{next:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_mended_since_is_said_to_be() {
    let house = House::new().await;
    let disabled = |disabled| UserPatch {
        disabled: Some(disabled),
        ..UserPatch::default()
    };
    let set = async |user: &str, patch| {
        let (service, user) = (&house.test.service, key(user));
        let set = service.admin.set_user(&user, patch, None, house.test.by());
        set.await.unwrap();
    };
    set("alice", disabled(true)).await;
    let (id, reason) = house.vpn("alice", "123456").await;
    assert_eq!(reason, Reason::UserDisabled);
    let next = steps(&house, &["explain", &id]);
    assert_eq!(commands(&next), ["user enable alice@default"]);
    carry_out(&house, &next);
    assert_eq!(commands(&steps(&house, &["explain", &id])), [""; 0]);
    let pin = |pin| UserPatch {
        credentials: CredentialsPatch {
            pin: Some(pin),
            ..CredentialsPatch::default()
        },
        ..UserPatch::default()
    };
    set("carl", pin(NewVerifier::Remove)).await;
    let (id, reason) = house.vpn("carl", "123456").await;
    assert_eq!(reason, Reason::NoPin);
    let next = steps(&house, &["explain", &id]);
    assert_eq!(commands(&next), ["user set carl@default --pin-stdin"]);
    set("carl", pin(NewVerifier::Text(SecretString::from("739154")))).await;
    assert_eq!(commands(&steps(&house, &["explain", &id])), [""; 0]);
    // zoe has no token at all.
    let (id, reason) = old(&house, "zoe", "123456").await;
    assert_eq!(reason, Reason::NoToken);
    let next = steps(&house, &["explain", &id]);
    assert_eq!(commands(&next), ["token add zoe@default --kind totp"]);
    carry_out(&house, &next);
    house.test.clock.advance(Duration::from_mins(31));
    house.bypass("carl").await;
    let (id, reason) = house.vpn("carl", "739154").await;
    assert_eq!(reason, Reason::BypassOk);
    let next = steps(&house, &["explain", &id]);
    assert_eq!(commands(&next), ["user bypass carl@default --end"]);
    carry_out(&house, &next);
    assert_eq!(commands(&steps(&house, &["explain", &id])), [""; 0]);
    let (code, _, err) = house.run(&["user", "remove", "carl", "--yes"]);
    assert_eq!(code, 0, "{err}");
    let next = steps(&house, &["explain", &id]);
    assert_eq!(commands(&next), [""; 0]);
    assert!(next[0].0.contains("no such user"), "{next:?}");
}

/// What each refusal without more to it advises, from a login that nobody has tried.
#[tokio::test(flavor = "multi_thread")]
async fn what_if_advises_what_fits() {
    let house = House::new().await;
    for (user, client, wanted) in [
        ("alice", "vpn", &[][..]),
        ("zoe", "vpn", &["token add zoe@default --kind totp"]),
        ("nobody", "vpn", &["user list", "user add nobody@default"]),
        ("carl@x", "vpn", &["user show carl@default"]),
    ] {
        let words = [
            "explain", "--user", user, "--client", client, "--from", AWAY,
        ];
        let next = steps(&house, &words);
        assert_eq!(commands(&next), wanted, "{user}");
        carry_out(&house, &next);
    }
    let accepts = Reason::ALL
        .iter()
        .filter(|one| one.decision() == Decision::Accept);
    assert!(accepts.count() > 10);
}
