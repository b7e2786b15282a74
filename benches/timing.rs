//! Whether the time at which an answer leaves tells who is a user, or why one was rejected
//! (threats T13).
//!
//! `cargo bench --bench timing` asks for users in six states, over HTTP and RADIUS, begins rounds
//! (`POST /v1/challenges`) and polls them, on an idle server and beside a load of other logins: about
//! 2000 samples of each. `-- --quick` takes 60, `TIMING_SAMPLES=500` so many; `TIMING_LENGTH=60` ends each of the
//! eight parts after so many seconds, `TIMING_ONLY=radius` measures one way only. For the pair of states
//! that differ most it prints the Mann-Whitney AUC, the chance that an answer of one leaves later than
//! one of the other: 0.5 tells nothing, and the goal is 0.50 +- 0.02; an AUC of few samples is as far off
//! by chance (its standard error is printed too, and of fifteen pairs one is the farthest).
//!
//! HTTP requests go through the front end without a socket, RADIUS over loopback, in an order that is random and another in each run; what
//! is measured is the time from the call to the answer. So many are under way at a time that hashing
//! keeps up: beyond that the queue would be measured instead.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use oncegate::admin::{CredentialsPatch, Enrol, NewRadiusClient, NewToken, NewVerifier, UserPatch};
use oncegate::config::Limits;
use oncegate::core::courier::{
    Courier, Delivered, Delivering, DeliveryError, GatewayStatus, Undeliverable,
};
use oncegate::core::issue::SendLimits;
use oncegate::credential::Cost;
use oncegate::diagnostic::Source;
use oncegate::login::hashing::Settings;
use oncegate::model::client::{Require, Scope};
use oncegate::model::kind::Kind;
use oncegate::model::message::{Medium, Message};
use oncegate::model::sealing::SealAlgorithm;
use oncegate::model::user_key::UserKey;
use oncegate::otp::{Algorithm, Digits, Period};
use oncegate::policy::Policies;
use oncegate::radius::attribute::Type;
use oncegate::radius::authenticator::{RequestAuthenticator, SecretKeys};
use oncegate::radius::dictionary::Dictionary;
use oncegate::radius::encode::MessageAuthenticator;
use oncegate::radius::packet::Code;
use oncegate::radius::request::RequestBuilder;
use oncegate::secret::{Key256, SecretBytes, SecretString, SharedSecret, SystemEntropy};
use oncegate::server::http::{App, router};
use oncegate::server::{Info, radius};
use oncegate::service::Service;
use oncegate::store::medium::Directory;
use oncegate::store::{By, Parts, Store};
use oncegate::time::SystemClock;
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// What is asked for, and the beginning of the names of such users.
const STATES: [(&str, &str); 6] = [
    ("unknown user", "none"),
    ("no token", "bare"),
    ("wrong PIN", "user"),
    ("wrong code", "user"),
    ("locked", "shut"),
    ("disabled", "gone"),
];
const WRONG_PIN: usize = 2;
const WAYS: [&str; 4] = ["http", "radius", "begin", "poll"];
const PIN: &str = "280465";
const SECRET: &str = "a shared secret of the bench, long";
/// Of each state.
const USERS: usize = 8;
/// Under way at a time, where PINs are hashed, and where they are not.
const AT_ONCE: usize = 4;
const AT_ONCE_WITHOUT: usize = 48;
/// Others that ask all the time.
const LOAD: usize = 4;
const RULE: &str =
    "\n[[rule]]\nname = \"all\"\nrequire = [\"pin\", \"otp\"]\nalternatives = [\"sms\"]\n";
const UNLIMITED: &str = "[lockout]\nfree = 10000\nlock_after = 10000\nhard_lock_after = 10000\n\
    source_lock_after = 0\n";
const LOCKING: &str = "[lockout]\nfree = 0\nlock_after = 1\nlock_for = \"24h\"\n";
const LIMITS: Limits = Limits {
    radius_in_flight: 1000,
    radius_queue: 1000,
    http_connections: 1000,
    http_connections_per_address: 256,
    http_client_rate: None,
    request_timeout: Duration::from_secs(3),
    reject_queue: 10_000,
    password_threads: None,
    password_queue: 64,
    password_cost: Cost::DEFAULT,
};

/// Takes every message, and forgets it.
struct Nowhere;

impl Courier for Nowhere {
    fn check(&self, _: Medium, _: &str) -> Result<(), Undeliverable> {
        Ok(())
    }

    fn deliver(&self, _: Message) -> Delivering<'_, Result<Delivered, DeliveryError>> {
        let gateway = "nowhere".to_owned();
        Box::pin(async move {
            Ok(Delivered {
                gateway,
                reference: None,
            })
        })
    }

    fn gateways(&self) -> Vec<GatewayStatus> {
        Vec::new()
    }
}

struct Bench {
    router: Router,
    radius: SocketAddr,
    key: String,
    /// A round that was begun, for each state and user.
    rounds: Vec<Vec<String>>,
    asked: AtomicU64,
}

impl Bench {
    async fn new(dir: &std::path::Path, threads: usize) -> Self {
        let store = Store::open(Parts {
            medium: Arc::new(Directory::new(dir)),
            master: Key256::new([1; 32]),
            algorithm: SealAlgorithm::default(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            segment_size: 64 << 20,
            checkpoint: Duration::from_secs(5),
        });
        let policy = |name: &str, lockout: &str| {
            Source::new(name, format!("reject_delay = \"200ms\"{RULE}{lockout}"))
        };
        let sources = [
            policy("default.toml", UNLIMITED),
            policy("lock.toml", LOCKING),
        ];
        let policies = Policies::parse(&sources, &|_, _| Ok(())).expect("policies");
        let hashing = Settings {
            threads,
            ..Settings::default()
        };
        let store = Arc::new(store.expect("an empty store"));
        let clock = Arc::new(SystemClock);
        let service = Service::new(store, policies, clock, Arc::new(SystemEntropy), hashing);
        let service = Arc::new(service.expect("a service"));
        service.core.set_courier(Arc::new(Nowhere));
        service.core.set_send_limits(SendLimits {
            user: u32::MAX,
            address: u32::MAX,
            prefix: u32::MAX,
            all: u32::MAX,
        });
        let key = client(&service, "app", None).await;
        let locking = client(&service, "locking", Some("lock")).await;
        let new = NewRadiusClient {
            name: "nas".to_owned(),
            addresses: vec![std::net::IpAddr::from([127, 0, 0, 1]).into()],
            secret: Some(SecretString::from(SECRET)),
            policy: None,
            realm: None,
            require: Require::True,
            challenge: true,
            methods: oncegate::model::method::Allowed::default(),
            settings: oncegate::model::client::RadiusSettings::default(),
        };
        service
            .admin
            .add_radius_client(new, by(&service))
            .await
            .expect("a client");
        let app = App::new(Arc::clone(&service), LIMITS, Info::default());
        let mut bench = Self {
            router: router(app),
            radius: serve_radius(&service),
            key,
            rounds: Vec::new(),
            asked: AtomicU64::new(0),
        };
        for name in ["bare", "user", "shut", "gone", "busy"] {
            for number in 0..USERS {
                enrol(&service, name, number).await;
            }
        }
        for number in 0..USERS {
            let body = format!(r#"{{"user":"shut{number}","pin":"280466","otp":"000000"}}"#);
            let (status, _) = bench.post("/v1/verify", &locking, body).await;
            assert_eq!(status, 200);
        }
        for state in 0..STATES.len() {
            let mut rounds = Vec::new();
            for number in 0..USERS {
                let (status, answer) = bench.begin(state, number).await;
                assert_eq!(status, 201);
                let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
                rounds.push(answer["id"].as_str().expect("an id").to_owned());
            }
            bench.rounds.push(rounds);
        }
        bench
    }

    async fn post(&self, path: &str, key: &str, body: String) -> (u16, Vec<u8>) {
        let request = Request::post(path)
            .header("authorization", key)
            .header("content-type", "application/json")
            .body(Body::from(body));
        self.send(request.expect("a request")).await
    }

    async fn send(&self, request: Request<Body>) -> (u16, Vec<u8>) {
        let Ok(answer) = self.router.clone().oneshot(request).await;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.expect("a body");
        (status, body.to_bytes().to_vec())
    }

    async fn begin(&self, state: usize, number: usize) -> (u16, Vec<u8>) {
        let user = name(state, number);
        let body = format!(r#"{{"user":"{user}","factor":"sms"}}"#);
        self.post("/v1/challenges", &self.key, body).await
    }

    async fn verify(&self, user: &str, pin: &str) -> u16 {
        let body = format!(r#"{{"user":"{user}","pin":"{pin}","otp":"000000"}}"#);
        self.post("/v1/verify", &self.key, body).await.0
    }

    /// How long an answer takes to leave.
    async fn ask(&self, way: usize, state: usize, number: usize) -> Duration {
        let user = name(state, number);
        let pin = if state == WRONG_PIN { "280466" } else { PIN };
        let start = Instant::now();
        let status = match WAYS[way] {
            "http" => self.verify(&user, pin).await,
            "radius" => return self.pap(&user, &format!("{pin}000000")).await,
            "begin" => self.begin(state, number).await.0 - 1,
            _ => {
                let id = &self.rounds[state][number % USERS];
                let request = Request::get(format!("/v1/challenges/{id}"))
                    .header("authorization", &self.key)
                    .body(Body::empty());
                self.send(request.expect("a request")).await.0
            }
        };
        let left = start.elapsed();
        assert_eq!(status, 200, "the pace is beyond what hashing can do");
        left
    }

    async fn pap(&self, user: &str, typed: &str) -> Duration {
        let keys = SharedSecret::new(SecretBytes::from(SECRET.as_bytes())).expect("a secret");
        let keys = SecretKeys::new(keys);
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let mut authenticator = [0x5c; 16];
        authenticator[..8].copy_from_slice(&number.to_be_bytes());
        let mut packet = Vec::new();
        let mut builder = RequestBuilder::new(
            &mut packet,
            Code::AccessRequest,
            number.to_be_bytes()[7],
            RequestAuthenticator(authenticator),
            MessageAuthenticator::First,
        );
        builder
            .attribute(Type::UserName, user.as_bytes())
            .expect("it fits");
        builder
            .user_password(typed.as_bytes(), &keys)
            .expect("it fits");
        builder.finish(&keys).expect("it fits");
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let mut reply = [0; 4096];
        let start = Instant::now();
        socket.send_to(&packet, self.radius).await.expect("sent");
        let answer = tokio::time::timeout(Duration::from_secs(5), socket.recv(&mut reply)).await;
        answer.expect("an answer").expect("received");
        start.elapsed()
    }
}

fn name(state: usize, number: usize) -> String {
    format!("{}{}", STATES[state].1, number % USERS)
}

fn serve_radius(service: &Arc<Service>) -> SocketAddr {
    let dictionary = Arc::new(Dictionary::builtin().expect("the built-in dictionary"));
    let settings = radius::Settings::from(&LIMITS);
    let pipeline = radius::Pipeline::new(Arc::clone(service), dictionary, settings);
    let listener = radius::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a socket");
    let address = listener.local_addr();
    tokio::spawn(radius::run(
        vec![listener],
        pipeline,
        CancellationToken::new(),
    ));
    address
}

async fn client(service: &Service, name: &str, policy: Option<&str>) -> String {
    let policy = policy.map(str::to_owned);
    let scopes = vec![Scope::Verify];
    let made = service
        .admin
        .add_api_client(name.to_owned(), scopes, policy, None, by(service));
    let (_, key) = made.await.expect("a client");
    format!("Bearer {}", key.expose())
}

fn by(service: &Service) -> By {
    let (request, at) = service.core.arrival().expect("random octets");
    By {
        request,
        actor: "bench".to_owned(),
        person: None,
        at,
        limited: false,
    }
}

async fn enrol(service: &Service, name: &str, number: usize) {
    let user = UserKey::parse(&format!("{name}{number}")).expect("a name");
    let patch = UserPatch {
        disabled: Some(name == "gone"),
        credentials: CredentialsPatch {
            pin: Some(NewVerifier::Text(PIN.into())),
            ..CredentialsPatch::default()
        },
        ..UserPatch::default()
    };
    let made = service
        .admin
        .add_user(user.clone(), patch, by(service))
        .await;
    made.expect("a user");
    if name == "bare" {
        return;
    }
    let token = |kind, key| NewToken {
        user: user.clone(),
        kind,
        algorithm: Algorithm::Sha1,
        digits: Digits::SIX,
        period: Period::THIRTY,
        key,
        counter: 0,
        active: true,
        serial: None,
    };
    let key = Some(SecretBytes::new(
        format!("{name:>10}{number:010}").into_bytes(),
    ));
    let made = service
        .admin
        .add_token(token(Kind::Totp, key), by(service))
        .await;
    made.expect("a token");
    let sms = Enrol {
        address: Some(format!("+8210{number:08}")),
        ..token(Kind::Sms, None).into()
    };
    service
        .admin
        .enrol_token(sms, by(service))
        .await
        .expect("a token");
}

/// Random order, another in every run: what comes of the order itself is not there in the next.
fn seed() -> u64 {
    let now = std::time::UNIX_EPOCH.elapsed().expect("a clock");
    u64::try_from(now.as_nanos() & u128::from(u64::MAX)).expect("64 bits") | 1
}

fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

/// Samples of each state, sorted, in nanoseconds.
async fn measure(bench: &Arc<Bench>, way: usize, each: usize, length: Duration) -> Vec<Vec<u64>> {
    let mut random = seed();
    let hashes = matches!(WAYS[way], "http" | "radius");
    let at_once = if hashes { AT_ONCE } else { AT_ONCE_WITHOUT };
    let places = Arc::new(Semaphore::new(at_once));
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    for number in 0..each {
        for _ in 0..STATES.len() {
            // Drawn anew each time: if every state came once in six, what is under way beside one of
            // them would depend on which it is, and who is locked gets nothing hashed.
            let state = next(&mut random) % STATES.len() as u64;
            let state = usize::try_from(state).expect("small");
            let place = Arc::clone(&places).acquire_owned().await.expect("open");
            // No rhythm with any timer.
            let pause = Duration::from_micros(next(&mut random) % 5000);
            tokio::time::sleep(pause).await;
            let bench = Arc::clone(bench);
            tasks.spawn(async move {
                let left = bench.ask(way, state, number).await;
                drop(place);
                (state, left)
            });
        }
        if start.elapsed() > length {
            break;
        }
    }
    let mut samples = vec![Vec::new(); STATES.len()];
    for (state, left) in tasks.join_all().await {
        samples[state].push(u64::try_from(left.as_nanos()).expect("short"));
    }
    samples
        .iter_mut()
        .for_each(|samples| samples.sort_unstable());
    samples
}

/// Other users log in, wrongly, until `ended`.
async fn load(bench: Arc<Bench>, ended: Arc<AtomicBool>) {
    let mut number = 0;
    while !ended.load(Ordering::Relaxed) {
        bench
            .verify(&format!("busy{}", number % USERS), "280466")
            .await;
        number += 1;
    }
}

/// The chance that one of `later` is above one of `than`; both sorted.
#[allow(clippy::cast_precision_loss)] // for people
fn auc(later: &[u64], than: &[u64]) -> f64 {
    let twice = later.iter().map(|one| {
        let below = than.partition_point(|other| other < one);
        let up_to = than.partition_point(|other| other <= one);
        (below + up_to) as f64
    });
    twice.sum::<f64>() / (2.0 * later.len() as f64 * than.len() as f64)
}

#[allow(clippy::cast_precision_loss)] // for people
fn report(what: &str, samples: &[Vec<u64>]) {
    let mut pairs = Vec::new();
    for one in 0..STATES.len() {
        for other in 0..one {
            pairs.push((auc(&samples[one], &samples[other]), one, other));
        }
    }
    let far = |auc: f64| (auc - 0.5).abs();
    pairs.sort_by(|one, other| far(other.0).total_cmp(&far(one.0)));
    let outside = pairs.iter().filter(|pair| far(pair.0) > 0.02).count();
    let (auc, one, other) = pairs[0];
    // Of the AUC of equal distributions.
    let (n, m) = (samples[one].len() as f64, samples[other].len() as f64);
    let error = ((n + m + 1.0) / (12.0 * n * m)).sqrt();
    let mut all: Vec<u64> = samples.iter().flatten().copied().collect();
    all.sort_unstable();
    let at = |share: usize| all[(all.len() - 1) * share / 1000] as f64 / 1e6;
    println!(
        "{what:<14} {:>6} answers, {:>8.3} ms (median) {:>8.3} (99 %); farthest: {} / {} AUC {auc:.4} \
         +- {error:.4}; {outside} of {} pairs outside 0.50 +- 0.02",
        all.len(),
        at(500),
        at(990),
        STATES[one].0,
        STATES[other].0,
        pairs.len(),
    );
}

fn setting(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok()
}

fn main() {
    let word = |wanted: &str| std::env::args().any(|word| word == wanted);
    // `cargo bench -- --test` only wants to know that it runs.
    let usual = match (word("--test"), word("--quick")) {
        (true, _) => 2,
        (_, true) => 60,
        _ => 2000,
    };
    let each = setting("TIMING_SAMPLES").unwrap_or(usual);
    let length =
        setting("TIMING_LENGTH").map_or(Duration::MAX, |secs| Duration::from_secs(secs as u64));
    let threads = setting("TIMING_THREADS").unwrap_or(2);
    let only = std::env::var("TIMING_ONLY").ok();
    let dir = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let bench = Arc::new(Bench::new(dir.path(), threads).await);
        for busy in [false, true] {
            for (way, name) in WAYS.iter().enumerate() {
                if only.as_ref().is_some_and(|only| only != name) {
                    continue;
                }
                let ended = Arc::new(AtomicBool::new(!busy));
                let mut others = JoinSet::new();
                for _ in 0..LOAD {
                    others.spawn(load(Arc::clone(&bench), Arc::clone(&ended)));
                }
                let samples = measure(&bench, way, each, length).await;
                ended.store(true, Ordering::Relaxed);
                others.join_all().await;
                report(
                    &format!("{name}, {}", if busy { "load" } else { "idle" }),
                    &samples,
                );
            }
        }
    });
    println!("{threads} hashes at a time");
}
