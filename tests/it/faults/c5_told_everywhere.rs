//! Whoever changes where a user is reached does not keep it from the user; and one operator does not
//! take an account over alone.

use std::time::Duration;

use oncegate::model::client::Scope;
use oncegate::model::kind::Kind;
use oncegate::model::token::LifeCycle;
use oncegate::secret::SecretString;
use oncegate::service::admin::CredentialsPatch;
use oncegate::service::admin::NewVerifier;
use oncegate::service::admin::UserPatch;

use crate::support::desk::ALL;
use crate::support::desk::Desk;
use crate::support::desk::PHONE;
use crate::support::explained::House;
use crate::support::gateway::Behaviour;
use crate::support::lab::key;

const NEW: &str = "+821099999999";
const MAIL: &str = "alice@example.com";

/// A desk that tells alice, who is reached at this number.
async fn desk(phone: Option<&str>) -> Desk {
    let mut desk = Desk::new(&[("default", ALL)]).await;
    desk.lab.user("alice", None, None).await;
    if let Some(phone) = phone {
        set(&desk, contact(Some(phone), None)).await;
    }
    desk.begin().await;
    desk
}

fn contact(phone: Option<&str>, email: Option<&str>) -> UserPatch {
    UserPatch {
        phone: phone.map(|phone| Some(phone.to_owned())),
        email: email.map(|email| Some(email.to_owned())),
        ..UserPatch::default()
    }
}

fn password(text: &str) -> UserPatch {
    UserPatch {
        credentials: CredentialsPatch {
            password: Some(NewVerifier::Text(SecretString::from(text))),
            ..CredentialsPatch::default()
        },
        ..UserPatch::default()
    }
}

async fn set(desk: &Desk, patch: UserPatch) {
    let (service, user) = (desk.lab.service(), key("alice"));
    let set = service.set_user(&user, patch, None, desk.lab.by());
    set.await.unwrap();
}

/// The addresses that were told, in order of the alphabet.
fn addresses(told: &[(String, String)]) -> Vec<&str> {
    let mut all: Vec<&str> = told.iter().map(|(to, _)| to.as_str()).collect();
    all.sort_unstable();
    all
}

#[tokio::test]
async fn the_former_address_is_told_of_the_new_one() {
    let desk = desk(Some(PHONE)).await;
    set(&desk, contact(Some(NEW), None)).await;
    assert_eq!(addresses(&desk.settled().await), [PHONE, NEW]);
    // What follows as well, on every medium.
    set(&desk, contact(None, Some(MAIL))).await;
    let told = desk.settled().await;
    assert_eq!(addresses(&told[2..]), [PHONE, NEW, MAIL]);
    set(&desk, password("correct-horse-battery-1")).await;
    let told = desk.settled().await;
    assert_eq!(addresses(&told[5..]), [PHONE, NEW, MAIL]);
    // For 30 days.
    desk.lab.clock.advance(Duration::from_hours(24 * 30));
    set(&desk, password("correct-horse-battery-2")).await;
    let told = desk.settled().await;
    assert_eq!(addresses(&told[8..]), [NEW, MAIL]);
}

#[tokio::test]
async fn an_address_that_was_cleared_is_told() {
    let desk = desk(Some(PHONE)).await;
    set(
        &desk,
        UserPatch {
            phone: Some(None),
            ..UserPatch::default()
        },
    )
    .await;
    assert_eq!(addresses(&desk.settled().await), [PHONE]);
}

#[tokio::test]
async fn changing_often_makes_no_first_address_forgotten() {
    let desk = desk(Some(PHONE)).await;
    for number in 0..20 {
        let phone = format!("+8210555555{number:02}");
        set(&desk, contact(Some(&phone), None)).await;
    }
    let told = desk.settled().await;
    let first = told.iter().filter(|(to, _)| to == PHONE).count();
    assert_eq!(first, 20, "every change is told at the first address");
}

#[tokio::test]
async fn the_address_of_a_token_that_goes_is_told() {
    for how in ["remove", "revoke", "suspend"] {
        let desk = desk(None).await;
        desk.token("alice", "SMS-1", Kind::Sms, LifeCycle::Active, PHONE)
            .await;
        let (service, serial) = (desk.lab.service(), "SMS-1".parse().unwrap());
        let by = desk.lab.by();
        match how {
            "remove" => service.remove_token(&serial, None, by).await.unwrap(),
            "revoke" => {
                let why = "lost".parse().unwrap();
                service.revoke_token(&serial, why, None, by).await.unwrap();
            }
            _ => desk.set_state("SMS-1", LifeCycle::Suspended).await,
        }
        let told = desk.settled().await;
        assert_eq!(addresses(&told), [PHONE, PHONE], "{how}: made, then ended");
        // And of what is enrolled in its place.
        desk.token("alice", "SMS-2", Kind::Sms, LifeCycle::Active, NEW)
            .await;
        let told = desk.settled().await;
        assert_eq!(addresses(&told[2..]), [PHONE, NEW], "{how}");
    }
}

#[tokio::test]
async fn a_gateway_that_is_down_repeats_nothing_elsewhere() {
    let desk = desk(Some(PHONE)).await;
    set(&desk, contact(None, Some(MAIL))).await;
    assert_eq!(addresses(&desk.settled().await), [PHONE, MAIL]);
    desk.double
        .behave_next(&[Behaviour::Say(503, String::new())]);
    set(&desk, password("correct-horse-battery-1")).await;
    desk.retried(1).await;
    desk.lab.clock.advance(Duration::from_mins(5));
    desk.nudge().await;
    let told = desk.settled().await;
    let told = &told[2..];
    // The first was refused and asked again; the other came once.
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told.iter().filter(|(to, _)| to == MAIL).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_needs_a_second_person() {
    let house = House::new().await;
    let one = house.key_of("desk-1", Scope::Operator).await;
    let two = house.key_of("desk-2", Scope::Operator).await;
    house.test.clock.advance(Duration::from_hours(25));
    let phone = ["user", "set", "alice", "--phone", "+82-10-9999-9999"];
    let secret = ["user", "set", "alice", "--password-stdin"];
    let new = "correct-horse-battery-7391\n";
    let refused = |(code, out, err): (i32, String, String)| {
        assert_eq!(code, 5, "{out}{err}");
        assert!(err.contains("api:desk-1"), "{err}");
        assert!(err.contains("2026-01-02T01:00:00"), "{err}");
        assert!(
            err.contains("an administrator or another operator"),
            "{err}"
        );
    };
    let done = |(code, out, err): (i32, String, String)| assert_eq!(code, 0, "{out}{err}");
    done(house.run_as(one.path(), &phone, ""));
    refused(house.run_as(one.path(), &secret, new));
    refused(house.run_as(
        one.path(),
        &["user", "set", "alice", "--pin-stdin"],
        "739154\n",
    ));
    refused(house.run_as(one.path(), &["token", "add", "alice"], ""));
    // What else an operator does goes on.
    done(house.run_as(
        one.path(),
        &["user", "set", "alice", "--email", "a@example.com"],
        "",
    ));
    done(house.run_as(one.path(), &["user", "unlock", "alice"], ""));
    // Another person, or an administrator, or the same a day later.
    done(house.run_as(two.path(), &["token", "add", "alice"], ""));
    done(house.run_with(&["user", "set", "alice", "--phone", "+82-10-1234-5678"], ""));
    done(house.run_with(&secret, new));
    refused(house.run_as(one.path(), &["token", "add", "alice"], ""));
    house.test.clock.advance(Duration::from_hours(24));
    done(house.run_as(one.path(), &["token", "add", "alice"], ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_whatever_order_and_at_once() {
    let house = House::new().await;
    let one = house.key_of("desk-1", Scope::Operator).await;
    house.test.clock.advance(Duration::from_hours(25));
    let run = |words: &[&str], input: &str| house.run_as(one.path(), words, input).0;
    // Both in one command: nothing of it is done.
    let both = [
        "user",
        "set",
        "alice",
        "--phone",
        "+82-10-9999-9999",
        "--pin-stdin",
    ];
    assert_eq!(run(&both, "739154\n"), 5);
    let shown = house.json(&["user", "show", "alice"]);
    assert!(shown["phone"].is_null(), "{shown}");
    // First the secret.
    assert_eq!(run(&["user", "set", "carl", "--pin-stdin"], "739154\n"), 0);
    assert_eq!(
        run(&["user", "set", "carl", "--email", "x@example.com"], ""),
        5
    );
    // A token that sends elsewhere is a new address.
    let sms = [
        "token",
        "add",
        "zoe",
        "--kind",
        "sms",
        "--address",
        "+82-10-9999-9999",
    ];
    assert_eq!(run(&sms, ""), 0);
    assert_eq!(run(&["user", "set", "zoe", "--pin-stdin"], "739154\n"), 5);
    assert_eq!(run(&["token", "add", "zoe"], ""), 5);
    // Who is being set up has nothing to be taken over.
    assert_eq!(
        run(&["user", "add", "nina", "--phone", "+82-10-1234-5678"], ""),
        0
    );
    assert_eq!(
        run(&["user", "set", "nina", "--phone", "+82-10-1234-5679"], ""),
        0
    );
    assert_eq!(run(&["user", "set", "nina", "--pin-stdin"], "739154\n"), 0);
    assert_eq!(run(&["token", "add", "nina"], ""), 0);
}
