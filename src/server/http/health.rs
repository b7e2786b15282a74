//! `/healthz`, `/readyz`, `/openapi.json`: what monitors and tools ask without a key.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::api::Problem;
use crate::server::http::App;
use crate::server::http::caller::Near;
use crate::server::http::error::Failure;

/// The process lives.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "operation",
    security(()),
    responses((status = 200, description = "It does", body = String, content_type = "text/plain"))
)]
pub(crate) async fn healthz() -> &'static str {
    "ok"
}

/// Decisions can be made.
///
/// The cause, where they cannot, is told on this machine only: loopback and the admin socket.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operation",
    security(()),
    responses(
        (status = 200, description = "They can", body = String, content_type = "text/plain"),
        (status = 503, description = "They cannot", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn readyz(
    State(app): State<Arc<App>>,
    Near(near): Near,
) -> Result<&'static str, Failure> {
    match app.service().core.fault() {
        None => Ok("ok"),
        Some(fault) if near => Err(Failure::Unavailable(fault.into())),
        Some(_) => Err(Failure::Unavailable(NOT_READY.into())),
    }
}

/// This document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "operation",
    security(()),
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json"))
)]
pub(crate) async fn openapi(State(app): State<Arc<App>>) -> Response {
    let document = app.document().clone();
    ([(header::CONTENT_TYPE, "application/json")], document).into_response()
}

/// What strangers hear: paths and times of a fault are not theirs.
const NOT_READY: &str = "not ready; `oncegate status` on the server says why";
