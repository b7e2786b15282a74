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
use crate::time::UnixTime;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

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
        let today = today(by.at);
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
        patch.apply(&mut user, today)?;
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
        let today = today(by.at);
        patch.apply(&mut user, today)?;
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
    fn apply(self, user: &mut User, today: Date) -> Result<(), AdminError> {
        if let Some(mut groups) = self.groups {
            let mut seen = std::collections::BTreeSet::new();
            groups.retain(|group| seen.insert(group.clone()));
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
                match field {
                    "phone" => check_phone(text)?,
                    "email" => check_email(text)?,
                    "birth_date" => check_birth_date(text, today)?,
                    _ => {}
                }
            }
            *place = value;
        }
        user.disabled = self.disabled.unwrap_or(user.disabled);
        Ok(())
    }
}

/// The date in UTC; a clock out of range is before everybody's birth.
fn today(now: UnixTime) -> Date {
    let millis = i64::try_from(now.as_millis()).unwrap_or_default();
    let time = Timestamp::from_millisecond(millis).unwrap_or_default();
    time.to_zoned(TimeZone::UTC).date()
}

fn check_birth_date(text: &str, today: Date) -> Result<(), AdminError> {
    let shaped = text.len() == 10
        && text.bytes().enumerate().all(|(index, octet)| match index {
            4 | 7 => octet == b'-',
            _ => octet.is_ascii_digit(),
        });
    if !shaped {
        return invalid("birth_date", "a birth date is written YYYY-MM-DD");
    }
    match text.parse::<Date>() {
        Err(_) => invalid("birth_date", format!("there is no such day as {text}")),
        Ok(date) if date > today => invalid("birth_date", format!("{text} is in the future")),
        Ok(_) => Ok(()),
    }
}

fn check_email(text: &str) -> Result<(), AdminError> {
    match text.split_once('@') {
        Some((name, host)) if !name.is_empty() && !host.is_empty() && !host.contains('@') => Ok(()),
        _ => invalid("email", "a mail address is written NAME@HOST, with one @"),
    }
}

fn check_phone(text: &str) -> Result<(), AdminError> {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let known = |c: char| c.is_ascii_digit() || "+- ()".contains(c);
    if (4..=20).contains(&digits) && text.chars().all(known) {
        return Ok(());
    }
    invalid(
        "phone",
        "a telephone number has 4 to 20 digits, and else only + - ( ) and spaces",
    )
}
