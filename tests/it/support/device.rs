//! Devices in this process: keys, signed requests, tokens that wait for them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use data_encoding::BASE64URL_NOPAD;
use oncegate::model::device::DeviceId;
use oncegate::model::enrolment::Enrolment;
use oncegate::model::id::Serial;
use oncegate::model::issue::{Issue, Way, next_number};
use oncegate::model::kind::Kind;
use oncegate::model::token::{LifeCycle, Token, TokenState};
use oncegate::model::user_key::UserKey;
use oncegate::otp::issued::Mark;
use oncegate::otp::{Algorithm, Digits, Period};
use oncegate::secret::{Key256, OtpKey, SecretBytes};
use oncegate::service::Service;
use oncegate::signature::key::{KeyAlgorithm, SigningKey};
use oncegate::signature::request::{RequestView, Scheme};
use oncegate::signature::sign;
use oncegate::store::{By, Change};
use oncegate::time::UnixTime;
use serde_json::{Value, json};

/// A key, and nonces that never repeat.
pub(crate) struct Phone {
    pub(crate) key: SigningKey,
    nonces: AtomicU64,
}

/// A request as it travels; everything about it can be changed.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Phone {
    /// The phone whose key is made of this octet.
    pub(crate) fn new(octet: u8) -> Self {
        Self::with(KeyAlgorithm::Ed25519, [octet; 32])
    }

    pub(crate) fn with(algorithm: KeyAlgorithm, octets: [u8; 32]) -> Self {
        let key = SigningKey::from_random(algorithm, &Key256::new(octets));
        Self {
            key: key.expect("a key"),
            nonces: AtomicU64::new(0),
        }
    }

    /// Its id, as the server makes it.
    pub(crate) fn id(&self) -> DeviceId {
        let thumbprint = self.key.public().thumbprint();
        let octets = BASE64URL_NOPAD.decode(thumbprint.as_bytes());
        let octets = octets.expect("base64url");
        DeviceId::new(octets[..5].try_into().expect("32 octets"))
    }

    /// A signed request with a fresh nonce.
    pub(crate) fn ask(
        &self,
        at: UnixTime,
        method: &str,
        target: &str,
        body: Option<Value>,
    ) -> Sent {
        let number = self.nonces.fetch_add(1, Ordering::Relaxed);
        let nonce = (u128::from(at.as_millis()) << 64 | u128::from(number)).to_be_bytes();
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.signed(at, nonce, method, target, body)
    }

    /// A signed request with this nonce.
    pub(crate) fn signed(
        &self,
        at: UnixTime,
        nonce: [u8; 16],
        method: &str,
        target: &str,
        body: String,
    ) -> Sent {
        let mut headers = Vec::new();
        let mut also: &[&str] = &[];
        if !body.is_empty() {
            also = &["content-type"];
            headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        }
        let known: Vec<(&str, &[u8])> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        let octets = body.as_bytes();
        let view = RequestView::new(method, Scheme::Https, "", target, &known, octets);
        let fields = sign::sign(&view, &self.key, at, &nonce, also).expect("signed");
        if let Some(digest) = fields.content_digest {
            headers.push(("Content-Digest".to_owned(), digest));
        }
        headers.push(("Signature-Input".to_owned(), fields.signature_input));
        headers.push(("Signature".to_owned(), fields.signature));
        Sent {
            method: method.to_owned(),
            target: target.to_owned(),
            headers,
            body,
        }
    }

    /// What it says to be enrolled.
    pub(crate) fn enrolment(&self, user: &str, code: &str, name: &str) -> Value {
        let public = self.key.public();
        json!({
            "user": user,
            "code": code,
            "name": name,
            "algorithm": public.algorithm().as_str(),
            "public_key": public.base64url(),
        })
    }

    /// The request to be enrolled.
    pub(crate) fn enrol(&self, at: UnixTime, user: &str, code: &str) -> Sent {
        let body = self.enrolment(user, code, "phone");
        self.ask(at, "POST", "/v1/device/enroll", Some(body))
    }
}

impl Sent {
    pub(crate) fn request(&self) -> Request<Body> {
        let mut request = Request::builder()
            .method(self.method.as_str())
            .uri(&self.target);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request
            .body(Body::from(self.body.clone()))
            .expect("a request")
    }
}

/// A pending token of the kind `server` for a user who exists.
pub(crate) async fn pending(service: &Service, user: &UserKey, serial: &str, verify: bool) {
    let by = by(service);
    let mut key = serial.as_bytes().to_vec();
    key.resize(20, b'k');
    let token = Token {
        serial: serial.parse().expect("a serial"),
        user: user.clone(),
        kind: Kind::Server,
        state: LifeCycle::Pending,
        algorithm: Algorithm::Sha256,
        digits: Digits::SIX,
        period: Period::THIRTY,
        key: OtpKey::new(SecretBytes::new(key)).expect("20 octets"),
        address: None,
        device: None,
        expires: None,
        enrolment: Enrolment {
            by_knowledge: false,
            requester: by.actor.clone(),
            verify,
            valid_for: Some(30 * 86_400),
            ..Enrolment::default()
        },
        created: by.at,
        revision: 1,
    };
    let change = Change::CreateToken(token, TokenState::default());
    service
        .core
        .store()
        .change(change, by)
        .await
        .expect("a token");
}

/// Hands out an enrolment code of a pending token: this one.
pub(crate) async fn hand_out(service: &Service, serial: &str, code: &str) {
    let serial: Serial = serial.parse().expect("a serial");
    let found = service.core.store().token(&serial).expect("a store");
    let (token, state) = found.expect("the token");
    let by = by(service);
    let issue = Issue {
        request: by.request,
        at: by.at,
        actor: by.actor,
        user: token.user.clone(),
        serial,
        revision: token.revision,
        number: next_number(&state),
        way: Way::Enrol,
        mark: Mark::of(&token.key, Way::Enrol.as_str(), None, code),
        client: None,
        pair: None,
        life: Some(Duration::from_mins(10)),
        message: None,
        device: None,
        detail: String::new(),
    };
    let issued = service.core.store().issue(issue).await.expect("a store");
    issued.expect("a code");
}

fn by(service: &Service) -> By {
    let (request, at) = service.core.arrival().expect("random octets");
    By {
        request,
        actor: "test".to_owned(),
        person: None,
        at,
        limited: false,
    }
}
