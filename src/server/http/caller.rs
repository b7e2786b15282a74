//! Who calls, and what they may do.
//!
//! Over TCP the caller is the client whose key came with the request. On the admin socket and in
//! process it is a local user, vouched for by the kernel; only those transports insert it, as an
//! extension of the request, so nothing in a request can claim it.
//!
//! Deny by default: each call of the administration is behind [`require_role`], whatever its handler does,
//! and `/metrics` behind [`near_or_admin`]. An administrator's key may do everything, and so may a local
//! caller, who could read the store itself.
//!
//! A body may take its time, and some answers have no end. A key acts when the body has come whole only if it opens
//! the call then ([`again`]); an answer without an end lasts as long as the key ([`Lasting`]). A person's session is
//! looked at in the same way where the person's forms are read.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use crate::api::call;
use crate::model::client::{Access, Client, Scope};
use crate::model::id::RequestId;
use crate::model::user_key::{CONSOLE, UserKey};
use crate::secret::SecretString;
use crate::server::http::error::Failure;
use crate::server::http::origin::Origin;
use crate::server::http::{App, preference};
use crate::store::By;
use crate::time::UnixTime;

/// Who calls.
#[derive(Clone, Debug)]
pub enum Caller {
    /// The daemon's own user or root, over the admin socket or in process.
    Local {
        /// Their user id: what their rights are bound to.
        uid: u32,
        /// As the audit names them: `alice(uid 1000)`.
        person: Arc<str>,
    },
    /// The API client whose key was sent.
    Key(Arc<Client>),
    /// A person who has signed in to the console.
    Person(Arc<Person>),
}

/// A person of the console, as their session has them; only the console inserts it.
#[derive(Clone, Debug)]
pub struct Person {
    /// Who.
    pub user: UserKey,
    /// What they may do.
    pub roles: Vec<Scope>,
}

impl Person {
    /// Whether they may make calls of this kind: what a page offers them.
    pub fn may(&self, access: call::Access) -> bool {
        match access {
            call::Access::Admin(scopes) => {
                let has = |scope: &Scope| self.roles.contains(scope);
                has(&Scope::Admin) || scopes.iter().any(has)
            }
            _ => false,
        }
    }
}

impl Caller {
    /// What their acts are bound to: `uid 0`, `api:NAME`, `kim@console`.
    pub(crate) fn actor(&self) -> String {
        match self {
            Self::Local { uid, .. } => format!("uid {uid}"),
            Self::Key(client) => format!("api:{}", client.name),
            Self::Person(person) => person.user.to_string(),
        }
    }

    /// The person behind them, where the system knows one.
    fn person(&self) -> Option<Arc<str>> {
        match self {
            Self::Local { person, .. } => Some(Arc::clone(person)),
            Self::Key(_) | Self::Person(_) => None,
        }
    }

    /// Whether they may ask about codes. Administrating does not imply it: an administrator's key
    /// must not become the key of an application.
    pub(crate) fn may_verify(&self) -> bool {
        self.has(Scope::Verify)
    }

    /// Whether they may administer. A key bound to a realm may not: the verbs know no realms yet,
    /// and a bound that does not hold must not look as if it did (threats T28).
    pub(crate) fn may_administer(&self) -> bool {
        let bound = matches!(self, Self::Key(client) if client.realm.is_some());
        self.has(Scope::Admin) && !bound
    }

    /// Whether they have one of these roles. A key bound to a realm has none, as above.
    pub(crate) fn acts_as(&self, scopes: &[Scope]) -> bool {
        let bound = matches!(self, Self::Key(client) if client.realm.is_some());
        !bound && scopes.iter().any(|scope| self.has(*scope))
    }

    /// Whether this user is theirs to see. The people of the console are seen by administrators and auditors, and
    /// by themselves: who helps users learns nothing of the accounts of administrators.
    pub(crate) fn sees(&self, user: &UserKey) -> bool {
        let own = matches!(self, Self::Person(person) if person.user == *user);
        user.realm() != CONSOLE || own || self.sees_console()
    }

    /// The same of all people of the console.
    pub(crate) fn sees_console(&self) -> bool {
        self.may_administer() || self.acts_as(&[Scope::Auditor])
    }

    /// The client that pushes users of a source: by a key that may do nothing else, so that who changes a contact
    /// that way makes no token by the same key.
    pub(crate) fn pushes(&self) -> Option<&Arc<Client>> {
        let Self::Key(client) = self else {
            return None;
        };
        let alone = match &client.access {
            Access::Api(api) => api.scopes == [Scope::Scim],
            Access::Radius(_) => false,
        };
        (alone && client.realm.is_none()).then_some(client)
    }

    fn has(&self, scope: Scope) -> bool {
        match self {
            Self::Local { .. } => true,
            Self::Key(client) => match &client.access {
                Access::Api(api) => api.scopes.contains(&scope),
                Access::Radius(_) => false,
            },
            Self::Person(person) => person.roles.contains(&scope),
        }
    }
}

/// Whether the caller is on this machine: on the admin socket, or connected from loopback without a proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Near(pub(crate) bool);

impl Near {
    fn of(extensions: &Extensions) -> Self {
        let local = matches!(extensions.get(), Some(Caller::Local { .. }));
        let near = |origin: &Origin| origin.near;
        Self(local || extensions.get().is_some_and(near))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Near {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}

/// When a request arrived, and its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) id: RequestId,
    pub(crate) at: UnixTime,
    /// The same moment on the clock that delays are measured by.
    pub(crate) instant: Instant,
}

/// Names the request and finds out who calls; without a key it goes no further.
pub(crate) async fn identify(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    named(&app, request, next, known).await
}

/// The same for what asks about codes: a caller who may not goes no further either, before a body is read.
pub(crate) async fn identify_asker(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let by_status = preference::is_by_status(&request);
    let response = named(&app, request, next, |app, request, now| {
        known(app, request, now)?;
        let caller = request.extensions().get::<Caller>();
        permits(caller.ok_or(Failure::NO_KEY)?, call::Access::Verify)
    });
    preference::undecided(response.await, by_status)
}

/// Names a request that says in its own way who makes it.
pub(crate) async fn arrive(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    named(&app, request, next, |_, _, _| Ok(())).await
}

async fn named(
    app: &App,
    mut request: Request,
    next: Next,
    known: fn(&App, &mut Request, UnixTime) -> Result<(), Failure>,
) -> Response {
    let instant = Instant::now();
    let (id, at) = match app.core().arrival() {
        Ok(arrival) => arrival,
        Err(error) => {
            tracing::error!(%error, "no request id");
            return Failure::unavailable("try again, or ask another server").into_response();
        }
    };
    request.extensions_mut().insert(Arrival { id, at, instant });
    let mut response = match known(app, &mut request, at) {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    };
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert("x-request-id", id);
    }
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn known(app: &App, request: &mut Request, now: UnixTime) -> Result<(), Failure> {
    if request.extensions().get::<Caller>().is_none() {
        let client = keyed(app, request.headers(), now)?;
        if let Some(rate) = app.limits().http_client_rate
            && !app.rates().take(&client.name, rate, Instant::now())
        {
            return Err(Failure::TOO_MANY);
        }
        request.extensions_mut().insert(Caller::Key(client));
    }
    Ok(())
}

/// The client whose key came with a request.
fn keyed(app: &App, headers: &HeaderMap, now: UnixTime) -> Result<Arc<Client>, Failure> {
    let key = bearer(headers).ok_or(Failure::NO_KEY)?;
    let client = app.core().clients().by_key(&key, now);
    client.ok_or(Failure::NO_KEY)
}

/// Finds out once more who calls, when the body has come: a key that was removed or exchanged meanwhile acts no
/// more, and one with other scopes by those of now.
pub(crate) fn again(app: &App, parts: &mut Parts, access: call::Access) -> Result<(), Failure> {
    if !matches!(parts.extensions.get(), Some(Caller::Key(_))) {
        return Ok(());
    }
    let caller = Caller::Key(keyed(app, &parts.headers, app.core().now())?);
    permits(&caller, access)?;
    if matches!(access, call::Access::Admin(_)) {
        let arrival = parts.extensions.get().copied().ok_or(Failure::NO_KEY)?;
        parts.extensions.insert(acting(&caller, arrival));
    }
    parts.extensions.insert(caller);
    Ok(())
}

/// The right to an answer that has no end, looked at with each part of it.
pub(crate) struct Lasting {
    /// The key that came with the request; none of a caller whom the kernel vouches for.
    key: Option<SecretString>,
    access: call::Access,
}

impl Lasting {
    pub(crate) fn of(caller: &Caller, headers: &HeaderMap, access: call::Access) -> Self {
        let key = match caller {
            Caller::Key(_) => bearer(headers),
            Caller::Local { .. } | Caller::Person(_) => None,
        };
        Self { key, access }
    }

    /// Whether it goes on.
    pub(crate) fn holds(&self, app: &App) -> bool {
        let Some(key) = &self.key else {
            return true;
        };
        let client = app.core().clients().by_key(key, app.core().now());
        client.is_some_and(|client| permits(&Caller::Key(client), self.access).is_ok())
    }
}

/// The key of an `Authorization: Bearer` header; none where there are two such headers.
fn bearer(headers: &HeaderMap) -> Option<SecretString> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    (values.next().is_none() && scheme.eq_ignore_ascii_case("bearer"))
        .then(|| SecretString::from(key.trim()))
}

/// Lets callers of this machine through, and administrators from elsewhere.
pub(crate) async fn near_or_admin(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    if Near::of(request.extensions()).0 {
        return next.run(request).await;
    }
    if let Err(failure) = known(&app, &mut request, app.core().now()) {
        return failure.into_response();
    }
    let caller = request.extensions().get::<Caller>();
    if caller.is_none_or(|caller| !caller.may_administer()) {
        return Failure::forbidden(ADMINISTRATORS).into_response();
    }
    next.run(request).await
}

/// Lets through administrators and keys with one of these scopes, and says for the audit who they are.
pub(crate) async fn require_role(
    scopes: &'static [Scope],
    mut request: Request,
    next: Next,
) -> Response {
    let extensions = request.extensions();
    let (Some(caller), Some(arrival)) = (
        extensions.get::<Caller>(),
        extensions.get::<Arrival>().copied(),
    ) else {
        return Failure::NO_KEY.into_response();
    };
    if let Err(failure) = permits(caller, call::Access::Admin(scopes)) {
        return failure.into_response();
    }
    let by = acting(caller, arrival);
    request.extensions_mut().insert(by);
    next.run(request).await
}

/// Whether a caller may make calls of this kind, where that follows from what they are.
fn permits(caller: &Caller, access: call::Access) -> Result<(), Failure> {
    match access {
        call::Access::Verify if !caller.may_verify() => Err(Failure::forbidden(VERIFIERS)),
        call::Access::Admin(scopes) if !caller.may_administer() && !caller.acts_as(scopes) => {
            let forbidden = if scopes.is_empty() {
                ADMINISTRATORS
            } else {
                ROLES
            };
            Err(Failure::forbidden(forbidden))
        }
        _ => Ok(()),
    }
}

/// In whose name a caller changes what is administered.
fn acting(caller: &Caller, arrival: Arrival) -> By {
    By {
        request: arrival.id,
        actor: caller.actor(),
        person: caller.person(),
        at: arrival.at,
        limited: !caller.may_administer(),
    }
}

const VERIFIERS: &str = "this needs a key with the scope `verify`";
const ROLES: &str = "this needs a key with the scope `admin`, or of the role that the work belongs to (operator, \
     approver, auditor), and without a realm";
const ADMINISTRATORS: &str = "this needs a key with the scope `admin` and without a realm";
