//! One HTTP request over a connection of its own.

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

/// The task that drives the connection: the body of the answer comes as long as it is kept.
pub type Driver = AbortOnDropHandle<Result<(), hyper::Error>>;

/// Sends a request and reads the head of its answer, which is bounded ([`HEAD_MAX`]). Redirects are
/// answers like any other.
pub async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(Response<Incoming>, Driver), hyper::Error> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let driver = AbortOnDropHandle::new(tokio::spawn(connection));
    let answer = sender.send_request(request).await?;
    Ok((answer, driver))
}

/// Longest head of an answer in octets, against a server that is not ours.
const HEAD_MAX: usize = 64 * 1024;
