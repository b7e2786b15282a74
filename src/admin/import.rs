//! Users and tokens, many at a time.
//!
//! Invariants: a batch is carried out whole or not at all, and is one audit record; a user who
//! exists is never changed by it. So an import that was interrupted is repeated with
//! [`Existing::Skip`], and ends where it would have ended. A token that is there already as a row describes it is
//! no conflict: the row has nothing to make. One key never belongs to two tokens; where it was asked for, the token of
//! one user counts for the other, which is a change and a record of its own, made after the batch.

use std::collections::{HashMap, HashSet};

use sha2::{Digest as _, Sha256};

use crate::admin::Admin;
use crate::admin::{AdminError, Aliases, NewToken, UserPatch, invalid};
use crate::core::TRIES;
use crate::credential::Hash;
use crate::model::credential::{Credentials, Knowledge, Verifier};
use crate::model::id::Serial;
use crate::model::kind::Kind;
use crate::model::message::{AddressError, Medium, address};
use crate::model::token::{LifeCycle, Token};
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

/// How a batch is made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Importing {
    /// What to do about what exists already.
    pub existing: Existing,
    /// Whether a token of another user with the key and the parameters of a row counts for the user of the row, too.
    pub link: bool,
    /// Whether nothing is made.
    pub dry_run: bool,
}

/// What came of a batch.
#[derive(Debug, Default)]
pub struct Imported {
    /// Users made.
    pub users: usize,
    /// Tokens made.
    pub tokens: usize,
    /// Tokens of others that count for users of the batch, too.
    pub linked: usize,
    /// Rows whose token is there as they describe it.
    pub there: usize,
    /// Rows whose user or token exists, and is another than they describe.
    pub skipped: usize,
    /// Rows that cannot be made, by index, and why. While there is one, nothing is made.
    pub refused: Vec<(usize, AdminError)>,
}

/// How a token that has the key of a row is another than the row describes.
#[derive(Clone, Debug)]
pub enum Held {
    /// It is of another kind, or makes other codes; what it is.
    OtherCodes(String),
    /// It has ended.
    Ended(LifeCycle),
    /// It is in stock, and the row names an owner.
    InStock,
    /// The row names no owner, and another serial number.
    OtherSerial,
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OtherCodes(what) => write!(f, "and makes other codes: {what}"),
            Self::Ended(state) => write!(f, "and is {state}"),
            Self::InStock => f.write_str("and is in stock"),
            Self::OtherSerial => f.write_str("and another serial number"),
        }
    }
}

/// What a row comes to.
#[derive(Debug)]
enum Comes {
    /// What it describes is made.
    Made,
    /// Its token is there.
    There,
    /// This token counts for its user, too.
    Links(Serial),
}

/// What the token of a row comes to.
enum ComesToken {
    New(Import),
    There,
    Links(Serial),
}

/// Whether the store is asked about every row before a batch is tried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Look {
    AtAll,
    Trusting,
}

/// What a batch comes to.
struct Planned {
    records: Vec<Import>,
    /// Tokens that count for second users, too.
    links: Vec<(Serial, UserKey)>,
}

/// What a row may not make again: what the store has and what earlier rows make.
#[derive(Default)]
struct Known {
    /// The tokens of the users; none where there is no such user.
    users: HashMap<UserKey, Option<Vec<Token>>>,
    serials: HashSet<Serial>,
    /// The keys that earlier rows bring, as digests, and the tokens that have them with their users.
    seeds: HashMap<[u8; 32], (Serial, UserKey)>,
    /// Aliases that earlier rows make.
    aliases: HashSet<UserKey>,
    /// Users whose PIN or password comes with an earlier row.
    knowing: HashSet<UserKey>,
}

impl Known {
    /// What a row of this user makes.
    fn note(&mut self, record: &Import, user: &UserKey) {
        match record {
            Import::User(new) => {
                self.aliases.extend(new.aliases.iter().cloned());
                self.users.insert(user.clone(), Some(Vec::new()));
            }
            Import::Token(token) => {
                let serial = token.0.serial.clone();
                let has = (serial.clone(), user.clone());
                self.seeds.insert(digest(&token.0), has);
                self.serials.insert(serial);
            }
            Import::Credentials(user, _) => {
                self.knowing.insert(user.clone());
            }
        }
    }
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
        how: Importing,
        by: By,
    ) -> Result<Imported, AdminError> {
        let mut tries = TRIES;
        // The store refuses what exists in any case: only when it does is it worth finding out which
        // rows those are, before it costs a look at every user.
        let mut look = if how.dry_run {
            Look::AtAll
        } else {
            Look::Trusting
        };
        loop {
            let (planned, imported) = self.plan(rows, how, look, &by)?;
            if look == Look::Trusting && !imported.refused.is_empty() {
                look = Look::AtAll;
                continue;
            }
            if how.dry_run || !imported.refused.is_empty() {
                return Ok(imported);
            }
            if !planned.records.is_empty() {
                tries -= 1;
                let import = Change::Import(self.core.store.prepare(planned.records, by.at)?);
                match self.core.store.change(import, by.clone()).await {
                    Ok(()) => {}
                    // One of them is there, or was made meanwhile: look again.
                    Err(StoreError::Conflict(_) | StoreError::NotFound) if tries > 0 => {
                        look = Look::AtAll;
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            for (serial, user) in planned.links {
                let link = Change::LinkToken(serial, user);
                self.core.store.change(link, by.clone()).await?;
            }
            return Ok(imported);
        }
    }

    fn plan(
        &self,
        rows: &[ImportRow],
        how: Importing,
        look: Look,
        by: &By,
    ) -> Result<(Planned, Imported), AdminError> {
        let mut records = Vec::with_capacity(rows.len() * 2);
        let mut links = Vec::new();
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
            match self.row(row, made, &known, (how, look), &mut records, by) {
                Ok(Comes::There) => {
                    records.truncate(before);
                    imported.there += 1;
                }
                Ok(comes) => {
                    if let Comes::Links(serial) = comes {
                        imported.linked += 1;
                        links.push((serial, row.user.clone()));
                    }
                    for record in records.iter().skip(before) {
                        known.note(record, &row.user);
                        match record {
                            Import::User(_) => {
                                imported.users += 1;
                                made = Some(&row.user);
                            }
                            Import::Token(_) => imported.tokens += 1,
                            Import::Credentials(..) => {}
                        }
                    }
                }
                Err(AdminError::Conflict(_) | AdminError::KeyHeld { .. })
                    if how.existing == Existing::Skip =>
                {
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
        Ok((Planned { records, links }, imported))
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
        (how, look): (Importing, Look),
        records: &mut Vec<Import>,
        by: &By,
    ) -> Result<Comes, AdminError> {
        let exists = row.user.is_stock() || known.users.get(&row.user).is_some_and(Option::is_some);
        match &row.about {
            Some(about) if made != Some(&row.user) => {
                if exists {
                    return Err(AdminError::Conflict(USER_EXISTS));
                }
                let user = about.user(row.user.clone(), by.at, self.addresses())?;
                self.refuse_names(&user, known, look)?;
                records.push(Import::User(Box::new(user)));
            }
            None if !exists => return Err(AdminError::NotFound("user")),
            _ => {}
        }
        let mut comes = Comes::Made;
        if let Some(new) = row.token.clone() {
            match self.token_of_row(new, (row, known), (how, look), by)? {
                ComesToken::New(token) => records.push(token),
                ComesToken::There => return Ok(Comes::There),
                ComesToken::Links(serial) => comes = Comes::Links(serial),
            }
        }
        if let Some(credentials) = self.knowledge(row, known, by.at)? {
            let credentials = Box::new(credentials);
            records.push(Import::Credentials(row.user.clone(), credentials));
        }
        Ok(comes)
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
        (how, look): (Importing, Look),
        by: &By,
    ) -> Result<ComesToken, AdminError> {
        let named = new.serial.clone();
        let (token, state) = self.new_token(new, &by.actor, by.at)?;
        if let Some((serial, user)) = known.seeds.get(&digest(&token)) {
            return Err(if *user == row.user && !user.is_stock() {
                AdminError::Conflict(TWIN)
            } else {
                AdminError::SeedTaken(Some(serial.clone()))
            });
        }
        if look == Look::AtAll {
            let described = (&token, named.as_ref());
            if let Some(comes) = self.held(described, (row, known), how, by.at)? {
                return Ok(comes);
            }
            let there = named.as_ref().map(|serial| self.core.store.token(serial));
            if there.transpose()?.flatten().is_some() {
                return Err(AdminError::Conflict(SERIAL_EXISTS));
            }
            let retired = self.core.store.retired_with(&token.normal_key())?;
            if retired.is_some_and(|retired| retired.period != token.counts_time()) {
                return Err(AdminError::Conflict(OTHER_USE));
            }
        }
        if known.serials.contains(&token.serial) {
            return Err(AdminError::Conflict("a serial is there twice"));
        }
        Ok(ComesToken::New(Import::Token(Box::new((token, state)))))
    }

    /// What a row comes to whose key a token on record has; `None`: none has it.
    fn held(
        &self,
        (token, named): (&Token, Option<&Serial>),
        (row, known): (&ImportRow, &Known),
        how: Importing,
        now: UnixTime,
    ) -> Result<Option<ComesToken>, AdminError> {
        let key = token.normal_key();
        let own = known.users.get(&row.user).and_then(Option::as_ref);
        // Also of kinds that no index of keys has, and of those that count for the user, too.
        let own = own.filter(|_| !row.user.is_stock());
        let own = own.and_then(|own| own.iter().find(|other| other.normal_key() == key));
        let (other, is_own) = match own {
            Some(own) => (own.clone(), true),
            None => {
                let serial = self.core.store.with_key(&key)?;
                let found = serial.map(|serial| self.core.store.token(&serial));
                match found.transpose()?.flatten() {
                    Some((other, _)) => (other, false),
                    None => return Ok(None),
                }
            }
        };
        let held = |held| AdminError::KeyHeld {
            serial: other.serial.clone(),
            held,
        };
        let state = other.state_at(now);
        let ended = matches!(state, LifeCycle::Revoked | LifeCycle::Expired);
        let unowned = row.user.is_stock();
        if !is_own && !unowned {
            let links = how.link && makes_same_codes(&other, token) && state == LifeCycle::Active;
            return match (links, other.user.is_stock()) {
                (_, true) => Err(held(Held::InStock)),
                (true, false) => Ok(Some(ComesToken::Links(other.serial))),
                (false, false) => Err(AdminError::SeedTaken(Some(other.serial))),
            };
        }
        if unowned && named.is_some_and(|serial| *serial != other.serial) {
            return Err(held(Held::OtherSerial));
        }
        if !makes_same_codes(&other, token) {
            return Err(held(Held::OtherCodes(codes(&other))));
        }
        if ended {
            return Err(held(Held::Ended(state)));
        }
        Ok(Some(ComesToken::There))
    }
}

/// Whether two tokens of one key differ in nothing but where they stand.
fn makes_same_codes(one: &Token, other: &Token) -> bool {
    let of = |token: &Token| (token.kind, token.algorithm, token.digits);
    let codes = one.kind == Kind::Yubikey || of(one) == of(other);
    codes && one.kind == other.kind && one.counts_time() == other.counts_time()
}

/// `totp, sha1, 6 digits, 30 s`
fn codes(token: &Token) -> String {
    if token.kind == Kind::Yubikey {
        return token.kind.as_str().to_owned();
    }
    let Token {
        kind,
        algorithm,
        digits,
        ..
    } = token;
    let (kind, algorithm, digits) = (kind.as_str(), algorithm.as_str(), digits.get());
    let period = token.counts_time();
    let period = period.map_or_else(String::new, |period| format!(", {} s", period.as_secs()));
    format!("{kind}, {algorithm}, {digits} digits{period}")
}

pub(crate) const USER_EXISTS: &str = "the user exists already";
pub(crate) const SERIAL_EXISTS: &str = "a token with this serial exists already";
const TWIN: &str = "the user has a token with this key already";
