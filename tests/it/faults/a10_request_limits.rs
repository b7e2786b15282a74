//! Limits by address hold behind a proxy and for IPv6, refused enrolments do not fill the audit, and what
//! gateways bring is signed as a whole and taken once.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::http::Request;
use hmac::{Hmac, Mac as _};
use oncegate::login::{LoginRequest, Presented, hashing};
use oncegate::model::audit::{Channel, Event};
use oncegate::secret::SecretString;
use oncegate::server::http::Peer;
use oncegate::server::http::router;
use oncegate::store::AuditQuery;
use oncegate::time::UnixTime;
use serde_json::json;
use sha2::Sha256;
use tokio::task::JoinSet;

use crate::device::devices::{CODE, SERIAL, invited};
use crate::support::app::{TestApp, ask};
use crate::support::daemon::{Daemon, Site};
use crate::support::device::Phone;
use crate::support::lab::Lab;

fn now() -> UnixTime {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    UnixTime::from_secs(since.as_secs())
}

/// One request on a connection of its own; the status and the whole answer.
fn exchange(daemon: &Daemon, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(daemon.http).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

/// A try to enrol, with these further header lines.
fn enrol(daemon: &Daemon, phone: &Phone, user: &str, headers: &str) -> u16 {
    let sent = phone.enrol(now(), user, CODE);
    let mut own = String::new();
    for (name, value) in &sent.headers {
        own.extend([name, ": ", value, "\r\n"]);
    }
    let request = format!(
        "{} {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}{own}Content-Length: {}\r\n\r\n{}",
        sent.method,
        sent.target,
        sent.body.len(),
        sent.body
    );
    exchange(daemon, &request).0
}

const LISTED: (&str, &str) = ("ONCEGATE__HTTP__TRUSTED_PROXIES", "127.0.0.1, 10.9.0.0/16");

#[test]
fn behind_a_listed_proxy_each_address_has_its_own_limit() {
    let site = Site::new();
    let daemon = site.serve_with(&[LISTED]);
    let phone = Phone::new(1);
    let tries = |headers: &str, count: usize| -> Vec<u16> {
        (0..count)
            .map(|_| enrol(&daemon, &phone, "nobody", headers))
            .collect()
    };
    // What stands left of the hop that the proxy saw is the client's own word.
    let spoofed = |number: usize| format!("X-Forwarded-For: 198.51.100.{number}, 203.0.113.7\r\n");
    let far: Vec<u16> = (0..31)
        .map(|number| enrol(&daemon, &phone, "nobody", &spoofed(number)))
        .collect();
    assert!(far[..30].iter().all(|status| *status == 409), "{far:?}");
    assert_eq!(far[30], 429);
    assert_eq!(tries("X-Forwarded-For: 203.0.113.8\r\n", 1), [409]);
    // Through a second proxy, by the other header, and of IPv6 the whole network.
    let other = tries(
        "Forwarded: for=203.0.113.7;proto=https, for=10.9.1.1\r\n",
        1,
    );
    assert_eq!(other, [429]);
    let network = |number: u8| format!("Forwarded: for=\"[2001:db8:1:2::{number}]:4711\"\r\n");
    let network: Vec<u16> = (0..31)
        .map(|number| enrol(&daemon, &phone, "nobody", &network(number)))
        .collect();
    assert_eq!((network[29], network[30]), (409, 429));
    // The address is on record.
    let records = site.json(&["audit", "list", "--limit", "200"]);
    assert!(records.to_string().contains("203.0.113.7"), "{records}");
    assert!(!records.to_string().contains("198.51.100."), "{records}");
    assert!(daemon.terminate().success());
}

#[test]
fn an_unlisted_proxy_is_one_address_whatever_it_says() {
    let site = Site::new();
    let daemon = site.serve();
    let phone = Phone::new(1);
    let tries: Vec<u16> = (0..31)
        .map(|number| {
            let claimed = format!("X-Forwarded-For: 203.0.113.{number}\r\n");
            enrol(&daemon, &phone, "nobody", &claimed)
        })
        .collect();
    assert_eq!((tries[29], tries[30]), (409, 429), "{tries:?}");
}

#[test]
fn a_request_that_came_through_a_proxy_is_not_of_this_machine() {
    let site = Site::new();
    let get = |daemon: &Daemon, headers: &str| {
        let head = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
        exchange(daemon, &format!("{head}{headers}\r\n")).0
    };
    let daemon = site.serve();
    assert_eq!(get(&daemon, ""), 200);
    for header in [
        "X-Forwarded-For: 127.0.0.1",
        "Forwarded: for=127.0.0.1",
        "Via: 1.1 x",
    ] {
        assert_eq!(get(&daemon, &format!("{header}\r\n")), 401, "{header}");
    }
    assert!(daemon.terminate().success());
    let daemon = site.serve_with(&[LISTED]);
    assert_eq!(
        get(&daemon, ""),
        401,
        "a proxy that adds no header speaks for others too"
    );
    assert_eq!(get(&daemon, "X-Forwarded-For: 127.0.0.1\r\n"), 401);
    let key = format!("Authorization: Bearer {}\r\n", site.admin_key);
    assert_eq!(get(&daemon, &key), 200);
    assert!(daemon.terminate().success());
}

/// As many requests at a time as an address may have connections, of IPv6 a network.
#[test]
fn one_network_does_not_fill_the_server_through_a_proxy() {
    let site = Site::new();
    let key = site.api_client("web");
    let daemon = site.serve_with(&[
        LISTED,
        ("ONCEGATE__LIMITS__HTTP_CONNECTIONS_PER_ADDRESS", "2"),
        ("ONCEGATE__LIMITS__REQUEST_TIMEOUT", "60s"),
    ]);
    let head = |address: &str| {
        format!(
            "POST /v1/verify HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: {address}\r\n\
             Authorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: 34\r\n\r\n"
        )
    };
    let body = r#"{"user":"nobody","otp":"00000000"}"#;
    // One whose body is awaited.
    let wait = |address: &str| {
        let mut stream = TcpStream::connect(daemon.http).unwrap();
        stream.write_all(head(address).as_bytes()).unwrap();
        stream
    };
    let status = |address: &str| exchange(&daemon, &format!("{}{body}", head(address))).0;
    // Until two are being served: one that comes beside a question of ours may itself be refused.
    let mut waiting = Vec::new();
    let refused = (0..100).find(|_| {
        waiting.push(wait("2001:db8:1:2::1"));
        waiting.push(wait("2001:db8:1:2::2"));
        status("2001:db8:1:2:ffff::3") == 429
    });
    assert!(refused.is_some());
    assert_eq!(status("2001:db8:1:300::1"), 200);
    assert_eq!(status("203.0.113.7"), 200);
    drop(waiting);
    let served = (0..10_000).find(|_| status("2001:db8:1:2::4") == 200);
    assert!(served.is_some());
    assert!(daemon.terminate().success());
}

async fn records(app: &TestApp) -> Vec<Event> {
    let query = AuditQuery {
        limit: 1000,
        ..AuditQuery::default()
    };
    let records = app.service.core.store().audit(query).await.unwrap();
    records.into_iter().map(|record| record.event).collect()
}

#[tokio::test]
async fn a_flood_of_refused_enrolments_is_counted_and_guesses_are_recorded() {
    let app = invited("alice").await;
    let phone = Phone::new(1);
    let from = |number: u8| {
        let peer: SocketAddr = format!("203.0.113.{number}:4000").parse().unwrap();
        router(Arc::clone(&app.app)).layer(Extension(Peer(peer)))
    };
    let refused = async |number: u8, user: &str, code: &str| {
        let sent = phone.enrol(app.service.core.now(), user, code);
        let answer = ask(&from(number), sent.request()).await;
        assert_eq!(answer.problem(), (409, "refused".to_owned()));
        answer.body
    };
    let flood = (0..200).map(|number| {
        if number % 2 == 0 {
            refused(number % 20, "nobody", CODE)
        } else {
            refused(number % 20, "alice", "755224")
        }
    });
    let mut bodies = futures_util::future::join_all(flood).await;
    // A guess at the live code, in the midst of it.
    bodies.push(refused(77, "alice", "000000000000").await);
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(app.issued().tries, 1);
    let decisions = |events: &[Event]| {
        let mut count = 0;
        for event in events {
            count += usize::from(matches!(event, Event::Decision(_)));
        }
        count
    };
    let events = records(&app).await;
    assert_eq!(decisions(&events), 61, "one for each would be 201");
    app.clock.advance(Duration::from_secs(61));
    app.service.login.note_refusals(false).await.unwrap();
    let events = records(&app).await;
    let Some(Event::Change(note)) = events.first() else {
        panic!("{events:?}");
    };
    assert_eq!(
        (note.action.as_str(), note.actor.as_str()),
        ("enrol_refused", "daemon")
    );
    let detail = note.detail.as_deref().unwrap();
    assert!(detail.contains("140 more"), "{detail}");
    assert!(
        detail.contains("malformed_code ") && detail.contains("unknown_user "),
        "{detail}"
    );
    assert!(detail.contains("203.0.113.1"), "{detail}");
    // The next minute has records again, and the right code is good.
    refused(1, "nobody", CODE).await;
    assert_eq!(decisions(&records(&app).await), 62);
    let sent = phone.enrol(app.service.core.now(), "alice", CODE);
    let answer = ask(&from(78), sent.request()).await;
    assert_eq!(answer.status, 201, "{:?} {SERIAL}", answer.json());
}

/// A login by a password from there that takes a place and is never done with, or is not decided at once.
fn asks(lab: &Lab, from: Option<IpAddr>, waiting: &mut JoinSet<bool>) {
    let service = Arc::clone(lab.service());
    waiting.spawn(async move {
        let (id, at) = service.core.arrival().unwrap();
        let client = service.admin.client("app-password").unwrap();
        let password = SecretString::from("wrong horse staple");
        let request = LoginRequest {
            id,
            at,
            deadline: at.plus(Duration::from_mins(1)),
            client: &client,
            channel: Channel::Http,
            method: "http",
            user: "nobody",
            presented: Presented::Fields {
                password: Some(&password),
                pin: None,
                otp: None,
            },
            challenge: None,
            rounds: true,
            source: from,
            attributes: &[],
            context: &[],
            origin: None,
            serial: None,
            carrier: None,
        };
        service.login.authenticate(&request).await.is_err()
    });
}

/// Of so many who ask from one place at a time this number is not decided, and no more wait.
async fn shed(lab: &Lab, from: Option<[u8; 4]>, (asking, shed): (usize, usize)) -> JoinSet<bool> {
    let mut waiting = JoinSet::new();
    for _ in 0..asking {
        asks(lab, from.map(IpAddr::from), &mut waiting);
    }
    for _ in 0..shed {
        let ended = tokio::time::timeout(Duration::from_secs(20), waiting.join_next());
        let ended = ended.await.expect("one more is not decided");
        assert!(ended.unwrap().unwrap(), "{from:?}");
    }
    // Each has run until it waits, or has ended.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(waiting.try_join_next().is_none(), "{from:?}");
    waiting
}

/// The sighting: one address held all places, and no one else logged in by a password.
#[tokio::test]
async fn one_address_does_not_take_all_places_for_passwords() {
    let policy =
        "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"password\", \"otp\"]\n";
    let mut lab = Lab::new(&[("password", policy)]).await;
    // Nothing is ever hashed: who has a place keeps it.
    lab.hashing = hashing::Settings {
        threads: 0,
        queue: 16,
        ..lab.hashing
    };
    lab.restart().await;
    // One address gets three quarters, for an office may stand behind it, and nothing of the rest.
    let flood = shed(&lab, Some([203, 0, 113, 7]), (40, 28)).await;
    let others = shed(&lab, Some([203, 0, 113, 8]), (2, 0)).await;
    let more = shed(&lab, Some([203, 0, 113, 7]), (3, 3)).await;
    let concentrator = shed(&lab, None, (1, 0)).await;
    let last = shed(&lab, Some([203, 0, 113, 9]), (2, 1)).await;
    let held = [&flood, &others, &more, &concentrator, &last].map(JoinSet::len);
    assert_eq!(held, [12, 2, 0, 1, 1]);
}

const INBOUND: &str = "a-long-random-text-for-gateways";

/// What a gateway sends, signed for a medium and sent to one.
fn inbound(at: UnixTime, signed: &str, sent: &str, body: &str) -> Request<Body> {
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(INBOUND.as_bytes()).unwrap();
    let time = at.as_secs();
    mac.update(format!("{time}.{signed}.{body}").as_bytes());
    let hex = data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes());
    Request::post(format!("/v1/inbound/{sent}"))
        .header("content-type", "application/json")
        .header("oncegate-signature", format!("t={time},v2={hex}"))
        .body(Body::from(body.to_owned()))
        .unwrap()
}

/// Messages that had an effect.
async fn effects(app: &TestApp) -> usize {
    let of_gateway = |event: &&Event| matches!(event, Event::Decision(event) if event.channel == Channel::Inbound);
    records(app).await.iter().filter(of_gateway).count()
}

#[tokio::test]
async fn a_message_is_taken_once_by_the_medium_it_was_signed_for() {
    let app = TestApp::new();
    let start = app.service.core.now();
    app.app
        .set_inbound_secret(SecretString::from(INBOUND), UnixTime::default());
    let body = json!({ "from": "+821012345678", "text": "48" }).to_string();
    let named = json!({ "id": "7", "from": "+821012345678", "text": "48" }).to_string();
    let bring = async |at, signed, sent, body: &str| {
        let answer = ask(&app.keyed, inbound(at, signed, sent, body)).await;
        answer.status.as_u16()
    };
    // Signed for a text message, brought as a call.
    assert_eq!(bring(start, "sms", "voice", &body).await, 401);
    assert_eq!(bring(start, "", "sms", &body).await, 401);
    assert_eq!(effects(&app).await, 0);
    // Without an id the same octets count once, for as long as they are good.
    assert_eq!(bring(start, "sms", "sms", &body).await, 200);
    for _ in 0..5 {
        app.clock.advance(Duration::from_secs(50));
        assert_eq!(bring(start, "sms", "sms", &body).await, 200);
    }
    assert_eq!(effects(&app).await, 1);
    app.clock.advance(Duration::from_secs(51));
    assert_eq!(bring(start, "sms", "sms", &body).await, 401, "too old");
    // The same message signed anew is another one, unless it has an id.
    let later = app.service.core.now();
    assert_eq!(bring(later, "sms", "sms", &body).await, 200);
    assert_eq!(effects(&app).await, 2);
    assert_eq!(bring(later, "sms", "sms", &named).await, 200);
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(
        bring(app.service.core.now(), "sms", "sms", &named).await,
        200
    );
    assert_eq!(effects(&app).await, 3);
    assert_eq!(
        bring(app.service.core.now(), "voice", "voice", &named).await,
        200
    );
    assert_eq!(effects(&app).await, 4, "ids belong to a medium");
}

/// Many messages do not push one out of memory while its signature is good.
#[tokio::test]
async fn a_busy_gateway_does_not_make_old_messages_new() {
    let app = TestApp::new();
    let start = app.service.core.now();
    app.app
        .set_inbound_secret(SecretString::from(INBOUND), UnixTime::default());
    let body =
        |number: u32| json!({ "id": number.to_string(), "from": "+82", "text": "x" }).to_string();
    for number in 0..1500 {
        let answer = ask(&app.keyed, inbound(start, "sms", "sms", &body(number))).await;
        assert_eq!(answer.status, 200);
    }
    let before = effects(&app).await;
    let again = ask(&app.keyed, inbound(start, "sms", "sms", &body(0))).await;
    assert_eq!(again.status, 200);
    assert_eq!(effects(&app).await, before);
}

/// After a restart nothing is taken that the process before may have taken.
#[tokio::test]
async fn a_restart_opens_no_message_again() {
    let app = TestApp::new();
    let start = app.service.core.now();
    let since = start.plus(oncegate::server::http::AHEAD);
    app.app
        .set_inbound_secret(SecretString::from(INBOUND), since);
    let body = json!({ "from": "+821012345678", "text": "48" }).to_string();
    for at in [start, since] {
        let answer = ask(&app.keyed, inbound(at, "sms", "sms", &body)).await;
        assert_eq!(answer.problem(), (503, "unavailable".to_owned()));
        assert!(answer.headers.contains_key("retry-after"));
    }
    assert_eq!(effects(&app).await, 0);
    app.clock.advance(Duration::from_secs(11));
    let replayed = ask(&app.keyed, inbound(since, "sms", "sms", &body)).await;
    assert_eq!(replayed.status, 503);
    let anew = ask(
        &app.keyed,
        inbound(app.service.core.now(), "sms", "sms", &body),
    )
    .await;
    assert_eq!(anew.status, 200);
    assert_eq!(effects(&app).await, 1);
}

/// The daemon does so.
#[test]
fn the_daemon_takes_nothing_that_was_signed_before_it_started() {
    let site = Site::new();
    std::fs::write(site.path().join("inbound.key"), INBOUND).unwrap();
    let config = site.path().join("oncegate.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace("# inbound_secret_file", "inbound_secret_file");
    std::fs::write(&config, text).unwrap();
    let at = now();
    let daemon = site.serve();
    let body = json!({ "from": "+821012345678", "text": "48" }).to_string();
    let signed = inbound(at, "sms", "sms", &body);
    let header = signed.headers()["oncegate-signature"].to_str().unwrap();
    let request = format!(
        "POST /v1/inbound/sms HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: \
         application/json\r\nOncegate-Signature: {header}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(exchange(&daemon, &request).0, 503);
    assert!(daemon.terminate().success());
}
