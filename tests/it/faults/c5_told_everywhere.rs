//! Whoever changes where a user is reached does not keep it from the user; and one operator does not
//! take an account over alone.

use std::time::Duration;

use oncegate::admin::{AdminError, CredentialsPatch, Grant, NewVerifier, UserPatch};
use oncegate::model::client::Scope;
use oncegate::model::kind::Kind;
use oncegate::model::token::LifeCycle;
use oncegate::secret::SecretString;
use oncegate::store::{By, WaiverKind};
use serde_json::json;

use crate::support::desk::{ALL, Desk, PHONE};
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
    let set = service.admin.set_user(&user, patch, None, desk.lab.by());
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
            "remove" => service.admin.remove_token(&serial, None, by).await.unwrap(),
            "revoke" => {
                let why = "lost".parse().unwrap();
                service
                    .admin
                    .revoke_token(&serial, why, None, by)
                    .await
                    .unwrap();
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

/// The attacker: an operator's key, and what it does to a user. Answers are exit codes.
struct Operator<'h> {
    house: &'h House,
    name: &'h str,
    key: tempfile::NamedTempFile,
}

impl<'h> Operator<'h> {
    async fn of(house: &'h House, name: &'h str) -> Self {
        let key = house.key_of(name, Scope::Operator).await;
        Self { house, name, key }
    }

    /// One command, its words parted by blanks.
    fn run(&self, line: &str) -> (i32, String) {
        let words: Vec<&str> = line.split(' ').collect();
        let input = match line {
            _ if line.ends_with("--pin-stdin") => "739154\n",
            _ if line.ends_with("--password-stdin") => "correct-horse-battery-7391\n",
            _ => "",
        };
        let (code, out, err) = self.house.run_as(self.key.path(), &words, input);
        (code, format!("{out}{err}"))
    }

    /// A bypass of four hours; by the clock of the service, which the command line does not know.
    async fn grant(&self, user: &str) -> Result<(), AdminError> {
        let (service, by) = (&self.house.test.service, self.house.test.by());
        let grant = Grant {
            reason: "telephone lost".to_owned(),
            from: by.at,
            until: by.at.plus(Duration::from_hours(4)),
        };
        let actor = format!("api:{}", self.name);
        let by = By { actor, ..by };
        let user = key(user);
        let granted = service.admin.grant(&user, WaiverKind::Bypass, grant, by);
        granted.await.map(drop)
    }

    async fn not_granted(&self, user: &str) {
        let refused = self.grant(user).await;
        assert!(
            matches!(refused, Err(AdminError::SecondPerson { .. })),
            "{refused:?}"
        );
    }

    fn done(&self, line: &str) {
        let (code, said) = self.run(line);
        assert_eq!(code, 0, "{line}: {said}");
    }

    fn refused(&self, line: &str) {
        let (code, said) = self.run(line);
        assert_eq!(code, 5, "{line}: {said}");
        assert!(said.contains("another operator"), "{line}: {said}");
        assert!(said.contains("four_eyes"), "{line}: {said}");
    }
}

fn by_admin(house: &House, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let (code, out, err) = house.run_with(&words, "");
    assert_eq!(code, 0, "{line}: {out}{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_removes_a_user_does_not_make_another_of_the_name() {
    let house = House::new().await;
    let one = Operator::of(&house, "desk-1").await;
    let two = Operator::of(&house, "desk-2").await;
    let again = "user add carl --phone +82-10-9999-9999 --password-stdin";
    one.done("user remove carl --yes");
    one.refused(again);
    one.refused("user add CARL@default");
    // Whoever is not the same makes it, and the first one has no part in setting it up.
    two.done("user add carl --phone +82-10-1234-5678");
    two.done("token add carl");
    one.done("user set carl --phone +82-10-9999-9999");
    one.refused("token add carl --active");
    // An administrator too; and the same operator when a day has passed.
    one.done("user remove alice --yes");
    by_admin(&house, "user add alice");
    one.done("user set alice --pin-stdin");
    one.refused("token add alice --active");
    one.done("user remove zoe --yes");
    house.test.clock.advance(Duration::from_hours(23));
    one.refused("user add zoe");
    house.test.clock.advance(Duration::from_hours(1));
    one.done("user add zoe --phone +82-10-9999-9999");
    one.done("token add zoe --active");
    // What an operator makes that was not there before is theirs to set up.
    one.done("user add nina --phone +82-10-1234-5678 --password-stdin");
    one.done("token add nina --active");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_and_what_one_has_are_two_persons_work() {
    let house = House::new().await;
    let one = Operator::of(&house, "desk-1").await;
    let two = Operator::of(&house, "desk-2").await;
    one.done("user set alice --pin-stdin");
    for kind in ["totp", "recovery", "server", "card"] {
        one.refused(&format!("token add alice --kind {kind}"));
    }
    one.not_granted("alice").await;
    one.refused("user exempt alice --for 30d --reason travels");
    // One that was out of use is as good as a new one.
    by_admin(&house, "token add alice --serial TOTP-1 --active");
    by_admin(&house, "token suspend TOTP-1");
    one.refused("token resume TOTP-1");
    two.done("token resume TOTP-1");
    two.refused("user set alice --password-stdin");
    // The other way round.
    one.done("token add carl --active");
    one.refused("user set carl --pin-stdin");
    one.refused("user set carl --password-stdin");
    one.grant("zoe").await.unwrap();
    one.refused("user set zoe --pin-stdin");
    two.done("user set zoe --pin-stdin");
    // Both for a telephone that was lost.
    one.done("token add zoe");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exception_that_still_holds_was_granted_lately_enough() {
    let house = House::new().await;
    let one = Operator::of(&house, "desk-1").await;
    one.done("user exempt alice --for 30d --reason travels");
    house.test.clock.advance(Duration::from_hours(24 * 9));
    one.refused("user set alice --pin-stdin");
    one.done("user exempt alice --end");
    one.done("user set alice --pin-stdin");
    one.refused("user exempt alice --for 30d --reason travels");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_new_is_set_up_by_who_made_the_record_alone() {
    let house = House::new().await;
    let one = Operator::of(&house, "desk-1").await;
    let two = Operator::of(&house, "desk-2").await;
    by_admin(&house, "user add kim --phone +82-10-1234-5678");
    one.done("user set kim --phone +82-10-9999-9999");
    one.refused("user set kim --pin-stdin");
    one.refused("token add kim --active");
    two.done("user add lee --phone +82-10-1234-5678");
    one.done("user set lee --pin-stdin");
    one.refused("token add lee --active");
    // Nor does the first day reach into the second.
    house.test.clock.advance(Duration::from_hours(23));
    two.done("user set lee --phone +82-10-9999-9999");
    house.test.clock.advance(Duration::from_hours(2));
    two.refused("token add lee --active");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_rule_and_what_it_asks_for_are_two_persons_work() {
    let house = House::new().await;
    let one = Operator::of(&house, "desk-1").await;
    // No policy has a rule for these.
    one.done("user set zoe --group staff --group printers");
    one.done("token add zoe");
    one.refused("user set zoe --group contractors");
    one.done("user set alice --group contractors");
    one.refused("token add alice --active");
    one.refused("user set alice --pin-stdin");
    // No group at all leads to another rule, too.
    one.done("user set carl --pin-stdin");
    one.refused("user set carl --group printers");
}

#[tokio::test]
async fn who_is_removed_is_told_where_they_were_reached() {
    let desk = desk(Some(PHONE)).await;
    set(&desk, contact(Some(NEW), None)).await;
    desk.token(
        "alice",
        "SMS-1",
        Kind::Sms,
        LifeCycle::Active,
        "+821077777777",
    )
    .await;
    desk.token(
        "alice",
        "SMS-2",
        Kind::Sms,
        LifeCycle::Pending,
        "+821088888888",
    )
    .await;
    let before = desk.settled().await.len();
    let (service, user) = (desk.lab.service(), key("alice"));
    service
        .admin
        .remove_user(&user, None, desk.lab.by())
        .await
        .unwrap();
    let told = desk.settled().await;
    let told = &told[before..];
    assert_eq!(addresses(told), [PHONE, "+821077777777", NEW]);
    assert!(
        told.iter().all(|(_, text)| text.contains("was removed")),
        "{told:?}"
    );
    // One who has the name afterwards is told nothing of it.
    desk.lab.user("alice", None, None).await;
    set(&desk, contact(Some("+821011112222"), None)).await;
    // Before the removal, of which alone a user who has gone is told.
    desk.settled().await;
    service
        .admin
        .remove_user(&user, None, desk.lab.by())
        .await
        .unwrap();
    let all = desk.settled().await;
    assert_eq!(addresses(&all[before + 3..]), ["+821011112222"; 2]);
}

/// The policy lets users who have no token enrol one by their password.
#[tokio::test]
async fn a_password_that_an_operator_set_enrols_no_token() {
    let house = crate::web::self_service::House::new("remote = true").await;
    let operator = house.app.key("desk-1", Scope::Operator, None).await;
    let set = async |password: &str| {
        let body = Some(json!({ "password": password }));
        let path = "/v1/admin/users/alice";
        let set = house.app.keyed("PATCH", path, Some(&operator), body).await;
        assert_eq!(set.status, 200, "{:?}", set.json());
    };
    set("correct-horse-battery-7391").await;
    let mine = json!({ "password": "correct-horse-battery-7391" });
    let (_, answer) = house.enrol("totp", mine.clone()).await;
    assert_eq!(answer["decision"], "reject", "{answer}");
    // Nor does the consent to it, by the same operator, change that.
    let body = Some(json!({ "remote_issue": true }));
    house
        .app
        .keyed("PATCH", "/v1/admin/users/alice", Some(&operator), body)
        .await;
    let (_, answer) = house.enrol("totp", mine.clone()).await;
    assert_eq!(answer["decision"], "reject", "{answer}");
    house.app.clock.advance(Duration::from_hours(24));
    let (_, answer) = house.enrol("totp", mine).await;
    assert_eq!(answer["decision"], "accept", "{answer}");
}
