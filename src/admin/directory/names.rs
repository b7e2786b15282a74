//! Names of people of a source: which user has them, on record and in the source.

use std::collections::{HashMap, HashSet};

use crate::core::directory::Person;
use crate::model::user::User;
use crate::model::user_key::{CONSOLE, UserKey};

/// All names that lead to a user.
pub(super) struct Names<'u> {
    realm: &'u str,
    users: HashMap<&'u UserKey, &'u User>,
    /// Whose alias a name is.
    aliases: HashMap<&'u UserKey, &'u UserKey>,
    /// Login names of the source.
    logins: HashSet<UserKey>,
    /// Aliases that people of the source get.
    given: HashSet<UserKey>,
}

impl<'u> Names<'u> {
    pub(super) fn new(realm: &'u str, users: &'u [User], people: &[Person]) -> Self {
        let aliases = users
            .iter()
            .flat_map(|user| user.aliases.iter().map(|alias| (alias, &user.key)));
        let logins = people
            .iter()
            .filter_map(|person| named(&person.login, realm).ok());
        Self {
            realm,
            users: users.iter().map(|user| (&user.key, user)).collect(),
            aliases: aliases.collect(),
            logins: logins.collect(),
            given: HashSet::new(),
        }
    }

    /// The user of this name.
    pub(super) fn user(&self, key: &UserKey) -> Option<&'u User> {
        self.users.get(key).copied()
    }

    /// The user who has this alias.
    pub(super) fn of_alias(&self, key: &UserKey) -> Option<&'u UserKey> {
        self.aliases.get(key).copied()
    }

    /// The aliases of a person who is called `key`, on record `own`. Those that lead elsewhere are left out, and why.
    pub(super) fn aliases(
        &mut self,
        person: &Person,
        (own, key): (&UserKey, &UserKey),
        skipped: &mut Vec<(String, String)>,
    ) -> Vec<UserKey> {
        let mut aliases: Vec<UserKey> = Vec::new();
        for text in &person.aliases {
            let mut skip = |why: String| skipped.push((person.login.clone(), why));
            let alias = match named(text, self.realm) {
                Ok(alias) => alias,
                Err(why) => {
                    skip(format!("alias {text}: {why}"));
                    continue;
                }
            };
            if alias == *key || aliases.contains(&alias) {
                continue;
            }
            let owner = self.of_alias(&alias);
            if self.users.contains_key(&alias) || self.logins.contains(&alias) {
                // One's name until now.
                if alias != *own {
                    skip(format!("alias {alias}: a user has this name"));
                }
            } else if let Some(owner) = owner.filter(|owner| *owner != own) {
                skip(format!("alias {alias}: {owner} has it"));
            } else if aliases.len() == User::ALIASES {
                skip(format!("a user has at most {} aliases", User::ALIASES));
                break;
            } else if self.given.insert(alias.clone()) {
                aliases.push(alias);
            } else {
                skip(format!(
                    "alias {alias}: another person of the source has it"
                ));
            }
        }
        aliases
    }
}

/// Who a name of a source is, read as at every front end: `name@realm` and `DOMAIN\name` say a realm, and a name
/// without one is of the source's. No source of another realm names people of the console, nor theirs other people.
pub(in crate::admin) fn named(text: &str, realm: &str) -> Result<UserKey, String> {
    let key = UserKey::parse_in(text, realm).map_err(|error| error.to_string())?;
    match (key.realm() == CONSOLE, realm == CONSOLE) {
        (true, false) => Err("people of the console have names of their own".to_owned()),
        (false, true) => Err(format!(
            "people of the console are of the realm `{CONSOLE}`"
        )),
        _ => Ok(key),
    }
}
