//! Clients, and what is known of their addresses.

use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::client::{
    Access, ApiAccess, Client, RadiusAccess, RadiusSettings, Require, Scope,
};
use crate::model::method::Allowed;
use crate::secret::{Entropy, SharedSecret};
use crate::store::StoreError;
use crate::store::record::{BAD_FORM, Table, row, take};
use crate::store::seal::ring::number_of;
use crate::store::seal::{Place, Sealer};
use crate::time::UnixTime;

#[derive(Serialize, Deserialize)]
struct ClientV1 {
    name: String,
    policy: Option<String>,
    realm: Option<String>,
    access: AccessV1,
    created: u64,
    revision: u64,
}

/// Version 2.
#[derive(Serialize, Deserialize)]
struct ClientV2 {
    client: ClientV1,
    methods: Vec<String>,
    radius: Option<RadiusV2>,
}

/// Version 3.
#[derive(Serialize, Deserialize)]
struct ClientV3 {
    client: ClientV2,
    /// Seconds of the retry window.
    retry_window: u64,
}

#[derive(Serialize, Deserialize)]
enum AccessV1 {
    Radius {
        addresses: Vec<String>,
        secret: Vec<u8>,
        previous: Option<(Vec<u8>, u64)>,
        profile: String,
        require: u8,
        challenge: bool,
    },
    /// A sealed [`ApiV1`]: anyone who can write the file must not be able to plant a key.
    Api { sealed: Vec<u8> },
}

#[derive(Serialize, Deserialize)]
struct RadiusV2 {
    limit_proxy_state: bool,
    names: Vec<String>,
    unsigned_until: Option<u64>,
    disconnect_port: Option<u16>,
    certificate: Option<String>,
}

impl RadiusV2 {
    fn of(settings: &RadiusSettings) -> Self {
        Self {
            limit_proxy_state: settings.limit_proxy_state,
            names: settings.names.iter().map(ToString::to_string).collect(),
            unsigned_until: settings.unsigned_until.map(UnixTime::as_millis),
            disconnect_port: settings.disconnect_port,
            certificate: settings.certificate.clone(),
        }
    }

    fn settings(self, profile: String) -> Result<RadiusSettings, StoreError> {
        let names: Result<_, _> = self.names.iter().map(|rule| rule.parse()).collect();
        Ok(RadiusSettings {
            profile,
            limit_proxy_state: self.limit_proxy_state,
            names: names.map_err(|_| BAD_FORM)?,
            unsigned_until: self.unsigned_until.map(UnixTime::from_millis),
            disconnect_port: self.disconnect_port,
            certificate: self.certificate,
            retry_window: Duration::ZERO,
        })
    }
}

fn settings(
    more: Option<RadiusV2>,
    profile: &str,
    retry_window: u64,
) -> Result<RadiusSettings, StoreError> {
    let profile = profile.to_owned();
    let settings = match more {
        Some(more) => more.settings(profile)?,
        None => RadiusSettings {
            profile,
            ..RadiusSettings::default()
        },
    };
    Ok(RadiusSettings {
        retry_window: Duration::from_secs(retry_window),
        ..settings
    })
}

/// Reads a row of any version. A client of version 1 has the defaults; one before version 3 has no retry
/// window.
fn form(bytes: &[u8]) -> Result<ClientV3, StoreError> {
    let client = match bytes.first() {
        Some(1) => ClientV2 {
            client: take(1, bytes)?,
            methods: Vec::new(),
            radius: None,
        },
        Some(2) => take(2, bytes)?,
        _ => return take(3, bytes),
    };
    Ok(ClientV3 {
        client,
        retry_window: 0,
    })
}

#[derive(Serialize, Deserialize)]
struct ApiV1 {
    key_hash: [u8; 32],
    previous: Option<([u8; 32], u64)>,
    scopes: Vec<String>,
}

/// A client's row; shared secrets are sealed for it.
pub(crate) fn client_row(
    client: &Client,
    sealer: &Sealer,
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, StoreError> {
    let seal = |field, secret: &SharedSecret| {
        sealer.seal(client_place(&client.name, field), secret.expose(), entropy)
    };
    let access = match &client.access {
        Access::Radius(radius) => AccessV1::Radius {
            addresses: radius.addresses.iter().map(ToString::to_string).collect(),
            secret: seal("secret", &radius.secret)?,
            previous: match &radius.previous {
                None => None,
                Some((secret, until)) => Some((seal("previous", secret)?, until.as_millis())),
            },
            profile: radius.settings.profile.clone(),
            require: match radius.message_authenticator {
                Require::True => 0,
                Require::False => 1,
                Require::Auto => 2,
            },
            challenge: radius.challenge,
        },
        Access::Api(api) => {
            let form = ApiV1 {
                key_hash: api.key_hash,
                previous: api.previous.map(|(hash, until)| (hash, until.as_millis())),
                scopes: api.scopes.iter().map(ToString::to_string).collect(),
            };
            let place = client_place(&client.name, "api");
            AccessV1::Api {
                sealed: sealer.seal(place, &row(1, &form)?, entropy)?,
            }
        }
    };
    let methods = match &client.access {
        Access::Radius(radius) => radius.methods.words().to_vec(),
        Access::Api(_) => Vec::new(),
    };
    let first = ClientV1 {
        name: client.name.clone(),
        policy: client.policy.clone(),
        realm: client.realm.clone(),
        access,
        created: client.created.as_millis(),
        revision: client.revision,
    };
    let radius = match &client.access {
        Access::Radius(radius) => Some(RadiusV2::of(&radius.settings)),
        Access::Api(_) => None,
    };
    let retry_window = match &client.access {
        Access::Radius(radius) => radius.settings.retry_window.as_secs(),
        Access::Api(_) => 0,
    };
    let form = ClientV3 {
        client: ClientV2 {
            client: first,
            methods,
            radius,
        },
        retry_window,
    };
    row(3, &form)
}

/// Reads a client's row and opens its secrets.
pub(crate) fn client(bytes: &[u8], sealer: &Sealer) -> Result<Client, StoreError> {
    let ClientV3 {
        client: second,
        retry_window,
    } = form(bytes)?;
    let (form, methods) = (second.client, second.methods);
    let open = |field, sealed: &[u8]| -> Result<SharedSecret, StoreError> {
        let secret = sealer.open(client_place(&form.name, field), sealed)?;
        SharedSecret::new(secret).ok_or(BAD_FORM)
    };
    let access = match &form.access {
        AccessV1::Radius {
            addresses,
            secret,
            previous,
            profile,
            require,
            challenge,
        } => {
            let addresses: Result<Vec<IpNet>, _> =
                addresses.iter().map(|address| address.parse()).collect();
            Access::Radius(RadiusAccess {
                addresses: addresses.map_err(|_| BAD_FORM)?,
                secret: open("secret", secret)?,
                previous: match previous {
                    None => None,
                    Some((sealed, until)) => {
                        Some((open("previous", sealed)?, UnixTime::from_millis(*until)))
                    }
                },
                message_authenticator: match require {
                    0 => Require::True,
                    1 => Require::False,
                    2 => Require::Auto,
                    _ => return Err(BAD_FORM),
                },
                challenge: *challenge,
                methods: Allowed::parse(&methods).map_err(|_| BAD_FORM)?,
                settings: settings(second.radius, profile, retry_window)?,
            })
        }
        AccessV1::Api { sealed } => {
            let opened = sealer.open(client_place(&form.name, "api"), sealed)?;
            let api: ApiV1 = take(1, opened.expose())?;
            let scopes: Result<Vec<Scope>, ()> =
                api.scopes.iter().map(|word| word.parse()).collect();
            Access::Api(ApiAccess {
                key_hash: api.key_hash,
                previous: api
                    .previous
                    .map(|(hash, until)| (hash, UnixTime::from_millis(until))),
                scopes: scopes.map_err(|()| BAD_FORM)?,
            })
        }
    };
    Ok(Client {
        name: form.name,
        policy: form.policy,
        realm: form.realm,
        access,
        created: UnixTime::from_millis(form.created),
        revision: form.revision,
    })
}

/// The lowest number of a data key that seals one of its secrets.
pub(crate) fn client_sealed_by(bytes: &[u8]) -> Result<u8, StoreError> {
    Ok(match form(bytes)?.client.client.access {
        AccessV1::Radius {
            secret, previous, ..
        } => {
            let previous = previous.map(|(sealed, _)| number_of(&sealed));
            number_of(&secret).min(previous.unwrap_or(u8::MAX))
        }
        AccessV1::Api { sealed } => number_of(&sealed),
    })
}

/// The row with its secrets sealed by the newest data key; `None`: they are already.
pub(crate) fn client_resealed(
    bytes: &[u8],
    sealer: &Sealer,
    entropy: &dyn Entropy,
) -> Result<Option<Vec<u8>>, StoreError> {
    let mut form = form(bytes)?;
    let ClientV1 { name, access, .. } = &mut form.client.client;
    let mut changed = false;
    let mut again = |field, sealed: &mut Vec<u8>| -> Result<(), StoreError> {
        if let Some(other) = sealer.reseal(client_place(name, field), sealed, entropy)? {
            *sealed = other;
            changed = true;
        }
        Ok(())
    };
    match access {
        AccessV1::Radius {
            secret, previous, ..
        } => {
            again("secret", secret)?;
            if let Some((sealed, _)) = previous {
                again("previous", sealed)?;
            }
        }
        AccessV1::Api { sealed } => again("api", sealed)?,
    }
    changed.then(|| row(3, &form)).transpose()
}

/// What a conditional change compares: revision, and what no two clients have in common, without opening the
/// secret.
pub(crate) fn client_condition(bytes: &[u8]) -> Result<(u64, Vec<String>), StoreError> {
    let ClientV2 {
        client: form,
        radius: more,
        ..
    } = form(bytes)?.client;
    let certificate = more.and_then(|more| more.certificate);
    let own = match (form.access, certificate) {
        (AccessV1::Radius { .. }, Some(name)) => vec![certificate_mark(&name)],
        (AccessV1::Radius { addresses, .. }, None) => addresses,
        (AccessV1::Api { .. }, _) => Vec::new(),
    };
    Ok((form.revision, own))
}

/// What no two RADIUS clients have in common: the networks, or the name in a certificate, by which they are
/// known.
pub(crate) fn client_marks(radius: &RadiusAccess) -> Vec<String> {
    match &radius.settings.certificate {
        Some(name) => vec![certificate_mark(name)],
        None => radius.addresses.iter().map(ToString::to_string).collect(),
    }
}

fn certificate_mark(name: &str) -> String {
    format!("certificate {name}")
}

fn client_place<'a>(name: &'a str, field: &'a str) -> Place<'a> {
    Place {
        table: Table::Clients.as_str(),
        row: name.as_bytes(),
        field,
        version: 1,
    }
}
