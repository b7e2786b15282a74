//! Users of pushed sources, by what their providers call them.
//!
//! Invariant: made once from all users, and told of every user that is pushed from then on, it has every identity.
//! That a user still has one is for the store to say.

use std::collections::{BTreeSet, HashMap};

use crate::model::user::User;
use crate::model::user_key::UserKey;

/// Names by identity.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    /// By source and identity.
    ids: HashMap<(String, String), UserKey>,
    /// By source and what the source calls that, which several users may share.
    externals: HashMap<(String, String), BTreeSet<UserKey>>,
}

impl Identities {
    /// Those of all these users.
    pub(crate) fn of(users: &[User]) -> Self {
        let mut found = Self::default();
        for user in users {
            found.note(user);
        }
        found
    }

    /// Adds those of a user.
    pub(crate) fn note(&mut self, user: &User) {
        let Some(follows) = &user.directory else {
            return;
        };
        let source = &follows.source;
        if !follows.id.is_empty() {
            let id = (source.clone(), follows.id.clone());
            self.ids.insert(id, user.key.clone());
        }
        if let Some(external) = &follows.external {
            let external = (source.clone(), external.clone());
            let users = self.externals.entry(external).or_default();
            users.insert(user.key.clone());
        }
    }

    /// Who has or had this identity.
    pub(crate) fn by_id(&self, source: &str, id: &str) -> Option<&UserKey> {
        self.ids.get(&(source.to_owned(), id.to_owned()))
    }

    /// Who is or was called so.
    pub(crate) fn by_external(&self, source: &str, external: &str) -> Vec<UserKey> {
        let users = self
            .externals
            .get(&(source.to_owned(), external.to_owned()));
        users.into_iter().flatten().cloned().collect()
    }
}
