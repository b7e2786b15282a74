//! Users are told what happens to their accounts: each thing once, in their language, to where they
//! hear of it (capabilities C9 and D5).

use std::fs;
use std::path::Path;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use oncegate::admin::{CredentialsPatch, NewVerifier};
use oncegate::daemon;
use oncegate::daemon::StartError;
use oncegate::login::inbound::{Effect, Inbound};
use oncegate::model::id::Serial;
use oncegate::model::kind::Kind;
use oncegate::model::message::{Language, Medium};
use oncegate::model::token::LifeCycle;
use oncegate::otp::{Algorithm, Digits, hotp, recovery};
use oncegate::secret::SecretString;
use oncegate::store::{Change, DeviceAct};
use serde_json::json;

use crate::support::desk::{ALL, About, Desk, NOTHING, PHONE, key_of, nothing};
use crate::support::expected::PIN;
use crate::support::gateway::Behaviour;
use crate::support::lab::key;

fn fails() -> Behaviour {
    Behaviour::Say(503, "out of order".to_owned())
}

/// Brings about everything that is told, in this order.
const EVERYTHING: [&str; 14] = [
    "enrolment_started",
    "enrolment_ended",
    "token_suspended",
    "token_resumed",
    "token_revoked",
    "token_removed",
    "enrolment_started",
    "device_bound",
    "device_revoked",
    "credentials_changed",
    "contacts_changed",
    "enrolment_ended",
    "recovery_used",
    "locked",
];

async fn everything(desk: &Desk, language: Language) {
    let serial: Serial = "HOTP-1".parse().unwrap();
    desk.token("alice", "HOTP-1", Kind::Hotp, LifeCycle::Pending, "")
        .await;
    let code = hotp::generate(&key_of("HOTP-1"), Algorithm::Sha1, Digits::SIX, 0);
    let service = desk.lab.service();
    service
        .admin
        .confirm_token(&serial, &code, desk.lab.by())
        .await
        .unwrap();
    desk.set_state("HOTP-1", LifeCycle::Suspended).await;
    desk.set_state("HOTP-1", LifeCycle::Active).await;
    desk.set_state("HOTP-1", LifeCycle::Revoked).await;
    service
        .admin
        .remove_token(&serial, None, desk.lab.by())
        .await
        .unwrap();
    desk.token("alice", "SERVER-1", Kind::Server, LifeCycle::Pending, "")
        .await;
    let id = desk.bind("alice", "SERVER-1").await;
    let act = DeviceAct::Revoke("administrator".to_owned());
    desk.change(Change::Device {
        id,
        act,
        call: None,
    })
    .await;
    let pin = NewVerifier::Text(SecretString::from(PIN));
    let pin = CredentialsPatch {
        pin: Some(pin),
        ..CredentialsPatch::default()
    };
    desk.lab.set("alice", pin).await;
    let about = About {
        email: Some("alice@example.com"),
        language,
        ..About::default()
    };
    desk.describe("alice", about).await;
    desk.token("alice", "RECOVERY-1", Kind::Recovery, LifeCycle::Active, "")
        .await;
    let sheet = recovery::sheet(&key_of("RECOVERY-1"), recovery::COUNT);
    let body = json!({ "user": "alice", "otp": sheet[3].expose() });
    assert_eq!(desk.lab.http("default", body).await.decision, "accept");
    for _ in 0..3 {
        desk.fail("default", "alice").await;
    }
}

#[tokio::test]
async fn everything_is_told_once_in_the_language_of_the_user() {
    for (language, freeze, once) in [
        (
            Language::En,
            "Not you? Reply ",
            ["31 are left", "locked until 2026-11-18"],
        ),
        (
            Language::Ko,
            "\u{bcf8}\u{c778}\u{c774} \u{c544}\u{b2c8}\u{ba74} ",
            ["31\u{ac1c}", "20:37\u{ae4c}\u{c9c0}"],
        ),
    ] {
        let mut desk = Desk::new(&[("default", ALL)]).await;
        desk.lab.user("alice", None, None).await;
        desk.token("alice", "SMS-1", Kind::Sms, LifeCycle::Active, PHONE)
            .await;
        let about = About {
            language,
            ..About::default()
        };
        desk.describe("alice", about).await;
        desk.begin().await;
        everything(&desk, language).await;
        let mut told = desk.settled().await;
        // What is about the account goes to the mail address as well, once there is one.
        told.retain(|(to, _)| to != "alice@example.com");
        let sent = desk.changes("notice_sent").await;
        let mut topics: Vec<_> = sent
            .iter()
            .map(|sent| sent.detail.clone().unwrap())
            .collect();
        topics
            .iter_mut()
            .for_each(|topic| topic.truncate(topic.find(':').unwrap()));
        let mut wanted = EVERYTHING;
        topics.sort();
        wanted.sort_unstable();
        assert_eq!(topics, wanted);
        assert_eq!(told.len(), EVERYTHING.len(), "{told:#?}");
        assert!(
            sent.iter()
                .all(|sent| sent.user.as_deref() == Some("alice@default"))
        );
        assert!(
            sent[0]
                .detail
                .as_deref()
                .unwrap()
                .contains(": sms to +82******5678 by sms")
        );
        let received = desk.double.received();
        assert!(received.iter().all(|received| !received.duplicate));
        // Freezing makes a difference to seven of them.
        let frozen = told.iter().filter(|(_, text)| text.contains(freeze));
        let word = |text: &str| {
            text.split(|c: char| !c.is_ascii_digit())
                .any(|run| run.len() == 8)
        };
        assert_eq!(
            frozen.filter(|(_, text)| word(text)).count(),
            7,
            "{told:#?}"
        );
        for words in once {
            assert_eq!(
                told.iter().filter(|(_, text)| text.contains(words)).count(),
                1,
                "{told:#?}"
            );
        }
        let korean = |text: &str| text.contains('\u{b2c8}');
        assert!(
            told.iter()
                .all(|(_, text)| korean(text) == (language == Language::Ko))
        );
        secrets_are_kept(&desk, &told);
        desk.end().await;
    }
}

/// Neither what was typed nor what it follows from is in a text.
fn secrets_are_kept(desk: &Desk, told: &[(String, String)]) {
    let sheet = recovery::sheet(&key_of("RECOVERY-1"), recovery::COUNT);
    let code = hotp::generate(&key_of("HOTP-1"), Algorithm::Sha1, Digits::SIX, 0);
    let mut secrets = vec![
        PIN.to_owned(),
        "000000".to_owned(),
        "7F3K9Q2M44XZ".to_owned(),
    ];
    secrets.extend(sheet.iter().map(|code| code.expose().to_owned()));
    secrets.push(code.expose().expose().to_owned());
    for (to, text) in told {
        assert_eq!(to, PHONE);
        assert!(
            !secrets.iter().any(|secret| text.contains(secret)),
            "{text}"
        );
    }
    let bodies = desk.double.received();
    assert!(
        bodies
            .iter()
            .all(|received| !received.body.contains("1111111111"))
    );
}

#[tokio::test]
async fn what_no_policy_asks_for_is_not_told() {
    let lock = "reject_delay = \"0s\"\n[[rule]]\nname = \"staff\"\nrequire = [\"otp\"]\n\
                [lockout]\nfree = 3\nlock_after = 3\n[notify]\nevents = [\"lock\"]\n";
    let mut desk = Desk::new(&[("default", NOTHING), ("vpn", lock)]).await;
    for user in ["alice", "bob"] {
        desk.lab.user(user, None, None).await;
        desk.lab.token(user, Kind::Hotp, Digits::SIX).await;
        desk.token(
            user,
            &format!("SMS-{user}"),
            Kind::Sms,
            LifeCycle::Active,
            PHONE,
        )
        .await;
    }
    desk.begin().await;
    // No policy of these asks for it, the last one's does.
    desk.token("alice", "TOTP-1", Kind::Totp, LifeCycle::Pending, "")
        .await;
    for policy in ["default", "vpn"] {
        let user = if policy == "vpn" { "bob" } else { "alice" };
        for _ in 0..3 {
            desk.fail(policy, user).await;
        }
    }
    let told = desk.settled().await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].1.starts_with("bob is locked until "), "{told:?}");
    desk.end().await;
}

/// Contract s7: whom only an administrator lets in again is told, unless the policy says what is told.
#[tokio::test]
async fn a_lock_for_good_is_told_where_the_policy_says_nothing() {
    let unsaid = "reject_delay = \"0s\"\n[[rule]]\nname = \"staff\"\nrequire = [\"otp\"]\n\
                  [lockout]\nfree = 3\nlock_after = 3\nhard_lock_after = 6\n";
    let silent = format!("{unsaid}[notify]\nevents = []\n");
    let mut desk = Desk::new(&[("default", unsaid), ("silent", &silent)]).await;
    for user in ["alice", "bob"] {
        desk.lab.user(user, None, None).await;
        desk.lab.token(user, Kind::Hotp, Digits::SIX).await;
        let serial = format!("SMS-{user}");
        desk.token(user, &serial, Kind::Sms, LifeCycle::Active, PHONE)
            .await;
    }
    desk.begin().await;
    for _ in 0..2 {
        // A lock that ends by itself comes first.
        desk.lab.clock.advance(Duration::from_mins(31));
        for (policy, user) in [("silent", "bob"), ("default", "alice")] {
            for _ in 0..3 {
                desk.fail(policy, user).await;
            }
        }
    }
    for user in ["alice", "bob"] {
        let last = desk.lab.decision(user).await;
        assert!(last.locks_for_good(), "{user}: {:?}", last.note);
    }
    let told = desk.settled().await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].1.starts_with("alice was locked "), "{told:?}");
    desk.end().await;
}

#[tokio::test]
async fn a_lock_is_told_when_it_begins_and_not_again() {
    let desk = Desk::telling().await;
    desk.lab.token("alice", Kind::Hotp, Digits::SIX).await;
    let locks = |told: &[(String, String)]| {
        let locks = told
            .iter()
            .filter(|(_, text)| text.contains("is locked until"));
        locks.count()
    };
    // The next lock is another one.
    for wanted in 1..=2 {
        for _ in 0..9 {
            desk.fail("default", "alice").await;
        }
        // Behind all of them, so that what is told of them has been told.
        let serial = format!("TOTP-{wanted}");
        desk.token("alice", &serial, Kind::Totp, LifeCycle::Pending, "")
            .await;
        assert_eq!(locks(&desk.settled().await), wanted);
        desk.lab.clock.advance(Duration::from_mins(31));
    }
}

#[tokio::test]
async fn the_word_of_a_notice_freezes_the_token() {
    let desk = Desk::telling().await;
    desk.token("alice", "TOTP-1", Kind::Totp, LifeCycle::Active, "")
        .await;
    let told = desk.settled().await;
    let moved = desk.changes("notified").await;
    let last = moved.last().and_then(|change| change.detail.as_deref());
    assert_eq!(last, Some("1 notice"));
    let (_, text) = &told[0];
    let (_, word) = text.trim_end_matches('.').rsplit_once(' ').unwrap();
    let service = desk.lab.service();
    let (id, at) = service.core.arrival().unwrap();
    let text = SecretString::from(word);
    let answer = |from: &'static str| Inbound {
        id,
        at,
        deadline: at,
        medium: Medium::Sms,
        from,
        text: &text,
    };
    // Somebody else's telephone freezes nothing.
    let other = service
        .login
        .inbound(&answer("+821099999999"))
        .await
        .unwrap();
    assert!(matches!(other, Effect::Answer(_)));
    assert_eq!(desk.state_of("TOTP-1"), LifeCycle::Active);
    assert_eq!(
        service.login.inbound(&answer(PHONE)).await.unwrap(),
        Effect::Frozen(1)
    );
    assert_eq!(desk.state_of("TOTP-1"), LifeCycle::Suspended);
    let told = desk.settled().await;
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].1.contains("was suspended") && told[1].1.ends_with("Tell your administrator."));
}

#[tokio::test]
async fn whoever_enrols_a_number_is_not_the_only_one_told() {
    let desk = Desk::telling().await;
    desk.token(
        "alice",
        "SMS-2",
        Kind::Sms,
        LifeCycle::Active,
        "+821066666666",
    )
    .await;
    let (to, text) = &desk.settled().await[0];
    assert_eq!(to, PHONE);
    assert!(
        text.contains("SMS-2") && text.contains("Not you? Reply"),
        "{text}"
    );
}

#[tokio::test]
async fn what_no_gateway_takes_is_told_later_under_the_same_id() {
    let desk = Desk::telling().await;
    desk.double.behave(fails());
    desk.set_state("SMS-1", LifeCycle::Suspended).await;
    desk.double.wait_for(1).await;
    // Others need not wait for it.
    desk.describe(
        "alice",
        About {
            email: Some("alice@example.com"),
            ..About::default()
        },
    )
    .await;
    desk.double.wait_for(3).await;
    let status = desk.lab.admin("GET", "/v1/admin/status").await;
    assert_eq!(status["notices"]["waiting"], 2, "{status}");
    desk.retried(2).await;
    desk.double.behave(Behaviour::Take);
    desk.lab.clock.advance(Duration::from_mins(5));
    desk.nudge().await;
    let told = desk.settled().await;
    let received = desk.double.received();
    // The suspension to the telephone, the change to both; both again, the suspension by mail too.
    assert_eq!(received.len(), 7, "{told:?}");
    for first in 0..3 {
        let same = received
            .iter()
            .filter(|later| later.id == received[first].id);
        assert_eq!(same.count(), 2);
    }
    let status = desk.lab.admin("GET", "/v1/admin/status").await;
    let notices = &status["notices"];
    assert_eq!(
        (&notices["waiting"], &notices["sent"]),
        (&json!(0), &json!(2)),
        "{status}"
    );
    assert!(notices["cursor"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn after_a_day_a_notice_is_given_up() {
    let desk = Desk::telling().await;
    desk.double.behave(fails());
    desk.token("alice", "TOTP-1", Kind::Totp, LifeCycle::Pending, "")
        .await;
    desk.double.wait_for(1).await;
    assert!(desk.changes("notice_failed").await.is_empty());
    desk.retried(1).await;
    let past = async {
        desk.lab.clock.advance(Duration::from_hours(24));
        desk.nudge().await;
    };
    desk.await_change("notice_failed", past).await;
    assert_eq!(desk.settled().await.len(), 2);
    let failed = desk.changes("notice_failed").await;
    let detail = failed[0].detail.as_deref().unwrap();
    assert!(
        detail.starts_with("enrolment_started: sms to +82******5678: no gateway took the message"),
        "{detail}"
    );
    assert_eq!(desk.lab.service().notices.failed(), 1);
}

#[tokio::test]
async fn a_notice_whose_sending_is_not_on_record_is_sent_again_under_the_same_id() {
    let mut desk = Desk::telling().await;
    desk.double.behave(Behaviour::Hold);
    desk.token("alice", "TOTP-1", Kind::Totp, LifeCycle::Pending, "")
        .await;
    desk.double.wait_for(1).await;
    // The gateway has it, and we have not heard so.
    desk.kill().await;
    desk.double.release();
    desk.restart().await;
    desk.begin().await;
    desk.double.wait_for(2).await;
    desk.settled().await;
    let received = desk.double.received();
    assert_eq!(received[0].id, received[1].id);
    assert!(received[1].duplicate);
    // Now it is on record: no third time.
    desk.end().await;
    desk.restart().await;
    desk.begin().await;
    desk.token("alice", "TOTP-2", Kind::Totp, LifeCycle::Pending, "")
        .await;
    assert_eq!(desk.settled().await.len(), 3);
    assert_ne!(desk.double.received()[2].id, received[0].id);
    desk.end().await;
}

#[tokio::test]
async fn what_was_told_behind_one_that_waits_is_not_told_again() {
    let mut desk = Desk::telling().await;
    desk.double.behave_next(&[fails()]);
    desk.token("alice", "TOTP-1", Kind::Totp, LifeCycle::Pending, "")
        .await;
    desk.double.wait_for(1).await;
    let later = desk.token("alice", "TOTP-2", Kind::Totp, LifeCycle::Pending, "");
    // The cursor moves, but not past the one that waits.
    desk.await_change("notified", later).await;
    desk.kill().await;
    desk.restart().await;
    desk.begin().await;
    let told = desk.settled().await;
    let texts: Vec<bool> = told
        .iter()
        .map(|(_, text)| text.contains("TOTP-1"))
        .collect();
    assert_eq!(texts, [true, false, true], "{told:?}");
    let received = desk.double.received();
    assert_eq!(received[0].id, received[2].id);
    desk.end().await;
}

#[tokio::test]
async fn what_happened_before_anybody_was_told_is_not_told() {
    let mut desk = Desk::new(&[("default", ALL)]).await;
    desk.lab.user("alice", None, None).await;
    desk.token("alice", "SMS-1", Kind::Sms, LifeCycle::Active, PHONE)
        .await;
    let head = desk.trail().await.len() as u64;
    desk.begin().await;
    assert_eq!(desk.lab.service().core.store().notified().unwrap(), head);
    desk.token("alice", "TOTP-1", Kind::Totp, LifeCycle::Pending, "")
        .await;
    assert_eq!(desk.settled().await.len(), 1);
    desk.end().await;
    // What happens while nobody tells waits.
    desk.token("alice", "TOTP-2", Kind::Totp, LifeCycle::Pending, "")
        .await;
    desk.restart().await;
    desk.begin().await;
    assert_eq!(desk.settled().await.len(), 2);
    desk.end().await;
}

#[tokio::test]
async fn telling_tells_nothing_of_itself() {
    let desk = Desk::telling().await;
    desk.token("alice", "TOTP-1", Kind::Totp, LifeCycle::Pending, "")
        .await;
    desk.settled().await;
    let before = desk.trail().await.len();
    // Two more records, each of which wakes the task.
    desk.nudge().await;
    desk.nudge().await;
    desk.token("alice", "TOTP-2", Kind::Totp, LifeCycle::Pending, "")
        .await;
    assert_eq!(desk.settled().await.len(), 2);
    // The nudges, the token, that it was told, the cursor.
    assert_eq!(desk.trail().await.len(), before + 5);
    assert_eq!(desk.changes("notified").await.len(), 3);
    assert_eq!(desk.lab.service().notices.sent(), 2);
}

/// Writes so many records that tell nothing, and this change among the first, while the task that
/// tells does not get a turn.
fn flood(desk: &Desk, count: usize, change: Option<Change>) {
    let store = desk.lab.service().core.store();
    let mut changes: Vec<Change> = (0..count).map(|_| nothing()).collect();
    changes.extend(change);
    let last = changes.len() - 1;
    changes.swap(10, last);
    let mut context = Context::from_waker(Waker::noop());
    let mut changes = changes.into_iter().peekable();
    while changes.peek().is_some() {
        let begun = store.health().seq;
        // Each lot is a commit or more; nothing else runs meanwhile.
        let lot = changes.by_ref().take(25).map(|change| {
            let mut asked = Box::pin(store.change(change, desk.lab.by()));
            if let Poll::Ready(done) = asked.as_mut().poll(&mut context) {
                done.unwrap();
            }
            asked
        });
        let lot: Vec<_> = lot.collect();
        while store.health().seq < begun + lot.len() as u64 {
            std::thread::yield_now();
        }
    }
}

#[tokio::test]
async fn a_flood_of_records_hides_no_notice_and_moves_the_cursor() {
    let desk = Desk::telling().await;
    let mut user = desk.lab.service().admin.user(&key("alice")).unwrap();
    user.email = Some("alice@example.com".to_owned());
    // It listens, and has nothing to read.
    desk.token("alice", "TOTP-1", Kind::Totp, LifeCycle::Pending, "")
        .await;
    assert_eq!(desk.settled().await.len(), 1);
    // More commits than the subscription holds.
    flood(&desk, 3_000, Some(Change::UpdateUser(user)));
    assert_eq!(desk.settled().await.len(), 3, "at both addresses");
    // So many that a start should not read them all again, although nothing is told of them.
    let store = desk.lab.service().core.store();
    let begun = store.health().seq;
    flood(&desk, 10_100, None);
    desk.passed(begun + 10_000).await;
    assert_eq!(desk.told().len(), 3);
}

#[tokio::test]
async fn who_cannot_be_reached_is_on_record() {
    let desk = Desk::telling().await;
    desk.lab.user("bob", None, None).await;
    let enrol = desk.token("bob", "TOTP-1", Kind::Totp, LifeCycle::Pending, "");
    desk.await_change("notice_failed", enrol).await;
    let failed = desk.changes("notice_failed").await;
    let wanted = "enrolment_started: the user has no address that is served by sms or email";
    assert_eq!(failed[0].detail.as_deref(), Some(wanted));
    assert_eq!(failed[0].user.as_deref(), Some("bob@default"));
    desk.settled().await;
    // Who is gone needs no telling.
    let gone = Change::RemoveUser(key("bob"), None);
    desk.describe(
        "bob",
        About {
            email: Some("b@example.com"),
            ..About::default()
        },
    )
    .await;
    desk.settled().await;
    desk.change(gone).await;
    assert_eq!(desk.changes("notice_failed").await.len(), 1);
}

#[tokio::test]
async fn a_mail_goes_to_the_record_of_the_user_who_has_no_telephone() {
    let desk = Desk::telling().await;
    desk.lab.user("bob", None, None).await;
    desk.describe(
        "bob",
        About {
            email: Some("bob@example.com"),
            ..About::default()
        },
    )
    .await;
    desk.settled().await;
    desk.token("bob", "TOTP-1", Kind::Totp, LifeCycle::Pending, "")
        .await;
    let told = desk.settled().await;
    let (to, text) = told.last().unwrap();
    assert_eq!(to, "bob@example.com");
    assert!(text.lines().count() > 5, "{text}");
    assert!(text.ends_with("tell your administrator at once."), "{text}");
}

fn texts_of(dir: &Path, name: &str, text: &str) -> Result<(), Vec<String>> {
    fs::create_dir_all(dir.join("templates")).unwrap();
    fs::write(dir.join("templates").join(name), text).unwrap();
    match daemon::load_texts(dir) {
        Ok(_) => Ok(()),
        Err(StartError::Findings(findings)) => {
            Err(findings.iter().map(ToString::to_string).collect())
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_operators_own_texts_are_checked_where_they_stand() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert!(daemon::load_texts(dir).is_ok(), "no directory of texts");
    assert_eq!(
        texts_of(dir, "en.toml", "[locked]\ntext = \"{user} is locked\"\n"),
        Ok(())
    );
    let faults = texts_of(dir, "ko.toml", "[locked]\ntext = \"{usr}\"\n").unwrap_err();
    let wanted = "ko.toml:2:8: error: unknown placeholder `{usr}`: did you mean `{user}`?";
    assert!(
        faults.len() == 1 && faults[0].ends_with(wanted),
        "{faults:?}"
    );
    let faults = texts_of(dir, "kr.toml", "").unwrap_err();
    assert_eq!(faults.len(), 2, "{faults:?}");
    let wanted = "kr.toml:1:1: error: there are no texts in language `kr` (did you mean `ko`?)";
    assert!(faults[0].ends_with(wanted), "{faults:?}");
}
