//! What users end of their own, in their own name, with nothing but their session: it takes a way in from them
//! and gives none.

use crate::admin::{Admin, AdminError};
use crate::model::device::DeviceId;
use crate::model::id::Serial;
use crate::model::token::LifeCycle;
use crate::model::user_key::UserKey;
use crate::store::{By, Change, DeviceAct};

impl Admin {
    /// Suspends a token of the user and what else the same device carries, or all that are in use; returns how many.
    /// Another's token, none and one that is not in use are not told apart.
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
        let mut done = 0;
        for (token, _) in &view.tokens {
            let wanted = serial.is_none_or(|serial| token.serial == *serial)
                || (device.is_some() && token.device.as_ref() == device);
            // One that another owns counts for them too.
            if !wanted || token.user != *user || token.state_at(by.at) != LifeCycle::Active {
                continue;
            }
            self.suspend_token(&token.serial, None, by.clone()).await?;
            done += 1;
        }
        if serial.is_some() && done == 0 {
            return Err(AdminError::NotFound("token"));
        }
        Ok(done)
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
