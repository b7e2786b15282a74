//! Self-service under `/me`: what people see and change of their own.
//!
//! ```text
//! sign-in: policy `self-service`, or the signature of a device whose token is in use
//!          -> session of its own cookie -> own tokens, devices, logins, consents, language
//! more proof: password and code again -> another token, one in stock, recovery codes, contacts;
//!             old PIN and code -> new PIN
//! ```
//!
//! What is asked for here are the same verbs as over the API, in the name of the user, with the same guards and on
//! record. What makes a token useless, *lost it* and *this was not me*, takes the session alone: it can be undone.
//!
//! Threats T12, T38: names are not told apart by answers; a session ends when the person's record, password or
//! tokens change, but for changes made in it.

use axum::Router;
use axum::routing::{get, post};

use crate::web::Desk;
use crate::web::console::look;

mod acts;
mod home;
mod owner;
mod sign_in;
mod tokens;

/// The routes below `/me`.
pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/me", get(home::show))
        .route("/me/sign-in", get(sign_in::show).post(sign_in::take))
        .route("/me/sign-in/device", post(sign_in::by_device))
        .route("/me/sign-out", post(sign_in::end))
        .route("/me/look", post(look::take))
        .route("/me/language", post(acts::language))
        .route("/me/lost", post(acts::lost))
        .route("/me/not-me", post(acts::not_me))
        .route("/me/device", post(acts::end_device))
        .route("/me/device/name", post(acts::rename_device))
        .route("/me/consent", post(acts::withdraw))
        .route("/me/contact", post(acts::contact))
        .route("/me/printed", post(acts::printed))
        .route("/me/pin", post(acts::pin))
        .route("/me/token", post(tokens::add))
        .route("/me/token/code", post(tokens::confirm))
        .route("/me/recovery", post(tokens::recovery))
        .route("/me/stock", post(tokens::take))
}
