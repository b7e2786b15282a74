//! The HTTP front end in process: store in memory, a clock that stands still, no sockets.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use oncegate::admin::{NewToken, UserPatch};
use oncegate::config::Limits;
use oncegate::diagnostic::Source;
use oncegate::model::client::Scope;
use oncegate::model::id::Serial;
use oncegate::model::kind::Kind;
use oncegate::model::user_key::UserKey;
use oncegate::otp::normal::NormalKey;
use oncegate::otp::totp::{Parameters, TimeStep};
use oncegate::otp::{Algorithm, Digits, Period, totp};
use oncegate::secret::{Entropy, OtpKey, SecretBytes, SecretString, SystemEntropy};
use oncegate::server::Info;
use oncegate::server::http::{App, local_router, router};
use oncegate::service::Service;
use oncegate::store::By;
use oncegate::store::medium::{Medium, Memory};
use oncegate::time::{FixedClock, UnixTime};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::support::base::{Base, LIMITS};

/// The key of every token made here: the one of RFC 4226 and RFC 6238.
pub(crate) const KEY: &[u8] = b"12345678901234567890";

/// A front end with its service.
pub(crate) struct TestApp {
    pub(crate) app: Arc<App>,
    pub(crate) service: Arc<Service>,
    pub(crate) clock: FixedClock,
    /// The router for TCP: callers need a key.
    pub(crate) keyed: Router,
    /// The router of the admin socket.
    pub(crate) local: Router,
    /// Of a quickstart directory the file that names the tokens whose codes are shown.
    pub(crate) marker: Option<tempfile::NamedTempFile>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("{error}: {}", String::from_utf8_lossy(&self.body));
        })
    }

    /// The answer's status and, for failures, the checked problem document's name.
    pub(crate) fn problem(&self) -> (u16, String) {
        let problem = self.json();
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(problem["status"], self.status.as_u16());
        assert!(problem["title"].is_string() && problem["detail"].is_string());
        let kind = problem["type"].as_str().expect("a type");
        let kind = kind
            .strip_prefix("urn:oncegate:problem:")
            .expect("our prefix");
        (self.status.as_u16(), kind.to_owned())
    }
}

impl TestApp {
    /// A policy without reject delay, not a quickstart directory.
    pub(crate) fn new() -> Self {
        Self::with(
            "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n",
            false,
        )
    }

    /// With this default policy.
    pub(crate) fn with(policy: &str, demo: bool) -> Self {
        let clock = FixedClock::at(UnixTime::from_secs(1_800_000_000));
        let (medium, entropy) = (Arc::new(Memory::default()), Arc::new(SystemEntropy));
        Self::on(medium, clock, entropy, policy, demo)
    }

    /// The same on this medium, by this clock and with these random octets for codes.
    pub(crate) fn on(
        medium: Arc<dyn Medium>,
        clock: FixedClock,
        entropy: Arc<dyn Entropy>,
        policy: &str,
        demo: bool,
    ) -> Self {
        let policies = ["policies/default.toml", "policies/strict.toml"];
        let base = Base {
            medium,
            clock,
            entropy,
            policies: policies.map(|name| Source::new(name, policy)).into(),
            segment_size: 64 << 20,
            ..Base::at(UnixTime::EPOCH)
        };
        let service = base.service();
        let limits = Limits {
            radius_in_flight: 1,
            radius_queue: 1,
            http_connections: 16,
            request_timeout: Duration::from_secs(3),
            ..LIMITS
        };
        let marker = demo.then(|| tempfile::NamedTempFile::new().expect("a file"));
        let info = Info {
            daemon: true,
            demo: marker.as_ref().map(|file| file.path().to_owned()),
            app_url: Some("https://app.example.com".to_owned()),
            ..Info::default()
        };
        let app = App::new(Arc::clone(&service), limits, info);
        let (keyed, local) = (router(Arc::clone(&app)), local_router(Arc::clone(&app), 0));
        Self {
            app,
            service,
            clock: base.clock,
            keyed,
            local,
            marker,
        }
    }

    pub(crate) fn by(&self) -> By {
        let (request, at) = self.service.core.arrival().expect("random octets");
        By {
            request,
            actor: "test".to_owned(),
            person: None,
            at,
            limited: false,
        }
    }

    /// A user.
    pub(crate) async fn user(&self, name: &str) -> UserKey {
        let key = UserKey::parse(name).expect("a name");
        let made = self
            .service
            .admin
            .add_user(key.clone(), UserPatch::default(), self.by())
            .await;
        made.expect("a user");
        key
    }

    /// A user with one token; the first one's is of [`KEY`].
    pub(crate) async fn user_with(&self, name: &str, kind: Kind, active: bool) -> Serial {
        let user = self.user(name).await;
        let key = OtpKey::new(SecretBytes::from(KEY)).expect("20 octets");
        let taken = self
            .service
            .core
            .store()
            .with_key(&NormalKey::of(&key, Algorithm::Sha1));
        let taken = taken.expect("a store").is_some();
        let token = NewToken {
            user,
            kind,
            algorithm: Algorithm::Sha1,
            digits: Digits::SIX,
            period: Period::THIRTY,
            key: (!taken).then(|| SecretBytes::from(KEY)),
            counter: 0,
            active,
            serial: None,
        };
        self.service
            .admin
            .add_token(token, self.by())
            .await
            .expect("a token")
            .serial
    }

    /// An API client's key.
    pub(crate) async fn key(&self, name: &str, scope: Scope, realm: Option<&str>) -> SecretString {
        let realm = realm.map(str::to_owned);
        let made = self
            .service
            .admin
            .add_api_client(name.to_owned(), vec![scope], None, realm, self.by())
            .await;
        made.expect("a client").1
    }

    /// What an authenticator app shows now, plus `ahead` steps.
    pub(crate) fn code(&self, ahead: u64) -> String {
        let key = OtpKey::new(SecretBytes::from(KEY)).expect("20 octets");
        let parameters = Parameters {
            algorithm: Algorithm::Sha1,
            digits: Digits::SIX,
            period: Period::THIRTY,
        };
        let step = TimeStep::at(self.service.core.now(), Period::THIRTY).get() + ahead;
        let code = totp::generate(&key, parameters, TimeStep::new(step));
        code.expose().expose().to_owned()
    }

    /// Asks as a local administrator.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        ask(&self.local, request(method, path, None, body)).await
    }

    /// Asks with a key.
    pub(crate) async fn keyed(
        &self,
        method: &str,
        path: &str,
        key: Option<&SecretString>,
        body: Option<Value>,
    ) -> Answer {
        ask(&self.keyed, request(method, path, key, body)).await
    }

    /// Asks whether this code is right.
    pub(crate) async fn verify(&self, key: &SecretString, user: &str, otp: &str) -> Answer {
        let body = serde_json::json!({ "user": user, "otp": otp });
        self.keyed("POST", "/v1/verify", Some(key), Some(body))
            .await
    }
}

/// A request as clients make it.
pub(crate) fn request(
    method: &str,
    path: &str,
    key: Option<&SecretString>,
    body: Option<Value>,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {}", key.expose()));
    }
    let request = match body {
        Some(body) => request
            .header("content-type", "application/json")
            .body(Body::from(body.to_string())),
        None => request.body(Body::empty()),
    };
    request.expect("a request")
}

/// Sends it and reads the answer to its end.
pub(crate) async fn ask(router: &Router, request: Request<Body>) -> Answer {
    let answer: Response<Body> = send(router, request).await;
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.expect("a body").to_bytes().to_vec();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}

/// Sends it.
pub(crate) async fn send(router: &Router, request: Request<Body>) -> Response<Body> {
    let Ok(answer) = router.clone().oneshot(request).await;
    answer
}
