//! Users.

use crate::model::user::User;
use crate::model::user_key::UserKey;
use crate::service::Service;
use crate::service::admin::AdminError;
use crate::service::admin::check_text;
use crate::service::admin::invalid;
use crate::service::admin::missing;
use crate::store::By;
use crate::store::Change;

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
        self.store
            .change(Change::CreateUser(user.clone()), by)
            .await?;
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
        self.store
            .change(Change::UpdateUser(user.clone()), by)
            .await?;
        user.revision += 1;
        Ok(user)
    }

    /// Removes a user with all its tokens. `expected` as for [`Service::set_user`].
    pub async fn remove_user(
        &self,
        key: &UserKey,
        expected: Option<u64>,
        by: By,
    ) -> Result<(), AdminError> {
        let change = Change::RemoveUser(key.clone(), expected);
        self.store
            .change(change, by)
            .await
            .map_err(|error| missing(error, "user"))
    }

    /// Forgets the failures and locks of a user and its tokens.
    pub async fn unlock_user(&self, key: &UserKey, by: By) -> Result<(), AdminError> {
        let change = Change::Unlock(key.clone());
        self.store
            .change(change, by)
            .await
            .map_err(|error| missing(error, "user"))
    }

    /// A user by its key.
    pub async fn user(&self, key: &UserKey) -> Result<User, AdminError> {
        let view = self.store.view(key).await?;
        view.map(|view| view.user)
            .ok_or(AdminError::NotFound("user"))
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
