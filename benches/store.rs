//! Durable consumptions per second in the embedded store, by the number of askers at once.
//!
//! `cargo bench --bench store`. Each asker waits for its answer before it asks again; the commit
//! count shows how many consumptions shared one flush; then the same for codes that the store issues
//! first, as for an enrolled device: two commits each. Before that: what opening the sealed key of
//! a token costs, by seal algorithm.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use oncegate::model::attempt::{Attempt, Compared, Comparison, DriftRule, Evidence, Success};
use oncegate::model::audit::{Channel, Purpose};
use oncegate::model::id::{RequestId, Serial};
use oncegate::model::issue::{Issue, Way, next_number};
use oncegate::model::kind::Kind;
use oncegate::model::reason::Decision;
use oncegate::model::sealing::SealAlgorithm;
use oncegate::model::token::{LifeCycle, Token, TokenState};
use oncegate::model::user::User;
use oncegate::model::user_key::UserKey;
use oncegate::otp::issued::Mark;
use oncegate::otp::throttle::Lockout;
use oncegate::otp::{Algorithm, Digits, Matches, Period};
use oncegate::secret::{Key256, OtpKey, SecretBytes, SystemEntropy};
use oncegate::store::medium::Directory;
use oncegate::store::seal::cipher::{Ciphers, Keys};
use oncegate::store::{By, Change, Parts, Store};
use oncegate::time::{Clock, SystemClock};
use zeroize::Zeroizing;

const USERS: usize = 1000;

fn name(number: usize) -> UserKey {
    UserKey::parse(&format!("user{number}")).expect("a valid name")
}

fn serial(number: usize) -> Serial {
    format!("HOTP-{number:08}").parse().expect("a valid serial")
}

fn served(number: usize) -> Serial {
    format!("SERVER-{number:08}")
        .parse()
        .expect("a valid serial")
}

/// A key that no other token has.
fn key(kind: &str, number: usize) -> OtpKey {
    OtpKey::new(SecretBytes::new(
        format!("{kind:>10}{number:010}").into_bytes(),
    ))
    .expect("a valid key")
}

async fn fill(store: &Store) {
    let at = SystemClock.now();
    let by = || By {
        request: RequestId::new(at, [0; 10]),
        actor: "bench".to_owned(),
        person: None,
        at,
        limited: false,
    };
    for number in 0..USERS {
        let user = User::new(name(number), at);
        let token = Token {
            address: None,
            device: None,
            expires: None,
            enrolment: oncegate::model::enrolment::Enrolment::default(),
            serial: serial(number),
            user: name(number),
            kind: Kind::Hotp,
            state: LifeCycle::Active,
            algorithm: Algorithm::Sha1,
            digits: Digits::SIX,
            period: Period::THIRTY,
            key: key("hotp", number),
            created: at,
            revision: 1,
        };
        store
            .change(Change::CreateUser(user, None), by())
            .await
            .expect("a new user");
        let served = Token {
            serial: served(number),
            kind: Kind::Server,
            key: key("served", number),
            ..token.clone()
        };
        for token in [token, served] {
            let change = Change::CreateToken(token, TokenState::default());
            store.change(change, by()).await.expect("a new token");
        }
    }
}

/// What an asker does again and again.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Work {
    /// A code that the person makes.
    Consume,
    /// A code that is made first.
    IssueAndConsume,
}

async fn issue(store: &Store, number: usize) -> u64 {
    let (token, state) = store
        .token(&served(number))
        .expect("readable")
        .expect("enrolled");
    let at = SystemClock.now();
    let issue = Issue {
        request: RequestId::new(at, [0; 10]),
        at,
        actor: "bench".to_owned(),
        user: token.user.clone(),
        serial: token.serial.clone(),
        revision: token.revision,
        number: next_number(&state),
        way: Way::Code,
        mark: Mark::of(&token.key, "code", None, "755224"),
        client: None,
        pair: None,
        life: Some(Duration::from_mins(1)),
        message: None,
        device: None,
        detail: "code".to_owned(),
    };
    let issued = store.issue(issue).await.expect("committed");
    issued.expect("each asker has users of its own").number
}

async fn consume(store: &Store, number: usize, work: Work) {
    let key = name(number);
    let issued = match work {
        Work::Consume => None,
        Work::IssueAndConsume => Some(issue(store, number).await),
    };
    let view = store.view(&key).expect("readable").expect("enrolled");
    let (token, state) = &view.tokens[usize::from(issued.is_some())];
    let mut matches = Matches::default();
    matches.insert(issued.unwrap_or_else(|| state.moving.next()));
    let comparison = Comparison {
        serial: token.serial.clone(),
        issued,
        kind: token.kind,
        revision: token.revision,
        seen: state.moving,
        matches,
        drift: DriftRule::None,
        first: false,
    };
    let at = SystemClock.now();
    let attempt = Attempt {
        request: RequestId::new(at, [0; 10]),
        at,
        deadline: at.plus(Duration::from_mins(1)),
        purpose: Purpose::Login,
        user: key.to_string(),
        client: "bench".into(),
        channel: Channel::Radius,
        method: "pap".into(),
        origin: None,
        began_at: None,
        alias: None,
        proven: Vec::new(),
        note: oncegate::model::attempt::Note::default(),
        waived: None,
        enrols: None,
        source: None,
        rule: Some("default:everyone".into()),
        lockout: Lockout::default(),
        evidence: Evidence::Compared(Compared {
            user: key,
            generation: view.generation,
            revision: view.user.revision,
            credentials: None,
            knowledge: Vec::new(),
            tokens: Some(vec![comparison]),
            success: Success::Accept,
            answers: None,
        }),
    };
    match store.attempt(attempt).await.expect("committed") {
        Ok(settled) => assert_eq!(settled.decision, Decision::Accept),
        Err(_) => unreachable!("each asker has users of its own"),
    }
}

async fn run(store: &Arc<Store>, askers: usize, length: Duration, work: Work) {
    let done = Arc::new(AtomicU64::new(0));
    let before = store.health();
    let start = Instant::now();
    let tasks: Vec<_> = (0..askers)
        .map(|asker| {
            let (store, done) = (Arc::clone(store), Arc::clone(&done));
            tokio::spawn(async move {
                let mut number = asker;
                while start.elapsed() < length {
                    consume(store.as_ref(), number, work).await;
                    number = if number + askers < USERS {
                        number + askers
                    } else {
                        asker
                    };
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    let elapsed = start.elapsed().as_secs_f64();
    let after = store.health();
    #[allow(clippy::cast_precision_loss)] // for people
    let (done, commits) = (
        done.load(Ordering::Relaxed) as f64,
        (after.commits - before.commits) as f64,
    );
    let what = match work {
        Work::Consume => "consumptions",
        Work::IssueAndConsume => "codes issued and consumed",
    };
    println!(
        "{askers:>4} askers: {:>8.0} durable {what}/s, {:>6.1} per commit, {:>7.3} ms each",
        done / elapsed,
        done / commits,
        elapsed * 1000.0 * f64::from(u32::try_from(askers).expect("few")) / done,
    );
}

fn open_sealed_keys(rounds: u32) {
    let key = || Key256::new([1; 32]);
    let ciphers = Ciphers::new(&Keys {
        aes: key(),
        aria: key(),
        seed: Zeroizing::new([1; 16]),
        seed_mac: key(),
    });
    // As long as those of the store: its id, table, field, version, row.
    let associated = [7; 64];
    for algorithm in SealAlgorithm::ALL {
        let sealed = ciphers.seal(algorithm, &associated, &[2; 20], &SystemEntropy);
        let sealed = sealed.expect("short");
        let start = Instant::now();
        for _ in 0..rounds {
            let opened = ciphers.open(&associated, black_box(&sealed));
            assert!(black_box(opened).is_some());
        }
        let each = start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds);
        println!("open a sealed key, {algorithm:<24} {each:6.2} us");
    }
}

fn main() {
    // `cargo bench -- --test` only wants to know that it runs.
    let short = std::env::args().any(|word| word == "--test");
    let length = if short {
        Duration::from_millis(50)
    } else {
        Duration::from_secs(3)
    };
    open_sealed_keys(if short { 10 } else { 1_000_000 });
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(Parts {
        medium: Arc::new(Directory::new(dir.path())),
        master: Key256::new([1; 32]),
        algorithm: SealAlgorithm::default(),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        segment_size: 64 << 20,
        checkpoint: Duration::from_secs(5),
    });
    let store = Arc::new(store.expect("an empty store"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        fill(store.as_ref()).await;
        for work in [Work::Consume, Work::IssueAndConsume] {
            for askers in [1, 8, 64, 256, 512] {
                run(&store, askers, length, work).await;
            }
        }
    });
}
