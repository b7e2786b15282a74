//! `/v1/admin/clients`.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use ipnet::IpNet;

use crate::admin::{AdminError, ClientPatch, NewRadiusClient};
use crate::api;
use crate::api::{ClientCreate, Problem};
use crate::diagnostic::units;
use crate::model::client::{Access, Client, Require, Scope};
use crate::secret::SecretString;
use crate::server::http::admin::{IfMatch, NamePath, conditional, damaged, limit, tell, word};
use crate::server::http::body::{Json, OptionalJson, Query};
use crate::server::http::error::Failure;
use crate::server::http::{App, answer, forms};
use crate::store::By;

/// Clients, a page at a time.
#[utoipa::path(
    get,
    path = "/v1/admin/clients",
    tag = "clients",
    params(api::Page),
    responses(
        (status = 200, description = "A page", body = api::Clients),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list_clients(
    State(app): State<Arc<App>>,
    Query(page): Query<api::Page>,
) -> Result<Response, Failure> {
    if page.user.is_some() {
        return Err(Failure::malformed(
            "query: `user` selects tokens, not clients",
        ));
    }
    let limit = limit(page.limit)?;
    let now = app.service().core.now();
    let all = app.service().core.clients().all();
    let after =
        |client: &&Arc<Client>| page.after.as_ref().is_none_or(|after| client.name > *after);
    let mut rest = all.iter().filter(after).peekable();
    let clients: Vec<_> = rest
        .by_ref()
        .take(limit)
        .map(|client| forms::client(client, now))
        .collect();
    let last = clients.last().filter(|_| rest.peek().is_some());
    let next = last.map(|client| client.name.clone());
    Ok(answer::json(
        StatusCode::OK,
        &api::Clients {
            clients,
            next,
            damaged: damaged(&app, &["clients"]),
        },
    ))
}

/// Makes a client. The answer holds its secret or key: the only time it is shown.
#[utoipa::path(
    post,
    path = "/v1/admin/clients",
    tag = "clients",
    request_body = ClientCreate,
    responses(
        (status = 201, description = "Made", body = api::ClientCreated),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn create_client(
    State(app): State<Arc<App>>,
    Extension(by): Extension<By>,
    Json { value: new, .. }: Json<ClientCreate>,
) -> Result<Response, Failure> {
    let service = app.service();
    let exists = |name: &str, error| {
        let taken = service.admin.client(name).is_ok();
        tell::client_exists(name, taken, error)
    };
    let (client, key) = match new {
        ClientCreate::Radius {
            name,
            addresses,
            secret,
            policy,
            realm,
            profile,
            require_message_authenticator,
            challenge,
        } => {
            if profile.is_some_and(|profile| profile != "generic") {
                return Err(Failure::malformed("profile: this version knows `generic`"));
            }
            let require = require_message_authenticator
                .as_deref()
                .map(require)
                .transpose()?;
            let new = NewRadiusClient {
                name,
                addresses: networks(&addresses)?,
                secret,
                policy,
                realm,
                require: require.unwrap_or_default(),
                challenge: challenge.unwrap_or(true),
            };
            let (name, wanted) = (new.name.clone(), new.addresses.clone());
            let added = service.admin.add_radius_client(new, by).await;
            let refused =
                |error| taken(&app, &name, &wanted, &error).unwrap_or_else(|| exists(&name, error));
            (added.map_err(refused)?, None)
        }
        ClientCreate::Api {
            name,
            scopes: words,
            policy,
            realm,
        } => {
            let mut scopes = scopes(&words)?;
            if scopes.is_empty() {
                scopes.push(Scope::Verify);
            }
            let added = service
                .admin
                .add_api_client(name.clone(), scopes, policy, realm, by)
                .await;
            let (client, key) = added.map_err(|error| exists(&name, error))?;
            (client, Some(key))
        }
    };
    Ok(created(&app, StatusCode::CREATED, &client, key.as_ref()))
}

/// A conflict of the networks that a client shall have with those of another one.
fn taken(app: &App, name: &str, wanted: &[IpNet], error: &AdminError) -> Option<Failure> {
    matches!(error, AdminError::Conflict(_))
        .then(|| tell::address_taken(app, name, wanted))
        .flatten()
}

/// A client.
#[utoipa::path(
    get,
    path = "/v1/admin/clients/{name}",
    tag = "clients",
    params(("name" = String, Path, description = "The client's name")),
    responses(
        (status = 200, description = "The client", body = api::Client),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn show_client(
    State(app): State<Arc<App>>,
    NamePath(name): NamePath,
) -> Result<Response, Failure> {
    let client = app.service().admin.client(&name);
    let client = client.map_err(|error| tell::client(&name, error))?;
    let shown = forms::client(&client, app.service().core.now());
    Ok(answer::record(StatusCode::OK, &shown, client.revision))
}

/// Changes a client: what is absent stays, `null` clears.
#[utoipa::path(
    patch,
    path = "/v1/admin/clients/{name}",
    tag = "clients",
    params(
        ("name" = String, Path, description = "The client's name"),
        ("If-Match" = Option<String>, Header, description = "The ETag that was seen"),
    ),
    request_body = api::ClientChange,
    responses(
        (status = 200, description = "Changed", body = api::Client),
        (status = 412, description = "Changed meanwhile by somebody else", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn change_client(
    State(app): State<Arc<App>>,
    NamePath(name): NamePath,
    IfMatch(expected): IfMatch,
    Extension(by): Extension<By>,
    Json { value: change, .. }: Json<api::ClientChange>,
) -> Result<Response, Failure> {
    let scopes = change.scopes.as_deref().map(scopes).transpose()?;
    if scopes.as_ref().is_some_and(Vec::is_empty) {
        return Err(Failure::malformed(
            "scopes: a key needs at least one: verify, admin, operator, approver, auditor",
        ));
    }
    let wanted = change.require_message_authenticator.as_deref();
    let patch = ClientPatch {
        addresses: change.addresses.as_deref().map(networks).transpose()?,
        policy: change.policy,
        realm: change.realm,
        require: wanted.map(require).transpose()?,
        challenge: change.challenge,
        scopes,
    };
    let service = app.service();
    let wanted = patch.addresses.clone().unwrap_or_default();
    let changed = service.admin.set_client(&name, patch, expected, by).await;
    let present = async || {
        service
            .admin
            .client(&name)
            .ok()
            .map(|client| client.revision)
    };
    let tell = async |error| {
        taken(&app, &name, &wanted, &error).unwrap_or_else(|| tell::client(&name, error))
    };
    let client = conditional(changed, expected, present, tell).await?;
    let shown = forms::client(&client, service.core.now());
    Ok(answer::record(StatusCode::OK, &shown, client.revision))
}

/// Removes a client.
#[utoipa::path(
    delete,
    path = "/v1/admin/clients/{name}",
    tag = "clients",
    params(
        ("name" = String, Path, description = "The client's name"),
        ("If-Match" = Option<String>, Header, description = "The ETag that was seen"),
    ),
    responses(
        (status = 204, description = "Removed"),
        (status = 412, description = "Changed meanwhile by somebody else", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn remove_client(
    State(app): State<Arc<App>>,
    NamePath(name): NamePath,
    IfMatch(expected): IfMatch,
    Extension(by): Extension<By>,
) -> Result<StatusCode, Failure> {
    let service = app.service();
    let removed = service.admin.remove_client(&name, expected, by).await;
    let present = async || {
        service
            .admin
            .client(&name)
            .ok()
            .map(|client| client.revision)
    };
    let tell = async |error| tell::client(&name, error);
    conditional(removed, expected, present, tell).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a client a new secret or key; the old one stays valid beside it for a while.
#[utoipa::path(
    post,
    path = "/v1/admin/clients/{name}/rotate",
    tag = "clients",
    params(("name" = String, Path, description = "The client's name")),
    request_body = Option<api::Rotate>,
    responses(
        (status = 200, description = "Rotated", body = api::ClientCreated),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn rotate_client(
    State(app): State<Arc<App>>,
    NamePath(name): NamePath,
    Extension(by): Extension<By>,
    OptionalJson(rotate): OptionalJson<api::Rotate>,
) -> Result<Response, Failure> {
    let grace = rotate.grace_secs.map_or(GRACE, Duration::from_secs);
    if grace > GRACE_MAX {
        return Err(Failure::malformed("grace_secs: at most 90 days"));
    }
    let rotated = app
        .service()
        .admin
        .rotate_client(&name, rotate.secret, grace, by)
        .await;
    let (client, key) = rotated.map_err(|error| tell::client(&name, error))?;
    Ok(created(&app, StatusCode::OK, &client, key.as_ref()))
}

fn created(app: &App, status: StatusCode, client: &Client, key: Option<&SecretString>) -> Response {
    let secret = match &client.access {
        Access::Radius(radius) => std::str::from_utf8(radius.secret.expose()).ok(),
        Access::Api(_) => None,
    };
    let created = api::ClientCreated {
        client: forms::client(client, app.service().core.now()),
        secret: secret.map(str::to_owned),
        key: key.map(|key| key.expose().to_owned()),
    };
    answer::record(status, &created, client.revision)
}

fn networks(texts: &[String]) -> Result<Vec<IpNet>, Failure> {
    let network = |text: &String| {
        let network = units::network(text.trim());
        network.map_err(|why| Failure::malformed(format!("addresses: {why}")))
    };
    texts.iter().map(network).collect()
}

fn scopes(words: &[String]) -> Result<Vec<Scope>, Failure> {
    let mut scopes = Vec::new();
    for text in words {
        let scope = word("scopes", text, "verify, admin, operator, approver, auditor")?;
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    Ok(scopes)
}

fn require(text: &str) -> Result<Require, Failure> {
    word("require_message_authenticator", text, "true, false, auto")
}

/// How long an old secret works when the caller does not say: a day to change it at the NAS.
const GRACE: Duration = Duration::from_hours(24);
/// Longest time for two valid secrets: a forgotten one is a leak.
const GRACE_MAX: Duration = Duration::from_hours(24 * 90);
