//! The console of administrators, operators, approvers and auditors.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};

use crate::web::Desk;
use crate::web::guard;

mod account;
mod act;
mod acts;
mod audit;
mod clients;
mod drafts;
mod explained;
mod frame;
mod health;
mod imports;
pub(super) mod look;
mod now;
mod perform;
mod policies;
mod record;
mod requests;
mod result;
mod sentence;
mod setup;
mod sign_in;
mod stock;
mod stream;
mod user;
mod users;

pub(super) use imports::Plans;
pub(super) use stream::Live;

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
        .route("/console/live", get(stream::live))
        .route("/console/find", get(users::search))
        .route("/console/users", get(users::show))
        .route("/console/users/{user}", get(user::show))
        .route("/console/stock", get(stock::show))
        .route("/console/import", get(imports::show).post(imports::plan))
        .route("/console/requests", get(requests::show))
        .route("/console/clients", get(clients::list))
        .route("/console/clients/{name}", get(clients::show))
        .route("/console/policies", get(policies::list))
        .route("/console/policies/{name}", get(policies::show))
        .route("/console/draft", get(drafts::show))
        .route("/console/draft/replay", get(drafts::replay))
        .route("/console/why/{request}", get(explained::show))
        .route("/console/audit", get(audit::show))
        .route("/console/audit/export", get(audit::export))
        .route("/console/audit/{seq}", get(record::show))
        .route("/console/printed", post(look::printed))
        .route("/console/health", get(health::show))
        .route("/console/account", get(account::show))
        .route("/console/account/end", post(account::end))
        .route("/console/act/{id}", post(perform::take))
        .route("/console/{*page}", get(frame::missing))
        .route_layer(near)
}

/// Hides the console from networks that may not reach it.
async fn reachable(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    if guard::may_reach(&desk, request.extensions()) {
        next.run(request).await
    } else {
        StatusCode::NOT_FOUND.into_response()
    }
}
