//! Connections: accept, TLS, one server of HTTP/1.1 or HTTP/2 per connection, drain.
//!
//! Threats T20: idle and slow connections. A place is taken before accepting, a TLS
//! handshake, the headers of a request and each piece of an answer have seconds; headers and their
//! number are bounded.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Layer as _;

use crate::model::source::Source;
use crate::server::http::caller::Caller;
use crate::server::http::origin::Peer;
use crate::server::http::{App, http2, router};
use crate::server::patience::{PAUSE, Patience};
use crate::server::person::person;
use crate::server::tls::{HTTP_2, Tls};
use crate::server::wiped::Wiped;

/// Serves TCP until `shutdown`, then lets requests in flight finish. `connections` is shared by
/// all listeners: `limits.http_connections` places.
pub async fn serve_tcp(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    app: Arc<App>,
    connections: Arc<Semaphore>,
    shutdown: CancellationToken,
) {
    let router = router(Arc::clone(&app));
    accept(listener, tls, app, (connections, shutdown), router).await;
}

/// The same for a listener of the console's own: pages know by [`ConsoleListener`] that a request came in there.
pub async fn serve_console(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    app: Arc<App>,
    connections: Arc<Semaphore>,
    shutdown: CancellationToken,
) {
    let router = router(Arc::clone(&app)).layer(Extension(ConsoleListener));
    accept(listener, tls, app, (connections, shutdown), router).await;
}

/// Came in by a listener of the console; only that listener inserts it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConsoleListener;

async fn accept(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    app: Arc<App>,
    (connections, shutdown): (Arc<Semaphore>, CancellationToken),
    router: Router,
) {
    let open = TaskTracker::new();
    let address = listener.local_addr();
    let vital = address.map_or_else(
        |_| "HTTP".to_owned(),
        |address| format!("HTTP on {address}"),
    );
    let alive = app.service().core.vitals().alive(&vital);
    while let Some(place) = next_place(&connections, &shutdown).await {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let accepted = match accepted {
            Ok((stream, peer)) => {
                let most = app.connections_of(peer.ip());
                let Some(share) = app.addresses().share(Source::from(peer.ip()).site(), most)
                else {
                    tracing::debug!(%peer, "too many connections of one address");
                    continue;
                };
                (stream, Peer(peer), share)
            }
            Err(error) => {
                pause(&error).await;
                continue;
            }
        };
        let (tls, router, shutdown) = (tls.clone(), router.clone(), shutdown.clone());
        let of_app = (Arc::clone(&app), Arc::clone(&connections));
        open.spawn(async move {
            let (stream, peer, share) = accepted;
            tcp_connection((stream, peer), tls.as_deref(), router, of_app, shutdown).await;
            drop((place, share));
        });
    }
    drop((listener, alive));
    drain(&app, &open).await;
}

/// Serves the admin socket until `shutdown`, then lets requests in flight finish. Only the
/// daemon's own user and root are listened to; everybody else is hung up on.
pub async fn serve_unix(listener: UnixListener, app: Arc<App>, shutdown: CancellationToken) {
    let own = nix::unistd::geteuid().as_raw();
    let router = router(Arc::clone(&app));
    let alive = app.service().core.vitals().alive("the admin socket");
    let connections = Arc::new(Semaphore::new(SOCKET_CONNECTIONS));
    let open = TaskTracker::new();
    while let Some(place) = next_place(&connections, &shutdown).await {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                pause(&error).await;
                continue;
            }
        };
        let (uid, process) = match stream.peer_cred() {
            Ok(peer) if peer.uid() == own || peer.uid() == 0 => (peer.uid(), peer.pid()),
            Ok(peer) => {
                tracing::warn!(
                    uid = peer.uid(),
                    "admin socket: not root, not the daemon's user"
                );
                continue;
            }
            Err(error) => {
                tracing::warn!(%error, "admin socket: the peer's user is not known");
                continue;
            }
        };
        let (router, shutdown) = (router.clone(), shutdown.clone());
        open.spawn(async move {
            let known = tokio::task::spawn_blocking(move || person(uid, process)).await;
            let person = known.unwrap_or_else(|_| format!("uid {uid}").into());
            connection(stream, Caller::Local { uid, person }, router, shutdown).await;
            drop(place);
        });
    }
    drop((listener, alive));
    drain(&app, &open).await;
}

async fn next_place(
    places: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<OwnedSemaphorePermit> {
    tokio::select! {
        () = shutdown.cancelled() => None,
        place = Arc::clone(places).acquire_owned() => place.ok(),
    }
}

async fn tcp_connection(
    (stream, peer): (TcpStream, Peer),
    tls: Option<&Tls>,
    router: Router,
    of_app: (Arc<App>, Arc<Semaphore>),
    shutdown: CancellationToken,
) {
    // Answers are small: waiting for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return connection(stream, peer, router, shutdown).await;
    };
    // Below TLS as well: its library opens records in the buffer that it reads them into.
    match timeout(HANDSHAKE, tls.acceptor().accept(Wiped(stream))).await {
        Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(HTTP_2) => {
            http2::serve(stream, peer, router, of_app, shutdown).await;
        }
        Ok(Ok(stream)) => connection(stream, peer, router, shutdown).await,
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake took too long"),
    }
}

/// Serves one connection; every request on it carries `who`, which nothing in it can claim.
async fn connection<S, W>(stream: S, who: W, router: Router, shutdown: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    W: Clone + Send + Sync + 'static,
{
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(PAUSE)
        .max_headers(HEADER_COUNT)
        .max_buf_size(HEADER_OCTETS);
    let service = TowerToHyperService::new(Extension(who).layer(router));
    let mut connection = std::pin::pin!(
        server.serve_connection(TokioIo::new(Patience::new(Wiped(stream))), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

/// Whether a head is within its limits: a longer one may still have come within what the library buffers.
pub(super) fn is_head_bounded(request: &Request) -> bool {
    let target = request.uri();
    let scheme = target.scheme_str().map_or(0, |scheme| scheme.len() + 3);
    let authority = target.authority().map_or(0, |host| host.as_str().len());
    let query = target.query().map_or(0, |query| query.len() + 1);
    let line = request.method().as_str().len() + scheme + authority + target.path().len() + query;
    let headers = request.headers().iter();
    // `: ` and the line's end; ` ` twice, `HTTP/1.1` and the line's end.
    let octets = headers.map(|(name, value)| name.as_str().len() + value.len() + 4);
    octets.sum::<usize>() + line + 12 <= HEADER_OCTETS && request.headers().len() <= HEADER_COUNT
}

/// Waits for open connections; what goes on for ever is ended first.
async fn drain(app: &App, open: &TaskTracker) {
    app.stop();
    open.close();
    if timeout(DRAIN, open.wait()).await.is_err() {
        tracing::warn!(connections = open.len(), "connections are cut off");
    }
}

/// After a failed accept: out of file descriptors is not cured by trying again at once.
async fn pause(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    ) {
        tracing::warn!(%error, "cannot accept connections; trying again in a second");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Time for a TLS handshake: a peer that opens connections and says nothing.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Headers of a request: a peer that sends thousands. Browsers behind several proxies stay far below.
const HEADER_COUNT: usize = 100;
/// Octets of a request's head, its line and headers: a peer that sends megabytes. The library reads up
/// to a buffer more before it notices; [`is_head_bounded`] refuses that. What the library refuses itself, which
/// is no request yet, it answers with a status alone.
const HEADER_OCTETS: usize = 32 * 1024;
/// Connections to the admin socket: a local script that forgets to close them.
const SOCKET_CONNECTIONS: usize = 128;
/// Time for requests in flight when the daemon stops: the longest reject delay, and a commit.
const DRAIN: Duration = Duration::from_secs(15);
