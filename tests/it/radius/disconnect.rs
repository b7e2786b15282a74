//! Disconnect-Requests to a NAS on a real socket (RFC 5176): sent for a reason, signed, sent again, believed
//! only when the NAS answered.

use std::net::UdpSocket;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use oncegate::radius::attribute::Type;
use oncegate::radius::authenticator;
use oncegate::radius::packet::{Code, Packet};
use serde_json::Value;

use crate::faults::b3_accounting::{
    Attributes, Nas, SECRET, START, STOP, accounting, login, sessions, site,
};
use crate::radius::dialogue::keys;
use crate::support::daemon::Site;
use crate::support::net::Http;

/// How a NAS answers a Disconnect-Request or CoA-Request.
#[derive(Clone, Copy)]
pub(crate) enum Answers {
    /// The first request is lost; the second gets a forged ACK before the right one.
    LateAfterAForgery,
    /// A NAK with Error-Cause 503.
    Nak,
    /// With another secret than ours.
    Stranger,
}

/// A NAS that can be told to end and change sessions, on a port of its own.
pub(crate) struct Gate {
    pub(crate) port: u16,
    requests: Receiver<Vec<u8>>,
}

impl Gate {
    pub(crate) fn new(answers: Answers) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let (sender, requests) = channel();
        // It ends with the process.
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            let mut received = 0;
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                received += 1;
                let request = buffer[..length].to_vec();
                // An ACK has the code behind that of its request, a NAK the next one.
                let reply =
                    |more, cause, secret| reply(&request, Code(request[0] + more), cause, secret);
                match answers {
                    Answers::LateAfterAForgery if received == 1 => {}
                    Answers::LateAfterAForgery => {
                        let forged = reply(1, None, "no one's secret");
                        socket.send_to(&forged, from).unwrap();
                        let ack = reply(1, None, SECRET);
                        socket.send_to(&ack, from).unwrap();
                    }
                    Answers::Nak => {
                        let nak = reply(2, Some(503), SECRET);
                        socket.send_to(&nak, from).unwrap();
                    }
                    Answers::Stranger => {
                        let forged = reply(1, None, "no one's secret");
                        socket.send_to(&forged, from).unwrap();
                    }
                }
                let _ = sender.send(request);
            }
        });
        Self { port, requests }
    }

    pub(crate) fn request(&self) -> Vec<u8> {
        let request = self.requests.recv_timeout(Duration::from_secs(20));
        request.expect("a request")
    }
}

/// A reply without Message-Authenticator, as many NASes send it.
pub(crate) fn reply(request: &[u8], code: Code, cause: Option<u32>, secret: &str) -> Vec<u8> {
    let mut octets = vec![code.0, request[1], 0, 0];
    octets.extend(&request[4..20]);
    if let Some(cause) = cause {
        octets.extend([Type::ErrorCause.0, 6]);
        octets.extend(cause.to_be_bytes());
    }
    let length = u16::try_from(octets.len()).unwrap();
    octets[2..4].copy_from_slice(&length.to_be_bytes());
    let digest = {
        use md5::{Digest as _, Md5};
        let mut md5 = Md5::new();
        md5.update(&octets);
        md5.update(secret);
        md5.finalize()
    };
    octets[4..20].copy_from_slice(&digest);
    octets
}

/// The record of the request to end a session, waited for.
fn record(site: &Site, session: &str) -> Value {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let audit = site.json(&["audit", "list", "--limit", "50"]);
        let records = audit["records"].as_array().unwrap();
        let found = records
            .iter()
            .find(|record| record["action"] == "session_disconnect" && record["target"] == session);
        if let Some(found) = found {
            return found.clone();
        }
        assert!(Instant::now() < until, "{audit}");
        thread::sleep(Duration::from_millis(100));
    }
}

pub(crate) fn port(site: &Site, port: u16) {
    let port = port.to_string();
    site.json(&["client", "set", "vpn", "--disconnect-port", &port]);
}

pub(crate) const NAME: Attributes<'_> = &[(Type::UserName, b"ALICE")];

#[test]
fn the_sessions_of_a_disabled_user_end_and_a_lost_request_is_sent_again_the_same() {
    let site = site();
    let _daemon = site.serve();
    let gate = Gate::new(Answers::LateAfterAForgery);
    port(&site, gate.port);
    let mut nas = Nas::new(accounting(&site));
    nas.report(START, "0001", NAME);
    nas.report(START, "0002", &[(Type::UserName, b"bob")]);
    site.json(&["user", "disable", "alice"]);

    let (first, second) = (gate.request(), gate.request());
    assert_eq!(first, second, "Event-Timestamp and all");
    let packet = Packet::parse(&first).unwrap();
    assert_eq!(packet.code, Code::DisconnectRequest);
    assert_eq!(packet.first(Type::UserName), Some(&b"ALICE"[..]));
    assert_eq!(packet.first(Type::AcctSessionId), Some(&b"0001"[..]));
    assert_eq!(packet.first(Type::NasIdentifier), Some(&b"gate-1"[..]));
    assert!(packet.has(Type::EventTimestamp) && packet.has(Type::MessageAuthenticator));
    authenticator::verify_request_authenticator(&packet, &keys(SECRET)).unwrap();
    authenticator::verify_message_authenticator(&packet, &keys(SECRET), &[0; 16]).unwrap();

    let record = record(&site, "0001");
    assert_eq!(record["actor"], "daemon");
    assert_eq!(record["user"], "alice@default");
    let detail = record["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("NAS gate-1, at 127.0.0.1:")
            && detail.contains("Disconnect-ACK, because the user is disabled"),
        "{detail}"
    );
    // The NAS itself says that the session has ended.
    assert_eq!(sessions(&site, &["alice", "--open"]).len(), 1);
    nas.report(STOP, "0001", NAME);
    assert!(sessions(&site, &["alice", "--open"]).is_empty());
    assert_eq!(sessions(&site, &["bob", "--open"]).len(), 1);
}

#[test]
fn a_revoked_token_ends_the_sessions_that_it_opened_and_no_others() {
    let site = site();
    let daemon = site.serve();
    let gate = Gate::new(Answers::Nak);
    port(&site, gate.port);
    let class = login(&daemon, 0);
    let mut nas = Nas::new(accounting(&site));
    nas.report(
        START,
        "0001",
        &[(Type::UserName, b"alice"), (Type::Class, &class)],
    );
    nas.report(START, "0002", NAME);
    let serial = site.json(&["token", "list", "alice"]);
    let serial = serial["tokens"][0]["serial"].as_str().unwrap().to_owned();
    site.json(&["token", "revoke", &serial, "--yes"]);
    let request = gate.request();
    let packet = Packet::parse(&request).unwrap();
    assert_eq!(packet.first(Type::AcctSessionId), Some(&b"0001"[..]));
    let record = record(&site, "0001");
    let detail = record["detail"].as_str().unwrap();
    let expected = format!(
        "Disconnect-NAK, Error-Cause 503 Session-Context-Not-Found, because token {serial} is revoked"
    );
    assert!(detail.contains(&expected), "{detail}");
    assert!(
        gate.requests
            .recv_timeout(Duration::from_millis(300))
            .is_err()
    );
    let explained = site.json(&["explain", record["request_id"].as_str().unwrap()]);
    assert!(
        explained
            .to_string()
            .contains("asked the NAS to end session"),
        "{explained}"
    );
}

#[test]
fn an_administrator_ends_sessions_and_is_told_what_the_nas_answered() {
    let site = site();
    let daemon = site.serve();
    let mut nas = Nas::new(accounting(&site));
    let none = site.run(&["session", "disconnect", "0001"]);
    assert_eq!(none.status.code(), Some(4), "{none:?}");
    assert_eq!(site.run(&["session", "disconnect"]).status.code(), Some(2));
    nas.report(START, "0001", NAME);
    let other = [
        (Type::UserName, &b"alice"[..]),
        (Type::NasIdentifier, b"gate-2"),
    ];
    nas.report(START, "0001", &other);

    let gate = Gate::new(Answers::Nak);
    port(&site, gate.port);
    let both = site.run(&["session", "disconnect", "0001"]);
    assert_eq!(both.status.code(), Some(5), "{both:?}");
    let one = site.run(&["--json", "session", "disconnect", "0001", "--nas", "gate-2"]);
    assert_eq!(one.status.code(), Some(1), "{one:?}");
    let one: Value = serde_json::from_slice(&one.stdout).unwrap();
    let one = &one["sessions"][0];
    assert_eq!(
        (&one["result"], &one["error_cause"]),
        (&"nak".into(), &503.into())
    );
    assert_eq!(one["nas"], "gate-2");

    // Forged answers are none: the wait goes on to its end.
    let stranger = Gate::new(Answers::Stranger);
    port(&site, stranger.port);
    let forged = site.run(&["session", "disconnect", "--user", "alice"]);
    assert_eq!(forged.status.code(), Some(1), "{forged:?}");
    let text = String::from_utf8(forged.stdout).unwrap();
    assert_eq!(text.matches("does not prove").count(), 2, "{text}");
    let record = record(&site, "0001");
    assert_ne!(record["actor"], "daemon");

    // Switched off, nothing is sent.
    port(&site, 0);
    let shown = site.json(&["client", "show", "vpn"]);
    assert_eq!(shown["disconnect_port"], 0);
    let off = site.run(&["session", "disconnect", "--user", "alice"]);
    let text = String::from_utf8(off.stdout).unwrap();
    assert!(
        off.status.code() == Some(1) && text.contains("switched off"),
        "{text}"
    );
    let mut http = Http::new(daemon.http, "");
    let (_, metrics) = http.send("GET", "/metrics", b"").unwrap();
    let metrics = String::from_utf8(metrics).unwrap();
    for line in [
        "oncegate_radius_disconnects_total{result=\"nak\"} 1",
        "oncegate_radius_disconnects_total{result=\"no_answer\"} 2",
        "oncegate_radius_disconnects_total{result=\"not_sent\"} 2",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[test]
fn what_was_not_sent_before_the_daemon_ended_is_sent_at_its_next_start() {
    let site = site();
    let daemon = site.serve();
    let gate = Gate::new(Answers::Nak);
    port(&site, gate.port);
    let mut nas = Nas::new(accounting(&site));
    nas.report(START, "0001", NAME);
    drop(daemon);
    // No daemon: the store is changed all the same.
    site.json(&["user", "remove", "alice", "--yes"]);
    let _daemon = site.serve();
    gate.request();
    let record = record(&site, "0001");
    assert!(
        record["detail"]
            .as_str()
            .unwrap()
            .contains("the user is removed")
    );
}
