//! HTTP/2 over TLS: a client of a library, and frames by hand for what no client sends (RFC 9113 s4.1, RFC 7541).

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use oncegate::server::http::{App, serve_tcp};
use oncegate::server::tls::Tls;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

/// A server with a certificate, and who trusts it.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    trust: Arc<rustls::ClientConfig>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

pub(crate) async fn served(app: &Arc<App>, places: usize) -> Served {
    let directory = tempfile::tempdir().expect("a directory");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
    let made = made.expect("a certificate");
    let [certificate, key] = ["c.pem", "k.pem"].map(|name| directory.path().join(name));
    std::fs::write(&certificate, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let tls = Arc::new(Tls::load(&certificate, &key).expect("loaded"));
    app.set_tls(Arc::clone(&tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    let (stop, places) = (CancellationToken::new(), Arc::new(Semaphore::new(places)));
    let (own, app) = (Some(tls), Arc::clone(app));
    let task = tokio::spawn(serve_tcp(listener, own, app, places, stop.clone()));
    Served {
        address,
        trust: trust(&made.cert.der().clone()),
        stop,
        task,
    }
}

/// Trusts one certificate, and offers HTTP/2.
pub(crate) fn trust(
    certificate: &rustls::pki_types::CertificateDer<'static>,
) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// A connection on which HTTP/2 was agreed.
pub(crate) async fn connected(
    address: SocketAddr,
    trust: &Arc<rustls::ClientConfig>,
) -> TlsStream<TcpStream> {
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(trust));
    let stream = TcpStream::connect(address).await.expect("connected");
    let name = "localhost".try_into().expect("a name");
    let stream = connector.connect(name, stream).await.expect("TLS");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    stream
}

/// A client of a library on a connection.
pub(crate) async fn client(stream: TlsStream<TcpStream>) -> SendRequest<Body> {
    let made = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (client, connection) = made.await.expect("HTTP/2");
    tokio::spawn(connection);
    client
}

impl Served {
    pub(crate) async fn connect(&self) -> TlsStream<TcpStream> {
        connected(self.address, &self.trust).await
    }

    pub(crate) async fn client(&self) -> SendRequest<Body> {
        client(self.connect().await).await
    }

    /// A connection with the preface and these settings sent.
    pub(crate) async fn raw(&self, settings: &[u8]) -> TlsStream<TcpStream> {
        let mut stream = self.connect().await;
        let begin = [
            &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
            &frame(4, 0, 0, settings),
        ]
        .concat();
        stream.write_all(&begin).await.expect("written");
        stream
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("no panic");
    }
}

/// A frame: its type, flags and stream.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

/// The fields of a request by GET, each a literal that is not to be indexed.
pub(crate) fn fields(path: &str, more: &[(String, String)]) -> Vec<u8> {
    let text = |text: &str| {
        let mut octets = Vec::new();
        match u8::try_from(text.len()) {
            Ok(length) if length < 127 => octets.push(length),
            _ => {
                octets.push(127);
                let mut rest = text.len() - 127;
                while rest >= 128 {
                    octets.push(u8::try_from(rest % 128 + 128).expect("an octet"));
                    rest /= 128;
                }
                octets.push(u8::try_from(rest).expect("an octet"));
            }
        }
        octets.extend_from_slice(text.as_bytes());
        octets
    };
    // `:method` GET and `:scheme` https of the static table; `:path`, `:authority` by its names.
    let mut block = vec![0x82, 0x87, 0x04];
    block.extend(text(path));
    block.push(0x01);
    block.extend(text("localhost"));
    for (name, value) in more {
        block.push(0);
        block.extend(text(name));
        block.extend(text(value));
    }
    block
}

/// Reads until the server closes the connection; the types of the frames that came, and the error of its GOAWAY.
pub(crate) async fn until_closed(mut stream: TlsStream<TcpStream>) -> (Vec<u8>, Option<u32>) {
    let mut all = Vec::new();
    // A connection that is cut off ends without a notice.
    let _ = stream.read_to_end(&mut all).await;
    let (mut kinds, mut error, mut rest) = (Vec::new(), None, all.as_slice());
    while let Some((head, behind)) = rest.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let Some((payload, behind)) = behind.split_at_checked(length) else {
            break;
        };
        if let (7, Some(code)) = (head[3], payload.get(4..8)) {
            error = Some(u32::from_be_bytes(code.try_into().expect("four octets")));
        }
        kinds.push(head[3]);
        rest = behind;
    }
    (kinds, error)
}

/// The text of an answer.
pub(crate) async fn text(answer: Response<hyper::body::Incoming>) -> String {
    let body = http_body_util::BodyExt::collect(answer.into_body()).await;
    let octets = body.expect("a body").to_bytes();
    String::from_utf8_lossy(&octets).into_owned()
}
