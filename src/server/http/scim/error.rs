//! Failures in the form of SCIM (RFC 7644 s3.12).

use std::borrow::Cow;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::admin::AdminError;
use crate::server::http::error::Failure;

/// Why a request is not carried out.
#[derive(Debug)]
pub(crate) enum ScimError {
    /// In its own form.
    Own {
        /// The status.
        status: u16,
        /// One word of RFC 7644 table 9, if one fits.
        kind: &'static str,
        /// What is wrong.
        detail: Cow<'static, str>,
    },
    /// As everywhere.
    Other(Failure),
}

impl ScimError {
    pub(super) fn of(
        status: u16,
        kind: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::Own {
            status,
            kind,
            detail: detail.into(),
        }
    }

    pub(super) fn syntax(detail: &'static str) -> Self {
        Self::of(400, "invalidSyntax", detail)
    }

    pub(super) fn missing() -> Self {
        Self::of(404, "", "there is no such resource of this source")
    }
}

impl From<AdminError> for ScimError {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::NotFound(_) => Self::missing(),
            AdminError::Invalid { .. } => Self::of(400, "invalidValue", error.to_string()),
            AdminError::Conflict(why) => Self::of(409, "uniqueness", why),
            other => Self::Other(other.into()),
        }
    }
}

impl From<Failure> for ScimError {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

impl IntoResponse for ScimError {
    fn into_response(self) -> Response {
        match self {
            Self::Own {
                status,
                kind,
                detail,
            } => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
                answer(status, &document(status, kind, &detail))
            }
            Self::Other(failure) => {
                let detail = failure.detail().to_owned();
                let response = failure.into_response();
                let kind = match response.status() {
                    StatusCode::BAD_REQUEST => "invalidSyntax",
                    _ => "",
                };
                worded(response, kind, &detail)
            }
        }
    }
}

fn document(status: StatusCode, kind: &str, detail: &str) -> Value {
    let mut document = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "status": status.as_str(),
        "detail": detail,
    });
    if let Some(fields) = document.as_object_mut().filter(|_| !kind.is_empty()) {
        fields.insert("scimType".to_owned(), kind.into());
    }
    document
}

/// A failure with its own headers, in the form of SCIM.
fn worded(response: Response, kind: &str, detail: &str) -> Response {
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, MEDIA);
    let document = document(parts.status, kind, detail);
    Response::from_parts(parts, Body::from(document.to_string()))
}

/// Failures before a call is reached, as a key that is none, in the form of SCIM.
pub(in crate::server::http) async fn in_form(response: Response) -> Response {
    let status = response.status();
    let own = response.headers().get(header::CONTENT_TYPE) == Some(&MEDIA);
    if own || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let detail = match status {
        StatusCode::UNAUTHORIZED => {
            "send `Authorization: Bearer KEY` with the key of an API client"
        }
        StatusCode::TOO_MANY_REQUESTS => "wait as Retry-After says",
        _ => status.canonical_reason().unwrap_or("the request failed"),
    };
    worded(response, "", detail)
}

/// A document with the media type of SCIM; of a new resource with its place.
pub(super) fn answer(status: StatusCode, document: &Value) -> Response {
    let mut response = (status, document.to_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, MEDIA);
    let place = document.pointer("/meta/location").and_then(Value::as_str);
    let place = place.filter(|_| status == StatusCode::CREATED);
    if let Some(Ok(place)) = place.map(HeaderValue::from_str) {
        headers.insert(header::LOCATION, place);
    }
    response
}

const MEDIA: HeaderValue = HeaderValue::from_static("application/scim+json");
