//! A request whose body takes its time.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use futures_util::future::join;
use futures_util::stream::once;
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;

use crate::support::app::{Answer, ask};

/// Sends a request up to its body, does something when the server waits for that, and sends it.
pub(crate) async fn slowly(
    router: &Router,
    mut request: Request<Body>,
    meanwhile: impl Future<Output = ()>,
) -> Answer {
    let body = std::mem::take(request.body_mut());
    let body = body.collect().await.expect("a body").to_bytes();
    let (waits, begun) = oneshot::channel::<()>();
    let (go, gone) = oneshot::channel::<()>();
    let rest = async move {
        // It is polled when the server reads.
        waits.send(()).expect("someone listens");
        gone.await.expect("it is sent");
        Ok::<_, Infallible>(body)
    };
    *request.body_mut() = Body::from_stream(once(rest));
    let between = async move {
        begun.await.expect("the server reads the body");
        meanwhile.await;
        go.send(()).expect("the server still waits for the body");
    };
    let (answer, ()) = join(ask(router, request), between).await;
    answer
}
