//! `/v1/admin/clients`.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::admin::{AdminError, ClientPatch, NO_OWN_SECRET, NewRadiusClient};
use crate::api::forms;
use crate::api::{
    self, AddClient, ClientCreate, ListClients, RemoveClient, RotateClient, SetClient, ShowClient,
};
use crate::diagnostic::{shell, units};
use crate::model::client::{Access, Client, RadiusSettings, Require, Scope};
use crate::model::method::Allowed;
use crate::model::name_rule::NameRule;
use crate::model::profile as profiles;
use crate::secret::SecretString;
use crate::server::http::error::Failure;
use crate::server::http::read::{limit, page, word};
use crate::server::http::route::{Admin, Routes};
use crate::server::http::{App, tell};
use crate::time::UnixTime;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .on(list)
        .on(add)
        .on(show)
        .on(set)
        .on(remove)
        .on(rotate)
}

async fn list(app: Arc<App>, call: Admin<ListClients>) -> Result<api::Clients, Failure> {
    let limit = limit(call.query.limit)?;
    let now = app.core().now();
    let all = app.core().clients().all();
    let after = call.query.after;
    let rest = all
        .iter()
        .filter(|client| after.as_ref().is_none_or(|after| client.name > *after));
    let (found, next) = page(rest.take(limit + 1).collect(), limit, |client| {
        client.name.clone()
    });
    Ok(api::Clients {
        clients: found
            .iter()
            .map(|client| forms::client(client, now))
            .collect(),
        next,
        damaged: app.damaged(&["clients"]),
    })
}

async fn add(app: Arc<App>, call: Admin<AddClient>) -> Result<api::ClientCreated, Failure> {
    let admin = app.admin();
    let exists = |name: &str, error| {
        let taken = admin.client(name).is_ok();
        tell::client_exists(name, taken, error)
    };
    let (client, key) = match call.body {
        body @ ClientCreate::Radius { .. } => {
            let new = radius_client(body, call.from.at)?;
            let (name, wanted) = (new.name.clone(), new.addresses.clone());
            let added = admin.add_radius_client(new, call.from).await;
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
            let added = admin
                .add_api_client(name.clone(), scopes, policy, realm, call.from)
                .await;
            let (client, key) = added.map_err(|error| exists(&name, error))?;
            (client, Some(key))
        }
    };
    Ok(created(&app, &client, key.as_ref()))
}

/// A RADIUS client as its body and its profile say.
fn radius_client(body: ClientCreate, now: UnixTime) -> Result<NewRadiusClient, Failure> {
    let ClientCreate::Radius {
        name,
        addresses,
        secret,
        policy,
        realm,
        profile,
        require_message_authenticator,
        challenge,
        methods: words,
        disconnect_port,
        certificate,
        unsigned_replies_secs,
        limit_proxy_state,
        name_rules: rules,
        retry_window_secs,
    } = body
    else {
        return Err(Failure::INTERNAL);
    };

    let kind = profile.as_deref().unwrap_or("generic");
    let Some(kind) = profiles::profile(kind) else {
        let known: Vec<&str> = profiles::names().collect();
        let message = format!("profile: `{kind}` is none of {}", known.join(", "));
        return Err(Failure::malformed(message));
    };
    let require = require_message_authenticator.as_deref().map(require);
    let exempt = kind.refuses_signed && certificate.is_none();
    let unsigned = unsigned_replies_secs.map(Duration::from_secs);
    let unsigned = unsigned.or_else(|| exempt.then_some(EXEMPT));
    Ok(NewRadiusClient {
        name,
        addresses: networks(&addresses)?,
        secret,
        policy,
        realm,
        require: require.transpose()?.unwrap_or(kind.require),
        challenge: challenge.unwrap_or(kind.challenge),
        methods: methods(&words)?,
        settings: RadiusSettings {
            profile: kind.name.to_owned(),
            limit_proxy_state: limit_proxy_state.unwrap_or(true),
            names: name_rules(&rules)?,
            unsigned_until: unsigned.and_then(|time| end(now, time)),
            certificate,
            retry_window: retry_window_secs.map_or(kind.retry_window, Duration::from_secs),
            ..settings(disconnect_port)
        },
    })
}

fn methods(words: &[String]) -> Result<Allowed, Failure> {
    Allowed::parse(words).map_err(|unknown| Failure::malformed(format!("methods: {unknown}")))
}

/// A conflict of the networks that a client shall have with those of another one.
fn taken(app: &App, name: &str, wanted: &[IpNet], error: &AdminError) -> Option<Failure> {
    matches!(error, AdminError::Conflict(_))
        .then(|| tell::address_taken(app, name, wanted))
        .flatten()
}

async fn show(app: Arc<App>, call: Admin<ShowClient>) -> Result<api::Client, Failure> {
    let client = app.admin().client(&call.place)?;
    let mut shown = forms::client(&client, app.core().now());
    if matches!(client.access, Access::Radius(_)) {
        shown.counters = app.client_counters(&client.name);
    }
    if shown.previous_until.is_some() {
        let uses = app.core().clients().secrets_used(&client.name);
        let uses = uses.into_iter().map(|one| api::SecretUse {
            address: one.address.to_string(),
            secret: if one.previous { "previous" } else { "present" }.to_owned(),
            at: one.at.rfc3339(),
        });
        shown.secrets_used = uses.collect();
    }
    Ok(shown)
}

async fn set(app: Arc<App>, call: Admin<SetClient>) -> Result<api::Client, Failure> {
    let (name, change) = (call.place, call.body);
    let scopes = change.scopes.as_deref().map(scopes).transpose()?;
    let wanted = change.require_message_authenticator.as_deref();
    let patch = ClientPatch {
        addresses: change.addresses.as_deref().map(networks).transpose()?,
        policy: change.policy,
        realm: change.realm,
        require: wanted.map(require).transpose()?,
        challenge: change.challenge,
        methods: change.methods.as_deref().map(methods).transpose()?,
        disconnect_port: change.disconnect_port.map(port),
        certificate: change.certificate,
        limit_proxy_state: change.limit_proxy_state,
        retry_window: change.retry_window_secs.map(Duration::from_secs),
        names: change.name_rules.as_deref().map(name_rules).transpose()?,
        unsigned_until: change
            .unsigned_replies_secs
            .map(|secs| end(call.from.at, Duration::from_secs(secs))),
        scopes,
    };
    let wanted = patch.addresses.clone().unwrap_or_default();
    let changed = app
        .admin()
        .set_client(&name, patch, call.expected, call.from);
    let client = changed
        .await
        .map_err(|error| taken(&app, &name, &wanted, &error).unwrap_or_else(|| error.into()))?;
    Ok(forms::client(&client, app.core().now()))
}

async fn remove(app: Arc<App>, call: Admin<RemoveClient>) -> Result<(), Failure> {
    let removed = app
        .admin()
        .remove_client(&call.place, call.expected, call.from);
    Ok(removed.await?)
}

async fn rotate(app: Arc<App>, call: Admin<RotateClient>) -> Result<api::ClientCreated, Failure> {
    let grace = call.body.grace_secs.map_or(GRACE, Duration::from_secs);
    let rotated = app.admin().rotate_client(
        &call.place,
        call.body.secret,
        (grace, call.body.force),
        call.from,
    );
    let rotated = rotated.await.map_err(|error| match error {
        AdminError::Conflict(NO_OWN_SECRET) => Failure::from(error).advise(format!(
            "what proves it is its certificate: renew that at the NAS under the same name, or name another one here: \
             `oncegate client set {} --certificate NAME`",
            shell::word(&call.place)
        )),
        AdminError::Conflict(_) => Failure::from(error).advise(format!(
            "`oncegate client show {}` says until when, and which address used which last; `--force` ends it now",
            shell::word(&call.place)
        )),
        error => error.into(),
    });
    let (client, key) = rotated?;
    Ok(created(&app, &client, key.as_ref()))
}

fn created(app: &App, client: &Client, key: Option<&SecretString>) -> api::ClientCreated {
    let secret = match &client.access {
        // Over TLS the secret is a fixed word, and this one is never used.
        Access::Radius(radius) if radius.settings.certificate.is_some() => None,
        Access::Radius(radius) => std::str::from_utf8(radius.secret.expose()).ok(),
        Access::Api(_) => None,
    };
    api::ClientCreated {
        client: forms::client(client, app.core().now()),
        secret: secret.map(str::to_owned),
        key: key.map(|key| key.expose().to_owned()),
    }
}

fn settings(disconnect_port: Option<u16>) -> RadiusSettings {
    let default = RadiusSettings::default();
    RadiusSettings {
        disconnect_port: disconnect_port.map_or(default.disconnect_port, port),
        ..default
    }
}

fn name_rules(texts: &[String]) -> Result<Vec<NameRule>, Failure> {
    let rule = |text: &String| {
        let rule = text.parse();
        rule.map_err(|error| Failure::malformed(format!("name_rules: `{text}`: {error}")))
    };
    texts.iter().map(rule).collect()
}

/// The end of an exemption that lasts so long; none when it does not.
fn end(now: UnixTime, lasts: Duration) -> Option<UnixTime> {
    (!lasts.is_zero()).then(|| now.plus(lasts))
}

/// Port 0 stands for none.
fn port(number: u16) -> Option<u16> {
    (number > 0).then_some(number)
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
        let scope = word(
            "scopes",
            text,
            "verify, admin, operator, approver, auditor, scim",
        )?;
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    Ok(scopes)
}

fn require(text: &str) -> Result<Require, Failure> {
    word("require_message_authenticator", text, "true, false, auto")
}

/// How long replies to an appliance that drops signed ones leave unsigned, when no one says: time for an update.
const EXEMPT: Duration = Duration::from_hours(24 * 180);

/// How long an old secret works when the caller does not say: a day to change it at the NAS.
const GRACE: Duration = Duration::from_hours(24);
