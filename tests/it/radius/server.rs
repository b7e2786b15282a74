//! The RADIUS front end beyond dialogues: waiting rejects, reply attributes, addresses, metrics.

use crate::radius::dialogue::{Direct, PATIENCE, POLICY, SECRET, SETTINGS, keys, pipeline};
use crate::support::service::{TestService, code_at};
use oncegate::admin::AdminError;
use oncegate::model::client::Require;
use oncegate::model::kind::Kind;
use oncegate::radius::Discard;
use oncegate::radius::attribute::Type;
use oncegate::radius::authenticator::RequestAuthenticator;
use oncegate::radius::encode::MessageAuthenticator;
use oncegate::radius::packet::{Code, Packet};
use oncegate::radius::request::RequestBuilder;
use oncegate::server::radius::{Event, Job, Received, Settings, bind_all, run};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A reject that must wait does so without a place among the requests, and a retransmission
/// meanwhile is dropped: it must not be what gives the reject away early.
#[tokio::test]
async fn rejects_wait_for_their_time_without_a_place() {
    let policy = POLICY.replace("0s", "1s");
    let service = TestService::new(&[("default", &policy)]);
    service
        .client("vpn", "127.0.0.1/32", SECRET, Require::True, None)
        .await;
    let settings = Settings {
        in_flight: 1,
        queue: 0,
        reject_queue: 2,
        ..SETTINGS
    };
    let mut direct = Direct::new(&service);
    direct.pipeline = pipeline(&service, settings);
    let mut waiting = Vec::new();
    for id in 0..2 {
        let octets = request(id, "alice", "123456");
        let job = direct.work(&octets);
        let other = request(id + 100, "alice", "123456");
        assert_eq!(direct.word(&other), "overload");
        let answer = job.run().await.expect("an answer");
        assert_eq!(answer.delay(), Duration::from_secs(1));
        assert_eq!(direct.word(&octets), "duplicate_in_flight");
        waiting.push(answer);
    }
    // The third finds no place to wait: nobody is looked up, whoever is asked for, and nothing is
    // kept for a retransmission.
    let octets = request(2, "alice", "123456");
    let right = code_at("alice", 0);
    for (id, user, code) in [
        (2, "alice", "123456"),
        (3, "alice", &right),
        (4, "nobody", "1"),
    ] {
        let octets = request(id, user, code);
        assert_eq!(direct.word(&octets), "reject_queue_full", "{user}");
        assert_eq!(direct.word(&octets), "reject_queue_full", "{user}, again");
    }
    assert_eq!(service.decisions().await, 2);
    let counters = direct.pipeline.client_counters("vpn");
    assert_eq!(counters.events(Event::RejectQueueFull), 6);
    assert_eq!(counters.discards(Discard::Overload), 2);
    for answer in waiting {
        assert_eq!(answer.release().expect("current")[0], 3);
    }
    assert_eq!(counters.events(Event::Reject), 2);
    let answer = direct.work(&octets).run().await.expect("there is room");
    assert_eq!(answer.release().expect("current")[0], 3);
    assert_eq!(service.decisions().await, 3);
}

/// Reply attributes go out in order; what cannot be sent makes a Reject, never half an Accept.
#[tokio::test]
async fn reply_attributes_are_sent_whole_or_not_at_all() {
    let reply = "[reply]\n\"Filter-Id\" = \"{user}\"\n\"Session-Timeout\" = \"3600\"\n\"Class\" = \"OU=vpn;\"\n";
    let policy = format!("{POLICY}{reply}");
    let long = "a".repeat(120);
    let half = format!(
        "{POLICY}[reply]\n\"Session-Timeout\" = \"60\"\n\"Filter-Id\" = \"{{user}}{{user}}{{user}}\"\n"
    );
    let service = TestService::new(&[("default", &policy), ("half", &half)]);
    service
        .client("vpn", "127.0.0.1/32", SECRET, Require::True, None)
        .await;
    service
        .client("other", "127.0.0.2/32", SECRET, Require::True, Some("half"))
        .await;
    for user in ["alice", &long] {
        service.user(user).await;
        service.token(user, Kind::Hotp).await;
    }
    let direct = Direct::new(&service);
    let octets = request(1, "alice", &code_at("alice", 0));
    let reply = direct.work(&octets).run().await.unwrap().release().unwrap();
    let reply = Packet::parse(&reply).unwrap();
    let types: Vec<_> = reply
        .attributes
        .iter()
        .map(|attribute| attribute.r#type)
        .collect();
    let wanted = [
        Type::MessageAuthenticator,
        Type::FilterId,
        Type::SessionTimeout,
        Type::Class,
    ];
    assert_eq!(types, wanted);
    assert_eq!(reply.first(Type::FilterId), Some(&b"alice"[..]));
    let octets = request(2, &long, &code_at(&long, 0));
    let from = SocketAddr::from(([127, 0, 0, 2], 1));
    let Received::Work(job) = direct.pipeline.receive(&octets, from, &direct.ingress) else {
        panic!("work");
    };
    let reply = job.run().await.unwrap().release().unwrap();
    let types: Vec<_> = Packet::parse(&reply)
        .unwrap()
        .attributes
        .iter()
        .map(|found| found.r#type)
        .collect();
    assert_eq!((reply[0], types), (3, vec![Type::MessageAuthenticator]));
}

/// Gear drops an answer from another address than it asked.
#[tokio::test]
async fn replies_leave_from_the_address_that_was_asked() {
    let service = TestService::new(&[("default", POLICY)]);
    service
        .client("vpn", "127.0.0.0/8", SECRET, Require::True, None)
        .await;
    let v6 = UdpSocket::bind("[::1]:0").await.is_ok();
    let mut cases = vec![("0.0.0.0:0", vec!["127.0.0.2", "127.0.0.1", "127.3.4.5"])];
    if v6 {
        service
            .client("vpn6", "::1/128", SECRET, Require::True, None)
            .await;
        cases.push(("[::]:0", vec!["127.0.0.2", "::1"]));
    }
    for (bound, asked) in cases {
        let listeners = bind_all(&[bound.parse().unwrap()]).unwrap();
        let port = listeners[0].local_addr().port();
        let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(run(
            listeners,
            pipeline(&service, SETTINGS),
            shutdown.clone(),
        ));
        tasks.close();
        for (number, asked) in asked.iter().enumerate() {
            let asked = SocketAddr::new(asked.parse().unwrap(), port);
            let any = if asked.is_ipv4() {
                "127.0.0.1:0"
            } else {
                "[::1]:0"
            };
            let socket = UdpSocket::bind(any).await.unwrap();
            let octets = request(u8::try_from(number).unwrap(), "nobody", "123456");
            socket.send_to(&octets, asked).await.unwrap();
            let mut reply = [0; 4096];
            let received = tokio::time::timeout(PATIENCE, socket.recv_from(&mut reply)).await;
            let (_, from) = received.expect("a reply").unwrap();
            assert_eq!(from, asked, "bound to {bound}");
        }
        shutdown.cancel();
        tasks.wait().await;
    }
}

/// Lanes take turns at receiving: whoever receives a request, each is answered once, and each code is
/// good once however many lanes have it in hand.
#[tokio::test]
async fn several_lanes_answer_each_request_once() {
    const ASKERS: u8 = 8;
    let service = TestService::new(&[("default", POLICY)]);
    service
        .client("vpn", "127.0.0.1/32", SECRET, Require::True, None)
        .await;
    service.user("alice").await;
    service.token("alice", Kind::Hotp).await;
    let listeners = bind_all(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let address = listeners[0].local_addr();
    let settings = Settings {
        lanes: 3,
        in_flight: 1024,
        queue: 1024,
        ..SETTINGS
    };
    let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
    tasks.spawn(run(
        listeners,
        pipeline(&service, settings),
        shutdown.clone(),
    ));
    tasks.close();
    let mut sockets = Vec::new();
    for _ in 0..ASKERS {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(address).await.unwrap();
        sockets.push(socket);
    }
    // More than a lane takes at a time, so that the turn is passed on.
    let mut accepts = 0;
    for counter in 0..20_u8 {
        let code = code_at("alice", u64::from(counter));
        for id in 0..10 {
            let octets = request(counter * 10 + id, "alice", &code);
            for socket in &sockets {
                socket.send(&octets).await.unwrap();
            }
        }
        let mut reply = [0; 4096];
        for socket in &sockets {
            for _ in 0..10 {
                let received = tokio::time::timeout(PATIENCE, socket.recv(&mut reply)).await;
                received.expect("an answer to each").unwrap();
                accepts += u32::from(reply[0] == Code::AccessAccept.0);
            }
        }
        assert_eq!(accepts, u32::from(counter) + 1);
    }
    shutdown.cancel();
    tasks.wait().await;
}

/// Both families on one port, as the configuration's default lists them.
#[tokio::test]
async fn both_wildcards_share_a_port() {
    let Ok(first) = bind_all(&["0.0.0.0:0".parse().unwrap()]) else {
        return;
    };
    let port = first[0].local_addr().port();
    drop(first);
    if UdpSocket::bind("[::1]:0").await.is_err() {
        return;
    }
    let both = [format!("0.0.0.0:{port}"), format!("[::]:{port}")];
    let both: Vec<SocketAddr> = both
        .iter()
        .map(|address| address.parse().unwrap())
        .collect();
    assert_eq!(bind_all(&both).unwrap().len(), 2);
}

/// Two clients with one network would make each other's secret wrong.
#[tokio::test]
async fn a_network_belongs_to_one_client() {
    let service = TestService::new(&[("default", POLICY)]);
    service
        .client("first", "127.0.0.0/8", SECRET, Require::True, None)
        .await;
    service
        .client("inside", "127.0.0.1/32", SECRET, Require::True, None)
        .await;
    let new = oncegate::admin::NewRadiusClient {
        name: "second".to_owned(),
        addresses: vec!["::ffff:127.0.0.1/128".parse().unwrap()],
        secret: None,
        policy: None,
        realm: None,
        require: Require::True,
        challenge: true,
        methods: oncegate::model::method::Allowed::default(),
        settings: oncegate::model::client::RadiusSettings::default(),
    };
    let refused = service
        .service
        .admin
        .add_radius_client(new, service.by())
        .await;
    assert!(refused.is_err_and(|error| matches!(error, AdminError::Conflict(_))));
}

#[tokio::test]
async fn metrics_tell_what_became_of_packets() {
    let service = TestService::new(&[("default", POLICY)]);
    service
        .client("vpn", "127.0.0.1/32", SECRET, Require::True, None)
        .await;
    let direct = Direct::new(&service);
    let octets = request(1, "nobody", "123456");
    direct.work(&octets).run().await.unwrap().release().unwrap();
    assert_eq!(direct.word(&octets[..19]), "too_short");
    let mut text = String::new();
    direct.pipeline.write_prometheus(&mut text);
    for line in [
        "oncegate_radius_requests_total{client=\"vpn\"} 2",
        "oncegate_radius_packets_total{client=\"vpn\",result=\"accept\"} 0",
        "oncegate_radius_packets_total{client=\"vpn\",result=\"reject\"} 1",
        "oncegate_radius_packets_total{client=\"vpn\",result=\"too_short\"} 1",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} not in\n{text}"
        );
    }
}

/// A signed Access-Request.
fn request(id: u8, user: &str, password: &str) -> Vec<u8> {
    let keys = keys(SECRET);
    let mut octets = Vec::new();
    let authenticator = RequestAuthenticator([id; 16]);
    let first = MessageAuthenticator::First;
    let mut builder =
        RequestBuilder::new(&mut octets, Code::AccessRequest, id, authenticator, first);
    builder.attribute(Type::UserName, user.as_bytes()).unwrap();
    builder.user_password(password.as_bytes(), &keys).unwrap();
    builder.finish(&keys).unwrap();
    octets
}

impl Direct {
    fn receive(&self, octets: &[u8]) -> Received {
        self.pipeline
            .receive(octets, SocketAddr::from(([127, 0, 0, 1], 1)), &self.ingress)
    }

    fn work(&self, octets: &[u8]) -> Box<Job> {
        match self.receive(octets) {
            Received::Work(job) => job,
            Received::Reply(_) => panic!("a reply at once"),
            Received::Silence(word) => panic!("silence: {word}"),
        }
    }

    fn word(&self, octets: &[u8]) -> &'static str {
        match self.receive(octets) {
            Received::Silence(word) => word,
            _ => panic!("not silent"),
        }
    }
}
