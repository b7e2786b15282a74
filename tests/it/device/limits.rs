//! What the device protocol refuses: guesses, replays, what was stolen, changed, late or another's
//! (capabilities A1, A2; threats T12, T13, T38).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use oncegate::admin::UserPatch;
use oncegate::model::audit::Event;
use oncegate::model::user_key::UserKey;
use oncegate::secret::SystemEntropy;
use oncegate::server::http::Peer;
use oncegate::server::http::router;
use oncegate::store::AuditQuery;
use oncegate::store::medium::Memory;
use oncegate::time::{FixedClock, UnixTime};
use serde_json::json;

use crate::device::devices::{CODE, POLICY, SERIAL, enrolled, invite, invited};
use crate::support::app::{TestApp, ask};
use crate::support::device::{Phone, Sent};

const REFUSED: (u16, &str) = (409, "refused");
const NOT_TAKEN: (u16, &str) = (401, "not-taken");

impl TestApp {
    /// Status and kind of the problem that this ends in.
    async fn refusal(&self, sent: &Sent) -> (u16, String) {
        self.send(sent).await.problem()
    }

    /// Causes of decisions, newest first.
    async fn causes(&self) -> Vec<&'static str> {
        let query = AuditQuery {
            limit: 100,
            ..AuditQuery::default()
        };
        let records = self.service.core.store().audit(query).await.unwrap();
        let decisions = records.iter().filter_map(|record| match &record.event {
            Event::Decision(event) => Some(event.reason.as_str()),
            Event::Change(_) => None,
        });
        decisions.collect()
    }

    fn failures(&self, user: &str) -> u32 {
        let user = UserKey::parse(user).unwrap();
        let view = self.service.core.store().view(&user).unwrap().unwrap();
        view.state.throttle.failures
    }

    pub(crate) async fn metrics(&self) -> String {
        let answer = self.admin("GET", "/metrics", None).await;
        String::from_utf8(answer.body).unwrap()
    }
}

fn is(found: &(u16, String), wanted: (u16, &str)) {
    assert_eq!((found.0, found.1.as_str()), wanted);
}

/// Capabilities A1: five tries, and they are the user's failures too.
#[tokio::test]
async fn guessing_burns_the_code_and_counts_against_the_user() {
    let app = invited("alice").await;
    let phone = Phone::new(1);
    for guess in 1..=5_u8 {
        let code = format!("00000000000{guess}");
        is(
            &app.refusal(&phone.enrol(app.service.core.now(), "alice", &code))
                .await,
            REFUSED,
        );
        assert_eq!(app.issued().tries, guess);
        assert_eq!(app.failures("alice"), u32::from(guess));
        app.clock.advance(Duration::from_secs(11));
    }
    is(
        &app.refusal(&phone.enrol(app.service.core.now(), "alice", CODE))
            .await,
        REFUSED,
    );
    assert_eq!(app.causes().await[..2], ["expired_code", "wrong_code"]);
    assert!(app.service.admin.device(&phone.id()).unwrap().is_none());
    // What cannot be a code is looked at by nobody.
    is(
        &app.refusal(&phone.enrol(app.service.core.now(), "alice", "755224"))
            .await,
        REFUSED,
    );
    assert_eq!(app.causes().await[0], "malformed_code");
    assert_eq!(app.failures("alice"), 6);
}

/// Contract s8.3: the lockout holds whatever is guessed at.
#[tokio::test]
async fn a_locked_user_redeems_nothing() {
    let app = invited("alice").await;
    let phone = Phone::new(1);
    for _ in 0..5 {
        app.refusal(&phone.enrol(app.service.core.now(), "alice", "000000000000"))
            .await;
    }
    assert_eq!(
        app.causes().await[0],
        "throttled",
        "three are free, the fourth begins the waits"
    );
    is(
        &app.refusal(&phone.enrol(app.service.core.now(), "alice", CODE))
            .await,
        REFUSED,
    );
    assert_eq!(app.causes().await[0], "throttled");
    assert_eq!(app.issued().tries, 4);
    app.clock.advance(Duration::from_secs(2));
    let answer = app
        .send(&phone.enrol(app.service.core.now(), "alice", CODE))
        .await;
    assert_eq!(answer.status, 201);
}

/// Threats T12: the same octets whatever the cause.
#[tokio::test]
async fn refusals_look_alike() {
    let app = invited("alice").await;
    app.user("bob").await;
    invite(&app, "carol", "SERVER-CAROL", "CAR01C0DE000").await;
    let carol = UserKey::parse("carol").unwrap();
    let patch = UserPatch {
        disabled: Some(true),
        ..UserPatch::default()
    };
    app.service
        .admin
        .set_user(&carol, patch, None, app.by())
        .await
        .unwrap();
    let phone = Phone::new(1);
    let mut bodies = Vec::new();
    for (user, code, cause) in [
        ("alice", "000000000000", "wrong_code"),
        ("alice", "755224", "malformed_code"),
        ("nobody", CODE, "unknown_user"),
        ("a b\u{1}", CODE, "unknown_user"),
        ("bob", CODE, "no_token"),
        ("carol", "CAR01C0DE000", "user_disabled"),
    ] {
        let answer = app
            .send(&phone.enrol(app.service.core.now(), user, code))
            .await;
        assert_eq!(answer.status, 409, "{user}");
        assert_eq!(app.causes().await[0], cause, "{user}");
        bodies.push(answer.body);
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(app.failures("alice"), 1);
    let answer = app
        .send(&phone.enrol(app.service.core.now(), "alice", CODE))
        .await;
    assert_eq!(
        answer.status, 201,
        "of all that only her own counts for her"
    );
}

/// Threats T13: and none leaves before its time.
#[tokio::test]
async fn refusals_wait_alike() {
    let policy = POLICY.replace("\"0s\"", "\"200ms\"");
    let app = TestApp::with(&policy, false);
    invite(&app, "alice", SERIAL, CODE).await;
    let phone = Phone::new(1);
    for (user, code) in [("alice", "000000000000"), ("nobody", CODE), ("alice", "1")] {
        let sent = phone.enrol(app.service.core.now(), user, code);
        let began = Instant::now();
        is(&app.refusal(&sent).await, REFUSED);
        assert!(began.elapsed() >= Duration::from_millis(200), "{user}");
    }
}

#[tokio::test]
async fn of_two_phones_at_once_one_is_enrolled() {
    for _ in 0..10 {
        let app = invited("alice").await;
        let (first, second) = (Phone::new(1), Phone::new(2));
        let now = app.service.core.now();
        let (first, second) = (
            first.enrol(now, "alice", CODE),
            second.enrol(now, "alice", CODE),
        );
        let (first, second) = tokio::join!(app.send(&first), app.send(&second));
        let mut statuses = [first.status.as_u16(), second.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409]);
        let alice = UserKey::parse("alice").unwrap();
        assert_eq!(app.service.core.store().devices(&alice).unwrap().len(), 1);
    }
}

/// Capabilities A1: twice is once too often, also for the phone that had it.
#[tokio::test]
async fn a_code_is_redeemed_once() {
    let (app, phone) = enrolled().await;
    for phone in [&phone, &Phone::new(2)] {
        is(
            &app.refusal(&phone.enrol(app.service.core.now(), "alice", CODE))
                .await,
            REFUSED,
        );
    }
    // Another user's code is of no use, and theirs stays as it is.
    invite(&app, "bob", "SERVER-BOB", "B0BSC0DE0001").await;
    is(
        &app.refusal(&Phone::new(3).enrol(app.service.core.now(), "alice", "B0BSC0DE0001"))
            .await,
        REFUSED,
    );
    let (_, state) = app.found("SERVER-BOB");
    assert_eq!(state.issued.unwrap().tries, 0);
}

/// Nobody enrols a key whose secret half somebody else has.
#[tokio::test]
async fn an_enrolment_proves_that_the_key_is_held() {
    let app = invited("alice").await;
    let (mine, theirs) = (Phone::new(1), Phone::new(2));
    let body = theirs.enrolment("alice", CODE, "phone");
    let now = app.service.core.now();
    let mut sent = mine.ask(now, "POST", "/v1/device/enroll", Some(body));
    is(&app.refusal(&sent).await, NOT_TAKEN);
    for (_, value) in &mut sent.headers {
        *value = value.replace(
            &mine.key.public().thumbprint(),
            &theirs.key.public().thumbprint(),
        );
    }
    is(&app.refusal(&sent).await, NOT_TAKEN);
    assert!(app.causes().await.is_empty(), "nothing was compared");
    assert_eq!(app.issued().tries, 0);
    let late = UnixTime::from_secs(now.as_secs() - 61);
    is(
        &app.refusal(&mine.enrol(late, "alice", CODE)).await,
        NOT_TAKEN,
    );
    for (field, value) in [
        ("algorithm", json!("rsa")),
        ("public_key", json!("AAAA")),
        ("name", json!("")),
        ("extra", json!(1)),
    ] {
        let mut body = mine.enrolment("alice", CODE, "phone");
        body[field] = value;
        let sent = mine.ask(now, "POST", "/v1/device/enroll", Some(body));
        is(&app.refusal(&sent).await, (400, "malformed"));
    }
}

/// Capabilities A2: what was stolen on the way serves for nothing else.
#[tokio::test]
async fn a_signature_is_good_for_its_own_request() {
    let (app, phone) = enrolled().await;
    let body = json!({ "serial": SERIAL });
    let sent = phone.ask(
        app.service.core.now(),
        "POST",
        "/v1/device/otp?a=1",
        Some(body),
    );
    let changed = |change: &dyn Fn(&mut Sent)| {
        let mut sent = sent.clone();
        change(&mut sent);
        sent
    };
    let without =
        |name: &'static str| changed(&move |sent| sent.headers.retain(|(known, _)| known != name));
    let stolen = [
        changed(&|sent| sent.target = "/v1/device/transfer?a=1".to_owned()),
        changed(&|sent| sent.target = "/v1/device/otp".to_owned()),
        changed(&|sent| sent.target = "/v1/device/otp?a=2".to_owned()),
        changed(&|sent| sent.body = sent.body.replace("SERVER", "OTHERS")),
        changed(&|sent| sent.body = String::new()),
        changed(&|sent| {
            sent.method = "GET".to_owned();
            sent.target = "/v1/device/pending?a=1".to_owned();
        }),
        without("Content-Digest"),
        without("Signature"),
        without("Signature-Input"),
    ];
    let first = app.send(&stolen[0]).await;
    for stolen in &stolen {
        let answer = app.send(stolen).await;
        assert_eq!(
            answer.problem(),
            (NOT_TAKEN.0, NOT_TAKEN.1.to_owned()),
            "{stolen:?}"
        );
        assert_eq!(answer.body, first.body);
        let challenge = answer.headers["www-authenticate"].to_str().unwrap();
        assert!(challenge.starts_with("Signature"));
    }
    assert_eq!(app.send(&sent).await.status, 200, "as it was it is good");
    let metrics = app.metrics().await;
    for cause in ["signature_bad", "digest_mismatch", "signature_missing"] {
        let line = format!("oncegate_device_refusals_total{{cause=\"{cause}\"}}");
        assert!(metrics.contains(&line), "{cause}: {metrics}");
    }
}

/// Capabilities A2: once, also after a restart.
#[tokio::test]
async fn a_request_is_taken_once_and_that_is_durable() {
    let medium = Arc::new(Memory::default());
    let clock = FixedClock::at(UnixTime::from_secs(1_800_000_000));
    let open = async || {
        let (medium, entropy) = (Arc::clone(&medium), Arc::new(SystemEntropy));
        TestApp::on(medium, clock.clone(), entropy, POLICY, false)
    };
    let app = open().await;
    invite(&app, "alice", SERIAL, CODE).await;
    let phone = Phone::new(1);
    let now = app.service.core.now();
    assert_eq!(app.send(&phone.enrol(now, "alice", CODE)).await.status, 201);
    let name = Some(json!({ "name": "x" }));
    let requests = [
        phone.ask(now, "POST", "/v1/device/otp", None),
        phone.ask(now, "POST", "/v1/device/transfer", None),
        phone.ask(now, "GET", "/v1/device/pending", None),
        phone.ask(now, "GET", "/v1/device", None),
        phone.ask(now, "PATCH", "/v1/device", name),
    ];
    for sent in &requests {
        assert!(app.send(sent).await.status.is_success(), "{sent:?}");
        is(&app.refusal(sent).await, NOT_TAKEN);
    }
    drop(app);
    let app = open().await;
    let number = app.issued().number;
    for sent in &requests {
        is(&app.refusal(sent).await, NOT_TAKEN);
    }
    assert_eq!(app.issued().number, number);
    let fresh = phone.ask(now, "GET", "/v1/device", None);
    assert_eq!(app.send(&fresh).await.status, 200);
}

#[tokio::test]
async fn clocks_may_differ_by_a_minute() {
    let (app, phone) = enrolled().await;
    // Nothing that only reads is taken that was signed before the server began.
    app.clock.advance(Duration::from_mins(2));
    let now = app.service.core.now().as_secs();
    for (at, taken) in [
        (now - 61, false),
        (now + 61, false),
        (now - 60, true),
        (now + 60, true),
    ] {
        let sent = phone.ask(UnixTime::from_secs(at), "GET", "/v1/device", None);
        let answer = app.send(&sent).await;
        assert_eq!(answer.status == 200, taken, "{at}");
        if !taken {
            is(&answer.problem(), NOT_TAKEN);
        }
    }
    is(
        &app.refusal(&Phone::new(9).ask(app.service.core.now(), "GET", "/v1/device", None))
            .await,
        NOT_TAKEN,
    );
    let metrics = app.metrics().await;
    for cause in ["signature_too_old", "signature_too_new", "unknown_device"] {
        assert!(
            metrics.contains(&format!("cause=\"{cause}\"}} 1")),
            "{metrics}"
        );
    }
}

/// Threats T20: whoever tries codes has no key that names them; their address does.
#[tokio::test]
async fn one_address_enrols_so_many_a_minute() {
    let app = invited("alice").await;
    let phone = Phone::new(1);
    let from = |address: &str| {
        let address: SocketAddr = address.parse().unwrap();
        router(Arc::clone(&app.app)).layer(Extension(Peer(address)))
    };
    let statuses = async |router, count: usize| {
        let mut statuses = Vec::new();
        for _ in 0..count {
            let sent = phone.enrol(app.service.core.now(), "nobody", CODE);
            statuses.push(ask(&router, sent.request()).await.status.as_u16());
        }
        statuses
    };
    let far = statuses(from("203.0.113.7:4000"), 31).await;
    assert!(far[..30].iter().all(|status| *status == 409), "{far:?}");
    assert_eq!(far[30], 429);
    let other = statuses(from("203.0.113.8:4000"), 1).await;
    assert_eq!(other, [409]);
    // A reverse proxy on this machine that is not listed is one address like any other.
    let near = statuses(from("127.0.0.1:4000"), 31).await;
    assert_eq!((near[29], near[30]), (409, 429), "{near:?}");
}
