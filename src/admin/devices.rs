//! Enrolled devices: what they ask for themselves, and what administrators do to them.
//!
//! ```text
//! enrolment or transfer code + key --redeem--> device --signed requests--> codes, pending, ...
//!                                                 `--revoke, or a transfer--> revoked: final
//! ```
//!
//! Invariants: a signed request is taken once, by the store, in the transaction of what it does; one
//! that only reads is taken by [`device_reads`](super::device_reads), or on record, before anything is told. A device acts
//! for its own user only. What a device asks for is limited by the `default` policy: a device is no
//! client.

use std::borrow::Cow;
use std::time::Duration;

use crate::admin::Admin;
use crate::admin::{AdminError, Enrol, NewToken, check_text};
use crate::core::issue::{Form, Wanted};
use crate::core::{CoreError, default_policy};
use crate::login::redeem::LENGTH;
use crate::model::client::Client;
use crate::model::device::{Device, DeviceCall, DeviceId, DeviceState};
use crate::model::id::{RequestId, Serial};
use crate::model::issue::{IssueRefusal, Issued, Way};
use crate::model::kind::Kind;
use crate::model::message::{Medium, mask};
use crate::model::token::{LifeCycle, Token, TokenState};
use crate::model::user_key::{SELF_SERVICE, UserKey};
use crate::otp::{Algorithm, Digits, Period};
use crate::secret::SecretString;
use crate::store::{By, CARRIED, Change, DeviceAct, StoreError};
use crate::time::{UnixTime, millis};

/// A request of a device, its signature verified but not yet taken.
#[derive(Clone, Debug)]
pub struct Asking {
    /// Names the request.
    pub request: RequestId,
    /// When it arrived.
    pub at: UnixTime,
    /// Who asks.
    pub device: Device,
    /// What the store takes once.
    pub call: DeviceCall,
}

impl Asking {
    fn by(&self) -> By {
        By::new(actor(&self.device.id), (self.request, self.at))
    }
}

/// A code that a device was given.
#[derive(Clone, Debug)]
pub struct DeviceCode {
    /// The code.
    pub text: SecretString,
    /// The token whose code it is.
    pub serial: Serial,
    /// From when it is void.
    pub expires: UnixTime,
    /// How long that is from its request.
    pub life: Duration,
}

/// What waits for a user.
#[derive(Clone, Debug, Default)]
pub struct Waiting {
    /// The tokens that the device carries.
    pub tokens: Vec<Token>,
    /// Live codes of the user's other tokens.
    pub codes: Vec<OpenCode>,
}

/// A live code, without itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OpenCode {
    /// The token whose code it is.
    pub serial: Serial,
    /// Its kind.
    pub kind: Kind,
    /// What the code is for.
    pub way: Way,
    /// Where it was sent, most of it hidden.
    pub to: Option<String>,
    /// From when it is void; `None`: when it is answered or locked.
    pub expires: Option<UnixTime>,
}

/// Why a device's request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The device is revoked, or the request was taken before, is out of its time or one of too many.
    #[error("the device's request is not taken")]
    NotTaken,
    /// As for an administrator.
    #[error(transparent)]
    Refused(#[from] AdminError),
    /// The present state does not allow that.
    #[error("{what}")]
    State {
        /// What is in the way.
        what: Cow<'static, str>,
        /// What to do next.
        next: &'static str,
    },
}

impl From<CoreError> for DeviceError {
    fn from(error: CoreError) -> Self {
        match error {
            CoreError::Store(error) => error.into(),
            other => Self::Refused(other.into()),
        }
    }
}

impl From<StoreError> for DeviceError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotTaken => Self::NotTaken,
            other => Self::Refused(other.into()),
        }
    }
}

impl Admin {
    /// A device and what it asked lately; `None` when there is none with this id.
    pub fn device(&self, id: &DeviceId) -> Result<Option<(Device, DeviceState)>, StoreError> {
        let found = self.core.store.device(id)?;
        Ok(found.map(|found| self.with_reads(found)))
    }

    fn with_reads(&self, (device, mut state): (Device, DeviceState)) -> (Device, DeviceState) {
        state.last_seen = self.reads.seen(&device.id, state.last_seen);
        (device, state)
    }

    /// A new code of the device's token, for `client` only when one is named. It voids the one before.
    pub async fn device_code(
        &self,
        asking: &Asking,
        serial: Option<&Serial>,
        client: Option<&str>,
        uv: Option<&str>,
    ) -> Result<DeviceCode, DeviceError> {
        let known = |name: &str| self.core.clients.all().iter().any(|one| one.name == name);
        if client.is_some_and(|name| !known(name)) {
            return Err(AdminError::NotFound("client").into());
        }
        let codes = default_policy(&self.core.policies())?.codes;
        let (form, life) = (Form::of(codes.digits), codes.server_life);
        self.given(asking, serial, (client, uv), (form, Way::Code, life))
            .await
    }

    /// A code by which another device takes over from this one, with all that it carries.
    pub async fn transfer_code(
        &self,
        asking: &Asking,
        serial: Option<&Serial>,
    ) -> Result<DeviceCode, DeviceError> {
        let code = (Form::Digits(LENGTH), Way::Transfer, TRANSFER_LIFE);
        self.given(asking, serial, (None, None), code).await
    }

    async fn given(
        &self,
        asking: &Asking,
        serial: Option<&Serial>,
        (client, uv): (Option<&str>, Option<&str>),
        (form, way, life): (Form, Way, Duration),
    ) -> Result<DeviceCode, DeviceError> {
        let at = self.core.window_time(asking.at)?;
        let (token, state) = self.carried(&asking.device, serial)?;
        let wanted = Wanted {
            request: asking.request,
            at,
            actor: actor(&asking.device.id),
            form,
            way,
            client,
            life: Some(life),
            message: None,
            device: Some(asking.call.clone()),
            uv,
        };
        let made = match self.core.make_code((&token, &state), wanted).await? {
            Ok(made) => made,
            Err(IssueRefusal::Device) => return Err(DeviceError::NotTaken),
            Err(IssueRefusal::NotUsable) => return Err(not_in_use(&token, at)),
            Err(other) => {
                return Err(DeviceError::State {
                    what: other.to_string().into(),
                    next: "ask again",
                });
            }
        };
        Ok(DeviceCode {
            text: made.text,
            serial: token.serial,
            expires: made.issued.expires,
            life,
        })
    }

    /// A totp token that the device carries: its codes need no network. One that it carries already ends,
    /// when it is named.
    pub async fn carried_totp(
        &self,
        asking: &Asking,
        replaces: Option<Serial>,
    ) -> Result<Token, DeviceError> {
        let at = self.core.window_time(asking.at)?;
        let policies = self.core.policies();
        let policy = default_policy(&policies)?;
        if !policy.enrolment.device.contains(&Kind::Totp) {
            return Err(state(
                "devices carry no totp token here",
                "use the codes that the server makes; an administrator may add totp to `device` in the \
                 policy `default`",
            ));
        }
        if self.strictest_approvers(Kind::Totp, None) > 0 {
            return Err(state(
                "others must approve totp tokens here",
                "ask an administrator for one",
            ));
        }
        let (server, _) = self.carried(&asking.device, None)?;
        if server.state_at(at) != LifeCycle::Active {
            return Err(not_in_use(&server, at));
        }
        let token = NewToken {
            user: asking.device.user.clone(),
            kind: Kind::Totp,
            algorithm: Algorithm::Sha1,
            digits: Digits::SIX,
            period: Period::THIRTY,
            key: None,
            counter: 0,
            active: true,
            serial: None,
        };
        let enrol = Enrol {
            replaces,
            carrier: Some(asking.call.clone()),
            ..token.into()
        };
        match self.enrol_token(enrol, asking.by()).await {
            Ok(handed) => Ok(handed.token),
            Err(AdminError::Core(CoreError::Store(StoreError::NotTaken))) => {
                Err(DeviceError::NotTaken)
            }
            Err(AdminError::Conflict(CARRIED)) => Err(state(
                CARRIED,
                "its key is shown once; name it in `replaces` to end it and get another",
            )),
            Err(error) => Err(error.into()),
        }
    }

    /// What waits for the user of a device.
    pub async fn waiting(&self, asking: &Asking) -> Result<Waiting, DeviceError> {
        self.taken(asking).await?;
        let Some(view) = self.core.store.view(&asking.device.user)? else {
            return Ok(Waiting::default());
        };
        let at = self.core.window_time(asking.at)?;
        let (own, others): (Vec<_>, Vec<_>) = view
            .tokens
            .into_iter()
            .partition(|(token, _)| token.device.as_ref() == Some(&asking.device.id));
        let open = others
            .iter()
            .filter_map(|(token, state)| open_code(token, state, at));
        Ok(Waiting {
            codes: open.collect(),
            tokens: own.into_iter().map(|(token, _)| token).collect(),
        })
    }

    /// All devices of the user of this one, itself among them.
    pub async fn siblings(
        &self,
        asking: &Asking,
    ) -> Result<Vec<(Device, DeviceState)>, DeviceError> {
        self.taken(asking).await?;
        let all = self.core.store.devices(&asking.device.user)?;
        Ok(all.into_iter().map(|one| self.with_reads(one)).collect())
    }

    /// The device gives itself another name.
    pub async fn rename_itself(
        &self,
        asking: &Asking,
        name: String,
    ) -> Result<Device, DeviceError> {
        check_name(&name)?;
        let act = DeviceAct::Rename(name.clone());
        self.act(asking, &asking.device.id, act).await?;
        Ok(Device {
            name,
            revision: asking.device.revision + 1,
            ..asking.device.clone()
        })
    }

    /// The device ends itself, or another device of its user.
    pub async fn revoke_by_device(
        &self,
        asking: &Asking,
        id: &DeviceId,
    ) -> Result<(), DeviceError> {
        let why = if *id == asking.device.id {
            "itself"
        } else {
            let found = self.core.store.device(id)?;
            // Another user's device is told from none at all by no one.
            let own = found.filter(|(device, _)| device.user == asking.device.user);
            own.ok_or(AdminError::NotFound("device"))?;
            "sibling"
        };
        self.act(asking, id, DeviceAct::Revoke(why.to_owned()))
            .await
    }

    /// The user of a device signs in to self-service by its signature, on record: who has the device makes the codes
    /// of its token, so the token must be in use.
    pub async fn sign_in_by_device(&self, asking: &Asking) -> Result<UserKey, DeviceError> {
        let at = self.core.window_time(asking.at)?;
        if self.core.policies().resolve(Some(SELF_SERVICE)).is_none() {
            return Err(state(
                "there is no self-service here",
                "an administrator adds the policy `self-service`",
            ));
        }
        let own = Client::own(SELF_SERVICE);
        if own.is_none_or(|client| !client.is_of_realm(&asking.device.user)) {
            return Err(state(
                "people of the console have no self-service",
                "sign in to the console",
            ));
        }
        let (token, _) = self.carried(&asking.device, None)?;
        if token.state_at(at) != LifeCycle::Active {
            return Err(not_in_use(&token, at));
        }
        self.act(asking, &asking.device.id, DeviceAct::SignIn)
            .await?;
        Ok(asking.device.user.clone())
    }

    /// Gives the device's token a new end, within the time that the policy leaves for it.
    pub async fn renew_carried(
        &self,
        asking: &Asking,
        serial: Option<&Serial>,
    ) -> Result<Token, DeviceError> {
        let at = self.core.window_time(asking.at)?;
        let enrolment = default_policy(&self.core.policies())?.enrolment.clone();
        let (mut token, _) = self.carried(&asking.device, serial)?;
        let lasts = enrolment.valid_for;
        let lasts = lasts.or_else(|| token.enrolment.valid_for.map(Duration::from_secs));
        let (Some(end), Some(lasts)) = (token.expires, lasts) else {
            return Err(state(
                "the token does not expire",
                "there is nothing to renew",
            ));
        };
        let Some(window) = enrolment.renew_from else {
            return Err(state(
                "tokens are not renewed here",
                "ask an administrator for a new enrolment code before it expires",
            ));
        };
        if token.state_at(at) != LifeCycle::Active {
            return Err(not_in_use(&token, at));
        }
        if end.since(at) > window {
            let from = end.as_millis().saturating_sub(millis(window));
            let from = UnixTime::from_millis(from);
            return Err(DeviceError::State {
                what: format!("the token is good until {end}; it is renewed from {from} on").into(),
                next: "ask again then",
            });
        }
        let expires = at.plus(lasts);
        let change = Change::RenewToken {
            serial: token.serial.clone(),
            expires,
            expected: token.revision,
            call: Some(asking.call.clone()),
        };
        self.core.store.change(change, asking.by()).await?;
        token.expires = Some(expires);
        token.revision += 1;
        Ok(token)
    }

    /// A user's devices.
    pub fn devices_of(&self, user: &UserKey) -> Result<Vec<(Device, DeviceState)>, AdminError> {
        let view = self.core.store.view(user)?;
        view.ok_or(AdminError::NotFound("user"))?;
        let all = self.core.store.devices(user)?;
        Ok(all.into_iter().map(|one| self.with_reads(one)).collect())
    }

    /// An administrator gives a device another name.
    pub async fn rename_device(
        &self,
        id: &DeviceId,
        name: String,
        by: By,
    ) -> Result<(), AdminError> {
        check_name(&name)?;
        self.administer(id, DeviceAct::Rename(name), by).await
    }

    /// An administrator ends a device and its tokens.
    pub async fn revoke_device(&self, id: &DeviceId, by: By) -> Result<(), AdminError> {
        let act = DeviceAct::Revoke("administrator".to_owned());
        self.administer(id, act, by).await
    }

    async fn administer(&self, id: &DeviceId, act: DeviceAct, by: By) -> Result<(), AdminError> {
        let change = Change::Device {
            id: id.clone(),
            act,
            call: None,
        };
        let done = self.core.store.change(change, by).await;
        done.map_err(|error| match error {
            StoreError::NotFound => AdminError::NotFound("device"),
            other => other.into(),
        })
    }

    async fn act(&self, asking: &Asking, id: &DeviceId, act: DeviceAct) -> Result<(), DeviceError> {
        let change = Change::Device {
            id: id.clone(),
            act,
            call: Some(asking.call.clone()),
        };
        Ok(self.core.store.change(change, asking.by()).await?)
    }

    /// Takes a request that changes nothing else.
    async fn taken(&self, asking: &Asking) -> Result<(), DeviceError> {
        let at = self.core.window_time(asking.at)?;
        let read = self.reads.take(&asking.call, at);
        if read.map_err(|_| DeviceError::NotTaken)? {
            return Ok(());
        }
        self.act(asking, &asking.device.id, DeviceAct::Ask).await
    }

    /// The token that makes the device's codes: the named one, or the one in use. Of a disabled user, none.
    fn carried(
        &self,
        device: &Device,
        serial: Option<&Serial>,
    ) -> Result<(Token, TokenState), DeviceError> {
        let view = self.core.store.view(&device.user)?;
        if view.as_ref().is_some_and(|view| view.user.disabled) {
            return Err(state(
                "the user is disabled",
                "an administrator enables the user: oncegate user enable",
            ));
        }
        let tokens = view.map(|view| view.tokens).unwrap_or_default();
        let mut carried: Vec<_> = tokens
            .into_iter()
            .filter(|(token, _)| {
                token.kind == Kind::Server && token.device.as_ref() == Some(&device.id)
            })
            .collect();
        let place = match serial {
            Some(serial) => carried
                .iter()
                .position(|(token, _)| token.serial == *serial)
                .ok_or(AdminError::NotFound("token"))?,
            None => {
                let in_use = |(token, _): &(Token, _)| token.state == LifeCycle::Active;
                carried.iter().position(in_use).unwrap_or(0)
            }
        };
        if carried.is_empty() {
            return Err(state(
                "the device carries no token that makes codes",
                "enrol it again: an administrator gives the user a new enrolment code",
            ));
        }
        Ok(carried.swap_remove(place))
    }
}

fn open_code(token: &Token, state: &TokenState, at: UnixTime) -> Option<OpenCode> {
    let open = |issued: &Issued| issued.is_open(state.moving.last, at);
    let issued = state.issued.filter(open)?;
    let to = token.address.as_deref().zip(Medium::of(token.kind));
    Some(OpenCode {
        serial: token.serial.clone(),
        kind: token.kind,
        way: issued.way,
        to: to.map(|(address, medium)| mask(medium, address)),
        expires: issued.pair.is_none().then_some(issued.expires),
    })
}

fn not_in_use(token: &Token, at: UnixTime) -> DeviceError {
    let (serial, now) = (&token.serial, token.state_at(at));
    DeviceError::State {
        what: format!("token {serial} is {now}").into(),
        next: match now {
            LifeCycle::Pending => {
                "ask for a code and give it to your administrator, or type it where you enrolled: it proves \
                 the token"
            }
            LifeCycle::Suspended => "an administrator resumes it: oncegate token resume",
            _ => "enrol again: an administrator gives the user a new enrolment code",
        },
    }
}

const fn state(what: &'static str, next: &'static str) -> DeviceError {
    DeviceError::State {
        what: Cow::Borrowed(what),
        next,
    }
}

/// What a device may be called.
pub fn check_name(name: &str) -> Result<(), AdminError> {
    check_text("name", name)
}

/// A device in the audit.
fn actor(id: &DeviceId) -> String {
    format!("device {id}")
}

/// Capabilities C6.
const TRANSFER_LIFE: Duration = Duration::from_mins(3);
