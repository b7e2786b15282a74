//! A part of the daemon that has ended: it is not ready, and everything that is asked about it says so.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use oncegate::admin::NewRadiusClient;
use oncegate::model::client::Require;
use oncegate::radius::authenticator::RequestAuthenticator;
use oncegate::radius::dictionary::Dictionary;
use oncegate::radius::encode::MessageAuthenticator;
use oncegate::radius::packet::Code;
use oncegate::radius::request::RequestBuilder;
use oncegate::server::http::{serve_tcp, serve_unix};
use oncegate::server::radius::{Event, Pipeline, bind, run};
use serde_json::Value;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use crate::faults::b2_full_disk;
use crate::radius::dialogue::{SETTINGS, keys};
use crate::support::app::TestApp;
use crate::support::codes::{RFC_SECRET, hotp};
use crate::support::daemon::Site;
use crate::support::net::{Http, Radius};

const SECRET: &str = "a shared secret that is long enough";

fn status_server(identifier: u8) -> Vec<u8> {
    let mut packet = Vec::new();
    let authenticator = RequestAuthenticator([identifier; 16]);
    let first = MessageAuthenticator::First;
    let builder = RequestBuilder::new(
        &mut packet,
        Code::StatusServer,
        identifier,
        authenticator,
        first,
    );
    builder.finish(&keys(SECRET)).unwrap();
    packet
}

/// Whether a Status-Server is answered.
fn is_answered(radius: &Radius, identifier: u8) -> bool {
    let request = status_server(identifier);
    radius.send(&request);
    let reply = radius.receive();
    reply.is_some_and(|reply| radius.verified(&request, &reply) == Code::AccessAccept)
}

/// All front ends of a daemon in this process, on their sockets; the command line finds the admin socket
/// in the directory of an installation.
struct Whole {
    app: TestApp,
    site: Site,
    pipeline: Arc<Pipeline>,
    /// Two of each; the first can be ended.
    http: [SocketAddr; 2],
    radius: [SocketAddr; 2],
    end_http: CancellationToken,
    end_radius: CancellationToken,
    asked: u8,
}

impl Whole {
    async fn new() -> Self {
        let (app, site) = (TestApp::new(), block_in_place(Site::new));
        let nas = NewRadiusClient {
            name: "nas".to_owned(),
            addresses: vec![std::net::IpAddr::from([127, 0, 0, 1]).into()],
            secret: Some(SECRET.into()),
            policy: None,
            realm: None,
            require: Require::True,
            challenge: true,
            methods: oncegate::model::method::Allowed::default(),
            settings: oncegate::model::client::RadiusSettings::default(),
        };
        app.service
            .admin
            .add_radius_client(nas, app.by())
            .await
            .unwrap();
        let dictionary = Arc::new(Dictionary::builtin().unwrap());
        let pipeline = Pipeline::new(Arc::clone(&app.service), dictionary, SETTINGS);
        let (end_http, end_radius) = (CancellationToken::new(), CancellationToken::new());
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let places = Arc::new(Semaphore::new(64));
        let (mut http, mut radius) = ([any; 2], [any; 2]);
        for (number, address) in http.iter_mut().enumerate() {
            let listener = TcpListener::bind(any).await.unwrap();
            *address = listener.local_addr().unwrap();
            let end = if number == 0 {
                end_http.clone()
            } else {
                CancellationToken::new()
            };
            let places = Arc::clone(&places);
            tokio::spawn(serve_tcp(listener, None, Arc::clone(&app.app), places, end));
        }
        for (number, address) in radius.iter_mut().enumerate() {
            let listener = bind(any).unwrap();
            *address = listener.local_addr();
            let end = if number == 0 {
                end_radius.clone()
            } else {
                CancellationToken::new()
            };
            tokio::spawn(run(vec![listener], Arc::clone(&pipeline), end));
        }
        let socket = UnixListener::bind(site.path().join("admin.sock")).unwrap();
        let never = CancellationToken::new();
        tokio::spawn(serve_unix(socket, Arc::clone(&app.app), never));
        let mut whole = Self {
            app,
            site,
            pipeline,
            http,
            radius,
            end_http,
            end_radius,
            asked: 0,
        };
        // Each names itself when it starts.
        let vitals = Arc::clone(whole.app.service.core.vitals());
        let parts = || {
            [
                vitals.count("HTTP"),
                vitals.count("RADIUS"),
                vitals.count("the admin"),
            ]
        };
        let lanes = SETTINGS.lanes;
        let all = |_| parts() == [2, 2 * lanes, 1];
        whole.until(all).await;
        whole.is_ready().await;
        whole
    }

    async fn until(&self, wanted: impl Fn(Option<String>) -> bool) {
        let waited = async {
            while !wanted(self.app.service.core.fault()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), waited).await;
        waited.expect("it never came to that");
    }

    /// A Status-Server to the second listener: the events of answers and of silence that it makes.
    fn status_server(&mut self) -> (u64, u64) {
        let counters = self.pipeline.client_counters("nas");
        let seen = || {
            (
                counters.events(Event::Status),
                counters.events(Event::StoreFault),
            )
        };
        let (before, radius) = (seen(), Radius::new(self.radius[1], SECRET));
        self.asked += 1;
        radius.send(&status_server(self.asked));
        while seen() == before {
            std::thread::sleep(Duration::from_millis(2));
        }
        let after = seen();
        (after.0 - before.0, after.1 - before.1)
    }

    fn told(&self) -> (u16, String, String) {
        let mut http = Http::new(self.http[1], "");
        let (status, body) = http.send("GET", "/readyz", b"").unwrap();
        let (_, metrics) = http.send("GET", "/metrics", b"").unwrap();
        let text = |octets| String::from_utf8(octets).unwrap();
        (status, text(body), text(metrics))
    }

    fn doctor(&self) -> (Option<i32>, Value) {
        let doctor = self.site.run(&["--json", "doctor"]);
        let found: Value = serde_json::from_slice(&doctor.stdout).unwrap();
        let checks = found["checks"].as_array().unwrap();
        let daemon = checks.iter().find(|check| check["check"] == "daemon");
        (doctor.status.code(), daemon.expect("a check").clone())
    }

    async fn is_ready(&mut self) {
        self.until(|fault| fault.is_none()).await;
        block_in_place(|| {
            let (status, _, metrics) = self.told();
            assert_eq!(status, 200);
            assert!(metrics.contains("\noncegate_ready 1\n"), "{metrics}");
            assert_eq!(self.status_server(), (1, 0));
            assert_eq!(self.site.run(&["status"]).status.code(), Some(0));
            let (_, daemon) = self.doctor();
            assert_eq!(daemon["state"], "ok", "{daemon}");
        });
    }

    /// What everybody says when this part has ended.
    async fn is_not_ready(&mut self, part: &str) {
        self.until(|fault| fault.is_some()).await;
        block_in_place(|| {
            let (status, body, metrics) = self.told();
            assert_eq!(status, 503, "{part}");
            assert!(body.contains(part), "{part}: {body}");
            assert!(
                metrics.contains("\noncegate_ready 0\n"),
                "{part}: {metrics}"
            );
            assert_eq!(self.status_server(), (0, 1), "{part}");
            let shown = self.site.run(&["status"]);
            let text = String::from_utf8_lossy(&shown.stdout).into_owned();
            assert_eq!(shown.status.code(), Some(3), "{part}: {text}");
            assert!(
                text.contains("not ready: ") && text.contains(part),
                "{text}"
            );
            let (code, daemon) = self.doctor();
            assert_eq!((code, &daemon["state"]), (Some(1), &"failure".into()));
            let found = daemon["found"].as_str().unwrap();
            assert!(found.contains(part), "{daemon}");
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_has_ended_is_named_by_all() {
    let mut whole = Whole::new().await;
    whole.end_http.cancel();
    let part = format!("HTTP on {}", whole.http[0]);
    whole.is_not_ready(&part).await;
    let mut whole = Whole::new().await;
    whole.end_radius.cancel();
    let part = format!("RADIUS on {}", whole.radius[0]);
    // The other port is silent, too: the NAS goes to another server.
    whole.is_not_ready(&part).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loop_that_has_ended_is_named_by_all() {
    let mut whole = Whole::new().await;
    let vitals = Arc::clone(whole.app.service.core.vitals());
    // As the daemon runs its loops: one that returns, one that breaks.
    let end = CancellationToken::new();
    let returns = vitals.keep("expiry of tokens", end.clone().cancelled_owned());
    let task = tokio::spawn(returns);
    let breaks = CancellationToken::new();
    let waits = breaks.clone().cancelled_owned();
    let broken = tokio::spawn(vitals.keep("notices to users", async {
        waits.await;
        panic!("a defect");
    }));
    whole.is_ready().await;
    end.cancel();
    task.await.unwrap();
    whole.is_not_ready("expiry of tokens").await;
    let again = CancellationToken::new();
    let task = tokio::spawn(vitals.keep("expiry of tokens", again.clone().cancelled_owned()));
    whole.is_ready().await;
    breaks.cancel();
    assert!(broken.await.is_err());
    whole.is_not_ready("notices to users").await;
    again.cancel();
    task.await.unwrap();
}

/// The daemon itself, whose disk is full for a while.
#[test]
fn status_server_is_silent_while_the_daemon_is_not_ready() {
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    site.radius_client("nas", SECRET);
    let store = site.path().join("store");
    let (daemon, kib) = b2_full_disk::on_a_small_disk(&site, &store);
    let radius = Radius::new(daemon.radius, SECRET);
    let mut http = Http::new(daemon.http, &site.admin_key);
    let (_, answer) = http.verify("alice", &hotp(0)).unwrap();
    assert_eq!(answer["decision"], "accept");
    assert!(is_answered(&radius, 1));
    b2_full_disk::fill(&mut http);
    radius.patience(Duration::from_millis(300));
    assert!(!is_answered(&radius, 2));
    assert_eq!(http.send("GET", "/readyz", b"").unwrap().0, 503);
    assert_eq!(site.run(&["status"]).status.code(), Some(3));
    assert_eq!(site.run(&["doctor"]).status.code(), Some(1));
    b2_full_disk::room(&daemon, &store, kib * 4);
    radius.patience(Duration::from_millis(300));
    let answered = (3..200).find(|identifier| is_answered(&radius, *identifier));
    assert!(answered.is_some(), "it goes on by itself");
    assert_eq!(http.send("GET", "/readyz", b"").unwrap().0, 200);
    assert!(daemon.terminate().success());
}
