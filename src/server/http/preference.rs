//! `Prefer: status` (RFC 7240): decisions for callers that look at the status only.
//!
//! A reject is an answer, so it is 200 like an accept. FreeRADIUS's `rlm_rest`, `curl -f` and nginx's
//! `auth_request` read 200 as yes. They ask for the decision in the status:
//!
//! ```text
//! 200   yes: accept, or what the route calls so
//! 401   no, or not yet: reject, challenge, a round that is pending
//! 503   undecided, also where the client's own rate is the cause
//! ```
//!
//! 403 is never a decision: it means that the key lacks the scope or is of another realm. The body and
//! the time of the answer are those of 200; `Preference-Applied: status` tells a 401 that is a decision
//! from one about the key.
//!
//! RFC 9110 wants `WWW-Authenticate` beside 401. The scheme is `OTP`: with `Basic` a browser would ask the
//! user for a password, with `Bearer` a client would look for another key.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::api::call::Call;
use crate::server::http::answer;
use crate::server::http::error::Failure;

/// Whether the caller looks at the status only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByStatus(bool);

impl ByStatus {
    /// What the request asks for, where the call heeds it.
    pub(crate) fn of<C: Call>(request: &Request) -> Result<Self, Failure> {
        Ok(Self(
            C::OPERATION.by_status.is_some()
                && (in_query(request.uri().query())? || in_headers(request.headers())),
        ))
    }

    /// Whether it does.
    pub(crate) const fn is_wanted(self) -> bool {
        self.0
    }

    /// A decision whose status says yes or no.
    pub(crate) fn answer(yes: bool, body: &impl Serialize) -> Response {
        let status = if yes {
            StatusCode::OK
        } else {
            StatusCode::UNAUTHORIZED
        };
        let mut response = answer::json(status, body);
        let headers = response.headers_mut();
        headers.insert(APPLIED, HeaderValue::from_static("status"));
        if !yes {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(SCHEME));
        }
        response
    }
}

/// Whether a request asks for it, whatever its call is.
pub(crate) fn is_by_status(request: &Request) -> bool {
    in_headers(request.headers()) || in_query(request.uri().query()).unwrap_or(false)
}

/// Where the status is all that is looked at, a request beyond the client's rate is undecided like any
/// other that was not looked at: callers know what to do about 503.
pub(crate) fn undecided(response: Response, by_status: bool) -> Response {
    if !by_status || response.status() != StatusCode::TOO_MANY_REQUESTS {
        return response;
    }
    let mut undecided = Failure::unavailable(RATE).into_response();
    for name in [
        HeaderName::from_static("x-request-id"),
        header::CACHE_CONTROL,
    ] {
        if let Some(value) = response.headers().get(&name) {
            undecided.headers_mut().insert(name, value.clone());
        }
    }
    undecided
}

/// Whether one of the preferences is `status`, whatever its value: names ignore case, and an
/// unknown preference is none (RFC 7240 s2).
fn in_headers(headers: &HeaderMap) -> bool {
    let values = headers.get_all(PREFER).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    texts
        .flat_map(|text| text.split(','))
        .filter_map(|preference| preference.split([';', '=']).next())
        .any(|name| name.trim().eq_ignore_ascii_case("status"))
}

fn in_query(query: Option<&str>) -> Result<bool, Failure> {
    let pairs = query.unwrap_or_default().split('&');
    let mut values = pairs.filter_map(|pair| match pair.split_once('=') {
        Some(("status", value)) => Some(value),
        None if pair == "status" => Some(""),
        _ => None,
    });
    match (values.next(), values.next()) {
        (None, _) | (Some("0"), None) => Ok(false),
        (Some("1"), None) => Ok(true),
        _ => Err(Failure::malformed("query: status: write status=1")),
    }
}

const PREFER: HeaderName = HeaderName::from_static("prefer");
const APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const SCHEME: &str = "OTP realm=\"oncegate\"";
const RATE: &str =
    "the client asks more often than it may; limits.http_client_rate is the number per second";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preference_is_found_among_others() {
        let wanted = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(PREFER, line.parse().unwrap());
            }
            in_headers(&headers)
        };
        for lines in [
            &["status"][..],
            &["STATUS"],
            &["respond-async, status"],
            &["wait=10", " status ; x=\"y\""],
            &["status=\"\""],
        ] {
            assert!(wanted(lines), "{lines:?}");
        }
        for lines in [&[][..], &["statuses"], &["return=status"], &["x-status"]] {
            assert!(!wanted(lines), "{lines:?}");
        }
    }

    #[test]
    fn the_query_says_one_or_nought() {
        let wanted = |query| in_query(query).ok();
        assert_eq!(wanted(None), Some(false));
        assert_eq!(wanted(Some("client=a&status=1")), Some(true));
        assert_eq!(wanted(Some("status=0")), Some(false));
        for bad in ["status", "status=", "status=yes", "status=1&status=0"] {
            assert_eq!(wanted(Some(bad)), None, "{bad}");
        }
    }
}
