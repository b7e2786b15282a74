//! `oncegate radius test` and `decode`; rules for user names; secrets while one is being replaced.

use std::fs;
use std::net::UdpSocket;
use std::time::Duration;

use oncegate::radius::attribute::Type;
use oncegate::radius::authenticator::RequestAuthenticator;
use oncegate::radius::encode::MessageAuthenticator;
use oncegate::radius::packet::Code;
use oncegate::radius::request::RequestBuilder;
use serde_json::Value;

use crate::radius::dialogue::keys;
use crate::support::codes::{RFC_SECRET, hotp};
use crate::support::daemon::{Daemon, Site};
use crate::support::net::Radius;

const SECRET: &str = "a-shared-secret-of-a-gateway";

fn started() -> (Site, Daemon) {
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    site.radius_client("vpn", SECRET);
    let daemon = site.serve();
    (site, daemon)
}

/// Runs `radius test` against the daemon: exit code and document.
fn test(site: &Site, server: &str, words: &[&str], input: &str) -> (i32, Value) {
    let all = [
        &["--json", "radius", "test", server, "--secret-stdin"],
        words,
    ]
    .concat();
    let output = site.run_with(&all, input);
    let document = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code().unwrap(), document)
}

#[test]
fn a_server_is_asked_by_every_method_and_only_its_own_answer_counts() {
    let (site, daemon) = started();
    let server = daemon.radius.to_string();
    let methods = [
        "pap",
        "chap",
        "mschap",
        "mschapv2",
        "eap-md5",
        "eap-gtc",
        "eap-mschapv2",
    ];
    for (counter, method) in methods.iter().enumerate() {
        let code = hotp(u64::try_from(counter).unwrap());
        let input = format!("{SECRET}\n{code}\n");
        let (exit, shown) = test(&site, &server, &["alice", "--method", method], &input);
        assert_eq!(
            (exit, &shown["answer"]),
            (0, &"Access-Accept".into()),
            "{method}: {shown}"
        );
        assert_eq!(shown["signed"], true);
        if method.ends_with("mschapv2") {
            assert_eq!(shown["proven"], true, "{shown}");
        }
        let (exit, shown) = test(&site, &server, &["alice", "--method", method], &input);
        assert_eq!(
            (exit, &shown["answer"]),
            (1, &"Access-Reject".into()),
            "{shown}"
        );
    }
    let (exit, shown) = test(&site, &server, &["--status"], SECRET);
    assert_eq!(
        (exit, &shown["sent"]),
        (0, &"Status-Server".into()),
        "{shown}"
    );
    let status = site.json(&["status"]);
    let accounting = status["accounting"][0].as_str().unwrap();
    let (exit, shown) = test(&site, accounting, &["--accounting"], SECRET);
    assert_eq!(
        (exit, &shown["answer"]),
        (0, &"Accounting-Response".into()),
        "{shown}"
    );
    // Another secret is met with silence, and a closed port is named.
    let quick = ["--status", "--timeout", "200ms"];
    let (exit, shown) = test(&site, &server, &quick, "another secret");
    assert_eq!(exit, 3, "{shown}");
    assert!(
        shown["answer"].is_null() && shown["advice"].as_str().unwrap().contains("another secret")
    );
    let closed = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let (exit, shown) = test(&site, &closed, &quick, SECRET);
    assert_eq!(exit, 3);
    assert!(
        shown["advice"].as_str().unwrap().contains("closed"),
        "{shown}"
    );
    // A forged answer is none.
    let forger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = forger.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((_, from)) = forger.recv_from(&mut buffer) {
            let forged = [&[2, buffer[1], 0, 20], &[0; 16][..]].concat();
            forger.send_to(&forged, from).unwrap();
        }
    });
    let (exit, shown) = test(&site, &at, &quick, SECRET);
    assert_eq!(exit, 3);
    assert!(
        shown["advice"].as_str().unwrap().contains("differ"),
        "{shown}"
    );
    let nowhere = site.run_with(
        &["radius", "test", "no host", "--status", "--secret-stdin"],
        SECRET,
    );
    assert_eq!(nowhere.status.code(), Some(2));
}

#[test]
fn challenges_are_answered_by_the_next_lines_of_stdin() {
    const PASSWORD: &str = "Tr0ub4dor&3x";
    let site = Site::new();
    let policy = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"password\", \"otp\"]\n\
                  present = \"challenge\"\n";
    fs::write(site.path().join("policies/default.toml"), policy).unwrap();
    site.enrol("alice", "hotp", RFC_SECRET);
    site.json_with(&["user", "set", "alice", "--password-stdin"], PASSWORD);
    site.radius_client("vpn", SECRET);
    let daemon = site.serve();
    let server = daemon.radius.to_string();
    for (counter, method) in [(0, "pap"), (1, "eap-gtc")] {
        let words = ["alice", "--method", method];
        let input = format!("{SECRET}\n{PASSWORD}\n{}\n", hotp(counter));
        let (exit, shown) = test(&site, &server, &words, &input);
        let accept = (0, &"Access-Accept".into());
        assert_eq!((exit, &shown["answer"]), accept, "{method}: {shown}");
        let asked = shown["asked"].as_array().unwrap();
        assert_eq!(asked.len(), 1, "{method}: {shown}");
        assert!(asked[0].as_str().unwrap().contains("code"), "{shown}");
        // Nothing more to say: the challenge is the answer.
        let (exit, shown) = test(&site, &server, &words, &format!("{SECRET}\n{PASSWORD}\n"));
        let challenge = (1, &"Access-Challenge".into());
        assert_eq!((exit, &shown["answer"]), challenge, "{method}: {shown}");
        let advice = shown["advice"].as_str().unwrap();
        assert!(advice.contains("one more line on stdin"), "{shown}");
    }
    // The answer is decided like any other.
    let input = format!("{SECRET}\n{PASSWORD}\n000000\n");
    let (exit, shown) = test(&site, &server, &["alice"], &input);
    let reject = (1, &"Access-Reject".into());
    assert_eq!((exit, &shown["answer"]), reject, "{shown}");
}

/// A line that no server asks for may be half of a secret that was wrapped: it is not passed over without a word.
#[test]
fn lines_that_were_not_asked_for_are_named() {
    let (site, daemon) = started();
    let server = daemon.radius.to_string();
    let words = ["radius", "test", &server, "alice", "--secret-stdin"];
    let output = site.run_with(&words, &format!("{SECRET}\n{}\nmore\n", hotp(0)));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("more lines than the server asked for"),
        "{said}"
    );
    let words = ["radius", "test", &server, "--status", "--secret-stdin"];
    let output = site.run_with(&words, &format!("{SECRET}\nmore\n"));
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

/// The server does not take the method: what to look at is said.
#[test]
fn an_eap_method_that_the_client_may_not_use_is_named() {
    let (site, daemon) = started();
    site.json(&["client", "set", "vpn", "--method", "eap-gtc"]);
    let server = daemon.radius.to_string();
    let input = format!("{SECRET}\n{}\n", hotp(0));
    let words = ["alice", "--method", "eap-md5"];
    let (exit, shown) = test(&site, &server, &words, &input);
    assert_eq!(
        (exit, &shown["answer"]),
        (1, &"Access-Reject".into()),
        "{shown}"
    );
    let advice = shown["advice"].as_str().unwrap();
    assert!(advice.contains("another EAP method"), "{shown}");
}

/// A capture of these datagrams between 192.0.2.1:40000 and 192.0.2.2:1812; `true`: from the server.
fn capture(datagrams: &[(bool, &[u8])]) -> Vec<u8> {
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1];
    file.extend([0; 16]);
    file.extend(101_u32.to_le_bytes());
    for (answer, octets) in datagrams {
        let udp = u16::try_from(octets.len() + 8).unwrap();
        let mut ip = vec![0x45, 0];
        ip.extend((udp + 20).to_be_bytes());
        ip.extend([0, 0, 0, 0, 64, 17, 0, 0]);
        let (nas, server) = ([192, 0, 2, 1], [192, 0, 2, 2]);
        let (from, to) = if *answer {
            (server, nas)
        } else {
            (nas, server)
        };
        let ports: [u16; 2] = if *answer {
            [1812, 40_000]
        } else {
            [40_000, 1812]
        };
        ip.extend([from, to].concat());
        for port in ports {
            ip.extend(port.to_be_bytes());
        }
        ip.extend(udp.to_be_bytes());
        ip.extend([0, 0]);
        ip.extend(*octets);
        let length = u32::try_from(ip.len()).unwrap().to_le_bytes();
        file.extend(1_800_000_000_u32.to_le_bytes());
        file.extend([0; 4]);
        file.extend([length, length].concat());
        file.extend(ip);
    }
    file
}

#[test]
fn a_capture_says_what_is_wrong_and_never_a_password() {
    let (site, daemon) = started();
    let mut nas = Radius::new(daemon.radius, SECRET);
    nas.patience(Duration::from_secs(20));
    let request = nas.request("alice", "typed-by-alice");
    nas.send(&request);
    let reply = nas.receive().unwrap();
    let mut forged = reply.clone();
    forged[0] = Code::AccessAccept.0;
    let mut unsigned = Vec::new();
    let mut builder = RequestBuilder::new(
        &mut unsigned,
        Code::AccessRequest,
        99,
        RequestAuthenticator([9; 16]),
        MessageAuthenticator::Omit,
    );
    builder.attribute(Type::UserName, b"bob").unwrap();
    builder
        .user_password(b"typed-by-bob", &keys("another secret"))
        .unwrap();
    builder.finish(&keys("another secret")).unwrap();
    let path = site.path().join("vpn.pcap");
    let file = path.display().to_string();
    let decode = |secret: bool| {
        let words = ["--json", "radius", "decode", &file, "--secret-stdin"];
        let words = if secret { &words[..] } else { &words[..4] };
        let output = site.run_with(words, SECRET);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains("typed-by"), "{text}");
        let document: Value = serde_json::from_str(&text).unwrap_or_default();
        (output.status.code().unwrap(), document)
    };
    fs::write(
        &path,
        capture(&[(false, &request), (false, &request), (true, &reply)]),
    )
    .unwrap();
    let (exit, shown) = decode(true);
    assert_eq!(exit, 0, "{shown}");
    let packets = shown["packets"].as_array().unwrap();
    assert_eq!(packets.len(), 3);
    assert_eq!(packets[0]["code"], "Access-Request");
    assert!(packets[0]["attributes"].to_string().contains("alice"));
    assert!(
        packets[0]["proof"]
            .to_string()
            .contains("14 characters, not shown"),
        "{shown}"
    );
    assert!(
        packets[1]["proof"]
            .to_string()
            .contains("the same request again")
    );
    assert_eq!(packets[2]["proof"][0], "authentic");

    fs::write(
        &path,
        capture(&[
            (false, &request),
            (true, &forged),
            (false, &unsigned),
            (false, b"junk"),
        ]),
    )
    .unwrap();
    let (exit, shown) = decode(true);
    assert_eq!(exit, 1);
    let packets = shown["packets"].as_array().unwrap();
    assert!(
        packets[1]["faults"]
            .to_string()
            .contains("Authenticator is wrong"),
        "{shown}"
    );
    assert!(packets[2]["proof"].to_string().contains("CVE-2024-3596"));
    assert!(
        packets[2]["faults"].to_string().contains("another secret"),
        "{shown}"
    );
    assert_eq!(packets[3]["code"], "no RADIUS packet");
    let (exit, _) = decode(false);
    assert_eq!(exit, 1);
    for (octets, word) in [
        (&b"PK\x03\x04"[..], "pcap"),
        (b"\x0a\x0d\x0d\x0a....", "editcap"),
    ] {
        fs::write(&path, octets).unwrap();
        let refused = site.run(&["radius", "decode", &file]);
        assert_eq!(refused.status.code(), Some(2));
        assert!(String::from_utf8(refused.stderr).unwrap().contains(word));
    }
    assert_eq!(
        site.run(&["radius", "decode", "/nowhere.pcap"])
            .status
            .code(),
        Some(4)
    );
}

#[test]
fn every_spelling_of_a_name_is_one_user_and_one_counter() {
    let (site, daemon) = started();
    let rules = [
        "client",
        "set",
        "vpn",
        "--name-rule",
        "strip-host",
        "--name-rule",
        "CORP=default",
        "--name-rule",
        "strip-realm",
    ];
    let shown = site.json(&rules);
    assert_eq!(
        shown["name_rules"],
        serde_json::json!(["strip-host", "corp=default", "strip-realm"])
    );
    let mut nas = Radius::new(daemon.radius, SECRET);
    assert_eq!(nas.ask(r"CORP\alice", &hotp(0)), Some(Code::AccessAccept));
    // The code is used, whatever the name looks like.
    for name in [
        "alice",
        "ALICE@elsewhere.example",
        "host/alice",
        "alice@corp",
    ] {
        assert_eq!(nas.ask(name, &hotp(0)), Some(Code::AccessReject), "{name}");
    }
    assert_eq!(
        nas.ask("host/alice@pc.example", &hotp(1)),
        Some(Code::AccessAccept)
    );
    let audit = site.json(&["audit", "list", "--user", "alice", "--limit", "1"]);
    assert_eq!(audit["records"][0]["user"], "alice@default");
    let bad = site.run(&["client", "set", "vpn", "--name-rule", "strip"]);
    assert_eq!(bad.status.code(), Some(2), "{bad:?}");
    let none = site.json(&["client", "set", "vpn", "--name-rule", ""]);
    assert_eq!(none["name_rules"], serde_json::json!([]));
    assert_eq!(nas.ask(r"OTHER\alice", &hotp(2)), Some(Code::AccessReject));
}

#[test]
fn a_second_rotation_waits_for_the_first_and_addresses_say_which_secret_they_have() {
    let (site, daemon) = started();
    let new = "a-new-shared-secret-of-a-gateway";
    site.json_with(&["client", "rotate", "vpn", "--secret-stdin"], new);
    let mut old = Radius::new(daemon.radius, SECRET);
    assert_eq!(old.ask("alice", &hotp(0)), Some(Code::AccessAccept));
    let shown = site.json(&["client", "show", "vpn"]);
    assert_eq!(shown["secrets_used"][0]["secret"], "previous", "{shown}");
    assert_eq!(shown["secrets_used"][0]["address"], "127.0.0.1");
    let refused = site.run(&["client", "rotate", "vpn"]);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(
        text.contains("still valid") && text.contains("--force"),
        "{text}"
    );
    let mut present = Radius::new(daemon.radius, new);
    assert_eq!(present.ask("alice", &hotp(1)), Some(Code::AccessAccept));
    let shown = site.json(&["client", "show", "vpn"]);
    assert_eq!(shown["secrets_used"][0]["secret"], "present", "{shown}");
    site.json(&["client", "rotate", "vpn", "--force"]);
    old.patience(Duration::from_millis(300));
    old.send(&[]);
    let request = old.request("alice", &hotp(2));
    old.send(&request);
    assert!(old.receive().is_none());
    assert_eq!(present.ask("alice", &hotp(3)), Some(Code::AccessAccept));
}

#[test]
fn a_proxy_that_cannot_sign_is_let_in_by_name_only() {
    let (site, daemon) = started();
    site.json(&[
        "client",
        "set",
        "vpn",
        "--require-message-authenticator",
        "false",
    ]);
    let nas = Radius::new(daemon.radius, SECRET);
    nas.patience(Duration::from_millis(400));
    let request = |identifier: u8| {
        let mut packet = Vec::new();
        let mut builder = RequestBuilder::new(
            &mut packet,
            Code::AccessRequest,
            identifier,
            RequestAuthenticator([identifier; 16]),
            MessageAuthenticator::Omit,
        );
        builder.attribute(Type::UserName, b"alice").unwrap();
        builder.attribute(Type::ProxyState, b"7").unwrap();
        builder.user_password(b"000000", &keys(SECRET)).unwrap();
        builder.finish(&keys(SECRET)).unwrap();
        packet
    };
    nas.send(&request(1));
    assert!(nas.receive().is_none());
    let shown = site.json(&["client", "set", "vpn", "--limit-proxy-state", "false"]);
    assert_eq!(shown["limit_proxy_state"], false);
    nas.patience(Duration::from_secs(20));
    nas.send(&request(2));
    assert_eq!(nas.receive().unwrap()[0], Code::AccessReject.0);
}
