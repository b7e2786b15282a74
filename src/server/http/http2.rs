//! One HTTP/2 connection (RFC 9113), which TLS clients choose by ALPN: as bounded as HTTP/1.1 is.
//!
//! ```text
//! a connection    a place, a share of its address (as over HTTP/1.1); no request for 5 s: closed
//!   request       the first under way rides on the connection's; each further one takes a place and a
//!                 share of its own while it is under way: 429 where there is none
//!     answer      in pieces of 4 KiB; a piece that is not taken for 10 s ends the connection
//! ```
//!
//! Invariants: what a route sees does not depend on the version: one `Host`, which is the `:authority`, and one
//! `Cookie` (s8.2.3, s8.3.1). What was read of passwords and keys is overwritten no later than 5 s after the last
//! request: the library cuts frames out of one buffer and keeps decoded header fields in another, which go when the
//! connection does. An answer without an end does not keep it: that answer ends, and its reader comes back on a
//! connection of its own.
//!
//! Threats T20: many streams, requests that are given up at once (CVE-2023-44487), header blocks without an end
//! (CVE-2024-27316), windows that stay shut, silence; T26.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, Method, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Router};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tower::{Layer as _, ServiceExt as _};

use crate::model::source::Source;
use crate::server::http::App;
use crate::server::http::error::Failure;
use crate::server::http::origin::Peer;
use crate::server::patience::{PAUSE, Patience, STALL};
use crate::server::shares::Share;
use crate::server::wiped::Wiped;

/// An answer that goes on as long as its reader wants, marked in its extensions: it does not keep a connection that
/// was used for anything else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endless;

/// Serves a connection; every request on it carries `peer`, which nothing in it can claim.
pub(super) async fn serve<S>(
    stream: S,
    peer: Peer,
    router: Router,
    (app, places): (Arc<App>, Arc<Semaphore>),
    shutdown: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let streams = Arc::new(Streams {
        app,
        places,
        address: peer.0.ip(),
        closing: CancellationToken::new(),
        given_up: CancellationToken::new(),
        state: Mutex::new(State::new(Instant::now())),
    });
    let router = Extension(peer).layer(router);
    let service = {
        let streams = Arc::clone(&streams);
        service_fn(move |request: Request<Incoming>| {
            let (router, streams) = (router.clone(), Arc::clone(&streams));
            async move {
                let Some(seat) = Seat::take(&streams) else {
                    return Ok(Failure::CROWDED.into_response());
                };
                let answer = router.oneshot(request.map(Body::new)).await;
                answer.map(|answer| seat.send(answer))
            }
        })
    };
    let stream = TokioIo::new(Patience::new(Wiped(stream)));
    let mut connection = pin!(builder().serve_connection(stream, service));
    let mut tick = tokio::time::interval(SECOND);
    // When it is cut off, once it has been asked to end.
    let mut end: Option<Instant> = None;
    loop {
        let verdict = tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
            () = streams.given_up.cancelled() => {
                return tracing::debug!("the requests of a connection are given up");
            }
            () = shutdown.cancelled(), if end.is_none() => Verdict::End(2 * STALL),
            now = tick.tick() => streams.lock().verdict(now),
        };
        match (verdict, end) {
            (Verdict::Cut, _) => return tracing::debug!("an answer is not taken"),
            (_, Some(end)) if end <= Instant::now() => return,
            (Verdict::End(within), None) => {
                end = Some(Instant::now() + within);
                streams.closing.cancel();
                connection.as_mut().graceful_shutdown();
            }
            _ => {}
        }
    }
}

/// The library's server with our bounds.
fn builder() -> http2::Builder<TokioExecutor> {
    let mut server = http2::Builder::new(TokioExecutor::new());
    server
        .timer(TokioTimer::new())
        .header_table_size(0)
        .initial_connection_window_size(WINDOW)
        .initial_stream_window_size(WINDOW)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_LIST)
        .max_local_error_reset_streams(REFUSED)
        .max_pending_accept_reset_streams(GIVEN_UP)
        .max_send_buf_size(4 * PIECE);
    server
}

/// Makes a request what it would be over HTTP/1.1: one `Host`, one `Cookie`, a path.
pub(super) fn made_plain(request: &mut Request) -> Result<(), Failure> {
    if request.method() == Method::CONNECT {
        return Err(Failure::NO_METHOD);
    }
    let authority = request.uri().authority().cloned();
    let headers = request.headers_mut();
    let mut hosts = headers.get_all(header::HOST).iter();
    let (host, more) = (hosts.next().cloned(), hosts.next().is_some());
    if let Some(authority) = authority {
        let same = |host: &HeaderValue| {
            let (host, authority) = (host.as_bytes(), authority.as_str().as_bytes());
            host.eq_ignore_ascii_case(authority)
        };
        if more || authority.as_str().contains('@') || !host.as_ref().is_none_or(same) {
            return Err(Failure::malformed(
                "one host: `:authority` names it, and `Host` is left out or the same",
            ));
        }
        let authority = HeaderValue::from_str(authority.as_str());
        let authority = authority.map_err(|_| Failure::malformed("`:authority`: a host"))?;
        headers.insert(header::HOST, authority);
    }
    let mut cookies = headers.get_all(header::COOKIE).iter();
    if let (Some(first), Some(second)) = (cookies.next(), cookies.next()) {
        let mut all = first.as_bytes().to_vec();
        for cookie in [second].into_iter().chain(cookies) {
            all.extend_from_slice(b"; ");
            all.extend_from_slice(cookie.as_bytes());
        }
        let all = HeaderValue::from_maybe_shared(Bytes::from(all));
        let mut all = all.map_err(|_| Failure::malformed("`Cookie`: pairs"))?;
        all.set_sensitive(true);
        headers.insert(header::COOKIE, all);
    }
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    Ok(())
}

/// The requests of one connection.
struct Streams {
    app: Arc<App>,
    places: Arc<Semaphore>,
    address: IpAddr,
    /// Ends answers that have no end of their own.
    closing: CancellationToken,
    /// Ends a connection whose requests are given up.
    given_up: CancellationToken,
    state: Mutex<State>,
}

impl Streams {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct State {
    /// Those under way, by number.
    under_way: HashMap<u64, UnderWay>,
    next: u64,
    /// Whether one was answered that has an end.
    was_used: bool,
    answered: usize,
    given_up: usize,
    /// Since when none is under way but endless ones.
    quiet_since: Instant,
}

#[derive(Default)]
struct UnderWay {
    is_endless: bool,
    /// Until when its reader takes the piece that waits for it.
    due: Option<Instant>,
}

/// What becomes of a connection.
#[derive(Debug, PartialEq)]
enum Verdict {
    Stays,
    /// It takes no new requests, and ends with those under way, or after this time.
    End(Duration),
    /// An answer is not taken.
    Cut,
}

impl State {
    fn new(now: Instant) -> Self {
        Self {
            under_way: HashMap::new(),
            next: 0,
            was_used: false,
            answered: 0,
            given_up: 0,
            quiet_since: now,
        }
    }

    fn is_quiet(&self) -> bool {
        self.under_way.values().all(|one| one.is_endless)
    }

    fn verdict(&self, now: Instant) -> Verdict {
        let is_late = |one: &UnderWay| one.due.is_some_and(|due| due <= now);
        if self.under_way.values().any(is_late) {
            return Verdict::Cut;
        }
        let is_idle = self.is_quiet() && now - self.quiet_since >= PAUSE;
        if is_idle && (self.was_used || self.under_way.is_empty()) {
            return Verdict::End(SECOND);
        }
        Verdict::Stays
    }

    /// Takes one out; whether too many are given up.
    fn leaves(&mut self, number: u64, was_answered: bool, now: Instant) -> bool {
        let left = self.under_way.remove(&number).unwrap_or_default();
        self.was_used |= !left.is_endless;
        // Who closes a list that goes on for ever gives nothing up.
        if was_answered || left.is_endless {
            self.answered += 1;
        } else {
            self.given_up += 1;
        }
        if self.is_quiet() {
            self.quiet_since = now;
        }
        self.given_up > self.answered + GIVEN_UP
    }
}

/// A request's place among those under way; given back when dropped.
struct Seat {
    streams: Arc<Streams>,
    number: u64,
    was_answered: bool,
    /// Beside those of the connection.
    _own: Option<(OwnedSemaphorePermit, Share<Source>)>,
}

impl Seat {
    /// A place, where there is one.
    fn take(streams: &Arc<Streams>) -> Option<Self> {
        let mut state = streams.lock();
        let own = if state.under_way.is_empty() {
            None
        } else {
            let place = Arc::clone(&streams.places).try_acquire_owned().ok()?;
            let most = streams.app.connections_of(streams.address);
            let share = streams
                .app
                .addresses()
                .share(Source::from(streams.address).site(), most)?;
            Some((place, share))
        };
        let number = state.next;
        state.next += 1;
        state.under_way.insert(number, UnderWay::default());
        drop(state);
        Some(Self {
            streams: Arc::clone(streams),
            number,
            was_answered: false,
            _own: own,
        })
    }

    /// The answer, which keeps the place until it is sent.
    fn send(mut self, answer: Response) -> Response {
        let (head, body) = answer.into_parts();
        self.was_answered = body.is_end_stream();
        let is_endless = head.extensions.get::<Endless>().is_some();
        let mut until = None;
        if is_endless {
            let mut state = self.streams.lock();
            if let Some(own) = state.under_way.get_mut(&self.number) {
                own.is_endless = true;
            }
            if state.is_quiet() {
                state.quiet_since = Instant::now();
            }
            drop(state);
            until = Some(Box::pin(self.streams.closing.clone().cancelled_owned()));
        }
        let body = Sent {
            body,
            rest: Bytes::new(),
            until,
            seat: self,
        };
        Response::from_parts(head, Body::new(body))
    }

    fn waits_until(&self, due: Option<Instant>) {
        if let Some(own) = self.streams.lock().under_way.get_mut(&self.number) {
            own.due = due;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut state = self.streams.lock();
        if state.leaves(self.number, self.was_answered, now) {
            self.streams.given_up.cancel();
        }
    }
}

/// The body of an answer, in pieces: the library asks for the next one when the last one is on its way.
struct Sent {
    body: Body,
    rest: Bytes,
    /// For one without an end.
    until: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    seat: Seat,
}

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let sent = &mut *self;
        sent.seat.waits_until(None);
        if sent.rest.is_empty() {
            let ends = sent.until.as_mut().is_some_and(|until| {
                let until = until.as_mut();
                Future::poll(until, context).is_ready()
            });
            let next = if ends {
                Poll::Ready(None)
            } else {
                Pin::new(&mut sent.body).poll_frame(context)
            };
            match next {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => sent.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                Poll::Ready(None) => {
                    sent.seat.was_answered = true;
                    return Poll::Ready(None);
                }
                other => return other,
            }
        }
        let most = sent.rest.len().min(PIECE);
        let piece = sent.rest.split_to(most);
        sent.seat.was_answered = sent.is_end_stream();
        sent.seat.waits_until(Some(Instant::now() + STALL));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (body, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

/// Requests at a time of one connection, the least that is recommended (RFC 9113 s6.5.2): clients begin with as many
/// before they know. Each holds [`PIECE`] of an answer that is not taken.
const STREAMS: u32 = 100;
/// Requests beyond that, and faulty ones, which are refused one by one before the connection ends.
const REFUSED: usize = 128;
/// Octets of header fields as the protocol counts them: 32 KiB, and 32 more for each of 100.
const HEADER_LIST: u32 = 36 * 1024;
/// Octets of bodies that are read ahead, of a request and of all together: the least that the protocol allows, and
/// four times the longest ordinary body.
const WINDOW: u32 = 65_535;
/// Octets of an answer that are handed to the library at once.
const PIECE: usize = 4096;
/// Requests that may be given up beyond those that were answered: a person who clicks on before a page is there.
const GIVEN_UP: usize = 32;
const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *START.get_or_init(Instant::now) + Duration::from_secs(seconds)
    }

    fn begun(state: &mut State, number: u64, is_endless: bool) {
        let due = None;
        state.under_way.insert(number, UnderWay { is_endless, due });
    }

    #[test]
    fn a_connection_stays_as_long_as_it_is_used() {
        let mut state = State::new(at(0));
        assert_eq!(state.verdict(at(4)), Verdict::Stays);
        assert_eq!(
            state.verdict(at(5)),
            Verdict::End(SECOND),
            "it says nothing"
        );
        begun(&mut state, 0, false);
        assert_eq!(state.verdict(at(60)), Verdict::Stays);
        state.leaves(0, true, at(60));
        assert_eq!(state.verdict(at(64)), Verdict::Stays);
        assert_eq!(state.verdict(at(65)), Verdict::End(SECOND));
    }

    #[test]
    fn a_list_without_an_end_keeps_a_connection_of_its_own_only() {
        let mut state = State::new(at(0));
        begun(&mut state, 0, true);
        assert_eq!(state.verdict(at(3600)), Verdict::Stays);
        begun(&mut state, 1, false);
        state.leaves(1, true, at(3601));
        assert_eq!(state.verdict(at(3605)), Verdict::Stays);
        assert_eq!(state.verdict(at(3606)), Verdict::End(SECOND));
    }

    #[test]
    fn a_reader_that_takes_nothing_ends_its_connection() {
        let mut state = State::new(at(0));
        begun(&mut state, 0, false);
        begun(&mut state, 1, false);
        state.under_way.get_mut(&1).unwrap().due = Some(at(10));
        assert_eq!(state.verdict(at(9)), Verdict::Stays);
        assert_eq!(state.verdict(at(10)), Verdict::Cut);
    }

    #[test]
    fn who_gives_up_more_than_is_answered_is_cut_off() {
        let mut state = State::new(at(0));
        let mut leaves = |number: u64, was_answered: bool| {
            begun(&mut state, number, false);
            state.leaves(number, was_answered, at(0))
        };
        assert!((0..100).all(|number| !leaves(number, number < 50)));
        assert!(
            !leaves(100, true),
            "half and half, as people do who click on"
        );
        let given_up: Vec<bool> = (101..135).map(|number| leaves(number, false)).collect();
        assert_eq!(given_up.iter().filter(|cut| **cut).count(), 1);
        assert!(given_up[33]);
    }

    #[test]
    fn a_request_is_what_it_would_be_over_http_1() {
        let request = |uri: &str, headers: &[(&'static str, &str)]| {
            let mut request = Request::builder().uri(uri);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            request.body(Body::empty()).unwrap()
        };
        let mut plain = request(
            "https://OTP.example:8443/a?b=c",
            &[
                ("cookie", "a=1"),
                ("host", "otp.example:8443"),
                ("cookie", "b=2"),
            ],
        );
        made_plain(&mut plain).unwrap();
        assert_eq!(plain.uri(), "/a?b=c");
        assert_eq!(plain.headers()["host"], "OTP.example:8443");
        let cookies: Vec<_> = plain.headers().get_all("cookie").iter().collect();
        assert_eq!(cookies, ["a=1; b=2"]);
        for headers in [
            &[("host", "evil.example")][..],
            &[("host", "otp.example"), ("host", "otp.example")],
            &[("host", "otp.example"), ("host", "evil.example")],
            &[("host", "")],
        ] {
            let mut forged = request("https://otp.example/", headers);
            assert!(made_plain(&mut forged).is_err(), "{headers:?}");
        }
        assert!(made_plain(&mut request("https://kim@otp.example/", &[])).is_err());
        let mut connect = request("https://otp.example/", &[]);
        *connect.method_mut() = Method::CONNECT;
        assert!(made_plain(&mut connect).is_err());
    }
}
