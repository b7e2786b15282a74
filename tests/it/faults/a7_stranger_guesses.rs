//! What strangers guess is counted whatever the victim does: by logins of their own nobody gets
//! fresh guesses.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use oncegate::model::audit::Event;
use oncegate::model::client::Scope;
use oncegate::model::kind::Kind;
use oncegate::otp::Digits;
use oncegate::radius::attribute::Type;
use oncegate::secret::SecretString;
use oncegate::store::Change;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::app::TestApp;
use crate::support::lab::{Lab, code_of, key};
use crate::support::{app, codes};

const OTP: &str = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n";
const HOME: [u8; 4] = [192, 0, 2, 1];
const DAY: Duration = Duration::from_hours(24);

/// A user with a token, and the counter of the next right code.
struct Victim {
    lab: Lab,
    name: &'static str,
    next: u64,
    asked: u64,
}

impl Victim {
    async fn new(policy: &str) -> Self {
        let lab = Lab::new(&[("vpn", policy)]).await;
        lab.user("alice", None, None).await;
        lab.token("alice", Kind::Hotp, Digits::SIX).await;
        Self {
            lab,
            name: "alice",
            next: 0,
            asked: 0,
        }
    }

    /// Asks by one front end after the other; the audit's word.
    async fn ask(&mut self, otp: &str, from: Option<IpAddr>) -> &'static str {
        self.asked += 1;
        if self.asked.is_multiple_of(2) {
            self.lab.radius("vpn", self.name, otp, None, from).await;
        } else {
            let body = json!({ "user": self.name, "otp": otp, "client_ip": from });
            self.lab.http("vpn", body).await;
        }
        self.lab.reason(self.name).await
    }

    async fn login(&mut self, from: Option<IpAddr>) -> &'static str {
        let code = code_of("alice", Digits::SIX, self.next);
        let word = self.ask(&code, from).await;
        self.next += u64::from(word == "hotp_ok");
        word
    }

    /// Asks over RADIUS with this Calling-Station-Id.
    async fn ask_at_station(&self, otp: &str, station: &str) {
        let asked = self.lab.send("vpn", |builder, keys| {
            builder.attribute(Type::UserName, b"alice").unwrap();
            builder.user_password(otp.as_bytes(), keys).unwrap();
            let station = station.as_bytes();
            builder.attribute(Type::CallingStationId, station).unwrap();
        });
        asked.await;
    }

    /// Guesses from there, one each `pause`, with a login after so many; how many were evaluated.
    async fn beside_logins(
        &mut self,
        from: Option<IpAddr>,
        pause: Duration,
        (guesses, login_after): (u32, u32),
    ) -> u32 {
        let mut evaluated = 0;
        for number in 0..guesses {
            evaluated += u32::from(self.ask("000000", from).await == "wrong_code");
            self.lab.clock.advance(pause);
            if number % login_after == 0 {
                self.login(from).await;
            }
        }
        evaluated
    }

    /// A guess from another address each time; whether it was evaluated.
    async fn guess(&mut self, number: u32) -> bool {
        let [_, a, b, c] = number.to_be_bytes();
        let from = IpAddr::from([203, a, b, c]);
        let otp = code_of("alice", Digits::SIX, self.next + 1000);
        self.ask(&otp, Some(from)).await == "wrong_code"
    }
}

/// The sighting: 200 guesses between daily logins.
#[tokio::test]
async fn logins_in_between_hand_out_no_guesses() {
    let mut victim = Victim::new(OTP).await;
    let mut evaluated = 0;
    for number in 0..400 {
        if number % 8 == 0 {
            let word = victim.login(Some(HOME.into())).await;
            assert_eq!(word, "hotp_ok", "{number}");
        }
        evaluated += u32::from(victim.guess(number).await);
        victim.lab.clock.advance(Duration::from_mins(31));
        if number == 200 {
            victim.lab.restart().await;
        }
    }
    assert_eq!(evaluated, 90);
    // Nor does time that is not long, and a lock for good is not slept off at all.
    victim.lab.clock.advance(DAY * 700);
    assert!(!victim.guess(1000).await);
    assert_eq!(victim.login(Some(HOME.into())).await, "hotp_ok");
    let by = victim.lab.by();
    victim
        .lab
        .service()
        .admin
        .unlock_user(&key("alice"), by)
        .await
        .unwrap();
    assert!(victim.guess(1001).await);
}

/// The same token under two names: its own counter is not forgiven by its owner's logins either.
#[tokio::test]
async fn a_token_of_two_users_is_not_guessed_twice_as_often() {
    let mut victim = Victim::new(OTP).await;
    victim.lab.user("bob", None, None).await;
    let store = victim.lab.service().core.store();
    let view = store.view(&key("alice")).unwrap().unwrap();
    let change = Change::LinkToken(view.tokens[0].0.serial.clone(), key("bob"));
    store.change(change, victim.lab.by()).await.unwrap();
    assert_eq!(victim.login(Some(HOME.into())).await, "hotp_ok");
    let mut evaluated = 0;
    for number in 0..400 {
        victim.name = if number % 2 == 0 { "alice" } else { "bob" };
        evaluated += u32::from(victim.guess(number).await);
        victim.lab.clock.advance(Duration::from_mins(31));
        if number % 10 == 0 {
            victim.name = "alice";
            assert_eq!(victim.login(Some(HOME.into())).await, "hotp_ok");
        }
    }
    assert_eq!(evaluated, 100);
}

/// A NAS or application that does not say from where people ask: typing errors before a login are
/// forgiven, two a day for more than a year; guesses add up, although the victim logs in in between.
#[tokio::test]
async fn where_no_address_is_told_typing_errors_do_not_add_up_and_guesses_do() {
    let mut victim = Victim::new(OTP).await;
    for _ in 0..400 {
        for _ in 0..2 {
            assert_eq!(victim.ask("000000", None).await, "wrong_code");
        }
        assert_eq!(victim.login(None).await, "hotp_ok");
        victim.lab.clock.advance(DAY);
    }
    let mut victim = Victim::new(OTP).await;
    assert_eq!(
        victim
            .beside_logins(None, Duration::from_mins(31), (600, 4))
            .await,
        100
    );
    assert_eq!(
        victim.login(None).await,
        "locked",
        "an administrator unlocks"
    );
}

/// The sighting: nobody is told apart behind the address that both have. The year bounds them.
#[tokio::test]
async fn guesses_from_the_victims_own_address_are_bounded_within_a_year() {
    let small = OTP.to_owned()
        + "[lockout]\nfree = 3\nlock_after = 4\nhard_lock_after = 12\nyear_lock_after = 120\n";
    let mut victim = Victim::new(&small).await;
    let home = Some(HOME.into());
    assert_eq!(victim.login(home).await, "hotp_ok");
    let evaluated = victim.beside_logins(home, Duration::from_mins(31), (400, 4));
    assert_eq!(evaluated.await, 120);
    let records = victim
        .lab
        .service()
        .core
        .store()
        .audit_after(0, 10_000)
        .await;
    let records = records.unwrap();
    let locked = records.iter().filter(|record| {
        matches!(&record.event, Event::Decision(one)
            if one.locked && one.note.as_deref().is_some_and(|note| note.contains("within a year")))
    });
    // All other places, and then the known one.
    assert_eq!(locked.count(), 2);
    victim.lab.restart().await;
    victim.lab.clock.advance(DAY * 900);
    assert_eq!(victim.login(home).await, "locked", "not slept off");
    let (user, by) = (key("alice"), victim.lab.by());
    let unlocked = victim.lab.service().admin.unlock_user(&user, by);
    unlocked.await.unwrap();
    assert_eq!(victim.login(home).await, "hotp_ok");
}

/// Who knows when the victim logs in and guesses just before: where no address is told, and the victim
/// has a known one, which keeps its part.
#[tokio::test]
async fn guesses_just_before_logins_are_bounded_within_a_year() {
    let small = OTP.to_owned()
        + "[lockout]\nfree = 3\nlock_after = 4\nhard_lock_after = 12\nyear_lock_after = 120\n";
    let mut victim = Victim::new(&small).await;
    assert_eq!(victim.login(Some(HOME.into())).await, "hotp_ok");
    let evaluated = victim.beside_logins(None, Duration::from_mins(5), (400, 2));
    assert_eq!(evaluated.await, 108);
    assert_eq!(victim.login(None).await, "locked");
    assert_eq!(victim.login(Some(HOME.into())).await, "hotp_ok");
}

/// What is no address is no place that is known: a telephone number, a MAC address, a host's name.
#[tokio::test]
async fn a_calling_station_that_is_no_address_is_never_known() {
    let mut victim = Victim::new(OTP).await;
    let stations = ["02-00-5E-10-00-01", "+82 10 1234 5678", "laptop.example"];
    let mut evaluated = 0;
    for number in 0..400 {
        let station = stations[number % stations.len()];
        if number % 4 == 0 {
            let code = code_of("alice", Digits::SIX, victim.next);
            victim.ask_at_station(&code, station).await;
            victim.next += u64::from(victim.lab.reason("alice").await == "hotp_ok");
        }
        victim.ask_at_station("000000", station).await;
        evaluated += u32::from(victim.lab.reason("alice").await == "wrong_code");
        victim.lab.clock.advance(Duration::from_mins(31));
    }
    assert_eq!(evaluated, 100);
    let view = victim.lab.service().core.store().view(&key("alice"));
    assert!(view.unwrap().unwrap().state.known.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_at_once_with_logins_in_between_stay_within_the_limit() {
    let policy = OTP.to_owned() + "[lockout]\nfree = 10\nlock_after = 10\nhard_lock_after = 30\n";
    let mut victim = Victim::new(&policy).await;
    assert_eq!(victim.login(Some(HOME.into())).await, "hotp_ok");
    let lab = Arc::new(victim.lab);
    let before = lab.service().core.store().health().seq;
    for round in 0..6_u8 {
        let mut tasks = JoinSet::new();
        for number in 0..30_u8 {
            let (lab, home) = (Arc::clone(&lab), number % 10 == 9);
            let code = code_of("alice", Digits::SIX, if home { victim.next } else { 1000 });
            victim.next += u64::from(home);
            tasks.spawn(async move {
                let from = if home { HOME } else { [203, 0, round, number] };
                let body = json!({ "user": "alice", "otp": code, "client_ip": IpAddr::from(from) });
                lab.http("vpn", body).await;
            });
        }
        tasks.join_all().await;
        lab.clock.advance(Duration::from_mins(31));
    }
    let records = lab
        .service()
        .core
        .store()
        .audit_after(before, 1000)
        .await
        .unwrap();
    let wrong = records.iter().filter(|record| {
        matches!(&record.event, Event::Decision(one)
            if one.reason.as_str() == "wrong_code" && one.source != Some(HOME.into()))
    });
    assert_eq!(wrong.count(), 20);
}

const SMALL: &str =
    "[lockout]\nfree = 3\nlock_after = 4\nhard_lock_after = 12\nsource_lock_after = 0\n";

/// What an operator's key can do about alice, who has the token of [`app::KEY`].
struct Insider {
    app: TestApp,
    web: SecretString,
    desk: SecretString,
    serial: String,
}

impl Insider {
    async fn new(limits: &str) -> Self {
        let app = TestApp::with(&(OTP.to_owned() + limits), false);
        let web = app.key("web", Scope::Verify, None).await;
        let desk = app.key("desk", Scope::Operator, None).await;
        let serial = app.user_with("alice", Kind::Hotp, true).await.to_string();
        Self {
            app,
            web,
            desk,
            serial,
        }
    }

    async fn act(&self, method: &str, path: &str, body: Option<Value>) -> app::Answer {
        let path = format!("/v1/admin/{path}");
        self.app.keyed(method, &path, Some(&self.desk), body).await
    }

    async fn unlock(&self) -> app::Answer {
        self.act("POST", "users/alice/unlock", None).await
    }

    /// Two codes that are far from the token's.
    async fn resync(&self) -> u16 {
        let (first, second) = (codes::hotp(5000), codes::hotp(5001));
        let body = json!({ "first": first, "second": second });
        let path = format!("tokens/{}/resync", self.serial);
        let answer = self.act("POST", &path, Some(body)).await;
        answer.status.as_u16()
    }

    async fn login(&self, otp: &str) -> Value {
        let answer = self.app.verify(&self.web, "alice", otp).await;
        answer.json()["decision"].clone()
    }

    /// How many wrong codes were compared with what was right.
    async fn evaluated(&self) -> usize {
        let store = self.app.service.core.store();
        let records = store.audit_after(0, 10_000).await.unwrap();
        let wrong = records.iter().filter(|record| {
            matches!(&record.event, Event::Decision(one) if one.reason.as_str() == "wrong_code")
        });
        wrong.count()
    }

    /// What ended the lock of an operator does not end is ended by an administrator.
    async fn is_an_administrators(&self, counter: u64) {
        let refused = self.unlock().await;
        assert_eq!(refused.problem(), (409, "conflict".to_owned()));
        let said = refused.json().to_string();
        assert!(said.contains("an administrator"), "{said}");
        assert_eq!(self.login(&codes::hotp(counter)).await, "reject");
        let path = "/v1/admin/users/alice/unlock";
        let unlocked = self.app.admin("POST", path, None).await;
        assert_eq!(unlocked.status, 200);
        assert_eq!(unlocked.json()["lock"]["state"], "open");
        assert_eq!(self.login(&codes::hotp(counter)).await, "accept");
    }
}

/// An operator's unlocking ends a wait, and gives nobody fresh guesses.
#[tokio::test]
async fn an_operator_who_unlocks_hands_out_no_guesses() {
    let insider = Insider::new(SMALL).await;
    for _ in 0..40 {
        for _ in 0..3 {
            assert_eq!(insider.login("000000").await, "reject");
        }
        insider.unlock().await;
    }
    assert_eq!(insider.evaluated().await, 12);
    insider.is_an_administrators(0).await;
}

/// What the help desk does all day: a person mistyped, waits, and is let try again at once.
#[tokio::test]
async fn an_operator_ends_a_wait() {
    let insider = Insider::new(SMALL).await;
    for _ in 0..4 {
        assert_eq!(insider.login("000000").await, "reject");
    }
    assert_eq!(insider.login(&codes::hotp(0)).await, "reject", "locked");
    let unlocked = insider.unlock().await;
    assert_eq!(unlocked.status, 200);
    let lock = &unlocked.json()["lock"];
    assert_eq!(
        (&lock["state"], &lock["failures"]),
        (&json!("open"), &json!(4))
    );
    assert_eq!(insider.login(&codes::hotp(0)).await, "accept");
    assert_eq!(insider.unlock().await.status, 200, "nothing is to be ended");
}

/// Codes that an operator presents are guesses like any other, under the limits of the policy.
#[tokio::test]
async fn resyncs_and_first_codes_are_counted_like_logins() {
    let insider = Insider::new(SMALL).await;
    for number in 0..30 {
        insider.resync().await;
        insider.login("000000").await;
        // A token of the operator's own, whose right code forgives nothing.
        let serial = format!("OWN-{number}");
        let secret = codes::secret_of(&serial);
        let body = json!({ "user": "alice", "kind": "hotp", "serial": serial, "secret": secret });
        assert_eq!(insider.act("POST", "tokens", Some(body)).await.status, 201);
        let confirm = format!("tokens/{serial}/confirm");
        let body = json!({ "otp": "000000" });
        insider.act("POST", &confirm, Some(body)).await;
        let body = json!({ "otp": codes::hotp_of(&serial, 0) });
        insider.act("POST", &confirm, Some(body)).await;
        let gone = insider
            .act("DELETE", &format!("tokens/{serial}"), None)
            .await;
        assert_eq!(gone.status, 204);
        insider.unlock().await;
    }
    assert_eq!(insider.evaluated().await, 12);
    insider.is_an_administrators(0).await;
}

/// Wrong answers of a year are an administrator's to forget, too.
#[tokio::test]
async fn an_operator_does_not_end_the_lock_of_a_year() {
    let limits = SMALL.to_owned() + "year_lock_after = 40\n";
    let insider = Insider::new(&limits).await;
    let mut next = 0;
    for _ in 0..40 {
        for _ in 0..2 {
            insider.login("000000").await;
        }
        next += u64::from(insider.login(&codes::hotp(next)).await == "accept");
        insider.unlock().await;
    }
    assert_eq!(insider.evaluated().await, 40);
    insider.is_an_administrators(next).await;
}

/// Nothing else that an operator may do to a user forgets the failures.
#[tokio::test]
async fn no_other_act_of_an_operator_forgets_failures() {
    let insider = Insider::new(SMALL).await;
    let body = |from: &str| json!({ "reason": from, "for": "1h" });
    for number in 0..11 {
        assert_eq!(insider.login("000000").await, "reject");
        let tokens = format!("tokens/{}", insider.serial);
        for (method, path, body) in [
            ("PATCH", "users/alice", Some(json!({ "disabled": true }))),
            ("PATCH", "users/alice", Some(json!({ "disabled": false }))),
            (
                "PATCH",
                "users/alice",
                Some(json!({ "groups": [format!("g{number}")] })),
            ),
            ("PUT", "users/alice/exemption", Some(body("abroad"))),
            ("DELETE", "users/alice/exemption", None),
            (
                "POST",
                format!("{tokens}/suspend").as_str(),
                Some(json!({})),
            ),
            ("POST", format!("{tokens}/resume").as_str(), Some(json!({}))),
        ] {
            insider.act(method, path, body).await;
        }
        insider.app.clock.advance(Duration::from_mins(31));
    }
    assert_eq!(insider.evaluated().await, 11);
    let token = format!("tokens/{}", insider.serial);
    assert_eq!(insider.act("DELETE", &token, None).await.status, 204);
    let secret = codes::RFC_SECRET;
    let body = json!({ "user": "alice", "kind": "hotp", "secret": secret, "active": true });
    assert_eq!(insider.act("POST", "tokens", Some(body)).await.status, 201);
    for _ in 0..3 {
        assert_eq!(insider.login("000000").await, "reject");
    }
    assert_eq!(insider.evaluated().await, 12);
    insider.is_an_administrators(0).await;
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Login(u8),
    Mistype(u8),
    Guess(u32),
    Wait(u64),
    Restart,
    Unlock,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u8..6).prop_map(Step::Login),
        1 => (0_u8..6).prop_map(Step::Mistype),
        12 => (0_u32..9).prop_map(Step::Guess),
        4 => (1_u64..90).prop_map(|minutes| Step::Wait(minutes * 60)),
        1 => (1_u64..90).prop_map(|days| Step::Wait(days * 86_400)),
        1 => Just(Step::Restart),
        1 => Just(Step::Unlock),
    ]
}

async fn follow(steps: &[Step]) -> Result<(), TestCaseError> {
    let policy = OTP.to_owned()
        + "[lockout]\nfree = 1\nlock_after = 4\nlock_for = \"60s\"\nhard_lock_after = 12\n\
           source_lock_after = 0\n";
    let mut victim = Victim::new(&policy).await;
    let home = |place: u8| (place > 0).then_some(IpAddr::from([192, 0, 2, place]));
    let (mut evaluated, mut last) = (0, victim.lab.service().core.now());
    for step in steps {
        let now = victim.lab.service().core.now();
        match *step {
            Step::Login(place) => drop(victim.login(home(place)).await),
            Step::Mistype(place) => drop(victim.ask("000000", home(place)).await),
            Step::Guess(from) => {
                if victim.guess(from).await {
                    if now.since(last) >= DAY * 365 {
                        evaluated = 0;
                    }
                    evaluated += 1;
                    last = now;
                }
            }
            Step::Wait(secs) => victim.lab.clock.advance(Duration::from_secs(secs)),
            Step::Restart => victim.lab.restart().await,
            Step::Unlock => {
                let by = victim.lab.by();
                victim
                    .lab
                    .service()
                    .admin
                    .unlock_user(&key("alice"), by)
                    .await
                    .unwrap();
                evaluated = 0;
            }
        }
        prop_assert!(evaluated <= 12, "{evaluated} after {step:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Between two unlockings, or two years' rests, never more than the limit.
    #[test]
    fn guesses_of_strangers_never_exceed_the_limit(
        steps in proptest::collection::vec(step(), 1..150),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(follow(&steps))?;
    }
}
