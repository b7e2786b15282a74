//! The console of administrators, operators, approvers and auditors.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};

use crate::web::Desk;
use crate::web::guard;

mod frame;
pub(super) mod look;
mod now;
mod setup;
mod sign_in;

/// The routes below `/console`.
pub(super) fn routes(desk: &Desk) -> Router<Desk> {
    let near = middleware::from_fn_with_state(desk.clone(), reachable);
    Router::new()
        .route("/console", get(now::show))
        .route("/console/sign-in", get(sign_in::show).post(sign_in::take))
        .route("/console/sign-out", post(sign_in::end))
        .route("/console/look", post(look::take))
        .route("/console/setup", get(setup::show).post(setup::take))
        .route("/console/setup/code", post(setup::confirm))
        .route("/console/{*page}", get(frame::missing))
        .route_layer(near)
}

/// Hides the console from networks that may not reach it.
async fn reachable(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    if guard::may_reach(&desk, request.extensions().get()) {
        next.run(request).await
    } else {
        StatusCode::NOT_FOUND.into_response()
    }
}
