//! What people typed is gone from the daemon's memory when it is answered: over HTTP, TLS, RADIUS and the
//! admin socket, accepted or not, whole or broken off (threats T26).
//!
//! The daemon cannot be dumped or traced by its own user; root reads its memory all the same, and so
//! does this test.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use oncegate::radius::packet::Code;
use rustls::pki_types::ServerName;
use serde_json::json;

use crate::support::codes::{RFC_SECRET, hotp};
use crate::support::daemon::{Daemon, Site};
use crate::support::http2;
use crate::support::net::{Http, Radius};

/// In every password and passcode here, and nowhere else.
const MARK: &str = "Kv9pZr3Wq7";
const PASSWORD: &str = "Kv9pZr3Wq7-first-0";
const SECRET: &str = "shared-secret-of-the-nas";
const POLICY: &str = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"password\", \"otp\"]\n\
                      present = \"either\"\n";

/// A site where alice has a password and a counter token.
fn site() -> Option<Site> {
    if !nix::unistd::geteuid().is_root() {
        crate::support::skip("the memory of the daemon is read, which takes root");
        return None;
    }
    let site = Site::new();
    std::fs::write(site.path().join("policies/default.toml"), POLICY).unwrap();
    site.json_with(&["user", "add", "alice", "--password-stdin"], PASSWORD);
    let words = [
        "token",
        "add",
        "alice",
        "--kind",
        "hotp",
        "--active",
        "--secret-stdin",
    ];
    site.json_with(&words, RFC_SECRET);
    site.radius_client("nas", SECRET);
    Some(site)
}

/// Where the needle is in the memory of the daemon, with what stands around it.
fn copies(daemon: &Daemon, needle: &[u8]) -> Vec<String> {
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", daemon.pid())).unwrap();
    let memory = File::open(format!("/proc/{}/mem", daemon.pid())).unwrap();
    let mut found = Vec::new();
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (range, mode) = (words.next().unwrap(), words.next().unwrap());
        let name = words.nth(3).unwrap_or("anonymous");
        if !mode.starts_with("rw") || name.starts_with("[v") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let address = |text| u64::from_str_radix(text, 16).unwrap();
        let (start, end) = (address(start), address(end));
        // Runs of pages that are not empty: most of what is reserved is.
        let mut run = Vec::new();
        let mut page = [0; PAGE];
        for at in (start..end).step_by(PAGE) {
            let read = memory.read_exact_at(&mut page, at).is_ok();
            if read && page != [0; PAGE] {
                run.extend_from_slice(&page);
                continue;
            }
            search(&run, needle, name, &mut found);
            run.clear();
        }
        search(&run, needle, name, &mut found);
    }
    found
}

fn search(run: &[u8], needle: &[u8], name: &str, found: &mut Vec<String>) {
    for (place, octet) in run.iter().enumerate() {
        if *octet == needle[0] && run[place..].starts_with(needle) {
            let around = &run[place.saturating_sub(48)..run.len().min(place + 64)];
            found.push(format!("{name}: {}", around.escape_ascii()));
        }
    }
}

const PAGE: usize = 4096;

/// No copy is left as soon as what is under way has ended.
fn is_gone(daemon: &Daemon, needles: &[&[u8]], when: &str) {
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        let found: Vec<_> = needles
            .iter()
            .flat_map(|needle| copies(daemon, needle))
            .collect();
        if found.is_empty() {
            return;
        }
        let count = found.len();
        assert!(
            Instant::now() < patience,
            "{when}: {count} copies\n{}",
            found.join("\n")
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn passwords_over_http_leave_no_copy() {
    let Some(site) = site() else { return };
    let key = site.api_client("web");
    let daemon = site.serve();
    let mut http = Http::new(daemon.http, &key);
    let mut ask = |body: &serde_json::Value| {
        let body = body.to_string();
        let (status, answer) = http.send("POST", "/v1/verify", body.as_bytes()).unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        (
            status,
            answer["decision"].as_str().unwrap_or_default().to_owned(),
        )
    };
    for number in 0..20 {
        let code = hotp(number);
        let body = match number % 3 {
            0 => json!({ "user": "alice", "password": PASSWORD, "otp": code }),
            1 => json!({ "user": "alice", "passcode": format!("{PASSWORD}{code}") }),
            _ => json!({ "user": "alice", "passcode": format!("{PASSWORD},{code}") }),
        };
        assert_eq!(ask(&body), (200, "accept".to_owned()), "{number}");
    }
    // A round: the password, then the code.
    let (_, decision) = ask(&json!({ "user": "alice", "passcode": PASSWORD }));
    assert_eq!(decision, "challenge");
    for number in 0..3 {
        let wrong = format!("{MARK}-wrong-{number}");
        for user in ["alice", "nobody"] {
            let (_, decision) = ask(&json!({ "user": user, "password": wrong, "otp": "000000" }));
            assert_eq!(decision, "reject");
        }
    }
    let long = "x".repeat(9_000);
    let chosen = json!({
        "user": "alice", "password": PASSWORD, "otp": "000000", "context": { "padding": long },
    });
    ask(&chosen);
    // The connection goes on, and what it was used for before is gone.
    let (status, _) = http.send("GET", "/healthz", b"").unwrap();
    assert_eq!(status, 200);
    is_gone(
        &daemon,
        &[MARK.as_bytes(), key.as_bytes()],
        "an open connection",
    );
    drop(http);
    is_gone(&daemon, &[MARK.as_bytes(), key.as_bytes()], "a closed one");
    assert!(daemon.terminate().success());
}

#[test]
fn what_was_not_taken_leaves_no_copy_either() {
    let Some(site) = site() else { return };
    let key = site.api_client("web");
    let daemon = site.serve();
    let mut http = Http::new(daemon.http, &key);
    for (body, expected) in [
        (format!(r#"{{"user":"alice","password":"{MARK}-1"#), 400),
        (
            format!(r#"{{"user":"alice","password":["{MARK}-2"]}}"#),
            400,
        ),
        (
            format!(r#"{{"user":"alice","passwort":"{MARK}-3","otp":"1"}}"#),
            400,
        ),
        (
            format!(r#"{{"user":"alice","password":"{MARK}-\u0034","otp":"1","otp":"2"}}"#),
            400,
        ),
        (
            format!(
                r#"{{"password":"{MARK}-5","user":"{}"}}"#,
                "x".repeat(15_000)
            ),
            200,
        ),
    ] {
        let (status, _) = http.send("POST", "/v1/verify", body.as_bytes()).unwrap();
        assert_eq!(status, expected);
    }
    let too_long = format!(
        r#"{{"password":"{MARK}-6","user":"{}"}}"#,
        "x".repeat(20_000)
    );
    let (status, _) = http
        .send("POST", "/v1/verify", too_long.as_bytes())
        .unwrap();
    assert_eq!(status, 413);
    drop(http);
    let mut stranger = Http::new(daemon.http, &format!("{MARK}-no-key"));
    assert_eq!(
        stranger.verify("alice", &format!("{MARK}-7")).unwrap().0,
        401
    );
    drop(stranger);
    let head = format!(
        "POST /v1/verify HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: \
         application/json\r\n"
    );
    // Broken off in the body, in a chunk, in the headers; and what is no HTTP at all.
    for broken in [
        format!("{head}Content-Length: 400\r\n\r\n{{\"user\":\"alice\",\"password\":\"{MARK}-8\","),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n40\r\n{{\"password\":\"{MARK}-9\","),
        format!("{head}X-Password: {MARK}-10"),
        format!("{MARK}-11 {MARK}-12\r\n\r\n"),
    ] {
        let mut stream = TcpStream::connect(daemon.http).unwrap();
        stream.write_all(broken.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
    is_gone(
        &daemon,
        &[MARK.as_bytes(), key.as_bytes()],
        "after all of them",
    );
    assert!(daemon.terminate().success());
}

/// Frames are cut out of a buffer that is not handed back until it is used up, and a list without an end keeps a
/// connection: it is given up for one of its own.
#[test]
fn passwords_over_http2_leave_no_copy() {
    let Some(site) = site() else { return };
    let (key, auditor) = (site.api_client("web"), site.admin_key.clone());
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, private) = (site.path().join("cert.pem"), site.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&private, made.signing_key.serialize_pem()).unwrap();
    let daemon = site.serve_with(&[
        (
            "ONCEGATE__HTTP__TLS__CERTIFICATE",
            certificate.to_str().unwrap(),
        ),
        ("ONCEGATE__HTTP__TLS__KEY", private.to_str().unwrap()),
    ]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let trust = http2::trust(&made.cert.der().clone());
        let mut client = http2::client(http2::connected(daemon.http, &trust).await).await;
        let mut ask = |method: &str, path: &str, key: &str, body: String| {
            let request = Request::builder()
                .method(method)
                .uri(format!("https://localhost{path}"))
                .header("authorization", format!("Bearer {key}"))
                .header("content-type", "application/json")
                .body(Body::from(body))
                .unwrap();
            client.send_request(request)
        };
        let tail = ask("GET", "/v1/admin/audit/tail", &auditor, String::new());
        let mut tail = tail.await.unwrap().into_body();
        for number in 0..20 {
            let body = json!({ "user": "alice", "password": PASSWORD, "otp": hotp(number) });
            let answer = ask("POST", "/v1/verify", &key, body.to_string())
                .await
                .unwrap();
            assert!(http2::text(answer).await.contains("accept"), "{number}");
        }
        // The list is told of what happened, and ends with the connection.
        while let Some(Ok(_)) = tail.frame().await {}
    });
    is_gone(
        &daemon,
        &[MARK.as_bytes(), key.as_bytes()],
        "beside a list without an end",
    );
    drop(runtime);
    assert!(daemon.terminate().success());
}

#[test]
fn passwords_over_tls_leave_no_copy() {
    let Some(site) = site() else { return };
    let key = site.api_client("web");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, private) = (site.path().join("cert.pem"), site.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&private, made.signing_key.serialize_pem()).unwrap();
    let daemon = site.serve_with(&[
        (
            "ONCEGATE__HTTP__TLS__CERTIFICATE",
            certificate.to_str().unwrap(),
        ),
        ("ONCEGATE__HTTP__TLS__KEY", private.to_str().unwrap()),
    ]);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(daemon.http).unwrap();
    let mut stream = rustls::StreamOwned::new(client, stream);
    let mut exchange = |method: &str, path: &str, body: &str| {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = vec![0; 4096];
        let read = stream.read(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..read]).into_owned()
    };
    for number in 0..20 {
        let body = json!({ "user": "alice", "password": PASSWORD, "otp": hotp(number) });
        let answer = exchange("POST", "/v1/verify", &body.to_string());
        assert!(answer.contains("accept"), "{answer}");
    }
    assert!(exchange("GET", "/healthz", "").contains(" 200 "));
    is_gone(
        &daemon,
        &[MARK.as_bytes(), key.as_bytes()],
        "an open TLS connection",
    );
    drop(stream);
    is_gone(&daemon, &[MARK.as_bytes(), key.as_bytes()], "a closed one");
    assert!(daemon.terminate().success());
}

#[test]
fn passwords_over_radius_leave_no_copy() {
    let Some(site) = site() else { return };
    let daemon = site.serve();
    let mut radius = Radius::new(daemon.radius, SECRET);
    for number in 0..20 {
        let typed = format!("{PASSWORD}{}", hotp(number));
        assert_eq!(radius.ask("alice", &typed), Some(Code::AccessAccept));
    }
    assert_eq!(radius.ask("alice", PASSWORD), Some(Code::AccessChallenge));
    for (user, typed) in [
        ("alice", format!("{MARK}-wrong000000")),
        ("nobody", format!("{MARK}-unknown,123456")),
        ("alice", MARK.to_owned()),
    ] {
        assert!(radius.ask(user, &typed).is_some());
    }
    // The room for datagrams holds the hidden password, which the shared secret in memory opens.
    let last = radius.request("alice", &format!("{MARK}-last"));
    radius.send(&last);
    assert!(radius.receive().is_some());
    let hidden = &last[last.len() - 16..];
    is_gone(&daemon, &[hidden], "the datagram");
    is_gone(&daemon, &[MARK.as_bytes()], "after RADIUS");
    assert!(daemon.terminate().success());
}

#[test]
fn passwords_over_the_admin_socket_leave_no_copy() {
    let Some(site) = site() else { return };
    let daemon = site.serve();
    for number in 0..10 {
        let password = format!("{MARK}-changed-{number}");
        site.json_with(&["user", "set", "alice", "--password-stdin"], &password);
    }
    let weak = site.run_with(
        &["user", "set", "alice", "--password-stdin"],
        MARK.get(..4).unwrap(),
    );
    assert!(!weak.status.success());
    let words = ["user", "add", "bob", "--password-stdin"];
    site.json_with(&words, &format!("{MARK}-of-him"));
    let again = site.run_with(&words, &format!("{MARK}-of-him"));
    assert!(!again.status.success(), "bob exists");
    let words = ["verify", "bob", "--passcode-stdin"];
    let verified = site.run_with(&words, &format!("{MARK}-of-him000000\n"));
    assert_eq!(verified.status.code(), Some(1), "{verified:?}");
    is_gone(&daemon, &[MARK.as_bytes()], "after the admin socket");
    assert!(daemon.terminate().success());
}
