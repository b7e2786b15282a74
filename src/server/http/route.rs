//! The router and what a handler gets, both derived from the declarations of [`crate::api::call`].
//!
//! A handler is a function `(app, call) -> Result<answer, failure>`. What all handlers share is here, once:
//! who may call, path, query, `If-Match` (412), body, status and `ETag` of the answer, `Prefer: status`, and the
//! names of records that are not there.
//!
//! Invariant: nothing of a request is read before it is known that its caller may make the call, and it is found out
//! once more when the body has come ([`caller::again`]).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::handler::Handler;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Router, middleware};
use hyper::body::Body as _;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::api::call::{Access, Call, NamedBy, Operation, Takes};
use crate::config::HTTP_BODY;
use crate::server::http::caller::{Arrival, Caller};
use crate::server::http::describe::Description;
use crate::server::http::error::Failure;
use crate::server::http::named::Named;
use crate::server::http::preference::ByStatus;
use crate::server::http::scim::error::in_form;
use crate::server::http::{App, answer, body, caller};
use crate::store::By;

/// A call as a handler gets it.
pub(crate) struct Received<C: Call, K>
where
    C::Place: Named,
{
    /// Who makes it.
    pub(crate) from: K,
    /// What the path names.
    pub(crate) place: <C::Place as Named>::Value,
    /// The query.
    pub(crate) query: C::Query,
    /// The body.
    pub(crate) body: C::Body,
    /// The revision that `If-Match` names.
    pub(crate) expected: Option<u64>,
}

/// A body that a caller in this process hands over as it is, an extension of the request: no connection can make
/// one. What is said below of bodies is of those that are octets.
pub(crate) struct Handed<T>(Arc<Mutex<Option<T>>>);

impl<T> Handed<T> {
    pub(crate) fn new(body: T) -> Self {
        Self(Arc::new(Mutex::new(Some(body))))
    }

    fn take(self) -> Option<T> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        body.take()
    }
}

// Of the same body, whatever it is: derived, it would ask for one that can be copied.
impl<T> Clone for Handed<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A call of the administration.
pub(crate) type Admin<C> = Received<C, By>;
/// A call of an application that asks about codes.
pub(crate) type Asked<C> = Received<C, Asker>;

/// Who makes a call, found out before anything of it is read but its body.
pub(crate) trait Credential: Send + Sync + Sized + 'static {
    /// Whether they administer: only then they are told names that they did not send.
    const ADMINISTERS: bool = false;
    /// Whether the octets of the body are needed to know them, also where the call has none.
    const NEEDS_BODY: bool = false;

    /// Who makes the call.
    fn of(
        app: &Arc<App>,
        parts: &Parts,
        octets: &[u8],
    ) -> impl Future<Output = Result<Self, Failure>> + Send;
}

impl Credential for By {
    const ADMINISTERS: bool = true;

    async fn of(_: &Arc<App>, parts: &Parts, _: &[u8]) -> Result<Self, Failure> {
        // Inserted where the role is checked.
        parts.extensions.get().cloned().ok_or(Failure::NO_KEY)
    }
}

impl Credential for (Caller, By) {
    const ADMINISTERS: bool = true;

    async fn of(app: &Arc<App>, parts: &Parts, octets: &[u8]) -> Result<Self, Failure> {
        let caller = parts.extensions.get().cloned().ok_or(Failure::NO_KEY)?;
        Ok((caller, By::of(app, parts, octets).await?))
    }
}

/// An application that asks about codes.
pub(crate) struct Asker {
    pub(crate) caller: Caller,
    pub(crate) arrival: Arrival,
    /// `Idempotency-Key`, and the SHA-256 of the body that came with it.
    pub(crate) retry: Option<(String, [u8; 32])>,
}

impl Credential for Asker {
    async fn of(_: &Arc<App>, parts: &Parts, octets: &[u8]) -> Result<Self, Failure> {
        let caller = parts.extensions.get().cloned().ok_or(Failure::NO_KEY)?;
        let arrival = parts.extensions.get().copied().ok_or(Failure::INTERNAL)?;
        let key = idempotency_key(&parts.headers)?;
        let retry = key.map(|key| (key.to_owned(), Sha256::digest(octets).into()));
        Ok(Self {
            caller,
            arrival,
            retry,
        })
    }
}

/// The routes and their description, as they are put together.
#[derive(Default)]
pub(crate) struct Routes {
    open: Router<Arc<App>>,
    near: Router<Arc<App>>,
    verify: Router<Arc<App>>,
    scim: Router<Arc<App>>,
    device: Router<Arc<App>>,
    admin: Router<Arc<App>>,
    /// Each adds what is said of its call: routers are made without it.
    described: Vec<fn(&mut Description)>,
}

impl Routes {
    /// Serves a call by a function.
    pub(crate) fn on<C, K, F, Answer>(self, handler: F) -> Self
    where
        C: Call,
        C::Place: Named,
        K: Credential,
        F: Fn(Arc<App>, Received<C, K>) -> Answer + Clone + Send + Sync + 'static,
        Answer: Future<Output = Result<C::Answer, Failure>> + Send + 'static,
    {
        self.on_request::<C, _, _>(async move |State(app): State<Arc<App>>, request: Request| {
            answered::<C, K, F, Answer>(app, handler, request).await
        })
    }

    /// Serves a call by a handler that reads the request, or writes the answer, itself.
    pub(crate) fn on_request<C: Call, H: Handler<T, Arc<App>>, T: 'static>(
        mut self,
        handler: H,
    ) -> Self {
        let Operation {
            method,
            path,
            access,
            ..
        } = C::OPERATION;
        let filter = MethodFilter::try_from(method).expect("a method of RFC 9110");
        let mut route: MethodRouter<Arc<App>> = on(filter, handler);
        let router = match access {
            Access::Open | Access::Gateway => &mut self.open,
            Access::Near => &mut self.near,
            Access::Device | Access::Link | Access::Network => &mut self.device,
            Access::Verify => &mut self.verify,
            Access::Scim => &mut self.scim,
            Access::Admin(scopes) => {
                let check =
                    move |request: Request, next: Next| caller::require_role(scopes, request, next);
                route = route.route_layer(middleware::from_fn(check));
                &mut self.admin
            }
        };
        *router = std::mem::take(router).route(path, route);
        self.described.push(Description::add::<C>);
        self
    }

    /// All routes, each behind what finds out who calls.
    pub(crate) fn router(self, app: &Arc<App>) -> Router<Arc<App>> {
        let identify = middleware::from_fn_with_state(Arc::clone(app), caller::identify);
        let until_stopped = middleware::from_fn_with_state(Arc::clone(app), until_stopped);
        let near = middleware::from_fn_with_state(Arc::clone(app), caller::near_or_admin);
        let arrive = middleware::from_fn_with_state(Arc::clone(app), caller::arrive);
        let asker = middleware::from_fn_with_state(Arc::clone(app), caller::identify_asker);
        let verify = self.verify.route_layer(asker);
        let scim = self.scim.route_layer(identify.clone());
        let scim = scim.route_layer(middleware::map_response(in_form));
        let admin = self.admin.route_layer(until_stopped).route_layer(identify);
        self.open
            .merge(self.near.route_layer(near))
            .merge(verify)
            .merge(scim)
            .merge(self.device.route_layer(arrive))
            .merge(admin)
    }

    /// What they are, for the `OpenAPI` document.
    pub(crate) fn description(self) -> Description {
        let mut description = Description::default();
        for add in self.described {
            add(&mut description);
        }
        description
    }
}

/// Ends what a caller waits for when the server stops: reads, however long, at once; changes when
/// they had the time that any commit takes.
async fn until_stopped(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let stopping = app.stopping().clone();
    let reads = request.method() == Method::GET || request.uri().path().ends_with("/verify");
    let stopped = async {
        stopping.cancelled().await;
        if !reads {
            tokio::time::sleep(GRACE).await;
        }
    };
    tokio::select! {
        biased;
        response = next.run(request) => response,
        () = stopped => Failure::unavailable("the server is stopping").into_response(),
    }
}

async fn answered<C, K, F, Answer>(
    app: Arc<App>,
    handler: F,
    request: Request,
) -> Result<Response, Failure>
where
    C: Call,
    C::Place: Named,
    K: Credential,
    F: Fn(Arc<App>, Received<C, K>) -> Answer,
    Answer: Future<Output = Result<C::Answer, Failure>>,
{
    let by_status = ByStatus::of::<C>(&request)?;
    let (call, caller) = Received::<C, K>::read(&app, request).await?;
    let caller = caller.filter(|_| K::ADMINISTERS);
    let (expected, place) = (call.expected, call.place.clone());
    let reads = C::OPERATION.method == Method::GET;
    let unseen = |caller: &Caller| C::Place::unseen(&app, caller, &place, reads);
    if let Some(failure) = caller.as_ref().and_then(unseen) {
        return Err(failure);
    }
    if expected.is_some() {
        // A record that is not there has no revision: the handler says so.
        let present = C::Place::revision(&app, &place);
        if present.is_some() && present != expected {
            return Err(Failure::CHANGED);
        }
    }
    match handler(Arc::clone(&app), call).await {
        Ok(answer) => Ok(response::<C>(&answer, by_status)),
        Err(failure) if failure.is_missing(C::Place::NOUN) => Err(match &caller {
            Some(caller) => C::Place::missing(&app, caller, &place),
            None => failure,
        }),
        Err(failure) if failure.is_conflict() && expected.is_some() => {
            let present = C::Place::revision(&app, &place);
            Err(if present == expected {
                failure
            } else {
                Failure::CHANGED
            })
        }
        Err(failure) => Err(failure),
    }
}

fn response<C: Call>(value: &C::Answer, by_status: ByStatus) -> Response {
    let status = StatusCode::from_u16(C::OPERATION.status).unwrap_or_default();
    if status == StatusCode::NO_CONTENT {
        return status.into_response();
    }
    if by_status.is_wanted() {
        return ByStatus::answer(C::is_yes(value), value);
    }
    let mut response = answer::json(status, value);
    let tag = C::revision(value).and_then(|revision| {
        let tag = format!("\"{revision}\"");
        HeaderValue::from_str(&tag).ok()
    });
    if let Some(tag) = tag {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

impl<C: Call, K: Credential> Received<C, K>
where
    C::Place: Named,
{
    /// Reads a request; with it who makes it, where that is a caller.
    async fn read(app: &Arc<App>, request: Request) -> Result<(Self, Option<Caller>), Failure> {
        let (mut parts, body) = request.into_parts();
        let handed = parts.extensions.remove::<Handed<C::Body>>();
        let handed = handed.and_then(Handed::take);
        let octets = match &handed {
            Some(_) => Zeroizing::default(),
            None => octets::<C, K>(app, &parts.headers, body).await?,
        };
        caller::again(app, &mut parts, C::OPERATION.access)?;
        let from = K::of(app, &parts, &octets).await?;
        let mut place = place::<C::Place>(&mut parts).await?;
        if C::OPERATION.named == NamedBy::AnyName {
            place = C::Place::resolved(app, place)?;
        }
        let expected = if C::OPERATION.if_match {
            expected(&parts.headers)?
        } else {
            None
        };
        let query = body::query(&parts.uri)?;
        let nothing =
            C::without_body().filter(|_| octets.is_empty() || C::OPERATION.takes == Takes::Nothing);
        let body = match handed.or(nothing) {
            Some(body) => body,
            None => body::parse(&octets)?,
        };
        let call = Self {
            from,
            place,
            query,
            body,
            expected,
        };
        Ok((call, parts.extensions.remove()))
    }
}

/// The octets of a body, if the call has one.
async fn octets<C: Call, K: Credential>(
    app: &App,
    headers: &HeaderMap,
    body: Body,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let Operation {
        takes,
        access,
        large,
        ..
    } = C::OPERATION;
    if K::NEEDS_BODY {
        let octets = body::read(body, HTTP_BODY, app).await?;
        if access == Access::Device && !octets.is_empty() && !body::is_json(headers) {
            return Err(Failure::MEDIA_TYPE);
        }
        return Ok(octets);
    }
    if takes == Takes::Nothing || takes == Takes::OptionalBody && body.is_end_stream() {
        return Ok(Zeroizing::default());
    }
    if !body::is_json(headers) {
        return Err(Failure::MEDIA_TYPE);
    }
    let most = if large { body::LARGE } else { HTTP_BODY };
    body::read(body, most, app).await
}

async fn place<P: Named>(parts: &mut Parts) -> Result<P::Value, Failure> {
    if P::NOUN.is_empty() {
        return P::parse("");
    }
    let path = Path::<String>::from_request_parts(parts, &()).await;
    let path = path.map_err(|_| Failure::malformed("the path is not percent-encoded UTF-8"))?;
    P::parse(&path.0)
}

/// The revision that `If-Match` names.
fn expected(headers: &HeaderMap) -> Result<Option<u64>, Failure> {
    let mut values = headers.get_all(header::IF_MATCH).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let value = value.to_str().ok().filter(|_| values.next().is_none());
    let tag = match value {
        Some("*") => return Ok(None),
        Some(value) => value
            .strip_prefix('"')
            .and_then(|tag| tag.strip_suffix('"')),
        None => None,
    };
    let tag = tag.ok_or_else(|| Failure::malformed(IF_MATCH))?;
    // A tag that is none of ours matches no revision.
    Ok(Some(tag.parse().unwrap_or(0)))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let key = value
        .to_str()
        .ok()
        .filter(|key| (1..=KEY_LENGTH).contains(&key.len()));
    if key.is_none() || values.next().is_some() {
        return Err(Failure::malformed(
            "Idempotency-Key: one header of 1 to 128 visible ASCII characters",
        ));
    }
    Ok(key)
}

/// Time for a change that was begun when the server stops.
const GRACE: Duration = Duration::from_secs(5);
/// Longest idempotency key; a UUID has 36 characters.
const KEY_LENGTH: usize = 128;
const IF_MATCH: &str = "If-Match: one entity tag as an answer's ETag gave it, in quotes, or `*`";
