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
use crate::server::http::answer;
use crate::store::{
    APPROVED_TWICE, COUNTS_TWICE, LINKED, OWN_REQUEST, OWN_TOKEN, StoreError, TWIN,
};

/// Why a request has no answer of its own.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: &'static Kind,
    detail: Cow<'static, str>,
    remedy: Option<String>,
    /// The record that is not there, where no more is known of it than what it is.
    missing: Option<&'static str>,
}

/// A kind of failure.
#[derive(Debug)]
struct Kind {
    status: u16,
    /// The end of its name: `urn:oncegate:problem:NAME`.
    name: &'static str,
    title: &'static str,
    headers: &'static [(&'static str, &'static str)],
}

macro_rules! failures {
    ($(
        $(#[doc = $doc:literal])*
        $failure:ident = $status:literal $name:literal: $title:literal, $detail:literal
        $(, $header:literal: $value:literal)*;
    )*) => {
        impl Failure {$(
            $(#[doc = $doc])*
            pub(crate) const $failure: Self = Self {
                kind: &Kind {
                    status: $status,
                    name: $name,
                    title: $title,
                    headers: &[$(($header, $value))*],
                },
                detail: Cow::Borrowed($detail),
                remedy: None,
                missing: None,
            };
        )*}
    };
}

failures! {
    /// No key, or no key of this server.
    NO_KEY = 401 "no-key": "A valid API key is needed",
        "send `Authorization: Bearer KEY`; `oncegate client add api NAME` makes a key",
        "www-authenticate": "Bearer realm=\"oncegate\"";
    /// A device's request that is not its own, not of now, or not the first of its kind.
    NOT_TAKEN = 401 "not-taken": "The device's request is not taken",
        "sign it with the key of an enrolled device, with the present time and a new nonce",
        "www-authenticate": "Signature realm=\"oncegate\"";
    /// The route has other methods.
    NO_METHOD = 405 "method": "The route has other methods",
        "see the Allow header, or GET /openapi.json";
    /// The body did not arrive in time.
    SLOW = 408 "slow": "The body did not arrive in time", "send the whole body at once";
    /// `If-Match` names another revision.
    CHANGED = 412 "changed": "The record was changed meanwhile",
        "read it again and repeat the change with its new ETag";
    /// The body is too long.
    TOO_LARGE = 413 "too-large": "The body is too long",
        "a body has at most 16 KiB, that of an import 1 MiB";
    /// The body is not JSON by its own account.
    MEDIA_TYPE = 415 "media-type": "The body is not JSON",
        "send JSON with `Content-Type: application/json`";
    /// The idempotency key came with another body before.
    KEY_REUSED = 422 "key-reused": "The idempotency key was used for another request",
        "use a fresh Idempotency-Key for every new request";
    /// The client asks more often than it may.
    TOO_MANY = 429 "too-many": "The client asks more often than it may",
        "wait as Retry-After says; limits.http_client_rate is the number per second",
        "retry-after": "1";
    /// Too many enrolments, from one address or in all.
    TOO_MANY_ENROLMENTS = 429 "too-many": "Too many enrolments from one address",
        "wait as Retry-After says", "retry-after": "2";
    /// Too many requests of one address at a time.
    CROWDED = 429 "too-many": "Too many requests of one address at a time",
        "wait as Retry-After says; limits.http_connections_per_address is the number",
        "retry-after": "1";
    /// The head of the request is too long.
    LONG_HEAD = 431 "long-head": "The head of the request is too long",
        "the request line and its headers have at most 32 KiB, and there are at most 100 headers";
    /// A fault of the server.
    INTERNAL = 500 "internal": "The server failed",
        "nothing was accepted; the server's log says more";
}

// Those whose detail depends on the request.
failures! {
    MALFORMED = 400 "malformed": "The request cannot be understood", "";
    FORBIDDEN = 403 "forbidden": "The caller may not do that", "";
    NOT_FOUND = 404 "not-found": "Not found", "";
    CONFLICT = 409 "conflict": "The present state does not allow that", "";
    REFUSED = 409 "refused": "The code was refused", "";
    UNAVAILABLE = 503 "unavailable": "No decision can be made at present", "", "retry-after": "1";
}

impl Failure {
    fn because(self, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            detail: detail.into(),
            ..self
        }
    }

    /// Whether no decision could be made.
    pub(crate) fn is_unavailable(&self) -> bool {
        self.kind.status == 503
    }

    /// A request that cannot be understood.
    pub(crate) fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::MALFORMED.because(detail)
    }

    /// The caller may not do that.
    pub(crate) fn forbidden(detail: &'static str) -> Self {
        Self::FORBIDDEN.because(detail)
    }

    /// There is no such route or record.
    pub(crate) fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::NOT_FOUND.because(detail)
    }

    /// No such record.
    pub(crate) fn missing(what: &'static str) -> Self {
        Self {
            missing: Some(what),
            ..Self::not_found(format!("there is no such {what}"))
        }
    }

    /// The record exists, or its state does not allow that.
    pub(crate) fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::CONFLICT.because(detail)
    }

    /// A code given by an administrator was not right.
    pub(crate) fn refused(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::REFUSED.because(detail)
    }

    /// No decision can be made now.
    pub(crate) fn unavailable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::UNAVAILABLE.because(detail)
    }

    /// Adds what to do next.
    pub(crate) fn advise(self, remedy: impl Into<String>) -> Self {
        Self {
            remedy: Some(remedy.into()),
            missing: None,
            ..self
        }
    }

    /// Says in which part of the body it is, where the request cannot be understood.
    pub(crate) fn at(self, part: &str) -> Self {
        if self.kind.status != 400 {
            return self;
        }
        let detail = format!("{part}: {}", self.detail);
        self.because(detail)
    }

    /// Whether it says no more than that there is no such record.
    pub(crate) fn is_missing(&self, what: &str) -> bool {
        self.missing == Some(what)
    }

    /// Whether the state of a record does not allow what was asked.
    pub(crate) fn is_conflict(&self) -> bool {
        self.kind.name == Self::CONFLICT.kind.name
    }

    /// What was wrong.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let kind = self.kind;
        let listed = self.missing.and_then(listed).map(str::to_owned);
        let problem = Problem {
            kind: format!("urn:oncegate:problem:{}", kind.name),
            title: kind.title.to_owned(),
            status: kind.status,
            detail: self.detail.into_owned(),
            remedy: self.remedy.or(listed),
        };
        let status = StatusCode::from_u16(kind.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = answer::json(status, &problem);
        let headers = response.headers_mut();
        let media = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, media);
        for (name, value) in kind.headers {
            headers.insert(*name, HeaderValue::from_static(value));
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
                    .advise("give less in one request: fewer groups or aliases, or a shorter text")
            }
            CoreError::Store(StoreError::Corrupt(_) | StoreError::File { .. }) => {
                Self::unavailable(error.to_string()).advise(VERIFY)
            }
            other => Self::unavailable(other.to_string()).advise(SEE),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        CoreError::from(error).into()
    }
}

/// A record that stands in the way, and where it is seen or changed.
fn in_the_way(error: &AdminError) -> Failure {
    let next = match error {
        AdminError::Followed { source_name, .. } => format!(
            "a source that is read is followed at once by `oncegate source sync {source_name}`; one that is taken out of \
             the configuration puts nothing back"
        ),
        AdminError::KeyHeld { serial, .. } => {
            format!("look at it with `oncegate token show {serial}`")
        }
        AdminError::SeedTaken(serial) => {
            let serial = serial.as_ref().map_or("SERIAL", Serial::as_str);
            format!(
                "remove that token first, its used codes stay used: oncegate token remove {serial}; if the two users \
                 share the device, let one token count for both: oncegate token link {serial} USER"
            )
        }
        _ => return Failure::conflict(error.to_string()),
    };
    Failure::conflict(error.to_string()).advise(next)
}

/// What the state of a record does not allow, and what leads on where that is known.
fn standing(why: &'static str) -> Failure {
    let next = match why {
        TWIN => {
            "one token for a key is enough: `oncegate token list USER` shows it; remove it first to make another, its \
             used codes stay used: oncegate token remove SERIAL"
        }
        LINKED => "nothing is left to do; `oncegate token show SERIAL` says for whom it counts",
        COUNTS_TWICE => {
            "`oncegate token show SERIAL` says for whom; an administrator ends that: oncegate token unlink SERIAL USER"
        }
        OWN_TOKEN => "it counts for its owner anyway; name the other user",
        OWN_REQUEST | APPROVED_TWICE => {
            "ask another approver or administrator: oncegate token approve SERIAL; or end the request: \
             oncegate token deny SERIAL"
        }
        _ => return Failure::conflict(why),
    };
    Failure::conflict(why).advise(next)
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Invalid { field, message } => {
                Self::malformed(format!("{field}: {message}"))
            }
            AdminError::NotFound(what) => Self::missing(what),
            AdminError::Conflict(why) => standing(why),
            AdminError::WrongState { .. } | AdminError::ClosedByRepair { .. } => {
                Self::conflict(error.to_string())
            }
            AdminError::Refused(reason) => Self::refused(format!("{reason}: {}", reason.advice())),
            AdminError::Followed { .. }
            | AdminError::KeyHeld { .. }
            | AdminError::SeedTaken(_) => in_the_way(&error),
            AdminError::SecondPerson { .. } => Self::conflict(error.to_string()).advise(
                "ask an administrator or another operator to do it, or end the bypass or exemption if it \
                 is one (policy `default`: [admin] four_eyes)",
            ),
            AdminError::LockedForGood => Self::conflict(error.to_string()).advise(
                "see where the wrong answers came from (oncegate explain USER), then ask an administrator to \
                 unlock: oncegate user unlock USER; a locked card is replaced: oncegate token add USER --kind card",
            ),
            AdminError::OwnRemoval => Self::conflict(error.to_string()).advise(
                "ask an administrator or another operator to make it, or wait until 24 hours have passed \
                 (policy `default`: [admin] four_eyes)",
            ),
            AdminError::Forbidden(why) => Self::forbidden(why),
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
                Self::conflict(format!("no code is made: {refusal}")).advise(remedy)
            }
            AdminError::Undeliverable(error) => {
                Self::conflict(format!("no message can be sent: {error}"))
                    .advise(error.remedy())
            }
            AdminError::TooEarly { begins } => {
                Self::conflict(format!("the token is renewed from {begins} on"))
                    .advise("an administrator may renew it before: oncegate token renew --force")
            }
            AdminError::Directory(error) => Self::unavailable(error.to_string())
                .advise("nothing was changed; see that the source can be read with what [source.NAME] says: oncegate manual sources"),
            AdminError::Shrinks { .. } => Self::conflict(error.to_string()).advise(
                "see that the source has all of its people: `oncegate source sync NAME --dry-run --force` shows who \
                 it is, --force does it",
            ),
            AdminError::Loses { .. } => Self::conflict(error.to_string()).advise(
                "see that the account that reads the source may still see it: `oncegate source sync NAME --dry-run \
                 --force` shows whose it is, --force does it",
            ),
            AdminError::Core(error) => error.into(),
        }
    }
}

/// Where the records are shown that there are.
fn listed(what: &str) -> Option<&'static str> {
    Some(match what {
        "user" => "`oncegate user list` shows who there is",
        "token" => "`oncegate token list` shows which there are",
        "link of this token" => {
            "`oncegate token show` says for whom the token counts beside its owner"
        }
        "alias of this user" => "`oncegate user show` shows the aliases of a user",
        "client" => "`oncegate client list` shows which there are",
        "device" => "`oncegate token list` shows the tokens that devices carry",
        "group" => "`oncegate user list` shows the groups of users",
        "outage" => "none is declared that could be ended; `oncegate outage declare` declares one",
        "delegation" => "`oncegate delegation list` shows what is lent",
        "source" => "`oncegate source show` shows which are configured",
        "gateway" => "`oncegate delivery list` shows which are configured",
        "policy" => "`oncegate policy list` shows which are loaded",
        "policy draft" => "`oncegate policy draft list` shows which there are",
        "audit record" => "`oncegate audit list` shows the newest ones",
        _ => return None,
    })
}

/// Where damage of the store is named, each with what to do about it.
const VERIFY: &str = "`oncegate store verify` names what is damaged, and what to do about it";
/// Where the whole state of a server that cannot decide is shown.
pub(crate) const SEE: &str = "see `oncegate status`";

/// The answer to a request whose handler panicked. What it said may hold anything: it goes to the
/// panic hook only.
#[allow(clippy::needless_pass_by_value)] // the layer's signature
pub(crate) fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!("a request handler panicked");
    Failure::INTERNAL.into_response()
}
