//! "Did you mean": what was probably meant by a name that is on no record.
//!
//! Invariant: only behind the routes of administrators. An application or a stranger is never told a
//! name that it did not name.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::api::Problem;
use crate::diagnostic::shell;
use crate::model::id::Serial;
use crate::model::user_key::UserKey;
use crate::server::http::{App, answer};

/// What was named and is on no record.
#[derive(Clone, Debug)]
pub(crate) enum Unknown {
    Client(String),
    Token(Serial),
    User(UserKey),
}

/// Stands in a response to a request for something that is on no record, beside its body.
#[derive(Clone)]
pub(crate) struct NotThere {
    pub(crate) what: Unknown,
    pub(crate) problem: Problem,
}

/// Adds what was probably meant to the advice of a 404.
pub(crate) async fn suggest(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let Some(NotThere { what, mut problem }) = response.extensions_mut().remove::<NotThere>()
    else {
        return response;
    };
    let service = app.service();
    // A suggestion is not worth another failure.
    let close = match what {
        Unknown::Client(name) => service.admin.similar_client(&name),
        Unknown::Token(serial) => {
            let close = service.admin.similar_serial(&serial).ok().flatten();
            close.map(|close| close.to_string())
        }
        Unknown::User(user) => {
            let close = service.admin.similar_user(&user).ok().flatten();
            close.map(|close| shell::word(&close.to_string()).into_owned())
        }
    };
    let Some(close) = close else { return response };
    let otherwise = problem.remedy.map(|remedy| format!("; or {remedy}"));
    problem.remedy = Some(format!(
        "did you mean {close}?{}",
        otherwise.unwrap_or_default().replacen("; or ", " Or ", 1)
    ));
    let (mut parts, _) = response.into_parts();
    let body = answer::json(parts.status, &problem).into_body();
    parts.headers.remove(header::CONTENT_LENGTH);
    let media = HeaderValue::from_static("application/problem+json");
    parts.headers.insert(header::CONTENT_TYPE, media);
    Response::from_parts(parts, body)
}
