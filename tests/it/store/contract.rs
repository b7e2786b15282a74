//! The store's contract (`oncegate::store`), run for every backend.

use std::sync::Arc;
use std::time::Duration;

use oncegate::model::attempt::{Attempt, Compared, Evidence, Proven, Success};
use oncegate::model::audit::Event;
use oncegate::model::id::Serial;
use oncegate::model::reason::{Decision, Reason};
use oncegate::model::sealing::SealAlgorithm;
use oncegate::model::token::{LifeCycle, TokenState};
use oncegate::model::user::User;
use oncegate::store::medium::{Directory, Medium, Memory};
use oncegate::store::{AuditQuery, Change, Store, StoreError};

use crate::support::disk::Disk;
use crate::support::store::{
    NOW, attempt, attempt_of, by, enrol, key, open, open_sealed, open_with, token, user,
};

/// Runs one clause of the contract on every backend, and by every seal algorithm.
macro_rules! contract {
    ($($name:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(&super::open(std::sync::Arc::new(super::Memory::default())).unwrap()).await;
            })+
        }
        mod aria {
            $(#[tokio::test]
            async fn $name() {
                let medium = std::sync::Arc::new(super::Memory::default());
                super::$name(&super::open_sealed(medium, super::SealAlgorithm::Aria256Gcm).unwrap()).await;
            })+
        }
        mod seed {
            $(#[tokio::test]
            async fn $name() {
                let medium = std::sync::Arc::new(super::Memory::default());
                let algorithm = super::SealAlgorithm::Seed128CtrHmacSha256;
                super::$name(&super::open_sealed(medium, algorithm).unwrap()).await;
            })+
        }
        mod directory {
            $(#[tokio::test]
            async fn $name() {
                let dir = tempfile::tempdir().unwrap();
                let medium = std::sync::Arc::new(super::Directory::new(dir.path()));
                super::$name(&super::open(medium).unwrap()).await;
            })+
        }
    };
}

contract! {
    accepts_a_step_once,
    accepts_steps_only_forwards,
    one_of_many_at_once_is_accepted,
    counts_failures_and_locks,
    a_replay_of_the_last_code_is_not_counted,
    parallel_guesses_never_exceed_the_limit,
    a_revoked_token_stops_at_once,
    a_disabled_user_stops_at_once,
    an_expired_attempt_is_not_evaluated,
    a_key_made_again_remembers_its_last_step,
    one_user_has_a_key_once,
    changes_compare_revisions,
    removal_takes_everything_along,
    unlocking_forgets_failures,
    pages_are_in_order,
    every_decision_and_change_is_audited,
    refusals_are_audited_and_count_nothing,
    two_clients_cannot_share_an_address,
    names_tried_from_one_address_are_counted_there,
    verifiers_are_changed_under_their_revision,
    a_changed_verifier_makes_views_stale,
    a_token_of_an_earlier_round_that_changed_makes_views_stale,
    old_sources_are_forgotten,
}

async fn accepts_a_step_once(store: &Store) {
    enrol(store, "alice", "HOTP-1").await.unwrap();
    let first = attempt(store, "alice", "HOTP-1", &[5], NOW).await.unwrap();
    assert_eq!((first.decision, first.step), (Decision::Accept, Some(5)));
    let second = attempt(store, "alice", "HOTP-1", &[5], NOW).await.unwrap();
    assert_eq!(
        (second.decision, second.reason),
        (Decision::Reject, Reason::UsedCode)
    );
}

async fn accepts_steps_only_forwards(store: &Store) {
    enrol(store, "alice", "HOTP-1").await.unwrap();
    for (step, decision) in [
        (5, Decision::Accept),
        (4, Decision::Reject),
        (6, Decision::Accept),
        (5, Decision::Reject),
    ] {
        let settled = attempt(store, "alice", "HOTP-1", &[step], NOW)
            .await
            .unwrap();
        assert_eq!(settled.decision, decision, "step {step}");
    }
    // A code that belongs to a used and an unused step is the unused one's.
    let settled = attempt(store, "alice", "HOTP-1", &[5, 9], NOW)
        .await
        .unwrap();
    assert_eq!(settled.step, Some(9));
}

async fn one_of_many_at_once_is_accepted(store: &Store) {
    enrol(store, "alice", "HOTP-1").await.unwrap();
    for step in 0..50 {
        let steps = [step];
        let asked = (0..32).map(|_| attempt(store, "alice", "HOTP-1", &steps, NOW));
        let settled = futures(asked).await;
        let accepts = settled
            .iter()
            .filter(|s| s.decision == Decision::Accept)
            .count();
        assert_eq!(accepts, 1, "step {step}");
    }
}

async fn counts_failures_and_locks(store: &Store) {
    enrol(store, "alice", "HOTP-1").await.unwrap();
    let mut at = NOW;
    for failures in 1..=10 {
        let settled = attempt(store, "alice", "HOTP-1", &[], at).await.unwrap();
        assert_eq!(
            (settled.reason, settled.failures),
            (Reason::WrongCode, failures)
        );
        at = at.plus(Duration::from_secs(11));
    }
    let right = attempt(store, "alice", "HOTP-1", &[0], at).await.unwrap();
    assert_eq!(
        (right.decision, right.reason),
        (Decision::Reject, Reason::Locked)
    );
    let later = at.plus(Duration::from_mins(30));
    let right = attempt(store, "alice", "HOTP-1", &[0], later)
        .await
        .unwrap();
    assert_eq!(
        right.decision,
        Decision::Accept,
        "the code was not consumed while locked"
    );
}

async fn a_replay_of_the_last_code_is_not_counted(store: &Store) {
    enrol(store, "alice", "HOTP-1").await.unwrap();
    attempt(store, "alice", "HOTP-1", &[5], NOW).await.unwrap();
    for _ in 0..20 {
        let replay = attempt(store, "alice", "HOTP-1", &[5], NOW).await.unwrap();
        assert_eq!((replay.reason, replay.failures), (Reason::UsedCode, 0));
    }
    let older = attempt(store, "alice", "HOTP-1", &[4], NOW).await.unwrap();
    assert_eq!((older.reason, older.failures), (Reason::UsedCode, 1));
}

async fn parallel_guesses_never_exceed_the_limit(store: &Store) {
    enrol(store, "alice", "HOTP-1").await.unwrap();
    let mut evaluated = 0;
    let mut at = NOW;
    for _ in 0..20 {
        let settled = futures((0..10).map(|_| attempt(store, "alice", "HOTP-1", &[], at))).await;
        evaluated += settled
            .iter()
            .filter(|s| s.reason == Reason::WrongCode)
            .count();
        at = at.plus(Duration::from_secs(11));
    }
    assert_eq!(evaluated, 10, "200 guesses, 10 evaluated, then the lock");
}

async fn a_revoked_token_stops_at_once(store: &Store) {
    enrol(store, "alice", "HOTP-1").await.unwrap();
    let view = store.view(&key("alice")).unwrap().unwrap();
    let serial: Serial = "HOTP-1".parse().unwrap();
    let change = Change::SetTokenState {
        serial,
        state: LifeCycle::Revoked,
        expected: 1,
        reason: None,
    };
    store.change(change, by()).await.unwrap();
    // The attempt was evaluated before the revocation and arrives after it.
    let comparison = oncegate::model::attempt::Comparison {
        serial: "HOTP-1".parse().unwrap(),
        issued: None,
        kind: oncegate::model::kind::Kind::Hotp,
        revision: 1,
        seen: view.tokens[0].1.moving,
        matches: {
            let mut m = oncegate::otp::Matches::default();
            m.insert(3);
            m
        },
        drift: oncegate::model::attempt::DriftRule::None,
        first: false,
    };
    let evidence = Evidence::Compared(Compared {
        user: key("alice"),
        generation: view.generation,
        revision: view.user.revision,
        credentials: None,
        knowledge: Vec::new(),
        tokens: Some(vec![comparison]),
        success: Success::Accept,
        answers: None,
    });
    let outcome = store
        .attempt(attempt_of("alice", evidence, NOW))
        .await
        .unwrap();
    assert!(
        matches!(outcome, Err(oncegate::model::attempt::Stale)),
        "{outcome:?}"
    );
}

async fn a_disabled_user_stops_at_once(store: &Store) {
    enrol(store, "alice", "HOTP-1").await.unwrap();
    let view = store.view(&key("alice")).unwrap().unwrap();
    let disabled = User {
        disabled: true,
        ..view.user.clone()
    };
    store
        .change(Change::UpdateUser(disabled), by())
        .await
        .unwrap();
    let evidence = Evidence::Compared(Compared {
        user: key("alice"),
        generation: view.generation,
        revision: view.user.revision,
        credentials: None,
        knowledge: Vec::new(),
        tokens: Some(Vec::new()),
        success: Success::Accept,
        answers: None,
    });
    let outcome = store
        .attempt(attempt_of("alice", evidence, NOW))
        .await
        .unwrap();
    assert!(
        matches!(outcome, Err(oncegate::model::attempt::Stale)),
        "{outcome:?}"
    );
}

async fn an_expired_attempt_is_not_evaluated(store: &Store) {
    let mut late = attempt_of("alice", Evidence::Refused(Reason::UnknownUser), NOW);
    late.deadline = oncegate::time::UnixTime::from_millis(NOW.as_millis() - 1);
    assert!(matches!(store.attempt(late).await, Err(StoreError::Late)));
    assert_eq!(store.health().seq, 0);
}

/// Removed with its user or alone, under its old serial or a new one: used codes stay used.
async fn a_key_made_again_remembers_its_last_step(store: &Store) {
    enrol(store, "alice", "HOTP-1").await.unwrap();
    attempt(store, "alice", "HOTP-1", &[5], NOW).await.unwrap();
    let serial = "HOTP-1".parse().unwrap();
    store
        .change(Change::RemoveToken(serial, None), by())
        .await
        .unwrap();
    let again = Change::CreateToken(token("alice", "HOTP-2"), TokenState::default());
    store.change(again, by()).await.unwrap();
    let used = attempt(store, "alice", "HOTP-2", &[5], NOW).await.unwrap();
    assert_eq!(used.reason, Reason::UsedCode);
    store
        .change(Change::RemoveUser(key("alice"), None), by())
        .await
        .unwrap();
    enrol(store, "alice", "HOTP-1").await.unwrap();
    let used = attempt(store, "alice", "HOTP-1", &[5], NOW).await.unwrap();
    assert_eq!(used.reason, Reason::UsedCode);
    let unused = attempt(store, "alice", "HOTP-1", &[6], NOW).await.unwrap();
    assert_eq!(unused.decision, Decision::Accept);
}

/// Two tokens with one key would each accept the same code.
async fn one_user_has_a_key_once(store: &Store) {
    enrol(store, "alice", "HOTP-1").await.unwrap();
    let second = Change::CreateToken(token("alice", "HOTP-2"), TokenState::default());
    let refused = store.change(second, by()).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))));
    enrol(store, "bob", "HOTP-3").await.unwrap();
}

async fn changes_compare_revisions(store: &Store) {
    let alice = user("alice");
    store
        .change(Change::CreateUser(alice.clone(), None), by())
        .await
        .unwrap();
    let again = store
        .change(Change::CreateUser(alice.clone(), None), by())
        .await;
    assert!(matches!(again, Err(StoreError::Conflict(_))));
    let grouped = User {
        groups: vec!["vpn".to_owned()],
        ..alice.clone()
    };
    store
        .change(Change::UpdateUser(grouped), by())
        .await
        .unwrap();
    let stale = store.change(Change::UpdateUser(alice), by()).await;
    assert!(matches!(stale, Err(StoreError::Conflict(_))));
    let view = store.view(&key("alice")).unwrap().unwrap();
    assert_eq!(
        (view.user.revision, view.user.groups),
        (2, vec!["vpn".to_owned()])
    );
    let orphan = Change::CreateToken(token("nobody", "HOTP-9"), TokenState::default());
    assert!(matches!(
        store.change(orphan, by()).await,
        Err(StoreError::NotFound)
    ));
}

async fn removal_takes_everything_along(store: &Store) {
    enrol(store, "alice", "HOTP-1").await.unwrap();
    enrol(store, "alice2", "HOTP-2").await.unwrap();
    attempt(store, "alice", "HOTP-1", &[7], NOW).await.unwrap();
    attempt(store, "alice", "HOTP-1", &[], NOW).await.unwrap();
    let stale = [
        Change::RemoveUser(key("alice"), Some(7)),
        Change::RemoveToken("HOTP-1".parse().unwrap(), Some(7)),
    ];
    for change in stale {
        let refused = store.change(change, by()).await;
        assert!(matches!(refused, Err(StoreError::Conflict(_))));
    }
    store
        .change(Change::RemoveUser(key("alice"), Some(1)), by())
        .await
        .unwrap();
    assert!(store.view(&key("alice")).unwrap().is_none());
    assert!(store.token(&"HOTP-1".parse().unwrap()).unwrap().is_none());
    assert!(store.token(&"HOTP-2".parse().unwrap()).unwrap().is_some());
    enrol(store, "alice", "HOTP-1").await.unwrap();
    let view = store.view(&key("alice")).unwrap().unwrap();
    let state = view.tokens[0].1;
    assert_eq!(state.moving.last, Some(7), "used codes stay used");
    assert_eq!(state.throttle.failures, 0);
    assert_eq!(view.state.throttle.failures, 0);
}

async fn unlocking_forgets_failures(store: &Store) {
    enrol(store, "alice", "HOTP-1").await.unwrap();
    for _ in 0..4 {
        attempt(store, "alice", "HOTP-1", &[], NOW).await.unwrap();
    }
    store
        .change(Change::Unlock(key("alice")), by())
        .await
        .unwrap();
    let right = attempt(store, "alice", "HOTP-1", &[0], NOW).await.unwrap();
    assert_eq!(right.decision, Decision::Accept);
}

async fn pages_are_in_order(store: &Store) {
    for name in ["carol", "alice", "bob@east", "dave"] {
        store
            .change(Change::CreateUser(user(name), None), by())
            .await
            .unwrap();
    }
    let mut names = Vec::new();
    let mut after = None;
    loop {
        let page = store.users(after.as_ref(), 2).unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.key.clone());
        names.extend(page.iter().map(|user| user.key.to_string()));
    }
    assert_eq!(
        names,
        ["alice@default", "carol@default", "dave@default", "bob@east"]
    );
}

async fn every_decision_and_change_is_audited(store: &Store) {
    enrol(store, "alice", "HOTP-1").await.unwrap();
    attempt(store, "alice", "HOTP-1", &[1], NOW).await.unwrap();
    attempt(store, "alice", "HOTP-1", &[], NOW).await.unwrap();
    let all = store
        .audit(AuditQuery {
            limit: 100,
            ..AuditQuery::default()
        })
        .await
        .unwrap();
    let told: Vec<(u64, String)> = all
        .iter()
        .map(|record| {
            let word = match &record.event {
                Event::Decision(event) => event.reason.as_str().to_owned(),
                Event::Change(event) => event.action.clone(),
            };
            (record.seq, word)
        })
        .collect();
    let expected = [
        (4, "wrong_code"),
        (3, "hotp_ok"),
        (2, "token_add"),
        (1, "user_add"),
    ];
    assert_eq!(told, expected.map(|(seq, word)| (seq, word.to_owned())));
    let accepts = AuditQuery {
        decision: Some(Decision::Accept),
        limit: 10,
        ..AuditQuery::default()
    };
    assert_eq!(store.audit(accepts).await.unwrap().len(), 1);
    let report = store.verify_audit(Box::new(|_| ())).await.unwrap();
    assert_eq!((report.good, report.fault), (4, None));
}

async fn refusals_are_audited_and_count_nothing(store: &Store) {
    let mut refused = attempt_of("nobody", Evidence::Refused(Reason::UnknownUser), NOW);
    refused.source = None;
    store.attempt(refused).await.unwrap().unwrap();
    let record = &store
        .audit(AuditQuery {
            limit: 1,
            ..AuditQuery::default()
        })
        .await
        .unwrap()[0];
    let Event::Decision(event) = &record.event else {
        panic!("{record:?}")
    };
    assert_eq!((event.reason, event.failures), (Reason::UnknownUser, 0));
    assert_eq!(store.health().dirty, 0);
}

async fn names_tried_from_one_address_are_counted_there(store: &Store) {
    let tried = async |name: &str, source: [u8; 4]| {
        let mut attempt = attempt_of(name, Evidence::Refused(Reason::UnknownUser), NOW);
        attempt.source = Some(source.into());
        match store.attempt(attempt).await.unwrap() {
            Ok(settled) => settled.reason,
            Err(oncegate::model::attempt::Stale) => panic!("stale"),
        }
    };
    let (here, there) = ([203, 0, 113, 9], [203, 0, 113, 10]);
    // One name counts as often as a user's free failures do.
    for _ in 0..9 {
        assert_eq!(tried("nobody0", here).await, Reason::UnknownUser);
    }
    let source = |address: [u8; 4]| {
        store
            .source(std::net::IpAddr::from(address).into())
            .unwrap()
    };
    assert_eq!(source(here).throttle.failures, 3);
    assert_eq!(tried("nobody1", here).await, Reason::UnknownUser);
    assert_eq!(tried("nobody2", here).await, Reason::SourceBlocked);
    assert_eq!(tried("nobody2", there).await, Reason::UnknownUser);
    assert_eq!(source(here).throttle.failures, 4);
    let names = source(here).names.map(|tried| tried.failures);
    assert_eq!(names[..3], [1, 3, 0]);
}

async fn old_sources_are_forgotten(store: &Store) {
    let mut attempt = attempt_of("nobody", Evidence::Refused(Reason::UnknownUser), NOW);
    attempt.source = Some([203, 0, 113, 9].into());
    store.attempt(attempt).await.unwrap().unwrap();
    let forget = |before| Change::ForgetSources { before };
    let early = store.change(forget(NOW), by()).await;
    assert!(matches!(early, Err(StoreError::NotFound)));
    let later = NOW.plus(Duration::from_secs(1));
    store.change(forget(later), by()).await.unwrap();
    let source = std::net::IpAddr::from([203, 0, 113, 9]).into();
    let state = store.source(source).unwrap();
    assert_eq!(state, oncegate::model::source::SourceState::default());
}

/// Verifiers of a user at this revision.
pub(crate) fn verifiers(revision: u64) -> oncegate::model::credential::Credentials {
    use oncegate::credential::Hash;
    use oncegate::model::credential::{Credentials, Verifier};
    Credentials {
        pin: Some(Verifier {
            hash: Hash::import("{SSHA}1aCVneNH2EUj84A9yNr4k+2TH4hzYWx0eWtlZXA=").unwrap(),
            length: Some(6),
            set: NOW,
            must_change: false,
            previous: Vec::new(),
        }),
        password: None,
        pin_text: None,
        revision,
    }
}

async fn verifiers_are_changed_under_their_revision(store: &Store) {
    store
        .change(Change::CreateUser(user("alice"), None), by())
        .await
        .unwrap();
    let none = store.credentials(&key("alice")).unwrap();
    assert_eq!((none.pin, none.revision), (None, 0));
    let set = |revision| Change::SetCredentials(key("alice"), verifiers(revision));
    store.change(set(0), by()).await.unwrap();
    let stale = store.change(set(0), by()).await;
    assert!(matches!(stale, Err(StoreError::Conflict(_))));
    let kept = store.credentials(&key("alice")).unwrap();
    assert_eq!(kept, verifiers(kept.revision));
    let first = kept.revision;
    assert!(first > 0);
    store.change(set(first), by()).await.unwrap();
    let kept = store.credentials(&key("alice")).unwrap();
    assert_eq!(kept.revision, first + 1);
    store
        .change(Change::RemoveUser(key("alice"), None), by())
        .await
        .unwrap();
    let gone = store.credentials(&key("alice")).unwrap();
    assert_eq!((gone.pin, gone.revision), (None, 0));
    let nobody = Change::SetCredentials(key("nobody"), verifiers(0));
    let missing = store.change(nobody, by()).await;
    assert!(matches!(missing, Err(StoreError::NotFound)));
}

async fn a_changed_verifier_makes_views_stale(store: &Store) {
    enrol(store, "alice", "HOTP-1").await.unwrap();
    let view = store.view(&key("alice")).unwrap().unwrap();
    let set = Change::SetCredentials(key("alice"), verifiers(0));
    store.change(set, by()).await.unwrap();
    let present = store.credentials(&key("alice")).unwrap().revision;
    let compared = |credentials| {
        Evidence::Compared(Compared {
            user: key("alice"),
            generation: view.generation,
            revision: view.user.revision,
            credentials,
            knowledge: vec![(oncegate::model::credential::Knowledge::Pin, true)],
            tokens: None,
            success: Success::Accept,
            answers: None,
        })
    };
    for (seen, stale) in [(Some(0), true), (Some(present), false)] {
        let attempt = attempt_of("alice", compared(seen), NOW);
        let outcome = store.attempt(attempt).await.unwrap();
        let found = matches!(outcome, Err(oncegate::model::attempt::Stale));
        assert_eq!(found, stale, "{outcome:?}");
    }
}

async fn a_token_of_an_earlier_round_that_changed_makes_views_stale(store: &Store) {
    enrol(store, "alice", "HOTP-1").await.unwrap();
    let view = store.view(&key("alice")).unwrap().unwrap();
    let proven = Proven::of(&view.tokens[0].0);
    let change = Change::SetTokenState {
        serial: proven.serial.clone(),
        state: LifeCycle::Suspended,
        expected: proven.revision,
        reason: None,
    };
    store.change(change, by()).await.unwrap();
    for (proven, stale) in [(vec![proven], true), (Vec::new(), false)] {
        let evidence = Evidence::Compared(Compared {
            user: key("alice"),
            generation: view.generation,
            revision: view.user.revision,
            credentials: None,
            knowledge: vec![(oncegate::model::credential::Knowledge::Pin, true)],
            tokens: None,
            success: Success::Accept,
            answers: None,
        });
        let attempt = Attempt {
            proven,
            ..attempt_of("alice", evidence, NOW)
        };
        let outcome = store.attempt(attempt).await.unwrap();
        let found = matches!(outcome, Err(oncegate::model::attempt::Stale));
        assert_eq!(found, stale, "{outcome:?}");
    }
}

async fn two_clients_cannot_share_an_address(store: &Store) {
    store
        .change(Change::CreateClient(client("a", "10.0.0.0/8")), by())
        .await
        .unwrap();
    store
        .change(Change::CreateClient(client("b", "10.1.0.0/16")), by())
        .await
        .unwrap();
    let same = store
        .change(Change::CreateClient(client("c", "10.0.0.0/8")), by())
        .await;
    assert!(matches!(same, Err(StoreError::Conflict(_))));
    let found: Vec<_> = store
        .clients()
        .unwrap()
        .into_iter()
        .map(|c| c.name)
        .collect();
    assert_eq!(found, ["a", "b"]);
}

#[tokio::test]
async fn everything_survives_a_clean_close() {
    let dir = tempfile::tempdir().unwrap();
    for medium in [
        Arc::new(Directory::new(dir.path())) as Arc<dyn Medium>,
        Arc::new(Memory::default()),
        Arc::new(Disk::default()),
    ] {
        everything_survives_on(medium).await;
    }
}

async fn everything_survives_on(medium: Arc<dyn Medium>) {
    let store = open(Arc::clone(&medium)).unwrap();
    for n in 0..200 {
        enrol(&store, &format!("user{n}"), &format!("HOTP-{n}"))
            .await
            .unwrap();
        attempt(&store, &format!("user{n}"), &format!("HOTP-{n}"), &[n], NOW)
            .await
            .unwrap();
    }
    drop(store);
    assert!(
        medium.list().unwrap().len() > 3,
        "the log has several segments"
    );
    let store = open(medium).unwrap();
    assert_eq!(store.health().seq, 600);
    for n in 0..200 {
        let replay = attempt(&store, &format!("user{n}"), &format!("HOTP-{n}"), &[n], NOW).await;
        assert_eq!(replay.unwrap().reason, Reason::UsedCode, "user{n}");
    }
    assert_eq!(
        store.verify_audit(Box::new(|_| ())).await.unwrap().fault,
        None
    );
}

#[tokio::test]
async fn another_master_key_and_a_second_process_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let medium: Arc<dyn Medium> = Arc::new(Directory::new(dir.path()));
    let store = open(Arc::clone(&medium)).unwrap();
    assert!(matches!(open(Arc::clone(&medium)), Err(StoreError::InUse)));
    drop(store);
    assert!(matches!(
        open_with(Arc::clone(&medium), [8; 32], 1 << 20),
        Err(StoreError::WrongMasterKey)
    ));
    open(medium).unwrap();
}

#[tokio::test]
async fn a_full_disk_stops_decisions_and_space_heals_it() {
    let disk = Disk::default();
    let store = open(Arc::new(disk.clone())).unwrap();
    enrol(&store, "alice", "HOTP-1").await.unwrap();
    disk.set_full(true);
    for _ in 0..3 {
        let refused = attempt(&store, "alice", "HOTP-1", &[1], NOW).await;
        assert!(
            matches!(
                refused,
                Err(StoreError::Unavailable(_) | StoreError::Disk(_))
            ),
            "{refused:?}"
        );
    }
    assert!(store.health().fault.is_some());
    disk.set_full(false);
    // Nobody asks meanwhile: gear sends nothing to a server that is not ready.
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while store.health().fault.is_some() {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let settled = attempt(&store, "alice", "HOTP-1", &[1], NOW).await;
    assert_eq!(settled.unwrap().decision, Decision::Accept);
    assert_eq!(
        store.verify_audit(Box::new(|_| ())).await.unwrap().fault,
        None
    );
}

/// A RADIUS client in this network.
pub(crate) fn client(name: &str, network: &str) -> oncegate::model::client::Client {
    use oncegate::model::client::{Access, RadiusAccess, Require};
    use oncegate::secret::{SecretBytes, SharedSecret};
    oncegate::model::client::Client {
        name: name.to_owned(),
        policy: None,
        realm: None,
        access: Access::Radius(RadiusAccess {
            addresses: vec![network.parse().unwrap()],
            secret: SharedSecret::new(SecretBytes::from(&b"testing123"[..])).unwrap(),
            previous: None,
            message_authenticator: Require::True,
            challenge: true,
            methods: oncegate::model::method::Allowed::default(),
            settings: oncegate::model::client::RadiusSettings::default(),
        }),
        created: NOW,
        revision: 1,
    }
}

/// Awaits all of them at once.
async fn futures<T>(
    all: impl Iterator<Item = impl Future<Output = Result<T, StoreError>>>,
) -> Vec<T> {
    let mut pending: Vec<_> = all.map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(move |context| {
        let mut index = 0;
        while index < pending.len() {
            match pending[index].as_mut().poll(context) {
                std::task::Poll::Ready(result) => {
                    done.push(result.unwrap());
                    drop(pending.swap_remove(index));
                }
                std::task::Poll::Pending => index += 1,
            }
        }
        if pending.is_empty() {
            std::task::Poll::Ready(std::mem::take(&mut done))
        } else {
            std::task::Poll::Pending
        }
    })
    .await
}
