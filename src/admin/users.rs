//! Users.

use crate::admin::Admin;
use crate::admin::{AdminError, CredentialsPatch, check_text, invalid, missing};
use crate::core::CoreError;
use crate::model::message::{Language, Medium};
use crate::model::user::{Touched, User, Waiver};
use crate::model::user_key::UserKey;
use crate::store::{By, Change, WaiverKind};
use crate::time::UnixTime;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::time::Duration;

/// What can be said about a user; in a change, `None` leaves the value and `Some(None)` clears it.
#[derive(Debug, Default)]
pub struct UserPatch {
    /// Other names.
    pub aliases: Aliases,
    /// Groups, all of them.
    pub groups: Option<Vec<String>>,
    /// The name as people write it.
    pub display_name: Option<Option<String>>,
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
    /// Language of messages.
    pub language: Option<Language>,
    /// Whether tokens may be enrolled from afar.
    pub remote_issue: Option<bool>,
    /// PIN and password.
    pub credentials: CredentialsPatch,
}

/// What becomes of a user's aliases, as they were typed; a name without a realm is of the user's.
#[derive(Clone, Debug, Default)]
pub struct Aliases {
    /// All of them.
    pub all: Option<Vec<String>>,
    /// Those that come.
    pub add: Vec<String>,
    /// Those that go.
    pub remove: Vec<String>,
}

impl Aliases {
    fn is_empty(&self) -> bool {
        self.all.is_none() && self.add.is_empty() && self.remove.is_empty()
    }

    /// What they are when the user has these.
    fn of(self, user: &User) -> Result<Vec<UserKey>, AdminError> {
        let read = |text: &String| {
            let key = UserKey::parse_in(text, user.key.realm());
            key.or_else(|why| invalid("alias", why.to_string()))
        };
        let mut aliases = match &self.all {
            Some(all) => all.iter().map(read).collect::<Result<_, _>>()?,
            None => user.aliases.clone(),
        };
        for gone in &self.remove {
            let gone = read(gone)?;
            let place = aliases.iter().position(|alias| *alias == gone);
            aliases.remove(place.ok_or(AdminError::NotFound("alias of this user"))?);
        }
        for new in &self.add {
            aliases.push(read(new)?);
        }
        let mut seen = std::collections::BTreeSet::new();
        aliases.retain(|alias| seen.insert(alias.clone()));
        if aliases.len() > User::ALIASES {
            return invalid("alias", "a user has at most 32 aliases");
        }
        if aliases.contains(&user.key) {
            return invalid("alias", "that is the user's own name");
        }
        Ok(aliases)
    }
}

impl Admin {
    /// Makes a user.
    pub async fn add_user(
        &self,
        key: UserKey,
        mut patch: UserPatch,
        by: By,
    ) -> Result<User, AdminError> {
        let created = by.at;
        let mut user = User::new(key, created);
        user.revision = self.core.first_revision().map_err(CoreError::from)?;
        user.language = self.core.language();
        let credentials = std::mem::take(&mut patch.credentials);
        patch.apply(&mut user, created, self.addresses())?;
        let verifiers = self.verifiers(&user, &credentials, created).await?;
        self.sets_up(&mut user, &by);
        let change = Change::CreateUser(user.clone(), verifiers);
        self.core.store.change(change, by).await?;
        Ok(user)
    }

    /// Changes a user. `expected` is the revision the caller saw; none takes the present one.
    pub async fn set_user(
        &self,
        key: &UserKey,
        mut patch: UserPatch,
        expected: Option<u64>,
        by: By,
    ) -> Result<User, AdminError> {
        let mut user = self.user(key)?;
        if expected.is_some_and(|seen| seen != user.revision) {
            return Err(AdminError::Conflict(
                "the record was changed by someone else",
            ));
        }
        let credentials = std::mem::take(&mut patch.credentials);
        let unchanged = patch.is_empty();
        let before = user.clone();
        patch.apply(&mut user, by.at, self.addresses())?;
        self.refuse_followed(&before, &user)?;
        let verifiers = self.verifiers(&user, &credentials, by.at).await?;
        let mut claimed = false;
        if before.phone != user.phone || before.email != user.email {
            claimed |= self.claim(&mut user, &[Touched::Contact], &by)?;
        }
        if user
            .aliases
            .iter()
            .any(|alias| !before.aliases.contains(alias))
        {
            claimed |= self.claim(&mut user, &[Touched::Alias], &by)?;
        }
        if self.selects(&before, &user) {
            claimed |= self.claim(&mut user, &[Touched::Groups], &by)?;
        }
        if verifiers.is_some() {
            claimed |= self.claim(&mut user, &[Touched::Secret], &by)?;
        }
        // Before the credentials: of two changes at the same time one is refused.
        if !unchanged || verifiers.is_none() || claimed {
            let change = Change::UpdateUser(user.clone());
            self.change_known(change, by.clone()).await?;
            user.revision += 1;
        }
        if let Some(verifiers) = verifiers {
            self.set_credentials(key, verifiers, by).await?;
        }
        Ok(user)
    }

    /// Removes a user with all its tokens. `expected` as for [`Admin::set_user`].
    pub async fn remove_user(
        &self,
        key: &UserKey,
        expected: Option<u64>,
        by: By,
    ) -> Result<(), AdminError> {
        let change = Change::RemoveUser(key.clone(), expected);
        self.change_known(change, by)
            .await
            .map_err(|error| missing(error, "user"))?;
        self.core.locks.ended(key);
        Ok(())
    }

    /// Destroys the keys of the personal data of all who had this name, and removes the user if there is
    /// one. What the audit says of their personal data can never be read again.
    pub async fn erase_user(&self, key: &UserKey, by: By) -> Result<(), AdminError> {
        let change = Change::EraseUser(key.clone());
        let erased = self.change_known(change, by.clone()).await;
        // Also where there is no key any more: the erasing before was cut short, or a NAS went on reporting.
        self.login.forget_sessions_of(key, &by).await?;
        erased.map_err(|error| missing(error, "user"))
    }

    /// Forgets the failures and locks of a user and its tokens, if an administrator asks. An operator
    /// ends the waits and timed locks: what was counted stays, or one key could have codes tried without
    /// end.
    pub async fn unlock_user(&self, key: &UserKey, by: By) -> Result<(), AdminError> {
        let at = by.at;
        let change = if self.is_administrator(&by) {
            Change::Unlock(key.clone())
        } else {
            Change::EndWaits(key.clone())
        };
        self.core
            .store
            .change(change, by)
            .await
            .map_err(|error| missing(error, "user"))?;
        match self.core.store.view(key)? {
            Some(view) => self.core.locks.is_now(key, &view.state, at),
            None => self.core.locks.ended(key),
        }
        Ok(())
    }

    /// A user by its key.
    pub fn user(&self, key: &UserKey) -> Result<User, AdminError> {
        let view = self.core.store.view(key)?;
        view.map(|view| view.user)
            .ok_or(AdminError::NotFound("user"))
    }
}

impl Admin {
    /// Grants an exception for at most so long; the audit has the reason, and who granted it.
    pub async fn grant(
        &self,
        key: &UserKey,
        which: WaiverKind,
        grant: Grant,
        by: By,
    ) -> Result<User, AdminError> {
        check_text("reason", &grant.reason)?;
        let (most, words) = match which {
            WaiverKind::Bypass => (BYPASS_MOST, "a bypass lasts at most 24 hours"),
            WaiverKind::Exemption => (EXEMPTION_MOST, "an exemption lasts at most 366 days"),
        };
        if grant.until <= grant.from || grant.until <= by.at {
            return invalid("until", "the end lies before the beginning, or is past");
        }
        if grant.until.since(grant.from) > most {
            return invalid("until", words);
        }
        let waiver = Waiver {
            reason: grant.reason,
            owner: by.shown(),
            from: grant.from,
            until: grant.until,
        };
        self.set_waiver(key, which, Some(waiver), by).await
    }

    /// Ends an exception.
    pub async fn end_waiver(
        &self,
        key: &UserKey,
        which: WaiverKind,
        by: By,
    ) -> Result<User, AdminError> {
        self.set_waiver(key, which, None, by).await
    }

    async fn set_waiver(
        &self,
        key: &UserKey,
        which: WaiverKind,
        waiver: Option<Waiver>,
        by: By,
    ) -> Result<User, AdminError> {
        let mut user = self.user(key)?;
        if waiver.is_some() && self.claim(&mut user, &[Touched::Waiver], &by)? {
            let change = Change::UpdateUser(user.clone());
            self.core.store.change(change, by.clone()).await?;
            user.revision += 1;
        }
        let change = Change::SetWaiver {
            user: key.clone(),
            which,
            waiver,
            expected: user.revision,
        };
        self.core.store.change(change, by).await?;
        self.user(key)
    }
}

/// An exception to be granted.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Why.
    pub reason: String,
    /// From when.
    pub from: UnixTime,
    /// Until when.
    pub until: UnixTime,
}

/// PCI DSS 8.5.1: exceptions are time-limited; a day is what a forgotten telephone takes.
const BYPASS_MOST: Duration = Duration::from_hours(24);
const EXEMPTION_MOST: Duration = Duration::from_hours(24 * 366);

impl UserPatch {
    fn is_empty(&self) -> bool {
        let Self {
            aliases,
            groups,
            display_name,
            phone,
            email,
            birth_date,
            class,
            disabled,
            language,
            remote_issue,
            credentials: _,
        } = self;
        let flags = [disabled, remote_issue];
        let texts = [display_name, phone, email, birth_date, class];
        aliases.is_empty()
            && groups.is_none()
            && language.is_none()
            && flags.iter().all(|flag| flag.is_none())
            && texts.iter().all(|text| text.is_none())
    }

    /// Sets what is named; addresses in the form that `normal` gives them.
    pub(super) fn apply(
        self,
        user: &mut User,
        now: UnixTime,
        normal: impl Fn(&'static str, Medium, &str) -> Result<String, AdminError>,
    ) -> Result<(), AdminError> {
        if !self.aliases.is_empty() {
            user.aliases = self.aliases.of(user)?;
        }
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
        let mut left = Vec::new();
        for (field, value, place) in [
            ("display_name", self.display_name, &mut user.display_name),
            ("phone", self.phone, &mut user.phone),
            ("email", self.email, &mut user.email),
            ("class", self.class, &mut user.class),
            ("birth_date", self.birth_date, &mut user.birth_date),
        ] {
            let Some(mut value) = value else { continue };
            if let Some(text) = &mut value {
                check_text(field, text)?;
                match field {
                    "phone" => *text = normal(field, Medium::Sms, text)?,
                    "email" => *text = normal(field, Medium::Email, text)?,
                    "birth_date" => check_birth_date(text, today(now))?,
                    _ => {}
                }
            }
            let before = std::mem::replace(place, value);
            if let Some(before) = before.filter(|before| Some(before) != place.as_ref()) {
                match field {
                    "phone" => left.push((Medium::Sms, before)),
                    "email" => left.push((Medium::Email, before)),
                    _ => {}
                }
            }
        }
        for (medium, address) in left {
            user.leaves(medium, address, now);
        }
        if let Some(disabled) = self.disabled {
            user.disabled = disabled;
            // Whom an administrator disables no source enables, in whichever order they did it.
            if let Some(directory) = user.directory.as_mut().filter(|_| disabled) {
                directory.disabled = false;
            }
        }
        user.language = self.language.unwrap_or(user.language);
        user.remote_issue = self.remote_issue.unwrap_or(user.remote_issue);
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
