//! CoA-Requests (RFC 5176): sessions are changed to what an administrator or the policy says; and requests that go
//! down the connection over TLS that a client holds open.

use std::thread;

use oncegate::radius::attribute::Type;
use oncegate::radius::authenticator;
use oncegate::radius::packet::{Code, Packet};
use serde_json::Value;

use crate::faults::b3_accounting::{Nas, SECRET, START, accounting, site};
use crate::radius::dialogue::keys;
use crate::radius::disconnect::{Answers, Gate, NAME, port, reply};
use crate::radius::tls::{Authority, Stream, add, packet, tls};
use crate::support::daemon::Site;

/// What a command answers: exit code, the first session, all that was printed.
fn run(site: &Site, words: &[&str]) -> (i32, Value, String) {
    let output = site.run(&[&["--json"], words].concat());
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let both = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        said["sessions"][0].clone(),
        String::from_utf8(both).unwrap(),
    )
}

#[test]
fn a_session_is_changed_by_hand_or_to_what_its_policy_says_now() {
    let site = site();
    let _daemon = site.serve();
    let mut nas = Nas::new(accounting(&site));
    let set = ["session", "set", "0001"];
    let timeout = [
        "--attribute",
        "Session-Timeout=600",
        "--attribute",
        "Filter-Id=a=b",
    ];
    assert_eq!(run(&site, &[&set[..], &timeout].concat()).0, 4);
    nas.report(START, "0001", NAME);

    // The first request is lost and a forged ACK comes before the right one.
    let gate = Gate::new(Answers::LateAfterAForgery);
    port(&site, gate.port);
    let (exit, one, text) = run(&site, &[&set[..], &timeout].concat());
    assert_eq!((exit, &one["result"]), (0, &"ack".into()), "{text}");
    assert_eq!(one["detail"], "CoA-ACK");
    let request = gate.request();
    assert_eq!(gate.request(), request, "the same octets again");
    let asked = Packet::parse(&request).unwrap();
    assert_eq!(asked.code, Code::CoaRequest);
    authenticator::verify_request_authenticator(&asked, &keys(SECRET)).unwrap();
    let signed = authenticator::verify_message_authenticator(&asked, &keys(SECRET), &[0; 16]);
    assert_eq!(signed, Ok(authenticator::Signature::Valid));
    assert!(asked.has(Type::EventTimestamp));
    assert_eq!(asked.first(Type::UserName), Some(&b"ALICE"[..]));
    assert_eq!(asked.first(Type::SessionTimeout), Some(&[0, 0, 2, 88][..]));
    assert_eq!(asked.first(Type::FilterId), Some(&b"a=b"[..]));

    // What the policy says of the user now.
    let gate = Gate::new(Answers::Nak);
    port(&site, gate.port);
    let (exit, _, text) = run(&site, &["session", "set", "--user", "alice"]);
    assert!(exit == 5 && text.contains("--attribute"), "{exit} {text}");
    let policy = "[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n[reply]\n\"Class\" = \"OU=x\"\n\
        \"Filter-Id\" = \"{group}\"\n";
    std::fs::write(site.path().join("policies/default.toml"), policy).unwrap();
    site.json(&["reload"]);
    site.json(&["user", "set", "alice", "--group", "staff"]);
    let (exit, one, text) = run(&site, &["session", "set", "--user", "alice"]);
    assert_eq!((exit, &one["error_cause"]), (1, &503.into()), "{text}");
    let request = gate.request();
    let asked = Packet::parse(&request).unwrap();
    assert_eq!(asked.first(Type::FilterId), Some(&b"staff"[..]));
    assert!(!asked.has(Type::Class), "it belongs to logins");

    for (attribute, part) in [
        ("Sesion-Timeout=600", "did you mean `Session-Timeout`"),
        ("Session-Timeout=soon", "Session-Timeout"),
        ("User-Name=bob", "names the session"),
        ("Tunnel-Password=secret", "hidden"),
        ("Session-Timeout", "NAME=VALUE"),
    ] {
        let (exit, _, text) = run(&site, &[&set[..], &["--attribute", attribute]].concat());
        assert!(
            exit == 2 && text.contains(part),
            "{attribute}: {exit} {text}"
        );
    }
    let audit = site.json(&["audit", "list", "--limit", "50"]);
    let records = audit["records"].as_array().unwrap().iter();
    let details: Vec<&str> = records
        .filter(|record| record["action"] == "session_change" && record["target"] == "0001")
        .filter_map(|record| record["detail"].as_str())
        .collect();
    assert_eq!(details.len(), 2, "{audit}");
    assert!(
        details[0].contains("CoA-NAK, Error-Cause 503"),
        "{details:?}"
    );
    assert!(details[0].contains("Filter-Id = staff"), "{details:?}");
    assert!(
        details[1].contains("CoA-ACK: Session-Timeout = 600, Filter-Id = a=b")
            || details[1].contains("CoA-ACK: Filter-Id = a=b, Session-Timeout = 600"),
        "{details:?}"
    );
}

/// What a command answers while the NAS answers the request that it receives.
fn while_answered(
    site: &Site,
    nas: &mut Stream,
    words: &[&str],
    answer: impl FnOnce(&[u8]) -> Vec<u8>,
) -> (i32, Value, String) {
    thread::scope(|scope| {
        let command = scope.spawn(|| run(site, words));
        let request = nas.receive().unwrap();
        let answer = answer(&request);
        nas.send(&answer);
        command.join().unwrap()
    })
}

#[test]
fn requests_go_down_the_connection_that_a_client_holds_open() {
    let authority = Authority::new();
    authority.issue("nas", "nas1.test");
    let site = authority.site();
    add(&site, "branch", "nas1.test");
    let _daemon = site.serve();
    let to = tls(&site);
    let mut nas = authority.connect(to, Some("nas"), &[b"radius/1.0"]);
    let report = [
        (Type::AcctStatusType, &[0, 0, 0, 1][..]),
        (Type::AcctSessionId, b"42"),
        (Type::UserName, b"alice"),
    ];
    nas.ask(&packet(Code::AccountingRequest, 3, &report, None));
    let end = ["session", "disconnect", "--user", "alice"];
    let (exit, one, text) = while_answered(&site, &mut nas, &end, |request| {
        let asked = Packet::parse(request).unwrap();
        assert_eq!(asked.code, Code::DisconnectRequest);
        authenticator::verify_request_authenticator(&asked, &keys("radsec")).unwrap();
        assert_eq!(asked.first(Type::AcctSessionId), Some(&b"42"[..]));
        reply(request, Code::DisconnectAck, None, "radsec")
    });
    assert_eq!((exit, &one["result"]), (0, &"ack".into()), "{text}");
    // An answer to something else is none, and one that nothing waits for does no harm.
    let (exit, one, text) = while_answered(&site, &mut nas, &end, |request| {
        let stray = reply(request, Code::CoaAck, None, "radsec");
        [stray.clone(), stray].concat()
    });
    assert_eq!((exit, &one["result"]), (1, &"no_answer".into()), "{text}");
    let status = packet(Code::StatusServer, 0, &[], None);
    assert_eq!(nas.ask(&status)[0], Code::AccessAccept.0);
    drop(nas);

    // RADIUS/1.1: the Token of the request, and nothing of MD5.
    let mut nas = authority.connect(to, Some("nas"), &[b"radius/1.1"]);
    let mut status = vec![12, 0, 0, 20, 9, 9, 9, 9];
    status.resize(20, 0);
    assert_eq!(nas.ask(&status)[0], Code::AccessAccept.0);
    let set = ["session", "set", "42", "--attribute", "Session-Timeout=60"];
    let (exit, one, text) = while_answered(&site, &mut nas, &set, |request| {
        let asked = Packet::parse(request).unwrap();
        assert_eq!(asked.code, Code::CoaRequest);
        assert!(!asked.has(Type::MessageAuthenticator));
        let mut answer = vec![Code::CoaNak.0, 0, 0, 26];
        answer.extend(&request[4..20]);
        answer.extend([101, 6, 0, 0, 1, 145]);
        answer
    });
    assert_eq!((exit, &one["error_cause"]), (1, &401.into()), "{text}");
    drop(nas);
    let closed = (0..100).find_map(|_| {
        let (_, one, _) = run(&site, &end);
        (one["result"] == "not_sent").then_some(one)
    });
    let closed = closed.expect("no connection is open");
    assert!(
        closed["detail"]
            .as_str()
            .unwrap()
            .contains("no connection open"),
        "{closed}"
    );
}
