//! Users and groups that an identity provider pushes.
//!
//! Invariants: as for users who follow a directory ([`crate::admin::directory`]): an identity is one user whatever it
//! is called, only users of the source are touched, and a user is never removed. Whom the provider deletes is disabled
//! and has no identity there any more; the same person comes back by what the provider calls them, for another person
//! of that name is not to have the tokens. People of the console are not reached.
//!
//! A group and its members are several records. They are written in an order that the same request, or the next one of
//! the source, completes: members gain the name, the group is on record, then names of no group go.

use std::collections::BTreeSet;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use tokio::sync::{MappedMutexGuard, MutexGuard};

use crate::admin::directory::names::named;
use crate::admin::directory::{Plan, Wanted, follows};
use crate::admin::{Admin, AdminError, check_text, invalid};
use crate::core::CoreError;
use crate::core::directory::{Person, Pushed, Said};
use crate::core::identities::Identities;
use crate::model::group::SourceGroup;
use crate::model::user::User;
use crate::model::user_key::{CONSOLE, UserKey};
use crate::secret::random;
use crate::store::{By, Change, GroupAct, Store, StoreError};
use crate::time::UnixTime;

impl Admin {
    /// The turn to change what a source pushes: what is read under it is still so when it is written.
    pub async fn turn_to_push(&self) -> MutexGuard<'_, ()> {
        self.core.directories.pushing.lock().await
    }

    /// The users of a source; reads all users.
    pub async fn users_of(&self, source: &str) -> Result<Vec<User>, AdminError> {
        let mut users = self.all_users().await?;
        users.retain(|user| is_shown(user, source));
        Ok(users)
    }

    /// How many users a source has, and `limit` of them in order of name, without the first `skip`.
    pub async fn some_users_of(
        &self,
        source: &str,
        skip: usize,
        limit: usize,
    ) -> Result<(usize, Vec<User>), AdminError> {
        let (total, keys) = self.providers_know().await?.users(source, skip, limit);
        let mut users = Vec::with_capacity(keys.len());
        for key in keys {
            users.extend(self.shown(source, &key)?);
        }
        Ok((total, users))
    }

    /// The user of a source with this identity.
    pub async fn user_of(&self, source: &str, id: &str) -> Result<User, AdminError> {
        let key = self.providers_know().await?.by_id(source, id).cloned();
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
        let keys = self.providers_know().await?.by_external(source, external);
        let mut found = Vec::new();
        for key in keys {
            found.extend(self.shown(source, &key)?);
        }
        Ok(found)
    }

    /// What providers know; reads all users when it is asked for the first time.
    async fn providers_know(&self) -> Result<MappedMutexGuard<'_, Identities>, AdminError> {
        let directories = &self.core.directories;
        let mut known = directories.identities.lock().await;
        if known.is_none() {
            let mut sources = Vec::new();
            for source in directories.pushed() {
                let groups = self.core.store.source_groups(&source)?;
                sources.push((source, groups));
            }
            let mut all = Identities::of(sources.into_iter());
            for user in &self.all_users().await? {
                all.note(&user.key, Some(user));
            }
            *known = Some(all);
        }
        Ok(MutexGuard::map(known, |known| {
            known.get_or_insert_default()
        }))
    }

    /// Changes a user or a group of a source, and what providers know of them, in a task of its own: a caller who hangs
    /// up in between does not leave one without the other.
    pub(super) async fn change_known(&self, change: Change, by: By) -> Result<(), StoreError> {
        let touched = Touched::by(&change);
        let core = Arc::clone(&self.core);
        let task = tokio::spawn(async move {
            let done = core.store.change(change, by).await;
            let mut known = core.directories.identities.lock().await;
            if matches!(done, Err(StoreError::Unavailable(_))) {
                // Whether it was carried out shows when they are read again.
                *known = None;
            }
            if let Some(identities) = &mut *known
                && done.is_ok()
                && touched.note(identities, &core.store).is_err()
            {
                *known = None;
            }
            done
        });
        task.await
            .unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())))
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
        for mut user in std::mem::take(&mut plan.new) {
            user.revision = self.core.first_revision().map_err(CoreError::from)?;
            let change = Change::CreateUser(user, None);
            self.change_known(change, by.clone()).await?;
        }
        self.carry_out(plan, by).await?;
        self.user(&key)
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
            let Ok(alias) = named(text, &source.realm) else {
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
    pub async fn push_away(&self, source: &str, mut user: User, by: &By) -> Result<(), AdminError> {
        let groups = self.source_groups(source).await?;
        user.groups
            .retain(|name| !groups.iter().any(|group| group.name == *name));
        if let Some(directory) = &mut user.directory {
            directory.id.clear();
            directory.disabled |= !user.disabled;
        }
        user.disabled = true;
        let change = Change::UpdateUser(user);
        Ok(self.change_known(change, by.clone()).await?)
    }

    fn new_identity(&self) -> Result<String, AdminError> {
        let octets: [u8; 16] = random(self.core.entropy.as_ref()).map_err(CoreError::from)?;
        Ok(HEXLOWER.encode(&octets))
    }

    /// The groups of a source.
    pub async fn source_groups(&self, source: &str) -> Result<Vec<SourceGroup>, AdminError> {
        Ok(self.providers_know().await?.groups(source).to_vec())
    }

    /// The members of a group of a source, and their identities, in order of name.
    pub async fn members_of(
        &self,
        source: &str,
        group: &SourceGroup,
    ) -> Result<Vec<(UserKey, String)>, AdminError> {
        Ok(self.providers_know().await?.members(source, &group.name))
    }

    /// Makes a group as the source says, new where it has no identity; it and its members. Identities that no user of
    /// the source has are left out: an identity is never given again, so nothing is lost, and the other members of
    /// the same request are not kept waiting.
    pub async fn push_group(
        &self,
        source: &Pushed,
        mut group: SourceGroup,
        members: &BTreeSet<String>,
        by: &By,
    ) -> Result<SourceGroup, AdminError> {
        check_text("displayName", &group.name)?;
        if let Some(external) = &group.external {
            check_text("externalId", external)?;
        }
        let groups = self.source_groups(&source.name).await?;
        let former = self.place(&groups, &mut group, by.at)?;
        let (wanted, present) = {
            let known = self.providers_know().await?;
            let wanted = members
                .iter()
                .filter_map(|id| known.by_id(&source.name, id));
            let wanted: BTreeSet<UserKey> = wanted.cloned().collect();
            let present = known.members(&source.name, &group.name).into_iter();
            let present: BTreeSet<UserKey> = present.map(|(key, _)| key).collect();
            (wanted, present)
        };
        let unknown = members.len() - wanted.len();
        if unknown > 0 {
            tracing::info!(
                source = source.name,
                group = group.name,
                unknown,
                "members who are no users of the source were left out"
            );
        }
        let gained = self.regrouped(source, wanted.difference(&present), |names| {
            names.push(group.name.clone());
        })?;
        let full = |(_, user): &&(UserKey, User)| user.groups.len() > MEMBER_OF;
        if let Some((key, _)) = gained.iter().find(full) {
            return invalid("members", format!("{key} has 64 groups already"));
        }
        let left = present.difference(&wanted).next().is_some();
        let same = former.as_ref() == Some(&group) && gained.is_empty() && !left;
        self.regroup(gained, by).await?;
        if !same {
            group.modified = by.at;
            let act = GroupAct {
                source: source.name.clone(),
                id: group.id.clone(),
                group: Some(group.clone()),
            };
            let change = Change::SourceGroup(act);
            self.change_known(change, by.clone()).await?;
        }
        // A name that no group has any more, after a change of the name or one that was cut short, goes too.
        let leaving: BTreeSet<UserKey> = present.difference(&wanted).cloned().collect();
        self.leave(source, &group.name, leaving, by).await?;
        Ok(group)
    }

    /// Takes the name of a group from these users; and every name that no group has from the users of the source.
    async fn leave(
        &self,
        source: &Pushed,
        name: &str,
        leaving: BTreeSet<UserKey>,
        by: &By,
    ) -> Result<(), AdminError> {
        let (strays, groups) = {
            let known = self.providers_know().await?;
            let groups = known.groups(&source.name).iter();
            let names: BTreeSet<String> = groups.map(|group| group.name.clone()).collect();
            (known.strays(&source.name), names)
        };
        let mut lost = self.regrouped(source, leaving.iter(), |names| {
            names.retain(|one| one != name && groups.contains(one));
        })?;
        let strays: BTreeSet<UserKey> = strays.difference(&leaving).cloned().collect();
        lost.extend(self.regrouped(source, strays.iter(), |names| {
            names.retain(|one| groups.contains(one));
        })?);
        self.regroup(lost, by).await
    }

    /// Those of the users whose groups become others.
    fn regrouped<'k>(
        &self,
        source: &Pushed,
        keys: impl Iterator<Item = &'k UserKey>,
        change: impl Fn(&mut Vec<String>),
    ) -> Result<Vec<(UserKey, User)>, AdminError> {
        let mut changed = Vec::new();
        for key in keys {
            let Some(before) = self.shown(&source.name, key)? else {
                continue;
            };
            let mut after = before.clone();
            change(&mut after.groups);
            if after != before {
                changed.push((key.clone(), after));
            }
        }
        Ok(changed)
    }

    /// Finds the place of a group among those of the source; the group that is there now.
    fn place(
        &self,
        groups: &[SourceGroup],
        group: &mut SourceGroup,
        now: UnixTime,
    ) -> Result<Option<SourceGroup>, AdminError> {
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
            group.created = now;
            return Ok(None);
        }
        let known = groups.iter().find(|one| one.id == group.id);
        let known = known.ok_or(AdminError::NotFound("group"))?;
        (group.created, group.modified) = (known.created, known.modified);
        Ok(Some(known.clone()))
    }

    /// Removes a group; its members stay.
    pub async fn remove_source_group(
        &self,
        source: &Pushed,
        id: &str,
        by: &By,
    ) -> Result<(), AdminError> {
        let groups = self.source_groups(&source.name).await?;
        let group = groups.iter().find(|group| group.id == id);
        let group = group.ok_or(AdminError::NotFound("group"))?;
        let members = self.members_of(&source.name, group).await?.into_iter();
        let members: BTreeSet<UserKey> = members.map(|(key, _)| key).collect();
        self.leave(source, &group.name, members, by).await?;
        let change = Change::SourceGroup(GroupAct {
            source: source.name.clone(),
            id: id.to_owned(),
            group: None,
        });
        Ok(self.change_known(change, by.clone()).await?)
    }

    async fn regroup(&self, changes: Vec<(UserKey, User)>, by: &By) -> Result<(), AdminError> {
        let plan = Plan {
            changes,
            ..Plan::default()
        };
        self.carry_out(plan, by).await.map(drop)
    }
}

/// What a change touches of what providers know.
enum Touched {
    /// These users, where one is of this source or was of any.
    Users(Vec<UserKey>, Option<String>),
    Group(GroupAct),
    Nothing,
}

impl Touched {
    fn by(change: &Change) -> Self {
        let of = |user: &User| user.directory.as_ref().map(|one| one.source.clone());
        match change {
            Change::CreateUser(user, _) | Change::UpdateUser(user) => {
                Self::Users(vec![user.key.clone()], of(user))
            }
            Change::RenameUser(from, user) => {
                Self::Users(vec![from.clone(), user.key.clone()], of(user))
            }
            Change::RemoveUser(key, _) | Change::EraseUser(key) => {
                Self::Users(vec![key.clone()], None)
            }
            Change::SourceGroup(act) => Self::Group(act.clone()),
            _ => Self::Nothing,
        }
    }

    /// Notes it as the store has it.
    fn note(self, known: &mut Identities, store: &Store) -> Result<(), StoreError> {
        match self {
            Self::Users(keys, source) => {
                for key in keys {
                    if known.concerns(&key, source.as_deref()) {
                        let user = store.view(&key)?.map(|view| view.user);
                        known.note(&key, user.as_ref());
                    }
                }
            }
            Self::Group(act) => match act.group {
                Some(group) => known.note_group(&act.source, group),
                None => known.forget_group(&act.source, &act.id),
            },
            Self::Nothing => {}
        }
        Ok(())
    }
}

/// Who such a name is. People of the console are no matter of a provider.
fn key(source: &Pushed, login: &str) -> Result<UserKey, AdminError> {
    named(login, &source.realm).or_else(|why| invalid("userName", why))
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

/// Most groups of a source.
const GROUPS: usize = 2000;
/// Most groups of a user.
const MEMBER_OF: usize = 64;
