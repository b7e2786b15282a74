//! What every request goes through, whatever its route: one layer, since each one costs a boxed future and a
//! copy of all that is behind it.
//!
//! ```text
//! every    Authorization is marked sensitive; a panic is a 500; `nosniff`
//!   as over HTTP/1.1 -> bounded head -> counted -> located -> the route
//! ```

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;

use crate::server::http::error::{self, Failure};
use crate::server::http::{App, http2, metrics, origin, serve};

/// The layer.
pub(super) async fn every(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    if let header::Entry::Occupied(mut keys) = request.headers_mut().entry(header::AUTHORIZATION) {
        keys.iter_mut().for_each(|key| key.set_sensitive(true));
    }
    // What the rest shares with other requests is behind locks that a panic poisons, or is atomic.
    let answered = AssertUnwindSafe(answered(&app, request, next)).catch_unwind();
    let mut response = answered.await.unwrap_or_else(error::panicked);
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(CONTENT_TYPE_OPTIONS, nosniff);
    response
}

async fn answered(app: &App, mut request: Request, next: Next) -> Response {
    if request.version() == Version::HTTP_2
        && let Err(failure) = http2::made_plain(&mut request)
    {
        return failure.into_response();
    }
    if !serve::is_head_bounded(&request) {
        return Failure::LONG_HEAD.into_response();
    }
    let counted = metrics::Counted::of(&request);
    let response = origin::located(app, request, next).await;
    counted.answered(app, response.status());
    response
}

const CONTENT_TYPE_OPTIONS: HeaderName = HeaderName::from_static("x-content-type-options");
