//! Users and groups of pushed sources, as their providers know them.
//!
//! Invariant: made once from all users and groups, and told of each that changes from then on, it has what the store
//! has.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::model::group::SourceGroup;
use crate::model::user::User;
use crate::model::user_key::{CONSOLE, UserKey};

/// The users and groups of every pushed source.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    sources: HashMap<String, Followers>,
    /// What is noted of a user.
    noted: HashMap<UserKey, Marks>,
}

/// Those of one source.
#[derive(Debug, Default)]
struct Followers {
    users: BTreeSet<UserKey>,
    ids: HashMap<String, UserKey>,
    /// By what the source calls a user, which several may share.
    externals: HashMap<String, BTreeSet<UserKey>>,
    /// Members of a group, and their identities.
    members: HashMap<String, BTreeMap<UserKey, String>>,
    groups: Vec<SourceGroup>,
}

#[derive(Debug)]
struct Marks {
    source: String,
    id: String,
    external: Option<String>,
    groups: Vec<String>,
}

impl Identities {
    /// Of these sources, which have no users yet.
    pub(crate) fn of(sources: impl Iterator<Item = (String, Vec<SourceGroup>)>) -> Self {
        let followers = |(source, groups)| {
            let followers = Followers {
                groups,
                ..Followers::default()
            };
            (source, followers)
        };
        Self {
            sources: sources.map(followers).collect(),
            noted: HashMap::new(),
        }
    }

    /// Whether a change of this user matters here.
    pub(crate) fn concerns(&self, user: &UserKey, source: Option<&str>) -> bool {
        self.noted.contains_key(user) || source.is_some_and(|one| self.sources.contains_key(one))
    }

    /// Notes a user as the store has it; `None`: there is none of this name.
    pub(crate) fn note(&mut self, key: &UserKey, user: Option<&User>) {
        self.forget(key);
        let Some((user, marks)) = user.and_then(|user| Some((user, Marks::of(user)?))) else {
            return;
        };
        let Some(of) = self.sources.get_mut(&marks.source) else {
            return;
        };
        of.users.insert(user.key.clone());
        of.ids.insert(marks.id.clone(), user.key.clone());
        if let Some(external) = &marks.external {
            let users = of.externals.entry(external.clone()).or_default();
            users.insert(user.key.clone());
        }
        for group in &marks.groups {
            let members = of.members.entry(group.clone()).or_default();
            members.insert(user.key.clone(), marks.id.clone());
        }
        self.noted.insert(user.key.clone(), marks);
    }

    fn forget(&mut self, key: &UserKey) {
        let Some(marks) = self.noted.remove(key) else {
            return;
        };
        let Some(of) = self.sources.get_mut(&marks.source) else {
            return;
        };
        of.users.remove(key);
        if of.ids.get(&marks.id) == Some(key) {
            of.ids.remove(&marks.id);
        }
        if let Some(external) = &marks.external
            && let Some(users) = of.externals.get_mut(external)
        {
            users.remove(key);
            if users.is_empty() {
                of.externals.remove(external);
            }
        }
        for group in &marks.groups {
            let Some(members) = of.members.get_mut(group) else {
                continue;
            };
            members.remove(key);
            if members.is_empty() {
                of.members.remove(group);
            }
        }
    }

    /// How many users a source has, and `limit` of them in order of name, without the first `skip`.
    pub(crate) fn users(&self, source: &str, skip: usize, limit: usize) -> (usize, Vec<UserKey>) {
        let Some(of) = self.sources.get(source) else {
            return (0, Vec::new());
        };
        let page = of.users.iter().skip(skip).take(limit);
        (of.users.len(), page.cloned().collect())
    }

    /// Who has this identity.
    pub(crate) fn by_id(&self, source: &str, id: &str) -> Option<&UserKey> {
        self.sources.get(source)?.ids.get(id)
    }

    /// Who is called so.
    pub(crate) fn by_external(&self, source: &str, external: &str) -> Vec<UserKey> {
        let of = self.sources.get(source);
        let users = of.and_then(|of| of.externals.get(external));
        users.into_iter().flatten().cloned().collect()
    }

    /// The groups of a source.
    pub(crate) fn groups(&self, source: &str) -> &[SourceGroup] {
        let of = self.sources.get(source);
        of.map(|of| of.groups.as_slice()).unwrap_or_default()
    }

    /// Notes a group as the store has it.
    pub(crate) fn note_group(&mut self, source: &str, group: SourceGroup) {
        let Some(of) = self.sources.get_mut(source) else {
            return;
        };
        match of.groups.iter_mut().find(|one| one.id == group.id) {
            Some(known) => *known = group,
            None => of.groups.push(group),
        }
    }

    /// Forgets a group.
    pub(crate) fn forget_group(&mut self, source: &str, id: &str) {
        if let Some(of) = self.sources.get_mut(source) {
            of.groups.retain(|group| group.id != id);
        }
    }

    /// The users with this name among their groups, and their identities, in order of name.
    pub(crate) fn members(&self, source: &str, group: &str) -> Vec<(UserKey, String)> {
        let of = self.sources.get(source);
        let members = of.and_then(|of| of.members.get(group));
        let members = members.into_iter().flatten();
        members.map(|(key, id)| (key.clone(), id.clone())).collect()
    }

    /// Users with a name among their groups that is none of a group of the source.
    pub(crate) fn strays(&self, source: &str) -> BTreeSet<UserKey> {
        let Some(of) = self.sources.get(source) else {
            return BTreeSet::new();
        };
        let names: BTreeSet<&str> = of.groups.iter().map(|one| one.name.as_str()).collect();
        let strays = of
            .members
            .iter()
            .filter(|(name, _)| !names.contains(name.as_str()));
        strays
            .flat_map(|(_, members)| members.keys().cloned())
            .collect()
    }
}

impl Marks {
    /// Of a user whom a source is shown: not of one whom its provider has deleted, nor of people of the console.
    fn of(user: &User) -> Option<Self> {
        let follows = user.directory.as_ref()?;
        if follows.id.is_empty() || user.key.realm() == CONSOLE {
            return None;
        }
        Some(Self {
            source: follows.source.clone(),
            id: follows.id.clone(),
            external: follows.external.clone(),
            groups: user.groups.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::user::DirectoryId;
    use crate::time::UnixTime;

    fn user(name: &str, id: &str, groups: &[&str]) -> User {
        let mut user = User::new(name.parse().unwrap(), UnixTime::default());
        user.groups = groups.iter().map(|&group| group.to_owned()).collect();
        user.directory = Some(DirectoryId {
            source: "idp".to_owned(),
            id: id.to_owned(),
            external: Some("x".to_owned()),
            disabled: false,
        });
        user
    }

    #[test]
    fn it_has_what_was_noted_last() {
        let mut known = Identities::of([("idp".to_owned(), Vec::new())].into_iter());
        let (ann, bob) = (
            user("ann", "1", &["vpn"]),
            user("bob", "2", &["vpn", "own"]),
        );
        for one in [&ann, &bob] {
            known.note(&one.key, Some(one));
        }
        assert_eq!(known.members("idp", "vpn").len(), 2);
        assert_eq!(known.by_external("idp", "x").len(), 2);
        let elsewhere = User {
            directory: None,
            ..user("carol", "3", &[])
        };
        known.note(&elsewhere.key, Some(&elsewhere));
        assert_eq!(known.users("idp", 1, 5), (2, vec![bob.key.clone()]));
        // Another name, and other groups; deleted by the provider; gone.
        let anna = user("anna", "1", &[]);
        known.note(&ann.key, None);
        known.note(&anna.key, Some(&anna));
        assert_eq!(known.by_id("idp", "1"), Some(&anna.key));
        assert_eq!(
            known.members("idp", "vpn"),
            [(bob.key.clone(), "2".to_owned())]
        );
        assert_eq!(known.strays("idp"), BTreeSet::from([bob.key.clone()]));
        known.note(&bob.key, Some(&user("bob", "", &["vpn"])));
        assert_eq!(known.users("idp", 0, 5), (1, vec![anna.key.clone()]));
        assert_eq!(known.by_id("idp", "2"), None);
        assert!(known.concerns(&anna.key, None) && !known.concerns(&bob.key, None));
        known.note(&anna.key, None);
        assert!(known.by_external("idp", "x").is_empty());
        assert!(known.members("idp", "vpn").is_empty());
    }
}
