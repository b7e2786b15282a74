//! Failures as problem documents (RFC 9457): the only place that makes them.
//!
//! A rejected code is no failure: it is answered with 200. Whatever is here was *not decided* or
//! not carried out. Details say where and what to do, and never repeat what was sent, but for names
//! of records to administrators.

use std::any::Any;
use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::admin::AdminError;
use crate::api::Problem;
use crate::core::CoreError;
use crate::model::id::Serial;
use crate::model::issue::IssueRefusal;
use crate::server::http::admin::similar::{NotThere, Unknown};
use crate::server::http::answer;
use crate::store::StoreError;

/// Why a request has no answer of its own.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The request cannot be understood.
    Malformed(Cow<'static, str>),
    /// No key, or no key of ours.
    NoKey,
    /// A device's request that is not its own, not of now, or not the first of its kind.
    NotTaken,
    /// The caller may not do that.
    Forbidden(&'static str),
    /// There is no such route or record.
    NotFound(Cow<'static, str>),
    /// The route has other methods.
    NoMethod,
    /// The body did not arrive in time.
    Slow,
    /// The record exists, or its state does not allow that.
    Conflict(Cow<'static, str>),
    /// A code given by an administrator was not right.
    Refused(String),
    /// `If-Match` names another revision.
    Changed,
    /// The body is too long.
    TooLarge,
    /// The head of the request is too long.
    LongHead,
    /// The body is not JSON by its own account.
    MediaType,
    /// The idempotency key came with another body before.
    KeyReused,
    /// The client asks more often than it may.
    TooMany,
    /// Too many enrolments, from one address or in all.
    TooManyEnrolments,
    /// Too many requests of one address at a time.
    Crowded,
    /// Our fault.
    Internal,
    /// No decision can be made now.
    Unavailable(Cow<'static, str>),
    /// One of the above, and what to do next.
    Advised(Box<Self>, String),
    /// A record that was named is not there; administrators are told what was probably meant.
    Unknown(Box<Self>, Unknown),
}

impl Failure {
    /// A request that cannot be understood.
    pub(crate) fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::Malformed(detail.into())
    }

    /// No such record.
    pub(crate) fn missing(what: &str) -> Self {
        Self::NotFound(format!("there is no such {what}").into())
    }

    /// Adds what to do next.
    pub(crate) fn advise(self, remedy: impl Into<String>) -> Self {
        Self::Advised(Box::new(self), remedy.into())
    }

    #[allow(clippy::too_many_lines)] // a table
    fn parts(self) -> (StatusCode, &'static str, &'static str, Cow<'static, str>) {
        match self {
            Self::Malformed(detail) => (
                StatusCode::BAD_REQUEST,
                "malformed",
                "The request cannot be understood",
                detail,
            ),
            Self::NoKey => (
                StatusCode::UNAUTHORIZED,
                "no-key",
                "A valid API key is needed",
                "send `Authorization: Bearer KEY`; `oncegate client add api NAME` makes a key"
                    .into(),
            ),
            Self::NotTaken => (
                StatusCode::UNAUTHORIZED,
                "not-taken",
                "The device's request is not taken",
                "sign it with the key of an enrolled device, with the present time and a new nonce"
                    .into(),
            ),
            Self::Forbidden(detail) => (
                StatusCode::FORBIDDEN,
                "forbidden",
                "The caller may not do that",
                detail.into(),
            ),
            Self::NotFound(detail) => (StatusCode::NOT_FOUND, "not-found", "Not found", detail),
            Self::NoMethod => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method",
                "The route has other methods",
                "see the Allow header, or GET /openapi.json".into(),
            ),
            Self::Slow => (
                StatusCode::REQUEST_TIMEOUT,
                "slow",
                "The body did not arrive in time",
                "send the whole body at once".into(),
            ),
            Self::Conflict(detail) => (
                StatusCode::CONFLICT,
                "conflict",
                "The present state does not allow that",
                detail,
            ),
            Self::Refused(detail) => (
                StatusCode::CONFLICT,
                "refused",
                "The code was refused",
                detail.into(),
            ),
            Self::Changed => (
                StatusCode::PRECONDITION_FAILED,
                "changed",
                "The record was changed meanwhile",
                "read it again and repeat the change with its new ETag".into(),
            ),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                "The body is too long",
                "a body has at most 16 KiB, that of an import 1 MiB".into(),
            ),
            Self::LongHead => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "long-head",
                "The head of the request is too long",
                "the request line and its headers have at most 32 KiB".into(),
            ),
            Self::MediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "media-type",
                "The body is not JSON",
                "send JSON with `Content-Type: application/json`".into(),
            ),
            Self::KeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "key-reused",
                "The idempotency key was used for another request",
                "use a fresh Idempotency-Key for every new request".into(),
            ),
            Self::TooMany => (
                StatusCode::TOO_MANY_REQUESTS,
                "too-many",
                "The client asks more often than it may",
                "wait as Retry-After says; limits.http_client_rate is the number per second".into(),
            ),
            Self::TooManyEnrolments => (
                StatusCode::TOO_MANY_REQUESTS,
                "too-many",
                "Too many enrolments from one address",
                "wait as Retry-After says".into(),
            ),
            Self::Crowded => (
                StatusCode::TOO_MANY_REQUESTS,
                "too-many",
                "Too many requests of one address at a time",
                "wait as Retry-After says; limits.http_connections_per_address is the number"
                    .into(),
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "The server failed",
                "nothing was accepted; the server's log says more".into(),
            ),
            Self::Unavailable(detail) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "No decision can be made at present",
                detail,
            ),
            Self::Advised(failure, _) | Self::Unknown(failure, _) => failure.parts(),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (failure, unknown) = match self {
            Self::Unknown(failure, what) => (*failure, Some(what)),
            failure => (failure, None),
        };
        let (failure, remedy) = match failure {
            Self::Advised(failure, remedy) => (*failure, Some(remedy)),
            failure => (failure, None),
        };
        let extra = match failure {
            Self::NoKey => Some((header::WWW_AUTHENTICATE, "Bearer realm=\"oncegate\"")),
            Self::NotTaken => Some((header::WWW_AUTHENTICATE, "Signature realm=\"oncegate\"")),
            Self::TooManyEnrolments => Some((header::RETRY_AFTER, "2")),
            Self::Unavailable(_) | Self::TooMany | Self::Crowded => {
                Some((header::RETRY_AFTER, "1"))
            }
            _ => None,
        };
        let (status, kind, title, detail) = failure.parts();
        let problem = Problem {
            kind: format!("urn:oncegate:problem:{kind}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into_owned(),
            remedy,
        };
        let mut response = answer::json(status, &problem);
        if let Some(what) = unknown {
            response.extensions_mut().insert(NotThere { what, problem });
        }
        let headers = response.headers_mut();
        let media = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, media);
        if let Some((name, value)) = extra {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

impl From<CoreError> for Failure {
    /// For administrators: they may read the cause.
    fn from(error: CoreError) -> Self {
        match error {
            CoreError::Store(StoreError::TooLarge) => {
                Self::malformed("a value is too large for a record")
            }
            other => Self::Unavailable(other.to_string().into()).advise(SEE),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        CoreError::from(error).into()
    }
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Invalid { field, message } => {
                Self::malformed(format!("{field}: {message}"))
            }
            AdminError::NotFound(what) => Self::missing(what),
            AdminError::Conflict(why) => Self::Conflict(why.into()),
            AdminError::Refused(reason) => Self::Refused(format!("{reason}: {}", reason.advice())),
            AdminError::SecondPerson { .. } => Self::Conflict(error.to_string().into()).advise(
                "ask an administrator or another operator to do it, or end the bypass or exemption if it \
                 is one (policy `default`: [admin] four_eyes)",
            ),
            AdminError::SeedTaken(ref serial) => {
                let serial = serial.as_ref().map_or("SERIAL", Serial::as_str);
                Self::Conflict(error.to_string().into()).advise(format!(
                    "remove that token first, its used codes stay used: oncegate token remove {serial}; \
                     if the two users share the device, let one token count for both: oncegate token link \
                     {serial} USER"
                ))
            }
            AdminError::LockedForGood => Self::Conflict(error.to_string().into()).advise(
                "see where the wrong answers came from (oncegate explain USER), then ask an administrator to \
                 unlock: oncegate user unlock USER; a locked card is replaced: oncegate token add USER --kind card",
            ),
            AdminError::OwnRemoval => Self::Conflict(error.to_string().into()).advise(
                "ask an administrator or another operator to make it, or wait until 24 hours have passed \
                 (policy `default`: [admin] four_eyes)",
            ),
            AdminError::Forbidden(why) => Self::Forbidden(why),
            AdminError::NotIssued(refusal) => {
                let remedy = match refusal {
                    IssueRefusal::TooSoon { .. } => {
                        "wait until then; the code before is still good"
                    }
                    IssueRefusal::Spent { .. } => {
                        "try again tomorrow (UTC), or hand it out otherwise"
                    }
                    IssueRefusal::Locked => {
                        "make another card: oncegate token add USER --kind card"
                    }
                    IssueRefusal::Stale | IssueRefusal::NotUsable | IssueRefusal::Device => {
                        "look at it with `oncegate token show`, and try again"
                    }
                };
                Self::Conflict(format!("no code is made: {refusal}").into()).advise(remedy)
            }
            AdminError::Undeliverable(error) => {
                Self::Conflict(format!("no message can be sent: {error}").into())
                    .advise(error.remedy())
            }
            AdminError::TooEarly { begins } => {
                Self::Conflict(format!("the token is renewed from {begins} on").into())
                    .advise("an administrator may renew it before: oncegate token renew --force")
            }
            AdminError::Core(error) => error.into(),
        }
    }
}

/// Where the whole state of a server that cannot decide is shown.
pub(crate) const SEE: &str = "see `oncegate status`";

/// The answer to a request whose handler panicked. What it said may hold anything: it goes to the
/// panic hook only.
#[allow(clippy::needless_pass_by_value)] // the layer's signature
pub(crate) fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!("a request handler panicked");
    Failure::Internal.into_response()
}
