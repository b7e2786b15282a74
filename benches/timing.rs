//! Whether the time at which a reject leaves tells why it was one (SECURITY T13).
//!
//! `cargo bench --bench timing` takes 10 000 samples of each cause, which is 30 000 hashes: some ten
//! minutes on two idle cores. `TIMING_SAMPLES=3000` takes fewer, `TIMING_LENGTH=420` stops after so
//! many seconds. For each pair of causes it prints the Mann-Whitney AUC, the chance that a reject of
//! one leaves later than one of the other: 0.5 tells nothing, and the goal is 0.50 +- 0.02.
//!
//! Requests go through the HTTP front end without a socket, in random order; what is measured is the
//! time from the call to the answer. A request begins a random while after at most one other is still
//! being decided, whatever else the machine does: beyond what hashing can do the queue would be
//! measured instead. The last line says how many rejects were late all the same.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use oncegate::config::Limits;
use oncegate::credential::Cost;
use oncegate::diagnostic::Source;
use oncegate::model::client::Scope;
use oncegate::model::kind::Kind;
use oncegate::model::sealing::SealAlgorithm;
use oncegate::model::user_key::UserKey;
use oncegate::otp::Algorithm;
use oncegate::otp::Digits;
use oncegate::otp::Period;
use oncegate::policy::Policies;
use oncegate::secret::Key256;
use oncegate::secret::SecretBytes;
use oncegate::secret::SystemEntropy;
use oncegate::server::Info;
use oncegate::server::http::App;
use oncegate::server::http::router;
use oncegate::service::Service;
use oncegate::service::admin::CredentialsPatch;
use oncegate::service::admin::NewToken;
use oncegate::service::admin::NewVerifier;
use oncegate::service::admin::UserPatch;
use oncegate::service::hashing::Settings;
use oncegate::store::By;
use oncegate::store::embedded::Embedded;
use oncegate::store::embedded::Parts;
use oncegate::store::medium::Directory;
use oncegate::time::SystemClock;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

const CAUSES: [&str; 3] = ["unknown user", "wrong PIN", "wrong code"];
const PIN: &str = "280465";
/// Nobody is locked before all is measured.
const USERS: usize = 16;
const DELAY: Duration = Duration::from_millis(200);
const POLICY: &str = r#"
reject_delay = "200ms"
[[rule]]
name = "all"
require = ["pin", "otp"]
[lockout]
free = 10000
lock_after = 10000
hard_lock_after = 10000
source_lock_after = 0
"#;
const LIMITS: Limits = Limits {
    radius_in_flight: 1,
    radius_queue: 1,
    http_connections: 1000,
    http_connections_per_address: 256,
    http_client_rate: None,
    request_timeout: Duration::from_secs(3),
    reject_queue: 10_000,
    password_threads: None,
    password_queue: 64,
    password_cost: Cost::DEFAULT,
};

struct Bench {
    service: Arc<Service>,
    /// Audit records before the first request.
    before: u64,
    router: Router,
    key: String,
}

impl Bench {
    async fn new(dir: &std::path::Path, threads: usize) -> Self {
        let store = Embedded::open(Parts {
            medium: Arc::new(Directory::new(dir)),
            master: Key256::new([1; 32]),
            algorithm: SealAlgorithm::default(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            segment_size: 64 << 20,
            checkpoint: Duration::from_secs(5),
        });
        let source = Source::new("default.toml", POLICY);
        let policies = Policies::parse(&[source], &|_, _| Ok(())).expect("a policy");
        let hashing = Settings {
            threads,
            ..Settings::default()
        };
        let store = Arc::new(store.expect("an empty store"));
        let clock = Arc::new(SystemClock);
        let service = Service::new(store, policies, clock, Arc::new(SystemEntropy), hashing);
        let service = Arc::new(service.await.expect("a service"));
        for number in 0..USERS {
            enrol(&service, number).await;
        }
        let scopes = vec![Scope::Verify];
        let made = service.add_api_client("app".to_owned(), scopes, None, None, by(&service));
        let (_, key) = made.await.expect("a client");
        let app = App::new(Arc::clone(&service), LIMITS, Info::default());
        Self {
            before: service.store().health().seq,
            service,
            router: router(app),
            key: format!("Bearer {}", key.expose()),
        }
    }

    /// Rejects that are decided, whether or not they have left.
    fn decided(&self) -> u64 {
        self.service.store().health().seq - self.before
    }

    /// How long a reject takes to leave.
    async fn reject(&self, cause: usize, number: usize) -> Duration {
        let (user, pin) = match cause {
            0 => ("nobo", PIN),
            1 => ("user", "280466"),
            _ => ("user", PIN),
        };
        let user = format!("{user}{:02}", number % USERS);
        let body = format!(r#"{{"user":"{user}","pin":"{pin}","otp":"000000"}}"#);
        let request = Request::post("/v1/verify")
            .header("authorization", &self.key)
            .header("content-type", "application/json")
            .body(Body::from(body));
        let (request, router) = (request.expect("a request"), self.router.clone());
        let start = Instant::now();
        let Ok(answer) = router.oneshot(request).await;
        let left = start.elapsed();
        assert_eq!(
            answer.status(),
            200,
            "the pace is beyond what hashing can do"
        );
        left
    }
}

fn by(service: &Service) -> By {
    let (request, at) = service.arrival().expect("random octets");
    By {
        request,
        actor: "bench".to_owned(),
        person: None,
        at,
    }
}

async fn enrol(service: &Service, number: usize) {
    let user = UserKey::parse(&format!("user{number:02}")).expect("a name");
    let patch = UserPatch {
        credentials: CredentialsPatch {
            pin: Some(NewVerifier::Text(PIN.into())),
            ..CredentialsPatch::default()
        },
        ..UserPatch::default()
    };
    let made = service.add_user(user.clone(), patch, by(service)).await;
    made.expect("a user");
    let octet = u8::try_from(number + 1).expect("few users");
    let token = NewToken {
        user,
        kind: Kind::Totp,
        algorithm: Algorithm::Sha1,
        digits: Digits::SIX,
        period: Period::THIRTY,
        key: Some(SecretBytes::new(vec![octet; 20])),
        counter: 0,
        active: true,
        serial: None,
    };
    let made = service.add_token(token, by(service)).await;
    made.expect("a token");
}

/// Random order, the same in every run.
fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

/// Samples of each cause, in nanoseconds.
async fn measure(bench: Arc<Bench>, each: usize, length: Duration) -> [Vec<u64>; 3] {
    let mut random = 0x9e37_79b9_7f4a_7c15;
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    let mut begun = 0;
    for number in 0..each {
        let mut order = [0, 1, 2];
        for place in [2, 1] {
            let other = next(&mut random) % (place as u64 + 1);
            order.swap(place, usize::try_from(other).expect("small"));
        }
        for cause in order {
            while begun - bench.decided() > 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // No rhythm with any timer.
            let pause = Duration::from_micros(next(&mut random) % 5000);
            tokio::time::sleep(pause).await;
            begun += 1;
            let bench = Arc::clone(&bench);
            tasks.spawn(async move { (cause, bench.reject(cause, number).await) });
        }
        if start.elapsed() > length {
            break;
        }
    }
    let mut samples = [const { Vec::new() }; 3];
    for (cause, left) in tasks.join_all().await {
        samples[cause].push(u64::try_from(left.as_nanos()).expect("short"));
    }
    samples
        .iter_mut()
        .for_each(|samples| samples.sort_unstable());
    samples
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

fn setting(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok()
}

#[allow(clippy::cast_precision_loss)] // for people
fn main() {
    // `cargo bench -- --test` only wants to know that it runs.
    let short = std::env::args().any(|word| word == "--test");
    let each = setting("TIMING_SAMPLES").unwrap_or(if short { 5 } else { 10_000 });
    let length =
        setting("TIMING_LENGTH").map_or(Duration::MAX, |secs| Duration::from_secs(secs as u64));
    let threads = setting("TIMING_THREADS").unwrap_or(2);
    let dir = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let bench = Arc::new(runtime.block_on(Bench::new(dir.path(), threads)));
    let start = Instant::now();
    let samples = runtime.block_on(measure(bench, each, length));
    let elapsed = start.elapsed();
    println!("{elapsed:.0?}, {threads} hashes at a time");
    for (cause, samples) in CAUSES.iter().zip(&samples) {
        let at = |share: usize| samples[(samples.len() - 1) * share / 1000] as f64 / 1e6;
        println!(
            "{cause:>12}: {} rejects left after {:.3} ms (median), {:.3} (1 %), {:.3} (99 %), {:.3} (99.9 %)",
            samples.len(),
            at(500),
            at(10),
            at(990),
            at(999),
        );
    }
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        let (later, than) = (&samples[one], &samples[other]);
        let auc = auc(later, than);
        // Of the AUC of equal distributions.
        let (n, m) = (later.len() as f64, than.len() as f64);
        let error = ((n + m + 1.0) / (12.0 * n * m)).sqrt();
        let word = if (auc - 0.5).abs() <= 0.02 {
            ""
        } else {
            "  OUTSIDE 0.50 +- 0.02"
        };
        println!(
            "{:>12} / {:<12} AUC {auc:.4} +- {error:.4}{word}",
            CAUSES[one], CAUSES[other]
        );
    }
    let late = u64::try_from((DELAY + Duration::from_millis(20)).as_nanos()).expect("short");
    let all = samples.iter().flatten();
    println!(
        "{} left more than 20 ms late",
        all.filter(|left| **left > late).count()
    );
}
