//! The way to the admin API: the same requests and answers over three transports.
//!
//! ```text
//! --server URL          -> TCP or TLS, Bearer key
//! DIR/admin.sock lives  -> Unix socket, the daemon checks our uid
//! otherwise             -> the store is opened here and the same router is called in process
//! ```
//!
//! Invariants: a socket file without a listener (the daemon was killed) falls through to the store;
//! any other failure of the socket does not, because a daemon may hold the store.
//!
//! Threats: a key sent over plain HTTP can be read on the way, so `http://` is for loopback only.
//! Redirects are not followed: the key goes where the administrator said. Answers are bounded
//! ([`ANSWER_MAX`], [`PATIENCE`]) against a server that is not ours.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use axum::Router;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, Response, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tower::ServiceExt as _;
use zeroize::Zeroizing;

use crate::api::call;
use crate::api::call::{Call, Place, Takes};
use crate::cli::error::CliError;
use crate::cli::remote::Remote;
use crate::daemon;
use crate::daemon::{Site, StartError};
use crate::net::exchange;
use crate::server::http;
use crate::server::http::Handed;

/// A way to the admin API.
pub(crate) enum Transport {
    /// The router of the API, in this process.
    Local(Router),
    /// Another machine, or a listener of this one.
    Remote(Box<Remote>),
    /// The daemon's socket.
    Socket(PathBuf),
}

/// What a call's path names.
pub(crate) type Text<'a, C> = <<C as Call>::Place as Place>::Text<'a>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;
type AnswerBody = UnsyncBoxBody<Bytes, BrokenBody>;
type Message = Request<Full<Bytes>>;

/// Why an answer ended early. A type of its own, because the compiler cannot prove that futures
/// which convert a boxed error into itself may move between threads.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BrokenBody(BoxError);

impl BrokenBody {
    fn new(error: impl Into<BoxError>) -> Self {
        Self(error.into())
    }
}

impl Transport {
    /// The daemon of a site if one listens, else the site's store.
    pub(crate) async fn of_site(site: &Site) -> Result<Self, CliError> {
        let socket = site.socket();
        let until = Instant::now() + TURN;
        loop {
            match UnixStream::connect(&socket).await {
                Ok(_) => return Ok(Self::Socket(socket)),
                Err(error) if has_no_listener(&error) => {}
                Err(error) => return Err(socket_error(&socket, &error)),
            }
            match local(site).await {
                Ok(router) => return Ok(Self::Local(router)),
                // Another command, or a daemon that starts: its turn ends, or its socket appears.
                Err(StartError::InUse { .. }) if Instant::now() < until => {
                    tokio::time::sleep(TURN / 100).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The daemon at this socket, if one listens.
    pub(crate) async fn of_daemon(socket: &Path) -> Option<Self> {
        let connected = UnixStream::connect(socket).await;
        connected.ok().map(|_| Self::Socket(socket.to_owned()))
    }

    /// Whether the store was opened here, for want of a daemon.
    pub(crate) const fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    /// Makes a call without query and body.
    pub(crate) async fn ask<C: Call<Body = (), Query: Default>>(
        &self,
        place: Text<'_, C>,
    ) -> Result<C::Answer, CliError> {
        self.call::<C>(place, &C::Query::default(), &()).await
    }

    /// Makes a call with a query.
    pub(crate) async fn find<C: Call<Place = (), Body = ()>>(
        &self,
        query: &C::Query,
    ) -> Result<C::Answer, CliError> {
        self.call::<C>((), query, &()).await
    }

    /// Makes a call with a body.
    pub(crate) async fn send<C: Call<Query: Default>>(
        &self,
        place: Text<'_, C>,
        body: &C::Body,
    ) -> Result<C::Answer, CliError> {
        self.call::<C>(place, &C::Query::default(), body).await
    }

    /// Makes a call about a record whose body may be long.
    pub(crate) async fn send_long<C: Call<Query: Default>>(
        &self,
        place: Text<'_, C>,
        body: &C::Body,
    ) -> Result<C::Answer, CliError> {
        let target = target::<C>(place, &C::Query::default())?;
        self.written::<C>(&target, Some(encode(body, LONG_BODY_MAX)?))
            .await
    }

    /// Makes a call and reads its answer.
    pub(crate) async fn call<C: Call>(
        &self,
        place: Text<'_, C>,
        query: &C::Query,
        body: &C::Body,
    ) -> Result<C::Answer, CliError> {
        let body = match C::OPERATION.takes {
            Takes::Nothing => None,
            Takes::Body | Takes::OptionalBody => Some(encode(body, BODY_MAX)?),
        };
        self.written::<C>(&target::<C>(place, query)?, body).await
    }

    /// Makes a call whose body may be long. In this process it is handed over as it is.
    pub(crate) async fn hand_over<C: Call<Place = (), Query: Default>>(
        &self,
        body: C::Body,
    ) -> Result<C::Answer, CliError> {
        let target = target::<C>((), &C::Query::default())?;
        let body = match self {
            Self::Local(_) => {
                let mut call = message(C::OPERATION.method, &target, None)?;
                call.extensions_mut().insert(Handed::new(body));
                return self.answered::<C>(call).await;
            }
            Self::Remote(_) | Self::Socket(_) => encode(&body, LONG_BODY_MAX)?,
        };
        self.written::<C>(&target, Some(body)).await
    }

    async fn written<C: Call>(
        &self,
        target: &str,
        body: Option<Zeroizing<Vec<u8>>>,
    ) -> Result<C::Answer, CliError> {
        let call = message(C::OPERATION.method, target, body)?;
        self.answered::<C>(call).await
    }

    async fn answered<C: Call>(&self, call: Message) -> Result<C::Answer, CliError> {
        let answer = timeout(PATIENCE, async {
            let response = self.request(call).await?;
            let status = response.status();
            Ok((status, whole(response).await?))
        });
        let (status, body) = answer.await.unwrap_or_else(|_| {
            let message = format!("no answer within {} s", PATIENCE.as_secs());
            Err(CliError::unavailable(message).remedy("look at the daemon's log"))
        })?;
        if !status.is_success() {
            return Err(self.refusal(status, &body));
        }
        understood(&body)
    }

    /// Makes a call whose answer is lines without end.
    pub(crate) async fn lines<C: Call<Place = (), Query: Default>>(
        &self,
    ) -> Result<Lines, CliError> {
        let target = target::<C>((), &C::Query::default())?;
        let call = message(C::OPERATION.method, &target, None)?;
        let response = self.request(call).await?;
        let status = response.status();
        if !status.is_success() {
            return Err(self.refusal(status, &whole(response).await?));
        }
        Ok(Lines {
            body: response.into_body(),
            rest: Vec::new(),
        })
    }

    /// Makes a call whose answer is a stream of octets.
    pub(crate) async fn octets<C: Call<Place = ()>>(
        &self,
        query: &C::Query,
    ) -> Result<Octets, CliError> {
        let target = target::<C>((), query)?;
        let call = message(C::OPERATION.method, &target, None)?;
        let response = self.request(call).await?;
        let status = response.status();
        if !status.is_success() {
            return Err(self.refusal(status, &whole(response).await?));
        }
        Ok(Octets(response.into_body()))
    }

    async fn request(&self, mut call: Message) -> Result<Response<AnswerBody>, CliError> {
        match self {
            Self::Local(router) => {
                let answer = router
                    .clone()
                    .oneshot(call.map(axum::body::Body::new))
                    .await;
                let Ok(answer) = answer;
                Ok(answer.map(|body| body.map_err(BrokenBody::new).boxed_unsync()))
            }
            Self::Remote(remote) => {
                remote.authorize(&mut call)?;
                let stream = remote.connect().await?;
                exchange(stream, call).await
            }
            Self::Socket(path) => {
                let stream = UnixStream::connect(path).await;
                let stream = stream.map_err(|error| socket_error(path, &error))?;
                call.headers_mut()
                    .insert(header::HOST, header::HeaderValue::from_static("localhost"));
                let answer = exchange(stream, call).await;
                answer.map_err(|error| hung_up_on(path).unwrap_or(error))
            }
        }
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> CliError {
        let access = match self {
            Self::Remote(remote) if status == StatusCode::UNAUTHORIZED => return remote.bad_key(),
            Self::Remote(_) => "give a key with the scope this needs: --key-file FILE",
            Self::Local(_) | Self::Socket(_) => "run it as the daemon's user, or as root",
        };
        CliError::answer(status, body, access)
    }
}

/// A request with a body in JSON, or none.
fn message(
    method: Method,
    target: &str,
    body: Option<Zeroizing<Vec<u8>>>,
) -> Result<Message, CliError> {
    let mut call = Request::builder().method(method).uri(target);
    if body.is_some() {
        call = call.header(header::CONTENT_TYPE, "application/json");
    }
    // Owned by the request and overwritten with it.
    let body = body.map_or_else(Bytes::new, Bytes::from_owner);
    call.body(Full::new(body))
        .map_err(|error| CliError::usage(format!("`{target}` is no request path: {error}")))
}

/// Path and query of a call.
pub(crate) fn target<C: Call>(place: Text<'_, C>, query: &C::Query) -> Result<String, CliError> {
    call::target::<C>(place, query)
        .map_err(|error| CliError::usage(format!("cannot write the request: {error}")))
}

/// An answer that is one JSON document, or empty.
pub(crate) fn understood<T: DeserializeOwned>(body: &[u8]) -> Result<T, CliError> {
    let body = if body.is_empty() { b"null" } else { body };
    serde_json::from_slice(body).map_err(|error| {
        CliError::unavailable(format!("the server's answer was not understood: {error}"))
            .remedy("use an oncegate of the server's version")
    })
}

async fn whole(response: Response<AnswerBody>) -> Result<Bytes, CliError> {
    let body = Limited::new(response.into_body(), ANSWER_MAX);
    let body = body.collect().await;
    let body = body.map_err(|error| interrupted(error.as_ref()))?;
    Ok(body.to_bytes())
}

/// The octets of an answer.
pub(crate) struct Octets(AnswerBody);

impl Octets {
    /// The next of them; `None` at the end. An answer that broke off is an error.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, CliError> {
        loop {
            match timeout(PATIENCE, self.0.frame()).await {
                Err(_) => return Err(CliError::unavailable("the server sends nothing any more")),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(interrupted(&error)),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

/// The lines of an answer without end.
pub(crate) struct Lines {
    body: AnswerBody,
    rest: Vec<u8>,
}

impl Lines {
    /// The next line that is not empty; `None` when the server has ended the answer.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, CliError> {
        loop {
            if let Some(end) = self.rest.iter().position(|octet| *octet == b'\n') {
                let mut line: Vec<u8> = self.rest.drain(..=end).collect();
                line.pop();
                if line.is_empty() {
                    continue; // keeps the connection alive
                }
                return Ok(Some(line));
            }
            if self.rest.len() > LINE_MAX {
                return Err(CliError::unavailable(
                    "the server sent a line without an end",
                ));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(interrupted(&error)),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.rest.extend_from_slice(data);
                    }
                }
            }
        }
    }
}

/// One request over a fresh connection.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    call: Message,
) -> Result<Response<AnswerBody>, CliError> {
    let answer = exchange::exchange(stream, call).await;
    let (answer, driver) = answer.map_err(|error| interrupted(&error))?;
    // Ends by itself when the answer was read or dropped.
    drop(driver.detach());
    Ok(answer.map(|body| body.map_err(BrokenBody::new).boxed_unsync()))
}

/// The API of the site's own store, called in process as a local caller.
async fn local(site: &Site) -> Result<Router, StartError> {
    let service = daemon::open(site).await?;
    let app = http::App::new(service, site.config.limits, daemon::info_of(site));
    app.set_site_files(daemon::site_files(site));
    app.set_rotator(daemon::rotator(site));
    app.set_master_reader(daemon::master_reader(site));
    Ok(http::local_router(app, nix::unistd::geteuid().as_raw()))
}

pub(crate) fn has_no_listener(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory
    )
}

fn socket_error(path: &Path, error: &io::Error) -> CliError {
    let message = format!("cannot talk to the daemon at {}: {error}", path.display());
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => "run it as the daemon's user, or as root",
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            "the daemon has just stopped: start it with `oncegate serve`, or repeat the command"
        }
        _ => "look at the daemon with `oncegate doctor`",
    };
    CliError::unavailable(message).remedy(remedy)
}

/// Why the daemon hung up, where that is whose process this is: it listens to its own user and to root.
fn hung_up_on(path: &Path) -> Option<CliError> {
    let owner = std::fs::metadata(path).ok()?.uid();
    stranger(path, owner, nix::unistd::geteuid().as_raw())
}

fn stranger(path: &Path, owner: u32, own: u32) -> Option<CliError> {
    let message = format!(
        "the daemon at {} listens to its own user (uid {owner}) and to root, and this runs as uid {own}",
        path.display()
    );
    let is_heard = own == owner || own == 0;
    (!is_heard)
        .then(|| CliError::unavailable(message).remedy("run it as the daemon's user, or as root"))
}

fn interrupted(error: &(dyn std::error::Error + 'static)) -> CliError {
    CliError::unavailable(format!("the connection broke: {error}"))
        .remedy("see whether it was done before repeating it; the daemon's log says more")
}

fn encode(body: &impl Serialize, most: usize) -> Result<Zeroizing<Vec<u8>>, CliError> {
    // Allocated once: a vector that grows leaves copies of a secret behind.
    let mut text = Zeroizing::new(Vec::with_capacity(most));
    serde_json::to_writer(&mut *text, body)
        .map_err(|error| CliError::usage(format!("cannot write the request: {error}")))?;
    if text.len() > most {
        let message = format!("the request is longer than {} KiB", most / 1024);
        return Err(CliError::usage(message).remedy("shorten the values on the command line"));
    }
    Ok(text)
}

/// What the server takes (`config::HTTP_BODY`).
const BODY_MAX: usize = 16 * 1024;
/// What it takes of many records at once.
const LONG_BODY_MAX: usize = 1024 * 1024;
/// A thousand records of the longest kind are some megabytes.
const ANSWER_MAX: usize = 64 * 1024 * 1024;
/// Far above every honest audit record.
const LINE_MAX: usize = 1024 * 1024;
/// How long a command waits for its turn at the store.
const TURN: Duration = Duration::from_secs(5);
/// A check of a long audit chain takes a while.
const PATIENCE: Duration = Duration::from_mins(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ListPolicies, ShowDemoCode};

    #[test]
    fn a_long_request_is_refused_here() {
        let error = encode(&"x".repeat(BODY_MAX), BODY_MAX).unwrap_err();
        assert_eq!(error.exit, crate::cli::error::Exit::Usage);
    }

    #[test]
    fn who_is_not_heard_is_told_the_rule() {
        let told = |own| stranger(Path::new("admin.sock"), 990, own);
        assert!(told(990).is_none() && told(0).is_none());
        let error = told(1000).expect("another user");
        let (message, remedy) = error.words();
        assert!(
            message.contains("uid 990") && message.contains("uid 1000"),
            "{message}"
        );
        assert_eq!(remedy, Some("run it as the daemon's user, or as root"));
    }

    #[tokio::test]
    async fn the_router_in_process_answers_like_a_server() {
        let router = Router::new().route(
            ShowDemoCode::OPERATION.path,
            axum::routing::get(|user: axum::extract::Path<String>| async move {
                axum::Json(serde_json::json!({
                    "serial": "", "code": user.0, "used": false, "next_in": 0,
                }))
            }),
        );
        let transport = Transport::Local(router);
        let seen = transport.ask::<ShowDemoCode>("a/b\u{c774}").await.unwrap();
        assert_eq!(seen.code, "a/b\u{c774}");
        let error = transport.ask::<ListPolicies>(()).await.unwrap_err();
        assert_eq!(error.exit, crate::cli::error::Exit::NotFound);
    }

    #[tokio::test]
    async fn lines_are_cut_wherever_the_frames_end() {
        let body = axum::body::Body::from("one\n\ntwo\nrest");
        let body = body.map_err(BrokenBody::new).boxed_unsync();
        let mut lines = Lines {
            body,
            rest: Vec::new(),
        };
        assert_eq!(lines.next().await.unwrap().unwrap(), b"one");
        assert_eq!(lines.next().await.unwrap().unwrap(), b"two");
        assert_eq!(lines.next().await.unwrap(), None);
    }
}
