//! Users and tokens, many at a time.
//!
//! Invariants: a batch is carried out whole or not at all, and is one audit record; a user who
//! exists is never changed by it. So an import that was interrupted is repeated with
//! [`Existing::Skip`], and ends where it would have ended.

use std::collections::{HashMap, HashSet};

use sha2::{Digest as _, Sha256};

use crate::admin::Admin;
use crate::admin::{AdminError, Aliases, NewToken, UserPatch, invalid};
use crate::core::TRIES;
use crate::credential::Hash;
use crate::model::credential::{Credentials, Knowledge, Verifier};
use crate::model::id::Serial;
use crate::model::message::{AddressError, Medium, address};
use crate::model::token::Token;
use crate::model::user::User;
use crate::model::user_key::UserKey;
use crate::secret::SecretString;
use crate::store::{ALIAS_TAKEN, By, Change, Import, NAME_IS_ALIAS, OTHER_USE, StoreError};
use crate::time::UnixTime;

/// A user, or a token of one, to be made.
#[derive(Debug)]
pub struct ImportRow {
    /// Who.
    pub user: UserKey,
    /// What is known of the user; none where the user must exist.
    pub about: Option<About>,
    /// The token, if one.
    pub token: Option<NewToken>,
    /// A PIN's hash from another system.
    pub pin_hash: Option<SecretString>,
    /// A password's hash from another system.
    pub password_hash: Option<SecretString>,
}

/// What an import can say about a user.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Other names.
    pub aliases: Vec<String>,
    /// Groups.
    pub groups: Vec<String>,
    /// The name as people write it.
    pub display_name: Option<String>,
    /// Telephone number.
    pub phone: Option<String>,
    /// Mail address.
    pub email: Option<String>,
    /// Class for policy rules.
    pub class: Option<String>,
}

impl About {
    /// Whether a user could be made with it, as far as that can be said without the server: the country
    /// of a number without one is in its configuration.
    pub fn check(&self, key: UserKey, now: UnixTime) -> Result<(), AdminError> {
        let normal = |field, medium, text: &str| match address(medium, text, None) {
            Err(AddressError::NoCountry) => Ok(text.to_owned()),
            normal => normal.or_else(|error| invalid(field, error.to_string())),
        };
        self.user(key, now, normal).map(drop)
    }

    fn user(
        &self,
        key: UserKey,
        now: UnixTime,
        normal: impl Fn(&'static str, Medium, &str) -> Result<String, AdminError>,
    ) -> Result<User, AdminError> {
        let mut user = User::new(key, now);
        let patch = UserPatch {
            aliases: Aliases {
                add: self.aliases.clone(),
                ..Aliases::default()
            },
            groups: Some(self.groups.clone()),
            display_name: self.display_name.clone().map(Some),
            phone: self.phone.clone().map(Some),
            email: self.email.clone().map(Some),
            class: self.class.clone().map(Some),
            ..UserPatch::default()
        };
        patch.apply(&mut user, now, normal)?;
        Ok(user)
    }
}

/// What to do about what exists already.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Existing {
    /// Refuse the batch.
    #[default]
    Fail,
    /// Leave it as it is and go on.
    Skip,
}

/// What came of a batch.
#[derive(Debug, Default)]
pub struct Imported {
    /// Users made.
    pub users: usize,
    /// Tokens made.
    pub tokens: usize,
    /// Rows whose user or token exists.
    pub skipped: usize,
    /// Rows that cannot be made, by index, and why. While there is one, nothing is made.
    pub refused: Vec<(usize, AdminError)>,
}

/// Whether the store is asked about every row before a batch is tried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Look {
    AtAll,
    Trusting,
}

/// What a row may not make again: what the store has and what earlier rows make.
#[derive(Default)]
struct Known {
    /// The tokens of the users; none where there is no such user.
    users: HashMap<UserKey, Option<Vec<Token>>>,
    serials: HashSet<Serial>,
    /// The keys that earlier rows bring, as digests, and the tokens that have them.
    seeds: HashMap<[u8; 32], Serial>,
    /// Aliases that earlier rows make.
    aliases: HashSet<UserKey>,
    /// Users whose PIN or password comes with an earlier row.
    knowing: HashSet<UserKey>,
}

fn digest(token: &Token) -> [u8; 32] {
    Sha256::digest(token.normal_key().expose()).into()
}

impl Admin {
    /// Makes a batch of users and tokens. Rows of one user stand together, the first one makes the
    /// user.
    pub async fn import(
        &self,
        rows: &[ImportRow],
        existing: Existing,
        dry_run: bool,
        by: By,
    ) -> Result<Imported, AdminError> {
        let mut tries = TRIES;
        // The store refuses what exists in any case: only when it does is it worth finding out which
        // rows those are, before it costs a look at every user.
        let mut look = if dry_run { Look::AtAll } else { Look::Trusting };
        loop {
            let (records, imported) = self.plan(rows, existing, look, &by)?;
            if look == Look::Trusting && !imported.refused.is_empty() {
                look = Look::AtAll;
                continue;
            }
            if dry_run || records.is_empty() || !imported.refused.is_empty() {
                return Ok(imported);
            }
            tries -= 1;
            let import = Change::Import(self.core.store.prepare(records, by.at)?);
            match self.core.store.change(import, by.clone()).await {
                // One of them is there, or was made meanwhile: look again.
                Err(StoreError::Conflict(_) | StoreError::NotFound) if tries > 0 => {
                    look = Look::AtAll;
                }
                done => return Ok(done.map(|()| imported)?),
            }
        }
    }

    fn plan(
        &self,
        rows: &[ImportRow],
        existing: Existing,
        look: Look,
        by: &By,
    ) -> Result<(Vec<Import>, Imported), AdminError> {
        let mut records = Vec::with_capacity(rows.len() * 2);
        let mut imported = Imported::default();
        let mut known = Known::default();
        let mut made: Option<&UserKey> = None;
        for (index, row) in rows.iter().enumerate() {
            if !known.users.contains_key(&row.user) && look == Look::Trusting {
                // As the rows have it: new users are new, owners of tokens exist.
                let tokens = row.about.is_none().then(Vec::new);
                known.users.insert(row.user.clone(), tokens);
            } else if !known.users.contains_key(&row.user) {
                let view = self.core.store.view(&row.user)?;
                let tokens = |view: crate::store::View| {
                    let tokens = view.tokens.iter().map(|(token, _)| token.clone());
                    tokens.collect()
                };
                known.users.insert(row.user.clone(), view.map(tokens));
            }
            let before = records.len();
            match self.row(row, made, &known, look, &mut records, by) {
                Ok(()) => {
                    for record in records.iter().skip(before) {
                        match record {
                            Import::User(user) => {
                                imported.users += 1;
                                known.aliases.extend(user.aliases.iter().cloned());
                                made = Some(&row.user);
                                known.users.insert(row.user.clone(), Some(Vec::new()));
                            }
                            Import::Token(token) => {
                                imported.tokens += 1;
                                let serial = token.0.serial.clone();
                                known.seeds.insert(digest(&token.0), serial.clone());
                                known.serials.insert(serial);
                                if let Some(Some(tokens)) = known.users.get_mut(&row.user) {
                                    tokens.push(token.0.clone());
                                }
                            }
                            Import::Credentials(user, _) => {
                                known.knowing.insert(user.clone());
                            }
                        }
                    }
                }
                Err(AdminError::Conflict(_)) if existing == Existing::Skip => {
                    records.truncate(before);
                    imported.skipped += 1;
                }
                Err(AdminError::Core(error)) => return Err(error.into()),
                Err(error) => {
                    records.truncate(before);
                    imported.refused.push((index, error));
                }
            }
        }
        Ok((records, imported))
    }

    /// Refuses a name or an alias that leads to another user already.
    fn refuse_names(&self, user: &User, known: &Known, look: Look) -> Result<(), AdminError> {
        let store = &self.core.store;
        let is_alias = |name: &UserKey| -> Result<bool, StoreError> {
            match look {
                _ if known.aliases.contains(name) => Ok(true),
                Look::AtAll => Ok(store.of_alias(name)?.is_some()),
                Look::Trusting => Ok(false),
            }
        };
        let is_user = |name: &UserKey| -> Result<bool, StoreError> {
            match (look, known.users.get(name)) {
                (_, Some(tokens)) => Ok(tokens.is_some()),
                (Look::AtAll, None) => Ok(store.view(name)?.is_some()),
                (Look::Trusting, None) => Ok(false),
            }
        };
        if is_alias(&user.key)? {
            return Err(AdminError::Conflict(NAME_IS_ALIAS));
        }
        for alias in &user.aliases {
            if is_alias(alias)? || is_user(alias)? {
                return Err(AdminError::Conflict(ALIAS_TAKEN));
            }
        }
        Ok(())
    }

    /// The records of one row; `made` is the user whom the row before has made.
    fn row(
        &self,
        row: &ImportRow,
        made: Option<&UserKey>,
        known: &Known,
        look: Look,
        records: &mut Vec<Import>,
        by: &By,
    ) -> Result<(), AdminError> {
        let exists = row.user.is_stock() || known.users.get(&row.user).is_some_and(Option::is_some);
        match &row.about {
            Some(about) if made != Some(&row.user) => {
                if exists {
                    return Err(AdminError::Conflict("the user exists already"));
                }
                let user = about.user(row.user.clone(), by.at, self.addresses())?;
                self.refuse_names(&user, known, look)?;
                records.push(Import::User(Box::new(user)));
            }
            None if !exists => return Err(AdminError::NotFound("user")),
            _ => {}
        }
        if let Some(new) = row.token.clone() {
            records.push(self.token_of_row(new, (row, known), look, by)?);
        }
        if let Some(credentials) = self.knowledge(row, known, by.at)? {
            let credentials = Box::new(credentials);
            records.push(Import::Credentials(row.user.clone(), credentials));
        }
        Ok(())
    }

    /// The PIN and the password of a row. Who has one keeps it; of several rows of a user the first that brings any counts.
    fn knowledge(
        &self,
        row: &ImportRow,
        known: &Known,
        at: UnixTime,
    ) -> Result<Option<Credentials>, AdminError> {
        let brought = [
            (Knowledge::Pin, "pin_hash", &row.pin_hash),
            (Knowledge::Password, "password_hash", &row.password_hash),
        ];
        let none = brought.iter().all(|(.., text)| text.is_none());
        if none || row.user.is_stock() || known.knowing.contains(&row.user) {
            return Ok(None);
        }
        let mut credentials = match row.about {
            Some(_) => Credentials::default(),
            None => self.core.store.credentials(&row.user)?,
        };
        let mut any = false;
        for (which, field, text) in brought {
            let Some(text) = text else { continue };
            let hash = match Hash::import(text.expose()) {
                Ok(hash) => hash,
                Err(error) => return invalid(field, error.to_string()),
            };
            let place = credentials.get_mut(which);
            if place.is_none() {
                *place = Some(Verifier {
                    hash,
                    length: None,
                    set: at,
                    must_change: false,
                    previous: Vec::new(),
                });
                any = true;
            }
        }
        Ok(any.then_some(credentials))
    }

    /// The token of a row.
    fn token_of_row(
        &self,
        new: NewToken,
        (row, known): (&ImportRow, &Known),
        look: Look,
        by: &By,
    ) -> Result<Import, AdminError> {
        if let Some(serial) = &new.serial
            && look == Look::AtAll
            && self.core.store.token(serial)?.is_some()
        {
            return Err(AdminError::Conflict(
                "a token with this serial exists already",
            ));
        }
        let (token, state) = self.new_token(new, &by.actor, by.at)?;
        let tokens = known.users.get(&row.user).and_then(Option::as_ref);
        // Of the stock, which is no one's, the keys below are enough.
        let mut others = tokens
            .into_iter()
            .flatten()
            .filter(|_| !row.user.is_stock());
        if others.any(|other| other.normal_key() == token.normal_key()) {
            return Err(AdminError::Conflict(
                "the user has a token with this key already",
            ));
        }
        if let Some(serial) = known.seeds.get(&digest(&token)) {
            return Err(AdminError::SeedTaken(Some(serial.clone())));
        }
        if look == Look::AtAll {
            let key = token.normal_key();
            self.refuse_seed(&key, &token.user)?;
            let retired = self.core.store.retired_with(&key)?;
            if retired.is_some_and(|retired| retired.period != token.counts_time()) {
                return Err(AdminError::Conflict(OTHER_USE));
            }
        }
        if known.serials.contains(&token.serial) {
            return Err(AdminError::Conflict("a serial is there twice"));
        }
        Ok(Import::Token(Box::new((token, state))))
    }
}
