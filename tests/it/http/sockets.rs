//! The HTTP front end on real sockets: TCP, TLS, the admin socket, slow peers, draining.

use std::sync::Arc;
use std::time::Duration;

use oncegate::model::client::Scope;
use oncegate::server::http::{serve_tcp, serve_unix};
use oncegate::server::tls::Tls;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::app::TestApp;

struct Served {
    app: TestApp,
    address: std::net::SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn served(tls: Option<Arc<Tls>>, connections: usize) -> Served {
    let app = TestApp::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, places) = (
        CancellationToken::new(),
        Arc::new(Semaphore::new(connections)),
    );
    let serve = serve_tcp(listener, tls, Arc::clone(&app.app), places, stop.clone());
    Served {
        app,
        address,
        stop,
        task: tokio::spawn(serve),
    }
}

/// Sends a request that closes its connection and reads everything.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, head: &str) -> String {
    let request = format!("{head}\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn tcp_needs_a_key_and_drains() {
    let served = served(None, 8).await;
    let connect = async || TcpStream::connect(served.address).await.unwrap();
    let answer = exchange(connect().await, "GET /healthz HTTP/1.1").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let answer = exchange(connect().await, "GET /v1/admin/users HTTP/1.1").await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let key = served.app.key("ops", Scope::Admin, None).await;
    let head = format!(
        "GET /v1/admin/users HTTP/1.1\r\nAuthorization: Bearer {}",
        key.expose()
    );
    let answer = exchange(connect().await, &head).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    // A listener of the audit must not keep the daemon from stopping.
    let mut tail = connect().await;
    let head = head.replace("users", "audit/tail");
    tail.write_all(format!("{head}\r\nHost: x\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut first = [0; 12];
    tail.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    served.stop.cancel();
    tokio::time::timeout(Duration::from_secs(5), served.task)
        .await
        .unwrap()
        .unwrap();
    served.app.app.drain().await;
    assert!(TcpStream::connect(served.address).await.is_err());
}

/// Causes of rejects are counted in the metrics: a stranger would read there whether a user exists.
#[tokio::test]
async fn metrics_and_faults_are_for_this_machine() {
    let app = TestApp::new();
    app.user_with("alice", oncegate::model::kind::Kind::Totp, true)
        .await;
    let admin = app.key("ops", Scope::Admin, None).await;
    let verify = app.key("web", Scope::Verify, None).await;
    app.clock
        .set(oncegate::time::UnixTime::from_secs(1_700_000_000));
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, places) = (CancellationToken::new(), Arc::new(Semaphore::new(8)));
    let serve = serve_tcp(listener, None, Arc::clone(&app.app), places, stop.clone());
    let task = tokio::spawn(serve);
    let get = async |host: &str, path: &str, key: Option<&oncegate::secret::SecretString>| {
        let stream = TcpStream::connect((host, port)).await.unwrap();
        let key = key.map(|key| format!("\r\nAuthorization: Bearer {}", key.expose()));
        let head = format!("GET {path} HTTP/1.1{}", key.unwrap_or_default());
        exchange(stream, &head).await
    };
    let fault = get("127.0.0.1", "/readyz", None).await;
    assert!(fault.contains("2023-11-14"), "{fault}");
    let page = get("127.0.0.1", "/metrics", None).await;
    assert!(page.contains("oncegate_decisions"), "{page}");
    let Some(outside) = own_address() else {
        crate::support::skip("this machine has no address beyond loopback");
        return;
    };
    for (key, status) in [(None, 401), (Some(&verify), 403), (Some(&admin), 200)] {
        let answer = get(&outside, "/metrics", key).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
        assert_eq!(
            status == 200,
            answer.contains("oncegate_decisions"),
            "{answer}"
        );
    }
    let unready = get(&outside, "/readyz", None).await;
    assert!(
        unready.starts_with("HTTP/1.1 503") && !unready.contains("2023-"),
        "{unready}"
    );
    stop.cancel();
    task.await.unwrap();
}

/// An address of this machine that is not loopback; nothing is sent to find it.
fn own_address() -> Option<String> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then(|| address.to_string())
}

#[tokio::test]
async fn connections_beyond_the_cap_wait_their_turn() {
    let served = served(None, 1).await;
    let idle = TcpStream::connect(served.address).await.unwrap();
    let second = TcpStream::connect(served.address).await.unwrap();
    let second = tokio::spawn(exchange(second, "GET /healthz HTTP/1.1"));
    drop(idle);
    assert!(second.await.unwrap().starts_with("HTTP/1.1 200"));
    served.stop.cancel();
    served.task.await.unwrap();
}

#[tokio::test]
async fn tls_speaks_and_plain_text_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (
        directory.path().join("c.pem"),
        directory.path().join("k.pem"),
    );
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = Arc::new(Tls::load(&certificate, &key).unwrap());
    let served = served(Some(tls), 8).await;

    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(served.address).await.unwrap();
    let stream = connector
        .connect("localhost".try_into().unwrap(), stream)
        .await
        .unwrap();
    let answer = exchange(stream, "GET /healthz HTTP/1.1").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let mut plain = TcpStream::connect(served.address).await.unwrap();
    plain
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));
    served.stop.cancel();
    served.task.await.unwrap();
}

#[tokio::test]
async fn the_admin_socket_knows_its_owner() {
    let app = TestApp::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("admin.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve_unix(listener, Arc::clone(&app.app), stop.clone()));
    let body = "{\"user\":\"alice\"}";
    let head = format!(
        "POST /v1/admin/users HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {}",
        body.len()
    );
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let request = format!("{head}\r\nHost: x\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let audit = app
        .admin("GET", "/v1/admin/audit?limit=1", None)
        .await
        .json();
    let own = nix::unistd::geteuid();
    let actor = audit["records"][0]["actor"].as_str().unwrap();
    assert!(actor.contains(&format!("uid {own}")), "{actor}");
    stop.cancel();
    task.await.unwrap();
}
