//! Users who follow a directory.
//!
//! ```text
//! all people of the source, all users on record -> new | changed | renamed | disabled | enabled -> carried out
//! ```
//!
//! Invariants: only users who came from the source are touched by it; nothing is changed unless all people were
//! read; a user is never removed. An identity is one user whatever it is called: their tokens stay with them. A
//! name that passes to another identity does not bring the tokens along. Where more than a tenth of the users are gone,
//! nothing is changed unless it was asked for, because a source is more often cut off than right.

use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::admin::directory::names::{Names, named};
use crate::admin::{Admin, AdminError, UserPatch, check_text};
use crate::core::directory::{DirectoryError, LastRun, People, Person, Said, SourceInfo, Unread};
use crate::model::message::Medium;
use crate::model::user::{DirectoryId, User};
use crate::model::user_key::UserKey;
use crate::store::{By, Change, Import, Synced};
use crate::time::UnixTime;

mod followed;
pub(super) mod names;

/// How users follow a source.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SyncOptions {
    /// Changes nothing: says what would be.
    pub dry_run: bool,
    /// Also disables more than a tenth of the users.
    pub force: bool,
    /// Takes over users of the same name who follow no source.
    pub adopt: bool,
}

/// What following a source changes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Sync {
    /// People whom the source has.
    pub people: usize,
    /// Users who are new.
    pub created: Vec<UserKey>,
    /// Users who were taken over.
    pub adopted: Vec<UserKey>,
    /// Users who are called otherwise now: from what to what.
    pub renamed: Vec<(UserKey, UserKey)>,
    /// What becomes another value.
    pub changed: Vec<Difference>,
    /// Users who are disabled.
    pub disabled: Vec<UserKey>,
    /// Users who are enabled again.
    pub enabled: Vec<UserKey>,
    /// Users of whom all is as it was.
    pub unchanged: usize,
    /// Entries and values that were left out, and why.
    pub skipped: Vec<(String, String)>,
}

/// A field of a user that becomes another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Difference {
    /// Whose.
    pub user: UserKey,
    /// Which.
    pub field: &'static str,
    /// What it was.
    pub before: Option<String>,
    /// What it is then.
    pub after: Option<String>,
}

/// What is done, and what is said of it.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) sync: Sync,
    pub(super) new: Vec<User>,
    /// Under the name on record.
    pub(super) changes: Vec<(UserKey, User)>,
}

/// A source and its users on record.
pub struct SourceState {
    /// What is configured.
    pub info: SourceInfo,
    /// Its users.
    pub users: usize,
    /// Those of them who are disabled.
    pub disabled: usize,
    /// How its last run ended, if there was one since the start.
    pub last: Option<LastRun>,
}

impl Admin {
    /// Every source, or the one of this name, with its users.
    pub async fn sources(&self, name: Option<&str>) -> Result<Vec<SourceState>, AdminError> {
        let mut sources = self.core.directories.sources();
        sources.retain(|source| name.is_none_or(|name| name == source.name));
        if name.is_some() && sources.is_empty() {
            return Err(AdminError::NotFound("source"));
        }
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        let users = self.all_users().await?;
        let state = |info: SourceInfo| {
            let own = users.iter().filter(|user| follows(user, &info.name));
            let disabled = own.clone().filter(|user| user.disabled).count();
            SourceState {
                users: own.count(),
                disabled,
                last: self.core.directories.last(&info.name),
                info,
            }
        };
        Ok(sources.into_iter().map(state).collect())
    }

    /// Makes the users of a source as the source says.
    pub async fn sync_source(
        &self,
        name: &str,
        options: SyncOptions,
        by: By,
    ) -> Result<Sync, AdminError> {
        let directories = &self.core.directories;
        let Ok(_turn) = directories.turn.try_lock() else {
            return Err(AdminError::Conflict("users follow a source at this moment"));
        };
        let done = self.sync(name, options, &by).await;
        if !options.dry_run && !matches!(done, Err(AdminError::NotFound(_))) {
            let result = match &done {
                Ok(sync) => Ok(sync.summary()),
                Err(error) => Err(error.to_string()),
            };
            let at = self.core.clock.now();
            directories.ran(name, LastRun { at, result });
        }
        done
    }

    async fn sync(&self, name: &str, options: SyncOptions, by: &By) -> Result<Sync, AdminError> {
        let directory = self.core.directories.get();
        let sources = self.core.directories.sources();
        let source = sources.iter().find(|source| source.name == name);
        let source = source.ok_or(AdminError::NotFound("source"))?;
        if source.kind == "scim" {
            return Err(AdminError::Conflict(
                "the client of this source pushes its users: there is nothing to ask",
            ));
        }
        let people = directory.read(name).await.map_err(|error| match error {
            DirectoryError::Unknown(_) => AdminError::NotFound("source"),
            error @ DirectoryError::Failed { .. } => AdminError::Directory(error),
        })?;
        let users = self.all_users().await?;
        let plan = self.follow(source, &people, &users, options, by.at);
        if !options.force {
            refuse_shrinkage(name, &users, &plan.sync)?;
        }
        if options.dry_run {
            return Ok(plan.sync);
        }
        let sync = self.carry_out(plan, by).await?;
        let says: Vec<String> = people.says.iter().map(ToString::to_string).collect();
        if sync.changes() > 0 || self.core.store.source_says(name)? != says {
            let synced = Change::SourceSynced(Synced {
                source: name.to_owned(),
                says,
                detail: sync.summary(),
            });
            self.core.store.change(synced, by.clone()).await?;
        }
        Ok(sync)
    }

    pub(super) async fn all_users(&self) -> Result<Vec<User>, AdminError> {
        let mut users: Vec<User> = Vec::new();
        loop {
            let after = users.last().map(|user| user.key.clone());
            let page = self.core.store.users(after.as_ref(), PAGE)?;
            let last = page.len() < PAGE;
            users.extend(page);
            if last {
                return Ok(users);
            }
            // Requests have their turn in between.
            tokio::task::yield_now().await;
        }
    }

    /// What a source changes.
    fn follow(
        &self,
        source: &SourceInfo,
        people: &People,
        users: &[User],
        options: SyncOptions,
        now: UnixTime,
    ) -> Plan {
        let mut plan = Plan::of(people);
        let own = users.iter().filter(|user| follows(user, &source.name));
        let by_id: HashMap<&str, &User> = own
            .filter_map(|user| Some((user.directory.as_ref()?.id.as_str(), user)))
            .collect();
        let mut names = Names::new(&source.realm, users, &people.people);
        let (mut ids, mut logins) = (HashSet::new(), HashSet::new());
        for person in &people.people {
            let mut skip = |why: &str| {
                let skipped = (person.login.clone(), why.to_owned());
                plan.sync.skipped.push(skipped);
            };
            if !ids.insert(person.id.as_str()) {
                skip("another entry has the same identity");
                continue;
            }
            let key = named(&person.login, &source.realm);
            let Ok(key) = key.map_err(|why| skip(&why)) else {
                continue;
            };
            if !logins.insert(key.clone()) {
                skip("another person of the source has this name");
                continue;
            }
            let known = by_id.get(person.id.as_str()).copied();
            let named = names.user(&key);
            let before = match (known, named) {
                (Some(known), _) => Some(known),
                (None, Some(named)) if named.directory.is_none() && options.adopt => Some(named),
                (None, Some(named)) => {
                    skip(taken_by(named, &source.name));
                    continue;
                }
                (None, None) if names.of_alias(&key).is_some() => {
                    skip("a user has this name as an alias");
                    continue;
                }
                (None, None) => None,
            };
            let aliases = people.says.contains(&Said::Aliases).then(|| {
                let own = before.map_or(&key, |before| &before.key);
                names.aliases(person, (own, &key), &mut plan.sync.skipped)
            });
            let own = before.map(|before| &before.key);
            let is_alias = names.of_alias(&key).is_some_and(|owner| Some(owner) != own);
            let wanted = Wanted {
                source: &source.name,
                person,
                says: &people.says,
                aliases,
                taken: is_alias || named.is_some(),
                key,
            };
            self.one(wanted, before, now, &mut plan);
        }
        ids.extend(people.unread.iter().filter_map(|one| one.id.as_deref()));
        let by_name = people.unread.iter();
        ids.extend(by_name.filter_map(|one| identity_of(one, source, &names)));
        leave(&source.name, users, &ids, &mut plan);
        plan
    }

    /// What becomes of one person: a new user, or the one on record.
    pub(super) fn one(
        &self,
        wanted: Wanted<'_>,
        before: Option<&User>,
        now: UnixTime,
        plan: &mut Plan,
    ) {
        let person = wanted.person;
        let mut after = before.cloned().unwrap_or_else(|| {
            let mut user = User::new(wanted.key.clone(), now);
            user.language = self.core.language();
            user
        });
        let name = after.key.clone();
        let patch = self.patch(&wanted, &name, &mut plan.sync.skipped);
        // Each value was looked at by itself.
        if let Err(error) = patch.apply(&mut after, now, self.addresses()) {
            plan.sync
                .skipped
                .push((person.login.clone(), error.to_string()));
            return;
        }
        if let Some(aliases) = wanted.aliases {
            after.aliases = aliases;
        }
        let by_source = before.and_then(|user| user.directory.as_ref());
        let by_source = by_source.is_some_and(|one| one.disabled);
        let disabled = person.disabled || (after.disabled && !by_source);
        let mut directory = DirectoryId {
            source: wanted.source.to_owned(),
            id: person.id.clone(),
            external: person.external.clone(),
            disabled: person.disabled && (by_source || !after.disabled),
        };
        after.disabled = disabled;
        let Some(before) = before else {
            directory.disabled = person.disabled;
            after.directory = Some(directory);
            plan.sync.created.push(after.key.clone());
            plan.new.push(after);
            return;
        };
        after.directory = Some(directory);
        if before.directory.is_none() {
            plan.sync.adopted.push(name.clone());
        }
        let differences = differences(before, &after);
        match (before.disabled, disabled) {
            (false, true) => plan.sync.disabled.push(name.clone()),
            (true, false) => plan.sync.enabled.push(name.clone()),
            _ => {}
        }
        plan.sync.changed.extend(differences);
        if wanted.key != name {
            if wanted.taken {
                let why = format!("the name is a user's or an alias; {name} keeps theirs");
                plan.sync.skipped.push((person.login.clone(), why));
            } else {
                plan.sync.renamed.push((name.clone(), wanted.key.clone()));
                after.key = wanted.key;
                let key = &after.key;
                after.aliases.retain(|alias| alias != key);
            }
        }
        if after == *before {
            plan.sync.unchanged += 1;
        } else {
            plan.changes.push((name, after));
        }
    }

    /// What the source says of a person. What cannot be on record is left as it is, and said.
    fn patch(
        &self,
        wanted: &Wanted<'_>,
        name: &UserKey,
        skipped: &mut Vec<(String, String)>,
    ) -> UserPatch {
        let person = wanted.person;
        let mut good = |said: Said, value: &Option<String>, medium: Option<Medium>| {
            let field = said.as_str();
            if !wanted.says.contains(&said) {
                return None;
            }
            let Some(text) = value else {
                return Some(None);
            };
            let fine = check_text(field, text).and_then(|()| match medium {
                Some(medium) => self.normal(field, medium, text).map(drop),
                None => Ok(()),
            });
            match fine {
                Ok(()) => Some(Some(text.clone())),
                Err(error) => {
                    skipped.push((name.to_string(), error.to_string()));
                    None
                }
            }
        };
        let display_name = good(Said::DisplayName, &person.display_name, None);
        let phone = good(Said::Phone, &person.phone, Some(Medium::Sms));
        let email = good(Said::Email, &person.email, Some(Medium::Email));
        let mut groups = wanted
            .says
            .contains(&Said::Groups)
            .then(|| person.groups.clone());
        let fit = |group: &String| check_text("group", group).is_ok();
        if person.groups.len() > GROUPS || !person.groups.iter().all(fit) {
            let why = "a user has at most 64 groups, of 1 to 256 octets each: name those that count in `groups`";
            skipped.push((name.to_string(), why.to_owned()));
            groups = None;
        }
        UserPatch {
            groups,
            display_name,
            phone,
            email,
            ..UserPatch::default()
        }
    }

    pub(super) async fn carry_out(&self, plan: Plan, by: &By) -> Result<Sync, AdminError> {
        let store = &self.core.store;
        let mut new = plan.new;
        while !new.is_empty() {
            let rest = new.split_off(new.len().min(BATCH));
            let users = new.into_iter().map(|user| Import::User(Box::new(user)));
            let import = Change::Import(store.prepare(users.collect(), by.at)?);
            store.change(import, by.clone()).await?;
            new = rest;
        }
        let changes = plan.changes.into_iter().map(|(from, user)| async move {
            let change = if from == user.key {
                Change::UpdateUser(user)
            } else {
                Change::RenameUser(from.clone(), user)
            };
            self.change_known(change, by.clone()).await?;
            Ok::<_, AdminError>(())
        });
        // Several at a time share a commit. What was changed before one failed stays: the next run goes on.
        stream::iter(changes)
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        for (from, _) in &plan.sync.renamed {
            self.core.locks.ended(from);
        }
        Ok(plan.sync)
    }
}

impl Sync {
    /// Users who are not as they were.
    pub fn changes(&self) -> usize {
        let values: HashSet<&UserKey> = self.changed.iter().map(|one| &one.user).collect();
        self.created.len()
            + self.adopted.len()
            + self.renamed.len()
            + values.len()
            + self.disabled.len()
            + self.enabled.len()
    }

    /// In one line.
    pub fn summary(&self) -> String {
        let values: HashSet<&UserKey> = self.changed.iter().map(|one| &one.user).collect();
        let mut text = format!("{} in the source", self.people);
        for (number, what) in [
            (self.created.len(), "new"),
            (self.adopted.len(), "taken over"),
            (self.renamed.len(), "renamed"),
            (values.len(), "changed"),
            (self.disabled.len(), "disabled"),
            (self.enabled.len(), "enabled"),
            (self.skipped.len(), "left out"),
        ] {
            if number > 0 {
                push!(text, ", {number} {what}");
            }
        }
        text
    }
}

pub(super) struct Wanted<'w> {
    pub(super) source: &'w str,
    pub(super) person: &'w Person,
    /// What the source says of it.
    pub(super) says: &'w [Said],
    /// All other names that it gets; `None`: the source says none.
    pub(super) aliases: Option<Vec<UserKey>>,
    pub(super) key: UserKey,
    /// Whether the name leads to another user.
    pub(super) taken: bool,
}

pub(super) fn follows(user: &User, source: &str) -> bool {
    let directory = user.directory.as_ref();
    directory.is_some_and(|one| one.source == source)
}

impl Plan {
    /// With what is said of these people, and nothing done.
    fn of(people: &People) -> Self {
        let skipped = people.unread.iter();
        let skipped = skipped.map(|one| (one.entry.clone(), one.why.clone()));
        let sync = Sync {
            people: people.people.len(),
            skipped: skipped.collect(),
            ..Sync::default()
        };
        Self {
            sync,
            ..Self::default()
        }
    }
}

/// The identity of the user whose entry is not understood, by its login name: it is there, and the user is left as they
/// are.
fn identity_of<'u>(unread: &Unread, source: &SourceInfo, names: &Names<'u>) -> Option<&'u str> {
    let key = named(unread.login.as_deref()?, &source.realm).ok()?;
    let user = names.user(&key).filter(|user| follows(user, &source.name));
    user?.directory.as_ref().map(|one| one.id.as_str())
}

/// Refuses what is more often a source that was cut off, or an account that may read less than before, than the truth.
fn refuse_shrinkage(source: &str, users: &[User], sync: &Sync) -> Result<(), AdminError> {
    let own = || users.iter().filter(|user| follows(user, source));
    let all = own().filter(|user| !user.disabled).count();
    let gone = sync.disabled.len();
    if gone.saturating_mul(10) > all {
        return Err(AdminError::Shrinks { gone, all });
    }
    for (field, value) in FIELDS {
        let had = own().filter(|user| value(user).is_some()).count();
        let lost = sync
            .changed
            .iter()
            .filter(|one| one.field == field && one.after.is_none());
        let lost = lost.count();
        if lost >= FEW && lost.saturating_mul(10) > had {
            return Err(AdminError::Loses { field, lost, had });
        }
    }
    Ok(())
}

/// Disables the users of a source whom it does not have any more.
fn leave(source: &str, users: &[User], ids: &HashSet<&str>, plan: &mut Plan) {
    let gone = users.iter().filter(|user| {
        let id = user.directory.as_ref().map(|one| one.id.as_str());
        follows(user, source) && !user.disabled && id.is_some_and(|id| !ids.contains(id))
    });
    for user in gone {
        let mut after = user.clone();
        after.disabled = true;
        if let Some(directory) = &mut after.directory {
            directory.disabled = true;
        }
        plan.sync.disabled.push(user.key.clone());
        plan.changes.push((user.key.clone(), after));
    }
}

/// Why a person does not become the user of their name.
fn taken_by(named: &User, source: &str) -> &'static str {
    match &named.directory {
        None => "a user of this name follows no source: `--adopt` takes them over",
        Some(other) if other.source == source => {
            "the user of this name is another person, whom the source does not have any more: remove that user first"
        }
        Some(_) => "a user of this name follows another source",
    }
}

fn differences(before: &User, after: &User) -> Vec<Difference> {
    let changed = FIELDS.into_iter().filter_map(|(field, value)| {
        let (was, is) = (value(before), value(after));
        (was != is).then(|| Difference {
            user: before.key.clone(),
            field,
            before: was,
            after: is,
        })
    });
    changed.collect()
}

/// A value of a user as text; `None`: there is none.
type Value = fn(&User) -> Option<String>;

/// What a source changes of a user.
const FIELDS: [(&str, Value); 5] = [
    ("groups", |user| {
        (!user.groups.is_empty()).then(|| user.groups.join(", "))
    }),
    ("display_name", |user| user.display_name.clone()),
    ("phone", |user| user.phone.clone()),
    ("email", |user| user.email.clone()),
    ("aliases", |user| {
        let names: Vec<String> = user.aliases.iter().map(UserKey::joined).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }),
];

/// So few users may lose a value whatever part of all they are.
const FEW: usize = 10;
/// Users read at a time.
const PAGE: usize = 1000;
/// Users made in one change.
const BATCH: usize = 500;
/// Changes that wait for the store at a time.
const AT_ONCE: usize = 64;
/// Most groups of a user.
const GROUPS: usize = 64;
