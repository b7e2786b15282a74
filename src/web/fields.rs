//! The fields of a form that was sent, and who sent it.
//!
//! Threats: a form may be sent octet by octet, and the session of who sends it may end meanwhile. So handlers get
//! fields only as a [`Sent`], whose sender is found out before the body is read and once more when it has come.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use http_body_util::{BodyExt as _, Limited};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::config::HTTP_BODY;
use crate::model::draft::DRAFT_MAX;
use crate::secret::SecretString;
use crate::web::Desk;

/// Names and values, in order.
pub(crate) struct Fields(Vec<(String, Zeroizing<String>)>);

impl Fields {
    /// The first value of this name without blanks around it; none where it is empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let text = self.raw(name)?.trim();
        (!text.is_empty()).then_some(text)
    }

    /// The same as it was sent, also when empty.
    pub(crate) fn raw(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(one, _)| one == name);
        found.map(|(_, value)| value.as_str())
    }

    /// What must not be kept: as it was sent, since a blank may belong to a password.
    pub(crate) fn secret(&self, name: &str) -> Option<SecretString> {
        let text = self.raw(name).filter(|text| !text.is_empty());
        text.map(SecretString::from)
    }
}

/// A form, and who sent it, as they are when it has come.
pub(crate) struct Sent<S>(pub(crate) S, pub(crate) Fields);

impl<S> FromRequest<Desk> for Sent<S>
where
    S: FromRequestParts<Desk, Rejection = Response> + Send,
{
    type Rejection = Response;

    async fn from_request(request: Request, desk: &Desk) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        drop(S::from_request_parts(&mut parts, desk).await?);
        let fields = Fields::read(&parts, body).await?;
        let sender = S::from_request_parts(&mut parts, desk).await?;
        Ok(Self(sender, fields))
    }
}

impl Fields {
    async fn read(parts: &Parts, body: Body) -> Result<Self, Response> {
        let refuse = |status: StatusCode| status.into_response();
        let media = parts.headers.get(header::CONTENT_TYPE);
        let media = media.and_then(|media| media.to_str().ok());
        if !media.is_some_and(|media| media.starts_with("application/x-www-form-urlencoded")) {
            return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        let most = match parts.uri.path() {
            DRAFT => DRAFT_FORM,
            IMPORT => IMPORT_FORM,
            _ => HTTP_BODY,
        };
        let body = Limited::new(body, most).collect();
        let body = timeout(PATIENCE, body).await;
        let body = body.map_err(|_| refuse(StatusCode::REQUEST_TIMEOUT))?;
        let body = body.map_err(|_| (StatusCode::PAYLOAD_TOO_LARGE, TOO_LONG).into_response())?;
        let octets = Zeroizing::new(body.to_bytes().to_vec());
        let pairs: Vec<(String, String)> =
            serde_urlencoded::from_bytes(&octets).map_err(|_| refuse(StatusCode::BAD_REQUEST))?;
        let pairs = pairs.into_iter();
        Ok(Self(
            pairs
                .map(|(name, value)| (name, Zeroizing::new(value)))
                .collect(),
        ))
    }
}

/// The form with a policy file in it.
const DRAFT: &str = "/console/act/set_draft";
/// Longest of those: every sign of the file may be written as three.
const DRAFT_FORM: usize = 3 * DRAFT_MAX + HTTP_BODY;
/// The form with the rows of a file.
const IMPORT: &str = "/console/import";
/// Longest of those: 1 MiB of text, every octet of which may be written as three.
const IMPORT_FORM: usize = 3 * 1024 * 1024 + HTTP_BODY;
const TOO_LONG: &str = "the form is too long: a file of rows has at most 1 MiB here; longer ones are for \
     `oncegate user import FILE` on the command line\n";
/// Time for a form: a peer that sends it octet by octet.
const PATIENCE: Duration = Duration::from_secs(30);
