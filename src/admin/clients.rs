//! Clients, their secrets and keys.

use crate::admin::Admin;
use crate::admin::{AdminError, invalid, missing};
use crate::core::CoreError;
use crate::core::clients::{Clients, key_hash};
use crate::model::client::{
    Access, ApiAccess, Client, RadiusAccess, RadiusSettings, Require, Scope, canonical_network,
    is_client_name,
};
use crate::model::method::Allowed;
use crate::model::name_rule;
use crate::model::name_rule::NameRule;
use crate::model::profile::{names, profile};
use crate::model::user_key::UserKey;
use crate::secret::{SecretBytes, SecretString, SharedSecret, random};
use crate::store::{By, Change, Store, StoreError};
use crate::time::UnixTime;
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A RADIUS client to be made.
#[derive(Clone, Debug)]
pub struct NewRadiusClient {
    /// Its name.
    pub name: String,
    /// Networks its packets come from.
    pub addresses: Vec<IpNet>,
    /// Its secret; generated when none.
    pub secret: Option<SecretString>,
    /// Policy of its users.
    pub policy: Option<String>,
    /// Whether it can carry challenges.
    pub challenge: bool,
    /// Realm of names without one; users of other realms are refused.
    pub realm: Option<String>,
    /// Whether requests must be signed.
    pub require: Require,
    /// The methods by which credentials may come.
    pub methods: Allowed,
    /// What is known of it beside.
    pub settings: RadiusSettings,
}

/// What can be changed about a client; `None` leaves the value, `Some(None)` clears it.
#[derive(Clone, Debug, Default)]
pub struct ClientPatch {
    /// Networks, all of them.
    pub addresses: Option<Vec<IpNet>>,
    /// Policy of its users.
    pub policy: Option<Option<String>>,
    /// Realm of names without one; users of other realms are refused.
    pub realm: Option<Option<String>>,
    /// Whether requests must be signed.
    pub require: Option<Require>,
    /// Whether it can carry challenges.
    pub challenge: Option<bool>,
    /// The methods by which credentials may come.
    pub methods: Option<Allowed>,
    /// Port of the NAS for Disconnect-Requests; none are sent when none.
    pub disconnect_port: Option<Option<u16>>,
    /// Whether an unsigned request with a Proxy-State is dropped.
    pub limit_proxy_state: Option<bool>,
    /// What is done with user names before they are read, all of it.
    pub names: Option<Vec<NameRule>>,
    /// Until when replies leave unsigned.
    pub unsigned_until: Option<Option<UnixTime>>,
    /// How long the answer to one human attempt is given again.
    pub retry_window: Option<Duration>,
    /// Name in the certificate of a client that has one.
    pub certificate: Option<String>,
    /// What an API key may do.
    pub scopes: Option<Vec<Scope>>,
}

impl ClientPatch {
    /// Whether it says something that only RADIUS clients have.
    const fn is_of_radius(&self) -> bool {
        self.addresses.is_some()
            || self.require.is_some()
            || self.challenge.is_some()
            || self.disconnect_port.is_some()
            || self.certificate.is_some()
            || self.unsigned_until.is_some()
            || self.retry_window.is_some()
            || self.names.is_some()
            || self.limit_proxy_state.is_some()
            || self.methods.is_some()
    }

    fn set_radius(self, radius: &mut RadiusAccess, now: UnixTime) -> Result<(), AdminError> {
        if self.scopes.is_some() {
            return invalid("scope", "only API clients have scopes");
        }
        if let Some(addresses) = self.addresses {
            let tls = radius.settings.certificate.is_some();
            radius.addresses = canonical_networks(&addresses, tls)?;
        }
        radius.message_authenticator = self.require.unwrap_or(radius.message_authenticator);
        radius.challenge = self.challenge.unwrap_or(radius.challenge);
        if let Some(methods) = self.methods {
            radius.methods = methods;
        }
        let settings = &mut radius.settings;
        settings.limit_proxy_state = self.limit_proxy_state.unwrap_or(settings.limit_proxy_state);
        if let Some(names) = self.names {
            check_names(&names)?;
            settings.names = names;
        }
        if let Some(until) = self.unsigned_until {
            check_unsigned(until, now)?;
            settings.unsigned_until = until;
        }
        if let Some(window) = self.retry_window {
            check_retry_window(window)?;
            settings.retry_window = window;
        }
        if let Some(name) = self.certificate {
            settings.certificate = Some(certificate_name(&name)?);
        }
        settings.disconnect_port = self.disconnect_port.unwrap_or(settings.disconnect_port);
        Ok(())
    }
}

impl Admin {
    /// Makes a RADIUS client. The answer holds the secret.
    pub async fn add_radius_client(
        &self,
        new: NewRadiusClient,
        by: By,
    ) -> Result<Client, AdminError> {
        self.check_client(&new.name, new.policy.as_deref())?;
        let mut settings = new.settings;
        settings.certificate = settings
            .certificate
            .as_deref()
            .map(certificate_name)
            .transpose()?;
        let addresses = canonical_networks(&new.addresses, settings.certificate.is_some())?;
        let most = secret_max(&settings.profile)?;
        let secret = match new.secret {
            Some(secret) => shared_secret(&secret, most)?,
            None => self.new_shared_secret(most)?,
        };
        check_unsigned(settings.unsigned_until, by.at)?;
        check_names(&settings.names)?;
        check_retry_window(settings.retry_window)?;
        let client = Client {
            name: new.name,
            policy: new.policy,
            realm: canonical_realm(new.realm)?,
            access: Access::Radius(RadiusAccess {
                addresses,
                secret,
                previous: None,
                message_authenticator: new.require,
                challenge: new.challenge,
                methods: new.methods,
                settings,
            }),
            created: by.at,
            revision: self.core.first_revision().map_err(CoreError::from)?,
        };
        self.change_clients(Change::CreateClient(client.clone()), by)
            .await?;
        Ok(client)
    }

    /// Makes an API client and its key: the only time the key is shown.
    pub async fn add_api_client(
        &self,
        name: String,
        scopes: Vec<Scope>,
        policy: Option<String>,
        realm: Option<String>,
        by: By,
    ) -> Result<(Client, SecretString), AdminError> {
        self.check_client(&name, policy.as_deref())?;
        if scopes.is_empty() {
            return invalid(
                "scope",
                "a key needs at least one scope: verify, admin, operator, approver, auditor",
            );
        }
        let key = self.new_api_key()?;
        let client = Client {
            name,
            policy,
            realm: canonical_realm(realm)?,
            access: Access::Api(ApiAccess {
                key_hash: key_hash(&key),
                previous: None,
                scopes,
            }),
            created: by.at,
            revision: self.core.first_revision().map_err(CoreError::from)?,
        };
        self.change_clients(Change::CreateClient(client.clone()), by)
            .await?;
        Ok((client, key))
    }

    /// Changes a client. `expected` is the revision the caller saw; none takes the present one.
    pub async fn set_client(
        &self,
        name: &str,
        mut patch: ClientPatch,
        expected: Option<u64>,
        by: By,
    ) -> Result<Client, AdminError> {
        let mut client = self.client(name)?;
        client.revision = expected.unwrap_or(client.revision);
        if let Some(policy) = patch.policy.take() {
            self.check_client(name, policy.as_deref())?;
            client.policy = policy;
        }
        if let Some(realm) = patch.realm.take() {
            client.realm = canonical_realm(realm)?;
        }
        match &mut client.access {
            Access::Radius(radius) => {
                patch.set_radius(radius, by.at)?;
            }
            Access::Api(api) => {
                if patch.is_of_radius() {
                    return invalid(
                        "client",
                        "only RADIUS clients have addresses, signatures and methods",
                    );
                }
                if patch.scopes.as_ref().is_some_and(Vec::is_empty) {
                    return invalid(
                        "scopes",
                        "a key needs at least one: verify, admin, operator, approver, auditor",
                    );
                }
                api.scopes = patch.scopes.unwrap_or_else(|| api.scopes.clone());
            }
        }
        self.change_clients(Change::UpdateClient(client.clone()), by)
            .await?;
        client.revision += 1;
        Ok(client)
    }

    /// Gives a client a new secret or key; the old one stays valid beside it for `grace`. The
    /// answer holds the new key of an API client. A client with a certificate has no secret of its own.
    pub async fn rotate_client(
        &self,
        name: &str,
        secret: Option<SecretString>,
        (grace, force): (Duration, bool),
        by: By,
    ) -> Result<(Client, Option<SecretString>), AdminError> {
        if grace > GRACE_MAX {
            return invalid("grace_secs", "at most 90 days");
        }
        let mut client = self.client(name)?;
        if let Access::Radius(radius) = &client.access
            && radius.settings.certificate.is_some()
        {
            return Err(AdminError::Conflict(NO_OWN_SECRET));
        }
        let until = by.at.plus(grace);
        let before = match &client.access {
            Access::Radius(radius) => radius.previous.as_ref().map(|(_, until)| *until),
            Access::Api(api) => api.previous.map(|(_, until)| until),
        };
        if !force && before.is_some_and(|until| by.at < until) {
            return Err(AdminError::Conflict(
                "the secret or key before the last rotation is still valid, and would end at once: who has not \
                 taken the new one yet is locked out",
            ));
        }
        let mut fresh_key = None;
        match &mut client.access {
            Access::Radius(radius) => {
                let most = secret_max(&radius.settings.profile)?;
                let fresh = match secret {
                    Some(secret) => shared_secret(&secret, most)?,
                    None => self.new_shared_secret(most)?,
                };
                let old = std::mem::replace(&mut radius.secret, fresh);
                radius.previous = (!grace.is_zero()).then_some((old, until));
            }
            Access::Api(api) => {
                if secret.is_some() {
                    return invalid("secret", "API keys are always generated");
                }
                let key = self.new_api_key()?;
                let old = std::mem::replace(&mut api.key_hash, key_hash(&key));
                api.previous = (!grace.is_zero()).then_some((old, until));
                fresh_key = Some(key);
            }
        }
        self.change_clients(Change::UpdateClient(client.clone()), by)
            .await?;
        client.revision += 1;
        Ok((client, fresh_key))
    }

    /// Removes a client. `expected` as for [`Admin::set_client`].
    pub async fn remove_client(
        &self,
        name: &str,
        expected: Option<u64>,
        by: By,
    ) -> Result<(), AdminError> {
        let change = Change::RemoveClient(name.to_owned(), expected);
        self.change_clients(change, by).await
    }

    /// Stores that an address of a client with `require = auto` signs its requests: from now on it
    /// must. Nothing to do when that is known.
    pub async fn learn(&self, client: &str, address: IpAddr) -> Result<(), AdminError> {
        if self.core.clients.has_lesson(client, address) {
            return Ok(());
        }
        let by = By::daemon(self.core.arrival()?);
        let change = Change::Learn {
            client: client.to_owned(),
            address,
        };
        match self.core.store.change(change, by).await {
            Ok(()) | Err(StoreError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
        self.core.clients.learned(client, address);
        Ok(())
    }

    /// A client by its name.
    pub fn client(&self, name: &str) -> Result<Client, AdminError> {
        self.core.client(name).ok_or(AdminError::NotFound("client"))
    }

    /// Changes the record and then what is in force, in a task of its own: an administrator who
    /// hangs up in between must not leave a removed client in force.
    async fn change_clients(&self, change: Change, by: By) -> Result<(), AdminError> {
        let (store, clients) = (Arc::clone(&self.core.store), Arc::clone(&self.core.clients));
        let task = tokio::spawn(async move {
            let done = store.change(change, by).await;
            let reloaded = clients.reload(store.as_ref()).await;
            if matches!(done, Err(StoreError::Unavailable(_))) {
                tokio::spawn(reload_when_known(store, clients));
            }
            done.and(reloaded)
        });
        let done = task
            .await
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        done.map_err(|error| missing(error, "client"))
    }

    fn check_client(&self, name: &str, policy: Option<&str>) -> Result<(), AdminError> {
        if !is_client_name(name) {
            return invalid(
                "name",
                "a client's name has 1 to 64 letters, digits, dots, dashes, underscores, and is not `local`",
            );
        }
        if self.core.policies.load().resolve(policy).is_none() {
            let policy = policy.unwrap_or_default();
            return invalid("policy", self.unknown_policy(policy));
        }
        Ok(())
    }

    /// 32 characters of base 32, or as many as the NAS takes: 160 random bits, printable, no quoting anywhere.
    fn new_shared_secret(&self, most: usize) -> Result<SharedSecret, AdminError> {
        let text = self.printable::<20>()?;
        let octets = text.expose().as_bytes();
        let octets = octets.get(..most).unwrap_or(octets);
        let secret = SharedSecret::new(SecretBytes::from(octets));
        Ok(secret.expect("31 or 32 characters are a valid secret"))
    }

    /// `og_` and 52 characters of base 32: 256 random bits.
    fn new_api_key(&self) -> Result<SecretString, AdminError> {
        let text = self.printable::<32>()?;
        Ok(SecretString::new(format!("og_{}", text.expose())))
    }

    fn printable<const N: usize>(&self) -> Result<SecretString, AdminError> {
        let bytes: [u8; N] = random(self.core.entropy.as_ref()).map_err(CoreError::from)?;
        Ok(SecretString::new(base32_lower(&bytes)))
    }
}

/// Longest secret of a NAS of this kind.
fn secret_max(name: &str) -> Result<usize, AdminError> {
    match profile(name) {
        Some(profile) => Ok(profile.secret_max.unwrap_or(SharedSecret::MAX)),
        None => {
            let known: Vec<&str> = names().collect();
            invalid(
                "profile",
                format!("`{name}` is none of {}", known.join(", ")),
            )
        }
    }
}

/// A code must not stay good for long.
fn check_retry_window(window: Duration) -> Result<(), AdminError> {
    if window > RadiusSettings::RETRY_MAX {
        return invalid("retry_window", "at most 30 s; 0 for none");
    }
    Ok(())
}

fn check_names(rules: &[NameRule]) -> Result<(), AdminError> {
    if rules.len() > NAME_RULES {
        return invalid("name_rules", format!("at most {NAME_RULES}"));
    }
    Ok(())
}

/// An exemption has an end, and is renewed by one who knows of it.
fn check_unsigned(until: Option<UnixTime>, now: UnixTime) -> Result<(), AdminError> {
    if until.is_some_and(|until| until > now.plus(UNSIGNED_MAX)) {
        return invalid("unsigned_replies_secs", "at most 366 days");
    }
    Ok(())
}

fn shared_secret(text: &SecretString, most: usize) -> Result<SharedSecret, AdminError> {
    if text.expose().len() > most && most < SharedSecret::MAX {
        return invalid(
            "secret",
            format!("an appliance of this profile takes at most {most} characters"),
        );
    }
    if text.expose().len() < SECRET_MIN {
        return invalid(
            "secret",
            format!(
                "a shared secret has at least {SECRET_MIN} characters; leave it out to get a good one generated"
            ),
        );
    }
    SharedSecret::new(SecretBytes::from(text.expose().as_bytes())).map_or_else(
        || invalid("secret", "a shared secret has at most 128 octets"),
        Ok,
    )
}

/// The networks as packets are looked up: without host bits, and inside `::ffff:0:0/96` in their
/// IPv4 form. One network has one spelling, so that the store can refuse a second owner.
fn canonical_networks(networks: &[IpNet], tls: bool) -> Result<Vec<IpNet>, AdminError> {
    if networks.is_empty() && !tls {
        return invalid(
            "address",
            "a RADIUS client needs the network its packets come from",
        );
    }
    let mut canonical = Vec::with_capacity(networks.len());
    for network in networks {
        let one = canonical_network(*network).trunc();
        if canonical.contains(&one) {
            return invalid("address", format!("the network {one} is given twice"));
        }
        canonical.push(one);
    }
    Ok(canonical)
}

/// A name as certificates have it: of a host, without wildcards.
fn certificate_name(name: &str) -> Result<String, AdminError> {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b".-_".contains(&octet);
    if name.is_empty() || name.len() > 253 || !name.bytes().all(plain) {
        return invalid(
            "certificate",
            "a name as in the certificate's SubjectAltName: letters, digits, dots, dashes; no wildcard",
        );
    }
    Ok(name.to_ascii_lowercase())
}

fn canonical_realm(realm: Option<String>) -> Result<Option<String>, AdminError> {
    let Some(realm) = realm else { return Ok(None) };
    match UserKey::with_realm("x", &realm) {
        Ok(key) => Ok(Some(key.realm().to_owned())),
        Err(error) => invalid("realm", error.to_string()),
    }
}

/// A change in doubt becomes known when the store has opened its log again.
async fn reload_when_known(store: Arc<Store>, clients: Arc<Clients>) {
    loop {
        tokio::time::sleep(IN_DOUBT).await;
        if store.health().fault.is_none() && clients.reload(store.as_ref()).await.is_ok() {
            return;
        }
    }
}

fn base32_lower(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in bytes {
        bits = (bits << 8) | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            text.push(char::from(ALPHABET[(bits >> held) as usize & 31]));
        }
    }
    if held > 0 {
        text.push(char::from(ALPHABET[(bits << (5 - held)) as usize & 31]));
    }
    text
}

/// Why a client with a certificate has nothing to rotate.
pub(crate) const NO_OWN_SECRET: &str = "the client comes over TLS, where the shared secret is always the word \
     `radsec`: there is none of its own";

/// Shortest shared secret that is accepted; `doctor` names weak ones ([`SharedSecret::weakness`]).
const SECRET_MIN: usize = 6;

/// Pause between looks at a store that failed.
const IN_DOUBT: Duration = Duration::from_secs(1);

/// Most rules for the user names of a client.
const NAME_RULES: usize = name_rule::MOST;

/// Longest that replies may leave unsigned before it is asked for again.
const UNSIGNED_MAX: Duration = Duration::from_hours(24 * 366);

/// Longest that an old secret or key stays valid beside the new one.
const GRACE_MAX: Duration = Duration::from_hours(24 * 90);
