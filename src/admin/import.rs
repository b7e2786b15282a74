//! Users and tokens, many at a time.
//!
//! Invariants: a batch is carried out whole or not at all, and is one audit record; a user who
//! exists is never changed by it. So an import that was interrupted is repeated with
//! [`Existing::Skip`], and ends where it would have ended. A token that is there already as a row describes it is
//! no conflict: the row makes nothing but the PIN or password that its owner has not. One key never belongs to two tokens;
//! where it was asked for, the token of one user counts for the other.

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
use crate::secret::{OtpKey, SecretString};
use crate::store::{ALIAS_TAKEN, By, Change, Import, NAME_IS_ALIAS, StoreError};
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
    /// Rows, by index, whose tokens have keys that are shorter than advised.
    pub weak: Vec<usize>,
}

/// How a token that has the key of a row is another than the row describes.
#[derive(Clone, Debug)]
pub enum Held {
    /// It is of another kind, or makes other codes; what it is.
    OtherCodes(String),
    /// It is not in use.
    State(LifeCycle),
    /// It is in stock, and the row names an owner.
    InStock,
    /// The row names no owner, and another serial number.
    OtherSerial,
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OtherCodes(what) => write!(f, "and makes other codes: {what}"),
            Self::State(state) => write!(f, "and is {state}"),
            Self::InStock => f.write_str("and is in stock"),
            Self::OtherSerial => f.write_str("and another serial number"),
        }
    }
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
    /// The tokens that earlier rows make, by digests of their keys.
    seeds: HashMap<[u8; 32], Token>,
    /// Second users for whom earlier rows make tokens count.
    links: HashSet<(Serial, UserKey)>,
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
                self.serials.insert(token.0.serial.clone());
                self.seeds.insert(digest(&token.0), token.0.clone());
            }
            Import::Credentials(user, _) => {
                self.knowing.insert(user.clone());
            }
            Import::Link(serial, user) => {
                self.links.insert((serial.clone(), user.clone()));
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
            let (records, imported) = self.plan(rows, how, look, &by)?;
            if look == Look::Trusting && !imported.refused.is_empty() {
                look = Look::AtAll;
                continue;
            }
            if how.dry_run || records.is_empty() || !imported.refused.is_empty() {
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
        how: Importing,
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
            match self.row(row, made, &known, (how, look), &mut records, by) {
                Ok(is_there) => {
                    imported.there += usize::from(is_there);
                    for record in records.iter().skip(before) {
                        known.note(record, &row.user);
                        match record {
                            Import::User(_) => {
                                imported.users += 1;
                                made = Some(&row.user);
                            }
                            Import::Token(token) => {
                                imported.tokens += 1;
                                if token.0.key.expose().len() < OtpKey::ADVISED {
                                    imported.weak.push(index);
                                }
                            }
                            Import::Link(..) => imported.linked += 1,
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

    /// The records of one row; `made` is the user whom the row before has made. Whether its token is there already.
    fn row(
        &self,
        row: &ImportRow,
        made: Option<&UserKey>,
        known: &Known,
        (how, look): (Importing, Look),
        records: &mut Vec<Import>,
        by: &By,
    ) -> Result<bool, AdminError> {
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
        let mut is_there = false;
        if let Some(new) = row.token.clone() {
            let record = self.token_of_row(new, (row, known), (how, look), by)?;
            is_there = record.is_none();
            records.extend(record);
        }
        if let Some(credentials) = self.knowledge(row, known, by.at)? {
            let credentials = Box::new(credentials);
            records.push(Import::Credentials(row.user.clone(), credentials));
        }
        Ok(is_there)
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

    /// What makes the token of a row; `None`: it is there.
    fn token_of_row(
        &self,
        new: NewToken,
        (row, known): (&ImportRow, &Known),
        (how, look): (Importing, Look),
        by: &By,
    ) -> Result<Option<Import>, AdminError> {
        let named = new.serial.clone();
        let (token, state) = self.new_token(new, &by.actor, by.at)?;
        if let Some(first) = known.seeds.get(&digest(&token)) {
            if first.user == row.user && !first.user.is_stock() {
                return Err(AdminError::Conflict(TWIN));
            }
            return shared(first, &token, (row, known), how, by.at).map(Some);
        }
        if look == Look::AtAll {
            match self.holder(&token, (row, known))? {
                Some((other, is_own)) if is_own || row.user.is_stock() => {
                    let described = (&token, named.as_ref(), row.user.is_stock());
                    return is_described(&other, described, by.at).map(|()| None);
                }
                Some((other, _)) => {
                    return shared(&other, &token, (row, known), how, by.at).map(Some);
                }
                None => {}
            }
            let there = named.as_ref().map(|serial| self.core.store.token(serial));
            if there.transpose()?.flatten().is_some() {
                return Err(AdminError::Conflict(SERIAL_EXISTS));
            }
            let retired = self.core.store.retired_with(&token.normal_key())?;
            if let Some(why) = retired.and_then(|retired| retired.bars(token.counts_time())) {
                return Err(AdminError::Conflict(why));
            }
        }
        if known.serials.contains(&token.serial) {
            return Err(AdminError::Conflict("a serial is there twice"));
        }
        Ok(Some(Import::Token(Box::new((token, state)))))
    }

    /// The token on record that has the key of a row's, and whether it is of the same user.
    fn holder(
        &self,
        token: &Token,
        (row, known): (&ImportRow, &Known),
    ) -> Result<Option<(Token, bool)>, AdminError> {
        let key = token.normal_key();
        let own = known.users.get(&row.user).and_then(Option::as_ref);
        // Also of kinds that no index of keys has, and of those that count for the user, too.
        let own = own.filter(|_| !row.user.is_stock());
        if let Some(own) = own.and_then(|own| own.iter().find(|other| other.normal_key() == key)) {
            return Ok(Some((own.clone(), true)));
        }
        let serial = self.core.store.with_key(&key)?;
        let found = serial.map(|serial| self.core.store.token(&serial));
        Ok(found
            .transpose()?
            .flatten()
            .map(|(other, _)| (other, false)))
    }
}

fn held(other: &Token, held: Held) -> AdminError {
    AdminError::KeyHeld {
        serial: other.serial.clone(),
        held,
    }
}

/// Refuses a token with the key of a row that is another than the row describes.
fn is_described(
    other: &Token,
    (token, named, in_stock): (&Token, Option<&Serial>, bool),
    now: UnixTime,
) -> Result<(), AdminError> {
    if in_stock && named.is_some_and(|serial| *serial != other.serial) {
        return Err(held(other, Held::OtherSerial));
    }
    if !makes_same_codes(other, token) {
        return Err(held(other, Held::OtherCodes(codes(other))));
    }
    match other.state_at(now) {
        state @ (LifeCycle::Revoked | LifeCycle::Expired) => Err(held(other, Held::State(state))),
        _ => Ok(()),
    }
}

/// What lets the token of another user count for the user of a row.
fn shared(
    other: &Token,
    token: &Token,
    (row, known): (&ImportRow, &Known),
    how: Importing,
    now: UnixTime,
) -> Result<Import, AdminError> {
    let (in_stock, state) = (other.user.is_stock(), other.state_at(now));
    if in_stock && !row.user.is_stock() && !known.serials.contains(&other.serial) {
        return Err(held(other, Held::InStock));
    }
    if in_stock || row.user.is_stock() || !how.link {
        return Err(AdminError::SeedTaken(Some(other.serial.clone())));
    }
    if !makes_same_codes(other, token) {
        return Err(held(other, Held::OtherCodes(codes(other))));
    }
    if state != LifeCycle::Active {
        return Err(held(other, Held::State(state)));
    }
    let link = (other.serial.clone(), row.user.clone());
    if known.links.contains(&link) {
        return Err(AdminError::Conflict(TWIN));
    }
    Ok(Import::Link(link.0, link.1))
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
