//! A gateway behind a URL: one request for one message.
//!
//! ```text
//! Message -> templates, escaped for their place -> request -> status, JSON answer -> taken or not
//! ```
//!
//! Threats: what a stranger typed stays inside its JSON string, form field or URL word
//! ([`crate::config::placeholder`]); header values with a line end in them are no header values.
//! Answers are bounded in size ([`BODY_MAX`]) and time; redirects are a refusal, whatever they name.

use std::time::Duration;

use data_encoding::HEXLOWER;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Request, StatusCode, header};
use serde_json::Value;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::config::delivery::{Expected, Format, HttpGateway};
use crate::config::placeholder;
use crate::config::placeholder::{Escape, Placeholder, Template};
use crate::delivery::answer::{Answered, Fault, scrub};
use crate::diagnostic::units::show_duration;
use crate::model::message::Message;
use crate::net::connect::Way;
use crate::net::exchange::exchange;
use crate::secret::SecretString;

pub(super) struct Route {
    config: HttpGateway,
    way: Way,
    secret: Option<SecretString>,
}

/// The values of one message.
struct Values<'m> {
    message: &'m Message,
    secret: Option<&'m SecretString>,
    id: String,
}

impl Values<'_> {
    fn of(&self, place: Placeholder) -> &str {
        let message = self.message;
        match place {
            Placeholder::Code => message.code.as_ref().map_or("", SecretString::expose),
            Placeholder::Id => &self.id,
            Placeholder::Language => message.language.as_str(),
            Placeholder::Secret => self.secret.map_or("", SecretString::expose),
            Placeholder::Subject => message.subject.as_deref().unwrap_or_default(),
            Placeholder::Text => message.text.expose(),
            Placeholder::To => &message.to,
        }
    }
}

impl Route {
    pub(super) const fn new(config: HttpGateway, way: Way, secret: Option<SecretString>) -> Self {
        Self {
            config,
            way,
            secret,
        }
    }

    /// Hands a message over; ends within `limit`.
    pub(super) async fn send(&self, message: &Message, limit: Duration) -> Answered {
        let request = match self.request(message) {
            Ok(request) => request,
            Err(why) => return Answered::nothing(Fault::Refused(why)),
        };
        let answered = timeout(limit, self.ask(request, message)).await;
        answered.unwrap_or_else(|_| {
            let time = show_duration(limit);
            Answered::nothing(Fault::Failed(format!("no answer within {time}")))
        })
    }

    async fn ask(&self, request: Request<Full<Bytes>>, message: &Message) -> Answered {
        let stream = match self.way.connect().await {
            Ok(stream) => stream,
            Err(why) => return Answered::nothing(Fault::Failed(why)),
        };
        let (answer, _driver) = match exchange(stream, request).await {
            Ok(answer) => answer,
            Err(error) => {
                let why = format!("no HTTP answer: {error}");
                return Answered::nothing(Fault::Failed(why));
            }
        };
        let status = answer.status();
        let body = read(answer.into_body()).await;
        let text = body.as_deref().map(String::from_utf8_lossy);
        let said = |text: &str| scrub(text, message, self.secret.as_ref());
        let text = text.map_or_else(|why| (*why).to_owned(), |text| said(&text));
        Answered {
            answer: Some(
                format!("HTTP {} {text}", status.as_u16())
                    .trim_end()
                    .to_owned(),
            ),
            outcome: self.judge(status, body, &said),
        }
    }

    fn judge(
        &self,
        status: StatusCode,
        body: Result<Bytes, &'static str>,
        said: &dyn Fn(&str) -> String,
    ) -> Result<Option<String>, Fault> {
        let number = status.as_u16();
        let taken = |range: &std::ops::RangeInclusive<u16>| range.contains(&number);
        if !self.config.success_status.iter().any(taken) {
            return Err(match status {
                status if status.is_redirection() => Fault::Refused(format!(
                    "HTTP {number}: redirects are not followed; write the final address into `url`"
                )),
                StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                    Fault::Failed(format!("HTTP {number}"))
                }
                status if status.is_server_error() => Fault::Failed(format!("HTTP {number}")),
                _ => Fault::Refused(format!("HTTP {number}")),
            });
        }
        if self.config.success_match.is_none() && self.config.reference.is_none() {
            return Ok(None);
        }
        let body = body.map_err(|why| Fault::Failed(format!("HTTP {number}, but {why}")))?;
        let answer: Result<Value, _> = serde_json::from_slice(&body);
        let Ok(answer) = answer else {
            // Without a match only the reference is lost.
            if self.config.success_match.is_none() {
                return Ok(None);
            }
            let why = format!("HTTP {number}, but the answer is not JSON");
            return Err(Fault::Failed(why));
        };
        if let Some(expected) = &self.config.success_match {
            matches(expected, &answer, said).map_err(Fault::Refused)?;
        }
        let pointer = self.config.reference.as_deref();
        let found = pointer.and_then(|pointer| answer.pointer(pointer));
        Ok(found.and_then(|value| reference(value, said)))
    }

    fn request(&self, message: &Message) -> Result<Request<Full<Bytes>>, String> {
        let values = Values {
            message,
            secret: self.secret.as_ref(),
            id: HEXLOWER.encode(&message.id),
        };
        let config = &self.config;
        // A gateway that speaks digits and nothing else has nothing to say without them; beside the text
        // the place of the code stays empty.
        let holds = |place: Placeholder| {
            let mut templates = std::iter::once(&config.url).chain(&config.body);
            templates.any(|template| template.has(&place))
        };
        if !holds(Placeholder::Text) && message.code.is_none() {
            return Err("the message has no code, and the template has no `{text}`".to_owned());
        }
        let fill = |template: &Template, escape| {
            placeholder::fill(template, escape, |place| values.of(place))
        };
        let url = fill(&config.url, Escape::Percent);
        let (_, rest) = url.split_once("://").unwrap_or_default();
        let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let slash = if path.starts_with('/') { "" } else { "/" };
        let path = Zeroizing::new(format!("{slash}{path}"));
        let mut request = Request::builder()
            .method(config.method.as_str())
            .uri(path.as_str())
            .header(header::HOST, host)
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::ACCEPT, "application/json, */*")
            .header(header::CONNECTION, "close");
        let body = if let Some(body) = &config.body {
            let (escape, media) = match config.format {
                Format::Json => (Escape::Json, "application/json"),
                Format::Form => (Escape::Percent, "application/x-www-form-urlencoded"),
            };
            let own = config
                .headers
                .iter()
                .any(|(name, _)| name == "content-type");
            if !own {
                request = request.header(header::CONTENT_TYPE, media);
            }
            let mut body = fill(body, escape);
            // Owned by the request and overwritten with it.
            Bytes::from_owner(Zeroizing::new(std::mem::take(&mut *body).into_bytes()))
        } else {
            Bytes::new()
        };
        let request = request.body(Full::new(body));
        let mut request = request.map_err(|_| "the message makes no HTTP request".to_owned())?;
        for (name, template) in &config.headers {
            let bad = || format!("header `{name}` would have other signs than one line allows");
            let value = fill(template, Escape::Plain);
            let mut value = HeaderValue::from_str(&value).map_err(|_| bad())?;
            value.set_sensitive(template.has(&Placeholder::Secret));
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
            request.headers_mut().append(name, value);
        }
        Ok(request)
    }
}

async fn read(body: Incoming) -> Result<Bytes, &'static str> {
    let body = Limited::new(body, BODY_MAX).collect().await;
    let body = body.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            "the answer is longer than 64 KiB"
        } else {
            "the answer broke off"
        }
    })?;
    Ok(body.to_bytes())
}

fn matches(
    expected: &Expected,
    answer: &Value,
    said: &dyn Fn(&str) -> String,
) -> Result<(), String> {
    let pointer = &expected.pointer;
    match answer.pointer(pointer) {
        Some(value) if *value == expected.value => Ok(()),
        Some(value) => {
            let (value, wanted) = (said(&value.to_string()), &expected.value);
            Err(format!("{pointer} is {value}, not {wanted}"))
        }
        None => Err(format!("the answer has no {pointer}")),
    }
}

fn reference(value: &Value, said: &dyn Fn(&str) -> String) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    Some(said(&text).chars().take(REFERENCE_MAX).collect())
}

/// Longest body of an answer in octets; honest ones have a few hundred.
const BODY_MAX: usize = 64 * 1024;
/// Longest name of a message that is kept.
const REFERENCE_MAX: usize = 128;
const USER_AGENT: &str = concat!("oncegate/", env!("CARGO_PKG_VERSION"));
