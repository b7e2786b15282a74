//! Users and groups that an identity provider pushes.
//!
//! Invariants: as for users who follow a directory ([`crate::admin::directory`]): an identity is one user whatever it
//! is called, only users of the source are touched, and a user is never removed. Whom the provider deletes is disabled
//! and has no identity there any more; the same person comes back by what the provider calls them, for another person
//! of that name is not to have the tokens. People of the console are not reached.
//!
//! A group and its members are several records. They are written in an order that the same request, or the next one of
//! the source, completes: members gain the name, the group is on record, then names of no group go.

use std::collections::{BTreeSet, HashSet};

use data_encoding::HEXLOWER;
use tokio::sync::MutexGuard;

use crate::admin::directory::names::alias;
use crate::admin::directory::{Plan, Wanted, follows};
use crate::admin::{Admin, AdminError, check_text, invalid};
use crate::core::directory::{Person, Pushed, Said};
use crate::core::identities::Identities;
use crate::model::group::SourceGroup;
use crate::model::user::User;
use crate::model::user_key::{CONSOLE, UserKey};
use crate::secret::random;
use crate::store::{By, Change};

impl Admin {
    /// The turn to change what a source pushes: what is read under it is still so when it is written.
    pub async fn turn_to_push(&self) -> MutexGuard<'_, ()> {
        self.core.directories.pushing.lock().await
    }

    /// The users of a source.
    pub async fn users_of(&self, source: &str) -> Result<Vec<User>, AdminError> {
        let mut users = self.all_users().await?;
        users.retain(|user| is_shown(user, source));
        Ok(users)
    }

    /// The user of a source with this identity.
    pub async fn user_of(&self, source: &str, id: &str) -> Result<User, AdminError> {
        let key = {
            let mut known = self.core.directories.identities.lock().await;
            self.identities(&mut known)
                .await?
                .by_id(source, id)
                .cloned()
        };
        let found = key.map(|key| self.shown(source, &key)).transpose()?;
        let found = found.flatten().filter(|user| identity(user) == id);
        found.ok_or(AdminError::NotFound("user"))
    }

    /// The users of a source whom it calls so: `externalId`.
    pub async fn users_of_external(
        &self,
        source: &str,
        external: &str,
    ) -> Result<Vec<User>, AdminError> {
        let keys = {
            let mut known = self.core.directories.identities.lock().await;
            let known = self.identities(&mut known).await?;
            known.by_external(source, external)
        };
        let called = |user: &User| {
            let directory = user.directory.as_ref();
            directory.is_some_and(|one| one.external.as_deref() == Some(external))
        };
        let mut found = Vec::new();
        for key in keys {
            found.extend(self.shown(source, &key)?.filter(called));
        }
        Ok(found)
    }

    /// Reads all users when it is asked for the first time.
    async fn identities<'k>(
        &self,
        known: &'k mut Option<Identities>,
    ) -> Result<&'k mut Identities, AdminError> {
        if known.is_none() {
            *known = Some(Identities::of(&self.all_users().await?));
        }
        Ok(known.get_or_insert_default())
    }

    /// Notes a user that was pushed; behind the record of it.
    async fn note_identity(&self, user: &User) {
        if let Some(known) = &mut *self.core.directories.identities.lock().await {
            known.note(user);
        }
    }

    /// The user of this name, if the source is shown them.
    fn shown(&self, source: &str, key: &UserKey) -> Result<Option<User>, AdminError> {
        let user = self.core.store.view(key)?.map(|view| view.user);
        Ok(user.filter(|user| is_shown(user, source)))
    }

    /// The user of a source whom it calls so.
    pub fn user_called(&self, source: &Pushed, name: &str) -> Result<Option<User>, AdminError> {
        match key(source, name) {
            Ok(key) => self.shown(&source.name, &key),
            Err(_) => Ok(None),
        }
    }

    /// Makes a user as the source says; a person without an identity is new.
    pub async fn push_user(
        &self,
        source: &Pushed,
        mut person: Person,
        by: &By,
    ) -> Result<User, AdminError> {
        for text in [Some(&person.login), person.external.as_ref()] {
            text.map_or(Ok(()), |text| check_text("userName, externalId", text))?;
        }
        let key = key(source, &person.login)?;
        let named = self.core.store.view(&key)?.map(|view| view.user);
        let before = match person.id.as_str() {
            "" => named
                .clone()
                .filter(|user| comes_back(user, source, &person)),
            id => Some(self.user_of(&source.name, id).await?),
        };
        let own = before.as_ref().map(|before| &before.key);
        if named.is_some_and(|named| own != Some(&named.key)) {
            return Err(AdminError::Conflict("another user has this name"));
        }
        if person.id.is_empty() {
            person.id = self.new_identity()?;
        }
        // Groups are pushed by themselves.
        let groups = before.as_ref().map(|user| user.groups.clone());
        person.groups = groups.unwrap_or_default();
        let mut plan = Plan::default();
        let wanted = Wanted {
            source: &source.name,
            person: &person,
            says: &Said::ALL,
            aliases: self.aliases_of(source, &person, (own, &key))?,
            taken: false,
            key: key.clone(),
        };
        self.one(wanted, before.as_ref(), by.at, &mut plan);
        if plan.new.is_empty() && plan.changes.is_empty() && plan.sync.unchanged == 0 {
            let why = plan.sync.skipped.pop().map(|(_, why)| why);
            return invalid("user", why.unwrap_or_default());
        }
        // By itself, and not as an import: on record as any new user.
        for user in std::mem::take(&mut plan.new) {
            let change = Change::CreateUser(user, None);
            self.core.store.change(change, by.clone()).await?;
        }
        self.carry_out(plan, by).await?;
        let user = self.user(&key)?;
        self.note_identity(&user).await;
        Ok(user)
    }

    /// The other names of a person; `None`: the source says none. A name that leads to another user is left out.
    fn aliases_of(
        &self,
        source: &Pushed,
        person: &Person,
        (own, key): (Option<&UserKey>, &UserKey),
    ) -> Result<Option<Vec<UserKey>>, AdminError> {
        if !source.email_is_alias && !source.external_is_alias {
            return Ok(None);
        }
        let email = person.email.as_ref().filter(|_| source.email_is_alias);
        let external = person
            .external
            .as_ref()
            .filter(|_| source.external_is_alias);
        let mut aliases = Vec::new();
        for text in email.into_iter().chain(external) {
            let Ok(alias) = alias(text, &source.realm) else {
                continue;
            };
            let is_name = self.core.store.view(&alias)?.is_some();
            let owner = self.core.store.of_alias(&alias)?;
            let theirs = owner.is_none_or(|owner| Some(&owner) == own);
            if theirs && !is_name && alias != *key && !aliases.contains(&alias) {
                aliases.push(alias);
            }
        }
        Ok(Some(aliases))
    }

    /// What the deletion of a user by the provider does: the user is disabled, in no group of the source, and has no
    /// identity there.
    pub async fn push_away(
        &self,
        mut user: User,
        groups: &[SourceGroup],
        by: &By,
    ) -> Result<(), AdminError> {
        user.groups
            .retain(|name| !groups.iter().any(|group| group.name == *name));
        if let Some(directory) = &mut user.directory {
            directory.id.clear();
            directory.disabled |= !user.disabled;
        }
        user.disabled = true;
        let change = Change::UpdateUser(user);
        self.core.store.change(change, by.clone()).await?;
        Ok(())
    }

    fn new_identity(&self) -> Result<String, AdminError> {
        let octets: [u8; 16] =
            random(self.core.entropy.as_ref()).map_err(crate::core::CoreError::from)?;
        Ok(HEXLOWER.encode(&octets))
    }

    /// The groups of a source.
    pub fn source_groups(&self, source: &str) -> Result<Vec<SourceGroup>, AdminError> {
        Ok(self.core.store.source_groups(source)?)
    }

    /// Makes a group as the source says, new where it has no identity; it and its members.
    pub async fn push_group(
        &self,
        source: &Pushed,
        mut group: SourceGroup,
        members: &BTreeSet<String>,
        by: &By,
    ) -> Result<(SourceGroup, Vec<User>), AdminError> {
        check_text("displayName", &group.name)?;
        if let Some(external) = &group.external {
            check_text("externalId", external)?;
        }
        let mut groups = self.source_groups(&source.name)?;
        let users = self.users_of(&source.name).await?;
        let known: HashSet<&str> = users.iter().map(identity).collect();
        if !members.iter().all(|id| known.contains(id.as_str())) {
            return invalid("members", "one of them is no user of this source");
        }
        self.place(&mut groups, &mut group)?;
        let is_member = |user: &User| members.contains(identity(user));
        let gained = regrouped(&users, |user| {
            let mut names = user.groups.clone();
            if is_member(user) && !names.contains(&group.name) {
                names.push(group.name.clone());
            }
            names
        });
        if let Some((key, _)) = gained
            .iter()
            .find(|(_, user)| user.groups.len() > MEMBER_OF)
        {
            return invalid("members", format!("{key} has 64 groups already"));
        }
        self.regroup(gained, by).await?;
        self.set_groups(&source.name, groups.clone(), by).await?;
        let names: HashSet<&str> = groups.iter().map(|group| group.name.as_str()).collect();
        let users = self.users_of(&source.name).await?;
        let lost = regrouped(&users, |user| {
            let mut left = user.groups.clone();
            let stays = |name: &str| *name != group.name || is_member(user);
            left.retain(|name| names.contains(name.as_str()) && stays(name));
            left
        });
        self.regroup(lost, by).await?;
        let mut users = self.users_of(&source.name).await?;
        users.retain(is_member);
        Ok((group, users))
    }

    /// Puts a group among those of the source.
    fn place(
        &self,
        groups: &mut Vec<SourceGroup>,
        group: &mut SourceGroup,
    ) -> Result<(), AdminError> {
        let name = group.name.to_lowercase();
        let mut others = groups.iter().filter(|other| other.id != group.id);
        if others.any(|other| other.name.to_lowercase() == name) {
            return Err(AdminError::Conflict("another group has this name"));
        }
        if group.id.is_empty() {
            if groups.len() >= GROUPS {
                return invalid("displayName", "a source has at most 2000 groups");
            }
            group.id = self.new_identity()?;
            groups.push(group.clone());
            return Ok(());
        }
        let known = groups.iter_mut().find(|one| one.id == group.id);
        *known.ok_or(AdminError::NotFound("group"))? = group.clone();
        Ok(())
    }

    /// Removes a group; its members stay.
    pub async fn remove_source_group(
        &self,
        source: &str,
        id: &str,
        by: &By,
    ) -> Result<(), AdminError> {
        let mut groups = self.source_groups(source)?;
        let place = groups.iter().position(|group| group.id == id);
        let place = place.ok_or(AdminError::NotFound("group"))?;
        let group = groups.remove(place);
        let users = self.users_of(source).await?;
        let lost = regrouped(&users, |user| {
            let names = user.groups.iter().filter(|name| **name != group.name);
            names.cloned().collect()
        });
        self.regroup(lost, by).await?;
        self.set_groups(source, groups, by).await
    }

    async fn regroup(&self, changes: Vec<(UserKey, User)>, by: &By) -> Result<(), AdminError> {
        let plan = Plan {
            changes,
            ..Plan::default()
        };
        self.carry_out(plan, by).await.map(drop)
    }

    async fn set_groups(
        &self,
        source: &str,
        groups: Vec<SourceGroup>,
        by: &By,
    ) -> Result<(), AdminError> {
        if self.source_groups(source)? == groups {
            return Ok(());
        }
        let change = Change::SetSourceGroups(source.to_owned(), groups);
        self.core.store.change(change, by.clone()).await?;
        Ok(())
    }
}

/// Who such a name is. People of the console are no matter of a provider.
fn key(source: &Pushed, login: &str) -> Result<UserKey, AdminError> {
    let key = if login.contains(['@', '\\']) {
        UserKey::parse(login)
    } else {
        UserKey::with_realm(login, &source.realm)
    };
    match key {
        Ok(key) if key.realm() != CONSOLE => Ok(key),
        Ok(_) => invalid("userName", "people of the console are not pushed"),
        Err(_) => invalid("userName", "no user can have this name"),
    }
}

/// What the provider knows a user by; nothing of whom it has deleted.
fn identity(user: &User) -> &str {
    let directory = user.directory.as_ref();
    directory.map(|one| one.id.as_str()).unwrap_or_default()
}

fn is_shown(user: &User, source: &str) -> bool {
    follows(user, source) && !identity(user).is_empty() && user.key.realm() != CONSOLE
}

/// Whether a new person is one whom the provider had deleted: it calls them the same.
fn comes_back(user: &User, source: &Pushed, person: &Person) -> bool {
    let external = user
        .directory
        .as_ref()
        .and_then(|one| one.external.as_ref());
    let deleted = follows(user, &source.name) && identity(user).is_empty();
    deleted && external.is_some() && external == person.external.as_ref()
}

/// Those of the users whose groups become others.
fn regrouped(users: &[User], groups: impl Fn(&User) -> Vec<String>) -> Vec<(UserKey, User)> {
    let changed = users.iter().filter_map(|user| {
        let groups = groups(user);
        let other = groups != user.groups;
        other.then(|| {
            let after = User {
                groups,
                ..user.clone()
            };
            (user.key.clone(), after)
        })
    });
    changed.collect()
}

/// Most groups of a source.
const GROUPS: usize = 2000;
/// Most groups of a user.
const MEMBER_OF: usize = 64;
