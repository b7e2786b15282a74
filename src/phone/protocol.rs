//! The device's end of the protocol: signs requests, sends them, and says what answers mean.

use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{HeaderMap, Method, Request, StatusCode, header};
use jiff::fmt::rfc2822;
use serde::Serialize;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::api::call::{Call, Takes};
use crate::cli::error::CliError;
use crate::cli::remote::Remote;
use crate::cli::transport::{Text, target, understood};
use crate::model::device::DeviceState;
use crate::net::exchange::exchange;
use crate::phone::state::State;
use crate::secret::{SecretString, SystemEntropy, random};
use crate::signature::key::SigningKey;
use crate::signature::request::{RequestView, Scheme};
use crate::signature::sign;
use crate::time::{Clock as _, SystemClock, UnixTime};

/// A server, and the key that signs what it is asked.
pub(super) struct Protocol<'a> {
    remote: Remote,
    key: &'a SigningKey,
    /// Whether the server should know the key.
    enrolled: bool,
}

impl<'a> Protocol<'a> {
    /// Of an enrolled device.
    pub(super) fn of(state: &'a State) -> Result<Self, CliError> {
        Ok(Self {
            enrolled: true,
            ..Self::new(&state.server, state.ca_file.as_deref(), &state.key)?
        })
    }

    /// Of a device that is not enrolled yet.
    pub(super) fn new(
        server: &str,
        ca_file: Option<&Path>,
        key: &'a SigningKey,
    ) -> Result<Self, CliError> {
        Ok(Self {
            remote: Remote::new(server, SecretString::default(), ca_file)?,
            key,
            enrolled: false,
        })
    }

    /// Makes a call; its answer, when that is a success.
    pub(super) async fn call<C: Call<Query: Default>>(
        &self,
        place: Text<'_, C>,
        body: &C::Body,
    ) -> Result<C::Answer, CliError> {
        let now = SystemClock.now();
        let target = target::<C>(place, &C::Query::default())?;
        let body = (C::OPERATION.takes != Takes::Nothing).then_some(body);
        let call = self.signed(&C::OPERATION.method, &target, body, now)?;
        let answer = timeout(PATIENCE, async {
            let stream = self.remote.connect().await?;
            let (answer, driver) = exchange(stream, call).await.map_err(|e| broken(&e))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_MAX).collect().await;
            let body = body.map_err(|error| broken(error.as_ref()))?;
            drop(driver);
            Ok((
                head.status,
                head.headers,
                Zeroizing::new(body.to_bytes().to_vec()),
            ))
        });
        let (status, headers, body) = answer.await.unwrap_or_else(|_| {
            let message = format!("no answer within {} s", PATIENCE.as_secs());
            Err(CliError::unavailable(message).remedy("try again"))
        })?;
        if status.is_success() {
            return understood(&body);
        }
        Err(self.refusal(status, &headers, &body))
    }

    fn signed(
        &self,
        method: &Method,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
        now: UnixTime,
    ) -> Result<Request<Full<Bytes>>, CliError> {
        let unsendable = |why: String| CliError::usage(format!("cannot make the request: {why}"));
        // Allocated once: a vector that grows leaves copies of a code behind.
        let mut text = Zeroizing::new(Vec::with_capacity(4096));
        if let Some(body) = body {
            serde_json::to_writer(&mut *text, body).map_err(|e| unsendable(e.to_string()))?;
        }
        let media: &[(&str, &[u8])] = &[("content-type", b"application/json")];
        let (headers, also): (_, &[&str]) = if body.is_some() {
            (media, &["content-type"])
        } else {
            (&[][..], &[])
        };
        // The authority is not covered: proxies rewrite it.
        let view = RequestView::new(method.as_str(), Scheme::Https, "", path, headers, &text);
        let nonce = random(&SystemEntropy).map_err(|e| unsendable(e.to_string()))?;
        let fields = sign::sign(&view, self.key, now, &nonce, also);
        let fields = fields.map_err(|error| unsendable(error.to_string()))?;
        let mut call = Request::builder()
            .method(method)
            .uri(path)
            .header("signature-input", fields.signature_input)
            .header("signature", fields.signature);
        if let Some(digest) = fields.content_digest {
            call = call.header("content-digest", digest);
        }
        if body.is_some() {
            call = call.header(header::CONTENT_TYPE, "application/json");
        }
        // Owned by the request and overwritten with it.
        let call = call.body(Full::new(Bytes::from_owner(text)));
        let mut call = call.map_err(|error| unsendable(error.to_string()))?;
        self.remote.address(&mut call)?;
        Ok(call)
    }

    /// What an answer that is no success means for a device.
    fn refusal(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> CliError {
        if status != StatusCode::UNAUTHORIZED {
            return CliError::answer(status, body, "enrol the device again");
        }
        let server = headers
            .get(header::DATE)
            .and_then(|date| date.to_str().ok());
        if let Some(skew) = server.and_then(|date| skew(date, SystemClock.now())) {
            return skew_error(skew);
        }
        if self.enrolled {
            CliError::unavailable("the server does not take this device's requests").remedy(
                "the device was revoked, or the user removed: enrol it again \
                 (oncegate device enroll --force); or it asked more than 64 times a minute: wait",
            )
        } else {
            CliError::unavailable("the server does not take the signature of the new key").remedy(
                "see that --server names an Oncegate server directly, and that no proxy changes \
                 path or body of the request",
            )
        }
    }
}

/// How far this machine's clock is from the server's, when that explains a refusal.
fn skew(date: &str, now: UnixTime) -> Option<Skew> {
    let server = rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?;
    let server = UnixTime::from_millis(u64::try_from(server.as_millisecond()).ok()?);
    let (ahead, behind) = (now.since(server), server.since(now));
    let by = ahead.max(behind);
    // A second is lost in the field, and the answer took its time.
    (by + Duration::from_secs(1) >= DeviceState::SKEW).then_some(Skew {
        by,
        ahead: ahead > behind,
    })
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Skew {
    by: Duration,
    ahead: bool,
}

fn skew_error(skew: Skew) -> CliError {
    let word = if skew.ahead { "ahead of" } else { "behind" };
    CliError::unavailable(format!(
        "this machine's clock is {} s {word} the server's",
        skew.by.as_secs()
    ))
    .remedy("set the clock: up to 60 s are taken")
}

fn broken(error: &(dyn std::error::Error + 'static)) -> CliError {
    CliError::unavailable(format!("the connection broke: {error}"))
        .remedy("repeat the command; an enrolment may need a new code")
}

/// Commits and reject delays end long before.
const PATIENCE: Duration = Duration::from_secs(30);
/// A user's devices are some kilobytes.
const ANSWER_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_explains_a_refusal_is_told() {
        let date = "Thu, 26 Nov 2026 01:00:00 GMT";
        let server = UnixTime::parse_rfc3339("2026-11-26T01:00:00Z").unwrap();
        let minute = Duration::from_mins(1);
        assert_eq!(skew(date, server), None);
        assert_eq!(skew(date, server.plus(minute / 2)), None);
        let late = skew(date, server.plus(minute * 2)).unwrap();
        assert_eq!((late.by, late.ahead), (minute * 2, true));
        let early = UnixTime::from_millis(server.as_millis() - 90_000);
        let text = skew_error(skew(date, early).unwrap()).words().0;
        assert_eq!(text, "this machine's clock is 90 s behind the server's");
        assert_eq!(skew("yesterday", server), None);
    }
}
