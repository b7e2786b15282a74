//! Both ways to commit: by the thread that brings the batch, as a RADIUS lane does, and by the writer's thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use oncegate::model::attempt::Verdict;
use oncegate::model::reason::{Decision, Reason};
use oncegate::model::sealing::SealAlgorithm;
use oncegate::secret::{Key256, SystemEntropy};
use oncegate::store::medium::Memory;
use oncegate::store::{Parts, Store, StoreError};
use oncegate::time::{Clock, FixedClock, UnixTime};

use crate::support::Random;
use crate::support::disk::Disk;
use crate::support::lane::{self, commit, login};
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

type Asked<'a> = lane::Login<'a, Result<Verdict, StoreError>>;

fn asked(store: &Store, (user, step): Login) -> Asked<'_> {
    login(async move {
        let (name, serial) = names(user);
        attempt(store, &name, &serial, &[step], NOW).await
    })
}

/// Decides a batch in this thread; whether it was this one: the writer's thread may be about to.
async fn committed_here(store: &Store, batch: &[Login]) -> (Vec<(Decision, Reason)>, bool) {
    let hold = store.hold_batch();
    let logins = batch.iter().map(|login| asked(store, *login)).collect();
    let ended = commit(hold, logins).await;
    assert!(
        !ended.here || ended.later == 0,
        "what is durable is answered"
    );
    let verdicts = ended.answers.into_iter().map(Result::unwrap);
    let answers = verdicts.map(|verdict| (verdict.decision, verdict.reason));
    (answers.collect(), ended.here)
}

/// What one login that this thread commits ends with: whether it was this thread or the writer's that tried, it is
/// answered.
async fn alone(store: &Store, login: Login) -> Result<Verdict, StoreError> {
    let ended = commit(store.hold_batch(), vec![asked(store, login)]).await;
    ended.answers.into_iter().next().unwrap()
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
        let logins = batch.iter().map(|login| asked(&there, *login));
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
                        let logins = batch.iter().map(|login| asked(&store, *login));
                        let mut verdicts = Box::pin(futures_util::future::join_all(logins));
                        let mut context = Context::from_waker(Waker::noop());
                        let before = verdicts.as_mut().poll(&mut context);
                        // Another lane may have taken them, or be about to.
                        hold.commit();
                        let verdicts = match before {
                            Poll::Ready(verdicts) => verdicts,
                            Poll::Pending => runtime.handle().block_on(verdicts),
                        };
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

/// Waits for the journal to be open again.
async fn healed(store: &Store) {
    let healed = async {
        while store.health().fault.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), healed).await;
    assert!(waited.is_ok(), "{:?}", store.health().fault);
}

/// A store without checkpoints: on a disk that is full none of them fails beside the commit that is looked at.
fn quiet(disk: &Disk, clock: Arc<dyn Clock>) -> Store {
    let store = Store::open(Parts {
        medium: Arc::new(disk.clone()),
        master: Key256::new([7; 32]),
        algorithm: SealAlgorithm::default(),
        clock,
        entropy: Arc::new(SystemEntropy),
        segment_size: 16 << 10,
        checkpoint: Duration::from_hours(1),
    });
    store.unwrap()
}

/// A disk that fails under the lane's commit: no answer, and the writer's thread opens the journal again.
#[tokio::test]
async fn a_commit_that_fails_in_a_lane_answers_no_one_and_heals() {
    let disk = Disk::default();
    let store = quiet(&disk, Arc::new(FixedClock::at(NOW)));
    let (name, serial) = names(0);
    enrol(&store, &name, &serial).await.unwrap();
    disk.set_full(true);
    let refused = async |step| alone(&store, (0, step)).await;
    assert!(matches!(refused(1).await, Err(StoreError::Unavailable(_))));
    assert!(store.health().fault.is_some());
    // It heals without being asked: a NAS that sees a server not ready sends nothing.
    disk.set_full(false);
    healed(&store).await;
    disk.set_full(true);
    assert!(matches!(refused(2).await, Err(StoreError::Unavailable(_))));
    // While it lasts a lane commits nothing, and what it brings is answered all the same.
    assert!(matches!(refused(2).await, Err(StoreError::Unavailable(_))));
    disk.set_full(false);
    healed(&store).await;
    let (decided, _) = committed_here(&store, &[(0, 3)]).await;
    assert_eq!(decided[0].0, Decision::Accept);
    let report = store.verify_audit(Box::new(|_| ())).await.unwrap();
    assert_eq!(report.fault, None);
}

/// A clock that may break.
#[derive(Default)]
struct Breaking(AtomicBool);

impl Clock for Breaking {
    fn now(&self) -> UnixTime {
        assert!(!self.0.load(Ordering::Relaxed), "the clock breaks");
        NOW
    }
}

/// What health says is the matter, once it says so: who asked may hear of a panic before it is noted.
async fn named(store: &Store) -> String {
    let named = async {
        loop {
            match store.health().fault {
                Some(fault) => return fault,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let fault = tokio::time::timeout(Duration::from_mins(1), named).await;
    fault.unwrap()
}

/// A defect that panics while a lane decides: those who asked hear that nothing is decided, and the journal is opened
/// again.
#[tokio::test]
async fn a_commit_that_panics_answers_no_one_and_heals() {
    let clock = Arc::new(Breaking::default());
    let disk = Disk::default();
    let store = quiet(&disk, Arc::<Breaking>::clone(&clock));
    let (name, serial) = names(0);
    enrol(&store, &name, &serial).await.unwrap();
    // The fault stays until it was looked at: a full disk keeps the journal from being opened again.
    disk.set_full(true);
    clock.0.store(true, Ordering::Relaxed);
    let refused = alone(&store, (0, 1)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
    let fault = named(&store).await;
    assert!(fault.contains("a commit broke off"), "{fault}");
    clock.0.store(false, Ordering::Relaxed);
    disk.set_full(false);
    healed(&store).await;
    let (decided, _) = committed_here(&store, &[(0, 1)]).await;
    assert_eq!(decided[0].0, Decision::Accept);
    let report = store.verify_audit(Box::new(|_| ())).await.unwrap();
    assert_eq!(report.fault, None);
}

/// A disk that takes a flush and does not end it: those who wait are not answered, and health says why.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_is_named() {
    let disk = Disk::default();
    let store = Arc::new(open(Arc::new(disk.clone())).unwrap());
    let (name, serial) = names(0);
    enrol(&store, &name, &serial).await.unwrap();
    disk.set_hangs(true);
    let asking = Arc::clone(&store);
    let login = tokio::spawn(async move { asked(&asking, (0, 1)).await });
    let fault = named(&store).await;
    assert!(
        fault.contains("the disk has not finished a write"),
        "{fault}"
    );
    assert!(!login.is_finished());
    disk.set_hangs(false);
    assert_eq!(login.await.unwrap().unwrap().decision, Decision::Accept);
    healed(&store).await;
}
