//! What administrators do: users, tokens, clients. Every change is conditional and audited.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::model::attempt::Attempt;
use crate::model::attempt::Comparison;
use crate::model::attempt::DriftRule;
use crate::model::attempt::Finding;
use crate::model::audit::Channel;
use crate::model::audit::Purpose;
use crate::model::client::Access;
use crate::model::client::ApiAccess;
use crate::model::client::Client;
use crate::model::client::RadiusAccess;
use crate::model::client::Require;
use crate::model::client::Scope;
use crate::model::client::is_client_name;
use crate::model::id::Serial;
use crate::model::kind::Kind;
use crate::model::reason::Decision;
use crate::model::reason::Reason;
use crate::model::token::LifeCycle;
use crate::model::token::Moving;
use crate::model::token::Token;
use crate::model::token::TokenState;
use crate::model::user::User;
use crate::model::user_key::UserKey;
use crate::otp::Algorithm;
use crate::otp::Code;
use crate::otp::Digits;
use crate::otp::Matches;
use crate::otp::Period;
use crate::otp::hotp;
use crate::otp::throttle::Lockout;
use crate::otp::totp;
use crate::otp::totp::TimeStep;
use crate::policy::OtpWindows;
use crate::secret::OtpKey;
use crate::secret::SecretBytes;
use crate::secret::SecretString;
use crate::secret::SharedSecret;
use crate::secret::random;
use crate::service::Service;
use crate::service::ServiceError;
use crate::service::clients::key_hash;
use crate::service::decide;
use crate::store::By;
use crate::store::Change;
use crate::store::Outcome;
use crate::store::StoreError;
use crate::time::UnixTime;

/// Why an administrator's request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// A value is not acceptable.
    #[error("{field}: {message}")]
    Invalid {
        /// Which value.
        field: &'static str,
        /// What is wrong and what is right.
        message: String,
    },
    /// There is no such record.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// It exists already, is in another state, or was changed meanwhile.
    #[error("{0}")]
    Conflict(&'static str),
    /// The code was not right; the reason is for the administrator.
    #[error("the code was refused: {}", .0.advice())]
    Refused(Reason),
    /// Nobody could decide.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(why) => Self::Conflict(why),
            StoreError::NotFound => Self::NotFound("record"),
            other => Self::Service(other.into()),
        }
    }
}

/// What can be said about a user; in a change, `None` leaves the value and `Some(None)` clears it.
#[derive(Clone, Debug, Default)]
pub struct UserPatch {
    /// Groups, all of them.
    pub groups: Option<Vec<String>>,
    /// Telephone number.
    pub phone: Option<Option<String>>,
    /// Mail address.
    pub email: Option<Option<String>>,
    /// Birth date `YYYY-MM-DD`.
    pub birth_date: Option<Option<String>>,
    /// Class for policy rules.
    pub class: Option<Option<String>>,
    /// Whether the user is always rejected.
    pub disabled: Option<bool>,
}

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Whose.
    pub user: UserKey,
    /// `totp` or `hotp`.
    pub kind: Kind,
    /// Hash function.
    pub algorithm: Algorithm,
    /// Length of its codes.
    pub digits: Digits,
    /// Seconds per code.
    pub period: Period,
    /// Its key; generated when none.
    pub key: Option<SecretBytes>,
    /// First counter (HOTP).
    pub counter: u64,
    /// Active at once, without a first right code.
    pub active: bool,
    /// Its name; generated when none.
    pub serial: Option<Serial>,
}

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
    /// Only users of this realm.
    pub realm: Option<String>,
    /// Whether requests must be signed.
    pub require: Require,
}

/// What can be changed about a client; `None` leaves the value, `Some(None)` clears it.
#[derive(Clone, Debug, Default)]
pub struct ClientPatch {
    /// Networks, all of them.
    pub addresses: Option<Vec<IpNet>>,
    /// Policy of its users.
    pub policy: Option<Option<String>>,
    /// Only users of this realm.
    pub realm: Option<Option<String>>,
    /// Whether requests must be signed.
    pub require: Option<Require>,
    /// What an API key may do.
    pub scopes: Option<Vec<Scope>>,
}

impl Service {
    /// Makes a user.
    pub async fn add_user(
        &self,
        key: UserKey,
        patch: UserPatch,
        by: By,
    ) -> Result<User, AdminError> {
        let created = by.at;
        let mut user = User {
            key,
            groups: Vec::new(),
            phone: None,
            email: None,
            birth_date: None,
            class: None,
            disabled: false,
            created,
            revision: 1,
        };
        patch.apply(&mut user)?;
        self.store.change(Change::CreateUser(user.clone()), by).await?;
        Ok(user)
    }

    /// Changes a user. `expected` is the revision the caller saw; none takes the present one.
    pub async fn set_user(
        &self,
        key: &UserKey,
        patch: UserPatch,
        expected: Option<u64>,
        by: By,
    ) -> Result<User, AdminError> {
        let mut user = self.user(key).await?;
        user.revision = expected.unwrap_or(user.revision);
        patch.apply(&mut user)?;
        self.store.change(Change::UpdateUser(user.clone()), by).await?;
        user.revision += 1;
        Ok(user)
    }

    /// Removes a user with all its tokens.
    pub async fn remove_user(&self, key: &UserKey, by: By) -> Result<(), AdminError> {
        let change = Change::RemoveUser(key.clone());
        self.store.change(change, by).await.map_err(|error| missing(error, "user"))
    }

    /// Forgets the failures and locks of a user and its tokens.
    pub async fn unlock_user(&self, key: &UserKey, by: By) -> Result<(), AdminError> {
        let change = Change::Unlock(key.clone());
        self.store.change(change, by).await.map_err(|error| missing(error, "user"))
    }

    /// Makes a token. The answer holds the key: the only time it is shown.
    pub async fn add_token(&self, new: NewToken, by: By) -> Result<Token, AdminError> {
        if !matches!(new.kind, Kind::Totp | Kind::Hotp) {
            return invalid("kind", "this version makes `totp` and `hotp` tokens");
        }
        let key = match new.key {
            Some(key) => key,
            None => SecretBytes::new(
                random::<{ OtpKey::GENERATED }>(self.entropy.as_ref())
                    .map_err(ServiceError::from)?
                    .to_vec(),
            ),
        };
        let Some(key) = OtpKey::new(key) else {
            return invalid(
                "secret",
                "a key has 10 to 128 octets (80 to 1024 bits); 20 octets are usual",
            );
        };
        let serial = match new.serial {
            Some(serial) => serial,
            None => {
                let random = random(self.entropy.as_ref()).map_err(ServiceError::from)?;
                Serial::new(new.kind.as_str(), random)
            }
        };
        let token = Token {
            serial,
            user: new.user,
            kind: new.kind,
            state: if new.active { LifeCycle::Active } else { LifeCycle::Pending },
            algorithm: new.algorithm,
            digits: new.digits,
            period: new.period,
            key,
            created: by.at,
            revision: 1,
        };
        let moving = Moving { last: new.counter.checked_sub(1), ..Moving::default() };
        let state = TokenState { moving, ..TokenState::default() };
        let change = Change::CreateToken(token.clone(), state);
        self.store.change(change, by).await.map_err(|error| missing(error, "user"))?;
        Ok(token)
    }

    /// Moves a token through its life.
    pub async fn set_token_state(
        &self,
        serial: &Serial,
        state: LifeCycle,
        by: By,
    ) -> Result<Token, AdminError> {
        let (mut token, _) = self.token(serial).await?;
        let change =
            Change::SetTokenState { serial: serial.clone(), state, expected: token.revision };
        self.store.change(change, by).await?;
        token.state = state;
        token.revision += 1;
        Ok(token)
    }

    /// Removes a token.
    pub async fn remove_token(&self, serial: &Serial, by: By) -> Result<(), AdminError> {
        let change = Change::RemoveToken(serial.clone());
        self.store.change(change, by).await.map_err(|error| missing(error, "token"))
    }

    /// Proves a pending token by its first right code, which is thereby used up.
    pub async fn confirm_token(
        &self,
        serial: &Serial,
        code: &Code,
        by: By,
    ) -> Result<Token, AdminError> {
        let (mut token, _) = self
            .present(serial, Purpose::Confirm, by, |token, state, at| {
                if token.state != LifeCycle::Pending {
                    return Err(AdminError::Conflict("the token is not pending"));
                }
                let windows = OtpWindows::default();
                Ok(decide::compare_token(token, state, &windows, code, at))
            })
            .await?;
        token.state = LifeCycle::Active;
        token.revision += 1;
        Ok(token)
    }

    /// Finds a token's counter or clock again by two consecutive codes, which are thereby used up.
    pub async fn resync_token(
        &self,
        serial: &Serial,
        first: &Code,
        second: &Code,
        by: By,
    ) -> Result<(Token, TokenState), AdminError> {
        self.present(serial, Purpose::Resync, by, |token, state, at| {
            if token.state != LifeCycle::Active {
                return Err(AdminError::Conflict("the token is not active"));
            }
            Ok(resync(token, state, first, second, at))
        })
        .await
    }

    /// Makes a RADIUS client. The answer holds the secret.
    pub async fn add_radius_client(
        &self,
        new: NewRadiusClient,
        by: By,
    ) -> Result<Client, AdminError> {
        self.check_client(&new.name, new.policy.as_deref())?;
        self.check_addresses(&new.name, &new.addresses)?;
        let secret = match new.secret {
            Some(secret) => shared_secret(&secret)?,
            None => self.new_shared_secret()?,
        };
        let client = Client {
            name: new.name,
            policy: new.policy,
            realm: canonical_realm(new.realm)?,
            access: Access::Radius(RadiusAccess {
                addresses: new.addresses,
                secret,
                previous: None,
                profile: "generic".to_owned(),
                message_authenticator: new.require,
            }),
            created: by.at,
            revision: 1,
        };
        self.change_clients(Change::CreateClient(client.clone()), by).await?;
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
            return invalid("scope", "a key needs at least one scope: verify, admin");
        }
        let key = self.new_api_key()?;
        let client = Client {
            name,
            policy,
            realm: canonical_realm(realm)?,
            access: Access::Api(ApiAccess { key_hash: key_hash(&key), previous: None, scopes }),
            created: by.at,
            revision: 1,
        };
        self.change_clients(Change::CreateClient(client.clone()), by).await?;
        Ok((client, key))
    }

    /// Changes a client. `expected` is the revision the caller saw; none takes the present one.
    pub async fn set_client(
        &self,
        name: &str,
        patch: ClientPatch,
        expected: Option<u64>,
        by: By,
    ) -> Result<Client, AdminError> {
        let mut client = self.client(name)?;
        client.revision = expected.unwrap_or(client.revision);
        if let Some(policy) = patch.policy {
            self.check_client(name, policy.as_deref())?;
            client.policy = policy;
        }
        if let Some(realm) = patch.realm {
            client.realm = canonical_realm(realm)?;
        }
        match &mut client.access {
            Access::Radius(radius) => {
                if patch.scopes.is_some() {
                    return invalid("scope", "only API clients have scopes");
                }
                if let Some(addresses) = patch.addresses {
                    self.check_addresses(name, &addresses)?;
                    radius.addresses = addresses;
                }
                radius.message_authenticator =
                    patch.require.unwrap_or(radius.message_authenticator);
            }
            Access::Api(api) => {
                if patch.addresses.is_some() || patch.require.is_some() {
                    return invalid("client", "only RADIUS clients have addresses and signatures");
                }
                api.scopes = patch.scopes.unwrap_or_else(|| api.scopes.clone());
            }
        }
        self.change_clients(Change::UpdateClient(client.clone()), by).await?;
        client.revision += 1;
        Ok(client)
    }

    /// Gives a client a new secret or key; the old one stays valid beside it for `grace`. The
    /// answer holds the new key of an API client.
    pub async fn rotate_client(
        &self,
        name: &str,
        secret: Option<SecretString>,
        grace: Duration,
        by: By,
    ) -> Result<(Client, Option<SecretString>), AdminError> {
        let mut client = self.client(name)?;
        let until = by.at.plus(grace);
        let mut fresh_key = None;
        match &mut client.access {
            Access::Radius(radius) => {
                let fresh = match secret {
                    Some(secret) => shared_secret(&secret)?,
                    None => self.new_shared_secret()?,
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
        self.change_clients(Change::UpdateClient(client.clone()), by).await?;
        client.revision += 1;
        Ok((client, fresh_key))
    }

    /// Removes a client.
    pub async fn remove_client(&self, name: &str, by: By) -> Result<(), AdminError> {
        let change = Change::RemoveClient(name.to_owned());
        self.change_clients(change, by).await
    }

    /// Stores that an address of a client with `require = auto` signs its requests: from now on it
    /// must. Nothing to do when that is known.
    pub async fn learn(&self, client: &str, address: IpAddr) -> Result<(), AdminError> {
        if self.clients.has_lesson(client, address) {
            return Ok(());
        }
        let (request, at) = self.arrival()?;
        let by = By { request, actor: "daemon".to_owned(), at };
        let change = Change::Learn { client: client.to_owned(), address };
        match self.store.change(change, by).await {
            Ok(()) | Err(StoreError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
        self.clients.learned(client, address);
        Ok(())
    }

    /// Vouches for the present time although later times are on record.
    pub async fn accept_clock(&self, by: By) -> Result<(), AdminError> {
        Ok(self.store.change(Change::AcceptClock, by).await?)
    }

    /// A user by its key.
    pub async fn user(&self, key: &UserKey) -> Result<User, AdminError> {
        let view = self.store.view(key).await?;
        view.map(|view| view.user).ok_or(AdminError::NotFound("user"))
    }

    /// A token by its serial.
    pub async fn token(&self, serial: &Serial) -> Result<(Token, TokenState), AdminError> {
        self.store.token(serial).await?.ok_or(AdminError::NotFound("token"))
    }

    /// A client by its name.
    pub fn client(&self, name: &str) -> Result<Client, AdminError> {
        let all = self.clients.all();
        let found = all.iter().find(|client| client.name == name);
        found.map(|client| Client::clone(client)).ok_or(AdminError::NotFound("client"))
    }

    /// Consumes a code outside a login, through the same transition as a login.
    async fn present(
        &self,
        serial: &Serial,
        purpose: Purpose,
        by: By,
        compare: impl Fn(&Token, &TokenState, UnixTime) -> Result<Comparison, AdminError>,
    ) -> Result<(Token, TokenState), AdminError> {
        let at = self.window_time(by.at)?;
        for _ in 0..super::TRIES {
            let (token, _) = self.token(serial).await?;
            let view = self.store.view(&token.user).await?.ok_or(AdminError::NotFound("user"))?;
            let found = view.tokens.iter().find(|(token, _)| token.serial == *serial);
            let Some((token, state)) = found else { continue };
            let comparison = compare(token, state, at)?;
            let attempt = Attempt {
                request: by.request,
                at,
                deadline: at.plus(ADMIN_DEADLINE),
                purpose,
                user: token.user.to_string(),
                client: by.actor.as_str().into(),
                channel: Channel::Admin,
                source: None,
                rule: None,
                lockout: Lockout::default(),
                finding: Finding::Compared {
                    user: token.user.clone(),
                    generation: view.generation,
                    tokens: vec![comparison],
                },
            };
            let Outcome::Settled(settlement) = self.store.attempt(attempt).await? else { continue };
            self.counters.decided(Channel::Admin, settlement.reason);
            return match (settlement.decision, settlement.token) {
                (Decision::Accept, Some((_, state))) => Ok((token.clone(), state)),
                _ => Err(AdminError::Refused(settlement.reason)),
            };
        }
        Err(ServiceError::Contended.into())
    }

    async fn change_clients(&self, change: Change, by: By) -> Result<(), AdminError> {
        let done = self.store.change(change, by).await;
        done.map_err(|error| missing(error, "client"))?;
        Ok(self.clients.reload(self.store.as_ref()).await?)
    }

    fn check_client(&self, name: &str, policy: Option<&str>) -> Result<(), AdminError> {
        if !is_client_name(name) {
            return invalid(
                "name",
                "a client's name has 1 to 64 letters, digits, dots, dashes, underscores",
            );
        }
        if self.policies.load().resolve(policy).is_none() {
            let policy = policy.unwrap_or_default();
            return invalid("policy", format!("no policy `{policy}` is loaded"));
        }
        Ok(())
    }

    /// A packet has one client: no two may have the same network. Larger and smaller ones may
    /// overlap, since the longest prefix decides.
    fn check_addresses(&self, name: &str, addresses: &[IpNet]) -> Result<(), AdminError> {
        if addresses.is_empty() {
            return invalid("address", "a RADIUS client needs the network its packets come from");
        }
        for (index, network) in addresses.iter().enumerate() {
            let same = |other: &IpNet| canonical_network(*other) == canonical_network(*network);
            if addresses.iter().take(index).any(same) {
                return invalid("address", format!("the network {network} is given twice"));
            }
            let owner = self.clients.all();
            let owner = owner.iter().find(|other| match &other.access {
                Access::Radius(radius) => other.name != name && radius.addresses.iter().any(same),
                Access::Api(_) => false,
            });
            if let Some(owner) = owner {
                let owner = &owner.name;
                return invalid(
                    "address",
                    format!("client `{owner}` has the network {network} already"),
                );
            }
        }
        Ok(())
    }

    /// 32 characters of base 32: 160 random bits, printable, no quoting anywhere.
    fn new_shared_secret(&self) -> Result<SharedSecret, AdminError> {
        let text = self.printable::<20>()?;
        let secret = SharedSecret::new(SecretBytes::from(text.expose().as_bytes()));
        Ok(secret.expect("32 characters are a valid secret"))
    }

    /// `og_` and 52 characters of base 32: 256 random bits.
    fn new_api_key(&self) -> Result<SecretString, AdminError> {
        let text = self.printable::<32>()?;
        Ok(SecretString::new(format!("og_{}", text.expose())))
    }

    fn printable<const N: usize>(&self) -> Result<SecretString, AdminError> {
        let bytes: [u8; N] = random(self.entropy.as_ref()).map_err(ServiceError::from)?;
        Ok(SecretString::new(base32_lower(&bytes)))
    }
}

impl UserPatch {
    fn apply(self, user: &mut User) -> Result<(), AdminError> {
        if let Some(groups) = self.groups {
            if groups.len() > 64 {
                return invalid("group", "a user has at most 64 groups");
            }
            for group in &groups {
                check_text("group", group)?;
            }
            user.groups = groups;
        }
        for (field, value, place) in [
            ("phone", self.phone, &mut user.phone),
            ("email", self.email, &mut user.email),
            ("class", self.class, &mut user.class),
            ("birth_date", self.birth_date, &mut user.birth_date),
        ] {
            let Some(value) = value else { continue };
            if let Some(text) = &value {
                check_text(field, text)?;
                if field == "birth_date" && text.parse::<jiff::civil::Date>().is_err() {
                    return invalid(field, "a birth date is written YYYY-MM-DD");
                }
            }
            *place = value;
        }
        user.disabled = self.disabled.unwrap_or(user.disabled);
        Ok(())
    }
}

fn resync(
    token: &Token,
    state: &TokenState,
    first: &Code,
    second: &Code,
    at: UnixTime,
) -> Comparison {
    let parameters = decide::parameters(token);
    let mut matches = Matches::default();
    let mut drift = DriftRule::None;
    if token.kind == Kind::Hotp {
        let from = state.moving.next();
        let found = hotp::resync(
            &token.key,
            token.algorithm,
            token.digits,
            first,
            second,
            from,
            HOTP_RESYNC,
        );
        found.into_iter().for_each(|counter| matches.insert(counter));
    } else {
        let after = state.moving.last.map(TimeStep::new);
        let found = totp::resync(&token.key, parameters, first, second, at, after, u32::MAX);
        if let Some((step, found)) = found {
            matches.insert(step.get());
            drift = DriftRule::Fixed(found);
        }
    }
    Comparison {
        serial: token.serial.clone(),
        kind: token.kind,
        revision: token.revision,
        seen: state.moving,
        matches,
        drift,
    }
}

/// Without host bits; a network inside `::ffff:0:0/96` in its IPv4 form, as packets are looked up.
fn canonical_network(network: IpNet) -> IpNet {
    let mapped = match network {
        IpNet::V4(_) => None,
        IpNet::V6(net) => net.addr().to_ipv4_mapped().zip(net.prefix_len().checked_sub(96)),
    };
    let v4 = mapped.and_then(|(address, length)| IpNet::new(address.into(), length).ok());
    v4.unwrap_or(network).trunc()
}

fn shared_secret(text: &SecretString) -> Result<SharedSecret, AdminError> {
    if text.expose().len() < SECRET_MIN {
        return invalid(
            "secret",
            format!("a shared secret has at least {SECRET_MIN} characters; leave it out to get a good one generated"),
        );
    }
    SharedSecret::new(SecretBytes::from(text.expose().as_bytes())).map_or_else(
        || invalid("secret", "a shared secret has at most 128 octets"),
        Ok,
    )
}

fn canonical_realm(realm: Option<String>) -> Result<Option<String>, AdminError> {
    let Some(realm) = realm else { return Ok(None) };
    match UserKey::with_realm("x", &realm) {
        Ok(key) => Ok(Some(key.realm().to_owned())),
        Err(error) => invalid("realm", error.to_string()),
    }
}

/// Free text that will be shown again: bounded, one line, nothing that moves a cursor.
fn check_text(field: &'static str, text: &str) -> Result<(), AdminError> {
    if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
        return invalid(field, "1 to 256 octets without control characters");
    }
    Ok(())
}

fn missing(error: StoreError, what: &'static str) -> AdminError {
    match error {
        StoreError::NotFound => AdminError::NotFound(what),
        other => other.into(),
    }
}

fn invalid<T>(field: &'static str, message: impl Into<String>) -> Result<T, AdminError> {
    Err(AdminError::Invalid { field, message: message.into() })
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

/// HOTP counters searched by a resynchronisation (SPEC section 7).
const HOTP_RESYNC: u32 = 50;
/// How long an administrator's code may wait in the store's queue.
const ADMIN_DEADLINE: Duration = Duration::from_secs(10);
/// Shortest shared secret that is accepted; `doctor` names those under 16.
const SECRET_MIN: usize = 6;
