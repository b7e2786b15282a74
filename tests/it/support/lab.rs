//! Both front ends in this process on one service and one store that outlives them, without
//! sockets; the clock stands still until it is moved.
//!
//! Every policy has an API client and a RADIUS client of its own, named after it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use oncegate::admin::{CredentialsPatch, NewRadiusClient, NewToken, NewVerifier, UserPatch};
use oncegate::config::Limits;
use oncegate::diagnostic::Source;
use oncegate::login::hashing;
use oncegate::model::audit::{DecisionEvent, Event};
use oncegate::model::client::{Require, Scope};
use oncegate::model::kind::Kind;
use oncegate::model::sealing::SealAlgorithm;
use oncegate::model::user_key::UserKey;
use oncegate::otp::{Algorithm, Digits, Period, hotp};
use oncegate::policy::Policies;
use oncegate::radius::authenticator::SecretKeys;
use oncegate::radius::dictionary::Dictionary;
use oncegate::radius::request::RequestBuilder;
use oncegate::secret::{Key256, OtpKey, SecretBytes, SecretString};
use oncegate::server::Info;
use oncegate::server::http::{App, local_router, router, serve_tcp};
use oncegate::server::radius::{Ingress, Pipeline, Received, Settings};
use oncegate::service::Service;
use oncegate::store::backup::{Restore, restore};
use oncegate::store::medium::{Directory, Medium, Memory};
use oncegate::store::{AuditQuery, By, Change};
use oncegate::time::{Clock as _, FixedClock, UnixTime};
use serde_json::Value;
use tempfile::{NamedTempFile, TempDir};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::radius::dialogue::{SECRET, keys};
use crate::support::app;
use crate::support::base::{Base, LIMITS};
use crate::support::explained::run_at;
use crate::support::gear::{access_request, heard, request_of};

/// When every lab begins: the first second of a TOTP step.
pub(crate) const START: UnixTime = UnixTime::from_secs(1_795_000_020);

/// A store, and what runs on it at present.
pub(crate) struct Lab {
    pub(crate) clock: FixedClock,
    /// What hashing may occupy from the next start on.
    pub(crate) hashing: hashing::Settings,
    /// The limits from the next start on.
    pub(crate) limits: Limits,
    medium: Arc<dyn Medium>,
    /// Where a restored store lies.
    place: Option<TempDir>,
    policies: Vec<Source>,
    running: Option<Running>,
    clients: HashMap<String, Client>,
    sent: AtomicU64,
}

struct Running {
    service: Arc<Service>,
    app: Arc<App>,
    router: Router,
    pipeline: Arc<Pipeline>,
    ingress: Ingress,
}

struct Client {
    key: SecretString,
    address: IpAddr,
}

/// An answer of either front end.
#[derive(Debug)]
pub(crate) struct Heard {
    /// `accept`, `challenge` or `reject`.
    pub(crate) decision: String,
    /// What the next round must give back.
    pub(crate) challenge: Option<String>,
    /// All an observer sees, without what differs between any two answers: the request's id over
    /// HTTP; identifier and authenticators over RADIUS.
    pub(crate) seen: String,
    /// The body over HTTP.
    pub(crate) body: Value,
}

impl Lab {
    /// Policies by name and text; for each its two clients.
    pub(crate) async fn new(policies: &[(&str, &str)]) -> Self {
        // Where no test says otherwise, tokens are made by the rules of this one.
        let default = ("default", "[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n");
        let default = (!policies.iter().any(|(name, _)| *name == "default")).then_some(&default);
        let sources = policies.iter().chain(default);
        let sources = sources.map(|(name, text)| Source::new(*name, *text));
        let mut lab = Self {
            clock: FixedClock::at(START),
            hashing: hashing::Settings {
                threads: 2,
                queue: 10_000,
                ..hashing::Settings::default()
            },
            limits: LIMITS,
            medium: Arc::new(Memory::default()),
            place: None,
            policies: sources.collect(),
            running: None,
            clients: HashMap::new(),
            sent: AtomicU64::new(0),
        };
        lab.start();
        for (number, (name, _)) in policies.iter().enumerate() {
            let number = u8::try_from(number).expect("few policies");
            lab.client(name, number).await;
        }
        lab
    }

    async fn client(&mut self, policy: &str, number: u8) {
        let address = IpAddr::from([127, 1, 0, number]);
        let (scopes, name) = (vec![Scope::Verify], format!("app-{policy}"));
        let made = self.service().admin.add_api_client(
            name,
            scopes,
            Some(policy.to_owned()),
            None,
            self.by(),
        );
        let (_, key) = made.await.expect("an API client");
        let new = NewRadiusClient {
            name: format!("nas-{policy}"),
            addresses: vec![address.into()],
            secret: Some(SecretString::from(SECRET)),
            policy: Some(policy.to_owned()),
            realm: None,
            require: Require::True,
            challenge: true,
            methods: oncegate::model::method::Allowed::default(),
            settings: oncegate::model::client::RadiusSettings::default(),
        };
        let made = self.service().admin.add_radius_client(new, self.by());
        made.await.expect("a RADIUS client");
        self.clients
            .insert(policy.to_owned(), Client { key, address });
    }

    fn start(&mut self) {
        let base = Base {
            medium: Arc::clone(&self.medium),
            clock: self.clock.clone(),
            policies: self.policies.clone(),
            hashing: self.hashing,
            ..Base::at(START)
        };
        let service = base.service();
        let app = App::new(Arc::clone(&service), self.limits, Info::default());
        let dictionary = Arc::new(Dictionary::builtin().expect("the built-in dictionary"));
        let pipeline = Pipeline::new(
            Arc::clone(&service),
            dictionary,
            Settings::from(&self.limits),
        );
        self.running = Some(Running {
            router: router(Arc::clone(&app)),
            ingress: pipeline.listener(SocketAddr::from(([127, 0, 0, 1], 1812))),
            service,
            app,
            pipeline,
        });
    }

    /// A backup of the store.
    pub(crate) async fn backup(&self) -> NamedTempFile {
        let file = NamedTempFile::new().expect("a file");
        let out = file.reopen().expect("the file");
        let store = self.service().core.store();
        let done = store.backup(Vec::new(), None, self.by().at, out).await;
        done.expect("a backup");
        file
    }

    /// Ends the service and opens another on the store that is restored from this backup at the present.
    pub(crate) async fn restore(&mut self, backup: &NamedTempFile) {
        self.stop().await;
        let place = TempDir::new().expect("a directory");
        let what = Restore {
            dir: place.path(),
            master: &Key256::new([7; 32]),
            algorithm: SealAlgorithm::default(),
            segment_size: 1 << 20,
            at: None,
            now: self.clock.now(),
            statements: &|_| Vec::new(),
        };
        restore(&what, vec![backup.reopen().expect("the file")]).expect("it is restored");
        self.medium = Arc::new(Directory::new(place.path()));
        self.place = Some(place);
        self.start();
    }

    /// Ends the service and opens another on the same store.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.start();
    }

    async fn stop(&mut self) {
        let Running { service, app, .. } = self.running.take().expect("it runs");
        app.drain().await;
        drop(app);
        assert_eq!(Arc::strong_count(&service), 1, "the store is closed");
        drop(service);
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs")
    }

    pub(crate) fn service(&self) -> &Arc<Service> {
        &self.running().service
    }

    pub(crate) fn by(&self) -> By {
        let (request, at) = self.service().core.arrival().expect("random octets");
        By {
            request,
            actor: "test".to_owned(),
            person: None,
            at,
            limited: false,
        }
    }

    /// A user with what they know.
    pub(crate) async fn user(&self, name: &str, pin: Option<&str>, password: Option<&str>) {
        let text = |text: Option<&str>| text.map(|text| NewVerifier::Text(text.into()));
        let patch = UserPatch {
            credentials: CredentialsPatch {
                pin: text(pin),
                password: text(password),
                must_change: None,
            },
            ..UserPatch::default()
        };
        let made = self
            .service()
            .admin
            .add_user(key(name), patch, self.by())
            .await;
        made.expect("a user");
    }

    /// A user who knows what another knows: hashed once for all of them.
    pub(crate) async fn same_user(&self, name: &str, like: &str) {
        self.user(name, None, None).await;
        let store = self.service().core.store();
        let mut credentials = store.credentials(&key(like)).expect("readable");
        credentials.revision = 0;
        let change = Change::SetCredentials(key(name), credentials);
        store.change(change, self.by()).await.expect("a new record");
    }

    /// Changes what a user knows.
    pub(crate) async fn set(&self, name: &str, credentials: CredentialsPatch) {
        let patch = UserPatch {
            credentials,
            ..UserPatch::default()
        };
        let (key, by) = (key(name), self.by());
        let set = self.service().admin.set_user(&key, patch, None, by).await;
        set.expect("a change");
    }

    /// An active token of so many digits whose key follows from the user's name and the digits.
    pub(crate) async fn token(&self, user: &str, kind: Kind, digits: Digits) {
        let new = NewToken {
            user: key(user),
            kind,
            algorithm: Algorithm::Sha1,
            digits,
            period: Period::THIRTY,
            key: Some(SecretBytes::new(octets(user, digits))),
            counter: 0,
            active: true,
            serial: None,
        };
        let made = self.service().admin.add_token(new, self.by()).await;
        made.expect("a token");
    }

    /// The last step consumed of the user's only token.
    pub(crate) fn last(&self, user: &str) -> Option<u64> {
        let view = self.service().core.store().view(&key(user));
        let view = view.expect("readable").expect("a user");
        let [(_, state)] = view.tokens.as_slice() else {
            panic!("one token");
        };
        state.moving.last
    }

    /// The newest decision about a user.
    pub(crate) async fn decision(&self, user: &str) -> DecisionEvent {
        let query = AuditQuery {
            user: Some(key(user).to_string()),
            limit: 16,
            ..AuditQuery::default()
        };
        let records = self
            .service()
            .core
            .store()
            .audit(query)
            .await
            .expect("the audit");
        let mut events = records.into_iter().map(|record| record.event);
        let decision = events.find_map(|event| match event {
            Event::Decision(decision) => Some(decision),
            Event::Change(_) => None,
        });
        decision.expect("a decision")
    }

    /// The word for the newest decision about a user.
    pub(crate) async fn reason(&self, user: &str) -> &'static str {
        self.decision(user).await.reason.as_str()
    }

    /// `POST /v1/verify` by the API client of the policy.
    pub(crate) async fn http(&self, policy: &str, mut body: Value) -> Heard {
        let typed = ["otp", "passcode", "pin", "password"];
        if typed.iter().all(|field| body.get(field).is_none()) {
            // A form whose fields were all left empty; no field at all is a mistake of the application.
            body["otp"] = "".into();
        }
        self.post(policy, "/v1/verify", body).await
    }

    /// `POST` by the API client of the policy; the answer is a decision.
    pub(crate) async fn post(&self, policy: &str, path: &str, body: Value) -> Heard {
        let key = &self.clients[policy].key;
        let request = app::request("POST", path, Some(key), Some(body));
        let answer = app::ask(&self.running().router, request).await;
        let mut body = answer.json();
        assert_eq!(answer.status, 200, "{body}");
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let id = text(&body["request_id"]).expect("a request id");
        let seen = String::from_utf8(answer.body).expect("JSON is UTF-8");
        let seen = format!("{:?}\n{}", answer.headers, seen).replace(&id, "ID");
        Heard {
            decision: text(&body["decision"]).expect("a decision"),
            challenge: text(&body["challenge"]["id"]),
            seen,
            body: body.take(),
        }
    }

    /// What `POST /v1/challenges` answers.
    pub(crate) async fn begin(&self, policy: &str, path: &str, body: Value) -> Value {
        let key = &self.clients[policy].key;
        let request = app::request("POST", path, Some(key), Some(body));
        let answer = app::ask(&self.running().router, request).await;
        assert_eq!(answer.status, 201, "{}", answer.json());
        answer.json()
    }

    /// How a round stands; the status when there is none.
    pub(crate) async fn standing(&self, policy: &str, id: &str) -> String {
        let key = &self.clients[policy].key;
        let path = format!("/v1/challenges/{id}");
        let request = app::request("GET", &path, Some(key), None);
        let answer = app::ask(&self.running().router, request).await;
        let status = answer.status.as_u16().to_string();
        let body = answer.json();
        let standing = body["status"].as_str().map(str::to_owned);
        standing.unwrap_or(status)
    }

    /// The status of a `POST` by the API client of the policy.
    pub(crate) async fn status(&self, policy: &str, path: &str, body: Value) -> u16 {
        let key = &self.clients[policy].key;
        let request = app::request("POST", path, Some(key), Some(body));
        app::ask(&self.running().router, request)
            .await
            .status
            .as_u16()
    }

    /// The status and the body of whatever is answered to the API client of the policy.
    pub(crate) async fn raw(
        &self,
        method: &str,
        policy: &str,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let key = &self.clients[policy].key;
        let request = app::request(method, path, Some(key), body);
        let answer = app::ask(&self.running().router, request).await;
        (answer.status.as_u16(), answer.json())
    }

    /// A change by an administrator.
    pub(crate) async fn change(&self, method: &str, path: &str, body: Value) {
        let router = local_router(Arc::clone(&self.running().app), 0);
        let answer = app::ask(&router, app::request(method, path, None, Some(body))).await;
        assert!(answer.status.is_success(), "{answer:?}");
    }

    /// What an administrator is shown.
    pub(crate) async fn admin(&self, method: &str, path: &str) -> Value {
        let router = local_router(Arc::clone(&self.running().app), 0);
        let answer = app::ask(&router, app::request(method, path, None, None)).await;
        assert_eq!(answer.status, 200);
        answer.json()
    }

    /// An Access-Request by PAP from the gear of the policy.
    pub(crate) async fn radius(
        &self,
        policy: &str,
        user: &str,
        typed: &str,
        state: Option<&str>,
        station: Option<IpAddr>,
    ) -> Heard {
        let heard = self.heard(policy, user, typed, state, station).await;
        heard.expect("a decision")
    }

    /// Whether a request is answered at all.
    pub(crate) async fn is_answered(
        &self,
        policy: &str,
        user: &str,
        typed: &str,
        station: Option<IpAddr>,
    ) -> bool {
        let heard = self.heard(policy, user, typed, None, station).await;
        heard.is_some()
    }

    /// As [`Lab::radius`], where there may be no answer.
    pub(crate) async fn heard(
        &self,
        policy: &str,
        user: &str,
        typed: &str,
        state: Option<&str>,
        station: Option<IpAddr>,
    ) -> Option<Heard> {
        let keys = keys(SECRET);
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let request = access_request(number, &keys, user, typed, state, station);
        let Running {
            pipeline, ingress, ..
        } = self.running();
        // A port of its own: identifiers come round.
        let port = 1024 + u16::try_from(number % 60_000).expect("a port");
        let from = SocketAddr::new(self.clients[policy].address, port);
        let Received::Work(job) = pipeline.receive(&request, from, ingress) else {
            panic!("work");
        };
        let answer = job.run().await?;
        let reply = answer.release().expect("an answer");
        Some(heard(&request, &reply, &keys))
    }
}

impl Lab {
    /// An Access-Request from the NAS of the policy, of whatever it holds; the reply, and the request.
    pub(crate) async fn send(
        &self,
        policy: &str,
        build: impl FnOnce(&mut RequestBuilder<'_>, &SecretKeys),
    ) -> (Vec<u8>, Heard) {
        self.sent(policy, build).await.expect("a decision")
    }

    /// As [`Lab::send`], where there may be no answer.
    pub(crate) async fn sent(
        &self,
        policy: &str,
        build: impl FnOnce(&mut RequestBuilder<'_>, &SecretKeys),
    ) -> Option<(Vec<u8>, Heard)> {
        let keys = keys(SECRET);
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let request = request_of(number, &keys, |builder| build(builder, &keys));
        let Running {
            pipeline, ingress, ..
        } = self.running();
        let port = 1024 + u16::try_from(number % 60_000).expect("a port");
        let from = SocketAddr::new(self.clients[policy].address, port);
        let Received::Work(job) = pipeline.receive(&request, from, ingress) else {
            panic!("work");
        };
        let answer = job.run().await?;
        let reply = answer.release().expect("an answer");
        Some((reply.to_vec(), heard(&request, &reply, &keys)))
    }

    /// Loads other texts of the policies.
    pub(crate) fn edit(&self, policies: &[(&str, &str)]) {
        let sources = policies
            .iter()
            .map(|(name, text)| Source::new(*name, *text));
        let sources: Vec<Source> = sources.collect();
        let policies = Policies::parse(&sources, &|_, _| Ok(())).expect("policies");
        self.service()
            .core
            .replace_policies(policies)
            .expect("all that clients name");
    }

    /// Puts a user into groups.
    pub(crate) async fn groups(&self, name: &str, groups: &[&str]) {
        let patch = UserPatch {
            groups: Some(groups.iter().map(|group| (*group).to_owned()).collect()),
            ..UserPatch::default()
        };
        let user = key(name);
        let set = self.service().admin.set_user(&user, patch, None, self.by());
        set.await.expect("a change");
    }

    /// What the user is called from now on.
    pub(crate) async fn display_name(&self, name: &str, display_name: Option<String>) {
        let patch = UserPatch {
            display_name: Some(display_name),
            ..UserPatch::default()
        };
        let user = key(name);
        let set = self.service().admin.set_user(&user, patch, None, self.by());
        set.await.expect("a change");
    }

    /// So many wrong codes of a user.
    pub(crate) async fn fail(
        &self,
        policy: &str,
        user: &str,
        station: Option<IpAddr>,
        times: usize,
    ) {
        for _ in 0..times {
            self.radius(policy, user, "000000", None, station).await;
        }
    }

    /// The right code of a user, or a wrong one, in two packets of one attempt.
    pub(crate) async fn twice(&self, policy: &str, user: &str, right: bool) {
        let typed = if right {
            self.code(user)
        } else {
            "000000".to_owned()
        };
        let path = format!("/v1/admin/clients/nas-{policy}");
        let window = |secs: u64| serde_json::json!({ "retry_window_secs": secs });
        self.change("PATCH", &path, window(10)).await;
        let station = Some(IpAddr::from([203, 0, 113, 7]));
        for _ in 0..2 {
            self.radius(policy, user, &typed, None, station).await;
        }
        self.change("PATCH", &path, window(0)).await;
    }

    /// The code of a user's TOTP token of six digits now.
    pub(crate) fn code(&self, user: &str) -> String {
        use oncegate::time::Clock as _;
        code_of(user, Digits::SIX, self.clock.now().as_secs() / 30)
    }
}

/// The program against a listener of a lab, with an administrator's key.
pub(crate) struct Console {
    address: SocketAddr,
    key: NamedTempFile,
    stop: CancellationToken,
}

impl Drop for Console {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Console {
    /// Runs a command: exit code, stdout, stderr.
    pub(crate) fn run(&self, words: &[&str], input: &str) -> (i32, String, String) {
        run_at(self.address, self.key.path(), words, input)
    }

    /// The document that a command prints.
    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let (code, out, err) = self.run(&[words, &["--json"]].concat(), "");
        assert_eq!(code, 0, "{words:?}: {out}{err}");
        serde_json::from_str(&out).expect("one document")
    }
}

impl Lab {
    /// Listens until what is returned is dropped.
    pub(crate) async fn console(&self) -> Console {
        let (name, scopes) = ("commands".to_owned(), vec![Scope::Admin]);
        let made = self
            .service()
            .admin
            .add_api_client(name, scopes, None, None, self.by());
        let (_, secret) = made.await.expect("an administrator");
        let key = NamedTempFile::new().expect("a file");
        std::fs::write(key.path(), secret.expose()).expect("a file");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (app, stop) = (Arc::clone(&self.running().app), CancellationToken::new());
        let places = Arc::new(Semaphore::new(8));
        tokio::spawn(serve_tcp(listener, None, app, places, stop.clone()));
        Console { address, key, stop }
    }
}

pub(crate) fn key(name: &str) -> UserKey {
    UserKey::parse(name).expect("a user name")
}

pub(crate) fn octets(user: &str, digits: Digits) -> Vec<u8> {
    let seed = user.bytes().chain([digits.get()]);
    seed.cycle().take(20).collect()
}

/// The code of a user's token of so many digits at a counter or step.
pub(crate) fn code_of(user: &str, digits: Digits, step: u64) -> String {
    let key = OtpKey::new(SecretBytes::new(octets(user, digits))).expect("20 octets");
    let code = hotp::generate(&key, Algorithm::Sha1, digits, step);
    code.expose().expose().to_owned()
}
