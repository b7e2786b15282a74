//! What users change of their own, in their own name.
//!
//! With nothing but their session they end: it takes a way in from them and gives none. Where they are reached they
//! change by all that the rule asks for, a code of another way among it.
//!
//! Threat (capabilities C2): who reads the messages of a stolen telephone or mailbox has them sent to an address of
//! their own. So a code that went to the former number or address proves nothing about the new one; and the former one
//! is told of the change.

use crate::admin::{Admin, AdminError, Replaced, UserPatch};
use crate::login::{LoginAnswer, LoginRequest};
use crate::model::device::DeviceId;
use crate::model::id::Serial;
use crate::model::message::Medium;
use crate::model::reason::Reason;
use crate::model::token::LifeCycle;
use crate::model::user_key::UserKey;
use crate::store::{ADMINISTRATORS_ONLY, By, Change, DeviceAct};

impl Admin {
    /// Suspends a token of the user and what else the same device carries, or all that are in use; returns how many.
    /// Another's token, none and one that is not in use are not told apart. One that cannot be suspended keeps none of
    /// the others in use.
    pub async fn suspend_own(
        &self,
        user: &UserKey,
        serial: Option<&Serial>,
        by: By,
    ) -> Result<usize, AdminError> {
        let view = self.core.store.view(user)?;
        let view = view.ok_or(AdminError::NotFound("user"))?;
        let named = serial.and_then(|serial| {
            let mut tokens = view.tokens.iter().map(|(token, _)| token);
            tokens.find(|token| token.serial == *serial)
        });
        // Who has lost a telephone has lost all that is on it.
        let device = named.and_then(|token| token.device.as_ref());
        let (mut done, mut failed) = (0, None);
        for (token, _) in &view.tokens {
            let wanted = serial.is_none_or(|serial| token.serial == *serial)
                || (device.is_some() && token.device.as_ref() == device);
            // One that another owns counts for them too.
            if !wanted || token.user != *user || token.state_at(by.at) != LifeCycle::Active {
                continue;
            }
            let suspended = self.suspend_token(&token.serial, None, by.clone());
            match suspended.await {
                Ok(_) => done += 1,
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        if serial.is_some() && done == 0 {
            return Err(AdminError::NotFound("token"));
        }
        Ok(done)
    }

    /// Suspends all tokens in use of a user, for the user or for an administrator; returns how many.
    pub async fn suspend_all(&self, user: &UserKey, by: By) -> Result<usize, AdminError> {
        if !by.may_change(user) {
            return Err(AdminError::Conflict(ADMINISTRATORS_ONLY));
        }
        let user = self.core.store.named(user.clone())?;
        self.suspend_own(&user, None, by).await
    }

    /// Another mail address (`Email`) or telephone number of the user whom the request proves.
    pub async fn change_own_contact(
        &self,
        request: &LoginRequest<'_>,
        medium: Medium,
        address: String,
    ) -> Result<Replaced, AdminError> {
        let (field, medium) = match medium {
            Medium::Email => ("email", Medium::Email),
            Medium::Sms | Medium::Voice => ("phone", Medium::Sms),
        };
        // Before a code is used up: what is no address stays one's own mistake.
        self.normal(field, medium, &address)?;
        if let Ok(key) = UserKey::parse(request.user)
            && let Some(view) = self.core.store.view(&key)?
            && let Some(source_name) = self.said_by(&view.user, field)?
        {
            return Err(AdminError::Followed { field, source_name });
        }
        let decided = self.login.authenticate(request).await?;
        let excepted = matches!(decided.reason, Reason::BypassOk | Reason::ExemptOk);
        let (user, serial) = match &decided.answer {
            LoginAnswer::Accept(accepted) if !excepted => {
                (accepted.user.clone(), accepted.serial.clone())
            }
            _ => return Ok(Replaced::Refused(Box::new(decided))),
        };
        let goes_there = |kind| match Medium::of(kind) {
            Some(Medium::Email) => medium == Medium::Email,
            Some(Medium::Sms | Medium::Voice) => medium == Medium::Sms,
            None => false,
        };
        let token = serial.map(|serial| self.token(&serial)).transpose()?;
        if token.is_none_or(|(token, _)| goes_there(token.kind)) {
            return Err(AdminError::Forbidden(OTHER_WAY));
        }
        let patch = match medium {
            Medium::Email => UserPatch {
                email: Some(Some(address)),
                ..UserPatch::default()
            },
            _ => UserPatch {
                phone: Some(Some(address)),
                ..UserPatch::default()
            },
        };
        let by = By::new(format!("user {user}"), (request.id, request.at));
        self.set_user(&user, patch, None, by).await?;
        Ok(Replaced::Done)
    }

    /// The user no longer consents to enrolment from afar (capabilities C10); an operator puts a new consent on record.
    pub async fn withdraw_consent(&self, user: &UserKey, by: By) -> Result<(), AdminError> {
        let patch = UserPatch {
            remote_issue: Some(false),
            ..UserPatch::default()
        };
        self.set_user(user, patch, None, by).await?;
        Ok(())
    }

    /// Gives a device of the user another name.
    pub async fn rename_own_device(
        &self,
        user: &UserKey,
        id: &DeviceId,
        name: String,
        by: By,
    ) -> Result<(), AdminError> {
        let found = self.core.store.device(id)?;
        let own = found.filter(|(device, _)| device.user == *user && !device.revoked);
        own.ok_or(AdminError::NotFound("device"))?;
        self.rename_device(id, name, by).await
    }

    /// Ends a device of the user and the tokens that it carries.
    pub async fn end_own_device(
        &self,
        user: &UserKey,
        id: &DeviceId,
        by: By,
    ) -> Result<(), AdminError> {
        let found = self.core.store.device(id)?;
        let own = found.filter(|(device, _)| device.user == *user && !device.revoked);
        own.ok_or(AdminError::NotFound("device"))?;
        let change = Change::Device {
            id: id.clone(),
            act: DeviceAct::Revoke("owner".to_owned()),
            call: None,
        };
        Ok(self.core.store.change(change, by).await?)
    }
}

const OTHER_WAY: &str = "a new address needs a code that does not go to the old one: of an authenticator app, a device or \
                         a recovery sheet; without one an operator changes it";
