//! HTTP/2 over TLS: what holds over HTTP/1.1 holds over it, for requests that are honest and for frames that are not.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::client::conn::http2::SendRequest;
use oncegate::model::client::Scope;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use crate::support::app::TestApp;
use crate::support::console::{Console, Person};
use crate::support::http2::{fields, frame, served, text, until_closed};
use crate::support::require;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn get(uri: &str) -> Request<Body> {
    Request::builder()
        .uri(uri)
        .body(Body::empty())
        .expect("a request")
}

async fn status(client: &mut SendRequest<Body>, request: Request<Body>) -> u16 {
    let answer = client.send_request(request).await.expect("an answer");
    answer.status().as_u16()
}

#[tokio::test]
async fn curl_speaks_http2_with_the_api_and_the_console() {
    if !require("curl", "curl") {
        return;
    }
    let console = Console::new();
    let served = served(&console.app, 8).await;
    let key = console.key("ops", "admin").await;
    for (version, spoken) in [("--http2", "2"), ("--http1.1", "1.1")] {
        for (path, status) in [("/v1/admin/users", "200"), ("/console/sign-in", "200")] {
            let url = format!("https://{}{path}", served.address);
            let key = format!("Authorization: Bearer {}", key.expose());
            let ran = tokio::process::Command::new("curl")
                .args([
                    "-sk",
                    "-o",
                    "/dev/null",
                    "-w",
                    "%{http_version} %{http_code}",
                ])
                .args([version, "-H", &key, &url])
                .output();
            let told = String::from_utf8(ran.await.expect("curl").stdout).expect("text");
            assert_eq!(told, format!("{spoken} {status}"), "{path}");
        }
    }
    served.stop().await;
}

#[tokio::test]
async fn a_request_names_one_host_and_it_is_the_own_one() {
    let console = Console::with(Vec::new(), Some("https://otp.example.com"));
    let served = served(&console.app, 8).await;
    let mut client = served.client().await;
    for (uri, host, expected) in [
        ("https://otp.example.com/console/sign-in", None, 200),
        (
            "https://otp.example.com/console/sign-in",
            Some("otp.example.com"),
            200,
        ),
        ("https://evil.example/console/sign-in", None, 421),
        // What one part of the server would go by, and another not.
        (
            "https://otp.example.com/console/sign-in",
            Some("evil.example"),
            400,
        ),
        (
            "https://evil.example/console/sign-in",
            Some("otp.example.com"),
            400,
        ),
        (
            "https://evil.example/v1/admin/users",
            Some("otp.example.com"),
            400,
        ),
        ("https://kim@otp.example.com/console/sign-in", None, 400),
    ] {
        let mut request = get(uri);
        if let Some(host) = host {
            request
                .headers_mut()
                .insert("host", host.parse().expect("a value"));
        }
        assert_eq!(
            status(&mut client, request).await,
            expected,
            "{uri} {host:?}"
        );
    }
    let mut connect = get("https://otp.example.com");
    *connect.method_mut() = axum::http::Method::CONNECT;
    *connect.uri_mut() = "otp.example.com:443".parse().expect("an authority");
    assert_eq!(status(&mut client, connect).await, 405);
    served.stop().await;
}

/// Signs in, as a browser on a page of the authority does.
async fn signed_in(console: &Console, client: &mut SendRequest<Body>, kim: &Person) -> String {
    let code = console.code(&kim.uri);
    let answer = client.send_request(form(
        "https://localhost/console/sign-in",
        "same-origin",
        &format!("name=kim&password=correct+horse+staple&code={code}"),
    ));
    let answer = answer.await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let line = answer.headers()["set-cookie"].to_str().expect("text");
    assert!(
        line.starts_with("__Host-oncegate=") && line.contains("Secure"),
        "{line}"
    );
    line.split(';').next().expect("a pair").to_owned()
}

fn form(uri: &str, site: &str, body: &str) -> Request<Body> {
    Request::builder()
        .method("POST")
        .uri(uri)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("sec-fetch-site", site)
        .body(Body::from(body.to_owned()))
        .expect("a request")
}

#[tokio::test]
async fn sessions_and_forms_are_as_safe_as_over_http_1() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    let served = served(&console.app, 16).await;
    let mut client = served.client().await;
    let session = signed_in(&console, &mut client, &kim).await;
    let page = async |client: &mut SendRequest<Body>, cookies: &[&str]| {
        let mut request = get("https://localhost/console");
        for cookie in cookies {
            request
                .headers_mut()
                .append("cookie", cookie.parse().expect("a value"));
        }
        client.send_request(request).await.expect("an answer")
    };
    // Browsers send one cookie in each field (RFC 9113 s8.2.3).
    let answer = page(&mut client, &["oncegate-language=ko", &session]).await;
    assert_eq!(answer.status(), 200);
    assert!(text(answer).await.contains("lang=\"ko\""));
    // A second session, which another put there, and one that an attacker chose.
    let chosen = "__Host-oncegate=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for cookies in [
        &[session.as_str(), chosen][..],
        &[chosen, &session],
        &[chosen],
    ] {
        assert_eq!(
            page(&mut client, cookies).await.status(),
            303,
            "{cookies:?}"
        );
    }
    for (uri, site, expected) in [
        ("https://localhost/console/act/add_user", "cross-site", 403),
        ("https://localhost/console/act/add_user", "same-site", 403),
        ("https://localhost/console/act/add_user", "same-origin", 303),
    ] {
        let mut request = form(uri, site, "user=bora&back=%2Fconsole");
        request
            .headers_mut()
            .insert("cookie", session.parse().expect("a value"));
        assert_eq!(status(&mut client, request).await, expected, "{site}");
    }
    // Without the header, an `Origin` counts if it is that of the `:authority`.
    for (origin, expected) in [("https://localhost", 303), ("https://evil.example", 403)] {
        let mut request = form("https://localhost/console/act/unlock", "", "place=bora");
        request.headers_mut().remove("sec-fetch-site");
        request
            .headers_mut()
            .insert("origin", origin.parse().expect("a value"));
        request
            .headers_mut()
            .insert("cookie", session.parse().expect("a value"));
        assert_eq!(status(&mut client, request).await, expected, "{origin}");
    }
    served.stop().await;
}

/// A head, a number of fields, a body: each has its limit, as over HTTP/1.1.
#[tokio::test]
async fn requests_have_the_limits_of_http_1() {
    let app = TestApp::new();
    let key = app.key("web", Scope::Verify, None).await;
    let served = served(&app.app, 8).await;
    let mut client = served.client().await;
    let with = |fields: usize, length: usize| {
        let mut request = get("https://localhost/healthz");
        for number in 0..fields {
            let name = format!("x-{number}").parse::<axum::http::HeaderName>();
            let value = "x".repeat(length).parse().expect("a value");
            request.headers_mut().insert(name.expect("a name"), value);
        }
        request
    };
    assert_eq!(status(&mut client, with(90, 10)).await, 200);
    assert_eq!(status(&mut client, with(101, 10)).await, 431);
    assert_eq!(status(&mut client, with(1, 30_000)).await, 200);
    assert_eq!(status(&mut client, with(1, 33_000)).await, 431);
    let verify = |body: Body| {
        Request::builder()
            .method("POST")
            .uri("https://localhost/v1/verify")
            .header("authorization", format!("Bearer {}", key.expose()))
            .header("content-type", "application/json")
            .body(body)
            .expect("a request")
    };
    let long = json!({ "user": "alice", "otp": "x".repeat(17_000) }).to_string();
    assert_eq!(status(&mut client, verify(Body::from(long))).await, 413);
    let unknown = json!({ "user": "nobody", "otp": "000000" }).to_string();
    assert_eq!(status(&mut client, verify(Body::from(unknown))).await, 200);
    // A body that does not come: `request_timeout` is 3 s here.
    let began = Instant::now();
    let silent = Body::from_stream(futures_util::stream::pending::<
        Result<Vec<u8>, std::io::Error>,
    >());
    assert_eq!(status(&mut client, verify(silent)).await, 408);
    assert!((2..6).contains(&began.elapsed().as_secs()));
    served.stop().await;
}

/// Each request under way beyond the first takes a place among all connections.
#[tokio::test]
async fn streams_take_the_places_of_connections() {
    let app = TestApp::new();
    let key = app.key("web", Scope::Verify, None).await;
    // One is the connection's, one waits for the next connection.
    let served = served(&app.app, 4).await;
    let client = served.client().await;
    let (mut held, mut senders) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let (sender, body) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
        let body = futures_util::stream::unfold(body, async |mut body| {
            body.recv().await.map(|piece| (piece, body))
        });
        let request = Request::builder()
            .method("POST")
            .uri("https://localhost/v1/verify")
            .header("authorization", format!("Bearer {}", key.expose()))
            .header("content-type", "application/json")
            .body(Body::from_stream(body))
            .expect("a request");
        held.push(tokio::spawn(client.clone().send_request(request)));
        senders.push(sender);
        // One after the other, so that each holds its place.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut fourth = client.clone();
    assert_eq!(
        status(&mut fourth, get("https://localhost/healthz")).await,
        429
    );
    let body = json!({ "user": "nobody", "otp": "000000" }).to_string();
    for sender in senders {
        sender
            .send(Ok(body.clone().into_bytes()))
            .await
            .expect("sent");
    }
    for request in held {
        let answer = request.await.expect("no panic").expect("an answer");
        assert_eq!(answer.status(), 200);
        drop(answer.into_body().collect().await);
    }
    assert_eq!(
        status(&mut fourth, get("https://localhost/healthz")).await,
        200
    );
    served.stop().await;
}

/// Rapid reset (CVE-2023-44487): the connection ends, and nothing is left of it.
#[tokio::test]
async fn who_gives_up_every_request_is_cut_off() {
    let app = TestApp::new();
    let served = served(&app.app, 8).await;
    let mut stream = served.raw(&[]).await;
    let block = fields("/v1/admin/users", &[]);
    let mut sent = 0;
    let began = Instant::now();
    for turn in 0..20_000_u32 {
        let id = 2 * turn + 1;
        let both = [
            frame(HEADERS, END_HEADERS | END_STREAM, id, &block),
            frame(RST_STREAM, 0, id, &8_u32.to_be_bytes()),
        ];
        if stream.write_all(&both.concat()).await.is_err() {
            break;
        }
        sent += 1;
        if turn % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    assert!(sent < 20_000, "it ended: {sent}");
    assert!(began.elapsed() < Duration::from_secs(10));
    let mut client = served.client().await;
    assert_eq!(
        status(&mut client, get("https://localhost/healthz")).await,
        200
    );
    served.stop().await;
}

/// Header blocks without an end (CVE-2024-27316), and those that are too long (RFC 9113 s10.5.1).
#[tokio::test]
async fn header_blocks_have_an_end() {
    let app = TestApp::new();
    let served = served(&app.app, 8).await;
    for piece in [
        Vec::new(),
        fields("/", &[("x".repeat(10), "x".repeat(15_000))]),
    ] {
        let mut stream = served.raw(&[]).await;
        let begin = frame(HEADERS, END_STREAM, 1, &fields("/healthz", &[]));
        stream.write_all(&begin).await.expect("written");
        let mut sent = 0;
        for _ in 0..10_000 {
            let more = frame(CONTINUATION, 0, 1, &piece);
            if stream.write_all(&more).await.is_err() {
                break;
            }
            sent += 1;
            tokio::task::yield_now().await;
        }
        let (_, error) = until_closed(stream).await;
        assert!(sent < 10_000, "{sent}");
        // PROTOCOL_ERROR, COMPRESSION_ERROR, ENHANCE_YOUR_CALM; none where the end came before.
        assert!(
            [None, Some(1), Some(9), Some(11)].contains(&error),
            "{error:?}"
        );
    }
    let mut client = served.client().await;
    assert_eq!(
        status(&mut client, get("https://localhost/healthz")).await,
        200
    );
    served.stop().await;
}

/// A peer that says nothing, or only half of something, has the seconds that it has over HTTP/1.1.
#[tokio::test]
async fn silence_ends_a_connection() {
    let app = TestApp::new();
    let served = served(&app.app, 8).await;
    let silent = served.connect().await;
    let idle = served.raw(&[]).await;
    let mut half = served.raw(&[]).await;
    let block = frame(HEADERS, 0, 1, &fields("/healthz", &[]));
    half.write_all(&block).await.expect("written");
    let mut cut = served.raw(&[]).await;
    cut.write_all(&block[..12]).await.expect("written");
    // PING keeps nothing open.
    let mut pings = served.raw(&[]).await;
    let began = Instant::now();
    let all = async {
        tokio::join!(
            until_closed(silent),
            until_closed(idle),
            until_closed(half),
            until_closed(cut),
            async {
                while pings.write_all(&frame(6, 0, 0, &[0; 8])).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        );
    };
    timeout(Duration::from_secs(12), all)
        .await
        .expect("all of them ended");
    assert!(began.elapsed() >= Duration::from_secs(4));
    served.stop().await;
}

/// A reader whose window stays shut holds an answer for ten seconds.
#[tokio::test]
async fn an_answer_that_is_not_taken_ends_the_connection() {
    let app = TestApp::new();
    let served = served(&app.app, 8).await;
    // SETTINGS_INITIAL_WINDOW_SIZE of nothing.
    let mut stream = served.raw(&[0, 4, 0, 0, 0, 0]).await;
    let block = fields("/openapi.json", &[]);
    for id in [1, 3, 5] {
        let asked = frame(HEADERS, END_HEADERS | END_STREAM, id, &block);
        stream.write_all(&asked).await.expect("written");
    }
    let began = Instant::now();
    let (kinds, _) = timeout(Duration::from_secs(20), until_closed(stream))
        .await
        .expect("it ended");
    assert!(
        began.elapsed() >= Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(count(&kinds, HEADERS), 3);
    assert!(kinds.contains(&SETTINGS));
    served.stop().await;
}

/// More streams than are allowed are refused one by one, and the others are answered; a flood ends the connection.
#[tokio::test]
async fn a_flood_of_streams_is_answered_or_refused() {
    let app = TestApp::new();
    let served = served(&app.app, 8).await;
    let block = fields("/healthz", &[]);
    let asked = async |count: u32| {
        let mut stream = served.raw(&[]).await;
        let all =
            (0..count).map(|turn| frame(HEADERS, END_HEADERS | END_STREAM, 2 * turn + 1, &block));
        // In one piece: all of them are there before the first is answered.
        let _ = stream.write_all(&all.collect::<Vec<_>>().concat()).await;
        let ended = timeout(Duration::from_secs(20), until_closed(stream)).await;
        ended.expect("it ended")
    };
    let (kinds, error) = asked(150).await;
    let answered = count(&kinds, HEADERS) + count(&kinds, RST_STREAM);
    assert_eq!(answered, 150, "{kinds:?}");
    assert_eq!(error, Some(0), "it ends as one that is not used");
    let (_, error) = asked(2000).await;
    // ENHANCE_YOUR_CALM.
    assert_eq!(error, Some(11));
    let mut client = served.client().await;
    assert_eq!(
        status(&mut client, get("https://localhost/healthz")).await,
        200
    );
    served.stop().await;
}

/// Rows of a live list come over a connection with other requests, which ends when those do; on a connection of its
/// own the list goes on.
#[tokio::test]
async fn a_live_list_moves_to_a_connection_of_its_own() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    let served = served(&console.app, 16).await;
    let mut client = served.client().await;
    let session = signed_in(&console, &mut client, &kim).await;
    let live = |client: &mut SendRequest<Body>| {
        let mut request = get("https://localhost/console/live?after=1");
        request
            .headers_mut()
            .insert("cookie", session.parse().expect("a value"));
        client.send_request(request)
    };
    let mut shared = live(&mut client).await.expect("an answer").into_body();
    let first = shared.frame().await.expect("a piece").expect("whole");
    let first = first.into_data().expect("data");
    assert!(String::from_utf8_lossy(&first).contains("event: row"));
    let began = Instant::now();
    let over = async { while shared.frame().await.is_some_and(|frame| frame.is_ok()) {} };
    timeout(Duration::from_secs(10), over)
        .await
        .expect("it ended");
    assert!(began.elapsed() >= Duration::from_secs(3));
    let mut alone = served.client().await;
    let mut own = live(&mut alone).await.expect("an answer").into_body();
    let over = async { while own.frame().await.is_some_and(|frame| frame.is_ok()) {} };
    assert!(
        timeout(Duration::from_secs(9), over).await.is_err(),
        "it goes on"
    );
    served.stop().await;
}

/// How many frames are of this kind.
fn count(kinds: &[u8], kind: u8) -> usize {
    kinds.iter().map(|one| usize::from(*one == kind)).sum()
}
