//! `/healthz`, `/readyz`, `/openapi.json`: what monitors and tools ask without a key.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::server::http::App;
use crate::server::http::caller::Near;
use crate::server::http::error::Failure;

pub(crate) async fn healthz() -> &'static str {
    "ok"
}

pub(crate) async fn readyz(
    State(app): State<Arc<App>>,
    Near(near): Near,
) -> Result<&'static str, Failure> {
    match app.core().fault() {
        None => Ok("ok"),
        Some(fault) if near => Err(Failure::unavailable(fault)),
        Some(_) => Err(Failure::unavailable(NOT_READY)),
    }
}

pub(crate) async fn openapi(State(app): State<Arc<App>>) -> Response {
    let document = app.document().clone();
    ([(header::CONTENT_TYPE, "application/json")], document).into_response()
}

/// What callers from elsewhere get: paths and times of a fault are not theirs.
const NOT_READY: &str = "not ready; `oncegate status` on the server says why";
