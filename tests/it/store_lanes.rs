//! Both ways to commit: by the thread that brings the batch, as a RADIUS lane does, and by the writer's thread.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use oncegate::model::attempt::Verdict;
use oncegate::model::reason::{Decision, Reason};
use oncegate::store::medium::Memory;
use oncegate::store::{Store, StoreError};

use crate::support::Random;
use crate::support::disk::Disk;
use crate::support::store::{NOW, attempt, enrol, open};

const USERS: u64 = 6;

/// Which user's code of which step.
type Login = (u64, u64);

fn names(user: u64) -> (String, String) {
    (format!("user{user}"), format!("HOTP-{user}"))
}

async fn store() -> Store {
    let store = open(Arc::new(Memory::default())).unwrap();
    for user in 0..USERS {
        let (name, serial) = names(user);
        enrol(&store, &name, &serial).await.unwrap();
    }
    store
}

type Pending<'a> = Pin<Box<dyn Future<Output = Result<Verdict, StoreError>> + 'a>>;

fn asked(store: &Store, (user, step): Login) -> Pending<'_> {
    Box::pin(async move {
        let (name, serial) = names(user);
        attempt(store, &name, &serial, &[step], NOW).await
    })
}

fn poll(login: &mut Pending<'_>) -> Poll<Result<Verdict, StoreError>> {
    login.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Decides a batch in this thread; whether it was this one: the writer's thread may be about to.
async fn committed_here(store: &Store, batch: &[Login]) -> (Vec<(Decision, Reason)>, bool) {
    let hold = store.hold_batch();
    let mut logins: Vec<_> = batch.iter().map(|login| asked(store, *login)).collect();
    for login in &mut logins {
        assert!(poll(login).is_pending(), "nothing is durable yet");
    }
    let here = hold.commit();
    let mut answers = Vec::new();
    for mut login in logins {
        let verdict = match poll(&mut login) {
            Poll::Ready(verdict) => verdict.unwrap(),
            Poll::Pending if here => panic!("it is durable, and not answered"),
            Poll::Pending => login.await.unwrap(),
        };
        answers.push((verdict.decision, verdict.reason));
    }
    (answers, here)
}

/// The same logins, used ones and guesses among them, end the same way by both.
#[tokio::test]
async fn both_ways_to_commit_decide_alike() {
    let (here, there) = (store().await, store().await);
    let mut random = Random(11);
    let (mut accepted, mut in_lane) = (0, 0);
    for round in 1..=60 {
        let size = 1 + random.below(12);
        let batch: Vec<Login> = (0..size)
            .map(|_| (random.below(USERS), round + random.below(4)))
            .collect();
        let (decided, here) = committed_here(&here, &batch).await;
        in_lane += usize::from(here);
        let hold = there.hold_batch();
        let mut logins: Vec<_> = batch.iter().map(|login| asked(&there, *login)).collect();
        for login in &mut logins {
            assert!(poll(login).is_pending());
        }
        drop(hold);
        let verdicts = futures_util::future::join_all(logins).await;
        let verdicts = verdicts.into_iter().map(Result::unwrap);
        let other: Vec<_> = verdicts
            .map(|verdict| (verdict.decision, verdict.reason))
            .collect();
        assert_eq!(decided, other, "round {round}: {batch:?}");
        accepted += decided
            .iter()
            .filter(|(decision, _)| *decision == Decision::Accept)
            .count();
    }
    assert!(accepted > 50 && in_lane > 20, "{accepted}, {in_lane}");
    for store in [here, there] {
        let report = store.verify_audit(Box::new(|_| ())).await.unwrap();
        assert_eq!(report.fault, None);
    }
}

/// Where many threads bring the same codes at once, and a task asks besides, each code has one winner.
#[test]
fn each_code_has_one_winner_among_many_lanes() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(store());
    for step in 1..=40 {
        let batch: Vec<Login> = (0..USERS).map(|user| (user, step)).collect();
        let accepted = std::thread::scope(|scope| {
            let lanes: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        let hold = store.hold_batch();
                        let mut logins: Vec<_> =
                            batch.iter().map(|login| asked(&store, *login)).collect();
                        for login in &mut logins {
                            let _ = poll(login);
                        }
                        // Another lane may have taken them, or be about to.
                        hold.commit();
                        let verdicts = futures_util::future::join_all(logins);
                        let verdicts = runtime.handle().block_on(verdicts);
                        let won = |verdict: &Result<Verdict, StoreError>| {
                            verdict.as_ref().unwrap().decision == Decision::Accept
                        };
                        verdicts.iter().filter(|verdict| won(verdict)).count()
                    })
                })
                .collect();
            lanes
                .into_iter()
                .map(|lane| lane.join().unwrap())
                .sum::<usize>()
        });
        assert_eq!(accepted, batch.len(), "step {step}");
    }
}

/// A disk that fails under the lane's commit: no answer, and the writer's thread opens the journal again.
#[tokio::test]
async fn a_commit_that_fails_in_a_lane_answers_no_one_and_heals() {
    let disk = Disk::default();
    let store = open(Arc::new(disk.clone())).unwrap();
    let (name, serial) = names(0);
    enrol(&store, &name, &serial).await.unwrap();
    disk.set_full(true);
    let hold = store.hold_batch();
    let mut login = asked(&store, (0, 1));
    assert!(poll(&mut login).is_pending());
    hold.commit();
    assert!(matches!(login.await, Err(StoreError::Unavailable(_))));
    assert!(store.health().fault.is_some());
    // While it lasts a lane commits nothing, and what it brings is answered all the same.
    let hold = store.hold_batch();
    let mut login = asked(&store, (0, 2));
    assert!(poll(&mut login).is_pending());
    assert!(!hold.commit());
    assert!(matches!(login.await, Err(StoreError::Unavailable(_))));
    disk.set_full(false);
    while store.health().fault.is_some() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let (decided, _) = committed_here(&store, &[(0, 3)]).await;
    assert_eq!(decided[0].0, Decision::Accept);
    let report = store.verify_audit(Box::new(|_| ())).await.unwrap();
    assert_eq!(report.fault, None);
}
